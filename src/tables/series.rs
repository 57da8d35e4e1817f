//! Series: the events of one type on their way into buckets, device by device.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::coverage::Span;
use crate::devices::Directory;
use crate::reader::{Reader, Rows, Selection, TypePlan};
use crate::schema::Behaviour;
use crate::time::Micros;

use super::aggregate::{Aggregate, Figure, Track};
use super::before::{Before, Last, before};
use super::calendar::{Figured, earlier};
use super::values::Value;
use super::{Ask, Result};

/// A value, its states if it has any, and what is told of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) value: Value,
    pub(super) states: Vec<String>,
    pub(super) figures: Vec<Figure>,
}

/// The events of one type in time order. Holds one track for each device and value.
pub(super) struct Series<'a> {
    rows: Rows<'a>,
    pub(super) told: Vec<Told>,
    /// Ids, ascending.
    pub(super) devices: Vec<String>,
    numbers: HashMap<String, usize>,
    tracks: Vec<Track>,
    /// By device and figure: what buckets before the first say that may fill it.
    pub(super) earlier: Vec<Option<Figured>>,
    batch: Option<Loaded>,
    /// What comes next of which nothing is known.
    unknown: VecDeque<Span>,
    known_until: Micros,
}

struct Loaded {
    batch: RecordBatch,
    columns: Vec<Column>,
    row: usize,
}

enum Column {
    Float(Float64Array),
    Int(Int64Array),
    /// With the number of the state of each row.
    State(Vec<Option<usize>>),
    None,
}

impl Loaded {
    fn time(&self) -> Micros {
        self.batch.column(0).as_primitive::<TimestampMicrosecondType>().value(self.row)
    }
}

/// The id of a row's device; empty where the event is about none.
fn device(devices: &StringArray, row: usize) -> &str {
    if devices.is_valid(row) { devices.value(row) } else { "" }
}

/// Names of the columns of some values.
pub(super) fn columns(values: &[Value]) -> Vec<&str> {
    values.iter().filter_map(|value| value.column.as_ref()).map(|(column, _)| column.name.as_str()).collect()
}

/// The devices of a selection, ascending, and the states that each value takes.
pub(super) fn found(
    reader: &Reader,
    plan: &TypePlan,
    selection: &Selection,
    values: &[Value],
) -> Result<(BTreeSet<String>, Vec<BTreeSet<String>>)> {
    let states: Vec<&Value> = values.iter().filter(|value| value.behaves() == Some(Behaviour::State)).collect();
    let names: Vec<&str> = states.iter().map(|value| value.name()).collect();
    let mut rows = reader.columns(plan, selection, &names).uncounted();
    let (mut devices, mut taken) = (BTreeSet::new(), vec![BTreeSet::new(); values.len()]);
    while let Some(batch) = rows.next_batch()? {
        let ids = batch.column(1).as_string::<i32>();
        note((0..ids.len()).map(|row| device(ids, row)), &mut devices);
        for (value, taken) in values.iter().zip(&mut taken) {
            if value.behaves() == Some(Behaviour::State)
                && let Some(column) = batch.column_by_name(value.name()).and_then(|column| column.as_string_opt::<i32>())
            {
                note(column.iter().flatten(), taken);
            }
        }
    }
    Ok((devices, taken))
}

fn note<'t>(texts: impl Iterator<Item = &'t str>, into: &mut BTreeSet<String>) {
    for text in texts {
        if !into.contains(text) {
            into.insert(text.to_owned());
        }
    }
}

impl<'a> Series<'a> {
    /// The series of some values of a type.
    pub(super) fn new(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        values: &[Value],
        usual: &[Aggregate],
        directory: &Directory,
        ask: &Ask,
    ) -> Result<Self> {
        let (mut devices, mut states) = found(reader, plan, selection, values)?;
        let before = before(reader, &plan.schema, selection, values, directory, &ask.known)?;
        for (device, told) in &before {
            devices.insert(device.clone());
            for (last, states) in told.iter().zip(&mut states) {
                if let Some(Last::State(state)) = last {
                    states.insert(state.clone());
                }
            }
        }
        let told = values.iter().zip(states).map(|(value, states)| Told {
            value: value.clone(),
            figures: Figure::of(value.behaves(), &ask.aggregates, usual, states.len()),
            states: states.into_iter().collect(),
        });
        let told: Vec<Told> = told.collect();
        let earlier = earlier(reader, &plan.schema.name, selection, &told, ask)?;
        devices.extend(earlier.keys().cloned());
        let mut series = Self::of(reader, plan, selection, devices, told, ask);
        series.go_on(&before, &earlier, selection.start.unwrap_or_default());
        Ok(series)
    }

    /// A series of these devices, of which nothing is known from before.
    pub(super) fn of(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        devices: BTreeSet<String>,
        told: Vec<Told>,
        ask: &Ask,
    ) -> Self {
        let tracks = devices.iter().flat_map(|_| told.iter().map(|told| Track::new(told.value.behaves(), told.states.len())));
        let values: Vec<Value> = told.iter().map(|told| told.value.clone()).collect();
        let known_until = ask.known.until.min(selection.end.unwrap_or(Micros::MAX));
        let comes = |(begins, _): &&Span| (selection.start.unwrap_or(Micros::MIN)..known_until).contains(begins);
        // What an event from the future tells holds for no time either.
        let unknown = ask.known.unknown.iter().filter(comes).copied().chain([(known_until, Micros::MAX)]);
        Self {
            rows: reader.columns(plan, selection, &columns(&values)),
            tracks: tracks.collect(),
            numbers: devices.iter().cloned().zip(0..).collect(),
            earlier: vec![None; devices.len() * told.iter().map(|told| told.figures.len()).sum::<usize>()],
            devices: devices.into_iter().collect(),
            told,
            batch: None,
            unknown: unknown.collect(),
            known_until,
        }
    }

