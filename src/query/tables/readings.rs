//! One row a reading: each number that was measured or counted, whatever event type brought it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, Float64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};

use crate::base::time::Micros;
use crate::model::schema::time_type;
use crate::query::reader::{Reader, Rows, Selection, TypePlan};

use super::columns::{Asked, asked};
use super::events::{DeviceColumns, homes};
use super::loaded::columns;
use super::values::{Value, figure, values};
use super::{Result, Table, TableError, field};

/// Rows that are handed on together.
const ROWS: usize = 8 * 1024;

/// Readings of all event types, in the order of time: `time`, `project_id`, `device_id`, `device_name`, labels, `quantity`, `value`,
/// `unit`, `event_type`.
pub(super) struct Readings<'a> {
    heads: Vec<Head<'a>>,
    device_columns: DeviceColumns<'a>,
    schema: SchemaRef,
}

/// One event type on its way.
struct Head<'a> {
    rows: Rows<'a>,
    event_type: String,
    values: Vec<Value>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Head<'_> {
    /// The time of the next event.
    fn next_time(&mut self) -> Result<Option<Micros>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.num_rows()) {
                return Ok(Some(batch.column(0).as_primitive::<TimestampMicrosecondType>().value(self.row)));
            }
            (self.batch, self.row) = (self.rows.next_batch()?, 0);
            if self.batch.is_none() {
                return Ok(None);
            }
        }
    }
}

impl<'a> Readings<'a> {
    /// Of these quantities; none given: of all.
    pub(super) fn new(
        reader: &'a Reader,
        plans: &[TypePlan],
        selection: &Selection,
        device_columns: DeviceColumns<'a>,
        wanted: &[String],
    ) -> Result<Self> {
        let all: Vec<(TypePlan, Vec<Value>)> = if wanted.is_empty() {
            plans.iter().map(|plan| (plan.clone(), values(&plan.schema).into_iter().filter(Value::is_number).collect())).collect()
        } else {
            let asked = asked(reader, plans, selection, wanted)?;
            if let Some(value) = asked.iter().flat_map(|asked| &asked.values).find(|value| !value.is_number()) {
                return Err(TableError::Ask(format!("{} has no numbers, and --long is of these alone", value.full())));
            }
            asked.into_iter().map(|Asked { plan, values, .. }| (plan, values)).collect()
        };
        let heads = all.into_iter().filter(|(_, values)| !values.is_empty()).map(|(plan, values)| {
            let event_type = plan.schema.name.clone();
            let rows = reader.own_columns(plan, selection.clone(), &[&["project_id"], &columns(&values)[..]].concat());
            Head { rows, event_type, values, batch: None, row: 0 }
        });
        let text = |name: &str, about: &str| -> FieldRef { Arc::new(field(name, DataType::Utf8, None, about)) };
        let tail = [
            text("quantity", "What was measured."),
            Arc::new(field("value", DataType::Float64, None, "How much, in the unit beside it.")),
            text("unit", "Unit of the value (UCUM)."),
            text("event_type", "Type of the event that told it."),
        ];
        let mut fields: Vec<FieldRef> = vec![
            Arc::new(field("time", time_type(), None, "Time of the event.")),
            text("project_id", "Project of the event."),
            text("device_id", "Device that the event is about."),
        ];
        fields.extend(device_columns.fields(&[&fields[..], &tail].concat()));
        fields.extend(tail);
        Ok(Self { heads: heads.collect(), device_columns, schema: Arc::new(ArrowSchema::new(fields)) })
    }
}

impl Table for Readings<'_> {
    fn name(&self) -> &'static str {
        "readings"
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (mut times, mut numbers) = (TimestampMicrosecondBuilder::new(), Float64Builder::new());
        let mut texts: [StringBuilder; 5] = Default::default();
        while numbers.len() < ROWS {
            let mut next: Option<(Micros, usize)> = None;
            for (place, head) in self.heads.iter_mut().enumerate() {
                next = [next, head.next_time()?.map(|time| (time, place))].into_iter().flatten().min();
            }
            let Some((time, place)) = next else { break };
            let head = &mut self.heads[place];
            let Some(batch) = &head.batch else { break };
            let text = |column: &ArrayRef| {
                let column = column.as_string::<i32>();
                column.is_valid(head.row).then(|| column.value(head.row).to_owned())
            };
            // time, device_id, project_id
            let (device, project) = (text(batch.column(1)), text(batch.column(2)));
            for value in &head.values {
                let Some(column) = batch.column_by_name(value.name()).filter(|column| column.is_valid(head.row)) else {
                    continue;
                };
                let Some(number) = figure(column, head.row) else { continue };
                times.append_value(time);
                numbers.append_value(number);
                let told = [project.as_deref(), device.as_deref(), Some(value.name()), value.unit(), Some(&head.event_type)];
                texts.iter_mut().zip(told).for_each(|(column, text)| column.append_option(text));
            }
            head.row += 1;
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        let times: TimestampMicrosecondArray = times.finish();
        let [projects, devices, quantities, units, types] = texts.map(|mut column| Arc::new(column.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC")), Arc::clone(&projects), Arc::clone(&devices)];
        columns.extend(self.device_columns.columns(&homes(&devices, &projects)));
        columns.extend([quantities, Arc::new(numbers.finish()), units, types]);
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
