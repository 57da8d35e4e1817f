//! Export: a selection of a recording for others, in constant memory; one format a file.

mod csv;
mod ndjson;
mod parquet;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::disk::DiskError;
use crate::reader::{ReadError, Reader, Rows, Selection, TypePlan};
use crate::schema::{RebuildError, Schema};
use crate::time::Micros;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    /// Arrow or the Parquet writer refused.
    #[error("cannot write {to}: {what}")]
    Format {
        /// The output.
        to: String,
        /// What was said.
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
                let folder = reader.layout().folder(&plan.schema.name);
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
