//! NDJSON: every event as it was received, one a line, without the stream's envelope. Rows of other tables are an object
//! each, of the columns that are not null.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::base::json::write_string;
use crate::model::schema::{Rebuild, Schema};

use super::cells::{Cells, Quotes};
use super::lines::Lines;
use super::{Out, Result, Sheet, Sink};

pub(super) struct Ndjson {
    sheets: Vec<Option<Arc<Schema>>>,
    open: Vec<Open>,
    lines: Lines,
}

/// A batch, ready to be written.
enum Open {
    Nothing,
    Events(Box<Rebuild>),
    Rows(Vec<(String, Cells)>),
}

impl Ndjson {
    pub(super) fn new(sheets: &[Sheet], out: Out) -> Self {
        let open = sheets.iter().map(|_| Open::Nothing).collect();
        let sheets = sheets.iter().map(|sheet| sheet.events.clone()).collect();
        Self { sheets, open, lines: Lines::new(out) }
    }
}

impl Sink for Ndjson {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        if fresh {
            self.open[of] = if let Some(schema) = &self.sheets[of] {
                Open::Events(Box::new(Rebuild::new(schema, batch)?))
            } else {
                let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                Open::Rows(columns.map(|(field, array)| (field.name().clone(), Cells::new(array))).collect())
            };
        }
        for row in rows {
            match &self.open[of] {
                Open::Nothing => {}
                Open::Events(rebuild) => rebuild.write(row, &mut self.lines.text),
                Open::Rows(columns) => write_object(columns, row, &mut self.lines.text),
            }
            self.lines.text.push(b'\n');
            self.lines.end_line()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.lines.finish()
    }
}

fn write_object(columns: &[(String, Cells)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, cells) in columns.iter().filter(|(_, cells)| !cells.is_null(row)) {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        cells.write_json(row, Quotes::Once, out);
    }
    out.push(b'}');
}
