//! What is so, and since when: one rule's watch over what devices say. Pure: it is fed with readings, facts and the time, and tells
//! changes.
//!
//! **Whose time.** A value has the time of its event, and what lasts is measured from event to event; between events, and for all that
//! does not come, by a steady clock that nobody sets. So a wall clock that jumps raises nothing.
//!
//! **Without coverage nobody is silent.** Silence is counted only while the device's project is heard, and a value is held over no time
//! in which it could have changed unheard.

use std::collections::{BTreeMap, HashMap};

use crate::base::disk::fault;
use crate::base::time::{Micros, Moment};
use crate::model::settings::{Rule, When};

/// What an alert is about: a device of a project, a project, or the whole recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The project; empty for the recording.
    pub project: String,
    /// The device's id; empty for the project.
    pub device: String,
}

/// Something became so, or is so no more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Of what.
    pub(super) subject: Subject,
    /// It is so; else no more.
    pub(super) raised: bool,
    /// Since when it is so, or was: what tells one time from the next. Of what devices say, event time.
    pub(super) since: Micros,
    /// When that was known.
    pub(super) at: Micros,
    /// The value, where there is one.
    pub(super) value: Option<f64>,
    /// Why, where somebody knows.
    pub(super) why: Option<String>,
}

/// A rule, and how things stand.
#[derive(Debug)]
pub(super) struct Decider {
    pub(super) rule: Rule,
    states: HashMap<Subject, State>,
}

#[derive(Debug, Default)]
struct State {
    /// Time of the last event.
    at: Option<Micros>,
    value: Option<f64>,
    why: Option<String>,
    /// It may become an alert: since this event time, and this steady time.
    bad: Option<(Micros, Micros)>,
    /// It is one, since then.
    firing: Option<Micros>,
    /// It may end: since this event time, and this steady time.
    good: Option<(Micros, Micros)>,
    /// Of the clock that counts only while the project is heard: when it was heard last.
    heard: Micros,
}

/// How a project stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fact {
    /// It is so, since then, and why.
    pub(super) so: Option<(Micros, String)>,
    /// The value that it is about, where there is one.
    pub(super) value: Option<f64>,
}

impl Decider {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, states: HashMap::new() }
    }

    /// Keeps what fires, and what it is still about.
    pub(super) fn retain(&mut self, is_about: impl Fn(&Subject) -> bool) {
        self.states.retain(|subject, state| state.firing.is_some() || is_about(subject));
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.states.clear();
    }

    /// A device measured something. What is older than what is known of it changes nothing.
    pub(super) fn value(&mut self, subject: &Subject, (at, value): (Micros, f64), now: Moment, out: &mut Vec<Change>) {
        let (Some(limit), Some(clear)) = (self.rule.value, self.rule.clear) else { return };
        let state = state(&mut self.states, subject);
        if state.at.is_some_and(|last| at <= last) {
            return;
        }
        // What lasted up to this event lasted.
        ripen(&self.rule, subject, state, at, now.wall, out);
        state.at = Some(at);
        state.value = Some(value);
        let clear = if fault::leaves_out("hysteresis") { limit } else { clear };
        let (is_bad, is_good) = match self.rule.when {
            When::Above => (value > limit, value <= clear),
            When::Battery => (value <= limit, value > limit && value >= clear),
            _ => (value < limit, value >= clear),
        };
        weigh(&self.rule, subject, state, (is_bad, is_good), (at, now), out);
    }

    /// A device told something. `heard` is the clock that counts while its project is heard.
    pub(super) fn sign(&mut self, subject: &Subject, at: Micros, (heard, now): (Micros, Moment), out: &mut Vec<Change>) {
        let state = state(&mut self.states, subject);
        let is_new = state.at.is_none();
        // Whatever time it tells: it speaks.
        state.at = state.at.max(Some(at));
        state.heard = if is_new { heard } else { state.heard.max(heard) };
        if let Some(since) = state.firing.take() {
            out.push(change(subject, false, since, now.wall, state));
        }
    }

    /// A device is known, and was not heard since then.
    pub(super) fn known(&mut self, subject: &Subject, heard: Micros) {
        if !self.states.contains_key(subject) {
            self.states.insert(subject.clone(), State { heard, ..State::default() });
        }
    }

    /// Time passes for what devices say. `heard` tells of a project whether it is heard, and how long it was so far.
    pub(super) fn pass(&mut self, now: Moment, heard: &BTreeMap<String, (bool, Micros)>, out: &mut Vec<Change>) {
        for (subject, state) in &mut self.states {
            let Some((is_heard, so_far)) = heard.get(&subject.project) else { continue };
            if self.rule.when == When::Silent {
                let unheard = fault::leaves_out("coverage") && now.wall - state.at.unwrap_or(now.wall) >= self.rule.lasts;
                if unheard && state.firing.is_none() {
                    state.firing = state.at;
                    out.push(change(subject, true, state.at.unwrap_or_default(), now.wall, state));
                }
                if *is_heard && state.firing.is_none() && *so_far - state.heard >= self.rule.lasts {
                    let since = state.at.unwrap_or_default();
                    state.firing = Some(since);
                    out.push(change(subject, true, since, now.wall, state));
                }
            } else if *is_heard {
                settle(&self.rule, subject, state, now, out);
            }
        }
    }

    /// How things stand that no device says. `is_first` is the first look: what is so was so before.
    pub(super) fn facts(&mut self, facts: &BTreeMap<String, Fact>, now: Moment, is_first: bool, out: &mut Vec<Change>) {
        for (project, fact) in facts {
            let subject = Subject { project: project.clone(), device: String::new() };
            let state = state(&mut self.states, &subject);
            state.value = fact.value;
            if let Some((since, why)) = &fact.so {
                state.why = Some(why.clone());
                state.good = None;
                let before = if is_first { (now.wall - *since).max(0) } else { 0 };
                state.bad.get_or_insert((*since, now.steady - before));
            } else {
                state.bad = None;
                if state.firing.is_some() {
                    state.good.get_or_insert((now.wall, now.steady));
                }
            }
            settle(&self.rule, &subject, state, now, out);
        }
    }

    /// What is so, by what, and since when.
    pub(super) fn firing(&self) -> impl Iterator<Item = (&Subject, Micros, Option<f64>)> {
        self.states.iter().filter_map(|(subject, state)| Some((subject, state.firing?, state.value)))
    }
}

