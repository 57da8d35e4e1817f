//! What is to be asked of the history, of which device, when. No I/O: what the ledger has and what the cloud answered comes in,
//! jobs and changes of the ledger go out.
//!
//! A pass over the devices fills all gaps that are due at once. Nothing waits behind anything else: a device or a span that is
//! not ready is skipped and comes again. Its length is that of its rules: who is asked next reads as one, in its order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::base::disk::fault;
use crate::base::text::counted;
use crate::base::time::{DAY, Micros, SECOND};
use crate::model::settings::Filters;
use crate::query::coverage::{Gap, GapState, NOT_IN_HISTORY, RETENTION, Span, between, is_not_in_history, merged};
use crate::store::buffer::{Change, Fill, FillRow, Outcome, Piece};

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

/// A span to fill: begin, end, and whether it is asked for so late that nothing more comes.
pub(crate) type Due = (Micros, Micros, bool);

/// A number for a pass that no other one has.
pub(super) fn fresh_id() -> i64 {
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
    /// All that it has, handed to the writer: how many events lie in which span of which pass.
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
    /// Those that are known and not settled.
    pending: BTreeSet<String>,
    /// Of how many devices the ledger knows.
    announced: u64,
    /// Why it does not get on, as the ledger knows.
    waits_for: Option<String>,
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
    /// Whose device list is wanted, whether there is something to fill or not: a recording names its devices.
    listed_for: Option<Arc<Filters>>,
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
}

impl Filling {
    /// Nothing is asked yet.
    pub(crate) fn new(project: &str, passes: Passes, only_by_hand: bool) -> Self {
        Self {
            project: project.to_owned(),
            passes,
            only_by_hand,
            listed_for: None,
            fills: BTreeMap::new(),
            lists: Vec::new(),
            known: BTreeSet::new(),
            asking: HashSet::new(),
            devices: HashMap::new(),
            closed: Again::default(),
            due_at: None,
            waits: false,
        }
    }

    /// Asks for the device list from the beginning on, once a day, and when a device speaks that is not in it.
    pub(crate) fn list_for(&mut self, filters: Filters) {
        self.listed_for = Some(Arc::new(filters));
    }

