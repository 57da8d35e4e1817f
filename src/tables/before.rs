//! What devices told last before a selection begins: a door that nobody touched tonight is still what it was before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::devices::Directory;
use crate::event::Partition;
use crate::reader::{Reader, Selection, TypePlan};
use crate::schema::{Behaviour, Schema};
use crate::time::{Day, Micros};

use super::Result;
use super::known::Known;
use super::values::{Value, figure, values};

/// What a device told last of a value that lasts.
#[derive(Debug, Clone, PartialEq)]
pub enum Last {
    /// The state that it is in.
    State(String),
    /// A total.
    Total(f64),
}

/// By device: what it told last of each value.
pub type Before = BTreeMap<String, Vec<Option<Last>>>;

fn lasts(value: &Value) -> bool {
    matches!(value.behaves(), Some(Behaviour::State | Behaviour::Counter))
}

/// The plans of a selection, and those of types that have no event in it, but states from before it.
///
/// # Errors
/// When the recording does not read.
pub fn plans(reader: &Reader, selection: &Selection) -> Result<Vec<TypePlan>> {
    let mut plans = reader.plan(selection)?;
    let Some(start) = selection.start else { return Ok(plans) };
    for schema in reader.registry().iter() {
        let is_wanted = selection.event_types.is_empty() || selection.event_types.contains(&schema.name);
        let is_planned = plans.iter().any(|plan| plan.schema.name == schema.name);
        if is_wanted && !is_planned && has_states(schema) && reader.days(&schema.name)?.iter().any(|day| day.start() < start) {
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
/// Goes back day by day, until every device has told everything that is known of its kind, or to the first day. The directory
/// says which devices there are, if it knows all that are met.
///
/// # Errors
/// When the recording does not read.
pub fn before(
    reader: &Reader,
    schema: &Arc<Schema>,
    selection: &Selection,
    values: &[Value],
    directory: &Directory,
    known: &Known,
) -> Result<Before> {
    let mut found: BTreeMap<String, Vec<Option<(Micros, Last)>>> = BTreeMap::new();
    let lasting: Vec<&str> = values.iter().filter(|value| lasts(value)).map(Value::name).collect();
    let Some(start) = selection.start.filter(|_| !lasting.is_empty()) else { return Ok(Before::new()) };
    // What was told before the last time of which nothing is known holds no longer.
    let is_alive = |time: Micros| start < known.until && known.first_unknown(time, start).is_none();
    let has_totals = values.iter().any(|value| value.behaves() == Some(Behaviour::Counter));
    let earlier = Selection { start: None, end: Some(start), ..selection.clone() };
    for day in reader.days(&schema.name)?.range(..=Day::of(start.saturating_sub(1))).rev() {
        if is_complete(&found, values, selection, directory) || !(has_totals || is_alive(day.end() - 1)) {
            break;
        }
        let partition = Partition { event_type: schema.name.as_str().into(), day: *day };
        let plan = TypePlan { schema: Arc::clone(schema), partitions: vec![partition], events: 0 };
        let mut rows = reader.columns(&plan, &earlier, &lasting).uncounted();
        // Of this day; a later one knows better.
        let mut of_day: BTreeMap<String, Vec<Option<(Micros, Last)>>> = BTreeMap::new();
        while let Some(batch) = rows.next_batch()? {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            let devices = batch.column(1).as_string::<i32>();
            for (number, value) in values.iter().enumerate().filter(|(_, value)| lasts(value)) {
                let Some(column) = batch.column_by_name(value.name()) else { continue };
                for row in (0..batch.num_rows()).filter(|row| column.is_valid(*row)) {
                    let state = column.as_string_opt::<i32>().map(|states| Last::State(states.value(row).to_owned()));
                    let Some(last) = state.or_else(|| figure(column, row).map(Last::Total)) else { continue };
                    let device = if devices.is_valid(row) { devices.value(row) } else { "" };
                    if !of_day.contains_key(device) {
                        of_day.insert(device.to_owned(), vec![None; values.len()]);
                    }
                    if let Some(of_device) = of_day.get_mut(device) {
                        of_device[number] = Some((times[row], last));
                    }
                }
            }
        }
        for (device, told) in of_day {
            let later = found.entry(device).or_insert_with(|| vec![None; values.len()]);
            later.iter_mut().zip(told).for_each(|(later, told)| *later = later.take().or(told));
        }
    }
    let holds = |(time, last): (Micros, Last)| (matches!(last, Last::Total(_)) || is_alive(time)).then_some(last);
    let held = |told: Vec<Option<(Micros, Last)>>| told.into_iter().map(|told| told.and_then(holds)).collect::<Vec<_>>();
    let found = found.into_iter().map(|(device, told)| (device, held(told)));
    Ok(found.filter(|(_, told)| told.iter().any(Option::is_some)).collect())
}

/// Whether an earlier day can tell no more.
fn is_complete<T>(
    found: &BTreeMap<String, Vec<Option<T>>>,
    values: &[Value],
    selection: &Selection,
    directory: &Directory,
) -> bool {
    let has_all = |device: &str| {
        let told = found.get(device).map(|told| told.iter().zip(values));
        told.is_some_and(|mut told| told.all(|(told, value)| told.is_some() || !lasts(value)))
    };
    if !selection.devices.is_empty() && selection.devices.iter().all(|device| has_all(device)) {
        return true;
    }
    // Devices of the kinds that tell such things; none where the directory does not know one of them.
    let kind = |device: &String| directory.get(device).map(|known| known.kind.as_str()).filter(|kind| !kind.is_empty());
    let Some(kinds) = found.keys().map(kind).collect::<Option<BTreeSet<&str>>>().filter(|kinds| !kinds.is_empty()) else {
        return false;
    };
    let is_wanted = |device: &str| selection.devices.is_empty() || selection.devices.contains(device);
    let mut devices = directory.iter().filter(|(device, known)| kinds.contains(known.kind.as_str()) && is_wanted(device));
    devices.all(|(device, _)| has_all(device))
}
