//! Verify: every check that can be made of a recording, and what to do about each finding. Changes nothing.
//!
//! Works beside a running recorder: what it does meanwhile is not taken for damage. A check after the other, each a function; what
//! makes the file long is what it says to people.

mod doubles;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::base::disk::{self, DiskError, Room};
use crate::base::error::plain;
use crate::base::time::{self, Micros, Utc, rfc3339};
use crate::model::event::Partition;
use crate::model::layout::{self, Layout};
use crate::model::schema::Registry;
use crate::query::coverage::{GapState, Timeline};
use crate::store::archive::{ArchiveError, DayFile, Index, Keys, Merge};
use crate::store::buffer::{BufferError, Checksum, View, manifest};

use doubles::{Ids, Rows, doubles};

/// Why a recording could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The buffer does not open.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A folder does not list.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// An event stands twice, with two times: it was sent so.
    Double,
    /// Something is missing, and the recording says so itself.
    Missing,
    /// Something could not be looked at: nobody knows how it is.
    Unread,
    /// Something is not as it was written.
    Damage,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder.
    pub path: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
    /// What to do.
    pub advice: String,
}

/// What a check of a whole recording brought. Fields are only ever added to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Day files read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sealed ones, held against their checksums.
    pub sums: u64,
    /// Events in the buffer that no day file holds yet.
    pub buffered: u64,
    /// What is before this time was pruned; null where nothing was.
    pub pruned_before: Option<Utc>,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst that was found; none when all is well.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn add(&mut self, severity: Severity, path: &Path, expected: &str, found: impl Into<String>, advice: &str) {
        self.findings.push(Finding {
            severity,
            path: path.display().to_string(),
            expected: expected.to_owned(),
            found: found.into(),
            advice: advice.to_owned(),
        });
    }
}

/// Most bytes of a list of checksums: half a million files.
const MANIFEST_MAX: u64 = 64 * 1024 * 1024;
/// Most gaps that are findings of their own.
const GAPS_MAX: usize = 1000;
/// What to do about a damaged day file.
const SET_ASIDE: &str = "put back a copy of this file, or run `overnight roll`: it sets the file aside, takes what reads, and notes the rest as a gap";

/// What to do about a file that could not be looked at.
const READ_IT: &str =
    "nothing is known to be wrong with it: see to what was said, as with another user or its rights, and verify again";

/// Bytes of day files that a check is going to read; for a progress bar.
///
/// # Errors
/// When a folder does not list.
pub fn size(layout: &Layout) -> Result<u64, VerifyError> {
    let (files, _) = files(layout)?;
    Ok(files.iter().filter_map(|path| path.metadata().ok()).map(|about| about.len()).sum())
}

/// Checks a recording. `clock` writes times of the ledger, `progress` gets the bytes of each day file once it is checked.
///
/// # Errors
/// When there is no recording, or not even its folders list. Everything else is a finding.
pub fn verify(
    layout: &Layout,
    registry: &Registry,
    clock: &dyn Fn(Micros) -> String,
    mut progress: impl FnMut(u64),
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let view = open(layout, &mut report)?;
    let (files, strangers) = files(layout)?;
    for path in strangers {
        if disk::is_moving(&path) {
            let advice = "nothing to do: the next recorder sweeps it";
            report.add(Severity::Note, &path, "nothing but day files below data/", "an unfinished file", advice);
            continue;
        }
        let advice = "move it out of the recording; readers of the folder may trip over it";
        report.add(Severity::Damage, &path, "nothing but day files below data/", "something else", advice);
    }
    let mut seen = BTreeSet::new();
    let mut ids = Ids::new();
    for (folder, Kind { event_type, files }) in kinds(layout, view.as_ref(), files) {
        let index = Index::read(layout, &folder);
        let mut rows = Rows { event_type, layout, view: view.as_ref(), files: Vec::new() };
        rows.in_buffer(|_, id| ids.add(id));
        for path in files {
            let checked = catch_unwind(AssertUnwindSafe(|| {
                let mut one = Report::default();
                let partition = day_file((layout, view.as_ref(), &index), registry, &path, &mut ids, &mut one);
                (one, partition)
            }));
            let bytes = path.metadata().map_or(0, |about| about.len());
            match checked {
                Ok((one, partition)) => {
                    report.files += one.files;
                    report.rows += one.rows;
                    report.bytes += one.bytes;
                    report.sums += one.sums;
                    report.findings.extend(one.findings);
                    if let Some(partition) = partition {
                        rows.event_type.get_or_insert_with(|| Arc::clone(&partition.event_type));
                        rows.files.push(path);
                        seen.insert(partition);
                    }
                }
                Err(_) => report.add(Severity::Damage, &path, "a day file", "a file that brings its reader down", SET_ASIDE),
            }
            progress(bytes);
        }
        doubles(&mut ids, &rows, &mut report);
    }
    if let Some(view) = &view {
        gone(layout, view, &seen, &mut report)?;
        ledger(layout, view, (time::now(), clock), &mut report)?;
    }
    leftovers(layout, view.as_ref(), &mut report)?;
    room(layout, &mut report);
    report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.path.cmp(&b.path)));
    Ok(report)
}

