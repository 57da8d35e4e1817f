//! The ledger, driven from outside: what is wanted, less what was heard, less what was filled, is a gap, whatever happens to the
//! recorder, the cloud, the clock and the history.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake::{EMPTY, Fake, answer};
use crate::gaps::{is_not_in_history, leave_a_gap, record};
use crate::recovery::copy;
use crate::support::{Cloud, Place, Ran, Running, by_key, overnight, touch, until, write};

const EMAIL: &str = "demo@demo.serviceaccount.d21s.com";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn micros(time: &Value) -> i64 {
    overnight::base::time::parse_rfc3339(text(time).as_bytes()).unwrap().time
}

fn is_connected(place: &Place) -> bool {
    place.so_far("connected") == true
}

/// A recorder that has heard of the cloud.
fn connected(place: &Place, cloud: &Cloud, arguments: &[&str]) -> Running {
    // While it opens the buffer, what a killed one left may pass for its own.
    let time = |field: &str| Some(place.so_far(field)).filter(Value::is_string).map(|time| micros(&time));
    let before = time("last_sign_of_life_at");
    let recorder = record(place, cloud, arguments);
    until("it is connected", || time("connected_since") > before);
    recorder
}

fn kill(mut recorder: Running) -> Ran {
    recorder.child.kill().unwrap();
    recorder.wait()
}

/// Waits until there are gaps, and all of them are filled.
fn all_filled(place: &Place) {
    until("all is filled", || {
        let gaps = place.gaps_so_far();
        !gaps.is_empty() && gaps.iter().all(|gap| gap["state"] == "filled")
    });
}

/// A place whose recorder asks the history again so soon.
fn with_history(settings: &str) -> Place {
    let place = Place::with_quick_history();
    write(&place.dir().join("overnight.toml"), format!("index_delay = \"1500ms\"\n{settings}\n"));
    place
}

fn backfill(place: &Place, cloud: &Cloud, arguments: &[&str]) -> Ran {
    place.run(&[&["backfill", "--project", "demo", "--api-url", &cloud.url], arguments].concat())
}

/// Every surface says that nobody records the project, and since when.
fn everybody_says_that_nobody_records(place: &Place) {
    let coverage = place.coverage();
    let dead = &coverage["nobody_records"][0];
    let gaps = coverage["projects"][0]["gaps"].as_array().unwrap();
    let last = gaps.last().expect("a gap");
    assert_eq!((text(&dead["project"]), &last["ends"], &last["begins"]), ("demo", &Value::Null, &dead["since"]), "{coverage}");
    assert_eq!(place.status()["last_sign_of_life_at"], dead["since"]);
    assert_eq!(place.status()["nobody_records"], coverage["nobody_records"]);
    for verb in ["gaps", "status", "verify"] {
        let ran = place.run(&[verb]);
        let said = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.code == 3 && said.contains("nobody records demo since 20"), "{verb}: {ran:?}");
    }
}

