//! Takes secrets out of what others say: some servers say back what they were sent, in whatever writing.

use std::borrow::Cow;

use super::Secret;

/// So many bytes of a secret are enough to know it by: one that was cut off is one too, and nothing is compared for long.
const ENOUGH: usize = 64;
/// What HTML has names for.
const NAMED: [(&[u8], char); 8] = [
    (b"amp;", '&'),
    (b"lt;", '<'),
    (b"gt;", '>'),
    (b"quot;", '"'),
    (b"apos;", '\''),
    (b"plus;", '+'),
    (b"sol;", '/'),
    (b"equals;", '='),
];

/// Secrets, in the ways that they may be written: as they are, in JSON, without the padding of base64 and in its other alphabet.
/// Percent signs, HTML's and JSON's escapes are read wherever they stand.
#[derive(Debug, Clone, Default)]
pub struct Mask(Vec<Secret>);

impl Mask {
    /// Of these secrets.
    pub fn new(secrets: &[&str]) -> Self {
        let json = |secret: &str| {
            let quoted = serde_json::Value::from(secret).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let written = |secret: &&str| {
            let bare = secret.trim_end_matches('=');
            [(*secret).to_owned(), json(secret), bare.to_owned(), bare.replace('+', "-").replace('/', "_")]
        };
        let all = secrets.iter().flat_map(written).filter(|secret| !secret.is_empty());
        let mut mask = Self::default();
        mask.add(Self(all.map(Secret::new).collect()));
        mask
    }

    /// Also of another one's secrets.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
        // One may be a part of another.
        self.0.sort_by(|Secret(a), Secret(b)| (b.len(), b).cmp(&(a.len(), a)));
        self.0.dedup_by(|Secret(a), Secret(b)| a == b);
    }

    /// The text with `***` for each secret.
    pub fn text(&self, said: &str) -> String {
        String::from_utf8_lossy(&self.masked(said.as_bytes())).into_owned()
    }

    /// The same for bytes, which are left as they are where they hold none.
    pub fn bytes(&self, said: &mut Vec<u8>) {
        if let Cow::Owned(masked) = self.masked(said) {
            *said = masked;
        }
    }

    fn masked<'s>(&self, said: &'s [u8]) -> Cow<'s, [u8]> {
        let (mut out, mut from, mut at) = (Vec::new(), 0, 0);
        while at < said.len() {
            match self.0.iter().find_map(|Secret(secret)| begins(&said[at..], secret.as_bytes())) {
                Some(length) => {
                    out.extend_from_slice(&said[from..at]);
                    out.extend_from_slice(b"***");
                    at += length;
                    from = at;
                }
                None => at += 1,
            }
        }
        if from == 0 {
            return Cow::Borrowed(said);
        }
        out.extend_from_slice(&said[from..]);
        Cow::Owned(out)
    }
}

/// How many bytes of a text a secret takes that it begins with, or with enough of it.
fn begins(text: &[u8], secret: &[u8]) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let (mut at, mut known) = (0, 0);
    while known < secret.len() {
        let (rest, mut buffer) = (&text[at..], [0; 4]);
        match (written(rest, &mut buffer), rest.first()) {
            (Some((letter, length)), _) if secret[known..].starts_with(letter) => {
                (at, known) = (at + length, known + letter.len());
            }
            (_, Some(byte)) if *byte == secret[known] || (*byte == b'+' && secret[known] == b' ') => {
                (at, known) = (at + 1, known + 1);
            }
            _ => break,
        }
    }
    (known == secret.len() || known >= ENOUGH).then_some(at)
}

