//! Files that people ask for, outside a recording: whoever opens the name sees a whole file, and nothing is replaced unasked.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DiskError, create_for_others, discard, parent, publish, sync, sync_dir};

/// Why there is no such file.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It exists already.
    #[error("{} exists already; give another -o, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Files that are being written, and how many are whole by now.
#[derive(Debug, Clone, Default)]
pub struct Unfinished {
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    parts: Vec<PathBuf>,
    whole: u64,
}

/// What a process leaves that ends in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Half files, which are removed.
    pub removed: usize,
    /// Whole files.
    pub whole: u64,
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes them, and lets nobody begin or finish another one: for a process that ends now.
    pub fn abandon(&self) -> Left {
        let mut files = self.lock();
        let left = Left { removed: files.parts.len(), whole: files.whole };
        for part in files.parts.drain(..) {
            discard(&part);
        }
        mem::forget(files);
        left
    }
}

/// A file on its way to its name. Dropped before that, it leaves nothing.
struct Whole<'u> {
    part: PathBuf,
    file: File,
    unfinished: &'u Unfinished,
}

impl<'u> Whole<'u> {
    fn begin(path: &Path, unfinished: &'u Unfinished) -> Result<Self, DiskError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| DiskError::new("create", folder, error))?;
        }
        // Nobody can have put a link there, nor is another export writing to it: then this fails.
        let part = path.with_file_name(format!(".overnight-{:016x}.part", fastrand::u64(..)));
        let mut files = unfinished.lock();
        let file = create_for_others(&part)?;
        files.parts.push(part.clone());
        Ok(Self { part, file, unfinished })
    }

    /// Gives it its name. Should another have got that meanwhile, it stays another's unless `force` is given.
    fn finish(self, path: &Path, force: bool) -> Result<(), OutputError> {
        sync(&self.file, &self.part)?;
        let mut files = self.unfinished.lock();
        let published = if force {
            publish(&self.part, path)
        } else {
            match rename_new(&self.part, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(OutputError::Exists(path.to_owned())),
                Err(error) => Err(DiskError::new("rename to", path, error)),
                Ok(()) => sync_dir(parent(path)),
            }
        };
        match published {
            // It has its name, and lasts as long as this file system makes names last.
            Err(error) if error.step == "sync" && error.source.kind() == io::ErrorKind::Unsupported => {}
            published => published?,
        }
        files.parts.retain(|part| *part != self.part);
        files.whole += 1;
        Ok(())
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        let mut files = self.unfinished.lock();
        if files.parts.contains(&self.part) {
            files.parts.retain(|part| *part != self.part);
            discard(&self.part);
        }
    }
}

/// Renames a file to a name that nobody has.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(part: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
        // Some file systems cannot hold the two together.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_unless_there(part, path),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(part: &Path, path: &Path) -> io::Result<()> {
    rename_unless_there(part, path)
}

/// The same in two steps: whoever comes between them is replaced, by a whole file.
#[expect(clippy::disallowed_methods, reason = "this is below the place that renames files")]
fn rename_unless_there(part: &Path, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(part, path)
}

/// Opens a file beside its name, has it filled, and gives it its name; folders on the way are made. A device or a pipe is
/// written to, never replaced. True when there is a file now. Until then it stands among the `unfinished`.
///
/// # Errors
/// When there is such a file and `force` is not given, when the disk refuses, or `fill` fails; then nothing is left behind.
pub fn output<E: From<OutputError>>(
    path: &Path,
    force: bool,
    unfinished: &Unfinished,
    fill: impl FnOnce(File) -> Result<(), E>,
) -> Result<bool, E> {
    let fail = |error: DiskError| E::from(OutputError::Disk(error));
    let refused = |error: io::Error| fail(DiskError::new("write", path, error));
    if path.is_file() && !force {
        return Err(OutputError::Exists(path.to_owned()).into());
    }
    if path.is_dir() {
        return Err(refused(io::ErrorKind::IsADirectory.into()));
    }
    if path.exists() && !path.is_file() {
        fill(fs::OpenOptions::new().write(true).open(path).map_err(refused)?)?;
        return Ok(false);
    }
    let whole = Whole::begin(path, unfinished).map_err(fail)?;
    fill(whole.file.try_clone().map_err(refused)?)?;
    whole.finish(path, force)?;
    Ok(true)
}

/// Writes bytes that are there already, as [`output`] does.
///
/// # Errors
/// When there is such a file and `force` is not given, or the disk refuses.
pub fn output_bytes(path: &Path, force: bool, bytes: &[u8]) -> Result<(), OutputError> {
    let refused = |error| OutputError::from(DiskError::new("write", path, error));
    output(path, force, &Unfinished::default(), |mut file| file.write_all(bytes).map_err(refused)).map(|_| ())
}
