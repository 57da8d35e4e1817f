//! SQL: a recording as DuckDB sees it. A script of views, typed and with comments, over the day files and the device list.
//!
//! The views read the files anew at each query, so they show what was rolled since; what is still in the buffer they do not.
//! A view stands on an empty prototype with all columns of its type's schema: it is typed before the first day file is there,
//! and stays so while older day files lack columns that have come since.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use arrow::datatypes::{DataType, Field};

use crate::base::text::one_line;
use crate::model::layout::Layout;
use crate::model::schema::{Behaviour, Schema};
use crate::query::reader::TypePlan;
use crate::query::tables::{main_value, values};

/// Views that every recording has, beside one of each event type.
const COMMON: [&str; 4] = ["events", "devices", "events_named", "readings"];

/// Columns of the device list that hold plain text.
const DEVICE: [&str; 6] = ["id", "type", "product_number", "name", "project_id", "display_name"];

/// Where an older list has no display names, the id tells devices of one name apart.
const DISPLAY_NAME: &str = "coalesce(display_name, if(min(id) OVER (PARTITION BY \"name\") <> max(id) OVER (PARTITION BY \"name\"), \
                            \"name\" || ' (' || id || ')', nullif(\"name\", '')), id)";

/// Joins the devices of events `e`.
const WHOSE: &str = "-- As the event's project knows the device, else as another one does.\n\
                     LEFT JOIN devices AS d ON d.id = e.device_id AND d.project_id = e.project_id\n\
                     LEFT JOIN (SELECT DISTINCT ON (id) * FROM devices ORDER BY id, project_id DESC) AS o ON o.id = e.device_id;\n";

/// What the script says of itself.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// This program, as it was called.
    pub program: &'a str,
    /// Events that were kept and are in no day file yet.
    pub buffered: u64,
}

/// The script: a view of each event type in `plans`, `events` over all of them, `devices`, `events_named`, which joins both, and
/// `readings`, a row a number with the names of what was measured and where.
/// Paths are those of `layout`; give an absolute one, so that the views work wherever they are asked.
pub fn script(layout: &Layout, plans: &[TypePlan], about: &About<'_>) -> String {
    let mut names = Names::default();
    // Types that a schema describes have the first choice of a name.
    let mut schemas: Vec<&Schema> = plans.iter().map(|plan| plan.schema.as_ref()).collect();
    schemas.sort_by_key(|schema| schema.version == 0);
    let views: Vec<View<'_>> = schemas.into_iter().map(|schema| View::new(layout, schema, &mut names)).collect();
    let mut out = head(layout, about);
    for view in &views {
        view.write(&mut out);
    }
    write_events(&views, &mut out);
    write_devices(layout, &mut out);
    write_named(&mut out);
    write_readings(&views, &mut out);
    out
}

fn head(layout: &Layout, about: &About<'_>) -> String {
    let root = one_line(&layout.root().display().to_string());
    let program = one_line(about.program);
    let mut out = format!(
        "-- DuckDB views of the recording {root}\n\
         -- For a database of its own:  {program} sql --dir DIR | duckdb night.db\n\
         -- In a session that is open:  .read FILE.sql\n\
         -- The views read the day files at each query. Made anew, the script also knows event types that have come since.\n"
    );
    if about.buffered > 0 {
        let events = if about.buffered == 1 { "1 event is".to_owned() } else { format!("{} events are", about.buffered) };
        push(&mut out, &format!("-- {events} kept, but in no day file yet: the recorder rolls them, or {program} roll.\n"));
    }
    out
}

/// One event type as a view.
struct View<'a> {
    name: String,
    schema: &'a Schema,
    /// The files, as a pattern of DuckDB's; none while there is no file.
    files: Option<String>,
}

impl<'a> View<'a> {
    fn new(layout: &Layout, schema: &'a Schema, names: &mut Names) -> Self {
        let folder = layout.folder(&schema.name);
        let is_there = crate::base::disk::list(&folder)
            .is_ok_and(|paths| paths.iter().any(|path| crate::model::layout::day_of(path).is_some()));
        Self { name: names.free(&schema.name), schema, files: is_there.then(|| pattern(&folder) + "/*.parquet") }
    }

