//! The world test: the whole way of the events through the functions that the threads call, on one thread, from a seed.
//!
//! A world sends batches and pushes, keeps them, rolls, seals, waits, stops, is killed, loses power; and at any moment
//! before or after a step on disk or a commit it may meet an error, a full disk, a kill or a power cut, so also while it
//! recovers from the last one. Beside it goes a simple model of what must be there. In the end, without faults, all of it
//! has to come to rest: rolled, sealed, each event once.
//!
//! `OVERNIGHT_WORLD_SEEDS` says how many worlds, `OVERNIGHT_WORLD_SEED` picks one and tells what happens in it.

mod disk;
mod model;
mod sender;
mod threads;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use arrow::array::{RecordBatch, StringArray};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::archive::{DayFile, Keys, day_files};
use crate::buffer::View;
use crate::devices::Directory;
use crate::disk::{fault, remove};
use crate::event::{DeviceRow, Partition, Source};
use crate::export::{self, Format, Output, Settings};
use crate::keep::{Keeper, Order, Push, Verdict};
use crate::layout::Layout;
use crate::meter::Meter;
use crate::reader::{Reader, Selection};
use crate::roll::{Policy, Roller, Scope};
use crate::schema::Registry;
use crate::tables::{Ask, tables};
use crate::time::{Micros, SECOND};

use disk::{Broken, Disk, Fault, Plan, STEPS, Seen};
use model::{Model, Sent};
use sender::Sender;

/// Worlds of one test run, so many that every fault comes before and after every step; more by hand:
/// `OVERNIGHT_WORLD_SEEDS=20000`.
const SEEDS: u64 = 2500;
/// A broken roll has to be found within so many.
const SEEDS_BROKEN: u64 = 2500;

/// What is wrong, in words.
type Wrong = String;
/// Key columns of a row.
type Row = (Micros, String);

/// An order on its way.
struct Sending {
    order: Order,
    /// What its batch brings.
    sent: Option<Sent>,
    /// A push whose receiver waits no longer.
    withdrawn: bool,
}

/// A recording that is open.
struct Open {
    keeper: Keeper,
    roller: Roller,
    devices: Vec<DeviceRow>,
}

struct World {
    rng: fastrand::Rng,
    layout: Layout,
    registry: Arc<Registry>,
    out: PathBuf,
    disk: Rc<Disk>,
    sender: Sender,
    model: Model,
    policy: Policy,
    meter: Meter,
    now: Cell<Micros>,
    open: Option<Open>,
    queue: VecDeque<Sending>,
    session: u64,
    /// Day files as they were when they were found to be in order.
    checked: BTreeMap<PathBuf, Vec<u8>>,
    /// A copy of the buffer with its log.
    copy: Option<[Option<Vec<u8>>; 2]>,
    /// An old buffer was put back: its checksums are those of then.
    is_old: bool,
}

/// Says that something is so, or what is wrong.
fn ensure(is_so: bool, wrong: impl FnOnce() -> Wrong) -> Result<(), Wrong> {
    if is_so { Ok(()) } else { Err(wrong()) }
}

fn told(error: impl std::fmt::Display) -> Wrong {
    error.to_string()
}

impl World {
    fn new(place: &Path, seed: u64, registry: &Arc<Registry>, broken: Option<Broken>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        // The program's own random numbers.
        fastrand::seed(seed);
        let base = place.join("disk");
        drop(fs::remove_dir_all(&base));
        fs::create_dir_all(&base).unwrap();
        let layout = Layout::new(&base.join("recording"));
        let minute = 60 * SECOND;
        Self {
            layout: layout.clone(),
            registry: Arc::clone(registry),
            out: place.join("out.ndjson"),
            disk: Rc::new(Disk::new(&base, &layout, registry, rng.u64(..), broken)),
            sender: Sender::new(registry, &mut rng),
            model: Model::default(),
            policy: Policy { age_max: 30 * minute, share: rng.u64(1..8), rows_max: rng.u64(3..12), quiet: 15 * minute },
            meter: Meter::default(),
            now: Cell::new(sender::begin()),
            open: None,
            queue: VecDeque::new(),
            session: 0,
            checked: BTreeMap::new(),
            is_old: false,
            copy: None,
            rng,
        }
    }

