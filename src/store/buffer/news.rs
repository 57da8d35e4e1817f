//! What has come: for whoever follows a buffer beside its writer.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::RecordBatch;

use crate::model::event::Partition;

use super::view::is_of_row;
use super::{Result, View, migrate, rolled};

/// A block, and what it holds.
#[derive(Debug)]
pub struct News {
    /// Its seq.
    pub seq: i64,
    /// The rows of the partitions that were asked for, also of those that are rolled; or why they do not read.
    pub parts: std::result::Result<Vec<(Partition, RecordBatch)>, String>,
}

/// By what somebody who follows sees that something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The id of the buffer, as it is now.
    pub id: String,
    /// The highest seq that was ever given, as far as the buffer knows.
    pub seq: i64,
    /// Of what is rolled, and of the oldest block: another one where a roll came to its end.
    pub rolled: u64,
}

impl View {
    /// Another number each time somebody has committed. Costs next to nothing.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn data_version(&self) -> Result<i64> {
        self.db.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(|source| self.error(source))
    }

    /// How things stand.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn mark(&self) -> Result<Mark> {
        let look = || -> rusqlite::Result<Mark> {
            let (id, seq) = (migrate::id(&self.db)?, rolled::seq_highest(&self.db)?);
            let oldest: Option<i64> = self.db.query_row("SELECT min(seq) FROM block", [], |row| row.get(0))?;
            let mut noted: Vec<_> = self.blocks_of().rolled()?.0.into_iter().collect();
            noted.sort_unstable();
            let mut hash = DefaultHasher::new();
            (oldest, noted).hash(&mut hash);
            Ok(Mark { id, seq, rolled: hash.finish() })
        };
        self.at_one_moment(|| look().map_err(|source| self.error(source)))
    }

    /// The first block above a seq, with the parts of the event types that are wanted.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn news(&self, above: i64, wants: impl Fn(&str) -> bool) -> Result<Option<News>> {
        self.at_one_moment(|| {
            let mut found = None;
            let heads = self.blocks_of().heads("seq > ? ORDER BY seq LIMIT 1", [above], |head| found.replace(head).is_some());
            heads.map_err(|source| self.error(source))?;
            let Some(head) = found else { return Ok(None) };
            let partitions: Vec<Partition> = head.parts().iter().map(|part| part.partition.clone()).collect();
            let wanted = |partition: &&Partition| wants(&partition.event_type);
            if head.parts.is_ok() && !partitions.iter().any(|partition| wanted(&partition)) {
                return Ok(Some(News { seq: head.seq, parts: Ok(Vec::new()) }));
            }
            let rows = match self.blocks_of().body(head.seq) {
                Ok(body) => head.read(&body.unwrap_or_default(), |part| wants(&part.partition.event_type)),
                Err(error) if is_of_row(&error) => Err(error.to_string()),
                Err(source) => return Err(self.error(source)),
            };
            let parts = rows.map(|rows| partitions.iter().filter(wanted).cloned().zip(rows).collect());
            Ok(Some(News { seq: head.seq, parts }))
        })
    }

    /// True where it is a copy that is read, since nothing can be written beside the buffer: it does not see what comes.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }
}
