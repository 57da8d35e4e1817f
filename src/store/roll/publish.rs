//! Steps 2 to 4: a day file is staged, read back and published. The checksums of those that are sealed, and their list.

use std::path::Path;

use arrow::array::RecordBatch;

use crate::base::disk::{self, DiskError};
use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::model::schema::Schema;
use crate::store::archive::{DayFile, DayWriter, Effort, Footer, Index, Keys, Merge, Run};
use crate::store::buffer::{Checksum, manifest};
use crate::store::devices;

use super::pieces::Pieces;
use super::{RollError, Roller};

/// A day file to be written.
pub(super) struct Draft<'a, 'p> {
    pub(super) partition: &'a Partition,
    pub(super) schema: &'a Schema,
    /// Row groups to copy from the file before: all of them are the whole file, as it is.
    pub(super) copied: Option<(&'a DayFile, &'a [usize])>,
    /// Rows to encode, merged, and how many these are.
    pub(super) runs: Vec<Run>,
    pub(super) rows: u64,
    /// And behind these: a row group each.
    pub(super) further: Option<&'a mut Pieces<'p>>,
    /// What the file covers: of which buffer, up to which seq.
    pub(super) buffer_id: String,
    pub(super) seq_last: i64,
    pub(super) sealed: bool,
}

impl Roller {
    /// Checksums of the files that were sealed since this was called last.
    pub fn take_sums(&mut self) -> Vec<(Partition, Checksum)> {
        std::mem::take(&mut self.sums)
    }

    /// Takes the checksum of a sealed day file that has none yet. Nothing happens when it is not sealed, or gone.
    ///
    /// # Errors
    /// When the file does not read, or the disk refuses.
    pub fn sum(&mut self, partition: &Partition) -> Result<(), RollError> {
        if self.is_sealed(partition) {
            // A checksum lasts, so its file has to: whoever sealed it may have died before its name was durable.
            make_names_durable(&self.layout, partition)?;
            let (sha256, bytes) = disk::sha256(&self.layout.day_file(partition))?;
            self.sums.push((partition.clone(), Checksum { sha256, bytes }));
        }
        Ok(())
    }

    /// True when a partition's day file is the one that has this checksum.
    pub(super) fn is_file(&self, partition: &Partition, sum: &Checksum) -> Result<bool, DiskError> {
        Ok(disk::sha256(&self.layout.day_file(partition))?.0 == sum.sha256)
    }

