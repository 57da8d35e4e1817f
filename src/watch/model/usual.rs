//! How often a device speaks as a rule: intervals between its events, by their length as a power of two.

use crate::base::time::Micros;

/// Two to this many microseconds is about a second, the shortest that is told apart.
const SHORTEST: u32 = 20;
/// Up to three days.
const LENGTHS: usize = 19;
/// Beyond so many intervals the old ones count half.
const MOST: u16 = 500;

/// Intervals.
#[derive(Debug, Clone, Default)]
pub(super) struct Usual([u16; LENGTHS]);

impl Usual {
    /// Notes an interval.
    pub(super) fn note(&mut self, interval: Micros) {
        let power = (64 - interval.max(0).leading_zeros()).saturating_sub(SHORTEST);
        let place = usize::try_from(power).unwrap_or_default().min(LENGTHS - 1);
        self.0[place] += 1;
        if self.0[place] >= MOST {
            self.0.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// What nine of ten intervals are no longer than; none where too few are known.
    pub(super) fn interval(&self) -> Option<Micros> {
        let all: u32 = self.0.iter().map(|count| u32::from(*count)).sum();
        if all < 3 {
            return None;
        }
        let rank = (all * 9).div_ceil(10).min(all - 1);
        let mut sum = 0;
        let place = self.0.iter().position(|count| {
            sum += u32::from(*count);
            sum >= rank
        })?;
        Some(1 << (SHORTEST + u32::try_from(place).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;

    #[test]
    fn the_usual_interval_is_that_of_nine_in_ten() {
        let mut usual = Usual::default();
        (0..2).for_each(|_| usual.note(900 * SECOND));
        assert_eq!(usual.interval(), None, "two say nothing");
        (0..2000).for_each(|_| usual.note(900 * SECOND));
        (0..20).for_each(|_| usual.note(9000 * SECOND));
        let usual = usual.interval().unwrap();
        assert!((900 * SECOND..1800 * SECOND).contains(&usual), "{usual}");
        let mut rare = Usual::default();
        (0..9).for_each(|_| rare.note(Micros::MAX));
        assert!(rare.interval().unwrap() >= 3 * 86_400 * SECOND);
    }
}
