//! NDJSON: every event as it was received, one a line, without the stream's envelope.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::schema::{Rebuild, Schema};

use super::{Out, Result, Sink};

/// Written out when so much has come together, in bytes.
const CHUNK: usize = 256 * 1024;

pub(super) struct Ndjson<'a> {
    schemas: Vec<Arc<Schema>>,
    open: Vec<Option<Rebuild>>,
    buffer: Vec<u8>,
    out: Out<'a>,
}

impl<'a> Ndjson<'a> {
    pub(super) fn new(schemas: Vec<Arc<Schema>>, out: Out<'a>) -> Self {
        Self { open: schemas.iter().map(|_| None).collect(), schemas, buffer: Vec::with_capacity(CHUNK + 4096), out }
    }
}

impl Sink for Ndjson<'_> {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        if fresh {
            self.open[of] = Some(Rebuild::new(&self.schemas[of], batch)?);
        }
        for row in rows {
            if let Some(rebuild) = &self.open[of] {
                rebuild.write(row, &mut self.buffer);
                self.buffer.push(b'\n');
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
