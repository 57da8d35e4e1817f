//! Rows of devices: what each told last, its day, when it was heard, battery, signal; and what is wrong with it, in words.

use maud::{Markup, html};

use crate::base::text::{one_line, printable};
use crate::base::time::Micros;
use crate::output::chart::{Meaning, meaning};
use crate::output::web::words::{number, time};
use crate::query::tables::{Topic, words};
use crate::watch::address::address;
use crate::watch::model::{BATTERY_LOW, Device, SIGNAL_WEAK, Said, Told, Trouble};

use super::spark::spark;
use super::{Look, ago, unit};

/// Values of a device in a row: what matters most, and further measures.
const VALUES: usize = 3;
/// The event type of water where none should be.
const WATER: &str = "waterPresent";

/// What was told of a topic.
pub(super) fn said(topic: &Topic, told: &Told) -> Markup {
    match &told.said {
        Said::Number(value) => html! { (number(*value)) (unit(topic)) },
        Said::State(state) => {
            let event_type = topic.values.first().map_or("", |value| value.event_type.as_str());
            let text = one_line(&state.to_lowercase().replace('_', " "));
            match meaning(event_type, state) {
                Meaning::Alarm if event_type == WATER => html! { b.alarm { "water" } },
                Meaning::Alarm => html! { b.alarm { (text) } },
                Meaning::Busy | Meaning::Quiet => html! { (text) },
            }
        }
        Said::Happened => html! { (words(&topic.name)) },
    }
}

/// What a row says of a device: what matters most, whatever it is, and what else it measures.
fn values(look: &Look<'_>, device: &Device) -> Markup {
    let is_number = |(_, told): &(&Topic, &Told)| matches!(told.said, Said::Number(_));
    let mut all = device.values(|place| look.fleet.topic(place));
    let shown = all.next().into_iter().chain(all.filter(is_number)).take(VALUES);
    html! {
        @for (number, (topic, told)) in shown.enumerate() {
            @if number > 0 { " · " }
            span title=(topic.title()) {
                (said(topic, told))
                @if told.said == Said::Happened { " " small { (heard(look, Some(told.time))) } }
            }
        }
    }
}

/// What is wrong with a device, in words.
pub(super) fn trouble(look: &Look<'_>, device: &Device) -> Option<String> {
    Some(match look.fleet.trouble(device)? {
        Trouble::Alert(what) => format!("alert {}", printable(&what, 100)),
        Trouble::Alarm(place) => alarm(look.fleet.topic(place)?, device.told().iter().find(|told| told.topic == place)?),
        Trouble::Silent(_) => format!("silent for {}", super::length_of(look.fleet.silence(device)?)),
        Trouble::Battery(percent) => format!("battery {}\u{a0}%", number(percent)),
        Trouble::Signal(percent) => format!("signal {}\u{a0}%", number(percent)),
    })
}

/// What somebody has to see: `water`, `probe wire status: invalid wire configuration`.
fn alarm(topic: &Topic, told: &Told) -> String {
    match &told.said {
        Said::State(_) if topic.name == WATER => "water".to_owned(),
        Said::State(state) => format!("{}: {}", words(&topic.name), one_line(&state.to_lowercase().replace('_', " "))),
        Said::Number(_) | Said::Happened => words(&topic.name),
    }
}

/// Where a device has its page.
pub(super) fn link(device: &Device) -> String {
    address("/device", &[("project", &device.project), ("id", &device.id)])
}

/// A device as a row; the same row has the same id as long as the process lives.
pub(super) fn row(look: &Look<'_>, device: &Device) -> Markup {
    let fleet = look.fleet;
    let known = fleet.known(device);
    let room = known.and_then(|known| known.labels.get("room")).map_or("", String::as_str);
    let name = fleet.name(device);
    let wrong = trouble(look, device);
    let low = |value: f64, least: f64| (value <= least).then_some("low");
    html! {
        tr id={ "r" (device.number) } class=[wrong.is_some().then_some("wrong")] {
            th scope="row" {
                a href=(link(device)) { (name) }
                @if !room.is_empty() && !name.contains(room) { " " small { (room) } }
                @if let Some(wrong) = &wrong { b.why { "! " (wrong) } }
            }
            td data-label="Value" { (values(look, device)) }
            td data-label="24 h" { (spark(fleet, device, look.seen.until)) }
            td data-label="Heard" { (heard(look, device.last_seen)) }
            td.n data-label="Battery" {
                @if let Some(battery) = device.battery(fleet.topics()) { span class=[low(battery, BATTERY_LOW)] { (number(battery)) "\u{a0}%" } }
            }
            td.n data-label="Signal" {
                @if let Some(signal) = device.signal(fleet.topics()) { span class=[low(signal, SIGNAL_WEAK)] { (number(signal)) "\u{a0}%" } }
            }
        }
    }
}

/// When a device was heard: how long ago, while somebody records; else when it was.
pub(super) fn heard(look: &Look<'_>, last: Option<Micros>) -> Markup {
    let Some(last) = last else { return html! { "not in 31 days" } };
    let (at, passed) = (look.clock.second(last), ago(look.seen.now, last));
    if look.seen.goes_on() {
        html! { span title=(at) { (passed) } }
    } else {
        time(last, &look.clock.short(last))
    }
}