    /// All of a world's life.
    fn live(&mut self) -> Result<(), Wrong> {
        self.plan();
        self.reopen()?;
        for _ in 0..self.rng.u32(10..35) {
            self.act()?;
            if self.disk.is_dead() {
                self.come_back()?;
            } else if self.disk.is_calm() && self.rng.u8(..4) == 0 {
                // What an error has left half done may be what a power cut takes.
                self.plan();
            }
        }
        self.rest()
    }

    /// Something may happen before long.
    fn plan(&mut self) {
        let fault = match self.rng.u8(..6) {
            0 => Fault::Error,
            1 => Fault::Full(self.rng.u32(..5)),
            2 | 3 => Fault::Kill,
            _ => Fault::Cut,
        };
        // Some soon, so that they come into what is under way, a recovery above all; some at a step that is rare, or that
        // leaves things half done.
        let (of, most) = match self.rng.u8(..8) {
            0 | 1 => (None, 12),
            2..5 => (None, 80),
            5 => (Some("sync directory"), 8),
            _ => (Some(STEPS[self.rng.usize(..STEPS.len())]), 4),
        };
        self.disk.plan(Some(Plan { moments: self.rng.u32(..most), of, fault }));
    }

    fn note(&self, line: impl Into<String>) {
        self.disk.note(line.into());
    }

    fn act(&mut self) -> Result<(), Wrong> {
        match self.rng.u8(..100) {
            0..30 => self.send(),
            30..56 => {
                let orders = self.rng.usize(1..6);
                self.work(orders)?;
            }
            56..76 => self.roll(),
            76..86 => self.wait(),
            86..90 => self.talk(),
            90..93 => self.check()?,
            93..96 => self.stop()?,
            _ => {
                self.note("crash");
                self.disk.crash(if self.rng.bool() { Fault::Kill } else { Fault::Cut });
            }
        }
        Ok(())
    }

    /// A batch or a push comes.
    fn send(&mut self) {
        let source = [Source::Stream, Source::Stream, Source::History, Source::Push][self.rng.usize(..4)];
        let (batch, sent) = self.sender.batch(source, &mut self.rng);
        let mut withdrawn = false;
        let order = if source == Source::Push {
            let verdict = Arc::new(Verdict::default());
            // Its end is not waited for here: the verdict tells.
            let (reached, _) = oneshot::channel();
            withdrawn = self.rng.u8(..6) == 0 && verdict.withdraw();
            Order::Push(Push { batch, verdict, reached })
        } else {
            Order::Keep(batch)
        };
        let way = if withdrawn { ", withdrawn" } else { "" };
        self.note(format!("send by {}{way}: {}", source.name(), names(&sent)));
        self.queue.push_back(Sending { order, sent: Some(sent), withdrawn });
    }

    /// Sessions and devices, which commit as well.
    fn talk(&mut self) {
        let (session, at, project) = (self.session, self.now.get(), "p".to_owned());
        let order = match self.rng.u8(..5) {
            0 => {
                self.session += 1;
                let filters = "{}".to_owned();
                Order::Opened { session: self.session, source: Source::Stream, project, filters }
            }
            1 => Order::Spoke { session, at },
            2 => Order::Closed { session, cause: "end".to_owned(), spoke_at: at },
            3 => Order::GapEnds { project, at },
            _ => Order::Devices(project, sender::devices(&mut self.rng)),
        };
        self.queue.push_back(Sending { order, sent: None, withdrawn: false });
    }

    /// Thread "keep" takes some orders.
    fn work(&mut self, orders: usize) -> Result<(), Wrong> {
        for _ in 0..orders {
            let (Some(Sending { order, sent, withdrawn }), Some(open)) = (self.queue.pop_front(), &mut self.open) else { break };
            self.disk.note(match (&order, &sent) {
                (Order::Forget(partition, seq), _) => format!("forget {partition} up to {seq}"),
                (_, Some(sent)) => format!("keep {}", names(sent)),
                (other, None) => format!("{other:?}"),
            });
            let (hidden, strikes) = (self.disk.hidden(), self.disk.strikes());
            let wait = || self.now.set(self.now.get() + SECOND);
            let result = {
                let _script = fault::install(Some(Rc::clone(&self.disk) as _));
                threads::carry_out(&mut open.keeper, &order, &self.meter, || self.now.get(), wait)
            };
            let tries = self.disk.hidden() - hidden;
            match (&order, sent) {
                (Order::Push(push), _) if withdrawn => {
                    ensure(result.is_ok() && !push.verdict.is_kept(), || "a push that was withdrawn is kept".to_owned())?;
                }
                (Order::Push(push), Some(sent)) if push.verdict.is_kept() => self.model.kept(sent, tries),
                (Order::Keep(_), Some(sent)) if result.is_ok() => self.model.kept(sent, tries),
                (_, Some(sent)) => self.model.failed(sent, tries),
                (_, None) => {}
            }
            if self.disk.is_dead() {
                return Ok(());
            }
            if let Err(error) = result {
                // The recorder ends and is started again.
                self.note(format!("    the keeper ends: {error}"));
                ensure(self.disk.strikes() > strikes, || error.to_string())?;
                return self.reopen();
            }
        }
        Ok(())
    }

