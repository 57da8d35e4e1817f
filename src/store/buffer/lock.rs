//! One writer at a time: an advisory lock on `state/lock`, which the system drops with its process.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::time::Duration;

use crate::base::disk::{self, DiskError};
use crate::model::layout::Layout;

use super::{BufferError, Result};

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes the lock or says who holds it.
    pub(super) fn take(layout: &Layout) -> Result<Self> {
        let path = layout.lock();
        let mut file = disk::open_private(&path)?;
        // A `status` that looks whether the lock is held holds it for a moment itself.
        let mut tries = 0..10;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if tries.next().is_some() => std::thread::sleep(Duration::from_millis(20)),
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only helps the message.
                let read = (&mut file).take(20).read_to_string(&mut holder);
                let holder = holder.trim().to_owned();
                let holder = if read.is_ok() && !holder.is_empty() { holder } else { "unknown".to_owned() };
                return Err(BufferError::Locked { path: layout.root().to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(DiskError::new("lock", &path, error).into()),
        }
        let note = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        note.map_err(|error| DiskError::new("write", &path, error))?;
        Ok(Self(file))
    }

    /// True when some process holds the lock.
    pub(super) fn is_held(layout: &Layout) -> bool {
        disk::open(&layout.lock()).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
