//! The ledger of shipments: `state/lake/ledger.db`. What is under way, and what was shipped of which day file.
//!
//! It speaks of this recorder alone and can be lost: then the recorder takes a new id and asks the lake what is there.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::base::disk::{self, DiskError};
use crate::base::time::{Day, Micros};
use crate::model::layout::Layout;

use super::kernel::Part;
use super::{LakeError, Result};

/// Who ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    /// Random; the recorder's id in the lake.
    pub(super) id: String,
    /// What the lease may say: the last one is this process's, those before it may have come to the lake by then.
    pub(super) tokens: Vec<String>,
    /// When the id was made, in microseconds since 1970.
    pub(super) born: Micros,
    /// The disk and the machine that it is of.
    pub(super) home: String,
    /// The lake that it is of.
    pub(super) lake: String,
    /// There is a lease in the lake.
    pub(super) is_leased: bool,
}

/// What was shipped of a day file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shipped {
    /// By what the file is known again; empty where the system does not tell.
    pub(super) stamp: String,
    /// Its size then, in bytes.
    pub(super) bytes: u64,
    /// Its rows then.
    pub(super) rows: u64,
    /// The number of its second name; none where this disk has no second names.
    pub(super) kept: Option<i64>,
}

/// What is under way: parts that are written, of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shipment {
    /// Its number: one more than that of the one before, of this recorder and table.
    pub(super) n: i64,
    /// The true name of the event type.
    pub(super) event_type: String,
    /// Its parts, and the names of their files in the outbox.
    pub(super) parts: Vec<(Part, String)>,
    /// What of which days is shipped with it, all in all.
    pub(super) days: Vec<(i32, Shipped)>,
}

/// The ledger, open; one process at a time.
#[derive(Debug)]
pub(super) struct Ledger {
    db: Connection,
    path: PathBuf,
    layout: Layout,
    _lock: File,
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS own (one INTEGER PRIMARY KEY CHECK (one = 1), what TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS shipment (name TEXT PRIMARY KEY, what TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS done (name TEXT PRIMARY KEY, n INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS day (
        name TEXT NOT NULL, day INTEGER NOT NULL, stamp TEXT NOT NULL, bytes INTEGER NOT NULL, rows INTEGER NOT NULL, kept INTEGER,
        PRIMARY KEY (name, day)
    ) WITHOUT ROWID;";

/// Files of the lake, while rows are held against them.
pub(super) fn scratch(layout: &Layout) -> PathBuf {
    outbox(layout).join("there")
}

/// Parts that wait to be sent.
pub(super) fn outbox(layout: &Layout) -> PathBuf {
    layout.lake().join("outbox")
}

/// Second names of day files as they were shipped.
fn kept(layout: &Layout) -> PathBuf {
    layout.lake().join("shipped")
}

impl Ledger {
    /// Opens the ledger of a recording, and makes it where there is none.
    ///
    /// # Errors
    /// When another process ships, when the disk or SQLite refuses.
    pub(super) fn open(layout: &Layout) -> Result<Self> {
        let folder = layout.lake();
        disk::create_own_dir(&folder)?;
        disk::refuse_others(&folder)?;
        for folder in [outbox(layout), kept(layout)] {
            disk::create_own_dir(&folder)?;
        }
        let lock_path = folder.join("lock");
        let lock = disk::open_private(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LakeError::Held(format!(
                    "another process ships {}: a recorder with `[lake] url` in overnight.toml does it by itself",
                    layout.root().display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(DiskError::new("lock", &lock_path, error).into()),
        }
        let path = folder.join("ledger.db");
        disk::refuse_shared(&path)?;
        disk::make_private(&path)?;
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open(&path)?;
            db.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
            db.execute_batch(TABLES)?;
            Ok(db)
        };
        let db = open().map_err(failure(&path))?;
        disk::sync_dir_if_possible(&folder)?;
        let ledger = Self { db, path, layout: layout.clone(), _lock: lock };
        ledger.sweep()?;
        Ok(ledger)
    }

    fn fail(&self) -> impl Fn(rusqlite::Error) -> LakeError + '_ {
        failure(&self.path)
    }

    /// The file itself, whose number on the disk tells a copy from it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Who ships, as noted; none where nobody has yet, or the note does not read.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn own(&self) -> Result<Option<Own>> {
        let what: Option<String> =
            self.db.query_row("SELECT what FROM own", [], |row| row.get(0)).optional().map_err(self.fail())?;
        Ok(what.and_then(|what| serde_json::from_str(&what).ok()))
    }

    /// Notes who ships.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn note(&self, own: &Own) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO own VALUES (1, ?1)", params![text(own)]).map_err(self.fail())?;
        Ok(())
    }

    /// Forgets all that another id has shipped, and begins with this one.
    ///
    /// # Errors
    /// When SQLite or the disk refuses.
    pub(super) fn begin(&mut self, own: &Own) -> Result<()> {
        let fail = failure(&self.path);
        let change = self.db.transaction().map_err(&fail)?;
        change.execute_batch("DELETE FROM shipment; DELETE FROM done; DELETE FROM day;").map_err(&fail)?;
        change.execute("INSERT OR REPLACE INTO own VALUES (1, ?1)", params![text(own)]).map_err(&fail)?;
        change.commit().map_err(&fail)?;
        self.sweep()
    }

    /// The tables of which something is under way.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn all_pending(&self) -> Result<Vec<(String, Shipment)>> {
        let mut rows = self.db.prepare("SELECT name, what FROM shipment").map_err(self.fail())?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).map_err(self.fail())?;
        let rows = rows.collect::<rusqlite::Result<Vec<(String, String)>>>().map_err(self.fail())?;
        rows.into_iter().map(|(name, what)| Ok((name, self.read(&what)?))).collect()
    }

