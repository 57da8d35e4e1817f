//! Refusals as people are told of them: one line a class at once, then how many more there were, now and then.
//!
//! Counted by class, of which there are as many as this program has words for, and never by what a peer chose: so nobody can fill the
//! list and hide the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::text::printable;
use crate::base::time;

/// Refusals of one class are told at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Most characters of what differs between those of a class.
const DETAIL: usize = 200;

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Since then.
    more: u64,
    detail: String,
}

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<String, Told>>);

impl Refusals {
    /// Notes one; gives what is to be told now. `detail` is what differs between those of a class, if anything does.
    pub(super) fn note(&self, class: &str, detail: &str) -> Option<String> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, detail) = (time::instant(), printable(detail, DETAIL));
        if let Some(told) = classes.get_mut(class) {
            (told.more, told.detail) = (told.more + 1, detail);
            return told.due(class, now);
        }
        let said = line(class, &detail);
        classes.insert(class.to_owned(), Told { at: now, more: 0, detail });
        Some(said)
    }

    /// What is to be told meanwhile.
    pub(super) fn due(&self) -> Vec<String> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time::instant();
        classes.iter_mut().filter_map(|(class, told)| told.due(class, now)).collect()
    }
}

impl Told {
    fn due(&mut self, class: &str, now: Instant) -> Option<String> {
        if self.more == 0 || now.saturating_duration_since(self.at) < TELL_EVERY {
            return None;
        }
        let said = format!("{} ({} more in the last minute or so)", line(class, &self.detail), self.more);
        (self.at, self.more) = (now, 0);
        Some(said)
    }
}

fn line(class: &str, detail: &str) -> String {
    if detail.is_empty() { class.to_owned() } else { format!("{class}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_class_of_refusals_is_hidden_by_the_variety_of_another() {
        let refusals = Refusals::default();
        let told: Vec<String> = (0..1000).filter_map(|n| refusals.note("no TLS", &format!("alert\u{1b}{n}"))).collect();
        assert_eq!(told, ["no TLS: alert 0"]);
        assert_eq!(refusals.note("a push was refused", "").unwrap(), "a push was refused");
        assert_eq!(refusals.due(), [""; 0]);
        let before = time::instant().checked_sub(TELL_EVERY).unwrap();
        refusals.0.lock().unwrap().values_mut().for_each(|told| told.at = before);
        let due = refusals.due();
        assert_eq!(due, ["no TLS: alert 999 (999 more in the last minute or so)"]);
        assert_eq!(refusals.due(), [""; 0], "once");
    }
}
