//! Bytes of a stream into frames, without I/O: JSON lines and Server-Sent Events, whatever way the bytes are split.

/// Longest line that is taken for an event, in bytes: a thousand times what events have.
pub const LINE_MAX: usize = 1024 * 1024;
/// How much of a longer line is kept with its fault, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// A byte order mark: nothing at the beginning of a line, where files were put together; no JSON begins with one.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";
/// What may stand before the data in a line of an event.
const FIELD: &[u8] = b"data: ";

/// A piece of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line, or the data of a Server-Sent Event; never blank.
    Line(&'a [u8]),
    /// The beginning of a line longer than [`LINE_MAX`], and how long it was.
    TooLong(&'a [u8], u64),
}

/// How a stream is cut into frames.
#[derive(Debug)]
pub enum Frames {
    /// One JSON object a line.
    Lines(Lines),
    /// `text/event-stream`.
    Events(Events),
}

impl Frames {
    /// Reader of JSON lines.
    pub fn lines() -> Self {
        Self::Lines(Lines::default())
    }

    /// Reader of Server-Sent Events.
    pub fn events() -> Self {
        Self::Events(Events::default())
    }

    /// The same with another length for [`LINE_MAX`].
    #[must_use]
    pub fn up_to(self, most: usize) -> Self {
        match self {
            Self::Lines(lines) => Self::Lines(Lines { most, ..lines }),
            Self::Events(events) => Self::Events(Events { most, ..events }),
        }
    }

    /// Bytes that wait for the rest of their line or event. Bounded, whatever comes.
    pub fn held(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.carry.len(),
            Self::Events(events) => events.line.len() + events.data.len(),
        }
    }

    /// Takes the next bytes and hands on every frame that they complete.
    pub fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        match self {
            Self::Lines(lines) => lines.feed(bytes, take),
            Self::Events(events) => events.feed(bytes, take),
        }
    }
}

impl Frames {
    /// At the clean end of a stream: a last line without a line end, when it looks whole. One that was cut off is the
    /// beginning of an event that the recording misses, not something that came.
    pub fn finish(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        if let Self::Lines(lines) = self
            && lines.carry.trim_ascii_end().ends_with(b"}")
        {
            lines.finish(take);
        }
    }

    /// At the end of a file: what came last is whole, also without a line end or a blank line behind it.
    pub fn end(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        match self {
            Self::Lines(lines) => lines.finish(take),
            Self::Events(events) => events.feed(b"\n\n", take),
        }
    }
}

/// JSON lines: split at `\n`; `\r` before it, blank lines and a byte order mark before a line do not count.
#[derive(Debug)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// Bytes of a line that is too long already, beyond what `carry` holds.
    over: u64,
    most: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self { carry: Vec::new(), over: 0, most: LINE_MAX }
    }
}

impl Lines {
    /// Takes the next bytes and hands on every line that they complete.
    pub fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            rest = after;
            if self.carry.is_empty() {
                line_of(line, 0, self.most, take);
            } else {
                self.extend(line);
                self.end(take);
            }
        }
        if !rest.is_empty() {
            self.extend(rest);
        }
    }

    /// The last line, when it has no line end: whole in a file, cut off in a stream.
    pub fn finish(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        self.end(take);
    }

    fn extend(&mut self, bytes: &[u8]) {
        // The mark may stand before the longest line.
        let room = (self.most + MARK.len()).saturating_sub(self.carry.len()).min(bytes.len());
        self.carry.extend_from_slice(&bytes[..room]);
        self.over += (bytes.len() - room) as u64;
    }

    fn end(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        line_of(&self.carry, self.over, self.most, take);
        self.over = 0;
        // A rare giant must not hold its memory for the rest of the night.
        self.carry.clear();
        self.carry.shrink_to(HEAD_MAX);
    }
}

/// Hands on a line of which so many bytes more have come; the same for a line that came whole and one that came in pieces.
fn line_of(line: &[u8], over: u64, most: usize, take: &mut impl FnMut(Frame<'_>)) {
    let line = line.strip_prefix(MARK).unwrap_or(line);
    let length = line.len() as u64 + over;
    if length > most as u64 {
        take(Frame::TooLong(&line[..line.len().min(most).min(HEAD_MAX)], length));
    } else if !line.trim_ascii().is_empty() {
        take(Frame::Line(line.strip_suffix(b"\r").unwrap_or(line)));
    }
}

/// Server-Sent Events, as the HTML standard has them: lines end in CR, LF or CRLF; `data` lines of one event are joined;
/// comments and the fields `event`, `id` and `retry` are read over, since the stream cannot resume.
#[derive(Debug)]
pub struct Events {
    line: Vec<u8>,
    /// Bytes beyond what `line` may hold.
    line_over: u64,
    data: Vec<u8>,
    /// Bytes beyond what `data` may hold.
    over: u64,
    has_data: bool,
    after_cr: bool,
    most: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { line: Vec::new(), line_over: 0, data: Vec::new(), over: 0, has_data: false, after_cr: false, most: LINE_MAX }
    }
}

