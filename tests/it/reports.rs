//! The report: its facts against a recording that was counted by hand, and its page.

use std::fs;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::support::{Cloud, Place, overnight};

const WICKED: &str = "<script>alert(1)</script>";

fn event(id: usize, device: &str, event_type: &str, time: &str, data: &Value) -> String {
    let mut data = data.clone();
    data["updateTime"] = time.into();
    let event = json!({
        "eventId": format!("event{id}"), "targetName": format!("projects/p/devices/{device}"), "eventType": event_type,
        "timestamp": time, "data": { event_type: data },
    });
    format!("{event}\n")
}

/// A night in Oslo in which clocks are set back at 03:00 (01:00 UTC), with two devices and a line that is no event.
fn night() -> String {
    let temperature = |value: f64| json!({ "value": value });
    let network = |signal: i32, rssi: i32| json!({ "signalStrength": signal, "rssi": rssi, "cloudConnectors": [], "transmissionMode": "LOW_POWER_STANDARD_MODE" });
    let door = |state: &str| json!({ "state": state });
    let events = [
        ("a", "temperature", "2026-10-24T23:50:00.000000Z", temperature(20.0)),
        ("a", "networkStatus", "2026-10-24T23:50:00.000000Z", network(60, -70)),
        ("b", "contact", "2026-10-25T00:00:00.000000Z", door("CLOSED")),
        ("a", "temperature", "2026-10-25T00:10:00.000000Z", temperature(23.0)),
        ("a", "batteryStatus", "2026-10-25T00:20:00.000000Z", json!({ "percentage": 90 })),
        ("a", "batteryStatus", "2026-10-25T00:30:00.000000Z", json!({ "percentage": 80 })),
        ("a", "networkStatus", "2026-10-25T00:40:00.000000Z", network(20, -95)),
        // The hour from two to three comes for the second time.
        ("a", "temperature", "2026-10-25T01:10:00.000000Z", temperature(17.0)),
        ("b", "contact", "2026-10-25T01:30:00.000000Z", door("OPEN")),
        ("a", "networkStatus", "2026-10-25T02:50:00.000000Z", network(50, -75)),
        ("b", "contact", "2026-10-25T03:00:00.000000Z", door("CLOSED")),
    ];
    let lines = events.iter().enumerate().map(|(id, (device, kind, time, data))| event(id, device, kind, time, data));
    lines.chain(["no event\n".to_owned()]).collect()
}

fn facts(place: &Place, arguments: &[&str]) -> Value {
    let ran = place.run(&[&["report", "--json"], arguments].concat());
    let facts: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no facts: {}", ran.stderr));
    assert_eq!(ran.code, if facts["missing"].as_array().unwrap().is_empty() { 0 } else { 3 }, "{}", ran.stderr);
    facts
}

fn page(place: &Place, arguments: &[&str]) -> String {
    let ran = place.run(&[&["report", "-o", "-"], arguments].concat());
    assert!(ran.stdout.starts_with("<!doctype html>") && ran.stdout.ends_with("</html>\n"), "{}", ran.stderr);
    ran.stdout
}

#[test]
fn the_facts_are_those_that_one_counts_by_hand() {
    let place = Place::new();
    place.import(night());
    let facts = facts(&place, &["--tz", "Europe/Oslo"]);
    assert_eq!((&facts["events"], &facts["faults"]), (&11.into(), &1.into()));
    assert_eq!(facts["missing"], json!(["1 line was no event; it is kept raw."]));
    assert_eq!((&facts["from"], &facts["to"]), (&"2026-10-24T23:50:00.000000Z".into(), &"2026-10-25T03:00:00.000000Z".into()));
    let [a, b] = facts["devices"].as_array().unwrap().as_slice() else { panic!("{}", facts["devices"]) };
    assert_eq!((&a["id"], &a["events"], &b["id"], &b["events"]), (&"a".into(), &8.into(), &"b".into(), &3.into()));
    let silence =
        json!({ "seconds": 6000.0, "from": "2026-10-25T01:10:00.000000Z", "to": "2026-10-25T02:50:00.000000Z", "lasts": false });
    assert_eq!(a["silence"], silence);
    assert_eq!(b["silence"]["seconds"], 5400.0);
    assert_eq!(a["last_seen"], "2026-10-25T02:50:00.000000Z");
    assert_eq!(a["battery"], json!({ "percent": 80.0, "at": "2026-10-25T00:30:00.000000Z" }));
    assert_eq!(
        (&a["signal"], &a["rssi"]),
        (&json!({ "latest": 50.0, "least": 20.0 }), &json!({ "latest": -75.0, "least": -95.0 }))
    );
    let measured = &a["figures"]["temperature"];
    assert_eq!(
        [&measured["min"], &measured["mean"], &measured["max"]],
        [&17.0.into(), &20.0.into(), &23.0.into()] as [&Value; 3]
    );
    assert_eq!((&measured["last"], &measured["unit"], &measured["readings"]), (&17.0.into(), &"Cel".into(), &3.into()));
    assert_eq!(b["figures"]["contact"]["seconds_in"], json!({ "CLOSED": 5400.0, "OPEN": 5400.0 }));
}

