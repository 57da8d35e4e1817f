//! A block: what one commit brought, or one large partition of it. Its body holds an Arrow IPC stream a part, one behind the other;
//! a checksum tells whether it is what was written.
//!
//! **Nothing is decoded that is not as it was written.** The checksum is held first. Blocks of an older version have none, and a
//! buffer may come from anybody: so lengths are held against what there is before room is made for them, and a reader that is
//! brought down all the same is an error like any other.

use std::borrow::Cow;
use std::collections::HashMap;
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
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::error::plain;
use crate::base::text;
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;

/// The version of the buffer's tables since which blocks have checksums.
pub(super) const HAS_CHECKSUMS: i64 = 4;
/// The one since which they have parts.
pub(super) const HAS_PARTS: i64 = 5;
/// Today's.
pub(super) const TODAY: i64 = HAS_PARTS;

/// In a commit of fewer events a block costs blocks of the disk, however small it is: small partitions share one, under one zstd.
/// In others each partition has its own, so that to read one costs no other.
const LARGE: usize = if cfg!(test) { 24 } else { 1000 };
/// A partition with so many rows has a block of its own in any commit.
const ALONE: usize = if cfg!(test) { 4 } else { 64 };
/// Columns of fewer rows are not compressed one by one: the frames would cost more than they save.
const COMPRESS_FROM: usize = 32;
/// Of zstd: twice as fast as the next one, and as small but for a few hundredths.
const LEVEL: i32 = 3;
/// Most bytes of streams under one zstd.
const PACKED_MAX: usize = 4 * 1024 * 1024;
/// LZ4 makes no more than this of a byte.
const RATIO_MAX: u64 = 255;
/// Most bytes of a block's columns: a commit is of a few MB of JSON.
const DECODED_MAX: u64 = 1024 * 1024 * 1024;
/// Stands before the length of each message of an Arrow IPC stream.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// How streams are written.
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

/// What is known of a part of a block without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The partition.
    pub(super) partition: Partition,
    /// Rows.
    pub(super) events: i64,
    /// Event time of the first.
    pub(super) time_first: Micros,
    /// Event time of the last.
    pub(super) time_last: Micros,
    /// Bytes of its stream.
    length: i64,
}

/// The same as it stands in the buffer: event type, day, events, first and last time, bytes.
type Noted = (String, i64, i64, i64, i64, i64);

impl Part {
    fn noted(&self) -> Noted {
        let Self { partition, events, time_first, time_last, length } = self;
        (partition.event_type.to_string(), partition.day.0.into(), *events, *time_first, *time_last, *length)
    }

    fn of((event_type, day, events, time_first, time_last, length): Noted) -> Self {
        // A day that is out of bounds is none that any rows have.
        let partition = Partition { event_type: event_type.into(), day: Day(day.try_into().unwrap_or(i32::MAX)) };
        Self { partition, events, time_first, time_last, length }
    }

    /// Its rows, if they are what was written; else why they are not.
    fn decode(&self, stream: &[u8]) -> Result<RecordBatch, String> {
        if !(Day::FIRST..Day::BEHIND_LAST).contains(&self.partition.day) {
            return Err("no event has this day".to_owned());
        }
        let rows = decode(stream, self.events).map_err(|error| plain(&error))?;
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

/// First and last event time of something.
pub(super) type Span = (Micros, Micros);

/// Both together.
pub(super) fn both(a: Option<Span>, b: Option<Span>) -> Option<Span> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// What is known of a block without its body.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// Its number.
    pub(super) seq: i64,
    /// When it was kept.
    pub(super) kept_at: Micros,
    /// Event times of all that the buffer held when it was kept: where another block is gone without a word, this tells its time.
    pub(super) held: Span,
    /// Its parts, in the order of their streams; or why they do not read.
    pub(super) parts: Result<Vec<Part>, String>,
    /// The parts as they are noted; none in a block of a version that had one part each, in columns.
    noted: Option<Vec<u8>>,
    /// Its checksum, if it has one.
    checksum: Option<i64>,
}

impl Head {
    /// Its parts; none where they do not read.
    pub(super) fn parts(&self) -> &[Part] {
        self.parts.as_deref().unwrap_or_default()
    }

