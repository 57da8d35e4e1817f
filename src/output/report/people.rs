//! The devices of a page: those that somebody should look at, and all of them.

use maud::{Markup, html};

use crate::base::text::count;
use crate::output::chart::{Meaning, meaning};
use crate::output::web::words::{Clock, length, number, time, unit};

use super::charts::RADIO;
use super::facts::{DeviceFacts, Facts};
use super::figures::Figures;
use super::sections::said;

/// Most devices in the table.
const ROWS: usize = 2000;
/// A device strays so many times as far from its own mean as others usually do, if there are enough to know what is usual; and so
/// many times as far to one side as to the other, since what swings evenly, as a boiler does, is as it always is.
const STRAYS: f64 = 5.0;
const LOPSIDED: f64 = 2.5;
const ENOUGH: usize = 4;
/// Devices in each list of those to look at.
const WORST: usize = 5;
/// Batteries below this percentage, and signals below that, are worth a look.
const BATTERY: f64 = 20.0;
const SIGNAL: f64 = 20.0;

/// Devices in a state that somebody has to see, and for how long.
fn alarms(facts: &Facts) -> Vec<(f64, &DeviceFacts, Markup)> {
    let mut all = Vec::new();
    for device in &facts.devices {
        for (event_type, figures) in device.figures.iter() {
            let states = figures
                .seconds_in
                .iter()
                .filter(|(state, seconds)| **seconds > 0.0 && meaning(event_type, state) == Meaning::Alarm);
            for (state, seconds) in states {
                let what = if event_type == "waterPresent" { "water".to_owned() } else { state.to_lowercase().replace('_', " ") };
                all.push((-seconds, device, html! { (what) " for " (length(*seconds)) }));
            }
        }
    }
    all
}

/// Devices that went much farther from their own mean than others of their kind usually do.
fn strays(facts: &Facts) -> Vec<(f64, &DeviceFacts, Markup)> {
    let mut all = Vec::new();
    for kind in facts.types.iter().filter(|kind| !RADIO.contains(&kind.event_type.as_str())) {
        let of = |device| -> Option<(&DeviceFacts, &Figures, bool, f64)> {
            let device: &DeviceFacts = device;
            let figures = device.figures.get(&kind.event_type).filter(|figures| figures.readings > 2)?;
            let (min, mean, max) = (figures.min?, figures.mean?, figures.max?);
            let (far, near) = ((max - mean).max(mean - min), (max - mean).min(mean - min));
            let is_lopsided = far > LOPSIDED * near;
            Some((device, figures, is_lopsided, far)).filter(|_| far.is_finite())
        };
        let found: Vec<_> = facts.devices.iter().filter_map(of).collect();
        let mut usual: Vec<f64> = found.iter().map(|(.., far)| *far).collect();
        usual.sort_by(f64::total_cmp);
        let usual = usual.get(usual.len() / 2).copied().unwrap_or_default();
        if found.len() < ENOUGH || usual <= 0.0 {
            continue;
        }
        for (device, figures, _, far) in found.into_iter().filter(|(.., lopsided, far)| *lopsided && *far > STRAYS * usual) {
            let unit = unit(figures.unit.as_deref());
            let [min, mean, max] = [figures.min, figures.mean, figures.max].map(Option::unwrap_or_default);
            let text = html! {
                (figures.value.replace('_', " ")) " " (number(min)) " to " (number(max)) (unit) ", in the mean " (number(mean))
            };
            all.push((-far / usual, device, text));
        }
    }
    all
}

/// What needs somebody: alarms, who is silent at the end, who strays, batteries nearly empty, who is hardly heard.
pub(super) fn to_look_at(facts: &Facts, clock: &Clock) -> Markup {
    let silent = facts.devices.iter().filter_map(|device| {
        let silence = device.silence.as_ref().filter(|silence| silence.lasts && silence.seconds >= 3600.0)?;
        let from = silence.from.into();
        let text = html! { "for " (length(silence.seconds)) ", since " (time(from, &clock.minute(from))) };
        Some((-silence.seconds, device, text))
    });
    let low = |value: f64, device| (value, device, html! { (percent(value)) });
    let battery = facts.devices.iter().filter_map(|device| {
        let battery = device.battery.as_ref().filter(|battery| battery.percent <= BATTERY)?;
        Some(low(battery.percent, device))
    });
    let signal = facts.devices.iter().filter_map(|device| {
        let signal = device.signal.as_ref().filter(|signal| signal.latest <= SIGNAL)?;
        Some(low(signal.latest, device))
    });
    let lists = html! {
        (worst("Alarm", alarms(facts)))
        (worst("Silent at the end", silent.collect()))
        (worst("Out of the usual", strays(facts)))
        (worst("Battery low", battery.collect()))
        (worst("Signal weak", signal.collect()))
    };
    html! {
        @if !lists.0.is_empty() {
            section #look { h2 { "What needs somebody" } div.look { (lists) } }
        }
    }
}

