//! One turn of the roll: takes back checksums, rolls and seals what is due, mends what is damaged, notes and publishes checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::base::disk::fault;
use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::store::buffer::{BufferError, Change, Checksum};
use crate::store::meter::Meter;
use crate::store::writer::Command;
use crate::store::writer::ToWriter;

use super::rescue::so_far;
use super::{Damage, RollError, Roller, Scope, Timing, Work};

/// One turn, and what it needs of the world around it.
pub(crate) struct Turn<'a> {
    pub(crate) roller: &'a mut Roller,
    pub(crate) timing: &'a Timing,
    pub(crate) meter: &'a Meter,
    pub(crate) writer: &'a dyn ToWriter,
    /// The clock: a turn may wait for the writer, so one time does not do.
    pub(crate) now: &'a dyn Fn() -> Micros,
}

/// Sealed day files that are going to change.
#[derive(Debug, Default)]
struct Opened {
    /// Checksums that were taken back.
    sums: BTreeMap<Partition, Checksum>,
    /// Files of which a checksum still speaks, or may: they stay as they are, and the next time may be better.
    stuck: BTreeSet<Partition>,
}

impl Turn<'_> {
    /// Lists the devices, rolls and seals what is due. A partition that fails does not keep the others from being rolled.
    pub(crate) fn take(mut self, scope: Scope) -> Result<(), RollError> {
        let listed = if scope == Scope::Large { Ok(()) } else { self.roller.publish_devices() };
        let result = self.roll(scope).and(listed);
        Meter::add(&self.meter.roll_errors, u64::from(result.is_err()));
        result
    }

    fn roll(&mut self, scope: Scope) -> Result<(), RollError> {
        let ends = scope == Scope::All;
        let mut failure = self.condemn_untold().err();
        let work = self.roller.due(&self.timing.policy, (self.now)(), scope)?;
        let opened = self.reopen(&work, ends && self.timing.checks_sealed, &mut failure)?;
        let mut rolled = Vec::new();
        for work in &work {
            let result = match work {
                Work::Roll(partition) if opened.stuck.contains(partition) => Err(RollError::Listed(partition.clone())),
                work => self.carry_out(work, &mut rolled),
            };
            failure = failure.or(result.err());
        }
        // All at once: partitions share the blocks that go.
        self.forget(&mut rolled);
        if ends && self.timing.seals_at_end {
            // What was rolled just now is out of the buffer then, and its file may be whole.
            self.writer.reach();
            let due = self.roller.due(&self.timing.policy, (self.now)(), scope)?;
            for work in due.iter().filter(|work| matches!(work, Work::Seal(_))) {
                failure = failure.or(self.carry_out(work, &mut rolled).err());
            }
        }
        failure = failure.or(self.note_sums(opened.sums).err());
        if scope != Scope::Large {
            failure = failure.or(self.roller.publish_index().err());
        }
        if !work.is_empty() {
            self.meter.last_roll.store((self.now)(), Ordering::Relaxed);
        }
        if ends {
            self.writer.send(Command::Vacuum);
        }
        failure.map_or(Ok(()), Err)
    }

    /// A sealed day file that is going to change is held against its checksum a last time, and has none any more before it
    /// changes; with `all`, the others are held against theirs as well.
    fn reopen(&mut self, work: &[Work], all: bool, failure: &mut Option<RollError>) -> Result<Opened, RollError> {
        let changing: BTreeSet<&Partition> =
            work.iter().filter_map(|work| if let Work::Roll(it) = work { Some(it) } else { None }).collect();
        let mut opened = Opened::default();
        for (partition, sum) in self.roller.sealed()? {
            let is_changing = changing.contains(&partition);
            if is_changing || all {
                match self.hold(&partition, &sum, is_changing) {
                    Ok(true) if is_changing => drop(opened.sums.insert(partition, sum)),
                    Ok(_) => {}
                    Err(error) => {
                        opened.stuck.extend(is_changing.then_some(partition));
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
        if fault::leaves_out("checksums taken back") {
            return Ok(opened);
        }
        if !opened.sums.is_empty() {
            for partition in opened.sums.keys() {
                self.writer.send(Command::Unsealed(partition.clone()));
            }
            self.writer.reach();
        }
        if let Err(error) = self.roller.publish_manifest() {
            // The list may still speak of any file that is sealed, and of no other.
            opened.stuck.extend(changing.iter().filter(|it| self.roller.is_sealed(it)).map(|it| (*it).clone()));
            *failure = failure.take().or(Some(error));
        }
        opened.stuck.extend(self.roller.sealed()?.into_keys().filter(|partition| changing.contains(partition)));
        Ok(opened)
    }

    /// Holds a sealed day file against its checksum. Another file is set aside, and a gap; so is one that is gone, where another
    /// is about to take its place. True when it is the one that was sealed.
    fn hold(&mut self, partition: &Partition, sum: &Checksum, is_changing: bool) -> Result<bool, RollError> {
        match self.roller.is_file(partition, sum) {
            Ok(true) => return Ok(true),
            Ok(false) => {
                let why = "its checksum is not that of its seal; what reads of it is kept, and may be wrong".to_owned();
                self.set_aside(partition, why, true)?;
            }
            Err(error) if error.source.kind() == ErrorKind::NotFound && is_changing => {
                let span = so_far(partition.day, (self.now)());
                note_lost(self.writer, partition, "a day file is gone", span, self.roller.projects()?)?;
                Meter::add(&self.meter.roll_errors, 1);
                self.meter.note((self.now)(), format!("{partition}: its sealed day file is gone; its day is a gap"));
            }
            Err(error) if error.source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Rolls or seals a partition, if need be after what is damaged was set aside.
    /// What is rolled is noted in `rolled`.
    fn carry_out(&mut self, work: &Work, rolled: &mut Vec<(Partition, i64)>) -> Result<(), RollError> {
        let (Work::Roll(partition) | Work::Seal(partition)) = work;
        // Each block once, and the day file.
        let mut mended = BTreeSet::new();
        loop {
            match self.guarded(work, rolled) {
                Err(error) if mended.insert(block_of(&error)) && self.mend(partition, &error)? => {}
                result => return result,
            }
        }
    }

    fn guarded(&mut self, work: &Work, rolled: &mut Vec<(Partition, i64)>) -> Result<(), RollError> {
        let (Work::Roll(partition) | Work::Seal(partition)) = work;
        let result = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Roll(partition) => self.roll_partition(partition, rolled),
            Work::Seal(partition) => self.roller.seal(partition).map(drop),
        }));
        result.unwrap_or_else(|_| Err(RollError::Panicked(partition.clone())))
    }

    fn roll_partition(&mut self, partition: &Partition, all: &mut Vec<(Partition, i64)>) -> Result<(), RollError> {
        while let Some(rolled) = self.roller.roll(partition, &self.timing.policy, (self.now)())? {
            Meter::add(&self.meter.rolled, rolled.events);
            Meter::add(&self.meter.doubles, rolled.doubles);
            let gone = i64::try_from(rolled.events + rolled.doubles).unwrap_or(i64::MAX);
            self.meter.pressure.buffered.fetch_sub(gone, Ordering::Relaxed);
            all.push((rolled.partition, rolled.seq));
            if !rolled.more {
                break;
            }
            self.forget(all);
        }
        Ok(())
    }

    fn forget(&self, rolled: &mut Vec<(Partition, i64)>) {
        if !rolled.is_empty() {
            self.writer.send(Command::Forget(std::mem::take(rolled)));
        }
    }

    /// Sets blocks aside that do not say what is in them: no partition would come to them.
    fn condemn_untold(&mut self) -> Result<(), RollError> {
        for (seq, why) in self.roller.view.untold_blocks()? {
            Meter::add(&self.meter.roll_errors, 1);
            self.meter.note((self.now)(), format!("block {seq} of the buffer does not read: {why}"));
            has_done(self.writer, [Command::Quarantine(seq, why)]);
        }
        Ok(())
    }

    /// Sets aside what is damaged, so that the partition can be rolled after all; true when that is so.
    fn mend(&mut self, partition: &Partition, error: &RollError) -> Result<bool, RollError> {
        if let RollError::Buffer(BufferError::Block { seq, what, .. }) = error {
            Meter::add(&self.meter.roll_errors, 1);
            let is_done = has_done(self.writer, [Command::Quarantine(*seq, what.clone())]);
            let became = match (is_done, self.roller.view.has_block(*seq)?) {
                (true, false) => "it stands among the faults now, and its time is a gap",
                (true, true) => "nothing is lost: it reads now",
                (false, _) => "it cannot be set aside alone; the next start looks at the whole buffer",
            };
            self.meter.note((self.now)(), format!("{error}; {became}"));
            return Ok(is_done);
        }
        if error.is_damage() { self.set_aside(partition, error.to_string(), false) } else { Ok(false) }
    }

    /// Sets a damaged day file aside; false when it is none, or gone.
    fn set_aside(&mut self, partition: &Partition, why: String, is_changed: bool) -> Result<bool, RollError> {
        let (projects, now) = (self.roller.projects()?, (self.now)());
        let writer = self.writer;
        let note = |damage: &Damage| note_lost(writer, partition, &damage.cause(), damage.span, projects);
        let by_hand = self.timing.checks_sealed;
        let rescued = self.roller.rescue(partition, why, (is_changed, by_hand), now, note).inspect_err(|_| {
            // It may have no checksum any more, and must not get one before somebody has looked at it again.
            self.roller.unlisted.insert(partition.clone());
        });
        let Some(damage) = rescued? else { return Ok(false) };
        Meter::add(&self.meter.roll_errors, 1);
        self.meter.note(now, damage.to_string());
        Ok(true)
    }

    /// Notes the checksums of what was sealed, and those of `opened` whose files are the ones that they were: all their rows
    /// were doubles, or they could not be rolled.
    fn note_sums(&mut self, opened: BTreeMap<Partition, Checksum>) -> Result<(), RollError> {
        let failed = self.sum_unlisted().err();
        let mut sums: BTreeMap<Partition, Checksum> = self.roller.take_sums().into_iter().collect();
        for (partition, sum) in opened {
            if !sums.contains_key(&partition) && self.roller.is_file(&partition, &sum).unwrap_or(false) {
                sums.insert(partition, sum);
            }
        }
        if !sums.is_empty() {
            let sealed: Vec<Partition> = sums.keys().cloned().collect();
            for (partition, sum) in sums {
                self.writer.send(Command::Sealed(partition, sum));
            }
            if !self.writer.reach() {
                // The next turn's, those that are not on the list then.
                self.roller.unlisted.extend(sealed);
            }
        }
        self.roller.publish_manifest()?;
        failed.map_or(Ok(()), Err)
    }

    /// Takes the checksums of sealed day files that have none: what was sealed before a crash, or could not be noted. Whoever took
    /// one back may have meant to set the file aside, so first all of it has to read.
    fn sum_unlisted(&mut self) -> Result<(), RollError> {
        if self.roller.unlisted.is_empty() {
            return Ok(());
        }
        let (listed, mut failure) = (self.roller.sealed()?, None);
        for partition in std::mem::take(&mut self.roller.unlisted) {
            if listed.contains_key(&partition) {
                continue;
            }
            let aside = self.set_aside(&partition, "not all of it reads".to_owned(), false);
            if let Err(error) = aside.and_then(|_| self.roller.sum(&partition)) {
                self.roller.unlisted.insert(partition);
                failure = failure.or(Some(error));
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The block that does not read, where it is that.
fn block_of(error: &RollError) -> Option<i64> {
    if let RollError::Buffer(BufferError::Block { seq, .. }) = error { Some(*seq) } else { None }
}

/// Notes a span of a day file as gaps, and that it has no checksum any more.
fn note_lost(
    writer: &dyn ToWriter,
    partition: &Partition,
    cause: &str,
    (begins, ends): (Micros, Micros),
    projects: Vec<String>,
) -> Result<(), RollError> {
    let gaps = projects.into_iter().map(|project| Command::Note(Change::Lost { project, cause: cause.to_owned(), begins, ends }));
    let gaps = gaps.filter(|_| !fault::leaves_out("gaps for what is lost"));
    let is_noted = has_done(writer, gaps.chain([Command::Unsealed(partition.clone())]));
    if is_noted { Ok(()) } else { Err(RollError::Unnoted(partition.clone())) }
}

/// True when these orders are carried out, all of them, whatever became of others before.
fn has_done(writer: &dyn ToWriter, orders: impl IntoIterator<Item = Command>) -> bool {
    writer.reach();
    orders.into_iter().for_each(|order| writer.send(order));
    writer.reach()
}
