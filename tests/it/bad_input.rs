//! Bad input: a clear error or a fault; the data is kept.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, by_key, published, touch, write};

#[test]
fn what_is_no_event_is_a_fault_kept_raw_and_the_rest_is_recorded() {
    let place = Place::new();
    let mut text = Vec::new();
    text.extend_from_slice(touch("a", 1, 1).as_bytes());
    text.extend_from_slice(b"\nnot json\n\xff\xfe\n{\"eventId\":\"x\"}\n[1]\n\n");
    text.extend_from_slice(format!("{{\"result\":{{\"event\":{}}}}}\r\n", touch("b", 1, 2)).as_bytes());
    text.extend_from_slice(&vec![b'x'; 16 * 1024 * 1024 + 1]);
    text.push(b'\n');
    text.extend_from_slice(touch("c", 1, 3).as_bytes());
    let ran = place.import(&text);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("5 lines were no event"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 3);
    let status = place.status();
    assert_eq!(status["faults"], 5);
    let reasons = status["fault_reasons"].to_string();
    for reason in ["not JSON", "not UTF-8", "no event type", "too long"] {
        assert!(reasons.contains(reason), "{reason} is not in {reasons}");
    }
    assert_eq!(place.run(&["status"]).code, 3);
    // The fault does not come back as an event, and a second import does not count for the recording twice.
    place.import(touch("a", 1, 1));
    assert_eq!(place.events().len(), 3);
}

#[test]
fn an_event_type_is_never_a_path() {
    let place = Place::new();
    let names = ["../../evil", "/etc/passwd", "a/b", "..", ".", "CON", "x\0y", "Ünïcode", &"long/".repeat(2000)];
    let events: Vec<Value> = names
        .iter()
        .map(|name| json!({"eventId": "i", "targetName": "projects/p/devices/d", "eventType": name, "data": {}, "timestamp": "2026-10-01T00:00:00.000000Z"}))
        .collect();
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    assert_eq!(place.import(text).code, 0);
    assert_eq!(place.day_files().len(), names.len());
    assert_eq!(place.events().len(), names.len());
    let mut above: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    above.sort();
    assert_eq!(above, ["recording"]);
    // Exported into a directory they stay in it, too.
    let out = place.path("out");
    assert_eq!(place.run(&["export", "-o", &format!("{}/", out.display())]).code, 0);
    assert_eq!(fs::read_dir(&out).unwrap().count(), names.len());
}

#[test]
fn unknown_types_fields_and_forms_come_back_as_they_were() {
    let place = Place::new();
    let odd = [
        r#"{"eventId":"1","targetName":"projects/p/devices/d","eventType":"wind","data":{"wind":{"speed":3.50,"dir":null}},"timestamp":"2026-10-01T00:00:00.000000Z"}"#,
        r#"{"eventId":"2","targetName":"projects/p/devices/d","eventType":"touch","data":{"touch":{"updateTime":"2026-10-01T00:00:00.000001Z","force":9}},"timestamp":"2026-10-01T00:00:00.000001Z","more":[1,{"x":null}]}"#,
        r#"{"eventId":"3","targetName":"projects/p/devices/d","eventType":"temperature","data":{"temperature":{"value":"warm","updateTime":"2026-10-01T00:00:00Z"}},"timestamp":"2026-10-01T00:00:00Z"}"#,
        r#"{"eventId":"4","targetName":"projects/p/devices/d","eventType":"temperature","data":{"temperature":{"value":12345678901234567890123,"updateTime":"2026-10-01T00:00:00.123456789Z","samples":[]}},"timestamp":"2026-10-01T00:00:00.123456789Z"}"#,
        r#"{"timestamp":"2026-10-01T02:00:00+02:00","data":null,"eventType":"touch","targetName":"somewhere else","eventId":"5\u00e9\n"}"#,
        r#"{ "eventId": "6", "eventType": "touch", "timestamp": "2026-10-01T00:00:00.5Z" }"#,
    ];
    let text = odd.join("\n") + "\n" + &published();
    assert_eq!(place.import(&text).code, 0);
    let events = place.events();
    let came: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(by_key(&events), by_key(&came));
}

