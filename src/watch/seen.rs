//! What was seen of a recording at a moment: whether it is recorded, what is missing of the last 24 hours, how much room there is.

use crate::base::time::{DAY, Micros};
use crate::query::coverage::{Gap, Project, Span, cut};
use crate::store::last_shipment::Shipping;

use super::head::{Head, State};

/// Most gaps of a project that are kept for a page, the last ones.
const GAPS: usize = 100;

/// A recording at a moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub now: Micros,
    /// What the recording is called: its directory's name.
    pub name: String,
    /// How it is, as the worst of its projects is.
    pub head: Head,
    /// How each project is.
    pub heads: Vec<Head>,
    /// Where the day that is shown ends: now, or when the recording ended.
    pub until: Micros,
    /// That day of each project.
    pub days: Vec<Coverage>,
    /// When the last event was.
    pub last_event: Option<Micros>,
    /// Events a second over the last minute.
    pub rate: Option<f64>,
    /// Events that no day file holds yet.
    pub buffered: u64,
    /// What came within the day and was no event.
    pub faults: u64,
    /// Room on the disk in bytes.
    pub disk_free: Option<u64>,
    /// Bytes that the day files of a day take.
    pub bytes_a_day: Option<u64>,
    /// When the last backup that was good was begun.
    pub last_backup: Option<Micros>,
    /// How far it is shipped to a lake.
    pub shipping: Option<Shipping>,
    /// What people are told of, and lasts.
    pub alerts: Vec<Alert>,
    /// What is wrong with alerts, if anything is.
    pub alerts_trouble: Option<String>,
    /// The day is still being read.
    pub is_loading: bool,
    /// What else to say.
    pub note: Option<String>,
}

/// What people are told of.
#[derive(Debug, Clone)]
pub struct Alert {
    /// What the alert is called.
    pub name: String,
    /// Of what it is, as people call that.
    pub of: String,
    /// Since when.
    pub since: Micros,
}

/// What is known of a day of a project.
#[derive(Debug, Clone)]
pub struct Coverage {
    /// The project.
    pub project: String,
    /// When it was heard: spans that do not meet, ascending.
    pub heard: Vec<Span>,
    /// Its gaps, ascending.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// A span of a project's time.
    pub fn of(project: &Project, span: Span) -> Self {
        let heard = project.heard.iter().chain(&project.brought).filter_map(|heard| cut(*heard, span)).collect();
        // One that lasts may have begun this moment.
        let meets = |gap: &&Gap| gap.span.0 < span.1 && (gap.span.1 > span.0 || gap.lasts);
        let mut gaps: Vec<Gap> = project.gaps.iter().rev().filter(meets).take(GAPS).cloned().collect();
        gaps.reverse();
        Self { project: project.name.clone(), heard, gaps }
    }
}

impl Seen {
    /// Of a recording that is not there, or cannot be read.
    pub fn nothing(name: &str, state: State, why: Option<String>, now: Micros) -> Self {
        let head = Head::alone(state, why);
        Self {
            now,
            name: name.to_owned(),
            head,
            heads: Vec::new(),
            until: now,
            days: Vec::new(),
            last_event: None,
            rate: None,
            buffered: 0,
            faults: 0,
            disk_free: None,
            bytes_a_day: None,
            last_backup: None,
            shipping: None,
            alerts: Vec::new(),
            alerts_trouble: None,
            is_loading: false,
            note: None,
        }
    }

    /// The day that is shown.
    pub fn day(&self) -> Span {
        (self.until - DAY, self.until)
    }

    /// Whether somebody records, or should.
    pub fn goes_on(&self) -> bool {
        !matches!(self.head.state, State::Finished | State::Unreadable)
    }
}
