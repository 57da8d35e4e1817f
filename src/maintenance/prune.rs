//! Prune: whole days that are older than anybody wants to keep. What a plan says is shown first; it is carried out by the one who writes.
//!
//! 1. Each file is held against its checksum, and copied to the archive, if there is one: synced, read back, renamed.
//! 2. The checksums go off the list, and the recording notes before when it was pruned, in one commit. From then on nothing of that time
//!    is missing any more.
//! 3. `MANIFEST` is written without them, and the files go. A crash leaves each here or there, whole; what is still here goes the next time.
//!
//! **How old is told by the recording as well as by the clock**: by the newest event and the newest sign of life, so that a clock that is
//! years ahead prunes nothing that it should not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::disk::{self, DiskError};
use crate::base::text::counted;
use crate::base::time::{DAY, Day, Micros, rfc3339};
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::query::coverage::{Timeline, cut};
use crate::store::archive::{ArchiveError, Catalog};
use crate::store::buffer::{BufferError, Checksum, View};
use crate::store::roll::{RollError, Roller};
use crate::store::writer::{Command, ToWriter};

use super::generation::partial;

/// What is younger the cloud's history still holds, and would bring back.
pub const KEEP_LEAST: Micros = 32 * DAY;
/// A clock this far behind what the recording has seen is wrong.
const BEHIND: Micros = DAY;
/// No list of checksums is longer, in bytes.
const MANIFEST_MAX: u64 = 64 * 1024 * 1024;

/// Why nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The buffer does not read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file does not read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Too little would be kept.
    #[error("at least 32 days are kept: the cloud's history holds 31, and would bring back what was pruned")]
    TooLittle,
    /// The clock is wrong.
    #[error("the clock of this machine says {}, and this recording has signs of life of {}: set the clock first", rfc3339(*now), rfc3339(*seen))]
    Clock {
        /// What it says.
        now: Micros,
        /// What the recording has seen.
        seen: Micros,
    },
    /// That is more than anybody means.
    #[error("{} of {all} days would go, more than half. If that is meant, go step by step: --keep {step}d comes first", counted(*old as u64, "day"))]
    TooMuch {
        /// Days that would go.
        old: usize,
        /// All days.
        all: usize,
        /// How many days can be kept in one step.
        step: i64,
    },
    /// The lists of what is there cannot be written anew.
    #[error(transparent)]
    Roll(Box<RollError>),
    /// The archive is a recording, or lies within one.
    #[error("{} is a recording, or a part of one; give another directory", .0.display())]
    Inside(PathBuf),
    /// What was to go could not be noted.
    #[error("what goes could not be noted, so nothing went")]
    Unnoted,
}

/// A day file that is old enough.
#[derive(Debug, Clone)]
pub struct Old {
    /// Its event type and day.
    pub partition: Partition,
    /// What it consists of.
    pub sum: Checksum,
}

/// What is old enough to go.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Days before this one.
    pub before: Day,
    /// The files.
    pub files: Vec<Old>,
    /// Files of that time that stay, and why.
    pub stays: Vec<(PathBuf, String)>,
}

impl Plan {
    /// By event type: days, the first and the last of them, bytes.
    pub fn by_type(&self) -> BTreeMap<&str, (u64, Day, Day, u64)> {
        let mut types: BTreeMap<&str, (u64, Day, Day, u64)> = BTreeMap::new();
        for Old { partition, sum } in &self.files {
            let one = types.entry(&partition.event_type).or_insert((0, partition.day, partition.day, 0));
            (one.0, one.3) = (one.0 + 1, one.3 + sum.bytes);
            (one.1, one.2) = (one.1.min(partition.day), one.2.max(partition.day));
        }
        types
    }

    /// Bytes of the files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|old| old.sum.bytes).sum()
    }
}

/// What a recording has that is older than a time; nothing is changed.
///
/// # Errors
/// When it does not read, or what is asked for is absurd.
pub fn plan(layout: &Layout, keep: Micros, now: Micros) -> Result<Plan, PruneError> {
    if keep < KEEP_LEAST {
        return Err(PruneError::TooLittle);
    }
    let view = View::open(layout)?;
    let (pending, sealed) = (view.pending()?, view.sealed()?);
    let time = Timeline::read(&view, None, now)?;
    let catalog = Catalog::list(layout)?;
    let mut newest = pending.iter().map(|pending| pending.time_last).max();
    let mut files = Vec::new();
    for (folder, file) in catalog.files() {
        // One that does not read is told by `verify`, and stays.
        if let Ok(Some((footer, _))) = folder.about(file) {
            newest = newest.max(Some(footer.time_last));
            files.push((footer.partition.clone(), file.path.clone(), footer.sealed));
        }
    }
    let seen = time.projects.iter().filter_map(|project| project.last_sign).max();
    if let Some(seen) = seen.filter(|seen| *seen > now.saturating_add(BEHIND)) {
        return Err(PruneError::Clock { now, seen });
    }
    let latest = [newest, seen].into_iter().flatten().min().map_or(now, |latest| latest.min(now));
    let before = Day::of(latest.saturating_sub(keep));
    let days: BTreeSet<Day> = files.iter().map(|(partition, ..)| partition.day).collect();
    let old = days.range(..before).count();
    if old * 2 > days.len() {
        let kept = days.iter().nth(days.len() / 2).map_or(0, |first| latest.saturating_sub(first.start()).div_euclid(DAY));
        return Err(PruneError::TooMuch { old, all: days.len(), step: kept });
    }
    let open: Vec<_> = time.projects.iter().flat_map(|project| &project.gaps).filter(|gap| gap.is_open()).collect();
    let mut plan = Plan { before, files: Vec::new(), stays: Vec::new() };
    for (partition, path, is_sealed) in files.into_iter().filter(|(partition, ..)| partition.day < before) {
        let day = (partition.day.start(), partition.day.end());
        // What was given up already, before a crash, has no checksum any more.
        let is_given_up = is_sealed && time.pruned_before.is_some_and(|before| day.1 <= before);
        let sum = match sealed.get(&partition) {
            None if is_given_up => disk::sha256(&path).ok().map(|(sha256, bytes)| Checksum { sha256, bytes }),
            sum => sum.cloned(),
        };
        let why = match sum {
            _ if layout.day_file(&partition) != path => "it is no file of this recording",
            None => "it is not sealed, or has no checksum: `overnight roll` sees to that",
            _ if pending.iter().any(|held| held.partition == partition) => "the buffer holds more of it",
            _ if open.iter().any(|gap| cut(gap.span, day).is_some()) => "a gap in it may still be filled",
            Some(sum) => {
                plan.files.push(Old { partition, sum });
                continue;
            }
        };
        plan.stays.push((path, why.to_owned()));
    }
    Ok(plan)
}

