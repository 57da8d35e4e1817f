//! Columns in memory: rows of one event type, on their way into a record batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::base::time::Micros;

use super::row::{Row, Slot};
use super::{Column, Kind, Schema};

/// Columns before the typed ones.
pub const FIXED_HEAD: [&str; 3] = ["time", "device_id", "project_id"];
/// Columns behind the typed ones.
pub const FIXED_TAIL: [&str; 5] = ["event_id", "event_type", "received_at", "source", "raw"];

/// Room for so many rows, and so many bytes of text, to begin with: a batch may have many partitions of few rows.
const ROWS: usize = 64;
const TEXT_BYTES: usize = 512;

/// The Arrow type of every time: microseconds in UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow schema of the rows of one event type.
pub(super) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let mut fields = vec![
        Field::new("time", time_type(), false),
        Field::new("device_id", DataType::Utf8, true),
        Field::new("project_id", DataType::Utf8, true),
    ];
    fields.extend(columns.iter().map(field));
    fields.extend([
        Field::new("event_id", DataType::Utf8, false),
        Field::new("event_type", DataType::Utf8, false),
        Field::new("received_at", time_type(), false),
        Field::new("source", DataType::Utf8, false),
        Field::new("raw", DataType::Utf8, true),
    ]);
    Arc::new(ArrowSchema::new(fields))
}

/// The same schema with units and descriptions, for files that leave the program. What the items of a list mean stands
/// with the list's column (`item.temperature.unit`), so that the types are the same with and without.
pub(super) fn described(arrow: &ArrowSchema, columns: &[Column]) -> SchemaRef {
    let about = |name: &str| match name {
        "time" => "Time of the event.",
        "device_id" => "Device that the event is about.",
        "project_id" => "Project of the device.",
        "event_id" => "Id of the event, unique within its type.",
        "event_type" => "Type of the event.",
        "received_at" => "Time at which the recorder received the event.",
        "source" => "Way that the event came by: stream, history, push, import.",
        _ => "The event's JSON, where the columns alone would not give it back.",
    };
    let field = |field: &FieldRef| {
        let mut entries = HashMap::new();
        match columns.iter().find(|column| column.name == *field.name()) {
            Some(column) => describe("", column, &mut entries),
            None => drop(entries.insert("description".to_owned(), about(field.name()).to_owned())),
        }
        field.as_ref().clone().with_metadata(entries)
    };
    Arc::new(ArrowSchema::new(arrow.fields().iter().map(field).collect::<Vec<_>>()))
}

fn describe(prefix: &str, column: &Column, entries: &mut HashMap<String, String>) {
    entries.insert(format!("{prefix}description"), column.description.clone());
    entries.extend(column.unit.iter().map(|unit| (format!("{prefix}unit"), unit.clone())));
    for item in &column.items {
        describe(&format!("item.{}.", item.name), item, entries);
    }
}

/// Rows that carry a column which the schema of their type does not have.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// The column is unknown; dropping it would lose data.
    #[error("column {column:?} of event type {event_type:?} is in no schema; give its folder with --schemas")]
    Unknown {
        /// The column.
        column: String,
        /// The event type.
        event_type: String,
    },
    /// The column has another type than the schema says.
    #[error("column {column:?} of event type {event_type:?} holds {found}, the schema says {expected}")]
    Type {
        /// The column.
        column: String,
        /// The event type.
        event_type: String,
        /// Its type in the rows.
        found: String,
        /// Its type in the schema.
        expected: String,
    },
    /// Arrow refuses the columns.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// Rows of an older version of a schema as rows of the schema: columns that have come since are null.
///
/// # Errors
/// When the rows have a column that the schema lacks or types otherwise.
pub fn conform(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ConformError> {
    let (from, to) = (batch.schema_ref(), &schema.arrow);
    for field in from.fields() {
        let column = || (field.name().clone(), schema.name.clone());
        match to.field_with_name(field.name()) {
            Err(_) => {
                let (column, event_type) = column();
                return Err(ConformError::Unknown { column, event_type });
            }
            Ok(known) if !grows_into(field.data_type(), known.data_type()) => {
                let (column, event_type) = column();
                let (found, expected) = (field.data_type().to_string(), known.data_type().to_string());
                return Err(ConformError::Type { column, event_type, found, expected });
            }
            Ok(_) => {}
        }
    }
    let arrays = to.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
        Some(array) => grown(array, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::clone(to), arrays.collect::<Result<_, _>>()?)?)
}

/// True when values of one type are values of the other: the same, or a list whose items have become more.
fn grows_into(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::List(from), DataType::List(to)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) => from
                .iter()
                .all(|item| to.iter().any(|known| known.name() == item.name() && known.data_type() == item.data_type())),
            (from, to) => from == to,
        },
        (from, to) => from == to,
    }
}

