//! How an event's time is written: RFC 3339, a count since 1970, or a local time of some zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::base::json;
use crate::base::time::{self, Micros, Parsed, SECOND};

/// How times are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum When {
    /// RFC 3339; read as well: a space for the `T`, and offsets without a colon, as `2026-11-23 01:00:00+0100`.
    Rfc3339,
    /// A number since 1970-01-01 UTC, or a string that holds one, of which so many decimal places are microseconds: 6 of seconds, 3
    /// of milliseconds, 0 of microseconds, -3 of nanoseconds.
    Unix(i32),
    /// Without an offset, it is the time of this zone; of an hour that came twice, the first. With one, that holds.
    Local(TimeZone),
}

/// The words for it in schema files.
pub(super) const FORMATS: [&str; 6] = ["rfc3339", "unix", "unix_ms", "unix_us", "unix_ns", "local"];

impl When {
    /// The way that a schema file names; local times need a zone.
    pub(super) fn named(name: &str, zone: Option<&str>) -> Result<Self, String> {
        let unix = |places| Ok(Self::Unix(places));
        match (name, zone) {
            ("local", Some(zone)) => TimeZone::get(zone)
                .map(Self::Local)
                .map_err(|_| format!("zone: no zone is called {zone:?}; write one as \"Europe/Oslo\" or \"UTC\"")),
            ("local", None) => Err("time_format \"local\" needs a zone, as zone = \"Europe/Oslo\"".to_owned()),
            (_, Some(_)) => Err("zone is only for time_format = \"local\"".to_owned()),
            ("rfc3339", None) => Ok(Self::Rfc3339),
            ("unix", None) => unix(6),
            ("unix_ms", None) => unix(3),
            ("unix_us", None) => unix(0),
            ("unix_ns", None) => unix(-3),
            _ => Err(format!("time_format: nothing is called {name:?}; {}", crate::base::text::instead(name, &FORMATS))),
        }
    }

    /// What such a time is, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Rfc3339 => "in RFC 3339",
            Self::Unix(_) => "as a number since 1970",
            Self::Local(_) => "as a local time",
        }
    }

    /// Reads a time.
    pub(super) fn parse(&self, text: &str) -> Option<Parsed> {
        match self {
            Self::Rfc3339 => time::parse_rfc3339(text.as_bytes()).or_else(|| with_offset(text)),
            Self::Unix(places) => Some(Parsed { time: unix(text, *places)?, canonical: false }),
            Self::Local(zone) => with_offset(text).or_else(|| {
                // A zone behind it would be another one.
                let is_bare = !text.contains(['[', '+', 'Z', 'z']) && text.rfind('-') == Some(7);
                let civil: DateTime = text.parse().ok().filter(|_| is_bare)?;
                let time = civil.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond();
                (civil.year() >= 0).then_some(Parsed { time, canonical: false })
            }),
        }
    }
}

/// RFC 3339 but for the colon in its offset.
fn with_offset(text: &str) -> Option<Parsed> {
    let (head, minutes) = text.is_char_boundary(text.len().checked_sub(2)?).then(|| text.split_at(text.len() - 2))?;
    let is_offset = text.len() > 22 && matches!(text.as_bytes()[text.len() - 5], b'+' | b'-');
    let parsed = if is_offset { time::parse_rfc3339(format!("{head}:{minutes}").as_bytes()) } else { None };
    let parsed = parsed.or_else(|| time::parse_rfc3339(text.as_bytes()))?;
    Some(Parsed { canonical: false, ..parsed })
}

/// A decimal number in microseconds; digits beyond them are cut off.
fn unix(text: &str, places: i32) -> Option<Micros> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let number = if digits.contains(['e', 'E']) {
        i128::from(json::whole_number(digits)?) * 10_i128.pow(places.max(0).unsigned_abs())
    } else {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let places = usize::try_from(places.max(0)).ok()?;
        let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(places).collect();
        format!("{whole}{fraction}").parse().ok()?
    };
    let number = sign * number / 10_i128.pow(places.min(0).unsigned_abs());
    let is_named = time::YEAR_0 * SECOND..time::YEAR_10000 * SECOND;
    i64::try_from(number).ok().filter(|time| is_named.contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, zone: Option<&str>, text: &str) -> Option<String> {
        When::named(name, zone).unwrap().parse(text).map(|parsed| time::rfc3339(parsed.time))
    }

    #[test]
    fn counts_since_1970_are_read_in_their_unit_and_cut_to_microseconds() {
        let is = |name, text, expected| assert_eq!(read(name, None, text).as_deref(), Some(expected), "{name} {text}");
        is("unix", "1763856000", "2025-11-23T00:00:00.000000Z");
        is("unix", "1763856000.123456789", "2025-11-23T00:00:00.123456Z");
        is("unix", "1.763856e9", "2025-11-23T00:00:00.000000Z");
        is("unix", "-0.25", "1969-12-31T23:59:59.750000Z");
        is("unix_ms", "1763856000123", "2025-11-23T00:00:00.123000Z");
        is("unix_us", "1763856000123456", "2025-11-23T00:00:00.123456Z");
        is("unix_ns", "1763856000123456789", "2025-11-23T00:00:00.123456Z");
        for text in ["", "x", "1.", ".5", "1e", "1763856000000000", "99999999999999999999999", "0x1"] {
            assert_eq!(read("unix", None, text), None, "{text}");
        }
    }

    #[test]
    fn local_times_are_those_of_their_zone_unless_an_offset_says_otherwise() {
        let oslo = Some("Europe/Oslo");
        let is = |text, expected| assert_eq!(read("local", oslo, text).as_deref(), expected, "{text}");
        is("2026-11-23 01:00:00", Some("2026-11-23T00:00:00.000000Z"));
        is("2026-07-01T01:00:00.5", Some("2026-06-30T23:00:00.500000Z"));
        is("2026-11-23 01:00:00+0200", Some("2026-11-22T23:00:00.000000Z"));
        is("2026-11-23T01:00:00Z", Some("2026-11-23T01:00:00.000000Z"));
        // The hour that comes twice, and the one that does not come.
        is("2026-10-25 02:30:00", Some("2026-10-25T00:30:00.000000Z"));
        is("2026-03-29 02:30:00", Some("2026-03-29T01:30:00.000000Z"));
        is("2026-11-23 01:00:00[Asia/Tokyo]", None);
        is("yesterday", None);
        assert_eq!(read("rfc3339", None, "2026-11-23 01:00:00+0100").as_deref(), Some("2026-11-23T00:00:00.000000Z"));
        assert_eq!(read("rfc3339", None, "2026-11-23 01:00:00"), None);
        assert!(When::named("local", None).is_err() && When::named("local", Some("Oslo")).is_err());
        assert!(When::named("unix", oslo).is_err() && When::named("epoch", None).is_err());
    }
}
