//! Recovery: makes a recording whole after any stop.

use std::collections::{BTreeSet, HashMap};

use crate::base::disk;
use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::store::archive::{Catalog, DayFile};
use crate::store::buffer::{Buffer, Change, View};

use super::rescue::{aside, so_far};
use super::{Damage, RollError, make_names_durable};

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
    let view = View::open(layout)?;
    let listed = view.sealed()?;
    let first: HashMap<Partition, i64> = view.pending()?.into_iter().map(|held| (held.partition, held.seq_first)).collect();
    let mut rolled = Vec::new();
    for path in disk::list(&layout.staging())? {
        disk::remove(&path)?;
        recovered.staged += 1;
    }
    for folder in disk::list(&layout.data())?.iter().filter(|folder| folder.is_dir()) {
        for path in disk::list(folder)?.iter().filter(|path| disk::is_moving(path)) {
            disk::remove(path)?;
            recovered.staged += 1;
        }
    }
    drop(view);
    let catalog = Catalog::list(layout)?;
    for (folder, listing) in catalog.files() {
        let path = listing.path.clone();
        // A sealed file that nobody has changed since is not opened, unless the buffer has rows for it: what is deleted there is
        // deleted on the word of the file.
        let known = folder.indexed(listing).map(|entry| entry.footer.partition.clone());
        if let Some(partition) = known.filter(|known| !first.contains_key(known) && layout.day_file(known) == path) {
            if !listed.contains_key(&partition) {
                recovered.unlisted.insert(partition.clone());
            }
            recovered.partitions.push(partition);
            continue;
        }
        let file = match DayFile::open(&path) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(error) if error.is_damage() => {
                let aside = aside(layout, &path, now)?;
                let damage = Damage { path, aside, why: error.to_string(), rescued: 0, span: so_far(listing.day, now) };
                // Before the file goes: a crash between must not make a silence of it.
                for project in buffer.projects()? {
                    let (begins, ends) = damage.span;
                    buffer.apply(&Change::Lost { project, cause: damage.cause(), begins, ends }, now)?;
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
        if first.get(&footer.partition).is_some_and(|first| *first <= covered) {
            // The rename was seen, but a crash may have come before it was durable.
            make_names_durable(layout, &footer.partition)?;
            rolled.push((footer.partition.clone(), covered));
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
    if !rolled.is_empty() {
        recovered.blocks = buffer.forget(&rolled)?;
    }
    buffer.renew_id()?;
    Ok(recovered)
}
