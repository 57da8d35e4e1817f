//! Sorted runs of rows into one, in the order of (`time`, `event_id`), each event once.
//!
//! Doubles are neighbours in this order, so one streaming merge serves roll, seal and export in constant memory. Where
//! one run is alone for a while its batches are handed on as they are, without a copy.

use std::cmp::Ordering;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::base::time::Micros;

use super::{ArchiveError, Result};

/// Rows in the order of their keys, each key once, batch by batch.
pub type Run = Box<dyn Iterator<Item = Result<RecordBatch>>>;

/// Rows put together from several runs are handed on by so many.
const OUT_ROWS: usize = 8 * 1024;

/// The key columns of a batch.
#[derive(Debug, Clone)]
pub struct Keys {
    time: TimestampMicrosecondArray,
    id: StringArray,
}

impl Keys {
    /// The key columns of a batch; none when it has none.
    pub fn of(batch: &RecordBatch) -> Option<Self> {
        Some(Self {
            time: batch.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?.clone(),
            id: batch.column_by_name("event_id")?.as_string_opt()?.clone(),
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// The key of a row.
    pub fn get(&self, row: usize) -> (Micros, &str) {
        (self.time.value(row), self.id.value(row))
    }

    /// The keys, row by row.
    pub fn iter(&self) -> impl Iterator<Item = (Micros, &str)> {
        (0..self.len()).map(|row| self.get(row))
    }

    fn is_strictly_ascending(&self) -> bool {
        let times = self.time.values();
        (1..self.len()).all(|row| match times[row - 1].cmp(&times[row]) {
            Ordering::Less => true,
            Ordering::Equal => self.id.value(row - 1) < self.id.value(row),
            Ordering::Greater => false,
        })
    }
}

/// Rows in key order, each key once (the first that came), of batches in any order. They are copied as they are handed on, so that little
/// more than the batches is held.
#[derive(Debug)]
pub struct Sorted {
    batches: Vec<RecordBatch>,
    keys: Vec<Keys>,
    /// Batch and row, in order.
    order: Vec<(u32, u32)>,
    /// The batches are in order as they are.
    is_plain: bool,
}

impl Sorted {
    /// Puts batches in order.
    ///
    /// # Errors
    /// When Arrow refuses, for instance because a batch has no keys.
    pub fn new(batches: Vec<RecordBatch>) -> std::result::Result<Self, ArrowError> {
        let no_key = || ArrowError::SchemaError("rows without a key".to_owned());
        let keys: Vec<Keys> =
            batches.iter().map(|batch| Keys::of(batch).ok_or_else(no_key)).collect::<std::result::Result<_, _>>()?;
        let is_plain = are_strictly_ascending(&keys);
        let mut order: Vec<(Micros, u32, u32)> = Vec::with_capacity(keys.iter().map(Keys::len).sum());
        for (of, keys) in (0..).zip(&keys) {
            order.extend(keys.time.values().iter().zip(0..).map(|(time, row)| (*time, of, row)));
        }
        if !is_plain {
            let id = |at: &(Micros, u32, u32)| keys[at.1 as usize].id.value(at.2 as usize);
            // Nearly sorted as a rule: the stable sort takes what is in order as it is.
            order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| id(a).cmp(id(b))));
            order.dedup_by(|b, a| a.0 == b.0 && id(a) == id(b));
        }
        let order = order.into_iter().map(|(_, of, row)| (of, row)).collect();
        Ok(Self { batches, keys, order, is_plain })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The key of a row.
    pub fn get(&self, row: usize) -> (Micros, &str) {
        let (of, row) = self.order[row];
        self.keys[of as usize].get(row as usize)
    }

    /// The keys, row by row.
    pub fn iter(&self) -> impl Iterator<Item = (Micros, &str)> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Keeps the rows that are marked, of which there are as many as rows.
    pub fn keep(&mut self, marked: &[bool]) {
        if marked.contains(&false) {
            let mut marks = marked.iter();
            self.order.retain(|_| marks.next().copied().unwrap_or(true));
            self.is_plain = false;
        }
    }

    /// Hands the rows on.
    pub fn into_run(self) -> Run {
        let Self { batches, order, is_plain, .. } = self;
        if is_plain {
            return Box::new(batches.into_iter().filter(|batch| batch.num_rows() > 0).map(Ok));
        }
        let mut done = 0;
        Box::new(std::iter::from_fn(move || {
            let next = &order[done..order.len().min(done + OUT_ROWS)];
            done += next.len();
            let picked: Vec<(usize, usize)> = next.iter().map(|(of, row)| (*of as usize, *row as usize)).collect();
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            let rows = || interleave_record_batch(&batches, &picked).map_err(ArchiveError::arrow(Path::new("rows")));
            (!picked.is_empty()).then(rows)
        }))
    }
}

fn are_strictly_ascending(batches: &[Keys]) -> bool {
    let mut last: Option<&Keys> = None;
    batches.iter().filter(|keys| !keys.is_empty()).all(|keys| {
        let follows = last.is_none_or(|last| last.get(last.len() - 1) < keys.get(0));
        last = Some(keys);
        follows && keys.is_strictly_ascending()
    })
}

/// The merge; yields batches. Of rows with one key the one from the earlier run stays.
#[allow(missing_debug_implementations, reason = "runs are iterators, and iterators do not print")]
pub struct Merge {
    heads: Vec<Head>,
    waiting: Vec<Run>,
    /// Batches that `picked` speaks of.
    held: Vec<RecordBatch>,
    picked: Vec<(usize, usize)>,
    failed: bool,
}

/// A run with its current batch.
struct Head {
    run: Run,
    batch: RecordBatch,
    keys: Keys,
    row: usize,
    /// Where the batch stands in `held`, once a row of it was picked.
    held: Option<usize>,
}

impl Head {
    fn key(&self) -> (Micros, &str) {
        self.keys.get(self.row)
    }

    /// Moves to the next batch that has rows; false at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.row >= self.batch.num_rows() {
            let Some(batch) = self.run.next() else { return Ok(false) };
            (self.batch, self.row, self.held) = (batch?, 0, None);
            self.keys = keys(&self.batch)?;
        }
        Ok(true)
    }
}

