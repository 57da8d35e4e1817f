//! Backups and the way back: each a recording, none replaced by what is damaged, all of it there or nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::gaps::{is_not_in_history, kill_in_the_middle, record};
use crate::recovery::copy;
use crate::support::{Cloud, Place, Ran, by_key, lines, overnight, touch, until, write};

/// Imports some events of several days of October 2026, which are over and sealed.
fn days(place: &Place, days: std::ops::RangeInclusive<u32>) {
    let text: String = days.flat_map(|day| (0..40).map(move |at| touch(&format!("id{day}-{at}"), day, at * 60) + "\n")).collect();
    assert_eq!(place.import(text).code, 0);
}

fn back_up(place: &Place, arguments: &[&str]) -> Ran {
    let output = overnight().arg("backup").arg("--dir").arg(place.dir()).arg(place.path("backups")).args(arguments).output();
    Ran::new(&output.unwrap())
}

/// The generations, oldest first.
fn generations(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("backups")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn at(dir: &Path, arguments: &[&str]) -> Ran {
    Ran::new(&overnight().args(arguments).arg("--dir").arg(dir).output().unwrap())
}

fn restore(backup: &Path, arguments: &[&str]) -> Ran {
    Ran::new(&overnight().arg("restore").arg(backup).args(arguments).output().unwrap())
}

fn verifies(dir: &Path) {
    let ran = at(dir, &["verify"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// Every event of a recording, as JSON.
fn events(dir: &Path) -> Vec<Value> {
    lines(&at(dir, &["export", "--format", "ndjson"]).stdout)
}

#[test]
fn a_backup_is_a_recording_and_the_next_one_takes_no_room_for_what_has_not_changed() {
    let place = Place::new();
    days(&place, 1..=9);
    write(&place.dir().join("overnight.toml"), "roll_every = \"2h\"\n");
    let first = back_up(&place, &[]);
    assert!(first.code == 0 && first.stderr.contains("9 day files"), "{}", first.stderr);
    days(&place, 9..=10);
    let second = back_up(&place, &[]);
    assert!(second.code == 0 && second.stderr.contains("9 as before"), "{}", second.stderr);
    let [one, two] = <[PathBuf; 2]>::try_from(generations(&place)).unwrap();
    for (dir, rows) in [(&one, 360), (&two, 400)] {
        verifies(dir);
        assert_eq!(events(dir).len(), rows);
        assert!(dir.join("overnight.toml").exists());
        let status: Value = serde_json::from_str(&at(dir, &["status", "--json"]).stdout).unwrap();
        assert!(status["events"] == rows && status["last_backup"].is_null(), "{status}");
        // As anybody checks it, without this program.
        let sums = std::process::Command::new("sha256sum").args(["--check", "--quiet", "MANIFEST"]).current_dir(dir).output();
        assert!(sums.unwrap().status.success());
    }
    let file = |dir: &Path, day: &str| fs::metadata(dir.join(format!("data/touch/2026-10-{day}.parquet"))).unwrap();
    assert_eq!(file(&one, "01").ino(), file(&two, "01").ino());
    assert_ne!(file(&one, "01").ino(), file(&place.dir(), "01").ino(), "what happens to the recording happens to no backup");
    assert_eq!(place.status()["last_backup"]["to"], place.path("backups").canonicalize().unwrap().to_str().unwrap());
    assert!(place.run(&["status"]).stdout.contains("backup "));
}

#[test]
fn what_is_damaged_replaces_no_good_copy_and_lets_none_go() {
    let place = Place::new();
    days(&place, 1..=4);
    assert_eq!(back_up(&place, &[]).code, 0);
    let good = events(&place.dir());
    // A bit flips, a file goes, and one is cut off; all behind the back of the program.
    let file = |day: u32| place.dir().join(format!("data/touch/2026-10-0{day}.parquet"));
    let mut bytes = fs::read(file(1)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&file(1), &bytes);
    fs::remove_file(file(2)).unwrap();
    let bytes = fs::read(file(3)).unwrap();
    write(&file(3), &bytes[..bytes.len() - 7]);
    for _ in 0..3 {
        let ran = back_up(&place, &["--keep", "1"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        for (day, what) in [(1, "is not what its checksum says"), (2, "is gone"), (3, "is not what its checksum says")] {
            let said = format!("2026-10-0{day}.parquet {what}; the good copy");
            assert!(ran.stderr.contains(&said), "{said}: {}", ran.stderr);
        }
    }
    let all = generations(&place);
    assert_eq!(all.len(), 4, "none goes while something is damaged");
    for dir in &all {
        verifies(dir);
        assert_eq!(events(dir), good);
    }
    // Put back from there, all is well again.
    for day in 1..=3 {
        fs::copy(all[3].join(format!("data/touch/2026-10-0{day}.parquet")), file(day)).unwrap();
    }
    verifies(&place.dir());
    let ran = back_up(&place, &["--keep", "1"]);
    assert_eq!((ran.code, generations(&place).len()), (0, 1), "{}", ran.stderr);
}

#[test]
fn what_is_damaged_and_has_no_good_copy_is_named_and_says_so_in_the_backup() {
    let place = Place::new();
    days(&place, 1..=2);
    let path = place.dir().join("data/touch/2026-10-01.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&path, &bytes);
    let ran = back_up(&place, &[]);
    assert!(ran.code == 3 && ran.stderr.contains("no good copy"), "{}", ran.stderr);
    let ran = at(&generations(&place)[0], &["verify"]);
    assert!(ran.code == 1 && ran.stdout.contains("2026-10-01.parquet"), "{}", ran.stdout);
    // And no recording is made of it.
    let new = place.path("new");
    let ran = restore(&place.path("backups"), &["--dir", new.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.contains("nothing was restored") && !new.exists(), "{}", ran.stderr);
    assert_eq!(restore(&place.path("backups"), &["--check"]).code, 1);
}

#[test]
fn where_backups_stand_is_no_recording_and_the_newest_is_named() {
    let place = Place::new();
    days(&place, 1..=1);
    assert_eq!(back_up(&place, &[]).code, 0);
    assert_eq!(back_up(&place, &[]).code, 0);
    let newest = generations(&place).pop().unwrap();
    let ran = at(&place.path("backups"), &["status"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains(&format!("the newest is {}", newest.display())), "{}", ran.stderr);
}

#[test]
fn old_backups_go_and_the_last_never_and_a_rest_of_a_crash_is_swept() {
    let place = Place::new();
    days(&place, 1..=2);
    for _ in 0..3 {
        assert_eq!(back_up(&place, &["--keep", "2"]).code, 0);
    }
    assert_eq!(generations(&place).len(), 2);
    let rest = place.path("backups/.2026-10-01T000000Z.partial/data/touch");
    fs::create_dir_all(&rest).unwrap();
    write(&rest.join("2026-10-01.parquet"), "half");
    assert_eq!(back_up(&place, &["--keep", "0"]).code, 2);
    assert_eq!(back_up(&place, &["--keep", "1"]).code, 0);
    assert_eq!(generations(&place).len(), 1);
    verifies(&generations(&place)[0]);
    // Whatever else stands there is nobody's business.
    write(&place.path("backups/notes.txt"), "mine");
    assert_eq!(back_up(&place, &["--keep", "1"]).code, 0);
    assert!(place.path("backups/notes.txt").exists());
}

#[test]
fn a_backup_goes_nowhere_where_it_does_not_belong() {
    let place = Place::new();
    days(&place, 1..=1);
    let into = |to: &Path| Ran::new(&overnight().arg("backup").arg("--dir").arg(place.dir()).arg(to).output().unwrap());
    for to in ["data", "data/touch", "state/staging"] {
        let ran = into(&place.dir().join(to));
        assert!(ran.code == 1 && ran.stderr.contains("only a recorder writes there"), "{to}: {}", ran.stderr);
    }
    assert!(into(&place.dir()).stderr.contains("it is a recording"));
    let within = into(&place.dir().join("backups"));
    assert!(within.code == 1 && within.stderr.contains("would go with it"), "{}", within.stderr);
    assert_eq!(at(&place.path("nowhere"), &["backup", place.path("backups").to_str().unwrap()]).code, 1);
    assert!(!place.path("nowhere").exists() && !place.path("backups").exists());
    verifies(&place.dir());
}

#[test]
fn beside_a_recorder_a_backup_misses_nothing_that_was_there_when_it_began() {
    let cloud = Cloud::start(&["--rate", "400", "--devices", "13"]);
    let place = Place::new();
    let recorder = record(&place, &cloud, &["--keep-every", "100ms", "--roll-every", "300ms"]);
    until("events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > 300));
    for _ in 0..6 {
        let before = place.events();
        let ran = back_up(&place, &[]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let last = generations(&place).pop().unwrap();
        let copied = events(&last);
        let found = by_key(&copied);
        let missing = by_key(&before).into_keys().filter(|key| !found.contains_key(key)).count();
        assert_eq!(missing, 0, "of {}", before.len());
        // Nobody records into it, and it says so.
        let ran = at(&last, &["verify"]);
        assert!(ran.code == 3 && !ran.stdout.contains("DAMAGE") && ran.stdout.contains("nobody records"), "{}", ran.stdout);
        // A live recording copied by anybody is one as well.
        let other = place.path("copied");
        fs::remove_dir_all(&other).ok();
        copy(&place.dir(), &other);
        let ran = at(&other, &["verify"]);
        assert!(!ran.stdout.contains("DAMAGE"), "{}", ran.stdout);
    }
    recorder.terminate();
}

#[test]
fn a_restored_recording_goes_on_and_with_the_history_it_is_what_the_lost_one_was() {
    let cloud = Cloud::start(&["--rate", "150", "--devices", "9"]);
    let place = Place::with_quick_history();
    kill_in_the_middle(&place, &cloud);
    let recorder = record(&place, &cloud, &[]);
    until("there is more", || place.so_far("events").as_u64().is_some_and(|events| events > 500));
    assert_eq!(back_up(&place, &[]).code, 0);
    until("the cloud goes on", || place.so_far("events").as_u64().is_some_and(|events| events > 900));
    recorder.terminate();
    let lost = place.events();
    fs::remove_dir_all(place.dir()).unwrap();
    let dir = place.dir();
    let ran = restore(&place.path("backups"), &["--dir", dir.to_str().unwrap()]);
    assert!(ran.code == 0 && ran.stderr.contains("makes the time since"), "{}", ran.stderr);
    let again = restore(&place.path("backups"), &["--dir", dir.to_str().unwrap()]);
    assert!(again.code == 1 && again.stderr.contains("there is something already"), "{}", again.stderr);
    let ran = record(&place, &cloud, &["--for", "4s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (all, before) = (place.events(), by_key(&lost));
    let found = by_key(&all);
    let missing: Vec<_> = before.iter().filter(|(key, event)| !found.contains_key(*key) && !is_not_in_history(event)).collect();
    assert!(missing.is_empty(), "{} of {}: {:?}", missing.len(), lost.len(), missing.first());
    assert!(before.iter().all(|(key, event)| found.get(key).is_none_or(|found| found == event)));
    assert!(place.gaps().iter().all(|gap| gap["state"] == "filled"));
}

#[test]
fn the_drill_reads_everything_and_leaves_nothing() {
    let place = Place::new();
    days(&place, 1..=3);
    assert_eq!(back_up(&place, &[]).code, 0);
    let before = generations(&place);
    let ran = restore(&before[0], &["--check"]);
    assert!(ran.code == 0 && ran.stderr.contains("120 rows"), "{}", ran.stderr);
    let elsewhere = place.path("elsewhere/new");
    assert_eq!(restore(&place.path("backups"), &["--check", "--dir", elsewhere.to_str().unwrap()]).code, 0);
    assert!(!elsewhere.exists());
    let names = |dir: &str| fs::read_dir(place.path(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!((generations(&place), names("elsewhere").len()), (before.clone(), 1));
    // What rots in a backup, the drill finds.
    let path = before[0].join("data/touch/2026-10-02.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    write(&path, &bytes);
    let ran = restore(&before[0], &["--check"]);
    assert!(ran.code == 1 && ran.stderr.contains("2026-10-02.parquet"), "{}", ran.stderr);
    assert_eq!(restore(&place.path("nothing"), &["--check"]).code, 1);
    assert_eq!(restore(&before[0], &[]).code, 2);
}