#[test]
fn the_hour_that_comes_twice_is_two_hours() {
    let place = Place::new();
    place.import(night());
    let facts = facts(&place, &["--tz", "Europe/Oslo"]);
    let hours = facts["hours"].as_array().unwrap().iter();
    let hours: Vec<(&str, u64)> = hours
        .map(|hour| {
            let events = hour["events"].as_object().unwrap().values();
            (&hour["start"].as_str().unwrap()[11..16], events.map(|events| events.as_u64().unwrap()).sum())
        })
        .collect();
    assert_eq!(hours, [("23:00", 2), ("00:00", 5), ("01:00", 2), ("02:00", 1), ("03:00", 1)]);
    // The clock shows half past two twice; the second time says that it is the second.
    let page = page(&place, &["--tz", "Europe/Oslo"]);
    assert!(page.contains("02:30") || page.contains("02:10"), "no hour of the zone");
    assert!(page.contains("(UTC+01:00)") && page.contains("Europe/Oslo"), "does not name the offset");
}

#[test]
fn a_range_is_half_open_and_what_lies_outside_does_not_count() {
    let place = Place::new();
    place.import(night());
    let facts = facts(&place, &["--start", "2026-10-25T00:10:00Z", "--end", "2026-10-25T01:10:00Z"]);
    assert_eq!(facts["events"], 4);
    assert_eq!(facts["devices"][0]["figures"]["temperature"]["max"], 23.0);
    assert_eq!(facts["faults"], 0, "the fault came today");
}

#[test]
fn a_door_that_nobody_touched_has_its_time_in_state_in_the_report_too() {
    let place = Place::new();
    place.import(night());
    let facts = facts(&place, &["--start", "2026-10-25T02:00:00Z", "--end", "2026-10-25T02:30:00Z"]);
    let types = facts["types"].as_array().unwrap();
    assert_eq!((types.len(), &types[0]["type"], &types[0]["events"]), (1, &"contact".into(), &0.into()));
    assert_eq!(types[0]["figures"]["seconds_in"], json!({ "OPEN": 1800.0 }));
}

#[test]
fn a_night_without_events_shows_what_the_doors_were_in_all_of_it() {
    let place = Place::new();
    place.import(night());
    // No device list knows the door.
    let quiet = ["--start", "2026-10-25T02:00:00Z", "--end", "2026-10-25T02:30:00Z", "--event-type", "contact"];
    let devices = facts(&place, &quiet)["devices"].clone();
    assert_eq!((devices.as_array().unwrap().len(), &devices[0]["id"], &devices[0]["events"]), (1, &"b".into(), &0.into()));
    assert_eq!(devices[0]["figures"]["contact"]["seconds_in"], json!({ "OPEN": 1800.0 }));
    let page = page(&place, &quiet);
    for section in ["What was measured", "open 30 min", "<figure>", "never in this time"] {
        assert!(page.contains(section), "no {section}");
    }
    assert!(!page.contains("Events by type and hour"));
}

#[test]
fn the_night_is_what_has_most_events_whatever_a_wrong_clock_says() {
    let place = Place::new();
    let of = |id: usize, day: &str| event(id, "a", "temperature", &format!("{day}T23:50:00.000000Z"), &json!({ "value": 1 }));
    place.import([of(1, "2025-10-24"), of(2, "2025-10-24"), of(3, "2025-12-24")].concat());
    let told = facts(&place, &[]);
    assert_eq!((&told["events"], &told["outside"]), (&2.into(), &1.into()));
    // Nor do many of them make the future.
    let later: String = (10..20)
        .map(|id| event(id, "b", "temperature", &format!("2998-01-01T00:{id}:00.000000Z"), &json!({ "value": 1 })))
        .collect();
    place.import(later);
    let told = facts(&place, &[]);
    assert_eq!((&told["events"], &told["outside"]), (&2.into(), &11.into()));
}

