//! What happens to things on their way: some come twice, others late.

use super::habits::Habits;
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};

/// New things between a thing and its double, at most.
const APART: u64 = 20;

/// Things on their way out.
#[derive(Debug)]
pub(super) struct Disorder<T> {
    doubles: f64,
    reorder: u64,
    rng: Rng,
    /// Things that came in.
    seen: u64,
    /// By the number of the thing after which they go out, and then in their order; `true`: for the second time.
    held: BTreeMap<(u64, u64), (T, bool)>,
    order: u64,
    ready: VecDeque<(T, bool)>,
}

impl<T: Clone> Disorder<T> {
    pub(super) fn new(habits: &Habits, rng: Rng) -> Self {
        Self {
            doubles: habits.doubles,
            reorder: u64::try_from(habits.reorder).unwrap_or(u64::MAX).min(1_000_000),
            rng,
            seen: 0,
            held: BTreeMap::new(),
            order: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes a thing; it comes out when its turn is.
    pub(super) fn push(&mut self, thing: T) {
        self.seen += 1;
        let delayed = self.reorder > 0 && self.rng.bool();
        let turn = self.seen + if delayed { self.rng.u64(1..=self.reorder) } else { 0 };
        if self.doubles > 0.0 && self.rng.f64() < self.doubles {
            self.hold(turn, thing.clone(), false);
            let apart = self.rng.u64(0..=APART);
            self.hold(turn + apart, thing, true);
        } else if turn > self.seen || !self.held.is_empty() {
            self.hold(turn, thing, false);
        } else {
            self.ready.push_back((thing, false)); // the usual way
        }
        while let Some(first) = self.held.first_entry()
            && first.key().0 <= self.seen
        {
            self.ready.push_back(first.remove());
        }
    }

    fn hold(&mut self, turn: u64, thing: T, again: bool) {
        self.order += 1;
        self.held.insert((turn, self.order), (thing, again));
    }

    /// Whether things wait for later ones.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// No later ones come: all go out.
    pub(super) fn flush(&mut self) {
        while let Some((_, held)) = self.held.pop_first() {
            self.ready.push_back(held);
        }
    }

    /// The next one to go out; `true`: for the second time.
    pub(super) fn next(&mut self) -> Option<(T, bool)> {
        self.ready.pop_front()
    }
}
