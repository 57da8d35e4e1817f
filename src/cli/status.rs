//! `overnight status`: what a recording holds and how its recorder is doing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::text::{self, printable};
use crate::base::time::{self, Utc};
use crate::query::status::{LakeStatus, Status, status};

use super::clock::{Clock, Tz};
use super::{Failure, Outcome, Recording, duration, screen, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
    /// Exit with 3 when the last sign of life of a project that is to be recorded is older than this, or there is none
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_age: Option<Duration>,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let status = status(&args.recording.layout(), time::now())?;
    if args.json {
        say!("{}", show::json(&status)?);
    } else {
        print(&status, &args.tz.stdout())?;
    }
    // A recorder that waits for room misses what comes, and cannot even note it yet.
    let waits = status.disk_full && status.recording;
    let is_dead = !status.nobody_records.is_empty();
    let incomplete = waits || status.faults > 0 || status.gaps > 0 || !status.unreadable.is_empty() || is_dead;
    let incomplete = incomplete || args.max_age.is_some_and(|most| status.is_older_than(most.as_secs_f64()));
    Ok(if incomplete { Outcome::Incomplete } else { Outcome::Done })
}

/// Days with odd times that are listed for people.
const ODD_TIMES: usize = 10;

/// How far it is shipped: lines with their names.
fn said_of_lake(lake: &LakeStatus, clock: &Clock) -> Vec<(&'static str, String)> {
    let whole = lake.shipped_at.map_or_else(|| "never whole".to_owned(), |at| format!("whole at {}", clock.second(at)));
    let behind = match lake.behind_rows {
        0 => String::new(),
        rows => format!(", {} behind", text::counted(rows, "row")),
    };
    let first = ("lake", format!("{}: {whole}{behind}", printable(&lake.url, 200)));
    std::iter::once(first).chain(lake.problem.as_ref().map(|problem| ("", printable(problem, 400)))).collect()
}

