//! Charts of a page, one an event type: of all its devices, or of those that say most where they are many.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::base::text::count;
use crate::base::time::Utc;
use crate::base::zone::Zone;
use crate::output::chart::{Chart, svgs};
use crate::output::plot::{Settings, charts};
use crate::query::reader::{Reader, Selection};
use crate::query::tables::{known, unrecorded};
use crate::store::devices::Directory;

use super::facts::{DeviceFacts, Facts};
use super::{ReportError, Scope};

/// Most devices in a chart: as many as eyes can tell apart.
const LINES: usize = 12;
/// Widths of a chart in pixels: on a desk and on paper, and on a phone.
const WIDTHS: (u32, u32) = (1140, 390);
/// Points of a line: enough for a screen, few enough for a page of a megabyte or two.
const POINTS: usize = 300;

/// A picture of the events of one type.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What else to say of it; empty where it shows everything.
    pub note: String,
    /// An `<svg>` element for a wide page.
    pub wide: String,
    /// The same for a phone.
    pub narrow: String,
}

/// Draws the charts of a report, in the order of its types.
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
    let (mut drawn, mut notes) = (Vec::new(), Vec::new());
    for plan in &scope.plans {
        let (chosen, note) = chosen(facts, &plan.schema.name);
        let selection = Selection { devices: chosen, start: Some(from), ..scope.shown((from, to)) };
        if selection.devices.is_empty() {
            continue;
        }
        for chart in charts(reader, std::slice::from_ref(plan), &selection, directory, &settings)? {
            drawn.push(chart);
            notes.push(note.clone());
        }
    }
    let drawn: Vec<&Chart> = drawn.iter().collect();
    // Inside a page an element needs no name of its language.
    let inside = |text: String| text.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    let both = svgs(&drawn, WIDTHS.0).into_iter().zip(svgs(&drawn, WIDTHS.1));
    let pictures = notes.into_iter().zip(both);
    Ok(pictures.map(|(note, (wide, narrow))| Picture { note, wide: inside(wide), narrow: inside(narrow) }).collect())
}

/// The devices to draw: those with the lowest and with the highest means, or else those with most events.
fn chosen(facts: &Facts, event_type: &str) -> (HashSet<String>, String) {
    // One that said nothing may be in a state that it told before.
    let tells = |device: &DeviceFacts| device.events_by_type.contains_key(event_type) || device.figures.contains_key(event_type);
    let of = |device: &&DeviceFacts| !device.id.is_empty() && tells(device);
    let mut all: Vec<&DeviceFacts> = facts.devices.iter().filter(of).collect();
    let mean = |device: &DeviceFacts| device.figures.get(event_type).and_then(|figures| figures.mean);
    let mut note = String::new();
    if all.len() > LINES {
        let many = count(all.len() as u64);
        if all.iter().all(|device| mean(device).is_some()) {
            all.sort_by(|a, b| mean(a).unwrap_or_default().total_cmp(&mean(b).unwrap_or_default()));
            all.drain(LINES / 2..all.len() - LINES / 2);
            note = format!("{LINES} of {many} devices: those with the lowest and with the highest means.");
        } else {
            all.sort_by_key(|device| Reverse(device.events_by_type.get(event_type)));
            all.truncate(LINES);
            note = format!("{LINES} of {many} devices: those with most events.");
        }
    }
    (all.into_iter().map(|device| device.id.clone()).collect(), note)
}
