//! Series: the events of one type on their way into buckets, device by device.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray};

use crate::base::time::Micros;
use crate::query::coverage::Span;
use crate::query::reader::{self, Reader, Selection, TypePlan};
use crate::store::devices::Directory;

use super::aggregate::{Counter, Point, Track};
use super::fill::{Earlier, Filler};
use super::known::{StateValidity, Whose, holds_until};
use super::loaded::{Column, Loaded, Marked, columns, text_or_nothing};
use super::lookback::{Before, Last};
use super::value_spec::ValueSpec;
use super::values::Value;
use super::{Ask, Result};

/// What a bucket tells: devices by their numbers, ascending, each with its cells.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) devices: Vec<usize>,
    /// Device by device, figure by figure; NaN where there is none.
    pub(super) cells: Vec<f64>,
}

/// The events of one type in time order. Holds one track for each device and value. What a bucket costs grows with what it tells,
/// and not with the devices that there are.
pub(super) struct Series<'a> {
    rows: reader::Rows<'a>,
    pub(super) told: Vec<ValueSpec>,
    /// Ids, ascending.
    pub(super) devices: Vec<String>,
    numbers: HashMap<String, usize>,
    tracks: Vec<Track>,
    /// By device: the project of its last event, as a place in `projects`.
    homes: Vec<usize>,
    projects: Vec<String>,
    batch: Option<Loaded>,
    known: StateValidity,
    /// Whom to ask what is known; nobody, where there are no states.
    asks: Option<(&'a Reader, &'a Directory)>,
    /// By device: what is known of it in its project.
    spans: Vec<Option<(usize, Arc<[Span]>)>>,
    /// The range ends here.
    until: Micros,
    /// Devices that have events in the bucket, and those in a state that holds.
    told_of: Marked,
    holding: Marked,
    filler: Option<Filler<'a>>,
    /// By figure: cells that no double can hold.
    overflows: Vec<u64>,
}

impl<'a> Series<'a> {
    /// A series of these devices that fills nothing, and of which nothing is known from before.
    pub(super) fn bare(
        reader: &'a Reader,
        plan: TypePlan,
        selection: Selection,
        devices: BTreeSet<String>,
        told: Vec<ValueSpec>,
        ask: &Ask,
    ) -> Self {
        let tracks = devices.iter().flat_map(|_| told.iter().map(|told| Track::new(told.value.behaves(), told.states.len())));
        let values: Vec<Value> = told.iter().map(|told| told.value.clone()).collect();
        let count = devices.len();
        let names = [&columns(&values)[..], &["project_id"]].concat();
        Self {
            tracks: tracks.collect(),
            until: selection.end.unwrap_or(Micros::MAX),
            rows: reader.own_columns(plan, selection, &names),
            numbers: devices.iter().cloned().zip(0..).collect(),
            devices: devices.into_iter().collect(),
            homes: vec![0; count],
            projects: vec![String::new()],
            overflows: vec![0; told.iter().map(|told| told.figures.len()).sum()],
            told,
            batch: None,
            known: ask.known.clone(),
            asks: None,
            spans: vec![None; count],
            told_of: Marked::new(count),
            holding: Marked::new(count),
            filler: None,
        }
    }

