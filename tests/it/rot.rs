//! Bit rot in the buffer: what SQLite's own check does not see. No verb dies of it, and nothing else is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use overnight::base::time::rfc3339;
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::query::coverage::GapState;
use overnight::verify::{Severity, verify};
use rusqlite::{Connection, params};

use crate::recovery::copy;
use crate::rolling::Recording;
use crate::support::{Place, Ran, touch};

/// Events of a block.
const EVENTS: usize = 40;
/// The block that rots, of three.
const SEQ: i64 = 2;

/// Three blocks in a buffer, of one day, the last compressed as the others are; `of_before`: without checksums, as older programs
/// wrote them.
fn buffered(of_before: bool) -> Place {
    let place = Place::new();
    place.note("session", 1, 2);
    let mut recording = Recording::open(&place.dir());
    for block in 0..3 {
        let at = |number: usize| u32::try_from(block * EVENTS + number).unwrap();
        let lines: Vec<String> = (0..EVENTS).map(|number| touch(&format!("b{block}e{number:02}"), 1, at(number))).collect();
        recording.keep(&lines);
    }
    drop(recording);
    if of_before {
        let db = database(&place);
        for seq in 1..=3 {
            let columns = "SELECT parts, body FROM block WHERE seq = ?";
            let (parts, body): (String, Vec<u8>) = db.query_row(columns, [seq], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let length: usize = parts.trim_end_matches(']').rsplit(',').next().unwrap().parse().unwrap();
            let old = of_version_3(&zstd::bulk::decompress(&body, length).unwrap());
            let parts = parts.replace(&format!(",{length}]"), &format!(",{}]", old.len()));
            let set = "UPDATE block SET checksum = NULL, parts = ?, body = ? WHERE seq = ?";
            db.execute(set, params![parts, old, seq]).unwrap();
        }
    }
    place
}

/// The same rows as older programs wrote them, whose columns were compressed one by one.
fn of_version_3(stream: &[u8]) -> Vec<u8> {
    let mut reader = StreamReader::try_new(stream, None).unwrap();
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &reader.schema(), options).unwrap();
    writer.write(&reader.next().unwrap().unwrap()).unwrap();
    writer.into_inner().unwrap()
}

fn database(place: &Place) -> Connection {
    Connection::open(Layout::new(&place.dir()).buffer()).unwrap()
}

fn body(db: &Connection) -> Vec<u8> {
    db.query_row("SELECT body FROM block WHERE seq = ?", [SEQ], |row| row.get(0)).unwrap()
}

fn set_body(db: &Connection, body: &[u8]) {
    db.execute("UPDATE block SET body = ? WHERE seq = ?", params![body, SEQ]).unwrap();
}

/// The same recording once more.
fn again(place: &Place) -> Place {
    let other = Place::new();
    copy(&place.dir(), &other.dir());
    other
}

/// What each verb that reads says of it.
fn read_by_all(place: &Place) -> Vec<(String, Ran)> {
    let to = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let page = to("page.html");
    let files = format!("{}/", to("files"));
    let verbs: [&[&str]; 9] = [
        &["status"],
        &["gaps"],
        &["verify"],
        &["export", "--format", "ndjson"],
        &["export", "--format", "csv", "--every", "1h"],
        &["export", "--format", "parquet", "-o", &files],
        &["plot", "--event-type", "touch"],
        &["report", "-o", &page],
        &["sql"],
    ];
    let is_built = |verb: &&&[&str]| cfg!(feature = "reports") || !["plot", "report"].contains(&verb[0]);
    verbs.iter().filter(is_built).map(|arguments| (arguments.join(" "), place.run(arguments))).collect()
}

fn ids(place: &Place) -> BTreeSet<String> {
    place.events().iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
}

fn others() -> BTreeSet<String> {
    [0, 2].iter().flat_map(|block| (0..EVENTS).map(move |number| format!("b{block}e{number:02}"))).collect()
}

