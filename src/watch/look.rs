//! Looking: a thread that reads the recording each second, and puts what it saw on the board. It writes nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};

use crate::base::disk::Room;
use crate::base::error::plain;
use crate::base::time::{self, DAY, Day, Micros, SECOND};
use crate::model::event::Source;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::query::coverage::{GapState, Project, Timeline};
use crate::query::follow::{Follow, Fresh, From, Polled};
use crate::query::holdings::bytes_a_day;
use crate::query::look::waits_for_room;
use crate::query::reader::{ReadError, Reader, Selection};
use crate::query::tables::{Ask, Shape, TableError, tables};
use crate::store::archive::{Catalog, Stamp};
use crate::store::buffer::{BufferError, View, WhichFaults};
use crate::store::devices::Directory;
use crate::store::last_backup::last_backup;
use crate::store::last_shipment::last_shipment;

use super::alerts::Firing;
use super::board::Board;
use super::head::{Head, State};
use super::model::Hearing;
use super::seen::{Alert, Coverage, Seen};

/// How often it is looked: an event that waited three seconds to be kept is on the page within five.
const EVERY: Duration = Duration::from_secs(1);
/// How far back it is looked for what a device told last.
const BACK: Micros = 31 * DAY;
/// Over how long events a second are counted.
const RATE: Micros = 60 * SECOND;
/// How often it is looked for what costs more, and how often for what changes by the hour.
const NOW_AND_THEN: Micros = 10 * SECOND;
const RARELY: Micros = 600 * SECOND;
/// Polls between two looks while the day is read: so that a page shows it coming.
const POLLS: usize = 20;

/// Gives the schemas by which a recording is read.
pub type Schemas = Box<dyn Fn() -> Result<Arc<Registry>, String> + Send>;

