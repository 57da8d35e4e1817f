//! Plots: what they must show, what they must not, and that they stay small.

use std::fs;
use std::sync::Arc;

use overnight::base::time::{Micros, SECOND};
use overnight::base::zone::Zone;
use overnight::output::chart::{Chart, Data, Line, Point, Screen, Size, Span, png, svg, terminal};
use unicode_width::UnicodeWidthStr;

use crate::support::{Place, Ran, overnight, write};

/// The night in which the clocks of Europe are set back: 2026-10-24T22:00Z.
const NIGHT: Micros = 1_792_879_200 * SECOND;
const MINUTE: Micros = 60 * SECOND;

fn event(device: &str, event_type: &str, time: Micros, data: &str) -> String {
    let time = overnight::base::time::rfc3339(time);
    format!(
        r#"{{"eventId":"{device}{time}","targetName":"projects/p/devices/{device}","eventType":"{event_type}","data":{{"{event_type}":{{{data}"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#
    ) + "\n"
}

fn temperature(device: &str, time: Micros, value: f64) -> String {
    event(device, "temperature", time, &format!(r#""value":{value:.2},"#))
}

/// From 0 to 1 and again from 0, in so many steps.
fn part(number: i64, steps: i32) -> f64 {
    f64::from(i32::try_from(number % i64::from(steps)).unwrap()) / f64::from(steps)
}

/// A temperature each minute of some minutes of the night.
fn temperatures(device: &str, minutes: impl Iterator<Item = i64>) -> String {
    minutes.map(|minute| temperature(device, NIGHT + minute * MINUTE, 20.0 + part(minute, 7))).collect()
}

/// Calls a device something, as the cloud's list of devices would.
fn call(place: &Place, device: &str, name: &str) {
    let buffer = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    let labels = serde_json::json!({ "name": name }).to_string();
    buffer.execute("INSERT INTO device VALUES ('p', ?, 'temperature', '', ?)", [device, &labels]).unwrap();
}

/// Loses some minutes of the night.
fn lose(place: &Place, (from, to): (i64, i64)) {
    place.note("lost", NIGHT + from * MINUTE, NIGHT + to * MINUTE);
}

fn recording(events: &str) -> Place {
    let place = Place::new();
    assert_eq!(place.import(events).code, 0);
    place
}

/// Draws an SVG and gives it.
fn drawn(place: &Place, arguments: &[&str]) -> (Ran, String) {
    let file = place.path("plot.svg");
    let ran = place.run(&[&["plot", "--force", "-o", file.to_str().unwrap()], arguments].concat());
    (ran, fs::read_to_string(&file).unwrap_or_default())
}

fn in_locale(place: &Place, locale: &str, arguments: &[&str]) -> Ran {
    let mut command = overnight();
    command.arg("plot").args(arguments).arg("--dir").arg(place.dir()).env("LC_ALL", locale);
    Ran::new(&command.output().unwrap())
}

fn lines_of(picture: &str, colour: &str) -> usize {
    picture.matches(&format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"")).count()
}

const BLUE: &str = "#0072b2";

#[test]
fn a_gap_breaks_the_line_is_shaded_and_is_told() {
    let place = recording(&temperatures("d", (0..60).chain(61..120)));
    let (ran, whole) = drawn(&place, &["--event-type", "temperature"]);
    assert_eq!((ran.code, lines_of(&whole, BLUE)), (0, 1), "{}", ran.stderr);
    assert!(!whole.contains("nothing recorded"));
    lose(&place, (59, 61));
    let (ran, torn) = drawn(&place, &["--event-type", "temperature"]);
    assert_eq!((ran.code, lines_of(&torn, BLUE)), (3, 2), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 gap lost"), "{}", ran.stderr);
    assert!(torn.contains("nothing recorded") && torn.contains("fill=\"#f1e0c2\""));
    let shown = in_locale(&place, "C.UTF-8", &["--event-type", "temperature"]);
    assert!(shown.stdout.contains("░ nothing recorded"), "{}", shown.stdout);
}

#[test]
fn a_device_that_fell_silent_has_a_hole_and_the_others_have_none() {
    let place = recording(&(temperatures("a", (0..30).chain(60..120)) + &temperatures("b", 0..120)));
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    assert_eq!((lines_of(&picture, BLUE), lines_of(&picture, "#d55e00")), (2, 1));
}

#[test]
fn axes_carry_units_and_the_local_time_through_a_change_of_clocks() {
    let place = recording(&temperatures("d", 120..300));
    let (_, picture) = drawn(&place, &["--event-type", "temperature", "--tz", "Europe/Oslo"]);
    assert!(picture.contains(">temperature, °C</text>"), "{picture}");
    assert!(picture.contains("25 Oct 2026 02:00 to 03:59, Europe/Oslo (UTC+02:00, later UTC+01:00)"), "{picture}");
    assert_eq!(picture.matches(">02:30</text>").count(), 2, "the hour comes twice");
    let shown = in_locale(&place, "C.UTF-8", &["--event-type", "temperature", "--tz", "Europe/Oslo"]).stdout;
    assert!(shown.contains("temperature, °C") && shown.matches("02:30").count() == 2, "{shown}");
}

#[test]
fn names_stand_in_the_key_and_do_no_harm() {
    let place = recording(&(temperatures("a", 0..60) + &temperatures("b", 0..60) + &temperatures("c", 0..60)));
    call(&place, "a", "<script>alert(1)</script>");
    call(&place, "b", "Møte & \"rom\"\u{1b}[31m\u{7}\u{202e}");
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    assert!(picture.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !picture.contains("<script"), "{picture}");
    assert!(picture.contains("Møte &amp; &quot;rom&quot; [31m") && picture.contains(">c</text>"), "{picture}");
    let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!picture.contains(odd));
    let shown = in_locale(&place, "C.UTF-8", &["--event-type", "temperature"]).stdout;
    // Each line has rows of its own, behind or below its name.
    assert!(shown.contains("<script>alert(1)") && shown.contains("Møte & \"rom\" [31m") && !shown.contains(odd), "{shown}");
}

#[test]
fn two_devices_of_one_name_are_told_apart() {
    let place = recording(&(temperatures("a", 0..60) + &temperatures("b", 0..60)));
    call(&place, "a", "Fridge");
    call(&place, "b", "Fridge");
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    assert!(picture.contains("Fridge (a)") && picture.contains("Fridge (b)"));
}

#[test]
fn eighty_columns_and_24_lines_are_enough_whatever_is_drawn() {
    let mut events = String::new();
    for device in 0..40 {
        let name = format!("d{device}");
        events += &temperatures(&name, 0..30);
        for minute in 0..20_i64 {
            let state = ["OPEN", "CLOSED"][usize::from((minute + device) % 3 == 0)];
            events += &event(&name, "contact", NIGHT + minute * MINUTE, &format!(r#""state":"{state}","#));
            events += &event(&name, "touch", NIGHT + minute * MINUTE, "");
        }
    }
    let place = recording(&events);
    call(&place, "d0", "冷蔵庫の温度センサー、地下室の一番奥の隅にあるもの");
    lose(&place, (12, 18));
    for locale in ["C.UTF-8", "C"] {
        for device in [&["--device", "d0"][..], &["--device", "d0", "--device", "d1"], &[]] {
            for event_type in ["temperature", "contact", "touch"] {
                let ran = in_locale(&place, locale, &[&["--event-type", event_type], device].concat());
                let widest = ran.stdout.lines().map(UnicodeWidthStr::width).max().unwrap();
                assert!((60..=80).contains(&widest), "{widest} columns\n{}", ran.stdout);
                assert!(ran.stdout.lines().count() <= 24, "{}", ran.stdout);
                assert!(locale != "C" || ran.stdout.is_ascii(), "{}", ran.stdout);
            }
        }
    }
}

#[test]
fn every_one_of_many_devices_is_drawn_and_no_chart_has_more_than_eight_lines() {
    let mut events: String = (0..40).map(|device| temperatures(&format!("d{device:02}"), 0..20)).collect();
    events += &(0..20).map(|minute| temperature("cooler", NIGHT + minute * MINUTE, 3.0)).collect::<String>();
    let place = recording(&events);
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    let charts: Vec<&str> = picture.split("font-weight=\"600\"").skip(1).collect();
    let lines = |chart: &&str| chart.matches("stroke-width=\"1.6\"").count();
    assert_eq!(charts.iter().map(lines).collect::<Vec<_>>(), [1, 8, 8, 8, 8, 8], "{picture}");
    assert!((0..40).all(|device| picture.contains(&format!(">d{device:02}</text>"))) && picture.contains(">cooler</text>"));
    // The cooler does not squeeze the others flat.
    assert!(charts[0].contains(">cooler</text>") && charts[1].contains(">20.2</text>"), "{}", charts[1]);
}

#[test]
fn a_quantity_is_that_of_every_event_type_that_measures_it() {
    let humid = |minute: i64| event("h", "humidity", NIGHT + minute * MINUTE, r#""temperature":21.5,"relativeHumidity":40,"#);
    let place = recording(&(temperatures("t", 0..20) + &(0..20).map(humid).collect::<String>()));
    let (ran, picture) = drawn(&place, &["--quantity", "temperature"]);
    assert!(
        picture.contains(">t</text>") && picture.contains(">h</text>") && picture.contains("temperature, °C"),
        "{}",
        ran.stderr
    );
    let (_, picture) = drawn(&place, &["--quantity", "humidity.temperature"]);
    assert!(!picture.contains(">t</text>") && picture.contains(">h</text>"), "{picture}");
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    assert!(picture.contains(">t</text>") && !picture.contains(">h</text>"), "{picture}");
    let ran = place.run(&["plot", "--quantity", "pressure"]);
    assert!(ran.code != 0 && ran.stderr.contains("no value \"pressure\""), "{}", ran.stderr);
}

#[test]
fn more_devices_than_a_picture_can_show_are_refused_with_what_to_do() {
    let place = recording(&(0..97).map(|device| temperatures(&format!("d{device:02}"), 0..2)).collect::<String>());
    let file = place.path("plot.svg");
    let ran = place.run(&["plot", "--event-type", "temperature", "-o", file.to_str().unwrap()]);
    assert!(
        ran.code == 2 && ran.stderr.contains("97 devices") && ran.stderr.contains("--label") && !file.exists(),
        "{}",
        ran.stderr
    );
    // A terminal says how many it leaves out.
    let shown = in_locale(&place, "C.UTF-8", &["--event-type", "temperature"]).stdout;
    assert!(shown.contains("more: --device, --label"), "{shown}");
}

#[test]
fn devices_of_a_room_stand_in_one_chart_that_is_called_like_it() {
    let names: Vec<String> = (0..12).map(|device| format!("d{device:02}")).collect();
    let place = recording(&names.iter().map(|name| temperatures(name, 0..20)).collect::<String>());
    let buffer = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    for (number, name) in names.iter().enumerate() {
        let room = ["Cellar", "Attic"][number % 2];
        let labels = serde_json::json!({ "name": format!("Sensor {number}"), "room": room }).to_string();
        buffer.execute("INSERT INTO device VALUES ('p', ?, 'temperature', '', ?)", [name, &labels]).unwrap();
    }
    let (_, picture) = drawn(&place, &["--event-type", "temperature"]);
    let (attic, cellar) =
        (picture.find("temperature, °C  ·  Attic").unwrap(), picture.find("temperature, °C  ·  Cellar").unwrap());
    assert!(attic < cellar && (attic..cellar).contains(&picture.find(">Sensor 1</text>").unwrap()), "{picture}");
    let some = ["--device", "Sensor 0", "--device", "Sensor 1"];
    let (_, picture) = drawn(&place, &[&["--event-type", "temperature"], &some[..]].concat());
    assert!(picture.contains(">Sensor 0 · Cellar</text>") && picture.contains(">Sensor 1 · Attic</text>"), "{picture}");
}

/// How long all bars of a colour are together.
fn bars_of(picture: &str, colour: &str) -> f64 {
    // All boxes of a state are one path: M x y h width v height …
    let paths = picture.lines().filter(|line| line.starts_with("<path") && line.contains(colour));
    let widths = paths.flat_map(|line| line.split('M').skip(1));
    widths.map(|part| part.split(['h', 'v']).nth(1).unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn what_a_clock_that_runs_ahead_tells_is_no_time_in_a_state() {
    let now = overnight::base::time::now();
    let contact = |device: &str, minute: i64, state: &str| {
        event(device, "contact", now + minute * MINUTE, &format!(r#""state":"{state}","#))
    };
    let told = contact("d", -300, "OPEN") + &contact("d", -240, "CLOSED") + &contact("e", -1, "CLOSED");
    let place = recording(&(told + &contact("d", 60, "OPEN") + &contact("d", 180, "CLOSED")));
    let (_, picture) = drawn(&place, &["--event-type", "contact"]);
    let (open, closed) = (bars_of(&picture, "#0072b2"), bars_of(&picture, "#c9d6e2"));
    assert!(open > 100.0 && (closed / open - 239.0 / 60.0).abs() < 0.05, "open 60 minutes, closed 239: {open} and {closed}");
}

#[test]
fn states_are_strips_that_know_what_was_before_the_span() {
    let contact = |minute: i64, state: &str| event("d", "contact", NIGHT + minute * MINUTE, &format!(r#""state":"{state}","#));
    // Of the time up to the last event of all it is known that the door did not move.
    let four_days = NIGHT + 4 * 24 * 60 * MINUTE;
    let place = recording(&(contact(0, "OPEN") + &contact(100, "CLOSED") + &temperature("t", four_days, 20.0)));
    call(&place, "d", "Back door");
    let start = overnight::base::time::rfc3339(NIGHT + 60 * MINUTE);
    let end = overnight::base::time::rfc3339(NIGHT + 140 * MINUTE);
    let (_, picture) = drawn(&place, &["--event-type", "contact", "--start", &start, "--end", &end]);
    for text in [">Back door</text>", ">OPEN</text>", ">CLOSED</text>"] {
        assert!(picture.contains(text), "no {text} in {picture}");
    }
    let bar = |colour: &str| bars_of(&picture, colour);
    let (open, closed) = (bar("#0072b2"), bar("#c9d6e2"));
    assert!(open > 100.0 && (open - closed).abs() < 1.0, "open 40 minutes, closed 40 minutes: {open} and {closed}");
    // Whether or not it moved at all.
    let late = overnight::base::time::rfc3339(NIGHT + 3 * 24 * 60 * MINUTE);
    let later = overnight::base::time::rfc3339(four_days);
    let (ran, picture) = drawn(&place, &["--event-type", "contact", "--start", &late, "--end", &later]);
    assert!(picture.contains(">CLOSED</text>") && !picture.contains(">OPEN</text>"), "{}", ran.stderr);
    // Unless nobody recorded in between.
    lose(&place, (20, 30));
    let (_, picture) = drawn(&place, &["--event-type", "contact", "--start", &start, "--end", &end]);
    assert!(!picture.contains("#0072b2"), "{picture}");
}

#[test]
fn a_png_is_one_and_has_the_size_that_was_asked() {
    let place = recording(&temperatures("d", 0..60));
    let file = place.path("plot.png");
    let size = |arguments: &[&str]| {
        let ran =
            place.run(&[&["plot", "--force", "--event-type", "temperature", "-o", file.to_str().unwrap()], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let bytes = fs::read(&file).unwrap();
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&bytes[bytes.len() - 8..bytes.len() - 4], b"IEND");
        let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        (side(16), side(20))
    };
    assert_eq!(size(&["--size", "640x480"]), (640, 480));
    assert_eq!(size(&["--size", "3000x200"]), (3000, 200), "letters grow only as far as there is room");
    assert_eq!(size(&[]).0, 2000);
    let ran = place.run(&["plot", "--event-type", "temperature", "-o", "x.png", "--size", "0x99999"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn nothing_is_replaced_unasked_and_nothing_half_done_is_left() {
    let place = recording(&temperatures("d", 0..60));
    for name in ["plot.svg", "plot.png"] {
        let file = place.path(name);
        write(&file, "mine");
        let arguments = ["plot", "--event-type", "temperature", "-o", file.to_str().unwrap()];
        let ran = place.run(&arguments);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("exists already"), "{}", ran.stderr);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert_eq!(place.run(&[&arguments[..], &["--force"]].concat()).code, 0);
        assert_ne!(fs::read(&file).unwrap(), b"mine");
    }
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let place = recording(&(temperatures("d", 0..60) + &event("d", "touch", NIGHT, "")));
    let ran = place.run(&["plot"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("the recording has temperature, touch"), "{}", ran.stderr);
    let ran = place.run(&["plot", "--event-type", "temperature", "-o", "plot.pdf"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("FILE.svg or FILE.png"), "{}", ran.stderr);
    let ran = place.run(&["plot", "--event-type", "temperature", "--start", "2030-01-01"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("no events: the recording has 61 events"), "{}", ran.stderr);
    let ran = place.run(&["plot", "--event-type", "co2"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no events of type \"co2\""), "{}", ran.stderr);
}

#[test]
fn a_size_in_which_nothing_could_be_read_is_refused_and_the_smallest_is_named() {
    let mut events = String::new();
    for device in 0..30 {
        let name = format!("d{device}");
        events += &temperatures(&name, 0..20);
        events += &event(&name, "touch", NIGHT, "");
        events += &event(&name, "contact", NIGHT, r#""state":"OPEN","#);
    }
    let place = recording(&events);
    for ending in ["svg", "png"] {
        let file = place.path(&format!("plot.{ending}"));
        let drawn = |size: &str| {
            let types = ["temperature", "touch", "contact"].map(|event_type| ["--event-type", event_type]).concat();
            place.run(&[&["plot", "--force", "-o", file.to_str().unwrap(), "--size", size], &types[..]].concat())
        };
        for size in ["100x100", "4000x200", "1000x450"] {
            let ran = drawn(size);
            assert!(ran.code == 2 && !file.exists(), "{}", ran.stderr);
            let named = ran.stderr.split_once("give --size ").unwrap().1.split(' ').next().unwrap().to_owned();
            let ran = drawn(&named);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            fs::remove_file(&file).unwrap();
        }
    }
}

#[test]
fn a_png_says_so_where_its_font_lacks_a_letter() {
    let place = recording(&temperatures("d", 0..60));
    let said = |ending: &str| {
        let file = place.path(&format!("plot.{ending}"));
        place.run(&["plot", "--force", "--event-type", "temperature", "-o", file.to_str().unwrap()]).stderr
    };
    assert!(!said("png").contains("letters"));
    call(&place, "d", "冷蔵庫");
    assert!(said("png").contains("warning: the font of PNG pictures lacks some letters of \"冷蔵庫\""), "{}", said("png"));
    assert!(!said("svg").contains("letters"));
    place.import(temperatures("e", 0..60));
    call(&place, "e", "冷凍庫");
    assert!(said("png").contains("lacks some letters of \"冷凍庫\", \"冷蔵庫\"; an SVG"), "{}", said("png"));
}

#[test]
fn charts_of_one_picture_have_the_same_axis_of_time_at_the_same_place() {
    let place = recording(&(temperatures("d", 0..60) + &event("e", "touch", NIGHT, "") + &event("d", "touch", NIGHT, "")));
    call(&place, "e", "The door with the long name");
    let types = ["--event-type", "temperature", "--event-type", "touch"];
    let (ran, picture) = drawn(&place, &types);
    assert!(ran.stderr.contains("of 2 devices"), "{}", ran.stderr);
    // Axes are lines from the left to the right.
    let axes: Vec<&str> = picture.lines().filter(|line| line.contains("stroke=\"#8a939b\"") && line.contains("L986 ")).collect();
    let left = |axis: &&str| axis.split_once("d=\"M").unwrap().1.split(' ').next().unwrap().to_owned();
    assert_eq!(axes.len(), 2, "{picture}");
    assert_eq!(left(&axes[0]), left(&axes[1]));
    let shown = in_locale(&place, "C.UTF-8", &types).stdout;
    let corners: Vec<usize> = shown.lines().filter_map(|line| Some(line.split_once('└')?.0.chars().count())).collect();
    assert!(corners.len() == 2 && corners[0] == corners[1], "{shown}");
    let page = place.run(&["report", "-o", "-"]).stdout;
    let lefts = page.lines().filter(|line| line.contains("stroke=\"#8a939b\"") && line.contains("L1126 "));
    let lefts: Vec<String> = lefts.map(|axis| left(&axis)).collect();
    assert!(lefts.len() == 2 && lefts[0] == lefts[1], "{lefts:?}");
}

#[test]
fn several_event_types_stand_in_one_picture_on_one_axis_of_time() {
    let place = recording(&(temperatures("d", 0..60) + &event("d", "touch", NIGHT + 90 * MINUTE, "")));
    let (_, picture) = drawn(&place, &["--event-type", "temperature", "--event-type", "touch"]);
    assert_eq!(picture.matches("<svg").count(), 1);
    assert_eq!(picture.matches("24 Oct 2026 22:00 to 23:30, UTC").count(), 2, "{picture}");
}

#[test]
fn the_range_that_was_asked_is_the_range_of_the_axis() {
    let place = recording(&temperatures("d", 0..60));
    let (ran, picture) = drawn(&place, &["--event-type", "temperature", "--start", "2026-10-24", "--end", "2026-10-26"]);
    assert!(picture.contains("24 Oct 2026 00:00 to 26 Oct 2026 00:00, UTC"), "{picture}");
    assert!(ran.code == 0 && picture.contains("nothing recorded"), "{}", ran.stderr);
    // An end that is still to come is now.
    let (_, picture) = drawn(&place, &["--event-type", "temperature", "--start", "2026-10-24", "--end", "2999-01-01"]);
    assert!(!picture.contains("2999"), "{picture}");
}

#[test]
fn a_hundred_thousand_events_are_a_small_picture_that_still_shows_the_worst_of_them() {
    let value = |second: i64| if second == 77_777 { 60.0 } else { 20.0 + part(second, 100) };
    let place =
        recording(&(0..100_000).map(|second| temperature("d", NIGHT + second * SECOND, value(second))).collect::<String>());
    let (ran, picture) = drawn(&place, &["--event-type", "temperature"]);
    assert_eq!(ran.code, 0);
    assert!(picture.len() < 60_000, "{} bytes", picture.len());
    assert!(picture.contains(">60</text>"), "the axis does not reach the highest");
    let shown = in_locale(&place, "C.UTF-8", &["--event-type", "temperature"]);
    assert!(shown.stdout.len() < 8_000);
    let state = |second: i64| if second % 3 == 0 { r#""state":"OPEN","# } else { r#""state":"CLOSED","# };
    let place =
        recording(&(0..100_000).map(|second| event("d", "contact", NIGHT + second * SECOND, state(second))).collect::<String>());
    let (_, picture) = drawn(&place, &["--event-type", "contact"]);
    assert!((10_000..120_000).contains(&picture.len()), "{} bytes", picture.len());
}

fn chart(lines: Vec<Line>, span: (Micros, Micros)) -> Chart {
    let (title, axis, part) = ("t".to_owned(), "t, °C".to_owned(), String::new());
    Chart { title, axis, part, zone: Zone::utc(), span, lines, gaps: Vec::new() }
}

#[test]
fn nothing_and_one_point_and_the_same_all_night_are_pictures_too() {
    let point = |time: Micros, value: f64| Point { time, value, min: value, max: value };
    let line = |data: Data| vec![Line { device: "d".to_owned(), name: "d".to_owned(), room: String::new(), data }];
    let flat = |value: f64| line(Data::Numbers(vec![(0..9).map(|at| point(at * MINUTE, value)).collect()]));
    let states = |from, to| line(Data::States(vec![Span { from, to, state: Arc::from("OPEN"), part: 1.0 }]));
    let charts = [
        chart(Vec::new(), (0, 0)),
        chart(line(Data::Numbers(Vec::new())), (0, MINUTE)),
        chart(line(Data::Numbers(vec![vec![point(5, 21.0)]])), (5, 5)),
        chart(line(Data::Steps(vec![vec![point(5, 0.0)], vec![point(9, f64::NAN)]])), (5, 9)),
        chart(flat(0.0), (0, 9 * MINUTE)),
        chart(flat(-21.0), (0, 9 * MINUTE)),
        chart(flat(1e300), (0, 9 * MINUTE)),
        chart(flat(f64::INFINITY), (0, 9 * MINUTE)),
        chart(states(7, 7), (7, 7)),
        chart(states(Micros::MIN, Micros::MAX), (Micros::MIN, Micros::MAX)),
        chart(line(Data::Moments(vec![5])), (5, 5)),
    ];
    let all: Vec<&Chart> = charts.iter().collect();
    for size in [Size::fitting(&all, 1000), Size { width: 1, height: 1 }, Size { width: 300, height: 100 }] {
        for chart in &charts {
            let picture = svg(&[chart], size);
            assert!(!picture.contains("NaN") && !picture.contains("inf") && picture.contains("</svg>"), "{picture}");
            png(&[chart], size, 1.0).unwrap();
        }
        png(&all, size, 2.0).unwrap();
    }
    for chart in &charts {
        for (has_unicode, has_colour) in [(true, true), (true, false), (false, false)] {
            let shown = terminal(&[chart], &Screen { width: 80, height: 24, has_colour, has_unicode });
            assert!(shown.lines().count() > 2, "{shown}");
        }
    }
    assert!(png(&all, Size { width: 0, height: 5 }, 1.0).is_err());
}
