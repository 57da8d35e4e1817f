//! Local time: a time zone by name, what its clocks show, and the calendar's spans (quarters of an hour, days, months) in it.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::base::text;
use crate::base::time::{DAY, Micros, SECOND, YEAR_1, YEAR_10000, rfc3339};

const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// A time zone. Asks its rules only where a time lies beyond the last change of clocks that it knows of.
#[derive(Debug, Clone)]
pub struct Zone {
    rules: TimeZone,
    name: String,
    /// Between the first two times, clocks are ahead of UTC by the third.
    known: (Micros, Micros, Micros),
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { rules: TimeZone::UTC, name: "UTC".to_owned(), known: (Micros::MIN, Micros::MAX, 0) }
    }

    /// The zone that this computer is set to; UTC where it does not say.
    pub fn system() -> Self {
        let rules = TimeZone::system();
        let name = match rules.iana_name() {
            // As many machines call it.
            Some("Etc/UTC" | "Etc/UCT" | "Etc/Universal" | "Etc/Zulu" | "Etc/Unknown") => "UTC",
            Some(name) => name,
            // Rules alone, as TZ=CET-1CEST has them.
            None => "local time",
        };
        Self { name: name.to_owned(), rules, known: (0, 0, 0) }
    }

    /// A zone by its IANA name, such as `Europe/Oslo`; `system` is the one of this computer.
    ///
    /// # Errors
    /// When nobody knows the name.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "system" | "local" => return Ok(Self::system()),
            "UTC" | "utc" | "Z" => return Ok(Self::utc()),
            _ => {}
        }
        let rules = TimeZone::get(name).map_err(|_| unknown(name))?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { rules, name, known: (0, 0, 0) })
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same zone, for whoever does calendar arithmetic.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// By how much clocks are ahead of UTC at a time, in microseconds.
    #[inline]
    pub fn offset(&mut self, time: Micros) -> Micros {
        let (from, to, offset) = self.known;
        if (from..to).contains(&time) { offset } else { self.look_up(time) }
    }

    fn look_up(&mut self, time: Micros) -> Micros {
        let stamp = stamp(time);
        let offset = i64::from(self.rules.to_offset(stamp).seconds()) * SECOND;
        let next = self.rules.following(stamp).next().map_or(Micros::MAX, |change| change.timestamp().as_microsecond());
        // A change at this very time counts as one before it.
        let after = self::stamp(time.saturating_add(1));
        let last = self.rules.preceding(after).next().map_or(Micros::MIN, |change| change.timestamp().as_microsecond());
        // Where this clock would show a year that four digits do not name, times are of UTC.
        let (begins, ends) = (YEAR_1 * SECOND - offset, YEAR_10000 * SECOND - offset);
        self.known = match time {
            _ if time >= ends => (last.max(ends), next.max(ends), 0),
            _ if time < begins => (last.min(begins), next.min(begins), 0),
            _ => (last.max(begins), next.min(ends), offset),
        };
        self.known.2
    }

    /// What the clock on the wall shows at a time, as microseconds since 1970-01-01T00:00:00 of that clock.
    pub fn local(&mut self, time: Micros) -> Micros {
        time.saturating_add(self.offset(time))
    }

    /// The same, but where clocks go back over midnight, as they did in St. John's at a minute past, the day before is over when it
    /// is over for good: the days of times in order are in order.
    pub fn settled(&mut self, time: Micros) -> Micros {
        self.local(time).min(self.local(time.saturating_add(30 * 60 * SECOND)))
    }

    /// A time as its clock shows it, by a pattern as of strftime; in RFC 3339 where the pattern does not fit it.
    pub fn format(&self, time: Micros, how: &str) -> String {
        let text = match Timestamp::from_microsecond(time) {
            Ok(stamp) if time >= YEAR_1 * SECOND + DAY => strtime::format(how, &stamp.to_zoned(self.rules.clone())),
            // The first and the last day of all years that four digits name.
            _ => strtime::format(how, civil(self.clone().local(time))),
        };
        text.unwrap_or_else(|_| rfc3339(time))
    }

    /// When the clock on the wall shows a local time: the first time of two, the moment of the change where clocks skip it.
    fn instant(&self, local: DateTime) -> Micros {
        let found = self.rules.to_ambiguous_timestamp(local);
        if let AmbiguousOffset::Gap { .. } = found.offset()
            && let Ok(before) = found.earlier()
            && let Some(change) = self.rules.following(before).next()
        {
            return change.timestamp().as_microsecond();
        }
        found.compatible().map_or(Micros::MAX, Timestamp::as_microsecond)
    }
}

