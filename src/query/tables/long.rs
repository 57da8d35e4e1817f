//! One row a device and bucket of the calendar, where there is anything to say.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef};

use crate::base::time::Micros;
use crate::base::zone::Every;
use crate::model::schema::time_type;
use crate::query::reader::{Reader, Selection, TypePlan};

use super::aggregate::Aggregate;
use super::calendar::Calendar;
use super::events::DeviceColumns;
use super::values::Value;
use super::{Ask, Result, Table, field, opened};

/// Rows that are handed on together.
const ROWS: usize = 8 * 1024;
/// What is told of a measure, if nobody says.
const USUAL: [Aggregate; 4] = [Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Count];

/// The buckets of one event type, as `time`, `device_id`, the figures of each value, `event_type`.
pub(super) struct Long<'a> {
    name: String,
    calendar: Calendar<'a>,
    device_columns: DeviceColumns<'a>,
    schema: SchemaRef,
    counts: Vec<bool>,
}

impl<'a> Long<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        device_columns: &DeviceColumns<'a>,
        every: Every,
        (ask, values): (&Ask, &[Value]),
    ) -> Result<Self> {
        let series = opened::series(reader, plan, selection, values, &USUAL, (device_columns.directory, ask))?;
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut counts = Vec::new();
        for told in &series.told {
            for figure in &told.figures {
                let figure_name = figure.name(&told.states);
                // A state tells by its own name what it is.
                let stands_alone = told.value.column.is_none() || (!told.states.is_empty() && series.told.len() == 1);
                let name = if stands_alone { figure_name } else { format!("{}_{figure_name}", told.value.name()) };
                let kind = if figure.is_count() { DataType::Int64 } else { DataType::Float64 };
                let description = figure.description(told.value.name(), &told.states);
                fields.push(Arc::new(field(&name, kind, figure.unit(told.value.unit()), &description)));
                counts.push(figure.is_count());
            }
        }
        let mut all: Vec<FieldRef> = vec![
            Arc::new(field("time", time_type(), None, &format!("Beginning of the bucket ({every}, {}).", ask.zone.name()))),
            Arc::new(field("device_id", DataType::Utf8, None, "Device that the events are about.")),
        ];
        all.extend(device_columns.fields(&fields));
        all.extend(fields);
        all.push(Arc::new(field("event_type", DataType::Utf8, None, "Type of the events.")));
        let calendar = Calendar::new(vec![series], every, selection, ask, false);
        let schema = Arc::new(ArrowSchema::new(all));
        Ok(Self { name: plan.schema.name.clone(), calendar, device_columns: device_columns.clone(), schema, counts })
    }

    /// Whether there is a device that it could tell of.
    pub(super) fn has_devices(&self) -> bool {
        self.calendar.series().iter().any(|series| !series.devices.is_empty())
    }
}

impl Table for Long<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn overflows(&self) -> Vec<(String, u64)> {
        self.calendar.overflows()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let width = self.counts.len();
        let (mut times, mut devices): (Vec<Micros>, Vec<usize>) = (Vec::new(), Vec::new());
        // Of a bucket: a device may be moved in the next one.
        let mut homes: Vec<usize> = Vec::new();
        let mut cells: Vec<Vec<f64>> = vec![Vec::new(); width];
        while times.len() < ROWS
            && let Some(bucket) = self.calendar.next()?
        {
            for (place, device) in bucket.rows[0].devices.iter().enumerate() {
                times.push(bucket.start);
                devices.push(*device);
                homes.push(self.calendar.series()[0].home(*device));
                for (column, value) in cells.iter_mut().zip(&bucket.rows[0].cells[place * width..]) {
                    column.push(*value);
                }
            }
        }
        if times.is_empty() {
            return Ok(None);
        }
        let ids = &self.calendar.series()[0].devices;
        let ids = devices.iter().map(|device| Some(ids[*device].as_str()).filter(|id| !id.is_empty()));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            Arc::new(ids.clone().collect::<StringArray>()),
        ];
        let series = &self.calendar.series()[0];
        let homes = homes.iter().map(|home| series.project(*home));
        columns.extend(self.device_columns.columns(&homes.zip(ids.clone()).map(|(home, id)| Some((home, id?)))));
        columns.extend(cells.into_iter().zip(&self.counts).map(|(cells, is_count)| figures(&cells, *is_count)));
        columns.push(Arc::new(std::iter::repeat_n(Some(self.name.as_str()), devices.len()).collect::<StringArray>()));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

/// A column of figures; NaN is null.
pub(super) fn figures(cells: &[f64], is_count: bool) -> ArrayRef {
    let known = cells.iter().map(|cell| Some(*cell).filter(|cell| !cell.is_nan()));
    #[expect(clippy::cast_possible_truncation, reason = "counts are whole and far below 2^53")]
    let count = |cell: f64| cell as i64;
    if is_count {
        Arc::new(known.map(|cell| cell.map(count)).collect::<Int64Array>())
    } else {
        Arc::new(known.collect::<Float64Array>())
    }
}
