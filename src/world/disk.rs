//! The disk of a world: real files, and beside them a ledger of what a power cut may still take back.
//!
//! The rules are those that POSIX gives, and no file system is kinder: bytes are durable once their file is synced, a name
//! once the directory that it stands in is, and a directory is itself a name in the one above. What is not durable a cut
//! may keep or take back, bytes in part, names each for itself. A commit of SQLite is durable when it returns; one that
//! is cut leaves any part of what it wrote to its log. A kill takes nothing back, but makes nothing durable either: what
//! one process left undone the next one may lose.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::disk::fault::{Script, Step};
use crate::base::disk::publish;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::store::archive::{DayFile, DayWriter, Effort};

/// A sector: of bytes that were not synced, each comes through or not.
const SECTOR: usize = 512;

/// A roll that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::world) enum Broken {
    /// The buffer's rows are deleted before the rename.
    RowsDeletedFirst,
    /// No directory is synced.
    NoDirectorySync,
    /// The folder of a new event type has its name in no synced directory.
    NoParentSync,
    /// Recovery deletes rows for the sake of a day file whose name it has not made durable.
    NoSyncInRecovery,
    /// No file is synced.
    NoFileSync,
    /// New rows are not compared with those of the day file.
    NoCheck,
    /// The footer covers more than the file holds.
    FooterAhead,
    /// The buffer has the same id as long as it lives, copies of it as well.
    SameId,
    /// The checksum of a sealed day file stands when the file changes.
    SumStays,
    /// What a damaged day file has lost is no gap.
    NoGap,
}

impl Broken {
    pub(in crate::world) const ALL: [Self; 10] = [
        Self::RowsDeletedFirst,
        Self::NoDirectorySync,
        Self::NoParentSync,
        Self::NoSyncInRecovery,
        Self::NoFileSync,
        Self::NoCheck,
        Self::FooterAhead,
        Self::SameId,
        Self::SumStays,
        Self::NoGap,
    ];
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::world) enum Fault {
    /// It fails once, as with a bad sector.
    Error,
    /// There is no room, for so many steps.
    Full(u32),
    /// The process dies.
    Kill,
    /// So does the machine.
    Cut,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "EIO",
            Self::Full(_) => "ENOSPC",
            Self::Kill => "kill",
            Self::Cut => "power cut",
        }
    }
}

/// When a fault strikes. A step has two moments, before it and after it.
#[derive(Debug, Clone, Copy)]
pub(in crate::world) struct Plan {
    /// So many moments from now.
    pub(in crate::world) moments: u32,
    /// Only steps of this kind count; none: all do.
    pub(in crate::world) of: Option<&'static str>,
    /// What happens.
    pub(in crate::world) fault: Fault,
}

impl Plan {
    fn strikes(&self, step: &Step<'_>) -> bool {
        self.moments == 0 && self.counts(step)
    }

    fn counts(&self, step: &Step<'_>) -> bool {
        self.of.is_none_or(|kind| kind == name(step))
    }
}

/// Kinds of steps.
pub(in crate::world) const STEPS: [&str; 8] =
    ["make directory", "create", "write", "sync", "sync directory", "rename", "remove", "commit"];

/// Kind of step, before or after it, fault: what a world has seen.
pub(in crate::world) type Seen = BTreeSet<(&'static str, bool, &'static str)>;

/// A file as it stands, and whether its bytes are durable.
#[derive(Debug, Clone)]
struct Bytes {
    bytes: Rc<Vec<u8>>,
    synced: bool,
}

/// What a crash leaves: files, and directories as names without bytes.
type Survivors = BTreeMap<PathBuf, Option<Bytes>>;

/// A name that is not durable yet.
#[derive(Debug)]
enum Op {
    /// A directory was made.
    Made(PathBuf),
    /// A file was created, or came for good from another directory, maybe over another one.
    Named(PathBuf, Option<Bytes>),
    /// A file took a name, maybe another one's.
    Renamed { from: PathBuf, to: PathBuf, file: Bytes, before: Option<Bytes> },
    /// A file has a new name for good, but may still have its old one as well.
    Left(PathBuf, Bytes),
    /// A file lost its name.
    Removed(PathBuf, Bytes),
}

