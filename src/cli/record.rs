//! `overnight record`: the stream of one or several projects, until told to stop.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::oneshot;

use crate::base::disk;
use crate::base::text;
use crate::base::time::{self, Micros};
use crate::cloud::client::Accept;
use crate::intake::preflight::Asked;
use crate::intake::stream::Plan;
#[cfg(feature = "lake")]
use crate::lake::Place;
use crate::maintenance::prune::{KEEP_LEAST, PruneError};
use crate::model::layout::Layout;
use crate::model::schema::is_plain;
use crate::model::settings::{File, Filters};
use crate::query::coverage;
use crate::query::status::Written;
use crate::recorder::{self, Filling, Keep, RecordError, Recorder, Sources, Supervised, Timing};
#[cfg(feature = "lake")]
use crate::recorder::{Ship, Shipping};
use crate::store::buffer::View;
use crate::store::meter::Meter;
use crate::store::writer::Phase;

use super::clock::{Clock, Tz};
use super::connection::{Connection, passes, preflight, time_of};
use super::metering::Metering;
use super::page::{Page, Shown};
use super::progress::Live;
use super::receiver::Listening;
use super::signal::on_stop;
use super::when::{When, when};
use super::{Failure, Outcome, Recording, advice, duration, each_once, program, shell, show, tell_missing};

/// How often a recorder ships, unless told.
#[cfg(feature = "lake")]
const SHIP_EVERY: Duration = Duration::from_hours(1);

/// Sessions that end sooner would do nothing but open each other.
const ROTATE_LEAST: Duration = Duration::from_secs(1);
/// How long what comes waits for a commit: what a power cut takes, which history fills, and what a flash card bears for years.
const KEEP_EVERY: Duration = Duration::from_secs(3);
/// The same where somebody looks on.
const KEEP_EVERY_SEEN: Duration = Duration::from_secs(1);
/// What it can be: sooner is no use, and later is more than a short outage takes.
const KEEP_EVERY_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stream {
    Json,
    Sse,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) recording: Recording,
    /// Project to record; may be given several times
    #[arg(long, value_name = "ID", env = "DT_PROJECT_ID", value_delimiter = ',')]
    project: Vec<String>,
    /// Format of the stream
    #[arg(long, value_enum, default_value = "json")]
    accept: Stream,
    /// Only events of this type; may be given several times
    #[arg(long, value_name = "T")]
    event_type: Vec<String>,
    /// Only events of this device, by its id or its name; may be given several times
    #[arg(long, value_name = "ID|NAME")]
    device: Vec<String>,
    /// Only events of devices of this type
    #[arg(long, value_name = "T")]
    device_type: Vec<String>,
    /// Only events of devices with this label
    #[arg(long, value_name = "K[=V]")]
    label: Vec<String>,
    /// Only events of devices with this product number
    #[arg(long, value_name = "N")]
    product_number: Vec<String>,
    /// How often the cloud should ping; silence for longer is a dead connection
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ping_interval: Option<Duration>,
    /// Give up after so many failures in a row; 0: stop when the first session ends [default: never]
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// How long what the stream brings may wait to be kept together, 100ms to 1m: what a power cut can take, and longer wears
    /// the disk less; a push never waits [default: 3s, on a terminal 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    keep_every: Option<Duration>,
    #[command(flatten)]
    timing: HowLong,
    /// Open the next session when one has run so long; the cloud ends each after an hour
    #[arg(long, value_name = "TIME", default_value = "55m", value_parser = duration)]
    rotate_after: Duration,
    /// Leave gaps as they are, instead of filling them from the cloud's history
    #[arg(long)]
    no_backfill: bool,
    /// At a planned end (--for, --until), wait so long for gaps that are being filled [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    linger: Option<Duration>,
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Also receive what the cloud's Data Connectors push, at this address; see `overnight listen`
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten, next_help_heading = "With --listen")]
    listening: Listening,
    #[command(flatten)]
    metering: Metering,
    #[command(flatten)]
    page: Page,
}

