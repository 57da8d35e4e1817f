//! `overnight backfill`: takes the past of a project from the cloud's history into a recording.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::backfill::{Filler, asked_for};
use crate::buffer::{Gap, GapState, View};
use crate::coverage;
use crate::keep::Order;
use crate::meter::Meter;
use crate::record::{Recorder, Timing};
use crate::settings::{File, Filters};
use crate::sources::history::Pace;
use crate::time::{self, Micros};
use crate::words;

use super::connection::{Connection, index_delay};
use super::select::moment;
use super::{Failure, Outcome, Recording, duration, each_once, progress, warn_of_types};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Project; may be given several times
    #[arg(long, value_name = "ID", env = "DT_PROJECT_ID", value_delimiter = ',', required = true)]
    project: Vec<String>,
    /// The last so long; the cloud holds 31 days
    #[arg(long, value_name = "TIME", default_value = "31d", value_parser = duration, conflicts_with = "start")]
    since: Duration,
    /// From this time on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    start: Option<Micros>,
    /// Up to this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    end: Option<Micros>,
    /// Only events of this type; may be given several times
    #[arg(long, value_name = "T")]
    event_type: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let file = File::read(&layout.settings())?;
    let cloud = args.connection.cloud(&file)?;
    let index_delay = index_delay(&file)?;
    let now = time::now();
    let (begins, ends) = (args.start.unwrap_or(now - time::micros(args.since)), args.end.unwrap_or(now));
    if begins >= ends {
        return Err(Failure::usage("--start lies behind --end; nothing can be in between"));
    }
    let meter = Arc::new(Meter::default());
    let registry = args.recording.registry()?;
    warn_of_types(&args.event_type, &registry);
    let recorder = Recorder::open(&layout, registry, Arc::clone(&meter), Timing::default())?;
    args.recording.keep_schemas()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pace = Arc::new(Pace::default());
    let mut filled = Ok(());
    for project in each_once(&args.project) {
        let filler = Filler {
            project,
            filters: Filters { event_types: args.event_type.clone(), ..Filters::default() },
            cloud: Arc::clone(&cloud),
            pace: Arc::clone(&pace),
            outlet: recorder.outlet(),
            layout: layout.clone(),
            index_delay,
            reconcile: None,
        };
        filled = runtime.block_on(async {
            want(&filler, begins, ends).await?;
            let mut passed = HashSet::new();
            let bar = progress::bar(Some(0), false);
            tokio::select! {
                filled = filler.fill(&mut passed) => drop(filled?),
                () = draw(&bar, &meter) => {}
                () = super::signal::stopped() => tell!("stopping; the same command goes on where it was"),
            }
            bar.finish_and_clear();
            Ok::<_, Failure>(())
        });
        if filled.is_err() {
            break;
        }
    }
    runtime.shutdown_background();
    recorder.close()?;
    filled?;
    for (_, note) in meter.take_notes() {
        tell!("{note}");
    }
    tell!(
        "{} new from the history, {} were in the recording already",
        words::counted(Meter::get(&meter.rolled), "event"),
        words::count(Meter::get(&meter.doubles))
    );
    let missing = coverage::missing(&View::open(&layout)?, (begins, ends))?;
    Ok(super::tell_missing(missing.as_deref(), &layout))
}

/// Notes what of the span no unfinished gap holds that an earlier call asked for with the same filters.
async fn want(filler: &Filler, begins: Micros, ends: Micros) -> Result<(), Failure> {
    let cause = asked_for(&filler.filters.event_types);
    let view = View::open(&filler.layout)?;
    let is_same = |gap: &Gap| {
        matches!(gap.state, GapState::Open | GapState::Filling) && gap.project == filler.project && gap.cause == cause
    };
    let mut unfinished = view.gaps()?;
    unfinished.retain(is_same);
    let spans = unfinished.iter().filter_map(|gap| Some((gap.begins, gap.ends?))).collect();
    for (begins, ends) in coverage::between(&coverage::merged(spans), (begins, ends)) {
        // Where some devices are done, they are for the span as it was.
        let meets = |gap: &&Gap| gap.begins <= ends && gap.ends.is_some_and(|done| done >= begins);
        let order = match unfinished.iter().find(meets).map(|gap| gap.id) {
            Some(gap) if view.gap_devices_done(gap)?.is_empty() => Order::GapExtends { gap, begins, ends },
            _ => Order::GapWanted { project: filler.project.clone(), cause: cause.clone(), begins, ends },
        };
        filler.outlet.send(order).await;
    }
    let (done, reached) = tokio::sync::oneshot::channel();
    filler.outlet.send(Order::Reached(done)).await;
    // The sender is dropped when the order has been carried out.
    drop(reached.await);
    Ok(())
}

async fn draw(bar: &indicatif::ProgressBar, meter: &Meter) {
    let style = indicatif::ProgressStyle::with_template("{wide_bar} {pos}/{len} devices  {msg}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    loop {
        if let Some((done, total)) = meter.parts().backfill {
            bar.set_length(total);
            bar.set_position(done);
        }
        bar.set_message(words::counted(Meter::get(&meter.kept), "event"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
