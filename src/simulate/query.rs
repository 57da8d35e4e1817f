//! Query strings and forms: repeated keys, and both spellings of every key (`device_ids` and `deviceIds`).

use super::refusal::Refusal;
use std::time::Duration;

/// The decoded parameters, keys in snake case.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (snake(&decode(key)), decode(value))
                })
                .collect(),
        )
    }

    /// All values of a repeatable key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// The value of a key; an empty one counts as none.
    pub(super) fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// An RFC 3339 time in microseconds.
    pub(super) fn time(&self, key: &str) -> Result<Option<i64>, Refusal> {
        self.one(key)
            .map(|text| instant(text).ok_or_else(|| Refusal::argument(format!("{key}: {text:?} is no RFC 3339 time"))))
            .transpose()
    }

    /// A page size, at most `max`.
    pub(super) fn page_size(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        let Some(text) = self.one("page_size") else { return Ok(default) };
        match text.parse::<usize>() {
            Ok(0) => Ok(default),
            Ok(size) => Ok(size.min(max)),
            Err(_) => Err(Refusal::argument(format!("page_size: {text:?} is no page size"))),
        }
    }

    /// A duration such as `10s`.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.one(key) else { return Ok(None) };
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
        units
            .iter()
            .find_map(|(unit, seconds)| {
                let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
                Duration::try_from_secs_f64(number * seconds).ok().filter(|d| !d.is_zero())
            })
            .map(Some)
            .ok_or_else(|| Refusal::argument(format!("{key}: {text:?} is no duration such as 10s")))
    }
}

/// An RFC 3339 time in microseconds.
pub(super) fn instant(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 2);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter().copied();
    while let Some(b) = bytes.next() {
        let rest = bytes.clone();
        let hex = |i: usize| rest.clone().nth(i).and_then(|c| char::from(c).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match b {
            b'+' => out.push(b' '),
            b'%' => match (hex(0), hex(1)) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    bytes.nth(1);
                }
                _ => out.push(b),
            },
            _ => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_repeated_keys_are_understood() {
        let p = Params::parse("deviceIds=a&device_ids=b%3Dc&x=1+2%2&pingInterval=1.5s&flag");
        assert_eq!(p.all("device_ids").collect::<Vec<_>>(), ["a", "b=c"]);
        assert_eq!(p.one("x"), Some("1 2%2"));
        assert_eq!(p.duration("ping_interval").ok().flatten(), Some(Duration::from_millis(1_500)));
        assert!(Params::parse("ping_interval=soon").duration("ping_interval").is_err());
        assert!(Params::parse("page_size=-1").page_size(1, 2).is_err());
    }
}
