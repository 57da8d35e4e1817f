//! `overnight schema`: what is known of each event type.

use std::path::PathBuf;

use crate::base::text;
use crate::model::schema::{Column, Registry};

use super::{Failure, Outcome, Recording, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every event type with a schema
    List {
        #[command(flatten)]
        recording: Recording,
    },
    /// The columns of an event type
    Show {
        /// The event type
        event_type: String,
        #[command(flatten)]
        recording: Recording,
    },
    /// Check a folder of schema files
    Check {
        /// The folder
        folder: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::List { recording } => {
            let registry = recording.registry()?;
            let rows = registry.iter().map(|schema| {
                vec![
                    schema.name.clone(),
                    schema.version.to_string(),
                    schema.columns.len().to_string(),
                    schema.description.clone(),
                ]
            });
            say!("{}", show::shrinking(&["type", "version", "columns", "description"], &[1, 2], &[3], &[2], rows.collect()));
        }
        Command::Show { event_type, recording } => {
            let registry = recording.registry()?;
            let Some(schema) = registry.find(event_type) else {
                return Err(Failure::usage(format!(
                    "no schema for event type {event_type:?}; it would be recorded all the same, each event in `raw`. `overnight schema list` shows the known ones"
                )));
            };
            say!("{} version {}: {}", schema.name, schema.version, schema.description);
            let described = schema.described();
            let rows = described.fields().iter().flat_map(|field| {
                let about = |key: &str| field.metadata().get(key).cloned().unwrap_or_default();
                let column = schema.columns.iter().find(|column| column.name == *field.name());
                let kind = column.map_or_else(|| fixed_kind(field.name()).to_owned(), |column| column.kind.name().to_owned());
                let own = vec![
                    field.name().clone(),
                    kind,
                    about("unit"),
                    column.map_or_else(String::new, |c| c.pointer.clone()),
                    about("description"),
                ];
                let items = column.into_iter().flat_map(|column| column.items.iter().map(|item| item_row(column, item)));
                std::iter::once(own).chain(items.collect::<Vec<_>>()).collect::<Vec<_>>()
            });
            say!(
                "{}",
                show::shrinking(&["column", "type", "unit", "pointer", "description"], &[], &[3, 4], &[3, 2], rows.collect())
            );
        }
        Command::Check { folder } => {
            let mut registry = Registry::built_in()?;
            let count = registry.add_folder(folder)?;
            say!("{}: {} in order", folder.display(), text::counted(count as u64, "schema file"));
        }
    }
    Ok(Outcome::Done)
}

fn fixed_kind(name: &str) -> &'static str {
    if matches!(name, "time" | "received_at") { "timestamp" } else { "string" }
}

fn item_row(column: &Column, item: &Column) -> Vec<String> {
    let unit = item.unit.clone().unwrap_or_default();
    vec![
        format!("{}[].{}", column.name, item.name),
        item.kind.name().to_owned(),
        unit,
        item.pointer.clone(),
        item.description.clone(),
    ]
}
