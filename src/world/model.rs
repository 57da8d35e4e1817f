//! What a world must hold: the events whose commit came through, each once, and nothing that was never sent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Type, id and time tell an event from all others.
pub(super) type Key = (String, String, String);

/// The key of an event.
pub(super) fn key(event: &Value) -> Key {
    let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    (field("eventType"), field("eventId"), field("timestamp"))
}

/// What was sent in one commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) events: BTreeMap<Key, Value>,
    pub(super) faults: u64,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Must be there.
    kept: BTreeMap<Key, Value>,
    /// Commits of which nobody knows: all of one is there, or nothing.
    open: Vec<Sent>,
    /// How many faults are there at least and at most.
    faults: (u64, u64),
}

impl Model {
    /// A commit came through; so did earlier tries that were said to have failed.
    pub(super) fn kept(&mut self, sent: Sent, tries: u64) {
        self.faults.0 += sent.faults;
        self.faults.1 += sent.faults * (1 + tries);
        self.kept.extend(sent.events);
    }

    /// A commit failed, or the process died of it.
    pub(super) fn failed(&mut self, sent: Sent, tries: u64) {
        self.faults.1 += sent.faults * (1 + tries);
        self.open.push(sent);
    }

    /// Of some that were kept nobody knows any more whether they are there. Gives which ones.
    pub(super) fn doubt(&mut self, is_lost: impl Fn(&Key) -> bool) -> Vec<Key> {
        let (lost, kept): (BTreeMap<_, _>, _) = std::mem::take(&mut self.kept).into_iter().partition(|(key, _)| is_lost(key));
        self.kept = kept;
        let keys = lost.keys().cloned().collect();
        self.open.extend(lost.into_iter().map(|event| Sent { events: BTreeMap::from([event]), faults: 0 }));
        keys
    }

    /// Of faults nobody knows any more how many there are: some are gone, or so many more have come.
    pub(super) fn doubt_faults(&mut self, more: u64) {
        self.faults = (0, self.faults.1 + more);
    }

    /// True when an event is kept.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.kept.contains_key(key)
    }

    /// How many events are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Holds the model against what was read. Afterwards nothing is open: what is there has to stay.
    pub(super) fn check(&mut self, found: &[Value], faults: u64) -> Result<(), String> {
        let mut there = BTreeMap::new();
        for event in found {
            if there.insert(key(event), event).is_some() {
                return Err(format!("{:?} stands twice", key(event)));
            }
        }
        for (key, event) in &self.kept {
            match there.get(key) {
                None => return Err(format!("{key:?} was kept and is not there")),
                Some(found) if *found != event => return Err(format!("{key:?} was {event} and is {found}")),
                Some(_) => {}
            }
        }
        let open = std::mem::take(&mut self.open);
        for (key, found) in &there {
            if !self.kept.contains_key(key) && !open.iter().any(|sent| sent.events.get(key) == Some(found)) {
                return Err(format!("{found} is there and was not sent like this"));
            }
        }
        for (at, sent) in open.iter().enumerate() {
            let others = |key: &Key| {
                self.kept.contains_key(key)
                    || open.iter().enumerate().any(|(other, sent)| other != at && sent.events.contains_key(key))
            };
            let own: BTreeSet<bool> = sent.events.keys().filter(|key| !others(key)).map(|key| there.contains_key(key)).collect();
            if own.len() > 1 {
                return Err(format!("of one commit some is there and some is not: {:?}", sent.events.keys()));
            }
        }
        if faults < self.faults.0 || faults > self.faults.1 {
            return Err(format!("{faults} faults are there, {:?} were kept", self.faults));
        }
        self.faults = (faults, faults);
        for sent in open {
            self.kept.extend(sent.events.into_iter().filter(|(key, _)| there.contains_key(key)));
        }
        Ok(())
    }
}

#[test]
fn the_model_finds_what_is_missing_doubled_changed_torn_or_made_up() {
    let event = |id: &str, more: u32| serde_json::json!({"eventType": "t", "eventId": id, "timestamp": "x", "more": more});
    let sent = |ids: &[&str]| Sent { events: ids.iter().map(|id| (key(&event(id, 0)), event(id, 0))).collect(), faults: 1 };
    let check = |found: &[Value], faults: u64| {
        let mut model = Model::default();
        model.kept(sent(&["a"]), 0);
        model.failed(sent(&["b", "c"]), 0);
        model.check(found, faults).map(|()| model.len())
    };
    assert_eq!(check(&[event("a", 0)], 1), Ok(1));
    assert_eq!(check(&[event("a", 0), event("b", 0), event("c", 0)], 2), Ok(3));
    for (found, faults) in [
        (vec![], 1),
        (vec![event("a", 1)], 1),
        (vec![event("a", 0), event("a", 0)], 1),
        (vec![event("a", 0), event("b", 0)], 1),
        (vec![event("a", 0), event("d", 0)], 1),
        (vec![event("a", 0)], 0),
        (vec![event("a", 0)], 3),
    ] {
        assert!(check(&found, faults).is_err(), "{found:?}");
    }
}
