//! The roll: doubles, late events, recovery, and a buffer that was lost or restored. Called as a library.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use overnight::model::decode::Collector;
use overnight::model::event::{Batch, Source};
use overnight::model::framing::Frame;
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::store::archive::{DayFile, Keys, day_files};
use overnight::store::buffer::Buffer;
use overnight::store::roll::{self, Policy, Roller, Scope, Timing, Work};
use overnight::store::writer::{Claim, Command, Writer};

use crate::support::{Place, by_key, touch};

/// Long after all events of these tests.
const NOW: i64 = 1_800_000_000_000_000;

pub(crate) struct Recording {
    pub layout: Layout,
    registry: Arc<Registry>,
    pub writer: Writer,
    pub roller: Roller,
}

impl Recording {
    pub fn open(dir: &Path) -> Self {
        let layout = Layout::new(dir);
        let registry = Arc::new(Registry::built_in().unwrap());
        let mut buffer = Buffer::open(&layout, overnight::base::time::now()).unwrap();
        let recovered = roll::recover(&mut buffer, &layout, overnight::base::time::now()).unwrap();
        let roller = Roller::new(&layout, Arc::clone(&registry), recovered.unsealed, recovered.unlisted).unwrap();
        Self { layout, registry, writer: Writer::new(buffer), roller }
    }

    fn batch(&self, lines: &[String]) -> Batch {
        let mut collector = Collector::new(Arc::clone(&self.registry), Source::Stream);
        for line in lines {
            collector.add(&Frame::Line(line.as_bytes()), 1);
        }
        collector.take().unwrap()
    }

    pub fn keep(&mut self, lines: &[String]) {
        let batch = self.batch(lines);
        self.writer.step(&Command::Keep(batch, Claim::Nothing), NOW).unwrap();
    }

    /// Rolls and seals what is due; with `forget`, deletes the buffer's rows as well. Gives new rows and doubles.
    pub fn roll(&mut self, now: i64, forget: bool) -> (u64, u64) {
        let (policy, mut sums) = (Policy::default(), (0, 0));
        for work in self.roller.due(&policy, now, Scope::All).unwrap() {
            match work {
                Work::Seal(partition) => assert!(self.roller.seal(&partition).unwrap()),
                Work::Roll(partition) => {
                    let rolled = self.roller.roll(&partition, &policy, now).unwrap().unwrap();
                    sums = (sums.0 + rolled.events, sums.1 + rolled.doubles);
                    if forget {
                        self.writer.step(&Command::Forget(vec![(partition, rolled.seq)]), now).unwrap();
                    }
                }
            }
        }
        sums
    }

    /// Every day file is in the order of its keys, in each row group, and a sealed one as a whole; its footer is right.
    pub fn check(&self) {
        for (path, day) in day_files(&self.layout).unwrap() {
            let file = DayFile::open(&path).unwrap().unwrap();
            let schema = self.registry.get(&file.footer().partition.event_type);
            let mut last_of_file = None;
            let mut rows = 0;
            for group in 0..file.groups() {
                let mut last = None;
                for batch in file.rows(vec![group], &schema).unwrap() {
                    let batch = batch.unwrap();
                    let keys = Keys::of(&batch).unwrap();
                    rows += keys.len() as u64;
                    for row in 0..keys.len() {
                        let key = (keys.get(row).0, keys.get(row).1.to_owned());
                        assert!(last.as_ref() < Some(&key), "{}", path.display());
                        assert!(!file.footer().sealed || last_of_file.as_ref() < Some(&key), "{}", path.display());
                        assert!(day.start() <= key.0 && key.0 < day.end());
                        assert!(file.footer().time_first <= key.0 && key.0 <= file.footer().time_last);
                        last = Some(key.clone());
                        last_of_file = Some(key);
                    }
                }
            }
            assert_eq!(rows, file.footer().rows);
        }
    }
}

fn some(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|at| touch(&format!("id{at:05}"), 1 + at % 2, at)).collect()
}

