//! Roll: moves a partition's rows from the buffer into its day file. Seal: the last rewrite of a day file.
//!
//! 1. Read the partition's rows up to the highest seq S, and its day file if there is one.
//! 2. Write day file + new rows to staging, without an event that the day file has already; footer: `seq_last` = S.
//! 3. Close, sync the file; read its footer back.
//! 4. Rename over `data/<type>/<day>.parquet`; sync the directory (and the parent of a new one). **The commit point.**
//! 5. Delete the partition's buffer rows up to S. Clean-up: it may happen any time later.
//!
//! New rows become a row group behind those that the day file has, which are copied byte for byte to the same places. So
//! a reader that takes the footer of one file and the pages of the next still reads what it meant to (DuckDB and Polars
//! open a file twice). Only when there are many small row groups, and at the seal, they are encoded anew as one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::archive::{ArchiveError, DayFile, DayWriter, Effort, Footer, GROUP_ROWS, Keys, Merge, Run, day_files, sorted};
use crate::buffer::{Buffer, BufferError, Change, Pending, Sum, View, manifest};
use crate::disk::{self, DiskError, fault};
use crate::error::Advice;
use crate::event::{DeviceRow, Partition};
use crate::layout::Layout;
use crate::schema::{Registry, Schema, conform};
use crate::time::{Day, Micros, rfc3339};

/// Rows taken from the buffer at a time; what lies beyond is the next roll's. Bounds the memory of a roll. Few in unit
/// tests, so that small worlds come to all of it.
const ROLL_ROWS: usize = if cfg!(test) { 12 } else { 128 * 1024 };

/// With so many row groups in a file, the small ones become one.
const GROUPS_MAX: usize = if cfg!(test) { 4 } else { 48 };

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
    /// Reading or writing the partition's day file brought the program down, as a damaged page can.
    #[error("{0}: its day file brings the program down; move the file out of the recording, the rows in the buffer are safe")]
    Panicked(Partition),
    /// The checksum of the day file as it is could not be taken off the list, so the file stays as it is.
    #[error("{0}: the checksum of its day file cannot be taken back; the day file is as it was, the rows stay in the buffer")]
    Listed(Partition),
    /// The footer that was written does not read back as it was meant.
    #[error("{partition}: the footer reads back as {found:?}; the day file is as it was, the rows stay in the buffer")]
    ReadBack {
        /// The partition.
        partition: Partition,
        /// What was read.
        found: Option<Box<Footer>>,
    },
}

impl RollError {
    /// True when the partition's day file itself is at fault, and will be at the next try.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_damage(),
            Self::Panicked(_) => true,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Buffer(error) => error.advice(),
            Self::Archive(error) => error.advice(),
            Self::Disk(error) if disk::is_full(error) => Advice::MakeRoom,
            Self::Disk(_) | Self::NewerSchema { .. } => Advice::Fix,
            Self::Listed(_) => Advice::Retry,
            Self::ReadBack { .. } | Self::Panicked(_) => Advice::Inspect,
        }
    }
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
    /// Day files that did not read and were set aside.
    pub damaged: Vec<Damage>,
    /// Day files that do not read for another reason, and that reason.
    pub unreadable: Vec<String>,
    /// Day files that still have to be sealed.
    pub unsealed: BTreeSet<Partition>,
    /// Sealed day files without a checksum: the process that sealed them ended before it noted that.
    pub unlisted: BTreeSet<Partition>,
    /// Partitions that have a day file.
    pub partitions: Vec<Partition>,
}

/// What became of a day file that did not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it stood.
    pub path: PathBuf,
    /// Where it stands now.
    pub aside: PathBuf,
    /// What was wrong with it.
    pub why: String,
    /// Rows that could be read, and stand in the day file that took its place.
    pub rescued: u64,
    /// Event time of what could not be read.
    pub span: (Micros, Micros),
}

impl Damage {
    /// Cause of the gaps that it leaves.
    pub fn cause(&self) -> String {
        format!("a day file was damaged: {}", self.path.file_name().unwrap_or_default().to_string_lossy())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, aside, (from, to)) = (self.path.display(), self.aside.display(), self.span);
        write!(
            out,
            "{path} is damaged ({}); it stands in {aside} now, {} of its rows could be read, and {} to {} is a gap",
            self.why,
            self.rescued,
            rfc3339(from),
            rfc3339(to)
        )
    }
}

