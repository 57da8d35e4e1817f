//! Export: day files and buffer as one, in time order, each event once, in constant memory; one format a file.
//!
//! A partition is read like this: first its blocks, in one SQLite read transaction, then its day file. Blocks that the
//! file's footer covers are in the file already. So recording may go on meanwhile, and no long transaction holds its log.

mod csv;
mod ndjson;
mod parquet;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::archive::{ArchiveError, DayFile, Merge, Run, day_files, sorted};
use crate::buffer::{BufferError, View};
use crate::disk::DiskError;
use crate::event::Partition;
use crate::layout::Layout;
use crate::schema::{RebuildError, Registry, Schema, conform};
use crate::time::{Day, Micros};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The buffer cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An event cannot be turned back into JSON.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The output cannot be written.
    #[error("cannot write {to}: {source}")]
    Output {
        /// The output.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output exists already.
    #[error("{} exists already; give another -o, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// Parquet holds one event type a file.
    #[error(
        "{0} event types do not fit one Parquet file, since their columns differ; give a directory (-o DIR/), or one --event-type"
    )]
    OneType(usize),
    /// An event type that the recording does not have.
    #[error("the recording has no events of type {wanted:?}; it has {known}")]
    NoType {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Arrow or the Parquet writer refused.
    #[error("cannot write {to}: {what}")]
    Format {
        /// The output.
        to: String,
        /// What was said.
        what: String,
    },
    /// Rows of the buffer do not fit their schema.
    #[error("{partition} in the buffer: {what}")]
    Block {
        /// The partition.
        partition: Partition,
        /// What does not fit.
        what: String,
    },
}

impl ExportError {
    /// True when whoever read the output has had enough.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

type Result<T> = std::result::Result<T, ExportError>;

/// A format of export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// Parquet, one event type a file.
    Parquet,
    /// One event a line, as it was received.
    Ndjson,
}

impl Format {
    /// The usual ending of a file name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Event types; none given: all.
    pub event_types: Vec<String>,
    /// Devices; none given: all.
    pub devices: HashSet<String>,
    /// From this time on.
    pub start: Option<Micros>,
    /// Up to this time, exclusive.
    pub end: Option<Micros>,
}

impl Selection {
    fn has_day(&self, day: Day) -> bool {
        self.start.is_none_or(|start| day.end() > start) && self.end.is_none_or(|end| day.start() < end)
    }

    fn overlaps(&self, (first, last): (Micros, Micros)) -> bool {
        self.start.is_none_or(|start| last >= start) && self.end.is_none_or(|end| first < end)
    }
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// One file.
    File(PathBuf),
    /// A directory, one file an event type.
    Directory(PathBuf),
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Events by type.
    pub rows: BTreeMap<String, u64>,
    /// Files written.
    pub files: Vec<PathBuf>,
}

/// A recording, open for reading.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    registry: Arc<Registry>,
    view: Option<View>,
}

/// The partitions of an event type, and about how many events they hold.
#[derive(Debug)]
pub struct TypePlan {
    schema: Arc<Schema>,
    partitions: Vec<Partition>,
    /// Events, for a progress bar: doubles in the buffer count, and what a filter leaves out.
    pub events: u64,
}

impl Reader {
    /// Opens a recording. Day files alone, without a buffer, are a recording too.
    ///
    /// # Errors
    /// When there is neither.
    pub fn open(layout: &Layout, registry: Arc<Registry>) -> Result<Self> {
        let view = match View::open(layout) {
            Ok(view) => Some(view),
            Err(BufferError::Missing(_)) if layout.data().is_dir() => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { layout: layout.clone(), registry, view })
    }

