//! Follow: what comes into a recording that another process writes, each event once, in about the order in which it is kept.
//!
//! 1. Seqs are never reused. What stands in the buffer above the last seq that was given is new, and is given block by block.
//! 2. A seq that is missing was rolled meanwhile (or never kept): then the day files that are others than they were are read, but for
//!    what they had before (`files`) and what was given from the buffer (`given`).
//! 3. A part that a day file covers was given with the file.
//!
//! A look at a recording where nothing has happened is one question to SQLite. Files are listed only where a roll has ended.
//! Nothing is written.

mod files;
mod first;
mod given;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::disk;
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::model::schema::{Registry, Schema, conform};
use crate::query::reader::{ReadError, Reader, Selection, select};
use crate::store::archive::{ArchiveError, DayFile, Keys, Run, Stamp};
use crate::store::buffer::{BufferError, Mark, View};

use files::Files;
use given::Given;

type Result<T> = std::result::Result<T, ReadError>;

/// Most rows of one poll, but for the rest of the batch that reaches it.
const ROWS_MAX: usize = if cfg!(test) { 16 } else { 16 * 1024 };

/// What to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// What comes from now on.
    Now,
    /// Everything from this time on, type by type, each in the order of time.
    Since(Micros),
    /// The last so many events, in the order of time.
    Last(usize),
}

/// Events of one type.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The schema of the type.
    pub schema: Arc<Schema>,
    /// The events, with the columns of the schema. `source` says which way they came: `history` is a backfill.
    pub rows: RecordBatch,
}

/// What a poll brings.
#[derive(Debug, Default)]
pub struct Polled {
    /// The events.
    pub fresh: Vec<Fresh>,
    /// There is more: poll again at once.
    pub more: bool,
}

impl Polled {
    fn rows(&self) -> usize {
        self.fresh.iter().map(|fresh| fresh.rows.num_rows()).sum()
    }
}

/// Follows a recording.
#[derive(Debug)]
pub struct Follow {
    layout: Layout,
    registry: Arc<Registry>,
    selection: Selection,
    buffer: Option<Opened>,
    /// What it looked like when all was given.
    version: Option<i64>,
    /// What it is to be followed up to, and the version then.
    target: Option<(i64, Mark)>,
    rolled: u64,
    /// All blocks up to this seq were given.
    above: i64,
    /// The ids that the buffer had.
    ids: HashSet<String>,
    /// Up to which seq a day file was given that holds more than was given of the buffer.
    covered: HashMap<Partition, i64>,
    /// Another buffer has come in the place of the one that was followed: blocks up to here may stand in day files already.
    suspect: i64,
    files: Files,
    given: Given,
    first: Option<first::First>,
    todo: VecDeque<Todo>,
    trouble: Vec<String>,
    failed: Option<ReadError>,
}

/// The buffer as it was opened.
#[derive(Debug)]
struct Opened {
    view: View,
    stamps: (Option<Stamp>, Option<Stamp>),
}

/// Something to read before the next block.
enum Todo {
    /// Rows as they are.
    Rows(Fresh),
    /// Rows that were chosen already, one batch after the other.
    Chosen(Arc<Schema>, Run),
    /// A day file that is another one than it was.
    Changed(PathBuf),
    /// The rest of one.
    File(Partition, Arc<Schema>, Run, Option<Micros>),
}

impl std::fmt::Debug for Todo {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Todo")
    }
}