/// How far to look for something to roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything in the buffer.
    All,
    /// What is due by the policy.
    Due,
    /// Only partitions that have grown too large to wait for the timer.
    Large,
}

/// Makes a recording whole after any stop: the files are the truth. Afterwards the buffer has a new id, so that only
/// files written from now on can cover its rows.
///
/// A damaged day file is set aside, and the day it was of is a gap then. One that does not read for another reason, such as a
/// newer format, is left alone: the rows of its partition stay in the buffer.
///
/// # Errors
/// When the buffer or the disk refuses.
pub fn recover(buffer: &mut Buffer, layout: &Layout, now: Micros) -> Result<Recovered, RollError> {
    let mut recovered = Recovered::default();
    let listed = View::open(layout)?.sealed()?;
    for path in disk::list(&layout.staging())? {
        disk::remove(&path)?;
        recovered.staged += 1;
    }
    for (path, day) in day_files(layout)? {
        let file = match DayFile::open(&path) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(error) if error.is_damage() => {
                let aside = aside(layout, &path, now)?;
                let damage = Damage { path, aside, why: error.to_string(), rescued: 0, span: so_far(day, now) };
                // Before the file goes: a crash between must not make a silence of it.
                for project in buffer.projects()? {
                    buffer.apply(
                        &Change::Lost { project, cause: damage.cause(), begins: damage.span.0, ends: damage.span.1 },
                        now,
                    )?;
                }
                for partition in listed.keys().filter(|partition| layout.day_file(partition) == damage.path) {
                    buffer.unsealed(partition)?;
                }
                disk::set_aside(&damage.path, &damage.aside)?;
                recovered.damaged.push(damage);
                continue;
            }
            Err(error) => {
                recovered.unreadable.push(error.to_string());
                continue;
            }
        };
        let footer = file.footer();
        if layout.day_file(&footer.partition) != path {
            // A copy under another name speaks for nothing.
            continue;
        }
        let covered = footer.covers(buffer.id());
        if covered > 0 && buffer.covered(&footer.partition, covered)? > 0 {
            // The rename was seen, but a crash may have come before it was durable.
            make_names_durable(layout, &footer.partition)?;
            recovered.blocks += buffer.forget(&footer.partition, covered)?;
        }
        if !footer.sealed {
            recovered.unsealed.insert(footer.partition.clone());
            if listed.contains_key(&footer.partition) {
                // That of the file before: somebody has put back an old buffer.
                buffer.unsealed(&footer.partition)?;
            }
        } else if !listed.contains_key(&footer.partition) {
            recovered.unlisted.insert(footer.partition.clone());
        }
        recovered.partitions.push(footer.partition.clone());
    }
    buffer.renew_id()?;
    Ok(recovered)
}

/// The time of a day that is over: what is still to come is no gap.
pub fn so_far(day: Day, now: Micros) -> (Micros, Micros) {
    (day.start(), day.end().min(now).max(day.start()))
}

/// A free name for a day file that is set aside.
fn aside(layout: &Layout, path: &Path, now: Micros) -> Result<PathBuf, DiskError> {
    let folder = layout.damaged();
    disk::create_own_dir(&folder)?;
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (event_type, day) = (name(path.parent().and_then(Path::file_name)), name(path.file_stem()));
    Ok(folder.join(format!("{event_type}.{day}.{now}.parquet")))
}

/// Syncs the directories that name a partition's day file.
fn make_names_durable(layout: &Layout, partition: &Partition) -> Result<(), DiskError> {
    disk::sync_dir(&layout.folder(&partition.event_type))?;
    disk::sync_dir(&layout.data())
}

/// Rolls the partitions of one recording.
#[derive(Debug)]
pub struct Roller {
    layout: Layout,
    registry: Arc<Registry>,
    view: View,
    unsealed: BTreeSet<Partition>,
    /// Folders below `data/` whose names this process has made durable.
    folders: BTreeSet<PathBuf>,
    /// Checksums of files that were sealed, for whoever notes them.
    sums: Vec<(Partition, Sum)>,
    /// Up to which seq a partition's rows were found to be doubles, all of them: no footer says so.
    passed: HashMap<Partition, i64>,
}

