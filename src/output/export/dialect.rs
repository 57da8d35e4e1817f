//! How CSV is written, so that the reader's program takes it for what it is: separators, times, nulls, by hand or by country.

use std::str::FromStr;

use crate::base::time::{Micros, SECOND, write_civil};
use crate::base::zone::{Zone, write_offset};

use super::locales::separators;
use super::misread::Misread;

/// How CSV is written.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// Between cells.
    pub delimiter: u8,
    /// Between a number's whole part and its decimals.
    pub decimal: u8,
    /// Whether the file begins with a byte order mark, without which Excel does not take it for UTF-8.
    pub bom: bool,
    /// Whether lines end as on Windows.
    pub crlf: bool,
    /// How times are written.
    pub time: TimeFormat,
    /// Whose clock times are of.
    pub zone: Zone,
    /// What stands for a null.
    pub null: String,
    /// Whether text that a spreadsheet would run as a formula gets a `'` before it.
    pub defuse: bool,
    /// Where what a spreadsheet misreads is noted, if anybody wants to know.
    pub misread: Option<Misread>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            decimal: b'.',
            bom: false,
            crlf: false,
            time: TimeFormat::Rfc3339,
            zone: Zone::utc(),
            null: String::new(),
            defuse: true,
            misread: None,
        }
    }
}

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-23T10:34:03.970415Z`, or with the zone's offset.
    Rfc3339,
    /// `2026-11-23 10:34:03.970415`.
    Local,
    /// `2026-11-23 10:34:03.970`, which spreadsheets take for a time; with the decimals of their country.
    Excel,
    /// Seconds since 1970, with six decimals.
    Unix,
    /// Milliseconds since 1970.
    UnixMillis,
    /// A pattern as of strftime.
    Pattern(String),
}

impl FromStr for TimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "rfc3339" | "iso" => Self::Rfc3339,
            "local" => Self::Local,
            "excel" => Self::Excel,
            "unix" => Self::Unix,
            "unix-ms" => Self::UnixMillis,
            pattern if pattern.contains('%') => {
                let zoned = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
                jiff::fmt::strtime::format(pattern, &zoned).map_err(|error| format!("{pattern:?} is no pattern: {error}"))?;
                Self::Pattern(pattern.to_owned())
            }
            _ => return Err(format!("{text:?} is none of rfc3339, local, excel, unix, unix-ms, nor a pattern such as %d.%m.%Y")),
        })
    }
}

impl TimeFormat {
    /// True when the text does not say by how much its clock is ahead of UTC, so that one hour a year comes twice.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Rfc3339 | Self::Unix | Self::UnixMillis => false,
            Self::Local | Self::Excel => true,
            Self::Pattern(pattern) => !["%z", "%:z", "%s", "%+"].iter().any(|part| pattern.contains(part)),
        }
    }
}

impl Dialect {
    /// What Excel and LibreOffice take as it is, where they are set to a country's habits: `de`, `de-DE`, `en-US`, `nb_NO.UTF-8`.
    ///
    /// # Errors
    /// When the locale is not known, with those that are nearest.
    pub fn for_excel(locale: &str) -> Result<Self, String> {
        let (delimiter, decimal) = separators(locale)?;
        Ok(Self {
            delimiter,
            decimal,
            bom: true,
            crlf: true,
            time: TimeFormat::Excel,
            misread: Some(Misread::default()),
            ..Self::default()
        })
    }

    /// Appends by how much the clock is ahead of UTC at a time; for a spreadsheet, which takes `+01:00` for one o'clock, as text.
    pub(super) fn write_offset(&mut self, time: Micros, out: &mut Vec<u8>) {
        if self.time == TimeFormat::Excel {
            out.extend_from_slice(b"UTC");
        }
        write_offset(self.zone.offset(time), out);
    }

    /// Whether times and offsets hold the delimiter, so that they stand in quotes.
    pub(super) fn quotes_times(&self) -> bool {
        self.delimiter == b':' && !matches!(self.time, TimeFormat::Unix | TimeFormat::UnixMillis | TimeFormat::Pattern(_))
    }

    /// Appends a time.
    pub(super) fn write_time(&mut self, time: Micros, out: &mut Vec<u8>) {
        let offset = match self.time {
            TimeFormat::Unix | TimeFormat::UnixMillis => 0,
            _ => self.zone.offset(time),
        };
        match &self.time {
            TimeFormat::Rfc3339 => {
                // An offset has no seconds there; the moment is the same.
                let offset = offset - offset % (60 * SECOND);
                write_civil(time + offset, b'T', out);
                if offset == 0 && self.zone.name() == "UTC" {
                    out.push(b'Z');
                } else {
                    write_offset(offset, out);
                }
            }
            TimeFormat::Local => write_civil(time + offset, b' ', out),
            TimeFormat::Excel => {
                write_civil(time + offset, b' ', out);
                // Milliseconds, cut off, as a workbook has them.
                out.truncate(out.len() - "000".len());
                let point = out.len() - ".000".len();
                out[point] = self.decimal;
            }
            TimeFormat::Unix => {
                let (sign, time) = (if time < 0 { "-" } else { "" }, time.unsigned_abs());
                let (seconds, rest) = (time / SECOND.unsigned_abs(), time % SECOND.unsigned_abs());
                out.extend_from_slice(format!("{sign}{seconds}{}{rest:06}", char::from(self.decimal)).as_bytes());
            }
            TimeFormat::UnixMillis => out.extend_from_slice(time.div_euclid(1000).to_string().as_bytes()),
            TimeFormat::Pattern(pattern) => {
                let text = self.zone.format(time, pattern);
                let bytes = text.as_bytes();
                if bytes.contains(&self.delimiter) || bytes.iter().any(|byte| b"\"\r\n".contains(byte)) {
                    out.extend_from_slice(format!("\"{}\"", text.replace('"', "\"\"")).as_bytes());
                } else {
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
}

/// What ends a cell for some spreadsheet, whatever this file's own delimiter is.
pub(super) const ENDS: [char; 5] = [',', ';', '\t', '\n', '\r'];

/// A text that no spreadsheet runs, whichever delimiter it takes for the file's: a `'` before what it would take for a formula,
/// at the beginning and behind each end of a cell. None where there is nothing to do.
pub(super) fn defused(text: &str) -> Option<String> {
    if !is_formula(text) && !text.contains(ENDS) {
        return None;
    }
    let is_container = text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_container {
        return defused_json(text);
    }
    let mut out = if is_formula(text) { "'".to_owned() } else { String::new() };
    let mut rest = text;
    while let Some(at) = rest.find(ENDS) {
        let (part, behind) = rest.split_at(at + 1);
        out.push_str(part);
        rest = behind;
        // A quote before it makes no difference there, nor does what ends a list behind a number.
        let next = rest.split(ENDS).next().unwrap_or_default().trim_matches(['"', ' ', ']', '}']);
        if is_formula(next) {
            out.push('\'');
        }
    }
    out.push_str(rest);
    (out.len() > text.len()).then_some(out)
}

