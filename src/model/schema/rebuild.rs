//! The way back: an event's JSON from its columns, or from `raw` where the columns do not tell all.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use crate::base::json::{write_float, write_int, write_string};
use crate::base::time::write_rfc3339;

use super::shape::{Items, Object, Role};
use super::{Kind, Schema};

/// Rows that this schema cannot turn back into JSON.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A column that every day file has is missing or of another type.
    #[error("column {0:?} is missing or of another type")]
    Column(String),
    /// The rows have a typed column that the schema does not know.
    #[error("column {column:?} of event type {event_type:?} is in no schema; give its folder with --schemas")]
    Unknown {
        /// The column.
        column: String,
        /// The event type.
        event_type: String,
    },
}

/// Turns the rows of one batch back into JSON.
#[derive(Debug)]
pub struct Rebuild {
    schema: Arc<Schema>,
    time: TimestampMicrosecondArray,
    device_id: StringArray,
    project_id: StringArray,
    event_id: StringArray,
    raw: StringArray,
    typed: Vec<Values>,
}

/// One column's values.
#[derive(Debug)]
enum Values {
    Text(StringArray),
    Json(StringArray),
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    Time(TimestampMicrosecondArray),
    List(ListArray, Vec<Values>),
}

impl Rebuild {
    /// Prepares a batch that has the schema's columns.
    ///
    /// # Errors
    /// When a column is missing, of another type, or unknown.
    pub fn new(schema: &Arc<Schema>, batch: &RecordBatch) -> Result<Self, RebuildError> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| RebuildError::Column(name.to_owned()));
        let text = |name: &str| column(name)?.as_string_opt().cloned().ok_or_else(|| RebuildError::Column(name.to_owned()));
        let time = column("time")?.as_primitive_opt().cloned();
        for field in batch.schema_ref().fields() {
            if schema.arrow.field_with_name(field.name()).is_err() {
                return Err(RebuildError::Unknown { column: field.name().clone(), event_type: schema.name.clone() });
            }
        }
        let mut typed = Vec::with_capacity(schema.columns.len());
        for described in &schema.columns {
            let values = Values::new(described.kind, column(&described.name)?.as_ref(), &described.items);
            typed.push(values.ok_or_else(|| RebuildError::Column(described.name.clone()))?);
        }
        Ok(Self {
            schema: Arc::clone(schema),
            time: time.ok_or_else(|| RebuildError::Column("time".to_owned()))?,
            device_id: text("device_id")?,
            project_id: text("project_id")?,
            event_id: text("event_id")?,
            raw: text("raw")?,
            typed,
        })
    }

    /// Appends the event of a row as JSON on one line, without a line end.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.raw.is_valid(row) {
            write_on_one_line(self.raw.value(row), out);
            return;
        }
        self.object(&self.schema.shape.root, &self.typed, row, Some(row), out);
    }

    /// Writes an object; nothing at all when none of its fields has a value. `event` is the row of the event, and none
    /// inside a list.
    fn object(&self, object: &Object, typed: &[Values], row: usize, event: Option<usize>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.push(b'{');
        for field in &object.fields {
            let before = out.len();
            if before > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(field.quoted.as_bytes());
            if !self.field(&field.role, typed, row, event, out) {
                out.truncate(before);
            }
        }
        let any = out.len() > start + 1;
        if any {
            out.push(b'}');
        } else {
            out.truncate(start);
        }
        any
    }

    fn field(&self, role: &Role, typed: &[Values], row: usize, event: Option<usize>, out: &mut Vec<u8>) -> bool {
        match (role, event) {
            (Role::Object(inner), _) => return self.object(inner, typed, row, event, out),
            (Role::Column(slot, _), _) => return typed[*slot].write(row, out),
            (Role::List(slot, items), _) => return self.list(&typed[*slot], items, row, out),
            (Role::Id, Some(event)) => write_string(self.event_id.value(event), out),
            (Role::Type, _) => write_string(&self.schema.envelope.type_is, out),
            (Role::Device, Some(event)) => return self.device(event, out),
            (Role::Time | Role::Implied, Some(event)) => {
                out.push(b'"');
                write_rfc3339(self.time.value(event), out);
                out.push(b'"');
            }
            _ => return false,
        }
        true
    }

    fn device(&self, row: usize, out: &mut Vec<u8>) -> bool {
        let device = self.device_id.is_valid(row).then(|| self.device_id.value(row));
        let project = self.project_id.is_valid(row).then(|| self.project_id.value(row));
        match (project, device) {
            (Some(project), Some(device)) => write_string(&format!("projects/{project}/devices/{device}"), out),
            (Some(project), None) => write_string(&format!("projects/{project}"), out),
            (None, Some(device)) => write_string(device, out),
            (None, None) => return false,
        }
        true
    }

    fn list(&self, values: &Values, items: &Items, row: usize, out: &mut Vec<u8>) -> bool {
        let Values::List(list, typed) = values else { return false };
        if list.is_null(row) {
            return false;
        }
        let offsets = list.value_offsets();
        let (from, to) = (offsets[row], offsets[row + 1]);
        out.push(b'[');
        for (index, element) in (from..to).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let element = usize::try_from(element).unwrap_or_default();
            let written = match items {
                Items::Plain(_) => typed[0].write(element, out),
                Items::Objects { shape, .. } => self.object(shape, typed, element, None, out),
            };
            if !written {
                out.extend_from_slice(b"{}");
            }
        }
        out.push(b']');
        true
    }
}

