//! What is to be asked of the history, of which device, when. No I/O: what the ledger has and what the cloud answered comes in,
//! jobs and changes of the ledger go out.
//!
//! A pass over the devices fills all gaps that are due at once. Nothing waits behind anything else: a device or a span that is
//! not ready is skipped and comes again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::buffer::{Change, Fill, FillRow, Outcome, Piece};
use crate::coverage::{Gap, GapState, NOT_IN_HISTORY, RETENTION, Span, between, is_not_in_history, merged};
use crate::settings::Filters;
use crate::time::{DAY, Micros, SECOND};
use crate::words::counted;

/// A window reaches so far beyond what it fills, on both sides: clocks differ.
pub(super) const OVERLAP: Micros = 10 * SECOND;
/// Windows that lie closer are one: in so short a time a device sends less than another request costs.
const JOIN: Micros = 600 * SECOND;
/// A gap that lasts is filled as far as it goes, each time that so much has come to it.
const LASTING: Micros = 600 * SECOND;
/// Most pieces of one pass.
const PIECES_MAX: usize = 1000;
/// Devices asked for side by side.
const PARALLEL: usize = 4;
/// How often the device list is asked for anew.
const LIST_EVERY: Micros = DAY;
/// When a device speaks that is not in the list, it is asked for anew, but not more often than this.
const LIST_AGAIN: Micros = 60 * SECOND;
/// First and longest wait for a device or a project that failed.
const AGAIN: (Micros, Micros) = (15 * SECOND, 900 * SECOND);
/// So many failures in a row, and who waits for the end of a pass waits no longer.
const STUCK: u32 = 3;

/// How the history is asked.
#[derive(Debug, Clone)]
pub struct Passes {
    /// An event is in the history at the latest so long after it happened; then comes the first pass.
    pub index_delay: Micros,
    /// So long after a gap it is asked again, ascending: what came later than any index delay says.
    pub confirm_after: Vec<Micros>,
    /// How far back these look: events that came during the gap with an older time.
    pub look_back: Micros,
}

/// A number for a pass that no other one has.
fn fresh_id() -> i64 {
    fastrand::i64(1..i64::MAX)
}

/// What the ledger has of one project.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Its gaps of the time that the history holds.
    pub(crate) gaps: Vec<Gap>,
    /// Passes that are not done, with their spans.
    pub(crate) fills: Vec<(FillRow, Vec<Piece>)>,
    /// What became of devices in these.
    pub(crate) outcomes: Vec<(i64, String, Outcome)>,
    /// Devices that the recording knows.
    pub(crate) devices: Vec<String>,
}

/// Something to ask of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// Which devices there are.
    List(Arc<Filters>),
    /// The history of a device.
    Ask(Ask),
}

/// A device's history of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The device.
    pub(crate) device: String,
    /// Which events.
    pub(crate) filters: Arc<Filters>,
    /// From when to when.
    pub(crate) window: Span,
    /// For which passes, with the spans that these fill.
    pub(crate) fills: Vec<(i64, Vec<Span>)>,
}

/// What the cloud answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All that it has, handed to the keeper: how many events lie in which span of which pass.
    Brought(Vec<(i64, Vec<(Micros, u64)>)>),
    /// It does not give this device's history, and will not.
    Refused(String),
    /// It failed for this device.
    Failed(String),
    /// It gives nobody's history at the moment, for this reason; it wants to be left alone for so long.
    Closed(String, Micros),
}

/// A pass that is not done.
#[derive(Debug)]
struct Active {
    filters: Arc<Filters>,
    pieces: Vec<Span>,
    window: Span,
    /// Devices that are done, and those that are refused, with the reason.
    settled: HashMap<String, Option<String>>,
    /// Of how many devices the ledger knows.
    announced: u64,
}

/// Tries of something that failed.
#[derive(Debug, Default, Clone)]
struct Again {
    failures: u32,
    at: Micros,
    why: String,
}

impl Again {
    fn failed(&mut self, why: &str, least: Micros, now: Micros) {
        let wait = (AGAIN.0 << self.failures.min(10)).min(AGAIN.1).max(least);
        (self.failures, self.at) = (self.failures.saturating_add(1), now.saturating_add(wait));
        why.clone_into(&mut self.why);
    }
}

