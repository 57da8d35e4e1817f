//! A damaged buffer is set aside, never deleted, and what can be read of it is taken into a new one.
//!
//! The new one is made in staging, and gets its first name, `state/rescued-TIME.db`, when it is complete. From then on the
//! damaged one can go and it can come, however often a crash interrupts that; before, nothing was touched.
//!
//! Rows are read from both ends of each table until one does not read, blocks between them by their numbers. Of a block whose body
//! alone does not read, what stands beside it tells the time.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use crate::base::disk;
use crate::base::time::{Micros, SECOND, rfc3339};
use crate::model::layout::{self, Layout};

use super::block::{Blocks, Head, Part, Span, TODAY, both};
use super::ledger::Change;
use super::lock::Lock;
use super::migrate::Schema;
use super::takeover::take_over;
use super::{Buffer, Result, View, commit, connect, ledger, migrate, restrict, rolled};

/// What a stream brought to a damaged buffer is at most so old: all is rolled once an hour.
const HELD: Micros = 2 * 3600 * SECOND;
/// A database, its log, and the index of the log.
pub(super) const FILES: [&str; 3] = ["", "-wal", "-shm"];
/// Cause of the gaps that a damaged buffer leaves.
const CAUSE: &str = "the buffer was damaged";
/// Whose gaps they are in a recording that was imported, and knows of no project.
const NO_PROJECT: &str = "imported";

/// What became of a damaged buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// Where the damaged file stands now.
    pub aside: PathBuf,
    /// What was wrong with it.
    pub why: String,
    /// Events taken over.
    pub events: u64,
    /// Events that did not read; none where nobody knows how many there were.
    pub lost: Option<u64>,
    /// Event time of what did not read; none when nothing was lost.
    pub span: Option<(Micros, Micros)>,
}

/// What is wrong with a buffer, if anything is. Looks into every page when the last writer did not end well, or when that is
/// quick. What the disk does not give back is no damage: it may be there tomorrow, and SQLite says what fails meanwhile.
pub(super) fn damage(layout: &Layout) -> Option<String> {
    if size(&layout.buffer()) == 0 {
        return None;
    }
    let found = || match check(layout) {
        Ok(found) => found,
        // Anything else, such as a missing permission, is told when the buffer is opened.
        Err(error) => is_damage(&error, layout).then(|| error.to_string()),
    };
    found()?;
    // The check does not tell a page that does not read from one that is wrong, nor whether it would read now.
    let files = [layout.buffer(), disk::with_ending(&layout.buffer(), "-wal")];
    if files.iter().any(|file| file.exists() && !disk::reads(file)) {
        return None;
    }
    found()
}

fn check(layout: &Layout) -> rusqlite::Result<Option<String>> {
    const QUICK: u64 = 64 * 1024 * 1024;
    let path = layout.buffer();
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    restrict(&db)?;
    match migrate::schema(&db)? {
        Schema::Ours => {}
        Schema::Rotten(what) => return Ok(Some(what)),
        // Refused when it is opened, and nothing of it is asked before.
        Schema::Foreign(_) => return Ok(None),
    }
    // A log that is left over: the last writer was killed, or could not finish.
    if size(&disk::with_ending(&path, "-wal")) == 0 && size(&path) > QUICK {
        return Ok(None);
    }
    // The indexes as well: by them blocks are found.
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

fn is_damage(error: &rusqlite::Error, layout: &Layout) -> bool {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => true,
        // Where nothing was recorded, it is somebody else's file.
        Some(rusqlite::ErrorCode::NotADatabase) => disk::list(&layout.data()).is_ok_and(|folders| !folders.is_empty()),
        _ => false,
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |about| about.len())
}