/// A list whose items get those that have come since; they are null.
fn grown(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let (Some(list), DataType::List(element)) = (array.as_list_opt::<i32>(), to) else {
        return Err(ArrowError::SchemaError(format!("{} is no {to}", array.data_type())));
    };
    let (Some(items), DataType::Struct(fields)) = (list.values().as_struct_opt(), element.data_type()) else {
        return Err(ArrowError::SchemaError(format!("{} is no {to}", array.data_type())));
    };
    let values = fields.iter().map(|field| match items.column_by_name(field.name()) {
        Some(array) => Arc::clone(array),
        None => new_null_array(field.data_type(), items.len()),
    });
    let items = StructArray::try_new_with_length(fields.clone(), values.collect(), items.nulls().cloned(), items.len())?;
    let list = ListArray::try_new(Arc::clone(element), list.offsets().clone(), Arc::new(items), list.nulls().cloned())?;
    Ok(Arc::new(list))
}

/// Rows of a schema, to be written as such: those of an older version are read anew.
///
/// # Errors
/// When the rows have a column that the schema lacks or types otherwise.
pub fn brought_up(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ConformError> {
    let same = |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && a.data_type() == b.data_type();
    let (from, to) = (batch.schema_ref().fields(), schema.arrow.fields());
    if from.len() == to.len() && from.iter().zip(to).all(same) { conform(batch, schema) } else { reread(batch, schema) }
}

/// Rows as the schema of today reads them: columns that have come since are filled from `raw`, where that holds the event.
/// Time and id of a row stay what they are.
///
/// # Errors
/// When the rows have a column that the schema lacks or types otherwise.
pub fn reread(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ConformError> {
    let old = conform(batch, schema)?;
    let texts = |name: &str| old.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).cloned();
    let times =
        |name: &str| old.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()).cloned();
    let (Some(raw), Some(ids), Some(sources)) = (texts("raw"), texts("event_id"), texts("source")) else { return Ok(old) };
    let (Some(time), Some(received_at)) = (times("time"), times("received_at")) else { return Ok(old) };
    let (mut row, mut columns, mut picked) = (Row::default(), Columns::new(schema), Vec::with_capacity(old.num_rows()));
    for at in 0..old.num_rows() {
        let text = if raw.is_null(at) { None } else { Some(raw.value(at)) };
        let same = |row: &Row, text: &str| row.time == time.value(at) && row.text(row.id, text) == Some(ids.value(at));
        match text {
            Some(text) if row.read(schema, text).is_ok() && same(&row, text) => {
                picked.push((1, columns.rows()));
                columns.push(&row, text, received_at.value(at), sources.value(at));
            }
            _ => picked.push((0, at)),
        }
    }
    if columns.rows() == 0 {
        return Ok(old);
    }
    Ok(interleave_record_batch(&[&old, &columns.finish()?], &picked)?)
}

fn field(column: &Column) -> Field {
    Field::new(&column.name, data_type(column), true)
}

fn data_type(column: &Column) -> DataType {
    match column.kind {
        Kind::String | Kind::Json => DataType::Utf8,
        Kind::Bool => DataType::Boolean,
        Kind::Int64 => DataType::Int64,
        Kind::Float64 => DataType::Float64,
        Kind::Timestamp => time_type(),
        Kind::List => DataType::List(element(column)),
    }
}

/// The element field of a list: a plain value, or a struct of the items.
fn element(column: &Column) -> FieldRef {
    let kind = if column.is_plain_list() {
        data_type(&column.items[0])
    } else {
        DataType::Struct(column.items.iter().map(field).collect())
    };
    // The name that the Parquet format asks for.
    Arc::new(Field::new("element", kind, true))
}

/// Rows of one event type, growing.
#[derive(Debug)]
pub struct Columns {
    schema: Arc<Schema>,
    time: TimestampMicrosecondBuilder,
    device_id: StringBuilder,
    project_id: StringBuilder,
    typed: Vec<Builder>,
    event_id: StringBuilder,
    event_type: StringBuilder,
    received_at: TimestampMicrosecondBuilder,
    source: StringBuilder,
    raw: StringBuilder,
    rows: usize,
}

