//! Reads day files: the footer, the rows of some row groups, and the list of all files.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowFilter,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::base::disk::{self, DiskError};
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::{self, Layout};
use crate::model::schema::{ConformError, Schema, conform, reread};

use super::stamp::{Device, Stamp};
use super::{ArchiveError, Footer, Result, Run};

/// A smaller file is read in one piece, which spares a seek and a read for every page.
const WHOLE_BELOW: u64 = 4 * 1024 * 1024;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8 * 1024;
/// Where many runs of a file are merged, all of them together decode about so many rows at a time, however many there are.
const MERGED_ROWS: usize = 16 * 1024;
/// Fewer rows at a time would not be worth a call.
const BATCH_ROWS_MIN: usize = 256;

/// What is wanted of a day file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Columns by their numbers in the schema, ascending; none given: all.
    pub columns: Option<&'a [usize]>,
    /// Devices; none given: all.
    pub devices: &'a HashSet<String>,
}

/// A day file, open. It stays readable when a newer one takes its name.
#[derive(Debug)]
pub struct DayFile {
    path: PathBuf,
    file: Arc<File>,
    input: OnceCell<Input>,
    metadata: ArrowReaderMetadata,
    footer: Footer,
    bytes: u64,
    stamp: Option<Stamp>,
}

/// The bytes of a file: all of them, or on demand.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Whole(bytes::Bytes),
    File(Arc<File>),
}

impl Length for Input {
    fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::File(file) => Length::len(file.as_ref()),
        }
    }
}

impl ChunkReader for Input {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> std::result::Result<Self::T, ParquetError> {
        Ok(match self {
            Self::Whole(bytes) => Box::new(bytes.get_read(start)?),
            Self::File(file) => Box::new(file.get_read(start)?),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<bytes::Bytes, ParquetError> {
        match self {
            Self::Whole(bytes) => bytes.get_bytes(start, length),
            Self::File(file) => file.get_bytes(start, length),
        }
    }
}

impl DayFile {
    /// Opens a day file; none when there is no such file.
    ///
    /// # Errors
    /// When it is no Parquet, or no day file of this program.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let file = match disk::open(path) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let about = file.metadata().map_err(|error| DiskError::new("read", path, error))?;
        let (bytes, stamp) = (about.len(), Stamp::of(&about));
        let file = Arc::new(file);
        let metadata = guarded(path, || {
            ArrowReaderMetadata::load(file.as_ref(), ArrowReaderOptions::new()).map_err(ArchiveError::parquet(path))
        })?;
        let footer = Footer::read(path, metadata.metadata().file_metadata().key_value_metadata())?;
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        if rows != footer.rows {
            let what = format!("its footer says {} rows, the file has {rows}", footer.rows);
            return Err(ArchiveError::Footer { path: path.to_owned(), what });
        }
        Ok(Some(Self { path: path.to_owned(), file, input: OnceCell::new(), metadata, footer, bytes, stamp }))
    }

    /// Opens the day file of a partition and checks that it is the file of that partition.
    ///
    /// # Errors
    /// As for [`DayFile::open`].
    pub fn of(layout: &Layout, partition: &Partition) -> Result<Option<Self>> {
        let path = layout.day_file(partition);
        let file = Self::open(&path)?;
        match &file {
            Some(open) if open.footer.partition != *partition => {
                let what = format!("it is the day file of {}, not of {partition}", open.footer.partition);
                Err(ArchiveError::Footer { path, what })
            }
            _ => Ok(file),
        }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By what the file is known again; none where the system does not tell.
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// What it says about itself.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The bytes of the file, read when the first rows are wanted.
    pub(super) fn input(&self) -> Result<Input> {
        if let Some(input) = self.input.get() {
            return Ok(input.clone());
        }
        let mut input = Input::File(Arc::clone(&self.file));
        if self.bytes < WHOLE_BELOW {
            let mut whole = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
            let mut file = self.file.as_ref();
            let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut whole));
            read.map_err(|error| DiskError::new("read", &self.path, error))?;
            input = Input::Whole(whole.into());
        }
        Ok(self.input.get_or_init(|| input).clone())
    }

