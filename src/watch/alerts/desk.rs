//! The desk: what has changed becomes messages, each of which is noted before it is sent and taken off the list when it has arrived.
//! So each change is told at least once, whatever becomes of the watcher, and twice with the same id at most.
//!
//! Changes of one alert are gathered for half a minute, so that many at once are one message. Who was told often within an hour is
//! told the rest together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::disk::{DiskError, fault};
use crate::base::time::{DAY, Micros, Moment, SECOND, rfc3339};
use crate::base::zone::Zone;
use crate::model::settings::Rule;

use super::decide::Change;
use super::note::{Named, Note, id_of};
use super::state::{Keeper, Key, Stored};
use super::words::{Item, Tone, sentence};

/// Changes of an alert are gathered for so long.
const GATHER: Micros = 30 * SECOND;
/// Most messages to one in an hour; then a digest.
const OFTEN: usize = 20;
const HOUR: Micros = 3600 * SECOND;
/// How long to wait behind the first, the second, … failure.
const WAITS: [Micros; 5] = [5 * SECOND, 30 * SECOND, 120 * SECOND, 600 * SECOND, HOUR];
/// What is over is remembered for so long: a start looks back, and must not tell of it again.
const REMEMBER: Micros = 3 * DAY;
/// Most messages that wait for one; beyond, the oldest become one.
const OWED_MAX: usize = 200;
/// How often to note that all is decided, where nothing changes.
const NOTE_EVERY: Micros = 600 * SECOND;
/// What came and went so shortly before the watcher was gone may not have been told.
pub(super) const MARGIN: Micros = 60 * SECOND;

/// A rule as the desk needs it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) rule: Rule,
    /// Of its value, as people write it.
    pub(super) unit: String,
}

/// Messages, and what was told.
#[derive(Debug)]
pub(super) struct Desk {
    keeper: Option<Keeper>,
    pub(super) stored: Stored,
    /// By alert and whether it is over: since when, of the steady clock.
    gathering: BTreeMap<(String, bool), (Micros, Vec<Item>)>,
    /// How often it failed in a row, and when to try again by the steady clock.
    waits: HashMap<String, (usize, Micros)>,
    /// Who was told too often, and is told the rest together.
    often: BTreeSet<String>,
    /// What stands in the file is another.
    changed: bool,
    zone: Zone,
}

impl Desk {
    /// With what was noted. Without a keeper nothing is: a trial.
    pub(super) fn new(keeper: Option<Keeper>, mut stored: Stored, rules: &[Told], zone: Zone) -> Self {
        let known: BTreeSet<&str> = rules.iter().map(|told| told.rule.name.as_str()).collect();
        let sinks: BTreeSet<&str> = rules.iter().flat_map(|told| told.rule.to.iter().map(String::as_str)).collect();
        stored.firing.retain(|key, _| known.contains(key.alert.as_str()));
        stored.owed.retain(|(to, _)| sinks.contains(to.as_str()));
        let (gathering, waits, often) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        Self { keeper, stored, gathering, waits, often, changed: false, zone }
    }

    fn is_gathered(&self, key: &Key, is_over: bool) -> bool {
        let all = self.gathering.get(&(key.alert.clone(), is_over));
        all.is_some_and(|(_, items)| {
            items.iter().any(|item| item.subject.project == key.project && item.subject.device == key.device)
        })
    }

    /// Takes a change, unless it was told already, or nobody was told that it had begun.
    pub(super) fn note(&mut self, told: &Told, name: &str, change: Change, now: Moment) {
        let key = key(&told.rule.name, &change);
        if change.raised
            && let Some((_, over)) = self.gathering.get_mut(&(key.alert.clone(), true))
        {
            // So again before anybody was told that it is over: it lasts.
            over.retain(|item| item.subject != change.subject);
            self.gathering.retain(|_, (_, items)| !items.is_empty());
        }
        let is_known = if change.raised {
            self.stored.firing.contains_key(&key)
                || self.is_gathered(&key, false)
                || self.stored.ended.get(&key).is_some_and(|(since, _)| *since >= change.since)
        } else {
            !self.stored.firing.contains_key(&key) && !self.is_gathered(&key, false) || self.is_gathered(&key, true)
        };
        if is_known {
            return;
        }
        let Change { subject, raised, since, at, value, why } = change;
        let since = if raised { since } else { self.stored.firing.get(&key).copied().unwrap_or(since) };
        let item = Item { subject, name: name.to_owned(), since, at, value, why };
        let gathered = self.gathering.entry((key.alert, !raised)).or_insert_with(|| (now.steady, Vec::new()));
        gathered.1.push(item);
    }

