//! The one timeline: what was wanted less what was heard less what was filled is what is missing. Pure; every surface asks it.
//!
//! A span is counted once, however many sessions and passes overlap in it. What somebody asked for by hand is a pass over the
//! history and no gap. One file on purpose: half of it are the types that every surface shows, the rest is the one derivation.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::base::disk::fault;
use crate::base::time::{DAY, Micros, SECOND};
use crate::model::event::Source;
use crate::model::settings::Filters;
use crate::store::buffer::{FillRow, Piece, Records, RunRow, Session};

use super::spans::{Span, between, cut, merged, reaching};

/// How long the cloud keeps a push that nobody acknowledges.
const PUSHES_LAST: Micros = 12 * 3600 * SECOND;
/// How long the cloud's history keeps an event.
pub const RETENTION: Micros = 31 * DAY;
/// The one event type that the history does not hold.
pub const NOT_IN_HISTORY: &str = "labelsChanged";
/// A run begins with its first sign of life, if that comes so soon and nothing failed before: a cloud may ping only every ten
/// seconds.
const FIRST_SIGN: Micros = 15 * SECOND;
/// Cause of a gap behind a session that nobody closed.
const CRASH: &str = "the recorder stopped without a word";
/// Cause of a gap before anything was heard.
const NEVER: &str = "no connection";

/// Where a gap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapState {
    /// Not filled yet.
    Open,
    /// A pass over the history is at work, or was interrupted.
    Filling,
    /// What the cloud still had is in the recording.
    Filled,
    /// The cloud does not have it any more, or never had.
    Lost,
}

impl GapState {
    /// Whether such a gap may still be filled.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Filling)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Filling => "filling",
            Self::Filled => "filled",
            Self::Lost => "lost",
        }
    }
}

/// A span that was wanted and that no session heard, as far as it has one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its beginning and end; one that lasts ends now.
    pub span: Span,
    /// It lasts.
    pub lasts: bool,
    /// Why the session before it ended.
    pub cause: String,
    /// Where it stands.
    pub state: GapState,
    /// The history was asked so late that nothing comes after it.
    pub confirmed: bool,
    /// Why it is lost, or what is missing from a filled one, or why it is still open.
    pub why: Option<String>,
    /// Events that the history brought, those included that a stream had brought already.
    pub events: u64,
    /// What was wanted.
    pub filters: Arc<Filters>,
    /// When the history was asked last.
    pub asked_at: Option<Micros>,
}

impl Gap {
    /// Whether it may still be filled.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }
}

/// A run that goes on, and nobody records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The kind of connection, by its name.
    pub source: String,
    /// Its last sign of life; its beginning where it gave none.
    pub since: Micros,
    /// Its planned end.
    pub until: Option<Micros>,
    /// Why it ended, as far as anybody knows.
    pub cause: String,
}

/// What somebody asked for by hand, and is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The span.
    pub span: Span,
    /// Why it does not get on.
    pub why: Option<String>,
}

/// One project's time.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// When it was to be recorded, and when it was heard all the same: spans that do not meet, ascending.
    pub wanted: Vec<Span>,
    /// When somebody listened, whatever was asked for.
    pub heard: Vec<Span>,
    /// Sessions: each one's time.
    pub sessions: Vec<(Span, u64)>,
    /// What is missing, or was; ascending.
    pub gaps: Vec<Gap>,
    /// Runs that go on without anybody who records.
    pub dead: Vec<Dead>,
    /// What somebody asked for and is not done.
    pub requests: Vec<Request>,
    /// What somebody asked for and was brought: spans that do not meet, ascending.
    pub brought: Vec<Span>,
    /// When a session listened, or somebody was brought what was asked for, and what was asked for.
    pub asked: Vec<(Span, Arc<Filters>)>,
    /// The last sign of life of all.
    pub last_sign: Option<Micros>,
    /// A session lives, since then.
    pub connected_since: Option<Micros>,
    /// A recorder of its stream runs.
    pub is_streamed: bool,
    /// It is to be recorded now, whether anybody does or not.
    pub goes_on: bool,
    /// Why the session ended that spoke last, if it has.
    pub last_cause: Option<String>,
}

impl Project {
    /// Leaves out what lies before a time: nobody wants it any more, so nothing of it is missing.
    fn cut_off(&mut self, from: Micros) {
        let behind = |span: &mut Span| {
            span.0 = span.0.max(from);
            span.0 < span.1
        };
        for spans in [&mut self.wanted, &mut self.heard, &mut self.brought] {
            spans.retain_mut(behind);
        }
        self.sessions.retain(|(span, _)| span.1 > from);
        self.gaps.retain_mut(|gap| behind(&mut gap.span) || gap.lasts);
        self.requests.retain_mut(|request| behind(&mut request.span));
        self.asked.retain_mut(|(span, _)| behind(span));
    }

