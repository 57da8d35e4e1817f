//! Reads schema files: TOML, checked as a folder, with errors that say where and what to write instead.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::base::disk;
use crate::base::text::{clean, instead, is_hidden, wrong_toml};

use super::columns::{FIXED_HEAD, FIXED_TAIL, arrow_schema};
use super::shape::{Envelope, Shape};
use super::when::When;
use super::{Behaviour, Column, Kind, Schema};

/// What is wrong with a schema file.
#[derive(Debug, thiserror::Error)]
#[error("schema file {}: {what}", path.display())]
pub struct SchemaError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

type Result<T> = std::result::Result<T, String>;

const EVENT_KEYS: [&str; 11] =
    ["name", "version", "description", "type", "type_is", "id", "device", "time", "time_format", "zone", "implied"];
/// Stands for the id of events that have none.
const CONTENT: &str = "content";
const COLUMN_KEYS: [&str; 7] = ["name", "pointer", "type", "unit", "behaves", "description", "item"];
/// Keys of a pointer: far more than events are nested, and far fewer than JSON may be.
const POINTER_KEYS: usize = 64;
const KINDS: [Kind; 7] = [Kind::String, Kind::Bool, Kind::Int64, Kind::Float64, Kind::Timestamp, Kind::Json, Kind::List];

/// Reads one schema.
pub(super) fn read(text: &str, path: &Path) -> std::result::Result<Schema, SchemaError> {
    schema(text).map_err(|what| SchemaError { path: path.to_owned(), what })
}

/// Reads every `*.toml` of a folder that somebody gives, sorted by event type: one file a type, and events that can be told apart.
pub(super) fn read_folder(folder: &Path) -> std::result::Result<Vec<(Schema, PathBuf)>, SchemaError> {
    let schemas = read_all(folder, |path| fs::read_to_string(path))?;
    for (at, (schema, path)) in schemas.iter().enumerate() {
        let fail = |what: String| SchemaError { path: path.clone(), what };
        let others = || schemas[..at].iter().map(|(other, _)| other);
        if others().any(|other| other.name == schema.name) {
            return Err(fail(format!("a second file for event type {:?}; keep one", schema.name)));
        }
        if let Some(other) = others().find(|other| other.envelope.is_mistaken_for(&schema.envelope)) {
            return Err(fail(format!(
                "its events cannot be told from those of {:?}; say where the type stands, as type = \"/type\", and with type_is what \
                 stands there, if that is not the name",
                other.name
            )));
        }
        if schema.name == "ping" {
            let what = "[event]: events called \"ping\" are signs of life, and never kept; give it another name, and say with type_is what \
                        its events have";
            return Err(fail(what.to_owned()));
        }
    }
    Ok(schemas)
}

/// No schema file of a recording is longer, in bytes.
pub const SCHEMA_MAX: u64 = 1024 * 1024;

/// Reads the folder that a recording keeps; of two files of one type, which a crash can leave, the later version holds.
pub(super) fn read_own_folder(folder: &Path) -> std::result::Result<Vec<Schema>, SchemaError> {
    let mut kept: Vec<Schema> = Vec::new();
    // It may be somebody else's.
    for (schema, _) in read_all(folder, |path| disk::read_text(path, SCHEMA_MAX).map_err(|error| error.source))? {
        match kept.iter_mut().find(|other| other.name == schema.name) {
            Some(other) if other.version < schema.version => *other = schema,
            Some(_) => {}
            None => kept.push(schema),
        }
    }
    Ok(kept)
}

fn read_all(
    folder: &Path,
    text: impl Fn(&Path) -> std::io::Result<String>,
) -> std::result::Result<Vec<(Schema, PathBuf)>, SchemaError> {
    let fail = |path: &Path, error: std::io::Error| SchemaError { path: path.to_owned(), what: error.to_string() };
    let entries = fs::read_dir(folder).map_err(|error| fail(folder, error))?;
    let mut schemas: Vec<(Schema, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| fail(folder, error))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = text(&path).map_err(|error| fail(&path, error))?;
        schemas.push((read(&text, &path)?, path));
    }
    schemas.sort_by(|(a, at), (b, bt)| (&a.name, at).cmp(&(&b.name, bt)));
    Ok(schemas)
}

