//! The strips of a page: coverage, and events by hour. Stretched pictures without text; words stand beside them, in HTML.

use std::fmt::Write;

use crate::base::text::count;
use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every, Zone};
use crate::query::coverage::GapState;

use super::facts::{Facts, ProjectFacts};
use super::ledger::Span;
use super::seconds;
use super::words::{Clock, breakable, escape, length, micros, share};

/// Widest strip in cells: more hours than these are put together.
const CELLS: i64 = 400;
/// Units of a strip's width.
const WIDTH: f64 = 1000.0;
/// The least width of a gap: the shortest is still seen.
const LEAST: f64 = 4.0;

/// How a gap looks, and what it is called.
pub(super) fn look(state: GapState) -> (&'static str, &'static str) {
    match state {
        GapState::Filled => ("filled", "filled from history"),
        GapState::Open | GapState::Filling => ("open", "not filled yet"),
        GapState::Lost => ("lost", "lost"),
    }
}

/// A project's time, with its gaps by their numbers.
pub(super) fn coverage(
    out: &mut String,
    project: &ProjectFacts,
    imported: &[(String, String)],
    first_number: usize,
    span: Span,
    clock: &Clock,
) {
    let mut boxes = String::new();
    let mut draw = |class: &str, from: Micros, to: Micros, least: f64, title: &str| {
        let (x, end) = (share(from, span) * WIDTH, share(to, span) * WIDTH);
        let width = (end - x).max(least);
        let x = x.min(WIDTH - width);
        write!(
            boxes,
            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"10\"><title>{}</title></rect>",
            escape(title)
        )
        .unwrap_or_default();
    };
    for (from, to) in imported {
        draw("imported", micros(from), micros(to), 0.5, "events, but no session");
    }
    for (from, to) in &project.covered {
        draw("covered", micros(from), micros(to), 0.5, "covered");
    }
    let mut marks = String::new();
    let mut last = f64::MIN;
    for (gap, number) in project.gaps.iter().zip(first_number..) {
        let (class, name) = look(gap.state);
        let from = micros(&gap.begins);
        let to = gap.ends.as_deref().map_or(span.1, micros);
        draw(class, from, to, LEAST, &format!("gap {number}: {name}, {}, from {}", length(gap.seconds), clock.second(from)));
        let at = share(from.midpoint(to), span) * 100.0;
        if at - last > 4.0 {
            last = at;
            write!(marks, "<span style=\"left:{:.2}%\">{number}</span>", at.clamp(1.0, 99.0)).unwrap_or_default();
        }
    }
    if !marks.is_empty() {
        write!(out, "<div class=\"marks\" aria-hidden=\"true\">{marks}</div>").unwrap_or_default();
    }
    let about =
        format!("Coverage of {}: {} of {} covered", project.project, length(project.covered_seconds), length(seconds(span)));
    write!(
        out,
        "<svg class=\"strip\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">\
         <rect class=\"nobody\" x=\"0\" y=\"0\" width=\"1000\" height=\"10\"><title>nobody recorded</title></rect>{boxes}</svg>",
        escape(&about)
    )
    .unwrap_or_default();
    axis(out, span, clock);
}

