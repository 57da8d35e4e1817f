//! What each stage costs, in CPU time of one thread: bytes to columns, columns to the buffer, buffer to day files, day
//! files to CSV and NDJSON. `cargo bench --bench stages [-- FILE.ndjson]`; without a file, 300,000 events are made up.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "a benchmark prints and gives up"
)]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use overnight::base::time;
use overnight::model::decode::Collector;
use overnight::model::event::Source;
use overnight::model::framing::Lines;
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::output::export::{Format, Output, Settings, export};
use overnight::query::reader::{Reader, Selection};
use overnight::query::tables::{Ask, tables};
use overnight::store::buffer::Buffer;
use overnight::store::devices::Directory;
use overnight::store::roll::{Policy, Roller, Scope, Work, recover};
use overnight::store::writer::{Claim, Command, Writer};

/// Events in one commit, as the recorder has it.
const COMMIT: usize = 5000;

/// CPU seconds of this process so far, user and system.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// Measures one stage and prints it; gives back what the stage gave.
fn stage<T>(name: &str, events: usize, run: impl FnOnce() -> T) -> T {
    let (cpu_before, before) = (cpu(), stopwatch());
    let result = run();
    let (cpu, wall) = (cpu() - cpu_before, before.elapsed().as_secs_f64());
    println!("{name:<34} {:6.2} us of CPU an event   {:6.2} us of time", cpu / events as f64 * 1e6, wall / events as f64 * 1e6);
    result
}

fn stopwatch() -> Instant {
    time::instant()
}

/// Temperatures and network states of 500 devices over two days.
fn made_up(events: usize) -> String {
    let mut text = String::new();
    let begin = time::Day::parse("2026-10-01").unwrap().start();
    for at in 0..events {
        let time = time::rfc3339(begin + at as i64 * 2 * time::DAY / events as i64);
        let (id, device) = (format!("c{at:019}"), format!("b{:019}", at * 7 % 500));
        let value = 20.0 + (at * 13 % 97) as f64 / 20.0;
        let data = if at % 3 == 0 {
            format!(
                r#"{{"networkStatus":{{"signalStrength":{s},"rssi":-{s},"updateTime":"{time}","cloudConnectors":[{{"id":"b0000000000000000{s}","signalStrength":{s},"rssi":-{s}}}],"transmissionMode":"LOW_POWER_STANDARD_MODE"}}}}"#,
                s = 40 + at % 50
            )
        } else {
            format!(
                r#"{{"temperature":{{"value":{value},"updateTime":"{time}","samples":[{{"value":{value},"sampleTime":"{time}"}}],"isBackfilled":false}}}}"#
            )
        };
        let name = if at % 3 == 0 { "networkStatus" } else { "temperature" };
        writeln!(text, r#"{{"result":{{"event":{{"eventId":"{id}","targetName":"projects/p/devices/{device}","eventType":"{name}","data":{data},"timestamp":"{time}"}}}}}}"#).unwrap();
    }
    text
}

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let text = file.map_or_else(|| made_up(300_000).into_bytes(), |path| std::fs::read(path).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(&folder.path().join("recording"));
    let registry = Arc::new(Registry::built_in().unwrap());
    let mut buffer = Buffer::open(&layout, overnight::base::time::now()).unwrap();
    let recovered = recover(&mut buffer, &layout, overnight::base::time::now()).unwrap();

    let events = memchr::memchr_iter(b'\n', &text).count();
    println!("{events} events of {:.0} bytes", text.len() as f64 / events as f64);
    let mut collector = Collector::new(Arc::clone(&registry), Source::Stream);
    let batches = stage("bytes to columns", events, || {
        let (mut lines, mut batches) = (Lines::default(), Vec::new());
        for piece in text.chunks(64 * 1024) {
            lines.feed(piece, &mut |frame| drop(collector.add(&frame, 1)));
            if collector.len() >= COMMIT {
                batches.push(collector.take().unwrap());
            }
        }
        batches.push(collector.take().unwrap());
        batches
    });
    drop(text);
    let mut writer = Writer::new(buffer);
    stage("columns to the buffer, FULL", events, || {
        for batch in batches {
            writer.step(&Command::Keep(batch, Claim::Nothing), time::now()).unwrap();
        }
    });
    let bytes = std::fs::metadata(layout.buffer()).unwrap().len();
    println!("{:<34} {:6.1} bytes an event", "  the buffer", bytes as f64 / events as f64);
    let mut roller = Roller::new(&layout, Arc::clone(&registry), recovered.unsealed, recovered.unlisted).unwrap();
    stage("buffer to sealed day files", events, || {
        let policy = Policy::default();
        for work in roller.due(&policy, i64::MAX / 2, Scope::All).unwrap() {
            let Work::Roll(partition) = work else { continue };
            while let Some(rolled) = roller.roll(&partition, &policy, i64::MAX / 2).unwrap() {
                writer.step(&Command::Forget(vec![(partition.clone(), rolled.seq)]), 0).unwrap();
                if !rolled.more {
                    break;
                }
            }
        }
    });
    println!("{:<34} {:6.1} bytes an event", "  the day files", size(&layout.data()) as f64 / events as f64);
    let reader = Reader::open(&layout, registry).unwrap();
    let selection = Selection::default();
    let plans = reader.plan(&selection).unwrap();
    let people = Directory::default();
    for (name, format, directory) in [
        ("day files to CSV, a file a type", Format::Csv, "csv"),
        ("day files to NDJSON, a file a type", Format::Ndjson, "ndjson"),
        ("day files to Parquet, a file a type", Format::Parquet, "parquet"),
    ] {
        let settings = Settings::new(format, Output::Directory(folder.path().join(directory)));
        let all = tables(&reader, &plans, &selection, &people, &Ask::default()).unwrap();
        stage(name, events, || export(&reader, all, &settings, |_| {}).unwrap());
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}
