//! Reader: day files and buffer as one, in time order, each event once, in constant memory.
//!
//! A partition is read like this: first its blocks, in one SQLite read transaction, then its day file. Blocks that the
//! file's footer covers are in the file already. So recording may go on meanwhile, and no long transaction holds its log.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::base::text::{few, printable};
use crate::base::time::{Day, Micros};
use crate::model::event::{DeviceRow, Partition};
use crate::model::layout::{self, Layout};
use crate::model::schema::{Registry, Schema, conform};
use crate::store::archive::{ArchiveError, DayFile, Merge, Run, Wanted, day_files, sorted};
use crate::store::buffer::{BufferError, Pending, View};

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The buffer cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file cannot be read.
    #[error("{0}{to_do}", to_do = what_to_do(.0))]
    Archive(#[from] ArchiveError),
    /// An event type that the recording does not have.
    #[error("the recording has no events of type {wanted:?}; it has {known}")]
    NoType {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
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

fn what_to_do(error: &ArchiveError) -> &'static str {
    if error.is_damage() { "; `overnight verify` says what to do" } else { "" }
}

type Result<T> = std::result::Result<T, ReadError>;

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
    /// Until when it asks: never beyond now, and from a start on until now; none: as far as there is anything.
    pub fn until(&self, now: Micros) -> Option<Micros> {
        self.end.or(self.start.map(|_| now)).map(|end| end.min(now))
    }

    fn has_day(&self, day: Day) -> bool {
        self.start.is_none_or(|start| day.end() > start) && self.end.is_none_or(|end| day.start() < end)
    }

    fn overlaps(&self, (first, last): (Micros, Micros)) -> bool {
        self.start.is_none_or(|start| last >= start) && self.end.is_none_or(|end| first < end)
    }
}

/// A recording, open for reading.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    registry: Arc<Registry>,
    view: Option<View>,
    read: Cell<u64>,
    left_out: Option<RefCell<BTreeMap<PathBuf, String>>>,
    /// Blocks that do not read, by seq, each with the reason.
    rotten: RefCell<BTreeMap<i64, String>>,
}

