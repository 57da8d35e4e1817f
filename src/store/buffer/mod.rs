//! The buffer: the SQLite database of kept events that no day file holds yet.
//!
//! **What a row is.** A row of `block` holds what one commit brought: a part a partition, each an Arrow IPC stream with the columns
//! of the partition's day file. So an event is parsed once, on arrival; the roll and the export read columns. Small parts share a
//! row, under one zstd, since a commit costs blocks of the disk whatever it brings; large ones have rows of their own. A block is
//! self-describing: `parts` says in JSON what is in it and how long each stream is, and `pyarrow.ipc.open_stream` reads one.
//!
//! **What is gone.** Whoever reads sees the parts of a partition above the seq up to which it is rolled (`rolled`). A row goes when
//! all of its parts are rolled.
//!
//! **What it costs** (1,000,000 events of `benches/README.md`, 5,000 a commit, `synchronous=FULL`; the first two rows are
//! trials with SQLite's C interface and the events' JSON as it came, the last one is this code):
//!
//! | a row is | CPU per event | events/s | bytes per event |
//! |---|---|---|---|
//! | an event, JSON | 1.7 us (2.4 with a unique id), not parsed | 270,000 | 380 |
//! | a commit and partition, compressed JSON | 1.0 to 1.3 us with the envelope parsed | 460,000 to 510,000 | 30 to 60 |
//! | a commit and partition, Arrow IPC, LZ4 | 0.4 us, and 0.5 to 0.7 for the parsing that the roll is spared | 550,000 with the network | 72 |
//!
//! What a few events cost the disk is measured by `benches/wear`.
//!
//! **What is assumed of the disk.** `COMMIT` in WAL mode with `synchronous=FULL` syncs the log before it returns.

mod block;
mod copy;
mod faults;
mod ledger;
mod lock;
mod migrate;
mod news;
mod rescue;
mod rolled;
mod sealed;
mod snapshot;
mod takeover;
mod upgrade;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::error::ArrowError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use crate::base::disk::fault::{self, Step};
use crate::base::disk::{self, DiskError};
use crate::base::error::{Advice, plain};
use crate::base::time::Micros;
use crate::model::event::Batch;
use crate::model::layout::Layout;

use block::Block;

pub use faults::{FaultReason, WhichFaults};
pub use ledger::{Change, Fill, FillRow, Foreign, Heard, Loss, Outcome, Piece, Records, Run, RunRow, Session};
pub use news::{Mark, News};
pub use rescue::Rescued;
pub use sealed::{Checksum, manifest};
pub use snapshot::Snapshot;
pub use upgrade::Upgraded;
pub use view::{Pending, View};

/// The log is written from its beginning again after so many bytes, and stays so long: a file that neither grows nor is cut costs
/// the file system nothing but the bytes. What one large commit made longer is cut back to this.
const LOG_BYTES: i64 = 4 * 1024 * 1024;
/// Size of a page. A commit writes whole ones, so small ones wear a flash card less.
const PAGE_BYTES: i64 = 1024;
/// Free pages are given back to the file system at the end where they have more than so many bytes; else the next events fill them.
const FREE_MAX: i64 = 16 * 1024 * 1024;
/// Longest wait for another connection's moment of writing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Page cache of one connection, in KiB.
const CACHE_KIB: i64 = 4 * 1024;

