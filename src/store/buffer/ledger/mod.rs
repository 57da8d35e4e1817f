//! The ledger: what was wanted (runs), what was heard (sessions), what was asked of the history (fills), what was lost again.
//!
//! **A gap is what is left**; nobody writes one. So whatever fails to be written (a crash between two commits, a full disk, an
//! error that ends the program) can only make a gap larger, never hide one:
//!
//! * A run that nobody ended by request goes on.
//! * A session reaches from its first to its last sign of life, as far as that was written: with the events before it, in
//!   their commit, or behind them.
//! * A pass over the history is done when each device is, and each device is noted behind its events.

mod devices;
mod foreign;
mod read;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::time::Micros;
use crate::model::event::{DeviceRow, Source};
use crate::model::settings::Filters;

pub(super) use devices::{Speakers, describe_devices};
pub use foreign::Foreign;
pub(super) use write::{heard, lost, misfit};

/// What a recorder is to record of a project, from the moment at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number, counted by its recorder.
    pub number: u64,
    /// What the steady clock counts from; empty where nobody but its recorder knows.
    pub boot: String,
    /// What the wall clock showed beyond the steady one: another number when somebody has set it.
    pub clock: Micros,
    /// The kind of connection.
    pub source: Source,
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// Who asks the cloud; empty where nobody is asked.
    pub account: String,
    /// Its beginning.
    pub begins: Micros,
    /// Its planned end.
    pub until: Option<Micros>,
    /// A session without a sign of life for so long is none.
    pub quiet: Micros,
}

/// What a session has heard so far. Each one says all of it: one that is not written is made up for by the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Whose session it is.
    pub run: Arc<Run>,
    /// Its number, counted by its recorder.
    pub session: u64,
    /// Its first sign of life.
    pub opened_at: Micros,
    /// Its last one.
    pub spoke_at: Micros,
    /// Why it ended, if it has.
    pub ended: Option<String>,
}

/// A pass over the history that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Its number, of whoever asks.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// Somebody asked for it.
    pub by_hand: bool,
    /// Nothing of it was asked before.
    pub asked_at: Micros,
    /// How far before its pieces it asks as well.
    pub look_back: Micros,
    /// What it fills: begin, end, and whether it asks so late that nothing more comes.
    pub pieces: Vec<(Micros, Micros, bool)>,
}

/// What became of a device in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What the history has of it is in the recording.
    Done,
    /// The cloud does not give it, and will not: why.
    Refused(String),
    /// It was tried, and is tried again: why it failed.
    Failed(String),
}

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A run begins.
    Begins(Arc<Run>),
    /// Why nothing connects.
    Said(Arc<Run>, String),
    /// What the cloud's clock is ahead of this machine's.
    CloudAhead(Arc<Run>, Micros),
    /// A run was asked to end, and ended then.
    Ends(Arc<Run>, Micros),
    /// A run that was refused before it heard anything: a project that is none, say. It never was.
    Void(Arc<Run>),
    /// A session gave a sign of life.
    Heard(Heard),
    /// Something that was kept is lost with a damaged file: project, cause, span of event time.
    Lost {
        /// The project.
        project: String,
        /// Why.
        cause: String,
        /// Its beginning.
        begins: Micros,
        /// Its end.
        ends: Micros,
    },
    /// A pass over the history begins.
    Asks(Fill),
    /// A pass asks so many devices.
    Asked(i64, u64),
    /// A device has an outcome in several passes at once. With each pass: events that it brought, by the beginning of a piece.
    Device {
        /// The device.
        device: String,
        /// What became of it.
        outcome: Outcome,
        /// In which passes, and what it brought there.
        fills: Vec<(i64, Vec<(Micros, u64)>)>,
    },
    /// Why passes do not get on.
    Waits(Vec<i64>, String),
    /// A pass is done, but for what is said here.
    Filled {
        /// Number of the pass.
        fill: i64,
        /// What it could not bring.
        but: Option<String>,
    },
    /// All of a project's history was read.
    Reconciled(String, Micros),
    /// The devices of a project, as the cloud lists them.
    Devices(String, Vec<DeviceRow>),
}

impl Change {
    /// Whether it must not be lost while the disk is full: it is small, and told again when there is room.
    pub fn is_owed(&self) -> bool {
        matches!(self, Self::Begins(_) | Self::Said(..) | Self::Ends(..) | Self::Void(_) | Self::Heard(_) | Self::Lost { .. })
    }
}

/// A run as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its number in the ledger.
    pub id: i64,
    /// The buffer's random id while its recorder ran.
    pub opening: String,
    /// The recording that it was taken from, by its first opening; empty for this one.
    pub origin: String,
    /// What the steady clock counted from; empty where nobody but its recorder knew.
    pub boot: String,
    /// What the wall clock showed beyond the steady one.
    pub clock: Micros,
    /// What the cloud's clock was ahead of the wall clock, as far as anybody knows.
    pub ahead: Option<Micros>,
    /// The kind of connection, by its name.
    pub source: String,
    /// The project.
    pub project: String,
    /// What was asked for.
    pub filters: Arc<Filters>,
    /// Its beginning.
    pub begins: Micros,
    /// Its planned end.
    pub until: Option<Micros>,
    /// When it was asked to end.
    pub ended_at: Option<Micros>,
    /// A session without a sign of life for so long is none.
    pub quiet: Micros,
    /// Why nothing connects.
    pub said: Option<String>,
}

