//! `overnight backfill`: takes the past of a project from the cloud's history into a recording.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::text;
use crate::base::time::{self, Micros};
use crate::cloud::history::Pace;
use crate::intake::backfill::{Filler, Request};
use crate::intake::preflight::Asked;
use crate::model::layout::Layout;
use crate::model::settings::{File, Filters};
use crate::query::coverage;
use crate::recorder::{RecordError, Recorder, Timing};
use crate::store::buffer::{BufferError, View};
use crate::store::meter::Meter;
use crate::store::writer::Phase;

use super::clock::Tz;
use super::connection::{Connection, passes, preflight};
use super::record::said;
use super::when::{When, since, when};
use super::{Failure, Outcome, Recording, each_once, program, progress, shell};

/// How long a recorder that runs may take to find what was asked of it.
const FOUND_WITHIN: Duration = Duration::from_secs(10);
/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Beside a recorder that records the project, it hands the span to that one, and shows how far it is. What an earlier call has
brought is not asked for again.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Project; may be given several times
    #[arg(long, value_name = "ID", env = "DT_PROJECT_ID", value_delimiter = ',', required = true)]
    project: Vec<String>,
    /// The last so long, or as --start; the cloud holds 31 days
    #[arg(long, value_name = "TIME", default_value = "31d", value_parser = since, allow_hyphen_values = true, conflicts_with = "start")]
    since: When,
    /// From this time on: 2026-11-23, "2026-11-23 18:00", 2026-11-23T18:00:00+01:00, today, "yesterday 18:00", 07:00, 7am or -12h
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    start: Option<When>,
    /// Up to this time; 07:00 alone is the first one behind --start [default: now]
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    end: Option<When>,
    #[command(flatten)]
    tz: Tz,
    /// Only events of this type; may be given several times
    #[arg(long, value_name = "T")]
    event_type: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let file = File::read(&layout.settings())?;
    let passes = passes(&file)?;
    let now = time::now();
    let clock = args.tz.stderr(&[args.start, args.end, Some(args.since)]);
    let begins = args.start.unwrap_or(args.since).moment(&clock.zone, now);
    let ends = match args.end.map(|end| end.behind(begins, &clock.zone, now)) {
        Some(end) if end > now => {
            warn!("--end lies in the future, where nothing is yet: up to now is asked for");
            now
        }
        end => end.unwrap_or(now),
    };
    if begins >= ends {
        return Err(Failure::usage("--start lies behind --end, or in the future; nothing can be in between"));
    }
    let filters = Filters { event_types: args.event_type.clone(), ..Filters::default() };
    let registry = args.recording.registry()?;
    args.recording.refuse_types(&args.event_type, &registry)?;
    // What a recorder leaves out, an empty recording may be asked to take: only what is given counts here.
    let mut asked = args.connection.asked(&file, each_once(&args.project), &filters)?;
    for asked in &mut asked {
        asked.filters.clone_from(&filters);
    }
    let asked = preflight(&layout, asked, true)?;
    let request = |asked: &Asked| Request::new(&asked.project, asked.filters.clone(), (begins, ends));
    let requests: Vec<Request> = asked.iter().map(request).collect();
    for request in &requests {
        let (from, to) = (clock.second(begins), clock.named(ends));
        tell!("asks the history of {} from {from} to {to}, {}; Ctrl-C ends it", request.project, said(&request.filters));
    }
    let meter = Arc::new(Meter::default());
    let recorder = match Recorder::open(&layout, registry, Arc::clone(&meter), Timing::default()) {
        Ok(recorder) => recorder,
        Err(RecordError::Buffer(BufferError::Locked { path, holder })) => {
            for request in &requests {
                if !hand_over(&layout, request, &holder)? {
                    return Err(BufferError::Locked { path, holder }.into());
                }
            }
            return missing(&layout, (begins, ends));
        }
        Err(error) => return Err(error.into()),
    };
    args.recording.keep_schemas()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pace = Arc::new(Pace::default());
    let (stopping, stop) = watch::channel(Phase::Going);
    for (request, Asked { cloud, .. }) in requests.into_iter().zip(&asked) {
        let filler = Filler {
            project: request.project.clone(),
            filters: request.filters.clone(),
            cloud: Arc::clone(cloud),
            pace: Arc::clone(&pace),
            writer: recorder.writer(),
            layout: layout.clone(),
            passes: passes.clone(),
            reconcile: None,
        };
        let stopped = runtime.block_on(async {
            let bar = bar();
            // What happened a moment ago is not in the history yet.
            let wait = time::duration(request.ends + passes.index_delay - time::now());
            let bring = async {
                tokio::time::sleep(wait).await;
                filler.bring(request, stop.clone()).await;
            };
            let stopped = tokio::select! {
                () = bring => false,
                () = draw(&bar, &meter) => false,
                _ = super::signal::stopped(true) => true,
            };
            bar.finish_and_clear();
            stopped
        });
        if stopped {
            stopping.send_replace(Phase::Asked);
            tell!("stopping; the same command goes on where it was");
            break;
        }
    }
    runtime.shutdown_background();
    recorder.close()?;
    for (_, note) in meter.take_notes() {
        tell!("{note}");
    }
    tell!(
        "{} new from the history, {} were in the recording already",
        text::counted(Meter::get(&meter.rolled), "event"),
        text::count(Meter::get(&meter.doubles))
    );
    tell!("next: `{} gaps --dir {}` tells what is covered now", program(), shell(layout.root()));
    missing(&layout, (begins, ends))
}

