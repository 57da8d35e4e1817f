//! Asking and being told: times in the reader's zone, times as people write them, filters that match nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Cloud, Place, Ran, overnight, touch, write};

/// A recording of two devices, of which a gap and a line that is no event are known.
fn filled() -> Place {
    let place = Place::new();
    place.note("lost", 1_795_464_000_000_000, 1_795_467_600_000_000); // 2026-11-23 20:00 to 21:00 UTC
    let text: String = (0..30).map(|at| touch(&format!("id{at:03}"), 1, at) + "\n").collect();
    assert_eq!(place.import(text + "{}\n").code, 3);
    place
}

/// Runs a verb on a machine that is set to a zone.
fn in_zone(place: &Place, zone: &str, arguments: &[&str]) -> Ran {
    let output = overnight().args(arguments).arg("--dir").arg(place.dir()).env("TZ", zone).output().unwrap();
    Ran::new(&output)
}

#[test]
fn every_verb_that_shows_times_shows_them_by_the_clock_that_is_asked_for_and_names_it() {
    let place = filled();
    for (verb, oslo, utc) in [
        (&["status"][..], &["times       Europe/Oslo", "last event  2026-10-01 02:00:29"][..], "2026-10-01 00:00:29"),
        (&["gaps"], &["begins (Europe/Oslo", "2026-11-23 21:00:00"], "2026-11-23 20:00:00"),
        (&["verify"], &["from 2026-11-23 21:00:00 Europe/Oslo to 2026-11-23 22:00:00 Europe/Oslo"], "20:00:00 UTC"),
        (&["faults", "list"], &["(times: Europe/Oslo)"], "(times: UTC)"),
    ] {
        let shown = place.run(&[verb, &["--tz", "Europe/Oslo"]].concat()).stdout;
        assert!(oslo.iter().all(|text| shown.contains(text)), "{verb:?}: {shown}");
        // Not on a terminal: UTC, whatever this machine is set to.
        let shown = in_zone(&place, "Asia/Tokyo", verb).stdout;
        assert!(shown.contains(utc) && shown.contains("UTC"), "{verb:?}: {shown}");
    }
    for verb in [&["status", "--json"][..], &["gaps", "--json"], &["verify", "--json"], &["faults", "list", "--json"]] {
        let json = place.run(&[verb, &["--tz", "Europe/Oslo"]].concat()).stdout;
        assert!(json.contains(":00.000000Z") || json.contains("first_at"), "{verb:?}: {json}");
        assert!(!json.contains("Europe/Oslo"), "{verb:?}: {json}");
    }
}

#[test]
fn whoever_says_today_or_seven_in_the_morning_means_the_clock_of_this_machine() {
    let place = filled();
    let count = |zone: &str, arguments: &[&str]| {
        let ran = in_zone(&place, zone, &[&["export", "--format", "ndjson"], arguments].concat());
        (ran.stdout.lines().count(), ran.stderr)
    };
    // In Tokyo it is nine in the morning when the events happen.
    let day = ["--start", "2026-10-01 9am", "--end", "2026-10-01 09:00:10"];
    assert_eq!(count("Asia/Tokyo", &[&day[..], &["--tz", "system"]].concat()).0, 10);
    assert_eq!(count("Asia/Tokyo", &day).0, 0, "a day without a zone is of UTC, where nobody looks on");
    let local = in_zone(&place, "Asia/Tokyo", &["export", "--end", "yesterday"]);
    assert!(local.stdout.contains("\n2026-10-01T09:00:00.000000+09:00,"), "{}", local.stdout);
    assert_eq!(count("UTC", &["--start", "-52w"]).0, 30);
    assert_eq!(count("UTC", &["--since", "2026-10-01", "--end", "00:00:10"]).0, 10);
}

#[test]
fn a_time_or_a_zone_that_is_none_is_refused_with_what_is_wrong_with_it() {
    let place = filled();
    for (flags, said) in [
        (&["export", "--start", "2026-13-01"][..], "there is no month 13"),
        (&["export", "--end", "2026-11-31"], "November 2026 has 30 days"),
        (&["export", "--start", "yesteday"], "did you mean \"yesterday\"?"),
        (&["export", "--since", "5 parsecs"], "is no duration"),
        (&["export", "--tz", "Europe/Olso"], "is it Europe/Oslo?"),
        (&["gaps", "--tz", "oslo"], "is it Europe/Oslo?"),
        (&["record", "--project", "p", "--until", "25:00"], "there is no hour 25"),
        (&["record", "--project", "p", "--until", "yesterday 07:00"], "lies in the past"),
        (&["backfill", "--project", "p", "--start", "soon"], "write 2026-11-23"),
        (&["faults", "drop", "--before", "2026-02-30"], "February 2026 has 28 days"),
    ] {
        let ran = place.run(flags);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{flags:?}: {}", ran.stderr);
    }
}

