//! Where everything stands in a recording. Every path has its one constructor here.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::time::{Day, Micros};
use crate::model::event::Partition;
use crate::model::schema::is_plain;

/// The directory that holds a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The recording in a directory, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finished day files, nothing else below.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Everything that is not data.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The SQLite database of kept events.
    pub fn buffer(&self) -> PathBuf {
        self.state().join("buffer.db")
    }

    /// Files being written.
    pub fn staging(&self) -> PathBuf {
        self.state().join("staging")
    }

    /// Files that did not read and were set aside; never deleted.
    pub fn damaged(&self) -> PathBuf {
        self.state().join("damaged")
    }

    /// Where a buffer goes that was found damaged at a time.
    pub fn aside(&self, time: Micros) -> PathBuf {
        self.damaged().join(format!("buffer-{time}.db"))
    }

    /// What was rescued of it, complete, until it is the buffer.
    pub fn rescued(&self, time: Micros) -> PathBuf {
        self.state().join(format!("rescued-{time}.db"))
    }

    /// Room on the disk that clean-up may use when there is no other.
    pub fn reserve(&self) -> PathBuf {
        self.state().join("reserve")
    }

    /// Checksums of the sealed day files, as `sha256sum --check` reads them.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("MANIFEST")
    }

    /// Held by the one writer.
    pub fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }

    /// Indexes of the sealed day files.
    pub fn indexes(&self) -> PathBuf {
        self.state().join("index")
    }

    /// The index of the day files in a folder below `data/`.
    pub fn index(&self, folder: &Path) -> PathBuf {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".index");
        self.indexes().join(name)
    }

    /// What people ask of the history while a recorder runs.
    pub fn requests(&self) -> PathBuf {
        self.state().join("requests")
    }

    /// When the last backup was good, and where it stands.
    pub fn last_backup(&self) -> PathBuf {
        self.state().join("backup.json")
    }

    /// What is known of shipments to a lake.
    pub fn lake(&self) -> PathBuf {
        self.state().join("lake")
    }

    /// How far the last one came.
    pub fn last_shipment(&self) -> PathBuf {
        self.lake().join("shipped.json")
    }

    /// Schema files that this recording was made with, beside the built-in ones.
    pub fn schemas(&self) -> PathBuf {
        self.state().join("schemas")
    }

    /// Settings of this recording.
    pub fn settings(&self) -> PathBuf {
        self.root.join("overnight.toml")
    }

    /// The device list.
    pub fn devices(&self) -> PathBuf {
        self.root.join("devices.parquet")
    }

    /// True when a path is one that only a recorder writes to, or lies below one, whichever way it leads there: of this recording,
    /// or of another one that it lies in.
    pub fn owns(&self, path: &Path) -> bool {
        // A file that is a link is replaced itself; what it leads to stays.
        let named = path.file_name().map(|name| resolved(path.parent().unwrap_or(Path::new(""))).join(name));
        let places: Vec<PathBuf> = [resolved(path)].into_iter().chain(named).collect();
        let above = places.iter().flat_map(|place| place.ancestors()).chain(path.ancestors()).map(Self::new);
        let mut recordings = above.filter(|other| other.buffer().is_file());
        self.has(&places) || recordings.any(|other| other.has(&places))
    }

    /// True when a path lies within a recording, whichever way it leads there.
    pub fn is_within_one(path: &Path) -> bool {
        resolved(path).ancestors().skip(1).any(|above| Self::new(above).buffer().is_file())
    }

    fn has(&self, places: &[PathBuf]) -> bool {
        let own = [self.data(), self.state(), self.manifest(), self.devices(), self.settings()].map(|own| resolved(&own));
        places.iter().any(|place| own.iter().any(|own| place.starts_with(own)))
    }

    /// The folder of an event type's day files.
    pub fn folder(&self, event_type: &str) -> PathBuf {
        self.data().join(folder_name(event_type))
    }

    /// The day file of a partition.
    pub fn day_file(&self, partition: &Partition) -> PathBuf {
        self.folder(&partition.event_type).join(format!("{}.parquet", partition.day))
    }

    /// The file that a partition's next day file is written to.
    pub fn staged(&self, partition: &Partition) -> PathBuf {
        self.staging().join(format!("{}.{}.parquet", folder_name(&partition.event_type), partition.day))
    }
}

