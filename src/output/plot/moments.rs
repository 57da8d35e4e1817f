//! When something happened to a device. Of what happens faster than a picture can show, the first stands for the rest.

use crate::base::time::Micros;

/// One device's moments.
#[derive(Debug, Default)]
pub(super) struct EventMarks {
    all: Vec<Micros>,
    width: Micros,
}

impl EventMarks {
    /// Something happened, not before what happened before.
    pub(super) fn happen(&mut self, time: Micros, limit: usize) {
        if self.all.last().is_none_or(|last| self.width == 0 || time - last >= self.width) {
            self.all.push(time);
        }
        self.shrink(limit);
    }

    /// Puts neighbours together until there are no more than so many.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.all.len() > limit.max(2) {
            let length = self.all[self.all.len() - 1].saturating_sub(self.all[0]);
            let shortest = (length / i64::try_from(limit).unwrap_or(Micros::MAX)).max(1);
            self.width = if self.width < shortest { shortest } else { self.width.saturating_mul(2) };
            let width = self.width;
            self.all.dedup_by(|next, kept| *next - *kept < width);
        }
    }

    /// At most so many of them.
    pub(super) fn moments(mut self, limit: usize) -> Vec<Micros> {
        self.shrink(limit);
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_touches_are_a_thousand_strokes_all_over_the_night() {
        let mut track = EventMarks::default();
        (0..100_000).for_each(|time| track.happen(time, 2000));
        let all = track.moments(1000);
        assert!((400..=1000).contains(&all.len()));
        assert!(all[all.len() - 1] > 99_000);
    }
}
