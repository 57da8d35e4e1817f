//! How large what people look at is, and text that fits it: in lines that end between words.

use std::io::{self, IsTerminal};

/// Columns where nobody says.
pub(super) const USUAL: usize = 80;
/// Nothing can be read in fewer.
const NARROWEST: usize = 20;

/// Columns and lines of standard output, as far as anybody says: `COLUMNS` and `LINES`, else the terminal.
pub(super) fn size() -> (Option<usize>, Option<usize>) {
    let said = |name: &str| std::env::var(name).ok()?.parse().ok().filter(|said: &usize| *said > 0);
    let terminal = console::Term::stdout().size_checked().filter(|_| io::stdout().is_terminal());
    let width = said("COLUMNS").or(terminal.map(|(_, width)| width.into())).map(|width| width.max(NARROWEST));
    (width, said("LINES").or(terminal.map(|(height, _)| height.into())))
}

/// Text in lines of at most so many columns, those behind the first one behind an indent; a word that is longer is cut.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let room = width.saturating_sub(indent).max(1);
    if text.chars().count() <= room {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (number, part) in letters.chunks(room).enumerate() {
            match lines.last_mut() {
                Some(line) if number == 0 && line.chars().count() + 1 + part.len() <= room => {
                    line.push(' ');
                    line.extend(part);
                }
                _ => lines.push(part.iter().collect()),
            }
        }
    }
    lines
}

/// `name        value`, the value in as many lines as it needs.
pub(super) fn entry(name: &str, value: &str, width: usize) -> String {
    const NAME: usize = 12;
    format!("{name:NAME$}{}", wrapped(value, NAME, width).join(&format!("\n{:NAME$}", "")))
}

/// Several texts side by side, none of them broken.
pub(super) fn side_by_side(texts: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + text.chars().count() <= width => {
                line.push_str("  ");
                line.push_str(text);
            }
            _ => lines.push((*text).to_owned()),
        }
    }
    lines
}

/// One line of at most so many columns: what is longer ends behind a word.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let room: String = text.chars().take(width.saturating_sub(1)).collect();
    let end = room.rfind(' ').filter(|end| *end > 0).unwrap_or(room.len());
    room[..end].trim_end_matches([' ', ',', ';']).to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_between_words_at_any_width() {
        let text = "the server closed the connection in the middle of an event";
        for width in [20, 40, 80, 120] {
            let lines = wrapped(text, 4, width);
            assert!(lines.iter().all(|line| line.len() + 4 <= width), "{lines:?}");
            assert_eq!(lines.join(" "), text);
            let cut = cut(text, width);
            assert!(cut.chars().count() <= width && text.starts_with(cut.trim_end_matches('…')), "{cut}");
            assert!(cut.len() == text.len() || text[cut.trim_end_matches('…').len()..].starts_with(' '), "{cut}");
        }
        assert_eq!(
            entry("alive", "last sign of life a minute ago", 30),
            "alive       last sign of life\n            a minute ago"
        );
        assert_eq!(side_by_side(&["█ covered", "· open", "_ not recording"], 20), ["█ covered  · open", "_ not recording"]);
    }
}
