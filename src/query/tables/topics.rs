//! Topics: what people look for by itself, whatever event types tell of it: a quantity, a state, a touch. What matters most first.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef};

use crate::model::schema::{Behaviour, Schema, time_type};
use crate::query::reader::{Reader, Rows, Selection, TypePlan};
use crate::store::devices::Directory;

use super::events::{DeviceColumns, homes};
use super::loaded::{columns, found};
use super::long::Long;
use super::merged::Merged;
use super::values::{Value, values};
use super::{Ask, Result, Table, field};

/// A quantity, a state or something that happens.
#[derive(Debug, Clone)]
pub struct Topic {
    /// As columns and event types are called: `relative_humidity`, `contact`.
    pub name: String,
    /// What tells of it, one an event type.
    pub values: Vec<Value>,
}

impl Topic {
    /// Of an event type that no schema knows: only that it happens.
    pub fn that_happens(event_type: &str) -> Self {
        Self { name: event_type.to_owned(), values: vec![Value { event_type: event_type.to_owned(), column: None }] }
    }

    /// What people call it: `Relative humidity`.
    pub fn title(&self) -> String {
        let words = words(&self.name);
        let mut letters = words.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }

    /// How far behind it stands: what is measured, what is told, what is counted, and what is about the devices themselves.
    fn rank(&self) -> usize {
        const FIRST: [&str; 4] = ["temperature", "relative_humidity", "co2", "pressure"];
        const LAST: [&str; 5] = ["probeWireStatus", "connectionStatus", "signal_strength", "rssi", "battery"];
        let place = |names: &[&str]| names.iter().position(|name| *name == self.name);
        let kind = match self.values.first().and_then(Value::behaves) {
            Some(Behaviour::Gauge) => 0,
            Some(Behaviour::State) => 1,
            None => 2,
            Some(Behaviour::Counter) => 3,
        };
        place(&FIRST).unwrap_or_else(|| FIRST.len() + place(&LAST).map_or(kind, |place| 4 + place))
    }
}

/// A name of the schema as people write it: `relative humidity`, `water present`, `CO2`.
pub fn words(name: &str) -> String {
    let mut words = String::new();
    let mut last = ' ';
    for letter in name.chars() {
        match letter {
            '_' => words.push(' '),
            _ if last.is_lowercase() && letter.is_uppercase() => words.extend([' '].into_iter().chain(letter.to_lowercase())),
            _ => words.push(letter),
        }
        last = letter;
    }
    let known = |word: &str| match word {
        "co2" => "CO2".to_owned(),
        "rssi" => "RSSI".to_owned(),
        word => word.to_owned(),
    };
    words.split(' ').map(known).collect::<Vec<_>>().join(" ")
}

/// The topics of some event types.
pub fn topics<'s>(schemas: impl IntoIterator<Item = &'s Schema>) -> Vec<Topic> {
    let mut all: Vec<Topic> = Vec::new();
    for schema in schemas {
        for value in values(schema) {
            // What comes with columns that say nothing of themselves, as a change of labels, is for programs.
            if value.column.is_none() && !schema.columns.is_empty() {
                continue;
            }
            if let Some(topic) = all.iter_mut().find(|topic| topic.values.iter().any(|other| other.is_like(&value))) {
                topic.values.push(value);
                continue;
            }
            let is_measure = value.behaves() == Some(Behaviour::Gauge);
            let name = match value.event_type.as_str() {
                // A percentage says nothing where it stands alone.
                "batteryStatus" => "battery",
                event_type => {
                    if is_measure {
                        value.name()
                    } else {
                        event_type
                    }
                }
            };
            let name = name.to_owned();
            all.push(Topic { name, values: vec![value] });
        }
    }
    all.sort_by_key(Topic::rank);
    all
}

/// The devices of a selection, by their ids; an empty one for what is about none.
///
/// # Errors
/// When the recording does not read.
pub fn devices_of(reader: &Reader, plans: &[TypePlan], selection: &Selection) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for plan in plans {
        all.append(&mut found(reader, plan, selection, &[])?.0);
    }
    Ok(all)
}

