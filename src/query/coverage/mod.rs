//! Coverage: when a recording was covered by sessions, and the gaps between, for people and for programs.

mod clocks;
mod spans;
mod timeline;

use serde::Serialize;

use crate::base::text::counted;
use crate::base::time::{Micros, SECOND, Utc};
use crate::model::layout::Layout;
use crate::store::buffer::{BufferError, View};

pub use spans::{Span, between, cut, merged};
pub use timeline::{Dead, Gap, GapState, NOT_IN_HISTORY, Project, RETENTION, Timeline, is_not_in_history, timeline};

/// Characters of a strip.
pub const STRIP: usize = 72;

/// A recording's coverage. Fields are only ever added to.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// By project.
    pub projects: Vec<ProjectCoverage>,
    /// Gaps that are not filled: open, filling or lost.
    pub missing: usize,
    /// Projects that should be recorded now, and nobody does.
    pub nobody_records: Vec<NobodyRecords>,
    /// What is before this time was pruned, and is neither covered nor missing; null where nothing was.
    pub pruned_before: Option<Utc>,
}

/// One project's coverage.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectCoverage {
    /// The project.
    pub project: String,
    /// When it was first to be recorded.
    pub from: Utc,
    /// The end of what was to be recorded, or now while that goes on.
    pub to: Utc,
    /// Number of sessions.
    pub sessions: u64,
    /// Its gaps.
    pub gaps: Vec<GapReport>,
    /// What somebody asked of the history by hand, and is not done.
    pub requests: Vec<RequestReport>,
    /// The span as a strip: `█` covered, `▒` filled, `·` open or filling, a space lost, `_` not recorded on purpose.
    pub strip: String,
}

/// One gap.
#[derive(Debug, Clone, Serialize)]
pub struct GapReport {
    /// Its beginning: the last sign of life before it.
    pub begins: Utc,
    /// Its end: the first sign of life after it; null while it lasts.
    pub ends: Option<Utc>,
    /// Its length in seconds so far.
    pub seconds: f64,
    /// Why the session before it ended.
    pub cause: String,
    /// Where it stands.
    pub state: GapState,
    /// It is filled, and the history was asked again so late that nothing comes after it.
    pub confirmed: bool,
    /// Why it is lost, what is missing from a filled one, or why it is open.
    pub why: Option<String>,
    /// Events that the history brought.
    pub events: u64,
}

/// What somebody asked of the history.
#[derive(Debug, Clone, Serialize)]
pub struct RequestReport {
    /// Its beginning.
    pub begins: Utc,
    /// Its end.
    pub ends: Utc,
    /// Why it does not get on, if it does not.
    pub why: Option<String>,
}

/// A project that should be recorded now, and nobody does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NobodyRecords {
    /// The project.
    pub project: String,
    /// `stream` or `push`: what should come.
    pub source: String,
    /// The last sign of life of its recorder.
    pub since: Utc,
    /// Its planned end; null where it has none.
    pub until: Option<Utc>,
    /// Why it ended, as far as anybody knows.
    pub cause: String,
}

impl NobodyRecords {
    /// In a sentence, with times as `clock` writes them.
    pub fn said(&self, clock: impl Fn(Micros) -> String) -> String {
        let until =
            self.until.map_or_else(|| "until somebody ends it".to_owned(), |until| format!("until {}", clock(until.into())));
        let does = if self.source == "push" { "receives" } else { "records" };
        let promise = if self.source == "push" { "; the cloud keeps its pushes for 12 hours" } else { "" };
        format!(
            "nobody {does} {} since {} ({}); it was to go on {until}{promise}",
            self.project,
            clock(self.since.into()),
            self.cause
        )
    }
}

impl Timeline {
    /// The time of a recording, as its ledger has it; since some moment, or all of it.
    ///
    /// # Errors
    /// When the ledger does not read.
    pub fn read(view: &View, since: Option<Micros>, now: Micros) -> Result<Self, BufferError> {
        let opening = view.has_writer().then(|| view.id());
        Ok(timeline(&view.records(since)?, opening, now))
    }

