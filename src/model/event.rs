//! The words of a recording: event, source, partition, fault, batch; and where an event stands in a line of a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::value::RawValue;

use crate::base::json::{Cursor, JsonError, Next};
use crate::base::text::printable;
use crate::base::time::{Day, Micros};

/// The way that an event came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A live stream.
    Stream,
    /// The cloud's event history.
    History,
    /// A Data Connector.
    Push,
    /// A file or standard input.
    Import,
}

impl Source {
    /// The word in the `source` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::History => "history",
            Self::Push => "push",
            Self::Import => "import",
        }
    }

    /// The words of what comes as it happens, and not from the past.
    pub fn live() -> [&'static str; 2] {
        [Self::Stream.name(), Self::Push.name()]
    }
}

/// One event type on one UTC day of event time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The event type.
    pub event_type: Arc<str>,
    /// The day.
    pub day: Day,
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.event_type, self.day)
    }
}

/// A device: what turns its id into something that people know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceRow {
    /// Its project.
    pub project: String,
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its product number.
    pub product_number: String,
    /// Its labels, as JSON.
    pub labels: String,
}

/// Longest JSON of a device's labels, in bytes.
pub const LABELS_MAX: usize = 16 * 1024;

/// A device's labels: a flat map of texts, whoever wrote them. So they are as deep as any reader of JSON reads, SQLite among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Labels {
    by_name: BTreeMap<String, String>,
    /// What of the JSON they were read from can be no labels.
    pub wrong: Option<&'static str>,
}

impl Labels {
    /// Reads them: the texts of an object. Numbers and the like are left out, and so is what is `wrong`.
    pub fn read(json: &str) -> Self {
        let json = json.trim();
        // An empty list is how some languages write an empty map.
        if matches!(json, "null" | "[]") {
            return Self::default();
        }
        let Ok(values) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
            return Self { wrong: Some("its labels are no map"), ..Self::default() };
        };
        let mut labels = Self::default();
        let mut bytes = 0;
        for (name, value) in values {
            bytes += name.len() + value.get().len();
            if bytes > LABELS_MAX {
                labels.wrong = Some("its labels are longer than 16 KiB");
                break;
            }
            match value.get().as_bytes().first() {
                Some(b'{' | b'[') => labels.wrong = Some("its labels hold more than texts"),
                // Half a surrogate pair is no text.
                Some(b'"') => labels.by_name.extend(serde_json::from_str(value.get()).map(|text| (name, text))),
                _ => {}
            }
        }
        labels
    }

    /// As JSON, as they are kept.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.by_name).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// Something that came instead of an event. Kept raw, counted, never dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it came.
    pub at: Micros,
    /// The way it came by.
    pub source: Source,
    /// Why it is no event.
    pub reason: String,
    /// How many bytes it had.
    pub length: u64,
    /// Its bytes; of a line that was too long, its beginning.
    pub raw: Vec<u8>,
}

/// Values that did not fit their column, as they came. The events are kept whole, in `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The event type.
    pub event_type: Arc<str>,
    /// The column, which is null there.
    pub column: String,
    /// In how many events.
    pub events: u64,
    /// When the last of them came.
    pub last_at: Micros,
    /// The value in the last of them, as JSON, shortened.
    pub example: String,
}

/// Events on their way into the buffer: rows by partition, in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows by partition, with the partition's schema version.
    pub parts: Vec<(Partition, RecordBatch)>,
    /// What was no event.
    pub faults: Vec<Fault>,
    /// Values that did not fit their columns: one entry a column.
    pub misfits: Vec<Misfit>,
    /// Devices as pushes described them, with the time that each speaks of; labels may be a part of those that there are.
    pub devices: Vec<(Micros, DeviceRow)>,
}

impl Batch {
    /// Number of events.
    pub fn events(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.num_rows()).sum()
    }

    /// True when there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.faults.is_empty() && self.devices.is_empty()
    }
}

/// What a line of a stream says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An event's text, or what stands in its place.
    Event(&'a str),
    /// The cloud ends the stream with an error; see [`CloudError::read`].
    Error(&'a str),
}

/// An error of the cloud, as a line of a stream or the body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    /// An HTTP or gRPC code, 0 when there is none.
    pub code: i64,
    /// The cloud's words.
    pub message: String,
}

