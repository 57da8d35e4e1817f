//! Merging: of several recordings one, with all events once, and no gap that one of them has heard.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overnight::base::disk;
use overnight::base::time::{Micros, SECOND, parse_rfc3339};
use overnight::model::event::Source;
use overnight::model::layout::Layout;
use overnight::store::buffer::{Buffer, Change, Heard};
use serde_json::Value;

use crate::gaps::record;
use crate::support::{Cloud, Place, Ran, by_key, overnight, run_of_p, touch, until, write};

fn merge(from: &[&Place], into: &Place) -> Ran {
    let mut command = overnight();
    command.arg("merge").args(from.iter().map(|place| place.dir())).arg("--dir").arg(into.dir());
    Ran::new(&command.output().unwrap())
}

/// Every file of a recording with its bytes, but what readers of a database may leave beside it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in disk::list(dir).unwrap() {
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().contains("buffer.db-") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn time(text: &str) -> Micros {
    parse_rfc3339(text.as_bytes()).unwrap().time
}

/// A run of project `p` on the first of October that was asked to end in the end, with sessions from and to these hours.
fn heard(place: &Place, number: u64, sessions: &[(i64, i64)]) {
    let hour = |hour: i64| time("2026-10-01T00:00:00Z") + hour * 3600 * SECOND;
    let (from, to) = (hour(sessions[0].0), hour(sessions.last().unwrap().1));
    let mut buffer = Buffer::open(&Layout::new(&place.dir()), from).unwrap();
    buffer.renew_id().unwrap();
    let run = run_of_p(number, Source::Stream, from, 30 * SECOND);
    buffer.apply(&Change::Begins(Arc::clone(&run)), from).unwrap();
    for (session, (opened, spoke)) in sessions.iter().enumerate() {
        let (opened_at, spoke_at, ended) = (hour(*opened), hour(*spoke), Some("a test".to_owned()));
        let heard = Heard { run: Arc::clone(&run), session: session as u64, opened_at, spoke_at, ended };
        buffer.apply(&Change::Heard(heard), spoke_at).unwrap();
    }
    buffer.apply(&Change::Ends(run, to), to).unwrap();
}

/// Events of the first of October, one a minute of these hours.
fn import(place: &Place, hours: std::ops::Range<u32>) {
    let text: String = (hours.start * 60..hours.end * 60).map(|at| touch(&format!("m{at}"), 1, at * 60) + "\n").collect();
    assert_eq!(place.import(text).code, 0);
}

