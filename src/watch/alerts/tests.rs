//! Alerts over a real recording, by a clock that the tests drive, told to somebody who writes down what arrives.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use super::*;
use crate::base::disk::fault::{self, Script, Step};
use crate::model::decode::Collector;
use crate::model::event::{Batch, Source};
use crate::model::framing::Frame;
use crate::model::settings::{File, Filters, Ping, Sink};
use crate::store::buffer::{Buffer, Change as Entry, Heard, Run};

/// 2026-11-23, 12:00 UTC.
const NOON: Micros = 1_795_435_200 * SECOND;
const START: Micros = 1000 * HOUR;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// A recorder, step by step.
struct World {
    folder: tempfile::TempDir,
    registry: Arc<Registry>,
    buffer: Option<Buffer>,
    run: Arc<Run>,
    opened_at: Micros,
    now: Moment,
    count: u64,
}

impl World {
    fn new() -> Self {
        let (folder, registry) = (tempfile::tempdir().unwrap(), Arc::new(Registry::built_in().unwrap()));
        let now = Moment { wall: NOON, steady: START };
        let mut world = Self { folder, registry, buffer: None, run: run(0, now), opened_at: NOON, now, count: 0 };
        world.record();
        world
    }

    fn layout(&self) -> Layout {
        Layout::new(self.folder.path())
    }

    /// Somebody begins to record.
    fn record(&mut self) {
        self.buffer = None;
        self.buffer = Some(Buffer::open(&self.layout(), self.now.wall).unwrap());
        self.buffer.as_mut().unwrap().renew_id().unwrap();
        self.open();
    }

    /// A session opens, in a run by the clock of now.
    fn open(&mut self) {
        self.count += 1;
        self.run = run(self.count, self.now);
        self.opened_at = self.now.wall;
        let buffer = self.buffer.as_mut().unwrap();
        buffer.apply(&Entry::Begins(Arc::clone(&self.run)), self.now.wall).unwrap();
        self.keep(&[]);
    }

    /// Keeps events, each of a device with a temperature, and a sign of life.
    fn keep(&mut self, events: &[(usize, f64)]) {
        let Some(buffer) = &mut self.buffer else { return };
        let mut collector = Collector::new(Arc::clone(&self.registry), Source::Stream);
        // The cloud's clock is nobody's here.
        let at = time::rfc3339(NOON + self.now.steady - START);
        for (device, value) in events {
            self.count += 1;
            let data = format!(r#"{{"temperature":{{"value":{value},"updateTime":"{at}"}}}}"#);
            let event = format!(
                r#"{{"eventId":"e{}","targetName":"projects/p/devices/d{device}","eventType":"temperature","data":{data},"timestamp":"{at}"}}"#,
                self.count
            );
            collector.add(&Frame::Line(event.as_bytes()), self.now.wall);
        }
        let batch: Batch = collector.take().unwrap();
        let (opened_at, spoke_at) = (self.opened_at, self.now.wall);
        let heard = Heard { run: Arc::clone(&self.run), session: 1, opened_at, spoke_at, ended: None };
        buffer.keep(&batch, Some(&heard), self.now.wall).unwrap();
    }

    fn settings(&self, text: &str) -> Alerting {
        let path = self.folder.path().join("overnight.toml");
        let text = format!("{text}\n[[notify]]\nname = \"phone\"\ncommand = [\"true\"]\n");
        std::fs::write(&path, text).unwrap();
        File::read(&path).unwrap().alerting(&path).unwrap()
    }

    fn alerts(&self, settings: &str) -> Alerts {
        let alerting = self.settings(settings);
        let config = Config::open(&self.layout(), Arc::clone(&self.registry), alerting, (None, Zone::utc())).unwrap();
        assert_eq!(config.trouble, None);
        Alerts::new(config)
    }

    fn pass(&mut self, by: Micros) {
        (self.now.wall, self.now.steady) = (self.now.wall + by, self.now.steady + by);
    }
}

fn run(number: u64, now: Moment) -> Arc<Run> {
    Arc::new(Run {
        number,
        boot: "boot".to_owned(),
        clock: now.wall - now.steady,
        source: Source::Stream,
        project: "p".to_owned(),
        filters: Filters::default(),
        account: String::new(),
        begins: now.wall,
        until: None,
        quiet: 30 * SECOND,
    })
}

/// Whoever is told.
#[derive(Default)]
struct Phone {
    away: bool,
    dead: Rc<Cell<bool>>,
    got: Vec<Note>,
    pings: Vec<Micros>,
    now: Micros,
}

impl Deliver for Phone {
    fn deliver(&mut self, messages: &[(&Sink, &Note)]) -> Vec<Result<(), String>> {
        let take = |(_, note): &(&Sink, &Note)| {
            if self.away || self.dead.get() {
                return Err("away".to_owned());
            }
            self.got.push((*note).clone());
            Ok(())
        };
        messages.iter().map(take).collect()
    }