    /// Thread "roll" takes a turn; its orders stand behind those that wait.
    fn roll(&mut self) {
        let scope = [Scope::All, Scope::Due, Scope::Large][self.rng.usize(..3)];
        drop(self.roll_all(scope));
    }

    fn roll_all(&mut self, scope: Scope) -> Result<(), Wrong> {
        let Some(open) = &mut self.open else { return Ok(()) };
        self.disk.note(format!("roll {scope:?}"));
        let mut orders = Vec::new();
        let result = {
            let _script = fault::install(Some(Rc::clone(&self.disk) as _));
            let listed = if scope == Scope::Large { Ok(()) } else { threads::list_devices(&open.roller, &mut open.devices) };
            threads::roll_once(&mut open.roller, &mut orders, &self.policy, scope, || self.now.get()).and(listed)
        };
        let waits = orders.iter().any(|order| matches!(order, Order::Sealed(..)));
        for order in orders {
            self.queue.push_back(Sending { order, sent: None, withdrawn: false });
        }
        if let Err(error) = &result {
            self.note(format!("    the roll fails: {error}"));
        }
        // Thread "roll" goes on when checksums are noted.
        if waits && !self.disk.is_dead() {
            self.work(self.queue.len())?;
        }
        result.map_err(told)
    }

    fn wait(&mut self) {
        let minutes = match self.rng.u8(..10) {
            0..6 => self.rng.i64(1..60),
            6..9 => self.rng.i64(60..24 * 60),
            // Clocks are set back, too.
            _ => -self.rng.i64(1..24 * 60),
        };
        self.note(format!("wait {minutes} min"));
        self.now.set(self.now.get() + minutes * 60 * SECOND);
    }

    /// A clean end, as [`Recorder::close`](super::Recorder::close) has it, and the next beginning.
    fn stop(&mut self) -> Result<(), Wrong> {
        self.note("stop");
        let strikes = self.disk.strikes();
        self.work(self.queue.len())?;
        if !self.disk.is_dead() {
            let rolled = self.roll_all(Scope::All);
            ensure(rolled.is_ok() || self.disk.strikes() > strikes || self.disk.is_dead(), || format!("{rolled:?}"))?;
        }
        if !self.disk.is_dead() {
            self.work(self.queue.len())?;
        }
        if self.disk.is_dead() {
            return Ok(());
        }
        self.close();
        self.meddle()?;
        self.reopen()
    }

    /// Somebody copies the buffer, loses it, or puts the copy back. What it held may be gone then, but nothing else; since it
    /// does not say any more which names are not durable, they are.
    fn meddle(&mut self) -> Result<(), Wrong> {
        self.disk.settle();
        let files = [self.layout.buffer(), self.layout.buffer().with_extension("db-wal")];
        match (self.rng.u8(..6), &self.copy) {
            (0 | 1, _) => self.copy = Some(files.map(|file| fs::read(file).ok())),
            (2 | 3, Some(copy)) => {
                self.note("the copy of the buffer is put back");
                self.is_old = true;
                for (file, bytes) in files.iter().zip(copy) {
                    remove(file).map_err(told)?;
                    bytes.as_ref().map_or(Ok(()), |bytes| fs::write(file, bytes)).map_err(told)?;
                }
                self.model.doubt();
            }
            (2, None) => {
                self.note("the buffer is lost");
                files.iter().try_for_each(|file| remove(file)).map_err(told)?;
                self.model.doubt();
            }
            _ => {}
        }
        Ok(())
    }

    /// After a crash: what survived is what there is.
    fn come_back(&mut self) -> Result<(), Wrong> {
        self.close();
        self.disk.restore().map_err(told)?;
        if self.rng.u8(..5) < 3 {
            self.plan();
        }
        self.reopen()
    }

    fn close(&mut self) {
        // What waits in the queue was never kept.
        self.queue.clear();
        self.open = None;
    }

