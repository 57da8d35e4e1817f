//! What stands in buckets without an event: what stood before, or what lies on the line to what comes.
//!
//! Devices and values are apart: what a bucket gets never depends on what else is exported. Holds the last point of each, and of
//! those that come the first behind each hole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::str::FromStr;
use std::sync::Arc;

use crate::base::time::Micros;
use crate::base::zone::{self, Every};
use crate::query::coverage::Span;
use crate::query::reader::{Reader, Selection};
use crate::store::devices::Directory;

use super::aggregate::Point;
use super::gaps::{Gaps, first_behind};
use super::loaded::found;
use super::series::{Series, Told};
use super::{Ask, Result};

/// Buckets that are filled, unless somebody says otherwise.
const USUAL: usize = 4;

/// What stands in buckets without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Nothing.
    #[default]
    None,
    /// What stood in the last one that had an event.
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

/// How far fills reach.
struct Reach {
    limit: Option<Micros>,
    buckets: zone::Buckets,
    last: Option<(Micros, Micros)>,
}

impl Reach {
    fn new(every: Every, ask: &Ask) -> Self {
        Self { limit: ask.fill_limit, buckets: zone::Buckets::new(ask.zone.clone(), every), last: None }
    }

    /// Until when a bucket that ends at `end` may fill others.
    fn of(&mut self, end: Micros) -> Micros {
        let Some(limit) = self.limit else {
            let (_, reach) = self
                .last
                .filter(|(of, _)| *of == end)
                .unwrap_or_else(|| (end, (0..USUAL).fold(end, |time, _| self.buckets.of(time).1)));
            self.last = Some((end, reach));
            return reach;
        };
        end.saturating_add(limit)
    }

    /// A time before which nothing reaches beyond `start`.
    fn back(&mut self, start: Micros, every: Every) -> Micros {
        let begins = self.buckets.of(start).0;
        let back = self.limit.unwrap_or(every.about().saturating_mul(2 + 2 * 4));
        self.buckets.of(begins.saturating_sub(back)).0
    }
}

/// The measures of a series, bucket after bucket, where there are any.
struct Points<'a> {
    /// Apart, since a series may have a filler.
    series: Box<Series<'a>>,
    buckets: zone::Buckets,
    /// The range ends within a bucket: what lies behind is a point of its own.
    cut: Micros,
    /// All that begins before is read.
    read_until: Micros,
}

impl<'a> Points<'a> {
    /// Of these devices and values, from one time to another; none where there is nothing.
    fn new(
        reader: &'a Reader,
        event_type: &str,
        selection: &Selection,
        (from, to): (Option<Micros>, Option<Micros>),
        devices: Option<&BTreeSet<String>>,
        (told, every, ask): (&[Told], Every, &Ask),
    ) -> Result<Option<Self>> {
        let event_types = vec![event_type.to_owned()];
        let span = Selection { start: from, end: to, event_types, devices: selection.devices.clone() };
        let Some(plan) = reader.plan(&span)?.pop() else { return Ok(None) };
        let devices = match devices {
            Some(devices) => devices.clone(),
            None => found(reader, &plan, &span, &[])?.0,
        };
        let series = Series::bare(reader, plan, span, devices, measures(told), ask).uncounted();
        let buckets = zone::Buckets::new(ask.zone.clone(), every);
        Ok(Some(Self { series: Box::new(series), buckets, cut: selection.end.unwrap_or(Micros::MAX), read_until: Micros::MIN }))
    }

    /// The points of the next bucket that has any, with their slots; none at the end.
    fn next(&mut self) -> Result<Option<Vec<(usize, Point)>>> {
        let Some(time) = self.series.next_time()? else { return Ok(None) };
        let (start, end) = self.buckets.of(time);
        let to = if (time..end).contains(&self.cut) && time < self.cut { self.cut } else { end };
        self.series.take_until(to)?;
        self.read_until = end;
        Ok(Some(self.series.points((start, end))))
    }
}

/// The values that may be filled.
fn measures(told: &[Told]) -> Vec<Told> {
    told.iter().filter(|told| told.is_fillable()).cloned().collect()
}

/// A device before a selection: its project, and the last point of each value that may be filled.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    pub(super) project: String,
    points: Vec<Option<Point>>,
}