/// What to say of a zone that nobody knows. A city alone is enough to guess by.
fn unknown(name: &str) -> String {
    let all: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let cities: Vec<&str> = all.iter().map(|zone| zone.rsplit('/').next().unwrap_or(zone)).collect();
    let by_city =
        || all.iter().zip(&cities).find(|(_, city)| text::nearest(name, &cities) == Some(city)).map(|(zone, _)| zone.as_str());
    match text::nearest(name, &all).or_else(by_city) {
        Some(zone) => format!("{name:?} is no time zone: is it {zone}?"),
        None => format!("{name:?} is no time zone; write an IANA name such as Europe/Oslo, or UTC, or system"),
    }
}

/// Appends an offset from UTC as `+01:00`; long ago some had seconds as well.
pub fn write_offset(offset: Micros, out: &mut Vec<u8>) {
    let seconds = offset.abs() / SECOND;
    out.push(if offset < 0 { b'-' } else { b'+' });
    let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    for (index, part) in parts.into_iter().take(if seconds % 60 == 0 { 2 } else { 3 }).enumerate() {
        if index > 0 {
            out.push(b':');
        }
        let digit = |part: i64| b'0' + u8::try_from(part % 10).unwrap_or_default();
        out.extend([digit(part / 10), digit(part)]);
    }
}

fn stamp(time: Micros) -> Timestamp {
    let bound = if time < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(time).unwrap_or(bound)
}

/// How long a bucket of the calendar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// A part of a day, in microseconds: it divides an hour, or is whole hours that divide a day.
    Part(Micros),
    /// Days, counted from 1970-01-01.
    Days(i64),
    /// Weeks, beginning on Mondays.
    Weeks(i64),
    /// Months, counted from January 1970.
    Months(i64),
    /// All times in one.
    Ever,
}

impl Every {
    /// About how long it is, in microseconds.
    pub fn about(self) -> Micros {
        match self {
            Self::Part(part) => part,
            Self::Days(days) => days * DAY,
            Self::Weeks(weeks) => weeks * 7 * DAY,
            Self::Months(months) => months * 30 * DAY,
            Self::Ever => Micros::MAX,
        }
    }
}

impl FromStr for Every {
    type Err = String;

    /// Reads `10s`, `15m`, `1h`, `1d`, `1w`, `1mo`.
    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("{text:?} is no length of a bucket; write 10s, 15m, 1h, 1d, 1w or 1mo");
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let count: i64 = text[..text.len() - unit.len()].parse().map_err(|_| fail())?;
        if !(1..=10_000).contains(&count) {
            return Err(fail());
        }
        let part = match unit {
            "s" => count * SECOND,
            "m" | "min" => count * MINUTE,
            "h" => count * HOUR,
            "d" => return Ok(Self::Days(count)),
            "w" => return Ok(Self::Weeks(count)),
            "mo" => return Ok(Self::Months(count)),
            _ => return Err(fail()),
        };
        if part == DAY {
            return Ok(Self::Days(1));
        }
        if HOUR % part == 0 || (part % HOUR == 0 && DAY % part == 0) {
            return Ok(Self::Part(part));
        }
        Err(format!("{text} does not divide an hour or a day evenly, so it cannot follow the calendar; try 15m, 1h or 6h"))
    }
}

impl fmt::Display for Every {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part) if part % HOUR == 0 => write!(out, "{}h", part / HOUR),
            Self::Part(part) if part % MINUTE == 0 => write!(out, "{}m", part / MINUTE),
            Self::Part(part) => write!(out, "{}s", part / SECOND),
            Self::Days(days) => write!(out, "{days}d"),
            Self::Weeks(weeks) => write!(out, "{weeks}w"),
            Self::Months(months) => write!(out, "{months}mo"),
            Self::Ever => write!(out, "ever"),
        }
    }
}

