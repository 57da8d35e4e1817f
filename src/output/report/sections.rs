//! Sections of the page: coverage and gaps, events by hour, what was measured, faults.

use maud::{Markup, PreEscaped, html};

use crate::base::text::{count, counted, printable};
use crate::base::zone::Zone;
use crate::query::coverage::{GapReport, GapState};

use super::charts::Picture;
use super::facts::{Facts, TypeFacts};
use super::figures::Figures;
use super::ledger::Span;
use super::pictures;
use super::words::{Clock, breakable, length, number, time, unit};

/// Most gaps that are listed; the longest.
const GAPS: usize = 200;
/// Most day files that are listed.
const FILES: usize = 50;

pub(super) fn coverage(facts: &Facts, span: Span, clock: &Clock) -> Markup {
    let with_first_gap = facts.coverage.iter().scan(1, |next, project| {
        let first = *next;
        *next += project.gaps.len();
        Some((project, first))
    });
    let states = [GapState::Filled, GapState::Open, GapState::Lost].map(pictures::look);
    let others = [("imported", "events, but no session"), ("nobody", "nobody recorded")];
    let legend = [("covered", "covered")].into_iter().chain(states).chain(others);
    html! {
        @if !facts.coverage.is_empty() {
            section {
                h2 { "Coverage" }
                @for (project, first) in with_first_gap {
                    p {
                        b { (project.project) } ": " (length(project.covered_seconds)) " covered by "
                        (counted(project.sessions, "session"))
                        @if project.filled_seconds != 0.0 { "; " (length(project.filled_seconds)) " filled from history" }
                        "."
                    }
                    (pictures::coverage(project, &facts.imported, first, span, clock))
                }
                ul.legend {
                    @for (class, name) in legend {
                        li {
                            svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" {} }
                            (name)
                        }
                    }
                }
                (gaps(facts, clock))
            }
        }
    }
}

