//! Coverage: when a recording was covered by sessions, and the gaps between, for people and for programs.

use serde::Serialize;

use crate::buffer::{BufferError, Gap, GapState, PUSHES_LAST, Session, View};
use crate::event::Source;
use crate::layout::Layout;
use crate::time::{Micros, SECOND, rfc3339};
use crate::words::counted;

/// Characters of a strip.
pub const STRIP: usize = 72;

/// A recording's coverage. Fields are only ever added to.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// By project.
    pub projects: Vec<ProjectCoverage>,
    /// Gaps that are not filled: open, filling or lost.
    pub missing: usize,
}

/// One project's coverage.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectCoverage {
    /// The project.
    pub project: String,
    /// When its first session opened (RFC 3339).
    pub from: String,
    /// Last sign of life, or now while a session lives (RFC 3339).
    pub to: String,
    /// Number of sessions.
    pub sessions: usize,
    /// Its gaps.
    pub gaps: Vec<GapReport>,
    /// The span as a strip: `█` covered, `▒` filled, `·` open or filling, a space lost.
    pub strip: String,
}

/// One gap.
#[derive(Debug, Clone, Serialize)]
pub struct GapReport {
    /// Its beginning: the last sign of life before it (RFC 3339).
    pub begins: String,
    /// Its end: the first sign of life after it (RFC 3339); null while it lasts.
    pub ends: Option<String>,
    /// Its length in seconds so far.
    pub seconds: f64,
    /// Why the session before it ended.
    pub cause: String,
    /// Where it stands.
    pub state: GapState,
    /// Why it is lost, or what is missing from a filled one.
    pub why: Option<String>,
    /// Events that the history brought.
    pub events: u64,
}

/// The coverage of a recording.
///
/// # Errors
/// When there is no recording, or its ledger does not read.
pub fn coverage(layout: &Layout, now: Micros) -> Result<Coverage, BufferError> {
    let view = View::open(layout)?;
    let recording = view.has_writer();
    let (sessions, gaps) = (view.sessions()?, view.gaps()?);
    let mut projects: Vec<&str> = sessions.iter().map(|session| session.project.as_str()).collect();
    projects.extend(gaps.iter().map(|gap| gap.project.as_str()));
    projects.sort_unstable();
    projects.dedup();
    let reports = projects.iter().map(|project| {
        let sessions: Vec<_> = sessions.iter().filter(|session| session.project == **project).collect();
        let gaps: Vec<&Gap> = gaps.iter().filter(|gap| gap.project == **project).collect();
        let spans: Vec<(Micros, Micros)> = sessions
            .iter()
            .map(|session| (session.opened_at, if session.closed_at.is_none() && recording { now } else { session.spoke_at }))
            .collect();
        let ends = |gap: &Gap| gap.ends.unwrap_or(if recording { now } else { gap.begins });
        let from = spans.iter().map(|span| span.0).chain(gaps.iter().map(|gap| gap.begins)).min().unwrap_or(now);
        let to = spans.iter().map(|span| span.1).chain(gaps.iter().map(|gap| ends(gap))).max().unwrap_or(now);
        let marks: Vec<_> = gaps.iter().map(|gap| ((gap.begins, ends(gap)), gap.state)).collect();
        ProjectCoverage {
            project: (*project).to_owned(),
            from: rfc3339(from),
            to: rfc3339(to),
            sessions: sessions.len(),
            strip: strip((from, to), &spans, &marks),
            gaps: gaps.iter().map(|gap| report(gap, ends(gap))).collect(),
        }
    });
    let missing = gaps.iter().filter(|gap| gap.state != GapState::Filled).count();
    Ok(Coverage { projects: reports.collect(), missing })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a gap are far below 2^52")]
fn report(gap: &Gap, ends: Micros) -> GapReport {
    GapReport {
        begins: rfc3339(gap.begins),
        ends: gap.ends.map(rfc3339),
        seconds: (ends - gap.begins) as f64 / SECOND as f64,
        cause: gap.cause.clone(),
        state: gap.state,
        why: gap.why.clone(),
        events: gap.events,
    }
}

/// What the ledger says of time, of all projects together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listened {
    /// When sessions lived, and gaps, whatever became of them: all but when nobody recorded, on purpose. Ascending, apart.
    pub spans: Vec<Span>,
    /// Gaps that were not filled, ascending; one that is open ends at the greatest time of all.
    pub unfilled: Vec<Span>,
}

/// A half-open span of time.
pub type Span = (Micros, Micros);

