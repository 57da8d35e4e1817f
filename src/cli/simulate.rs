//! `overnight simulate`: the cloud, at home.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::simulate::{Options, serve};

use super::{Failure, Outcome, duration, program, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8800")]
    addr: SocketAddr,
    /// Number of devices
    #[arg(long, value_name = "N", default_value_t = 40)]
    devices: usize,
    /// Events a second over the whole project [default: what the sensors do by themselves]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Simulated seconds a second; 1440 makes a day a minute
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// Same seed, same devices and events
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How far back history reaches at the start
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration)]
    history: Duration,
    /// Stream the events of an NDJSON file instead of made-up ones
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Every stream ends after this time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    session_life: Duration,
    /// History shows an event only this long after it happened
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    index_delay: Duration,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) || !args.speed.is_finite() || args.speed <= 0.0 {
        return Err(Failure::usage("--rate and --speed are numbers above 0"));
    }
    let options = Options {
        devices: args.devices,
        rate: args.rate,
        speed: args.speed,
        seed: args.seed,
        history: args.history,
        replay: args.replay.clone(),
        session_life: args.session_life,
        index_delay: args.index_delay,
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let listener = TcpListener::bind(args.addr)
            .await
            .map_err(|error| Failure::failed(format!("cannot listen on {}: {error}; give another --addr", args.addr)))?;
        let address = listener.local_addr()?;
        say!("listening on http://{address}");
        // Who started it may have read what it wanted to know and closed the pipe; the server goes on.
        credentials(&options, address)
            .or_else(|failure| if matches!(failure, Failure::EndOfOutput) { Ok(()) } else { Err(failure) })?;
        eprintln!("With these lines in another shell, `{} record` records. Ctrl-C ends.", program());
        Ok::<_, Failure>(serve(listener, options, super::record::signal()).await?)
    })?;
    eprintln!("published {}", show::counted(report.published, "event"));
    Ok(Outcome::Done)
}

/// What a recorder needs to know, as lines to paste.
fn credentials(options: &Options, address: SocketAddr) -> Result<(), Failure> {
    say!("export DT_API_URL=http://{address} DT_PROJECT_ID={}", options.project);
    say!("export DT_SERVICE_ACCOUNT_KEY_ID={} DT_SERVICE_ACCOUNT_SECRET={}", options.key, options.secret);
    say!("export DT_SERVICE_ACCOUNT_EMAIL={}    # without it: Basic auth", options.email);
    Ok(())
}
