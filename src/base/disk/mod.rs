//! The steps on disk that durability rests on: make a directory, write and sync, publish by rename, remove.
//!
//! A file is durable when its bytes are synced and the directory that names it is synced; a new directory also needs its
//! parent synced. Nothing else in the program renames, creates or removes files below a recording.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use digest_io::IoWrapper;
use sha2::{Digest, Sha256};

mod copy;
pub(crate) mod fault;
mod network;
mod output;
mod plain;
mod readers;
mod temporary;

pub use copy::{copy, create_dir_anywhere, link, publish_beside, remove_tree, replace, sync_dir_if_possible};
use fault::Step;
pub use network::network;
pub use output::{OutputError, Unfinished, output, output_bytes};
pub use plain::{has_other_names, open, read, read_text, refuse_other_than_plain, refuse_others, refuse_shared};
pub use readers::Readers;
pub use temporary::Temporary;

/// Bytes that this process has sent to disks since it began, pages that were written twice twice; none where the system does not tell.
pub fn written() -> Option<u64> {
    let told = fs::read_to_string("/proc/self/io").ok()?;
    told.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

/// A step that failed: what, where, why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {}", path.display(), said(source))]
pub struct DiskError {
    /// The step, as a verb: "create", "sync".
    pub step: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What the system said, without its number.
fn said(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

impl DiskError {
    /// Wraps an I/O error with its step and path.
    pub fn new(step: &'static str, path: &Path, source: io::Error) -> Self {
        Self { step, path: path.to_owned(), source }
    }
}

/// What the system said, below whatever libraries made of it.
pub fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// True when an error comes of a disk that is full or of a quota that is used up.
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    // SQLite says so in its own words.
    let by_sqlite = |error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    cause(error).is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        || causes(error).any(|cause| cause.downcast_ref().is_some_and(by_sqlite))
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
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
    step("create directory", path, Step::MakeDir(path), || match make_private_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    })?;
    sync_dir(parent)
}

/// Creates or empties a file that only its owner can read, open for writing. Never through a link, hard or soft.
pub fn create(path: &Path) -> Result<File> {
    plain::refuse_shared(path)?;
    step("create", path, Step::Create(path), || private().truncate(true).open(path))
}

/// Makes a directory of a recording's own, which is no link: nothing is written outside of the recording.
pub fn create_own_dir(path: &Path) -> Result<()> {
    refuse_link(path)?;
    create_dir(path)
}

/// Opens a file that only its owner can read, to hold something that need not last, as a lock. Never through a link, hard or soft.
pub fn open_private(path: &Path) -> Result<File> {
    plain::refuse_shared(path)?;
    let file = private().read(true).open(path).map_err(|error| DiskError::new("open", path, error))?;
    plain::refuse_shared_file(path, &file)?;
    Ok(file)
}

/// Makes a file that only its owner can read, or lets nobody else read it any more; for one that SQLite fills and makes
/// durable, with files beside it that take after it. It is not opened if it is there: that could drop locks on it.
pub fn make_private(path: &Path) -> Result<()> {
    plain::refuse_shared(path)?;
    if path.exists() { restrict(path) } else { open_private(path).map(drop) }
}

fn refuse_link(path: &Path) -> Result<()> {
    if path.is_symlink() {
        let why = "it is a link, and a recorder writes to nothing outside of its recording; remove the link";
        return Err(DiskError::new("use", path, io::Error::other(why)));
    }
    Ok(())
}

/// Creates a file outside a recording that is not there yet, with the rights that the user's files usually have.
pub fn create_for_others(path: &Path) -> Result<File> {
    step("create", path, Step::Create(path), || OpenOptions::new().write(true).create_new(true).open(path))
}

/// Makes written bytes durable.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    step("sync", path, Step::Sync(path), || file.sync_all())
}

/// Makes the names in a directory durable. Where the file system cannot, the error is of kind `Unsupported`.
pub fn sync_dir(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let directory = File::open(path).map_err(|error| DiskError::new("open", path, error))?;
    step("sync", path, Step::SyncDir(path), || directory.sync_all()).map_err(|error| match error.source.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
            let why = "this file system does not make the names in a directory durable, as some shares do not: what is kept \
                       there may be gone after a power cut. Record to a local disk, and copy from there";
            DiskError::new("sync", path, io::Error::new(io::ErrorKind::Unsupported, why))
        }
        _ => error,
    })
}

/// Gives a synced file its final name, atomically and durably, also on another disk. The commit point of a roll.
pub fn publish(staged: &Path, path: &Path) -> Result<()> {
    step("rename to", path, Step::Rename(staged, path), || rename(staged, path))?;
    sync_dir(parent(path))
}

/// Moves a file to a place where nothing looks for it, durably. One of this name that stands there already stays.
pub fn set_aside(path: &Path, aside: &Path) -> Result<()> {
    if aside.exists() {
        return Err(DiskError::new("move to", aside, io::ErrorKind::AlreadyExists.into()));
    }
    step("move to", aside, Step::Rename(path, aside), || rename(path, aside))?;
    sync_dir(parent(aside))?;
    sync_dir(parent(path))
}

/// Ends the name of a copy on its way to another disk.
const MOVING: &str = ".moving";

