//! Whether a store is fit to be a lake: `overnight lake init` asks it, since some take a request to put only where nothing is, and put
//! anyway. There two recorders would commit the same number, and one of them would be gone without a word.

use std::thread;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::time::{Micros, Utc};

use super::kernel::Table;
use super::place::{Place, Put};
use super::{LakeError, Result};

/// What stands in a lake that was made.
const MARK: &str = "_overnight/lake.json";
/// Its format.
const FORMAT: u32 = 1;
/// No mark is longer, in bytes.
const LONGEST: u64 = 64 * 1024;
/// So many put the same name at once.
const WRITERS: u64 = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    made: String,
}

/// What `init` found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The lake.
    pub lake: String,
    /// It was made just now.
    pub is_new: bool,
    /// Its tables, and their versions.
    pub tables: Vec<(String, u64)>,
}

/// Makes a lake, or checks one that is there: asks the store for what a lake needs, and reads each table's log.
///
/// # Errors
/// When the store is not fit, refuses or does not answer; when a table does not read.
pub fn init(place: &Place, now: Micros) -> Result<Checked> {
    ask(place)?;
    let mark = Mark { format: FORMAT, made: Utc(now).to_string() };
    let put = place.put_new(MARK, Bytes::from(serde_json::to_vec_pretty(&mark).unwrap_or_default()))?;
    require(place)?;
    let tables = tables(place)?.iter().map(|table| (table.name().to_owned(), table.version())).collect();
    Ok(Checked { lake: place.shown(), is_new: put == Put::Made, tables })
}

/// The tables of a lake, by name.
pub(super) fn tables(place: &Place) -> Result<Vec<Table<'_>>> {
    let names = place.folders()?.into_iter().filter(|name| !name.starts_with('_'));
    names.filter_map(|name| Table::open(place, &name).transpose()).collect()
}

/// That somebody made a lake here, and that this program knows its format.
///
/// # Errors
/// When not, or when the store does not answer.
pub(super) fn require(place: &Place) -> Result<()> {
    let Some(found) = place.get(MARK, LONGEST)? else { return Err(LakeError::Missing(place.shown())) };
    match serde_json::from_slice::<Mark>(&found.bytes) {
        Ok(mark) if mark.format <= FORMAT => Ok(()),
        Ok(mark) => Err(LakeError::Strange {
            what: format!(
                "{} has format {}, this program knows up to {FORMAT}; use a newer overnight",
                place.shown(),
                mark.format
            ),
        }),
        Err(_) => Err(LakeError::Strange { what: format!("{}{MARK} does not read as overnight writes it", place.shown()) }),
    }
}

/// Asks the store for what a lake needs.
fn ask(place: &Place) -> Result<()> {
    let name = format!("_overnight/probe-{:016x}", fastrand::u64(..));
    let asked = of_name(place, &name);
    let tidied = place.delete(&name);
    asked.and(tidied)
}

fn of_name(place: &Place, name: &str) -> Result<()> {
    let unfit = |what: &str| LakeError::Unfit { place: place.shown(), what: what.to_owned() };
    let bytes = |writer: u64| Bytes::from(writer.to_string());
    let puts: Vec<Result<Put>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || place.put_new(name, bytes(writer)))).collect();
        let died = || LakeError::System { what: "run a thread", source: std::io::Error::other("it died") };
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| Err(died()))).collect()
    });
    let puts = puts.into_iter().collect::<Result<Vec<Put>>>()?;
    let found = place.get(name, LONGEST)?.ok_or_else(|| unfit("it has lost what was just put"))?;
    let made: Vec<u64> = (0..).zip(&puts).filter(|(_, put)| **put == Put::Made).map(|(writer, _)| writer).collect();
    // An answer that was lost makes a winner look like one who came second.
    if made.len() > 1 || made.first().is_some_and(|winner| found.bytes != bytes(*winner)) {
        return Err(unfit("of eight that put one name where nothing was, more than one was told that it did"));
    }
    if place.put_new(name, bytes(WRITERS))? == Put::Made {
        return Err(unfit("it puts where something is, though it was asked not to"));
    }
    if !place.put_over(name, bytes(WRITERS + 1), &found.version)? {
        return Err(unfit("it does not know the version that it just told"));
    }
    // A directory has no versions: its recorders are on one machine, where a file is locked.
    if !place.is_directory() && place.put_over(name, bytes(WRITERS + 2), &found.version)? {
        return Err(unfit("it puts over another version than the one it was asked to"));
    }
    let listed = place.list("_overnight/")?;
    if !listed.iter().any(|(listed, ..)| listed == name) {
        return Err(unfit("it does not list what was just put"));
    }
    Ok(())
}
