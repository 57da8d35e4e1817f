//! `overnight faults`: what came and was no event; lists it by reason, and drops what nobody needs any more.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::base::text::{self, printable};
use crate::base::time::{self, Utc};
use crate::store::buffer::{Buffer, FaultReason, View, WhichFaults};

use super::clock::Tz;
use super::when::{When, when};
use super::{Failure, Outcome, Recording, show};

/// Reasons that are listed for people: the newest.
const LISTED: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List faults by reason, the newest first
    List(List),
    /// Delete faults for good; nobody else holds them
    Drop(Drop),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs: all reasons, times in UTC
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tz: Tz,
}

#[derive(Debug, clap::Args)]
struct Drop {
    #[command(flatten)]
    recording: Recording,
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    tz: Tz,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Those whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Those that came before this time: 2026-11-23, "yesterday 18:00", 07:00, -12h or 2026-11-23T18:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    before: Option<When>,
    /// All of them
    #[arg(long, conflicts_with_all = ["reason", "before"])]
    all: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(args) => list(args),
        What::Drop(args) => drop_those(args),
    }
}

/// Faults of one reason, for programs.
#[derive(Serialize)]
struct Told {
    reason: String,
    count: u64,
    first_at: Utc,
    last_at: Utc,
    example: String,
}

impl From<FaultReason> for Told {
    fn from(fault: FaultReason) -> Self {
        let FaultReason { reason, count, first_at, last_at, example } = fault;
        let example = printable(&String::from_utf8_lossy(&example), 200);
        Self { reason, count, first_at: Utc(first_at), last_at: Utc(last_at), example }
    }
}

fn list(args: &List) -> Result<Outcome, Failure> {
    let view = View::open(&args.recording.layout())?;
    let told: Vec<Told> = view.fault_reasons(&WhichFaults::default(), usize::MAX)?.into_iter().map(Told::from).collect();
    if args.json {
        say!("{}", show::json(&told)?);
    } else if told.is_empty() {
        say!("no faults");
    } else {
        let (clock, count) = (args.tz.stdout(), told.iter().map(|fault| fault.count).sum());
        say!("{} kept raw, by reason (times: {}):", text::counted(count, "fault"), clock.name());
        for fault in told.iter().take(LISTED) {
            say!("{} x {}", text::count(fault.count), printable(&fault.reason, 400));
            let (first, last) = (clock.second(fault.first_at), clock.second(fault.last_at));
            say!("    {first} to {last}, such as: {}", fault.example);
        }
        if told.len() > LISTED {
            say!("and {}; `--json` lists them all", text::counted((told.len() - LISTED) as u64, "older reason"));
        }
    }
    Ok(Outcome::Done)
}

fn drop_those(args: &Drop) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let clock = args.tz.stderr(&[args.which.before]);
    let before = args.which.before.map(|before| before.moment(&clock.zone, time::now()));
    let which = WhichFaults { reason: args.which.reason.clone(), from: None, before };
    let reasons = View::open(&layout)?.fault_reasons(&which, usize::MAX)?;
    let count = reasons.iter().map(|fault| fault.count).sum();
    if count == 0 {
        tell!("nothing to drop: no fault is like that");
        return Ok(Outcome::Done);
    }
    // Whoever cannot write here learns it before being asked; the lock is not held while somebody thinks.
    drop(Buffer::open(&layout, time::now())?);
    let what = format!("{}, of {}", text::counted(count, "fault"), text::counted(reasons.len() as u64, "reason"));
    if !args.yes && !is_wanted(&what)? {
        tell!("nothing was dropped");
        return Ok(Outcome::Done);
    }
    let gone = Buffer::open(&layout, time::now())?.drop_faults(&which)?;
    tell!("dropped {} from {}", text::counted(gone, "fault"), layout.root().display());
    Ok(Outcome::Done)
}

/// Asks whoever sits there.
fn is_wanted(what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("this would drop {what}, for good: give --yes if that is meant")));
    }
    write!(io::stderr(), "drop {what}, for good? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
