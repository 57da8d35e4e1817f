//! The page: one HTML file with its style and pictures in it, that asks nobody for anything.

use std::fmt::Write;

use crate::base::text::{bytes, count};
use crate::base::time::Micros;
use crate::base::zone::Zone;

use super::charts::Picture;
use super::facts::Facts;
use super::people;
use super::sections::{coverage, faults, hours, measured};
use super::words::{Clock, escape, length, micros};

/// How the page looks: on screens light and dark, on phones, on paper.
const STYLE: &str = include_str!("style.css");

/// The facts as a page; `pictures` are its charts.
pub fn page(facts: &Facts, zone: &Zone, pictures: &[Picture]) -> String {
    let (from, to) = (facts.from.as_deref().map(micros), facts.to.as_deref().map(micros));
    let span = from.zip(to);
    let clock = Clock::new(zone, from.or(to).unwrap_or(micros(&facts.made_at)));
    let mut out = String::with_capacity(256 * 1024);
    head(&mut out, facts);
    out.push_str("<body>\n<main>\n");
    title(&mut out, facts, (from, to), &clock);
    if let Some(span) = span {
        coverage(&mut out, facts, span, &clock);
        if facts.events > 0 {
            hours(&mut out, facts, span, zone, &clock);
        }
        people::to_look_at(&mut out, facts, &clock);
        // A door that nobody touched has its time in state.
        if !facts.types.is_empty() {
            measured(&mut out, facts, pictures);
        }
        people::table(&mut out, facts, &clock);
    }
    faults(&mut out, facts, &clock);
    foot(&mut out, facts, &clock);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, facts: &Facts) {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>",
        escape(&format!("Sensor report of {}", facts.dir))
    )
    .unwrap_or_default();
}

fn title(out: &mut String, facts: &Facts, bounds: (Option<Micros>, Option<Micros>), clock: &Clock) {
    let name = std::path::Path::new(&facts.dir)
        .file_name()
        .map_or_else(|| facts.dir.clone(), |name| name.to_string_lossy().into_owned());
    write!(out, "<header>\n<h1>Sensor report <small>{}</small></h1>", escape(&name)).unwrap_or_default();
    // Where there is nothing, what was asked for: its end may be all that was said.
    let one = match bounds {
        (Some(from), None) => Some(("from", from)),
        (None, to) => to.map(|to| ("up to", to)),
        _ => None,
    };
    if let Some((word, at)) = one {
        let (at, zone) = (time(at, &clock.full(at)), escape(&clock.name((at, at))));
        write!(out, "<p class=\"span\">{word} {at}<br><small>all times are {zone}</small></p>").unwrap_or_default();
    }
    if let (Some(from), Some(to)) = bounds {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a report are far below 2^53")]
        let seconds = (to - from) as f64 / crate::base::time::SECOND as f64;
        write!(
            out,
            "<p class=\"span\">{} <span>to</span> {}<br><small>{}; all times are {}</small></p>",
            time(from, &clock.full(from)),
            time(to, &clock.full(to)),
            length(seconds),
            escape(&clock.name((from, to)))
        )
        .unwrap_or_default();
    }
    verdict(out, facts);
    let tile = |out: &mut String, number: &str, what: &str| {
        write!(out, "<li><b>{number}</b> <span>{what}</span></li>").unwrap_or_default();
    };
    out.push_str("<ul class=\"tiles\">");
    tile(out, &count(facts.events), "events");
    tile(out, &count(facts.speaking() as u64), "devices heard");
    tile(out, &count(facts.types.iter().filter(|kind| kind.events > 0).count() as u64), "event types");
    if !facts.coverage.is_empty() {
        let gaps = facts.gaps().count() as u64;
        tile(out, &count(gaps), if gaps == 1 { "gap" } else { "gaps" });
    }
    tile(out, &count(facts.faults), "faults");
    tile(out, &bytes(facts.bytes + facts.buffer_bytes), "on disk, all of the recording");
    out.push_str("</ul>\n</header>\n");
}

/// What is missing, or that nothing is.
fn verdict(out: &mut String, facts: &Facts) {
    let (class, text, below) = match (facts.missing.as_slice(), facts.unknown.as_slice()) {
        ([], _) if facts.from.is_none() && facts.to.is_none() => ("unknown", "The recording is empty here.".to_owned(), &[][..]),
        ([], []) => ("good", "Nothing is missing.".to_owned(), &[][..]),
        ([], [first, others @ ..]) => ("unknown", first.clone(), others),
        (missing, unknown) => ("bad", missing.join(" "), unknown),
    };
    write!(out, "<div class=\"verdict {class}\" role=\"status\"><p><b>{}</b></p>", escape(&text)).unwrap_or_default();
    let is_covered = facts.coverage.iter().any(|project| project.covered_seconds + project.filled_seconds > 0.0);
    let rest = (class == "unknown" && is_covered).then_some("Otherwise nothing is missing.");
    for text in below.iter().map(String::as_str).chain(rest).chain(facts.notes.iter().map(String::as_str)) {
        write!(out, "<p>{}</p>", escape(text)).unwrap_or_default();
    }
    out.push_str("</div>\n");
}

fn foot(out: &mut String, facts: &Facts, clock: &Clock) {
    write!(
        out,
        "<footer><p>Made {} by overnight {} from {}. This page stands alone: it loads nothing and asks nobody. \
         Everything in it, and more, as JSON: <code>overnight report --json</code>.</p></footer>",
        escape(&clock.full(micros(&facts.made_at))),
        env!("CARGO_PKG_VERSION"),
        escape(&facts.dir)
    )
    .unwrap_or_default();
}

/// A time with what a program reads of it.
pub(super) fn time(at: Micros, text: &str) -> String {
    format!("<time datetime=\"{}\">{}</time>", crate::base::time::rfc3339(at), escape(text))
}
