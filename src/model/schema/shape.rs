//! The tree of an event's JSON that the reader walks along: which key leads to which column.

use crate::base::json::{Cursor, JsonError, Next};

use super::when::When;
use super::{Column, Kind};

/// Where the parts that every event has stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Envelope {
    /// None: what the event says is its id.
    pub(super) id: Option<String>,
    pub(super) event_type: String,
    /// What stands there, in events of this type.
    pub(super) type_is: String,
    /// The file says where the type stands.
    pub(super) says_type: bool,
    pub(super) device: String,
    pub(super) time: String,
    pub(super) when: When,
    pub(super) implied: Vec<String>,
}

/// Where the cloud that this program was made for writes the event type.
pub(super) const EVENT_TYPE: &str = "/eventType";
/// And the id.
const EVENT_ID: &str = "/eventId";

impl Envelope {
    /// That of the cloud that this program was made for.
    pub(super) fn of(event_type: &str) -> Self {
        Self {
            id: Some(EVENT_ID.to_owned()),
            event_type: EVENT_TYPE.to_owned(),
            type_is: event_type.to_owned(),
            says_type: false,
            device: "/targetName".to_owned(),
            time: "/timestamp".to_owned(),
            when: When::Rfc3339,
            implied: Vec::new(),
        }
    }

    /// Whether events of this type have it elsewhere than most, or nowhere.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.says_type && self.event_type != EVENT_TYPE || !self.says_type && self.id.as_deref() != Some(EVENT_ID)
    }

    /// Whether events of another type that is elsewhere would be taken for this one.
    pub(super) fn is_mistaken_for(&self, other: &Self) -> bool {
        self.says_type == other.says_type
            && if self.says_type {
                (&self.event_type, &self.type_is) == (&other.event_type, &other.type_is)
            } else {
                self.is_elsewhere() && (&self.id, &self.time) == (&other.id, &other.time)
            }
    }

    /// Whether an event that has no type where most have it is of this one. By what stands at the place that the schema says: the text
    /// or number that it is, or an object. Where it says no place, by its id and time.
    pub(super) fn is_of(&self, event: &str) -> bool {
        if !self.says_type {
            let has = |pointer: &str| matches!(value_at(event, pointer), Ok(Some((Next::String | Next::Number, _))));
            return self.id.as_deref().is_some_and(has) && has(&self.time);
        }
        let Ok(Some((next, text))) = value_at(event, &self.event_type) else { return false };
        match next {
            Next::String => {
                let mut cursor = Cursor::new(text);
                cursor.string().is_ok_and(|found| found.of(text).is_some_and(|found| found == self.type_is))
            }
            Next::Number => text == self.type_is,
            Next::Object => true,
            Next::Array | Next::Bool | Next::Null => false,
        }
    }
}

/// The first value at a pointer: its kind and its text.
fn value_at<'a>(event: &'a str, pointer: &str) -> Result<Option<(Next, &'a str)>, JsonError> {
    let mut cursor = Cursor::new(event);
    'keys: for key in keys(pointer) {
        if cursor.peek()? != Next::Object {
            return Ok(None);
        }
        let mut more = cursor.object()?;
        while more {
            if cursor.key()?.of(event).is_some_and(|found| found == key) {
                continue 'keys;
            }
            cursor.skip()?;
            more = cursor.object_next()?;
        }
        return Ok(None);
    }
    Ok(Some((cursor.peek()?, cursor.skip()?.of(event))))
}

/// The keys of a JSON pointer.
fn keys(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"))
}

/// The event as a tree of objects.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) root: Object,
    /// The type has a place of its own in it.
    pub(super) has_type: bool,
    /// How many implied times there are.
    pub(super) implied: usize,
    /// How many columns there are.
    pub(super) slots: usize,
}

/// Known keys in one object: the reader notes in so many bits which ones it has met.
const FIELDS: usize = 128;

