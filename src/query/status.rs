//! Status: what a recording holds and how the recorder is doing, read from the files and the buffer alone. Works beside a
//! running recorder and without one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::text::{self, printable};
use crate::base::time::{DAY, Day, Micros, SECOND, Utc};
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::query::coverage::{GapState, NobodyRecords};
use crate::query::holdings::{LookError, Sums, bytes_a_day};
use crate::query::look::Look;
use crate::store::archive::Footers;
use crate::store::buffer::{View, WhichFaults};
use crate::store::last_backup::LastBackup;
use crate::store::last_shipment::Shipping;

/// How many reasons of faults are listed.
const REASONS: usize = 10;

/// How far a recording is shipped.
#[derive(Debug, Clone, Serialize)]
pub struct LakeStatus {
    /// The lake, without secrets.
    pub url: String,
    /// The recorder's id there.
    pub recorder: String,
    /// When it was tried last.
    pub tried_at: Utc,
    /// When all was there that day files had then; null where it never was.
    pub shipped_at: Option<Utc>,
    /// Why not all is there; null where it is.
    pub problem: Option<String>,
    /// Rows that were shipped, all in all.
    pub rows: u64,
    /// Day files that had more, and how many rows more.
    pub behind_files: u64,
    /// Their rows.
    pub behind_rows: u64,
}

impl From<Shipping> for LakeStatus {
    fn from(of: Shipping) -> Self {
        Self {
            url: of.lake,
            recorder: of.recorder,
            tried_at: Utc(of.tried),
            shipped_at: of.whole.map(Utc),
            problem: of.problem,
            rows: of.rows,
            behind_files: of.behind_files,
            behind_rows: of.behind_rows,
        }
    }
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
    /// Values that did not fit their columns, which are null there; the events are whole.
    pub misfits: Vec<MisfitStatus>,
    /// Days with events that can hardly be from them: before 2000, or from tomorrow on. They are kept as they are.
    pub odd_times: Vec<OddTimes>,
    /// Size of all day files in bytes.
    pub bytes: u64,
    /// Size of the buffer with its log in bytes.
    pub buffer_bytes: u64,
    /// What the last recorder had written to the disk at its last sign of life; null where the system does not tell.
    pub written: Option<Written>,
    /// Every event type and day.
    pub partitions: Vec<PartitionStatus>,
    /// Day files that do not read, with the reason.
    pub unreadable: Vec<String>,
    /// Gaps in the coverage that are not filled: open, filling or lost; see `overnight gaps`.
    pub gaps: usize,
    /// What is before this time was pruned; null where nothing was.
    pub pruned_before: Option<Utc>,
    /// Projects that should be recorded now, and nobody does.
    pub nobody_records: Vec<NobodyRecords>,
    /// By project.
    pub projects: Vec<ProjectStatus>,
    /// A recorder is running, has an open session, and heard from it lately.
    pub connected: bool,
    /// A process holds the writer's lock.
    pub recording: bool,
    /// So little room is left on the disk that a recorder keeps nothing and waits.
    pub disk_full: bool,
    /// Room on the disk in bytes; none where the system does not tell.
    pub disk_free: Option<u64>,
    /// Bytes of day files a day, over the last week of whole days; null where there is no such day yet.
    pub bytes_a_day: Option<u64>,
    /// For how many days the room on the disk will do at that rate, until a recorder would wait for room; null where nobody knows.
    pub disk_days: Option<u64>,
    /// The last backup that was good; null where nobody made one.
    pub last_backup: Option<LastBackup>,
    /// How far it is shipped to a lake; null where it never was.
    pub lake: Option<LakeStatus>,
    /// Since when a session is open, of those that live the oldest (RFC 3339); none while none lives.
    pub connected_since: Option<Utc>,
    /// Last sign of life of the last session (RFC 3339).
    pub last_sign_of_life_at: Option<Utc>,
    /// How many seconds ago that was.
    pub last_sign_of_life_age: Option<f64>,
    /// Why the last session ended, if it has.
    pub disconnected_because: Option<String>,
    /// Time of the latest event (RFC 3339).
    pub last_event_at: Option<Utc>,
}

