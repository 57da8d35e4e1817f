//! The coverage ledger: when which project was covered by a session, and every gap between.
//!
//! A gap begins at the last sign of life before it and ends at the first one after it. It is `open` until backfill has
//! begun, `filling` while it runs (each device that is done is noted, so a killed backfill goes on where it was), and in
//! the end `filled`, or `lost` with the reason.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use crate::event::{DeviceRow, Source};
use crate::time::{Micros, SECOND};

use super::{Buffer, Result, View, commit};

/// How long the cloud keeps a push that nobody acknowledges, in microseconds.
pub(crate) const PUSHES_LAST: Micros = 12 * 3600 * SECOND;
/// Cause of the end of a session that nobody closed.
const CRASH: &str = "the recorder stopped without a word";

/// Notes what pushes say of devices: labels are added to those that are known already.
pub(super) fn describe_devices(transaction: &Transaction<'_>, devices: &[DeviceRow]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (project, id) DO UPDATE SET
            type = coalesce(nullif(excluded.type, ''), type),
            product_number = coalesce(nullif(excluded.product_number, ''), product_number),
            labels = json_patch(labels, excluded.labels)",
    )?;
    for DeviceRow { project, id, kind, product_number, labels } in devices {
        insert.execute(params![project, id, kind, product_number, labels])?;
    }
    Ok(())
}

/// Where a gap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapState {
    /// Not filled yet.
    Open,
    /// Backfill is at work, or was interrupted.
    Filling,
    /// What the cloud still had is in the recording.
    Filled,
    /// The cloud does not have it, or does not give it.
    Lost,
}

impl GapState {
    /// The word in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Filling => "filling",
            Self::Filled => "filled",
            Self::Lost => "lost",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "filling" => Self::Filling,
            "filled" => Self::Filled,
            "lost" => Self::Lost,
            _ => Self::Open,
        }
    }
}

/// A span without a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its number.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Last sign of life before it.
    pub begins: Micros,
    /// First sign of life after it; none while it lasts.
    pub ends: Option<Micros>,
    /// Why the session before it ended.
    pub cause: String,
    /// Where it stands.
    pub state: GapState,
    /// Why it is lost, or what is missing from a filled one.
    pub why: Option<String>,
    /// Events that backfill brought, those included that the stream had brought already.
    pub events: u64,
}

/// A connection to a source, as noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The kind of connection, by its name.
    pub source: String,
    /// The project.
    pub project: String,
    /// When it opened.
    pub opened_at: Micros,
    /// Its last sign of life.
    pub spoke_at: Micros,
    /// When it closed; none while it lives.
    pub closed_at: Option<Micros>,
    /// Why it closed.
    pub cause: Option<String>,
    /// What was asked for, as JSON.
    pub filters: String,
}

impl Buffer {
    /// Notes that a session has opened; gives its number. A receiver that was away for longer than the cloud keeps pushes,
    /// and not on purpose, has missed what the cloud had to drop: that is a gap.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn session_opened(&mut self, source: Source, project: &str, filters: &str, now: Micros) -> Result<i64> {
        if source == Source::Push {
            self.execute(
                "INSERT INTO gap (project, begins, ends, cause, state)
                 SELECT project, spoke_at, ?2 - ?3, 'the receiver was away for longer than the cloud keeps pushes', 'open'
                 FROM (SELECT project, spoke_at, cause FROM session WHERE source = 'push' AND project = ?1
                       ORDER BY spoke_at DESC LIMIT 1)
                 WHERE cause = ?4 AND spoke_at < ?2 - ?3",
                params![project, now, PUSHES_LAST, CRASH],
            )?;
        }
        self.execute(
            "INSERT INTO session (source, project, filters, opened_at, spoke_at) VALUES (?, ?, ?, ?, ?)",
            params![source.name(), project, filters, now, now],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    /// Notes a session's last sign of life.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn session_spoke(&mut self, session: i64, at: Micros) -> Result<()> {
        self.execute("UPDATE session SET spoke_at = max(spoke_at, ?) WHERE id = ?", params![at, session])
    }

