//! One row a time, a column a device: of single events, or of the buckets of a calendar.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType,
};

use crate::devices::Directory;
use crate::reader::{Reader, Rows, Selection, TypePlan};
use crate::schema::time_type;
use crate::time::Micros;
use crate::words;
use crate::zone::Every;

use super::aggregate::Aggregate;
use super::calendar::Calendar;
use super::long::figures;
use super::series::{Series, columns, found};
use super::values::{Value, named};
use super::{Ask, Result, Table, TableError, field};

/// Cells that are handed on together, whatever the number of columns.
const CELLS: usize = 256 * 1024;
/// Columns at most, as many as a sheet of a spreadsheet has: each has a name, a description and cells of its own in memory.
const COLUMNS: usize = 16_384;

/// Refuses a table that is wider than anything could show; `cells` are its columns beside the time.
fn check_width(cells: usize) -> Result<()> {
    let columns = cells + 1;
    if columns <= COLUMNS {
        return Ok(());
    }
    let count = |number: usize| words::count(u64::try_from(number).unwrap_or(u64::MAX));
    Err(TableError::Ask(format!(
        "--wide makes {} columns here, and no spreadsheet has more than {}; choose devices (--device, --label, --device-type), or \
         leave out --wide",
        count(columns),
        count(COLUMNS)
    )))
}

/// The values that were asked for, with the plans of their types, each type once.
fn asked<'a>(plans: &'a [TypePlan], wanted: &[String]) -> Result<Vec<(&'a TypePlan, Vec<Value>)>> {
    if plans.is_empty() {
        // Nothing is selected: an empty table, not a misspelt name.
        return Ok(Vec::new());
    }
    let schemas: Vec<_> = plans.iter().map(|plan| plan.schema.as_ref()).collect();
    let mut by_type: Vec<(&TypePlan, Vec<Value>)> = Vec::new();
    for wanted in wanted {
        let value = named(wanted, &schemas)?;
        let Some(plan) = plans.iter().find(|plan| plan.schema.name == value.event_type) else { continue };
        match by_type.iter_mut().find(|(known, _)| known.schema.name == value.event_type) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => by_type.push((plan, vec![value])),
        }
    }
    Ok(by_type)
}

/// Names of columns: as short as they can be while no two devices share one.
struct Names<'a> {
    directory: &'a Directory,
    people: bool,
    /// How many of the devices have this name.
    shared: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    fn new(directory: &'a Directory, people: bool, devices: &BTreeSet<&str>) -> Self {
        let mut names = Self { directory, people, shared: HashMap::new() };
        for device in devices {
            *names.shared.entry(names.called(device).to_owned()).or_default() += 1;
        }
        names
    }

    fn called<'d>(&'d self, device: &'d str) -> &'d str {
        match if self.people { self.directory.name(device) } else { device } {
            "" => "no device",
            called => called,
        }
    }

    /// Devices in the order of their columns: as people look for them.
    fn in_order<'d>(&self, devices: &'d [String]) -> Vec<(usize, &'d str)> {
        let mut all: Vec<(usize, &str)> = devices.iter().map(String::as_str).enumerate().collect();
        all.sort_by(|a, b| (self.called(a.1), a.1).cmp(&(self.called(b.1), b.1)));
        all
    }

    /// `of` is what the column tells of the device, empty where all columns tell the same.
    fn column(&self, device: &str, of: &str, kind: DataType, unit: Option<&str>, description: &str) -> FieldRef {
        let called = self.called(device);
        // Two devices of one name, or one that is called "time".
        let is_clear = self.shared.get(called) == Some(&1) && called != "time";
        let called = if is_clear { called.to_owned() } else { format!("{called} ({device})") };
        let name = if of.is_empty() { called } else { format!("{called} {of}") };
        let field: Field = field(&name, kind, unit, description);
        let mut about = field.metadata().clone();
        about.insert("device_id".to_owned(), device.to_owned());
        Arc::new(field.with_metadata(about))
    }
}

fn name(wanted: &[String]) -> String {
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
    /// The columns of each device begin here; a value each.
    first_column: HashMap<String, usize>,
    values: Vec<Value>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Head<'_> {
    fn next_time(&mut self) -> Result<Option<Micros>> {
        if self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            (self.batch, self.row) = (self.rows.next_batch()?, 0);
        }
        Ok(self.batch.as_ref().map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().value(self.row)))
    }
}

