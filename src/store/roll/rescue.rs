//! Rescue: a damaged day file is set aside, and what reads of it is taken over.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::base::disk::{self, DiskError};
use crate::base::time::{Day, Micros, rfc3339};
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::store::archive::DayFile;

use super::publish::Draft;
use super::{RollError, Roller};

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

/// The time of a day that is over: what is still to come is no gap.
pub(super) fn so_far(day: Day, now: Micros) -> (Micros, Micros) {
    (day.start(), day.end().min(now).max(day.start()))
}

/// A free name for a day file that is set aside.
pub(super) fn aside(layout: &Layout, path: &Path, now: Micros) -> Result<PathBuf, DiskError> {
    let folder = layout.damaged();
    disk::create_own_dir(&folder)?;
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (event_type, day) = (name(path.parent().and_then(Path::file_name)), name(path.file_stem()));
    Ok(folder.join(format!("{event_type}.{day}.{now}.parquet")))
}

impl Roller {
    /// Sets a damaged day file aside and puts those of its row groups that read into a new one. None when there is no file.
    /// What is lost is noted before anything changes: a crash between must not make a silence of it.
    ///
    /// `is_changed` where its checksum tells that it is not the file that was sealed. Then it is damaged even if all of it reads,
    /// and nobody knows where: all its time is a gap. What the disk does not give back today it may give tomorrow: only `by_hand`
    /// is it given up.
    ///
    /// # Errors
    /// When anything refuses; the damaged file is still there then, under its own name or the one of what is set aside.
    pub fn rescue(
        &mut self,
        partition: &Partition,
        why: String,
        (is_changed, by_hand): (bool, bool),
        now: Micros,
        note: impl FnOnce(&Damage) -> Result<(), RollError>,
    ) -> Result<Option<Damage>, RollError> {
        let schema = self.registry.get(&partition.event_type);
        let path = self.layout.day_file(partition);
        if !path.exists() {
            return Ok(None);
        }
        // Rows that still stand in the buffer may be doubles no longer.
        self.passed.remove(partition);
        let aside = aside(&self.layout, &path, now)?;
        let mut damage = Damage { path: path.clone(), aside, why, rescued: 0, span: so_far(partition.day, now) };
        // What does not read is read once more: an error of the disk may be one of a moment.
        let open = || DayFile::of(&self.layout, partition);
        let file = open().or_else(|_| open()).ok().flatten();
        let reads = |file: &DayFile, group: usize| -> bool {
            let read = || file.rows(vec![group], &schema).is_ok_and(|mut rows| rows.all(|rows| rows.is_ok()));
            let read = || catch_unwind(AssertUnwindSafe(read)).unwrap_or(false);
            read() || read()
        };
        let groups = file.as_ref().map_or(0, DayFile::groups);
        let (good, bad): (Vec<_>, Vec<_>) = (0..groups).partition(|group| file.as_ref().is_some_and(|file| reads(file, *group)));
        if groups > 0 && bad.is_empty() && !is_changed {
            // Every page reads: whatever went wrong, it was not the file.
            return Ok(None);
        }
        if !by_hand && (groups == 0 || !bad.is_empty()) {
            // Behind the reads that failed: a disk that dies may have given all of it a moment ago.
            disk::sha256(&path)?;
        }
        let Some(file) = file.filter(|_| !good.is_empty()) else {
            note(&damage)?;
            disk::set_aside(&path, &damage.aside)?;
            self.unsealed.remove(partition);
            return Ok(Some(damage));
        };
        let times = bad.iter().filter(|_| !is_changed).map(|group| file.group_times(*group));
        let span = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or(damage.span);
        damage.span = (span.0.max(damage.span.0), span.1.saturating_add(1).min(damage.span.1));
        damage.rescued = good.iter().map(|group| file.group_rows(*group) as u64).sum();
        note(&damage)?;
        disk::keep_as(&path, &damage.aside)?;
        self.write_anew(Draft {
            partition,
            schema: &schema,
            copied: None,
            rows: damage.rescued,
            runs: file.runs(&good, &schema)?,
            further: None,
            // Rows that are still in the buffer may be among those that did not read: nothing is covered.
            buffer_id: String::new(),
            seq_last: 0,
            sealed: false,
        })?;
        Ok(Some(damage))
    }
}
