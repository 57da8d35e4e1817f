//! Series with what they need from outside their range: what was known before it, what fills reach back and ahead for.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Micros;
use crate::base::zone::{self, Every};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::store::devices::Directory;

use super::aggregate::{Aggregate, Point, Statistic};
use super::fill::{Coming, Earlier, Fill, Filler, Reach, measures};
use super::loaded::found;
use super::lookback::{Last, lookback};
use super::series::Series;
use super::value_spec::ValueSpec;
use super::values::Value;
use super::{Ask, Result};

/// The series of some values of a type.
pub(super) fn series<'a>(
    reader: &'a Reader,
    plan: &TypePlan,
    selection: &Selection,
    values: &[Value],
    usual: &[Aggregate],
    (directory, ask): (&'a Directory, &Ask),
) -> Result<Series<'a>> {
    let (mut devices, mut states) = found(reader, plan, selection, values)?;
    let before = lookback((reader, directory), &plan.schema, selection, values, &ask.known)?;
    for (device, told) in &before {
        devices.insert(device.clone());
        for (last, states) in told.iter().zip(&mut states) {
            if let Some(Last::State { state, .. }) = last {
                states.insert(state.clone());
            }
        }
    }
    let told = values.iter().zip(states).map(|(value, states)| ValueSpec {
        value: value.clone(),
        figures: Statistic::of(value.behaves(), &ask.aggregates, usual, states.len()),
        states: states.into_iter().collect(),
    });
    let told: Vec<ValueSpec> = told.collect();
    let event_type = &plan.schema.name;
    let earlier = earlier(reader, event_type, selection, &told, ask)?;
    devices.extend(earlier.keys().cloned());
    let filler = filler(reader, event_type, selection, &devices, &told, (directory, ask))?;
    let mut series = Series::bare(reader, plan.clone(), selection.clone(), devices, told, ask);
    series.go_on(&before, (filler, &earlier), selection.start.unwrap_or_default(), (reader, directory));
    Ok(series)
}

/// What fills a series; none where nothing is to be filled.
fn filler<'a>(
    reader: &'a Reader,
    event_type: &str,
    selection: &Selection,
    devices: &BTreeSet<String>,
    told: &[ValueSpec],
    (directory, ask): (&'a Directory, &Ask),
) -> Result<Option<Filler<'a>>> {
    let count = measures(told).len();
    let Some(every) = ask.every.filter(|_| ask.fill != Fill::None && count > 0) else { return Ok(None) };
    let mut ahead = None;
    if ask.fill == Fill::Linear {
        let bare = Ask { fill: Fill::None, ..ask.clone() };
        let to = selection.end.map(|end| Reach::new(every, ask).ahead(end));
        let span = (selection.start, to);
        ahead = Points::new(reader, event_type, selection, span, Some(devices), (told, every, &bare))?;
    }
    let ahead = ahead.map(|points| -> Box<dyn Coming + 'a> { Box::new(points) });
    Ok(Some(Filler::new(event_type, (devices.len(), count), ahead, Reach::new(every, ask), (directory, ask))))
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
        (told, every, ask): (&[ValueSpec], Every, &Ask),
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
}

impl Coming for Points<'_> {
    fn next(&mut self) -> Result<Option<Vec<(usize, Point)>>> {
        let Some(time) = self.series.next_time()? else { return Ok(None) };
        let (start, end) = self.buckets.of(time);
        let to = if (time..end).contains(&self.cut) && time < self.cut { self.cut } else { end };
        self.series.take_until(to)?;
        self.read_until = end;
        Ok(Some(self.series.points((start, end))))
    }

    fn read_until(&self) -> Micros {
        self.read_until
    }
}

/// By device, what the buckets before a selection said last, as far back as fills reach.
fn earlier(
    reader: &Reader,
    event_type: &str,
    selection: &Selection,
    told: &[ValueSpec],
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
                last.insert(device.to_owned(), Earlier::new(count));
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
