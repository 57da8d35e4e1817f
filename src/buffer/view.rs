//! Reading the buffer beside its writer: a read-only connection, short transactions.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::error::plain;
use crate::event::Partition;
use crate::layout::Layout;
use crate::time::{Day, Micros};

use super::{BufferError, Result, block, connect, lock, migrate};

/// Most bytes of columns read from the buffer at a time.
const BLOCKS_BYTES: usize = 64 * 1024 * 1024;

/// What the buffer holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The partition.
    pub partition: Partition,
    /// Events kept; one that came twice counts twice until the roll.
    pub events: u64,
    /// When the oldest of them was kept.
    pub kept_first: Micros,
    /// Event time of the first.
    pub time_first: Micros,
    /// Event time of the last.
    pub time_last: Micros,
    /// Highest seq.
    pub seq_last: i64,
}

/// A read-only connection.
#[derive(Debug)]
pub struct View {
    pub(super) db: Connection,
    path: PathBuf,
    id: String,
    layout: Layout,
}

impl View {
    /// Opens the buffer of a recording for reading.
    ///
    /// # Errors
    /// When there is none, or it is foreign or newer.
    pub fn open(layout: &Layout) -> Result<Self> {
        let path = layout.buffer();
        if !path.exists() {
            return Err(BufferError::Missing(layout.root().to_owned()));
        }
        let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        match migrate::check(&db, &path)? {
            0 => return Err(BufferError::Missing(layout.root().to_owned())),
            version => {
                migrate::look_over(&db, version).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
            }
        }
        let id = migrate::id(&db).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
        Ok(Self { db, path, id, layout: layout.clone() })
    }

    /// The buffer's random id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// True while some process holds the writer's lock.
    pub fn has_writer(&self) -> bool {
        lock::Lock::is_held(&self.layout)
    }

    /// Lets several reads see one moment: nothing that a writer commits meanwhile.
    ///
    /// # Errors
    /// When SQLite refuses, or what `read` says.
    pub fn at_one_moment<T, E: From<BufferError>>(
        &self,
        read: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let moment = self.db.unchecked_transaction().map_err(|source| self.error(source))?;
        let result = read();
        drop(moment);
        result
    }

    /// Everything that no day file is known to hold, by partition.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn pending(&self) -> Result<Vec<Pending>> {
        let sql = "SELECT event_type, day, sum(events), min(kept_at), min(time_first), max(time_last), max(seq)
                   FROM block GROUP BY event_type, day ORDER BY event_type, day";
        let read = |row: &Row<'_>| {
            Ok(Pending {
                partition: Partition { event_type: row.get::<_, String>(0)?.into(), day: Day(row.get(1)?) },
                events: row.get(2)?,
                kept_first: row.get(3)?,
                time_first: row.get(4)?,
                time_last: row.get(5)?,
                seq_last: row.get(6)?,
            })
        };
        self.rows(sql, [], read)
    }

    /// Events of a partition above a seq.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn count_above(&self, partition: &Partition, seq: i64) -> Result<u64> {
        let sql = "SELECT coalesce(sum(events), 0) FROM block WHERE event_type = ? AND day = ? AND seq > ?";
        self.one(sql, params![&*partition.event_type, partition.day.0, seq])
    }

    /// The blocks of a partition above a seq, in the order of keeping, until they hold `most` events or so many bytes that
    /// they would crowd the memory (always at least one block): each block's seq and rows, and whether more follow. One
    /// read transaction.
    ///
    /// # Errors
    /// When SQLite refuses or a block does not read.
    pub fn blocks(&self, partition: &Partition, above: i64, most: usize) -> Result<(Vec<(i64, RecordBatch)>, bool)> {
        let fail = |source| BufferError::Sqlite { path: self.path.clone(), source };
        let sql = "SELECT seq, body FROM block WHERE event_type = ? AND day = ? AND seq > ? ORDER BY seq";
        let mut statement = self.db.prepare_cached(sql).map_err(fail)?;
        let mut rows = statement.query(params![&*partition.event_type, partition.day.0, above]).map_err(fail)?;
        let (mut blocks, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(row) = rows.next().map_err(fail)? {
            if events >= most || bytes >= BLOCKS_BYTES {
                return Ok((blocks, true));
            }
            let seq: i64 = row.get(0).map_err(fail)?;
            let body = row.get_ref(1).and_then(|body| body.as_blob().map_err(Into::into)).map_err(fail)?;
            let damaged =
                |error: arrow::error::ArrowError| BufferError::Block { path: self.path.clone(), seq, what: plain(&error) };
            let batch = block::decode(body).map_err(damaged)?;
            events += batch.num_rows();
            bytes += batch.get_array_memory_size();
            blocks.push((seq, batch));
        }
        Ok((blocks, false))
    }

    /// What SQLite's own check of every page finds wrong; nothing as a rule.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let found = self.rows("PRAGMA integrity_check(20)", [], |row| row.get::<_, String>(0))?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Blocks that do not read, with the reason. One at a time, so that no long transaction holds the log.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn unreadable_blocks(&self) -> Result<Vec<(i64, String)>> {
        let mut wrong = Vec::new();
        for seq in self.rows("SELECT seq FROM block", [], |row| row.get::<_, i64>(0))? {
            let read = |row: &Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?));
            // None: rolled meanwhile.
            let Some((events, body)) = self.rows("SELECT events, body FROM block WHERE seq = ?", [seq], read)?.pop() else {
                continue;
            };
            match block::decode(&body) {
                Ok(rows) if rows.num_rows() as u64 == events => {}
                Ok(rows) => wrong.push((seq, format!("{} rows instead of {events}", rows.num_rows()))),
                Err(error) => wrong.push((seq, plain(&error))),
            }
        }
        Ok(wrong)
    }

    /// Hands on the rows of each block of an event type; those that do not read are passed over. One at a time, so that no
    /// long transaction holds the log.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn each_block(&self, event_type: &str, mut take: impl FnMut(&RecordBatch)) -> Result<()> {
        for seq in self.rows("SELECT seq FROM block WHERE event_type = ?", [event_type], |row| row.get::<_, i64>(0))? {
            // None: rolled meanwhile.
            let body = self.rows("SELECT body FROM block WHERE seq = ?", [seq], |row| row.get::<_, Vec<u8>>(0))?.pop();
            if let Some(Ok(rows)) = body.map(|body| block::decode(&body)) {
                take(&rows);
            }
        }
        Ok(())
    }

    pub(super) fn one(&self, sql: &str, values: impl rusqlite::Params) -> Result<u64> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, |row| row.get(0)))
            .map_err(|source| self.error(source))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all = || -> rusqlite::Result<Vec<T>> { self.db.prepare_cached(sql)?.query_map(values, read)?.collect() };
        all().map_err(|source| self.error(source))
    }

    pub(super) fn error(&self, source: rusqlite::Error) -> BufferError {
        BufferError::Sqlite { path: self.path.clone(), source }
    }
}