/// By device, what the buckets before a selection said last, as far back as fills reach.
pub(super) fn earlier(
    reader: &Reader,
    event_type: &str,
    selection: &Selection,
    told: &[Told],
    ask: &Ask,
) -> Result<BTreeMap<String, Earlier>> {
    let mut last: BTreeMap<String, Earlier> = BTreeMap::new();
    let count = measures(told).len();
    let fills = ask.fill != Fill::None && count > 0;
    let (Some(start), Some(every)) = (selection.start.filter(|_| fills), ask.every) else { return Ok(last) };
    let from = Reach::new(every, ask).back(start, every);
    let ask = Ask { fill: Fill::None, ..ask.clone() };
    let span = (Some(from), Some(start));
    let Some(mut points) = Points::new(reader, event_type, selection, span, None, (told, every, &ask))? else { return Ok(last) };
    while let Some(found) = points.next()? {
        for (slot, point) in found {
            let (project, device) = points.series.device(slot / count);
            if !last.contains_key(device) {
                last.insert(device.to_owned(), Earlier { project: String::new(), points: vec![None; count] });
            }
            if let Some(earlier) = last.get_mut(device) {
                earlier.points[slot % count] = Some(point);
                if earlier.project != project {
                    project.clone_into(&mut earlier.project);
                }
            }
        }
    }
    Ok(last)
}

/// One value of one device.
#[derive(Debug, Clone, Default)]
struct Slot {
    known: Option<Point>,
    /// Until when what is known holds.
    until: Micros,
    /// Where a line begins that has not been looked for.
    is_open: bool,
    line: Option<Point>,
}

/// Fills the buckets of a series. A slot is a device and a value that may be filled.
pub(super) struct Filler<'a> {
    fill: Fill,
    reach: Reach,
    slots: Vec<Slot>,
    /// Values of a device.
    count: usize,
    /// Devices that may get something in the next bucket.
    active: Vec<usize>,
    is_active: Vec<bool>,
    ahead: Option<Ahead<'a>>,
    gaps: Gaps,
    directory: &'a Directory,
    event_type: String,
    /// By device: its project, and its gaps.
    of_device: Vec<Option<(String, Arc<[Span]>)>>,
}

/// What comes, by slot.
struct Ahead<'a> {
    points: Points<'a>,
    /// The first point behind each hole.
    coming: Vec<VecDeque<Point>>,
    /// Where the last point ends.
    ends: Vec<Micros>,
}