impl Op {
    /// The directory whose sync makes it durable.
    fn directory(&self) -> &Path {
        let (Self::Made(path)
        | Self::Named(path, _)
        | Self::Renamed { to: path, .. }
        | Self::Left(path, _)
        | Self::Removed(path, _)) = self;
        parent(path)
    }
}

/// The disk; installed as the script of its thread.
#[derive(Debug)]
pub(in crate::world) struct Disk {
    /// Everything below may be lost, the directory itself may not.
    base: PathBuf,
    layout: Layout,
    registry: Arc<Registry>,
    broken: Option<Broken>,
    /// A recording is being opened.
    pub(in crate::world) recovering: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    plan: Option<Plan>,
    /// So many steps more find no room.
    full: u32,
    /// Files whose bytes are not durable.
    unsynced: BTreeSet<PathBuf>,
    /// Names that are not durable, in the order in which they came.
    ops: Vec<Op>,
    /// What a step will have changed, seen before it is taken.
    coming: Option<Op>,
    /// The log before a commit that the cut comes into, and what kind of cut.
    torn: Option<(Vec<u8>, Vec<u8>, Fault)>,
    survivors: Option<Survivors>,
    cut: bool,
    /// Faults that have struck.
    strikes: u32,
    /// Commits that came through though they were said to have failed.
    hidden: u64,
    log: Vec<String>,
    seen: Seen,
}

