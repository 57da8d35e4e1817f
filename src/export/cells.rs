//! Cells of a batch, ready to be written; as JSON too, where a cell holds several values.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::json::{write_float, write_int, write_string};
use crate::time::write_rfc3339;

/// A column of a batch, ready to be written.
pub(super) enum Cells {
    Time(TimestampMicrosecondArray),
    /// By how much the clock was ahead of UTC at these times.
    Offset(TimestampMicrosecondArray),
    Text(StringArray),
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    List(ListArray, Vec<(String, Cells)>),
    Empty,
}

impl Cells {
    pub(super) fn new(array: &ArrayRef) -> Self {
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

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Time(values) | Self::Offset(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::Bool(values) => values.is_null(row),
            Self::Int(values) => values.is_null(row),
            Self::Float(values) => values.is_null(row),
            Self::List(values, _) => values.is_null(row),
            Self::Empty => true,
        }
    }

    /// Appends the cell as JSON; times as RFC 3339 in UTC.
    pub(super) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
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
            Self::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Self::Int(values) => write_int(values.value(row), out),
            Self::Float(values) => write_float(values.value(row), out),
            Self::Offset(_) | Self::Empty => {}
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