#[test]
fn a_filter_that_matches_nothing_is_refused_at_the_start_with_what_was_meant_and_leaves_nothing_behind() {
    let cloud = Cloud::start(&["--rate", "100"]);
    let ask = |flags: &[&str]| {
        let place = Place::new();
        let ran = place.run(&[&["record", "--project", "demo", "--for", "1s", "--api-url", &cloud.url], flags].concat());
        assert!(!place.dir().exists(), "{flags:?} left something behind");
        ran
    };
    for (flags, said) in [
        (["--event-type", "temprature"], "\"temprature\"; did you mean \"temperature\"?"),
        (["--device", "nosuch"], "no device of the project is called \"nosuch\""),
        (["--device-type", "temprature"], "is of type \"temprature\"; did you mean \"temperature\"?"),
        (["--label", "nme"], "has the label \"nme\"; did you mean \"name\"?"),
        (["--product-number", "1"], "has the product number \"1\""),
    ] {
        let ran = ask(&flags);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{flags:?}: {}", ran.stderr);
    }
    let place = Place::new();
    let ran = place.run(&["backfill", "--project", "demo", "--event-type", "temprature", "--api-url", &cloud.url]);
    assert!(ran.code == 2 && ran.stderr.contains("did you mean") && !place.dir().exists(), "{}", ran.stderr);
}