/// Looks at a recording until it is told to end.
pub fn run(layout: &Layout, schemas: &Schemas, board: &Board, ends: &Receiver<()>) {
    let mut looker = Looker::new(layout.clone());
    loop {
        let is_behind = looker.look(schemas, board, time::now());
        let wait = if is_behind { Duration::ZERO } else { EVERY };
        if !matches!(ends.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// What there is to say before the first look.
pub fn nothing_yet(layout: &Layout, now: Micros) -> Seen {
    Seen { is_loading: true, ..Seen::nothing(&name(layout), State::Waiting, None, now) }
}

/// What a recording is called.
fn name(layout: &Layout) -> String {
    let root = layout.root().canonicalize().unwrap_or_else(|_| layout.root().to_owned());
    root.file_name().map_or_else(|| root.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// What is looked at now and then, and when it was last.
#[derive(Debug, Default)]
struct Slow {
    at: Option<Micros>,
    buffered: u64,
    faults: u64,
    rare_at: Option<Micros>,
    bytes_a_day: Option<u64>,
    devices: Option<Stamp>,
}

/// What one look leaves for the next.
struct Looker {
    layout: Layout,
    follow: Option<Follow>,
    /// The last 24 hours are still being read.
    is_loading: bool,
    /// Where the recording ended, as it was opened.
    end: Micros,
    /// Events that came lately.
    lately: VecDeque<(Micros, usize)>,
    slow: Slow,
}

impl Looker {
    fn new(layout: Layout) -> Self {
        Self { layout, follow: None, is_loading: true, end: Micros::MIN, lately: VecDeque::new(), slow: Slow::default() }
    }

    /// One look; true when there is more to read at once.
    fn look(&mut self, schemas: &Schemas, board: &Board, now: Micros) -> bool {
        let looked = if self.follow.is_some() { Ok(()) } else { self.open(schemas, board, now) };
        let (seen, is_behind) = match looked.and_then(|()| self.read(board, now)) {
            Ok(found) => found,
            Err(Blind { state, why }) => {
                self.follow = None;
                (Seen::nothing(&name(&self.layout), state, why, now), false)
            }
        };
        board.show(seen);
        is_behind
    }

    fn open(&mut self, schemas: &Schemas, board: &Board, now: Micros) -> Result<(), Blind> {
        let registry = schemas().map_err(|why| Blind { state: State::Unreadable, why: Some(why) })?;
        self.end = ends(&self.layout, &registry, now)?;
        let since = From::Since(self.end - DAY);
        self.follow = Some(Follow::open(&self.layout, Arc::clone(&registry), Selection::default(), since, now)?);
        board.begin(registry);
        (self.is_loading, self.slow, self.lately) = (true, Slow::default(), VecDeque::new());
        Ok(())
    }

    /// Reads what came, and what the ledger says.
    fn read(&mut self, board: &Board, now: Micros) -> Result<(Seen, bool), Blind> {
        let Some(follow) = &mut self.follow else { return Err(Blind { state: State::Waiting, why: None }) };
        let (mut came, mut is_behind) = (0, true);
        for _ in 0..POLLS {
            let Polled { fresh, more } = follow.poll()?;
            board.change(|fleet| {
                for Fresh { schema, rows } in &fresh {
                    fleet.take(&schema.name, rows, now);
                    came += live(rows);
                }
            });
            is_behind = more;
            if !more {
                break;
            }
        }
        let trouble = follow.take_trouble();
        if self.is_loading && !is_behind {
            self.is_loading = false;
            look_back(&self.layout, board, self.end)?;
        } else if !self.is_loading {
            self.lately.push_back((now, came));
        }
        while self.lately.front().is_some_and(|(at, _)| *at < now - RATE) {
            self.lately.pop_front();
        }
        let mut seen = Seen::nothing(&name(&self.layout), State::Finished, None, now);
        (seen.is_loading, seen.rate) = (self.is_loading, self.rate());
        seen.note = trouble.first().map(|what| format!("not all of it reads: {what}"));
        let room = Room::of(&self.layout.state());
        seen.disk_free = room.map(|room| room.free);
        seen.last_backup = last_backup(&self.layout).map(|backup| backup.at.into());
        seen.shipping = last_shipment(&self.layout);
        let time = match self.follow.as_ref().and_then(Follow::view) {
            Some(view) => {
                let time = view.at_one_moment(|| Timeline::read(view, None, now))?;
                let is_low = waits_for_room(&self.layout, room, view.has_writer());
                seen.heads = time.projects.iter().map(|project| Head::of(project, is_low)).collect();
                self.slow.look(&self.layout, view, board, now)?;
                time
            }
            None => Timeline::default(),
        };
        (seen.buffered, seen.faults, seen.bytes_a_day) = (self.slow.buffered, self.slow.faults, self.slow.bytes_a_day);
        seen.head = Head::worst(&seen.heads);
        let standing = board.alerts().unwrap_or_default();
        seen.alerts = standing.firing.iter().map(alert).collect();
        seen.alerts_trouble = standing.trouble;
        let newest = board.change(|fleet| {
            let of_devices = standing.firing.iter().filter(|firing| !firing.subject.device.is_empty());
            fleet.alerts(of_devices.map(|firing| ((&*firing.subject.project, &*firing.subject.device), firing.alert.clone())));
            fleet
                .hears(time.projects.iter().filter_map(|project| Some((project.name.clone(), hearing(project, now)?))).collect());
            fleet.devices().iter().filter_map(|device| device.last_seen).max()
        });
        seen.last_event = newest;
        seen.until = if time.projects.iter().any(|project| project.goes_on) {
            now
        } else {
            self.end.max(newest.unwrap_or(self.end)).min(now)
        };
        seen.days = time.projects.iter().map(|project| Coverage::of(project, seen.day())).collect();
        Ok((seen, is_behind))
    }

    /// Events a second; none before they were counted for a while.
    fn rate(&self) -> Option<f64> {
        let first = self.lately.front()?.0;
        let events: usize = self.lately.iter().skip(1).map(|(_, came)| came).sum();
        let passed = self.lately.back()?.0 - first;
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        (passed >= 2 * SECOND).then(|| events as f64 * SECOND as f64 / passed as f64)
    }
}

impl Slow {
    fn look(&mut self, layout: &Layout, view: &View, board: &Board, now: Micros) -> Result<(), Blind> {
        let is_due = |at: Option<Micros>, every: Micros| at.is_none_or(|at| !(0..every).contains(&(now - at)));
        if is_due(self.at, NOW_AND_THEN) {
            self.at = Some(now);
            self.buffered = view.pending()?.iter().map(|pending| pending.events).sum();
            let within = WhichFaults { from: Some(now - DAY), ..WhichFaults::default() };
            self.faults = view.fault_reasons(&within, usize::MAX)?.iter().map(|fault| fault.count).sum();
            // The list is published whenever it changes.
            let stamp = layout.devices().metadata().ok().as_ref().and_then(Stamp::of);
            if self.devices.is_none() || self.devices != stamp {
                self.devices = stamp;
                let devices = view.devices()?;
                board.change(|fleet| fleet.know(&devices));
            }
        }
        if is_due(self.rare_at, RARELY) {
            self.rare_at = Some(now);
            self.bytes_a_day = a_day(layout, now)?;
        }
        Ok(())
    }
}

fn alert(firing: &Firing) -> Alert {
    Alert { name: firing.alert.clone(), of: firing.name.clone(), since: firing.since }
}

/// Rows that came as they happened, and not from the past.
fn live(rows: &RecordBatch) -> usize {
    let sources = rows.column_by_name("source").and_then(|column| column.as_string_opt::<i32>());
    sources.into_iter().flatten().flatten().filter(|source| Source::live().contains(source)).count()
}

/// When a project could be heard; none that never was.
fn hearing(project: &Project, now: Micros) -> Option<Hearing> {
    let missing = project.gaps.iter().filter(|gap| gap.state != GapState::Filled && !gap.lasts).map(|gap| gap.span.1).max();
    let begun = project.wanted.last().map(|span| span.0);
    let until = if project.connected_since.is_some() { now } else { project.last_sign? };
    Some(Hearing { from: missing.max(begun).unwrap_or(Micros::MIN), until })
}

/// Where the time of a recording ends: now, while anybody wants it; else with the last that is known of it.
fn ends(layout: &Layout, registry: &Arc<Registry>, now: Micros) -> Result<Micros, Blind> {
    let reader = Reader::open(layout, Arc::clone(registry))?.lenient();
    let time = reader.view().map(|view| Timeline::read(view, None, now)).transpose()?.unwrap_or_default();
    if time.projects.iter().any(|project| project.goes_on) {
        return Ok(now);
    }
    let last_sign = time.projects.iter().filter_map(|project| project.last_sign).max();
    let last_event = reader.first_and_last((Micros::MIN, now.saturating_add(1)))?.map(|(_, last)| last);
    Ok(last_sign.max(last_event).unwrap_or(now).min(now))
}

/// What devices told last before the day that was read.
fn look_back(layout: &Layout, board: &Board, end: Micros) -> Result<(), Blind> {
    let reader = Reader::open(layout, board.registry())?.lenient();
    let directory = Directory::default();
    let selection = Selection { start: Some(end - BACK), end: Some(end - DAY), ..Selection::default() };
    let ask = Ask { shape: Shape::Latest, ..Ask::default() };
    for plan in reader.plan(&selection)? {
        for mut table in tables(&reader, std::slice::from_ref(&plan), &selection, &directory, &ask)? {
            while let Some(rows) = table.next_batch()? {
                board.change(|fleet| fleet.take(&plan.schema.name, &rows, end));
            }
        }
    }
    Ok(())
}

/// What the day files of a day take.
fn a_day(layout: &Layout, now: Micros) -> Result<Option<u64>, Blind> {
    let catalog = Catalog::list(layout).map_err(ReadError::from)?;
    let files = catalog.files().map(|(_, file)| (file.day, file.path.metadata().map_or(0, |about| about.len())));
    Ok(bytes_a_day(files, Day::of(now)))
}

/// Nothing can be seen, and why.
#[derive(Debug)]
struct Blind {
    state: State,
    why: Option<String>,
}

impl std::convert::From<BufferError> for Blind {
    fn from(error: BufferError) -> Self {
        match error {
            BufferError::Missing(_) => Self { state: State::Waiting, why: None },
            error => Self { state: State::Unreadable, why: Some(plain(&error)) },
        }
    }
}

impl std::convert::From<ReadError> for Blind {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Buffer(error) => error.into(),
            error => Self { state: State::Unreadable, why: Some(plain(&error)) },
        }
    }
}

impl std::convert::From<TableError> for Blind {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Read(error) => error.into(),
            error => Self { state: State::Unreadable, why: Some(plain(&error)) },
        }
    }
}
