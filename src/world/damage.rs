//! A disk that does not give back what was written: the rest has to stay, and what is lost has to be a gap.

use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::base::time::{DAY, parse_rfc3339};
use crate::query::coverage::Timeline;
use crate::store::archive::{DayFile, day_files};
use crate::store::buffer::View;
use crate::store::roll::Scope;

use super::check::{Row, keys, rows};
use super::disk::{Fault, Plan};
use super::model::Key;
use super::sender::FIRST;
use super::{World, Wrong, ensure, told};

/// So many turns mend whatever was damaged: each plan of a fault strikes once.
const TURNS: usize = 100;
/// A block that does not read becomes a fault, at each try that a crash cuts off.
const FAULTS: u64 = 100;

impl World {
    /// Something that was kept reads no more. Then the recorder looks at everything, as the verb `roll` does, whatever else
    /// happens, until all that reads is whole again.
    pub(super) fn rot(&mut self) -> Result<(), Wrong> {
        self.work(0)?;
        if self.disk.is_dead() || self.is_old {
            return Ok(());
        }
        // Afterwards each event is either kept or not.
        self.check()?;
        // All that was sent is of the past then: what is still to come is no gap.
        let now = self.clock.now();
        self.clock.set(now.max(FIRST.start() + 3 * DAY));
        let lost = self.damage()?;
        if lost.is_empty() {
            return Ok(());
        }
        (self.is_rotten, self.has_rotted) = (true, true);
        let row = |key: &Key| -> Option<Row> { Some((parse_rfc3339(key.2.as_bytes())?.time, key.1.clone())) };
        let is_lost = |key: &Key| row(key).is_some_and(|row| lost.contains(&(key.0.clone(), row)));
        let model = &mut self.writer.get_mut().model;
        let doubted = model.doubt(is_lost);
        model.doubt_faults(FAULTS);
        self.mend()?;
        let view = View::open(&self.layout).map_err(told)?;
        let time = Timeline::read(&view, None, self.clock.now()).map_err(told)?;
        let gaps: Vec<_> = time.projects.into_iter().flat_map(|project| project.gaps).collect();
        let losses = view.records(None).map_err(told)?.losses;
        for key in doubted.iter().filter(|key| !self.writer.borrow().model.has(key)) {
            // In a gap that lasts, what is lost was missing before: then the loss has to be noted.
            let is_told = row(key).is_some_and(|(time, _)| {
                let is_in = |span: (i64, i64)| span.0 <= time && time <= span.1;
                let is_noted = losses.iter().any(|loss| is_in((loss.begins, loss.ends)));
                gaps.iter().any(|gap| is_in(gap.span) && (is_noted || !gap.lasts))
            });
            ensure(is_told, || format!("{key:?} is lost, and no gap tells: {gaps:?}"))?;
        }
        Ok(())
    }

    /// Cuts a day file off, or spoils one of its row groups or a block of the buffer. Gives what that may have lost.
    fn damage(&mut self) -> Result<BTreeSet<(String, Row)>, Wrong> {
        let view = View::open(&self.layout).map_err(told)?;
        if self.rng.u8(..3) == 0 {
            let mut parts = Vec::new();
            for pending in view.pending().map_err(told)? {
                let (blocks, _) = view.blocks(&pending.partition, 0, usize::MAX).map_err(told)?;
                let name = pending.partition.event_type.to_string();
                parts.extend(blocks.into_iter().map(|(seq, rows)| (seq, name.clone(), rows)));
            }
            let Some(seq) = self.rng.choice(&parts).map(|part| part.0) else { return Ok(BTreeSet::new()) };
            self.disk.note(format!("block {seq} rots"));
            let what = ["body = x'00'", "parts = 'x'"][self.rng.usize(..2)];
            let database = rusqlite::Connection::open(self.layout.buffer()).map_err(told)?;
            database.execute(&format!("UPDATE block SET {what} WHERE seq = ?"), [seq]).map_err(told)?;
            let of_it = parts.iter().filter(|part| part.0 == seq);
            return Ok(of_it.flat_map(|(_, name, rows)| keys(rows).into_iter().map(|row| (name.clone(), row))).collect());
        }
        let paths = day_files(&self.layout).map_err(told)?;
        let Some((path, _)) = self.rng.choice(&paths) else { return Ok(BTreeSet::new()) };
        let file = DayFile::open(path).map_err(told)?.ok_or("gone")?;
        let partition = &file.footer().partition;
        if file.footer().sealed && !view.sealed().map_err(told)?.contains_key(partition) {
            // Nobody can tell one that changes before it has its first checksum.
            return Ok(BTreeSet::new());
        }
        let mut bytes = fs::read(path).map_err(told)?;
        let mut lost = rows(&file)?;
        if self.rng.bool() {
            self.disk.note(format!("{} is cut off", path.display()));
            bytes.truncate(self.rng.usize(1..bytes.len()));
        } else {
            let group = self.rng.usize(..file.groups());
            self.disk.note(format!("row group {group} of {} rots", path.display()));
            let about = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone())).map_err(told)?;
            for column in about.metadata().row_group(group).columns() {
                let (from, length) = column.byte_range();
                let range = usize::try_from(from).map_err(told)?..usize::try_from(from + length).map_err(told)?;
                bytes[range].fill(0xa5);
            }
            lost = vec![lost.swap_remove(group)];
        }
        fs::write(path, bytes).map_err(told)?;
        let name = partition.event_type.to_string();
        Ok(lost.into_iter().flatten().map(|row| (name.clone(), row)).collect())
    }

    fn mend(&mut self) -> Result<(), Wrong> {
        let checks_sealed = std::mem::replace(&mut self.timing.checks_sealed, true);
        match self.rng.u8(..3) {
            0 => {}
            1 => self.plan(),
            _ => {
                // Soon, and where a gap is noted.
                let fault = if self.rng.bool() { Fault::Error } else { Fault::Kill };
                self.disk.plan(Some(Plan { moments: self.rng.u32(..6), of: Some("commit"), fault }));
            }
        }
        for _ in 0..TURNS {
            let opened = self.opened;
            let error = self.turn(Scope::All)?;
            if self.disk.is_dead() {
                self.come_back()?;
            } else if error.is_none() && self.opened == opened {
                self.timing.checks_sealed = checks_sealed;
                self.is_rotten = false;
                // A name that a cut gives back would have to be mended again.
                self.disk.settle();
                return self.check();
            }
        }
        Err("what was damaged is not mended".to_owned())
    }
}
