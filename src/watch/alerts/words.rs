//! What is told, in words.

use crate::base::text::{count, counted, measured, printable};
use crate::base::time::Micros;
use crate::base::zone::Zone;
use crate::model::settings::{Rule, When};

use super::decide::Subject;

/// So many are told by name.
const NAMED: usize = 3;

/// What became so, or is so no more, of one subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) subject: Subject,
    /// What people call it.
    pub(super) name: String,
    pub(super) since: Micros,
    pub(super) at: Micros,
    pub(super) value: Option<f64>,
    pub(super) why: Option<String>,
}

/// How a message says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Raised,
    Cleared,
    Still,
}

/// A sentence of some subjects of an alert.
pub(super) fn sentence(rule: &Rule, unit: &str, tone: Tone, items: &[Item], zone: &Zone) -> String {
    let clock = |time: Micros| if time <= 0 { "nobody knows when".to_owned() } else { zone.format(time, "%Y-%m-%d %H:%M") };
    let number = |value: f64| if unit.is_empty() { measured(value) } else { format!("{} {unit}", measured(value)) };
    let limit = rule.value.map(number).unwrap_or_default();
    let [item] = items else { return several(rule, &limit, tone, items) };
    let (name, since) = (printable(&item.name, 60), clock(item.since));
    let why =
        item.why.as_deref().filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(": {}", printable(why, 200)));
    let value = item.value.map_or_else(|| "no value".to_owned(), number);
    let still = if tone == Tone::Still { "still " } else { "" };
    match (rule.when, tone) {
        (When::Above | When::Below, Tone::Cleared) => format!("{name}: {value}, was {} {limit} since {since}", rule.when.name()),
        (When::Above | When::Below, _) => format!("{name}: {value}, {still}{} {limit} since {since}", rule.when.name()),
        (When::Battery, Tone::Cleared) => format!("{name}: battery {value} again"),
        (When::Battery, _) => format!("{name}: battery {still}{value}"),
        (When::Silent, Tone::Cleared) if item.since <= 0 => format!("{name}: heard"),
        (When::Silent, Tone::Cleared) => format!("{name}: heard again, was silent since {since}"),
        (When::Silent, _) if item.since <= 0 => format!("{name}: {still}not heard"),
        (When::Silent, _) => format!("{name}: {still}silent since {since}"),
        (When::Recorder, Tone::Cleared) => format!("{name}: recorder heard again, was silent since {since}"),
        (When::Recorder, _) => format!("{name}: recorder {still}silent since {since}{why}"),
        (When::Gap, Tone::Cleared) => format!("{name}: the gap since {since} is filled"),
        (When::Gap, _) => format!("{name}: {still}a gap since {since}{why}"),
        (When::Disk, Tone::Cleared) => format!("disk: {value} free again"),
        (When::Disk, _) => format!("disk: {still}only {value} free"),
        (When::Backup, Tone::Cleared) => "backup: there is a good one again".to_owned(),
        (When::Backup, _) => format!("backup: {still}none since {since}"),
    }
}

fn several(rule: &Rule, limit: &str, tone: Tone, items: &[Item]) -> String {
    let things = counted(items.len() as u64, if rule.when.is_of_devices() { "device" } else { "project" });
    let what = match (rule.when, tone) {
        (When::Above | When::Below, Tone::Cleared) => format!("no longer {} {limit}", rule.when.name()),
        (When::Above | When::Below, _) => format!("{} {limit}", rule.when.name()),
        (When::Battery, Tone::Cleared) => "with a good battery again".to_owned(),
        (When::Battery, _) => "with a low battery".to_owned(),
        (When::Silent | When::Recorder, Tone::Cleared) => "heard again".to_owned(),
        (When::Silent, _) => "silent".to_owned(),
        (When::Recorder, _) => "without a recorder".to_owned(),
        (When::Gap, Tone::Cleared) => "without a gap again".to_owned(),
        (When::Gap, _) => "with a gap".to_owned(),
        (When::Disk | When::Backup, Tone::Cleared) => "well again".to_owned(),
        (When::Disk | When::Backup, _) => "in need".to_owned(),
    };
    let still = if tone == Tone::Still { "still " } else { "" };
    format!("{things} {still}{what}: {}", named(items))
}

/// `A, B, C and 34 more`
fn named(items: &[Item]) -> String {
    let names: Vec<String> = items.iter().take(NAMED).map(|item| printable(&item.name, 60)).collect();
    match items.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), count(more as u64)),
    }
}
