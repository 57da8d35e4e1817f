//! Plot: the events of a recording as charts, one an event type, in bounded memory however long the recording is.
//!
//! Events are read once, in the order of time, into one track a device. A track that grows beyond what a picture can show
//! becomes coarser by itself, so nobody needs to know beforehand how many events there are.

mod groups;
mod moments;
mod numbers;
mod states;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};

use crate::base::time::{Micros, SECOND};
use crate::base::zone::Zone;
use crate::model::schema::{Behaviour, Schema};
use crate::model::unit::written;
use crate::output::chart::{Chart, Data, Line};
use crate::query::coverage::{Span, merged};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::query::tables::{
    Last, StateValidity, TableError, Unrecorded, Value, Whose, figure, holds_until, lookback, main_value, named, values,
};
use crate::store::devices::Directory;

pub use groups::groups;

use moments::EventMarks;
use numbers::Numbers;
use states::States;

/// Points, spans and strokes of one chart together, whatever the number of devices.
const MOST: usize = 400_000;
/// Spans and strokes of one chart that are handed on: each is a box in a picture.
const STRIPS: usize = 20_000;
/// The clocks of a cloud and of this computer agree only about so well.
const AGREE: Micros = 2 * SECOND;

/// How to draw.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose clock the time axis shows.
    pub zone: Zone,
    /// So many points a line, at most: about the picture's width in pixels.
    pub points: usize,
    /// What is known of times without an event: how long the state of a door lasts that has not moved since.
    pub known: StateValidity,
    /// Times in which nobody recorded.
    pub unrecorded: Unrecorded,
    /// Where the axis ends, unless events lie behind it; none: with the last that is known.
    pub end: Option<Micros>,
}

/// What a chart is of: a value, and the event types that bring it.
#[derive(Debug, Clone)]
pub struct Quantity<'p> {
    /// What it is called: an event type, or a column that several may have.
    pub title: String,
    /// Who brings it, with the value there; all values behave alike and have one unit.
    pub sources: Vec<(&'p TypePlan, Value)>,
}

/// A quantity an event type: its main value.
pub fn main_values(plans: &[TypePlan]) -> Vec<Quantity<'_>> {
    let mut all = Vec::new();
    for plan in plans {
        all.push(Quantity { title: plan.schema.name.clone(), sources: vec![(plan, main_value(&plan.schema))] });
    }
    all
}

/// All that event types measure: measures of one name and unit are one quantity, whoever brings them; states, totals and what
/// only happens are one each.
pub fn quantities(plans: &[TypePlan]) -> Vec<Quantity<'_>> {
    let mut all: Vec<Quantity<'_>> = Vec::new();
    for plan in plans {
        for value in values(&plan.schema) {
            let is_measure = value.behaves() == Some(Behaviour::Gauge);
            let same = |known: &&mut Quantity<'_>| known.sources[0].1.is_like(&value);
            if let Some(known) = all.iter_mut().find(same) {
                known.sources.push((plan, value));
            } else {
                let title = if is_measure { value.name().replace('_', " ") } else { plan.schema.name.clone() };
                all.push(Quantity { title, sources: vec![(plan, value)] });
            }
        }
    }
    all
}

/// What somebody calls `temperature` or `humidity.temperature`, whoever brings it.
///
/// # Errors
/// When none of the event types has it, or several have different ones.
pub fn quantity<'p>(wanted: &str, plans: &'p [TypePlan]) -> Result<Quantity<'p>, TableError> {
    let schemas: Vec<&Schema> = plans.iter().map(|plan| plan.schema.as_ref()).collect();
    let of = |value: Value| Some((plans.iter().find(|plan| plan.schema.name == value.event_type)?, value));
    Ok(Quantity { title: wanted.to_owned(), sources: named(wanted, &schemas)?.into_iter().filter_map(of).collect() })
}