/// Times below a strip, at round hours or at midnights.
pub(super) fn axis(out: &mut String, span: Span, clock: &Clock) {
    let (from, to) = span;
    let every = [1, 2, 3, 6, 12].map(|hours| Every::Part(hours * 3600 * SECOND));
    let all = every.into_iter().chain([1, 2, 7, 14].map(Every::Days)).chain([1, 2, 3, 6, 12, 60].map(Every::Months));
    let every = all.into_iter().find(|every| (to - from) / every.about() <= 7).unwrap_or(Every::Months(1200));
    let mut buckets = Buckets::new(clock.zone(), every);
    out.push_str("<div class=\"axis\" aria-hidden=\"true\">");
    let short = to - from < 3 * 3600 * SECOND;
    let mut ticks = Vec::new();
    if short {
        ticks.extend([from, to]);
    } else {
        let (begins, next) = buckets.of(from);
        let mut at = if begins == from { from } else { next };
        while at <= to && ticks.len() < 20 {
            ticks.push(at);
            at = buckets.of(at).1;
        }
    }
    // A midnight is called by its day, which tells the hours of several days apart; a phone shows every other tick, and it.
    let has_hours = short || matches!(every, Every::Part(_));
    let is_midnight = |tick: Micros| clock.hour(tick) == "00:00" && !short;
    let kept = ticks.iter().position(|tick| is_midnight(*tick)).unwrap_or_default() % 2;
    for (number, tick) in ticks.into_iter().enumerate() {
        let label = if has_hours && !is_midnight(tick) { clock.hour(tick) } else { clock.day(tick) };
        let place = share(tick, span) * 100.0;
        let class = if number % 2 == kept { "" } else { " class=\"minor\"" };
        // All of it stays on the page, however narrow that is: a letter is about half as wide as high.
        let half = f64::from(u32::try_from(label.chars().count()).unwrap_or_default()) * 0.28;
        write!(out, "<span{class} style=\"left:clamp({half:.1}em,{place:.2}%,100% - {half:.1}em)\">{label}</span>")
            .unwrap_or_default();
    }
    out.push_str("</div>");
}

/// Events by type and hour (or several hours together), a row of bars a type.
pub(super) fn events(out: &mut String, facts: &Facts, span: Span, zone: &Zone, clock: &Clock) {
    let hour = |hours: i64| Every::Part(hours * 3600 * SECOND);
    let lengths = [1, 2, 3, 6, 12].map(hour).into_iter().chain([1, 7].map(Every::Days)).chain([1, 12].map(Every::Months));
    let every = lengths.into_iter().find(|every| (span.1 - span.0) / every.about() <= CELLS).unwrap_or(Every::Months(120));
    let mut buckets = Buckets::new(zone.clone(), every);
    let whole = (buckets.of(span.0).0, buckets.of(span.1.saturating_sub(1)).1);
    let name = match every {
        Every::Part(part) if part == 3600 * SECOND => "hour".to_owned(),
        Every::Days(1) => "day".to_owned(),
        every => every.to_string(),
    };
    write!(
        out,
        "<p class=\"hint\">A bar is one {name}; each type has its own scale, up to the most in one {name}.</p><div class=\"bars\">"
    )
    .unwrap_or_default();
    for kind in facts.types.iter().filter(|kind| kind.events > 0) {
        let mut cells: Vec<(Span, u64)> = Vec::new();
        for hour in &facts.hours {
            let Some(events) = hour.events.get(&kind.event_type) else { continue };
            let bucket = buckets.of(micros(&hour.start));
            match cells.last_mut() {
                Some((last, sum)) if *last == bucket => *sum += events,
                _ => cells.push((bucket, *events)),
            }
        }
        let most = cells.iter().map(|cell| cell.1).max().unwrap_or(1).max(1);
        let mut bars = String::new();
        for ((from, to), events) in cells {
            let (x, end) = (share(from, whole) * WIDTH, share(to, whole) * WIDTH);
            #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
            let height = (events as f64 / most as f64 * 30.0).max(0.7);
            let gap = ((end - x) * 0.12).min(1.5);
            write!(
                bars,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}: {}</title></rect>",
                30.0 - height,
                (end - x - gap).max(0.3),
                clock.minute(from),
                count(events)
            )
            .unwrap_or_default();
        }
        write!(
            out,
            "<div class=\"bar\"><div class=\"what\"><b>{}</b><span>{}</span><small>most {}</small></div>\
             <svg viewBox=\"0 0 1000 30\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} by {name}\">{bars}</svg></div>",
            breakable(&kind.event_type),
            count(kind.events),
            count(most),
            escape(&kind.event_type),
        )
        .unwrap_or_default();
    }
    axis(out, whole, clock);
    out.push_str("</div>");
}
