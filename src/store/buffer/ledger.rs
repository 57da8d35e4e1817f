//! The ledger: what was wanted (runs), what was heard (sessions), what was asked of the history (fills), what was lost again.
//!
//! **A gap is what is left**; nobody writes one. So whatever fails to be written (a crash between two commits, a full disk, an
//! error that ends the program) can only make a gap larger, never hide one:
//!
//! * A run that nobody ended by request goes on.
//! * A session reaches from its first to its last sign of life, as far as that was written: with the events before it, in
//!   their commit, or behind them.
//! * A pass over the history is done when each device is, and each device is noted behind its events.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::disk;
use crate::base::time::{DAY, Micros, STEP};
use crate::model::event::{Batch, DeviceRow, LABELS_MAX, Misfit, Source};
use crate::model::settings::Filters;

use super::block::HAS_PARTS;
use super::takeover::text;
use super::{Buffer, Result, View, commit};

/// Sessions that ended so long ago are joined where they meet. Nothing that comes can change them.
const JOINED_AFTER: Micros = 32 * DAY;

/// What a recorder is to record of a project, from the moment at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number, counted by its recorder.
    pub number: u64,
    /// What the steady clock counts from; empty where nobody but its recorder knows.
    pub boot: String,
    /// What the wall clock showed beyond the steady one: another number when somebody has set it.
    pub clock: Micros,
    /// The kind of connection.
    pub source: Source,
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// Who asks the cloud; empty where nobody is asked.
    pub account: String,
    /// Its beginning.
    pub begins: Micros,
    /// Its planned end.
    pub until: Option<Micros>,
    /// A session without a sign of life for so long is none.
    pub quiet: Micros,
}

/// What a session has heard so far. Each one says all of it: one that is not written is made up for by the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Whose session it is.
    pub run: Arc<Run>,
    /// Its number, counted by its recorder.
    pub session: u64,
    /// Its first sign of life.
    pub opened_at: Micros,
    /// Its last one.
    pub spoke_at: Micros,
    /// Why it ended, if it has.
    pub ended: Option<String>,
}

/// A pass over the history that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Its number, of whoever asks.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// Somebody asked for it.
    pub by_hand: bool,
    /// Nothing of it was asked before.
    pub asked_at: Micros,
    /// How far before its pieces it asks as well.
    pub look_back: Micros,
    /// What it fills: begin, end, and whether it asks so late that nothing more comes.
    pub pieces: Vec<(Micros, Micros, bool)>,
}

/// What became of a device in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What the history has of it is in the recording.
    Done,
    /// The cloud does not give it, and will not: why.
    Refused(String),
    /// It was tried, and is tried again: why it failed.
    Failed(String),
}

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A run begins.
    Begins(Arc<Run>),
    /// Why nothing connects.
    Said(Arc<Run>, String),
    /// What the cloud's clock is ahead of this machine's.
    CloudAhead(Arc<Run>, Micros),
    /// A run was asked to end, and ended then.
    Ends(Arc<Run>, Micros),
    /// A run that was refused before it heard anything: a project that is none, say. It never was.
    Void(Arc<Run>),
    /// A session gave a sign of life.
    Heard(Heard),
    /// Something that was kept is lost with a damaged file: project, cause, span of event time.
    Lost {
        /// The project.
        project: String,
        /// Why.
        cause: String,
        /// Its beginning.
        begins: Micros,
        /// Its end.
        ends: Micros,
    },
    /// A pass over the history begins.
    Asks(Fill),
    /// A pass asks so many devices.
    Asked(i64, u64),
    /// A device has an outcome in several passes at once. With each pass: events that it brought, by the beginning of a piece.
    Device {
        /// The device.
        device: String,
        /// What became of it.
        outcome: Outcome,
        /// In which passes, and what it brought there.
        fills: Vec<(i64, Vec<(Micros, u64)>)>,
    },
    /// Why passes do not get on.
    Waits(Vec<i64>, String),
    /// A pass is done, but for what is said here.
    Filled {
        /// Number of the pass.
        fill: i64,
        /// What it could not bring.
        but: Option<String>,
    },
    /// All of a project's history was read.
    Reconciled(String, Micros),
    /// The devices of a project, as the cloud lists them.
    Devices(String, Vec<DeviceRow>),
}

