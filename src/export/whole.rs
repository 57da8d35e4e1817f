//! Whole files: written beside their name, and given it when all is there. Nobody ever opens half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{self, DiskError};

use super::{ExportError, Output, Result};

/// Files that are being written.
#[derive(Debug, Clone, Default)]
pub struct Unfinished {
    parts: Arc<Mutex<Vec<PathBuf>>>,
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes them, and lets nobody begin or finish another one: for a process that ends now. True when there were any.
    pub fn abandon(&self) -> bool {
        let mut parts = self.lock();
        let were_any = !parts.is_empty();
        for part in parts.drain(..) {
            disk::remove(&part).unwrap_or_default();
        }
        mem::forget(parts);
        were_any
    }
}

/// A file on its way to its name. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub(super) struct Whole {
    path: PathBuf,
    part: PathBuf,
    file: File,
    unfinished: Unfinished,
}

fn output(path: &Path, source: io::Error) -> ExportError {
    ExportError::Output { to: path.display().to_string(), source }
}

impl Whole {
    /// Begins a file; none where the name is that of a device or a pipe, which is written to and never replaced.
    pub(super) fn begin(path: &Path, force: bool, unfinished: &Unfinished) -> Result<Option<Self>> {
        if path.is_file() && !force {
            return Err(ExportError::Exists(path.to_owned()));
        }
        if path.is_dir() {
            return Err(output(path, io::ErrorKind::IsADirectory.into()));
        }
        if path.exists() && !path.is_file() {
            return Ok(None);
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|source| output(folder, source))?;
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut parts = unfinished.lock();
        let file = disk::create_for_others(&part).map_err(|error| output(path, error.source))?;
        parts.push(part.clone());
        Ok(Some(Self { path: path.to_owned(), part, file, unfinished: unfinished.clone() }))
    }

    /// The file to write to.
    pub(super) fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|source| output(&self.path, source))
    }

    /// Gives it its name.
    pub(super) fn finish(self) -> Result<()> {
        let fail = |error: DiskError| output(&self.path, error.source);
        disk::sync(&self.file, &self.part).map_err(fail)?;
        let mut parts = self.unfinished.lock();
        disk::publish(&self.part, &self.path).map_err(fail)?;
        parts.retain(|part| *part != self.part);
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let mut parts = self.unfinished.lock();
        if parts.contains(&self.part) {
            parts.retain(|part| *part != self.part);
            disk::remove(&self.part).unwrap_or_default();
        }
    }
}

/// Opens what is no file, such as a pipe.
pub(super) fn open_device(path: &Path) -> Result<File> {
    fs::OpenOptions::new().write(true).open(path).map_err(|source| output(path, source))
}

/// Writes a text: a script, a page of a manual.
///
/// # Errors
/// When the file exists and `force` does not hold, or the output cannot be written.
pub fn write_text(to: &Output, force: bool, text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    match to {
        Output::Stdout => {
            let mut out = io::stdout();
            let written = out.write_all(bytes).and_then(|()| out.flush());
            written.map_err(|source| output(Path::new("standard output"), source))
        }
        Output::File(path) | Output::Directory(path) => match Whole::begin(path, force, &Unfinished::default())? {
            Some(whole) => {
                whole.file()?.write_all(bytes).map_err(|source| output(path, source))?;
                whole.finish()
            }
            None => open_device(path)?.write_all(bytes).map_err(|source| output(path, source)),
        },
    }
}