    fn read(&self, what: &str) -> Result<Shipment> {
        serde_json::from_str(what).map_err(|error| LakeError::Strange {
            what: format!("{}: a shipment in it does not read ({error}); without the folder {}, this recorder takes a new id and asks the lake", self.path.display(), self.layout.lake().display()),
        })
    }

    /// How many shipments of a table are done.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn done(&self, name: &str) -> Result<i64> {
        let n = self.db.query_row("SELECT n FROM done WHERE name = ?1", [name], |row| row.get(0)).optional();
        Ok(n.map_err(self.fail())?.unwrap_or_default())
    }

    /// Rows and bytes that were shipped, of all tables.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn total(&self) -> Result<(u64, u64)> {
        let total = "SELECT COALESCE(SUM(rows), 0), COALESCE(SUM(bytes), 0) FROM done";
        self.db.query_row(total, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(self.fail())
    }

    /// What was shipped of a day file.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn shipped(&self, name: &str, day: Day) -> Result<Option<Shipped>> {
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Shipped { stamp: row.get(0)?, bytes: row.get(1)?, rows: row.get(2)?, kept: row.get(3)? })
        };
        let query = "SELECT stamp, bytes, rows, kept FROM day WHERE name = ?1 AND day = ?2";
        self.db.query_row(query, params![name, day.0], row).optional().map_err(self.fail())
    }

    /// The second name of a day file, by its number.
    pub(super) fn kept(&self, name: &str, day: Day, number: i64) -> PathBuf {
        kept(&self.layout).join(name).join(format!("{day}.{number}.parquet"))
    }

    /// Notes a shipment that is to be made, before anything of it is sent.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn plan(&self, name: &str, shipment: &Shipment) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO shipment VALUES (?1, ?2)", params![name, text(shipment)]).map_err(self.fail())?;
        Ok(())
    }

    /// Notes that a shipment is in the lake, or that there was nothing to ship of its days.
    ///
    /// # Errors
    /// When SQLite or the disk refuses.
    pub(super) fn finish(&mut self, name: &str, shipment: &Shipment) -> Result<()> {
        let mut old = Vec::new();
        for (day, _) in &shipment.days {
            let kept = self.shipped(name, Day(*day))?.and_then(|shipped| shipped.kept);
            old.extend(kept.map(|number| self.kept(name, Day(*day), number)));
        }
        let fail = failure(&self.path);
        let change = self.db.transaction().map_err(&fail)?;
        for (day, shipped) in &shipment.days {
            let Shipped { stamp, bytes, rows, kept } = shipped;
            change
                .execute(
                    "INSERT OR REPLACE INTO day VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![name, day, stamp, bytes, rows, kept],
                )
                .map_err(&fail)?;
        }
        if !shipment.parts.is_empty() {
            let rows: u64 = shipment.parts.iter().filter_map(|(part, _)| part.rows).sum();
            let bytes: u64 = shipment.parts.iter().map(|(part, _)| part.bytes).sum();
            let add = "INSERT INTO done VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET n = ?2, rows = rows + ?3, bytes = bytes + ?4";
            change.execute(add, params![name, shipment.n, rows, bytes]).map_err(&fail)?;
            change.execute("DELETE FROM shipment WHERE name = ?1", [name]).map_err(&fail)?;
        }
        change.commit().map_err(&fail)?;
        let sent = shipment.parts.iter().map(|(_, file)| outbox(&self.layout).join(file));
        sent.chain(old).try_for_each(|path| Ok(disk::remove(&path)?))
    }

    /// Days that something was shipped of, of a table.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn days(&self, name: &str) -> Result<Vec<(Day, Option<i64>)>> {
        let mut rows = self.db.prepare("SELECT day, kept FROM day WHERE name = ?1").map_err(self.fail())?;
        let rows = rows.query_map([name], |row| Ok((Day(row.get(0)?), row.get(1)?))).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }

    /// The day file of a day is gone: its second name holds its room for nobody.
    ///
    /// # Errors
    /// When SQLite or the disk refuses.
    pub(super) fn release(&self, name: &str, day: Day, number: i64) -> Result<()> {
        let gone = "UPDATE day SET kept = NULL, stamp = '' WHERE name = ?1 AND day = ?2";
        self.db.execute(gone, params![name, day.0]).map_err(self.fail())?;
        Ok(disk::remove(&self.kept(name, day, number))?)
    }

    /// Takes away what no shipment and no day speaks of: a crash may leave it.
    fn sweep(&self) -> Result<()> {
        let pending = self.all_pending()?;
        let is_sent = |path: &PathBuf| {
            let of = |(_, shipment): &(String, Shipment)| shipment.parts.iter().any(|(_, file)| path.ends_with(file));
            pending.iter().any(of)
        };
        disk::remove_tree(&scratch(&self.layout))?;
        for path in disk::list(&outbox(&self.layout))?.into_iter().filter(|path| !is_sent(path)) {
            disk::remove(&path)?;
        }
        for folder in disk::list(&kept(&self.layout))? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let days = self.days(&name)?;
            let mut known: Vec<PathBuf> = days.iter().filter_map(|(day, n)| Some(self.kept(&name, *day, (*n)?))).collect();
            for (_, shipment) in pending.iter().filter(|(of, _)| *of == name) {
                known.extend(shipment.days.iter().filter_map(|(day, shipped)| Some(self.kept(&name, Day(*day), shipped.kept?))));
            }
            known.sort_unstable();
            for path in disk::list(&folder)?.into_iter().filter(|path| known.binary_search(path).is_err()) {
                disk::remove(&path)?;
            }
        }
        Ok(())
    }
}

fn text(what: &impl Serialize) -> String {
    serde_json::to_string(what).unwrap_or_default()
}

fn failure(path: &Path) -> impl Fn(rusqlite::Error) -> LakeError + '_ {
    |source| LakeError::Ledger { path: path.display().to_string(), source }
}
