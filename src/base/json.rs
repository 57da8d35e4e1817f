//! A cursor over JSON text that hands out spans, not values.
//!
//! Numbers keep their text (a parsed 30-digit integer silently becomes a float), the whole text is validated in the same
//! pass, and nothing is allocated. A property test holds it to accept and refuse exactly what `serde_json` does.

use std::fmt;

/// Deepest nesting accepted, as in `serde_json`.
const DEPTH: usize = 127;

/// What is wrong with the text, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// What was found wrong.
    pub what: &'static str,
    /// Byte offset into the text.
    pub at: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at byte {}", self.what, self.at + 1)
    }
}

impl std::error::Error for JsonError {}

type Result<T> = std::result::Result<T, JsonError>;

/// A span of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The text of the span.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// A string between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// What stands between the quotes.
    pub span: Span,
    /// It holds a backslash, so the span is not yet the value.
    pub escaped: bool,
}

impl Text {
    /// The string's value in the text; none when it holds half a surrogate pair.
    pub fn of(self, text: &str) -> Option<std::borrow::Cow<'_, str>> {
        let span = self.span.of(text);
        if self.escaped { unescape(span).map(Into::into) } else { Some(span.into()) }
    }
}

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

/// A position in JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Objects and arrays that are open. Counted here and not by value, so that who walks along an event's tree and who
    /// skips a value agree on what is too deep.
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the beginning of the text.
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, depth: 0 }
    }

    /// The text that the spans speak of.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where the cursor stands, white space skipped.
    pub fn position(&mut self) -> usize {
        self.space();
        self.at
    }

    /// Only white space may follow.
    pub fn end(&mut self) -> Result<()> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("unexpected text after the value") }
    }

    /// Looks at the next value without moving past it.
    pub fn peek(&mut self) -> Result<Next> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'n') => Ok(Next::Null),
            Some(_) => self.fail("expected a value"),
            None => self.fail("the text ends too early"),
        }
    }

    /// Steps into an object; true when it has a first key.
    pub fn object(&mut self) -> Result<bool> {
        self.open(b'{', b'}', "expected an object")
    }

    /// Steps into an array; true when it has a first element.
    pub fn array(&mut self) -> Result<bool> {
        self.open(b'[', b']', "expected an array")
    }

    /// After a member's value: true when a further key follows, false when the object has ended.
    pub fn object_next(&mut self) -> Result<bool> {
        self.next(b'}', "expected `,` or `}`")
    }

    /// After an element: true when a further one follows, false when the array has ended.
    pub fn array_next(&mut self) -> Result<bool> {
        self.next(b']', "expected `,` or `]`")
    }

    /// A key with its colon.
    pub fn key(&mut self) -> Result<Text> {
        let key = self.string()?;
        if self.bytes.get(self.at) != Some(&b':') {
            self.space();
            if self.bytes.get(self.at) != Some(&b':') {
                return self.fail("expected `:`");
            }
        }
        self.at += 1;
        Ok(key)
    }

    /// True, and past it, when the text goes on with exactly `"key":`. The quick way for keys in their usual order.
    pub fn key_is(&mut self, quoted: &str) -> bool {
        let hit = self.bytes[self.at..].starts_with(quoted.as_bytes());
        if hit {
            self.at += quoted.len();
        }
        hit
    }

    /// A string.
    pub fn string(&mut self) -> Result<Text> {
        self.space();
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.fail("expected a string");
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.plain();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let span = Span { start, end: self.at };
                    self.at += 1;
                    return Ok(Text { span, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character inside a string"),
                None => return self.fail("the text ends inside a string"),
            }
        }
    }

    /// A number's text, valid as JSON has it.
    pub fn number(&mut self) -> Result<Span> {
        self.space();
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fail("expected a digit"),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(Span { start, end: self.at })
    }

    /// `true` or `false`.
    pub fn bool(&mut self) -> Result<bool> {
        self.space();
        if self.bytes.get(self.at) == Some(&b't') {
            self.literal("true").map(|()| true)
        } else {
            self.literal("false").map(|()| false)
        }
    }

    /// `null`.
    pub fn null(&mut self) -> Result<()> {
        self.space();
        self.literal("null")
    }

    /// Any value, validated; its text. Needs no stack, however deep the nesting.
    pub fn skip(&mut self) -> Result<Span> {
        self.space();
        let start = self.at;
        // One bit a level: set for an object.
        let (mut objects, base) = (0_u128, self.depth);
        loop {
            let entered = match self.peek()? {
                Next::Object => {
                    let some = self.object()?;
                    if some {
                        objects = objects << 1 | 1;
                        self.key()?;
                    }
                    some
                }
                Next::Array => {
                    let some = self.array()?;
                    if some {
                        objects <<= 1;
                    }
                    some
                }
                Next::String => self.string().map(|_| false)?,
                Next::Number => self.number().map(|_| false)?,
                Next::Bool => self.bool().map(|_| false)?,
                Next::Null => self.null().map(|()| false)?,
            };
            if entered {
                continue;
            }
            loop {
                if self.depth == base {
                    return Ok(Span { start, end: self.at });
                }
                let in_object = objects & 1 == 1;
                if in_object && self.object_next()? {
                    self.key()?;
                    break;
                }
                if !in_object && self.array_next()? {
                    break;
                }
                objects >>= 1;
            }
        }
    }

    fn open(&mut self, bracket: u8, close: u8, expected: &'static str) -> Result<bool> {
        self.space();
        if self.bytes.get(self.at) != Some(&bracket) {
            return self.fail(expected);
        }
        if self.depth == DEPTH {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        self.space();
        if self.bytes.get(self.at) == Some(&close) {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    fn next(&mut self, close: u8, expected: &'static str) -> Result<bool> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            _ => self.fail(expected),
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Over the bytes of a string that mean themselves, eight at a time.
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let quote = word ^ (ONES * u64::from(b'"'));
            let slash = word ^ (ONES * u64::from(b'\\'));
            let hit = (quote.wrapping_sub(ONES) & !quote)
                | (slash.wrapping_sub(ONES) & !slash)
                | (word.wrapping_sub(ONES * 0x20) & !word);
            let hit = hit & HIGH;
            if hit == 0 {
                self.at += 8;
            } else {
                self.at += (hit.trailing_zeros() / 8) as usize;
                return;
            }
        }
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let hex = self.bytes.get(self.at + 2..self.at + 6);
                if !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                    return self.fail("a `\\u` without four hex digits");
                }
                self.at += 6;
            }
            _ => return self.fail("an unknown escape"),
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<()> {
        let before = self.at;
        self.digits();
        if self.at == before { self.fail("expected a digit") } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        if self.key_is(word) { Ok(()) } else { self.fail("expected a value") }
    }

    fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(JsonError { what, at: self.at })
    }
}