    /// Takes what the ledger has, and begins passes over what is due.
    pub(crate) fn look(&mut self, known: Known, now: Micros) -> Vec<Change> {
        self.known.extend(known.devices);
        let mut changes = Vec::new();
        for (fill, pieces) in known.fills {
            let pieces: Vec<Span> = pieces.iter().map(|piece| (piece.begins, piece.ends)).collect();
            let key = (fill.asked_at, fill.id);
            if !self.fills.contains_key(&key) && (fill.by_hand || !self.only_by_hand) {
                let active = Active::new(fill.filters, pieces, fill.look_back, fill.devices);
                self.fills.insert(key, Active { waits_for: fill.but, ..active });
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
        self.find_devices();
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
        let mut due: Vec<(Arc<Filters>, Micros, Vec<Due>)> = Vec::new();
        for gap in gaps.iter().filter(|gap| gap.state != GapState::Lost && !is_not_in_history(&gap.filters)) {
            let at_work = self.fills.values().filter(|active| active.filters.hold(&gap.filters));
            let at_work = merged(at_work.flat_map(|active| active.pieces.iter().copied()).collect());
            for (begins, ends) in between(&at_work, (gap.span.0.max(retained), gap.span.1)) {
                let Some((at, look_back)) = self.next_pass(gap, (begins, ends), now) else { continue };
                if at > now {
                    self.waits |= look_back == 0 && !gap.lasts;
                    self.due_at = Some(self.due_at.map_or(at, |before| before.min(at)));
                    continue;
                }
                let ends = if gap.lasts { now - self.passes.index_delay } else { ends };
                let confirms = self.passes.confirm_after.last().is_none_or(|last| now >= ends.saturating_add(*last))
                    || fault::leaves_out("filled is confirmed later");
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
            let mut group: Vec<Due> = Vec::new();
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
    pub(crate) fn by_hand(&mut self, id: i64, filters: &Arc<Filters>, pieces: Vec<Due>, now: Micros, changes: &mut Vec<Change>) {
        self.pass(id, filters, 0, true, pieces, now, changes);
    }

    #[expect(clippy::too_many_arguments, reason = "all that makes a pass")]
    fn pass(
        &mut self,
        id: i64,
        filters: &Arc<Filters>,
        look_back: Micros,
        by_hand: bool,
        pieces: Vec<Due>,
        now: Micros,
        changes: &mut Vec<Change>,
    ) {
        if pieces.is_empty() {
            return;
        }
        let spans = pieces.iter().map(|(begins, ends, _)| (*begins, *ends)).collect();
        let mut active = Active::new(Arc::clone(filters), spans, look_back, 0);
        active.pending = devices_of(&self.lists, &self.known, filters).cloned().collect();
        self.fills.insert((now, id), active);
        let (project, filters) = (self.project.clone(), (**filters).clone());
        changes.push(Change::Asks(Fill { id, project, filters, by_hand, asked_at: now, look_back, pieces }));
        if self.closed.failures > 0 {
            let why = self.closed.why.clone();
            self.wait_for(&why, |_, _| true, changes);
        }
    }

    /// Notes why passes do not get on; of each pass once for each reason.
    fn wait_for(&mut self, why: &str, concerns: impl Fn(&i64, &Active) -> bool, changes: &mut Vec<Change>) {
        let concerned =
            self.fills.iter_mut().filter(|((_, id), active)| concerns(id, active) && active.waits_for.as_deref() != Some(why));
        let mut fills = Vec::new();
        for ((_, id), active) in concerned {
            active.waits_for = Some(why.to_owned());
            fills.push(*id);
        }
        if !fills.is_empty() {
            changes.push(Change::Waits(fills, why.to_owned()));
        }
    }

    /// The next thing to ask, if anything can be asked now.
    pub(crate) fn next(&mut self, now: Micros) -> Option<Job> {
        let stops = fault::leaves_out("a failing device is passed by") && self.devices.values().any(|again| again.failures > 0);
        if self.closed.at > now || stops {
            return None;
        }
        let wanted: Vec<Arc<Filters>> = self.fills.values().map(|active| Arc::clone(&active.filters)).collect();
        for filters in self.listed_for.clone().into_iter().chain(wanted) {
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
        let (first, device) = self
            .fills
            .values()
            .find_map(|active| active.pending.iter().find(|device| ready(device)).map(|device| (active, device.clone())))?;
        // All that is wanted of it and lies near.
        let filters = Arc::clone(&first.filters);
        let mut near: Vec<(&i64, &Active)> = self.fills.iter().map(|((_, id), active)| (id, active)).collect();
        near.retain(|(_, active)| active.filters == filters && active.pending.contains(&device));
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
                self.find_devices();
                self.end(now, &mut changes);
            }
            Err((why, least)) => {
                list.again.failed(&why, least, now);
                self.wait_for(&format!("no device list: {why}"), |_, active| active.filters == *filters, &mut changes);
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
                let text = format!("device {device}: {why}");
                let concerned = |id: &i64, active: &Active| ids.contains(id) && (is_news || active.waits_for.is_none());
                if is_news || self.fills.iter().any(|((_, id), active)| concerned(id, active)) {
                    changes.push(Change::Device { device, outcome: Outcome::Failed(why), fills: none() });
                }
                self.wait_for(&text, concerned, &mut changes);
                return changes;
            }
            Answer::Closed(why, least) => {
                // Several are under way: one word of it is enough.
                if self.closed.at <= now {
                    self.closed.failed(&why, least, now);
                    self.wait_for(&why, |_, _| true, &mut changes);
                }
                return changes;
            }
        };
        (self.closed, _) = (Again::default(), self.devices.remove(&ask.device));
        for ((_, id), active) in &mut self.fills {
            if ids.contains(id) {
                active.pending.remove(&ask.device);
                active.settled.insert(ask.device.clone(), settled.clone());
            }
        }
        self.end(now, &mut changes);
        changes
    }

    /// Ends passes that are done; those that are too old for the history are done as well, but for what they lack.
    fn end(&mut self, now: Micros, changes: &mut Vec<Change>) {
        let mut done = Vec::new();
        for (key, active) in &mut self.fills {
            let list = self.lists.iter().find(|(filters, _)| *filters == active.filters).map(|(_, list)| list);
            let devices = (active.settled.len() + active.pending.len()) as u64;
            let is_listed = list.is_some_and(|list| list.at.is_some());
            let is_too_old = active.window.1 < now - RETENTION;
            if is_listed && active.announced != devices {
                changes.push(Change::Asked(key.1, devices));
                active.announced = devices;
            }
            let is_given_up = fault::leaves_out("each device is asked") && active.settled.values().any(Option::is_some);
            if is_too_old || (is_listed && active.pending.is_empty()) || is_given_up {
                done.push((*key, active.but(&self.devices)));
            }
        }
        for (key, but) in done {
            self.fills.remove(&key);
            // Whether more is to come of it, the ledger tells.
            self.due_at = Some(now);
            changes.push(Change::Filled { fill: key.1, but });
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
            let fails = |device: &String| self.devices.get(device).is_some_and(|again| again.failures >= STUCK);
            self.closed.failures >= STUCK
                || list.is_some_and(|(_, list)| list.again.failures >= STUCK)
                || (list.is_some_and(|(_, list)| list.at.is_some()) && active.pending.iter().all(fails))
        };
        !self.waits && self.asking.is_empty() && self.fills.values().all(is_stuck)
    }

    /// Devices that are settled, and how many there are, over all passes; none while there is nothing to do.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        let of = |active: &Active| (active.settled.len() as u64, (active.settled.len() + active.pending.len()) as u64);
        let sums = self.fills.values().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (!self.fills.is_empty()).then_some(sums)
    }

    /// Which devices each pass has still to ask.
    fn find_devices(&mut self) {
        for active in self.fills.values_mut() {
            let devices = devices_of(&self.lists, &self.known, &active.filters);
            let settled = &active.settled;
            active.pending = devices.filter(|device| !settled.contains_key(*device)).cloned().collect();
        }
    }

    fn list(&mut self, filters: &Arc<Filters>) -> &mut List {
        let at = self.lists.iter().position(|(of, _)| of == filters).unwrap_or_else(|| {
            self.lists.push((Arc::clone(filters), List::default()));
            self.lists.len() - 1
        });
        &mut self.lists[at].1
    }
}

/// Devices of the list, and of what the recording knows or the filters name, since some have left the list.
fn devices_of<'a>(
    lists: &'a [(Arc<Filters>, List)],
    known: &'a BTreeSet<String>,
    filters: &'a Filters,
) -> impl Iterator<Item = &'a String> {
    let list = lists.iter().find(|(of, _)| **of == *filters);
    let listed = list.into_iter().flat_map(|(_, list)| &list.devices);
    let Filters { devices, device_types, labels, product_numbers, .. } = filters;
    let is_plain = device_types.is_empty() && labels.is_empty() && product_numbers.is_empty();
    let known = known.iter().filter(move |_| is_plain && devices.is_empty());
    listed.chain(known).chain(devices.iter().filter(move |_| is_plain))
}

impl Active {
    fn new(filters: Arc<Filters>, pieces: Vec<Span>, look_back: Micros, announced: u64) -> Self {
        let begins = pieces.iter().map(|piece| piece.0).min().unwrap_or_default();
        let ends = pieces.iter().map(|piece| piece.1).max().unwrap_or_default();
        let window = (begins.saturating_sub(look_back + OVERLAP), ends.saturating_add(OVERLAP));
        Self { filters, pieces, window, settled: HashMap::new(), pending: BTreeSet::new(), announced, waits_for: None }
    }

