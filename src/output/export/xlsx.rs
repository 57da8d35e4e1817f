//! XLSX: a workbook with a sheet for each table, real dates and numbers, units in a header that stays in sight. Rows go to
//! temporary files on the way, so a workbook needs no more memory when it is long.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef};
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use crate::base::text::is_hidden;
use crate::base::time::{DAY, Micros, write_civil};
use crate::base::zone::{Zone, write_offset};
use crate::model::unit::written;

use super::cells::{Cells, Quotes};
use super::{ExportError, Out, Result, SHEET_ROWS, Settings, Sheet, Sink};

/// Characters of a cell, as Excel has it; a longer text is cut and ends in `…`.
const CELL_CHARACTERS: usize = 32_767;
/// Characters of a sheet's name, as Excel has it.
const NAME_CHARACTERS: usize = 31;
/// 1970-01-01 as Excel counts days.
const EPOCH: f64 = 25_569.0;
/// From 1900-03-01, since Excel believes in a February 29 before it, to the end of 9999.
const DATES: std::ops::Range<f64> = 61.0..2_958_466.0;
/// Whole numbers up to here are exact in Excel's doubles.
const EXACT: u64 = 1 << 53;

pub(super) struct Xlsx {
    workbook: Workbook,
    names: HashSet<String>,
    tables: Vec<Columns>,
    /// Rows of a sheet, its header among them.
    rows: u32,
    zone: Zone,
    with_offset: bool,
    /// What the first sheet says, where it is for people.
    about: Option<Vec<(String, String)>>,
    header: Format,
    date: Format,
    scratch: Vec<u8>,
    out: Out,
}

/// A table on its way into its sheet.
struct Columns {
    name: String,
    titles: Vec<(String, f64)>,
    is_filtered: bool,
    open: Vec<Cells>,
    /// The number of its sheet in the workbook, and the next row.
    sheet: usize,
    row: u32,
    parts: u32,
}

impl Xlsx {
    pub(super) fn new(sheets: &[Sheet], settings: &Settings, out: Out) -> Result<Self> {
        let (zone, rows, about) = (settings.zone.clone(), settings.sheet_rows, settings.about.clone());
        let with_offset = settings.offsets && zone.name() != "UTC";
        let is_filtered = about.is_some();
        let title = |field: &FieldRef| {
            let is_time = matches!(field.data_type(), DataType::Timestamp(..));
            let unit = field.metadata().get("unit").map(|unit| written(unit)).filter(|unit| !unit.is_empty());
            match unit {
                _ if is_time => (format!("{} ({})", field.name(), zone.name()), 20.0),
                Some(unit) => (format!("{} ({unit})", field.name()), 16.0),
                None if *field.data_type() == DataType::Utf8 => (field.name().clone(), 24.0),
                None => (field.name().clone(), 14.0),
            }
        };
        // One hour a year comes twice, and a date alone does not say which it is.
        let titles = |field: &FieldRef| {
            let is_time = matches!(field.data_type(), DataType::Timestamp(..));
            let offset = (with_offset && is_time).then(|| (format!("{}_utc_offset", field.name()), 14.0));
            std::iter::once(title(field)).chain(offset)
        };
        let table = |sheet: &Sheet| Columns {
            name: sheet.name.clone(),
            titles: sheet.schema.fields().iter().flat_map(titles).collect(),
            is_filtered,
            open: Vec::new(),
            sheet: 0,
            row: rows,
            parts: 0,
        };
        let tables = sheets.iter().map(table).collect();
        let mut xlsx = Self {
            workbook: Workbook::new(),
            names: HashSet::new(),
            tables,
            rows: rows.min(SHEET_ROWS),
            header: Format::new().set_bold(),
            date: Format::new().set_num_format(if about.is_some() { "yyyy-mm-dd hh:mm:ss" } else { "yyyy-mm-dd hh:mm:ss.000" }),
            zone,
            with_offset,
            about,
            scratch: Vec::new(),
            out,
        };
        if let Some(about) = xlsx.about.take() {
            let name = free_name("About", 1, &mut xlsx.names);
            let bold = xlsx.header.clone();
            let wrapped = Format::new().set_text_wrap();
            let sheet = xlsx.workbook.add_worksheet();
            let write = |sheet: &mut Worksheet| -> std::result::Result<(), XlsxError> {
                sheet.set_name(name)?.set_column_width(0, 14)?.set_column_width(1, 90)?;
                for (row, (what, said)) in (0_u32..).zip(&about) {
                    sheet.write_string_with_format(row, 0, what, &bold)?;
                    sheet.write_string_with_format(row, 1, said, &wrapped)?;
                    // LibreOffice does not make room by itself for what is wrapped.
                    let lines = said.lines().map(|line| line.chars().count().div_ceil(85).max(1)).sum::<usize>().clamp(1, 20);
                    sheet.set_row_height(row, 15.0 * f64::from(u8::try_from(lines).unwrap_or(20)))?;
                }
                Ok(())
            };
            write(sheet).map_err(|error| xlsx.fail(error))?;
        }
        for of in 0..xlsx.tables.len() {
            xlsx.next_sheet(of)?;
        }
        Ok(xlsx)
    }

