//! Sections of the page: coverage and gaps, events by hour, what was measured, faults.

use std::fmt::Write;

use crate::base::text::{count, counted};
use crate::base::zone::Zone;
use crate::model::event::printable;
use crate::query::coverage::GapState;

use super::charts::Picture;
use super::facts::{Facts, TypeFacts};
use super::figures::Figures;
use super::ledger::Span;
use super::page::time;
use super::pictures;
use super::words::{Clock, breakable, escape, length, micros, number, unit};

/// Most gaps that are listed; the longest.
const GAPS: usize = 200;
/// Most day files that are listed.
const FILES: usize = 50;

pub(super) fn coverage(out: &mut String, facts: &Facts, span: Span, clock: &Clock) {
    if facts.coverage.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Coverage</h2>\n");
    let mut first = 1;
    for project in &facts.coverage {
        let filled = match project.filled_seconds {
            0.0 => String::new(),
            seconds => format!("; {} filled from history", length(seconds)),
        };
        write!(
            out,
            "<p><b>{}</b>: {} covered by {}{filled}.</p>",
            escape(&project.project),
            length(project.covered_seconds),
            counted(project.sessions, "session")
        )
        .unwrap_or_default();
        pictures::coverage(out, project, &facts.imported, first, span, clock);
        first += project.gaps.len();
    }
    out.push_str("<ul class=\"legend\">");
    let states = [GapState::Filled, GapState::Open, GapState::Lost].map(pictures::look);
    for (class, name) in [("covered", "covered")]
        .into_iter()
        .chain(states)
        .chain([("imported", "events, but no session"), ("nobody", "nobody recorded")])
    {
        write!(out, "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"10\" height=\"10\"/></svg>{name}</li>")
            .unwrap_or_default();
    }
    out.push_str("</ul>\n");
    gaps(out, facts, clock);
    out.push_str("</section>\n");
}