#[test]
fn one_sensor_with_a_wrong_clock_does_not_stretch_the_report_over_half_a_century() {
    let place = Place::new();
    place.import(night() + &event(99, "c", "temperature", "1970-01-01T00:00:00.000000Z", &json!({ "value": 1 })));
    let facts = facts(&place, &[]);
    assert_eq!((&facts["events"], &facts["outside"]), (&11.into(), &1.into()));
    assert_eq!(facts["from"], "2026-10-24T23:50:00.000000Z");
    assert!(facts["notes"].to_string().contains("1 event lies more than a month away"), "{}", facts["notes"]);
}

#[test]
fn a_recording_from_files_does_not_claim_that_nothing_is_missing() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-24T23:50:00.000000Z", &json!({ "value": 1 })));
    let page = page(&place, &[]);
    assert!(!page.contains("Nothing is missing") && page.contains("nobody noted what may be missing"));
}

/// The lines of the block at the top: what is missing, and what else one should know.
fn verdict(page: &str) -> (String, Vec<String>) {
    let block = page.split_once("<div class=\"verdict ").unwrap().1.split_once("</div>").unwrap().0;
    let (class, lines) = block.split_once('"').unwrap();
    let texts = lines.split("<p>").skip(1).map(|line| line.replace("<b>", "").replace("</b>", "").replace("</p>", ""));
    (class.to_owned(), texts.collect())
}

/// Writes a session or a gap into the ledger.
fn note(place: &Place, what: &str, begins: &str, ends: &str) {
    let micros = |time: &str| overnight::base::time::parse_rfc3339(time.as_bytes()).unwrap().time;
    place.note(what, micros(begins), micros(ends));
}

