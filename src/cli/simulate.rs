//! `overnight simulate`: the cloud, at home.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;

use crate::base::text;
use crate::model::settings::Secret;
use crate::simulate::{Habits, Options, Push, Pushes, Report, Spell, serve};

use super::receiver::SECRET;
use super::{Failure, Outcome, duration, program};

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
    /// An access token is good for this time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    token_life: Duration,
    #[command(flatten, next_help_heading = "A Data Connector, beside the streams")]
    connector: Connector,
    #[command(flatten, next_help_heading = "The cloud's bad habits, all off by default")]
    habits: BadHabits,
    /// History shows an event only this long after it happened
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    index_delay: Duration,
}

#[derive(Debug, clap::Args)]
struct Connector {
    /// Push every event to this address as well, one a request
    #[arg(long, value_name = "URL")]
    push: Option<String>,
    /// File with the secret that signs the pushes [default: the secret in DT_SIGNATURE_SECRET]
    #[arg(long, value_name = "FILE", requires = "push")]
    secret_file: Option<PathBuf>,
    /// Pushes at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000), requires = "push")]
    parallel: u16,
    /// Certificates (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE", requires = "push")]
    ca_file: Option<PathBuf>,
}

impl Connector {
    fn push(&self) -> Result<Option<Push>, Failure> {
        let Some(url) = &self.push else { return Ok(None) };
        let secret = self.secret()?;
        let (parallel, certificates) = (usize::from(self.parallel), self.ca_file.clone());
        Ok(Some(Push { parallel, certificates, ..Push::new(url, secret) }))
    }

    /// The secret that signs, as a receiver reads it.
    fn secret(&self) -> Result<Option<String>, Failure> {
        let (text, from) = match (&self.secret_file, std::env::var(SECRET).ok().filter(|secret| !secret.is_empty())) {
            (Some(path), _) => {
                let fail = |error| Failure::failed(format!("cannot read the secret in {}: {error}", path.display()));
                (std::fs::read_to_string(path).map_err(fail)?, path.display().to_string())
            }
            (None, Some(text)) => (text, SECRET.to_owned()),
            (None, None) => return Ok(None),
        };
        let secret = Secret::shared(&text).map_err(|why| Failure::failed(format!("{from}: {why}")))?;
        Ok(Some(secret.reveal().to_owned()))
    }
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
struct BadHabits {
    /// A stream ends when its token dies
    #[arg(long)]
    token_kills_stream: bool,
    /// Streams are cut about this often, half of the time in the middle of a line or chunk
    #[arg(long, value_name = "TIME", value_parser = duration)]
    cut_every: Option<Duration>,
    /// A stream goes silent for good about this often
    #[arg(long, value_name = "TIME", value_parser = duration)]
    stall_every: Option<Duration>,
    /// Share of requests answered 408, 429, 500, 502 or 503
    #[arg(long, value_name = "0..1", value_parser = share)]
    refuse: Option<f64>,
    /// One in ten good tokens is refused by the stream
    #[arg(long)]
    refuse_auth_once: bool,
    /// Share of events sent twice
    #[arg(long, value_name = "0..1", value_parser = share)]
    doubles: Option<f64>,
    /// Events come late by up to so many places
    #[arg(long, value_name = "N", default_value_t = 0)]
    reorder: usize,
    /// Share of junk lines
    #[arg(long, value_name = "0..1", value_parser = share)]
    junk: Option<f64>,
    /// Share of readings that a sensor keeps back and sends later, newest first
    #[arg(long, value_name = "0..1", value_parser = share)]
    late: Option<f64>,
    /// Events come with times up to so much in the past, as from sensors that kept them
    #[arg(long, value_name = "TIME", value_parser = duration)]
    event_age: Option<Duration>,
    /// Share of events of such an age
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = share, requires = "event_age")]
    event_age_share: f64,
    /// History shows an event so much later than after --index-delay
    #[arg(long, value_name = "TIME", value_parser = duration)]
    history_lag: Option<Duration>,
    /// Share of events that history shows so late
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = share, requires = "history_lag")]
    history_lag_share: f64,
    /// Streams allowed at once
    #[arg(long, value_name = "N")]
    streams_max: Option<usize>,
    /// Requests allowed a second
    #[arg(long, value_name = "N")]
    requests_max: Option<u32>,
    /// Streams come in pieces of 1 to 7 bytes
    #[arg(long)]
    one_byte: bool,
    /// History answers 403
    #[arg(long)]
    no_history: bool,
    /// Share of events beside which a forged push is sent, which must be refused
    #[arg(long, value_name = "0..1", value_parser = share, requires = "push")]
    forge: Option<f64>,
    /// The server is away from one time after the start to another, as in 10s-20s; may be given several times
    #[arg(long, value_name = "FROM-TO", value_parser = span)]
    outage: Vec<(Duration, Duration)>,
    /// Streams are refused with this status from one time after the start to another, as in 403:10s-20s, and open ones end;
    /// may be given several times
    #[arg(long, value_name = "STATUS:FROM-TO", value_parser = spell)]
    refuse_streams: Vec<Spell>,
    /// Access tokens are refused with this status from one time after the start to another, as in 401:10s-20s; may be given
    /// several times
    #[arg(long, value_name = "STATUS:FROM-TO", value_parser = spell)]
    refuse_token: Vec<Spell>,
    /// What each 429 and 503 of --refuse, --refuse-streams and --refuse-token says as Retry-After, word for word
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    retry_after: Option<HeaderValue>,
    /// What an access token says as expires_in, word for word, as in 3600.5 or '"3600"' or null
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, value_parser = json)]
    expires_in: Option<String>,
    /// History requests are never answered
    #[arg(long)]
    stall_history: bool,
    /// History answers 404 for so many devices, the first in the list
    #[arg(long, value_name = "N", default_value_t = 0)]
    gone_device: usize,
    /// History answers 500 for so many devices, those that follow in the list
    #[arg(long, value_name = "N", default_value_t = 0)]
    failing_device: usize,
    /// The device list leaves out so many devices, the last ones, which have a history and are in the stream
    #[arg(long, value_name = "N", default_value_t = 0)]
    unlisted_device: usize,
    /// A page token of the history is good for this time
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    page_tokens_expire: Option<Duration>,
    /// The first page token that is used for each device has expired
    #[arg(long)]
    page_tokens_expire_once: bool,
}