/// Why the buffer cannot be used. What says nothing of its errors fails with this where SQLite refuses.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// SQLite refused.
    #[error("{}: {}", path.display(), plain(source))]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A block does not read as what it was written as.
    #[error("{}: block {seq} does not read: {what}", path.display())]
    Block {
        /// The database.
        path: PathBuf,
        /// The block.
        seq: i64,
        /// What is wrong with it.
        what: String,
    },
    /// Arrow refused to write a block.
    #[error("cannot write a block: {}", plain(.0))]
    Encode(#[from] ArrowError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process writes here.
    #[error("another recorder is writing to {} (process {holder}); one recording has one writer. Stop it, or give another --dir", path.display())]
    Locked {
        /// The recording.
        path: PathBuf,
        /// Who holds the lock, as it wrote itself down.
        holder: String,
    },
    /// The file is a database of something else.
    #[error("{} is not a buffer of overnight; it is left as it is. Give another --dir, or move the file away", .0.display())]
    Foreign(PathBuf),
    /// There is something in the database that this program does not make.
    #[error(
        "{}: it holds {what}, which overnight never makes: whoever did could have it run in your name, so nothing of it is read. Take a buffer that nobody changed, or move this one away: the day files read without it", path.display()
    )]
    Schema {
        /// The database.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A newer program wrote it.
    #[error("{} has format version {found}, this program knows up to {known}; use a newer overnight", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// There is no recording.
    #[error("{}", missing(.0))]
    Missing(PathBuf),
    /// Nobody knows whether there is one.
    #[error("permission denied: this user may not read the recording in {}", .0.display())]
    Denied(PathBuf),
    /// SQLite did not take a setting that the promise rests on.
    #[error("{}: SQLite did not take {setting}, it says {found}; without it nothing is promised, so nothing is recorded", path.display())]
    Setting {
        /// The database.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it reads back as.
        found: String,
    },
}

impl BufferError {
    /// True when there was no room on the disk.
    pub fn is_full(&self) -> bool {
        disk::is_full(self)
    }

    /// True when it is what was to be kept that is refused, and neither the disk nor the database has failed.
    pub fn is_of_content(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch, Unknown};
        match self {
            Self::Encode(_) => true,
            // `Unknown` is what SQLite calls an error of a statement.
            Self::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(Unknown | ConstraintViolation | TooBig | TypeMismatch))
            }
            _ => false,
        }
    }

    /// True when the database itself is not what it should be, as far as it could be looked at.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Foreign(_) | Self::Block { .. } => true,
            Self::Sqlite { source, .. } => {
                use ErrorCode::{
                    CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
                };
                let out_of_reach = [
                    CannotOpen,
                    DatabaseBusy,
                    DatabaseLocked,
                    DiskFull,
                    OutOfMemory,
                    PermissionDenied,
                    ReadOnly,
                    SystemIoFailure,
                ];
                source.sqlite_error_code().is_none_or(|code| !out_of_reach.contains(&code))
            }
            _ => false,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            _ if self.is_full() => Advice::MakeRoom,
            Self::Locked { .. }
            | Self::Foreign(_)
            | Self::Schema { .. }
            | Self::Newer { .. }
            | Self::Missing(_)
            | Self::Denied(_)
            | Self::Setting { .. }
            | Self::Disk(_) => Advice::Fix,
            Self::Block { .. } => Advice::Inspect,
            Self::Sqlite { .. } | Self::Encode(_) => Advice::Stop,
        }
    }
}

/// Why there is no buffer where a recording was looked for.
fn missing(root: &Path) -> String {
    let (layout, dir) = (Layout::new(root), root.display());
    let list = |path: &Path| path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = list(&layout.data()).flat_map(|folder| list(&folder).collect::<Vec<_>>());
    if files.any(|path| path.extension().is_some_and(|ending| ending == "parquet")) {
        return format!(
            "there are day files in {dir}, but no state/buffer.db: `overnight export` reads them, and a recorder begins a new buffer"
        );
    }
    // The directory that `backup` was given, and not one of the recordings in it; their names sort by time.
    let of_time = |name: &str| name.len() == 18 && name.as_bytes()[10] == b'T' && name.ends_with('Z');
    let is_backup = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(of_time) && Layout::new(path).buffer().is_file()
    };
    if let Some(newest) = list(root).filter(is_backup).max() {
        return format!("{dir} holds backups, each a recording of its own; the newest is {}", newest.display());
    }
    format!(
        "there is no recording in {dir}: no state/buffer.db. Give the directory with --dir, or begin one with `overnight record`"
    )
}

/// Results of the buffer.
pub type Result<T> = std::result::Result<T, BufferError>;

