//! What must be true of the disk of a world at any time, and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use serde_json::Value;

use crate::base::disk::{list, sha256 as sha256_of};
use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::output::export::{self, Format, Output, Settings};
use crate::query::reader::{Reader, Selection};
use crate::query::tables::{Ask, tables};
use crate::store::archive::{DayFile, Keys, day_files};
use crate::store::buffer::{Pending, View};
use crate::store::devices::Directory;

use super::{World, Wrong, ensure, told};

/// Key columns of a row.
pub(super) type Row = (Micros, String);

impl World {
    /// The blocks that are left when those are gone that day files cover: seq and rows by partition.
    pub(super) fn after_recovery(&self) -> Result<BTreeMap<Partition, Vec<i64>>, Wrong> {
        let Some(view) = View::open(&self.layout).ok().filter(|_| !self.is_rotten) else { return Ok(BTreeMap::new()) };
        let mut left = BTreeMap::new();
        for pending in view.pending().map_err(told)? {
            let partition = pending.partition;
            let (blocks, _) = view.blocks(&partition, 0, usize::MAX).map_err(told)?;
            let file = DayFile::of(&self.layout, &partition).map_err(told)?;
            let covered = file.as_ref().map_or(0, |file| file.footer().covers(view.id()));
            if let Some(file) = file.filter(|_| covered > 0) {
                let rows: BTreeSet<Row> = rows(&file)?.into_iter().flatten().collect();
                for (seq, block) in blocks.iter().filter(|(seq, _)| *seq <= covered) {
                    let has_all = keys(block).iter().all(|row| rows.contains(row));
                    ensure(has_all, || format!("the footer of {partition} covers block {seq}, its rows are not there"))?;
                }
            }
            let rest: Vec<i64> = blocks.into_iter().map(|(seq, _)| seq).filter(|seq| *seq > covered).collect();
            if !rest.is_empty() {
                left.insert(partition, rest);
            }
        }
        Ok(left)
    }

    /// A recording that was opened has no rows twice, and nothing in staging.
    pub(super) fn check_recovered(&self, expected: &BTreeMap<Partition, Vec<i64>>) -> Result<(), Wrong> {
        if !self.is_rotten {
            let left = self.blocks()?;
            ensure(left == *expected, || format!("recovery leaves blocks {left:?}, and should leave {expected:?}"))?;
        }
        let staged = fs::read_dir(self.layout.staging()).map_err(told)?.count();
        ensure(staged == 0, || format!("{staged} files are left in staging"))
    }

    /// The blocks of the buffer by partition.
    fn blocks(&self) -> Result<BTreeMap<Partition, Vec<i64>>, Wrong> {
        let view = View::open(&self.layout).map_err(told)?;
        let of = |pending: Pending| {
            let (blocks, _) = view.blocks(&pending.partition, 0, usize::MAX).map_err(told)?;
            Ok((pending.partition, blocks.into_iter().map(|(seq, _)| seq).collect()))
        };
        view.pending().map_err(told)?.into_iter().map(of).collect()
    }

    /// Everything that can be read, held against the model.
    pub(super) fn check(&mut self) -> Result<(), Wrong> {
        if self.is_rotten {
            return Ok(());
        }
        for (path, day) in day_files(&self.layout).map_err(told)? {
            let bytes = fs::read(&path).map_err(told)?;
            if self.checked.get(&path) != Some(&bytes) {
                self.check_file(&path, day).map_err(|wrong| format!("{}: {wrong}", path.display()))?;
                self.checked.insert(path, bytes);
            }
        }
        if !self.is_old {
            self.check_sums()?;
        }
        if !self.is_old && !self.has_rotted {
            let aside: Vec<PathBuf> = list(&self.layout.damaged()).map_err(told)?;
            ensure(aside.is_empty(), || format!("set aside without need: {aside:?}"))?;
        }
        if self.layout.devices().exists() {
            let devices = fs::read(self.layout.devices()).map_err(told)?;
            let bytes = bytes::Bytes::from(devices);
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(told)?;
        }
        let reader = Reader::open(&self.layout, Arc::clone(&self.registry)).map_err(told)?;
        let selection = Selection::default();
        let plans = reader.plan(&selection).map_err(told)?;
        let directory = Directory::default();
        let events = tables(&reader, &plans, &selection, &directory, &Ask::default()).map_err(told)?;
        #[expect(clippy::disallowed_methods, reason = "a file of this check, of which the world knows nothing")]
        drop(fs::remove_file(&self.out));
        let settings = Settings { force: true, ..Settings::new(Format::Ndjson, Output::File(self.out.clone())) };
        export::export(&reader, events, &settings, |_| {}).map_err(told)?;
        // Of nothing there is no file.
        let text = if self.out.exists() { fs::read_to_string(&self.out).map_err(told)? } else { String::new() };
        let found: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(told)?;
        let faults = reader.view().map_or(Ok(0), View::faults).map_err(told)?;
        self.writer.get_mut().model.check(&found, faults)
    }