/// True for the name of a copy on its way to another disk, which a crash may leave behind.
pub fn is_moving(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".") && name.to_string_lossy().ends_with(MOVING))
}

/// Renames a file. Onto another disk it is copied first, beside its new name, so that there it is whole at once as well.
#[expect(clippy::disallowed_methods, reason = "this is the place that renames and removes files")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        renamed => return renamed,
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(MOVING);
    let beside = to.with_file_name(name);
    let copy = || {
        let mut copy = private().truncate(true).open(&beside)?;
        let mut file = File::open(from)?;
        io::copy(&mut file, &mut copy)?;
        copy.set_permissions(file.metadata()?.permissions())?;
        copy.sync_all()?;
        fs::rename(&beside, to)
    };
    match copy() {
        Ok(()) => fs::remove_file(from),
        Err(error) => {
            // The first error is the one to tell.
            fs::remove_file(&beside).unwrap_or_default();
            Err(error)
        }
    }
}

/// True when the disk gives back every piece of a file.
pub fn reads(path: &Path) -> bool {
    const PIECE: usize = 64 * 1024;
    let Ok(file) = open(path) else { return false };
    let (mut piece, mut offset) = (vec![0; PIECE], 0);
    loop {
        match read_at(&file, &mut piece, offset) {
            Ok(0) => return true,
            Ok(read) => offset += read as u64,
            Err(_) => return false,
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, piece, offset)
}

#[cfg(windows)]
fn read_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, piece, offset)
}

/// Writes a small file whole: staged beside, synced, published.
pub fn write(staging: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    write_for(Readers::Owner, staging, path, bytes)
}

/// The same for these readers.
pub fn write_for(readers: Readers, staging: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = staging.join(path.file_name().unwrap_or_default());
    let mut file = create(&staged)?;
    step("write", &staged, Step::Write(&staged), || io::Write::write_all(&mut file, bytes))?;
    readers.admit(&staged)?;
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

/// Removes a file that was given up: its name is of no use, a start sweeps what stays, and why it was given up is the error to tell.
pub(crate) fn discard(path: &Path) {
    drop(remove(path));
}

/// SHA-256 of a file in hex, and its size.
pub fn sha256(path: &Path) -> Result<(String, u64)> {
    let fail = |error| DiskError::new("read", path, error);
    let mut file = open(path)?;
    let mut sum = IoWrapper(Sha256::new());
    let bytes = io::copy(&mut file, &mut sum).map_err(fail)?;
    Ok((base16ct::lower::encode_string(&sum.0.finalize()), bytes))
}

/// Room on the disk of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that the disk has in all.
    pub total: u64,
}

impl Room {
    /// Below this, nothing is kept or rolled any more: what is left is for clean-up, and for others.
    const LOW: u64 = 64 * 1024 * 1024;
    /// As much is set aside in a file, against others that fill the disk.
    const RESERVE: u64 = 8 * 1024 * 1024;

    /// The room on the disk of a directory; none where the system does not tell.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<Self> {
        let about = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Some(Self { free: bytes(about.f_bavail), total: bytes(about.f_blocks) })
    }

    /// The room on the disk of a directory; none where the system does not tell.
    #[cfg(not(unix))]
    pub fn of(_path: &Path) -> Option<Self> {
        None
    }

    /// The low-water mark in bytes: 64 MiB, less on a small disk.
    pub fn mark(self) -> u64 {
        Self::LOW.min(self.total / 20)
    }

    /// True when there is too little room to keep or roll. Once it was, there has to be some more than the mark, so that it does
    /// not come and go with each commit.
    pub fn is_low(self, was_low: bool) -> bool {
        self.free < self.mark() + if was_low { self.reserve() } else { 0 }
    }

    /// The size of the reserve in bytes: 8 MiB, less on a small disk.
    pub fn reserve(self) -> u64 {
        Self::RESERVE.min(self.total / 50)
    }
}

/// Sets room aside in a file, if it is not there yet. Where the file system cannot, there is no reserve.
#[cfg(unix)]
pub fn reserve(path: &Path, bytes: u64) -> Result<()> {
    if bytes == 0 || path.exists() {
        return Ok(());
    }
    let file = create(path)?;
    let set_aside = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    if set_aside.is_err() {
        return remove(path);
    }
    sync_dir(parent(path))
}

/// Sets room aside in a file; not on this system.
#[cfg(not(unix))]
pub fn reserve(_path: &Path, _bytes: u64) -> Result<()> {
    Ok(())
}

/// Gives a file a second name, so that it stays when the first is given to another. Where that cannot be, it is moved.
pub fn keep_as(path: &Path, other: &Path) -> Result<()> {
    if fs::hard_link(path, other).is_err() {
        return set_aside(path, other);
    }
    sync_dir(parent(other))
}

/// A file beside another one, whose name goes on with an ending, such as `buffer.db-wal`.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
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
fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Opens a file that is its owner's alone from its first moment.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

#[cfg(unix)]
fn restrict(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |error| DiskError::new("restrict", path, error);
    let mode = path.metadata().map_err(fail)?.permissions().mode();
    let own = mode & 0o7700;
    if own == mode & 0o7777 { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(own)).map_err(fail) }
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> Result<()> {
    Ok(())
}
