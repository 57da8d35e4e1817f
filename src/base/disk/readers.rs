//! Who may read what a recording leaves for others: its owner alone, or a group of users as well.

use std::path::Path;

use super::Result;

/// Who reads day files, the device list and the list of checksums. The rest is its owner's alone, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readers {
    /// Nobody but the owner: directories 0700, files 0600.
    #[default]
    Owner,
    /// The group of the files too: directories 0750, files 0640, whatever the umask.
    Group,
}

impl Readers {
    /// Lets the group read a file or look into a directory, if it may. Takes nothing from anybody.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn admit(self, path: &Path) -> Result<()> {
        if self == Self::Group { change(path, |mode, own| mode | own >> 3 & 0o050) } else { Ok(()) }
    }

    /// Lets the group read what is there already, or does not any longer; what is not there is fine.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn admit_or_keep_out(self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        // Rights that are not such as this gives were given by somebody else, and stay.
        let is_given = |mode: u32, own: u32| mode & 0o077 == own >> 3 & 0o050;
        match self {
            Self::Group => self.admit(path),
            Self::Owner => change(path, |mode, own| if is_given(mode, own) { mode & 0o7700 } else { mode }),
        }
    }
}

/// Changes rights, where that changes anything: `to` gets all of them, and those of the owner.
#[cfg(unix)]
fn change(path: &Path, to: impl Fn(u32, u32) -> u32) -> Result<()> {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    let fail = |error| super::DiskError::new("change the rights of", path, error);
    let about = path.symlink_metadata().map_err(fail)?;
    let mode = about.permissions().mode() & 0o7777;
    let wanted = to(mode, mode & 0o700);
    // Not through a link, which leads to what is somebody else's.
    if about.is_symlink() || wanted == mode {
        Ok(())
    } else {
        fs::set_permissions(path, fs::Permissions::from_mode(wanted)).map_err(fail)
    }
}

/// Changes nothing on this system.
#[cfg(not(unix))]
fn change(_path: &Path, _to: impl Fn(u32, u32) -> u32) -> Result<()> {
    Ok(())
}
