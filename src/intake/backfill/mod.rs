//! Backfill: fills gaps from the cloud's history, while the stream goes on.
//!
//! `plan` decides and knows no I/O: what is asked, of which device, when, and what became of it. [`Filler`] is the async shell
//! around it: it looks into the ledger (on a thread of its own), asks, and hands the events on. A device is noted as done behind
//! its events, in the same queue, so an interrupted pass goes on where it was.

pub(crate) mod plan;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

use crate::base::error::plain;
use crate::base::text::{counted, printable};
use crate::base::time::{self, DAY, Micros, SECOND};
use crate::cloud::client::{Cloud, CloudFailure};
use crate::cloud::history::{self, Listing, Pace, Walk};
use crate::model::decode::Collector;
use crate::model::event::Source;
use crate::model::framing::Frame;
use crate::model::layout::Layout;
use crate::model::settings::{Filters, Mask};
use crate::query::coverage::{RETENTION, Span};
use crate::store::buffer::{BufferError, Change, Records, View};
use crate::store::writer::{Claim, Command, Phase, WriterHandle, shutdown_requested};

use plan::{Answer, Ask, Due, Filling, Job, Known};

pub use plan::Passes;
pub use request::Request;

/// How often to look for gaps when nobody tells of one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often to look whether somebody asked for something.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// Tries of one page, and the wait between them; what fails then is tried again later, behind the others.
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(500);
/// So often a device is begun anew whose page token has died on the way.
const FRESH: u32 = 5;
/// The ledger is looked at as far back as the history reaches, and some.
const LOOK_BACK: Micros = RETENTION + 2 * DAY;

/// Fills the gaps of one project.
#[derive(Debug, Clone)]
pub struct Filler {
    /// The project.
    pub project: String,
    /// Which events are recorded of it; for the device list, and for what is read of all the history.
    pub filters: Filters,
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// The cloud's pace, and the room for its pages, shared by all projects.
    pub pace: Arc<Pace>,
    /// To the writer.
    pub writer: WriterHandle,
    /// The recording.
    pub layout: Layout,
    /// How the history is asked.
    pub passes: Passes,
    /// How often to read all of the history anew.
    pub reconcile: Option<Duration>,
}

/// What passes fill that have begun here.
type Pieces = BTreeMap<i64, Vec<Due>>;

/// Why the cloud did not answer, and what that means for others.
enum Failure {
    /// For this device, for good.
    Refused(String),
    /// For this device, for now.
    Failed(String),
    /// A page token has died on the way.
    Expired(String),
    /// For all.
    Closed(String, Micros),
}

/// What a job brought.
enum Done {
    Listed(Arc<Filters>, Result<Vec<String>, (String, Micros)>),
    Answered(Ask, Answer),
}

impl Filler {
    /// Fills gaps until told to stop. With `finish`, ends when no gap is left that could be filled soon.
    pub async fn run(self, gaps: Arc<Notify>, finish: watch::Receiver<bool>, stop: watch::Receiver<Phase>) {
        let mut filling = Filling::new(&self.project, self.passes.clone(), false);
        filling.list_for(self.filters.clone());
        self.fill(filling, BTreeMap::new(), gaps, finish, stop).await;
    }

    /// Brings what was asked for by hand; ends when that is done, or does not get on.
    pub async fn bring(self, request: Request, stop: watch::Receiver<Phase>) {
        let mut filling = Filling::new(&self.project, self.passes.clone(), true);
        let mut told_of = BTreeMap::new();
        self.take(&request, &mut filling, &mut told_of).await;
        let (_finishing, finish) = watch::channel(true);
        self.fill(filling, told_of, Arc::default(), finish, stop).await;
    }

