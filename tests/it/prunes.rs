//! Pruning: shown first, nothing absurd, archived before it goes, and never said to be missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use overnight::base::time::{DAY, Day, Micros, now};
use overnight::intake::backfill::Request;
use overnight::maintenance::prune::{PruneError, plan};
use overnight::model::layout::Layout;
use overnight::model::settings::Filters;
use overnight::store::buffer::Records;
use serde_json::Value;

use crate::gaps::record;
use crate::support::{Cloud, Place, Ran, lines, overnight, until, write};

/// Three events of a day.
fn day(day: Day) -> String {
    let event = |at: u32| {
        let time = format!("{day}T0{at}:00:00.000000Z");
        format!(
            r#"{{"eventId":"{day}-{at}","targetName":"projects/p/devices/d","eventType":"touch","data":{{"touch":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#
        ) + "\n"
    };
    (0..3).map(event).collect()
}

/// A recording of so many days, up to yesterday.
fn days(place: &Place, many: i32) {
    let today = Day::of(now());
    let text: String = (1..=many).rev().map(|back| day(Day(today.0 - back))).collect();
    assert_eq!(place.import(text).code, 0);
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
}

fn exported(dir: &Path) -> Vec<Value> {
    lines(&Ran::new(&overnight().args(["export", "--format", "ndjson", "--dir"]).arg(dir).output().unwrap()).stdout)
}

