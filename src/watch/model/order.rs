//! Which devices somebody wants to see, in which order: search, type, label, sort, a page of fifty.

use std::cmp::Ordering;

use crate::query::tables::Topic;

use super::{Device, Fleet, Said, Trouble};

/// Devices of a page.
pub const PAGE: usize = 50;

/// By what devices are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sort {
    /// Those first that need somebody.
    #[default]
    Trouble,
    /// By name.
    Name,
    /// The greatest value first, of each topic by itself.
    Value,
    /// Those first that were heard longest ago.
    Seen,
    /// The emptiest first.
    Battery,
    /// The weakest first.
    Signal,
}

impl Sort {
    /// All of them, by the words that a page has for them.
    pub const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Trouble, "trouble", "trouble first"),
        (Self::Name, "name", "by name"),
        (Self::Value, "value", "highest value first"),
        (Self::Seen, "seen", "longest silent first"),
        (Self::Battery, "battery", "lowest battery first"),
        (Self::Signal, "signal", "weakest signal first"),
    ];

    /// The word in an address.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("", |(_, word, _)| word)
    }

    /// What a word means; trouble first, where it means nothing.
    pub fn of(word: &str) -> Self {
        Self::ALL.iter().find(|(_, known, _)| *known == word).map(|(sort, ..)| *sort).unwrap_or_default()
    }
}

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wish {
    /// Words, all of which are in the name, the id, the type or a label.
    pub search: String,
    /// The type.
    pub kind: String,
    /// A label, as `key=value` or `key`.
    pub label: String,
    /// In which order.
    pub sort: Sort,
    /// Which page, from 1 on.
    pub page: usize,
}

/// A page of devices.
#[derive(Debug)]
pub struct Page<'f> {
    /// The devices.
    pub devices: Vec<&'f Device>,
    /// Which page it is, from 1 on.
    pub page: usize,
    /// How many pages there are, at least one.
    pub pages: usize,
    /// How many devices are on all pages.
    pub found: usize,
}

impl Fleet {
    /// What somebody wants to see; of a page behind the last one, the last.
    pub fn page(&self, wish: &Wish) -> Page<'_> {
        let mut found = self.found(wish);
        let pages = found.len().div_ceil(PAGE).max(1);
        let page = wish.page.clamp(1, pages);
        let all = found.len();
        // Only what is shown has to be in order: the fifty behind those before.
        let (from, to) = ((page - 1) * PAGE, (page * PAGE).min(all));
        let order = |a: &Key<'_>, b: &Key<'_>| a.compare(b);
        if from > 0 && from < all {
            found.select_nth_unstable_by(from, order);
        }
        let rest = &mut found[from..];
        if to - from < rest.len() {
            rest.select_nth_unstable_by(to - from, order);
        }
        let shown = &mut rest[..to - from];
        shown.sort_unstable_by(order);
        Page { devices: shown.iter().map(|key| key.device).collect(), page, pages, found: all }
    }

    fn found(&self, wish: &Wish) -> Vec<Key<'_>> {
        let search = wish.search.to_lowercase();
        let words: Vec<&str> = search.split_whitespace().collect();
        let is_wanted = |device: &&Device| {
            let known = self.known(device);
            let has_label = || {
                let labels = known.map(|known| &known.labels);
                match wish.label.split_once('=') {
                    Some((key, value)) => labels.and_then(|labels| labels.get(key)).is_some_and(|label| label == value),
                    None => labels.is_some_and(|labels| labels.contains_key(&wish.label)),
                }
            };
            words.iter().all(|word| device.is_found_by(word))
                && (wish.kind.is_empty() || known.is_some_and(|known| known.kind == wish.kind))
                && (wish.label.is_empty() || has_label())
        };
        self.devices.iter().filter(is_wanted).map(|device| self.key(device, wish.sort)).collect()
    }

    fn key<'f>(&'f self, device: &'f Device, sort: Sort) -> Key<'f> {
        let last = (u8::MAX, 0.0);
        #[expect(clippy::cast_precision_loss, reason = "an order")]
        let by = match sort {
            Sort::Trouble => match self.trouble(device) {
                Some(Trouble::Alert(_)) => (0, 0.0),
                Some(Trouble::Alarm(_)) => (1, 0.0),
                Some(Trouble::Silent(ratio)) => (2, ratio),
                Some(Trouble::Battery(battery)) => (3, battery),
                Some(Trouble::Signal(signal)) => (4, signal),
                None => last,
            },
            Sort::Name => last,
            Sort::Value => device.values(|place| self.topic(place)).next().map_or(last, |(_, told)| {
                let value = match &told.said {
                    Said::Number(value) => -value,
                    Said::State(_) | Said::Happened => 0.0,
                };
                (u8::try_from(told.topic).unwrap_or(u8::MAX - 1), value)
            }),
            Sort::Seen => device.last_seen.map_or((0, 0.0), |seen| (1, seen as f64)),
            Sort::Battery => device.battery(&self.topics).map_or(last, |battery| (0, battery)),
            Sort::Signal => device.signal(&self.topics).map_or(last, |signal| (0, signal)),
        };
        Key { by, name: self.name(device), device }
    }

    /// What all topics are, for whoever asks a device.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }
}

/// By what a device is in order: a class and a number in it, then its name.
struct Key<'f> {
    by: (u8, f64),
    name: &'f str,
    device: &'f Device,
}

impl Key<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        let by = self.by.0.cmp(&other.by.0).then_with(|| self.by.1.total_cmp(&other.by.1));
        by.then_with(|| self.name.cmp(other.name)).then_with(|| self.device.number.cmp(&other.device.number))
    }
}