impl Events {
    /// Takes the next bytes and hands on the data of every event that they complete.
    pub fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(at) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.extend(rest);
                return;
            };
            self.extend(&rest[..at]);
            self.after_cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            self.end_line(take);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = (self.most + MARK.len() + FIELD.len()).saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.line_over += (bytes.len() - room) as u64;
    }

    fn end_line(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        let mut line = std::mem::take(&mut self.line);
        let line_over = std::mem::take(&mut self.line_over);
        if line.starts_with(MARK) {
            line.drain(..MARK.len());
        }
        if line.is_empty() {
            self.dispatch(take);
        } else if let Some(value) = field(&line, b"data") {
            if std::mem::replace(&mut self.has_data, true) {
                self.add(b"\n");
            }
            self.add(value);
            // A comment may be as long as it likes.
            self.over += line_over;
        }
        line.clear();
        line.shrink_to(HEAD_MAX);
        self.line = line;
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.data.len()).min(bytes.len());
        self.data.extend_from_slice(&bytes[..room]);
        self.over += (bytes.len() - room) as u64;
    }

    fn dispatch(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        if self.over > 0 {
            take(Frame::TooLong(&self.data[..self.data.len().min(HEAD_MAX)], self.data.len() as u64 + self.over));
        } else if self.has_data && !self.data.trim_ascii().is_empty() {
            take(Frame::Line(&self.data));
        }
        self.over = 0;
        self.has_data = false;
        self.data.clear();
        self.data.shrink_to(HEAD_MAX);
    }
}

/// The value of a line, when it is this field: one space behind the colon does not count.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mut frames: Frames, pieces: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        for piece in pieces {
            frames.feed(piece, &mut |frame| {
                out.push(match frame {
                    Frame::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    Frame::TooLong(head, length) => format!("{} of {length}", head.len()),
                });
            });
        }
        out
    }

    /// The same bytes whole, byte by byte, and cut once at every place.
    fn on_every_split(frames: fn() -> Frames, bytes: &[u8], expected: &[&str]) {
        assert_eq!(read(frames(), &[bytes]), expected);
        assert_eq!(read(frames(), &bytes.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=bytes.len() {
            assert_eq!(read(frames(), &[&bytes[..at], &bytes[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn json_lines_come_out_the_same_on_every_split() {
        let text = "\u{feff}{\"a\":1}\n\n  \r\n{\"b\":\"é\"}\r\n{\"c\":3}\n{\"cut";
        on_every_split(Frames::lines, text.as_bytes(), &["{\"a\":1}", "{\"b\":\"é\"}", "{\"c\":3}"]);
    }

    #[test]
    fn server_sent_events_come_out_the_same_on_every_split() {
        let text = "\u{feff}: hello\nevent: x\nid: 7\nretry: 10\ndata: {\"a\":1}\n\ndata:{\"b\":\rdata: 2}\r\r\ndata: {\"c\":3}\r\n\r\nid: 8\n\ndata\n\ndatax: 1\n\ndata: cut\n";
        on_every_split(Frames::events, text.as_bytes(), &["{\"a\":1}", "{\"b\":\n2}", "{\"c\":3}"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_handed_on_by_its_head_and_the_next_one_is_whole() {
        let mut long = vec![b'x'; LINE_MAX + 10];
        long.extend_from_slice(b"\nok\n");
        let expected = [format!("{HEAD_MAX} of {}", LINE_MAX + 10), "ok".to_owned()];
        assert_eq!(read(Frames::lines(), &[&long]), expected);
        assert_eq!(read(Frames::lines(), &long.chunks(100_000).collect::<Vec<_>>()), expected);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_never_matters(text in "[ab\r\n: ]{0,40}|(data: ?[a\r]{0,3}\n){0,6}", cuts in prop::collection::vec(0_usize..40, 0..5)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(Frames::lines(), &pieces), read(Frames::lines(), &[bytes]));
            prop_assert_eq!(read(Frames::events(), &pieces), read(Frames::events(), &[bytes]));
        }
    }
}
