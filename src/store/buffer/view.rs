//! Reading the buffer beside its writer: a read-only connection, short transactions.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use crate::base::disk::{self, Temporary};
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::Layout;

use super::block::{Blocks, Head, Part, Rolled};
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
    /// Lowest seq.
    pub seq_first: i64,
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
    pub(super) path: PathBuf,
    id: String,
    layout: Layout,
    /// The version of its tables.
    pub(super) version: i64,
    pub(super) is_copy: bool,
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

/// Blocks of a partition: each part's seq and rows, and where to go on if more follow.
pub(super) type Found = (Vec<(i64, RecordBatch)>, Option<i64>);

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
        let ((db, version, copy), is_copy) = match (!is_shared).then(|| look(&path)) {
            Some(Ok((db, version))) => ((db, version, None), false),
            Some(Err(error)) if !is_out_of_reach(&error) => return Err(error),
            Some(Err(_)) | None => (look_at_copy(&path)?, true),
        };
        if version == 0 {
            return Err(BufferError::Missing(layout.root().to_owned()));
        }
        migrate::look_over(&db, version).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
        let id = migrate::id(&db).map_err(|source| BufferError::Sqlite { path: path.clone(), source })?;
        Ok(Self { db, path, id, layout: layout.clone(), version, is_copy, _copy: copy })
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

    pub(super) fn blocks_of(&self) -> Blocks<'_> {
        Blocks::of(&self.db, self.version)
    }

    /// Looks at each block above a seq, in the order of keeping, with what is rolled; until `take` has enough.
    fn each_head(&self, above: i64, mut take: impl FnMut(Head, &Rolled) -> bool) -> Result<()> {
        let mut look = || -> rusqlite::Result<()> {
            let rolled = self.blocks_of().rolled()?;
            self.blocks_of().heads("seq > ? ORDER BY seq", [above], |head| take(head, &rolled))
        };
        look().map_err(|source| self.error(source))
    }

    /// Everything that no day file is known to hold, by partition.
    pub fn pending(&self) -> Result<Vec<Pending>> {
        let mut all: BTreeMap<Partition, Pending> = BTreeMap::new();
        self.each_head(i64::MIN, |head, rolled| {
            // Days of four digits, since no other has a day file.
            let has_file = |day: Day| (Day::FIRST..Day::BEHIND_LAST).contains(&day);
            for part in head.parts().iter().filter(|part| has_file(part.partition.day) && rolled.is_left(part, head.seq)) {
                let sum = all.entry(part.partition.clone()).or_insert_with(|| Pending {
                    partition: part.partition.clone(),
                    events: 0,
                    kept_first: head.kept_at,
                    time_first: part.time_first,
                    time_last: part.time_last,
                    seq_first: head.seq,
                    seq_last: head.seq,
                });
                // Of numbers that nobody has checked.
                sum.events = sum.events.saturating_add(part.events.clamp(0, 1 << 32).unsigned_abs());
                sum.kept_first = sum.kept_first.min(head.kept_at);
                (sum.time_first, sum.time_last) = (sum.time_first.min(part.time_first), sum.time_last.max(part.time_last));
                sum.seq_last = head.seq;
            }
            true
        })?;
        Ok(all.into_values().collect())
    }

    /// Events of a partition above a seq.
    pub fn count_above(&self, partition: &Partition, seq: i64) -> Result<u64> {
        let mut events = 0_u64;
        self.each_head(seq, |head, rolled| {
            for part in head.parts().iter().filter(|part| part.partition == *partition && rolled.is_left(part, head.seq)) {
                events = events.saturating_add(part.events.clamp(0, 1 << 32).unsigned_abs());
            }
            true
        })?;
        Ok(events)
    }

    /// How many events stand in its blocks, also those that are rolled already.
    pub fn held(&self) -> Result<u64> {
        let mut events = 0_u64;
        self.each_head(i64::MIN, |head, _| {
            let all = head.parts().iter().map(|part| part.events.clamp(0, 1 << 32).unsigned_abs()).sum();
            events = events.saturating_add(all);
            true
        })?;
        Ok(events)
    }

    /// Blocks that do not say what is in them.
    pub fn untold_blocks(&self) -> Result<Vec<(i64, String)>> {
        let mut untold = Vec::new();
        self.each_head(i64::MIN, |head, _| {
            untold.extend(head.parts.err().map(|what| (head.seq, what)));
            true
        })?;
        Ok(untold)
    }

    /// The blocks of a partition above a seq, in the order of keeping, until they hold `most` events or so many bytes that
    /// they would crowd the memory (always at least one block). Whoever reads beside a writer does so at one moment.
    ///
    /// # Errors
    /// When SQLite refuses or a block does not read.
    pub fn blocks(&self, partition: &Partition, above: i64, most: usize) -> Result<Found> {
        self.blocks_but(partition, above, most, |seq, what| Err(BufferError::Block { path: self.path.clone(), seq, what }))
    }

    /// The same; of a block that does not read, `damaged` gets the seq and the reason. One that does not say what is in it may
    /// hold rows of any partition.
    ///
    /// # Errors
    /// When SQLite refuses, or what `damaged` says.
    pub fn blocks_but(
        &self,
        partition: &Partition,
        above: i64,
        most: usize,
        mut damaged: impl FnMut(i64, String) -> Result<()>,
    ) -> Result<Found> {
        let mut heads = Vec::new();
        self.each_head(above, |head, rolled| {
            let is_of =
                |parts: &[_]| parts.iter().any(|part: &Part| part.partition == *partition && rolled.is_left(part, head.seq));
            if head.parts.as_ref().map_or(true, |parts| is_of(parts)) {
                heads.push(head);
            }
            heads.len() < BLOCKS_MAX
        })?;
        let (mut blocks, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut next = heads.last().filter(|_| heads.len() == BLOCKS_MAX).map(|head| head.seq);
        let mut before = above;
        for head in heads {
            if events >= most || bytes >= BLOCKS_BYTES {
                next = Some(before);
                break;
            }
            before = head.seq;
            match self.parts(&head, |part| part.partition == *partition)? {
                None => {}
                Some(Ok(parts)) => {
                    events += parts.iter().map(RecordBatch::num_rows).sum::<usize>();
                    bytes += parts.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
                    blocks.extend(parts.into_iter().map(|part| (head.seq, part)));
                }
                Some(Err(what)) => damaged(head.seq, what)?,
            }
        }
        Ok((blocks, next))
    }

    /// The rows of the parts of a block that are asked for, or why they do not read; none where it is gone.
    fn parts(
        &self,
        head: &Head,
        wants: impl FnMut(&Part) -> bool,
    ) -> Result<Option<std::result::Result<Vec<RecordBatch>, String>>> {
        match self.blocks_of().body(head.seq) {
            Ok(found) => Ok(found.map(|body| head.read(&body, wants))),
            Err(error) if is_of_row(&error) => Ok(Some(Err(error.to_string()))),
            Err(source) => Err(self.error(source)),
        }
    }

    /// True when there is a block with this seq, whether it reads or not.
    pub fn has_block(&self, seq: i64) -> Result<bool> {
        Ok(self.one("SELECT count(*) FROM block WHERE seq = ?", [seq])? > 0)
    }

    /// What SQLite's own check of every page finds wrong; nothing as a rule.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let mut found = self.rows("PRAGMA integrity_check(20)", [], |row| row.get::<_, String>(0))?;
        found.retain(|line| line != "ok");
        if let migrate::Schema::Rotten(what) = migrate::schema(&self.db).map_err(|source| self.error(source))? {
            found.push(what);
        }
        Ok(found)
    }

    fn all_heads(&self) -> Result<(Vec<Head>, Rolled)> {
        let (mut heads, mut is_rolled) = (Vec::new(), Rolled::default());
        self.each_head(i64::MIN, |head, rolled| {
            if heads.is_empty() {
                is_rolled = rolled.clone();
            }
            heads.push(head);
            true
        })?;
        Ok((heads, is_rolled))
    }

    /// Blocks that do not read, with the reason. One at a time, so that no long transaction holds the log.
    pub fn unreadable_blocks(&self) -> Result<Vec<(i64, String)>> {
        let mut wrong = Vec::new();
        for head in self.all_heads()?.0 {
            if let Some(Err(what)) = self.parts(&head, |_| true)? {
                wrong.push((head.seq, what));
            }
        }
        Ok(wrong)
    }

    /// Hands on the rows of each block of an event type; those that do not read are passed over. One at a time, so that no
    /// long transaction holds the log.
    pub fn each_block(&self, event_type: &str, mut take: impl FnMut(&RecordBatch)) -> Result<()> {
        let (heads, rolled) = self.all_heads()?;
        for head in heads {
            let is_of = |part: &Part| *part.partition.event_type == *event_type && rolled.is_left(part, head.seq);
            if head.parts().iter().any(is_of)
                && let Some(Ok(parts)) = self.parts(&head, is_of)?
            {
                parts.iter().for_each(&mut take);
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

/// True when it is the bytes of a row that are wrong, and nothing else failed.
pub(super) fn is_of_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..))
        || matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::TooBig))
}
