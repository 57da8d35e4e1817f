//! Thread "roll": a timer around the turns.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::base::time;
use crate::store::meter::Meter;

use super::{RollError, Roller, Scope, Timing, Turn};
use crate::store::writer::ToWriter;

/// How often to look whether a partition has grown too large to wait for the timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often what is to be done once a day is done.
const DAILY: Duration = Duration::from_hours(24);

/// What is large may wait for its file to be worth a copy: looking takes so small a part of the time.
const LOOK_SHARE: u32 = 20;

/// Takes a turn on the timer, and one of everything when it is told to stop; behind the first one of either kind, and then once a day,
/// does what is to be done `daily`.
pub(crate) fn run(
    mut roller: Roller,
    timing: &Timing,
    meter: &Meter,
    writer: &dyn ToWriter,
    stop: &Receiver<()>,
    daily: &mut dyn FnMut(&mut Roller, &dyn ToWriter),
) -> Result<(), RollError> {
    let (mut last, mut has_failed) = (time::instant(), false);
    let (mut next_look, mut next_day) = (last, last);
    loop {
        let stopping = stop.recv_timeout(LOOK_EVERY.min(timing.roll_every)) != Err(RecvTimeoutError::Timeout);
        if stopping && meter.pressure.full.load(Ordering::Relaxed) {
            // A roll writes before it frees, and who asked for an end does not wait for what must fail.
            meter.note(time::now(), "the disk is full: what is kept is rolled at the next start");
            return Ok(());
        }
        let is_time = last.elapsed() >= timing.roll_every;
        let scope = if stopping { Some(Scope::All) } else { timing.scope(meter, is_time, has_failed) };
        let began = time::instant();
        let Some(scope) = scope.filter(|scope| *scope != Scope::Large || began >= next_look) else { continue };
        if scope == Scope::Due {
            last = began;
        }
        let result = Turn { roller: &mut roller, timing, meter, writer, now: &time::now }.take(scope);
        if scope != Scope::Large && began >= next_day {
            daily(&mut roller, writer);
            next_day = began + DAILY;
        }
        if stopping {
            return result;
        }
        next_look = began + LOOK_SHARE * began.elapsed();
        has_failed = result.is_err();
        if let Err(error) = result {
            meter.note(time::now(), format!("roll: {error}"));
        }
    }
}