/// The same for JSON, which stays equal: within its strings, such a letter is escaped.
pub(super) fn defused_json(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len());
    let (mut is_string, mut is_escaped, mut is_begun) = (false, false, false);
    for letter in json.chars() {
        match letter {
            '=' | '+' | '-' | '@' if is_string && is_begun => {
                out.push_str("\\u00");
                out.push_str(match letter {
                    '=' => "3d",
                    '+' => "2b",
                    '-' => "2d",
                    _ => "40",
                });
            }
            _ => out.push(letter),
        }
        is_begun = ENDS.contains(&letter) || (is_begun && matches!(letter, '"' | ' '));
        is_string ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
    }
    (out.len() > json.len()).then_some(out)
}

/// True when a spreadsheet would run a text as a formula: it begins like one, and is no number.
#[inline]
pub(super) fn is_formula(text: &str) -> bool {
    matches!(text.bytes().next(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n' | 0)) && text.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_has_its_separators() {
        for (locale, delimiter, decimal) in [
            ("de-DE", b';', b','),
            ("de", b';', b','),
            ("nb_NO.UTF-8", b';', b','),
            ("en-US", b',', b'.'),
            ("en_GB.UTF-8", b',', b'.'),
            ("de-CH", b';', b'.'),
            ("it_CH", b';', b'.'),
            ("fr-CH", b';', b','),
            ("en-ZA", b';', b','),
            ("en-DE", b';', b','),
            ("es-CL", b';', b','),
            ("es-419", b',', b'.'),
            ("ar-MA", b';', b','),
            ("zh-CN", b',', b'.'),
            ("zh-Hant-TW", b',', b'.'),
            ("sr_RS@latin", b';', b','),
            ("es-MX", b',', b'.'),
            ("fr_CA", b';', b','),
            ("C.UTF-8", b',', b'.'),
        ] {
            let dialect = Dialect::for_excel(locale).unwrap();
            assert_eq!((dialect.delimiter, dialect.decimal), (delimiter, decimal), "{locale}");
        }
        assert!(Dialect::for_excel("xx").unwrap_err().contains("--delimiter"));
    }

    #[test]
    fn what_another_delimiter_would_make_a_formula_is_none() {
        for (text, wanted) in [
            ("a;=1+1", "a;'=1+1"),
            ("a,@SUM(A1);\"+2+3\"", "a,'@SUM(A1);'\"+2+3\""),
            ("a\t-x\n=2", "a\t'-x\n'=2"),
            ("=1;=2", "'=1;'=2"),
            (r#"{"a":"x;=1","=b":[1,-5,"-5"]}"#, r#"{"a":"x;\u003d1","\u003db":[1,-5,"\u002d5"]}"#),
        ] {
            assert_eq!(defused(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["a;-5", "1,2", "a;b=c", "x, y", "[1,-2]", r#"{"a":"b"}"#, ""] {
            assert_eq!(defused(text), None, "{text}");
        }
    }

    #[test]
    fn formulas_are_told_from_numbers() {
        for text in ["=1+1", "+47 12", "-x", "@SUM(A1)", "\tx", "-1+1"] {
            assert!(is_formula(text), "{text}");
        }
        for text in ["-5", "+5.25", "-1e3", "5", "a=b", "", "{\"a\":1}"] {
            assert!(!is_formula(text), "{text}");
        }
    }
}
