//! Roll: moves a partition's rows from the buffer into its day file. Seal: the last rewrite of a day file.
//!
//! 1. Read the partition's rows up to the highest seq S, and its day file if there is one.
//! 2. Write day file + new rows to staging, without an event that the day file has already; footer: `seq_last` = S.
//! 3. Close, sync the file; read its footer back.
//! 4. Rename over `data/<type>/<day>.parquet`; sync the directory (and the parent of a new one). **The commit point.**
//! 5. Delete the partition's buffer rows up to S. Clean-up: it may happen any time later.
//!
//! Row groups of the day file that the new rows do not concern are copied byte for byte. New rows become a row group of
//! their own, together with the last row groups as long as those are not larger than what stands behind them: so their
//! number stays logarithmic, and a row is encoded anew a few times a day at most.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::archive::{ArchiveError, DayFile, DayWriter, Effort, Footer, Keys, Merge, Run, day_files, sorted};
use crate::buffer::{Buffer, BufferError, View};
use crate::disk::{self, DiskError};
use crate::event::Partition;
use crate::layout::Layout;
use crate::schema::{Registry, Schema, conform};
use crate::time::Micros;

/// Rows taken from the buffer at a time; what lies beyond is the next roll's. Bounds the memory of a roll.
const ROLL_ROWS: usize = 128 * 1024;

/// Why a roll failed. The rows are still kept.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The buffer refused.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file cannot be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The day file was written with a newer version of its schema.
    #[error(
        "{partition}: its day file has schema version {found}, this program knows {known}; use a newer overnight, or give the schema's folder with --schemas"
    )]
    NewerSchema {
        /// The partition.
        partition: Partition,
        /// Version in the footer.
        found: u32,
        /// Version known here.
        known: u32,
    },
    /// The footer that was written does not read back as it was meant.
    #[error("{partition}: the footer reads back as {found:?}; the file stays in staging and the rows in the buffer")]
    ReadBack {
        /// The partition.
        partition: Partition,
        /// What was read.
        found: Option<Box<Footer>>,
    },
}

/// When to roll, and when to seal.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Rows older than this are rolled even if they are few, in microseconds.
    pub age_max: Micros,
    /// A partition is rolled when its pending rows are at least this part of its file's.
    pub share: u64,
    /// A partition with so many pending rows is rolled at once.
    pub rows_max: u64,
    /// A day file is sealed so long after its day is over, in microseconds.
    pub quiet: Micros,
}

impl Default for Policy {
    fn default() -> Self {
        let minute = 60 * crate::time::SECOND;
        Self { age_max: 60 * minute, share: 8, rows_max: ROLL_ROWS as u64, quiet: 15 * minute }
    }
}

/// Something to roll or to seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Move the partition's rows into its day file.
    Roll(Partition),
    /// Rewrite its day file for good.
    Seal(Partition),
}

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

/// What opening a recording found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Blocks deleted that a day file held already.
    pub blocks: usize,
    /// Unfinished files removed from staging.
    pub staged: usize,
    /// Day files that still have to be sealed.
    pub unsealed: BTreeSet<Partition>,
}

/// Makes a recording whole after any stop: the files are the truth.
///
/// # Errors
/// When a day file that the buffer has rows for does not read, or the disk refuses.
pub fn recover(buffer: &mut Buffer, layout: &Layout) -> Result<Recovered, RollError> {
    let mut recovered = Recovered::default();
    for path in disk::list(&layout.staging())? {
        disk::remove(&path)?;
        recovered.staged += 1;
    }
    for (path, _) in day_files(layout)? {
        let Some(file) = DayFile::open(&path)? else { continue };
        let footer = file.footer();
        let covered = footer.covers(buffer.id());
        if covered > 0 {
            recovered.blocks += buffer.forget(&footer.partition, covered)?;
            buffer.advance(covered)?;
        }
        if !footer.sealed {
            recovered.unsealed.insert(footer.partition.clone());
        }
    }
    Ok(recovered)
}

/// Rolls the partitions of one recording.
#[derive(Debug)]
pub struct Roller {
    layout: Layout,
    registry: Arc<Registry>,
    view: View,
    unsealed: BTreeSet<Partition>,
    /// Up to which seq a partition's rows were found to be doubles, all of them: no footer says so.
    passed: HashMap<Partition, i64>,
}