/// What there is of an event type.
#[derive(Debug, Default)]
struct Kind {
    /// Its name, where the buffer has rows of it; the day files say it as well.
    event_type: Option<Arc<str>>,
    files: Vec<PathBuf>,
}

/// Event types by the folders of their day files.
fn kinds(layout: &Layout, view: Option<&View>, files: Vec<PathBuf>) -> BTreeMap<PathBuf, Kind> {
    let mut kinds: BTreeMap<PathBuf, Kind> = BTreeMap::new();
    for path in files {
        kinds.entry(path.parent().map(Path::to_owned).unwrap_or_default()).or_default().files.push(path);
    }
    // One that does not read has a finding already.
    for pending in view.and_then(|view| view.pending().ok()).unwrap_or_default() {
        let event_type = pending.partition.event_type;
        let kind = kinds.entry(layout.folder(&event_type)).or_default();
        kind.event_type = Some(event_type);
    }
    kinds
}

/// Day files, and what else stands below `data/`.
fn files(layout: &Layout) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DiskError> {
    let (mut files, mut strangers) = (Vec::new(), Vec::new());
    for folder in disk::list(&layout.data())? {
        if !folder.is_dir() {
            strangers.push(folder);
            continue;
        }
        for path in disk::list(&folder)? {
            if layout::day_of(&path).is_some() { files.push(path) } else { strangers.push(path) }
        }
    }
    Ok((files, strangers))
}

/// Opens the buffer and checks it.
fn open(layout: &Layout, report: &mut Report) -> Result<Option<View>, VerifyError> {
    let path = layout.buffer();
    let advice =
        "start a recorder, or run `overnight roll`: it sets the buffer aside, takes what reads, and notes the rest as a gap";
    let view = match View::open(layout) {
        Ok(view) => view,
        Err(error @ (BufferError::Missing(_) | BufferError::Newer { .. } | BufferError::Schema { .. })) => {
            return Err(error.into());
        }
        Err(error) if !error.is_damage() => {
            report.add(Severity::Unread, &path, "a buffer that can be opened", error.to_string(), READ_IT);
            return Ok(None);
        }
        Err(error) => {
            report.add(Severity::Damage, &path, "a buffer of overnight", error.to_string(), advice);
            return Ok(None);
        }
    };
    match view.integrity() {
        Ok(wrong) => {
            for wrong in wrong {
                report.add(Severity::Damage, &path, "integrity_check: ok", wrong, advice);
            }
        }
        Err(error) => {
            let severity = if error.is_damage() { Severity::Damage } else { Severity::Unread };
            report.add(severity, &path, "integrity_check: ok", error.to_string(), advice);
            return Ok(None);
        }
    }
    match view.pending() {
        Ok(pending) => report.buffered = pending.iter().map(|pending| pending.events).sum(),
        Err(error) => report.add(Severity::Damage, &path, "a table of blocks", error.to_string(), advice),
    }
    match view.unreadable_blocks() {
        Ok(blocks) => {
            for (seq, what) in blocks {
                let advice = "run `overnight roll`: it moves the block to the faults and notes its time as a gap";
                report.add(Severity::Damage, &path, "a block that reads", format!("block {seq}: {what}"), advice);
            }
        }
        Err(error) => report.add(Severity::Damage, &path, "blocks that read", error.to_string(), advice),
    }
    Ok(Some(view))
}

