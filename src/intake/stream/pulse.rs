//! The pulse of one session: when it was heard, when it is over, what it may claim. No I/O; both clocks are handed in.

use std::sync::Arc;
use std::time::Duration;

use crate::base::disk::fault;
use crate::base::time::{self, Micros, Moment, SECOND, STEP};
use crate::store::buffer::{Heard, Run};

use super::machine::{End, PING_JITTER};

/// Who has not looked for so long has left something lying: on this machine, on the way, with the cloud.
const STALLED: Micros = SECOND / 2;
/// Beside the stall's own length, so long after it what comes may be old.
const CATCHES_UP: Micros = SECOND / 2;

/// The pulse of a session.
#[derive(Debug)]
pub(crate) struct Pulse {
    run: Arc<Run>,
    session: u64,
    /// At its opening. Signs of life are told by the steady clock from there on, so that nobody who sets the other one moves them.
    anchor: Moment,
    /// When this process looked at it last.
    looked: Micros,
    /// When something came last.
    heard: Moment,
    /// When something came last that was sent just then.
    fresh: Moment,
    first: Option<Moment>,
    /// The last moment at which the socket was read empty: bytes that lay there while nobody read say nothing of how long the
    /// cloud went on sending.
    drained: Option<Moment>,
    /// After a stall an empty socket proves nothing yet: what the cloud could not send meanwhile still comes. Whoever reads as
    /// long as the stall was has caught up.
    behind_until: Micros,
    /// All that came up to here is handed to the writer.
    handed_over: Option<Moment>,
    noted: Option<Moment>,
    /// So long without a sign of life, or without a look at it, is its end.
    most: Micros,
}

impl Pulse {
    /// A session that has opened.
    pub(crate) fn new(run: Arc<Run>, session: u64, ping: Duration, now: Moment) -> Self {
        let most = time::micros(ping + PING_JITTER);
        Self {
            run,
            session,
            anchor: now,
            looked: now.steady,
            heard: now,
            fresh: now,
            first: None,
            drained: None,
            behind_until: now.steady,
            handed_over: None,
            noted: None,
            most,
        }
    }

    /// Bytes came, with a frame among them or not, and are collected. True at the first sign of life.
    ///
    /// # Errors
    /// When the session is over: then these bytes are no sign of life.
    pub(crate) fn came(&mut self, has_frame: bool, now: Moment) -> Result<bool, End> {
        self.look(now)?;
        if !has_frame {
            return Ok(false);
        }
        self.heard = self.anchored(now);
        let is_first = self.first.is_none();
        self.first.get_or_insert(self.heard);
        self.drained.get_or_insert(self.heard);
        // What lay there since nobody read may be the last that the cloud sent before it fell silent.
        if is_first || !self.is_behind(now) {
            self.fresh = self.heard;
        }
        Ok(is_first)
    }

