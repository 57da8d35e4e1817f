//! Footers, kept from one look to the next: who looks on every few seconds opens only the day files that are new, and lists only the
//! folders that changed.
//!
//! A day file only ever comes by a rename, which changes its folder's time. Times have grains, so a folder that changed just before it
//! was listed is listed once more.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::base::disk;
use crate::model::layout::{self, Layout};

use super::catalog::Catalog;
use super::stamp::Stamp;
use super::{DayFile, Footer, Result};

/// No file system has coarser times.
const GRAIN: Duration = Duration::from_secs(2);

/// What all day files say about themselves, as of the last look.
#[derive(Debug, Default)]
pub struct Footers {
    folders: BTreeMap<PathBuf, Folder>,
}

/// Those of one event type.
#[derive(Debug, Default)]
struct Folder {
    /// When it was changed last before it was listed; none where that may not have been the last time.
    changed: Option<SystemTime>,
    files: BTreeMap<PathBuf, Known>,
}

/// What is known of a file.
#[derive(Debug, Clone)]
struct Known {
    stamp: Option<Stamp>,
    /// Its footer and its size in bytes, or why it does not read.
    about: std::result::Result<(Arc<Footer>, u64), String>,
}

impl Footers {
    /// Looks for what is new; the first time with the help of the index.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn look(&mut self, layout: &Layout) -> Result<()> {
        if self.folders.is_empty() {
            return self.look_first(layout);
        }
        let folders: Vec<PathBuf> = disk::list(&layout.data())?.into_iter().filter(|path| path.is_dir()).collect();
        let there: HashSet<&PathBuf> = folders.iter().collect();
        self.folders.retain(|path, _| there.contains(path));
        for path in folders {
            self.folders.entry(path.clone()).or_default().look(&path)?;
        }
        Ok(())
    }

    fn look_first(&mut self, layout: &Layout) -> Result<()> {
        for folder in Catalog::list(layout)?.folders() {
            let own = self.folders.entry(folder.path().to_owned()).or_default();
            for file in folder.files() {
                let stamp = file.path.symlink_metadata().ok().as_ref().and_then(Stamp::of);
                let about = match folder.about(file) {
                    Ok(None) => continue,
                    Ok(Some((footer, bytes))) => Ok((Arc::new(footer.clone()), bytes)),
                    Err(error) => Err(error.to_string()),
                };
                own.files.insert(file.path.clone(), Known { stamp, about });
            }
        }
        Ok(())
    }

    /// Each footer with the size of its file in bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Footer, u64)> {
        self.files().filter_map(|file| file.about.as_ref().ok()).map(|(footer, bytes)| (&**footer, *bytes))
    }

    /// Files that do not read, with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.files().filter_map(|file| file.about.as_ref().err()).map(String::as_str)
    }

    fn files(&self) -> impl Iterator<Item = &Known> {
        self.folders.values().flat_map(|folder| folder.files.values())
    }
}

impl Folder {
    fn look(&mut self, path: &Path) -> Result<()> {
        let changed = path.metadata().as_ref().ok().and_then(settled);
        // What does not read may be mended in its place.
        if changed.is_some() && changed == self.changed && self.files.values().all(|file| file.about.is_ok()) {
            return Ok(());
        }
        let mut before = std::mem::take(&mut self.files);
        for path in disk::list(path)?.into_iter().filter(|path| layout::day_of(path).is_some()) {
            let stamp = path.symlink_metadata().ok().as_ref().and_then(Stamp::of);
            let known = before.remove(&path).filter(|known| known.stamp == stamp && stamp.is_some() && known.about.is_ok());
            let known = match known {
                Some(known) => known,
                None => match DayFile::open(&path) {
                    Ok(None) => continue,
                    Ok(Some(file)) => Known { stamp: file.stamp(), about: Ok((Arc::new(file.footer().clone()), file.bytes())) },
                    Err(error) => Known { stamp, about: Err(error.to_string()) },
                },
            };
            self.files.insert(path, known);
        }
        self.changed = changed;
        Ok(())
    }
}

/// When something was changed, if that is so long ago that another change would have another time.
fn settled(about: &Metadata) -> Option<SystemTime> {
    let changed = about.modified().ok()?;
    let age = crate::base::time::now().saturating_sub(crate::base::time::from_system(changed));
    (age > crate::base::time::micros(GRAIN)).then_some(changed)
}