#[test]
fn a_device_that_is_asked_for_by_its_name_is_recorded_and_no_other_one() {
    let cloud = Cloud::start(&["--rate", "200", "--devices", "8"]);
    let place = Place::with_quick_history();
    let record = |more: &[&str]| {
        let ran = place.run(&[&["record", "--project", "demo", "--for", "2s", "--api-url", &cloud.url], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    record(&[]);
    // Names that nobody shares, as the device list has them.
    let named = place.run(&["export", "--latest", "--names"]).stdout;
    let rows: Vec<Vec<&str>> = named.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let (id, name) = (rows[0][1].to_owned(), rows[0][2].to_owned());
    assert!(!name.is_empty() && name != id, "{named}");
    let alone = Place::with_quick_history();
    let ran = alone.run(&["record", "--project", "demo", "--for", "3s", "--device", &name, "--api-url", &cloud.url]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let targets = alone.events().iter().map(|event| event["targetName"].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert!(!targets.is_empty() && targets.iter().all(|target| target.contains(&id)), "{targets:?}");
}

#[test]
fn wrong_credentials_are_one_sentence_and_leave_nothing_behind() {
    let cloud = Cloud::start(&["--rate", "100"]);
    for (email, verb) in [(None, "record"), (Some("demo@demo.serviceaccount.d21s.com"), "record"), (None, "backfill")] {
        let place = Place::new();
        let mut command = overnight();
        command.args([verb, "--project", "demo", "--api-url", &cloud.url, "--dir"]).arg(place.dir());
        command.env("DT_SERVICE_ACCOUNT_SECRET", "wrong").envs(email.map(|email| ("DT_SERVICE_ACCOUNT_EMAIL", email)));
        let ran = Ran::new(&command.output().unwrap());
        let said: Vec<&str> = ran.stderr.lines().collect();
        assert!(ran.code == 1 && said.len() == 2 && said[0].contains("credentials go to"), "{}", ran.stderr);
        assert!(said[1].contains("does not accept the credentials"), "{}", ran.stderr);
        assert!(!place.dir().exists(), "{verb} left something behind");
    }
}

#[test]
fn an_output_of_an_unknown_kind_is_refused_and_one_of_nothing_ends_with_3_in_every_format() {
    let place = filled();
    let ran = place.run(&["export", "-o", place.path("x.docx").to_str().unwrap()]);
    assert!(ran.code == 2 && ran.stderr.contains("no export to .docx; there are .csv"), "{}", ran.stderr);
    for ending in ["csv", "tsv", "ndjson", "parquet", "arrow"] {
        let file = place.path(&format!("none.{ending}"));
        let none = ["export", "--start", "2027-01-01", "-o", file.to_str().unwrap()];
        let ran = place.run(&none);
        assert!(ran.code == 3 && ran.stderr.contains("nothing is written") && !file.exists(), "{ending}: {}", ran.stderr);
        let ran = place.run(&[&none[..], &["--event-type", "touch"]].concat());
        assert!(ran.code == 3 && ran.stderr.contains("no events") && file.exists(), "{ending}: {}", ran.stderr);
    }
}

#[test]
fn settings_say_each_value_and_where_it_comes_from_and_no_secret() {
    let place = Place::new();
    std::fs::create_dir(place.dir()).unwrap();
    let settings =
        "keep_every = \"5s\"\nevent_type = [\"co2\"]\nlisten = \"127.0.0.1:8801\"\n[projects.p]\nevent_type = [\"touch\"]\n";
    write(&place.dir().join("overnight.toml"), settings);
    let ask = ["settings", "--device", "Cold room", "--keep-every", "2s"];
    let mut command = overnight();
    command
        .args(ask)
        .arg("--json")
        .arg("--dir")
        .arg(place.dir())
        .env("DT_PROJECT_ID", "p")
        .env("DT_SIGNATURE_SECRET", "hunter22");
    let ran = Ran::new(&command.output().unwrap());
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let said = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}: {rows:?}"));
        (row["value"].as_str().unwrap().to_owned(), row["from"].as_str().unwrap().to_owned())
    };
    let is = |key: &str, value: &str, from: &str| {
        let (found, of) = said(key);
        assert!(found == value && of.ends_with(from), "{key}: {found} from {of}");
    };
    is("project", "p", "DT_PROJECT_ID");
    is("device", "Cold room", "--device");
    is("keep_every", "2s", "--keep-every");
    is("event_type", "co2", "overnight.toml");
    is("projects.p.event_type", "touch", "overnight.toml");
    is("listen", "127.0.0.1:8801", "overnight.toml");
    is("roll_every", "1h", "default");
    is("rotate_after", "55m", "default");
    is("secret", "***", "DT_SERVICE_ACCOUNT_SECRET");
    is("signature secret", "***", "DT_SIGNATURE_SECRET");
    let shown = place.run(&ask).stdout;
    assert!(
        shown.contains("keep_every") && !(ran.stdout + &shown).contains("hunter22") && !shown.contains("demo-secret"),
        "{shown}"
    );
}

#[test]
fn every_key_of_the_page_on_settings_is_one_and_none_is_left_out() {
    let page = include_str!("../../src/docs/settings.md");
    let example = page.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0.replace("\n# ", "\n");
    let place = Place::new();
    std::fs::create_dir(place.dir()).unwrap();
    write(&place.dir().join("overnight.toml"), example);
    let ran = place.run(&["settings", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let of_file = rows.iter().filter(|row| row["from"].as_str().unwrap().ends_with("overnight.toml"));
    let keys: BTreeSet<&str> = of_file.map(|row| row["key"].as_str().unwrap()).collect();
    let code = include_str!("../../src/model/settings/file.rs");
    let fields = code.split_once("pub struct File {").and_then(|(_, rest)| rest.split_once("\n}")).unwrap().0;
    let known = fields.lines().filter_map(|line| line.trim().trim_start_matches("pub ").split_once(": Option<"));
    for (key, _) in known.filter(|(key, _)| *key != "strange") {
        assert!(keys.contains(key), "{key} is not on the page, or not told: {rows:?}");
    }
}

#[test]
fn filters_and_credentials_in_the_settings_hold_for_their_project_until_a_flag_says_otherwise() {
    use std::os::unix::fs::PermissionsExt;
    let cloud = Cloud::start(&["--rate", "200", "--devices", "8"]);
    let place = Place::with_quick_history();
    write(&place.dir().join("overnight.toml"), "[projects.demo]\nevent_type = [\"temperature\"]\ncredentials = \"demo.json\"\n");
    let file = place.dir().join("demo.json");
    write(&file, r#"{"serviceAccount": {"keyId": "demo-key", "secret": "demo-secret"}}"#);
    for path in [&file, &place.dir().join("overnight.toml")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::set_permissions(place.dir(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = overnight();
    command.env_remove("DT_SERVICE_ACCOUNT_KEY_ID").env_remove("DT_SERVICE_ACCOUNT_SECRET");
    command.args(["record", "--for", "2s", "--no-backfill", "--api-url", &cloud.url, "--dir"]).arg(place.dir());
    let ran = Ran::new(&command.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let types = |place: &Place| place.events().iter().map(|event| event["eventType"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(types(&place), BTreeSet::from(["\"temperature\"".to_owned()]));
    // Whoever else can write there says nothing of where credentials are.
    std::fs::set_permissions(place.dir().join("overnight.toml"), std::fs::Permissions::from_mode(0o622)).unwrap();
    let ran = Ran::new(&command.output().unwrap());
    assert!(ran.code == 1 && ran.stderr.contains("(credentials)") && ran.stderr.contains("others can write"), "{}", ran.stderr);
}

#[test]
fn messages_are_lines_or_one_json_object_each_and_few_where_few_are_wanted() {
    let place = Place::new();
    write(&place.path("in"), touch("id", 1, 1) + "\n{}\n");
    let input = place.path("in").display().to_string();
    let ran = place.run(&["import", &input, "--log-format", "json"]);
    let said: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ran.code == 3 && !said.is_empty(), "{}", ran.stderr);
    assert!(
        said.iter().all(|line| line["time"].is_string() && line["message"].is_string() && line["level"] == "info"),
        "{said:?}"
    );
    assert_eq!(place.run(&["import", &input, "-q"]).stderr, "");
    let ran = place.run(&["export", "-q", "--tz", "UTC", "--with-labels", "nolabel"]);
    assert!(ran.code == 0 && ran.stderr.starts_with("warning: no device has the label"), "{}", ran.stderr);
    let ran = place.run(&["export", "-q", "--event-type", "tuoch", "--log-format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.stderr).unwrap()["level"], "error");
}
