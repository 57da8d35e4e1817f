//! `overnight report`: a night or a week as one HTML page, or its facts as JSON.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::base::disk::{self, OutputError};
use crate::base::text;
use crate::base::time;
use crate::output::report::{Scope, facts, page, pictures};
use crate::query::reader::Reader;
use crate::store::devices::Directory;

use super::select::Select;
use super::messages;
use super::{Failure, Outcome, Recording, progress, tell_incomplete};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where to; `-` is standard output
    #[arg(short, long, value_name = "FILE.html|-", default_value = "report.html")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// The facts as JSON on standard output, for programs, instead of the page
    #[arg(long, conflicts_with_all = ["output", "force"])]
    json: bool,
    #[command(flatten, next_help_heading = "Which events")]
    select: Select,
}

/// Refuses, before anything is read, what is no page by its name, and what is there already.
fn check(path: &Path, force: bool) -> Result<(), Failure> {
    let ending = path.extension().map(OsStr::to_ascii_lowercase);
    let is_page = ending.is_some_and(|ending| ending == "html" || ending == "htm");
    // A device or a pipe has any name.
    if !is_page && (path.is_file() || !path.exists()) {
        let path = path.display();
        return Err(Failure::usage(format!("{path} is no page; -o takes FILE.html, and --json goes to standard output")));
    }
    if path.is_file() && !force {
        return Err(OutputError::Exists(path.to_owned()).into());
    }
    Ok(())
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let to_stdout = args.output == Path::new("-");
    args.recording.refuse_own(&args.output)?;
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage("HTML is nothing for a terminal; give -o FILE.html, or redirect"));
    }
    if !args.json && !to_stdout {
        check(&args.output, args.force)?;
    }
    let reader = Reader::open(&args.recording.layout(), args.recording.registry()?)?.lenient();
    let directory = Directory::new(&reader.devices()?);
    let (zone, now) = (&args.select.zone(false), time::now());
    let selection = args.select.selection(&reader, &directory, zone)?;
    let (facts, pictures) = loop {
        let scope = Scope::of(&reader, selection.clone(), now)?;
        let left_out = reader.left_out().len();
        let bar = progress::bar(Some(scope.plans.iter().map(|plan| plan.events).sum()), false);
        let facts = facts(&reader, &directory, &scope, zone, now, |rows| bar.inc(rows));
        bar.finish_and_clear();
        let facts = facts?;
        let pictures = if args.json { Vec::new() } else { pictures(&reader, &directory, &scope, &facts, zone)? };
        // A file that turned out to be damaged halfway is left out from the beginning: all numbers are of the same events.
        if reader.left_out().len() == left_out {
            break (facts, pictures);
        }
    };
    for file in &facts.unreadable {
        warn!("left out: {}", file);
    }
    for text in &facts.unknown {
        messages::tell(messages::Level::Note, format_args!("note: {text}"));
    }
    if args.json {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let written = super::show::write_json(&facts, &mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        written.map_err(|error| if error.kind() == io::ErrorKind::BrokenPipe { Failure::EndOfOutput } else { error.into() })?;
    } else {
        let html = page(&facts, zone, &pictures);
        if to_stdout {
            match io::stdout().write_all(html.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Failure::EndOfOutput),
                written => written?,
            }
        } else {
            disk::output_bytes(&args.output, args.force, html.as_bytes())?;
            tell!(
                "{} on one page: {} ({}); open it in a browser, no network needed",
                text::counted(facts.events, "event"),
                args.output.display(),
                text::bytes(html.len() as u64)
            );
        }
    }
    let missing = facts.missing.join(" ");
    let missing = missing.trim_end_matches('.');
    // What `gaps` tells is told by `verify`, too.
    let verb = if facts.unreadable.is_empty() { "gaps" } else { "verify" };
    Ok(tell_incomplete(facts.is_incomplete().then_some(missing), verb, &args.recording.layout()))
}
