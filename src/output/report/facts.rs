//! The facts of a report, for people's page and for programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::base::time::Utc;
use crate::query::coverage::{GapReport, GapState, NobodyRecords};
use crate::query::status::FaultReason;

use super::figures::Figures;

/// What a report says. Times are RFC 3339 in UTC; lengths are seconds. Fields are only ever added to.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The directory of the recording.
    pub dir: String,
    /// When the report was made.
    pub made_at: Utc,
    /// The zone whose hours are counted and whose clock the page shows.
    pub zone: String,
    /// Beginning of what is reported; null where there is nothing, and nobody said from when.
    pub from: Option<Utc>,
    /// Its end, exclusive but for the last event; null where there is nothing, and nobody said until when.
    pub to: Option<Utc>,
    /// What is missing, a sentence each; empty when nothing is known to be missing.
    pub missing: Vec<String>,
    /// Of which times and events nobody knows whether anything is missing, a sentence each.
    pub unknown: Vec<String>,
    /// What else one should know, a sentence each.
    pub notes: Vec<String>,
    /// True while a recorder writes.
    pub recording: bool,
    /// Events in the report.
    pub events: u64,
    /// Events of the recording that lie more than a month away from the others and are not in the report (about).
    pub outside: u64,
    /// Size of all day files in bytes, of the whole recording.
    pub bytes: u64,
    /// Size of the buffer with its log in bytes.
    pub buffer_bytes: u64,
    /// Projects that should be recorded now, and nobody does.
    pub nobody_records: Vec<NobodyRecords>,
    /// Coverage by project, within the time of the report.
    pub coverage: Vec<ProjectFacts>,
    /// Times that no session covers and whose events came another way, from a file say: begin and end.
    pub imported: Vec<(Utc, Utc)>,
    /// By event type.
    pub types: Vec<TypeFacts>,
    /// Hours with events, ascending.
    pub hours: Vec<HourFacts>,
    /// Devices that spoke, are in a state that they told before, or that the recording knows of, by name.
    pub devices: Vec<DeviceFacts>,
    /// Day files that could not be read and are left out, with the reason; `overnight verify` says what to do.
    pub unreadable: Vec<String>,
    /// How many faults there are.
    pub faults: u64,
    /// The newest faults by reason.
    pub fault_reasons: Vec<FaultReason>,
}

/// A project's coverage within the time of the report.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectFacts {
    /// The project.
    pub project: String,
    /// Sessions that lived.
    pub sessions: u64,
    /// Seconds covered by a session.
    pub covered_seconds: f64,
    /// Seconds of gaps that were filled from history.
    pub filled_seconds: f64,
    /// Seconds of gaps that are not filled yet.
    pub open_seconds: f64,
    /// Seconds of gaps that are lost.
    pub lost_seconds: f64,
    /// Seconds in which nobody recorded, and nothing was imported, but for seams between sessions.
    pub not_recorded_seconds: f64,
    /// Spans covered by a session: begin and end.
    pub covered: Vec<(Utc, Utc)>,
    /// Gaps, in full length.
    pub gaps: Vec<GapReport>,
}

/// One event type.
#[derive(Debug, Clone, Serialize)]
pub struct TypeFacts {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// One sentence for people.
    pub description: String,
    /// Events.
    pub events: u64,
    /// Devices that sent one.
    pub devices: usize,
    /// Its main value over all devices; null where events only happen.
    pub figures: Option<Figures>,
}

/// One hour of the zone; the hour that comes twice in autumn is two.
#[derive(Debug, Clone, Serialize)]
pub struct HourFacts {
    /// Its beginning.
    pub start: Utc,
    /// Events by type.
    pub events: BTreeMap<String, u64>,
}

/// One device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceFacts {
    /// Its id; empty for events that are about no device.
    pub id: String,
    /// What people call it; its id where it has no name.
    pub name: String,
    /// Its type; empty where nobody knows.
    pub kind: String,
    /// The room that it is in, its label `room`; empty where nobody said.
    pub room: String,
    /// Events.
    pub events: u64,
    /// Its first event; null where it said nothing.
    pub first_seen: Option<Utc>,
    /// Its last event.
    pub last_seen: Option<Utc>,
    /// The longest time without an event, between two of them, before the first or behind the last; what lies in a gap that was
    /// not filled, or where nobody recorded, is no silence.
    pub silence: Option<Silence>,
    /// The latest battery level in percent.
    pub battery: Option<Battery>,
    /// Signal strength in percent.
    pub signal: Option<Signal>,
    /// Received signal strength indication in dBm.
    pub rssi: Option<Signal>,
    /// Main values by event type.
    pub figures: ByType<Figures>,
    /// Events by type.
    pub events_by_type: ByType<u64>,
}

/// Something of each of a few event types, in the order of their names. A report of many devices has two for each of them, so it
/// takes no more room than what is in it.
#[derive(Debug, Clone)]
pub struct ByType<T>(Box<[(Arc<str>, T)]>);

impl<T> ByType<T> {
    /// That of an event type.
    pub fn get(&self, event_type: &str) -> Option<&T> {
        self.iter().find(|(known, _)| *known == event_type).map(|(_, value)| value)
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(event_type, value)| (&**event_type, value))
    }
}

impl<T> FromIterator<(Arc<str>, T)> for ByType<T> {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, T)>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Self(all.into())
    }
}

impl<T: Serialize> Serialize for ByType<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A silence.
#[derive(Debug, Clone, Serialize)]
pub struct Silence {
    /// Its length.
    pub seconds: f64,
    /// Its beginning.
    pub from: Utc,
    /// Its end.
    pub to: Utc,
    /// True when it lasted to the end of the report.
    pub lasts: bool,
}

/// A battery level.
#[derive(Debug, Clone, Serialize)]
pub struct Battery {
    /// Percent.
    pub percent: f64,
    /// When it was told.
    pub at: Utc,
}

/// Reception.
#[derive(Debug, Clone, Serialize)]
pub struct Signal {
    /// The latest.
    pub latest: f64,
    /// The least.
    pub least: f64,
}

impl Facts {
    /// Whether anything is missing or was lost.
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Of what a page can say that something does not lie there.
    pub(super) fn here(&self) -> &'static str {
        if self.unreadable.is_empty() { "in this time" } else { "in the files that read" }
    }

    /// Whether every gap was filled, if there are any.
    pub(super) fn is_filled(&self) -> bool {
        self.gaps().all(|(_, gap)| gap.state == GapState::Filled && gap.why.is_none())
    }

    /// Devices that said something.
    pub(super) fn speaking(&self) -> usize {
        self.devices.iter().filter(|device| device.events > 0 && !device.id.is_empty()).count()
    }

    /// Gaps, project by project, each with its number on the page.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (usize, &GapReport)> {
        self.coverage.iter().flat_map(|project| &project.gaps).enumerate().map(|(number, gap)| (number + 1, gap))
    }
}
