//! When events were, of whatever type: the first and the last in a span. Looks at footers first, and at rows only of files that reach
//! beyond the span.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;

use super::{OfDay, Reader, Result, Selection, There};

type Span = (Micros, Micros);

fn both(a: Span, b: Span) -> Span {
    (a.0.min(b.0), a.1.max(b.1))
}

impl Selection {
    fn has(&self, time: Micros) -> bool {
        self.start.is_none_or(|start| time >= start) && self.end.is_none_or(|end| time < end)
    }
}

impl Reader {
    /// The times of the first and the last event in a span, of whatever type and device.
    ///
    /// # Errors
    /// When the buffer does not read. A day file that does not read is no witness.
    pub fn first_and_last(&self, (from, to): (Micros, Micros)) -> Result<Option<(Micros, Micros)>> {
        let selection = Selection { start: Some(from), end: Some(to), ..Selection::default() };
        Ok(self.there()?.ends(&selection, |partition, span| {
            if selection.has(span.0) && selection.has(span.1) { Some(span) } else { self.within(partition, None, &selection) }
        }))
    }

    /// The days that have any events, of whatever type.
    ///
    /// # Errors
    /// When the buffer does not read.
    pub fn all_days(&self) -> Result<BTreeSet<Day>> {
        Ok(self.there()?.days.keys().copied().collect())
    }

    /// The times of the first and the last event of a project in a span.
    ///
    /// # Errors
    /// When the buffer does not read. A day file that does not read is no witness.
    pub fn ends_of(&self, project: &str, (from, to): (Micros, Micros)) -> Result<Option<(Micros, Micros)>> {
        let selection = Selection { start: Some(from), end: Some(to), ..Selection::default() };
        Ok(self.there()?.ends(&selection, |partition, _| self.within(partition, Some(project), &selection)))
    }

    /// The first and the last event of a partition within a selection, of a project or of all.
    fn within(&self, partition: &Partition, project: Option<&str>, selection: &Selection) -> Option<Span> {
        let schema = self.registry.get(&partition.event_type);
        let columns = match project {
            Some(_) => vec![0, schema.arrow().index_of("project_id").ok()?],
            None => vec![0],
        };
        let run = self.partition(partition, &schema, selection, Some(&columns)).ok()?;
        let mut found: Option<Span> = None;
        for batch in run.map_while(std::result::Result::ok) {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
            let from = selection.start.map_or(0, |start| times.partition_point(|time| *time < start));
            let to = selection.end.map_or(times.len(), |end| times.partition_point(|time| *time < end));
            let projects = project.map(|project| (project, batch.column(1).as_string::<i32>()));
            let is_of = |row: &usize| {
                projects
                    .is_none_or(|(project, all)| if all.is_null(*row) { project.is_empty() } else { all.value(*row) == project })
            };
            let first = (from..to).find(is_of);
            let last = first.and_then(|_| (from..to).rev().find(is_of));
            if let (Some(first), Some(last)) = (first, last) {
                let own = (times[first], times[last]);
                found = Some(found.map_or(own, |found| both(found, own)));
            }
        }
        found
    }
}

impl There {
    /// From both ends, and no further than to the first day that has one. `look` gets partitions whose times meet the selection.
    fn ends(&self, selection: &Selection, look: impl Fn(&Partition, Span) -> Option<Span>) -> Option<Span> {
        let of_day = |day: &Day| {
            let partitions = self.partitions(*day).into_iter().filter(|(_, span)| selection.overlaps(*span));
            partitions.filter_map(|(partition, span)| look(&partition, span)).reduce(both)
        };
        let mut days = self.days.keys().filter(|day| selection.has_day(**day));
        let first = days.find_map(of_day)?;
        let last = self.days.keys().filter(|day| selection.has_day(**day)).rev().find_map(of_day);
        Some((first.0, last.unwrap_or(first).1))
    }

    /// The partitions of a day that read, and from when to when they have events.
    fn partitions(&self, day: Day) -> BTreeMap<Partition, Span> {
        let mut spans: BTreeMap<Partition, Span> = BTreeMap::new();
        let Some(OfDay { files, pending }) = self.days.get(&day) else { return spans };
        let mut add = |partition: &Partition, span: Span| {
            let all = spans.entry(partition.clone()).or_insert(span);
            *all = both(*all, span);
        };
        for pending in pending.iter().map(|place| &self.pending[*place]) {
            add(&pending.partition, (pending.time_first, pending.time_last));
        }
        for (folder, place) in files {
            let folder = &self.catalog.folders()[*folder];
            if let Ok(Some((footer, _))) = folder.about(&folder.files()[*place]) {
                add(&footer.partition, (footer.time_first, footer.time_last));
            }
        }
        spans
    }
}