/// How long to record, and how often to roll.
#[derive(Debug, clap::Args)]
pub(super) struct HowLong {
    /// Stop after this time
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "until")]
    for_: Option<Duration>,
    /// Stop at this time: 07:00 or 7am (the next one), "tomorrow 07:00", 2026-11-24T07:00:00+01:00; here, or in --tz
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
    /// How often what is kept is rolled into day files, which wears the disk; exports see it before [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    roll_every: Option<Duration>,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    if args.rotate_after < ROTATE_LEAST {
        return Err(Failure::usage("--rotate-after is at least 1s"));
    }
    let layout = args.recording.layout();
    let file = File::read(&layout.settings())?;
    let listen = if args.listen.is_some() { args.listen } else { file.listen()? };
    if let (None, Some(flag)) = (listen, args.listening.given()) {
        return Err(Failure::usage(format!("{flag} is for a receiver of pushes: give --listen IP:PORT as well")));
    }
    let certificate = args.listening.certificate();
    let page = args.page.address(&file)?;
    if certificate.is_some() && listen.is_none() && page.is_none() && args.metering.address(&file)?.is_none() {
        return Err(Failure::usage(
            "--tls-cert is for whoever comes to this machine: give --listen, --metrics or --page IP:PORT as well",
        ));
    }
    args.metering.refuse_idle_token(&file, page)?;
    let projects = each_once(&if args.project.is_empty() { file.projects() } else { args.project.clone() });
    if projects.is_empty() {
        return Err(Failure::usage("no project: give --project ID, or set DT_PROJECT_ID"));
    }
    let ping = args.ping_interval.or(time_of(file.ping_interval.as_deref())?).unwrap_or(Duration::from_secs(10));
    if ping < Duration::from_secs(1) {
        return Err(Failure::usage("--ping-interval is at least 1s"));
    }
    let keep_every = keep_every(args.keep_every, &file)?;
    let linger = args.linger.unwrap_or_default();
    let filling = Filling { passes: passes(&file)?, reconcile: time_of(file.reconcile.as_deref())?, linger };
    let filling = Some(filling).filter(|_| !args.no_backfill && args.max_retries != Some(0));
    let given = Filters {
        event_types: args.event_type.clone(),
        devices: args.device.clone(),
        device_types: args.device_type.clone(),
        labels: args.label.clone(),
        product_numbers: args.product_number.clone(),
    };
    let asked = args.connection.asked(&file, projects, &given)?;
    let registry = args.recording.registry()?;
    for asked in &asked {
        args.recording.refuse_types(&asked.filters.event_types, &registry)?;
    }
    let accept = match args.accept {
        Stream::Json => Accept::Json,
        Stream::Sse => Accept::Sse,
    };
    args.timing.end()?;
    let asked = preflight(&layout, asked, listen.is_none())?;
    let history = if filling.is_some() { "what is missed is filled from the history" } else { "gaps stay as they are" };
    for Asked { project, filters, .. } in &asked {
        tell!("records {project}: {}; {history}", said(filters));
    }
    let receiver = listen.map(|address| args.listening.receiver(address)).transpose()?;
    let (token, zone) = (args.metering.token_file(&file)?, args.timing.tz.here().zone);
    let page = args.page.command(&file, &args.recording, token.as_deref(), certificate.as_ref(), zone.name())?;
    let has_keys = args.metering.has_keys(&file, certificate.as_ref())?;
    let metrics = args.metering.endpoint(&file, certificate)?;
    let _page = page.map(Shown::start).transpose()?;
    let (retries_max, rotate_after) = (args.max_retries, args.rotate_after);
    // Who has keys takes SIGHUP for a wish to read them anew.
    let hangs_up = listen.is_none() && !has_keys;
    record(&args.recording, &args.timing, &file, hangs_up, move |lasts| {
        let view = View::open(&layout)?;
        let mut plans = Vec::new();
        for Asked { project, cloud, filters } in asked {
            let account = cloud.account();
            let was_heard = view.was_heard(&project, &account)?;
            let plan = Plan { project, filters, accept, ping, retries_max, keep_every, rotate_after, lasts, account, was_heard };
            plans.push((plan, cloud));
        }
        let receiver = receiver.map(|receiver| receiver()).transpose()?;
        let metrics = metrics.map(|metrics| metrics()).transpose()?;
        Ok(Sources { plans, filling, receiver, metrics })
    })
}

/// Which events, in words.
pub(super) fn said(filters: &Filters) -> String {
    let Filters { event_types, devices, device_types, labels, product_numbers } = filters;
    let named = [
        ("", event_types),
        ("of devices ", devices),
        ("of devices of type ", device_types),
        ("of devices with label ", labels),
        ("of devices with product number ", product_numbers),
    ];
    let only: Vec<String> = named
        .iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(before, words)| format!("{before}{}", text::printable(&text::few(words), 200)))
        .collect();
    if only.is_empty() { "all events".to_owned() } else { format!("only {}", only.join(", ")) }
}

