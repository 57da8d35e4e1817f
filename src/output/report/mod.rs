//! Report: a night or a week of a recording on one page, or its facts for programs.
//!
//! One pass over all events in time order (`tally`), one table an event type (`figures`), the ledger (`ledger`): memory
//! grows with devices, types and hours, never with events. The page needs nothing but itself. Read through a lenient reader, it
//! is made of the day files that read, and names the others.

mod charts;
mod facts;
mod figures;
mod ledger;
mod page;
mod people;
mod pictures;
mod sections;
mod tally;
mod values;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::text::printable;
use crate::base::time::{Day, Micros, SECOND, Utc};
use crate::base::zone::Zone;
use crate::query::coverage::{self, Gap, GapState, Project};
use crate::query::holdings::LookError;
use crate::query::reader::{ReadError, Reader, Selection, TypePlan};
use crate::query::status::{FaultReason, status};
use crate::query::tables::{Ask, Fill, JOIN_TOLERANCE, TableError, Unrecorded, known, plans, unrecorded};
use crate::store::buffer::{BufferError, WhichFaults};
use crate::store::devices::Directory;

pub use charts::{Picture, pictures};
pub use facts::{Battery, ByType, DeviceFacts, Facts, HourFacts, ProjectFacts, Signal, Silence, TypeFacts};
pub use figures::Figures;
pub use page::page;

use figures::figures;
use ledger::{Ledger, Span, cut, gaps_within, not_recorded};
use tally::{Device, Lowest, Tally, tally};

/// Days without an event that part a device with a wrong clock from a recording.
const HOLE: i32 = 31;
/// How many reasons of faults are told.
const REASONS: usize = 20;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A table cannot be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The buffer cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// There is no status.
    #[error(transparent)]
    Status(#[from] LookError),
}

/// What a report is made of: a selection of a recording, and the partitions that it comes to.
#[derive(Debug)]
pub struct Scope {
    /// Which events: what was asked for, without what lies months away from everything else.
    pub selection: Selection,
    /// The partitions.
    pub plans: Vec<TypePlan>,
    /// Events that were left out, about.
    pub outside: u64,
    /// What was asked for: from when, and until when.
    asked: (Option<Micros>, Option<Micros>),
}

impl Scope {
    /// Finds what a selection comes to. One sensor whose clock says 1970 must not make a report of half a century: where neither
    /// start nor end is given, days that lie a month away from most are left out.
    ///
    /// # Errors
    /// When the recording does not read.
    pub fn of(reader: &Reader, selection: Selection, now: Micros) -> Result<Self, ReportError> {
        let plans = plans(reader, &selection, Fill::None)?;
        // What is wholly to come is shown as it was asked for.
        let is_to_come = selection.start.is_some_and(|start| start >= now);
        let asked = (selection.start, if is_to_come { selection.end } else { selection.until(now) });
        if selection.start.is_some() || selection.end.is_some() {
            return Ok(Self { selection, plans, outside: 0, asked });
        }
        let days: BTreeSet<Day> = plans.iter().flat_map(|plan| &plan.partitions).map(|partition| partition.day).collect();
        let mut groups: Vec<(Day, Day)> = Vec::new();
        for day in days {
            match groups.last_mut() {
                Some((_, last)) if day.0 - last.0 <= HOLE => *last = day,
                _ => groups.push((day, day)),
            }
        }
        if groups.len() < 2 {
            return Ok(Self { selection, plans, outside: 0, asked });
        }
        let events = |plans: &[TypePlan]| plans.iter().map(|plan| plan.events).sum::<u64>();
        let all = events(&plans);
        let mut best = (false, 0, Self { selection: selection.clone(), plans, outside: 0, asked });
        for (first, last) in groups {
            let selection = Selection { start: Some(first.start()), end: Some(last.end()), ..selection.clone() };
            let plans = reader.plan(&selection)?;
            // Most events; but whatever a wrong clock tells of times to come, the recording is what was.
            let (has_been, sum) = (first.start() <= now, events(&plans));
            if (has_been, sum) >= (best.0, best.1) {
                best = (has_been, sum, Self { selection, plans, outside: all - sum.min(all), asked });
            }
        }
        Ok(best.2)
    }

