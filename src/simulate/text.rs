//! JSON that somebody else wrote, kept as text: fields in their order, numbers as they were.

use super::event::escape;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The fields of an object, in order, each value as compact ASCII text.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The text of a field; an explicit null counts as none.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && v != "null").map(|(_, v)| v.as_str())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            fields.push((key, compact(value.get())));
        }
        Ok(Fields(fields))
    }
}

/// Without white space between the parts, and in ASCII: a frame is one line.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if !inside && c.is_ascii_whitespace() {
            continue;
        }
        if c.is_ascii() {
            out.push(c);
        } else if escape(&mut out, c).is_err() {
            continue; // cannot happen: a String takes everything
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_but_for_space_and_letters_beyond_ascii() {
        let json =
            "{ \"b\" : [ 1, 1.50e3 ] , \"a\": { \"x y\\\" \" : \"ü \" }, \"n\":null, \"big\": 123456789012345678901234567890 }";
        let fields: Fields = serde_json::from_str(json).expect("an object");
        assert_eq!(fields.get("b"), Some("[1,1.50e3]"));
        assert_eq!(fields.get("a"), Some(r#"{"x y\" ":"\u00fc "}"#));
        assert_eq!(fields.get("n"), None);
        assert_eq!(fields.0.last().map(|f| f.1.as_str()), Some("123456789012345678901234567890"));
    }
}
