//! Exports: shapes, buckets, names, and CSV as its reader wants it, held against what was put in by hand.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::Connection;

use crate::support::{Place, Running, lines, overnight, touch, until};

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

/// What cannot be, whatever the recording holds.
fn refused(place: &Place, arguments: &[&str], why: &str) {
    ends(place, arguments, 2, why);
}

fn ends(place: &Place, arguments: &[&str], code: i32, why: &str) {
    let ran = place.run(&[&["export"], arguments].concat());
    assert!(ran.code == code && ran.stderr.contains(why), "{arguments:?}: {} {}", ran.code, ran.stderr);
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
    // b, whose last event is in the last of these, is filled for one more.
    assert_eq!(wide(&["--fill", "previous", "--fill-limit", "10m"]), ["1", "1", "", "4", "4", "", ""]);
    assert_eq!(wide(&["--fill", "linear"]), ["1", "2", "3", "4", "", ""]);
    assert_eq!(wide(&["--fill", "linear", "--fill-limit", "10m"]), ["1", "", "", "4", "", ""]);
    let long = export(&place, &["--every", "10m", "--fill", "linear", "--agg", "mean", "--device", "a"]);
    assert_eq!(long.len(), 1 + 4, "{long:?}");
}

#[test]
fn a_bucket_at_the_start_of_a_range_is_filled_as_if_the_range_had_begun_earlier() {
    let at = |minute: u32| format!("2026-11-23T10:{minute:02}:00.000000Z");
    let place = recording(&[
        temperature("a", &at(10), 5.0),
        temperature("a", &at(11), 7.0),
        temperature("b", &at(15), 9.0),
        temperature("a", &at(50), 2.0),
    ]);
    let lines = |arguments: &[&str]| export(&place, &[&["--every", "10m", "--agg", "mean"], arguments].concat());
    // The bucket of 10:10 is 30 minutes away from the one of 10:50, which fills one or two behind it.
    for (fill, limit, buckets) in [("previous", "10m", 4), ("previous", "20m", 5), ("linear", "20m", 3), ("linear", "30m", 3)] {
        let fill = ["--wide", "temperature", "--device", "a", "--fill", fill, "--fill-limit", limit];
        let whole = lines(&fill);
        let part = lines(&[&fill[..], &["--start", "2026-11-23T10:30"]].concat());
        assert_eq!(part[1..], whole[whole.len() - buckets..], "{fill:?}");
    }
    let previous = ["--fill", "previous", "--start", "2026-11-23T10:30", "--device", "a"];
    assert_eq!(
        lines(&previous)[1..],
        [
            "2026-11-23T10:30:00.000000Z,a,6,temperature",
            "2026-11-23T10:40:00.000000Z,a,6,temperature",
            "2026-11-23T10:50:00.000000Z,a,2,temperature",
            "2026-11-23T11:00:00.000000Z,a,2,temperature",
            "2026-11-23T11:10:00.000000Z,a,2,temperature",
            "2026-11-23T11:20:00.000000Z,a,2,temperature",
            "2026-11-23T11:30:00.000000Z,a,2,temperature",
        ]
    );
    // Also where the range begins within a bucket.
    assert_eq!(
        lines(&["--fill", "previous", "--start", "2026-11-23T10:12", "--device", "a"])[1],
        "2026-11-23T10:10:00.000000Z,a,6,temperature"
    );
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
    // Four behind the last event too.
    assert_eq!(filled(["2026-10-23", "2026-10-30"], "1d"), "1111111111".to_owned());
    assert_eq!(filled(["2026-06-23", "2026-12-23"], "1mo"), "1111111111".to_owned());
    assert_eq!(filled(["2026-10-01", "2026-10-02"], "3h"), "1111111111".to_owned());
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

/// A session of the recording, or a gap, as the ledger has it.
fn note(place: &Place, what: &str, (begins, ends): (&str, &str)) {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    place.note(what, moment(begins), moment(ends));
}

/// Cells of an export that may have gaps, without its header.
fn cells(place: &Place, arguments: &[&str]) -> Vec<Vec<String>> {
    let ran = place.run(&[&["export"], arguments].concat());
    assert!(ran.code == 0 || ran.code == 3, "{}", ran.stderr);
    ran.stdout.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Hours of a day that a door was known to be closed for any time, with the minutes.
fn closed(place: &Place, more: &[&str]) -> Vec<(u32, u32)> {
    let wide = cells(place, &[&["--wide", "contact", "--every", "1h", "--agg", "mean"], more].concat());
    let hour = |row: &Vec<String>| {
        let seconds: u32 = row.get(1)?.parse().ok().filter(|seconds| *seconds > 0)?;
        Some((row[0][11..13].parse().unwrap(), seconds / 60))
    };
    wide.iter().filter_map(hour).collect()
}

#[test]
fn a_door_that_nobody_touched_has_its_time_in_state_whatever_else_has_events() {
    let days = |event_type: &str| {
        recording(&[
            state(event_type, "b", "2025-11-20T09:00:00.000000Z", "OTHER"),
            state(event_type, "b", "2025-11-20T10:00:00.000000Z", "THIS"),
            state(event_type, "c", "2025-11-22T10:00:00.000000Z", "THAT"),
            temperature("a", "2025-11-24T10:00:00.000000Z", 1.0),
        ])
    };
    let day = ["--every", "1d", "--start", "2025-11-23", "--end", "2025-11-24"];
    for event_type in ["contact", "motion", "waterPresent", "objectPresent"] {
        let place = days(event_type);
        let long = [
            "time,device_id,THAT_seconds,THAT_events,THIS_seconds,THIS_events,event_type".to_owned(),
            format!("2025-11-23T00:00:00.000000Z,b,0,0,86400,0,{event_type}"),
            format!("2025-11-23T00:00:00.000000Z,c,86400,0,0,0,{event_type}"),
        ];
        assert_eq!(export(&place, &day), long, "of all types");
        assert_eq!(export(&place, &[&day[..], &["--event-type", event_type]].concat()), long);
        assert_eq!(
            export(&place, &[&day[..], &["--wide", event_type]].concat()),
            ["time,b THAT_seconds,b THIS_seconds,c THAT_seconds,c THIS_seconds", "2025-11-23T00:00:00.000000Z,0,86400,86400,0"]
        );
        assert_eq!(
            export(&place, &[&day[..], &["--device", "c"]].concat())[1..],
            [format!("2025-11-23T00:00:00.000000Z,c,86400,0,{event_type}")]
        );
        let one = export(&place, &[&day[..], &["--wide", event_type, "--device", "c"]].concat());
        assert_eq!(one, ["time,c THAT_seconds", "2025-11-23T00:00:00.000000Z,86400"]);
        // A row an event: there is none.
        assert!(cells(&place, &["--start", "2025-11-23", "--end", "2025-11-24"]).is_empty());
    }
}

#[test]
fn a_look_back_goes_as_far_as_a_state_may_hold_whatever_the_directory_knows() {
    let place = recording(&[
        state("contact", "old", "2025-11-02T10:00:00.000000Z", "OPEN"),
        state("contact", "new", "2025-11-22T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-24T10:00:00.000000Z", 1.0),
    ]);
    let doors = || {
        let rows = cells(&place, &["--every", "1d", "--start", "2025-11-23", "--end", "2025-11-24"]);
        rows.into_iter().map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(doors(), ["new", "old"]);
    name(&place, "new", "contact", "{}");
    name(&place, "a", "temperature", "{}");
    assert_eq!(doors(), ["new", "old"], "another door may have spoken before, of whatever type it is");
    name(&place, "old", "ccon", "{}");
    assert_eq!(doors(), ["new", "old"]);
}

#[test]
fn the_days_before_a_range_are_not_counted_as_rows_that_are_read() {
    let place = recording(&[
        state("contact", "d", "2025-11-20T10:00:00.000000Z", "OPEN"),
        temperature("a", "2025-11-24T10:00:00.000000Z", 1.0),
    ]);
    let layout = overnight::model::layout::Layout::new(&place.dir());
    let registry = std::sync::Arc::new(overnight::model::schema::Registry::built_in().unwrap());
    let reader = overnight::query::reader::Reader::open(&layout, registry).unwrap();
    let start = overnight::base::time::Day::parse("2025-11-23").unwrap().start();
    let selection = overnight::query::reader::Selection { start: Some(start), ..Default::default() };
    let plans = overnight::query::tables::plans(&reader, &selection, overnight::query::tables::Fill::None).unwrap();
    let ask = overnight::query::tables::Ask {
        every: Some("1d".parse().unwrap()),
        known: overnight::query::tables::known(&reader, &selection, overnight::base::time::now()).unwrap(),
        ..Default::default()
    };
    let directory = overnight::store::devices::Directory::default();
    let mut rows = 0;
    for mut table in overnight::query::tables::tables(&reader, &plans, &selection, &directory, &ask).unwrap() {
        while let Some(batch) = table.next_batch().unwrap() {
            rows += batch.num_rows();
        }
    }
    assert_eq!((rows, reader.rows_read()), (3, 1), "two days of the door, one of the temperature");
}

#[test]
fn an_import_has_its_times_in_state_up_to_the_last_event_of_all_and_no_further() {
    let place = recording(&[
        state("contact", "d", "2025-11-23T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-23T13:30:00.000000Z", 1.0),
    ]);
    let all = [(10, 60), (11, 60), (12, 60), (13, 30)];
    assert_eq!(closed(&place, &[]), all);
    assert_eq!(closed(&place, &["--end", "2027-01-01"]), all);
    assert_eq!(closed(&place, &["--start", "2025-11-23T12:00"]), all[2..]);
    assert_eq!(closed(&place, &["--end", "2025-11-23T12:00"]), all[..2], "an event behind the range tells that it was recorded");
    assert_eq!(closed(&place, &["--start", "2025-11-23T14:00", "--end", "2025-11-24"]), []);
    // Behind the last sign of life, an import goes on; before it, it takes nothing away.
    note(&place, "session", ("2025-11-23T09:00:00Z", "2025-11-23T11:00:00Z"));
    assert_eq!(closed(&place, &[]), all);
    note(&place, "session", ("2025-11-23T11:00:00Z", "2025-11-23T14:30:00Z"));
    assert_eq!(closed(&place, &[]), [&all[..3], &[(13, 60), (14, 30)]].concat());
}

#[test]
fn day_files_without_a_buffer_are_known_from_their_first_event_to_the_last() {
    let place = recording(&[
        state("contact", "d", "2025-11-23T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-23T11:30:00.000000Z", 1.0),
    ]);
    std::fs::remove_dir_all(place.dir().join("state")).unwrap();
    assert_eq!(closed(&place, &[]), [(10, 60), (11, 30)]);
}

#[test]
fn a_damaged_file_of_another_type_is_no_witness_and_no_error() {
    let place = recording(&[
        state("contact", "d", "2025-11-23T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-23T11:30:00.000000Z", 1.0),
        temperature("a", "2025-11-24T11:30:00.000000Z", 1.0),
    ]);
    std::fs::write(place.dir().join("data/temperature/2025-11-24.parquet"), "no Parquet").unwrap();
    assert_eq!(closed(&place, &["--event-type", "contact"]), [(10, 60), (11, 30)]);
}

#[test]
fn an_event_from_the_future_makes_no_state_last_until_then() {
    let doors = [
        state("contact", "d", "2025-11-23T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-23T11:30:00.000000Z", 1.0),
        temperature("a", "2099-11-23T11:30:00.000000Z", 1.0),
    ];
    assert_eq!(closed(&recording(&doors), &[]), [(10, 60), (11, 30)]);
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn what_a_clock_that_runs_ahead_tells_is_no_time_in_state_whatever_the_bucket() {
    let now = overnight::base::time::now();
    let at = |minutes: i64| overnight::base::time::rfc3339(now + minutes * 60 * overnight::base::time::SECOND);
    let doors = [
        state("contact", "a", &at(-300), "OPEN"),
        state("contact", "a", &at(-240), "CLOSED"),
        state("contact", "b", &at(-1), "CLOSED"),
        state("contact", "a", &at(60), "OPEN"),
        state("contact", "a", &at(180), "CLOSED"),
    ];
    let place = recording(&doors);
    for every in ["15m", "1h", "1d", "1mo"] {
        let rows = cells(&place, &["--every", every]);
        let sum = |column: usize| rows.iter().filter_map(|row| row[column].parse::<f64>().ok()).sum::<f64>();
        let told = [sum(2), sum(4)].map(|seconds| format!("{seconds:.0}"));
        assert_eq!(told, ["14340", "3600"], "{every}: closed and open");
    }
    let report = place.run(&["report", "--json"]);
    assert!(report.stdout.contains("\"OPEN\": 3600.0"), "{}", report.stdout);
}

#[test]
fn where_nobody_recorded_no_state_is_known_until_the_door_speaks_again() {
    let door = |time: &str| state("contact", "d", &format!("2025-11-23T{time}:00.000000Z"), "CLOSED");
    let air = |time: &str| temperature("a", &format!("2025-11-23T{time}:00.000000Z"), 1.0);
    let night = [door("05:00"), air("06:00"), air("20:00"), door("21:00"), air("22:00")];
    let sessions = [("2025-11-23T04:00:00Z", "2025-11-23T07:00:00Z"), ("2025-11-23T19:00:00Z", "2025-11-23T23:00:00Z")];
    let recorded = |more: &[String]| {
        let place = recording(&[&night, more].concat());
        for session in sessions {
            note(&place, "session", session);
        }
        place
    };
    let hours = |place: &Place| closed(place, &[]).iter().map(|(hour, _)| *hour).collect::<Vec<_>>();
    let place = recorded(&[]);
    assert_eq!(closed(&place, &[]), [(5, 60), (6, 60), (21, 60), (22, 60)]);
    // Whether the range begins before, within or behind it.
    assert_eq!(closed(&place, &["--start", "2025-11-23T06:30"]), [(6, 30), (21, 60), (22, 60)]);
    assert_eq!(closed(&place, &["--start", "2025-11-23T12:00"]), [(21, 60), (22, 60)]);
    assert_eq!(closed(&place, &["--start", "2025-11-23T20:00", "--end", "2025-11-23T21:00"]), []);
    // A gap that was filled is no such time; nor is one that a receiver missed, since it gets its pushes again.
    note(&place, "filled", ("2025-11-23T07:00:00Z", "2025-11-23T19:00:00Z"));
    assert_eq!(hours(&place), (5..23).collect::<Vec<_>>());
    let place = recording(&night);
    for session in sessions {
        note(&place, "receiver", session);
    }
    assert_eq!(hours(&place), (5..23).collect::<Vec<_>>());
    // Nor is a time of which an import tells, from its first event to its last.
    let imported: Vec<_> = (8..19).map(|hour| air(&format!("{hour:02}:00"))).collect();
    assert_eq!(hours(&recorded(&imported)), (5..23).collect::<Vec<_>>());
    let part = recorded(&[air("07:30"), door("08:00"), air("11:30")]);
    assert_eq!(closed(&part, &[]), [(5, 60), (6, 60), (7, 60), (8, 60), (9, 60), (10, 60), (11, 30), (21, 60), (22, 60)]);
    let other = recorded(&[air("13:00"), door("14:00"), air("18:30")]);
    assert_eq!(hours(&other), [&[5, 6][..], &(14..23).collect::<Vec<_>>()].concat());
    // An event at the very seam, whose clock is not quite ours, tells of no other time.
    let seam = recorded(&[state("contact", "e", "2025-11-23T18:59:58.000000Z", "OPEN")]);
    assert_eq!(hours(&seam), [5, 6, 21, 22]);
}

#[test]
fn an_import_from_before_the_first_session_is_known_to_its_own_last_event() {
    let place = recording(&[
        state("contact", "d", "2025-11-20T10:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-20T11:30:00.000000Z", 1.0),
        temperature("a", "2025-11-23T10:00:00.000000Z", 1.0),
    ]);
    note(&place, "session", ("2025-11-23T09:00:00Z", "2025-11-23T11:00:00Z"));
    assert_eq!(closed(&place, &[]), [(10, 60), (11, 30)]);
    assert_eq!(closed(&place, &["--start", "2025-11-23"]), []);
}

#[test]
fn a_lost_gap_ends_a_state_also_where_it_began_before_the_range() {
    let place = recording(&[
        state("contact", "d", "2025-11-23T05:00:00.000000Z", "CLOSED"),
        temperature("a", "2025-11-23T10:00:00.000000Z", 1.0),
    ]);
    note(&place, "session", ("2025-11-23T04:00:00Z", "2025-11-23T06:00:00Z"));
    note(&place, "lost", ("2025-11-23T06:00:00Z", "2025-11-23T07:00:00Z"));
    note(&place, "session", ("2025-11-23T07:00:00Z", "2025-11-23T10:00:00Z"));
    assert_eq!(closed(&place, &[]), [(5, 60)]);
    assert_eq!(closed(&place, &["--start", "2025-11-23T08:00"]), []);
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
    // Whenever the total was told last, also where nobody recorded meanwhile.
    let days = recording(&[total("2026-11-19T12:00:00.000000Z", 100), total("2026-11-23T12:00:00.000000Z", 130)]);
    note(&days, "lost", ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"));
    let rows = cells(&days, &["--every", "1d", "--start", "2026-11-23"]);
    assert_eq!((rows.len(), rows[0][2].as_str()), (1, "30"), "{rows:?}");
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
        ["time,a,b,h", "2026-11-23T10:00:00.000000Z,20,,19.5", "2026-11-23T10:00:01.000000Z,,21,"]
    );
    assert_eq!(export(&place, &["--wide", "temperature.temperature"])[0], "time,a,b");
    assert_eq!(export(&place, &["--wide", "temperature", "--every", "1h"])[1], "2026-11-23T10:00:00.000000Z,20,21,19.5");
    assert_eq!(
        export(&place, &["--wide", "temperature,humidity", "--names"]),
        [
            "time,\"Büro, 2 temperature\",Cold room (a) temperature,Cold room (b) temperature,\"Büro, 2 relative_humidity\"",
            "2026-11-23T10:00:00.000000Z,19.5,20,,40",
            "2026-11-23T10:00:01.000000Z,,,21,",
        ]
    );
    assert_eq!(export(&place, &["--wide", "humidity.temperature"])[1], "2026-11-23T10:00:00.000000Z,19.5");
    ends(&place, &["--wide", "temprature"], 1, "humidity.relative_humidity");
}

#[test]
fn readings_are_rows_of_all_types_with_name_room_quantity_and_unit() {
    let at = "2026-11-23T10:00:00.000000Z";
    let place = recording(&[
        temperature("a", "2026-11-23T10:00:01.000000Z", 20.0),
        event("humidity", "h", at, &format!("{{\"temperature\":19.5,\"relativeHumidity\":40,\"updateTime\":\"{at}\"}}")),
        state("contact", "c", at, "OPEN"),
    ]);
    name(&place, "a", "temperature", r#"{"name":"Fridge","room":"101"}"#);
    let rows = export(&place, &["--long"]);
    assert_eq!(
        rows,
        [
            "time,project_id,device_id,device_name,room,quantity,value,unit,event_type",
            &format!("{at},p,h,h,,temperature,19.5,Cel,humidity"),
            &format!("{at},p,h,h,,relative_humidity,40,%,humidity"),
            "2026-11-23T10:00:01.000000Z,p,a,Fridge,101,temperature,20,Cel,temperature",
        ]
    );
    let of = |quantity: &str| export(&place, &["--long", "--quantity", quantity])[1..].to_vec();
    assert_eq!(of("temperature"), [rows[1].clone(), rows[3].clone()]);
    assert_eq!((of("humidity.temperature"), of("humidity")), (vec![rows[1].clone()], vec![rows[2].clone()]));
    refused(&place, &["--long", "--quantity", "contact"], "no numbers");
    ends(&place, &["--long", "--quantity", "temprature"], 1, "humidity.relative_humidity");
}

#[test]
fn a_spreadsheet_is_of_here_with_names_units_and_no_more_than_there_is() {
    let at = "2026-11-23T10:00:00.000000Z";
    let place = recording(&[
        temperature("a", "2026-11-23T10:00:01.000000Z", 21.700_000_762_939_453),
        event("humidity", "h", at, &format!("{{\"temperature\":19.5,\"relativeHumidity\":40,\"updateTime\":\"{at}\"}}")),
        state("waterPresent", "w", "2026-11-24T10:00:00.000000Z", "PRESENT"),
    ]);
    name(&place, "a", "temperature", r#"{"name":"Fridge","room":"101"}"#);
    let of_here = |arguments: &[&str]| {
        let mut command = overnight();
        command.arg("export").args(arguments).arg("--dir").arg(place.dir()).env("TZ", "Europe/Oslo");
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let text = of_here(&["--spreadsheet", "--for-excel", "nb-NO", "--format", "csv"]);
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split("\r\n").collect();
    assert_eq!(
        lines,
        [
            "time (Europe/Oslo);sensor;room;temperature (°C);relative humidity (%);water present",
            "2026-11-23 11:00:00,000;h;;19,5;;",
            "2026-11-23 11:00:00,000;h;;;40;",
            "2026-11-23 11:00:01,000;Fridge;101;21,7;;",
            "2026-11-24 11:00:00,000;w;;;;PRESENT",
            "",
        ]
    );
    let wide = of_here(&["--spreadsheet", "--for-excel", "en-US", "--wide", "temperature", "--every", "1h"]);
    assert!(wide.contains("time (Europe/Oslo),Fridge (°C),h (°C)\r\n2026-11-23 11:00:00.000,21.7,19.5\r\n"), "{wide}");
    // Whose time it is stands in the head of any export for a spreadsheet.
    let plain = of_here(&["--for-excel", "nb-NO", "--event-type", "temperature"]);
    assert!(
        plain.contains("time (Europe/Oslo);time_utc_offset;") && plain.contains("2026-11-23 11:00:01,000;UTC+01:00;"),
        "{plain}"
    );
    refused(&place, &["--spreadsheet", "--format", "parquet"], "FILE.xlsx or FILE.csv");
    let months = place.path("months");
    refused(&place, &["--spreadsheet", "-o", &format!("{}/", months.display())], "--partition-by month");
    let more = temperature("a", "2026-12-01T00:00:00.000000Z", 3.0);
    assert_eq!(place.import(more).code, 0);
    export(&place, &["--event-type", "temperature", "--partition-by", "month", "-o", months.to_str().unwrap()]);
    export(
        &place,
        &["--spreadsheet", "--format", "csv", "--tz", "Europe/Oslo", "--partition-by", "month", "-o", months.to_str().unwrap()],
    );
    for (month, rows) in [("2026-11", 5), ("2026-12", 2)] {
        let text = std::fs::read_to_string(months.join(format!("{month}.csv"))).unwrap();
        assert_eq!(text.lines().count(), rows, "{text}");
    }
    for (month, rows) in [("2026-11", 2), ("2026-12", 2)] {
        let text = std::fs::read_to_string(months.join(format!("temperature/{month}.csv"))).unwrap();
        assert_eq!(text.lines().count(), rows, "{text}");
    }
}

#[test]
fn a_name_stands_for_one_device_alone_whatever_else_is_selected() {
    let at = "2026-11-23T10:00:00.000000Z";
    let place = recording(&[temperature("x1", at, 20.0), temperature("x2", at, 30.0), temperature("x3", at, 40.0)]);
    name(&place, "x1", "temperature", r#"{"name":"Server room","room":"2.14"}"#);
    name(&place, "x2", "temperature", r#"{"name":"Server room","room":"3.01"}"#);
    name(&place, "x3", "temperature", r#"{"name":"Hall","room":"3.01"}"#);
    assert_eq!(
        export(&place, &["--wide", "temperature", "--names"]),
        ["time,Hall,Server room (2.14),Server room (3.01)", &format!("{at},40,20,30")]
    );
    assert_eq!(export(&place, &["--wide", "temperature", "--names", "--device", "x2"])[0], "time,Server room (3.01)");
    // Who asks for a name means all that have it, unless it says which.
    let rows = |device: &str| export(&place, &["--names", "--device", device]).len() - 1;
    assert_eq!((rows("Server room"), rows("Server room (3.01)"), rows("Hall")), (2, 1, 1));
    assert_eq!(place.run(&["roll"]).code, 0);
    let list = std::fs::File::open(place.dir().join("devices.parquet")).unwrap();
    let list = ParquetRecordBatchReaderBuilder::try_new(list).unwrap().build().unwrap().next().unwrap().unwrap();
    let names = list.column_by_name("display_name").unwrap().as_string::<i32>();
    assert_eq!(names.iter().flatten().collect::<Vec<_>>(), ["Server room (2.14)", "Server room (3.01)", "Hall"]);
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
    // What nobody is called or has: what may have been meant, or what there is.
    for (arguments, why) in [
        (["--label", "room=303"], "has the label \"room=303\"; there are 101, 202"),
        (["--label", "rom"], "has the label \"rom\"; did you mean \"room\"?"),
        (["--device-type", "humidty"], "is of type \"humidty\"; did you mean \"humidity\"?"),
        (["--device-type", "co2"], "there are humidity, temperature"),
        (["--device", "nosuch"], "is called \"nosuch\", by its id or its name; there are Büro, Freezer, c"),
        (["--device", "freezr"], "did you mean \"Freezer\"?"),
    ] {
        ends(&place, &arguments, 1, why);
        ends(&place, &[&["--device", "a"], &arguments[..]].concat(), 1, why);
    }
    ends(&place, &["--device", "a", "--label", "room=202"], 1, "all of that together");
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
    assert!(
        rows[0].starts_with("time (Europe/Berlin);time_utc_offset;device_id;device_name;project_id;temperature;samples"),
        "{}",
        rows[0]
    );
    assert!(rows[1].starts_with("2026-11-23 11:00:00,123;UTC+01:00;a;\"'=1+1\";p;-5,25;;;"), "{}", rows[1]);
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
    // Whoever reads it finds the columns, of a type that was asked for.
    let later = ["--start", "2027-01-01"];
    let of_type = [&later[..], &["--event-type", "temperature"]].concat();
    let columns = "time,device_id,project_id,temperature,";
    let empty = |arguments: &[&str]| {
        let ran = place.run(&[&["export"], arguments].concat());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.stdout
    };
    assert!(empty(&of_type).starts_with(columns) && empty(&later).is_empty());
    let hours = "time,device_id,temperature_mean,temperature_min,temperature_max,temperature_count,event_type\n";
    assert_eq!(empty(&[&of_type[..], &["--every", "1h"]].concat()), hours);
    for ending in ["csv", "ndjson", "parquet", "arrow"] {
        let file = place.path(&format!("empty.{ending}"));
        for (ask, is_file) in [(&later[..], false), (&of_type, true)] {
            ends(&place, &[ask, &["-o", file.to_str().unwrap()]].concat(), 3, "no events: ");
            assert_eq!(file.is_file(), is_file, "{ending}");
        }
    }
    refused(&place, &["--samples", "--latest"], "cannot be used with");
    refused(&place, &["--fill", "linear"], "--every");
    refused(&place, &["--samples", "--partition-by", "day", "-o", "x/"], "in the order of time");
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(not(all(feature = "workbooks", feature = "reports")), ignore = "asks for what this build is made without")]
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

#[test]
fn a_device_of_which_only_an_event_tells_is_known_whenever_that_was() {
    let time = |day: u32| format!("2026-11-{day:02}T10:00:00.000000Z");
    let place = recording(&[temperature("a1", &time(20), 1.0), state("contact", "b2", &time(22), "OPEN")]);
    assert_eq!(export(&place, &["--device", "b2"]).len(), 2);
    ends(&place, &["--device", "b2", "--end", "2026-11-21"], 3, "none of them in this selection");
    ends(&place, &["--device", "b2", "--device", "c3"], 1, "is called \"c3\", by its id or its name; there are a1, b2");
    name(&place, "bjehr0ig1me000dm66s0", "temperature", r#"{"name":"Freezer"}"#);
    ends(&place, &["--device", "bjehr0ig1me00dm66s0"], 1, "did you mean \"bjehr0ig1me000dm66s0\"?");
    // Nobody can say of a file that does not read whom it is about.
    std::fs::write(place.dir().join("data/contact/2026-11-22.parquet"), "no Parquet").unwrap();
    assert_eq!(export(&place, &["--device", "a1", "--device", "c3", "--event-type", "temperature"]).len(), 2);
}

#[test]
fn an_event_type_that_there_is_not_says_which_there_are_as_they_are_called() {
    let odd = "=cmd|'/C calc'!A0";
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.0), event(odd, "a", "2026-11-23T10:00:00Z", "{}")]);
    ends(&place, &["--event-type", "nosuch"], 1, &format!("there are {odd}, temperature\n"));
}

#[test]
fn a_label_that_no_device_has_is_told() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.0)]);
    name(&place, "a", "temperature", r#"{"name":"Freezer","room":"101"}"#);
    ends(
        &place,
        &["--with-labels", "room,nolabel"],
        0,
        "no device has the label \"nolabel\", so its column is empty; there are name, room",
    );
    assert_eq!(place.run(&["export", "--with-labels", "room"]).stderr, "");
}

#[test]
fn no_column_comes_twice() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.0)]);
    name(&place, "a", "temperature", r#"{"time":"x","room":"101","label_time":"y"}"#);
    for (arguments, header) in [
        (&["--every", "1h", "--agg", "mean,max,mean"][..], "time,device_id,temperature_mean,temperature_max,event_type"),
        (&["--every", "1h", "--agg", "mean", "--with-labels", "time"], "time,device_id,label_time,temperature_mean,event_type"),
        (
            &["--with-labels", "room,time,label_time,room"],
            "time,device_id,room,label_time,label_label_time,project_id,temperature,samples,\
             is_backfilled,event_id,event_type,received_at,source,raw",
        ),
        (&["--wide", "temperature,temperature"], "time,a"),
    ] {
        assert_eq!(export(&place, arguments)[0], header, "{arguments:?}");
    }
}

#[test]
fn json_lines_are_events_as_they_were_received_or_rows_with_what_people_know_beside_them() {
    let event = temperature("a", "2026-11-23T10:00:00.000000Z", 1.5);
    let place = recording(std::slice::from_ref(&event));
    name(&place, "a", "temperature", r#"{"name":"Freezer","room":"101"}"#);
    for more in [&[][..], &["--latest"]] {
        let found = |people: &[&str]| lines(&place.run(&[&["export", "--format", "ndjson"], more, people].concat()).stdout);
        assert_eq!(found(&[]), lines(&event));
        let row = &found(&["--names", "--with-labels", "room"])[0];
        let told = ["device_id", "device_name", "room", "event_type"].map(|column| row[column].as_str().unwrap());
        assert_eq!((told, row["temperature"].as_f64()), (["a", "Freezer", "101", "temperature"], Some(1.5)));
    }
}

#[test]
fn a_file_of_tabs_has_tabs() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.5)]);
    let file = place.path("out.TSV").display().to_string();
    for (more, row) in [
        (&[][..], "2026-11-23T10:00:00.000000Z\ta\tp\t1.5"),
        (&["--for-excel", "de-DE", "--tz", "UTC"], "2026-11-23 10:00:00,000\ta\tp\t1,5"),
        (&["--delimiter", ";"], "2026-11-23T10:00:00.000000Z;a;p;1.5"),
    ] {
        export(&place, &[&["-o", &file, "--force"], more].concat());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().nth(1).unwrap().starts_with(row), "{more:?}: {text}");
    }
    // The ending of a folder says nothing.
    let folder = place.path("folder.tsv");
    export(&place, &["-o", folder.to_str().unwrap(), "--partition-by", "type"]);
    assert!(std::fs::read_to_string(folder.join("temperature.csv")).unwrap().starts_with("time,device_id,"));
}

