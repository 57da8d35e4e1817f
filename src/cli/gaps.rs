//! `overnight gaps`: when the recording was covered, and what is missing.

use crate::base::text::{self, printable};
use crate::base::time;
use crate::query::coverage::{Coverage, GapReport, coverage};

use super::clock::{Clock, Tz};
use super::{Failure, Outcome, Recording, program, screen, shell, show};

/// Gaps that are listed where nobody asks for all: the latest.
const LISTED: usize = 200;
/// Columns of a row of the table; where there are fewer, a gap is told in lines.
const TABLE: usize = 79;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs: all gaps, times in UTC
    #[arg(long)]
    json: bool,
    /// List all gaps, not the latest 200 of each project, or on a terminal those that it has room for
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
    let (width, height) = screen::size();
    let width = width.unwrap_or(screen::USUAL);
    // The head stays on the screen: a gap takes two lines or three, a project about five without its gaps, and the prompt one.
    let each = if width < TABLE { 3 } else { 2 };
    let projects = coverage.projects.len().max(1);
    let room =
        height.map(|height| (height.saturating_sub(3 + coverage.nobody_records.len()) / projects).saturating_sub(5) / each);
    let most = room.map_or(LISTED, |room| room.clamp(2, LISTED));
    let most = if all { usize::MAX } else { most };
    for dead in &coverage.nobody_records {
        say_wrapped("", &printable(&dead.said(|time| clock.second(time)), 400), width)?;
    }
    if let Some(before) = coverage.pruned_before {
        say_wrapped("", &format!("pruned: what was before {} {}", clock.second(before), clock.name()), width)?;
    }
    for project in &coverage.projects {
        let (from, to) = (clock.second(project.from), clock.second(project.to));
        let (name, sessions) = (printable(&project.project, 80), text::counted(project.sessions, "session"));
        say_wrapped("", &format!("{name}  {from} to {to} {}, {sessions}", clock.name()), width)?;
        say!("[{}]", narrow(&project.strip, width.saturating_sub(2)));
        if project.gaps.is_empty() {
            say!("no gaps");
        } else {
            table(&project.gaps, most, clock, width, list_all)?;
        }
        for request in &project.requests {
            let why = request.why.as_deref().map_or_else(String::new, |why| format!(": {}", printable(why, 120)));
            let (from, to) = (clock.second(request.begins), clock.second(request.ends));
            say_wrapped("", &format!("asked for by hand and not done: {from} to {to}{why}"), width)?;
        }
    }
    if coverage.projects.is_empty() {
        say!("no stream was recorded here yet");
    } else {
        let key = ["█ covered", "▒ filled from history", "· open", "(blank) lost", "_ not recording"];
        for line in screen::side_by_side(&key, width) {
            say!("{line}");
        }
    }
    Ok(())
}

/// A row a gap, and below it why it is one: a cause has words, and a column for them has no room.
fn table(gaps: &[GapReport], most: usize, clock: &Clock, width: usize, list_all: &str) -> Result<(), Failure> {
    let left_out = gaps.len().saturating_sub(most);
    if left_out > 0 {
        say_wrapped("", &format!("{} older; `{list_all}` lists them", text::counted(left_out as u64, "gap")), width)?;
    }
    if width >= TABLE {
        let begins = format!("begins ({})", clock.name()).chars().take(19).collect::<String>();
        say!("{begins:<19}  {:<14}  {:>11}  {:<19}  {:>8}", "ends", "length", "state", "history");
    }
    for gap in &gaps[left_out..] {
        let begins = clock.second(gap.begins);
        // The day and the year are mostly those of the beginning.
        let ends = gap.ends.map_or_else(|| "lasts".to_owned(), |ends| clock.second(ends));
        let alike = |to: usize| begins.get(..to).and_then(|same| ends.strip_prefix(same)).map(str::to_owned);
        let ends = alike("2026-11-23 ".len()).or_else(|| alike("2026-".len())).unwrap_or(ends);
        let is_unconfirmed = gap.state == crate::query::coverage::GapState::Filled && !gap.confirmed;
        let state = if is_unconfirmed { "filled, unconfirmed" } else { gap.state.name() };
        let length = format!("{:.1} s", gap.seconds);
        if width >= TABLE {
            say!("{begins}  {ends:<14}  {length:>11}  {state:<19}  {:>8}", text::count(gap.events));
        } else {
            say_wrapped("", &format!("{begins} to {ends}"), width)?;
            say_wrapped("    ", &format!("{length}, {state}, {} from history", text::count(gap.events)), width)?;
        }
        let why = gap.why.as_deref().map_or_else(String::new, |why| format!("; {}: {}", gap.state.name(), printable(why, 160)));
        say_wrapped("    ", &format!("{}{why}", printable(&gap.cause, 160)), width)?;
    }
    Ok(())
}

/// Says what is longer than a line in several, each behind an indent.
fn say_wrapped(indent: &str, text: &str, width: usize) -> Result<(), Failure> {
    for line in screen::wrapped(text, indent.len(), width) {
        say!("{indent}{line}");
    }
    Ok(())
}

/// The strip in so many characters: of those that become one, the worst.
fn narrow(strip: &str, width: usize) -> String {
    const WORSE: [char; 5] = ['_', '█', '▒', '·', ' '];
    let all: Vec<char> = strip.chars().collect();
    let cells = width.clamp(1, all.len().max(1));
    let part = |cell: usize| &all[cell * all.len() / cells..(cell + 1) * all.len() / cells];
    let worst = |cell| part(cell).iter().max_by_key(|look| WORSE.iter().position(|known| known == *look));
    (0..cells).filter_map(worst).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_strip_hides_no_gap() {
        assert_eq!(narrow("██████ ██·█▒█__", 5), "██ ·█");
        assert_eq!(narrow("██·█", 80), "██·█");
    }
}
