//! Who ships: an id of its own for each recording on each disk, and a lease in the lake that one process has at a time.
//!
//! The id is of the file of the ledger as this disk numbers it, on this machine. A copy has another number, a restored recording has no
//! ledger, and both take new ids. A disk that was turned back has the same number: there the lease tells, since somebody has held it since.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::disk;
use crate::base::time::{Micros, Utc};

use super::ledger::{Ledger, Own};
use super::place::{Place, Put};
use super::{LakeError, Result};

/// Where leases stand in a lake.
pub(super) const LEASES: &str = "_recorders/";
/// No lease is longer, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Whoever renewed a lease within this time may well be at work.
const FRESH: Micros = 10 * 60 * 1_000_000;
/// So many tokens are remembered of processes that ended before the lake had theirs.
const TOKENS: usize = 64;
/// How often to try where others change it meanwhile.
const TRIES: usize = 4;

/// What stands in a lake about a recorder.
#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    recorder: String,
    token: String,
    host: String,
    /// In microseconds since 1970.
    at: Micros,
    /// The same for people.
    renewed: String,
}

/// Whether an id still is this recorder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// It is, and nobody else's.
    Yes,
    /// Somebody has shipped with it since, or the lake has lost it: it takes a new one.
    Lost,
}

/// Who ships a recording to a lake: as noted, or somebody new.
///
/// # Errors
/// When the ledger cannot be used.
pub(super) fn own(ledger: &mut Ledger, lake: &str, now: Micros) -> Result<Own> {
    let home = home(ledger);
    if let Some(mut own) = ledger.own()?.filter(|own| own.home == home && own.lake == lake) {
        own.tokens.push(random());
        own.tokens.drain(..own.tokens.len().saturating_sub(TOKENS));
        ledger.note(&own)?;
        return Ok(own);
    }
    begin(ledger, lake, now)
}

/// Begins anew, with an id that nobody had.
///
/// # Errors
/// When the ledger cannot be used.
pub(super) fn begin(ledger: &mut Ledger, lake: &str, now: Micros) -> Result<Own> {
    let tokens = vec![random()];
    let own = Own { id: random(), tokens, born: now, home: home(ledger), lake: lake.to_owned(), is_leased: false };
    ledger.begin(&own)?;
    Ok(own)
}

/// Takes the lease of an id, or renews it.
///
/// # Errors
/// When another process has it, when the lake does not answer.
pub(super) fn hold(place: &Place, ledger: &Ledger, own: &mut Own, now: Micros) -> Result<Held> {
    let name = format!("{LEASES}{}.json", own.id);
    let lease = Lease {
        recorder: own.id.clone(),
        token: own.tokens.last().cloned().unwrap_or_default(),
        host: host(),
        at: now,
        renewed: Utc(now).to_string(),
    };
    let lease = Bytes::from(serde_json::to_vec_pretty(&lease).unwrap_or_default());
    for _ in 0..TRIES {
        let Some(found) = place.get(&name, LONGEST)? else {
            if own.is_leased {
                return Ok(Held::Lost);
            }
            if place.put_new(&name, lease.clone())? == Put::Made {
                return held(ledger, own);
            }
            continue;
        };
        let there: Option<Lease> = serde_json::from_slice(&found.bytes).ok();
        match there {
            Some(there) if !own.tokens.contains(&there.token) => {
                if (there.at..there.at.saturating_add(FRESH)).contains(&now) {
                    return Err(LakeError::Held(format!(
                        "another process ships as this recorder ({}), on {}, last at {}: a copy of this disk, as it seems. Stop it; or remove the folder state/lake of this recording, which then takes an id of its own",
                        own.id,
                        crate::base::text::printable(&there.host, 60),
                        Utc(there.at)
                    )));
                }
                return Ok(Held::Lost);
            }
            // A lease that does not read is nobody's.
            _ => {}
        }
        if place.put_over(&name, lease.clone(), &found.version)? {
            return held(ledger, own);
        }
    }
    Err(LakeError::Crowded { table: name, tries: TRIES.try_into().unwrap_or(u32::MAX) })
}

/// The lease says this process's token, and no other can be there.
fn held(ledger: &Ledger, own: &mut Own) -> Result<Held> {
    own.is_leased = true;
    own.tokens.drain(..own.tokens.len().saturating_sub(1));
    ledger.note(own)?;
    Ok(Held::Yes)
}

fn random() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The disk's number of the ledger, and the machine, as far as they are told.
fn home(ledger: &Ledger) -> String {
    let number = ledger.path().symlink_metadata().ok().map_or(0, |about| number(&about));
    let machine = disk::read_text(std::path::Path::new("/etc/machine-id"), LONGEST).unwrap_or_default();
    format!("{number} {}", machine.trim())
}

#[cfg(unix)]
fn number(about: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn number(_about: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