    /// Goes on from what was told before `start`, with what fills its buckets.
    pub(super) fn go_on(
        &mut self,
        before: &Before,
        (filler, earlier): (Option<Filler<'a>>, &BTreeMap<String, Earlier>),
        start: Micros,
        asks: (&'a Reader, &'a Directory),
    ) {
        (self.filler, self.asks) = (filler, Some(asks));
        let count = self.told.len();
        for (number, device) in self.devices.iter().enumerate() {
            let tracks = self.tracks[number * count..].iter_mut().zip(&self.told);
            for ((track, told), last) in tracks.zip(before.get(device).into_iter().flatten()) {
                match last {
                    Some(Last::State { state, until }) => {
                        let place = told.states.iter().position(|known| known == state);
                        track.holds(start, place, (*until).min(self.until));
                        self.holding.add(number);
                    }
                    Some(Last::Total(mark)) => *track = Track::Counter(Counter::begin(Some(*mark))),
                    None => {}
                }
            }
            if let (Some(filler), Some(earlier)) = (&mut self.filler, earlier.get(device)) {
                filler.go_on(number, device, earlier);
            }
        }
    }

    /// The same, whose events are not counted as read: a look aside.
    pub(super) fn uncounted(self) -> Self {
        Self { rows: self.rows.uncounted(), ..self }
    }

    /// Where a device was last, by its number; see [`Series::project`].
    pub(super) fn home(&self, number: usize) -> usize {
        self.homes[number]
    }

    /// A project by its number.
    pub(super) fn project(&self, home: usize) -> &str {
        &self.projects[home]
    }

    /// The project of a device, and its id.
    pub(super) fn device(&self, number: usize) -> (&str, &str) {
        (&self.projects[self.homes[number]], &self.devices[number])
    }

    /// Figures of one device.
    pub(super) fn width(&self) -> usize {
        self.told.iter().map(|told| told.figures.len()).sum()
    }

    /// Figures that no double could hold, and how often so far.
    pub(super) fn overflowed(&self) -> Vec<(String, u64)> {
        let figures = self.told.iter().flat_map(|told| told.figures.iter().map(move |figure| (told, figure)));
        let all = figures.zip(&self.overflows).filter(|(_, times)| **times > 0);
        all.map(|((told, figure), times)| (format!("{}_{}", told.value.name(), figure.name(&told.states)), *times)).collect()
    }

    /// True when there may be something to tell of a bucket without another event, as long as others come.
    pub(super) fn is_busy(&self) -> bool {
        !self.holding.all.is_empty() || self.filler.as_ref().is_some_and(|filler| !filler.active().is_empty())
    }

    /// True when there is something to tell of a bucket without another event, be it the last.
    pub(super) fn lasts(&self, bucket: (Micros, Micros)) -> bool {
        let count = self.told.len();
        let holds = |device: &usize| {
            let tracks = self.tracks[device * count..(device + 1) * count].iter();
            tracks.filter_map(Track::lasts_until).any(|until| until > bucket.0 && until < Micros::MAX)
        };
        self.holding.all.iter().any(holds) || self.filler.as_ref().is_some_and(|filler| filler.lasts(bucket))
    }

    /// True when lines may begin in the next bucket.
    pub(super) fn has_open_lines(&self) -> bool {
        self.filler.as_ref().is_some_and(Filler::has_open_lines)
    }

    /// The time of the next event that says anything.
    pub(super) fn next_time(&mut self) -> Result<Option<Micros>> {
        loop {
            match &mut self.batch {
                Some(loaded) if loaded.row < loaded.batch.num_rows() => return Ok(Some(loaded.time())),
                _ => self.batch = self.rows.next_batch()?.map(|batch| Loaded::new(batch, &self.told)),
            }
            match &mut self.batch {
                Some(loaded) => loaded.skip(),
                None => return Ok(None),
            }
        }
    }

    /// Takes all events before `end`.
    pub(super) fn take_until(&mut self, end: Micros) -> Result<()> {
        while self.next_time()?.is_some_and(|time| time < end) {
            let Some(mut loaded) = self.batch.take() else { break };
            while loaded.row < loaded.batch.num_rows() && loaded.time() < end {
                self.take(&loaded)?;
                loaded.row += 1;
                loaded.skip();
            }
            self.batch = Some(loaded);
        }
        Ok(())
    }

    fn take(&mut self, loaded: &Loaded) -> Result<()> {
        let (time, row) = (loaded.time(), loaded.row);
        let Some(number) = self.numbers.get(text_or_nothing(loaded.batch.column(1).as_string::<i32>(), row)).copied() else {
            return Ok(());
        };
        self.move_to(number, loaded.projects.as_ref().map_or("", |projects| text_or_nothing(projects, row)));
        self.told_of.add(number);
        let is_state = |column: &Column| matches!(column, Column::State(states) if states[row].is_some());
        let until = if loaded.columns.iter().any(is_state) { self.holds_until(number, time)? } else { time };
        let count = self.told.len();
        for (column, track) in loaded.columns.iter().zip(&mut self.tracks[number * count..(number + 1) * count]) {
            match column {
                Column::Float(values) if values.is_valid(row) => track.number(time, values.value(row)),
                #[expect(clippy::cast_precision_loss, reason = "figures are doubles, as in every spreadsheet")]
                Column::Int(values) if values.is_valid(row) => track.number(time, values.value(row) as f64),
                Column::State(states) => {
                    if let Some(state) = states[row] {
                        track.state(time, state, until.min(self.until));
                        self.holding.add(number);
                    }
                }
                Column::Happens => track.number(time, 1.0),
                Column::Float(_) | Column::Int(_) | Column::None => {}
            }
        }
        Ok(())
    }

    /// Until when it is known that a device's state holds, unless it tells another.
    fn holds_until(&mut self, number: usize, time: Micros) -> Result<Micros> {
        let Some((reader, directory)) = self.asks else { return Ok(time) };
        let home = self.homes[number];
        if self.spans[number].as_ref().is_none_or(|(of, _)| *of != home) {
            let event_type = self.told.first().map_or("", |told| told.value.event_type.as_str());
            let whose = Whose { project: &self.projects[home], of: Some((event_type, &self.devices[number])) };
            self.spans[number] = Some((home, self.known.spans(reader, directory, whose)?));
        }
        Ok(self.spans[number].as_ref().map_or(time, |(_, spans)| holds_until(spans, time)))
    }

    /// A device is where its last event was.
    fn move_to(&mut self, number: usize, project: &str) {
        if self.projects[self.homes[number]] != project {
            let place = self.projects.iter().position(|known| known == project);
            self.homes[number] = place.unwrap_or_else(|| {
                self.projects.push(project.to_owned());
                self.projects.len() - 1
            });
        }
    }

    /// The points of a bucket, with their slots: of measures alone. Then the next bucket begins.
    pub(super) fn points(&mut self, bucket: (Micros, Micros)) -> Vec<(usize, Point)> {
        let count = self.told.len();
        let mut points = Vec::new();
        for device in self.told_of.take() {
            for slot in device * count..(device + 1) * count {
                points.extend(self.tracks[slot].point(bucket).map(|point| (slot, point)));
                self.tracks[slot].close(bucket.1, &[], &mut []);
            }
        }
        points
    }

    /// What the bucket tells; then the next one begins.
    pub(super) fn close(&mut self, bucket: (Micros, Micros)) -> Result<Rows> {
        let (count, width) = (self.told.len(), self.width());
        let mut members = self.told_of.take();
        members.extend(&self.holding.all);
        members.extend(self.filler.iter().flat_map(Filler::active));
        members.sort_unstable();
        members.dedup();
        let mut rows = Rows::default();
        for device in members {
            let from = rows.cells.len();
            rows.cells.resize(from + width, f64::NAN);
            let (mut at, mut seen, mut value) = (from, false, 0);
            for number in 0..count {
                let figures = self.told[number].figures.len();
                let cells = &mut rows.cells[at..at + figures];
                let track = &mut self.tracks[device * count + number];
                let point = track.point(bucket);
                let mut is_said = track.close(bucket.1, &self.told[number].figures, cells);
                if let Some(filler) = self.filler.as_mut().filter(|_| self.told[number].is_fillable()) {
                    if let Some(point) = point {
                        filler.take(device, value, point, (&self.projects[self.homes[device]], &self.devices[device]));
                    } else if let Some(filled) = filler.fill(device, value, bucket)? {
                        is_said = true;
                        for (figure, cell) in self.told[number].figures.iter().zip(cells) {
                            *cell = figure
                                .cell()
                                .map_or(*cell, |of| Some(filled[of]).filter(|cell| cell.is_finite()).unwrap_or(f64::NAN));
                        }
                    }
                    value += 1;
                }
                seen |= is_said;
                at += figures;
            }
            for (cell, overflows) in rows.cells[from..].iter_mut().zip(&mut self.overflows) {
                if cell.is_infinite() {
                    *cell = f64::NAN;
                    *overflows += 1;
                }
            }
            if seen {
                rows.devices.push(device);
            } else {
                rows.cells.truncate(from);
            }
        }
        self.settle(bucket.1);
        Ok(rows)
    }

    /// Leaves out the devices of which nothing is known from `start` on.
    fn settle(&mut self, start: Micros) {
        let count = self.told.len();
        let (tracks, is_in) = (&self.tracks, &mut self.holding.is_in);
        self.holding.all.retain(|device| {
            let mut all = tracks[device * count..(device + 1) * count].iter();
            is_in[*device] = all.any(|track| track.lasts_until().is_some_and(|until| until > start));
            is_in[*device]
        });
        if let Some(filler) = &mut self.filler {
            filler.settle(start);
        }
    }
}
