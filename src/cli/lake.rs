//! `overnight lake`: what was recorded, in object storage, beside that of other recorders.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::ValueEnum;
use serde::Serialize;

use crate::base::text::{self, printable};
use crate::base::time::{self, Day, Utc};
use crate::lake::{self, About, Compacted, Days, LakeError, Place, Shipper};
use crate::model::layout::Layout;
use crate::model::settings::File;
use crate::recorder::{RecordError, Recorder, Timing};
use crate::store::buffer::{BufferError, View};
use crate::store::last_shipment::{Shipping, last_shipment};
use crate::store::meter::Meter;

use super::{Failure, Outcome, Recording, progress, show};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
URL is s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a directory (recorders of one machine only). Credentials come from the
environment, as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT; GOOGLE_SERVICE_ACCOUNT; AZURE_STORAGE_ACCOUNT_NAME,
AZURE_STORAGE_ACCOUNT_KEY. A recorder with `[lake] url = \"…\"` in overnight.toml ships by itself, each hour or `ship_every`.")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a lake, or check one: whether the store does what a lake needs, and what tables there are
    Init(Init),
    /// Ship what this recording has and the lake has not, once
    Ship(Ship),
    /// What is in a lake, and how far this recording is shipped
    Status(Status),
    /// Text to paste, so that an engine knows the tables of a lake
    Sql(Sql),
    /// Make few files of many, each event once, whoever shipped it; and remove what no version has referred to for seven days
    Compact(Compact),
}