/// The value of a string between its quotes; none when it holds half a surrogate pair, which no Rust string can.
pub fn unescape(between_quotes: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{between_quotes}\"")).ok()
}

/// A JSON value in its one spelling: without white space, keys in order, no escape that need not be, numbers as they stand. Of a
/// key that stands twice, both stay, in their order.
///
/// # Errors
/// When the text is no JSON.
pub fn canonical(text: &str) -> Result<String> {
    let (mut cursor, mut out) = (Cursor::new(text), Vec::with_capacity(text.len()));
    write_canonical(&mut cursor, &mut out)?;
    cursor.end()?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// As deep as the cursor goes, which is bounded.
fn write_canonical(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    match cursor.peek()? {
        Next::Object => {
            let mut members: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let mut more = cursor.object()?;
            while more {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                let text = cursor.key()?;
                write_text(text, cursor.text(), &mut key);
                write_canonical(cursor, &mut value)?;
                members.push((key, value));
                more = cursor.object_next()?;
            }
            members.sort_by(|a, b| a.0.cmp(&b.0));
            out.push(b'{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                out.extend_from_slice(key);
                out.push(b':');
                out.extend_from_slice(value);
            }
            out.push(b'}');
        }
        Next::Array => {
            out.push(b'[');
            let mut more = cursor.array()?;
            while more {
                write_canonical(cursor, out)?;
                more = cursor.array_next()?;
                out.extend_from_slice(if more { b"," } else { b"" });
            }
            out.push(b']');
        }
        Next::String => {
            let text = cursor.string()?;
            write_text(text, cursor.text(), out);
        }
        Next::Number | Next::Bool | Next::Null => {
            let span = cursor.skip()?;
            out.extend_from_slice(span.of(cursor.text()).as_bytes());
        }
    }
    Ok(())
}

/// A string as [`write_string`] writes it; one with half a surrogate pair stands as it came.
fn write_text(text: Text, of: &str, out: &mut Vec<u8>) {
    if let Some(value) = text.of(of) {
        write_string(&value, out);
    } else {
        out.push(b'"');
        out.extend_from_slice(text.span.of(of).as_bytes());
        out.push(b'"');
    }
}

/// The whole number that a string holds, written as JSON writes numbers: so Protobuf's JSON sends integers of 64 bits.
pub fn whole_number_of(text: &str) -> Option<i64> {
    let mut cursor = Cursor::new(text);
    let span = cursor.number().ok()?;
    if span.of(text).len() == text.len() { whole_number(text) } else { None }
}

/// True when the number's text is what [`write_float`] gives back for its value (or an equal spelling of it): at most 15
/// digits, no exponent, no trailing zero behind the point, no minus zero. 15 digits always survive a double.
pub fn is_plain_float(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let point = memchr::memchr(b'.', digits);
    let plain = digits.len() <= 15 + usize::from(point.is_some()) && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    plain
        && match point {
            Some(_) => digits.last() != Some(&b'0'),
            None => text != "-0",
        }
}

/// The whole number that a JSON number is, however it is written: `6`, `15.0`, `2e1`. None for one that is not whole, or does not fit.
pub fn whole_number(text: &str) -> Option<i64> {
    // Digits of the greatest.
    const MOST: usize = 19;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(0);
    }
    let point = usize::try_from(i64::try_from(whole.len()).ok()? + i64::from(exponent)).ok()?;
    let (front, back) = digits.split_at(point.min(digits.len()));
    let zeros = point - front.len();
    if zeros > MOST || back.bytes().any(|digit| digit != b'0') {
        return None;
    }
    format!("{sign}{front}{}", "0".repeat(zeros)).parse().ok()
}

