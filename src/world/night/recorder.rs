//! A recorder of a night, as one process lives: the real machine, sessions, filler, writer and roll, one after the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::base::disk::fault::{self, Script};
use crate::base::time::{Micros, Moment, SECOND};
use crate::cloud::client::Accept;
use crate::intake::backfill::plan::{Answer, Filling, Job};
use crate::intake::backfill::{Passes, for_both_clocks, known};
use crate::intake::stream::machine::{Act, End, Input, Machine, Plan, STOPPED};
use crate::intake::stream::session::Session;
use crate::model::decode::Collector;
use crate::model::event::Source;
use crate::model::framing::{Frame, Frames};
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::{Filters, Mask};
use crate::recorder::open_whole;
use crate::store::buffer::{Change, View};
use crate::store::meter::Meter;
use crate::store::roll::{Roller, Scope, Timing, Turn};
use crate::store::writer::ToWriter;
use crate::store::writer::thread::{Outcome, WriterThread};
use crate::store::writer::{Claim, Command, Numbers, Phase};

use super::cloud::Cloud;

/// How often the cloud pings; silence for two seconds more is the end of a session.
pub(super) const PING: Duration = Duration::from_secs(2);
/// Some of what a stream brings is not kept yet when a process dies.
const KEEP_EVERY: Duration = Duration::from_millis(250);
/// The history of a night is behind by a second, and asked again half a minute and a minute after a gap.
pub(super) fn passes() -> Passes {
    Passes { index_delay: SECOND, confirm_after: vec![25 * SECOND, 40 * SECOND], look_back: 20 * SECOND }
}

/// What a process works with.
pub(super) struct Place {
    pub(super) layout: Layout,
    pub(super) registry: Arc<Registry>,
    pub(super) script: Rc<dyn Script>,
    pub(super) timing: Timing,
}

/// Thread "keep" in place.
struct WriterLoop {
    keeping: RefCell<WriterThread>,
    chores: Sender<Command>,
    now: std::cell::Cell<Micros>,
}

impl ToWriter for WriterLoop {
    fn send(&self, order: Command) {
        drop(self.chores.send(order));
        self.keeping.borrow_mut().do_chores(self.now.get());
    }

    fn reach(&self) -> bool {
        let (done, wait) = channel();
        self.send(Command::Barrier(done));
        wait.try_recv().is_ok()
    }
}

/// How a process ended by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The policy ended it, or it was asked to.
    Finished,
    /// Nothing could be kept.
    Failed,
}

pub(super) struct Recorder {
    place: Rc<Place>,
    writer: WriterLoop,
    roller: Roller,
    meter: Arc<Meter>,
    machine: Machine,
    sessions: BTreeMap<u64, (Session, u64)>,
    filling: Filling,
    rng: fastrand::Rng,
    /// A stream opens then.
    opening: Option<Micros>,
    next: u64,
    /// Sessions that are asked to leave.
    leaves: Vec<u64>,
    looks: bool,
    looked: Moment,
    filled_at: Moment,
    stopping: bool,
    over: Option<Over>,
    /// Its first sign of life, which stands in the ledger.
    pub(super) heard_first: Option<Moment>,
    pub(super) story: Vec<String>,
}

impl Recorder {
    /// Opens the recording and begins. None when a fault struck meanwhile.
    pub(super) fn start(place: &Rc<Place>, now: Moment, lasts: Option<Duration>, rng: fastrand::Rng) -> Option<Self> {
        let meter = Arc::new(Meter::default());
        let (writer, roller) = {
            let _script = fault::install(Some(Rc::clone(&place.script)));
            open_whole(&place.layout, &place.registry, &meter, now.wall).ok()?
        };
        let was_heard = View::open(&place.layout).ok()?.was_heard("p", "a").ok()?;
        let plan = Plan {
            project: "p".to_owned(),
            filters: Filters::default(),
            accept: Accept::Json,
            ping: PING,
            retries_max: None,
            keep_every: KEEP_EVERY,
            rotate_after: Duration::from_secs(20),
            lasts,
            account: "a".to_owned(),
            was_heard,
        };
        let (chores, todo) = channel();
        let keeping = RefCell::new(WriterThread::new(writer, Arc::clone(&meter), todo));
        let (machine, acts) = Machine::start(
            plan,
            Arc::new(Numbers { boot: "night".to_owned(), ..Numbers::default() }),
            fastrand::Rng::with_seed(7),
            now,
        );
        let mut recorder = Self {
            place: Rc::clone(place),
            writer: WriterLoop { keeping, chores, now: std::cell::Cell::new(now.wall) },
            roller,
            meter,
            machine,
            sessions: BTreeMap::new(),
            filling: Filling::new("p", passes(), false),
            rng,
            opening: None,
            next: 0,
            leaves: Vec::new(),
            looks: true,
            looked: now,
            filled_at: now,
            stopping: false,
            over: None,
            heard_first: None,
            story: Vec::new(),
        };
        recorder.carry_out(acts, now);
        Some(recorder)
    }