    /// What it could not bring.
    fn but(&self, failed: &HashMap<String, Again>) -> Option<String> {
        let mut parts = Vec::new();
        let refused: BTreeMap<&String, &String> =
            self.settled.iter().filter_map(|(device, why)| Some((device, why.as_ref()?))).collect();
        if let Some((device, why)) = refused.first_key_value() {
            let devices = counted(refused.len() as u64, "device");
            parts.push(format!("{devices} that the cloud refuses ({device}: {why})"));
        }
        if let Some(device) = self.pending.first() {
            let why = failed.get(device).map_or("it was never asked", |again| &again.why);
            parts.push(format!("{} that never answered ({device}: {why})", counted(self.pending.len() as u64, "device")));
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

    const NOW: Micros = 100_000 * SECOND;

    fn passes() -> Passes {
        Passes { index_delay: 12 * SECOND, confirm_after: vec![3600 * SECOND, 86_400 * SECOND], look_back: 86_400 * SECOND }
    }

    fn gap(begins: Micros, ends: Micros) -> Gap {
        Gap {
            span: (begins, ends),
            lasts: false,
            cause: String::new(),
            state: GapState::Open,
            confirmed: false,
            why: None,
            events: 0,
            filters: Arc::default(),
            asked_at: None,
        }
    }

    fn known(gaps: &[Gap]) -> Known {
        Known { gaps: gaps.to_vec(), ..Known::default() }
    }

    /// A filler with a clock, and what it noted.
    struct Drive {
        filling: Filling,
        now: Micros,
        devices: Vec<String>,
        requests: usize,
        noted: Vec<Change>,
    }

    impl Drive {
        fn new(devices: usize) -> Self {
            let filling = Filling::new("p", passes(), false);
            let devices = (0..devices).map(|number| format!("d{number:04}")).collect();
            Self { filling, now: NOW, devices, requests: 0, noted: Vec::new() }
        }

        fn look(&mut self, gaps: &[Gap]) {
            let changes = self.filling.look(known(gaps), self.now);
            self.noted.extend(changes);
        }

        /// Carries out jobs, `most` of them, as `answer` says.
        fn work(&mut self, most: usize, mut answer: impl FnMut(&Ask) -> Answer) {
            for _ in 0..most {
                let Some(job) = self.filling.next(self.now) else { break };
                self.requests += 1;
                let changes = match job {
                    Job::List(filters) => self.filling.listed(&filters, Ok(self.devices.clone()), self.now),
                    Job::Ask(ask) => {
                        let answer = answer(&ask);
                        self.filling.answered(&ask, answer, self.now)
                    }
                };
                self.noted.extend(changes);
            }
        }

        fn filled<'a>(&'a self) -> Vec<Option<&'a str>> {
            let but = |change: &'a Change| if let Change::Filled { but, .. } = change { Some(but.as_deref()) } else { None };
            self.noted.iter().filter_map(but).collect()
        }
    }

