//! A measure over time, each event by itself as long as there are few, then in buckets that grow.

use crate::base::time::Micros;
use crate::output::chart::Point;

/// A hole is a silence where it is longer than so many of the intervals that are usual.
const SILENT: Micros = 4;

/// Events that are one point.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    first: Micros,
    last: Micros,
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
    latest: f64,
    /// A gap lies before it.
    is_behind_gap: bool,
}

/// One device's measure.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    buckets: Vec<Bucket>,
    /// How long a bucket is; 0 while each event has its own.
    width: Micros,
    /// Intervals between events, by their length as a power of two.
    intervals: Intervals,
}

#[derive(Debug)]
struct Intervals([u32; 64]);

impl Default for Intervals {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Numbers {
    /// The time of the last event.
    pub(super) fn last(&self) -> Option<Micros> {
        self.buckets.last().map(|bucket| bucket.last)
    }

    /// An event, none of them before the one before.
    pub(super) fn measure(&mut self, time: Micros, value: f64, is_behind_gap: bool, limit: usize) {
        if let Some(last) = self.last() {
            self.intervals.note(time - last);
        }
        let own = Bucket { first: time, last: time, count: 1, sum: value, min: value, max: value, latest: value, is_behind_gap };
        match self.buckets.last_mut() {
            Some(last) if last.meets(&own, self.width) => last.add(&own),
            _ => self.buckets.push(own),
        }
        self.shrink(limit);
    }

    /// Makes buckets longer until there are no more than so many.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.buckets.len() > limit.max(2) {
            let (first, last) = (self.buckets[0].first, self.last().unwrap_or_default());
            let shortest = (last.saturating_sub(first) / i64::try_from(limit).unwrap_or(Micros::MAX)).max(1);
            self.width = if self.width < shortest { shortest } else { self.width.saturating_mul(2) };
            let width = self.width;
            self.buckets.dedup_by(|next, bucket| {
                let is_one = bucket.meets(next, width);
                if is_one {
                    bucket.add(next);
                }
                is_one
            });
        }
    }

    /// The line in about so many points; broken at gaps, and where the device was silent for longer than it usually is.
    pub(super) fn pieces(mut self, points: usize, length: Micros, is_measure: bool) -> Vec<Vec<Point>> {
        self.shrink(points.max(2));
        let usual = self.intervals.usual().filter(|_| is_measure);
        // A hole that is narrower than a pixel cannot be seen, and would only tear the line.
        let shortest = length / i64::try_from(points.max(1)).unwrap_or(1);
        let silence = usual.map_or(Micros::MAX, |usual| usual.saturating_mul(SILENT).max(shortest));
        let mut pieces: Vec<Vec<Point>> = Vec::new();
        let mut last = None;
        for bucket in self.buckets {
            let is_torn = last.is_none_or(|last: Micros| bucket.is_behind_gap || bucket.first - last > silence);
            last = Some(bucket.last);
            if is_torn {
                pieces.push(Vec::new());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push(bucket.point(is_measure));
            }
        }
        pieces
    }
}

impl Bucket {
    fn meets(&self, next: &Self, width: Micros) -> bool {
        width > 0 && self.first.div_euclid(width) == next.first.div_euclid(width)
    }

    fn add(&mut self, next: &Self) {
        self.last = next.last;
        self.count = self.count.saturating_add(next.count);
        self.sum += next.sum;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.latest = next.latest;
    }

    /// A measure stands in the middle with its mean, a total at the end with what it is by then.
    fn point(&self, is_measure: bool) -> Point {
        if is_measure {
            let time = self.first + (self.last - self.first) / 2;
            Point { time, value: self.sum / f64::from(self.count), min: self.min, max: self.max }
        } else {
            Point { time: self.last, value: self.latest, min: self.latest, max: self.latest }
        }
    }
}

impl Intervals {
    fn note(&mut self, interval: Micros) {
        let power = 64 - interval.max(0).leading_zeros();
        let count = &mut self.0[usize::try_from(power).unwrap_or_default().min(63)];
        *count = count.saturating_add(1);
    }

    /// What nine of ten intervals are no longer than; none where too few are known.
    fn usual(&self) -> Option<Micros> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        if all < 3 {
            return None;
        }
        // Of a few intervals all but the longest.
        let rank = (all * 9).div_ceil(10).min(all - 1);
        let mut sum = 0;
        let power = self.0.iter().position(|count| {
            sum += u64::from(*count);
            sum >= rank
        });
        power.map(|power| 1_i64.checked_shl(u32::try_from(power).unwrap_or(62).min(62)).unwrap_or(Micros::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;

    fn every_minute(minutes: impl Iterator<Item = i64>) -> Numbers {
        let mut track = Numbers::default();
        for minute in minutes {
            #[expect(clippy::cast_precision_loss, reason = "a few minutes")]
            track.measure(minute * 60 * SECOND, minute as f64, false, 1000);
        }
        track
    }

    #[test]
    fn a_long_silence_tears_the_line_and_a_short_one_does_not() {
        let hour = 3600 * SECOND;
        let sizes = |track: Numbers| track.pieces(800, hour, true).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(every_minute((0..20).chain(22..40))), [38]);
        assert_eq!(sizes(every_minute((0..20).chain(30..40))), [20, 10]);
        assert_eq!(sizes(every_minute([0, 20, 22].into_iter())), [3], "nobody knows what is usual");
    }

    #[test]
    fn a_total_is_torn_by_gaps_alone() {
        assert_eq!(every_minute((0..20).chain(30..40)).pieces(800, SECOND, false).len(), 1);
        let mut track = every_minute(0..5);
        track.measure(600 * SECOND, 9.0, true, 1000);
        assert_eq!(track.pieces(800, SECOND, false).len(), 2);
    }

    #[test]
    fn many_events_become_few_points_that_know_their_extremes() {
        let mut track = Numbers::default();
        for second in 0..100_000_i64 {
            let value = if second == 77_777 { 99.0 } else { 20.0 };
            track.measure(second * SECOND, value, false, 1600);
            assert!(track.buckets.len() <= 1600);
        }
        let pieces = track.pieces(800, 100_000 * SECOND, true);
        assert_eq!(pieces.len(), 1);
        assert!((300..=800).contains(&pieces[0].len()), "{}", pieces[0].len());
        assert!(pieces[0].iter().any(|point| point.max > 98.0 && point.value < 21.0));
        assert!(pieces[0].is_sorted_by_key(|point| point.time));
    }
}