    /// Its part that lies within a page. The last event belongs to it, unless it lies at an end that was asked for.
    fn shown(&self, (from, to): Span) -> Selection {
        let end = self.selection.end.map_or(to + 1, |end| end.min(to + 1));
        Selection { start: self.selection.start.map(|_| from), end: Some(end), ..self.selection.clone() }
    }
}

/// Collects the facts. `progress` hears of events that were read.
///
/// # Errors
/// When the recording does not read.
pub fn facts(
    reader: &Reader,
    directory: &Directory,
    scope: &Scope,
    zone: &Zone,
    now: Micros,
    progress: impl FnMut(u64),
) -> Result<Facts, ReportError> {
    let Scope { selection, plans, outside, asked } = scope;
    let ledger = Ledger::read(reader.view(), now)?;
    let heard =
        ledger.span().and_then(|span| cut(span, (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX))));
    let known = known(reader, selection, now)?;
    // What was asked for; on a side that was left open, as far as there is anything.
    let until = Some(known.until).filter(|until| *until > Micros::MIN && *outside == 0);
    let start = asked.0.or(heard.map(|span| span.0));
    let end = asked.1.or(heard.map(|span| span.1).max(until));
    let found = tally(reader, plans, selection, (&known, directory), zone, (start, end), progress)?;
    let span = match (found.events, start, end) {
        (Some((first, last)), start, end) => Some((start.unwrap_or(first).min(first), end.unwrap_or(last).max(last))),
        (None, Some(start), Some(end)) if start < end => Some((start, end)),
        _ => None,
    };
    let unrecorded = unrecorded(reader, span.unwrap_or((Micros::MIN, Micros::MAX)), now)?;
    let ask = Ask { zone: zone.clone(), known, ..Ask::default() };
    // What was a state before the page begins does not count before it.
    let shown = span.map_or_else(|| selection.clone(), |span| scope.shown(span));
    let mut measured = Measured::default();
    for plan in plans {
        measured.add(plan, figures(reader, plan, &shown, directory, &ask)?);
    }
    let cover = |span: Span| ledger.projects.iter().map(|project| covered(project, &unrecorded, span)).collect();
    // Nobody can have recorded what is still to come.
    let past = span.map(|(from, to)| (from, to.min(now).max(from)));
    let spans = |all: Vec<Span>| all.into_iter().map(|(from, to)| (Utc(from), Utc(to))).collect();
    let imported = span.map(|span| unrecorded.imported.iter().filter_map(|part| cut(*part, span)).collect());
    let mut facts = Facts {
        dir: reader.layout().root().display().to_string(),
        made_at: Utc(now),
        zone: zone.name().to_owned(),
        from: span.map(|span| span.0).or(asked.0).map(Utc),
        to: span.map(|span| span.1).or(asked.1).map(Utc),
        missing: Vec::new(),
        unknown: Vec::new(),
        notes: Vec::new(),
        recording: false,
        events: found.hours.values().flatten().sum(),
        outside: *outside,
        bytes: 0,
        buffer_bytes: 0,
        nobody_records: ledger.nobody_records.clone(),
        coverage: past.map(cover).unwrap_or_default(),
        imported: imported.map(spans).unwrap_or_default(),
        types: types(plans, &found, measured.by_type),
        hours: hours(plans, &found),
        devices: devices(plans, found.devices, measured.by_device, directory, selection, span),
        unreadable: reader.left_out(),
        faults: 0,
        fault_reasons: Vec::new(),
    };
    look_around(&mut facts, reader, selection, now)?;
    words::say_missing(&mut facts);
    match past {
        _ if asked.0.is_some_and(|start| start >= now) => {
            facts.unknown.push("Nobody recorded in this time; it is still to come.".to_owned());
        }
        Some(span) => words::say_unknown(&mut facts, &unrecorded, span),
        // Before anything that there is.
        None if *asked != (None, None) => facts.unknown.push("Nobody recorded in this time.".to_owned()),
        None => {}
    }
    words::say_notes(&mut facts);
    Ok(facts)
}