    /// Two times CRC-32, as zlib has it: of what stands beside the body (time of keeping, first and last time held, 8 bytes each,
    /// little endian, and the parts as they are noted) in the upper half, and of the body in the lower. Before version 5 one: of the
    /// event type, of day, events, first and last time, time of keeping, and of the body.
    fn checksum_of(&self, body: &[u8]) -> i64 {
        let mut sum = crc32fast::Hasher::new();
        if self.noted.is_some() {
            return self.own_checksum() | i64::from(crc32fast::hash(body));
        }
        if let [part] = self.parts() {
            sum.update(part.partition.event_type.as_bytes());
            for number in [part.partition.day.0.into(), part.events, part.time_first, part.time_last, self.kept_at] {
                sum.update(&i64::to_le_bytes(number));
            }
        }
        sum.update(body);
        sum.finalize().into()
    }

    /// The upper half.
    fn own_checksum(&self) -> i64 {
        let mut sum = crc32fast::Hasher::new();
        for number in [self.kept_at, self.held.0, self.held.1] {
            sum.update(&number.to_le_bytes());
        }
        sum.update(self.noted.as_deref().unwrap_or_default());
        i64::from(sum.finalize()) << 32
    }

    /// Whether what stands beside the body is what was written, whatever became of the body; where nobody noted a checksum, whether it
    /// can be.
    pub(super) fn is_true(&self) -> bool {
        let halves = |noted: i64| self.noted.is_none() || noted >> 32 == self.own_checksum() >> 32;
        self.parts.is_ok() && self.checksum.is_none_or(halves)
    }

    /// The event time of those of its parts that are `left`, up to behind the last event; none where it is of no day.
    pub(super) fn span(&self, left: impl Fn(&Part) -> bool) -> Option<Span> {
        let is_of_day = |part: &&Part| {
            let day = part.partition.day;
            (Day::FIRST..Day::BEHIND_LAST).contains(&day) && day.start() <= part.time_first && part.time_last < day.end()
        };
        let parts = self.parts().iter().filter(|part| left(part)).filter(is_of_day);
        parts.map(|part| Some((part.time_first, part.time_last.max(part.time_first) + 1))).fold(None, both)
    }

    /// The event time of all that was held when it was kept, where that can be one.
    pub(super) fn span_held(&self) -> Option<Span> {
        let (first, last) = self.held;
        let is_one = Day::FIRST.start() <= first && first <= last && last < Day::BEHIND_LAST.start();
        is_one.then_some((first, last + 1))
    }

    /// The streams of a body, once it is known to be what was written.
    fn open<'b>(&self, body: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        if self.checksum.is_some_and(|noted| noted != self.checksum_of(body)) {
            return Err("its checksum is not that of its bytes".to_owned());
        }
        let parts = self.parts.as_ref().map_err(Clone::clone)?;
        let length = parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(part.length.try_into().ok()?));
        match length {
            Some(length) if length == body.len() => Ok(Cow::Borrowed(body)),
            Some(length) if length > body.len() && length <= PACKED_MAX => {
                let streams = zstd::bulk::decompress(body, length).map_err(|error| plain(&error))?;
                if streams.len() == length { Ok(Cow::Owned(streams)) } else { Err("its parts are longer than it is".to_owned()) }
            }
            _ => Err("its parts would be longer than they can be".to_owned()),
        }
    }

    /// The rows of the parts that are asked for, each with its place, if the block is what was written; else why it is not.
    pub(super) fn read(&self, body: &[u8], mut wants: impl FnMut(&Part) -> bool) -> Result<Vec<RecordBatch>, String> {
        let streams = self.open(body)?;
        let mut rest = &*streams;
        let mut rows = Vec::new();
        for part in self.parts() {
            let stream = take(&mut rest, part.length).ok_or("its parts are longer than it is")?;
            if wants(part) {
                rows.push(part.decode(stream)?);
            }
        }
        Ok(rows)
    }

    /// The same block in today's form, with its checksum: one that was wrong stays wrong, and none stays none.
    pub(super) fn brought_up(self, held: &mut Option<Span>, body: Vec<u8>) -> Block {
        *held = both(*held, self.span(|_| true));
        if self.noted.is_some() {
            return Block { head: self, body };
        }
        let is_right = |noted| noted == self.checksum_of(&body);
        let is_right = self.checksum.map(is_right);
        let mut head = Self::new((self.seq, self.kept_at), held.unwrap_or_default(), self.parts.unwrap_or_default());
        let sum = head.checksum_of(&body);
        head.checksum = is_right.map(|is_right| if is_right { sum } else { !sum });
        Block { head, body }
    }

    fn new((seq, kept_at): (i64, Micros), held: Span, parts: Vec<Part>) -> Self {
        let noted: Vec<Noted> = parts.iter().map(Part::noted).collect();
        // Numbers and texts are JSON always.
        let noted = Some(serde_json::to_vec(&noted).unwrap_or_default());
        Self { seq, kept_at, held, parts: Ok(parts), noted, checksum: None }
    }
}