#[test]
fn rolled_again_and_again_every_event_stands_once_and_published_bytes_stay_where_they_are() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let day = overnight::base::time::Day::parse("2026-10-01").unwrap();
    let mut rewrites = 0;
    for round in 0..60 {
        // Each round brings 50 new events, 30 of the round before, and one from the very beginning.
        recording.keep(&some((round * 50_u32).saturating_sub(30), round * 50 + 50));
        recording.keep(&some(0, 1));
        let path = place.dir().join("data/touch/2026-10-01.parquet");
        let before = fs::read(&path).unwrap_or_default();
        recording.roll(day.start(), true);
        recording.check();
        if !fs::read(&path).unwrap().starts_with(&before) {
            rewrites += 1;
            let file = DayFile::open(&path).unwrap().unwrap();
            assert_eq!(file.groups(), 1, "bytes moved in round {round}, and not because small row groups became one");
        }
    }
    let events = place.events();
    assert_eq!(by_key(&events).len(), 3000);
    let file = DayFile::open(&place.dir().join("data/touch/2026-10-01.parquet")).unwrap().unwrap();
    assert!((1..=3).contains(&rewrites), "{rewrites} rewrites of 60 rolls");
    assert!(!file.footer().sealed);
    // The timer seals, not the next event.
    drop(recording);
    let mut recording = Recording::open(&place.dir());
    recording.roll(NOW, true);
    recording.check();
    let file = DayFile::open(&place.dir().join("data/touch/2026-10-01.parquet")).unwrap().unwrap();
    assert!(file.footer().sealed && file.groups() == 1);
    assert_eq!(place.events(), events);
    // A late event opens the sealed day again.
    recording.keep(&[touch("late", 1, 7), touch("id00000", 1, 0)]);
    assert_eq!(recording.roll(NOW, true), (1, 1));
    recording.roll(NOW, true);
    recording.check();
    assert_eq!(by_key(&place.events()).len(), 3001);
}

#[test]
fn events_out_of_order_and_doubles_within_one_commit_are_sorted_and_stand_once() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let mut lines = some(0, 500);
    lines.extend(some(100, 200));
    lines.reverse();
    recording.keep(&lines);
    assert_eq!(place.events().len(), 500, "the export drops the doubles of the buffer, too");
    assert_eq!(recording.roll(NOW, true), (500, 100));
    recording.check();
    let events = place.events();
    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_crash_between_the_rename_and_the_deletion_doubles_nothing_and_needs_no_repair() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(0, 100));
    recording.roll(NOW, false);
    // The rows still stand in the buffer; the footer says that they are rolled.
    assert_eq!(by_key(&place.events()).len(), 100);
    assert_eq!(place.status()["events"], 100);
    recording.keep(&some(100, 150));
    assert_eq!(by_key(&place.events()).len(), 150);
    assert_eq!(place.status()["buffered"], 50);
    drop(recording);
    fs::write(place.dir().join("state/staging/touch.2026-10-01.parquet"), "half a file").unwrap();
    let mut recording = Recording::open(&place.dir());
    assert_eq!(fs::read_dir(place.dir().join("state/staging")).unwrap().count(), 0);
    assert_eq!(place.status()["buffered"], 50);
    assert_eq!(recording.roll(NOW, true), (50, 0));
    assert_eq!(by_key(&place.events()).len(), 150);
    recording.check();
}

#[test]
fn a_lost_buffer_and_day_files_of_another_recording_never_make_new_rows_look_rolled() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(0, 100));
    recording.roll(NOW, true);
    drop(recording);
    for name in ["buffer.db", "buffer.db-wal", "buffer.db-shm"] {
        fs::remove_file(place.dir().join("state").join(name)).ok();
    }
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(90, 130));
    assert_eq!(by_key(&place.events()).len(), 130);
    assert_eq!(recording.roll(NOW, true), (30, 10));
    assert_eq!(by_key(&place.events()).len(), 130);
}

#[test]
fn day_files_of_a_copied_recording_never_make_new_rows_look_rolled() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(0, 10));
    recording.roll(NOW, true);
    drop(recording);
    let other = Place::new();
    let copied = std::process::Command::new("cp").args(["-r"]).arg(place.dir()).arg(other.dir()).status().unwrap();
    assert!(copied.success());
    let mut twin = Recording::open(&other.dir());
    twin.keep(&some(10, 30));
    twin.keep(&some(30, 40));
    twin.roll(NOW, true);
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(50, 60));
    for (path, _) in day_files(&twin.layout).unwrap() {
        fs::copy(&path, place.dir().join("data/touch").join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(by_key(&place.events()).len(), 50);
    drop(recording);
    let mut recording = Recording::open(&place.dir());
    assert_eq!(by_key(&place.events()).len(), 50, "rows that no day file holds were deleted");
    assert_eq!(recording.roll(NOW, true), (10, 0));
    assert_eq!(by_key(&place.events()).len(), 50);
}

#[test]
fn a_restored_copy_of_the_buffer_never_reuses_a_seq() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(0, 10));
    recording.roll(NOW, true);
    drop(recording);
    let (buffer, copy) = (place.dir().join("state/buffer.db"), place.path("copy.db"));
    fs::copy(&buffer, &copy).unwrap();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(10, 50));
    recording.roll(NOW, true);
    drop(recording);
    fs::copy(&copy, &buffer).unwrap();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(50, 60));
    assert_eq!(by_key(&place.events()).len(), 60, "rows kept after the restore look rolled");
    assert_eq!(recording.roll(NOW, true), (10, 0));
    assert_eq!(by_key(&place.events()).len(), 60);
}

