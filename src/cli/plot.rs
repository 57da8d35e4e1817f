//! `overnight plot`: events over time, in the terminal or as a picture.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::base::disk;
use crate::base::text;
use crate::base::time::{self, Micros};
use crate::output::chart::{self, Chart, Screen, Size};
use crate::output::plot::{Settings, charts, groups, main_values, quantity};
use crate::query::reader::Reader;
use crate::query::tables;
use crate::store::devices::Directory;

use super::select::{Select, why_empty};
use super::{Failure, Outcome, Recording, progress, missing_in, tell_left_out, tell_missing};

/// Width of a picture where nobody says, in the pixels of a page.
const WIDTH: u32 = 1000;
/// Devices of one event type in a picture: twelve charts of eight.
const MOST: usize = 96;
/// A PNG has so many times as many, so that it is sharp on paper.
const SHARP: u32 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// What to draw by its name, such as temperature: of every event type that measures it; humidity.temperature is that of one
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    quantity: Vec<String>,
    /// A picture, FILE.svg or FILE.png [default: into the terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Size of the picture in pixels, such as 1600x900 [default: as wide as a page, as high as it needs]
    #[arg(long, value_name = "WxH", value_parser = size, requires = "output")]
    size: Option<Size>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    #[command(flatten, next_help_heading = "Which events")]
    select: Select,
}

fn size(text: &str) -> Result<Size, String> {
    let read = |side: &str| side.parse().ok().filter(|side| (100..=10_000).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| Some((read(width)?, read(height)?)));
    let (width, height) = sides.ok_or_else(|| format!("{text:?} is no size; write 1600x900 (100 to 10000 pixels a side)"))?;
    Ok(Size { width, height })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Svg,
    Png,
}

/// What a picture is written as.
fn kind(path: &Path) -> Result<Kind, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("svg") => Ok(Kind::Svg),
        Some("png") => Ok(Kind::Png),
        _ => Err(Failure::usage(format!("{} is no picture; -o takes FILE.svg or FILE.png", path.display()))),
    }
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let kind = args.output.as_deref().map(kind).transpose()?;
    args.output.as_deref().map(|output| args.recording.refuse_own(output)).transpose()?;
    let reader = Reader::open(&args.recording.layout(), args.recording.registry()?)?;
    let directory = Directory::new(&reader.devices()?);
    let zone = args.select.zone(args.output.is_none() && io::stdout().is_terminal());
    let selection = args.select.selection(&reader, &directory, &zone)?;
    if selection.event_types.is_empty() && args.quantity.is_empty() {
        let plans = reader.plan(&selection)?;
        let known: Vec<&str> = plans.iter().map(|plan| plan.schema.name.as_str()).collect();
        let known = if known.is_empty() { "none in this selection".to_owned() } else { text::few(&known) };
        return Err(Failure::usage(format!("say what to draw with --event-type or --quantity; the recording has {known}")));
    }
    // A door that stayed shut has no events tonight, and is shut all the same.
    let plans = tables::plans(&reader, &selection, tables::Fill::None)?;
    let (screen, now) = (screen(), time::now());
    let width = args.size.map_or(WIDTH, |size| size.width);
    let span = (selection.start.unwrap_or(Micros::MIN), selection.end.unwrap_or(Micros::MAX));
    let settings = Settings {
        zone,
        points: match kind {
            // A point a pixel, or a dot of which a character has two.
            Some(_) => usize::try_from(width).unwrap_or_default().min(2000),
            None => screen.width * 2,
        },
        known: tables::known(&reader, &selection, now)?,
        unrecorded: tables::unrecorded(&reader, span, now)?,
        end: selection.until(now),
    };
    let quantities = if args.quantity.is_empty() {
        main_values(&plans)
    } else {
        args.quantity.iter().map(|wanted| quantity(wanted, &plans)).collect::<Result<_, _>>()?
    };
    let bar = progress::bar(Some(plans.iter().map(|plan| plan.events).sum()), false);
    let drawn = charts(&reader, &quantities, &selection, &directory, &settings);
    bar.finish_and_clear();
    let drawn = drawn?;
    if drawn.is_empty() {
        tell!("no events: {}", why_empty(&reader)?);
    } else if let (Some(path), Some(kind)) = (&args.output, kind) {
        write(path, kind, drawn, args)?;
    } else {
        let charts: Vec<&Chart> = drawn.iter().collect();
        match io::stdout().write_all(chart::terminal(&charts, &screen).as_bytes()).and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Failure::EndOfOutput),
            written => written?,
        }
    }
    let missing = missing_in(&reader, &selection)?;
    let left_out = tell_left_out(&reader);
    Ok(left_out.max(tell_missing(missing.as_deref(), &args.recording.layout())))
}