impl Values {
    fn new(kind: Kind, array: &dyn Array, items: &[super::Column]) -> Option<Self> {
        Some(match kind {
            Kind::String => Self::Text(array.as_string_opt()?.clone()),
            Kind::Json => Self::Json(array.as_string_opt()?.clone()),
            Kind::Bool => Self::Bool(array.as_boolean_opt()?.clone()),
            Kind::Int64 => Self::Int(array.as_primitive_opt::<Int64Type>()?.clone()),
            Kind::Float64 => Self::Float(array.as_primitive_opt::<Float64Type>()?.clone()),
            Kind::Timestamp => Self::Time(array.as_primitive_opt::<TimestampMicrosecondType>()?.clone()),
            Kind::List => {
                let list = array.as_list_opt::<i32>()?;
                let inner = match list.values().as_struct_opt() {
                    Some(elements) => items
                        .iter()
                        .map(|item| Self::new(item.kind, elements.column_by_name(&item.name)?.as_ref(), &[]))
                        .collect::<Option<Vec<_>>>()?,
                    None => vec![Self::new(items.first()?.kind, list.values().as_ref(), &[])?],
                };
                Self::List(list.clone(), inner)
            }
        })
    }

    /// Writes a value; false for a null.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(values) if values.is_valid(row) => write_string(values.value(row), out),
            Self::Json(values) if values.is_valid(row) => write_on_one_line(values.value(row), out),
            Self::Bool(values) if values.is_valid(row) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Self::Int(values) if values.is_valid(row) => write_int(values.value(row), out),
            Self::Float(values) if values.is_valid(row) => write_float(values.value(row), out),
            Self::Time(values) if values.is_valid(row) => {
                out.push(b'"');
                write_rfc3339(values.value(row), out);
                out.push(b'"');
            }
            _ => return false,
        }
        true
    }
}

