//! Admission: how much of what nobody expects a recording takes in.
//!
//! Each event type becomes a folder, each day of it a file, and both some memory. A sender that is broken or hostile names
//! types and days without end, so there is a bound, far beyond real use; what comes beyond it is kept raw, as a fault.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::time::{DAY, Day, Micros};

use super::{BUILT_IN, Schema};

/// Event types without a schema in one recording. The cloud has 19 in all.
const TYPES_MAX: usize = 1000;
/// Bytes of an event type's name.
const NAME_MAX: usize = 16 * 1024;
/// Partitions whose day is far from now: a clock that is wrong, or a new one that counts from 1970, makes a few.
const ODD_MAX: usize = 1000;
/// Partitions that one run of the program opens: ten years of every type of the cloud are 70,000.
const PARTITIONS_MAX: usize = 100_000;
/// 2000-01-01: no sensor is older.
const OLDEST: Day = Day(10_957);

/// Why an event is not taken in as one. Never quotes the event, so that a million of them are one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// One more type.
    #[error("the recording has {TYPES_MAX} event types without a schema already; give a schema file for this one")]
    Types,
    /// A type with an endless name.
    #[error("its event type has more than {NAME_MAX} bytes")]
    Name,
    /// A type that a file system without case cannot tell from another.
    #[error("its event type differs from another one only in the case of its letters")]
    Case,
    /// A day from which no event can be, and not the first such one.
    #[error("its time is far from now, and the recording has {ODD_MAX} such days already")]
    OddDay,
    /// One more partition.
    #[error("{PARTITIONS_MAX} days of event types have been opened already; start again to go on")]
    Partitions,
}

/// What has been let in. Shared by everything that collects events into one recording.
#[derive(Debug, Default)]
pub(super) struct Admission {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    types: HashMap<String, Arc<Schema>>,
    /// Names that stand for themselves in the file system, in lower case.
    plain: HashMap<String, String>,
    odd: HashSet<(Arc<str>, Day)>,
    opened: HashSet<(Arc<str>, Day)>,
}

impl Admission {
    /// A type that no file describes; `by_schema` are the names that files describe. `met`: the recording has it already.
    pub(super) fn event_type<'a>(
        &self,
        name: &str,
        by_schema: impl Iterator<Item = &'a str>,
        met: bool,
    ) -> Result<Arc<Schema>, LimitExceeded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = state.types.get(name) {
            return Ok(Arc::clone(schema));
        }
        let plain = is_plain(name).then(|| name.to_ascii_lowercase());
        if !met {
            let mut by_schema = by_schema;
            let taken = |lower: &String| {
                state.plain.contains_key(lower) || by_schema.any(|other| is_plain(other) && other.eq_ignore_ascii_case(lower))
            };
            match () {
                () if name.len() > NAME_MAX => return Err(LimitExceeded::Name),
                () if state.types.len() >= TYPES_MAX => return Err(LimitExceeded::Types),
                () if plain.as_ref().is_some_and(taken) => return Err(LimitExceeded::Case),
                () => {}
            }
        }
        let schema = Arc::new(Schema::unknown(name));
        state.plain.extend(plain.map(|lower| (lower, name.to_owned())));
        state.types.insert(name.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    /// A day of a type, `now` being when its event came. `met`: the recording has it already.
    pub(super) fn day(&self, event_type: &Arc<str>, day: Day, now: Micros, met: bool) -> Result<(), LimitExceeded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = (Arc::clone(event_type), day);
        if state.opened.contains(&partition) {
            return Ok(());
        }
        if (day < OLDEST || day > Day::of(now.saturating_add(366 * DAY))) && !state.odd.contains(&partition) {
            if state.odd.len() >= ODD_MAX && !met {
                return Err(LimitExceeded::OddDay);
            }
            state.odd.insert(partition.clone());
        }
        if met {
            return Ok(());
        }
        if state.opened.len() >= PARTITIONS_MAX {
            return Err(LimitExceeded::Partitions);
        }
        state.opened.insert(partition);
        Ok(())
    }
}

/// True when an event type can stand for itself as a file name beside all others that can: as event types are usually
/// written (`touch`, `networkStatus`), and not another spelling of a type that the cloud has. Which types those are must
/// never change, or folders that exist would change their names.
pub fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    let usual = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    usual && !BUILT_IN.iter().any(|(known, _)| known.eq_ignore_ascii_case(name) && *known != name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 20_000 * DAY;

    fn admit(admission: &Admission, name: &str) -> Result<Arc<Schema>, LimitExceeded> {
        admission.event_type(name, ["wind", "airQuality", "touch"].into_iter(), false)
    }

    #[test]
    fn a_recording_takes_in_a_thousand_types_without_a_schema_and_those_that_it_has() {
        let admission = Admission::default();
        admission.event_type("met before", std::iter::empty(), true).unwrap();
        for number in 1..TYPES_MAX {
            admit(&admission, &format!("type{number}")).unwrap();
        }
        assert_eq!(admit(&admission, "one more").unwrap_err(), LimitExceeded::Types);
        assert_eq!(admit(&admission, "type7").unwrap().name, "type7");
        assert_eq!(admission.event_type("met too", std::iter::empty(), true).unwrap().name, "met too");
        assert!(admit(&admission, "met too").is_ok());
    }

    #[test]
    fn of_two_spellings_of_a_plain_name_one_is_let_in() {
        let admission = Admission::default();
        assert_eq!(admit(&admission, "airquality").unwrap_err(), LimitExceeded::Case);
        admit(&admission, "heatIndex").unwrap();
        assert_eq!(admit(&admission, "heatindex").unwrap_err(), LimitExceeded::Case);
        // These are written otherwise in the file system.
        for name in ["HeatIndex", "Touch", "networkstatus", "heat index", "Wind"] {
            admit(&admission, name).unwrap();
        }
        assert_eq!(admit(&admission, &"x".repeat(NAME_MAX + 1)).unwrap_err(), LimitExceeded::Name);
    }

    #[test]
    fn days_far_from_now_are_few_and_days_at_all_are_bounded() {
        let (admission, name): (_, Arc<str>) = (Admission::default(), "touch".into());
        admission.day(&name, Day(0), NOW, true).unwrap();
        for day in 1..i32::try_from(ODD_MAX).unwrap() {
            admission.day(&name, Day(if day % 2 == 0 { day } else { 30_000 + day }), NOW, false).unwrap();
        }
        assert_eq!(admission.day(&name, Day(-5), NOW, false), Err(LimitExceeded::OddDay));
        assert_eq!(admission.day(&name, Day(2), NOW, false), Ok(()));
        let mut opened = ODD_MAX - 1;
        'all: for number in 0.. {
            let name: Arc<str> = format!("type{number}").into();
            for day in OLDEST.0..OLDEST.0 + 5000 {
                if opened == PARTITIONS_MAX {
                    assert_eq!(admission.day(&name, Day(day), NOW, false), Err(LimitExceeded::Partitions));
                    break 'all;
                }
                admission.day(&name, Day(day), NOW, false).unwrap();
                opened += 1;
            }
        }
    }
}
