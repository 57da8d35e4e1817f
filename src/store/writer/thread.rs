//! Thread "keep": carries out orders, one after the other; waits for room on the disk when there is none.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::disk::{self, Room};
use crate::base::time::{self, Micros};
use crate::model::layout::Layout;
use crate::store::buffer::BufferError;
use crate::store::meter::Meter;
use crate::store::writer::ToWriter;
use crate::store::writer::{Claim, Command, Writer};

use super::measure::measure;

/// How often a batch that found no room on the disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(250);

/// Orders of thread "roll". They free room, so they overtake a batch that waits for room.
#[derive(Debug, Clone)]
pub(crate) struct Housekeeping {
    keep: mpsc::Sender<Command>,
    chores: Sender<Command>,
}

impl Housekeeping {
    pub(crate) fn new(keep: mpsc::Sender<Command>) -> (Self, Receiver<Command>) {
        // Without a bound of its own: a turn of the roll gives a few orders a partition and waits for them before the next turn.
        let (chores, todo) = channel();
        (Self { keep, chores }, todo)
    }
}

impl ToWriter for Housekeeping {
    fn send(&self, order: Command) {
        // A writer that is gone has failed, which closing the recorder tells.
        drop(self.chores.send(order));
        // Where the queue is full, the writer is at work, and looks after each order.
        drop(self.keep.try_send(Command::Wake));
    }

    fn reach(&self) -> bool {
        let (done, wait) = channel();
        self.send(Command::Barrier(done));
        wait.recv().is_ok()
    }
}

/// The room on the disk of a recording.
#[derive(Debug)]
struct Space {
    state: PathBuf,
    reserve: PathBuf,
    meter: Arc<Meter>,
}

impl Space {
    fn new(layout: &Layout, meter: &Arc<Meter>) -> Self {
        Self { state: layout.state(), reserve: layout.reserve(), meter: Arc::clone(meter) }
    }

    /// True below the low-water mark. What keeps the recorder from keeping must not keep it from cleaning up: the reserve is
    /// given back then, and set aside again when there is room.
    fn is_low(&self, was_low: bool) -> bool {
        let Some(room) = Room::of(&self.state) else { return false };
        let low = room.is_low(was_low);
        match (low, was_low) {
            (true, false) => self.tell(disk::remove(&self.reserve)),
            (false, true) => self.set_aside(),
            _ => {}
        }
        low
    }

    fn set_aside(&self) {
        if let Some(room) = Room::of(&self.state).filter(|room| room.free > room.mark() + 2 * room.reserve()) {
            self.tell(disk::reserve(&self.reserve, room.reserve()));
        }
    }

    /// The reserve is a help, not a promise: nothing ends without it.
    fn tell(&self, done: Result<(), disk::DiskError>) {
        if let Err(error) = done {
            self.meter.note(time::now(), error.to_string());
        }
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is carried out.
    Done,
    /// There is no room on the disk. It brings events of a stream, which wait until there is: try again before long.
    Wait,
    /// It came to nothing: a push that found no room, whose sender is told, or housekeeping, which is done again before long.
    Dropped,
}

/// Everything that thread "keep" works with.
#[derive(Debug)]
pub(crate) struct WriterThread {
    writer: Writer,
    meter: Arc<Meter>,
    chores: Receiver<Command>,
    /// A chore has failed of which nobody was told yet.
    has_failed: bool,
}

impl WriterThread {
    pub(crate) fn new(writer: Writer, meter: Arc<Meter>, chores: Receiver<Command>) -> Self {
        Self { writer, meter, chores, has_failed: false }
    }

