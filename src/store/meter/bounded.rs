//! Counts by a word that others choose: as many words as are wanted have a count of their own, all later ones share one.

use std::collections::BTreeMap;

/// What the shared count is called.
pub const OTHER: &str = "other";

/// Counts that no variety of words makes many. Who has a count keeps it, so that none ever falls.
#[derive(Debug, Clone)]
pub struct Bounded<const MOST: usize> {
    own: BTreeMap<String, u64>,
    other: u64,
}

impl<const MOST: usize> Default for Bounded<MOST> {
    fn default() -> Self {
        Self { own: BTreeMap::new(), other: 0 }
    }
}

impl<const MOST: usize> Bounded<MOST> {
    /// Adds to the count of a word.
    pub fn add(&mut self, word: &str, by: u64) {
        if let Some(count) = self.own.get_mut(word) {
            *count += by;
        } else if self.own.len() < MOST && word != OTHER {
            self.own.insert(word.to_owned(), by);
        } else {
            self.other += by;
        }
    }

    /// Words with their counts; the shared one last, if there is any.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let own = self.own.iter().map(|(word, count)| (word.as_str(), *count));
        own.chain(Some((OTHER, self.other)).filter(|(_, count)| *count > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beyond_the_bound_share_a_count_and_none_loses_its_own() {
        let mut counts = Bounded::<2>::default();
        for word in ["b", "other", "a", "c", "b", "d", "a"] {
            counts.add(word, 10);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("a", 20), ("b", 20), ("other", 30)]);
    }
}
