//! What the ledger says of a span of time: when sessions lived, which gaps there are, when nobody recorded.

use crate::buffer::{BufferError, Gap, GapState, View};
use crate::coverage::{between, merged};
use crate::tables::Unrecorded;
use crate::time::Micros;

pub(super) use crate::coverage::{Span, cut};

/// The ledger of one project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) name: String,
    /// When sessions lived, merged, ascending.
    pub(super) covered: Vec<Span>,
    /// Its gaps; one that lasts ends now, or where it began when nobody records.
    pub(super) gaps: Vec<(Span, Gap)>,
    pub(super) sessions: Vec<Span>,
}

/// Whether a gap may still be filled.
pub(super) fn is_open(state: GapState) -> bool {
    matches!(state, GapState::Open | GapState::Filling)
}

/// The ledger of a recording.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) projects: Vec<Project>,
}

impl Ledger {
    /// Reads it; empty where nothing came by a session.
    pub(super) fn read(view: Option<&View>, now: Micros) -> Result<Self, BufferError> {
        let Some(view) = view else { return Ok(Self::default()) };
        let recording = view.has_writer();
        let (sessions, gaps) = (view.sessions()?, view.gaps()?);
        let mut names: Vec<&str> = sessions.iter().map(|session| session.project.as_str()).collect();
        names.extend(gaps.iter().map(|gap| gap.project.as_str()));
        names.sort_unstable();
        names.dedup();
        let project = |name: &str| {
            let own = sessions.iter().filter(|session| session.project == name);
            let spans: Vec<Span> = own
                .map(|session| {
                    let lives = session.closed_at.is_none() && recording;
                    (session.opened_at, if lives { now } else { session.spoke_at })
                })
                .collect();
            let ends = |gap: &Gap| gap.ends.unwrap_or(if recording { now } else { gap.begins });
            let own = gaps.iter().filter(|gap| gap.project == name);
            let gaps = own.map(|gap| ((gap.begins, ends(gap)), gap.clone())).collect();
            Project { name: name.to_owned(), covered: merged(spans.clone()), gaps, sessions: spans }
        };
        Ok(Self { projects: names.into_iter().map(project).collect() })
    }

    /// From the first to the last that it knows of; none where it is empty.
    pub(super) fn span(&self) -> Option<Span> {
        let spans = || {
            let gaps = |project: &'_ Project| project.gaps.iter().map(|(span, _)| *span).collect::<Vec<_>>();
            self.projects.iter().flat_map(move |project| [project.covered.clone(), gaps(project)].concat())
        };
        Some((spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?))
    }
}

impl Project {
    /// Times of a span in which nobody recorded: no session, no gap either, and nothing came another way.
    pub(super) fn not_recorded(&self, span: Span, unrecorded: &Unrecorded) -> Vec<Span> {
        let gaps = self.gaps.iter().map(|(span, _)| *span);
        between(&merged(self.covered.iter().copied().chain(gaps).chain(unrecorded.imported.iter().copied()).collect()), span)
    }

    /// Times of a span of which nobody can say whether a device was silent.
    pub(super) fn unheard(&self, span: Span, unrecorded: &Unrecorded) -> Vec<Span> {
        let open = self.gaps.iter().filter(|(_, gap)| gap.state != GapState::Filled).filter_map(|(gap, _)| cut(*gap, span));
        merged(self.not_recorded(span, unrecorded).into_iter().chain(open).collect())
    }
}
