//! One row a sample: the readings between two heartbeats, oldest first, event by event.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef};

use crate::reader::{Reader, Rows, Selection, TypePlan};
use crate::schema::{Kind, time_type};

use super::events::People;
use super::{Result, Table, field};

/// Samples of one event type.
pub(super) struct Samples<'a> {
    name: String,
    rows: Rows<'a>,
    people: People<'a>,
    schema: SchemaRef,
    /// The items of a sample by their numbers, its time first.
    items: Vec<usize>,
}

impl<'a> Samples<'a> {
    /// None where events of the type have no list whose items have a time.
    pub(super) fn new(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        people: &People<'a>,
    ) -> Result<Option<Self>> {
        let has_time = |items: &[crate::schema::Column]| items.iter().position(|item| item.kind == Kind::Timestamp);
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
        tail.extend(people.fields(&fields));
        fields.splice(1..1, tail);
        fields.push(Arc::new(field("event_time", time_type(), None, "Time of the event that brought the sample.")));
        fields.push(Arc::new(field("event_id", DataType::Utf8, None, "The event that brought the sample.")));
        let rows = reader.columns(plan, selection, &[&list.name, "event_id"]);
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(Some(Self { name: plan.schema.name.clone(), rows, people: people.clone(), schema, items }))
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
            // time, device_id, the list, event_id
            let list = batch.column(2).as_list::<i32>();
            let Some(values) = list.values().as_struct_opt() else { return Ok(None) };
            let (mut elements, mut rows) = (Vec::new(), Vec::new());
            for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
                let from = list.value_offsets()[row];
                for element in (from..list.value_offsets()[row + 1]).rev() {
                    elements.push(u32::try_from(element).unwrap_or_default());
                    rows.push(number);
                }
            }
            if rows.is_empty() {
                continue;
            }
            let (elements, rows) = (UInt32Array::from(elements), UInt32Array::from(rows));
            let item = |item: usize| take(values.column(item), &elements, None);
            let devices = take(batch.column(1), &rows, None)?;
            let mut columns: Vec<ArrayRef> = vec![item(self.items[0])?, Arc::clone(&devices)];
            let ids = devices.as_string::<i32>();
            columns.extend(self.people.columns(&(0..ids.len()).map(|row| ids.is_valid(row).then(|| ids.value(row)))));
            for number in &self.items[1..] {
                columns.push(item(*number)?);
            }
            columns.push(take(batch.column(0), &rows, None)?);
            columns.push(take(batch.column(3), &rows, None)?);
            return Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
    }
}