/// Runs every verb on a recording whose block has rotted, and a recorder at last.
fn endures(place: &Place, what: &str, is_seen: bool) {
    for (verb, ran) in read_by_all(place) {
        assert!([0, 1, 3].contains(&ran.code), "{what}: {verb} ended with {}: {}", ran.code, ran.stderr);
        let reads_rows = verb.starts_with("export") || verb.starts_with("verify");
        if is_seen && reads_rows {
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(ran.code != 0 && said.contains(&format!("block {SEQ}")), "{what}: {verb}: {} {said}", ran.code);
        }
    }
    assert!(ids(place).is_superset(&others()), "{what}: an export has all but the block");
    let ran = place.import(touch("new", 2, 1));
    assert!([0, 3].contains(&ran.code) && (!is_seen || ran.code == 3), "{what}: {} {}", ran.code, ran.stderr);
    let found = ids(place);
    assert!(found.is_superset(&others()) && found.contains("new"), "{what}: {} events", found.len());
    if is_seen {
        assert_eq!(found.len(), others().len() + 1, "{what}");
        let gaps = place.all_gaps();
        let of_block =
            |gap: &overnight::query::coverage::Gap| gap.cause == "the buffer was damaged" && gap.state == GapState::Lost;
        assert!(gaps.iter().any(of_block), "{what}: {gaps:?}");
        // It is kept as it is, and told.
        assert_eq!(place.status()["faults"], 1, "{what}");
        assert_eq!(place.run(&["verify"]).code, 3, "{what}");
    }
}

#[test]
fn a_flipped_bit_of_a_block_is_told_by_every_verb_and_takes_no_other_event_along() {
    let place = buffered(false);
    let good = body(&database(&place));
    for bit in (0..good.len() * 8).step_by(good.len() * 8 / 9).chain([good.len() * 8 - 1]) {
        let place = again(&place);
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        set_body(&database(&place), &bad);
        endures(&place, &format!("bit {bit}"), true);
    }
}

#[test]
fn no_bit_of_a_block_nor_of_what_stands_beside_it_flips_unseen() {
    let place = buffered(false);
    let (db, layout) = (database(&place), Layout::new(&place.dir()));
    let is_seen = || {
        let report = verify(&layout, &Registry::built_in().unwrap(), &rfc3339, |_| {}).unwrap();
        report.findings.iter().any(|finding| finding.severity == Severity::Damage)
    };
    assert!(!is_seen());
    let good = body(&db);
    for bit in (0..good.len() * 8).step_by(31) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        set_body(&db, &bad);
        assert!(is_seen(), "bit {bit}");
    }
    set_body(&db, &good);
    for column in ["time_first", "time_last", "kept_at", "checksum"] {
        for bit in [0, 1, 12, 30] {
            let flip = format!("UPDATE block SET {column} = ({column} | ?1) - ({column} & ?1) WHERE seq = ?2");
            db.execute(&flip, params![1_i64 << bit, SEQ]).unwrap();
            assert!(is_seen(), "bit {bit} of {column}");
            db.execute(&flip, params![1_i64 << bit, SEQ]).unwrap();
        }
    }
    let parts: String = db.query_row("SELECT parts FROM block WHERE seq = ?", [SEQ], |row| row.get(0)).unwrap();
    for at in 0..parts.len() {
        let mut bad = parts.clone().into_bytes();
        bad[at] ^= 1;
        db.execute("UPDATE block SET parts = ? WHERE seq = ?", params![String::from_utf8(bad).unwrap(), SEQ]).unwrap();
        assert!(is_seen(), "byte {at} of what is in it");
    }
}