fn schema(text: &str) -> Result<Schema> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| clean(&wrong_toml(text, &error)))?;
    known_keys(&table, &["format_version", "event", "column"], "the file")?;
    match table.get("format_version").and_then(Value::as_integer) {
        Some(1) => {}
        Some(other) => return Err(format!("format_version is {other}, this program reads 1; update the program")),
        None => return Err("format_version = 1 is missing at the top".to_owned()),
    }
    let event = table.get("event").and_then(Value::as_table).ok_or("the [event] table is missing")?;
    known_keys(event, &EVENT_KEYS, "[event]")?;
    let name = string(event, "name", "[event]")?;
    let version = event.get("version").and_then(Value::as_integer).and_then(|version| u32::try_from(version).ok());
    let version = version.filter(|version| *version > 0).ok_or("[event]: version must be a number from 1")?;
    let columns = columns(table.get("column"), &format!("event type {name:?}"), false)?;
    let mut names: HashSet<String> = FIXED_HEAD.into_iter().chain(FIXED_TAIL).map(str::to_owned).collect();
    for column in &columns {
        // SQL does not tell names by case.
        if !names.insert(column.name.to_lowercase()) {
            return Err(format!(
                "column {:?} stands twice, or is a name that every day file has already (SQL does not tell names by case)",
                column.name
            ));
        }
    }
    let standard = Envelope::of(&name);
    let or = |key: &str, usual: String| if event.contains_key(key) { pointer(event, key, "[event]") } else { Ok(usual) };
    let text =
        |key: &str, usual: &str| if event.contains_key(key) { string(event, key, "[event]") } else { Ok(usual.to_owned()) };
    let is_content = event.get("id").and_then(Value::as_str) == Some(CONTENT);
    let zone = if event.contains_key("zone") { Some(string(event, "zone", "[event]")?) } else { None };
    let envelope = Envelope {
        id: if is_content { None } else { Some(pointer(event, "id", "[event]").map_err(|what| no_id(&what))?) },
        time: pointer(event, "time", "[event]")?,
        when: When::named(&text("time_format", "rfc3339")?, zone.as_deref()).map_err(|what| format!("[event]: {what}"))?,
        event_type: or("type", standard.event_type)?,
        type_is: text("type_is", &name)?,
        says_type: event.contains_key("type"),
        device: or("device", standard.device)?,
        implied: implied(event)?,
    };
    if envelope.when != When::Rfc3339 && !envelope.implied.is_empty() {
        return Err("[event]: implied is only for times in RFC 3339".to_owned());
    }
    Ok(Schema {
        shape: Shape::new(&envelope, &columns)?,
        envelope,
        arrow: arrow_schema(&columns),
        description: string(event, "description", "[event]")?,
        name,
        version,
        columns,
    })
}

fn no_id(what: &str) -> String {
    format!("{what}. Events without an id: id = \"{CONTENT}\", and what an event says is its id")
}

fn implied(event: &Table) -> Result<Vec<String>> {
    let Some(value) = event.get("implied") else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or("[event]: implied must be a list of pointers")?;
    list.iter()
        .map(|entry| entry.as_str().ok_or("[event]: implied must be a list of pointers".to_owned()))
        .map(|entry| entry.and_then(|entry| check_pointer(entry, "implied")))
        .collect()
}

fn columns(value: Option<&Value>, of: &str, items: bool) -> Result<Vec<Column>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let tables = value.as_array().ok_or_else(|| format!("{of}: write columns as [[column]]"))?;
    tables.iter().map(|table| column(table.as_table().ok_or("a column must be a table")?, of, items)).collect()
}

fn column(table: &Table, of: &str, is_item: bool) -> Result<Column> {
    let name = string(table, "name", of)?;
    let here = format!("column {name:?}");
    known_keys(table, &COLUMN_KEYS, &here)?;
    let written = string(table, "type", &here)?;
    let kind = KINDS.into_iter().find(|kind| kind.name() == written).ok_or_else(|| {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name()).collect();
        format!("{here}: no type is called {written:?}; {}", instead(&written, &names))
    })?;
    let items = columns(table.get("item"), &here, true)?;
    let number = matches!(kind, Kind::Int64 | Kind::Float64);
    let unit = table.get("unit").and_then(Value::as_str).map(clean);
    let pointer = table.get("pointer").and_then(Value::as_str).unwrap_or("missing");
    let pointer = if is_item && pointer.is_empty() { String::new() } else { check_pointer(pointer, &here)? };
    if number && unit.as_deref().is_none_or(str::is_empty) {
        return Err(format!("{here}: a number needs a UCUM unit; \"1\" says none on purpose"));
    }
    if !number && unit.is_some() {
        return Err(format!("{here}: only numbers have a unit"));
    }
    if (kind == Kind::List) == items.is_empty() {
        return Err(format!("{here}: a list needs [[column.item]], and only a list"));
    }
    if is_item && kind == Kind::List {
        return Err(format!("{here}: a list inside a list is not supported; use json"));
    }
    if items.len() > 1 && items.iter().any(|item| item.pointer.is_empty()) {
        return Err(format!("{here}: an item with an empty pointer stands alone"));
    }
    let mut names = HashSet::new();
    if let Some(twice) = items.iter().find(|item| !names.insert(item.name.to_lowercase())) {
        return Err(format!("{here}: item {:?} stands twice", twice.name));
    }
    let behaves = behaviour(table, kind, &here)?;
    Ok(Column { description: string(table, "description", &here)?, name, pointer, kind, unit, behaves, items })
}

