//! Rotation, gaps, backfill: a recording without holes, or a ledger that names them.

use serde_json::Value;

use crate::support::{Cloud, Place, Running, by_key, overnight, until};

/// The one event type that the cloud's history does not hold.
pub fn is_not_in_history(event: &Value) -> bool {
    event["eventType"] == "labelsChanged"
}

pub fn record(place: &Place, cloud: &Cloud, arguments: &[&str]) -> Running {
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--api-url", &cloud.url]).args(arguments).arg("--dir").arg(place.dir());
    Running::start(&mut command)
}

/// Records everything, and is killed once some of it is kept.
pub fn kill_in_the_middle(place: &Place, cloud: &Cloud) {
    let mut recorder = record(place, cloud, &[]);
    until("events are kept", || place.so_far("events").as_u64().is_some_and(|events| events > 200));
    recorder.child.kill().unwrap();
    recorder.wait();
}

/// Kills a recorder, and lets the cloud publish so many events that nobody hears.
pub fn leave_a_gap(place: &Place, cloud: &Cloud, events: usize) {
    kill_in_the_middle(place, cloud);
    let published = cloud.truth().len();
    until("the cloud goes on", || cloud.truth().len() > published + events);
}

#[test]
fn rotation_alone_loses_nothing_on_a_server_that_allows_two_streams() {
    let cloud = Cloud::start(&["--rate", "300", "--session-life", "4s"]);
    let place = Place::new();
    let ran = record(&place, &cloud, &["--rotate-after", "1s", "--no-backfill", "--for", "9s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("came twice and stand once"), "{}", ran.stderr);
    assert_eq!(cloud.most_streams(), 2, "the old session goes when the new one has spoken");
    let recorded = place.events();
    place.holds_everything(&cloud, |_| false);
    assert!(recorded.len() > 2000, "only {} events", recorded.len());
    assert_eq!(place.gaps(), Vec::<Value>::new());
}

#[test]
fn what_comes_out_of_order_is_not_lost_at_a_rotation() {
    // Every other event comes up to 60 others late: a fifth of a second.
    let cloud = Cloud::start(&["--rate", "300", "--reorder", "60"]);
    let place = Place::new();
    let ran = record(&place, &cloud, &["--rotate-after", "1s", "--no-backfill", "--for", "8s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let recorded = place.events();
    let times = || recorded.iter().map(|event| event["timestamp"].as_str().unwrap());
    let (first, last) = (seconds(times().min().unwrap()) + 2.0, seconds(times().max().unwrap()) - 2.0);
    // What was late at the first opening and at the end nobody could hear.
    place.holds_everything(&cloud, |event| !(first..last).contains(&seconds(event["timestamp"].as_str().unwrap())));
    assert!(recorded.len() > 1500, "only {} events", recorded.len());
}

/// Seconds of the day of an RFC 3339 time.
fn seconds(time: &str) -> f64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<f64>().unwrap();
    part(11..13) * 3600.0 + part(14..16) * 60.0 + time[17..].trim_end_matches('Z').parse::<f64>().unwrap()
}

#[test]
fn what_is_missed_between_sessions_is_filled_from_history_while_the_stream_goes_on() {
    let cloud = Cloud::start(&["--rate", "300", "--devices", "13", "--session-life", "2s"]);
    let place = Place::with_quick_history();
    let ran = record(&place, &cloud, &["--for", "8s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let gaps = place.gaps();
    assert!(gaps.len() >= 2, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["state"] == "filled" && gap["ends"].is_string()), "{gaps:?}");
    place.holds_everything(&cloud, is_not_in_history);
    assert_eq!(place.status()["gaps"], 0);
    // The devices are known by now, with their names.
    assert!(place.dir().join("devices.parquet").exists());
}

#[test]
fn without_backfill_the_ledger_names_what_is_missing_and_every_surface_says_so() {
    let cloud = Cloud::start(&["--rate", "300", "--devices", "13", "--session-life", "2s"]);
    let place = Place::new();
    let ran = record(&place, &cloud, &["--no-backfill", "--for", "6s"]).wait();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("not filled yet"), "{}", ran.stderr);
    let gaps = place.gaps();
    assert!(!gaps.is_empty());
    // Whatever is missing lies within a gap of the ledger.
    let within = |event: &Value| {
        let time = event["timestamp"].as_str().unwrap();
        // A desk's time is cut to its second, up to a second before it was sent.
        gaps.iter()
            .any(|gap| gap["begins"].as_str().unwrap()[..19] <= time[..19] && time[..19] <= gap["ends"].as_str().unwrap()[..19])
    };
    place.holds_everything(&cloud, within);
    assert_eq!(place.run(&["status"]).code, 3);
    let export = place.run(&["export"]);
    assert!(export.code == 3 && export.stderr.contains("not filled yet"), "{}", export.stderr);
    assert_eq!(place.run(&["export", "--end", "2020-01-01"]).code, 3, "there is nothing");
    let shown = place.run(&["gaps"]);
    assert!(shown.stdout.contains('█') && shown.stdout.contains('·'), "{}", shown.stdout);
}

#[test]
fn a_recorder_that_was_killed_fills_the_time_that_it_was_dead() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "13"]);
    let place = Place::with_quick_history();
    leave_a_gap(&place, &cloud, 400);
    let ran = record(&place, &cloud, &["--for", "4s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let gaps = place.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((&gaps[0]["state"], &gaps[0]["cause"]), (&"filled".into(), &"the recorder stopped without a word".into()));
    place.holds_everything(&cloud, is_not_in_history);
}

#[test]
fn a_new_recording_takes_the_past_from_history_once() {
    let cloud = Cloud::start(&["--history", "2h", "--devices", "15"]);
    let place = Place::with_quick_history();
    let fill = || place.run(&["backfill", "--project", "demo", "--since", "3h", "--api-url", &cloud.url]);
    let ran = fill();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let first = by_key(&place.events()).len();
    assert!(first > 100, "{first} events: {}", ran.stderr);
    let events = place.events();
    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    let ran = fill();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(by_key(&place.events()).len() >= first);
    // What was asked for by hand is no gap.
    assert_eq!(place.gaps(), Vec::<Value>::new());
}

#[test]
fn an_hour_without_the_server_is_filled_when_it_comes_back() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "13", "--outage", "3s-8s"]);
    let place = Place::with_quick_history();
    let ran = record(&place, &cloud, &["--for", "11s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place.holds_everything(&cloud, is_not_in_history);
    let gaps = place.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["state"], "filled");
    assert!((3.0..12.0).contains(&gaps[0]["seconds"].as_f64().unwrap()), "{gaps:?}");
}

