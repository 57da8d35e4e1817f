//! Times that were told by different clocks of one machine, told by one. Pure.
//!
//! Between two moments of one boot the steady clock knows how long it was. Where the wall clock says less, somebody set it back:
//! what was noted before is told by today's clock. Where it says more, somebody set it ahead, or the machine was paused by what
//! runs it (a virtual machine that slept knows nothing of it): then nobody recorded meanwhile. The cloud's clock tells which it
//! was, and so does a clock that came back to what it had shown before. Where nothing tells, the time is missing: that can only
//! make a gap larger.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::base::time::{Micros, SECOND, STEP};
use crate::store::buffer::{Records, RunRow};

/// The cloud's clock is known to whole seconds, and answers take their time.
const SAME: Micros = 5 * SECOND;

/// A time in which nobody set the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    /// What the wall clock showed beyond the steady one.
    clock: Micros,
    /// What the cloud's clock was ahead of it, as far as anybody knows.
    ahead: Option<Micros>,
}

/// A machine, from one of its boots to the next.
#[derive(Debug, Default)]
struct Boot {
    epochs: Vec<Epoch>,
    /// By how much times of each epoch lie behind today's clock.
    behind: Vec<Micros>,
    /// Whether the machine may have been paused before each epoch.
    paused: Vec<bool>,
}

impl Boot {
    /// The epoch that a run began in.
    fn meet(&mut self, run: &RunRow) -> usize {
        match self.epochs.last_mut() {
            Some(last) if (run.clock - last.clock).abs() <= STEP => last.ahead = last.ahead.or(run.ahead),
            _ => self.epochs.push(Epoch { clock: run.clock, ahead: run.ahead }),
        }
        self.epochs.len() - 1
    }

    fn decide(&mut self) {
        let was_paused = |at: usize| at > 0 && !self.was_set(at);
        self.paused = (0..self.epochs.len()).map(was_paused).collect();
        self.behind = vec![0; self.epochs.len()];
        for at in (1..self.epochs.len()).rev() {
            let step = if self.paused[at] { 0 } else { self.epochs[at].clock - self.epochs[at - 1].clock };
            self.behind[at - 1] = self.behind[at].saturating_add(step);
        }
    }

    /// Whether the clock was set before an epoch; else time has passed.
    fn was_set(&self, at: usize) -> bool {
        let (before, after) = (self.epochs[at - 1], self.epochs[at]);
        let step = after.clock - before.clock;
        if step < 0 {
            return true;
        }
        if let (Some(old), Some(new)) = (before.ahead, after.ahead) {
            return (old - new - step).abs() <= SAME;
        }
        let shows = |clock: Micros| move |epoch: &Epoch| (epoch.clock - clock).abs() <= STEP;
        self.epochs[..at - 1].iter().any(shows(after.clock)) || self.epochs[at + 1..].iter().any(shows(before.clock))
    }
}