/// When anybody listened, as the ledger has it.
///
/// # Errors
/// When the ledger does not read.
pub fn listened(view: &View, now: Micros) -> Result<Listened, BufferError> {
    let recording = view.has_writer();
    let (sessions, gaps) = (view.sessions()?, view.gaps()?);
    let mut spans: Vec<Span> = Vec::new();
    for session in &sessions {
        // What a receiver that comes back has missed, the cloud pushes again.
        let is_receiver = |session: &Session| session.source == Source::Push.name();
        let came_back = is_receiver(session)
            && sessions
                .iter()
                .any(|other| is_receiver(other) && other.project == session.project && other.opened_at < session.opened_at);
        let from = if came_back { session.opened_at - PUSHES_LAST } else { session.opened_at };
        spans.push((from, if session.closed_at.is_none() && recording { now } else { session.spoke_at }));
    }
    spans.extend(gaps.iter().map(|gap| (gap.begins, gap.ends.unwrap_or(if recording { now } else { gap.begins }))));
    let open = gaps.iter().filter(|gap| gap.state != GapState::Filled);
    let unfilled = open.map(|gap| (gap.begins, gap.ends.unwrap_or(Micros::MAX))).collect();
    Ok(Listened { spans: merged(spans), unfilled })
}

/// Spans that do not meet, ascending, with the same times.
pub fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => out.push(span),
        }
    }
    out
}

/// The part of a span that lies in another.
pub fn cut(span: Span, within: Span) -> Option<Span> {
    let part = (span.0.max(within.0), span.1.min(within.1));
    (part.0 < part.1).then_some(part)
}

/// What lies between spans that do not meet, within a span.
pub fn between(spans: &[Span], within: Span) -> Vec<Span> {
    let mut out = Vec::new();
    let mut from = within.0;
    for (begins, ends) in spans {
        out.extend(cut((from, *begins), within));
        from = from.max(*ends);
    }
    out.extend(cut((from, within.1), within));
    out
}

/// Gaps that meet a span of time and are not filled: how many, and what to say of them.
///
/// # Errors
/// When the ledger does not read.
pub fn missing(view: &View, (from, to): (Micros, Micros)) -> Result<Option<String>, BufferError> {
    let gaps = view.gaps()?;
    let meets = |gap: &&Gap| gap.state != GapState::Filled && gap.begins < to && gap.ends.is_none_or(|ends| ends > from);
    let meeting: Vec<&Gap> = gaps.iter().filter(meets).collect();
    let count = |state: GapState| meeting.iter().filter(|gap| gap.state == state).count();
    let (lost, open) = (count(GapState::Lost), meeting.len() - count(GapState::Lost));
    let gaps = |number: usize| counted(number as u64, "gap");
    Ok(match (open, lost) {
        (0, 0) => None,
        (open, 0) => Some(format!("{} not filled yet", gaps(open))),
        (0, lost) => Some(format!("{} lost", gaps(lost))),
        (open, lost) => Some(format!("{} not filled yet and {lost} lost", gaps(open))),
    })
}

/// The span in [`STRIP`] characters. The worst thing within a character's time decides: a short gap is never hidden.
fn strip((from, to): (Micros, Micros), sessions: &[(Micros, Micros)], gaps: &[((Micros, Micros), GapState)]) -> String {
    let width = i64::try_from(STRIP).unwrap_or(72);
    let length = (to - from).max(1);
    let cell = |at: i64| (from + length * at / width, from + length * (at + 1) / width);
    let meets = |span: (Micros, Micros), cell: (Micros, Micros)| span.0 < cell.1 && span.1 > cell.0;
    (0..width)
        .map(|at| {
            let cell = cell(at);
            let states = || gaps.iter().filter(|(span, _)| meets(*span, cell)).map(|(_, state)| *state);
            if states().any(|state| state == GapState::Lost) {
                ' '
            } else if states().any(|state| state != GapState::Filled) {
                '·'
            } else if states().next().is_some() {
                '▒'
            } else if sessions.iter().any(|span| meets(*span, cell)) {
                '█'
            } else {
                // Nobody recorded, on purpose.
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_shows_the_worst_of_each_moment() {
        let sessions = [(0, 300), (400, 720)];
        let gaps = [((300, 400), GapState::Filled), ((500, 501), GapState::Lost), ((600, 620), GapState::Open)];
        let strip = strip((0, 720), &sessions, &gaps);
        assert_eq!(strip.chars().count(), STRIP);
        let expected: String =
            ["█".repeat(30), "▒".repeat(10), "█".repeat(10), " ".to_owned(), "█".repeat(9), "··".to_owned(), "█".repeat(10)]
                .concat();
        assert_eq!(strip, expected);
    }

    #[test]
    fn what_lies_between_sessions_and_gaps_was_not_recorded() {
        let spans = merged(vec![(50, 60), (10, 20), (15, 30)]);
        assert_eq!(spans, [(10, 30), (50, 60)]);
        assert_eq!(between(&spans, (0, 100)), [(0, 10), (30, 50), (60, 100)]);
        assert_eq!(between(&spans, (20, 55)), [(30, 50)]);
    }
}