impl<'a> Line<'a> {
    /// The event of a line in the envelope as the cloud writes it, without a look at what lies between: the reader of the
    /// event checks that, and that exactly the two braces follow.
    pub fn usual(line: &'a str) -> Option<&'a str> {
        line.strip_prefix("{\"result\":{\"event\":").filter(|event| event.ends_with("}}"))
    }

    /// Finds the event in a line: `{"result":{"event":…}}`, `{"event":…}` as pushed, or the bare event. What else stands
    /// in the envelope does not matter.
    ///
    /// # Errors
    /// When the line is no JSON.
    pub fn open(line: &'a str) -> Result<Self, JsonError> {
        let mut cursor = Cursor::new(line);
        if cursor.peek()? != Next::Object {
            cursor.skip()?;
            cursor.end()?;
            return Ok(Self::Event(line));
        }
        let (mut result, mut event, mut error, mut bare) = (None, None, false, false);
        let mut more = cursor.object()?;
        while more {
            let key = cursor.key()?.of(line).unwrap_or_default();
            let is_object = cursor.peek()? == Next::Object;
            let value = cursor.skip()?.of(line);
            match &*key {
                "result" if is_object => result = Some(value),
                "event" if is_object => event = Some(value),
                "error" => error = true,
                "eventId" | "eventType" => bare = true,
                _ => {}
            }
            more = cursor.object_next()?;
        }
        cursor.end()?;
        match (result, event) {
            _ if bare => Ok(Self::Event(line.trim())),
            (Some(result), _) => Self::open(result),
            (_, Some(event)) => Ok(Self::Event(event)),
            _ if error => Ok(Self::Error(line)),
            _ => Ok(Self::Event(line.trim())),
        }
    }
}

impl CloudError {
    /// Reads any known shape of the cloud's errors: wrapped, flat, the one of 2020; other text stands as it is, shortened.
    pub fn read(body: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let inner = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
        let code = ["code", "httpCode", "grpcCode"].iter().find_map(|key| inner.get(key)?.as_i64()).unwrap_or(0);
        let text = ["message", "error_description", "error"].iter().find_map(|key| inner.get(key)?.as_str());
        let message = match text {
            Some(text) => printable(text, 500),
            None if body.trim_start().starts_with('<') => format!("{}a page, and no words of the cloud's own", title(body)),
            None => printable(body, 200),
        };
        Self { code, message }
    }
}

/// What a page calls itself.
fn title(page: &str) -> String {
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    title.map_or_else(String::new, |(title, _)| format!("\"{}\", ", printable(title, 80)))
}

impl fmt::Display for CloudError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.message.is_empty()) {
            (0, true) => out.write_str("no reason given"),
            (0, false) => out.write_str(&self.message),
            (code, true) => write!(out, "code {code}"),
            (code, false) => write!(out, "{} (code {code})", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_found_in_every_envelope() {
        let event = r#"{"eventId":"a"}"#;
        assert_eq!(Line::usual(r#"{"result":{"event":{"eventId":"a"}}}"#), Some(r#"{"eventId":"a"}}}"#));
        for line in [
            r#"{"result":{"event":{"eventId":"a"}}}"#,
            r#"{ "result": {"event": {"eventId":"a"}}}"#,
            r#"{"result":{"event":{"eventId":"a"},"labels":{}}}"#,
            r#"{"event":{"eventId":"a"},"labels":{}}"#,
            event,
        ] {
            assert_eq!(Line::open(line), Ok(Line::Event(event)), "{line}");
        }
        let alarm = r#"{"id":"1","eventType":"alarm","error":"overheat","event":{},"result":{}}"#;
        assert_eq!(Line::open(alarm), Ok(Line::Event(alarm)));
        assert!(Line::open(r#"{"result":"#).is_err());
    }

    #[test]
    fn labels_are_texts_by_name_and_what_else_there_is_is_told() {
        let read = |json: &str| {
            let labels = Labels::read(json);
            (labels.json(), labels.wrong)
        };
        for (json, kept) in [
            (r#"{"name":"x","b":"\u0041\/"}"#, r#"{"b":"A/","name":"x"}"#),
            (r#" {"name":"x","n":7,"t":true,"z":null,"half":"\ud800"} "#, r#"{"name":"x"}"#),
            ("null", "{}"),
            ("[]", "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(read(json), (kept.to_owned(), None), "{json}");
        }
        let deep = format!(r#"{{"name":"x","deep":{}1{}}}"#, r#"{"a":"#.repeat(1500), "}".repeat(1500));
        for json in [deep.as_str(), r#"{"name":"x","list":["y"]}"#] {
            let (kept, wrong) = read(json);
            assert_eq!((kept.as_str(), wrong.is_some()), (r#"{"name":"x"}"#, true), "{json}");
        }
        for json in [r#""x""#, "7", r#"["x"]"#, &"[".repeat(5000), r#"{"a":"#, ""] {
            assert!(read(json).1.is_some(), "{json}");
        }
        let many: Vec<String> = (0..10_000).map(|n| format!(r#""{n:05}":"x""#)).collect();
        let (kept, wrong) = read(&format!("{{{}}}", many.join(",")));
        assert!(wrong.is_some() && kept.len() < 2 * LABELS_MAX && kept.contains("00000"), "{}", kept.len());
    }

    #[test]
    fn every_known_shape_of_an_error_is_read() {
        let read = |body: &str| CloudError::read(body).to_string();
        assert_eq!(read(r#"{"error":{"code":4,"message":"timed out","details":[]}}"#), "timed out (code 4)");
        assert_eq!(read(r#"{"error":{"grpcCode":1,"httpCode":408,"message":"closing stream"}}"#), "closing stream (code 408)");
        assert_eq!(read(r#"{"error":"no such project","code":404,"help":"u"}"#), "no such project (code 404)");
        assert_eq!(read("<html><title>\u{1b}[31m502</title></html>"), "\" [31m502\", a page, and no words of the cloud's own");
        let line = r#"{"error":{"code":4}}"#;
        assert_eq!(Line::open(line), Ok(Line::Error(line)));
        assert_eq!(CloudError::read(line).code, 4);
    }
}
