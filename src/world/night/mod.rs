//! The night test: a recorder and its ledger beside a cloud that alone knows the truth, from a seed.
//!
//! The very machine, sessions, filler, writer and roll of the recorder run, one after the other and by clocks that are handed
//! in. The cloud publishes, lags, refuses, cuts and stalls; the recorder is killed, loses power, finds no room, is asked to end,
//! loses its terminal; somebody sets its clock. Whatever happens:
//!
//! * an event that was published during a run is in the recording, or in a gap that is not filled and confirmed;
//! * an event that the history holds within a confirmed gap is in the recording;
//! * no gap lies in the future, and none where a session heard and nobody struck;
//! * when nothing goes wrong any more, every gap comes to be filled and confirmed.
//!
//! `OVERNIGHT_NIGHT_SEEDS` says how many nights, `OVERNIGHT_NIGHT_SEED` picks one and tells what happens in it.

mod cloud;
mod recorder;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use crate::base::disk::fault::{self, Script, Step};
use crate::base::time::{Micros, Moment, SECOND};
use crate::intake::stream::machine::quiet;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::query::coverage::{Gap, GapState, Timeline};
use crate::query::reader::{Reader, Selection};
use crate::store::buffer::View;
use crate::store::roll::{Policy, Timing};
use crate::store::writer::Phase;

use super::disk::{Disk, Fault, Plan};
use super::sender::begin;
use cloud::{Cloud, GONE, STRAY};
use recorder::{Over, PING, Place, Recorder};

/// Nights of one test run; more by hand: `OVERNIGHT_NIGHT_SEEDS=20000`.
const SEEDS: u64 = 2000;
/// A broken recorder has to be found within so many.
const SEEDS_BROKEN: u64 = 1500;
/// What a session may be silent before it is over.
const SILENT: Micros = 5 * SECOND;

/// What is wrong, in words.
type Wrong = String;

/// Parts of the program that are left out, one at a time: each is a way in which a ledger has lied.
const BROKEN: [&str; 9] = [
    "a refusal is an outage",
    "a run outlives its sessions",
    "a run outlives its process",
    "a claim waits for its events",
    "a clock that is set ends a session",
    "a run goes on by the new clock",
    "filled is confirmed later",
    "each device is asked",
    "a failing device is passed by",
];

/// The disk, with a part of the program that is left out.
struct Strikes {
    disk: Rc<Disk>,
    broken: Option<&'static str>,
}

impl Script for Strikes {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        self.disk.before(step)
    }

    fn after(&self, step: &Step<'_>) -> io::Result<()> {
        self.disk.after(step)
    }

    fn leaves_out(&self, part: &str) -> bool {
        self.broken == Some(part)
    }
}

struct Night {
    rng: fastrand::Rng,
    place: Rc<Place>,
    disk: Rc<Disk>,
    cloud: Cloud,
    recorder: Option<Recorder>,
    /// By how much the recorder's clock is off, since when (true time).
    offsets: Vec<(Micros, Micros)>,
    /// When it was wanted, in true time; the last one may go on.
    wanted: Vec<(Micros, Micros)>,
    /// The planned end of the run that goes on in the ledger, in true time.
    until: Option<Micros>,
    /// The planned end of the process that runs.
    planned: Option<Micros>,
    goes_on: bool,
    /// Something struck that makes gaps of its own.
    struck: bool,
    steps_clock: bool,
    story: Vec<String>,
}

/// Since the beginning of a night.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(time: Micros) -> f64 {
    (time - begin()) as f64 / 1e6
}

fn told(error: impl std::fmt::Display) -> Wrong {
    error.to_string()
}