    /// The buffer, if there is one.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// What a selection covers, by event type.
    ///
    /// # Errors
    /// When the buffer or a footer does not read, or a type was asked for that the recording lacks.
    pub fn plan(&self, selection: &Selection) -> Result<Vec<TypePlan>> {
        let mut days: BTreeMap<Arc<str>, (BTreeSet<Day>, u64)> = BTreeMap::new();
        let mut known = BTreeSet::new();
        let mut add = |partition: Partition, events: u64| {
            known.insert(partition.event_type.to_string());
            let wanted =
                selection.event_types.is_empty() || selection.event_types.iter().any(|wanted| **wanted == *partition.event_type);
            if wanted && selection.has_day(partition.day) {
                let (days, sum) = days.entry(partition.event_type).or_default();
                days.insert(partition.day);
                *sum += events;
            }
        };
        if let Some(view) = &self.view {
            view.pending()?.into_iter().for_each(|pending| add(pending.partition, pending.events));
        }
        let folders: Vec<PathBuf> = selection.event_types.iter().map(|wanted| self.layout.folder(wanted)).collect();
        for (path, day) in day_files(&self.layout)? {
            // A file that nobody asked for need not be readable.
            let wanted = folders.is_empty() || folders.iter().any(|folder| path.starts_with(folder));
            if wanted
                && selection.has_day(day)
                && let Some(file) = DayFile::open(&path)?
            {
                add(file.footer().partition.clone(), file.footer().rows);
            }
        }
        for (wanted, folder) in selection.event_types.iter().zip(&folders) {
            if !known.contains(wanted) && !folder.is_dir() {
                known.extend(self.folder_names()?);
                let known = if known.is_empty() { "none at all".to_owned() } else { Vec::from_iter(known).join(", ") };
                return Err(ExportError::NoType { wanted: wanted.clone(), known });
            }
        }
        let plans = days.into_iter().map(|(event_type, (days, events))| TypePlan {
            schema: self.registry.get(&event_type),
            partitions: days.into_iter().map(|day| Partition { event_type: Arc::clone(&event_type), day }).collect(),
            events,
        });
        Ok(plans.collect())
    }

    /// Names of the folders of day files: event types as file names.
    fn folder_names(&self) -> Result<Vec<String>> {
        let folders = crate::disk::list(&self.layout.data()).map_err(ArchiveError::from)?;
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(folders.iter().filter_map(name).collect())
    }

    /// The selected rows of a type, in time order.
    fn rows<'a>(&'a self, plan: &'a TypePlan, selection: &'a Selection) -> Rows<'a> {
        Rows { reader: self, plan, selection, next: 0, run: None }
    }

    /// All blocks of a partition, as of one moment: a recorder rolls long before they crowd the memory.
    fn blocks(&self, partition: &Partition) -> Result<Vec<(i64, RecordBatch)>> {
        let Some(view) = &self.view else { return Ok(Vec::new()) };
        view.at_one_moment(|| {
            let (mut all, mut more) = view.blocks(partition, 0, usize::MAX)?;
            while more {
                let above = all.last().map_or(0, |(seq, _)| *seq);
                let (next, rest) = view.blocks(partition, above, usize::MAX)?;
                all.extend(next);
                more = rest;
            }
            Ok(all)
        })
    }

    fn partition(&self, partition: &Partition, schema: &Arc<Schema>, selection: &Selection) -> Result<Merge> {
        let blocks = self.blocks(partition)?;
        let file = DayFile::of(&self.layout, partition)?;
        let covered = match (&file, &self.view) {
            (Some(file), Some(view)) => file.footer().covers(view.id()),
            _ => 0,
        };
        let fail = |what: String| ExportError::Block { partition: partition.clone(), what };
        let pending: Vec<RecordBatch> = blocks
            .iter()
            .filter(|(seq, _)| *seq > covered)
            .map(|(_, rows)| conform(rows, schema).map_err(|error| fail(error.to_string())))
            .collect::<Result<_>>()?;
        let mut runs = match &file {
            Some(file) => {
                let groups: Vec<_> = (0..file.groups()).filter(|group| selection.overlaps(file.group_times(*group))).collect();
                file.runs(&groups, schema)?
            }
            None => Vec::new(),
        };
        if let Some(rows) = sorted(&pending).map_err(|error| fail(error.to_string()))? {
            runs.push(Box::new([Ok(rows)].into_iter()) as Run);
        }
        Ok(Merge::new(runs))
    }
}

