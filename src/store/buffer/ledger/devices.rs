//! Devices: what is told of them, and who spoke of which no list told.

use std::hash::{BuildHasher, RandomState};

use arrow::array::{Array, AsArray, RecordBatch};
use rusqlite::{Connection, params};

use crate::base::time::Micros;
use crate::model::event::{Batch, DeviceRow, LABELS_MAX, Source};

/// Longest JSON of labels that pushes added to each other, in characters.
const MERGED_MAX: usize = 2 * LABELS_MAX;

/// Notes what pushes say of devices: labels are added to those that are known already, unless that would have no end. What was
/// said later stays: a push that is sent again, or was held up, changes nothing.
pub(in crate::store::buffer) fn describe_devices(db: &Connection, devices: &[(Micros, DeviceRow)]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO device (project, id, type, product_number, labels) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (project, id) DO UPDATE SET
            type = coalesce(nullif(excluded.type, ''), type),
            product_number = coalesce(nullif(excluded.product_number, ''), product_number),
            labels = CASE WHEN length(labels) + length(excluded.labels) > ?6 THEN excluded.labels
                     ELSE json_patch(labels, excluded.labels) END",
    )?;
    for (at, DeviceRow { project, id, kind, product_number, labels }) in devices {
        if described(db, project, id, *at)? {
            continue;
        }
        insert.execute(params![project, id, kind, product_number, labels, MERGED_MAX])?;
    }
    Ok(())
}

/// Notes of when a device is described; true when that is known of a later time.
pub(super) fn described(db: &Connection, project: &str, id: &str, at: Micros) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO meta (key, value) VALUES ('described:' || json_array(?, ?), CAST(? AS TEXT))
               ON CONFLICT (key) DO UPDATE SET value = excluded.value
               WHERE CAST(value AS INTEGER) <= CAST(excluded.value AS INTEGER)";
    Ok(db.prepare_cached(sql)?.execute(params![project, id, at])? == 0)
}

/// Devices that spoke, so that the history is asked for them even when the cloud lists them no more.
#[derive(Debug, Default)]
pub(in crate::store::buffer) struct Speakers {
    /// By hash of project and id: one that is taken for another is asked for as soon as the cloud lists it.
    known: std::collections::HashSet<u64>,
    hasher: RandomState,
}

/// Most of them that are remembered; beyond, some are written again.
const SPEAKERS_MAX: usize = 200_000;

impl Speakers {
    /// Writes those of a batch that were not met before; gives what to remember once that is committed.
    pub(in crate::store::buffer) fn note(&self, db: &Connection, batch: &Batch) -> rusqlite::Result<Vec<u64>> {
        let mut met = Vec::new();
        for (_, rows) in &batch.parts {
            let column = |name| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let (Some(projects), Some(ids), false) = (column("project_id"), column("device_id"), is_imported(rows)) else {
                continue;
            };
            let mut last = ("", "");
            for row in 0..rows.num_rows() {
                let is_there = projects.is_valid(row) && ids.is_valid(row);
                let speaker = (projects.value(row), ids.value(row));
                if !is_there || std::mem::replace(&mut last, speaker) == speaker || speaker.1.is_empty() {
                    continue;
                }
                let hash = self.hasher.hash_one(speaker);
                if self.known.contains(&hash) || met.contains(&hash) {
                    continue;
                }
                db.prepare_cached("INSERT OR IGNORE INTO known_device (project, id) VALUES (?, ?)")?
                    .execute(params![speaker.0, speaker.1])?;
                met.push(hash);
            }
        }
        Ok(met)
    }

    /// Those that are committed.
    pub(in crate::store::buffer) fn remember(&mut self, met: Vec<u64>) {
        if self.known.len() > SPEAKERS_MAX {
            self.known.clear();
        }
        self.known.extend(met);
    }
}

fn is_imported(rows: &RecordBatch) -> bool {
    let source = rows.column_by_name("source").and_then(|column| column.as_string_opt::<i32>());
    source.is_none_or(|source| source.is_empty() || source.value(0) == Source::Import.name())
}