    /// From the first to the last that is known of it.
    pub fn span(&self) -> Option<Span> {
        let gaps = self.gaps.iter().map(|gap| gap.span);
        let all = || self.wanted.iter().chain(&self.heard).copied().chain(gaps.clone());
        Some((all().map(|span| span.0).min()?, all().map(|span| span.1).max()?))
    }
}

/// The time of all projects.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// By name.
    pub projects: Vec<Project>,
    /// What is before this time was given up on purpose, and is left out here.
    pub pruned_before: Option<Micros>,
}

/// Works it out. `opening` is the buffer's random id while a process writes, none when nobody does: a run of another id has no
/// recorder any more.
pub fn timeline(records: &Records, opening: Option<&str>, now: Micros) -> Timeline {
    let records = &*super::clocks::by_todays_clock(records);
    let mut of_run: HashMap<i64, Vec<&Session>> = HashMap::new();
    for session in &records.sessions {
        of_run.entry(session.run).or_default().push(session);
    }
    let mut by_project: BTreeMap<&str, Vec<Of<'_>>> = BTreeMap::new();
    for run in &records.runs {
        let sessions = of_run.remove(&run.id).unwrap_or_default();
        by_project.entry(&run.project).or_default().push(Of::new(run, sessions, opening, now));
    }
    let fills = records.fills.values().map(|fill| &*fill.project).collect::<std::collections::BTreeSet<_>>();
    for name in records.losses.iter().map(|loss| &*loss.project).chain(fills) {
        by_project.entry(name).or_default();
    }
    let mut pieces: HashMap<&str, Vec<(&Piece, &FillRow)>> = HashMap::new();
    for piece in &records.pieces {
        if let Some(fill) = records.fills.get(&piece.fill) {
            pieces.entry(&fill.project).or_default().push((piece, fill));
        }
    }
    let projects = by_project.into_iter().map(|(name, runs)| {
        let pieces = pieces.remove(name).unwrap_or_default();
        let mut project = project(name, runs, records, &pieces, now);
        if let Some(from) = records.pruned_before {
            project.cut_off(from);
        }
        project
    });
    Timeline { projects: projects.collect(), pruned_before: records.pruned_before }
}

/// A run with its sessions.
struct Of<'a> {
    run: &'a RunRow,
    /// By their last signs of life.
    sessions: Vec<&'a Session>,
    /// When its sessions listened; one that lives, until now.
    spans: Vec<Span>,
    /// Its process writes.
    is_alive: bool,
    /// Since when its living session lives.
    connected_since: Option<Micros>,
    last_sign: Option<Micros>,
    span: Span,
}

impl<'a> Of<'a> {
    fn new(run: &'a RunRow, mut sessions: Vec<&'a Session>, opening: Option<&str>, now: Micros) -> Self {
        sessions.sort_by_key(|session| session.spoke_at);
        let is_alive = run.ended_at.is_none() && opening == Some(&*run.opening);
        let lives = |session: &Session| is_alive && session.closed_at.is_none() && now - session.spoke_at <= run.quiet;
        let spans = sessions
            .iter()
            .map(|session| (session.opened_at, if lives(session) { now } else { session.spoke_at }.max(session.opened_at)));
        Self {
            run,
            spans: spans.collect(),
            is_alive,
            connected_since: sessions.iter().filter(|session| lives(session)).map(|session| session.opened_at).min(),
            last_sign: sessions.iter().map(|session| session.spoke_at).max(),
            sessions,
            span: (run.begins, run.begins),
        }
    }

    fn is_push(&self) -> bool {
        self.run.source == Source::Push.name()
    }
}

/// What is missing before anybody asks the history.
struct Raw {
    span: Span,
    lasts: bool,
    cause: String,
    /// What was asked before is lost as well.
    noted_at: Micros,
}