impl Change {
    /// Whether it must not be lost while the disk is full: it is small, and told again when there is room.
    pub fn is_owed(&self) -> bool {
        matches!(self, Self::Begins(_) | Self::Said(..) | Self::Ends(..) | Self::Void(_) | Self::Heard(_) | Self::Lost { .. })
    }
}

/// A run as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its number in the ledger.
    pub id: i64,
    /// The buffer's random id while its recorder ran.
    pub opening: String,
    /// What the steady clock counted from; empty where nobody but its recorder knew.
    pub boot: String,
    /// What the wall clock showed beyond the steady one.
    pub clock: Micros,
    /// What the cloud's clock was ahead of the wall clock, as far as anybody knows.
    pub ahead: Option<Micros>,
    /// The kind of connection, by its name.
    pub source: String,
    /// The project.
    pub project: String,
    /// What was asked for.
    pub filters: Arc<Filters>,
    /// Its beginning.
    pub begins: Micros,
    /// Its planned end.
    pub until: Option<Micros>,
    /// When it was asked to end.
    pub ended_at: Option<Micros>,
    /// A session without a sign of life for so long is none.
    pub quiet: Micros,
    /// Why nothing connects.
    pub said: Option<String>,
}

/// A session as the ledger has it, or several that met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its run.
    pub run: i64,
    /// Its first sign of life.
    pub opened_at: Micros,
    /// Its last sign of life.
    pub spoke_at: Micros,
    /// When it closed; none while it lives, and where nobody closed it.
    pub closed_at: Option<Micros>,
    /// Why it closed.
    pub cause: Option<String>,
    /// How many sessions these are.
    pub joined: u64,
}

/// A span that a pass over the history fills, with what its pass says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its pass.
    pub fill: i64,
    /// Its beginning.
    pub begins: Micros,
    /// Its end.
    pub ends: Micros,
    /// It was asked so late that nothing comes after it.
    pub confirms: bool,
    /// Events that the history brought.
    pub events: u64,
}

/// A pass over the history as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillRow {
    /// Its number.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Which events it asks for.
    pub filters: Arc<Filters>,
    /// Somebody asked for it.
    pub by_hand: bool,
    /// Nothing of it was asked before.
    pub asked_at: Micros,
    /// How far before its pieces it asks as well.
    pub look_back: Micros,
    /// Of so many devices; 0 until they are known.
    pub devices: u64,
    /// When it was done.
    pub done_at: Option<Micros>,
    /// What it could not bring.
    pub but: Option<String>,
}

/// Something that was kept and is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The project.
    pub project: String,
    /// Which events.
    pub filters: Arc<Filters>,
    /// Its beginning.
    pub begins: Micros,
    /// Its end.
    pub ends: Micros,
    /// Why.
    pub cause: String,
    /// What was asked before this time is lost as well.
    pub noted_at: Micros,
}

/// What the ledger has of a span of time.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Runs, by their beginning.
    pub runs: Vec<RunRow>,
    /// Sessions, by run and number.
    pub sessions: Vec<Session>,
    /// Passes over the history.
    pub fills: HashMap<i64, FillRow>,
    /// Their spans, by their beginnings.
    pub pieces: Vec<Piece>,
    /// What was lost again.
    pub losses: Vec<Loss>,
}

impl Buffer {
    /// Writes a change, all of it or nothing.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn apply(&mut self, change: &Change, now: Micros) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            write(&transaction, &self.id, change, now)?;
            commit(&self.path, || transaction.commit())
        };
        write().map_err(|source| self.error(source))
    }

    /// Nobody wants more of a project: runs that go on without a recorder end now.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn end_runs(&mut self, project: &str, now: Micros) -> Result<()> {
        self.execute("UPDATE run SET ended_at = max(begins, ?) WHERE project = ? AND ended_at IS NULL", params![now, project])
    }

    /// Joins sessions of long ago where they meet, so that a ledger of ten years reads as fast as one of a month.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn join_sessions(&mut self, now: Micros) -> Result<()> {
        let join = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            join_before(&transaction, now - JOINED_AFTER)?;
            commit(&self.path, || transaction.commit())
        };
        join().map_err(|source| self.error(source))
    }
}

