//! Reader: day files and buffer as one, in time order, each event once, in constant memory.
//!
//! A partition is read like this: first its blocks, in one SQLite read transaction, then its day file. Blocks that the
//! file's footer covers are in the file already. So recording may go on meanwhile, and no long transaction holds its log. One file: what is promised here is an order between its parts.

mod backwards;
mod ends;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::base::text::{instead, printable};
use crate::base::time::{Day, Micros};
use crate::model::event::{DeviceRow, Partition};
use crate::model::layout::Layout;
use crate::model::schema::{Registry, Schema, conform};
use crate::store::archive::{ArchiveError, Catalog, DayFile, Folder, Merge, Run, Sorted, Wanted};
use crate::store::buffer::{BufferError, Pending, View};

pub use backwards::Backwards;

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
    #[error("the recording has no events of type {wanted:?}; {instead}")]
    NoType {
        /// What was asked for.
        wanted: String,
        /// What may have been meant, or what there is.
        instead: String,
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
    there: OnceCell<There>,
    read: Cell<u64>,
    left_out: Option<RefCell<BTreeMap<PathBuf, String>>>,
    /// Blocks that do not read, by seq, each with the reason.
    rotten: RefCell<BTreeMap<i64, String>>,
}

/// What there was when somebody asked first. The buffer was looked at first, the files after: what is rolled in between is in both.
#[derive(Debug)]
struct There {
    pending: Vec<Pending>,
    catalog: Catalog,
    /// By day: places of its files, folder and file, and of what the buffer holds of it.
    days: BTreeMap<Day, OfDay>,
}

#[derive(Debug, Default)]
struct OfDay {
    files: Vec<(usize, usize)>,
    pending: Vec<usize>,
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
        let (layout, there) = (layout.clone(), OnceCell::new());
        Ok(Self { layout, registry, view, there, read: Cell::new(0), left_out: None, rotten: RefCell::default() })
    }

    fn there(&self) -> Result<&There> {
        if let Some(there) = self.there.get() {
            return Ok(there);
        }
        let pending = self.view.as_ref().map(View::pending).transpose()?.unwrap_or_default();
        let catalog = Catalog::list(&self.layout)?;
        let mut days: BTreeMap<Day, OfDay> = BTreeMap::new();
        for (number, folder) in catalog.folders().iter().enumerate() {
            for (place, file) in folder.files().iter().enumerate() {
                days.entry(file.day).or_default().files.push((number, place));
            }
        }
        for (place, pending) in pending.iter().enumerate() {
            days.entry(pending.partition.day).or_default().pending.push(place);
        }
        Ok(self.there.get_or_init(|| There { pending, catalog, days }))
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
        let There { pending, catalog, .. } = self.there()?;
        for pending in pending {
            add(pending.partition.clone(), pending.events);
        }
        let folders: Vec<PathBuf> = selection.event_types.iter().map(|wanted| self.layout.folder(wanted)).collect();
        for (folder, file) in catalog.files().filter(|(_, file)| selection.has_day(file.day)) {
            // A file that nobody asked for need not be readable.
            let wanted = folders.is_empty() || folders.iter().any(|wanted| wanted == folder.path());
            if !wanted || self.is_left_out(&file.path) {
                continue;
            }
            match folder.about(file) {
                Ok(Some((footer, _))) => add(footer.partition.clone(), footer.rows),
                Ok(None) => {}
                Err(error) => self.leave_out(file.path.clone(), error)?,
            }
        }
        for (wanted, folder) in selection.event_types.iter().zip(&folders) {
            if !known.contains(wanted) && !folder.is_dir() {
                known.extend(self.types_of_files()?);
                let known: Vec<String> = known.iter().map(|name| printable(name, 200)).collect();
                return Err(ReadError::NoType { wanted: wanted.clone(), instead: instead(wanted, &known) });
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
        let There { pending, catalog, .. } = self.there()?;
        let files = catalog.folder(&self.layout.folder(event_type)).into_iter().flat_map(Folder::files);
        let of_type = pending.iter().filter(|pending| *pending.partition.event_type == *event_type);
        Ok(files.map(|file| file.day).chain(of_type.map(|pending| pending.partition.day)).collect())
    }

    /// The event types that the recording has, whenever their events were.
    ///
    /// # Errors
    /// When the buffer does not read.
    pub fn types(&self) -> Result<BTreeSet<String>> {
        let mut types: BTreeSet<String> = self.types_of_files()?.into_iter().collect();
        types.extend(self.there()?.pending.iter().map(|pending| pending.partition.event_type.to_string()));
        Ok(types)
    }

    /// The event types of the day files, as their footers have them: a folder may be called otherwise.
    fn types_of_files(&self) -> Result<BTreeSet<String>> {
        let of_folder = |folder: &Folder| {
            let mut footers = folder.files().iter().filter_map(|file| folder.about(file).ok().flatten());
            footers.next().map(|(footer, _)| footer.partition.event_type.to_string())
        };
        Ok(self.there()?.catalog.folders().iter().filter_map(of_folder).collect())
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

    /// The same of a plan and a selection that nobody else holds.
    pub fn own_rows(&self, plan: TypePlan, selection: Selection) -> Rows<'_> {
        let (plan, selection) = (Cow::Owned(plan), Cow::Owned(selection));
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
    pub(super) fn blocks(&self, partition: &Partition) -> Result<Vec<(i64, RecordBatch)>> {
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
        self.merged((partition, schema), selection, columns, (&blocks, file.as_ref()))
    }

    /// The rows of blocks of a partition, and of its file, which was opened after they were read.
    pub(super) fn merged(
        &self,
        (partition, schema): (&Partition, &Arc<Schema>),
        selection: &Selection,
        columns: Option<&[usize]>,
        (blocks, file): (&[(i64, RecordBatch)], Option<&DayFile>),
    ) -> Result<Run> {
        let covered = match (file, &self.view) {
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
        let mut runs = match file {
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
        let pending = match &keyed {
            Some(keyed) => pending.iter().map(|rows| rows.project(keyed)).collect(),
            None => Ok(pending),
        };
        runs.push(pending.and_then(Sorted::new).map_err(|error| fail(error.to_string()))?.into_run());
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

/// The selected rows of a batch that is in time order.
pub(super) fn select(batch: &RecordBatch, selection: &Selection) -> std::result::Result<RecordBatch, ArrowError> {
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
