//! The page of one device: what it told last, charts of a range, the same as numbers and as files.

use maud::{Markup, html};

use crate::base::time::{Micros, SECOND};
use crate::output::chart::Chart;
use crate::output::web::numbers::table;
use crate::output::web::words::time;
use crate::watch::address::address;
use crate::watch::model::{Device, Told};
use crate::watch::range::Range;

use super::{Look, Part, frame, head, part, rows, top};

/// Widths of a chart in pixels: on a desk and on paper, and on a phone.
const WIDTHS: [(&str, u32); 2] = [("wide", 1140), ("narrow", 390)];
/// A chart is drawn anew no more often than this, however often a device speaks.
const REDRAWN: Micros = 10 * SECOND;

/// The page of a device over a range; `wrong` says why it is not the one that was asked for.
pub fn device(look: &Look<'_>, device: &Device, range: &Range, wrong: Option<&str>) -> String {
    let known = look.fleet.known(device);
    let about = [known.map_or("", |known| &known.kind), &device.project, &device.id];
    let about = about.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ");
    let labels = known.into_iter().flat_map(|known| &known.labels).filter(|(key, _)| *key != "name");
    let name = look.fleet.name(device);
    let main = html! {
        (top(look, false))
        (head::state(look))
        h2.device { (name) }
        p { small { (about) } }
        p.labels { @for (key, value) in labels { span { (key) "=" (value) } " " } }
        (values(look, device))
        h2 { "Charts" }
        @if let Some(wrong) = wrong { p.state.bad role="alert" { (wrong) } }
        (ranges(look, device, range))
        @for told in device.told() { (chart(look, device, told, range)) }
        @if device.told().is_empty() { p { "It told nothing in the last 31 days." } }
        (files(device, range))
        (super::foot(look))
    };
    let live = of(device, "/live", "", range);
    frame(&format!("{name} · {}", look.seen.name), Some(&live), &main)
}

/// An address about a device over a range.
fn of(device: &Device, path: &str, topic: &str, range: &Range) -> String {
    let own = [("project", &*device.project), ("id", &*device.id), ("topic", topic)];
    address(path, &own.into_iter().chain(range.values()).collect::<Vec<_>>())
}

/// What it told last of everything.
fn values(look: &Look<'_>, device: &Device) -> Markup {
    html! {
        table #values.numbers {
            thead { tr { th scope="col" { "What" } th scope="col" { "Last" } th scope="col" { "When" } } }
            tbody {
                @for told in device.told() {
                    @if let Some(topic) = look.fleet.topic(told.topic) {
                        tr {
                            th scope="row" { (topic.title()) }
                            td { (rows::said(topic, told)) }
                            td { (time(told.time, &look.clock.second(told.time))) }
                        }
                    }
                }
                @if let Some(wrong) = rows::trouble(look, device) {
                    tr.wrong { th scope="row" { "Trouble" } td colspan="2" { b.why { "! " (wrong) } } }
                }
            }
        }
    }
}

/// Links to ranges, and a form for one of one's own.
fn ranges(look: &Look<'_>, device: &Device, range: &Range) -> Markup {
    let (from, to) = range.fields(&look.clock.zone());
    html! {
        nav.ranges aria-label="Range" {
            @for (word, name, _) in Range::WORDS {
                @let address = address("/device", &[("project", &device.project), ("id", &device.id), ("span", word)]);
                a href=(address) aria-current=[(word == range.word).then_some("true")] { (name) }
            }
            form action="/device" {
                input type="hidden" name="project" value=(device.project);
                input type="hidden" name="id" value=(device.id);
                label { "from " input type="datetime-local" name="from" value=(from) required; }
                " "
                label { "to " input type="datetime-local" name="to" value=(to) required; }
                " "
                button { "Show" }
            }
        }
    }
}

fn chart(look: &Look<'_>, device: &Device, told: &Told, range: &Range) -> Markup {
    let Some(topic) = look.fleet.topic(told.topic) else { return html! {} };
    html! {
        figure {
            (images(look, device, told, range))
            figcaption {
                a href=(of(device, "/numbers", &topic.name, range)) { (topic.title()) " as numbers" }
                " · "
                a href=(of(device, "/chart.png", &topic.name, range)) download { "PNG" }
            }
        }
    }
}

/// The chart for a wide page and for a phone; only what is seen is fetched.
fn images(look: &Look<'_>, device: &Device, told: &Told, range: &Range) -> Markup {
    let Some(topic) = look.fleet.topic(told.topic) else { return html! {} };
    let alt = format!("{} of {}: the numbers stand behind the link below", topic.title(), look.fleet.name(device));
    let version = (device.last_seen.unwrap_or_default() / REDRAWN).to_string();
    html! {
        @for (class, width) in WIDTHS {
            @let address = format!("{}&w={width}&v={version}", of(device, "/chart.svg", &topic.name, range));
            img id={ "c" (told.topic) "-" (class) } class=(class) src=(address) width=(width) height=(width / 3) alt=(alt) loading="lazy";
        }
    }
}

fn files(device: &Device, range: &Range) -> Markup {
    html! {
        p.files {
            "All that it told in this time: "
            a href=(of(device, "/data.csv", "", range)) download { "CSV" }
            @if cfg!(feature = "workbooks") {
                " · " a href=(of(device, "/data.xlsx", "", range)) download { "XLSX" }
            }
        }
    }
}

/// What changes on the page of a device.
pub fn live(look: &Look<'_>, device: &Device, range: &Range) -> Vec<Part> {
    let mut parts = vec![part("state", head::state(look)), part("values", values(look, device))];
    for told in device.told() {
        // Two elements, each with an id of its own.
        parts.push(part(format!("c{}", told.topic), images(look, device, told, range)));
    }
    parts.push(part("now", html! { span #now { (look.clock.second(look.seen.now)) } }));
    parts
}

/// The numbers of a device's charts; of what only happens, how often it did.
pub fn numbers(look: &Look<'_>, device: &Device, title: &str, charts: &[Chart], how_often: u64) -> String {
    let name = look.fleet.name(device);
    let main = html! {
        (top(look, false))
        h2.device { (title) " of " a href=(rows::link(device)) { (name) } }
        @for chart in charts { (table(chart, look.clock, |_| how_often)) }
        @if charts.is_empty() { p { "Nothing was told in this time." } }
    };
    frame(&format!("{title} of {name}"), None, &main)
}
