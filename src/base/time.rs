//! Time as this program uses it: microseconds since 1970 in UTC, RFC 3339 text, days. The one place that reads the clock.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Microseconds in one second.
pub const SECOND: Micros = 1_000_000;
/// Microseconds in one day.
pub const DAY: Micros = 86_400 * SECOND;

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A time of the file system.
pub fn from_system(time: SystemTime) -> Micros {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// The monotonic clock, for timers that a jump of the wall clock must not touch.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// A time that programs read as text: it is a number until it is printed, then RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub Micros);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Utc> for Micros {
    fn from(time: Utc) -> Self {
        time.0
    }
}

/// A moment by both clocks: what people call the time, and what no setting of a clock touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// The wall clock.
    pub wall: Micros,
    /// Microseconds since some beginning; they go on while the machine sleeps, where the system tells that.
    pub steady: Micros,
}

impl Moment {
    /// By how much the wall clock was set between an earlier moment and this one; positive: ahead.
    pub fn step_since(self, before: Self) -> Micros {
        (self.wall - before.wall) - (self.steady - before.steady)
    }

    /// What the clock of an earlier moment would show now, had nobody set it.
    pub fn wall_by(self, before: Self) -> Micros {
        before.wall.saturating_add(self.steady - before.steady)
    }

    /// What the wall clock shows beyond the steady one: as long as that is the same, nobody has set it.
    pub fn clock(self) -> Micros {
        self.wall.saturating_sub(self.steady)
    }

    /// The same moment some time later.
    #[must_use]
    pub fn later(self, by: Micros) -> Self {
        Self { wall: self.wall.saturating_add(by), steady: self.steady.saturating_add(by) }
    }
}

/// Clocks that part by more than this were set by somebody.
pub const STEP: Micros = 2 * SECOND;

/// What the steady clock counts from: moments of one boot of this machine can be told apart, whichever process noted them. Empty
/// where the system does not tell.
pub fn boot() -> String {
    #[cfg(target_os = "linux")]
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    let text = String::new();
    text.trim().to_owned()
}

/// Now, by both clocks.
pub fn moment() -> Moment {
    Moment { wall: now(), steady: steady() }
}

/// The clock that nobody sets and that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
fn steady() -> Micros {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(SECOND).saturating_add(time.tv_nsec / 1000)
}

/// The clock that nobody sets. It may stand still while the machine sleeps: that looks like a step of the wall clock.
#[cfg(not(target_os = "linux"))]
fn steady() -> Micros {
    use std::sync::OnceLock;
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    micros(instant().duration_since(*BEGUN.get_or_init(instant)))
}