    /// Nothing came: all that the cloud sent is read.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) fn quiet(&mut self, now: Moment) -> Result<(), End> {
        self.look(now)?;
        if self.first.is_some() && !self.is_behind(now) {
            self.drained = Some(self.fresh);
        }
        if fault::leaves_out("a claim waits for its events") {
            self.handed_over = Some(self.anchored(now));
            self.drained = self.handed_over;
        }
        self.silent(now)
    }

    /// Whether something may have been sent that has not come yet, though nothing comes now.
    pub(crate) fn is_behind(&self, now: Moment) -> bool {
        now.steady < self.behind_until
    }

    /// Whether nothing came for too long.
    ///
    /// # Errors
    /// When that is so.
    pub(crate) fn silent(&self, now: Moment) -> Result<(), End> {
        if now.steady - self.heard.steady > self.most { Err(End::Silent) } else { Ok(()) }
    }

    fn look(&mut self, now: Moment) -> Result<(), End> {
        let since = now.steady - std::mem::replace(&mut self.looked, now.steady);
        let step = now.step_since(self.anchor);
        if step.abs() > STEP && !fault::leaves_out("a clock that is set ends a session") {
            return Err(End::ClockStep(step));
        }
        if since > STALLED {
            self.behind_until = self.behind_until.max((now.steady + CATCHES_UP).saturating_add(since));
        }
        if since > self.most { Err(End::StoodStill) } else { Ok(()) }
    }

    fn anchored(&self, now: Moment) -> Moment {
        let wall = if fault::leaves_out("a clock that is set ends a session") { now.wall } else { now.wall_by(self.anchor) };
        Moment { wall, steady: now.steady }
    }

    /// All that was collected is handed to the writer now, or nothing is collected.
    pub(crate) fn handed_over(&mut self) {
        self.handed_over = self.drained;
    }

    /// The sign of life to note, if the last one was `every` ago; what was collected has to be handed over with it.
    pub(crate) fn due(&mut self, every: Micros, now: Moment) -> Option<Heard> {
        let is_news = self.drained.map(|at| at.steady) > self.noted.map(|at| at.steady);
        let is_time = self.noted.is_none_or(|noted| now.steady - noted.steady >= every);
        let heard = self.drained.filter(|_| is_news && is_time)?;
        self.noted = Some(heard);
        Some(self.sign(heard, None))
    }

    /// What to note at its end; none where it was never heard.
    pub(crate) fn last(&self, cause: String) -> Option<Heard> {
        Some(self.sign(self.handed_over.or(self.first)?, Some(cause)))
    }

    /// Its last sign of life.
    pub(crate) fn last_sign(&self) -> Option<Moment> {
        self.handed_over.or(self.first)
    }

    /// Its number.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// The number of its run.
    pub(crate) fn run_number(&self) -> u64 {
        self.run.number
    }

    /// How long it has lived.
    pub(crate) fn lived(&self, now: Moment) -> Duration {
        time::duration(now.steady - self.anchor.steady)
    }

    fn sign(&self, spoke: Moment, ended: Option<String>) -> Heard {
        let opened_at = self.first.unwrap_or(spoke).wall;
        Heard { run: Arc::clone(&self.run), session: self.session, opened_at, spoke_at: spoke.wall, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::run;
    use super::*;

    const START: Moment = Moment { wall: 1_000_000 * SECOND, steady: 77 };

    fn pulse() -> Pulse {
        Pulse::new(run(), 1, Duration::from_secs(10), START)
    }

    fn at(seconds: i64) -> Moment {
        START.later(seconds * SECOND)
    }

    fn later(millis: i64) -> Moment {
        START.later(millis * SECOND / 1000)
    }

    #[test]
    fn a_session_claims_no_more_than_what_was_read_and_handed_over() {
        let mut pulse = pulse();
        assert!(pulse.came(true, later(0)).unwrap());
        for millis in (100..8000).step_by(100) {
            pulse.quiet(later(millis)).unwrap();
        }
        assert!(!pulse.came(true, later(8000)).unwrap());
        // Nobody has read the socket empty since.
        pulse.handed_over();
        assert_eq!(pulse.last(String::new()).unwrap().spoke_at, later(0).wall);
        pulse.quiet(later(8050)).unwrap();
        assert_eq!(pulse.last(String::new()).unwrap().spoke_at, later(0).wall, "what came is not handed over yet");
        pulse.handed_over();
        let last = pulse.last(String::new()).unwrap();
        assert_eq!((last.opened_at, last.spoke_at), (later(0).wall, later(8000).wall));
    }

    #[test]
    fn who_sets_the_clock_ends_the_session_and_moves_no_sign_of_life() {
        for step in [-3600, 3600, -3, 3] {
            let mut pulse = pulse();
            pulse.came(true, at(1)).unwrap();
            pulse.quiet(at(2)).unwrap();
            pulse.handed_over();
            let stepped = Moment { wall: at(3).wall + step * SECOND, ..at(3) };
            assert!(matches!(pulse.came(true, stepped), Err(End::ClockStep(by)) if by == step * SECOND));
            assert_eq!(pulse.last_sign().unwrap().wall, at(1).wall);
        }
        let mut pulse = pulse();
        pulse.came(true, Moment { wall: at(1).wall - SECOND, ..at(1) }).unwrap();
        assert_eq!(pulse.last_sign().unwrap().wall, at(1).wall, "a second is no step, and moves nothing");
    }

    #[test]
    fn what_is_read_behind_a_stall_says_nothing_of_the_time_of_the_stall() {
        let mut pulse = pulse();
        pulse.came(true, later(0)).unwrap();
        pulse.quiet(later(50)).unwrap();
        // The disk was full, and nobody read.
        pulse.came(true, later(2050)).unwrap();
        pulse.handed_over();
        assert_eq!(pulse.last_sign().unwrap(), later(0));
        for millis in (2100..4500).step_by(100) {
            pulse.quiet(later(millis)).unwrap();
            pulse.handed_over();
            assert_eq!(pulse.last_sign().unwrap(), later(0), "the rest may be on its way still");
            pulse.came(true, later(millis + 50)).unwrap();
        }
        pulse.quiet(later(4600)).unwrap();
        pulse.handed_over();
        assert_eq!(pulse.last_sign().unwrap(), later(0), "it may have been the last for long");
        pulse.came(true, later(4700)).unwrap();
        pulse.quiet(later(4750)).unwrap();
        pulse.handed_over();
        assert_eq!(pulse.last_sign().unwrap(), later(4700));
    }

    #[test]
    fn silence_and_standing_still_are_ends() {
        let mut silent = pulse();
        silent.came(true, at(1)).unwrap();
        assert!(silent.quiet(at(12)).is_ok());
        assert!(matches!(silent.quiet(at(14)), Err(End::Silent)));
        let mut still = pulse();
        still.came(true, at(1)).unwrap();
        assert!(matches!(still.came(true, at(14)), Err(End::StoodStill)));
    }
}
