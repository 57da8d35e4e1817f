//! `overnight merge`: several recordings become one.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::text::{self, printable};
use crate::model::layout::Layout;
use crate::recorder::{merge, take_schemas};
use crate::store::buffer::{BufferError, View};
use crate::store::meter::Meter;

use super::{Failure, Outcome, Recording, program, progress, shell};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events keep how and when they came, devices their names, and each event stands once however many have it. A gap of one recording that another
has heard, asking for at least as much, is filled. The same merge again adds nothing, and so goes on where it was interrupted.
FROM is only read, also beside its recorder or from a backup; nobody may record into INTO meanwhile.")]
pub(super) struct Args {
    /// Recordings to take from
    #[arg(required = true, value_name = "FROM")]
    from: Vec<PathBuf>,
    /// The recording that they go into; a new one where there is none
    #[arg(long, value_name = "INTO")]
    dir: PathBuf,
    /// Folder of further schema files (TOML, one an event type), which are copied into INTO
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let into = Recording { dir: args.dir.clone(), schemas: args.schemas.clone() };
    let layout = into.layout();
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    for from in &args.from {
        if real(from) == real(&args.dir) {
            return Err(Failure::usage(format!("{} cannot be merged into itself", from.display())));
        }
        // All of them, before anything is made.
        match View::open(&Layout::new(from)) {
            Ok(_) => {}
            Err(error @ BufferError::Missing(_)) => return Err(Failure::usage(error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    let mut registry = into.registry()?.as_ref().clone();
    for from in &args.from {
        take_schemas(&Layout::new(from), &layout, &mut registry)?;
    }
    let (registry, meter) = (Arc::new(registry), Arc::new(Meter::default()));
    let mut outcome = Outcome::Done;
    for from in &args.from {
        let bar = progress::bar(Some(0), false);
        let merged = merge(&Layout::new(from), &layout, &registry, &meter, |read, of| {
            bar.set_length(of);
            bar.set_position(read);
        });
        bar.finish_and_clear();
        let merged = merged?;
        for (_, note) in meter.take_notes() {
            tell!("{note}");
        }
        let same = match merged.same {
            0 => String::new(),
            same => format!(", {} the same already", text::counted(same, "day file")),
        };
        let filled = match merged.filled {
            0 => String::new(),
            spans => format!(", {} of gaps filled", text::counted(spans, "span")),
        };
        tell!("{}: {} read, {} new{same}{filled}", from.display(), text::counted(merged.read, "event"), text::count(merged.new));
        for what in &merged.left_out {
            warn!("left out: {}", printable(what, 400));
        }
        if !merged.left_out.is_empty() {
            warn!(
                "{} does not read whole, so what it says of its time was not taken: run `{} roll` on it, or on a copy, and merge again",
                from.display(),
                program()
            );
            outcome = Outcome::Incomplete;
        }
    }
    into.keep_schemas()?;
    tell!("next: `{} gaps --dir {}` tells what is missing", program(), shell(layout.root()));
    Ok(if Meter::get(&meter.roll_errors) > 0 { Outcome::Incomplete } else { outcome })
}