/// Reads a day file whole and holds it against its footer, its name, its schema and its checksum; gathers the ids of its rows.
fn day_file(
    (layout, view, index): (&Layout, Option<&View>, &Index),
    registry: &Registry,
    path: &Path,
    ids: &mut Ids,
    report: &mut Report,
) -> Option<Partition> {
    let file = match DayFile::open(path) {
        Ok(Some(file)) => file,
        // Sealed or rolled away by a recorder just now, or removed.
        Ok(None) => return None,
        Err(error @ ArchiveError::Newer { .. }) => {
            report.add(Severity::Unread, path, "a format that this program knows", error.to_string(), "use a newer overnight");
            return None;
        }
        Err(error) => {
            unreadable(report, path, "a day file", &error, error.to_string());
            return None;
        }
    };
    let partition = file.footer().partition.clone();
    report.files += 1;
    report.bytes += file.bytes();
    if layout.day_file(&partition) != path {
        let expected = format!("the day file of {}", layout.day_file(&partition).display());
        let advice = "move it out of the recording: it is a copy, or was renamed, and every reader takes it for more events";
        report.add(Severity::Damage, path, &expected, format!("a file that says it is of {partition}"), advice);
        return None;
    }
    if index.get(partition.day, file.stamp()).is_some_and(|entry| entry.footer != *file.footer()) {
        let advice = "remove it: the next recorder makes it anew, and without it every verb asks the files";
        let index = layout.index(path.parent().unwrap_or(path));
        report.add(Severity::Damage, &index, &format!("what {} says of itself", path.display()), "something else", advice);
    }
    check_sum(layout, view, &file, report);
    check_rows(registry, &file, ids, report);
    Some(partition)
}

/// A file with a checksum has exactly these bytes. A recorder may be about to change it: then the checksum goes first.
fn check_sum(layout: &Layout, view: Option<&View>, file: &DayFile, report: &mut Report) {
    let noted = |partition: &Partition| view.map_or(Ok(None), |view| view.sum(partition));
    let partition = &file.footer().partition;
    let path = layout.day_file(partition);
    let noted_before = noted(partition).unwrap_or_else(|error| {
        report.add(
            Severity::Damage,
            &path,
            "a checksum that reads",
            error.to_string(),
            "what is said of the buffer says what to do",
        );
        None
    });
    let Some(sum) = noted_before else {
        if file.footer().sealed && view.is_some_and(|view| !view.has_writer()) {
            let advice = "run `overnight roll`, which notes one; until then a flipped bit in this file may go unseen";
            report.add(Severity::Note, &path, "a checksum, since it is sealed", "none", advice);
        }
        return;
    };
    report.sums += 1;
    match disk::sha256(&path) {
        Ok((sha256, bytes)) if (&sha256, bytes) == (&sum.sha256, sum.bytes) => {}
        // Changed between the two looks: then its checksum has changed as well, or is gone.
        Ok(_) if noted(partition).is_ok_and(|now| now.as_ref() != Some(&sum)) => {}
        Ok((sha256, bytes)) => {
            let Checksum { sha256: expected, bytes: size } = &sum;
            let found = format!("SHA-256 {sha256}, {bytes} bytes");
            report.add(Severity::Damage, &path, &format!("SHA-256 {expected}, {size} bytes"), found, SET_ASIDE);
        }
        Err(error) => report.add(Severity::Unread, &path, "a file that reads", error.to_string(), READ_IT),
    }
}

