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
    assert!(linear[8 * 24 * 60].contains(",a,19.99913"), "{}", linear[8 * 24 * 60]);
    // Of nothing there is no row.
    assert_eq!(export(&place, &["--every", "10s"]).len(), 1 + 2);
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
        ("temperature,humidity", "d temperature,d relative_humidity", "20,50"),
        // One that no event has, and one device of the other.
        ("temperature,co2", "d temperature,co2", "20,"),
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
