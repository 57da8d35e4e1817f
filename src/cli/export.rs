//! `overnight export`: a selection of events as CSV, Parquet or NDJSON.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::coverage;
use crate::event::printable;
use crate::export::{self, Format, Output};
use crate::reader::{Reader, Selection};
use crate::time::{self, Day, Micros};

use super::{Failure, Outcome, Recording, duration, progress, show, tell_missing};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    Csv,
    Parquet,
    Ndjson,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where to: a file, a directory (one file an event type; write it with a `/` at the end), `-` for standard output
    #[arg(short, long, value_name = "FILE|DIR|-", default_value = "-")]
    output: PathBuf,
    /// Format [default: by the ending of the output, else csv]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Only events of this type; may be given several times
    #[arg(long, value_name = "T")]
    event_type: Vec<String>,
    /// Only events of this device; may be given several times
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// From this time on: 2026-11-23 (UTC) or 2026-11-23T18:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = point, conflicts_with = "since")]
    start: Option<Micros>,
    /// Up to this time, exclusive
    #[arg(long, value_name = "TIME", value_parser = point)]
    end: Option<Micros>,
    /// The last so long, such as 12h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let ending = args.output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let format = match (args.format, ending) {
        (Some(FormatName::Parquet), _) | (None, "parquet") => Format::Parquet,
        (Some(FormatName::Ndjson), _) | (None, "ndjson" | "jsonl") => Format::Ndjson,
        (None, "xlsx" | "arrow" | "json" | "feather") => {
            return Err(Failure::usage(format!(
                "no export to .{ending}; there are csv, parquet and ndjson (give --format for another ending)"
            )));
        }
        (Some(FormatName::Csv) | None, _) => Format::Csv,
    };
    let output = output(args);
    if output == Output::Stdout && format == Format::Parquet && io::stdout().is_terminal() {
        return Err(Failure::usage("Parquet is no text for a terminal; give -o FILE, or redirect"));
    }
    let start = args.since.map(|since| time::now().saturating_sub(time::micros(since))).or(args.start);
    if let (Some(start), Some(end)) = (start, args.end)
        && start >= end
    {
        return Err(Failure::usage("--start lies behind --end; nothing can be in between"));
    }
    let selection =
        Selection { event_types: args.event_type.clone(), devices: args.device.iter().cloned().collect(), start, end: args.end };
    let reader = Reader::open(&args.recording.layout(), args.recording.registry()?)?;
    let plans = reader.plan(&selection)?;
    let bar = progress::bar(Some(plans.iter().map(|plan| plan.events).sum()), false);
    let exported = export::export(&reader, &plans, &selection, format, &output, args.force, |rows| bar.inc(rows));
    bar.finish_and_clear();
    let exported = match exported {
        Err(error) if error.is_broken_pipe() => return Err(Failure::EndOfOutput),
        exported => exported?,
    };
    let rows: u64 = exported.rows.values().sum();
    if rows == 0 {
        eprintln!("no events: {}", why_empty(&reader)?);
    } else if output != Output::Stdout {
        let types: Vec<_> = exported.rows.iter().filter(|(_, rows)| **rows > 0).collect();
        let which = types
            .iter()
            .map(|(name, rows)| format!("{} {}", printable(name, 40), show::count(**rows)))
            .collect::<Vec<_>>()
            .join(", ");
        let files = match exported.files.as_slice() {
            [one] => one.display().to_string(),
            files => format!("{} files in {}", files.len(), args.output.display()),
        };
        eprintln!("exported {} to {files}: {which}", show::counted(rows, "event"));
    }
    let span = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    let missing = match reader.view() {
        Some(view) => coverage::missing(view, span)?,
        None => None,
    };
    Ok(tell_missing(missing.as_deref(), &args.recording.layout()))
}

fn why_empty(reader: &Reader) -> Result<String, Failure> {
    let all: u64 = reader.plan(&Selection::default())?.iter().map(|plan| plan.events).sum();
    Ok(match all {
        0 => "the recording is empty so far".to_owned(),
        all => format!("the recording has {}, none of them in this selection", show::counted(all, "event")),
    })
}

fn output(args: &Args) -> Output {
    let text = args.output.to_string_lossy();
    if text == "-" {
        Output::Stdout
    } else if args.output.is_dir() || text.ends_with('/') || text.ends_with(std::path::MAIN_SEPARATOR) {
        Output::Directory(args.output.clone())
    } else {
        Output::File(args.output.clone())
    }
}

/// A point in time: a day in UTC, or RFC 3339.
pub(super) fn point(text: &str) -> Result<Micros, String> {
    let fail = || format!("{text:?} is no time; write 2026-11-23 (midnight UTC) or 2026-11-23T18:00:00Z");
    if let Some(day) = Day::parse(text) {
        return Ok(day.start());
    }
    if let Some(parsed) = time::parse_rfc3339(text.as_bytes()) {
        return Ok(parsed.time);
    }
    let stamp: jiff::Timestamp = text.parse().map_err(|_| fail())?;
    Ok(stamp.as_microsecond())
}