/// Rows of one event type, partition by partition.
struct Rows<'a> {
    reader: &'a Reader,
    plan: &'a TypePlan,
    selection: &'a Selection,
    next: usize,
    run: Option<Merge>,
}

impl Rows<'_> {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(run) = &mut self.run
                && let Some(batch) = run.next()
            {
                let batch = select(&batch?, self.selection).map_err(ArchiveError::arrow(Path::new("rows")))?;
                if batch.num_rows() > 0 {
                    return Ok(Some(batch));
                }
                continue;
            }
            let Some(partition) = self.plan.partitions.get(self.next) else { return Ok(None) };
            self.next += 1;
            self.run = Some(self.reader.partition(partition, &self.plan.schema, self.selection)?);
        }
    }
}

fn select(batch: &RecordBatch, selection: &Selection) -> std::result::Result<RecordBatch, ArrowError> {
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let mut batch = batch.clone();
    if selection.start.is_some() || selection.end.is_some() {
        // Rows are in time order, so a range of time is a range of rows.
        let from = selection.start.map_or(0, |start| times.partition_point(|time| *time < start));
        let to = selection.end.map_or(times.len(), |end| times.partition_point(|time| *time < end));
        batch = batch.slice(from, to.saturating_sub(from));
    }
    if !selection.devices.is_empty() {
        let devices = batch.column(1).as_string::<i32>();
        let wanted: BooleanArray =
            (0..devices.len()).map(|row| Some(devices.is_valid(row) && selection.devices.contains(devices.value(row)))).collect();
        batch = filter_record_batch(&batch, &wanted)?;
    }
    Ok(batch)
}

/// What a format does with rows. `of` numbers the event types of the output; `fresh` says that the batch is another one
/// than the last one of this number.
trait Sink {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Exports a selection. `progress` is called with the number of rows written since the last call.
///
/// # Errors
/// When the recording does not read or the output cannot be written. A file that was not finished is removed.
pub fn export(
    reader: &Reader,
    plans: &[TypePlan],
    selection: &Selection,
    format: Format,
    output: &Output,
    force: bool,
    mut progress: impl FnMut(u64),
) -> Result<Exported> {
    let mut exported = Exported::default();
    match output {
        Output::Stdout => {
            let sink = sink(format, plans, "standard output", Box::new(io::stdout()))?;
            merge(reader, &plans.iter().collect::<Vec<_>>(), selection, sink, &mut exported, &mut progress)?;
        }
        Output::File(path) => {
            to_file(reader, plans, selection, format, path, force, &mut exported, &mut progress)?;
        }
        Output::Directory(directory) => {
            fs::create_dir_all(directory)
                .map_err(|source| ExportError::Output { to: directory.display().to_string(), source })?;
            for plan in plans {
                // The folder of a type is a safe name already.
                let folder = reader.layout.folder(&plan.schema.name);
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let path = directory.join(format!("{name}.{}", format.extension()));
                let plan = std::slice::from_ref(plan);
                to_file(reader, plan, selection, format, &path, force, &mut exported, &mut progress)?;
            }
        }
    }
    Ok(exported)
}

#[expect(clippy::too_many_arguments, reason = "one call, from two places")]
fn to_file(
    reader: &Reader,
    plans: &[TypePlan],
    selection: &Selection,
    format: Format,
    path: &Path,
    force: bool,
    exported: &mut Exported,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    if path.is_file() && !force {
        return Err(ExportError::Exists(path.to_owned()));
    }
    let to = path.display().to_string();
    if path.exists() && !path.is_file() {
        // A device or a pipe is written to, never replaced.
        let file =
            fs::OpenOptions::new().write(true).open(path).map_err(|source| ExportError::Output { to: to.clone(), source })?;
        let sink = sink(format, plans, &to, Box::new(file))?;
        return merge(reader, &plans.iter().collect::<Vec<_>>(), selection, sink, exported, progress);
    }
    let fail = |error: DiskError| ExportError::Output { to: to.clone(), source: error.source };
    // Whoever opens the name sees a whole file.
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = crate::disk::create_for_others(&part).map_err(fail)?;
    let written = file
        .try_clone()
        .map_err(|source| ExportError::Output { to: to.clone(), source })
        .and_then(|file| sink(format, plans, &to, Box::new(file)))
        .and_then(|sink| merge(reader, &plans.iter().collect::<Vec<_>>(), selection, sink, exported, progress));
    if let Err(error) = written {
        crate::disk::remove(&part).map_err(fail)?;
        return Err(error);
    }
    crate::disk::sync(&file, &part).and_then(|()| crate::disk::publish(&part, path)).map_err(fail)?;
    exported.files.push(path.to_owned());
    Ok(())
}

fn sink<'a>(format: Format, plans: &[TypePlan], to: &str, out: Box<dyn Write + Send + 'a>) -> Result<Box<dyn Sink + 'a>> {
    let schemas: Vec<Arc<Schema>> = plans.iter().map(|plan| Arc::clone(&plan.schema)).collect();
    let out = Out { to: to.to_owned(), out };
    Ok(match format {
        Format::Csv => Box::new(csv::Csv::new(&schemas, out)?),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(schemas, out)),
        Format::Parquet => Box::new(parquet::Parquet::new(&schemas, out)?),
    })
}

