//! Settings and credentials: flags, environment, `overnight.toml` in the recording, defaults, in this order.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::base::error::plain;

mod alerting;
mod file;
mod mask;

pub use alerting::{Alerting, Form, Ping, Rule, Sink, To, When};
pub use file::File;
pub use mask::Mask;

/// Something in the settings or the credentials is wrong, or missing.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {}: {}", path.display(), plain(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not say what it should. The text never quotes a secret.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There are no credentials.
    #[error(
        "no credentials: set DT_SERVICE_ACCOUNT_KEY_ID and DT_SERVICE_ACCOUNT_SECRET (and DT_SERVICE_ACCOUNT_EMAIL for OAuth2), or give a credentials file with --credentials or DT_CREDENTIALS_FILE"
    )]
    NoCredentials,
    /// One of two that belong together is missing.
    #[error("{0} is set, but not {1}; both belong together")]
    Half(&'static str, &'static str),
    /// A settings file that others may have written says where credentials go, where somebody listens, or who may read.
    #[error(
        "{} says where credentials are and go, or who may reach this machine or read the recording ({key}), and {why}: only you say that. Look at it, and give {flag}, or make the file and its folder your own (chown, chmod go-w)", path.display()
    )]
    NotYours {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: &'static str,
        /// What says the same by hand.
        flag: &'static str,
        /// Why it is not trusted.
        why: String,
    },
    /// Text that is no duration.
    #[error("{0:?} is no duration; write it as 15s, 10m, 8h, 31d or 1h30m, at most a hundred years")]
    Duration(String),
}

/// Fewest characters of a secret.
const SECRET_MIN: usize = 4;

/// Something that must never be seen. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text under guard.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A secret that two sides share, from text: without white space around it, nor the byte order mark that some editors put
    /// before it.
    ///
    /// # Errors
    /// When anybody would guess it.
    pub fn shared(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let mut letters = text.chars();
        let first = letters.next().ok_or("there is no secret in it")?;
        if text.chars().count() < SECRET_MIN || letters.all(|letter| letter == first) {
            return Err("anybody would guess this secret: want at least 4 characters, and not all the same");
        }
        Ok(Self::new(text))
    }

    /// The text itself; only for where it has to go.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// Reads a secret from a file of its own, as [`Secret::shared`].
///
/// # Errors
/// When the file does not read, holds none that is one, or is open to everybody on this machine.
pub fn read_secret(path: &Path) -> Result<Secret, SettingsError> {
    let text = fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    keep_to_oneself(path)?;
    Secret::shared(&text).map_err(|what| SettingsError::File { path: path.to_owned(), what: what.to_owned() })
}

/// Refuses the file of a secret that everybody on this machine can read.
///
/// # Errors
/// When it is one.
pub fn keep_to_oneself(path: &Path) -> Result<(), SettingsError> {
    if is_open_to_all(path) {
        let what = "everybody on this machine can read this secret; run chmod 600 on it".to_owned();
        return Err(SettingsError::File { path: path.to_owned(), what });
    }
    Ok(())
}

#[cfg(unix)]
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_path: &Path) -> bool {
    false
}

/// A service account: with an e-mail it signs in by OAuth2, without one by Basic auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Id of the key.
    pub key_id: String,
    /// The key's secret.
    pub secret: Secret,
    /// E-mail of the service account.
    pub email: Option<String>,
    /// Token endpoint named in a credentials file.
    pub token_url: Option<String>,
}

impl Credentials {
    /// What tells in a ledger whether the same account asks again: a few bits of a digest, of which nobody gets a secret.
    pub fn account(&self) -> String {
        use sha2::{Digest, Sha256};
        let email = self.email.as_deref().unwrap_or_default();
        let digest = Sha256::digest(format!("overnight account\0{}\0{email}\0{}", self.key_id, self.secret.0));
        let few = digest.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        format!("{few:08x}")
    }

    /// Finds the credentials: a file given by flag, then `DT_CREDENTIALS_FILE`, then the single variables.
    ///
    /// # Errors
    /// When there are none, or half of them, or the file does not read.
    pub fn find(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = file.map(Path::to_owned).or_else(|| variable("DT_CREDENTIALS_FILE").map(PathBuf::from)) {
            return Self::read(&path);
        }
        let (key, secret) = ("DT_SERVICE_ACCOUNT_KEY_ID", "DT_SERVICE_ACCOUNT_SECRET");
        match (variable(key), variable(secret)) {
            (Some(key_id), Some(secret)) => {
                let email = variable("DT_SERVICE_ACCOUNT_EMAIL");
                Ok(Self { key_id, secret: Secret::new(secret), email, token_url: None })
            }
            (Some(_), None) => Err(SettingsError::Half(key, secret)),
            (None, Some(_)) => Err(SettingsError::Half(secret, key)),
            (None, None) => Err(SettingsError::NoCredentials),
        }
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(rename = "serviceAccount")]
            account: Account,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Account {
            key_id: String,
            secret: String,
            email: Option<String>,
            token_endpoint: Option<String>,
        }
        let text = fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        keep_to_oneself(path)?;
        // Some editors put a byte order mark before it.
        let file: File = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| SettingsError::File {
            path: path.to_owned(),
            what: format!(
                "no credentials file at line {}; it looks like {{\"serviceAccount\": {{\"keyId\": …, \"secret\": …, \"email\": …}}}}",
                error.line()
            ),
        })?;
        let Account { key_id, secret, email, token_endpoint } = file.account;
        let email = email.filter(|email| !email.is_empty());
        Ok(Self { key_id, secret: Secret::new(secret), email, token_url: token_endpoint })
    }
}