fn behaviour(table: &Table, kind: Kind, of: &str) -> Result<Option<Behaviour>> {
    let (usual, possible): (_, &[Behaviour]) = match kind {
        Kind::Float64 | Kind::Int64 => (Some(Behaviour::Gauge), &[Behaviour::Gauge, Behaviour::Counter]),
        Kind::String => (None, &[Behaviour::State]),
        _ => (None, &[]),
    };
    let Some(written) = table.get("behaves") else { return Ok(usual) };
    match possible.iter().find(|behaviour| Some(behaviour.name()) == written.as_str()) {
        Some(behaviour) => Ok(Some(*behaviour)),
        None => {
            Err(format!("{of}: behaves is \"gauge\" or \"counter\" for a number, \"state\" for a string, and for nothing else"))
        }
    }
}

fn string(table: &Table, key: &str, of: &str) -> Result<String> {
    match table.get(key).and_then(Value::as_str).map(str::trim) {
        Some("") | None => Err(format!("{of}: {key} is missing or empty")),
        Some(text) if key == "description" => Ok(clean(text)),
        Some(text) if text.chars().any(is_hidden) => {
            Err(format!("{}: {key} {text:?} holds control characters or direction marks; write it without", clean(of)))
        }
        Some(text) => Ok(text.to_owned()),
    }
}

fn pointer(table: &Table, key: &str, of: &str) -> Result<String> {
    check_pointer(&string(table, key, of)?, &format!("{of}: {key}"))
}

fn check_pointer(text: &str, of: &str) -> Result<String> {
    if text.split('/').count() > POINTER_KEYS {
        return Err(format!("{of}: a JSON pointer of more than {POINTER_KEYS} keys; JSON is not read that deep"));
    }
    if text.replace("~0", "").replace("~1", "").contains('~') {
        return Err(format!("{of}: in a JSON pointer `~` is written `~0`, and `/` within a key `~1`"));
    }
    if text.len() > 1 && text.starts_with('/') && !text.chars().any(is_hidden) {
        Ok(text.to_owned())
    } else {
        Err(format!("{of}: {text:?} is no JSON pointer; it begins with `/`, as in \"/data/temperature/value\""))
    }
}

fn known_keys(table: &Table, known: &[&str], of: &str) -> Result<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("{of}: unknown key {key:?}; {}", instead(key, known))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        format_version = 1
        [event]
        name = "wind"
        version = 1
        description = "Wind."
        id = "/eventId"
        time = "/timestamp"
        [[column]]
        name = "speed"
        pointer = "/data/wind/speed"
        type = "float64"
        unit = "m/s"
        description = "Speed."
    "#;

    fn refused(from: &str, to: &str) -> String {
        schema(GOOD).unwrap();
        assert!(GOOD.contains(from), "{from}");
        schema(&GOOD.replace(from, to)).unwrap_err()
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        assert!(refused("pointer =", "pointr =").contains("did you mean \"pointer\""));
        assert!(refused("version = 1\n        desc", "versoin = 1\n        desc").contains("did you mean \"version\""));
    }

    #[test]
    fn what_a_schema_file_must_have_is_asked_for() {
        assert!(refused("unit = \"m/s\"", "").contains("unit"));
        assert!(refused("description = \"Speed.\"", "description = \"\"").contains("description"));
        assert!(refused("\"float64\"", "\"float\"").contains("did you mean \"float64\""));
        assert!(refused("/data/wind/speed", "data.wind").contains("JSON pointer"));
        assert!(refused("name = \"speed\"", "name = \"raw\"").contains("stands twice"));
        assert!(refused("unit = \"m/s\"", "unit = \"m/s\"\nbehaves = \"state\"").contains("gauge"));
        assert!(refused("format_version = 1", "format_version = 9").contains("update the program"));
        assert!(refused("/data/wind/speed", "/eventId").contains("/eventId"));
    }

    #[test]
    fn names_that_sql_takes_for_one_are_refused() {
        for name in ["TIME", "Event_Id", "RAW"] {
            assert!(refused("\"speed\"", &format!("\"{name}\"")).contains("stands twice"), "{name}");
        }
    }

    #[test]
    fn escapes_in_a_foreign_schema_reach_no_terminal() {
        for hidden in ["\\u001B[31m", "\\u009B31m", "\\u202E", "\\u007F"] {
            for (from, to) in [("\"speed\"", "\"speed"), ("\"wind\"", "\"wind"), ("/data/wind/speed\"", "/data/wind/speed")] {
                let said = refused(from, &format!("{to}{hidden}\""));
                assert!(!said.chars().any(is_hidden), "{said:?}");
            }
            let described = schema(&GOOD.replace("Speed.", &format!("Speed.{hidden}"))).unwrap();
            assert!(!described.columns[0].description.chars().any(is_hidden));
        }
    }
}