/// An event type on its way into a merge in time order.
struct Head<'a> {
    of: usize,
    rows: Rows<'a>,
    batch: RecordBatch,
    row: usize,
    fresh: bool,
}

impl Head<'_> {
    fn times(&self) -> &[Micros] {
        self.batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
    }
}

/// All types of an output in time order; events of the same time by type.
fn merge(
    reader: &Reader,
    plans: &[&TypePlan],
    selection: &Selection,
    mut sink: Box<dyn Sink + '_>,
    exported: &mut Exported,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut heads = Vec::new();
    for (of, plan) in plans.iter().enumerate() {
        exported.rows.entry(plan.schema.name.clone()).or_default();
        let mut rows = reader.rows(plan, selection);
        if let Some(batch) = rows.next_batch()? {
            heads.push(Head { of, rows, batch, row: 0, fresh: true });
        }
    }
    let mut counts = vec![0_u64; plans.len()];
    let mut unreported = 0;
    while let Some(least) = (0..heads.len()).min_by_key(|at| (heads[*at].times()[heads[*at].row], heads[*at].of)) {
        let bound = (0..heads.len()).filter(|at| *at != least).map(|at| (heads[at].times()[heads[at].row], heads[at].of)).min();
        let head = &mut heads[least];
        let rest = &head.times()[head.row..];
        let to = head.row + bound.map_or(rest.len(), |(time, of)| rest.partition_point(|own| (*own, head.of) < (time, of)));
        sink.write(head.of, &head.batch, head.row..to, head.fresh)?;
        let rows = (to - head.row) as u64;
        counts[head.of] += rows;
        unreported += rows;
        if unreported >= 4096 {
            progress(std::mem::take(&mut unreported));
        }
        (head.row, head.fresh) = (to, false);
        if to == head.batch.num_rows() {
            match head.rows.next_batch()? {
                Some(batch) => (head.batch, head.row, head.fresh) = (batch, 0, true),
                None => drop(heads.remove(least)),
            }
        }
    }
    progress(unreported);
    for (plan, count) in plans.iter().zip(counts) {
        *exported.rows.entry(plan.schema.name.clone()).or_default() += count;
    }
    sink.finish()
}

/// The output with its name, for errors.
struct Out<'a> {
    to: String,
    out: Box<dyn Write + Send + 'a>,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| ExportError::Output { to: self.to.clone(), source })
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|source| ExportError::Output { to: self.to.clone(), source })
    }
}
