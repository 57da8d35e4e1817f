//! What the ledger says of a span of time: when sessions lived, which gaps there are, when nobody recorded.

use crate::base::time::Micros;
use crate::query::coverage::{Gap, NobodyRecords, Project, Timeline, between, merged};
use crate::query::tables::Unrecorded;
use crate::store::buffer::{BufferError, View};

pub(super) use crate::query::coverage::{Span, cut};

/// The ledger of a recording.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) projects: Vec<Project>,
    pub(super) nobody_records: Vec<NobodyRecords>,
}

impl Ledger {
    /// Reads it; empty where nothing came by a session.
    pub(super) fn read(view: Option<&View>, now: Micros) -> Result<Self, BufferError> {
        let Some(view) = view else { return Ok(Self::default()) };
        let time = Timeline::read(view, None, now)?;
        let nobody_records = time.nobody_records();
        let projects = time.projects.into_iter().filter(|project| project.span().is_some());
        Ok(Self { projects: projects.collect(), nobody_records })
    }

    /// From the first to the last that it knows of; none where it is empty.
    pub(super) fn span(&self) -> Option<Span> {
        let spans = || self.projects.iter().filter_map(Project::span);
        Some((spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?))
    }
}

/// Gaps of a project that meet a span.
pub(super) fn gaps_within(project: &Project, span: Span) -> impl Iterator<Item = &Gap> {
    project.gaps.iter().filter(move |gap| cut(gap.span, span).is_some())
}

/// Times of a span in which nobody recorded: no session, no gap either, and nothing came another way.
pub(super) fn not_recorded(project: &Project, span: Span, unrecorded: &Unrecorded) -> Vec<Span> {
    let gaps = project.gaps.iter().map(|gap| gap.span);
    let span = (unrecorded.pruned_before.map_or(span.0, |before| span.0.max(before)), span.1);
    between(&merged(project.heard.iter().copied().chain(gaps).chain(unrecorded.imported.iter().copied()).collect()), span)
}
