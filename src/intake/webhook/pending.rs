//! Pushes that wait for their commit, and the commit loop that carries them to the writer, all that came meanwhile at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::base::time::{self, Micros};
use crate::cloud::push::About;
use crate::model::decode::{Collector, Found};
use crate::model::event::{Batch, CloudError, DeviceRow, Source};
use crate::model::framing::Frame;
use crate::model::schema::Registry;
use crate::store::writer::{Command, Phase, Push, Verdict, shutdown_requested};

use super::WebhookServer;
use super::sessions::{NOTE_EVERY, Sessions};

/// Pushes that wait for their commit.
#[derive(Debug)]
pub(super) struct PendingBatch {
    pub(super) collector: Collector,
    devices: Vec<(Micros, DeviceRow)>,
    waiting: Vec<Waiting>,
    pub(super) oldest: Option<Instant>,
}

/// A push that waits.
#[derive(Debug)]
struct Waiting {
    body: Bytes,
    fate: oneshot::Sender<Fate>,
}

/// What becomes of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept.
    Kept,
    /// It is not, and may be the next time.
    Later,
    /// It cannot be.
    Unfit,
}

impl Fate {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            verdict if verdict.is_kept() => Self::Kept,
            verdict if verdict.is_unfit() => Self::Unfit,
            _ => Self::Later,
        }
    }
}

/// What the commit loop takes at a time.
struct TakenBatch {
    batch: Option<Batch>,
    last: Option<Micros>,
    waiting: Vec<Waiting>,
    oldest: Instant,
}

impl PendingBatch {
    pub(super) fn new(registry: &Arc<Registry>) -> Self {
        Self {
            collector: Collector::new(Arc::clone(registry), Source::Push),
            devices: Vec::new(),
            waiting: Vec::new(),
            oldest: None,
        }
    }

    /// Adds a push; gives what will tell what becomes of it.
    pub(super) fn add(&mut self, body: Bytes, now: Micros) -> oneshot::Receiver<Fate> {
        let (fate, verdict) = oneshot::channel();
        self.put(Waiting { body, fate }, now);
        verdict
    }

    fn put(&mut self, push: Waiting, now: Micros) {
        let body = &push.body;
        let frame = Frame::Line(body);
        match self.collector.add(&frame, now) {
            // A push has no stream to end: whatever this is, it is kept.
            Found::Error(said) => {
                let reason = format!("an error instead of an event: {}", CloudError::read(&said));
                self.collector.refuse(&frame, reason, now);
            }
            Found::Event | Found::Ping | Found::Fault => {}
        }
        // What a push says is of the time of its event, and of no other device; a clock ahead must not have the last word.
        if let (Some((project, device)), Some(at)) = (self.collector.target(), self.collector.last_time())
            && let Some(row) = About::read(body).and_then(|about| about.device())
            && (row.project.as_str(), row.id.as_str()) == (project, device)
        {
            self.devices.push((at.min(now), row));
        }
        self.waiting.push(push);
        self.oldest.get_or_insert_with(time::instant);
    }

    fn take(&mut self) -> Option<TakenBatch> {
        let oldest = self.oldest.take()?;
        let (last, mut devices) = (self.collector.last_time(), std::mem::take(&mut self.devices));
        devices.sort_by_key(|(at, _)| *at);
        let batch = self.collector.take().ok().map(|batch| Batch { devices, ..batch });
        Some(TakenBatch { batch, last, waiting: std::mem::take(&mut self.waiting), oldest })
    }
}

impl WebhookServer {
    /// Takes what is pending to the writer, again and again, until told that nothing more will come.
    pub(super) async fn commit_loop(self: Arc<Self>, mut sessions: Sessions, mut closing: watch::Receiver<Phase>) {
        for order in sessions.begun() {
            self.writer.send(order).await;
        }
        let mut tick = tokio::time::interval(NOTE_EVERY);
        loop {
            tokio::select! {
                () = self.filled.notified() => {}
                _ = tick.tick() => sessions.spoke(&self.writer),
                _ = shutdown_requested(&mut closing) => break,
            }
            // In a statement of its own: the lock must not be held while what was taken is carried.
            while let Some(taken) = { self.pending().take() } {
                for unfit in self.carry(taken, &mut sessions).await {
                    // Each alone: what does not fit must not take others along.
                    let mut pending = PendingBatch::new(&self.writer.registry);
                    pending.put(unfit, time::now());
                    let Some(alone) = pending.take() else { continue };
                    for Waiting { fate, .. } in self.carry(alone, &mut sessions).await {
                        fate.send(Fate::Unfit).unwrap_or_default();
                    }
                }
            }
        }
        let phase = *closing.borrow();
        sessions.close(phase, &self.writer).await;
    }

    /// Carries what was taken to the writer and tells those who wait for it what became of it; gives them back when something in it is
    /// unfit.
    async fn carry(&self, taken: TakenBatch, sessions: &mut Sessions) -> Vec<Waiting> {
        let TakenBatch { batch, last, waiting, oldest } = taken;
        let fate = match batch {
            Some(batch) if batch.is_empty() => Fate::Kept,
            Some(batch) => {
                let mut orders = sessions.open(&batch.devices, &self.writer.meter);
                let counts: Vec<_> =
                    batch.parts.iter().map(|(part, rows)| (part.event_type.to_string(), rows.num_rows() as u64)).collect();
                let verdict = Arc::new(Verdict::default());
                let (reached, done) = oneshot::channel();
                orders.push(Command::Push(Push { batch, verdict: Arc::clone(&verdict), reached }));
                let fate = self.keep(orders, &verdict, done, oldest).await;
                if fate == Fate::Kept {
                    self.writer.meter.update(|parts| {
                        parts.last_event = last.or(parts.last_event);
                        for (event_type, count) in counts {
                            *parts.by_type.entry(event_type).or_default() += count;
                        }
                    });
                }
                fate
            }
            None => {
                self.writer.meter.note(time::now(), "pushes could not be built into a batch");
                Fate::Unfit
            }
        };
        if fate == Fate::Unfit {
            return waiting;
        }
        for push in waiting {
            // Whoever has gone meanwhile pushes again: that is a double, and stands once.
            push.fate.send(fate).unwrap_or_default();
        }
        Vec::new()
    }

    /// What becomes of the push that is the last of the orders. Gives up in time, if the writer has not begun by then.
    async fn keep(&self, orders: Vec<Command>, verdict: &Verdict, done: oneshot::Receiver<()>, oldest: Instant) -> Fate {
        let carried = async {
            for order in orders {
                self.writer.send(order).await;
            }
            drop(done.await);
        };
        let mut carried = pin!(carried);
        let mut due = oldest + self.limits.answer_time;
        loop {
            tokio::select! {
                () = &mut carried => return Fate::of(verdict),
                () = tokio::time::sleep_until(due.into()) => {
                    if verdict.withdraw() {
                        return Fate::Later;
                    }
                    // The commit is under way and slow. Who came later can be told to come again, and must be.
                    let now = time::instant();
                    let mut pending = self.pending();
                    if pending.oldest.is_some_and(|oldest| oldest + self.limits.answer_time <= now) {
                        drop(pending.take());
                    }
                    due = pending.oldest.unwrap_or(now) + self.limits.answer_time;
                }
            }
        }
    }
}
