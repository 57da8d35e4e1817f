//! The day files as they were when all that they hold had been given: so that of one that has changed, only what is new is read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use arrow::array::RecordBatch;

use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::query::reader::Selection;
use crate::store::archive::{ArchiveError, Catalog, DayFile, Keys, Stamp};

use super::covers;
use super::given::Given;

/// Day files by their paths.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<PathBuf, Known>);

/// A day file all of whose rows were given.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamp: Option<Stamp>,
    bytes: u64,
    rows: u64,
    /// When the last of its events was received. Of a file that nobody opened: when it was written.
    received_last: Option<Micros>,
}

impl Known {
    fn of(file: &DayFile) -> Self {
        let (stamp, bytes, rows) = (file.stamp(), file.bytes(), file.footer().rows);
        Self { stamp, bytes, rows, received_last: file.received_last() }
    }
}

impl Files {
    /// The day files that there are. Sealed ones are not opened where the index knows them.
    pub(super) fn list(layout: &Layout, selection: &Selection, trouble: &mut Vec<String>) -> Result<Self, ArchiveError> {
        let mut known = HashMap::new();
        let (catalog, wanted) = (Catalog::list(layout)?, wanted(layout, selection));
        for (folder, file) in catalog.files().filter(|(folder, _)| wanted.as_ref().is_none_or(|it| it.contains(folder.path()))) {
            let stamp = file.path.symlink_metadata().ok().as_ref().and_then(Stamp::of);
            let unread = |rows| Known {
                stamp,
                bytes: stamp.map_or(0, |stamp| stamp.bytes),
                rows,
                received_last: stamp.as_ref().map(Stamp::modified),
            };
            let about = match folder.indexed(file) {
                Some(entry) => unread(entry.footer.rows),
                None => match DayFile::open(&file.path) {
                    Ok(Some(open)) => Known::of(&open),
                    Ok(None) => continue,
                    Err(error) => {
                        trouble.push(error.to_string());
                        unread(0)
                    }
                },
            };
            known.insert(file.path.clone(), about);
        }
        Ok(Self(known))
    }

    /// Those that are others than they were, or new.
    pub(super) fn changed(&mut self, layout: &Layout, selection: &Selection) -> Result<Vec<PathBuf>, ArchiveError> {
        let (catalog, wanted) = (Catalog::list(layout)?, wanted(layout, selection));
        let (mut changed, mut there) = (Vec::new(), HashSet::new());
        for (_, file) in catalog.files().filter(|(folder, _)| wanted.as_ref().is_none_or(|it| it.contains(folder.path()))) {
            let stamp = file.path.symlink_metadata().ok().as_ref().and_then(Stamp::of);
            if self.0.get(&file.path).is_none_or(|known| stamp.is_none() || known.stamp != stamp) {
                changed.push(file.path.clone());
            }
            there.insert(&file.path);
        }
        self.0.retain(|path, _| there.contains(path));
        Ok(changed)
    }

    /// The row groups of a file that may hold anything new, and up to when what was received in them is not.
    pub(super) fn since(&self, file: &DayFile) -> (Vec<usize>, Option<Micros>) {
        let all = || (0..file.groups()).collect();
        match self.0.get(file.path()) {
            None => (all(), None),
            // Rows only ever come: sealed, or joined.
            Some(known) if known.rows == file.footer().rows => (Vec::new(), None),
            Some(known) => match file.groups_since(known.bytes, known.rows) {
                Some(groups) => (groups, None),
                None => (all(), known.received_last),
            },
        }
    }

    /// All of it is given, or will be before anything else is.
    pub(super) fn note(&mut self, file: &DayFile) {
        self.0.insert(file.path().to_owned(), Known::of(file));
    }

    /// All of it was given.
    pub(super) fn know(&mut self, file: &DayFile, given: &mut Given, ids: &HashSet<String>) {
        given.forget(&file.footer().partition, covers(file, ids));
        self.note(file);
    }
}

/// Which rows of a partition its day file has; none where it does not read.
pub(super) fn holds(layout: &Layout, partition: &Partition, rows: &RecordBatch) -> Vec<bool> {
    let mut is_held = vec![false; rows.num_rows()];
    let (Ok(Some(file)), Some(keys)) = (DayFile::of(layout, partition), Keys::of(rows)) else { return is_held };
    let places: HashMap<(Micros, &str), usize> = keys.iter().zip(0..).collect();
    for group in 0..file.groups() {
        let read = file.keys(group, |times, ids| {
            for (time, id) in times.iter().zip(ids) {
                if let Some(at) = places.get(&(*time, id.unwrap_or_default())) {
                    is_held[*at] = true;
                }
            }
        });
        if read.is_err() {
            break;
        }
    }
    is_held
}

/// The folders of the event types that are asked for; none: all.
fn wanted(layout: &Layout, selection: &Selection) -> Option<HashSet<PathBuf>> {
    let folders = selection.event_types.iter().map(|event_type| layout.folder(event_type));
    Some(folders.collect()).filter(|folders: &HashSet<_>| !folders.is_empty())
}
