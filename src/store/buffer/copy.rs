//! A database as another file: how a snapshot and the copy before an upgrade are made.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use crate::base::disk::{self, DiskError};

use super::{Result, commit, failure};

/// Writes a database to another file, which is its owner's alone from its first byte.
pub(super) fn vacuum_into(db: &Connection, from: &Path, path: &Path) -> Result<()> {
    let name = path.to_str().ok_or_else(|| DiskError::new("create", path, io::Error::other("SQLite wants names in UTF-8")))?;
    disk::create(path)?;
    commit(path, || db.execute("VACUUM INTO ?", [name])).map(drop).map_err(failure(from))
}

/// Makes a closed database durable, but for its name.
pub(super) fn sync_whole(path: &Path) -> Result<()> {
    Ok(disk::sync(&disk::open(path)?, path)?)
}