#[test]
fn a_refusal_at_a_reconnect_is_an_outage_said_loudly_a_gap_meanwhile_and_filled_afterwards() {
    let refused = |habits: &[&str], word: &str| {
        let cloud = Cloud::start(&[&["--rate", "60", "--devices", "5"], habits].concat());
        let place = Place::with_quick_history();
        let mut command = overnight();
        command.args(["record", "--project", "demo", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
        if word.starts_with("signing") {
            command.env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL);
        }
        let recorder = Running::start(&mut command);
        let is = |gap: &Value, state: &str| text(&gap["cause"]).contains(word) && gap["state"] == state;
        until(word, || place.gaps_so_far().iter().any(|gap| is(gap, "open") && gap["ends"].is_null()));
        until("it is filled", || place.gaps_so_far().iter().any(|gap| is(gap, "filled")));
        let (ran, _) = recorder.terminate();
        assert!(ran.stderr.contains("REFUSED") && ran.stderr.contains(word), "{}", ran.stderr);
        ran.code == 0
    };
    std::thread::scope(|scope| {
        for status in ["400", "401", "403", "404"] {
            let spell = format!("{status}:4s-8s");
            scope.spawn(move || assert!(refused(&["--refuse-streams", &spell], &format!("HTTP {status}"))));
        }
        let habits = ["--session-life", "3s", "--token-life", "3s", "--refuse-token", "400:3s-7s"];
        scope.spawn(move || refused(&habits, "signing in: HTTP 400"));
    });
}

#[test]
fn a_project_that_is_none_ends_and_uncovers_nothing_of_the_others_and_the_exit_code_tells_at_the_end() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::new();
    let ran = record(&place, &cloud, &["--project", "nowhere", "--no-backfill", "--for", "4s"]).wait();
    assert!(ran.code == 1 && ran.stderr.contains("no project \"nowhere\""), "{ran:?}");
    place.holds_everything(&cloud, |_| false);
    let coverage = place.coverage();
    let projects = coverage["projects"].as_array().unwrap();
    assert_eq!((projects.len(), &projects[0]["project"], &projects[0]["gaps"]), (1, &json!("demo"), &json!([])));
    let seconds = (micros(&projects[0]["to"]) - micros(&projects[0]["from"])) / overnight::base::time::SECOND;
    assert!(seconds >= 2, "{coverage}");
}

#[test]
fn whenever_a_recorder_is_killed_every_surface_says_so_until_the_next_one_and_then_it_is_a_gap() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::new();
    for before in 0..3 {
        let recorder = connected(&place, &cloud, &["--no-backfill"]);
        assert_eq!(place.coverage()["nobody_records"], json!([]));
        kill(recorder);
        everybody_says_that_nobody_records(&place);
        let gaps = place.gaps();
        assert_eq!(gaps.len(), before + 1, "{gaps:?}");
        assert!(gaps.iter().all(|gap| gap["cause"] == "the recorder stopped without a word"), "{gaps:?}");
    }
}

#[test]
fn a_crash_between_the_end_of_a_session_and_the_next_one_is_a_gap_from_the_last_sign_of_life() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::new();
    let recorder = connected(&place, &cloud, &["--no-backfill"]);
    drop(cloud);
    until("it is not connected", || !is_connected(&place));
    assert_eq!(place.coverage()["nobody_records"], json!([]), "it tries to");
    kill(recorder);
    everybody_says_that_nobody_records(&place);
    assert!(text(&place.gaps()[0]["cause"]).contains("no connection"), "{:?}", place.gaps());
}

#[test]
fn what_was_planned_and_never_recorded_is_a_gap_up_to_the_planned_end() {
    let planned = |flag: &str, time: &str| {
        let cloud = Cloud::start(&["--rate", "50", "--devices", "5"]);
        let place = Place::new();
        let ran = kill(connected(&place, &cloud, &["--no-backfill", flag, time]));
        assert!(ran.stderr.contains("until 20") && ran.stderr.contains("from now"), "it says when it ends: {}", ran.stderr);
        let end = place.coverage()["nobody_records"][0]["until"].clone();
        assert!(end.is_string());
        until("its planned end", || place.coverage()["nobody_records"] == json!([]));
        let gaps = place.gaps();
        assert_eq!((gaps.len(), &gaps[0]["ends"]), (1, &end), "{gaps:?}");
        assert_eq!(place.run(&["verify"]).code, 3);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| planned("--for", "8s"));
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8);
        scope.spawn(move || planned("--until", &until.to_string()));
    });
}

