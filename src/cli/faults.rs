//! `overnight faults`: what came and was no event; lists it by reason, and drops what nobody needs any more.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::base::text::{self, printable};
use crate::base::time::{self, Micros, rfc3339};
use crate::store::buffer::{Buffer, FaultReason, View, WhichFaults};

use super::{Failure, Outcome, Recording, select, show};

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
    /// As JSON, for programs: all reasons
    #[arg(long)]
    json: bool,
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
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Those whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Those that came before this time: 2026-11-23, 2026-11-23T18:00 (UTC) or 2026-11-23T18:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = select::moment)]
    before: Option<Micros>,
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
    first_at: String,
    last_at: String,
    example: String,
}

impl From<FaultReason> for Told {
    fn from(fault: FaultReason) -> Self {
        let FaultReason { reason, count, first_at, last_at, example } = fault;
        let example = printable(&String::from_utf8_lossy(&example), 200);
        Self { reason, count, first_at: rfc3339(first_at), last_at: rfc3339(last_at), example }
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
        say!("{} kept raw, by reason:", text::counted(told.iter().map(|fault| fault.count).sum(), "fault"));
        for fault in told.iter().take(LISTED) {
            say!("{} x {}", text::count(fault.count), printable(&fault.reason, 400));
            say!("    {} to {}, such as: {}", fault.first_at, fault.last_at, fault.example);
        }
        if told.len() > LISTED {
            say!("and {}; `--json` lists them all", text::counted((told.len() - LISTED) as u64, "older reason"));
        }
    }
    Ok(Outcome::Done)
}

fn drop_those(args: &Drop) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let which = WhichFaults { reason: args.which.reason.clone(), from: None, before: args.which.before };
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
