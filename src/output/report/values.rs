//! What was measured, quantity by quantity: by room, as charts, and the numbers of each chart as a table.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use crate::base::text::{count, counted};
use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every};
use crate::output::chart::{Chart, Data, Line, Meaning, meaning};

use super::charts::Picture;
use super::facts::Facts;
use super::words::{Clock, breakable, length, number};

/// Most rows of times in a table.
const ROWS: i64 = 24;
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
                        (table(chart, facts, clock))
                    }
                }
            }
        }
    }
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

fn lines_of<'c>(mut charts: impl Iterator<Item = &'c Chart>) -> Option<&'c Data> {
    charts.find_map(|chart| chart.lines.first()).map(|line| &line.data)
}

fn unit(chart: &Chart) -> String {
    chart.axis.split_once(", ").map(|(_, unit)| format!("\u{a0}{unit}")).unwrap_or_default()
}

/// The least and the greatest of a line.
fn ends(line: &Line) -> Option<(f64, f64)> {
    let points = line.data.pieces().iter().flatten().filter(|point| point.min.is_finite() && point.max.is_finite());
    points.map(|point| (point.min, point.max)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Seconds in each state.
fn in_states(line: &Line) -> BTreeMap<&str, f64> {
    let mut states = BTreeMap::new();
    if let Data::States(spans) = &line.data {
        for span in spans {
            #[expect(clippy::cast_precision_loss, reason = "microseconds of a report are far below 2^53")]
            let seconds = (span.to - span.from) as f64 / SECOND as f64;
            *states.entry(&*span.state).or_default() += seconds * span.part;
        }
    }
    states
}

/// `open 1 h 3 min, closed 7 h`: alarms first, and marked.
pub(super) fn states<'s>(event_type: &str, all: impl Iterator<Item = (&'s str, f64)>) -> Markup {
    let mut all: Vec<_> =
        all.filter(|(_, seconds)| *seconds > 0.0).map(|(state, seconds)| (meaning(event_type, state), state, seconds)).collect();
    all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    html! {
        @for (number, (meaning, state, seconds)) in all.into_iter().enumerate() {
            @if number > 0 { ", " }
            @let text = format!("{} {}", state.to_lowercase().replace('_', " "), length(seconds));
            @if meaning == Meaning::Alarm { b.alarm { (text) } } @else { (text) }
        }
    }
}

/// What a chart shows, in numbers.
fn table(chart: &Chart, facts: &Facts, clock: &Clock) -> Markup {
    match lines_of(std::iter::once(chart)) {
        Some(Data::Numbers(_) | Data::Steps(_)) => measures(chart, clock),
        Some(Data::States(_)) => rows(chart, "Time in state", |line| states(&chart.title, in_states(line).into_iter())),
        Some(Data::Moments(_)) => {
            let events = |line: &Line| {
                let device = facts.devices.iter().find(|device| device.id == line.device);
                device.and_then(|device| device.events_by_type.get(&chart.title)).copied().unwrap_or_default()
            };
            rows(chart, "How often", |line| html! { (count(events(line))) })
        }
        None => html! {},
    }
}

fn rows(chart: &Chart, what: &str, cell: impl Fn(&Line) -> Markup) -> Markup {
    html! {
        table.numbers {
            thead { tr { th scope="col" { "Device" } th scope="col" { (what) } } }
            tbody { @for line in &chart.lines { tr { th scope="row" { (chart.called(line)) } td { (cell(line)) } } } }
        }
    }
}

/// A column a device: its least and greatest, and what the chart shows at round times.
fn measures(chart: &Chart, clock: &Clock) -> Markup {
    let length = chart.span.1.saturating_sub(chart.span.0);
    let parts = [1, 5, 10, 15, 30].map(|minutes| Every::Part(minutes * 60 * SECOND));
    let hours = [1, 2, 3, 6, 12].map(|hours| Every::Part(hours * 3600 * SECOND));
    let longer = [1, 2, 7].map(Every::Days).into_iter().chain([1, 3, 12, 120].map(Every::Months));
    let every = parts.into_iter().chain(hours).chain(longer).find(|every| length / every.about() < ROWS);
    let mut buckets = Buckets::new(clock.zone(), every.unwrap_or(Every::Months(1200)));
    let mut times: BTreeMap<Micros, Vec<(f64, u32)>> = BTreeMap::new();
    for (number, line) in chart.lines.iter().enumerate() {
        for point in line.data.pieces().iter().flatten().filter(|point| point.value.is_finite()) {
            let row = times.entry(buckets.of(point.time).0).or_insert_with(|| vec![(0.0, 0); chart.lines.len()]);
            row[number] = if matches!(line.data, Data::Steps(_)) {
                (point.value, 1)
            } else {
                (row[number].0 + point.value, row[number].1 + 1)
            };
        }
    }
    let ends: Vec<Option<(f64, f64)>> = chart.lines.iter().map(ends).collect();
    let row = |name: Markup, values: Vec<Option<f64>>| {
        html! { tr { th scope="row" { (name) } @for value in values { td.n { @if let Some(value) = value { (number(value)) } } } } }
    };
    let is_total = matches!(lines_of(std::iter::once(chart)), Some(Data::Steps(_)));
    let what = if is_total { "last" } else { "mean" };
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "The numbers of " (chart.title) " " (chart.part) } {
            table.numbers {
                caption { (breakable(&chart.axis)) "; behind a time stands the " (what) " of what the chart shows from then on" }
                thead { tr { th scope="col" { "Time" } @for line in &chart.lines { th.n scope="col" { (chart.called(line)) } } } }
                tbody {
                    (row(html! { "least" }, ends.iter().map(|ends| ends.map(|ends| ends.0)).collect()))
                    (row(html! { "greatest" }, ends.iter().map(|ends| ends.map(|ends| ends.1)).collect()))
                    @for (time, values) in times {
                        @let values = values.into_iter().map(|(sum, many)| (many > 0).then(|| sum / f64::from(many)));
                        (row(html! { (clock.short(time)) }, values.collect()))
                    }
                }
            }
        }
    }
}