/// Writes a sign of life within the commit of the events before it.
pub(super) fn heard(db: &Connection, opening: &str, heard: &Heard, now: Micros) -> rusqlite::Result<()> {
    let run = run_id(db, opening, &heard.run)?;
    db.prepare_cached(
        "INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause, written) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET spoke_at = max(spoke_at, excluded.spoke_at), written = excluded.written,
            closed_at = coalesce(excluded.closed_at, closed_at), cause = coalesce(excluded.cause, cause)",
    )?
    .execute(params![
        run,
        heard.session,
        heard.opened_at,
        heard.spoke_at,
        heard.ended.as_ref().map(|_| now),
        heard.ended,
        disk::written()
    ])?;
    Ok(())
}

/// The row of a run; made when its beginning could not be written in time.
fn run_id(db: &Connection, opening: &str, run: &Run) -> rusqlite::Result<i64> {
    let found = db
        .prepare_cached("SELECT id FROM run WHERE opening = ? AND number = ?")?
        .query_row(params![opening, run.number], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    db.prepare_cached(
        "INSERT INTO run (opening, number, boot, clock, source, project, filters, account, begins, until, quiet)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        opening,
        run.number,
        run.boot,
        run.clock,
        run.source.name(),
        run.project,
        text(&run.filters),
        run.account,
        run.begins,
        run.until,
        run.quiet
    ])?;
    Ok(db.last_insert_rowid())
}

fn write(db: &Connection, opening: &str, change: &Change, now: Micros) -> rusqlite::Result<()> {
    match change {
        Change::Begins(run) => {
            run_id(db, opening, run)?;
            never_asked(db, now)?;
        }
        Change::CloudAhead(run, ahead) => {
            let run = run_id(db, opening, run)?;
            db.prepare_cached("UPDATE run SET ahead = coalesce(ahead, ?) WHERE id = ?")?.execute(params![ahead, run])?;
        }
        Change::Said(run, words) => {
            let run = run_id(db, opening, run)?;
            db.prepare_cached("UPDATE run SET said = ? WHERE id = ?")?.execute(params![words, run])?;
        }
        Change::Ends(run, at) => {
            let run = run_id(db, opening, run)?;
            db.prepare_cached("UPDATE run SET ended_at = max(begins, ?) WHERE id = ?")?.execute(params![at, run])?;
        }
        Change::Void(run) => {
            db.prepare_cached(
                "DELETE FROM run WHERE opening = ? AND number = ? AND NOT EXISTS (SELECT 1 FROM heard WHERE heard.run = run.id)",
            )?
            .execute(params![opening, run.number])?;
        }
        Change::Heard(sign) => heard(db, opening, sign, now)?,
        Change::Lost { project, cause, begins, ends } => lost(db, project, cause, (*begins, *ends), now)?,
        Change::Asks(fill) => asks(db, fill, now)?,
        Change::Asked(fill, devices) => {
            db.prepare_cached("UPDATE fill SET devices = ? WHERE id = ?")?.execute(params![devices, fill])?;
        }
        Change::Device { device, outcome, fills } => outcome_of(db, device, outcome, fills)?,
        Change::Waits(fills, why) => {
            for fill in fills {
                db.prepare_cached("UPDATE fill SET but = ? WHERE id = ? AND done_at IS NULL")?.execute(params![why, fill])?;
            }
        }
        Change::Filled { fill, but } => filled(db, *fill, but.as_deref(), now)?,
        Change::Reconciled(project, at) => {
            db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('reconciled_at:' || ?, ?)")?
                .execute(params![project, at.to_string()])?;
        }
        Change::Devices(project, devices) => {
            let sql = "INSERT OR REPLACE INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, ?, ?)";
            let mut insert = db.prepare_cached(sql)?;
            for device in devices {
                // The list is how things are now.
                described(db, project, &device.id, now)?;
                insert.execute(params![project, device.id, device.kind, device.product_number, device.labels])?;
            }
        }
    }
    Ok(())
}

