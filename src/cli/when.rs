//! Times as people write them: a moment, a day, what a clock shows, how long ago.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan};

use crate::base::text;
use crate::base::time::{self, Micros};
use crate::base::zone::Zone;
use crate::model::settings;

/// What a time can look like, for messages.
const FORMS: &str = "write 2026-11-23, \"2026-11-23 18:00\", 2026-11-23T18:00:00Z, 07:00, 7am, \"yesterday 18:00\" or -12h";
/// Days that have a name, and how far away they are.
const DAYS: [(&str, i64); 3] = [("today", 0), ("yesterday", -1), ("tomorrow", 1)];

/// A time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// A moment, whatever clocks show.
    Moment(Micros),
    /// What a calendar and a clock show.
    Civil(DateTime),
    /// So many days from today, at a time of the clock.
    Day(i64, Time),
    /// A time of the clock, of a day that follows from the rest.
    Clock(Time),
    /// So long ago.
    Ago(Duration),
}

impl When {
    /// It means a clock that whoever wrote it sees.
    pub(super) fn is_of_here(self) -> bool {
        matches!(self, Self::Day(..) | Self::Clock(_))
    }

    /// The moment; of a time of the clock alone the last one up to now.
    pub(super) fn moment(self, zone: &Zone, now: Micros) -> Micros {
        match self {
            Self::Moment(time) => time,
            Self::Civil(clock) => of_clock(clock, zone),
            Self::Day(days, clock) => on(days, clock, zone, now),
            Self::Clock(clock) => {
                Some(on(0, clock, zone, now)).filter(|at| *at <= now).unwrap_or_else(|| on(-1, clock, zone, now))
            }
            Self::Ago(length) => now.saturating_sub(time::micros(length)),
        }
    }

    /// The moment; of a time of the clock alone the first one behind another moment.
    pub(super) fn behind(self, start: Micros, zone: &Zone, now: Micros) -> Micros {
        match self {
            Self::Clock(clock) => {
                Some(on(0, clock, zone, start)).filter(|at| *at > start).unwrap_or_else(|| on(1, clock, zone, start))
            }
            other => other.moment(zone, now),
        }
    }
}

/// When a clock shows that, so many days from the day of a moment.
fn on(days: i64, clock: Time, zone: &Zone, of: Micros) -> Micros {
    let of = Timestamp::from_microsecond(of).unwrap_or_default().to_zoned(zone.rules().clone());
    of_clock(of.date().saturating_add(days.days()).to_datetime(clock), zone)
}

fn of_clock(clock: DateTime, zone: &Zone) -> Micros {
    zone.rules().to_ambiguous_timestamp(clock).compatible().map_or(Micros::MAX, Timestamp::as_microsecond)
}

/// Reads a time.
///
/// # Errors
/// When it is none: what is wrong with it, or how one is written.
pub(super) fn when(text: &str) -> Result<When, String> {
    let text = text.trim();
    if let Some(parsed) = time::parse_rfc3339(text.as_bytes()) {
        return Ok(When::Moment(parsed.time));
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(When::Moment(stamp.as_microsecond()));
    }
    let small = text.to_ascii_lowercase();
    if let Some(length) = small.strip_prefix('-').or_else(|| small.strip_suffix(" ago")) {
        return settings::duration(length).map(When::Ago).map_err(|error| error.to_string());
    }
    if small == "now" {
        return Ok(When::Ago(Duration::ZERO));
    }
    let (head, rest) = small.split_once([' ', 't']).unwrap_or((&small, ""));
    for (name, days) in DAYS {
        match small.strip_prefix(name).map(str::trim) {
            Some("") => return Ok(When::Day(days, Time::midnight())),
            Some(rest) => return clock(rest).map(|clock| When::Day(days, clock)).ok_or_else(|| why(text)),
            None => {}
        }
    }
    if let Some(clock) = clock(&small) {
        return Ok(When::Clock(clock));
    }
    let date = head.parse::<Date>().ok().filter(|_| head.len() == "2026-11-23".len());
    let time = if rest.is_empty() { Some(Time::midnight()) } else { rest.parse().ok().or_else(|| clock(rest)) };
    date.zip(time).map(|(date, time)| When::Civil(date.to_datetime(time))).ok_or_else(|| why(text))
}

/// Reads a time, or how long ago it was: `12h`.
///
/// # Errors
/// When it is neither.
pub(super) fn since(text: &str) -> Result<When, String> {
    settings::duration(text).map(When::Ago).or_else(|error| {
        let is_length = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['-', ':']);
        when(text).map_err(|why| if is_length { error.to_string() } else { why })
    })
}

/// Reads what a clock shows: `07:00`, `18:00:30`, `7am`, `7:30 pm`.
fn clock(text: &str) -> Option<Time> {
    let halves = [("am", 0), ("pm", 12)];
    let half = halves.iter().find_map(|(name, hours)| Some((text.strip_suffix(name)?.trim_end(), *hours)));
    let parts: Vec<i8> = half.map_or(text, |(text, _)| text).split(':').map(two).collect::<Option<_>>()?;
    let (hour, minute, second) = match (parts.as_slice(), half) {
        ([hour], Some(_)) => (*hour, 0, 0),
        ([hour, minute], _) => (*hour, *minute, 0),
        ([hour, minute, second], _) => (*hour, *minute, *second),
        _ => return None,
    };
    let hour = match half {
        Some((_, hours)) if (1..=12).contains(&hour) => hour % 12 + hours,
        Some(_) => return None,
        None => hour,
    };
    Time::new(hour, minute, second, 0).ok()
}

