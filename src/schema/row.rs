//! One event, read along its schema's tree in a single pass over the text.
//!
//! Values stay spans of the text until a column takes them. [`Row::whole`] tells whether the columns alone give the event
//! back; where they do not (an unknown field, a string where a number belongs, nanoseconds, an explicit null), the text
//! itself is kept in `raw`.

use crate::json::{self, Cursor, JsonError, Next, Span, Text};
use crate::time::{self, Micros, Parsed};

use super::shape::{Field, Items, Object, Role};
use super::{Kind, Schema};

/// Why a text is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Json(#[from] JsonError),
    /// It has no usable id.
    #[error("no event id")]
    NoId,
    /// It has no usable type.
    #[error("no event type")]
    NoType,
    /// It has no usable time.
    #[error("no event time in RFC 3339")]
    NoTime,
}

/// A column's value, as a span of the event's text where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Slot {
    #[default]
    Absent,
    Bool(bool),
    Int(i64),
    Float(f64),
    Time(Micros),
    /// Text that stands in the event as it is; for `json` columns the value's JSON.
    Text(Span),
    /// Text that had escapes: an index into `Row::unescaped`.
    Unescaped(usize),
    /// Elements of a list: where they begin in `Row::items`, and how many slots they take.
    List(usize, usize),
}

/// The parts of one event. Reused from event to event.
#[derive(Debug, Default)]
pub struct Row {
    /// The columns give the event back without its text.
    pub whole: bool,
    /// The event's time.
    pub time: Micros,
    pub(super) id: Slot,
    pub(super) device: Slot,
    pub(super) project: Slot,
    pub(super) slots: Vec<Slot>,
    pub(super) items: Vec<Slot>,
    unescaped: Vec<String>,
    time_text: Option<Text>,
    implied: Vec<Span>,
}

/// Finds the event type in an event's text: the span between the quotes, with escapes as they stand.
///
/// # Errors
/// When the text is no JSON object as far as it was read, or has no type.
pub(super) fn event_type(event: &str) -> Result<Text, RowError> {
    const QUOTED: &str = "\"eventType\":";
    let mut cursor = Cursor::new(event);
    let mut more = cursor.object()?;
    while more {
        if cursor.key_is(QUOTED) {
            break;
        }
        if cursor.key()?.of(event).is_some_and(|key| key == "eventType") {
            break;
        }
        cursor.skip()?;
        more = cursor.object_next()?;
    }
    if !more || cursor.peek()? != Next::String {
        return Err(RowError::NoType);
    }
    let text = cursor.string()?;
    if text.span.start == text.span.end { Err(RowError::NoType) } else { Ok(text) }
}

