//! Bucket after bucket of the calendar: what several series say of each.

use crate::base::time::Micros;
use crate::base::zone;
use crate::query::reader::Selection;

use super::series::{Rows, Series};
use super::{Ask, Result};

/// One bucket: what each series says of it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) start: Micros,
    pub(super) rows: Vec<Rows>,
}

/// The buckets of several series.
///
/// **The grid.** From the bucket of the start that was asked for, else of the first event, to that of the last instant before the
/// end that was asked for, else to the last of which anything is told.
pub(super) struct Calendar<'a> {
    series: Vec<Series<'a>>,
    buckets: zone::Buckets,
    start: Option<Micros>,
    end: Option<Micros>,
    /// Every bucket of the grid counts, and not only those of which there is something to tell.
    is_whole: bool,
    /// The next bucket begins here; none before the first.
    next: Option<Micros>,
}

impl<'a> Calendar<'a> {
    pub(super) fn new(series: Vec<Series<'a>>, every: zone::Every, selection: &Selection, ask: &Ask, is_whole: bool) -> Self {
        let buckets = zone::Buckets::new(ask.zone.clone(), every);
        Self { series, buckets, start: selection.start, end: selection.end, is_whole, next: None }
    }

    pub(super) fn series(&self) -> &[Series<'a>] {
        &self.series
    }

    /// Figures that no double could hold, and how often so far.
    pub(super) fn overflows(&self) -> Vec<(String, u64)> {
        self.series.iter().flat_map(Series::overflowed).collect()
    }

    /// The next bucket; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Bucket>> {
        while let Some(time) = self.time()? {
            let (start, end) = self.buckets.of(time);
            let mut rows = Vec::with_capacity(self.series.len());
            for series in &mut self.series {
                series.take_until(end)?;
                rows.push(series.close((start, end))?);
            }
            self.next = Some(end);
            if self.is_whole || rows.iter().any(|rows| !rows.devices.is_empty()) {
                return Ok(Some(Bucket { start, rows }));
            }
        }
        Ok(None)
    }

    /// A time within the next bucket.
    fn time(&mut self) -> Result<Option<Micros>> {
        let mut coming = None;
        for series in &mut self.series {
            coming = [coming, series.next_time()?].into_iter().flatten().min();
        }
        let Some(next) = self.next.or(self.start) else { return Ok(coming) };
        if self.end.is_some_and(|end| next >= end) {
            return Ok(None);
        }
        if self.is_whole && self.end.is_some() {
            return Ok(Some(next));
        }
        let bucket = self.buckets.of(next);
        let goes_on = match coming {
            Some(_) => self.is_whole || self.series.iter().any(Series::is_busy),
            // Where a line leads to, behind the range, is seen in its first bucket.
            None => self.series.iter().any(|series| series.lasts(bucket) || (!self.is_whole && series.has_open_lines())),
        };
        Ok(if goes_on { Some(next) } else { coming })
    }
}
