//! `overnight.toml` in a recording: what a recorder of it is to do where no flag and no variable says otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::base::disk::{self, Readers};
use crate::base::text::wrong_toml;

use super::alerting::{self, AlertText, Alerting, NotifyText, PingText};
use super::{Filters, SettingsError};

/// No settings file is longer, in bytes.
const LENGTH_MAX: u64 = 1024 * 1024;

/// What `overnight.toml` in a recording may set. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "keys are called as their flags are")]
pub struct File {
    project: Option<Vec<String>>,
    event_type: Option<Vec<String>>,
    device: Option<Vec<String>>,
    device_type: Option<Vec<String>>,
    label: Option<Vec<String>>,
    product_number: Option<Vec<String>>,
    /// What holds for one project, before what holds for all.
    #[serde(default)]
    projects: BTreeMap<String, OfProject>,
    listen: Option<SocketAddr>,
    group_read: Option<bool>,
    metrics: Option<SocketAddr>,
    page: Option<SocketAddr>,
    token_file: Option<PathBuf>,
    api_url: Option<String>,
    token_url: Option<String>,
    /// How much a recorder keeps, as in `400d`; what is older is pruned once a day.
    pub keep: Option<String>,
    archive: Option<PathBuf>,
    /// How often to look for something to roll, as in `15m`.
    pub roll_every: Option<String>,
    /// How long what the stream brings may wait for a commit, as in `3s`.
    pub keep_every: Option<String>,
    /// How often the cloud should ping, as in `10s`.
    pub ping_interval: Option<String>,
    /// How often to read all of the cloud's history anew, for what sensors sent late while nobody listened, as in `1d`.
    pub reconcile: Option<String>,
    /// How long the cloud takes at most to index an event, as in `10s`.
    pub index_delay: Option<String>,
    /// How long after a gap the history is asked again, for what came later, as in `["1h", "1d"]`.
    pub confirm_after: Option<Vec<String>>,
    /// How far back these passes look, for what came during a gap with an older time, as in `3d`.
    pub look_back: Option<String>,
    #[serde(default)]
    lake: LakeText,
    #[serde(default)]
    alert: Vec<AlertText>,
    #[serde(default)]
    notify: Vec<NotifyText>,
    /// One at most.
    #[serde(default, rename = "ping")]
    pings: Pings,
    /// Where it stands.
    #[serde(skip)]
    folder: PathBuf,
    /// Where it stands, and why others may have written it, if they may.
    #[serde(skip)]
    strange: Option<(PathBuf, String)>,
}

/// What is said of a ping, if anything is.
type Pings = Option<PingText>;

/// What `overnight.toml` may say of a lake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LakeText {
    url: Option<String>,
    ship_every: Option<String>,
}

/// What `overnight.toml` may say of one project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProject {
    event_type: Option<Vec<String>>,
    device: Option<Vec<String>>,
    device_type: Option<Vec<String>>,
    label: Option<Vec<String>>,
    product_number: Option<Vec<String>>,
    credentials: Option<PathBuf>,
}

impl File {
    /// Projects to record: those of the list, else those with settings of their own.
    pub fn projects(&self) -> Vec<String> {
        self.project.clone().unwrap_or_else(|| self.projects.keys().cloned().collect())
    }

    /// Which events of a project: what is `given` comes first, then what is said of the project, then what is said of all.
    pub fn filters(&self, project: &str, given: &Filters) -> Filters {
        let own = self.projects.get(project).cloned().unwrap_or_default();
        let first = |given: &[String], own: Option<Vec<String>>, all: &Option<Vec<String>>| match (given, own) {
            ([], Some(own)) => own,
            ([], None) => all.clone().unwrap_or_default(),
            (given, _) => given.to_vec(),
        };
        Filters {
            event_types: first(&given.event_types, own.event_type, &self.event_type),
            devices: first(&given.devices, own.device, &self.device),
            device_types: first(&given.device_types, own.device_type, &self.device_type),
            labels: first(&given.labels, own.label, &self.label),
            product_numbers: first(&given.product_numbers, own.product_number, &self.product_number),
        }
    }

    /// What is said of one project alone.
    pub fn filters_of(&self, project: &str) -> Filters {
        let own = self.projects.get(project).cloned().unwrap_or_default();
        Self { projects: BTreeMap::from([(project.to_owned(), own)]), ..Self::default() }.filters(project, &Filters::default())
    }