/// What went.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Day files.
    pub files: Vec<Partition>,
    /// Their bytes.
    pub bytes: u64,
    /// Files that stay, and why.
    pub stays: Vec<(PathBuf, String)>,
}

/// Carries a plan out. `progress` gets bytes of files that are looked at. Who calls this is the one who writes to `data/`.
///
/// # Errors
/// When the archive cannot be written, or nothing can be noted: then nothing has gone. When a file cannot be removed: then it goes the next
/// time.
pub(crate) fn carry_out(
    layout: &Layout,
    plan: Plan,
    archive: Option<&Path>,
    (writer, roller): (&dyn ToWriter, &mut Roller),
    progress: &mut dyn FnMut(u64),
) -> Result<Pruned, PruneError> {
    let archive = archive.map(Layout::new);
    if let Some(archive) = archive.as_ref().filter(|archive| layout.owns(archive.root()) || archive.buffer().exists()) {
        return Err(PruneError::Inside(archive.root().to_owned()));
    }
    let mut done = Pruned { stays: plan.stays, ..Pruned::default() };
    let mut kept = BTreeMap::new();
    for Old { partition, sum } in plan.files {
        let path = layout.day_file(&partition);
        let fate = match &archive {
            Some(archive) => to_archive(&path, &archive.day_file(&partition), &sum)?,
            None => (disk::sha256(&path)?.0 == sum.sha256).then_some(()).ok_or(ROTTEN),
        };
        progress(sum.bytes);
        match fate {
            Ok(()) => {
                done.bytes += sum.bytes;
                kept.insert(partition.clone(), sum);
                done.files.push(partition);
            }
            Err(why) => done.stays.push((path, why.to_owned())),
        }
    }
    if done.files.is_empty() {
        return Ok(done);
    }
    if let Some(archive) = &archive {
        close_archive(layout, archive, &kept)?;
    }
    writer.send(Command::Pruned(done.files.clone(), plan.before.start()));
    if !writer.reach() {
        return Err(PruneError::Unnoted);
    }
    let listed = |error| PruneError::Roll(Box::new(error));
    roller.publish_manifest().map_err(listed)?;
    for partition in &done.files {
        disk::remove(&layout.day_file(partition))?;
    }
    for folder in done.files.iter().map(|partition| layout.folder(&partition.event_type)).collect::<BTreeSet<_>>() {
        disk::sync_dir(&folder)?;
    }
    roller.pruned(&done.files).map_err(listed)?;
    Ok(done)
}

const ROTTEN: &str = "it is not what its checksum says: see `overnight verify`";

/// Copies a file to the archive; why not, where it is not what it was, or another one stands there.
fn to_archive(path: &Path, to: &Path, sum: &Checksum) -> Result<Result<(), &'static str>, PruneError> {
    if to.exists() {
        if disk::sha256(path)?.0 != sum.sha256 {
            return Ok(Err(ROTTEN));
        }
        let is_there = disk::sha256(to)?.0 == sum.sha256;
        return Ok(if is_there { Ok(()) } else { Err("the archive has another file of this day: take another archive") });
    }
    disk::create_dir_anywhere(to.parent().unwrap_or(to))?;
    let staged = partial(to);
    let copied = disk::copy(path, &staged)?;
    if copied.0 != sum.sha256 || disk::sha256(&staged)? != copied {
        disk::remove(&staged)?;
        return Ok(Err(ROTTEN));
    }
    disk::publish_beside(&staged, to)?;
    Ok(Ok(()))
}

/// What makes an archive readable by itself: its list of checksums, names of devices, schemas.
fn close_archive(layout: &Layout, archive: &Layout, kept: &BTreeMap<Partition, Checksum>) -> Result<(), PruneError> {
    let before = match disk::read_text(&archive.manifest(), MANIFEST_MAX) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let now = crate::store::buffer::manifest(archive, kept);
    let lines: BTreeSet<&str> = before.lines().chain(now.lines()).collect();
    let text = lines.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    disk::replace(&archive.manifest(), text.as_bytes())?;
    let schemas = disk::list(&layout.schemas())?.into_iter().map(|path| {
        let to = archive.schemas().join(path.file_name().unwrap_or_default());
        (path, to)
    });
    for (path, to) in schemas.chain([(layout.devices(), archive.devices())]).filter(|(path, _)| path.exists()) {
        disk::create_dir_anywhere(to.parent().unwrap_or(&to))?;
        let staged = partial(&to);
        disk::copy(&path, &staged)?;
        disk::publish_beside(&staged, &to)?;
    }
    Ok(())
}
