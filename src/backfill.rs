//! Backfill: fills gaps from the cloud's history, while the stream goes on.
//!
//! A gap is filled device by device, a few at a time, within the cloud's pace. The span is widened by ten seconds on both
//! sides, and the index is given time to catch up; the roll drops what the stream had brought already. Each device that is
//! done is noted behind its events, in the same queue, so an interrupted backfill goes on where it was.
//!
//! A gap is filled only by who asks for at least what was being recorded when it began: it would be called filled, and hold
//! less. Others leave it open.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::{Notify, oneshot, watch};

use crate::backoff::Backoff;
use crate::buffer::{BufferError, Gap, GapState, Session, View};
use crate::collect::Collector;
use crate::event::{DeviceRow, Source, printable};
use crate::keep::{Order, Outlet};
use crate::layout::Layout;
use crate::settings::{Filters, Mask};
use crate::sources::cloud::{Cloud, CloudFailure};
use crate::sources::history::{self, Device, Pace, Walk};
use crate::time::{self, DAY, Micros, SECOND};
use crate::wire::Frame;

/// A gap is widened by so much on both sides.
const OVERLAP: Micros = 10 * SECOND;
/// The cloud's history holds so much.
const RETENTION: Micros = 31 * DAY;
/// Devices asked for side by side.
const PARALLEL: usize = 4;
/// How often to look for gaps when nobody tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often the device list is asked for anew.
const LIST_EVERY: Duration = Duration::from_hours(24);
/// When a device speaks that is not in the list, it is asked for anew, but not more often than this.
const LIST_AGAIN: Duration = Duration::from_mins(1);
/// Events in one commit.
const COMMIT_EVENTS: usize = 5000;
/// Bytes of events in one commit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// Devices of one project, and what they take in memory: more is a list that does not end.
const DEVICES_MAX: usize = 100_000;
const DEVICES_BYTES: usize = 64 * 1024 * 1024;
/// The one event type that the history does not hold.
const NOT_IN_HISTORY: &str = "labelsChanged";

/// Cause of a gap that somebody asked to fill; with filters, they follow.
const ASKED: &str = "asked for";
/// What stands between it and the event types.
const ASKED_TYPES: &str = ": event types ";

/// Cause of a gap that is asked for with these event types.
pub fn asked_for(event_types: &[String]) -> String {
    let mut types: Vec<&str> = event_types.iter().map(String::as_str).collect();
    types.sort_unstable();
    types.dedup();
    if types.is_empty() { ASKED.to_owned() } else { format!("{ASKED}{ASKED_TYPES}{}", types.join(", ")) }
}

/// What a filler has to ask for, so that a gap is filled: all that the session asked for that ended at its beginning, or what
/// the gap was asked for with. Where no session ended, the sessions that the gap touches, else the next one, say what is
/// recorded; where none says anything, it was everything.
fn needs(gap: &Gap, sessions: &[Session]) -> Vec<Filters> {
    if let Some(with) = gap.cause.strip_prefix(ASKED) {
        let types = with.strip_prefix(ASKED_TYPES).unwrap_or_default();
        let event_types = types.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        return vec![Filters { event_types, ..Filters::default() }];
    }
    let ends = gap.ends.unwrap_or(Micros::MAX);
    let of = |is_meant: &dyn Fn(&Session) -> bool| -> Vec<&Session> {
        sessions.iter().filter(|session| session.project == gap.project && is_meant(session)).collect()
    };
    let mut meant = of(&|session| session.spoke_at == gap.begins);
    if meant.is_empty() {
        meant = of(&|session| session.spoke_at >= gap.begins - OVERLAP && session.opened_at <= ends);
    }
    if meant.is_empty() {
        meant = of(&|session| session.opened_at > ends);
        meant.truncate(1);
    }
    if meant.is_empty() {
        return vec![Filters::default()];
    }
    meant.iter().map(|session| serde_json::from_str(&session.filters).unwrap_or_default()).collect()
}

/// Whether nothing that passes can be in the history.
fn is_not_in_history(filters: &Filters) -> bool {
    let types = &filters.event_types;
    !types.is_empty() && types.iter().all(|name| name == NOT_IN_HISTORY)
}