    /// The credentials file of a project, as its name stands beside this file.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn credentials(&self, project: &str) -> Result<Option<PathBuf>, SettingsError> {
        let named = self.projects.get(project).and_then(|own| own.credentials.as_ref());
        let Some(named) = self.yours(named, "credentials", "--credentials FILE")? else { return Ok(None) };
        Ok(Some(self.folder.join(named)))
    }

    /// Times, each with its key, what is said, and what is usual.
    pub fn times(&self) -> [(&'static str, Option<Vec<String>>, &'static str); 9] {
        let one = |time: &Option<String>| time.clone().map(|time| vec![time]);
        [
            ("keep_every", one(&self.keep_every), "3s, on a terminal 1s"),
            ("roll_every", one(&self.roll_every), "1h"),
            ("ping_interval", one(&self.ping_interval), "10s"),
            ("index_delay", one(&self.index_delay), "12s"),
            ("confirm_after", self.confirm_after.clone(), "1h, 1d"),
            ("look_back", one(&self.look_back), "3d"),
            ("reconcile", one(&self.reconcile), "never"),
            ("keep", one(&self.keep), "all of it"),
            ("lake.ship_every", one(&self.lake.ship_every), "1h"),
        ]
    }

    /// Where to receive pushes as well.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn listen(&self) -> Result<Option<SocketAddr>, SettingsError> {
        Ok(self.yours(self.listen.as_ref(), "listen", "--listen IP:PORT")?.copied())
    }

    /// Where what is pruned goes, as it stands beside this file.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn archive(&self) -> Result<Option<PathBuf>, SettingsError> {
        Ok(self.yours(self.archive.as_ref(), "archive", "--archive DIR")?.map(|archive| self.folder.join(archive)))
    }

    /// The lake that a recorder ships to.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn lake(&self) -> Result<Option<&str>, SettingsError> {
        self.yours(self.lake.url.as_deref(), "lake.url", "`overnight lake ship URL`")
    }

    /// How often it does, as in `1h`.
    pub fn ship_every(&self) -> Option<&str> {
        self.lake.ship_every.as_deref()
    }

    /// Who may read the day files.
    ///
    /// # Errors
    /// When others may have let themselves in.
    pub fn readers(&self) -> Result<Readers, SettingsError> {
        let may = self.yours(self.group_read.as_ref(), "group_read", "no group_read")?;
        Ok(if may == Some(&true) { Readers::Group } else { Readers::Owner })
    }

    /// Where to tell metrics.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn metrics(&self) -> Result<Option<SocketAddr>, SettingsError> {
        Ok(self.yours(self.metrics.as_ref(), "metrics", "--metrics IP:PORT")?.copied())
    }

    /// Where to show a page.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn page(&self) -> Result<Option<SocketAddr>, SettingsError> {
        Ok(self.yours(self.page.as_ref(), "page", "--page IP:PORT")?.copied())
    }

    /// The file of the token that whoever looks on from elsewhere has to show, as its name stands beside this file.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn token_file(&self) -> Result<Option<PathBuf>, SettingsError> {
        let named = self.yours(self.token_file.as_ref(), "token_file", "--token-file FILE")?;
        Ok(named.map(|named| self.folder.join(named)))
    }

    /// What is said of alerts, each with its key, and without an address.
    pub fn told(&self) -> Vec<(String, String)> {
        alerting::said((&self.alert, &self.notify, self.pings.as_ref()))
    }

    /// Who is told of what.
    ///
    /// # Errors
    /// When something in it cannot be, or others may have said where messages go.
    pub fn alerting(&self, path: &Path) -> Result<Alerting, SettingsError> {
        let tells = Some(&self.notify).filter(|notify| !notify.is_empty());
        self.yours(tells, "notify", "settings of your own")?;
        self.yours(self.pings.as_ref(), "ping", "settings of your own")?;
        alerting::read((&self.alert, &self.notify, self.pings.as_ref()), &self.folder, path)
    }

    /// Reads the settings of a recording; the defaults when there are none.
    ///
    /// # Errors
    /// When the file does not read or has a key that nobody knows.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        match disk::read_text(path, LENGTH_MAX) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SettingsError::Read { path: path.to_owned(), source: error.source }),
            Ok(text) => {
                let file: Self = toml::from_str(&text)
                    .map_err(|error| SettingsError::File { path: path.to_owned(), what: wrong_toml(&text, &error) })?;
                let folder = path.parent().map(Path::to_owned).unwrap_or_default();
                Ok(Self { folder, strange: why_strange(path).map(|why| (path.to_owned(), why)), ..file })
            }
        }
    }

    /// The cloud's API that it names.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn api_url(&self) -> Result<Option<&str>, SettingsError> {
        self.yours(self.api_url.as_deref(), "api_url", "--api-url URL")
    }

    /// The token endpoint that it names.
    ///
    /// # Errors
    /// When others may have named it.
    pub fn token_url(&self) -> Result<Option<&str>, SettingsError> {
        self.yours(self.token_url.as_deref(), "token_url", "--token-url URL")
    }

    /// What nobody else may have written.
    fn yours<'f, T: ?Sized>(
        &self,
        said: Option<&'f T>,
        key: &'static str,
        flag: &'static str,
    ) -> Result<Option<&'f T>, SettingsError> {
        match &self.strange {
            Some((path, why)) if said.is_some() => {
                Err(SettingsError::NotYours { path: path.clone(), key, flag, why: why.clone() })
            }
            _ => Ok(said),
        }
    }
}

/// Why a file may be what others wrote, if it may: it is a link, or others own it or its folder, or can write there. The folder
/// is the recording itself, and not behind a link of somebody else's.
#[cfg(unix)]
fn why_strange(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let look = |path: &Path| fs::symlink_metadata(path).map_err(|error| error.to_string());
    let check = || -> Result<(), String> {
        let file = look(path)?;
        if !file.is_file() {
            return Err("it is no file of its own but a link".to_owned());
        }
        let behind = fs::metadata(folder).map_err(|error| error.to_string())?;
        for (about, what) in [(&file, "it"), (&look(folder)?, "its folder"), (&behind, "its folder")] {
            if about.uid() != me {
                return Err(format!("{what} belongs to another user"));
            }
            // The rights of a link say nothing.
            if !about.is_symlink() && about.mode() & 0o022 != 0 {
                return Err(format!("others can write {what}"));
            }
        }
        Ok(())
    };
    check().err()
}

#[cfg(not(unix))]
fn why_strange(_path: &Path) -> Option<String> {
    None
}
