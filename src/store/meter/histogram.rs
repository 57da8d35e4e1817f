//! A histogram of times, as Prometheus wants one: how often it took at most so long.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::time::{Micros, SECOND};

const MILLISECOND: Micros = 1000;
/// What is counted apart: from a commit on a fast disk to an event that lay in a sensor for a day.
const BOUNDS: [Micros; 20] = [
    MILLISECOND,
    5 * MILLISECOND / 2,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    5 * SECOND / 2,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    3600 * SECOND,
    6 * 3600 * SECOND,
    24 * 3600 * SECOND,
];

/// Times that are counted by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Of each bound, and of what is longer than all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: AtomicU64,
}

/// What a histogram holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// A bound, and how many are no longer than it.
    pub buckets: Vec<(Micros, u64)>,
    /// All of them.
    pub count: u64,
    /// Together, in microseconds.
    pub sum: u64,
}

impl Histogram {
    /// Counts times; less than none is none.
    pub fn add(&self, times: impl IntoIterator<Item = Micros>) {
        let (mut counts, mut sum) = ([0; BOUNDS.len() + 1], 0_u64);
        for time in times {
            counts[BOUNDS.partition_point(|bound| *bound < time)] += 1;
            sum = sum.saturating_add(time.max(0).unsigned_abs());
        }
        for (count, more) in self.counts.iter().zip(counts).filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Counted {
        let mut count = 0;
        let mut upto = |one: &AtomicU64| {
            count += one.load(Ordering::Relaxed);
            count
        };
        let buckets = BOUNDS.into_iter().zip(self.counts.iter().map(&mut upto)).collect();
        let count = self.counts.last().map_or(0, upto);
        Counted { buckets, count, sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_each_bound_and_those_beyond_all_in_the_total() {
        let histogram = Histogram::default();
        histogram.add([-5, 0, MILLISECOND, MILLISECOND + 1, 2 * SECOND]);
        histogram.add([48 * 3600 * SECOND]);
        let counted = histogram.read();
        let upto = |bound| counted.buckets.iter().find(|(at, _)| *at == bound).unwrap().1;
        assert_eq!([MILLISECOND, 10 * MILLISECOND, SECOND, 5 * SECOND, 24 * 3600 * SECOND].map(upto), [3, 4, 4, 5, 5]);
        assert_eq!((counted.count, counted.sum), (6, 2 * 1000 + 1 + 2_000_000 + 172_800_000_000));
    }
}
