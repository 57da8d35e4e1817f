//! What is known of times of which no event tells: that a door stayed as it was, or nothing at all.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::base::time::{DAY, Micros, SECOND};
use crate::model::settings::Filters;
use crate::query::coverage::{GapState, Listened, Span, Timeline, between, cut, listened, merged};
use crate::query::reader::{ReadError, Reader, Selection};
use crate::store::devices::Directory;

use super::gaps::{Wanted, wants};

/// So short a time between two sessions is none: a recorder that was started again at once, clocks that do not quite agree, the
/// ten seconds by which backfill reaches beyond a gap.
pub const JOIN_TOLERANCE: Micros = 15 * SECOND;
/// A sensor says something at least so often. Where events came by another way, they need not reach the session next to them.
pub(super) const QUIET: Micros = 3600 * SECOND;

/// Of so long a time in which nobody recorded and no event came, nothing is known: a clock was wrong on one side of it.
const HOLE: Micros = 366 * DAY;

/// What is known of times of which no event tells.
#[derive(Debug, Clone)]
pub struct StateValidity {
    /// When nothing is known of any project, ascending by their beginnings.
    pub unknown: Vec<Span>,
    /// Nothing is known from then on.
    pub until: Micros,
    /// By project; none: everything is known.
    time: Option<Arc<Time>>,
}

/// What the ledger says of time, and what was found out of it so far.
#[derive(Debug, Default)]
struct Time {
    projects: HashMap<String, Of>,
    now: Micros,
    /// From when on it is asked for.
    start: Micros,
    /// Until when.
    end: Micros,
    /// By project: see [`Stretch`].
    imported: Mutex<HashMap<String, Vec<Stretch>>>,
    spans: Mutex<HashMap<Key, Arc<[Span]>>>,
}

/// A project, an event type and a device; none of them: of all types and devices.
type Key = (String, Option<(String, String)>);

/// A time that no session and no gap accounts for, the part of it in which the recording has days, and what is known of it once
/// somebody had to look.
#[derive(Debug)]
struct Stretch {
    whole: Span,
    part: Span,
    known: OnceCell<Option<Span>>,
}

/// What the ledger says of a project.
#[derive(Debug, Default)]
struct Of {
    /// When somebody listened, or filled a gap.
    heard: Wanted,
    /// Gaps that were not filled.
    missing: Wanted,
    /// Sessions and gaps, whatever was wanted.
    accounted: Vec<Span>,
    /// Whether devices are told apart.
    is_by_device: bool,
}

impl Default for StateValidity {
    /// Everything is known.
    fn default() -> Self {
        Self { unknown: Vec::new(), until: Micros::MAX, time: None }
    }
}

/// Whose time: what a project's device would have told of a type.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The project.
    pub project: &'a str,
    /// The event type and the device; none: all of the project.
    pub of: Option<(&'a str, &'a str)>,
}

impl StateValidity {
    /// When it is known that there is no other event than those that there are; spans that ascend apart. Those of them that meet the
    /// selection, whole: each time that nobody recorded costs a look into day files, so one day must not ask for all of them.
    ///
    /// # Errors
    /// When the recording does not read.
    pub fn spans(&self, reader: &Reader, directory: &Directory, whose: Whose<'_>) -> Result<Arc<[Span]>, ReadError> {
        let Some(time) = &self.time else { return Ok([(Micros::MIN, Micros::MAX)].into()) };
        let nothing = Of::default();
        let of = time.projects.get(whose.project).unwrap_or(&nothing);
        let kind = |(event_type, device): (&str, &str)| {
            (event_type.to_owned(), if of.is_by_device { device.to_owned() } else { String::new() })
        };
        let key = (whose.project.to_owned(), whose.of.map(kind));
        if let Some(spans) = found(&time.spans).get(&key) {
            return Ok(Arc::clone(spans));
        }
        let wants = |(_, filters): &&(Span, Arc<Filters>)| {
            whose.of.is_none_or(|(event_type, device)| wants(filters, event_type, device, directory))
        };
        let of_those = |all: &Wanted| all.iter().filter(wants).map(|(span, _)| *span).collect::<Vec<_>>();
        let (heard, missing) = (of_those(&of.heard), merged(of_those(&of.missing)));
        let mut from = time.start;
        let spans = loop {
            // A short seam is none: both ends reach over it.
            let mut known: Vec<Span> = Vec::new();
            for span in merged([&heard[..], &time.imported(reader, whose.project, of, from)?].concat()) {
                match known.last_mut() {
                    Some(last) if span.0.saturating_sub(last.1) <= JOIN_TOLERANCE => last.1 = last.1.max(span.1),
                    _ => known.push(span),
                }
            }
            let past = known.into_iter().filter_map(|span| cut(span, (Micros::MIN, time.now)));
            let spans: Vec<Span> = past.flat_map(|span| between(&missing, span)).collect();
            // What reaches into the selection may begin earlier still.
            match spans.iter().find(|span| span.1 > time.start) {
                Some((begins, _)) if *begins < from => from = *begins,
                _ => break spans,
            }
        };
        let spans: Arc<[Span]> = spans.into();
        found(&time.spans).insert(key, Arc::clone(&spans));
        Ok(spans)
    }
}