    async fn fill(
        self,
        mut filling: Filling,
        mut told_of: Pieces,
        gaps: Arc<Notify>,
        mut finish: watch::Receiver<bool>,
        mut stop: watch::Receiver<Phase>,
    ) {
        // Tasks of their own: one that was given a place in the writer's queue takes it, whatever is waited for here.
        let mut jobs: JoinSet<Done> = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut asked = tokio::time::interval(ASKED_EVERY);
        let mut is_deaf = false;
        let (mut is_looking, mut lasts, mut was_finishing, mut looked) = (true, true, false, time::moment());
        while lasts {
            let before = std::mem::replace(&mut looked, time::moment());
            if looked.step_since(before).abs() > time::STEP {
                filling.clock_was_set();
                is_looking = true;
            }
            // What is left is seen by a look behind the end, and by none that was under way.
            let is_finishing = *finish.borrow();
            is_looking |= is_finishing && !std::mem::replace(&mut was_finishing, is_finishing);
            if std::mem::take(&mut is_looking) || filling.is_due(time::now()) {
                if self.writer.meter.pressure.take_stranger() {
                    filling.met_a_stranger(time::now());
                }
                match self.look().await {
                    Ok(known) => {
                        let changes = filling.look(known, time::now());
                        self.note(&mut told_of, changes).await;
                    }
                    Err(error) => self.say(&error.to_string()),
                }
            }
            while let Some(job) = filling.next(time::now()) {
                jobs.spawn(self.clone().carry_out(job));
            }
            self.writer.meter.backfill(filling.progress());
            if is_finishing && jobs.is_empty() && filling.is_settled() {
                break;
            }
            let wake = filling.wake_at(time::now()).map(|at| time::duration(at - time::now()));
            tokio::select! {
                biased;
                _ = shutdown_requested(&mut stop) => lasts = false,
                Some(done) = jobs.join_next() => {
                    let changes = match done {
                        Ok(Done::Listed(filters, listed)) => filling.listed(&filters, listed, time::now()),
                        Ok(Done::Answered(ask, answer)) => filling.answered(&ask, answer, time::now()),
                        Err(error) => return self.say(&format!("it ends here: {error}")),
                    };
                    // What follows a pass, another one or the end, is due from then on.
                    is_looking |= changes.iter().any(|change| matches!(change, Change::Filled { .. }));
                    self.note(&mut told_of, changes).await;
                }
                () = gaps.notified() => is_looking = true,
                _ = looks.tick() => {
                    is_looking = true;
                    let changes = self.reconcile(&mut filling);
                    self.note(&mut told_of, changes).await;
                }
                () = tokio::time::sleep(wake.unwrap_or(LOOK_EVERY)), if wake.is_some() => is_looking = filling.is_due(time::now()),
                _ = asked.tick() => {
                    match Request::waiting(&self.layout, &self.project) {
                        Ok(requests) => {
                            for request in requests {
                                self.take(&request, &mut filling, &mut told_of).await;
                                is_looking = true;
                            }
                            is_deaf = false;
                        }
                        // Once, and not every second.
                        Err(error) if !std::mem::replace(&mut is_deaf, true) => self.say(&error.to_string()),
                        Err(_) => {}
                    }
                }
                changed = finish.changed(), if !is_finishing => is_looking = changed.is_ok(),
            }
        }
        self.writer.meter.backfill(None);
    }

    fn say(&self, text: &str) {
        self.writer.meter.note(time::now(), format!("{}: backfill: {text}", self.project));
    }

    /// Hands changes of the ledger on, and says what people should know of them.
    async fn note(&self, told_of: &mut Pieces, changes: Vec<Change>) {
        for change in changes {
            match &change {
                Change::Asks(fill) => drop(told_of.insert(fill.id, fill.pieces.clone())),
                Change::Waits(_, why) => self.say(&format!("a gap cannot be filled yet: {why}")),
                Change::Filled { fill, but } => {
                    let pieces = told_of.remove(fill).unwrap_or_default();
                    let seconds: Micros = pieces.iter().map(|(begins, ends, _)| ends - begins).sum::<Micros>() / SECOND;
                    let but = but.as_deref().map_or_else(String::new, |but| format!(", {but}"));
                    let what = match pieces.len() {
                        0 => "what was begun earlier is".to_owned(),
                        1 => format!("a span of {seconds} s is"),
                        spans => format!("{} of {seconds} s in all are", counted(spans as u64, "span")),
                    };
                    self.say(&format!("{what} filled from the history{but}"));
                }
                _ => {}
            }
            self.writer.send(Command::Note(change)).await;
        }
    }

