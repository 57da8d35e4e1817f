//! Copying: a recording as it is now, beside its recorder, as another one, made of an earlier copy as far as that is the same.
//!
//! 1. A snapshot of the buffer. It comes first: what is rolled meanwhile stands in the snapshot and in the files, and is one event
//!    by its footer; the other way round it would stand in neither.
//! 2. The day files. A sealed one that the earlier copy has, by its checksum, is a second name of that; others are copied. One that is
//!    not what its checksum says takes no good copy's place: the earlier copy goes on, and the file is named.
//! 3. The checksums of what was copied, as the copy's own.
//! 4. What was copied was read back from the disk, everything is synced, and a rename makes it a recording: the commit point.
//!
//! Files change by rename alone, so whatever is open is whole. What is noted as lost meanwhile would be claimed by the snapshot and
//! missing in the files: then it begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::disk::{self, DiskError};
use crate::model::event::Partition;
use crate::model::layout::{Layout, day_of};
use crate::store::archive::{ArchiveError, DayFile};
use crate::store::buffer::{BufferError, Checksum, Snapshot, View, manifest};

use super::generation::Generation;

/// So often a copy begins anew because something was lost meanwhile.
const TRIES: u32 = 3;

/// Why there is no copy. What was there before stays.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The buffer does not read, or cannot be written.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another one is at work.
    #[error("another backup works in {} just now; wait until it is done", .0.display())]
    Busy(PathBuf),
    /// The target is no place for a copy.
    #[error("{}: {what}", path.display())]
    Place {
        /// The target.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// What was copied reads back as something else.
    #[error("{} does not read back as it was written: do not trust that disk", .0.display())]
    ReadBack(PathBuf),
    /// Files were set aside again and again.
    #[error("the recording loses files faster than they can be copied; see `overnight verify`")]
    Restless,
}

/// What was copied.
#[derive(Debug, Clone, Default)]
pub struct Copied {
    /// Day files.
    pub files: u64,
    /// Of these, second names of what the earlier copy had.
    pub linked: u64,
    /// Bytes of all that is in the copy.
    pub bytes: u64,
    /// Bytes that were written.
    pub written: u64,
    /// There are no second names here: what the earlier copy had was copied as well.
    pub has_no_links: bool,
    /// What is not what it was, a sentence each.
    pub damaged: Vec<String>,
}

/// An earlier copy, and what it says of its day files.
pub(super) struct Earlier {
    layout: Layout,
    sums: BTreeMap<Partition, Checksum>,
}

impl Earlier {
    /// One that does not open has nothing to offer.
    pub(super) fn open(generation: &Generation) -> Self {
        let layout = generation.layout();
        let sums = View::open(&layout).and_then(|view| view.sealed()).unwrap_or_default();
        Self { layout, sums }
    }

    /// Its copy of a sealed day file, by what the file consists of.
    fn has(&self, partition: &Partition, sum: &Checksum) -> Option<PathBuf> {
        let path = self.layout.day_file(partition);
        let is_there = || path.symlink_metadata().is_ok_and(|about| about.is_file() && about.len() == sum.bytes);
        (self.sums.get(partition) == Some(sum) && is_there()).then_some(path)
    }
}

/// Copies a recording to a directory that is not whole yet; a rename makes it one. `progress` gets bytes of day files that are done.
///
/// # Errors
/// When it cannot be copied. What is wrong with single files is named in [`Copied::damaged`].
pub(super) fn copy(
    from: &Layout,
    to: &Layout,
    earlier: Option<&Earlier>,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    let view = View::open(from)?;
    for _ in 0..TRIES {
        disk::remove_tree(to.root())?;
        let mut copying = Copying::begin(&view, from, to, earlier)?;
        copying.day_files(progress)?;
        copying.others()?;
        if view.losses()? == copying.losses {
            return copying.finish();
        }
    }
    Err(CopyError::Restless)
}

struct Copying<'a> {
    view: &'a View,
    from: &'a Layout,
    to: &'a Layout,
    earlier: Option<&'a Earlier>,
    snapshot: Snapshot,
    /// Losses that the snapshot knows of.
    losses: u64,
    /// What sealed day files consisted of at the moment of the snapshot, by their paths.
    expected: BTreeMap<PathBuf, (Partition, Checksum)>,
    /// What those here consist of.
    sums: BTreeMap<Partition, Checksum>,
    done: Copied,
}

