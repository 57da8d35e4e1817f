//! The model: every device with what it told last and its last 24 hours, in bounded memory: about a kilobyte a device.
//!
//! It is fed with rows in any order, each once, and knows nothing of where they come from.

mod day;
mod device;
mod order;
mod usual;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::time::{Micros, SECOND};
use crate::model::event::DeviceRow;
use crate::model::schema::{Behaviour, Registry};
use crate::output::chart::{Meaning, meaning};
use crate::query::tables::{Topic, Value, figure, topics};
use crate::store::devices::{Directory, Known};

pub use day::{CELLS, Cell};
pub use device::{BATTERY_LOW, Device, SIGNAL_WEAK, Said, Told, Trouble};
pub use order::{PAGE, Page, Sort, Wish};

/// Most devices; of others nothing is shown.
const DEVICES: usize = 50_000;
/// Most topics, those of the schemas among them: whatever event types there are.
const TOPICS: usize = 256;
/// Most names of states, and the longest.
const STATES: (usize, usize) = (1000, 60);
/// What a device says of times so far ahead is of a wrong clock.
const AHEAD: Micros = 600 * SECOND;

/// When a project could be heard: from the end of its last gap to its last sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// From when.
    pub from: Micros,
    /// Until when.
    pub until: Micros,
}

/// All devices.
#[derive(Debug, Default)]
pub struct Fleet {
    devices: Vec<Device>,
    /// Their numbers, by project and id.
    numbers: HashMap<String, HashMap<String, usize>>,
    /// What devices tell of, what matters most first; those of no schema behind.
    topics: Vec<Topic>,
    /// By event type: places of topics, each with its column.
    of_type: HashMap<String, Vec<(usize, Option<String>)>>,
    states: HashSet<Arc<str>>,
    directory: Directory,
    hearing: HashMap<String, Hearing>,
    /// What alerts say of devices, by their numbers.
    alerts: HashMap<usize, String>,
    /// Devices beyond the most.
    left_out: bool,
}

impl Fleet {
    /// Without devices.
    pub fn new(registry: &Registry) -> Self {
        let mut fleet = Self { topics: topics(registry.iter().map(AsRef::as_ref)), ..Self::default() };
        for (place, topic) in fleet.topics.iter().enumerate() {
            for value in &topic.values {
                let column = value.column.as_ref().map(|(column, _)| column.name.clone());
                fleet.of_type.entry(value.event_type.clone()).or_default().push((place, column));
            }
        }
        // What comes with columns that say nothing of themselves is heard, and no more.
        for schema in registry.iter() {
            fleet.of_type.entry(schema.name.clone()).or_default();
        }
        fleet
    }

    /// Takes the list of devices: those that never spoke are shown as well.
    pub fn know(&mut self, devices: &[DeviceRow]) {
        self.directory = Directory::new(devices);
        for device in devices {
            self.number(&device.project, &device.id);
        }
        for device in &mut self.devices {
            device.find_by(&self.directory);
        }
    }

    /// When projects could be heard.
    pub fn hears(&mut self, hearing: HashMap<String, Hearing>) {
        self.hearing = hearing;
    }

