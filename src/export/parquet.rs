//! Parquet: the rows of one event type in one file, with the columns, units and encodings of its day files.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;

use crate::archive::{Effort, parquet_properties};
use crate::schema::Schema;

use super::{ExportError, Out, Result, Sink};

pub(super) struct Parquet<'a> {
    to: String,
    schema: SchemaRef,
    writer: ArrowWriter<Box<dyn std::io::Write + Send + 'a>>,
}

impl<'a> Parquet<'a> {
    pub(super) fn new(schemas: &[Arc<Schema>], out: Out<'a>) -> Result<Self> {
        let [schema] = schemas else { return Err(ExportError::OneType(schemas.len())) };
        let fail = |error: parquet::errors::ParquetError| ExportError::Format { to: out.to.clone(), what: error.to_string() };
        let described = schema.described();
        let properties = parquet_properties(&described, Effort::Seal).map_err(fail)?.build();
        let to = out.to.clone();
        let writer = ArrowWriter::try_new(out.out, Arc::clone(&described), Some(properties));
        let writer = writer.map_err(|error| ExportError::Format { to: to.clone(), what: error.to_string() })?;
        Ok(Self { to, schema: described, writer })
    }

    fn error(&self, what: &dyn ToString) -> ExportError {
        ExportError::Format { to: self.to.clone(), what: what.to_string() }
    }
}

impl Sink for Parquet<'_> {
    fn write(&mut self, _of: usize, batch: &RecordBatch, rows: Range<usize>, _fresh: bool) -> Result<()> {
        let rows = batch.slice(rows.start, rows.len());
        let described = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec());
        let described = described.map_err(|error| self.error(&error))?;
        self.writer.write(&described).map_err(|error| ExportError::Format { to: self.to.clone(), what: error.to_string() })
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let to = self.to;
        self.writer.close().map(drop).map_err(|error| ExportError::Format { to, what: error.to_string() })
    }
}
