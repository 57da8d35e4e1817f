//! `overnight prune`: what is older than anybody wants to keep goes, or goes to an archive; shown first.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::text::{self, printable};
use crate::base::time;
use crate::maintenance::prune::{Plan, PruneError, plan};
use crate::model::settings::File;
use crate::recorder::{PruneByHandError, RecordError, prune};
use crate::store::buffer::BufferError;
use crate::store::meter::Meter;

use super::connection::time_of;
use super::{Failure, Outcome, Recording, duration, progress, show};

/// Files that stay and are named; the others are counted.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --yes nothing changes. Whole days go, of event time in UTC, before the newest event, the newest sign of life and the clock less --keep;
of files that are sealed and what their checksums say. More than half of all days, or under 32 days, is refused.
A recorder does the same once a day with keep = \"400d\" (and archive = \"DIR\") in overnight.toml.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Keep so much, at least 32d [default: `keep` in overnight.toml]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    keep: Option<Duration>,
    /// Copy what goes to this directory first, which pandas, DuckDB and `export --dir DIR` read
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let file = File::read(&layout.settings())?;
    let Some(keep) = args.keep.or(time_of(file.keep.as_deref())?) else {
        return Err(Failure::usage("how much is kept? give --keep TIME, as in --keep 400d"));
    };
    let keep = time::micros(keep);
    let plan = plan(&layout, keep, time::now()).map_err(refused)?;
    print(&plan)?;
    if plan.files.is_empty() {
        tell!("nothing of before {} can go", plan.before);
        return Ok(Outcome::Done);
    }
    if !args.yes {
        tell!("nothing was removed; the same with --yes does it");
        return Ok(Outcome::Done);
    }
    let archive = args.archive.clone().map_or_else(|| file.archive(), |given| Ok(Some(given)))?;
    let bar = progress::bar(Some(plan.bytes()), true);
    let meter = Meter::default();
    let pruned = prune(&layout, &args.recording.registry()?, &meter, keep, archive.as_deref(), |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    for (_, note) in meter.take_notes() {
        tell!("{note}");
    }
    let pruned = pruned.map_err(|error| match error {
        PruneByHandError::Prune(error) => refused(error),
        PruneByHandError::Record(RecordError::Buffer(error @ BufferError::Locked { .. })) => Failure::failed(format!(
            "{error}. A recorder prunes by itself, once a day, with keep = \"400d\" (and archive = \"DIR\") in overnight.toml"
        )),
        PruneByHandError::Record(error) => error.into(),
    })?;
    let to = archive.map_or_else(String::new, |archive| format!(", now in {}", archive.display()));
    tell!("pruned {}, {}{to}", text::counted(pruned.files.len() as u64, "day file"), text::bytes(pruned.bytes));
    let new: Vec<_> = pruned.stays.iter().filter(|(path, _)| !plan.stays.iter().any(|(known, _)| known == path)).collect();
    for (path, why) in &new {
        warn!("{} stays: {why}", path.display());
    }
    // What had to be set aside was told above.
    let is_well = new.is_empty() && Meter::get(&meter.roll_errors) == 0;
    Ok(if is_well { Outcome::Done } else { Outcome::Incomplete })
}

/// What is absurd is a matter of the command line.
fn refused(error: PruneError) -> Failure {
    match error {
        PruneError::TooLittle | PruneError::TooMuch { .. } | PruneError::Inside(_) => Failure::usage(error.to_string()),
        error => error.into(),
    }
}

fn print(plan: &Plan) -> Result<(), Failure> {
    if !plan.files.is_empty() {
        let row = |(name, (days, first, last, bytes)): (&str, (u64, _, _, u64))| {
            vec![printable(name, 40), text::count(days), format!("{first}"), format!("{last}"), text::bytes(bytes)]
        };
        let rows = plan.by_type().into_iter().map(row).collect();
        say!("{}", show::table(&["type", "days", "first day", "last day", "day files"], &[1, 4], &[0], rows));
        let files = text::counted(plan.files.len() as u64, "day file");
        say!("\nbefore {}: {files}, {}", plan.before, text::bytes(plan.bytes()));
    }
    for (path, why) in plan.stays.iter().take(NAMED) {
        say!("{} stays: {why}", printable(&path.display().to_string(), 400));
    }
    if plan.stays.len() > NAMED {
        say!("and {} more stay", plan.stays.len() - NAMED);
    }
    Ok(())
}
