//! What is due: when to roll, when to seal, how far to look.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::time::{Micros, SECOND};
use crate::model::event::Partition;
use crate::store::buffer::Pending;
use crate::store::meter::Meter;

use crate::store::archive::DayFile;

use super::{PIECE_ROWS, ROLL_ROWS, RollError, Roller};

/// When the buffer holds so many times what makes one partition large, all are rolled: they share its blocks.
const HELD_MAX: u64 = 8;
/// A day file of more times that waits, and is copied when a third as many rows have come: so what is copied in a day is a few times
/// the file that it leaves, and does not grow with the square of its rows.
const PROMPT_MAX: u64 = 8;

/// When to roll, and when to seal.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A partition with so many pending rows is rolled at once, and does not wait for the timer.
    pub rows_max: u64,
    /// A day file is sealed so long after its day is over, in microseconds.
    pub quiet: Micros,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rows_max: 2 * PIECE_ROWS as u64, quiet: 15 * 60 * SECOND }
    }
}

impl Policy {
    /// So many rows have to wait before a day file that has so many is copied once more.
    fn patience(&self, has: u64) -> u64 {
        if has <= PROMPT_MAX * self.rows_max { 0 } else { (has / 3).min(ROLL_ROWS as u64) }
    }
}

/// When a recorder rolls.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How often all that the buffer holds is rolled, and what is quiet is sealed.
    pub roll_every: Duration,
    /// What is due then.
    pub policy: Policy,
    /// Whether the end also seals what its own roll has opened: for whoever brings much of the past, and is in no hurry to stop.
    pub seals_at_end: bool,
    /// Whether the end holds every sealed day file against its checksum, and gives up what the disk does not give back: by hand.
    pub checks_sealed: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self { roll_every: Duration::from_hours(1), policy: Policy::default(), seals_at_end: true, checks_sealed: false }
    }
}

impl Timing {
    /// How far to look now, if at all: `is_time` when the timer has come round, `has_failed` when the last turn has.
    pub fn scope(&self, meter: &Meter, is_time: bool, has_failed: bool) -> Option<Scope> {
        let most = i64::try_from(self.policy.rows_max).unwrap_or(i64::MAX);
        let is_crowded = meter.pressure.buffered.load(Ordering::Relaxed) >= most;
        // A roll writes before it frees.
        let is_full = meter.pressure.full.load(Ordering::Relaxed);
        match is_time {
            _ if is_full => None,
            true => Some(Scope::Due),
            // What failed is not tried again before the timer.
            false => (is_crowded && !has_failed).then_some(Scope::Large),
        }
    }
}

/// Something to roll or to seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Move the partition's rows into its day file.
    Roll(Partition),
    /// Rewrite its day file for good.
    Seal(Partition),
}

/// How far to look for something to roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything in the buffer, at the end.
    All,
    /// Everything in the buffer, when the timer has come round: a block goes when all that is in it is rolled.
    Due,
    /// Only partitions that have grown too large to wait for the timer.
    Large,
}

impl Roller {
    /// What is to be done now.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn due(&self, policy: &Policy, now: Micros, scope: Scope) -> Result<Vec<Work>, RollError> {
        let pending = self.view.pending()?;
        let (least, mut held_max) = (if scope == Scope::Large { policy.rows_max } else { 0 }, HELD_MAX * policy.rows_max);
        let mut is_due = |pending: &&Pending| {
            let is_over = scope == Scope::Due && pending.partition.day.end() + policy.quiet <= now;
            if scope == Scope::All || pending.events < least || is_over {
                return pending.events >= least;
            }
            // One that does not open is told of by its roll.
            let file = DayFile::of(&self.layout, &pending.partition).unwrap_or_default();
            let patience = policy.patience(file.map_or(0, |file| file.footer().rows));
            held_max += patience;
            pending.events >= patience
        };
        let mut due: Vec<&Pending> = pending.iter().filter(&mut is_due).collect();
        if scope == Scope::Large && self.view.held()? >= held_max {
            // Where most of what is held was rolled already, the rest keeps it from going.
            due = pending.iter().collect();
        }
        let mut work: Vec<Work> = due.into_iter().map(|pending| Work::Roll(pending.partition.clone())).collect();
        if scope != Scope::Large {
            let quiet = self.unsealed.iter().filter(|partition| partition.day.end() + policy.quiet <= now);
            let done = quiet.filter(|partition| !pending.iter().any(|pending| pending.partition == **partition));
            work.extend(done.map(|partition| Work::Seal(partition.clone())));
        }
        Ok(work)
    }
}