    fn brought(ask: &Ask) -> Answer {
        Answer::Brought(ask.fills.iter().map(|(fill, _)| (*fill, Vec::new())).collect())
    }

    fn seconds(from: Micros, to: Micros) -> (Micros, Micros) {
        (from * SECOND, to * SECOND)
    }

    #[test]
    fn one_pass_over_the_devices_fills_all_gaps_that_are_due() {
        let mut it = Drive::new(60);
        let gaps: Vec<Gap> = (0..40).map(|at| gap(NOW - (100 - at) * SECOND, NOW - (100 - at) * SECOND + 500_000)).collect();
        it.look(&gaps);
        it.work(usize::MAX, brought);
        assert_eq!(it.requests, 1 + 60, "the list, and each device once");
        assert_eq!(it.filled().len(), 1);
    }

    #[test]
    fn a_gap_a_minute_of_many_devices_is_caught_up_with_by_one_pass_after_the_last() {
        let (mut it, mut gaps) = (Drive::new(1500), Vec::new());
        for minute in 1..=10 {
            it.now = NOW + minute * 60 * SECOND;
            gaps.push(gap(it.now - 20 * SECOND, it.now - 15 * SECOND));
            it.look(&gaps[gaps.len() - 1..]);
            // What the cloud's pace lets through in a minute.
            it.work(300, brought);
        }
        let before = it.requests;
        it.work(usize::MAX, brought);
        assert!(it.requests - before <= 1500, "{} requests after the last gap", it.requests - before);
        assert!(it.requests <= 4501, "{} requests in all", it.requests);
        assert!(it.filling.fills.is_empty());
    }