    pub(super) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// Nothing is left to fill, or to confirm.
    pub(super) fn rests(&self, now: Moment) -> bool {
        self.filling.progress().is_none() && self.filling.wake_at(now.wall).is_none()
    }

    /// One turn of all that runs side by side. `clock` tells the time while it waits for room on the disk.
    pub(super) fn turn(&mut self, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        self.writer.now.set(clock(cloud).wall);
        self.read(cloud, clock);
        let now = clock(cloud);
        if self.opening.is_some_and(|at| at <= now.steady) {
            self.opening = None;
            match cloud.open() {
                Ok(pipe) => {
                    // Each answer says what time it is.
                    let ahead = cloud.now - now.wall;
                    self.note(Change::CloudAhead(self.machine.run(), ahead), now);
                    self.next += 1;
                    let (said, known) =
                        ((Frames::lines(), Mask::default()), (Arc::clone(&self.place.registry), Arc::clone(&self.meter)));
                    let session = Session::new(self.machine.run(), self.next, (PING, KEEP_EVERY), said, known, now);
                    self.sessions.insert(self.next, (session, pipe));
                    self.story.push(format!("    session {} opens", self.next));
                    self.on(Input::Opened { session: self.next, dies: None }, now);
                }
                Err(failure) => {
                    self.story.push(format!("    {failure}"));
                    self.on(Input::NotOpened(failure), now);
                }
            }
        }
        if self.machine.wake_at().is_some_and(|at| at <= now.steady) {
            self.on(Input::Time, now);
        }
        if self.over.is_none() && !self.stopping {
            self.fill(cloud, clock);
        }
        if self.over.is_none() && self.rng.u8(..100) == 0 {
            self.roll(now, Scope::Due);
        }
        self.let_go(cloud, clock);
    }