    fn ping(&mut self, _: &Ping) -> Result<(), String> {
        self.pings.push(self.now);
        Ok(())
    }
}

impl Phone {
    fn step(&mut self, alerts: &mut Alerts, world: &World) {
        self.now = world.now.steady;
        alerts.step(world.now, self, &|what| assert!(self_tells(&what), "{what}"));
    }

    fn said(&self) -> Vec<String> {
        self.got.iter().map(|note| format!("{}: {}", note.title(), note.text)).collect()
    }
}

/// What may be said: that somebody was not told.
fn self_tells(what: &str) -> bool {
    what.contains("was not told") || what.contains("cannot") || what.contains("may be sent again")
}

/// Leaves a part of the program out.
struct Broken(&'static str);

impl Script for Broken {
    fn before(&self, _: &Step<'_>) -> io::Result<()> {
        Ok(())
    }
    fn after(&self, _: &Step<'_>) -> io::Result<()> {
        Ok(())
    }
    fn leaves_out(&self, part: &str) -> bool {
        part == self.0
    }
}

fn without<T>(part: &'static str, act: impl FnOnce() -> T) -> T {
    let _script = fault::install(Some(Rc::new(Broken(part))));
    act()
}

const FRIDGE: &str =
    "[[alert]]\nname = \"fridge\"\nwhen = \"above\"\ntype = \"temperature\"\nvalue = 8\nclear = 7\nhold = \"1m\"\n";
const SILENT: &str = "[[alert]]\nname = \"quiet\"\nwhen = \"silent\"\nfor = \"10m\"\n";
const RECORDER: &str = "[[alert]]\nname = \"recorder\"\nwhen = \"recorder\"\nfor = \"1m\"\n";

/// A value dances about its threshold for an hour, and comes down in the end.
fn dance() -> Vec<String> {
    let mut world = World::new();
    let (mut alerts, mut phone) = (world.alerts(FRIDGE), Phone::default());
    for minute in 0..80 {
        let value = if minute > 60 { 5.0 } else { 7.6 + 0.8 * f64::from(minute / 2 % 2) };
        world.keep(&[(1, value)]);
        for _ in 0..6 {
            phone.step(&mut alerts, &world);
            world.pass(10 * SECOND);
            world.keep(&[]);
        }
    }
    phone.said()
}

#[test]
fn a_value_that_dances_about_its_threshold_is_told_once_and_once_that_it_is_well() {
    let said = dance();
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].starts_with("fridge: d1: 8.4 °C, above 8 °C since 2026-11-23 12:02"), "{said:?}");
    assert!(said[1].starts_with("fridge resolved: d1: 5 °C, was above 8 °C"), "{said:?}");
    assert!(without("hysteresis", dance).len() > 2, "a program without hysteresis is found");
}

/// Ten thousand devices, each heard every five minutes, and a recorder that is killed.
fn killed(devices: usize) -> (Vec<String>, Vec<Micros>, Micros) {
    let mut world = World::new();
    let ping = "[ping]\nurl = \"http://127.0.0.1:9/x\"\nevery = \"1m\"\n";
    let (mut alerts, mut phone) = (world.alerts(&format!("{SILENT}{RECORDER}{ping}")), Phone::default());
    let all: Vec<(usize, f64)> = (0..devices).map(|device| (device, 5.0)).collect();
    for step in 0..100 {
        world.keep(if step % 25 == 0 { &all } else { &[] });
        phone.step(&mut alerts, &world);
        world.pass(12 * SECOND);
    }
    assert_eq!(phone.said(), Vec::<String>::new());
    let died = world.now.steady;
    world.buffer = None;
    for _ in 0..240 {
        phone.step(&mut alerts, &world);
        world.pass(30 * SECOND);
    }
    let said = phone.said();
    // Somebody starts it again: all is well, and nobody was silent.
    world.record();
    for step in 0..100 {
        world.keep(if step % 25 == 0 { &all } else { &[] });
        phone.step(&mut alerts, &world);
        world.pass(12 * SECOND);
    }
    if said.len() == 1 {
        assert_eq!(phone.got.len(), 2, "{:?}", phone.said());
        assert_eq!(phone.got[1].state, "resolved");
    }
    (said, phone.pings.into_iter().filter(|at| *at < died + 2 * HOUR).collect(), died)
}