#[test]
fn a_history_that_may_not_be_read_leaves_the_gap_open_with_its_reason_until_it_may() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "13", "--session-life", "2s", "--no-history"]);
    let place = Place::with_quick_history();
    let recorder = record(&place, &cloud, &[]);
    let is_refused = |gap: &Value| gap["state"] == "open" && gap["why"].as_str().is_some_and(|why| why.contains("403"));
    until("two gaps are open, and say why", || place.gaps_so_far().iter().filter(|gap| is_refused(gap)).count() >= 2);
    let ran = recorder.terminate().0;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(place.gaps().iter().all(|gap| gap["state"] != "lost"));
    assert!(ran.stderr.contains("HTTP 403"), "{}", ran.stderr);
    drop(cloud);
    let cloud = Cloud::start(&["--history", "10m", "--devices", "13"]);
    let ran = record(&place, &cloud, &["--for", "2s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(place.gaps().iter().all(|gap| gap["state"] == "filled"));
}

#[test]
fn a_gap_is_filled_by_who_asks_for_what_was_wanted_and_not_for_less() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "5"]);
    let place = Place::with_quick_history();
    leave_a_gap(&place, &cloud, 200);
    // By a backfill of one type it is not; by a recorder of one type it is, since that asks for all types.
    let ran = record(&place, &cloud, &["--event-type", "co2", "--no-backfill", "--for", "1s"]).wait();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let ran = place.run(&["backfill", "--project", "demo", "--api-url", &cloud.url, "--since", "1h", "--event-type", "co2"]);
    assert_eq!((ran.code, &place.gaps()[0]["state"]), (3, &"open".into()), "{}", ran.stderr);
    let ran = record(&place, &cloud, &["--event-type", "co2", "--for", "1s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let gaps = place.gaps();
    assert!(gaps.iter().all(|gap| gap["state"] == "filled") && gaps[0]["events"].as_u64() > Some(150), "{gaps:?}");
}

#[test]
fn a_gap_that_a_backfill_by_hand_covers_is_filled_and_what_is_asked_for_is_none() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "5"]);
    let place = Place::with_quick_history();
    kill_in_the_middle(&place, &cloud);
    let ran = record(&place, &cloud, &["--no-backfill", "--for", "1s"]).wait();
    assert_eq!((ran.code, &place.gaps()[0]["state"]), (3, &"open".into()), "{}", ran.stderr);
    let ran = place.run(&["backfill", "--project", "demo", "--api-url", &cloud.url, "--since", "1h"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let gaps = place.gaps();
    assert_eq!((gaps.len(), &gaps[0]["state"]), (1, &"filled".into()), "{gaps:?}");
}

#[test]
fn what_was_asked_for_and_is_not_done_is_a_request_with_its_reason_and_goes_on_when_it_may() {
    let place = Place::with_quick_history();
    let backfill = |cloud: &Cloud| {
        let mut command = overnight();
        command.args(["backfill", "--project", "demo", "--since", "2h", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
        Running::start(&mut command)
    };
    let cloud = Cloud::start(&["--history", "1h", "--devices", "5", "--no-history"]);
    let running = backfill(&cloud);
    let requests = || place.coverage_so_far()["projects"][0]["requests"].as_array().cloned().unwrap_or_default();
    until("it says why", || requests().iter().any(|request| request["why"].as_str().is_some_and(|why| why.contains("403"))));
    let (ran, _) = running.terminate();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!((requests().len(), place.gaps()), (1, Vec::new()));
    drop(cloud);
    let cloud = Cloud::start(&["--history", "1h", "--devices", "5"]);
    assert_eq!(backfill(&cloud).wait().code, 0);
    assert_eq!((requests(), place.gaps()), (Vec::new(), Vec::new()));
    assert!(by_key(&place.events()).len() > 50);
}

#[test]
fn a_server_that_allows_one_stream_is_recorded_by_closing_first_and_backfill() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "13", "--session-life", "3s", "--streams-max", "1"]);
    let place = Place::with_quick_history();
    let ran = record(&place, &cloud, &["--rotate-after", "2s", "--for", "8s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("does not open yet"), "{}", ran.stderr);
    place.holds_everything(&cloud, is_not_in_history);
}

/// An hour of everything that can go wrong, in seconds. Slow enough for a busy machine: a cloud that sends single bytes must keep
/// up, since nobody can tell what it has not sent yet when a session ends.
fn everything_goes_wrong(seed: &str, accept: &str) {
    let cloud = Cloud::start(&[
        "--seed",
        seed,
        "--rate",
        "40",
        "--devices",
        "13",
        "--session-life",
        "5s",
        "--token-life",
        "7s",
        "--token-kills-stream",
        "--cut-every",
        "4s",
        "--stall-every",
        "9s",
        "--refuse",
        "0.15",
        "--refuse-auth-once",
        "--doubles",
        "0.05",
        "--reorder",
        "8",
        "--junk",
        "0.02",
        "--late",
        "0.05",
        "--streams-max",
        "2",
        "--requests-max",
        "10",
        "--one-byte",
    ]);
    let place = Place::with_quick_history();
    let mut command = overnight();
    command.env("DT_SERVICE_ACCOUNT_EMAIL", "demo@demo.serviceaccount.d21s.com");
    command.args(["record", "--project", "demo", "--api-url", &cloud.url, "--accept", accept, "--ping-interval", "1s"]);
    command.args(["--rotate-after", "3s", "--for", "16s", "--linger", "60s"]).arg("--dir").arg(place.dir());
    let ran = Running::start(&mut command).wait();
    assert!(ran.code == 0 || ran.code == 3, "{}", ran.stderr);
    let gaps = place.gaps();
    assert!(gaps.iter().all(|gap| gap["state"] == "filled"), "seed {seed}: {gaps:?}\n{}", ran.stderr);
    // What the cloud held back for its bad order is on its way when the recorder stops.
    let stopped = place.stopped_at();
    let held_back = |event: &Value| is_not_in_history(event) || event["timestamp"].as_str().unwrap()[..19] >= stopped[..19];
    place.holds_everything(&cloud, held_back);
}

#[test]
fn when_everything_goes_wrong_json_lines_are_recorded_once_without_an_open_gap() {
    everything_goes_wrong("1", "json");
}

#[test]
fn when_everything_goes_wrong_server_sent_events_are_recorded_once_without_an_open_gap() {
    everything_goes_wrong("2", "sse");
}

#[test]
fn when_everything_goes_wrong_another_way_it_is_recorded_all_the_same() {
    everything_goes_wrong("3", "json");
}

#[test]
fn a_backfill_that_was_killed_goes_on_where_it_was() {
    let cloud = Cloud::start(&["--history", "1h", "--devices", "20", "--requests-max", "2"]);
    let place = Place::with_quick_history();
    let mut command = overnight();
    command.args(["backfill", "--project", "demo", "--since", "2h", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
    let mut backfill = Running::start(&mut command);
    let done = || {
        let Ok(db) = rusqlite::Connection::open(place.dir().join("state/buffer.db")) else { return 0 };
        db.query_row("SELECT count(*) FROM fill_device WHERE outcome = 'done'", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    until("some devices are done", || done() >= 5);
    backfill.child.kill().unwrap();
    backfill.wait();
    let (before, asked) = (done(), cloud.history_requests());
    assert!(before < 20, "all {before} devices were done already");
    let ran = Running::start(&mut command).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let answered = cloud.history_requests() - asked;
    assert!(
        answered <= 20 + 20 - u64::try_from(before).unwrap() + cloud.rate_limited(),
        "{answered} requests after {before} were done"
    );
    assert_eq!(place.coverage()["projects"][0]["requests"], serde_json::json!([]));
    by_key(&place.events());
}

#[test]
fn a_reconciliation_brings_what_sensors_sent_late_while_nobody_listened() {
    let cloud = Cloud::start(&["--history", "30m", "--devices", "13"]);
    let place = Place::with_quick_history();
    std::fs::write(place.dir().join("overnight.toml"), "index_delay = \"1s\"\nreconcile = \"1s\"\n").unwrap();
    for _ in 0..2 {
        let ran = record(&place, &cloud, &["--for", "3s"]).wait();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let events = place.events();
    let oldest = events[0]["timestamp"].as_str().unwrap();
    let newest = events[events.len() - 1]["timestamp"].as_str().unwrap();
    assert!(by_key(&events).len() > 30 && oldest[..16] < newest[..16], "{} events from {oldest} to {newest}", events.len());
}