/// The partitions of an event type, and about how many events they hold.
#[derive(Debug, Clone)]
pub struct TypePlan {
    /// The schema of the type.
    pub schema: Arc<Schema>,
    /// Its partitions, by day.
    pub partitions: Vec<Partition>,
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
        Ok(Self { layout: layout.clone(), registry, view, read: Cell::new(0), left_out: None, rotten: RefCell::default() })
    }

    /// Leaves out day files that do not read, instead of failing; see [`Reader::left_out`].
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { left_out: Some(RefCell::default()), ..self }
    }

    /// The day files that were found not to read so far, each with the reason, and the blocks of the buffer: these are left out
    /// always. A file that is damaged halfway was read up to there before it was found; from then on it is left out as a whole.
    pub fn left_out(&self) -> Vec<String> {
        let files = self.left_out.as_ref().map(|left_out| left_out.borrow().values().cloned().collect::<Vec<_>>());
        let mut all = files.unwrap_or_default();
        all.extend(self.rotten.borrow().values().cloned());
        all
    }

    fn is_left_out(&self, path: &Path) -> bool {
        self.left_out.as_ref().is_some_and(|left_out| left_out.borrow().contains_key(path))
    }

    /// Leaves a day file out, where that was asked for; else it is the error that it was.
    fn leave_out(&self, path: PathBuf, error: ArchiveError) -> Result<()> {
        let Some(left_out) = &self.left_out else { return Err(error.into()) };
        left_out.borrow_mut().entry(path).or_insert_with(|| error.to_string());
        Ok(())
    }

    /// The recording.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All devices that the recording knows of; none without a buffer.
    ///
    /// # Errors
    /// When the buffer does not read.
    pub fn devices(&self) -> Result<Vec<DeviceRow>> {
        Ok(self.view.as_ref().map(View::devices).transpose()?.unwrap_or_default())
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
            if !wanted || !selection.has_day(day) || self.is_left_out(&path) {
                continue;
            }
            match DayFile::open(&path) {
                Ok(Some(file)) => add(file.footer().partition.clone(), file.footer().rows),
                Ok(None) => {}
                Err(error) => self.leave_out(path, error)?,
            }
        }
        for (wanted, folder) in selection.event_types.iter().zip(&folders) {
            if !known.contains(wanted) && !folder.is_dir() {
                known.extend(self.types_of_files()?);
                let known: Vec<String> = known.iter().map(|name| printable(name, 200)).collect();
                let known = if known.is_empty() { "none at all".to_owned() } else { few(&known) };
                return Err(ReadError::NoType { wanted: wanted.clone(), known });
            }
        }
        let plans = days.into_iter().map(|(event_type, (days, events))| TypePlan {
            schema: self.registry.get(&event_type),
            partitions: days.into_iter().map(|day| Partition { event_type: Arc::clone(&event_type), day }).collect(),
            events,
        });
        Ok(plans.collect())
    }

    /// The schemas that the recording is read by.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The days that have events of a type, ascending.
    ///
    /// # Errors
    /// When the buffer does not read, or the folder of the type.
    pub fn days(&self, event_type: &str) -> Result<BTreeSet<Day>> {
        let files = crate::base::disk::list(&self.layout.folder(event_type)).map_err(ArchiveError::from)?;
        let mut days: BTreeSet<Day> = files.iter().filter_map(|path| layout::day_of(path)).collect();
        for pending in self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default() {
            if *pending.partition.event_type == *event_type {
                days.insert(pending.partition.day);
            }
        }
        Ok(days)
    }

    /// The times of the first and the last event in a span, of whatever type and device.
    ///
    /// # Errors
    /// When the buffer does not read. A day file that does not read is no witness.
    pub fn first_and_last(&self, (from, to): (Micros, Micros)) -> Result<Option<(Micros, Micros)>> {
        let selection = Selection { start: Some(from), end: Some(to), ..Selection::default() };
        let mut days: BTreeMap<Day, (Vec<PathBuf>, Vec<Pending>)> = BTreeMap::new();
        for (path, day) in day_files(&self.layout)?.into_iter().filter(|(_, day)| selection.has_day(*day)) {
            days.entry(day).or_default().0.push(path);
        }
        for pending in self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default() {
            if selection.has_day(pending.partition.day) {
                days.entry(pending.partition.day).or_default().1.push(pending);
            }
        }
        // From both ends, and no further than to the first day that has one.
        let look = |(files, pending): &(Vec<PathBuf>, Vec<Pending>)| self.within_day(files, pending, &selection);
        let Some((first, _)) = days.values().find_map(look) else { return Ok(None) };
        Ok(days.values().rev().find_map(look).map(|(_, last)| (first, last)))
    }

    /// The first and the last event of one day within a selection. Reads rows only of partitions that reach beyond it.
    fn within_day(&self, files: &[PathBuf], pending: &[Pending], selection: &Selection) -> Option<(Micros, Micros)> {
        let both = |a: Option<(Micros, Micros)>, b: (Micros, Micros)| Some(a.map_or(b, |a| (a.0.min(b.0), a.1.max(b.1))));
        let mut partitions: BTreeMap<Partition, Option<(Micros, Micros)>> = BTreeMap::new();
        for pending in pending {
            partitions.insert(pending.partition.clone(), Some((pending.time_first, pending.time_last)));
        }
        for file in files.iter().filter_map(|path| DayFile::open(path).ok().flatten()) {
            let footer = file.footer();
            let span = partitions.entry(footer.partition.clone()).or_default();
            *span = both(*span, (footer.time_first, footer.time_last));
        }
        let is_within =
            |time: Micros| selection.start.is_none_or(|start| time >= start) && selection.end.is_none_or(|end| time < end);
        let mut found = None;
        for (partition, span) in partitions {
            let Some(span) = span.filter(|span| selection.overlaps(*span)) else { continue };
            if is_within(span.0) && is_within(span.1) {
                found = both(found, span);
                continue;
            }
            let Ok(run) = self.partition(&partition, &self.registry.get(&partition.event_type), selection, Some(&[0])) else {
                continue;
            };
            for batch in run.map_while(std::result::Result::ok) {
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
                let times = times.iter().copied().filter(|time| is_within(*time));
                found = times.fold(found, |found, time| both(found, (time, time)));
            }
        }
        found
    }

    /// The days that have any events, of whatever type.
    ///
    /// # Errors
    /// When the buffer does not read.
    pub fn all_days(&self) -> Result<BTreeSet<Day>> {
        let pending = self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default();
        let files = day_files(&self.layout)?.into_iter().map(|(_, day)| day);
        Ok(files.chain(pending.into_iter().map(|pending| pending.partition.day)).collect())
    }

    /// The times of the first and the last event of a project in each of some spans, which ascend apart.
    ///
    /// # Errors
    /// When the buffer does not read. A day file that does not read is no witness.
    pub fn ends_of(&self, project: &str, spans: &[(Micros, Micros)]) -> Result<Vec<Option<(Micros, Micros)>>> {
        let mut by_day: BTreeMap<Day, BTreeSet<Partition>> = BTreeMap::new();
        let all = self.lenient_plan()?;
        for partition in all {
            by_day.entry(partition.day).or_default().insert(partition);
        }
        let mut found = Vec::new();
        for span in spans {
            let selection = Selection { start: Some(span.0), end: Some(span.1), ..Selection::default() };
            let look = |partitions: &BTreeSet<Partition>| {
                let of_each = partitions.iter().filter_map(|partition| self.of_project(partition, project, &selection));
                of_each.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            };
            let days = || by_day.iter().filter(|(day, _)| selection.has_day(**day)).map(|(_, partitions)| partitions);
            // From both ends, and no further than to the first day that has one.
            let first = days().find_map(look);
            let last = first.and_then(|_| days().rev().find_map(look));
            found.push(first.zip(last).map(|(first, last)| (first.0, last.1)));
        }
        Ok(found)
    }

    /// All partitions.
    fn lenient_plan(&self) -> Result<Vec<Partition>> {
        let mut all = Vec::new();
        for (path, _) in day_files(&self.layout)? {
            all.extend(DayFile::open(&path).ok().flatten().map(|file| file.footer().partition.clone()));
        }
        let pending = self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default();
        all.extend(pending.into_iter().map(|pending| pending.partition));
        Ok(all)
    }

    fn of_project(&self, partition: &Partition, project: &str, selection: &Selection) -> Option<(Micros, Micros)> {
        let schema = self.registry.get(&partition.event_type);
        let column = schema.arrow().index_of("project_id").ok()?;
        let run = self.partition(partition, &schema, selection, Some(&[0, column])).ok()?;
        let mut found: Option<(Micros, Micros)> = None;
        for batch in run.map_while(std::result::Result::ok) {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            let from = selection.start.map_or(0, |start| times.partition_point(|time| *time < start));
            let to = selection.end.map_or(times.len(), |end| times.partition_point(|time| *time < end));
            let projects = batch.column(1).as_string::<i32>();
            let is_of = |row: &usize| if projects.is_null(*row) { project.is_empty() } else { projects.value(*row) == project };
            let first = (from..to).find(is_of);
            let last = first.and_then(|_| (from..to).rev().find(is_of));
            if let (Some(first), Some(last)) = (first, last) {
                let own = (times[first], times[last]);
                found = Some(found.map_or(own, |found| (found.0.min(own.0), found.1.max(own.1))));
            }
        }
        found
    }

    /// The event types that the recording has, whenever their events were.
    ///
    /// # Errors
    /// When the buffer does not read.
    pub fn types(&self) -> Result<BTreeSet<String>> {
        let mut types: BTreeSet<String> = self.types_of_files()?.into_iter().collect();
        let pending = self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default();
        types.extend(pending.into_iter().map(|pending| pending.partition.event_type.to_string()));
        Ok(types)
    }

    /// The event types of the day files, as their footers have them: a folder may be called otherwise.
    fn types_of_files(&self) -> Result<BTreeSet<String>> {
        let mut types = BTreeMap::new();
        for (path, _) in day_files(&self.layout)? {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            if !types.contains_key(&folder)
                && let Ok(Some(file)) = DayFile::open(&path)
            {
                types.insert(folder, file.footer().partition.event_type.to_string());
            }
        }
        Ok(types.into_values().collect())
    }

    /// Takes out of `wanted` the ids that events are about, whenever that was, until none is left; looks `within` a selection
    /// first, where they are as a rule. Gives ids that were met on the way, the first `most` of them.
    ///
    /// # Errors
    /// When the buffer or a day file does not read.
    pub fn find_devices(&self, wanted: &mut HashSet<&str>, within: &Selection, most: usize) -> Result<BTreeSet<String>> {
        let mut met = BTreeSet::new();
        for place in [within, &Selection::default()] {
            for plan in self.plan(place)? {
                let mut rows = self.columns(&plan, place, &[]).uncounted();
                while let Some(batch) = rows.next_batch()? {
                    for id in batch.column(1).as_string::<i32>().iter().flatten() {
                        wanted.remove(id);
                        if met.len() < most && !met.contains(id) {
                            met.insert(id.to_owned());
                        }
                    }
                    if wanted.is_empty() {
                        return Ok(met);
                    }
                }
            }
        }
        Ok(met)
    }

    /// The selected rows of a type, in time order.
    pub fn rows<'a>(&'a self, plan: &'a TypePlan, selection: &'a Selection) -> Rows<'a> {
        let (plan, selection) = (Cow::Borrowed(plan), Cow::Borrowed(selection));
        Rows { reader: self, plan, selection, columns: None, counts: true, next: 0, run: None }
    }

    /// The same rows with some columns only, in the schema's order; `time` and `device_id` are always the first two. Columns
    /// that are not asked for are not even decoded where rows come from a day file in one piece.
    pub fn columns<'a>(&'a self, plan: &'a TypePlan, selection: &'a Selection, names: &[&str]) -> Rows<'a> {
        self.some(Cow::Borrowed(plan), Cow::Borrowed(selection), names)
    }

    /// The same of a plan and a selection that nobody else holds.
    pub fn own_columns(&self, plan: TypePlan, selection: Selection, names: &[&str]) -> Rows<'_> {
        self.some(Cow::Owned(plan), Cow::Owned(selection), names)
    }

    fn some<'a>(&'a self, plan: Cow<'a, TypePlan>, selection: Cow<'a, Selection>, names: &[&str]) -> Rows<'a> {
        let wanted = |name: &String| name == "time" || name == "device_id" || names.contains(&name.as_str());
        let fields = plan.schema.arrow().fields().iter();
        let columns = fields.enumerate().filter(|(_, field)| wanted(field.name())).map(|(index, _)| index).collect();
        Rows { reader: self, plan, selection, columns: Some(columns), counts: true, next: 0, run: None }
    }

    /// How many rows were read so far, doubles and what a filter left out not counted, for a progress bar.
    pub fn rows_read(&self) -> u64 {
        self.read.get()
    }

    /// All blocks of a partition, as of one moment: a recorder rolls long before they crowd the memory.
    fn blocks(&self, partition: &Partition) -> Result<Vec<(i64, RecordBatch)>> {
        let Some(view) = &self.view else { return Ok(Vec::new()) };
        view.at_one_moment(|| {
            let (mut all, mut next) = (Vec::new(), Some(0));
            while let Some(above) = next {
                let (blocks, rest) = view.blocks_but(partition, above, usize::MAX, |seq, what| {
                    let error = BufferError::Block { path: self.layout.buffer(), seq, what };
                    let say = || format!("{error}; `overnight roll` sets it aside, and notes its time as a gap");
                    self.rotten.borrow_mut().entry(seq).or_insert_with(say);
                    Ok(())
                })?;
                all.extend(blocks);
                next = rest;
            }
            Ok(all)
        })
    }

    /// The rows of a partition. With `columns`, those alone; the run may be a single one then, and needs no keys to merge by.
    fn partition(
        &self,
        partition: &Partition,
        schema: &Arc<Schema>,
        selection: &Selection,
        columns: Option<&[usize]>,
    ) -> Result<Run> {
        let blocks = self.blocks(partition)?;
        let is_left_out = self.is_left_out(&self.layout.day_file(partition));
        let file = if is_left_out { None } else { DayFile::of(&self.layout, partition)? };
        let covered = match (&file, &self.view) {
            (Some(file), Some(view)) => file.footer().covers(view.id()),
            _ => 0,
        };
        let fail = |what: String| ReadError::Block { partition: partition.clone(), what };
        let pending: Vec<RecordBatch> = blocks
            .iter()
            .filter(|(seq, _)| *seq > covered)
            .map(|(_, rows)| conform(rows, schema).map_err(|error| fail(error.to_string())))
            .collect::<Result<_>>()?;
        let devices = &selection.devices;
        // A merge compares keys: time is among the columns always.
        let keyed: Option<Vec<usize>> = columns.map(|columns| {
            let id = schema.arrow().index_of("event_id").unwrap_or_default();
            let mut keyed = columns.to_vec();
            keyed.push(id);
            keyed.sort_unstable();
            keyed.dedup();
            keyed
        });
        let mut runs = match &file {
            Some(file) => {
                let groups: Vec<_> = (0..file.groups()).filter(|group| selection.overlaps(file.group_times(*group))).collect();
                if pending.is_empty()
                    && let Some(chain) = file.one_run(&groups)
                {
                    return Ok(file.only(chain, schema, &Wanted { columns, devices })?);
                }
                file.runs_of(&groups, schema, &Wanted { columns: keyed.as_deref(), devices })?
            }
            None => Vec::new(),
        };
        if let Some(mut rows) = sorted(&pending).map_err(|error| fail(error.to_string()))? {
            if let Some(keyed) = &keyed {
                rows = rows.project(keyed).map_err(|error| fail(error.to_string()))?;
            }
            runs.push(Box::new([Ok(rows)].into_iter()) as Run);
        }
        let merged = Merge::new(runs);
        let (Some(columns), Some(keyed)) = (columns, keyed) else { return Ok(Box::new(merged)) };
        let places: Vec<usize> = columns.iter().filter_map(|column| keyed.binary_search(column).ok()).collect();
        Ok(Box::new(merged.map(move |rows| rows?.project(&places).map_err(ArchiveError::arrow(Path::new("rows"))))))
    }
}

