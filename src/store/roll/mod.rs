//! Roll: moves a partition's rows from the buffer into its day file. Seal: the last rewrite of a day file.
//!
//! 1. Read the partition's rows up to the highest seq S, and its day file if there is one.
//! 2. Write day file + new rows to staging, without an event that the day file has already; footer: `seq_last` = S.
//! 3. Close, sync the file; read its footer back.
//! 4. Rename over `data/<type>/<day>.parquet`; sync the directory (and the parent of a new one). **The commit point.**
//! 5. Note in the buffer that the partition is rolled up to S, for all partitions of a turn at once; blocks go of which all parts are
//!    rolled. Clean-up: it may happen any time later.
//!
//! New rows become a row group behind the whole day file, which is copied byte for byte, its old footer as dead bytes. So a reader
//! that takes the footer of one file and the pages of the next still reads what it meant to (DuckDB opens a file twice), and so
//! does one that takes the length of one file and the bytes of the next (Polars): at every older length there ends a footer. Only
//! when there are many small row groups or dead bytes, and at the seal, they are encoded anew as one, and the dead bytes are gone.
//!
//! A [`Roller`] takes these steps for one partition. A turn takes them for all that are due, and sees to what has to happen before
//! and after: a checksum is taken back before its file changes, a gap noted before a damaged file is set aside. Whatever a turn
//! wants of the buffer it orders of the one who writes there.

mod append;
mod pieces;
mod policy;
mod publish;
mod readers;
mod recover;
mod rescue;
mod thread;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::disk::{self, DiskError, Readers};
use crate::base::error::Advice;
use crate::model::event::{DeviceRow, Partition};
use crate::model::layout::Layout;
use crate::model::schema::{Registry, Schema};
use crate::store::archive::{ArchiveError, DayFile, Footer};
use crate::store::buffer::{BufferError, Checksum, View};

pub use pieces::Rolled;
pub use policy::{Policy, Scope, Timing, Work};
pub use recover::{Recovered, recover};
pub use rescue::Damage;
pub(crate) use thread::run;
pub(crate) use turn::Turn;

use publish::make_names_durable;

/// Rows taken from the buffer at a time, which become a row group. Bounds the memory of a roll. Few in unit tests, so that small
/// worlds come to all of it.
const PIECE_ROWS: usize = if cfg!(test) { 12 } else { 64 * 1024 };

/// Rows that go into a file at once, which is copied once for all of them; what lies beyond is the next roll's.
const ROLL_ROWS: usize = if cfg!(test) { 36 } else { 32 * PIECE_ROWS };

/// With so many row groups in a file, the small ones become one.
const GROUPS_MAX: usize = if cfg!(test) { 4 } else { 48 };

/// So many bytes of a day file may be footers, old ones and its own, even where its rows take less; where they take more, as many as
/// those. Beyond that the small row groups become one as well. A footer has about 3 KB, and 1 KB more for each row group, so a type
/// with few events comes to this after about 19 rolls.
const DEAD_MAX: u64 = 256 * 1024;

/// Why a roll failed. The rows are still kept.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The buffer refused.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file cannot be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The day file was written with a newer version of its schema.
    #[error(
        "{partition}: its day file has schema version {found}, this program knows {known}; use a newer overnight, or give the schema's folder with --schemas"
    )]
    NewerSchema {
        /// The partition.
        partition: Partition,
        /// Version in the footer.
        found: u32,
        /// Version known here.
        known: u32,
    },
    /// Reading or writing the partition's day file brought the program down, as a damaged page can.
    #[error("{0}: its day file brings the program down; move the file out of the recording, the rows in the buffer are safe")]
    Panicked(Partition),
    /// The checksum of the day file as it is could not be taken off the list, so the file stays as it is.
    #[error("{0}: the checksum of its day file cannot be taken back; the day file is as it was, the rows stay in the buffer")]
    Listed(Partition),
    /// What a damaged day file has lost could not be noted as a gap, so the file stays where it is.
    #[error("{0}: what its day file has lost cannot be noted; the day file is as it was")]
    Unnoted(Partition),
    /// The footer that was written does not read back as it was meant.
    #[error("{partition}: the footer reads back as {found:?}; the day file is as it was, the rows stay in the buffer")]
    ReadBack {
        /// The partition.
        partition: Partition,
        /// What was read.
        found: Option<Box<Footer>>,
    },
}

