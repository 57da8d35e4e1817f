//! Reading the buffer beside its writer: a read-only connection, short transactions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use crate::base::disk::{self, Temporary};
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::Layout;

use super::block::Head;
use super::{BufferError, Result, connect, lock, migrate};

/// Most bytes of columns read from the buffer at a time.
const BLOCKS_BYTES: usize = 64 * 1024 * 1024;
/// Most blocks looked at at a time.
const BLOCKS_MAX: usize = 10_000;

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

/// True where the power failed while the buffer was made, before it had its log: a reader alone cannot undo that.
fn is_half_made(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

/// A read-only connection.
#[derive(Debug)]
pub struct View {
    pub(super) db: Connection,
    path: PathBuf,
    id: String,
    layout: Layout,
    /// Whether its blocks may have checksums.
    has_checksums: bool,
    /// Behind the connection, so that it goes after it.
    _copy: Option<Temporary>,
}

/// A connection that has read once, and the version that it found.
fn look(path: &Path) -> Result<(Connection, i64)> {
    let open = || {
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        migrate::check(&db, path).map(|version| (db, version))
    };
    match open() {
        Err(BufferError::Sqlite { source, .. }) if is_half_made(&source) => {
            // Opened for writing, SQLite undoes what the journal says before it reads.
            migrate::check(&connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, path)?;
            open()
        }
        opened => opened,
    }
}

/// True when SQLite could not open the database, or a file beside it.
fn is_out_of_reach(error: &BufferError) -> bool {
    let code = if let BufferError::Sqlite { source, .. } = error { source.sqlite_error_code() } else { None };
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The same of a copy with its log: a recording on a disk, in a snapshot or of rights that are for reading only. Nobody writes
/// to it meanwhile: beside a writer there is the index of its log, which SQLite reads as it is.
fn look_at_copy(path: &Path) -> Result<(Connection, i64, Option<Temporary>)> {
    let folder = Temporary::new()?;
    let copy = folder.copy(path, "buffer.db")?;
    for log in ["buffer.db-wal", "buffer.db-journal"] {
        if path.with_file_name(log).exists() {
            folder.copy(&path.with_file_name(log), log)?;
        }
    }
    let (db, version) = look(&copy)?;
    // Open files need no names there, so not even a process that is killed leaves any.
    Ok((db, version, (!cfg!(unix)).then_some(folder)))
}

/// Blocks of a partition: each one's seq and rows, and where to go on if more follow.
pub(super) type Blocks = (Vec<(i64, RecordBatch)>, Option<i64>);

impl View {
    /// Opens the buffer of a recording for reading. Where nothing can be written beside it, as SQLite has to, a copy of it is read.
    ///
    /// # Errors
    /// When there is none, or it is foreign or newer, or this user may not read it.
    pub fn open(layout: &Layout) -> Result<Self> {
        let path = layout.buffer();
        match path.metadata() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(BufferError::Denied(layout.root().to_owned()));
            }
            Err(_) => return Err(BufferError::Missing(layout.root().to_owned())),
            Ok(_) => {}
        }
        let mut is_shared = false;
        for ending in ["", "-wal", "-shm", "-journal"] {
            let file = disk::with_ending(&path, ending);
            disk::refuse_other_than_plain(&file)?;
            is_shared |= disk::has_other_names(&file);
        }
        // A reader writes to the index of the log, and that of a copy by hard links is the original's.
        let (db, version, copy) = match (!is_shared).then(|| look(&path)) {
            Some(Ok((db, version))) => (db, version, None),
            Some(Err(error)) if !is_out_of_reach(&error) => return Err(error),
            Some(Err(_)) | None => look_at_copy(&path)?,
        };
        if version == 0 {
            return Err(BufferError::Missing(layout.root().to_owned()));
        }
        migrate::look_over(&db, version).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
        let id = migrate::id(&db).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
        let has_checksums = version >= migrate::HAS_CHECKSUMS;
        Ok(Self { db, path, id, layout: layout.clone(), has_checksums, _copy: copy })
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
        // Sums of numbers that nobody has checked; and days of four digits, since no other has a day file.
        let sql =
            "SELECT event_type, day, sum(min(max(events, 0), 1 << 32)), min(kept_at), min(time_first), max(time_last), max(seq)
                   FROM block WHERE day >= ? AND day < ? GROUP BY event_type, day ORDER BY event_type, day";
        let read = |row: &Row<'_>| {
            Ok(Pending {
                partition: Partition { event_type: text(row, 0)?.into(), day: Day(row.get(1)?) },
                events: row.get(2)?,
                kept_first: row.get(3)?,
                time_first: row.get(4)?,
                time_last: row.get(5)?,
                seq_last: row.get(6)?,
            })
        };
        self.rows(sql, [Day::FIRST.0, Day::BEHIND_LAST.0], read)
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
    /// they would crowd the memory (always at least one block). Whoever reads beside a writer does so at one moment.
    ///
    /// # Errors
    /// When SQLite refuses or a block does not read.
    pub fn blocks(&self, partition: &Partition, above: i64, most: usize) -> Result<Blocks> {
        self.blocks_but(partition, above, most, |seq, what| Err(BufferError::Block { path: self.path.clone(), seq, what }))
    }

    /// The same; of a block that does not read, `damaged` gets the seq and the reason.
    ///
    /// # Errors
    /// When SQLite refuses, or what `damaged` says.
    pub fn blocks_but(
        &self,
        partition: &Partition,
        above: i64,
        most: usize,
        mut damaged: impl FnMut(i64, String) -> Result<()>,
    ) -> Result<Blocks> {
        let which = "event_type = ? AND day = ? AND seq > ? ORDER BY seq LIMIT ?";
        let heads = self.heads(which, params![&*partition.event_type, partition.day.0, above, BLOCKS_MAX])?;
        let (mut blocks, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut next = heads.last().filter(|_| heads.len() == BLOCKS_MAX).map(|(seq, _)| *seq);
        let mut before = above;
        for (seq, head) in heads {
            if events >= most || bytes >= BLOCKS_BYTES {
                next = Some(before);
                break;
            }
            before = seq;
            match self.block(seq, &head)? {
                None => {}
                Some(Ok(batch)) => {
                    events += batch.num_rows();
                    bytes += batch.get_array_memory_size();
                    blocks.push((seq, batch));
                }
                Some(Err(what)) => damaged(seq, what)?,
            }
        }
        Ok((blocks, next))
    }

    /// What the index says of blocks, which has all but their bodies. `which` is the end of a statement.
    fn heads(&self, which: &str, values: impl rusqlite::Params) -> Result<Vec<(i64, Head)>> {
        let sql = format!(
            "SELECT seq, event_type, day, events, time_first, time_last, kept_at
             FROM block INDEXED BY block_by_partition WHERE {which}"
        );
        self.rows(&sql, values, |row| Ok((row.get(0)?, head(row, 1)?)))
    }

    /// The rows of a block, or why they do not read; none where it is gone.
    fn block(&self, seq: i64, head: &Head) -> Result<Option<std::result::Result<RecordBatch, String>>> {
        match body(&self.db, seq, self.has_checksums) {
            Ok(found) => Ok(found.map(|(body, checksum)| head.read(&body, checksum))),
            Err(error) if is_of_row(&error) => Ok(Some(Err(error.to_string()))),
            Err(source) => Err(self.error(source)),
        }
    }

    /// True when there is a block with this seq, whether it reads or not.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn has_block(&self, seq: i64) -> Result<bool> {
        Ok(self.one("SELECT count(*) FROM block WHERE seq = ?", [seq])? > 0)
    }

    /// What SQLite's own check of every page finds wrong; nothing as a rule.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let mut found = self.rows("PRAGMA integrity_check(20)", [], |row| row.get::<_, String>(0))?;
        found.retain(|line| line != "ok");
        if let migrate::Schema::Rotten(what) = migrate::schema(&self.db).map_err(|source| self.error(source))? {
            found.push(what);
        }
        Ok(found)
    }

    /// Blocks that do not read, with the reason. One at a time, so that no long transaction holds the log.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn unreadable_blocks(&self) -> Result<Vec<(i64, String)>> {
        let mut wrong = Vec::new();
        for (seq, head) in self.heads("true", [])? {
            if let Some(Err(what)) = self.block(seq, &head)? {
                wrong.push((seq, what));
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
        for (seq, head) in self.heads("event_type = ?", [event_type])? {
            if let Some(Ok(rows)) = self.block(seq, &head)? {
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

/// What stands beside the body of a block: event type, day, events, first and last time, time of keeping, from a column on.
pub(super) fn head(row: &Row<'_>, from: usize) -> rusqlite::Result<Head> {
    // A day that is out of bounds is none that any rows have.
    let day = Day(row.get::<_, i64>(from + 1)?.try_into().unwrap_or(i32::MAX));
    Ok(Head {
        partition: Partition { event_type: text(row, from)?.into(), day },
        events: row.get(from + 2)?,
        time_first: row.get(from + 3)?,
        time_last: row.get(from + 4)?,
        kept_at: row.get(from + 5)?,
    })
}

/// The body of a block, and its checksum if it has one; none where it is gone.
pub(super) fn body(db: &Connection, seq: i64, has_checksum: bool) -> rusqlite::Result<Option<(Vec<u8>, Option<i64>)>> {
    let sql = if has_checksum {
        "SELECT body, checksum FROM block WHERE seq = ?"
    } else {
        "SELECT body, NULL FROM block WHERE seq = ?"
    };
    db.prepare_cached(sql)?.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// True when it is the bytes of a row that are wrong, and nothing else failed.
pub(super) fn is_of_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..))
        || matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::TooBig))
}

/// A text, whatever its bytes are.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}