fn print(status: &Status, clock: &Clock) -> Result<(), Failure> {
    let recorder = match (status.recording, status.connected_since) {
        (true, Some(since)) => format!("recording, connected since {}", clock.second(since)),
        (true, None) => "running, not connected".to_owned(),
        (false, _) => "not running".to_owned(),
    };
    let (width, height) = screen::size();
    let columns = width.unwrap_or(usize::MAX);
    let head = std::cell::Cell::new(0);
    let entry = |name: &str, value: &str| {
        let text = screen::entry(name, value, columns);
        head.set(head.get() + text.lines().count());
        text
    };
    say!("{}", entry("recording", &status.dir));
    say!("{}", entry("times", clock.name()));
    say!("{}", entry("recorder", &recorder));
    for dead in &status.nobody_records {
        say!("{}", entry("MISSING", &printable(&dead.said(|time| clock.second(time)), 400)));
    }
    if let (Some(at), Some(age)) = (status.last_sign_of_life_at, status.last_sign_of_life_age) {
        say!(
            "{}",
            entry(
                "alive",
                &format!("last sign of life {}, {} ago", clock.second(at), show::length(Duration::from_secs_f64(age)))
            )
        );
    }
    if status.disk_full {
        let free = status.disk_free.map_or_else(String::new, |free| format!(", {} are left", text::bytes(free)));
        say!("{}", entry("disk", &format!("FULL{free}: nothing is kept or rolled until there is room")));
    }
    if let (Some(free), Some(lasts), false) = (status.disk_free, status.disk_lasts(), status.disk_full) {
        say!("{}", entry("disk", &format!("{} free, {lasts}", text::bytes(free))));
    }
    say!(
        "{}",
        entry("events", &format!("{}, {} of them in the buffer", text::count(status.events), text::count(status.buffered)))
    );
    say!(
        "{}",
        entry("on disk", &format!("day files {}, buffer {}", text::bytes(status.bytes), text::bytes(status.buffer_bytes)))
    );
    if let Some(before) = status.pruned_before {
        say!("{}", entry("pruned", &format!("what was before {}", clock.second(before))));
    }
    if let Some(written) = &status.written {
        say!("{}", entry("written", &format!("{} by the last recorder", written.said())));
    }
    if let Some(backup) = &status.last_backup {
        let ago = show::ago(backup.at.into(), time::now());
        say!("{}", entry("backup", &format!("{}, {ago}, in {}", clock.second(backup.at), printable(&backup.to, 200))));
    }
    for (name, value) in status.lake.iter().flat_map(|lake| said_of_lake(lake, clock)) {
        say!("{}", entry(name, &value));
    }
    say!("{}", entry("last event", &status.last_event_at.map_or_else(|| "none yet".to_owned(), |at| clock.second(at))));
    if !status.partitions.is_empty() {
        // The head stays on the screen, and below the table stand a few lines and the prompt.
        let most = height.map_or(usize::MAX, |height| height.saturating_sub(head.get() + 6).max(3));
        say!("\n{}", partitions(status, clock, most));
    }
    if status.faults > 0 {
        say!("\n{} kept raw; the newest by reason:", text::counted(status.faults, "fault"));
        for fault in &status.fault_reasons {
            say!("  {} x {} (last {}): {}", text::count(fault.count), fault.reason, clock.second(fault.last_at), fault.example);
        }
    }
    if !status.misfits.is_empty() {
        say!("\nvalues that did not fit their columns, where they are empty; the events are kept whole, in `raw`:");
        for misfit in &status.misfits {
            let column = printable(&format!("{}.{}", misfit.event_type, misfit.column), 80);
            let last_at = clock.second(misfit.last_at);
            say!("  {column}: {}, the last at {last_at}: {}", text::counted(misfit.events, "event"), misfit.example);
        }
    }
    if !status.odd_times.is_empty() {
        let events = status.odd_times.iter().map(|odd| odd.events).sum();
        say!(
            "\n{} with times that can hardly be right, kept as they are; a clock was wrong (UTC days):",
            text::counted(events, "event")
        );
        for odd in status.odd_times.iter().take(ODD_TIMES) {
            say!("  {} on {}: {}", printable(&odd.event_type, 80), odd.day, text::count(odd.events));
        }
        if status.odd_times.len() > ODD_TIMES {
            say!("  and {}; `--json` lists them all", text::counted((status.odd_times.len() - ODD_TIMES) as u64, "further day"));
        }
    }
    if status.gaps > 0 {
        say!("\n{} not filled; see `overnight gaps`", text::counted(status.gaps as u64, "gap"));
    }
    for file in &status.unreadable {
        say!("\nunreadable: {}; `overnight verify` says what to do", printable(file, 400));
    }
    Ok(())
}

/// A line an event type, with how many UTC days it has: each of them, and its times, stand in `--json`.
fn partitions(status: &Status, clock: &Clock, most: usize) -> String {
    let mut types: BTreeMap<&str, (u64, u64, u64, u64, Utc, Utc)> = BTreeMap::new();
    for part in &status.partitions {
        let sum = types.entry(&part.event_type).or_insert((0, 0, 0, 0, part.first, part.last));
        sum.0 += 1;
        sum.1 += part.rows;
        sum.2 += part.buffered;
        sum.3 += part.bytes;
        sum.4 = sum.4.min(part.first);
        sum.5 = sum.5.max(part.last);
    }
    let left_out = types.len().saturating_sub(most);
    if left_out > 0 {
        let mut events: Vec<u64> = types.values().map(|sum| sum.1).collect();
        events.sort_unstable_by(|a, b| b.cmp(a));
        let least = events[most - 1];
        types.retain(|_, sum| sum.1 >= least);
    }
    let rows = types.into_iter().take(most).map(|(name, (days, rows, buffered, bytes, first, last))| {
        vec![
            printable(name, 40),
            text::count(days),
            text::count(rows),
            text::count(buffered),
            text::bytes(bytes),
            clock.day(first),
            clock.day(last),
        ]
    });
    let header = ["type", "days", "events", "in buffer", "day files", "first day", "last day"];
    let table = show::shrinking(&header, &[1, 2, 3, 4], &[0], &[3, 5, 1, 4], rows.collect());
    match left_out {
        0 => table,
        more => {
            let more = format!("and {} with fewer events; `--json` lists them all", text::counted(more as u64, "further type"));
            format!("{table}\n{}", screen::wrapped(&more, 0, screen::size().0.unwrap_or(usize::MAX)).join("\n"))
        }
    }
}