/// Puts a complete rescued buffer in the place of the damaged one: what is left of that to do.
fn finish(layout: &Layout) -> Result<()> {
    let Some((path, time)) =
        disk::list(&layout.state())?.into_iter().find_map(|path| layout::rescued_at(&path).map(|at| (path, at)))
    else {
        return Ok(());
    };
    disk::create_own_dir(&layout.damaged())?;
    for ending in FILES {
        let from = disk::with_ending(&layout.buffer(), ending);
        if from.exists() {
            disk::set_aside(&from, &disk::with_ending(&layout.aside(time), ending))?;
        }
    }
    Ok(disk::publish(&path, &layout.buffer())?)
}

impl Buffer {
    /// Opens the buffer. What reads of a damaged one is in the new one.
    pub(super) fn rescue(layout: &Layout, now: Micros, lock: Lock) -> Result<Self> {
        finish(layout)?;
        let Some(why) = damage(layout) else { return Self::open_locked(&layout.buffer(), lock) };
        let staged = layout.staging().join("buffer.db");
        for ending in FILES {
            disk::remove(&disk::with_ending(&staged, ending))?;
        }
        let mut buffer = Self::open_locked(&staged, lock)?;
        let mut rescued = buffer.take_over(&layout.buffer(), why, now)?;
        rescued.aside = layout.aside(now);
        let lock = buffer.close()?;
        disk::publish(&staged, &layout.rescued(now))?;
        finish(layout)?;
        Ok(Self { rescued: Some(rescued), ..Self::open_locked(&layout.buffer(), lock)? })
    }

    /// Takes over what can be read of a damaged buffer, and notes the span of what cannot as gaps.
    fn take_over(&mut self, damaged: &Path, why: String, now: Micros) -> Result<Rescued> {
        let mut rescued = Rescued { aside: damaged.to_owned(), why, events: 0, lost: None, span: None };
        let touched = damaged.metadata().and_then(|about| about.modified()).ok();
        let touched = touched.map_or(now, crate::base::time::from_system);
        let from = connect(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE);
        if let Ok(from) = &from {
            // At once: a commit for each row would wait for the disk each time.
            let copy = || {
                let all = self.db.unchecked_transaction()?;
                let tables = [
                    "meta",
                    "run",
                    "heard",
                    "fill",
                    "piece",
                    "fill_device",
                    "loss",
                    "known_device",
                    "device",
                    "sealed",
                    "fault",
                    "misfit",
                    "rolled",
                ];
                for table in tables {
                    self.copy(from, table)?;
                }
                if !has_runs(from) {
                    take_over(from, &self.db)?;
                }
                let taken = self.copy_blocks(from)?;
                all.commit().map(|()| taken)
            };
            let taken = copy().map_err(|source| self.error(source))?;
            (rescued.events, rescued.lost, rescued.span) = (taken.events, Some(taken.lost), taken.span);
            if !taken.all {
                let asked = self.asked_since(touched - HELD).map_err(|source| self.error(source))?;
                let streamed = Some((touched - HELD, now));
                rescued.lost = None;
                rescued.span = [asked.map(|first| (first, now)), taken.span, taken.held, streamed].into_iter().fold(None, both);
            }
        } else {
            rescued.span = Some((touched - HELD, now));
        }
        if let Some((begins, ends)) = rescued.span {
            self.note_lost(begins, ends, now)?;
        }
        Ok(rescued)
    }