impl<'a> Filler<'a> {
    /// None where nothing is to be filled.
    pub(super) fn new(
        reader: &'a Reader,
        event_type: &str,
        selection: &Selection,
        devices: &BTreeSet<String>,
        told: &[Told],
        (directory, ask): (&'a Directory, &Ask),
    ) -> Result<Option<Self>> {
        let count = measures(told).len();
        let Some(every) = ask.every.filter(|_| ask.fill != Fill::None && count > 0) else { return Ok(None) };
        let mut reach = Reach::new(every, ask);
        let slots = devices.len() * count;
        let mut ahead = None;
        if ask.fill == Fill::Linear {
            let bare = Ask { fill: Fill::None, ..ask.clone() };
            let to = selection.end.map(|end| {
                let last = reach.buckets.of(end.saturating_sub(1)).1;
                let last = reach.of(last);
                reach.buckets.of(last).1
            });
            let span = (selection.start, to);
            let points = Points::new(reader, event_type, selection, span, Some(devices), (told, every, &bare))?;
            ahead = points.map(|points| Ahead { points, coming: vec![VecDeque::new(); slots], ends: vec![Micros::MIN; slots] });
        }
        Ok(Some(Self {
            fill: ask.fill,
            reach,
            slots: vec![Slot::default(); slots],
            count,
            active: Vec::new(),
            is_active: vec![false; devices.len()],
            ahead,
            gaps: ask.gaps.clone(),
            directory,
            event_type: event_type.to_owned(),
            of_device: vec![None; devices.len()],
        }))
    }

    /// Goes on from what was told before the first bucket.
    pub(super) fn go_on(&mut self, device: usize, id: &str, earlier: &Earlier) {
        for (value, point) in earlier.points.iter().enumerate() {
            if let Some(point) = point {
                self.take(device, value, *point, (&earlier.project, id));
            }
        }
    }

    fn gaps_of(&mut self, device: usize, (project, id): (&str, &str)) -> Option<Arc<[Span]>> {
        if self.gaps.is_empty() {
            return None;
        }
        let known = &mut self.of_device[device];
        if known.as_ref().is_none_or(|(of, _)| of != project) {
            *known = Some((project.to_owned(), self.gaps.of(project, &self.event_type, id, self.directory)));
        }
        known.as_ref().map(|(_, gaps)| Arc::clone(gaps))
    }

    /// A bucket has events of a device; `id` is its project and its own.
    pub(super) fn take(&mut self, device: usize, value: usize, point: Point, id: (&str, &str)) {
        let mut until = self.reach.of(point.end);
        let gap = self.gaps_of(device, id).and_then(|gaps| first_behind(&gaps, point.last));
        // Nothing goes into a gap, nor through it. Whether a line does is seen where it ends.
        if let Some((begins, _)) = gap.filter(|_| self.fill == Fill::Previous) {
            until = until.min(begins);
        }
        let slot = device * self.count + value;
        self.slots[slot] = Slot { known: Some(point), until, is_open: self.fill == Fill::Linear, line: None };
        if let Some(ahead) = &mut self.ahead {
            while ahead.coming[slot].front().is_some_and(|next| next.start <= point.start) {
                ahead.coming[slot].pop_front();
            }
        }
        if !std::mem::replace(&mut self.is_active[device], true) {
            self.active.push(device);
        }
    }

    /// Devices that may get something in the next bucket.
    pub(super) fn active(&self) -> &[usize] {
        &self.active
    }

    /// Whether any device gets something in a bucket, without another event.
    pub(super) fn lasts(&self, (_, end): (Micros, Micros)) -> bool {
        let previous = |slot: &Slot| self.fill == Fill::Previous && slot.known.is_some() && end <= slot.until;
        self.active.iter().any(|device| {
            let slots = &self.slots[device * self.count..(device + 1) * self.count];
            slots.iter().any(|slot| slot.line.is_some() || previous(slot))
        })
    }

    /// Whether lines may begin in the next bucket.
    pub(super) fn has_open_lines(&self) -> bool {
        let slots = |device: &usize| &self.slots[device * self.count..(device + 1) * self.count];
        self.active.iter().flat_map(slots).any(|slot| slot.is_open)
    }

    /// What stands in a bucket that has no event of a device.
    pub(super) fn fill(&mut self, device: usize, value: usize, (start, end): (Micros, Micros)) -> Result<Option<[f64; 5]>> {
        let number = device * self.count + value;
        let Some(known) = self.slots[number].known else { return Ok(None) };
        if self.fill == Fill::Previous {
            return Ok((end <= self.slots[number].until).then_some(known.cells));
        }
        if start < known.end {
            return Ok(None);
        }
        if std::mem::replace(&mut self.slots[number].is_open, false) {
            let until = self.slots[number].until;
            let next = match &mut self.ahead {
                Some(ahead) => ahead.next(number, &known, until)?,
                None => None,
            };
            let gaps = self.of_device[device].as_ref().map(|(_, gaps)| Arc::clone(gaps));
            let is_apart = |next: &Point| {
                gaps.as_ref().and_then(|gaps| first_behind(gaps, known.last)).is_none_or(|(begins, _)| next.first <= begins)
            };
            self.slots[number].line = next.filter(is_apart);
        }
        let slot = &mut self.slots[number];
        slot.line = slot.line.filter(|line| start < line.start);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a hole are far below 2^53")]
        let part = |line: &Point| (start - known.start) as f64 / (line.start - known.start) as f64;
        Ok(slot.line.map(|line| {
            let part = part(&line);
            std::array::from_fn(|at| {
                let (from, to) = (known.cells[at], line.cells[at]);
                let by = to - from;
                if by.is_finite() { from + by * part } else { from * (1.0 - part) + to * part }
            })
        }))
    }

    /// Leaves out the devices of which nothing comes in the buckets from `start` on.
    pub(super) fn settle(&mut self, start: Micros) {
        let (count, slots, is_active, fill) = (self.count, &self.slots, &mut self.is_active, self.fill);
        self.active.retain(|device| {
            let goes_on = |slot: &Slot| match fill {
                Fill::Previous => slot.known.is_some() && slot.until > start,
                _ => slot.is_open || slot.line.is_some_and(|line| line.start > start),
            };
            is_active[*device] = slots[device * count..(device + 1) * count].iter().any(goes_on);
            is_active[*device]
        });
    }
}

impl Ahead<'_> {
    /// The next point of a slot behind a known one, if its bucket begins no later than a time.
    fn next(&mut self, slot: usize, known: &Point, until: Micros) -> Result<Option<Point>> {
        loop {
            while self.coming[slot].front().is_some_and(|next| next.start <= known.start) {
                self.coming[slot].pop_front();
            }
            if let Some(next) = self.coming[slot].front() {
                return Ok(Some(*next).filter(|next| next.start <= until));
            }
            if self.points.read_until > until {
                return Ok(None);
            }
            let Some(points) = self.points.next()? else { return Ok(None) };
            for (slot, point) in points {
                // Only what lies behind a hole is ever asked for.
                if std::mem::replace(&mut self.ends[slot], point.end) != point.start {
                    self.coming[slot].push_back(point);
                }
            }
        }
    }
}