/// Which events to ask the cloud for; empty lists ask for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Event types.
    pub event_types: Vec<String>,
    /// Device ids.
    pub devices: Vec<String>,
    /// Device types.
    pub device_types: Vec<String>,
    /// Labels, as `key` or `key=value`.
    pub labels: Vec<String>,
    /// Product numbers.
    pub product_numbers: Vec<String>,
}

impl Filters {
    /// Whether they let every device through.
    pub fn is_about_all_devices(&self) -> bool {
        [&self.devices, &self.device_types, &self.labels, &self.product_numbers].iter().all(|words| words.is_empty())
    }

    /// Whether whoever asks with these gets at least what others get.
    pub fn hold(&self, others: &Self) -> bool {
        let within = |few: &[String], many: &[String]| few.iter().all(|one| many.contains(one));
        let hold = |own: &[String], other: &[String]| own.is_empty() || (!other.is_empty() && within(other, own));
        hold(&self.event_types, &others.event_types)
            && hold(&self.devices, &others.devices)
            && hold(&self.device_types, &others.device_types)
            && hold(&self.product_numbers, &others.product_numbers)
            // Whether several labels mean all or any of them, clouds do not agree: the same ones, or none.
            && hold(&self.labels, &others.labels)
            && within(&self.labels, &others.labels)
    }
}

/// Longer than anybody waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// Reads `15s`, `10m`, `8h`, `31d`, `500ms`, `1h30m`, `1.5d`. By hand, since the friendly parser of jiff knows no part of a day.
///
/// # Errors
/// When the text is none of these.
pub fn duration(text: &str) -> Result<Duration, SettingsError> {
    let fail = || SettingsError::Duration(text.to_owned());
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fail())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(&rest[digits..], |end| &rest[digits..digits + end]);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(fail()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| fail())?;
        sum = sum.checked_add(part).filter(|sum| *sum <= LONGEST).ok_or_else(fail)?;
        rest = &rest[digits + unit.len()..];
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let milliseconds = |text| duration(text).unwrap().as_millis();
        let texts = ["15s", "10m", "1h30m", "31d", "500ms"];
        assert_eq!(texts.map(milliseconds), [15_000, 600_000, 5_400_000, 2_678_400_000, 500]);
        for text in ["", "15", "h", "5 parsecs", "-1s", "1.2.3s", "101w5218w", "18446744073709551615s1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters_hold_others_that_let_through_no_more() {
        let types =
            |names: &[&str]| Filters { event_types: names.iter().map(ToString::to_string).collect(), ..Filters::default() };
        let labels = |names: &[&str]| Filters { labels: names.iter().map(ToString::to_string).collect(), ..Filters::default() };
        let all = Filters::default();
        assert!(all.hold(&all) && all.hold(&types(&["co2"])) && all.hold(&labels(&["a", "b"])));
        assert!(types(&["co2", "touch"]).hold(&types(&["touch"])) && labels(&["a"]).hold(&labels(&["a"])));
        assert!(!types(&["co2"]).hold(&all) && !types(&["co2"]).hold(&types(&["co2", "touch"])));
        assert!(!types(&["co2"]).hold(&labels(&["a"])) && !labels(&["a", "b"]).hold(&labels(&["a"])));
    }

    #[test]
    fn what_others_say_holds_no_secret_however_json_writes_it() {
        let mask = Mask::new(&["a\"/b", "", "a\"/b and more"]);
        let said = r#"a"/b, a\"/b, a\"\/b, a"/b and more, a\"/c"#;
        assert_eq!(mask.text(said), r#"***, ***, ***, ***, a\"/c"#);
        let mut bytes = b"\xffa\"/c".to_vec();
        mask.bytes(&mut bytes);
        assert_eq!(bytes, b"\xffa\"/c");
        bytes.extend(said.as_bytes());
        mask.bytes(&mut bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains("/b"));
        assert!(!format!("{mask:?}").contains("/b"));
    }

    #[test]
    fn a_shared_secret_is_what_both_sides_mean_and_nothing_that_anybody_would_guess() {
        for text in ["hunter2", "hunter2\n", "\u{feff}hunter2\r\n", " \u{feff} hunter2\t"] {
            assert_eq!(Secret::shared(text).unwrap().reveal(), "hunter2");
        }
        assert_eq!(Secret::shared("two words").unwrap().reveal(), "two words");
        for text in ["", " \n", "\u{feff}", "x", " x\n", "abc", "xxxxxxxxxxxx"] {
            assert!(Secret::shared(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_never_prints() {
        let variables = |name: &str| match name {
            "DT_SERVICE_ACCOUNT_KEY_ID" => Some("key".to_owned()),
            "DT_SERVICE_ACCOUNT_SECRET" => Some("hunter2".to_owned()),
            _ => None,
        };
        let credentials = Credentials::find(None, variables).unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert_eq!(credentials.email, None);
    }

    #[test]
    fn missing_credentials_say_what_to_set() {
        assert!(Credentials::find(None, |_| None).unwrap_err().to_string().contains("DT_SERVICE_ACCOUNT_KEY_ID"));
        let half = Credentials::find(None, |name| (name == "DT_SERVICE_ACCOUNT_KEY_ID").then(|| "k".to_owned()));
        assert!(matches!(half, Err(SettingsError::Half(..))));
    }
}