/// The charts of quantities, each of those that a selection has something of, all of the same span. Lines are called by the names
/// of their devices; a device has one name in all charts, which no other one has.
///
/// # Errors
/// When the recording does not read.
pub fn charts(
    reader: &Reader,
    quantities: &[Quantity<'_>],
    selection: &Selection,
    directory: &Directory,
    settings: &Settings,
) -> Result<Vec<Chart>, TableError> {
    let mut all = Vec::new();
    for quantity in quantities {
        let Some((_, main)) = quantity.sources.first() else { continue };
        let mut tracks = Tracks::new(quantity, settings, (reader, directory));
        for (source, (plan, value)) in quantity.sources.iter().enumerate() {
            let from = (reader, directory);
            for (device, last) in lookback(from, &plan.schema, selection, std::slice::from_ref(value), &settings.known)? {
                if let Some(Some(Last::State { state, until })) = last.first() {
                    tracks.begin((source, &device), (selection.start.unwrap_or_default(), *until), state);
                }
            }
            tracks.read(reader, (source, plan, value), selection)?;
        }
        if !tracks.by_device.is_empty() {
            all.push((main, tracks));
        }
    }
    let first = all.iter().filter_map(|(_, tracks)| tracks.seen.map(|seen| seen.0)).min();
    let last = all.iter().filter_map(|(_, tracks)| tracks.seen.map(|seen| seen.1)).max();
    let from = selection.start.or(first).unwrap_or_default();
    let to = settings.end.or(Some(settings.known.until)).max(last).unwrap_or(from).max(from);
    Ok(all.into_iter().map(|(value, tracks)| tracks.chart(value, (from, to))).collect())
}

/// What one device says of one value.
#[derive(Debug)]
enum Track {
    Gauge(Numbers),
    Counter(Numbers),
    State(States),
    Events(EventMarks),
}

/// The tracks of one event type.
#[derive(Debug)]
struct Tracks<'s> {
    settings: &'s Settings,
    /// Whom to ask what is known.
    asks: (&'s Reader, &'s Directory),
    title: String,
    /// By source.
    event_types: Vec<String>,
    behaves: Option<Behaviour>,
    by_device: Vec<Track>,
    /// By the number of their source and their id.
    devices: Vec<(usize, String)>,
    numbers: Vec<HashMap<String, usize>>,
    /// By device: its project, and what is known of it there.
    known: Vec<Option<(String, Arc<[Span]>)>>,
    /// Names of states, each once.
    states: Vec<Arc<str>>,
    /// The first and the last event.
    seen: Option<(Micros, Micros)>,
}

impl<'s> Tracks<'s> {
    fn new(quantity: &Quantity<'_>, settings: &'s Settings, asks: (&'s Reader, &'s Directory)) -> Self {
        Self {
            settings,
            asks,
            title: quantity.title.clone(),
            event_types: quantity.sources.iter().map(|(_, value)| value.event_type.clone()).collect(),
            behaves: quantity.sources.first().and_then(|(_, value)| value.behaves()),
            by_device: Vec::new(),
            devices: Vec::new(),
            numbers: vec![HashMap::new(); quantity.sources.len()],
            known: Vec::new(),
            states: Vec::new(),
            seen: None,
        }
    }

    /// How much one device may hold.
    fn limit(&self) -> usize {
        (MOST / self.by_device.len().max(1)).clamp(16, 2 * self.settings.points.max(8))
    }

    /// The track of what a source says of a device, by its number.
    fn of(&mut self, (source, device): (usize, &str)) -> usize {
        if let Some(number) = self.numbers[source].get(device) {
            return *number;
        }
        let number = self.by_device.len();
        self.by_device.push(match self.behaves {
            Some(Behaviour::Gauge) => Track::Gauge(Numbers::default()),
            Some(Behaviour::Counter) => Track::Counter(Numbers::default()),
            Some(Behaviour::State) => Track::State(States::default()),
            None => Track::Events(EventMarks::default()),
        });
        self.devices.push((source, device.to_owned()));
        self.known.push(None);
        self.numbers[source].insert(device.to_owned(), number);
        // The more devices, the less for each.
        if self.by_device.len().is_power_of_two() {
            let limit = self.limit();
            for track in &mut self.by_device {
                match track {
                    Track::Gauge(track) | Track::Counter(track) => track.shrink(limit),
                    Track::State(track) => track.shrink(limit),
                    Track::Events(track) => track.shrink(limit),
                }
            }
        }
        number
    }

    /// The number of a state.
    fn state(&mut self, name: &str) -> usize {
        const STATES: usize = 32;
        if let Some(number) = self.states.iter().position(|known| &**known == name) {
            return number;
        }
        if self.states.len() > STATES {
            return STATES;
        }
        self.states.push(if self.states.len() == STATES { "others".into() } else { name.into() });
        self.states.len() - 1
    }

    /// A device is in a state already.
    fn begin(&mut self, device: (usize, &str), (start, known_until): (Micros, Micros), state: &str) {
        let (number, state) = (self.of(device), self.state(state));
        if let Track::State(track) = &mut self.by_device[number] {
            track.tell(start, state, known_until, usize::MAX);
        }
    }

