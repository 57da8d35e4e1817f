//! `overnight alerts`: tells people of what they asked to be told, and tries that out.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use clap::Subcommand;
use serde::Serialize;

use crate::base::text::{self, printable};
use crate::base::time;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::{Alerting, File, To};
use crate::watch::alerts::{self, Config, Deliver, Note, Preview, Sender, Shared, misfits, preview};

use super::clock::Tz;
use super::signal::on_stop;
use super::when::{When, since};
use super::{Failure, Outcome, Recording, show};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is told and to whom stands in overnight.toml of the recording: [[alert]], [[notify]], [ping]; see src/docs/alerts.md. `overnight watch`
tells as well, beside its page; of one recording only one of them does.")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Watch, and tell, until Ctrl-C; without a page
    Run(RunArgs),
    /// Send a message each way, and say how each went
    Test(TestArgs),
    /// Say what would have been told, and tell nobody
    Try(TryArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    recording: Recording,
    /// Where to note what was told, if not in the recording: where that is only for reading
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    tz: Tz,
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    #[command(flatten)]
    recording: Recording,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct TryArgs {
    #[command(flatten)]
    recording: Recording,
    /// From this time on, or the last so long
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "7d", allow_hyphen_values = true)]
    since: When,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.what {
        What::Run(args) => tell_all(args),
        What::Test(args) => test(args),
        What::Try(args) => attempt(args),
    }
}

/// What the settings of a recording say of alerts; says what may not be as it is meant.
pub(super) fn alerting(layout: &Layout, registry: &Registry) -> Result<Alerting, Failure> {
    let path = layout.settings();
    let alerting = File::read(&path)?.alerting(&path)?;
    if let Some(wrong) = misfits(&alerting, registry).into_iter().next() {
        return Err(Failure::failed(format!("{}: {wrong}", path.display())));
    }
    for warning in &alerting.warnings {
        warn!("{}: {warning}", path.display());
    }
    Ok(alerting)
}

fn nothing(layout: &Layout) -> Failure {
    if !layout.settings().exists() && !layout.buffer().exists() {
        return Failure::usage(format!("there is no recording in {}. Give the directory with --dir", layout.root().display()));
    }
    Failure::usage(format!("{} says nothing of alerts: add [[notify]] and [[alert]]", layout.settings().display()))
}

fn tell_all(args: &RunArgs) -> Result<Outcome, Failure> {
    let (layout, registry) = (args.recording.layout(), args.recording.registry()?);
    let alerting = alerting(&layout, &registry)?;
    if alerting.is_empty() {
        return Err(nothing(&layout));
    }
    let (rules, sinks) = (text::counted(alerting.rules.len() as u64, "alert"), alerting.sinks.len());
    let config = Config::open(&layout, registry, alerting, (args.state.clone(), args.tz.here().zone))?;
    let (stop, stopped) = channel();
    on_stop(true, move |_| stop.send(()).unwrap_or_default())?;
    tell!("{rules}, {}; Ctrl-C ends", text::counted(sinks as u64, "way to tell"));
    watch(config, &Shared::default(), &stopped)?;
    Ok(Outcome::Done)
}

/// Watches on this thread until `stopped` says so or is dropped.
pub(super) fn watch(config: Config, shared: &Shared, stopped: &Receiver<()>) -> Result<(), Failure> {
    let mut sender = Sender::new().map_err(Failure::failed)?;
    if let Some(trouble) = &config.trouble {
        warn!("{trouble}");
    }
    alerts::run(config, &mut sender, shared, &|what| warn!("{what}"), stopped);
    Ok(())
}

/// How a message went.
#[derive(Debug, Serialize)]
struct Went {
    to: String,
    how: String,
    arrived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

fn test(args: &TestArgs) -> Result<Outcome, Failure> {
    let (layout, registry) = (args.recording.layout(), args.recording.registry()?);
    let alerting = alerting(&layout, &registry)?;
    if alerting.sinks.is_empty() && alerting.ping.is_none() {
        return Err(nothing(&layout));
    }
    let mut sender = Sender::new().map_err(Failure::failed)?;
    let note = Note::test(time::now());
    let messages: Vec<_> = alerting.sinks.iter().map(|sink| (sink, &note)).collect();
    let results = sender.deliver(&messages);
    let mut went: Vec<Went> = alerting
        .sinks
        .iter()
        .zip(results)
        .map(|(sink, result)| {
            let how = match &sink.to {
                To::Url(form, _) => form.name().to_owned(),
                To::Command(_) => "command".to_owned(),
            };
            Went { to: sink.name.clone(), how, arrived: result.is_ok(), why: result.err() }
        })
        .collect();
    if let Some(ping) = &alerting.ping {
        let result = sender.ping(ping);
        went.push(Went { to: "ping".to_owned(), how: "ping".to_owned(), arrived: result.is_ok(), why: result.err() });
    }
    let all = went.iter().all(|went| went.arrived);
    if args.json {
        say!("{}", show::json(&went)?);
    } else {
        let rows = went.into_iter().map(|Went { to, how, why, .. }| {
            vec![printable(&to, 60), how, why.map_or_else(|| "arrived".to_owned(), |why| format!("did not arrive: {why}"))]
        });
        say!("{}", show::table(&["to", "how", "went"], &[], &[2], rows.collect()));
    }
    if all { Ok(Outcome::Done) } else { Err(Failure::failed("not every message arrived")) }
}

fn attempt(args: &TryArgs) -> Result<Outcome, Failure> {
    let (layout, registry, now) = (args.recording.layout(), args.recording.registry()?, time::now());
    let alerting = alerting(&layout, &registry)?;
    if alerting.rules.is_empty() {
        return Err(nothing(&layout));
    }
    let clock = if args.json { args.tz.stdout() } else { args.tz.here() };
    let start = args.since.moment(&clock.zone, now);
    let told = preview(&layout, &registry, (&alerting, &clock.zone), (start, now))?;
    if args.json {
        say!("{}", show::json(&told)?);
        return Ok(Outcome::Done);
    }
    let time = format!("time ({})", clock.name());
    let rows: Vec<Vec<String>> = told
        .iter()
        .map(|Preview { at, alert, state, text, .. }| {
            vec![clock.second(at.0), printable(alert, 60), (*state).to_owned(), text.clone()]
        })
        .collect();
    let count = text::counted(rows.len() as u64, "message");
    if !rows.is_empty() {
        say!("{}", show::table(&[&time, "alert", "", "text"], &[], &[3], rows));
    }
    tell!("{count} would have been sent since {}; of the disk and of backups nobody noted what was", clock.named(start));
    Ok(Outcome::Done)
}
