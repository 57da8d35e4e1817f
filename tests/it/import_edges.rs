//! What people give an import that is no NDJSON: read where it is plainly meant, else refused by name; never faults.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Place, Ran, overnight, touch, write};

const MARK: &str = "\u{feff}";

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes.as_ref()).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).unwrap()
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

/// So many events, one a line.
fn events(count: u32) -> String {
    (0..count).map(|number| touch(&format!("i{number}"), 1, number) + "\n").collect()
}

fn import_file(place: &Place, name: &str, bytes: impl AsRef<[u8]>) -> Ran {
    let path = place.path(name);
    write(&path, bytes);
    place.run(&["import", path.to_str().unwrap()])
}

#[test]
fn what_is_plainly_meant_is_read_from_files_and_from_standard_input() {
    let text = events(4);
    let sse: String =
        text.lines().map(|line| format!("event: message\r\ndata: {{\"result\":{{\"event\":{line}}}}}\r\n\r\n")).collect();
    let with_marks: String = text.lines().map(|line| format!("{MARK}{line}\n")).collect();
    // Files whose last lines have no end, with marks and without.
    let put_together = text.lines().collect::<Vec<_>>().join(MARK);
    let without_ends = text.lines().collect::<String>();
    let large = events(3000);
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("a mark before", format!("{MARK}{text}").into(), 4),
        ("marks before lines", with_marks.into(), 4),
        ("marks between events", put_together.into(), 4),
        ("no line ends between files", without_ends.into(), 4),
        ("UTF-16LE", utf16(&format!("{MARK}{text}"), u16::to_le_bytes), 4),
        ("UTF-16BE", utf16(&format!("{MARK}{text}"), u16::to_be_bytes), 4),
        ("UTF-16LE, twice", utf16(&format!("{MARK}{text}{MARK}{text}"), u16::to_le_bytes), 4),
        ("gzip", gzip(&large), 3000),
        ("gzip, two members", [gzip(events(2)), gzip(&text)].concat(), 4),
        ("gzip of UTF-16", gzip(utf16(&format!("{MARK}{large}"), u16::to_le_bytes)), 3000),
        ("zstd", zstd(&large), 3000),
        ("zstd, two frames", [zstd(events(2)), zstd(&text)].concat(), 4),
        ("zstd of SSE", zstd(&sse), 4),
        ("SSE", sse.clone().into(), 4),
        ("SSE, its last blank line missing", sse.trim_end().into(), 4),
        ("SSE with comments first", format!(": hello\n\nretry: 10\n\n{sse}").into(), 4),
        ("SSE put together with marks", format!("{MARK}{sse}{MARK}{sse}").into(), 4),
        (
            "SSE behind the head of its answer",
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{sse}").into(),
            4,
        ),
        ("nothing", Vec::new(), 0),
        ("an empty gzip", gzip(""), 0),
    ];
    for (what, bytes, count) in cases {
        let place = Place::new();
        let ran = import_file(&place, "night", &bytes);
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
        let recorded = place.events();
        assert_eq!((recorded.len(), place.status()["faults"].as_u64()), (count, Some(0)), "{what}");
        let place = Place::new();
        assert_eq!(place.import(&bytes).code, 0, "{what}");
        assert_eq!(place.events(), recorded, "{what}");
    }
}

