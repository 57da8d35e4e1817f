//! A block's body: rows of one partition as an Arrow IPC stream.

use std::io::Cursor;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use crate::time::Micros;

/// Blocks of fewer rows are not compressed: the frames would cost more than they save.
const COMPRESS_FROM: usize = 32;

/// How blocks are written.
#[derive(Debug)]
pub(super) struct Compression {
    small: IpcWriteOptions,
    large: IpcWriteOptions,
}

impl Compression {
    pub(super) fn new() -> Result<Self, ArrowError> {
        let plain = IpcWriteOptions::try_new(8, false, arrow::ipc::MetadataVersion::V5)?;
        Ok(Self { large: plain.clone().try_with_compression(Some(CompressionType::LZ4_FRAME))?, small: plain })
    }
}

/// First and last event time of the rows.
pub(super) fn times(rows: &RecordBatch) -> (Micros, Micros) {
    let time = rows.column_by_name("time").and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
    time.map_or((0, 0), |time| (min(time).unwrap_or_default(), max(time).unwrap_or_default()))
}

/// Writes the rows.
pub(super) fn encode(rows: &RecordBatch, compression: &Compression) -> Result<Vec<u8>, ArrowError> {
    let options = if rows.num_rows() < COMPRESS_FROM { &compression.small } else { &compression.large };
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), rows.schema_ref(), options.clone())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// Reads the rows.
pub(super) fn decode(body: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(body), None)?;
    reader.next().unwrap_or_else(|| Err(ArrowError::IpcError("the block is empty".to_owned())))
}