#[test]
fn the_top_of_the_page_is_true_in_every_case() {
    let place = Place::new();
    let one = |id: usize, time: &str| event(id, "a", "temperature", time, &json!({ "value": 20 }));
    place.import([one(1, "2026-10-05T10:10:00.000000Z"), one(2, "2026-10-05T10:50:00.000000Z")].concat());
    let top = |arguments: &[&str]| verdict(&page(&place, arguments));
    let good = |lines: &[&str]| ("good".to_owned(), lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
    let unknown = |lines: &[&str]| ("unknown".to_owned(), good(lines).1);
    let files = "The events came from files, and nobody noted what may be missing.";
    assert_eq!(top(&[]), unknown(&[files]));
    let day = ["--start", "2026-10-05", "--end", "2026-10-06"];
    assert_eq!(top(&day), unknown(&["Nobody recorded for 23 h 20 min.", files]));
    note(&place, "session", "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z");
    assert_eq!(top(&["--start", "2026-10-05T10:00", "--end", "2026-10-05T11:00"]), good(&["Nothing is missing."]));
    assert_eq!(top(&[]), good(&["Nothing is missing."]));
    let rest = "Otherwise nothing is missing.";
    assert_eq!(top(&day), unknown(&["Nobody recorded for 23 h.", rest]));
    let later = ["--start", "2026-10-08", "--end", "2026-10-09"];
    assert_eq!(top(&later), unknown(&["Nobody recorded in this time.", "No event lies in this time."]));
    place.import([one(3, "2026-10-05T14:00:00.000000Z"), one(4, "2026-10-05T16:00:00.000000Z")].concat());
    let files = "For 2 h no session recorded: what is known came from files, and nobody noted what may be missing.";
    assert_eq!(top(&day), unknown(&["Nobody recorded for 21 h.", files, rest]));
    note(&place, "but for x", "2026-10-05T11:00:00Z", "2026-10-05T12:00:00Z");
    let hours = ["--start", "2026-10-05T10:00", "--end", "2026-10-05T12:00"];
    assert_eq!(top(&hours), unknown(&["1 gap filled, but not with everything; see below.", rest]));
    note(&place, "lost", "2026-10-05T12:00:00Z", "2026-10-05T13:00:00Z");
    // Of a gap, and of a pause, counts what lies on the page.
    let part = ["--start", "2026-10-05T12:10", "--end", "2026-10-05T12:10:10"];
    assert_eq!(top(&part), ("bad".to_owned(), good(&["1 gap, 10 s, lost.", "No event lies in this time."]).1));
    let part = ["--start", "2026-10-05T09:00", "--end", "2026-10-05T09:00:10"];
    assert_eq!(top(&part), unknown(&["Nobody recorded in this time.", "No event lies in this time."]));
    let part = ["--start", "2026-10-05T09:59:50", "--end", "2026-10-05T10:30"];
    assert_eq!(top(&part), unknown(&["Nobody recorded for 10 s.", rest]));
    let part = ["--start", "2026-10-05T14:30", "--end", "2026-10-05T15:30"];
    let files = "For 1 h no session recorded: what is known came from files, and nobody noted what may be missing.";
    assert_eq!(top(&part), unknown(&[files, "No event lies in this time."]));
    let found = top(&day);
    // So near to the gap, the silence before the first of the events is no pause.
    let files = "For 3 h no session recorded: what is known came from files, and nobody noted what may be missing.";
    let lines = ["1 gap, 1 h, lost.", "Nobody recorded for 18 h.", files, "1 gap filled, but not with everything; see below."];
    assert_eq!((found.0.as_str(), found.1), ("bad", good(&lines).1));
}

#[test]
fn a_range_of_which_there_is_nothing_says_what_was_asked() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-05T10:10:00.000000Z", &json!({ "value": 20 })));
    for (asked, span, text) in [
        (&["--end", "2026-10-01"][..], (None, Some("2026-10-01")), "Nobody recorded in this time."),
        (
            &["--start", "2026-10-01", "--end", "2026-10-02"],
            (Some("2026-10-01"), Some("2026-10-02")),
            "Nobody recorded in this time.",
        ),
        (&["--start", "2998-10-01"], (Some("2998-10-01"), None), "Nobody recorded in this time; it is still to come."),
        (
            &["--start", "2998-10-01", "--end", "2998-10-02"],
            (Some("2998-10-01"), Some("2998-10-02")),
            "Nobody recorded in this time; it is still to come.",
        ),
    ] {
        let facts = facts(&place, asked);
        let begins = |side: &str, day: Option<&str>| facts[side].as_str().map(|time| &time[..10]) == day;
        assert!(begins("from", span.0) && begins("to", span.1), "{} {}", facts["from"], facts["to"]);
        let page = page(&place, asked);
        assert_eq!(verdict(&page).1, [text, "No event lies in this time."]);
        for day in [span.0, span.1].into_iter().flatten() {
            assert!(page.split_once("class=\"verdict").unwrap().0.contains(&format!("datetime=\"{day}T00:00")), "{asked:?}");
        }
    }
}

#[test]
fn the_range_that_was_asked_is_the_range_of_the_page() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-05T10:10:00.000000Z", &json!({ "value": 20 })));
    note(&place, "session", "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z");
    let week = facts(&place, &["--start", "2026-10-05", "--end", "2026-10-12"]);
    assert_eq!((&week["from"], &week["to"]), (&"2026-10-05T00:00:00.000000Z".into(), &"2026-10-12T00:00:00.000000Z".into()));
    assert_eq!(week["unknown"], json!(["Nobody recorded for 6 d 23 h."]));
    assert_eq!((&week["missing"], &week["coverage"][0]["not_recorded_seconds"]), (&json!([]), &json!(601_200.0)));
    let silence = &week["devices"][0]["silence"];
    assert_eq!(silence["to"], "2026-10-05T11:00:00.000000Z", "nobody heard it later");
    // The axes of its charts as well.
    assert!(
        page(&place, &["--start", "2026-10-05", "--end", "2026-10-12"]).contains("5 Oct 2026 00:00 to 12 Oct 2026 00:00, UTC")
    );
    // What is to come is no time in which nobody recorded.
    let until_now = facts(&place, &["--start", "2026-10-05", "--end", "2999-01-01"]);
    assert_eq!(until_now["to"], until_now["made_at"]);
    assert_eq!(facts(&place, &["--since", "1h"])["unknown"], json!(["Nobody recorded in this time."]));
    assert_eq!(facts(&place, &[])["to"], "2026-10-05T11:00:00.000000Z", "where nobody asks, what there is");
}