#[test]
#[cfg_attr(not(feature = "workbooks"), ignore = "asks for what this build is made without")]
fn what_is_plainly_something_else_is_refused_by_name_and_nothing_of_it_is_kept() {
    let place = Place::new();
    assert_eq!(place.import(events(2)).code, 0);
    let exported = |format: &str| {
        let path = place.path(&format!("out.{format}"));
        let ran = place.run(&["export", "--event-type", "touch", "--format", format, "-o", path.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        fs::read(path).unwrap()
    };
    let csv = exported("csv");
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = (0..1_000_000).map(|_| random.u8(..)).collect();
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&touch("a", 1, 1)).unwrap()).unwrap();
    let array = format!("[{}]", events(900).trim_end().replace('\n', ","));
    let mut tar = vec![0; 1024];
    tar[..5].copy_from_slice(b"night");
    tar[257..262].copy_from_slice(b"ustar");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Parquet", exported("parquet")),
        ("Arrow", exported("arrow")),
        ("XLSX", exported("xlsx")),
        ("CSV", csv.clone()),
        ("CSV", "time;value\r\n2026-10-01;7,5\r\n".into()),
        ("CSV", gzip(csv)),
        ("ZIP", [b"PK\x03\x04".as_slice(), &noise].concat()),
        ("PNG", [b"\x89PNG\r\n\x1a\n".as_slice(), &noise].concat()),
        ("PDF", [b"%PDF-1.7\n".as_slice(), &noise].concat()),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec()),
        ("gzip of a tar", gzip(tar)),
        ("gzip in zstd", zstd(gzip(events(2)))),
        ("zstd in gzip", gzip(zstd(events(2)))),
        ("SQLite", fs::read(place.dir().join("state/buffer.db")).unwrap()),
        ("UTF-16", utf16(&events(4), u16::to_le_bytes)),
        ("UTF-16", utf16(&events(4), u16::to_be_bytes)),
        (
            "UTF-32",
            events(4).chars().fold(vec![0xff, 0xfe, 0, 0], |mut all, c| {
                all.extend(u32::from(c).to_le_bytes());
                all
            }),
        ),
        ("over several lines", pretty.clone().into()),
        ("over several lines", format!("{MARK}{pretty}\n").repeat(500).into()),
        ("array", array.into()),
        ("array", format!("[\n{pretty},\n{pretty}\n]\n").into()),
        ("HTML", "<!DOCTYPE html>\n<html>please log in</html>\n".into()),
        ("XML", "<?xml version=\"1.0\"?>\n<events/>\n".into()),
        ("text", "Nov 26 11:44:01 host systemd: started\n".repeat(9000).into()),
        ("CR alone", events(3).replace('\n', "\r").into()),
        ("sequence", events(3).lines().map(|line| format!("\u{1e}{line}\n")).collect::<String>().into()),
        ("text", "{'eventId': 'a'}\n{'eventId': 'b'}\n".into()),
        ("no text", noise),
    ];
    for (what, bytes) in &cases {
        let ran = import_file(&place, "night", bytes);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(what) && ran.stderr.contains("night") && ran.stderr.contains("nothing was taken"),
            "{what}: {}",
            ran.stderr
        );
        let path = place.path("night");
        let piped =
            overnight().args(["import", "-", "--dir"]).arg(place.dir()).stdin(fs::File::open(path).unwrap()).output().unwrap();
        assert!(Ran::new(&piped).stderr.contains(what), "{what}");
    }
    assert_eq!((place.events().len(), place.status()["faults"].as_u64()), (2, Some(0)));
    // Nor is a recording begun for it.
    let place = Place::new();
    assert_eq!(import_file(&place, "night", "a;b\n1;2\n").code, 1);
    assert!(!place.dir().exists());
}

#[test]
fn a_bad_line_among_good_ones_is_a_fault_wherever_it_stands() {
    for text in [
        format!("not json\n\u{0}\u{0}\n1,2,3\n<html>\n{}", events(2)),
        format!("{}{}", &touch("x", 1, 1)[40..], "\n".to_owned() + &events(2) + "[1]\n{\n\"a\":"),
        format!("{{\"eventId\":\"cut\n{}", events(2)),
    ] {
        let place = Place::new();
        assert_eq!(place.import(&text).code, 3, "{text}");
        assert_eq!(place.events().len(), 2, "{text}");
        assert!(place.status()["faults"].as_u64() >= Some(1));
    }
    // An event that was cut off is all of it: kept as what it is.
    let place = Place::new();
    assert_eq!(place.import(&touch("a", 1, 1)[..80]).code, 3);
    assert_eq!(place.status()["faults"], 1);
}

#[test]
fn half_a_character_of_utf16_makes_its_line_a_fault_and_no_other() {
    let text = format!("{MARK}{}{}", touch("a", 1, 1) + "\n", touch("b", 1, 2) + "\n");
    let mut bytes = utf16(&text, u16::to_le_bytes);
    let at = bytes.windows(2).position(|pair| pair == b"d\0").unwrap();
    bytes[at..at + 2].copy_from_slice(b"\x3d\xd8");
    let place = Place::new();
    assert_eq!(place.import(bytes).code, 3);
    assert_eq!((place.events().len(), place.status()["faults"].as_u64()), (1, Some(1)));
}

#[test]
fn packed_input_that_is_cut_off_or_damaged_says_so_and_what_came_before_is_kept() {
    for (name, packed) in [("gzip", gzip(events(3000))), ("zstd", zstd(events(3000)))] {
        let place = Place::new();
        let ran = import_file(&place, "night", &packed[..packed.len() - 20]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("this {name} ends in the middle")) && ran.stderr.contains("are kept"),
            "{}",
            ran.stderr
        );
        let kept = place.events().len();
        assert!(kept > 1000 && place.status()["faults"] == 0, "{name}: {kept} kept");
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 200].fill(0xa5);
        let ran = import_file(&place, "night", damaged);
        // Damage may look like an end.
        let says = |what: &str| ran.stderr.contains(&format!("this {name} {what}"));
        assert!(ran.code == 1 && (says("is damaged") || says("ends in the middle")), "{}", ran.stderr);
        // The whole of it mends that.
        assert_eq!(import_file(&place, "night", packed).code, 0);
        assert_eq!(place.events().len(), 3000);
    }
}

