//! What is written in the ledger, a change a transaction or with the events that it speaks of.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::disk;
use crate::base::time::{DAY, Micros, STEP};
use crate::model::event::Misfit;
use crate::model::settings::Filters;
use crate::store::buffer::takeover::text;
use crate::store::buffer::{Buffer, Result, commit};

use super::devices::described;
use super::read::session_at;
use super::{Change, Fill, Heard, Outcome, Run, Session};

/// Sessions that ended so long ago are joined where they meet. Nothing that comes can change them.
const JOINED_AFTER: Micros = 32 * DAY;

impl Buffer {
    /// Writes a change, all of it or nothing.
    pub fn apply(&mut self, change: &Change, now: Micros) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            write(&transaction, &self.id, change, now)?;
            commit(&self.path, || transaction.commit())
        };
        write().map_err(|source| self.error(source))
    }

    /// Nobody wants more of a project: runs that go on without a recorder end now.
    pub fn end_runs(&mut self, project: &str, now: Micros) -> Result<()> {
        self.execute("UPDATE run SET ended_at = max(begins, ?) WHERE project = ? AND ended_at IS NULL", params![now, project])
    }

    /// Joins sessions of long ago where they meet, so that a ledger of ten years reads as fast as one of a month.
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
pub(in crate::store::buffer) fn heard(db: &Connection, opening: &str, heard: &Heard, now: Micros) -> rusqlite::Result<()> {
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
pub(in crate::store::buffer) fn lost(
    db: &Connection,
    project: &str,
    cause: &str,
    span: (Micros, Micros),
    now: Micros,
) -> rusqlite::Result<()> {
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
pub(in crate::store::buffer) fn misfit(db: &Connection, misfit: &Misfit) -> rusqlite::Result<()> {
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
