//! Arrow IPC: one table in one file, as Feather (version 2) has it; a stream where it goes to standard output.

use std::io::Write;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::{ExportError, Out, Result, Sheet, Sink};

pub(super) struct Arrow {
    to: String,
    writer: Writer,
}

enum Writer {
    File(FileWriter<Box<dyn Write + Send>>),
    Stream(StreamWriter<Box<dyn Write + Send>>),
}

impl Arrow {
    pub(super) fn new(sheets: &[Sheet], is_stream: bool, out: Out) -> Result<Self> {
        let [sheet] = sheets else { return Err(ExportError::OneType(sheets.len())) };
        let to = out.to;
        let open = || -> std::result::Result<Writer, ArrowError> {
            let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
            Ok(if is_stream {
                Writer::Stream(StreamWriter::try_new_with_options(out.out, &sheet.schema, options)?)
            } else {
                Writer::File(FileWriter::try_new_with_options(out.out, &sheet.schema, options)?)
            })
        };
        let writer = open().map_err(|error| ExportError::format(&to, error))?;
        Ok(Self { to, writer })
    }
}

impl Sink for Arrow {
    fn write(&mut self, _of: usize, batch: &RecordBatch, rows: Range<usize>, _fresh: bool) -> Result<()> {
        let rows = batch.slice(rows.start, rows.len());
        let written = match &mut self.writer {
            Writer::File(writer) => writer.write(&rows),
            Writer::Stream(writer) => writer.write(&rows),
        };
        written.map_err(|error| ExportError::format(&self.to, error))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let finished = match &mut self.writer {
            Writer::File(writer) => writer.finish(),
            Writer::Stream(writer) => writer.finish(),
        };
        finished.map_err(|error| ExportError::format(&self.to, error))
    }
}