/// How long what comes may wait for a commit.
fn keep_every(given: Option<Duration>, file: &File) -> Result<Duration, Failure> {
    let usual = if std::io::stderr().is_terminal() { KEEP_EVERY_SEEN } else { KEEP_EVERY };
    let every = given.or(time_of(file.keep_every.as_deref())?).unwrap_or(usual);
    if KEEP_EVERY_BOUNDS.contains(&every) { Ok(every) } else { Err(Failure::usage("--keep-every is 100ms to 1m")) }
}

/// What is pruned once a day.
fn keep(file: &File) -> Result<Option<Keep>, Failure> {
    let Some(time) = time_of(file.keep.as_deref())? else { return Ok(None) };
    if time::micros(time) < KEEP_LEAST {
        return Err(Failure::usage(format!("keep in overnight.toml: {}", PruneError::TooLittle)));
    }
    Ok(Some(Keep { time, archive: file.archive()? }))
}

/// Ships what is rolled, where the settings name a lake.
#[cfg(feature = "lake")]
fn shipping(recording: &Recording, file: &File, meter: &Arc<Meter>) -> Result<Option<Shipping>, Failure> {
    let Some(url) = file.lake()? else { return Ok(None) };
    // What is wrong with the address is said now, and not within the hour.
    Place::open(url)?;
    let every = time_of(file.ship_every())?.unwrap_or(SHIP_EVERY);
    if every < Duration::from_secs(1) {
        return Err(Failure::usage("ship_every in overnight.toml is at least 1s"));
    }
    let ship = Ship { url: url.to_owned(), every };
    Ok(Some(Shipping::start(&recording.layout(), recording.registry()?, Arc::clone(meter), ship)?))
}

/// A build without the lake says so where the settings name one.
#[cfg(not(feature = "lake"))]
fn shipping(_: &Recording, file: &File, _: &Arc<Meter>) -> Result<Option<()>, Failure> {
    if file.lake()?.is_some() { Err(super::left_out::left_out("lake")) } else { Ok(None) }
}

/// Opens the recording, records from the sources, and tells how it went.
pub(super) fn record(
    recording: &Recording,
    timing: &HowLong,
    file: &File,
    hangs_up: bool,
    sources: impl FnOnce(Option<Duration>) -> Result<Sources, Failure>,
) -> Result<Outcome, Failure> {
    let layout = recording.layout();
    let (end, clock) = (timing.end()?, timing.tz.stderr(&[timing.until]));
    let begun = time::now();
    let timing = Timing { roll_every: timing.roll_every(file)?, seals_at_end: false, ..Timing::default() };
    let meter = Arc::new(Meter::default());
    let recorder = Recorder::open_pruning(&layout, recording.registry()?, Arc::clone(&meter), timing, keep(file)?)?;
    recording.warn_of_place();
    recording.keep_schemas()?;
    let _shipping = shipping(recording, file, &meter)?;
    tell_end(end, begun, &layout, &clock);
    let live = Live::start(Arc::clone(&meter), clock);
    let recorded = drive(recorder, sources, end, hangs_up, &meter);
    drop(live);
    summary(&layout, &meter, begun);
    let missing = coverage::missing(&View::open(&layout)?, (begun, Micros::MAX), time::now())?;
    let covered = tell_missing(missing.as_deref(), &layout);
    recorded?;
    let faults = Meter::get(&meter.faults) + Meter::get(&meter.roll_errors);
    Ok(if faults == 0 { covered } else { Outcome::Incomplete })
}

