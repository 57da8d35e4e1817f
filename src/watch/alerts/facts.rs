//! What the ledger, the disk and the last backup say at a moment.

use std::collections::BTreeMap;

use crate::base::disk::Room;
use crate::base::time::{DAY, Micros};
use crate::model::layout::Layout;
use crate::model::settings::{Rule, When};
use crate::query::coverage::{GapState, Project, Timeline};
use crate::query::look::waits_for_room;
use crate::store::buffer::{BufferError, View};
use crate::store::last_backup::last_backup;
use crate::watch::head::{Head, State};

use super::decide::Fact;

/// How far back the ledger is read.
const REACH: Micros = 40 * DAY;
/// So long a gap that nobody can fill is told of.
const LOST: Micros = DAY;

/// How a recording stands.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// By project: what the ledger has.
    projects: Vec<(Project, Head)>,
    room: Option<Room>,
    backup: Option<Micros>,
    has_writer: bool,
    now: Micros,
}

impl Facts {
    /// Looks.
    ///
    /// # Errors
    /// When the ledger does not read.
    pub(super) fn look(layout: &Layout, view: Option<&View>, now: Micros) -> Result<Self, BufferError> {
        let room = Room::of(&layout.state());
        let has_writer = view.is_some_and(View::has_writer);
        let is_full = waits_for_room(layout, room, has_writer);
        let time =
            view.map(|view| view.at_one_moment(|| Timeline::read(view, Some(now - REACH), now))).transpose()?.unwrap_or_default();
        let projects = time.projects.into_iter().map(|project| {
            let head = Head::of(&project, is_full);
            (project, head)
        });
        let backup = last_backup(layout).map(|backup| backup.at.0);
        Ok(Self { projects: projects.collect(), room, backup, has_writer, now })
    }

    /// Whether a project is heard.
    pub(super) fn heard(&self) -> impl Iterator<Item = (&str, bool)> {
        self.projects.iter().map(|(project, head)| (project.name.as_str(), head.state == State::Recording))
    }

    /// How long a project was heard in a span of time.
    pub(super) fn heard_within(&self, project: &str, (from, to): (Micros, Micros)) -> Micros {
        let of = self.projects.iter().filter(|(of, _)| of.name == project).flat_map(|(of, _)| &of.heard);
        of.map(|(begins, ends)| ((*ends).min(to) - (*begins).max(from)).max(0)).sum()
    }

    /// All is as it should be: whoever waits for a sign may have it.
    pub(super) fn is_well(&self) -> bool {
        let going: Vec<State> =
            self.projects.iter().map(|(_, head)| head.state).filter(|state| *state != State::Finished).collect();
        self.has_writer && !going.is_empty() && going.iter().all(|state| *state == State::Recording)
    }

    /// What a rule is about, by project; by nothing where it is about the whole recording. `firing` is where it is so already.
    pub(super) fn of(&self, rule: &Rule, firing: bool, has_recorder: bool) -> BTreeMap<String, Fact> {
        let alone = |fact: Fact| BTreeMap::from([(String::new(), fact)]);
        match rule.when {
            When::Recorder => {
                self.projects.iter().map(|(project, head)| (project.name.clone(), recorder(head, self.now))).collect()
            }
            When::Gap => {
                self.projects.iter().map(|(project, _)| (project.name.clone(), gap(project, self.now, has_recorder))).collect()
            }
            When::Disk => {
                let Some(room) = self.room else { return BTreeMap::new() };
                #[expect(clippy::cast_precision_loss, reason = "bytes of a disk are far below 2^53")]
                let free = room.free as f64 / 1e9;
                let is_low = match (rule.value, rule.clear) {
                    (Some(limit), Some(clear)) => free < if firing { clear } else { limit },
                    _ => room.is_low(firing),
                };
                alone(Fact { so: is_low.then(|| (self.now, String::new())), value: Some(free) })
            }
            When::Backup => {
                // Where there was none, it is missing since something was recorded.
                let begins = self.projects.iter().filter_map(|(project, _)| Some(project.wanted.first()?.0)).min();
                let old = self.backup.or(begins).filter(|since| self.now - since >= rule.lasts);
                alone(Fact { so: old.map(|since| (since, String::new())), value: None })
            }
            _ => BTreeMap::new(),
        }
    }
}

fn recorder(head: &Head, now: Micros) -> Fact {
    let is_so = matches!(head.state, State::NotRecording | State::NotConnected | State::DiskFull | State::Unreadable);
    let why = match &head.why {
        Some(why) => format!("{}, {why}", head.state.word().to_lowercase()),
        None => head.state.word().to_lowercase(),
    };
    Fact { so: is_so.then(|| (head.since.unwrap_or(now), why)), value: None }
}

fn gap(project: &Project, now: Micros, has_recorder: bool) -> Fact {
    let counts = |state: GapState, ends: Micros| state.is_open() || state != GapState::Filled && now - ends < LOST;
    let first = project.gaps.iter().filter(|gap| counts(gap.state, gap.span.1) && !(gap.lasts && has_recorder));
    let so = first.min_by_key(|gap| gap.span.0).map(|gap| (gap.span.0, gap.cause.clone()));
    Fact { so, value: None }
}