/// A duration in microseconds, at most `i64::MAX`.
pub fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A UTC day, counted from 1970-01-01. Prints as `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The first day that four digits name, of the year 0000.
    pub const FIRST: Self = Self(-719_528);
    /// The day behind the last one that they name, of the year 9999.
    pub const BEHIND_LAST: Self = Self(2_932_897);

    /// The day that a time falls into.
    #[expect(clippy::cast_possible_truncation, reason = "i64 microseconds span fewer than 2^31 days")]
    pub fn of(time: Micros) -> Self {
        Self(time.div_euclid(DAY) as i32)
    }

    /// First microsecond of the day.
    pub fn start(self) -> Micros {
        i64::from(self.0) * DAY
    }

    /// First microsecond of the next day.
    pub fn end(self) -> Micros {
        self.start() + DAY
    }

    /// Reads `2026-11-23`; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let day = days_from_civil(number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..])?)?;
        Some(Self(i32::try_from(day).ok()?))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

/// Seconds at which the year 0001 begins, the first that most calendars name.
pub const YEAR_1: i64 = -62_135_596_800;
/// Seconds at which the year 0000 begins.
pub const YEAR_0: i64 = -62_167_219_200;
/// Seconds at which the year 9999 is over: four digits name no later time.
pub const YEAR_10000: i64 = 253_402_300_800;

/// A time read from text, with what the text looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// The time; digits beyond microseconds are cut off.
    pub time: Micros,
    /// The text is exactly what [`write_rfc3339`] gives back for the time.
    pub canonical: bool,
}

/// Reads an RFC 3339 time with 0 to 9 decimals, `Z` or an offset. Years 0000 to 9999.
pub fn parse_rfc3339(text: &[u8]) -> Option<Parsed> {
    if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || text[13] != b':' || text[16] != b':' {
        return None;
    }
    if !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let days = days_from_civil(number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?)?;
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (mut fraction, mut digits, mut at) = (0, 0, 19);
    if text[at] == b'.' {
        at += 1;
        while let Some(byte) = text.get(at).filter(|b| b.is_ascii_digit()) {
            if digits < 6 {
                fraction = fraction * 10 + i64::from(byte - b'0');
            }
            digits += 1;
            at += 1;
        }
        if digits == 0 || digits > 9 {
            return None;
        }
        for _ in digits..6 {
            fraction *= 10;
        }
    }
    let zone = &text[at..];
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (number(&rest[..2])?, number(&rest[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * 60 * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset;
    // An offset can carry a time out of the years that four digits name.
    if !(YEAR_0..YEAR_10000).contains(&seconds) {
        return None;
    }
    let canonical = digits == 6 && zone == b"Z" && text[10] == b'T' && second < 60;
    Some(Parsed { time: seconds * SECOND + fraction, canonical })
}

/// Appends `2026-11-23T10:34:03.970415Z`, 27 bytes for the years 0000 to 9999.
pub fn write_rfc3339(time: Micros, out: &mut Vec<u8>) {
    write_civil(time, b'T', out);
    out.push(b'Z');
}

/// Appends `2026-11-23T10:34:03.970415`, with the given separator between date and time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "each part is a remainder and fits")]
pub fn write_civil(time: Micros, separator: u8, out: &mut Vec<u8>) {
    thread_local! {
        /// Dates written last, by the day's last bits: the next time is nearly always of one of them.
        static DATES: [Cell<(i64, [u8; 10])>; 16] = const { [const { Cell::new((i64::MIN, [b'0'; 10])) }; 16] };
    }
    let (day, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY) as u64);
    let date = DATES.with(|dates| match dates[(day & 15) as usize].get() {
        (last, date) if last == day => date,
        _ => write_date(day, &dates[(day & 15) as usize]),
    });
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let two = |value: u64, at: u32| u64::from(u16::from_le_bytes(PAIRS[value as usize % 100])) << (8 * at);
    let clock =
        two(seconds / 3600, 0) | two(seconds / 60 % 60, 3) | two(seconds % 60, 6) | u64::from_le_bytes(*b"\0\0:\0\0:\0\0");
    let decimals = two(fraction / 10_000, 1) | two(fraction / 100 % 100, 3) | two(fraction % 100, 5) | u64::from(b'.');
    // In place and in few pieces: a copy of what was just written would wait for each piece.
    out.extend_from_slice(&[0; 26]);
    let Some(text) = out.last_chunk_mut::<26>() else { return };
    text[..10].copy_from_slice(&date);
    text[10] = separator;
    text[11..19].copy_from_slice(&clock.to_le_bytes());
    text[19..].copy_from_slice(&decimals.to_le_bytes()[..7]);
}

/// `2026-11-23`; years beyond four digits as the nearest that has four.
#[cold]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "each part fits")]
fn write_date(day: i64, into: &Cell<(i64, [u8; 10])>) -> [u8; 10] {
    let (year, month, date) = civil_from_days(day);
    let year = year.clamp(0, 9999);
    let mut text = *b"0000-00-00";
    for (at, value) in [(0, year / 100), (2, year % 100), (5, month), (8, date)] {
        text[at..at + 2].copy_from_slice(&PAIRS[value as usize % 100]);
    }
    into.set((day, text));
    text
}

/// `00` to `99`.
#[expect(clippy::cast_possible_truncation, reason = "a digit fits")]
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// [`write_rfc3339`] as a string.
pub fn rfc3339(time: Micros) -> String {
    let mut out = Vec::with_capacity(27);
    write_rfc3339(time, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Howard Hinnant's `days_from_civil`; none when the date does not exist.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTH: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = LENGTH.get(usize::try_from(month - 1).ok()?)? + i64::from(month == 2 && leap);
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The inverse of [`days_from_civil`]: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * part + 2) / 5 + 1)
}

/// Microseconds as a duration; none is less than nothing.
pub fn duration(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<Parsed> {
        parse_rfc3339(text.as_bytes())
    }

    #[test]
    fn zero_to_nine_decimals_and_offsets_are_read() {
        let base = parse("2024-05-29T10:34:03Z").unwrap().time;
        assert_eq!(base, 1_716_978_843 * SECOND);
        assert_eq!(parse("2024-05-29T10:34:03.970415Z"), Some(Parsed { time: base + 970_415, canonical: true }));
        assert_eq!(parse("2024-05-29T10:34:03.970415987Z"), Some(Parsed { time: base + 970_415, canonical: false }));
        assert_eq!(parse("2024-05-29T10:34:03.5Z").unwrap().time, base + 500_000);
        assert_eq!(parse("2024-05-29T12:34:03+02:00").unwrap().time, base);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01",
            "x024-01-01T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-13-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back_as_itself(time in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&rfc3339(time)), Some(Parsed { time, canonical: true }));
            let day = Day::of(time);
            prop_assert_eq!(Day::parse(&day.to_string()), Some(day));
            prop_assert!(day.start() <= time && time < day.end());
        }
    }
}
