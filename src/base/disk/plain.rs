//! Files of a recording that somebody else may have made. Only plain ones are opened: a link leads anywhere, a pipe never
//! answers, a device does things when it is opened. And none is written through that has a second name elsewhere.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use super::{DiskError, Result};

/// Opens a plain file for reading, and nothing else.
///
/// # Errors
/// When there is none, or it is something else.
pub fn open(path: &Path) -> Result<File> {
    is_plain(path)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed());
    }
    let file = options.open(path).map_err(|error| DiskError::new("open", path, error))?;
    // Once more: it may have been changed in between.
    check(path, &file.metadata().map_err(|error| DiskError::new("read", path, error))?)?;
    Ok(file)
}

/// Reads a plain file whole.
///
/// # Errors
/// When there is none, it is something else, or longer than `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| DiskError::new("read", path, error))?;
    if bytes.len() as u64 > most {
        return Err(DiskError::new("read", path, io::Error::other(format!("it is longer than {most} bytes"))));
    }
    Ok(bytes)
}

/// The same of text.
///
/// # Errors
/// As for [`read`], and when it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| DiskError::new("read", path, io::Error::other("it is no text in UTF-8")))
}

/// Refuses what is there and no plain file; what is not there is fine.
///
/// # Errors
/// When it is something else, or the system does not tell.
pub fn refuse_other_than_plain(path: &Path) -> Result<()> {
    match is_plain(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        checked => checked.map(drop),
    }
}

/// True when a file has a second name, which may be anybody's.
pub fn has_other_names(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| names(&about) > 1)
}

/// Refuses a file to write to that is no plain one, or has a second name elsewhere; what is not there is fine.
///
/// # Errors
/// When it is one.
pub fn refuse_shared(path: &Path) -> Result<()> {
    refuse_other_than_plain(path)?;
    if has_other_names(path) { Err(shared(path)) } else { Ok(()) }
}

/// The same of a file that is open.
pub(super) fn refuse_shared_file(path: &Path, file: &File) -> Result<()> {
    let about = file.metadata().map_err(|error| DiskError::new("read", path, error))?;
    check(path, &about)?;
    if names(&about) > 1 { Err(shared(path)) } else { Ok(()) }
}

fn shared(path: &Path) -> DiskError {
    let why = "it has a second name elsewhere (a hard link), and a recorder writes to nothing outside of its recording; make it a \
               file of its own: copy it, and move the copy over it";
    DiskError::new("use", path, io::Error::other(why))
}

fn is_plain(path: &Path) -> Result<()> {
    check(path, &path.symlink_metadata().map_err(|error| DiskError::new("open", path, error))?)
}

fn check(path: &Path, about: &Metadata) -> Result<()> {
    if about.is_file() {
        return Ok(());
    }
    let kind = match about {
        about if about.is_symlink() => "a link",
        about if about.is_dir() => "a directory",
        _ => "a pipe, a socket or a device",
    };
    Err(DiskError::new("open", path, io::Error::other(format!("it is {kind}, where a plain file belongs; remove it"))))
}

#[cfg(unix)]
fn names(about: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(about)
}

#[cfg(not(unix))]
fn names(_about: &Metadata) -> u64 {
    1
}

/// Refuses a directory of a recording to write to that is another user's, or that others can write to.
///
/// # Errors
/// When it is one.
#[cfg(unix)]
pub fn refuse_others(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about = path.symlink_metadata().map_err(|error| DiskError::new("read", path, error))?;
    let (owner, own) = (about.uid(), rustix::process::geteuid().as_raw());
    let why = if owner != own {
        format!(
            "it is another user's (uid {owner}, and this is {own}), who could change all that is kept; record as that user, or give another --dir"
        )
    } else if about.mode() & 0o022 != 0 {
        // On FAT and exFAT a chmod does nothing: who may write is said when they are mounted.
        format!(
            "other users can write to it, and change all that is kept; run chmod go-w {}, or, where a disk knows no permissions, mount it with umask=077",
            path.display()
        )
    } else {
        return Ok(());
    };
    Err(DiskError::new("use", path, io::Error::other(why)))
}

/// Refuses a directory that is others'; not on this system.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn refuse_others(_path: &Path) -> Result<()> {
    Ok(())
}
