//! Schemas: what an event type looks like in JSON, and as columns.
//!
//! One TOML file an event type ([`file`](self) reads it) becomes a [`Schema`]: a tree that the [`Row`] reader walks along
//! the JSON in one pass, a list of columns that [`Columns`] fills, and the way back in [`Rebuild`]. An event type without a
//! file gets [`Schema::unknown`] and is recorded through `raw`.

mod admit;
mod columns;
mod file;
mod grow;
mod rebuild;
mod row;
mod shape;
mod when;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use admit::Admission;
pub use admit::{LimitExceeded, is_plain};
pub use columns::{Columns, ConformError, FIXED_HEAD, FIXED_TAIL, brought_up, conform, reread, time_type};
pub use file::{SCHEMA_MAX, SchemaError};
pub use grow::Misgrown;
pub use rebuild::{Rebuild, RebuildError};
pub use row::{Row, RowError};
use shape::Shape;

use crate::base::time::{Day, Micros};

/// The schema files that come with the program, by event type.
const BUILT_IN: [(&str, &str); 19] = [
    ("batteryStatus", include_str!("../../../schemas/batteryStatus.toml")),
    ("cellularStatus", include_str!("../../../schemas/cellularStatus.toml")),
    ("co2", include_str!("../../../schemas/co2.toml")),
    ("connectionStatus", include_str!("../../../schemas/connectionStatus.toml")),
    ("contact", include_str!("../../../schemas/contact.toml")),
    ("deskOccupancy", include_str!("../../../schemas/deskOccupancy.toml")),
    ("ethernetStatus", include_str!("../../../schemas/ethernetStatus.toml")),
    ("humidity", include_str!("../../../schemas/humidity.toml")),
    ("labelsChanged", include_str!("../../../schemas/labelsChanged.toml")),
    ("motion", include_str!("../../../schemas/motion.toml")),
    ("networkStatus", include_str!("../../../schemas/networkStatus.toml")),
    ("objectPresent", include_str!("../../../schemas/objectPresent.toml")),
    ("objectPresentCount", include_str!("../../../schemas/objectPresentCount.toml")),
    ("pressure", include_str!("../../../schemas/pressure.toml")),
    ("probeWireStatus", include_str!("../../../schemas/probeWireStatus.toml")),
    ("temperature", include_str!("../../../schemas/temperature.toml")),
    ("touch", include_str!("../../../schemas/touch.toml")),
    ("touchCount", include_str!("../../../schemas/touchCount.toml")),
    ("waterPresent", include_str!("../../../schemas/waterPresent.toml")),
];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A count.
    Int64,
    /// A measure.
    Float64,
    /// RFC 3339 text, kept as microseconds in UTC.
    Timestamp,
    /// Any JSON value, kept as text.
    Json,
    /// A list: of plain values, or of objects with columns of their own.
    List,
}

impl Kind {
    /// The name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::List => "list",
        }
    }
}

/// How the values of a column follow each other in time, and so what may be made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// A measure that goes up and down: means, extremes.
    Gauge,
    /// A lifetime total that only grows: differences.
    Counter,
    /// A state that lasts until the next one: the time in each.
    State,
}

impl Behaviour {
    /// The name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::State => "state",
        }
    }
}

/// One typed column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in day files and exports.
    pub name: String,
    /// RFC 6901 pointer into the event (into the element, for a list's item).
    pub pointer: String,
    /// What it holds.
    pub kind: Kind,
    /// UCUM unit; every number has one, `1` says none on purpose.
    pub unit: Option<String>,
    /// How its values follow each other; none where nothing is made of them but a column.
    pub behaves: Option<Behaviour>,
    /// One sentence for people.
    pub description: String,
    /// What the elements of a list hold; one item with an empty pointer for a list of plain values.
    pub items: Vec<Column>,
}

impl Column {
    /// A list whose elements are plain values.
    fn is_plain_list(&self) -> bool {
        matches!(self.items.as_slice(), [item] if item.pointer.is_empty())
    }
}

/// An event type: where its parts stand in JSON, and its columns.
#[derive(Debug)]
pub struct Schema {
    /// The event type.
    pub name: String,
    /// Grows when columns are added; 0 for a type without a schema file.
    pub version: u32,
    /// One sentence for people.
    pub description: String,
    /// The typed columns, in order.
    pub columns: Vec<Column>,
    envelope: shape::Envelope,
    shape: Shape,
    arrow: SchemaRef,
}

impl Schema {
    /// An event type that no file describes: the envelope's columns, everything else through `raw`.
    pub fn unknown(name: &str) -> Self {
        let envelope = shape::Envelope::of(name);
        Self {
            name: name.to_owned(),
            version: 0,
            description: "An event type without a schema; each event stands in `raw`.".to_owned(),
            columns: Vec::new(),
            shape: Shape::of_envelope(&envelope),
            envelope,
            arrow: columns::arrow_schema(&[]),
        }
    }

    /// [`Schema::arrow`] with units and descriptions in the fields' metadata, for files that leave the program.
    pub fn described(&self) -> SchemaRef {
        columns::described(&self.arrow, &self.columns)
    }

    /// The columns of every day file of this type: `time`, `device_id`, `project_id`, the typed columns, `event_id`,
    /// `event_type`, `received_at`, `source`, `raw`.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }
}

