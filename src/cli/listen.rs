//! `overnight listen`: receives what the cloud's Data Connectors push.

use std::net::SocketAddr;

use crate::model::settings::File;
use crate::recorder::Sources;

use super::metering::Metering;
use super::receiver::Listening;
use super::record::{HowLong, record};
use super::{Failure, Outcome, Recording};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every push is answered 200 once it is kept; everything else makes the cloud push it again. GET /healthz says that the
receiver is alive, GET /readyz that it can keep events. src/docs/pushes.md shows what to enter in the cloud's console.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8801")]
    addr: SocketAddr,
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    timing: HowLong,
    #[command(flatten)]
    metering: Metering,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let file = File::read(&args.recording.layout().settings())?;
    let receiver = args.listening.receiver(args.addr)?;
    args.metering.refuse_idle_token(&file, None)?;
    let metrics = args.metering.endpoint(&file, args.listening.certificate())?;
    // A receiver takes SIGHUP for a wish to read its keys anew.
    record(&args.recording, &args.timing, &file, false, move |_| {
        let receiver = Some(receiver()?);
        let metrics = metrics.map(|metrics| metrics()).transpose()?;
        Ok(Sources { receiver, metrics, ..Sources::default() })
    })
}
