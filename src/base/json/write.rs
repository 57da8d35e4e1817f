//! JSON as text: numbers and strings the shortest way that reads back as themselves, values in their one spelling.

use super::cursor::{Cursor, Next, Result, Text};

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