/// A device list.
#[derive(Debug, Default)]
struct List {
    at: Option<Micros>,
    devices: BTreeSet<String>,
    again: Again,
    is_asked: bool,
}

/// Fills the gaps of one project.
#[derive(Debug)]
pub(crate) struct Filling {
    project: String,
    passes: Passes,
    /// Only what somebody asked for by hand.
    only_by_hand: bool,
    fills: BTreeMap<(Micros, i64), Active>,
    lists: Vec<(Arc<Filters>, List)>,
    known: BTreeSet<String>,
    asking: HashSet<String>,
    devices: HashMap<String, Again>,
    closed: Again,
    /// When there may be something new in what the ledger had at the last look.
    due_at: Option<Micros>,
    /// A gap waits for its first pass.
    waits: bool,
    /// Requests that were answered, of those that were to be.
    done: u64,
}

impl Filling {
    /// Nothing is asked yet.
    pub(crate) fn new(project: &str, passes: Passes, only_by_hand: bool) -> Self {
        Self {
            project: project.to_owned(),
            passes,
            only_by_hand,
            fills: BTreeMap::new(),
            lists: Vec::new(),
            known: BTreeSet::new(),
            asking: HashSet::new(),
            devices: HashMap::new(),
            closed: Again::default(),
            due_at: None,
            waits: false,
            done: 0,
        }
    }

    /// Takes what the ledger has, and begins passes over what is due.
    pub(crate) fn look(&mut self, known: Known, now: Micros) -> Vec<Change> {
        self.known.extend(known.devices);
        let mut changes = Vec::new();
        for (fill, pieces) in known.fills {
            let pieces: Vec<Span> = pieces.iter().map(|piece| (piece.begins, piece.ends)).collect();
            let key = (fill.asked_at, fill.id);
            if !self.fills.contains_key(&key) && (fill.by_hand || !self.only_by_hand) {
                self.fills.insert(key, Active::new(fill.filters, pieces, fill.look_back, fill.devices));
            }
        }
        for (fill, device, outcome) in known.outcomes {
            let active = self.fills.iter_mut().find(|((_, id), _)| *id == fill).map(|(_, active)| active);
            match (active, outcome) {
                (Some(active), Outcome::Done) => drop(active.settled.insert(device, None)),
                (Some(active), Outcome::Refused(why)) => drop(active.settled.insert(device, Some(why))),
                _ => {}
            }
        }
        if !self.only_by_hand {
            self.begin(&known.gaps, now, &mut changes);
        }
        self.end(now, &mut changes);
        changes
    }

    /// Begins passes over gaps that are due.
    fn begin(&mut self, gaps: &[Gap], now: Micros, changes: &mut Vec<Change>) {
        (self.due_at, self.waits) = (None, false);
        let retained = now - RETENTION + SECOND;
        let mut due: Vec<(Arc<Filters>, Micros, Vec<(Micros, Micros, bool)>)> = Vec::new();
        for gap in gaps.iter().filter(|gap| gap.state != GapState::Lost && !is_not_in_history(&gap.filters)) {
            let at_work = self.fills.values().filter(|active| active.filters.hold(&gap.filters));
            let at_work = merged(at_work.flat_map(|active| active.pieces.iter().copied()).collect());
            for (begins, ends) in between(&at_work, (gap.span.0.max(retained), gap.span.1)) {
                let Some((at, look_back)) = self.next_pass(gap, (begins, ends), now) else { continue };
                self.waits |= look_back == 0 && !gap.lasts;
                if at > now {
                    self.due_at = Some(self.due_at.map_or(at, |before| before.min(at)));
                    continue;
                }
                let ends = if gap.lasts { now - self.passes.index_delay } else { ends };
                let confirms = self.passes.confirm_after.last().is_none_or(|last| now >= ends.saturating_add(*last));
                // The first one may come so late that none follows.
                let look_back = if confirms && !self.passes.confirm_after.is_empty() { self.passes.look_back } else { look_back };
                match due.iter_mut().find(|(filters, back, _)| *filters == gap.filters && *back == look_back) {
                    Some((_, _, pieces)) => pieces.push((begins, ends, confirms)),
                    None => due.push((Arc::clone(&gap.filters), look_back, vec![(begins, ends, confirms)])),
                }
            }
        }
        for (filters, look_back, mut pieces) in due {
            pieces.sort_unstable();
            let mut group: Vec<(Micros, Micros, bool)> = Vec::new();
            for piece in pieces {
                if group.last().is_some_and(|last| piece.0 - last.1 > JOIN.max(look_back)) || group.len() >= PIECES_MAX {
                    self.pass(fresh_id(), &filters, look_back, false, std::mem::take(&mut group), now, changes);
                }
                group.push(piece);
            }
            self.pass(fresh_id(), &filters, look_back, false, group, now, changes);
        }
    }