    fn fail(&self, error: XlsxError) -> ExportError {
        match error {
            // It would not say what it comes of.
            XlsxError::IoError(source) => ExportError::Output { to: self.out.to.clone(), source },
            error => ExportError::format(&self.out.to, error),
        }
    }

    /// All rows of the sheet of a table are there.
    fn end_sheet(&mut self, of: usize) -> Result<()> {
        let table = &self.tables[of];
        let last = u16::try_from(table.titles.len()).unwrap_or(u16::MAX).saturating_sub(1);
        if !table.is_filtered || table.parts == 0 {
            return Ok(());
        }
        let row = table.row.saturating_sub(1);
        let filtered =
            self.workbook.worksheet_from_index(table.sheet).and_then(|sheet| sheet.autofilter(0, 0, row, last).map(drop));
        filtered.map_err(|error| self.fail(error))
    }

    /// Begins the next sheet of a table: with its header, which stays in sight.
    fn next_sheet(&mut self, of: usize) -> Result<()> {
        self.end_sheet(of)?;
        let table = &mut self.tables[of];
        table.parts += 1;
        let name = free_name(&table.name, table.parts, &mut self.names);
        (table.sheet, table.row) = (self.workbook.worksheets().len(), 1);
        let begin = |sheet: &mut Worksheet| -> std::result::Result<(), XlsxError> {
            sheet.set_name(name)?.set_freeze_panes(1, 0)?;
            for (column, (title, width)) in (0_u16..).zip(&table.titles) {
                sheet.set_column_width(column, *width)?;
                sheet.write_string_with_format(0, column, title, &self.header)?;
            }
            Ok(())
        };
        let begun = self.workbook.add_worksheet_with_constant_memory().and_then(begin);
        begun.map_err(|error| self.fail(error))
    }
}

/// A name for a sheet that Excel takes and no other sheet has.
fn free_name(wanted: &str, part: u32, taken: &mut HashSet<String>) -> String {
    let plain: String =
        wanted.chars().map(|c| if is_hidden(c) || "[]:*?/\\'".contains(c) { '_' } else { c }).take(NAME_CHARACTERS).collect();
    let plain = match plain {
        plain if plain.is_empty() => "events".to_owned(),
        // Excel keeps this name for itself.
        plain if plain.eq_ignore_ascii_case("history") => format!("{plain}_"),
        plain => plain,
    };
    let numbered = |number: u32| {
        if number == 1 {
            return plain.clone();
        }
        let behind = format!(" ({number})");
        format!("{}{behind}", plain.chars().take(NAME_CHARACTERS - behind.len()).collect::<String>())
    };
    // One of these is free: each sheet takes one.
    let last = part.saturating_add(u32::try_from(taken.len()).unwrap_or(u32::MAX));
    let name = (part..=last).map(numbered).find(|name| !taken.contains(&name.to_lowercase())).unwrap_or_default();
    taken.insert(name.to_lowercase());
    name
}

/// A local time as Excel counts it, to the millisecond, cut off: Excel would round what is finer. None where Excel has no
/// date, or another one.
#[expect(clippy::cast_precision_loss, reason = "Excel's times are doubles")]
fn serial(local: Micros) -> Option<f64> {
    let serial = local.div_euclid(1000).saturating_mul(1000) as f64 / DAY as f64 + EPOCH;
    DATES.contains(&serial).then_some(serial)
}

