//! `overnight export`: a selection of events, as they are or put together, as CSV, Parquet, Arrow, NDJSON or a workbook.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::base::disk::Unfinished;
use crate::base::text::{self, printable};
use crate::base::time::{self, Micros};
use crate::base::zone::{Every, Zone};
use crate::output::export::{self, Dialect, Format, Glance, Misread, Output, Partition, SHEET_ROWS, Seen, Settings, TimeFormat};
use crate::output::spreadsheet::{self, Scope};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::query::tables::{Aggregate, Ask, Fill, Gaps, Shape, StateValidity, gaps, has_states, known, plans, tables};
use crate::store::devices::Directory;

use super::clock::Clock;
#[cfg(not(feature = "workbooks"))]
use super::left_out::left_out;
use super::select::{Select, labels, why_empty};
use super::signal::{INTERRUPTED, on_stop};
use super::{Failure, Outcome, Recording, duration, missing_in, program, progress, shell, show, tell_left_out, tell_missing};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    Csv,
    Parquet,
    Arrow,
    Ndjson,
    Xlsx,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PartitionName {
    /// A file an event type: DIR/temperature.parquet
    Type,
    /// A file an event type and day: DIR/temperature/2026-11-23.parquet
    Day,
    /// A file an event type and month: DIR/temperature/2026-11.parquet; with --spreadsheet a file a month: DIR/2026-11.xlsx
    Month,
    /// The same as Hive keys: DIR/event_type=temperature/date=2026-11-23/part-0.parquet
    Hive,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight export --spreadsheet -o night.xlsx                          for people: a sheet a topic, names, local time
  overnight export --event-type temperature -o temperature.csv
  overnight export --since 12h --tz Europe/Oslo --for-excel nb-NO --names -o night.csv
  overnight export --tz Europe/Oslo -o night.xlsx                       a sheet an event type
  overnight export -o night/ --format parquet --partition-by hive
  overnight export --wide temperature,humidity --names --every 15m --fill linear -o wide.csv
  overnight export --long --quantity temperature,humidity -o readings.parquet
  overnight export --event-type contact --every 1d --tz Europe/Oslo     seconds open and closed, by day
  overnight export --format ndjson | jq .                               events as they were received
An export without a row says why and ends with 3: a file of an event type that was asked for has its columns alone, and else there is none.
Exit codes: 0 done, 1 failed, 2 usage, 3 done but the range has gaps that are not filled, or no row.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where to: a file, a directory (write it with a `/` at the end), `-` for standard output: a terminal shows the first 20 rows
    /// where no --format is given
    #[arg(short, long, value_name = "FILE|DIR|-", default_value = "-")]
    output: PathBuf,
    /// Format [default: by the ending of the output, else csv]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// For people: names and rooms, local time, units in the head, rounded numbers, and nothing that is for programs alone; a
    /// sheet for temperature, humidity, doors and so on, in FILE.xlsx or FILE.csv. Also with --every and --wide
    #[arg(long, conflicts_with_all = ["samples", "latest", "long"])]
    spreadsheet: bool,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// What is a file of its own in a directory [default: type]. Each event type has its own columns: read the files of one
    /// (night/event_type=temperature), or in DuckDB all of them with union_by_name=true; other readers drop columns or fail
    #[arg(long, value_enum)]
    partition_by: Option<PartitionName>,
    #[command(flatten, next_help_heading = "Which events")]
    select: Select,
    #[command(flatten, next_help_heading = "Shape")]
    shape: ShapeArgs,
    #[command(flatten, next_help_heading = "CSV")]
    csv: CsvArgs,
    /// Rows of a sheet in a workbook, its header among them, before the next one begins
    /// [default: 1048576]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=i64::from(SHEET_ROWS)), help_heading = "XLSX")]
    sheet_rows: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct ShapeArgs {
    /// A row a time, a column a device, of these values: temperature, whatever event type tells it, or several joined on time:
    /// temperature,humidity,co2; humidity.temperature is that of one event type
    #[arg(long, value_name = "VALUE,…", value_delimiter = ',', conflicts_with_all = ["samples", "latest"])]
    wide: Vec<String>,
    #[command(flatten)]
    readings: ReadingsArgs,
    /// A row a sample between two heartbeats
    #[arg(long, conflicts_with_all = ["latest", "every"])]
    samples: bool,
    /// Only the latest event of each device and event type
    #[arg(long, conflicts_with = "every")]
    latest: bool,
    /// A row a bucket of the calendar in --tz: 15m, 1h, 1d, 1w, 1mo. States become the time in each, totals differences
    #[arg(long, value_name = "LENGTH")]
    every: Option<Every>,
    /// What is told of a bucket: mean,min,max,sum,count,first,last [default: mean,min,max,count; with --wide: mean]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "every")]
    agg: Vec<Aggregate>,
    /// What stands in a bucket without an event: none, previous, linear. Never through a gap that was not filled
    #[arg(long, value_name = "HOW", default_value = "none", requires = "every")]
    fill: Fill,
    /// For so long at most previous carries a value on; holes longer than this get no line [default: four buckets]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "every")]
    fill_limit: Option<Duration>,
    /// A column with the names of devices; with --wide, columns are called so. NDJSON then has rows, and no events as received
    #[arg(long)]
    names: bool,
    /// A column for each of these labels of the devices
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',', conflicts_with = "wide")]
    with_labels: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct ReadingsArgs {
    /// A row a number that was measured, whatever event type told it: time, device, name, room, quantity, value, unit
    #[arg(long, conflicts_with_all = ["wide", "samples", "latest", "every", "names"])]
    long: bool,
    /// Only these with --long: temperature,humidity
    #[arg(long, value_name = "VALUE,…", value_delimiter = ',', requires = "long")]
    quantity: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct CsvArgs {
    /// As Excel and LibreOffice take it where they are set to this country, such as de-DE or en-US [default: this computer's];
    /// times to the millisecond
    #[arg(long, value_name = "LOCALE", num_args = 0..=1, default_missing_value = "")]
    for_excel: Option<String>,
    /// Between cells: one character, or tab [default: , or ; as the decimals need it; tab in a .tsv]
    #[arg(long, value_name = "C", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Before decimals: . or ,
    #[arg(long, value_name = "C", value_parser = decimal)]
    decimal: Option<u8>,
    /// Begin with a byte order mark
    #[arg(long)]
    bom: bool,
    /// End lines as on Windows
    #[arg(long)]
    crlf: bool,
    /// Times as rfc3339, local, excel, unix, unix-ms, or a pattern such as "%d.%m.%Y %H:%M:%S" [default: rfc3339]
    #[arg(long, value_name = "HOW")]
    time_format: Option<TimeFormat>,
    /// What stands for a null [default: nothing]
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Leave text as it is that a spreadsheet would run as a formula (it gets a ' before it otherwise)
    #[arg(long)]
    no_defuse: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && !b"\"'.-+".contains(byte) => Ok(*byte),
            _ => Err("a delimiter is one of , ; | and the like, or tab".to_owned()),
        },
    }
}

