//! Bucket after bucket of the calendar: what several series say of it, and what stands where they say nothing.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use crate::reader::{Reader, Selection};
use crate::time::Micros;
use crate::zone;

use super::aggregate::Figure;
use super::series::{Series, Told, found};
use super::{Ask, Result};

/// So many buckets without an event in a row are a row each; a longer hole (a device with a wrong clock) is left out.
const HOLE: u32 = 10_000;

/// What stands in buckets without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Nothing.
    #[default]
    None,
    /// What stood in the one before.
    Previous,
    /// Figures on the straight line between their neighbours.
    Linear,
}

impl FromStr for Fill {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "previous" => Ok(Self::Previous),
            "linear" => Ok(Self::Linear),
            _ => Err(format!("{text:?} is none of none, previous, linear")),
        }
    }
}

/// One bucket: figures of each device of each series, and whether anything is known of the device.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) start: Micros,
    end: Micros,
    /// Series by series, device by device, figure by figure; NaN where there is none.
    pub(super) cells: Vec<f64>,
    /// Series by series, device by device.
    pub(super) seen: Vec<bool>,
}

/// A figure with the bucket that it is of.
pub(super) type Figured = (Micros, Micros, f64);

/// The longest hole that is filled.
fn reach(every: zone::Every, ask: &Ask) -> Micros {
    // Four buckets, also where a day has 25 hours or a month 31 days, and never five.
    ask.fill_limit.unwrap_or(4 * every.about() + every.about() / 2)
}

/// By device, what the buckets before a selection said last, as far back as fills reach; value by value, figure by figure.
pub(super) fn earlier(
    reader: &Reader,
    event_type: &str,
    selection: &Selection,
    told: &[Told],
    ask: &Ask,
) -> Result<BTreeMap<String, Vec<Option<Figured>>>> {
    let mut last: BTreeMap<String, Vec<Option<Figured>>> = BTreeMap::new();
    let figures: Vec<&Figure> = told.iter().flat_map(|told| &told.figures).collect();
    let fills = ask.fill != Fill::None && figures.iter().any(|figure| figure.can_be_filled());
    let (Some(start), Some(every)) = (selection.start.filter(|_| fills), ask.every) else { return Ok(last) };
    let from = zone::Buckets::new(ask.zone.clone(), every).of(start.saturating_sub(reach(every, ask))).0;
    let before = Selection { start: Some(from), end: Some(start), event_types: vec![event_type.to_owned()], ..selection.clone() };
    let ask = Ask { fill: Fill::None, ..ask.clone() };
    for plan in &reader.plan(&before)? {
        let (devices, _) = found(reader, plan, &before, &[])?;
        let series = Series::of(reader, plan, &before, devices, told.to_vec(), &ask);
        let mut calendar = Calendar::new(vec![series.uncounted()], every, &before, &ask);
        while let Some(bucket) = calendar.next()? {
            for (device, cells) in calendar.series[0].devices.iter().zip(bucket.cells.chunks(figures.len())) {
                let said = cells.iter().enumerate().filter(|(cell, value)| figures[*cell].can_be_filled() && !value.is_nan());
                for (cell, value) in said {
                    let of_device = last.entry(device.clone()).or_insert_with(|| vec![None; figures.len()]);
                    of_device[cell] = Some((bucket.start, bucket.end, *value));
                }
            }
        }
    }
    Ok(last)
}

/// The buckets of several series.
pub(super) struct Calendar<'a> {
    series: Vec<Series<'a>>,
    buckets: zone::Buckets,
    start: Option<Micros>,
    begun: bool,
    /// The next bucket begins here.
    next: Micros,
    empty: u32,
    filler: Filler,
}

impl<'a> Calendar<'a> {
    pub(super) fn new(series: Vec<Series<'a>>, every: zone::Every, selection: &Selection, ask: &Ask) -> Self {
        let mut fills = Vec::new();
        let mut owner = Vec::new();
        let mut device = 0;
        for series in &series {
            for _ in &series.devices {
                for figure in series.told.iter().flat_map(|told| &told.figures) {
                    fills.push(figure.can_be_filled());
                    owner.push(device);
                }
                device += 1;
            }
        }
        let known = series.iter().flat_map(|series| series.earlier.iter().copied()).collect();
        let filler = Filler { fill: ask.fill, limit: reach(every, ask), known, fills, owner, waiting: VecDeque::new() };
        let buckets = zone::Buckets::new(ask.zone.clone(), every);
        Self { series, buckets, start: selection.start, begun: false, next: 0, empty: 0, filler }
    }

