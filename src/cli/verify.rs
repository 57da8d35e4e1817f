//! `overnight verify`: is everything in the recording as it was written?

use crate::base::text::{self, printable};
use crate::base::time::rfc3339;
use crate::verify::{Report, Severity, size, verify};

use super::clock::Tz;
use super::{Failure, Outcome, Recording, progress, show};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 all is well, 3 something is missing and the recording says so itself (gaps, or that nobody records), or an event was sent with two times \
and stands twice, 1 something is damaged, or could not be looked at.
Sealed day files can also be checked without this program: sha256sum --check MANIFEST")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs, times in UTC
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let bar = progress::bar(Some(size(&layout)?), true);
    let clock = args.tz.stdout();
    let said = |time| if args.json { rfc3339(time) } else { clock.named(time) };
    let report = verify(&layout, &*args.recording.registry()?, &said, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", show::json(&report)?);
    } else {
        print(&report)?;
        if let Some(before) = report.pruned_before {
            say!("pruned: what was before {}", said(before.into()));
        }
    }
    match report.worst() {
        None | Some(Severity::Note) => Ok(Outcome::Done),
        Some(Severity::Double | Severity::Missing) => Ok(Outcome::Incomplete),
        Some(Severity::Unread) => Err(Failure::failed("not all of the recording could be looked at; see above")),
        Some(Severity::Damage) => Err(Failure::failed("the recording is damaged; see above")),
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    for finding in &report.findings {
        let kind = match finding.severity {
            Severity::Note => "note",
            Severity::Double => "double",
            Severity::Missing => "missing",
            Severity::Unread => "unread",
            Severity::Damage => "DAMAGE",
        };
        say!("{kind:<8} {}", printable(&finding.path, 400));
        say!("         expected: {}", printable(&finding.expected, 400));
        say!("         found:    {}", printable(&finding.found, 400));
        say!("         to do:    {}", finding.advice);
    }
    say!(
        "{} read whole ({}, {}), {} held against their checksums; {} in the buffer",
        text::counted(report.files, "day file"),
        text::counted(report.rows, "row"),
        text::bytes(report.bytes),
        text::count(report.sums),
        text::counted(report.buffered, "event")
    );
    if report.findings.is_empty() {
        say!("all is well: every event once, in order, in its day, as it was written");
    }
    Ok(())
}
