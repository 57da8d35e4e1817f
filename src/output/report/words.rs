//! Facts as people read them: lengths, counts, units, times of a zone; and what is missing, in sentences.

use maud::{Markup, html};

pub(super) use crate::base::text::measured as number;
use crate::base::text::{count, counted};
use crate::base::time::{Micros, rfc3339};
use crate::base::zone::{Zone, write_offset};
use crate::model::unit::written;
use crate::query::coverage::GapState;
use crate::query::tables::Unrecorded;

use super::facts::{Facts, ProjectFacts};
use super::ledger::{Span, cut};
use super::{seconds, total};

/// A name like `objectPresentCount` for HTML, which a narrow column may break before a capital.
pub(super) fn breakable(name: &str) -> Markup {
    let mut parts: Vec<String> = vec![String::new()];
    for c in name.chars() {
        if c.is_uppercase() && parts.last().is_some_and(|part| part.ends_with(char::is_lowercase)) {
            parts.push(String::new());
        }
        parts.last_mut().into_iter().for_each(|part| part.push(c));
    }
    html! {
        @for (number, part) in parts.iter().enumerate() {
            @if number > 0 { wbr; }
            (part)
        }
    }
}

/// `12 s`, `13 min`, `2 h 5 min`, `3 d 4 h`
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths are finite and not negative")]
pub(super) fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let two = |big: u64, unit: &str, small: u64, less: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {less}"),
    };
    match whole {
        0 if seconds > 0.0 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..600 => two(whole / 60, "min", whole % 60, "s"),
        600..3600 => format!("{} min", (whole + 30) / 60),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

/// A unit behind a number, as people write it.
pub(super) fn unit(ucum: Option<&str>) -> String {
    let written = ucum.map(written).unwrap_or_default();
    if written.is_empty() { written } else { format!("\u{a0}{written}") }
}

/// The clock of a report.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    zone: Zone,
    /// Offset that the page names once; where another one holds, the time says so.
    usual: Micros,
    /// Several years: each day says which.
    has_years: bool,
}

impl Clock {
    pub(super) fn new(zone: &Zone, (from, to): Span) -> Self {
        let mut zone = zone.clone();
        let usual = zone.offset(from);
        let year = |time| zone.format(time, "%Y");
        let has_years = year(from) != year(to);
        Self { zone, usual, has_years }
    }

    pub(super) fn zone(&self) -> Zone {
        self.zone.clone()
    }

    fn format(&self, time: Micros, how: &str) -> String {
        let how = if self.has_years { how.replace("%b", "%b %Y") } else { how.to_owned() };
        self.zone.format(time, &how)
    }

    /// `Mon 23 Nov 20:14`; with its offset where the clocks were changed meanwhile.
    pub(super) fn minute(&self, time: Micros) -> String {
        self.with_offset(time, "%a %-d %b %H:%M")
    }

    /// `23 Nov 20:14`
    pub(super) fn short(&self, time: Micros) -> String {
        self.with_offset(time, "%-d %b %H:%M")
    }

    /// A time behind another: without its day where that is the same.
    pub(super) fn short_behind(&self, before: Micros, time: Micros) -> String {
        if self.day(before) == self.day(time) { self.with_offset(time, "%H:%M") } else { self.short(time) }
    }

    /// `23 Nov 20:14:05`
    pub(super) fn second(&self, time: Micros) -> String {
        self.with_offset(time, "%-d %b %H:%M:%S")
    }

    /// `20:14`
    pub(super) fn hour(&self, time: Micros) -> String {
        self.format(time, "%H:%M")
    }

    /// `Mon 23 Nov`
    pub(super) fn day(&self, time: Micros) -> String {
        self.format(time, "%a %-d %b")
    }

    /// `Nov 2026`
    pub(super) fn month(&self, time: Micros) -> String {
        self.zone.format(time, "%b %Y")
    }

    /// `Monday, 23 November 2026, 20:14`
    pub(super) fn full(&self, time: Micros) -> String {
        self.format(time, "%A, %-d %B %Y, %H:%M")
    }

    fn with_offset(&self, time: Micros, how: &str) -> String {
        let offset = self.zone.clone().offset(time);
        let text = self.format(time, how);
        if offset == self.usual { text } else { format!("{text} ({})", offset_text(offset)) }
    }

    /// The zone, with its offset at the beginning and at the end.
    pub(super) fn name(&self, (from, to): Span) -> String {
        let mut zone = self.zone.clone();
        let (first, last) = (zone.offset(from), zone.offset(to));
        let name = zone.name().to_owned();
        match (name.as_str(), first == last) {
            ("UTC", _) => name,
            (_, true) => format!("{name} ({})", offset_text(first)),
            (_, false) => format!("{name} ({} at the beginning, {} at the end)", offset_text(first), offset_text(last)),
        }
    }
}

fn offset_text(offset: Micros) -> String {
    let mut text = b"UTC".to_vec();
    write_offset(offset, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

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

/// Where a time lies in a span, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a report are far below 2^53")]
pub(super) fn share(time: Micros, (from, to): Span) -> f64 {
    ((time - from) as f64 / (to - from).max(1) as f64).clamp(0.0, 1.0)
}

/// A time with what a program reads of it.
pub(super) fn time(at: Micros, text: &str) -> Markup {
    html! { time datetime=(rfc3339(at)) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::parse_rfc3339;

    #[test]
    fn lengths_and_numbers_read_well() {
        let lengths = [0.4, 12.0, 90.0, 780.0, 7500.0, 273_600.0].map(length);
        assert_eq!(lengths, ["0.4 s", "12 s", "1 min 30 s", "13 min", "2 h 5 min", "3 d 4 h"]);
        assert_eq!([21.456, 2.0, -3.25, 101_325.4, -0.001].map(number), ["21.5", "2", "\u{2212}3.25", "101325", "0"]);
        assert_eq!(unit(Some("Cel")), "\u{a0}°C");
    }

    #[test]
    fn a_name_breaks_before_a_capital_and_is_no_markup() {
        assert_eq!(breakable("<touchCount").into_string(), "&lt;touch<wbr>Count");
    }

    #[test]
    fn a_time_says_its_offset_only_where_the_clocks_were_changed() {
        let zone = Zone::named("Europe/Oslo").unwrap();
        let micros = |text: &str| parse_rfc3339(text.as_bytes()).unwrap().time;
        let clock = Clock::new(&zone, (micros("2026-10-24T20:00:00Z"), micros("2026-10-25T06:00:00Z")));
        assert_eq!(clock.minute(micros("2026-10-25T00:30:00Z")), "Sun 25 Oct 02:30");
        assert_eq!(clock.minute(micros("2026-10-25T01:30:00Z")), "Sun 25 Oct 02:30 (UTC+01:00)");
        let years = Clock::new(&zone, (micros("2025-10-24T20:00:00Z"), micros("2026-10-25T06:00:00Z")));
        assert_eq!(years.day(micros("2026-10-24T00:30:00Z")), "Sat 24 Oct 2026");
    }
}