/// Records until a signal or the given end, then closes. `sources` are made within the event loop.
pub(super) fn drive(
    recorder: Recorder,
    sources: impl FnOnce(Option<Duration>) -> Result<Sources, Failure>,
    end: Option<Duration>,
    hangs_up: bool,
    meter: &Arc<Meter>,
) -> Result<(), Failure> {
    let (asked, ask) = oneshot::channel();
    let noted = Arc::clone(meter);
    let mut supervised = Supervised::new(&recorder);
    let is_service = supervised.is_service();
    on_stop(hangs_up, move |phase| {
        let (phase, why) = match phase {
            Phase::HungUp => (phase, "the terminal is closed: "),
            // It is upgraded, or the machine starts anew: what it misses is wanted, until somebody says `overnight end`.
            _ if is_service => (Phase::HungUp, "the service is stopped, its recording is still wanted: "),
            _ => (phase, ""),
        };
        noted.note(time::now(), format!("{why}stopping: keeping and rolling what came (a second signal leaves at once)"));
        asked.send(phase).unwrap_or_default();
    })?;
    let asked = async {
        match ask.await {
            Ok(phase) => phase,
            // A listener that died can ask for nothing.
            Err(_) => std::future::pending().await,
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorded = runtime.block_on(async {
        let sources = sources(end)?;
        supervised.ready();
        tokio::select! {
            ran = recorder::run(&recorder, sources, end, asked) => ran.map_err(|error| told(&error)),
            never = supervised.feed() => match never {},
        }
    });
    supervised.stopping();
    // Not waiting for a name server that does not answer.
    runtime.shutdown_background();
    // The recorder's own word comes first: a stream may have ended because nothing could be kept.
    recorder.close().map_err(|error| told(&error)).and(recorded)
}

/// An error of the recorder with what to do about it.
fn told(error: &RecordError) -> Failure {
    Failure::failed(format!("{error}. {}", advice(error.advice())))
}

impl HowLong {
    fn roll_every(&self, file: &File) -> Result<Duration, Failure> {
        let every = self.roll_every.or(time_of(file.roll_every.as_deref())?).unwrap_or(Timing::default().roll_every);
        if every < Duration::from_millis(100) {
            return Err(Failure::usage("--roll-every is at least 100ms"));
        }
        Ok(every)
    }

    /// How long to record.
    fn end(&self) -> Result<Option<Duration>, Failure> {
        let Some(until) = self.until else { return Ok(self.for_) };
        let now = time::now();
        let left = until.behind(now, &self.tz.here().zone, now) - now;
        if left < 0 {
            return Err(Failure::usage("--until lies in the past"));
        }
        Ok(Some(time::duration(left)))
    }
}

/// Says when it will end: who sees that it will not, or when, has seen it in time.
fn tell_end(end: Option<Duration>, now: Micros, layout: &Layout, clock: &Clock) {
    let (dir, zone) = (layout.root().display(), clock.name());
    match end {
        Some(end) => {
            let at = now.saturating_add(time::micros(end));
            tell!("recording into {dir} until {} ({} from now), or Ctrl-C; times: {zone}", clock.second(at), show::length(end));
        }
        None => tell!("recording into {dir} until Ctrl-C or SIGTERM; times: {zone}"),
    }
}

/// What was recorded, and how to load it.
fn summary(layout: &Layout, meter: &Meter, begun: Micros) {
    let parts = meter.parts();
    let kept = Meter::get(&meter.kept);
    let faults = Meter::get(&meter.faults);
    let doubles = Meter::get(&meter.doubles);
    let twice = if doubles > 0 { format!(", {} came twice and stand once", text::count(doubles)) } else { String::new() };
    let pushes = match (meter.pushes.load(Ordering::Relaxed), meter.refused.load(Ordering::Relaxed)) {
        (0, 0) => String::new(),
        (pushes, 0) => format!(", {} acknowledged", text::counted(pushes, "push")),
        (pushes, refused) => {
            format!(", {} acknowledged and {} refused", text::counted(pushes, "push"), text::count(refused))
        }
    };
    let (events, sessions) = (text::counted(kept, "event"), text::counted(Meter::get(&meter.sessions), "session"));
    tell!("recorded {events} in {sessions}{pushes}{twice}, into {}", layout.root().display());
    if let Some(bytes) = disk::written() {
        tell!("wrote {} to the disk", Written::new(bytes, (begun, time::now())).said());
    }
    if faults > 0 {
        let (lines, were) = if faults == 1 { ("line", "was") } else { ("lines", "were") };
        tell!(
            "{} {lines} {were} no event and {were} kept raw; see `{} status --dir {}`",
            text::count(faults),
            program(),
            shell(layout.root())
        );
    }
    // What others call their types is not always fit to be pasted into a shell.
    if let Some((most, _)) = parts.by_type.iter().filter(|(name, _)| is_plain(name)).max_by_key(|(_, count)| **count) {
        load_lines(layout, most);
        let (program, dir) = (program(), shell(layout.root()));
        let ending = if cfg!(feature = "workbooks") { "xlsx" } else { "csv" };
        tell!("next     {program} export --dir {dir} --spreadsheet -o night.{ending}");
    }
}

/// Lines to paste.
pub(super) fn load_lines(layout: &Layout, event_type: &str) {
    let folder = layout.folder(event_type).display().to_string();
    // A path within SQL, within a word of a shell.
    let sql = format!("SELECT * FROM '{}/*.parquet' ORDER BY time DESC LIMIT 10", folder.replace('\'', "''"));
    let special = |c: char| matches!(c, '\\' | '"' | '$' | '`');
    let word: String = sql.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect();
    tell!("");
    tell!("pandas   import pandas as pd; df = pd.read_parquet({folder:?})");
    tell!("DuckDB   duckdb -c \"{word}\"");
    tell!("CSV      {} export --dir {} --event-type {event_type} -o {event_type}.csv", program(), shell(layout.root()));
}