/// Notes that what was kept of a span is lost. What was asked for then is what is missing.
pub(super) fn lost(db: &Connection, project: &str, cause: &str, span: (Micros, Micros), now: Micros) -> rusqlite::Result<()> {
    let mut asked = db.prepare_cached(
        "SELECT DISTINCT filters FROM run WHERE project = ?1 AND begins <= ?3 AND coalesce(ended_at, until, ?4) >= ?2 LIMIT 2",
    )?;
    let mut filters: Vec<String> =
        asked.query_map(params![project, span.0, span.1, Micros::MAX], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let filters = filters.pop().filter(|_| filters.is_empty()).unwrap_or_else(|| text(&Filters::default()));
    // A span of one moment is one all the same.
    let ends = span.1.max(span.0.saturating_add(1));
    db.prepare_cached("INSERT INTO loss (project, filters, begins, ends, cause, noted_at) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute(params![project, filters, span.0, ends, cause, now])?;
    Ok(())
}

/// Passes that were asked later than now were asked by a clock that was wrong, of a time that was wrong: they never were.
fn never_asked(db: &Connection, now: Micros) -> rusqlite::Result<()> {
    let future = "SELECT id FROM fill WHERE asked_at > ?";
    for table in ["piece", "fill_device"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE fill IN ({future})"))?.execute([now + STEP])?;
    }
    db.prepare_cached("DELETE FROM fill WHERE asked_at > ?")?.execute([now + STEP])?;
    Ok(())
}

fn asks(db: &Connection, fill: &Fill, now: Micros) -> rusqlite::Result<()> {
    if fill.asked_at > now + STEP {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR IGNORE INTO fill (id, project, filters, by_hand, asked_at, look_back) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![fill.id, fill.project, text(&fill.filters), fill.by_hand, fill.asked_at, fill.look_back])?;
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO piece (fill, begins, ends, confirms) VALUES (?, ?, ?, ?)")?;
    for (begins, ends, confirms) in &fill.pieces {
        insert.execute(params![fill.id, begins, ends, confirms])?;
    }
    Ok(())
}

fn outcome_of(db: &Connection, device: &str, outcome: &Outcome, fills: &[(i64, Vec<(Micros, u64)>)]) -> rusqlite::Result<()> {
    let (name, why) = match outcome {
        Outcome::Done => ("done", None),
        Outcome::Refused(why) => ("refused", Some(why)),
        Outcome::Failed(why) => ("failed", Some(why)),
    };
    let mut note = db.prepare_cached(
        "INSERT OR REPLACE INTO fill_device (fill, device, outcome, why) SELECT id, ?2, ?3, ?4 FROM fill WHERE id = ?1",
    )?;
    let mut add = db.prepare_cached("UPDATE piece SET events = events + ? WHERE fill = ? AND begins = ?")?;
    for (fill, events) in fills {
        note.execute(params![fill, device, name, why])?;
        for (begins, events) in events {
            add.execute(params![events, fill, begins])?;
        }
    }
    Ok(())
}

/// A pass is done. Earlier ones that filled the same spans have had their say.
fn filled(db: &Connection, fill: i64, but: Option<&str>, now: Micros) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE fill SET done_at = ?, but = ? WHERE id = ?")?.execute(params![now, but, fill])?;
    db.prepare_cached("DELETE FROM fill_device WHERE fill = ? AND outcome <> 'refused'")?.execute([fill])?;
    let earlier = "FROM piece AS own JOIN fill AS this ON this.id = own.fill
        JOIN piece AS old ON old.begins = own.begins AND old.ends = own.ends AND old.fill <> own.fill
        JOIN fill AS before ON before.id = old.fill AND before.done_at IS NOT NULL AND before.by_hand = 0
            AND before.project = this.project AND before.filters = this.filters
        WHERE own.fill = ?1";
    db.prepare_cached(&format!(
        "UPDATE piece SET events = max(events, (SELECT max(old.events) {earlier} AND own.begins = piece.begins))
         WHERE fill = ?1 AND EXISTS (SELECT 1 {earlier} AND own.begins = piece.begins)"
    ))?
    .execute([fill])?;
    let before = db
        .prepare_cached(&format!("SELECT DISTINCT old.fill {earlier}"))?
        .query_map([fill], |row| row.get::<_, i64>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    db.prepare_cached(&format!("DELETE FROM piece WHERE (fill, begins) IN (SELECT old.fill, old.begins {earlier})"))?
        .execute([fill])?;
    for fill in before {
        let gone = db
            .prepare_cached("DELETE FROM fill WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM piece WHERE fill = ?1)")?
            .execute([fill])?;
        if gone > 0 {
            db.prepare_cached("DELETE FROM fill_device WHERE fill = ?")?.execute([fill])?;
        }
    }
    Ok(())
}

/// Values that did not fit their column, added to those that there are.
pub(super) fn misfit(db: &Connection, misfit: &Misfit) -> rusqlite::Result<()> {
    let sql = "INSERT INTO misfit (event_type, column, events, last_at, example) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET events = events + excluded.events, last_at = excluded.last_at, example = excluded.example";
    let Misfit { event_type, column, events, last_at, example } = misfit;
    db.prepare_cached(sql)?.execute(params![&**event_type, column, events, last_at, example]).map(drop)
}

/// Sessions of a run that met are one.
fn join_before(db: &Connection, before: Micros) -> rusqlite::Result<()> {
    let sql = "SELECT run, session, opened_at, spoke_at, closed_at, cause, joined FROM heard
               WHERE spoke_at < ? AND closed_at IS NOT NULL ORDER BY run, opened_at, session";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(1)?, session_at(row, 2)?));
    let old = db.prepare(sql)?.query_map([before], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut kept: Option<(i64, Session, bool)> = None;
    let mut update =
        db.prepare("UPDATE heard SET spoke_at = ?, closed_at = ?, cause = ?, joined = ? WHERE run = ? AND session = ?")?;
    let mut delete = db.prepare("DELETE FROM heard WHERE run = ? AND session = ?")?;
    let mut keep = |kept: Option<(i64, Session, bool)>| match kept {
        Some((number, it, true)) => {
            update.execute(params![it.spoke_at, it.closed_at, it.cause, it.joined, it.run, number]).map(drop)
        }
        _ => Ok(()),
    };
    for (number, session) in old {
        match &mut kept {
            Some((_, last, is_changed)) if last.run == session.run && session.opened_at <= last.spoke_at => {
                delete.execute(params![session.run, number])?;
                if session.spoke_at > last.spoke_at {
                    (last.spoke_at, last.closed_at, last.cause) = (session.spoke_at, session.closed_at, session.cause);
                }
                last.joined += session.joined;
                *is_changed = true;
            }
            _ => keep(kept.replace((number, session, false)))?,
        }
    }
    keep(kept)
}

fn session_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Session> {
    Ok(Session {
        run: row.get(0)?,
        opened_at: row.get(at)?,
        spoke_at: row.get(at + 1)?,
        closed_at: row.get(at + 2)?,
        cause: row.get(at + 3)?,
        joined: row.get(at + 4)?,
    })
}

/// Longest JSON of labels that pushes added to each other, in characters.
const MERGED_MAX: usize = 2 * LABELS_MAX;

/// Notes what pushes say of devices: labels are added to those that are known already, unless that would have no end. What was
/// said later stays: a push that is sent again, or was held up, changes nothing.
pub(super) fn describe_devices(db: &Connection, devices: &[(Micros, DeviceRow)]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (project, id) DO UPDATE SET
            type = coalesce(nullif(excluded.type, ''), type),
            product_number = coalesce(nullif(excluded.product_number, ''), product_number),
            labels = CASE WHEN length(labels) + length(excluded.labels) > ?6 THEN excluded.labels
                     ELSE json_patch(labels, excluded.labels) END",
    )?;
    for (at, DeviceRow { project, id, kind, product_number, labels }) in devices {
        if described(db, project, id, *at)? {
            continue;
        }
        insert.execute(params![project, id, kind, product_number, labels, MERGED_MAX])?;
    }
    Ok(())
}

/// Notes of when a device is described; true when that is known of a later time.
fn described(db: &Connection, project: &str, id: &str, at: Micros) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO meta (key, value) VALUES ('described:' || json_array(?, ?), CAST(? AS TEXT))
               ON CONFLICT (key) DO UPDATE SET value = excluded.value
               WHERE CAST(value AS INTEGER) <= CAST(excluded.value AS INTEGER)";
    Ok(db.prepare_cached(sql)?.execute(params![project, id, at])? == 0)
}

/// Devices that spoke, so that the history is asked for them even when the cloud lists them no more.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    /// By hash of project and id: one that is taken for another is asked for as soon as the cloud lists it.
    known: std::collections::HashSet<u64>,
    hasher: RandomState,
}