impl RollError {
    /// True when the partition's day file itself is at fault, and will be at the next try.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_damage(),
            Self::Panicked(_) => true,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Buffer(error) => error.advice(),
            Self::Archive(error) => error.advice(),
            Self::Disk(error) if disk::is_full(error) => Advice::MakeRoom,
            Self::Disk(_) | Self::NewerSchema { .. } => Advice::Fix,
            Self::Listed(_) | Self::Unnoted(_) => Advice::Retry,
            Self::ReadBack { .. } | Self::Panicked(_) => Advice::Inspect,
        }
    }
}

/// Rolls the partitions of one recording.
#[derive(Debug)]
pub struct Roller {
    layout: Layout,
    readers: Readers,
    registry: Arc<Registry>,
    view: View,
    unsealed: BTreeSet<Partition>,
    /// Sealed day files that may have no checksum.
    unlisted: BTreeSet<Partition>,
    /// Folders below `data/` whose names this process has made durable.
    folders: BTreeSet<PathBuf>,
    /// Folders below `data/` of which the index may not know all sealed files.
    unindexed: BTreeSet<PathBuf>,
    /// Checksums of files that were sealed, for whoever notes them.
    sums: Vec<(Partition, Checksum)>,
    /// The list of checksums that this process has published.
    manifest: Option<String>,
    /// The device list that it has.
    devices: Vec<DeviceRow>,
    /// Up to which seq a partition's rows were found to be doubles, all of them: no footer says so.
    passed: HashMap<Partition, i64>,
}

impl Roller {
    /// A roller with its own read-only view of a buffer that was recovered.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn new(
        layout: &Layout,
        registry: Arc<Registry>,
        unsealed: BTreeSet<Partition>,
        unlisted: BTreeSet<Partition>,
    ) -> Result<Self, RollError> {
        Ok(Self {
            layout: layout.clone(),
            readers: Readers::Owner,
            registry,
            view: View::open(layout)?,
            unsealed,
            unlisted,
            folders: BTreeSet::new(),
            unindexed: disk::list(&layout.data())?.into_iter().filter(|path| path.is_dir()).collect(),
            sums: Vec::new(),
            manifest: None,
            devices: Vec::new(),
            passed: HashMap::new(),
        })
    }

    /// Checksums of all sealed day files, as noted.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn sealed(&self) -> Result<BTreeMap<Partition, Checksum>, RollError> {
        Ok(self.view.sealed()?)
    }

    /// Whether a checksum of a day file is noted.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn has_sum(&self, partition: &Partition) -> Result<bool, RollError> {
        Ok(self.view.sum(partition)?.is_some())
    }

    /// Day files that are not sealed.
    pub fn unsealed(&self) -> Vec<Partition> {
        self.unsealed.iter().cloned().collect()
    }

    /// True when a partition's day file is sealed.
    pub fn is_sealed(&self, partition: &Partition) -> bool {
        DayFile::of(&self.layout, partition).is_ok_and(|file| file.is_some_and(|file| file.footer().sealed))
    }

    /// Projects that the ledger speaks of.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn projects(&self) -> Result<Vec<String>, RollError> {
        Ok(self.view.projects()?)
    }

    /// How many events the buffer holds.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn buffered(&self) -> Result<u64, RollError> {
        Ok(self.view.pending()?.iter().map(|pending| pending.events).sum())
    }

    /// Partitions of which the buffer holds events.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn pending(&self) -> Result<impl Iterator<Item = Partition> + use<>, RollError> {
        Ok(self.view.pending()?.into_iter().map(|pending| pending.partition))
    }

    fn open(&self, partition: &Partition, schema: &Schema) -> Result<Option<DayFile>, RollError> {
        let file = DayFile::of(&self.layout, partition)?;
        let found = file.as_ref().map_or(0, |file| file.footer().schema_version);
        if found > schema.version {
            return Err(RollError::NewerSchema { partition: partition.clone(), found, known: schema.version });
        }
        Ok(file)
    }
}
