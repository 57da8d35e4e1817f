//! Faults: what came and was no event, kept raw until somebody drops it.

use rusqlite::{Row, params};

use crate::base::time::Micros;

use super::{Buffer, Result, View, commit};

/// Which faults; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhichFaults {
    /// Only those whose reason has this text in it.
    pub reason: Option<String>,
    /// Only those that came at this time or later.
    pub from: Option<Micros>,
    /// Only those that came before this time.
    pub before: Option<Micros>,
}

/// The same in SQL, whose first three values these are.
const WHICH: &str = "(?1 IS NULL OR instr(reason, ?1) > 0) AND at >= ?2 AND at < ?3";

/// Faults of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultReason {
    /// Why it was no event.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When first.
    pub first_at: Micros,
    /// When last.
    pub last_at: Micros,
    /// The beginning of one of them.
    pub example: Vec<u8>,
}

impl View {
    /// How many faults there are.
    pub fn faults(&self) -> Result<u64> {
        self.one("SELECT count(*) FROM fault", [])
    }

    /// Faults by reason, the newest first; of so many reasons at most.
    pub fn fault_reasons(&self, which: &WhichFaults, most: usize) -> Result<Vec<FaultReason>> {
        let sql = format!(
            "SELECT reason, count(*), min(at), max(at), coalesce(substr(raw, 1, 200), x'') FROM fault WHERE {WHICH}
             GROUP BY reason ORDER BY max(at) DESC LIMIT ?4"
        );
        let read = |row: &Row<'_>| {
            let (reason, count, first_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(FaultReason { reason, count, first_at, last_at: row.get(3)?, example: row.get(4)? })
        };
        let (from, before) = (which.from.unwrap_or(Micros::MIN), which.before.unwrap_or(Micros::MAX));
        self.rows(&sql, params![which.reason, from, before, i64::try_from(most).unwrap_or(i64::MAX)], read)
    }
}

impl Buffer {
    /// Deletes faults for good, all at once, and gives their room back; gives how many they were.
    ///
    /// # Errors
    /// When SQLite refuses; then none is gone, unless only the room was not given back.
    pub fn drop_faults(&mut self, which: &WhichFaults) -> Result<u64> {
        let (from, before) = (which.from.unwrap_or(Micros::MIN), which.before.unwrap_or(Micros::MAX));
        let delete = || self.db.execute(&format!("DELETE FROM fault WHERE {WHICH}"), params![which.reason, from, before]);
        let gone = commit(&self.path, delete).map_err(|source| self.error(source))?;
        commit(&self.path, || self.db.execute_batch("VACUUM").and_then(|()| self.cut_log()))
            .map_err(|source| self.error(source))?;
        Ok(gone as u64)
    }
}
