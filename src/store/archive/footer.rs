//! What the footer of a day file says about it, as Parquet key-value metadata.

use std::path::Path;

use parquet::file::metadata::KeyValue;

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;

use super::{ArchiveError, Result};

/// Version of the day file format.
pub const FORMAT_VERSION: u32 = 1;

const PREFIX: &str = "overnight.";

/// A day file about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The partition that it is the file of.
    pub partition: Partition,
    /// Version of the event type's schema; 0 without one.
    pub schema_version: u32,
    /// Number of rows.
    pub rows: u64,
    /// Time of the first event.
    pub time_first: Micros,
    /// Time of the last event.
    pub time_last: Micros,
    /// The buffer that it was last rolled from.
    pub buffer_id: String,
    /// Rows of that buffer up to this seq are in the file.
    pub seq_last: i64,
    /// The file was written when its day was over and quiet: sorted as a whole.
    pub sealed: bool,
}

impl Footer {
    /// The metadata to write.
    pub(super) fn entries(&self) -> Vec<KeyValue> {
        let entry = |key: &str, value: String| KeyValue::new(format!("{PREFIX}{key}"), value);
        vec![
            entry("format_version", FORMAT_VERSION.to_string()),
            entry("event_type", self.partition.event_type.to_string()),
            entry("day", self.partition.day.to_string()),
            entry("schema_version", self.schema_version.to_string()),
            entry("rows", self.rows.to_string()),
            entry("time_first", self.time_first.to_string()),
            entry("time_last", self.time_last.to_string()),
            entry("buffer_id", self.buffer_id.clone()),
            entry("seq_last", self.seq_last.to_string()),
            entry("sealed", self.sealed.to_string()),
        ]
    }

    /// Reads the metadata of a file.
    pub(super) fn read(path: &Path, entries: Option<&Vec<KeyValue>>) -> Result<Self> {
        let fail = |what: String| ArchiveError::Footer { path: path.to_owned(), what };
        let get = |key: &str| {
            let key = format!("{PREFIX}{key}");
            let found = entries.and_then(|entries| entries.iter().find(|entry| entry.key == key));
            found.and_then(|entry| entry.value.as_deref()).ok_or_else(|| {
                fail(format!("not a day file of overnight: its footer has no {key}; move it out of the recording"))
            })
        };
        let number =
            |key: &str| get(key)?.parse::<i64>().map_err(|_| fail(format!("its footer has no number for {PREFIX}{key}")));
        let version = number("format_version")?;
        if version > i64::from(FORMAT_VERSION) {
            return Err(ArchiveError::Newer { path: path.to_owned(), found: version, known: FORMAT_VERSION });
        }
        let day = Day::parse(get("day")?).ok_or_else(|| fail(format!("its footer has no day for {PREFIX}day")))?;
        Ok(Self {
            partition: Partition { event_type: get("event_type")?.into(), day },
            schema_version: u32::try_from(number("schema_version")?).unwrap_or_default(),
            rows: u64::try_from(number("rows")?).unwrap_or_default(),
            time_first: number("time_first")?,
            time_last: number("time_last")?,
            buffer_id: get("buffer_id")?.to_owned(),
            seq_last: number("seq_last")?,
            sealed: get("sealed")? == "true",
        })
    }

    /// Rows of the buffer with this id up to the given seq are in the file; 0 when it was rolled from another buffer.
    pub fn covers(&self, buffer_id: &str) -> i64 {
        if self.buffer_id == buffer_id { self.seq_last } else { 0 }
    }
}