    /// Copies the rows of a table that read.
    fn copy(&self, from: &Connection, table: &str) -> rusqlite::Result<()> {
        let width = self.db.prepare(&format!("SELECT * FROM {table}"))?.column_count();
        for mut row in rows(from, table, "*").0 {
            // Columns that came with a later version.
            row.resize(width, Value::Null);
            let marks = vec!["?"; row.len()].join(", ");
            // The new buffer has its own id, and its own first rows.
            let sql = format!("INSERT OR IGNORE INTO {table} VALUES ({marks})");
            match self.db.prepare_cached(&sql)?.execute(params_from_iter(row)) {
                // A row that is garbage does not fit the table.
                Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Copies the blocks that read, one at a time.
    fn copy_blocks(&self, from: &Connection) -> rusqlite::Result<Taken> {
        // What does not even say its version is taken for one of today.
        let version = from.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap_or(TODAY);
        let blocks = Blocks::of(from, version);
        let rolled = blocks.rolled().unwrap_or_default();
        let (found, has_all) = rows(from, "block", "seq");
        let mut taken = Taken { all: has_all, ..Taken::default() };
        let mut seqs: Vec<i64> = found.iter().map(|row| key(&row[0]).0).collect();
        if let (Some(first), Some(last), false) = (seqs.first().copied(), seqs.last().copied(), has_all) {
            seqs = (first..=last).take(ROWS_MAX).collect();
        }
        let mut held = None;
        for seq in seqs {
            let head = match blocks.one(seq) {
                Ok(Some(head)) => head,
                Ok(None) => continue,
                Err(_) => {
                    taken.all = false;
                    continue;
                }
            };
            taken.held = both(taken.held, head.span_held());
            let left = |part: &Part| rolled.is_left(part, seq);
            let parts = head.parts().iter().filter(|part| left(part));
            let events = parts.map(|part| u64::try_from(part.events).unwrap_or_default()).sum::<u64>();
            let body = blocks.body(seq).ok().flatten();
            if let Some(body) = body.filter(|body| head.read(body, |_| true).is_ok()) {
                head.brought_up(&mut held, body).insert(&self.db)?;
                taken.events += events;
            } else {
                taken.lost += events;
                taken.all &= head.is_true();
                taken.span = both(taken.span, head.span(left));
            }
        }
        Ok(taken)
    }

    /// The beginning of what passes over the history may have brought since a time.
    fn asked_since(&self, since: Micros) -> rusqlite::Result<Option<Micros>> {
        let sql = "SELECT min(begins - look_back) FROM piece JOIN fill ON fill.id = fill WHERE coalesce(done_at, ?1) >= ?1";
        self.db.query_row(sql, [since], |row| row.get(0))
    }

    /// Moves a block that does not read to the faults, where its bytes stay, and notes its span as gaps: all of it or nothing.
    /// One that reads after all stays where it is.
    ///
    /// # Errors
    /// When SQLite refuses, as it may where more than the block is damaged; a buffer like that is rescued when it is opened.
    pub fn condemn(&mut self, seq: i64, why: &str, now: Micros) -> Result<()> {
        let blocks = Blocks::of(&self.db, TODAY);
        let head = blocks.one(seq).ok().flatten();
        let body = blocks.body(seq).ok().flatten();
        if let (Some(head), Some(body)) = (&head, &body)
            && head.read(body, |_| true).is_ok()
        {
            return Ok(());
        }
        let rolled = blocks.rolled().unwrap_or_default();
        let projects = self.projects()?;
        let own = head.as_ref().and_then(|head| head.span(|part| rolled.is_left(part, seq)));
        // All of it may be rolled: then nothing is lost. Where nobody knows, all is that was held.
        let lost = match &head {
            Some(head) if head.is_true() => own,
            head => {
                let held = both(self.held, head.as_ref().and_then(Head::span_held));
                both(both(own, held), Some((now - HELD, now)))
            }
        };
        let write = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            // What is left of it, whatever SQLite takes it for.
            let read = transaction.query_row("SELECT CAST(body AS BLOB) FROM block WHERE seq = ?", [seq], |row| row.get(0));
            let body: Vec<u8> = read.unwrap_or_default();
            rolled::note_seq(&transaction)?;
            let gone = transaction.execute("DELETE FROM block WHERE seq = ?", [seq])?;
            if gone == 0 {
                return Ok(());
            }
            let at = head.as_ref().map_or(now, |head| head.kept_at);
            transaction.execute(
                "INSERT INTO fault (at, source, reason, length, raw) VALUES (?, 'buffer', ?, ?, ?)",
                params![at, format!("a block of the buffer does not read: {why}"), body.len(), body],
            )?;
            for (project, span) in projects.iter().filter_map(|project| lost.map(|span| (project, span))) {
                ledger::lost(&transaction, project, CAUSE, span, now)?;
            }
            commit(&self.path, || transaction.commit())
        };
        write().map_err(|source| self.error(source))
    }

    /// What the buffer held of a span is lost, whosever it was.
    fn note_lost(&mut self, begins: Micros, ends: Micros, now: Micros) -> Result<()> {
        for project in self.projects()? {
            self.apply(&Change::Lost { project, cause: CAUSE.to_owned(), begins, ends }, now)?;
        }
        Ok(())
    }

    /// Projects that the ledger speaks of; where there are none, one that stands for them, so that what is lost is told.
    pub fn projects(&self) -> Result<Vec<String>> {
        projects(&self.db).map_err(|source| self.error(source))
    }
}

impl View {
    /// Projects that the ledger speaks of; where there are none, one that stands for them, so that what is lost is told.
    pub fn projects(&self) -> Result<Vec<String>> {
        projects(&self.db).map_err(|source| self.error(source))
    }
}

fn projects(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql =
        "SELECT project FROM run UNION SELECT project FROM loss UNION SELECT project FROM fill UNION SELECT project FROM device";
    let mut found = db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    if found.is_empty() {
        found.push(NO_PROJECT.to_owned());
    }
    Ok(found)
}

impl fmt::Display for Rescued {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (aside, events) = (self.aside.display(), self.events);
        write!(out, "the buffer was damaged ({}); it stands in {aside} now, {events} events of it could be read", self.why)?;
        match (self.lost, self.span) {
            (_, None) => out.write_str(", and none is missing"),
            (Some(lost), Some((from, to))) => write!(out, ", {lost} are lost: {} to {} is a gap", rfc3339(from), rfc3339(to)),
            (None, Some((from, to))) => write!(out, "; {} to {} is a gap", rfc3339(from), rfc3339(to)),
        }
    }
}

/// What is taken of the blocks of a damaged buffer.
#[derive(Default)]
struct Taken {
    events: u64,
    /// Events of blocks that do not read.
    lost: u64,
    /// Their time.
    span: Option<Span>,
    /// These are all that are lost.
    all: bool,
    /// The time of all that was held, as blocks tell that read.
    held: Option<Span>,
}

/// Whether a database has today's ledger.
fn has_runs(db: &Connection) -> bool {
    db.query_row("SELECT 1 FROM sqlite_master WHERE name = 'run'", [], |_| Ok(())).is_ok()
}

/// Rows of a table: from its beginning until one does not read, and then from its end until one does not. True when these are all.
fn rows(from: &Connection, table: &str, columns: &str) -> (Vec<Vec<Value>>, bool) {
    let mut found: Vec<Vec<Value>> = Vec::new();
    let mut pass = |sql: String| -> rusqlite::Result<()> {
        let mut statement = from.prepare(&sql)?;
        let width = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let row = (0..width).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()?;
            if found.len() >= ROWS_MAX {
                break;
            }
            found.push(row);
        }
        Ok(())
    };
    let order = if matches!(
        table,
        "meta" | "heard" | "piece" | "fill_device" | "known_device" | "device" | "sealed" | "misfit" | "rolled"
    ) {
        "1"
    } else {
        "rowid"
    };
    let has_all = pass(format!("SELECT {columns} FROM {table} NOT INDEXED")).is_ok();
    if !has_all {
        // The error is the damage itself, which is told already.
        pass(format!("SELECT {columns} FROM {table} NOT INDEXED ORDER BY {order} DESC")).unwrap_or_default();
        found.sort_by_key(|row| row.first().map(key));
        found.dedup();
    }
    (found, has_all)
}

