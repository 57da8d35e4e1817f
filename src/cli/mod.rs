//! The command line: one verb a file, each arguments -> settings -> one library call -> print.
//!
//! Data goes to standard output, messages and progress to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 done
//! but something is missing or was lost.

/// Says something on standard error.
macro_rules! tell {
    ($($line:tt)*) => { $crate::cli::messages::tell($crate::cli::messages::Level::Info, format_args!($($line)*)) };
}

/// Says what may not be as it is meant.
macro_rules! warn {
    ($($line:tt)*) => { $crate::cli::messages::tell($crate::cli::messages::Level::Warning, format_args!($($line)*)) };
}

/// Writes a line to standard output, or returns why it could not be written.
macro_rules! say {
    ($($line:tt)*) => { $crate::cli::say(format_args!($($line)*))? };
}

mod alerts;
mod backfill;
mod backup;
mod clock;
mod connection;
mod end;
mod export;
mod faults;
mod gaps;
mod import;
#[cfg(not(all(
    feature = "lake",
    feature = "pictures",
    feature = "reports",
    feature = "simulator",
    feature = "manuals",
    feature = "workbooks"
)))]
mod left_out;
mod listen;
mod merge;
mod messages;
mod metering;
mod page;
mod progress;
mod prune;
mod rebuild;
mod receiver;
mod record;
mod restore;
mod roll;
mod rules;
mod schema;
mod screen;
mod select;
mod service;
mod settings;
mod show;
mod signal;
mod sql;
mod status;
mod tail;
mod verify;
mod when;

/// Verbs of a feature; in a build without it, each says so.
macro_rules! verbs_of {
    ($feature:literal $own:ident: $($verb:ident)*) => { $(
        #[cfg(feature = $feature)]
        mod $verb;
        #[cfg(not(feature = $feature))]
        use left_out::$own as $verb;
    )* };
}

verbs_of!("lake" lake: lake);
verbs_of!("manuals" manuals: completions man);
verbs_of!("pictures" pictures: plot);
verbs_of!("reports" reports: report watch);
verbs_of!("simulator" simulator: demo simulate);

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::base::disk;
use crate::base::error::{self, Advice};
use crate::base::text;
use crate::base::time::{self, Micros};
use crate::model::layout::Layout;
use crate::model::schema::{Registry, SCHEMA_MAX};
use crate::model::settings as values;
use crate::output::export::ExportError;
use crate::query::coverage;
use crate::query::reader::{Reader, Selection};
use crate::store::buffer::{BufferError, View};

use messages::{Level, LogFormat};

const TRY_IT: &str = if cfg!(feature = "simulator") { "Try it without an account:  overnight demo\n" } else { "" };
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 done but something is missing or was lost.";

/// Records a live stream of sensor events for as long as it runs, and leaves plain Parquet files.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = format!("{TRY_IT}{EXIT_CODES}"))]
struct Cli {
    /// Say also what libraries and the system said, behind errors in plain words
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Say only what goes wrong, and what happens to a recorder
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// What messages on standard error look like
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulator, recorder and export in one go, with nothing to set up
    Demo(demo::Args),
    /// Record the streams of one or several projects
    Record(record::Args),
    /// What `record` would go by, and where each value comes from
    Settings(settings::Args),
    /// Receive what the cloud's Data Connectors push
    Listen(listen::Args),
    /// Take the past of a project from the cloud's history
    Backfill(backfill::Args),
    /// When the recording was covered by a session, and what is missing
    Gaps(gaps::Args),
    /// Say that nobody wants a project any more whose recorder was killed
    End(end::Args),
    /// Take events from a file or standard input into a recording
    Import(import::Args),
    /// What came and was no event: list it, or drop what nobody needs any more
    Faults(faults::Args),
    /// Move everything from the buffer into day files, seal what is due, and mend what is damaged
    Roll(roll::Args),
    /// Show each event as a line as it is kept, beside a recorder
    Tail(tail::Args),
    /// Write events as CSV, Parquet, Arrow, NDJSON or a workbook
    Export(export::Args),
    /// Draw events over time: into the terminal, or as an SVG or PNG picture
    Plot(plot::Args),
    /// A night or a week on one HTML page
    Report(report::Args),
    /// Alert rules for Prometheus
    Rules(rules::Args),
    /// DuckDB views of a recording, as a script
    Sql(sql::Args),
    /// What a recording holds and how its recorder is doing
    Status(status::Args),
    /// A page that shows whether all is well, and who tells of alerts, as long as it runs
    Watch(watch::Args),
    /// Tell people of what they asked to be told in overnight.toml; try that out
    Alerts(alerts::Args),
    /// Check everything in a recording, and say what to do about what is wrong
    Verify(verify::Args),
    /// Copy a recording as it is now, beside its recorder: a generation more in a directory
    Backup(backup::Args),
    /// Make a recording of a backup, or only see whether that works
    Restore(restore::Args),
    /// Make one recording of several: of two recorders side by side, say
    Merge(merge::Args),
    /// Remove what is older than anybody wants to keep, or move it to an archive; shows first
    Prune(prune::Args),
    /// Ship what was recorded to object storage, one table an event type, for any engine
    Lake(lake::Args),
    /// Bring day files of an older schema up to today's columns
    Rebuild(rebuild::Args),
    /// A local server that speaks the cloud's API, with sensors that behave like sensors
    Simulate(simulate::Args),
    /// What is known of each event type
    Schema(schema::Args),
    /// Units for systemd: the recorder, its watcher, a backup each day
    Service(service::Args),
    /// What a shell needs to complete this command line
    Completions(completions::Args),
    /// The manual, as man shows it
    Man(man::Args),
}