fn gaps(out: &mut String, facts: &Facts, clock: &Clock) {
    let mut all: Vec<_> = facts.gaps().collect();
    if all.is_empty() {
        out.push_str("<p>No gaps.</p>\n");
        return;
    }
    let left_out = all.len().saturating_sub(GAPS);
    if left_out > 0 {
        all.sort_by(|a, b| {
            (b.2.state != GapState::Filled, b.2.seconds)
                .partial_cmp(&(a.2.state != GapState::Filled, a.2.seconds))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        all.truncate(GAPS);
        all.sort_by_key(|gap| gap.0);
    }
    out.push_str("<table class=\"fold\"><thead><tr><th>Gap</th><th>From</th><th>To</th><th>Length</th><th>State</th><th>Events from history</th><th>Cause</th></tr></thead><tbody>\n");
    for (gap_number, _, gap) in all {
        let (class, name) = pictures::look(gap.state);
        let why = gap.why.as_deref().map_or_else(String::new, |why| format!(" <small>{}</small>", escape(&printable(why, 300))));
        let from = micros(&gap.begins);
        let to = gap.ends.as_deref().map(micros).map_or_else(|| "lasts".to_owned(), |to| time(to, &clock.second(to)));
        write!(
            out,
            "<tr><td data-label=\"Gap\">{gap_number}</td><td data-label=\"From\">{}</td><td data-label=\"To\">{to}</td><td data-label=\"Length\">{}</td>\
             <td data-label=\"State\"><span><span class=\"state {class}\">{name}</span>{why}</span></td><td data-label=\"Events from history\">{}</td>\
             <td data-label=\"Cause\">{}</td></tr>",
            time(from, &clock.second(from)),
            length(gap.seconds),
            count(gap.events),
            escape(&printable(&gap.cause, 200)),
        )
        .unwrap_or_default();
    }
    out.push_str("</tbody></table>\n");
    if left_out > 0 {
        write!(out, "<p class=\"hint\">{} more, all shorter, stand in <code>overnight gaps</code>.</p>", count(left_out as u64))
            .unwrap_or_default();
    }
}

pub(super) fn hours(out: &mut String, facts: &Facts, span: Span, zone: &Zone, clock: &Clock) {
    out.push_str("<section>\n<h2>Events by type and hour</h2>\n");
    pictures::events(out, facts, span, zone, clock);
    out.push_str("</section>\n");
}

pub(super) fn measured(out: &mut String, facts: &Facts, charts: &[Picture]) {
    out.push_str(
        "<section>\n<h2>What was measured</h2>\n<table class=\"fold measured\"><thead><tr><th>Type</th><th class=\"n\">Events</th><th class=\"n\">Devices</th>\
         <th>Value</th><th class=\"n\">Min</th><th class=\"n\">Mean</th><th class=\"n\">Max</th></tr></thead><tbody>\n",
    );
    for kind in &facts.types {
        write!(
            out,
            "<tr><td data-label=\"Type\"><b>{}</b></td><td class=\"n\" data-label=\"Events\">{}</td><td class=\"n\" data-label=\"Devices\">{}</td>{}</tr>",
            breakable(&kind.event_type),
            count(kind.events),
            count(kind.devices as u64),
            cells(kind),
        )
        .unwrap_or_default();
    }
    out.push_str("</tbody></table>\n");
    if !facts.states().is_empty() {
        out.push_str("<p class=\"hint\">The mean is that of all readings. Time in a state is that of all devices together, as far as it is known.</p>\n");
    }
    for chart in charts {
        let note =
            if chart.note.is_empty() { String::new() } else { format!("<figcaption>{}</figcaption>", escape(&chart.note)) };
        write!(
            out,
            "<figure><div class=\"wide\">{}</div><div class=\"narrow\">{}</div>{note}</figure>",
            chart.wide, chart.narrow
        )
        .unwrap_or_default();
    }
    out.push_str("</section>\n");
}

fn cells(kind: &TypeFacts) -> String {
    let Some(figures) = &kind.figures else {
        return "<td class=\"value\" data-label=\"Value\" colspan=\"4\">events only</td>".to_owned();
    };
    if figures.mean.is_none() {
        return format!("<td class=\"value\" data-label=\"Value\" colspan=\"4\">{}</td>", said(figures));
    }
    let unit = unit(figures.unit.as_deref());
    let cell = |name: &str, value: Option<f64>| {
        let text = value.map_or_else(String::new, |value| format!("{}{unit}", number(value)));
        format!("<td class=\"n\" data-label=\"{name}\">{}</td>", escape(&text))
    };
    let value = escape(&figures.value.replace('_', " "));
    let bounds =
        [("Min", figures.min), ("Mean", figures.mean), ("Max", figures.max)].map(|(name, value)| cell(name, value)).concat();
    format!("<td class=\"value\" data-label=\"Value\">{value}</td>{bounds}")
}

/// Figures in a line: `20.1 – 24.9 °C, mean 22.4`, `OPEN 1 h 3 min, CLOSED 7 h`, `+12`.
pub(super) fn said(figures: &Figures) -> String {
    if let (Some(min), Some(mean), Some(max)) = (figures.min, figures.mean, figures.max) {
        let unit = unit(figures.unit.as_deref());
        return format!("{}\u{a0}/ <b>{}</b>\u{a0}/ {}{}", number(min), number(mean), number(max), escape(&unit));
    }
    if let Some(increase) = figures.increase {
        return format!("+{}", number(increase));
    }
    let states = figures.seconds_in.iter().filter(|(_, seconds)| **seconds > 0.0);
    let states: Vec<String> = states
        .map(|(state, seconds)| format!("{} {}", escape(&state.to_lowercase().replace('_', " ")), length(*seconds)))
        .collect();
    states.join(", ")
}

pub(super) fn faults(out: &mut String, facts: &Facts, clock: &Clock) {
    if facts.faults == 0 && facts.unreadable.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Faults</h2>\n");
    if !facts.unreadable.is_empty() {
        out.push_str("<p>Day files that cannot be read. Nothing of them is on this page; <code>overnight verify</code> says what to do.</p>\n<ul>");
        for file in facts.unreadable.iter().take(FILES) {
            write!(out, "<li><code>{}</code></li>", escape(&printable(file, 300))).unwrap_or_default();
        }
        out.push_str("</ul>\n");
    }
    if facts.faults == 0 {
        out.push_str("</section>\n");
        return;
    }
    out.push_str("<p>What came and was no event. Each is kept raw, with its reason.</p>\n");
    out.push_str("<table class=\"fold\"><thead><tr><th class=\"n\">How often</th><th>Reason</th><th>Last</th><th>Example</th></tr></thead><tbody>\n");
    for fault in &facts.fault_reasons {
        let last = micros(&fault.last_at);
        write!(
            out,
            "<tr><td class=\"n\" data-label=\"How often\">{}</td><td data-label=\"Reason\">{}</td><td data-label=\"Last\">{}</td>\
             <td data-label=\"Example\"><code>{}</code></td></tr>",
            count(fault.count),
            escape(&printable(&fault.reason, 300)),
            time(last, &clock.minute(last)),
            escape(&fault.example)
        )
        .unwrap_or_default();
    }
    out.push_str("</tbody></table>\n</section>\n");
}