fn sums_are_right(dir: &Path) {
    let done = Command::new("sha256sum").args(["--check", "--quiet", "MANIFEST"]).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn path_of(place: &Place, back: i32) -> std::path::PathBuf {
    place.dir().join(format!("data/touch/{}.parquet", Day(Day::of(now()).0 - back)))
}

#[test]
fn what_is_old_is_shown_then_archived_then_gone_and_never_missing() {
    let place = Place::new();
    days(&place, 80);
    // A gap that nobody can fill any more, in what goes and in what stays.
    let today = Day::of(now()).start();
    place.note("session", today - 79 * DAY, today - DAY);
    place.note("lost", today - 70 * DAY, today - 69 * DAY);
    assert_eq!(place.run(&["gaps"]).code, 3);
    let (all, archive) = (place.events(), place.path("old"));
    let shown = place.run(&["prune", "--keep", "50d"]);
    assert!(
        shown.code == 0 && shown.stdout.contains("touch") && shown.stderr.contains("--yes"),
        "{}{}",
        shown.stdout,
        shown.stderr
    );
    assert_eq!((place.events().len(), place.day_files().len()), (240, 80));
    let ran = place.run(&["prune", "--keep", "50d", "--yes", "--archive", archive.to_str().unwrap()]);
    assert!(ran.code == 0 && ran.stderr.contains("pruned "), "{}", ran.stderr);
    let (left, old) = (place.events(), exported(&archive));
    assert!(left.len() < 240 && old.len() >= 80, "{} and {}", left.len(), old.len());
    let union: BTreeSet<String> = ids(&left).union(&ids(&old)).cloned().collect();
    assert_eq!((union, left.len() + old.len()), (ids(&all), 240));
    sums_are_right(&place.dir());
    sums_are_right(&archive);
    let before = place.status()["pruned_before"].as_str().unwrap()[..10].to_owned();
    for verb in ["verify", "gaps", "status"] {
        let ran = place.run(&[verb]);
        let said = format!("{} {}", ran.stdout, ran.stderr);
        assert!(ran.code == 0 && said.contains(&before) && said.contains("pruned"), "{verb}: {said}");
        assert!(!said.contains(" lost (") && !said.contains("not filled") && !said.contains("DAMAGE"), "{verb}: {said}");
    }
    assert_eq!(place.gaps(), Vec::<Value>::new());
    assert_eq!(place.coverage()["projects"][0]["from"].as_str().unwrap()[..10], before);
    // Nothing more is old, and a start does not mind.
    assert!(place.run(&["prune", "--keep", "50d", "--yes"]).stderr.contains("can go"));
    assert_eq!(place.run(&["roll"]).code, 0);
    assert_eq!(place.run(&["verify"]).code, 0);
    assert_eq!(place.events(), left);
}

#[test]
fn what_is_absurd_is_refused_and_the_advice_leads_there_step_by_step() {
    let place = Place::new();
    days(&place, 120);
    let prune = |keep: &str| place.run(&["prune", "--yes", "--keep", keep]);
    assert!(prune("31d").code == 2 && prune("0s").code == 2 && place.run(&["prune", "--yes"]).code == 2);
    let ran = prune("33d");
    assert!(ran.code == 2 && ran.stderr.contains("more than half"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 360);
    let step = ran.stderr.split("--keep ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let ran = prune(&step);
    assert_eq!(ran.code, 0, "{step}: {}", ran.stderr);
    let ran = prune("33d");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(place.day_files().len() <= 35, "{}", place.day_files().len());
    assert_eq!(place.run(&["verify"]).code, 0);
    assert_eq!(Place::new().run(&["prune", "--keep", "50d"]).code, 1);
}

#[test]
fn a_clock_that_is_years_ahead_prunes_nothing_and_one_behind_is_told() {
    let place = Place::new();
    days(&place, 80);
    let (layout, years) = (Layout::new(&place.dir()), 3652 * DAY);
    let files = |keep: Micros, now: Micros| plan(&layout, keep, now).map(|plan| plan.files.len());
    assert_eq!(files(400 * DAY, now() + years).unwrap(), 0);
    assert_eq!(files(50 * DAY, now() + years).unwrap(), files(50 * DAY, now()).unwrap());
    // A sensor with a clock of its own does not help it, nor does a session by the wrong clock: more than half would go.
    assert_eq!(place.import(day(Day::of(now() + years))).code, 0);
    assert!(files(50 * DAY, now()).unwrap() > 0);
    assert!(matches!(files(50 * DAY, now() + years), Err(PruneError::TooMuch { .. })));
    place.note("session", now() - 3 * DAY, now());
    assert!(matches!(files(50 * DAY, now() - 20 * DAY), Err(PruneError::Clock { .. })));
    assert!(files(50 * DAY, now() + years).unwrap() > 0, "by the last sign of life");
}

#[test]
fn what_is_not_as_it_was_or_not_all_there_stays() {
    let place = Place::new();
    days(&place, 90);
    // One that rots, and one of which the archive has another.
    let (rotten, other) = (path_of(&place, 85), path_of(&place, 80));
    let mut bytes = fs::read(&rotten).unwrap();
    bytes[20] ^= 1;
    write(&rotten, &bytes);
    let archive = place.path("old");
    let there = archive.join("data/touch").join(other.file_name().unwrap());
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    write(&there, "another");
    let ran = place.run(&["prune", "--keep", "60d", "--yes", "--archive", archive.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("not what its checksum says") && ran.stderr.contains("another file of this day"),
        "{}",
        ran.stderr
    );
    assert!(rotten.exists() && other.exists() && !path_of(&place, 84).exists());
    assert_eq!(fs::read(&there).unwrap(), b"another");
    // A part of the recording is no archive.
    let own = place.dir().join("data");
    assert_eq!(place.run(&["prune", "--keep", "50d", "--yes", "--archive", own.to_str().unwrap()]).code, 2);
    assert!(path_of(&place, 55).exists());
}

#[test]
fn a_recorder_prunes_by_itself_and_nobody_else_does_meanwhile() {
    let cloud = Cloud::start(&["--rate", "50"]);
    let place = Place::with_quick_history();
    days(&place, 80);
    write(&place.dir().join("overnight.toml"), "keep = \"50d\"\narchive = \"../old\"\n");
    let recorder = record(&place, &cloud, &["--no-backfill", "--roll-every", "300ms", "--keep-every", "100ms"]);
    until("old days are pruned", || place.so_far("pruned_before").is_string());
    until("and gone", || !path_of(&place, 60).exists());
    let ran = place.run(&["prune", "--keep", "45d", "--yes"]);
    assert!(ran.code == 1 && ran.stderr.contains("prunes by itself"), "{}", ran.stderr);
    let (ran, _) = recorder.terminate();
    assert!(ran.stderr.contains("pruned ") && ran.code == 0, "{}", ran.stderr);
    assert!(path_of(&place, 40).exists() && exported(&place.path("old")).len() > 60);
    let ran = place.run(&["verify"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    sums_are_right(&place.dir());
    write(&place.dir().join("overnight.toml"), "keep = \"31d\"\n");
    assert_eq!(record(&place, &cloud, &["--for", "1s"]).wait().code, 2);
}

#[test]
fn status_says_for_how_long_the_disk_will_do() {
    let place = Place::new();
    // Of a day that is not over nobody knows what it takes.
    assert_eq!(place.import(day(Day::of(now()))).code, 0);
    assert!(place.status()["bytes_a_day"].is_null() && !place.run(&["status"]).stdout.contains(" a day"));
    days(&place, 20);
    let status = place.status();
    let number = |field: &str| status[field].as_u64().unwrap();
    let size = fs::metadata(path_of(&place, 3)).unwrap().len();
    assert!((size * 9 / 10..size * 11 / 10).contains(&number("bytes_a_day")), "{status}");
    assert!(number("disk_days") * number("bytes_a_day") <= number("disk_free"), "{status}");
    assert!(place.run(&["status"]).stdout.contains(" free, more than ten years at "), "{}", place.run(&["status"]).stdout);
}

#[test]
fn what_was_pruned_is_not_fetched_back() {
    let request = Request::new("p", Filters::default(), (0, 100));
    assert_eq!(request.new_of(&Records { pruned_before: Some(40), ..Records::default() }), [(40, 100)]);
    assert_eq!(request.new_of(&Records { pruned_before: Some(400), ..Records::default() }), []);
}