/// JSON text that may have come on several lines: between values a line end is only white space, within strings there is
/// none.
fn write_on_one_line(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Columns, Registry, Row};
    use super::*;

    /// Reads an event into columns and writes it again: the JSON that came back, and whether `raw` was needed.
    fn round(event: &str) -> (Value, bool) {
        let schema = Registry::built_in().unwrap().get(&Row::event_type(event).unwrap());
        let mut row = Row::default();
        assert_eq!(row.read(&schema, event).unwrap(), event.len());
        let mut columns = Columns::new(&schema);
        columns.push(&row, event, 1, "stream");
        let batch = columns.finish().unwrap();
        let mut out = Vec::new();
        Rebuild::new(&schema, &batch).unwrap().write(0, &mut out);
        (serde_json::from_slice(&out).unwrap(), !row.whole)
    }

    fn temperature() -> Value {
        json!({"eventId": "cpbg96qngr7ai7ldarrg", "targetName": "projects/p1/devices/d1", "eventType": "temperature",
            "data": {"temperature": {"value": 27, "updateTime": "2024-05-29T10:34:03.970415Z",
                "samples": [{"value": 27.25, "sampleTime": "2024-05-29T10:34:03.970415Z"}, {"value": -3, "sampleTime": "2024-05-29T10:29:03.970415Z"}],
                "isBackfilled": false}},
            "timestamp": "2024-05-29T10:34:03.970415Z"})
    }

    #[test]
    fn a_regular_event_comes_back_from_its_columns_alone() {
        let event = temperature();
        assert_eq!(round(&event.to_string()), (event, false));
        let labels = json!({"eventId": "x", "targetName": "projects/p1/devices/d1", "eventType": "labelsChanged",
            "data": {"added": {"k": "v"}, "modified": {}, "removed": ["k2", "ø\"\n"]}, "timestamp": "2024-05-29T10:34:03.970415Z"});
        assert_eq!(round(&labels.to_string()), (labels, false));
    }

    #[test]
    fn what_the_columns_cannot_tell_comes_back_from_raw() {
        let changes: [fn(&mut Value); 14] = [
            |e| e["data"]["temperature"]["value"] = json!("27"),
            |e| e["data"]["temperature"]["value"] = json!(null),
            |e| e["data"]["temperature"]["extra"] = json!(1),
            |e| e["more"] = json!({}),
            |e| e["timestamp"] = json!("2024-05-29T10:34:03.970415123Z"),
            |e| e["data"]["temperature"]["updateTime"] = json!("2024-05-29T10:34:03.970416Z"),
            |e| e["data"]["temperature"] = json!({}),
            |e| e["data"] = json!(null),
            |e| e["data"]["temperature"]["samples"] = json!([{"value": 1, "other": 2}]),
            |e| e["data"]["temperature"]["samples"] = json!([7]),
            |e| e["data"]["temperature"]["samples"] = json!({}),
            |e| e["data"]["temperature"]["isBackfilled"] = json!("no"),
            |e| e["data"]["temperature"]["value"] = json!(27.0),
            |e| e["data"]["temperature"]["value"] = json!(0.123_456_789_012_345_67),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut event = temperature();
            change(&mut event);
            assert_eq!(round(&event.to_string()), (event, true), "change {index}");
        }
        let twice = temperature().to_string().replace("\"value\":27}", "\"value\":27,\"value\":28}");
        assert!(round(&twice).1);
        let long = temperature().to_string().replace("\"value\":27}", "\"value\":123456789012345678901234567890}");
        assert!(round(&long).1);
    }

    #[test]
    fn other_target_names_and_an_unknown_type_come_back() {
        for target in ["projects/p1", "sensor-7", "projects/p/devices/", "projects//devices/d", "a/b/c", ""] {
            let mut event = temperature();
            event["targetName"] = json!(target);
            assert_eq!(round(&event.to_string()).0, event, "{target}");
        }
        let mut event = temperature();
        event["eventType"] = json!("../../etc/passwd");
        assert_eq!(round(&event.to_string()), (event, true));
    }

    proptest! {
        #[test]
        fn any_float_comes_back_as_an_equal_value(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let mut event = temperature();
            event["data"]["temperature"]["value"] = json!(value);
            prop_assert_eq!(round(&event.to_string()).0, event);
        }

        #[test]
        fn whatever_stands_in_the_data_comes_back(key in "(value|samples|updateTime|x\"y|)", value in "(1|-0|1e5|2.50|null|\\[\\]|\\{\\}|\"a\\\\u00e9\"|\\[1,null\\]|true|9007199254740993|0.1)") {
            let event = temperature().to_string().replacen("\"value\":27}", &format!("{}:{value}}}", serde_json::Value::from(key)), 1);
            if let Ok(expected) = serde_json::from_str::<Value>(&event) {
                prop_assert_eq!(round(&event).0, expected);
            }
        }
    }
}
