//! Which events: the flags that reading verbs share, and what they come to in a recording.

use std::collections::{BTreeSet, HashSet};

use crate::base::text::{self, printable};
use crate::base::time::{self, Micros};
use crate::base::zone::Zone;
use crate::query::reader::{Reader, Selection};
use crate::store::devices::Directory;

use super::Failure;
use super::clock::Tz;
use super::when::{When, since, when};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
    /// Only events of this type; may be given several times
    #[arg(long, value_name = "T")]
    event_type: Vec<String>,
    /// Only events of this device, by its id or its name; may be given several times
    #[arg(long, value_name = "ID|NAME")]
    device: Vec<String>,
    /// Only devices of this type, such as temperature or ccon; may be given several times
    #[arg(long, value_name = "T")]
    device_type: Vec<String>,
    /// Only devices with this label, or with this value of it; may be given several times (all must hold)
    #[arg(long, value_name = "K[=V]")]
    label: Vec<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Select {
    #[command(flatten)]
    which: Which,
    /// From this time on: 2026-11-23, "2026-11-23 18:00", 2026-11-23T18:00:00+01:00, today, "yesterday 18:00", 07:00, 7am or -12h
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true, conflicts_with = "since")]
    start: Option<When>,
    /// Up to this time, exclusive; 07:00 alone is the first one behind --start
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    end: Option<When>,
    /// The last so long, such as 12h; or as --start
    #[arg(long, value_name = "TIME", value_parser = since, allow_hyphen_values = true)]
    since: Option<When>,
    #[command(flatten)]
    tz: Tz,
}

impl Select {
    /// The zone that times are meant in, and shown in: what goes to a terminal shows those of this machine.
    pub(super) fn zone(&self, to_terminal: bool) -> Zone {
        self.tz.clock(to_terminal, &[self.start, self.end, self.since]).zone
    }

    /// What the flags come to in a recording.
    ///
    /// # Errors
    /// When no device is like that, or nothing can lie between the times.
    pub(super) fn selection(&self, reader: &Reader, directory: &Directory, zone: &Zone) -> Result<Selection, Failure> {
        let now = time::now();
        let start = self.since.or(self.start).map(|start| start.moment(zone, now));
        let end = self.end.map(|end| match start {
            Some(start) => end.behind(start, zone, now),
            None => end.moment(zone, now),
        });
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            return Err(Failure::usage("--start lies behind --end; nothing can be in between"));
        }
        self.which.selection(reader, directory, (start, end))
    }
}

impl Which {
    /// The event types that were asked for.
    pub(super) fn event_types(&self) -> &[String] {
        &self.event_type
    }

    /// What the flags come to in a recording, within a span of time.
    ///
    /// # Errors
    /// When no device is like that.
    pub(super) fn selection(
        &self,
        reader: &Reader,
        directory: &Directory,
        (start, end): (Option<Micros>, Option<Micros>),
    ) -> Result<Selection, Failure> {
        let all = Selection { event_types: self.event_type.clone(), devices: HashSet::new(), start, end };
        Ok(Selection { devices: self.devices(reader, directory, &all)?, ..all })
    }

    /// Ids of the devices that were asked for, within what else was; none: all.
    fn devices(&self, reader: &Reader, directory: &Directory, within: &Selection) -> Result<HashSet<String>, Failure> {
        if self.device.is_empty() && self.device_type.is_empty() && self.label.is_empty() {
            return Ok(HashSet::new());
        }
        // An id that the directory does not know may stand in the events all the same.
        let mut ids: HashSet<String> = self.device.iter().filter(|wanted| directory.get(wanted).is_none()).cloned().collect();
        refuse_strangers(&ids, reader, directory, within)?;
        let labels: Vec<(&str, Option<&str>)> = self
            .label
            .iter()
            .map(|label| label.split_once('=').map_or((label.as_str(), None), |(key, value)| (key, Some(value))))
            .collect();
        if !self.device_type.is_empty() || !labels.is_empty() {
            ids.clear();
        }
        let kinds: BTreeSet<&str> = directory.iter().map(|(_, known)| &*known.kind).filter(|kind| !kind.is_empty()).collect();
        if let Some(kind) = self.device_type.iter().find(|kind| !kinds.contains(kind.as_str())) {
            return Err(nobody(&format!("is of type {kind:?}"), kind, &kinds));
        }
        for (key, value) in &labels {
            refuse_label(key, *value, directory)?;
        }
        for (id, known) in directory.iter() {
            let is_named = self.device.is_empty()
                || self.device.iter().any(|wanted| [id, &known.name, &known.called].contains(&wanted.as_str()));
            let is_of_type = self.device_type.is_empty() || self.device_type.contains(&known.kind);
            let has = |(key, value): &(&str, Option<&str>)| {
                known.labels.get(*key).is_some_and(|found| value.is_none_or(|value| value == found))
            };
            if is_named && is_of_type && labels.iter().all(has) {
                ids.insert(id.to_owned());
            }
        }
        if ids.is_empty() {
            let what = "no device of the recording is all of that together: what --device, --device-type and --label ask for";
            return Err(Failure::failed(what));
        }
        Ok(ids)
    }
}

