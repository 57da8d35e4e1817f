//! The tree of an event's JSON that the reader walks along: which key leads to which column.

use super::{Column, Kind};

/// Where the parts that every event has stand.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) device: String,
    pub(super) time: String,
    pub(super) implied: Vec<String>,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            id: "/eventId".to_owned(),
            event_type: "/eventType".to_owned(),
            device: "/targetName".to_owned(),
            time: "/timestamp".to_owned(),
            implied: Vec::new(),
        }
    }
}

/// The event as a tree of objects.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) root: Object,
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
        root.insert(&envelope.id, Role::Id)?;
        root.insert(&envelope.device, Role::Device)?;
        root.insert(&envelope.event_type, Role::Type)?;
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
        Ok(Self { root, implied: envelope.implied.len(), slots: columns.len() })
    }

    /// The tree of an event type without a schema file; its parts stand apart, so nothing can clash.
    pub(super) fn of_envelope(envelope: &Envelope) -> Self {
        Self::new(envelope, &[]).unwrap_or(Self { root: Object::default(), implied: 0, slots: 0 })
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
        let mut keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).peekable();
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