impl Roller {
    /// A roller with its own read-only view of the buffer.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn new(layout: &Layout, registry: Arc<Registry>, unsealed: BTreeSet<Partition>) -> Result<Self, RollError> {
        Ok(Self {
            layout: layout.clone(),
            registry,
            view: View::open(layout)?,
            unsealed,
            folders: BTreeSet::new(),
            sums: Vec::new(),
            passed: HashMap::new(),
        })
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn due(&self, policy: &Policy, now: Micros, scope: Scope) -> Result<Vec<Work>, RollError> {
        let pending = self.view.pending()?;
        let is_due = |pending: &&Pending| {
            let large = pending.events >= policy.rows_max;
            match scope {
                Scope::All => true,
                Scope::Large => large,
                Scope::Due => {
                    let over = pending.partition.day.end() <= now;
                    let old = now - pending.kept_first >= policy.age_max;
                    large || over || old || self.is_fair_share(pending, policy)
                }
            }
        };
        let mut work: Vec<Work> = pending.iter().filter(is_due).map(|pending| Work::Roll(pending.partition.clone())).collect();
        if scope != Scope::Large {
            let quiet = self.unsealed.iter().filter(|partition| partition.day.end() + policy.quiet <= now);
            let done = quiet.filter(|partition| !pending.iter().any(|pending| pending.partition == **partition));
            work.extend(done.map(|partition| Work::Seal(partition.clone())));
        }
        Ok(work)
    }

    /// A day file that does not read counts as none: the roll itself then tells what is wrong with it.
    fn is_fair_share(&self, pending: &Pending, policy: &Policy) -> bool {
        let file = DayFile::of(&self.layout, &pending.partition).ok().flatten();
        pending.events * policy.share >= file.map_or(0, |file| file.footer().rows)
    }

