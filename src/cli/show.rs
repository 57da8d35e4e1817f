//! Times, tables and JSON as people and programs read them.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::base::text::is_hidden;
use crate::base::time::Micros;

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

/// JSON for programs, and safe on a terminal.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| harmless(&text))
}

/// The same on one line.
pub(super) fn json_line(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|text| harmless(&text))
}

/// JSON leaves some of what [`is_hidden`] as it is.
fn harmless(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if is_hidden(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A table without frames; columns named in `right` are aligned to the right. On a terminal, the columns `wraps` share what the
/// others leave, in as many lines as they need; anywhere else, a row is a line.
pub(super) fn table(header: &[&str], right: &[usize], wraps: &[usize], rows: Vec<Vec<String>>) -> String {
    let size = console::Term::stdout().size_checked().filter(|_| io::stdout().is_terminal());
    arranged(header, right, wraps, rows, size.map(|(_, width)| width))
}

fn arranged(header: &[&str], right: &[usize], wraps: &[usize], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    /// Narrower than this, nothing can be read.
    const NARROWEST: u16 = 12;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == header.len() { 0 } else { 2 }));
        column.set_constraint(if wraps.contains(&index) {
            ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST))
        } else {
            ColumnConstraint::ContentWidth
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
        let table = |width| arranged(&header, &[2, 4], &[5], vec![row.to_vec(); 3], width);
        for width in [80, 120] {
            let lines = table(Some(width));
            assert!(lines.lines().count() > 4 && lines.lines().all(|line| line.len() <= width.into()), "{lines}");
        }
        assert_eq!(table(None).lines().count(), 4);
        assert!(table(None).lines().skip(1).all(|line| line.ends_with(cause)), "{}", table(None));
    }

    #[test]
    fn ages_read_well() {
        assert_eq!([ago(0, 3_000_000), ago(0, 7_300_000_000)], ["3 s ago", "2 h ago"]);
    }
}
