//! The ledger of another recording: read there, and taken into this one behind its events. What was taken before is not taken twice.
//!
//! **Whose runs they are.** A run goes on until the next one of the same recording, so each keeps its origin: the first opening of the
//! recording that it is of, in `meta`. Runs of this one have none.
//!
//! **How far they claim.** Nobody here knows what becomes of a run that goes on elsewhere: it was wanted until it was read, and where
//! a recorder is at work there until its last sign of life, since the rest comes the next time.

use std::collections::{HashMap, HashSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::time::Micros;
use crate::model::event::DeviceRow;
use crate::store::buffer::{Buffer, Result, View, commit};

use super::devices::describe_devices;

/// Before the opening of a run of another recording, in `meta`.
pub(super) const ORIGIN: &str = "origin:";

/// What another recording's ledger says.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    runs: Vec<Run>,
    /// Number of the run there; session, first and last sign of life, end, cause, how many.
    heard: Vec<(i64, [Value; 6])>,
    /// Passes that are done.
    fills: Vec<Fill>,
    /// Pass; begin, end, whether it confirms, events.
    pieces: Vec<(i64, [Value; 4])>,
    /// Pass; device and why it was refused.
    refused: Vec<(i64, [Value; 2])>,
    losses: Vec<[Value; 6]>,
    misfits: Vec<[Value; 5]>,
    known: Vec<[Value; 2]>,
    devices: Vec<(Micros, DeviceRow)>,
}

#[derive(Debug, Clone)]
struct Run {
    id: i64,
    /// What tells it from all others: opening, number.
    opening: String,
    number: i64,
    origin: String,
    until: Option<Micros>,
    ended_at: Option<Micros>,
    /// Boot, clock, ahead, source, project, filters, account, begin, quiet, said.
    rest: [Value; 10],
}

#[derive(Debug, Clone)]
struct Fill {
    id: i64,
    project: String,
    filters: String,
    by_hand: bool,
    asked_at: Micros,
    /// Look-back, devices, end, what it could not bring.
    rest: [Value; 4],
}

/// The columns of a row from one on, as they are.
fn values<const N: usize>(row: &Row<'_>, from: usize) -> rusqlite::Result<[Value; N]> {
    let mut all = [const { Value::Null }; N];
    for (at, value) in all.iter_mut().enumerate() {
        *value = row.get(from + at)?;
    }
    Ok(all)
}

impl View {
    /// What the ledger says, for another recording.
    ///
    /// # Errors
    /// When it does not read.
    pub fn ledger(&self, now: Micros) -> Result<Foreign> {
        let is_alive = self.has_writer();
        // What was pruned there is not here: nobody claims it.
        let from = self.pruned_before()?.unwrap_or(0);
        let sql = format!(
            "SELECT id, opening, number, coalesce((SELECT value FROM meta WHERE key = '{ORIGIN}' || opening), ''), until, ended_at,
                boot, clock, ahead, source, project, filters, account, begins, quiet, said,
                (SELECT max(spoke_at) FROM heard WHERE heard.run = run.id) FROM run ORDER BY id"
        );
        let mut runs = self.rows(&sql, [], |row| {
            let (opening, until, ended_at): (String, Option<Micros>, Option<Micros>) = (row.get(1)?, row.get(4)?, row.get(5)?);
            let (rest, last): ([Value; 10], Option<Micros>) = (values(row, 6)?, row.get(16)?);
            let lives = is_alive && opening == self.id();
            let known = if lives { last.unwrap_or(now) } else { now.max(last.unwrap_or(now)) };
            let until = if ended_at.is_some() { until } else { Some(until.unwrap_or(Micros::MAX).min(known)) };
            // The first version had no openings.
            let opening =
                if opening.is_empty() { format!("1:{:08x}", crc32fast::hash(format!("{rest:?}").as_bytes())) } else { opening };
            Ok(Run { id: row.get(0)?, opening, number: row.get(2)?, origin: row.get(3)?, until, ended_at, rest })
        })?;
        let own = runs.iter().find(|run| run.origin.is_empty()).map(|run| run.opening.clone()).unwrap_or_default();
        runs.iter_mut().filter(|run| run.origin.is_empty()).for_each(|run| run.origin.clone_from(&own));
        runs.retain_mut(|run| {
            if let Value::Integer(begins) = &mut run.rest[7] {
                *begins = from.max(*begins);
            }
            run.ended_at.or(run.until).is_none_or(|end| end > from)
        });
        let fills = self.rows(
            "SELECT id, project, filters, by_hand, asked_at, look_back, devices, done_at, but FROM fill WHERE done_at IS NOT NULL",
            [],
            |row| {
                let (id, project, filters, by_hand, asked_at) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                Ok(Fill { id, project, filters, by_hand, asked_at, rest: values(row, 5)? })
            },
        )?;
        let described =
            "SELECT coalesce(CAST((SELECT value FROM meta WHERE key = 'described:' || json_array(project, id)) AS INTEGER), 0),
            project, id, type, product_number, labels FROM device";
        let device = |row: &Row<'_>| {
            let (project, id, kind, product_number, labels) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            Ok((row.get(0)?, DeviceRow { project, id, kind, product_number, labels }))
        };
        let done = "fill IN (SELECT id FROM fill WHERE done_at IS NOT NULL)";
        Ok(Foreign {
            runs,
            heard: self.rows(
                "SELECT run, session, max(opened_at, ?1), spoke_at, closed_at, cause, joined FROM heard WHERE spoke_at > ?1",
                [from],
                |row| Ok((row.get(0)?, values(row, 1)?)),
            )?,
            fills,
            pieces: self.rows(
                &format!("SELECT fill, max(begins, ?1), ends, confirms, events FROM piece WHERE ends > ?1 AND {done}"),
                [from],
                |row| Ok((row.get(0)?, values(row, 1)?)),
            )?,
            refused: self.rows(
                &format!("SELECT fill, device, why FROM fill_device WHERE outcome = 'refused' AND {done}"),
                [],
                |row| Ok((row.get(0)?, values(row, 1)?)),
            )?,
            losses: self.rows(
                "SELECT project, filters, begins, ends, cause, noted_at FROM loss WHERE ends > ?1",
                [from],
                |row| values(row, 0),
            )?,
            misfits: self.rows("SELECT event_type, column, events, last_at, example FROM misfit", [], |row| values(row, 0))?,
            known: self.rows("SELECT project, id FROM known_device", [], |row| values(row, 0))?,
            devices: self.rows(described, [], device)?,
        })
    }
}