    /// Carries out orders until nobody is left who could give one. Gives back the writer, which holds the lock of the recording:
    /// after a failure, thread "roll" may still be at work.
    pub(crate) fn run(
        mut self,
        mut orders: mpsc::Receiver<Command>,
        layout: &Layout,
        stopping: &AtomicBool,
    ) -> (Writer, Result<(), BufferError>) {
        let space = Space::new(layout, &self.meter);
        space.set_aside();
        // An order is dropped before the next one is waited for: that tells whoever waits for it.
        while let Some(order) = orders.blocking_recv() {
            loop {
                let stopping = stopping.load(Ordering::Relaxed);
                let outcome = self.step(&order, stopping, &|was_low| space.is_low(was_low), time::now());
                self.do_chores(time::now());
                Meter::add(&self.meter.turns, 1);
                match outcome {
                    Ok(Outcome::Wait) => thread::sleep(FULL_RETRY),
                    Ok(_) => break,
                    Err(error) => return (self.writer, Err(error)),
                }
            }
        }
        self.do_chores(time::now());
        (self.writer, Ok(()))
    }

    /// Carries out an order, as far as there is room: on a full disk a batch waits, and the stream behind it, until there is
    /// room or the recorder is `stopping`; a push is refused. `is_low` tells whether there is too little room on the disk, once
    /// it hears whether there was.
    ///
    /// # Errors
    /// When events could not be kept: the recorder has to end.
    pub(crate) fn step(
        &mut self,
        order: &Command,
        stopping: bool,
        is_low: &dyn Fn(bool) -> bool,
        now: Micros,
    ) -> Result<Outcome, BufferError> {
        let brings_events = matches!(order, Command::Keep(..) | Command::Push(_));
        let low = brings_events && !stopping && is_low(self.meter.pressure.full.load(Ordering::Relaxed));
        let began = time::instant();
        let result = if low { None } else { Some(self.writer.step(order, now)) };
        let full = match &result {
            None => true,
            Some(Err(error)) => error.is_full(),
            Some(Ok(_)) => false,
        };
        if full && !self.meter.pressure.full.swap(true, Ordering::Relaxed) {
            self.meter.note(now, "the disk is full: nothing is kept or rolled until there is room");
            // What was freed already may be all that is needed.
            self.writer.step(&Command::Vacuum, now).map_or_else(drop, drop);
        }
        if brings_events && !full && self.meter.pressure.full.swap(false, Ordering::Relaxed) {
            self.meter.note(now, "there is room on the disk again, recording goes on");
        }
        match result {
            Some(Ok(kept)) => {
                measure(&self.meter, order, kept, began.elapsed(), now);
                Ok(Outcome::Done)
            }
            _ if full && matches!(order, Command::Keep(..)) => {
                if !stopping {
                    return Ok(Outcome::Wait);
                }
                // Who was asked to end does not wait for room. What is given up here is a gap; an import has none, so it fails.
                if let (Command::Keep(_, Claim::Nothing), Some(Err(error))) = (order, result) {
                    return Err(error);
                }
                self.writer.give_up(order);
                self.meter.note(now, "the disk is full: what came last is not kept, and its time is a gap");
                Ok(Outcome::Dropped)
            }
            _ if full && matches!(order, Command::Push(_)) => Ok(Outcome::Dropped),
            Some(Err(error)) if brings_events => match order {
                // Nobody may end the recorder by what is in a push.
                Command::Push(push) if error.is_of_content() => {
                    self.meter.note(now, format!("pushes do not fit the buffer: {error}"));
                    push.verdict.unfit();
                    Ok(Outcome::Dropped)
                }
                _ => Err(error),
            },
            Some(Err(error)) => {
                self.meter.note(now, format!("buffer: {error}"));
                Ok(Outcome::Dropped)
            }
            None => Ok(Outcome::Dropped),
        }
    }

    /// Carries out what thread "roll" has ordered meanwhile.
    pub(crate) fn do_chores(&mut self, now: Micros) {
        while let Ok(chore) = self.chores.try_recv() {
            if let Err(error) = self.writer.step(&chore, now) {
                self.meter.note(now, format!("buffer: {error}"));
                self.has_failed = true;
            }
            Meter::add(&self.meter.turns, 1);
            if let Command::Barrier(done) = chore
                && !std::mem::take(&mut self.has_failed)
            {
                // Who waits no longer need not hear it.
                done.send(()).unwrap_or_default();
            }
        }
    }
}
