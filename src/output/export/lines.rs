//! Lines of text on their way out, in pieces that are worth a call of the system.

use super::{Out, Result};

/// Written out when so much has come together, in bytes.
const CHUNK: usize = 1024 * 1024;

pub(super) struct Lines {
    /// What is not written out yet, the line being written at its end.
    pub(super) text: Vec<u8>,
    out: Out,
}

impl Lines {
    pub(super) fn new(out: Out) -> Self {
        Self { text: Vec::with_capacity(CHUNK + 4096), out }
    }

    /// A line is at its end.
    #[inline]
    pub(super) fn end_line(&mut self) -> Result<()> {
        if self.text.len() < CHUNK {
            return Ok(());
        }
        self.out.write(&self.text)?;
        self.text.clear();
        Ok(())
    }

    /// All lines are written.
    pub(super) fn finish(mut self) -> Result<()> {
        self.out.write(&self.text)?;
        self.out.flush()
    }
}
