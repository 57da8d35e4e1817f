//! A sink on a thread of its own: while it writes rows, the next ones are read already.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;

use super::{ExportError, Result, Sink};

/// Batches on their way: enough that neither side waits for the other at every batch, few enough to stay small.
const WAITING: usize = 4;

struct Piece {
    of: usize,
    batch: RecordBatch,
    rows: Range<usize>,
    fresh: bool,
}

/// The near end.
pub(super) struct Behind {
    to: String,
    rows: Option<SyncSender<Piece>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Behind {
    /// Puts a sink on a thread of its own; `to` is the output, for errors.
    pub(super) fn new(to: &str, sink: Box<dyn Sink>) -> Result<Self> {
        let (rows, coming) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("write".to_owned()).spawn(move || write(sink, &coming));
        let thread = thread.map_err(|source| ExportError::Output { to: to.to_owned(), source })?;
        Ok(Self { to: to.to_owned(), rows: Some(rows), thread: Some(thread) })
    }

    /// Waits for the far end, and tells what went wrong there.
    fn wait(&mut self) -> Result<()> {
        self.rows = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(ExportError::Format { to: self.to.clone(), what: "the writer died".to_owned() }))
    }
}

fn write(mut sink: Box<dyn Sink>, coming: &Receiver<Piece>) -> Result<()> {
    let mut is_done = false;
    for Piece { of, batch, rows, fresh } in coming {
        // No rows: the end. Without it the reader failed, and the file is not finished.
        is_done = rows.is_empty();
        if !is_done {
            sink.write(of, &batch, rows, fresh)?;
        }
    }
    if is_done { sink.finish() } else { Ok(()) }
}

impl Sink for Behind {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        let piece = Piece { of, batch: batch.clone(), rows, fresh };
        match self.rows.as_ref().map(|to| to.send(piece)) {
            Some(Ok(())) => Ok(()),
            _ => self.wait(),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let end = Piece {
            of: 0,
            batch: RecordBatch::new_empty(std::sync::Arc::new(arrow::datatypes::Schema::empty())),
            rows: 0..0,
            fresh: false,
        };
        if let Some(to) = &self.rows {
            // Should nobody take it any more, the thread says why.
            to.send(end).unwrap_or_default();
        }
        self.wait()
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.wait().unwrap_or_default();
    }
}