/// A block as it stands in the buffer.
#[derive(Debug)]
pub(super) struct Block {
    head: Head,
    body: Vec<u8>,
}

impl Block {
    /// The blocks of a commit, numbered from a seq on. `held` is the event time of what the buffer holds, and gets theirs.
    pub(super) fn of(
        parts: &[(Partition, RecordBatch)],
        (seq, kept_at): (i64, Micros),
        held: &mut Option<Span>,
        compression: &Compression,
    ) -> Result<Vec<Self>, ArrowError> {
        for (_, rows) in parts {
            *held = both(*held, times(rows));
        }
        let held = held.unwrap_or_default();
        let is_large = parts.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>() >= LARGE;
        let (alone, joined): (Vec<_>, Vec<_>) = parts.iter().partition(|(_, rows)| is_large || rows.num_rows() >= ALONE);
        let joined = std::iter::once(joined).filter(|joined| !joined.is_empty());
        let blocks = joined.chain(alone.into_iter().map(|part| vec![part])).zip(seq..);
        blocks.map(|(parts, seq)| Self::new(&parts, ((seq, kept_at), held), is_large, compression)).collect()
    }

    fn new(
        of: &[&(Partition, RecordBatch)],
        (at, held): ((i64, Micros), Span),
        is_large: bool,
        compression: &Compression,
    ) -> Result<Self, ArrowError> {
        let (mut parts, mut body) = (Vec::with_capacity(of.len()), Vec::new());
        for (partition, rows) in of {
            let stream = encode(rows, is_large, compression)?;
            let (time_first, time_last) = times(rows).unwrap_or_default();
            let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            let (partition, events, length) = (partition.clone(), number(rows.num_rows()), number(stream.len()));
            parts.push(Part { partition, events, time_first, time_last, length });
            if body.is_empty() { body = stream } else { body.extend(stream) }
        }
        if !is_large && body.len() <= PACKED_MAX {
            let packed = zstd::bulk::compress(&body, LEVEL)?;
            if packed.len() < body.len() {
                body = packed;
            }
        }
        let mut head = Head::new(at, held, parts);
        head.checksum = Some(head.checksum_of(&body));
        Ok(Self { head, body })
    }

    /// Adds it to the buffer.
    pub(super) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        let Self { head, body } = self;
        let noted = String::from_utf8_lossy(head.noted.as_deref().unwrap_or_default());
        let sql = "INSERT INTO block (seq, kept_at, time_first, time_last, checksum, parts, body) VALUES (?, ?, ?, ?, ?, ?, ?)";
        db.prepare_cached(sql)?
            .execute(params![head.seq, head.kept_at, head.held.0, head.held.1, head.checksum, noted, body])
            .map(drop)
    }
}

/// The blocks of a database of some version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'c> {
    db: &'c Connection,
    table: &'static str,
    version: i64,
}

impl<'c> Blocks<'c> {
    /// Those of a buffer.
    pub(super) fn of(db: &'c Connection, version: i64) -> Self {
        Self { db, table: "block", version }
    }

    /// Those of a table that has another name by now.
    pub(super) fn moved(db: &'c Connection, table: &'static str, version: i64) -> Self {
        Self { db, table, version }
    }

