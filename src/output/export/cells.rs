//! Cells of a batch, ready to be written; as JSON too, where a cell holds several values.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::base::json::{is_verbatim, write_float, write_int, write_string};
use crate::base::time::write_rfc3339;

/// A column of a batch, ready to be written.
pub(super) enum Cells {
    Time(TimestampMicrosecondArray),
    /// By how much the clock was ahead of UTC at these times.
    Offset(TimestampMicrosecondArray),
    Text(StringArray),
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    List(ListArray, Vec<Item>),
    Empty,
}

/// What the elements of a list hold.
pub(super) struct Item {
    /// What stands before the value: `{"time":`, with its quotes once and twice; nothing for plain values.
    before: [Vec<u8>; 2],
    cells: Cells,
    has_nulls: bool,
    /// Others' text, with a sign in it that begins a formula somewhere: looked for once, not in each row.
    pub(super) may_be_run: bool,
}

impl Item {
    fn new(name: &str, index: usize, array: &ArrayRef) -> Self {
        let quoted = |quotes: Quotes| {
            let mut before = vec![if index == 0 { b'{' } else { b',' }];
            quotes.write(name, &mut before);
            before.push(b':');
            before
        };
        let before = if name.is_empty() { [Vec::new(), Vec::new()] } else { [quoted(Quotes::Once), quoted(Quotes::Twice)] };
        let cells = Cells::new(array);
        let may_be_run = match &cells {
            Cells::Text(texts) => {
                let has_sign = |text| memchr::memchr3(b'=', b'+', b'@', text).or_else(|| memchr::memchr(b'-', text)).is_some();
                has_sign(texts.value_data()) || has_sign(name.as_bytes())
            }
            _ => false,
        };
        Self { before, cells, has_nulls: array.null_count() > 0, may_be_run }
    }
}

/// How quotes are written: as JSON has them, or doubled, as CSV has them within a cell.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quotes {
    Once,
    Twice,
}

impl Quotes {
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Once => b"\"",
            Self::Twice => b"\"\"",
        }
    }

    /// A text as JSON.
    fn write(self, text: &str, out: &mut Vec<u8>) {
        if is_verbatim(text) {
            out.extend_from_slice(self.mark());
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(self.mark());
            return;
        }
        let from = out.len();
        write_string(text, out);
        if matches!(self, Self::Twice) {
            let json = out.split_off(from);
            for byte in json {
                out.push(byte);
                if byte == b'"' {
                    out.push(byte);
                }
            }
        }
    }
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
                    Some(items) => (0..)
                        .zip(items.fields())
                        .zip(items.columns())
                        .map(|((index, field), item)| Item::new(field.name(), index, item))
                        .collect(),
                    None => vec![Item::new("", 0, list.values())],
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
    pub(super) fn write_json(&self, row: usize, quotes: Quotes, out: &mut Vec<u8>) {
        if self.is_null(row) { out.extend_from_slice(b"null") } else { self.write_value(row, quotes, out) }
    }

    fn write_value(&self, row: usize, quotes: Quotes, out: &mut Vec<u8>) {
        match self {
            Self::Time(values) => {
                out.extend_from_slice(quotes.mark());
                write_rfc3339(values.value(row), out);
                out.extend_from_slice(quotes.mark());
            }
            Self::Text(values) => quotes.write(values.value(row), out),
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                out.push(b'[');
                for element in offsets[row]..offsets[row + 1] {
                    if element > offsets[row] {
                        out.push(b',');
                    }
                    let element = usize::try_from(element).unwrap_or_default();
                    for item in items {
                        out.extend_from_slice(&item.before[quotes as usize]);
                        if item.has_nulls {
                            item.cells.write_json(element, quotes, out);
                        } else {
                            item.cells.write_value(element, quotes, out);
                        }
                    }
                    if items.iter().any(|item| !item.before[0].is_empty()) {
                        out.push(b'}');
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
