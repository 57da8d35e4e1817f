//! What comes late: readings that a sensor sends later, events with an old time, and what the history shows after a while.

use super::batch::{Frame, Item, backfilled};
use super::clock::micros;
use super::event::SECOND;
use super::habits::Habits;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// The habits of being late, each with a generator of its own.
#[derive(Debug)]
pub(super) struct Late {
    share: f64,
    shares: Rng,
    age: Option<(Duration, f64)>,
    ages: Rng,
    lag: Option<(Duration, f64)>,
    lags: Rng,
    /// By device, with the real time since start at which they are sent.
    kept: BTreeMap<usize, (Duration, Vec<(Item, Frame)>)>,
    /// Readings sent later, so far.
    pub(super) sent: u64,
    /// Events published with an earlier time, so far.
    pub(super) aged: u64,
}

impl Late {
    pub(super) fn new(habits: &Habits, seed: u64) -> Self {
        let rng = |of| Rng::with_seed(seed ^ of);
        Self {
            share: habits.late,
            shares: rng(0x6c61_7465),
            age: habits.event_age,
            ages: rng(0x6167_6564),
            lag: habits.history_lag,
            lags: rng(0x6c61_6773),
            kept: BTreeMap::new(),
            sent: 0,
            aged: 0,
        }
    }

    /// Whether the sensor keeps this one back.
    pub(super) fn keeps(&mut self, item: &Item, frame: &Frame, now: Duration) -> bool {
        let reading = matches!(item.kind.as_ref(), "temperature" | "humidity") && !item.inner.is_empty();
        let (true, Some(device)) = (reading && self.share > 0.0, item.device) else { return false };
        if self.shares.f64() >= self.share {
            return false;
        }
        let rng = &mut self.shares;
        let kept = self.kept.entry(device).or_insert_with(|| (now.saturating_add(kept_back(rng)), Vec::new()));
        kept.1.push((item.clone(), frame.clone()));
        true
    }

    /// What is to be sent now, newest first.
    pub(super) fn due(&mut self, now: Duration) -> Vec<(Item, Frame)> {
        let mut due = Vec::new();
        for (_, (_, mut readings)) in self.kept.extract_if(.., |_, (due, _)| *due <= now) {
            readings.sort_by_key(|(item, _)| Reverse(item.time));
            due.extend(readings.iter().map(|(item, frame)| backfilled(item, frame, 0)));
        }
        self.sent += u64::try_from(due.len()).unwrap_or(0);
        due
    }

    /// The event as the sensor would have kept it from an earlier time, if it is such a one.
    pub(super) fn ages(&mut self, item: &Item, frame: &Frame) -> Option<(Item, Frame)> {
        let (most, share) = self.age?;
        if self.ages.f64() >= share {
            return None;
        }
        self.aged += 1;
        Some(backfilled(item, frame, self.ages.i64(0..=micros(most))))
    }

    /// How much later than others the history shows the next event.
    pub(super) fn lag(&mut self) -> Duration {
        self.lag.filter(|(_, share)| self.lags.f64() < *share).map_or(Duration::ZERO, |(lag, _)| lag)
    }
}

/// For how long a sensor keeps readings back.
fn kept_back(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(SECOND.unsigned_abs() / 4..3 * SECOND.unsigned_abs()))
}