fn decimal(text: &str) -> Result<u8, String> {
    match text {
        "." => Ok(b'.'),
        "," => Ok(b','),
        _ => Err("decimals come behind . or ,".to_owned()),
    }
}

impl CsvArgs {
    /// The first of these flags that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--for-excel", self.for_excel.is_some()),
            ("--delimiter", self.delimiter.is_some()),
            ("--decimal", self.decimal.is_some()),
            ("--bom", self.bom),
            ("--crlf", self.crlf),
            ("--time-format", self.time_format.is_some()),
            ("--null", self.null.is_some()),
            ("--no-defuse", self.no_defuse),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    fn dialect(&self, zone: &Zone, is_tsv: bool, is_for_people: bool) -> Result<Dialect, Failure> {
        let mut dialect = match self.for_excel.as_deref() {
            None if is_for_people => {
                Dialect::for_excel(&locale()).or_else(|_| Dialect::for_excel("C")).map_err(Failure::usage)?
            }
            None => Dialect::default(),
            Some("") => Dialect::for_excel(&locale()).map_err(Failure::usage)?,
            Some(locale) => Dialect::for_excel(locale).map_err(Failure::usage)?,
        };
        dialect.zone = zone.clone();
        dialect.decimal = self.decimal.unwrap_or(dialect.decimal);
        let usual = if is_tsv {
            b'\t'
        } else if dialect.decimal == b',' && dialect.delimiter == b',' {
            b';'
        } else {
            dialect.delimiter
        };
        dialect.delimiter = self.delimiter.unwrap_or(usual);
        if dialect.delimiter == dialect.decimal {
            return Err(Failure::usage("cells and decimals cannot both be separated by a comma; give another --delimiter"));
        }
        dialect.bom |= self.bom;
        dialect.crlf |= self.crlf;
        dialect.defuse = !self.no_defuse;
        if let Some(time) = &self.time_format {
            dialect.time = time.clone();
        }
        if let Some(null) = &self.null {
            if null.bytes().any(|byte| byte == dialect.delimiter || b"\"\r\n".contains(&byte)) {
                return Err(Failure::usage(
                    "--null cannot hold the delimiter, a quote or a line break: it stands without quotes",
                ));
            }
            dialect.null.clone_from(null);
        }
        Ok(dialect)
    }
}

