//! What is known of times of which no event tells: that a door stayed as it was, or nothing at all.

use crate::coverage::{Listened, Span, between, listened};
use crate::reader::{ReadError, Reader, Selection};
use crate::time::{Micros, SECOND};

/// So short a time between two sessions is none: a recorder that was started again at once, clocks that do not quite agree, the
/// ten seconds by which backfill reaches beyond a gap.
pub const SEAM: Micros = 15 * SECOND;
/// A sensor says something at least so often. Where events came by another way, they need not reach the session next to them.
pub(super) const QUIET: Micros = 3600 * SECOND;

/// What is known of times of which no event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// When nothing is known, ascending by their beginnings. From then on nobody knows the state of a door until it speaks again.
    pub unknown: Vec<Span>,
    /// Nothing is known from then on.
    pub until: Micros,
}

impl Default for Known {
    /// Everything is known.
    fn default() -> Self {
        Self { unknown: Vec::new(), until: Micros::MAX }
    }
}

impl Known {
    /// When, between two times, nothing is known first: at once, where that is what an event from the future told.
    pub fn first_unknown(&self, since: Micros, until: Micros) -> Option<Micros> {
        let from = self.unknown.partition_point(|(begins, _)| *begins <= since);
        let begins = self.unknown.get(from).map_or(Micros::MAX, |(begins, _)| *begins);
        Some(begins.min(self.until.max(since))).filter(|begins| *begins < until)
    }
}

/// What is known where a selection has no event.
///
/// **The rule.** The state that a door told last is known while somebody listened: from the opening of a session to its last sign
/// of life, through gaps that were filled from history, never through one that was not. Where there was no session and no gap,
/// nobody recorded; of such a time is known what lies between the first and the last event that came by another way (an import,
/// a push that was sent again, a day file that was copied in), of whatever type and device. So a recording without sessions is
/// known from its first event to its last, and any other one to its last sign of life or its last event, whichever is later. An
/// event from the future, of a wrong clock, says nothing where there is any other.
///
/// Of the time before the selection only the last that is unknown is found: nothing that was told before it holds.
///
/// # Errors
/// When the ledger does not read.
pub fn known(reader: &Reader, selection: &Selection, now: Micros) -> Result<Known, ReadError> {
    let Listened { spans, unfilled } = reader.view().map(|view| listened(view, now)).transpose()?.unwrap_or_default();
    let (start, end) = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    let mut unknown = unfilled;
    let last_before_start = |unknown: &[Span]| unknown.iter().map(|(begins, _)| *begins).filter(|begins| *begins < start).max();
    let heard = spans.last().map(|span| span.1);
    for (begins, ends) in between(&spans, (Micros::MIN, heard.unwrap_or(Micros::MIN))).into_iter().rev() {
        if last_before_start(&unknown).is_some_and(|last| ends <= last) {
            break;
        }
        if begins >= end || ends.saturating_sub(begins) <= SEAM {
            continue;
        }
        let parts = match reader.first_and_last((begins.saturating_add(SEAM), ends - SEAM))? {
            Some((first, last)) => {
                let parts = [(begins, first), (last, ends)].into_iter();
                parts.filter(|(from, to)| to.saturating_sub(*from) > QUIET).collect()
            }
            None => vec![(begins, ends)],
        };
        // Before the first event of all nobody said anything that could hold.
        unknown.extend(parts.into_iter().filter(|(from, _)| *from > Micros::MIN));
    }
    unknown.sort_unstable();
    let from = heard.unwrap_or(Micros::MIN);
    let mut last = reader.first_and_last((from, now.saturating_add(1)))?;
    if last.is_none() && heard.is_none() {
        last = reader.first_and_last((from, Micros::MAX))?;
    }
    Ok(Known { unknown, until: last.map_or(from, |(_, last)| last.max(from)) })
}
