//! Rebuild: day files of an older schema are written anew, one after the other. Killed at any moment, it goes on where it was.

use std::sync::Arc;

use crate::base::disk;
use crate::base::time;
use crate::model::event::Partition;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::File;
use crate::store::archive::{DayFile, day_files};
use crate::store::buffer::Buffer;
use crate::store::roll::{self, RollError, Roller};

use super::RecordError;

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Day files that were written anew.
    pub files: u64,
    /// Day files that had today's columns.
    pub current: u64,
    /// Sealed day files that are gone, and are on the list of checksums no more.
    pub gone: u64,
    /// Day files that could not be rebuilt, and why.
    pub failed: Vec<String>,
}

/// Rebuilds a recording that nobody writes to. `progress` gets the bytes of each day file once it is done.
///
/// # Errors
/// When the recording does not open. A day file that fails is named in [`Rebuilt::failed`] and stays as it was.
pub fn rebuild(layout: &Layout, registry: &Arc<Registry>, mut progress: impl FnMut(u64)) -> Result<Rebuilt, RecordError> {
    let readers = File::read(&layout.settings())?.readers()?;
    let mut buffer = Buffer::open(layout, time::now())?;
    let recovered = roll::recover(&mut buffer, layout, time::now())?;
    let mut roller = Roller::new(layout, Arc::clone(registry), recovered.unsealed, recovered.unlisted)?;
    roller.admit(readers)?;
    let mut rebuilt = Rebuilt { failed: recovered.unreadable, ..Rebuilt::default() };
    rebuilt.failed.extend(recovered.damaged.iter().map(ToString::to_string));
    for (path, _) in day_files(layout).map_err(RollError::from)? {
        // One that does not read stands among the failed already, since recovery has opened it.
        let Ok(Some(file)) = DayFile::open(&path) else { continue };
        let (partition, bytes) = (file.footer().partition.clone(), file.bytes());
        drop(file);
        if layout.day_file(&partition) == path {
            let is_listed = roller.has_sum(&partition)?;
            match one(&mut buffer, &mut roller, &partition, is_listed) {
                Ok(true) => rebuilt.files += 1,
                Ok(false) => rebuilt.current += 1,
                // So would all others.
                Err(error) if disk::is_full(&error) => return Err(error.into()),
                Err(error) => rebuilt.failed.push(error.to_string()),
            }
        }
        progress(bytes);
    }
    for partition in roller.sealed()?.into_keys() {
        if !layout.day_file(&partition).exists() {
            buffer.unsealed(&partition)?;
            rebuilt.gone += 1;
        }
    }
    roller.publish_manifest()?;
    roller.publish_index()?;
    Ok(rebuilt)
}

/// Rebuilds one day file. Its checksum goes first and comes last: a row always speaks of the file that is there.
fn one(buffer: &mut Buffer, roller: &mut Roller, partition: &Partition, is_listed: bool) -> Result<bool, RollError> {
    let is_old = roller.is_old(partition)?;
    if is_old {
        buffer.unsealed(partition)?;
        roller.rebuild(partition)?;
    } else if !is_listed {
        roller.sum(partition)?;
    }
    for (partition, sum) in roller.take_sums() {
        buffer.sealed(&partition, &sum)?;
    }
    Ok(is_old)
}