    #[test]
    fn a_gap_is_asked_for_when_the_history_has_it_and_again_an_hour_and_a_day_later() {
        let mut it = Drive::new(1);
        let (begins, ends) = (NOW - 60 * SECOND, NOW - SECOND);
        it.look(&[gap(begins, ends)]);
        assert!(it.filling.next(it.now).is_none() && it.filling.waits);
        it.now = it.filling.wake_at(it.now).unwrap();
        assert_eq!(it.now, ends + 12 * SECOND);
        let mut asked = Vec::new();
        let mut gap = gap(begins, ends);
        let mut windows = Vec::new();
        for _ in 0..3 {
            it.look(&[gap.clone()]);
            it.work(usize::MAX, |ask| {
                windows.push(ask.window);
                brought(ask)
            });
            asked.push(it.now - ends);
            (gap.state, gap.asked_at) = (GapState::Filled, Some(it.now));
            gap.confirmed = asked.len() == 3;
            it.look(&[gap.clone()]);
            let Some(next) = it.filling.wake_at(it.now) else { break };
            it.now = next;
        }
        assert_eq!(asked, [12 * SECOND, 3600 * SECOND, 86_400 * SECOND]);
        assert_eq!(windows[0], (begins - OVERLAP, ends + OVERLAP));
        assert_eq!(windows[1], (begins - OVERLAP - 86_400 * SECOND, ends + OVERLAP));
        let confirms = |change: &Change| matches!(change, Change::Asks(fill) if fill.pieces[0].2);
        let passes: Vec<bool> = it.noted.iter().filter(|change| matches!(change, Change::Asks(_))).map(confirms).collect();
        assert_eq!(passes, [false, false, true]);
    }

    #[test]
    fn nothing_waits_behind_a_device_that_is_refused_or_fails() {
        let mut it = Drive::new(5);
        let span = seconds(99_000, 99_010);
        it.look(&[gap(span.0, span.1)]);
        let answer = |ask: &Ask| match &*ask.device {
            "d0001" => Answer::Refused("HTTP 404".to_owned()),
            "d0002" => Answer::Failed("HTTP 500".to_owned()),
            _ => brought(ask),
        };
        it.work(usize::MAX, answer);
        let outcomes = it.noted.iter().filter(|change| matches!(change, Change::Device { outcome: Outcome::Done, .. })).count();
        assert_eq!((outcomes, it.filled().len()), (3, 0));
        // It comes again, and an earlier gap, found later, is asked for meanwhile.
        it.look(&[gap(span.0 - 100 * SECOND, span.0 - 90 * SECOND)]);
        it.work(usize::MAX, answer);
        let tried = |device: &str| {
            it.noted.iter().filter(|change| matches!(change, Change::Device { device: of, .. } if of == device)).count()
        };
        assert_eq!(tried("d0003"), 2);
        for _ in 0..3 {
            it.now = it.filling.wake_at(it.now).unwrap();
            it.work(usize::MAX, answer);
        }
        assert!(it.filling.is_settled() && it.filled().is_empty());
        it.now = it.filling.wake_at(it.now).unwrap();
        it.work(usize::MAX, |ask| if ask.device == "d0001" { Answer::Refused("HTTP 404".to_owned()) } else { brought(ask) });
        let filled = it.filled();
        assert!(
            !filled.is_empty() && filled.iter().all(|but| but.is_some_and(|but| but.contains("d0001: HTTP 404"))),
            "{filled:?}"
        );
    }

