//! Who may read the day files: a group is let in, or is no longer, whatever stood in the settings before.

use crate::base::disk::{self, Readers};

use super::{RollError, Roller};

impl Roller {
    /// Lets these read what is there, and what is published from now on: day files, the device list, the list of checksums, and the
    /// directories above them.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn admit(&mut self, readers: Readers) -> Result<(), RollError> {
        self.readers = readers;
        let layout = &self.layout;
        readers.admit(layout.root())?;
        for path in [layout.data(), layout.devices(), layout.manifest()] {
            readers.admit_or_keep_out(&path)?;
        }
        // Behind a door that is shut the rest may stay as it is.
        if readers == Readers::Group {
            for folder in disk::list(&layout.data())? {
                readers.admit(&folder)?;
                for file in if folder.is_dir() { disk::list(&folder)? } else { Vec::new() } {
                    readers.admit(&file)?;
                }
            }
        }
        Ok(())
    }
}
