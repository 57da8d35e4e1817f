//! A directory of our own among the system's temporary files, gone with its value.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DiskError, Result, create, make_private_dir, open};

/// Readable by this user alone.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes one, where the system keeps temporary files.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn new() -> Result<Self> {
        // Nobody else can have made it: then this fails.
        let path = std::env::temp_dir().join(format!("overnight-{:016x}", fastrand::u64(..)));
        make_private_dir(&path).map_err(|error| DiskError::new("create directory", &path, error))?;
        Ok(Self(path))
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Copies a file into it, under a name there.
    ///
    /// # Errors
    /// When the file cannot be read, or there is no room.
    pub fn copy(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let mut file = open(from)?;
        let path = self.0.join(name);
        let mut copy = create(&path)?;
        io::copy(&mut file, &mut copy).map_err(|error| DiskError::new("copy to", &path, error))?;
        Ok(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}
