//! What a recorder counts while it runs: from its [`Meter`], without a look at the buffer.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::base::disk::Room;
use crate::base::time::Micros;
use crate::model::event::Source;
use crate::store::meter::Meter;

use super::build;
use super::exposition::{Exposition, Kind, seconds};
use super::projects::Projects;

/// All of it, as Prometheus reads it. `begun` is when this recorder began, `state` a folder on the disk that it writes to.
pub fn text(meter: &Meter, begun: Micros, state: &Path) -> String {
    let mut out = Exposition::default();
    build(&mut out);
    out.one(Kind::Gauge, "start_time_seconds", "When this recorder began.", seconds(begun));
    events(meter, &mut out);
    sessions(meter, &mut out);
    let waits = Meter::get(&meter.waits);
    out.one(
        Kind::Counter,
        "queue_waits_total",
        "Times that a source had to wait because the queue to the buffer was full.",
        waits,
    );
    out.histogram("commit_duration_seconds", "How long commits of events took.", &meter.commits.read());
    let help = "From an event's own time to its commit, of what a stream or a push brought.";
    out.histogram("event_delay_seconds", help, &meter.delays.read());
    let help = "Errors of rolls, and what was damaged.";
    out.one(Kind::Counter, "roll_errors_total", help, Meter::get(&meter.roll_errors));
    disk(Room::of(state), meter.pressure.full.load(Ordering::Relaxed), &mut out);
    out.text()
}

fn events(meter: &Meter, out: &mut Exposition) {
    let mut family = out.family(Kind::Counter, "events_kept_total", "Events committed to the buffer.");
    meter.read(|parts| parts.committed.iter().for_each(|(event_type, count)| family.add(&[("type", event_type)], count)));
    let help = "Events that came to a day file.";
    out.one(Kind::Counter, "events_rolled_total", help, Meter::get(&meter.rolled));
    let help = "Events that a day file had already.";
    out.one(Kind::Counter, "doubles_total", help, Meter::get(&meter.doubles));
    out.one(Kind::Counter, "faults_total", "What came and was no event.", Meter::get(&meter.faults));
    let buffered = meter.pressure.buffered.load(Ordering::Relaxed);
    out.one(Kind::Gauge, "buffered_events", "Events in the buffer that no day file holds yet.", buffered.max(0));
    let times = [
        ("last_event_timestamp_seconds", "Time of the event that came last.", meter.read(|parts| parts.last_event)),
        ("last_kept_timestamp_seconds", "When events were committed last.", Some(meter.last_kept.load(Ordering::Relaxed))),
        ("last_roll_timestamp_seconds", "When the last roll ended.", Some(meter.last_roll.load(Ordering::Relaxed))),
    ];
    for (name, help, at) in times {
        if let Some(at) = at.filter(|at| *at != 0) {
            out.one(Kind::Gauge, name, help, seconds(at));
        }
    }
}

fn sessions(meter: &Meter, out: &mut Exposition) {
    let mut projects = Projects::default();
    meter.read(|parts| {
        for (project, since) in &parts.connected {
            projects.of(project).connected(Source::Stream, since.is_some());
        }
        for project in &parts.pushing {
            projects.of(project).connected(Source::Push, true);
        }
        for (project, at) in &parts.signs {
            projects.of(project).last_sign(*at);
        }
    });
    projects.write(out);
    let pushed = Meter::get(&meter.push_sessions);
    let streamed = Meter::get(&meter.sessions).saturating_sub(pushed);
    let mut family = out.family(Kind::Counter, "sessions_opened_total", "Sessions opened.");
    family.add(&[("source", Source::Stream.name())], streamed);
    family.add(&[("source", Source::Push.name())], pushed);
    out.one(Kind::Counter, "pings_total", "Pings received.", Meter::get(&meter.pings));
    let mut family = out.family(Kind::Counter, "pushes_total", "Pushes answered, by the status of the answer.");
    family.add(&[("code", "200")], Meter::get(&meter.pushes));
    meter.read(|parts| {
        parts.refused_pushes.iter().for_each(|(code, count)| family.add(&[("code", &code.to_string())], count));
    });
}

/// The room on the disk.
pub(super) fn disk(room: Option<Room>, is_full: bool, out: &mut Exposition) {
    if let Some(room) = room {
        out.one(Kind::Gauge, "disk_free_bytes", "Room on the disk of the recording.", room.free);
    }
    let help = "Whether there is so little room that nothing is kept.";
    out.one(Kind::Gauge, "disk_full", help, u8::from(is_full));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn however_many_types_and_projects_there_are_the_numbers_are_few_and_no_name_stands_twice() {
        let meter = Meter::default();
        meter.update(|parts| {
            for number in 0..5000 {
                parts.committed.add(&format!("type{number}"), 1);
                parts.connected.insert(format!("project{number}"), (number != 4321).then_some(5));
                parts.pushing.insert(format!("project{number}"));
                parts.signs.insert(format!("project{number}"), 1_000_000 * i64::from(number + 1));
            }
            parts.refused_pushes.insert(401, 3);
        });
        let text = text(&meter, 0, Path::new("/"));
        let all = series(&text);
        assert!(all.len() < 600, "{}", all.len());
        let mut names: Vec<&str> = all.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for line in [
            "overnight_events_kept_total{type=\"other\"} 4936",
            "overnight_project_connected{project=\"other\",source=\"stream\"} 0",
            "overnight_project_connected{project=\"other\",source=\"push\"} 1",
            "overnight_pushes_total{code=\"401\"} 3",
        ] {
            assert!(all.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains("device"));
    }
}