#[test]
fn packed_input_that_grows_without_end_is_refused() {
    let bomb = events(1) + &" ".repeat(200 * 1024 * 1024);
    for (name, packed) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
        let place = Place::new();
        let ran = import_file(&place, "night", packed);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(name) && ran.stderr.contains("times its size"), "{}", ran.stderr);
        assert_eq!(place.events().len(), 1);
    }
}

/// A recording with two events and five faults of two reasons.
fn with_faults() -> Place {
    let place = Place::new();
    let text = format!("{}not json\nneither\u{1b}[31m\n{{\"eventId\":\"x\"}}\n", events(2));
    assert_eq!(place.import(&text).code, 3);
    assert_eq!(place.import(events(1) + "\u{ff}\n\u{ff}\n").code, 3);
    place
}

fn faults(place: &Place) -> Vec<Value> {
    let ran = place.run(&["faults", "list", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn faults_are_listed_by_reason_with_how_many_when_and_an_example() {
    let place = with_faults();
    let listed = faults(&place);
    assert_eq!(listed.iter().map(|fault| fault["count"].as_u64().unwrap()).sum::<u64>(), 5);
    for fault in &listed {
        let (first, last) = (fault["first_at"].as_str().unwrap(), fault["last_at"].as_str().unwrap());
        assert!(first <= last && first.ends_with('Z') && !fault["reason"].as_str().unwrap().is_empty(), "{fault}");
        assert!(!fault["example"].as_str().unwrap().is_empty(), "{fault}");
    }
    let ran = place.run(&["faults", "list"]);
    for text in ["5 faults", "not JSON", "no event type", "such as: "] {
        assert!(ran.stdout.contains(text), "{text} is not in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "{:?}", ran.stdout);
    let none = Place::new();
    assert_eq!(none.import(events(1)).code, 0);
    assert_eq!((faults(&none).len(), none.run(&["faults", "list"]).stdout.as_str()), (0, "no faults\n"));
}

#[test]
fn faults_are_dropped_only_as_asked_and_confirmed() {
    let place = with_faults();
    let count = |place: &Place| place.status()["faults"].as_u64().unwrap();
    // Neither without a word on which, nor without a yes where nobody can be asked.
    assert_eq!(place.run(&["faults", "drop", "--yes"]).code, 2);
    assert_eq!(place.run(&["faults", "drop", "--all", "--reason", "x", "--yes"]).code, 2);
    let ran = place.run(&["faults", "drop", "--all"]);
    assert!(ran.code == 2 && ran.stderr.contains("5 faults") && ran.stderr.contains("--yes"), "{}", ran.stderr);
    for (more, what) in [(["--before", "2020-01-01"], "nothing to drop"), (["--reason", "no such"], "nothing to drop")] {
        let ran = place.run(&[&["faults", "drop", "--yes"], more.as_slice()].concat());
        assert!(ran.code == 0 && ran.stderr.contains(what), "{}", ran.stderr);
    }
    assert_eq!(count(&place), 5);
    let ran = place.run(&["faults", "drop", "--reason", "no event type", "--before", "2999-01-01", "--yes"]);
    assert!(ran.code == 0 && ran.stderr.contains("dropped 1 fault"), "{}", ran.stderr);
    assert_eq!(count(&place), 4);
    assert_eq!(place.run(&["faults", "drop", "--all", "--yes"]).code, 0);
    assert_eq!((count(&place), place.run(&["status"]).code, place.events().len()), (0, 0, 2));
}

#[test]
fn the_room_of_faults_that_were_dropped_is_given_back() {
    let place = Place::new();
    let line = "x".repeat(60_000) + "\n";
    assert_eq!(place.import(events(1) + &line.repeat(100)).code, 3);
    let size = || fs::metadata(place.dir().join("state/buffer.db")).unwrap().len();
    let before = size();
    assert_eq!(place.run(&["faults", "drop", "--all", "--yes"]).code, 0);
    assert!(before > 6_000_000 && size() < 1_000_000, "{before}, {}", size());
}

#[test]
fn faults_are_listed_beside_a_recorder_and_dropped_only_without_one() {
    let place = with_faults();
    let mut recorder = overnight().args(["import", "-", "--dir"]).arg(place.dir()).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = recorder.stdin.take().unwrap();
    // More than is looked at before the recording is opened.
    input.write_all(events(1000).as_bytes()).unwrap();
    crate::support::until("the import writes", || place.status()["recording"] == true);
    assert_eq!(faults(&place).len(), 2);
    let ran = place.run(&["faults", "drop", "--all", "--yes"]);
    assert!(ran.code == 1 && ran.stderr.contains("another recorder is writing"), "{}", ran.stderr);
    drop(input);
    assert!(recorder.wait().unwrap().success());
    assert_eq!(place.run(&["faults", "drop", "--all", "--yes"]).code, 0);
    assert_eq!(faults(&place).len(), 0);
}