/// What a recorder writes to the disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Written {
    /// Bytes since it began.
    pub bytes: u64,
    /// Since when (RFC 3339).
    pub since: Utc,
    /// Bytes a day, at the rate since then; null before it has run for a minute.
    pub bytes_a_day: Option<u64>,
}

impl Written {
    /// So many bytes in a span of time.
    pub fn new(bytes: u64, (since, until): (Micros, Micros)) -> Self {
        let ran = u128::from((until - since).max(0).unsigned_abs());
        let a_day = u128::from(bytes) * u128::from(DAY.unsigned_abs()) / ran.max(1);
        let bytes_a_day = u64::try_from(a_day).ok().filter(|_| ran >= u128::from(60 * SECOND.unsigned_abs()));
        Self { bytes, since: Utc(since), bytes_a_day }
    }

    /// The same for people.
    pub fn said(&self) -> String {
        let a_day = self.bytes_a_day.map_or_else(String::new, |bytes| format!(", {} a day", text::bytes(bytes)));
        format!("{}{a_day}", text::bytes(self.bytes))
    }
}

/// One project.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectStatus {
    /// The project.
    pub project: String,
    /// It is to be recorded now, whether anybody does or not.
    pub goes_on: bool,
    /// Since when it is connected (RFC 3339); null while it is not.
    pub connected_since: Option<Utc>,
    /// Its last sign of life (RFC 3339).
    pub last_sign_of_life_at: Option<Utc>,
    /// How many seconds ago that was.
    pub last_sign_of_life_age: Option<f64>,
    /// Gaps that are not filled: open, filling or lost.
    pub gaps: usize,
}

/// Faults of one reason.
#[derive(Debug, Clone, Serialize)]
pub struct FaultReason {
    /// Why it was no event.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last_at: Utc,
    /// The beginning of one of them.
    pub example: String,
}

/// Events of one type on a day that they can hardly be from: a clock was wrong.
#[derive(Debug, Clone, Serialize)]
pub struct OddTimes {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The day (UTC).
    pub day: String,
    /// How many events.
    pub events: u64,
}

/// Values of one column that did not fit it.
#[derive(Debug, Clone, Serialize)]
pub struct MisfitStatus {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The column.
    pub column: String,
    /// In how many events, as they came: one that came twice counts twice.
    pub events: u64,
    /// When the last of them came (RFC 3339).
    pub last_at: Utc,
    /// The last value, as JSON, shortened.
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
    pub first: Utc,
    /// Time of the last event (RFC 3339).
    pub last: Utc,
}

/// Looks at a recording.
///
/// # Errors
/// When there is none, or the buffer does not read. A day file that does not read is named in the status.
pub fn status(layout: &Layout, now: Micros) -> Result<Status, LookError> {
    let view = View::open(layout)?;
    view.at_one_moment(|| look(layout, &view, now))
}

