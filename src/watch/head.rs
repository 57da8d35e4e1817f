//! The head of a page: is it recording now, since when, and if it is not, why. Pure: decided by what the ledger and the lock say.

use crate::base::time::Micros;
use crate::query::coverage::Project;

/// How a recording is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It was ended, or only ever filled from files.
    Finished,
    /// There is no recording yet.
    Waiting,
    /// It is connected, or waits for pushes.
    Recording,
    /// A recorder runs, and hears nothing.
    NotConnected,
    /// A recorder runs, and has no room to keep anything.
    DiskFull,
    /// It should be recorded, and nobody does.
    NotRecording,
    /// It cannot be read.
    Unreadable,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "FINISHED",
            Self::Waiting => "NO RECORDING YET",
            Self::Recording => "RECORDING",
            Self::NotConnected => "RUNNING, NOT CONNECTED",
            Self::DiskFull => "DISK FULL",
            Self::NotRecording => "NOT RECORDING",
            Self::Unreadable => "CANNOT BE READ",
        }
    }

    /// How it looks: `good`, `warn`, `bad` or `idle`.
    pub fn look(self) -> &'static str {
        match self {
            Self::Finished | Self::Waiting => "idle",
            Self::Recording => "good",
            Self::NotConnected => "warn",
            Self::DiskFull | Self::NotRecording | Self::Unreadable => "bad",
        }
    }
}

/// How a project is, or the worst of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The project; empty where it is of all of them.
    pub project: String,
    /// How it is.
    pub state: State,
    /// Since when: without a gap, where it is recorded; since the last sign of life, where it is not; when it ended.
    pub since: Option<Micros>,
    /// Why, as far as anybody knows.
    pub why: Option<String>,
}

impl Head {
    /// Of a recording of which nothing else is known.
    pub fn alone(state: State, why: Option<String>) -> Self {
        Self { project: String::new(), state, since: None, why }
    }

    /// Of one project. `is_full` says that a recorder has no room to keep anything.
    pub fn of(project: &Project, is_full: bool) -> Self {
        let last_sign = project.last_sign;
        let (state, since, why) = match project.dead.iter().min_by_key(|dead| dead.since) {
            Some(dead) => (State::NotRecording, Some(dead.since), Some(dead.cause.clone())),
            None if !project.goes_on => (State::Finished, project.span().map(|span| span.1), project.last_cause.clone()),
            None if is_full => (State::DiskFull, last_sign, None),
            None if project.connected_since.is_none() && project.is_streamed => {
                let begun = project.wanted.last().map(|span| span.0);
                (State::NotConnected, last_sign.max(begun), project.last_cause.clone())
            }
            None => (State::Recording, gapless_since(project), None),
        };
        Self { project: project.name.clone(), state, since, why }
    }

    /// The worst of all projects; of those that are recorded, the one with the latest gap.
    pub fn worst(all: &[Self]) -> Self {
        let worse = |head: &&Self| (head.state, head.since);
        match all.iter().max_by_key(worse) {
            Some(worst) if all.len() == 1 => Self { project: String::new(), ..worst.clone() },
            Some(worst) => worst.clone(),
            None => Self::alone(State::Finished, Some("nobody recorded here: what there is came from files".to_owned())),
        }
    }
}

/// Since when nothing is missing: the end of the last gap, whatever became of it, else the beginning.
fn gapless_since(project: &Project) -> Option<Micros> {
    let gap = project.gaps.iter().map(|gap| gap.span.1).max();
    project.wanted.last().map(|span| span.0).max(gap)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::time::SECOND;
    use crate::query::coverage::{Dead, Gap, GapState};

    fn project(name: &str) -> Project {
        Project {
            name: name.to_owned(),
            wanted: vec![(0, 100 * SECOND)],
            last_sign: Some(99 * SECOND),
            connected_since: Some(50 * SECOND),
            is_streamed: true,
            goes_on: true,
            ..Project::default()
        }
    }

    fn gap(span: (Micros, Micros)) -> Gap {
        let (cause, why, filters) = (String::new(), None, Arc::default());
        Gap { span, lasts: false, cause, state: GapState::Filled, confirmed: true, why, events: 0, filters, asked_at: None }
    }

    #[test]
    fn a_recorder_that_is_connected_records_since_its_last_gap() {
        let whole = Head::of(&project("p"), false);
        assert_eq!((whole.state, whole.since), (State::Recording, Some(0)));
        let torn = Project { gaps: vec![gap((20 * SECOND, 50 * SECOND))], ..project("p") };
        assert_eq!(Head::of(&torn, false).since, Some(50 * SECOND));
    }

    #[test]
    fn a_recorder_that_hears_nothing_runs_and_one_that_died_does_not() {
        let deaf = Project { connected_since: None, last_cause: Some("no ping".to_owned()), ..project("p") };
        let head = Head::of(&deaf, false);
        assert_eq!((head.state, head.since, head.why), (State::NotConnected, Some(99 * SECOND), Some("no ping".to_owned())));
        let cause = "the recorder stopped without a word".to_owned();
        let dead = Dead { source: "stream".to_owned(), since: 99 * SECOND, until: None, cause: cause.clone() };
        let head = Head::of(&Project { dead: vec![dead], connected_since: None, ..project("p") }, true);
        assert_eq!((head.state, head.since, head.why), (State::NotRecording, Some(99 * SECOND), Some(cause)));
        let pushed = Project { connected_since: None, is_streamed: false, ..project("p") };
        assert_eq!(Head::of(&pushed, false).state, State::Recording, "a receiver waits");
    }

    #[test]
    fn a_full_disk_goes_before_a_lost_connection_and_an_end_is_an_end() {
        let deaf = Project { connected_since: None, ..project("p") };
        assert_eq!(Head::of(&deaf, true).state, State::DiskFull);
        let ended = Project { connected_since: None, goes_on: false, ..project("p") };
        assert_eq!((Head::of(&ended, true).state, Head::of(&ended, true).since), (State::Finished, Some(100 * SECOND)));
    }

    #[test]
    fn of_several_projects_a_dead_one_does_not_hide() {
        let cause = String::new();
        let dead =
            Project { dead: vec![Dead { source: "stream".to_owned(), since: 9 * SECOND, until: None, cause }], ..project("b") };
        let all: Vec<Head> = [project("a"), dead, project("c")].iter().map(|project| Head::of(project, false)).collect();
        let worst = Head::worst(&all);
        assert_eq!((worst.state, worst.project.as_str(), worst.since), (State::NotRecording, "b", Some(9 * SECOND)));
        assert_eq!(Head::worst(&all[..1]).project, "", "one project needs no name");
        assert_eq!(Head::worst(&[]).state, State::Finished);
    }
}
