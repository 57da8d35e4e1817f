//! The devices of a page: those that somebody should look at, and all of them.

use crate::base::text::count;
use std::fmt::Write;

use super::facts::{DeviceFacts, Facts};
use super::page::time;
use super::sections::said;
use super::words::{Clock, escape, length, micros, number};

/// Most devices in the table; the rest is in `--json`.
const ROWS: usize = 300;
/// Devices in each list of those to look at.
const WORST: usize = 5;
/// Batteries below this percentage, and signals below that, are worth a look.
const BATTERY: f64 = 20.0;
const SIGNAL: f64 = 20.0;

/// Devices that somebody should look at: silent at the end, battery nearly empty, hardly heard.
pub(super) fn to_look_at(out: &mut String, facts: &Facts, clock: &Clock) {
    let list = |out: &mut String, title: &str, all: Vec<(f64, &DeviceFacts, String)>| {
        if all.is_empty() {
            return;
        }
        let mut all = all;
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let more = all.len().saturating_sub(WORST);
        write!(out, "<div><h3>{title}</h3><ul>").unwrap_or_default();
        for (_, device, text) in all.iter().take(WORST) {
            write!(out, "<li><b>{}</b> {text}</li>", escape(&device.name)).unwrap_or_default();
        }
        if more > 0 {
            write!(out, "<li class=\"more\">and {} more</li>", count(more as u64)).unwrap_or_default();
        }
        out.push_str("</ul></div>");
    };
    let mut lists = String::new();
    let silent = facts.devices.iter().filter_map(|device| {
        let silence = device.silence.as_ref().filter(|silence| silence.lasts && silence.seconds >= 3600.0)?;
        let from = micros(&silence.from);
        Some((-silence.seconds, device, format!("for {}, since {}", length(silence.seconds), time(from, &clock.minute(from)))))
    });
    list(&mut lists, "Silent at the end", silent.collect());
    let battery = facts.devices.iter().filter_map(|device| {
        let battery = device.battery.as_ref().filter(|battery| battery.percent <= BATTERY)?;
        Some((battery.percent, device, format!("{}\u{a0}%", number(battery.percent))))
    });
    list(&mut lists, "Battery low", battery.collect());
    let signal = facts.devices.iter().filter_map(|device| {
        let signal = device.signal.as_ref().filter(|signal| signal.latest <= SIGNAL)?;
        Some((signal.latest, device, format!("{}\u{a0}%", number(signal.latest))))
    });
    list(&mut lists, "Signal weak", signal.collect());
    if !lists.is_empty() {
        write!(out, "<section>\n<h2>Devices to look at</h2>\n<div class=\"look\">{lists}</div>\n</section>").unwrap_or_default();
    }
}

/// The table of devices.
pub(super) fn table(out: &mut String, facts: &Facts, clock: &Clock) {
    let mut shown: Vec<&DeviceFacts> = facts.devices.iter().collect();
    if shown.is_empty() {
        return;
    }
    let left_out = shown.len().saturating_sub(ROWS);
    out.push_str("<section>\n<h2>Devices</h2>\n");
    if left_out > 0 {
        let quiet = |device: &DeviceFacts| device.silence.as_ref().map_or(f64::MAX, |silence| silence.seconds);
        shown.sort_by(|a, b| quiet(b).total_cmp(&quiet(a)));
        shown.truncate(ROWS);
        write!(
            out,
            "<p>The {ROWS} of {} devices that were silent for longest. All of them: <code>overnight report --json</code>; some of them: \
             <code>--device</code>, <code>--device-type</code>, <code>--label</code>.</p>",
            count(facts.devices.len() as u64)
        )
        .unwrap_or_default();
    }
    out.push_str(
        "<table class=\"fold devices\"><thead><tr><th>Device</th><th class=\"n\">Events</th><th>Last seen</th><th>Longest silence</th>\
         <th class=\"n\">Battery</th><th class=\"n\">Signal <small>(least)</small></th><th>Min / mean / max, time in state</th></tr></thead><tbody>\n",
    );
    for device in shown {
        row(out, device, facts.here(), clock);
    }
    out.push_str("</tbody></table>\n</section>\n");
}

fn row(out: &mut String, device: &DeviceFacts, here: &str, clock: &Clock) {
    let name = if device.id.is_empty() { "(about no device)" } else { &device.name };
    let id = if device.name == device.id { "" } else { &device.id };
    let about = [id, &device.kind].into_iter().filter(|text| !text.is_empty()).map(escape).collect::<Vec<_>>().join(" · ");
    let last =
        device.last_seen.as_deref().map(micros).map_or_else(|| format!("never {here}"), |last| time(last, &clock.short(last)));
    let silence = device.silence.as_ref().map_or_else(String::new, |silence| {
        let (from, to) = (micros(&silence.from), micros(&silence.to));
        let until = if silence.lasts { "the end".to_owned() } else { time(to, &clock.short_behind(from, to)) };
        format!("{} <small class=\"when\">{} – {until}</small>", length(silence.seconds), time(from, &clock.short(from)))
    });
    let battery = device.battery.as_ref().map_or_else(String::new, |battery| format!("{}\u{a0}%", number(battery.percent)));
    let signal = match (&device.signal, &device.rssi) {
        (Some(signal), _) => format!("{}\u{a0}% <small>({}\u{a0}%)</small>", number(signal.latest), number(signal.least)),
        (None, Some(rssi)) => format!("{}\u{a0}dBm <small>({}\u{a0}dBm)</small>", number(rssi.latest), number(rssi.least)),
        (None, None) => String::new(),
    };
    let own = |event_type: &str| !matches!(event_type, "networkStatus" | "batteryStatus");
    let mut figures: Vec<String> = Vec::new();
    for (event_type, of) in device.figures.iter().filter(|(event_type, _)| own(event_type)) {
        figures.push(format!("<span class=\"fig\"><i>{}</i> {}</span>", escape(event_type), said(of)));
    }
    for (event_type, events) in device.events_by_type.iter().filter(|(kind, _)| own(kind) && !device.figures.contains_key(*kind))
    {
        figures.push(format!("<span class=\"fig\"><i>{}</i> {}×</span>", escape(event_type), count(*events)));
    }
    let cells = [
        ("n", "Events", count(device.events)),
        ("", "Last seen", last),
        ("", "Longest silence", silence),
        ("n", "Battery", battery),
        ("n", "Signal (least)", signal),
        ("", "Figures", figures.concat()),
    ];
    write!(out, "<tr><td class=\"name\"><b>{}</b><small>{about}</small></td>", escape(name)).unwrap_or_default();
    for (class, label, text) in cells {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let empty = if text.is_empty() { " data-empty" } else { "" };
        write!(out, "<td{class}{empty} data-label=\"{label}\"><span>{text}</span></td>").unwrap_or_default();
    }
    out.push_str("</tr>\n");
}
