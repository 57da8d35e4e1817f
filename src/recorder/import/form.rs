//! What an input is, told by its beginning.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

use crate::model::framing::MARK;

/// What an input is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON lines, at least as far as one can see.
    Lines,
    /// Server-Sent Events.
    Events,
    /// Text of 16-bit units, as its byte order mark says.
    Utf16 { is_big: bool },
    /// Packed.
    Gzip,
    /// Packed.
    Zstd,
    /// Something else: what, and what to do where that is not plain.
    Other(&'static str),
}

const UTF_16: &str = "UTF-16 without a byte order mark; `iconv -f UTF-16LE -t UTF-8` (or UTF-16BE) makes it readable";
const UTF_32: &str = "UTF-32; `iconv -f UTF-32 -t UTF-8` makes it readable";

/// How other things begin, from which byte on.
const OTHERS: [(usize, &[u8], &str); 27] = [
    (0, b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"\xff\xff\xff\xff", "an Arrow stream"),
    (0, b"ORC", "an ORC file"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90\0", "a program"),
    (0, b"\x1e", "a JSON text sequence; `tr -d '\\036'` makes lines of it"),
    (0, b"BZh", "bzip2; unpack it first"),
    (0, b"\xfd7zXZ\0", "xz; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (0, b"\x04\x22\x4d\x18", "LZ4; unpack it first"),
    (0, b"\xff\x06\0\0sNaPpY", "Snappy; unpack it first"),
    (0, b"\x1f\x9d", "compress; unpack it first"),
    (0, b"\x1f\x8b\0", "gzip of an unknown method"),
    (257, b"ustar", "a tar archive; unpack it first"),
];

/// What begins like this, and is no more than that when it `is_whole`. A line that is a JSON object makes all of it lines, however
/// many bad ones stand beside it.
pub(super) fn form(head: &[u8], is_whole: bool) -> Form {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Form::Other(UTF_32),
        [0xff, 0xfe, ..] => return Form::Utf16 { is_big: false },
        [0xfe, 0xff, ..] => return Form::Utf16 { is_big: true },
        [0x1f, 0x8b, 8, ..] => return Form::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Form::Zstd,
        _ => {}
    }
    if let Some((.., what)) = OTHERS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic))) {
        let is_workbook = what.contains("ZIP") && memchr::memmem::find(head, b"xl/").is_some();
        return Form::Other(if is_workbook { "a workbook (XLSX)" } else { what });
    }
    let text = unmarked(head).trim_ascii_start();
    let lines = || head.split(|byte| matches!(byte, b'\n' | b'\r')).map(unmarked).map(<[u8]>::trim_ascii);
    let is_object = |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if !head.contains(&b'\n') && memchr::memmem::find(head, b"}\r{").is_some() {
        return Form::Other("text whose lines end in CR alone; `tr '\\r' '\\n'` makes lines of it");
    }
    if text.is_empty() || lines().any(|line| is_object(line) || together(line).is_some()) {
        return Form::Lines;
    }
    if lines().any(|line| line.strip_prefix(b"data:").is_some_and(|data| data.trim_ascii_start().starts_with(b"{"))) {
        return Form::Events;
    }
    other(head, text, is_whole).map_or(Form::Lines, Form::Other)
}

/// What it is of which no line is an object.
fn other(head: &[u8], text: &[u8], is_whole: bool) -> Option<&'static str> {
    // A character may be cut off at the end.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none() && !is_whole, |_| true);
    if !is_utf8 || text.contains(&0) {
        return Some(if is_utf16(head) { UTF_16 } else { "no text" });
    }
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let goes_on = || match Deserializer::from_slice(text).into_iter::<IgnoredAny>().next() {
        Some(Err(error)) => error.is_eof(),
        value => value.is_some(),
    };
    match text[0] {
        b'[' if goes_on() => return Some("a JSON array; `jq -c '.[]'` makes lines of it"),
        b'{' if second.is_some() && goes_on() => return Some("JSON over several lines; `jq -c .` puts each event on one"),
        b'<' => {
            let is_html = |begin: &[u8]| text.len() >= begin.len() && text[..begin.len()].eq_ignore_ascii_case(begin);
            return Some(if is_html(b"<!doctype html") || is_html(b"<html") { "an HTML page" } else { "XML" });
        }
        _ => {}
    }
    // An event that was cut off, or a line that will be read when the rest of it comes: faults at worst.
    if first.starts_with(b"{\"")
        || (first.starts_with(b"{") && second.is_none() && !is_whole)
        || lines.any(|line| line.starts_with(b"{\""))
    {
        return None;
    }
    let columns = |line: &[u8], separator: u8| memchr::memchr_iter(separator, line).count();
    let is_table = |separator| columns(first, separator) > 0 && second.is_some_and(|second| columns(second, separator) > 0);
    Some(if [b',', b';', b'\t'].into_iter().any(is_table) { "a table (CSV)" } else { "text without an event in it" })
}

/// Whether it is plainly text of 16-bit units: half of its bytes are zeros, each second one.
fn is_utf16(head: &[u8]) -> bool {
    let (pairs, _) = head.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (even, odd, most) = (zeros(0), zeros(1), pairs.len() * 3 / 4);
    pairs.len() > 1 && ((even > most && odd < pairs.len() / 4) || (odd > most && even < pairs.len() / 4))
}

fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(MARK).unwrap_or(line)
}

/// Objects that stand on one line, as where files were put together whose last lines have no end; none if it is not that alone.
pub(super) fn together(line: &[u8]) -> Option<Vec<&[u8]>> {
    let meets = |between: &[u8]| memchr::memmem::find(line, between).is_some();
    if !meets(b"}{") && !meets(MARK) {
        return None;
    }
    let (mut all, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let mut values = Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        values.next().filter(|_| rest.starts_with(b"{"))?.ok()?;
        let (value, after) = rest.split_at(values.byte_offset());
        all.push(value);
        rest = unmarked(after.trim_ascii_start()).trim_ascii_start();
    }
    (all.len() > 1).then_some(all)
}
