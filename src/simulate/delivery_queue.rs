//! What waits to be pushed: fresh events in their order, and those that failed until their time comes. Sync, and bounded.

use super::disorder::Disorder;
use super::sign::Forgery;
use axum::body::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Longest wait after a failure that the receiver did not ask for.
const LONGEST: Duration = Duration::from_mins(1);

/// Events that wait for later ones go out after so long without any.
const PATIENCE: Duration = Duration::from_secs(1);

/// Unclear answers to a forged push after which it counts as not refused.
const UNCLEAR: u32 = 8;

/// What a connector did. `published + doubles = acknowledged + dropped + unacknowledged`; forged pushes count only as such.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushes {
    /// Pushes sent, doubles and retries among them.
    pub pushed: u64,
    /// Pushes that were answered with 2xx in time.
    pub acknowledged: u64,
    /// Events that were queued a second time.
    pub doubles: u64,
    /// Pushes sent because the one before had failed.
    pub retried: u64,
    /// Pushes that were answered, but not with 2xx.
    pub refused: u64,
    /// Given up: too old, or too many.
    pub dropped: u64,
    /// Not settled, in the queue or on their way.
    pub unacknowledged: u64,
    /// Forged pushes that have their answer.
    pub forged: u64,
    /// Forged pushes that were not refused.
    pub believed: u64,
    /// How the last failed push failed.
    pub failure: Option<String>,
    /// How the last forged push was believed.
    pub belief: Option<String>,
}

/// How a receiver answered a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// An event to be pushed.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The event's text.
    pub(super) event: Bytes,
    /// What follows the event in the body.
    pub(super) tail: Bytes,
    /// Sent instead of the event, and how.
    pub(super) forged: Option<(Forgery, Bytes)>,
    /// Simulated time of publishing.
    published: i64,
    order: u64,
    failures: u32,
    unclear: u32,
    due: Option<Instant>,
    /// The receiver asked for the wait.
    asked: bool,
}

impl Parcel {
    pub(super) fn new(event: Bytes, tail: Bytes, published: i64) -> Self {
        let (order, failures, unclear) = (0, 0, 0);
        Self { event, tail, forged: None, published, order, failures, unclear, due: None, asked: false }
    }
}

/// Parcels of one connector.
#[derive(Debug)]
pub(super) struct Queue {
    disorder: Disorder<Parcel>,
    /// By order of coming.
    waiting: BTreeMap<u64, Parcel>,
    /// Those that have not been tried, in order.
    fresh: VecDeque<u64>,
    /// Those that have failed, by their time.
    failed: BTreeSet<(Instant, u64)>,
    order: u64,
    on_their_way: usize,
    last: Option<Instant>,
    bound: usize,
    /// Simulated time after which a parcel is given up.
    life: i64,
    /// The first wait after a failure.
    base: Duration,
    pub(super) counts: Pushes,
}

impl Queue {
    pub(super) fn new(disorder: Disorder<Parcel>, bound: usize, life: i64, base: Duration) -> Self {
        Self {
            disorder,
            waiting: BTreeMap::new(),
            fresh: VecDeque::new(),
            failed: BTreeSet::new(),
            order: 0,
            on_their_way: 0,
            last: None,
            bound: bound.max(1),
            life,
            base,
            counts: Pushes::default(),
        }
    }

    /// A published event.
    pub(super) fn offer(&mut self, parcel: Parcel, now: Instant) {
        self.last = Some(now);
        self.counts.unacknowledged += 1;
        self.disorder.push(parcel);
        self.settle_order();
    }

    /// A push that is no event of ours.
    pub(super) fn forge(&mut self, parcel: Parcel, forged: (Forgery, Bytes)) {
        self.enter(Parcel { forged: Some(forged), ..parcel });
    }

    fn settle_order(&mut self) {
        while let Some((parcel, again)) = self.disorder.next() {
            self.counts.doubles += u64::from(again);
            self.counts.unacknowledged += u64::from(again);
            self.enter(parcel);
        }
    }

    fn enter(&mut self, parcel: Parcel) {
        self.order += 1;
        self.fresh.push_back(self.order);
        self.waiting.insert(self.order, Parcel { order: self.order, ..parcel });
        self.shrink();
    }

    /// Drops the oldest where there are too many.
    fn shrink(&mut self) {
        while self.waiting.len() > self.bound {
            self.drop_oldest();
        }
    }

    /// Drops what the cloud would not keep any longer; `now` is simulated time.
    pub(super) fn expire(&mut self, now: i64) {
        while self.waiting.first_key_value().is_some_and(|(_, parcel)| self.is_old(parcel, now)) {
            self.drop_oldest();
        }
    }

    fn is_old(&self, parcel: &Parcel, now: i64) -> bool {
        now.saturating_sub(parcel.published) > self.life
    }