impl BadHabits {
    fn habits(&self) -> Habits {
        Habits {
            token_kills_stream: self.token_kills_stream,
            cut_every: self.cut_every,
            stall_every: self.stall_every,
            refuse: self.refuse.unwrap_or_default(),
            refuse_auth_once: self.refuse_auth_once,
            doubles: self.doubles.unwrap_or_default(),
            reorder: self.reorder,
            junk: self.junk.unwrap_or_default(),
            late: self.late.unwrap_or_default(),
            event_age: self.event_age.map(|age| (age, self.event_age_share)),
            history_lag: self.history_lag.map(|lag| (lag, self.history_lag_share)),
            streams_max: self.streams_max,
            // As the cloud's documentation has it: bursts of five seconds' worth.
            requests_max: self.requests_max.map(|rate| (rate, rate.saturating_mul(5))),
            one_byte: self.one_byte,
            no_history: self.no_history,
            forge: self.forge.unwrap_or_default(),
            outages: self.outage.clone(),
            refuse_streams: self.refuse_streams.clone(),
            refuse_token: self.refuse_token.clone(),
            retry_after: self.retry_after.clone(),
            expires_in: self.expires_in.clone(),
            stall_history: self.stall_history,
            gone_devices: self.gone_device,
            failing_devices: self.failing_device,
            unlisted_devices: self.unlisted_device,
            page_tokens_expire: self.page_tokens_expire,
            page_tokens_expire_once: self.page_tokens_expire_once,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{text:?} is no share; write 0.1 for one in ten"))
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("no walk through history would get beyond its first page".to_owned()) } else { Ok(time) }
}

fn span(text: &str) -> Result<(Duration, Duration), String> {
    let (from, to) = text.split_once('-').ok_or("write from when to when as 10s-20s")?;
    let (from, to) = (duration(from)?, duration(to)?);
    if from < to { Ok((from, to)) } else { Err("the end comes after the beginning".to_owned()) }
}

fn spell(text: &str) -> Result<Spell, String> {
    let (status, times) = text.split_once(':').ok_or("write a status and from when to when as 403:10s-20s")?;
    let status =
        status.parse().ok().filter(|status| (400..600).contains(status)).ok_or("a refusal has a status of 400 to 599")?;
    let (from, to) = span(times)?;
    Ok(Spell { status, from, to })
}

fn json(text: &str) -> Result<String, String> {
    let value: Result<IgnoredAny, _> = serde_json::from_str(text);
    value.map(|_| text.to_owned()).map_err(|_| r#"no JSON value; a text has its own quotes, as in '"3600"'"#.to_owned())
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
        token_life: args.token_life,
        index_delay: args.index_delay,
        push: args.connector.push()?,
        habits: args.habits.habits(),
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
        tell!("With these lines in another shell, `{} record` records. Ctrl-C ends.", program());
        if let Some(push) = &options.push {
            tell!(
                "Every event is pushed as well, {}.",
                if push.secret.is_some() { "signed" } else { "unsigned for want of a secret" }
            );
        }
        let stop = async {
            super::signal::stopped(false).await;
        };
        Ok::<_, Failure>(serve(listener, options, stop).await?)
    })?;
    tell(&report)
}

/// What was published, and what became of it.
fn tell(report: &Report) -> Result<Outcome, Failure> {
    tell!("published {}", text::counted(report.published, "event"));
    let Some(pushes) = &report.pushes else { return Ok(Outcome::Done) };
    let Pushes { pushed, acknowledged, doubles, retried, refused, dropped, unacknowledged, forged, believed, .. } = pushes;
    let count = |number: &u64| text::count(*number);
    tell!(
        "pushed {} times: {} acknowledged, {} doubles, {} retried, {} refused, {} dropped, {} unacknowledged",
        count(pushed),
        count(acknowledged),
        count(doubles),
        count(retried),
        count(refused),
        count(dropped),
        count(unacknowledged),
    );
    if let Some(failure) = &pushes.failure {
        tell!("the last push that failed: {failure}");
    }
    if *forged > 0 {
        tell!("forged: {}, {} of them refused", count(forged), count(&(forged - believed)));
    }
    match &pushes.belief {
        Some(belief) => {
            Err(Failure::failed(format!("{} of {} forged pushes not refused; {belief}", count(believed), count(forged))))
        }
        None if dropped + unacknowledged > 0 => Ok(Outcome::Incomplete),
        None => Ok(Outcome::Done),
    }
}

/// What a recorder needs to know, as lines to paste.
fn credentials(options: &Options, address: SocketAddr) -> Result<(), Failure> {
    say!("export DT_API_URL=http://{address} DT_PROJECT_ID={}", options.project);
    say!("export DT_SERVICE_ACCOUNT_KEY_ID={} DT_SERVICE_ACCOUNT_SECRET={}", options.key, options.secret);
    say!("export DT_SERVICE_ACCOUNT_EMAIL={}    # without it: Basic auth", options.email);
    Ok(())
}