/// The known keys of an object, in the order of the schema file.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) fields: Vec<Field>,
}

/// A known key.
#[derive(Debug)]
pub(super) struct Field {
    /// The key.
    pub(super) key: String,
    /// `"key":`, as it usually stands in the text.
    pub(super) quoted: String,
    pub(super) role: Role,
}

/// What stands behind a key.
#[derive(Debug)]
pub(super) enum Role {
    Id,
    Type,
    Device,
    Time,
    /// A copy of the event's time.
    Implied,
    Object(Object),
    /// A plain value, for the column (or item) of this number.
    Column(usize, Kind),
    List(usize, Items),
}

/// What stands in a list.
#[derive(Debug)]
pub(super) enum Items {
    Plain(Kind),
    Objects { shape: Object, width: usize },
}

impl Shape {
    /// The tree; an error names two things that stand in one place.
    pub(super) fn new(envelope: &Envelope, columns: &[Column]) -> Result<Self, String> {
        let mut root = Object::default();
        if let Some(id) = &envelope.id {
            root.insert(id, Role::Id)?;
        }
        root.insert(&envelope.device, Role::Device)?;
        let columns_within = |pointer: &str| columns.iter().any(|column| column.pointer.starts_with(&format!("{pointer}/")));
        // An object that says by being there what it is comes back with what is in it.
        let has_type = !columns_within(&envelope.event_type);
        if has_type {
            root.insert(&envelope.event_type, Role::Type)?;
        }
        for (slot, column) in columns.iter().enumerate() {
            let role = match column.kind {
                Kind::List => Role::List(slot, Items::new(column)?),
                kind => Role::Column(slot, kind),
            };
            root.insert(&column.pointer, role)?;
        }
        for pointer in &envelope.implied {
            root.insert(pointer, Role::Implied)?;
        }
        root.insert(&envelope.time, Role::Time)?;
        Ok(Self { root, has_type, implied: envelope.implied.len(), slots: columns.len() })
    }

    /// The tree of an event type without a schema file; its parts stand apart, so nothing can clash.
    pub(super) fn of_envelope(envelope: &Envelope) -> Self {
        Self::new(envelope, &[]).unwrap_or(Self { root: Object::default(), has_type: false, implied: 0, slots: 0 })
    }
}

impl Items {
    fn new(column: &Column) -> Result<Self, String> {
        if column.is_plain_list() {
            return Ok(Self::Plain(column.items[0].kind));
        }
        let mut shape = Object::default();
        for (slot, item) in column.items.iter().enumerate() {
            shape.insert(&item.pointer, Role::Column(slot, item.kind))?;
        }
        Ok(Self::Objects { shape, width: column.items.len() })
    }
}

impl Object {
    fn insert(&mut self, pointer: &str, role: Role) -> Result<(), String> {
        let many = || format!("{pointer:?} is one of more than {FIELDS} keys in one object");
        let clash = || format!("two things stand at {pointer:?}, or one inside the other");
        let mut keys = keys(pointer).peekable();
        let mut object = self;
        while let Some(key) = keys.next() {
            let last = keys.peek().is_none();
            let at = object.fields.iter().position(|field| field.key == key);
            if last {
                if at.is_some() {
                    return Err(clash());
                }
                return object.push(key, role).map(drop).ok_or_else(many);
            }
            let at = match at {
                Some(at) => at,
                None => object.push(key, Role::Object(Self::default())).ok_or_else(many)?,
            };
            match &mut object.fields[at].role {
                Role::Object(inner) => object = inner,
                _ => return Err(clash()),
            }
        }
        Err(clash())
    }

    fn push(&mut self, key: String, role: Role) -> Option<usize> {
        if self.fields.len() == FIELDS {
            return None;
        }
        let quoted = format!("{}:", serde_json::Value::from(key.as_str()));
        self.fields.push(Field { key, quoted, role });
        Some(self.fields.len() - 1)
    }
}
