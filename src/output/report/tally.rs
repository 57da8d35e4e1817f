//! One pass over all events in time order: how many in each hour, when each device spoke, and how long it did not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};

use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every, Zone};
use crate::query::coverage::{Span, between};
use crate::query::reader::{ReadError, Reader, Rows, Selection, TypePlan};
use crate::query::tables::{StateValidity, Whose};
use crate::store::devices::Directory;

/// What the events say of one device. Holds nothing of the events themselves.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) project: usize,
    pub(super) first: Micros,
    pub(super) last: Micros,
    /// By event type, as in the plans.
    pub(super) events: Vec<u64>,
    /// The longest time without an event, as far as anybody listened.
    pub(super) silence: Span,
    heard: Micros,
    pub(super) battery: Option<(Micros, f64)>,
    pub(super) signal: Lowest,
    pub(super) rssi: Lowest,
}

/// The latest and the least of a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lowest {
    pub(super) latest: Option<f64>,
    pub(super) least: Option<f64>,
}

impl Lowest {
    fn take(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        self.latest = Some(value);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
    }
}

impl Device {
    fn silent_until(&mut self, time: Micros) {
        if time.saturating_sub(self.heard) > self.silence.1 - self.silence.0 {
            self.silence = (self.heard, time);
        }
    }
}

/// What the pass found.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) devices: BTreeMap<String, Device>,
    /// By hour, then by event type as in the plans.
    pub(super) hours: BTreeMap<Micros, Vec<u64>>,
    /// First and last event; none where there is none.
    pub(super) events: Option<Span>,
}

/// One event type on its way: its next row.
struct Head<'a> {
    rows: Rows<'a>,
    batch: Batch,
    row: usize,
}

/// The columns of a batch, looked up once.
struct Batch {
    times: TimestampMicrosecondArray,
    ids: StringArray,
    projects: Option<StringArray>,
    battery: Option<Float64Array>,
    signal: Option<Float64Array>,
    rssi: Option<Float64Array>,
}

impl Batch {
    fn new(rows: &RecordBatch) -> Self {
        let float = |name: &str| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Float64Type>()).cloned();
        Self {
            times: rows.column(0).as_primitive::<TimestampMicrosecondType>().clone(),
            ids: rows.column(1).as_string::<i32>().clone(),
            projects: rows.column_by_name("project_id").and_then(|column| column.as_string_opt::<i32>()).cloned(),
            battery: float("percentage"),
            signal: float("signal_strength"),
            rssi: float("rssi"),
        }
    }
}

/// Columns that the pass reads of a type, and which are told of its devices.
fn wanted(event_type: &str) -> &'static [&'static str] {
    match event_type {
        "batteryStatus" => &["project_id", "percentage"],
        "networkStatus" => &["project_id", "signal_strength", "rssi"],
        _ => &["project_id"],
    }
}

/// Makes the pass. Between `from` and `to` a device may be silent, if not between its events; `progress` hears of rows that were read.
pub(super) fn tally(
    reader: &Reader,
    plans: &[TypePlan],
    selection: &Selection,
    (known, directory): (&StateValidity, &Directory),
    zone: &Zone,
    (from, to): (Option<Micros>, Option<Micros>),
    mut progress: impl FnMut(u64),
) -> Result<Tally, ReadError> {
    let mut heads: Vec<Option<Head<'_>>> = Vec::new();
    for plan in plans {
        let mut rows = reader.columns(plan, selection, wanted(&plan.schema.name));
        heads.push(rows.next_batch()?.map(|batch| Head { rows, batch: Batch::new(&batch), row: 0 }));
    }
    let begins = heads.iter().flatten().map(|head| head.batch.times.value(0)).min();
    let start = [from, begins].into_iter().flatten().min().unwrap_or(0);
    let mut pass = Pass {
        tally: Tally { devices: BTreeMap::new(), hours: BTreeMap::new(), events: begins.map(|time| (time, time)) },
        numbers: HashMap::new(),
        devices: Vec::new(),
        projects: Vec::new(),
        hour: (Micros::MIN, Micros::MIN),
        counts: vec![0; plans.len()],
        start,
        types: plans.len(),
        buckets: Buckets::new(zone.clone(), Every::Part(3600 * SECOND)),
        known: Box::new(move |project| known.spans(reader, directory, Whose { project, of: None })),
    };
    loop {
        // The event type whose next event is the first, and the time of the first of all others.
        let (mut first, mut until) = (None, Micros::MAX);
        for (number, head) in heads.iter().enumerate() {
            let Some(head) = head else { continue };
            let time = head.batch.times.value(head.row);
            match first {
                Some((least, _)) if time >= least => until = until.min(time),
                before => {
                    until = before.map_or(Micros::MAX, |(least, _)| least);
                    first = Some((time, number));
                }
            }
        }
        let Some((_, number)) = first else { break };
        let Some(head) = &mut heads[number] else { break };
        let times = head.batch.times.values();
        let run = times[head.row..].iter().take_while(|time| **time <= until).count();
        pass.take(number, &head.batch, head.row..head.row + run)?;
        head.row += run;
        if head.row == head.batch.times.len() {
            progress(head.row as u64);
            match head.rows.next_batch()? {
                Some(batch) => (head.batch, head.row) = (Batch::new(&batch), 0),
                None => heads[number] = None,
            }
        }
    }
    Ok(pass.end(to))
}

