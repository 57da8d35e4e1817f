//! The page: one HTML file with its style and pictures in it, that asks nobody for anything. The macro [`html!`] escapes whatever
//! stands in parentheses; what is hidden in it, wherever it came from, is taken out of the whole at the end.

use maud::{Markup, PreEscaped, html};

use crate::base::text::{bytes, clean, count};
use crate::base::time::Micros;
use crate::base::zone::Zone;
use crate::output::web::words::{Clock, length, time};

use super::charts::Picture;
use super::facts::Facts;
use super::sections::{coverage, faults, measured, radio, recorded};
use super::{people, seconds, values};

/// How the page looks: on screens light and dark, on phones, on paper.
const STYLE: &str = include_str!("style.css");

/// The facts as a page; `pictures` are its charts.
pub fn page(facts: &Facts, zone: &Zone, pictures: &[Picture]) -> String {
    let (from, to) = (facts.from.map(Micros::from), facts.to.map(Micros::from));
    let one = from.or(to).unwrap_or(facts.made_at.into());
    let clock = Clock::new(zone, (one, to.unwrap_or(one)));
    let sections = html! {
        @if let Some(span) = from.zip(to) { (coverage(facts, span, &clock)) }
        (faults(facts, &clock))
        @if let Some(span) = from.zip(to) {
            (people::to_look_at(facts, &clock))
            // A door that nobody touched has its time in state.
            @if !facts.types.is_empty() { (measured(facts, pictures, &clock)) }
            (people::table(facts, &clock))
            (radio(facts, pictures, &clock))
            @if !facts.types.is_empty() { (recorded(facts, span, zone, &clock)) }
        }
    };
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            (head(facts))
            body {
                main {
                    (title(facts, (from, to), &clock))
                    (links(&sections, pictures))
                    (sections)
                    (foot(facts, &clock))
                }
            }
        }
        "\n"
    };
    clean(&page.into_string())
}

fn head(facts: &Facts) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { "Sensor report of " (facts.dir) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn title(facts: &Facts, bounds: (Option<Micros>, Option<Micros>), clock: &Clock) -> Markup {
    let name = std::path::Path::new(&facts.dir).file_name().map_or(facts.dir.as_str().into(), |name| name.to_string_lossy());
    // Where there is nothing, what was asked for: its end may be all that was said.
    let one = match bounds {
        (Some(from), None) => Some(("from", from)),
        (None, to) => to.map(|to| ("up to", to)),
        _ => None,
    };
    html! {
        header {
            h1 { "Sensor report " small { (name) } }
            @if let Some((word, at)) = one {
                p.span { (word) " " (time(at, &clock.full(at))) br; small { "all times are " (clock.name((at, at))) } }
            }
            @if let (Some(from), Some(to)) = bounds {
                p.span {
                    (time(from, &clock.full(from))) " " span { "to" } " " (time(to, &clock.full(to))) br;
                    small { (length(seconds((from, to)))) "; all times are " (clock.name((from, to))) }
                }
            }
            (verdict(facts))
            ul.tiles { (tiles(facts)) }
        }
    }
}

/// Links to the sections that there are, and to each quantity.
fn links(sections: &Markup, pictures: &[Picture]) -> Markup {
    const ALL: [(&str, &str); 7] = [
        ("missing", "What is missing"),
        ("faults", "Faults"),
        ("look", "What needs somebody"),
        ("values", "What was measured"),
        ("devices", "Devices"),
        ("radio", "Radio and batteries"),
        ("recorded", "What was recorded"),
    ];
    let there = |id: &str| sections.0.contains(&format!("<section id=\"{id}\">"));
    let quantities = || pictures.iter().filter(|picture| !picture.is_radio);
    html! {
        nav aria-label="On this page" {
            ul.links {
                @for (id, name) in ALL.into_iter().filter(|(id, _)| there(id)) {
                    li {
                        a href={ "#" (id) } { (name) }
                        @if id == "values" && quantities().count() > 1 {
                            @for picture in quantities() {
                                " · " a href={ "#" (values::anchor(picture)) } { (values::heading(&picture.title)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tiles(facts: &Facts) -> Markup {
    let tile = |number: String, what: &str| html! { li { b { (number) } " " span { (what) } } };
    let gaps = facts.gaps().count() as u64;
    html! {
        (tile(count(facts.events), "events"))
        (tile(count(facts.speaking() as u64), "devices heard"))
        (tile(count(facts.types.iter().filter(|kind| kind.events > 0).count() as u64), "event types"))
        @if !facts.coverage.is_empty() {
            @let filled = if gaps > 0 && facts.is_filled() { ", filled" } else { "" };
            (tile(count(gaps), &format!("{}{filled}", if gaps == 1 { "gap" } else { "gaps" })))
        }
        (tile(count(facts.faults), "faults"))
        (tile(bytes(facts.bytes + facts.buffer_bytes), "on disk, all of the recording"))
    }
}

/// What is missing, or that nothing is.
fn verdict(facts: &Facts) -> Markup {
    let (class, text, below) = match (facts.missing.as_slice(), facts.unknown.as_slice()) {
        ([], _) if facts.from.is_none() && facts.to.is_none() => ("unknown", "The recording is empty here.".to_owned(), &[][..]),
        ([], []) if facts.gaps().next().is_some() => {
            ("good", "Nothing is missing: every gap was filled from history.".to_owned(), &[][..])
        }
        ([], []) => ("good", "Nothing is missing.".to_owned(), &[][..]),
        ([], [first, others @ ..]) => ("unknown", first.clone(), others),
        (missing, unknown) => ("bad", missing.join(" "), unknown),
    };
    let is_covered = facts.coverage.iter().any(|project| project.covered_seconds + project.filled_seconds > 0.0);
    let rest = (class == "unknown" && is_covered).then_some("Otherwise nothing is missing.");
    let below = below.iter().map(String::as_str).chain(rest).chain(facts.notes.iter().map(String::as_str));
    html! {
        div class={ "verdict " (class) } role="status" {
            p { b { (text) } }
            @for text in below { p { (text) } }
        }
    }
}

fn foot(facts: &Facts, clock: &Clock) -> Markup {
    html! {
        footer {
            p {
                "Made " (clock.full(facts.made_at.into())) " by overnight " (env!("CARGO_PKG_VERSION")) " from " (facts.dir)
                ". This page stands alone: it loads nothing and asks nobody. Everything in it, and more, as JSON: "
                code { "overnight report --json" } "."
            }
        }
    }
}
