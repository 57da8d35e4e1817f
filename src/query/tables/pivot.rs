//! One row a bucket of the calendar, a column a device.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema as ArrowSchema, SchemaRef};

use crate::base::time::Micros;
use crate::base::zone::Every;
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::store::devices::Directory;

use super::aggregate::{Aggregate, Statistic};
use super::calendar::Calendar;
use super::columns::{Names, asked, check_width};
use super::long::figures;
use super::wide::{CELLS, name};
use super::{Ask, Result, Table, opened};

/// One row a bucket of the grid, without a hole.
pub(super) struct Buckets<'a> {
    name: String,
    schema: SchemaRef,
    calendar: Calendar<'a>,
    /// By series, device and value: its first column behind the time.
    places: Vec<Vec<Vec<usize>>>,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plans: &[TypePlan],
        selection: &Selection,
        directory: &'a Directory,
        wanted: &[String],
        (every, ask): (Every, &Ask),
    ) -> Result<Self> {
        let asked = asked(reader, plans, selection, wanted)?;
        let mut all = Vec::new();
        for asked in &asked {
            all.push(opened::series(reader, &asked.plan, selection, &asked.values, &[Aggregate::Mean], (directory, ask))?);
        }
        check_width(all.iter().map(|series| series.width() * series.devices.len()).sum())?;
        let about = format!("Beginning of the bucket ({every}, {}).", ask.zone.name());
        let devices: Vec<&[String]> = all.iter().map(|series| series.devices.as_slice()).collect();
        let mut names = Names::new((directory, ask.names), &asked, &devices, &about);
        let mut places: Vec<Vec<Vec<usize>>> =
            all.iter().map(|series| vec![vec![0; series.told.len()]; series.devices.len()]).collect();
        for place in names.in_order(&devices) {
            let told = &all[place.asked].told[place.value];
            places[place.asked][place.device][place.value] = names.fields.len() - 1;
            for figure in &told.figures {
                // A state tells by its own name what it is, also the only one.
                let is_clear = told.figures.len() == 1 && told.states.is_empty();
                let figure_name = if is_clear { String::new() } else { figure.name(&told.states) };
                let description = figure.description(told.value.name(), &told.states);
                let about = (figure.unit(told.value.unit()), description.as_str());
                names.add(&devices[place.asked][place.device], &told.value, &figure_name, kind(figure), about);
            }
        }
        names.add_missing(&devices, |_, value| {
            let told = all.iter().flat_map(|series| &series.told).find(|told| told.value == *value);
            let figure = told.and_then(|told| told.figures.first());
            Ok((figure.map_or(DataType::Float64, kind), format!("{}: no events in the range.", value.name())))
        })?;
        let schema = Arc::new(ArrowSchema::new(names.fields));
        let calendar = Calendar::new(all, every, selection, ask, true);
        Ok(Self { name: name(wanted), schema, calendar, places })
    }
}

fn kind(figure: &Statistic) -> DataType {
    if figure.is_count() { DataType::Int64 } else { DataType::Float64 }
}

impl Table for Buckets<'_> {
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
        let counts: Vec<bool> = self.schema.fields().iter().skip(1).map(|field| *field.data_type() == DataType::Int64).collect();
        let most = (CELLS / (counts.len() + 1)).max(16);
        let mut times: Vec<Micros> = Vec::new();
        let mut cells: Vec<Vec<f64>> = vec![Vec::with_capacity(most); counts.len()];
        while times.len() < most
            && let Some(bucket) = self.calendar.next()?
        {
            let row = times.len();
            times.push(bucket.start);
            // Of a bucket without events there are none; what was measured is not known.
            for (column, is_count) in cells.iter_mut().zip(&counts) {
                column.push(if *is_count { 0.0 } else { f64::NAN });
            }
            for ((rows, places), series) in bucket.rows.iter().zip(&self.places).zip(self.calendar.series()) {
                for (device, mut figures) in rows.devices.iter().zip(rows.cells.chunks(series.width().max(1))) {
                    for (told, place) in series.told.iter().zip(&places[*device]) {
                        let (own, others) = figures.split_at(told.figures.len());
                        figures = others;
                        for (column, value) in cells[*place..].iter_mut().zip(own) {
                            column[row] = *value;
                        }
                    }
                }
            }
        }
        if times.is_empty() {
            return Ok(None);
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))];
        columns.extend(cells.iter().zip(counts).map(|(cells, is_count)| figures(cells, is_count)));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