    pub(super) fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// Number of rows in a row group.
    pub fn group_rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata().row_group(group).num_rows()).unwrap_or_default()
    }

    /// Bytes of a row group.
    pub fn group_bytes(&self, group: usize) -> u64 {
        u64::try_from(self.metadata().row_group(group).compressed_size()).unwrap_or_default()
    }

    /// First and last event time in a row group, from its statistics; everything when there are none.
    pub fn group_times(&self, group: usize) -> (Micros, Micros) {
        match self.metadata().row_group(group).columns().first().and_then(|column| column.statistics()) {
            Some(Statistics::Int64(times)) => {
                (times.min_opt().copied().unwrap_or(Micros::MIN), times.max_opt().copied().unwrap_or(Micros::MAX))
            }
            _ => (Micros::MIN, Micros::MAX),
        }
    }

    /// When the last of its events was received, from its statistics; none when there are none.
    pub fn received_last(&self) -> Option<Micros> {
        let of_file = self.metadata.parquet_schema();
        let leaf = (0..of_file.num_columns()).find(|leaf| of_file.column(*leaf).path().parts() == ["received_at"])?;
        let last = |group| match self.metadata().row_group(group).column(leaf).statistics() {
            Some(Statistics::Int64(times)) => times.max_opt().copied(),
            _ => None,
        };
        (0..self.groups()).map(last).try_fold(Micros::MIN, |all, last| Some(all.max(last?)))
    }

    /// The row groups that have come since the file had so many bytes and rows, if it begins with all that it was then; none where it was
    /// written anew.
    pub fn groups_since(&self, bytes: u64, rows: u64) -> Option<Vec<usize>> {
        let span = |group: usize| {
            let columns = self.metadata().row_group(group).columns().iter().map(ColumnChunkMetaData::byte_range);
            columns.fold((u64::MAX, 0), |(from, to), (start, length)| (from.min(start), to.max(start.saturating_add(length))))
        };
        // Between the two there is the footer that ended it.
        let (before, since): (Vec<usize>, Vec<usize>) = (0..self.groups()).partition(|group| span(*group).1 < bytes);
        let is_whole = before.iter().map(|group| self.group_rows(*group) as u64).sum::<u64>() == rows;
        let is_behind = since.iter().all(|group| span(*group).0 >= bytes);
        (is_whole && is_behind).then_some(since)
    }

    /// True when the file has exactly the columns of the schema, so that its row groups can stand beside new ones.
    pub fn has_columns_of(&self, schema: &Schema) -> bool {
        let (mine, its) = (self.metadata.schema().fields(), schema.arrow().fields());
        mine.len() == its.len() && mine.iter().zip(its).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
    }

    /// The rows of some row groups, one after the other, with the columns of the schema.
    ///
    /// # Errors
    /// When the reader refuses; while iterating, when a page is damaged or the columns do not fit.
    pub fn rows(&self, groups: Vec<usize>, schema: &Arc<Schema>) -> Result<Run> {
        self.rows_by(BATCH_ROWS, groups, schema, conform)
    }

    fn rows_by(&self, at_a_time: usize, groups: Vec<usize>, schema: &Arc<Schema>, read: Reading) -> Result<Run> {
        let builder = self.builder(groups, ProjectionMask::all())?.with_batch_size(at_a_time);
        let batches = self.decoded(builder)?;
        let (schema, path) = (Arc::clone(schema), self.path.clone());
        let fits = self.has_columns_of(&schema);
        Ok(Box::new(batches.map(move |batch| {
            let batch = batch?;
            if fits {
                // The same columns, without the file's metadata on them.
                return RecordBatch::try_new(Arc::clone(schema.arrow()), batch.columns().to_vec())
                    .map_err(ArchiveError::arrow(&path));
            }
            read(&batch, &schema).map_err(|source| ArchiveError::Conform { path: path.clone(), source })
        })))
    }

    /// True when rows have a value in `raw` for a column that is null in them: they were written by an older schema, or by a program
    /// that read less. Looks only at row groups that have anything in `raw`.
    ///
    /// # Errors
    /// As for [`DayFile::rows`].
    pub fn lacks_values(&self, schema: &Arc<Schema>) -> Result<bool> {
        if schema.version == 0 {
            return Ok(false);
        }
        let raw = Field::new("raw", DataType::Utf8, true);
        for group in (0..self.groups()).filter(|group| self.alike(&[*group], &raw, 1).is_none_or(|raw| raw.null_count() == 0)) {
            for batch in self.rows(vec![group], schema)? {
                let batch = batch?;
                let reread = reread(&batch, schema);
                if reread.map_err(|source| ArchiveError::Conform { path: self.path.clone(), source })? != batch {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The rows of row groups that follow each other in time: some columns only, of some devices only (others may still be
    /// among them). What is not wanted is not decoded.
    ///
    /// # Errors
    /// As for [`DayFile::rows`].
    pub fn only(&self, groups: Vec<usize>, schema: &Arc<Schema>, wanted: &Wanted<'_>) -> Result<Run> {
        self.only_by(BATCH_ROWS, groups, schema, wanted)
    }

    fn only_by(&self, at_a_time: usize, groups: Vec<usize>, schema: &Arc<Schema>, wanted: &Wanted<'_>) -> Result<Run> {
        let all: Vec<usize> = (0..schema.arrow().fields().len()).collect();
        let columns = wanted.columns.unwrap_or(&all).to_vec();
        if !self.has_columns_of(schema) {
            let (rows, path) = (self.rows_by(at_a_time, groups, schema, conform)?, self.path.clone());
            return Ok(Box::new(rows.map(move |batch| batch?.project(&columns).map_err(ArchiveError::arrow(&path)))));
        }
        let target = Arc::new(schema.arrow().project(&columns).map_err(ArchiveError::arrow(&self.path))?);
        let most = groups.iter().map(|group| self.group_rows(*group)).sum::<usize>().min(at_a_time);
        let alike: Vec<Option<ArrayRef>> = target.fields().iter().map(|field| self.alike(&groups, field, most)).collect();
        let decoded = columns.iter().zip(&alike).filter(|(_, alike)| alike.is_none()).map(|(column, _)| *column);
        let of_file = self.metadata.parquet_schema();
        let mask = ProjectionMask::roots(of_file, decoded);
        let mut builder = self.builder(groups, mask)?.with_batch_size(at_a_time);
        if !wanted.devices.is_empty() {
            let devices = wanted.devices.clone();
            let is_wanted = ArrowPredicateFn::new(ProjectionMask::columns(of_file, ["device_id"]), move |batch: RecordBatch| {
                let Some(ids) = batch.column(0).as_string_opt::<i32>() else {
                    return Ok(BooleanArray::from(vec![true; batch.num_rows()]));
                };
                Ok(ids.iter().map(|id| Some(id.is_some_and(|id| devices.contains(id)))).collect())
            });
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(is_wanted)]));
        }
        let (batches, path) = (self.decoded(builder)?, self.path.clone());
        Ok(Box::new(batches.map(move |batch| {
            let batch = batch?;
            let mut decoded = batch.columns().iter();
            let column = |alike: &Option<ArrayRef>| match alike {
                Some(alike) => Some(alike.slice(0, batch.num_rows())),
                None => decoded.next().cloned(),
            };
            // The same columns, without the file's metadata on them.
            let columns = alike.iter().filter_map(column).collect();
            RecordBatch::try_new(Arc::clone(&target), columns).map_err(ArchiveError::arrow(&path))
        })))
    }

    /// What a reader decodes, batch by batch.
    fn decoded(
        &self,
        builder: ParquetRecordBatchReaderBuilder<Input>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + 'static + use<>> {
        let mut reader = guarded(&self.path, || builder.build().map_err(ArchiveError::parquet(&self.path)))?;
        let (path, day) = (self.path.clone(), self.footer.partition.day);
        Ok(std::iter::from_fn(move || {
            let batch = guarded(&path, || reader.next().transpose().map_err(ArchiveError::arrow(&path)));
            batch.and_then(|batch| batch.map(|batch| of_day(batch, day, &path)).transpose()).transpose()
        }))
    }

    /// So many rows of a column of which the statistics say that all rows of some groups are alike, as those of a project or an
    /// event type are; none where they do not say so. It need not be decoded then.
    fn alike(&self, groups: &[usize], field: &Field, rows: usize) -> Option<ArrayRef> {
        let of_file = self.metadata.parquet_schema();
        let leaf = (0..of_file.num_columns()).find(|leaf| of_file.column(*leaf).path().parts() == [field.name().as_str()])?;
        let mut all: Option<Option<&[u8]>> = None;
        for group in groups {
            let chunk = self.metadata().row_group(*group).column(leaf);
            let statistics = chunk.statistics()?;
            let value = match (statistics.null_count_opt()?, statistics) {
                (nulls, _) if i64::try_from(nulls) == Ok(chunk.num_values()) => None,
                (0, Statistics::ByteArray(texts)) if texts.min_is_exact() && texts.max_is_exact() => {
                    let text = texts.min_bytes_opt()?;
                    if texts.max_bytes_opt()? != text {
                        return None;
                    }
                    Some(text)
                }
                _ => return None,
            };
            if *all.get_or_insert(value) != value {
                return None;
            }
        }
        match all? {
            None => Some(new_null_array(field.data_type(), rows)),
            Some(text) if *field.data_type() == DataType::Utf8 => {
                let offsets = OffsetBuffer::try_from_repeated_length(text.len(), rows).ok()?;
                Some(Arc::new(StringArray::try_new(offsets, text.repeat(rows).into(), None).ok()?))
            }
            Some(_) => None,
        }
    }

    /// The groups in time order, if no two overlap: one run.
    pub fn one_run(&self, groups: &[usize]) -> Option<Vec<usize>> {
        let mut groups: Vec<_> = groups.iter().map(|group| (self.group_times(*group), *group)).collect();
        groups.sort_unstable();
        // A sealed file is in order as a whole; two of its groups may meet at one time.
        let apart = self.footer.sealed || groups.windows(2).all(|pair| pair[0].0.1 < pair[1].0.0);
        apart.then(|| groups.into_iter().map(|(_, group)| group).collect())
    }

    /// All rows as the schema of today reads them, as runs that are each in order; see [`reread`].
    ///
    /// # Errors
    /// As for [`DayFile::rows`].
    pub fn reread(&self, schema: &Arc<Schema>) -> Result<Vec<Run>> {
        let (chains, at_a_time) = self.chains(&(0..self.groups()).collect::<Vec<_>>());
        let run = |chain| -> Result<Run> {
            let batches = self.decoded(self.builder(chain, ProjectionMask::all())?.with_batch_size(at_a_time))?;
            let (schema, path) = (Arc::clone(schema), self.path.clone());
            Ok(Box::new(batches.map(move |batch| {
                reread(&batch?, &schema).map_err(|source| ArchiveError::Conform { path: path.clone(), source })
            })))
        };
        chains.into_iter().map(run).collect()
    }

    /// The row groups as runs that are each in order: groups that follow each other in time share a run. Columns that have come since
    /// are filled from `raw`: what is written of them says that it is of this schema.
    ///
    /// # Errors
    /// As for [`DayFile::rows`].
    pub fn runs(&self, groups: &[usize], schema: &Arc<Schema>) -> Result<Vec<Run>> {
        let (chains, at_a_time) = self.chains(groups);
        chains.into_iter().map(|chain| self.rows_by(at_a_time, chain, schema, reread)).collect()
    }

    /// The same runs of what is wanted, as [`DayFile::only`] reads it.
    ///
    /// # Errors
    /// As for [`DayFile::rows`].
    pub fn runs_of(&self, groups: &[usize], schema: &Arc<Schema>, wanted: &Wanted<'_>) -> Result<Vec<Run>> {
        let (chains, at_a_time) = self.chains(groups);
        chains.into_iter().map(|chain| self.only_by(at_a_time, chain, schema, wanted)).collect()
    }

    /// Groups by the runs that they make up, and how many rows of a run to decode at a time.
    fn chains(&self, groups: &[usize]) -> (Vec<Vec<usize>>, usize) {
        let mut chains: Vec<(Micros, Vec<usize>)> = Vec::new();
        let mut groups: Vec<_> = groups.iter().map(|group| (self.group_times(*group), *group)).collect();
        groups.sort_unstable();
        for ((first, last), group) in groups {
            match chains.iter_mut().find(|(end, _)| *end < first) {
                Some((end, chain)) => {
                    *end = last;
                    chain.push(group);
                }
                None => chains.push((last, vec![group])),
            }
        }
        let at_a_time = (MERGED_ROWS / chains.len().max(1)).clamp(BATCH_ROWS_MIN, BATCH_ROWS);
        (chains.into_iter().map(|(_, chain)| chain).collect(), at_a_time)
    }

    /// Hands on the keys (time, event id) of a row group, batch by batch.
    ///
    /// # Errors
    /// When a page is damaged.
    pub fn keys(&self, group: usize, mut take: impl FnMut(&[Micros], &StringArray)) -> Result<()> {
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), ["time", "event_id"]);
        let mut reader = self.reader(vec![group], mask)?;
        while let Some(batch) = guarded(&self.path, || reader.next().transpose().map_err(ArchiveError::arrow(&self.path)))? {
            let time = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>();
            if let (Some(time), Some(ids)) = (time, batch.column(1).as_string_opt()) {
                take(time.values(), ids);
            }
        }
        Ok(())
    }

    /// The devices that its events are about.
    ///
    /// # Errors
    /// When a page is damaged.
    pub fn devices(&self) -> Result<BTreeSet<Device>> {
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), ["device_id"]);
        let mut reader = self.reader((0..self.groups()).collect(), mask)?;
        let (mut found, mut has_others) = (HashSet::new(), false);
        while let Some(batch) = guarded(&self.path, || reader.next().transpose().map_err(ArchiveError::arrow(&self.path)))? {
            let ids = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
            let Some(ids) = ids else {
                return Err(ArchiveError::Footer { path: self.path.clone(), what: "it has no text device_id".to_owned() });
            };
            for id in ids.iter().flatten() {
                if !found.contains(id) {
                    found.insert(id.to_owned());
                }
            }
            has_others |= ids.null_count() > 0;
        }
        Ok(found.into_iter().map(Some).chain(has_others.then_some(None)).collect())
    }

    fn reader(&self, groups: Vec<usize>, mask: ProjectionMask) -> Result<ParquetRecordBatchReader> {
        let builder = self.builder(groups, mask)?;
        guarded(&self.path, || builder.build().map_err(ArchiveError::parquet(&self.path)))
    }

    fn builder(&self, groups: Vec<usize>, mask: ProjectionMask) -> Result<ParquetRecordBatchReaderBuilder<Input>> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.input()?, self.metadata.clone());
        Ok(builder.with_row_groups(groups).with_projection(mask).with_batch_size(BATCH_ROWS))
    }
}

