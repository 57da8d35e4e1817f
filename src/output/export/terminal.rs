//! Standard output: a pipe gets the bytes as they are, a terminal without what it would obey, since names are of others.

use std::io::{self, IsTerminal, Write};

use crate::base::text::is_hidden;

/// What stands for such a character, and for bytes that are no text.
const INSTEAD: &str = "\u{fffd}";

/// Standard output.
pub(super) fn stdout() -> Box<dyn Write + Send> {
    fit(io::stdout())
}

/// An output, which may turn out to be a terminal: `/dev/stdout` has a name as files have.
pub(super) fn fit(out: impl Write + IsTerminal + Send + 'static) -> Box<dyn Write + Send> {
    if out.is_terminal() { Box::new(Harmless::new(out)) } else { Box::new(out) }
}

/// Replaces what [`is_hidden`], but for what makes up lines and tables.
struct Harmless<W> {
    out: W,
    /// What is written next.
    text: String,
    /// The beginning of a letter whose end did not come yet.
    half: Vec<u8>,
}

impl<W: Write> Harmless<W> {
    fn new(out: W) -> Self {
        Self { out, text: String::new(), half: Vec::new() }
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.clear();
        let all = [std::mem::take(&mut self.half).as_slice(), bytes].concat();
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for letter in chunk.valid().chars() {
                if is_hidden(letter) && !"\n\r\t".contains(letter) {
                    self.text.push_str(INSTEAD);
                } else {
                    self.text.push(letter);
                }
            }
            let is_half = || std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && is_half() {
                self.half = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.text.push_str(INSTEAD);
            }
        }
        self.out.write_all(self.text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut harmless = Harmless::new(Vec::new());
        for piece in pieces {
            harmless.write_all(piece).unwrap();
        }
        String::from_utf8(harmless.out).unwrap()
    }

    #[test]
    fn nothing_hidden_is_left_but_what_makes_up_lines_and_tables() {
        let all: String = (0..=0x2FFF).filter_map(char::from_u32).collect();
        let wanted: String = all.chars().map(|c| if is_hidden(c) && !"\n\r\t".contains(c) { '\u{fffd}' } else { c }).collect();
        assert_eq!(shown(&[all.as_bytes()]), wanted);
    }

    #[test]
    fn it_does_not_matter_how_a_text_is_cut() {
        let text = "a\u{1b}[2J\u{9b}31m é \u{a0}“Büro”\u{7f}\u{c2}\u{80}\r\n";
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(shown(&bytes), shown(&[text.as_bytes()]));
        assert_eq!(shown(&bytes), "a\u{fffd}[2J\u{fffd}31m é \u{a0}“Büro”\u{fffd}\u{c2}\u{fffd}\r\n");
    }
}
