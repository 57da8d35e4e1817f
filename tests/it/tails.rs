//! `overnight tail` beside a real recorder: each event as it is kept.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;

use crate::gaps::record;
use crate::support::{Cloud, Place, Running, by_key, lines, overnight, touch, until};

fn tail(place: &Place, arguments: &[&str]) -> Running {
    Running::start(overnight().arg("tail").args(arguments).arg("--dir").arg(place.dir()))
}

#[test]
fn each_event_is_shown_once_as_it_was_received_whatever_is_rolled_meanwhile() {
    let cloud = Cloud::start(&["--rate", "300"]);
    let place = Place::new();
    let recorder = record(&place, &cloud, &["--roll-every", "300ms", "--keep-every", "100ms"]);
    until("events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > 0));
    let tail_to = |file: &str, arguments: &[&str]| {
        let mut command = overnight();
        command.args(["tail", "--json", "-n", "100000"]).args(arguments).arg("--dir").arg(place.dir());
        Running::start(command.stdout(File::create(place.path(file)).unwrap()))
    };
    let (all, some) = (tail_to("all", &[]), tail_to("some", &["--event-type", "temperature"]));
    until("many events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > 1500));
    let (ran, _) = recorder.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let recorded = place.events();
    for (mut tail, file, of) in [(all, "all", None), (some, "some", Some("temperature"))] {
        let is_wanted = |event: &&Value| of.is_none_or(|of| event["eventType"] == of);
        let wanted: Vec<Value> = recorded.iter().filter(is_wanted).cloned().collect();
        let shown = || lines(&fs::read_to_string(place.path(file)).unwrap());
        until("all is shown", || shown().len() >= wanted.len());
        // What was shown twice would come behind it, and what is said of the end.
        std::thread::sleep(Duration::from_secs(6));
        tail.signal("-INT");
        let ran = tail.wait();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let shown = shown();
        assert!(by_key(&shown) == by_key(&wanted));
        assert_eq!(shown.len(), wanted.len());
        assert!(ran.stderr.contains("finished"), "who looks on is told of the end: {}", ran.stderr);
    }
}

#[test]
fn a_recorder_that_dies_is_told_and_the_one_that_follows_is_too() {
    let cloud = Cloud::start(&["--rate", "50"]);
    let place = Place::new();
    let mut recorder = record(&place, &cloud, &["--keep-every", "100ms"]);
    until("it is connected", || place.so_far("connected") == true);
    let mut tail = tail(&place, &["-n", "0", "--tz", "UTC"]);
    let mut errors = BufReader::new(tail.child.stderr.take().unwrap());
    // Whatever it says, it has looked once: lines come.
    let mut out = BufReader::new(tail.child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("20") && line.contains("  "), "{line:?}");
    recorder.child.kill().unwrap();
    recorder.wait();
    let mut said = String::new();
    while !said.contains("not recording") {
        said.clear();
        assert!(errors.read_line(&mut said).unwrap() > 0, "it ended");
    }
    let next = record(&place, &cloud, &["--keep-every", "100ms"]);
    while !said.contains("recording again") {
        said.clear();
        assert!(errors.read_line(&mut said).unwrap() > 0, "it ended");
    }
    drop(next);
}

#[test]
fn the_last_ones_are_shown_in_the_order_of_time_with_name_value_and_unit() {
    let place = Place::new();
    let temperature = |id: &str, at: &str, value: f64| {
        format!(
            r#"{{"eventId":"{id}","targetName":"projects/p/devices/d9","eventType":"temperature","data":{{"temperature":{{"value":{value},"updateTime":"{at}"}}}},"timestamp":"{at}","labels":{{}}}}"#
        )
    };
    let text = format!(
        "{}\n{}\n{}\n{}\n",
        touch("t1", 23, 3600),
        temperature("a", "2026-10-23T02:00:00Z", 9.4),
        touch("t2", 23, 10_800),
        temperature("b", "2026-10-24T00:00:00Z", -18.0)
    );
    assert_eq!(place.import(text).code, 0);
    let ran = place.run(&["tail", "-n", "3", "--no-follow", "--tz", "Europe/Oslo"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let shown: Vec<String> = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "2026-10-23 04:00:00 d9 temperature 9.4 °C",
        "2026-10-23 05:00:00 d0 touch",
        "2026-10-24 02:00:00 d9 temperature -18 °C",
    ];
    assert_eq!(shown, expected, "{}", ran.stdout);
    assert_eq!(place.run(&["tail", "-n", "0", "--no-follow"]).stdout, "");
    assert!(place.run(&["tail", "--no-follow", "--event-type", "temprature"]).code != 0);
}

#[test]
fn of_a_recording_that_nobody_writes_to_the_last_ones_are_shown_again_and_again() {
    let cloud = Cloud::start(&["--rate", "50"]);
    let place = Place::new();
    let mut recorder = record(&place, &cloud, &["--keep-every", "100ms"]);
    until("events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > 10));
    recorder.child.kill().unwrap();
    recorder.wait();
    // The first one finds what the dead one left, the next ones what a reader does.
    for _ in 0..3 {
        let mut tail = tail(&place, &["-n", "3", "--no-follow"]);
        until("it ends", || tail.child.try_wait().unwrap().is_some());
        let ran = tail.wait();
        assert_eq!((ran.code, ran.stdout.lines().count()), (0, 3), "{}", ran.stderr);
    }
}

#[test]
fn whoever_has_had_enough_ends_it_without_a_word() {
    let place = Place::new();
    assert_eq!(place.import(format!("{}\n", touch("t", 1, 1))).code, 0);
    let mut tail = tail(&place, &["--no-follow"]);
    drop(tail.child.stdout.take());
    let ran = tail.wait();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}
