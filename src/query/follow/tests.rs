//! A follower beside a buffer and its roll, in any order of their steps: it is given each event once.

use std::collections::BTreeMap;
use std::fs;

use arrow::array::AsArray;

use super::*;
use crate::base::time::SECOND;
use crate::model::decode::Collector;
use crate::model::event::Source;
use crate::model::framing::Frame;
use crate::store::buffer::Buffer;
use crate::store::roll::{self, Policy, Roller};

/// 2026-11-23, 12:00 UTC.
const NOON: Micros = 1_795_435_200 * SECOND;
const HOUR: Micros = 3600 * SECOND;
const TYPES: [&str; 2] = ["touch", "temperature"];

/// A recorder, step by step, and what it kept.
struct World {
    folder: tempfile::TempDir,
    registry: Arc<Registry>,
    open: Option<(Buffer, Roller)>,
    rng: fastrand::Rng,
    now: Micros,
    count: u64,
    /// What was kept since the last roll.
    recent: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (folder, registry) = (tempfile::tempdir().unwrap(), Arc::new(Registry::built_in().unwrap()));
        let rng = fastrand::Rng::with_seed(seed);
        let mut world = Self { folder, registry, open: None, rng, now: NOON, count: 0, recent: Vec::new() };
        world.restart();
        world
    }

    fn layout(&self) -> Layout {
        Layout::new(self.folder.path())
    }

    fn restart(&mut self) {
        self.open = None;
        let mut buffer = Buffer::open(&self.layout(), self.now).unwrap();
        let found = roll::recover(&mut buffer, &self.layout(), self.now).unwrap();
        let roller = Roller::new(&self.layout(), Arc::clone(&self.registry), found.unsealed, found.unlisted).unwrap();
        self.open = Some((buffer, roller));
    }

    fn event(&mut self) -> String {
        self.count += 1;
        let (kind, time) = (TYPES[self.rng.usize(..2)], NOON + self.rng.i64(-10 * HOUR..20 * HOUR));
        let (id, at) = (self.count, crate::base::time::rfc3339(time));
        let data = if kind == "touch" {
            format!(r#"{{"touch":{{"updateTime":"{at}"}}}}"#)
        } else {
            format!(r#"{{"temperature":{{"value":21.5,"updateTime":"{at}"}}}}"#)
        };
        let target = format!("projects/p/devices/d{}", self.rng.u8(..3));
        format!(r#"{{"eventId":"e{id}","targetName":"{target}","eventType":"{kind}","data":{data},"timestamp":"{at}"}}"#)
    }

    fn keep(&mut self, events: usize) {
        let mut collector = Collector::new(Arc::clone(&self.registry), Source::Stream);
        for _ in 0..events {
            self.now += 1;
            let again = self.rng.u8(..8) == 0 && !self.recent.is_empty();
            let event = if again { self.recent[self.rng.usize(..self.recent.len())].clone() } else { self.event() };
            collector.add(&Frame::Line(event.as_bytes()), self.now);
            self.recent.push(event);
        }
        let batch = collector.take().unwrap();
        assert!(batch.faults.is_empty(), "{batch:?}");
        self.open.as_mut().unwrap().0.keep(&batch, None, self.now).unwrap();
    }

    /// Rolls some or all partitions; what is rolled may stay in the buffer, as a crash leaves it.
    fn roll(&mut self, forgets: bool) {
        let (buffer, roller) = self.open.as_mut().unwrap();
        let mut upto = Vec::new();
        let partitions: Vec<Partition> = roller.pending().unwrap().collect();
        for partition in partitions {
            while let Some(rolled) = roller.roll(&partition, &Policy::default(), self.now).unwrap() {
                upto.push((rolled.partition, rolled.seq));
                if !rolled.more {
                    break;
                }
                if forgets {
                    buffer.forget(&upto).unwrap();
                }
            }
        }
        if forgets {
            buffer.forget(&upto).unwrap();
        }
        self.recent.clear();
    }

    fn seal(&mut self) {
        let (_, roller) = self.open.as_mut().unwrap();
        for partition in roller.unsealed() {
            if self.rng.bool() {
                roller.seal(&partition).unwrap();
            }
        }
        roller.publish_index().unwrap();
    }

    fn follow(&self, from: From) -> Follower {
        let follow = Follow::open(&self.layout(), Arc::clone(&self.registry), Selection::default(), from, self.now).unwrap();
        Follower { follow, given: BTreeMap::new() }
    }

    /// Ids of all that was made so far, from a number on.
    fn all(&self, from: u64) -> BTreeMap<String, usize> {
        (from + 1..=self.count).map(|id| (format!("e{id}"), 1)).collect()
    }
}

/// Somebody who follows, and how often each event was given.
struct Follower {
    follow: Follow,
    given: BTreeMap<String, usize>,
}

impl Follower {
    fn poll(&mut self) -> bool {
        let polled = self.follow.poll().unwrap();
        assert!(polled.rows() < 20 * ROWS_MAX);
        for fresh in &polled.fresh {
            assert_eq!(fresh.rows.schema_ref(), fresh.schema.arrow());
            for id in fresh.rows.column_by_name("event_id").unwrap().as_string::<i32>().iter().flatten() {
                *self.given.entry(id.to_owned()).or_default() += 1;
            }
        }
        polled.more
    }

    fn poll_all(&mut self) {
        while self.poll() {}
        assert_eq!(self.follow.take_trouble(), Vec::<String>::new());
    }
}

fn differences(given: &BTreeMap<String, usize>, kept: &BTreeMap<String, usize>) -> Vec<String> {
    let wrong = |id: &&String| given.get(*id) != kept.get(*id);
    let all = given.keys().chain(kept.keys()).filter(wrong).take(9);
    all.map(|id| format!("{id}: given {:?} times", given.get(id).copied().unwrap_or_default())).collect()
}

/// Runs worlds; gives what the followers were given wrongly.
fn worlds(seeds: std::ops::Range<u64>) -> Vec<String> {
    let mut wrong = Vec::new();
    for seed in seeds {
        let mut world = World::new(seed);
        let kept_before = world.rng.usize(..60);
        world.keep(kept_before);
        if world.rng.bool() {
            world.roll(true);
        }
        let begins = world.count;
        let mut followers = [world.follow(From::Now), world.follow(From::Since(0)), world.follow(From::Last(7))];
        let expected = begins.min(7);
        for _ in 0..60 {
            match world.rng.u8(..16) {
                0..=5 => {
                    let events = world.rng.usize(1..30);
                    world.keep(events);
                }
                6..=7 => world.roll(true),
                8 => {
                    world.roll(false);
                    world.restart();
                }
                9 => world.seal(),
                10 => world.restart(),
                _ => {
                    let which = world.rng.usize(..3);
                    followers[which].poll();
                }
            }
        }
        for (follower, from) in followers.iter_mut().zip([begins, 0, begins]) {
            follower.poll_all();
            let mut given = follower.given.clone();
            if from > 0 {
                // What was there before is given by the last one alone.
                let before: Vec<String> = (1..=begins).map(|id| format!("e{id}")).collect();
                given.retain(|id, _| !before.contains(id));
            }
            wrong.extend(
                differences(&given, &world.all(from)).into_iter().map(|what| format!("world {seed}, from {from}: {what}")),
            );
        }
        let before = (1..=begins).filter(|id| followers[2].given.contains_key(&format!("e{id}"))).count() as u64;
        if before != expected {
            wrong.push(format!("world {seed}: {before} instead of {expected} of the last"));
        }
    }
    wrong
}

#[test]
fn each_event_is_given_once_whatever_the_roll_does_meanwhile() {
    assert_eq!(worlds(0..14), Vec::<String>::new());
}

#[test]
fn a_look_at_a_recording_where_nothing_happens_lists_no_files() {
    let mut world = World::new(1);
    world.keep(20);
    world.roll(true);
    let (mut follower, begins) = (world.follow(From::Now), world.count);
    follower.poll_all();
    // Whoever listed the files would find that there are none.
    disk::set_aside(&world.layout().data(), &world.folder.path().join("elsewhere")).unwrap();
    follower.poll_all();
    world.keep(5);
    follower.poll_all();
    assert_eq!(differences(&follower.given, &world.all(begins)), Vec::<String>::new());
}

#[test]
fn a_buffer_that_was_put_back_gives_nothing_twice() {
    let mut world = World::new(2);
    world.keep(40);
    let mut follower = world.follow(From::Since(0));
    follower.poll_all();
    world.open = None;
    let (buffer, copy) = (world.layout().buffer(), world.folder.path().join("copy"));
    fs::copy(&buffer, &copy).unwrap();
    world.restart();
    world.roll(true);
    world.keep(10);
    follower.poll_all();
    world.roll(true);
    world.open = None;
    for ending in ["-wal", "-shm"] {
        disk::remove(&disk::with_ending(&buffer, ending)).unwrap();
    }
    disk::remove(&buffer).unwrap();
    fs::copy(&copy, &buffer).unwrap();
    world.restart();
    world.keep(10);
    follower.poll_all();
    assert_eq!(differences(&follower.given, &world.all(0)), Vec::<String>::new());
}

#[test]
fn a_clock_that_goes_back_hides_nothing_that_was_rolled_unseen() {
    let mut world = World::new(3);
    world.keep(10);
    world.roll(true);
    let (mut follower, begins) = (world.follow(From::Now), world.count);
    world.now -= HOUR;
    world.keep(10);
    world.roll(true);
    follower.poll_all();
    assert_eq!(differences(&follower.given, &world.all(begins)), Vec::<String>::new());
}

#[test]
fn devices_and_event_types_choose() {
    let mut world = World::new(4);
    world.keep(10);
    world.roll(true);
    let selection =
        Selection { event_types: vec!["touch".to_owned()], devices: HashSet::from(["d1".to_owned()]), ..Selection::default() };
    let follow = Follow::open(&world.layout(), Arc::clone(&world.registry), selection, From::Since(0), world.now).unwrap();
    let mut follower = Follower { follow, given: BTreeMap::new() };
    world.keep(30);
    world.roll(true);
    world.keep(30);
    let mut polled = Vec::new();
    loop {
        let more = follower.follow.poll().unwrap();
        let is_more = more.more;
        polled.extend(more.fresh);
        if !is_more {
            break;
        }
    }
    assert!(!polled.is_empty());
    for fresh in polled {
        assert_eq!(fresh.schema.name, "touch");
        assert!(fresh.rows.column_by_name("device_id").unwrap().as_string::<i32>().iter().all(|id| id == Some("d1")));
    }
}

#[test]
fn more_than_can_be_remembered_is_given_once_all_the_same() {
    let mut world = World::new(5);
    world.keep(1);
    world.roll(true);
    let mut follower = world.follow(From::Now);
    for _ in 0..80 {
        world.recent.clear();
        world.keep(1);
        world.recent.clear();
        let batch: Vec<String> = (0..39).map(|_| world.event()).collect();
        let mut collector = Collector::new(Arc::clone(&world.registry), Source::Stream);
        for event in batch {
            world.now += 1;
            collector.add(&Frame::Line(event.as_bytes()), world.now);
        }
        world.open.as_mut().unwrap().0.keep(&collector.take().unwrap(), None, world.now).unwrap();
        follower.poll_all();
    }
    world.now += 1;
    world.keep(7);
    world.roll(true);
    follower.poll_all();
    assert_eq!(differences(&follower.given, &world.all(1)), Vec::<String>::new());
}
