//! `overnight sql`: the recording as a DuckDB script of views.

use std::path::PathBuf;

use crate::base::text;
use crate::base::time;
use crate::model::layout::Layout;
use crate::output::export::{Output, write_text};
use crate::output::sql::{About, script};
use crate::query::reader::{Reader, Selection};
use crate::query::status;

use super::{Failure, Outcome, Recording, program};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight sql | duckdb night.db                 then: duckdb night.db
  overnight sql -o views.sql                      then, in duckdb: .read views.sql
Views: one an event type, `events` over all, `devices`, `events_named`, which joins both, and `readings`: a row a
number, with quantity, unit, name and room.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where to: a file, or `-` for standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-")]
    output: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    args.recording.refuse_own(&args.output)?;
    let given = args.recording.layout();
    let reader = Reader::open(&given, args.recording.registry()?)?;
    let plans = reader.plan(&Selection::default())?;
    // From here on absolute: DuckDB may be asked from anywhere.
    let layout = Layout::new(&std::fs::canonicalize(given.root())?);
    let buffered = match reader.view() {
        Some(_) => status::status(&given, time::now())?.buffered,
        None => 0,
    };
    let text = script(&layout, &plans, &About { program: &program(), buffered });
    let output = if args.output.as_os_str() == "-" { Output::Stdout } else { Output::File(args.output.clone()) };
    match write_text(&output, args.force, &text) {
        Err(error) if error.is_broken_pipe() => return Err(Failure::EndOfOutput),
        written => written?,
    }
    if buffered > 0 {
        tell!(
            "{} not in day files yet, so no view shows them: `{} roll --dir {}`, or wait for the recorder's next roll",
            match buffered {
                1 => "1 event is".to_owned(),
                events => format!("{} events are", text::count(events)),
            },
            program(),
            super::shell(given.root())
        );
    }
    Ok(Outcome::Done)
}