impl Opened {
    fn new(layout: &Layout) -> Result<Option<Self>> {
        let stamps = stamps(layout);
        match View::open(layout) {
            Ok(view) => Ok(Some(Self { view, stamps })),
            Err(BufferError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Of the buffer, and of its log.
fn stamps(layout: &Layout) -> (Option<Stamp>, Option<Stamp>) {
    let of = |ending| disk::with_ending(&layout.buffer(), ending).metadata().ok().as_ref().and_then(Stamp::of);
    (of(""), of("-wal"))
}

impl Follow {
    /// Begins to follow a recording. Of the selection, the event types and devices count.
    ///
    /// # Errors
    /// When there is no recording, or it does not read.
    pub fn open(layout: &Layout, registry: Arc<Registry>, selection: Selection, from: From, now: Micros) -> Result<Self> {
        let selection = Selection { start: None, end: None, ..selection };
        // The files first: what they hold by then is below the mark.
        let mut trouble = Vec::new();
        let files = Files::list(layout, &selection, &mut trouble)?;
        let buffer = Opened::new(layout)?;
        let mut follow = Self {
            layout: layout.clone(),
            registry,
            selection,
            buffer,
            version: None,
            target: None,
            rolled: 0,
            above: 0,
            ids: HashSet::new(),
            covered: HashMap::new(),
            suspect: 0,
            files,
            given: Given::default(),
            first: None,
            todo: VecDeque::new(),
            trouble,
            failed: None,
        };
        if let Some(Opened { view, .. }) = &follow.buffer {
            let mark = view.mark()?;
            (follow.above, follow.rolled) = (mark.seq, mark.rolled);
            follow.ids.insert(mark.id);
            let mut above = i64::MIN;
            while let Some(news) = view.news(above, |event_type| wants(&follow.selection, event_type))? {
                if news.seq > mark.seq {
                    break;
                }
                for (partition, rows) in news.parts.unwrap_or_default() {
                    let rows = chosen(&rows, &follow.selection)?;
                    follow.given.insert(&partition, news.seq, &rows);
                }
                above = news.seq;
            }
        }
        let reader = Reader::open(layout, Arc::clone(&follow.registry))?.lenient();
        match from {
            From::Now => {}
            From::Since(start) => follow.first = Some(first::First::since(reader, &follow.selection, start)?),
            From::Last(most) => {
                let last = first::last(&reader, &follow.selection, most, now)?;
                // They may have been kept behind the mark, up to here.
                let upto = follow.view().map(View::mark).transpose()?.map_or(0, |mark| mark.seq);
                for fresh in last {
                    if let Some(partition) = partition_of(&fresh) {
                        follow.given.insert(&partition, upto, &fresh.rows);
                    }
                    follow.todo.push_back(Todo::Rows(fresh));
                }
                follow.trouble.extend(reader.left_out());
            }
        }
        Ok(follow)
    }

    /// The buffer, to read the ledger by the same connection; none where there are day files alone.
    pub fn view(&self) -> Option<&View> {
        self.buffer.as_ref().map(|buffer| &buffer.view)
    }

    /// What did not read since this was asked last.
    pub fn take_trouble(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trouble)
    }

    /// What has come since the last poll, up to a bound.
    ///
    /// # Errors
    /// When the recording does not read. Nothing is lost by that: the next poll goes on where this one failed.
    pub fn poll(&mut self) -> Result<Polled> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut polled = Polled::default();
        loop {
            if polled.rows() >= ROWS_MAX {
                polled.more = true;
                return Ok(polled);
            }
            match self.step(&mut polled.fresh) {
                Ok(true) => {}
                Ok(false) => return Ok(polled),
                Err(error) if polled.fresh.is_empty() => return Err(error),
                Err(error) => {
                    // What was read has to be handed on first.
                    self.failed = Some(error);
                    return Ok(polled);
                }
            }
        }
    }

    /// One step; false where nothing is left to do.
    fn step(&mut self, fresh: &mut Vec<Fresh>) -> Result<bool> {
        if let Some(todo) = self.todo.pop_front() {
            self.carry_out(todo, fresh)?;
            return Ok(true);
        }
        if let Some(first) = &mut self.first {
            if let Some(next) = first.next(self.above)? {
                if let Some(file) = &next.file {
                    self.files.know(file, &mut self.given, &self.ids);
                    self.covered.insert(next.partition, covers(file, &self.ids));
                }
                self.todo.push_back(Todo::Chosen(next.schema, next.run));
            } else {
                self.trouble.extend(first.left_out());
                self.first = None;
            }
            return Ok(true);
        }
        if self.target.is_none() && !self.look()? {
            return Ok(false);
        }
        self.follow(fresh)?;
        Ok(true)
    }

    /// True where somebody has committed since all was given.
    fn look(&mut self) -> Result<bool> {
        let stamps = stamps(&self.layout);
        let other = |opened: &Opened| match (opened.stamps.0, stamps.0) {
            (Some(was), Some(is)) => !was.is_of_same_file(&is),
            _ => false,
        };
        let is_gone = stamps.0.is_none();
        let is_other = self.buffer.as_ref().is_none_or(other);
        let is_stale = self.buffer.as_ref().is_some_and(|opened| opened.view.is_copy() && opened.stamps != stamps);
        if is_gone {
            return Ok(false);
        }
        if is_other || is_stale {
            let Some(opened) = Opened::new(&self.layout)? else { return Ok(false) };
            let mark = opened.view.mark()?;
            self.version = None;
            if is_other {
                (self.above, self.suspect) = (0, mark.seq);
                self.ids.clear();
                self.covered.clear();
            }
            self.buffer = Some(opened);
        }
        let Some(Opened { view, .. }) = &self.buffer else { return Ok(false) };
        let version = view.data_version()?;
        if self.version == Some(version) {
            return Ok(false);
        }
        let mark = view.mark()?;
        if !self.ids.is_empty() && !self.ids.contains(&mark.id) {
            // Somebody has opened it for writing, maybe a newer program. Another connection counts versions anew.
            self.ids.insert(mark.id);
            self.buffer = Opened::new(&self.layout)?.or(self.buffer.take());
            self.version = None;
            return self.look();
        }
        self.ids.insert(mark.id.clone());
        if (mark.seq, mark.rolled) == (self.above, self.rolled) {
            // Where nobody writes, versions say nothing: SQLite may count one for each look at a log that it cannot lock.
            self.version = Some(version);
            return Ok(false);
        }
        self.target = Some((version, mark));
        Ok(true)
    }

    /// The next block, or what was rolled before anybody looked.
    fn follow(&mut self, fresh: &mut Vec<Fresh>) -> Result<()> {
        let (Some(Opened { view, .. }), Some((version, mark))) = (&self.buffer, &self.target) else { return Ok(()) };
        let news = view.news(self.above, |event_type| wants(&self.selection, event_type))?;
        match news {
            Some(news) if news.seq == self.above + 1 => {
                match news.parts {
                    Ok(parts) => {
                        for (partition, rows) in parts {
                            self.block(news.seq, &partition, &rows, fresh)?;
                        }
                    }
                    Err(what) => {
                        let path = self.layout.buffer();
                        self.trouble.push(BufferError::Block { path, seq: news.seq, what }.to_string());
                    }
                }
                self.above = news.seq;
            }
            Some(news) => {
                let changed = self.files.changed(&self.layout, &self.selection)?;
                self.todo.extend(changed.into_iter().map(Todo::Changed));
                self.above = news.seq - 1;
            }
            None => {
                let (version, mark) = (*version, mark.clone());
                if mark.seq > self.above {
                    let changed = self.files.changed(&self.layout, &self.selection)?;
                    self.todo.extend(changed.into_iter().map(Todo::Changed));
                    self.above = mark.seq;
                } else if mark.rolled != self.rolled {
                    for path in self.files.changed(&self.layout, &self.selection)? {
                        // One that may hold more than was given is read when what is missing is missed.
                        if let Ok(Some(file)) = DayFile::open(&path)
                            && (1..=self.above).contains(&covers(&file, &self.ids))
                        {
                            self.files.know(&file, &mut self.given, &self.ids);
                        }
                    }
                }
                (self.version, self.rolled, self.target) = (Some(version), mark.rolled, None);
            }
        }
        Ok(())
    }

    /// Rows of a block.
    fn block(&mut self, seq: i64, partition: &Partition, rows: &RecordBatch, fresh: &mut Vec<Fresh>) -> Result<()> {
        if self.covered.get(partition).is_some_and(|covered| seq <= *covered) {
            return Ok(());
        }
        let schema = self.registry.get(&partition.event_type);
        let fail = |error: String| ReadError::Block { partition: partition.clone(), what: error };
        let rows = conform(rows, &schema).map_err(|error| fail(error.to_string()))?;
        let rows = chosen(&rows, &self.selection)?;
        let mut is_new = self.given.insert(partition, seq, &rows);
        if seq <= self.suspect {
            let old = files::holds(&self.layout, partition, &rows);
            is_new.iter_mut().zip(old).for_each(|(is_new, is_old)| *is_new &= !is_old);
        }
        push(fresh, &schema, &rows, is_new)
    }

    fn carry_out(&mut self, todo: Todo, fresh: &mut Vec<Fresh>) -> Result<()> {
        match todo {
            Todo::Rows(rows) => fresh.push(rows),
            Todo::Chosen(schema, mut run) => match run.next() {
                Some(Ok(rows)) => {
                    push(fresh, &schema, &rows, vec![true; rows.num_rows()])?;
                    self.todo.push_front(Todo::Chosen(schema, run));
                }
                Some(Err(error)) => self.trouble.push(error.to_string()),
                None => {}
            },
            Todo::Changed(path) => match DayFile::open(&path) {
                Ok(Some(file)) => {
                    let partition = file.footer().partition.clone();
                    let schema = self.registry.get(&partition.event_type);
                    let (groups, floor) = self.files.since(&file);
                    let floor = floor.max(self.given.floor(&partition));
                    let run = if groups.is_empty() { None } else { Some(file.rows(groups, &schema)) };
                    match run.transpose() {
                        Ok(run) => {
                            self.todo.extend(run.map(|run| Todo::File(partition.clone(), schema, run, floor)));
                            self.covered.insert(partition, covers(&file, &self.ids));
                            self.files.note(&file);
                        }
                        Err(error) => self.trouble.push(error.to_string()),
                    }
                }
                Ok(None) => {}
                Err(error) => self.trouble.push(error.to_string()),
            },
            Todo::File(partition, schema, mut run, floor) => match run.next() {
                Some(Ok(rows)) => {
                    let rows = chosen(&rows, &self.selection)?;
                    let is_late =
                        |at: usize| floor.is_none_or(|floor| received(&rows, at).is_none_or(|received| received > floor));
                    let covered = self.covered.get(&partition).copied().unwrap_or_default();
                    let new = self.given.insert(&partition, covered, &rows).into_iter().enumerate();
                    push(fresh, &schema, &rows, new.map(|(at, is_new)| is_new && is_late(at)).collect())?;
                    self.todo.push_front(Todo::File(partition, schema, run, floor));
                }
                Some(Err(error)) => self.trouble.push(error.to_string()),
                None => {
                    let covered = self.covered.get(&partition).copied().unwrap_or_default();
                    self.given.forget(&partition, covered);
                }
            },
        }
        Ok(())
    }
}

fn wants(selection: &Selection, event_type: &str) -> bool {
    selection.event_types.is_empty() || selection.event_types.iter().any(|wanted| wanted == event_type)
}

/// Up to which seq a day file covers a buffer that had these ids.
fn covers(file: &DayFile, ids: &HashSet<String>) -> i64 {
    let footer = file.footer();
    if ids.contains(&footer.buffer_id) { footer.seq_last } else { 0 }
}

fn partition_of(fresh: &Fresh) -> Option<Partition> {
    let keys = Keys::of(&fresh.rows).filter(|keys| !keys.is_empty())?;
    Some(Partition { event_type: fresh.schema.name.as_str().into(), day: Day::of(keys.get(0).0) })
}

fn chosen(rows: &RecordBatch, selection: &Selection) -> Result<RecordBatch> {
    Ok(select(rows, selection).map_err(ArchiveError::arrow(Path::new("rows")))?)
}

fn received(rows: &RecordBatch, at: usize) -> Option<Micros> {
    let times = rows.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(times.value(at))
}

/// Hands on the rows that are new.
fn push(fresh: &mut Vec<Fresh>, schema: &Arc<Schema>, rows: &RecordBatch, is_new: Vec<bool>) -> Result<()> {
    let rows = if is_new.iter().all(|is_new| *is_new) {
        rows.clone()
    } else {
        filter_record_batch(rows, &BooleanArray::from(is_new)).map_err(ArchiveError::arrow(Path::new("rows")))?
    };
    if rows.num_rows() > 0 {
        fresh.push(Fresh { schema: Arc::clone(schema), rows });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
