//! Squared paper: characters in rows and columns, each with a colour, as a terminal shows them.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::base::text::printable;

/// A colour of the 256 that terminals know; none: that of the terminal's text.
pub(super) type Ink = Option<u8>;

/// What explains.
pub(super) const PALE: Ink = Some(245);

/// What somebody has to see.
pub(super) const ALARM: Ink = Some(160);

const LINES: [u8; 6] = [33, 36, 214, 175, 117, 166];

/// The colour of a line by its number: about the one that it has in a picture.
pub(super) fn ink_of(number: usize) -> u8 {
    LINES[number % LINES.len()]
}

/// Characters in rows and columns.
#[derive(Debug)]
pub(super) struct Paper {
    width: usize,
    has_unicode: bool,
    has_colour: bool,
    rows: Vec<Vec<(char, Ink)>>,
}

/// Stands behind a character that is two columns wide.
const TAKEN: char = '\0';

impl Paper {
    pub(super) fn new(width: usize, has_unicode: bool, has_colour: bool) -> Self {
        Self { width, has_unicode, has_colour, rows: Vec::new() }
    }

    /// Writes one character; what lies outside is not there.
    pub(super) fn put(&mut self, x: usize, y: usize, c: char, ink: Ink) {
        if x >= self.width {
            return;
        }
        while self.rows.len() <= y {
            self.rows.push(vec![(' ', None); self.width]);
        }
        self.rows[y][x] = (c, ink);
    }

    /// Writes a text and says how many columns it took.
    pub(super) fn write(&mut self, x: usize, y: usize, text: &str, ink: Ink) -> usize {
        let text = self.spelt(text);
        let mut at = x;
        for c in text.chars() {
            let width = c.width().unwrap_or(0);
            // A mark without a width of its own would move everything behind it.
            if width == 0 || at + width > self.width {
                continue;
            }
            self.put(at, y, c, ink);
            if width == 2 {
                self.put(at + 1, y, TAKEN, ink);
            }
            at += width;
        }
        at - x
    }

    /// A text as the terminal can spell it.
    fn spelt(&self, text: &str) -> String {
        let text = printable(text, 200);
        if self.has_unicode {
            return text;
        }
        let ascii = |c: char| match c {
            '°' => "deg ".to_owned(),
            '−' | '–' | '·' => "-".to_owned(),
            'µ' => "u".to_owned(),
            '²' => "2".to_owned(),
            '³' => "3".to_owned(),
            '…' => "~".to_owned(),
            c if c.is_ascii() => c.to_string(),
            _ => "?".to_owned(),
        };
        text.chars().map(ascii).collect()
    }

    /// How many columns a text takes.
    pub(super) fn columns(&self, text: &str) -> usize {
        self.spelt(text).width()
    }

    /// A text cut to so many columns.
    pub(super) fn fit(&self, text: &str, most: usize) -> String {
        let text = self.spelt(text);
        if text.width() <= most {
            return text;
        }
        let (mut out, mut used) = (String::new(), 1);
        for c in text.chars() {
            used += c.width().unwrap_or(0);
            if used > most {
                break;
            }
            out.push(c);
        }
        out.truncate(out.trim_end().len());
        out + if self.has_unicode { "…" } else { "~" }
    }

    /// All rows as text, without what is blank at their ends.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let end = row.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
            let mut now: Ink = None;
            for (c, ink) in row[..end].iter().filter(|(c, _)| *c != TAKEN) {
                let ink = ink.filter(|_| self.has_colour);
                if ink != now && *c != ' ' {
                    // Writing to a string cannot fail.
                    match ink {
                        Some(ink) => write!(out, "\x1b[38;5;{ink}m").unwrap_or_default(),
                        None => out.push_str("\x1b[0m"),
                    }
                    now = ink;
                }
                out.push(*c);
            }
            if now.is_some() {
                out.push_str("\x1b[0m");
            }
            out.push('\n');
        }
        out
    }
}
