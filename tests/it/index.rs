//! The index of sealed day files: it spares opening them, and whatever stands in it, every answer is the same.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Place, write};

/// An event of a device at an hour of a day of October 2026.
fn event(kind: &str, device: &str, day: u32, hour: u32) -> String {
    let time = format!("2026-10-{day:02}T{hour:02}:10:00.000000Z");
    let value = match kind {
        "contact" => format!(r#""state":"{}","#, if (day + hour).is_multiple_of(2) { "OPEN" } else { "CLOSED" }),
        "touchCount" => format!(r#""total":{},"#, day * 10 + hour),
        "temperature" => format!(r#""value":{day}.5,"#),
        _ => String::new(),
    };
    let id = format!("{kind}{device}{day:02}{hour:02}");
    let target = if device.is_empty() { String::new() } else { format!(r#""targetName":"projects/p/devices/{device}","#) };
    format!(
        r#"{{"eventId":"{id}",{target}"eventType":"{kind}","data":{{"{kind}":{{{value}"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#
    ) + "\n"
}

/// Six days: `a` speaks on all of them, `b` on the first two, `c` on the third, `d` on the last, and something that is no device.
fn six_days(place: &Place) {
    let mut text = String::new();
    for kind in ["contact", "temperature", "touch", "touchCount"] {
        for day in 1..=6 {
            text += &event(kind, "a", day, 8);
            text += &event(kind, "a", day, 20);
        }
        for (device, day) in [("b", 1), ("b", 2), ("c", 3), ("d", 6), ("", 2)] {
            text += &event(kind, device, day, 12);
        }
    }
    assert_eq!(place.import(text).code, 0);
    // Nights that somebody recorded, and days that nobody did.
    for day in 1..=6 {
        let begins: jiff::Timestamp = format!("2026-10-{day:02}T06:00:00Z").parse().unwrap();
        let begins = begins.as_microsecond();
        place.note("session", begins, begins + 10 * 3_600_000_000);
    }
}

/// What the recording answers to all sorts of questions.
fn answers(place: &Place) -> Vec<(String, i32, String)> {
    let asked: &[&str] = &[
        "export --latest",
        "export --latest --end 2026-10-03",
        "export --latest --end 2026-10-02T12:05:00Z",
        "export --latest --start 2026-10-02 --end 2026-10-06",
        "export --latest --device b",
        "export --latest --event-type touch --format ndjson",
        "export --start 2026-10-03 --end 2026-10-04",
        "export --every 1h --start 2026-10-04 --end 2026-10-05",
        "export --every 1d",
        "export --event-type contact --every 6h --wide contact.state --start 2026-10-06",
        "plot --event-type contact --start 2026-10-05 --end 2026-10-06",
        "plot --event-type contact",
        "report --json --start 2026-10-04 --end 2026-10-05",
        "report --json",
        "status --json",
    ];
    let answer = |asked: &&str| {
        let ran = place.run(&asked.split(' ').collect::<Vec<_>>());
        let told = match serde_json::from_str::<Value>(&ran.stdout) {
            Ok(Value::Object(mut facts)) => {
                for changing in ["made_at", "buffer_bytes", "room", "last_sign_of_life_age", "disk_free"] {
                    facts.remove(changing);
                }
                serde_json::to_string_pretty(&facts).unwrap()
            }
            _ => ran.stdout + &ran.stderr,
        };
        let told: Vec<&str> = told.lines().filter(|line| !line.contains("_age\"")).collect();
        ((*asked).to_owned(), ran.code, told.join("\n"))
    };
    asked.iter().map(answer).collect()
}

fn assert_same(found: &[(String, i32, String)], expected: &[(String, i32, String)], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
    }
}

fn indexes(place: &Place) -> PathBuf {
    place.dir().join("state/index")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Copies the index out of a recording, or into it.
fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).ok();
    fs::create_dir(to).unwrap();
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Bytes that are no day file, in the same file, of the same size and time.
fn garble(path: &Path) {
    let (bytes, modified) = (fs::read(path).unwrap(), path.metadata().unwrap().modified().unwrap());
    fs::write(path, vec![b'x'; bytes.len()]).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// What is done to an index, and how it is called.
type Tear<'t> = (&'t str, &'t dyn Fn(&Path));

#[test]
fn whatever_the_index_says_every_answer_is_the_same() {
    let place = Place::new();
    six_days(&place);
    let (index, kept) = (indexes(&place), place.path("kept"));
    assert_eq!(files(&index).len(), 4);
    copy(&index, &kept);
    let with = answers(&place);
    fs::remove_dir_all(&index).unwrap();
    let without = answers(&place);
    assert_same(&with, &without, "none");

    let other = Place::new();
    let text: String = (1..=6).map(|day| event("contact", "z", day, 9)).collect();
    assert_eq!(other.import(text).code, 0);
    let torn: [Tear<'_>; 6] = [
        ("torn", &|file| write(file, &fs::read(file).unwrap()[..200])),
        ("empty", &|file| write(file, "")),
        ("no text", &|file| write(file, [0xff; 300])),
        ("a flipped bit", &|file| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            write(file, bytes);
        }),
        ("another recording's", &|file| assert!(fs::copy(&files(&indexes(&other))[0], file).unwrap() > 0)),
        ("a folder", &|file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    for (what, tear) in torn {
        copy(&kept, &index);
        for file in &files(&index) {
            tear(file);
        }
        assert_same(&answers(&place), &without, what);
    }

    // Late events, a file that is gone, one that somebody put another copy of in its place: what the index says is old.
    copy(&kept, &index);
    let late = event("contact", "b", 5, 13) + &event("touch", "d", 1, 13) + &event("temperature", "e", 3, 1);
    assert_eq!(place.import(late).code, 0);
    fs::remove_file(place.dir().join("data/touch/2026-10-06.parquet")).unwrap();
    let day = place.dir().join("data/contact/2026-10-03.parquet");
    let bytes = fs::read(&day).unwrap();
    fs::remove_file(&day).unwrap();
    write(&day, bytes);
    let current = answers(&place);
    copy(&kept, &index);
    assert_same(&answers(&place), &current, "old");
    fs::remove_dir_all(&index).unwrap();
    assert_same(&answers(&place), &current, "none of what came late");
    assert_ne!(current, without);

    // And the next writer brings it up to what there is.
    copy(&kept, &index);
    assert_eq!(place.run(&["rebuild"]).code, 0);
    let rebuilt = answers(&place);
    fs::remove_dir_all(&index).unwrap();
    assert_same(&answers(&place), &rebuilt, "none after a rebuild");
}

#[test]
fn a_question_about_one_day_opens_no_other_days_files() {
    let place = Place::new();
    six_days(&place);
    let asked = [
        "export --start 2026-10-06",
        "export --latest --event-type temperature --device a",
        "report --json --event-type contact --event-type touch --event-type temperature --start 2026-10-06",
        "status --json",
    ];
    let ask = |what: &str| place.run(&what.split(' ').collect::<Vec<_>>());
    let before = asked.map(|what| ask(what).code);
    for folder in files(&place.dir().join("data")) {
        for file in files(&folder).into_iter().filter(|file| !file.ends_with("2026-10-06.parquet")) {
            // Whom `contact` looks for was in its state before.
            if !folder.ends_with("contact") || file.ends_with("2026-10-04.parquet") {
                garble(&file);
            }
        }
    }
    for (what, code) in asked.into_iter().zip(before) {
        let ran = ask(what);
        assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
        assert!(!ran.stderr.contains("warning: left out"), "{what}: {}", ran.stderr);
    }
    // A start does not open them either; `verify` does.
    assert_eq!(place.import(event("temperature", "a", 7, 1)).code, 0);
    assert!(!place.dir().join("state/damaged").exists());
    assert_eq!(place.run(&["verify"]).code, 1);
    // Whatever has changed by time or size is looked at.
    write(&place.dir().join("data/touch/2026-10-03.parquet"), "no day file");
    place.import(event("temperature", "a", 7, 2));
    assert_eq!(files(&place.dir().join("state/damaged")).len(), 1);
}

#[test]
fn an_index_that_lies_about_the_very_file_that_is_there_is_found_by_verify() {
    let place = Place::new();
    six_days(&place);
    let healthy = place.run(&["verify"]);
    let index = indexes(&place).join("contact.index");
    let text = fs::read_to_string(&index).unwrap();
    let mut lie: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    lie["files"][2][2][1] = json!(99);
    let lie = lie.to_string();
    let sum = Sha256::digest(lie.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    write(&index, format!("{sum}\n{lie}"));
    let found = place.run(&["verify"]);
    assert!(found.code == 1 && healthy.code != 1, "{}", found.stdout);
    assert!(found.stdout.contains("contact.index"), "{}", found.stdout);
    // As it says itself.
    fs::remove_file(&index).unwrap();
    assert_eq!(place.run(&["verify"]).code, healthy.code);
    assert_eq!(place.run(&["rebuild"]).code, 0);
    assert!(index.exists());
}