fn look(layout: &Layout, view: &View, now: Micros) -> Result<Status, LookError> {
    let Look { holdings, timeline: time, is_recording: recording, buffer_bytes, room, is_full, last_backup, shipping, .. } =
        Look::of(layout, view, &mut Footers::default(), now)?;
    let connected_since = time.projects.iter().filter_map(|project| project.connected_since).min();
    let last_sign = time.projects.iter().filter_map(|project| project.last_sign).max();
    let projects = time.projects.iter().map(|project| ProjectStatus {
        project: project.name.clone(),
        goes_on: project.goes_on,
        connected_since: project.connected_since.map(Utc),
        last_sign_of_life_at: project.last_sign.map(Utc),
        last_sign_of_life_age: project.last_sign.map(|at| age(at, now)),
        gaps: project.gaps.iter().filter(|gap| gap.state != GapState::Filled).count(),
    });
    let reasons = view.fault_reasons(&WhichFaults::default(), REASONS)?.into_iter().map(|fault| FaultReason {
        reason: fault.reason,
        count: fault.count,
        last_at: Utc(fault.last_at),
        example: printable(&String::from_utf8_lossy(&fault.example), 120),
    });
    let misfits = view.misfits()?.into_iter().map(|misfit| MisfitStatus {
        event_type: misfit.event_type.to_string(),
        column: misfit.column,
        events: misfit.events,
        last_at: Utc(misfit.last_at),
        example: printable(&misfit.example, 120),
    });
    let files = holdings.sums.iter().map(|(partition, sum)| (partition.day, sum.bytes));
    let a_day = bytes_a_day(files, Day::of(now));
    Ok(Status {
        dir: layout.root().display().to_string(),
        events: holdings.events(),
        buffered: holdings.buffered(),
        faults: view.faults()?,
        fault_reasons: reasons.collect(),
        misfits: misfits.collect(),
        bytes: holdings.bytes(),
        buffer_bytes,
        written: view.written()?.map(|(since, until, bytes)| Written::new(bytes, (since, until))),
        last_event_at: holdings.last_event().map(Utc),
        odd_times: odd_times(&holdings.sums, now),
        partitions: holdings.sums.iter().map(|(partition, sum)| partition_status(partition, sum)).collect(),
        unreadable: holdings.unreadable,
        gaps: time.missing(),
        pruned_before: time.pruned_before.map(Utc),
        nobody_records: time.nobody_records(),
        projects: projects.collect(),
        connected: connected_since.is_some(),
        recording,
        disk_full: is_full,
        disk_free: room.map(|room| room.free),
        bytes_a_day: a_day,
        // What is low is no room any more.
        disk_days: room.zip(a_day).map(|(room, a_day)| room.free.saturating_sub(room.mark()) / a_day.max(1)),
        last_backup,
        lake: shipping.map(Into::into),
        disconnected_because: if connected_since.is_some() { None } else { time.last_cause() },
        connected_since: connected_since.map(Utc),
        last_sign_of_life_at: last_sign.map(Utc),
        last_sign_of_life_age: last_sign.map(|at| age(at, now)),
    })
}

/// The oldest sensors are younger.
const OLDEST: Day = Day(10_957);

fn odd_times(sums: &BTreeMap<Partition, Sums>, now: Micros) -> Vec<OddTimes> {
    let tomorrow = Day::of(now.saturating_add(DAY));
    let is_odd = |(partition, _): &(&Partition, &Sums)| partition.day < OLDEST || partition.day > tomorrow;
    let told = |(partition, sum): (&Partition, &Sums)| OddTimes {
        event_type: partition.event_type.to_string(),
        day: partition.day.to_string(),
        events: sum.rows,
    };
    sums.iter().filter(is_odd).map(told).collect()
}

/// Seconds since a time.
#[expect(clippy::cast_precision_loss, reason = "microseconds of an age are far below 2^53")]
fn age(at: Micros, now: Micros) -> f64 {
    (now - at).max(0) as f64 / SECOND as f64
}

impl Status {
    /// For how long the room on the disk will do, in words.
    pub fn disk_lasts(&self) -> Option<String> {
        let (days, a_day) = (self.disk_days?, text::bytes(self.bytes_a_day?));
        let about = match days {
            0 => "less than a day".to_owned(),
            // No more digits than anybody can know.
            1..100 => format!("about {}", text::counted(days, "day")),
            100..3650 => format!("about {} days", text::count(days / 50 * 50)),
            _ => "more than ten years".to_owned(),
        };
        Some(format!("{about} at {a_day} a day"))
    }

    /// Whether any project that is to be recorded now gave its last sign of life longer ago than so many seconds, or none at all;
    /// where none is to be recorded now, whether that holds for all of them.
    pub fn is_older_than(&self, seconds: f64) -> bool {
        let is_old = |age: Option<f64>| age.is_none_or(|age| age > seconds);
        let mut going = self.projects.iter().filter(|project| project.goes_on).peekable();
        match going.peek() {
            Some(_) => going.any(|project| is_old(project.last_sign_of_life_age)),
            None => is_old(self.last_sign_of_life_age),
        }
    }
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
        first: Utc(first),
        last: Utc(last),
    }
}