    fn write(&self, out: &mut String) {
        let described = self.schema.described();
        let fields = described.fields();
        let columns: Vec<String> = fields.iter().map(|field| quoted(field.name())).collect();
        let typed: Vec<String> = fields.iter().map(|field| nothing(field)).collect();
        let view = quoted(&self.name);
        push(out, &format!("\n-- {}: {}\n", one_line(&self.schema.name), one_line(&self.schema.description)));
        push(out, &format!("CREATE OR REPLACE VIEW {view} AS\n"));
        match &self.files {
            Some(files) => {
                push(out, &format!("SELECT {}\nFROM (\n  SELECT {}\n  WHERE false\n", columns.join(", "), typed.join(",\n    ")));
                push(out, &format!("  UNION ALL BY NAME\n  FROM {}\n);\n", read_parquet(files)));
            }
            None => push(
                out,
                &format!(
                    "-- No day file yet: empty until the script is made anew.\nSELECT {}\nWHERE false;\n",
                    typed.join(",\n  ")
                ),
            ),
        }
        push(out, &format!("COMMENT ON VIEW {view} IS {};\n", text(&self.schema.description)));
        for field in fields {
            push(out, &format!("COMMENT ON COLUMN {view}.{} IS {};\n", quoted(field.name()), text(&comment(field))));
        }
    }

    /// Its events with the columns that all types share.
    fn common(&self) -> String {
        let main = main_value(self.schema);
        let column = quoted(main.name());
        let (value, state) = match main.behaves() {
            Some(Behaviour::State) => ("NULL::DOUBLE".to_owned(), format!("{column}::VARCHAR")),
            Some(_) => (format!("{column}::DOUBLE"), "NULL::VARCHAR".to_owned()),
            None => ("NULL::DOUBLE".to_owned(), "NULL::VARCHAR".to_owned()),
        };
        let unit = main.unit().map_or_else(|| "NULL::VARCHAR".to_owned(), text);
        format!(
            "SELECT \"time\", device_id, project_id, event_type, {value} AS \"value\", {unit} AS unit, {state} AS state, event_id, \
             received_at, \"source\" FROM {}",
            quoted(&self.name)
        )
    }
}

