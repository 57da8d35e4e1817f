//! Refusals as people are told of them: one line a class at once, then how many more there were, now and then.
//!
//! Counted by class and never by what a peer chose, so that nobody can fill the list and hide the others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::text::printable;
use crate::base::time;
use crate::cloud::push::SignatureError;

/// Refusals of one class are told at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Most characters of what differs between those of a class.
const DETAIL: usize = 200;

/// A class of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A push that is not believed.
    SignatureError(SignatureError),
    /// A push that is refused for another reason.
    Push(&'static str),
    /// A connection that is closed or not taken.
    Connection(&'static str),
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignatureError(why) => write!(out, "a push was refused: {why}"),
            Self::Push(why) => write!(out, "a push was refused: {why}"),
            Self::Connection(why) => write!(out, "a connection was closed: {why}"),
        }
    }
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Since then.
    more: u64,
    detail: String,
}

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Class, Told>>);

impl Refusals {
    /// Notes one; gives what is to be told now. `detail` is what differs between those of a class, if anything does.
    pub(super) fn note(&self, class: Class, detail: &str) -> Option<String> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, detail) = (time::instant(), printable(detail, DETAIL));
        if let Some(told) = classes.get_mut(&class) {
            (told.more, told.detail) = (told.more + 1, detail);
            return told.due(class, now);
        }
        let said = line(class, &detail);
        classes.insert(class, Told { at: now, more: 0, detail });
        Some(said)
    }

    /// What is to be told meanwhile.
    pub(super) fn due(&self) -> Vec<String> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time::instant();
        classes.iter_mut().filter_map(|(class, told)| told.due(*class, now)).collect()
    }
}

impl Told {
    fn due(&mut self, class: Class, now: Instant) -> Option<String> {
        if self.more == 0 || now.saturating_duration_since(self.at) < TELL_EVERY {
            return None;
        }
        let said = format!("{} ({} more in the last minute or so)", line(class, &self.detail), self.more);
        (self.at, self.more) = (now, 0);
        Some(said)
    }
}

fn line(class: Class, detail: &str) -> String {
    if detail.is_empty() { class.to_string() } else { format!("{class}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_class_of_refusals_is_hidden_by_the_variety_of_another() {
        let refusals = Refusals::default();
        let told: Vec<String> =
            (0..1000).filter_map(|n| refusals.note(Class::Connection("no TLS"), &format!("alert\u{1b}{n}"))).collect();
        assert_eq!(told, ["a connection was closed: no TLS: alert 0"]);
        let forged = refusals.note(Class::SignatureError(SignatureError::Forged), "").unwrap();
        assert!(forged.contains("another secret"), "{forged}");
        assert_eq!(refusals.due(), [""; 0]);
        let before = time::instant().checked_sub(TELL_EVERY).unwrap();
        refusals.0.lock().unwrap().values_mut().for_each(|told| told.at = before);
        let due = refusals.due();
        assert_eq!(due, ["a connection was closed: no TLS: alert 999 (999 more in the last minute or so)"]);
        assert_eq!(refusals.due(), [""; 0], "once");
    }
}
