//! What becomes of values: whatever way they are spelled, they are the same columns; what does not fit is told and kept.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Place, write};

/// Columns of an export as CSV, without those of how and when an event came.
fn table(place: &Place, arguments: &[&str]) -> Vec<Vec<String>> {
    let ran = place.run(&[&["export"], arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut rows = ran.stdout.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = rows.next().unwrap();
    let kept: Vec<usize> = (0..head.len()).filter(|at| !["received_at", "raw"].contains(&head[*at].as_str())).collect();
    std::iter::once(head.clone()).chain(rows).map(|row| kept.iter().map(|at| row[*at].clone()).collect()).collect()
}

fn total(id: u32, total: &str) -> String {
    format!(
        r#"{{"eventId":"id{id}","targetName":"projects/p/devices/d","eventType":"touchCount","data":{{"touchCount":{{"total":{total},"updateTime":"2026-11-23T0{id}:00:00.000000Z"}}}},"timestamp":"2026-11-23T0{id}:00:00.000000Z"}}"#
    ) + "\n"
}

#[test]
fn a_document_and_its_twin_with_other_escapes_spaces_and_order_are_equal_columns() {
    let (plain, twin) = (Place::new(), Place::new());
    assert_eq!(
        plain.import(
            r#"{"eventId":"a/1","targetName":"projects/p/devices/d","eventType":"contact","data":{"contact":{"state":"OPEN","updateTime":"2026-11-23T00:00:00.000000Z"}},"timestamp":"2026-11-23T00:00:00.000000Z"}
{"eventId":"é","targetName":"projects/p","eventType":"labelsChanged","data":{"added":{"a":"1","b":"2"},"modified":{},"removed":["x y"]},"timestamp":"2026-11-23T00:00:01.000000Z"}
"#
        )
        .code,
        0
    );
    assert_eq!(
        twin.import(
            r#" { "timestamp" : "2026-11-23T00:00:00.000000Z","data":{"contact":{"updateTime":"2026\u002d11-23T00:00:00.000000Z","st\u0061te":"\u004fPEN"}} , "event\u0054ype":"cont\u0061ct","target\u004eame":"projects\/p\/devices\u002Fd","\u0065ventId":"a\/1"}
{"data":{"removed":[ "x\u0020y" ],"modified":{ },"added":{"\u0062":"2", "a":"\u0031"}},"eventId":"\u00e9","targetName":"pro\u006aects/p","eventType":"labelsChanged","timestamp":"2026-11-23T00:00:01.000000Z"}
"#
        )
        .code,
        0
    );
    for event_type in ["contact", "labelsChanged"] {
        // Cells with commas are several here; what comes behind them is when an event came.
        let first =
            |place| table(place, &["--event-type", event_type]).into_iter().map(|row| row[..7].to_vec()).collect::<Vec<_>>();
        let tables = [&plain, &twin].map(first);
        assert_eq!(tables[0], tables[1]);
        assert_eq!(tables[0].len(), 2, "{tables:?}");
    }
    let contact = table(&twin, &["--event-type", "contact"]);
    assert_eq!(contact[1][1..4], ["d", "p", "OPEN"]);
    assert_eq!(plain.events(), twin.events());
}

#[test]
fn whole_numbers_are_integers_however_they_are_written_and_what_does_not_fit_is_told_by_status() {
    let place = Place::new();
    let values = ["5", "6.0", "7e0", "1.2e1", "\"13\"", "14", "6.5", "\"x\"", "1e30"];
    let text: String = (0..).zip(values).map(|(id, value)| total(id, value)).collect();
    assert_eq!(place.import(&text).code, 0);
    let totals: Vec<String> = table(&place, &["--event-type", "touchCount"])[1..].iter().map(|row| row[3].clone()).collect();
    assert_eq!(totals, ["5", "6", "7", "12", "13", "14", "", "", ""]);
    // The events themselves are what they were.
    let sent: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(place.events(), sent);
    let misfits = &place.status()["misfits"];
    assert_eq!(misfits.as_array().unwrap().len(), 1);
    assert_eq!(
        (&misfits[0]["type"], &misfits[0]["column"], &misfits[0]["events"]),
        (&json!("touchCount"), &json!("total"), &json!(3))
    );
    assert_eq!(misfits[0]["example"], json!("1e30"));
    let said = place.run(&["status"]).stdout;
    assert!(said.contains("touchCount.total: 3 events"), "{said}");
    // An item of a list, a list that is none, an explicit null that is no misfit.
    let text = total(0, "1").replace("touchCount", "temperature");
    let reading = |value: &str, samples: &str| text.replace("\"total\":1", &format!("\"value\":{value},\"samples\":{samples}"));
    let readings = [
        reading("null", "null"),
        reading("21.5", "[{\"value\":\"x\",\"sampleTime\":\"2026-11-23T00:00:00Z\"}]"),
        reading("\"21\"", "7"),
    ];
    let readings: String = (0..).zip(readings).map(|(at, text)| text.replace("id0", &format!("t{at}"))).collect();
    assert_eq!(place.import(readings).code, 0);
    let misfits = place.status()["misfits"].clone();
    let of = |column: &str| misfits.as_array().unwrap().iter().find(|it| it["column"] == column).unwrap()["events"].clone();
    assert_eq!((of("temperature"), of("samples")), (json!(1), json!(2)));
}

/// A folder with a schema of wind: version, and further columns as `name type pointer`.
fn wind(place: &Place, name: &str, version: u32, columns: &[(&str, &str, &str)]) -> PathBuf {
    let folder = place.path(name);
    fs::create_dir(&folder).unwrap();
    let columns: String = columns
        .iter()
        .map(|(column, kind, pointer)| {
            format!("[[column]]\nname = \"{column}\"\npointer = \"{pointer}\"\ntype = \"{kind}\"\nunit = \"m/s\"\ndescription = \"S.\"\n")
        })
        .collect();
    let head = "name = \"wind\"\ndescription = \"Wind.\"\nid = \"/eventId\"\ndevice = \"/targetName\"\ntime = \"/timestamp\"\n";
    write(&folder.join(format!("{name}.toml")), format!("format_version = 1\n[event]\nversion = {version}\n{head}{columns}"));
    folder
}

fn gale(id: u32, day: u32) -> String {
    format!(
        r#"{{"eventId":"w{id}","targetName":"projects/p/devices/mast","eventType":"wind","data":{{"wind":{{"speed":{id}.5,"gust":{id}}}}},"timestamp":"2026-11-{day}T0{id}:00:00.000000Z"}}"#
    ) + "\n"
}

const SPEED: (&str, &str, &str) = ("speed", "float64", "/data/wind/speed");
const GUST: (&str, &str, &str) = ("gust", "float64", "/data/wind/gust");

fn import_with(place: &Place, schemas: &std::path::Path, text: &str) -> crate::support::Ran {
    let file = place.path("in.ndjson");
    write(&file, text);
    place.run(&["import", file.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()])
}

#[test]
fn a_late_event_in_a_file_of_an_older_schema_brings_the_columns_of_the_others_along() {
    let place = Place::new();
    let (v1, v2) = (wind(&place, "v1", 1, &[SPEED]), wind(&place, "v2", 2, &[SPEED, GUST]));
    assert_eq!(import_with(&place, &v1, &(gale(1, 20) + &gale(2, 20))).code, 0);
    assert_eq!(import_with(&place, &v2, &gale(3, 20)).code, 0);
    let gusts = |place: &Place| table(place, &["--event-type", "wind"])[1..].iter().map(|row| row[4].clone()).collect::<Vec<_>>();
    assert_eq!(gusts(&place), ["1", "2", "3"]);
    assert_eq!(place.run(&["verify"]).code, 0);
    let rebuilt = place.run(&["rebuild"]);
    assert!(rebuilt.code == 0 && rebuilt.stderr.contains("0 day files rebuilt"), "{rebuilt:?}");
}

#[test]
fn a_schema_that_takes_a_column_away_or_makes_it_something_else_is_refused_before_anything_changes() {
    for (at, (columns, why)) in [
        (vec![("wind_speed", "float64", "/data/wind/speed")], "\"speed\" is gone"),
        (vec![("speed", "int64", "/data/wind/speed")], "was float64, and is int64"),
        (vec![("speed", "float64", "/data/wind/gust")], "stood at /data/wind/speed"),
        (vec![], "is gone"),
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place::new();
        let (v1, v2) = (wind(&place, "v1", 1, &[SPEED]), wind(&place, "v2", 2, &columns));
        assert_eq!(import_with(&place, &v1, &gale(1, 20)).code, 0);
        let refused = import_with(&place, &v2, &gale(2, 21));
        assert_eq!(refused.code, 2, "{at}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains(why) && refused.stderr.contains("only add columns"), "{}", refused.stderr);
        // Nothing of it came in, and the recording reads by its own copy.
        assert_eq!(table(&place, &["--event-type", "wind"]).len(), 2);
        assert_eq!(place.run(&["verify"]).code, 0);
        assert_eq!(import_with(&place, &v1, &gale(2, 21)).code, 0);
        assert_eq!(place.events().len(), 2);
        // An older version than the recording has is refused as well; the same one is not.
        let v3 = wind(&place, "v3", 3, &[SPEED, GUST]);
        assert_eq!(import_with(&place, &v3, &gale(3, 22)).code, 0);
        assert_eq!(import_with(&place, &v1, &gale(4, 22)).code, 2);
        assert_eq!(place.run(&["export", "--event-type", "wind"]).code, 0);
        assert_eq!(fs::read_dir(place.dir().join("state/schemas")).unwrap().count(), 1);
    }
}

#[test]
fn events_of_a_clock_that_was_wrong_are_kept_and_named_by_status() {
    let place = Place::new();
    let old = total(0, "1").replace("2026-11-23", "1970-01-01");
    let future = total(1, "2").replace("2026-11-23", "2100-01-01");
    assert_eq!(place.import(old + &future + &total(2, "3")).code, 0);
    let status = place.status();
    let odd: Vec<_> = status["odd_times"].as_array().unwrap().iter().map(|it| it["day"].as_str().unwrap()).collect();
    assert_eq!(odd, ["1970-01-01", "2100-01-01"]);
    assert_eq!(place.events().len(), 3);
    assert!(place.run(&["status"]).stdout.contains("touchCount on 1970-01-01: 1"));
}

const ENVELOPE: &str = "format_version = 1\n[event]\nversion = 1\ndescription = \"R.\"\n";
const TEMPERATURE: &str = "[[column]]\nname = \"temperature\"\ntype = \"float64\"\nunit = \"Cel\"\ndescription = \"T.\"\n";

fn schema_folder(place: &Place, name: &str, event: &str, pointer: &str) -> PathBuf {
    let folder = place.path(name);
    fs::create_dir(&folder).unwrap();
    write(&folder.join("it.toml"), format!("{ENVELOPE}{event}\n{TEMPERATURE}pointer = \"{pointer}\"\n"));
    folder
}

/// `time,device_id,project_id,temperature,event_id,…` of the rows.
fn readings(place: &Place) -> Vec<String> {
    table(place, &[])[1..].iter().map(|row| row[..4].join(",")).collect()
}

#[test]
fn events_of_other_clouds_come_in_by_one_schema_file_each() {
    let place = Place::new();
    let cloud_events = schema_folder(
        &place,
        "cloudevents",
        "name = \"reading\"\ntype = \"/type\"\ntype_is = \"com.example.reading\"\nid = \"/id\"\ndevice = \"/source\"\ntime = \"/time\"",
        "/data/temperature",
    );
    let line = |id: u32| {
        format!(
            "{{\"specversion\":\"1.0\",\"type\":\"com.example.reading\",\"source\":\"/sensors/7\",\"id\":\"A-{id}\",\"time\":\"2026-11-23T0{id}:00:00Z\",\"data\":{{\"temperature\":{id}}}}}\n"
        )
    };
    let ran = import_with(&place, &cloud_events, &(line(0) + &line(1) + &line(1) + "{\"type\":\"other\",\"id\":\"x\"}\n"));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(readings(&place), ["2026-11-23T00:00:00.000000Z,/sensors/7,,0", "2026-11-23T01:00:00.000000Z,/sensors/7,,1"]);
    assert_eq!(place.events()[1]["type"], json!("com.example.reading"));

    let place = Place::new();
    let uplinks = schema_folder(
        &place,
        "things",
        "name = \"uplink\"\ntype = \"/uplink_message\"\nid = \"content\"\ndevice = \"/end_device_ids/device_id\"\ntime = \"/received_at\"",
        "/uplink_message/decoded_payload/temperature",
    );
    let line = |at: u32| {
        format!(
            "{{\"result\":{{\"end_device_ids\":{{\"device_id\":\"dev1\"}},\"received_at\":\"2026-11-23T0{at}:08:44.868680817Z\",\"uplink_message\":{{\"f_cnt\":{at},\"decoded_payload\":{{\"temperature\":{at}.5}}}}}}}}\n"
        )
    };
    let ran = import_with(&place, &uplinks, &(line(1) + &line(2) + &line(2)));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(readings(&place), ["2026-11-23T01:08:44.868680Z,dev1,,1.5", "2026-11-23T02:08:44.868680Z,dev1,,2.5"]);

    for (format, time, zone) in [
        ("unix", "\"1763856000\"", None),
        ("unix", "1763856000", None),
        ("local", "\"2025-11-23 01:00:00\"", Some("Europe/Oslo")),
        ("rfc3339", "\"2025-11-23 01:00:00+0100\"", None),
    ] {
        let place = Place::new();
        let zone = zone.map_or_else(String::new, |zone| format!("\nzone = \"{zone}\""));
        let event = format!(
            "name = \"tower\"\ntype = \"/model\"\ntype_is = \"Acurite-Tower\"\nid = \"content\"\ndevice = \"/id\"\ntime = \"/time\"\ntime_format = \"{format}\"{zone}"
        );
        let radio = schema_folder(&place, "radio", &event, "/temperature_C");
        let line = |space: &str| {
            format!("{{\"time\":{space}{time},\"model\":\"Acurite-Tower\",\"id\":1234,{space}\"temperature_C\":21.3}}\n")
        };
        // A line that comes twice is one event, however it is spaced.
        let ran = import_with(&place, &radio, &(line("") + &line(" ")));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(readings(&place), ["2025-11-23T00:00:00.000000Z,1234,,21.3"], "{format}");
        assert_eq!(place.run(&["verify"]).code, 0);
    }
}

#[test]
fn schema_check_refuses_what_no_event_could_ever_match() {
    let check = |event: &str| {
        let place = Place::new();
        let folder = schema_folder(&place, "s", event, "/data/temperature");
        place_check(&folder)
    };
    let other = "device = \"/source\"\ntime = \"/time\"\n";
    assert!(check("name = \"r\"\ntime = \"/time\"\n").contains("id = \"content\""));
    assert!(check(&format!("name = \"ping\"\nid = \"/eventId\"\n{other}")).contains("signs of life"));
    assert!(check(&format!("name = \"r\"\nid = \"/id\"\ntype = \"/~2\"\n{other}")).contains("`~0`"));
    assert!(check(&format!("name = \"r\"\nid = \"/id\"\ntype = \"/id\"\n{other}")).contains("two things stand at"));
    assert!(
        check(&format!("name = \"r\"\nid = \"/id\"\ntype = \"/type\"\ntime_format = \"local\"\n{other}"))
            .contains("needs a zone")
    );
    assert_eq!(check(&format!("name = \"r\"\nid = \"/id\"\ntype = \"/type\"\n{other}")), "");
}

#[test]
fn a_schema_file_that_names_no_place_of_the_type_takes_events_that_have_its_id_and_time_and_no_type() {
    let place = Place::new();
    let folder = schema_folder(
        &place,
        "s",
        "name = \"reading\"\nid = \"/id\"\ndevice = \"/source\"\ntime = \"/time\"",
        "/data/temperature",
    );
    let line = "{\"type\":\"anything\",\"source\":\"/sensors/7\",\"id\":\"A\",\"time\":\"2026-11-23T00:00:00Z\",\"data\":{\"temperature\":20}}\n";
    assert_eq!(import_with(&place, &folder, line).code, 0);
    assert_eq!(readings(&place), ["2026-11-23T00:00:00.000000Z,/sensors/7,,20"]);
    assert_eq!(place.events(), [serde_json::from_str::<Value>(line).unwrap()]);
    // A second one that no event could be told from is refused.
    let text = fs::read_to_string(folder.join("it.toml")).unwrap();
    write(&folder.join("other.toml"), text.replace("\"reading\"", "\"another\""));
    assert!(place_check(&folder).contains("cannot be told from"));
}

/// What `schema check` complains of.
fn place_check(folder: &std::path::Path) -> String {
    let output = crate::support::overnight().args(["schema", "check"]).arg(folder).output().unwrap();
    assert_eq!(output.status.success(), output.stderr.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
