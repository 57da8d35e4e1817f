//! Compaction: the files of a day become few, and each event stands once, whoever shipped it. Then what no version refers to goes.
//!
//! ```text
//! files of a day --> scratch on this disk --> one merge --> compact-<run>-<hash>.parquet     put where nothing is
//!                                                       --> _delta_log/N.json, in one commit the old ones go and the new ones come
//! ```
//!
//! A commit whose answer was lost may be there, or come there later: its files are taken away only when the log has another commit under
//! that number. Else they stay, and a later compaction takes them once they are old.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow::array::Array;
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::base::backoff::Backoff;
use crate::base::disk::{self, Temporary};
use crate::base::time::{self, Day, Micros};
use crate::store::archive::{ArchiveError, Merge, Run};

use super::identity::LEASES;
use super::kernel::{Committed, DAY, LOG, Part, Table};
use super::parts::Written;
use super::place::Place;
use super::{LakeError, Result, parts, probe};

/// How files begin that compaction has written.
const KIND: &str = "compact";
/// So many files are read side by side.
const SIDE_BY_SIDE: usize = 32;
/// How often a day is begun anew because another has changed it meanwhile.
const TURNS: u32 = 5;
/// How often to commit where others are first with something else.
const TRIES: u32 = 60;
/// What was put longer ago than this is not committed any more: another's vacuum may come for it soon.
const LONGEST: Micros = time::DAY;
/// What no version has referred to for so long goes, in milliseconds: whoever reads an older version has had that time.
const KEPT: i64 = 7 * 24 * 3600 * 1000;
/// A recorder that was silent for so long has given up what it was about to commit, in milliseconds.
const SILENT: i64 = 30 * 24 * 3600 * 1000;

/// Which days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// Those before today.
    Past,
    /// Today's too.
    All,
    /// One.
    One(Day),
}

impl Days {
    fn has(self, day: Day, today: Day) -> bool {
        match self {
            Self::Past => day < today,
            Self::All => true,
            Self::One(one) => day == one,
        }
    }
}

/// What was done with a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Its name.
    pub table: String,
    /// Days that were written anew.
    pub days: u64,
    /// Their rows, each once.
    pub rows: u64,
    /// Rows that stood there more than once, and are gone.
    pub doubles: u64,
    /// Their files before.
    pub files_before: u64,
    /// Their files now.
    pub files: u64,
    /// Bytes of their files before.
    pub bytes_before: u64,
    /// Bytes of their files now.
    pub bytes: u64,
    /// How often another committed first.
    pub conflicts: u64,
    /// Files that no version has referred to for seven days, and are removed.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// What was left as it is, and why.
    pub left: Vec<String>,
}

/// Compacts each table of a lake, and removes what no version has referred to for seven days if `is_vacuumed`. `tell` hears of rows as they
/// are done.
///
/// # Errors
/// When there is no lake, when the store refuses or does not answer, when this disk refuses.
pub fn compact(place: &Place, days: Days, is_vacuumed: bool, now: Micros, tell: &mut dyn FnMut(u64)) -> Result<Vec<Compacted>> {
    probe::require(place)?;
    let today = Day::of(now);
    let mut all = Vec::new();
    let mut rows = 0;
    for (name, _) in probe::tables(place)? {
        let Some(table) = Table::open(place, &name)? else { continue };
        let mut done = Compacted { table: name.clone(), ..Compacted::default() };
        let there: BTreeSet<i32> = table.files(None)?.iter().map(|part| part.day).collect();
        for day in there.into_iter().map(Day).filter(|day| days.has(*day, today)) {
            let result = compact_day(place, &name, day, &mut done);
            left_out(result, &mut done.left, &day.to_string())?;
            tell(rows + done.rows);
        }
        rows += done.rows;
        if is_vacuumed {
            let result = vacuum(place, &name, &mut done);
            left_out(result, &mut done.left, "what is to be removed")?;
        }
        all.push(done);
    }
    Ok(all)
}

