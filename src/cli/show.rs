//! Times, tables and JSON as people and programs read them.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::base::text::is_hidden;
use crate::base::time::Micros;

use super::screen;

/// `45 s`, `7 h 12 min`
pub(super) fn length(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `3 s ago`, `2 h ago`
pub(super) fn ago(time: Micros, now: Micros) -> String {
    let seconds = (now - time) / 1_000_000;
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// JSON for programs, and safe on a terminal: JSON leaves some of what [`is_hidden`] as it is.
pub(super) fn json(value: &impl serde::Serialize) -> io::Result<String> {
    let mut out = Vec::new();
    write_json(value, &mut out)?;
    text(out)
}

/// The same on one line.
pub(super) fn json_line(value: &impl serde::Serialize) -> io::Result<String> {
    let mut out = Vec::new();
    serde_json::to_writer(Escaping(&mut out), value)?;
    text(out)
}

fn text(json: Vec<u8>) -> io::Result<String> {
    String::from_utf8(json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The same piece by piece: what is long need not be held as a text.
pub(super) fn write_json(value: &impl serde::Serialize, out: impl Write) -> io::Result<()> {
    Ok(serde_json::to_writer_pretty(Escaping(out), value)?)
}

/// Escapes what is hidden in the pieces of JSON, none of which ends within a letter.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(piece).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        for part in text.split_inclusive(|c| is_hidden(c) && c != '\n') {
            let last = part.chars().next_back().filter(|c| is_hidden(*c) && *c != '\n');
            let plain = part.len() - last.map_or(0, char::len_utf8);
            self.0.write_all(&part.as_bytes()[..plain])?;
            for unit in last.iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(self.0, "\\u{unit:04x}")?;
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A table without frames; columns named in `right` are aligned to the right. On a terminal, the columns `wraps` share what the
/// others leave, in as many lines as they need, and no word is broken as long as that is possible. Anywhere else, a row is a line.
pub(super) fn table(header: &[&str], right: &[usize], wraps: &[usize], rows: Vec<Vec<String>>) -> String {
    arranged(header, right, wraps, &[], rows, screen::size().0)
}

/// The same, of which a narrow terminal does not show the columns `spare`: as many as need be, in their order.
pub(super) fn shrinking(header: &[&str], right: &[usize], wraps: &[usize], spare: &[usize], rows: Vec<Vec<String>>) -> String {
    arranged(header, right, wraps, spare, rows, screen::size().0)
}

fn arranged(
    header: &[&str],
    right: &[usize],
    wraps: &[usize],
    spare: &[usize],
    rows: Vec<Vec<String>>,
    width: Option<usize>,
) -> String {
    const BETWEEN: usize = 2;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    let longest = |text: &str, wraps: bool| {
        let words = text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default();
        if wraps { words } else { text.chars().count() }
    };
    let least: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = table.row_iter().filter_map(|row| row.cell_iter().nth(column)).map(Cell::content);
            cells.chain([header[column].to_owned()]).map(|text| longest(&text, wraps.contains(&column))).max().unwrap_or_default()
        })
        .collect();
    let mut hidden: Vec<usize> = Vec::new();
    if let Some(width) = width {
        let needed = |hidden: &[usize]| {
            let shown = least.iter().enumerate().filter(|(column, _)| !hidden.contains(column));
            shown.map(|(_, least)| least + BETWEEN).sum::<usize>().saturating_sub(BETWEEN)
        };
        for column in spare {
            if needed(&hidden) > width {
                hidden.push(*column);
            }
        }
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        let behind = if index + 1 == header.len() { 0 } else { BETWEEN };
        column.set_padding((0, u16::try_from(behind).unwrap_or_default()));
        let least = u16::try_from(least[index] + behind).unwrap_or(u16::MAX);
        column.set_constraint(match (hidden.contains(&index), wraps.contains(&index)) {
            (true, _) => ColumnConstraint::Hidden,
            (_, true) => ColumnConstraint::LowerBoundary(Width::Fixed(least)),
            _ => ColumnConstraint::ContentWidth,
        });
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_no_control_character_and_says_the_same() {
        let text = json(&"a\u{9b}\u{7f}\u{1b}\n\u{202e}\u{e0041}ö").unwrap();
        assert!(!text.contains(is_hidden), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "a\u{9b}\u{7f}\u{1b}\n\u{202e}\u{e0041}ö");
    }

    #[test]
    fn a_table_fits_a_terminal_and_is_a_line_a_row_anywhere_else() {
        let cause = "no connection: the server said in many words that it does not want to be asked, and closed";
        let row = ["2026-11-24 00:41:10", "11-25 01:17:53", "100000.0 s", "filled", "4,310", cause].map(str::to_owned);
        let header = ["begins (UTC)", "ends (UTC)", "length", "state", "history", "cause"];
        let table = |width| arranged(&header, &[2, 4], &[5], &[4, 1, 3, 2], vec![row.to_vec(); 3], width);
        for width in [40, 80, 120] {
            let lines = table(Some(width));
            assert!(lines.lines().count() > 4 && lines.lines().all(|line| line.len() <= width), "{lines}");
            let words: Vec<&str> = lines.split_whitespace().collect();
            assert!(cause.split_whitespace().all(|word| words.contains(&word)), "a word is broken: {lines}");
        }
        assert!(table(Some(40)).starts_with("begins (UTC)") && !table(Some(40)).contains("history"));
        assert_eq!(table(None).lines().count(), 4);
        assert!(table(None).lines().skip(1).all(|line| line.ends_with(cause)), "{}", table(None));
    }

    #[test]
    fn ages_read_well() {
        assert_eq!([ago(0, 3_000_000), ago(0, 7_300_000_000)], ["3 s ago", "2 h ago"]);
    }
}