impl Columns {
    /// No rows yet.
    pub fn new(schema: &Arc<Schema>) -> Self {
        Self {
            typed: schema.columns.iter().map(Builder::new).collect(),
            schema: Arc::clone(schema),
            time: time_builder(),
            device_id: text_builder(),
            project_id: text_builder(),
            event_id: text_builder(),
            event_type: text_builder(),
            received_at: time_builder(),
            source: text_builder(),
            raw: text_builder(),
            rows: 0,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the event that the row was read from.
    pub fn push(&mut self, row: &Row, event: &str, received_at: Micros, source: &str) {
        self.time.append_value(row.time);
        self.device_id.append_option(row.text(row.device, event));
        self.project_id.append_option(row.text(row.project, event));
        for (builder, slot) in self.typed.iter_mut().zip(&row.slots) {
            builder.push(*slot, row, event);
        }
        self.event_id.append_option(row.text(row.id, event));
        self.event_type.append_value(&self.schema.name);
        self.received_at.append_value(received_at);
        self.source.append_value(source);
        self.raw.append_option((!row.whole).then_some(event));
        self.rows += 1;
    }

    /// The rows as a batch, in the order in which they came.
    ///
    /// # Errors
    /// When Arrow refuses the columns, which would be a fault of this file.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(self.time.finish()), Arc::new(self.device_id.finish()), Arc::new(self.project_id.finish())];
        for (builder, column) in self.typed.iter_mut().zip(&self.schema.columns) {
            arrays.push(builder.finish(column)?);
        }
        arrays.push(Arc::new(self.event_id.finish()));
        arrays.push(Arc::new(self.event_type.finish()));
        arrays.push(Arc::new(self.received_at.finish()));
        arrays.push(Arc::new(self.source.finish()));
        arrays.push(Arc::new(self.raw.finish()));
        RecordBatch::try_new(Arc::clone(&self.schema.arrow), arrays)
    }
}

fn time_builder() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(ROWS).with_timezone("UTC")
}

fn text_builder() -> StringBuilder {
    StringBuilder::with_capacity(ROWS, TEXT_BYTES)
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Time(TimestampMicrosecondBuilder),
    List { ends: Vec<i32>, valid: NullBufferBuilder, items: Vec<Builder> },
}

impl Builder {
    fn new(column: &Column) -> Self {
        match column.kind {
            Kind::String | Kind::Json => Self::Text(text_builder()),
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(ROWS)),
            Kind::Int64 => Self::Int(Int64Builder::with_capacity(ROWS)),
            Kind::Float64 => Self::Float(Float64Builder::with_capacity(ROWS)),
            Kind::Timestamp => Self::Time(time_builder()),
            Kind::List => Self::List {
                ends: vec![0],
                valid: NullBufferBuilder::new(0),
                items: column.items.iter().map(Self::new).collect(),
            },
        }
    }

    fn push(&mut self, slot: Slot, row: &Row, event: &str) {
        match (self, slot) {
            (Self::Text(text), slot) => text.append_option(row.text(slot, event)),
            (Self::Bool(values), slot) => values.append_option(if let Slot::Bool(value) = slot { Some(value) } else { None }),
            (Self::Int(values), slot) => values.append_option(if let Slot::Int(value) = slot { Some(value) } else { None }),
            (Self::Float(values), slot) => values.append_option(if let Slot::Float(value) = slot { Some(value) } else { None }),
            (Self::Time(values), slot) => values.append_option(if let Slot::Time(value) = slot { Some(value) } else { None }),
            (Self::List { ends, valid, items }, slot) => {
                let last = ends.last().copied().unwrap_or_default();
                let mut rows = 0;
                if let Slot::List(start, slots) = slot {
                    let width = items.len();
                    for (index, value) in row.items[start..start + slots].iter().enumerate() {
                        items[index % width].push(*value, row, event);
                    }
                    rows = i32::try_from(slots / width).unwrap_or(i32::MAX);
                    valid.append_non_null();
                } else {
                    valid.append_null();
                }
                ends.push(last + rows);
            }
        }
    }

    fn finish(&mut self, column: &Column) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(values) => Arc::new(values.finish()),
            Self::Bool(values) => Arc::new(values.finish()),
            Self::Int(values) => Arc::new(values.finish()),
            Self::Float(values) => Arc::new(values.finish()),
            Self::Time(values) => Arc::new(values.finish()),
            Self::List { ends, valid, items } => {
                let length = usize::try_from(ends.last().copied().unwrap_or_default()).unwrap_or_default();
                let arrays: Vec<ArrayRef> =
                    items.iter_mut().zip(&column.items).map(|(item, of)| item.finish(of)).collect::<Result<_, _>>()?;
                let element = element(column);
                let values: ArrayRef = match element.data_type() {
                    DataType::Struct(fields) => {
                        let fields: Fields = fields.clone();
                        Arc::new(StructArray::try_new_with_length(fields, arrays, None, length)?)
                    }
                    _ => arrays.into_iter().next().ok_or_else(|| ArrowError::SchemaError("a list without items".into()))?,
                };
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let nulls: Option<NullBuffer> = valid.finish();
                Arc::new(ListArray::try_new(element, offsets, values, nulls)?)
            }
        })
    }
}