/// What a ledger says, by today's clock of each boot.
pub(super) fn by_todays_clock(records: &Records) -> Cow<'_, Records> {
    let mut boots: HashMap<(&str, &str), Boot> = HashMap::new();
    // Where nobody knows the boot, each process is one. Of each recording for itself: their runs are in order, and not each other's.
    let mut of_run: Vec<((&str, &str), usize)> = Vec::with_capacity(records.runs.len());
    for run in &records.runs {
        let name = (&*run.origin, if run.boot.is_empty() { &*run.opening } else { &*run.boot });
        of_run.push((name, boots.entry(name).or_default().meet(run)));
    }
    if boots.values().all(|boot| boot.epochs.len() == 1) {
        return Cow::Borrowed(records);
    }
    boots.values_mut().for_each(Boot::decide);
    let mut told = records.clone();
    let mut by: HashMap<i64, Micros> = HashMap::new();
    let mut ended: HashMap<(&str, &str, &str), (Micros, usize)> = HashMap::new();
    for ((run, old), (boot, epoch)) in told.runs.iter_mut().zip(&records.runs).zip(of_run) {
        let boot = &boots[&boot];
        let behind = boot.behind[epoch];
        for at in [Some(&mut run.begins), run.until.as_mut(), run.ended_at.as_mut()].into_iter().flatten() {
            *at = at.saturating_add(behind);
        }
        by.insert(run.id, behind);
        let key = (&*old.opening, &*old.source, &*old.project);
        if let Some((at, before)) = ended.get(&key)
            && (before + 1..=epoch).any(|at| boot.paused[at])
        {
            // It went on while the machine was paused.
            run.begins = run.begins.min(*at);
        }
        if let Some(at) = run.ended_at {
            ended.insert(key, (at, epoch));
        }
    }
    for session in &mut told.sessions {
        let behind = by.get(&session.run).copied().unwrap_or_default();
        for at in [Some(&mut session.opened_at), Some(&mut session.spoke_at), session.closed_at.as_mut()].into_iter().flatten() {
            *at = at.saturating_add(behind);
        }
    }
    Cow::Owned(told)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::timeline::timeline;
    use super::*;
    use crate::store::buffer::Session;

    const HOUR: Micros = 3600 * SECOND;

    /// A recorder that hears for ten seconds of every twenty, while its clock goes by these steps.
    fn records(clocks: &[(Micros, Option<Micros>)]) -> Records {
        let mut records = Records::default();
        let runs = i64::try_from(clocks.len()).unwrap();
        for (number, (clock, ahead)) in (0..).zip(clocks) {
            let begins = clock + if number == 0 { 0 } else { 20 * number - 10 } * SECOND;
            records.runs.push(RunRow {
                id: number,
                opening: "o".to_owned(),
                origin: String::new(),
                boot: "b".to_owned(),
                clock: *clock,
                ahead: *ahead,
                source: "stream".to_owned(),
                project: "p".to_owned(),
                filters: Arc::default(),
                begins,
                until: None,
                ended_at: (number + 1 < runs).then_some(clock + (20 * number + 10) * SECOND),
                quiet: 30 * SECOND,
                said: None,
            });
            let (opened_at, spoke_at) = (clock + 20 * number * SECOND, clock + (20 * number + 10) * SECOND);
            records.sessions.push(Session {
                run: number,
                opened_at,
                spoke_at,
                closed_at: Some(spoke_at),
                cause: None,
                joined: 1,
            });
        }
        records
    }

    /// Gaps, in seconds by the first clock.
    fn gaps(clocks: &[(Micros, Option<Micros>)]) -> Vec<(i64, i64)> {
        let base = 1_000_000 * SECOND;
        let clocks: Vec<_> = clocks.iter().map(|(clock, ahead)| (base + clock, *ahead)).collect();
        let last = clocks.last().unwrap().0;
        let now = last + (20 * i64::try_from(clocks.len()).unwrap() - 10) * SECOND;
        let time = timeline(&records(&clocks), Some("o"), now);
        time.projects[0].gaps.iter().map(|gap| ((gap.span.0 - base) / SECOND, (gap.span.1 - base) / SECOND)).collect()
    }

    #[test]
    fn a_clock_that_was_set_and_set_back_leaves_what_it_should_in_between() {
        for step in [-HOUR, HOUR, -30 * SECOND, 30 * SECOND] {
            assert_eq!(gaps(&[(0, None), (step, None), (0, None)]), [(10, 20), (30, 40)], "{step}");
        }
        assert_eq!(
            gaps(&[(0, None), (HOUR, None), (0, None), (HOUR, None), (0, None)]),
            [(10, 20), (30, 40), (50, 60), (70, 80)]
        );
    }

    #[test]
    fn a_clock_that_was_set_back_moves_what_was_before_it() {
        assert_eq!(gaps(&[(0, None), (-HOUR, None)]), [(10 - 3600, 20 - 3600)]);
    }

    #[test]
    fn a_clock_that_jumps_ahead_may_have_stood_still_with_its_machine() {
        assert_eq!(gaps(&[(0, None), (HOUR, None)]), [(10, 3620)]);
        assert_eq!(gaps(&[(0, Some(0)), (HOUR, Some(0))]), [(10, 3620)], "the cloud says so");
        assert_eq!(gaps(&[(0, Some(HOUR)), (HOUR, Some(0))]), [(3610, 3620)], "the cloud says that it was set");
    }
}