impl Buffer {
    /// Takes another recording's ledger in, all of it or nothing, and what came there and was no event. Only once its events are kept here.
    ///
    /// # Errors
    /// When SQLite refuses, or what was no event does not read there.
    pub fn take_ledger(&mut self, foreign: &Foreign, from: &View) -> Result<()> {
        let take = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            take(&transaction, foreign)?;
            take_faults(&transaction, &from.db)?;
            commit(&self.path, || transaction.commit())
        };
        take().map_err(|source| self.error(source))
    }
}

fn take(db: &Connection, foreign: &Foreign) -> rusqlite::Result<()> {
    let Foreign { runs, heard, fills, pieces, refused, losses, misfits, known, devices } = foreign;
    let runs: HashMap<i64, i64> = runs.iter().map(|run| Ok((run.id, take_run(db, run)?))).collect::<rusqlite::Result<_>>()?;
    let mut insert = db.prepare_cached(
        "INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause, joined) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET spoke_at = max(spoke_at, excluded.spoke_at), joined = max(joined, excluded.joined),
            closed_at = coalesce(excluded.closed_at, closed_at), cause = coalesce(excluded.cause, cause)",
    )?;
    for (run, [session, opened_at, spoke_at, closed_at, cause, joined]) in heard {
        if let Some(run) = runs.get(run) {
            insert.execute(params![run, session, opened_at, spoke_at, closed_at, cause, joined])?;
        }
    }
    let fills: HashMap<i64, i64> =
        fills.iter().map(|fill| Ok((fill.id, take_fill(db, fill)?))).collect::<rusqlite::Result<_>>()?;
    let mut insert =
        db.prepare_cached("INSERT OR IGNORE INTO piece (fill, begins, ends, confirms, events) VALUES (?, ?, ?, ?, ?)")?;
    for (fill, [begins, ends, confirms, events]) in pieces {
        insert.execute(params![fills.get(fill), begins, ends, confirms, events])?;
    }
    let mut insert =
        db.prepare_cached("INSERT OR IGNORE INTO fill_device (fill, device, outcome, why) VALUES (?, ?, 'refused', ?)")?;
    for (fill, [device, why]) in refused {
        insert.execute(params![fills.get(fill), device, why])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO loss (project, filters, begins, ends, cause, noted_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS
            (SELECT 1 FROM loss WHERE (project, filters, begins, ends, cause, noted_at) = (?1, ?2, ?3, ?4, ?5, ?6))",
    )?;
    for [project, filters, begins, ends, cause, noted_at] in losses {
        insert.execute(params![project, filters, begins, ends, cause, noted_at])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO misfit (event_type, column, events, last_at, example) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET events = max(events, excluded.events), last_at = max(last_at, excluded.last_at)",
    )?;
    for [event_type, column, events, last_at, example] in misfits {
        insert.execute(params![event_type, column, events, last_at, example])?;
    }
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO known_device (project, id) VALUES (?, ?)")?;
    for [project, id] in known {
        insert.execute(params![project, id])?;
    }
    describe_devices(db, devices)
}

/// Gives the number of a run here. One of this very recording, as a copy of it has them, stays as it is.
fn take_run(db: &Connection, run: &Run) -> rusqlite::Result<i64> {
    let key = format!("{ORIGIN}{}", run.opening);
    let [boot, clock, ahead, source, project, filters, account, begins, quiet, said] = &run.rest;
    let found: Option<(i64, bool)> = db
        .prepare_cached("SELECT id, EXISTS (SELECT 1 FROM meta WHERE key = ?) FROM run WHERE opening = ? AND number = ?")?
        .query_row(params![key, run.opening, run.number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, is_foreign)) = found {
        if is_foreign {
            db.prepare_cached("UPDATE run SET until = ?, ended_at = ?, ahead = coalesce(ahead, ?), said = ? WHERE id = ?")?
                .execute(params![run.until, run.ended_at, ahead, said, id])?;
        }
        return Ok(id);
    }
    let Run { opening, number, until, ended_at, .. } = run;
    db.prepare_cached(
        "INSERT INTO run (opening, number, boot, clock, ahead, source, project, filters, account, begins, until, ended_at, quiet, said)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        opening, number, boot, clock, ahead, source, project, filters, account, begins, until, ended_at, quiet, said
    ])?;
    let id = db.last_insert_rowid();
    // Openings of this recording stay its own, also those of runs that it does not have.
    let is_own = "EXISTS (SELECT 1 FROM run WHERE opening = ?1 AND id <> ?2)";
    db.prepare_cached(&format!("INSERT OR IGNORE INTO meta (key, value) SELECT ?3, ?4 WHERE NOT {is_own}"))?
        .execute(params![opening, id, key, run.origin])?;
    Ok(id)
}