impl Night {
    fn new(base: &Path, seed: u64, registry: &Arc<Registry>, broken: Option<&'static str>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        fastrand::seed(seed);
        drop(fs::remove_dir_all(base));
        fs::create_dir_all(base).unwrap();
        let layout = Layout::new(&base.join("recording"));
        let disk = Rc::new(Disk::new(base, &layout, registry, rng.u64(..), None));
        let policy = Policy { rows_max: 20, quiet: 60 * SECOND };
        let timing = Timing { roll_every: Duration::ZERO, policy, seals_at_end: false, checks_sealed: false };
        let script = Rc::new(Strikes { disk: Rc::clone(&disk), broken });
        let ping = crate::base::time::micros(PING);
        Self {
            place: Rc::new(Place { layout, registry: Arc::clone(registry), script, timing }),
            disk,
            cloud: Cloud::new(rng.fork(), begin(), ping),
            recorder: None,
            offsets: vec![(begin(), 0)],
            wanted: Vec::new(),
            until: None,
            planned: None,
            goes_on: false,
            struck: false,
            steps_clock: rng.u8(..4) == 0,
            story: Vec::new(),
            rng,
        }
    }

    fn offset(&self) -> Micros {
        self.offsets.last().map_or(0, |(_, offset)| *offset)
    }

    fn now(&self) -> Moment {
        Moment { wall: self.cloud.now + self.offset(), steady: self.cloud.now - begin() }
    }

    fn tell(&mut self, what: impl std::fmt::Display) {
        self.story.push(format!("{:.1} s: {what}", seconds(self.cloud.now)));
    }

    /// All of a night.
    fn live(&mut self) -> Result<(), Wrong> {
        for _ in 0..self.rng.u32(40..150) {
            self.tick()?;
            if self.rng.u8(..25) == 0 {
                self.strike()?;
            }
        }
        self.rest()
    }

    /// Some time goes by.
    fn tick(&mut self) -> Result<(), Wrong> {
        let by = if self.rng.u8(..40) == 0 { self.rng.i64(SECOND..8 * SECOND) } else { self.rng.i64(SECOND / 10..SECOND) };
        self.struck |= by > SECOND;
        self.cloud.pass(by);
        self.first_sign();
        if self.recorder.is_none() {
            if self.rng.u8(..6) == 0 {
                self.start();
            }
            return Ok(());
        }
        self.turn();
        self.look_after()?;
        if self.recorder.is_some() && self.planned.is_some_and(|planned| planned <= self.cloud.now) {
            self.stop(Phase::Asked)
        } else {
            Ok(())
        }
    }

