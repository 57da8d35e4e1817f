//! Numbers, times and tables as people read them.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::time::Micros;

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `2 events`
pub(super) fn counted(number: u64, thing: &str) -> String {
    let ending = match (number, thing.ends_with("sh")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{ending}", count(number))
}

/// `4.2 MB`
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

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
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(12), bytes(4_200_000)], ["12 B", "4.2 MB"]);
        assert_eq!([ago(0, 3_000_000), ago(0, 7_300_000_000)], ["3 s ago", "2 h ago"]);
    }
}
