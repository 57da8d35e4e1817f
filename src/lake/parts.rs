//! The Parquet files of a lake: written as day files are, with the recorder beside each row, and read again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::base::disk::{self, DiskError};
use crate::base::time::{self, Day, Micros};
use crate::model;
use crate::store::archive::{ArchiveError, Effort, Keys, Merge, Run, Sorted, parquet_properties};

use super::kernel::Part;
use super::place::{Place, Put};
use super::{LakeError, Result};

/// The column that says who shipped a row.
const RECORDER: &str = "recorder";
/// A part is at most about so large: it is held in memory while it is sent.
const PART_BYTES: usize = 32 * 1024 * 1024;

/// The columns of an event type in a lake: those of its day files, and who shipped the row.
pub(super) fn columns(schema: &model::schema::Schema) -> SchemaRef {
    let described = schema.described();
    let recorder = Field::new(RECORDER, DataType::Utf8, true);
    let all = described.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).chain([recorder]);
    Arc::new(Schema::new(all.collect::<Fields>()))
}

/// Rows of day files with who ships them.
pub(super) fn marked(rows: Run, columns: SchemaRef, recorder: &str) -> Run {
    let recorder = recorder.to_owned();
    Box::new(rows.map(move |batch| {
        let batch = batch?;
        let who: ArrayRef = Arc::new(StringArray::from(vec![recorder.as_str(); batch.num_rows()]));
        let arrays = batch.columns().iter().map(Arc::clone).chain([who]).collect();
        RecordBatch::try_new(Arc::clone(&columns), arrays).map_err(ArchiveError::arrow(Path::new(RECORDER)))
    }))
}

/// A part that stands on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Where it stands.
    pub(super) file: PathBuf,
    /// Number of rows.
    pub(super) rows: u64,
    /// Time of the first and the last row.
    pub(super) times: (Micros, Micros),
}

/// Writes rows in order to files in a folder, which begin with `begin`, each of a size that is fine to send. No file for no rows.
///
/// # Errors
/// When a row cannot be read, or the disk refuses.
pub(super) fn write(rows: Run, columns: &SchemaRef, folder: &Path, begin: &str) -> Result<Vec<Written>> {
    let mut done: Vec<Written> = Vec::new();
    let mut open: Option<(ArrowWriter<File>, Written)> = None;
    for batch in rows {
        let batch = batch?;
        let Some(keys) = Keys::of(&batch).filter(|keys| !keys.is_empty()) else { continue };
        let (mut writer, mut written) = if let Some(open) = open.take() {
            open
        } else {
            let file = folder.join(format!("{begin}-{}.parquet", done.len()));
            let properties = parquet_properties(columns, Effort::Seal).map_err(ArchiveError::parquet(&file))?.build();
            let out = ArrowWriter::try_new(disk::create(&file)?, Arc::clone(columns), Some(properties));
            let times = (Micros::MAX, Micros::MIN);
            (out.map_err(ArchiveError::parquet(&file))?, Written { file, rows: 0, times })
        };
        writer.write(&batch).map_err(ArchiveError::parquet(&written.file))?;
        written.rows += batch.num_rows() as u64;
        let (first, last) = (keys.get(0).0, keys.get(keys.len() - 1).0);
        written.times = (written.times.0.min(first), written.times.1.max(last));
        if writer.bytes_written() + writer.in_progress_size() < PART_BYTES {
            open = Some((writer, written));
        } else {
            done.push(finished(writer, written)?);
        }
    }
    if let Some((writer, written)) = open {
        done.push(finished(writer, written)?);
    }
    Ok(done)
}

fn finished(mut writer: ArrowWriter<File>, written: Written) -> Result<Written> {
    writer.finish().map_err(ArchiveError::parquet(&written.file))?;
    disk::sync(writer.inner(), &written.file)?;
    Ok(written)
}

/// A written file as a part of a table: its name says whose it is, and what is in it.
///
/// # Errors
/// When it does not read.
pub(super) fn named(written: &Written, day: Day, kind: &str, of: &str) -> Result<Part> {
    let (sum, bytes) = disk::sha256(&written.file)?;
    let path = format!("day={day}/{kind}-{of}-{}.parquet", &sum[..16]);
    let rows = Some(written.rows);
    let (times, now) = (Some(written.times), time::now() / 1000);
    Ok(Part { path, day: day.0, bytes, rows, times, written: now, has_deletions: false })
}

/// Puts a part that stands on this disk in a table. What is there already is what was to be put: its name is made of its bytes.
///
/// # Errors
/// When the store refuses or does not answer, when the file does not read.
pub(super) fn put(place: &Place, table: &str, part: &Part, file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).map_err(|error| DiskError::new("read", file, error))?;
    let to = format!("{table}/{}", part.path);
    if place.put_new(&to, Bytes::from(bytes))? == Put::There && place.size(&to)? != Some(part.bytes) {
        return Err(LakeError::Strange { what: format!("{}{to} is there, and is not {} bytes long", place.shown(), part.bytes) });
    }
    Ok(())
}

