//! One device: what it told last, how often it speaks, what is wrong with it.

use std::sync::Arc;

use crate::base::time::{Micros, SECOND};
use crate::model::schema::Behaviour;
use crate::query::tables::Topic;
use crate::store::devices::Directory;

use super::day::Day;
use super::usual::Usual;
use super::{behaves, level};

/// A battery is low from here on, in percent.
pub const BATTERY_LOW: f64 = 10.0;
/// A signal is weak from here on, in percent.
pub const SIGNAL_WEAK: f64 = 20.0;
/// So many of its usual intervals without a word are a silence.
const SILENT: f64 = 4.0;
/// No silence is shorter.
const SHORTEST: Micros = 300 * SECOND;
/// Most topics of one device.
const TOPICS: usize = 12;
/// Topics that have columns of their own.
const BATTERY: &str = "battery";
const SIGNAL: &str = "signal_strength";
const OWN: [&str; 3] = [BATTERY, SIGNAL, "rssi"];

/// What was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A measure or a total.
    Number(f64),
    /// A state.
    State(Arc<str>),
    /// Only that it happened.
    Happened,
}

/// What a device told last of a topic.
#[derive(Debug, Clone)]
pub struct Told {
    /// The place of the topic.
    pub topic: usize,
    /// When.
    pub time: Micros,
    /// What.
    pub said: Said,
    usual: Usual,
}

/// What is wrong with a device; the worst is the least.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Trouble {
    /// People are told of it, and of what.
    Alert(String),
    /// It tells something that somebody has to see, of the topic at this place.
    Alarm(usize),
    /// It says nothing for so many times as long as it usually does, less than nothing so that the worst is the least.
    Silent(f64),
    /// Its battery has so many percent.
    Battery(f64),
    /// Its signal has so many percent.
    Signal(f64),
}

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its number: it stays, as long as this process lives.
    pub number: usize,
    /// Its project.
    pub project: Arc<str>,
    /// Its id.
    pub id: Arc<str>,
    /// When it was heard last.
    pub last_seen: Option<Micros>,
    /// How many events of it were told: another number means that there is something new.
    pub events: u32,
    told: Vec<Told>,
    /// The day of what it tells first of all.
    day: Option<(usize, Box<Day>)>,
    /// Its name, id, type and labels in small letters, for whoever looks for one of them.
    words: Box<str>,
}

impl Device {
    pub(super) fn new(number: usize, project: &str, id: &str) -> Self {
        let (told, words) = (Vec::new(), id.to_lowercase().into());
        Self { number, project: project.into(), id: id.into(), last_seen: None, events: 0, told, day: None, words }
    }

    /// What it can be found by.
    pub(super) fn find_by(&mut self, directory: &Directory) {
        let Some(known) = directory.of(&self.project, &self.id) else { return };
        let labels = known.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let words = [known.name.clone(), self.id.to_string(), known.kind.clone()].into_iter().chain(labels);
        self.words = words.collect::<Vec<_>>().join("\n").to_lowercase().into();
    }

    /// Whether it can be found by a word in small letters.
    pub(super) fn is_found_by(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    pub(super) fn heard(&mut self, time: Micros) {
        self.last_seen = self.last_seen.max(Some(time));
        self.events = self.events.wrapping_add(1);
    }

    pub(super) fn tell(&mut self, topics: &[Topic], topic: usize, time: Micros, said: Said) {
        let is_own = topics.get(topic).is_none_or(|topic| OWN.contains(&topic.name.as_str()));
        if !is_own && self.day.as_ref().is_none_or(|(main, _)| topic < *main) {
            self.day = Some((topic, Box::default()));
        }
        if let (Some((main, day)), Some(about)) = (&mut self.day, topics.get(topic))
            && *main == topic
        {
            match &said {
                #[expect(clippy::cast_possible_truncation, reason = "a picture of 24 points")]
                Said::Number(value) => day.note(time, *value as f32),
                Said::State(state) => day.hold(time, level(about, state)),
                Said::Happened => day.count(time),
            }
        }
        let has_room = self.told.len() < TOPICS;
        match self.told.iter_mut().find(|told| told.topic == topic) {
            Some(told) if time >= told.time => {
                if time > told.time {
                    told.usual.note(time - told.time);
                }
                (told.time, told.said) = (time, said);
            }
            None if has_room => {
                self.told.push(Told { topic, time, said, usual: Usual::default() });
                self.told.sort_by_key(|told| told.topic);
            }
            _ => {}
        }
    }

    /// What it told last, what matters most first.
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// The same without what has a column of its own.
    pub fn values<'a>(&'a self, topics: impl Fn(usize) -> Option<&'a Topic> + 'a) -> impl Iterator<Item = (&'a Topic, &'a Told)> {
        let all = self.told.iter().filter_map(move |told| Some((topics(told.topic)?, told)));
        all.filter(|(topic, _)| !OWN.contains(&topic.name.as_str()))
    }

    fn number(&self, topics: &[Topic], name: &str) -> Option<f64> {
        self.told.iter().find_map(|told| match told.said {
            Said::Number(value) if topics.get(told.topic)?.name == name => Some(value),
            _ => None,
        })
    }

    /// Its battery in percent.
    pub fn battery(&self, topics: &[Topic]) -> Option<f64> {
        self.number(topics, BATTERY)
    }

    /// Its signal in percent.
    pub fn signal(&self, topics: &[Topic]) -> Option<f64> {
        self.number(topics, SIGNAL)
    }

    /// The topic whose day is shown, and the day.
    pub fn day(&self) -> Option<(usize, &Day)> {
        self.day.as_ref().map(|(topic, day)| (*topic, day.as_ref()))
    }

    /// How often it speaks as a rule: as often as it tells what it tells most often.
    pub fn usual(&self) -> Option<Micros> {
        self.told.iter().filter_map(|told| told.usual.interval()).min()
    }

    pub(super) fn trouble(&self, topics: &[Topic], silence: Option<Micros>) -> Option<Trouble> {
        let is_alarm = |told: &Told| match (&told.said, topics.get(told.topic)) {
            (Said::State(state), Some(topic)) => behaves(topic) == Some(Behaviour::State) && level(topic, state) > 1.5,
            _ => false,
        };
        if let Some(told) = self.told.iter().find(|told| is_alarm(told)) {
            return Some(Trouble::Alarm(told.topic));
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio of two lengths")]
        let ratio = silence.zip(self.usual()).map(|(silence, usual)| silence as f64 / usual.max(1) as f64);
        if let Some(ratio) = ratio.filter(|ratio| *ratio > SILENT && silence > Some(SHORTEST)) {
            return Some(Trouble::Silent(-ratio));
        }
        if let Some(battery) = self.battery(topics).filter(|battery| *battery <= BATTERY_LOW) {
            return Some(Trouble::Battery(battery));
        }
        self.signal(topics).filter(|signal| *signal <= SIGNAL_WEAK).map(Trouble::Signal)
    }
}