/// What is told of a topic, in the order of time: `time`, `device_name`, labels of the devices, and what was told; with
/// [`Ask::every`] a row a device and bucket. None where the topic has no event types here.
///
/// # Errors
/// When the recording does not read, or lacks a column of its schema.
pub fn told<'a>(
    reader: &'a Reader,
    plans: &'a [TypePlan],
    selection: &'a Selection,
    (directory, ask): (&'a Directory, &Ask),
    topic: &Topic,
) -> Result<Option<Box<dyn Table + 'a>>> {
    let device_columns = DeviceColumns { directory, names: true, labels: ask.labels.clone() };
    let mut tables: Vec<Box<dyn Table + 'a>> = Vec::new();
    for value in &topic.values {
        let Some(plan) = plans.iter().find(|plan| plan.schema.name == value.event_type) else { continue };
        let value = value.clone();
        tables.push(match ask.every {
            Some(every) => {
                Box::new(Long::new(reader, plan, selection, &device_columns, every, (ask, std::slice::from_ref(&value)))?)
            }
            None => Box::new(Told::new(reader, plan, selection, device_columns.clone(), (&topic.name, value))?),
        });
    }
    Ok(Merged::new(&topic.name, tables).map(|table| Box::new(table) as Box<dyn Table + 'a>))
}

/// What the events of one type tell of a topic.
struct Told<'a> {
    rows: Rows<'a>,
    value: Value,
    device_columns: DeviceColumns<'a>,
    schema: SchemaRef,
}

impl<'a> Told<'a> {
    fn new(
        reader: &'a Reader,
        plan: &TypePlan,
        selection: &Selection,
        device_columns: DeviceColumns<'a>,
        (name, value): (&str, Value),
    ) -> Result<Self> {
        let kind = match (&value.column, value.behaves()) {
            (None, _) => DataType::Int64,
            // Of whatever type: the tables of a topic are one.
            (_, Some(Behaviour::Gauge)) => DataType::Float64,
            _ => plan.schema.arrow().field_with_name(value.name())?.data_type().clone(),
        };
        let told: FieldRef = Arc::new(field(name, kind, value.unit(), "What was told."));
        let mut fields: Vec<FieldRef> = vec![Arc::new(field("time", time_type(), None, "Time of the event."))];
        fields.extend(device_columns.fields(std::slice::from_ref(&told)));
        fields.push(told);
        let names = [&["project_id"], &columns(std::slice::from_ref(&value))[..]].concat();
        let rows = reader.own_columns(plan.clone(), selection.clone(), &names);
        Ok(Self { rows, value, device_columns, schema: Arc::new(ArrowSchema::new(fields)) })
    }
}

impl Table for Told<'_> {
    fn name(&self) -> &str {
        self.value.name()
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batch) = self.rows.next_batch()? {
            let (batch, told): (RecordBatch, ArrayRef) = match batch.column_by_name(self.value.name()) {
                Some(column) => {
                    let batch = filter_record_batch(&batch, &is_not_null(column)?)?;
                    let told = batch.column_by_name(self.value.name()).unwrap_or(column);
                    let told = cast(told, self.schema.field(self.schema.fields().len() - 1).data_type())?;
                    (batch, told)
                }
                None if self.value.column.is_some() => continue,
                None => {
                    let told = Arc::new(Int64Array::from(vec![1; batch.num_rows()]));
                    (batch, told)
                }
            };
            if batch.num_rows() == 0 {
                continue;
            }
            // time, device_id, project_id
            let mut columns: Vec<ArrayRef> = vec![Arc::clone(batch.column(0))];
            columns.extend(self.device_columns.columns(&homes(batch.column(1), batch.column(2))));
            columns.push(told);
            return Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Registry;

    #[test]
    fn a_topic_is_of_all_types_and_what_matters_stands_first() {
        let registry = Registry::built_in().unwrap();
        let all = topics(registry.iter().map(AsRef::as_ref));
        let titles: Vec<String> = all.iter().map(Topic::title).collect();
        assert_eq!(titles[..4], ["Temperature", "Relative humidity", "CO2", "Pressure"]);
        assert_eq!(titles.last().unwrap(), "Battery");
        assert!(titles.contains(&"Water present".to_owned()) && !titles.contains(&"Labels changed".to_owned()), "{titles:?}");
        assert_eq!(all[0].values.len(), 2);
    }
}
