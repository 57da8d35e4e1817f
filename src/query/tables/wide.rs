//! One row a time of an event, a column a device.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType};

use crate::base::time::Micros;
use crate::query::reader::{Reader, Rows, Selection, TypePlan};
use crate::store::devices::Directory;

use super::columns::{Asked, Names, asked, check_width};
use super::loaded::{columns, found};
use super::values::Value;
use super::{Ask, Result, Table, TableError};

/// Cells that are handed on together, whatever the number of columns.
pub(super) const CELLS: usize = 256 * 1024;

pub(super) fn name(wanted: &[String]) -> String {
    wanted.join("+")
}

/// One row a time of an event.
pub(super) struct Wide<'a> {
    name: String,
    schema: SchemaRef,
    heads: Vec<Head<'a>>,
}

/// One type on its way into the join.
struct Head<'a> {
    rows: Rows<'a>,
    /// By device: the column of each value.
    places: HashMap<String, Vec<usize>>,
    values: Vec<Value>,
    /// The batch, and the columns of the values in it.
    batch: Option<(RecordBatch, Vec<Option<ArrayRef>>)>,
    row: usize,
}

impl Head<'_> {
    /// The time of the next row that has a value.
    fn next_time(&mut self) -> Result<Option<Micros>> {
        loop {
            if let Some((batch, columns)) = &self.batch {
                let says = |row: usize| columns.iter().flatten().any(|column| column.is_valid(row));
                while self.row < batch.num_rows() && !says(self.row) {
                    self.row += 1;
                }
                if self.row < batch.num_rows() {
                    return Ok(Some(batch.column(0).as_primitive::<TimestampMicrosecondType>().value(self.row)));
                }
            }
            let Some(batch) = self.rows.next_batch()? else { return Ok(None) };
            let columns = self.values.iter().map(|value| batch.column_by_name(value.name()).cloned()).collect();
            (self.batch, self.row) = (Some((batch, columns)), 0);
        }
    }
}

impl<'a> Wide<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plans: &[TypePlan],
        selection: &Selection,
        directory: &'a Directory,
        wanted: &[String],
        ask: &Ask,
    ) -> Result<Self> {
        let asked = asked(reader, plans, selection, wanted)?;
        let mut devices: Vec<Vec<String>> = Vec::new();
        for asked in &asked {
            if asked.values.iter().any(|value| value.column.is_none()) {
                let what = format!("events of type {} have no value; count them with --every", asked.plan.schema.name);
                return Err(TableError::Ask(what));
            }
            devices.push(found(reader, &asked.plan, selection, &asked.values)?.0.into_iter().collect());
        }
        check_width(asked.iter().zip(&devices).map(|(asked, devices)| asked.values.len() * devices.len()).sum())?;
        let devices: Vec<&[String]> = devices.iter().map(Vec::as_slice).collect();
        let mut names = Names::new((directory, ask.names), &asked, &devices, "Time of the events.");
        let kind = |asked: &Asked, value: &Value| -> Result<(DataType, String)> {
            let description = value.column.as_ref().map_or_else(String::new, |(column, _)| column.description.clone());
            Ok((asked.plan.schema.arrow().field_with_name(value.name())?.data_type().clone(), description))
        };
        let mut places: Vec<HashMap<String, Vec<usize>>> = asked.iter().map(|_| HashMap::new()).collect();
        for place in names.in_order(&devices) {
            let (device, asked) = (&devices[place.asked][place.device], &asked[place.asked]);
            let of_device = places[place.asked].entry(device.clone()).or_insert_with(|| vec![0; asked.values.len()]);
            of_device[place.value] = names.fields.len() - 1;
            let value = &asked.values[place.value];
            let (kind, description) = kind(asked, value)?;
            names.add(device, value, "", kind, (value.unit(), &description));
        }
        names.add_missing(&devices, kind)?;
        let schema = Arc::new(ArrowSchema::new(names.fields));
        let mut heads = Vec::new();
        for (asked, places) in asked.into_iter().zip(places) {
            let rows = reader.own_columns(asked.plan, selection.clone(), &columns(&asked.values));
            heads.push(Head { rows, places, values: asked.values, batch: None, row: 0 });
        }
        Ok(Self { name: name(wanted), schema, heads })
    }
}