impl<'a> Copying<'a> {
    /// Step 1.
    fn begin(view: &'a View, from: &'a Layout, to: &'a Layout, earlier: Option<&'a Earlier>) -> Result<Self, CopyError> {
        for folder in [to.state(), to.data()] {
            disk::create_dir_anywhere(&folder)?;
        }
        let snapshot = view.snapshot(&to.buffer())?;
        let copy = View::open(to)?;
        let path = from.buffer();
        let mut damaged: Vec<String> = copy.integrity()?.into_iter().map(|what| format!("{}: {what}", path.display())).collect();
        let blocks = copy.unreadable_blocks()?.into_iter();
        damaged.extend(blocks.map(|(seq, what)| format!("{}: block {seq} does not read: {what}", path.display())));
        let sealed = copy.sealed()?.into_iter();
        let bytes = to.buffer().metadata().map_or(0, |about| about.len());
        Ok(Self {
            view,
            from,
            to,
            earlier,
            snapshot,
            losses: copy.losses()?,
            expected: sealed.map(|(partition, sum)| (from.day_file(&partition), (partition, sum))).collect(),
            sums: BTreeMap::new(),
            done: Copied { bytes, written: bytes, damaged, ..Copied::default() },
        })
    }

    /// Step 2.
    fn day_files(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), CopyError> {
        let mut seen = BTreeSet::new();
        for folder in disk::list(&self.from.data())?.iter().filter(|folder| folder.is_dir()) {
            let own = self.to.data().join(folder.file_name().unwrap_or_default());
            disk::create_dir_anywhere(&own)?;
            for path in disk::list(folder)?.into_iter().filter(|path| day_of(path).is_some()) {
                let bytes = path.symlink_metadata().map_or(0, |about| about.len());
                self.day_file(&path, &own.join(path.file_name().unwrap_or_default()))?;
                seen.insert(path);
                progress(bytes);
            }
        }
        let gone = self.expected.iter().filter(|(path, _)| !seen.contains(*path)).map(|(_, one)| one.clone());
        for (partition, sum) in gone.collect::<Vec<_>>() {
            self.instead(&partition, &sum, &self.to.day_file(&partition), "is gone")?;
        }
        for folder in disk::list(&self.to.data())? {
            disk::sync_dir_if_possible(&folder)?;
            for path in disk::list(&folder)? {
                self.done.files += 1;
                self.done.bytes += path.metadata().map_or(0, |about| about.len());
            }
        }
        Ok(())
    }

    fn day_file(&mut self, path: &Path, to: &Path) -> Result<(), CopyError> {
        let expected = self.expected.get(path).cloned();
        if let Some((partition, sum)) = &expected
            && let Some(copy) = self.earlier.and_then(|earlier| earlier.has(partition, sum))
            && let Ok(about) = path.symlink_metadata()
            && about.is_file()
            && about.len() == sum.bytes
        {
            // What somebody wrote to since it was copied has to show that it is the same.
            let copied_at = copy.metadata().and_then(|about| about.modified());
            let is_old = about.modified().is_ok_and(|at| copied_at.is_ok_and(|copied_at| at <= copied_at));
            let is_same = is_old || disk::sha256(path).is_ok_and(|(sha256, _)| sha256 == sum.sha256);
            if is_same && self.link(&copy, to)? {
                self.sums.insert(partition.clone(), sum.clone());
                return Ok(());
            }
        }
        let copied = match self.copy(path, to) {
            // What the disk does not give back is nothing to offer.
            Err(CopyError::Disk(error)) if error.path == path => {
                disk::remove(to)?;
                let is_gone = error.source.kind() == ErrorKind::NotFound;
                match expected {
                    Some((partition, sum)) if is_gone => return self.instead(&partition, &sum, to, "is gone"),
                    Some((partition, sum)) => return self.instead(&partition, &sum, to, "does not read"),
                    None if is_gone => {}
                    None => self.done.damaged.push(error.to_string()),
                }
                return Ok(());
            }
            copied => copied?,
        };
        match expected {
            Some((partition, sum)) if sum == copied => drop(self.sums.insert(partition, sum)),
            Some((partition, sum)) if self.view.sum(&partition)?.as_ref() == Some(&sum) => {
                self.instead(&partition, &sum, to, "is not what its checksum says")?;
            }
            _ => self.note(path, to, copied),
        }
        Ok(())
    }

