//! Thread "roll": makes day files of what is kept, seals them, publishes the device list and the checksums.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::buffer::BufferError;
use crate::devices;
use crate::event::{DeviceRow, Partition};
use crate::keep::Order;
use crate::meter::Meter;
use crate::roll::{Damage, RollError, Roller, Scope, Work};
use crate::time;

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
        let mut failure = None;
        let work = self.roller.due(&self.timing.policy, time::now(), scope)?;
        let listed = self.reopen(&work)?;
        for work in &work {
            let (Work::Roll(partition) | Work::Seal(partition)) = work;
            if listed.contains(partition) {
                // Its checksum would be that of another file; the next time may be better.
                failure = Some(RollError::Listed(partition.clone()));
                continue;
            }
            let mut result = self.guarded(work);
            if let Err(error) = &result {
                match self.mend(partition, error) {
                    Ok(true) => result = self.guarded(work),
                    Ok(false) => {}
                    Err(error) => result = Err(error),
                }
            }
            if let Err(error) = result {
                failure = Some(error);
            }
        }
        if scope == Scope::All && self.timing.seals_at_end {
            // What was rolled just now is out of the buffer then, and its file may be whole.
            self.chores.reach();
            let due = self.roller.due(&self.timing.policy, time::now(), scope)?;
            for work in due.iter().filter(|work| matches!(work, Work::Seal(_))) {
                failure = self.guarded(work).err().or(failure);
            }
        }
        for partition in std::mem::take(&mut self.unlisted) {
            self.roller.sum(&partition)?;
        }
        let sums = self.roller.take_sums();
        if !sums.is_empty() {
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

    /// A sealed day file that is going to change has no checksum any more, before it changes. Gives those that still have one.
    fn reopen(&self, work: &[Work]) -> Result<BTreeSet<Partition>, RollError> {
        let changing: BTreeSet<&Partition> =
            work.iter().filter_map(|work| if let Work::Roll(it) = work { Some(it) } else { None }).collect();
        let listed = || -> Result<BTreeSet<Partition>, RollError> {
            Ok(self.roller.sealed()?.into_keys().filter(|partition| changing.contains(partition)).collect())
        };
        let before = listed()?;
        if before.is_empty() {
            return Ok(before);
        }
        for partition in before {
            self.chores.send(Order::Unsealed(partition));
        }
        self.chores.reach();
        self.roller.publish_manifest()?;
        listed()
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
        if !error.is_damage() {
            return Ok(false);
        }
        let projects = self.roller.projects()?;
        let note = |damage: &Damage| {
            for project in projects {
                let (begins, ends) = damage.span;
                self.chores.send(Order::GapWanted { project, cause: damage.cause(), begins, ends });
            }
            self.chores.reach();
        };
        let Some(damage) = self.roller.rescue(partition, error.to_string(), now, note)? else { return Ok(false) };
        Meter::add(&self.meter.roll_errors, 1);
        self.meter.note(now, damage.to_string());
        Ok(true)
    }
}
