//! By what a day file is known again without opening it, and how its devices are called.

use std::fs::Metadata;

use crate::base::time::Micros;

/// The id of a device; none of an event that is about none.
pub type Device = Option<String>;

/// By what a file is known again: a day file only ever comes by a rename, so another one has another number, as long as there is
/// the first; whoever writes to it changes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was changed, in nanoseconds.
    pub(super) modified: i64,
    /// The number that the file system gives it; 0 where it gives none.
    pub(super) number: u64,
}

impl Stamp {
    /// Of what the system says about a file; none where it does not tell times.
    pub fn of(about: &Metadata) -> Option<Self> {
        let modified = about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Self { bytes: about.len(), modified: i64::try_from(modified.as_nanos()).ok()?, number: number(about) })
    }
}

impl Stamp {
    /// When the file was changed.
    pub fn modified(&self) -> Micros {
        self.modified / 1000
    }

    /// True where it is the same file, whatever was written to it.
    pub fn is_of_same_file(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {} {}", self.bytes, self.modified, self.number)
    }
}

#[cfg(unix)]
fn number(about: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn number(_about: &Metadata) -> u64 {
    0
}