/// Most rows taken from a table; far more than a buffer has.
const ROWS_MAX: usize = 1_000_000;

fn key(value: &Value) -> (i64, String) {
    match value {
        Value::Integer(number) => (*number, String::new()),
        Value::Text(text) => (0, text.clone()),
        _ => (0, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io;
    use std::rc::Rc;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::base::disk::fault::{Script, Step, install};
    use crate::base::time::Day;
    use crate::model::event::{Batch, Partition};
    use crate::model::schema::Registry;

    const ROWS: usize = 50;

    /// Refuses one step: does not take it, or says afterwards that it failed.
    struct Refuse {
        step: usize,
        taken: bool,
        seen: Cell<usize>,
    }

    impl Script for Refuse {
        fn before(&self, _: &Step<'_>) -> io::Result<()> {
            let number = self.seen.replace(self.seen.get() + 1);
            if number == self.step && !self.taken { Err(io::Error::other("no")) } else { Ok(()) }
        }

        fn after(&self, _: &Step<'_>) -> io::Result<()> {
            if self.seen.get() == self.step + 1 && self.taken { Err(io::Error::other("no")) } else { Ok(()) }
        }

        fn leaves_out(&self, _: &str) -> bool {
            false
        }
    }

    /// A buffer of many blocks, with garbage where those in the middle are.
    fn damaged(layout: &Layout) -> Vec<u8> {
        let schema = Registry::built_in().unwrap().get("touch");
        let mut buffer = Buffer::open(layout, 1).unwrap();
        for block in 0..100_i64 {
            let times = || (0..).map(|row| block * 1000 + row).take(ROWS);
            let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
                match field.data_type() {
                    DataType::Timestamp(..) => {
                        Arc::new(TimestampMicrosecondArray::from_iter_values(times()).with_timezone("UTC"))
                    }
                    DataType::Utf8 if field.name() == "event_type" => {
                        Arc::new(times().map(|_| Some("touch")).collect::<StringArray>())
                    }
                    DataType::Utf8 => Arc::new(
                        times().map(|time| Some(format!("{}{:x}", field.name(), time * 0x9e37_79b9))).collect::<StringArray>(),
                    ),
                    kind => new_null_array(kind, ROWS),
                }
            };
            let columns = schema.arrow().fields().iter().map(column).collect();
            let rows = RecordBatch::try_new(Arc::clone(schema.arrow()), columns).unwrap();
            let partition = Partition { event_type: "touch".into(), day: Day(0) };
            buffer.keep(&Batch { parts: vec![(partition, rows)], ..Batch::default() }, None, 1).unwrap();
        }
        buffer.tidy().unwrap();
        drop(buffer);
        let mut bytes = fs::read(layout.buffer()).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 3 * 4096].fill(0xa5);
        fs::write(layout.buffer(), &bytes).unwrap();
        bytes
    }

    fn events(buffer: &Buffer) -> u64 {
        buffer.covered(&Partition { event_type: "touch".into(), day: Day(0) }, i64::MAX).unwrap()
    }

    #[test]
    fn a_rescue_that_is_interrupted_anywhere_loses_nothing_that_reads() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(&place.path().join("template"));
        let bytes = damaged(&layout);
        let mut whole = None;
        for (step, taken) in (0..).flat_map(|step| [(step, false), (step, true)]) {
            let layout = Layout::new(&place.path().join(format!("{step}{taken}")));
            fs::create_dir_all(layout.state()).unwrap();
            fs::copy(place.path().join("template/state/buffer.db"), layout.buffer()).unwrap();
            let script = Rc::new(Refuse { step, taken, seen: Cell::new(0) });
            let installed = install(Some(Rc::clone(&script) as Rc<dyn Script>));
            drop(Buffer::open(&layout, 2));
            drop(installed);
            let buffer = Buffer::open(&layout, 3).unwrap();
            let found = events(&buffer);
            assert!(found > 0 && found < 100 * ROWS as u64, "{found}");
            assert_eq!(*whole.get_or_insert(found), found, "step {step}");
            let aside: Vec<_> = disk::list(&layout.damaged()).unwrap();
            assert!(aside.iter().any(|path| fs::read(path).unwrap() == bytes), "step {step}: {aside:?}");
            let left = disk::list(&layout.state()).unwrap().into_iter().find(|path| layout::rescued_at(path).is_some());
            assert_eq!(left, None, "step {step}");
            if script.seen.get() <= step {
                assert!(step > 10, "only {step} steps");
                break;
            }
        }
    }
}
