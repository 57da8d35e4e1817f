//! Where a recording lies and who reads it there: files that grow under their readers.

use std::fs;

use overnight::archive::DayFile;

use crate::rolling::Recording;
use crate::support::{Place, by_key, touch};

/// Long after all events of these tests.
const NOW: i64 = 1_800_000_000_000_000;

/// So many touch events of the second of October.
fn some(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|at| touch(&format!("id{at:05}"), 2, at)).collect()
}

#[test]
fn a_day_file_that_grew_ends_at_every_older_length_in_the_footer_that_stood_there() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let day = overnight::time::Day::parse("2026-10-02").unwrap();
    let path = place.dir().join("data/touch/2026-10-02.parquet");
    let cut = place.path("cut.parquet");
    // Lengths of the file since it was rewritten, and the rows that it had then.
    let mut lengths: Vec<(usize, u64)> = Vec::new();
    let mut rewrites = 0;
    let mut before: Vec<u8> = Vec::new();
    for round in 0..55 {
        recording.keep(&some(round * 20, round * 20 + 20));
        recording.roll(day.start(), true);
        recording.check();
        let after = fs::read(&path).unwrap();
        if !after.starts_with(&before) {
            rewrites += 1;
            lengths.clear();
        }
        for (length, rows) in &lengths {
            fs::write(&cut, &after[..*length]).unwrap();
            let file = DayFile::open(&cut).unwrap().unwrap();
            assert_eq!(file.footer().rows, *rows, "round {round}, {length} bytes of {}", after.len());
        }
        let file = DayFile::open(&path).unwrap().unwrap();
        let live: u64 = (0..file.groups()).map(|group| file.group_bytes(group)).sum();
        assert!(file.bytes() < 2 * live + 300 * 1024, "dead bytes are bounded: {} of {}", file.bytes() - live, file.bytes());
        lengths.push((after.len(), u64::from(round + 1) * 20));
        before = after;
    }
    assert!((1..=3).contains(&rewrites), "{rewrites} rewrites of 55 rolls: only where many row groups become one");
    // The seal is a rewrite without dead bytes, and a late event goes behind what was sealed.
    recording.roll(NOW, true);
    recording.roller.seal(&overnight::event::Partition { event_type: "touch".into(), day }).unwrap();
    let sealed = fs::read(&path).unwrap();
    assert!(!sealed.starts_with(&before) && sealed.len() < before.len());
    recording.keep(&[touch("late", 2, 7)]);
    recording.roll(day.start(), true);
    assert!(fs::read(&path).unwrap().starts_with(&sealed), "a sealed file is the beginning of the one with a late event");
    recording.check();
    assert_eq!(by_key(&place.events()).len(), 55 * 20 + 1);
    drop(recording);
    assert_eq!(place.run(&["roll"]).code, 0);
    let verified = place.run(&["verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}