impl<'a> Wide<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plans: &'a [TypePlan],
        selection: &'a Selection,
        directory: &'a Directory,
        wanted: &[String],
        ask: &Ask,
    ) -> Result<Self> {
        let mut fields: Vec<FieldRef> = vec![Arc::new(field("time", time_type(), None, "Time of the events."))];
        let asked = asked(plans, wanted)?;
        let mut devices: Vec<Vec<String>> = Vec::new();
        for (plan, values) in &asked {
            if values.iter().any(|value| value.column.is_none()) {
                let what = format!("events of type {} have no value; count them with --every", plan.schema.name);
                return Err(TableError::Ask(what));
            }
            devices.push(found(reader, plan, selection, values)?.0.into_iter().collect());
        }
        check_width(asked.iter().zip(&devices).map(|((_, values), devices)| values.len() * devices.len()).sum())?;
        let names = Names::new(directory, ask.names, &devices.iter().flatten().map(String::as_str).collect());
        let mut heads = Vec::new();
        for ((plan, values), devices) in asked.into_iter().zip(&devices) {
            let mut first_column = HashMap::new();
            for (_, device) in names.in_order(devices) {
                first_column.insert(device.to_owned(), fields.len() - 1);
                for value in &values {
                    let kind = plan.schema.arrow().field_with_name(value.name())?.data_type().clone();
                    let of = if wanted.len() == 1 { "" } else { value.name() };
                    let description = value.column.as_ref().map_or("", |(column, _)| &column.description);
                    fields.push(names.column(device, of, kind, value.unit(), description));
                }
            }
            let rows = reader.columns(plan, selection, &columns(&values));
            heads.push(Head { rows, first_column, values, batch: None, row: 0 });
        }
        Ok(Self { name: name(wanted), schema: Arc::new(ArrowSchema::new(fields)), heads })
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
        loop {
            let mut least: Option<(Micros, usize)> = None;
            for (number, head) in self.heads.iter_mut().enumerate() {
                if let Some(time) = head.next_time()?
                    && least.is_none_or(|(other, _)| time < other)
                {
                    least = Some((time, number));
                }
            }
            let Some((time, number)) = least else { break };
            if times.last() != Some(&time) {
                if times.len() == most {
                    break;
                }
                times.push(time);
            }
            let head = &mut self.heads[number];
            let Some(batch) = &head.batch else { break };
            let devices = batch.column(1).as_string::<i32>();
            let device = if devices.is_valid(head.row) { devices.value(head.row) } else { "" };
            let Some(first) = head.first_column.get(device) else {
                head.row += 1;
                continue;
            };
            for (offset, value) in head.values.iter().enumerate() {
                let Some(array) = batch.column_by_name(value.name()).filter(|array| array.is_valid(head.row)) else { continue };
                let column = &mut cells[first + offset];
                column.pad(times.len() - 1);
                // Of two events of one device at one time the first by id stands.
                if column.len() < times.len() {
                    column.push(array, head.row);
                }
            }
            head.row += 1;
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

/// One row a bucket of the calendar, without a hole from the first to the last.
pub(super) struct Buckets<'a> {
    name: String,
    schema: SchemaRef,
    calendar: Calendar<'a>,
    /// The cell of each column.
    order: Vec<usize>,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plans: &'a [TypePlan],
        selection: &'a Selection,
        directory: &'a Directory,
        wanted: &[String],
        every: Every,
        ask: &Ask,
    ) -> Result<Self> {
        let about = format!("Beginning of the bucket ({every}, {}).", ask.zone.name());
        let mut fields: Vec<FieldRef> = vec![Arc::new(field("time", time_type(), None, &about))];
        let mut all = Vec::new();
        for (plan, values) in asked(plans, wanted)? {
            all.push(Series::new(reader, plan, selection, &values, &[Aggregate::Mean], directory, ask)?);
        }
        check_width(all.iter().map(|series| series.width() * series.devices.len()).sum())?;
        let devices = all.iter().flat_map(|series| series.devices.iter().map(String::as_str)).collect();
        let names = Names::new(directory, ask.names, &devices);
        let (mut from, mut order) = (0, Vec::new());
        for series in &all {
            for (number, device) in names.in_order(&series.devices) {
                order.extend((0..series.width()).map(|cell| from + number * series.width() + cell));
                for told in &series.told {
                    for figure in &told.figures {
                        let figure_name = figure.name(&told.states);
                        let of_value = if wanted.len() == 1 { "" } else { told.value.name() };
                        // A state tells by its own name what it is, also the only one.
                        let is_clear = told.figures.len() == 1 && told.states.is_empty();
                        let of_figure = if is_clear { "" } else { &figure_name };
                        let of = [of_value, of_figure].iter().filter(|of| !of.is_empty()).copied().collect::<Vec<_>>().join(" ");
                        let kind = if figure.is_count() { DataType::Int64 } else { DataType::Float64 };
                        let description = figure.description(told.value.name(), &told.states);
                        fields.push(names.column(device, &of, kind, figure.unit(told.value.unit()), &description));
                    }
                }
            }
            from += series.devices.len() * series.width();
        }
        let calendar = Calendar::new(all, every, selection, ask);
        Ok(Self { name: name(wanted), schema: Arc::new(ArrowSchema::new(fields)), calendar, order })
    }
}

impl Table for Buckets<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let width = self.schema.fields().len() - 1;
        let most = (CELLS / (width + 1)).max(16);
        let mut times: Vec<Micros> = Vec::new();
        let mut cells: Vec<Vec<f64>> = vec![Vec::with_capacity(most); width];
        while times.len() < most
            && let Some(bucket) = self.calendar.next()?
        {
            times.push(bucket.start);
            cells.iter_mut().zip(&self.order).for_each(|(column, cell)| column.push(bucket.cells[*cell]));
        }
        if times.is_empty() {
            return Ok(None);
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))];
        let kinds = self.schema.fields().iter().skip(1).map(|field| *field.data_type() == DataType::Int64);
        columns.extend(cells.iter().zip(kinds).map(|(cells, is_count)| figures(cells, is_count)));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
