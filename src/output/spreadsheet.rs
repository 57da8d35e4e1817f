//! A spreadsheet for people: a sheet a topic, what matters most first, with names and rooms, units in the head, and nothing that is
//! for programs alone; and what to say about all of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema as ArrowSchema, SchemaRef};

use crate::base::text;
use crate::base::time::{DAY, Micros};
use crate::base::zone::{Buckets, Every, Zone};
use crate::model::unit::written;
use crate::output::export::{self, ExportError, Exported, Format, Output, Partition, Settings};
use crate::query::coverage::{GapState, Timeline};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::query::tables::{self, Ask, Shape, Table, TableError, Topic, devices_of, told, topics, words};
use crate::store::devices::Directory;

type Result<T> = std::result::Result<T, TableError>;

/// The label that has a column where any device has it.
const ROOM: &str = "room";
/// Columns that are for programs.
const TECHNICAL: [&str; 9] =
    ["device_id", "project_id", "event_id", "event_type", "event_time", "received_at", "source", "raw", "is_backfilled"];

/// What a spreadsheet is of.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Reads the recording.
    pub reader: &'a Reader,
    /// Knows its devices.
    pub directory: &'a Directory,
    /// Which events.
    pub selection: &'a Selection,
    /// Of which event types.
    pub plans: &'a [TypePlan],
    /// In which shape.
    pub ask: &'a Ask,
}

/// Exports a spreadsheet, or one a month. `made` is when and how; `progress` hears of rows that were read.
///
/// # Errors
/// When the recording does not read, what is asked for does not go together, or the output cannot be written.
pub fn export(
    scope: &Scope<'_>,
    settings: &Settings,
    made: (Micros, &str),
    mut progress: impl FnMut(u64),
) -> std::result::Result<Exported, ExportError> {
    let Scope { reader, plans, selection, ask, .. } = *scope;
    let (Partition::Month, Output::Directory(folder)) = (settings.partition, &settings.output) else {
        return one(scope, settings, made, progress);
    };
    let mut months = Buckets::new(settings.zone.clone(), Every::Months(1));
    let days = plans.iter().flat_map(|plan| &plan.partitions).map(|part| part.day);
    let months: BTreeSet<_> = days.flat_map(|day| [months.of(day.start()), months.of(day.end() - 1)]).collect();
    let mut all = Exported::default();
    for (start, end) in months {
        let name = format!("{}.{}", settings.zone.format(start, "%Y-%m"), settings.format.extension());
        let (start, end) = (selection.start.map_or(start, |own| own.max(start)), selection.end.map_or(end, |own| own.min(end)));
        let selection = Selection { start: Some(start), end: Some(end), ..selection.clone() };
        let plans = if ask.every.is_some() {
            tables::plans(reader, &selection, ask.fill)
        } else {
            reader.plan(&selection).map_err(Into::into)
        };
        let plans = plans?;
        if start >= end || plans.iter().all(|plan| plan.partitions.is_empty()) {
            continue;
        }
        let scope = Scope { selection: &selection, plans: &plans, ..*scope };
        let settings = Settings { output: Output::File(folder.join(name)), ..settings.clone() };
        let before = reader.rows_read();
        let month = one(&scope, &settings, made, |_| {})?;
        progress(reader.rows_read() - before);
        all.files.extend(month.files);
        for (name, rows) in month.rows {
            *all.rows.entry(name).or_default() += rows;
        }
        for (name, times) in month.overflows {
            *all.overflows.entry(name).or_default() += times;
        }
    }
    Ok(all)
}

fn one(
    scope: &Scope<'_>,
    settings: &Settings,
    made: (Micros, &str),
    progress: impl FnMut(u64),
) -> std::result::Result<Exported, ExportError> {
    let settings = Settings {
        offsets: changes_clock(&settings.zone, scope),
        about: Some(about(scope, &settings.zone, made)?),
        ..settings.clone()
    };
    export::export(scope.reader, sheets(scope, settings.format == Format::Csv)?, &settings, progress)
}