    /// Gaps that are not filled: open, filling or lost.
    pub fn missing(&self) -> usize {
        self.projects.iter().flat_map(|project| &project.gaps).filter(|gap| gap.state != GapState::Filled).count()
    }

    /// Projects that should be recorded now, and nobody does.
    pub fn nobody_records(&self) -> Vec<NobodyRecords> {
        let of = |project: &Project, dead: &Dead| NobodyRecords {
            project: project.name.clone(),
            source: dead.source.clone(),
            since: Utc(dead.since),
            until: dead.until.map(Utc),
            cause: dead.cause.clone(),
        };
        self.projects.iter().flat_map(|project| project.dead.iter().map(move |dead| of(project, dead))).collect()
    }

    /// Why the session ended that spoke last of all, if it has.
    pub fn last_cause(&self) -> Option<String> {
        self.projects.iter().max_by_key(|project| project.last_sign)?.last_cause.clone()
    }

    /// What the ledger says of time, of all projects together.
    pub fn listened(&self) -> Listened {
        let all =
            |project: &Project| project.heard.iter().copied().chain(project.gaps.iter().map(|gap| gap.span)).collect::<Vec<_>>();
        let unfilled = self.projects.iter().flat_map(|project| &project.gaps).filter(|gap| gap.state != GapState::Filled);
        let mut unfilled: Vec<Span> =
            unfilled.map(|gap| (gap.span.0, if gap.lasts { Micros::MAX } else { gap.span.1 })).collect();
        unfilled.sort_unstable();
        Listened { spans: merged(self.projects.iter().flat_map(all).collect()), unfilled }
    }

    /// What to say of gaps that meet a span of time and are not filled; none where there are none.
    pub fn said(&self, (from, to): Span) -> Option<String> {
        let meets = |gap: &&Gap| gap.state != GapState::Filled && gap.span.0 < to && (gap.span.1 > from || gap.lasts);
        let meeting: Vec<&Gap> = self.projects.iter().flat_map(|project| &project.gaps).filter(meets).collect();
        let count = |state: GapState| meeting.iter().filter(|gap| gap.state == state).count();
        let (lost, open) = (count(GapState::Lost), meeting.len() - count(GapState::Lost));
        let gaps = |number: usize| counted(number as u64, "gap");
        match (open, lost) {
            (0, 0) => None,
            (open, 0) => Some(format!("{} not filled yet", gaps(open))),
            (0, lost) => Some(format!("{} lost", gaps(lost))),
            (open, lost) => Some(format!("{} not filled yet and {lost} lost", gaps(open))),
        }
    }
}

/// The coverage of a recording.
///
/// # Errors
/// When there is no recording, or its ledger does not read.
pub fn coverage(layout: &Layout, now: Micros) -> Result<Coverage, BufferError> {
    let view = View::open(layout)?;
    let time = view.at_one_moment(|| Timeline::read(&view, None, now))?;
    let projects = time.projects.iter().map(|project| {
        // Where nobody ever recorded, there may be what somebody asked for.
        let (from, to) = project.span().or(project.brought.first().copied()).unwrap_or((now, now));
        ProjectCoverage {
            project: project.name.clone(),
            from: Utc(from),
            to: Utc(to),
            sessions: project.sessions.iter().map(|(_, sessions)| sessions).sum(),
            strip: strip((from, to), &project.heard, &project.brought, &project.gaps),
            gaps: project.gaps.iter().map(report).collect(),
            requests: project
                .requests
                .iter()
                .map(|request| RequestReport { begins: Utc(request.span.0), ends: Utc(request.span.1), why: request.why.clone() })
                .collect(),
        }
    });
    let (missing, nobody_records, pruned_before) = (time.missing(), time.nobody_records(), time.pruned_before.map(Utc));
    Ok(Coverage { projects: projects.collect(), missing, nobody_records, pruned_before })
}

