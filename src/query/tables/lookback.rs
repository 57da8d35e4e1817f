//! What devices told last before a selection begins: a door that nobody touched tonight is still what it was before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::schema::{Behaviour, Schema};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::store::devices::Directory;

use super::Result;
use super::aggregate::Counter;
use super::fill::Fill;
use super::known::{StateValidity, Whose, holds_until};
use super::loaded::text_or_nothing;
use super::values::{Value, figure, values};

/// What a device told last of a value that lasts.
#[derive(Debug, Clone, PartialEq)]
pub enum Last {
    /// The state that it is in, and until when that is known without another event.
    State {
        /// The state.
        state: String,
        /// When that is known no longer.
        until: Micros,
    },
    /// What was counted of a total.
    Total(f64),
}

/// By device: what it told last of each value.
pub type Before = BTreeMap<String, Vec<Option<Last>>>;

/// The plans of a selection, and those of types that have no event in it, but states from before it; measures too, where holes
/// are filled.
///
/// # Errors
/// When the recording does not read.
pub fn plans(reader: &Reader, selection: &Selection, fill: Fill) -> Result<Vec<TypePlan>> {
    let mut plans = reader.plan(selection)?;
    let Some(start) = selection.start else { return Ok(plans) };
    for schema in reader.registry().iter() {
        let is_wanted = selection.event_types.is_empty() || selection.event_types.contains(&schema.name);
        let is_planned = plans.iter().any(|plan| plan.schema.name == schema.name);
        let lasts = has_states(schema) || fill != Fill::None;
        if is_wanted && !is_planned && lasts && reader.days(&schema.name)?.iter().any(|day| day.start() < start) {
            plans.push(TypePlan { schema: Arc::clone(schema), partitions: Vec::new(), events: 0 });
        }
    }
    plans.sort_by(|a, b| a.schema.name.cmp(&b.schema.name));
    Ok(plans)
}

/// True where events of a type tell states.
pub fn has_states(schema: &Schema) -> bool {
    values(schema).iter().any(|value| value.behaves() == Some(Behaviour::State))
}

/// What the devices of a selection told of some values of a type before it begins, as far as it still holds: a state through
/// what is unknown does not, a total does.
///
/// Both are looked for as far back as there is anything, whatever a device is and whoever
/// knows of it: so a range says what the whole says of it.
///
/// # Errors
/// When the recording does not read.
pub fn lookback(
    (reader, directory): (&Reader, &Directory),
    schema: &Arc<Schema>,
    selection: &Selection,
    values: &[Value],
    known: &StateValidity,
) -> Result<Before> {
    let of = |behaves: Behaviour| -> Vec<(usize, &str)> {
        let all = values.iter().enumerate().filter(move |(_, value)| value.behaves() == Some(behaves));
        all.map(|(number, value)| (number, value.name())).collect()
    };
    let (states, totals) = (of(Behaviour::State), of(Behaviour::Counter));
    let Some(start) = selection.start.filter(|_| !states.is_empty() || !totals.is_empty()) else { return Ok(Before::new()) };
    let look = Look { reader, schema, earlier: Selection { start: None, end: Some(start), ..selection.clone() } };
    let mut found = Before::new();
    let mut put = |device: &str, number: usize, last: Last| {
        if !found.contains_key(device) {
            found.insert(device.to_owned(), vec![None; values.len()]);
        }
        if let Some(of_device) = found.get_mut(device) {
            of_device[number] = Some(last);
        }
    };
    if !states.is_empty() {
        let mut last: HashMap<String, Vec<Option<State>>> = HashMap::new();
        let mut walk = reader.backwards(&schema.name, (None, Some(Day::of(start.saturating_sub(1)))), &selection.devices)?;
        while let Some(day) = walk.next_day() {
            // Of this day; a later one knows better.
            let mut of_day: HashMap<String, Vec<Option<State>>> = HashMap::new();
            look.day(day, &states, |place, (project, device), time, column, row| {
                let Some(texts) = column.as_string_opt::<i32>() else { return };
                if !of_day.contains_key(device) {
                    of_day.insert(device.to_owned(), vec![None; states.len()]);
                }
                if let Some(of_device) = of_day.get_mut(device) {
                    of_device[place] = Some((time, project.to_owned(), texts.value(row).to_owned()));
                }
            })?;
            for (device, told) in of_day {
                let later = last.entry(device.clone()).or_insert_with(|| vec![None; states.len()]);
                later.iter_mut().zip(told).for_each(|(later, told)| *later = later.take().or(told));
                if later.iter().all(Option::is_some) {
                    walk.met(Some(&device));
                    // What is about no device stands under this name as well.
                    if device.is_empty() {
                        walk.met(None);
                    }
                }
            }
        }
        for (device, told) in &last {
            for ((number, _), told) in states.iter().zip(told) {
                let Some((time, project, state)) = told else { continue };
                let whose = Whose { project, of: Some((&schema.name, device)) };
                let until = holds_until(&known.spans(reader, directory, whose)?, *time);
                if until > start {
                    put(device, *number, Last::State { state: state.clone(), until });
                }
            }
        }
    }
    if !totals.is_empty() {
        let mut counters: HashMap<String, Vec<Counter>> = HashMap::new();
        let days = reader.days(&schema.name)?;
        for day in days.range(..=Day::of(start.saturating_sub(1))) {
            look.day(*day, &totals, |place, (_, device), time, column, row| {
                let Some(total) = figure(column, row) else { return };
                if !counters.contains_key(device) {
                    counters.insert(device.to_owned(), vec![Counter::default(); totals.len()]);
                }
                if let Some(of_device) = counters.get_mut(device) {
                    of_device[place].take(time, total);
                }
            })?;
        }
        for (device, counters) in counters {
            for ((number, _), counter) in totals.iter().zip(counters) {
                if let Some(mark) = counter.mark() {
                    put(&device, *number, Last::Total(mark));
                }
            }
        }
    }
    Ok(found)
}

/// When a state was told, in which project, and which.
type State = (Micros, String, String);

/// A look back.
struct Look<'a> {
    reader: &'a Reader,
    schema: &'a Arc<Schema>,
    earlier: Selection,
}

impl Look<'_> {
    /// Hands on what a day tells of some columns, in the order of time: which of them, of which project and device, when, where it
    /// stands.
    fn day(
        &self,
        day: Day,
        of: &[(usize, &str)],
        mut take: impl FnMut(usize, (&str, &str), Micros, &ArrayRef, usize),
    ) -> Result<()> {
        let partition = Partition { event_type: self.schema.name.as_str().into(), day };
        let plan = TypePlan { schema: Arc::clone(self.schema), partitions: vec![partition], events: 0 };
        let names: Vec<&str> = of.iter().map(|(_, name)| *name).collect();
        let mut rows = self.reader.columns(&plan, &self.earlier, &[&names[..], &["project_id"]].concat()).uncounted();
        while let Some(batch) = rows.next_batch()? {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            // time, device_id, project_id
            let (devices, projects) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
            for (place, name) in names.iter().enumerate() {
                let Some(column) = batch.column_by_name(name) else { continue };
                for row in (0..batch.num_rows()).filter(|row| column.is_valid(*row)) {
                    take(place, (text_or_nothing(projects, row), text_or_nothing(devices, row)), times[row], column, row);
                }
            }
        }
        Ok(())
    }
}
