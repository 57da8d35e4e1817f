//! What a watcher has to know when it starts again: `watch.json`, and a lock, so that two watchers do not both tell.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::disk::{self, DiskError};
use crate::base::time::Micros;

use super::note::Note;

/// Of the file.
const VERSION: u32 = 1;
/// Longest file, in bytes.
const LENGTH_MAX: u64 = 64 * 1024 * 1024;

/// Why alerts cannot be kept in mind.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk refuses.
    #[error(
        "cannot keep in mind what was told: {0}; where the recording is only for reading, give --state DIR, else nobody is told of anything"
    )]
    Disk(#[from] DiskError),
    /// Another watcher has it.
    #[error("another watcher tells of what is in {}; stop it, or give another --state DIR", .0.display())]
    Locked(PathBuf),
}

/// An alert of a subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) alert: String,
    pub(super) project: String,
    pub(super) device: String,
}

/// What is noted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    /// Everything was decided up to then.
    pub(super) upto: Micros,
    /// What was told of and lasts: since when.
    #[serde(with = "pairs")]
    pub(super) firing: BTreeMap<Key, Micros>,
    /// What was told of and is over: since when the last time lasted, and when that was over.
    #[serde(with = "pairs")]
    pub(super) ended: BTreeMap<Key, (Micros, Micros)>,
    /// Messages on their way: to whom, and which.
    pub(super) owed: Vec<(String, Note)>,
    /// When somebody was told, in the last hour.
    pub(super) sent: BTreeMap<String, Vec<Micros>>,
    /// When an alert was told last.
    pub(super) told: BTreeMap<String, Micros>,
}

/// Where it stands, and the right to write it.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    staging: PathBuf,
    #[expect(dead_code, reason = "held for its lock")]
    lock: File,
}

impl Keeper {
    /// Takes the lock of a folder, and reads what is noted there. What does not read is told, and nothing is known then.
    ///
    /// # Errors
    /// When another watcher has it, or nothing can be written there.
    pub(super) fn open(folder: &Path) -> Result<(Self, Stored, Option<String>), StateError> {
        let staging = folder.join("watch");
        disk::create_own_dir(folder)?;
        disk::create_own_dir(&staging)?;
        let lock = disk::open_private(&staging.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(DiskError::new("lock", &staging, error).into()),
        }
        let path = folder.join("watch.json");
        let (stored, trouble) = match disk::read_text(&path, LENGTH_MAX) {
            Ok(text) => match serde_json::from_str::<Stored>(&text) {
                Ok(stored) if stored.version == VERSION => (stored, None),
                _ => {
                    (Stored::default(), Some(format!("{} does not read: what was told before may be told again", path.display())))
                }
            },
            Err(error) if error.source.kind() == ErrorKind::NotFound => (Stored::default(), None),
            Err(error) => return Err(error.into()),
        };
        Ok((Self { path, staging, lock }, stored, trouble))
    }

    /// Notes it, durably.
    pub(super) fn write(&self, stored: &mut Stored) -> Result<(), DiskError> {
        stored.version = VERSION;
        let text = serde_json::to_vec(stored).map_err(|error| DiskError::new("write", &self.path, error.into()))?;
        disk::write(&self.staging, &self.path, &text)
    }
}

/// Maps with keys that are no texts, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(map: &BTreeMap<K, V>, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(map)
    }

    pub(super) fn deserialize<'d, K: Deserialize<'d> + Ord, V: Deserialize<'d>, D: Deserializer<'d>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