/// Where a path leads, through links and `..`, also where its last parts do not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let mut place = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            Component::CurDir => {}
            part => place.push(part),
        }
        // Step by step: `..` behind a link is above what the link leads to.
        place = place.canonicalize().unwrap_or(place);
    }
    place
}

/// The day in a day file's name.
pub fn day_of(path: &Path) -> Option<Day> {
    Day::parse(path.file_name()?.to_str()?.strip_suffix(".parquet")?)
}

/// The time in the name of a rescued buffer.
pub fn rescued_at(path: &Path) -> Option<Micros> {
    path.file_name()?.to_str()?.strip_prefix("rescued-")?.strip_suffix(".db")?.parse().ok()
}

/// An event type as a file name. An event type is never a path: letters, digits, `-` and `_` stand for themselves, every
/// other byte is percent-encoded. Where that alone could meet another type's name (it is cut because it is long; it differs
/// only in case, which some file systems do not tell apart) or means something to a system, it ends in its hash. The footer
/// of a day file has the true name.
fn folder_name(event_type: &str) -> String {
    const LONGEST: usize = 120;
    /// Devices of Windows, whatever the case and the ending.
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let mut name = String::new();
    for byte in event_type.bytes() {
        // Readers skip a folder that begins with `_`, and shells take one that begins with `-` for a flag.
        if byte.is_ascii_alphanumeric() || (matches!(byte, b'-' | b'_') && !name.is_empty()) {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02X}").unwrap_or_default();
        }
    }
    let reserved = RESERVED.contains(&event_type)
        || matches!(event_type.as_bytes(), [b'c', b'o', b'm', b'0'..=b'9'] | [b'l', b'p', b't', b'0'..=b'9']);
    let has_case = event_type.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_word = event_type.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let may_meet = !is_plain(event_type) && (has_case || is_word);
    if name.len() > LONGEST || reserved || may_meet {
        let hash = Sha256::digest(event_type.as_bytes());
        name.truncate(LONGEST - 17);
        name.push('~');
        name.push_str(&base16ct::lower::encode_string(&hash[..8]));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_type_is_never_a_path() {
        assert_eq!(folder_name("networkStatus"), "networkStatus");
        assert_eq!(folder_name("../../x"), "%2E%2E%2F%2E%2E%2Fx");
        assert_eq!(folder_name("a\0é"), "a%00%C3%A9");
        assert_eq!(folder_name("_a_b"), "%5Fa_b");
        let (long, longer) = (folder_name(&"x/".repeat(5000)), folder_name(&"x/".repeat(5001)));
        assert!(long.len() <= 120 && long != longer);
    }

    #[test]
    fn usual_names_are_plain_and_spellings_of_them_are_told_apart_without_case() {
        let plain = ["networkStatus", "co2", "objectPresentCount", "wind", "airQuality", "heat_index-2"];
        assert_eq!(plain.map(folder_name), plain);
        for (name, begins) in [("NetworkStatus", "NetworkStatus~"), ("networkstatus", "networkstatus~"), ("TOUCH", "TOUCH~")] {
            assert!(folder_name(name).starts_with(begins), "{}", folder_name(name));
        }
        assert_ne!(folder_name("a/b").to_lowercase(), folder_name("A/B").to_lowercase());
        for reserved in ["CON", "con", "aux", "lpt1"] {
            assert!(folder_name(reserved).starts_with(&format!("{reserved}~")));
        }
    }

    #[test]
    fn a_day_file_names_its_day() {
        let partition = Partition { event_type: "touch".into(), day: Day(20_000) };
        let path = Layout::new(Path::new("rec")).day_file(&partition);
        assert_eq!(path, Path::new("rec/data/touch/2024-10-04.parquet"));
        assert_eq!(day_of(&path), Some(Day(20_000)));
        assert_eq!(day_of(Path::new("x/notes.parquet")), None);
    }
}
