//! Exported numbers: each question has one answer, whatever stands beside what is asked for.

use crate::support::Place;

/// An event of a project's device; its data as JSON.
fn event(project: &str, event_type: &str, device: &str, time: &str, data: &str) -> String {
    let id = format!("{event_type}-{project}-{device}-{time}");
    with_id(&id, (project, event_type, device), time, data)
}

fn with_id(id: &str, (project, event_type, device): (&str, &str, &str), time: &str, data: &str) -> String {
    format!(
        "{{\"eventId\":\"{id}\",\"targetName\":\"projects/{project}/devices/{device}\",\"eventType\":\"{event_type}\",\
         \"data\":{{\"{event_type}\":{data}}},\"timestamp\":\"{time}\"}}\n"
    )
}

fn temperature(device: &str, time: &str, value: f64) -> String {
    event("p", "temperature", device, time, &format!("{{\"value\":{value:?},\"updateTime\":\"{time}\"}}"))
}

/// A recording of these events.
fn recording(events: &[String]) -> Place {
    let place = Place::new();
    let ran = place.import(events.concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

/// The lines of an export that has to work, be it with gaps.
fn export(place: &Place, arguments: &[&str]) -> Vec<String> {
    let ran = place.run(&[&["export"], arguments].concat());
    assert!(ran.code == 0 || ran.code == 3, "{arguments:?}: {}", ran.stderr);
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The same, without its header, and of each line the time from its hour on and some cells.
fn cells(place: &Place, arguments: &[&str], columns: std::ops::Range<usize>) -> Vec<String> {
    let line = |line: &String| {
        let all: Vec<&str> = line.split(',').collect();
        format!("{} {}", &all[0][5..16], all[columns.clone()].join(","))
    };
    export(place, arguments)[1..].iter().map(line).collect()
}

const START: &str = "2026-11-01T00:00";

#[test]
fn a_fill_depends_on_no_other_device_and_a_range_says_what_the_whole_says() {
    let place = recording(&[
        temperature("A", "2026-11-01T00:10:00Z", 1.0),
        temperature("B", "2026-11-01T00:10:00Z", 2.0),
        temperature("B", "2026-11-01T04:10:00Z", 3.0),
    ]);
    let fill = ["--every", "1h", "--agg", "mean,count", "--fill", "previous", "--device", "A"];
    let all = cells(&place, &fill, 1..4);
    assert_eq!(all, ["11-01T00:00 A,1,1", "11-01T01:00 A,1,0", "11-01T02:00 A,1,0", "11-01T03:00 A,1,0", "11-01T04:00 A,1,0"]);
    let both = cells(&place, &fill[..6], 1..4);
    assert_eq!(both.iter().filter(|row| row.contains(" A,")).cloned().collect::<Vec<_>>(), all);
    assert_eq!(both.last().unwrap(), "11-01T08:00 B,3,0", "also behind the last event of all");
    let part = ["--start", "2026-11-01T01:00", "--end", "2026-11-01T03:00"];
    assert_eq!(cells(&place, &[&fill[..], &part].concat(), 1..4), all[1..3]);
    let linear = ["--every", "1h", "--agg", "mean", "--fill", "linear"];
    assert_eq!(
        cells(&place, &[&linear[..], &part].concat(), 1..3),
        ["11-01T01:00 B,2.25", "11-01T02:00 B,2.5"],
        "between what stands before the range and behind it"
    );
}

#[test]
fn a_long_hole_has_all_its_buckets_and_a_fill_reaches_through_it() {
    let place = recording(&[temperature("a", "2026-11-01T00:00:00Z", 10.0), temperature("a", "2026-11-09T00:00:00Z", 20.0)]);
    let wide = export(&place, &["--wide", "temperature", "--every", "1m"]);
    assert_eq!(wide.len(), 1 + 8 * 24 * 60 + 1);
    assert_eq!(wide[wide.len() - 2], "2026-11-08T23:59:00.000000Z,");
    let previous = export(&place, &["--wide", "temperature", "--every", "1m", "--fill", "previous", "--fill-limit", "30d"]);
    assert_eq!(previous[8 * 24 * 60], "2026-11-08T23:59:00.000000Z,10");
    let linear = export(&place, &["--every", "1m", "--fill", "linear", "--fill-limit", "30d", "--agg", "mean"]);
    assert_eq!(linear.len(), 1 + 8 * 24 * 60 + 1);
    assert!(linear[8 * 24 * 60].contains(",a,19.999,"), "{}", linear[8 * 24 * 60]);
    // Of nothing there is no row.
    assert_eq!(export(&place, &["--every", "10s"]).len(), 1 + 2);
}

#[test]
fn a_grid_that_a_wrong_clock_makes_long_is_told_of() {
    let place = recording(&[temperature("a", "1999-11-01T00:00:00Z", 1.0), temperature("a", "2026-11-01T00:00:00Z", 2.0)]);
    let file = place.path("wide.csv").display().to_string();
    let wide = |every: &str| place.run(&["export", "--wide", "temperature", "--every", every, "--force", "-o", &file]);
    let ran = wide("6m");
    assert!(
        ran.stderr.contains("rows, one for each 6m from 1999-11-01 to 2026-11-01; --start and --end leave out"),
        "{}",
        ran.stderr
    );
    assert!(!wide("1d").stderr.contains("warning"));
}

#[test]
fn the_grid_goes_from_the_start_to_the_end_that_were_asked_for() {
    let place = recording(&[temperature("a", "2026-11-01T03:30:00Z", 1.0)]);
    let wide = |more: &[&str]| cells(&place, &[&["--wide", "temperature", "--every", "1h"], more].concat(), 1..2);
    let (from, to) = (["--start", START], ["--end", "2026-11-01T05:30"]);
    assert_eq!(wide(&[]), ["11-01T03:00 1"]);
    assert_eq!(wide(&from), ["11-01T00:00 ", "11-01T01:00 ", "11-01T02:00 ", "11-01T03:00 1"]);
    assert_eq!(wide(&to), ["11-01T03:00 1", "11-01T04:00 ", "11-01T05:00 "]);
    assert_eq!(wide(&[&from[..], &to].concat()).len(), 6);
    let nothing = ["--start", "2026-10-31T00:00", "--end", "2026-10-31T03:00"];
    assert_eq!(wide(&nothing).len(), 3, "whatever there is");
}

#[test]
fn a_fill_goes_neither_into_a_gap_nor_through_it() {
    let place = recording(&[
        temperature("a", "2026-11-01T00:10:00Z", 1.0),
        temperature("a", "2026-11-01T06:10:00Z", 7.0),
        temperature("a", "2026-11-01T08:10:00Z", 9.0),
    ]);
    let fill = |how: &str| {
        let all = cells(&place, &["--every", "1h", "--agg", "mean", "--fill", how, "--fill-limit", "6h"], 2..3);
        all.iter().map(|row| row[6..8].parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(fill("previous"), (0..15).collect::<Vec<_>>());
    assert_eq!(fill("linear"), (0..9).collect::<Vec<_>>());
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    place.note("lost", moment("2026-11-01T02:30:00Z"), moment("2026-11-01T03:00:00Z"));
    assert_eq!(fill("previous"), [&[0, 1][..], &(6..15).collect::<Vec<_>>()].concat());
    assert_eq!(fill("linear"), [0, 6, 7, 8]);
    // One that was filled hides nothing.
    let other = recording(&[temperature("a", "2026-11-01T00:10:00Z", 1.0), temperature("a", "2026-11-01T03:10:00Z", 1.0)]);
    other.note("filled", moment("2026-11-01T01:00:00Z"), moment("2026-11-01T02:00:00Z"));
    assert_eq!(export(&other, &["--every", "1h", "--fill", "linear"]).len(), 1 + 4);
}

#[test]
fn two_values_of_one_name_are_two_columns_and_each_has_its_own_cells() {
    let at = "2026-11-01T00:10:00Z";
    let one = |event_type: &str, data: &str| event("p", event_type, "d", at, &format!("{{{data},\"updateTime\":\"{at}\"}}"));
    let place = recording(&[
        one("temperature", "\"value\":20"),
        one("humidity", "\"temperature\":25,\"relativeHumidity\":50"),
        one("contact", "\"state\":\"OPEN\""),
        one("motion", "\"state\":\"MOTION_DETECTED\""),
        one("touchCount", "\"total\":5"),
        one("objectPresentCount", "\"total\":70"),
    ]);
    for (wanted, header, row) in [
        ("temperature,humidity.temperature", "d temperature.temperature,d humidity.temperature", "20,25"),
        ("contact,motion", "d contact.state,d motion.state", "OPEN,MOTION_DETECTED"),
        ("touchCount,objectPresentCount", "d touchCount.total,d objectPresentCount.total", "5,70"),
        // A quantity is more than an event type.
        ("temperature", "d temperature.temperature,d humidity.temperature", "20,25"),
        ("temperature,humidity", "d temperature.temperature,d humidity.temperature,d relative_humidity", "20,25,50"),
        ("temperature.temperature,humidity", "d temperature,d relative_humidity", "20,50"),
        ("temperature.temperature,humidity.temperature", "d temperature.temperature,d humidity.temperature", "20,25"),
        // One that no event has, and one device of the other.
        ("temperature.temperature,co2", "d temperature,co2", "20,"),
    ] {
        let lines = export(&place, &["--wide", wanted]);
        assert_eq!(lines, [format!("time,{header}"), format!("2026-11-01T00:10:00.000000Z,{row}")], "{wanted}");
        let buckets = export(&place, &["--wide", wanted, "--every", "1h"]);
        let columns: std::collections::BTreeSet<_> = buckets[0].split(',').collect();
        assert_eq!(columns.len(), buckets[0].split(',').count(), "{buckets:?}");
    }
    let hours = export(&place, &["--wide", "temperature,humidity.temperature", "--every", "1h"]);
    assert_eq!(hours[1], "2026-11-01T00:00:00.000000Z,20,25");
    let none = ["--wide", "temperature,co2", "--start", START, "--end", "2026-11-01T00:05"];
    assert_eq!(export(&place, &none), ["time,temperature,co2"], "a range without an event, and no error");
    let ran = place.run(&["export", "--wide", "temperature,nobody"]);
    assert!(ran.code == 1 && ran.stderr.contains("no value \"nobody\""), "{}", ran.stderr);
}

#[test]
fn of_two_events_at_one_time_the_last_by_id_that_has_a_value_stands() {
    let at = "2026-11-01T00:10:00Z";
    let one = |id: &str, data: &str| with_id(id, ("p", "humidity", "d"), at, &format!("{{{data},\"updateTime\":\"{at}\"}}"));
    let place = recording(&[
        one("b", "\"relativeHumidity\":42"),
        one("a", "\"temperature\":1,\"relativeHumidity\":41"),
        one("c", "\"temperature\":null"),
    ]);
    let wide = export(&place, &["--wide", "humidity.relative_humidity,humidity.temperature"]);
    assert_eq!(wide[1], "2026-11-01T00:10:00.000000Z,42,1");
    let last = export(&place, &["--every", "1h", "--agg", "last"]);
    assert_eq!(last[1].split(',').nth(2), Some("1"), "{last:?}");
    assert!(export(&place, &["--latest"])[1].contains(",c,"));
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn a_range_says_what_the_whole_says_of_it_however_far_back_that_was_told_and_by_whatever_device() {
    let status = |device: &str, time: &str, how: &str| {
        event(
            "p",
            "connectionStatus",
            device,
            time,
            &format!("{{\"connection\":\"{how}\",\"available\":[],\"updateTime\":\"{time}\"}}"),
        )
    };
    let place = recording(&[
        total("t", "2026-10-01T08:00:00Z", "1000"),
        total("t", "2026-10-02T08:00:00Z", "990"),
        status("gateway", "2026-11-01T08:00:00Z", "OFFLINE"),
        status("sensor", "2026-11-03T08:00:00Z", "SDS"),
        total("t", "2026-11-04T10:00:00Z", "1007"),
        temperature("sensor", "2026-11-05T00:00:00Z", 20.0),
    ]);
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    for (device, kind) in [("gateway", "ccon"), ("sensor", "temperature"), ("t", "touch")] {
        db.execute("INSERT INTO device VALUES ('p', ?1, ?2, '100', '{}')", (device, kind)).unwrap();
    }
    let day = ["--every", "1d", "--start", "2026-11-04", "--end", "2026-11-05"];
    let states = ["--event-type", "connectionStatus"];
    let whole = cells(&place, &[&states[..], &["--every", "1d"]].concat(), 1..2);
    let part = export(&place, &[&states[..], &day].concat());
    assert_eq!(whole.iter().filter(|row| row.starts_with("11-04")).count(), 2, "{whole:?}");
    assert_eq!(
        part[1..],
        [
            "2026-11-04T00:00:00.000000Z,gateway,86400,0,0,0,connectionStatus",
            "2026-11-04T00:00:00.000000Z,sensor,0,0,86400,0,connectionStatus"
        ],
        "{part:?}"
    );
    let grown = export(&place, &[&["--event-type", "touchCount"][..], &day].concat());
    assert_eq!(grown[1], "2026-11-04T00:00:00.000000Z,t,7,touchCount");
    let report = place.run(&["report", "--json", "--start", "2026-11-04", "--end", "2026-11-05"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let gateway = report["devices"].as_array().unwrap().iter().find(|device| device["id"] == "gateway").unwrap();
    assert_eq!(gateway["figures"]["connectionStatus"]["seconds_in"]["OFFLINE"], 86400.0);
}

fn total(device: &str, time: &str, total: &str) -> String {
    event("p", "touchCount", device, time, &format!("{{\"total\":{total},\"updateTime\":\"{time}\"}}"))
}

#[test]
fn a_total_grows_by_what_is_new_and_a_small_fall_or_a_tie_is_nothing_new() {
    let at = |minute: u32| format!("2026-11-01T{:02}:{:02}:00Z", minute / 60, minute % 60);
    let grown = |totals: &[(u32, &str)]| {
        let one = |(place, (minute, text)): (usize, &(u32, &str))| {
            let time = at(*minute);
            let data = format!("{{\"total\":{text},\"updateTime\":\"{time}\"}}");
            with_id(&format!("{:03}", 900 - place), ("p", "touchCount", "d"), &time, &data)
        };
        let place = recording(&totals.iter().enumerate().map(one).collect::<Vec<_>>());
        cells(&place, &["--event-type", "touchCount", "--every", "1d"], 2..3)[0].split_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(grown(&[(0, "10"), (1, "15.0"), (2, "2e1")]), "10", "whole numbers, however they are written");
    assert_eq!(grown(&[(0, "1000"), (1, "999"), (2, "1003")]), "3", "one that came late");
    assert_eq!(grown(&[(0, "1000"), (1, "4"), (2, "9")]), "9", "one that began anew");
    assert_eq!(grown(&[(0, "10"), (1, "12"), (1, "11"), (2, "12")]), "2", "a tie");
    assert_eq!(grown(&[(0, "7")]), "0", "the first counts nothing");
}

#[test]
fn a_sample_belongs_to_the_range_that_its_own_time_lies_in() {
    let sample = |value: u32, time: &str| format!("{{\"value\":{value},\"sampleTime\":\"{time}\"}}");
    let time = "2026-11-02T00:02:00Z";
    let samples = [sample(3, time), sample(2, "2026-11-01T23:57:00Z"), sample(1, "2026-11-01T23:52:00Z")].join(",");
    let place = recording(&[event(
        "p",
        "temperature",
        "d1",
        time,
        &format!("{{\"value\":3,\"samples\":[{samples}],\"isBackfilled\":false,\"updateTime\":\"{time}\"}}"),
    )]);
    let within = |from: &str, to: &str| cells(&place, &["--samples", "--start", from, "--end", to], 1..3);
    assert_eq!(within("2026-11-01", "2026-11-02"), ["11-01T23:52 d1,1", "11-01T23:57 d1,2"]);
    assert_eq!(within("2026-11-02", "2026-11-03"), ["11-02T00:02 d1,3"]);
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn times_before_1970_are_those_of_the_calendar_in_every_zone_and_format() {
    let place = recording(&[
        temperature("d", "1969-12-31T23:59:59.75Z", -5.0),
        temperature("d", "2026-11-01T00:00:00Z", 5.0),
        temperature("d", "2026-11-01T03:00:00Z", 7.0),
    ]);
    let unix = export(&place, &["--wide", "temperature", "--time-format", "unix", "--end", "1970-01-01"]);
    assert_eq!(unix[1], "-0.250000,-5");
    for zone in ["UTC", "America/New_York", "Pacific/Apia"] {
        let span = ["--start", "1969-12-30", "--end", "2026-11-02"];
        let ran = place.run(&[&["report", "--json", "--tz", zone][..], &span].concat());
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let figures = &report["devices"][0]["figures"]["temperature"];
        assert_eq!((&figures["readings"], &figures["min"]), (&3.into(), &(-5.0).into()), "{zone}: {figures}");
        assert!((figures["mean"].as_f64().unwrap() - 7.0 / 3.0).abs() < 1e-12);
    }
}

#[test]
fn a_delimiter_that_times_hold_puts_them_in_quotes() {
    let place = recording(&[temperature("d1", "2026-11-01T00:00:00Z", 20.0)]);
    let wide = ["--wide", "temperature", "--delimiter", ":"];
    assert_eq!(export(&place, &wide), ["time:d1", "\"2026-11-01T00:00:00.000000Z\":20"]);
    let local = [&wide[..], &["--tz", "Europe/Oslo", "--time-format", "local"]].concat();
    assert_eq!(export(&place, &local), ["time:time_utc_offset:d1", "\"2026-11-01 01:00:00.000000\":\"+01:00\":20"]);
}

#[test]
fn a_sum_loses_no_small_number_and_says_where_no_double_holds_it() {
    let at = |second: u32| format!("2026-11-01T00:00:{second:02}Z");
    let small = recording(
        &[1e16, 1.0, 1.0, -1e16].iter().zip(1..).map(|(value, second)| temperature("d", &at(second), *value)).collect::<Vec<_>>(),
    );
    assert_eq!(cells(&small, &["--every", "1h", "--agg", "sum,mean"], 2..4), ["11-01T00:00 2,0.5"]);
    let large = recording(&[temperature("d", &at(1), 1.7e308), temperature("d", &at(2), 1.7e308)]);
    let sum = ["--every", "1h", "--agg", "sum,mean,max"];
    let ran = large.run(&[&["export"][..], &sum].concat());
    assert_eq!(ran.stdout.lines().nth(1), Some("2026-11-01T00:00:00.000000Z,d,,,1.7e+308,temperature"));
    assert!(ran.stderr.contains("temperature_sum") && ran.stderr.contains("1 time"), "{}", ran.stderr);
    let json = large.run(&[&["export", "--format", "ndjson"][..], &sum].concat());
    assert!(!json.stdout.contains("temperature_sum"), "{}", json.stdout);
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn the_mean_of_a_type_in_a_report_is_of_all_readings_and_none_where_no_double_holds_their_sum() {
    let mean = |values: &[(&str, f64)]| {
        let times = (0..).map(|minute| format!("2026-11-01T00:{minute:02}:00Z"));
        let events = values.iter().zip(times).map(|((device, value), time)| temperature(device, &time, *value));
        let place = recording(&events.collect::<Vec<_>>());
        let ran = place.run(&["report", "--json"]);
        let facts: serde_json::Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
        facts["types"][0]["figures"]["mean"].clone()
    };
    assert_eq!(mean(&[("a", 1e16), ("b", 1.0), ("c", -1e16)]), 1.0 / 3.0);
    assert_eq!(mean(&[("a", 1e16), ("a", 1.0), ("b", -1e16)]), 1.0 / 3.0, "what a device's own sum rounds off");
    assert_eq!(mean(&[("a", 1e16), ("a", 1.0), ("a", -1e16), ("b", 2.0)]), 0.75, "what it holds already");
    assert!(mean(&[("a", 1.7e308), ("a", 1.7e308), ("b", 5.0)]).is_null());
}

#[test]
fn a_device_that_was_moved_is_called_as_the_project_of_the_event_calls_it() {
    let one = |project: &str, time: &str| {
        event(project, "temperature", "d1", time, &format!("{{\"value\":3,\"updateTime\":\"{time}\"}}"))
    };
    let place =
        recording(&[one("p1", "2026-11-02T00:02:00Z"), one("p2", "2026-11-02T10:00:00Z"), one("p3", "2026-11-02T11:00:00Z")]);
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    for (project, name) in [("p1", "Kitchen"), ("p2", "Hall")] {
        let labels = format!("{{\"name\":\"{name}\"}}");
        db.execute("INSERT INTO device VALUES (?1, 'd1', 'temperature', '', ?2)", (project, labels)).unwrap();
    }
    let names = ["11-02T00:02 d1,Kitchen", "11-02T10:00 d1,Hall", "11-02T11:00 d1,Hall"];
    assert_eq!(cells(&place, &["--names"], 1..3), names);
    assert_eq!(cells(&place, &["--names", "--every", "1m"], 1..3), names);
}

#[test]
fn escapes_in_the_name_of_a_device_make_it_no_other_device() {
    let time = "2026-11-02T00:02:00Z";
    let plain = event("p", "temperature", "d1", time, &format!("{{\"value\":3,\"updateTime\":\"{time}\"}}"));
    let place = recording(&[plain.replace("projects/p/devices/d1", "projects\\u002fp\\/devices/\\u0064\\u0031")]);
    assert!(export(&place, &[])[1].starts_with("2026-11-02T00:02:00.000000Z,d1,p,3,"));
    assert_eq!(place.events()[0]["targetName"], "projects/p/devices/d1");
}

/// A run of a project's stream with its sessions; what lies between them is a gap. It wanted events of some types, or all.
fn run(place: &Place, project: &str, event_types: &[&str], sessions: &[(&str, &str)]) {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    let filters = overnight::model::settings::Filters {
        event_types: event_types.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let (begins, ends) = (moment(sessions[0].0), moment(sessions[sessions.len() - 1].1));
    let sql = "INSERT INTO run (opening, number, boot, clock, source, project, filters, account, begins, ended_at, quiet)
               VALUES (hex(randomblob(8)), 1, '', 0, 'stream', ?1, ?2, '', ?3, ?4, 30000000)";
    db.execute(sql, (project, serde_json::to_string(&filters).unwrap(), begins, ends)).unwrap();
    let id = db.last_insert_rowid();
    for (number, (opened, spoke)) in sessions.iter().enumerate() {
        let sql =
            "INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause) VALUES (?1, ?2, ?3, ?4, ?4, 'the end')";
        db.execute(sql, (id, i64::try_from(number).unwrap(), moment(opened), moment(spoke))).unwrap();
    }
}

fn door(project: &str, device: &str, time: &str, state: &str) -> String {
    event(project, "contact", device, time, &format!("{{\"state\":\"{state}\",\"updateTime\":\"{time}\"}}"))
}

/// What a report says of each device.
fn devices(place: &Place, arguments: &[&str]) -> std::collections::BTreeMap<String, serde_json::Value> {
    let ran = place.run(&[&["report", "--json"], arguments].concat());
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let all = report["devices"].as_array().unwrap().iter();
    all.map(|device| (device["id"].as_str().unwrap().to_owned(), device.clone())).collect()
}

/// In whole seconds.
fn silence(place: &Place, device: &str) -> i64 {
    let seconds = devices(place, &[])[device]["silence"]["seconds"].as_f64().unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "a few hours")]
    let seconds = seconds.round() as i64;
    seconds
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn a_gap_or_a_session_of_one_project_says_nothing_of_the_doors_of_another() {
    let place = || {
        recording(&[
            door("p1", "door1", "2025-11-10T20:10:00Z", "OPEN"),
            door("p2", "door2", "2025-11-10T20:10:00Z", "OPEN"),
            event("p1", "temperature", "t", "2025-11-11T03:59:00Z", "{\"value\":1,\"updateTime\":\"2025-11-11T03:59:00Z\"}"),
        ])
    };
    let (evening, morning) = (("2025-11-10T20:00:00Z", "2025-11-10T22:00:00Z"), ("2025-11-11T02:00:00Z", "2025-11-11T04:00:00Z"));
    let night = (evening.0, morning.1);
    let open = |place: &Place| cells(place, &["--event-type", "contact", "--every", "1w"], 1..3);
    let gap = place();
    run(&gap, "p1", &[], &[evening, morning]);
    run(&gap, "p2", &[], &[night]);
    assert_eq!(open(&gap), ["11-10T00:00 door1,6600", "11-10T00:00 door2,28200"]);
    let session = place();
    run(&session, "p2", &[], &[evening]);
    run(&session, "p1", &[], &[night]);
    assert_eq!(open(&session), ["11-10T00:00 door1,28200", "11-10T00:00 door2,6600"]);
    assert_eq!(silence(&session, "door2"), 6600);
    assert_eq!(devices(&session, &[])["door2"]["figures"]["contact"]["seconds_in"]["OPEN"], 6600.0);
}

#[test]
fn a_session_holds_the_states_that_it_asked_for_and_no_others() {
    let place = recording(&[
        door("p", "door", "2025-11-10T20:00:00Z", "OPEN"),
        event("p", "temperature", "t", "2025-11-10T21:00:00Z", "{\"value\":1}"),
        event("p", "temperature", "t", "2025-11-11T21:00:00Z", "{\"value\":1}"),
    ]);
    run(&place, "p", &[], &[("2025-11-10T20:00:00Z", "2025-11-10T21:30:00Z")]);
    run(&place, "p", &["temperature"], &[("2025-11-10T21:30:05Z", "2025-11-11T21:30:00Z")]);
    let open = |more: &[&str]| cells(&place, &[&["--event-type", "contact", "--every", "1d"], more].concat(), 2..3);
    assert_eq!(open(&[]), ["11-10T00:00 5400"]);
    assert!(open(&["--start", "2025-11-11"]).is_empty());
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn what_the_last_event_of_an_import_told_holds_no_longer_than_the_import() {
    let place = recording(&[
        door("p", "door", "2025-11-10T08:00:00Z", "OPEN"),
        door("p", "door", "2025-11-10T09:00:00Z", "CLOSED"),
        door("p", "door", "2025-11-13T12:00:00Z", "OPEN"),
    ]);
    run(&place, "p", &[], &[("2025-11-13T10:00:00Z", "2025-11-13T14:00:00Z")]);
    let days = ["--event-type", "contact", "--every", "1d"];
    let whole = ["11-10T00:00 door,0,1,3600,1", "11-13T00:00 door,0,0,7200,1"];
    assert_eq!(cells(&place, &days, 1..6), whole);
    assert_eq!(cells(&place, &[&days[..], &["--start", "2025-11-11"]].concat(), 1..4), ["11-13T00:00 door,7200,1"]);
    let part = devices(&place, &["--start", "2025-11-11", "--end", "2025-11-14"]);
    assert_eq!(part["door"]["figures"]["contact"]["seconds_in"], serde_json::json!({"OPEN": 7200.0}));
    let file = place.path("plot.svg");
    let ran = place.run(&["plot", "--event-type", "contact", "-o", file.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(!svg.contains("h902.9"), "a bar of three days");
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn a_silence_begins_with_what_is_known_goes_on_over_a_seam_and_ends_with_a_gap_and_now() {
    let air = |device: &str, time: &str| temperature(device, time, 1.0);
    let late = recording(&[
        air("d1", "2025-11-10T20:00:01Z"),
        air("late", "2025-11-11T03:06:00Z"),
        air("within", "2025-11-11T03:02:00Z"),
        air("d1", "2025-11-11T04:00:00Z"),
    ]);
    let (evening, morning) = (("2025-11-10T20:00:00Z", "2025-11-11T03:00:00Z"), ("2025-11-11T03:05:00Z", "2025-11-11T04:00:00Z"));
    run(&late, "p", &[], &[evening, morning]);
    assert_eq!((silence(&late, "late"), silence(&late, "d1"), silence(&late, "within")), (25_200, 25_199, 25_200));
    let seam = recording(&[air("door", "2025-11-10T20:00:00Z"), air("x", "2025-11-11T03:59:00Z")]);
    run(&seam, "p", &[], &[("2025-11-10T20:00:00Z", "2025-11-11T00:00:00Z")]);
    run(&seam, "p", &[], &[("2025-11-11T00:00:05Z", "2025-11-11T04:00:00Z")]);
    assert_eq!((silence(&seam, "door"), silence(&seam, "x")), (28_800, 28_740));
    // A clock that is ahead makes nobody silent.
    let hours = |hours: i64| (jiff::Timestamp::now() - jiff::Span::new().hours(hours)).to_string();
    let future = recording(&[air("d1", &hours(5)), air("d1", &hours(4)), air("d1", &hours(3)), air("d2", &hours(-400))]);
    assert_eq!(silence(&future, "d1"), 3600);
}

#[test]
fn what_a_value_is_called_means_the_same_in_every_range() {
    let at = "2026-11-01T00:10:00Z";
    let humidity =
        event("p", "humidity", "d", at, &format!("{{\"temperature\":25,\"relativeHumidity\":50,\"updateTime\":\"{at}\"}}"));
    let alone = recording(std::slice::from_ref(&humidity));
    assert_eq!(export(&alone, &["--wide", "temperature"])[1], "2026-11-01T00:10:00.000000Z,25", "a column of one type only");
    let both = recording(&[humidity, temperature("d", "2026-11-02T00:10:00Z", 20.0)]);
    let first = ["--wide", "temperature", "--end", "2026-11-02"];
    assert_eq!(export(&both, &first), ["time,d", "2026-11-01T00:10:00.000000Z,25"], "the quantity, of whatever type");
    let of_type = ["--wide", "temperature.temperature", "--end", "2026-11-02"];
    assert_eq!(export(&both, &of_type), ["time,temperature"], "the event type, which has no event in the range");
}

#[test]
fn an_offset_with_seconds_as_clocks_had_them_long_ago_loses_none() {
    let place = recording(&[temperature("d", "1969-01-01T00:00:00Z", 1.0)]);
    let export =
        |how: &str| export(&place, &["--wide", "temperature", "--tz", "Africa/Monrovia", "--time-format", how])[1].clone();
    assert_eq!(export("rfc3339"), "1968-12-31T23:16:00.000000-00:44,1");
    assert_eq!(export("local"), "1968-12-31 23:15:30.000000,-00:44:30,1");
}

#[test]
fn fills_begin_at_the_epoch_as_anywhere_else() {
    let place = recording(&[temperature("d", "1969-12-31T23:37:14Z", 14.5)]);
    let filled = cells(&place, &["--every", "2h", "--agg", "min", "--fill", "previous"], 2..3);
    assert_eq!(filled.len(), 5, "{filled:?}");
}

/// Forty days around a change of clocks: three devices with measures, doors and totals, at times that no bucket knows.
fn autumn() -> Vec<String> {
    let begin: jiff::Timestamp = "2025-10-05T00:00:00Z".parse().unwrap();
    let (mut state, mut events) = (12345_u64, Vec::new());
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut totals = [0, 0, 0];
    for _ in 0..900 {
        let seconds = i64::try_from(next(40 * 86_400)).unwrap();
        let device = usize::try_from(next(3)).unwrap();
        let time = (begin + jiff::SignedDuration::from_secs(seconds)).to_string();
        events.push(match next(3) {
            0 => event("p", "temperature", &format!("d{device}"), &time, &format!("{{\"value\":{}}}", next(500))),
            1 => door("p", &format!("d{device}"), &time, ["OPEN", "CLOSED"][usize::try_from(next(2)).unwrap()]),
            _ => {
                totals[device] = seconds;
                total(&format!("d{device}"), &time, &(seconds / 60).to_string())
            }
        });
    }
    events
}

#[test]
fn days_add_up_to_the_month_wide_is_long_and_a_device_alone_is_what_it_is_among_others() {
    let events = autumn();
    let place = recording(&events);
    let zone = ["--tz", "Europe/Oslo", "--end", "2025-11-10"];
    let add = |every: &str, event_type: &str, agg: &[&str]| {
        let mut sums = std::collections::BTreeMap::<(String, usize), f64>::new();
        for line in &export(&place, &[&["--every", every, "--event-type", event_type], agg, &zone].concat())[1..] {
            let cells: Vec<&str> = line.split(',').collect();
            for (at, cell) in cells[2..cells.len() - 1].iter().enumerate() {
                *sums.entry((cells[1].to_owned(), at)).or_default() += cell.parse().unwrap_or(0.0);
            }
        }
        sums
    };
    for (event_type, agg) in [("contact", &[][..]), ("touchCount", &[]), ("temperature", &["--agg", "sum,count"])] {
        let whole = add("1mo", event_type, agg);
        assert!(whole.len() >= 3);
        for every in ["1h", "1d", "1w"] {
            let parts = add(every, event_type, agg);
            assert!(whole.iter().all(|(key, sum)| (parts[key] - sum).abs() < 1e-6), "{event_type} {every}: {parts:?} {whole:?}");
        }
    }
    let days = [&["--every", "6h", "--agg", "mean", "--event-type", "temperature", "--fill", "linear"][..], &zone].concat();
    let long = export(&place, &days);
    for device in ["d0", "d1", "d2"] {
        let alone = export(&place, &[&days[..], &["--device", device]].concat());
        let among: Vec<_> = long[1..].iter().filter(|line| line.contains(&format!(",{device},"))).cloned().collect();
        assert_eq!(alone[1..], among);
    }
    let wide = export(&place, &[&["--wide", "temperature"][..], &days[..4], &days[6..]].concat());
    let header: Vec<&str> = wide[0].split(',').collect();
    let mut pivoted = Vec::new();
    for line in &wide[1..] {
        let cells: Vec<&str> = line.split(',').collect();
        let told = (1..cells.len()).filter(|at| !cells[*at].is_empty());
        pivoted.extend(told.map(|at| format!("{},{},{},temperature", cells[0], header[at], cells[at])));
    }
    assert_eq!(pivoted, long[1..]);
    // In any order, in pieces, in day files or not.
    let other = Place::new();
    for piece in events.rchunks(250) {
        assert_eq!(other.import(piece.concat()).code, 0);
    }
    assert_eq!(other.run(&["roll"]).code, 0);
    for ask in [&days[..], &["--every", "1d", "--event-type", "contact"], &["--every", "1w", "--event-type", "touchCount"]] {
        assert_eq!(export(&other, ask), export(&place, ask));
    }
}