/// Whether the name tells the room, if there is one.
fn is_told(device: &DeviceFacts) -> bool {
    device.name.contains(&device.room)
}

/// A list of devices, those with the least numbers first.
fn worst(title: &str, mut all: Vec<(f64, &DeviceFacts, Markup)>) -> Markup {
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let more = all.len().saturating_sub(WORST);
    html! {
        @if !all.is_empty() {
            div {
                h3 { (title) }
                ul {
                    @for (_, device, text) in all.iter().take(WORST) { li { b { (device.name) } @if !is_told(device) { " (" (device.room) ")" } " " (text) } }
                    @if more > 0 { li.more { "and " (count(more as u64)) " more" } }
                }
            }
        }
    }
}

/// The table of devices.
pub(super) fn table(facts: &Facts, clock: &Clock) -> Markup {
    let mut shown: Vec<&DeviceFacts> = facts.devices.iter().collect();
    let left_out = shown.len().saturating_sub(ROWS);
    if left_out > 0 {
        let quiet = |device: &DeviceFacts| device.silence.as_ref().map_or(f64::MAX, |silence| silence.seconds);
        shown.sort_by(|a, b| quiet(b).total_cmp(&quiet(a)));
        shown.truncate(ROWS);
    }
    html! {
        @if !shown.is_empty() {
            section #devices {
                h2 { "Devices" }
                @if left_out > 0 {
                    p {
                        "The " (count(ROWS as u64)) " of " (count(facts.devices.len() as u64))
                        " devices that were silent for longest. All of them: " code { "overnight export --latest" }
                        "; some of them: " code { "--device" } ", " code { "--device-type" } ", " code { "--label" } "."
                    }
                }
                table.fold.devices {
                    thead {
                        tr {
                            th { "Device" } th { "Min / mean / max, time in state" } th { "Last seen" } th { "Longest silence" }
                            th.n { "Battery" } th.n { "Signal " small { "(least)" } } th.n { "Events" }
                        }
                    }
                    tbody { @for device in shown { (row(device, facts.here(), clock)) } }
                }
            }
        }
    }
}

fn row(device: &DeviceFacts, here: &str, clock: &Clock) -> Markup {
    let name = if device.id.is_empty() { "(about no device)" } else { &device.name };
    let id = if device.name == device.id { "" } else { &device.id };
    let room = if is_told(device) { "" } else { &device.room };
    let about = [room, id, &device.kind].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ");
    let last = html! {
        @if let Some(last) = device.last_seen { (time(last.into(), &clock.short(last.into()))) } @else { "never " (here) }
    };
    let silence = html! {
        @if let Some(silence) = &device.silence {
            @let (from, to) = (silence.from.into(), silence.to.into());
            (length(silence.seconds)) " "
            small.when {
                (time(from, &clock.short(from))) " – "
                @if silence.lasts { "the end" } @else { (time(to, &clock.short_behind(from, to))) }
            }
        }
    };
    let battery = html! { @if let Some(battery) = &device.battery { (percent(battery.percent)) } };
    let dbm = |value: f64| format!("{}\u{a0}dBm", number(value));
    let signal = html! {
        @if let Some(signal) = &device.signal {
            (percent(signal.latest)) " " small { "(" (percent(signal.least)) ")" }
        } @else if let Some(rssi) = &device.rssi {
            (dbm(rssi.latest)) " " small { "(" (dbm(rssi.least)) ")" }
        }
    };
    let own = |event_type: &str| !matches!(event_type, "networkStatus" | "batteryStatus" | "labelsChanged" | "ethernetStatus");
    let only_events = |kind: &str| own(kind) && device.figures.get(kind).is_none();
    let figures = html! {
        @for (event_type, of) in device.figures.iter().filter(|(event_type, _)| own(event_type)) {
            span.fig { i { (event_type) } " " (said(event_type, of)) }
        }
        @for (event_type, events) in device.events_by_type.iter().filter(|(kind, _)| only_events(kind)) {
            span.fig { i { (event_type) } " " (count(*events)) "×" }
        }
    };
    let cells = [
        (None, "Figures", figures),
        (None, "Last seen", last),
        (None, "Longest silence", silence),
        (Some("n"), "Battery", battery),
        (Some("n"), "Signal (least)", signal),
        (Some("n"), "Events", html! { (count(device.events)) }),
    ];
    html! {
        tr {
            td.name { b { (name) } small { (about) } }
            @for (class, label, text) in cells {
                td class=[class] data-empty[text.0.is_empty()] data-label=(label) { span { (text) } }
            }
        }
    }
}

fn percent(value: f64) -> String {
    format!("{}\u{a0}%", number(value))
}