    /// Checksums of all sealed day files, as noted.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn sealed(&self) -> Result<BTreeMap<Partition, Sum>, RollError> {
        Ok(self.view.sealed()?)
    }

    /// Day files that are not sealed.
    pub fn unsealed(&self) -> Vec<Partition> {
        self.unsealed.iter().cloned().collect()
    }

    /// True when a partition's day file is sealed.
    pub fn is_sealed(&self, partition: &Partition) -> bool {
        DayFile::of(&self.layout, partition).is_ok_and(|file| file.is_some_and(|file| file.footer().sealed))
    }

    /// Checksums of the files that were sealed since this was called last.
    pub fn take_sums(&mut self) -> Vec<(Partition, Sum)> {
        std::mem::take(&mut self.sums)
    }

    /// Takes the checksum of a sealed day file that has none yet. Nothing happens when it is not sealed, or gone.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn sum(&mut self, partition: &Partition) -> Result<(), RollError> {
        if DayFile::of(&self.layout, partition)?.is_some_and(|file| file.footer().sealed) {
            let (sha256, bytes) = disk::sha256(&self.layout.day_file(partition))?;
            self.sums.push((partition.clone(), Sum { sha256, bytes }));
        }
        Ok(())
    }

    /// Writes the list of checksums, as `sha256sum --check MANIFEST` reads it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn publish_manifest(&self) -> Result<(), RollError> {
        let lines = manifest(&self.layout, &self.view.sealed()?);
        Ok(disk::write(&self.layout.staging(), &self.layout.manifest(), lines.as_bytes())?)
    }

    /// The recording.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The devices that the cloud listed.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn devices(&self) -> Result<Vec<DeviceRow>, RollError> {
        Ok(self.view.devices()?)
    }

    /// Projects that the ledger speaks of.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn projects(&self) -> Result<Vec<String>, RollError> {
        Ok(self.view.projects()?)
    }

    /// How many events the buffer holds.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn buffered(&self) -> Result<u64, RollError> {
        Ok(self.view.pending()?.iter().map(|pending| pending.events).sum())
    }

    /// Partitions of which the buffer holds events.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn pending(&self) -> Result<impl Iterator<Item = Partition> + use<>, RollError> {
        Ok(self.view.pending()?.into_iter().map(|pending| pending.partition))
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
        let (blocks, more) = self.view.blocks(partition, covered, ROLL_ROWS)?;
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
            .map(|(_, rows)| conform(rows, &schema).map_err(|source| ArchiveError::Conform { path: path.clone(), source }))
            .collect::<Result<_, _>>()?;
        drop(blocks);
        let rows = sorted(&conformed).map_err(ArchiveError::arrow(&path))?;
        drop(conformed);
        let Some(mut rows) = rows else { return Ok(Some(done(0, 0, seq, more))) };
        let plan = file.as_ref().map(|file| Plan::new(file, &schema)).unwrap_or_default();
        if let Some(file) = &file
            && !fault::leaves_out("check against the day file")
        {
            rows = without_doubles(file, &(0..file.groups()).collect::<Vec<_>>(), rows)?;
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
            self.unsealed.remove(partition);
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

    /// True when a partition's day file was written with an older schema.
    ///
    /// # Errors
    /// When the file does not open.
    pub fn is_old(&self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        Ok(self.open(partition, &schema)?.is_some_and(|file| is_old(&file, &schema)))
    }

    /// Writes a day file of an older schema anew, from its columns and `raw`. False when it has today's columns, or is gone.
    ///
    /// # Errors
    /// When anything refuses; the day file is as it was.
    pub fn rebuild(&mut self, partition: &Partition) -> Result<bool, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let Some(file) = self.open(partition, &schema)?.filter(|file| is_old(file, &schema)) else { return Ok(false) };
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

    /// Sets a damaged day file aside and puts those of its row groups that read into a new one. None when there is no file.
    /// What is lost is noted before anything changes: a crash between must not make a silence of it.
    ///
    /// `is_changed` where its checksum tells that it is not the file that was sealed. Then it is damaged even if all of it reads,
    /// and nobody knows where: all its time is a gap.
    ///
    /// # Errors
    /// When anything refuses; the damaged file is still there then, under its own name or the one of what is set aside.
    pub fn rescue(
        &mut self,
        partition: &Partition,
        why: String,
        is_changed: bool,
        now: Micros,
        note: impl FnOnce(&Damage),
    ) -> Result<Option<Damage>, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let path = self.layout.day_file(partition);
        if !path.exists() {
            return Ok(None);
        }
        let aside = aside(&self.layout, &path, now)?;
        let mut damage = Damage { path: path.clone(), aside, why, rescued: 0, span: so_far(partition.day, now) };
        let file = DayFile::of(&self.layout, partition).ok().flatten();
        let reads = |file: &DayFile, group: usize| -> bool {
            let read = || file.rows(vec![group], &schema).is_ok_and(|mut rows| rows.all(|rows| rows.is_ok()));
            catch_unwind(AssertUnwindSafe(read)).unwrap_or(false)
        };
        let groups = file.as_ref().map_or(0, DayFile::groups);
        let (good, bad): (Vec<_>, Vec<_>) = (0..groups).partition(|group| file.as_ref().is_some_and(|file| reads(file, *group)));
        if groups > 0 && bad.is_empty() && !is_changed {
            // Every page reads: whatever went wrong, it was not the file.
            return Ok(None);
        }
        let Some(file) = file.filter(|_| !good.is_empty()) else {
            note(&damage);
            disk::set_aside(&path, &damage.aside)?;
            self.unsealed.remove(partition);
            return Ok(Some(damage));
        };
        let times = bad.iter().filter(|_| !is_changed).map(|group| file.group_times(*group));
        let span = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or(damage.span);
        damage.span = (span.0.max(damage.span.0), span.1.saturating_add(1).min(damage.span.1));
        damage.rescued = good.iter().map(|group| file.group_rows(*group) as u64).sum();
        note(&damage);
        disk::keep_as(&path, &damage.aside)?;
        self.publish(Draft {
            partition,
            schema: &schema,
            copied: None,
            runs: file.runs(&good, &schema)?,
            // Rows that are still in the buffer may be among those that did not read: nothing is covered.
            buffer_id: String::new(),
            seq_last: 0,
            sealed: false,
        })?;
        Ok(Some(damage))
    }

    fn open(&self, partition: &Partition, schema: &Schema) -> Result<Option<DayFile>, RollError> {
        let file = DayFile::of(&self.layout, partition)?;
        let found = file.as_ref().map_or(0, |file| file.footer().schema_version);
        if found > schema.version {
            return Err(RollError::NewerSchema { partition: partition.clone(), found, known: schema.version });
        }
        Ok(file)
    }

    /// Steps 2 to 4. A file that fails is removed from staging: on a full disk the keeper needs its room.
    fn publish(&mut self, draft: Draft<'_>) -> Result<(), RollError> {
        let (partition, sealed) = (draft.partition, draft.sealed);
        // Also when this fails, since it may fail behind the rename. What the file consisted of before is of no worth any more.
        self.unsealed.insert(partition.clone());
        self.sums.retain(|(other, _)| other != partition);
        let staged = self.layout.staged(partition);
        let mut sum = None;
        let written = stage(&staged, draft).and_then(|()| {
            if sealed {
                let (sha256, bytes) = disk::sha256(&staged)?;
                sum = Some(Sum { sha256, bytes });
            }
            let folder = self.layout.folder(&partition.event_type);
            if !self.folders.contains(&folder) {
                // Also when it exists: the process that made it may have died before its name was durable.
                disk::create_own_dir(&folder)?;
                disk::sync_dir(&self.layout.data())?;
                self.folders.insert(folder);
            }
            Ok(disk::publish(&staged, &self.layout.day_file(partition))?)
        });
        if let Err(error) = written {
            // The first error is the one to tell.
            disk::remove(&staged).unwrap_or_default();
            return Err(error);
        }
        if sealed {
            self.unsealed.remove(partition);
            self.sums.extend(sum.map(|sum| (partition.clone(), sum)));
        }
        Ok(())
    }
}

