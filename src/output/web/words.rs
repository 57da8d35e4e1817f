//! What people read of a page: lengths, numbers with their unit, times of a zone, names that a narrow column may break.

use maud::{Markup, html};

pub use crate::base::text::measured as number;
use crate::base::time::{Micros, rfc3339};
use crate::base::zone::{Zone, write_offset};
use crate::model::unit::written;
use crate::query::coverage::Span;

/// A name like `objectPresentCount` for HTML, which a narrow column may break before a capital.
pub fn breakable(name: &str) -> Markup {
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
pub fn length(seconds: f64) -> String {
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
pub fn unit(ucum: Option<&str>) -> String {
    let written = ucum.map(written).unwrap_or_default();
    if written.is_empty() { written } else { format!("\u{a0}{written}") }
}

/// The clock of a page.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: Zone,
    /// Offset that the page names once; where another one holds, the time says so.
    usual: Micros,
    /// Several years: each day says which.
    has_years: bool,
}

impl Clock {
    /// Of a zone, for times of a span.
    pub fn new(zone: &Zone, (from, to): Span) -> Self {
        let mut zone = zone.clone();
        let usual = zone.offset(from);
        let year = |time| zone.format(time, "%Y");
        let has_years = year(from) != year(to);
        Self { zone, usual, has_years }
    }

    /// Its zone.
    pub fn zone(&self) -> Zone {
        self.zone.clone()
    }

    fn format(&self, time: Micros, how: &str) -> String {
        let how = if self.has_years { how.replace("%b", "%b %Y") } else { how.to_owned() };
        self.zone.format(time, &how)
    }

    /// `Mon 23 Nov 20:14`; with its offset where the clocks were changed meanwhile.
    pub fn minute(&self, time: Micros) -> String {
        self.with_offset(time, "%a %-d %b %H:%M")
    }

    /// `23 Nov 20:14`
    pub fn short(&self, time: Micros) -> String {
        self.with_offset(time, "%-d %b %H:%M")
    }

    /// A time behind another: without its day where that is the same.
    pub fn short_behind(&self, before: Micros, time: Micros) -> String {
        if self.day(before) == self.day(time) { self.with_offset(time, "%H:%M") } else { self.short(time) }
    }

    /// `23 Nov 20:14:05`
    pub fn second(&self, time: Micros) -> String {
        self.with_offset(time, "%-d %b %H:%M:%S")
    }

    /// `20:14`
    pub fn hour(&self, time: Micros) -> String {
        self.format(time, "%H:%M")
    }

    /// `Mon 23 Nov`
    pub fn day(&self, time: Micros) -> String {
        self.format(time, "%a %-d %b")
    }

    /// `Nov 2026`
    pub fn month(&self, time: Micros) -> String {
        self.zone.format(time, "%b %Y")
    }

    /// `Monday, 23 November 2026, 20:14`
    pub fn full(&self, time: Micros) -> String {
        self.format(time, "%A, %-d %B %Y, %H:%M")
    }

    fn with_offset(&self, time: Micros, how: &str) -> String {
        let offset = self.zone.clone().offset(time);
        let text = self.format(time, how);
        if offset == self.usual { text } else { format!("{text} ({})", offset_text(offset)) }
    }

    /// The zone, with its offset at the beginning and at the end.
    pub fn name(&self, (from, to): Span) -> String {
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

/// Where a time lies in a span, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a report are far below 2^53")]
pub fn share(time: Micros, (from, to): Span) -> f64 {
    ((time - from) as f64 / (to - from).max(1) as f64).clamp(0.0, 1.0)
}

/// A time with what a program reads of it.
pub fn time(at: Micros, text: &str) -> Markup {
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
