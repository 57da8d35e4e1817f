//! A sink on a thread of its own: while it writes rows, the next ones are read already.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;

use super::{ExportError, Result, Sink};

/// Loads on their way: enough that neither side waits for the other at each, few enough to stay small.
const WAITING: usize = 4;
/// Rows of a load. Where types are merged in time a piece is a row or two, and a thread is not woken for so little.
const ROWS: usize = 8 * 1024;
/// Cells of the batches of a load, which it holds on to: a table may have a device in each of thousands of columns.
const CELLS: usize = 256 * 1024;

/// Rows of the batch that came last for a table.
struct Piece {
    of: usize,
    /// Another one than before: a piece is often a single row, and a batch has many columns to hold on to.
    batch: Option<RecordBatch>,
    rows: Range<usize>,
}

/// The near end.
pub(super) struct ThreadedSink {
    to: String,
    load: Vec<Piece>,
    rows_loaded: usize,
    cells_loaded: usize,
    far: Option<SyncSender<Vec<Piece>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl ThreadedSink {
    /// Puts a sink on a thread of its own; `to` is the output, for errors.
    pub(super) fn new(to: &str, sink: Box<dyn Sink>) -> Result<Self> {
        let (far, coming) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("write".to_owned()).spawn(move || write(sink, &coming));
        let thread = thread.map_err(|source| ExportError::Output { to: to.to_owned(), source })?;
        Ok(Self { to: to.to_owned(), load: Vec::new(), rows_loaded: 0, cells_loaded: 0, far: Some(far), thread: Some(thread) })
    }

    /// Waits for the far end, and tells what went wrong there.
    fn wait(&mut self) -> Result<()> {
        self.far = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(ExportError::format(&self.to, "the writer died")))
    }
}

fn write(mut sink: Box<dyn Sink>, coming: &Receiver<Vec<Piece>>) -> Result<()> {
    let mut is_done = false;
    let mut batches: HashMap<usize, RecordBatch> = HashMap::new();
    for Piece { of, batch, rows } in coming.iter().flatten() {
        // No rows: the end. Without it the reader failed, and the file is not finished.
        is_done = rows.is_empty();
        let fresh = batch.is_some();
        batches.extend(batch.map(|batch| (of, batch)));
        if let Some(batch) = batches.get(&of).filter(|_| !is_done) {
            sink.write(of, batch, rows, fresh)?;
        }
    }
    if is_done { sink.finish() } else { Ok(()) }
}

impl Sink for ThreadedSink {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()> {
        self.rows_loaded += rows.len();
        self.load.push(Piece { of, batch: fresh.then(|| batch.clone()), rows });
        if fresh {
            self.cells_loaded += batch.num_rows() * batch.num_columns();
        }
        if self.rows_loaded < ROWS && self.cells_loaded < CELLS {
            return Ok(());
        }
        (self.rows_loaded, self.cells_loaded) = (0, 0);
        let load = std::mem::take(&mut self.load);
        match self.far.as_ref().map(|far| far.send(load)) {
            Some(Ok(())) => Ok(()),
            _ => self.wait(),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let mut load = std::mem::take(&mut self.load);
        load.push(Piece { of: 0, batch: None, rows: 0..0 });
        if let Some(far) = &self.far {
            // Should nobody take it any more, the thread says why.
            far.send(load).unwrap_or_default();
        }
        self.wait()
    }
}

impl Drop for ThreadedSink {
    fn drop(&mut self) {
        self.wait().unwrap_or_default();
    }
}