fn is_old(file: &DayFile, schema: &Schema) -> bool {
    file.footer().schema_version < schema.version || !file.has_columns_of(schema)
}

/// A day file to be written.
struct Draft<'a> {
    partition: &'a Partition,
    schema: &'a Schema,
    /// Row groups to copy from the file before.
    copied: Option<(&'a DayFile, &'a [usize])>,
    /// Rows to encode.
    runs: Vec<Run>,
    /// What the file covers: of which buffer, up to which seq.
    buffer_id: String,
    seq_last: i64,
    sealed: bool,
}

/// Steps 2 and 3: writes copied row groups and merged runs, syncs, reads the footer back.
fn stage(path: &Path, draft: Draft<'_>) -> Result<(), RollError> {
    let effort = if draft.sealed { Effort::Seal } else { Effort::Roll };
    let mut writer = DayWriter::create(path, draft.schema, effort)?;
    let (mut time_first, mut time_last) = (Micros::MAX, Micros::MIN);
    if let Some((file, groups)) = draft.copied {
        for group in groups {
            writer.copy(file, *group)?;
            let (first, last) = file.group_times(*group);
            (time_first, time_last) = (time_first.min(first), time_last.max(last));
        }
    }
    for rows in Merge::new(draft.runs) {
        let rows = rows?;
        if let Some(keys) = Keys::of(&rows).filter(|keys| !keys.is_empty()) {
            time_first = time_first.min(keys.get(0).0);
            time_last = time_last.max(keys.get(keys.len() - 1).0);
        }
        writer.write(&rows)?;
    }
    let footer = Footer {
        partition: draft.partition.clone(),
        schema_version: draft.schema.version,
        rows: writer.rows(),
        time_first,
        time_last,
        buffer_id: draft.buffer_id,
        seq_last: draft.seq_last,
        sealed: draft.sealed,
    };
    writer.finish(&footer)?;
    let found = DayFile::open(path)?;
    if found.as_ref().map(DayFile::footer) != Some(&footer) {
        let found = found.map(|file| Box::new(file.footer().clone()));
        return Err(RollError::ReadBack { partition: draft.partition.clone(), found });
    }
    Ok(())
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
        if file.groups() < GROUPS_MAX {
            return Self { copied: groups.collect(), anew: Vec::new() };
        }
        // A full row group waits for the seal: taking it in would mean to write a large file anew, again and again.
        let (copied, anew) = groups.partition(|group| file.group_rows(*group) >= GROUP_ROWS);
        Self { copied, anew }
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
