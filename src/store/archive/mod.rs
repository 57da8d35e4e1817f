//! The archive: day files, one Parquet file a partition. Names, footers, writing, reading, merging.
//!
//! A day file is its own commit record: its footer says which buffer rows it holds (`seq_last` of which buffer), so the
//! rename that publishes it is the one commit point of a roll. Row groups are each in the order of (`time`, `event_id`).

mod catalog;
mod footer;
mod footers;
mod index;
mod merge;
mod read;
mod stamp;
mod write;

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::base::disk::{self, DiskError};
use crate::base::error::{Advice, plain};
use crate::model::schema::ConformError;

pub use catalog::{Catalog, Folder, Listed};
pub use footer::{FORMAT_VERSION, Footer};
pub use footers::Footers;
pub use index::{Entry, Index};
pub use merge::{Keys, Merge, Run, Sorted};
pub use read::{DayFile, Wanted, day_files};
pub use stamp::{Device, Stamp};
pub use write::{DayWriter, Effort, GROUP_ROWS, parquet_properties};

/// Why a day file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is no Parquet, or damaged.
    #[error("{}: {}", path.display(), plain(source))]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: ParquetError,
    },
    /// The file is Parquet, but not a day file of this partition.
    #[error("{}: {what}", path.display())]
    Footer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer program wrote the file.
    #[error("{}: it has format version {found}, this program knows up to {known}; use a newer overnight", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known one.
        known: u32,
    },
    /// The rows do not fit their schema.
    #[error("{}: {source}", path.display())]
    Conform {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: ConformError,
    },
    /// Arrow refused.
    #[error("{}: {}", path.display(), plain(source))]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What Arrow said.
        source: ArrowError,
    },
}

impl ArchiveError {
    pub(crate) fn arrow(path: &Path) -> impl Fn(ArrowError) -> Self + '_ {
        move |source| Self::Arrow { path: path.to_owned(), source }
    }

    pub(crate) fn parquet(path: &Path) -> impl Fn(ParquetError) -> Self + '_ {
        move |source| Self::Parquet { path: path.to_owned(), source }
    }

    /// True when the file itself is at fault, and will be at the next try: not the disk, not a schema that is missing.
    pub fn is_damage(&self) -> bool {
        match self {
            // What the system refuses says nothing about the bytes.
            Self::Parquet { .. } | Self::Arrow { .. } => disk::cause(self).is_none_or(|cause| cause.raw_os_error().is_none()),
            Self::Footer { .. } => true,
            Self::Disk(_) | Self::Newer { .. } | Self::Conform { .. } => false,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            _ if disk::is_full(self) => Advice::MakeRoom,
            Self::Disk(_) | Self::Conform { .. } | Self::Newer { .. } => Advice::Fix,
            Self::Parquet { .. } | Self::Footer { .. } | Self::Arrow { .. } => Advice::Inspect,
        }
    }
}

/// Results of the archive.
pub type Result<T> = std::result::Result<T, ArchiveError>;