#[test]
fn once_an_hour_all_that_is_kept_is_rolled_together_and_before_only_what_has_grown_too_large() {
    assert_eq!(Timing::default().roll_every, Duration::from_hours(1), "the page on the morning says how fresh day files are");
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let humidity = touch("h", 1, 2).replace("touch", "humidity");
    recording.keep(&[some(0, 800), vec![humidity]].concat());
    let due = |rows_max: u64, scope: Scope| {
        let policy = Policy { rows_max, ..Policy::default() };
        recording.roller.due(&policy, NOW, scope).unwrap().len()
    };
    assert_eq!((due(400, Scope::Large), due(401, Scope::Large)), (2, 0));
    assert_eq!(due(401, Scope::Due), 3, "however few and however young");
}

#[test]
fn a_large_day_file_is_copied_when_a_third_as_many_rows_have_come_and_at_once_when_its_day_is_over() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let policy = Policy { rows_max: 10, ..Policy::default() };
    let day: Vec<String> = (0..200).map(|at| touch(&format!("id{at:03}"), 1, at)).collect();
    let noon = overnight::base::time::Day::parse("2026-10-01").unwrap().start() + 12 * 3_600_000_000;
    let due = |recording: &Recording, now, scope| recording.roller.due(&policy, now, scope).unwrap().len();
    recording.keep(&day[..80]);
    recording.roll(noon, true);
    recording.keep(&day[80..81]);
    assert_eq!(due(&recording, noon, Scope::Due), 1, "eight times what is large: it does not wait");
    recording.roll(noon, true);
    recording.keep(&day[81..107]);
    assert_eq!((due(&recording, noon, Scope::Due), due(&recording, noon, Scope::Large)), (0, 0));
    assert_eq!((due(&recording, NOW, Scope::Due), due(&recording, noon, Scope::All)), (1, 1));
    recording.keep(&day[107..108]);
    assert_eq!((due(&recording, noon, Scope::Due), due(&recording, noon, Scope::Large)), (1, 1));
}

#[test]
fn many_pieces_go_into_a_day_file_that_is_copied_once_and_what_came_twice_stands_once() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    // 131,072 rows and more make a piece: two of them share no event, the third has those of the first.
    let lines: Vec<String> = (0..264_000).map(|at| touch(&format!("id{at:06}"), 1, at / 4)).collect();
    for piece in lines.chunks(33_000).chain(lines[..132_000].chunks(33_000)) {
        recording.keep(piece);
    }
    let partition = match recording.roller.due(&Policy::default(), NOW, Scope::All).unwrap().remove(0) {
        Work::Roll(partition) | Work::Seal(partition) => partition,
    };
    let mut roll = || {
        let rolled = recording.roller.roll(&partition, &Policy::default(), NOW).unwrap().unwrap();
        (rolled.events, rolled.doubles, rolled.more)
    };
    assert_eq!([roll(), roll()], [(264_000, 0, true), (0, 132_000, false)]);
    recording.check();
}

#[test]
fn a_day_is_rolled_in_pieces_when_the_buffer_holds_more_than_a_roll_takes() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let lines: Vec<String> = (0..86_000).map(|at| touch(&format!("id{at:06}"), 1, at)).collect();
    for _ in 0..2 {
        for piece in lines.chunks(10_000) {
            recording.keep(piece);
        }
    }
    let policy = Policy::default();
    let partition = match recording.roller.due(&policy, NOW, Scope::All).unwrap().remove(0) {
        Work::Roll(partition) | Work::Seal(partition) => partition,
    };
    let mut rolls = Vec::new();
    while rolls.last().is_none_or(|(_, _, more)| *more) {
        let rolled = recording.roller.roll(&partition, &policy, NOW).unwrap().unwrap();
        rolls.push((rolled.events, rolled.doubles, rolled.more));
    }
    assert!(rolls.len() > 1, "{rolls:?}");
    assert_eq!(rolls.iter().fold((0, 0), |sum, roll| (sum.0 + roll.0, sum.1 + roll.1)), (86_000, 86_000), "{rolls:?}");
    assert!(recording.roller.roll(&partition, &policy, NOW).unwrap().is_none_or(|rolled| rolled.events + rolled.doubles == 0));
    recording.check();
}
