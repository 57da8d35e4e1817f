//! Parquet: one table in one file, with units in the metadata of its columns and the encodings of day files.

use std::ops::Range;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

use crate::store::archive::{Effort, parquet_properties};

use super::{ExportError, Out, Result, Sheet, Sink};

pub(super) struct Parquet {
    to: String,
    writer: ArrowWriter<Box<dyn std::io::Write + Send>>,
}

impl Parquet {
    pub(super) fn new(sheets: &[Sheet], out: Out) -> Result<Self> {
        let [sheet] = sheets else { return Err(ExportError::OneType(sheets.len())) };
        let to = out.to;
        let fail = |error: parquet::errors::ParquetError| ExportError::format(&to, error);
        let properties = parquet_properties(&sheet.schema, Effort::Seal).map_err(fail)?.build();
        let writer = ArrowWriter::try_new(out.out, sheet.schema.clone(), Some(properties)).map_err(fail)?;
        Ok(Self { to, writer })
    }
}

impl Sink for Parquet {
    fn write(&mut self, _of: usize, batch: &RecordBatch, rows: Range<usize>, _fresh: bool) -> Result<()> {
        let rows = batch.slice(rows.start, rows.len());
        self.writer.write(&rows).map_err(|error| ExportError::format(&self.to, error))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.close().map(drop).map_err(|error| ExportError::format(&self.to, error))
    }
}
