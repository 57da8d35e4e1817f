//! Alerts: tells people of what they asked to be told, at least once, and not again and again.
//!
//! ```text
//!   events -----> [decide]: what is so, and since when -----> [desk]: gathers, notes, sends again ----> [send]
//!   [facts]: ledger, disk, backup --'    pure                   | watch.json ([state])
//! ```
//!
//! At a start all is worked out from the recording: what became so meanwhile is told, what was told is not. Nothing of it is in the buffer,
//! which has one writer.

mod decide;
mod desk;
mod facts;
mod note;
mod preview;
mod send;
mod state;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::disk::fault;
use crate::base::time::{self, DAY, Micros, Moment, SECOND};
use crate::base::zone::Zone;
use crate::model::event::Source;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::{Alerting, Rule, When};
use crate::model::unit;
use crate::query::follow::{Follow, Fresh, From};
use crate::query::reader::{ReadError, Selection};
use crate::query::tables::{Value, figure, main_value, values};
use crate::store::devices::{Directory, Known};

use decide::{Change, Decider};
use desk::{Desk, MARGIN, Told};
use facts::Facts;
use state::{Keeper, Key, Stored};

pub use decide::Subject;
pub use note::{Named, Note, Posted};
pub use preview::{Told as Preview, preview};
pub use send::{Deliver, Sender};
pub use state::StateError;

/// How often to look for events, and whether anything is due.
const STEP: Duration = Duration::from_secs(1);
/// How often the ledger, the disk and the backup are looked at.
const FACTS_EVERY: Micros = 5 * SECOND;
/// How often the names of devices are.
const NAMES_EVERY: Micros = 60 * SECOND;
/// How far a start looks back at least, and at most.
const LOOK_BACK: (Micros, Micros) = (DAY, 31 * DAY);
/// What a device says of times so far ahead is of a wrong clock: more than the own one may be wrong by a zone.
const AHEAD: Micros = 25 * 3600 * SECOND;

/// How alerts stand, for a page and for metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// What was told of and lasts.
    pub firing: Vec<Firing>,
    /// Messages that arrived since the watcher began.
    pub delivered: u64,
    /// Messages that did not, and are sent again.
    pub failed: u64,
    /// Messages on their way.
    pub owed: usize,
    /// What is wrong with alerts, if anything is.
    pub trouble: Option<String>,
}

/// An alert that lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    /// The alert.
    pub alert: String,
    /// Of what it is.
    pub subject: Subject,
    /// What people call that.
    pub name: String,
    /// Since when.
    pub since: Micros,
    /// The value now, where there is one.
    pub value: Option<f64>,
}

/// How alerts stand, for whoever asks from another thread.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Standing>>);