#[derive(Debug, clap::Args)]
struct Init {
    /// The lake
    #[arg(value_name = "URL")]
    url: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Ship {
    #[command(flatten)]
    recording: Recording,
    /// The lake [default: `url` of `[lake]` in overnight.toml]
    #[arg(value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Status {
    /// The recording
    #[arg(long, value_name = "DIR", default_value = "recording")]
    dir: PathBuf,
    /// The lake [default: `url` of `[lake]` in overnight.toml]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each table has two names: as it stands, and TABLE_once, without what two recorders both sent. No secret is in the text: engines read
credentials from the environment, or are set up with them. Only recorders and tools that put where nothing is (delta-rs) may write a lake.

  overnight lake sql duckdb /data/lake | duckdb night.db
  overnight lake sql clickhouse s3://bucket/lake")]
struct Sql {
    /// For whom
    #[arg(value_enum, value_name = "ENGINE")]
    engine: Engine,
    /// The recording whose overnight.toml names the lake
    #[arg(long, value_name = "DIR", default_value = "recording")]
    dir: PathBuf,
    /// The lake [default: `url` of `[lake]` in overnight.toml]
    #[arg(value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    /// Apache Spark and Sail: SQL
    Spark,
    /// Trino: SQL
    Trino,
    /// ClickHouse and chDB: SQL
    Clickhouse,
    /// DuckDB: SQL over the files that there are at this moment
    Duckdb,
    /// Polars: Python
    Polars,
    /// Daft: Python
    Daft,
}

#[derive(Debug, clap::Args)]
struct Compact {
    /// The lake
    #[arg(value_name = "URL")]
    url: String,
    /// Today too [default: all days before today, in UTC]
    #[arg(long, conflicts_with = "day")]
    all: bool,
    /// One day, as 2026-11-23
    #[arg(long, value_name = "DAY", value_parser = day)]
    day: Option<Day>,
    /// Remove nothing that versions before this one refer to
    #[arg(long)]
    no_vacuum: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a day is written as 2026-11-23".to_owned())
}

/// What is wrong with an address is a matter of the command line.
fn failed(error: LakeError) -> Failure {
    match error {
        LakeError::Address { .. } => Failure::usage(error.to_string()),
        error => Failure::failed(format!("{error}. {}", super::advice(error.advice()))),
    }
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.what {
        What::Init(args) => init(args),
        What::Ship(args) => ship(args),
        What::Status(args) => status(args),
        What::Sql(args) => sql(args),
        What::Compact(args) => compact(args),
    }
}

/// The address of a lake, given or set.
fn address(given: Option<&String>, layout: &Layout) -> Result<String, Failure> {
    match given {
        Some(url) => Ok(url.clone()),
        None => File::read(&layout.settings())?.lake()?.map(str::to_owned).ok_or_else(|| {
            Failure::usage("which lake? give its URL, or `[lake]` with `url = \"…\"` in overnight.toml")
        }),
    }
}

fn sql(args: &Sql) -> Result<Outcome, Failure> {
    let engine = match args.engine {
        Engine::Spark => lake::Engine::Spark,
        Engine::Trino => lake::Engine::Trino,
        Engine::Clickhouse => lake::Engine::Clickhouse,
        Engine::Duckdb => lake::Engine::Duckdb,
        Engine::Polars => lake::Engine::Polars,
        Engine::Daft => lake::Engine::Daft,
    };
    let place = Place::open(&address(args.url.as_ref(), &Layout::new(&args.dir))?).map_err(failed)?;
    super::say(lake::script(engine, &place).map_err(failed)?.trim_end())?;
    Ok(Outcome::Done)
}

fn init(args: &Init) -> Result<Outcome, Failure> {
    let place = Place::make(&args.url).map_err(failed)?;
    let checked = lake::init(&place, time::now()).map_err(failed)?;
    if args.json {
        super::say(show::json(&checked)?)?;
        return Ok(Outcome::Done);
    }
    say!("{}: {}", checked.lake, if checked.is_new { "a lake is made" } else { "a lake, as it should be" });
    let tables = text::counted(checked.tables.len() as u64, "table");
    say!("two who put one name are told apart, versions are kept, names are listed; {tables}");
    Ok(Outcome::Done)
}

fn ship(args: &Ship) -> Result<Outcome, Failure> {
    let layout = args.recording.layout();
    let place = Place::open(&address(args.url.as_ref(), &layout)?).map_err(failed)?;
    let registry = args.recording.registry()?;
    let is_rolled = roll_if_alone(&layout, args)?;
    let now = time::now();
    let mut shipper = Shipper::open(&layout, registry, &place, now).map_err(failed)?;
    let bar = progress::bar(None, true);
    let passed = shipper.pass(now, &AtomicBool::new(false), &mut |passed| bar.set_position(passed.rows));
    bar.finish_and_clear();
    let passed = passed.map_err(failed)?;
    tell!(
        "shipped {} to {}: {}, {}, {}",
        text::counted(passed.rows, "row"),
        place.shown(),
        text::counted(passed.parts, "file"),
        text::bytes(passed.bytes),
        text::counted(passed.commits, "commit")
    );
    for why in &passed.left {
        warn!("not shipped: {why}");
    }
    if !is_rolled {
        let buffered = View::open(&layout)?.held()?;
        if buffered > 0 {
            tell!("a recorder holds {} that no day file has yet: they go with a later shipment", text::counted(buffered, "event"));
        }
    }
    Ok(if passed.left.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}

fn compact(args: &Compact) -> Result<Outcome, Failure> {
    let place = Place::open(&args.url).map_err(failed)?;
    let days = match args.day {
        Some(day) => Days::One(day),
        None if args.all => Days::All,
        None => Days::Past,
    };
    let bar = progress::bar(None, false);
    let done = lake::compact(&place, days, !args.no_vacuum, time::now(), &mut |rows| bar.set_position(rows));
    bar.finish_and_clear();
    let done = done.map_err(failed)?;
    if args.json {
        super::say(show::json(&done)?)?;
    } else {
        done.iter().try_for_each(print_compacted)?;
    }
    for of in &done {
        for why in &of.left {
            warn!("{}: left as it is: {why}", printable(&of.table, 40));
        }
    }
    Ok(if done.iter().all(|of| of.left.is_empty()) { Outcome::Done } else { Outcome::Incomplete })
}

fn print_compacted(of: &Compacted) -> Result<(), Failure> {
    let table = printable(&of.table, 40);
    if of.days == 0 && of.removed_files == 0 {
        say!("{table}: nothing to do");
    }
    if of.days > 0 {
        say!(
            "{table}: {} in {}, {} dropped; {} of {} became {} of {}",
            text::counted(of.rows, "row"),
            text::counted(of.days, "day"),
            text::counted(of.doubles, "double"),
            text::counted(of.files_before, "file"),
            text::bytes(of.bytes_before),
            text::count(of.files),
            text::bytes(of.bytes)
        );
    }
    if of.removed_files > 0 {
        let files = text::counted(of.removed_files, "file");
        say!("{table}: {files} of {} removed that no version has referred to for seven days", text::bytes(of.removed_bytes));
    }
    Ok(())
}

/// Rolls what the buffer has, where nobody records; a recorder does that by itself.
fn roll_if_alone(layout: &Layout, args: &Ship) -> Result<bool, Failure> {
    if !layout.buffer().exists() {
        // Day files alone are shipped as well.
        return Ok(true);
    }
    match Recorder::open(layout, args.recording.registry()?, Arc::new(Meter::default()), Timing::default()) {
        Ok(recorder) => recorder.close().map(|()| true).map_err(Into::into),
        Err(RecordError::Buffer(BufferError::Locked { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What `lake status` says, for machines.
#[derive(Serialize)]
struct Told<'a> {
    lake: String,
    tables: Option<&'a [About]>,
    /// Why the lake does not say more.
    problem: Option<String>,
    recorder: Option<Here<'a>>,
}

#[derive(Serialize)]
struct Here<'a> {
    id: &'a str,
    tried_at: Utc,
    shipped_at: Option<Utc>,
    problem: Option<&'a str>,
    rows: u64,
    bytes: u64,
    behind_files: u64,
    behind_rows: u64,
    buffered_events: u64,
}

fn status(args: &Status) -> Result<Outcome, Failure> {
    let layout = Layout::new(&args.dir);
    let place = Place::open(&address(args.url.as_ref(), &layout)?).map_err(failed)?;
    let shipping = last_shipment(&layout).filter(|shipping| shipping.lake == place.shown());
    let tables = lake::tables(&place, shipping.as_ref());
    let buffered = if layout.buffer().exists() { View::open(&layout)?.held()? } else { 0 };
    let problem = tables.as_ref().err().map(ToString::to_string);
    if args.json {
        let here = shipping.as_ref().map(|of| here(of, buffered));
        let told = Told { lake: place.shown(), tables: tables.as_deref().ok(), problem, recorder: here };
        super::say(show::json(&told)?)?;
    } else {
        match &tables {
            Ok(tables) => print(&place, tables)?,
            Err(error) => warn!("{error}"),
        }
        match &shipping {
            Some(shipping) => print_here(shipping, buffered)?,
            None => say!("nothing of {} was shipped there", args.dir.display()),
        }
    }
    Ok(if tables.is_ok() { Outcome::Done } else { Outcome::Incomplete })
}

fn here(of: &Shipping, buffered_events: u64) -> Here<'_> {
    Here {
        id: &of.recorder,
        tried_at: Utc(of.tried),
        shipped_at: of.whole.map(Utc),
        problem: of.problem.as_deref(),
        rows: of.rows,
        bytes: of.bytes,
        behind_files: of.behind_files,
        behind_rows: of.behind_rows,
        buffered_events,
    }
}

fn print(place: &Place, tables: &[About]) -> Result<(), Failure> {
    if tables.is_empty() {
        say!("{}: no table yet", place.shown());
        return Ok(());
    }
    let row = |about: &About| {
        let (first, last, days) = about.days.clone().map_or_else(Default::default, |(first, last, days)| (first, last, text::count(days)));
        vec![
            printable(&about.table, 40),
            about.rows.map_or_else(|| "?".to_owned(), text::count),
            text::count(about.files),
            text::bytes(about.bytes),
            days,
            first,
            last,
            text::count(about.version),
        ]
    };
    let heads = ["table", "rows", "files", "size", "days", "first day", "last day", "version"];
    say!("{}\n{}", place.shown(), show::table(&heads, &[1, 2, 3, 4, 7], &[0], tables.iter().map(row).collect()));
    Ok(())
}

fn print_here(of: &Shipping, buffered: u64) -> Result<(), Failure> {
    say!("\nshipped as recorder {}: {}, {}", of.recorder, text::counted(of.rows, "row"), text::bytes(of.bytes));
    match of.whole {
        Some(whole) => say!("all that day files had at {} is there", Utc(whole)),
        None => say!("never all that day files had"),
    }
    if of.behind_files > 0 {
        let rows = text::counted(of.behind_rows, "row");
        say!("behind at {}: {rows} in {}", Utc(of.tried), text::counted(of.behind_files, "day file"));
    }
    if let Some(problem) = &of.problem {
        say!("why: {problem}");
    }
    if buffered > 0 {
        say!("in the buffer, and shipped once they are rolled: {}", text::counted(buffered, "event"));
    }
    Ok(())
}

