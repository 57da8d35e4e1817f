//! Export: tables of a recording for others, in constant memory; one format a file.

mod arrow;
mod cells;
mod csv;
mod dialect;
mod glance;
mod lines;
mod locales;
mod misread;
mod ndjson;
mod parquet;
mod terminal;
mod text;
mod threaded;
#[cfg(feature = "workbooks")]
mod xlsx;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::arrow::array::{AsArray, RecordBatch};
use ::arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use crate::base::disk::{self, OutputError, Unfinished};
use crate::base::error::plain;
use crate::base::time::{Day, Micros};
use crate::base::zone::Zone;
use crate::model::layout::Layout;
use crate::model::schema::{RebuildError, Schema};
use crate::query::reader::Reader;
use crate::query::tables::{Table, TableError};

pub use dialect::{Dialect, TimeFormat};
pub use glance::{Glance, Seen, glance, seen};
pub use misread::Misread;
pub use text::write_text;

/// Rows of a sheet, its header among them.
pub const SHEET_ROWS: u32 = 1_048_576;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An event cannot be turned back into JSON.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The output cannot be written.
    #[error("cannot write {to}: {}", plain(source))]
    Output {
        /// The output.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output exists already.
    #[error("{} exists already; give another -o, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// The output is the recording's own.
    #[error("{} is the recording's own, and would be read as a part of it; give another -o", .0.display())]
    Own(PathBuf),
    /// Parquet and Arrow hold one event type a file.
    #[error("{0} event types do not fit one file, since their columns differ; give a directory (-o DIR/), or one --event-type")]
    OneType(usize),
    /// Rows that are not in the order of time are not told apart by day.
    #[error("only rows in the order of time can be told apart by day; leave out --partition-by, or --samples and --latest")]
    NoDays,
    /// Arrow or the writer of a format refused.
    #[error("cannot write {to}: {}", plain(&**source))]
    Format {
        /// The output.
        to: String,
        /// What was said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<OutputError> for ExportError {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Exists(path) => Self::Exists(path),
            OutputError::Disk(error) => Self::Output { to: error.path.display().to_string(), source: error.source },
        }
    }
}

impl ExportError {
    fn format(to: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Format { to: to.to_owned(), source: source.into() }
    }

    /// True when what was asked for cannot be, whatever the recording holds.
    pub fn is_wrong_use(&self) -> bool {
        matches!(self, Self::Own(_) | Self::OneType(_) | Self::NoDays | Self::Table(TableError::Ask(_)))
    }

    /// True when whoever read the output has had enough.
    pub fn is_broken_pipe(&self) -> bool {
        disk::cause(self).is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
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
    /// Arrow IPC (Feather), one event type a file.
    Arrow,
    /// One event a line, as it was received; other tables, and events with names or labels, as one object a row.
    Ndjson,
    /// An Excel workbook, a sheet an event type.
    #[cfg(feature = "workbooks")]
    Xlsx,
}

impl Format {
    /// The usual ending of a file name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Ndjson => "ndjson",
            #[cfg(feature = "workbooks")]
            Self::Xlsx => "xlsx",
        }
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
    /// Columns in which a number is missing, since no double holds it, and how often.
    pub overflows: BTreeMap<String, u64>,
}

impl Exported {
    fn end(&mut self, table: &dyn Table) {
        for (column, times) in table.overflows() {
            *self.overflows.entry(column).or_default() += times;
        }
    }
}

/// What is in a file of its own, where the output is a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partition {
    /// Each table: `temperature.csv`.
    #[default]
    Type,
    /// Each table and day: `temperature/2026-11-23.parquet`.
    Day,
    /// Each table and month: `temperature/2026-11.parquet`.
    Month,
    /// The same as keys, as Hive has it: `event_type=temperature/date=2026-11-23/part-0.parquet`.
    Hive,
}

/// How to export.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As what.
    pub format: Format,
    /// Where to.
    pub output: Output,
    /// In which files.
    pub partition: Partition,
    /// Whether files that exist are replaced.
    pub force: bool,
    /// How CSV is written.
    pub dialect: Dialect,
    /// Whose days and, in a workbook, whose clock.
    pub zone: Zone,
    /// Whether times that do not say by how much their clock is ahead of UTC have a column beside them that does.
    pub offsets: bool,
    /// Rows of a sheet in a workbook, at most [`SHEET_ROWS`].
    pub sheet_rows: u32,
    /// What the first sheet of a workbook for people says, line by line; none where it is for programs.
    pub about: Option<Vec<(String, String)>>,
    /// Files being written, for whoever has to leave in the middle.
    pub unfinished: Unfinished,
}