impl Roller {
    /// A roller with its own read-only view of the buffer.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn new(layout: &Layout, registry: Arc<Registry>, unsealed: BTreeSet<Partition>) -> Result<Self, RollError> {
        Ok(Self { layout: layout.clone(), registry, view: View::open(layout)?, unsealed, passed: HashMap::new() })
    }

    /// What is due now; with `all`, every partition that has rows in the buffer.
    ///
    /// # Errors
    /// When the buffer or a footer cannot be read.
    pub fn due(&self, policy: &Policy, now: Micros, all: bool) -> Result<Vec<Work>, RollError> {
        let mut work = Vec::new();
        let pending = self.view.pending()?;
        for pending in &pending {
            let over = pending.partition.day.end() <= now;
            let old = now - pending.kept_first >= policy.age_max;
            let share = || -> Result<bool, RollError> {
                let file = DayFile::of(&self.layout, &pending.partition)?;
                Ok(pending.events * policy.share >= file.map_or(0, |file| file.footer().rows))
            };
            if all || over || old || pending.events >= policy.rows_max || share()? {
                work.push(Work::Roll(pending.partition.clone()));
            }
        }
        for partition in &self.unsealed {
            let quiet = partition.day.end() + policy.quiet <= now;
            if quiet && !pending.iter().any(|pending| pending.partition == *partition) {
                work.push(Work::Seal(partition.clone()));
            }
        }
        Ok(work)
    }

    /// Rolls a partition, up to a bounded number of rows. None when the buffer has nothing for it.
    ///
    /// # Errors
    /// When anything refuses; the rows stay in the buffer and the day file is as it was.
    pub fn roll(&mut self, partition: &Partition, policy: &Policy, now: Micros) -> Result<Option<Rolled>, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let file = self.open(partition, &schema)?;
        let covered = file.as_ref().map_or(0, |file| file.footer().covers(self.view.id()));
        let covered = covered.max(self.passed.get(partition).copied().unwrap_or_default());
        let blocks = self.view.blocks(partition, covered, ROLL_ROWS)?;
        let done =
            |events: u64, doubles: u64, seq: i64, more: bool| Rolled { partition: partition.clone(), events, doubles, seq, more };
        let Some(seq) = blocks.last().map(|(seq, _)| *seq) else {
            return Ok((covered > 0).then(|| done(0, 0, covered, false)));
        };
        let came: usize = blocks.iter().map(|(_, rows)| rows.num_rows()).sum();
        let path = self.layout.day_file(partition);
        let conformed: Vec<RecordBatch> = blocks
            .iter()
            .map(|(_, rows)| conform(rows, &schema).map_err(|source| ArchiveError::Conform { path: path.clone(), source }))
            .collect::<Result<_, _>>()?;
        drop(blocks);
        let rows = sorted(&conformed).map_err(ArchiveError::arrow(&path))?;
        drop(conformed);
        let more = came >= ROLL_ROWS;
        let Some(mut rows) = rows else { return Ok(Some(done(0, 0, seq, more))) };
        let plan = file.as_ref().map(|file| Plan::new(file, &schema, rows.num_rows())).unwrap_or_default();
        if let Some(file) = &file {
            rows = without_doubles(file, &(0..file.groups()).collect::<Vec<_>>(), rows)?;
        }
        let events = rows.num_rows() as u64;
        let doubles = came as u64 - events;
        if events == 0 {
            // The day file has them all: nothing to write, and the buffer's rows may go.
            self.passed.insert(partition.clone(), seq);
            return Ok(Some(done(0, doubles, seq, more)));
        }
        let runs = match &file {
            Some(file) => file.runs(&plan.anew, &schema)?,
            None => Vec::new(),
        };
        let runs = runs.into_iter().chain([Box::new([Ok(rows)].into_iter()) as Run]).collect();
        let sealed = plan.copied.is_empty() && partition.day.end() + policy.quiet <= now;
        self.publish(partition, &schema, file.as_ref().map(|file| (file, plan.copied.as_slice())), runs, seq, sealed)?;
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
            self.unsealed.remove(partition);
            return Ok(false);
        };
        let runs = file.runs(&(0..file.groups()).collect::<Vec<_>>(), &schema)?;
        // What the file covers of which buffer stays as it was.
        let (seq, id) = (file.footer().seq_last, file.footer().buffer_id.clone());
        self.write(partition, &schema, None, runs, (seq, &id), true)?;
        self.unsealed.remove(partition);
        Ok(true)
    }

    fn open(&self, partition: &Partition, schema: &Schema) -> Result<Option<DayFile>, RollError> {
        let file = DayFile::of(&self.layout, partition)?;
        let found = file.as_ref().map_or(0, |file| file.footer().schema_version);
        if found > schema.version {
            return Err(RollError::NewerSchema { partition: partition.clone(), found, known: schema.version });
        }
        Ok(file)
    }

    fn publish(
        &mut self,
        partition: &Partition,
        schema: &Schema,
        copied: Option<(&DayFile, &[usize])>,
        runs: Vec<Run>,
        seq: i64,
        sealed: bool,
    ) -> Result<(), RollError> {
        let id = self.view.id().to_owned();
        self.write(partition, schema, copied, runs, (seq, &id), sealed)?;
        if sealed {
            self.unsealed.remove(partition);
        } else {
            self.unsealed.insert(partition.clone());
        }
        Ok(())
    }

    /// Steps 2 to 4: writes copied row groups and merged runs to staging, syncs, reads back, publishes.
    fn write(
        &self,
        partition: &Partition,
        schema: &Schema,
        copied: Option<(&DayFile, &[usize])>,
        runs: Vec<Run>,
        (seq_last, buffer_id): (i64, &str),
        sealed: bool,
    ) -> Result<(), RollError> {
        let staged = self.layout.staged(partition);
        let mut writer = DayWriter::create(&staged, schema, if sealed { Effort::Seal } else { Effort::Roll })?;
        let (mut time_first, mut time_last) = (Micros::MAX, Micros::MIN);
        if let Some((file, groups)) = copied {
            for group in groups {
                writer.copy(file, *group)?;
                let (first, last) = file.group_times(*group);
                (time_first, time_last) = (time_first.min(first), time_last.max(last));
            }
        }
        for rows in Merge::new(runs) {
            let rows = rows?;
            if let Some(keys) = Keys::of(&rows).filter(|keys| !keys.is_empty()) {
                time_first = time_first.min(keys.get(0).0);
                time_last = time_last.max(keys.get(keys.len() - 1).0);
            }
            writer.write(&rows)?;
        }
        let footer = Footer {
            partition: partition.clone(),
            schema_version: schema.version,
            rows: writer.rows(),
            time_first,
            time_last,
            buffer_id: buffer_id.to_owned(),
            seq_last,
            sealed,
        };
        writer.finish(&footer)?;
        let found = DayFile::open(&staged)?;
        if found.as_ref().map(DayFile::footer) != Some(&footer) {
            let found = found.map(|file| Box::new(file.footer().clone()));
            return Err(RollError::ReadBack { partition: partition.clone(), found });
        }
        disk::create_dir(&self.layout.folder(&partition.event_type))?;
        Ok(disk::publish(&staged, &self.layout.day_file(partition))?)
    }
}

