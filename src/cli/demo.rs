//! `overnight demo`: simulator, recorder, roll and export in one process, with nothing to set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::base::text;
use crate::base::time;
use crate::base::zone::Zone;
use crate::cloud::client::{Accept, Cloud};
use crate::intake::stream::Plan;
use crate::model::layout::Layout;
use crate::model::settings::{Credentials, File, Filters, Secret};
use crate::output::export::{Dialect, Format, Output, Settings, TimeFormat};
use crate::output::spreadsheet::{self, Scope};
use crate::query::reader::{Reader, Selection};
use crate::query::status::status;
use crate::query::tables::Ask;
use crate::recorder::{Filling, Recorder, Sources, Timing};
use crate::simulate::{Options, serve};
use crate::store::devices::Directory;
use crate::store::meter::Meter;

use super::clock::Tz;
use super::connection::passes;
use super::progress::Live;
use super::record::{drive, load_lines};
use super::{Failure, Outcome, Recording, duration, program, shell, show};

/// Events a second: enough to see something, few enough to read along.
const RATE: f64 = 300.0;
/// Who looks on sees events soon, and the disk has to bear it for some seconds only.
const KEEP_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to record; a recording of its own, so that simulated events never stand among real ones
    #[arg(long, value_name = "DIR", default_value = "demo-recording")]
    dir: PathBuf,
    /// How long to record
    #[arg(long = "for", value_name = "TIME", default_value = "15s", value_parser = duration)]
    for_: Duration,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let options = Options { rate: Some(RATE), seed: time::now().unsigned_abs(), ..Options::default() };
    let credentials = Credentials {
        key_id: options.key.clone(),
        secret: Secret::new(options.secret.clone()),
        email: Some(options.email.clone()),
        token_url: None,
    };
    let project = options.project.clone();
    tell!(
        "A simulated cloud with {} devices is recorded for {} s, over a real connection.",
        options.devices,
        args.for_.as_secs_f64()
    );
    let (address, stop, cloud_thread) = simulator(options)?;

    let recording = Recording { dir: args.dir.clone(), schemas: None };
    let layout = Layout::new(&args.dir);
    let registry = recording.registry()?;
    let meter = Arc::new(Meter::default());
    let timing = Timing { roll_every: Duration::from_secs(5), ..Timing::default() };
    let recorder = Recorder::open(&layout, Arc::clone(&registry), Arc::clone(&meter), timing)?;
    let cloud = Arc::new(Cloud::new(&format!("http://{address}"), None, credentials)?);
    let plan = Plan {
        project,
        filters: Filters::default(),
        accept: Accept::Json,
        ping: Duration::from_secs(10),
        retries_max: None,
        keep_every: KEEP_EVERY,
        rotate_after: Duration::from_mins(55),
        lasts: Some(args.for_),
        account: cloud.account(),
        was_heard: false,
    };
    let live = Live::start(Arc::clone(&meter), Tz::default().stderr(&[]));
    // What fills gaps asks for the devices first, which brings their names.
    let filling = Filling { passes: passes(&File::default())?, reconcile: None, linger: Duration::ZERO };
    let sources = |_| Ok(Sources { plans: vec![(plan, cloud)], filling: Some(filling), ..Sources::default() });
    let recorded = drive(recorder, sources, Some(args.for_), true, &meter);
    drop(live);
    // The simulator may have ended by itself, with the error that its thread tells.
    stop.send(()).unwrap_or_default();
    cloud_thread.join().map_err(|_| Failure::failed("the simulator died".to_owned()))??;
    recorded?;

    let reader = Reader::open(&layout, registry)?;
    let selection = Selection::default();
    #[cfg(feature = "workbooks")]
    let (format, name) = (Format::Xlsx, "demo.xlsx");
    #[cfg(not(feature = "workbooks"))]
    let (format, name) = (Format::Csv, "demo.csv");
    let file = layout.root().join(name);
    let plans = reader.plan(&selection)?;
    let (zone, directory) = (Zone::system(), Directory::new(&reader.devices()?));
    let made = format!("export --spreadsheet --dir {} -o {name}", shell(layout.root()));
    let settings = Settings {
        force: true,
        dialect: Dialect { zone: zone.clone(), time: TimeFormat::Excel, ..Dialect::default() },
        zone,
        ..Settings::new(format, Output::File(file.clone()))
    };
    let scope = Scope { reader: &reader, directory: &directory, selection: &selection, plans: &plans, ask: &Ask::default() };
    spreadsheet::export(&scope, &settings, (time::now(), &format!("overnight {made}")), |_| {})?;
    report(&layout)?;
    tell!("\nAll of it is a spreadsheet as well: {}", file.display());
    tell!("The same of any recording, also of one that is running:  {} {made}", program());
    tell!("Paste to go on:");
    load_lines(&layout, "temperature");
    Ok(Outcome::Done)
}

type CloudThread = std::thread::JoinHandle<Result<(), Failure>>;

/// Starts the simulator on a thread of its own; gives its address, and what stops it.
fn simulator(options: Options) -> Result<(std::net::SocketAddr, oneshot::Sender<()>, CloudThread), Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let run = move || -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            serve(listener, options, async { drop(stopped.await) }).await?;
            Ok(())
        })
    };
    let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(run)?;
    Ok((address, stop, thread))
}

fn report(layout: &Layout) -> Result<(), Failure> {
    let status = status(layout, time::now())?;
    let data = layout.data();
    let rows = status.partitions.iter().map(|part| {
        let file = layout.folder(&part.event_type).join(format!("{}.parquet", part.day));
        // All in one folder, told once: the row is to fit a terminal.
        let file = file.strip_prefix(&data).unwrap_or(&file);
        vec![part.event_type.clone(), text::count(part.rows), text::bytes(part.bytes), file.display().to_string()]
    });
    say!("{}", show::shrinking(&["event type", "events", "size", "day file"], &[1, 2], &[3], &[2], rows.collect()));
    let (events, bytes) = (text::counted(status.events, "event"), text::bytes(status.bytes));
    say!("{events} recorded, each once; {bytes} of Parquet in {}", data.display());
    Ok(())
}