/// Whether clocks are changed within what is exported, so that an hour comes twice.
fn changes_clock(zone: &Zone, scope: &Scope<'_>) -> bool {
    let mut days: BTreeSet<Micros> = scope.plans.iter().flat_map(|plan| &plan.partitions).map(|part| part.day.start()).collect();
    days.extend(days.last().map(|last| last.saturating_add(DAY)));
    let (start, end) = (scope.selection.start.unwrap_or(Micros::MIN), scope.selection.end.unwrap_or(Micros::MAX));
    let mut zone = zone.clone();
    days.into_iter().map(|day| zone.offset(day.max(start).min(end))).collect::<BTreeSet<_>>().len() > 1
}

/// The tables of a spreadsheet that have any rows. Where `is_one` is true, all of them share the columns of one sheet.
fn sheets<'a>(scope: &Scope<'a>, is_one: bool) -> Result<Vec<Box<dyn Table + 'a>>> {
    let Scope { reader, directory, selection, plans, ask } = *scope;
    let has_rooms = directory.iter().any(|(_, known)| known.labels.contains_key(ROOM));
    let mut labels = ask.labels.clone();
    if has_rooms && !labels.iter().any(|label| label == ROOM) {
        labels.insert(0, ROOM.to_owned());
    }
    let ask = Ask { names: true, labels, ..ask.clone() };
    let mut all: Vec<Box<dyn Table + 'a>> = Vec::new();
    let mut add = |title: String, table: Box<dyn Table + 'a>, prefix: &str| -> Result<()> {
        all.extend(ForPeople::new(title, table, &ask.labels, prefix)?.map(|table| Box::new(table) as Box<dyn Table + 'a>));
        Ok(())
    };
    match &ask.shape {
        Shape::Wide(wanted) => {
            let together = if is_one { wanted.len() } else { 1 };
            for wanted in wanted.chunks(together.max(1)).map(<[String]>::to_vec) {
                let title = Topic { name: wanted.join("+"), values: Vec::new() }.title();
                for table in
                    tables::tables(reader, plans, selection, directory, &Ask { shape: Shape::Wide(wanted), ..ask.clone() })?
                {
                    add(title.clone(), table, "")?;
                }
            }
        }
        _ => {
            for topic in topics(plans.iter().map(|plan| plan.schema.as_ref())) {
                if let Some(table) = told(reader, plans, selection, (directory, &ask), &topic)? {
                    // In one sheet, a column says by itself what it is of.
                    let is_clear = !is_one || ask.every.is_none() || topic.values.iter().any(|value| value.name() == topic.name);
                    let prefix = if is_clear { String::new() } else { format!("{} ", words(&topic.name)) };
                    add(topic.title(), table, &prefix)?;
                }
            }
        }
    }
    Ok(all)
}

/// A table as people read it.
struct ForPeople<'a> {
    title: String,
    table: Box<dyn Table + 'a>,
    /// The columns of the table that are left.
    columns: Vec<usize>,
    schema: SchemaRef,
    first: Option<RecordBatch>,
}

impl<'a> ForPeople<'a> {
    /// None where the table has no rows.
    fn new(title: String, mut table: Box<dyn Table + 'a>, labels: &[String], prefix: &str) -> Result<Option<Self>> {
        let Some(first) = table.next_batch()? else { return Ok(None) };
        let all = table.schema();
        let is_told = |field: &Field| {
            !TECHNICAL.contains(&field.name().as_str()) && !matches!(field.data_type(), DataType::List(_) | DataType::Struct(_))
        };
        let columns: Vec<usize> = (0..all.fields().len()).filter(|column| is_told(all.field(*column))).collect();
        let fields: Vec<FieldRef> = columns.iter().map(|column| Arc::new(head(all.field(*column), labels, prefix))).collect();
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(Some(Self { title, table, columns, schema, first: Some(first) }))
    }
}