    fn turn(&mut self) {
        let offset = self.offset();
        let clock = move |cloud: &Cloud| Moment { wall: cloud.now + offset, steady: cloud.now - begin() };
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(&mut self.cloud, &clock);
            self.story.append(&mut recorder.story);
        }
        self.first_sign();
    }

    /// From its first sign of life on a run is wanted; one that goes on has been all the while.
    fn first_sign(&mut self) {
        let now = self.cloud.now;
        if let Some(until) = self.until.filter(|until| now > *until) {
            // Nothing is wanted from then on; who lives ends at its last sign of life before.
            self.end_wanted(if self.recorder.is_some() { until - SILENT } else { until });
        }
        let is_heard = self.recorder.as_ref().is_some_and(|recorder| recorder.heard_first.is_some());
        if is_heard && !self.goes_on && self.planned.is_none_or(|planned| now <= planned) {
            // What was published at this very moment may have come before.
            self.wanted.push((now + 1, Micros::MAX));
            self.goes_on = true;
        }
    }

    fn end_wanted(&mut self, at: Micros) {
        if std::mem::take(&mut self.goes_on)
            && let Some(last) = self.wanted.last_mut()
        {
            last.1 = at;
        }
        self.until = None;
    }

    fn start(&mut self) {
        let lasts = (self.rng.u8(..5) == 0).then(|| Duration::from_secs(self.rng.u64(20..80)));
        self.tell(format!("start, for {lasts:?}"));
        self.recorder = Recorder::start(&self.place, self.now(), lasts, self.rng.fork());
        self.first_sign();
        if let Some(recorder) = &self.recorder {
            self.planned = lasts.map(|lasts| self.cloud.now + crate::base::time::micros(lasts));
            // What a run before it wanted goes on in this one.
            if recorder.stands_in_ledger() {
                self.until = self.planned;
            }
        } else {
            self.crash(None);
        }
    }

    /// What a fault, or its own policy, has made of the recorder.
    fn look_after(&mut self) -> Result<(), Wrong> {
        if self.disk.is_dead() {
            self.tell("a fault kills it");
            return self.died();
        }
        let over = self.recorder.as_ref().and_then(Recorder::over);
        match over {
            Some(Over::Failed) => {
                self.tell("it fails");
                self.died()
            }
            Some(Over::Finished) => {
                // Refused before it was ever heard, it wants nothing; what was wanted before goes on.
                self.tell("it ends by itself");
                self.recorder = None;
                self.cloud.close_all();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The process is gone; its wish is not.
    fn died(&mut self) -> Result<(), Wrong> {
        self.crash(None);
        self.check("while it is dead")
    }

    fn crash(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            self.disk.crash(fault);
        }
        self.recorder = None;
        self.cloud.close_all();
        self.disk.restore().unwrap();
        self.struck = true;
    }

    fn strike(&mut self) -> Result<(), Wrong> {
        match self.rng.u8(..10) {
            0 | 1 if self.recorder.is_some() => {
                let fault = if self.rng.bool() { Fault::Kill } else { Fault::Cut };
                self.tell(format!("{fault:?}"));
                self.crash(Some(fault));
                self.check("after a kill")
            }
            2 if self.recorder.is_some() => self.stop(Phase::Asked),
            3 if self.recorder.is_some() => self.stop(Phase::HungUp),
            4 if self.steps_clock => {
                let step = [-3600, 3600, -30, 30, -3, 5][self.rng.usize(..6)] * SECOND;
                self.tell(format!("the clock is set by {} s", step / SECOND));
                self.offsets.push((self.cloud.now, self.offset() + step));
                self.struck = true;
                Ok(())
            }
            5..8 => {
                let fault = match self.rng.u8(..6) {
                    0 => Fault::Error,
                    1 | 2 => Fault::Full(self.rng.u32(1..40)),
                    3 | 4 => Fault::Kill,
                    _ => Fault::Cut,
                };
                let of = if self.rng.bool() { Some("commit") } else { None };
                self.disk.plan(Some(Plan { moments: self.rng.u32(..30), of, fault }));
                self.struck = true;
                Ok(())
            }
            _ => self.check("now and then"),
        }
    }

    fn stop(&mut self, phase: Phase) -> Result<(), Wrong> {
        self.tell(format!("stop: {phase:?}"));
        let offset = self.offset();
        let clock = move |cloud: &Cloud| Moment { wall: cloud.now + offset, steady: cloud.now - begin() };
        // All that has come by now is read.
        self.turn();
        if let Some(recorder) = &mut self.recorder {
            recorder.stop(phase, &mut self.cloud, &clock);
            self.story.append(&mut recorder.story);
        }
        let at = self.cloud.now;
        if self.disk.is_dead() {
            // Whether its end was noted nobody knows.
            self.until = Some(self.until.unwrap_or(at).min(at));
            self.first_sign();
            self.end_wanted(at - SILENT);
            return self.died();
        }
        self.recorder = None;
        self.cloud.close_all();
        if phase == Phase::Asked {
            // What came since the last sign of life was not wanted any more.
            self.end_wanted(at - SILENT);
        }
        self.check("after it was stopped")
    }

    /// Nothing goes wrong any more: all has to come to be filled and confirmed.
    fn rest(&mut self) -> Result<(), Wrong> {
        self.tell("rest");
        self.disk.plan(None);
        self.cloud.calm = true;
        let mut rested = 0;
        for _ in 0..2000 {
            self.cloud.pass(SECOND / 2);
            if self.recorder.is_none() {
                self.start();
            }
            self.turn();
            self.planned = None;
            self.look_after()?;
            let now = self.now();
            rested = if self.recorder.as_ref().is_some_and(|recorder| recorder.rests(now)) { rested + 1 } else { 0 };
            // A session that stalled is noticed by then.
            if rested > 40 {
                break;
            }
        }
        self.check("at rest")?;
        if self.wanted.is_empty() {
            return Ok(());
        }
        let time = self.timeline()?;
        let gaps = time.projects.iter().flat_map(|project| &project.gaps);
        let unconfirmed: Vec<_> = gaps.filter(|gap| gap.state != GapState::Filled || !gap.confirmed).collect();
        // By another clock a gap may lie in a future that is still to come, or too far back.
        if !self.steps_clock && !unconfirmed.is_empty() {
            return Err(format!("at rest, gaps are not filled and confirmed: {}", shown(&unconfirmed)));
        }
        Ok(())
    }

    fn timeline(&self) -> Result<Timeline, Wrong> {
        let view = View::open(&self.place.layout).map_err(told)?;
        Timeline::read(&view, None, self.now().wall).map_err(told)
    }

    /// Ids of all events of the recording.
    fn recorded(&self) -> Result<BTreeSet<String>, Wrong> {
        let reader = Reader::open(&self.place.layout, Arc::clone(&self.place.registry)).map_err(told)?;
        let selection = Selection::default();
        let mut found = BTreeSet::new();
        for plan in reader.plan(&selection).map_err(told)? {
            let mut all = reader.rows(&plan, &selection);
            while let Some(rows) = all.next_batch().map_err(told)? {
                let Some(keys) = crate::store::archive::Keys::of(&rows) else { continue };
                found.extend((0..keys.len()).map(|row| keys.get(row).1.to_owned()));
            }
        }
        Ok(found)
    }

    /// Holds recording and ledger against the truth.
    fn check(&mut self, when: &str) -> Result<(), Wrong> {
        if !self.place.layout.buffer().exists() {
            return Ok(());
        }
        let recorded = match self.recorded() {
            Ok(recorded) => recorded,
            // A crash before the first commit of all.
            Err(_) if self.wanted.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        };
        let time = match self.timeline() {
            Err(_) if self.wanted.is_empty() => return Ok(()),
            time => time?,
        };
        let now = self.now().wall;
        let gaps: Vec<_> = time.projects.iter().flat_map(|project| &project.gaps).collect();
        for gap in &gaps {
            if gap.span.1 > now + SECOND && !self.steps_clock {
                return Err(format!("{when}: a gap lies in the future: {}", shown(&[gap])));
            }
        }
        let is_wanted = |at: Micros| self.wanted.iter().any(|(from, to)| (*from..*to).contains(&at));
        // What is told by today's clock, and where nobody had looked at that yet, by an earlier one.
        let labels = |at: Micros| -> Vec<Micros> { self.offsets.iter().map(|(_, offset)| at + offset).collect() };
        // A device that is on no list is asked for once it was heard; before, nobody knows of it.
        let of_unlisted = self.cloud.events.iter().filter(|event| event.device == STRAY && recorded.contains(&event.id()));
        let known_from = of_unlisted.map(|event| event.at).min().unwrap_or(Micros::MAX);
        let missing = self.cloud.events.iter().filter(|event| !recorded.contains(&event.id()));
        for event in missing.filter(|event| event.device != STRAY || event.at > known_from) {
            // What lies in a socket or a batch is on its way, as long as a recorder that lives counts as one that hears.
            let on_its_way = self.recorder.is_some() && event.at > self.cloud.now - quiet(PING) - 6 * SECOND;
            let in_gap = |time: Micros, counts: &dyn Fn(&Gap) -> bool| {
                gaps.iter().any(|gap| counts(gap) && (gap.span.0..=gap.span.1).contains(&time))
            };
            let is_open = |gap: &Gap| gap.state != GapState::Filled || !gap.confirmed || event.device == GONE;
            let told = labels(event.at).into_iter().chain(labels(event.time)).any(|label| in_gap(label, &is_open));
            if is_wanted(event.at) && !on_its_way && !told {
                return Err(format!("{when}: {} is missing in no gap; gaps: {}", event.told(), shown(&gaps)));
            }
            let settled = event.seen_at < self.cloud.now && event.device != GONE && self.offsets.len() == 1;
            let confirmed = |gap: &Gap| gap.confirmed;
            if settled
                && in_gap(event.time, &confirmed)
                && !gaps.iter().any(|gap| is_open(gap) && (gap.span.0..=gap.span.1).contains(&event.time))
            {
                return Err(format!(
                    "{when}: {} lies in a confirmed gap and is not recorded; gaps: {}",
                    event.told(),
                    shown(&gaps)
                ));
            }
        }
        Ok(())
    }
}

/// Gaps in seconds since the beginning.
fn shown(gaps: &[&Gap]) -> String {
    let at = seconds;
    let one = |gap: &&Gap| {
        let asked = gap.asked_at.map(at);
        format!(
            "{:.1}..{:.1} {:?} confirmed {} lasts {} asked {asked:?} ({})",
            at(gap.span.0),
            at(gap.span.1),
            gap.state,
            gap.confirmed,
            gap.lasts,
            gap.cause
        )
    };
    gaps.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// One night: how it ended, and its story.
fn run(base: &Path, seed: u64, registry: &Arc<Registry>, broken: Option<&'static str>) -> (Result<(), Wrong>, Vec<String>) {
    let mut night = Night::new(base, seed, registry, broken);
    // What is left out is left out everywhere; steps on disk are taken by the recorder alone.
    let _script = fault::install(Some(Rc::clone(&night.place.script)));
    let result = catch_unwind(AssertUnwindSafe(|| night.live())).unwrap_or_else(|_| Err("panic".to_owned()));
    night.recorder = None;
    (result, night.story)
}

/// Runs nights on all cores until one fails: the lowest seed that did, and why.
fn nights(seeds: std::ops::Range<u64>, broken: Option<&'static str>) -> Option<(u64, String)> {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, String)>));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let (place, registry) = (super::place(), Arc::new(Registry::built_in().unwrap()));
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let (result, story) = run(&place.path().join("night"), seed, &registry, broken);
                    if let Err(wrong) = result {
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|(before, _)| seed < *before) {
                            *failed = Some((seed, format!("{}\nseed {seed}: {wrong}", story.join("\n"))));
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_happens_in_a_night_what_is_missing_is_a_gap_and_a_confirmed_gap_misses_nothing() {
    if let Some(seed) = number("OVERNIGHT_NIGHT_SEED") {
        let place = super::place();
        let (result, story) = run(&place.path().join("night"), seed, &Arc::new(Registry::built_in().unwrap()), None);
        println!("{}", story.join("\n"));
        return assert_eq!(result, Ok(()), "seed {seed}");
    }
    let seeds = number("OVERNIGHT_NIGHT_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, story)) = nights(0..seeds, None) {
        panic!("{story}\n\nagain with OVERNIGHT_NIGHT_SEED={seed}");
    }
}

#[test]
fn a_ledger_that_lies_on_purpose_is_found() {
    let missed: Vec<&str> = BROKEN
        .into_iter()
        .filter(|broken| {
            let found = nights(0..SEEDS_BROKEN, Some(broken));
            match &found {
                Some((seed, story)) => {
                    let said: String =
                        story.lines().find(|line| line.starts_with("seed ")).unwrap_or("").chars().take(200).collect();
                    println!("without {broken:?}, seed {seed}: {said}");
                }
                None => println!("without {broken:?}: not found"),
            }
            found.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "not found within {SEEDS_BROKEN} nights: {missed:?}");
}