    #[test]
    fn devices_that_left_the_list_are_asked_as_well_unless_the_filters_leave_them_out() {
        let span = seconds(99_000, 99_010);
        let asked = |gap: Gap| {
            let mut it = Drive::new(1);
            let changes = it.filling.look(Known { devices: vec!["old".to_owned()], ..known(&[gap]) }, it.now);
            it.noted.extend(changes);
            let mut devices = Vec::new();
            it.work(usize::MAX, |ask| {
                devices.push(ask.device.clone());
                brought(ask)
            });
            devices
        };
        assert_eq!(asked(gap(span.0, span.1)), ["d0000", "old"]);
        let filters = |filters| Gap { filters: Arc::new(filters), ..gap(span.0, span.1) };
        assert_eq!(asked(filters(Filters { labels: vec!["room".to_owned()], ..Filters::default() })), ["d0000"]);
        assert_eq!(asked(filters(Filters { devices: vec!["x".to_owned()], ..Filters::default() })), ["d0000", "x"]);
    }

    #[test]
    fn who_closes_the_history_is_asked_again_later_and_not_for_ever_remembered() {
        let mut it = Drive::new(3);
        let span = seconds(99_000, 99_010);
        it.look(&[gap(span.0, span.1)]);
        it.work(usize::MAX, |_| Answer::Closed("HTTP 403".to_owned(), 0));
        assert!(it.noted.iter().any(|change| matches!(change, Change::Waits(_, why) if why == "HTTP 403")));
        let words = it.noted.len();
        for _ in 0..5 {
            it.now = it.filling.wake_at(it.now).unwrap();
            it.work(usize::MAX, |_| Answer::Closed("HTTP 403".to_owned(), 0));
        }
        assert_eq!(it.noted.len(), words, "told once");
        assert!(it.filling.is_settled());
        it.now = it.filling.wake_at(it.now).unwrap();
        it.work(usize::MAX, brought);
        assert_eq!(it.filled().len(), 1);
    }

    #[test]
    fn an_interrupted_pass_goes_on_where_it_was() {
        let fill = FillRow {
            id: 9,
            project: "p".to_owned(),
            filters: Arc::default(),
            by_hand: false,
            asked_at: NOW - SECOND,
            look_back: 0,
            devices: 3,
            done_at: None,
            but: None,
        };
        let piece = Piece { fill: 9, begins: NOW - 100 * SECOND, ends: NOW - 50 * SECOND, confirms: false, events: 0 };
        let mut it = Drive::new(3);
        let outcomes = vec![(9, "d0000".to_owned(), Outcome::Done), (9, "d0001".to_owned(), Outcome::Failed("x".to_owned()))];
        it.filling.look(Known { fills: vec![(fill, vec![piece])], outcomes, ..Known::default() }, it.now);
        let mut devices = Vec::new();
        it.work(usize::MAX, |ask| {
            devices.push(ask.device.clone());
            brought(ask)
        });
        assert_eq!(devices, ["d0001", "d0002"]);
        assert_eq!(it.filled().len(), 1);
    }

    #[test]
    fn what_a_failing_device_lacks_when_the_history_forgets_it_is_said() {
        let mut it = Drive::new(2);
        let span = seconds(99_000, 99_010);
        it.look(&[gap(span.0, span.1)]);
        it.work(usize::MAX, |ask| if ask.device == "d0001" { Answer::Failed("HTTP 500".to_owned()) } else { brought(ask) });
        it.now += RETENTION + DAY;
        it.look(&[]);
        assert!(
            it.filled()[0].is_some_and(|but| but.contains("1 device that never answered (d0001: HTTP 500)")),
            "{:?}",
            it.filled()
        );
    }
}
