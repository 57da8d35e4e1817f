//! Times that no session and no gap accounts for: those whose events came another way, and those of which there is nothing.

use crate::base::time::Micros;
use crate::query::coverage::{Listened, Span, between, cut, listened};
use crate::query::reader::{ReadError, Reader};
use crate::store::buffer::View;

use super::known::{JOIN_TOLERANCE, QUIET};

/// What no stream was recorded of, of all projects together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unrecorded {
    /// Events came another way, from a file say, and nobody noted whether any are missing. Ascending.
    pub imported: Vec<Span>,
    /// Nobody recorded, and no event came. Ascending.
    pub nothing: Vec<Span>,
    /// What is before this time was given up on purpose: none of the above.
    pub pruned_before: Option<Micros>,
}

impl Unrecorded {
    /// Times of a span of which there is nothing, but for seams.
    pub fn nothing_within(&self, span: Span) -> Vec<Span> {
        let parts = self.nothing.iter().filter(|(begins, ends)| ends.saturating_sub(*begins) > JOIN_TOLERANCE);
        parts.filter_map(|part| cut(*part, span)).collect()
    }
}

/// Finds what of it reaches into a span, whole, by the rule of [`super::known()`]: what lies between the first and the
/// last event that came another way is not nothing. Each night that nobody recorded costs a look into day files, so a page of one
/// day must not ask for all of them.
///
/// # Errors
/// When the ledger does not read.
pub fn unrecorded(reader: &Reader, of: Span, now: Micros) -> Result<Unrecorded, ReadError> {
    let Listened { spans, .. } = reader.view().map(|view| listened(view, now)).transpose()?.unwrap_or_default();
    let mut found = Unrecorded::default();
    let reaches = |(begins, ends): &Span| *begins < of.1 && of.0 < *ends;
    let pruned_before = reader.view().map(View::pruned_before).transpose()?.flatten();
    found.pruned_before = pruned_before;
    let from = pruned_before.unwrap_or(Micros::MIN);
    for (begins, ends) in between(&spans, (from, now)).into_iter().filter(reaches) {
        let (from, to) =
            (begins.saturating_add(JOIN_TOLERANCE), if ends < now { ends.saturating_sub(JOIN_TOLERANCE) } else { now });
        let events = if from < to { reader.first_and_last((from, to))? } else { None };
        let Some((first, last)) = events else {
            found.nothing.push((begins, ends));
            continue;
        };
        let is_quiet = |from: Micros, to: Micros| to.saturating_sub(from) <= QUIET;
        let first = if is_quiet(begins, first) { begins } else { first };
        let last = if is_quiet(last, ends) { ends } else { last };
        found.imported.push((first, last));
        found.nothing.extend([(begins, first), (last, ends)].into_iter().filter(|(from, to)| from < to));
    }
    Ok(found)
}