    /// Opens the recording as the recorder does, as often as it takes.
    fn reopen(&mut self) -> Result<(), Wrong> {
        self.close();
        loop {
            self.note("open");
            let expected = self.after_recovery()?;
            let strikes = self.disk.strikes();
            let opened = {
                let _script = fault::install(Some(Rc::clone(&self.disk) as _));
                self.disk.recovering.set(true);
                super::open_whole(&self.layout, &self.registry, &self.meter, self.now.get())
            };
            self.disk.recovering.set(false);
            match opened {
                Ok((keeper, roller, _)) => {
                    self.open = Some(Open { keeper, roller, devices: Vec::new() });
                    self.check_recovered(&expected)?;
                    return self.check();
                }
                Err(error) => {
                    ensure(self.disk.strikes() > strikes, || format!("the recording does not open: {error}"))?;
                    self.disk.restore().map_err(told)?;
                    if self.rng.u8(..3) == 0 {
                        self.plan();
                    }
                }
            }
        }
    }

    /// The blocks that are left when those are gone that day files cover: seq and rows by partition.
    fn after_recovery(&self) -> Result<BTreeMap<Partition, Vec<i64>>, Wrong> {
        let Ok(view) = View::open(&self.layout) else { return Ok(BTreeMap::new()) };
        let mut left = BTreeMap::new();
        for pending in view.pending().map_err(told)? {
            let partition = pending.partition;
            let (blocks, _) = view.blocks(&partition, 0, usize::MAX).map_err(told)?;
            let file = DayFile::of(&self.layout, &partition).map_err(told)?;
            let covered = file.as_ref().map_or(0, |file| file.footer().covers(view.id()));
            if let Some(file) = file.filter(|_| covered > 0) {
                let rows: BTreeSet<Row> = rows(&file)?.into_iter().flatten().collect();
                for (seq, block) in blocks.iter().filter(|(seq, _)| *seq <= covered) {
                    let has_all = keys(block).iter().all(|row| rows.contains(row));
                    ensure(has_all, || format!("the footer of {partition} covers block {seq}, its rows are not there"))?;
                }
            }
            let rest: Vec<i64> = blocks.into_iter().map(|(seq, _)| seq).filter(|seq| *seq > covered).collect();
            if !rest.is_empty() {
                left.insert(partition, rest);
            }
        }
        Ok(left)
    }

    /// A recording that was opened has no rows twice, nothing in staging, and no session that is open.
    fn check_recovered(&self, expected: &BTreeMap<Partition, Vec<i64>>) -> Result<(), Wrong> {
        let view = View::open(&self.layout).map_err(told)?;
        let mut left = BTreeMap::new();
        for pending in view.pending().map_err(told)? {
            let (blocks, _) = view.blocks(&pending.partition, 0, usize::MAX).map_err(told)?;
            left.insert(pending.partition, blocks.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>());
        }
        ensure(left == *expected, || format!("recovery leaves blocks {left:?}, and should leave {expected:?}"))?;
        let staged = fs::read_dir(self.layout.staging()).map_err(told)?.count();
        ensure(staged == 0, || format!("{staged} files are left in staging"))?;
        let sessions = view.sessions().map_err(told)?;
        ensure(sessions.iter().all(|session| session.closed_at.is_some()), || "a session was left open".to_owned())
    }

    /// Everything that can be read, held against the model.
    fn check(&mut self) -> Result<(), Wrong> {
        for (path, day) in day_files(&self.layout).map_err(told)? {
            let bytes = fs::read(&path).map_err(told)?;
            if self.checked.get(&path) != Some(&bytes) {
                self.check_file(&path, day).map_err(|wrong| format!("{}: {wrong}", path.display()))?;
                self.checked.insert(path, bytes);
            }
        }
        let listed = View::open(&self.layout).and_then(|view| view.sealed()).map_err(told)?;
        for (partition, sum) in listed.iter().filter(|_| !self.is_old) {
            let path = self.layout.day_file(partition);
            let of_file = crate::disk::sha256(&path).map_err(told)?.0;
            ensure(of_file == sum.sha256, || format!("{}: its checksum is another file's", path.display()))?;
        }
        if self.layout.devices().exists() {
            let devices = fs::read(self.layout.devices()).map_err(told)?;
            let bytes = bytes::Bytes::from(devices);
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(told)?;
        }
        let reader = Reader::open(&self.layout, Arc::clone(&self.registry)).map_err(told)?;
        let selection = Selection::default();
        let plans = reader.plan(&selection).map_err(told)?;
        let directory = Directory::default();
        let events = tables(&reader, &plans, &selection, &directory, &Ask::default()).map_err(told)?;
        let settings = Settings { force: true, ..Settings::new(Format::Ndjson, Output::File(self.out.clone())) };
        export::export(&reader, events, &settings, |_| {}).map_err(told)?;
        let text = fs::read_to_string(&self.out).map_err(told)?;
        let found: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(told)?;
        let faults = reader.view().map_or(Ok(0), View::faults).map_err(told)?;
        self.model.check(&found, faults)
    }

