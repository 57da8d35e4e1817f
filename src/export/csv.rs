//! CSV as RFC 4180 has it: a header, quotes where they must be, lines end in `\n`. Lists and JSON stand as JSON text.
//!
//! Several event types in one file share the columns of the same name; `event_type` tells them apart.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::json::{write_float, write_int, write_string};
use crate::schema::{FIXED_HEAD, FIXED_TAIL, Schema};
use crate::time::write_rfc3339;

use super::{Out, Result, Sink};

/// Written out when so much has come together, in bytes.
const CHUNK: usize = 256 * 1024;

pub(super) struct Csv<'a> {
    names: Vec<String>,
    open: Vec<Vec<Option<Cells>>>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    out: Out<'a>,
}

impl<'a> Csv<'a> {
    pub(super) fn new(schemas: &[Arc<Schema>], mut out: Out<'a>) -> Result<Self> {
        let mut names: Vec<String> = FIXED_HEAD.map(str::to_owned).to_vec();
        for column in schemas.iter().flat_map(|schema| &schema.columns) {
            if !names.contains(&column.name) {
                names.push(column.name.clone());
            }
        }
        names.extend(FIXED_TAIL.map(str::to_owned));
        let mut header = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                header.push(b',');
            }
            write_text(name, &mut header);
        }
        header.push(b'\n');
        out.write(&header)?;
        let open = schemas.iter().map(|_| Vec::new()).collect();
        Ok(Self { names, open, buffer: Vec::with_capacity(CHUNK + 4096), scratch: Vec::new(), out })
    }
}

impl Sink for Csv<'_> {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        if fresh {
            self.open[of] = self.names.iter().map(|name| batch.column_by_name(name).map(Cells::new)).collect();
        }
        for row in rows {
            for cells in &self.open[of] {
                if let Some(cells) = cells {
                    cells.write(row, &mut self.buffer, &mut self.scratch);
                }
                self.buffer.push(b',');
            }
            if let Some(last) = self.buffer.last_mut() {
                *last = b'\n';
            }
            if self.buffer.len() >= CHUNK {
                self.out.write(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.write(&self.buffer)?;
        self.out.flush()
    }
}

/// A column of a batch, ready to be written.
enum Cells {
    Time(TimestampMicrosecondArray),
    Text(StringArray),
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    List(ListArray, Vec<(String, Cells)>),
    Empty,
}

impl Cells {
    fn new(array: &ArrayRef) -> Self {
        match array.data_type() {
            DataType::Timestamp(..) => Self::Time(array.as_primitive::<TimestampMicrosecondType>().clone()),
            DataType::Utf8 => Self::Text(array.as_string().clone()),
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>().clone()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>().clone();
                let items = match list.values().as_struct_opt() {
                    Some(items) => items
                        .fields()
                        .iter()
                        .zip(items.columns())
                        .map(|(field, item)| (field.name().clone(), Self::new(item)))
                        .collect(),
                    None => vec![(String::new(), Self::new(list.values()))],
                };
                Self::List(list, items)
            }
            _ => Self::Empty,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Time(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::Bool(values) => values.is_null(row),
            Self::Int(values) => values.is_null(row),
            Self::Float(values) => values.is_null(row),
            Self::List(values, _) => values.is_null(row),
            Self::Empty => true,
        }
    }

    /// Writes a cell; nothing for a null.
    fn write(&self, row: usize, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match self {
            Self::Time(values) => write_rfc3339(values.value(row), out),
            Self::Text(values) => write_text(values.value(row), out),
            Self::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Self::Int(values) => write_int(values.value(row), out),
            Self::Float(values) => write_float(values.value(row), out),
            Self::List(..) => {
                scratch.clear();
                self.write_json(row, scratch);
                write_quoted(scratch, out);
            }
            Self::Empty => {}
        }
    }

    fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Self::Time(values) => {
                out.push(b'"');
                write_rfc3339(values.value(row), out);
                out.push(b'"');
            }
            Self::Text(values) => write_string(values.value(row), out),
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                out.push(b'[');
                for element in offsets[row]..offsets[row + 1] {
                    if element > offsets[row] {
                        out.push(b',');
                    }
                    let element = usize::try_from(element).unwrap_or_default();
                    match items.as_slice() {
                        [(name, item)] if name.is_empty() => item.write_json(element, out),
                        items => write_members(items, element, out),
                    }
                }
                out.push(b']');
            }
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Empty => self.write(row, out, &mut Vec::new()),
        }
    }
}

fn write_members(items: &[(String, Cells)], element: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, item)) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        item.write_json(element, out);
    }
    out.push(b'}');
}

/// Text, in quotes only where it must be; an empty text too, so that it is told from a null.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let plain = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_quoted(text.as_bytes(), out);
    }
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
