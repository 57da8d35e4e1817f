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
/// How often a day is begun anew because another has taken files of it away meanwhile.
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
    for table in probe::tables(place)? {
        let name = table.name().to_owned();
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
        // What came beside them meanwhile stays beside what takes their place: the next compaction has it.
        let is_same = paths(old).is_subset(&paths(&later.files(Some(day))?));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::{self, File};

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;

    use crate::store::archive::{Keys, Sorted};

    use super::*;

    const TABLE: &str = "touch";

    /// A row: time, id, a value if the recorder knows that column.
    type Row = (Micros, String, Option<i64>);

    fn lake() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(&folder.path().display().to_string()).unwrap();
        probe::init(&place, time::now()).unwrap();
        (folder, place)
    }

    fn batch(recorder: &str, rows: &[Row]) -> RecordBatch {
        let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.0)).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("event_id", Arc::new(rows.iter().map(|row| Some(row.1.as_str())).collect::<StringArray>())),
        ];
        if rows.iter().any(|row| row.2.is_some()) {
            columns.push(("value", Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())));
        }
        columns.push(("recorder", Arc::new(StringArray::from(vec![recorder; rows.len()]))));
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    /// Puts the rows of a shipment, as of the day of the first one, and says what is to be committed.
    fn put(place: &Place, (recorder, n): (&str, i64), rows: &[Row]) -> (Vec<Part>, SchemaRef) {
        let scratch = Temporary::new().unwrap();
        let batch = batch(recorder, rows);
        let columns = batch.schema();
        let sorted = Sorted::new(vec![batch]).unwrap().into_run();
        let written = parts::write(sorted, &columns, scratch.path(), "x").unwrap();
        let named = |written: &Written| {
            let part = parts::named(written, Day::of(rows[0].0), "part", &format!("{recorder}-{n}")).unwrap();
            parts::put(place, TABLE, &part, &written.file).unwrap();
            part
        };
        (written.iter().map(named).collect(), columns)
    }

    fn ship(place: &Place, of: (&str, i64), rows: &[Row]) {
        let (parts, columns) = put(place, of, rows);
        let mut table = match Table::open(place, TABLE).unwrap() {
            Some(table) => table,
            None => Table::create(place, TABLE, &columns).unwrap(),
        };
        while table.append(of, &parts, &columns).unwrap() == Committed::No {
            table = table.again().unwrap();
        }
    }

    fn table(place: &Place) -> Table<'_> {
        Table::open(place, TABLE).unwrap().unwrap()
    }

    fn file(place: &Place, part: &Part) -> PathBuf {
        place.folder(TABLE).unwrap().join(&part.path)
    }

    /// The rows of a version, each with who shipped it and how often it stands there. Every file is in order.
    fn rows(table: &Table<'_>, place: &Place) -> BTreeMap<(Micros, String), (Option<i64>, String, u32)> {
        let columns = columns(table).unwrap();
        let mut all = BTreeMap::new();
        for part in table.files(None).unwrap() {
            let mut last = None;
            for batch in parts::rows(&file(place, &part), &columns).unwrap() {
                let batch = batch.unwrap();
                let value = batch.column_by_name("value").map(|column| column.as_primitive::<Int64Type>().clone());
                let who = batch.column_by_name("recorder").unwrap().as_string::<i32>().clone();
                for (at, (time, id)) in Keys::of(&batch).unwrap().iter().enumerate() {
                    let key = (time, id.to_owned());
                    assert!(last.is_none_or(|last| last < key));
                    let value = value.as_ref().filter(|value| value.is_valid(at)).map(|value| value.value(at));
                    all.entry(key.clone()).or_insert((value, who.value(at).to_owned(), 0)).2 += 1;
                    last = Some(key);
                }
            }
        }
        all
    }

    fn some(day: i64, from: i64, to: i64) -> Vec<Row> {
        (from..to).map(|at| (day * time::DAY + at * 1000, format!("id{at:05}"), Some(at))).collect()
    }

    fn all(place: &Place, days: Days) -> Compacted {
        compact(place, days, true, time::now(), &mut |_| {}).unwrap().remove(0)
    }

    fn age(path: &Path, days: u64) {
        let then = path.metadata().unwrap().modified().unwrap() - Duration::from_secs(days * 24 * 3600);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn of_what_two_recorders_have_shipped_each_event_stands_once_and_who_was_first_stays() {
        let (_folder, place) = lake();
        // An older recorder, which does not know a column.
        let plain: Vec<Row> = some(20_000, 0, 50).into_iter().map(|row| (row.0, row.1, None)).collect();
        ship(&place, ("aaaa", 1), &plain);
        thread::sleep(Duration::from_millis(5));
        ship(&place, ("bbbb", 1), &some(20_000, 25, 75));
        // More files than are open at a time, and two days.
        for n in 0..80 {
            ship(&place, ("cccc", n + 1), &some(20_000 + n % 2, 1000 + n * 10, 1015 + n * 10));
        }
        let before = rows(&table(&place), &place);
        let done = all(&place, Days::Past);
        assert_eq!((done.days, done.files_before, done.files), (2, 82, 2), "{done:?}");
        assert_eq!((done.doubles, done.rows), (25, before.len() as u64), "{done:?}");
        assert!(done.left.is_empty() && done.bytes < done.bytes_before, "{done:?}");
        let after = rows(&table(&place), &place);
        assert!(after.values().all(|row| row.2 == 1) && after.keys().eq(before.keys()));
        for (at, row) in some(20_000, 0, 75).into_iter().enumerate() {
            let (value, who, _) = &after[&(row.0, row.1)];
            let expected = if at < 50 { (None, "aaaa") } else { (row.2, "bbbb") };
            assert_eq!((*value, who.as_str()), expected, "row {at}");
        }
        // Twice changes nothing.
        let version = table(&place).version();
        assert_eq!(all(&place, Days::Past), Compacted { table: TABLE.to_owned(), ..Compacted::default() });
        assert_eq!(table(&place).version(), version);
        // Nor are other days touched than those that were asked for.
        ship(&place, ("aaaa", 2), &some(20_000, 80, 90));
        assert_eq!(all(&place, Days::One(Day(20_001))).days, 0);
        assert_eq!(all(&place, Days::One(Day(20_000))).days, 1);
        let today = i64::from(Day::of(time::now()).0);
        ship(&place, ("aaaa", 3), &some(today, 0, 10));
        ship(&place, ("aaaa", 4), &some(today, 5, 15));
        assert_eq!(all(&place, Days::Past).days, 0);
        assert_eq!(all(&place, Days::All).doubles, 5);
    }

    #[test]
    fn compaction_beside_recorders_and_readers_loses_nothing() {
        let (_folder, place) = lake();
        ship(&place, ("first", 1), &some(20_000, 0, 10));
        let shipments = 25;
        thread::scope(|scope| {
            let recorders: Vec<_> = (0..3)
                .map(|of| {
                    let place = &place;
                    scope.spawn(move || {
                        for n in 0..shipments {
                            // A redundant pair, and one alone.
                            let from = 1000 * i64::from(of / 2) + n * 20;
                            ship(place, (&format!("recorder{of}"), n + 1), &some(20_000 + n % 3, from, from + 20));
                        }
                    })
                })
                .collect();
            let old = table(&place);
            let seen = rows(&old, &place);
            let mut compactions = 0;
            while recorders.iter().any(|recorder| !recorder.is_finished()) {
                let before: Vec<_> = rows(&table(&place), &place).into_keys().collect();
                compactions += all(&place, Days::All).days;
                let after = rows(&table(&place), &place);
                assert!(before.iter().all(|key| after.contains_key(key)));
                assert_eq!(rows(&old, &place), seen, "a long reader");
            }
            assert!(compactions > 0);
            for recorder in recorders {
                recorder.join().unwrap();
            }
        });
        all(&place, Days::All);
        let mut expected: Vec<_> = some(20_000, 0, 10).into_iter().map(|row| (row.0, row.1)).collect();
        for n in 0..shipments {
            for from in [n * 20, 1000 + n * 20] {
                expected.extend(some(20_000 + n % 3, from, from + 20).into_iter().map(|row| (row.0, row.1)));
            }
        }
        expected.sort_unstable();
        expected.dedup();
        let after = rows(&table(&place), &place);
        assert!(after.values().all(|row| row.2 == 1) && after.keys().eq(&expected));
        assert_eq!(table(&place).files(None).unwrap().len(), 3);
        // No file is left that was put in vain.
        let table = table(&place);
        let added = (0..=table.version()).flat_map(|version| table.commit(version).unwrap().unwrap().added);
        let added: HashSet<String> = added.collect();
        let listed = place.list(&format!("{TABLE}/")).unwrap();
        assert!(listed.iter().all(|(name, ..)| added.contains(name) || name.contains(LOG)), "{listed:?}");
    }

    #[test]
    fn a_commit_whose_answer_was_lost_is_known_again_even_when_another_came_after_it() {
        let (_folder, place) = lake();
        ship(&place, ("aaaa", 1), &some(20_000, 0, 10));
        ship(&place, ("aaaa", 2), &some(20_000, 10, 20));
        let (day, mut stale) = (Day(20_000), table(&place));
        let old = stale.files(Some(day)).unwrap();
        let (new, _) = put(&place, ("cccc", 1), &some(20_000, 0, 20));
        let mut conflicts = 0;
        let mut again = |table: &mut Table<'_>| replace(table, day, (&old, &new), time::now(), &mut conflicts).unwrap();
        assert!(again(&mut stale.clone()));
        assert!(again(&mut stale.clone()), "it is there, though the store says that something is there already");
        let (newer, _) = put(&place, ("dddd", 1), &some(20_000, 0, 20));
        assert!(replace(&mut table(&place), day, (&new, &newer), time::now(), &mut 0).unwrap());
        assert!(again(&mut stale), "and it was, before another took its place");
        // What came meanwhile stays beside it.
        let mut current = table(&place);
        let mut late = current.clone();
        ship(&place, ("aaaa", 3), &some(20_000, 30, 40));
        let (newest, _) = put(&place, ("eeee", 1), &some(20_000, 0, 20));
        assert!(replace(&mut current, day, (&newer, &newest), time::now(), &mut 0).unwrap());
        assert_eq!(rows(&table(&place), &place).len(), 30);
        // A day of which another has taken files away is left.
        let (latest, _) = put(&place, ("hhhh", 1), &some(20_000, 0, 20));
        assert!(!replace(&mut late, day, (&newer, &latest), time::now(), &mut 0).unwrap());
        assert_eq!(rows(&table(&place), &place).len(), 30);
        // Another day is no matter.
        let (day, mut current) = (Day(20_000), table(&place));
        let old = current.files(Some(day)).unwrap();
        ship(&place, ("aaaa", 4), &some(20_001, 0, 10));
        let (newest, _) = put(&place, ("ffff", 1), &some(20_000, 0, 40));
        let mut conflicts = 0;
        assert!(replace(&mut current, day, (&old, &newest), time::now(), &mut conflicts).unwrap());
        assert_eq!(conflicts, 1);
    }

    #[test]
    fn a_day_that_does_not_read_is_left_and_the_others_are_done() {
        let (_folder, place) = lake();
        for n in 0..6 {
            ship(&place, ("aaaa", n + 1), &some(20_000 + n % 3, n * 10, n * 10 + 10));
        }
        let files = table(&place).files(None).unwrap();
        let of = |day: i32| file(&place, files.iter().find(|part| part.day == day).unwrap());
        fs::write(of(20_000), "no Parquet").unwrap();
        disk::remove(&of(20_001)).unwrap();
        let done = all(&place, Days::Past);
        assert_eq!((done.days, done.rows, done.left.len()), (1, 20, 2), "{done:?}");
        assert!(done.left[0].contains("does not read") && done.left[1].contains("is not there"), "{done:?}");
        let now = table(&place).files(None).unwrap();
        assert!(files.iter().filter(|part| part.day < 20_002).all(|part| now.iter().any(|there| there.path == part.path)));
    }

    #[test]
    fn a_vacuum_takes_what_no_version_of_seven_days_has_and_nobody_is_about_to_commit() {
        let (_folder, place) = lake();
        ship(&place, ("aaaa", 1), &some(20_000, 0, 10));
        ship(&place, ("bbbb", 1), &some(20_000, 0, 10));
        let old: Vec<PathBuf> = table(&place).files(None).unwrap().iter().map(|part| file(&place, part)).collect();
        // One of a shipment that is there with another part, one that may come, one of a recorder that the lake has not, a young one.
        let part = |of, from| file(&place, &put(&place, of, &some(20_000, from, from + 10)).0[0]);
        let (dead, open) = (part(("aaaa", 1), 100), part(("aaaa", 2), 200));
        let (unknown, young) = (part(("cccc", 1), 300), part(("dddd", 1), 400));
        let lease = format!("{LEASES}aaaa.json");
        place.put_new(&lease, Bytes::from_static(b"{}")).unwrap();
        for file in old.iter().chain([&dead, &open, &unknown]) {
            age(file, 8);
        }
        let done = all(&place, Days::Past);
        assert_eq!((done.days, done.doubles, done.removed_files), (1, 10, 2), "{done:?}");
        assert!(!dead.exists() && !unknown.exists() && open.exists() && young.exists());
        assert!(old.iter().all(|file| file.exists()), "they were removed from the table just now");
        // The files in the table are old by now, and so is the commit that removed the others.
        let log = place.folder(TABLE).unwrap().join(LOG);
        for file in fs::read_dir(&log).unwrap() {
            age(&file.unwrap().path(), 8);
        }
        let current: Vec<PathBuf> = table(&place).files(None).unwrap().iter().map(|part| file(&place, part)).collect();
        for file in &current {
            age(file, 9);
        }
        let done = all(&place, Days::Past);
        assert_eq!((done.days, done.removed_files), (0, 2), "{done:?}");
        assert!(old.iter().all(|file| !file.exists()) && open.exists() && current.iter().all(|file| file.exists()));
        // Its recorder was not heard of for long: it has to take a new id, and then the part goes.
        age(&place.folder(LEASES).unwrap().join("aaaa.json"), 31);
        assert_eq!(all(&place, Days::Past).removed_files, 0);
        assert!(open.exists() && place.size(&lease).unwrap().is_none());
        assert_eq!(all(&place, Days::Past).removed_files, 1);
        assert!(!open.exists() && young.exists());
        assert_eq!(rows(&table(&place), &place).len(), 10);
    }
}