    /// A day file is in the order of its keys, in each row group, and a sealed one as a whole; no key stands twice, since
    /// most readers know of no doubles; its footer is true.
    fn check_file(&self, path: &Path, day: crate::time::Day) -> Result<(), Wrong> {
        let file = DayFile::open(path).map_err(told)?.ok_or("gone")?;
        let footer = file.footer();
        ensure(self.layout.day_file(&footer.partition) == path && footer.partition.day == day, || format!("{footer:?}"))?;
        let groups = rows(&file)?;
        for rows in &groups {
            ensure(rows.is_sorted(), || format!("out of order: {rows:?}"))?;
        }
        let all: Vec<&Row> = groups.iter().flatten().collect();
        ensure(!footer.sealed || all.is_sorted(), || "sealed out of order".to_owned())?;
        let each: BTreeSet<&Row> = all.iter().copied().collect();
        ensure(each.len() == all.len(), || format!("rows twice: {all:?}"))?;
        let (first, last) = (each.first().map(|row| row.0), each.last().map(|row| row.0));
        let is_true = (Some(footer.time_first), Some(footer.time_last)) == (first, last) && footer.rows == all.len() as u64;
        ensure(is_true, || format!("{footer:?} is not true of {all:?}"))?;
        ensure(each.iter().all(|row| (day.start()..day.end()).contains(&row.0)), || "rows of another day".to_owned())
    }

    /// Without faults everything comes to rest, in the very process that met the last one.
    fn rest(&mut self) -> Result<(), Wrong> {
        self.note("rest");
        self.disk.plan(None);
        self.now.set(sender::FIRST.end() + 30 * 24 * 3600 * SECOND);
        for scope in [Scope::Due, Scope::Due, Scope::All] {
            self.work(self.queue.len())?;
            self.roll_all(scope)?;
        }
        self.work(self.queue.len())?;
        let Some(open) = &self.open else { return Err("closed".to_owned()) };
        ensure(open.roller.buffered().map_err(told)? == 0, || "rows stay in the buffer".to_owned())?;
        let mut rows = 0;
        for (path, _) in day_files(&self.layout).map_err(told)? {
            let file = DayFile::open(&path).map_err(told)?.ok_or("gone")?;
            ensure(file.footer().sealed, || format!("{} is not sealed", path.display()))?;
            rows += file.footer().rows;
        }
        // Nothing is owed to the disk any more.
        self.disk.crash(Fault::Cut);
        self.come_back()?;
        ensure(rows == self.model.len() as u64, || format!("{rows} rows in day files, {} kept", self.model.len()))
    }
}

fn names(sent: &Sent) -> String {
    let mut names: Vec<String> = sent.events.keys().map(|(of, id, time)| format!("{of} {id} {time}")).collect();
    names.extend((sent.faults > 0).then(|| format!("{} faults", sent.faults)));
    names.join(", ")
}

/// The keys of a day file's row groups.
fn rows(file: &DayFile) -> Result<Vec<Vec<Row>>, Wrong> {
    let group = |group: usize| {
        let mut rows = Vec::new();
        let take = |times: &[Micros], ids: &StringArray| {
            rows.extend(times.iter().enumerate().map(|(row, time)| (*time, ids.value(row).to_owned())));
        };
        file.keys(group, take).map_err(told)?;
        Ok(rows)
    };
    (0..file.groups()).map(group).collect()
}

fn keys(batch: &RecordBatch) -> Vec<Row> {
    let keys = Keys::of(batch).unwrap();
    (0..keys.len()).map(|row| (keys.get(row).0, keys.get(row).1.to_owned())).collect()
}

/// A place for worlds: in memory where there is such a place, since what is tested is which syncs are asked for, and a
/// real sync takes a hundred times as long as all the rest.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("overnight-world-").tempdir_in(folder).unwrap()
}