    fn drop_oldest(&mut self) {
        let Some((order, parcel)) = self.waiting.pop_first() else { return };
        match parcel.due {
            Some(due) => {
                self.failed.remove(&(due, order));
            }
            // The oldest of all is the oldest of the fresh.
            None => {
                self.fresh.pop_front();
            }
        }
        self.give_up(&parcel);
    }

    fn give_up(&mut self, parcel: &Parcel) {
        if parcel.forged.is_none() {
            self.counts.dropped += 1;
            self.counts.unacknowledged -= 1;
        }
    }

    /// The next parcel to be pushed, or for how long there is none; without an end, none comes by itself.
    pub(super) fn take(&mut self, now: Instant, simulated: i64) -> Result<Parcel, Option<Duration>> {
        self.expire(simulated);
        let patience = self.last.filter(|_| self.disorder.holds()).map(|last| last + PATIENCE);
        if patience.is_some_and(|patience| patience <= now) {
            self.flush();
        }
        let due = self.failed.first().filter(|(due, _)| *due <= now).copied();
        let order = match due {
            Some(first) => {
                self.failed.remove(&first);
                Some(first.1)
            }
            None => self.fresh.pop_front(),
        };
        let Some(parcel) = order.and_then(|order| self.waiting.remove(&order)) else {
            let next = self.failed.first().map(|(due, _)| *due).into_iter().chain(patience).min();
            return Err(next.map(|next| next.saturating_duration_since(now)));
        };
        self.on_their_way += 1;
        if parcel.forged.is_none() {
            self.counts.pushed += 1;
            self.counts.retried += u64::from(parcel.failures > 0);
        }
        Ok(parcel)
    }

    /// Whether a parcel could be taken at once.
    pub(super) fn has_ready(&self, now: Instant) -> bool {
        !self.fresh.is_empty() || self.failed.first().is_some_and(|(due, _)| *due <= now)
    }

    /// A parcel that was taken, and what became of it.
    pub(super) fn settle(&mut self, parcel: Parcel, answer: Result<Answer, String>, now: Instant, simulated: i64) {
        self.on_their_way -= 1;
        match parcel.forged {
            None => self.settle_event(parcel, answer, now, simulated),
            Some((forgery, _)) => self.settle_forged(parcel, forgery, answer.ok(), now, simulated),
        }
    }

    fn settle_event(&mut self, parcel: Parcel, answer: Result<Answer, String>, now: Instant, simulated: i64) {
        let (wait, failure) = match answer {
            Ok(Answer { status: 200..300, .. }) => {
                self.counts.acknowledged += 1;
                self.counts.unacknowledged -= 1;
                return;
            }
            Ok(Answer { status, retry_after }) => {
                self.counts.refused += 1;
                (retry_after, format!("HTTP {status}"))
            }
            Err(failure) => (None, failure),
        };
        self.counts.failure = Some(failure);
        self.again(parcel, wait, now, simulated);
    }

    fn settle_forged(&mut self, mut parcel: Parcel, forgery: Forgery, answer: Option<Answer>, now: Instant, simulated: i64) {
        // No connection, or a receiver that has too much to do, says nothing about forgeries.
        let Some(Answer { status, retry_after }) = answer else { return self.again(parcel, None, now, simulated) };
        let refused = matches!(status, 400..500) && !matches!(status, 408 | 429);
        parcel.unclear += 1;
        if !refused && !matches!(status, 200..300) && parcel.unclear < UNCLEAR {
            return self.again(parcel, retry_after, now, simulated);
        }
        self.counts.forged += 1;
        if !refused {
            self.counts.believed += 1;
            self.counts.belief = Some(format!("one, {}, was answered with HTTP {status}", forgery.name()));
        }
    }

    /// Back into the queue, until its next time comes.
    fn again(&mut self, mut parcel: Parcel, asked: Option<Duration>, now: Instant, simulated: i64) {
        if self.is_old(&parcel, simulated) {
            return self.give_up(&parcel);
        }
        // On its own: one event that waits must not keep the bytes of its whole batch.
        parcel.event = Bytes::copy_from_slice(&parcel.event);
        let backoff = self.base.saturating_mul(1 << parcel.failures.min(20)).min(LONGEST);
        parcel.failures += 1;
        parcel.asked = asked.is_some_and(|asked| asked > backoff);
        let due = now + asked.unwrap_or_default().max(backoff);
        parcel.due = Some(due);
        self.failed.insert((due, parcel.order));
        self.waiting.insert(parcel.order, parcel);
        self.shrink();
    }

    fn flush(&mut self) {
        self.disorder.flush();
        self.settle_order();
    }

