//! `overnight gaps`: when the recording was covered, and what is missing.

use crate::buffer::GapState;
use crate::coverage::{Coverage, coverage};
use crate::event::printable;
use crate::time;
use crate::words;

use super::{Failure, Outcome, Recording, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let coverage = coverage(&args.recording.layout(), time::now())?;
    if args.json {
        say!("{}", show::json(&coverage)?);
    } else {
        print(&coverage)?;
    }
    Ok(if coverage.missing > 0 { Outcome::Incomplete } else { Outcome::Done })
}

fn print(coverage: &Coverage) -> Result<(), Failure> {
    let short = |text: &str| text.get(..19).unwrap_or(text).replace('T', " ");
    for project in &coverage.projects {
        say!(
            "{}  {} to {} UTC, {}",
            project.project,
            short(&project.from),
            short(&project.to),
            words::counted(project.sessions as u64, "session")
        );
        say!("[{}]", project.strip);
        if project.gaps.is_empty() {
            say!("no gaps");
            continue;
        }
        let rows = project.gaps.iter().map(|gap| {
            let state = match gap.state {
                GapState::Open => "open",
                GapState::Filling => "filling",
                GapState::Filled => "filled",
                GapState::Lost => "lost",
            };
            let begins = short(&gap.begins);
            // The day and the year are mostly those of the beginning, and room is for the cause.
            let ends = gap.ends.as_deref().map_or_else(|| "lasts".to_owned(), short);
            let alike = |to: usize| begins.get(..to).and_then(|same| ends.strip_prefix(same)).map(str::to_owned);
            let ends = alike("2026-11-23 ".len()).or_else(|| alike("2026-".len())).unwrap_or(ends);
            let why = gap.why.as_deref().map_or_else(String::new, |why| format!("; {state}: {}", printable(why, 120)));
            vec![
                begins,
                ends,
                format!("{:.1} s", gap.seconds),
                state.to_owned(),
                words::count(gap.events),
                format!("{}{why}", printable(&gap.cause, 80)),
            ]
        });
        say!(
            "{}",
            show::table(&["begins (UTC)", "ends (UTC)", "length", "state", "history", "cause"], &[2, 4], &[5], rows.collect())
        );
    }
    if coverage.projects.is_empty() {
        say!("no stream was recorded here yet");
    } else {
        say!("█ covered  ▒ filled from history  · open  (blank) lost  _ not recording");
    }
    Ok(())
}
