//! Sessions of a receiver: one for each project that pushes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::time::{self, Micros, Moment};
use crate::model::event::{DeviceRow, Source};
use crate::model::settings::Filters;
use crate::store::buffer::{Change, Heard, Run};
use crate::store::meter::Meter;
use crate::store::writer::{Command, Numbers, Phase, WriterHandle};

/// A session's sign of life is noted in the buffer this often.
pub(super) const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Projects that get a session each; signed pushes come from a few.
const PROJECTS_MAX: usize = 1000;
/// Numbers of sessions of projects that push: apart from those of streams.
const SESSIONS_FROM: u64 = 1 << 32;

/// The sessions of this receiver: one for each project that pushes. A receiver that listens is one that hears; what nobody
/// acknowledges is pushed again.
#[derive(Debug)]
pub(super) struct Sessions {
    by_project: HashMap<String, Held>,
    /// By the steady clock.
    ends_at: Option<Micros>,
    numbers: Arc<Numbers>,
    /// When its clock was looked at last.
    anchor: Moment,
    next: u64,
}

/// One of them.
#[derive(Debug, Clone)]
struct Held {
    run: Arc<Run>,
    session: u64,
    opened_at: Micros,
}

impl Held {
    fn heard(&self, spoke_at: Micros, ended: Option<String>) -> Command {
        let (run, session, opened_at) = (Arc::clone(&self.run), self.session, self.opened_at);
        Command::Note(Change::Heard(Heard { run, session, opened_at, spoke_at, ended }))
    }
}

impl Sessions {
    pub(super) fn begin(projects: Vec<String>, lasts: Option<Duration>, writer: &WriterHandle) -> Self {
        let now = time::moment();
        let mut sessions = Self {
            by_project: HashMap::new(),
            ends_at: lasts.map(|lasts| now.steady.saturating_add(time::micros(lasts))),
            numbers: Arc::clone(&writer.numbers),
            anchor: now,
            next: SESSIONS_FROM,
        };
        writer.meter.update(|parts| parts.pushing = projects.iter().take(PROJECTS_MAX).cloned().collect());
        for project in projects.into_iter().take(PROJECTS_MAX) {
            sessions.hold(project, now.wall, now);
        }
        sessions
    }

    fn hold(&mut self, project: String, begins: Micros, now: Moment) -> Held {
        let run = Run {
            number: self.numbers.runs.fetch_add(1, Ordering::Relaxed),
            boot: self.numbers.boot.clone(),
            clock: now.clock(),
            source: Source::Push,
            project: project.clone(),
            filters: Filters::default(),
            account: String::new(),
            begins,
            until: self.ends_at.map(|at| now.wall.saturating_add(at - now.steady)),
            quiet: 3 * time::micros(NOTE_EVERY),
        };
        self.next += 1;
        let held = Held { run: Arc::new(run), session: self.next, opened_at: begins };
        self.by_project.insert(project, held.clone());
        held
    }

    /// What is to be noted of those that are listened for from the beginning.
    pub(super) fn begun(&self) -> Vec<Command> {
        self.by_project
            .values()
            .flat_map(|held| [Command::Note(Change::Begins(Arc::clone(&held.run))), held.heard(held.opened_at, None)])
            .collect()
    }

    /// Orders that open a session for each project that has none.
    pub(super) fn open(&mut self, devices: &[(Micros, DeviceRow)], meter: &Meter) -> Vec<Command> {
        let mut orders = Vec::new();
        for (_, device) in devices {
            if self.by_project.contains_key(&device.project) || self.by_project.len() >= PROJECTS_MAX {
                continue;
            }
            let now = time::moment();
            let held = self.hold(device.project.clone(), now.wall, now);
            orders.extend([Command::Note(Change::Begins(Arc::clone(&held.run))), held.heard(now.wall, None)]);
            meter.note(time::now(), format!("{}: pushes arrive", device.project));
            Meter::add(&meter.sessions, 1);
            Meter::add(&meter.push_sessions, 1);
            meter.update(|parts| parts.pushing.extend([device.project.clone()]));
        }
        orders
    }

    /// A sign of life of each, if the writer has time for it: those who push must not wait for this.
    pub(super) fn spoke(&mut self, writer: &WriterHandle) {
        let now = time::moment();
        let before = std::mem::replace(&mut self.anchor, now);
        let is_set = now.step_since(before).abs() > time::STEP;
        for held in self.by_project.clone().into_values() {
            if is_set {
                // What is wanted goes on by the new clock, from the last look at the old one on.
                let project = held.run.project.clone();
                let new = self.hold(project, now.wall - (now.steady - before.steady), now);
                let cause = "this machine's clock was set".to_owned();
                for order in [
                    held.heard(before.wall, Some(cause)),
                    Command::Note(Change::Begins(Arc::clone(&new.run))),
                    Command::Note(Change::Ends(held.run, before.wall)),
                    new.heard(now.wall, None),
                ] {
                    drop(writer.keep.try_send(order));
                }
            } else {
                drop(writer.keep.try_send(held.heard(now.wall, None)));
            }
        }
    }

    pub(super) async fn close(&mut self, phase: Phase, writer: &WriterHandle) {
        let now = time::now();
        for (_, held) in self.by_project.drain() {
            writer.send(held.heard(now, Some("the receiver stopped".to_owned()))).await;
            if phase != Phase::HungUp {
                writer.send(Command::Note(Change::Ends(held.run, now))).await;
            }
        }
    }
}