/// Why a gap could not be filled now.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The recorder stops; the gap is filled the next time.
    #[error("stopped before the gap was filled")]
    Stopped,
    /// The cloud does not give the history, and will not.
    #[error("{0}")]
    Refused(String),
    /// The account may not read the history, until somebody permits it.
    #[error("{0}")]
    Forbidden(String),
}

/// Fills the gaps of one project.
#[derive(Debug)]
pub struct Filler {
    /// The project.
    pub project: String,
    /// Which events are recorded of it.
    pub filters: Filters,
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// The cloud's pace, and the room for its pages, shared by all projects.
    pub pace: Arc<Pace>,
    /// To the keeper.
    pub outlet: Outlet,
    /// The recording.
    pub layout: Layout,
    /// An event is in the history at the latest so long after it happened.
    pub index_delay: Duration,
    /// How often to read all of the history anew.
    pub reconcile: Option<Duration>,
}

impl Filler {
    /// Fills gaps until told to stop. With `finish`, ends when no gap is left that could be filled.
    pub async fn run(self, gaps: Arc<Notify>, mut finish: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
        let mut listed: Option<Instant> = None;
        let mut passed = HashSet::new();
        loop {
            let last = *finish.borrow();
            if last {
                // What the streams ordered when they left must be in the ledger before it is read.
                self.all_carried_out().await;
            }
            let filled = tokio::select! {
                filled = self.list_and_fill(&mut listed, &mut passed) => filled,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match filled {
                // Meanwhile another one may have ended.
                Ok(1..) => continue,
                Ok(0) => {}
                Err(error) => self.outlet.meter.note(time::now(), format!("{}: backfill: {error}", self.project)),
            }
            if last {
                return;
            }
            tokio::select! {
                () = gaps.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = finish.wait_for(|finish| *finish) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn list_and_fill(&self, listed: &mut Option<Instant>, passed: &mut HashSet<i64>) -> Result<usize, BackfillError> {
        let stranger = self.outlet.meter.parts().stranger;
        if listed.is_none_or(|at| at.elapsed() >= if stranger { LIST_AGAIN } else { LIST_EVERY }) {
            *listed = Some(time::instant());
            self.outlet.meter.update(|parts| parts.stranger = false);
            match self.devices().await {
                // A typing error records nothing, all night.
                Ok(devices) if devices.is_empty() && (!self.filters.devices.is_empty() || !self.filters.labels.is_empty()) => {
                    let text = format!("{}: no device of the list has what --device or --label asks for", self.project);
                    self.outlet.meter.note(time::now(), text);
                }
                Ok(_) => {}
                Err(error) => self.outlet.meter.note(time::now(), format!("{}: no device list: {error}", self.project)),
            }
        }
        let filled = self.fill(passed).await?;
        if filled == 0 {
            self.reconcile().await?;
        }
        Ok(filled)
    }

    /// From time to time, if wanted, reads all of the history: a sensor that was out of reach sends its readings late, with
    /// their old times, perhaps while nobody listened.
    async fn reconcile(&self) -> Result<(), BackfillError> {
        let Some(every) = self.reconcile else { return Ok(()) };
        let (now, project) = (time::now(), self.project.clone());
        let last = View::open(&self.layout)?.reconciled_at(&project)?;
        if last.is_some_and(|last| now - last < time::micros(every)) {
            return Ok(());
        }
        if last.is_some() {
            let devices = self.devices().await?;
            let span = (now - RETENTION, now - time::micros(self.index_delay));
            let mut fills =
                futures_util::stream::iter(devices).map(|device| self.device(None, device, span)).buffer_unordered(PARALLEL);
            let mut events = 0;
            while let Some(brought) = fills.next().await {
                events += brought?;
            }
            self.outlet.meter.note(now, format!("{project}: reconciled with {events} events of the history"));
        }
        self.outlet.send(Order::Reconciled { project, at: now }).await;
        self.all_carried_out().await;
        Ok(())
    }

    /// Fills every gap that has ended, but for those passed by; gives their number. Gaps that others have to fill, or that need
    /// a permission first, are passed by from then on: told once, and not tried again and again.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn fill(&self, passed: &mut HashSet<i64>) -> Result<usize, BackfillError> {
        let (gaps, sessions) = {
            let view = View::open(&self.layout)?;
            (view.gaps()?, view.sessions()?)
        };
        let mut count = 0;
        let mine: Vec<(&Gap, Vec<Filters>)> =
            gaps.iter().filter(|gap| gap.project == self.project).map(|gap| (gap, needs(gap, &sessions))).collect();
        for (gap, needs) in mine.iter().filter(|(gap, _)| matches!(gap.state, GapState::Open | GapState::Filling)) {
            let Some(ends) = gap.ends else { continue };
            if passed.contains(&gap.id) {
                continue;
            }
            if !needs.iter().all(|need| self.filters.hold(need)) {
                passed.insert(gap.id);
                self.tell_other_filters(gap);
                continue;
            }
            count += 1;
            match self.fill_gap(gap, ends).await {
                Ok(events) => {
                    self.filled(gap, events).await;
                    self.found_again(gap, needs, &mine).await;
                }
                Err(BackfillError::Refused(why)) => self.stands(gap, GapState::Lost, Some(why)).await,
                Err(BackfillError::Forbidden(why)) => {
                    passed.insert(gap.id);
                    self.stands(gap, GapState::Open, Some(why)).await;
                }
                Err(error) => return Err(error),
            }
            self.outlet.meter.backfill(None);
        }
        if count > 0 {
            self.all_carried_out().await;
        }
        Ok(count)
    }

    fn tell_other_filters(&self, gap: &Gap) {
        let seconds = (gap.ends.unwrap_or(gap.begins) - gap.begins) / SECOND;
        let Filters { event_types, devices, device_types, labels, product_numbers } = &self.filters;
        let given = [
            ("--event-type", event_types),
            ("--device", devices),
            ("--device-type", device_types),
            ("--label", labels),
            ("--product-number", product_numbers),
        ];
        let flags =
            given.iter().filter(|(_, values)| !values.is_empty()).map(|(flag, _)| *flag).collect::<Vec<_>>().join(" and ");
        let (project, asked) = (&self.project, if gap.cause.starts_with(ASKED) { "asked for" } else { "recorded" });
        let text = format!("{project}: a gap of {seconds} s was {asked} with other filters; start without {flags} to fill it");
        self.outlet.meter.note(time::now(), text);
    }

    /// Lost gaps of which a filled one has brought everything are filled as well.
    async fn found_again(&self, filled: &Gap, brought: &[Filters], gaps: &[(&Gap, Vec<Filters>)]) {
        let from = filled.begins.max(time::now() - RETENTION);
        for (gap, needs) in gaps.iter().filter(|(gap, _)| gap.state == GapState::Lost) {
            let is_within = gap.begins >= from && gap.ends.is_some() && gap.ends <= filled.ends;
            let is_brought = |need: &Filters| !is_not_in_history(need) && brought.iter().any(|filters| filters.hold(need));
            if is_within && needs.iter().all(is_brought) {
                self.filled(gap, 0).await;
            }
        }
    }

    /// Waits until everything ordered so far is in the buffer.
    async fn all_carried_out(&self) {
        let (done, reached) = oneshot::channel();
        self.outlet.send(Order::Reached(done)).await;
        // The sender is dropped when the order is.
        drop(reached.await);
    }

    async fn fill_gap(&self, gap: &Gap, ends: Micros) -> Result<u64, BackfillError> {
        if is_not_in_history(&self.filters) {
            return Err(BackfillError::Refused(format!("{NOT_IN_HISTORY} is not in the history")));
        }
        if ends < time::now() - RETENTION {
            return Err(BackfillError::Refused("older than the 31 days that the history holds".to_owned()));
        }
        let ready = ends + OVERLAP.min(time::micros(self.index_delay)) + time::micros(self.index_delay);
        let wait = u64::try_from(ready - time::now()).unwrap_or_default();
        tokio::time::sleep(Duration::from_micros(wait)).await;
        self.stands(gap, GapState::Filling, None).await;
        let devices = self.devices().await?;
        let done: HashSet<String> = View::open(&self.layout)?.gap_devices_done(gap.id)?.into_iter().collect();
        let total = devices.len() as u64;
        let left: Vec<Device> = devices.into_iter().filter(|device| !done.contains(&device.id)).collect();
        let mut finished = total - left.len() as u64;
        let mut events = 0;
        self.outlet.meter.backfill(Some((finished, total)));
        let span = (gap.begins.max(time::now() - RETENTION) - OVERLAP, ends + OVERLAP);
        let mut fills =
            futures_util::stream::iter(left).map(|device| self.device(Some(gap.id), device, span)).buffer_unordered(PARALLEL);
        while let Some(brought) = fills.next().await {
            events += brought?;
            finished += 1;
            self.outlet.meter.backfill(Some((finished, total)));
        }
        Ok(gap.events + events)
    }

    async fn filled(&self, gap: &Gap, events: u64) {
        let types = &self.filters.event_types;
        // What was asked for a moment ago is not beyond it by the time it took to fill.
        let partly = gap.begins < time::now() - RETENTION - DAY / 24;
        let why = if partly {
            Some("what is older than 31 days is not in the history".to_owned())
        } else {
            let missing = types.is_empty() || types.iter().any(|name| name == NOT_IN_HISTORY);
            missing.then(|| format!("but for {NOT_IN_HISTORY}, which is not in the history"))
        };
        self.stands(gap, GapState::Filled, why).await;
        let seconds = (gap.ends.unwrap_or(gap.begins) - gap.begins) / SECOND;
        let text = format!("{}: a gap of {seconds} s is filled, with {events} events of the history", self.project);
        self.outlet.meter.note(time::now(), text);
    }

    async fn stands(&self, gap: &Gap, state: GapState, why: Option<String>) {
        if let (GapState::Lost | GapState::Open, Some(why)) = (state, &why) {
            self.outlet.meter.note(time::now(), format!("{}: a gap cannot be filled: {why}", self.project));
        }
        self.outlet.send(Order::GapStands { gap: gap.id, state, why }).await;
    }

    /// All devices, also noted in the recording.
    ///
    /// # Errors
    /// When the cloud does not list them, and will not.
    pub async fn devices(&self) -> Result<Vec<Device>, BackfillError> {
        let (mut all, mut bytes, mut faulty, mut walk) = (Vec::new(), 0, 0, Walk::default());
        loop {
            let list = self.patiently(|| history::devices(&self.cloud, &self.pace, &self.project, &self.filters, &walk)).await?;
            bytes += list.devices.iter().map(Device::bytes).sum::<usize>();
            faulty += list.faulty;
            all.extend(list.devices);
            if all.len() > DEVICES_MAX || bytes > DEVICES_BYTES {
                return Err(BackfillError::Refused(format!(
                    "the cloud lists more than {DEVICES_MAX} devices, or {DEVICES_BYTES} bytes of them"
                )));
            }
            let Some(next) = list.next else { break };
            walk.follow(next).map_err(refused)?;
        }
        if faulty > 0 {
            let text = format!("{}: {faulty} entries of the device list are no devices, or too large: left out", self.project);
            self.outlet.meter.note(time::now(), text);
        }
        self.outlet.meter.update(|parts| parts.devices.extend(all.iter().map(|device| device.id.clone())));
        let row = |device: &Device| DeviceRow {
            project: device.project.clone(),
            id: device.id.clone(),
            kind: device.kind.clone(),
            product_number: device.product_number.clone(),
            labels: serde_json::to_string(&device.labels).unwrap_or_default(),
        };
        self.outlet.send(Order::Devices(self.project.clone(), all.iter().map(row).collect())).await;
        Ok(all)
    }

    /// Everything that the history has of a device in a span, newest first; gives the number of events.
    async fn device(&self, gap: Option<i64>, device: Device, span: (Micros, Micros)) -> Result<u64, BackfillError> {
        let mut collector = Collector::new(Arc::clone(&self.outlet.registry), Source::History);
        let (mut events, mut walk, mut mask) = (0, Walk::default(), Mask::default());
        loop {
            let types = &self.filters.event_types;
            let page =
                self.patiently(|| history::page(&self.cloud, &self.pace, &self.project, &device.id, span, types, &walk)).await?;
            let received_at = time::now();
            // What was collected may be of pages that were signed otherwise.
            mask.add(page.mask.clone());
            for event in page.events() {
                events += 1;
                collector.add(&Frame::Line(event.as_bytes()), received_at);
                if collector.len() >= COMMIT_EVENTS || collector.bytes() >= COMMIT_BYTES {
                    self.keep(&mut collector, &mask).await;
                }
            }
            let Some(next) = page.next else { break };
            walk.follow(next).map_err(refused)?;
        }
        self.keep(&mut collector, &mask).await;
        // Behind its events in the queue: noted only when they are kept.
        if let Some(gap) = gap {
            self.outlet.send(Order::GapDeviceDone { gap, device: device.id, events }).await;
        }
        Ok(events)
    }

    async fn keep(&self, collector: &mut Collector, mask: &Mask) {
        match collector.take_masked(mask) {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => self.outlet.send(Order::Keep(batch)).await,
            Err(error) => self.outlet.meter.note(time::now(), format!("a batch could not be built and is lost: {error}")),
        }
    }

    /// Asks until there is an answer: what may pass is waited for, what will not pass is an error.
    async fn patiently<T, F: Future<Output = Result<T, CloudFailure>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, BackfillError> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let mut renewed = false;
        loop {
            let failure = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(failure @ CloudFailure::Unfit(_)) => return Err(refused(failure)),
                Err(failure) => failure,
            };
            match failure.status() {
                Some(401) if !std::mem::replace(&mut renewed, true) => self.cloud.renew().await,
                Some(401 | 403) => return Err(BackfillError::Forbidden(printable(&failure.to_string(), 300))),
                Some(400 | 404) => return Err(refused(failure)),
                _ => {
                    let wait = backoff.wait(fastrand::f64(), failure.retry_after());
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(failure: CloudFailure) -> BackfillError {
    BackfillError::Refused(printable(&failure.to_string(), 300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_needs_what_the_session_before_it_or_whoever_asked_for_it_asked_for() {
        let of = |types: &[&str]| Filters { event_types: types.iter().map(ToString::to_string).collect(), ..Filters::default() };
        let session = |opened_at: i64, spoke_at: i64, types: &[&str]| Session {
            source: "stream".to_owned(),
            project: "p".to_owned(),
            opened_at: opened_at * SECOND,
            spoke_at: spoke_at * SECOND,
            closed_at: None,
            cause: None,
            filters: serde_json::to_string(&of(types)).unwrap(),
        };
        let gap = |begins: i64, ends: i64, cause: &str| Gap {
            id: 1,
            project: "p".to_owned(),
            begins: begins * SECOND,
            ends: Some(ends * SECOND),
            cause: cause.to_owned(),
            state: GapState::Open,
            why: None,
            events: 0,
        };
        let sessions = [session(100, 200, &[]), session(300, 400, &["co2"]), session(900, 950, &["touch"])];
        assert_eq!(needs(&gap(200, 300, "crash"), &sessions), [of(&[])]);
        assert_eq!(needs(&gap(400, 900, "crash"), &sessions), [of(&["co2"])]);
        // It began with the recorder, which had no session yet.
        assert_eq!(needs(&gap(850, 901, "no connection"), &sessions), [of(&["touch"])]);
        assert_eq!(needs(&gap(500, 600, "no connection"), &sessions), [of(&["touch"])]);
        assert_eq!(needs(&gap(960_000, 970_000, "no connection"), &sessions), [of(&[])]);
        let types = ["touch".to_owned(), "co2".to_owned(), "co2".to_owned()];
        assert_eq!(needs(&gap(0, 999, &asked_for(&types)), &sessions), [of(&["co2", "touch"])]);
        assert_eq!(needs(&gap(0, 999, &asked_for(&[])), &sessions), [of(&[])]);
    }
}