    /// What was told of an alert and lasts.
    pub(super) fn firing_of(&self, alert: &str) -> Vec<(Key, Micros)> {
        self.stored.firing.iter().filter(|(key, _)| key.alert == alert).map(|(key, since)| (key.clone(), *since)).collect()
    }

    /// Makes messages of what was gathered for long enough, and of what is to be told again; notes them.
    ///
    /// # Errors
    /// When the disk refuses: they are sent all the same.
    pub(super) fn write_up(
        &mut self,
        rules: &[Told],
        about: impl Fn(&Key) -> (String, Option<f64>),
        now: Moment,
    ) -> Result<(), DiskError> {
        let due: Vec<(String, bool)> =
            self.gathering.iter().filter(|(_, (since, _))| now.steady - since >= GATHER).map(|(of, _)| of.clone()).collect();
        for of in due {
            // What has ended is told behind what has begun.
            let Some((_, items)) = self.gathering.remove(&of) else { continue };
            if let Some(told) = rules.iter().find(|told| told.rule.name == of.0) {
                self.tell(told, if of.1 { Tone::Cleared } else { Tone::Raised }, &items, now);
            }
        }
        for told in rules {
            self.repeat(told, &about, now);
        }
        if self.changed || now.wall - self.stored.upto >= NOTE_EVERY || now.wall < self.stored.upto {
            self.stored.ended.retain(|_, (_, at)| now.wall - *at < REMEMBER);
            return self.save(now);
        }
        Ok(())
    }

    fn save(&mut self, now: Moment) -> Result<(), DiskError> {
        // Until it is noted.
        self.changed = true;
        // What is being gathered is not noted yet: a start looks [`MARGIN`] further back.
        self.stored.upto = now.wall;
        if let Some(keeper) = &self.keeper
            && !fault::leaves_out("what was told")
        {
            keeper.write(&mut self.stored)?;
        }
        self.changed = false;
        Ok(())
    }

    fn repeat(&mut self, told: &Told, about: impl Fn(&Key) -> (String, Option<f64>), now: Moment) {
        let Some(every) = told.rule.repeat else { return };
        let last = self.stored.told.get(&told.rule.name).copied().unwrap_or(now.wall);
        let firing = self.firing_of(&told.rule.name);
        if firing.is_empty() || (0..every).contains(&(now.wall - last)) {
            return;
        }
        let item = |(key, since): &(Key, Micros)| {
            let subject = super::decide::Subject { project: key.project.clone(), device: key.device.clone() };
            let (name, value) = about(key);
            Item { subject, name, since: *since, at: now.wall, value, why: None }
        };
        let items: Vec<Item> = firing.iter().map(item).collect();
        self.tell(told, Tone::Still, &items, now);
    }

