//! Inputs to begin with: what the cloud sends, what people write, and what somebody once thought of as nasty.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::recorder::{Input, Recorder, Timing, import};
use overnight::store::meter::Meter;

use crate::targets::{NOW, sign, sum};

/// Pieces that break readers.
pub const TOKENS: &[&str] = &[
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "-0.0",
    "1e-400",
    "123456789012345678901234567890",
    "9007199254740993",
    "0.10",
    "1E+2",
    "00",
    "1.",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\\u0000",
    "\\u002B",
    "\\x",
    "\u{0}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\u{2028}",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "[[[[[[[[[[",
    "]]]]]]]]]]",
    "\"",
    "\\\"",
    "\\",
    ":",
    ",",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "null",
    "true",
    "false",
    "data:",
    "data: ",
    "event: x",
    ": c",
    "id: 7",
    "\"eventId\":",
    "\"eventType\":",
    "\"timestamp\":",
    "\"result\":{",
    "\"event\":{",
    "\"error\":",
    "\"data\":",
    "\"labels\":",
    "\"metadata\":",
    "ping",
    "touch",
    "temperature",
    "../../x",
    "CON",
    "con",
    "a/b",
    "..",
    "/",
    "//",
    "~1",
    "~0",
    "~",
    "2026-10-01T00:00:00.000000Z",
    "2026-10-01T00:00:00\\u002B02:00",
    "2016-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999999999999999999s",
    "1w",
    "ms",
    "format_version = 1",
    "[[column]]",
    "[[column.item]]",
    "[event]",
    "type = \"list\"",
    "type = \"json\"",
    "pointer = \"\"",
    "pointer = \"/\"",
    "unit = \"1\"",
    "=",
    "'",
    "\"\"\"",
    "hunter2",
    "HS256",
    "none",
    ".",
];

const EVENTS: &[&str] = &[
    r#"{"result":{"event":{"eventId":"c82gg9catj3vmh4248og","targetName":"projects/p/devices/d","eventType":"touch","data":{"touch":{"updateTime":"2022-02-10T12:42:13.313949Z"}},"timestamp":"2022-02-10T12:42:13.313949Z"}}}"#,
    r#"{"eventId":"cpbg96","targetName":"projects/p/devices/d","eventType":"temperature","data":{"temperature":{"value":27,"updateTime":"2024-05-29T10:34:03.970415Z","samples":[{"value":27.5,"sampleTime":"2024-05-29T10:34:03.970415Z"},{"value":-3,"sampleTime":"2024-05-29T10:29:03.970415Z"}],"isBackfilled":false}},"timestamp":"2024-05-29T10:34:03.970415Z"}"#,
    r#"{"event":{"eventId":"b","targetName":"projects/p/devices/d","eventType":"networkStatus","data":{"networkStatus":{"signalStrength":45,"rssi":-83,"updateTime":"2019-05-16T08:21:21.076013Z","cloudConnectors":[{"id":"bd","signalStrength":45,"rssi":-83}],"transmissionMode":"LOW_POWER_STANDARD_MODE"}},"timestamp":"2019-05-16T08:21:21.076013Z"},"labels":{"name":"x"},"metadata":{}}"#,
    r#"{"eventId":"bj","targetName":"projects/p/devices/d","eventType":"connectionStatus","data":{"connectionStatus":{"connection":"ETHERNET","available":["CELLULAR","ETHERNET"],"updateTime":"2019-05-16T08:21:21.076013Z"}},"timestamp":"2019-05-16T08:21:21.076013Z"}"#,
    r#"{"eventId":"x","targetName":"projects/p/devices/d","eventType":"labelsChanged","data":{"added":{"k":"v\ud800"},"modified":{},"removed":["k2","ø\"\n"]},"timestamp":"2024-05-29T10:34:03.970415Z"}"#,
    r#"{ "eventId": 7, "eventType": "wind", "more": [1.50, {"x": null}], "timestamp": "2026-10-01T02:00:00\u002B02:00" }"#,
    r#"{"result":{"event":{"eventId":"c","targetName":"projects/p","eventType":"ping","data":null,"timestamp":"2021-04-21T07:50:30.604786Z"}}}"#,
    r#"{"error":{"code":4,"message":"timed out","details":[]}}"#,
    r#"{"eventId":"n","eventType":"touch","data":{"touch":{"x":[[[[[[[[{"a":{"b":[]}}]]]]]]]]}},"timestamp":"2026-10-01T00:00:00Z"}"#,
    r#"{"eventId":"e","eventType":"touch","event\u0054ype":"co2","eventId":"twice","timestamp":"2026-10-01T00:00:00.123456789Z"}"#,
];

const SETTINGS: &[&str] = &[
    "1h30m",
    "15s",
    "500ms",
    "31d",
    "0.5w",
    "18446744073709551615s18446744073709551615s",
    "2026-11-23",
    "2026-11-23T10:34:03.970415Z",
    "2016-12-31T23:59:60.5+23:59",
    "2024-02-29t00:00:00z",
    "project = [\"p\"]\nevent_type = [\"touch\"]\nroll_every = \"15m\"\nindex_delay = \"1500ms\"\n",
    r#"{"serviceAccount":{"keyId":"key","secret":"hunter2","email":"a@b","tokenEndpoint":"http://localhost/token"}}"#,
];