impl Shared {
    /// How they stand now.
    pub fn get(&self) -> Standing {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody is told of anything, and why.
    pub fn fail(&self, why: String) {
        self.set(Standing { trouble: Some(why), ..Standing::default() });
    }

    fn set(&self, standing: Standing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

/// A watcher of alerts, before it runs: it holds the lock.
#[derive(Debug)]
pub struct Config {
    layout: Layout,
    registry: Arc<Registry>,
    alerting: Alerting,
    zone: Zone,
    keeper: Keeper,
    stored: Stored,
    /// What to say at the start.
    pub trouble: Option<String>,
}

impl Config {
    /// Takes the lock and reads what was told. `state` is where that stands, if not in the recording.
    ///
    /// # Errors
    /// When another watcher has the lock, or nothing can be written there.
    pub fn open(
        layout: &Layout,
        registry: Arc<Registry>,
        alerting: Alerting,
        (state, zone): (Option<PathBuf>, Zone),
    ) -> Result<Self, StateError> {
        let (keeper, stored, trouble) = Keeper::open(&state.unwrap_or_else(|| layout.state()))?;
        Ok(Self { layout: layout.clone(), registry, alerting, zone, keeper, stored, trouble })
    }
}

/// Watches until `stop` says so or is dropped. `tell` says on whose behalf something went wrong.
pub fn run(config: Config, deliver: &mut dyn Deliver, shared: &Shared, tell: &dyn Fn(String), stop: &Receiver<()>) {
    let mut alerts = Alerts::new(config);
    loop {
        alerts.step(time::moment(), deliver, tell);
        shared.set(alerts.standing());
        if stop.recv_timeout(STEP) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// All that watches.
#[derive(Debug)]
pub struct Alerts {
    layout: Layout,
    registry: Arc<Registry>,
    alerting: Alerting,
    rules: Vec<Told>,
    deciders: Vec<Decider>,
    desk: Desk,
    follow: Option<Follow>,
    facts: Facts,
    /// By project: whether it is heard, and for how long it was so far, by a clock that only goes then.
    heard: BTreeMap<String, (bool, Micros)>,
    directory: Directory,
    /// By rule and device: whether it is about that.
    about: Vec<HashMap<Subject, bool>>,
    /// Which values of event types are looked at, by rule.
    columns: Vec<BTreeMap<String, Option<String>>>,
    last: Option<Moment>,
    facts_at: Option<Micros>,
    names_at: Option<Micros>,
    pinged_at: Option<Micros>,
    /// What is said once.
    said: BTreeMap<String, String>,
    delivered: u64,
    failed: u64,
}

impl Alerts {
    /// With what was told.
    pub fn new(config: Config) -> Self {
        let Config { layout, registry, alerting, zone, keeper, stored, .. } = config;
        Self::with((layout, registry, alerting, zone), Some(keeper), stored)
    }

    fn with(
        (layout, registry, alerting, zone): (Layout, Arc<Registry>, Alerting, Zone),
        keeper: Option<Keeper>,
        stored: Stored,
    ) -> Self {
        let rules: Vec<Told> =
            alerting.rules.iter().map(|rule| Told { rule: rule.clone(), unit: unit_of(rule, &registry) }).collect();
        let decider = |rule: &Rule| {
            // The age of a backup is looked at where its time is known.
            let lasts = if rule.when == When::Backup { 0 } else { rule.lasts };
            Decider::new(Rule { lasts, ..rule.clone() })
        };
        let desk = Desk::new(keeper, stored, &rules, zone);
        Self {
            deciders: alerting.rules.iter().map(decider).collect(),
            about: alerting.rules.iter().map(|_| HashMap::new()).collect(),
            columns: alerting.rules.iter().map(|rule| columns(rule, &registry)).collect(),
            layout,
            registry,
            alerting,
            rules,
            desk,
            follow: None,
            facts: Facts::default(),
            heard: BTreeMap::new(),
            directory: Directory::default(),
            last: None,
            facts_at: None,
            names_at: None,
            pinged_at: None,
            said: BTreeMap::new(),
            delivered: 0,
            failed: 0,
        }
    }

    /// One step: looks, decides, notes, sends.
    pub fn step(&mut self, now: Moment, deliver: &mut dyn Deliver, tell: &dyn Fn(String)) {
        match self.decide(now) {
            Ok(()) => drop(self.said.remove("read")),
            Err(error) => self.say("read", format!("alerts: {error}"), tell),
        }
        let about = about_keys(&self.deciders, &self.directory);
        match self.desk.write_up(&self.rules, about, now) {
            Ok(()) => drop(self.said.remove("write")),
            Err(error) => {
                self.say("write", format!("alerts: {error}; messages are sent, and may be sent again after a start"), tell);
            }
        }
        self.send(now, deliver, tell);
        self.ping(now, deliver, tell);
        self.last = Some(now);
    }

    /// Says something, unless it was said last.
    fn say(&mut self, of: &str, what: String, tell: &dyn Fn(String)) {
        if self.said.get(of) != Some(&what) {
            self.said.insert(of.to_owned(), what.clone());
            tell(what);
        }
    }

    fn decide(&mut self, now: Moment) -> Result<(), ReadError> {
        let is_first = self.follow.is_none();
        if is_first {
            self.begin(now)?;
        } else {
            self.look(now)?;
            self.take_events(now)?;
        }
        let mut changes = Vec::new();
        for (number, decider) in self.deciders.iter_mut().enumerate() {
            let rule = &decider.rule;
            let mut of_rule = Vec::new();
            if rule.when.is_of_devices() {
                decider.pass(now, &self.heard, &mut of_rule);
            } else {
                let firing = decider.firing().next().is_some();
                let has_recorder = self.alerting.rules.iter().any(|rule| rule.when == When::Recorder);
                let facts = self.facts.of(&self.alerting.rules[number], firing, has_recorder);
                decider.facts(&facts, now, is_first, &mut of_rule);
            }
            changes.extend(of_rule.into_iter().map(|change| (number, change)));
        }
        for (number, change) in changes {
            self.note(number, change, now);
        }
        if is_first {
            self.settle(now);
        }
        Ok(())
    }

    fn note(&mut self, number: usize, change: Change, now: Moment) {
        let name = name_of(&self.directory, &change.subject);
        self.desk.note(&self.rules[number], &name, change, now);
    }

    /// What was told of before this start and is so no more, is over.
    fn settle(&mut self, now: Moment) {
        let mut over = Vec::new();
        for (number, decider) in self.deciders.iter().enumerate() {
            let firing: Vec<&Subject> = decider.firing().map(|(subject, ..)| subject).collect();
            for (Key { project, device, .. }, since) in self.desk.firing_of(&decider.rule.name) {
                let subject = Subject { project, device };
                let is_known = self.facts.heard().any(|(project, _)| project == subject.project) || subject.project.is_empty();
                if is_known && !firing.contains(&&subject) {
                    over.push((number, Change { subject, raised: false, since, at: now.wall, value: None, why: None }));
                }
            }
        }
        for (number, change) in over {
            self.note(number, change, now);
        }
    }

    /// Opens the recording and works out how all stands.
    fn begin(&mut self, now: Moment) -> Result<(), ReadError> {
        self.deciders.iter_mut().for_each(Decider::forget);
        let rules = self.alerting.rules.clone();
        let lasts = rules.iter().map(|rule| 2 * rule.lasts.max(rule.hold)).max().unwrap_or_default();
        let start = now.wall - lasts.clamp(LOOK_BACK.0, LOOK_BACK.1);
        let is_of_all = rules.iter().any(|rule| rule.when == When::Silent && rule.types.is_empty());
        let named = || rules.iter().flat_map(|rule| rule.types.iter().cloned()).collect();
        let types: Vec<String> = if is_of_all { Vec::new() } else { named() };
        let of_devices = rules.iter().any(|rule| rule.when.is_of_devices());
        // Where no rule is about devices, nothing of them is read.
        let types = if of_devices { types } else { vec![String::new()] };
        let selection = Selection { event_types: types, ..Selection::default() };
        let from = if of_devices { From::Since(start) } else { From::Now };
        let mut follow = Follow::open(&self.layout, Arc::clone(&self.registry), selection, from, now.wall)?;
        self.look_by(&follow, now)?;
        let mut past: Vec<(usize, Change)> = Vec::new();
        let mut last: Vec<HashMap<Subject, (Micros, Micros)>> = rules.iter().map(|_| HashMap::new()).collect();
        loop {
            let polled = follow.poll()?;
            for fresh in &polled.fresh {
                self.each(fresh, now, |deciders, (number, subject, at, received, value)| {
                    let Some(value) = value else {
                        let known = last[number].entry(subject.clone()).or_default();
                        *known = (*known).max((at, received));
                        return;
                    };
                    let mut changes = Vec::new();
                    // It is as if it had come then.
                    let then = Moment { wall: at, steady: now.steady - (now.wall - at) };
                    deciders[number].value(subject, (at, value), then, &mut changes);
                    past.extend(changes.into_iter().map(|change| (number, change)));
                });
            }
            if !polled.more {
                break;
            }
        }
        for (number, last) in last.into_iter().enumerate() {
            for (subject, (at, received)) in last {
                let heard = -self.facts.heard_within(&subject.project, (received, now.wall));
                self.deciders[number].sign(&subject, at, (heard, now), &mut Vec::new());
            }
        }
        self.follow = Some(follow);
        self.add_known(now, start);
        self.tell_past(past, now);
        Ok(())
    }

    /// Of what came and went before this start, only what the watcher before had no time to tell.
    fn tell_past(&mut self, past: Vec<(usize, Change)>, now: Moment) {
        let upto = self.desk.stored.upto;
        let lasts: Vec<Vec<(Subject, Micros)>> = self
            .deciders
            .iter()
            .map(|decider| decider.firing().map(|(subject, since, _)| (subject.clone(), since)).collect())
            .collect();
        // When each time began to be known.
        let mut begun: HashMap<(usize, Subject), Micros> = HashMap::new();
        for (number, change) in past {
            let of = (number, change.subject.clone());
            if change.raised {
                begun.insert(of, change.at);
                let still = lasts[number].iter().any(|(subject, since)| *subject == change.subject && *since == change.since);
                if still || upto > 0 && change.at >= upto - MARGIN {
                    self.note(number, change, now);
                }
            } else {
                let at = begun.get(&of).copied().unwrap_or(change.at);
                let is_told = self.desk.firing().any(|(key, since)| {
                    key.alert == self.rules[number].rule.name
                        && key.device == change.subject.device
                        && key.project == change.subject.project
                        && since <= change.since
                });
                if is_told || upto > 0 && at >= upto - MARGIN {
                    self.note(number, change, now);
                }
            }
        }
    }

    /// Looks at the ledger, the disk, the backup and the names of devices, where it is time.
    fn look(&mut self, now: Moment) -> Result<(), ReadError> {
        let Some(follow) = self.follow.take() else { return Ok(()) };
        let looked = self.look_by(&follow, now);
        self.follow = Some(follow);
        looked
    }

    fn look_by(&mut self, follow: &Follow, now: Moment) -> Result<(), ReadError> {
        let is_time = |at: Option<Micros>, every: Micros| at.is_none_or(|at| now.steady - at >= every);
        if is_time(self.facts_at, FACTS_EVERY) {
            self.facts = Facts::look(&self.layout, follow.view(), now.wall)?;
            self.facts_at = Some(now.steady);
            let passed = self.last.map_or(0, |last| now.steady - last.steady);
            let mut heard = BTreeMap::new();
            for (project, is_heard) in self.facts.heard() {
                let (was_heard, so_far) = self.heard.get(project).copied().unwrap_or_default();
                let more = if was_heard && is_heard { passed } else { 0 };
                heard.insert(project.to_owned(), (is_heard, so_far + more));
            }
            self.heard = heard;
        } else {
            let passed = self.last.map_or(0, |last| now.steady - last.steady);
            self.heard.values_mut().filter(|(is_heard, _)| *is_heard).for_each(|(_, so_far)| *so_far += passed);
        }
        if is_time(self.names_at, NAMES_EVERY) {
            if let Some(view) = follow.view() {
                self.directory = Directory::new(&view.devices()?);
            }
            self.about.iter_mut().for_each(HashMap::clear);
            for decider in self.deciders.iter_mut().filter(|decider| decider.rule.when.is_of_devices()) {
                let rule = decider.rule.clone();
                decider.retain(|subject| is_about(&rule, &self.directory, subject));
            }
            self.names_at = Some(now.steady);
        }
        Ok(())
    }

    /// Devices that are known and told nothing for as long as anybody looks back.
    fn add_known(&mut self, now: Moment, start: Micros) {
        let Some(view) = self.follow.as_ref().and_then(Follow::view) else { return };
        let Ok(devices) = view.devices() else { return };
        for device in devices {
            let subject = Subject { project: device.project, device: device.id };
            let heard = -self.facts.heard_within(&subject.project, (start, now.wall));
            for (number, decider) in self.deciders.iter_mut().enumerate().filter(|(_, it)| it.rule.when == When::Silent) {
                if is_about(&self.alerting.rules[number], &self.directory, &subject) {
                    decider.known(&subject, heard);
                }
            }
        }
    }

    fn take_events(&mut self, now: Moment) -> Result<(), ReadError> {
        let Some(mut follow) = self.follow.take() else { return Ok(()) };
        let polled = follow.poll();
        self.follow = Some(follow);
        let mut changes: Vec<(usize, Change)> = Vec::new();
        for fresh in &polled?.fresh {
            let heard = self.heard.clone();
            self.each(fresh, now, |deciders, (number, subject, at, _, value)| {
                let mut of_rule = Vec::new();
                if let Some(value) = value {
                    deciders[number].value(subject, (at, value), now, &mut of_rule);
                } else {
                    let so_far = heard.get(&subject.project).map_or(0, |(_, so_far)| *so_far);
                    deciders[number].sign(subject, at, (so_far, now), &mut of_rule);
                }
                changes.extend(of_rule.into_iter().map(|change| (number, change)));
            });
        }
        for (number, change) in changes {
            self.note(number, change, now);
        }
        Ok(())
    }

    /// Hands on, for each rule that it is about, what rows say: rule, device, time, when it was received, and the value where that is
    /// what counts. A backfill tells of what was, and of nothing that is.
    fn each(
        &mut self,
        fresh: &Fresh,
        now: Moment,
        mut take: impl FnMut(&mut [Decider], (usize, &Subject, Micros, Micros, Option<f64>)),
    ) {
        let column = |name: &str| fresh.rows.column_by_name(name);
        let text = |name: &str| column(name).and_then(|column| column.as_string_opt::<i32>());
        let times = |name: &str| column(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let (Some(time), Some(received), Some(source), Some(device), Some(project)) =
            (times("time"), times("received_at"), text("source"), text("device_id"), text("project_id"))
        else {
            return;
        };
        let of_rules: Vec<(usize, Option<&arrow::array::ArrayRef>)> = (0..self.deciders.len())
            .filter_map(|number| {
                let rule = &self.alerting.rules[number];
                match rule.when {
                    When::Silent if rule.types.is_empty() || rule.types.contains(&fresh.schema.name) => Some((number, None)),
                    When::Above | When::Below | When::Battery => {
                        let name = self.columns[number].get(&fresh.schema.name)?.as_deref()?;
                        Some((number, Some(column(name)?)))
                    }
                    _ => None,
                }
            })
            .collect();
        let live = Source::live();
        for row in 0..fresh.rows.num_rows() {
            let (at, came) = (time.value(row), received.value(row));
            if !device.is_valid(row) || !live.contains(&source.value(row)) || at > came.max(now.wall) + AHEAD {
                continue;
            }
            let project = if project.is_valid(row) { project.value(row) } else { "" };
            let subject = Subject { project: project.to_owned(), device: device.value(row).to_owned() };
            for (number, values) in &of_rules {
                let (rule, directory) = (&self.alerting.rules[*number], &self.directory);
                let about = &mut self.about[*number];
                let is_about = match about.get(&subject) {
                    Some(is_about) => *is_about,
                    None => *about.entry(subject.clone()).or_insert_with(|| is_about(rule, directory, &subject)),
                };
                let value = values.map(|values| values.is_valid(row).then(|| figure(values, row)).flatten());
                if is_about && value != Some(None) {
                    take(&mut self.deciders, (*number, &subject, at, came, value.flatten()));
                }
            }
        }
    }

    fn send(&mut self, now: Moment, deliver: &mut dyn Deliver, tell: &dyn Fn(String)) {
        let due = self.desk.due(now);
        let sinks = self.alerting.sinks.clone();
        if fault::leaves_out("mark behind sending") {
            for (to, note) in &due {
                drop(self.desk.arrived(to, note, now));
            }
        }
        let messages: Vec<_> =
            due.iter().filter_map(|(to, note)| Some((sinks.iter().find(|sink| sink.name == *to)?, note))).collect();
        if messages.is_empty() {
            return;
        }
        for ((sink, note), result) in messages.iter().zip(deliver.deliver(&messages)) {
            match result {
                Ok(()) => {
                    self.delivered += 1;
                    if let Err(error) = self.desk.arrived(&sink.name, note, now) {
                        self.say("write", format!("alerts: {error}; what was sent may be sent again after a start"), tell);
                    }
                }
                Err(why) => {
                    self.failed += 1;
                    if self.desk.failed(&sink.name, now) {
                        tell(format!("alerts: {:?} was not told: {why}; it is tried again", sink.name));
                    }
                }
            }
        }
    }

    fn ping(&mut self, now: Moment, deliver: &mut dyn Deliver, tell: &dyn Fn(String)) {
        let Some(ping) = self.alerting.ping.clone() else { return };
        if self.pinged_at.is_some_and(|at| now.steady - at < ping.every) {
            return;
        }
        self.pinged_at = Some(now.steady);
        // What was looked at seconds ago may be over.
        let view = self.follow.as_ref().and_then(Follow::view);
        let is_well = Facts::look(&self.layout, view, now.wall).is_ok_and(|facts| facts.is_well());
        if !is_well {
            return;
        }
        match deliver.ping(&ping) {
            Ok(()) => drop(self.said.remove("ping")),
            Err(why) => self.say("ping", format!("alerts: the ping did not arrive: {why}"), tell),
        }
    }

    /// How they stand.
    pub fn standing(&self) -> Standing {
        let about = about_keys(&self.deciders, &self.directory);
        let firing = self.desk.firing().map(|(key, since)| {
            let (name, value) = about(key);
            let subject = Subject { project: key.project.clone(), device: key.device.clone() };
            Firing { alert: key.alert.clone(), subject, name, since, value }
        });
        Standing {
            firing: firing.collect(),
            delivered: self.delivered,
            failed: self.failed,
            owed: self.desk.owed(),
            trouble: self.said.values().next().cloned(),
        }
    }
}

/// What people call what an alert is about, and its value.
fn about_keys(deciders: &[Decider], directory: &Directory) -> impl Fn(&Key) -> (String, Option<f64>) {
    let values: HashMap<(String, Subject), Option<f64>> = deciders
        .iter()
        .flat_map(|decider| decider.firing().map(|(subject, _, value)| ((decider.rule.name.clone(), subject.clone()), value)))
        .collect();
    move |key| {
        let subject = Subject { project: key.project.clone(), device: key.device.clone() };
        let name = name_of(directory, &subject);
        (name, values.get(&(key.alert.clone(), subject)).copied().flatten())
    }
}

fn name_of(directory: &Directory, subject: &Subject) -> String {
    match (subject.device.as_str(), subject.project.as_str()) {
        ("", "") => "the recording".to_owned(),
        ("", project) => project.to_owned(),
        (device, project) => directory.name_in(project, device).to_owned(),
    }
}

/// Whether a rule is about a device.
fn is_about(rule: &Rule, directory: &Directory, subject: &Subject) -> bool {
    let known = directory.of(&subject.project, &subject.device);
    let named = |known: &Known, wanted: &String| [&known.name, &known.called].contains(&wanted);
    let is_named = rule.devices.is_empty()
        || rule.devices.iter().any(|wanted| *wanted == subject.device || known.is_some_and(|known| named(known, wanted)));
    let is_of_type = rule.device_types.is_empty() || known.is_some_and(|known| rule.device_types.contains(&known.kind));
    let has = |(key, value): &(String, Option<String>)| {
        let found = known.and_then(|known| known.labels.get(key));
        found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    };
    is_named && is_of_type && rule.labels.iter().all(has)
}

/// The column that a rule looks at, by event type.
fn columns(rule: &Rule, registry: &Registry) -> BTreeMap<String, Option<String>> {
    if !rule.when.is_of_values() {
        return BTreeMap::new();
    }
    rule.types
        .iter()
        .map(|event_type| (event_type.clone(), value_of(rule, event_type, registry).map(|value| value.name().to_owned())))
        .collect()
}

fn value_of(rule: &Rule, event_type: &str, registry: &Registry) -> Option<Value> {
    let schema = registry.get(event_type);
    let value = match &rule.column {
        Some(column) => values(&schema).into_iter().find(|value| value.name() == column)?,
        None => main_value(&schema),
    };
    Some(value).filter(Value::is_number)
}

fn unit_of(rule: &Rule, registry: &Registry) -> String {
    if rule.when == When::Disk {
        return "GB".to_owned();
    }
    let value = rule.types.first().and_then(|event_type| value_of(rule, event_type, registry));
    value.as_ref().and_then(Value::unit).map(unit::written).unwrap_or_default()
}

/// Rules that are about a value that there is none of, each with what is wrong.
pub fn misfits(alerting: &Alerting, registry: &Registry) -> Vec<String> {
    let of_values = alerting.rules.iter().filter(|rule| rule.when.is_of_values());
    let wrong = of_values.flat_map(|rule| {
        let without = rule.types.iter().filter(move |event_type| value_of(rule, event_type, registry).is_none());
        without.map(move |event_type| {
            let schema = registry.get(event_type);
            let known =
                values(&schema).iter().filter(|value| value.is_number()).map(|value| value.name().to_owned()).collect::<Vec<_>>();
            let there = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            format!("[[alert]] {:?}: {event_type} has no such number; {there}", rule.name)
        })
    });
    wrong.collect()
}

#[cfg(test)]
mod tests;