/// One world: which faults struck where, or what is wrong and how it came to it.
fn run(place: &Path, seed: u64, registry: &Arc<Registry>, broken: Option<Broken>) -> (Result<(), Wrong>, Vec<String>, Seen) {
    let mut world = World::new(place, seed, registry, broken);
    let result = catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|_| Err("panic".to_owned()));
    (result, world.disk.log(), world.disk.seen())
}

/// Runs worlds on all cores until one fails: the lowest seed that did, and why; and all faults that struck.
fn worlds(seeds: std::ops::Range<u64>, broken: Option<Broken>) -> (Option<(u64, String)>, Seen) {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, String)>));
    let seen = Mutex::new(Seen::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let (place, registry) = (place(), Arc::new(Registry::built_in().unwrap()));
                let mut own = Seen::new();
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let (result, log, struck) = run(place.path(), seed, &registry, broken);
                    own.extend(struck);
                    if let Err(wrong) = result {
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|(before, _)| seed < *before) {
                            *failed = Some((seed, format!("{}\nseed {seed}: {wrong}", log.join("\n"))));
                        }
                    }
                }
                seen.lock().unwrap().extend(own);
            });
        }
    });
    (failed.into_inner().unwrap(), seen.into_inner().unwrap())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn whatever_fails_and_whenever_every_kept_event_is_there_once() {
    if let Some(seed) = number("OVERNIGHT_WORLD_SEED") {
        let (result, log, _) = run(place().path(), seed, &Arc::new(Registry::built_in().unwrap()), None);
        println!("{}", log.join("\n"));
        return assert_eq!(result, Ok(()), "seed {seed}");
    }
    let seeds = number("OVERNIGHT_WORLD_SEEDS").unwrap_or(SEEDS);
    let (failed, seen) = worlds(0..seeds, None);
    if let Some((seed, story)) = failed {
        panic!("{story}\n\nagain with OVERNIGHT_WORLD_SEED={seed}");
    }
    if seeds >= SEEDS {
        for step in STEPS {
            for (after, fault) in
                [false, true].iter().flat_map(|after| ["EIO", "ENOSPC", "kill", "power cut"].map(|f| (*after, f)))
            {
                assert!(
                    seen.contains(&(step, after, fault)),
                    "{fault} never came {} {step}",
                    if after { "after" } else { "before" }
                );
            }
        }
    }
}

#[test]
fn a_rename_that_may_not_last_lets_no_row_go_even_if_only_doubles_follow() {
    // Too many things have to meet for the worlds above: an error behind the rename, a batch of doubles, a power cut.
    let (place, registry) = (place(), Arc::new(Registry::built_in().unwrap()));
    for seed in 0..20 {
        let mut world = World::new(place.path(), seed, &registry, None);
        let story = |world: &mut World| {
            world.reopen()?;
            for round in 0..2 {
                // The same events both times; the first time the roll ends behind the rename.
                let (batch, sent) = world.sender.batch(Source::Stream, &mut fastrand::Rng::with_seed(seed));
                if sent.events.is_empty() {
                    return Ok(());
                }
                world.queue.push_back(Sending { order: Order::Keep(batch), sent: Some(sent), withdrawn: false });
                world.work(world.queue.len())?;
                world.disk.plan((round == 0).then_some(Plan { moments: 1, of: Some("rename"), fault: Fault::Error }));
                ensure(world.roll_all(Scope::All).is_ok() == (round == 1), || "the error is not seen".to_owned())?;
            }
            world.work(world.queue.len())?;
            world.disk.crash(Fault::Cut);
            world.come_back()
        };
        let result = story(&mut world);
        assert_eq!(result, Ok(()), "seed {seed}:\n{}", world.disk.log().join("\n"));
    }
}

#[test]
fn a_roll_that_is_broken_on_purpose_is_found() {
    // A sync that is left out in recovery alone takes more worlds than a test run has time for.
    let missed: Vec<String> = Broken::ALL
        .into_iter()
        .filter_map(|broken| {
            let found = worlds(0..SEEDS_BROKEN, Some(broken)).0;
            match &found {
                Some((seed, story)) => println!("{broken:?} after {} worlds: {}", seed + 1, story.lines().last().unwrap_or("")),
                None => println!("{broken:?} is not found"),
            }
            found.is_none().then(|| format!("{broken:?}"))
        })
        .collect();
    assert!(missed.is_empty(), "not found within {SEEDS_BROKEN} worlds: {missed:?}");
}
