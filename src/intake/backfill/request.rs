//! What somebody asks of the history by hand: a span, for a project. A recorder that runs finds it in `state/requests/`.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::disk::{self, DiskError};
use crate::base::time::Micros;
use crate::model::layout::Layout;
use crate::model::settings::Filters;
use crate::query::coverage::{between, merged};
use crate::store::buffer::Records;

/// No request is longer, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// A request. Times are microseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The number of its pass over the history.
    pub id: i64,
    /// The project.
    pub project: String,
    /// Which events.
    pub filters: Filters,
    /// Its beginning.
    pub begins: Micros,
    /// Its end.
    pub ends: Micros,
}

impl Request {
    /// Asks for a span.
    pub fn new(project: &str, filters: Filters, (begins, ends): (Micros, Micros)) -> Self {
        Self { id: super::plan::fresh_id(), project: project.to_owned(), filters, begins, ends }
    }

    fn path(&self, layout: &Layout) -> PathBuf {
        layout.requests().join(format!("{:016x}.json", self.id))
    }

    /// Leaves it for the recorder that runs.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn leave(&self, layout: &Layout) -> Result<(), DiskError> {
        disk::create_own_dir(&layout.requests())?;
        let path = self.path(layout);
        let text = serde_json::to_vec(self).map_err(|error| DiskError::new("write", &path, error.into()))?;
        disk::write(&layout.requests(), &path, &text)
    }

    /// Takes it back.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, layout: &Layout) -> Result<(), DiskError> {
        disk::remove(&self.path(layout))
    }

    /// Whether nobody has found it yet.
    pub fn is_waiting(&self, layout: &Layout) -> bool {
        self.path(layout).exists()
    }

    /// Those of a project that wait. A file that holds none is left alone.
    ///
    /// # Errors
    /// When one does not read. One that was taken back meanwhile is none.
    pub(super) fn waiting(layout: &Layout, project: &str) -> Result<Vec<Self>, DiskError> {
        let mut found = Vec::new();
        for path in disk::list(&layout.requests())?.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        {
            let text = match disk::read(path, LONGEST) {
                Err(error) if error.source.kind() == ErrorKind::NotFound => continue,
                read => read?,
            };
            found.extend(serde_json::from_slice::<Self>(&text).ok());
        }
        found.retain(|request| request.project == project && request.begins < request.ends);
        Ok(found)
    }

    /// What of it is new: no pass has brought it, and none is at work.
    pub fn new_of(&self, records: &Records) -> Vec<(Micros, Micros)> {
        let holds = |fill: &i64| {
            let fill = records.fills.get(fill);
            fill.is_some_and(|fill| {
                fill.project == self.project && fill.filters.hold(&self.filters) && (fill.done_at.is_some() || fill.by_hand)
            })
        };
        let there = records.pieces.iter().filter(|piece| holds(&piece.fill)).map(|piece| (piece.begins, piece.ends));
        let lost =
            |noted: Micros| records.losses.iter().filter(move |loss| loss.project == self.project && loss.noted_at > noted);
        // What was lost after it was brought is new.
        let there: Vec<_> = merged(there.collect());
        let asked = records.fills.values().map(|fill| fill.asked_at).max().unwrap_or(Micros::MIN);
        // What was given up on purpose is not fetched back.
        let begins = self.begins.max(records.pruned_before.unwrap_or(Micros::MIN));
        let mut new = between(&there, (begins, self.ends));
        new.extend(lost(asked).filter_map(|loss| crate::query::coverage::cut((loss.begins, loss.ends), (begins, self.ends))));
        merged(new)
    }
}
