//! Checking and mending: what `verify` finds, what a recorder sets aside, what `rebuild` brings up to date.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use overnight::base::disk;
use overnight::base::time::{Day, rfc3339};
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::query::coverage::GapState;
use overnight::store::archive::DayFile;
use overnight::verify::{Report, Severity, verify};
use serde_json::Value;

use crate::rolling::Recording;
use crate::support::{Place, Ran, by_key, lines, overnight, touch, write};

/// Imports a day of events that is long over, so that its day file is sealed, in a recording whose ledger has a project.
fn sealed(place: &Place) -> PathBuf {
    place.note("session", 1, 2);
    let text: String = (0..300).map(|at| touch(&format!("id{at:04}"), 1, at) + "\n").collect();
    assert_eq!(place.import(text).code, 0);
    place.dir().join("data/touch/2026-10-01.parquet")
}

fn check(place: &Place) -> Report {
    verify(&Layout::new(&place.dir()), &Registry::built_in().unwrap(), &rfc3339, |_| {}).unwrap()
}

fn damage(report: &Report) -> Vec<&str> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Damage).map(|finding| finding.path.as_str()).collect()
}

fn aside(place: &Place) -> Vec<PathBuf> {
    disk::list(&place.dir().join("state/damaged")).unwrap()
}

fn verified(place: &Place, code: i32) -> Ran {
    let ran = place.run(&["verify"]);
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_day_that_comes_in_more_pieces_than_one_is_sealed_with_the_checksum_of_its_last_bytes() {
    let place = Place::new();
    // More than a roll takes at once, of a day that is long over.
    let text: String = (0..150_000).map(|at| touch(&format!("id{at:06}"), 1, at / 2) + "\n").collect();
    assert_eq!(place.import(text).code, 0);
    let path = place.dir().join("data/touch/2026-10-01.parquet");
    assert!(DayFile::open(&path).unwrap().unwrap().footer().sealed);
    assert!(verified(&place, 0).stdout.contains("1 held against their checksums"));
    // Late events open it again.
    assert_eq!(place.import(touch("late", 2, 1)).code, 0);
    assert!(damage(&check(&place)).is_empty());
    assert_eq!(place.run(&["roll"]).code, 0);
    assert!(verified(&place, 0).stdout.contains("150,001 rows"));
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_file_is_found() {
    let place = Place::new();
    let path = sealed(&place);
    assert!(verified(&place, 0).stdout.contains("all is well"));
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(11).chain(good.len() - 16..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        write(&path, &bad);
        let report = check(&place);
        assert_eq!(damage(&report).first(), Some(&path.to_str().unwrap()), "byte {at}: {:?}", report.findings);
    }
    write(&path, &good[..good.len() - 1]);
    assert!(!damage(&check(&place)).is_empty(), "a byte is missing");
    write(&path, &good);
    assert_eq!(check(&place).worst(), None);
}

/// Flips a bit so that the file still reads, with another value in it.
fn change(path: &Path) {
    let good = fs::read(path).unwrap();
    let reads = |bytes: &[u8]| {
        write(path, bytes);
        let read = |file: DayFile| -> Option<usize> {
            let schema = Registry::built_in().unwrap().get("touch");
            let rows = file.rows((0..file.groups()).collect(), &schema).ok()?;
            rows.map(|rows| rows.ok().map(|rows| rows.num_rows())).sum()
        };
        DayFile::open(path).ok().flatten().and_then(read) == Some(300)
    };
    let changed = (4..good.len()).find(|at| {
        let mut bad = good.clone();
        bad[*at] ^= 8;
        reads(&bad)
    });
    assert!(changed.is_some(), "no bit of this file can change unseen");
}

#[test]
fn a_sealed_file_that_is_not_what_it_was_never_gets_a_new_checksum_as_if_it_were() {
    for by in ["a late event", "roll"] {
        let place = Place::new();
        let path = sealed(&place);
        change(&path);
        let changed = fs::read(&path).unwrap();
        verified(&place, 1);
        let (ran, events) = match by {
            "roll" => (place.run(&["roll"]), 300),
            _ => (place.import(touch("late", 1, 9000)), 301),
        };
        assert!(ran.code == 3 && ran.stderr.contains("checksum") && ran.stderr.contains("is a gap"), "{by}: {}", ran.stderr);
        assert!(aside(&place).iter().any(|path| fs::read(path).unwrap() == changed), "{by}");
        assert_eq!(place.events().len(), events);
        // A gap says so from now on, and nothing else is wrong.
        assert!(damage(&check(&place)).is_empty(), "{by}");
        verified(&place, 3);
        assert!(fs::read_to_string(place.dir().join("MANIFEST")).unwrap().contains(&disk::sha256(&path).unwrap().0), "{by}");
    }
}

#[test]
fn what_does_not_read_of_an_open_day_is_mended_by_a_roll_and_its_gap_ends_now() {
    let place = Place::new();
    // Of today, so that it stays open.
    let now = overnight::base::time::now();
    let time = |at: i64| overnight::base::time::rfc3339(now - (300 - at) * 1000);
    let event = |at: i64| touch(&format!("id{at:04}"), 1, 1).replace("2026-10-01T00:00:01.000000Z", &time(at));
    assert_eq!(place.import((0..300).map(|at| event(at) + "\n").collect::<String>()).code, 0);
    let path = place.dir().join(format!("data/touch/{}.parquet", Day::of(now)));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 3;
    bytes[at..at + 40].fill(0xa5);
    write(&path, &bytes);
    verified(&place, 1);
    assert_eq!(place.run(&["roll"]).code, 3);
    verified(&place, 3);
    // Nobody knows of a project here, and it is told all the same.
    let gaps = place.all_gaps();
    assert!(gaps.len() == 1 && !gaps[0].lasts && gaps[0].span.1 <= overnight::base::time::now(), "{gaps:?}");
}

#[test]
fn a_list_of_checksums_that_is_another_is_told_and_written_anew() {
    let place = Place::new();
    sealed(&place);
    let good = fs::read(place.dir().join("MANIFEST")).unwrap();
    write(&place.dir().join("MANIFEST"), "garbage");
    assert!(verified(&place, 0).stdout.contains("MANIFEST"));
    assert_eq!(place.run(&["roll"]).code, 0);
    assert_eq!(fs::read(place.dir().join("MANIFEST")).unwrap(), good);
    assert_eq!(check(&place).worst(), None);
}

#[test]
fn known_events_leave_a_sealed_file_and_its_checksum_as_they_are() {
    let place = Place::new();
    let path = sealed(&place);
    let before = (fs::read(&path).unwrap(), fs::read(place.dir().join("MANIFEST")).unwrap());
    assert_eq!(place.import(touch("id0007", 1, 7)).code, 0);
    assert_eq!((fs::read(&path).unwrap(), fs::read(place.dir().join("MANIFEST")).unwrap()), before);
    assert_eq!(check(&place).worst(), None);
}

#[test]
fn a_page_that_does_not_read_is_mended_by_the_event_that_meets_it() {
    let place = Place::new();
    let path = sealed(&place);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 3;
    bytes[at..at + 40].fill(0xa5);
    write(&path, &bytes);
    let ran = place.import(touch("late", 1, 9000));
    assert!(ran.code == 3 && ran.stderr.contains("imported 1 event"), "{}", ran.stderr);
    assert!(damage(&check(&place)).is_empty());
    assert!(place.events().iter().any(|event| event["eventId"] == "late"));
}

#[test]
fn a_sealed_file_that_is_gone_is_a_gap_before_another_takes_its_place() {
    let place = Place::new();
    let path = sealed(&place);
    fs::remove_file(&path).unwrap();
    assert_eq!(place.import(touch("late", 1, 9000)).code, 3);
    let gaps = place.all_gaps();
    assert!(gaps.iter().any(|gap| gap.cause == "a day file is gone"), "{gaps:?}");
    verified(&place, 3);
}

#[test]
fn plain_tools_check_the_manifest() {
    let place = Place::new();
    let path = sealed(&place);
    let manifest = fs::read_to_string(place.dir().join("MANIFEST")).unwrap();
    let expected = format!("{}  data/touch/2026-10-01.parquet\n", disk::sha256(&path).unwrap().0);
    assert_eq!(manifest, expected);
    let ran = Command::new("sha256sum").args(["--check", "MANIFEST"]).current_dir(place.dir()).output();
    // Not on every system.
    if let Ok(ran) = ran {
        assert!(ran.status.success(), "{ran:?}");
    }
    // A late event: another file, another checksum.
    assert_eq!(place.import(touch("late", 1, 9000)).code, 0);
    let later = fs::read_to_string(place.dir().join("MANIFEST")).unwrap();
    assert!(later != manifest && later.starts_with(&disk::sha256(&path).unwrap().0), "{later}");
    assert_eq!(check(&place).worst(), None);
}

#[test]
fn verify_says_what_where_and_what_to_do() {
    let place = Place::new();
    let path = sealed(&place);
    let folder = path.parent().unwrap();
    let copy = folder.join("2026-10-09.parquet");
    fs::copy(&path, &copy).unwrap();
    write(&folder.join("notes.txt"), "mine");
    write(&place.dir().join("state/staging/left.parquet"), "half");
    let ran = verified(&place, 1);
    for words in ["2026-10-09.parquet", "it is a copy", "notes.txt", "left.parquet", "the next recorder sweeps it"] {
        assert!(ran.stdout.contains(words), "no {words:?} in {}", ran.stdout);
    }
    let report: Value = serde_json::from_str(&place.run(&["verify", "--json"]).stdout).unwrap();
    assert_eq!(report["findings"][0]["severity"], "damage");
    for field in ["path", "expected", "found", "advice"] {
        assert!(report["findings"][0][field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    fs::remove_file(&copy).unwrap();
    fs::remove_file(folder.join("notes.txt")).unwrap();
    let moved = place.path("moved");
    fs::rename(&path, &moved).unwrap();
    assert!(verified(&place, 1).stdout.contains("overnight rebuild"));
    assert_eq!(place.run(&["rebuild"]).code, 0);
    verified(&place, 0);
    assert_eq!(fs::read_to_string(place.dir().join("MANIFEST")).unwrap(), "");
}

#[test]
fn gaps_that_the_recording_knows_of_are_no_damage() {
    let place = Place::new();
    sealed(&place);
    place.note("lost", 1_000_000, 2_000_000);
    assert!(verified(&place, 3).stdout.contains("a gap from 1970-01-01 00:00:01 UTC"));
}

/// Findings of events that stand twice: the file, and what was found.
fn doubles(place: &Place) -> Vec<(String, String)> {
    let ran = place.run(&["verify", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|one| one["severity"] == "double").collect();
    // The events came from files, so nobody noted a gap.
    assert_eq!(ran.code, if findings.is_empty() { 0 } else { 3 }, "{}{}", ran.stdout, ran.stderr);
    for finding in &findings {
        assert_eq!(finding["expected"], "each event id of a type once");
        assert!(finding["advice"].as_str().unwrap().contains("nothing is damaged"), "{finding}");
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.into_iter().map(|finding| (text(&finding["path"]), text(&finding["found"]))).collect()
}

#[test]
fn an_event_that_came_with_two_times_is_a_double_and_no_damage() {
    let place = Place::new();
    let day = |day: u32| place.dir().join(format!("data/touch/2026-10-0{day}.parquet")).display().to_string();
    let moved = |from: u32, to: u32| (0..5).map(|at| touch(&format!("day{from}id{at}"), to, 9 + at) + "\n").collect::<String>();
    place.import(moved(1, 1) + &moved(2, 2) + &moved(3, 3));
    assert_eq!(doubles(&place), []);
    // An id belongs to its type.
    place.import(moved(1, 4).replace("touch", "contact"));
    assert_eq!(doubles(&place), []);
    // In two day files.
    place.import(moved(1, 2));
    let [(path, found)] = doubles(&place).try_into().unwrap();
    assert!(path == day(2) && found.contains(&format!("in {}", day(1))), "{path}: {found}");
    let times = ["T00:00:09.000000Z", "; 4 more like it", "\"day1id0\"", "a double"];
    assert!(times.iter().all(|words| found.contains(words)), "{found}");
    // In one day file.
    place.import(touch("day3id0", 3, 4000));
    let [_, (path, found)] = doubles(&place).try_into().unwrap();
    assert!(path == day(3) && found.contains("here also with time"), "{path}: {found}");
    let ran = verified(&place, 3);
    assert!(ran.stdout.contains("double   ") && !ran.stdout.contains("all is well"), "{}", ran.stdout);
}

#[test]
fn a_double_is_found_in_the_buffer_and_what_the_roll_will_drop_is_none() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let some: Vec<String> = (0..20).map(|at| touch(&format!("id{at}"), 1, at)).collect();
    // Twice in the buffer; then in a day file, in the blocks that it holds, and again behind them.
    recording.keep(&some);
    recording.keep(&some);
    assert_eq!(doubles(&place), []);
    recording.roll(overnight::base::time::now(), false);
    recording.keep(&some[..3]);
    assert_eq!(doubles(&place), []);
    recording.roll(overnight::base::time::now(), true);
    recording.keep(&[touch("id7", 2, 7)]);
    let [(path, found)] = doubles(&place).try_into().unwrap();
    assert!(path.ends_with("2026-10-01.parquet") && found.contains("state/buffer.db"), "{path}: {found}");
}

#[test]
fn a_damaged_day_file_is_set_aside_and_its_day_is_a_gap() {
    let place = Place::new();
    let path = sealed(&place);
    let bytes = fs::read(&path).unwrap();
    write(&path, &bytes[..bytes.len() / 2]);
    verified(&place, 1);
    let ran = place.import(touch("new", 1, 1));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("state/damaged") && ran.stderr.contains("2026-10-01T00:00:00"), "{}", ran.stderr);
    assert_eq!(fs::read(&aside(&place)[0]).unwrap(), bytes[..bytes.len() / 2]);
    assert_eq!(place.events().len(), 1);
    let gaps = place.all_gaps();
    let day = Day::parse("2026-10-01").unwrap();
    // A day of long ago, which the history does not hold any more.
    assert_eq!((gaps.len(), gaps[0].span, gaps[0].state), (1, (day.start(), day.end()), GapState::Lost));
    // Nothing is damaged any more; what is missing is known.
    verified(&place, 3);
    assert_eq!(place.import(touch("newer", 1, 2)).code, 0);
}

#[test]
fn row_groups_that_read_are_taken_out_of_a_damaged_day_file() {
    let place = Place::new();
    let today = jiff::Timestamp::now();
    // Three row groups, in a file that is not sealed yet, because its day is not over.
    let event = |id: &str, second: i64| {
        let day = today.strftime("%Y-%m-%d").to_string();
        touch(id, 1, 0).replace("2026-10-01T00:00:00", &format!("{day}T00:{:02}:{:02}", second / 60, second % 60))
    };
    for group in 0..3 {
        let text: String = (0..40).map(|at| event(&format!("g{group}e{at:02}"), group * 60 + at) + "\n").collect();
        assert_eq!(place.import(text).code, 0);
    }
    let path = place.dir().join(format!("data/touch/{}.parquet", today.strftime("%Y-%m-%d")));
    let file = DayFile::open(&path).unwrap().unwrap();
    assert_eq!(file.groups(), 3);
    drop(file);
    let mut bytes = fs::read(&path).unwrap();
    // The first row group begins behind the magic number.
    bytes[4..60].fill(0xff);
    write(&path, &bytes);
    let ran = place.import(event("again", 5));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("80 of its rows could be read"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 81);
    assert_eq!(fs::read(&aside(&place)[0]).unwrap(), bytes);
    assert!(damage(&check(&place)).is_empty());
}

/// Many blocks in a buffer, none of them rolled.
fn buffered(place: &Place) -> usize {
    place.note("session", 1, 2);
    let mut recording = Recording::open(&place.dir());
    for block in 0..120 {
        let lines: Vec<String> = (0..20).map(|at| touch(&format!("b{block:03}e{at:02}"), 1, block * 20 + at)).collect();
        recording.keep(&lines);
    }
    recording.writer.step(&overnight::store::writer::Command::Vacuum, 1).unwrap();
    120 * 20
}

#[test]
fn a_damaged_buffer_is_set_aside_and_what_reads_is_taken_over() {
    let place = Place::new();
    let all = buffered(&place);
    let path = place.dir().join("state/buffer.db");
    let mut bytes = fs::read(&path).unwrap();
    // Pages in the middle, where the blocks are.
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 3 * 4096].fill(0xa5);
    write(&path, &bytes);
    verified(&place, 1);
    let ran = place.run(&["roll"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("the buffer was damaged") && ran.stderr.contains("state/damaged"), "{}", ran.stderr);
    let found = place.events();
    by_key(&found);
    assert!(found.len() > all / 2 && found.len() < all, "{} of {all} events", found.len());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(aside(&place).iter().any(|path| name(path).starts_with("buffer-") && fs::read(path).unwrap() == bytes));
    let gaps = place.all_gaps();
    assert!(gaps.iter().any(|gap| gap.cause == "the buffer was damaged" && gap.state == GapState::Lost), "{gaps:?}");
    verified(&place, 3);
}

#[test]
fn a_buffer_that_is_garbage_does_not_keep_a_recorder_from_recording() {
    let place = Place::new();
    sealed(&place);
    write(&place.dir().join("state/buffer.db"), "garbage, where a database was");
    assert_eq!(place.import(touch("new", 2, 1)).code, 3);
    assert_eq!(place.events().len(), 301);
    assert_eq!(fs::read_to_string(&aside(&place)[0]).unwrap(), "garbage, where a database was");
}

#[test]
fn a_block_that_does_not_read_becomes_a_fault_and_the_others_are_rolled() {
    let place = Place::new();
    let all = buffered(&place);
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    db.execute("UPDATE block SET body = x'00112233' WHERE seq = 7", []).unwrap();
    drop(db);
    assert!(verified(&place, 1).stdout.contains("block 7"));
    assert_eq!(place.run(&["roll"]).code, 3);
    assert_eq!(place.events().len(), all - 20);
    let status = place.status();
    assert_eq!((&status["faults"], &status["buffered"]), (&Value::from(1), &Value::from(0)));
    verified(&place, 3);
}

/// A schema file for an event type of our own, with so many of its fields as columns.
fn schema(place: &Place, version: u32, fields: &[(&str, &str)]) -> PathBuf {
    let folder = place.path(&format!("schemas-{version}"));
    fs::create_dir_all(&folder).unwrap();
    let mut text = format!(
        "format_version = 1\n[event]\nname = \"noise\"\nversion = {version}\ndescription = \"Loudness.\"\nid = \"/eventId\"\ndevice = \"/targetName\"\ntime = \"/timestamp\"\n"
    );
    for (name, kind) in fields {
        let unit = if *kind == "float64" { "unit = \"1\"\n" } else { "" };
        write!(
            text,
            "\n[[column]]\nname = \"{name}\"\npointer = \"/data/noise/{name}\"\ntype = \"{kind}\"\n{unit}description = \"{name}.\"\n"
        )
        .unwrap();
    }
    write(&folder.join("noise.toml"), text);
    folder
}

fn noise(at: u32) -> String {
    touch(&format!("n{at:03}"), 1, at)
        .replace("touch", "noise")
        .replace("\"updateTime\"", &format!("\"level\":{},\"peak\":{},\"updateTime\"", at % 50, at))
}

fn with_schemas(place: &Place, verb: &str, folder: &Path) -> Ran {
    place.run(&[verb, "--schemas", folder.to_str().unwrap()])
}

#[test]
fn rebuild_fills_columns_that_have_come_since_from_raw_and_nothing_else_changes() {
    let place = Place::new();
    let text: String = (0..100).map(|at| noise(at) + "\n").collect();
    assert_eq!(place.import(&text).code, 0);
    let before = place.events();
    let first = schema(&place, 1, &[("level", "float64")]);
    let ran = with_schemas(&place, "rebuild", &first);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let second = schema(&place, 2, &[("level", "float64"), ("peak", "float64"), ("updateTime", "timestamp")]);
    let ran = with_schemas(&place, "rebuild", &second);
    assert!(ran.stderr.contains("1 day file rebuilt"), "{}", ran.stderr);
    assert!(with_schemas(&place, "rebuild", &second).stderr.contains("0 day files rebuilt, 1 had"));
    assert_eq!(place.events(), before);
    assert_eq!(before, lines(&text));
    let csv = place.run(&["export", "--format", "csv"]).stdout;
    let mut rows = csv.lines();
    assert!(rows.next().unwrap().contains("level,peak,"), "{csv}");
    assert!(rows.all(|row| row.ends_with(',')), "raw is needed no more: {csv}");
    verified(&place, 0);
}

/// The formats of a recording: of its buffer, and of all its day files.
fn formats(recording: &Path) -> (i64, u32) {
    let layout = Layout::new(recording);
    let db = rusqlite::Connection::open(layout.buffer()).unwrap();
    let buffer = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let files = overnight::store::archive::day_files(&layout).unwrap();
    let of = |path: &PathBuf| {
        let file = fs::File::open(path).unwrap();
        let reader = parquet::file::reader::FileReader::metadata(
            &parquet::file::serialized_reader::SerializedFileReader::new(file).unwrap(),
        )
        .clone();
        let entries = reader.file_metadata().key_value_metadata().unwrap().clone();
        let version = entries.into_iter().find(|entry| entry.key == "overnight.format_version").unwrap().value.unwrap();
        version.parse::<u32>().unwrap()
    };
    let versions: std::collections::BTreeSet<u32> = files.iter().map(|(path, _)| of(path)).collect();
    assert_eq!(versions.len(), 1, "{}", recording.display());
    (buffer, *versions.first().unwrap())
}

#[test]
fn recordings_of_every_released_format_open() {
    let fixtures = disk::list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap();
    let fixtures: Vec<PathBuf> = fixtures.into_iter().filter(|path| path.is_dir()).collect();
    let place = Place::new();
    assert_eq!(place.import(touch("new", 1, 1)).code, 0);
    let today = formats(&place.dir());
    let known: Vec<_> = fixtures.iter().map(|fixture| formats(&fixture.join("recording"))).collect();
    assert!(known.contains(&today), "no fixture of the format {today:?}: tests/fixtures/make.py makes one");
    for fixture in fixtures {
        let place = Place::new();
        copy(&fixture.join("recording"), &place.dir());
        let expected = lines(&fs::read_to_string(fixture.join("events.ndjson")).unwrap());
        let status = place.status();
        let has = |field: &str| status[field].as_u64().unwrap() > 0;
        assert!(has("buffered") && has("faults") && has("gaps"), "{status}");
        assert!(["touch", "wind"].iter().all(|name| status["partitions"].to_string().contains(name)), "{status}");
        // As it stands, nothing is damaged.
        assert!(damage(&check(&place)).is_empty(), "{}", fixture.display());
        let exported = place.events();
        let (found, wanted) = (by_key(&exported), by_key(&expected));
        assert_eq!(found, wanted, "{}", fixture.display());
        // It is copied as it is, restored, and becomes a part of a recording of today.
        let (backups, new, merged) = (place.path("backups"), place.path("new"), Place::new());
        assert_eq!(place.run(&["backup", backups.to_str().unwrap()]).code, 0);
        assert_eq!(overnight().arg("restore").arg(&backups).arg("--dir").arg(&new).output().unwrap().status.code(), Some(0));
        let ran = overnight().arg("merge").arg(&new).arg("--dir").arg(merged.dir()).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!((by_key(&merged.events()), merged.status()["gaps"].clone()), (wanted.clone(), status["gaps"].clone()));
        // Written to, rolled, sealed and rebuilt, it is still whole.
        let ran = place.import(touch("new", 3, 1));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        // What it was stands beside it, for the program of before.
        let version = formats(&new).0;
        let before = place.dir().join(format!("state/before-{version}.db"));
        assert_eq!((before.exists(), ran.stderr.contains("for the program of before")), (version < today.0, version < today.0));
        assert_eq!(place.run(&["rebuild"]).code, 0);
        let exported = place.events();
        let found = by_key(&exported);
        assert!(wanted.iter().all(|(key, event)| found.get(key) == Some(event)) && found.len() == wanted.len() + 1);
        let status = place.status();
        assert_eq!(status["buffered"], 0);
        assert!(status["faults"].as_u64() > Some(0), "{status}");
        assert!(damage(&check(&place)).is_empty(), "{}", fixture.display());
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in disk::list(from).unwrap() {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_schema_whose_list_items_have_become_more_is_read_and_rebuilt() {
    // The built-in type with a list, as it would be one version on.
    let registry = Registry::built_in().unwrap();
    let old = registry.get("temperature");
    let place = Place::new();
    let text = r#"{"eventId":"a","targetName":"projects/p/devices/d","eventType":"temperature","data":{"temperature":{"value":1.5,"updateTime":"2026-10-01T00:00:00.000000Z","samples":[{"value":1.5,"sampleTime":"2026-10-01T00:00:00.000000Z","noise":3}],"isBackfilled":false}},"timestamp":"2026-10-01T00:00:00.000000Z"}"#;
    assert_eq!(place.import(text).code, 0);
    let before = place.events();
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/temperature.toml")).unwrap();
    let item =
        "[[column.item]]\nname = \"noise\"\npointer = \"/noise\"\ntype = \"float64\"\nunit = \"1\"\ndescription = \"Noise.\"\n\n";
    let last = "[[column]]\nname = \"is_backfilled\"";
    let grown = source
        .replacen(&format!("\nversion = {}", old.version), &format!("\nversion = {}", old.version + 1), 1)
        .replacen(last, &format!("{item}{last}"), 1);
    let folder = place.path("grown");
    fs::create_dir(&folder).unwrap();
    write(&folder.join("temperature.toml"), grown);
    let ran = with_schemas(&place, "rebuild", &folder);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 day file rebuilt"), "{}", ran.stderr);
    assert_eq!(place.events(), before);
    let csv = place.run(&["export", "--format", "csv"]).stdout;
    assert!(csv.lines().nth(1).unwrap().ends_with(','), "raw is needed no more: {csv}");
}