    /// No later events come: all go out now, but for those that the receiver does not want yet.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.flush();
        for (order, parcel) in &mut self.waiting {
            if let Some(due) = parcel.due.filter(|_| !parcel.asked) {
                self.failed.remove(&(due, *order));
                self.failed.insert((now, *order));
                parcel.due = Some(now);
            }
        }
    }

    /// Parcels in the queue or on their way.
    pub(super) fn load(&self) -> usize {
        self.waiting.len() + self.on_their_way
    }

    /// Nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        self.load() == 0 && !self.disorder.holds()
    }
}

#[cfg(test)]
mod tests {
    use super::super::habits::Habits;
    use super::*;
    use fastrand::Rng;

    const HOUR: i64 = 3_600_000_000;

    fn queue(bound: usize) -> Queue {
        Queue::new(Disorder::new(&Habits::default(), Rng::with_seed(1)), bound, 12 * HOUR, Duration::from_secs(1))
    }

    fn parcel(name: &'static str, published: i64) -> Parcel {
        Parcel::new(Bytes::from_static(name.as_bytes()), Bytes::new(), published)
    }

    fn status(status: u16) -> Answer {
        Answer { status, retry_after: None }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_are_never_shorter_than_asked_for() {
        let (mut queue, mut now) = (queue(10), crate::base::time::instant());
        queue.offer(parcel("a", 0), now);
        let mut waits = Vec::new();
        for failure in 0..9 {
            let taken = queue.take(now, 0).expect("due");
            let retry_after = (failure == 8).then_some(Duration::from_secs(90));
            let answer = if failure % 2 == 0 { Ok(Answer { status: 429, retry_after }) } else { Err("cut".to_owned()) };
            queue.settle(taken, answer, now, 0);
            let wait = queue.take(now, 0).expect_err("not due").expect("an end");
            assert!(queue.take(now + wait.saturating_sub(Duration::from_nanos(1)), 0).is_err());
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 90]);
        let taken = queue.take(now, 0).expect("due");
        queue.settle(taken, Ok(status(204)), now, 0);
        assert!(queue.is_done() && queue.take(now, 0).is_err_and(|end| end.is_none()));
        let counts = Pushes { pushed: 10, retried: 9, refused: 5, acknowledged: 1, ..Pushes::default() };
        assert_eq!(queue.counts, Pushes { failure: Some("HTTP 429".to_owned()), ..counts });
    }

    #[test]
    fn what_failed_goes_before_what_is_fresh_once_its_time_has_come() {
        let (mut queue, now) = (queue(10), crate::base::time::instant());
        for name in ["a", "b", "c"] {
            queue.offer(parcel(name, 0), now);
        }
        let failed = queue.take(now, 0).expect("a parcel");
        queue.settle(failed, Ok(status(500)), now, 0);
        assert_eq!(queue.take(now, 0).map(|parcel| parcel.event), Ok(Bytes::from("b")));
        assert_eq!(queue.take(now + Duration::from_secs(1), 0).map(|parcel| parcel.event), Ok(Bytes::from("a")));
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many_and_the_old_go_anyway() {
        let (mut queue, now) = (queue(2), crate::base::time::instant());
        queue.offer(parcel("a", 0), now);
        let failed = queue.take(now, 0).expect("a parcel");
        queue.settle(failed, Ok(status(500)), now, 0);
        queue.offer(parcel("b", 1), now);
        queue.offer(parcel("c", 2), now);
        assert_eq!((queue.counts.dropped, queue.load(), queue.failed.len()), (1, 2, 0));
        queue.expire(12 * HOUR + 1);
        assert_eq!(queue.counts.dropped, 1);
        queue.expire(12 * HOUR + 2);
        assert_eq!((queue.counts.dropped, queue.fresh.len()), (2, 1));
        let old = queue.take(now, 2).expect("a parcel");
        queue.settle(old, Ok(status(500)), now, 12 * HOUR + 3);
        assert_eq!((queue.counts.dropped, queue.counts.unacknowledged, queue.is_done()), (3, 0, true));
    }

    #[test]
    fn at_the_end_all_are_due_but_those_that_the_receiver_does_not_want_yet() {
        let (mut queue, now) = (queue(10), crate::base::time::instant());
        for (name, wanted) in [("a", None), ("b", Some(Duration::from_secs(9)))] {
            queue.offer(parcel(name, 0), now);
            let taken = queue.take(now, 0).expect("a parcel");
            queue.settle(taken, Ok(Answer { status: 503, retry_after: wanted }), now, 0);
        }
        assert!(!queue.has_ready(now));
        queue.hurry(now);
        assert_eq!(queue.take(now, 0).map(|parcel| parcel.event), Ok(Bytes::from("a")));
        assert!(queue.take(now, 0).is_err_and(|end| end == Some(Duration::from_secs(9))));
    }
}
