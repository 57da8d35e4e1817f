//! Doubles: events of one type that share an id. Copies of an event have one time and meet in one day file, where the roll
//! drops them; an id that comes with another time makes a second event, often on another day.
//!
//! Looked for by 64-bit hashes of the ids, gathered while the rows are read anyway. What does not fit in the memory for them
//! is left for further passes over the id columns. Whatever two ids share a hash, only equal ids are doubles.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::base::text::printable;
use crate::base::time::{Micros, rfc3339};
use crate::model::layout::Layout;
use crate::store::archive::{DayFile, Keys};
use crate::store::buffer::View;

use super::{Report, Severity};

/// Hashes held at a time: 64 MiB of them, which is the ids of 8 million events of one type.
const HASHES: usize = 8 * 1024 * 1024;
/// Bytes of ids that are compared at a time; few in unit tests.
const IDS_BYTES: usize = if cfg!(test) { 1000 } else { 16 * 1024 * 1024 };
/// About what an id takes in memory besides its text.
const ID_BYTES: usize = 100;

/// Hashes of the ids of one event type.
#[derive(Debug)]
pub(super) struct Ids<S = RandomState> {
    hasher: S,
    held: Vec<u64>,
    /// Which hashes are held; others have their turn later.
    range: RangeInclusive<u64>,
    most: usize,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self::by(RandomState::new(), HASHES)
    }
}

impl<S: BuildHasher> Ids<S> {
    /// So many at a time.
    fn by(hasher: S, most: usize) -> Self {
        Self { hasher, held: Vec::new(), range: 0..=u64::MAX, most }
    }

    pub(super) fn add(&mut self, id: &str) {
        let hash = self.hasher.hash_one(id);
        if self.range.contains(&hash) {
            if self.held.len() >= self.most {
                self.thin();
            }
            if self.range.contains(&hash) {
                self.held.push(hash);
            }
        }
    }

    /// Makes room: two of a kind say enough, and the upper half waits for another pass.
    fn thin(&mut self) {
        self.held.sort_unstable();
        let mut kept = 0;
        for at in 0..self.held.len() {
            if kept < 2 || self.held[kept - 2] != self.held[at] {
                self.held[kept] = self.held[at];
                kept += 1;
            }
        }
        self.held.truncate(kept);
        let half = self.most / 2;
        if kept > half {
            self.range = *self.range.start()..=self.held[half - 1];
            self.held.truncate(self.held.partition_point(|hash| self.range.contains(hash)));
        }
    }

    /// Hashes that came more than once, ascending. None is held any more.
    fn twice(&mut self) -> Vec<u64> {
        self.held.sort_unstable();
        let mut twice: Vec<u64> = self.held.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        twice.dedup();
        self.held.clear();
        twice
    }

    /// Turns to the hashes that had to wait; false when there are none, and another event type can have its turn.
    fn go_on(&mut self) -> bool {
        let next = self.range.end().checked_add(1);
        self.range = next.unwrap_or_default()..=u64::MAX;
        next.is_some()
    }
}

/// Where ids stand: the buffer and the day files of one event type; none where neither says which.
pub(super) struct Rows<'a> {
    pub(super) event_type: Option<Arc<str>>,
    pub(super) layout: &'a Layout,
    pub(super) view: Option<&'a View>,
    pub(super) files: Vec<PathBuf>,
}

impl Rows<'_> {
    /// Hands on every id with its time and the number of its file; the buffer has the one behind the last. The buffer comes
    /// first: what is rolled meanwhile is met twice, and not missed. What does not read has a finding already.
    fn each(&self, take: &mut dyn FnMut(usize, Micros, &str)) {
        self.in_buffer(|time, id| take(self.files.len(), time, id));
        for (number, path) in self.files.iter().enumerate() {
            let Ok(Some(file)) = DayFile::open(path) else { continue };
            for group in 0..file.groups() {
                let read = file.keys(group, |times, ids| {
                    times.iter().zip(ids).for_each(|(time, id)| take(number, *time, id.unwrap_or_default()));
                });
                if read.is_err() {
                    break;
                }
            }
        }
    }

    /// Hands on what stands in the buffer.
    pub(super) fn in_buffer(&self, mut take: impl FnMut(Micros, &str)) {
        let each = |rows: &RecordBatch| {
            for (time, id) in Keys::of(rows).iter().flat_map(Keys::iter) {
                take(time, id);
            }
        };
        if let (Some(view), Some(event_type)) = (self.view, &self.event_type) {
            view.each_block(event_type, each).unwrap_or_default();
        }
    }

    fn path(&self, number: usize) -> PathBuf {
        self.files.get(number).cloned().unwrap_or_else(|| self.layout.buffer())
    }
}

/// An event that stands elsewhere with another time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Double {
    time: Micros,
    id: String,
    other: (usize, Micros),
}

/// By the number of a file: how many doubles are in it, and the first of them.
type Found = BTreeMap<usize, (u64, Double)>;