/// Which recording, and with which schemas.
#[derive(Debug, Clone, clap::Args)]
struct Recording {
    /// The recording
    #[arg(long, value_name = "DIR", default_value = "recording")]
    dir: PathBuf,
    /// Folder of further schema files (TOML, one an event type); a writing command copies them into the recording
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

impl Recording {
    fn layout(&self) -> Layout {
        Layout::new(&self.dir)
    }

    /// Warns of a recording on a network file system.
    fn warn_of_place(&self) {
        let layout = self.layout();
        if let Some(kind) = [layout.state(), layout.data()].iter().find_map(|place| disk::network(place)) {
            let dir = layout.root().display();
            warn!(
                "{dir} is on a network file system ({kind}): what is kept there is as safe as the other machine's word, \
                 and its lock keeps no second recorder away. Better record to a local disk, and copy from there"
            );
        }
    }

    /// Refuses an output that would be taken for a part of the recording.
    fn refuse_own(&self, output: &Path) -> Result<(), Failure> {
        if output != Path::new("-") && self.layout().owns(output) {
            return Err(Failure::usage(ExportError::Own(output.to_owned()).to_string()));
        }
        Ok(())
    }

    /// The built-in schemas, those of the recording, those given by flag.
    fn registry(&self) -> Result<Arc<Registry>, Failure> {
        let mut registry = Registry::built_in()?;
        let own = self.layout().schemas();
        if own.is_dir() {
            registry.add_own_folder(&own)?;
        }
        if let Some(folder) = &self.schemas {
            let before = registry.clone();
            registry.add_folder(folder)?;
            for schema in registry.iter() {
                let grown = before.find(&schema.name).map_or(Ok(()), |old| schema.grows_from(old));
                if let Err(misgrown) = grown
                    && self.has_events(&schema.name)?
                {
                    return Err(Failure::usage(misgrown.to_string()));
                }
            }
        }
        Ok(Arc::new(registry))
    }

