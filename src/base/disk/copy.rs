//! Copies of files, and directories as a whole: what backups and archives are made of.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::fault::Step;
use super::{DiskError, Result, create, list, open, parent, remove, step, sync, with_ending};

/// Bytes that are copied at a time.
const PIECE: usize = 256 * 1024;

/// Copies a plain file to a new one that is its owner's alone, durable but for its name. Gives SHA-256, in hex, and size of what was read.
///
/// # Errors
/// When there is no such file, or the disk refuses.
pub fn copy(from: &Path, to: &Path) -> Result<(String, u64)> {
    let mut source = open(from)?;
    let mut file = create(to)?;
    let (mut sum, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = source.read(&mut piece).map_err(|error| DiskError::new("read", from, error))?;
        if read == 0 {
            break;
        }
        sum.update(&piece[..read]);
        step("write", to, Step::Write(to), || file.write_all(&piece[..read]))?;
        bytes += read as u64;
    }
    sync(&file, to)?;
    forget(&file);
    Ok((base16ct::lower::encode_string(&sum.finalize()), bytes))
}

/// Lets the system forget what it holds of a file in memory, so that whoever reads it next reads what is on the disk.
fn forget(file: &File) {
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap_or_default();
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let _ = file;
}

/// Gives a file a second name. False where this file system has no such names, or none left.
///
/// # Errors
/// When the disk refuses for another reason.
pub fn link(path: &Path, other: &Path) -> Result<bool> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    match step("link", other, Step::Create(other), || fs::hard_link(path, other)) {
        Ok(()) => Ok(true),
        // FAT says that it is not permitted.
        Err(error) if matches!(error.source.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Replaces a small file whole: written beside its name, synced, published. For where nobody sweeps a staging folder.
///
/// # Errors
/// When the disk refuses.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = with_ending(path, ".new");
    let mut file = create(&staged)?;
    step("write", &staged, Step::Write(&staged), || file.write_all(bytes))?;
    sync(&file, &staged)?;
    publish_beside(&staged, path)
}

/// Removes a directory with all that is in it, and follows no link. One that is gone already is fine.
///
/// # Errors
/// When the disk refuses; then what is left can be removed the next time.
pub fn remove_tree(path: &Path) -> Result<()> {
    for entry in list(path)? {
        let is_dir = entry.symlink_metadata().is_ok_and(|about| about.is_dir());
        if is_dir { remove_tree(&entry)? } else { remove(&entry)? }
    }
    step("remove", path, Step::Remove(path), || match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Makes the names in a directory durable, where this file system can do that.
///
/// # Errors
/// When it can, and the disk refuses.
pub fn sync_dir_if_possible(path: &Path) -> Result<()> {
    match super::sync_dir(path) {
        Err(error) if error.source.kind() == io::ErrorKind::Unsupported => Ok(()),
        synced => synced,
    }
}

/// Makes a directory with its parents, readable by its owner only, also where names are as durable as they can be.
///
/// # Errors
/// When the disk refuses.
pub fn create_dir_anywhere(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    create_dir_anywhere(parent(path))?;
    step("create directory", path, Step::MakeDir(path), || super::make_private_dir(path))?;
    sync_dir_if_possible(parent(path))
}

/// Gives what stands beside it its final name, a file or a whole directory, also where names are as durable as they can be.
///
/// # Errors
/// When the disk refuses.
pub fn publish_beside(staged: &Path, path: &Path) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "this is below the place that renames files")]
    step("rename to", path, Step::Rename(staged, path), || fs::rename(staged, path))?;
    sync_dir_if_possible(parent(path))
}
