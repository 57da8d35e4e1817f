//! What is missing from a report, what nobody knows, and what else one should know, in sentences.

use crate::base::text::{count, counted};
use crate::base::time::rfc3339;
use crate::output::web::words::length;
use crate::query::coverage::GapState;
use crate::query::tables::Unrecorded;

use super::facts::{Facts, ProjectFacts};
use super::ledger::{Span, cut};
use super::{seconds, total};

/// Says what is missing.
pub(super) fn say_missing(facts: &mut Facts) {
    let (mut lost, mut open) = ((0, 0.0), (0, 0.0));
    for project in &facts.coverage {
        let count = |is: fn(GapState) -> bool| project.gaps.iter().filter(|gap| is(gap.state)).count() as u64;
        lost = (lost.0 + count(|state| state == GapState::Lost), lost.1 + project.lost_seconds);
        open = (open.0 + count(GapState::is_open), open.1 + project.open_seconds);
    }
    for ((gaps, seconds), ending) in [(lost, "lost"), (open, "not filled yet")] {
        if gaps > 0 {
            facts.missing.push(format!("{}, {}, {ending}.", counted(gaps, "gap"), length(seconds)));
        }
    }
    for dead in &facts.nobody_records {
        facts.missing.push(format!("{}.", dead.said(rfc3339)));
    }
    match facts.faults {
        0 => {}
        1 => facts.missing.push("1 line was no event; it is kept raw.".to_owned()),
        faults => facts.missing.push(format!("{} lines were no events; they are kept raw.", count(faults))),
    }
    let unreadable = facts.unreadable.len() as u64;
    if unreadable > 0 {
        let is = if unreadable == 1 { "is" } else { "are" };
        facts.missing.push(format!("{} that cannot be read {is} left out.", counted(unreadable, "day file")));
    }
}

/// Says of which times and events nobody knows whether anything is missing.
pub(super) fn say_unknown(facts: &mut Facts, unrecorded: &Unrecorded, span: Span) {
    if let Some(before) = unrecorded.pruned_before.filter(|before| *before > span.0) {
        facts.notes.push(format!("What was before {} was pruned, on purpose.", rfc3339(before)));
    }
    let with_reason =
        |project: &ProjectFacts| project.gaps.iter().filter(|gap| gap.state == GapState::Filled && gap.why.is_some()).count();
    let partly: usize = facts.coverage.iter().map(with_reason).sum();
    let of_projects: f64 = facts.coverage.iter().map(|project| project.covered_seconds + project.filled_seconds).sum();
    let nothing: f64 = total(unrecorded.nothing_within(span).into_iter());
    let imported: f64 = total(unrecorded.imported.iter().filter_map(|part| cut(*part, span)));
    let mut nobody = |who: &str, pause: f64| match pause {
        ..1.0 => {}
        pause if pause > seconds(span) - 1.0 => facts.unknown.push(format!("Nobody recorded{who} in this time.")),
        pause => facts.unknown.push(format!("Nobody recorded{who} for {}.", length(pause))),
    };
    match facts.coverage.as_slice() {
        [] => nobody("", nothing),
        [project] => nobody("", project.not_recorded_seconds),
        projects => projects.iter().for_each(|project| nobody(&format!(" {}", project.project), project.not_recorded_seconds)),
    }
    if facts.events > 0 && of_projects == 0.0 {
        facts.unknown.push("The events came from files, and nobody noted what may be missing.".to_owned());
    } else if imported >= 1.0 {
        // Events need not lie there, but around it.
        let text = "no session recorded: what is known came from files, and nobody noted what may be missing.";
        facts.unknown.push(format!("For {} {text}", length(imported)));
    }
    if partly > 0 {
        facts.unknown.push(format!("{} filled, but not with everything; see below.", counted(partly as u64, "gap")));
    }
}

/// Says what else one should know.
pub(super) fn say_notes(facts: &mut Facts) {
    if facts.outside > 0 {
        let text = format!(
            "{} more than a month away from the others and left out; --start and --end show them.",
            if facts.outside == 1 { "1 event lies".to_owned() } else { format!("{} events lie", count(facts.outside)) }
        );
        facts.notes.push(text);
    }
    let silent = facts.devices.iter().filter(|device| device.events == 0).count();
    if silent > 0 {
        facts.notes.push(format!("{} said nothing {}.", counted(silent as u64, "known device"), facts.here()));
    }
    if facts.events == 0 {
        facts.notes.push(format!("No event lies {}.", facts.here()));
    }
    if facts.recording {
        facts.notes.push("The recorder is still running.".to_owned());
    }
}
