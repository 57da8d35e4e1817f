//! How long to wait before the next try: exponential, with full jitter and a cap. Chance is handed in.

use std::time::Duration;

/// Counts the tries that failed in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of 0 to `base`, then to twice that, and so on up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// How many tries have failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A try went well: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// A try failed: how long to wait. `chance` lies in 0 to 1; `retry_after` is the least that the server asked for.
    pub fn wait(&mut self, chance: f64, retry_after: Option<Duration>) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        // A float near the longest duration may round to more than that.
        let wait = Duration::try_from_secs_f64(ceiling.as_secs_f64() * chance.clamp(0.0, 1.0)).unwrap_or(ceiling);
        wait.max(retry_after.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_cap_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let waits: Vec<_> = (0..8).map(|_| backoff.wait(1.0, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.wait(0.5, None), Duration::from_secs(30));
        backoff.reset();
        assert_eq!(backoff.wait(0.0, Some(Duration::from_secs(7))), Duration::from_secs(7));
    }

    #[test]
    fn no_wait_overflows() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        for chance in [0.0, 0.5, 1.0, 7.0, -7.0, f64::INFINITY, f64::NAN] {
            assert!(backoff.wait(chance, Some(Duration::MAX)) <= Duration::MAX);
        }
        backoff.failures = u32::MAX;
        assert_eq!(backoff.wait(1.0, None), Duration::MAX);
    }
}