impl Settings {
    /// A format to an output, everything else as usual: in UTC, with nothing replaced.
    pub fn new(format: Format, output: Output) -> Self {
        let (partition, dialect) = (Partition::default(), Dialect::default());
        Self {
            format,
            output,
            partition,
            force: false,
            dialect,
            zone: Zone::utc(),
            offsets: true,
            sheet_rows: SHEET_ROWS,
            about: None,
            unfinished: Unfinished::default(),
        }
    }
}

/// What the rows of one table look like.
struct Sheet {
    #[cfg_attr(not(feature = "workbooks"), expect(dead_code, reason = "sheets of a workbook have names"))]
    name: String,
    schema: SchemaRef,
    /// Where rows are whole events.
    events: Option<Arc<Schema>>,
}

impl Sheet {
    fn of(table: &dyn Table) -> Self {
        Self { name: table.name().to_owned(), schema: Arc::clone(table.schema()), events: table.events().map(Arc::clone) }
    }
}

/// What a format does with rows. `of` numbers the tables of the output; `fresh` says that the batch is another one than the
/// last one of this number.
trait Sink: Send {
    fn write(&mut self, of: usize, batch: &RecordBatch, rows: Range<usize>, fresh: bool) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Exports tables, which read through `reader`. `progress` is called with the number of rows read since the last call.
///
/// # Errors
/// When the recording does not read or the output cannot be written. A file that was not finished is removed.
pub fn export(
    reader: &Reader,
    tables: Vec<Box<dyn Table + '_>>,
    settings: &Settings,
    mut progress: impl FnMut(u64),
) -> Result<Exported> {
    // Nothing that is there, and nothing that was asked for by its name: no file, in any format.
    if tables.is_empty() {
        return Ok(Exported::default());
    }
    let mut told = 0;
    let mut tell = || {
        let read = reader.rows_read();
        progress(read - told);
        told = read;
    };
    let mut work = Work { layout: reader.layout(), settings, exported: Exported::default(), tell: &mut tell };
    match &settings.output {
        Output::Stdout => {
            let sheets: Vec<Sheet> = tables.iter().map(|table| Sheet::of(table.as_ref())).collect();
            let sink = sink(settings, &sheets, "standard output", terminal::stdout())?;
            work.all(tables, sink)?;
        }
        Output::File(path) => {
            let sheets: Vec<Sheet> = tables.iter().map(|table| Sheet::of(table.as_ref())).collect();
            work.file(path, &sheets, |work, sink| work.all(tables, sink))?;
        }
        Output::Directory(directory) => {
            for table in tables {
                // The folder of a type is a safe name already.
                let folder = reader.layout().folder(table.name());
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                match settings.partition {
                    Partition::Type => {
                        let path = directory.join(format!("{name}.{}", settings.format.extension()));
                        let sheets = [Sheet::of(table.as_ref())];
                        work.file(&path, &sheets, |work, sink| work.all(vec![table], sink))?;
                    }
                    Partition::Day | Partition::Month | Partition::Hive => work.days(table, directory, &name)?,
                }
            }
        }
    }
    Ok(work.exported)
}

/// An export on its way.
struct Work<'w> {
    layout: &'w Layout,
    settings: &'w Settings,
    exported: Exported,
    tell: &'w mut dyn FnMut(),
}