#[test]
fn a_recorder_that_dies_is_one_message_whatever_the_number_of_devices_and_no_ping() {
    let (said, pings, died) = killed(10_000);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("recorder silent since"), "{said:?}");
    assert!(pings.len() > 15 && pings.iter().all(|at| *at <= died + MINUTE), "{pings:?}");
    let (said, ..) = without("coverage", || killed(40));
    assert!(said.len() > 1, "a program that does not ask for coverage is found: {said:?}");
}

/// Clocks are set by an hour, either way; the recorder notes it as soon as it speaks.
fn clock_steps() -> Vec<String> {
    let mut said = Vec::new();
    for by in [HOUR, -HOUR] {
        let mut world = World::new();
        let high = "[[alert]]\nname = \"high\"\nwhen = \"above\"\ntype = \"temperature\"\nvalue = 8\nfor = \"30m\"\n";
        let (mut alerts, mut phone) = (world.alerts(&format!("{SILENT}{RECORDER}{high}")), Phone::default());
        for step in 0..240 {
            if step == 60 {
                world.now.wall += by;
            }
            if step == 62 {
                world.open();
            }
            // One that is too warm for ten minutes, over the step.
            let value = if (40..90).contains(&step) { 9.0 } else { 5.0 };
            if step % 10 == 0 && step != 60 {
                world.keep(&[(1, value), (2, 5.0)]);
            } else if !(60..62).contains(&step) {
                world.keep(&[]);
            }
            phone.step(&mut alerts, &world);
            world.pass(12 * SECOND);
        }
        said.extend(phone.said());
    }
    said
}

#[test]
fn a_clock_that_is_set_raises_nothing() {
    assert_eq!(clock_steps(), Vec::<String>::new());
    assert!(!without("steady clock", clock_steps).is_empty(), "a program that goes by the wall clock is found");
}

/// Dies at a step on disk, and at each one behind it.
struct Dying {
    left: Cell<usize>,
    dead: Rc<Cell<bool>>,
    /// The step is taken, and then it dies.
    after: bool,
    without: Option<&'static str>,
}

impl Dying {
    fn dies(&self, here: bool) -> io::Result<()> {
        if here && !self.dead.get() {
            self.left.set(self.left.get().saturating_sub(1));
            self.dead.set(self.left.get() == 0);
        }
        if self.dead.get() { Err(io::Error::other("dead")) } else { Ok(()) }
    }
}

impl Script for Dying {
    fn before(&self, _: &Step<'_>) -> io::Result<()> {
        self.dies(!self.after)
    }
    fn after(&self, _: &Step<'_>) -> io::Result<()> {
        self.dies(self.after)
    }
    fn leaves_out(&self, part: &str) -> bool {
        self.without == Some(part)
    }
}

/// A fridge goes up and down, and the watcher dies again and again: gives how often each change was told, by its id.
fn dies_often(without: Option<&'static str>, steps: u32) -> (usize, BTreeMap<String, usize>) {
    let mut world = World::new();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut deaths = 0;
    let mut alerts: Option<Alerts> = None;
    let dead = Rc::new(Cell::new(false));
    let mut rng = fastrand::Rng::with_seed(7);
    let mut script = None;
    for step in 0..steps {
        // Up for five minutes, and down for five.
        if step % 5 == 0 {
            world.keep(&[(1, if step / 25 % 2 == 0 { 5.0 } else { 9.0 })]);
        } else {
            world.keep(&[]);
        }
        let opened = alerts.is_some();
        let mut watching = alerts.take().unwrap_or_else(|| world.alerts(FRIDGE));
        if !opened || script.is_none() {
            dead.set(false);
            let (left, after) = (Cell::new(if deaths == 0 { 1 } else { 10 } + rng.usize(1..11)), rng.bool());
            script = Some(Rc::new(Dying { left, dead: Rc::clone(&dead), after, without }));
        }
        let mut phone = Phone { dead: Rc::clone(&dead), ..Phone::default() };
        {
            let _script = fault::install(script.clone().map(|script| script as Rc<dyn Script>));
            watching.step(world.now, &mut phone, &|_| {});
        }
        for note in phone.got {
            *told.entry(format!("{} {} {}", note.state, note.subjects[0].since, note.id)).or_default() += 1;
        }
        // One that writes nothing has no step to die at.
        let killed = without == Some("what was told") && step % 5 == 4;
        if dead.get() || killed {
            deaths += 1;
            drop(watching);
        } else {
            alerts = Some(watching);
        }
        world.pass(12 * SECOND);
    }
    (deaths, told)
}