fn state<'s>(states: &'s mut HashMap<Subject, State>, subject: &Subject) -> &'s mut State {
    if !states.contains_key(subject) {
        states.insert(subject.clone(), State::default());
    }
    states.entry(subject.clone()).or_default()
}

/// What is bad may become an alert, what is good may end one.
fn weigh(
    rule: &Rule,
    subject: &Subject,
    state: &mut State,
    (is_bad, is_good): (bool, bool),
    (at, now): (Micros, Moment),
    out: &mut Vec<Change>,
) {
    if state.firing.is_none() {
        state.good = None;
        if is_bad {
            state.bad.get_or_insert((at, now.steady));
        } else {
            state.bad = None;
        }
    } else if is_good {
        state.good.get_or_insert((at, now.steady));
    } else {
        state.good = None;
    }
    if rule.lasts == 0 || rule.hold == 0 {
        ripen(rule, subject, state, at, now.wall, out);
    }
}

/// What has lasted by the time of events.
fn ripen(rule: &Rule, subject: &Subject, state: &mut State, at: Micros, known: Micros, out: &mut Vec<Change>) {
    if let (Some((since, _)), None) = (state.bad, state.firing)
        && at - since >= rule.lasts
    {
        raise(subject, state, since, known, out);
    } else if let (Some((good, _)), Some(since)) = (state.good, state.firing)
        && at - good >= rule.hold
    {
        clear(subject, state, since, known, out);
    }
}

/// What has lasted by the steady clock.
fn settle(rule: &Rule, subject: &Subject, state: &mut State, now: Moment, out: &mut Vec<Change>) {
    // A program that goes by the wall clock.
    let now = if fault::leaves_out("steady clock") { Moment { steady: now.wall, ..now } } else { now };
    if let (Some((since, steady)), None) = (state.bad, state.firing)
        && now.steady - steady >= rule.lasts
    {
        raise(subject, state, since, now.wall, out);
    } else if let (Some((_, steady)), Some(since)) = (state.good, state.firing)
        && now.steady - steady >= rule.hold
    {
        clear(subject, state, since, now.wall, out);
    }
}

fn raise(subject: &Subject, state: &mut State, since: Micros, at: Micros, out: &mut Vec<Change>) {
    (state.firing, state.bad, state.good) = (Some(since), None, None);
    out.push(change(subject, true, since, at, state));
}

fn clear(subject: &Subject, state: &mut State, since: Micros, at: Micros, out: &mut Vec<Change>) {
    (state.firing, state.bad, state.good) = (None, None, None);
    out.push(change(subject, false, since, at, state));
}

fn change(subject: &Subject, raised: bool, since: Micros, at: Micros, state: &State) -> Change {
    Change { subject: subject.clone(), raised, since, at, value: state.value, why: state.why.clone() }
}