impl Disk {
    /// A disk on which everything that stands there is durable.
    pub(in crate::world) fn new(
        base: &Path,
        layout: &Layout,
        registry: &Arc<Registry>,
        seed: u64,
        broken: Option<Broken>,
    ) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            plan: None,
            full: 0,
            unsynced: BTreeSet::new(),
            ops: Vec::new(),
            coming: None,
            torn: None,
            survivors: None,
            cut: false,
            strikes: 0,
            hidden: 0,
            log: Vec::new(),
            seen: Seen::new(),
        };
        Self {
            base: base.to_owned(),
            layout: layout.clone(),
            registry: Arc::clone(registry),
            broken,
            recovering: Cell::new(false),
            state: RefCell::new(state),
        }
    }

    /// Something will happen, in place of what was planned.
    pub(in crate::world) fn plan(&self, plan: Option<Plan>) {
        let mut state = self.state.borrow_mut();
        (state.plan, state.full) = (plan, 0);
    }

    /// True when nothing is planned any more.
    pub(in crate::world) fn is_calm(&self) -> bool {
        let state = self.state.borrow();
        state.plan.is_none() && state.full == 0
    }

    /// Time goes by until everything is durable.
    pub(in crate::world) fn settle(&self) {
        let mut state = self.state.borrow_mut();
        state.ops.clear();
        state.unsynced.clear();
    }

    /// A crash between two steps.
    pub(in crate::world) fn crash(&self, fault: Fault) {
        let mut state = self.state.borrow_mut();
        state.log.push(format!("    {}", fault.name()));
        self.freeze(&mut state, fault);
    }

    /// True after a crash, until the survivors are put back.
    pub(in crate::world) fn is_dead(&self) -> bool {
        self.state.borrow().survivors.is_some()
    }

    /// How many faults have struck so far.
    pub(in crate::world) fn strikes(&self) -> u32 {
        self.state.borrow().strikes
    }

    /// How many commits came through though they were said to have failed.
    pub(in crate::world) fn hidden(&self) -> u64 {
        self.state.borrow().hidden
    }

    /// Adds a line to what is told of a world that fails.
    pub(in crate::world) fn note(&self, line: String) {
        self.state.borrow_mut().log.push(line);
    }

    /// What is told of a world that fails.
    pub(in crate::world) fn log(&self) -> Vec<String> {
        self.state.borrow().log.clone()
    }

    /// Which faults struck where.
    pub(in crate::world) fn seen(&self) -> Seen {
        self.state.borrow().seen.clone()
    }

    /// Makes the disk what the crash has left. All files must be closed.
    pub(in crate::world) fn restore(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let Some(survivors) = state.survivors.take() else { return Ok(()) };
        for entry in fs::read_dir(&self.base)? {
            fs::remove_dir_all(entry?.path())?;
        }
        for (path, file) in survivors {
            match file {
                None => fs::create_dir_all(&path)?,
                Some(file) => fs::write(&path, &*file.bytes)?,
            }
        }
        if std::mem::take(&mut state.cut) {
            // Whatever came through is on the disk now.
            state.ops.clear();
            state.unsynced.clear();
        }
        Ok(())
    }

    /// A moment before or after a step: nothing, an error, or the end.
    fn moment(&self, state: &mut State, step: &Step<'_>, after: bool) -> io::Result<()> {
        if state.survivors.is_some() {
            return Err(io::Error::other("the process is dead"));
        }
        let needs_room = !matches!(step, Step::Remove(_) | Step::SyncDir(_));
        let fault = if state.full > 0 && needs_room && !after {
            state.full -= 1;
            Fault::Full(0)
        } else {
            match &mut state.plan {
                Some(plan) if plan.strikes(step) => {
                    let fault = plan.fault;
                    state.plan = None;
                    fault
                }
                Some(plan) => {
                    plan.moments -= u32::from(plan.counts(step));
                    return Ok(());
                }
                None => return Ok(()),
            }
        };
        state.strikes += 1;
        state.seen.insert((name(step), after, fault.name()));
        let when = if after { "after" } else { "before" };
        let mut line = format!("    {} {when} {}", fault.name(), self.tell(step));
        let error = match fault {
            Fault::Error => io::Error::from_raw_os_error(5),
            Fault::Full(steps) => {
                if steps > 0 {
                    state.full = steps;
                }
                ErrorKind::StorageFull.into()
            }
            Fault::Kill | Fault::Cut => {
                if let Step::Commit(database) = step
                    && !after
                    && state.rng.u8(..3) == 0
                {
                    line = format!("    {} in {}", fault.name(), self.tell(step));
                    state.log.push(line);
                    state.torn = Some((fs::read(log_of(database)).unwrap_or_default(), fs::read(database)?, fault));
                    return Ok(());
                }
                self.freeze(state, fault);
                io::Error::other(fault.name())
            }
        };
        state.log.push(line);
        Err(error)
    }

    /// Fixes what survives, at this very moment.
    fn freeze(&self, state: &mut State, fault: Fault) {
        let mut survivors = Survivors::new();
        walk(&self.base, &mut survivors, &state.unsynced);
        if fault == Fault::Cut {
            lose_names(&mut survivors, &state.ops, &mut state.rng);
            for file in survivors.values_mut().flatten().filter(|file| !file.synced) {
                lose_bytes(&mut file.bytes, &mut state.rng);
            }
        }
        state.cut = fault == Fault::Cut;
        state.survivors = Some(survivors);
    }

    /// The commit has written its log, but was not to come through in one piece.
    fn tear(&self, state: &mut State, database: &Path) -> io::Result<()> {
        let Some((before, pages, fault)) = state.torn.take() else { return Ok(()) };
        self.freeze(state, fault);
        let log = log_of(database);
        let after = fs::read(&log)?;
        // Where the pages have changed, the log was synced before.
        if fs::read(database)? == pages {
            let (rng, mut mixed) = (&mut state.rng, after.clone());
            // A kill ends a sequence of writes; a cut brings any of them.
            let (upto, cut) = (rng.usize(..=after.len() / SECTOR), fault == Fault::Cut);
            let whole = before.get(..after.len()).map_or(before.len(), <[u8]>::len);
            for (at, sector) in mixed.chunks_mut(SECTOR).enumerate() {
                if if cut { rng.bool() } else { at >= upto } {
                    let from = (at * SECTOR).min(whole);
                    let old = &before[from..(from + sector.len()).min(whole)];
                    sector[..old.len()].copy_from_slice(old);
                    sector[old.len()..].fill(0);
                }
            }
            let file = Bytes { bytes: Rc::new(mixed), synced: true };
            state.survivors.get_or_insert_default().insert(log, Some(file));
        }
        Err(io::Error::other(fault.name()))
    }

    /// Does before a step what makes a roll a broken one.
    fn spoil(&self, step: &Step<'_>) {
        let Step::Rename(staged, path) = step else { return };
        if !path.starts_with(self.layout.data()) {
            return;
        }
        match self.broken {
            Some(Broken::RowsDeletedFirst) => {
                let footer = DayFile::open(staged).unwrap().unwrap().footer().clone();
                let database = rusqlite::Connection::open(self.layout.buffer()).unwrap();
                let sql = "DELETE FROM block WHERE seq <= ?
                           AND EXISTS (SELECT 1 FROM meta WHERE key = 'buffer_id' AND value = ?)";
                database.execute(sql, rusqlite::params![footer.seq_last, footer.buffer_id]).unwrap();
            }
            Some(Broken::FooterAhead) => {
                let file = DayFile::open(staged).unwrap().unwrap();
                let mut footer = file.footer().clone();
                if footer.sealed {
                    // Its checksum would tell.
                    return;
                }
                footer.seq_last += 2;
                let ahead = staged.with_extension("ahead");
                let schema = self.registry.get(&footer.partition.event_type);
                let mut writer = DayWriter::create(&ahead, &schema, Effort::Roll).unwrap();
                (0..file.groups()).for_each(|group| writer.copy(&file, group).unwrap());
                writer.finish(&footer).unwrap();
                publish(&ahead, staged).unwrap();
            }
            _ => {}
        }
    }

    /// True when a sync has to count for nothing.
    fn is_left_out(&self, step: &Step<'_>) -> bool {
        match (self.broken, step) {
            (Some(Broken::NoDirectorySync), Step::SyncDir(_)) | (Some(Broken::NoFileSync), Step::Sync(_)) => true,
            (Some(Broken::NoParentSync), Step::SyncDir(path)) => *path == self.layout.data(),
            (Some(Broken::NoSyncInRecovery), Step::SyncDir(path)) => {
                self.recovering.get() && path.starts_with(self.layout.data())
            }
            _ => false,
        }
    }

    fn read(&self, state: &State, path: &Path) -> Option<Bytes> {
        let bytes = fs::read(path).ok().filter(|_| path.starts_with(&self.base))?;
        Some(Bytes { bytes: Rc::new(bytes), synced: !state.unsynced.contains(path) })
    }

    fn tell(&self, step: &Step<'_>) -> String {
        let (Step::MakeDir(path)
        | Step::Create(path)
        | Step::Write(path)
        | Step::Sync(path)
        | Step::SyncDir(path)
        | Step::Rename(_, path)
        | Step::Remove(path)
        | Step::Commit(path)) = step;
        format!("{} {}", name(step), path.strip_prefix(&self.base).unwrap_or(path).display())
    }
}

