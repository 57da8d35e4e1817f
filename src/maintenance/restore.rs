//! Restore: a generation becomes a recording again, at a place of its own, once all of it reads. The drill does the same and leaves nothing.

use std::path::{Path, PathBuf};

use crate::base::disk;
use crate::base::time::{Micros, rfc3339};
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::store::buffer::BufferError;
use crate::verify::{Report, Severity, VerifyError, verify};

use super::copying::{self, Copied, CopyError};
use super::generation::{self, Generation, partial};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The copy cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl From<disk::DiskError> for RestoreError {
    fn from(error: disk::DiskError) -> Self {
        Self::Copy(error.into())
    }
}

/// What a restore, or a drill, brought.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What was copied; what is damaged in the generation is named there.
    pub copied: Copied,
    /// What a check of all of it found.
    pub report: Report,
}

impl Restored {
    /// Whether all of it is as it was written.
    pub fn is_whole(&self) -> bool {
        self.copied.damaged.is_empty() && self.report.worst().is_none_or(|worst| worst < Severity::Unread)
    }
}

/// The generation that somebody means: the directory itself, else the last one in it.
///
/// # Errors
/// When it is none, and there is none in it.
pub fn find(given: &Path) -> Result<PathBuf, CopyError> {
    if Layout::new(given).buffer().exists() {
        return Ok(given.to_owned());
    }
    let last = Generation::list(given)?.pop();
    Ok(last.ok_or_else(|| BufferError::Missing(given.to_owned()))?.path)
}

/// Restores a generation to a directory that is not there yet, or empty. Nothing is there until all of it reads, and nothing is left
/// where it does not. `progress` gets bytes of day files, twice: when they are copied, and when they are read again.
///
/// # Errors
/// When it cannot be copied or checked. Where it is not whole, that is no error: see [`Restored::is_whole`].
pub fn restore(generation: &Path, new: &Path, registry: &Registry, progress: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    let is_empty = new.is_dir() && disk::list(new)?.is_empty();
    if new.symlink_metadata().is_ok() && !is_empty {
        let what = "there is something already; give a directory that is not there yet, or an empty one";
        return Err(CopyError::Place { path: new.to_owned(), what }.into());
    }
    // `.` has no name, and a link is not what is replaced.
    let new = &new.canonicalize().unwrap_or_else(|_| new.to_owned());
    let staged = Layout::new(&partial(new));
    let restored = attempt(generation, &staged, registry, progress).and_then(|restored| {
        if restored.is_whole() {
            disk::publish_beside(staged.root(), new)?;
        }
        Ok(restored)
    });
    // Where it has its name, nothing is there any more.
    disk::remove_tree(staged.root())?;
    restored
}

/// The drill: restores a generation in a folder, checks all of it, and removes it again.
///
/// # Errors
/// As for [`restore`].
pub fn check(generation: &Path, folder: &Path, registry: &Registry, progress: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    disk::create_dir_anywhere(folder)?;
    let Some(_lock) = generation::lock(folder)? else { return Err(CopyError::Busy(folder.to_owned()).into()) };
    let staged = Layout::new(&partial(&folder.join(generation.file_name().unwrap_or_default())));
    let checked = attempt(generation, &staged, registry, progress);
    disk::remove_tree(staged.root())?;
    checked
}

fn attempt(
    generation: &Path,
    staged: &Layout,
    registry: &Registry,
    mut progress: impl FnMut(u64),
) -> Result<Restored, RestoreError> {
    let copied = copying::copy(&Layout::new(generation), staged, None, &mut progress)?;
    let clock = |time: Micros| rfc3339(time);
    let report = verify(staged, registry, &clock, progress)?;
    Ok(Restored { copied, report })
}