/// A session as the ledger has it, or several that met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its run.
    pub run: i64,
    /// Its first sign of life.
    pub opened_at: Micros,
    /// Its last sign of life.
    pub spoke_at: Micros,
    /// When it closed; none while it lives, and where nobody closed it.
    pub closed_at: Option<Micros>,
    /// Why it closed.
    pub cause: Option<String>,
    /// How many sessions these are.
    pub joined: u64,
}

/// A span that a pass over the history fills, with what its pass says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its pass.
    pub fill: i64,
    /// Its beginning.
    pub begins: Micros,
    /// Its end.
    pub ends: Micros,
    /// It was asked so late that nothing comes after it.
    pub confirms: bool,
    /// Events that the history brought.
    pub events: u64,
}

/// A pass over the history as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillRow {
    /// Its number.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Which events it asks for.
    pub filters: Arc<Filters>,
    /// Somebody asked for it.
    pub by_hand: bool,
    /// Nothing of it was asked before.
    pub asked_at: Micros,
    /// How far before its pieces it asks as well.
    pub look_back: Micros,
    /// Of so many devices; 0 until they are known.
    pub devices: u64,
    /// When it was done.
    pub done_at: Option<Micros>,
    /// What it could not bring.
    pub but: Option<String>,
}

/// Something that was kept and is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The project.
    pub project: String,
    /// Which events.
    pub filters: Arc<Filters>,
    /// Its beginning.
    pub begins: Micros,
    /// Its end.
    pub ends: Micros,
    /// Why.
    pub cause: String,
    /// What was asked before this time is lost as well.
    pub noted_at: Micros,
}

/// What the ledger has of a span of time.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Runs, by their beginning.
    pub runs: Vec<RunRow>,
    /// Sessions, by run and number.
    pub sessions: Vec<Session>,
    /// Passes over the history.
    pub fills: HashMap<i64, FillRow>,
    /// Their spans, by their beginnings.
    pub pieces: Vec<Piece>,
    /// What was lost again.
    pub losses: Vec<Loss>,
    /// What is before this time was given up on purpose.
    pub pruned_before: Option<Micros>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SECOND;
    use crate::model::layout::Layout;
    use crate::store::buffer::{Buffer, View};

    const NOW: Micros = 1_000_000 * SECOND;
    const HOUR: Micros = 3600 * SECOND;

    fn run(number: u64, clock: Micros) -> Arc<Run> {
        Arc::new(Run {
            number,
            boot: "b".to_owned(),
            clock,
            source: Source::Stream,
            project: "p".to_owned(),
            filters: Filters::default(),
            account: String::new(),
            begins: clock,
            until: None,
            quiet: 30 * SECOND,
        })
    }

    fn fill(id: i64, asked_at: Micros) -> Change {
        let (project, pieces) = ("p".to_owned(), vec![(asked_at - HOUR, asked_at, true)]);
        Change::Asks(Fill { id, project, filters: Filters::default(), by_hand: false, asked_at, look_back: 0, pieces })
    }

    #[test]
    fn what_was_asked_by_a_clock_that_was_ahead_was_never_asked() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let mut buffer = Buffer::open(&layout, NOW).unwrap();
        let mut apply = |change: &Change, now| buffer.apply(change, now).unwrap();
        apply(&Change::Begins(run(0, NOW)), NOW);
        apply(&fill(1, NOW), NOW);
        apply(&fill(2, NOW + HOUR), NOW + HOUR);
        apply(&Change::Begins(run(1, NOW)), NOW + SECOND);
        // It was on its way when the clock was set.
        apply(&fill(3, NOW + HOUR), NOW + 2 * SECOND);
        for id in 1..=3 {
            let done = Change::Device { device: "d".to_owned(), outcome: Outcome::Done, fills: vec![(id, Vec::new())] };
            apply(&done, NOW + 3 * SECOND);
        }
        let view = View::open(&layout).unwrap();
        let records = view.records(None).unwrap();
        assert_eq!(records.fills.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(records.pieces.iter().map(|piece| piece.fill).collect::<Vec<_>>(), [1]);
        assert_eq!(view.outcomes("p").unwrap().len(), 1);
    }

    #[test]
    fn what_was_told_by_a_clock_of_long_ago_is_looked_at_as_well() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let mut buffer = Buffer::open(&layout, NOW).unwrap();
        // A machine without a clock of its own begins in 1970.
        for (number, clock) in [(0, 0), (1, NOW)] {
            let run = run(number, clock);
            let heard = Heard { run: Arc::clone(&run), session: number, opened_at: clock, spoke_at: clock + SECOND, ended: None };
            for change in [
                Change::Begins(Arc::clone(&run)),
                Change::Heard(heard),
                Change::CloudAhead(Arc::clone(&run), NOW - clock),
                Change::Ends(run, clock + SECOND),
            ] {
                buffer.apply(&change, NOW).unwrap();
            }
        }
        for since in [None, Some(NOW - HOUR)] {
            let records = View::open(&layout).unwrap().records(since).unwrap();
            assert_eq!((records.runs.len(), records.sessions.len()), (2, 2), "{since:?}");
            assert_eq!(records.runs[0].ahead, Some(NOW));
        }
    }
}
