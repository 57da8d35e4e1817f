//! Thread "keep" of a world: the recorder's own steps in place, beside a model of what they have to keep.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crate::base::disk::fault;
use crate::base::time::{Micros, SECOND};
use crate::store::meter::Meter;
use crate::store::writer::ToWriter;
use crate::store::writer::thread::{Outcome, WriterThread};
use crate::store::writer::{Command, Writer};

use super::disk::Disk;
use super::model::{Model, Sent};
use super::{Wrong, ensure, names};

/// A clock that never shows the same time twice, and stands still while nobody looks.
#[derive(Debug, Clone)]
pub(super) struct Clock(Rc<Cell<Micros>>);

impl Clock {
    pub(super) fn new(at: Micros) -> Self {
        Self(Rc::new(Cell::new(at)))
    }

    pub(super) fn now(&self) -> Micros {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    pub(super) fn set(&self, at: Micros) {
        self.0.set(at);
    }
}

/// An order on its way.
pub(super) struct Sending {
    pub(super) order: Command,
    /// What its batch brings.
    pub(super) sent: Option<Sent>,
    /// A push whose receiver waits no longer.
    pub(super) withdrawn: bool,
}

/// An open buffer, and the way of orders that overtake.
struct Open {
    keeping: WriterThread,
    /// None when the thread has ended: orders come to nothing then. The buffer stays open until the recording is closed.
    chores: Option<Sender<Command>>,
}

/// The writer of a world.
pub(super) struct WriterLoop {
    rng: fastrand::Rng,
    disk: Rc<Disk>,
    clock: Clock,
    open: Option<Open>,
    pub(super) queue: VecDeque<Sending>,
    pub(super) model: Model,
    /// The recorder is asked to stop.
    pub(super) stopping: bool,
    wrong: Option<Wrong>,
}

impl WriterLoop {
    pub(super) fn new(rng: fastrand::Rng, disk: &Rc<Disk>, clock: &Clock) -> Self {
        Self {
            rng,
            disk: Rc::clone(disk),
            clock: clock.clone(),
            open: None,
            queue: VecDeque::new(),
            model: Model::default(),
            stopping: false,
            wrong: None,
        }
    }

    pub(super) fn open(&mut self, writer: Writer, meter: &Arc<Meter>) {
        let (chores, todo) = channel();
        self.open = Some(Open { keeping: WriterThread::new(writer, Arc::clone(meter), todo), chores: Some(chores) });
    }

    pub(super) fn close(&mut self) {
        // What waits in the queue was never kept.
        self.queue.clear();
        self.open = None;
        self.stopping = false;
    }

    /// True when the thread has failed.
    pub(super) fn has_ended(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.chores.is_none())
    }

    /// Takes some orders; without any, it looks after its chores.
    pub(super) fn work(&mut self, orders: usize) -> Result<(), Wrong> {
        let _script = fault::install(Some(Rc::clone(&self.disk) as _));
        for _ in 0..orders {
            self.take()?;
        }
        self.do_chores();
        Ok(())
    }

    /// What it did wrong while thread "roll" was at work.
    pub(super) fn blame(&mut self) -> Result<(), Wrong> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    /// One order as the thread takes it: again and again while it has to wait, with the chores behind each try.
    fn take(&mut self) -> Result<(), Wrong> {
        let Some(Open { keeping, chores }) = self.open.as_mut().filter(|open| open.chores.is_some()) else { return Ok(()) };
        if self.disk.is_dead() {
            return Ok(());
        }
        let Some(Sending { order, sent, withdrawn }) = self.queue.pop_front() else { return Ok(()) };
        self.disk.note(sent.as_ref().map_or_else(|| tell(&order), |sent| format!("keep {}", names(sent))));
        let strikes = self.disk.strikes();
        let low = Cell::new(if self.rng.u8(..16) == 0 { self.rng.u32(1..3) } else { 0 });
        let is_low = |_| low.replace(low.get().saturating_sub(1)) > 0;
        let mut tries = 0;
        let result = loop {
            let hidden = self.disk.hidden();
            let result = keeping.step(&order, self.stopping, &is_low, self.clock.now());
            tries += self.disk.hidden() - hidden;
            keeping.do_chores(self.clock.now());
            if !matches!(result, Ok(Outcome::Wait)) {
                break result;
            }
            self.clock.set(self.clock.now() + SECOND);
        };
        match (&order, sent) {
            (Command::Push(push), _) if withdrawn => {
                ensure(result.is_ok() && !push.verdict.is_kept(), || "a push that was withdrawn is kept".to_owned())?;
            }
            (Command::Push(push), Some(sent)) if push.verdict.is_kept() => self.model.kept(sent, tries),
            (Command::Keep(..), Some(sent)) if matches!(result, Ok(Outcome::Done)) => self.model.kept(sent, tries),
            (_, Some(sent)) => self.model.failed(sent, tries),
            (_, None) => {}
        }
        if let Err(error) = result {
            *chores = None;
            self.disk.note(format!("    the writer ends: {error}"));
            ensure(self.disk.strikes() > strikes || self.disk.is_dead(), || error.to_string())?;
        }
        Ok(())
    }

    fn do_chores(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| open.chores.is_some()) {
            open.keeping.do_chores(self.clock.now());
        }
    }

    /// An order of thread "roll". Meanwhile thread "keep" does nothing, looks after it, or comes to it behind a batch.
    fn hand(&mut self, order: Command) {
        self.disk.note(format!("    {}", tell(&order)));
        let Some(Open { chores: Some(chores), .. }) = &self.open else { return };
        drop(chores.send(order));
        match self.rng.u8(..6) {
            0 | 1 => self.do_chores(),
            2 => {
                if let Err(wrong) = self.take() {
                    self.wrong.get_or_insert(wrong);
                }
            }
            _ => {}
        }
    }
}

impl ToWriter for RefCell<WriterLoop> {
    fn send(&self, order: Command) {
        self.borrow_mut().hand(order);
    }

    fn reach(&self) -> bool {
        let (done, wait) = channel();
        let mut writer = self.borrow_mut();
        writer.hand(Command::Barrier(done));
        writer.do_chores();
        wait.try_recv().is_ok()
    }
}

fn tell(order: &Command) -> String {
    match order {
        Command::Forget(rolled) => {
            let each: Vec<String> = rolled.iter().map(|(partition, seq)| format!("{partition} up to {seq}")).collect();
            format!("forget {}", each.join(", "))
        }
        Command::Sealed(partition, sum) => format!("{partition} is sealed, {}", &sum.sha256[..8]),
        Command::Unsealed(partition) => format!("{partition} is sealed no longer"),
        other => format!("{other:?}"),
    }
}