/// The rows of a file of a lake that stands on this disk, in order, with these columns: null where it lacks one.
///
/// # Errors
/// When it is no Parquet; while iterating, when a page is damaged.
pub(super) fn rows(file: &Path, columns: &SchemaRef) -> Result<Run> {
    let fail = ArchiveError::parquet(file);
    let builder = ParquetRecordBatchReaderBuilder::try_new(disk::open(file)?).map_err(&fail)?;
    let wanted: Vec<usize> = {
        let there = builder.schema().fields();
        (0..there.len()).filter(|at| columns.column_with_name(there[*at].name()).is_some()).collect()
    };
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let batches = builder.with_projection(mask).build().map_err(&fail)?;
    let (path, columns) = (file.to_owned(), Arc::clone(columns));
    let fitted = batches.map(move |batch| {
        let batch = batch.map_err(ArchiveError::arrow(&path))?;
        fit(&batch, &columns).map_err(ArchiveError::arrow(&path))
    });
    in_order(Box::new(fitted), file)
}

/// Columns by their names, of the wanted types.
fn fit(batch: &RecordBatch, columns: &SchemaRef) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => fitted(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    RecordBatch::try_new(Arc::clone(columns), columns.fields().iter().map(column).collect::<std::result::Result<_, _>>()?)
}

/// A column as another type: lists whose items have fewer fields, names of elements, time zones by another name.
fn fitted(column: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    let (Some(list), DataType::List(element)) = (column.as_list_opt::<i32>(), to) else { return cast(column, to) };
    let values = match (list.values().as_struct_opt(), element.data_type()) {
        (Some(items), DataType::Struct(fields)) => {
            let arrays = fields.iter().map(|field| match items.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) => fitted(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), items.len())),
            });
            let arrays = arrays.collect::<std::result::Result<Vec<_>, _>>()?;
            let items =
                arrow::array::StructArray::try_new_with_length(fields.clone(), arrays, items.nulls().cloned(), items.len())?;
            Arc::new(items) as ArrayRef
        }
        _ => cast(list.values(), element.data_type())?,
    };
    let list = arrow::array::ListArray::try_new(Arc::clone(element), list.offsets().clone(), values, list.nulls().cloned())?;
    Ok(Arc::new(list))
}

/// The rows as they are where they are in order, which all are that overnight wrote; else put in order, all of them in memory.
fn in_order(rows: Run, file: &Path) -> Result<Run> {
    // Looked at twice: what another program wrote may be in any order, and says nothing of it.
    if is_in_order(file)? {
        return Ok(rows);
    }
    let batches = rows.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Sorted::new(batches).map_err(ArchiveError::arrow(file))?.into_run())
}

fn is_in_order(file: &Path) -> Result<bool> {
    let fail = ArchiveError::parquet(file);
    let builder = ParquetRecordBatchReaderBuilder::try_new(disk::open(file)?).map_err(&fail)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["time", "event_id"]);
    let mut last: Option<(Micros, String)> = None;
    for batch in builder.with_projection(mask).build().map_err(&fail)? {
        let batch = batch.map_err(ArchiveError::arrow(file))?;
        let strange =
            || LakeError::Strange { what: format!("{} has no time and event_id as overnight writes them", file.display()) };
        let keys = Keys::of(&batch).ok_or_else(strange)?;
        let mut before = last.as_ref().map(|(time, id)| (*time, id.as_str()));
        for key in keys.iter() {
            if before.is_some_and(|before| before >= key) {
                return Ok(false);
            }
            before = Some(key);
        }
        last = before.map(|(time, id)| (time, id.to_owned()));
    }
    Ok(true)
}

/// The columns that rows are known by.
pub(super) fn keys() -> SchemaRef {
    let time = Field::new("time", model::schema::time_type(), true);
    Arc::new(Schema::new(vec![time, Field::new("event_id", DataType::Utf8, true)]))
}

/// Rows in order without those whose keys stand in other rows in order.
pub(super) fn without(rows: Run, mut others: Merge) -> Run {
    let mut head: Option<(Keys, usize)> = None;
    let mut is_over = false;
    let mut step = move |batch: &RecordBatch| -> std::result::Result<RecordBatch, ArchiveError> {
        let Some(keys) = Keys::of(batch) else { return Ok(batch.clone()) };
        let mut stays = Vec::with_capacity(keys.len());
        for key in keys.iter() {
            let is_there = loop {
                match &mut head {
                    Some((others, at)) if *at < others.len() => match others.get(*at).cmp(&key) {
                        std::cmp::Ordering::Less => *at += 1,
                        order => break order == std::cmp::Ordering::Equal,
                    },
                    _ if is_over => break false,
                    head => match others.next().transpose()? {
                        Some(batch) => *head = Keys::of(&batch).map(|keys| (keys, 0)),
                        None => is_over = true,
                    },
                }
            };
            stays.push(!is_there);
        }
        filter_record_batch(batch, &BooleanArray::from(stays)).map_err(ArchiveError::arrow(Path::new("rows")))
    };
    Box::new(rows.map(move |batch| step(&batch?)))
}
