//! The devices of a page: those that somebody should look at, and all of them.

use maud::{Markup, html};

use crate::base::text::count;

use super::facts::{DeviceFacts, Facts};
use super::sections::said;
use super::words::{Clock, length, number, time};

/// Most devices in the table; the rest is in `--json`.
const ROWS: usize = 300;
/// Devices in each list of those to look at.
const WORST: usize = 5;
/// Batteries below this percentage, and signals below that, are worth a look.
const BATTERY: f64 = 20.0;
const SIGNAL: f64 = 20.0;

/// Devices that somebody should look at: silent at the end, battery nearly empty, hardly heard.
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
        (worst("Silent at the end", silent.collect()))
        (worst("Battery low", battery.collect()))
        (worst("Signal weak", signal.collect()))
    };
    html! {
        @if !lists.0.is_empty() {
            section { h2 { "Devices to look at" } div.look { (lists) } }
        }
    }
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
                    @for (_, device, text) in all.iter().take(WORST) { li { b { (device.name) } " " (text) } }
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
            section {
                h2 { "Devices" }
                @if left_out > 0 {
                    p {
                        "The " (ROWS) " of " (count(facts.devices.len() as u64)) " devices that were silent for longest. All of them: "
                        code { "overnight report --json" } "; some of them: "
                        code { "--device" } ", " code { "--device-type" } ", " code { "--label" } "."
                    }
                }
                table.fold.devices {
                    thead {
                        tr {
                            th { "Device" } th.n { "Events" } th { "Last seen" } th { "Longest silence" } th.n { "Battery" }
                            th.n { "Signal " small { "(least)" } } th { "Min / mean / max, time in state" }
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
    let about = [id, &device.kind].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ");
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
    let own = |event_type: &str| !matches!(event_type, "networkStatus" | "batteryStatus");
    let only_events = |kind: &str| own(kind) && !device.figures.contains_key(kind);
    let figures = html! {
        @for (event_type, of) in device.figures.iter().filter(|(event_type, _)| own(event_type)) {
            span.fig { i { (event_type) } " " (said(of)) }
        }
        @for (event_type, events) in device.events_by_type.iter().filter(|(kind, _)| only_events(kind)) {
            span.fig { i { (event_type) } " " (count(*events)) "×" }
        }
    };
    let cells = [
        (Some("n"), "Events", html! { (count(device.events)) }),
        (None, "Last seen", last),
        (None, "Longest silence", silence),
        (Some("n"), "Battery", battery),
        (Some("n"), "Signal (least)", signal),
        (None, "Figures", figures),
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