/// A gap for people and programs.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a gap are far below 2^52")]
pub fn report(gap: &Gap) -> GapReport {
    GapReport {
        begins: Utc(gap.span.0),
        ends: (!gap.lasts).then_some(Utc(gap.span.1)),
        seconds: (gap.span.1 - gap.span.0) as f64 / SECOND as f64,
        cause: gap.cause.clone(),
        state: gap.state,
        confirmed: gap.confirmed,
        why: gap.why.clone(),
        events: gap.events,
    }
}

/// What the ledger says of time, of all projects together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listened {
    /// When sessions lived, and gaps, whatever became of them: all but when nobody recorded, on purpose. Ascending, apart.
    pub spans: Vec<Span>,
    /// Gaps that were not filled, ascending; one that lasts ends at the greatest time of all.
    pub unfilled: Vec<Span>,
}

/// When anybody listened, as the ledger has it.
///
/// # Errors
/// When the ledger does not read.
pub fn listened(view: &View, now: Micros) -> Result<Listened, BufferError> {
    Ok(Timeline::read(view, None, now)?.listened())
}

/// What to say of gaps that meet a span of time and are not filled.
///
/// # Errors
/// When the ledger does not read.
pub fn missing(view: &View, span: Span, now: Micros) -> Result<Option<String>, BufferError> {
    Ok(Timeline::read(view, None, now)?.said(span))
}

/// What to say of requests that meet a span and are not done.
///
/// # Errors
/// When the ledger does not read.
pub fn unfinished(view: &View, span: Span, now: Micros) -> Result<Option<String>, BufferError> {
    let time = Timeline::read(view, None, now)?;
    let requests = time.projects.iter().flat_map(|project| &project.requests);
    let mut requests = requests.filter(|request| cut(request.span, span).is_some());
    Ok(requests.next().map(|request| match &request.why {
        Some(why) => format!("not all that was asked for is there yet: {why}"),
        None => "not all that was asked for is there yet".to_owned(),
    }))
}

/// The span in [`STRIP`] characters. The worst thing within a character's time decides: a short gap is never hidden.
fn strip((from, to): Span, heard: &[Span], brought: &[Span], gaps: &[Gap]) -> String {
    // Not recorded on purpose, brought by hand, covered, filled, open, lost.
    const LOOKS: [char; 6] = ['_', '▒', '█', '▒', '·', ' '];
    let length = i128::from((to - from).max(1));
    let cell = |at: Micros| usize::try_from(i128::from(at - from) * STRIP as i128 / length).unwrap_or_default().min(STRIP - 1);
    let mut cells = [0; STRIP];
    let mut mark = |span: Span, look: usize| {
        // The end is not a part of it.
        for cell in &mut cells[cell(span.0)..=cell((span.1 - 1).max(span.0))] {
            *cell = look.max(*cell);
        }
    };
    brought.iter().filter_map(|span| cut(*span, (from, to))).for_each(|span| mark(span, 1));
    for span in heard {
        mark(*span, 2);
    }
    for gap in gaps {
        let look = match gap.state {
            GapState::Filled => 3,
            GapState::Open | GapState::Filling => 4,
            GapState::Lost => 5,
        };
        mark(gap.span, look);
    }
    cells.iter().map(|look| LOOKS[*look]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_shows_the_worst_of_each_moment() {
        let gap = |span, state| Gap {
            span,
            lasts: false,
            cause: String::new(),
            state,
            confirmed: false,
            why: None,
            events: 0,
            filters: std::sync::Arc::default(),
            asked_at: None,
        };
        let heard = [(0, 300), (400, 720)];
        let gaps = [gap((300, 400), GapState::Filled), gap((500, 501), GapState::Lost), gap((600, 620), GapState::Open)];
        let strip = strip((0, 720), &heard, &[], &gaps);
        assert_eq!(strip.chars().count(), STRIP);
        let expected: String =
            ["█".repeat(30), "▒".repeat(10), "█".repeat(10), " ".to_owned(), "█".repeat(9), "··".to_owned(), "█".repeat(10)]
                .concat();
        assert_eq!(strip, expected);
    }
}