impl Script for Disk {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if state.survivors.is_none() {
            self.spoil(step);
        }
        self.moment(&mut state, step, false)?;
        state.coming = match step {
            Step::MakeDir(path) => (!path.exists()).then(|| Op::Made((*path).to_owned())),
            Step::Create(path) => (!path.exists()).then(|| Op::Named((*path).to_owned(), None)),
            Step::Rename(from, to) => self.read(&state, from).map(|file| {
                let before = self.read(&state, to);
                Op::Renamed { from: (*from).to_owned(), to: (*to).to_owned(), file, before }
            }),
            Step::Remove(path) => self.read(&state, path).map(|file| Op::Removed((*path).to_owned(), file)),
            _ => None,
        };
        Ok(())
    }

    fn after(&self, step: &Step<'_>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        // A crash right behind a sync finds it done; only an error leaves open whether it was.
        let fails = state.plan.is_some_and(|plan| plan.strikes(step) && !matches!(plan.fault, Fault::Kill | Fault::Cut));
        match step {
            Step::Create(path) | Step::Write(path) => drop(state.unsynced.insert((*path).to_owned())),
            Step::Rename(from, to) => {
                if state.unsynced.remove(*from) {
                    state.unsynced.insert((*to).to_owned());
                } else {
                    state.unsynced.remove(*to);
                }
            }
            Step::Remove(path) => drop(state.unsynced.remove(*path)),
            Step::Sync(path) if !fails && !self.is_left_out(step) => drop(state.unsynced.remove(*path)),
            Step::SyncDir(path) if !fails && !self.is_left_out(step) => {
                for op in std::mem::take(&mut state.ops) {
                    match op {
                        Op::Renamed { from, to, before, .. } if parent(&to) != *path && parent(&from) == *path => {
                            state.ops.push(Op::Named(to, before));
                        }
                        op if op.directory() != *path => state.ops.push(op),
                        Op::Renamed { from, file, .. } if parent(&from) != *path => state.ops.push(Op::Left(from, file)),
                        _ => {}
                    }
                }
            }
            Step::Commit(database) => self.tear(state, database)?,
            _ => {}
        }
        state.ops.extend(state.coming.take());
        let result = self.moment(state, step, true);
        if result.is_err() && matches!(step, Step::Commit(_)) {
            state.hidden += 1;
        }
        result
    }

    fn leaves_out(&self, part: &str) -> bool {
        match self.broken {
            Some(Broken::NoCheck) => part == "check against the day file",
            Some(Broken::SameId) => part == "new id",
            Some(Broken::SumStays) => part == "checksums taken back",
            Some(Broken::NoGap) => part == "gaps for what is lost",
            _ => false,
        }
    }
}

