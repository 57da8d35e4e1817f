//! The archive: day files, one Parquet file a partition. Names, footers, writing, reading, merging.
//!
//! A day file is its own commit record: its footer says which buffer rows it holds (`seq_last` of which buffer), so the
//! rename that publishes it is the one commit point of a roll. Row groups are each in the order of (`time`, `event_id`).

mod footer;
mod merge;
mod read;
mod write;

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::disk::DiskError;
use crate::error::Advice;
use crate::schema::ConformError;

pub use footer::{FORMAT_VERSION, Footer};
pub use merge::{Keys, Merge, Run, sorted};
pub use read::{DayFile, day_files};
pub use write::{DayWriter, Effort, GROUP_ROWS, parquet_properties};

/// Why a day file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is no Parquet, or damaged.
    #[error("{}: {source}", path.display())]
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
    /// The rows do not fit their schema.
    #[error("{}: {source}", path.display())]
    Conform {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: ConformError,
    },
    /// Arrow refused.
    #[error("{}: {source}", path.display())]
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

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Disk(_) | Self::Conform { .. } => Advice::Fix,
            Self::Parquet { .. } | Self::Footer { .. } | Self::Arrow { .. } => Advice::Inspect,
        }
    }
}

/// Results of the archive.
pub type Result<T> = std::result::Result<T, ArchiveError>;
