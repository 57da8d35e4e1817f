//! Standard output: a pipe gets the bytes as they are, a terminal without what it would obey, since names are of others.

use std::io::{self, IsTerminal, Write};

/// What stands for a control character.
const INSTEAD: &[u8] = "\u{fffd}".as_bytes();
/// In UTF-8, the control characters behind ASCII are this and a byte from 0x80 to 0x9F.
const LEADS: u8 = 0xC2;

/// Standard output.
pub(super) fn stdout() -> Box<dyn Write + Send> {
    let out = io::stdout();
    if out.is_terminal() { Box::new(Harmless::new(out)) } else { Box::new(out) }
}

/// Replaces control characters, but for those that make up lines and tables.
struct Harmless<W> {
    out: W,
    /// What is written next; as long as what came.
    text: Vec<u8>,
    /// The last byte was [`LEADS`], and is not written yet.
    is_led: bool,
}

impl<W: Write> Harmless<W> {
    fn new(out: W) -> Self {
        Self { out, text: Vec::new(), is_led: false }
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.clear();
        for byte in bytes {
            match (std::mem::take(&mut self.is_led), byte) {
                (true, 0x80..=0x9F) => {
                    self.text.extend_from_slice(INSTEAD);
                    continue;
                }
                (true, _) => self.text.push(LEADS),
                (false, _) => {}
            }
            match byte {
                &LEADS => self.is_led = true,
                b'\n' | b'\r' | b'\t' => self.text.push(*byte),
                0..0x20 | 0x7F => self.text.extend_from_slice(INSTEAD),
                _ => self.text.push(*byte),
            }
        }
        self.out.write_all(&self.text)?;
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
    fn no_control_character_is_left_but_those_of_lines_and_tables() {
        let all: String = (0..=0x2FFF).filter_map(char::from_u32).collect();
        let wanted: String = all.chars().map(|c| if c.is_control() && !"\n\r\t".contains(c) { '\u{fffd}' } else { c }).collect();
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