fn name(step: &Step<'_>) -> &'static str {
    match step {
        Step::MakeDir(_) => "make directory",
        Step::Create(_) => "create",
        Step::Write(_) => "write",
        Step::Sync(_) => "sync",
        Step::SyncDir(_) => "sync directory",
        Step::Rename(..) => "rename",
        Step::Remove(_) => "remove",
        Step::Commit(_) => "commit",
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The write-ahead log of a database.
fn log_of(database: &Path) -> PathBuf {
    database.with_extension("db-wal")
}

/// Everything below a directory. The shared memory of SQLite is no file: it begins anew.
fn walk(directory: &Path, found: &mut Survivors, unsynced: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found, unsynced);
            found.insert(path, None);
        } else if path.extension().is_none_or(|ending| ending != "db-shm") {
            let bytes = Rc::new(fs::read(&path).unwrap());
            let synced = !unsynced.contains(&path);
            found.insert(path, Some(Bytes { bytes, synced }));
        }
    }
}

/// Takes names back that were not durable: all, those behind some moment, or any.
fn lose_names(files: &mut Survivors, ops: &[Op], rng: &mut fastrand::Rng) {
    let (way, moment) = (rng.u8(..4), rng.usize(..=ops.len()));
    // What a later name has decided an earlier one cannot change.
    let mut decided = BTreeSet::new();
    for (at, op) in ops.iter().enumerate().rev() {
        let stays = match way {
            0 => true,
            1 => false,
            2 => at < moment,
            _ => rng.bool(),
        };
        match op {
            _ if stays => {
                let (Op::Made(path)
                | Op::Named(path, _)
                | Op::Renamed { to: path, .. }
                | Op::Left(path, _)
                | Op::Removed(path, _)) = op;
                decided.insert(path.clone());
                if let Op::Renamed { from, .. } = op {
                    decided.insert(from.clone());
                }
            }
            Op::Made(path) => files.retain(|file, _| !file.starts_with(path)),
            Op::Named(path, before) => {
                if !decided.contains(path) {
                    files.remove(path);
                    if let Some(before) = before {
                        files.insert(path.clone(), Some(before.clone()));
                    }
                }
            }
            Op::Renamed { from, to, file, before } => {
                if !decided.contains(to) {
                    files.remove(to);
                    if let Some(before) = before {
                        files.insert(to.clone(), Some(before.clone()));
                    }
                }
                if !decided.contains(from) {
                    files.insert(from.clone(), Some(file.clone()));
                }
            }
            Op::Left(path, file) | Op::Removed(path, file) => {
                if !decided.contains(path) {
                    files.insert(path.clone(), Some(file.clone()));
                }
            }
        }
    }
    let folders: BTreeSet<PathBuf> = files.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path.clone()).collect();
    files.retain(|path, file| file.is_none() || folders.contains(parent(path)));
}

/// Takes bytes back that were not synced.
fn lose_bytes(bytes: &mut Rc<Vec<u8>>, rng: &mut fastrand::Rng) {
    let bytes = Rc::make_mut(bytes);
    let at = rng.usize(..=bytes.len());
    match rng.u8(..4) {
        0 => {}
        1 => bytes.clear(),
        2 => bytes.truncate(at),
        _ => bytes[at..].fill(0),
    }
}