    /// What the ledger has, once everything that was ordered so far stands in it. On a thread of its own: a ledger of ten years
    /// must not hold the network up.
    async fn look(&self) -> Result<Known, BufferError> {
        self.all_carried_out().await;
        let (layout, project) = (self.layout.clone(), self.project.clone());
        let look = move || -> Result<Known, BufferError> {
            let (view, now) = (View::open(&layout)?, time::now());
            let records = view.records(Some(now - LOOK_BACK))?;
            known(&view, &records, &project, now)
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Ok(Known::default()))
    }

    /// Takes what somebody asked for by hand: what of it is new becomes a pass.
    async fn take(&self, request: &Request, filling: &mut Filling, told_of: &mut Pieces) {
        self.all_carried_out().await;
        let now = time::now();
        // Nothing is in the history that has not happened.
        let (begins, ends) = (request.begins.max(now - RETENTION), request.ends.min(now));
        let request = Request { begins, ends, ..request.clone() };
        let mut changes = Vec::new();
        let layout = self.layout.clone();
        let read = move || View::open(&layout).and_then(|view| view.records(None));
        match tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Ok(Records::default())) {
            Ok(records) => {
                let pieces = request.new_of(&records).into_iter().map(|(begins, ends)| (begins, ends, false)).collect();
                filling.by_hand(request.id, &Arc::new(request.filters.clone()), pieces, now, &mut changes);
            }
            Err(error) => return self.say(&error.to_string()),
        }
        self.note(told_of, changes).await;
        // It stands in the ledger before the file goes.
        self.all_carried_out().await;
        if let Err(error) = request.remove(&self.layout) {
            self.say(&error.to_string());
        }
    }

    /// Waits until everything ordered so far is in the buffer.
    async fn all_carried_out(&self) {
        let (done, reached) = oneshot::channel();
        self.writer.send(Command::AsyncBarrier(done)).await;
        // The sender is dropped when the order is.
        drop(reached.await);
    }

    async fn carry_out(self, job: Job) -> Done {
        match job {
            Job::List(filters) => {
                let listed = match self.devices(&filters).await {
                    Ok(devices) => Ok(devices),
                    Err(Failure::Refused(why) | Failure::Failed(why) | Failure::Expired(why)) => Err((why, 0)),
                    Err(Failure::Closed(why, least)) => Err((why, least)),
                };
                Done::Listed(filters, listed)
            }
            Job::Ask(ask) => {
                let answer = match self.device(&ask).await {
                    Ok(brought) => Answer::Brought(brought),
                    Err(Failure::Refused(why)) => Answer::Refused(why),
                    Err(Failure::Failed(why) | Failure::Expired(why)) => Answer::Failed(why),
                    Err(Failure::Closed(why, least)) => Answer::Closed(why, least),
                };
                Done::Answered(ask, answer)
            }
        }
    }

    /// Ids of all devices, which are also noted in the recording.
    async fn devices(&self, filters: &Filters) -> Result<Vec<String>, Failure> {
        let (mut all, mut faulty, mut walk) = (Listing::new(&self.pace), 0, Walk::default());
        loop {
            let list = self.patiently(&walk, || history::devices(&self.cloud, &self.pace, &self.project, filters, &walk)).await?;
            faulty += list.faulty;
            all.extend(list.devices).map_err(|failure| Failure::Refused(text(&failure)))?;
            let Some(next) = list.next else { break };
            walk.follow(next).map_err(|failure| Failure::Refused(text(&failure)))?;
        }
        if faulty > 0 {
            self.say(&format!("{faulty} entries of the device list are no devices, or too large: left out"));
        }
        if all.devices.is_empty() && (!filters.devices.is_empty() || !filters.labels.is_empty()) {
            // A typing error records nothing, all night.
            self.say("no device of the list has what --device or --label asks for");
        }
        let ids: Vec<String> = all.devices.iter().map(|device| device.id.clone()).collect();
        self.writer.meter.pressure.list(ids.iter().cloned());
        let rows = std::mem::take(&mut all.devices);
        self.writer.send(Command::Note(Change::Devices(self.project.clone(), rows))).await;
        Ok(ids)
    }

    /// Everything that the history has of a device in a window, newest first; gives how much of it lies in which span.
    async fn device(&self, ask: &Ask) -> Result<Vec<(i64, Vec<(Micros, u64)>)>, Failure> {
        let mut fresh = 0;
        loop {
            match self.walk(ask).await {
                // The device is begun anew.
                Err(Failure::Expired(_)) if fresh < FRESH => fresh += 1,
                result => return result,
            }
        }
    }

    async fn walk(&self, ask: &Ask) -> Result<Vec<(i64, Vec<(Micros, u64)>)>, Failure> {
        let fills: Vec<i64> = ask.fills.iter().map(|(fill, _)| *fill).collect();
        let mut collector = Collector::new(Arc::clone(&self.writer.registry), Source::History);
        let (mut walk, mut mask) = (Walk::default(), Mask::default());
        let mut counts = Counts::new(ask);
        let window = for_both_clocks(ask.window, self.cloud.clock_ahead().unwrap_or_default().saturating_mul(SECOND));
        loop {
            let types = &ask.filters.event_types;
            let page = self
                .patiently(&walk, || history::page(&self.cloud, &self.pace, &self.project, &ask.device, window, types, &walk))
                .await?;
            let received_at = time::now();
            // What was collected may be of pages that were signed otherwise.
            mask.add(page.mask.clone());
            for event in page.events() {
                counts.add(event);
                collector.add(&Frame::Line(event.as_bytes()), received_at);
                if collector.is_full() {
                    self.keep(&mut collector, &mask, &fills).await?;
                }
            }
            let Some(next) = page.next else { break };
            walk.follow(next).map_err(|failure| Failure::Failed(text(&failure)))?;
        }
        self.keep(&mut collector, &mask, &fills).await?;
        Ok(counts.by_fill)
    }

    async fn keep(&self, collector: &mut Collector, mask: &Mask, fills: &[i64]) -> Result<(), Failure> {
        if collector.is_empty() {
            return Ok(());
        }
        let batch = collector
            .take_masked(mask)
            .map_err(|error| Failure::Failed(format!("a batch could not be built: {}", plain(&error))))?;
        self.writer.send(Command::Keep(batch, Claim::Fills(fills.to_vec()))).await;
        Ok(())
    }

    /// Asks a few times; what fails then is tried again behind others.
    async fn patiently<T, F: Future<Output = Result<T, CloudFailure>>>(
        &self,
        walk: &Walk,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        let (mut renewed, mut tries) = (false, 0);
        loop {
            let failure = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let why = text(&failure);
            let least = failure.retry_after().map_or(0, time::micros);
            tries += 1;
            match failure.status() {
                Some(401) if !std::mem::replace(&mut renewed, true) => self.cloud.renew().await,
                _ if walk.has_expired(&failure) => return Err(Failure::Expired(why)),
                Some(401 | 403) => return Err(Failure::Closed(why, least)),
                Some(400 | 404) => return Err(Failure::Refused(why)),
                Some(429) => return Err(Failure::Closed(why, least.max(SECOND))),
                _ if matches!(failure, CloudFailure::Unfit(_)) => return Err(Failure::Refused(why)),
                _ if tries < TRIES => tokio::time::sleep(BETWEEN * tries).await,
                Some(500) => return Err(Failure::Failed(why)),
                _ => return Err(Failure::Closed(why, least)),
            }
        }
    }

    /// From time to time, if wanted, reads all of the history: a sensor that was out of reach sends its readings late, with
    /// their old times, perhaps while nobody listened.
    fn reconcile(&self, filling: &mut Filling) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(every) = self.reconcile else { return changes };
        let (now, project) = (time::now(), self.project.clone());
        let known = View::open(&self.layout).and_then(|view| Ok((view.reconciled_at(&project)?, view.pruned_before()?)));
        let (last, pruned) = match known {
            Ok(known) => known,
            Err(error) => {
                self.say(&error.to_string());
                return changes;
            }
        };
        if last.is_some_and(|last| now - last < time::micros(every)) {
            return changes;
        }
        if last.is_some() {
            let begins = (now - RETENTION + SECOND).max(pruned.unwrap_or(Micros::MIN));
            let pieces = vec![(begins, now - self.passes.index_delay, false)];
            filling.by_hand(plan::fresh_id(), &Arc::new(self.filters.clone()), pieces, now, &mut changes);
        }
        changes.push(Change::Reconciled(project, now));
        changes
    }
}