/// Every row group decodes; rows are in order, each once, within the day and the times of the footer.
fn check_rows(registry: &Registry, file: &DayFile, ids: &mut Ids, report: &mut Report) {
    let (footer, path) = (file.footer(), file.path().to_owned());
    let schema = registry.get(&footer.partition.event_type);
    if footer.schema_version > schema.version {
        let found = format!("schema version {}", footer.schema_version);
        let advice = "use a newer overnight, or give the schema's folder with --schemas";
        report.add(Severity::Unread, &path, &format!("schema version {} at most", schema.version), found, advice);
        return;
    }
    if !file.has_columns_of(&schema) {
        let found = format!("those of version {}", footer.schema_version);
        let expected = format!("the columns of schema version {}", schema.version);
        report.add(Severity::Note, &path, &expected, found, "run `overnight rebuild`; until then they are null or in `raw`");
    } else if file.lacks_values(&schema).unwrap_or(false) {
        // One that does not read is told below.
        let found = "null in rows whose `raw` has a value".to_owned();
        let advice = "run `overnight rebuild`; until then the values stand in `raw` alone";
        report.add(Severity::Note, &path, "columns with all values that came", found, advice);
    }
    let whole = "row groups that read";
    let (mut rows, mut first, mut last) = (0_u64, i64::MAX, i64::MIN);
    let mut type_differs = 0_u64;
    for group in 0..file.groups() {
        let read = match file.rows(vec![group], &schema) {
            Ok(read) => read,
            Err(error) => return unreadable(report, &path, whole, &error, format!("row group {group}: {}", plain(&error))),
        };
        let mut wrong = |expected: &str, found: String| report.add(Severity::Damage, &path, expected, found, SET_ASIDE);
        let mut before: Option<(i64, String)> = None;
        for batch in read {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return unreadable(report, &path, whole, &error, format!("row group {group}: {}", plain(&error))),
            };
            let Some(keys) = Keys::of(&batch) else { return wrong("columns time and event_id", "none".to_owned()) };
            type_differs += differing(&batch, &footer.partition.event_type);
            for row in 0..keys.len() {
                let key = keys.get(row);
                if before.as_ref().is_some_and(|(time, id)| (*time, id.as_str()) >= key) {
                    return wrong("rows in the order of time and event id, each once", format!("row {row} of row group {group}"));
                }
                ids.add(key.1);
                (first, last) = (first.min(key.0), last.max(key.0));
                if row + 1 == keys.len() {
                    before = Some((key.0, key.1.to_owned()));
                } else {
                    before = None;
                    if keys.get(row + 1) <= key {
                        let found = format!("row {} of row group {group}", row + 1);
                        return wrong("rows in the order of time and event id, each once", found);
                    }
                }
            }
            rows += keys.len() as u64;
        }
    }
    report.rows += rows;
    let mut wrong = |expected: &str, found: String| report.add(Severity::Damage, &path, expected, found, SET_ASIDE);
    if rows != footer.rows {
        wrong(&format!("{} rows, as its footer says", footer.rows), format!("{rows} rows"));
    }
    if type_differs > 0 {
        wrong(&format!("events of type {}", footer.partition.event_type), format!("{type_differs} of another type"));
    }
    if rows > 0 && (first, last) != (footer.time_first, footer.time_last) {
        let span = |first, last| format!("{} to {}", rfc3339(first), rfc3339(last));
        wrong(&format!("times from {}, as its footer says", span(footer.time_first, footer.time_last)), span(first, last));
    }
    let day = footer.partition.day;
    if rows > 0 && (first < day.start() || last >= day.end()) {
        wrong(&format!("times within {day}"), format!("{} to {}", rfc3339(first), rfc3339(last)));
    }
    if file.groups() > 1 {
        match once(file, &schema) {
            Ok(distinct) if distinct == rows => {}
            Ok(distinct) => wrong("each event once", format!("{} events twice", rows - distinct)),
            Err(error) => unreadable(report, &path, whole, &error, plain(&error)),
        }
    }
}

/// A day file that does not read: damaged, or out of reach.
fn unreadable(report: &mut Report, path: &Path, expected: &str, error: &ArchiveError, found: String) {
    let (severity, advice) = if error.is_damage() { (Severity::Damage, SET_ASIDE) } else { (Severity::Unread, READ_IT) };
    report.add(severity, path, expected, found, advice);
}

