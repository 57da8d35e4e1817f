//! How a schema may change: columns are added, nothing else. So old day files and new ones read by one schema for ever.

use super::{Column, Schema};

/// A schema under which rows of another one would not read, or would read otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the schema of event type {event_type:?} does not go on from the one that the recording has: {what}. Rows are kept by it already: \
     keep what it has and only add columns, with a higher version; or begin another recording with --dir"
)]
pub struct Misgrown {
    event_type: String,
    what: String,
}

impl Schema {
    /// Whether rows of another schema of this type read by this one as they did by it.
    ///
    /// # Errors
    /// What does not go on.
    pub fn grows_from(&self, old: &Self) -> Result<(), Misgrown> {
        let what = || {
            if self.version < old.version {
                return Err(format!("it is version {}, and version {} was there", self.version, old.version));
            }
            let (mine, its) = (&self.envelope, &old.envelope);
            let places = [
                ("id", mine.id == its.id),
                ("device", mine.device == its.device),
                ("time", mine.time == its.time),
                ("time_format or zone", mine.when == its.when),
                ("type", (&mine.event_type, &mine.type_is, mine.says_type) == (&its.event_type, &its.type_is, its.says_type)),
                ("implied", mine.implied == its.implied),
            ];
            if let Some((place, _)) = places.iter().find(|(_, is_same)| !is_same) {
                return Err(format!("{place} of [event] is another one"));
            }
            columns("column", &self.columns, &old.columns)?;
            if self.columns.len() > old.columns.len() && self.version == old.version {
                return Err(format!("it has more columns, and is version {} still", self.version));
            }
            Ok(())
        };
        what().map_err(|what| Misgrown { event_type: self.name.clone(), what })
    }
}

fn columns(word: &str, new: &[Column], old: &[Column]) -> Result<(), String> {
    for was in old {
        let name = &was.name;
        let Some(is) = new.iter().find(|column| column.name == *name) else {
            return Err(format!("{word} {name:?} is gone"));
        };
        if is.kind != was.kind {
            return Err(format!("{word} {name:?} was {}, and is {}", was.kind.name(), is.kind.name()));
        }
        if is.pointer != was.pointer {
            return Err(format!("{word} {name:?} stood at {}, and stands at {}", was.pointer, is.pointer));
        }
        if is.unit != was.unit {
            let unit = |column: &Column| column.unit.clone().unwrap_or_default();
            return Err(format!("{word} {name:?} was in {}, and is in {}", unit(was), unit(is)));
        }
        if was.is_plain_list() != is.is_plain_list() {
            return Err(format!("{word} {name:?} has other items"));
        }
        columns(&format!("item of column {name:?}"), &is.items, &was.items)?;
    }
    Ok(())
}
