//! What is new: the rows of a day file that were not shipped.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::disk::{self, DiskError};
use crate::base::time::Day;
use crate::model::schema::Schema;
use crate::store::archive::{DayFile, Merge, Run, Wanted};

use super::kernel::{Part, Table};
use super::ledger::Shipped;
use super::place::Place;
use super::{Result, parts};

/// So many bytes of a file that ended there are enough to know it by: its footer says where all of its pages are, and what is in them.
const END: u64 = 4 * 1024;
/// So many files of a lake are read side by side.
const SIDE_BY_SIDE: usize = 32;

/// What there is to hold a day file against.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// Nothing of this day was ever shipped from here.
    Nothing,
    /// It was shipped when it was this.
    Then(&'a Shipped, DayFile),
    /// What the lake has of the day.
    Lake(&'a Place, &'a Table<'a>, Vec<Part>),
}

/// The rows of a day file that are new, in order; `scratch` is a folder for files of the lake, emptied before.
///
/// # Errors
/// When a file does not read, when the lake does not answer.
pub(super) fn new_rows(file: &DayFile, schema: &Arc<Schema>, known: &Known<'_>, scratch: &Path) -> Result<Run> {
    let all = || -> Result<Run> { Ok(Box::new(Merge::new(file.runs(&groups(file), schema)?))) };
    match known {
        Known::Nothing => all(),
        Known::Then(shipped, then) => {
            if let Some(groups) = since(file, shipped, then)? {
                return Ok(Box::new(Merge::new(file.runs(&groups, schema)?)));
            }
            let columns = key_columns(schema);
            let wanted = Wanted { columns: Some(&columns), devices: &HashSet::new() };
            Ok(parts::without(all()?, Merge::new(then.runs_of(&groups(then), schema, &wanted)?)))
        }
        Known::Lake(.., there) if there.is_empty() => all(),
        Known::Lake(place, table, there) => Ok(parts::without(all()?, lake_keys(place, table, there, scratch)?)),
    }
}

fn groups(file: &DayFile) -> Vec<usize> {
    (0..file.groups()).collect()
}

/// The row groups that have come since a file was shipped, where it only grew; none where it was written anew.
fn since(file: &DayFile, shipped: &Shipped, then: &DayFile) -> Result<Option<Vec<usize>>> {
    let Some(groups) = file.groups_since(shipped.bytes, shipped.rows) else { return Ok(None) };
    let same = file.bytes() >= shipped.bytes
        && then.bytes() == shipped.bytes
        && end(file.path(), shipped.bytes)? == end(then.path(), shipped.bytes)?;
    Ok(same.then_some(groups))
}

/// What stands in a file before an offset.
fn end(path: &Path, offset: u64) -> Result<Vec<u8>> {
    let fail = |error| DiskError::new("read", path, error);
    let mut file: File = disk::open(path)?;
    let length = END.min(offset);
    file.seek(SeekFrom::Start(offset - length)).map_err(fail)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn key_columns(schema: &Schema) -> Vec<usize> {
    let names = schema.arrow().fields().iter().map(|field| field.name().as_str());
    names.enumerate().filter(|(_, name)| matches!(*name, "time" | "event_id")).map(|(at, _)| at).collect()
}

/// The keys of all rows of some files of the lake, in order. However many files there are, a bounded number is open at a time.
fn lake_keys(place: &Place, table: &Table<'_>, there: &[Part], scratch: &Path) -> Result<Merge> {
    disk::create_dir_anywhere(scratch)?;
    let columns = parts::keys();
    let mut files: Vec<PathBuf> = Vec::new();
    for (at, part) in there.iter().enumerate() {
        let file = scratch.join(format!("there-{at}.parquet"));
        disk::remove(&file)?;
        place.fetch(&table.inside(&part.path), &file)?;
        files.push(file);
        if files.len() >= SIDE_BY_SIDE {
            let joined = Merge::new(files.iter().map(|file| parts::rows(file, &columns)).collect::<Result<_>>()?);
            let written = parts::write(Box::new(joined), &columns, scratch, &format!("keys-{at}"))?;
            files.drain(..).try_for_each(|file| disk::remove(&file))?;
            files.extend(written.into_iter().map(|written| written.file));
        }
    }
    Ok(Merge::new(files.iter().map(|file| parts::rows(file, &columns)).collect::<Result<_>>()?))
}

/// True when rows of a day may have been shipped by whom this recording was before: up to the day after the id was made, since
/// clocks differ.
pub(super) fn may_be_there(day: Day, born: crate::base::time::Micros) -> bool {
    day <= Day(Day::of(born).0 + 1)
}
