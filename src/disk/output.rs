//! Files that people ask for, outside a recording: whoever opens the name sees a whole file, and nothing is replaced unasked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{DiskError, create_for_others, publish, remove, sync};

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

/// Opens a file beside its name, has it filled, and gives it its name; folders on the way are made. A device or a pipe is
/// written to, never replaced. True when there is a file now.
///
/// # Errors
/// When there is such a file and `force` is not given, when the disk refuses, or `fill` fails; then nothing is left behind.
pub fn output<E: From<OutputError>>(
    path: &Path,
    force: bool,
    fill: impl FnOnce(File) -> std::result::Result<(), E>,
) -> std::result::Result<bool, E> {
    let fail = |error: DiskError| E::from(OutputError::Disk(error));
    if path.is_file() && !force {
        return Err(OutputError::Exists(path.to_owned()).into());
    }
    if path.exists() && !path.is_file() {
        let file = fs::OpenOptions::new().write(true).open(path);
        fill(file.map_err(|error| fail(DiskError::new("write", path, error)))?)?;
        return Ok(false);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| fail(DiskError::new("create", folder, error)))?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = create_for_others(&part).map_err(fail)?;
    let copy = file.try_clone().map_err(|error| fail(DiskError::new("write", &part, error)));
    if let Err(error) = copy.and_then(fill) {
        remove(&part).map_err(fail)?;
        return Err(error);
    }
    sync(&file, &part).and_then(|()| publish(&part, path)).map_err(fail)?;
    Ok(true)
}