    fn tell(&mut self, told: &Told, tone: Tone, items: &[Item], now: Moment) {
        let rule = &told.rule;
        let state = if tone == Tone::Cleared { "resolved" } else { "firing" };
        let at = items.iter().map(|item| item.at).max().unwrap_or(now.wall);
        let mut parts = vec![rule.name.clone(), state.to_owned()];
        if tone == Tone::Still {
            parts.push(format!("again {}", self.stored.told.get(&rule.name).copied().unwrap_or_default()));
        }
        let mut named: Vec<String> =
            items.iter().map(|item| format!("{}/{} {}", item.subject.project, item.subject.device, item.since)).collect();
        named.sort();
        parts.extend(named);
        let id = id_of(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let subjects = items.iter().map(|item| Named {
            name: item.name.clone(),
            project: item.subject.project.clone(),
            device: item.subject.device.clone(),
            since: rfc3339(item.since),
            value: item.value,
        });
        let text = sentence(rule, &told.unit, tone, items, &self.zone);
        let note = Note::new(id, &rule.name, state, text, at).of(subjects);
        for to in &rule.to {
            self.stored.owed.push((to.clone(), note.clone()));
            self.make_room(to, now);
        }
        for item in items {
            let key =
                Key { alert: rule.name.clone(), project: item.subject.project.clone(), device: item.subject.device.clone() };
            if tone == Tone::Cleared {
                self.stored.firing.remove(&key);
                self.stored.ended.insert(key, (item.since, now.wall));
            } else {
                self.stored.firing.insert(key, item.since);
            }
        }
        self.stored.told.insert(rule.name.clone(), now.wall);
        self.changed = true;
    }

    /// Where very many messages wait for one, the oldest become one.
    fn make_room(&mut self, to: &str, now: Moment) {
        let waiting: Vec<&Note> = self.stored.owed.iter().filter(|(of, _)| of == to).map(|(_, note)| note).collect();
        if waiting.len() > OWED_MAX {
            let digest = Note::digest(&waiting, now.wall);
            self.stored.owed.retain(|(of, _)| of != to);
            self.stored.owed.push((to.to_owned(), digest));
        }
    }

    /// What is to be sent now: to each at most one message.
    pub(super) fn due(&mut self, now: Moment) -> Vec<(String, Note)> {
        let mut due = Vec::new();
        let names: BTreeSet<String> = self.stored.owed.iter().map(|(to, _)| to.clone()).collect();
        for to in names {
            if self.waits.get(&to).is_some_and(|(_, until)| now.steady < *until) {
                continue;
            }
            let waiting: Vec<&Note> = self.stored.owed.iter().filter(|(of, _)| *of == to).map(|(_, note)| note).collect();
            let lately = self.stored.sent.get(&to).map_or(0, |sent| sent.iter().filter(|at| is_lately(**at, now)).count());
            if lately >= OFTEN {
                self.often.insert(to);
            } else if self.often.contains(&to) && waiting.len() > 1 {
                due.push((to, Note::digest(&waiting, now.wall)));
            } else if let Some(first) = waiting.first() {
                due.push((to, (*first).clone()));
            }
        }
        due
    }

    /// A message has arrived.
    ///
    /// # Errors
    /// When the disk refuses: it may be sent again then.
    pub(super) fn arrived(&mut self, to: &str, note: &Note, now: Moment) -> Result<(), DiskError> {
        self.stored.owed.retain(|(of, owed)| of != to || owed.id != note.id && !note.holds.contains(&owed.id));
        let sent = self.stored.sent.entry(to.to_owned()).or_default();
        sent.retain(|at| is_lately(*at, now));
        sent.push(now.wall);
        self.waits.remove(to);
        self.often.remove(to);
        self.save(now)
    }

    /// A message has not; true where that is the first time in a row.
    pub(super) fn failed(&mut self, to: &str, now: Moment) -> bool {
        let (count, until) = self.waits.entry(to.to_owned()).or_default();
        *until = now.steady + WAITS[(*count).min(WAITS.len() - 1)];
        *count += 1;
        *count == 1
    }

    /// How many messages are on their way.
    pub(super) fn owed(&self) -> usize {
        self.stored.owed.len()
    }

    /// What was told of and lasts.
    pub(super) fn firing(&self) -> impl Iterator<Item = (&Key, Micros)> {
        self.stored.firing.iter().map(|(key, since)| (key, *since))
    }
}

/// Within the last hour, as far as a clock tells that may have been set.
fn is_lately(at: Micros, now: Moment) -> bool {
    (0..HOUR).contains(&(now.wall - at))
}

fn key(alert: &str, change: &Change) -> Key {
    Key { alert: alert.to_owned(), project: change.subject.project.clone(), device: change.subject.device.clone() }
}
