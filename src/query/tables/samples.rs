//! One row a sample: the readings between two heartbeats, oldest first, event by event. A range has the samples whose own times
//! lie in it, whenever the event was that brought them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};

use crate::base::time::Micros;
use crate::model::schema::{Kind, time_type};
use crate::query::reader::{Reader, Rows, Selection, TypePlan};

use super::events::{DeviceColumns, homes};
use super::{Result, Table, field};

/// Samples of one event type.
pub(super) struct Samples<'a> {
    name: String,
    rows: Rows<'a>,
    device_columns: DeviceColumns<'a>,
    schema: SchemaRef,
    /// The items of a sample by their numbers, its time first.
    items: Vec<usize>,
    /// The range of their times.
    start: Option<Micros>,
    end: Option<Micros>,
}

impl<'a> Samples<'a> {
    /// None where events of the type have no list whose items have a time.
    pub(super) fn new(
        reader: &'a Reader,
        plan: &TypePlan,
        selection: &Selection,
        device_columns: &DeviceColumns<'a>,
    ) -> Result<Option<Self>> {
        let has_time = |items: &[crate::model::schema::Column]| items.iter().position(|item| item.kind == Kind::Timestamp);
        let mut lists = plan.schema.columns.iter().filter(|column| column.kind == Kind::List);
        let Some((list, time)) = lists.find_map(|list| Some((list, has_time(&list.items)?))) else { return Ok(None) };
        let numbers = 0..list.items.len();
        let items: Vec<usize> = std::iter::once(time).chain(numbers.filter(|item| *item != time)).collect();
        let list_field = plan.schema.arrow().field_with_name(&list.name)?;
        let DataType::List(element) = list_field.data_type() else { return Ok(None) };
        let DataType::Struct(kinds) = element.data_type() else { return Ok(None) };
        let mut fields: Vec<FieldRef> = Vec::new();
        for item in &items {
            let (column, kind) = (&list.items[*item], kinds[*item].data_type().clone());
            fields.push(Arc::new(field(
                if *item == time { "time" } else { &column.name },
                kind,
                column.unit.as_deref(),
                &column.description,
            )));
        }
        let mut tail: Vec<FieldRef> = vec![Arc::new(field("device_id", DataType::Utf8, None, "Device that the event is about."))];
        tail.extend(device_columns.fields(&fields));
        fields.splice(1..1, tail);
        fields.push(Arc::new(field("event_time", time_type(), None, "Time of the event that brought the sample.")));
        fields.push(Arc::new(field("event_id", DataType::Utf8, None, "The event that brought the sample.")));
        let any_time = Selection { start: None, end: None, ..selection.clone() };
        let rows = reader.own_columns(plan.clone(), any_time, &["project_id", &list.name, "event_id"]);
        let schema = Arc::new(ArrowSchema::new(fields));
        let (start, end) = (selection.start, selection.end);
        Ok(Some(Self { name: plan.schema.name.clone(), rows, device_columns: device_columns.clone(), schema, items, start, end }))
    }
}

impl Table for Samples<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn is_in_time_order(&self) -> bool {
        false
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batch) = self.rows.next_batch()? else { return Ok(None) };
            // time, device_id, project_id, the list, event_id
            let list = batch.column(3).as_list::<i32>();
            let Some(values) = list.values().as_struct_opt() else { return Ok(None) };
            let times = values.column(self.items[0]).as_primitive::<TimestampMicrosecondType>();
            let has_range = self.start.is_some() || self.end.is_some();
            let is_within = |element: usize| {
                let time = times.is_valid(element).then(|| times.value(element));
                !has_range
                    || time
                        .is_some_and(|time| self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time < end))
            };
            let (mut elements, mut rows) = (Vec::new(), Vec::new());
            for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
                let from = list.value_offsets()[row];
                for element in (from..list.value_offsets()[row + 1]).rev() {
                    let element = u32::try_from(element).unwrap_or_default();
                    if is_within(element as usize) {
                        elements.push(element);
                        rows.push(number);
                    }
                }
            }
            if rows.is_empty() {
                continue;
            }
            let (elements, rows) = (UInt32Array::from(elements), UInt32Array::from(rows));
            let item = |item: usize| take(values.column(item), &elements, None);
            let devices = take(batch.column(1), &rows, None)?;
            let mut columns: Vec<ArrayRef> = vec![item(self.items[0])?, Arc::clone(&devices)];
            let projects = take(batch.column(2), &rows, None)?;
            columns.extend(self.device_columns.columns(&homes(&devices, &projects)));
            for number in &self.items[1..] {
                columns.push(item(*number)?);
            }
            columns.push(take(batch.column(0), &rows, None)?);
            columns.push(take(batch.column(4), &rows, None)?);
            return Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
    }
}
