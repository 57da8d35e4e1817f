//! A block: rows of one partition. Its body is an Arrow IPC stream; a checksum tells whether it is what was written.
//!
//! **Nothing is decoded that is not as it was written.** The checksum is held first. Blocks of an older version have none, and a
//! buffer may come from anybody: so lengths are held against what there is before room is made for them, and a reader that is
//! brought down all the same is an error like any other.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{MessageHeader, root_as_message};

use crate::base::error::plain;
use crate::base::text;
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;

/// Blocks of fewer rows are not compressed: the frames would cost more than they save.
const COMPRESS_FROM: usize = 32;
/// LZ4 makes no more than this of a byte.
const RATIO_MAX: u64 = 255;
/// Most bytes of a block's columns: a commit is of a few MB of JSON.
const DECODED_MAX: u64 = 1024 * 1024 * 1024;
/// Stands before the length of each message of an Arrow IPC stream.
const CONTINUATION: [u8; 4] = [0xff; 4];

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

/// What is known of a block without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The partition.
    pub(super) partition: Partition,
    /// Rows.
    pub(super) events: i64,
    /// Event time of the first.
    pub(super) time_first: Micros,
    /// Event time of the last.
    pub(super) time_last: Micros,
    /// When it was kept.
    pub(super) kept_at: Micros,
}

impl Head {
    /// Of rows that are kept now.
    pub(super) fn new(partition: &Partition, rows: &RecordBatch, kept_at: Micros) -> Self {
        let (time_first, time_last) = times(rows).unwrap_or_default();
        let events = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
        Self { partition: partition.clone(), events, time_first, time_last, kept_at }
    }

    /// CRC-32, as zlib has it, of the event type, of day, events, first and last time, time of keeping (8 bytes each, little
    /// endian), and of the body.
    pub(super) fn checksum(&self, body: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(self.partition.event_type.as_bytes());
        for number in [i64::from(self.partition.day.0), self.events, self.time_first, self.time_last, self.kept_at] {
            sum.update(&number.to_le_bytes());
        }
        sum.update(body);
        sum.finalize()
    }

    /// The rows of its body, if it is what was written; else why it is not. No checksum: one of an older version.
    pub(super) fn read(&self, body: &[u8], checksum: Option<i64>) -> Result<RecordBatch, String> {
        if checksum.is_some_and(|noted| noted != i64::from(self.checksum(body))) {
            return Err("its checksum is not that of its bytes".to_owned());
        }
        if !(Day::FIRST..Day::BEHIND_LAST).contains(&self.partition.day) {
            return Err("no event has this day".to_owned());
        }
        let rows = decode(body, self.events).map_err(|error| plain(&error))?;
        let (day, found) = (self.partition.day, times(&rows));
        let types = rows.column_by_name("event_type").and_then(|column| column.as_string_opt::<i32>());
        if rows.num_rows() as u64 != u64::try_from(self.events).unwrap_or_default() {
            Err(format!("it has {} instead of {}", text::counted(rows.num_rows() as u64, "row"), self.events))
        } else if found != Some((self.time_first, self.time_last)) || self.time_first < day.start() || self.time_last >= day.end()
        {
            Err("its times are others than those noted".to_owned())
        } else if types.is_none_or(|types| types.iter().any(|found| found != Some(&*self.partition.event_type))) {
            Err(format!("not all of its events are of type {:?}", self.partition.event_type))
        } else {
            Ok(rows)
        }
    }
}

/// First and last event time of the rows; none without rows, or without times.
fn times(rows: &RecordBatch) -> Option<(Micros, Micros)> {
    let time = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    min(time).zip(max(time))
}

/// Writes the rows.
pub(super) fn encode(rows: &RecordBatch, compression: &Compression) -> Result<Vec<u8>, ArrowError> {
    let options = if rows.num_rows() < COMPRESS_FROM { &compression.small } else { &compression.large };
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), rows.schema_ref(), options.clone())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// Reads the rows, of which there are so many.
fn decode(body: &[u8], rows: i64) -> Result<RecordBatch, ArrowError> {
    let read = || {
        check_lengths(body, rows)?;
        let mut reader = StreamReader::try_new(Cursor::new(body), None)?;
        if let Some(field) = reader.schema().fields().iter().find(|field| !is_ours(field.data_type())) {
            return Err(invalid(format!("column {:?} is {}", field.name(), field.data_type())));
        }
        reader.next().unwrap_or_else(|| Err(invalid("it is empty")))
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(invalid("it brings its reader down")))
}

/// Whether a schema may ask for columns of this kind.
fn is_ours(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::Boolean | DataType::Int64 | DataType::Float64 => true,
        DataType::Timestamp(unit, _) => *unit == TimeUnit::Microsecond,
        DataType::List(items) => is_ours(items.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_ours(field.data_type())),
        _ => false,
    }
}

/// Refuses a body that is no schema with rows behind it, or says of any of its parts that it is longer than it can be: room
/// is made for what is said before anything is read.
fn check_lengths(body: &[u8], rows: i64) -> Result<(), ArrowError> {
    let mut rest = body;
    let schema = message(&mut rest)?;
    if schema.header_type() != MessageHeader::Schema || schema.bodyLength() != 0 {
        return Err(invalid("it does not begin with a schema"));
    }
    let message = message(&mut rest)?;
    let batch = message.header_as_record_batch().ok_or_else(|| invalid("it has no rows"))?;
    let inside = take(&mut rest, message.bodyLength()).ok_or_else(|| too_long("its rows"))?;
    if batch.length() != rows {
        return Err(invalid(format!("it has {} rows instead of {rows}", batch.length())));
    }
    let mut decoded = 0_u64;
    for buffer in batch.buffers().iter().flatten() {
        let mut from = inside;
        let part = take(&mut from, buffer.offset()).and_then(|_| take(&mut from, buffer.length()));
        let mut part = part.ok_or_else(|| too_long("a column"))?;
        let mut length = part.len() as u64;
        if batch.compression().is_some() && !part.is_empty() {
            let said = take(&mut part, 8).and_then(|said| said.try_into().ok()).map(i64::from_le_bytes);
            let held = part.len() as u64;
            // As they are where they would not become smaller.
            length = if said == Some(-1) { held } else { said.and_then(|said| said.try_into().ok()).unwrap_or(u64::MAX) };
            if length > held.saturating_mul(RATIO_MAX) {
                return Err(too_long("a compressed column"));
            }
        }
        decoded = decoded.saturating_add(length);
    }
    if decoded > DECODED_MAX { Err(too_long("all columns together")) } else { Ok(()) }
}

/// The next message of a stream, without what follows it.
fn message<'b>(rest: &mut &'b [u8]) -> Result<arrow::ipc::Message<'b>, ArrowError> {
    let is_begun = take(rest, 4).is_some_and(|begins| begins == CONTINUATION);
    let length = take(rest, 4).filter(|_| is_begun).and_then(|length| length.try_into().ok()).map(i32::from_le_bytes);
    let about = length.and_then(|length| take(rest, length.into())).ok_or_else(|| too_long("a message"))?;
    root_as_message(about).map_err(|error| invalid(format!("no message: {error}")))
}

/// The first so many bytes, which are taken off; none when there are not so many.
fn take<'b>(bytes: &mut &'b [u8], length: i64) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

fn invalid(what: impl Into<String>) -> ArrowError {
    ArrowError::IpcError(what.into())
}

fn too_long(what: &str) -> ArrowError {
    invalid(format!("{what} would be longer than it can be"))
}