/// An error of one day or table is told, one of the store or of this disk ends it: it would be the same with the next one.
fn left_out(result: Result<()>, left: &mut Vec<String>, what: &str) -> Result<()> {
    match result {
        Err(error @ (LakeError::Store { .. } | LakeError::Disk(_) | LakeError::Archive(ArchiveError::Disk(_)))) => Err(error),
        Err(error) => {
            left.push(format!("{what}: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Which compaction wrote a file, if one did.
fn run_of(part: &Part) -> Option<&str> {
    let name = part.path.rsplit('/').next()?;
    name.strip_prefix(KIND)?.strip_prefix('-')?.split('-').next()
}

/// True where a day is as compaction leaves it: one file, or those of one compaction.
fn is_compact(files: &[Part]) -> bool {
    let Some((first, others)) = files.split_first() else { return true };
    others.is_empty() || run_of(first).is_some() && others.iter().all(|other| run_of(other) == run_of(first))
}

fn compact_day(place: &Place, name: &str, day: Day, done: &mut Compacted) -> Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    while backoff.failures() < TURNS {
        let Some(mut table) = Table::open(place, name)? else { return Ok(()) };
        let mut old = table.files(Some(day))?;
        if is_compact(&old) {
            return Ok(());
        }
        // Of a row that stands twice the one stays that came first.
        old.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
        let scratch = Temporary::new()?;
        let columns = columns(&table)?;
        let (rows, rows_before) = joined(place, &table, &old, &columns, scratch.path())?;
        let begun = time::now();
        let run = format!("{:016x}", fastrand::u64(..));
        let written = parts::write(rows, &columns, scratch.path(), "new")?;
        let named = written.iter().map(|written| parts::named(written, day, KIND, &run));
        let new = named.collect::<Result<Vec<Part>>>()?;
        let rows: u64 = written.iter().map(|written| written.rows).sum();
        if new.is_empty() {
            return Ok(());
        }
        for (part, Written { file, .. }) in new.iter().zip(&written) {
            parts::put(place, name, part, file)?;
        }
        if replace(&mut table, day, (&old, &new), begun, &mut done.conflicts)? {
            done.days += 1;
            done.rows += rows;
            done.doubles += rows_before.saturating_sub(rows);
            done.files_before += old.len() as u64;
            done.files += new.len() as u64;
            done.bytes_before += old.iter().map(|part| part.bytes).sum::<u64>();
            done.bytes += new.iter().map(|part| part.bytes).sum::<u64>();
            return Ok(());
        }
        // The log has another commit wherever these were tried: nobody refers to them, and nobody will.
        for part in &new {
            place.delete(&table.inside(&part.path))?;
        }
        thread::sleep(backoff.wait(fastrand::f64(), None));
    }
    done.left.push(format!("{day}: another has changed it meanwhile, {TURNS} times; the next compaction tries again"));
    Ok(())
}

/// The columns of a table, under whose names its files have them.
fn columns(table: &Table<'_>) -> Result<SchemaRef> {
    let columns = table.columns()?;
    if columns.fields().iter().any(|field| field.metadata().contains_key("delta.columnMapping.physicalName")) {
        return Err(LakeError::Strange {
            what: "another program has given its columns other names than its files have".to_owned(),
        });
    }
    // What else the log says of columns is no matter of a file.
    let plain = columns.fields().iter().map(|field| field.as_ref().clone().with_metadata(std::collections::HashMap::new()));
    Ok(Arc::new(Schema::new(plain.collect::<Fields>())))
}

/// The rows of files in order, each key once, the earlier file's first; and how many they were. However many files there are, a bounded
/// number is open at a time.
fn joined(place: &Place, table: &Table<'_>, files: &[Part], columns: &SchemaRef, scratch: &Path) -> Result<(Run, u64)> {
    let mut rows = 0;
    let mut runs: Vec<Vec<PathBuf>> = Vec::new();
    let mut steps = 0;
    let mut step = |runs: &[Vec<PathBuf>]| -> Result<Vec<PathBuf>> {
        steps += 1;
        let written = parts::write(merged(runs, columns), columns, scratch, &format!("step-{steps}"))?;
        runs.iter().flatten().try_for_each(|file| disk::remove(file))?;
        Ok(written.into_iter().map(|written| written.file).collect())
    };
    for group in files.chunks(SIDE_BY_SIDE) {
        let mut fetched = Vec::new();
        for part in group {
            let (file, more) = fetch(place, table, part, columns, scratch)?;
            rows += more;
            fetched.push(vec![file]);
        }
        if files.len() > SIDE_BY_SIDE {
            runs.push(step(&fetched)?);
        } else {
            runs = fetched;
        }
    }
    while runs.len() > SIDE_BY_SIDE {
        runs = runs.chunks(SIDE_BY_SIDE).map(&mut step).collect::<Result<_>>()?;
    }
    Ok((merged(&runs, columns), rows))
}

/// Files that follow each other, side by side with others.
fn merged(runs: &[Vec<PathBuf>], columns: &SchemaRef) -> Run {
    let run = |files: &Vec<PathBuf>| -> Run {
        let columns = Arc::clone(columns);
        let rows = move |file: PathBuf| match parts::rows(&file, &columns) {
            Ok(rows) => with_keys(rows, file),
            Err(error) => Box::new(std::iter::once(Err(of_archive(error, &file)))),
        };
        Box::new(files.clone().into_iter().flat_map(rows))
    };
    Box::new(Merge::new(runs.iter().map(run).collect()))
}

/// Rows, each of which has what it is known by: others would all be doubles of each other.
fn with_keys(rows: Run, file: PathBuf) -> Run {
    Box::new(rows.map(move |batch| {
        let batch = batch?;
        let has_none = |name| batch.column_by_name(name).is_none_or(|column| column.null_count() > 0);
        if has_none("time") || has_none("event_id") {
            let what = "it has rows without a time or an event_id".to_owned();
            return Err(ArchiveError::arrow(&file)(ArrowError::SchemaError(what)));
        }
        Ok(batch)
    }))
}

fn of_archive(error: LakeError, file: &Path) -> ArchiveError {
    match error {
        LakeError::Archive(error) => error,
        LakeError::Disk(error) => error.into(),
        error => ArchiveError::Footer { path: file.to_owned(), what: error.to_string() },
    }
}

/// A file of a table on this disk, and its rows.
///
/// # Errors
/// When something of it would be lost; else as for [`Place::fetch`].
fn fetch(place: &Place, table: &Table<'_>, part: &Part, columns: &SchemaRef, scratch: &Path) -> Result<(PathBuf, u64)> {
    let strange = |what: String| LakeError::Strange { what: format!("{}: {what}", part.path) };
    if part.has_deletions {
        return Err(strange("another program has marked rows of it as gone, which this one does not read".to_owned()));
    }
    let name = table.inside(&part.path);
    let file = scratch.join(part.path.rsplit('/').next().unwrap_or_default());
    if let Err(error) = place.fetch(&name, &file) {
        return Err(if place.size(&name)?.is_none() { strange("the log has it, and it is not there".to_owned()) } else { error });
    }
    let damaged = |error| strange(format!("it does not read: {error}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(disk::open(&file)?).map_err(damaged)?;
    if let Some(column) = unknown(builder.schema().fields(), columns.fields()) {
        return Err(strange(format!("it has a column {column}, which the table has not")));
    }
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    if part.rows.is_some_and(|told| told != rows) {
        return Err(strange(format!("it has {rows} rows, and the log says {}", part.rows.unwrap_or_default())));
    }
    Ok((file, rows))
}

/// A column of a file that a table has not by this name.
fn unknown(there: &Fields, known: &Fields) -> Option<String> {
    there.iter().filter(|field| field.name() != DAY).find_map(|field| {
        let Some((_, known)) = known.find(field.name()) else { return Some(field.name().clone()) };
        match (field.data_type(), known.data_type()) {
            (DataType::List(there), DataType::List(known)) => match (there.data_type(), known.data_type()) {
                (DataType::Struct(there), DataType::Struct(known)) => {
                    unknown(there, known).map(|below| format!("{}.{below}", field.name()))
                }
                _ => None,
            },
            _ => None,
        }
    })
}

/// Commits that new files take the place of old ones. False where others were first, and where the new ones are in no commit for certain.
///
/// # Errors
/// When the store refuses or does not answer: then the new ones may be there, or come there.
fn replace(table: &mut Table<'_>, day: Day, (old, new): (&[Part], &[Part]), begun: Micros, conflicts: &mut u64) -> Result<bool> {
    let paths = |parts: &[Part]| -> HashSet<String> { parts.iter().map(|part| part.path.clone()).collect() };
    let first = new.first().map(|part| table.listed(&part.path)).transpose()?.flatten();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut is_settled = true;
    loop {
        if is_settled && time::now().saturating_sub(begun) > LONGEST {
            return Ok(false);
        }
        let tried = table.replace(day, old, new);
        if let Ok(Committed::Yes(_)) = tried {
            return Ok(true);
        }
        *conflicts += 1;
        let later = table.again()?;
        for version in table.version() + 1..=later.version() {
            let forgotten = || LakeError::Strange {
                what: format!("the log has version {version} no more: whether this one is that is not known"),
            };
            let commit = later.commit(version)?.ok_or_else(forgotten)?;
            if commit.added.iter().any(|name| Some(name) == first.as_ref()) {
                return Ok(true);
            }
        }
        // Where nobody has taken the number, a request that is under way may still do so.
        is_settled = later.version() > table.version();
        let is_same = paths(&later.files(Some(day))?) == paths(old);
        let is_enough = backoff.failures() >= TRIES;
        match tried {
            _ if is_settled && (is_enough || !is_same) => return Ok(false),
            Err(error) if is_enough || !matches!(error, LakeError::Store { is_refused: false, .. }) => return Err(error),
            Ok(_) if is_enough => {
                return Err(LakeError::Strange { what: "the store has a commit that it does not show".to_owned() });
            }
            _ => {}
        }
        thread::sleep(backoff.wait(fastrand::f64(), None));
        *table = later;
    }
}

/// Removes files below the days of a table that no version has referred to for seven days, by the store's clock.
fn vacuum(place: &Place, name: &str, done: &mut Compacted) -> Result<()> {
    let now = clock(place)?;
    let listed = place.list(&format!("{name}/"))?;
    let days = format!("{name}/{DAY}=");
    let is_old = |written: i64| written < now - KEPT;
    let candidate = |(file, _, written): &&(String, u64, i64)| {
        file.starts_with(&days) && is_old(*written) && Path::new(file).extension().is_some_and(|ext| ext == "parquet")
    };
    // After the list: what came since then is not on it, or is referred to.
    let Some(table) = Table::open(place, name)? else { return Ok(()) };
    let mut held = HashSet::new();
    for part in table.files(None)? {
        held.extend(table.listed(&part.path)?);
    }
    let candidates: Vec<_> = listed.iter().filter(candidate).filter(|(file, ..)| !held.contains(file)).collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let log = format!("{name}/{LOG}");
    let version = |file: &str| file.strip_prefix(&log)?.strip_suffix(".json")?.parse::<u64>().ok();
    let commits = || listed.iter().filter_map(|(file, _, written)| Some((version(file)?, *written)));
    let last_old = commits().filter(|(_, written)| is_old(*written)).map(|(version, _)| version + 1).max();
    let first_young = last_old.or_else(|| commits().map(|(version, _)| version).min()).unwrap_or_default();
    for version in first_young..=table.version() {
        let forgotten = || LakeError::Strange { what: format!("version {version} is gone from the log meanwhile") };
        held.extend(table.commit(version)?.ok_or_else(forgotten)?.removed);
    }
    let leases = place.list(LEASES)?;
    for (file, bytes, _) in candidates {
        if !held.contains(file) && !may_come(place, &table, file, &leases, now)? {
            place.delete(file)?;
            done.removed_files += 1;
            done.removed_bytes += bytes;
        }
    }
    Ok(())
}

/// Whether a recorder may still commit a part that it has put: its shipment is not there yet, and it has not given up.
fn may_come(place: &Place, table: &Table<'_>, file: &str, leases: &[(String, u64, i64)], now: i64) -> Result<bool> {
    let name = file.rsplit('/').next().unwrap_or_default();
    let mut of = name.strip_prefix("part-").unwrap_or_default().split('-');
    let (Some(recorder), Some(Ok(n))) = (of.next(), of.next().map(str::parse::<i64>)) else { return Ok(false) };
    if table.shipped(recorder)?.is_some_and(|there| there >= n) {
        return Ok(false);
    }
    let lease = format!("{LEASES}{recorder}.json");
    let Some((_, _, renewed)) = leases.iter().find(|(name, ..)| *name == lease) else { return Ok(false) };
    if *renewed < now - SILENT {
        // Should it come back it takes a new id, and with that it names its parts anew. They go the next time.
        place.delete(&lease)?;
    }
    Ok(true)
}

/// The store's time, in milliseconds since 1970: what it says of files is by its own clock.
fn clock(place: &Place) -> Result<i64> {
    let name = format!("_overnight/clock-{:016x}", fastrand::u64(..));
    place.put_new(&name, Bytes::new())?;
    let listed = place.list("_overnight/")?;
    place.delete(&name)?;
    let found = listed.into_iter().find(|(listed, ..)| *listed == name).map(|(_, _, written)| written);
    found.ok_or_else(|| LakeError::Strange { what: format!("{} does not list what was just put", place.shown()) })
}