/// The buckets of a calendar: half-open spans that follow each other without a hole, each beginning where the clock on the
/// wall shows a round time. Days of 23 and 25 hours come out as that long.
#[derive(Debug, Clone)]
pub struct Buckets {
    zone: Zone,
    every: Every,
    last: (Micros, Micros),
}

impl Buckets {
    /// Buckets of a length in a zone.
    pub fn new(zone: Zone, every: Every) -> Self {
        Self { zone, every, last: (0, 0) }
    }

    /// The bucket that a time falls into: its start, and the start of the next.
    pub fn of(&mut self, time: Micros) -> (Micros, Micros) {
        if !(self.last.0..self.last.1).contains(&time) {
            self.last = match self.every {
                Every::Ever => (Micros::MIN, Micros::MAX),
                Every::Part(part) if part <= HOUR => self.within_an_hour(part, time),
                _ => {
                    let mut bucket = (self.start(time), Micros::MIN);
                    loop {
                        bucket.1 = self.after(bucket.0);
                        // What clocks show again, once they are set back over a boundary, is past that boundary.
                        if bucket.1 > time || bucket.1 <= bucket.0 {
                            break bucket;
                        }
                        bucket.0 = bucket.1;
                    }
                }
            };
            // Beyond the calendar all time is one bucket, so that whoever goes on from its end gets somewhere.
            if !(self.last.0..self.last.1).contains(&time) {
                self.last = (self.last.0.min(time), Micros::MAX);
            }
        }
        self.last
    }

    /// A change of clocks ends a bucket where it does not fall on a round time anyway (Lord Howe moves by half an hour).
    fn within_an_hour(&mut self, part: Micros, time: Micros) -> (Micros, Micros) {
        let offset = self.zone.offset(time);
        let (changed, changes, _) = self.zone.known;
        let start = time.saturating_add(offset).div_euclid(part).saturating_mul(part).saturating_sub(offset);
        (start.max(changed), start.saturating_add(part).min(changes))
    }

    fn start(&mut self, time: Micros) -> Micros {
        let offset = self.zone.offset(time);
        let local = time.saturating_add(offset);
        let floor = |length: Micros| local.div_euclid(length).saturating_mul(length);
        let start = match self.every {
            Every::Ever => return Micros::MIN,
            Every::Part(part) => civil(floor(part)),
            Every::Days(days) => civil(floor(days * DAY)),
            // 1970-01-01 was a Thursday.
            Every::Weeks(weeks) => civil(
                local.saturating_add(3 * DAY).div_euclid(weeks * 7 * DAY).saturating_mul(weeks * 7 * DAY).saturating_sub(3 * DAY),
            ),
            Every::Months(months) => {
                let date = civil(local).date();
                let month = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1;
                let month = month.div_euclid(months) * months;
                let year = i16::try_from(1970 + month.div_euclid(12)).unwrap_or_default();
                let month = i8::try_from(month.rem_euclid(12) + 1).unwrap_or(1);
                Date::new(year, month, 1).unwrap_or(date).to_datetime(jiff::civil::Time::midnight())
            }
        };
        // Where clocks are set back over a start, the time may lie before that start's first showing.
        self.zone.instant(start).min(time)
    }

    fn after(&mut self, start: Micros) -> Micros {
        let local = civil(self.zone.local(start));
        let next = match self.every {
            Every::Ever => return Micros::MAX,
            Every::Part(part) => local.checked_add((part / HOUR).hours()),
            Every::Days(days) => local.checked_add(days.days()),
            Every::Weeks(weeks) => local.checked_add(weeks.weeks()),
            Every::Months(months) => local.checked_add(months.months()),
        };
        let next = next.map_or(Micros::MAX, |next| self.zone.instant(next));
        // A bucket whose end the clocks jump over, or that they cut short.
        let begins = self.start(next);
        if begins > start { begins } else { next }
    }
}