/// Draws each chart as several, if it has many lines.
fn write(path: &Path, kind: Kind, whole: Vec<Chart>, args: &Args) -> Result<(), Failure> {
    if let Some(chart) = whole.iter().find(|chart| chart.lines.len() > MOST) {
        let (many, title) = (text::counted(chart.lines.len() as u64, "device"), text::printable(&chart.title, 40));
        return Err(Failure::usage(format!(
            "{many} with {title} are too many for one picture; choose up to {MOST} of them by --device, --device-type or --label, or make \
             a page: `overnight report`"
        )));
    }
    let titles = whole.iter().map(|chart| text::printable(&chart.title, 40)).collect::<Vec<_>>().join(", ");
    let split: Vec<Chart> = whole.into_iter().flat_map(groups).collect();
    let charts = &split.iter().collect::<Vec<_>>()[..];
    let fitting = Size::fitting(charts, WIDTH);
    if let Some(size) = args.size {
        let smallest = Size::smallest(charts, size.width);
        if size.width < smallest.width || size.height < smallest.height {
            let what = text::counted(charts.len() as u64, "chart");
            let smallest = format!("{}x{}", smallest.width, smallest.height);
            return Err(Failure::usage(format!(
                "{what} cannot be read in {}x{}; give --size {smallest} or more",
                size.width, size.height
            )));
        }
    }
    let (bytes, size) = match (kind, args.size) {
        (Kind::Svg, size) => {
            let size = size.unwrap_or(fitting);
            (chart::svg(charts, size).into_bytes(), size)
        }
        (Kind::Png, None) => {
            let size = Size { width: fitting.width * SHARP, height: fitting.height * SHARP };
            (chart::png(charts, size, f64::from(SHARP))?, size)
        }
        // Letters grow with the picture, as far as there is room.
        (Kind::Png, Some(size)) => {
            let room = f64::from(size.height) / f64::from(Size::smallest(charts, WIDTH).height);
            let scale = (f64::from(size.width) / f64::from(WIDTH)).min(room).max(1.0);
            (chart::png(charts, size, scale)?, size)
        }
    };
    disk::output_bytes(path, args.force, &bytes)?;
    let lacking = if kind == Kind::Png { chart::lacking(charts) } else { Vec::new() };
    if !lacking.is_empty() {
        let texts: Vec<String> = lacking.iter().map(|text| format!("{:?}", crate::base::text::printable(text, 40))).collect();
        warn!("the font of PNG pictures lacks some letters of {}; an SVG shows them", text::few(&texts));
    }
    let names: BTreeSet<&str> = charts.iter().flat_map(|chart| &chart.lines).map(|line| line.device.as_str()).collect();
    let devices = text::counted(names.len() as u64, "device");
    tell!("drew {titles} of {devices} to {}, {} x {} pixels", path.display(), size.width, size.height);
    Ok(())
}

/// What the terminal can show; a page of 80 columns where there is none.
fn screen() -> Screen {
    let is_terminal = io::stdout().is_terminal();
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (width, height) = super::screen::size();
    let (width, height) = (width.unwrap_or(super::screen::USUAL), height.unwrap_or(24));
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said).unwrap_or_default().to_ascii_lowercase();
    Screen {
        width: width.clamp(40, 200),
        // Below stand a warning of two lines and the prompt.
        height: height.saturating_sub(3 * usize::from(is_terminal)).clamp(12, 40),
        has_colour: is_terminal && said("NO_COLOR").is_none() && said("TERM").is_none_or(|term| term != "dumb"),
        has_unicode: cfg!(windows) || locale.contains("utf-8") || locale.contains("utf8"),
    }
}