#[test]
fn a_watcher_that_dies_a_hundred_times_tells_each_change_once_or_twice_with_one_id() {
    let (deaths, told) = dies_often(None, 5000);
    assert!(deaths >= 100, "{deaths}");
    let ids: BTreeSet<&str> = told.keys().map(|key| key.rsplit(' ').next().unwrap()).collect();
    // A hundred times up, and as often down, the last ones maybe too late.
    assert_eq!(ids.len(), told.len());
    assert!(told.len() >= 197, "{} of 199 in {deaths} deaths: {told:#?}", told.len());
    assert!(told.values().all(|count| *count <= 2), "{told:#?}");
    let changes: BTreeSet<&str> = told.keys().map(|key| key.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(changes.len(), told.len(), "each change has one id");
    let (_, told) = dies_often(Some("mark behind sending"), 1000);
    assert!(told.len() < 37, "one that marks before it sends is found: {}", told.len());
    let (_, told) = dies_often(Some("what was told"), 1000);
    assert!(told.len() < 37 || told.values().any(|count| *count > 2), "one that notes nothing is found: {told:#?}");
}

#[test]
fn whoever_is_away_for_half_an_hour_gets_all_and_who_is_told_too_often_the_rest_together() {
    let mut world = World::new();
    let (mut alerts, mut phone) = (world.alerts(FRIDGE), Phone { away: true, ..Phone::default() });
    for step in 0..150 {
        let value = |device: usize| if (step / 10 + device).is_multiple_of(2) { 5.0 } else { 9.0 };
        world.keep(&if step % 5 == 0 { vec![(1, value(1)), (2, value(2))] } else { Vec::new() });
        phone.step(&mut alerts, &world);
        world.pass(12 * SECOND);
    }
    assert!(phone.got.is_empty());
    let owed: BTreeSet<String> = alerts.desk.stored.owed.iter().map(|(_, note)| note.id.clone()).collect();
    assert!(owed.len() > 20, "{}", owed.len());
    phone.away = false;
    for _ in 0..700 {
        world.keep(&[]);
        phone.step(&mut alerts, &world);
        world.pass(12 * SECOND);
    }
    let got: BTreeSet<String> = phone.got.iter().flat_map(|note| note.holds.iter().chain([&note.id]).cloned()).collect();
    assert!(owed.is_subset(&got), "{} of {}", got.intersection(&owed).count(), owed.len());
    assert_eq!(phone.got.len(), 21, "{:#?}", phone.said());
    assert_eq!(phone.got[20].state, "digest");
    assert_eq!(alerts.standing().owed, 0);
}

#[test]
fn two_watchers_do_not_both_tell_and_a_backfill_tells_nothing() {
    let world = World::new();
    let _first = world.alerts(FRIDGE);
    let alerting = world.settings(FRIDGE);
    let second = Config::open(&world.layout(), Arc::clone(&world.registry), alerting, (None, Zone::utc()));
    assert!(matches!(second, Err(StateError::Locked(_))));
    let mut world = World::new();
    let (mut alerts, mut phone) = (world.alerts(FRIDGE), Phone::default());
    phone.step(&mut alerts, &world);
    let mut collector = Collector::new(Arc::clone(&world.registry), Source::History);
    let at = time::rfc3339(world.now.wall);
    let event = format!(
        r#"{{"eventId":"h","targetName":"projects/p/devices/d1","eventType":"temperature","data":{{"temperature":{{"value":99,"updateTime":"{at}"}}}},"timestamp":"{at}"}}"#
    );
    collector.add(&Frame::Line(event.as_bytes()), world.now.wall);
    world.buffer.as_mut().unwrap().keep(&collector.take().unwrap(), None, world.now.wall).unwrap();
    for _ in 0..10 {
        world.pass(12 * SECOND);
        world.keep(&[]);
        phone.step(&mut alerts, &world);
    }
    assert_eq!(phone.said(), Vec::<String>::new());
}

#[test]
fn what_is_so_again_before_its_end_was_told_lasts() {
    let mut world = World::new();
    let (mut alerts, mut phone) = (world.alerts(FRIDGE), Phone::default());
    for step in 0..40 {
        // Well for a minute, which is the hold, and too warm again 12 s later.
        let events: &[(usize, f64)] = match step {
            0 | 11 => &[(1, 9.0)],
            5 => &[(1, 5.0)],
            _ => &[],
        };
        world.keep(events);
        phone.step(&mut alerts, &world);
        world.pass(12 * SECOND);
    }
    assert_eq!((phone.got.len(), alerts.standing().firing.len()), (1, 1), "{:?}", phone.said());
}
