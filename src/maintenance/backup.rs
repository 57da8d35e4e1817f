//! Backup: a generation more in a directory, beside a recorder; and no more of them than wanted.

use std::path::{Path, PathBuf};

use crate::base::disk;
use crate::base::time::Micros;
use crate::model::layout::Layout;
use crate::store::buffer::BufferError;
use crate::store::last_backup::note_backup;

use super::copying::{self, Copied, CopyError, Earlier};
use super::generation::{self, Generation};

/// A generation that was made.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Where it stands.
    pub generation: Generation,
    /// What is in it.
    pub copied: Copied,
    /// Old generations that went.
    pub removed: Vec<PathBuf>,
    /// Why the recording could not note that it has a backup.
    pub unnoted: Option<String>,
}

/// Makes a generation of a recording in a directory, and keeps so many of them; where something of the recording is not what it was,
/// all of them. `progress` gets bytes of day files that are done.
///
/// # Errors
/// When it could not be made; then the generations are as they were. When an old one cannot be removed; then the new one is there, and
/// noted. What is wrong with single files is named in [`Copied::damaged`].
pub fn backup(layout: &Layout, to: &Path, most: usize, now: Micros, mut progress: impl FnMut(u64)) -> Result<Backup, CopyError> {
    let unfit = |what| Err(CopyError::Place { path: to.to_owned(), what });
    if layout.owns(to) {
        return unfit("only a recorder writes there; give a directory outside of the recording, best on another disk");
    }
    if Layout::new(to).buffer().exists() {
        return unfit("it is a recording; give a directory that backups of it go into");
    }
    if Layout::is_within_one(to) {
        return unfit("it lies within a recording, and would go with it; give a directory outside, best on another disk");
    }
    if !layout.buffer().exists() {
        return Err(BufferError::Missing(layout.root().to_owned()).into());
    }
    disk::create_dir_anywhere(to)?;
    let Some(_lock) = generation::lock(to)? else { return Err(CopyError::Busy(to.to_owned())) };
    generation::sweep(to)?;
    let earlier = Generation::list(to)?.pop().map(|last| Earlier::open(&last));
    let generation = Generation::fresh(to, now);
    let partial = generation.partial();
    let copied = copying::copy(layout, &Layout::new(&partial), earlier.as_ref(), &mut progress)?;
    disk::publish_beside(&partial, &generation.path)?;
    let is_good = copied.damaged.is_empty();
    let noted = if is_good { note_backup(layout, generation.at, to) } else { Ok(()) };
    let unnoted = noted.err().map(|error| error.to_string());
    let mut removed = Vec::new();
    let others: Vec<Generation> = Generation::list(to)?.into_iter().filter(|one| *one != generation).collect();
    let too_many = if is_good { (others.len() + 1).saturating_sub(most.max(1)) } else { 0 };
    for old in others.into_iter().take(too_many) {
        removed.push(old.path.clone());
        old.remove()?;
    }
    Ok(Backup { generation, copied, removed, unnoted })
}
