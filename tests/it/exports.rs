//! Exports: shapes, buckets, names, and CSV as its reader wants it, held against what was put in by hand.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::support::{Place, lines, touch};

/// An event of any type.
fn event(event_type: &str, device: &str, time: &str, data: &str) -> String {
    let id = format!("{event_type}-{device}-{time}");
    format!(
        "{{\"eventId\":\"{id}\",\"targetName\":\"projects/p/devices/{device}\",\"eventType\":\"{event_type}\",\
         \"data\":{{\"{event_type}\":{data}}},\"timestamp\":\"{time}\"}}\n"
    )
}

fn temperature(device: &str, time: &str, value: f64) -> String {
    event("temperature", device, time, &format!("{{\"value\":{value},\"updateTime\":\"{time}\"}}"))
}

fn state(event_type: &str, device: &str, time: &str, state: &str) -> String {
    event(event_type, device, time, &format!("{{\"state\":\"{state}\",\"updateTime\":\"{time}\"}}"))
}

/// A recording of these events.
fn recording(events: &[String]) -> Place {
    let place = Place::new();
    let ran = place.import(events.concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

/// Tells the recording of a device.
fn name(place: &Place, device: &str, kind: &str, labels: &str) {
    let db = Connection::open(place.dir().join("state/buffer.db")).unwrap();
    db.execute("INSERT INTO device VALUES ('p', ?1, ?2, '100', ?3)", (device, kind, labels)).unwrap();
}

/// The lines of an export that has to work.
fn export(place: &Place, arguments: &[&str]) -> Vec<String> {
    let ran = place.run(&[&["export"], arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.lines().map(str::to_owned).collect()
}

fn refused(place: &Place, arguments: &[&str], why: &str) {
    let ran = place.run(&[&["export"], arguments].concat());
    assert!(ran.code == 1 || ran.code == 2, "{arguments:?}: {}", ran.code);
    assert!(ran.stderr.contains(why), "{arguments:?}: {}", ran.stderr);
}

#[test]
fn buckets_follow_the_calendar_through_both_changes_of_clocks() {
    // Every half hour of the two days around each change in Oslo.
    let times = |from: &str| {
        let from: jiff::Timestamp = from.parse().unwrap();
        (0..96).map(move |half| (from + jiff::Span::new().minutes(30 * half)).to_string()).collect::<Vec<_>>()
    };
    let all = [times("2026-03-28T00:00:00Z"), times("2026-10-24T00:00:00Z")].concat();
    let place = recording(&all.iter().map(|time| temperature("a", time, 1.0)).collect::<Vec<_>>());
    let days = export(&place, &["--every", "1d", "--agg", "count", "--tz", "Europe/Oslo"]);
    let counts: Vec<_> = days[1..].iter().map(|line| line.split(',').nth(2).unwrap().to_owned()).collect();
    // Half hours of whole local days: 23 hours on March 29, 25 on October 25.
    assert_eq!(counts, ["46", "46", "4", "44", "50", "2"], "{days:?}");
    assert!(days[2].starts_with("2026-03-29T00:00:00.000000+01:00,a,46"), "{}", days[2]);
    assert!(days[5].starts_with("2026-10-25T00:00:00.000000+02:00,a,50"), "{}", days[5]);
    let local = ["--tz", "Europe/Oslo", "--time-format", "local", "--every", "1h", "--agg", "count"];
    let hours = export(&place, &[&local[..], &["--start", "2026-10-25T02:00", "--end", "2026-10-25T03:00"]].concat());
    assert_eq!(hours[1..].len(), 2, "the hour from two to three comes twice: {hours:?}");
    assert!(hours[1].starts_with("2026-10-25 02:00:00.000000,+02:00,a,2"), "{}", hours[1]);
    assert!(hours[2].starts_with("2026-10-25 02:00:00.000000,+01:00,a,2"), "{}", hours[2]);
}

#[test]
fn a_bucket_tells_the_figures_of_its_events() {
    let at = |minute: u32| format!("2026-11-23T10:{minute:02}:00.000000Z");
    let values = [(0, 4.0), (5, -2.5), (14, 6.0), (15, 1.0)];
    let place = recording(&values.map(|(minute, value)| temperature("a", &at(minute), value)));
    let all = export(&place, &["--every", "15m", "--agg", "mean,min,max,sum,count,first,last"]);
    assert_eq!(
        all,
        [
            "time,device_id,temperature_mean,temperature_min,temperature_max,temperature_sum,temperature_count,\
             temperature_first,temperature_last,event_type",
            "2026-11-23T10:00:00.000000Z,a,2.5,-2.5,6,7.5,3,4,6,temperature",
            "2026-11-23T10:15:00.000000Z,a,1,1,1,1,1,1,1,temperature",
        ]
    );
    refused(&place, &["--every", "7m"], "follow the calendar");
    refused(&place, &["--every", "1h", "--agg", "median"], "mean, min");
}

#[test]
fn holes_are_filled_up_to_the_limit_and_no_further() {
    let at = |minute: u32| format!("2026-11-23T10:{minute:02}:00.000000Z");
    let place = recording(&[temperature("a", &at(0), 1.0), temperature("a", &at(30), 4.0), temperature("b", &at(59), 0.0)]);
    let wide = |fill: &[&str]| {
        let lines = export(&place, &[&["--wide", "temperature", "--every", "10m"], fill].concat());
        lines[1..].iter().map(|line| line.split(',').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(wide(&[]), ["1", "", "", "4", "", ""]);
    assert_eq!(wide(&["--fill", "previous", "--fill-limit", "10m"]), ["1", "1", "", "4", "4", ""]);
    assert_eq!(wide(&["--fill", "linear"]), ["1", "2", "3", "4", "", ""]);
    assert_eq!(wide(&["--fill", "linear", "--fill-limit", "10m"]), ["1", "", "", "4", "", ""]);
    let long = export(&place, &["--every", "10m", "--fill", "linear", "--agg", "mean", "--device", "a"]);
    assert_eq!(long.len(), 1 + 4, "{long:?}");
}

#[test]
fn four_buckets_are_filled_unless_somebody_says_otherwise_whatever_their_length() {
    let filled = |days: [&str; 2], every: &str| {
        let place = recording(&days.map(|day| temperature("a", &format!("{day}T12:00:00.000000Z"), 1.0)));
        let ask = ["--wide", "temperature", "--every", every, "--fill", "previous", "--tz", "Europe/Oslo"];
        let lines = export(&place, &ask);
        lines[1..].iter().map(|line| line.split(',').nth(1).unwrap().to_owned()).collect::<String>()
    };
    // Through the day of 25 hours; through months of 31 days; parts of an hour.
    assert_eq!(filled(["2026-10-23", "2026-10-30"], "1d"), "111111".to_owned());
    assert_eq!(filled(["2026-06-23", "2026-12-23"], "1mo"), "111111".to_owned());
    assert_eq!(filled(["2026-10-01", "2026-10-02"], "3h"), "111111".to_owned());
}

#[test]
fn states_become_the_time_in_each_also_of_a_door_that_nobody_touched_since() {
    let place = recording(&[
        state("contact", "door", "2026-11-22T20:00:00.000000Z", "OPEN"),
        state("contact", "door", "2026-11-23T00:30:00.000000Z", "CLOSED"),
        state("contact", "door", "2026-11-23T01:45:00.000000Z", "OPEN"),
        state("contact", "window", "2026-11-22T21:00:00.000000Z", "CLOSED"),
        temperature("a", "2026-11-23T03:00:00.000000Z", 1.0),
    ]);
    let hours = ["--event-type", "contact", "--every", "1h", "--start", "2026-11-23", "--end", "2026-11-23T02:00"];
    let text = export(&place, &hours);
    assert_eq!(
        text,
        [
            "time,device_id,CLOSED_seconds,CLOSED_events,OPEN_seconds,OPEN_events,event_type",
            "2026-11-23T00:00:00.000000Z,door,1800,1,1800,0,contact",
            "2026-11-23T00:00:00.000000Z,window,3600,0,0,0,contact",
            "2026-11-23T01:00:00.000000Z,door,2700,0,900,1,contact",
            "2026-11-23T01:00:00.000000Z,window,3600,0,0,0,contact",
        ]
    );
}

#[test]
fn totals_become_differences_and_a_total_that_fell_began_again() {
    let total =
        |time: &str, total: u32| event("touchCount", "t", time, &format!("{{\"total\":{total},\"updateTime\":\"{time}\"}}"));
    let place = recording(&[
        total("2026-11-22T23:50:00.000000Z", 100),
        total("2026-11-23T00:10:00.000000Z", 105),
        total("2026-11-23T00:50:00.000000Z", 112),
        total("2026-11-23T01:10:00.000000Z", 3),
    ]);
    let hours = export(&place, &["--every", "1h", "--start", "2026-11-23"]);
    let grown: Vec<_> = hours[1..].iter().map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(grown, ["12", "3"], "{hours:?}");
}

#[test]
fn wide_tables_join_types_on_time_with_a_column_a_device() {
    let at = "2026-11-23T10:00:00.000000Z";
    let place = recording(&[
        temperature("a", at, 20.0),
        temperature("b", "2026-11-23T10:00:01.000000Z", 21.0),
        event("humidity", "h", at, &format!("{{\"temperature\":19.5,\"relativeHumidity\":40,\"updateTime\":\"{at}\"}}")),
    ]);
    name(&place, "a", "temperature", r#"{"name":"Cold room"}"#);
    name(&place, "b", "temperature", r#"{"name":"Cold room"}"#);
    name(&place, "h", "humidity", r#"{"name":"Büro, 2"}"#);
    assert_eq!(
        export(&place, &["--wide", "temperature"]),
        ["time,a,b", "2026-11-23T10:00:00.000000Z,20,", "2026-11-23T10:00:01.000000Z,,21"]
    );
    assert_eq!(
        export(&place, &["--wide", "temperature,humidity", "--names"]),
        [
            "time,Cold room (a) temperature,Cold room (b) temperature,\"Büro, 2 relative_humidity\"",
            "2026-11-23T10:00:00.000000Z,20,,40",
            "2026-11-23T10:00:01.000000Z,,21,",
        ]
    );
    assert_eq!(export(&place, &["--wide", "humidity.temperature"])[1], "2026-11-23T10:00:00.000000Z,19.5");
    refused(&place, &["--wide", "temprature"], "humidity.relative_humidity");
}

#[test]
fn samples_are_rows_in_the_order_of_time_with_their_event() {
    let sample = |time: &str, value: f64| format!("{{\"value\":{value},\"sampleTime\":\"{time}\"}}");
    let samples = [sample("2026-11-23T10:00:00.000000Z", 3.0), sample("2026-11-23T09:55:00.000000Z", 2.0)].join(",");
    let time = "2026-11-23T10:00:00.000000Z";
    let data = format!("{{\"value\":3,\"updateTime\":\"{time}\",\"samples\":[{samples}]}}");
    let place = recording(&[event("temperature", "a", time, &data), state("contact", "c", time, "OPEN")]);
    let id = format!("temperature-a-{time}");
    assert_eq!(
        export(&place, &["--samples"]),
        [
            "time,device_id,temperature,event_time,event_id".to_owned(),
            format!("2026-11-23T09:55:00.000000Z,a,2,{time},{id}"),
            format!("2026-11-23T10:00:00.000000Z,a,3,{time},{id}"),
        ]
    );
    refused(&place, &["--samples", "--event-type", "contact"], "no samples");
}

#[test]
fn the_latest_event_of_each_device_stands_alone() {
    let at = |minute: u32| format!("2026-11-23T10:{minute:02}:00.000000Z");
    let events: Vec<String> =
        (0..60).map(|minute| temperature(["a", "b"][minute as usize % 2], &at(minute), f64::from(minute))).collect();
    let place = recording(&events);
    let latest = lines(&place.run(&["export", "--latest", "--format", "ndjson"]).stdout);
    let values: Vec<_> = latest.iter().map(|event| event["data"]["temperature"]["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [58.0, 59.0]);
}

#[test]
fn devices_are_chosen_and_told_by_name_type_and_label() {
    let at = "2026-11-23T10:00:00.000000Z";
    let place = recording(&["a", "b", "c"].map(|device| temperature(device, at, 1.0)));
    name(&place, "a", "temperature", r#"{"name":"Freezer","room":"101","floor":"1"}"#);
    name(&place, "b", "humidity", r#"{"name":"Büro","room":"202"}"#);
    let ids = |arguments: &[&str]| {
        let lines = export(&place, arguments);
        lines[1..].iter().map(|line| line.split(',').nth(1).unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let set = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(ids(&["--device", "Freezer"]), set(&["a"]));
    assert_eq!(ids(&["--device", "Freezer", "--device", "c"]), set(&["a", "c"]));
    assert_eq!(ids(&["--device-type", "humidity"]), set(&["b"]));
    assert_eq!(ids(&["--label", "room"]), set(&["a", "b"]));
    assert_eq!(ids(&["--label", "room=202"]), set(&["b"]));
    refused(&place, &["--label", "room=303"], "room=303");
    let named = export(&place, &["--names", "--with-labels", "room,floor"]);
    assert!(named[0].starts_with("time,device_id,device_name,room,floor,project_id,temperature"), "{}", named[0]);
    let told: Vec<_> = named[1..].iter().map(|line| line.splitn(6, ',').skip(1).take(4).collect::<Vec<_>>()).collect();
    assert_eq!(told, [["a", "Freezer", "101", "1"], ["b", "Büro", "202", ""], ["c", "c", "", ""]]);
}

#[test]
fn csv_for_a_country_has_its_separators_and_plain_local_times() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.123456Z", -5.25)]);
    name(&place, "a", "temperature", r#"{"name":"=1+1"}"#);
    let common = ["--for-excel", "de-DE", "--tz", "Europe/Berlin", "--names"];
    let ran = place.run(&[&["export"], &common[..]].concat());
    let text = ran.stdout.strip_prefix('\u{feff}').expect("a byte order mark");
    let rows: Vec<&str> = text.split("\r\n").collect();
    assert!(rows[0].starts_with("time;time_utc_offset;device_id;device_name;project_id;temperature;samples"), "{}", rows[0]);
    assert!(rows[1].starts_with("2026-11-23 11:00:00;UTC+01:00;a;\"'=1+1\";p;-5,25;;;"), "{}", rows[1]);
    let plain = export(&place, &["--delimiter", "tab", "--decimal", ",", "--null", "NA", "--time-format", "%d.%m.%Y %H:%M"]);
    assert!(plain[1].starts_with("23.11.2026 10:00\ta\tp\t-5,25\tNA\t"), "{}", plain[1]);
    let unix = export(&place, &["--time-format", "unix-ms", "--names", "--no-defuse"]);
    assert!(unix[1].starts_with("1795428000123,a,=1+1,p,-5.25,"), "{}", unix[1]);
    refused(&place, &["--decimal", ",", "--delimiter", ","], "--delimiter");
    refused(&place, &["--for-excel", "xx"], "--decimal");
    refused(&place, &["--tz", "Mars/Base"], "Europe/Oslo");
}

#[test]
fn partitions_are_files_of_whole_days_of_the_zone() {
    let place = recording(&[
        temperature("a", "2026-11-22T22:59:59.000000Z", 1.0),
        temperature("a", "2026-11-22T23:00:00.000000Z", 2.0),
        temperature("a", "2026-11-23T22:59:59.999999Z", 3.0),
        state("contact", "c", "2026-11-23T10:00:00.000000Z", "OPEN"),
    ]);
    let found = |by: &str, format: &str| {
        let out = place.path(&format!("{by}-{format}"));
        let text = out.display().to_string();
        let ran = place.run(&["export", "-o", &text, "--format", format, "--partition-by", by, "--tz", "Europe/Oslo"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(place.run(&["export", "-o", &text, "--format", format, "--partition-by", by]).code == 1, "overwrites nothing");
        let mut files = Vec::new();
        let mut folders = vec![out.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(&out).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    };
    assert_eq!(found("type", "arrow"), ["contact.arrow", "temperature.arrow"]);
    assert_eq!(found("day", "csv"), ["contact/2026-11-23.csv", "temperature/2026-11-22.csv", "temperature/2026-11-23.csv"]);
    assert_eq!(
        found("hive", "parquet"),
        [
            "event_type=contact/date=2026-11-23/part-0.parquet",
            "event_type=temperature/date=2026-11-22/part-0.parquet",
            "event_type=temperature/date=2026-11-23/part-0.parquet",
        ]
    );
    let second = std::fs::read_to_string(place.path("day-csv/temperature/2026-11-23.csv")).unwrap();
    assert_eq!(second.lines().count(), 1 + 2, "{second}");
}

#[test]
fn an_empty_selection_says_why_and_what_does_not_go_together_is_refused() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.0)]);
    for shape in [&["--wide", "temperature"][..], &["--every", "1h"], &["--samples"], &["--latest"]] {
        let ran = place.run(&[&["export", "--start", "2027-01-01", "--event-type", "temperature"], shape].concat());
        assert!(ran.stderr.contains("the recording has 1 event on 2026-11-23 (UTC), none of them"), "{shape:?}: {}", ran.stderr);
    }
    refused(&place, &["--samples", "--latest"], "cannot be used with");
    refused(&place, &["--fill", "linear"], "--every");
    refused(&place, &["--samples", "--partition-by", "day", "-o", "x/"], "in the order of time");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_wants_room_whatever_is_written_to_it() {
    let place = Place::new();
    place.import(touch("a", 1, 1));
    let verbs = ["csv", "parquet", "arrow", "ndjson", "xlsx"].map(|format| vec!["export", "--format", format]);
    for mut verb in verbs.into_iter().chain([vec!["report"], vec!["plot", "--event-type", "touch"]]) {
        verb.extend(["-o", "/dev/full"]);
        // What is no file has an ending all the same where one is needed.
        let link = place.path("full.svg");
        if verb[0] == "plot" {
            std::os::unix::fs::symlink("/dev/full", &link).unwrap();
            *verb.last_mut().unwrap() = link.to_str().unwrap();
        }
        let ran = place.run(&verb);
        assert!(ran.code == 1 && ran.stderr.contains("make room"), "{verb:?}: {}", ran.stderr);
    }
}
