//! What has been published: the truth for tests, in order, and the history that the API shows, by device and time.

use super::batch::{Frame, Item};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Most events kept for `/simulator/truth`, and most kept for the history; at some 400 bytes each, shared by both.
const KEEP: usize = 2_000_000;

/// The place of an event in the history of its device: its time, then the order of publishing.
pub(super) type Place = (i64, u64);

#[derive(Debug)]
struct Entry {
    /// Real time since start from which on it is shown.
    visible: Duration,
    kind: Cow<'static, str>,
    frame: Frame,
}

/// Which part of a history is wanted.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// Inclusive.
    pub(super) start: i64,
    /// Exclusive.
    pub(super) end: i64,
    /// Continue below this place.
    pub(super) below: Option<Place>,
    pub(super) kinds: Vec<&'a str>,
    pub(super) size: usize,
    /// What was visible then, in real time since start, is shown.
    pub(super) as_of: Duration,
}

/// Events published so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// With the wall-clock times of publishing.
    truth: VecDeque<(i64, Frame)>,
    /// How many events of the truth were given up to stay within bounds.
    forgotten: usize,
    counts: BTreeMap<Cow<'static, str>, u64>,
    history: HashMap<usize, BTreeMap<Place, Entry>>,
    stored: usize,
    order: u64,
}

impl Ledger {
    /// A published event: part of the truth and of the history.
    pub(super) fn publish(&mut self, item: &Item, frame: &Frame, published: i64, visible: Duration, oldest: i64) {
        if let Some(count) = self.counts.get_mut(&item.kind) {
            *count += 1;
        } else {
            self.counts.insert(item.kind.clone(), 1);
        }
        self.truth.push_back((published, frame.clone()));
        if self.truth.len() > KEEP {
            self.truth.pop_front();
            self.forgotten += 1;
        }
        self.store(item, frame, visible, oldest);
    }

    /// History only: what happened before the simulator started.
    pub(super) fn store(&mut self, item: &Item, frame: &Frame, visible: Duration, oldest: i64) {
        let Some(device) = item.device.filter(|_| item.kind != "labelsChanged") else { return };
        if item.time < oldest {
            return;
        }
        let events = self.history.entry(device).or_default();
        self.order += 1;
        self.stored += 1;
        events.insert((item.time, self.order), Entry { visible, kind: item.kind.clone(), frame: frame.clone() });
        while let Some(first) = events.first_entry()
            && (first.key().0 < oldest || self.stored > KEEP)
        {
            first.remove();
            self.stored -= 1;
        }
    }

    /// One page of a device's history, newest first, and where the next page starts.
    pub(super) fn page(&self, device: usize, window: &Window<'_>) -> (Vec<&Frame>, Option<Place>) {
        // No event has the order 0: these are below all events of their time.
        let (bottom, end) = ((window.start, 0), (window.end, 0));
        let top = window.below.map_or(end, |place| place.min(end));
        let Some(events) = self.history.get(&device).filter(|_| bottom < top) else { return (Vec::new(), None) };
        let mut wanted = events
            .range(bottom..top)
            .rev()
            .filter(|(_, e)| e.visible <= window.as_of && (window.kinds.is_empty() || window.kinds.iter().any(|k| *k == e.kind)));
        let mut last = None;
        let page = wanted.by_ref().take(window.size).map(|(place, e)| {
            last = Some(*place);
            &e.frame
        });
        let page = page.collect();
        let more = wanted.next().is_some();
        (page, last.filter(|_| more))
    }

    /// Events published since start.
    pub(super) fn published(&self) -> usize {
        self.forgotten + self.truth.len()
    }

    /// Events published since start by type.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(kind, n)| (kind.as_ref(), *n))
    }

    /// First event that the truth still has.
    pub(super) fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// The truth from the n-th event on.
    pub(super) fn truth(&self, from: usize) -> impl Iterator<Item = &(i64, Frame)> {
        let from = from.saturating_sub(self.forgotten).min(self.truth.len());
        self.truth.range(from..)
    }
}