fn civil(local: Micros) -> DateTime {
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(SignedDuration::from_micros(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn buckets(zone: &str, every: &str, from: &str, to: &str) -> Vec<(String, i64)> {
        let mut buckets = Buckets::new(Zone::named(zone).unwrap(), every.parse().unwrap());
        let (mut time, mut all) = (at(from), Vec::new());
        while time < at(to) {
            let (start, end) = buckets.of(time);
            assert!(start <= time && time < end, "{time} lies in {start}..{end}");
            all.push((stamp(start).to_string(), (end - start) / MINUTE));
            time = end;
        }
        all
    }

    #[test]
    fn days_have_23_and_25_hours_where_clocks_change() {
        let spring = buckets("Europe/Oslo", "1d", "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(spring.iter().map(|(_, minutes)| minutes / 60).collect::<Vec<_>>(), [24, 23, 24]);
        let autumn = buckets("Europe/Oslo", "1d", "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(autumn.iter().map(|(_, minutes)| minutes / 60).collect::<Vec<_>>(), [24, 25, 24]);
        assert_eq!(autumn[1].0, "2026-10-24T22:00:00Z");
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_buckets_and_the_one_that_is_skipped_none() {
        let autumn = buckets("Europe/Oslo", "1h", "2026-10-24T23:30:00Z", "2026-10-25T03:00:00Z");
        assert_eq!(autumn.iter().map(|(_, minutes)| *minutes).collect::<Vec<_>>(), [60; 4]);
        let spring = buckets("Europe/Oslo", "6h", "2026-03-28T23:00:00Z", "2026-03-29T21:00:00Z");
        assert_eq!(spring.iter().map(|(_, minutes)| minutes / 60).collect::<Vec<_>>(), [5, 6, 6, 6]);
        let autumn = buckets("Europe/Oslo", "2h", "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z");
        assert_eq!(autumn.iter().map(|(_, minutes)| minutes / 60).collect::<Vec<_>>(), [2, 3, 2]);
    }

    #[test]
    fn a_day_that_clocks_end_twice_is_over_when_it_is_over_for_good() {
        let mut zone = Zone::named("America/St_Johns").unwrap();
        let mut day = |time: &str| crate::base::time::Day::of(zone.settled(at(time))).to_string();
        // Clocks went from 00:01 back to 23:01.
        let days = ["2006-10-29T02:29:59Z", "2006-10-29T02:30:55Z", "2006-10-29T03:29:59Z"].map(&mut day);
        assert_eq!(days, ["2006-10-28"; 3]);
        assert_eq!(["2006-10-29T03:30:00Z", "2006-10-30T03:29:59Z"].map(&mut day), ["2006-10-29"; 2]);
    }

    #[test]
    fn buckets_follow_the_calendar_of_the_zone() {
        let quarter = buckets("Asia/Kathmandu", "1h", "2026-11-24T00:00:00Z", "2026-11-24T01:00:00Z");
        assert_eq!(quarter[0].0, "2026-11-23T23:15:00Z");
        let weeks = buckets("UTC", "1w", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z");
        assert_eq!(weeks[0].0, "2026-11-23T00:00:00Z");
        let months = buckets("America/New_York", "1mo", "2026-11-24T00:00:00Z", "2026-12-24T00:00:00Z");
        assert_eq!(months[0], ("2026-11-01T04:00:00Z".to_owned(), 30 * 24 * 60 + 60));
        assert_eq!(months[1].0, "2026-12-01T05:00:00Z");
    }

    #[test]
    fn every_time_of_two_years_lies_in_one_bucket_of_each_kind() {
        for zone in ["Europe/Oslo", "Australia/Lord_Howe", "America/St_Johns", "UTC", "Pacific/Apia"] {
            for every in ["15m", "1h", "2h", "3h", "6h", "12h", "1d", "1w", "1mo"] {
                let parts = buckets(zone, every, "2026-01-01T00:00:00Z", "2027-02-01T00:00:00Z");
                assert!(parts.windows(2).all(|pair| pair[0].0 < pair[1].0), "{zone} {every}");
            }
        }
    }

    #[test]
    fn what_clocks_show_again_is_past_the_boundary_over_which_they_were_set_back() {
        let mut buckets = Buckets::new(Zone::named("Antarctica/Troll").unwrap(), "2h".parse().unwrap());
        for time in [
            "2025-10-26T00:30:00Z",
            "2025-10-26T01:30:00Z",
            "2025-10-26T03:30:00Z",
            "2025-10-25T22:00:00Z",
            "2025-10-26T01:30:00Z",
        ] {
            let (start, end) = buckets.of(at(time));
            assert!(start <= at(time) && at(time) < end, "{time}: {start} {end}");
        }
        assert_eq!(buckets.of(at("2025-10-26T01:30:00Z")), (at("2025-10-26T00:00:00Z"), at("2025-10-26T04:00:00Z")));
        // A boundary that clocks skip is where they do.
        assert_eq!(buckets.of(at("2018-03-25T00:30:00Z")), (at("2018-03-25T00:00:00Z"), at("2018-03-25T01:00:00Z")));
        assert_eq!(buckets.of(at("2018-03-25T01:30:00Z")), (at("2018-03-25T01:00:00Z"), at("2018-03-25T02:00:00Z")));
    }

    #[test]
    fn offsets_are_those_of_the_rules_on_both_sides_of_a_change() {
        let mut zone = Zone::named("Europe/Oslo").unwrap();
        for (time, hours) in [("2026-10-25T00:59:59Z", 2), ("2026-10-25T01:00:00Z", 1), ("2026-03-29T00:59:59Z", 1)] {
            assert_eq!(zone.offset(at(time)), hours * HOUR, "{time}");
        }
        assert_eq!(zone.offset(at("2026-03-29T01:00:00Z")), 2 * HOUR);
        let mut text = Vec::new();
        write_offset(-(3 * HOUR + 30 * MINUTE), &mut text);
        assert_eq!(text, b"-03:30");
        text.clear();
        write_offset(-(44 * MINUTE + 30 * SECOND), &mut text);
        assert_eq!(text, b"-00:44:30");
    }

    #[test]
    fn a_bucket_holds_its_time_and_ends_behind_it_at_any_time_at_all() {
        let times =
            [Micros::MIN, YEAR_1 * SECOND - 1, YEAR_1 * SECOND, YEAR_10000 * SECOND - 1, YEAR_10000 * SECOND, Micros::MAX - 1];
        for zone in ["UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe"] {
            for every in ["10s", "1h", "6h", "1d", "3w", "1mo"] {
                for time in times {
                    let mut buckets = Buckets::new(Zone::named(zone).unwrap(), every.parse().unwrap());
                    let (start, end) = buckets.of(time);
                    assert!(start <= time && time < end, "{zone} {every}: {time} in {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn a_local_time_beyond_four_digits_is_of_utc() {
        for (zone, time) in [("Europe/Oslo", "9999-12-31T23:30:00Z"), ("America/New_York", "0001-01-01T00:30:00Z")] {
            let time = crate::base::time::parse_rfc3339(time.as_bytes()).unwrap().time;
            let mut zone = Zone::named(zone).unwrap();
            assert_eq!((zone.offset(time), zone.local(time)), (0, time));
            assert_eq!(zone.format(time, "%Y-%m-%d %H:%M:%S"), rfc3339(time)[..19].replace('T', " "));
        }
        assert_eq!(Zone::named("Europe/Oslo").unwrap().offset(at("9999-12-30T00:00:00Z")), HOUR);
    }

    #[test]
    fn a_zone_that_nobody_knows_is_refused_with_the_nearest() {
        let said = |name| Zone::named(name).unwrap_err();
        assert_eq!(said("Europe/Olso"), "\"Europe/Olso\" is no time zone: is it Europe/Oslo?");
        assert_eq!(said("oslo"), "\"oslo\" is no time zone: is it Europe/Oslo?");
        assert!(said("Mars/Base").contains("write an IANA name"));
    }

    #[test]
    fn a_length_that_no_calendar_has_is_refused() {
        for text in ["7m", "5h", "0m", "m", "1.5h", "-1h", "100000s", "1y", ""] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
        assert_eq!("24h".parse(), Ok(Every::Days(1)));
        assert_eq!("90s".parse::<Every>().ok(), Some(Every::Part(90 * SECOND)));
    }
}
