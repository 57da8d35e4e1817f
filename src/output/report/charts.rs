//! Charts of a page: of each quantity some, of all devices, or of those that say most where they are very many.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::base::text::count;
use crate::base::time::Utc;
use crate::base::zone::Zone;
use crate::output::chart::{Chart, svgs};
use crate::output::plot::{Quantity, Settings, charts, groups, quantities};
use crate::query::reader::{Reader, Selection};
use crate::query::tables::{known, unrecorded};
use crate::store::devices::Directory;

use super::facts::{DeviceFacts, Facts};
use super::{ReportError, Scope};

/// Most devices in the charts of one quantity: twenty charts of eight, a page of a megabyte or two.
const DEVICES: usize = 160;
/// Widths of a chart in pixels: on a desk and on paper, and on a phone.
const WIDTHS: (u32, u32) = (1140, 390);
/// Points of a line: enough for a screen, few enough for a page that one can send.
const POINTS: usize = 240;
/// Quantities by how much they matter to people. What is not named comes behind these and before the radio.
const ORDER: [&str; 13] = [
    "waterPresent",
    "temperature",
    "relative humidity",
    "co2",
    "pressure",
    "contact",
    "motion",
    "deskOccupancy",
    "objectPresent",
    "touch",
    "objectPresentCount",
    "touchCount",
    "probeWireStatus",
];
/// Event types about the way that events take, and not about what is measured.
pub(super) const RADIO: [&str; 6] =
    ["connectionStatus", "batteryStatus", "networkStatus", "cellularStatus", "ethernetStatus", "labelsChanged"];

/// What a page shows of one quantity.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The quantity.
    pub title: String,
    /// What else to say of it; empty where it shows everything.
    pub note: String,
    /// Whether it is about radio and batteries, which nobody looks at first.
    pub is_radio: bool,
    /// Its charts, each as an `<svg>` element for a wide page, and one for a phone.
    pub charts: Vec<(Chart, String, String)>,
}

/// Draws the charts of a report, in the order of what matters.
///
/// # Errors
/// When the recording does not read.
pub fn pictures(
    reader: &Reader,
    directory: &Directory,
    scope: &Scope,
    facts: &Facts,
    zone: &Zone,
) -> Result<Vec<Picture>, ReportError> {
    let Some((Utc(from), Utc(to))) = facts.from.zip(facts.to) else { return Ok(Vec::new()) };
    let Utc(now) = facts.made_at;
    let (known, unrecorded) = (known(reader, &scope.selection, now)?, unrecorded(reader, (from, to), now)?);
    let settings = Settings { zone: zone.clone(), points: POINTS, known, unrecorded, end: Some(to) };
    let mut pictures: Vec<(Picture, Vec<Chart>)> = Vec::new();
    for quantity in in_order(quantities(&scope.plans)) {
        let (chosen, note) = chosen(facts, &quantity);
        let selection = Selection { devices: chosen, start: Some(from), ..scope.shown((from, to)) };
        if selection.devices.is_empty() {
            continue;
        }
        let is_radio = is_radio(&quantity);
        for chart in charts(reader, std::slice::from_ref(&quantity), &selection, directory, &settings)? {
            let picture = Picture { title: chart.title.clone(), note: note.clone(), is_radio, charts: Vec::new() };
            pictures.push((picture, groups(chart)));
        }
    }
    // All of them at once: a time stands at the same place in all charts.
    let all: Vec<&Chart> = pictures.iter().flat_map(|(_, charts)| charts).collect();
    let mut both = svgs(&all, WIDTHS.0).into_iter().zip(svgs(&all, WIDTHS.1));
    // Inside a page an element needs no name of its language.
    let inside = |text: String| text.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    let with_charts = |(picture, charts): (Picture, Vec<Chart>)| {
        let drawn = both.by_ref().take(charts.len());
        let charts = charts.into_iter().zip(drawn).map(|(chart, (wide, narrow))| (chart, inside(wide), inside(narrow)));
        Picture { charts: charts.collect(), ..picture }
    };
    Ok(pictures.into_iter().map(with_charts).collect())
}

fn is_radio(quantity: &Quantity<'_>) -> bool {
    quantity.sources.iter().all(|(plan, _)| RADIO.contains(&plan.schema.name.as_str()))
}

fn in_order(mut all: Vec<Quantity<'_>>) -> Vec<Quantity<'_>> {
    let place = |quantity: &Quantity<'_>| {
        let known = ORDER.iter().position(|name| *name == quantity.title);
        let radio = RADIO.iter().position(|name| *name == quantity.sources[0].0.schema.name);
        (is_radio(quantity), radio.or(known).unwrap_or(ORDER.len()))
    };
    all.sort_by_key(place);
    all
}

/// The devices to draw: those with the lowest and with the highest means, or else those with most events.
fn chosen(facts: &Facts, quantity: &Quantity<'_>) -> (HashSet<String>, String) {
    let types: Vec<&str> = quantity.sources.iter().map(|(plan, _)| plan.schema.name.as_str()).collect();
    // One that said nothing may be in a state that it told before.
    let tells = |device: &DeviceFacts| {
        types.iter().any(|kind| device.events_by_type.get(kind).is_some() || device.figures.get(kind).is_some())
    };
    let of = |device: &&DeviceFacts| !device.id.is_empty() && tells(device);
    let mut all: Vec<&DeviceFacts> = facts.devices.iter().filter(of).collect();
    let mean = |device: &DeviceFacts| types.iter().find_map(|kind| device.figures.get(kind).and_then(|figures| figures.mean));
    let mut note = String::new();
    if all.len() > DEVICES {
        let many = count(all.len() as u64);
        let others = "Others: choose them by --label, --device or --device-type.";
        if all.iter().all(|device| mean(device).is_some()) {
            all.sort_by(|a, b| mean(a).unwrap_or_default().total_cmp(&mean(b).unwrap_or_default()));
            all.drain(DEVICES / 2..all.len() - DEVICES / 2);
            note = format!("{DEVICES} of {many} devices: those with the lowest and with the highest means. {others}");
        } else {
            let events = |device: &DeviceFacts| types.iter().filter_map(|kind| device.events_by_type.get(kind)).sum::<u64>();
            all.sort_by_key(|device| Reverse(events(device)));
            all.truncate(DEVICES);
            note = format!("{DEVICES} of {many} devices: those with most events. {others}");
        }
    }
    (all.into_iter().map(|device| device.id.clone()).collect(), note)
}
