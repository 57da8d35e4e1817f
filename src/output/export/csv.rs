//! CSV as RFC 4180 has it: a header, quotes where they must be. Lists and JSON stand as JSON text.
//!
//! Several event types in one file share the columns of the same name; `event_type` tells them apart. Separators, times and
//! nulls are a [`Dialect`].

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{ArrowNativeType, DataType, FieldRef, TimestampMicrosecondType};

use crate::base::json::{write_float, write_int};

use super::cells::{Cells, Quotes};
use super::dialect::{defused, defused_json, is_formula};
use super::lines::Lines;
use super::{Dialect, Out, Result, Settings, Sheet, Sink, TimeFormat};

pub(super) struct Csv {
    /// By sheet, for each column of the file: the column of the sheet, if it has one; and whether it tells the offset of that.
    columns: Vec<Vec<(Option<usize>, bool)>>,
    names: Vec<String>,
    open: Vec<Row>,
    pen: Pen,
    lines: Lines,
}

/// How the rows of a batch are written. What all of them have in common is written out once.
#[derive(Default)]
struct Row {
    /// The cells that differ, each with what stands before it.
    cells: Vec<(Vec<u8>, Column)>,
    end: Vec<u8>,
}

impl Csv {
    pub(super) fn new(sheets: &[Sheet], settings: &Settings, out: Out) -> Self {
        let dialect = settings.dialect.clone();
        let with_offset = settings.offsets && dialect.time.is_ambiguous() && dialect.zone.name() != "UTC";
        let is_time = |field: &&FieldRef| matches!(field.data_type(), DataType::Timestamp(..));
        let times: HashSet<&String> =
            sheets.iter().flat_map(|sheet| sheet.schema.fields().iter().filter(is_time).map(|field| field.name())).collect();
        let mut names = Vec::new();
        for name in union(sheets) {
            let offset = (with_offset && times.contains(&name)).then(|| (format!("{name}_utc_offset"), true));
            names.push((name, false));
            names.extend(offset);
        }
        let mut columns = Vec::new();
        for sheet in sheets {
            let places: HashMap<&String, usize> = sheet.schema.fields().iter().map(|field| field.name()).zip(0..).collect();
            let mut place = None;
            let of = |(name, is_offset): &(String, bool)| {
                // An offset is that of the column before it.
                place = if *is_offset { place } else { places.get(name).copied() };
                (place, *is_offset)
            };
            columns.push(names.iter().map(of).collect());
        }
        let pen = Pen { dialect };
        let mut lines = Lines::new(out);
        let header = &mut lines.text;
        if pen.dialect.bom {
            header.extend_from_slice("\u{feff}".as_bytes());
        }
        // A time for a spreadsheet is one of some clock, and does not say of which.
        let with_zone = pen.dialect.time == TimeFormat::Excel;
        for (index, (name, is_offset)) in names.iter().enumerate() {
            if index > 0 {
                header.push(pen.dialect.delimiter);
            }
            if with_zone && !is_offset && times.contains(name) {
                pen.write_text(&format!("{name} ({})", pen.dialect.zone.name()), header);
            } else {
                pen.write_text(name, header);
            }
        }
        if !names.is_empty() {
            pen.end_line(header);
        }
        let open = sheets.iter().map(|_| Row::default()).collect();
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        if let Some(misread) = &pen.dialect.misread {
            for name in &names {
                misread.look(name, None);
            }
        }
        Self { columns, names, open, pen, lines }
    }

    fn row(&mut self, of: usize, batch: &RecordBatch) -> Row {
        let (mut cells, mut text) = (Vec::new(), Vec::new());
        for (index, (place, is_offset)) in self.columns[of].iter().enumerate() {
            if index > 0 {
                text.push(self.pen.dialect.delimiter);
            }
            let array = place.map(|place| batch.column(place));
            if let (Some(misread), Some(array)) = (&self.pen.dialect.misread, array) {
                misread.look(&self.names[index], Some(array));
            }
            let column = self.pen.column(array, *is_offset);
            if array.is_none_or(is_constant) {
                self.pen.write(&column, 0, &mut text);
            } else {
                cells.push((std::mem::take(&mut text), column));
            }
        }
        self.pen.end_line(&mut text);
        Row { cells, end: text }
    }
}

/// True when all rows are known to be alike: a project, a type, a column of nulls.
fn is_constant(array: &ArrayRef) -> bool {
    if array.null_count() > 0 || array.is_empty() {
        return array.null_count() == array.len();
    }
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            let offsets = texts.value_offsets();
            let length = offsets[1] - offsets[0];
            let range = |from: i32, to: i32| &texts.value_data()[from.as_usize()..to.as_usize()];
            let (first, last) = (offsets[0], offsets[texts.len()]);
            // Alike are texts of one length, each of which is the one before it.
            offsets.windows(2).all(|pair| pair[1] - pair[0] == length)
                && range(first, last - length) == range(first + length, last)
        }
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>().values();
            times.iter().all(|time| *time == times[0])
        }
        _ => false,
    }
}

