//! The index: what the footers of an event type's sealed day files say, and whose first and last events stand in which of them, so
//! that nobody has to open the files of years.
//!
//! It says nothing that the files do not say, and may be missing, old or another recording's: of a file that is not the one that
//! it was made of, by size, time of change and number, it says nothing. Whoever deletes on the word of a file opens the file.
//!
//! On whose files may hold a device: those that the index does not fit, and those from the device's first day to its last. So each
//! device stands in two lists, at its first day and at its last, and what an index forgets of a day it must not forget of those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::disk;
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::{self, Layout};

use super::stamp::{Device, Stamp};
use super::{DayFile, Footer, Result};

/// An index of another version is none.
const VERSION: u32 = 1;
/// Most bytes of one: 100,000 days.
const MOST: u64 = 64 * 1024 * 1024;

/// What is known of a sealed day file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file that it speaks of.
    pub stamp: Stamp,
    /// What the file says about itself.
    pub footer: Footer,
    /// Devices that are in no earlier file of the index.
    pub first: BTreeSet<Device>,
    /// Devices that are in no later one.
    pub last: BTreeSet<Device>,
}

/// The sealed day files of one event type, by day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    entries: BTreeMap<Day, Entry>,
}

/// As it stands on disk, behind a line with its SHA-256.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    event_type: String,
    files: Vec<Line>,
}

/// Day; size, time of change, number; schema version, rows, first and last time, buffer, seq; devices.
type Line = (i32, (u64, i64, u64), (u32, u64, Micros, Micros, String, i64), BTreeSet<Device>, BTreeSet<Device>);

impl Index {
    /// The index of the day files in a folder; an empty one where there is none that reads, since that is made anew.
    pub fn read(layout: &Layout, folder: &Path) -> Self {
        let stored = disk::read_text(&layout.index(folder), MOST).ok().and_then(|text| {
            let (sum, body) = text.split_once('\n')?;
            let is_whole = sum == sha256(body);
            serde_json::from_str::<Stored>(body).ok().filter(|stored| is_whole && stored.version == VERSION)
        });
        let Some(stored) = stored.filter(|stored| layout.folder(&stored.event_type) == folder) else { return Self::default() };
        let event_type: std::sync::Arc<str> = stored.event_type.into();
        let entry = |(day, (bytes, modified, number), about, first, last): Line| {
            let (schema_version, rows, time_first, time_last, buffer_id, seq_last) = about;
            let partition = Partition { event_type: event_type.clone(), day: Day(day) };
            let footer = Footer { partition, schema_version, rows, time_first, time_last, buffer_id, seq_last, sealed: true };
            (Day(day), Entry { stamp: Stamp { bytes, modified, number }, footer, first, last })
        };
        Self { entries: stored.files.into_iter().map(entry).collect() }
    }

    /// What it says of a file of a day, if it is the one that it was made of.
    pub fn get(&self, day: Day, stamp: Option<Stamp>) -> Option<&Entry> {
        self.entries.get(&day).filter(|entry| Some(entry.stamp) == stamp)
    }

    /// All of it, by day; also of files that are others now.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (Day, &Entry)> {
        self.entries.iter().map(|(day, entry)| (*day, entry))
    }

    /// Brings the index of a folder up to its day files: opens those of which it does not know. True where that changed anything.
    ///
    /// # Errors
    /// When the folder does not list, a file does not read, or the disk refuses.
    pub fn update(layout: &Layout, folder: &Path) -> Result<bool> {
        let mut index = Self::read(layout, folder);
        let (fresh, is_true) = index.look(layout, folder)?;
        if !is_true {
            // A device may have its first or last event elsewhere than it had.
            index = Self::default();
            let (fresh, _) = index.look(layout, folder)?;
            index.take(fresh);
        } else if fresh.is_empty() {
            return Ok(false);
        } else {
            index.take(fresh);
        }
        index.write(layout, folder)?;
        Ok(true)
    }

    /// Sealed files that it does not know, with all their devices; false where a device may have lost its first or last event.
    fn look(&self, layout: &Layout, folder: &Path) -> Result<(BTreeMap<Day, Entry>, bool)> {
        let mut fresh = BTreeMap::new();
        let mut gone: BTreeSet<Day> = self.entries.keys().copied().collect();
        let mut is_true = true;
        for path in disk::list(folder)? {
            let Some(day) = layout::day_of(&path) else { continue };
            gone.remove(&day);
            if self.get(day, path.symlink_metadata().ok().as_ref().and_then(Stamp::of)).is_some() {
                continue;
            }
            // What does not read is told by whoever wants to read it. A file that is not sealed is opened by everybody.
            let Ok(Some(file)) = DayFile::open(&path) else { continue };
            let footer = file.footer().clone();
            let (Some(stamp), true) = (file.stamp(), footer.sealed && layout.day_file(&footer.partition) == path) else {
                continue;
            };
            let Ok(devices) = file.devices() else { continue };
            let had = self.entries.get(&day);
            is_true &= had.is_none_or(|had| had.first.is_subset(&devices) && had.last.is_subset(&devices));
            fresh.insert(day, Entry { stamp, footer, first: devices.clone(), last: devices });
        }
        is_true &=
            gone.iter().filter_map(|day| self.entries.get(day)).all(|entry| entry.first.is_empty() && entry.last.is_empty());
        Ok((fresh, is_true))
    }

    /// Takes files in, each with all its devices in both lists.
    fn take(&mut self, fresh: BTreeMap<Day, Entry>) {
        self.entries.extend(fresh);
        let (mut before, mut behind) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.entries.values_mut() {
            entry.first.retain(|device| before.insert(device.clone()));
        }
        for entry in self.entries.values_mut().rev() {
            entry.last.retain(|device| behind.insert(device.clone()));
        }
    }

    fn write(&self, layout: &Layout, folder: &Path) -> Result<()> {
        let line = |(day, entry): (&Day, &Entry)| -> Line {
            let Entry { stamp: Stamp { bytes, modified, number }, footer, first, last } = entry.clone();
            let Footer { schema_version, rows, time_first, time_last, buffer_id, seq_last, .. } = footer;
            let about = (schema_version, rows, time_first, time_last, buffer_id, seq_last);
            (day.0, (bytes, modified, number), about, first, last)
        };
        let path = layout.index(folder);
        let Some(entry) = self.entries.values().next() else { return Ok(disk::remove(&path)?) };
        let event_type = entry.footer.partition.event_type.to_string();
        let stored = Stored { version: VERSION, event_type, files: self.entries.iter().map(line).collect() };
        let body = serde_json::to_string(&stored).map_err(|error| disk::DiskError::new("write", &path, error.into()))?;
        disk::create_own_dir(&layout.indexes())?;
        Ok(disk::write(&layout.staging(), &path, format!("{}\n{body}", sha256(&body)).as_bytes())?)
    }
}

fn sha256(text: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()))
}
