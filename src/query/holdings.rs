//! What a recording holds, by event type and day: rows of its day files and, above them, of the buffer.

use std::collections::BTreeMap;

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::store::archive::{ArchiveError, Footers};
use crate::store::buffer::{BufferError, View};

/// Why nothing is seen of a recording.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The buffer cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A folder cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// All of it at one moment.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// Every event type and day.
    pub sums: BTreeMap<Partition, Sums>,
    /// Day files that do not read, with the reason.
    pub unreadable: Vec<String>,
}

/// One event type on one day.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// Rows in the day file and in the buffer.
    pub rows: u64,
    /// Of these, rows in the buffer.
    pub buffered: u64,
    /// Size of the day file in bytes; 0 where there is none.
    pub bytes: u64,
    /// The day file is sealed.
    pub sealed: bool,
    /// Times of the first and the last event.
    pub times: Option<(Micros, Micros)>,
}

impl Sums {
    fn span(&mut self, first: Micros, last: Micros) {
        let (a, b) = self.times.unwrap_or((first, last));
        self.times = Some((a.min(first), b.max(last)));
    }
}

/// Days whose files say what a day takes.
const WEEK: i32 = 7;

/// What a day takes, of files with their days and sizes in bytes: the mean of the days of the last week that have any; none where none has.
pub fn bytes_a_day(files: impl IntoIterator<Item = (Day, u64)>, today: Day) -> Option<u64> {
    let mut days: BTreeMap<Day, u64> = BTreeMap::new();
    for (day, bytes) in files {
        if bytes > 0 && (today.0 - WEEK..today.0).contains(&day.0) {
            *days.entry(day).or_default() += bytes;
        }
    }
    (!days.is_empty()).then(|| days.values().sum::<u64>() / days.len() as u64)
}

impl Holdings {
    /// Adds them up. `footers` are brought up to date; who keeps them for the next time opens only what is new.
    ///
    /// # Errors
    /// When the buffer or a folder does not read. A day file that does not is named.
    pub fn read(layout: &Layout, view: &View, footers: &mut Footers) -> Result<Self, LookError> {
        // The buffer first, the files after: what a footer covers by then is in its file.
        let pending = view.pending()?;
        footers.look(layout)?;
        let mut sums: BTreeMap<Partition, Sums> = BTreeMap::new();
        // Of the few that have rows in the buffer, up to where those are in the file.
        let mut covered: BTreeMap<Partition, i64> = pending.iter().map(|pending| (pending.partition.clone(), 0)).collect();
        for (footer, bytes) in footers.iter() {
            let sum = sums.entry(footer.partition.clone()).or_default();
            (sum.rows, sum.bytes, sum.sealed) = (footer.rows, bytes, footer.sealed);
            sum.span(footer.time_first, footer.time_last);
            if let Some(above) = covered.get_mut(&footer.partition) {
                *above = footer.covers(view.id());
            }
        }
        for pending in pending {
            let above = covered.get(&pending.partition).copied().unwrap_or_default();
            let events = if above == 0 { pending.events } else { view.count_above(&pending.partition, above)? };
            if events > 0 {
                let sum = sums.entry(pending.partition).or_default();
                sum.rows += events;
                sum.buffered += events;
                sum.span(pending.time_first, pending.time_last);
            }
        }
        let unreadable = footers.unreadable().map(str::to_owned).collect();
        Ok(Self { sums, unreadable })
    }

    /// Events in day files and buffer; one that came twice counts twice until it is rolled.
    pub fn events(&self) -> u64 {
        self.sums.values().map(|sum| sum.rows).sum()
    }

    /// Events in the buffer that no day file holds yet.
    pub fn buffered(&self) -> u64 {
        self.sums.values().map(|sum| sum.buffered).sum()
    }

    /// Size of all day files in bytes.
    pub fn bytes(&self) -> u64 {
        self.sums.values().map(|sum| sum.bytes).sum()
    }

    /// Day files that are sealed, and those that are not.
    pub fn day_files(&self) -> (u64, u64) {
        let files = self.sums.values().filter(|sum| sum.bytes > 0);
        files.fold((0, 0), |(sealed, open), sum| if sum.sealed { (sealed + 1, open) } else { (sealed, open + 1) })
    }

    /// Time of the latest event.
    pub fn last_event(&self) -> Option<Micros> {
        self.sums.values().filter_map(|sum| sum.times).map(|(_, last)| last).max()
    }
}