impl Sink for Xlsx {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        if fresh {
            let with_offset = self.with_offset;
            let cells = |array| {
                let cells = Cells::new(array);
                let offset = match &cells {
                    Cells::Time(times) if with_offset => Some(Cells::Offset(times.clone())),
                    _ => None,
                };
                std::iter::once(cells).chain(offset)
            };
            self.tables[of].open = batch.columns().iter().flat_map(cells).collect();
        }
        for row in rows {
            if self.tables[of].row == self.rows {
                self.next_sheet(of)?;
            }
            let table = &mut self.tables[of];
            let to = table.row;
            table.row += 1;
            let written = self.workbook.worksheet_from_index(table.sheet).and_then(|sheet| {
                for (column, cells) in (0_u16..).zip(&table.open) {
                    write_cell(sheet, (to, column), cells, row, (&mut self.zone, &self.date), &mut self.scratch)?;
                }
                Ok(())
            });
            written.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for of in 0..self.tables.len() {
            self.end_sheet(of)?;
        }
        let saved = self.workbook.save_to_writer(&mut self.out.out);
        saved.map_err(|error| self.fail(error))?;
        self.out.flush()
    }
}

fn write_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    cells: &Cells,
    of: usize,
    (zone, date): (&mut Zone, &Format),
    scratch: &mut Vec<u8>,
) -> std::result::Result<(), XlsxError> {
    if cells.is_null(of) {
        return Ok(());
    }
    match cells {
        Cells::Time(values) => {
            let local = zone.local(values.value(of));
            if let Some(serial) = serial(local) {
                sheet.write_number_with_format(row, column, serial, date)?
            } else {
                scratch.clear();
                write_civil(local, b' ', scratch);
                scratch.truncate(scratch.len() - "000".len());
                write_text(sheet, row, column, &String::from_utf8_lossy(scratch))?
            }
        }
        Cells::Text(values) => write_text(sheet, row, column, values.value(of))?,
        Cells::Bool(values) => sheet.write_boolean(row, column, values.value(of))?,
        #[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
        Cells::Int(values) if values.value(of).unsigned_abs() <= EXACT => {
            sheet.write_number(row, column, values.value(of) as f64)?
        }
        Cells::Int(values) => write_text(sheet, row, column, &values.value(of).to_string())?,
        Cells::Float(values) => sheet.write_number(row, column, values.value(of))?,
        Cells::List(..) => {
            scratch.clear();
            cells.write_json(of, Quotes::Once, scratch);
            write_text(sheet, row, column, &String::from_utf8_lossy(scratch))?
        }
        Cells::Offset(values) => {
            scratch.clear();
            write_offset(zone.offset(values.value(of)), scratch);
            write_text(sheet, row, column, &String::from_utf8_lossy(scratch))?
        }
        Cells::Empty => return Ok(()),
    };
    Ok(())
}

fn write_text<'s>(
    sheet: &'s mut Worksheet,
    row: u32,
    column: u16,
    text: &str,
) -> std::result::Result<&'s mut Worksheet, XlsxError> {
    if text.len() <= CELL_CHARACTERS {
        return sheet.write_string(row, column, text);
    }
    // Excel counts UTF-16; what is cut says so.
    let mut units = 0;
    let fits = |letter: &char| {
        units += letter.len_utf16();
        units < CELL_CHARACTERS
    };
    sheet.write_string(row, column, text.chars().take_while(fits).chain(['…']).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sheets_are_those_that_excel_takes() {
        let mut taken = HashSet::new();
        assert_eq!(free_name("temperature", 1, &mut taken), "temperature");
        assert_eq!(free_name("Temperature", 1, &mut taken), "Temperature (2)");
        assert_eq!(free_name("a/b:c[d]", 1, &mut taken), "a_b_c_d_");
        assert_eq!(free_name(&"x".repeat(80), 1, &mut taken).len(), 31);
        assert_eq!(free_name(&"x".repeat(80), 2, &mut taken).len(), 31);
        assert_eq!(free_name("", 1, &mut taken), "events");
        assert_eq!(free_name("History", 1, &mut taken), "History_");
        assert_eq!(free_name("history", 1, &mut taken), "history_ (2)");
        assert_eq!(free_name("a\u{fffe}b\u{ffff}\u{202e}c", 1, &mut taken), "a_b__c");
    }

    #[test]
    fn a_time_outside_of_excels_calendar_is_no_date() {
        let of = |text: &str| serial(crate::base::time::parse_rfc3339(text.as_bytes()).unwrap().time);
        for text in ["0001-01-01T00:00:00Z", "1899-12-31T12:00:00Z", "1900-01-01T00:00:00Z", "1900-02-28T23:59:59.999Z"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of("1900-03-01T00:00:00Z"), Some(61.0));
        assert_eq!(of("9999-12-31T00:00:00Z"), Some(2_958_465.0));
        assert!(of("9999-12-31T23:59:59.999999Z").is_some());
        assert_eq!(serial(Micros::MAX), None);
    }
}