#[test]
fn a_door_is_in_its_states_for_no_longer_than_the_page_is() {
    let place = Place::new();
    let door = |id, time: &str, state: &str| event(id, "b", "contact", time, &json!({ "state": state }));
    place.import(
        [door(1, "2026-10-24T19:00:00.000000Z", "OPEN"), door(2, "2026-10-25T23:30:00.000000Z", "CLOSED")].concat()
            + &event(3, "a", "temperature", "2026-10-26T12:00:00.000000Z", &json!({ "value": 20 })),
    );
    // The day in which clocks are set back has 25 hours; a page of doors ends where their states are known no longer.
    let day = ["--tz", "Europe/Oslo", "--start", "2026-10-25", "--end", "2026-10-26"];
    for (range, hours) in [(&day[..], 25), (&["--event-type", "contact"], 41)] {
        let facts = facts(&place, range);
        let time = |name: &str| overnight::base::time::parse_rfc3339(facts[name].as_str().unwrap().as_bytes()).unwrap().time;
        assert_eq!(time("to") - time("from"), hours * 3600 * overnight::base::time::SECOND);
        let states = facts["types"][0]["figures"]["seconds_in"].as_object().unwrap();
        let sum: f64 = states.values().map(|seconds| seconds.as_f64().unwrap()).sum();
        assert_eq!(sum.to_string(), (hours * 3600).to_string());
        // An export of the same range says the same.
        let only = ["export", "--every", "1d", "-o", "-", "--event-type", "contact"];
        let range: Vec<&str> = range.iter().copied().filter(|word| !["--event-type", "contact"].contains(word)).collect();
        let ran = place.run(&[&only[..], &range].concat());
        let mut rows = ran.stdout.lines().map(|row| row.split(',').collect::<Vec<_>>());
        let head = rows.next().unwrap();
        let seconds = |row: Vec<&str>| -> i64 {
            let all = head.iter().zip(row).filter(|(name, _)| name.ends_with("_seconds"));
            all.map(|(_, cell)| cell.parse::<i64>().unwrap_or_default()).sum()
        };
        assert_eq!(rows.map(seconds).sum::<i64>(), hours * 3600, "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn gaps_that_are_open_are_said_first_and_end_with_3() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "13", "--session-life", "2s"]);
    let place = Place::new();
    let mut record = overnight();
    record
        .args(["record", "--project", "demo", "--api-url", &cloud.url, "--no-backfill", "--for", "5s", "--dir"])
        .arg(place.dir());
    assert_eq!(record.output().unwrap().status.code(), Some(3));
    let gaps = place.gaps();
    let facts = facts(&place, &[]);
    assert_eq!(facts["coverage"][0]["gaps"].as_array().unwrap().len(), gaps.len());
    let said = facts["missing"][0].as_str().unwrap();
    assert!(said.starts_with(&format!("{} gap", gaps.len())) && said.ends_with("not filled yet."), "{said}");
    assert!(page(&place, &[]).contains(said), "the page does not say it");
    // Nobody knows who was silent in a gap.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for silence in
        facts["devices"].as_array().unwrap().iter().map(|device| &device["silence"]).filter(|silence| silence.is_object())
    {
        let meets = |gap: &&Value| text(&gap["begins"]) < text(&silence["to"]) && text(&silence["from"]) < text(&gap["ends"]);
        assert_eq!(gaps.iter().find(meets), None, "{silence}");
    }
    let covered = facts["coverage"][0]["covered_seconds"].as_f64().unwrap();
    assert!((1.0..8.0).contains(&covered), "{covered} s");
}

#[test]
fn what_is_covered_without_a_gap_is_said_to_be_whole() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "13"]);
    let place = Place::new();
    let mut record = overnight();
    record
        .args(["record", "--project", "demo", "--api-url", &cloud.url, "--no-backfill", "--for", "3s", "--dir"])
        .arg(place.dir());
    assert_eq!(record.output().unwrap().status.code(), Some(0));
    assert_eq!(facts(&place, &[])["missing"], json!([]));
    assert!(page(&place, &[]).contains("Nothing is missing."));
}

