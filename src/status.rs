//! Status: what a recording holds and how the recorder is doing, read from the files and the buffer alone. Works beside a
//! running recorder and without one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::archive::{ArchiveError, DayFile, day_files};
use crate::buffer::{BufferError, GapState, Session, View};
use crate::disk::Room;
use crate::event::{Partition, printable};
use crate::layout::Layout;
use crate::time::{Micros, SECOND, rfc3339};

/// A session that has not spoken for so long is no connection, whatever it says.
const SILENT: Micros = 30 * SECOND;
/// How many reasons of faults are listed.
const REASONS: usize = 10;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The buffer cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A folder cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A recording about itself. Fields are only ever added to.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The directory.
    pub dir: String,
    /// Events in day files and buffer; one that came twice counts twice until it is rolled.
    pub events: u64,
    /// Events in the buffer that no day file holds yet.
    pub buffered: u64,
    /// What came and was no event.
    pub faults: u64,
    /// The newest faults by reason.
    pub fault_reasons: Vec<FaultReason>,
    /// Size of all day files in bytes.
    pub bytes: u64,
    /// Size of the buffer with its log in bytes.
    pub buffer_bytes: u64,
    /// Every event type and day.
    pub partitions: Vec<PartitionStatus>,
    /// Day files that do not read, with the reason.
    pub unreadable: Vec<String>,
    /// Gaps in the coverage that are not filled: open, filling or lost; see `overnight gaps`.
    pub gaps: usize,
    /// A recorder is running, has an open session, and heard from it lately.
    pub connected: bool,
    /// A process holds the writer's lock.
    pub recording: bool,
    /// So little room is left on the disk that a recorder keeps nothing and waits.
    pub disk_full: bool,
    /// Room on the disk in bytes; none where the system does not tell.
    pub disk_free: Option<u64>,
    /// Since when the last session was open (RFC 3339).
    pub connected_since: Option<String>,
    /// Last sign of life of the last session (RFC 3339).
    pub last_sign_of_life_at: Option<String>,
    /// Why the last session ended, if it has.
    pub disconnected_because: Option<String>,
    /// Time of the latest event (RFC 3339).
    pub last_event_at: Option<String>,
}

/// Faults of one reason.
#[derive(Debug, Clone, Serialize)]
pub struct FaultReason {
    /// Why it was no event.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When last (RFC 3339).
    pub last_at: String,
    /// The beginning of one of them.
    pub example: String,
}

/// One event type on one day.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionStatus {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The day (UTC).
    pub day: String,
    /// Rows in the day file and in the buffer.
    pub rows: u64,
    /// Of these, rows in the buffer.
    pub buffered: u64,
    /// Size of the day file in bytes.
    pub bytes: u64,
    /// The day file is sealed.
    pub sealed: bool,
    /// Time of the first event (RFC 3339).
    pub first: String,
    /// Time of the last event (RFC 3339).
    pub last: String,
}

#[derive(Default)]
struct Sums {
    rows: u64,
    buffered: u64,
    bytes: u64,
    sealed: bool,
    times: Option<(Micros, Micros)>,
}

impl Sums {
    fn span(&mut self, first: Micros, last: Micros) {
        let (a, b) = self.times.unwrap_or((first, last));
        self.times = Some((a.min(first), b.max(last)));
    }
}

/// Looks at a recording.
///
/// # Errors
/// When there is none, or the buffer does not read. A day file that does not read is named in the status.
pub fn status(layout: &Layout, now: Micros) -> Result<Status, StatusError> {
    let view = View::open(layout)?;
    view.at_one_moment(|| look(layout, &view, now))
}

fn look(layout: &Layout, view: &View, now: Micros) -> Result<Status, StatusError> {
    // The buffer first, the files after: what a footer covers by then is in its file.
    let pending = view.pending()?;
    let mut sums: BTreeMap<Partition, Sums> = BTreeMap::new();
    let mut unreadable = Vec::new();
    let mut covered = BTreeMap::new();
    for (path, _) in day_files(layout)? {
        match DayFile::open(&path) {
            Ok(None) => {}
            Ok(Some(file)) => {
                let footer = file.footer();
                let sum = sums.entry(footer.partition.clone()).or_default();
                (sum.rows, sum.bytes, sum.sealed) = (footer.rows, file.bytes(), footer.sealed);
                sum.span(footer.time_first, footer.time_last);
                covered.insert(footer.partition.clone(), footer.covers(view.id()));
            }
            Err(error) => unreadable.push(error.to_string()),
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
    let session = view.last_session()?;
    let recording = view.has_writer();
    let is_open = |session: &&Session| session.closed_at.is_none() && recording && now - session.spoke_at < SILENT;
    let open = session.as_ref().filter(is_open).cloned();
    let reasons = view.fault_reasons(REASONS)?.into_iter().map(|fault| FaultReason {
        reason: fault.reason,
        count: fault.count,
        last_at: rfc3339(fault.last_at),
        example: printable(&String::from_utf8_lossy(&fault.example), 120),
    });
    let size = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
    let log = layout.state().join("buffer.db-wal");
    let room = Room::of(&layout.state());
    Ok(Status {
        dir: layout.root().display().to_string(),
        events: sums.values().map(|sum| sum.rows).sum(),
        buffered: sums.values().map(|sum| sum.buffered).sum(),
        faults: view.faults()?,
        fault_reasons: reasons.collect(),
        bytes: sums.values().map(|sum| sum.bytes).sum(),
        buffer_bytes: size(&layout.buffer()) + size(&log),
        last_event_at: sums.values().filter_map(|sum| sum.times).map(|(_, last)| last).max().map(rfc3339),
        partitions: sums.into_iter().map(|(partition, sum)| partition_status(&partition, &sum)).collect(),
        unreadable,
        gaps: view.gaps()?.iter().filter(|gap| gap.state != GapState::Filled).count(),
        connected: open.is_some(),
        recording,
        // A recorder that waits has given its reserve back.
        disk_full: room.is_some_and(|room| room.is_low(recording && !layout.reserve().exists())),
        disk_free: room.map(|room| room.free),
        connected_since: open.map(|session| rfc3339(session.opened_at)),
        last_sign_of_life_at: session.as_ref().map(|session| rfc3339(session.spoke_at)),
        disconnected_because: session.and_then(|session| session.cause),
    })
}

fn partition_status(partition: &Partition, sum: &Sums) -> PartitionStatus {
    let (first, last) = sum.times.unwrap_or_default();
    PartitionStatus {
        event_type: partition.event_type.to_string(),
        day: partition.day.to_string(),
        rows: sum.rows,
        buffered: sum.buffered,
        bytes: sum.bytes,
        sealed: sum.sealed,
        first: rfc3339(first),
        last: rfc3339(last),
    }
}
