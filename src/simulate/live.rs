//! The heartbeat of the simulator: publishes what the sensors or the replay file say, tick by tick.

use super::SimulateError;
use super::batch::Batch;
use super::cloud::Cloud;
use super::replay::Replay;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Short enough for an eye, long enough to publish many events at once.
const TICK: Duration = Duration::from_millis(20);

/// Events of a replay that are handed out at once; a small part of a client's queue.
const BLOCK: usize = 500;

/// Publishes for ever.
pub(super) async fn run(cloud: &Cloud, replay: Option<Replay>) -> Result<Infallible, SimulateError> {
    match (replay, cloud.options.rate) {
        (None, rate) => generate(cloud, rate).await,
        (Some(replay), Some(rate)) => paced(cloud, replay, rate).await,
        (Some(replay), None) => unpaced(cloud, replay).await,
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn generate(cloud: &Cloud, rate: Option<f64>) -> Result<Infallible, SimulateError> {
    let mut ticks = ticks();
    let mut pace = Pace::new(cloud, rate);
    let mut from = cloud.clock.start();
    loop {
        ticks.tick().await;
        let quota = pace.as_mut().map(|p| p.quota(cloud.clock.elapsed()));
        let now = cloud.clock.now();
        let mut batch = Batch::default();
        let mut state = cloud.state();
        state.world.step(from, now, quota, &mut batch);
        state.publish(batch);
        from = now;
    }
}

/// A replay like a live cloud: it starts with the first stream, or at once if it is pushed, and then goes on whoever listens.
async fn paced(cloud: &Cloud, mut replay: Replay, rate: f64) -> Result<Infallible, SimulateError> {
    listeners(cloud).await;
    let mut ticks = ticks();
    let mut pace = Pace::new(cloud, Some(rate));
    loop {
        ticks.tick().await;
        let quota = pace.as_mut().map_or(0, |p| p.quota(cloud.clock.elapsed()));
        let batch = replay.read(quota, cloud)?;
        if batch.len() < quota {
            cloud.state().publish(batch);
            return std::future::pending().await;
        }
        cloud.state().publish(batch);
    }
}

/// A replay as fast as the slowest stream reads, and as pushes are acknowledged; while nobody listens, it waits.
async fn unpaced(cloud: &Cloud, mut replay: Replay) -> Result<Infallible, SimulateError> {
    loop {
        listeners(cloud).await;
        let batch = replay.read(BLOCK, cloud)?;
        if batch.len() == 0 {
            return std::future::pending().await;
        }
        let queues = cloud.state().queues();
        for queue in queues {
            // A stream that ends meanwhile is nobody to wait for; the permits are given back at once.
            drop(queue.reserve_many(BLOCK).await);
        }
        if let Some(connector) = &cloud.connector {
            connector.room(BLOCK).await;
        }
        cloud.state().publish(batch);
        tokio::task::yield_now().await;
    }
}

/// Waits until there is at least one stream, or somebody to push to.
async fn listeners(cloud: &Cloud) {
    while cloud.connector.is_none() && cloud.state().subscribers() == 0 {
        cloud.arrived.notified().await;
    }
}

/// Keeps a rate in the long run, whatever the ticks do.
struct Pace {
    rate: f64,
    begun: Duration,
    done: u64,
}

impl Pace {
    fn new(cloud: &Cloud, rate: Option<f64>) -> Option<Self> {
        rate.map(|rate| Self { rate, begun: cloud.clock.elapsed(), done: 0 })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates: that is wanted")]
    fn quota(&mut self, now: Duration) -> usize {
        let due = (now.saturating_sub(self.begun).as_secs_f64() * self.rate) as u64;
        let quota = due.saturating_sub(self.done);
        self.done = self.done.max(due);
        usize::try_from(quota).unwrap_or(0)
    }
}