#[test]
fn a_foreign_or_newer_database_is_left_as_it_is() {
    let place = Place::new();
    let state = place.dir().join("state");
    fs::create_dir_all(&state).unwrap();
    write(&state.join("buffer.db"), "these are not the bytes of a database, but they are somebody's");
    let ran = place.import(touch("a", 1, 1));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("not a buffer of overnight"), "{}", ran.stderr);
    assert!(fs::read_to_string(state.join("buffer.db")).unwrap().starts_with("these"));

    let foreign = rusqlite::Connection::open(state.join("other.db")).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(foreign);
    fs::rename(state.join("other.db"), state.join("buffer.db")).unwrap();
    assert!(place.import(touch("a", 1, 1)).stderr.contains("not a buffer of overnight"));

    fs::remove_file(state.join("buffer.db")).unwrap();
    assert_eq!(place.import(touch("a", 1, 1)).code, 0);
    rusqlite::Connection::open(state.join("buffer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let ran = place.import(touch("b", 1, 2));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("version 99") && ran.stderr.contains("newer overnight"), "{}", ran.stderr);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    write(&place.dir(), "a file where the recording should be");
    let ran = place.import(touch("a", 1, 1));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(place.dir().to_str().unwrap()), "{}", ran.stderr);
}

#[test]
fn a_file_in_data_that_is_no_day_file_is_named_set_aside_and_never_deleted() {
    let place = Place::new();
    assert_eq!(place.import(touch("a", 1, 1)).code, 0);
    let file = place.dir().join("data/touch/2026-10-01.parquet");
    write(&file, "garbage");
    let status = place.status();
    assert!(status["unreadable"][0].as_str().unwrap().contains("2026-10-01.parquet"), "{status}");
    let ran = place.import(touch("b", 1, 2));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("2026-10-01.parquet") && ran.stderr.contains("is a gap"), "{}", ran.stderr);
    // Set aside, never deleted, and the day goes on.
    let aside = overnight::base::disk::list(&place.dir().join("state/damaged")).unwrap();
    assert_eq!(fs::read_to_string(&aside[0]).unwrap(), "garbage");
    assert_eq!(place.events().len(), 1);
    assert_eq!(place.import(touch("c", 2, 2)).code, 0);
}

#[test]
fn json_that_came_on_several_lines_is_exported_on_one() {
    let place = Place::new();
    let event = "{\"eventId\":\"l\",\"targetName\":\"projects/p/devices/d\",\"eventType\":\"labelsChanged\",\"data\":{\"added\":{\"a\":\r\"b\"},\"modified\":{},\"removed\":[]},\"timestamp\":\"2026-10-01T00:00:00.000000Z\"}";
    assert_eq!(place.import(event).code, 0);
    let export = place.run(&["export", "--format", "ndjson"]);
    assert!(!export.stdout.contains('\r'));
    assert_eq!(place.events(), [serde_json::from_str::<Value>(event).unwrap()]);
}

#[test]
fn a_time_that_no_file_name_can_hold_is_a_fault() {
    let place = Place::new();
    let late = r#"{"eventId":"a","eventType":"touch","timestamp":"9999-12-31T23:59:59-01:00"}"#;
    let ran = place.import(late);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(place.status()["faults"], 1);
    assert_eq!(place.run(&["roll"]).code, 0);
}

#[test]
fn a_buffer_whose_making_the_power_cut_reads_as_nothing_yet() {
    let place = Place::new();
    let (making, state) = (place.path("making.db"), place.dir().join("state"));
    std::fs::create_dir_all(&state).unwrap();
    std::fs::create_dir_all(place.dir().join("data")).unwrap();
    let db = rusqlite::Connection::open(&making).unwrap();
    db.execute_batch("PRAGMA cache_size = 1; BEGIN; CREATE TABLE half (made)").unwrap();
    // More than the cache holds: the file has something of it, and its journal how to undo that.
    for _ in 0..100 {
        db.execute("INSERT INTO half VALUES (zeroblob(4000))", []).unwrap();
    }
    for end in ["", "-journal"] {
        let from = format!("{}{end}", making.display());
        assert!(std::fs::metadata(&from).unwrap().len() >= 512);
        std::fs::copy(from, state.join(format!("buffer.db{end}"))).unwrap();
    }
    let ran = place.run(&["verify"]);
    assert!(ran.stderr.contains("there is no recording"), "{}{}", ran.stdout, ran.stderr);
    let ran = place.run(&["export"]);
    assert!(ran.code == 3 && ran.stderr.contains("the recording is empty so far"), "{}", ran.stderr);
    assert_eq!(place.import(touch("a", 1, 1)).code, 0);
    assert_eq!(place.events().len(), 1);
}