    /// When a span of a gap is asked next, and how far back that looks; none when there is nothing more to come.
    fn next_pass(&self, gap: &Gap, (begins, ends): Span, now: Micros) -> Option<(Micros, Micros)> {
        let Passes { index_delay, confirm_after, look_back } = &self.passes;
        match (gap.state, gap.asked_at) {
            (GapState::Filled, Some(asked_at)) if !gap.confirmed => {
                // What nobody looked back for is not confirmed, however late it was asked: by hand, say.
                let mut later = confirm_after.iter().map(|after| ends.saturating_add(*after));
                let last = ends.saturating_add(*confirm_after.last()?);
                Some((later.find(|at| *at > asked_at).unwrap_or(last), *look_back))
            }
            (GapState::Filled, _) => None,
            _ if gap.lasts => Some(((begins + LASTING + index_delay).max(now.min(begins + LASTING)), 0)),
            _ => Some((ends + index_delay, 0)),
        }
    }

    /// A pass over what somebody asked for by hand begins.
    pub(crate) fn by_hand(
        &mut self,
        id: i64,
        filters: &Arc<Filters>,
        pieces: Vec<(Micros, Micros, bool)>,
        now: Micros,
        changes: &mut Vec<Change>,
    ) {
        self.pass(id, filters, 0, true, pieces, now, changes);
    }

    #[expect(clippy::too_many_arguments, reason = "all that makes a pass")]
    fn pass(
        &mut self,
        id: i64,
        filters: &Arc<Filters>,
        look_back: Micros,
        by_hand: bool,
        pieces: Vec<(Micros, Micros, bool)>,
        now: Micros,
        changes: &mut Vec<Change>,
    ) {
        if pieces.is_empty() {
            return;
        }
        let spans = pieces.iter().map(|(begins, ends, _)| (*begins, *ends)).collect();
        self.fills.insert((now, id), Active::new(Arc::clone(filters), spans, look_back, 0));
        let (project, filters) = (self.project.clone(), (**filters).clone());
        changes.push(Change::Asks(Fill { id, project, filters, by_hand, asked_at: now, look_back, pieces }));
    }

    /// The next thing to ask, if anything can be asked now.
    pub(crate) fn next(&mut self, now: Micros) -> Option<Job> {
        if self.closed.at > now {
            return None;
        }
        let wanted: Vec<Arc<Filters>> = self.fills.values().map(|active| Arc::clone(&active.filters)).collect();
        for filters in wanted {
            let list = self.list(&filters);
            if !list.is_asked && list.again.at <= now && list.at.is_none_or(|at| now - at >= LIST_EVERY) {
                list.is_asked = true;
                return Some(Job::List(filters));
            }
        }
        if self.asking.len() >= PARALLEL {
            return None;
        }
        let ready =
            |device: &String| !self.asking.contains(device) && self.devices.get(device).is_none_or(|again| again.at <= now);
        let pending = |active: &Active, device: &String| !active.settled.contains_key(device);
        let (first, device) = self.fills.values().find_map(|active| {
            let devices = self.devices_of(&active.filters);
            devices.into_iter().find(|device| pending(active, device) && ready(device)).map(|device| (active, device.clone()))
        })?;
        // All that is wanted of it and lies near.
        let filters = Arc::clone(&first.filters);
        let mut near: Vec<(&i64, &Active)> = self.fills.iter().map(|((_, id), active)| (id, active)).collect();
        near.retain(|(_, active)| active.filters == filters && pending(active, &device));
        let mut window = first.window;
        let mut fills: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        loop {
            let before = fills.len();
            for (id, active) in &near {
                let is_near =
                    active.window.0 <= window.1.saturating_add(JOIN) && active.window.1 >= window.0.saturating_sub(JOIN);
                if is_near && !fills.contains_key(id) {
                    window = (window.0.min(active.window.0), window.1.max(active.window.1));
                    fills.insert(**id, active.pieces.clone());
                }
            }
            if fills.len() == before {
                break;
            }
        }
        self.asking.insert(device.clone());
        Some(Job::Ask(Ask { device, filters, window, fills: fills.into_iter().collect() }))
    }

