//! `overnight import`: events from a file or standard input into a recording.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::plain;
use crate::base::text;
use crate::recorder::{self, Recorder, Timing};
use crate::store::meter::Meter;

use super::{Failure, Outcome, Recording, progress};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// NDJSON or Server-Sent Events, a stream's or bare ones, also in gzip, zstd or UTF-16; `-` is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let (input, length): (Box<dyn Read>, Option<u64>) = if args.file == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let fail = |error: io::Error| Failure::failed(format!("cannot read {}: {}", args.file.display(), plain(&error)));
        let file = File::open(&args.file).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{} is a directory; give a file", args.file.display())));
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let name = if args.file == Path::new("-") { Path::new("standard input") } else { &args.file };
    let input = recorder::Input::open(input).map_err(|why| Failure::failed(format!("{}: {why}", name.display())))?;
    let layout = args.recording.layout();
    let meter = Arc::new(Meter::default());
    let recorder = Recorder::open(&layout, args.recording.registry()?, Arc::clone(&meter), Timing::default())?;
    args.recording.warn_of_place();
    args.recording.keep_schemas()?;
    let size = length.map_or_else(String::new, |length| format!(" ({})", text::bytes(length)));
    tell!(
        "imports {}{size} into {}, to its end; what is there already is not taken twice",
        name.display(),
        layout.root().display()
    );
    let bar = progress::bar(length, true);
    let imported = recorder::import(&recorder, input, name, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    recorder.close()?;
    let imported = imported?;
    for (_, note) in meter.take_notes() {
        tell!("{note}");
    }
    let new = Meter::get(&meter.rolled);
    tell!(
        "imported {}: {} new, {} known already, into {}",
        text::counted(imported.events, "event"),
        text::count(new),
        text::count(Meter::get(&meter.doubles)),
        layout.root().display()
    );
    tell!("next: `{} status --dir {}` tells what is there", super::program(), super::shell(layout.root()));
    if imported.faults > 0 {
        tell!(
            "{} no event; kept raw, see `{} status --dir {}`",
            match imported.faults {
                1 => "1 line was".to_owned(),
                lines => format!("{} lines were", text::count(lines)),
            },
            super::program(),
            super::shell(layout.root())
        );
        return Ok(Outcome::Incomplete);
    }
    // What had to be set aside was told above.
    Ok(if Meter::get(&meter.roll_errors) > 0 { Outcome::Incomplete } else { Outcome::Done })
}
