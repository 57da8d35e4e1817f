//! What devices are called where each has to be told from all others: one rule, and every surface asks it.
//!
//! A device is called by its name (its label `name`) where nobody else of the recording is called so. Where others are, a label
//! tells it apart, `Server room (2.14)`, the first in which all of that name differ: `room`, else in the order of their keys.
//! Where none does, the end of its id: `Server room (…8gg0)`. A device without a name is called by its id.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The label that tells devices of one name apart, if it can.
const ROOM: &str = "room";
/// Characters of an id at least.
const TAIL: usize = 4;

/// A device by its id, and its labels.
pub(super) type Labelled<'a> = (&'a str, &'a BTreeMap<String, String>);

/// What a device is called by people; none where it has no name.
fn given((_, labels): Labelled<'_>) -> Option<&str> {
    labels.get("name").map(String::as_str).filter(|name| !name.trim().is_empty())
}

/// The names of some devices, all of a recording, in their order: none is empty, and two are alike for one id alone, which stands
/// there twice.
pub(super) fn unique(devices: &[Labelled<'_>]) -> Vec<String> {
    let ids: HashSet<&str> = devices.iter().map(|(id, _)| *id).collect();
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, device) in devices.iter().enumerate() {
        if let Some(name) = given(*device) {
            by_name.entry(name).or_default().push(place);
        }
    }
    // What is put together must be nobody's id, and nobody's name.
    let mut taken: HashSet<String> = ids.iter().chain(by_name.keys()).map(|name| (*name).to_owned()).collect();
    let mut names: Vec<String> = devices.iter().map(|(id, _)| (*id).to_owned()).collect();
    for (name, places) in by_name {
        let alike: Vec<Labelled<'_>> = places.iter().map(|place| devices[*place]).collect();
        let of: BTreeSet<&str> = alike.iter().map(|(id, _)| *id).collect();
        let is_clear = of.len() == 1 && (!ids.contains(name) || of.contains(name));
        let told = if is_clear { Some(vec![name.to_owned(); alike.len()]) } else { told_apart(name, &alike, &taken) };
        // An id is clear whatever people call their devices.
        for (place, name) in places.iter().zip(told.into_iter().flatten()) {
            taken.insert(name.clone());
            names[*place] = name;
        }
    }
    names
}

/// Names of devices that share one, by a label or by their ids; none where others are called like that as well.
fn told_apart(name: &str, alike: &[Labelled<'_>], taken: &HashSet<String>) -> Option<Vec<String>> {
    let keys = alike.first().into_iter().flat_map(|(_, labels)| labels.keys().map(String::as_str));
    let keys = std::iter::once(ROOM).chain(keys.filter(|key| ![ROOM, "name"].contains(key)));
    let by_label = keys.filter_map(|key| {
        let of = |(_, labels): &Labelled<'_>| labels.get(key).filter(|value| !value.trim().is_empty()).cloned();
        alike.iter().map(of).collect::<Option<Vec<String>>>()
    });
    let longest = alike.iter().map(|(id, _)| id.chars().count()).max().unwrap_or_default();
    let by_id = (TAIL..=longest.max(TAIL)).map(|length| alike.iter().map(|(id, _)| tail(id, length)).collect());
    by_label.chain(by_id).find_map(|marks: Vec<String>| {
        // One device has one mark, or several where it stands in several projects; no two devices have one.
        let mut whose: HashMap<&str, &str> = HashMap::new();
        let differ = alike.iter().zip(&marks).all(|((id, _), mark)| whose.insert(mark, id).is_none_or(|other| other == *id));
        let names: Vec<String> = marks.iter().map(|mark| format!("{name} ({mark})")).collect();
        (differ && names.iter().all(|name| !taken.contains(name))).then_some(names)
    })
}

/// The last characters of an id: `…8gg0`; all of it, where that is no more.
fn tail(id: &str, length: usize) -> String {
    let skipped = id.chars().count().saturating_sub(length);
    let end: String = id.chars().skip(skipped).collect();
    if skipped == 0 { end } else { format!("…{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(devices: &[(&str, &[(&str, &str)])]) -> Vec<String> {
        let own = |labels: &[(&str, &str)]| labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let labels: Vec<BTreeMap<String, String>> = devices.iter().map(|(_, labels)| own(labels)).collect();
        unique(&devices.iter().map(|(id, _)| *id).zip(&labels).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_is_as_short_as_it_can_be_and_nobody_elses() {
        assert_eq!(names(&[("a1", &[("name", "Fridge")]), ("a2", &[]), ("a3", &[("name", " ")])]), ["Fridge", "a2", "a3"]);
        let of = |label: &'static str, value: &'static str| [("name", "Server room"), (label, value)];
        let (one, two) = (of("room", "2.14"), of("room", "3.01"));
        assert_eq!(names(&[("x1", &one), ("x2", &two)]), ["Server room (2.14)", "Server room (3.01)"]);
        // A room before all others, and only what all have.
        let (one, two) = ([("building", "A"), ("name", "S"), ("room", "1")], [("building", "B"), ("name", "S"), ("room", "2")]);
        assert_eq!(names(&[("x1", &one), ("x2", &two)]), ["S (1)", "S (2)"]);
        assert_eq!(
            names(&[("x1", &one), ("x2", &two), ("x3", &[("building", "C"), ("name", "S")])]),
            ["S (A)", "S (B)", "S (C)"]
        );
        let alike = of("room", "2.14");
        let ids = ["bjei0c6l0g2g00cg8gg0", "bjei0c6l0g2g00cg8gh0", "bjei0c6l0g2g00cx8gh0"];
        assert_eq!(names(&[(ids[0], &alike), (ids[1], &alike)]), ["Server room (…8gg0)", "Server room (…8gh0)"]);
        assert_eq!(
            names(&[(ids[0], &alike), (ids[1], &alike), (ids[2], &alike)]),
            ["Server room (…g8gg0)", "Server room (…g8gh0)", "Server room (…x8gh0)"]
        );
    }

    #[test]
    fn no_name_that_was_put_together_is_anothers_name_or_id() {
        let (fridge, room) = ([("name", "F")], [("name", "F"), ("room", "1")]);
        let found = names(&[("a", &fridge), ("b", &fridge), ("c", &[("name", "F (a)")])]);
        assert_eq!(found, ["a", "b", "F (a)"]);
        // A name that is another one's id, and one device in two projects.
        assert_eq!(names(&[("a", &[("name", "b")]), ("b", &[])]), ["b (a)", "b"]);
        assert_eq!(names(&[("a", &fridge), ("a", &room)]), ["F", "F"]);
        assert_eq!(names(&[("a", &room), ("a", &fridge), ("b", &fridge)]), ["F (a)", "F (a)", "F (b)"]);
    }
}