/// What was found so far; also by a thread that died meanwhile.
fn found<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Until when what was told at a time is known to hold, unless another event comes; that time, where nothing is known of it.
pub fn holds_until(spans: &[Span], time: Micros) -> Micros {
    let place = spans.partition_point(|span| span.1 <= time);
    spans.get(place).filter(|span| span.0 <= time).map_or(time, |span| span.1)
}

impl Time {
    /// Where no session and no gap accounts for the time of a project: from its first event to its last, or to what was recorded
    /// next to it where that is near. Of such times from `from` on, as far as they are asked for.
    fn imported(&self, reader: &Reader, project: &str, of: &Of, from: Micros) -> Result<Vec<Span>, ReadError> {
        let end = self.now.saturating_add(1);
        let known = |(begins, ends): Span, part: Span, (first, last): Span| {
            // What came behind all that was recorded goes on from there, unless a hole parts them.
            let is_next = part.0 <= begins.saturating_add(JOIN_TOLERANCE);
            let is_last = ends == end && begins > Micros::MIN && is_next;
            let from = if is_last || first.saturating_sub(begins) <= QUIET { begins } else { first };
            (from, if ends < end && ends - last <= QUIET { ends } else { last })
        };
        let mut imported = found(&self.imported);
        if !imported.contains_key(project) {
            imported.insert(project.to_owned(), self.stretches(reader, of)?);
        }
        let mut all = Vec::new();
        for Stretch { whole, part, known: of_stretch } in imported.get(project).into_iter().flatten() {
            if whole.1.saturating_add(JOIN_TOLERANCE) < from || whole.0.saturating_sub(JOIN_TOLERANCE) > self.end {
                continue;
            }
            if of_stretch.get().is_none() {
                let ends = reader.ends_of(project, *part)?;
                of_stretch.get_or_init(|| ends.map(|ends| known(*whole, *part, ends)));
            }
            all.extend(of_stretch.get().copied().flatten());
        }
        Ok(all)
    }

    /// Times that no session and no gap of a project accounts for, where the recording has days.
    fn stretches(&self, reader: &Reader, of: &Of) -> Result<Vec<Stretch>, ReadError> {
        let end = self.now.saturating_add(1);
        // An event at the very seam, whose clock is not quite ours, tells of no other time.
        let within = |(begins, ends): Span| match (begins, ends) {
            (begins, ends) if ends == end => (begins, ends),
            (begins, ends) => (begins.saturating_add(JOIN_TOLERANCE), ends.saturating_sub(JOIN_TOLERANCE)),
        };
        let mut whole: Vec<Span> = Vec::new();
        let days = reader.all_days()?.into_iter().map(|day| (day.start(), day.end()));
        for span in merged(days.chain(of.accounted.iter().copied()).collect()) {
            match whole.last_mut() {
                Some(last) if span.0.saturating_sub(last.1) <= HOLE => last.1 = last.1.max(span.1),
                _ => whole.push(span),
            }
        }
        let parts = |span: Span| {
            whole
                .iter()
                .filter_map(move |part| Some(Stretch { whole: span, part: cut(within(span), *part)?, known: OnceCell::new() }))
        };
        Ok(between(&of.accounted, (Micros::MIN, end)).into_iter().flat_map(parts).collect())
    }

