//! What stands in buckets without an event: what stood before, or what lies on the line to what comes.
//!
//! Devices and values are apart: what a bucket gets never depends on what else is exported. Holds the last point of each, and of
//! those that come the first behind each hole.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;

use crate::base::time::Micros;
use crate::base::zone::{self, Every};
use crate::query::coverage::Span;
use crate::store::devices::Directory;

use super::aggregate::Point;
use super::gaps::{Gaps, first_behind};
use super::value_spec::ValueSpec;
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
pub(super) struct Reach {
    limit: Option<Micros>,
    buckets: zone::Buckets,
    last: Option<(Micros, Micros)>,
}

impl Reach {
    pub(super) fn new(every: Every, ask: &Ask) -> Self {
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

    /// Until when anything may be asked for behind a range that ends at `end`.
    pub(super) fn ahead(&mut self, end: Micros) -> Micros {
        let last = self.buckets.of(end.saturating_sub(1)).1;
        let last = self.of(last);
        self.buckets.of(last).1
    }

    /// A time before which nothing reaches beyond `start`.
    pub(super) fn back(&mut self, start: Micros, every: Every) -> Micros {
        let begins = self.buckets.of(start).0;
        let back = self.limit.unwrap_or(every.about().saturating_mul(2 + 2 * 4));
        self.buckets.of(begins.saturating_sub(back)).0
    }
}

/// The measures that come, bucket after bucket.
pub(super) trait Coming {
    /// The points of the next bucket that has any, with their slots; none at the end.
    fn next(&mut self) -> Result<Option<Vec<(usize, Point)>>>;

    /// All that begins before is read.
    fn read_until(&self) -> Micros;
}

/// The values that may be filled.
pub(super) fn measures(told: &[ValueSpec]) -> Vec<ValueSpec> {
    told.iter().filter(|told| told.is_fillable()).cloned().collect()
}

/// A device before a selection: its project, and the last point of each value that may be filled.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    pub(super) project: String,
    pub(super) points: Vec<Option<Point>>,
}

impl Earlier {
    pub(super) fn new(count: usize) -> Self {
        Self { project: String::new(), points: vec![None; count] }
    }
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
    points: Box<dyn Coming + 'a>,
    /// The first point behind each hole.
    coming: Vec<VecDeque<Point>>,
    /// Where the last point ends.
    ends: Vec<Micros>,
}

impl<'a> Filler<'a> {
    /// For so many devices of so many values that may be filled; lines need what comes.
    pub(super) fn new(
        event_type: &str,
        (devices, count): (usize, usize),
        ahead: Option<Box<dyn Coming + 'a>>,
        reach: Reach,
        (directory, ask): (&'a Directory, &Ask),
    ) -> Self {
        let slots = devices * count;
        let ahead = ahead.map(|points| Ahead { points, coming: vec![VecDeque::new(); slots], ends: vec![Micros::MIN; slots] });
        Self {
            fill: ask.fill,
            reach,
            slots: vec![Slot::default(); slots],
            count,
            active: Vec::new(),
            is_active: vec![false; devices],
            ahead,
            gaps: ask.gaps.clone(),
            directory,
            event_type: event_type.to_owned(),
            of_device: vec![None; devices],
        }
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
            return Ok((end <= self.slots[number].until).then(|| known.cells.map(|cell| known.decimals.round(cell))));
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
            let decimals = known.decimals.max(line.decimals);
            std::array::from_fn(|at| {
                let (from, to) = (known.cells[at], line.cells[at]);
                let by = to - from;
                decimals.round(if by.is_finite() { from + by * part } else { from * (1.0 - part) + to * part })
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
            if self.points.read_until() > until {
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