    /// Notes why and when a session ended, and its last sign of life.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn session_closed(&mut self, session: i64, cause: &str, spoke_at: Micros, now: Micros) -> Result<()> {
        self.execute(
            "UPDATE session SET closed_at = ?, cause = ?, spoke_at = max(spoke_at, ?) WHERE id = ?",
            params![now, cause, spoke_at, session],
        )
    }

    /// After a crash: sessions that were left open end at their last sign of life, and there a gap begins; not so for a
    /// receiver, to which the cloud pushes again what it had no answer for.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn close_left_open(&mut self) -> Result<()> {
        self.execute(
            "INSERT INTO gap (project, begins, cause, state)
             SELECT project, max(spoke_at), ?1, 'open' FROM session
             WHERE closed_at IS NULL AND source <> 'push' AND project NOT IN (SELECT project FROM gap WHERE ends IS NULL) GROUP BY project",
            [CRASH],
        )?;
        self.execute("UPDATE session SET closed_at = spoke_at, cause = ? WHERE closed_at IS NULL", [CRASH])
    }

    /// A gap begins; nothing happens when one lasts already.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_begins(&mut self, project: &str, at: Micros, cause: &str) -> Result<()> {
        self.execute(
            "INSERT INTO gap (project, begins, cause, state) SELECT ?1, ?2, ?3, 'open'
             WHERE NOT EXISTS (SELECT 1 FROM gap WHERE project = ?1 AND ends IS NULL)",
            params![project, at, cause],
        )
    }

    /// The gap that lasts, if one does, ends.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_ends(&mut self, project: &str, at: Micros) -> Result<()> {
        self.execute("UPDATE gap SET ends = max(begins, ?) WHERE project = ? AND ends IS NULL", params![at, project])
    }

    /// Notes a span to fill that somebody asked for; gives its number.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_wanted(&mut self, project: &str, cause: &str, begins: Micros, ends: Micros) -> Result<i64> {
        self.execute(
            "INSERT INTO gap (project, begins, ends, cause, state) VALUES (?, ?, ?, ?, 'open')",
            params![project, begins, ends, cause],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    /// A gap that nobody has begun to fill reaches over this span as well.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_extends(&mut self, gap: i64, begins: Micros, ends: Micros) -> Result<()> {
        self.execute("UPDATE gap SET begins = min(begins, ?), ends = max(ends, ?) WHERE id = ?", params![begins, ends, gap])
    }

    /// Notes where a gap stands.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_stands(&mut self, gap: i64, state: GapState, why: Option<&str>) -> Result<()> {
        self.execute("UPDATE gap SET state = ?, why = ? WHERE id = ?", params![state.name(), why, gap])?;
        if matches!(state, GapState::Filled | GapState::Lost) {
            self.execute("DELETE FROM gap_device WHERE gap = ?", [gap])?;
        }
        Ok(())
    }

    /// A device's history of a gap is in the recording.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_device_done(&mut self, gap: i64, device: &str, events: u64) -> Result<()> {
        self.execute("INSERT OR IGNORE INTO gap_device (gap, device) VALUES (?, ?)", params![gap, device])?;
        self.execute("UPDATE gap SET events = events + ? WHERE id = ?", params![events, gap])
    }
}

impl Buffer {
    /// Notes that all of a project's history was read.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn reconciled(&mut self, project: &str, at: Micros) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('reconciled_at:' || ?, ?)";
        self.execute(sql, params![project, at.to_string()])
    }
}

impl View {
    /// When all of a project's history was read last.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn reconciled_at(&self, project: &str) -> Result<Option<Micros>> {
        let sql = "SELECT value FROM meta WHERE key = 'reconciled_at:' || ?";
        let values = self.rows(sql, [project], |row| row.get::<_, String>(0))?;
        Ok(values.first().and_then(|value| value.parse().ok()))
    }
}

impl Buffer {
    /// Replaces the list of a project's devices; one that the cloud lists no more stays as it was last seen.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn replace_devices(&mut self, project: &str, devices: &[DeviceRow]) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.db.unchecked_transaction()?;
            {
                let sql = "INSERT OR REPLACE INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, ?, ?)";
                let mut insert = transaction.prepare_cached(sql)?;
                for device in devices {
                    insert.execute(params![project, device.id, device.kind, device.product_number, device.labels])?;
                }
            }
            commit(&self.path, || transaction.commit())
        };
        write().map_err(|source| self.error(source))
    }
}

impl View {
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

    /// All gaps, by their beginning.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gaps(&self) -> Result<Vec<Gap>> {
        let sql = "SELECT id, project, begins, ends, cause, state, why, events FROM gap ORDER BY begins, id";
        let read = |row: &Row<'_>| {
            Ok(Gap {
                id: row.get(0)?,
                project: row.get(1)?,
                begins: row.get(2)?,
                ends: row.get(3)?,
                cause: row.get(4)?,
                state: GapState::of(&row.get::<_, String>(5)?),
                why: row.get(6)?,
                events: row.get(7)?,
            })
        };
        self.rows(sql, [], read)
    }

    /// Devices of a gap whose history is in the recording already.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn gap_devices_done(&self, gap: i64) -> Result<Vec<String>> {
        self.rows("SELECT device FROM gap_device WHERE gap = ?", [gap], |row| row.get(0))
    }

    /// All sessions, by their opening.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        let sql = "SELECT source, project, opened_at, spoke_at, closed_at, cause, filters FROM session ORDER BY opened_at, id";
        self.rows(sql, [], session)
    }

    /// The session that lives, else the one that spoke last.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn last_session(&self) -> Result<Option<Session>> {
        let sql = "SELECT source, project, opened_at, spoke_at, closed_at, cause, filters FROM session
                   ORDER BY closed_at IS NULL DESC, spoke_at DESC LIMIT 1";
        self.db.query_row(sql, [], session).optional().map_err(|source| self.error(source))
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        source: row.get(0)?,
        project: row.get(1)?,
        opened_at: row.get(2)?,
        spoke_at: row.get(3)?,
        closed_at: row.get(4)?,
        cause: row.get(5)?,
        filters: row.get(6)?,
    })
}
