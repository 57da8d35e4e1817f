//! What to do about an error, and what people are told of one that a library raised. The errors themselves stand beside the code
//! that raises them.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use rusqlite::ErrorCode;

/// Advice that goes with an error: the caller acts on this, never on the wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It may pass: try again after a while.
    Retry,
    /// The user has to change something first (a flag, a credential, a permission).
    Fix,
    /// The disk is full: make room, and try again.
    MakeRoom,
    /// Something on disk is not as it should be: look before going on.
    Inspect,
    /// Nothing more can be trusted in this process: stop, and open again.
    Stop,
}

/// Whether people want to hear what libraries say.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// From now on, what libraries say stands behind what people are told.
pub fn tell_causes() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// An error for people: one sentence in plain words of what a library or the system said; any other error as it is. After
/// [`tell_causes`], the whole chain stands behind it.
pub fn plain(error: &(dyn Error + 'static)) -> String {
    let is_foreign =
        error.is::<io::Error>() || error.is::<reqwest::Error>() || error.is::<hyper::Error>() || words(error).is_some();
    if !is_foreign && !error.is::<ParquetError>() && !error.is::<ArrowError>() {
        // It has told its causes already.
        return error.to_string();
    }
    let causes = || iter::successors(Some(error), |error| cause(*error));
    let said = causes().find_map(words).unwrap_or_else(|| {
        // The innermost that is known says most; a client's own error only that there was one.
        let system = causes().filter_map(|error| error.downcast_ref::<io::Error>()).last();
        let of_network = causes().any(|error| error.is::<reqwest::Error>() || error.is::<hyper::Error>());
        match (system, of_network) {
            (Some(error), true) => network(error.kind()).to_owned(),
            // Without the system's number.
            (Some(error), false) => error.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
            (None, true) => "the connection broke, or what came is no HTTP".to_owned(),
            (None, false) => error.to_string(),
        }
    });
    if !VERBOSE.load(Ordering::Relaxed) {
        return said;
    }
    let mut chain: Vec<String> = causes().map(ToString::to_string).collect();
    chain.dedup();
    format!("{said} [{}]", chain.join(": "))
}

/// What is below an error. An I/O error hides what it wraps.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

/// What one error of a chain says, if it is one that says something plain.
fn words(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
        return Some(sqlite(error).to_owned());
    }
    if let Some(error) = error.downcast_ref::<ParquetError>() {
        return match error {
            // What the system refuses stands below.
            ParquetError::External(_) => None,
            ParquetError::EOF(_) => Some("it ends too early for a Parquet file".to_owned()),
            _ => Some("it is damaged, or no Parquet file".to_owned()),
        };
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return match error {
            ArrowError::IoError(..) | ArrowError::ExternalError(_) => None,
            ArrowError::MemoryError(_) => Some("there is not enough memory for its columns".to_owned()),
            _ => Some("its columns are damaged, or not what they should be".to_owned()),
        };
    }
    if let Some(error) = error.downcast_ref::<serde_json::Error>() {
        return Some(format!("no JSON as it should be, at line {}", error.line()));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls(error).to_owned());
    }
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        return Some("what came is no HTTP".to_owned());
    }
    let said = error.to_string();
    if said.starts_with("dns error") {
        return Some("the name of the host is not found, or no name server answers".to_owned());
    }
    said.starts_with("tunnel error").then(|| "the proxy lets nothing through to this host".to_owned())
}

fn sqlite(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds this database",
        Some(ErrorCode::DatabaseCorrupt) => "this database is damaged",
        Some(ErrorCode::NotADatabase) => "this is no database",
        Some(ErrorCode::SystemIoFailure) => "the disk fails to read or to write this database",
        Some(ErrorCode::ReadOnly) => "this database can only be read here",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "this database cannot be opened, or not what stands beside it"
        }
        Some(ErrorCode::OutOfMemory) => "there is not enough memory for this database",
        Some(ErrorCode::TooBig) => "something is too large for this database",
        _ => "this database is not as it should be",
    }
}

fn tls(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Cert;
    match error {
        rustls::Error::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. }) => {
            "its certificate has expired, or this machine's clock is wrong"
        }
        rustls::Error::InvalidCertificate(Cert::NotValidYet | Cert::NotValidYetContext { .. }) => {
            "its certificate is not valid yet, or this machine's clock is wrong"
        }
        rustls::Error::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. }) => {
            "its certificate is of another host"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate is not trusted on this machine",
        rustls::Error::AlertReceived(_) => "the other side refuses this TLS connection",
        rustls::Error::InvalidMessage(_) => "what came is no TLS",
        _ => "no TLS connection comes about",
    }
}

fn network(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "nobody answers at this address (connection refused)",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            "the other side broke the connection off"
        }
        ErrorKind::UnexpectedEof => "the connection ended in the middle of an answer",
        ErrorKind::TimedOut => "no answer in time",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown | ErrorKind::AddrNotAvailable => {
            "this machine has no way to the other side's network"
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => "what came is damaged, or no HTTP",
        _ => "the connection broke",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_say_is_told_in_plain_words_and_what_the_program_says_as_it_is() {
        let io = |kind, text: &str| io::Error::new(kind, text.to_owned());
        let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("malformed".to_owned()));
        let cases: [(Box<dyn Error>, &str); 9] = [
            (Box::new(io::Error::from_raw_os_error(28)), "No space left on device"),
            (Box::new(io(ErrorKind::InvalidData, "in our words")), "in our words"),
            (Box::new(io::Error::other(rustls::Error::DecryptError)), "no TLS connection comes about"),
            (Box::new(sqlite(rusqlite::ffi::SQLITE_CORRUPT)), "this database is damaged"),
            (Box::new(sqlite(rusqlite::ffi::SQLITE_IOERR_READ)), "the disk fails to read or to write this database"),
            (Box::new(ParquetError::General("Invalid: \u{1b}".to_owned())), "it is damaged, or no Parquet file"),
            (Box::new(ParquetError::External(Box::new(io::Error::from_raw_os_error(13)))), "Permission denied"),
            (Box::new(ArrowError::IpcError("Buffer 7".to_owned())), "its columns are damaged, or not what they should be"),
            (Box::new(serde_json::from_str::<u8>("x").unwrap_err()), "no JSON as it should be, at line 1"),
        ];
        for (error, said) in cases {
            assert_eq!(plain(&*error), said, "{error}");
        }
    }
}
