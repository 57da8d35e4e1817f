//! `overnight backup`: a copy of a recording as it is now, beside its recorder.

use std::path::PathBuf;

use crate::base::text;
use crate::base::time;
use crate::maintenance::backup::backup;
use crate::verify::size;

use super::{Failure, Outcome, Recording, program, progress, shell};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each backup is a recording of its own, TO/2026-11-25T070000Z, that status, verify, report and export open as it is. Day files that have not
changed are second names (hard links) of the copies before, and take no room. A day file that is not what its checksum says replaces no good copy;
it is named, and no old backup goes then (exit code 3). Credentials and other secret files are no part of a recording.
Now and then: overnight restore TO --check")]
pub(super) struct Args {
    /// The recording; a recorder may be writing to it
    #[command(flatten)]
    recording: Recording,
    /// Directory that backups go into, best on another disk
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// How many backups stay; the last one always does
    #[arg(long, value_name = "N", default_value = "14", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let bar = progress::bar(Some(size(&layout)?), true);
    let most = usize::try_from(args.keep).unwrap_or(usize::MAX);
    let done = backup(&layout, &args.to, most, time::now(), |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let done = done?;
    let copied = &done.copied;
    for damaged in &copied.damaged {
        warn!("{damaged}");
    }
    let unchanged = match (copied.linked, copied.has_no_links) {
        (_, true) => "; there are no hard links in that place, so all of it was written".to_owned(),
        (0, false) => String::new(),
        (linked, false) => format!("; {} as before", text::count(linked)),
    };
    tell!(
        "backup {}: {}, {}, of which {} were written{unchanged}",
        done.generation.path.display(),
        text::counted(copied.files, "day file"),
        text::bytes(copied.bytes),
        text::bytes(copied.written)
    );
    for old in &done.removed {
        tell!("removed {}: more than {} backups", old.display(), args.keep);
    }
    if let Some(why) = &done.unnoted {
        tell!("the recording could not note that it has a backup: {why}");
    }
    tell!("next     {} restore {} --check", program(), shell(&args.to));
    if copied.damaged.is_empty() {
        return Ok(Outcome::Done);
    }
    warn!("`{} verify --dir {}` says what to do; until then every old backup stays", program(), shell(layout.root()));
    Ok(Outcome::Incomplete)
}
