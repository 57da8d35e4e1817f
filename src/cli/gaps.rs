//! `overnight gaps`: when the recording was covered, and what is missing.

use crate::base::text::{self, printable};
use crate::base::time;
use crate::query::coverage::{Coverage, GapReport, coverage};

use super::clock::{Clock, Tz};
use super::{Failure, Outcome, Recording, program, shell, show};

/// Gaps that are listed where nobody asks for all: the latest.
const LISTED: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs: all gaps, times in UTC
    #[arg(long)]
    json: bool,
    /// List all gaps, not the latest 200 of each project
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let coverage = coverage(&layout, time::now())?;
    if args.json {
        say!("{}", show::json(&coverage)?);
    } else {
        print(&coverage, args.all, &args.tz.stdout(), &format!("{} gaps --all --dir {}", program(), shell(layout.root())))?;
    }
    let is_missing = coverage.missing > 0 || !coverage.nobody_records.is_empty();
    Ok(if is_missing { Outcome::Incomplete } else { Outcome::Done })
}

fn print(coverage: &Coverage, all: bool, clock: &Clock, list_all: &str) -> Result<(), Failure> {
    for dead in &coverage.nobody_records {
        say_wrapped("", &printable(&dead.said(|time| clock.second(time)), 400))?;
    }
    for project in &coverage.projects {
        let (from, to) = (clock.second(project.from), clock.second(project.to));
        let (name, sessions) = (printable(&project.project, 80), text::counted(project.sessions, "session"));
        say_wrapped("", &format!("{name}  {from} to {to} {}, {sessions}", clock.name()))?;
        say!("[{}]", project.strip);
        if project.gaps.is_empty() {
            say!("no gaps");
        } else {
            table(&project.gaps, all, clock, list_all)?;
        }
        for request in &project.requests {
            let why = request.why.as_deref().map_or_else(String::new, |why| format!(": {}", printable(why, 120)));
            let (from, to) = (clock.second(request.begins), clock.second(request.ends));
            say_wrapped("", &format!("asked for by hand and not done: {from} to {to}{why}"))?;
        }
    }
    if coverage.projects.is_empty() {
        say!("no stream was recorded here yet");
    } else {
        say!("█ covered  ▒ filled from history  · open  (blank) lost  _ not recording");
    }
    Ok(())
}

/// A row a gap, and below it why it is one: a cause has words, and a column for them has no room.
fn table(gaps: &[GapReport], all: bool, clock: &Clock, list_all: &str) -> Result<(), Failure> {
    let left_out = if all { 0 } else { gaps.len().saturating_sub(LISTED) };
    if left_out > 0 {
        say!("{} older; `{list_all}` lists them", text::counted(left_out as u64, "gap"));
    }
    say!(
        "{:<19}  {:<14}  {:>11}  {:<19}  {:>8}",
        format!("begins ({})", clock.name()).chars().take(19).collect::<String>(),
        "ends",
        "length",
        "state",
        "history"
    );
    for gap in &gaps[left_out..] {
        let begins = clock.second(gap.begins);
        // The day and the year are mostly those of the beginning.
        let ends = gap.ends.map_or_else(|| "lasts".to_owned(), |ends| clock.second(ends));
        let alike = |to: usize| begins.get(..to).and_then(|same| ends.strip_prefix(same)).map(str::to_owned);
        let ends = alike("2026-11-23 ".len()).or_else(|| alike("2026-".len())).unwrap_or(ends);
        let is_unconfirmed = gap.state == crate::query::coverage::GapState::Filled && !gap.confirmed;
        let state = if is_unconfirmed { "filled, unconfirmed" } else { gap.state.name() };
        say!("{begins}  {ends:<14}  {:>11}  {state:<19}  {:>8}", format!("{:.1} s", gap.seconds), text::count(gap.events));
        let why = gap.why.as_deref().map_or_else(String::new, |why| format!("; {}: {}", gap.state.name(), printable(why, 160)));
        say_wrapped("    ", &format!("{}{why}", printable(&gap.cause, 160)))?;
    }
    Ok(())
}

/// Says what is longer than a line of 80 columns in several, each behind an indent; a word that is longer is cut.
fn say_wrapped(indent: &str, text: &str) -> Result<(), Failure> {
    let width = 80 - indent.len();
    if text.chars().count() <= width {
        say!("{indent}{text}");
        return Ok(());
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (number, part) in letters.chunks(width).enumerate() {
            match lines.last_mut() {
                Some(line) if number == 0 && line.chars().count() + 1 + part.len() <= width => {
                    line.push(' ');
                    line.extend(part);
                }
                _ => lines.push(part.iter().collect()),
            }
        }
    }
    for line in lines {
        say!("{indent}{line}");
    }
    Ok(())
}
