//! Before a buffer of an older version is brought up to date, a copy of it is set aside as it is: `state/before-4.db`, for the program of
//! before. The step itself is one transaction; the copy is for whoever wants to go back.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::base::disk::{self, Room};

use super::Result;
use super::copy::{sync_whole, vacuum_into};

/// A buffer that was brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    from: i64,
    to: i64,
    /// Where the copy stands, or why there is none.
    copy: std::result::Result<PathBuf, String>,
}

impl fmt::Display for Upgraded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, copy } = self;
        write!(out, "the buffer had format version {from}, and has {to} now")?;
        match copy {
            Ok(path) => write!(
                out,
                "; as it was it stands in {}, for the program of before; remove it when you will not go back",
                path.display()
            ),
            Err(why) => write!(out, "; there is no copy of it as it was: {why}"),
        }
    }
}

/// Sets a copy aside, once a version, where there is room for it. The step goes on without one: a recorder that does not start misses more.
pub(super) fn set_aside(db: &Connection, path: &Path, from: i64, to: i64) -> Upgraded {
    Upgraded { from, to, copy: copy(db, path, from) }
}

fn copy(db: &Connection, path: &Path, from: i64) -> std::result::Result<PathBuf, String> {
    let to = path.with_file_name(format!("before-{from}.db"));
    if to.exists() {
        return Ok(to);
    }
    let size = path.metadata().map_or(0, |about| about.len());
    // The step itself needs room as well.
    if Room::of(path.parent().unwrap_or(path)).is_some_and(|room| room.free < room.mark() + 3 * size) {
        return Err("the disk has no room for it".to_owned());
    }
    let staged = disk::with_ending(&to, ".new");
    let write = || -> Result<()> {
        disk::remove(&staged)?;
        vacuum_into(db, path, &staged)?;
        sync_whole(&staged)?;
        Ok(disk::publish(&staged, &to)?)
    };
    write().map_err(|error| {
        disk::discard(&staged);
        error.to_string()
    })?;
    Ok(to)
}