/// How many different events there are, over all row groups.
fn once(file: &DayFile, schema: &std::sync::Arc<crate::model::schema::Schema>) -> Result<u64, ArchiveError> {
    let groups: Vec<usize> = (0..file.groups()).collect();
    let mut rows = 0;
    for batch in Merge::new(file.runs(&groups, schema)?) {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

fn differing(batch: &arrow::array::RecordBatch, event_type: &str) -> u64 {
    use arrow::array::AsArray;
    let types = batch.column_by_name("event_type").and_then(|column| column.as_string_opt::<i32>());
    types.map_or(0, |types| types.iter().filter(|found| *found != Some(event_type)).count() as u64)
}

/// Sealed day files that are noted and not there; and the list of checksums for others.
fn gone(layout: &Layout, view: &View, seen: &BTreeSet<Partition>, report: &mut Report) -> Result<(), VerifyError> {
    let sums = view.sealed()?;
    let found = match disk::read(&layout.manifest(), MANIFEST_MAX) {
        // Beside a recorder that seals just now, it may be a moment behind.
        Ok(listed) => (listed != manifest(layout, &sums).into_bytes()).then(|| "something else".to_owned()),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => (!sums.is_empty()).then(|| "no list".to_owned()),
        // Too long to be one, or it does not read.
        Err(error) => Some(error.to_string()),
    };
    if let Some(found) = found {
        let advice = "run `overnight roll`, which writes it anew; until then `sha256sum --check` does not say what is true";
        report.add(Severity::Note, &layout.manifest(), "the checksums of all sealed day files", found, advice);
    }
    for partition in sums.into_keys().filter(|partition| !seen.contains(partition)) {
        let path = layout.day_file(&partition);
        // One that does not read has its finding already.
        if !path.exists() {
            let advice = "put back a copy; if it was removed on purpose, `overnight rebuild` takes it off the list";
            report.add(Severity::Damage, &path, "a sealed day file", "none", advice);
        }
    }
    Ok(())
}

/// What the recording itself says is missing.
fn ledger(
    layout: &Layout,
    view: &View,
    (now, clock): (Micros, &dyn Fn(Micros) -> String),
    report: &mut Report,
) -> Result<(), VerifyError> {
    let time = Timeline::read(view, None, now)?;
    report.pruned_before = time.pruned_before.map(Utc);
    for dead in time.nobody_records() {
        let advice = "start it again; or, if nothing more is wanted, say so: `overnight end`";
        report.add(Severity::Missing, &layout.buffer(), "a recorder that runs", dead.said(clock), advice);
    }
    let gaps = time.projects.iter().flat_map(|project| project.gaps.iter().map(|gap| (&project.name, gap)));
    let unfilled: Vec<_> = gaps.filter(|(_, gap)| gap.state != GapState::Filled).collect();
    // Who has thousands sees in `gaps` what they are.
    let left_out = unfilled.len().saturating_sub(GAPS_MAX);
    for (project, gap) in unfilled.into_iter().skip(left_out) {
        let until = if gap.lasts { "now".to_owned() } else { clock(gap.span.1) };
        let found = format!("{project}: a gap from {} to {until} is {} ({})", clock(gap.span.0), gap.state.name(), gap.cause);
        let advice = match gap.state {
            GapState::Lost => "the cloud does not have it any more",
            _ => "`overnight record` fills it, and so does `overnight backfill`",
        };
        report.add(Severity::Missing, &layout.buffer(), "a recording without holes", found, advice);
    }
    if left_out > 0 {
        let found = format!("{left_out} gaps more, older than these");
        report.add(Severity::Missing, &layout.buffer(), "a recording without holes", found, "`overnight gaps --all` lists them");
    }
    Ok(())
}

/// Whether there is room to go on.
fn room(layout: &Layout, report: &mut Report) {
    if let Some(room) = Room::of(&layout.state()).filter(|room| room.is_low(false)) {
        let (expected, found) = (format!("at least {} bytes of room", room.mark()), format!("{} bytes", room.free));
        let advice = "make room: until then nothing is kept or rolled; a recorder goes on by itself";
        report.add(Severity::Note, layout.root(), &expected, found, advice);
    }
}

/// What a recorder that was killed has left behind, and what one set aside.
fn leftovers(layout: &Layout, view: Option<&View>, report: &mut Report) -> Result<(), VerifyError> {
    if !view.is_some_and(View::has_writer) {
        for path in disk::list(&layout.staging())? {
            let advice = "nothing to do: the next recorder sweeps it";
            report.add(Severity::Note, &path, "an empty staging folder", "an unfinished file", advice);
        }
    }
    for path in disk::list(&layout.damaged())? {
        let advice = "nothing has to be done; remove it when you need nothing of it any more";
        report.add(Severity::Note, &path, "nothing set aside", "a damaged file that was set aside", advice);
    }
    Ok(())
}
