//! What a spreadsheet makes of a text that is right: it takes `0042` and `1E5` for numbers, rounds long ones, and finds dates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};

/// Digits of a whole number that a spreadsheet shows as they are.
const SHOWN: usize = 11;
/// Whole numbers from here on lose their last digits: there are 15.
const EXACT: u64 = 1_000_000_000_000_000;

/// Columns that a spreadsheet misreads, each with a value of which that is so.
#[derive(Debug, Clone, Default)]
pub struct Misread(Arc<Mutex<BTreeMap<String, String>>>);

impl Misread {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The columns so far, each with a value.
    pub fn columns(&self) -> Vec<(String, String)> {
        self.lock().clone().into_iter().collect()
    }

    /// Looks at a column's title, and through its values until one is misread.
    pub(super) fn look(&self, column: &str, values: Option<&ArrayRef>) {
        if self.lock().contains_key(column) {
            return;
        }
        let found = match values.map(|values| (values.data_type(), values)) {
            None => Some(column).filter(|title| is_misread(title)).map(str::to_owned),
            Some((DataType::Utf8, values)) => {
                values.as_string::<i32>().iter().flatten().find(|text| is_misread(text)).map(str::to_owned)
            }
            Some((DataType::Int64, values)) => {
                let mut numbers = values.as_primitive::<Int64Type>().iter().flatten();
                numbers.find(|number| number.unsigned_abs() >= EXACT).map(|number| number.to_string())
            }
            Some(_) => None,
        };
        if let Some(text) = found {
            self.lock().insert(column.to_owned(), text.chars().take(40).collect());
        }
    }
}

/// True for a text that a spreadsheet takes for something else and shows otherwise.
fn is_misread(text: &str) -> bool {
    let text = text.trim();
    let plain = text.strip_prefix('-').unwrap_or(text);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(plain) {
        return plain.len() > SHOWN || (plain.len() > 1 && plain.starts_with('0'));
    }
    if text.len() > 40 || !text.is_ascii() || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return ["true", "false"].iter().any(|truth| text.eq_ignore_ascii_case(truth));
    }
    is_number(text) || is_date(text)
}

/// `1E5`, `+5.25`, `1.0`, `1,000`, `5%`
fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']).trim_end_matches('%');
    let (whole, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let is_made_of = |text: &str, also: &[char]| {
        text.contains(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || also.contains(&c))
    };
    // More of them are those of an address, or of a version.
    is_made_of(whole, &['.', ','])
        && whole.matches(['.', ',']).count() < 3
        && is_made_of(power.trim_start_matches(['+', '-']), &[])
}

/// `1-2`, `3/4`, `1.2.26`, `10:30`, `2026-11-23`, `MAR1`, `1-Mar`
fn is_date(text: &str) -> bool {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const LONG: [&str; 9] = ["january", "february", "march", "april", "june", "july", "august", "october", "november"];
    let is_month = |part: &str| {
        let part = part.to_ascii_lowercase();
        MONTHS.contains(&part.as_str())
            || LONG.contains(&part.as_str())
            || ["september", "sept", "december"].contains(&part.as_str())
    };
    // A word ends where digits begin, too.
    let mut parts: Vec<String> = Vec::new();
    let mut last = ' ';
    for letter in text.chars() {
        let is_part = |c: char| c.is_ascii_alphanumeric();
        if !is_part(letter) && !"-/.: ".contains(letter) {
            return false;
        }
        match parts.last_mut() {
            Some(part) if is_part(letter) && is_part(last) && letter.is_ascii_digit() == last.is_ascii_digit() => {
                part.push(letter);
            }
            _ if is_part(letter) => parts.push(letter.to_string()),
            _ => {}
        }
        last = letter;
    }
    let is_few = |part: &String| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let months = parts.iter().filter(|part| is_month(part)).count();
    let numbers = parts.iter().filter(|part| is_few(part)).count();
    numbers + months == parts.len() && months <= 1 && (2..=3).contains(&parts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_a_spreadsheet_shows_otherwise_are_known() {
        for text in [
            "0042",
            "1E5",
            "1e-5",
            "8944501234567890123",
            "353000000000001",
            "+5.25",
            "1.0",
            "1,000",
            "5%",
            "1-2",
            "3/4",
            "1.2.26",
            "10:30",
            "2026-11-23",
            "MAR1",
            "1-Mar",
            "Sept 2",
            "TRUE",
            "false",
            "-007",
        ] {
            assert!(is_misread(text), "{text}");
        }
        for text in
            ["42", "-5", "0", "Freezer 2", "bjei0c6l0g2g00cg8gg0", "10.0.0.1", "1E5A", "", "Büro", "Mar", "v1.2", "12345678901"]
        {
            assert!(!is_misread(text), "{text}");
        }
    }
}