/// Gives the number of a pass here: its own, unless another has that, as the first version counted them.
fn take_fill(db: &Connection, fill: &Fill) -> rusqlite::Result<i64> {
    let Fill { project, filters, by_hand, asked_at, rest: [look_back, devices, done_at, but], .. } = fill;
    let other = i64::from(crc32fast::hash(format!("{project}\0{filters}\0{asked_at}\0{}", fill.id).as_bytes())) << 20;
    for id in [fill.id, other] {
        let is_same: Option<bool> = db
            .prepare_cached("SELECT (project, filters, asked_at) = (?, ?, ?) FROM fill WHERE id = ?")?
            .query_row(params![project, filters, asked_at, id], |row| row.get(0))
            .optional()?;
        match is_same {
            Some(true) => {
                // One that went on there, since.
                db.prepare_cached("UPDATE fill SET done_at = coalesce(done_at, ?), but = ? WHERE id = ?")?
                    .execute(params![done_at, but, id])?;
                return Ok(id);
            }
            Some(false) => {}
            None => {
                db.prepare_cached(
                    "INSERT INTO fill (id, project, filters, by_hand, asked_at, look_back, devices, done_at, but)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![id, project, filters, by_hand, asked_at, look_back, devices, done_at, but])?;
                return Ok(id);
            }
        }
    }
    Ok(other)
}

/// What came and was no event, one at a time: they may be many, and long.
fn take_faults(db: &Connection, from: &Connection) -> rusqlite::Result<()> {
    let key = |row: &Row<'_>| -> rusqlite::Result<(Micros, u32)> {
        let (at, reason, raw) = (row.get(0)?, row.get_ref(2)?, row.get_ref(4)?);
        let mut sum = crc32fast::Hasher::new();
        sum.update(reason.as_bytes_or_null()?.unwrap_or_default());
        sum.update(raw.as_bytes_or_null()?.unwrap_or_default());
        Ok((at, sum.finalize()))
    };
    let sql = "SELECT at, source, reason, length, raw FROM fault ORDER BY id";
    let mut there = HashSet::new();
    let mut select = db.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        there.insert(key(row)?);
    }
    let mut insert = db.prepare_cached("INSERT INTO fault (at, source, reason, length, raw) VALUES (?, ?, ?, ?, ?)")?;
    let mut select = from.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if there.insert(key(row)?) {
            let [at, source, reason, length, raw] = values::<5>(row, 0)?;
            insert.execute(params![at, source, reason, length, raw])?;
        }
    }
    Ok(())
}
