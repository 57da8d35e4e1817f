//! Shipping to a lake that is a directory: what is shipped, once; by whom; what a copy does. Stores with faults are `tests/lake`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::{Cloud, Place, Ran, overnight, touch, until, write};

/// A lake beside a recording.
fn lake(place: &Place) -> PathBuf {
    let lake = place.path("lake");
    let made = Ran::new(&overnight().args(["lake", "init"]).arg(&lake).output().unwrap());
    assert_eq!(made.code, 0, "{}", made.stderr);
    lake
}

fn ship(dir: &Path, lake: &Path) -> Ran {
    Ran::new(&overnight().args(["lake", "ship", "--dir"]).arg(dir).arg(lake).output().unwrap())
}

/// The rows of a table as its log has it, by event id: how often each stands, and who shipped it. No file is without a commit.
fn rows(table: &Path) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeSet::new();
    let mut commits: Vec<PathBuf> = fs::read_dir(table.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    commits.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    commits.sort();
    for commit in commits {
        for line in fs::read_to_string(commit).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                assert!(files.insert(path.to_owned()), "{path} is added twice");
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                assert!(files.remove(path), "{path} was not there");
            }
        }
    }
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(table.join(file)).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            for (id, recorder) in text("event_id").iter().zip(&text("recorder")) {
                all.entry(id.unwrap().to_owned()).or_default().push(recorder.unwrap().to_owned());
            }
        }
    }
    all
}

fn each_once(table: &Path, ids: &[&str]) -> BTreeSet<String> {
    let rows = rows(table);
    assert_eq!(rows.keys().map(String::as_str).collect::<Vec<_>>(), ids);
    assert!(rows.values().all(|who| who.len() == 1), "{rows:?}");
    rows.into_values().flatten().collect()
}

fn events(some: &[(&str, u32, u32)]) -> String {
    some.iter().map(|(id, day, second)| touch(id, *day, *second) + "\n").collect()
}

#[test]
fn what_was_shipped_is_not_shipped_again_and_what_comes_late_is() {
    let place = Place::new();
    let lake = lake(&place);
    let table = lake.join("touch");
    place.import(events(&[("a", 1, 1), ("b", 1, 2), ("c", 2, 1)]));
    assert_eq!(ship(&place.dir(), &lake).code, 0);
    each_once(&table, &["a", "b", "c"]);
    assert!(ship(&place.dir(), &lake).stderr.contains("shipped 0 rows"));
    // Before, between and behind what is there, of a day that is sealed; and one that is known.
    place.import(events(&[("0", 1, 0), ("a", 1, 1), ("ab", 1, 1), ("d", 2, 9), ("e", 3, 0)]));
    assert!(ship(&place.dir(), &lake).stderr.contains("shipped 4 rows"));
    let who = each_once(&table, &["0", "a", "ab", "b", "c", "d", "e"]);
    assert_eq!(who.len(), 1);
    // Written anew, with the same rows.
    assert_eq!(place.run(&["rebuild"]).code, 0);
    place.import(events(&[("f", 1, 5)]));
    let shipped = ship(&place.dir(), &lake);
    assert!(shipped.stderr.contains("shipped 1 row "), "{}", shipped.stderr);
    each_once(&table, &["0", "a", "ab", "b", "c", "d", "e", "f"]);
}

#[test]
fn a_state_that_is_lost_a_copy_and_a_restored_backup_take_a_new_id_and_double_nothing() {
    let place = Place::new();
    let lake = lake(&place);
    let table = lake.join("touch");
    place.import(events(&[("a", 1, 1), ("b", 1, 2)]));
    assert_eq!(ship(&place.dir(), &lake).code, 0);
    let first = each_once(&table, &["a", "b"]);
    let copy = place.path("copy");
    assert!(Command::new("cp").arg("-r").args([place.dir(), copy.clone()]).status().unwrap().success());
    // The first one goes on behind the copy.
    place.import(events(&[("c", 1, 3), ("d", 2, 1)]));
    assert_eq!(ship(&place.dir(), &lake).code, 0);
    // The copy has taken two of them from the history, as it were, and one that nobody has.
    let more = events(&[("c", 1, 3), ("d", 2, 1), ("e", 2, 2)]);
    let mut import = overnight();
    import.args(["import", "-", "--dir"]).arg(&copy);
    write(&place.path("more"), more);
    assert!(import.stdin(fs::File::open(place.path("more")).unwrap()).status().unwrap().success());
    let shipped = ship(&copy, &lake);
    assert!(shipped.stderr.contains("shipped 1 row "), "{}", shipped.stderr);
    let who = each_once(&table, &["a", "b", "c", "d", "e"]);
    assert!(who.len() == 2 && who.is_superset(&first), "{who:?}");
    fs::remove_dir_all(place.dir().join("state/lake")).unwrap();
    assert!(ship(&place.dir(), &lake).stderr.contains("shipped 0 rows"));
    // From a backup of the first.
    let backups = place.path("backups");
    assert_eq!(place.run(&["backup", backups.to_str().unwrap()]).code, 0);
    let generation =
        fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.join("state").is_dir()).unwrap();
    let restored = place.path("restored");
    let ran = overnight().arg("restore").arg(&generation).arg("--dir").arg(&restored).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(ship(&restored, &lake).stderr.contains("shipped 0 rows"));
    each_once(&table, &["a", "b", "c", "d", "e"]);
}

#[test]
fn a_recorder_ships_by_itself_and_status_tells_how_far() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "4"]);
    let place = Place::new();
    let lake = lake(&place);
    fs::create_dir_all(place.dir()).unwrap();
    let settings = format!("roll_every = \"500ms\"\n[lake]\nurl = {:?}\nship_every = \"1s\"\n", lake.display().to_string());
    write(&place.dir().join("overnight.toml"), settings);
    for path in [place.dir(), place.dir().join("overnight.toml")] {
        use std::os::unix::fs::PermissionsExt;
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = overnight();
    command
        .args(["record", "--project", "demo", "--for", "60s", "--no-backfill", "--api-url", &cloud.url, "--dir"])
        .arg(place.dir());
    let recorder = crate::support::Running::start(&mut command);
    until("rows are in the lake", || {
        place.dir().join("state/buffer.db").exists() && place.status()["lake"]["rows"].as_u64() > Some(0)
    });
    let (ran, _) = recorder.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ship(&place.dir(), &lake).code, 0);
    let truth: BTreeSet<String> = place.events().iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect();
    let tables = fs::read_dir(&lake).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.join("_delta_log").is_dir());
    let mut found = BTreeSet::new();
    for (id, who) in tables.flat_map(|table| rows(&table)) {
        assert_eq!(who.len(), 1, "{id}");
        found.insert(id);
    }
    assert_eq!(found, truth);
    assert!(place.status()["lake"]["problem"].is_null());
}

#[test]
fn a_lake_that_nobody_made_and_an_address_that_carries_secrets_are_refused() {
    let place = Place::new();
    place.import(events(&[("a", 1, 1)]));
    let ran = ship(&place.dir(), &place.path("nowhere"));
    assert!(ran.code == 1 && ran.stderr.contains("lake init"), "{}", ran.stderr);
    let ran = place.run(&["lake", "ship", "s3://key:hush@bucket/x"]);
    assert!(ran.code == 2 && !ran.stderr.contains("hush"), "{}", ran.stderr);
    assert!(!place.path("nowhere").exists());
}
