//! Generations: the copies of a recording in a directory, each a recording itself, named by the time that it is of.
//!
//! What has such a name is whole. Until then, and while it is removed, it is called otherwise, and the next backup sweeps it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::base::disk::{self, DiskError};
use crate::base::time::{self, Micros, SECOND, rfc3339};
use crate::model::layout::Layout;

/// Ends the name of a generation that is being made, or goes.
const PARTIAL: &str = ".partial";
/// Held by the one who makes backups.
const LOCK: &str = ".lock";

/// A whole copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// The time in its name.
    pub at: Micros,
    /// Where it stands.
    pub path: PathBuf,
}

impl Generation {
    /// The recording that it is.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.path)
    }

    /// One that is not there yet, of a time or soon after.
    pub(super) fn fresh(folder: &Path, now: Micros) -> Self {
        let mut at = now.div_euclid(SECOND) * SECOND;
        loop {
            let path = folder.join(name(at));
            if path.symlink_metadata().is_err() {
                return Self { at, path };
            }
            at += SECOND;
        }
    }

    /// Where it stands until it is whole.
    pub(super) fn partial(&self) -> PathBuf {
        partial(&self.path)
    }

    /// Those of a directory, oldest first.
    ///
    /// # Errors
    /// When it does not list.
    pub fn list(folder: &Path) -> Result<Vec<Self>, DiskError> {
        let of = |path: PathBuf| Some(Self { at: time_of(path.file_name()?.to_str()?)?, path });
        let mut found: Vec<Self> = disk::list(folder)?.into_iter().filter_map(of).filter(|one| one.path.is_dir()).collect();
        found.sort();
        Ok(found)
    }

    /// Removes it. It is none any more before the first of its files goes.
    pub(super) fn remove(self) -> Result<(), DiskError> {
        let partial = self.partial();
        disk::publish_beside(&self.path, &partial)?;
        disk::remove_tree(&partial)
    }
}

/// Where something stands that is not whole yet, beside its name.
pub(super) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}{PARTIAL}"))
}

/// Removes what was not finished.
pub(super) fn sweep(folder: &Path) -> Result<(), DiskError> {
    let is_rest = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL)).and_then(time_of).is_some()
    };
    disk::list(folder)?.iter().filter(is_rest).try_for_each(|path| disk::remove_tree(path))
}

/// Lets one backup at a time write to a directory, as long as it lives.
pub(super) fn lock(folder: &Path) -> Result<Option<File>, DiskError> {
    let path = folder.join(LOCK);
    let file = disk::open_private(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(DiskError::new("lock", &path, error)),
    }
}

/// `2026-11-25T070000Z`: what every file system takes.
fn name(at: Micros) -> String {
    let text = rfc3339(at);
    let (day, clock) = text.split_at(11);
    format!("{day}{}Z", clock.split('.').next().unwrap_or_default().replace(':', ""))
}

fn time_of(name: &str) -> Option<Micros> {
    let (day, clock) = name.split_at_checked(11)?;
    let (hour, rest) = clock.split_at_checked(2)?;
    let (minute, second) = rest.split_at_checked(2)?;
    let at = time::parse_rfc3339(format!("{day}{hour}:{minute}:{second}").as_bytes())?.time;
    (self::name(at) == name).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_named_by_its_time_and_nothing_else_is_one() {
        let at = time::parse_rfc3339(b"2026-11-25T07:00:09Z").unwrap().time;
        assert_eq!(name(at), "2026-11-25T070009Z");
        assert_eq!(time_of("2026-11-25T070009Z"), Some(at));
        for other in
            ["2026-11-25T070009", "2026-11-25T250000Z", "2026-11-25T07:00:09Z", ".2026-11-25T070009Z.partial", "data", "é"]
        {
            assert_eq!(time_of(other), None, "{other}");
        }
    }
}
