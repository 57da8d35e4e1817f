//! The buffer's tables, by version. A new buffer gets all steps at once; an older one the steps that it lacks.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::model::event::Labels;

use super::block::{Blocks, HAS_PARTS};
use super::takeover::take_over;
use super::upgrade::{self, Upgraded};
use super::{BufferError, LOG_BYTES, PAGE_BYTES, Result, commit, failure};

/// "ovnt", so that a foreign database is told from ours.
const APPLICATION_ID: i64 = 0x6f76_6e74;

/// One step a version; never changed once released, only added to.
const STEPS: [&str; 5] = [
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE block (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of keeping, never reused
        event_type TEXT    NOT NULL,
        day        INTEGER NOT NULL,                   -- days since 1970-01-01, of event time in UTC
        events     INTEGER NOT NULL,
        time_first INTEGER NOT NULL,                   -- microseconds since 1970-01-01 UTC, as all times here
        time_last  INTEGER NOT NULL,
        kept_at    INTEGER NOT NULL,
        body       BLOB    NOT NULL                    -- Arrow IPC stream with the columns of the day file
    ) STRICT;
    CREATE INDEX block_by_partition ON block (event_type, day, seq, events, time_first, time_last, kept_at);
    CREATE TABLE fault (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        at     INTEGER NOT NULL,
        source TEXT    NOT NULL,
        reason TEXT    NOT NULL,
        length INTEGER NOT NULL,
        raw    BLOB    NOT NULL
    ) STRICT;
    CREATE TABLE sealed (                              -- checksums of sealed day files
        event_type TEXT    NOT NULL,
        day        INTEGER NOT NULL,
        sha256     TEXT    NOT NULL,
        bytes      INTEGER NOT NULL,
        PRIMARY KEY (event_type, day)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        source    TEXT    NOT NULL,                    -- stream, push
        project   TEXT    NOT NULL,
        filters   TEXT    NOT NULL,                    -- what was asked for, JSON
        opened_at INTEGER NOT NULL,
        spoke_at  INTEGER NOT NULL,                    -- last sign of life
        closed_at INTEGER,
        cause     TEXT
    ) STRICT;
    CREATE TABLE gap (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        project TEXT    NOT NULL,
        begins  INTEGER NOT NULL,                      -- last sign of life before
        ends    INTEGER,                               -- first sign of life after; null while it lasts
        cause   TEXT    NOT NULL,
        state   TEXT    NOT NULL,                      -- open, filling, filled, lost
        why     TEXT,                                  -- why lost, or what is missing
        events  INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE gap_device (gap INTEGER NOT NULL, device TEXT NOT NULL, PRIMARY KEY (gap, device)) STRICT, WITHOUT ROWID;
    CREATE TABLE device (
        project        TEXT NOT NULL,
        id             TEXT NOT NULL,
        type           TEXT NOT NULL,
        product_number TEXT NOT NULL,
        labels         TEXT NOT NULL,                  -- JSON
        PRIMARY KEY (project, id)
    ) STRICT, WITHOUT ROWID;
",
    LEDGER,
    MISFITS,
    CHECKSUMS,
    PARTS,
];

/// Since version 5: a block holds the parts of a commit, and what is rolled is noted. A page less is written a commit without
/// `AUTOINCREMENT`, and some without an index.
const PARTS: &str = "
    DROP INDEX block_by_partition;
    ALTER TABLE block RENAME TO block_of_before;
    CREATE TABLE block (
        seq        INTEGER PRIMARY KEY,                -- the order of keeping, never reused: meta has that of what is gone
        kept_at    INTEGER NOT NULL,                   -- microseconds since 1970-01-01 UTC, as all times here
        time_first INTEGER NOT NULL,                   -- event time of all that was held when it was kept
        time_last  INTEGER NOT NULL,
        checksum   INTEGER,                            -- CRC-32 of kept_at, both times (8 bytes each, little endian), parts << 32 | of body
        parts      TEXT    NOT NULL,                   -- [[event type, day, events, first time, last time, bytes of its stream], ...]
        body       BLOB    NOT NULL                    -- an Arrow IPC stream a part; under zstd where it is shorter than all of them
    ) STRICT;
    CREATE TABLE rolled (                              -- up to which seq a partition's parts of these blocks stand in its day file
        event_type TEXT    NOT NULL,
        day        INTEGER NOT NULL,
        seq        INTEGER NOT NULL,
        checksum   INTEGER NOT NULL,                   -- CRC-32 of event type, day (4 bytes, little endian), seq (8)
        PRIMARY KEY (event_type, day)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE heard ADD COLUMN written INTEGER;      -- bytes that its recorder had written to the disk by then
";
/// The blocks of before, until they are moved.
const OF_BEFORE: &str = "block_of_before";
/// Since version 5 they are.
const WITHOUT_BLOCKS_OF_BEFORE: &str = "
    INSERT INTO meta (key, value) SELECT 'seq', CAST(seq AS TEXT) FROM sqlite_sequence WHERE name = 'block_of_before';
    DROP TABLE block_of_before;
";

/// Since version 2 there is another ledger.
const WITHOUT_FIRST_LEDGER: &str = "DROP TABLE session; DROP TABLE gap; DROP TABLE gap_device";

/// Since version 4: blocks have a checksum, of their body and all that stands beside it; null in those of before.
const CHECKSUMS: &str = "ALTER TABLE block ADD COLUMN checksum INTEGER;";

/// Since version 3.
const MISFITS: &str = "
    CREATE TABLE misfit (                              -- values that did not fit their column; the events are whole, in `raw`
        event_type TEXT    NOT NULL,
        column     TEXT    NOT NULL,
        events     INTEGER NOT NULL,                   -- as they came: one that came twice counts twice
        last_at    INTEGER NOT NULL,
        example    TEXT    NOT NULL,
        PRIMARY KEY (event_type, column)
    ) STRICT, WITHOUT ROWID;
";

/// The ledger since version 2: what was wanted, what was heard, what was asked of the history. A gap is what is left.
pub(super) const LEDGER: &str = "
    CREATE TABLE run (                                 -- what a recorder was to record of a project
        id       INTEGER PRIMARY KEY,
        opening  TEXT    NOT NULL,                     -- the buffer's random id while it ran
        number   INTEGER NOT NULL,                     -- of that recorder
        boot     TEXT    NOT NULL,                     -- what the steady clock counts from; '' where nobody knows
        clock    INTEGER NOT NULL,                     -- what the wall clock showed beyond it
        ahead    INTEGER,                              -- what the cloud's clock was ahead of the wall clock
        source   TEXT    NOT NULL,                     -- stream, push
        project  TEXT    NOT NULL,
        filters  TEXT    NOT NULL,                     -- what was asked for, JSON
        account  TEXT    NOT NULL,                     -- who asked, so that it is known again; '' where nobody knows
        begins   INTEGER NOT NULL,
        until    INTEGER,                              -- its planned end
        ended_at INTEGER,                              -- when it was asked to end; null: it goes on, whatever became of its process
        quiet    INTEGER NOT NULL,                     -- a session without a sign of life for so long is none
        said     TEXT,                                 -- why nothing connects
        UNIQUE (opening, number)
    ) STRICT;
    CREATE TABLE heard (                               -- a session, from its first to its last sign of life
        run       INTEGER NOT NULL,
        session   INTEGER NOT NULL,
        opened_at INTEGER NOT NULL,
        spoke_at  INTEGER NOT NULL,
        closed_at INTEGER,
        cause     TEXT,
        joined    INTEGER NOT NULL DEFAULT 1,          -- of so many sessions, which met
        PRIMARY KEY (run, session)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX heard_by_time ON heard (spoke_at);
    CREATE TABLE fill (                                -- a pass over the history
        id        INTEGER PRIMARY KEY,
        project   TEXT    NOT NULL,
        filters   TEXT    NOT NULL,
        by_hand   INTEGER NOT NULL,                    -- 1: somebody asked for it
        asked_at  INTEGER NOT NULL,                    -- nothing was asked before
        look_back INTEGER NOT NULL,                    -- how far before its pieces it asks as well
        devices   INTEGER NOT NULL DEFAULT 0,          -- of so many
        done_at   INTEGER,
        but       TEXT                                 -- what it could not bring
    ) STRICT;
    CREATE TABLE piece (                               -- spans that a pass fills
        fill     INTEGER NOT NULL,
        begins   INTEGER NOT NULL,
        ends     INTEGER NOT NULL,
        confirms INTEGER NOT NULL,                     -- 1: asked so late that nothing comes after it
        events   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (fill, begins)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX piece_by_end ON piece (ends);
    CREATE TABLE fill_device (                         -- outcomes of a pass that is not done, and what it could not bring
        fill    INTEGER NOT NULL,
        device  TEXT    NOT NULL,
        outcome TEXT    NOT NULL,                      -- done, refused, failed
        why     TEXT,
        PRIMARY KEY (fill, device)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE loss (                                -- what was kept, and is lost with a damaged file
        id       INTEGER PRIMARY KEY,
        project  TEXT    NOT NULL,
        filters  TEXT    NOT NULL,
        begins   INTEGER NOT NULL,
        ends     INTEGER NOT NULL,
        cause    TEXT    NOT NULL,
        noted_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE known_device (project TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (project, id)) STRICT, WITHOUT ROWID;
";

/// Makes the database what this program expects. Gives the buffer's random id, and what it was before, if that was something else.
pub(super) fn run(db: &mut Connection, path: &Path) -> Result<(String, Option<Upgraded>)> {
    let fail = |source| BufferError::Sqlite { path: path.to_owned(), source };
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let version = check(db, path)?;
    db.pragma_update(None, "page_size", PAGE_BYTES).map_err(fail)?;
    let keep_log = |db: &Connection| -> Result<()> {
        let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
        if mode == "wal" {
            Ok(())
        } else {
            Err(BufferError::Setting { path: path.to_owned(), setting: "journal_mode = WAL", found: mode })
        }
    };
    keep_log(db)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(fail)?;
    if synchronous != 2 {
        let found = synchronous.to_string();
        return Err(BufferError::Setting { path: path.to_owned(), setting: "synchronous = FULL", found });
    }
    let upgraded = (1..known).contains(&version).then(|| upgrade::set_aside(db, path, version, known));
    if version < known {
        let transaction = db.transaction().map_err(fail)?;
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or_default()) {
            transaction.execute_batch(step).map_err(fail)?;
        }
        if version < 2 {
            take_over(&transaction, &transaction).map_err(fail)?;
            transaction.execute_batch(WITHOUT_FIRST_LEDGER).map_err(fail)?;
        }
        if version < HAS_PARTS {
            move_blocks(&transaction, version).map_err(fail)?;
            transaction.execute_batch(WITHOUT_BLOCKS_OF_BEFORE).map_err(fail)?;
        }
        if version == 0 {
            transaction.execute("INSERT INTO meta (key, value) VALUES ('buffer_id', ?)", [random_id()]).map_err(fail)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", known).map_err(fail)?;
        commit(path, || transaction.commit()).map_err(fail)?;
        if (1..HAS_PARTS).contains(&version) {
            repage(db);
            keep_log(db)?;
        }
    }
    let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(fail)?;
    // A page of the log has a head. The log begins anew with the commit behind this many, so some room is left.
    let pages = LOG_BYTES * 7 / 8 / (page + 24);
    for setting in [format!("journal_size_limit = {LOG_BYTES}"), format!("wal_autocheckpoint = {pages}")] {
        db.query_row(&format!("PRAGMA {setting}"), [], |_| Ok(())).map_err(fail)?;
    }
    mend_labels(db, path).map_err(fail)?;
    Ok((id(db).map_err(fail)?, upgraded))
}

/// Brings the blocks of before into today's form, one at a time. One that does not read stays one that does not.
fn move_blocks(db: &Connection, version: i64) -> rusqlite::Result<()> {
    let (from, mut heads) = (Blocks::moved(db, OF_BEFORE, version), Vec::new());
    from.heads("true ORDER BY seq", [], |head| {
        heads.push(head);
        true
    })?;
    let mut held = None;
    for head in heads {
        if let Some(body) = from.body(head.seq)? {
            head.brought_up(&mut held, body).insert(db)?;
        }
    }
    Ok(())
}

/// Gives a buffer of before pages of today's size, and no room for what moved them about. A reader may keep it from that, or a lack of
/// room; then it goes on with large ones, which only wears the disk.
fn repage(db: &Connection) {
    let repage = || -> rusqlite::Result<()> {
        db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        db.pragma_update(None, "page_size", PAGE_BYTES)?;
        db.pragma_update(None, "auto_vacuum", "NONE")?;
        db.execute_batch("VACUUM")
    };
    repage().unwrap_or_default();
}

/// Earlier programs took any object for labels; SQLite adds nothing to one that is nested too deeply, and refused all that came
/// with it. What can be labels stays.
fn mend_labels(db: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mut wrong = Vec::new();
    let mut select = db.prepare("SELECT project, id, labels FROM device")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let labels = Labels::read(row.get_ref(2)?.as_str().unwrap_or_default());
        if labels.wrong.is_some() {
            wrong.push((row.get::<_, String>(0)?, row.get::<_, String>(1)?, labels.json()));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mend = db.unchecked_transaction()?;
    for (project, id, labels) in wrong {
        mend.execute("UPDATE device SET labels = ? WHERE project = ? AND id = ?", params![labels, project, id])?;
    }
    commit(path, || mend.commit())
}

/// What a database of an older version lacks, where it is only read: in tables that are seen by this connection alone.
pub(super) fn look_over(db: &Connection, version: i64) -> rusqlite::Result<()> {
    let seen_here =
        |step: &str| step.replace("CREATE TABLE ", "CREATE TEMP TABLE ").replace("CREATE INDEX ", "CREATE INDEX temp.");
    // Whoever reads blocks knows that these have no checksum, or one part each.
    let steps = STEPS.iter().skip(usize::try_from(version).unwrap_or_default()).filter(|step| ![CHECKSUMS, PARTS].contains(step));
    let steps: String = steps.map(|step| seen_here(step)).collect();
    if !steps.is_empty() {
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.execute_batch(&steps)?;
    }
    if version < 2 { take_over(db, db) } else { Ok(()) }
}

/// The version of the tables; an error when the database is foreign or newer.
pub(super) fn check(db: &Connection, path: &Path) -> Result<i64> {
    let fail = failure(path);
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(&fail);
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    let version = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(BufferError::Foreign(path.to_owned()));
    }
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(BufferError::Newer { path: path.to_owned(), found: version, known });
    }
    match schema(db).map_err(&fail)? {
        Schema::Foreign(what) => Err(BufferError::Schema { path: path.to_owned(), what }),
        Schema::Ours | Schema::Rotten(_) => Ok(version),
    }
}

/// Whose the tables of a database are.
pub(super) enum Schema {
    /// As this program makes them in a buffer of that version; or no buffer at all, or one of a newer version.
    Ours,
    /// The same but for a few bytes; the text says where.
    Rotten(String),
    /// There is something else, which the text names.
    Foreign(String),
}

/// Most objects and bytes of one that are looked at; far more than a buffer has.
const OBJECTS_MAX: usize = 200;
const TEXT_MAX: i64 = 16 * 1024;
/// What `ANALYZE` leaves.
const STATISTICS: [&str; 2] =
    ["CREATE TABLE sqlite_stat1(tbl,idx,stat)", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"];
/// Most bytes that rot makes others: too few to say anything in.
const ROTTEN_MAX: usize = 4;

/// Whose the tables are: each trigger, view, virtual table, column and condition that this program does not make is foreign.
pub(super) fn schema(db: &Connection) -> rusqlite::Result<Schema> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let found = objects(db)?;
    let version = number("PRAGMA user_version")?;
    let is_known = usize::try_from(version).is_ok_and(|version| version <= STEPS.len());
    if !is_known || found.is_empty() || number("PRAGMA application_id")? != APPLICATION_ID {
        return Ok(Schema::Ours);
    }
    let ours = Connection::open_in_memory()?;
    for step in STEPS.iter().take(usize::try_from(version).unwrap_or_default()) {
        ours.execute_batch(step)?;
    }
    if version >= 2 {
        ours.execute_batch(WITHOUT_FIRST_LEDGER)?;
    }
    if version >= HAS_PARTS {
        ours.execute_batch(WITHOUT_BLOCKS_OF_BEFORE)?;
    }
    let ours = objects(&ours)?;
    let mut missing: Vec<&Object> = ours.difference(&found).collect();
    let mut rotten = None;
    for object in found.difference(&ours).filter(|object| !STATISTICS.iter().any(|sql| object.2 == sql.as_bytes())) {
        let name = format!("{} {:?}", String::from_utf8_lossy(&object.0), String::from_utf8_lossy(&object.1));
        let Some(at) = missing.iter().position(|ours| is_nearly(ours, object)) else { return Ok(Schema::Foreign(name)) };
        missing.swap_remove(at);
        rotten = Some(format!("the text of {name} is not as it was written"));
    }
    Ok(rotten.map_or(Schema::Ours, Schema::Rotten))
}

/// Type, name and text of something in a schema.
type Object = (Vec<u8>, Vec<u8>, Vec<u8>);

fn objects(db: &Connection) -> rusqlite::Result<BTreeSet<Object>> {
    // Its bytes, whatever they are.
    let sql =
        "SELECT CAST(coalesce(type, '') AS BLOB), CAST(coalesce(name, '') AS BLOB), CAST(coalesce(substr(sql, 1, ?), '') AS BLOB)
               FROM sqlite_master LIMIT ?";
    db.prepare(sql)?.query_map(params![TEXT_MAX, OBJECTS_MAX], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

fn is_nearly(ours: &Object, found: &Object) -> bool {
    let differ = |a: &[u8], b: &[u8]| {
        if a.len() == b.len() { a.iter().zip(b).filter(|(a, b)| a != b).count() } else { usize::MAX }
    };
    let sum = differ(&ours.0, &found.0).saturating_add(differ(&ours.1, &found.1));
    sum.saturating_add(differ(&ours.2, &found.2)) <= ROTTEN_MAX
}

/// A new random id.
pub(super) fn random_id() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// The buffer's random id.
pub(super) fn id(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("SELECT value FROM meta WHERE key = 'buffer_id'", [], |row| row.get(0))
}