/// Rows of one event type in time order, partition by partition.
#[allow(missing_debug_implementations, reason = "runs are iterators, and iterators do not print")]
pub struct Rows<'a> {
    reader: &'a Reader,
    plan: Cow<'a, TypePlan>,
    selection: Cow<'a, Selection>,
    columns: Option<Vec<usize>>,
    counts: bool,
    next: usize,
    run: Option<Run>,
}

impl Rows<'_> {
    /// Leaves these rows out of [`Reader::rows_read`]: a look ahead.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }

    /// The next rows, with the columns of the type's schema; none at the end.
    ///
    /// # Errors
    /// When the buffer or a day file does not read.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(run) = &mut self.run
                && let Some(batch) = run.next()
            {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        self.run = None;
                        // The partition that is being read.
                        let partition = &self.plan.partitions[self.next - 1];
                        self.reader.leave_out(self.reader.layout.day_file(partition), error)?;
                        continue;
                    }
                };
                let batch = select(&batch, &self.selection).map_err(ArchiveError::arrow(Path::new("rows")))?;
                if batch.num_rows() > 0 {
                    let count = if self.counts { batch.num_rows() as u64 } else { 0 };
                    self.reader.read.set(self.reader.read.get() + count);
                    return Ok(Some(batch));
                }
                continue;
            }
            let Some(partition) = self.plan.partitions.get(self.next) else { return Ok(None) };
            self.next += 1;
            let run = || self.reader.partition(partition, &self.plan.schema, &self.selection, self.columns.as_deref());
            self.run = Some(match run() {
                Err(ReadError::Archive(error)) => {
                    self.reader.leave_out(self.reader.layout.day_file(partition), error)?;
                    run()?
                }
                run => run?,
            });
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