/// The one writing connection, with the writer's lock.
#[derive(Debug)]
pub struct Buffer {
    db: Connection,
    path: PathBuf,
    id: String,
    /// The highest seq that was ever given, also to what was not kept after all.
    seq: i64,
    /// Event time of all that it holds.
    held: Option<block::Span>,
    compression: block::Compression,
    speakers: ledger::Speakers,
    rescued: Option<Rescued>,
    upgraded: Option<Upgraded>,
    lock: lock::Lock,
}

impl Buffer {
    /// Opens the buffer for writing, makes it when there is none, takes the writer's lock. A damaged one is set aside, and
    /// what can be read of it is taken over; see [`Buffer::rescued`].
    ///
    /// # Errors
    /// When another process writes, when the file is foreign or newer, when the disk refuses.
    pub fn open(layout: &Layout, now: Micros) -> Result<Self> {
        disk::create_dir(layout.root())?;
        disk::create_own_dir(&layout.state())?;
        disk::create_own_dir(&layout.staging())?;
        disk::create_own_dir(&layout.data())?;
        disk::refuse_others(&layout.state())?;
        disk::refuse_others(&layout.data())?;
        for ending in rescue::FILES.into_iter().chain(["-journal"]) {
            disk::refuse_shared(&disk::with_ending(&layout.buffer(), ending))?;
        }
        // Where names do not last, nothing could be promised: said before anything is kept.
        disk::sync_dir(&layout.state())?;
        disk::sync_dir(&layout.data())?;
        let lock = lock::Lock::take(layout)?;
        Self::rescue(layout, now, lock)
    }

    fn open_locked(path: &Path, lock: lock::Lock) -> Result<Self> {
        // An empty file is what a crash leaves of one that was just made.
        let fresh = path.metadata().map_or(0, |about| about.len()) == 0;
        disk::make_private(path)?;
        let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let (id, upgraded) = migrate::run(&mut db, path)?;
        let seq = rolled::seq_highest(&db).map_err(failure(path))?;
        let held = rolled::held(&db).map_err(failure(path))?;
        if fresh {
            disk::sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(Self {
            db,
            path: path.to_owned(),
            id,
            seq,
            held,
            compression: block::Compression::new()?,
            speakers: ledger::Speakers::default(),
            rescued: None,
            upgraded,
            lock,
        })
    }

    /// Closes it as one file without a log beside it, which can be renamed; gives the lock back.
    fn close(self) -> Result<lock::Lock> {
        let Self { db, path, lock, .. } = self;
        let found: String = db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).map_err(failure(&path))?;
        if found != "delete" {
            return Err(BufferError::Setting { path, setting: "journal_mode = DELETE", found });
        }
        db.close().map_err(|(_, source)| BufferError::Sqlite { path, source })?;
        Ok(lock)
    }

    /// What became of a damaged buffer that stood here when this one was opened.
    pub fn rescued(&self) -> Option<&Rescued> {
        self.rescued.as_ref()
    }

    /// What this buffer was before it was opened, where that was an older version.
    pub fn upgraded(&self) -> Option<&Upgraded> {
        self.upgraded.as_ref()
    }

    /// The random id of this buffer, which the day files name that were rolled from it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Commits a batch: all of it or nothing, with the sign of life up to which it holds everything. Gives the highest seq so
    /// far. When this returns, the events are kept.
    ///
    /// # Errors
    /// When SQLite or the disk refuses; then nothing of the batch is kept.
    pub fn keep(&mut self, batch: &Batch, heard: Option<&Heard>, now: Micros) -> Result<i64> {
        let fail = |source| BufferError::Sqlite { path: self.path.clone(), source };
        let blocks = Block::of(&batch.parts, (self.seq + 1, now), &mut self.held, &self.compression)?;
        // Nobody knows of a commit that fails whether it is there after all: its numbers are not given again.
        self.seq += i64::try_from(blocks.len()).unwrap_or_default();
        let write = || -> rusqlite::Result<Vec<u64>> {
            let transaction = rusqlite::Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
            {
                for block in &blocks {
                    block.insert(&transaction)?;
                }
                let mut insert =
                    transaction.prepare_cached("INSERT INTO fault (at, source, reason, length, raw) VALUES (?, ?, ?, ?, ?)")?;
                for fault in &batch.faults {
                    let length = i64::try_from(fault.length).unwrap_or(i64::MAX);
                    insert.execute(params![fault.at, fault.source.name(), fault.reason, length, fault.raw])?;
                }
                for misfit in &batch.misfits {
                    ledger::misfit(&transaction, misfit)?;
                }
                if !batch.devices.is_empty() {
                    ledger::describe_devices(&transaction, &batch.devices)?;
                }
            }
            let met = self.speakers.note(&transaction, batch)?;
            if let Some(heard) = heard {
                ledger::heard(&transaction, &self.id, heard, now)?;
            }
            commit(&self.path, || transaction.commit())?;
            Ok(met)
        };
        let met = write().map_err(fail)?;
        self.speakers.remember(met);
        Ok(self.seq)
    }

