//! What somebody who begins to follow is given first: all since a time, or the last so many events.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::base::time::{DAY, Micros, SECOND};
use crate::model::event::Partition;
use crate::model::schema::Schema;
use crate::query::reader::{Reader, Selection, TypePlan, select};
use crate::store::archive::{ArchiveError, DayFile, Keys, Run};

use super::{Fresh, Result};

/// Partitions that were not given yet.
#[derive(Debug)]
pub(super) struct First {
    reader: Reader,
    selection: Selection,
    todo: VecDeque<(Arc<Schema>, Partition)>,
    left_out: Vec<String>,
}

/// The rows of a partition, and the day file that they were read from.
pub(super) struct Next {
    pub(super) partition: Partition,
    pub(super) schema: Arc<Schema>,
    pub(super) run: Run,
    pub(super) file: Option<DayFile>,
}

impl First {
    /// Everything from a time on.
    pub(super) fn since(reader: Reader, selection: &Selection, start: Micros) -> Result<Self> {
        let selection = Selection { start: Some(start), ..selection.clone() };
        let plans = plans(&reader, &selection)?;
        let todo = plans.into_iter().flat_map(|plan| {
            let schema = plan.schema;
            plan.partitions.into_iter().map(move |partition| (Arc::clone(&schema), partition))
        });
        let todo = todo.collect();
        Ok(Self { reader, selection, todo, left_out: Vec::new() })
    }

    /// The next partition, with blocks up to a seq.
    pub(super) fn next(&mut self, upto: i64) -> Result<Option<Next>> {
        let Some((schema, partition)) = self.todo.front().cloned() else { return Ok(None) };
        let mut blocks = self.reader.blocks(&partition)?;
        self.todo.pop_front();
        blocks.retain(|(seq, _)| *seq <= upto);
        let file = DayFile::of(self.reader.layout(), &partition).unwrap_or_else(|error| {
            self.left_out.push(error.to_string());
            None
        });
        let run = self.reader.merged((&partition, &schema), &self.selection, None, (&blocks, file.as_ref()))?;
        let selection = self.selection.clone();
        let select = move |rows| select(&rows, &selection);
        let fail = ArchiveError::arrow(Path::new("rows"));
        let run: Run = Box::new(run.map(move |rows| rows.and_then(|rows| select(rows).map_err(&fail))));
        Ok(Some(Next { partition, schema, run, file }))
    }

    /// What did not read.
    pub(super) fn left_out(&self) -> Vec<String> {
        let mut all = self.reader.left_out();
        all.extend(self.left_out.iter().cloned());
        all
    }
}

/// The plans of a selection; a type that there is nothing of yet is none.
fn plans(reader: &Reader, selection: &Selection) -> Result<Vec<TypePlan>> {
    let there = reader.types()?;
    let wanted: Vec<String> = selection.event_types.iter().filter(|wanted| there.contains(*wanted)).cloned().collect();
    if wanted.is_empty() && !selection.event_types.is_empty() {
        return Ok(Vec::new());
    }
    reader.plan(&Selection { event_types: wanted, ..selection.clone() })
}

/// The last so many events of a recording, in the order of time.
pub(super) fn last(reader: &Reader, selection: &Selection, most: usize, now: Micros) -> Result<Vec<Fresh>> {
    let Some((_, latest)) = (if most == 0 { None } else { reader.first_and_last((Micros::MIN, now + DAY))? }) else {
        return Ok(Vec::new());
    };
    // Few are read as a rule: the search reaches back further while there are too few.
    let mut found = Vec::new();
    for reach in [600 * SECOND, 3600 * SECOND, DAY, 31 * DAY, Micros::MAX] {
        let selection = Selection { start: Some(latest.saturating_sub(reach)), ..selection.clone() };
        found = tail(reader, &selection, most)?;
        if found.len() >= most {
            break;
        }
    }
    Ok(found.into_iter().map(|(_, fresh)| fresh).collect())
}

/// The last so many events of a selection, each by itself, with its time.
fn tail(reader: &Reader, selection: &Selection, most: usize) -> Result<Vec<(Micros, Fresh)>> {
    let mut all: Vec<(Micros, Fresh)> = Vec::new();
    for plan in plans(reader, selection)? {
        // A batch holds many rows: those that are surely among the last ones are taken apart in the end.
        let (mut batches, mut count) = (VecDeque::new(), 0);
        let mut rows = reader.rows(&plan, selection);
        while let Some(batch) = rows.next_batch()? {
            count += batch.num_rows();
            batches.push_back(batch);
            while batches.front().is_some_and(|first| count - first.num_rows() >= most) {
                count -= batches.pop_front().map_or(0, |first| first.num_rows());
            }
        }
        for batch in batches {
            let Some(keys) = Keys::of(&batch) else { continue };
            for at in batch.num_rows().saturating_sub(most)..batch.num_rows() {
                let fresh = Fresh { schema: Arc::clone(&plan.schema), rows: batch.slice(at, 1) };
                all.push((keys.get(at).0, fresh));
            }
        }
        all.sort_by_key(|(time, _)| *time);
        let surplus = all.len().saturating_sub(most);
        all.drain(..surplus);
    }
    Ok(all)
}