/// All schemas that are known, by event type; and what else a recording takes in.
#[derive(Debug, Clone)]
pub struct Registry {
    schemas: BTreeMap<String, Arc<Schema>>,
    /// Those whose events have their type elsewhere than most.
    elsewhere: Vec<String>,
    admission: Arc<Admission>,
}

impl Registry {
    /// The schemas that come with the program.
    ///
    /// # Errors
    /// When a built-in file does not read, which a test excludes.
    pub fn built_in() -> Result<Self, SchemaError> {
        let mut registry = Self { schemas: BTreeMap::new(), elsewhere: Vec::new(), admission: Arc::default() };
        for (name, text) in BUILT_IN {
            registry.add(text, Path::new(&format!("schemas/{name}.toml")))?;
        }
        Ok(registry)
    }

    /// Adds the schema that a file's text describes; one for a type that is known already replaces it.
    ///
    /// # Errors
    /// When the text breaks the format.
    pub fn add(&mut self, text: &str, path: &Path) -> Result<Arc<Schema>, SchemaError> {
        let schema = Arc::new(file::read(text, path)?);
        self.insert(Arc::clone(&schema));
        Ok(schema)
    }

    fn insert(&mut self, schema: Arc<Schema>) {
        self.schemas.insert(schema.name.clone(), schema);
        let mut elsewhere: Vec<&Schema> =
            self.schemas.values().map(Arc::as_ref).filter(|schema| schema.envelope.is_elsewhere()).collect();
        // Those that say where it stands go before those that only fit.
        elsewhere.sort_by_key(|schema| !schema.envelope.says_type);
        self.elsewhere = elsewhere.into_iter().map(|schema| schema.name.clone()).collect();
    }

    /// Adds every `*.toml` file of a folder; a file for a type that is known already replaces it.
    ///
    /// # Errors
    /// When a file cannot be read, breaks the format, or two files describe one type.
    pub fn add_folder(&mut self, folder: &Path) -> Result<usize, SchemaError> {
        let schemas = file::read_folder(folder)?;
        let count = schemas.len();
        for (schema, _) in schemas {
            self.insert(Arc::new(schema));
        }
        Ok(count)
    }

    /// The same with the folder that a recording keeps for itself. Where a crash left two files of one type, the later version holds.
    ///
    /// # Errors
    /// When a file cannot be read or breaks the format.
    pub fn add_own_folder(&mut self, folder: &Path) -> Result<(), SchemaError> {
        for schema in file::read_own_folder(folder)? {
            self.insert(Arc::new(schema));
        }
        Ok(())
    }

    /// All known schemas, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.schemas.values()
    }

    /// The type of an event, before its schema is known: what stands where most events have it, or that of a schema which says that
    /// its events have it elsewhere.
    ///
    /// # Errors
    /// As for a text that is no event at all.
    pub fn event_type<'a>(&'a self, event: &'a str) -> Result<Cow<'a, str>, RowError> {
        let usual = Row::event_type(event);
        if usual.is_ok() || self.elsewhere.is_empty() {
            return usual;
        }
        let mut schemas = self.elsewhere.iter().filter_map(|name| self.schemas.get(name));
        schemas.find(|schema| schema.envelope.is_of(event)).map_or(usual, |schema| Ok(schema.name.as_str().into()))
    }

    /// The schema of a type, if a file describes it.
    pub fn find(&self, event_type: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(event_type)
    }

    /// The schema of a type; [`Schema::unknown`] when no file describes it.
    pub fn get(&self, event_type: &str) -> Arc<Schema> {
        self.schemas.get(event_type).cloned().unwrap_or_else(|| Arc::new(Schema::unknown(event_type)))
    }

    /// The schema of the type of an event that has come.
    ///
    /// # Errors
    /// When no file describes the type, and the recording takes in no more such types.
    pub fn admit(&self, event_type: &str) -> Result<Arc<Schema>, LimitExceeded> {
        match self.schemas.get(event_type) {
            Some(schema) => Ok(Arc::clone(schema)),
            None => self.admission.event_type(event_type, self.schemas.keys().map(String::as_str), false),
        }
    }

    /// Lets an event's day in, or not; the event came at `now`.
    ///
    /// # Errors
    /// When the recording takes in no more such days.
    pub fn admit_day(&self, event_type: &Arc<str>, day: Day, now: Micros) -> Result<(), LimitExceeded> {
        self.admission.day(event_type, day, now, false)
    }

    /// Lets in what the recording has already.
    pub fn meet(&self, event_type: &Arc<str>, day: Day, now: Micros) {
        if !self.schemas.contains_key(&**event_type) {
            drop(self.admission.event_type(event_type, std::iter::empty(), true));
        }
        self.admission.day(event_type, day, now, true).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_schema_reads_and_is_named_as_its_file() {
        let registry = Registry::built_in().unwrap();
        assert_eq!(registry.iter().count(), 19);
        for (name, _) in BUILT_IN {
            assert_eq!(registry.find(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_folder_of_schema_files_is_what_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let names: Vec<_> = file::read_folder(&folder).unwrap().into_iter().map(|(schema, _)| schema.name).collect();
        assert_eq!(names, BUILT_IN.map(|(name, _)| name));
    }
}