    /// The device list came, or did not.
    pub(crate) fn listed(
        &mut self,
        filters: &Arc<Filters>,
        listed: Result<Vec<String>, (String, Micros)>,
        now: Micros,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let list = self.list(filters);
        list.is_asked = false;
        match listed {
            Ok(devices) => {
                list.devices = devices.into_iter().collect();
                (list.at, list.again) = (Some(now), Again::default());
                self.closed = Again::default();
                self.end(now, &mut changes);
            }
            Err((why, least)) => {
                list.again.failed(&why, least, now);
                let waiting = self.fills.iter().filter(|(_, active)| active.filters == *filters).map(|((_, id), _)| *id);
                changes.push(Change::Waits(waiting.collect(), format!("no device list: {why}")));
            }
        }
        changes
    }

    /// Somebody set the clock: what was to be tried again at some time is tried now, or it might wait for an hour that is over.
    pub(crate) fn clock_was_set(&mut self) {
        self.closed.at = Micros::MIN;
        self.devices
            .values_mut()
            .chain(self.lists.iter_mut().map(|(_, list)| &mut list.again))
            .for_each(|again| again.at = Micros::MIN);
    }

    /// A device speaks that is not in the list.
    pub(crate) fn met_a_stranger(&mut self, now: Micros) {
        for (_, list) in &mut self.lists {
            if list.at.is_some_and(|at| now - at >= LIST_AGAIN) {
                list.at = None;
            }
        }
    }

    /// The cloud answered.
    pub(crate) fn answered(&mut self, ask: &Ask, answer: Answer, now: Micros) -> Vec<Change> {
        self.asking.remove(&ask.device);
        let ids: Vec<i64> = ask.fills.iter().map(|(id, _)| *id).collect();
        let device = ask.device.clone();
        let none = || ids.iter().map(|id| (*id, Vec::new())).collect();
        let mut changes = Vec::new();
        let settled = match answer {
            Answer::Brought(fills) => {
                changes.push(Change::Device { device, outcome: Outcome::Done, fills });
                None
            }
            Answer::Refused(why) => {
                changes.push(Change::Device { device, outcome: Outcome::Refused(why.clone()), fills: none() });
                Some(why)
            }
            Answer::Failed(why) => {
                let again = self.devices.entry(device.clone()).or_default();
                let is_news = again.why != why;
                again.failed(&why, 0, now);
                if is_news {
                    let text = format!("device {device}: {why}");
                    changes.push(Change::Device { device, outcome: Outcome::Failed(why), fills: none() });
                    changes.push(Change::Waits(ids, text));
                }
                return changes;
            }
            Answer::Closed(why, least) => {
                // Several are under way: one word of it is enough.
                if self.closed.at <= now {
                    let is_news = self.closed.why != why;
                    self.closed.failed(&why, least, now);
                    if is_news {
                        changes.push(Change::Waits(self.fills.keys().map(|(_, id)| *id).collect(), why));
                    }
                }
                return changes;
            }
        };
        self.done += 1;
        (self.closed, _) = (Again::default(), self.devices.remove(&ask.device));
        for ((_, id), active) in &mut self.fills {
            if ids.contains(id) {
                active.settled.insert(ask.device.clone(), settled.clone());
            }
        }
        self.end(now, &mut changes);
        changes
    }

