//! Addresses: what stands behind the question mark, read and written.

use std::fmt::Write;

/// Longest value that is read, in bytes; the rest of it is left out.
const LONGEST: usize = 300;

/// The values of a query, by their names.
#[derive(Debug, Clone, Default)]
pub struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads `a=b&c=d`, in whatever encoding a browser sends.
    pub fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(pairs.take(50).map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(a, b)| (plain(a), plain(b))).collect())
    }

    /// A value; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// Without what a browser did to it.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next().filter(|_| bytes.len() < LONGEST) {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut ahead = rest.clone();
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(ahead.next()), digit(ahead.next())) {
                    (Some(high), Some(low)) => {
                        rest = ahead;
                        u8::try_from(high * 16 + low).unwrap_or_default()
                    }
                    _ => byte,
                }
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A path with values; those that are empty are left out.
pub(super) fn address(path: &str, values: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (number, (name, value)) in values.iter().filter(|(_, value)| !value.is_empty()).enumerate() {
        out.push(if number == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
                out.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                write!(out, "%{byte:02X}").unwrap_or_default();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let written = address("/device", &[("id", "a/b c&d=é%"), ("no", ""), ("span", "24h")]);
        assert_eq!(written, "/device?id=a%2Fb%20c%26d%3D%C3%A9%25&span=24h");
        let asked = Asked::read(written.split_once('?').unwrap().1);
        assert_eq!((asked.get("id"), asked.get("span"), asked.get("no")), ("a/b c&d=é%", "24h", ""));
    }

    #[test]
    fn nothing_that_somebody_sends_is_too_odd_or_too_long() {
        let asked = Asked::read("a=1+2%&b=%zz%4&c&=x&%ff=y");
        assert_eq!((asked.get("a"), asked.get("b"), asked.get("c")), ("1 2%", "%zz%4", ""));
        assert_eq!(Asked::read(&format!("a={}", "x".repeat(10_000))).get("a").len(), LONGEST);
    }
}
