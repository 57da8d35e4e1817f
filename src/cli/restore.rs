//! `overnight restore`: a backup becomes a recording again; `--check` is the drill.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::text::{self, printable};
use crate::base::time::{self, Micros};
use crate::maintenance::restore::{Restored, check, find, restore};
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::query::coverage::Timeline;
use crate::store::buffer::View;
use crate::verify::{Severity, size};

use super::clock::Tz;
use super::{Failure, Outcome, Recording, program, progress, shell};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
All of it is copied and checked before it gets its name, so there is a whole recording or none. The next `record` there makes the time
since the backup a gap, which is filled as far back as the cloud's history goes.")]
pub(super) struct Args {
    /// The backup: TO/2026-11-25T070000Z, or TO for the last one in it
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Where the recording goes: a directory that is not there yet, or is empty
    #[arg(long, value_name = "NEW", required_unless_present = "check")]
    dir: Option<PathBuf>,
    /// Only try: restore into a place beside the backup (or beside NEW), check all of it, remove it
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let backup = find(&args.backup)?;
    let backup = backup.canonicalize().unwrap_or(backup);
    let layout = Layout::new(&backup);
    let registry = Recording { dir: backup.clone(), schemas: None }.registry()?;
    // Read once to be copied, and once to be checked.
    let bar = progress::bar(Some(2 * size(&layout)?), true);
    let restored = attempt(args, &backup, &registry, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let restored = restored?;
    for damaged in &restored.copied.damaged {
        warn!("{damaged}");
    }
    for finding in restored.report.findings.iter().filter(|finding| finding.severity >= Severity::Unread) {
        warn!("{}: expected {}, found {}", printable(&finding.path, 400), finding.expected, printable(&finding.found, 400));
    }
    let all = format!(
        "{}, {}, {} in the buffer",
        text::counted(restored.copied.files, "day file"),
        text::counted(restored.report.rows, "row"),
        text::counted(restored.report.buffered, "event")
    );
    if !restored.is_whole() {
        return Err(Failure::failed(format!(
            "{} is damaged, and nothing was restored; take another backup, or copy this one (cp -r) and run `{} roll` there: it keeps what reads and \
             notes the rest as a gap",
            backup.display(),
            program()
        )));
    }
    let Some(new) = args.dir.as_ref().filter(|_| !args.check) else {
        tell!("{} restores: {all}, all as it was written; nothing was left behind", backup.display());
        return Ok(Outcome::Done);
    };
    tell!("restored {} from {}: {all}", new.display(), backup.display());
    tell_next(&Layout::new(new), &|time| args.tz.stderr(&[]).named(time))?;
    Ok(Outcome::Done)
}

fn attempt(args: &Args, backup: &Path, registry: &Arc<Registry>, progress: impl FnMut(u64)) -> Result<Restored, Failure> {
    let beside = |path: &Path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    Ok(match &args.dir {
        Some(new) if !args.check => restore(backup, new, registry, progress)?,
        new => check(backup, &beside(new.as_deref().unwrap_or(backup)), registry, progress)?,
    })
}

/// What of the time since then comes by itself.
fn tell_next(layout: &Layout, clock: &dyn Fn(Micros) -> String) -> Result<(), Failure> {
    let view = View::open(layout)?;
    let time = Timeline::read(&view, None, time::now())?;
    let dir = shell(layout.root());
    for project in time.projects.iter().filter(|project| project.last_sign.is_some()) {
        let (name, since) = (printable(&project.name, 80), project.last_sign.map(clock).unwrap_or_default());
        if project.goes_on {
            tell!("{name}: the next `{} record --dir {dir}` makes the time since {since} a gap, and fills it", program());
        } else {
            tell!(
                "{name}: nobody recorded when this was copied; what came after {since}: `{} backfill --since 31d --dir {dir}`",
                program()
            );
        }
    }
    Ok(())
}