/// What the status says: sizes, and what came and was no event.
fn look_around(facts: &mut Facts, reader: &Reader, selection: &Selection, now: Micros) -> Result<(), ReportError> {
    let Some(view) = reader.view() else { return Ok(()) };
    let status = status(reader.layout(), now)?;
    (facts.bytes, facts.buffer_bytes, facts.recording) = (status.bytes, status.buffer_bytes, status.recording);
    let (from, to) = (selection.start.filter(|_| facts.outside == 0), selection.end.filter(|_| facts.outside == 0));
    let reasons = view.fault_reasons(&WhichFaults { from, before: to, reason: None }, usize::MAX)?;
    facts.faults = reasons.iter().map(|fault| fault.count).sum();
    facts.fault_reasons = reasons
        .into_iter()
        .take(REASONS)
        .map(|fault| FaultReason {
            reason: fault.reason,
            count: fault.count,
            last_at: Utc(fault.last_at),
            example: printable(&String::from_utf8_lossy(&fault.example), 120),
        })
        .collect();
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a report are far below 2^53")]
fn seconds((from, to): Span) -> f64 {
    (to - from) as f64 / SECOND as f64
}

/// A sum that is nothing, not less than nothing, of none.
fn total(spans: impl Iterator<Item = Span>) -> f64 {
    spans.map(seconds).fold(0.0, |sum, length| sum + length)
}

fn covered(project: &Project, unrecorded: &Unrecorded, span: Span) -> ProjectFacts {
    let spans: Vec<Span> = project.heard.iter().filter_map(|covered| cut(*covered, span)).collect();
    let of_gaps = |is: fn(&Gap) -> bool| total(project.gaps.iter().filter(|gap| is(gap)).filter_map(|gap| cut(gap.span, span)));
    // A pause of which little lies on the page is one all the same.
    let pauses = not_recorded(project, (Micros::MIN, Micros::MAX), unrecorded).into_iter();
    let pauses = pauses.filter(|(from, to)| to.saturating_sub(*from) > JOIN_TOLERANCE).filter_map(|pause| cut(pause, span));
    ProjectFacts {
        project: project.name.clone(),
        sessions: project.sessions.iter().filter(|(session, _)| cut(*session, span).is_some()).map(|(_, joined)| *joined).sum(),
        covered_seconds: total(spans.iter().copied()),
        filled_seconds: of_gaps(|gap| gap.state == GapState::Filled),
        open_seconds: of_gaps(Gap::is_open),
        lost_seconds: of_gaps(|gap| gap.state == GapState::Lost),
        not_recorded_seconds: total(pauses),
        covered: spans.into_iter().map(|(from, to)| (Utc(from), Utc(to))).collect(),
        gaps: gaps_within(project, span).map(coverage::report).collect(),
    }
}

/// Figures of all types, by type and by device. Nothing stands twice: there may be very many devices.
#[derive(Debug, Default)]
struct Measured {
    /// As in the plans.
    by_type: Vec<Option<Figures>>,
    by_device: BTreeMap<String, Vec<(Arc<str>, Figures)>>,
}

impl Measured {
    fn add(&mut self, plan: &TypePlan, found: BTreeMap<String, Figures>) {
        let (name, is_some): (Arc<str>, bool) = (plan.schema.name.as_str().into(), !found.is_empty());
        let mut all = Figures::of(&plan.schema);
        for (id, figures) in found {
            all.add(&figures);
            let own = self.by_device.entry(id).or_default();
            own.reserve_exact(1);
            own.push((Arc::clone(&name), figures));
        }
        self.by_type.push(is_some.then_some(all));
    }
}

fn types(plans: &[TypePlan], found: &Tally, measured: Vec<Option<Figures>>) -> Vec<TypeFacts> {
    let one = |(number, (plan, figures)): (usize, (&TypePlan, Option<Figures>))| TypeFacts {
        event_type: plan.schema.name.clone(),
        description: plan.schema.description.clone(),
        events: found.hours.values().map(|hour| hour[number]).sum(),
        devices: found.devices.values().filter(|device| device.events[number] > 0).count(),
        figures,
    };
    plans.iter().zip(measured).enumerate().map(one).filter(|kind| kind.events > 0 || kind.figures.is_some()).collect()
}

fn hours(plans: &[TypePlan], found: &Tally) -> Vec<HourFacts> {
    let events = |counts: &Vec<u64>| {
        let some = plans.iter().zip(counts).filter(|(_, count)| **count > 0);
        some.map(|(plan, count)| (plan.schema.name.clone(), *count)).collect()
    };
    found.hours.iter().map(|(start, counts)| HourFacts { start: Utc(*start), events: events(counts) }).collect()
}

fn devices(
    plans: &[TypePlan],
    found: BTreeMap<String, Device>,
    mut measured: BTreeMap<String, Vec<(Arc<str>, Figures)>>,
    directory: &Directory,
    selection: &Selection,
    span: Option<Span>,
) -> Vec<DeviceFacts> {
    let wanted = |id: &str| selection.devices.is_empty() || selection.devices.contains(id);
    // The directory need not know who is in a state that it told before.
    let others: BTreeSet<&str> = directory.iter().map(|(id, _)| id).filter(|id| wanted(id)).collect();
    let others = others.into_iter().chain(measured.keys().map(String::as_str)).collect::<BTreeSet<_>>();
    let silent: Vec<String> = others.into_iter().filter(|id| !found.contains_key(*id)).map(str::to_owned).collect();
    let names: Vec<Arc<str>> = plans.iter().map(|plan| plan.schema.name.as_str().into()).collect();
    let one = |(id, device): (String, Option<Device>)| {
        let device = device.as_ref();
        let count = |device: Option<&Device>| {
            let counts = device.map_or(&[][..], |device| &device.events);
            names.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(name, count)| (Arc::clone(name), *count)).collect()
        };
        DeviceFacts {
            name: directory.name(&id).to_owned(),
            kind: directory.get(&id).map(|known| known.kind.clone()).unwrap_or_default(),
            room: directory.get(&id).and_then(|known| known.labels.get("room")).cloned().unwrap_or_default(),
            events: device.map_or(0, |device| device.events.iter().sum()),
            first_seen: device.map(|device| Utc(device.first)),
            last_seen: device.map(|device| Utc(device.last)),
            silence: device.map(|device| device.silence).filter(|silence| silence.0 < silence.1).map(|silence| Silence {
                seconds: seconds(silence),
                from: Utc(silence.0),
                to: Utc(silence.1),
                lasts: span.is_some_and(|span| silence.1 >= span.1),
            }),
            battery: device.and_then(|device| device.battery).map(|(at, percent)| Battery { percent, at: Utc(at) }),
            signal: device.and_then(|device| signal(device.signal)),
            rssi: device.and_then(|device| signal(device.rssi)),
            figures: measured.remove(&id).unwrap_or_default().into_iter().collect(),
            events_by_type: count(device),
            id,
        }
    };
    let mut devices: Vec<DeviceFacts> = Vec::with_capacity(found.len() + silent.len());
    devices
        .extend(found.into_iter().map(|(id, device)| (id, Some(device))).chain(silent.into_iter().map(|id| (id, None))).map(one));
    devices.sort_by(|a, b| {
        a.name.chars().flat_map(char::to_lowercase).cmp(b.name.chars().flat_map(char::to_lowercase)).then_with(|| a.id.cmp(&b.id))
    });
    devices
}

fn signal(of: Lowest) -> Option<Signal> {
    Some(Signal { latest: of.latest?, least: of.least? })
}