fn project(name: &str, mut runs: Vec<Of<'_>>, records: &Records, pieces: &[(&Piece, &FillRow)], now: Micros) -> Project {
    let mut out = Project { name: name.to_owned(), ..Project::default() };
    // Recordings that became one were recorded side by side.
    runs.sort_by(|a, b| a.run.origin.cmp(&b.run.origin));
    for of_one in runs.chunk_by_mut(|a, b| a.run.origin == b.run.origin) {
        reach(of_one, now);
        out.dead.extend(if of_one[0].run.origin.is_empty() { dead(of_one, now) } else { Vec::new() });
        promised(of_one, now);
    }
    let mut raw: Vec<(Arc<Filters>, Vec<Raw>)> = Vec::new();
    let mut put = |filters: &Arc<Filters>, gap: Raw| match raw.iter_mut().find(|(of, _)| of == filters) {
        Some((_, gaps)) => gaps.push(gap),
        None => raw.push((Arc::clone(filters), vec![gap])),
    };
    let others = Others::new(&runs);
    for (at, of) in runs.iter().enumerate() {
        let mut spans = of.spans.clone();
        spans.extend(others.beside(&runs, at));
        for span in between(&merged(spans), of.span) {
            let lasts = of.run.ended_at.is_none() && span.1 == of.span.1 && span.1 >= now;
            put(&of.run.filters, Raw { span, lasts, cause: cause(of, span.0), noted_at: Micros::MIN });
        }
    }
    for loss in records.losses.iter().filter(|loss| loss.project == name) {
        let raw = Raw { span: (loss.begins, loss.ends), lasts: false, cause: loss.cause.clone(), noted_at: loss.noted_at };
        put(&loss.filters, raw);
    }
    for (_, gaps) in &mut raw {
        join(gaps);
    }
    // What was wanted with wider filters holds what was wanted with narrower ones.
    for narrow in 0..raw.len() {
        for wide in 0..raw.len() {
            let holds = wide != narrow && raw[wide].0.hold(&raw[narrow].0);
            if holds && !(raw[narrow].0.hold(&raw[wide].0) && narrow < wide) {
                let wider: Vec<Span> = raw[wide].1.iter().map(|gap| gap.span).collect();
                let gaps = std::mem::take(&mut raw[narrow].1);
                raw[narrow].1 = gaps.iter().flat_map(|gap| without(gap, &wider)).collect();
            }
        }
    }
    for (filters, gaps) in raw {
        let holds: Vec<_> = pieces.iter().copied().filter(|(_, fill)| fill.filters.hold(&filters)).collect();
        fill(&mut out.gaps, &filters, gaps, &holds, now);
    }
    out.gaps.sort_by_key(|gap| gap.span);
    out.sessions =
        runs.iter().flat_map(|of| of.spans.iter().zip(&of.sessions)).map(|(span, session)| (*span, session.joined)).collect();
    out.heard = merged(runs.iter().flat_map(|of| of.spans.iter().copied()).filter(|span| span.0 < span.1).collect());
    out.wanted = merged(runs.iter().map(|of| of.span).filter(|span| span.0 < span.1).chain(out.heard.iter().copied()).collect());
    out.last_sign = runs.iter().filter_map(|of| of.last_sign).max();
    out.goes_on = !out.dead.is_empty() || runs.iter().any(|of| of.is_alive);
    out.is_streamed = runs.iter().any(|of| of.is_alive && !of.is_push());
    let last = runs.iter().flat_map(|of| &of.sessions).max_by_key(|session| session.spoke_at);
    out.last_cause = last.and_then(|session| session.cause.clone());
    out.connected_since = runs.iter().filter_map(|of| of.connected_since).min();
    let brought = pieces.iter().filter(|(_, fill)| fill.by_hand && fill.done_at.is_some());
    out.asked = runs.iter().flat_map(|of| of.spans.iter().map(|span| (*span, Arc::clone(&of.run.filters)))).collect();
    out.asked.extend(brought.clone().map(|(piece, fill)| ((piece.begins, piece.ends), fill.filters.clone())));
    out.brought = merged(brought.map(|(piece, _)| (piece.begins, piece.ends)).collect());
    let unfinished = pieces.iter().filter(|(_, fill)| fill.by_hand && fill.done_at.is_none());
    out.requests = unfinished.map(|(piece, fill)| Request { span: (piece.begins, piece.ends), why: fill.but.clone() }).collect();
    out
}