    fn read(
        &mut self,
        reader: &Reader,
        (source, plan, value): (usize, &TypePlan, &Value),
        selection: &Selection,
    ) -> Result<(), TableError> {
        let wanted = if self.behaves.is_some() { vec![value.name(), "project_id"] } else { Vec::new() };
        let mut rows = reader.columns(plan, selection, &wanted);
        while let Some(batch) = rows.next_batch()? {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            let devices = batch.column(1).as_string::<i32>();
            let column = self.behaves.and_then(|_| batch.column_by_name(value.name()));
            if self.behaves.is_some() && column.is_none() {
                continue;
            }
            let projects = batch.column_by_name("project_id").and_then(|column| column.as_string_opt::<i32>());
            for (row, time) in times.iter().enumerate() {
                if column.is_some_and(|column| column.is_null(row)) {
                    continue;
                }
                let number = self.of((source, if devices.is_valid(row) { devices.value(row) } else { "" }));
                if let Some(projects) = projects {
                    self.move_to(number, if projects.is_valid(row) { projects.value(row) } else { "" })?;
                }
                self.take(number, *time, column, row);
                let (first, last) = self.seen.unwrap_or((*time, *time));
                self.seen = Some((first.min(*time), last.max(*time)));
            }
        }
        Ok(())
    }

    /// A device is where its last event was.
    fn move_to(&mut self, number: usize, project: &str) -> Result<(), TableError> {
        if self.known[number].as_ref().is_none_or(|(of, _)| of != project) {
            let (source, device) = &self.devices[number];
            let whose = Whose { project, of: Some((&self.event_types[*source], device)) };
            let spans = self.settings.known.spans(self.asks.0, self.asks.1, whose)?;
            self.known[number] = Some((project.to_owned(), spans));
        }
        Ok(())
    }

    fn take(&mut self, number: usize, time: Micros, column: Option<&ArrayRef>, row: usize) {
        let limit = self.limit();
        let state = match column {
            Some(column) if *column.data_type() == DataType::Utf8 => Some(self.state(column.as_string::<i32>().value(row))),
            _ => None,
        };
        let known = self.known[number].as_ref().map_or(&[][..], |(_, spans)| spans);
        match &mut self.by_device[number] {
            Track::Gauge(track) | Track::Counter(track) => {
                if let Some(value) = column.and_then(|column| figure(column, row)).filter(|value| value.is_finite()) {
                    let is_behind_gap = track.last().is_some_and(|last| has_gap(known, last, time));
                    track.measure(time, value, is_behind_gap, limit);
                }
            }
            Track::State(track) => {
                if let Some(state) = state {
                    track.tell(time, state, holds_until(known, time), limit);
                }
            }
            Track::Events(track) => track.happen(time, limit),
        }
    }

    fn chart(self, value: &Value, span: (Micros, Micros)) -> Chart {
        let Self { settings, asks: (_, directory), title, event_types, by_device: tracks, devices, numbers, states, .. } = self;
        let length = span.1.saturating_sub(span.0);
        let marks = (STRIPS / devices.len().max(1)).clamp(50, settings.points.max(50));
        let data = |track: Track| match track {
            Track::Gauge(track) => Data::Numbers(track.pieces(settings.points, length, true)),
            Track::Counter(track) => Data::Steps(track.pieces(settings.points, length, false)),
            Track::Events(track) => Data::Moments(track.moments(marks)),
            Track::State(track) => Data::States(track.spans(span.1, marks, &states)),
        };
        let line = |(track, (source, device)): (Track, (usize, String))| {
            let mut name = if device.is_empty() { "no device" } else { directory.name(&device) }.to_owned();
            // One that brings the same by two event types has two lines.
            if numbers.iter().filter(|of| of.contains_key(&device)).count() > 1 {
                name = format!("{name}, {}", event_types[source]);
            }
            let room = directory.get(&device).and_then(|known| known.labels.get("room")).cloned().unwrap_or_default();
            Line { name, room, data: data(track), device }
        };
        let mut lines: Vec<Line> = tracks.into_iter().zip(devices).map(line).collect();
        lines.sort_by(|a, b| (&a.name, &a.device).cmp(&(&b.name, &b.device)));
        let gaps = merged([settings.known.unknown.clone(), settings.unrecorded.nothing_within(span)].concat());
        // What begins with the last event is not seen.
        let gaps = gaps.into_iter().filter(|(begins, _)| *begins < span.1 - 1).collect();
        let unit = value.unit().map(written).filter(|unit| !unit.is_empty());
        let axis = match (value.behaves(), unit) {
            (None | Some(Behaviour::State), _) => String::new(),
            (_, Some(unit)) => format!("{}, {unit}", value.name().replace('_', " ")),
            (_, None) => value.name().replace('_', " "),
        };
        Chart { title, axis, part: String::new(), zone: settings.zone.clone(), span, lines, gaps }
    }
}

/// True when between two events that follow each other nothing was known for a while: what is known ends, and begins anew.
fn has_gap(known: &[Span], last: Micros, time: Micros) -> bool {
    let from = known.partition_point(|(_, ends)| ends.saturating_add(AGREE) < last);
    let mut pairs = known[from..].windows(2).take_while(|pair| pair[0].1 < time);
    pairs.any(|pair| pair[1].0 <= time.saturating_add(AGREE))
}
