//! The other verbs, as a user types them.

use std::fs;
use std::process::Stdio;

use crate::support::{Cloud, Place, Running, by_key, lines, overnight, touch, write};

fn filled() -> Place {
    let place = Place::new();
    let text: String = (0..300).map(|at| touch(&format!("id{at:03}"), 1 + at % 3, at) + "\n").collect();
    let ran = place.import(text);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

#[test]
#[cfg_attr(not(feature = "simulator"), ignore = "asks for what this build is made without")]
fn the_demo_records_and_says_how_to_load() {
    let place = Place::new();
    let ran = place.run(&["demo", "--for", "3s"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("temperature") && ran.stdout.contains("each once"), "{}", ran.stdout);
    for word in ["pandas", "DuckDB", "CSV"] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    assert!(by_key(&place.events()).len() > 300);
    let made = if cfg!(feature = "workbooks") { "demo.xlsx" } else { "demo.csv" };
    assert!(fs::metadata(place.dir().join(made)).unwrap().len() > 1000 && ran.stderr.contains("--spreadsheet"), "{}", ran.stderr);
    // Sensors have names.
    assert!(place.run(&["export", "--long"]).stdout.lines().skip(1).all(|row| row.split(',').nth(2) != row.split(',').nth(3)));
}

#[test]
fn importing_twice_adds_nothing() {
    let place = filled();
    let text: String = (0..301).map(|at| touch(&format!("id{at:03}"), 1 + at % 3, at) + "\n").collect();
    let ran = place.import(text);
    assert!(ran.stderr.contains("1 new, 300 known already"), "{}", ran.stderr);
    assert_eq!(by_key(&place.events()).len(), 301);
}

#[test]
fn a_range_of_time_is_half_open_and_a_device_is_a_device() {
    let place = filled();
    let export = |arguments: &[&str]| {
        let ran = place.run(&[&["export", "--format", "ndjson"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        lines(&ran.stdout)
    };
    assert_eq!(export(&["--start", "2026-10-02", "--end", "2026-10-03"]).len(), 100);
    let narrow = export(&["--start", "2026-10-02T00:00:01Z", "--end", "2026-10-02T00:00:04Z"]);
    assert_eq!(narrow.iter().map(|event| event["eventId"].as_str().unwrap()).collect::<Vec<_>>(), ["id001"]);
    assert_eq!(export(&["--device", "d1"]).len(), 100);
    assert_eq!(export(&["--device", "d1", "--device", "d2", "--event-type", "touch"]).len(), 200);
    let none = place.run(&["export", "--device", "d1", "--end", "2026-10-01"]);
    assert!(
        none.code == 3 && none.stderr.contains("300 events from 2026-10-01 to 2026-10-03 (UTC), none of them"),
        "{}",
        none.stderr
    );
    let ran = place.run(&["export", "--event-type", "tuoch"]);
    assert!(ran.code == 1 && ran.stderr.contains("did you mean \"touch\"?"), "{}", ran.stderr);
    assert_eq!(place.run(&["export", "--start", "2026-10-03", "--end", "2026-10-02"]).code, 2);
}

#[test]
fn an_export_goes_to_a_file_a_directory_or_standard_output_and_overwrites_nothing() {
    let place = filled();
    let file = place.path("out.csv");
    let file = file.to_str().unwrap();
    assert_eq!(place.run(&["export", "-o", file]).code, 0);
    let csv = fs::read_to_string(file).unwrap();
    assert_eq!(csv.lines().count(), 301);
    assert_eq!(csv.lines().next().unwrap(), "time,device_id,project_id,event_id,event_type,received_at,source,raw");
    assert!(csv.lines().nth(1).unwrap().starts_with("2026-10-01T00:00:00.000000Z,d0,p,id000,touch,20"));
    let ran = place.run(&["export", "-o", file]);
    assert!(ran.code == 1 && ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(place.run(&["export", "-o", file, "--force"]).code, 0);
    let directory = format!("{}/", place.path("types").display());
    assert_eq!(place.run(&["export", "-o", &directory, "--format", "parquet"]).code, 0);
    assert!(place.path("types/touch.parquet").exists());
    assert_eq!(place.run(&["export"]).stdout, csv);
    let names: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().contains("part")), "{names:?}");
}

#[test]
fn a_broken_pipe_is_no_error() {
    let place = Place::new();
    place.import((0..20_000).map(|at| touch(&format!("id{at:05}"), 1, at) + "\n").collect::<String>());
    let mut child = Running::start(overnight().args(["export", "--dir"]).arg(place.dir()).stdout(Stdio::piped()));
    drop(child.child.stdout.take());
    let ran = child.wait();
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran:?}");
    let mut child = Running::start(overnight().args(["schema", "list"]).stdout(Stdio::piped()));
    drop(child.child.stdout.take());
    let ran = child.wait();
    assert!(!ran.stderr.contains("panic"), "{ran:?}");
}

#[test]
fn schemas_are_listed_shown_and_checked_and_an_own_one_is_used() {
    let place = Place::new();
    let list = overnight().args(["schema", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("probeWireStatus"));
    let show = overnight().args(["schema", "show", "temperature"]).output().unwrap();
    assert!(String::from_utf8_lossy(&show.stdout).contains("samples[].temperature"));
    let folder = place.path("schemas");
    fs::create_dir(&folder).unwrap();
    let wind = r#"
        format_version = 1
        [event]
        name = "wind"
        version = 1
        description = "Wind."
        id = "/id"
        device = "/station"
        time = "/at"
        [[column]]
        name = "speed"
        pointer = "/speed"
        type = "float64"
        unit = "m/s"
        description = "Speed."
    "#;
    write(&folder.join("wind.toml"), wind.replace("pointer", "pionter"));
    let check = overnight().args(["schema", "check"]).arg(&folder).output().unwrap();
    assert!(String::from_utf8_lossy(&check.stderr).contains("did you mean \"pointer\""));
    write(&folder.join("wind.toml"), wind);
    assert!(overnight().args(["schema", "check"]).arg(&folder).status().unwrap().success());
    let event = r#"{"id":"w1","eventType":"wind","station":"mast","speed":7.5,"at":"2026-10-01T00:00:00.000000Z"}"#;
    write(&place.path("wind.ndjson"), event);
    let input = place.path("wind.ndjson");
    let ran = place.run(&["import", input.to_str().unwrap(), "--schemas", folder.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // The recording keeps the schema, so that nobody has to name it again.
    let csv = place.run(&["export"]).stdout;
    assert_eq!(csv.lines().next().unwrap(), "time,device_id,project_id,speed,event_id,event_type,received_at,source,raw");
    assert!(csv.contains("mast,,7.5,w1,wind"), "{csv}");
    assert_eq!(place.events(), lines(event));
}

#[test]
#[cfg_attr(not(feature = "manuals"), ignore = "asks for what this build is made without")]
fn shells_complete_every_verb_and_each_has_a_page_in_the_manual() {
    let verbs = ["record", "export", "sql", "completions"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = overnight().args(["completions", shell]).output().unwrap();
        let text = String::from_utf8_lossy(&script.stdout).into_owned();
        assert!(script.status.success() && verbs.iter().all(|verb| text.contains(verb)), "{shell}");
    }
    let page = |arguments: &[&str]| {
        let page = overnight().arg("man").args(arguments).output().unwrap();
        String::from_utf8_lossy(&page.stdout).into_owned()
    };
    assert!(page(&[]).contains(".TH overnight 1") && page(&[]).contains("export"));
    assert!(page(&["export"]).contains(".TH overnight-export 1") && page(&["export"]).contains("fill"));
    assert_eq!(overnight().args(["man", "nothing"]).status().unwrap().code(), Some(2));
    let place = Place::new();
    let folder = place.path("man1");
    assert!(overnight().args(["man", "-o"]).arg(&folder).status().unwrap().success());
    assert!(
        folder.join("overnight.1").exists()
            && folder.join("overnight-sql.1").exists()
            && !folder.join("overnight-help.1").exists()
    );
}

#[test]
fn the_sql_script_stands_alone_and_overwrites_nothing() {
    let place = filled();
    let script = place.run(&["sql"]);
    assert_eq!(script.code, 0, "{}", script.stderr);
    let here = place.dir().canonicalize().unwrap();
    assert!(script.stdout.contains(&format!("'{}/data/touch/*.parquet'", here.display())), "{}", script.stdout);
    for view in ["\"touch\"", "events", "devices", "events_named", "readings"] {
        assert!(script.stdout.contains(&format!("CREATE OR REPLACE VIEW {view} AS")), "{view}");
    }
    let file = place.path("views.sql").display().to_string();
    assert_eq!(place.run(&["sql", "-o", &file]).code, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), script.stdout);
    assert_eq!(place.run(&["sql", "-o", &file]).code, 1);
    assert_eq!(place.run(&["sql", "-o", &file, "--force"]).code, 0);
}

#[test]
fn status_of_nothing_says_what_to_do() {
    let place = Place::new();
    for verb in ["status", "export", "roll", "sql"] {
        let ran = place.run(&[verb]);
        assert!(ran.code == 1 && ran.stderr.contains("no recording"), "{}", ran.stderr);
        assert!(!place.dir().exists(), "{verb} made a directory");
    }
}

#[test]
fn a_recorder_whose_messages_cannot_be_written_records_all_the_same() {
    let cloud = Cloud::start(&["--rate", "100"]);
    let place = Place::new();
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--for", "2s", "--no-backfill", "--api-url", &cloud.url]);
    command.arg("--dir").arg(place.dir()).stderr(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(Running::start(&mut command).wait().code, 0);
    assert!(place.events().len() > 50);
}

#[test]
fn a_recorder_says_at_once_what_cannot_be_meant() {
    let place = Place::new();
    for flags in
        [&["--secret-file", "x"][..], &["--allow-unsigned"], &["--tls-cert", "x", "--tls-key", "y"], &["--rotate-after", "0s"]]
    {
        let ran = place.run(&[&["record", "--project", "demo"], flags].concat());
        assert!(ran.code == 2 && ran.stderr.contains(flags[0]), "{}", ran.stderr);
    }
    let cloud = Cloud::start(&["--rate", "100"]);
    // Of a recording that heard the project before, that would be an outage.
    let (place, address) = (Place::new(), format!("{}/foo", cloud.url));
    let ran = place.run(&["record", "--project", "demo", "--for", "2s", "--api-url", &address]);
    assert!(ran.code == 1 && ran.stderr.contains(&format!("at {address}/projects/demo")), "{}", ran.stderr);
}

#[test]
fn a_line_to_paste_is_quoted_where_a_shell_needs_it() {
    let place = Place::new();
    let dir = place.path("with space");
    let output = overnight().args(["import", "-", "--dir"]).arg(&dir).stdin(Stdio::from(faulty(&place))).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("status --dir '{}'`", dir.display())), "{said}");
}

fn faulty(place: &Place) -> fs::File {
    write(&place.path("no event"), "{}\n");
    fs::File::open(place.path("no event")).unwrap()
}

#[test]
fn what_is_no_recording_is_told_from_day_files_without_a_buffer_and_from_a_directory_of_others() {
    use std::os::unix::fs::PermissionsExt;
    let place = filled();
    let state = place.dir().join("state");
    let may = |mode| fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    may(0);
    // Root reads everything.
    if fs::read_dir(&state).is_err() {
        assert!(place.run(&["status"]).stderr.contains("permission denied"));
    }
    may(0o700);
    fs::remove_dir_all(&state).unwrap();
    let ran = place.run(&["status"]);
    assert!(ran.code == 1 && ran.stderr.contains("day files") && ran.stderr.contains("overnight export"), "{}", ran.stderr);
    assert!(place.run(&["export"]).stdout.contains("id000"));
}

#[cfg(not(any(feature = "manuals", feature = "pictures", feature = "reports", feature = "simulator", feature = "workbooks")))]
#[test]
fn what_a_build_was_made_without_is_said_with_the_feature_that_brings_it() {
    let place = filled();
    let verbs: [(&str, &[&str]); 8] = [
        ("manuals", &["man", "export"]),
        ("manuals", &["completions", "bash"]),
        ("pictures", &["plot", "--event-type", "touch"]),
        ("reports", &["report", "--help"]),
        ("simulator", &["simulate"]),
        ("simulator", &["demo", "--for", "1s"]),
        ("workbooks", &["export", "-o", "night.xlsx"]),
        ("workbooks", &["export", "--format", "xlsx"]),
    ];
    for (feature, verb) in verbs {
        let ran = place.run(verb);
        let said = format!("overnight: this build has no {feature}: build with the feature `{feature}`\n");
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (2, "", said), "{verb:?}");
    }
    let help = String::from_utf8(overnight().arg("--help").output().unwrap().stdout).unwrap();
    let listed: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(listed.contains(&"export") && ["plot", "report", "demo", "man"].iter().all(|verb| !listed.contains(verb)), "{help}");
}