    /// Ends passes that are done; those that are too old for the history are done as well, but for what they lack.
    fn end(&mut self, now: Micros, changes: &mut Vec<Change>) {
        let mut done = Vec::new();
        for (key, active) in &self.fills {
            let list = self.lists.iter().find(|(filters, _)| *filters == active.filters).map(|(_, list)| list);
            let devices = self.devices_of(&active.filters);
            let missing: Vec<&String> = devices.iter().filter(|device| !active.settled.contains_key(**device)).copied().collect();
            let is_listed = list.is_some_and(|list| list.at.is_some());
            let is_too_old = active.window.1 < now - RETENTION;
            if is_listed && active.announced != devices.len() as u64 {
                changes.push(Change::Asked(key.1, devices.len() as u64));
            }
            if is_too_old || (is_listed && missing.is_empty()) {
                done.push((*key, active.but(&missing, &self.devices)));
            }
        }
        for (key, but) in done {
            self.fills.remove(&key);
            changes.push(Change::Filled { fill: key.1, but });
        }
        for change in changes.iter() {
            if let Change::Asked(fill, devices) = change
                && let Some((_, active)) = self.fills.iter_mut().find(|((_, id), _)| id == fill)
            {
                active.announced = *devices;
            }
        }
    }

    /// When there may be something to ask or to look for that there is not now.
    pub(crate) fn wake_at(&self, now: Micros) -> Option<Micros> {
        let later = |at: Micros| Some(at).filter(|at| *at > now);
        let devices = self.devices.values().filter_map(|again| later(again.at)).min().filter(|_| !self.fills.is_empty());
        let lists = self.lists.iter().filter_map(|(_, list)| later(list.again.at)).min();
        [self.due_at, later(self.closed.at), devices, lists].into_iter().flatten().min()
    }

    /// True when a look into the ledger is due.
    pub(crate) fn is_due(&self, now: Micros) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Nothing is left that could be filled soon.
    pub(crate) fn is_settled(&self) -> bool {
        let is_stuck = |active: &Active| {
            let list = self.lists.iter().find(|(filters, _)| *filters == active.filters);
            let missing = self.devices_of(&active.filters).into_iter().filter(|device| !active.settled.contains_key(*device));
            let fails = |device: &String| self.devices.get(device).is_some_and(|again| again.failures >= STUCK);
            self.closed.failures >= STUCK
                || list.is_some_and(|(_, list)| list.again.failures >= STUCK)
                || (list.is_some_and(|(_, list)| list.at.is_some()) && missing.into_iter().all(fails))
        };
        !self.waits && self.asking.is_empty() && self.fills.values().all(is_stuck)
    }

    /// Devices that are settled, and how many there are, over all passes; none while there is nothing to do.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        let of = |active: &Active| {
            let devices = self.devices_of(&active.filters);
            let settled = devices.iter().filter(|device| active.settled.contains_key(**device)).count();
            (settled as u64, devices.len() as u64)
        };
        let sums = self.fills.values().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (!self.fills.is_empty()).then_some(sums)
    }

    /// Of the list, and of what the recording knows or the filters name, since some have left the list.
    fn devices_of<'a>(&'a self, filters: &'a Filters) -> BTreeSet<&'a String> {
        let list = self.lists.iter().find(|(of, _)| **of == *filters);
        let listed = list.into_iter().flat_map(|(_, list)| &list.devices);
        let Filters { devices, device_types, labels, product_numbers, .. } = filters;
        let is_plain = device_types.is_empty() && labels.is_empty() && product_numbers.is_empty();
        let known = self.known.iter().filter(|_| is_plain && devices.is_empty());
        listed.chain(known).chain(devices.iter().filter(|_| is_plain)).collect()
    }

    fn list(&mut self, filters: &Arc<Filters>) -> &mut List {
        let at = match self.lists.iter().position(|(of, _)| of == filters) {
            Some(at) => at,
            None => {
                self.lists.push((Arc::clone(filters), List::default()));
                self.lists.len() - 1
            }
        };
        &mut self.lists[at].1
    }
}

