//! The state that all connections share, and publishing: into the truth, the history, every stream that wants it, and to the
//! receiver of pushes.

use super::auth::Auth;
use super::batch::{Batch, Frame, Item};
use super::clock::{Clock, micros};
use super::device::Device;
use super::filter::Filter;
use super::habits::HabitState;
use super::late::Late;
use super::ledger::Ledger;
use super::net::Cut;
use super::push::Connector;
use super::world::World;
use super::{Options, SimulateError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Events that may wait for a slow client before its connection is cut; some minutes of a large project.
const QUEUE: usize = 10_000;

/// The simulated cloud.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) closing: Cut,
    /// Somebody has opened a stream.
    pub(super) arrived: Notify,
    pub(super) moods: HabitState,
    /// The Data Connector, if there is one.
    pub(super) connector: Option<Arc<Connector>>,
    auth: Auth,
    state: Mutex<State>,
}

/// What changes while it runs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) world: World,
    pub(super) ledger: Ledger,
    subscribers: Vec<Subscriber>,
    connector: Option<Arc<Connector>>,
    pub(super) sessions: u64,
    pub(super) dropped: u64,
    retention: i64,
    index_delay: Duration,
    clock: Clock,
    pub(super) late: Late,
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    queue: mpsc::Sender<Frame>,
    cut: Cut,
}

impl Cloud {
    pub(super) fn new(options: Options) -> Result<Self, SimulateError> {
        let clock = Clock::new(options.speed);
        let connector = match &options.push {
            Some(push) => Some(Arc::new(Connector::new(push.clone(), &options, clock)?)),
            None if options.habits.forge > 0.0 => return Err(SimulateError::Forge),
            None => None,
        };
        let retention = micros(options.retention);
        let past = micros(options.history).min(retention);
        // A replay brings its own devices.
        let (devices, past) = if options.replay.is_some() { (0, 0) } else { (options.devices, past) };
        let start = clock.start();
        let mut state = State {
            world: World::new(&options.project, options.seed, devices, start - past),
            ledger: Ledger::default(),
            subscribers: Vec::new(),
            connector: connector.clone(),
            sessions: 0,
            dropped: 0,
            retention,
            index_delay: options.index_delay,
            clock,
            late: Late::new(&options.habits, options.seed),
        };
        state.recall(start - past, start);
        state.world.liven(start);
        let auth = Auth::new(&options.key, &options.secret, &options.email, options.token_life);
        let moods = HabitState::new(options.seed);
        let (closing, arrived, state) = (Cut::new(), Notify::new(), Mutex::new(state));
        Ok(Self { options, clock, closing, arrived, moods, connector, auth, state })
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The state; never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream.
    pub(super) fn subscribe(&self, filter: Filter, cut: Cut) -> mpsc::Receiver<Frame> {
        let (queue, events) = mpsc::channel(QUEUE);
        let mut state = self.state();
        state.sessions += 1;
        state.subscribers.retain(|s| !s.queue.is_closed());
        state.subscribers.push(Subscriber { filter, queue, cut });
        self.arrived.notify_one();
        events
    }
}

impl State {
    /// Fills the history up to now, an hour at a time to keep the buffers small.
    fn recall(&mut self, from: i64, to: i64) {
        let oldest = to - self.retention;
        let mut at = from;
        while at < to {
            let until = (at + 3_600_000_000).min(to);
            let mut batch = Batch::default();
            self.world.step(at, until, None, &mut batch);
            for (item, frame) in batch.finish() {
                self.report(&item, &frame);
                self.ledger.store(&item, &frame, Duration::ZERO, oldest);
            }
            at = until;
        }
    }

    /// Publishes events: from now on they are true.
    pub(super) fn publish(&mut self, batch: Batch) {
        let oldest = self.clock.now() - self.retention;
        let now = self.clock.elapsed();
        for (item, frame) in self.late.due(now) {
            self.announce(&item, &frame, now, oldest);
        }
        for (item, frame) in batch.finish() {
            let emulated = item.device.and_then(|d| self.world.devices.get(d)).is_none_or(|d| d.emulated);
            if !emulated && self.late.keeps(&item, &frame, now) {
                continue;
            }
            let old = if emulated { None } else { self.late.ages(&item, &frame) };
            if let Some((item, frame)) = old {
                self.announce(&item, &frame, now, oldest);
            } else {
                self.report(&item, &frame);
                self.announce(&item, &frame, now, oldest);
            }
        }
    }

    /// Into the truth, the history, every stream that wants it, and to the receiver of pushes.
    fn announce(&mut self, item: &Item, frame: &Frame, now: Duration, oldest: i64) {
        let visible = now.saturating_add(self.index_delay).saturating_add(self.late.lag());
        self.ledger.publish(item, frame, crate::base::time::now(), visible, oldest);
        let device = item.device.and_then(|d| self.world.devices.get(d));
        let dropped = &mut self.dropped;
        self.subscribers.retain(|s| s.offer(item, device, frame, dropped));
        if let Some(connector) = &self.connector {
            connector.offer(item, device, frame);
        }
    }

    /// The device list shows the latest of each type.
    fn report(&mut self, item: &Item, frame: &Frame) {
        let Some(device) = item.device.and_then(|d| self.world.devices.get_mut(d)) else { return };
        if item.inner.is_empty() || item.kind == "labelsChanged" {
            return;
        }
        let mut latest = frame.part(item.inner.clone());
        if item.kind == "networkStatus" && !device.emulated {
            latest = device.network(item.time).unwrap_or(latest);
        }
        device.reported.insert(item.kind.clone(), latest);
    }

    /// Open streams.
    pub(super) fn subscribers(&mut self) -> usize {
        self.subscribers.retain(|s| !s.queue.is_closed());
        self.subscribers.len()
    }

    /// The queues of all open streams.
    pub(super) fn queues(&mut self) -> Vec<mpsc::Sender<Frame>> {
        self.subscribers.retain(|s| !s.queue.is_closed());
        self.subscribers.iter().map(|s| s.queue.clone()).collect()
    }

    /// Devices that exist, with their index.
    pub(super) fn devices(&self) -> impl Iterator<Item = (usize, &Device)> {
        self.world.devices.iter().enumerate().filter(|(_, d)| !d.deleted)
    }
}

impl Subscriber {
    /// Sends what is wanted; `false` when the stream is over.
    fn offer(&self, item: &Item, device: Option<&Device>, frame: &Frame, dropped: &mut u64) -> bool {
        if !self.filter.wants(&item.kind) || !self.filter.takes(device) {
            return true;
        }
        match self.queue.try_send(frame.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                *dropped += 1;
                self.cut.now();
                false
            }
        }
    }
}