    /// Of which devices people are told, and what: each by its project and id.
    pub fn alerts<'a>(&mut self, alerts: impl Iterator<Item = ((&'a str, &'a str), String)>) {
        let number = |fleet: &Self, (project, id): (&str, &str)| fleet.device(project, id).map(|device| device.number);
        self.alerts = alerts.filter_map(|(device, what)| Some((number(self, device)?, what))).collect();
    }

    /// Whether there are more devices than it holds.
    pub fn is_over(&self) -> bool {
        self.left_out
    }

    /// What devices tell of.
    pub fn topic(&self, place: usize) -> Option<&Topic> {
        self.topics.get(place)
    }

    /// All of them, by the numbers that they have as long as this process lives.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// One of them.
    pub fn device(&self, project: &str, id: &str) -> Option<&Device> {
        self.devices.get(*self.numbers.get(project)?.get(id)?)
    }

    /// What people know of a device.
    pub fn known(&self, device: &Device) -> Option<&Known> {
        self.directory.of(&device.project, &device.id)
    }

    /// What a device is called, and no other one.
    pub fn name<'a>(&'a self, device: &'a Device) -> &'a str {
        self.directory.name_in(&device.project, &device.id)
    }

    /// For how long a device says nothing already, as far as it could be heard; none that never spoke, or in a project of which
    /// nothing is known.
    pub fn silence(&self, device: &Device) -> Option<Micros> {
        let hearing = self.hearing.get(&*device.project)?;
        Some(hearing.until.saturating_sub(device.last_seen?.max(hearing.from)).max(0))
    }

    /// What is wrong with a device, the worst of it; none where nothing is.
    pub fn trouble(&self, device: &Device) -> Option<Trouble> {
        if let Some(alert) = self.alerts.get(&device.number) {
            return Some(Trouble::Alert(alert.clone()));
        }
        device.trouble(&self.topics, self.silence(device))
    }

    fn number(&mut self, project: &str, id: &str) -> Option<usize> {
        if let Some(number) = self.numbers.get(project).and_then(|of| of.get(id)) {
            return Some(*number);
        }
        let number = self.devices.len();
        if number >= DEVICES {
            self.left_out = true;
            return None;
        }
        self.numbers.entry(project.to_owned()).or_default().insert(id.to_owned(), number);
        let mut device = Device::new(number, project, id);
        device.find_by(&self.directory);
        self.devices.push(device);
        Some(number)
    }

    /// Rows of an event type: each is told once, in any order. What lies ahead of `now` is of a wrong clock, and left out.
    pub fn take(&mut self, event_type: &str, rows: &RecordBatch, now: Micros) {
        if !self.of_type.contains_key(event_type) && self.topics.len() < TOPICS {
            let topic = Topic::that_happens(event_type);
            self.of_type.insert(event_type.to_owned(), vec![(self.topics.len(), None)]);
            self.topics.push(topic);
        }
        let of_type = self.of_type.get(event_type).cloned().unwrap_or_default();
        let Some(times) = rows.column(0).as_primitive_opt::<TimestampMicrosecondType>() else { return };
        let text = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (devices, projects) = (text("device_id"), text("project_id"));
        let word = |column: Option<&StringArray>, row: usize| {
            column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned()).unwrap_or_default()
        };
        for (row, time) in times.values().iter().enumerate().filter(|(_, time)| **time <= now.saturating_add(AHEAD)) {
            let id = word(devices, row);
            // What is about no device has no row.
            let Some(number) = (!id.is_empty()).then(|| self.number(&word(projects, row), &id)).flatten() else { continue };
            for (place, name) in &of_type {
                let column = name.as_ref().map(|name| rows.column_by_name(name));
                let said = match column {
                    None => Said::Happened,
                    Some(Some(column)) if column.is_valid(row) => match column.as_string_opt::<i32>() {
                        Some(words) => self.state(words.value(row)),
                        None => match figure(column, row).filter(|figure| figure.is_finite()) {
                            Some(figure) => Said::Number(figure),
                            None => continue,
                        },
                    },
                    Some(_) => continue,
                };
                self.devices[number].tell(&self.topics, *place, *time, said);
            }
            self.devices[number].heard(*time);
        }
    }

    /// A state by its name, each name once.
    fn state(&mut self, name: &str) -> Said {
        let name: String = name.chars().take(STATES.1).collect();
        if let Some(known) = self.states.get(name.as_str()) {
            return Said::State(Arc::clone(known));
        }
        let name: Arc<str> = if self.states.len() < STATES.0 { name.into() } else { "others".into() };
        self.states.insert(Arc::clone(&name));
        Said::State(name)
    }

    /// Words that many devices have in common, for choosing: their types, and their labels as `key=value`, the most frequent first.
    pub fn choices(&self, most: usize) -> (Vec<String>, Vec<String>) {
        let (mut kinds, mut labels) = (BTreeMap::<&str, usize>::new(), BTreeMap::<String, usize>::new());
        for known in self.devices.iter().filter_map(|device| self.known(device)) {
            *kinds.entry(&known.kind).or_default() += 1;
            for (key, value) in known.labels.iter().filter(|(key, _)| *key != "name") {
                *labels.entry(format!("{key}={value}")).or_default() += 1;
            }
        }
        (most_frequent(kinds, most), most_frequent(labels, most))
    }
}

fn most_frequent<T: Into<String>>(all: BTreeMap<T, usize>, most: usize) -> Vec<String> {
    let mut all: Vec<(String, usize)> = all.into_iter().map(|(name, count)| (name.into(), count)).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.into_iter().map(|(name, _)| name).filter(|name| !name.is_empty()).take(most).collect()
}

/// How a state stands in a picture: nothing goes on, something does, somebody has to see it.
fn level(topic: &Topic, state: &str) -> f32 {
    let event_type = topic.values.first().map_or("", |value| value.event_type.as_str());
    match meaning(event_type, state) {
        Meaning::Quiet => 0.0,
        Meaning::Busy => 1.0,
        Meaning::Alarm => 2.0,
    }
}

/// How a topic behaves.
fn behaves(topic: &Topic) -> Option<Behaviour> {
    topic.values.first().and_then(Value::behaves)
}

#[cfg(test)]
mod tests;