/// How far each run reaches. One that nobody ended goes on: to its planned end, else to the next one, else to now.
fn reach(runs: &mut [Of<'_>], now: Micros) {
    let mut before: HashMap<&str, Micros> = HashMap::new();
    let mut begun = std::collections::HashSet::new();
    for of in runs.iter_mut() {
        let last = before.entry(&of.run.source).or_insert(Micros::MIN);
        // One that goes on by another clock has not just begun.
        let begins = begun.insert((&of.run.source, &of.run.opening));
        let first = of.spans.iter().map(|span| span.0).min();
        // Where the clock went back meanwhile, nobody knows how long nobody recorded: that stays to be seen.
        let soon = |first: &Micros| {
            begins && of.run.said.is_none() && *last <= of.run.begins && (0..=FIRST_SIGN).contains(&(first - of.run.begins))
        };
        of.span.0 = first.filter(soon).unwrap_or(of.run.begins);
        *last = of.last_sign.unwrap_or(Micros::MIN).max(*last);
    }
    // The next one of its kind, or of whoever recorded the project next.
    let (mut next, mut of_next, mut first): (HashMap<&str, Micros>, Micros, Micros) = (HashMap::new(), Micros::MAX, Micros::MAX);
    let mut opening = None;
    for of in runs.iter_mut().rev() {
        if opening.replace(&of.run.opening) != Some(&of.run.opening) {
            of_next = first;
            next.clear();
        }
        first = of.span.0;
        let following = next.insert(&of.run.source, of.span.0).unwrap_or(Micros::MAX).min(of_next);
        of.span.1 = match of.run.ended_at {
            Some(at) => at,
            None if fault::leaves_out("a run outlives its process") => of.last_sign.unwrap_or(Micros::MIN),
            None => {
                // By a clock that was set back meanwhile, now may lie before what has been.
                let goes_on = if following == Micros::MAX { now } else { following };
                goes_on.min(of.run.until.unwrap_or(Micros::MAX)).max(of.last_sign.unwrap_or(Micros::MIN))
            }
        };
        of.span.1 = of.span.1.max(of.span.0);
    }
}

/// Runs that should be recorded now, and are not.
fn dead(runs: &[Of<'_>], now: Micros) -> Vec<Dead> {
    let mut last: BTreeMap<&str, &Of<'_>> = BTreeMap::new();
    let opening = runs.last().map(|of| &of.run.opening);
    for of in runs.iter().filter(|of| Some(&of.run.opening) == opening) {
        last.insert(&of.run.source, of);
    }
    let goes_on = |of: &&&Of<'_>| of.run.ended_at.is_none() && !of.is_alive && of.run.until.is_none_or(|until| until > now);
    let dead = last.values().filter(goes_on).map(|of| {
        let since = of.last_sign.unwrap_or(of.run.begins);
        Dead { source: of.run.source.clone(), since, until: of.run.until, cause: cause(of, since) }
    });
    dead.collect()
}

/// The cloud pushes again what nobody acknowledged, for twelve hours: a receiver that comes back in time has missed nothing.
fn promised(runs: &mut [Of<'_>], now: Micros) {
    let mut came_before = false;
    for of in runs.iter_mut().filter(|of| of.is_push()) {
        for span in &mut of.spans {
            span.0 -= if std::mem::replace(&mut came_before, true) { PUSHES_LAST } else { 0 };
        }
        if of.run.ended_at.is_none() && came_before && of.span.1 >= now {
            // What is still to be pushed, should it come back now; where another recorder came instead, it does not.
            let since = of.last_sign.unwrap_or(of.run.begins).max(now - PUSHES_LAST);
            of.spans.push((since, now.max(since)));
        }
    }
}

/// What was heard by sessions of the other kinds, by other receivers, whom the cloud pushes what one missed, and by sessions of the same
/// process when somebody had not set its clock yet.
struct Others<'a> {
    merged: Vec<(&'a str, &'a Arc<Filters>, Vec<Span>)>,
    /// Runs of one process and one kind, where there are several.
    same: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Others<'a> {
    fn new(runs: &[Of<'a>]) -> Self {
        let mut merged_: Vec<(&'a str, &'a Arc<Filters>, Vec<Span>)> = Vec::new();
        if runs.iter().any(|of| of.is_push() || of.run.source != runs[0].run.source) {
            for of in runs {
                let run = of.run;
                match merged_.iter_mut().find(|(source, filters, _)| *source == run.source && **filters == run.filters) {
                    Some((_, _, spans)) => spans.extend(&of.spans),
                    None => merged_.push((&run.source, &run.filters, of.spans.clone())),
                }
            }
            for (_, _, spans) in &mut merged_ {
                *spans = merged(std::mem::take(spans));
            }
        }
        let mut same: HashMap<(&'a str, &'a str), Vec<usize>> = HashMap::new();
        for (at, of) in runs.iter().enumerate() {
            same.entry((&of.run.opening, &of.run.source)).or_default().push(at);
        }
        same.retain(|_, runs| runs.len() > 1);
        Self { merged: merged_, same }
    }

    /// Spans beside a run that were heard another way.
    fn beside(&self, runs: &[Of<'_>], at: usize) -> Vec<Span> {
        let this = &runs[at];
        let same = self.same.get(&(&*this.run.opening, &*this.run.source)).into_iter().flatten();
        let same = same.filter(|other| **other != at && runs[**other].run.filters.hold(&this.run.filters));
        let same = same.flat_map(|other| runs[*other].spans.iter().copied());
        let counts = |(source, filters, _): &&(&str, &Arc<Filters>, Vec<Span>)| {
            (this.is_push() || *source != this.run.source) && filters.hold(&this.run.filters)
        };
        let others = self.merged.iter().filter(counts).flat_map(|(_, _, spans)| reaching(spans, this.span)).copied();
        others.chain(same).collect()
    }
}

/// Why nothing was heard of a run from a moment on.
fn cause(of: &Of<'_>, from: Micros) -> String {
    let before = of.sessions.partition_point(|session| session.spoke_at <= from);
    match before.checked_sub(1).map(|last| of.sessions[last]) {
        Some(session) => session.cause.clone().unwrap_or_else(|| CRASH.to_owned()),
        None => of.run.said.clone().unwrap_or_else(|| NEVER.to_owned()),
    }
}

/// Gaps that overlap are one.
fn join(gaps: &mut Vec<Raw>) {
    gaps.sort_by_key(|gap| gap.span);
    let mut out: Vec<Raw> = Vec::with_capacity(gaps.len());
    for gap in gaps.drain(..) {
        match out.last_mut() {
            Some(last) if gap.span.0 < last.span.1 => {
                last.lasts |= gap.lasts;
                last.span.1 = last.span.1.max(gap.span.1);
                last.noted_at = last.noted_at.max(gap.noted_at);
            }
            _ => out.push(gap),
        }
    }
    *gaps = out;
}

/// What is left of a gap beside wider ones.
fn without(gap: &Raw, wider: &[Span]) -> Vec<Raw> {
    let parts = between(wider, gap.span).into_iter();
    let lasts = |span: Span| gap.lasts && span.1 == gap.span.1;
    parts.map(|span| Raw { span, lasts: lasts(span), cause: gap.cause.clone(), noted_at: gap.noted_at }).collect()
}

/// Cuts gaps at the spans that passes over the history fill, and says where each part stands.
fn fill(out: &mut Vec<Gap>, filters: &Arc<Filters>, gaps: Vec<Raw>, pieces: &[(&Piece, &FillRow)], now: Micros) {
    let never = is_not_in_history(filters);
    let retained = now - RETENTION;
    let mut coming = pieces.iter().enumerate().peekable();
    let mut active: BinaryHeap<Reverse<(Micros, usize)>> = BinaryHeap::new();
    for gap in gaps {
        while let Some((at, (piece, _))) = coming.next_if(|(_, (piece, _))| piece.begins < gap.span.1) {
            active.push(Reverse((piece.ends, at)));
        }
        while active.peek().is_some_and(|Reverse((ends, _))| *ends <= gap.span.0) {
            active.pop();
        }
        let over: Vec<(&Piece, &FillRow)> = active.iter().map(|Reverse((_, at))| pieces[*at]).collect();
        let mut bounds: Vec<Micros> = over.iter().flat_map(|(piece, _)| [piece.begins, piece.ends]).collect();
        bounds.extend([gap.span.0, gap.span.1, retained]);
        bounds.retain(|at| (gap.span.0..=gap.span.1).contains(at));
        bounds.sort_unstable();
        bounds.dedup();
        let from = out.len();
        for part in bounds.windows(2).map(|part| (part[0], part[1])) {
            let part = part_of(&gap, part, &over, never, retained, filters);
            match out[from..].last_mut() {
                Some(last) if (last.state, last.confirmed, &last.why) == (part.state, part.confirmed, &part.why) => {
                    last.span.1 = part.span.1;
                    last.lasts |= part.lasts;
                    last.asked_at = last.asked_at.min(part.asked_at);
                }
                _ => out.push(part),
            }
        }
        for part in &mut out[from..] {
            let mut brought: BTreeMap<Span, u64> = BTreeMap::new();
            for (piece, _) in
                over.iter().filter(|(piece, _)| cut((piece.begins, piece.ends), part.span) == Some((piece.begins, piece.ends)))
            {
                let most = brought.entry((piece.begins, piece.ends)).or_default();
                *most = piece.events.max(*most);
            }
            part.events = brought.values().sum();
        }
    }
}

fn part_of(gap: &Raw, span: Span, over: &[(&Piece, &FillRow)], never: bool, retained: Micros, filters: &Arc<Filters>) -> Gap {
    let over = || over.iter().filter(|(piece, _)| piece.begins <= span.0 && span.1 <= piece.ends);
    let done = || over().filter(|(_, fill)| fill.done_at.is_some() && fill.asked_at >= gap.noted_at);
    let last = done().max_by_key(|(piece, fill)| (piece.confirms, fill.asked_at));
    let at_work = over().filter(|(_, fill)| fill.done_at.is_none()).max_by_key(|(_, fill)| fill.asked_at);
    let (state, why) = match (last, at_work) {
        (Some((_, fill)), _) if !never => (GapState::Filled, fill.but.clone()),
        _ if never => (GapState::Lost, Some(format!("{NOT_IN_HISTORY} is not in the history"))),
        _ if span.1 <= retained => (GapState::Lost, Some("older than the 31 days that the history holds".to_owned())),
        (_, Some((_, fill))) if fill.but.is_some() => (GapState::Open, fill.but.clone()),
        (_, Some(_)) => (GapState::Filling, None),
        _ => (GapState::Open, None),
    };
    Gap {
        span,
        lasts: gap.lasts && span.1 == gap.span.1,
        cause: gap.cause.clone(),
        state,
        confirmed: state == GapState::Filled && last.is_some_and(|(piece, _)| piece.confirms),
        why,
        events: 0,
        filters: Arc::clone(filters),
        asked_at: done().map(|(_, fill)| fill.asked_at).max(),
    }
}

/// Whether nothing that passes can be in the history.
pub fn is_not_in_history(filters: &Filters) -> bool {
    let types = &filters.event_types;
    !types.is_empty() && types.iter().all(|name| name == NOT_IN_HISTORY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::buffer::Loss;

    const HOUR: Micros = 3600 * SECOND;
    /// Far behind everything.
    const NOW: Micros = 100 * HOUR;

    fn run(id: i64, begins: Micros) -> RunRow {
        RunRow {
            id,
            opening: format!("o{id}"),
            origin: String::new(),
            boot: String::new(),
            clock: 0,
            ahead: None,
            source: "stream".to_owned(),
            project: "p".to_owned(),
            filters: Arc::default(),
            begins: begins * SECOND,
            until: None,
            ended_at: None,
            quiet: 30 * SECOND,
            said: None,
        }
    }

    fn session(run: i64, opened: Micros, spoke: Micros, cause: Option<&str>) -> Session {
        Session {
            run,
            opened_at: opened * SECOND,
            spoke_at: spoke * SECOND,
            closed_at: cause.map(|_| spoke * SECOND),
            cause: cause.map(str::to_owned),
            joined: 1,
        }
    }

    fn types(names: &[&str]) -> Arc<Filters> {
        Arc::new(Filters { event_types: names.iter().map(ToString::to_string).collect(), ..Filters::default() })
    }

    fn pass(records: &mut Records, id: i64, spans: &[(Micros, Micros)], asked_at: Micros, done: bool) {
        let fill = FillRow {
            id,
            project: "p".to_owned(),
            filters: Arc::default(),
            by_hand: false,
            asked_at: asked_at * SECOND,
            look_back: 0,
            devices: 0,
            done_at: done.then_some(asked_at * SECOND),
            but: None,
        };
        records.fills.insert(id, fill);
        for (begins, ends) in spans {
            records.pieces.push(Piece { fill: id, begins: begins * SECOND, ends: ends * SECOND, confirms: false, events: 7 });
        }
        if records.pieces.len() < 100 {
            records.pieces.sort_by_key(|piece| piece.begins);
        }
        records.pieces.sort_by_key(|piece| piece.begins);
    }

    fn at(records: &Records, opening: Option<&str>, now: Micros) -> Project {
        timeline(records, opening, now).projects.into_iter().next().unwrap_or_default()
    }

    /// Gaps in seconds, with their states.
    fn gaps(project: &Project) -> Vec<(Micros, Micros, GapState)> {
        project.gaps.iter().map(|gap| (gap.span.0 / SECOND, gap.span.1 / SECOND, gap.state)).collect()
    }

    use GapState::{Filled, Filling, Lost, Open};

    #[test]
    fn a_run_that_nobody_ended_goes_on_to_its_planned_end_the_next_run_or_now() {
        let mut records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 1, 60, None)], ..Records::default() };
        let project = at(&records, None, 100 * SECOND);
        assert_eq!(gaps(&project), [(60, 100, Open)]);
        assert!(project.gaps[0].lasts && project.gaps[0].cause == CRASH);
        assert_eq!(
            project.dead,
            [Dead { source: "stream".to_owned(), since: 60 * SECOND, until: None, cause: CRASH.to_owned() }]
        );
        records.runs[0].until = Some(80 * SECOND);
        let project = at(&records, None, 100 * SECOND);
        assert_eq!((gaps(&project), project.dead.len()), (vec![(60, 80, Open)], 0));
        records.runs[0].until = None;
        records.runs.push(run(2, 90));
        records.sessions.push(session(2, 92, 95, Some("the recorder stopped")));
        records.runs[1].ended_at = Some(95 * SECOND);
        let project = at(&records, None, 100 * SECOND);
        assert_eq!((gaps(&project), project.dead.len()), (vec![(60, 92, Open)], 0));
    }

    #[test]
    fn a_run_that_lives_is_heard_until_now_as_long_as_it_gives_signs_of_life() {
        let records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 1, 60, None)], ..Records::default() };
        let project = at(&records, Some("o1"), 80 * SECOND);
        assert_eq!((gaps(&project), project.connected_since), (vec![], Some(SECOND)));
        let project = at(&records, Some("o1"), 100 * SECOND);
        assert_eq!(gaps(&project), [(60, 100, Open)]);
        assert!(project.dead.is_empty() && project.connected_since.is_none());
        // Another process writes.
        assert_eq!(at(&records, Some("o2"), 80 * SECOND).dead.len(), 1);
    }

    #[test]
    fn between_two_sessions_lies_a_gap_though_neither_noticed() {
        let mut records = Records { runs: vec![run(1, 0)], ..Records::default() };
        records.runs[0].ended_at = Some(200 * SECOND);
        records.sessions = vec![session(1, 0, 60, Some("over")), session(1, 65, 200, Some("the recorder stopped"))];
        let project = at(&records, None, NOW);
        assert_eq!((gaps(&project), &*project.gaps[0].cause), (vec![(60, 65, Open)], "over"));
        records.sessions.push(session(1, 55, 70, Some("over")));
        assert_eq!(gaps(&at(&records, None, NOW)), []);
    }

    #[test]
    fn a_run_that_never_heard_anything_is_missing_from_its_beginning() {
        let mut records = Records { runs: vec![run(1, 10)], ..Records::default() };
        records.runs[0].said = Some("HTTP 503".to_owned());
        let project = at(&records, None, 50 * SECOND);
        assert_eq!((gaps(&project), &*project.gaps[0].cause), (vec![(10, 50, Open)], "HTTP 503"));
        // A first sign of life soon after is its beginning, unless something failed before; a late one is not.
        records.sessions = vec![session(1, 20, 50, None)];
        assert_eq!(gaps(&at(&records, Some("o1"), 50 * SECOND)), [(10, 20, Open)]);
        records.runs[0].said = None;
        assert_eq!(gaps(&at(&records, Some("o1"), 50 * SECOND)), []);
        records.sessions = vec![session(1, 40, 50, None)];
        assert_eq!(gaps(&at(&records, Some("o1"), 50 * SECOND)), [(10, 40, Open)]);
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_and_hides_no_outage() {
        // Set back by 100 s: heard until 200; by the new clock from 105 on, though the last sign of life was at 100.
        let mut records = Records { runs: vec![run(1, 0), run(2, 100)], ..Records::default() };
        records.runs[1].opening = "o1".to_owned();
        records.runs[1].clock = -100 * SECOND;
        records.runs.iter_mut().for_each(|run| run.boot = "b".to_owned());
        records.runs[0].ended_at = Some(200 * SECOND);
        records.sessions = vec![session(1, 1, 200, Some("set back")), session(2, 105, 300, None)];
        assert_eq!(gaps(&at(&records, Some("o1"), 300 * SECOND)), [(100, 105, Open)]);
        // Nor do pushes that came by the old clock.
        let push = RunRow { source: "push".to_owned(), ended_at: Some(200 * SECOND), ..records.runs[0].clone() };
        records.runs.insert(1, RunRow { id: 3, ..push });
        records.sessions.push(session(3, 0, 200, Some("set back")));
        assert_eq!(gaps(&at(&records, Some("o1"), 300 * SECOND)), [(100, 105, Open)]);
        records.runs[1].clock = -100 * SECOND;
        assert_eq!(gaps(&at(&records, Some("o1"), 300 * SECOND)), []);
    }

    #[test]
    fn a_span_is_counted_once_however_many_passes_overlap() {
        let mut records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 0, 100, Some("x"))], ..Records::default() };
        records.sessions.push(session(1, 500, 600, Some("the recorder stopped")));
        records.runs[0].ended_at = Some(600 * SECOND);
        pass(&mut records, 1, &[(50, 300)], 700, true);
        pass(&mut records, 2, &[(200, 400)], 700, true);
        pass(&mut records, 3, &[(150, 450)], 800, false);
        let project = at(&records, None, NOW);
        assert_eq!(gaps(&project), [(100, 400, Filled), (400, 450, Filling), (450, 500, Open)]);
        // What somebody asked for where nothing was missing is no gap.
        pass(&mut records, 4, &[(510, 590)], 800, true);
        assert_eq!(at(&records, None, NOW).gaps.len(), 3);
    }

    #[test]
    fn what_was_lost_again_is_missing_until_it_is_asked_for_behind_that() {
        let mut records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 0, 100, Some("x"))], ..Records::default() };
        records.runs[0].ended_at = Some(100 * SECOND);
        pass(&mut records, 1, &[(0, 100)], 200, true);
        let filters = Arc::default();
        records.losses.push(Loss {
            project: "p".to_owned(),
            filters,
            begins: 20 * SECOND,
            ends: 30 * SECOND,
            cause: "damaged".to_owned(),
            noted_at: 300 * SECOND,
        });
        assert_eq!(gaps(&at(&records, None, NOW)), [(20, 30, Open)]);
        pass(&mut records, 2, &[(0, 100)], 400, true);
        assert_eq!(gaps(&at(&records, None, NOW)), [(20, 30, Filled)]);
    }

    #[test]
    fn only_what_asks_for_at_least_as_much_covers_or_fills() {
        let mut records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 0, 100, None)], ..Records::default() };
        let narrow = RunRow { filters: types(&["co2"]), ended_at: Some(300 * SECOND), ..run(2, 200) };
        records.runs.push(narrow);
        records.sessions.push(session(2, 200, 300, Some("the recorder stopped")));
        pass(&mut records, 1, &[(100, 150)], 400, true);
        assert_eq!(gaps(&at(&records, None, NOW)), [(100, 150, Filled), (150, 200, Open)]);
        if let Some(fill) = records.fills.get_mut(&1) {
            fill.filters = types(&["co2"]);
        }
        assert_eq!(gaps(&at(&records, None, NOW)), [(100, 200, Open)]);
        records.runs[0].filters = types(&[NOT_IN_HISTORY]);
        assert_eq!(gaps(&at(&records, None, NOW)), [(100, 200, Lost)]);
    }

    #[test]
    fn nothing_is_lost_before_the_history_has_forgotten_it() {
        let mut records = Records { runs: vec![run(1, 0)], sessions: vec![session(1, 0, 100, Some("x"))], ..Records::default() };
        records.runs[0].ended_at = Some(300 * SECOND);
        let project = at(&records, None, RETENTION + 200 * SECOND);
        assert_eq!(gaps(&project), [(100, 200, Lost), (200, 300, Open)]);
    }

    #[test]
    fn a_receiver_that_is_away_for_less_than_twelve_hours_misses_nothing() {
        let push = |id, begins| RunRow { source: "push".to_owned(), ..run(id, begins) };
        let hours = HOUR / SECOND;
        let mut records = Records { runs: vec![push(1, 0)], sessions: vec![session(1, 0, hours, None)], ..Records::default() };
        let project = at(&records, None, 5 * HOUR);
        assert_eq!((gaps(&project), project.dead.len()), (vec![], 1));
        assert_eq!(gaps(&at(&records, None, 20 * HOUR)), [(hours, 8 * hours, Open)]);
        records.runs.push(push(2, 10 * hours));
        records.sessions.push(session(2, 10 * hours, 11 * hours, None));
        assert_eq!(gaps(&at(&records, Some("o2"), 11 * HOUR)), []);
        // And it covers a stream beside it.
        records.runs.push(RunRow { opening: "o2".to_owned(), ..run(3, 10 * hours) });
        assert_eq!(gaps(&at(&records, Some("o2"), 11 * HOUR)), []);
    }

    #[test]
    fn ten_years_take_no_time() {
        let mut records = Records::default();
        for hour in 0..20_000 {
            records.sessions.push(session(1, hour * 3600, hour * 3600 + 3000, Some("over")));
            pass(&mut records, hour, &[(hour * 3600 + 3000, hour * 3600 + 3600)], hour * 3600 + 3700, true);
        }
        records.runs.push(run(1, 0));
        records.pieces.sort_by_key(|piece| piece.begins);
        let project = at(&records, Some("o1"), 20_000 * HOUR);
        assert_eq!(project.gaps.len(), 20_000);
    }
}