fn keys(batch: &RecordBatch) -> Result<Keys> {
    let error = || ArchiveError::arrow(Path::new("rows"))(ArrowError::SchemaError("rows without a key".to_owned()));
    Keys::of(batch).ok_or_else(error)
}

impl Merge {
    /// Merges runs; earlier runs win.
    pub fn new(runs: Vec<Run>) -> Self {
        Self { heads: Vec::new(), waiting: runs, held: Vec::new(), picked: Vec::new(), failed: false }
    }

    fn start(&mut self) -> Result<()> {
        for mut run in self.waiting.drain(..) {
            if let Some(batch) = run.next() {
                let batch = batch?;
                let mut head = Head { keys: keys(&batch)?, run, batch, row: 0, held: None };
                if head.fill()? {
                    self.heads.push(head);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        if !self.waiting.is_empty() {
            self.start()?;
        }
        loop {
            if self.picked.len() >= OUT_ROWS || (self.heads.is_empty() && !self.picked.is_empty()) {
                return self.flush().map(Some);
            }
            let Some(least) = (0..self.heads.len()).min_by(|a, b| self.heads[*a].key().cmp(&self.heads[*b].key())) else {
                return Ok(None);
            };
            // Rows of the least run that come before the head of every other run.
            let upto = self.upto(least);
            let head = &mut self.heads[least];
            let alone = upto - head.row;
            if self.picked.is_empty() && alone >= OUT_ROWS / 4 || (alone == head.batch.num_rows() && self.picked.is_empty()) {
                let slice = head.batch.slice(head.row, alone);
                head.row = upto;
                self.refill(least)?;
                return Ok(Some(slice));
            }
            let at = *head.held.get_or_insert_with(|| {
                self.held.push(head.batch.clone());
                self.held.len() - 1
            });
            let room = upto.min(head.row + OUT_ROWS);
            self.picked.extend((head.row..room).map(|row| (at, row)));
            head.row = room;
            self.refill(least)?;
        }
    }

    /// Up to which row the batch of a run goes before any other run has its turn.
    fn upto(&mut self, least: usize) -> usize {
        let head = &self.heads[least];
        let bound = (0..self.heads.len()).filter(|at| *at != least).map(|at| self.heads[at].key()).min();
        let Some(bound) = bound else { return head.batch.num_rows() };
        let (mut low, mut high) = (head.row, head.batch.num_rows());
        if head.keys.get(high - 1) < bound {
            return high;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if head.keys.get(middle) < bound {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // The head itself always goes; when another run begins with the same key, that one is the double.
        low.max(head.row + 1)
    }

    /// After rows of a run were taken: passes over their doubles in the other runs, and fetches what ran out.
    fn refill(&mut self, taken: usize) -> Result<()> {
        let head = &self.heads[taken];
        let last = head.row.checked_sub(1).map(|row| {
            let (time, id) = head.keys.get(row);
            (time, id.to_owned())
        });
        let mut done = Vec::new();
        for (at, head) in self.heads.iter_mut().enumerate() {
            if at != taken
                && let Some((time, id)) = &last
                && head.key() == (*time, id.as_str())
            {
                head.row += 1;
            }
            if !head.fill()? {
                done.push(at);
            }
        }
        for at in done.into_iter().rev() {
            self.heads.remove(at);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.held.iter().collect();
        let out = interleave_record_batch(&batches, &self.picked).map_err(ArchiveError::arrow(Path::new("rows")));
        self.held.clear();
        self.picked.clear();
        for head in &mut self.heads {
            head.held = None;
        }
        out
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, UInt32Array};
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: &[(i64, u8, u32)]) -> RecordBatch {
        let time: TimestampMicrosecondArray = rows.iter().map(|row| row.0).collect::<Vec<_>>().into();
        let id: StringArray = rows.iter().map(|row| Some(format!("id{:03}", row.1))).collect();
        let from: UInt32Array = rows.iter().map(|row| row.2).collect::<Vec<_>>().into();
        let columns: [(&str, ArrayRef); 3] = [("time", Arc::new(time)), ("event_id", Arc::new(id)), ("from", Arc::new(from))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<(i64, String, u32)> {
        let keys = Keys::of(batch).unwrap();
        let from = batch.column(2).as_primitive::<arrow::datatypes::UInt32Type>();
        (0..batch.num_rows()).map(|row| (keys.get(row).0, keys.get(row).1.to_owned(), from.value(row))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_merge_has_every_key_once_in_order_and_the_earlier_run_wins(
            runs in prop::collection::vec(prop::collection::vec((0_i64..12, 0_u8..3), 0..30), 0..5), size in 1_usize..9,
        ) {
            let mut model = BTreeMap::new();
            let mut sources: Vec<Run> = Vec::new();
            for (from, run) in (0..).zip(&runs) {
                let run: Vec<_> = run.iter().map(|(time, id)| (*time, *id, from)).collect();
                for (time, id, from) in &run {
                    model.entry((*time, format!("id{id:03}"))).or_insert(*from);
                }
                let batches: Vec<_> = run.chunks(size).map(batch).collect();
                sources.push(Sorted::new(batches).unwrap().into_run());
            }
            let merged: Vec<_> = Merge::new(sources).flat_map(|batch| rows(&batch.unwrap())).collect();
            let expected: Vec<_> = model.into_iter().map(|((time, id), from)| (time, id, from)).collect();
            prop_assert_eq!(merged, expected);
        }
    }
}
