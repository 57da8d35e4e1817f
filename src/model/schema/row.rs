//! One event, read along its schema's tree in a single pass over the text.
//!
//! Values stay spans of the text until a column takes them. [`Row::whole`] tells whether the columns alone give the event
//! back; where they do not (an unknown field, a string where a number belongs, nanoseconds, an explicit null), the text
//! itself is kept in `raw`.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::base::json::{self, Cursor, JsonError, Next, Span, Text};
use crate::base::time::{Micros, Parsed};

use super::shape::{Field, Items, Object, Role};
use super::when::When;
use super::{Kind, Schema};

/// Bytes of the hash that stands for an id: two of 10^15 events that differ have the same with a chance of 10^-9.
const ID_BYTES: usize = 16;

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
    /// It has no usable time, as its schema has it.
    #[error("no event time {0}")]
    NoTime(&'static str),
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
    has_type: bool,
    implied: Vec<Span>,
    /// Columns whose value did not fit them, each with the value's JSON.
    misfits: Vec<(usize, Span)>,
    /// How many values have not fitted so far.
    unfit: usize,
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
        self.misfits.clear();
        self.has_type = false;
        (self.id, self.device, self.project, self.time_text) = (Slot::Absent, Slot::Absent, Slot::Absent, None);
        let mut cursor = Cursor::new(event);
        if cursor.peek()? != Next::Object {
            return Err(RowError::NoType);
        }
        self.object(&shape.root, &mut cursor)?;
        let end = cursor.position();
        if schema.envelope.id.is_none() {
            self.id = self.of_content(&event[..end])?;
        }
        if matches!(self.text(self.id, event), None | Some("")) {
            return Err(RowError::NoId);
        }
        let no_time = || RowError::NoTime(schema.envelope.when.name());
        let text = self.time_text.ok_or_else(no_time)?;
        let parsed = parse_time(text, event, &schema.envelope.when).ok_or_else(no_time)?;
        self.time = parsed.time;
        let is_copy = |copy: &Span| copy.of(event) == text.span.of(event);
        let copies = self.implied.len() == shape.implied && self.implied.iter().all(is_copy);
        // An event type without a schema keeps its text: there is nothing else to give it back from.
        let is_typed = self.has_type || !shape.has_type;
        self.whole &= parsed.canonical && copies && is_typed && schema.version > 0;
        Ok(end)
    }

    /// Columns of its schema that the event has a value for which does not fit, with the value's JSON.
    pub fn misfits<'s>(&self, schema: &'s Schema) -> impl Iterator<Item = (&'s str, Span)> {
        let of = |(slot, value): &(usize, Span)| Some((schema.columns.get(*slot)?.name.as_str(), *value));
        self.misfits.iter().filter_map(of)
    }

    /// Project and device of the event that was read, if it has both.
    pub fn target<'a>(&'a self, event: &'a str) -> Option<(&'a str, &'a str)> {
        Some((self.text(self.project, event)?, self.text(self.device, event)?))
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
            (Role::Column(slot, _) | Role::List(slot, _), _) => {
                let (start, before) = (cursor.position(), self.unfit);
                self.slots[*slot] = match &field.role {
                    Role::List(_, items) if next == Next::Array => self.list(items, cursor)?,
                    Role::Column(_, kind) => self.value(*kind, next, cursor)?,
                    _ => self.unfit(next, cursor)?,
                };
                if self.unfit > before {
                    self.misfits.push((*slot, Span { start, end: cursor.position() }));
                }
                return Ok(self.slots[*slot] != Slot::Absent);
            }
            (Role::Id, Next::String) => self.id = self.string(cursor)?,
            (Role::Id, Next::Number) => {
                self.whole = false;
                self.id = Slot::Text(cursor.number()?);
            }
            (Role::Device, Next::String) => self.device(cursor)?,
            (Role::Device, Next::Number) => {
                self.whole = false;
                self.device = Slot::Text(cursor.number()?);
            }
            (Role::Time, Next::String) => self.time_text = Some(cursor.string()?),
            (Role::Time, Next::Number) => self.time_text = Some(Text { span: cursor.number()?, escaped: false }),
            (Role::Implied, Next::String) => self.implied.push(cursor.string()?.span),
            (Role::Type, Next::String) => {
                cursor.string()?;
                self.has_type = true;
            }
            _ => {
                self.whole = false;
                cursor.skip()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes a value by that does not fit where it stands. A null is none.
    fn unfit(&mut self, next: Next, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        self.whole = false;
        self.unfit += usize::from(next != Next::Null);
        cursor.skip()?;
        Ok(Slot::Absent)
    }

    fn value(&mut self, kind: Kind, next: Next, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        let value = match (kind, next) {
            (Kind::Json, _) => return self.json(cursor),
            (Kind::String, Next::String) => {
                let slot = self.string(cursor)?;
                self.unfit += usize::from(slot == Slot::Absent);
                return Ok(slot);
            }
            (Kind::Bool, Next::Bool) => return Ok(Slot::Bool(cursor.bool()?)),
            (Kind::Float64, Next::Number) => {
                let text = cursor.number()?.of(cursor.text());
                self.whole &= json::is_plain_float(text);
                text.parse().ok().filter(|value: &f64| value.is_finite()).map(Slot::Float)
            }
            (Kind::Int64, Next::Number) => {
                let text = cursor.number()?.of(cursor.text());
                // Any other spelling would not come back as it was.
                self.whole &= !text.contains(['.', 'e', 'E']) && text != "-0";
                json::whole_number(text).map(Slot::Int)
            }
            (Kind::Int64, Next::String) => {
                self.whole = false;
                cursor.string()?.of(cursor.text()).and_then(|text| json::whole_number_of(&text)).map(Slot::Int)
            }
            (Kind::Timestamp, Next::String) => {
                let parsed = parse_time(cursor.string()?, cursor.text(), &When::Rfc3339);
                self.whole &= parsed.is_some_and(|parsed| parsed.canonical);
                parsed.map(|parsed| Slot::Time(parsed.time))
            }
            _ => return self.unfit(next, cursor),
        };
        self.whole &= value.is_some();
        self.unfit += usize::from(value.is_none());
        Ok(value.unwrap_or_default())
    }

    /// Any value, in its one spelling: equal values are equal columns.
    fn json(&mut self, cursor: &mut Cursor<'_>) -> Result<Slot, RowError> {
        let span = cursor.skip()?;
        let text = span.of(cursor.text());
        let canonical = json::canonical(text)?;
        Ok(if canonical == text { Slot::Text(span) } else { self.decoded(canonical) })
    }

    /// The id of an event that has none: what it says. So one that comes twice is one, and two that say the same are as well.
    fn of_content(&mut self, event: &str) -> Result<Slot, RowError> {
        let digest = Sha256::digest(json::canonical(event)?);
        Ok(self.decoded(base16ct::lower::encode_string(&digest[..ID_BYTES])))
    }

    fn decoded(&mut self, text: String) -> Slot {
        self.unescaped.push(text);
        Slot::Unescaped(self.unescaped.len() - 1)
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
                        self.unfit(next, cursor)?;
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
        Ok(self.decoded(value))
    }

    /// `projects/P/devices/D` and `projects/P` are taken apart; any other text is the device's id as it stands.
    fn device(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RowError> {
        let whole = self.string(cursor)?;
        self.device = whole;
        let Some((project, device)) = self.text(whole, cursor.text()).and_then(taken_apart) else { return Ok(()) };
        self.project = self.part(whole, project);
        self.device = device.map_or(Slot::Absent, |device| self.part(whole, device));
        Ok(())
    }

    /// A part of a text.
    fn part(&mut self, whole: Slot, part: Range<usize>) -> Slot {
        match whole {
            Slot::Text(span) => Slot::Text(Span { start: span.start + part.start, end: span.start + part.end }),
            Slot::Unescaped(index) => {
                let text = self.unescaped.get(index).and_then(|text| text.get(part)).unwrap_or_default().to_owned();
                self.decoded(text)
            }
            other => other,
        }
    }
}

/// Where project and device stand in `projects/P/devices/D` and `projects/P`.
fn taken_apart(text: &str) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let rest = text.strip_prefix("projects/")?;
    let start = text.len() - rest.len();
    let slash = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
    let project = start..start + slash;
    match rest[slash..].strip_prefix("/devices/") {
        _ if slash == 0 => None,
        None if slash == rest.len() => Some((project, None)),
        Some(device) if !device.is_empty() && !device.contains('/') => {
            Some((project, Some(text.len() - device.len()..text.len())))
        }
        _ => None,
    }
}

/// A time; one with escapes (some programs write `+` as `\u002B`) never stands as this program would write it.
fn parse_time(text: Text, event: &str, when: &When) -> Option<Parsed> {
    let parsed = when.parse(&text.of(event)?)?;
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
