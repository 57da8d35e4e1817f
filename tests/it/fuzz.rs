//! Bad input, many of it, in every test run: the targets of `tests/fuzz/targets.rs` on mutations of their corpus. The same
//! ones each time; `FUZZ_SEED` takes others, `FUZZ_INPUTS` more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::corpus::{TOKENS, corpus};
use crate::targets::TARGETS;

/// Inputs of a target, unless one of them takes long.
const INPUTS: u64 = 10_000;
/// Longest input.
const LONGEST: usize = 8 * 1024;
/// No input may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs a target on its corpus, and then on so many mutations of it.
fn run(name: &str, inputs: u64) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).expect("no such target").1;
    let seed = variable("FUZZ_SEED").unwrap_or(1);
    let inputs = variable("FUZZ_INPUTS").unwrap_or(inputs);
    let corpus = corpus(name);
    let before = settled_peak();
    for number in 0..inputs + corpus.len() as u64 {
        let input = match corpus.get(usize::try_from(number).unwrap()) {
            Some(as_it_is) => as_it_is.clone(),
            None => mutated(&corpus, &mut Rng::with_seed(seed ^ number << 20)),
        };
        let begun = Instant::now();
        let held = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let (took, shown) = (begun.elapsed(), input[..input.len().min(4096)].escape_ascii());
        assert!(held.is_ok(), "{name} fails with FUZZ_SEED={seed}, input {number}: {shown}");
        assert!(took < PATIENCE, "{name} takes {took:?} with FUZZ_SEED={seed}, input {number}: {shown}");
    }
    let grown = memory_peak().saturating_sub(before);
    assert!(grown < 256 * 1024, "{name} needs {grown} KiB with FUZZ_SEED={seed}");
}

/// The same before the target runs. A panic that is caught reads the symbols of the whole program once, where it is to say where it was: that
/// is not the target's need.
fn settled_peak() -> u64 {
    drop(catch_unwind(|| panic!("as damage may, and is caught")));
    // From here on, where the system can forget what was before.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    memory_peak()
}

/// The most memory that this process ever had, in KiB; 0 where the system does not tell.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(corpus).unwrap().clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=input.len());
        let longest = 1 << random.usize(0..10);
        let end = (at + random.usize(0..=longest)).min(input.len());
        match random.usize(0..12) {
            0 | 1 if at < input.len() => input[at] ^= 1 << random.usize(0..8),
            2 if at < input.len() => input[at] = random.u8(..),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].repeat(random.usize(2..=40));
                input.splice(at..end, piece);
            }
            5 => {
                let other = random.choice(corpus).unwrap();
                let from = random.usize(0..=other.len());
                let to = (from + 1 + random.usize(0..200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            6 => input.truncate(at),
            7 => {
                // The same value deeper.
                let deep = random.usize(1..200);
                let (open, close) = if random.bool() { ("[", "]") } else { ("{\"a\":", "}") };
                if let Some((from, to)) = value(&input, at) {
                    let nested = [open.repeat(deep).as_bytes(), &input[from..to], close.repeat(deep).as_bytes()].concat();
                    input.splice(from..to, nested);
                }
            }
            8 | 9 => {
                // Another value in its place.
                if let Some((from, to)) = value(&input, at) {
                    let token = random.choice(TOKENS).unwrap();
                    let token = if random.bool() { (*token).to_owned() } else { format!("\"{token}\"") };
                    input.splice(from..to, token.into_bytes());
                }
            }
            _ => {
                input.splice(at..at, random.choice(TOKENS).unwrap().bytes());
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// Something like a JSON value behind a place: from behind a colon to before what ends it.
fn value(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at + input.get(at..)?.iter().position(|byte| *byte == b':')? + 1;
    let length = input[from..].iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(input.len() - from);
    Some((from, from + length))
}

macro_rules! rules {
    ($($rule:ident: $target:literal, $inputs:expr;)*) => {
        $(#[test] fn $rule() { run($target, $inputs); })*

        #[test]
        fn every_target_runs_here() {
            assert_eq!([$($target),*], TARGETS.map(|(name, _)| name));
        }
    };
}

rules! {
    json_lines_are_the_same_on_every_split: "json_lines", INPUTS;
    server_sent_events_are_the_same_on_every_split: "server_sent_events", INPUTS;
    a_line_is_an_event_that_comes_back_or_a_fault_with_its_bytes: "event", INPUTS;
    an_input_is_read_or_refused_by_name_and_never_behind_an_event: "input", INPUTS;
    a_schema_file_is_refused_by_name_or_can_be_collected_along: "schema_file", INPUTS;
    a_push_is_believed_only_when_its_bytes_are_signed: "push", INPUTS;
    signed_claims_are_read_whatever_they_say: "signature", INPUTS;
    a_damaged_day_file_is_an_error_that_names_it: "day_file", INPUTS / 4;
    settings_read_back_as_they_were_and_quote_no_secret: "settings", INPUTS;
    an_event_type_is_never_a_path_nor_anothers_folder: "names", INPUTS;
}

/// For `tests/fuzz/nightly`: writes the corpus into the folder that `FUZZ_CORPUS` names.
#[test]
#[ignore = "writes files; tests/fuzz/nightly calls it"]
fn write_the_corpus() {
    let Ok(folder) = std::env::var("FUZZ_CORPUS") else { return };
    for (name, _) in TARGETS {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, input) in corpus(name).iter().enumerate() {
            std::fs::write(folder.join(format!("{number:02}")), input).unwrap();
        }
    }
}