    /// Sessions read what there is. Meanwhile they have looked all the while, unless the process stood still.
    fn read(&mut self, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        let now = clock(cloud);
        let since = std::mem::replace(&mut self.looked, now);
        let looks = if now.steady - since.steady > SECOND { 0 } else { (now.steady - since.steady) / (SECOND / 10) };
        for number in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some((mut session, pipe)) = self.sessions.remove(&number) else { continue };
            let (bytes, over) = cloud.read(pipe);
            let (mut orders, now) = (Vec::new(), clock(cloud));
            let mut first = None;
            let mut listen = || -> Result<(), End> {
                // Nothing came then: what is there has come just now.
                for before in (0..looks).rev() {
                    session.quiet(now.later(-(before + 1) * SECOND / 10))?;
                }
                if bytes.is_empty() && over.is_none() {
                    session.quiet(now)?;
                } else if !bytes.is_empty() {
                    let at = self.rng.usize(..bytes.len());
                    session.take(&bytes[..at], now, &mut orders)?;
                    session.take(&bytes[at..], now, &mut orders)?;
                    first = session.taken(now, &mut orders)?;
                    if over.is_none() {
                        // Nothing else has come meanwhile.
                        session.quiet(now)?;
                    }
                }
                session.look(now, &mut orders)
            };
            let ended = listen();
            self.orders(orders, cloud, clock);
            if let Some(at) = first {
                if self.heard_first.is_none() && self.stands_in_ledger() {
                    self.heard_first = Some(at);
                }
                self.on(Input::Spoke { session: number, at }, now);
            }
            let end = match (ended, over) {
                (Err(end), _) => end,
                (Ok(()), Some(clean)) => {
                    session.finish(now);
                    if clean { End::Over("over".to_owned()) } else { End::Over("cut".to_owned()) }
                }
                (Ok(()), None) => {
                    self.sessions.insert(number, (session, pipe));
                    continue;
                }
            };
            cloud.close(pipe);
            self.end(session, end, cloud, clock);
        }
    }

    /// Its run is noted.
    pub(super) fn stands_in_ledger(&self) -> bool {
        View::open(&self.place.layout).is_ok_and(|view| {
            let is_own = |run: &crate::store::buffer::RunRow| run.opening == view.id();
            view.records(None).is_ok_and(|records| records.runs.iter().any(is_own))
        })
    }

    fn end(&mut self, session: Session, end: End, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        self.story.push(format!("    a session ends: {end:?}"));
        let mut orders = Vec::new();
        let ended = session.end(end, clock(cloud), &mut orders);
        self.orders(orders, cloud, clock);
        let now = clock(cloud);
        self.on(ended, now);
    }

    fn on(&mut self, input: Input, now: Moment) {
        let acts = self.machine.on(input, now);
        self.carry_out(acts, now);
    }

    fn carry_out(&mut self, acts: Vec<Act>, now: Moment) {
        for act in acts {
            match act {
                Act::Open { .. } => self.opening = Some(now.steady + self.rng.i64(0..SECOND / 2)),
                Act::DoNotOpen => self.opening = None,
                Act::Leave(session, _) => self.leaves.push(session),
                Act::Note(change) => self.note(change, now),
                Act::Say(text) => self.story.push(format!("    {text}")),
                Act::Connected(_) => {}
                Act::GapEnded => self.looks = true,
                Act::Finish(_) => self.over = Some(Over::Finished),
            }
        }
    }

    /// Asks it to end.
    pub(super) fn stop(&mut self, phase: Phase, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        self.stopping = true;
        let now = clock(cloud);
        self.on(Input::Stop(phase), now);
        self.let_go(cloud, clock);
        if self.over == Some(Over::Finished) {
            self.roll(clock(cloud), Scope::All);
        }
    }

    /// Sessions leave that were asked to.
    fn let_go(&mut self, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        while let Some(number) = self.leaves.pop() {
            if let Some((session, pipe)) = self.sessions.remove(&number) {
                cloud.close(pipe);
                self.end(session, End::Left(STOPPED), cloud, clock);
            }
        }
    }

    /// The filler looks, and asks a few times.
    fn fill(&mut self, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        let now = clock(cloud);
        let before = std::mem::replace(&mut self.filled_at, now);
        if now.step_since(before).abs() > crate::base::time::STEP {
            self.filling.clock_was_set();
            self.looks = true;
        }
        if std::mem::take(&mut self.looks) || self.filling.is_due(now.wall) {
            let found = View::open(&self.place.layout).and_then(|view| known(&view, &view.records(None)?, "p", now.wall));
            if let Ok(found) = found {
                let changes = self.filling.look(found, now.wall);
                self.note_all(changes, now);
            }
        }
        for _ in 0..3 {
            if self.over.is_some() {
                return;
            }
            let now = clock(cloud);
            let Some(job) = self.filling.next(now.wall) else { return };
            let changes = match job {
                Job::List(filters) => {
                    let listed = cloud.list().map_err(|why| (why, 0));
                    self.filling.listed(&filters, listed, now.wall)
                }
                Job::Ask(ask) => {
                    let window = for_both_clocks(ask.window, cloud.now - now.wall);
                    let answer = match cloud.history(&ask.device, window) {
                        Ok(events) => {
                            let mut collector = Collector::new(Arc::clone(&self.place.registry), Source::History);
                            for event in &events {
                                collector.add(&Frame::Line(event.json().as_bytes()), now.wall);
                            }
                            let fills: Vec<i64> = ask.fills.iter().map(|(fill, _)| *fill).collect();
                            let batch = collector.take().unwrap_or_default();
                            if !batch.is_empty() {
                                self.orders(vec![Command::Keep(batch, Claim::Fills(fills.clone()))], cloud, clock);
                            }
                            Answer::Brought(fills.into_iter().map(|fill| (fill, Vec::new())).collect())
                        }
                        Err(failure) => match failure.status() {
                            Some(404) => Answer::Refused(failure.to_string()),
                            Some(500) => Answer::Failed(failure.to_string()),
                            _ => Answer::Closed(failure.to_string(), 0),
                        },
                    };
                    self.filling.answered(&ask, answer, now.wall)
                }
            };
            self.note_all(changes, clock(cloud));
        }
    }

    fn note_all(&mut self, changes: Vec<Change>, now: Moment) {
        for change in changes {
            self.note(change, now);
        }
    }

    /// Thread "keep" takes orders; while it waits for room, time goes by.
    fn orders(&mut self, orders: Vec<Command>, cloud: &mut Cloud, clock: &dyn Fn(&Cloud) -> Moment) {
        for order in orders {
            while self.order_once(&order, clock(cloud)) == Some(Outcome::Wait) {
                cloud.pass(SECOND);
            }
        }
    }

    fn note(&mut self, change: Change, now: Moment) {
        self.order_once(&Command::Note(change), now);
    }

    /// None when nothing can be kept any more.
    fn order_once(&mut self, order: &Command, now: Moment) -> Option<Outcome> {
        if self.over == Some(Over::Failed) {
            return None;
        }
        if let Command::Note(change) = order {
            self.story.push(format!("    {change:?}"));
        }
        let _script = fault::install(Some(Rc::clone(&self.place.script)));
        let mut keeping = self.writer.keeping.borrow_mut();
        let result = keeping.step(order, self.stopping, &|_| false, now.wall);
        keeping.do_chores(now.wall);
        match result {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.story.push(format!("    the writer ends: {error}"));
                self.over = Some(Over::Failed);
                None
            }
        }
    }

    fn roll(&mut self, now: Moment, scope: Scope) {
        let _script = fault::install(Some(Rc::clone(&self.place.script)));
        self.writer.now.set(now.wall);
        let (timing, meter, writer) = (&self.place.timing, &self.meter, &self.writer);
        // What fails is tried again.
        drop(Turn { roller: &mut self.roller, timing, meter, writer, now: &|| now.wall }.take(scope));
    }
}