    /// Writes the list of checksums, as `sha256sum --check MANIFEST` reads it, unless it is the one that was written last.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn publish_manifest(&mut self) -> Result<(), RollError> {
        let lines = manifest(&self.layout, &self.view.sealed()?);
        let path = self.layout.manifest();
        let is_none = lines.is_empty() && !path.exists();
        if !is_none && self.manifest.as_ref() != Some(&lines) {
            // Nobody knows which one a failure leaves.
            self.manifest = None;
            disk::write_for(self.readers, &self.layout.staging(), &path, lines.as_bytes())?;
            self.manifest = Some(lines);
        }
        Ok(())
    }

    /// Brings the index up to the files that were sealed since.
    ///
    /// # Errors
    /// When a folder does not list, or the disk refuses.
    pub fn publish_index(&mut self) -> Result<(), RollError> {
        while let Some(folder) = self.unindexed.first().cloned() {
            Index::update(&self.layout, &folder)?;
            self.unindexed.remove(&folder);
        }
        Ok(())
    }

    /// Day files are gone for good, and so are their checksums: the index follows.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn pruned(&mut self, gone: &[Partition]) -> Result<(), RollError> {
        for partition in gone {
            self.unlisted.remove(partition);
            self.unindexed.insert(self.layout.folder(&partition.event_type));
        }
        self.publish_index()
    }

    /// Publishes the device list when it has changed.
    ///
    /// # Errors
    /// When the buffer cannot be read, or the disk refuses.
    pub fn publish_devices(&mut self) -> Result<(), RollError> {
        let devices = self.view.devices()?;
        if devices != self.devices {
            devices::publish(&self.layout, &devices, self.readers)?;
            self.devices = devices;
        }
        Ok(())
    }

    /// Steps 2 to 4 for what does not look at the buffer.
    pub(super) fn write_anew(&mut self, draft: Draft<'_, '_>) -> Result<(), RollError> {
        let (partition, sealed) = (draft.partition, draft.sealed);
        let staged = stage(&self.layout.staged(partition), draft);
        self.publish(partition, staged, sealed)
    }

    /// Step 4. A file that fails is removed from staging: on a full disk the writer needs its room.
    pub(super) fn publish(
        &mut self,
        partition: &Partition,
        written: Result<(), RollError>,
        sealed: bool,
    ) -> Result<(), RollError> {
        // Also when this fails, since it may fail behind the rename. What the file consisted of before is of no worth any more.
        self.unsealed.insert(partition.clone());
        self.sums.retain(|(other, _)| other != partition);
        let staged = self.layout.staged(partition);
        let mut sum = None;
        let written = written.and_then(|()| {
            if sealed {
                let (sha256, bytes) = disk::sha256(&staged)?;
                sum = Some(Checksum { sha256, bytes });
            }
            let folder = self.layout.folder(&partition.event_type);
            if !self.folders.contains(&folder) {
                // Also when it exists: the process that made it may have died before its name was durable.
                disk::create_own_dir(&folder)?;
                self.readers.admit(&folder)?;
                disk::sync_dir(&self.layout.data())?;
                self.folders.insert(folder);
            }
            self.readers.admit(&staged)?;
            Ok(disk::publish(&staged, &self.layout.day_file(partition))?)
        });
        if let Err(error) = written {
            disk::discard(&staged);
            return Err(error);
        }
        if sealed {
            self.unsealed.remove(partition);
            self.unindexed.insert(self.layout.folder(&partition.event_type));
            self.sums.extend(sum.map(|sum| (partition.clone(), sum)));
        }
        Ok(())
    }
}

/// Steps 2 and 3: writes copied row groups and merged runs, syncs, reads the footer back.
pub(super) fn stage(path: &Path, draft: Draft<'_, '_>) -> Result<(), RollError> {
    let mut writer = DayWriter::create(path, draft.schema, Effort::of(draft.rows, draft.sealed))?;
    let (mut time_first, mut time_last) = (Micros::MAX, Micros::MIN);
    if let Some((file, groups)) = draft.copied {
        let is_whole = groups.len() == file.groups();
        if is_whole {
            writer.begin_with(file)?;
        }
        for group in groups {
            if !is_whole {
                writer.copy(file, *group)?;
            }
            let (first, last) = file.group_times(*group);
            (time_first, time_last) = (time_first.min(first), time_last.max(last));
        }
    }
    let mut write = |writer: &mut DayWriter, rows: &RecordBatch| {
        if let Some(keys) = Keys::of(rows).filter(|keys| !keys.is_empty()) {
            time_first = time_first.min(keys.get(0).0);
            time_last = time_last.max(keys.get(keys.len() - 1).0);
        }
        writer.write(rows)
    };
    for rows in Merge::new(draft.runs) {
        write(&mut writer, &rows?)?;
    }
    let mut seq_last = draft.seq_last;
    if let Some(pieces) = draft.further {
        while let Some(rows) = pieces.next()? {
            writer.end_group()?;
            for rows in rows.into_run() {
                write(&mut writer, &rows?)?;
            }
        }
        seq_last = pieces.seq;
    }
    let footer = Footer {
        partition: draft.partition.clone(),
        schema_version: draft.schema.version,
        rows: writer.rows(),
        time_first,
        time_last,
        buffer_id: draft.buffer_id,
        seq_last,
        sealed: draft.sealed,
    };
    writer.finish(&footer)?;
    let found = DayFile::open(path)?;
    if found.as_ref().map(DayFile::footer) != Some(&footer) {
        let found = found.map(|file| Box::new(file.footer().clone()));
        return Err(RollError::ReadBack { partition: draft.partition.clone(), found });
    }
    Ok(())
}

/// Syncs the directories that name a partition's day file.
pub(super) fn make_names_durable(layout: &Layout, partition: &Partition) -> Result<(), DiskError> {
    disk::sync_dir(&layout.folder(&partition.event_type))?;
    disk::sync_dir(&layout.data())
}
