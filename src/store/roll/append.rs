//! Rows into a day file: new ones behind those that it has, and all of it anew.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::base::disk::fault;
use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::schema::{Schema, brought_up};
use crate::store::archive::{ArchiveError, DayFile, GROUP_ROWS, Keys, Run, sorted};

use super::publish::Draft;
use super::{DEAD_MAX, GROUPS_MAX, Policy, ROLL_ROWS, RollError, Roller, make_names_durable};

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

impl Roller {
    /// Rolls a partition, up to a bounded number of rows. None when the buffer has nothing for it.
    ///
    /// # Errors
    /// When anything refuses; the rows stay in the buffer and the day file is as it was.
    pub fn roll(&mut self, partition: &Partition, policy: &Policy, now: Micros) -> Result<Option<Rolled>, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let file = self.open(partition, &schema)?;
        let covered = file.as_ref().map_or(0, |file| file.footer().covers(self.view.id()));
        let covered = covered.max(self.passed.get(partition).copied().unwrap_or_default());
        let (blocks, next) = self.view.blocks(partition, covered, ROLL_ROWS)?;
        let more = next.is_some();
        let done =
            |events: u64, doubles: u64, seq: i64, more: bool| Rolled { partition: partition.clone(), events, doubles, seq, more };
        let Some(seq) = blocks.last().map(|(seq, _)| *seq) else {
            if covered == 0 {
                return Ok(None);
            }
            // The file is there, but an earlier attempt may have failed behind its rename.
            make_names_durable(&self.layout, partition)?;
            return Ok(Some(done(0, 0, covered, false)));
        };
        let came: usize = blocks.iter().map(|(_, rows)| rows.num_rows()).sum();
        let path = self.layout.day_file(partition);
        let conformed: Vec<RecordBatch> = blocks
            .iter()
            .map(|(_, rows)| {
                brought_up(rows, &schema).map_err(|source| ArchiveError::Conform { path: self.layout.buffer(), source })
            })
            .collect::<Result<_, _>>()?;
        drop(blocks);
        let rows = sorted(&conformed).map_err(ArchiveError::arrow(&path))?;
        drop(conformed);
        let Some(mut rows) = rows else { return Ok(Some(done(0, 0, seq, more))) };
        let plan = file.as_ref().map(|file| Plan::new(file, &schema)).unwrap_or_default();
        if let Some(file) = &file
            && !fault::leaves_out("check against the day file")
        {
            rows = without_doubles(file, rows)?;
        }
        let events = rows.num_rows() as u64;
        let doubles = came as u64 - events;
        if events == 0 {
            // The day file has them all: nothing to write, and the buffer's rows may go once its name is sure to stay.
            make_names_durable(&self.layout, partition)?;
            self.passed.insert(partition.clone(), seq);
            return Ok(Some(done(0, doubles, seq, more)));
        }
        let runs = match &file {
            Some(file) => file.runs(&plan.anew, &schema)?,
            None => Vec::new(),
        };
        let runs = runs.into_iter().chain([Box::new([Ok(rows)].into_iter()) as Run]).collect();
        let sealed = !more && plan.copied.is_empty() && partition.day.end() + policy.quiet <= now;
        self.publish(Draft {
            partition,
            schema: &schema,
            copied: file.as_ref().map(|file| (file, plan.copied.as_slice())),
            runs,
            buffer_id: self.view.id().to_owned(),
            seq_last: seq,
            sealed,
        })?;
        Ok(Some(done(events, doubles, seq, more)))
    }

    /// Seals a partition's day file: one sorted whole. False when it was sealed already, or is gone.
    ///
    /// # Errors
    /// When anything refuses; the day file is as it was.
    pub fn seal(&mut self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let file = self.open(partition, &schema)?.filter(|file| !file.footer().sealed);
        let Some(file) = file else {
            // A failure behind the rename may have kept its checksum from being noted.
            self.unsealed.remove(partition);
            self.unlisted.insert(partition.clone());
            return Ok(false);
        };
        let runs = file.runs(&(0..file.groups()).collect::<Vec<_>>(), &schema)?;
        self.publish(Draft {
            partition,
            schema: &schema,
            copied: None,
            runs,
            // What the file covers of which buffer stays as it was.
            buffer_id: file.footer().buffer_id.clone(),
            seq_last: file.footer().seq_last,
            sealed: true,
        })?;
        Ok(true)
    }

    /// True when a partition's day file was written with an older schema, or lacks values that its `raw` has.
    ///
    /// # Errors
    /// When the file does not open.
    pub fn is_old(&self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        Ok(self.open(partition, &schema)?.map(|file| is_old(&file, &schema)).transpose()?.unwrap_or(false))
    }

    /// Writes a day file of an older schema anew, from its columns and `raw`. False when it has today's columns, or is gone.
    ///
    /// # Errors
    /// When anything refuses; the day file is as it was.
    pub fn rebuild(&mut self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let Some(file) = self.open(partition, &schema)? else { return Ok(false) };
        if !is_old(&file, &schema)? {
            return Ok(false);
        }
        let footer = file.footer();
        self.publish(Draft {
            partition,
            schema: &schema,
            copied: None,
            runs: file.reread(&schema)?,
            buffer_id: footer.buffer_id.clone(),
            seq_last: footer.seq_last,
            sealed: footer.sealed,
        })?;
        Ok(true)
    }
}

fn is_old(file: &DayFile, schema: &Arc<Schema>) -> Result<bool, RollError> {
    Ok(file.footer().schema_version < schema.version || !file.has_columns_of(schema) || file.lacks_values(schema)?)
}

/// Which row groups of a day file are copied, and which are encoded anew together with the new rows.
#[derive(Debug, Default)]
struct Plan {
    copied: Vec<usize>,
    anew: Vec<usize>,
}

impl Plan {
    fn new(file: &DayFile, schema: &Schema) -> Self {
        let groups = 0..file.groups();
        if !file.has_columns_of(schema) {
            // Every file of a type has the same columns: an older version is rewritten as a whole.
            return Self { copied: Vec::new(), anew: groups.collect() };
        }
        let live: u64 = groups.clone().map(|group| file.group_bytes(group)).sum();
        let dead = file.bytes().saturating_sub(live);
        if file.groups() < GROUPS_MAX && dead <= live.max(DEAD_MAX) {
            return Self { copied: groups.collect(), anew: Vec::new() };
        }
        // A full row group waits for the seal: taking it in would mean to write a large file anew, again and again.
        let (copied, anew) = groups.partition(|group| file.group_rows(*group) >= GROUP_ROWS);
        Self { copied, anew }
    }
}

/// New rows without those that a day file has. Only row groups whose time range meets theirs are looked at.
fn without_doubles(file: &DayFile, rows: RecordBatch) -> Result<RecordBatch, RollError> {
    let Some(keys) = Keys::of(&rows).filter(|keys| !keys.is_empty()) else { return Ok(rows) };
    let (first, last) = (keys.get(0).0, keys.get(keys.len() - 1).0);
    let mut fresh = vec![true; keys.len()];
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
                while row < keys.len() && keys.get(row) < key {
                    row += 1;
                }
                if row < keys.len() && keys.get(row) == key {
                    fresh[row] = false;
                }
            }
        })?;
    }
    if fresh.iter().all(|fresh| *fresh) {
        return Ok(rows);
    }
    filter_record_batch(&rows, &BooleanArray::from(fresh)).map_err(|error| ArchiveError::arrow(file.path())(error).into())
}