    /// Whether the recording has events of a type already.
    fn has_events(&self, event_type: &str) -> Result<bool, Failure> {
        let layout = self.layout();
        if !disk::list(&layout.folder(event_type))?.is_empty() {
            return Ok(true);
        }
        match View::open(&layout) {
            Ok(view) => Ok(view.pending()?.iter().any(|pending| *pending.partition.event_type == *event_type)),
            Err(BufferError::Missing(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses event types that no schema knows and the recording does not have: a typing error records nothing, all night.
    fn refuse_types(&self, event_types: &[String], registry: &Registry) -> Result<(), Failure> {
        for name in event_types.iter().filter(|name| registry.find(name).is_none()) {
            if !self.has_events(name)? {
                let known: Vec<&str> = registry.iter().map(|schema| schema.name.as_ref()).collect();
                let instead = text::instead(name, &known);
                let schemas = "one of your own wants its schema (--schemas DIR)";
                return Err(Failure::usage(format!("no schema knows the event type {name:?}; {instead}; {schemas}")));
            }
        }
        Ok(())
    }

    /// Copies the schemas given by flag into the recording, which is unreadable without them.
    fn keep_schemas(&self) -> Result<(), Failure> {
        let Some(folder) = &self.schemas else { return Ok(()) };
        let layout = self.layout();
        disk::create_own_dir(&layout.schemas())?;
        disk::create_own_dir(&layout.staging())?;
        let is_schema = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "toml");
        let name_of = |text: &str, path: &Path| Registry::built_in()?.add(text, path).map(|schema| schema.name.clone());
        for path in disk::list(folder)?.iter().filter(is_schema) {
            let text = std::fs::read_to_string(path).map_err(|source| disk::DiskError::new("read", path, source))?;
            let name = name_of(&text, path)?;
            let folder = layout.folder(&name);
            let own = layout.schemas().join(folder.file_name().unwrap_or_default()).with_added_extension("toml");
            disk::write(&layout.staging(), &own, text.as_bytes())?;
            // One file a type, whatever it was called before.
            for other in disk::list(&layout.schemas())?.iter().filter(is_schema).filter(|other| **other != own) {
                let text = disk::read_text(other, SCHEMA_MAX)?;
                if name_of(&text, other)? == name {
                    disk::remove(other)?;
                }
            }
        }
        Ok(())
    }
}

/// How a command ended well; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Done,
    /// Something is missing or was lost.
    Incomplete,
}

/// How a command failed.
#[derive(Debug)]
enum Failure {
    /// What to say.
    Failed(String),
    /// The command line asks for something that cannot be.
    Usage(String),
    /// Whoever reads standard output has had enough, as `head` does: no error.
    EndOfOutput,
}

impl Failure {
    fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// What to say of it.
    fn message(self) -> String {
        match self {
            Self::Failed(message) | Self::Usage(message) => message,
            Self::EndOfOutput => String::new(),
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let what_to_do = if disk::is_full(&error) { format!(". {}", advice(Advice::MakeRoom)) } else { String::new() };
        Self::failed(format!("{}{what_to_do}", error::plain(&error)))
    }
}

/// Writes a line to standard output, without what a terminal would obey, since it may quote others.
fn say(line: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout();
    match writeln!(out, "{}", text::clean(&line.to_string())).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::EndOfOutput),
        written => Ok(written?),
    }
}

/// What to do about an error, in words.
fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Retry => "It may pass: try again.",
        Advice::Fix => "What was kept before is safe.",
        Advice::MakeRoom => "The disk is full: make room and try again. What was kept before is safe.",
        Advice::Inspect => "What was kept before is safe; look at the file named before going on.",
        Advice::Stop => "What was kept before is safe: start again, and the recording recovers by itself.",
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if cli.verbose {
        error::tell_causes();
    }
    messages::set(cli.log_format, cli.quiet);
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Settings(args) => settings::run(&args, matches.subcommand().map_or(&matches, |(_, of)| of)),
        Command::Listen(args) => listen::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        Command::Gaps(args) => gaps::run(&args),
        Command::End(args) => end::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Roll(args) => roll::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Alerts(args) => alerts::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Lake(args) => lake::run(&args),
        Command::Rebuild(args) => rebuild::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match outcome {
        Ok(Outcome::Done) | Err(Failure::EndOfOutput) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        Err(Failure::Usage(message)) => {
            messages::tell(Level::Error, message);
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            messages::tell(Level::Error, message);
            ExitCode::FAILURE
        }
    }
}

/// Says which blocks of the buffer were left out, if any were.
fn tell_left_out(reader: &Reader) -> Outcome {
    let left_out = reader.left_out();
    for what in &left_out {
        warn!("left out: {what}");
    }
    if left_out.is_empty() { Outcome::Done } else { Outcome::Incomplete }
}

/// What to say of gaps in a selection that are not filled, if there are any.
fn missing_in(reader: &Reader, selection: &Selection) -> Result<Option<String>, Failure> {
    let span = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    Ok(reader.view().map(|view| coverage::missing(view, span, time::now())).transpose()?.flatten())
}

/// Says what is missing, if anything is.
fn tell_missing(missing: Option<&str>, layout: &Layout) -> Outcome {
    tell_incomplete(missing, "gaps", layout)
}

/// The same, with the verb that says more.
fn tell_incomplete(missing: Option<&str>, verb: &str, layout: &Layout) -> Outcome {
    let Some(missing) = missing else { return Outcome::Done };
    warn!("{missing}; see `{} {verb} --dir {}`", program(), shell(layout.root()));
    Outcome::Incomplete
}

/// A duration as a flag.
fn duration(text: &str) -> Result<Duration, String> {
    values::duration(text).map_err(|error| error.to_string())
}

/// A list without what stands in it before.
fn each_once(all: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for one in all {
        if !once.contains(one) {
            once.push(one.clone());
        }
    }
    once
}

/// How this program was called, for lines to paste.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if Path::new(&called).is_file() { shell(called) } else { "overnight".to_owned() }
}

/// A path as a word of a command line, for lines to paste: quoted where a shell would see more in it than a word.
fn shell(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_paste_is_quoted_where_a_shell_would_split_or_read_it() {
        assert_eq!(["/tmp/a-b_1.x", "über"].map(shell), ["/tmp/a-b_1.x", "über"]);
        assert_eq!(["with space", "$(x)", "it's", ""].map(shell), ["'with space'", "'$(x)'", r"'it'\''s'", "''"]);
    }
}
