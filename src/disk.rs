//! The steps on disk that durability rests on: make a directory, write and sync, publish by rename, remove.
//!
//! A file is durable when its bytes are synced and the directory that names it is synced; a new directory also needs its
//! parent synced. Nothing else in the program renames, creates or removes files below a recording.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) mod fault;

use fault::Step;

/// A step that failed: what, where, why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}", path.display())]
pub struct DiskError {
    /// The step, as a verb: "create", "sync".
    pub step: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// Wraps an I/O error with its step and path.
    pub fn new(step: &'static str, path: &Path, source: io::Error) -> Self {
        Self { step, path: path.to_owned(), source }
    }

    /// True when the disk is full or a quota is used up.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Results of a disk step.
pub type Result<T> = std::result::Result<T, DiskError>;

/// Makes a directory with its parents, each synced into the one above, readable by its owner only.
pub fn create_dir(path: &Path) -> Result<()> {
    let parent = parent(path);
    if path.is_dir() {
        let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        // Whoever made it may have died before its name was durable; somebody else's may stand where we cannot look.
        return match if is_empty { sync_dir(parent) } else { Ok(()) } {
            Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if !parent.as_os_str().is_empty() {
        create_dir(parent)?;
    }
    step("create directory", path, Step::MakeDir(path), || match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    })?;
    restrict(path, 0o700)?;
    sync_dir(parent)
}

/// Creates or empties a file that only its owner can read, open for writing.
#[expect(clippy::disallowed_methods, reason = "this is the place that creates files")]
pub fn create(path: &Path) -> Result<File> {
    let file = step("create", path, Step::Create(path), || File::create(path))?;
    restrict(path, 0o600)?;
    Ok(file)
}

/// Creates or empties a file outside a recording, with the rights that the user's files usually have.
#[expect(clippy::disallowed_methods, reason = "this is the place that creates files")]
pub fn create_for_others(path: &Path) -> Result<File> {
    step("create", path, Step::Create(path), || File::create(path))
}

/// Makes written bytes durable.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    step("sync", path, Step::Sync(path), || file.sync_all())
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let directory = File::open(path).map_err(|error| DiskError::new("open", path, error))?;
    step("sync", path, Step::SyncDir(path), || directory.sync_all())
}

/// Gives a synced file its final name, atomically and durably. The commit point of a roll.
#[expect(clippy::disallowed_methods, reason = "this is the place that renames files")]
pub fn publish(staged: &Path, path: &Path) -> Result<()> {
    step("rename to", path, Step::Rename(staged, path), || fs::rename(staged, path))?;
    sync_dir(parent(path))
}

/// Writes a small file whole: staged beside, synced, published.
pub fn write(staging: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = staging.join(path.file_name().unwrap_or_default());
    let mut file = create(&staged)?;
    step("write", &staged, Step::Write(&staged), || io::Write::write_all(&mut file, bytes))?;
    sync(&file, &staged)?;
    publish(&staged, path)
}

/// Removes a file; one that is gone already is fine.
#[expect(clippy::disallowed_methods, reason = "this is the place that removes files")]
pub fn remove(path: &Path) -> Result<()> {
    step("remove", path, Step::Remove(path), || match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Names in a directory, sorted; none when there is no such directory.
pub fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DiskError::new("list", path, error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| DiskError::new("list", path, error))?;
    paths.sort();
    Ok(paths)
}

/// A step, by the verb that an error tells.
fn step<T>(verb: &'static str, path: &Path, step: Step<'_>, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
    fault::around(step, |error| error, act).map_err(|error| DiskError::new(verb, path, error))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| DiskError::new("restrict", path, error))
}

#[cfg(not(unix))]
fn restrict(_path: &Path, _mode: u32) -> Result<()> {
    Ok(())
}
