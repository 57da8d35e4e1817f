//! Topics: what people look for by itself, whatever event types tell of it: a quantity, a state, a touch. What matters most first.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};

use crate::base::time::Micros;
use crate::model::schema::{Behaviour, Schema, time_type};
use crate::query::reader::{Reader, Rows, Selection, TypePlan};
use crate::store::devices::Directory;

use super::events::{DeviceColumns, homes};
use super::loaded::{columns, found};
use super::values::{Value, values};
use super::{Result, Table, field};

/// Rows that are handed on together.
const ROWS: usize = 8 * 1024;

/// A quantity, a state or something that happens.
#[derive(Debug, Clone)]
pub struct Topic {
    /// As columns and event types are called: `relative_humidity`, `contact`.
    pub name: String,
    /// What tells of it, one an event type.
    pub values: Vec<Value>,
}

impl Topic {
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

/// What is told of a topic, in the order of time: `time`, `device_name`, these labels of the devices, and what was told.
///
/// # Errors
/// When the recording lacks a column of its schema.
pub fn told<'a>(
    reader: &'a Reader,
    plans: &[TypePlan],
    selection: &Selection,
    devices: (&'a Directory, &[String]),
    topic: Topic,
) -> Result<Box<dyn Table + 'a>> {
    Ok(Box::new(Told::new(reader, plans, selection, devices, topic)?))
}

struct Told<'a> {
    topic: Topic,
    heads: Vec<Head<'a>>,
    device_columns: DeviceColumns<'a>,
    schema: SchemaRef,
}

/// One event type on its way.
struct Head<'a> {
    rows: Rows<'a>,
    value: Value,
    batch: Option<RecordBatch>,
    row: usize,
}

fn times(batch: &RecordBatch) -> &[Micros] {
    batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
}

impl Head<'_> {
    /// The time of the next event.
    fn next_time(&mut self) -> Result<Option<Micros>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.num_rows()) {
                return Ok(Some(times(batch)[self.row]));
            }
            (self.batch, self.row) = (self.rows.next_batch()?, 0);
            if self.batch.is_none() {
                return Ok(None);
            }
        }
    }
}

impl<'a> Told<'a> {
    fn new(
        reader: &'a Reader,
        plans: &[TypePlan],
        selection: &Selection,
        (directory, labels): (&'a Directory, &[String]),
        topic: Topic,
    ) -> Result<Self> {
        let device_columns = DeviceColumns { directory, names: true, labels: labels.to_vec() };
        let mut kind = DataType::Int64;
        let mut heads = Vec::new();
        for value in &topic.values {
            let Some(plan) = plans.iter().find(|plan| plan.schema.name == value.event_type) else { continue };
            if value.column.is_some() {
                let own = plan.schema.arrow().field_with_name(value.name())?.data_type().clone();
                kind = if value.behaves() == Some(Behaviour::Gauge) { DataType::Float64 } else { own };
            }
            let names = [&["project_id"], &columns(std::slice::from_ref(value))[..]].concat();
            let rows = reader.own_columns(plan.clone(), selection.clone(), &names);
            heads.push(Head { rows, value: value.clone(), batch: None, row: 0 });
        }
        let unit = topic.values.first().and_then(Value::unit);
        let told: FieldRef = Arc::new(field(&topic.name, kind, unit, "What was told."));
        let mut fields: Vec<FieldRef> = vec![Arc::new(field("time", time_type(), None, "Time of the event."))];
        fields.extend(device_columns.fields(std::slice::from_ref(&told)));
        fields.push(told);
        Ok(Self { topic, heads, device_columns, schema: Arc::new(ArrowSchema::new(fields)) })
    }

    /// Rows of an event type, those that say anything.
    fn rows(&self, value: &Value, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = match batch.column_by_name(value.name()) {
            Some(column) => filter_record_batch(batch, &is_not_null(column)?)?,
            None if value.column.is_some() => batch.slice(0, 0),
            None => batch.clone(),
        };
        let kind = self.schema.field(self.schema.fields().len() - 1).data_type();
        let told: ArrayRef = match batch.column_by_name(value.name()) {
            Some(column) => cast(column, kind)?,
            None => Arc::new(Int64Array::from(vec![1; batch.num_rows()])),
        };
        // time, device_id, project_id
        let mut columns: Vec<ArrayRef> = vec![Arc::clone(batch.column(0))];
        columns.extend(self.device_columns.columns(&homes(batch.column(1), batch.column(2))));
        columns.push(told);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Table for Told<'_> {
    fn name(&self) -> &str {
        &self.topic.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < ROWS {
            let mut coming: Vec<(Micros, usize)> = Vec::new();
            for (place, head) in self.heads.iter_mut().enumerate() {
                coming.extend(head.next_time()?.map(|time| (time, place)));
            }
            coming.sort_unstable();
            let Some((_, place)) = coming.first().copied() else { break };
            let head = &self.heads[place];
            let Some(batch) = &head.batch else { break };
            let own = &times(batch)[head.row..];
            let many = coming.get(1).map_or(own.len(), |next| own.partition_point(|time| (*time, place) < *next));
            let piece = self.rows(&head.value, &batch.slice(head.row, many))?;
            self.heads[place].row += many;
            rows += piece.num_rows();
            pieces.push(piece);
        }
        Ok(if rows == 0 { None } else { Some(concat_batches(&self.schema, &pieces)?) })
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
