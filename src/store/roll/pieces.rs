//! What the buffer holds of a partition, piece by piece: each in order, and without what stands before it.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::base::disk::fault;
use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::schema::{Schema, brought_up};
use crate::store::archive::{ArchiveError, DayFile, Sorted};
use crate::store::buffer::View;

use super::{PIECE_ROWS, ROLL_ROWS, RollError, Roller};

/// What a roll did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolled {
    /// The partition.
    pub partition: Partition,
    /// Rows that are new in the day file.
    pub events: u64,
    /// Rows that the day file had already, or that came twice.
    pub doubles: u64,
    /// The buffer's rows up to this seq may be deleted.
    pub seq: i64,
    /// More rows wait in the buffer.
    pub more: bool,
}

/// The rows of a partition that wait in the buffer. A day file is copied once for all pieces of a roll: one by one they would
/// copy a large file again and again.
pub(super) struct Pieces<'a> {
    view: &'a View,
    partition: &'a Partition,
    schema: &'a Arc<Schema>,
    file: Option<&'a DayFile>,
    /// Where the buffer stands, and where the day file does, for errors.
    paths: (PathBuf, PathBuf),
    before: Vec<Seen>,
    hashes: RandomState,
    taken: usize,
    events: u64,
    doubles: u64,
    /// Up to which the buffer's rows were taken.
    pub(super) seq: i64,
    /// More rows wait in the buffer.
    pub(super) more: bool,
}

/// The keys of an earlier piece, which is in no file yet.
struct Seen {
    first: Micros,
    last: Micros,
    /// In order.
    hashes: Vec<u64>,
}

impl<'a> Pieces<'a> {
    /// What waits above a seq.
    pub(super) fn new(
        roller: &'a Roller,
        partition: &'a Partition,
        schema: &'a Arc<Schema>,
        file: Option<&'a DayFile>,
        covered: i64,
    ) -> Self {
        Self {
            view: &roller.view,
            partition,
            schema,
            file,
            paths: (roller.layout.buffer(), roller.layout.day_file(partition)),
            before: Vec::new(),
            hashes: RandomState::new(),
            taken: 0,
            events: 0,
            doubles: 0,
            seq: covered,
            more: true,
        }
    }

    /// The rows of the next piece, which is no empty one; none when nothing waits any more, or the rest is the next roll's.
    ///
    /// # Errors
    /// When the buffer, a block or the day file does not read.
    pub(super) fn next(&mut self) -> Result<Option<Sorted>, RollError> {
        while self.more && self.taken < ROLL_ROWS {
            let (blocks, next) = self.view.blocks(self.partition, self.seq, PIECE_ROWS)?;
            let Some(seq) = blocks.last().map(|(seq, _)| *seq) else {
                self.more = false;
                break;
            };
            let came: usize = blocks.iter().map(|(_, rows)| rows.num_rows()).sum();
            let rows = self.in_order(blocks)?;
            // Where nothing stands before it or comes behind it, nobody asks.
            let is_asked = next.is_some() || !self.before.is_empty();
            let seen = (is_asked && !rows.is_empty()).then(|| Seen::of(&rows, &self.hashes));
            if seen.as_ref().is_some_and(|seen| self.before.iter().any(|before| before.may_share(seen))) {
                // What came twice is told by the file, once the pieces before stand there.
                break;
            }
            let events = rows.len();
            (self.seq, self.more, self.taken) = (seq, next.is_some(), self.taken + came);
            self.events += events as u64;
            self.doubles += (came - events) as u64;
            self.before.extend(seen);
            if events > 0 {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// What was done of the partition, once the pieces stand in its file.
    pub(super) fn rolled(&self, partition: &Partition) -> Rolled {
        Rolled { partition: partition.clone(), events: self.events, doubles: self.doubles, seq: self.seq, more: self.more }
    }

    fn in_order(&self, blocks: Vec<(i64, RecordBatch)>) -> Result<Sorted, RollError> {
        let (buffer, path) = &self.paths;
        let conform = |(_, rows): (i64, RecordBatch)| {
            brought_up(&rows, self.schema).map_err(|source| ArchiveError::Conform { path: buffer.clone(), source })
        };
        let conformed = blocks.into_iter().map(conform).collect::<Result<_, _>>()?;
        let mut rows = Sorted::new(conformed).map_err(ArchiveError::arrow(path))?;
        if let Some(file) = self.file
            && !fault::leaves_out("check against the day file")
        {
            leave_out_doubles(file, &mut rows)?;
        }
        Ok(rows)
    }
}

impl Seen {
    /// Those of rows, which are not none.
    fn of(rows: &Sorted, by: &RandomState) -> Self {
        let mut hashes: Vec<u64> = rows.iter().map(|key| by.hash_one(key)).collect();
        hashes.sort_unstable();
        Self { first: rows.get(0).0, last: rows.get(rows.len() - 1).0, hashes }
    }

    /// Whether an event may be in both: always where one is.
    fn may_share(&self, other: &Self) -> bool {
        let meet = self.first <= other.last && other.first <= self.last;
        meet && other.hashes.iter().any(|hash| self.hashes.binary_search(hash).is_ok())
    }
}

/// Leaves out the rows that a day file has. Only row groups whose time range meets theirs are looked at.
fn leave_out_doubles(file: &DayFile, rows: &mut Sorted) -> Result<(), RollError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (first, last) = (rows.get(0).0, rows.get(rows.len() - 1).0);
    let mut fresh = vec![true; rows.len()];
    for group in 0..file.groups() {
        let (group_first, group_last) = file.group_times(group);
        if group_last < first || group_first > last {
            continue;
        }
        // Both are in order: walk along them side by side.
        let mut row = 0;
        file.keys(group, |times, ids| {
            for (index, time) in times.iter().enumerate() {
                if *time < first || *time > last {
                    continue;
                }
                let key = (*time, ids.value(index));
                while row < rows.len() && rows.get(row) < key {
                    row += 1;
                }
                if row < rows.len() && rows.get(row) == key {
                    fresh[row] = false;
                }
            }
        })?;
    }
    rows.keep(&fresh);
    Ok(())
}