/// Most of them that are remembered; beyond, some are written again.
const SPEAKERS_MAX: usize = 200_000;

impl Speakers {
    /// Writes those of a batch that were not met before; gives what to remember once that is committed.
    pub(super) fn note(&self, db: &Connection, batch: &Batch) -> rusqlite::Result<Vec<u64>> {
        let mut met = Vec::new();
        for (_, rows) in &batch.parts {
            let column = |name| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let (Some(projects), Some(ids), false) = (column("project_id"), column("device_id"), is_imported(rows)) else {
                continue;
            };
            let mut last = ("", "");
            for row in 0..rows.num_rows() {
                let is_there = projects.is_valid(row) && ids.is_valid(row);
                let speaker = (projects.value(row), ids.value(row));
                if !is_there || std::mem::replace(&mut last, speaker) == speaker || speaker.1.is_empty() {
                    continue;
                }
                let hash = self.hasher.hash_one(speaker);
                if self.known.contains(&hash) || met.contains(&hash) {
                    continue;
                }
                db.prepare_cached("INSERT OR IGNORE INTO known_device (project, id) VALUES (?, ?)")?
                    .execute(params![speaker.0, speaker.1])?;
                met.push(hash);
            }
        }
        Ok(met)
    }

    /// Those that are committed.
    pub(super) fn remember(&mut self, met: Vec<u64>) {
        if self.known.len() > SPEAKERS_MAX {
            self.known.clear();
        }
        self.known.extend(met);
    }
}

