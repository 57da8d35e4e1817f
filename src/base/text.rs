//! Numbers and lists as people read them, and what they may have meant.

/// True for what has no place in foreign text that people read: control characters, what turns the direction of the text around
/// it, line breaks that are no ASCII, what XML does not know.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}')
        || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E007F}')
}

/// Text without what [`is_hidden`], but for line ends: whatever is shown to people goes through this.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) && c != '\n' { ' ' } else { c }).collect()
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// The same, and at most so many characters: for a list, a log, a chart.
pub fn printable(text: &str, most: usize) -> String {
    let text = text.trim();
    let cut = if text.chars().nth(most).is_some() { "…" } else { "" };
    one_line(&text.chars().take(most).collect::<String>()) + cut
}

/// `1,234,567`
pub fn count(number: u64) -> String {
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
pub fn counted(number: u64, thing: &str) -> String {
    let ending = match (number, thing.ends_with("sh")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{ending}", count(number))
}

/// `4.2 MB`
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A measured number: four digits that matter, no noise behind, as `21.4` or `−3.25`.
pub fn measured(value: f64) -> String {
    let digits = match value.abs() {
        0.0..10.0 => 2,
        10.0..1000.0 => 1,
        _ => 0,
    };
    // What is no measure, but can be sent, does not burst a table.
    let mut text = if value.abs() < 1e12 { format!("{value:.digits$}") } else { format!("{value:.2e}") };
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".to_owned() } else { text.replacen('-', "\u{2212}", 1) }
}

/// `a, b, c`; of many, the first ones and how many more there are.
pub fn few<T: AsRef<str>>(names: &[T]) -> String {
    const MOST: usize = 20;
    let first = names.iter().take(MOST).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {} more", count(more as u64)),
    }
}

/// What somebody may have meant by a word that is none of these: the one that it is most like; none, where it is like none.
pub fn nearest<'k, T: AsRef<str>>(word: &str, known: &'k [T]) -> Option<&'k str> {
    /// So much of it is right: letters exchanged, left out or put in, and not another word.
    const ALIKE: f64 = 0.7;
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
    let all = known.iter().map(|name| (likeness(name.as_ref()), name.as_ref()));
    all.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The same as a sentence: `did you mean "speed"?`, else what there is.
pub fn instead<T: AsRef<str>>(word: &str, known: &[T]) -> String {
    match (nearest(word, known), known) {
        (Some(name), _) => format!("did you mean {name:?}?"),
        (None, []) => "there is none at all".to_owned(),
        (None, [only]) => format!("there is only {}", only.as_ref()),
        (None, known) => format!("there are {}", few(known)),
    }
}

/// What is wrong with a file that should be TOML, and on which line, without a word of what stands there: the file may be another
/// one altogether, such as a key, and a value may be a secret.
pub fn wrong_toml(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    // Behind the last of these, the parser says what it knows itself.
    let message = error.message().trim();
    let (found, expected) = message.rfind(", expected").map_or((message, ""), |at| message.split_at(at));
    let quotes = |c: char| matches!(c, '"' | '`' | '\'');
    let found = match (found.find(quotes), found.rfind(quotes)) {
        (Some(first), Some(last)) => format!("{}…{}", &found[..first], &found[last + 1..]),
        _ => found.to_owned(),
    };
    format!("{line}{found}{expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_like_another_may_mean_it() {
        let known = ["temperature", "Cold room", "touch"];
        assert_eq!(instead("temprature", &known), "did you mean \"temperature\"?");
        assert_eq!(instead("cold rom", &known), "did you mean \"Cold room\"?");
        assert_eq!(instead("nosuch", &known), "there are temperature, Cold room, touch");
        assert_eq!(instead("nosuch", &["a"]), "there is only a");
        assert_eq!(instead::<&str>("nosuch", &[]), "there is none at all");
    }

    #[test]
    fn nothing_of_others_turns_the_text_or_obeys_a_terminal() {
        let shown = clean(
            "a\u{7f}b\u{9b}31m\u{202e}gpj.exe\u{2066}\u{200f}\u{061c}\u{2028}\u{ffff}\u{1b}[2J\n\r\tBüro 👩\u{200d}🔧 日本",
        );
        assert_eq!(shown, "a b 31m gpj.exe      [2J\n  Büro 👩\u{200d}🔧 日本");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "gap"), counted(2, "gap"), counted(0, "push")], ["1 gap", "2 gaps", "0 pushes"]);
        assert_eq!([few(&["a", "b"]), few(&["a"; 1021])], ["a, b".to_owned(), ["a, "; 19].concat() + "a and 1,001 more"]);
        assert_eq!([bytes(12), bytes(4_200_000)], ["12 B", "4.2 MB"]);
    }
}