/// Tells of the doubles of one event type, once the ids of all its rows are gathered.
pub(super) fn doubles(ids: &mut Ids, rows: &Rows<'_>, report: &mut Report) {
    for (number, (count, first)) in find(ids, |take| rows.each(take)) {
        tell(rows, number, count, &first, report);
    }
}

/// Finds doubles among the ids that were gathered, and among those that had to wait. `each` hands on every row again.
fn find<S: BuildHasher>(ids: &mut Ids<S>, each: impl Fn(&mut dyn FnMut(usize, Micros, &str))) -> Found {
    let mut found = Found::new();
    loop {
        compare(ids.twice(), &ids.hasher, &each, &mut found);
        if !ids.go_on() {
            return found;
        }
        each(&mut |_, _, id| ids.add(id));
    }
}

/// Looks at the ids themselves behind some hashes, as many at a time as fit.
fn compare<S: BuildHasher>(
    mut hashes: Vec<u64>,
    hasher: &S,
    each: &impl Fn(&mut dyn FnMut(usize, Micros, &str)),
    found: &mut Found,
) {
    while !hashes.is_empty() {
        let mut known: HashMap<u64, Vec<(String, usize, Micros)>> = HashMap::new();
        let mut bytes = 0;
        each(&mut |number, time, id| {
            let hash = hasher.hash_one(id);
            if hashes.binary_search(&hash).is_err() || bytes >= IDS_BYTES && !known.contains_key(&hash) {
                return;
            }
            let same = known.entry(hash).or_default();
            match same.iter().find(|(known, ..)| known == id) {
                // The same event: rolled meanwhile, or it came twice and is dropped when it is rolled.
                Some((_, _, before)) if *before == time => {}
                Some((_, other, before)) => {
                    let double = Double { time, id: printable(id, 100), other: (*other, *before) };
                    let (count, first) = found.entry(number).or_insert_with(|| (0, double.clone()));
                    *count += 1;
                    if double < *first {
                        *first = double;
                    }
                }
                None => {
                    bytes += id.len() + ID_BYTES;
                    same.push((id.to_owned(), number, time));
                }
            }
        });
        if bytes < IDS_BYTES {
            break;
        }
        hashes.retain(|hash| !known.contains_key(hash));
    }
}

fn tell(rows: &Rows<'_>, number: usize, count: u64, first: &Double, report: &mut Report) {
    let Double { id, time, other: (other, before) } = first;
    let there = if *other == number { "here also".to_owned() } else { format!("in {}", rows.path(*other).display()) };
    let more = if count > 1 { format!("; {} more like it", count - 1) } else { String::new() };
    let event_type = rows.event_type.as_deref().unwrap_or_default();
    let (time, before) = (rfc3339(*time), rfc3339(*before));
    let found =
        format!("a double: event {id:?} of type {event_type} stands here with time {time} and {there} with time {before}{more}");
    let advice = "nothing is damaged: whoever sent the event gave it two times, and both are kept, since nobody can say which \
                  holds; count an event_id once, by its latest received_at";
    report.add(Severity::Double, &rows.path(number), "each event id of a type once", found, advice);
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

    use super::*;

    /// Of a hundred hashes at most.
    #[derive(Default)]
    struct Coarse(DefaultHasher);

    impl Hasher for Coarse {
        fn write(&mut self, bytes: &[u8]) {
            self.0.write(bytes);
        }

        fn finish(&self) -> u64 {
            self.0.finish() % 100
        }
    }

    /// Ids 0 to 999 in file 0; every seventh in file 1 at its own time once more, every fiftieth at another time as well.
    fn each(take: &mut dyn FnMut(usize, Micros, &str)) {
        for id in 0..1000 {
            take(0, id, &id.to_string());
            if id % 7 == 0 {
                take(1, id, &id.to_string());
            }
            if id % 50 == 0 {
                take(1, id + 1, &id.to_string());
            }
        }
    }

    fn found<S: BuildHasher>(hasher: S, most: usize) -> u64 {
        let mut ids = Ids::by(hasher, most);
        each(&mut |_, _, id| {
            ids.add(id);
            assert!(ids.held.len() <= most);
        });
        let found = find(&mut ids, each);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(found[&1].1, Double { time: 1, id: "0".to_owned(), other: (0, 0) });
        found[&1].0
    }

    #[test]
    fn however_little_memory_there_is_an_id_with_two_times_is_found_and_none_that_only_shares_a_hash() {
        for most in [3, 16, 500, 10_000] {
            assert_eq!(found(RandomState::new(), most), 20, "{most} at a time");
            assert_eq!(found(BuildHasherDefault::<Coarse>::default(), most), 20, "{most} at a time");
        }
    }

    #[test]
    fn ids_that_stand_once_are_read_once() {
        let mut ids = Ids::new();
        (0..1000).for_each(|id| ids.add(&id.to_string()));
        assert!(find(&mut ids, |_| panic!("read again")).is_empty());
    }
}
