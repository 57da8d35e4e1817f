//! What was measured, quantity by quantity: by room, as charts, and the numbers of each chart as a table.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use crate::base::text::{count, counted};
use crate::output::chart::{Chart, Data, Line};
use crate::output::web::numbers::{ends, in_states, lines_of, states, table, unit};
use crate::output::web::words::{Clock, number};

use super::charts::Picture;
use super::facts::Facts;

/// Most rooms in a table.
const ROOMS: usize = 40;

/// Where on the page a quantity stands.
pub(super) fn anchor(picture: &Picture) -> String {
    let letters = picture.title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("value-{}", letters.collect::<String>())
}

/// `relativeHumidity` as a heading: `Relative humidity`.
pub(super) fn heading(title: &str) -> String {
    let mut out = String::new();
    for c in title.chars() {
        if c.is_ascii_uppercase() && out.ends_with(|last: char| last.is_ascii_lowercase()) {
            out.push(' ');
            out.push(c.to_ascii_lowercase());
        } else if out.is_empty() {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    if title == "co2" { "CO₂".to_owned() } else { out }
}

/// Quantities one after the other.
pub(super) fn quantities<'p>(pictures: impl Iterator<Item = &'p Picture>, facts: &Facts, clock: &Clock) -> Markup {
    html! {
        @for picture in pictures {
            h3 id=(anchor(picture)) { (heading(&picture.title)) }
            @let charts = || picture.charts.iter().map(|(chart, ..)| chart);
            p.hint { (describe(picture, facts)) }
            (rooms(charts))
            @if !picture.note.is_empty() { p.hint { (picture.note) } }
            @for (chart, wide, narrow) in &picture.charts {
                figure {
                    // Both are SVG that `chart` wrote and escaped.
                    div.wide { (PreEscaped(wide)) }
                    div.narrow { (PreEscaped(narrow)) }
                    details {
                        summary { "The numbers of this chart" }
                        (table(chart, clock, |line| events_of(facts, &chart.title, line)))
                    }
                }
            }
        }
    }
}

fn events_of(facts: &Facts, event_type: &str, line: &Line) -> u64 {
    let device = facts.devices.iter().find(|device| device.id == line.device);
    device.and_then(|device| device.events_by_type.get(event_type)).copied().unwrap_or_default()
}

/// How many devices say it.
fn describe(picture: &Picture, facts: &Facts) -> String {
    let lines: usize = picture.charts.iter().map(|(chart, ..)| chart.lines.len()).sum();
    let kind = facts.types.iter().find(|kind| kind.event_type == picture.title);
    let said = kind.map(|kind| format!(" {}", kind.description)).unwrap_or_default();
    if picture.note.is_empty() { format!("{}.{said}", counted(lines as u64, "device")) } else { said.trim().to_owned() }
}

/// What a room shows.
#[derive(Default)]
struct Room<'c> {
    devices: usize,
    least: Option<(f64, &'c str)>,
    greatest: Option<(f64, &'c str)>,
    states: BTreeMap<&'c str, f64>,
}

/// The least and the greatest of each room, or its time in each state: no mean, since a freezer and a boiler have none.
fn rooms<'c, C: Iterator<Item = &'c Chart>>(charts: impl Fn() -> C) -> Markup {
    let mut rooms: BTreeMap<&str, Room<'_>> = BTreeMap::new();
    for line in charts().flat_map(|chart| &chart.lines) {
        let room = rooms.entry(&line.room).or_default();
        room.devices += 1;
        if let Some((least, greatest)) = ends(line) {
            if room.least.is_none_or(|(value, _)| least < value) {
                room.least = Some((least, &line.name));
            }
            if room.greatest.is_none_or(|(value, _)| greatest > value) {
                room.greatest = Some((greatest, &line.name));
            }
        }
        for (state, seconds) in in_states(line) {
            *room.states.entry(state).or_default() += seconds;
        }
    }
    let devices: usize = rooms.values().map(|room| room.devices).sum();
    let is_told = rooms.len() < 2 || rooms.len() == devices || matches!(lines_of(charts()), Some(Data::Moments(_)));
    let Some(first) = charts().next().filter(|_| !is_told) else { return html! {} };
    let (unit, is_measure) = (unit(first), !lines_of(charts()).is_some_and(Data::is_strip));
    let value = |value: Option<(f64, &str)>| {
        html! { @if let Some((value, name)) = value { (number(value)) (unit) " " small { (name) } } }
    };
    let more = rooms.len().saturating_sub(ROOMS);
    html! {
        table.rooms {
            thead {
                tr {
                    th { "Room" } th.n { "Devices" }
                    @if is_measure { th { "Least" } th { "Greatest" } } @else { th { "Time in state, all devices together" } }
                }
            }
            tbody {
                @for (name, room) in rooms.into_iter().take(ROOMS) {
                    tr {
                        td { b { @if name.is_empty() { "no room" } @else { (name) } } }
                        td.n { (count(room.devices as u64)) }
                        @if is_measure {
                            td { (value(room.least)) }
                            td { (value(room.greatest)) }
                        } @else {
                            td { (states(&first.title, room.states.into_iter())) }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.hint { "and " (counted(more as u64, "further room")) } }
    }
}