#[test]
fn blocks_of_older_programs_have_no_checksum_and_bring_nothing_down_whatever_is_in_them() {
    let place = buffered(true);
    assert_eq!(ids(&place).len(), 3 * EVENTS);
    let db = database(&place);
    let good = body(&db);
    let layout = Layout::new(&place.dir());
    for bit in (0..good.len() * 8).step_by(13) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        set_body(&db, &bad);
        verify(&layout, &Registry::built_in().unwrap(), &rfc3339, |_| {}).unwrap();
    }
    set_body(&db, &good);
    drop(db);
    // Lengths that no memory holds: of messages, of columns, of what is compressed in them.
    let words = good.len() / 8;
    for word in (0..words).step_by(words / 8) {
        for length in [1_i64 << 40, i64::MAX, -2] {
            let place = again(&place);
            let mut bad = good.clone();
            bad[word * 8..word * 8 + 8].copy_from_slice(&length.to_le_bytes());
            set_body(&database(&place), &bad);
            let code = place.run(&["export", "--format", "ndjson"]).code;
            assert!([0, 1, 3].contains(&code), "{length} at {}: {code}", word * 8);
            let ran = place.import(touch("new", 2, 1));
            assert!([0, 3].contains(&ran.code), "{length} at {}: {} {}", word * 8, ran.code, ran.stderr);
        }
    }
    let bad = again(&place);
    set_body(&database(&bad), b"no block at all");
    endures(&bad, "no block at all", true);
}

#[test]
fn a_block_that_does_not_say_what_is_in_it_is_told_and_its_time_is_a_gap() {
    let place = buffered(false);
    database(&place).execute("UPDATE block SET parts = 'no parts' WHERE seq = ?", [SEQ]).unwrap();
    endures(&place, "no parts", true);
}

#[test]
fn what_is_noted_of_a_roll_hides_no_event_when_it_rots() {
    let place = buffered(false);
    let db = database(&place);
    // What a version of before did not roll yet, and what nobody ever noted with its checksum.
    for (day, seq, checksum) in [(20_727, 3, 7), (20_727, i64::MAX, 0)] {
        let sql = "INSERT OR REPLACE INTO rolled (event_type, day, seq, checksum) VALUES ('touch', ?, ?, ?)";
        db.execute(sql, params![day, seq, checksum]).unwrap();
        assert_eq!(ids(&place).len(), 3 * EVENTS);
    }
    for (verb, ran) in read_by_all(&place) {
        assert!([0, 1, 3].contains(&ran.code), "{verb} ended with {}: {}", ran.code, ran.stderr);
    }
    place.import(touch("new", 2, 1));
    assert_eq!(ids(&place).len(), 3 * EVENTS + 1);
}

#[test]
fn a_bit_that_flips_in_the_schema_of_the_buffer_keeps_nobody_from_recording() {
    let place = buffered(false);
    database(&place).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let path: PathBuf = Layout::new(&place.dir()).buffer();
    let good = fs::read(&path).unwrap();
    for text in ["order of keeping", "event_type TEXT", "CREATE TABLE fault"] {
        let other = again(&place);
        let mut bad = good.clone();
        // Older texts of it lie about as well.
        for at in memchr::memmem::find_iter(&good, text.as_bytes()) {
            bad[at + 2] ^= 1;
        }
        assert!(bad != good, "{text}");
        fs::write(Layout::new(&other.dir()).buffer(), bad).unwrap();
        assert_eq!(other.run(&["verify"]).code, 1, "{text}");
        let ran = other.import(touch("new", 2, 1));
        assert_eq!(ran.code, 3, "{text}: {}", ran.stderr);
        // Where it is no comment, SQLite finds no table there any more: it is all set aside, and a gap.
        let wanted = if text == "order of keeping" { 3 * EVENTS + 1 } else { 1 };
        assert!(
            ids(&other).len() == wanted && other.dir().join("state/damaged").exists(),
            "{text}: {} {}",
            ids(&other).len(),
            ran.stderr
        );
        assert!(wanted > 1 || !other.all_gaps().is_empty(), "{text}");
    }
}
