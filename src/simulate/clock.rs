//! The simulated time. The one place of the simulator that reads the clock.

use super::event::SECOND;
use std::time::{Duration, Instant};

/// Sums with longer times could leave the range.
pub(super) const FOREVER: Duration = Duration::from_hours(10 * 365 * 24);

/// Starts at the real now and runs `speed` times as fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    start: i64,
    speed: f64,
}

impl Clock {
    pub(super) fn new(speed: f64) -> Self {
        // No clock goes backwards or stops for us.
        let speed = if speed.is_finite() { speed.clamp(0.001, 1_000_000.0) } else { 1.0 };
        Self { started: instant(), start: real(), speed }
    }

    /// Simulated time at start.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Simulated now.
    pub(super) fn now(&self) -> i64 {
        self.start.saturating_add(micros(self.elapsed().mul_f64(self.speed)))
    }

    /// Real time since start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The steady clock, for the speed and for the life of access tokens.
#[expect(clippy::disallowed_methods, reason = "stands apart from the crate's `time`; the simulator reads the clock here only")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// Real seconds since 1970, for signed tokens.
pub(super) fn real_seconds() -> i64 {
    real().div_euclid(SECOND)
}

fn real() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A duration in the unit of event times.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.min(FOREVER).as_micros()).unwrap_or(i64::MAX)
}
