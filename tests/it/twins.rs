//! Twins: a document and another that is equal JSON, with other escapes, spaces and orders, become equal columns.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use overnight::model::decode::{Collector, Found};
use overnight::model::event::Source;
use overnight::model::framing::Frame;
use overnight::model::schema::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The one row that a line becomes.
fn row(line: &str) -> RecordBatch {
    let mut collector = Collector::new(Arc::new(Registry::built_in().unwrap()), Source::Import);
    let found = collector.add(&Frame::Line(line.as_bytes()), 5);
    let batch = collector.take().unwrap();
    assert_eq!(found, Found::Event, "{line}: {:?}", batch.faults);
    batch.parts.into_iter().next().unwrap().1
}

/// How a twin is written: escapes, spaces and orders by the bits of a seed.
struct Pen(u64);

impl Pen {
    fn chance(&mut self) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 62 == 0
    }

    fn space(&mut self, out: &mut String) {
        for space in [" ", "\t", "\r"] {
            if self.chance() {
                out.push_str(space);
            }
        }
    }

    fn string(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for letter in text.chars() {
            let plain = Value::from(letter.to_string()).to_string();
            if self.chance() {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().for_each(|unit| write!(out, "\\u{unit:04X}").unwrap());
            } else if letter == '/' && self.chance() {
                out.push_str("\\/");
            } else {
                out.push_str(&plain[1..plain.len() - 1]);
            }
        }
        out.push('"');
    }

    fn value(&mut self, value: &Value, out: &mut String) {
        self.space(out);
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for at in 1..members.len() {
                    if self.chance() {
                        members.swap(at - 1, at);
                    }
                }
                out.push('{');
                for (at, (key, value)) in members.into_iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    self.space(out);
                    self.string(key, out);
                    self.space(out);
                    out.push(':');
                    self.value(value, out);
                }
                out.push('}');
            }
            Value::Array(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    self.value(value, out);
                }
                out.push(']');
            }
            Value::String(text) => self.string(text, out),
            other => out.push_str(&other.to_string()),
        }
        self.space(out);
    }
}

fn event(kind: usize, id: &str, device: &str, text: &str) -> Value {
    let (time, data) = ("2026-11-23T01:00:00.000000Z", |kind: &str, data: Value| (kind.to_owned(), json!({ kind: data })));
    let (kind, data) = match kind {
        0 => data("temperature", json!({"value": 21.5, "updateTime": time, "samples": [{"value": 21.5, "sampleTime": time}]})),
        1 => data("objectPresent", json!({"state": text, "updateTime": time})),
        2 => (
            "labelsChanged".to_owned(),
            json!({"added": {text: id, "b": "ø"}, "modified": {"z": text, "a": "/"}, "removed": [text]}),
        ),
        _ => data("touchCount", json!({"total": 7, "updateTime": time, "more": {text: [text]}})),
    };
    json!({"eventId": id, "targetName": device, "eventType": kind, "data": data, "timestamp": time})
}

proptest! {
    #[test]
    fn an_event_and_its_twin_in_other_escapes_spaces_and_orders_have_equal_columns(
        kind in 0_usize..4, id in "[a-z/\"é😀]{1,8}", text in "[A-Z_/é\\\\\n😀]{1,8}", seed in any::<u64>(),
        device in "projects/[a-z\"]{1,5}/devices/[a-zé]{1,5}|projects/[a-z]{1,5}|[a-z/]{1,9}",
    ) {
        let event = event(kind, &id, &device, &text);
        let mut twin = String::new();
        Pen(seed).value(&event, &mut twin);
        prop_assert_eq!(&serde_json::from_str::<Value>(&twin).unwrap(), &event);
        let (one, other) = (row(&event.to_string()), row(&twin));
        for (at, field) in one.schema().fields().iter().enumerate() {
            let (one, other) = (one.column(at), other.column(at));
            // `raw` is the text as it came, kept where columns do not tell all of it.
            if field.name() != "raw" {
                prop_assert_eq!(one, other, "{} of {}", field.name(), twin);
            }
        }
    }
}
