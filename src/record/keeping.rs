//! Thread "keep": carries out orders, one after the other; waits for room on the disk when there is none.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::buffer::BufferError;
use crate::disk::{self, Room};
use crate::keep::{Keeper, Kept, Order};
use crate::layout::Layout;
use crate::meter::Meter;
use crate::time;

/// How often a batch that found no room on the disk is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Orders of thread "roll". They free room, so they overtake a batch that waits for room.
#[derive(Debug, Clone)]
pub(super) struct Chores {
    keep: mpsc::Sender<Order>,
    chores: Sender<Order>,
}

impl Chores {
    pub(super) fn new(keep: mpsc::Sender<Order>) -> (Self, Receiver<Order>) {
        let (chores, todo) = channel();
        (Self { keep, chores }, todo)
    }

    /// Hands over an order. A keeper that is gone has failed, which closing the recorder tells.
    pub(super) fn send(&self, order: Order) {
        drop(self.chores.send(order));
        // Where the queue is full, the keeper is at work, and looks after each order.
        drop(self.keep.try_send(Order::Look));
    }

    /// Waits until everything handed over so far is done.
    pub(super) fn reach(&self) {
        let (done, wait) = channel();
        self.send(Order::Reach(done));
        // Nothing is ever sent: the order's end drops the sender.
        while wait.recv().is_ok() {}
    }
}

/// The room on the disk of a recording.
#[derive(Debug)]
struct Space {
    state: PathBuf,
    reserve: PathBuf,
}

impl Space {
    fn new(layout: &Layout) -> Self {
        Self { state: layout.state(), reserve: layout.reserve() }
    }

    /// True below the low-water mark. What keeps the recorder from keeping must not keep it from cleaning up: the reserve is
    /// given back then, and set aside again when there is room.
    fn is_low(&self, was_low: bool) -> bool {
        let Some(room) = Room::of(&self.state) else { return false };
        let low = room.is_low(was_low);
        let done = match (low, was_low) {
            (true, false) => disk::remove(&self.reserve),
            (false, true) => self.set_aside(),
            _ => Ok(()),
        };
        // The reserve is a help, not a promise.
        done.unwrap_or_default();
        low
    }

    fn set_aside(&self) -> Result<(), disk::DiskError> {
        match Room::of(&self.state) {
            Some(room) if room.free > room.mark() + 2 * room.reserve() => disk::reserve(&self.reserve, room.reserve()),
            _ => Ok(()),
        }
    }
}

/// Everything that thread "keep" works with.
pub(super) struct Keeping<'a> {
    pub(super) keeper: Keeper,
    pub(super) layout: &'a Layout,
    pub(super) meter: &'a Meter,
    pub(super) stopping: &'a AtomicBool,
    pub(super) chores: Receiver<Order>,
}

impl Keeping<'_> {
    /// Carries out orders until nobody is left who could give one.
    pub(super) fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), BufferError> {
        let space = Space::new(self.layout);
        // As for the reserve that was given back: it is a help.
        space.set_aside().unwrap_or_default();
        while let Some(order) = orders.blocking_recv() {
            let kept = match self.carry_out(&order, &space) {
                Ok(kept) => kept,
                // Who pushed is told, and pushes again.
                Err(error) if error.is_full() && matches!(order, Order::Push(_)) => continue,
                // Only what brings events must not fail: the rest is housekeeping, and done again before long.
                Err(error) if !matches!(order, Order::Keep(..) | Order::Push(_)) => {
                    self.meter.note(time::now(), format!("buffer: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            Meter::add(&self.meter.kept, kept.events as u64);
            Meter::add(&self.meter.faults, kept.faults as u64);
            self.meter.buffered.fetch_add(i64::try_from(kept.events).unwrap_or(i64::MAX), Ordering::Relaxed);
            self.do_chores();
        }
        self.do_chores();
        Ok(())
    }

    /// Carries out an order. On a full disk a batch waits, and the stream behind it, until there is room or the recorder stops;
    /// a push is refused.
    fn carry_out(&mut self, order: &Order, space: &Space) -> Result<Kept, BufferError> {
        let brings_events = matches!(order, Order::Keep(..) | Order::Push(_));
        loop {
            let stopping = self.stopping.load(Ordering::Relaxed);
            let was_low = self.meter.full.load(Ordering::Relaxed);
            let low = brings_events && !stopping && space.is_low(was_low);
            let result = if low { None } else { Some(self.keeper.step(order, time::now())) };
            let full = match &result {
                None => true,
                Some(Err(error)) => error.is_full(),
                Some(Ok(_)) => false,
            };
            if full && !self.meter.full.swap(true, Ordering::Relaxed) {
                self.meter.note(time::now(), "the disk is full: nothing is kept or rolled until there is room");
                // What was freed already may be all that is needed.
                self.keeper.step(&Order::Tidy, time::now()).map_or_else(drop, drop);
            }
            if brings_events && !full && self.meter.full.swap(false, Ordering::Relaxed) {
                self.meter.note(time::now(), "there is room on the disk again, recording goes on");
            }
            match result {
                _ if full && matches!(order, Order::Keep(..)) && !stopping => {
                    self.do_chores();
                    thread::sleep(FULL_RETRY);
                }
                Some(result) => return result,
                None => return Ok(Kept::default()),
            }
        }
    }

    fn do_chores(&mut self) {
        while let Ok(chore) = self.chores.try_recv() {
            if let Err(error) = self.keeper.step(&chore, time::now()) {
                self.meter.note(time::now(), format!("buffer: {error}"));
            }
        }
    }
}
