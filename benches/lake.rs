//! Many recorders, one table: `cargo bench --features lake --bench lake -- [RECORDERS [SHIPMENTS [SECONDS]]]`.
//!
//! Each recorder is the real one with a recording and threads of its own. It takes events in, rolls them and ships them, SHIPMENTS times, each
//! time anywhere within SECONDS, as recorders do within their hour. The lake is a directory, its commits are synced. At the end each event is
//! looked for in the files that the log speaks of, where it must stand once, and each file in the log.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails loudly, speaks, and reads the clock"
)]

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use overnight::base::time;
use overnight::lake::{LakeError, Passed, Place, Shipper, init};
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::recorder::{Input, Recorder, Timing, import};
use overnight::store::meter::Meter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Events of a shipment.
const EVENTS: usize = 20;

fn main() {
    let mut given = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let (recorders, shipments, seconds) = (given.next().unwrap_or(200), given.next().unwrap_or(6), given.next().unwrap_or(30));
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    init(&Place::make(lake.to_str().unwrap()).unwrap(), time::now()).unwrap();
    let begun = Instant::now();
    let results: Vec<(Passed, u32)> = thread::scope(|scope| {
        let all: Vec<_> = (0..recorders)
            .map(|number| {
                let (lake, dir) = (lake.clone(), folder.path().join(format!("recorder-{number}")));
                scope.spawn(move || recorder(number, &dir, &lake, shipments, Duration::from_secs(seconds.into())))
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    let sum = |of: &dyn Fn(&Passed) -> u64| results.iter().map(|(passed, _)| of(passed)).sum::<u64>();
    let (commits, conflicts) = (sum(&|passed| passed.commits), sum(&|passed| passed.conflicts));
    let later: u32 = results.iter().map(|(_, later)| later).sum();
    let wanted: BTreeSet<String> = (0..recorders)
        .flat_map(|number| (0..shipments).flat_map(move |round| (0..EVENTS).map(move |at| id(number, round, at))))
        .collect();
    let found = rows(&lake.join("touch"));
    let doubled = found.values().filter(|times| **times > 1).count();
    let lost = wanted.iter().filter(|id| !found.contains_key(*id)).count();
    println!("{recorders} recorders, {shipments} shipments each, {:.0} s", took.as_secs_f64());
    println!("{} rows: {lost} lost, {doubled} doubled", wanted.len());
    println!(
        "{commits} commits, {:.1} a second; {conflicts} times somebody else was first, {later} passes left it to the next one",
        commits_a_second(commits, took)
    );
    assert_eq!((lost, doubled, found.len()), (0, 0, wanted.len()));
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn commits_a_second(commits: u64, took: Duration) -> f64 {
    commits as f64 / took.as_secs_f64()
}

fn id(number: u32, round: u32, at: usize) -> String {
    format!("r{number:03}-{round:02}-{at:02}")
}

/// Records and ships; what all passes shipped, and how many left something to the next one.
fn recorder(number: u32, dir: &Path, lake: &Path, shipments: u32, within: Duration) -> (Passed, u32) {
    let layout = Layout::new(dir);
    let registry = Arc::new(Registry::built_in().unwrap());
    let place = Place::open(lake.to_str().unwrap()).unwrap();
    let (mut all, mut later) = (Passed::default(), 0);
    for round in 0..shipments {
        let (wait, begun) = (within.mul_f64(fastrand::f64()), Instant::now());
        thread::sleep(wait);
        let events: String = (0..EVENTS)
            .map(|at| {
                let time = format!("2026-10-{:02}T{round:02}:00:{at:02}.{number:03}Z", 1 + round % 3);
                let id = id(number, round, at);
                format!(r#"{{"eventId":"{id}","targetName":"projects/p/devices/d{number}","eventType":"touch","data":{{"touch":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#) + "\n"
            })
            .collect();
        let opened = Recorder::open(&layout, Arc::clone(&registry), Arc::new(Meter::default()), Timing::default()).unwrap();
        import(&opened, Input::open(events.as_bytes()).unwrap(), Path::new("events"), |_| {}).unwrap();
        opened.close().unwrap();
        loop {
            let mut shipper = Shipper::open(&layout, Arc::clone(&registry), &place, time::now()).unwrap();
            match shipper.pass(time::now(), &AtomicBool::new(false), &mut |_| {}) {
                Ok(passed) => {
                    all.rows += passed.rows;
                    all.commits += passed.commits;
                    all.conflicts += passed.conflicts;
                    break;
                }
                Err(LakeError::Crowded { .. }) => later += 1,
                Err(error) => unreachable!("{error}"),
            }
        }
        thread::sleep(within.saturating_sub(begun.elapsed()));
    }
    (all, later)
}

/// How often each event stands in the files that the log speaks of.
fn rows(table: &Path) -> HashMap<String, u32> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(table.join("_delta_log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            for line in fs::read_to_string(path).unwrap().lines() {
                let action: Value = serde_json::from_str(line).unwrap();
                files.extend(action["add"]["path"].as_str().map(|path| table.join(path)));
            }
        }
    }
    let days = fs::read_dir(table).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("_delta_log"));
    let there: BTreeSet<PathBuf> =
        days.flat_map(|day| fs::read_dir(day).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()).collect();
    assert_eq!(files, there, "each file is in a commit");
    let mut found = HashMap::new();
    for file in files {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            for id in batch.column_by_name("event_id").unwrap().as_string::<i32>() {
                *found.entry(id.unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    found
}
