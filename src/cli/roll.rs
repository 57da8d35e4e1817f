//! `overnight roll`: moves everything from the buffer into day files, by hand, and mends day files that are not what they were.

use std::sync::Arc;

use crate::base::text;
use crate::recorder::{Recorder, Timing};
use crate::store::meter::Meter;

use super::{Failure, Outcome, Recording};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    if !layout.buffer().exists() {
        return Err(crate::store::buffer::BufferError::Missing(layout.root().to_owned()).into());
    }
    let meter = Arc::new(Meter::default());
    // Closing rolls all there is.
    let timing = Timing { checks_sealed: true, ..Timing::default() };
    Recorder::open(&layout, args.recording.registry()?, Arc::clone(&meter), timing)?.close()?;
    for (_, note) in meter.take_notes() {
        tell!("{note}");
    }
    tell!(
        "rolled {} into day files, {} were in them already",
        text::counted(Meter::get(&meter.rolled), "event"),
        text::count(Meter::get(&meter.doubles))
    );
    // What had to be set aside was told above.
    Ok(if Meter::get(&meter.roll_errors) > 0 { Outcome::Incomplete } else { Outcome::Done })
}