/// A column that grows.
enum Growing {
    Float(Float64Builder),
    Int(Int64Builder),
    Text(StringBuilder),
    Bool(BooleanBuilder),
}

impl Growing {
    /// For so many rows.
    fn new(kind: &DataType, rows: usize) -> Self {
        match kind {
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(rows)),
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(rows)),
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(rows)),
            _ => Self::Text(StringBuilder::with_capacity(rows, 0)),
        }
    }

    fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match self {
            Self::Float(column) => column.len(),
            Self::Int(column) => column.len(),
            Self::Text(column) => column.len(),
            Self::Bool(column) => column.len(),
        }
    }

    /// Nulls until the column is so long.
    fn pad(&mut self, to: usize) {
        let by = to.saturating_sub(self.len());
        match self {
            Self::Float(column) => column.append_nulls(by),
            Self::Int(column) => column.append_nulls(by),
            Self::Text(column) => column.append_nulls(by),
            Self::Bool(column) => column.append_nulls(by),
        }
    }

    fn push(&mut self, array: &ArrayRef, row: usize) {
        match self {
            Self::Float(column) => column.append_value(array.as_primitive::<Float64Type>().value(row)),
            Self::Int(column) => column.append_value(array.as_primitive::<Int64Type>().value(row)),
            Self::Text(column) => column.append_value(array.as_string::<i32>().value(row)),
            Self::Bool(column) => column.append_value(array.as_boolean().value(row)),
        }
    }

    fn finish(mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        match self {
            Self::Float(mut column) => Arc::new(column.finish()),
            Self::Int(mut column) => Arc::new(column.finish()),
            Self::Text(mut column) => Arc::new(column.finish()),
            Self::Bool(mut column) => Arc::new(column.finish()),
        }
    }
}

impl Table for Wide<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let most = (CELLS / self.schema.fields().len()).max(16);
        let mut times: Vec<Micros> = Vec::new();
        let fields = self.schema.fields().iter().skip(1);
        let mut cells: Vec<Growing> = fields.map(|field| Growing::new(field.data_type(), most)).collect();
        // Cells of one time, in the order of the events.
        let mut told: Vec<(usize, ArrayRef, usize)> = Vec::new();
        while times.len() < most {
            let Some(time) = self.heads.iter_mut().try_fold(None, |least: Option<Micros>, head| -> Result<_> {
                Ok([least, head.next_time()?].into_iter().flatten().min())
            })?
            else {
                break;
            };
            for head in &mut self.heads {
                while head.next_time()? == Some(time) {
                    let Some((batch, columns)) = &head.batch else { break };
                    let devices = batch.column(1).as_string::<i32>();
                    let device = if devices.is_valid(head.row) { devices.value(head.row) } else { "" };
                    if let Some(places) = head.places.get(device) {
                        let known = columns.iter().enumerate().filter_map(|(place, array)| Some((place, array.as_ref()?)));
                        let known = known.filter(|(_, array)| array.is_valid(head.row));
                        told.extend(known.map(|(place, array)| (places[place], Arc::clone(array), head.row)));
                    }
                    head.row += 1;
                }
            }
            // A device that came meanwhile has no column.
            if told.is_empty() {
                continue;
            }
            times.push(time);
            // Of two events of one device at one time the last by id stands.
            for (column, array, row) in told.drain(..).rev() {
                cells[column].pad(times.len() - 1);
                if cells[column].len() < times.len() {
                    cells[column].push(&array, row);
                }
            }
        }
        if times.is_empty() {
            return Ok(None);
        }
        let rows = times.len();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))];
        columns.extend(cells.into_iter().map(|column| column.finish(rows)));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
