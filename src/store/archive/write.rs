//! Writes a day file into staging: the file before byte for byte, or some of its row groups, and new ones encoded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::ChunkReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::base::disk::{self, DiskError};
use crate::model::schema::Schema;

use super::read::Input;
use super::{ArchiveError, DayFile, Footer, Result};

/// Most rows in a row group: what a reader has to hold at once, and what the writer does. Few in unit tests, so that small
/// worlds have full ones.
pub const GROUP_ROWS: usize = if cfg!(test) { 16 } else { 256 * 1024 };

/// Bytes of dead footers copied at a time.
const PIECE: usize = 64 * 1024;

/// How much work goes into a file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Quick: the file is rewritten before long.
    Roll,
    /// Small: the file stays.
    Seal,
    /// Nothing is compressed: the rows are few. A reader makes two zstd contexts for each column of a file, which takes longer than all else
    /// it does for them, and a file of 25 rows and blocks of 4 KB is no larger for it.
    Few,
}

/// Fewer rows are few.
const FEW_ROWS: u64 = 64;

impl Effort {
    /// What so many rows are worth in a file that stays, or not.
    pub fn of(rows: u64, stays: bool) -> Self {
        match stays {
            _ if rows < FEW_ROWS => Self::Few,
            true => Self::Seal,
            false => Self::Roll,
        }
    }
}

