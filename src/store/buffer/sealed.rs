//! Checksums of sealed day files: a row says that the file has these bytes, from its seal until it is rolled again.

use std::collections::BTreeMap;
use std::fmt::Write;

use rusqlite::{Row, params};

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::Layout;

use super::{Buffer, Result, View, commit};

/// What a sealed file consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Buffer {
    /// Notes the checksum of a day file that was sealed.
    pub fn sealed(&mut self, partition: &Partition, sum: &Checksum) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO sealed (event_type, day, sha256, bytes) VALUES (?, ?, ?, ?)",
            params![&*partition.event_type, partition.day.0, sum.sha256, sum.bytes],
        )
    }

    /// Forgets the checksum of a day file that is going to change, or is gone for good.
    pub fn unsealed(&mut self, partition: &Partition) -> Result<()> {
        self.execute("DELETE FROM sealed WHERE event_type = ? AND day = ?", params![&*partition.event_type, partition.day.0])
    }
}

impl Buffer {
    /// Forgets the checksums of day files that are going to be removed, and notes before when the recording is pruned: all of it or nothing.
    pub fn pruned(&mut self, partitions: &[Partition], before: Micros) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            for partition in partitions {
                transaction
                    .prepare_cached("DELETE FROM sealed WHERE event_type = ? AND day = ?")?
                    .execute(params![&*partition.event_type, partition.day.0])?;
            }
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES ('pruned_before', CAST(? AS TEXT)) ON CONFLICT (key) DO UPDATE SET value = excluded.value
                 WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)",
                [before],
            )?;
            commit(&self.path, || transaction.commit())
        };
        write().map_err(|source| self.error(source))
    }
}

impl View {
    /// Before when the recording is pruned: what was there was given up on purpose, and nothing of it is missing.
    pub fn pruned_before(&self) -> Result<Option<Micros>> {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'pruned_before'";
        Ok(self.rows(sql, [], |row| row.get(0))?.pop())
    }

    /// The checksum of one day file, if it is sealed.
    pub fn sum(&self, partition: &Partition) -> Result<Option<Checksum>> {
        let sql = "SELECT sha256, bytes FROM sealed WHERE event_type = ? AND day = ?";
        let read = |row: &Row<'_>| Ok(Checksum { sha256: row.get(0)?, bytes: row.get(1)? });
        Ok(self.rows(sql, params![&*partition.event_type, partition.day.0], read)?.pop())
    }

    /// Checksums of all sealed day files.
    pub fn sealed(&self) -> Result<BTreeMap<Partition, Checksum>> {
        let read = |row: &Row<'_>| {
            let partition = Partition { event_type: row.get::<_, String>(0)?.into(), day: Day(row.get(1)?) };
            Ok((partition, Checksum { sha256: row.get(2)?, bytes: row.get(3)? }))
        };
        Ok(self.rows("SELECT event_type, day, sha256, bytes FROM sealed", [], read)?.into_iter().collect())
    }
}

/// A list of checksums, as `sha256sum --check MANIFEST` reads it.
pub fn manifest(layout: &Layout, sums: &BTreeMap<Partition, Checksum>) -> String {
    let mut lines = String::new();
    for (partition, sum) in sums {
        let path = layout.day_file(partition);
        let path = path.strip_prefix(layout.root()).unwrap_or(&path);
        // A folder name has letters, digits and a few signs: nothing that would need quoting.
        writeln!(lines, "{}  {}", sum.sha256, path.display()).unwrap_or_default();
    }
    lines
}
