//! Thread "roll": makes day files of what is kept, seals them, publishes the device list and the checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::buffer::{BufferError, Change, Sum};
use crate::devices;
use crate::disk;
use crate::event::{DeviceRow, Partition};
use crate::keep::Order;
use crate::meter::Meter;
use crate::roll::{Damage, RollError, Roller, Scope, Work, so_far};
use crate::time::{self, Micros};

use super::Timing;
use super::keeping::Chores;

/// How often thread "roll" looks whether a partition has grown too large to wait for the timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Everything that thread "roll" works with.
pub(super) struct Rolling<'a> {
    pub(super) roller: Roller,
    pub(super) chores: Chores,
    pub(super) meter: &'a Meter,
    pub(super) timing: &'a Timing,
    /// Sealed day files without a checksum.
    pub(super) unlisted: Vec<Partition>,
}

impl Rolling<'_> {
    /// Rolls on the timer, and everything once when it is told to stop.
    pub(super) fn run(mut self, stop: &Receiver<()>) -> Result<(), RollError> {
        let (mut last, mut failing, mut devices) = (time::instant(), false, Vec::new());
        loop {
            let stopping = match stop.recv_timeout(LOOK_EVERY.min(self.timing.roll_every)) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            };
            let most = i64::try_from(self.timing.policy.rows_max).unwrap_or(i64::MAX);
            let crowded = self.meter.buffered.load(Ordering::Relaxed) >= most;
            let full = self.meter.full.load(Ordering::Relaxed);
            let scope = match (stopping, last.elapsed() >= self.timing.roll_every) {
                (true, _) => Scope::All,
                // A roll writes before it frees.
                _ if full => continue,
                (false, true) => Scope::Due,
                // What failed is not tried again before the timer.
                (false, false) if crowded && !failing => Scope::Large,
                (false, false) => continue,
            };
            if scope == Scope::Due {
                last = time::instant();
            }
            let listed = if scope == Scope::Large { Ok(()) } else { self.list_devices(&mut devices) };
            let result = self.roll(scope).and(listed);
            failing = result.is_err();
            if let Err(error) = result {
                Meter::add(&self.meter.roll_errors, 1);
                if stopping {
                    return Err(error);
                }
                self.meter.note(time::now(), format!("roll: {error}"));
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// Publishes the device list when it has changed.
    fn list_devices(&self, last: &mut Vec<DeviceRow>) -> Result<(), RollError> {
        let devices = self.roller.devices()?;
        if devices != *last {
            devices::publish(self.roller.layout(), &devices)?;
            *last = devices;
        }
        Ok(())
    }

    /// Rolls and seals what is due. A partition that fails does not keep the others from being rolled.
    fn roll(&mut self, scope: Scope) -> Result<(), RollError> {
        let ends = scope == Scope::All;
        let mut failure = None;
        let work = self.roller.due(&self.timing.policy, time::now(), scope)?;
        let opened = self.reopen(&work, ends && self.timing.checks_sealed, &mut failure)?;
        for work in &work {
            let (Work::Roll(partition) | Work::Seal(partition)) = work;
            let result = match opened.get(partition) {
                // Its checksum would be that of another file; the next time may be better.
                Some(None) => Err(RollError::Listed(partition.clone())),
                _ => self.carry_out(work),
            };
            failure = failure.or(result.err());
        }
        if ends && self.timing.seals_at_end {
            // What was rolled just now is out of the buffer then, and its file may be whole.
            self.chores.reach();
            let due = self.roller.due(&self.timing.policy, time::now(), scope)?;
            for work in due.iter().filter(|work| matches!(work, Work::Seal(_))) {
                failure = failure.or(self.carry_out(work).err());
            }
        }
        for partition in std::mem::take(&mut self.unlisted) {
            self.roller.sum(&partition)?;
        }
        let mut sums: BTreeMap<Partition, Sum> = self.roller.take_sums().into_iter().collect();
        for (partition, sum) in opened {
            // All its rows were doubles: the file is the one that it was.
            if let Some(sum) = sum
                && !sums.contains_key(&partition)
                && self.roller.is_sealed(&partition)
            {
                sums.insert(partition, sum);
            }
        }
        if !sums.is_empty() || (ends && self.timing.checks_sealed) {
            for (partition, sum) in sums {
                self.chores.send(Order::Sealed(partition, sum));
            }
            self.chores.reach();
            self.roller.publish_manifest()?;
        }
        if !work.is_empty() {
            self.meter.last_roll.store(time::now(), Ordering::Relaxed);
            self.chores.send(Order::Tidy);
        }
        failure.map_or(Ok(()), Err)
    }

    /// A sealed day file that is going to change is held against its checksum a last time, and has none any more before it
    /// changes; with `all`, the others are held against theirs as well. Gives what was taken back, and none where that failed.
    fn reopen(
        &mut self,
        work: &[Work],
        all: bool,
        failure: &mut Option<RollError>,
    ) -> Result<BTreeMap<Partition, Option<Sum>>, RollError> {
        let changing: BTreeSet<&Partition> =
            work.iter().filter_map(|work| if let Work::Roll(it) = work { Some(it) } else { None }).collect();
        let (mut opened, mut is_other) = (BTreeMap::new(), false);
        for (partition, sum) in self.roller.sealed()? {
            let is_changing = changing.contains(&partition);
            if is_changing || all {
                match self.hold(&partition, &sum, is_changing) {
                    Ok(true) if is_changing => drop(opened.insert(partition, Some(sum))),
                    Ok(is_same) => is_other |= !is_same,
                    Err(error) => {
                        opened.extend(is_changing.then_some((partition, None)));
                        *failure = failure.take().or(Some(error));
                    }
                }
            }
        }
        for partition in if all { self.roller.unsealed() } else { Vec::new() } {
            // Where all of it reads, this does nothing.
            match self.set_aside(&partition, "not all of it reads".to_owned(), false) {
                Ok(_) => {}
                Err(error) => *failure = failure.take().or(Some(error)),
            }
        }
        if opened.is_empty() && !is_other {
            return Ok(opened);
        }
        for (partition, _) in opened.iter().filter(|(_, sum)| sum.is_some()) {
            self.chores.send(Order::Unsealed(partition.clone()));
        }
        self.chores.reach();
        self.roller.publish_manifest()?;
        for partition in self.roller.sealed()?.into_keys() {
            opened.entry(partition).and_modify(|sum| *sum = None);
        }
        Ok(opened)
    }

    /// Holds a sealed day file against its checksum. Another file is set aside, and a gap; so is one that is gone, where another
    /// is about to take its place. True when it is the one that was sealed.
    fn hold(&mut self, partition: &Partition, sum: &Sum, is_changing: bool) -> Result<bool, RollError> {
        match disk::sha256(&self.roller.layout().day_file(partition)) {
            Ok((sha256, _)) if sha256 == sum.sha256 => return Ok(true),
            Ok(_) => {
                let why = "its checksum is not that of its seal; what reads of it is kept, and may be wrong".to_owned();
                self.set_aside(partition, why, true)?;
            }
            Err(error) if error.source.kind() == ErrorKind::NotFound && is_changing => {
                let span = so_far(partition.day, time::now());
                note_lost(&self.chores, partition, "a day file is gone", span, self.roller.projects()?);
                Meter::add(&self.meter.roll_errors, 1);
                self.meter.note(time::now(), format!("{partition}: its sealed day file is gone; its day is a gap"));
            }
            Err(error) if error.source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Rolls or seals a partition, if need be after what is damaged was set aside.
    fn carry_out(&mut self, work: &Work) -> Result<(), RollError> {
        let (Work::Roll(partition) | Work::Seal(partition)) = work;
        match self.guarded(work) {
            Err(error) if self.mend(partition, &error)? => self.guarded(work),
            result => result,
        }
    }

    fn guarded(&mut self, work: &Work) -> Result<(), RollError> {
        let (Work::Roll(partition) | Work::Seal(partition)) = work;
        let result = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Roll(partition) => self.roll_partition(partition),
            Work::Seal(partition) => self.roller.seal(partition).map(drop),
        }));
        result.unwrap_or_else(|_| Err(RollError::Panicked(partition.clone())))
    }

    fn roll_partition(&mut self, partition: &Partition) -> Result<(), RollError> {
        while let Some(rolled) = self.roller.roll(partition, &self.timing.policy, time::now())? {
            Meter::add(&self.meter.rolled, rolled.events);
            Meter::add(&self.meter.doubles, rolled.doubles);
            let gone = i64::try_from(rolled.events + rolled.doubles).unwrap_or(i64::MAX);
            self.meter.buffered.fetch_sub(gone, Ordering::Relaxed);
            self.chores.send(Order::Forget(rolled.partition, rolled.seq));
            if !rolled.more {
                break;
            }
        }
        Ok(())
    }

    /// Sets aside what is damaged, so that the partition can be rolled after all; true when that is so.
    fn mend(&mut self, partition: &Partition, error: &RollError) -> Result<bool, RollError> {
        let now = time::now();
        if let RollError::Buffer(BufferError::Block { seq, what, .. }) = error {
            self.meter.note(now, format!("{error}; it stands among the faults now, and its time is a gap"));
            Meter::add(&self.meter.roll_errors, 1);
            self.chores.send(Order::Condemn(*seq, what.clone()));
            self.chores.reach();
            return Ok(true);
        }
        if error.is_damage() { self.set_aside(partition, error.to_string(), false) } else { Ok(false) }
    }

    /// Sets a damaged day file aside; false when it is none, or gone.
    fn set_aside(&mut self, partition: &Partition, why: String, is_changed: bool) -> Result<bool, RollError> {
        let (projects, now) = (self.roller.projects()?, time::now());
        let Self { roller, chores, .. } = self;
        let note = |damage: &Damage| note_lost(chores, partition, &damage.cause(), damage.span, projects);
        let Some(damage) = roller.rescue(partition, why, is_changed, now, note)? else { return Ok(false) };
        Meter::add(&self.meter.roll_errors, 1);
        self.meter.note(now, damage.to_string());
        Ok(true)
    }
}

/// Notes a span of a day file as gaps, and that it has no checksum any more.
fn note_lost(chores: &Chores, partition: &Partition, cause: &str, (begins, ends): (Micros, Micros), projects: Vec<String>) {
    for project in projects {
        chores.send(Order::Note(Change::Lost { project, cause: cause.to_owned(), begins, ends }));
    }
    chores.send(Order::Unsealed(partition.clone()));
    chores.reach();
}
