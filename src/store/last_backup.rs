//! When a recording was last copied, and where to: `state/backup.json`, written once the copy is whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::disk::{self, DiskError};
use crate::base::time::{Micros, Utc};
use crate::model::layout::Layout;

/// No note is longer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The last backup that was good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastBackup {
    /// What time it is of (RFC 3339).
    pub at: Utc,
    /// The directory of generations that it stands in.
    pub to: String,
}

/// The same as it stands on disk: microseconds since 1970 in UTC.
#[derive(Serialize, Deserialize)]
struct Note {
    at: Micros,
    to: String,
}

/// The last backup of a recording that was good; none where nobody made one, or could not note it.
pub fn last_backup(layout: &Layout) -> Option<LastBackup> {
    let note: Note = serde_json::from_slice(&disk::read(&layout.last_backup(), LONGEST).ok()?).ok()?;
    Some(LastBackup { at: Utc(note.at), to: note.to })
}

/// Notes a backup, of a time, in a directory.
///
/// # Errors
/// When the disk refuses, as where a recording can only be read.
pub fn note_backup(layout: &Layout, at: Micros, to: &Path) -> Result<(), DiskError> {
    let path = layout.last_backup();
    let to = to.canonicalize().unwrap_or_else(|_| to.to_owned()).display().to_string();
    let text = serde_json::to_vec(&Note { at, to }).map_err(|error| DiskError::new("write", &path, error.into()))?;
    disk::replace(&path, &text)
}
