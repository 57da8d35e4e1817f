//! What is read of the ledger.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Row, params};

use crate::base::time::{Micros, STEP};
use crate::model::event::{DeviceRow, Misfit};
use crate::model::settings::Filters;
use crate::store::buffer::block::HAS_PARTS;
use crate::store::buffer::{Result, View};

use super::foreign::ORIGIN;
use super::{FillRow, Loss, Outcome, Piece, Records, RunRow, Session};

pub(super) fn session_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Session> {
    Ok(Session {
        run: row.get(0)?,
        opened_at: row.get(at)?,
        spoke_at: row.get(at + 1)?,
        closed_at: row.get(at + 2)?,
        cause: row.get(at + 3)?,
        joined: row.get(at + 4)?,
    })
}

impl View {
    /// What the ledger has of the time since some moment, and everything that is not over; of all time where none is given.
    /// A run before it is left out with its sessions.
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
             SELECT id, opening, boot, clock, ahead, source, project, filters, begins, until, ended_at, quiet, said,
                coalesce((SELECT value FROM meta WHERE key = '{ORIGIN}' || opening), '') FROM run
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
                    origin: row.get(13)?,
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
        Ok(Records { runs, sessions, fills, pieces, losses, pruned_before: self.pruned_before()? })
    }

    /// Since when the last recorder was heard, until when, and how many bytes it had written to the disk by then; none where nobody
    /// noted that.
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
    pub fn was_heard(&self, project: &str, account: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM run JOIN heard ON heard.run = run.id
                   WHERE project = ? AND source = 'stream' AND account IN (?, '') LIMIT 1";
        Ok(!self.rows(sql, params![project, account], |_| Ok(()))?.is_empty())
    }

    /// Projects of which pushes came.
    pub fn pushing_projects(&self) -> Result<Vec<String>> {
        self.rows("SELECT DISTINCT project FROM run WHERE source = 'push' ORDER BY project", [], |row| row.get(0))
    }

    /// Devices of a project that the recording knows, though the cloud may list them no more.
    pub fn known_devices(&self, project: &str) -> Result<Vec<String>> {
        let sql = "SELECT id FROM device WHERE project = ?1 UNION SELECT id FROM known_device WHERE project = ?1";
        self.rows(sql, [project], |row| row.get(0))
    }

    /// Outcomes of passes that are not done, by pass and device.
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
    pub fn progress(&self, fill: i64) -> Result<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE outcome <> 'failed'), count(*) FILTER (WHERE outcome = 'failed')
                   FROM fill_device WHERE fill = ?";
        let found = self.rows(sql, [fill], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.first().copied().unwrap_or_default())
    }

    /// When all of a project's history was read last.
    pub fn reconciled_at(&self, project: &str) -> Result<Option<Micros>> {
        let sql = "SELECT value FROM meta WHERE key = 'reconciled_at:' || ?";
        let values = self.rows(sql, [project], |row| row.get::<_, String>(0))?;
        Ok(values.first().and_then(|value| value.parse().ok()))
    }

    /// Values that did not fit their columns, the last one first.
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