    pub(super) fn series(&self) -> &[Series<'a>] {
        &self.series
    }

    /// The next bucket; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Bucket>> {
        loop {
            if let Some(bucket) = self.filler.pop(false) {
                return Ok(Some(bucket));
            }
            match self.collect()? {
                Some(bucket) => self.filler.push(bucket),
                None => return Ok(self.filler.pop(true)),
            }
        }
    }

    fn collect(&mut self) -> Result<Option<Bucket>> {
        let mut first = None;
        for series in &mut self.series {
            first = [first, series.next_time()?].into_iter().flatten().min();
        }
        let lasts = self.series.iter().map(Series::lasts_until).max().unwrap_or(Micros::MIN);
        if !self.begun {
            let goes_on = first.is_some() && self.filler.known.iter().any(Option::is_some);
            let past = self.start.filter(|start| *start < lasts || goes_on);
            let Some(time) = [first, past].into_iter().flatten().min() else { return Ok(None) };
            (self.begun, self.next) = (true, time);
        } else if first.is_none() && lasts <= self.next {
            return Ok(None);
        } else if self.empty > HOLE
            && let Some(first) = first
        {
            self.next = first;
        }
        let (start, end) = self.buckets.of(self.next);
        let width = self.series.iter().map(|series| series.devices.len() * series.width()).sum();
        let devices = self.series.iter().map(|series| series.devices.len()).sum();
        let mut bucket = Bucket { start, end, cells: vec![f64::NAN; width], seen: vec![false; devices] };
        let (mut cells, mut seen) = (bucket.cells.as_mut_slice(), bucket.seen.as_mut_slice());
        for series in &mut self.series {
            series.take_until(end)?;
            let (own, rest) = cells.split_at_mut(series.devices.len() * series.width());
            let (own_seen, rest_seen) = seen.split_at_mut(series.devices.len());
            series.close(end, own, own_seen);
            (cells, seen) = (rest, rest_seen);
        }
        self.empty = if bucket.seen.contains(&true) { 0 } else { self.empty + 1 };
        self.next = end;
        Ok(Some(bucket))
    }
}

/// Fills buckets without an event. Holds as many as the limit is long.
struct Filler {
    fill: Fill,
    limit: Micros,
    /// By cell: may it be filled, whose is it, and the last known figure with its bucket.
    fills: Vec<bool>,
    owner: Vec<usize>,
    known: Vec<Option<Figured>>,
    waiting: VecDeque<Bucket>,
}

impl Filler {
    fn push(&mut self, mut bucket: Bucket) {
        if self.fill != Fill::None {
            for cell in 0..self.fills.len() {
                if self.fills[cell] {
                    self.fill(cell, &mut bucket);
                }
            }
        }
        self.waiting.push_back(bucket);
    }

    fn fill(&mut self, cell: usize, bucket: &mut Bucket) {
        let value = bucket.cells[cell];
        let near = |(_, end, _): &Figured| bucket.start - end <= self.limit;
        match (self.fill, self.known[cell]) {
            (Fill::Previous, Some(known)) if value.is_nan() && bucket.end - known.1 <= self.limit => {
                bucket.cells[cell] = known.2;
                bucket.seen[self.owner[cell]] = true;
            }
            (Fill::Linear, Some(known)) if !value.is_nan() && near(&known) => {
                #[expect(clippy::cast_precision_loss, reason = "microseconds of a hole are far below 2^53")]
                let part = |time: Micros| (time - known.0) as f64 / (bucket.start - known.0) as f64;
                for hole in self.waiting.iter_mut().filter(|hole| hole.start > known.0) {
                    hole.cells[cell] = known.2 + (value - known.2) * part(hole.start);
                    hole.seen[self.owner[cell]] = true;
                }
            }
            _ => {}
        }
        if !value.is_nan() {
            self.known[cell] = Some((bucket.start, bucket.end, value));
        }
    }

    /// The first bucket that waits, once no later one can fill it.
    fn pop(&mut self, is_end: bool) -> Option<Bucket> {
        let (first, last) = (self.waiting.front()?, self.waiting.back()?);
        let settled = self.fill != Fill::Linear || last.end - first.start > self.limit;
        if settled || is_end { self.waiting.pop_front() } else { None }
    }
}
