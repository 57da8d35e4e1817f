//! `overnight end`: says that nobody wants a project to be recorded any more, whose recorder was killed.

use crate::base::time;
use crate::query::coverage::Timeline;
use crate::store::buffer::{Buffer, BufferError, View};

use super::{Failure, Outcome, Recording, each_once};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A recorder that was killed, or died, leaves a wish: that its project is recorded on. So the time since then is missing, and `gaps`,
`status` and `verify` say so, until a recorder runs again, or until this says that it is over. What is missing up to now stays a gap.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Only this project; may be given several times [default: all that nobody records]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    project: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let dead = |now| -> Result<Vec<String>, BufferError> {
        let dead = Timeline::read(&View::open(&layout)?, None, now)?.nobody_records().into_iter().map(|dead| dead.project);
        Ok(dead.collect())
    };
    let named = each_once(&args.project);
    let mut ended = each_once(&dead(time::now())?);
    if let Some(other) = named.iter().find(|name| !ended.contains(name)) {
        return Err(Failure::failed(format!("{other:?} does not wait for a recorder; see `overnight gaps`")));
    }
    ended.retain(|project| named.is_empty() || named.contains(project));
    if ended.is_empty() {
        tell!("nothing to end: no project waits for a recorder");
        return Ok(Outcome::Done);
    }
    let mut buffer = Buffer::open(&layout, time::now())?;
    for project in ended {
        buffer.end_runs(&project, time::now())?;
        tell!("{project}: nobody wants more of it; what is missing up to now stays a gap");
    }
    Ok(Outcome::Done)
}
