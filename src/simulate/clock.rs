//! The simulated time.

use crate::base::time::{SECOND, instant, now};
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
        Self { started: instant(), start: now(), speed }
    }

    /// Simulated time at start.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Simulated now.
    pub(super) fn now(&self) -> i64 {
        self.at(self.elapsed())
    }

    /// Simulated time at a real time since start.
    pub(super) fn at(&self, elapsed: Duration) -> i64 {
        self.start.saturating_add(micros(elapsed.min(FOREVER).mul_f64(self.speed)))
    }

    /// Real time since start.
    pub(super) fn elapsed(&self) -> Duration {
        instant().saturating_duration_since(self.started)
    }
}

/// Real seconds since 1970, for signed tokens.
pub(super) fn real_seconds() -> i64 {
    now().div_euclid(SECOND)
}

/// A duration in the unit of event times.
pub(super) fn micros(duration: Duration) -> i64 {
    crate::base::time::micros(duration.min(FOREVER))
}
