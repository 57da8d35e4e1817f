//! What is rolled: up to which seq each partition's parts stand in its day file. A block goes when all of its parts do.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::event::Partition;

use super::block::{Blocks, Head, Span, TODAY, both, checksum_of};
use super::{Buffer, Result, commit};

/// The highest seq that was ever given, as far as the buffer knows.
pub(super) fn seq_highest(db: &Connection) -> rusqlite::Result<i64> {
    let held = db.query_row("SELECT coalesce(max(seq), 0) FROM block", [], |row| row.get::<_, i64>(0))?;
    let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'seq'";
    let gone = db.query_row(sql, [], |row| row.get::<_, i64>(0)).optional()?;
    Ok(held.max(gone.unwrap_or_default()))
}

/// Event time of all that the buffer holds: of what stands beside the bodies, as far as that is what was written.
pub(super) fn held(db: &Connection) -> rusqlite::Result<Option<Span>> {
    let (blocks, mut all) = (Blocks::of(db, TODAY), None);
    blocks.heads("true ORDER BY seq", [], |head| {
        all = both(all, head.span(|_| true));
        true
    })?;
    Ok(all)
}

/// Notes the highest seq: the blocks that have it may go now.
pub(super) fn note_seq(db: &Connection) -> rusqlite::Result<()> {
    let seq = seq_highest(db)?.to_string();
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('seq', ?)")?.execute([seq]).map(drop)
}

impl Buffer {
    /// Day files hold the parts of these partitions up to these seqs now: nobody sees them here any more. Blocks of which all
    /// parts are rolled go, in one commit. Gives how many parts went out of sight.
    pub fn forget(&mut self, upto: &[(Partition, i64)]) -> Result<usize> {
        let forget = || -> rusqlite::Result<(usize, Option<Span>)> {
            let transaction = self.db.unchecked_transaction()?;
            let gone = forget(&transaction, upto)?;
            let held = held(&transaction)?;
            commit(&self.path, || transaction.commit())?;
            Ok((gone, held))
        };
        let (gone, held) = forget().map_err(|source| self.error(source))?;
        self.held = held;
        Ok(gone)
    }

    /// How many events of a partition stand in blocks up to a seq.
    pub fn covered(&self, partition: &Partition, seq: i64) -> Result<u64> {
        let count = || -> rusqlite::Result<u64> {
            let blocks = Blocks::of(&self.db, TODAY);
            let (rolled, mut events) = (blocks.rolled()?, 0);
            blocks.heads("seq <= ? ORDER BY seq", [seq], |head| {
                let parts = head.parts().iter().filter(|part| part.partition == *partition && rolled.is_left(part, head.seq));
                events += parts.map(|part| u64::try_from(part.events).unwrap_or_default()).sum::<u64>();
                true
            })?;
            Ok(events)
        };
        count().map_err(|source| self.error(source))
    }
}

fn forget(db: &Connection, upto: &[(Partition, i64)]) -> rusqlite::Result<usize> {
    let blocks = Blocks::of(db, TODAY);
    let before = blocks.rolled()?;
    let mut after = before.clone();
    for (partition, seq) in upto {
        let noted = after.0.entry(partition.clone()).or_insert(*seq);
        *noted = (*noted).max(*seq);
    }
    let (mut out_of_sight, mut gone, mut needed) = (0, Vec::new(), HashSet::new());
    blocks.heads("true ORDER BY seq", [], |Head { seq, parts, .. }| {
        let parts = parts.unwrap_or_default();
        out_of_sight += parts.iter().filter(|part| before.is_left(part, seq) && !after.is_left(part, seq)).count();
        // One that does not say what is in it stays until it is set aside.
        if !parts.is_empty() && parts.iter().all(|part| !after.is_left(part, seq)) {
            gone.push(seq);
        } else {
            needed.extend(parts.into_iter().filter(|part| !after.is_left(part, seq)).map(|part| part.partition));
        }
        true
    })?;
    if !gone.is_empty() {
        note_seq(db)?;
    }
    let mut delete = db.prepare_cached("DELETE FROM block WHERE seq BETWEEN ? AND ?")?;
    for run in gone.chunk_by(|a, b| a + 1 == *b) {
        delete.execute([run.first(), run.last()])?;
    }
    after.0.retain(|partition, _| needed.contains(partition));
    write(db, &before.0, &after.0.into_iter().collect())?;
    Ok(out_of_sight)
}

/// Writes what is another now than it was.
fn write(db: &Connection, before: &HashMap<Partition, i64>, after: &BTreeMap<Partition, i64>) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM rolled WHERE event_type = ? AND day = ?")?;
    for partition in before.keys().filter(|partition| !after.contains_key(partition)) {
        delete.execute(params![&*partition.event_type, partition.day.0])?;
    }
    let sql = "INSERT OR REPLACE INTO rolled (event_type, day, seq, checksum) VALUES (?, ?, ?, ?)";
    let mut insert = db.prepare_cached(sql)?;
    for (partition, seq) in after.iter().filter(|(partition, seq)| before.get(partition) != Some(seq)) {
        insert.execute(params![&*partition.event_type, partition.day.0, seq, checksum_of(partition, *seq)])?;
    }
    Ok(())
}