/// Which row groups of a day file are copied, and which are encoded anew together with the new rows.
#[derive(Debug, Default)]
struct Plan {
    copied: Vec<usize>,
    anew: Vec<usize>,
}

impl Plan {
    fn new(file: &DayFile, schema: &Schema, new_rows: usize) -> Self {
        let groups = 0..file.groups();
        if !file.has_columns_of(schema) {
            // Every file of a type has the same columns: an older version is rewritten as a whole.
            return Self { copied: Vec::new(), anew: groups.collect() };
        }
        let mut plan = Self { copied: groups.collect(), anew: Vec::new() };
        let mut behind = new_rows;
        while let Some(group) = plan.copied.last().copied().filter(|group| file.group_rows(*group) <= behind) {
            behind += file.group_rows(group);
            plan.copied.pop();
            plan.anew.insert(0, group);
        }
        plan
    }
}

/// New rows without those that a day file has. Only row groups whose time range meets theirs are looked at.
fn without_doubles(file: &DayFile, groups: &[usize], rows: RecordBatch) -> Result<RecordBatch, RollError> {
    let Some(keys) = Keys::of(&rows).filter(|keys| !keys.is_empty()) else { return Ok(rows) };
    let (first, last) = (keys.get(0).0, keys.get(keys.len() - 1).0);
    let mut fresh = vec![true; keys.len()];
    for group in groups {
        let (group_first, group_last) = file.group_times(*group);
        if group_last < first || group_first > last {
            continue;
        }
        // Both are in order: walk along them side by side.
        let mut row = 0;
        file.keys(*group, |times, ids| {
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