/// The columns of all sheets: first those that all begin with, last those that all end with, each once.
fn union(sheets: &[Sheet]) -> Vec<String> {
    let lists: Vec<Vec<&String>> =
        sheets.iter().map(|sheet| sheet.schema.fields().iter().map(|field| field.name()).collect()).collect();
    let Some(first) = lists.first() else { return Vec::new() };
    let alike = |at: &dyn Fn(&[&String]) -> Option<String>| lists.iter().all(|list| at(list) == at(first)) && at(first).is_some();
    let head = (0..first.len()).take_while(|index| alike(&|list: &[&String]| list.get(*index).map(ToString::to_string))).count();
    let tail = (0..first.len() - head)
        .take_while(|back| {
            alike(&|list: &[&String]| list.len().checked_sub(back + 1).filter(|at| *at >= head).map(|at| list[at].clone()))
        })
        .count();
    let mut taken: HashSet<&&String> = first[..head].iter().collect();
    let mut names: Vec<String> = first[..head].iter().map(ToString::to_string).collect();
    for name in lists.iter().flat_map(|list| &list[head..list.len() - tail]) {
        if taken.insert(name) {
            names.push(ToString::to_string(name));
        }
    }
    names.extend(first[first.len() - tail..].iter().map(ToString::to_string));
    names
}

impl Sink for Csv {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        if fresh {
            self.open[of] = self.row(of, batch);
        }
        let Row { cells, end } = &self.open[of];
        for row in rows {
            for (before, column) in cells {
                self.lines.text.extend_from_slice(before);
                self.pen.write(column, row, &mut self.lines.text);
            }
            self.lines.text.extend_from_slice(end);
            self.lines.end_line()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.lines.finish()
    }
}

/// A column of a batch, ready to be written.
struct Column {
    cells: Cells,
    has_nulls: bool,
    /// No text of it needs quotes for what stands in it, so that none is looked at twice.
    is_plain: bool,
}

/// Writes cells in a dialect.
struct Pen {
    dialect: Dialect,
}

impl Pen {
    fn column(&self, array: Option<&ArrayRef>, is_offset: bool) -> Column {
        let Some(array) = array else { return Column { cells: Cells::Empty, has_nulls: true, is_plain: true } };
        let cells = match (is_offset, Cells::new(array)) {
            (false, cells) => cells,
            (true, Cells::Time(times)) => Cells::Offset(times),
            (true, _) => Cells::Empty,
        };
        let is_plain = match &cells {
            Cells::Text(texts) => self.dialect.null.is_empty() && !self.has_special(texts.value_data()),
            _ => true,
        };
        Column { cells, has_nulls: array.null_count() > 0, is_plain }
    }

    fn has_special(&self, text: &[u8]) -> bool {
        // What ends a cell by another delimiter, too: who opens the file may take that one.
        memchr::memchr3(b'"', b'\n', b'\r', text).is_some()
            || memchr::memchr3(b',', b';', b'\t', text).is_some()
            || memchr::memchr(self.dialect.delimiter, text).is_some()
    }

    fn end_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.dialect.crlf { b"\r\n" } else { b"\n" });
    }

    fn write_null(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.dialect.null.as_bytes());
    }

    fn write(&mut self, column: &Column, row: usize, out: &mut Vec<u8>) {
        let cells = &column.cells;
        if column.has_nulls && cells.is_null(row) {
            return self.write_null(out);
        }
        match cells {
            Cells::Time(values) => {
                let quote: &[u8] = if self.dialect.quotes_times() { b"\"" } else { b"" };
                out.extend_from_slice(quote);
                self.dialect.write_time(values.value(row), out);
                out.extend_from_slice(quote);
            }
            Cells::Offset(values) => {
                // A pattern has no say in how an offset is written.
                let quote: &[u8] = if self.dialect.delimiter == b':' { b"\"" } else { b"" };
                out.extend_from_slice(quote);
                self.dialect.write_offset(values.value(row), out);
                out.extend_from_slice(quote);
            }
            Cells::Text(values) => {
                let text = values.value(row);
                if column.is_plain && !text.is_empty() && !(self.dialect.defuse && is_formula(text)) {
                    push(text.as_bytes(), out);
                } else {
                    self.write_text(text, out);
                }
            }
            Cells::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Cells::Int(values) => write_int(values.value(row), out),
            Cells::Float(values) => {
                let from = out.len();
                write_float(values.value(row), out);
                if self.dialect.decimal != b'.'
                    && let Some(point) = memchr::memchr(b'.', &out[from..])
                {
                    out[from + point] = self.dialect.decimal;
                }
            }
            Cells::List(_, items) if self.dialect.defuse && items.iter().any(|item| item.may_be_run) => {
                let mut json = Vec::new();
                cells.write_json(row, Quotes::Once, &mut json);
                let json = String::from_utf8_lossy(&json);
                write_quoted(defused_json(&json).as_deref().unwrap_or(&json).as_bytes(), out);
            }
            Cells::List(..) => {
                out.push(b'"');
                cells.write_json(row, Quotes::Twice, out);
                out.push(b'"');
            }
            Cells::Empty => {}
        }
    }

    /// Text, in quotes only where it must be; an empty text too, so that it is told from a null.
    fn write_text(&self, text: &str, out: &mut Vec<u8>) {
        if self.dialect.defuse
            && let Some(harmless) = defused(text)
        {
            return write_quoted(harmless.as_bytes(), out);
        }
        if text == self.dialect.null || text.is_empty() || self.has_special(text.as_bytes()) {
            write_quoted(text.as_bytes(), out);
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Appends a text. Most are ids of 20 bytes, for which two known lengths are faster than any one.
fn push(text: &[u8], out: &mut Vec<u8>) {
    match (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        (Some(first), Some(last)) if text.len() <= 32 => {
            let end = out.len() + text.len();
            out.extend_from_slice(first);
            out.truncate(end - 16);
            out.extend_from_slice(last);
        }
        _ => out.extend_from_slice(text),
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