fn is_imported(rows: &RecordBatch) -> bool {
    let source = rows.column_by_name("source").and_then(|column| column.as_string_opt::<i32>());
    source.is_none_or(|source| source.is_empty() || source.value(0) == Source::Import.name())
}

impl View {
    /// What the ledger has of the time since some moment, and everything that is not over; of all time where none is given.
    /// A run before it is left out with its sessions.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn records(&self, since: Option<Micros>) -> Result<Records> {
        let since = since.unwrap_or(Micros::MIN);
        let mut texts: HashMap<String, Arc<Filters>> = HashMap::new();
        let mut filters = |text: String| {
            Arc::clone(texts.entry(text).or_insert_with_key(|text| Arc::new(serde_json::from_str(text).unwrap_or_default())))
        };
        // Those of a boot whose clock was set since stand at another time than they say.
        let by_another_clock = format!(
            "WITH today AS (SELECT coalesce(nullif(boot, ''), opening) AS boot, clock, max(id) FROM run GROUP BY 1),
             by_another_clock AS (SELECT run.id FROM run JOIN today ON today.boot = coalesce(nullif(run.boot, ''), run.opening)
                 WHERE abs(run.clock - today.clock) > {STEP})"
        );
        let runs = self.rows(
            &format!(
                "{by_another_clock}
             SELECT id, opening, boot, clock, ahead, source, project, filters, begins, until, ended_at, quiet, said FROM run
             WHERE coalesce(ended_at, ?1) >= ?1 OR id IN (SELECT DISTINCT run FROM heard WHERE spoke_at >= ?1)
                OR id IN (SELECT id FROM by_another_clock) ORDER BY id"
            ),
            [since],
            |row| {
                Ok(RunRow {
                    id: row.get(0)?,
                    opening: row.get(1)?,
                    boot: row.get(2)?,
                    clock: row.get(3)?,
                    ahead: row.get(4)?,
                    source: row.get(5)?,
                    project: row.get(6)?,
                    filters: filters(row.get(7)?),
                    begins: row.get(8)?,
                    until: row.get(9)?,
                    ended_at: row.get(10)?,
                    quiet: row.get(11)?,
                    said: row.get(12)?,
                })
            },
        )?;
        let sql = if since == Micros::MIN {
            "SELECT run, opened_at, spoke_at, closed_at, cause, joined FROM heard WHERE spoke_at >= ? ORDER BY run, session"
                .to_owned()
        } else {
            format!("{by_another_clock}
             SELECT run, opened_at, spoke_at, closed_at, cause, joined, session FROM heard INDEXED BY heard_by_time WHERE spoke_at >= ?1
             UNION ALL
             SELECT run, opened_at, spoke_at, closed_at, cause, joined, session FROM heard
             WHERE spoke_at < ?1 AND run IN (SELECT id FROM by_another_clock)
             ORDER BY 1, 7")
        };
        let sessions = self.rows(&sql, [since], |row| session_at(row, 1))?;
        let fills = self.rows(
            "SELECT id, project, filters, by_hand, asked_at, look_back, devices, done_at, but FROM fill
             WHERE done_at IS NULL OR ?1 = -9223372036854775808 OR id IN (SELECT fill FROM piece WHERE ends >= ?1)",
            [since],
            |row| {
                Ok(FillRow {
                    id: row.get(0)?,
                    project: row.get(1)?,
                    filters: filters(row.get(2)?),
                    by_hand: row.get(3)?,
                    asked_at: row.get(4)?,
                    look_back: row.get(5)?,
                    devices: row.get(6)?,
                    done_at: row.get(7)?,
                    but: row.get(8)?,
                })
            },
        )?;
        let pieces = self.rows(
            "SELECT fill, begins, ends, confirms, events FROM piece WHERE ends >= ? ORDER BY begins, fill",
            [since],
            |row| {
                Ok(Piece {
                    fill: row.get(0)?,
                    begins: row.get(1)?,
                    ends: row.get(2)?,
                    confirms: row.get(3)?,
                    events: row.get(4)?,
                })
            },
        )?;
        let losses = self.rows(
            "SELECT project, filters, begins, ends, cause, noted_at FROM loss WHERE ends >= ? ORDER BY begins, id",
            [since],
            |row| {
                Ok(Loss {
                    project: row.get(0)?,
                    filters: filters(row.get(1)?),
                    begins: row.get(2)?,
                    ends: row.get(3)?,
                    cause: row.get(4)?,
                    noted_at: row.get(5)?,
                })
            },
        )?;
        let fills = fills.into_iter().map(|fill| (fill.id, fill)).collect();
        Ok(Records { runs, sessions, fills, pieces, losses })
    }

