//! A cursor over JSON text that hands out spans, not values.
//!
//! Numbers keep their text (a parsed 30-digit integer silently becomes a float), the whole text is validated in the same
//! pass, and nothing is allocated. A property test holds it to accept and refuse exactly what `serde_json` does.

use std::fmt;

/// Deepest nesting accepted, as in `serde_json`.
pub(super) const DEPTH: usize = 127;

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

pub(super) type Result<T> = std::result::Result<T, JsonError>;

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