impl Active {
    fn new(filters: Arc<Filters>, pieces: Vec<Span>, look_back: Micros, announced: u64) -> Self {
        let begins = pieces.iter().map(|piece| piece.0).min().unwrap_or_default();
        let ends = pieces.iter().map(|piece| piece.1).max().unwrap_or_default();
        let window = (begins.saturating_sub(look_back + OVERLAP), ends.saturating_add(OVERLAP));
        Self { filters, pieces, window, settled: HashMap::new(), announced }
    }

    /// What it could not bring.
    fn but(&self, missing: &[&String], failed: &HashMap<String, Again>) -> Option<String> {
        let mut parts = Vec::new();
        let refused: BTreeMap<&String, &String> =
            self.settled.iter().filter_map(|(device, why)| Some((device, why.as_ref()?))).collect();
        if let Some((device, why)) = refused.first_key_value() {
            let devices = counted(refused.len() as u64, "device");
            parts.push(format!("{devices} that the cloud refuses ({device}: {why})"));
        }
        if let Some(device) = missing.first() {
            let why = failed.get(*device).map_or("it was never asked", |again| &again.why);
            parts.push(format!("{} that never answered ({device}: {why})", counted(missing.len() as u64, "device")));
        }
        let types = &self.filters.event_types;
        if types.is_empty() || types.iter().any(|name| name == NOT_IN_HISTORY) {
            parts.push(format!("{NOT_IN_HISTORY}, which is not in the history"));
        }
        (!parts.is_empty()).then(|| format!("but for {}", parts.join(", and for ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Micros = 3600 * SECOND;
    const NOW: Micros = 100 * DAY;

    fn filling() -> Filling {
        let passes = Passes { index_delay: 20 * SECOND, confirm_after: vec![HOUR, DAY], look_back: DAY };
        Filling::new("p", passes, false)
    }

    /// A gap of a minute that ended so long ago.
    fn gap(ago: Micros, state: GapState, asked_at: Option<Micros>) -> Gap {
        Gap {
            span: (NOW - ago - 60 * SECOND, NOW - ago),
            lasts: false,
            cause: String::new(),
            state,
            confirmed: false,
            why: None,
            events: 0,
            filters: Arc::default(),
            asked_at,
        }
    }

    /// The pass that begins over a gap: how far it looks back, and whether it confirms.
    fn begun(gap: Gap) -> Option<(Micros, bool)> {
        let changes = filling().look(Known { gaps: vec![gap], ..Known::default() }, NOW);
        changes.iter().find_map(|change| match change {
            Change::Asks(fill) => Some((fill.look_back, fill.pieces[0].2)),
            _ => None,
        })
    }

    #[test]
    fn who_confirms_looks_back_even_where_nobody_asked_before() {
        assert_eq!(begun(gap(SECOND, GapState::Open, None)), None);
        assert_eq!(begun(gap(60 * SECOND, GapState::Open, None)), Some((0, false)));
        assert_eq!(begun(gap(2 * DAY, GapState::Open, None)), Some((DAY, true)));
    }

    #[test]
    fn what_is_filled_is_asked_again_until_that_was_late_enough_and_looked_back() {
        let filled = |ago, asked| begun(gap(ago, GapState::Filled, Some(NOW - asked)));
        assert_eq!(filled(HOUR / 2, 60 * SECOND), None);
        assert_eq!(filled(2 * HOUR, 2 * HOUR - 60 * SECOND), Some((DAY, false)));
        assert_eq!(filled(2 * HOUR, 60 * SECOND), None);
        assert_eq!(filled(2 * DAY, 60 * SECOND), Some((DAY, true)), "by hand, say");
    }

    #[test]
    fn who_sets_the_clock_back_makes_nobody_wait_for_an_hour_that_is_over() {
        let mut filling = filling();
        let filters = Arc::<Filters>::default();
        let open = || Known { gaps: vec![gap(60 * SECOND, GapState::Open, None)], ..Known::default() };
        filling.look(open(), NOW);
        assert_eq!(filling.next(NOW), Some(Job::List(Arc::clone(&filters))));
        filling.listed(&filters, Err(("no".to_owned(), 0)), NOW + HOUR);
        assert_eq!(filling.next(NOW), None);
        filling.clock_was_set();
        assert_eq!(filling.next(NOW), Some(Job::List(filters)));
    }
}