impl Work<'_> {
    /// Opens a file for some tables, and has it filled. Whoever opens its name sees a whole file.
    fn file(&mut self, path: &Path, sheets: &[Sheet], fill: impl FnOnce(&mut Self, Box<dyn Sink>) -> Result<()>) -> Result<()> {
        let to = path.display().to_string();
        let (settings, force) = (self.settings, self.settings.force);
        // An event type may be called `data`.
        if self.layout.owns(path) {
            return Err(ExportError::Own(path.to_owned()));
        }
        let is_file = disk::output(path, force, &settings.unfinished, |file| {
            fill(self, sink(settings, sheets, &to, terminal::fit(file))?)
        })?;
        if is_file {
            self.exported.files.push(path.to_owned());
        }
        Ok(())
    }

    /// A table as one file a day of the zone, or a month.
    fn days(&mut self, mut table: Box<dyn Table + '_>, directory: &Path, name: &str) -> Result<()> {
        if !table.is_in_time_order() {
            return Err(ExportError::NoDays);
        }
        let is_hive = self.settings.partition == Partition::Hive;
        // What the file of a local time is called; names are in the order of time.
        let of = |time: Micros| {
            let day = Day::of(time).to_string();
            match (self.settings.partition, day.rsplit_once('-')) {
                (Partition::Month, Some((month, _))) => month.to_owned(),
                _ => day,
            }
        };
        let mut sheet = Sheet::of(table.as_ref());
        // A key that is also a column is read as two types, or not at all.
        let columns: Vec<usize> = (0..sheet.schema.fields().len())
            .filter(|column| !is_hive || !["event_type", "date"].contains(&sheet.schema.field(*column).name().as_str()))
            .collect();
        sheet.schema = Arc::new(sheet.schema.project(&columns).map_err(TableError::from)?);
        let mut zone = self.settings.zone.clone();
        let extension = self.settings.format.extension();
        let mut rest: Option<RecordBatch> = None;
        loop {
            let Some(first) = (match rest.take() {
                Some(rest) => Some(rest),
                None => table.next_batch()?,
            }) else {
                self.exported.end(table.as_ref());
                return Ok(());
            };
            let day = of(zone.settled(times(&first)[0]));
            let path = if is_hive {
                directory.join(format!("event_type={name}/date={day}/part-0.{extension}"))
            } else {
                directory.join(name).join(format!("{day}.{extension}"))
            };
            let mut left = None;
            self.file(&path, std::slice::from_ref(&sheet), |work, mut sink| {
                let mut next = Some(first);
                while let Some(batch) = next {
                    let within = times(&batch).partition_point(|time| of(zone.settled(*time)) <= day);
                    if within > 0 {
                        let rows = batch.project(&columns).map_err(TableError::from)?;
                        sink.write(0, &rows, 0..within, true)?;
                        *work.exported.rows.entry(table.name().to_owned()).or_default() += within as u64;
                    }
                    (work.tell)();
                    if within < batch.num_rows() {
                        left = Some(batch.slice(within, batch.num_rows() - within));
                        break;
                    }
                    next = table.next_batch()?;
                }
                sink.finish()
            })?;
            rest = left;
        }
    }

    /// All tables of an output: in time order, and rows of the same time by table; one after the other where they have no such
    /// order.
    fn all(&mut self, tables: Vec<Box<dyn Table + '_>>, mut sink: Box<dyn Sink>) -> Result<()> {
        let are_in_order = tables.iter().all(|table| table.is_in_time_order());
        let mut counts: Vec<(String, u64)> = tables.iter().map(|table| (table.name().to_owned(), 0)).collect();
        let mut waiting = tables.into_iter().enumerate();
        let mut heads: Vec<Head> = Vec::new();
        loop {
            if heads.is_empty() || are_in_order {
                for (of, mut table) in waiting.by_ref() {
                    if let Some(batch) = table.next_batch()? {
                        heads.push(Head { of, table, batch, row: 0, fresh: true });
                        if !are_in_order {
                            break;
                        }
                    }
                }
            }
            let Some(least) = (0..heads.len()).min_by_key(|at| heads[*at].key()) else { break };
            let bound = (0..heads.len()).filter(|at| *at != least).map(|at| heads[at].key()).min();
            let head = &mut heads[least];
            let to = match bound {
                None => head.batch.num_rows(),
                Some((time, of)) => {
                    let rest = &times(&head.batch)[head.row..];
                    head.row + rest.partition_point(|own| (*own, head.of) < (time, of))
                }
            };
            sink.write(head.of, &head.batch, head.row..to, head.fresh)?;
            counts[head.of].1 += (to - head.row) as u64;
            (head.row, head.fresh) = (to, false);
            if to == head.batch.num_rows() {
                (self.tell)();
                match head.table.next_batch()? {
                    Some(batch) => (head.batch, head.row, head.fresh) = (batch, 0, true),
                    None => self.exported.end(heads.remove(least).table.as_ref()),
                }
            }
        }
        (self.tell)();
        for (name, count) in counts {
            *self.exported.rows.entry(name).or_default() += count;
        }
        sink.finish()
    }
}

/// A table on its way into a merge in time order.
struct Head<'a> {
    of: usize,
    table: Box<dyn Table + 'a>,
    batch: RecordBatch,
    row: usize,
    fresh: bool,
}

impl Head<'_> {
    fn key(&self) -> (Micros, usize) {
        (times(&self.batch)[self.row], self.of)
    }
}

/// The first column, which is `time`.
fn times(batch: &RecordBatch) -> &[Micros] {
    batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
}

fn sink(settings: &Settings, sheets: &[Sheet], to: &str, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
    let out = Out { to: to.to_owned(), out };
    let sink: Box<dyn Sink> = match settings.format {
        Format::Csv => Box::new(csv::Csv::new(sheets, settings, out)),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(sheets, out)),
        Format::Parquet => Box::new(parquet::Parquet::new(sheets, out)?),
        Format::Arrow => Box::new(arrow::Arrow::new(sheets, settings.output == Output::Stdout, out)?),
        #[cfg(feature = "workbooks")]
        Format::Xlsx => Box::new(xlsx::Xlsx::new(sheets, settings, out)?),
    };
    Ok(Box::new(threaded::ThreadedSink::new(to, sink)?))
}

/// The output with its name, for errors.
struct Out {
    to: String,
    out: Box<dyn Write + Send>,
}

impl Out {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| ExportError::Output { to: self.to.clone(), source })
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|source| ExportError::Output { to: self.to.clone(), source })
    }
}