    /// Gives the buffer a new random id, at each opening and after all that footers of the old one cover is deleted: from
    /// then on only files that this very run writes can cover rows. So neither a restored or copied buffer, nor day files
    /// copied in from elsewhere, make rows look rolled that are not.
    pub fn renew_id(&mut self) -> Result<()> {
        if fault::leaves_out("new id") {
            return Ok(());
        }
        let id = migrate::random_id();
        self.execute("UPDATE meta SET value = ? WHERE key = 'buffer_id'", [&id])?;
        self.id = id;
        Ok(())
    }

    /// Cuts the log, and gives much free space back: at the end, and where there is no room.
    pub fn tidy(&mut self) -> Result<()> {
        let number = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let tidy = || -> rusqlite::Result<()> {
            self.cut_log()?;
            if number("PRAGMA freelist_count")? * number("PRAGMA page_size")? > FREE_MAX {
                self.db.execute_batch("VACUUM")?;
                self.cut_log()?;
            }
            Ok(())
        };
        commit(&self.path, tidy).map_err(|source| self.error(source))
    }

    fn cut_log(&self) -> rusqlite::Result<()> {
        // A reader may hold the log; then it is cut the next time, and nobody waits.
        self.db.busy_timeout(Duration::ZERO)?;
        let cut = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.db.busy_timeout(PATIENCE)?;
        match cut {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
            cut => cut,
        }
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<()> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| commit(&self.path, || statement.execute(values)))
            .map(drop)
            .map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> BufferError {
        BufferError::Sqlite { path: self.path.clone(), source }
    }
}

/// Does what commits, with what tests put before and after it.
fn commit<T>(path: &Path, act: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let refuse = |error: std::io::Error| {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let code = if full { rusqlite::ffi::SQLITE_FULL } else { rusqlite::ffi::SQLITE_IOERR };
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
    };
    fault::around(Step::Commit(path), refuse, act)
}

/// A connection with the settings that every one has.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let fail = failure(path);
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(&fail)?;
    db.busy_timeout(PATIENCE).map_err(&fail)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB).map_err(&fail)?;
    restrict(&db).map_err(&fail)?;
    Ok(db)
}

/// Nothing that a database brings along is run, and none of its pages is believed: it may have come from anybody.
fn restrict(db: &Connection) -> rusqlite::Result<()> {
    use DbConfig::{
        SQLITE_DBCONFIG_DEFENSIVE, SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_ENABLE_TRIGGER,
        SQLITE_DBCONFIG_ENABLE_VIEW, SQLITE_DBCONFIG_TRUSTED_SCHEMA,
    };
    for (setting, value) in [
        (SQLITE_DBCONFIG_DEFENSIVE, true),
        (SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (SQLITE_DBCONFIG_DQS_DDL, false),
        (SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        db.set_db_config(setting, value)?;
    }
    db.pragma_update(None, "cell_size_check", true)
}

/// What SQLite says, as an error that names the file; a file that is no database at all is foreign.
fn failure(path: &Path) -> impl Fn(rusqlite::Error) -> BufferError + '_ {
    move |source| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => BufferError::Foreign(path.to_owned()),
        _ => BufferError::Sqlite { path: path.to_owned(), source },
    }
}