/// What the ledger has of a project.
///
/// # Errors
/// When it does not read.
pub(crate) fn known(view: &View, records: &Records, project: &str, now: Micros) -> Result<Known, BufferError> {
    let mut time = crate::query::coverage::timeline(records, view.has_writer().then(|| view.id()), now);
    let gaps = time.projects.iter_mut().find(|it| it.name == project).map(|it| std::mem::take(&mut it.gaps));
    let unfinished = records.fills.values().filter(|fill| fill.project == project && fill.done_at.is_none());
    let fills = unfinished.map(|fill| {
        let pieces = records.pieces.iter().filter(|piece| piece.fill == fill.id).cloned().collect();
        (fill.clone(), pieces)
    });
    Ok(Known {
        gaps: gaps.unwrap_or_default(),
        fills: fills.collect(),
        outcomes: view.outcomes(project)?,
        devices: view.known_devices(project)?,
    })
}

/// Counts events by the spans that they lie in.
struct Counts<'a> {
    spans: Vec<(usize, &'a Span)>,
    by_fill: Vec<(i64, Vec<(Micros, u64)>)>,
}

impl<'a> Counts<'a> {
    fn new(ask: &'a Ask) -> Self {
        let spans = ask.fills.iter().enumerate().flat_map(|(at, (_, spans))| spans.iter().map(move |span| (at, span)));
        Self { spans: spans.collect(), by_fill: ask.fills.iter().map(|(fill, _)| (*fill, Vec::new())).collect() }
    }

    fn add(&mut self, event: &str) {
        #[derive(Deserialize)]
        struct Timed<'a> {
            #[serde(borrow)]
            timestamp: std::borrow::Cow<'a, str>,
        }
        let Ok(Timed { timestamp }) = serde_json::from_str(event) else { return };
        let Some(time) = time::parse_rfc3339(timestamp.as_bytes()).map(|parsed| parsed.time) else { return };
        for (at, span) in self.spans.iter().filter(|(_, span)| (span.0..span.1).contains(&time)) {
            let counts = &mut self.by_fill[*at].1;
            match counts.iter_mut().find(|(begins, _)| *begins == span.0) {
                Some((_, count)) => *count += 1,
                None => counts.push((span.0, 1)),
            }
        }
    }
}

/// A window wide enough for the cloud's clock too, which is that much ahead of ours.
pub(crate) fn for_both_clocks((begins, ends): Span, ahead: Micros) -> Span {
    (begins.saturating_add(ahead.min(0)), ends.saturating_add(ahead.max(0)))
}

fn text(failure: &CloudFailure) -> String {
    printable(&failure.to_string(), 300)
}