    /// Goes on from what was told before `start`.
    fn go_on(&mut self, before: &Before, earlier: &BTreeMap<String, Vec<Option<Figured>>>, start: Micros) {
        let (count, width) = (self.told.len(), self.width());
        for (number, device) in self.devices.iter().enumerate() {
            let tracks = self.tracks[number * count..].iter_mut().zip(&self.told);
            for ((track, told), last) in tracks.zip(before.get(device).into_iter().flatten()) {
                match (track, last) {
                    (Track::State { now, since, .. }, Some(Last::State(state))) => {
                        (*now, *since) = (told.states.iter().position(|known| known == state), start);
                    }
                    (Track::Counter { total, .. }, Some(Last::Total(last))) => *total = Some(*last),
                    _ => {}
                }
            }
            if let Some(figures) = earlier.get(device) {
                self.earlier[number * width..(number + 1) * width].copy_from_slice(figures);
            }
        }
    }

    /// The same, whose events are not counted as read: a look back.
    pub(super) fn uncounted(self) -> Self {
        Self { rows: self.rows.uncounted(), ..self }
    }

    /// Figures of one device.
    pub(super) fn width(&self) -> usize {
        self.told.iter().map(|told| told.figures.len()).sum()
    }

    /// True when something is known of the time before the first event.
    pub(super) fn has_past(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track, Track::State { now: Some(_), .. }))
    }

    /// Until when something is known without another event.
    pub(super) fn lasts_until(&self) -> Micros {
        if self.has_past() && self.known_until < Micros::MAX { self.known_until } else { Micros::MIN }
    }

    /// The time of the next event.
    pub(super) fn next_time(&mut self) -> Result<Option<Micros>> {
        if self.batch.as_ref().is_none_or(|loaded| loaded.row >= loaded.batch.num_rows()) {
            self.batch = self.rows.next_batch()?.map(|batch| self.load(batch));
        }
        Ok(self.batch.as_ref().map(Loaded::time))
    }

    fn load(&self, batch: RecordBatch) -> Loaded {
        let column = |told: &Told| {
            let Some(array) = batch.column_by_name(told.value.name()).filter(|_| told.value.column.is_some()) else {
                return Column::None;
            };
            match array.data_type() {
                DataType::Float64 => Column::Float(array.as_primitive::<Float64Type>().clone()),
                DataType::Int64 => Column::Int(array.as_primitive::<Int64Type>().clone()),
                DataType::Utf8 => {
                    let number = |state: &str| told.states.iter().position(|known| known == state);
                    Column::State(array.as_string::<i32>().iter().map(|state| state.and_then(number)).collect())
                }
                _ => Column::None,
            }
        };
        let columns = self.told.iter().map(column).collect();
        Loaded { batch, columns, row: 0 }
    }

    /// Takes all events before `end`.
    pub(super) fn take_until(&mut self, end: Micros) -> Result<()> {
        while self.next_time()?.is_some_and(|time| time < end) {
            let Some(mut loaded) = self.batch.take() else { break };
            while loaded.row < loaded.batch.num_rows() && loaded.time() < end {
                self.take(&loaded);
                loaded.row += 1;
            }
            self.batch = Some(loaded);
        }
        self.forget(end);
        Ok(())
    }

    fn take(&mut self, loaded: &Loaded) {
        let (time, row) = (loaded.time(), loaded.row);
        if self.unknown.front().is_some_and(|(begins, _)| *begins < time) {
            self.forget(time);
        }
        let Some(number) = self.numbers.get(device(loaded.batch.column(1).as_string::<i32>(), row)) else { return };
        let count = self.told.len();
        for (column, track) in loaded.columns.iter().zip(&mut self.tracks[number * count..(number + 1) * count]) {
            match column {
                Column::Float(values) if values.is_valid(row) => track.number(values.value(row)),
                #[expect(clippy::cast_precision_loss, reason = "figures are doubles, as in every spreadsheet")]
                Column::Int(values) if values.is_valid(row) => track.number(values.value(row) as f64),
                Column::State(states) => {
                    if let Some(state) = states[row] {
                        track.state(time, Some(state), self.known_until);
                    }
                }
                Column::None => track.number(1.0),
                Column::Float(_) | Column::Int(_) => {}
            }
        }
    }

    /// In a gap that begins before `end` nobody knows what the doors do, until they speak again.
    fn forget(&mut self, end: Micros) {
        while let Some((begins, _)) = self.unknown.front().copied().filter(|(begins, _)| *begins < end) {
            self.unknown.pop_front();
            self.tracks.iter_mut().for_each(|track| track.state(begins, None, self.known_until));
        }
    }

    /// Writes the figures of the bucket that ends at `end`, device by device, and begins the next one.
    pub(super) fn close(&mut self, end: Micros, out: &mut [f64], seen: &mut [bool]) {
        let (count, width) = (self.told.len(), self.width());
        for (device, seen) in seen.iter_mut().enumerate() {
            let mut at = device * width;
            *seen = false;
            for (told, track) in self.told.iter().zip(&mut self.tracks[device * count..(device + 1) * count]) {
                let to = at + told.figures.len();
                *seen |= track.close(end, self.known_until, &told.figures, &mut out[at..to]);
                at = to;
            }
        }
    }
}
