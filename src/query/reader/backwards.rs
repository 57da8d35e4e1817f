//! Back through the days of an event type, in search of what each device told last. Days are left out of which the index knows that
//! nobody is in them who is still looked for: so the search of years opens a few files.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::base::time::Day;

use super::{Reader, Result, There};

/// The days that have to be looked at, the last one first.
#[derive(Debug)]
pub struct Backwards<'a> {
    /// Ascending.
    days: Vec<(Day, Stop<'a>)>,
    wanted: &'a HashSet<String>,
    /// Devices that may have events on the day that comes next or before it, and were not met yet.
    sought: HashSet<Option<&'a str>>,
    first: HashMap<Option<&'a str>, Day>,
    met: HashSet<String>,
    /// What is about no device was met as well.
    has_met_none: bool,
}

/// A day.
#[derive(Debug, Default)]
struct Stop<'a> {
    /// It has events.
    is_there: bool,
    /// Nobody knows of which devices, or there are more of them in the buffer.
    is_open: bool,
    /// Devices whose last event known to the index is of this day.
    last: Vec<Option<&'a str>>,
}

impl Reader {
    /// The days of an event type from `upto` back to `from`, for some devices or for all.
    ///
    /// # Errors
    /// When the buffer does not read, or a folder.
    pub fn backwards<'a>(
        &'a self,
        event_type: &str,
        (from, upto): (Option<Day>, Option<Day>),
        wanted: &'a HashSet<String>,
    ) -> Result<Backwards<'a>> {
        let There { pending, catalog, .. } = self.there()?;
        let is_within = |day: Day| from.is_none_or(|from| day >= from) && upto.is_none_or(|upto| day <= upto);
        let (mut days, mut first) = (BTreeMap::<Day, Stop<'a>>::new(), HashMap::new());
        for pending in pending.iter().filter(|pending| *pending.partition.event_type == *event_type) {
            let stop = days.entry(pending.partition.day).or_default();
            (stop.is_there, stop.is_open) = (true, true);
        }
        if let Some(folder) = catalog.folder(&self.layout.folder(event_type)) {
            for file in folder.files().iter().filter(|file| is_within(file.day)) {
                let stop = days.entry(file.day).or_default();
                stop.is_there = true;
                stop.is_open |= folder.indexed(file).is_none();
            }
            for (day, entry) in folder.index().entries() {
                // What came last of a device after the range says that it may have been in it.
                let stop = days.entry(upto.map_or(day, |upto| day.min(upto))).or_default();
                stop.last.extend(entry.last.iter().map(Option::as_deref));
                first.extend(entry.first.iter().map(|device| (device.as_deref(), day)));
            }
        }
        let days = days.into_iter().filter(|(day, _)| is_within(*day)).collect();
        Ok(Backwards { days, wanted, sought: HashSet::new(), first, met: HashSet::new(), has_met_none: false })
    }
}

impl Backwards<'_> {
    /// The next day to look at.
    pub fn next_day(&mut self) -> Option<Day> {
        while let Some((day, stop)) = self.days.pop() {
            if !self.wanted.is_empty() && self.wanted.iter().all(|device| self.met.contains(device)) {
                return None;
            }
            let (wanted, is_for_all) = (self.wanted, self.wanted.is_empty());
            self.sought.extend(stop.last.into_iter().filter(|device| is_for_all || device.is_some_and(|id| wanted.contains(id))));
            let (met, has_met_none, first) = (&self.met, self.has_met_none, &self.first);
            self.sought.retain(|device| {
                let is_met = device.map_or(has_met_none, |id| met.contains(id));
                !is_met && first.get(device).is_none_or(|first| *first <= day)
            });
            if stop.is_there && (stop.is_open || !self.sought.is_empty()) {
                return Some(day);
            }
        }
        None
    }

    /// A device need not be looked for any more.
    pub fn met(&mut self, device: Option<&str>) {
        match device {
            Some(id) if !self.met.contains(id) => drop(self.met.insert(id.to_owned())),
            Some(_) => {}
            None => self.has_met_none = true,
        }
    }

    /// Whether a device was met.
    pub fn has_met(&self, device: Option<&str>) -> bool {
        device.map_or(self.has_met_none, |id| self.met.contains(id))
    }
}