/// How columns are encoded: times as deltas, ids by themselves, the rest through a dictionary, zstd over all.
///
/// Ids are two thirds of a naive file. Measured on the mix of `benches/README.md` (bytes and CPU per id): shared prefixes
/// and zstd 1: 4.5 B, 0.08 us; plain and zstd 3: 5.5 B, 0.07 us; plain and zstd 8, which sees the stride: 2.9 B, 0.27 us.
/// Statistics per row group only; all of it reads with the default calls of the usual readers.
///
/// # Errors
/// When a zstd level is out of range, which it is not.
pub fn parquet_properties(
    schema: &SchemaRef,
    effort: Effort,
) -> std::result::Result<WriterPropertiesBuilder, parquet::errors::ParquetError> {
    let level = |level| ZstdLevel::try_new(level).map(Compression::ZSTD);
    let id = || ColumnPath::new(vec!["event_id".to_owned()]);
    let builder = WriterProperties::builder();
    let builder = if effort == Effort::Few { builder } else { builder.set_compression(level(1)?) };
    let mut builder = match effort {
        Effort::Roll => builder.set_column_encoding(id(), Encoding::DELTA_BYTE_ARRAY),
        Effort::Seal => builder.set_column_compression(id(), level(8)?),
        Effort::Few => builder,
    };
    builder = builder
        .set_column_dictionary_enabled(id(), false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("overnight ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    for field in schema.fields() {
        builder = encode(builder, vec![field.name().clone()], field);
    }
    Ok(builder)
}

fn encode(builder: WriterPropertiesBuilder, mut path: Vec<String>, field: &Field) -> WriterPropertiesBuilder {
    let plain = |builder: WriterPropertiesBuilder, path: Vec<String>, encoding| {
        let column = ColumnPath::new(path);
        builder.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, encoding)
    };
    match field.data_type() {
        DataType::Timestamp(..) => plain(builder, path, Encoding::DELTA_BINARY_PACKED),
        DataType::Utf8 if field.name() == "raw" => plain(builder, path, Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_statistics_enabled(ColumnPath::new(vec!["raw".to_owned()]), EnabledStatistics::None),
        DataType::List(element) => {
            path.extend(["list".to_owned(), element.name().clone()]);
            encode(builder, path, element)
        }
        DataType::Struct(fields) => fields.iter().fold(builder, |builder, field| {
            let mut path = path.clone();
            path.push(field.name().clone());
            encode(builder, path, field)
        }),
        _ => builder,
    }
}

/// A day file being written.
pub struct DayWriter {
    path: PathBuf,
    schema: SchemaRef,
    file: SerializedFileWriter<File>,
    groups: ArrowRowGroupWriterFactory,
    open: Option<(Vec<ArrowColumnWriter>, usize)>,
    group_count: usize,
    rows: u64,
}

impl std::fmt::Debug for DayWriter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DayWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl DayWriter {
    /// Begins a file in staging.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(path: &Path, schema: &Schema, effort: Effort) -> Result<Self> {
        Self::into(disk::create(path)?, path, schema, effort)
    }

    fn into(file: File, path: &Path, schema: &Schema, effort: Effort) -> Result<Self> {
        let fail = ArchiveError::parquet(path);
        let described = schema.described();
        let properties = parquet_properties(&described, effort).map_err(&fail)?.build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&described), Some(properties)).map_err(&fail)?;
        let (file, groups) = writer.into_serialized_writer().map_err(&fail)?;
        Ok(Self { path: path.to_owned(), schema: described, file, groups, open: None, group_count: 0, rows: 0 })
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Begins with a whole day file, byte for byte, its footer included: what is written after this goes behind it. The old
    /// footer is dead bytes between row groups then, but right for whoever has taken the length of the old file and reads
    /// the new one. A file whose row groups do not lie one behind the other, which this program never writes, has them copied.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin_with(&mut self, from: &DayFile) -> Result<()> {
        let groups: Vec<&RowGroupMetaData> = from.metadata().row_groups().iter().collect();
        let is_in_order = lie_behind(self.file.bytes_written() as u64, &groups, from.bytes());
        let input = from.input()?;
        for (number, group) in groups.iter().enumerate() {
            if is_in_order && let Some(column) = group.columns().first() {
                self.copy_up_to(&input, column.byte_range().0, from.path())?;
            }
            self.copy(from, number)?;
        }
        if is_in_order { self.copy_up_to(&input, from.bytes(), from.path()) } else { Ok(()) }
    }

    /// Copies what stands in another file from where this one ends up to an offset.
    fn copy_up_to(&mut self, input: &Input, end: u64, path: &Path) -> Result<()> {
        let from = self.file.bytes_written() as u64;
        let mut left = input.get_read(from).map_err(ArchiveError::parquet(path))?.take(end.saturating_sub(from));
        let mut piece = vec![0; PIECE];
        loop {
            let read = left.read(&mut piece).map_err(|error| DiskError::new("read", path, error))?;
            if read == 0 {
                break;
            }
            self.file.write_all(&piece[..read]).map_err(|error| DiskError::new("write", &self.path, error))?;
        }
        if self.file.bytes_written() as u64 == end {
            return Ok(());
        }
        let what = format!("it ends before byte {end}, which it had when it was opened");
        Err(ArchiveError::Footer { path: path.to_owned(), what })
    }

    /// Copies a row group byte for byte.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn copy(&mut self, from: &DayFile, group: usize) -> Result<()> {
        self.end_group()?;
        let fail = ArchiveError::parquet(&self.path);
        let input = from.input()?;
        let metadata = from.metadata().row_group(group);
        let rows = u64::try_from(metadata.num_rows()).unwrap_or_default();
        let mut out = self.file.next_row_group().map_err(&fail)?;
        for column in metadata.columns() {
            let close = ColumnCloseResult {
                bytes_written: u64::try_from(column.compressed_size()).unwrap_or_default(),
                rows_written: rows,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            out.append_column(&input, close).map_err(&fail)?;
        }
        out.close().map_err(&fail)?;
        self.group_count += 1;
        self.rows += rows;
        Ok(())
    }

    /// Appends rows to the current row group, beginning a new one where it is full.
    ///
    /// # Errors
    /// When the rows do not fit or the disk refuses.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < rows.num_rows() {
            let held = self.open.as_ref().map_or(0, |(_, held)| *held);
            let take = (GROUP_ROWS - held).min(rows.num_rows() - from);
            self.write_slice(&rows.slice(from, take))?;
            from += take;
        }
        Ok(())
    }

    fn write_slice(&mut self, rows: &RecordBatch) -> Result<()> {
        let path = self.path.clone();
        let fail = ArchiveError::parquet(&path);
        let (columns, held) = match &mut self.open {
            Some(open) => open,
            none => none.insert((self.groups.create_column_writers(self.group_count).map_err(&fail)?, 0)),
        };
        let mut writers = columns.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(rows.columns()) {
            for leaf in compute_leaves(field, array).map_err(&fail)? {
                if let Some(writer) = writers.next() {
                    writer.write(&leaf).map_err(&fail)?;
                }
            }
        }
        *held += rows.num_rows();
        let full = *held >= GROUP_ROWS;
        self.rows += rows.num_rows() as u64;
        if full { self.end_group() } else { Ok(()) }
    }

    /// Ends the current row group.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn end_group(&mut self) -> Result<()> {
        let Some((columns, _)) = self.open.take() else { return Ok(()) };
        let fail = ArchiveError::parquet(&self.path);
        let mut out = self.file.next_row_group().map_err(&fail)?;
        for column in columns {
            column.close().and_then(|chunk| chunk.append_to_row_group(&mut out)).map_err(&fail)?;
        }
        out.close().map_err(&fail)?;
        self.group_count += 1;
        Ok(())
    }

    /// Writes the footer and syncs the file. It is durable then, but has no name in `data/` yet.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self, footer: &Footer) -> Result<()> {
        self.end_group()?;
        for entry in footer.entries() {
            self.file.append_key_value_metadata(entry);
        }
        // Not by taking the file out: that would make words of what the system says.
        self.file.finish().map_err(ArchiveError::parquet(&self.path))?;
        Ok(disk::sync(self.file.inner(), &self.path)?)
    }
}