/// One or two digits.
fn two(text: &str) -> Option<i8> {
    text.parse().ok().filter(|_| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is wrong with a time: a part that no calendar or clock has, a word that is nearly one, else how one is written.
fn why(text: &str) -> String {
    let (date, rest) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let parts: Vec<&str> = date.split('-').collect();
    let wrong = match parts.as_slice() {
        [year, month, day] if year.len() == 4 => {
            let first = |month: i8| Date::new(year.parse().ok()?, month, 1).ok();
            match (two(month), two(day)) {
                (Some(month), _) if !(1..=12).contains(&month) => Some(format!("there is no month {month}")),
                (Some(month), Some(day)) => first(month)
                    .filter(|first| !(1..=first.days_in_month()).contains(&day))
                    .map(|first| format!("{} has {} days, and no day {day}", first.strftime("%B %Y"), first.days_in_month())),
                _ => None,
            }
        }
        _ => None,
    };
    let time = if rest.is_empty() { date } else { rest };
    let parts: Vec<Option<i8>> = time.trim_end_matches(['Z', 'z']).split(':').map(two).collect();
    let wrong = wrong.or_else(|| match parts.as_slice() {
        [Some(hour), ..] if parts.len() > 1 && *hour > 23 => Some(format!("there is no hour {hour}")),
        [Some(_), Some(minute), ..] if *minute > 59 => Some(format!("there is no minute {minute}")),
        _ => None,
    });
    let is_day_first = || date.split(['.', '/']).map(str::len).eq([2, 2, 4]);
    let names = DAYS.map(|(name, _)| name);
    match (wrong, text::nearest(date, &names).filter(|name| *name != date)) {
        (Some(wrong), _) => format!("{text:?} is no time: {wrong}"),
        (None, Some(name)) => format!("{text:?} is no time: did you mean {name:?}?"),
        (None, None) if is_day_first() => format!("{text:?} is no time: write the year first, as in 2026-11-23"),
        (None, None) => format!("{text:?} is no time; {FORMS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "Europe/Oslo";

    fn at(text: &str) -> Micros {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let (zone, now) = (Zone::named(ZONE).unwrap(), at("2026-11-26T07:30:00+01:00"));
        let cases = [
            ("2026-11-23", "2026-11-23T00:00:00+01:00"),
            ("2026-11-23T18:00", "2026-11-23T18:00:00+01:00"),
            ("2026-11-23 18:00:05", "2026-11-23T18:00:05+01:00"),
            ("2026-11-23 6pm", "2026-11-23T18:00:00+01:00"),
            ("2026-11-23T18:00:00Z", "2026-11-23T18:00:00Z"),
            ("2026-11-23T18:00+02:00", "2026-11-23T18:00:00+02:00"),
            ("today", "2026-11-26T00:00:00+01:00"),
            ("Yesterday", "2026-11-25T00:00:00+01:00"),
            ("today 07:00", "2026-11-26T07:00:00+01:00"),
            ("yesterday 18:00", "2026-11-25T18:00:00+01:00"),
            ("tomorrow 7am", "2026-11-27T07:00:00+01:00"),
            ("7am", "2026-11-26T07:00:00+01:00"),
            ("7:15 AM", "2026-11-26T07:15:00+01:00"),
            ("12am", "2026-11-26T00:00:00+01:00"),
            ("22:00", "2026-11-25T22:00:00+01:00"),
            ("-12h", "2026-11-25T19:30:00+01:00"),
            ("90m ago", "2026-11-26T06:00:00+01:00"),
            ("now", "2026-11-26T07:30:00+01:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(when(text).map(|when| when.moment(&zone, now)), Ok(at(expected)), "{text}");
        }
        // The end of what began last night, and the end of a recorder.
        let behind = |text: &str, start: &str| when(text).unwrap().behind(at(start), &zone, now);
        assert_eq!(behind("07:00", "2026-11-25T22:00:00+01:00"), at("2026-11-26T07:00:00+01:00"));
        assert_eq!(behind("07:00", "2026-11-26T07:30:00+01:00"), at("2026-11-27T07:00:00+01:00"));
        assert_eq!(since("12h"), Ok(When::Ago(Duration::from_hours(12))));
        assert_eq!(since("yesterday"), when("yesterday"));
    }

    #[test]
    fn a_day_of_25_hours_is_no_trap() {
        let (zone, now) = (Zone::named(ZONE).unwrap(), at("2026-10-26T07:00:00+01:00"));
        assert_eq!(when("yesterday").unwrap().moment(&zone, now), at("2026-10-25T00:00:00+02:00"));
        assert_eq!(when("22:00").unwrap().moment(&zone, now), at("2026-10-25T22:00:00+01:00"));
    }

    #[test]
    fn what_is_no_time_is_told_by_what_is_wrong_with_it() {
        let cases = [
            ("2026-13-01", "there is no month 13"),
            ("2026-11-31", "November 2026 has 30 days, and no day 31"),
            ("2026-02-29T10:00", "February 2026 has 28 days"),
            ("2026-11-23T25:00", "there is no hour 25"),
            ("2026-11-23 10:75", "there is no minute 75"),
            ("24:00", "there is no hour 24"),
            ("yesteday", "did you mean \"yesterday\"?"),
            ("23.11.2026", "write the year first"),
            ("soon", "write 2026-11-23"),
            ("yesterday soon", "write 2026-11-23"),
            ("13pm", "write 2026-11-23"),
            ("-12", "no duration"),
            ("", "write 2026-11-23"),
        ];
        for (text, expected) in cases {
            let said = when(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
        assert!(since("12").unwrap_err().contains("no duration") && since("5 parsecs").unwrap_err().contains("no duration"));
    }
}
