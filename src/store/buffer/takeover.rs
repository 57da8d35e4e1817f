//! The ledger of version 1, sessions and gaps, taken over into today's. What it said stays said, and nothing is claimed beyond.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::time::{Micros, SECOND};
use crate::model::settings::Filters;

/// A session that was not noted for so long was none: what version 1 had for all.
const QUIET: Micros = 30 * SECOND;
/// Cause of a gap that somebody asked to fill; with filters, they follow.
const ASKED: &str = "asked for";

/// A session as version 1 noted it.
struct Session {
    id: i64,
    source: String,
    project: String,
    filters: String,
    opened_at: Micros,
    spoke_at: Micros,
    closed_at: Option<Micros>,
    cause: Option<String>,
}

/// A gap as version 1 noted it.
struct Gap {
    id: i64,
    project: String,
    begins: Micros,
    ends: Option<Micros>,
    cause: String,
    state: String,
    why: Option<String>,
    events: i64,
}

/// Reads the tables of version 1 and writes today's, which are empty. Rows that do not read are passed over: a damaged ledger is
/// taken over as far as it goes.
///
/// * Sessions were heard. One that nobody closed leaves a run that goes on.
/// * A gap was missing; one that lasted leaves a run that goes on from where it began.
/// * "Filled" was said after one pass: it stands, and is not confirmed.
/// * "Lost" is no state any more: what the cloud still holds is asked for again.
pub(super) fn take_over(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let sessions =
        rows(from, "SELECT id, source, project, filters, opened_at, spoke_at, closed_at, cause FROM main.session", |row| {
            Ok(Session {
                id: row.get(0)?,
                source: row.get(1)?,
                project: row.get(2)?,
                filters: row.get(3)?,
                opened_at: row.get(4)?,
                spoke_at: row.get(5)?,
                closed_at: row.get(6)?,
                cause: row.get(7)?,
            })
        });
    let gaps = rows(from, "SELECT id, project, begins, ends, cause, state, why, events FROM main.gap", |row| {
        Ok(Gap {
            id: row.get(0)?,
            project: row.get(1)?,
            begins: row.get(2)?,
            ends: row.get(3)?,
            cause: row.get(4)?,
            state: row.get(5)?,
            why: row.get(6)?,
            events: row.get(7)?,
        })
    });
    for session in &sessions {
        let run = match run_of(to, session)? {
            Some(run) => run,
            None => begin_run(to, session, session.opened_at, Some(session.opened_at))?,
        };
        to.prepare_cached(
            "INSERT OR IGNORE INTO heard (run, session, opened_at, spoke_at, closed_at, cause) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run,
            session.id,
            session.opened_at,
            session.spoke_at,
            session.closed_at.or(Some(session.spoke_at)),
            session.cause
        ])?;
    }
    // A recorder of version 1 that was killed: nobody asked it to end.
    let left_open = sessions.iter().filter(|session| session.closed_at.is_none());
    for session in left_open {
        let lasts = |gap: &&Gap| gap.project == session.project && gap.ends.is_none();
        if !gaps.iter().any(|gap| lasts(&gap)) {
            begin_run(to, session, session.spoke_at, None)?;
        }
    }
    for gap in &gaps {
        if let Some(types) = gap.cause.strip_prefix(ASKED) {
            asked(to, gap, types)?;
            continue;
        }
        let before = sessions.iter().filter(|session| session.project == gap.project && session.spoke_at <= gap.begins);
        let before = before.max_by_key(|session| session.spoke_at);
        let after = || sessions.iter().filter(|session| session.project == gap.project).min_by_key(|session| session.opened_at);
        let of = before.or_else(after);
        match (gap.ends, of) {
            (Some(ends), of) if ends > gap.begins => lost(to, gap, ends, of)?,
            (None, Some(session)) => drop(begin_run(to, session, gap.begins, None)?),
            _ => {}
        }
    }
    Ok(())
}

/// The run that stands for all sessions that asked for the same.
fn run_of(to: &Connection, session: &Session) -> rusqlite::Result<Option<i64>> {
    to.prepare_cached(
        "SELECT id FROM run WHERE opening = '' AND source = ? AND project = ? AND filters = ? AND ended_at IS NOT NULL",
    )?
    .query_row(params![session.source, session.project, session.filters], |row| row.get(0))
    .optional()
}

fn begin_run(to: &Connection, session: &Session, begins: Micros, ended_at: Option<Micros>) -> rusqlite::Result<i64> {
    to.prepare_cached(
        "INSERT INTO run (opening, number, boot, clock, source, project, filters, account, begins, ended_at, quiet)
         SELECT '', count(*), '', 0, ?, ?, ?, '', ?, ?, ? FROM run WHERE opening = ''",
    )?
    .execute(params![session.source, session.project, session.filters, begins, ended_at, QUIET])?;
    Ok(to.last_insert_rowid())
}

/// What somebody asked for is a pass over the history.
fn asked(to: &Connection, gap: &Gap, types: &str) -> rusqlite::Result<()> {
    let Some(ends) = gap.ends.filter(|ends| *ends > gap.begins) else { return Ok(()) };
    let types = types.strip_prefix(": event types ").unwrap_or_default().split(", ");
    let event_types = types.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    fill(to, gap, ends, &text(&Filters { event_types, ..Filters::default() }), true)
}

fn lost(to: &Connection, gap: &Gap, ends: Micros, session: Option<&Session>) -> rusqlite::Result<()> {
    let filters = session.map_or_else(|| text(&Filters::default()), |session| session.filters.clone());
    to.prepare_cached("INSERT INTO loss (project, filters, begins, ends, cause, noted_at) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute(params![gap.project, filters, gap.begins, ends, gap.cause, gap.begins])?;
    if gap.state == "filled" { fill(to, gap, ends, &filters, false) } else { Ok(()) }
}

fn fill(to: &Connection, gap: &Gap, ends: Micros, filters: &str, by_hand: bool) -> rusqlite::Result<()> {
    let done_at = (gap.state == "filled").then_some(ends);
    to.prepare_cached(
        "INSERT INTO fill (id, project, filters, by_hand, asked_at, look_back, done_at, but) VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
    )?
    .execute(params![
        gap.id,
        gap.project,
        filters,
        by_hand,
        ends,
        done_at,
        gap.why.as_ref().filter(|_| done_at.is_some())
    ])?;
    to.prepare_cached("INSERT INTO piece (fill, begins, ends, confirms, events) VALUES (?, ?, ?, 0, ?)")?
        .execute(params![gap.id, gap.begins, ends, gap.events])?;
    Ok(())
}

/// What was asked for, as the ledger has it.
pub(super) fn text(filters: &Filters) -> String {
    serde_json::to_string(filters).unwrap_or_else(|_| "{}".to_owned())
}

fn rows<T>(from: &Connection, sql: &str, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let mut found = Vec::new();
    let Ok(mut statement) = from.prepare(sql) else { return found };
    let Ok(mut rows) = statement.query([]) else { return found };
    while let Ok(Some(row)) = rows.next() {
        found.extend(read(row).ok());
    }
    found
}