    /// Since when the last recorder was heard, until when, and how many bytes it had written to the disk by then; none where nobody
    /// noted that.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn written(&self) -> Result<Option<(Micros, Micros, u64)>> {
        if self.version < HAS_PARTS {
            return Ok(None);
        }
        let sql = "SELECT min(opened_at), max(spoke_at), max(written) FROM heard WHERE written IS NOT NULL AND run IN
            (SELECT id FROM run WHERE opening = (SELECT opening FROM run JOIN heard ON heard.run = run.id
             WHERE written IS NOT NULL ORDER BY run.id DESC LIMIT 1)) HAVING count(*) > 0";
        Ok(self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.pop())
    }

    /// Whether anything was ever heard of a project by who asks now, or by somebody of whom nobody noted who it was.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn was_heard(&self, project: &str, account: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM run JOIN heard ON heard.run = run.id
                   WHERE project = ? AND source = 'stream' AND account IN (?, '') LIMIT 1";
        Ok(!self.rows(sql, params![project, account], |_| Ok(()))?.is_empty())
    }

    /// Projects of which pushes came.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn pushing_projects(&self) -> Result<Vec<String>> {
        self.rows("SELECT DISTINCT project FROM run WHERE source = 'push' ORDER BY project", [], |row| row.get(0))
    }

    /// Devices of a project that the recording knows, though the cloud may list them no more.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn known_devices(&self, project: &str) -> Result<Vec<String>> {
        let sql = "SELECT id FROM device WHERE project = ?1 UNION SELECT id FROM known_device WHERE project = ?1";
        self.rows(sql, [project], |row| row.get(0))
    }

    /// Outcomes of passes that are not done, by pass and device.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn outcomes(&self, project: &str) -> Result<Vec<(i64, String, Outcome)>> {
        let sql = "SELECT fill, device, outcome, coalesce(why, '') FROM fill_device JOIN fill ON fill.id = fill
                   WHERE project = ? AND done_at IS NULL ORDER BY fill, device";
        let read = |row: &Row<'_>| {
            let (name, why): (String, String) = (row.get(2)?, row.get(3)?);
            let outcome = match name.as_str() {
                "done" => Outcome::Done,
                "refused" => Outcome::Refused(why),
                _ => Outcome::Failed(why),
            };
            Ok((row.get(0)?, row.get(1)?, outcome))
        };
        self.rows(sql, [project], read)
    }

    /// How many devices have which outcome in a pass: done or refused, and failed.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn progress(&self, fill: i64) -> Result<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE outcome <> 'failed'), count(*) FILTER (WHERE outcome = 'failed')
                   FROM fill_device WHERE fill = ?";
        let found = self.rows(sql, [fill], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.first().copied().unwrap_or_default())
    }

    /// When all of a project's history was read last.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn reconciled_at(&self, project: &str) -> Result<Option<Micros>> {
        let sql = "SELECT value FROM meta WHERE key = 'reconciled_at:' || ?";
        let values = self.rows(sql, [project], |row| row.get::<_, String>(0))?;
        Ok(values.first().and_then(|value| value.parse().ok()))
    }

    /// Values that did not fit their columns, the last one first.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn misfits(&self) -> Result<Vec<Misfit>> {
        let sql = "SELECT event_type, column, events, last_at, example FROM misfit ORDER BY last_at DESC, event_type, column";
        self.rows(sql, [], |row| {
            Ok(Misfit {
                event_type: row.get::<_, String>(0)?.into(),
                column: row.get(1)?,
                events: row.get(2)?,
                last_at: row.get(3)?,
                example: row.get(4)?,
            })
        })
    }

    /// All devices that are known.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn devices(&self) -> Result<Vec<DeviceRow>> {
        let sql = "SELECT project, id, type, product_number, labels FROM device ORDER BY project, id";
        let read = |row: &Row<'_>| {
            Ok(DeviceRow {
                project: row.get(0)?,
                id: row.get(1)?,
                kind: row.get(2)?,
                product_number: row.get(3)?,
                labels: row.get(4)?,
            })
        };
        self.rows(sql, [], read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;
    use crate::model::layout::Layout;

    const NOW: Micros = 1_000_000 * SECOND;
    const HOUR: Micros = 3600 * SECOND;

    fn run(number: u64, clock: Micros) -> Arc<Run> {
        Arc::new(Run {
            number,
            boot: "b".to_owned(),
            clock,
            source: Source::Stream,
            project: "p".to_owned(),
            filters: Filters::default(),
            account: String::new(),
            begins: clock,
            until: None,
            quiet: 30 * SECOND,
        })
    }

    fn fill(id: i64, asked_at: Micros) -> Change {
        let (project, pieces) = ("p".to_owned(), vec![(asked_at - HOUR, asked_at, true)]);
        Change::Asks(Fill { id, project, filters: Filters::default(), by_hand: false, asked_at, look_back: 0, pieces })
    }

    #[test]
    fn what_was_asked_by_a_clock_that_was_ahead_was_never_asked() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let mut buffer = Buffer::open(&layout, NOW).unwrap();
        let mut apply = |change: &Change, now| buffer.apply(change, now).unwrap();
        apply(&Change::Begins(run(0, NOW)), NOW);
        apply(&fill(1, NOW), NOW);
        apply(&fill(2, NOW + HOUR), NOW + HOUR);
        apply(&Change::Begins(run(1, NOW)), NOW + SECOND);
        // It was on its way when the clock was set.
        apply(&fill(3, NOW + HOUR), NOW + 2 * SECOND);
        for id in 1..=3 {
            let done = Change::Device { device: "d".to_owned(), outcome: Outcome::Done, fills: vec![(id, Vec::new())] };
            apply(&done, NOW + 3 * SECOND);
        }
        let view = View::open(&layout).unwrap();
        let records = view.records(None).unwrap();
        assert_eq!(records.fills.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(records.pieces.iter().map(|piece| piece.fill).collect::<Vec<_>>(), [1]);
        assert_eq!(view.outcomes("p").unwrap().len(), 1);
    }

    #[test]
    fn what_was_told_by_a_clock_of_long_ago_is_looked_at_as_well() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let mut buffer = Buffer::open(&layout, NOW).unwrap();
        // A machine without a clock of its own begins in 1970.
        for (number, clock) in [(0, 0), (1, NOW)] {
            let run = run(number, clock);
            let heard = Heard { run: Arc::clone(&run), session: number, opened_at: clock, spoke_at: clock + SECOND, ended: None };
            for change in [
                Change::Begins(Arc::clone(&run)),
                Change::Heard(heard),
                Change::CloudAhead(Arc::clone(&run), NOW - clock),
                Change::Ends(run, clock + SECOND),
            ] {
                buffer.apply(&change, NOW).unwrap();
            }
        }
        for since in [None, Some(NOW - HOUR)] {
            let records = View::open(&layout).unwrap().records(since).unwrap();
            assert_eq!((records.runs.len(), records.sessions.len()), (2, 2), "{since:?}");
            assert_eq!(records.runs[0].ahead, Some(NOW));
        }
    }
}