/// How rows become those of a schema.
type Reading = fn(&RecordBatch, &Arc<Schema>) -> std::result::Result<RecordBatch, ConformError>;

/// Reads; bytes so damaged that they bring the Parquet reader down are an error like any other, so that one file does not
/// keep a recorder from starting, or the other files from being exported.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let what = "it is damaged and brings its reader down; move it out of the recording".to_owned();
        Err(ArchiveError::Footer { path: path.to_owned(), what })
    })
}

/// Every day file of a recording: path and day, sorted by folder and day. Other files are left out.
///
/// # Errors
/// When a folder cannot be listed.
pub fn day_files(layout: &Layout) -> Result<Vec<(PathBuf, Day)>> {
    let mut files = Vec::new();
    for folder in disk::list(&layout.data())? {
        if folder.is_dir() {
            files.extend(disk::list(&folder)?.into_iter().filter_map(|path| layout::day_of(&path).map(|day| (path, day))));
        }
    }
    Ok(files)
}

/// A batch whose times are all of a day, as those of each day file are: buckets and merges go by that.
fn of_day(batch: RecordBatch, day: Day, path: &Path) -> Result<RecordBatch> {
    let times = batch.column_by_name("time").and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    match times.and_then(|times| times.iter().flatten().find(|time| Day::of(*time) != day)) {
        None => Ok(batch),
        Some(time) => {
            let what = format!("it is the day file of {day} and holds a time of {}; move it out of the recording", Day::of(time));
            Err(ArchiveError::Footer { path: path.to_owned(), what })
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;

    use super::*;
    use crate::model::schema::Registry;
    use crate::store::archive::{DayWriter, Effort, GROUP_ROWS};

    fn day_file(path: &Path, schema: &Schema, text: impl Fn(&Field, usize) -> Option<String>) -> DayFile {
        let rows = 2 * GROUP_ROWS;
        let column = |field: &Arc<Field>| -> ArrayRef {
            match field.data_type() {
                DataType::Utf8 => Arc::new((0..rows).map(|row| text(field, row)).collect::<StringArray>()),
                DataType::Timestamp(..) => {
                    let times = (0..rows).map(|row| i64::try_from(row).unwrap());
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                kind => new_null_array(kind, rows),
            }
        };
        let columns = schema.arrow().fields().iter().map(column).collect();
        let mut writer = DayWriter::create(path, schema, Effort::Seal).unwrap();
        writer.write(&RecordBatch::try_new(Arc::clone(schema.arrow()), columns).unwrap()).unwrap();
        let footer = Footer {
            partition: Partition { event_type: schema.name.as_str().into(), day: Day(0) },
            schema_version: 1,
            rows: writer.rows(),
            time_first: 0,
            time_last: i64::try_from(rows).unwrap() - 1,
            buffer_id: "b".to_owned(),
            seq_last: 1,
            sealed: true,
        };
        writer.finish(&footer).unwrap();
        DayFile::open(path).unwrap().unwrap()
    }

    /// All rows as one batch.
    fn whole(run: Run, schema: &Schema) -> RecordBatch {
        let batches: Vec<_> = run.map(Result::unwrap).collect();
        arrow::compute::concat_batches(schema.arrow(), &batches).unwrap()
    }

    #[test]
    fn columns_of_which_all_rows_are_alike_read_as_if_they_were_decoded() {
        let folder = tempfile::tempdir().unwrap();
        let schema = Registry::built_in().unwrap().get("temperature");
        let long = "x".repeat(70);
        // What a column holds in a row: the same always, in one row group only, but for its end, or nearly always nothing.
        let kinds: [&dyn Fn(usize) -> Option<String>; 6] = [
            &|_| Some("ø".to_owned()),
            &|row| Some((row / GROUP_ROWS).to_string()),
            &|row| Some(format!("{long}{row}")),
            &|_| None,
            &|row| (row == 3).then(|| "a".to_owned()),
            &|row| (row < GROUP_ROWS).then(|| "a".to_owned()),
        ];
        for first in 0..kinds.len() {
            let kind = |field: &Field| {
                let number = first + schema.arrow().index_of(field.name()).unwrap();
                if field.is_nullable() { number % kinds.len() } else { number % 3 }
            };
            let path = folder.path().join(format!("{first}.parquet"));
            let file = day_file(&path, &schema, |field, row| kinds[kind(field)](row));
            let devices = HashSet::new();
            let mut groups = 0;
            for wanted in [vec![0], vec![1], vec![0, 1]] {
                let all = Wanted { columns: None, devices: &devices };
                let decoded = whole(file.rows(wanted.clone(), &schema).unwrap(), &schema);
                assert_eq!(whole(file.only(wanted, &schema, &all).unwrap(), &schema), decoded, "{first}");
                groups += decoded.num_rows() / GROUP_ROWS;
            }
            assert_eq!(groups, 4);
            for field in schema.arrow().fields().iter().filter(|field| *field.data_type() == DataType::Utf8) {
                let is_told = field.name() != "raw" && matches!(kind(field), 0 | 3);
                assert_eq!(file.alike(&[0, 1], field, 1).is_some(), is_told, "{field}");
            }
        }
    }
}