/// Whether all of a span is there.
fn missing(layout: &Layout, span: (Micros, Micros)) -> Result<Outcome, Failure> {
    let view = View::open(layout)?;
    let missing = coverage::missing(&view, span, time::now())?.or(coverage::unfinished(&view, span, time::now())?);
    Ok(super::tell_missing(missing.as_deref(), layout))
}

/// Hands a request to the recorder that runs, and shows how far it is; false when that does not record the project.
fn hand_over(layout: &Layout, request: &Request, holder: &str) -> Result<bool, Failure> {
    let view = View::open(layout)?;
    let recorded = coverage::Timeline::read(&view, Some(time::now() - time::DAY), time::now())?;
    if !recorded.projects.iter().any(|project| project.name == request.project && project.is_streamed) {
        return Ok(false);
    }
    request.leave(layout)?;
    tell!("process {holder} records {}: it brings what is asked for; Ctrl-C leaves that to it", request.project);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bar = bar();
        let begun = time::instant();
        let watched = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if request.is_waiting(layout) {
                    if begun.elapsed() > FOUND_WITHIN || !view.has_writer() {
                        request.remove(layout)?;
                        let text =
                            "the recorder does not fill gaps (--no-backfill?), or it has ended; stop it, and call this again";
                        return Err(Failure::failed(text));
                    }
                    continue;
                }
                let records = view.records(Some(request.begins))?;
                let Some(fill) = records.fills.get(&request.id).filter(|fill| fill.done_at.is_none()) else { return Ok(()) };
                let (settled, failed) = view.progress(request.id)?;
                bar.set_length(fill.devices);
                bar.set_position(settled);
                if fill.devices > 0 && settled + failed >= fill.devices && failed > 0 {
                    tell!(
                        "{} does not get on, and is tried again later: {}",
                        request.project,
                        fill.but.as_deref().unwrap_or("no reason")
                    );
                    return Ok(());
                }
                if !view.has_writer() {
                    return Err(Failure::failed(
                        "the recorder has ended meanwhile; call this again, and it goes on where it was",
                    ));
                }
            }
        };
        let watched = tokio::select! {
            watched = watched => watched,
            _ = super::signal::stopped(true) => {
                tell!("the recorder goes on with it; `overnight gaps` tells how far");
                Ok(())
            }
        };
        bar.finish_and_clear();
        watched
    })?;
    Ok(true)
}

fn bar() -> indicatif::ProgressBar {
    let bar = progress::bar(Some(0), false);
    let style = indicatif::ProgressStyle::with_template("{spinner} {wide_bar} {pos}/{len} devices  {msg}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("asking for the device list");
    bar
}

async fn draw(bar: &indicatif::ProgressBar, meter: &Meter) {
    loop {
        if let Some((done, total)) = meter.parts().backfill.filter(|(_, total)| *total > 0) {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(text::counted(Meter::get(&meter.kept), "event"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