/// The head of a column, with its unit.
fn head(field: &Field, labels: &[String], prefix: &str) -> Field {
    let unit = field.metadata().get("unit").map(|unit| written(unit)).filter(|unit| !unit.is_empty());
    let name = match field.name().as_str() {
        "device_name" => "sensor".to_owned(),
        // Called by a device.
        name if field.metadata().contains_key("device_id") => name.to_owned(),
        "time" => "time".to_owned(),
        name if labels.iter().any(|label| label == name) => name.to_owned(),
        name => format!("{prefix}{}", words(name)),
    };
    // Seconds in a state say so.
    let unit = unit.filter(|_| !name.ends_with(" seconds"));
    let name = unit.map_or_else(|| name.clone(), |unit| format!("{name} ({unit})"));
    Field::new(name, field.data_type().clone(), true)
}

impl Table for ForPeople<'_> {
    fn name(&self) -> &str {
        &self.title
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn is_in_time_order(&self) -> bool {
        self.table.is_in_time_order()
    }

    fn overflows(&self) -> Vec<(String, u64)> {
        self.table.overflows()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.first.take() {
            Some(first) => Some(first),
            None => self.table.next_batch()?,
        };
        let Some(batch) = batch else { return Ok(None) };
        let columns = self.columns.iter().map(|column| rounded(batch.column(*column))).collect();
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

/// Numbers to three decimals, those below one to six.
fn rounded(column: &ArrayRef) -> ArrayRef {
    let round = |value: f64| {
        let power = if value.abs() < 1.0 { 1e6 } else { 1e3 };
        let scaled = value * power;
        if scaled.abs() < 1e15 { scaled.round() / power } else { value }
    };
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Arc::new(values.iter().map(|value| value.map(round)).collect::<Float64Array>())
        }
        _ => Arc::clone(column),
    }
}

/// What to say about it: what it is, and what is missing.
fn about(scope: &Scope<'_>, zone: &Zone, (now, made): (Micros, &str)) -> Result<Vec<(String, String)>> {
    /// Gaps that are told one by one.
    const MOST: usize = 50;
    let Scope { reader, selection, plans, .. } = *scope;
    let clock = |time: Micros| zone.format(time, "%Y-%m-%d %H:%M:%S");
    let span = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    let seen = reader.first_and_last(span)?;
    let mut all: Vec<(&str, String)> = Vec::new();
    let from = selection.start.or(seen.map(|seen| seen.0));
    let to = selection.end.or(seen.map(|seen| seen.1));
    all.push(("From", from.map_or_else(|| "no events".to_owned(), clock)));
    all.push(("To", to.map_or_else(|| "no events".to_owned(), clock)));
    all.push(("Times", format!("of {}", zone.name())));
    let devices = devices_of(reader, plans, selection)?.into_iter().filter(|device| !device.is_empty()).count();
    all.push(("Sensors", text::count(devices as u64)));
    let time =
        reader.view().map(|view| Timeline::read(view, None, now)).transpose().map_err(crate::query::reader::ReadError::from)?;
    let gaps: Vec<String> = time
        .iter()
        .flat_map(|time| &time.projects)
        .flat_map(|project| &project.gaps)
        .filter(|gap| {
            gap.state != GapState::Filled && gap.span.0 < to.unwrap_or(Micros::MAX) && gap.span.1 > from.unwrap_or(Micros::MIN)
        })
        .map(|gap| format!("{} to {}: nobody heard, and it is {}", clock(gap.span.0), clock(gap.span.1), gap.state.name()))
        .collect();
    let complete = match gaps.len() {
        0 => "No gap is known in this time.".to_owned(),
        many => format!("{} in this time, in which something may be missing:", text::counted(many as u64, "gap")),
    };
    all.push(("Complete?", complete));
    for gap in gaps.iter().take(MOST) {
        all.push(("", gap.clone()));
    }
    if gaps.len() > MOST {
        all.push(("", format!("and {} more", text::count((gaps.len() - MOST) as u64))));
    }
    all.push(("Values", "Rounded to three decimals. Empty cells: nothing was told.".to_owned()));
    all.push(("Made", format!("{}, with {made}", clock(now))));
    Ok(all.into_iter().map(|(what, said)| (what.to_owned(), said)).collect())
}