/// What this computer is set to.
fn locale() -> String {
    let said = ["LC_ALL", "LC_NUMERIC", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
    said.into_iter().find(|locale| !locale.is_empty()).unwrap_or_else(|| "C".to_owned())
}

/// Rows that a terminal shows where nobody says a format.
const FIRST: usize = 20;
/// What an output may end in.
const ENDINGS: &str = if cfg!(feature = "workbooks") {
    "there are .csv, .tsv, .xlsx, .parquet, .arrow and .ndjson"
} else {
    "there are .csv, .tsv, .parquet, .arrow and .ndjson"
};

impl Args {
    /// Whether an output with this ending is CSV where nobody says a format: directories, devices and pipes have any.
    fn is_csv(&self, ending: &str) -> bool {
        let is_file = || matches!(self.output(), Output::File(path) if path.is_file() || !path.exists());
        matches!(ending, "" | "csv" | "tsv" | "txt") || !is_file()
    }

    fn ending(&self) -> String {
        self.output.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
    }

    fn format(&self) -> Result<Format, Failure> {
        let ending = self.ending();
        let format = match (self.format, ending.as_str()) {
            (Some(FormatName::Parquet), _) | (None, "parquet") => Format::Parquet,
            (Some(FormatName::Arrow), _) | (None, "arrow" | "feather") => Format::Arrow,
            (Some(FormatName::Ndjson), _) | (None, "ndjson" | "jsonl") => Format::Ndjson,
            #[cfg(feature = "workbooks")]
            (Some(FormatName::Xlsx), _) | (None, "xlsx") => Format::Xlsx,
            #[cfg(feature = "workbooks")]
            (None, _) if self.spreadsheet && matches!(self.output(), Output::Directory(_)) => Format::Xlsx,
            #[cfg(not(feature = "workbooks"))]
            (Some(FormatName::Xlsx), _) | (None, "xlsx") => return Err(left_out("workbooks")),
            (None, ending) if !self.is_csv(ending) => {
                return Err(Failure::usage(format!("no export to .{ending}; {ENDINGS} (give --format for another ending)")));
            }
            (Some(FormatName::Csv) | None, _) => Format::Csv,
        };
        let misplaced = match format {
            Format::Csv => None,
            _ => self.csv.given().map(|flag| (flag, "CSV")),
        };
        let misplaced =
            misplaced.or(self.sheet_rows.filter(|_| format.extension() != "xlsx").map(|_| ("--sheet-rows", "a workbook")));
        if let Some((flag, of)) = misplaced {
            let format = format.extension();
            return Err(Failure::usage(format!(
                "{flag} is for {of}, and this is {format}; leave it out, or give another --format"
            )));
        }
        if self.spreadsheet && !["csv", "xlsx"].contains(&format.extension()) {
            return Err(Failure::usage("--spreadsheet is for people; give -o FILE.xlsx or FILE.csv"));
        }
        Ok(format)
    }

    fn output(&self) -> Output {
        let text = self.output.to_string_lossy();
        let is_folder = self.output.is_dir() || text.ends_with('/') || text.ends_with(std::path::MAIN_SEPARATOR);
        if text == "-" {
            Output::Stdout
        } else if is_folder || self.partition_by.is_some() {
            Output::Directory(self.output.clone())
        } else {
            Output::File(self.output.clone())
        }
    }

    /// How to export, to whose clock.
    fn settings(&self, zone: &Zone) -> Result<Settings, Failure> {
        let output = self.output();
        let is_tsv = matches!(output, Output::File(_)) && self.ending() == "tsv";
        Ok(Settings {
            format: self.format()?,
            output,
            partition: match self.partition_by {
                None | Some(PartitionName::Type) => Partition::Type,
                Some(PartitionName::Day) => Partition::Day,
                Some(PartitionName::Month) => Partition::Month,
                Some(PartitionName::Hive) => Partition::Hive,
            },
            force: self.force,
            dialect: self.csv.dialect(zone, is_tsv, self.spreadsheet)?,
            zone: zone.clone(),
            sheet_rows: self.sheet_rows.unwrap_or(SHEET_ROWS),
            offsets: true,
            about: None,
            unfinished: Unfinished::default(),
        })
    }

    fn ask(&self, zone: &Zone) -> Ask {
        let shape = &self.shape;
        Ask {
            shape: match shape {
                ShapeArgs { samples: true, .. } => Shape::Samples,
                ShapeArgs { latest: true, .. } => Shape::Latest,
                ShapeArgs { readings: ReadingsArgs { long: true, quantity }, .. } => Shape::Readings(once(quantity)),
                ShapeArgs { wide, .. } if !wide.is_empty() => Shape::Wide(once(wide)),
                _ => Shape::Long,
            },
            every: shape.every,
            aggregates: once(&shape.agg),
            fill: shape.fill,
            fill_limit: shape.fill_limit.map(time::micros),
            names: shape.names || shape.readings.long,
            labels: once(&[&["room".to_owned()][..usize::from(shape.readings.long)], &shape.with_labels].concat()),
            zone: zone.clone(),
            known: StateValidity::default(),
            gaps: Gaps::default(),
        }
    }
}

/// Each of them once, in the order in which they were given.
fn once<T: Clone + PartialEq>(all: &[T]) -> Vec<T> {
    let first = |(at, one): &(usize, &T)| !all[..*at].contains(*one);
    all.iter().enumerate().filter(first).map(|(_, one)| one.clone()).collect()
}

/// From here on, a signal ends this process at once, and leaves no half file behind.
fn leave_nothing_half(unfinished: &Unfinished, output: &Output) {
    let unfinished = unfinished.clone();
    let is_set = matches!(output, Output::Directory(_));
    let stop = move || {
        let left = unfinished.abandon();
        let removed = if left.removed > 0 { "; what was half written is removed" } else { "" };
        let whole = match left.whole {
            whole @ 1.. if is_set => {
                let are = if whole == 1 { "is" } else { "are" };
                let files = text::counted(whole, "file");
                format!("; {files} {are} complete, the others are missing (the same command with --force begins anew)")
            }
            _ => String::new(),
        };
        tell!("\novernight: stopped{removed}{whole}");
        std::process::exit(INTERRUPTED);
    };
    // Without the thread, a signal ends this process as it would any other.
    on_stop(false, move |_| stop()).unwrap_or_default();
}

/// Warns of labels that no device has: their columns stay empty.
fn warn_of_labels(wanted: &[String], directory: &Directory) {
    let known: Vec<String> = labels(directory).into_iter().map(|label| printable(label, 100)).collect();
    for label in wanted.iter().filter(|label| directory.iter().all(|(_, known)| !known.labels.contains_key(*label))) {
        let instead = text::instead(label, &known);
        warn!("no device has the label {label:?}, so its column is empty; {instead}");
    }
}

/// A wide table has a row for each bucket, and a single event of a wrong clock makes millions of them.
fn warn_of_length(ask: &Ask, plans: &[TypePlan], selection: &Selection) {
    const MANY: Micros = 1_000_000;
    let (Shape::Wide(_), Some(every)) = (&ask.shape, ask.every) else { return };
    let days = || plans.iter().filter(|plan| ask.reads(&plan.schema)).flat_map(|plan| &plan.partitions).map(|part| part.day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return };
    let length = selection.end.unwrap_or(last.end()).saturating_sub(selection.start.unwrap_or(first.start()));
    let rows = length / every.about();
    if rows > MANY && (selection.start.is_none() || selection.end.is_none()) {
        let rows = text::count(rows.unsigned_abs());
        warn!(
            "about {rows} rows, one for each {every} from {first} to {last}; --start and --end leave out what a wrong clock told"
        );
    }
}

/// Excel and LibreOffice look for numbers and dates in all text of a CSV.
fn warn_of_misread(settings: &Settings) {
    let columns = settings.dialect.misread.as_ref().map(Misread::columns).unwrap_or_default();
    let Some((column, text)) = columns.first() else { return };
    let (column, text) = (printable(column, 80), printable(text, 40));
    let names: Vec<_> = columns.iter().map(|(name, _)| printable(name, 80)).collect();
    warn!(
        "a spreadsheet shows {} otherwise, as numbers or dates, such as {text:?} of {column}; import them as text, or \
         export a workbook, where all stays as it is: -o FILE.xlsx",
        text::few(&names)
    );
}

/// Most readers take the columns of the first file for those of all, without a word.
fn hint_at_columns(settings: &Settings, files: &[PathBuf]) {
    let Output::Directory(folder) = &settings.output else { return };
    // The file or the folder of an event type.
    let types: BTreeSet<_> = files.iter().filter_map(|file| file.strip_prefix(folder).ok()?.iter().next()).collect();
    let Some(first) = types.first().filter(|_| types.len() > 1) else { return };
    let first = folder.join(first);
    let duckdb = match settings.format {
        Format::Parquet => ", or all of them in DuckDB with union_by_name=true",
        Format::Arrow => "",
        _ => return,
    };
    tell!("each event type has its own columns: read one at a time, such as {}{duckdb}", first.display());
}

/// What is going to be written; a pipe is told nothing.
fn tell_beginning(args: &Args, events: u64, selection: &Selection, clock: &Clock) {
    if events > 0 && args.output() != Output::Stdout {
        let from = selection.start.map_or_else(|| "the first".to_owned(), |start| clock.second(start));
        let to = selection.end.map_or_else(|| "the last".to_owned(), |end| clock.second(end));
        let (events, to_what) = (text::counted(events, "event"), args.output.display());
        tell!("exports up to {events} from {from} to {to}, times: {}, to {to_what}", clock.name());
    }
}

/// What to do with a file.
fn tell_next(format: Format, file: &Path) {
    let (name, path) = (file.display().to_string(), shell(file));
    match format.extension() {
        "csv" | "xlsx" => tell!(
            "next: open it in a spreadsheet, or in Python: import pandas as pd; df = pd.read_{}({name:?})",
            match format {
                Format::Csv => "csv",
                _ => "excel",
            }
        ),
        "ndjson" => tell!("next: `head -n 1 {path}` shows an event as it was received"),
        kind => tell!("next: import pandas as pd; df = pd.read_{}({name:?})", if kind == "arrow" { "feather" } else { kind }),
    }
}

/// Shows the first rows, and says how to get the rest.
fn show_first(glance: Glance, reader: &Reader, directory: &Directory, clock: &Clock) -> Result<Outcome, Failure> {
    if glance.rows.is_empty() {
        tell!("no events: {}", why_empty(reader)?);
        return Ok(Outcome::Incomplete);
    }
    let time = format!("time ({})", clock.name());
    let rows = glance.rows.into_iter().map(|Seen { time, device, of, values }| {
        vec![clock.second(time), printable(directory.name(&device), 40), printable(&of, 40), values]
    });
    say!("{}", show::shrinking(&[&time, "device", "of", "values"], &[], &[1, 3], &[2], rows.collect()));
    if glance.is_cut {
        let (program, dir) = (program(), shell(reader.layout().root()));
        tell!(
            "these are the first {FIRST} rows; the same with `-o night.csv` (or .xlsx, .parquet) writes all of them to a file,"
        );
        tell!("and `{program} export --dir {dir} --format csv` all of them here");
    }
    Ok(tell_left_out(reader))
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    args.recording.refuse_own(&args.output)?;
    let to_terminal = args.output() == Output::Stdout && io::stdout().is_terminal();
    // What a spreadsheet opens is of somebody who sits here.
    let is_for_people = args.spreadsheet || args.csv.for_excel.is_some();
    let zone = args.select.zone(to_terminal || is_for_people);
    let settings = args.settings(&zone)?;
    if settings.output == Output::Stdout {
        if args.partition_by.is_some() {
            return Err(Failure::usage("--partition-by makes several files; give -o DIR/"));
        }
        if !matches!(settings.format, Format::Csv | Format::Ndjson) && to_terminal {
            return Err(Failure::usage("this is no text for a terminal; give -o FILE, or redirect"));
        }
    }
    if args.spreadsheet && matches!(settings.output, Output::Directory(_)) && settings.partition != Partition::Month {
        return Err(Failure::usage("a spreadsheet is one file; give -o FILE.xlsx, or --partition-by month for one a month"));
    }
    let reader = Reader::open(&args.recording.layout(), args.recording.registry()?)?;
    let directory = Directory::new(&reader.devices()?);
    let selection = args.select.selection(&reader, &directory, &zone)?;
    let mut ask = args.ask(&zone);
    warn_of_labels(&args.shape.with_labels, &directory);
    // In a bucket, a door that nobody touched is what it was before; a row of its own it has not.
    let mut plans = match (&ask.shape, ask.every) {
        (_, Some(_)) => plans(&reader, &selection, ask.fill)?,
        // Whenever the event was that brought a sample.
        (Shape::Samples, None) => reader.plan(&Selection { start: None, end: None, ..selection.clone() })?,
        _ => reader.plan(&selection)?,
    };
    // A type that was asked for has its columns, also where it has no events.
    if plans.is_empty() && !matches!(ask.shape, Shape::Wide(_) | Shape::Readings(_)) {
        let bare = |name: &String| TypePlan { schema: reader.registry().get(name), partitions: Vec::new(), events: 0 };
        plans = selection.event_types.iter().map(bare).collect();
    }
    if ask.every.is_some() && plans.iter().any(|plan| ask.reads(&plan.schema) && has_states(&plan.schema)) {
        ask.known = known(&reader, &selection, time::now())?;
    }
    if ask.fill != Fill::None {
        ask.gaps = gaps(&reader, time::now())?;
    }
    if to_terminal && args.format.is_none() && args.csv.given().is_none() {
        ask.names = true;
        let tables = tables(&reader, &plans, &selection, &directory, &ask).map_err(export::ExportError::from)?;
        return show_first(export::glance(tables, FIRST)?, &reader, &directory, &Clock { zone });
    }
    warn_of_length(&ask, &plans, &selection);
    let events = plans.iter().filter(|plan| ask.reads(&plan.schema)).map(|plan| plan.events).sum();
    tell_beginning(args, events, &selection, &Clock { zone });
    leave_nothing_half(&settings.unfinished, &settings.output);
    let bar = if to_terminal { progress::hidden() } else { progress::bar(Some(events), false) };
    let exported = if args.spreadsheet {
        // Where the program stands is nothing to send along.
        let made = ["overnight".to_owned()].into_iter().chain(std::env::args().skip(1).map(shell)).collect::<Vec<_>>().join(" ");
        let scope = Scope { reader: &reader, directory: &directory, selection: &selection, plans: &plans, ask: &ask };
        spreadsheet::export(&scope, &settings, (time::now(), &made), |rows| bar.inc(rows))
    } else {
        tables(&reader, &plans, &selection, &directory, &ask)
            .map_err(export::ExportError::from)
            .and_then(|tables| export::export(&reader, tables, &settings, |rows| bar.inc(rows)))
    };
    bar.finish_and_clear();
    let exported = match exported {
        Err(error) if error.is_broken_pipe() => return Err(Failure::EndOfOutput),
        Err(error) if error.is_wrong_use() => return Err(Failure::usage(error.to_string())),
        exported => exported?,
    };
    for (column, times) in &exported.overflows {
        let times = text::counted(*times, "time");
        warn!("{column} is empty {times}: the numbers are greater than a double can hold");
    }
    warn_of_misread(&settings);
    let rows: u64 = exported.rows.values().sum();
    if rows == 0 {
        let nothing = if exported.files.is_empty() && settings.output != Output::Stdout { "; nothing is written" } else { "" };
        tell!("no events: {}{nothing}", why_empty(&reader)?);
    } else if settings.output != Output::Stdout {
        let types = exported.rows.iter().filter(|(_, rows)| **rows > 0);
        let which: Vec<_> = types.map(|(name, rows)| format!("{} {}", printable(name, 40), text::count(*rows))).collect();
        let files = match exported.files.as_slice() {
            [one] => one.display().to_string(),
            // A device.
            [] => args.output.display().to_string(),
            files => format!("{} files in {}", files.len(), args.output.display()),
        };
        let what = match (&ask.shape, ask.every) {
            // An event may stand on several sheets.
            _ if args.spreadsheet => "row",
            (Shape::Samples, _) => "sample",
            (Shape::Readings(_), _) => "reading",
            (Shape::Long | Shape::Latest, None) => "event",
            _ => "row",
        };
        tell!("exported {} to {files}: {}", text::counted(rows, what), text::few(&which));
        hint_at_columns(&settings, &exported.files);
        if let [file] = exported.files.as_slice() {
            tell_next(settings.format, file);
        }
    }
    let missing = missing_in(&reader, &selection)?;
    let empty = if rows == 0 { Outcome::Incomplete } else { Outcome::Done };
    let left_out = tell_left_out(&reader).max(empty);
    Ok(left_out.max(tell_missing(missing.as_deref(), &args.recording.layout())))
}
