//! The states of a device over time. Where they change faster than a picture can show, a span says how much of it each took.

use std::sync::Arc;

use crate::base::time::Micros;
use crate::output::chart::Span;

/// A time in one state, or in several that alternate.
#[derive(Debug)]
struct Block {
    from: Micros,
    to: Micros,
    /// States by their numbers, and how long each was.
    times: Vec<(usize, Micros)>,
}

/// One device's states.
#[derive(Debug, Default)]
pub(super) struct States {
    blocks: Vec<Block>,
    /// The state that it is in, since when, and until when that is known.
    now: Option<(usize, Micros, Micros)>,
    /// What is shorter than this is put together.
    width: Micros,
}

impl States {
    /// A state is told; it lasts until the next one, or as long as that is known.
    pub(super) fn tell(&mut self, time: Micros, state: usize, known_until: Micros, limit: usize) {
        if let Some((now, _, until)) = &mut self.now
            && *now == state
            && *until >= time
        {
            *until = known_until;
            return;
        }
        self.close(time);
        self.now = Some((state, time, known_until));
        self.shrink(limit);
    }

    fn close(&mut self, end: Micros) {
        let Some((state, since, until)) = self.now.take() else { return };
        let end = end.min(until);
        if since >= end {
            return;
        }
        let next = Block { from: since, to: end, times: vec![(state, end - since)] };
        match self.blocks.last_mut() {
            Some(last) if last.meets(&next, self.width) => last.add(&next),
            _ => self.blocks.push(next),
        }
    }

    /// Puts short times together until there are no more than so many.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.blocks.len() > limit.max(4) {
            let (first, last) = (self.blocks[0].from, self.blocks[self.blocks.len() - 1].to);
            let shortest = (last.saturating_sub(first) / i64::try_from(limit).unwrap_or(Micros::MAX)).max(1);
            self.width = if self.width < shortest { shortest } else { self.width.saturating_mul(2) };
            let width = self.width;
            self.blocks.dedup_by(|next, block| {
                let is_one = block.meets(next, width);
                if is_one {
                    block.add(next);
                }
                is_one
            });
        }
    }

    /// All of it until a time.
    pub(super) fn spans(mut self, until: Micros, limit: usize, names: &[Arc<str>]) -> Vec<Span> {
        self.close(until);
        self.shrink(limit);
        let mut all = Vec::new();
        for mut block in self.blocks {
            block.times.sort_by_key(|(state, _)| &names[*state]);
            #[expect(clippy::cast_precision_loss, reason = "a part of a strip")]
            let part = |micros: Micros| micros as f64 / (block.to - block.from) as f64;
            let span = |(state, micros): &(usize, Micros)| Span {
                from: block.from,
                to: block.to,
                state: Arc::clone(&names[*state]),
                part: part(*micros),
            };
            all.extend(block.times.iter().map(span));
        }
        all
    }
}

impl Block {
    /// A long time in one state stays as it is.
    fn meets(&self, next: &Self, width: Micros) -> bool {
        let is_short = |block: &Self| block.times.len() > 1 || block.to - block.from < width;
        width > 0
            && is_short(self)
            && is_short(next)
            && next.from - self.to < width
            && self.from.div_euclid(width) == next.from.div_euclid(width)
    }

    fn add(&mut self, next: &Self) {
        self.to = next.to;
        for (state, micros) in &next.times {
            match self.times.iter_mut().find(|(known, _)| known == state) {
                Some((_, sum)) => *sum += micros,
                None => self.times.push((*state, *micros)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<Arc<str>> {
        vec!["CLOSED".into(), "OPEN".into()]
    }

    #[test]
    fn a_state_lasts_until_the_next_one_or_a_gap() {
        let mut track = States::default();
        track.tell(10, 0, 50, 100);
        track.tell(20, 0, 50, 100);
        track.tell(30, 1, 50, 100);
        track.tell(90, 1, Micros::MAX, 100);
        let spans = track.spans(100, 100, &names());
        let found: Vec<_> = spans.iter().map(|span| (span.from, span.to, &*span.state)).collect();
        assert_eq!(found, [(10, 30, "CLOSED"), (30, 50, "OPEN"), (90, 100, "OPEN")]);
    }

    #[test]
    fn states_that_change_all_the_time_share_it_and_a_long_one_stays() {
        let mut track = States::default();
        for second in 0..50_000 {
            track.tell(second * 10, 0, Micros::MAX, 200);
            track.tell(second * 10 + 8, 1, Micros::MAX, 200);
        }
        track.tell(500_000, 0, Micros::MAX, 200);
        let spans = track.spans(1_000_000, 100, &names());
        assert!(spans.len() <= 200, "{}", spans.len());
        let open: Vec<f64> = spans.iter().filter(|span| &*span.state == "OPEN").map(|span| span.part).collect();
        assert!(open.iter().all(|part| (part - 0.2).abs() < 0.02), "{open:?}");
        let last = &spans[spans.len() - 1];
        assert_eq!((last.from, last.to), (500_000, 1_000_000));
        assert!(last.part > 0.999);
    }
}
