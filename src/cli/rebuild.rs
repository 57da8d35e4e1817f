//! `overnight rebuild`: brings day files of an older schema up to today's.

use crate::base::text;
use crate::recorder::rebuild;
use crate::store::buffer::BufferError;
use crate::verify::size;

use super::{Failure, Outcome, Recording, progress};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each day file is replaced at once or not at all; interrupted, the next call goes on where this one was.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    if !layout.buffer().exists() {
        return Err(BufferError::Missing(layout.root().to_owned()).into());
    }
    let registry = args.recording.registry()?;
    let bar = progress::bar(Some(size(&layout)?), true);
    let rebuilt = rebuild(&layout, &registry, |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    args.recording.keep_schemas()?;
    for failed in &rebuilt.failed {
        tell!("not rebuilt: {failed}");
    }
    let files = text::counted(rebuilt.files, "day file");
    tell!("{files} rebuilt, {} had the columns of today already", text::count(rebuilt.current));
    if rebuilt.gone > 0 {
        tell!("{} gone, and off the list of checksums now", text::counted(rebuilt.gone, "sealed day file"));
    }
    Ok(if rebuilt.failed.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}