    /// Notes the checksum of a copy that is sealed.
    fn note(&mut self, path: &Path, to: &Path, sum: Checksum) {
        match DayFile::open(to) {
            Ok(Some(file)) if file.footer().sealed && self.to.day_file(&file.footer().partition) == to => {
                self.sums.insert(file.footer().partition.clone(), sum);
            }
            Ok(_) | Err(ArchiveError::Newer { .. }) => {}
            Err(_) => self.done.damaged.push(format!("{} does not read, and is copied as it is", path.display())),
        }
    }

    /// A sealed day file is not the one that was noted; unless a recorder has changed or pruned it meanwhile, what the earlier copy has
    /// of it stands for it, else what there is, under the checksum that it should have.
    fn instead(&mut self, partition: &Partition, sum: &Checksum, to: &Path, what: &str) -> Result<(), CopyError> {
        if self.view.sum(partition)?.as_ref() != Some(sum) {
            return Ok(());
        }
        let path = self.from.day_file(partition);
        self.sums.insert(partition.clone(), sum.clone());
        let mut none = "there is no good copy of it here";
        if let Some(copy) = self.earlier.and_then(|earlier| earlier.has(partition, sum)) {
            disk::remove(to)?;
            disk::create_dir_anywhere(to.parent().unwrap_or(to))?;
            if !self.link(&copy, to)? {
                self.copy(&copy, to)?;
            }
            none = "the good copy of before stands in the backup; put it back";
        }
        self.done.damaged.push(format!("{} {what}; {none}", path.display()));
        Ok(())
    }

    fn link(&mut self, copy: &Path, to: &Path) -> Result<bool, CopyError> {
        let is_linked = disk::link(copy, to)?;
        self.done.linked += u64::from(is_linked);
        self.done.has_no_links |= !is_linked;
        Ok(is_linked)
    }

    /// Copies a file, and reads it back from the disk.
    fn copy(&mut self, path: &Path, to: &Path) -> Result<Checksum, CopyError> {
        let copied = disk::copy(path, to)?;
        if disk::sha256(to)? != copied {
            return Err(CopyError::ReadBack(to.to_owned()));
        }
        let (sha256, bytes) = copied;
        self.done.written += bytes;
        Ok(Checksum { sha256, bytes })
    }

    /// What else makes it a recording that can be read: names of devices, schemas, settings; and what was set aside, which may be
    /// all that there is of some events.
    fn others(&mut self) -> Result<(), CopyError> {
        let (from, to) = (self.from, self.to);
        self.other(&from.devices(), &to.devices())?;
        self.other(&from.settings(), &to.settings())?;
        for (folder, to) in [(from.schemas(), to.schemas()), (from.damaged(), to.damaged())] {
            for path in disk::list(&folder)? {
                disk::create_dir_anywhere(&to)?;
                self.other(&path, &to.join(path.file_name().unwrap_or_default()))?;
            }
            if to.is_dir() {
                disk::sync_dir_if_possible(&to)?;
            }
        }
        Ok(())
    }

    fn other(&mut self, path: &Path, to: &Path) -> Result<(), CopyError> {
        match self.copy(path, to) {
            Err(CopyError::Disk(error)) if error.path == path => {
                if error.source.kind() != ErrorKind::NotFound {
                    self.done.damaged.push(error.to_string());
                }
                Ok(disk::remove(to)?)
            }
            copied => {
                self.done.bytes += copied?.bytes;
                Ok(())
            }
        }
    }

    /// Step 3, and of step 4 all but the rename.
    fn finish(self) -> Result<Copied, CopyError> {
        let Self { to, snapshot, sums, done, .. } = self;
        snapshot.finish(&sums)?;
        if !sums.is_empty() {
            disk::replace(&to.manifest(), manifest(to, &sums).as_bytes())?;
        }
        for folder in [to.data(), to.state(), to.root().to_owned()] {
            disk::sync_dir_if_possible(&folder)?;
        }
        Ok(done)
    }
}
