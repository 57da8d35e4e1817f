//! Shipping beside recording: thread "ship" sends to the lake what thread "roll" has put into day files. It only reads those, and what
//! becomes of it ends or slows no recording.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::base::text;
use crate::base::time;
use crate::lake::{LakeError, Passed, Place, Shipper};
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::store::meter::Meter;

use super::{RecordError, spawn};

/// How long its end waits for a shipment that is under way. What is not done by then goes on with the next recorder.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Where to ship, and how often.
#[derive(Debug, Clone)]
pub struct Ship {
    /// The lake.
    pub url: String,
    /// Time from one shipment to the next; the first one comes anywhere within it, so that many recorders do not all come at once.
    pub every: Duration,
}

/// Ships until it is dropped.
#[derive(Debug)]
pub struct Shipping {
    stop: Arc<AtomicBool>,
    wake: Option<Sender<()>>,
    over: Receiver<()>,
}

impl Shipping {
    /// Starts to ship a recording.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(layout: &Layout, registry: Arc<Registry>, meter: Arc<Meter>, ship: Ship) -> Result<Self, RecordError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (wake, woken) = channel();
        let (ended, over) = channel();
        let (layout, stopping) = (layout.clone(), Arc::clone(&stop));
        // Nobody joins it: it may wait for an answer that does not come.
        spawn("ship", move || {
            run(&layout, &registry, &meter, &ship, (&woken, &stopping));
            drop(ended);
        })?;
        Ok(Self { stop, wake: Some(wake), over })
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        // Nothing is ever sent: its end drops the sender.
        self.over.recv_timeout(LAST_WORD).unwrap_or_default();
    }
}

fn run(layout: &Layout, registry: &Arc<Registry>, meter: &Meter, ship: &Ship, (woken, stop): (&Receiver<()>, &AtomicBool)) {
    let mut wait = ship.every.mul_f64(fastrand::f64());
    let mut told = None;
    while woken.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = ship.every;
        let said = match once(layout, registry, ship, stop) {
            Err(LakeError::Stopped) => return,
            Err(error) => Some(format!("nothing more is shipped for now: {error}")),
            Ok(passed) if !passed.left.is_empty() => Some(format!("not all is shipped: {}", passed.left[0])),
            Ok(passed) => {
                if told.take().is_some() {
                    let rows = text::counted(passed.rows, "row");
                    meter.note(time::now(), format!("shipped again: all is in the lake that day files have, {rows} more"));
                }
                None
            }
        };
        // Once, and not each time.
        if said.is_some() && said != told {
            meter.note(time::now(), said.clone().unwrap_or_default());
            told = said;
        }
    }
}

fn once(layout: &Layout, registry: &Arc<Registry>, ship: &Ship, stop: &AtomicBool) -> Result<Passed, LakeError> {
    let place = Place::open(&ship.url)?;
    let now = time::now();
    Shipper::open(layout, Arc::clone(registry), &place, now)?.pass(now, stop, &mut |_| {})
}