fn write_events(views: &[View<'_>], out: &mut String) {
    out.push_str(
        "\n-- events: all of them, with what each is about: a number with its unit, or a state.\n\
         CREATE OR REPLACE VIEW events AS\n",
    );
    let all: Vec<String> = views.iter().map(View::common).collect();
    if all.is_empty() {
        out.push_str(
            "SELECT NULL::TIMESTAMPTZ AS \"time\", NULL::VARCHAR AS device_id, NULL::VARCHAR AS project_id, NULL::VARCHAR AS \
             event_type, NULL::DOUBLE AS \"value\", NULL::VARCHAR AS unit, NULL::VARCHAR AS state, NULL::VARCHAR AS event_id, \
             NULL::TIMESTAMPTZ AS received_at, NULL::VARCHAR AS \"source\" WHERE false",
        );
    }
    out.push_str(&all.join("\nUNION ALL\n"));
    out.push_str(";\nCOMMENT ON COLUMN events.\"value\" IS 'The number that the event is about, in the unit beside it.';\n");
    out.push_str("COMMENT ON COLUMN events.unit IS 'Unit of the value (UCUM).';\n");
    out.push_str("COMMENT ON COLUMN events.state IS 'The state that the event tells.';\n");
}

fn write_devices(layout: &Layout, out: &mut String) {
    out.push_str(
        "\n-- devices: as the cloud told them last; display_name is no other one's, labels['room'] is the label room.\nCREATE OR REPLACE VIEW devices AS\n",
    );
    let path = layout.devices();
    let nothing = DEVICE.map(|name| format!("NULL::VARCHAR AS {}", quoted(name))).join(", ");
    if path.is_file() {
        let plain = DEVICE.map(quoted).join(", ").replace("\"display_name\"", &format!("{DISPLAY_NAME} AS display_name"));
        let files = read_parquet(&pattern(&path));
        push(out, &format!("SELECT {plain},\n  labels::JSON::MAP(VARCHAR, VARCHAR) AS labels\n"));
        push(
            out,
            &format!("FROM (\n  SELECT {nothing}, NULL::VARCHAR AS labels WHERE false\n  UNION ALL BY NAME FROM {files}\n);\n"),
        );
    } else {
        out.push_str("-- No device list yet: empty until the script is made anew.\n");
        push(out, &format!("SELECT {nothing}, NULL::MAP(VARCHAR, VARCHAR) AS labels WHERE false;\n"));
    }
}

fn write_named(out: &mut String) {
    out.push_str(
        "\n-- events_named: the events with names, types and labels of their devices. Without a name, a device is called by its id.\n\
         CREATE OR REPLACE VIEW events_named AS\n\
         SELECT e.\"time\", e.device_id, coalesce(d.display_name, o.display_name, e.device_id) AS device_name,\n\
         \x20 if(d.id IS NULL, o.\"type\", d.\"type\") AS device_type, if(d.id IS NULL, o.labels, d.labels) AS labels,\n\
         \x20 e.* EXCLUDE (\"time\", device_id)\n\
         FROM events AS e\n",
    );
    out.push_str(WHOSE);
}

fn write_readings(views: &[View<'_>], out: &mut String) {
    out.push_str(
        "\n-- readings: each number that was measured or counted, whatever event type told it.\n\
         CREATE OR REPLACE VIEW readings AS\n\
         SELECT e.\"time\", e.project_id, e.device_id, coalesce(d.display_name, o.display_name, e.device_id) AS device_name,\n\
         \x20 if(d.id IS NULL, o.labels, d.labels)['room'] AS room, e.quantity, e.\"value\", e.unit, e.event_type\nFROM (\n",
    );
    let mut all = Vec::new();
    for view in views {
        for value in values(view.schema).iter().filter(|value| value.is_number()) {
            let (column, unit) = (quoted(value.name()), value.unit().map_or_else(|| "NULL::VARCHAR".to_owned(), text));
            all.push(format!(
                "SELECT \"time\", project_id, device_id, {} AS quantity, {column}::DOUBLE AS \"value\", {unit} AS unit, event_type \
                 FROM {} WHERE {column} IS NOT NULL",
                text(value.name()),
                quoted(&view.name)
            ));
        }
    }
    if all.is_empty() {
        all.push(
            "SELECT NULL::TIMESTAMPTZ AS \"time\", NULL::VARCHAR AS project_id, NULL::VARCHAR AS device_id, NULL::VARCHAR AS \
             quantity, NULL::DOUBLE AS \"value\", NULL::VARCHAR AS unit, NULL::VARCHAR AS event_type WHERE false"
                .to_owned(),
        );
    }
    out.push_str(&all.join("\nUNION ALL\n"));
    push(out, &format!("\n) AS e\n{WHOSE}"));
}

/// Names of views, which DuckDB does not tell apart by case.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
}

impl Names {
    fn free(&mut self, wanted: &str) -> String {
        self.taken.extend(COMMON.map(str::to_owned));
        let numbered = |number: u32| if number == 1 { wanted.to_owned() } else { format!("{wanted}_{number}") };
        // There is always a free one: each view takes one.
        let name = (1..=u32::MAX).map(numbered).find(|name| !self.taken.contains(&name.to_lowercase())).unwrap_or_default();
        self.taken.insert(name.to_lowercase());
        name
    }
}

/// A column of a prototype, without a value.
fn nothing(field: &Field) -> String {
    format!("NULL::{} AS {}", kind(field.data_type()), quoted(field.name()))
}

/// DuckDB's name of a type.
fn kind(of: &DataType) -> String {
    match of {
        DataType::Timestamp(..) => "TIMESTAMPTZ".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::List(item) => format!("{}[]", kind(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", quoted(field.name()), kind(field.data_type())));
            format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "))
        }
        _ => "VARCHAR".to_owned(),
    }
}

/// What a column means, and its unit.
fn comment(field: &Field) -> String {
    let about = |key: &str| field.metadata().get(key).map(String::as_str);
    let unit = about("unit").filter(|unit| *unit != "1").map_or_else(String::new, |unit| format!(" Unit: {unit}."));
    format!("{}{unit}", about("description").unwrap_or_default())
}

/// The folders above may look like Hive keys, and are none.
fn read_parquet(files: &str) -> String {
    format!("read_parquet({}, union_by_name = true, hive_partitioning = false)", text(files))
}

/// A path that DuckDB takes as it stands, and not for a pattern.
fn pattern(path: &Path) -> String {
    let mut out = String::new();
    for letter in path.to_string_lossy().chars() {
        match letter {
            '*' | '?' | '[' => out.extend(['[', letter, ']']),
            _ => out.push(letter),
        }
    }
    out
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn push(out: &mut String, text: &str) {
    out.write_str(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_views_are_told_apart_without_case() {
        let mut names = Names::default();
        let found = ["temperature", "Temperature", "events", "a\"b"].map(|name| names.free(name));
        assert_eq!(found, ["temperature", "Temperature_2", "events_2", "a\"b"]);
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_path_is_no_pattern_and_a_comment_is_one_line() {
        assert_eq!(pattern(Path::new("/a [1]/it's*/x?")), "/a [[]1]/it's[*]/x[?]");
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(one_line("a\nDROP TABLE x"), "a DROP TABLE x");
    }
}