/// A project on the way.
struct Project {
    name: String,
    /// Times of which nobody knows whether a device was silent, and that have not come yet.
    unheard: VecDeque<Span>,
    /// Since when somebody listens.
    listening: Micros,
    /// The longest time that somebody listened before, without an end.
    longest: Span,
}

impl Project {
    /// Goes on to a time; hands on each time in which nobody listened.
    fn pass_by(&mut self, time: Micros, mut unheard: impl FnMut(Span)) {
        while let Some((begins, ends)) = self.unheard.front().copied().filter(|(begins, _)| *begins < time) {
            self.unheard.pop_front();
            if begins.saturating_sub(self.listening) > self.longest.1 - self.longest.0 {
                self.longest = (self.listening, begins);
            }
            self.listening = ends;
            unheard((begins, ends));
        }
    }
}

/// Looks up what is known of a project.
type Look<'a> = Box<dyn Fn(&str) -> Result<Arc<[Span]>, ReadError> + 'a>;

struct Pass<'a> {
    tally: Tally,
    numbers: HashMap<String, usize>,
    devices: Vec<Device>,
    projects: Vec<Project>,
    /// The hour that counts now, and its events by type.
    hour: Span,
    counts: Vec<u64>,
    start: Micros,
    types: usize,
    buckets: Buckets,
    known: Look<'a>,
}

impl Pass<'_> {
    fn take(&mut self, number: usize, batch: &Batch, rows: Range<usize>) -> Result<(), ReadError> {
        let Batch { times, ids, projects, battery, signal, rssi } = batch;
        let value = |column: &Option<Float64Array>, row: usize| {
            column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
        };
        for row in rows {
            let time = times.value(row);
            self.pass_by(time);
            if time >= self.hour.1 {
                self.end_hour();
                self.hour = self.buckets.of(time);
            }
            self.counts[number] += 1;
            if let Some(events) = &mut self.tally.events {
                events.1 = events.1.max(time);
            }
            let id = if ids.is_valid(row) { ids.value(row) } else { "" };
            let device = if let Some(device) = self.numbers.get(id).copied() {
                device
            } else {
                let name = projects.as_ref().filter(|projects| projects.is_valid(row)).map_or("", |projects| projects.value(row));
                let project = self.project(name, time)?;
                // It was silent before its first event, as long as somebody listened.
                let Project { listening, longest, .. } = self.projects[project];
                self.numbers.insert(id.to_owned(), self.devices.len());
                self.devices.push(Device {
                    project,
                    first: time,
                    last: time,
                    events: vec![0; self.types],
                    silence: longest,
                    heard: listening,
                    battery: None,
                    signal: Lowest::default(),
                    rssi: Lowest::default(),
                });
                self.devices.len() - 1
            };
            let device = &mut self.devices[device];
            device.silent_until(time);
            (device.heard, device.last) = (device.heard.max(time), time);
            device.events[number] += 1;
            if let Some(value) = value(battery, row) {
                device.battery = Some((time, value));
            }
            device.signal.take(value(signal, row));
            device.rssi.take(value(rssi, row));
        }
        Ok(())
    }

    fn end_hour(&mut self) {
        let counts = std::mem::replace(&mut self.counts, vec![0; self.types]);
        if counts.iter().any(|events| *events > 0) {
            let hour = self.tally.hours.entry(self.hour.0).or_insert_with(|| vec![0; counts.len()]);
            hour.iter_mut().zip(counts).for_each(|(hour, events)| *hour += events);
        }
    }

    /// The number of a project, which is met at a time.
    fn project(&mut self, name: &str, time: Micros) -> Result<usize, ReadError> {
        if let Some(known) = self.projects.iter().position(|project| project.name == name) {
            return Ok(known);
        }
        let unheard = between(&(self.known)(name)?, (self.start, Micros::MAX)).into();
        let (listening, longest) = (self.start, (self.start, self.start));
        let mut project = Project { name: name.to_owned(), unheard, listening, longest };
        project.pass_by(time, |_| {});
        self.projects.push(project);
        Ok(self.projects.len() - 1)
    }

    /// Times in which nobody listened are no silence: it ends before them and begins behind them.
    fn pass_by(&mut self, time: Micros) {
        let devices = &mut self.devices;
        for (number, project) in self.projects.iter_mut().enumerate() {
            project.pass_by(time, |(begins, ends)| {
                for device in devices.iter_mut().filter(|device| device.project == number) {
                    device.silent_until(begins);
                    device.heard = device.heard.max(ends);
                }
            });
        }
    }

    fn end(mut self, to: Option<Micros>) -> Tally {
        self.end_hour();
        if let Some((_, last)) = self.tally.events {
            let to = to.unwrap_or(last).max(last);
            self.pass_by(to);
            self.devices.iter_mut().for_each(|device| device.silent_until(to));
        }
        let mut devices: Vec<Option<Device>> = self.devices.into_iter().map(Some).collect();
        let named = self.numbers.into_iter().filter_map(|(id, number)| Some((id, devices[number].take()?)));
        self.tally.devices = named.collect();
        self.tally
    }
}