    fn read(reader: &Reader, (start, end): Span, now: Micros) -> Result<Self, ReadError> {
        let timeline = reader.view().map(|view| Timeline::read(view, None, now)).transpose()?.unwrap_or_default();
        let mut projects = HashMap::new();
        for project in timeline.projects {
            let gaps = project.gaps.iter().map(|gap| gap.span);
            let accounted = merged(project.sessions.iter().map(|(span, _)| *span).chain(gaps).collect());
            let (filled, missing): (Vec<_>, Vec<_>) = project.gaps.into_iter().partition(|gap| gap.state == GapState::Filled);
            let missing =
                missing.into_iter().map(|gap| ((gap.span.0, if gap.lasts { Micros::MAX } else { gap.span.1 }), gap.filters));
            let heard = project.asked.into_iter().chain(filled.into_iter().map(|gap| (gap.span, gap.filters)));
            let of = Of { heard: heard.collect(), missing: missing.collect(), accounted, is_by_device: false };
            let has_devices =
                |filters: &Filters| *filters != Filters { event_types: filters.event_types.clone(), ..Filters::default() };
            let is_by_device = of.heard.iter().chain(&of.missing).any(|(_, filters)| has_devices(filters));
            projects.insert(project.name, Of { is_by_device, ..of });
        }
        Ok(Self { projects, now, start, end, ..Self::default() })
    }
}

/// What is known where a selection has no event.
///
/// **The rule**, by project, event type and device. The state that a door told last is known while somebody listened who wanted
/// such events: from the opening of a session to its last sign of life, through gaps that were filled from history, never through
/// one that was not; and where somebody was brought what was asked for by hand. Where there was no session and no gap of the
/// project, nobody recorded it; of such a time is known what lies between the first and the last of its events that came by
/// another way (an import, a push that was sent again, a day file that was copied in), of whatever type and device; up to what
/// was recorded next to it, if that is within the hour, and from the last that was recorded on to the last event of all. So a project
/// without sessions is known from its first event to its last. A year without a session and without any event parts what is
/// before it from what is behind: one clock that says 1970 must not hold a door in its state for half a century. A seam of
/// fifteen seconds is none. Nothing is known of what is to come.
///
/// What stands in [`StateValidity::unknown`] and [`StateValidity::until`] is that of all projects together, for the eye alone. Of the time before
/// the selection only the last that is unknown is found.
///
/// # Errors
/// When the ledger does not read.
pub fn known(reader: &Reader, selection: &Selection, now: Micros) -> Result<StateValidity, ReadError> {
    let Listened { spans, unfilled } = reader.view().map(|view| listened(view, now)).transpose()?.unwrap_or_default();
    let (start, end) = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    let mut unknown = unfilled;
    let last_before_start = |unknown: &[Span]| unknown.iter().map(|(begins, _)| *begins).filter(|begins| *begins < start).max();
    let heard = spans.last().map(|span| span.1);
    for (begins, ends) in between(&spans, (Micros::MIN, heard.unwrap_or(Micros::MIN))).into_iter().rev() {
        if last_before_start(&unknown).is_some_and(|last| ends <= last) {
            break;
        }
        if begins >= end || ends.saturating_sub(begins) <= JOIN_TOLERANCE {
            continue;
        }
        let parts = match reader.first_and_last((begins.saturating_add(JOIN_TOLERANCE), ends - JOIN_TOLERANCE))? {
            Some((first, last)) => {
                let parts = [(begins, first), (last, ends)].into_iter();
                parts.filter(|(from, to)| to.saturating_sub(*from) > QUIET).collect()
            }
            None => vec![(begins, ends)],
        };
        // Before the first event of all nobody said anything that could hold.
        unknown.extend(parts.into_iter().filter(|(from, _)| *from > Micros::MIN));
    }
    unknown.sort_unstable();
    let from = heard.unwrap_or(Micros::MIN);
    let mut last = reader.first_and_last((from, now.saturating_add(1)))?;
    if last.is_none() && heard.is_none() {
        last = reader.first_and_last((from, Micros::MAX))?;
    }
    let until = last.map_or(from, |(_, last)| last.max(from));
    Ok(StateValidity { unknown, until, time: Some(Arc::new(Time::read(reader, (start, end), now)?)) })
}