#[test]
fn a_watcher_is_told_by_the_age_of_the_last_sign_of_life() {
    let cloud = Cloud::start(&["--rate", "50", "--devices", "5"]);
    let place = Place::new();
    let ran = record(&place, &cloud, &["--no-backfill", "--for", "2s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let age = |most: &str| place.run(&["status", "--max-age", most]).code;
    assert_eq!((place.run(&["status"]).code, age("1h"), age("1ms")), (0, 0, 3));
    let status = place.status();
    assert!(status["last_sign_of_life_age"].as_f64() > Some(0.0) && status["projects"][0]["project"] == "demo", "{status}");
}

#[test]
fn a_terminal_that_closes_ends_the_recorder_cleanly_and_the_run_goes_on_until_somebody_ends_it() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::with_quick_history();
    let mut recorder = connected(&place, &cloud, &[]);
    recorder.signal("-HUP");
    let ran = recorder.wait();
    assert!(ran.code == 3 && ran.stderr.contains("the terminal is closed"), "{ran:?}");
    assert_eq!(place.status()["buffered"], 0, "it has rolled");
    everybody_says_that_nobody_records(&place);
    let ran = place.run(&["end", "--project", "demo"]);
    assert!(ran.code == 0 && ran.stderr.contains("nobody wants more of it"), "{ran:?}");
    let coverage = place.coverage();
    let gaps = &coverage["projects"][0]["gaps"];
    assert_eq!((&coverage["nobody_records"], gaps[0]["ends"].is_string(), &gaps[0]["state"]), (&json!([]), true, &json!("open")));
    let ran = record(&place, &cloud, &["--for", "1s", "--linger", "60s"]).wait();
    assert_eq!((ran.code, place.gaps().len()), (0, 1), "{}", ran.stderr);
    assert!(place.run(&["end"]).stderr.contains("nothing to end"));
}

#[test]
fn who_was_told_to_outlive_its_terminal_does() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::new();
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_overnight")).args(["record", "--project", "demo", "--no-backfill", "--api-url", &cloud.url]);
    command.arg("--dir").arg(place.dir()).envs(overnight().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let recorder = Running::start(&mut command);
    until("it is connected", || is_connected(&place));
    recorder.signal("-HUP");
    let events = place.so_far("events").as_u64();
    until("it goes on", || place.so_far("events").as_u64() > events.map(|events| events + 50));
    assert_eq!(recorder.terminate().0.code, 0);
}

#[test]
fn a_history_that_never_answers_holds_up_no_end() {
    let habits = ["--rate", "100", "--devices", "5", "--session-life", "2s", "--stall-history"];
    let is_filling = |place: &Place| place.gaps_so_far().iter().any(|gap| gap["state"] == "filling");
    let asked = || {
        let (cloud, place) = (Cloud::start(&habits), Place::with_quick_history());
        let recorder = record(&place, &cloud, &[]);
        until("it asks", || is_filling(&place) && cloud.history_requests() > 0);
        let (ran, took) = recorder.terminate();
        assert!(ran.code == 3 && took < Duration::from_secs(2), "{took:?}: {}", ran.stderr);
    };
    let planned = || {
        let (cloud, place, begun) = (Cloud::start(&habits), Place::with_quick_history(), Instant::now());
        let ran = record(&place, &cloud, &["--for", "7s"]).wait();
        let took = begun.elapsed();
        assert!(ran.code == 3 && took < Duration::from_secs(9), "{took:?}: {}", ran.stderr);
        assert!(is_filling(&place) && cloud.history_requests() > 0);
    };
    std::thread::scope(|scope| {
        scope.spawn(asked);
        scope.spawn(planned);
    });
}

/// Variables for a process whose wall clock goes by a file; none where that cannot be done.
fn set_clock(stamp: &Path) -> Option<[(&'static str, String); 4]> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let library = folders.into_iter().find(|path| path.exists())?;
    Some([
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", stamp.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

#[test]
fn a_clock_that_is_set_by_an_hour_hides_no_outage() {
    std::thread::scope(|scope| {
        for step in ["-1h", "+1h"] {
            scope.spawn(move || {
                let place = Place::with_quick_history();
                let stamp = place.path("clock");
                let Some(variables) = set_clock(&stamp) else {
                    return eprintln!("skipped, since libfaketime is not installed");
                };
                write(&stamp, "+0");
                let cloud = Cloud::start(&["--rate", "60", "--devices", "5", "--refuse-streams", "503:6s-9s"]);
                let mut command = overnight();
                command.args(["record", "--project", "demo", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
                let recorder = Running::start(command.envs(variables.clone()));
                until("some are kept", || place.so_far("events").as_u64() > Some(60));
                write(&stamp, step);
                let outage = |gap: &Value| text(&gap["cause"]).contains("503") && gap["seconds"].as_f64() > Some(1.0);
                // The gaps that there are, once all of them are filled.
                let filled = || {
                    // Asked by the same clock.
                    let mut command = overnight();
                    command.args(["gaps", "--json", "--dir"]).arg(place.dir()).envs(variables.clone());
                    let said = Running::start(&mut command).wait().stdout;
                    let said: Value = serde_json::from_str(&said).unwrap_or_default();
                    let gaps = said["projects"][0]["gaps"].as_array().cloned().unwrap_or_default();
                    if gaps.iter().all(|gap| gap["state"] == "filled") { gaps } else { Vec::new() }
                };
                let mut before = 0;
                until("the outage is filled", || {
                    let gaps = filled();
                    before = gaps.len();
                    gaps.iter().any(outage)
                });
                write(&stamp, "+0");
                // That is a gap as well.
                until("the time in which the clock was set is filled", || filled().len() > before);
                let (ran, _) = recorder.terminate();
                assert!(ran.stderr.contains("clock was set"), "{}", ran.stderr);
                place.holds_everything(&cloud, is_not_in_history);
            });
        }
    });
}

#[test]
fn a_gap_is_confirmed_only_when_the_history_was_asked_so_late_that_nothing_comes_after_it() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5", "--history-lag", "5s"]);
    let place = with_history("confirm_after = [\"3s\", \"9s\"]\nlook_back = \"30s\"");
    leave_a_gap(&place, &cloud, 200);
    let recorder = record(&place, &cloud, &[]);
    let is = |confirmed: bool| {
        let gaps = place.gaps_so_far();
        !gaps.is_empty() && gaps.iter().all(|gap| gap["state"] == "filled" && gap["confirmed"] == confirmed)
    };
    until("it is filled", || is(false));
    assert!(place.run(&["gaps"]).stdout.contains("filled, unconfirmed"));
    until("it is confirmed", || is(true));
    assert_eq!(recorder.terminate().0.code, 0);
    place.holds_everything(&cloud, is_not_in_history);
    let gaps = place.gaps();
    assert!(gaps.len() == 1 && gaps[0]["events"].as_u64() > Some(150), "{gaps:?}");
}

#[test]
fn what_came_during_a_gap_with_an_older_time_is_brought_by_the_pass_that_confirms_it() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5", "--event-age", "1m", "--event-age-share", "0.5"]);
    let place = with_history("confirm_after = [\"4s\"]\nlook_back = \"90s\"");
    leave_a_gap(&place, &cloud, 200);
    let recorder = record(&place, &cloud, &[]);
    until("it is confirmed", || place.gaps_so_far().iter().any(|gap| gap["confirmed"] == true));
    assert_eq!(recorder.terminate().0.code, 0);
    place.holds_everything(&cloud, is_not_in_history);
}

#[test]
fn what_one_device_cannot_give_keeps_nothing_of_the_others_and_those_that_left_the_list_are_asked_as_well() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "6", "--gone-device", "1", "--unlisted-device", "2"]);
    let place = Place::with_quick_history();
    leave_a_gap(&place, &cloud, 200);
    let ran = record(&place, &cloud, &["--for", "1s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let gaps = place.gaps();
    let why = text(&gaps[0]["why"]).to_owned();
    let gone = why.split_once("but for 1 device that the cloud refuses (").and_then(|(_, rest)| rest.split_once(':'));
    let gone = gone.unwrap_or_else(|| panic!("{gaps:?}")).0;
    let is_gone = |event: &Value| text(&event["targetName"]).ends_with(&format!("/{gone}"));
    assert!(gaps[0]["state"] == "filled" && why.contains("404"), "{gaps:?}");
    place.holds_everything(&cloud, |event| is_not_in_history(event) || is_gone(event));
}

#[test]
fn a_device_that_fails_for_ever_keeps_its_gap_open_with_a_reason_and_holds_up_no_other() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "5", "--failing-device", "1"]);
    let place = Place::with_quick_history();
    leave_a_gap(&place, &cloud, 200);
    let recorder = record(&place, &cloud, &[]);
    let waits = |count: usize| {
        let gaps = place.gaps_so_far();
        let waits = |gap: &&Value| gap["state"] == "open" && text(&gap["why"]).contains("500");
        gaps.len() == count && gaps.iter().filter(waits).count() == count
    };
    until("it says why", || waits(1));
    kill(recorder);
    let published = cloud.truth().len();
    until("the cloud goes on", || cloud.truth().len() > published + 100);
    let recorder = record(&place, &cloud, &[]);
    until("it says why of both", || waits(2));
    let failing = text(&place.gaps()[1]["why"]).split_whitespace().nth(1).unwrap().trim_end_matches(':').to_owned();
    recorder.terminate();
    // What the others have of both gaps is there.
    let is_failing = |event: &Value| text(&event["targetName"]).ends_with(&format!("/{failing}"));
    place.holds_everything(&cloud, |event| is_not_in_history(event) || is_failing(event));
}

#[test]
fn a_page_token_that_dies_on_the_way_begins_its_device_anew_and_loses_nothing() {
    let cloud = Cloud::start(&["--rate", "800", "--devices", "1", "--page-tokens-expire-once"]);
    let published = || cloud.truth().len();
    until("there is more than a page", || published() > 2500);
    let place = Place::with_quick_history();
    let (published, ran) = (cloud.truth(), backfill(&place, &cloud, &["--since", "1h"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let events = place.events();
    let found = by_key(&events);
    let missing =
        by_key(&published).into_iter().filter(|(key, event)| !found.contains_key(key) && !is_not_in_history(event)).count();
    assert_eq!(missing, 0, "of {}", published.len());
}

#[test]
fn a_history_that_was_refused_for_a_while_is_asked_again_by_the_same_recorder() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_open = Arc::new(AtomicBool::new(false));
    let opens = Arc::clone(&is_open);
    let cloud = Fake::start(move |request, stream| {
        let devices = r#"{"devices":[{"name":"projects/p/devices/d","type":"touch"}],"nextPageToken":""}"#;
        let reply = match request.lines().next().unwrap_or_default() {
            line if line.contains("/devices?") => answer("200 OK", "", devices),
            line if line.contains("/events?") && opens.load(Ordering::Relaxed) => answer("200 OK", "", EMPTY),
            line if line.contains("/events?") => answer("403 Forbidden", "", "{}"),
            _ => answer("200 OK", "", &format!("{{\"result\":{{\"event\":{}}}}}\n", touch("a", 1, 1))),
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::with_quick_history();
    let mut command = overnight();
    command.args(["record", "--project", "p", "--api-url", &cloud.url()]).arg("--dir").arg(place.dir());
    let recorder = Running::start(&mut command);
    until("it says why", || place.gaps_so_far().iter().any(|gap| text(&gap["why"]).contains("403")));
    is_open.store(true, Ordering::Relaxed);
    until("it is filled", || place.gaps_so_far().iter().any(|gap| gap["state"] == "filled"));
    drop(recorder);
}

#[test]
fn one_pass_over_the_devices_fills_all_gaps_at_once() {
    let cloud = Cloud::start(&["--rate", "60", "--devices", "20", "--session-life", "1500ms"]);
    let place = Place::with_quick_history();
    let recorder = record(&place, &cloud, &["--no-backfill", "--rotate-after", "2s"]);
    until("there are six gaps", || place.gaps_so_far().len() >= 6);
    recorder.terminate();
    let gaps = place.gaps().len();
    let ran = record(&place, &cloud, &["--for", "1s", "--linger", "60s"]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = cloud.history_requests();
    assert!(asked <= 40, "{asked} requests of 20 devices for {gaps} gaps");
}

#[test]
fn a_gap_is_filled_as_soon_as_the_history_has_it() {
    let cloud = Cloud::start(&["--rate", "60", "--devices", "5", "--session-life", "4s"]);
    let place = Place::with_quick_history();
    let _recorder = record(&place, &cloud, &[]);
    until("a gap is filled", || place.gaps_so_far().iter().any(|gap| gap["state"] == "filled"));
    let late = overnight::base::time::now() - micros(&place.gaps_so_far()[0]["ends"]);
    assert!(late < 10 * overnight::base::time::SECOND, "{late} µs after its end");
}

#[test]
fn a_ledger_of_years_holds_nobody_up() {
    let place = Place::with_quick_history();
    let now = overnight::base::time::now();
    place.note("session", now - 30 * overnight::base::time::DAY, now - 29 * overnight::base::time::DAY);
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    // A session each minute, and a gap of some seconds behind each, which were filled.
    let fill = format!(
        "UPDATE run SET project = 'demo';
         WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
         INSERT INTO heard (run, session, opened_at, spoke_at, closed_at, cause)
         SELECT 1, 1000 + n, {0} + n * 60000000, {0} + n * 60000000 + 50000000, 1, 'over' FROM number;
         INSERT INTO fill (id, project, filters, by_hand, asked_at, look_back, done_at) VALUES (9, 'demo', '{{}}', 0, {now}, 0, {now});
         INSERT INTO piece (fill, begins, ends, confirms)
         SELECT 9, spoke_at, spoke_at + 10000000, 1 FROM heard WHERE session > 1000;
         UPDATE run SET begins = {0}, ended_at = {0} + 20000 * 60000000;",
        now - 20 * overnight::base::time::DAY
    );
    db.execute_batch(&format!("BEGIN; {fill} COMMIT;")).unwrap();
    drop(db);
    let begun = Instant::now();
    let coverage = place.coverage();
    let took = begun.elapsed();
    assert!(
        coverage["projects"][0]["gaps"].as_array().unwrap().len() >= 19_999 && coverage["missing"] == json!(1),
        "{}",
        coverage["missing"]
    );
    assert!(took < Duration::from_secs(5), "{took:?}, without optimization: in their square, it was 12 s");
    let cloud = Cloud::start(&["--rate", "60", "--devices", "5", "--session-life", "2s"]);
    let ran = record(&place, &cloud, &["--no-backfill", "--for", "8s"]).wait();
    assert!(!ran.stderr.contains("stood still"), "{}", ran.stderr);
}

#[test]
fn a_backfill_beside_a_recorder_is_brought_by_that_one_and_the_same_is_never_asked_for_twice() {
    let cloud = Cloud::start(&["--rate", "60", "--history", "2h", "--devices", "8"]);
    let place = Place::with_quick_history();
    let recorder = connected(&place, &cloud, &[]);
    let ago = |minutes: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes)).to_string();
    let (start, middle, end) = (ago(60), ago(30), ago(10));
    let ran = backfill(&place, &cloud, &["--start", &middle, "--end", &end]);
    assert!(ran.code == 0 && ran.stderr.contains("records demo: it brings what is asked for"), "{ran:?}");
    assert_eq!(cloud.history_requests(), 8);
    assert!(backfill(&place, &cloud, &["--start", &middle, "--end", &end]).code == 0 && cloud.history_requests() == 8);
    assert_eq!(backfill(&place, &cloud, &["--start", &start, "--end", &end]).code, 0);
    assert_eq!(cloud.history_requests(), 16);
    assert_eq!(place.coverage()["projects"][0]["requests"], json!([]));
    assert_eq!(recorder.terminate().0.code, 0);
    let events = place.events();
    let old = events.iter().filter(|event| text(&event["timestamp"]) < end.as_str());
    let before = events.iter().filter(|event| text(&event["timestamp"]) < middle.as_str());
    assert!(old.count() > before.clone().count() && before.count() > 10);
    // Without a recorder it is the same.
    assert!(backfill(&place, &cloud, &["--start", &start, "--end", &end]).code == 0 && cloud.history_requests() == 16);
    assert_eq!(place.gaps(), Vec::<Value>::new());
}

#[test]
fn a_backfill_up_to_a_time_to_come_brings_what_there_is_and_holds_nobody_up() {
    let cloud = Cloud::start(&["--history", "1h", "--devices", "5"]);
    let place = Place::with_quick_history();
    let ran = backfill(&place, &cloud, &["--since", "1h", "--end", "2999-01-01"]);
    assert!(ran.code == 0 && ran.stderr.contains("--end lies in the future"), "{ran:?}");
    assert!(!place.events().is_empty());
    let ran = record(&place, &cloud, &["--for", "1s"]).wait();
    assert_eq!((ran.code, place.gaps()), (0, Vec::new()), "{}", ran.stderr);
}

#[test]
fn odd_waits_and_token_lives_neither_end_nor_silence_a_recorder() {
    std::thread::scope(|scope| {
        for (wait, life) in [("0.5", "\"3600\""), ("-1", "null"), ("soon", "1e300"), ("1e99", "-1")] {
            scope.spawn(move || {
                let habits = ["--refuse-streams", "503:0s-1s", "--retry-after", wait, "--expires-in", life];
                let cloud = Cloud::start(&[&["--rate", "100", "--devices", "5"], &habits[..]].concat());
                let place = Place::new();
                let mut command = overnight();
                command.env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL).args(["record", "--project", "demo", "--no-backfill", "--dir"]);
                let recorder = Running::start(command.arg(place.dir()).args(["--api-url", &cloud.url]));
                until("events come", || place.so_far("events").as_u64() > Some(20));
                let (ran, _) = recorder.terminate();
                assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            });
        }
    });
}

#[test]
fn gaps_are_told_in_eighty_columns_however_long_the_cause() {
    let message = format!("{} {}", "why ".repeat(60), "x".repeat(150));
    let cloud = Fake::start(move |_, stream| {
        let error = json!({"error": {"code": 13, "message": message}}).to_string() + "\n";
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
        drop(stream.write_all(format!("{{\"result\":{{\"event\":{}}}}}\n", touch("a", 1, 1)).as_bytes()));
        // So that it was heard.
        std::thread::sleep(Duration::from_millis(300));
        drop(stream.write_all(error.as_bytes()));
    });
    let place = Place::with_quick_history();
    let mut command = overnight();
    command.args(["record", "--project", "bvj8t9p7rihg00fgnr40", "--api-url", &cloud.url()]).arg("--dir").arg(place.dir());
    let recorder = Running::start(&mut command);
    until("there are gaps, and why they are not filled", || {
        place.gaps_so_far().iter().any(|gap| !text(&gap["why"]).is_empty() && text(&gap["cause"]).contains("why why"))
    });
    kill(recorder);
    for zone in ["UTC", "America/Argentina/ComodRivadavia"] {
        let ran = place.run(&["gaps", "--tz", zone]);
        assert!(ran.stdout.contains("why why") && ran.stdout.contains("nobody records"), "{}", ran.stdout);
        let wide: Vec<_> = ran.stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn gaps_and_report_say_the_same_and_time_that_was_filled_twice_counts_once() {
    let cloud = Cloud::start(&["--rate", "100", "--devices", "5"]);
    let place = Place::with_quick_history();
    leave_a_gap(&place, &cloud, 100);
    record(&place, &cloud, &["--no-backfill", "--for", "1s"]).wait();
    assert_eq!(backfill(&place, &cloud, &["--since", "1h"]).code, 0);
    assert_eq!(backfill(&place, &cloud, &["--since", "2h"]).code, 0);
    let ran = place.run(&["report", "--json"]);
    let facts: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let (of_report, gaps) = (&facts["coverage"][0], place.gaps());
    assert_eq!((ran.code, gaps.len(), &of_report["gaps"]), (0, 1, &json!(gaps)), "{}", ran.stderr);
    assert_eq!(of_report["filled_seconds"], gaps[0]["seconds"]);
    assert_eq!((&of_report["open_seconds"], &of_report["lost_seconds"]), (&json!(0.0), &json!(0.0)));
}

/// A recording of version 0.1.0, with a ledger of the last hours.
fn of_the_first_version() -> (Place, i64) {
    let place = Place::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/1/recording"), &place.dir());
    let now = overnight::base::time::now();
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    let minutes = |ago: i64| now - ago * 60 * overnight::base::time::SECOND;
    let session = |opened: i64, spoke: i64, closed: &str| {
        let (opened, spoke) = (minutes(opened), minutes(spoke));
        format!(
            "INSERT INTO session (source, project, filters, opened_at, spoke_at, closed_at, cause)
                 VALUES ('stream', 'demo', '{{}}', {opened}, {spoke}, {closed}, 'over');"
        )
    };
    let gap = |begins: i64, ends: i64, cause: &str, state: &str, events: i64| {
        let (begins, ends) = (minutes(begins), minutes(ends));
        format!(
            "INSERT INTO gap (project, begins, ends, cause, state, events)
                 VALUES ('demo', {begins}, {ends}, '{cause}', '{state}', {events});"
        )
    };
    let ledger = [
        "DELETE FROM session; DELETE FROM gap; DELETE FROM gap_device; PRAGMA journal_mode = DELETE;".to_owned(),
        session(100, 90, "1"),
        gap(90, 80, "silence", "filled", 7),
        session(80, 70, "1"),
        gap(70, 60, "silence", "open", 0),
        session(60, 50, "1"),
        gap(50, 40, "silence", "lost", 0),
        session(40, 30, "NULL"),
        gap(300, 200, "asked for", "open", 0),
        gap(300, 250, "asked for: event types touch", "filled", 3),
    ];
    db.execute_batch(&ledger.concat()).unwrap();
    (place, minutes(30))
}

#[test]
fn a_recording_of_the_first_version_is_read_as_it_is_and_taken_over_when_a_recorder_opens_it() {
    let (place, last_sign) = of_the_first_version();
    let bytes = || std::fs::read(place.dir().join("state/buffer.db")).unwrap();
    let before = bytes();
    let gaps = || {
        let coverage = place.coverage();
        let project = &coverage["projects"][0];
        let told = project["gaps"].as_array().unwrap().iter().map(|gap| {
            let minutes = gap["ends"].is_string().then(|| gap["seconds"].as_f64().unwrap().to_string());
            (minutes, text(&gap["state"]).to_owned(), gap["events"].as_u64().unwrap(), gap["confirmed"] == true)
        });
        let told: Vec<_> = told.collect();
        (told, project["requests"].as_array().unwrap().len(), micros(&coverage["nobody_records"][0]["since"]))
    };
    let ten = || Some("600".to_owned());
    let gap = |length, state: &str, events| (length, state.to_owned(), events, false);
    // What was lost may be there now: it is asked for again. Who was killed left a wish.
    let expected = vec![gap(ten(), "filled", 7), gap(ten(), "open", 0), gap(ten(), "open", 0), gap(None, "open", 0)];
    assert_eq!(gaps(), (expected.clone(), 1, last_sign));
    for verb in [&["gaps"][..], &["status"], &["verify"], &["export"], &["report", "--json"]] {
        place.run(verb);
    }
    assert!(bytes() == before, "who reads changes nothing");
    let version = || {
        let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
        db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(version(), 1);
    assert_eq!(place.run(&["roll"]).code, 0);
    assert_eq!((version(), gaps()), (5, (expected, 1, last_sign)), "taken over as it was read");
    let cloud = Cloud::start(&["--rate", "20", "--devices", "5", "--history", "6h"]);
    let recorder = record(&place, &cloud, &[]);
    all_filled(&place);
    until("what was asked for is done", || place.coverage_so_far()["projects"][0]["requests"] == json!([]));
    assert_eq!(recorder.terminate().0.code, 0);
    assert_eq!(place.coverage()["nobody_records"], json!([]));
}
