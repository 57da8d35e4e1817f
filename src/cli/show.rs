//! Times, tables and JSON as people and programs read them.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::time::Micros;

/// A time where the reader is: `2026-11-23 20:15:03`.
pub(super) fn local(time: Micros) -> String {
    let stamp = jiff::Timestamp::from_microsecond(time).unwrap_or_default();
    stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
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

/// JSON for programs, and safe on a terminal: JSON leaves some control characters as they are.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for c in serde_json::to_string_pretty(value)?.chars() {
        if c.is_control() && c != '\n' {
            write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// A table; columns named in `right` are aligned to the right.
pub(super) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header).add_rows(rows);
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_no_control_character_and_says_the_same() {
        let text = json(&"a\u{9b}\u{7f}\u{1b}\nö").unwrap();
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "a\u{9b}\u{7f}\u{1b}\nö");
    }

    #[test]
    fn ages_read_well() {
        assert_eq!([ago(0, 3_000_000), ago(0, 7_300_000_000)], ["3 s ago", "2 h ago"]);
    }
}
