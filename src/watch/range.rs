//! From when to when a device is shown: the last hour to the last month, or as somebody wrote it.

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::base::time::{DAY, Micros, SECOND};
use crate::base::zone::Zone;
use crate::query::coverage::Span;

use super::address::Asked;

const HOUR: Micros = 3600 * SECOND;
/// Longest that is drawn.
const LONGEST: Micros = 366 * DAY;

/// From when to when, and how that is written in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// From when to when.
    pub span: Span,
    /// `24h`, where it ends now; empty where both ends are written.
    pub word: &'static str,
    /// The ends as somebody wrote them; empty where it ends now.
    pub written: (String, String),
}

impl Range {
    /// Those that end now, with what they are called.
    pub const WORDS: [(&'static str, &'static str, Micros); 5] = [
        ("1h", "1 hour", HOUR),
        ("6h", "6 hours", 6 * HOUR),
        ("24h", "24 hours", DAY),
        ("7d", "7 days", 7 * DAY),
        ("30d", "30 days", 30 * DAY),
    ];

    /// What is asked for: `from` and `to` by the clock of a zone, or a `span` that ends where the day that is shown does; a day, where
    /// nothing is.
    ///
    /// # Errors
    /// When a time is none, or the end comes before the beginning: what to write.
    pub fn read(asked: &Asked, zone: &Zone, until: Micros) -> Result<Self, String> {
        let (from, to) = (asked.get("from"), asked.get("to"));
        if from.is_empty() && to.is_empty() {
            let word = Self::WORDS.iter().find(|(word, ..)| *word == asked.get("span")).unwrap_or(&Self::WORDS[2]);
            // A picture of a day need not move every second.
            let step = if word.2 > DAY { 900 * SECOND } else { 60 * SECOND };
            let to = until.saturating_add(step - 1).div_euclid(step) * step;
            return Ok(Self { span: (to - word.2, to), word: word.0, written: (String::new(), String::new()) });
        }
        let at = |text: &str, usual: Micros| if text.is_empty() { Ok(usual) } else { moment(text, zone) };
        let to_at = at(to, until)?;
        let from_at = at(from, to_at - DAY)?;
        if from_at >= to_at {
            return Err("the end comes before the beginning".to_owned());
        }
        if to_at - from_at > LONGEST {
            return Err("a year is the longest that is drawn; `overnight plot` draws more".to_owned());
        }
        Ok(Self { span: (from_at, to_at), word: "", written: (from.to_owned(), to.to_owned()) })
    }

    /// As values of an address.
    pub fn values(&self) -> [(&str, &str); 3] {
        [("span", self.word), ("from", &self.written.0), ("to", &self.written.1)]
    }

    /// Its ends as a browser wants them in a field for times.
    pub fn fields(&self, zone: &Zone) -> (String, String) {
        let field = |at: Micros| zone.format(at, "%Y-%m-%dT%H:%M");
        (field(self.span.0), field(self.span.1))
    }
}

fn moment(text: &str, zone: &Zone) -> Result<Micros, String> {
    let clock = text.parse::<DateTime>().ok().map(|clock| zone.rules().to_ambiguous_timestamp(clock));
    let at = clock.and_then(|at| at.compatible().ok()).map(Timestamp::as_microsecond);
    // Far enough from the ends of all time that one can reckon with it.
    at.filter(|at| at.abs() < 200_000 * DAY).ok_or_else(|| "that is no time; write 2026-11-23T18:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Range, String> {
        Range::read(&Asked::read(query), &Zone::named("Europe/Oslo").unwrap(), 20_000 * DAY + 61 * SECOND)
    }

    #[test]
    fn a_range_ends_now_or_as_somebody_wrote_it() {
        assert_eq!(read("").unwrap().span, (19_999 * DAY + 120 * SECOND, 20_000 * DAY + 120 * SECOND));
        assert_eq!(read("span=1h").unwrap().span.1 - read("span=1h").unwrap().span.0, HOUR);
        assert_eq!(read("span=nonsense").unwrap().word, "24h");
        let own = read("from=2026-11-23T18:00&to=2026-11-24T07:00").unwrap();
        assert_eq!(own.span.1 - own.span.0, 13 * HOUR);
        assert_eq!(own.fields(&Zone::named("Europe/Oslo").unwrap()).0, "2026-11-23T18:00");
        assert_eq!(own.values()[1], ("from", "2026-11-23T18:00"));
        for wrong in ["from=x", "from=2026-11-24T07:00&to=2026-11-23T18:00", "from=1990-01-01T00:00", "to=-9999-01-01T00:00"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