/// True when row groups lie one behind the other between two offsets, with nothing between the columns of one.
fn lie_behind(begin: u64, groups: &[&RowGroupMetaData], end: u64) -> bool {
    let mut at = begin;
    for group in groups {
        for (number, column) in group.columns().iter().enumerate() {
            let (start, length) = column.byte_range();
            if start < at || (number > 0 && start != at) {
                return false;
            }
            at = start.saturating_add(length);
        }
    }
    at <= end
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use sha2::Digest;

    use crate::base::error::Advice;
    use crate::model::decode::Collector;
    use crate::model::event::Source;
    use crate::model::framing::Frame;
    use crate::model::schema::Registry;

    use super::*;

    /// Writes so many events to a disk without room.
    fn written(events: usize) -> Result<()> {
        let registry = Arc::new(Registry::built_in().unwrap());
        let mut collector = Collector::new(Arc::clone(&registry), Source::Import);
        for id in 0..events {
            let id = base16ct::lower::encode_string(&sha2::Sha256::digest(id.to_le_bytes()));
            let event = format!("{{\"eventId\":\"{id}\",\"eventType\":\"touch\",\"timestamp\":\"2026-10-01T00:00:00Z\"}}");
            collector.add(&Frame::Line(event.as_bytes()), 1);
        }
        let (partition, batch) = collector.take().unwrap().parts.remove(0);
        let schema = registry.get("touch");
        let full = Path::new("/dev/full");
        let mut writer = DayWriter::into(File::options().write(true).open(full).unwrap(), full, &schema, Effort::Roll)?;
        writer.write(&batch)?;
        writer.finish(&Footer {
            schema_version: schema.version,
            rows: batch.num_rows() as u64,
            time_first: partition.day.start(),
            time_last: partition.day.start(),
            partition,
            buffer_id: String::new(),
            seq_last: 0,
            sealed: false,
        })
    }

    #[test]
    fn a_disk_that_is_full_in_the_middle_of_a_day_file_is_no_damage_and_wants_room() {
        // Found at the end, when buffers are emptied, and on the way.
        for events in [1, 1000] {
            let error = written(events).unwrap_err();
            assert_eq!((error.advice(), error.is_damage()), (Advice::MakeRoom, false), "{events} events: {error:?}");
        }
    }
}