/// The bytes that an escape stands for with which a text begins, and how long it is.
fn written<'b>(text: &[u8], buffer: &'b mut [u8; 4]) -> Option<(&'b [u8], usize)> {
    let (letter, length) = match text {
        [b'%', hex @ ..] => {
            buffer[0] = u8::try_from(number(hex.get(..2)?, 16)?).ok()?;
            return Some((&buffer[..1], 3));
        }
        [b'\\', ..] => {
            // JSON in JSON doubles them.
            let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
            let rest = &text[slashes..];
            match rest {
                [b'u', ..] => {
                    let unit = |at: usize| u16::try_from(number(rest.get(at..at + 4)?, 16)?).ok();
                    let again = 5 + slashes;
                    let pair = || if rest.get(5..=again)?.ends_with(b"\\u") { unit(again + 1) } else { None };
                    let (high, low) = (unit(1)?, pair());
                    match char::from_u32(high.into()) {
                        Some(letter) => (letter, slashes + 5),
                        None => (char::decode_utf16([high, low?]).next()?.ok()?, 2 * again),
                    }
                }
                [byte @ (b'/' | b'"' | b'\''), ..] => (char::from(*byte), slashes + 1),
                _ => return None,
            }
        }
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(10).position(|byte| *byte == b';')?;
            let code = match &rest[..end] {
                [b'x' | b'X', hex @ ..] => number(hex, 16)?,
                decimal => number(decimal, 10)?,
            };
            (char::from_u32(code)?, end + 3)
        }
        [b'&', rest @ ..] => {
            let (name, letter) = NAMED.iter().find(|(name, _)| rest.starts_with(name))?;
            (*letter, name.len() + 1)
        }
        _ => return None,
    };
    Some((letter.encode_utf8(buffer).as_bytes(), length))
}

/// A number of these digits alone.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_writing_and_nothing_else_is() {
        let secret = "a+/b\"<é>&' c😀==";
        let mask = Mask::new(&[secret, "hunter2"]);
        let each = |write: &dyn Fn(char) -> String| secret.chars().map(write).collect::<String>();
        let percent = |c: char| c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let html = |c: char| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            c => c.to_string(),
        };
        let units =
            |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
        for written in [
            secret.to_owned(),
            secret.trim_end_matches('=').to_owned(),
            secret.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
            serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
            secret.replace('/', "\\/"),
            each(&percent),
            each(&percent).to_lowercase(),
            each(&|c| if c.is_ascii_alphanumeric() { c.to_string() } else { percent(c) }),
            each(&|c| if c == ' ' { "+".to_owned() } else { percent(c) }),
            each(&html),
            each(&|c| format!("&#{};", u32::from(c))),
            each(&|c| format!("&#x{:X};", u32::from(c))),
            each(&units),
            each(&units).to_uppercase().replace("\\U", "\\u"),
            each(&|c| if c.is_alphanumeric() { c.to_string() } else { units(c).replace('\\', "\\\\") }),
        ] {
            let masked = mask.text(&format!("you sent {written} to us"));
            assert!(masked.starts_with("you sent ***") && masked.ends_with(" to us") && masked.len() < 24, "{written}: {masked}");
        }
        for other in ["hunter", "hunter%2", "&&amp;&#;&#x;%%2", "\\u", "\\ud83d\\", "a+/b", "%", "hunter&#50", "é"] {
            assert_eq!(mask.text(other), other);
        }
        assert_eq!(mask.text("hunter2hunter2, hunter&#50;"), "******, ***");
        let (mut bytes, mut own) = (b"\xff hunter\\u0032 \xff".to_vec(), b"\xff none".to_vec());
        mask.bytes(&mut bytes);
        mask.bytes(&mut own);
        assert_eq!((bytes.as_slice(), own.as_slice()), (&b"\xff *** \xff"[..], &b"\xff none"[..]));
        assert_eq!(Mask::new(&[""]).text("as it is"), "as it is");
    }

    #[test]
    fn a_long_secret_that_was_cut_off_is_masked_as_far_as_it_goes() {
        let secret: String = (0..500).map(|n: u32| char::from_digit(n % 36, 36).unwrap_or('x')).collect();
        let mask = Mask::new(&[&secret]);
        assert_eq!(mask.text(&format!("sent {}…", &secret[..200])), "sent ***…");
        assert_eq!(mask.text(&secret[..ENOUGH - 1]), secret[..ENOUGH - 1]);
    }
}
