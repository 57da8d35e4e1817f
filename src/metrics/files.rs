//! What the files say of a recording: whether anybody records, what is missing, how much there is. For whoever looks on, so also of a
//! recorder that is dead.

use crate::base::time::SECOND;
use crate::model::event::Source;
use crate::query::coverage::{Gap, GapState, Project, Timeline};
use crate::query::look::Look;

use super::build;
use super::exposition::{Exposition, Kind, seconds};
use super::projects::Projects;
use super::recorder::disk;

/// What whoever looks on knows beside the files. What is not known is not told.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Devices by how they are, such as `speaking` and `silent`.
    pub devices: Vec<(&'static str, u64)>,
    /// Alerts that are firing.
    pub alerts_firing: Option<u64>,
    /// Deliveries of alerts since this process began, by how they ended, such as `ok` and `failed`.
    pub deliveries: Vec<(&'static str, u64)>,
}

/// All of it, as Prometheus reads it. Where there is no look at the recording, nobody can say that it is recorded.
pub fn metrics_text(look: Option<&Look>, beside: &Beside) -> String {
    let mut out = Exposition::default();
    build(&mut out);
    let help = "Whether a recorder runs, by the lock of the recording.";
    out.one(Kind::Gauge, "recording", help, u8::from(look.is_some_and(|look| look.is_recording)));
    if let Some(look) = look {
        held(look, &mut out);
        projects(&look.timeline, &mut out);
        gaps(look, &mut out);
        disk(look.room, look.is_full, &mut out);
    }
    told(beside, &mut out);
    out.text()
}

fn held(look: &Look, out: &mut Exposition) {
    let holdings = &look.holdings;
    let help = "Events in the buffer that no day file holds yet.";
    out.one(Kind::Gauge, "buffered_events", help, holdings.buffered());
    out.one(Kind::Gauge, "buffer_bytes", "Size of the buffer with its log.", look.buffer_bytes);
    out.one(Kind::Gauge, "data_bytes", "Size of all day files.", holdings.bytes());
    let (sealed, open) = holdings.day_files();
    let mut family = out.family(Kind::Gauge, "day_files", "Day files, by whether they are sealed.");
    family.add(&[("sealed", "true")], sealed);
    family.add(&[("sealed", "false")], open);
    if let Some(backup) = &look.last_backup {
        let help = "When the last backup that was good was begun.";
        out.one(Kind::Gauge, "backup_last_success_timestamp_seconds", help, seconds(backup.at.into()));
    }
    if let Some(shipping) = &look.shipping {
        out.one(Kind::Counter, "lake_shipped_rows_total", "Rows shipped to the lake.", shipping.rows);
        out.one(Kind::Gauge, "lake_behind_rows", "Rows of day files that the last shipment left.", shipping.behind_rows);
        if let Some(whole) = shipping.whole {
            let help = "When all was in the lake that day files had then.";
            out.one(Kind::Gauge, "lake_last_success_timestamp_seconds", help, seconds(whole));
        }
    }
    let help = "Day files that do not read.";
    out.one(Kind::Gauge, "unreadable_day_files", help, holdings.unreadable.len());
    if let Some(at) = holdings.last_event() {
        out.one(Kind::Gauge, "last_event_timestamp_seconds", "Time of the latest event.", seconds(at));
    }
}

fn projects(timeline: &Timeline, out: &mut Exposition) {
    let mut projects = Projects::default();
    // Of what is not to be recorded any more, silence is no news.
    for project in timeline.projects.iter().filter(|project| project.goes_on) {
        let own = projects.of(&project.name);
        for (source, is_connected) in sources(project) {
            own.connected(source, is_connected);
        }
        project.last_sign.into_iter().for_each(|at| own.last_sign(at));
    }
    projects.write(out);
}

/// By what a project is to be heard, and whether it is. A recorder that died does not hide behind one that lives.
fn sources(project: &Project) -> Vec<(Source, bool)> {
    let source = |name: &str| if name == Source::Push.name() { Source::Push } else { Source::Stream };
    let mut all: Vec<(Source, bool)> = project.dead.iter().map(|dead| (source(&dead.source), false)).collect();
    if project.is_streamed {
        all.push((Source::Stream, project.connected_since.is_some()));
    } else if project.connected_since.is_some() {
        all.push((Source::Push, true));
    }
    all
}

fn gaps(look: &Look, out: &mut Exposition) {
    let all = || look.timeline.projects.iter().flat_map(|project| &project.gaps);
    let mut family = out.family(Kind::Gauge, "gaps", "Gaps in what was to be recorded, by where they stand.");
    for state in [GapState::Open, GapState::Filling, GapState::Filled, GapState::Lost] {
        family.add(&[("state", state.name())], all().filter(|gap| gap.state == state).count());
    }
    let oldest = all().filter(|gap| gap.is_open()).map(|gap: &Gap| look.at - gap.span.0).max();
    let help = "How long ago the oldest gap began that may still be filled; 0 where there is none.";
    out.one(Kind::Gauge, "gap_open_seconds", help, oldest.unwrap_or_default().max(0) / SECOND);
}

fn told(beside: &Beside, out: &mut Exposition) {
    if !beside.devices.is_empty() {
        let mut family = out.family(Kind::Gauge, "devices", "Devices, by how they are.");
        beside.devices.iter().for_each(|(state, count)| family.add(&[("state", state)], count));
    }
    if let Some(firing) = beside.alerts_firing {
        out.one(Kind::Gauge, "alerts_firing", "Alerts of the recording's own that are firing.", firing);
    }
    if !beside.deliveries.is_empty() {
        let help = "Deliveries of alerts, by how they ended.";
        let mut family = out.family(Kind::Counter, "alert_deliveries_total", help);
        beside.deliveries.iter().for_each(|(result, count)| family.add(&[("result", result)], count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::coverage::Dead;

    fn project(name: &str) -> Project {
        Project { name: name.to_owned(), goes_on: true, last_sign: Some(50 * SECOND), ..Project::default() }
    }

    fn text(projects: Vec<Project>) -> String {
        let timeline = Timeline { projects, ..Timeline::default() };
        let (holdings, room) = (crate::query::holdings::Holdings::default(), None);
        let look = Look {
            at: 100 * SECOND,
            holdings,
            timeline,
            is_recording: true,
            buffer_bytes: 5,
            room,
            is_full: false,
            last_backup: None,
            shipping: None,
        };
        metrics_text(Some(&look), &Beside::default())
    }

    #[test]
    fn of_two_projects_a_dead_one_does_not_hide_and_one_that_ended_is_no_news() {
        let dead = Dead { source: "stream".to_owned(), since: 0, until: None, cause: String::new() };
        let lives = Project { is_streamed: true, connected_since: Some(0), ..project("a") };
        let text = text(vec![
            lives,
            Project { dead: vec![dead], connected_since: None, ..project("b") },
            Project { goes_on: false, ..project("c") },
            Project { connected_since: Some(0), ..project("d") },
        ]);
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with("overnight_project_connected{")).collect();
        assert_eq!(
            told,
            [
                "overnight_project_connected{project=\"a\",source=\"stream\"} 1",
                "overnight_project_connected{project=\"b\",source=\"stream\"} 0",
                "overnight_project_connected{project=\"d\",source=\"push\"} 1",
            ]
        );
        assert!(!text.contains("\"c\"") && text.contains("overnight_project_sign_of_life_timestamp_seconds{project=\"b\"} 50\n"));
    }

    #[test]
    fn a_recording_that_does_not_read_is_not_recorded_as_far_as_anybody_can_say() {
        let beside = Beside { alerts_firing: Some(2), deliveries: vec![("ok", 7)], devices: vec![("silent", 3)] };
        let text = metrics_text(None, &beside);
        for line in [
            "overnight_recording 0",
            "overnight_alerts_firing 2",
            "overnight_alert_deliveries_total{result=\"ok\"} 7",
            "overnight_devices{state=\"silent\"} 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }
}