fn states(place: &Place) -> Vec<(String, String)> {
    let hour = |time: &Value| time.as_str().unwrap()[11..13].to_owned();
    place.gaps().iter().map(|gap| (hour(&gap["begins"]), gap["state"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn two_recorders_with_different_holes_are_one_without_any() {
    let cloud = Cloud::start(&["--rate", "120", "--devices", "9"]);
    let (a, b, both) = (Place::new(), Place::new(), Place::new());
    let start = |place: &Place| record(place, &cloud, &["--no-backfill", "--keep-every", "200ms", "--roll-every", "700ms"]);
    let has = |place: &Place, more: u64| {
        let before = place.so_far("events").as_u64().unwrap_or_default();
        until("events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > before + more));
    };
    let (one, other) = (start(&a), start(&b));
    has(&a, 100);
    has(&b, 100);
    // One ends and nobody wanted that, the other goes on; and the other way round.
    let hang_up = |mut recorder: crate::support::Running| {
        recorder.signal("-HUP");
        recorder.wait();
    };
    hang_up(one);
    has(&b, 300);
    let one = start(&a);
    has(&a, 150);
    hang_up(other);
    has(&a, 300);
    let other = start(&b);
    has(&b, 150);
    one.terminate();
    other.terminate();
    assert!(a.coverage()["missing"] == 1 && b.coverage()["missing"] == 1);
    let untouched = (files(&a.dir()), files(&b.dir()));
    let ran = merge(&[&a, &b], &both);
    assert!(ran.code == 0 && ran.stderr.contains("of gaps filled"), "{}", ran.stderr);
    assert_eq!(both.coverage()["missing"], 0, "{}", both.run(&["gaps"]).stdout);
    both.holds_everything(&cloud, |_| false);
    let events = both.events();
    let union: usize = {
        let (of_a, of_b) = (a.events(), b.events());
        let mut all: Vec<_> = by_key(&of_a).into_keys().chain(by_key(&of_b).into_keys()).collect();
        all.sort();
        all.dedup();
        all.len()
    };
    assert_eq!(events.len(), union);
    assert_eq!(both.run(&["verify"]).code, 0);
    // Again, and in the other order: nothing is new.
    for from in [[&a, &b], [&b, &a]] {
        let before = both.gaps();
        let ran = merge(&from, &both);
        assert!(ran.code == 0 && ran.stderr.matches(" 0 new").count() == 2, "{}", ran.stderr);
        assert_eq!((both.events().len(), both.gaps()), (union, before));
    }
    assert!((files(&a.dir()), files(&b.dir())) == untouched, "a recording that was taken from has changed");
}

#[test]
fn beside_its_recorder_a_recording_is_taken_from_again_and_again() {
    let cloud = Cloud::start(&["--rate", "150", "--devices", "9"]);
    let (a, mirror) = (Place::new(), Place::new());
    let recorder = record(&a, &cloud, &["--no-backfill", "--keep-every", "200ms", "--roll-every", "500ms"]);
    until("events are kept", || a.so_far("events").as_u64().is_some_and(|events| events > 200));
    for _ in 0..3 {
        let before = a.events().len();
        assert_eq!(merge(&[&a], &mirror).code, 0);
        assert!(mirror.events().len() >= before);
        // What it has heard since is no gap of what was taken.
        assert_eq!(mirror.coverage()["missing"], 0, "{}", mirror.run(&["gaps"]).stdout);
    }
    recorder.terminate();
    assert_eq!(merge(&[&a], &mirror).code, 0);
    assert_eq!((mirror.events(), mirror.coverage()["missing"].clone()), (a.events(), 0.into()));
}

#[test]
fn rows_keep_how_and_when_they_came_and_devices_their_names() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "9"]);
    let (a, into) = (Place::with_quick_history(), Place::new());
    assert_eq!(record(&a, &cloud, &["--for", "3s"]).wait().code, 0);
    // Something that is no event, and something of another way.
    assert_eq!(a.import("no event\n".to_owned() + &touch("imported", 1, 60)).code, 3);
    for _ in 0..2 {
        assert_eq!(merge(&[&a], &into).code, 0);
        let all = |place: &Place| place.run(&["export", "--format", "csv"]).stdout;
        assert_eq!(all(&into), all(&a));
        assert_eq!(into.status()["faults"], 1);
    }
    let names = |place: &Place| place.run(&["export", "--latest", "--names", "--format", "csv"]).stdout;
    assert_eq!(names(&into), names(&a));
    assert!(into.dir().join("devices.parquet").exists());
}

#[test]
fn a_hole_of_both_stays_one_and_one_of_a_recorder_that_was_to_go_on_as_well() {
    let (a, b) = (Place::new(), Place::new());
    import(&a, 0..2);
    heard(&a, 1, &[(0, 2), (4, 8)]);
    import(&b, 2..3);
    heard(&b, 1, &[(1, 3), (6, 12)]);
    assert_eq!(merge(&[&b], &a).code, 0);
    assert_eq!(
        states(&a),
        [("02", "filled"), ("03", "lost"), ("04", "filled")].map(|(at, state)| (at.to_owned(), state.to_owned()))
    );
    // Nothing of a recorder's gap is hidden by the runs of another that began before.
    let c = Place::new();
    heard(&c, 1, &[(0, 1), (20, 21)]);
    assert_eq!(merge(&[&a], &c).code, 0);
    assert!(states(&c).contains(&("12".to_owned(), "lost".to_owned())), "{:?}", states(&c));
}

#[test]
fn what_a_damaged_file_has_lost_comes_back_from_the_other() {
    let (a, b) = (Place::new(), Place::new());
    for place in [&a, &b] {
        import(place, 0..6);
        heard(place, 1, &[(0, 6)]);
    }
    let path = a.dir().join("data/touch/2026-10-01.parquet");
    write(&path, "rotten");
    assert_eq!(a.run(&["roll"]).code, 3);
    assert!(a.events().is_empty() && states(&a).iter().all(|(_, state)| state == "lost"));
    // What does not read claims nothing elsewhere.
    let c = Place::new();
    let rotten = Place::new();
    import(&rotten, 0..3);
    heard(&rotten, 1, &[(0, 3)]);
    write(&rotten.dir().join("data/touch/2026-10-01.parquet"), "rotten");
    let ran = merge(&[&rotten], &c);
    assert!(ran.code == 3 && ran.stderr.contains("does not read whole"), "{}", ran.stderr);
    assert_eq!(c.coverage()["projects"], Value::Array(Vec::new()));
    let ran = merge(&[&b], &a);
    assert!(ran.code == 0 && ran.stderr.contains("360 new"), "{}", ran.stderr);
    assert_eq!(a.events(), b.events());
    let within = |place: &Place| states(place).into_iter().filter(|(at, _)| at.as_str() < "06").collect::<Vec<_>>();
    assert!(within(&a).iter().all(|(_, state)| state == "filled"), "{:?}", states(&a));
}

#[test]
fn schemas_come_along_and_nothing_is_merged_into_itself_or_out_of_nothing() {
    let (a, into) = (Place::new(), Place::new());
    let schemas = a.path("schemas");
    fs::create_dir(&schemas).unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/touchCount.toml")).unwrap();
    write(&schemas.join("pressCount.toml"), text.replace("touchCount", "pressCount"));
    let event = r#"{"eventId":"x1","targetName":"projects/p/devices/d","eventType":"pressCount","data":{"pressCount":{"total":7,"updateTime":"2026-10-01T00:00:00.000000Z"}},"timestamp":"2026-10-01T00:00:00.000000Z"}"#;
    write(&a.path("in.ndjson"), event);
    let input = a.path("in.ndjson");
    let ran = a.run(&["import", input.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(merge(&[&a], &into).code, 0);
    let csv = |place: &Place| place.run(&["export", "--event-type", "pressCount", "--format", "csv"]).stdout;
    assert!(csv(&into).contains(",7,") && csv(&into) == csv(&a), "{}", csv(&into));
    assert_eq!(into.run(&["verify"]).code, 0);
    let nothing = Place::new();
    assert_eq!(merge(&[&a], &a).code, 2);
    assert_eq!(merge(&[&nothing], &nothing).code, 2);
    let ran = merge(&[&a, &nothing], &Place::new());
    assert!(ran.code == 2 && ran.stderr.contains("there is no recording"), "{}", ran.stderr);
    assert!(!nothing.dir().exists());
}

#[test]
fn what_was_pruned_there_nobody_claims_and_what_the_other_missed_then_stays_a_gap() {
    let (a, b, both) = (Place::new(), Place::new(), Place::new());
    heard(&a, 1, &[(0, 12)]);
    heard(&b, 2, &[(0, 2), (4, 8)]);
    let six = time("2026-10-01T06:00:00Z");
    Buffer::open(&Layout::new(&a.dir()), six).unwrap().pruned(&[], six).unwrap();
    assert_eq!(merge(&[&a, &b], &both).code, 0);
    // What it had heard before is not here any more.
    assert_eq!(states(&both), [("02".to_owned(), "lost".to_owned())]);
    assert_eq!(merge(&[&a, &b], &both).code, 0);
    assert_eq!(states(&both).len(), 1);
}