#[test]
#[cfg_attr(not(feature = "workbooks"), ignore = "asks for what this build is made without")]
fn flags_of_one_format_are_no_flags_of_another() {
    let place = recording(&[temperature("a", "2026-11-23T10:00:00.000000Z", 1.0)]);
    let flags = [
        &["--for-excel", "de-DE"][..],
        &["--delimiter", ";"],
        &["--decimal", ","],
        &["--time-format", "unix"],
        &["--null", "NA"],
        &["--bom"],
        &["--crlf"],
        &["--no-defuse"],
    ];
    for format in ["ndjson", "parquet", "arrow", "xlsx"] {
        for flag in flags {
            refused(&place, &[&["--format", format], flag].concat(), &format!("{} is for CSV", flag[0]));
        }
    }
    refused(&place, &["--sheet-rows", "100"], "--sheet-rows is for a workbook");
    export(&place, &["--format", "ndjson", "--tz", "Europe/Oslo"]);
}

#[test]
fn several_types_do_not_fit_a_file_of_one_and_a_directory_of_them_says_how_it_is_read() {
    let place = recording(&[
        temperature("a", "2026-11-23T10:00:00.000000Z", 1.0),
        state("contact", "c", "2026-11-23T10:00:00.000000Z", "OPEN"),
    ]);
    refused(&place, &["--format", "parquet"], "2 event types do not fit one file");
    for (by, first) in [("type", "contact.parquet"), ("day", "contact"), ("hive", "event_type=contact")] {
        let out = place.path(by).display().to_string();
        let by = ["--format", "parquet", "--partition-by", by, "-o", &out];
        ends(&place, &by, 0, &format!("such as {out}/{first}, or all of them in DuckDB with union_by_name=true"));
        let ran = place.run(&[&["export", "--force", "--event-type", "contact"], &by[..]].concat());
        assert!(ran.code == 0 && !ran.stderr.contains("union_by_name"), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn nothing_is_written_into_the_recording_itself_whichever_way_leads_there() {
    let place = recording(&[
        temperature("a", "2026-11-23T10:00:00.000000Z", 1.0),
        event("data", "a", "2026-11-23T10:00:00.000000Z", "{}"),
    ]);
    std::os::unix::fs::symlink(place.dir().join("data"), place.path("link")).unwrap();
    let before = place.day_files();
    let within = |path: &str| place.path(path).display().to_string();
    for path in [
        "recording/data/x.csv",
        "recording/data/",
        "recording/data/temperature/new/x.csv",
        "recording/state/x.csv",
        "recording/nowhere/../data/x.csv",
        "recording/devices.parquet",
        "link/x.csv",
        "link/temperature/../../state/x.csv",
    ] {
        refused(&place, &["-o", &within(path), "--force"], "the recording's own");
        let ran = place.run(&["sql", "-o", &within(path)]);
        assert!(ran.code == 2 && ran.stderr.contains("the recording's own"), "{path}: {}", ran.stderr);
    }
    let (svg, html) = (within("recording/data/x.svg"), within("link/x.html"));
    for verb in [&["plot", "--event-type", "temperature", "-o", &svg][..], &["report", "-o", &html]] {
        let ran = place.run(verb);
        assert!(ran.code == 2 && ran.stderr.contains("the recording's own"), "{verb:?}: {}", ran.stderr);
    }
    // Nor into another one.
    let other = recording(&[temperature("b", "2026-11-23T10:00:00.000000Z", 1.0)]);
    for path in ["data/x.csv", "data/temperature/", "state/x.csv", "nowhere/../data/x.csv"] {
        refused(&place, &["-o", &other.dir().join(path).display().to_string()], "the recording's own");
    }
    export(&place, &["-o", &other.dir().join("x.csv").display().to_string()]);
    // A type that is called like the folder.
    refused(&place, &["-o", &within("recording/"), "--partition-by", "day", "--event-type", "data"], "the recording's own");
    assert_eq!(place.day_files(), before);
    // Beside them there is room.
    export(&place, &["-o", &within("recording/x.csv")]);
    export(&place, &["-o", &within("recording/data/../database.csv")]);
    let mut command = overnight();
    let ran = command.args(["export", "--dir", "../.."]).current_dir(place.dir().join("data/temperature")).output().unwrap();
    assert!(ran.status.success(), "standard output is no file");
}

#[test]
fn a_table_is_no_wider_than_a_spreadsheet() {
    let hour = |device: u32| if device < 16_383 { 10 } else { 12 };
    let event = |device| temperature(&format!("d{device:05}"), &format!("2026-11-23T{}:00:00.000000Z", hour(device)), 1.0);
    let place = recording(&(0..20_000).map(event).collect::<Vec<_>>());
    refused(&place, &["--wide", "temperature"], "20,001 columns here, and no spreadsheet has more than 16,384; choose devices");
    refused(&place, &["--wide", "temperature", "--every", "1h"], "20,001 columns here");
    refused(&place, &["--wide", "temperature", "--every", "1h", "--agg", "min,max"], "40,001 columns here");
    for shape in [&["--wide", "temperature"][..], &["--wide", "temperature", "--every", "1h"]] {
        let widest = export(&place, &[shape, &["--end", "2026-11-23T12:00"]].concat());
        assert_eq!(widest[1].matches(",1").count(), 16_383);
    }
}

#[cfg(unix)]
#[test]
fn a_set_of_files_that_was_interrupted_says_that_it_is_not_complete() {
    let place = Place::new();
    let noon = |day: i64| (jiff::Timestamp::UNIX_EPOCH + jiff::Span::new().hours(24 * (20_000 + day) + 12)).to_string();
    let ran = place.import((0..600).map(|day| temperature("a", &noon(day), 1.0)).collect::<String>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let out = place.path("out");
    let mut command = overnight();
    command.args(["export", "--format", "parquet", "--partition-by", "day", "-o"]).arg(&out).arg("--dir").arg(place.dir());
    let mut running = Running::start(&mut command);
    until("there is a file", || out.join("temperature/2024-10-04.parquet").exists());
    running.signal("-INT");
    let ran = running.wait();
    let files: Vec<_> = std::fs::read_dir(out.join("temperature")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(ran.code == 130 && files.len() < 600, "{} files, {ran:?}", files.len());
    assert!(files.iter().all(|path| path.extension().unwrap() == "parquet"), "{files:?}");
    let are = if files.len() == 1 { "file is" } else { "files are" };
    let count = overnight::base::text::count(files.len() as u64);
    let said = format!("{count} {are} complete, the others are missing (the same command with --force begins anew)");
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
}

#[test]
fn a_state_that_a_wrong_clock_told_lasts_no_longer_than_anything_is_known() {
    for wrong in ["1970-01-01", "2010-06-01"] {
        let place = recording(&[
            state("contact", "door", &format!("{wrong}T00:00:00.000000Z"), "OPEN"),
            state("contact", "door", "2026-11-23T10:00:00.000000Z", "CLOSED"),
            state("contact", "door", "2026-11-23T12:00:00.000000Z", "OPEN"),
        ]);
        let days = export(&place, &["--every", "1d", "--event-type", "contact"]);
        let of = |day: &str, told: &str| format!("{day}T00:00:00.000000Z,door,{told},contact");
        assert_eq!(days[1..], [of(wrong, "0,0,0,1"), of("2026-11-23", "7200,1,0,1")], "{days:?}");
        let from = export(&place, &["--every", "1d", "--event-type", "contact", "--start", "2026-11-23"]);
        assert_eq!(from[1..], [of("2026-11-23", "7200,1,0,1")], "{from:?}");
    }
}