const NAMES: &[&str] = &[
    "networkStatus\nnetworkstatus\nNetworkStatus\nnetWorkStatus",
    "touch\nTouch\nTOUCH\ntouch \n touch",
    "a/b\na/B\na%2Fb\na%2fb\na~b\n~\n%",
    "con\nCON\nnul\ncom1\nlpt9\naux.\n..\n.\n-x\n_x",
    "é\nÉ\ne\u{301}\nЕ\nE\nK\nk\nſ\ns\nı\ni\nI",
    "airQuality\nairquality\nairQUALITY",
];

/// What a target begins with.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_owned()).collect::<Vec<_>>();
    match target {
        "event" => texts(EVENTS),
        "input" => {
            let event = EVENTS[0];
            let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(event.as_bytes()).unwrap();
            let marked = format!("{event}\u{feff}{event}\n");
            let mut all =
                texts(&[event, &marked, "data: {}\n\n", "a,b\n1,2\n", "[{}]", "{\n}", "<html>", "PK\u{3}\u{4}", "PAR1"]);
            all.extend([utf16(event), utf16(&format!("\u{feff}{event}")), gzip.finish().unwrap()]);
            all.push(zstd::encode_all(event.as_bytes(), 1).unwrap());
            all
        }
        "json_lines" => {
            streams(&(EVENTS.iter().map(|event| format!("{event}\n")).collect::<String>() + "\u{feff}\n \r\nx\n\r\n"))
        }
        "server_sent_events" => streams(
            &(EVENTS.iter().map(|event| format!("event: e\r\nid: 1\r\ndata: {event}\r\n\r\n")).collect::<String>()
                + ": comment\rdata\rdata:\rdata: x\r\rdata:y\n\n: a long comment, longer than a line may be\ndata: z\n\n"),
        ),
        "schema_file" => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|root| root.join("schemas"));
            let folder = folder.into_iter().find(|folder| folder.is_dir()).expect("the folder of schemas");
            let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let mut all: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
            let deep = "/a".repeat(3000);
            all.push(String::from_utf8(all[0].clone()).unwrap().replace("/eventId", &deep).into_bytes());
            all
        }
        "push" => {
            let body = br#"{"event":{"eventId":"a"},"labels":{"name":"x","o":{"p":[1,null]}},"metadata":{"deviceId":"d","projectId":"p","deviceType":"touch","productNumber":""}}"#;
            let claims = format!(r#"{{"checksum_sha256":"{}","exp":{},"iat":{NOW},"jti":"j"}}"#, sum(body), NOW + 3600);
            let good = sign(br#"{"alg":"HS256","typ":"JWT"}"#, claims.as_bytes());
            let unsigned = [b"\n".as_slice(), body].concat();
            let deep = format!(r#"{{"p":{}1{}}}"#, r#"{"a":"#.repeat(1500), "}".repeat(1500));
            let deep = String::from_utf8_lossy(&unsigned).replace(r#"{"p":[1,null]}"#, &deep).into_bytes();
            vec![[good.as_bytes(), b"\n", body.as_slice()].concat(), unsigned, deep]
        }
        "signature" => {
            let claims = format!(r#"{{"checksum_sha256":"{}","exp":{},"iat":{NOW},"jti":"j"}}"#, sum(b"body"), NOW + 3600);
            let token = sign(br#"{"alg":"HS256"}"#, claims.as_bytes());
            vec![claims.into_bytes(), br#"{"alg":"none"}"#.to_vec(), token.into_bytes(), br#"{"exp":1e99,"iat":-1}"#.to_vec()]
        }
        "day_file" => day_files(),
        "settings" => texts(SETTINGS),
        "names" => texts(NAMES),
        other => panic!("no target {other}"),
    }
}

/// With a short line, and with the usual one.
fn streams(text: &str) -> Vec<Vec<u8>> {
    [[1, 20], [2, 255]].into_iter().map(|head| [head.as_slice(), text.as_bytes()].concat()).collect()
}

/// Small day files as the program writes them: of a type with lists, and of one without a schema.
fn day_files() -> Vec<Vec<u8>> {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::new(&place.path().join("recording"));
    let registry = Arc::new(Registry::built_in().unwrap());
    let recorder = Recorder::open(&layout, registry, Arc::new(Meter::default()), Timing::default()).unwrap();
    let lines: String = (0..20)
        .flat_map(|at| [EVENTS[1], EVENTS[2], EVENTS[5]].map(|event| event.replace("03.97", &format!("{at:02}.97")) + "\n"))
        .collect();
    import(&recorder, Input::open(lines.as_bytes()).unwrap(), Path::new("-"), |_| {}).unwrap();
    recorder.close().unwrap();
    let files = overnight::store::archive::day_files(&layout).unwrap();
    assert_eq!(files.len(), 3);
    files.iter().map(|(path, _)| std::fs::read(path).unwrap()).collect()
}
