//! A glance at an export, for whoever asks for one in a terminal: its first rows, one line each.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use crate::base::text::printable;
use crate::base::time::Micros;
use crate::model::unit;
use crate::query::tables::Table;

use super::cells::{Cells, Quotes};
use super::{Result, times};

/// Columns that say where a row is from, and not what it holds.
const OF_ORIGIN: [&str; 9] =
    ["device_name", "time", "device_id", "project_id", "event_id", "event_type", "received_at", "source", "raw"];
/// Longest text of a cell, in characters.
const LONGEST: usize = 40;

/// The first rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glance {
    /// In the order of the export.
    pub rows: Vec<Seen>,
    /// There are more.
    pub is_cut: bool,
}

/// A row, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub time: Micros,
    /// Id of the device; empty where the columns are of several.
    pub device: String,
    /// The event type, or what was asked for.
    pub of: String,
    /// What it holds: `temperature 21.5 °C, …`
    pub values: String,
}

/// The first rows of some tables, at most so many.
///
/// # Errors
/// When the recording does not read.
pub fn glance(tables: Vec<Box<dyn Table + '_>>, most: usize) -> Result<Glance> {
    let are_in_order = tables.iter().all(|table| table.is_in_time_order());
    let mut glance = Glance::default();
    for mut table in tables {
        // The first of all are among the first of each.
        let mut left = most + 1;
        while left > 0
            && let Some(batch) = table.next_batch()?
        {
            let rows = batch.num_rows().min(left);
            glance.rows.extend(seen(table.name(), &batch.slice(0, rows)));
            left -= rows;
        }
    }
    if are_in_order {
        glance.rows.sort_by_key(|row| row.time);
    }
    glance.is_cut = glance.rows.len() > most;
    glance.rows.truncate(most);
    Ok(glance)
}

/// Rows of an event type, or of what was asked for, as people read them.
pub fn seen(of: &str, batch: &RecordBatch) -> Vec<Seen> {
    let device = batch.column_by_name("device_id").and_then(|column| column.as_string_opt::<i32>());
    let schema = batch.schema();
    let told = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| !OF_ORIGIN.contains(&field.name().as_str()) && !matches!(field.data_type(), DataType::List(_)));
    let columns: Vec<(&str, String, Cells)> = told
        .map(|(field, column)| {
            let unit = field.metadata().get("unit").map(|unit| unit::written(unit)).filter(|unit| !unit.is_empty());
            (field.name().as_str(), unit.map(|unit| format!("\u{a0}{unit}")).unwrap_or_default(), Cells::new(column))
        })
        .collect();
    let row = |row: usize| {
        let values = columns.iter().filter(|(_, _, cells)| !cells.is_null(row)).filter_map(|(name, unit, cells)| {
            let mut text = Vec::new();
            cells.write_json(row, Quotes::Once, &mut text);
            let text = String::from_utf8_lossy(&text);
            let value = format!("{}{unit}", printable(text.trim_matches('"'), LONGEST));
            // What is not so is no news, and what a type is called need not be said twice.
            (text != "false").then(|| if *name == of { value } else { format!("{name} {value}") })
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let device = device.filter(|device| device.is_valid(row)).map(|device| device.value(row).to_owned()).unwrap_or_default();
        Seen { time: times(batch)[row], device, of: of.to_owned(), values }
    };
    (0..batch.num_rows()).map(row).collect()
}