    /// What stands beside the bodies, of each block that `wanted`, the end of a statement, asks for.
    pub(super) fn heads(
        &self,
        wanted: &str,
        values: impl rusqlite::Params,
        mut take: impl FnMut(Head) -> bool,
    ) -> rusqlite::Result<()> {
        let checksum = if self.version < HAS_CHECKSUMS { "NULL" } else { "checksum" };
        let parts = if self.version < HAS_PARTS { "event_type, day, events, length(body)" } else { "parts" };
        let sql = format!("SELECT seq, kept_at, time_first, time_last, {checksum}, {parts} FROM {} WHERE {wanted}", self.table);
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            if !take(self.head(row)?) {
                break;
            }
        }
        Ok(())
    }

    fn head(&self, row: &Row<'_>) -> rusqlite::Result<Head> {
        let (seq, kept_at, held, checksum) = (row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?), row.get(4)?);
        let bytes = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_bytes()?.to_vec());
        if self.version < HAS_PARTS {
            let event_type = String::from_utf8_lossy(&bytes(5)?).into_owned();
            let part = Part::of((event_type, row.get(6)?, row.get(7)?, held.0, held.1, row.get(8)?));
            return Ok(Head { seq, kept_at, held, parts: Ok(vec![part]), noted: None, checksum });
        }
        let noted = bytes(5)?;
        let parts = match serde_json::from_slice::<Vec<Noted>>(&noted) {
            Ok(parts) if !parts.is_empty() => Ok(parts.into_iter().map(Part::of).collect()),
            _ => Err("what it holds is not told".to_owned()),
        };
        Ok(Head { seq, kept_at, held, parts, noted: Some(noted), checksum })
    }

    /// One of them.
    pub(super) fn one(&self, seq: i64) -> rusqlite::Result<Option<Head>> {
        let mut found = None;
        self.heads("seq = ?", [seq], |head| found.replace(head).is_some())?;
        Ok(found)
    }

    /// The body of a block; none where it is gone.
    pub(super) fn body(&self, seq: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = format!("SELECT body FROM {} WHERE seq = ?", self.table);
        self.db.prepare_cached(&sql)?.query_row([seq], |row| row.get(0)).optional()
    }

    /// Up to which seq each partition is rolled.
    pub(super) fn rolled(&self) -> rusqlite::Result<Rolled> {
        let mut rolled = Rolled::default();
        if self.version < HAS_PARTS {
            return Ok(rolled);
        }
        let mut statement = self.db.prepare_cached("SELECT event_type, day, seq, checksum FROM rolled")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let event_type = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
            let day = Day(row.get::<_, i64>(1)?.try_into().unwrap_or(i32::MAX));
            let (partition, seq) = (Partition { event_type: event_type.into(), day }, row.get(2)?);
            // One that is not as it was written is none: then rows look as if they were in no day file yet, where their doubles are.
            if row.get::<_, i64>(3)? == i64::from(checksum_of(&partition, seq)) {
                rolled.0.insert(partition, seq);
            }
        }
        Ok(rolled)
    }
}

/// Up to which seq the parts of a partition stand in its day file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rolled(pub(super) HashMap<Partition, i64>);

impl Rolled {
    /// Whether a part of the block with this seq is not in its day file yet, as far as is noted.
    pub(super) fn is_left(&self, part: &Part, seq: i64) -> bool {
        self.0.get(&part.partition).is_none_or(|upto| seq > *upto)
    }
}

/// CRC-32 of what is noted of a partition that is rolled up to a seq.
pub(super) fn checksum_of(partition: &Partition, seq: i64) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(partition.event_type.as_bytes());
    sum.update(&partition.day.0.to_le_bytes());
    sum.update(&seq.to_le_bytes());
    sum.finalize()
}

/// First and last event time of the rows; none without rows, or without times.
fn times(rows: &RecordBatch) -> Option<(Micros, Micros)> {
    let time = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    min(time).zip(max(time))
}

/// Writes the rows.
fn encode(rows: &RecordBatch, is_large: bool, compression: &Compression) -> Result<Vec<u8>, ArrowError> {
    let options = if is_large && rows.num_rows() >= COMPRESS_FROM { &compression.large } else { &compression.small };
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