/// No device is like that: an error with what may have been meant, or what there is.
fn nobody<'n>(is_like: &str, word: &str, known: impl IntoIterator<Item = &'n &'n str>) -> Failure {
    let known: Vec<String> = known.into_iter().filter(|name| !name.is_empty()).map(|name| printable(name, 100)).collect();
    Failure::failed(format!("no device of the recording {is_like}; {}", text::instead(word, &known)))
}

/// Refuses names that neither a device of the directory nor any event has.
fn refuse_strangers(names: &HashSet<String>, reader: &Reader, directory: &Directory, within: &Selection) -> Result<(), Failure> {
    /// Ids that are looked through for what somebody may have meant.
    const MOST: usize = 100_000;
    let mut known: BTreeSet<&str> = directory.iter().map(|(_, known)| known.name.as_str()).collect();
    let is_known = |name: &&str| known.contains(name) || directory.iter().any(|(_, known)| known.called == *name);
    let mut strangers: HashSet<&str> = names.iter().map(String::as_str).filter(|name| !is_known(name)).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    // What does not read may be about them; whoever reads it says what is wrong with it.
    let Ok(met) = reader.find_devices(&mut strangers, within, MOST) else { return Ok(()) };
    if !reader.left_out().is_empty() {
        return Ok(());
    }
    let Some(stranger) = strangers.iter().min() else { return Ok(()) };
    let ids: Vec<&str> = met.iter().map(String::as_str).chain(directory.iter().map(|(id, _)| id)).collect();
    match text::nearest(stranger, &ids) {
        Some(id) => known = BTreeSet::from([id]),
        // Of those there are, names say more to people; ids where there is none.
        None => known.extend(ids.iter().filter(|id| directory.get(id).is_none())),
    }
    Err(nobody(&format!("is called {stranger:?}, by its id or its name"), stranger, &known))
}

/// Refuses a label that no device has, and a value of it.
fn refuse_label(key: &str, value: Option<&str>, directory: &Directory) -> Result<(), Failure> {
    let values: BTreeSet<&str> = directory.iter().filter_map(|(_, known)| known.labels.get(key)).map(String::as_str).collect();
    match value {
        _ if values.is_empty() => Err(nobody(&format!("has the label {key:?}"), key, &labels(directory))),
        Some(value) if !values.contains(value) => {
            Err(nobody(&format!("has the label {:?}", format!("{key}={value}")), value, &values))
        }
        _ => Ok(()),
    }
}

/// Labels that any device has.
pub(super) fn labels(directory: &Directory) -> BTreeSet<&str> {
    directory.iter().flat_map(|(_, known)| known.labels.keys()).map(String::as_str).collect()
}

/// Why a selection has no events.
pub(super) fn why_empty(reader: &Reader) -> Result<String, Failure> {
    let plans = reader.plan(&Selection::default())?;
    let all: u64 = plans.iter().map(|plan| plan.events).sum();
    let days = plans.iter().flat_map(|plan| plan.partitions.iter().map(|partition| partition.day));
    Ok(match (all, days.clone().min().zip(days.max())) {
        (1.., Some((first, last))) => {
            let span = if first == last { format!("on {first}") } else { format!("from {first} to {last}") };
            format!("the recording has {} {span} (UTC), none of them in this selection", text::counted(all, "event"))
        }
        _ => "the recording is empty so far".to_owned(),
    })
}
