//! The numbers of a chart as a table: what it shows at round times, time in each state, how often something happened.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::base::text::count;
use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every};
use crate::output::chart::{Chart, Data, Line, Meaning, meaning};

use super::words::{Clock, breakable, length, number};

/// Most rows of times in a table.
const ROWS: i64 = 24;

/// What kind of data charts show.
pub fn lines_of<'c>(mut charts: impl Iterator<Item = &'c Chart>) -> Option<&'c Data> {
    charts.find_map(|chart| chart.lines.first()).map(|line| &line.data)
}

/// The unit of a chart, behind a number.
pub fn unit(chart: &Chart) -> String {
    chart.axis.split_once(", ").map(|(_, unit)| format!("\u{a0}{unit}")).unwrap_or_default()
}

/// The least and the greatest of a line.
pub fn ends(line: &Line) -> Option<(f64, f64)> {
    let points = line.data.pieces().iter().flatten().filter(|point| point.min.is_finite() && point.max.is_finite());
    points.map(|point| (point.min, point.max)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Seconds in each state.
pub fn in_states(line: &Line) -> BTreeMap<&str, f64> {
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
pub fn states<'s>(event_type: &str, all: impl Iterator<Item = (&'s str, f64)>) -> Markup {
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

/// What a chart shows, in numbers. `how_often` counts the events of a line of moments, of which a chart shows some.
pub fn table(chart: &Chart, clock: &Clock, how_often: impl Fn(&Line) -> u64) -> Markup {
    match lines_of(std::iter::once(chart)) {
        Some(Data::Numbers(_) | Data::Steps(_)) => measures(chart, clock),
        Some(Data::States(_)) => rows(chart, "Time in state", |line| states(&chart.title, in_states(line).into_iter())),
        Some(Data::Moments(_)) => rows(chart, "How often", |line| html! { (count(how_often(line))) }),
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
