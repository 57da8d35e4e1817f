//! The lake: many recorders, one table an event type, in object storage, for any engine that reads Delta tables.
//!
//! A recorder stays what it is. What it has rolled goes once to `URL/<event type>/day=2026-11-23/`, with the columns of its day files,
//! who shipped it (`recorder`) and the partition `day`.
//!
//! ```text
//! [news]   day files less what was shipped --> state/lake/outbox/     (0) noted in state/lake/ledger.db as shipment n
//! [ship]   outbox --> part-<recorder>-<n>-<hash>.parquet               (1) put where nothing is; its name is its content
//!          --> _delta_log/N.json, txn {recorder, n}                    (2) put where nothing is: THE COMMIT POINT
//!          --> state/lake/ledger.db: shipment n is done                (3)
//! ```
//!
//! **Exactly once, for each recorder.** After a crash the noted shipment goes on: what is there already is there, a table that has the
//! recorder's `n` has all of it, else it is committed. Whoever was slower in (2) looks at the table anew.
//!
//! **What was shipped is known by the files.** Beside the ledger stands a second name of each day file as it was when it was shipped. A
//! roll only appends, so what is new stands behind; where a file was written anew, its rows are held against the old ones. Where there is
//! no such file (a disk without hard links, a state that was lost), the rows are held against those of the lake. So the local state is a
//! cache, and what may be wrong about it costs time and never a row.
//!
//! **Each event once, whoever shipped it**, after `compact`: of the files of a day it makes few, in one commit, and begins anew where
//! another has changed the day meanwhile. What no version has referred to for seven days goes.
//!
//! **Who is who.** A recorder's id is random, and of one place on one disk (`identity`). A copied, moved, restored or turned back
//! recording takes a new one, and then ships nothing that the lake has already, whoever shipped it.

mod compact;
mod identity;
mod kernel;
mod ledger;
mod news;
mod parts;
mod place;
mod probe;
mod ship;
mod sql;
mod status;

use std::io;

use crate::base::disk::DiskError;
use crate::base::error::{Advice, plain};
use crate::store::archive::ArchiveError;
use crate::store::roll::RollError;

pub use compact::{Compacted, Days, compact};
pub use place::Place;
pub use probe::{Checked, init};
pub use ship::{Passed, Shipper};
pub use sql::{Engine, script};
pub use status::{About, tables};

/// Why nothing was shipped, or not all.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The address is none of a lake.
    #[error("{what}")]
    Address {
        /// What is wrong with it.
        what: String,
    },
    /// Nobody has made a lake here.
    #[error(
        "there is no lake at {0} yet: make it with `overnight lake init {0}`, which also asks the store for what a lake needs"
    )]
    Missing(String),
    /// The store does not do what a lake needs.
    #[error(
        "{place}: {what}, so two recorders could both commit where there is room for one, and nobody would hear of it. Take another store, or a newer version of this one"
    )]
    Unfit {
        /// The lake.
        place: String,
        /// What it does.
        what: String,
    },
    /// The store refuses, or does not answer.
    #[error("cannot {step} {what}: {said}")]
    Store {
        /// What was to be done.
        step: &'static str,
        /// With what.
        what: String,
        /// What the store said, without secrets.
        said: String,
        /// Trying again does not help.
        is_refused: bool,
    },
    /// A table does not read, or is not one that can be written.
    #[error("cannot {step} {what}: {said}")]
    Kernel {
        /// What was to be done.
        step: &'static str,
        /// With which table.
        what: String,
        /// What the kernel said.
        said: String,
    },
    /// A column is of another type in the lake.
    #[error("table {table}: column {what}; give one of them another name in its schema file")]
    Columns {
        /// The table.
        table: String,
        /// The column and the types.
        what: String,
    },
    /// Something is not as overnight leaves it.
    #[error("{what}")]
    Strange {
        /// What.
        what: String,
    },
    /// Others commit all the time.
    #[error("table {table}: {tries} tries, and others were first each time; the next shipment tries again")]
    Crowded {
        /// The table.
        table: String,
        /// How often it was tried.
        tries: u32,
    },
    /// Another process ships with the same id.
    #[error("{0}")]
    Held(String),
    /// The ledger of shipments cannot be used.
    #[error("{path}: {}", plain(source))]
    Ledger {
        /// The database.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The system refuses.
    #[error("the system refuses to {what}: {}", plain(source))]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A day file cannot be read, or a part not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A day file was written by a newer program.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It was asked to end.
    #[error("it was asked to end; the next shipment goes on where this one stopped")]
    Stopped,
}

impl LakeError {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Store { is_refused: false, .. } | Self::Crowded { .. } | Self::Stopped => Advice::Retry,
            Self::Archive(error) => error.advice(),
            Self::Roll(error) => error.advice(),
            _ if crate::base::disk::is_full(self) => Advice::MakeRoom,
            Self::Kernel { .. } | Self::Strange { .. } | Self::Ledger { .. } => Advice::Inspect,
            _ => Advice::Fix,
        }
    }
}

/// Results of the lake.
pub type Result<T> = std::result::Result<T, LakeError>;

/// The table of a folder below `data/`: the same name, but for what would mean something in an address.
fn table_name(folder: &str) -> String {
    // An event type's folder has no dot: it would be escaped.
    folder.replace('%', ".")
}
