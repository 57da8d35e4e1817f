//! Recording from the simulated cloud, over a real socket.

use std::time::Duration;

use crate::support::{Cloud, Place, Running, by_key, overnight, touch, until, write};

/// Records with the real binary, and holds what stands in the recording against what the cloud says that it published.
fn records_every_event_once(arguments: &[&str], oauth: bool) {
    let cloud = Cloud::start(&["--rate", "400"]);
    let place = Place::new();
    let mut command = overnight();
    if oauth {
        command.env("DT_SERVICE_ACCOUNT_EMAIL", "demo@demo.serviceaccount.d21s.com");
    }
    command.args(["record", "--project", "demo", "--for", "4s", "--roll-every", "500ms", "--api-url", &cloud.url]);
    let mut recorder = Running::start(command.args(arguments).arg("--dir").arg(place.dir()));
    let ran = recorder.wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let recorded = place.events();
    assert!(recorded.len() > 800, "only {} events", recorded.len());
    place.holds_everything(&cloud, |_| false);
    assert_eq!(place.status()["events"], recorded.len());
    assert_eq!(place.status()["buffered"], 0);
}

#[test]
fn json_lines_with_basic_auth_are_recorded_once_with_equal_json() {
    records_every_event_once(&[], false);
}

#[test]
fn server_sent_events_with_oauth2_are_recorded_once_with_equal_json() {
    records_every_event_once(&["--accept", "sse"], true);
}

#[test]
fn with_no_retries_the_end_of_the_first_session_is_the_end() {
    let cloud = Cloud::start(&["--rate", "300", "--session-life", "1s"]);
    let place = Place::new();
    let ran = place.run(&["record", "--project", "demo", "--max-retries", "0", "--api-url", &cloud.url]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!place.events().is_empty());
}

#[test]
fn how_long_a_stream_waits_to_be_kept_is_bounded_and_what_is_written_to_the_disk_is_told() {
    let cloud = Cloud::start(&["--rate", "300"]);
    let place = Place::new();
    let record =
        |every: &str| place.run(&["record", "--project", "demo", "--for", "1s", "--keep-every", every, "--api-url", &cloud.url]);
    for every in ["99ms", "61s"] {
        assert!(record(every).code == 2 && !place.dir().exists(), "{every}");
    }
    let ran = record("1m");
    assert!(ran.code == 0 && ran.stderr.contains("to the disk"), "{}", ran.stderr);
    assert!(!place.events().is_empty(), "what waits is kept at the end");
    let status = place.status();
    assert!(!cfg!(target_os = "linux") || status["written"]["bytes"].is_u64(), "{status}");
    write(&place.dir().join("overnight.toml"), "keep_every = \"61s\"\n");
    let ran = place.run(&["record", "--project", "demo", "--for", "1s", "--api-url", &cloud.url]);
    assert!(ran.code == 2 && ran.stderr.contains("keep-every"), "{}", ran.stderr);
}

#[test]
fn a_filter_reaches_the_cloud() {
    let cloud = Cloud::start(&["--rate", "300"]);
    let place = Place::new();
    let ran = place.run(&[
        "record",
        "--project",
        "demo",
        "--for",
        "2s",
        "--event-type",
        "co2",
        "--event-type",
        "touch",
        "--api-url",
        &cloud.url,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let events = place.events();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event["eventType"] == "co2" || event["eventType"] == "touch"));
}

#[test]
fn status_beside_a_running_recorder_tells_what_goes_on_and_sigterm_ends_it_within_two_seconds() {
    let place = Place::new();
    let file = place.path("replay.ndjson");
    let lines: String = (0..3000).map(|at| touch(&format!("id{at}"), 1 + at % 4, at) + "\n").collect();
    write(&file, &lines);
    let cloud = Cloud::start(&["--replay", file.to_str().unwrap()]);
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--roll-every", "1h", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
    let recorder = Running::start(&mut command);
    until("3000 events are kept", || place.so_far("events") == 3000);
    let status = place.status();
    assert_eq!(status["connected"], true);
    assert_eq!(status["buffered"], 3000);
    assert_eq!(status["last_event_at"], "2026-10-04T00:49:59.000000Z");
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4);
    // An export sees the buffer as if it were day files.
    assert_eq!(place.events().len(), 3000);
    let (ran, took) = recorder.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(ran.stderr.contains("recorded 3,000 events"), "{}", ran.stderr);
    let status = place.status();
    assert_eq!((&status["connected"], &status["events"], &status["buffered"]), (&false.into(), &3000.into(), &0.into()));
    assert_eq!(place.day_files().len(), 4);
}

#[test]
fn what_was_kept_before_a_kill_is_there_after_it() {
    let place = Place::new();
    let file = place.path("replay.ndjson");
    write(&file, (0..500).map(|at| touch(&format!("id{at}"), 1, at) + "\n").collect::<String>());
    let cloud = Cloud::start(&["--replay", file.to_str().unwrap()]);
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
    let mut recorder = Running::start(&mut command);
    until("500 events are kept", || place.so_far("events") == 500);
    recorder.child.kill().unwrap();
    recorder.wait();
    assert_eq!(by_key(&place.events()).len(), 500);
    assert_eq!(place.status()["recording"], false);
    let ran = place.run(&["roll"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(by_key(&place.events()).len(), 500);
}

#[test]
fn a_second_writer_is_told_who_writes() {
    let cloud = Cloud::start(&["--rate", "50"]);
    let place = Place::new();
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
    let recorder = Running::start(&mut command);
    until("the recorder records", || place.so_far("recording") == true);
    let ran = place.import(touch("a", 1, 1));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains(&format!("process {}", recorder.child.id())) && ran.stderr.contains("one writer"),
        "{}",
        ran.stderr
    );
    drop(recorder);
}

#[test]
fn what_only_the_user_can_mend_ends_at_once_with_a_clear_sentence_and_no_secret() {
    let cloud = Cloud::start(&[]);
    let place = Place::new();
    let record = |project: &str, secret: &str, email: Option<&str>| {
        let mut command = overnight();
        command.env("DT_SERVICE_ACCOUNT_SECRET", secret);
        if let Some(email) = email {
            command.env("DT_SERVICE_ACCOUNT_EMAIL", email);
        }
        command.args(["record", "--project", project, "--api-url", &cloud.url]).arg("--dir").arg(place.dir());
        Running::start(&mut command).wait()
    };
    for (ran, word) in [
        (record("demo", "wrong-hunter2", None), "credentials"),
        (record("demo", "wrong-hunter2", Some("demo@demo.serviceaccount.d21s.com")), "credentials"),
        (record("demo", "demo-secret", Some("someone@else")), "credentials"),
        (record("nowhere", "demo-secret", None), "no project \"nowhere\""),
    ] {
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains("demo-secret"), "{}", ran.stderr);
    }
    let mut command = overnight();
    command.env_remove("DT_SERVICE_ACCOUNT_SECRET").env_remove("DT_SERVICE_ACCOUNT_KEY_ID");
    let ran = Running::start(command.args(["record", "--project", "demo"]).arg("--dir").arg(place.dir())).wait();
    assert!(ran.stderr.contains("DT_SERVICE_ACCOUNT_KEY_ID"), "{}", ran.stderr);
    let ran = Running::start(overnight().args(["record"]).arg("--dir").arg(place.dir())).wait();
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}
