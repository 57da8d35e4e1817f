//! A snapshot: the buffer as it is at one moment, beside its writer, as one file without a log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use crate::model::event::Partition;

use super::copy::{sync_whole, vacuum_into};
use super::{Checksum, Result, View, commit, connect, failure};

/// A copy of a buffer that is not finished yet.
#[derive(Debug)]
pub struct Snapshot {
    db: Connection,
    path: PathBuf,
}

impl View {
    /// Copies the buffer to a file that is not there yet. Its writer goes on meanwhile.
    ///
    /// # Errors
    /// When there is no room, or a page does not read.
    pub fn snapshot(&self, path: &Path) -> Result<Snapshot> {
        vacuum_into(&self.db, &self.path, path)?;
        Ok(Snapshot { db: connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path: path.to_owned() })
    }

    /// How often something that was kept was noted as lost again.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn losses(&self) -> Result<u64> {
        self.one("SELECT count(*) FROM loss", [])
    }
}

impl Snapshot {
    /// Notes the checksums of the day files beside it, and no others; closes it, durable but for its name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self, sums: &BTreeMap<Partition, Checksum>) -> Result<()> {
        let path = self.path;
        let mut note = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            transaction.execute("DELETE FROM sealed", [])?;
            for (partition, sum) in sums {
                transaction
                    .prepare_cached("INSERT INTO sealed (event_type, day, sha256, bytes) VALUES (?, ?, ?, ?)")?
                    .execute(params![&*partition.event_type, partition.day.0, sum.sha256, sum.bytes])?;
            }
            commit(&path, || transaction.commit())
        };
        note().map_err(failure(&path))?;
        self.db.close().map_err(|(_, source)| failure(&path)(source))?;
        sync_whole(&path)
    }
}
