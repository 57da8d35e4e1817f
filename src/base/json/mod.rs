//! JSON text, read without values and written without a detour. Hot: every event goes through both, so it is our own, held to
//! `serde_json` by tests.

mod cursor;
mod write;

pub use cursor::{Cursor, JsonError, Next, Span, Text, unescape};
pub use write::{canonical, is_plain_float, is_verbatim, whole_number, whole_number_of, write_float, write_int, write_string};

#[cfg(test)]
mod tests {
    use super::cursor::DEPTH;
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().and_then(|_| cursor.end()).is_ok()
    }

    fn serde_accepts(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn a_whole_number_may_be_written_in_several_ways() {
        for (text, number) in [("15.0", 15), ("2e1", 20), ("-1.50E+1", -15), ("0.0e9", 0), ("9223372036854775807.0", i64::MAX)] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for text in
            ["15.5", "1e-1", "15.00000000000000000000001", "1e19", "9223372036854775808.0", "1e999999999", "1e99999999999"]
        {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_the_texts_of_the_values() {
        let mut cursor = Cursor::new(r#" {"a" : "x\"y", "n":-12.50e3, "l":[1,{"deep":[]}], "t":true} "#);
        assert!(cursor.object().unwrap());
        assert_eq!(cursor.key().unwrap().span.of(cursor.text()), "a");
        let text = cursor.string().unwrap();
        assert!(text.escaped);
        assert_eq!(unescape(text.span.of(cursor.text())).unwrap(), "x\"y");
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert_eq!(cursor.number().unwrap().of(cursor.text()), "-12.50e3");
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert_eq!(cursor.skip().unwrap().of(cursor.text()), r#"[1,{"deep":[]}]"#);
        assert!(cursor.object_next().unwrap());
        cursor.key().unwrap();
        assert!(cursor.bool().unwrap());
        assert!(!cursor.object_next().unwrap());
        cursor.end().unwrap();
    }

    #[test]
    fn a_number_is_written_the_shortest_way_that_reads_back_as_itself() {
        let check = |value: f64| {
            let mut out = Vec::new();
            write_float(value, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            assert!(value.fract() == 0.0 || text == zmij::Buffer::new().format(value), "{text}");
        };
        for number in (-30_000_i32..30_000).map(f64::from).chain([987_654_321_001.0, -987_654_321_999.0, 999_999_999_999.0]) {
            let value = number / 1000.0;
            // A zero has no sign here.
            [value, value.next_up(), value.next_down()].into_iter().filter(|value| *value != 0.0).for_each(check);
        }
        for value in [0.0, 1e-9, 1e300, f64::MIN_POSITIVE, f64::MAX, 1e15, 0.1 + 0.2] {
            check(value);
        }
    }

    #[test]
    fn a_million_brackets_are_an_error_and_no_stack_overflow() {
        assert!(!accepts(&"[".repeat(1_000_000)));
        assert!(accepts(&format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))));
        for inner in ["", "1", "{}"] {
            let nested = |depth| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            for depth in DEPTH - 2..DEPTH + 2 {
                let expected = serde_json::from_str::<serde_json::Value>(&nested(depth)).is_ok();
                assert_eq!(accepts(&nested(depth)), expected, "{depth} times {inner:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_json_is_what_serde_json_takes_for_json(text in "[\\[\\]{}:,\"\\\\eE+.0-9a-u \u{1}é-]{0,24}") {
            // serde_json refuses numbers beyond f64 when it has to make one; ignoring them it does not.
            prop_assert_eq!(accepts(&text), serde_accepts(&text), "{}", text);
        }

        #[test]
        fn every_value_that_serde_json_writes_is_accepted(value in value()) {
            prop_assert!(accepts(&value.to_string()));
            prop_assert!(accepts(&serde_json::to_string_pretty(&value).unwrap()));
        }
    }

    /// Any JSON value, three levels deep.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(serde_json::Value::Null, Into::into)),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
