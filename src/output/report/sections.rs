//! Sections of the page: coverage and gaps, faults, what was measured, what was recorded.

use maud::{Markup, html};

use crate::base::text::{count, counted, printable};
use crate::base::zone::Zone;
use crate::output::web::numbers::states;
use crate::output::web::words::{Clock, breakable, length, number, time, unit};
use crate::query::coverage::{GapReport, GapState};

use super::charts::Picture;
use super::facts::Facts;
use super::figures::Figures;
use super::ledger::Span;
use super::{pictures, values};

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
            section #missing {
                h2 { "What is missing" }
                @if facts.is_filled() {
                    p { @if facts.gaps().next().is_some() { "Nothing: every gap was filled from history." } @else { "Nothing." } }
                }
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
        @if !all.is_empty() {
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

/// What came: events by type, and when.
pub(super) fn recorded(facts: &Facts, span: Span, zone: &Zone, clock: &Clock) -> Markup {
    html! {
        section #recorded {
            h2 { "What was recorded" }
            table.fold {
                thead { tr { th { "Event type" } th.n { "Events" } th.n { "Devices" } th { "What it tells" } } }
                tbody {
                    @for kind in &facts.types {
                        tr {
                            td.name { b { (breakable(&kind.event_type)) } }
                            td.n data-label="Events" { (count(kind.events)) }
                            td.n data-label="Devices" { (count(kind.devices as u64)) }
                            td data-label="What it tells" { (kind.description) }
                        }
                    }
                }
            }
            @if facts.events > 0 {
                h3 { "Events by type and hour" }
                (pictures::events(facts, span, zone, clock))
            }
        }
    }
}

/// What was measured, and apart from it what tells of radio and batteries.
pub(super) fn measured(facts: &Facts, charts: &[Picture], clock: &Clock) -> Markup {
    html! {
        section #values {
            h2 { "What was measured" }
            @if charts.iter().all(|picture| picture.is_radio) { p { "Nothing in this selection." } }
            (values::quantities(charts.iter().filter(|picture| !picture.is_radio), facts, clock))
        }
    }
}

/// Radio and batteries: who needs a new one stands above, under what needs somebody.
pub(super) fn radio(facts: &Facts, charts: &[Picture], clock: &Clock) -> Markup {
    html! {
        @if charts.iter().any(|picture| picture.is_radio) {
            section #radio {
                h2 { "Radio and batteries" }
                details {
                    summary { "Charts of connections, batteries and signals" }
                    (values::quantities(charts.iter().filter(|picture| picture.is_radio), facts, clock))
                }
            }
        }
    }
}

/// Figures in a line: `20.1 / 22.4 / 24.9 °C`, `open 1 h 3 min, closed 7 h`, `+12`.
pub(super) fn said(event_type: &str, figures: &Figures) -> Markup {
    html! {
        @if let (Some(min), Some(mean), Some(max)) = (figures.min, figures.mean, figures.max) {
            (number(min)) "\u{a0}/ " b { (number(mean)) } "\u{a0}/ " (number(max)) (unit(figures.unit.as_deref()))
        } @else if let Some(increase) = figures.increase {
            "+" (number(increase))
        } @else {
            (states(event_type, figures.seconds_in.iter().map(|(state, seconds)| (state.as_str(), *seconds))))
        }
    }
}

pub(super) fn faults(facts: &Facts, clock: &Clock) -> Markup {
    html! {
        @if facts.faults > 0 || !facts.unreadable.is_empty() {
            section #faults {
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