#[test]
fn whatever_a_device_is_called_the_page_stands_alone() {
    let place = Place::new();
    let named = json!({ "value": 1 });
    let lines = [event(1, WICKED, "temperature", "2026-10-24T23:50:00.000000Z", &named), format!("{WICKED}\n")].concat();
    place.import(lines + &event(2, "a", WICKED, "2026-10-24T23:55:00.000000Z", &named));
    let page = page(&place, &[]);
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "a name became an element");
    for reference in ["http://", "https://", "src=", "url(", "@import"] {
        assert!(!page.contains(reference), "the page refers to something by {reference}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"#").count(), "a link leaves the page");
    assert!(page.contains("default-src 'none'") && page.contains("<html lang=\"en\">") && page.contains("name=\"viewport\""));
}

#[test]
fn a_page_is_never_overwritten_unless_asked() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-24T23:50:00.000000Z", &json!({ "value": 1 })));
    let file = place.path("page.html");
    let path = file.to_str().unwrap();
    let ran = place.run(&["report", "-o", path]);
    assert!(ran.code == 0 && ran.stderr.contains(path), "{}", ran.stderr);
    fs::write(&file, "mine").unwrap();
    let ran = place.run(&["report", "-o", path]);
    assert!(ran.code == 1 && ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(place.run(&["report", "-o", path, "--force"]).code, 0);
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn no_two_labels_of_an_axis_are_the_same() {
    let place = Place::new();
    place.import(night());
    note(&place, "session", "2026-10-24T20:00:00Z", "2026-10-24T22:00:00Z");
    for (end, expected) in [
        ("2026-10-25", ["Sat 24 Oct", "06:00", "12:00", "18:00", "Sun 25 Oct"].as_slice()),
        ("2026-10-26T12:00", &["Sun 25 Oct", "12:00", "Mon 26 Oct"]),
        ("2026-10-30", &["Sun 25 Oct", "Mon 26 Oct"]),
    ] {
        let page = page(&place, &["--start", "2026-10-24", "--end", end]);
        let axis = page.split_once("<div class=\"axis\" aria-hidden=\"true\">").unwrap().1.split_once("</div>").unwrap().0;
        let labels: Vec<&str> = axis.split("</span>").filter_map(|label| Some(label.rsplit_once('>')?.1)).collect();
        assert!(expected.iter().all(|label| labels.contains(label)), "{labels:?}");
        // Only hours of several days come again, each behind its day.
        let unique: std::collections::BTreeSet<_> = labels.windows(2).collect();
        assert_eq!(unique.len(), labels.len() - 1, "{labels:?}");
    }
}

#[test]
fn what_is_no_page_by_its_name_is_refused() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-24T23:50:00.000000Z", &json!({ "value": 1 })));
    for name in ["page.pdf", "page.json", "page"] {
        let file = place.path(name);
        let ran = place.run(&["report", "-o", file.to_str().unwrap()]);
        assert!(ran.code == 2 && ran.stderr.contains("FILE.html") && !file.exists(), "{name}: {}", ran.stderr);
    }
    assert_eq!(place.run(&["report", "-o", place.path("page.HTM").to_str().unwrap()]).code, 0);
    assert_eq!(place.run(&["report", "-o", "/dev/null"]).code, 0);
}

#[test]
fn a_report_is_made_of_the_files_that_read_and_names_the_others() {
    let place = Place::new();
    let day = |day: u32| {
        let time = move |at: usize| format!("2026-10-{day:02}T0{}:{:02}:00.000000Z", at / 60, at % 60);
        let one = |at| event(at + 1000 * day as usize, "a", "temperature", &time(at), &json!({ "value": at }));
        (0..300).map(one).collect::<String>()
    };
    place.import((1..=3).map(day).collect::<String>());
    let know = "INSERT INTO device VALUES ('p', 'quiet', 'temperature', '100', '{}')";
    rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap().execute(know, []).unwrap();
    let path = |day: u32| place.dir().join(format!("data/temperature/2026-10-0{day}.parquet"));
    let good = [1, 2].map(|day| fs::read(path(day)).unwrap());
    // The end is gone; a page of values does not read, which is found when the events are counted already.
    let ends = good[0][..good[0].len() / 2].to_vec();
    let mut middle = good[1].clone();
    let file = SerializedFileReader::new(bytes::Bytes::from(good[1].clone())).unwrap();
    let columns = file.metadata().row_group(0).columns();
    let values = columns.iter().find(|column| column.column_path().string() == "temperature").unwrap().byte_range();
    middle[usize::try_from(values.0).unwrap()..][..usize::try_from(values.1).unwrap()].fill(0xff);
    for (bad, day, events) in [(&ends, 1, 600), (&middle, 2, 600)] {
        fs::write(path(day), bad).unwrap();
        let facts = facts(&place, &[]);
        assert_eq!(facts["events"], events, "nothing of a damaged file counts");
        assert_eq!(facts["devices"][0]["figures"]["temperature"]["readings"], events);
        assert_eq!(facts["missing"], json!(["1 day file that cannot be read is left out."]));
        let name = path(day).display().to_string();
        assert!(facts["unreadable"][0].as_str().unwrap().contains(&name), "{facts}");
        let ran = place.run(&["report", "-o", "-"]);
        let faults = ran.stdout.split_once("<h2>Faults</h2>").unwrap().1;
        // Whether a device said something is in what does not read.
        assert!(verdict(&ran.stdout).1.contains(&"1 known device said nothing in the files that read.".to_owned()));
        assert!(faults.contains(&name) && faults.contains("overnight verify"), "{faults}");
        assert!(ran.stdout.contains("verdict bad") && ran.code == 3, "{}", ran.stderr);
        assert!(ran.stderr.contains(&name) && ran.stderr.contains(" verify --dir "), "{}", ran.stderr);
        // Whoever asks for events or a picture gets all of it or none.
        for verb in [vec!["export"], vec!["export", "--every", "1d"], vec!["plot", "--event-type", "temperature"]] {
            let ran = place.run(&verb);
            assert!(ran.code == 1 && ran.stderr.contains(&name), "{verb:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("`overnight verify`"), "{verb:?}: {}", ran.stderr);
        }
        fs::write(path(day), &good[day as usize - 1]).unwrap();
    }
    for (day, bad) in [(1, &ends), (2, &middle)] {
        fs::write(path(day), bad).unwrap();
    }
    let both = facts(&place, &[]);
    assert_eq!((&both["events"], both["unreadable"].as_array().unwrap().len()), (&300.into(), 2));
    let ran = place.run(&["status"]);
    let says = format!("unreadable: {}", path(1).display());
    assert!(ran.code == 3 && ran.stdout.contains(&says) && ran.stdout.contains("`overnight verify`"), "{}", ran.stdout);
}

/// Where each section of a page begins, by its links at the top, which all lead somewhere.
fn sections(page: &str) -> Vec<&str> {
    let links = page.split_once("<nav").unwrap().1.split_once("</nav>").unwrap().0;
    let all: Vec<&str> = links.split("href=\"#").skip(1).map(|link| link.split_once('"').unwrap().0).collect();
    let places: Vec<usize> =
        all.iter().map(|id| page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"))).collect();
    assert!(places.is_sorted(), "links are not in the order of the page: {all:?}");
    all
}

#[test]
fn what_is_missing_and_what_needs_somebody_come_first_and_radio_last() {
    let place = Place::new();
    let water = |id: usize, time: &str, state: &str| event(id, "w", "waterPresent", time, &json!({ "state": state }));
    let more = [
        water(20, "2026-10-25T00:00:00.000000Z", "NOT_PRESENT"),
        water(21, "2026-10-25T01:00:00.000000Z", "PRESENT"),
        water(22, "2026-10-25T01:30:00.000000Z", "NOT_PRESENT"),
        event(23, "h", "humidity", "2026-10-25T01:30:00.000000Z", &json!({ "temperature": 21, "relativeHumidity": 40 })),
    ];
    place.import(night() + &more.concat());
    note(&place, "lost", "2026-10-25T00:50:00Z", "2026-10-25T01:00:00Z");
    let page = page(&place, &["--tz", "Europe/Oslo"]);
    let wanted = [
        "missing",
        "faults",
        "look",
        "values",
        "value-waterPresent",
        "value-temperature",
        "value-relative-humidity",
        "value-contact",
        "devices",
        "radio",
        "recorded",
    ];
    assert_eq!(sections(&page), wanted);
    let look = page.split_once("id=\"look\"").unwrap().1.split_once("</section>").unwrap().0;
    assert!(look.contains("<h3>Alarm</h3>") && look.contains("water for 30 min"), "{look}");
    // What a humidity sensor measures is a temperature too.
    let temperature = page.split_once("id=\"value-temperature\"").unwrap().1.split_once("id=\"value-relative").unwrap().0;
    assert!(temperature.contains(">h</text>") && temperature.contains(">a</text>"), "{temperature}");
    // A mean over unlike devices is no figure of a page.
    assert!(!page.split_once("id=\"recorded\"").unwrap().1.contains("Mean"));
}

#[test]
fn who_went_much_farther_than_others_is_out_of_the_usual_and_who_swings_evenly_is_not() {
    let place = Place::new();
    let one = |device: &str, values: [f64; 6]| {
        let one = |(at, value): (usize, f64)| {
            let time = format!("2026-10-05T10:{at}0:00.000000Z");
            event(at, device, "temperature", &time, &json!({ "value": value })).replace(":\"event", &format!(":\"{device}"))
        };
        values.into_iter().enumerate().map(one).collect::<String>()
    };
    let rooms = ["a", "b", "c", "e"].map(|device| one(device, [20.0, 20.5, 20.0, 20.5, 20.0, 20.5]));
    let others = one("fridge", [4.0, 4.1, 4.0, 12.0, 4.1, 4.0]) + &one("boiler", [55.0, 65.0, 55.0, 65.0, 55.0, 65.0]);
    place.import(rooms.concat() + &others);
    let page = page(&place, &[]);
    let look = page.split_once("id=\"look\"").unwrap().1.split_once("</section>").unwrap().0;
    assert!(look.contains("<h3>Out of the usual</h3>") && look.contains("<b>fridge</b> temperature 4 to 12"), "{look}");
    assert_eq!(look.matches("<li>").count(), 1, "{look}");
}

#[test]
fn every_device_stands_in_a_chart_of_at_most_eight_lines_with_its_numbers_as_a_table() {
    let place = Place::new();
    let one = |id: usize| {
        let time = |at| format!("2026-10-05T1{at}:10:00.000000Z");
        let one = |at| event(10 * id + at, &format!("d{id:02}"), "temperature", &time(at), &json!({ "value": id + at }));
        (0..3).map(one).collect::<String>()
    };
    place.import((0..30).map(one).collect::<String>());
    let page = page(&place, &[]);
    let figures: Vec<&str> = page.split("<figure>").skip(1).map(|figure| figure.split_once("</figure>").unwrap().0).collect();
    assert!(figures.len() >= 4, "{} charts", figures.len());
    for figure in &figures {
        let wide = figure.split_once("class=\"narrow\"").unwrap().0;
        let lines = wide.matches("stroke-width=\"1.6\"").count();
        assert!((1..=8).contains(&lines), "{lines} lines");
        assert!(figure.contains("<details><summary>") && figure.contains(">least</th>"), "{figure}");
    }
    for id in 0..30 {
        let name = format!(">d{id:02}</text>");
        assert_eq!(figures.iter().filter(|figure| figure.contains(&name)).count(), 1, "d{id:02}");
    }
    let table = figures[0].split_once("<tbody>").unwrap().1;
    let cells: Vec<&str> = table.split("<td class=\"n\">").skip(1).map(|cell| cell.split_once('<').unwrap().0).collect();
    assert_eq!((cells[0], cells[cells.len() / 5]), ("0", "2"), "least and greatest of the first: {cells:?}");
}

#[test]
fn a_page_of_several_years_says_which() {
    let place = Place::new();
    let of = |id: usize, day: &str| event(id, "a", "temperature", &format!("{day}T23:50:00.000000Z"), &json!({ "value": 1 }));
    place.import(of(1, "2025-12-24") + &of(2, "2026-01-10"));
    let page = page(&place, &[]);
    assert!(page.contains("10 Jan 2026 23:50"), "{page}");
    let axis = page.rsplit_once("class=\"axis\"").unwrap().1.split_once("</div>").unwrap().0;
    assert!(axis.contains(" 2025</span>") && axis.contains(" 2026</span>"), "{axis}");
}

#[test]
fn gaps_that_were_filled_are_said_to_be_nothing_that_is_missing() {
    let place = Place::new();
    place.import(event(1, "a", "temperature", "2026-10-05T10:10:00.000000Z", &json!({ "value": 20 })));
    note(&place, "session", "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z");
    note(&place, "filled", "2026-10-05T11:00:00Z", "2026-10-05T12:00:00Z");
    let page = page(&place, &["--start", "2026-10-05T10:00", "--end", "2026-10-05T12:00"]);
    assert_eq!(verdict(&page), ("good".to_owned(), vec!["Nothing is missing: every gap was filled from history.".to_owned()]));
    assert!(page.contains("<b>1</b> <span>gap, filled</span>"), "{page}");
}

#[test]
fn an_empty_recording_has_a_page_too() {
    let place = Place::new();
    place.import("");
    assert!(page(&place, &[]).contains("No event lies in this time."));
}