impl Row {
    /// The event type of a text, before its schema is known.
    ///
    /// # Errors
    /// As for a text that is no event at all.
    pub fn event_type(event: &str) -> Result<std::borrow::Cow<'_, str>, RowError> {
        event_type(event)?.of(event).ok_or(RowError::NoType)
    }

    /// Reads the event that begins the text. Gives the number of bytes that it takes; what follows is not looked at.
    ///
    /// # Errors
    /// When the text is no JSON, or the event lacks its id or time.
    pub fn read(&mut self, schema: &Schema, event: &str) -> Result<usize, RowError> {
        let shape = &schema.shape;
        self.whole = true;
        self.slots.clear();
        self.slots.resize(shape.slots, Slot::Absent);
        self.items.clear();
        self.unescaped.clear();
        self.implied.clear();
        (self.id, self.device, self.project, self.time_text) = (Slot::Absent, Slot::Absent, Slot::Absent, None);
        let mut cursor = Cursor::new(event);
        if cursor.peek()? != Next::Object {
            return Err(RowError::NoType);
        }
        self.object(&shape.root, &mut cursor)?;
        let end = cursor.position();
        if matches!(self.text(self.id, event), None | Some("")) {
            return Err(RowError::NoId);
        }
        let text = self.time_text.ok_or(RowError::NoTime)?;
        let parsed = parse_time(text, event).ok_or(RowError::NoTime)?;
        self.time = parsed.time;
        let is_copy = |copy: &Span| copy.of(event) == text.span.of(event);
        let copies = self.implied.len() == shape.implied && self.implied.iter().all(is_copy);
        // An event type without a schema keeps its text: there is nothing else to give it back from.
        self.whole &= parsed.canonical && copies && schema.version > 0;
        Ok(end)
    }

    /// The text of a slot, if it holds text.
    pub(super) fn text<'a>(&'a self, slot: Slot, event: &'a str) -> Option<&'a str> {
        match slot {
            Slot::Text(span) => Some(span.of(event)),
            Slot::Unescaped(index) => self.unescaped.get(index).map(String::as_str),
            _ => None,
        }
    }

    /// Reads an object along the tree; true when anything in it will bring it back in the rebuilt event.
    fn object(&mut self, object: &Object, cursor: &mut Cursor<'_>) -> Result<bool, RowError> {
        let (mut seen, mut expected, mut kept) = (0_u128, 0, false);
        let mut more = cursor.object()?;
        while more {
            if let Some(index) = find(object, cursor, expected)? {
                expected = index + 1;
                // An object has at most as many known keys as there are bits.
                let bit = 1_u128.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
                if seen & bit != 0 {
                    // The key stands twice: no column can tell.
                    self.whole = false;
                    cursor.skip()?;
                } else {
                    seen |= bit;
                    kept |= self.field(&object.fields[index], cursor)?;
                }
            } else {
                self.whole = false;
                cursor.skip()?;
            }
            more = cursor.object_next()?;
        }
        self.whole &= kept;
        Ok(kept)
    }

    fn field(&mut self, field: &Field, cursor: &mut Cursor<'_>) -> Result<bool, RowError> {
        let next = cursor.peek()?;
        match (&field.role, next) {
            (Role::Object(inner), Next::Object) => return self.object(inner, cursor),
            (Role::Column(slot, kind), _) => {
                let value = self.value(*kind, next, cursor)?;
                self.slots[*slot] = value;
                return Ok(value != Slot::Absent);
            }
            (Role::List(slot, items), Next::Array) => {
                self.slots[*slot] = self.list(items, cursor)?;
                return Ok(true);
            }
            (Role::Id, Next::String) => self.id = self.string(cursor)?,
            (Role::Id, Next::Number) => {
                self.whole = false;
                self.id = Slot::Text(cursor.number()?);
            }
            (Role::Device, Next::String) => self.device(cursor)?,
            (Role::Time, Next::String) => self.time_text = Some(cursor.string()?),
            (Role::Implied, Next::String) => self.implied.push(cursor.string()?.span),
            (Role::Type, Next::String) => {
                cursor.string()?;
            }
            _ => {
                self.whole = false;
                cursor.skip()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn value(&mut self, kind: Kind, next: Next, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        let value = match (kind, next) {
            (Kind::Json, _) => return Ok(Slot::Text(cursor.skip()?)),
            (Kind::String, Next::String) => return self.string(cursor),
            (Kind::Bool, Next::Bool) => return Ok(Slot::Bool(cursor.bool()?)),
            (Kind::Float64, Next::Number) => {
                let text = cursor.number()?.of(cursor.text());
                self.whole &= json::is_plain_float(text);
                text.parse().ok().filter(|value: &f64| value.is_finite()).map(Slot::Float)
            }
            (Kind::Int64, Next::Number) => {
                let text = cursor.number()?.of(cursor.text());
                // `15.0` and `2e1` are whole numbers as well, but not written as this program would.
                let parsed = text.parse().ok();
                self.whole &= text != "-0" && parsed.is_some();
                parsed.or_else(|| json::whole_number(text)).map(Slot::Int)
            }
            (Kind::Timestamp, Next::String) => {
                let parsed = parse_time(cursor.string()?, cursor.text());
                self.whole &= parsed.is_some_and(|parsed| parsed.canonical);
                parsed.map(|parsed| Slot::Time(parsed.time))
            }
            _ => cursor.skip().map(|_| None)?,
        };
        self.whole &= value.is_some();
        Ok(value.unwrap_or_default())
    }

    fn list(&mut self, items: &Items, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        let start = self.items.len();
        let mut more = cursor.array()?;
        while more {
            let next = cursor.peek()?;
            match items {
                Items::Plain(kind) => {
                    let value = self.value(*kind, next, cursor)?;
                    self.items.push(value);
                }
                Items::Objects { shape, width } => {
                    let at = self.items.len();
                    self.items.resize(at + width, Slot::Absent);
                    if next == Next::Object {
                        self.item(shape, at, cursor)?;
                    } else {
                        self.whole = false;
                        cursor.skip()?;
                    }
                }
            }
            more = cursor.array_next()?;
        }
        Ok(Slot::List(start, self.items.len() - start))
    }

    /// Reads one element of a list into the item slots from `at`.
    fn item(&mut self, object: &Object, at: usize, cursor: &mut Cursor<'_>) -> Result<(), RowError> {
        let (mut seen, mut expected) = (0_u128, 0);
        let mut more = cursor.object()?;
        while more {
            // A key that stands twice counts as unknown the second time.
            let found = find(object, cursor, expected)?.filter(|index| seen >> index & 1 == 0);
            seen |= found.map_or(0, |index| 1 << index);
            expected = found.map_or(expected, |index| index + 1);
            let next = cursor.peek()?;
            match found.map(|index| &object.fields[index].role) {
                Some(Role::Column(slot, kind)) => {
                    self.items[at + slot] = self.value(*kind, next, cursor)?;
                }
                Some(Role::Object(inner)) if next == Next::Object => {
                    let before = self.items[at..].iter().filter(|slot| **slot != Slot::Absent).count();
                    self.item(inner, at, cursor)?;
                    // An object that brought nothing would not come back.
                    self.whole &= self.items[at..].iter().filter(|slot| **slot != Slot::Absent).count() > before;
                }
                _ => {
                    self.whole = false;
                    cursor.skip()?;
                }
            }
            more = cursor.object_next()?;
        }
        Ok(())
    }

    fn string(&mut self, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        let text = cursor.string()?;
        if !text.escaped {
            return Ok(Slot::Text(text.span));
        }
        let Some(value) = json::unescape(text.span.of(cursor.text())) else {
            self.whole = false;
            return Ok(Slot::Absent);
        };
        self.unescaped.push(value);
        Ok(Slot::Unescaped(self.unescaped.len() - 1))
    }

    /// `projects/P/devices/D` and `projects/P` are taken apart; any other text is the device's id as it stands.
    fn device(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RowError> {
        self.device = self.string(cursor)?;
        if let Slot::Unescaped(at) = self.device {
            self.unescaped_device(at);
            return Ok(());
        }
        let Slot::Text(span) = self.device else { return Ok(()) };
        let text = span.of(cursor.text());
        let Some(rest) = text.strip_prefix("projects/") else { return Ok(()) };
        let slash = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
        let device = rest[slash..].strip_prefix("/devices/");
        let start = span.start + "projects/".len();
        let project = Slot::Text(Span { start, end: start + slash });
        match device {
            None if slash == rest.len() && slash > 0 => (self.project, self.device) = (project, Slot::Absent),
            Some(device) if slash > 0 && !device.is_empty() && !device.contains('/') => {
                self.project = project;
                self.device = Slot::Text(Span { start: span.end - device.len(), end: span.end });
            }
            _ => {}
        }
        Ok(())
    }
}

impl Row {
    /// The same of a text that had escapes, which do not come back from columns.
    fn unescaped_device(&mut self, at: usize) {
        self.whole = false;
        let Some(rest) = self.unescaped[at].strip_prefix("projects/") else { return };
        let (project, device) = match rest.split_once("/devices/") {
            Some((project, device)) => (project, Some(device)),
            None => (rest, None),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        if !is_name(project) || !device.is_none_or(is_name) {
            return;
        }
        let (project, device) = (project.to_owned(), device.map(str::to_owned));
        self.unescaped.push(project);
        self.project = Slot::Unescaped(self.unescaped.len() - 1);
        self.device = Slot::Absent;
        if let Some(device) = device {
            self.unescaped.push(device);
            self.device = Slot::Unescaped(self.unescaped.len() - 1);
        }
    }
}

/// A time; one with escapes (some programs write `+` as `\u002B`) never stands as this program would write it.
fn parse_time(text: Text, event: &str) -> Option<Parsed> {
    let parsed = time::parse_rfc3339(text.of(event)?.as_bytes())?;
    Some(Parsed { canonical: parsed.canonical && !text.escaped, ..parsed })
}

/// Reads a key and finds its field: the expected one first, then any other.
fn find(object: &Object, cursor: &mut Cursor<'_>, expected: usize) -> Result<Option<usize>, JsonError> {
    let fields = &object.fields;
    for index in (expected..fields.len()).chain(0..expected.min(fields.len())) {
        if cursor.key_is(&fields[index].quoted) {
            return Ok(Some(index));
        }
    }
    let key = cursor.key()?;
    let span = key.span.of(cursor.text());
    if key.escaped {
        let name = json::unescape(span);
        return Ok(name.and_then(|name| fields.iter().position(|field| field.key == name)));
    }
    Ok(fields.iter().position(|field| field.key == span))
}
