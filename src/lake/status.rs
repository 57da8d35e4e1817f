//! What is in a lake, and what this recorder has shipped there.

use serde::Serialize;

use crate::store::last_shipment::Shipping;

use super::Result;
use super::place::Place;
use super::probe;

/// A table of a lake.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// Its name: the event type's, as the folder of its day files has it.
    pub table: String,
    /// Its version: commits so far.
    pub version: u64,
    /// Files that it consists of.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, doubles of redundant recorders among them until they are compacted; none where a file does not say.
    pub rows: Option<u64>,
    /// Its days: the first and the last, and how many.
    pub days: Option<(String, String, u64)>,
    /// Shipments of this recorder in it.
    pub shipments: Option<i64>,
}

/// The tables of a lake, by name; what `own` says is this recorder's.
///
/// # Errors
/// When there is no lake, when the store refuses or does not answer, when a log does not read.
pub fn tables(place: &Place, own: Option<&Shipping>) -> Result<Vec<About>> {
    probe::require(place)?;
    let mut all = Vec::new();
    for table in probe::tables(place)? {
        let files = table.files(None)?;
        let mut days: Vec<i32> = files.iter().map(|part| part.day).collect();
        days.sort_unstable();
        days.dedup();
        let day = |day: &i32| crate::base::time::Day(*day).to_string();
        all.push(About {
            version: table.version(),
            files: files.len() as u64,
            bytes: files.iter().map(|part| part.bytes).sum(),
            rows: files.iter().map(|part| part.rows).sum(),
            days: days.first().zip(days.last()).map(|(first, last)| (day(first), day(last), days.len() as u64)),
            shipments: own.map(|own| table.shipped(&own.recorder)).transpose()?.flatten(),
            table: table.name().to_owned(),
        });
    }
    Ok(all)
}
