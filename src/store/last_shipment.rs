//! How far a recording is shipped: `state/lake/shipped.json`, written after each pass by whoever ships, read by whoever asks.

use serde::{Deserialize, Serialize};

use crate::base::disk::{self, DiskError};
use crate::base::time::Micros;
use crate::model::layout::Layout;

/// No note is longer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What the last pass over the day files came to. Times are microseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// The lake, without secrets.
    pub lake: String,
    /// This recorder's id there.
    pub recorder: String,
    /// When it was tried last.
    pub tried: Micros,
    /// When everything was shipped that day files had then; none where it never was.
    pub whole: Option<Micros>,
    /// Why not all is shipped, if it is not.
    pub problem: Option<String>,
    /// Rows that this recorder has shipped, all in all.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Day files that have more than was shipped of them.
    pub behind_files: u64,
    /// How many rows more, at least.
    pub behind_rows: u64,
}

/// What the last pass came to; none where nothing was ever shipped.
pub fn last_shipment(layout: &Layout) -> Option<Shipping> {
    serde_json::from_slice(&disk::read(&layout.last_shipment(), LONGEST).ok()?).ok()
}

/// Notes what a pass came to.
///
/// # Errors
/// When the disk refuses.
pub fn note_shipment(layout: &Layout, note: &Shipping) -> Result<(), DiskError> {
    let path = layout.last_shipment();
    let text = serde_json::to_vec(note).map_err(|error| DiskError::new("write", &path, error.into()))?;
    disk::replace(&path, &text)
}