fn gaps(facts: &Facts, clock: &Clock) -> Markup {
    let mut all: Vec<_> = facts.gaps().collect();
    let left_out = all.len().saturating_sub(GAPS);
    if left_out > 0 {
        all.sort_by(|a, b| {
            (b.1.state != GapState::Filled, b.1.seconds)
                .partial_cmp(&(a.1.state != GapState::Filled, a.1.seconds))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        all.truncate(GAPS);
        all.sort_by_key(|gap| gap.0);
    }
    html! {
        @if all.is_empty() {
            p { "No gaps." }
        } @else {
            table.fold {
                thead {
                    tr {
                        th { "Gap" } th { "From" } th { "To" } th { "Length" } th { "State" } th { "Events from history" }
                        th { "Cause" }
                    }
                }
                tbody { @for (number, gap) in all { (gap_row(number, gap, clock)) } }
            }
            @if left_out > 0 {
                p.hint { (count(left_out as u64)) " more, all shorter, stand in " code { "overnight gaps" } "." }
            }
        }
    }
}

fn gap_row(number: usize, gap: &GapReport, clock: &Clock) -> Markup {
    let (class, name) = pictures::look(gap.state);
    let begins = gap.begins.into();
    html! {
        tr {
            td data-label="Gap" { (number) }
            td data-label="From" { (time(begins, &clock.second(begins))) }
            td data-label="To" {
                @if let Some(ends) = gap.ends { (time(ends.into(), &clock.second(ends.into()))) } @else { "lasts" }
            }
            td data-label="Length" { (length(gap.seconds)) }
            td data-label="State" {
                span {
                    span class={ "state " (class) } { (name) }
                    @if let Some(why) = &gap.why { " " small { (printable(why, 300)) } }
                }
            }
            td data-label="Events from history" { (count(gap.events)) }
            td data-label="Cause" { (printable(&gap.cause, 200)) }
        }
    }
}

pub(super) fn hours(facts: &Facts, span: Span, zone: &Zone, clock: &Clock) -> Markup {
    html! {
        section { h2 { "Events by type and hour" } (pictures::events(facts, span, zone, clock)) }
    }
}

pub(super) fn measured(facts: &Facts, charts: &[Picture]) -> Markup {
    html! {
        section {
            h2 { "What was measured" }
            table.fold.measured {
                thead {
                    tr {
                        th { "Type" } th.n { "Events" } th.n { "Devices" } th { "Value" } th.n { "Min" } th.n { "Mean" }
                        th.n { "Max" }
                    }
                }
                tbody {
                    @for kind in &facts.types {
                        tr {
                            td data-label="Type" { b { (breakable(&kind.event_type)) } }
                            td.n data-label="Events" { (count(kind.events)) }
                            td.n data-label="Devices" { (count(kind.devices as u64)) }
                            (cells(kind))
                        }
                    }
                }
            }
            @if !facts.states().is_empty() {
                p.hint {
                    "The mean is that of all readings. Time in a state is that of all devices together, as far as it is known."
                }
            }
            @for chart in charts {
                figure {
                    // Both are SVG that `chart` wrote and escaped.
                    div.wide { (PreEscaped(&chart.wide)) }
                    div.narrow { (PreEscaped(&chart.narrow)) }
                    @if !chart.note.is_empty() { figcaption { (chart.note) } }
                }
            }
        }
    }
}

fn cells(kind: &TypeFacts) -> Markup {
    let Some(figures) = kind.figures.as_ref().filter(|figures| figures.mean.is_some()) else {
        return html! {
            td.value data-label="Value" colspan="4" {
                @if let Some(figures) = &kind.figures { (said(figures)) } @else { "events only" }
            }
        };
    };
    html! {
        td.value data-label="Value" { (figures.value.replace('_', " ")) }
        @for (name, value) in [("Min", figures.min), ("Mean", figures.mean), ("Max", figures.max)] {
            td.n data-label=(name) { @if let Some(value) = value { (number(value)) (unit(figures.unit.as_deref())) } }
        }
    }
}

/// Figures in a line: `20.1 / 22.4 / 24.9 °C`, `open 1 h 3 min, closed 7 h`, `+12`.
pub(super) fn said(figures: &Figures) -> Markup {
    let states = figures.seconds_in.iter().filter(|(_, seconds)| **seconds > 0.0);
    let states = states.map(|(state, seconds)| format!("{} {}", state.to_lowercase().replace('_', " "), length(*seconds)));
    html! {
        @if let (Some(min), Some(mean), Some(max)) = (figures.min, figures.mean, figures.max) {
            (number(min)) "\u{a0}/ " b { (number(mean)) } "\u{a0}/ " (number(max)) (unit(figures.unit.as_deref()))
        } @else if let Some(increase) = figures.increase {
            "+" (number(increase))
        } @else {
            (states.collect::<Vec<_>>().join(", "))
        }
    }
}

pub(super) fn faults(facts: &Facts, clock: &Clock) -> Markup {
    html! {
        @if facts.faults > 0 || !facts.unreadable.is_empty() {
            section {
                h2 { "Faults" }
                @if !facts.unreadable.is_empty() {
                    p {
                        "Day files that cannot be read. Nothing of them is on this page; " code { "overnight verify" }
                        " says what to do."
                    }
                    ul { @for file in facts.unreadable.iter().take(FILES) { li { code { (printable(file, 300)) } } } }
                }
                @if facts.faults > 0 { (reasons(facts, clock)) }
            }
        }
    }
}

fn reasons(facts: &Facts, clock: &Clock) -> Markup {
    html! {
        p { "What came and was no event. Each is kept raw, with its reason." }
        table.fold {
            thead { tr { th.n { "How often" } th { "Reason" } th { "Last" } th { "Example" } } }
            tbody {
                @for fault in &facts.fault_reasons {
                    tr {
                        td.n data-label="How often" { (count(fault.count)) }
                        td data-label="Reason" { (printable(&fault.reason, 300)) }
                        td data-label="Last" { (time(fault.last_at.into(), &clock.minute(fault.last_at.into()))) }
                        td data-label="Example" { code { (fault.example) } }
                    }
                }
            }
        }
    }
}