/// Appends a number that is not whole, without zeros at its end.
fn write_thousandths(number: i64, out: &mut Vec<u8>) {
    let (whole, rest) = (number.unsigned_abs() / 1000, number.unsigned_abs() % 1000);
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or_default();
    let decimals = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    let zeros = usize::from(rest.is_multiple_of(10)) + usize::from(rest.is_multiple_of(100));
    out.extend_from_slice(&decimals[..decimals.len() - zeros]);
}

/// Appends a finite number the shortest way that reads back as itself; whole numbers without decimals, as the cloud does.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "compared, and below 1e15")]
#[expect(clippy::float_cmp, reason = "whole or not, there is no nearly")]
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    let whole = value as i64;
    let thousandths = (value * 1000.0 + 0.5_f64.copysign(value)) as i64;
    if value.abs() < 1e15 && whole as f64 == value {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if value.abs() < 1e9 && thousandths as f64 / 1000.0 == value {
        // What sensors send; no other number of so few digits reads back as the same.
        write_thousandths(thousandths, out);
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends an integer.
pub fn write_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// True when a text stands in JSON as it is.
pub fn is_verbatim(value: &str) -> bool {
    // All of it: many bytes at once are looked at faster than few.
    let odd = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    value.bytes().fold(0, |any, byte| any | odd(byte)) == 0
}

/// Appends a string with its quotes, escaped where it must be.
pub fn write_string(value: &str, out: &mut Vec<u8>) {
    if is_verbatim(value) {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(value).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().and_then(|_| cursor.end()).is_ok()
    }

    fn serde_accepts(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn a_whole_number_may_be_written_in_several_ways() {
        for (text, number) in [("15.0", 15), ("2e1", 20), ("-1.50E+1", -15), ("0.0e9", 0), ("9223372036854775807.0", i64::MAX)] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for text in
            ["15.5", "1e-1", "15.00000000000000000000001", "1e19", "9223372036854775808.0", "1e999999999", "1e99999999999"]
        {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_the_texts_of_the_values() {
        let mut cursor = Cursor::new(r#" {"a" : "x\"y", "n":-12.50e3, "l":[1,{"deep":[]}], "t":true} "#);
        assert!(cursor.object().unwrap());
        assert_eq!(cursor.key().unwrap().span.of(cursor.text()), "a");
        let text = cursor.string().unwrap();
        assert!(text.escaped);
        assert_eq!(unescape(text.span.of(cursor.text())).unwrap(), "x\"y");
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert_eq!(cursor.number().unwrap().of(cursor.text()), "-12.50e3");
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert_eq!(cursor.skip().unwrap().of(cursor.text()), r#"[1,{"deep":[]}]"#);
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert!(cursor.bool().unwrap());
        assert!(!cursor.object_next().unwrap());
        cursor.end().unwrap();
    }

    #[test]
    fn a_number_is_written_the_shortest_way_that_reads_back_as_itself() {
        let check = |value: f64| {
            let mut out = Vec::new();
            write_float(value, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            assert!(value.fract() == 0.0 || text == zmij::Buffer::new().format(value), "{text}");
        };
        for number in (-30_000_i32..30_000).map(f64::from).chain([987_654_321_001.0, -987_654_321_999.0, 999_999_999_999.0]) {
            let value = number / 1000.0;
            // A zero has no sign here.
            [value, value.next_up(), value.next_down()].into_iter().filter(|value| *value != 0.0).for_each(check);
        }
        for value in [0.0, 1e-9, 1e300, f64::MIN_POSITIVE, f64::MAX, 1e15, 0.1 + 0.2] {
            check(value);
        }
    }

    #[test]
    fn a_million_brackets_are_an_error_and_no_stack_overflow() {
        assert!(!accepts(&"[".repeat(1_000_000)));
        assert!(accepts(&format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))));
        for inner in ["", "1", "{}"] {
            let nested = |depth| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            for depth in DEPTH - 2..DEPTH + 2 {
                let expected = serde_json::from_str::<serde_json::Value>(&nested(depth)).is_ok();
                assert_eq!(accepts(&nested(depth)), expected, "{depth} times {inner:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_json_is_what_serde_json_takes_for_json(text in "[\\[\\]{}:,\"\\\\eE+.0-9a-u \u{1}é-]{0,24}") {
            // serde_json refuses numbers beyond f64 when it has to make one; ignoring them it does not.
            prop_assert_eq!(accepts(&text), serde_accepts(&text), "{}", text);
        }

        #[test]
        fn every_value_that_serde_json_writes_is_accepted(value in value()) {
            prop_assert!(accepts(&value.to_string()));
            prop_assert!(accepts(&serde_json::to_string_pretty(&value).unwrap()));
        }
    }

    /// Any JSON value, three levels deep.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(serde_json::Value::Null, Into::into)),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