    /// A checksum always speaks of the file that is there, in the buffer and in the list for other tools.
    fn check_sums(&self) -> Result<(), Wrong> {
        let listed = View::open(&self.layout).and_then(|view| view.sealed()).map_err(told)?;
        let noted = listed.iter().map(|(partition, sum)| (self.layout.day_file(partition), sum.sha256.clone()));
        for (path, sha256) in noted.chain(self.manifest()) {
            let of_file = sha256_of(&path).map_err(told)?.0;
            ensure(of_file == sha256, || format!("{}: its checksum is another file's", path.display()))?;
        }
        Ok(())
    }

    /// Files with their checksums, as the list tells.
    fn manifest(&self) -> BTreeMap<PathBuf, String> {
        let lines = fs::read_to_string(self.layout.manifest()).unwrap_or_default();
        let line = |line: &str| line.split_once("  ").map(|(sum, path)| (self.layout.root().join(path), sum.to_owned()));
        lines.lines().filter_map(line).collect()
    }

    /// Everything is rolled and sealed, and each day file has its checksum. Gives how many rows there are.
    pub(super) fn check_rest(&self) -> Result<u64, Wrong> {
        let view = View::open(&self.layout).map_err(told)?;
        ensure(view.pending().map_err(told)?.is_empty(), || "rows stay in the buffer".to_owned())?;
        let mut rows = 0;
        let mut paths = BTreeSet::new();
        for (path, _) in day_files(&self.layout).map_err(told)? {
            let file = DayFile::open(&path).map_err(told)?.ok_or("gone")?;
            ensure(file.footer().sealed, || format!("{} is not sealed", path.display()))?;
            rows += file.footer().rows;
            paths.insert(path);
        }
        let noted: BTreeSet<_> = view.sealed().map_err(told)?.keys().map(|partition| self.layout.day_file(partition)).collect();
        ensure(noted == paths, || format!("of {paths:?} only {noted:?} have a checksum"))?;
        let told = self.manifest();
        ensure(told.keys().eq(&paths), || format!("of {paths:?} only {told:?} are on the list"))?;
        Ok(rows)
    }

    /// A day file is in the order of its keys, in each row group, and a sealed one as a whole; no key stands twice, since
    /// most readers know of no doubles; its footer is true.
    fn check_file(&self, path: &Path, day: Day) -> Result<(), Wrong> {
        let file = DayFile::open(path).map_err(told)?.ok_or("gone")?;
        let footer = file.footer();
        ensure(self.layout.day_file(&footer.partition) == path && footer.partition.day == day, || format!("{footer:?}"))?;
        let groups = rows(&file)?;
        for rows in &groups {
            ensure(rows.is_sorted(), || format!("out of order: {rows:?}"))?;
        }
        let all: Vec<&Row> = groups.iter().flatten().collect();
        ensure(!footer.sealed || all.is_sorted(), || "sealed out of order".to_owned())?;
        let each: BTreeSet<&Row> = all.iter().copied().collect();
        ensure(each.len() == all.len(), || format!("rows twice: {all:?}"))?;
        let (first, last) = (each.first().map(|row| row.0), each.last().map(|row| row.0));
        let is_true = (Some(footer.time_first), Some(footer.time_last)) == (first, last) && footer.rows == all.len() as u64;
        ensure(is_true, || format!("{footer:?} is not true of {all:?}"))?;
        ensure(each.iter().all(|row| (day.start()..day.end()).contains(&row.0)), || "rows of another day".to_owned())
    }
}

/// The keys of a day file's row groups.
pub(super) fn rows(file: &DayFile) -> Result<Vec<Vec<Row>>, Wrong> {
    let group = |group: usize| {
        let mut rows = Vec::new();
        let take = |times: &[Micros], ids: &StringArray| {
            rows.extend(times.iter().enumerate().map(|(row, time)| (*time, ids.value(row).to_owned())));
        };
        file.keys(group, take).map_err(told)?;
        Ok(rows)
    };
    (0..file.groups()).map(group).collect()
}

pub(super) fn keys(batch: &RecordBatch) -> Vec<Row> {
    let keys = Keys::of(batch).unwrap();
    (0..keys.len()).map(|row| (keys.get(row).0, keys.get(row).1.to_owned())).collect()
}
