//! The strips of a page: coverage, and events by hour. Stretched pictures without text; words stand beside them, in HTML.

use maud::{Markup, html};

use crate::base::text::count;
use crate::base::time::{Micros, SECOND, Utc};
use crate::base::zone::{Buckets, Every, Zone};
use crate::output::web::words::{Clock, breakable, length, share};
use crate::query::coverage::{GapReport, GapState};

use super::facts::{Facts, ProjectFacts, TypeFacts};
use super::ledger::Span;
use super::seconds;

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
    project: &ProjectFacts,
    imported: &[(Utc, Utc)],
    first_number: usize,
    span: Span,
    clock: &Clock,
) -> Markup {
    let part = |class: &str, from: Micros, to: Micros, least: f64, title: &str| {
        let (x, end) = (share(from, span) * WIDTH, share(to, span) * WIDTH);
        let width = (end - x).max(least);
        let x = x.min(WIDTH - width);
        html! {
            rect class=(class) x=(format_args!("{x:.2}")) y="0" width=(format_args!("{width:.2}")) height="10" { title { (title) } }
        }
    };
    let ends = |gap: &GapReport| gap.ends.map_or(span.1, Micros::from);
    let mut marks = Vec::new();
    for (gap, number) in project.gaps.iter().zip(first_number..) {
        let at = share(Micros::from(gap.begins).midpoint(ends(gap)), span) * 100.0;
        if marks.last().is_none_or(|(last, _)| at - last > 4.0) {
            marks.push((at, number));
        }
    }
    let about =
        format!("Coverage of {}: {} of {} covered", project.project, length(project.covered_seconds), length(seconds(span)));
    html! {
        @if !marks.is_empty() {
            div.marks aria-hidden="true" {
                @for (at, number) in marks { span style={ "left:" (format_args!("{:.2}", at.clamp(1.0, 99.0))) "%" } { (number) } }
            }
        }
        svg.strip viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(about) {
            rect.nobody x="0" y="0" width="1000" height="10" { title { "nobody recorded" } }
            @for (from, to) in imported { (part("imported", (*from).into(), (*to).into(), 0.5, "events, but no session")) }
            @for (from, to) in &project.covered { (part("covered", (*from).into(), (*to).into(), 0.5, "covered")) }
            @for (gap, number) in project.gaps.iter().zip(first_number..) {
                @let (class, name) = look(gap.state);
                @let from = gap.begins.into();
                @let title = format!("gap {number}: {name}, {}, from {}", length(gap.seconds), clock.second(from));
                (part(class, from, ends(gap), LEAST, &title))
            }
        }
        (axis(span, clock))
    }
}

/// Times below a strip, at round hours or at midnights.
pub(super) fn axis(span: Span, clock: &Clock) -> Markup {
    let (from, to) = span;
    let every = [1, 2, 3, 6, 12].map(|hours| Every::Part(hours * 3600 * SECOND));
    let all = every.into_iter().chain([1, 2, 7, 14].map(Every::Days)).chain([1, 2, 3, 6, 12, 60].map(Every::Months));
    let every = all.into_iter().find(|every| (to - from) / every.about() <= 7).unwrap_or(Every::Months(1200));
    let mut buckets = Buckets::new(clock.zone(), every);
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
    let label = |tick| match every {
        Every::Months(_) => clock.month(tick),
        _ if has_hours && !is_midnight(tick) => clock.hour(tick),
        _ => clock.day(tick),
    };
    // All of it stays on the page, however narrow that is: a letter is about half as wide as high.
    let style = |tick: Micros, label: &str| {
        let half = f64::from(u32::try_from(label.chars().count()).unwrap_or(u32::MAX)) * 0.28;
        format!("left:clamp({half:.1}em,{:.2}%,100% - {half:.1}em)", share(tick, span) * 100.0)
    };
    html! {
        div.axis aria-hidden="true" {
            @for (number, tick) in ticks.into_iter().enumerate() {
                @let label = label(tick);
                span class=[(number % 2 != kept).then_some("minor")] style=(style(tick, &label)) { (label) }
            }
        }
    }
}

/// A row of bars: where each begins and ends, and how many events it stands for.
fn bars(cells: &[(Span, u64)], most: u64, whole: Span, clock: &Clock) -> Markup {
    let bar = |(from, to): Span, events: u64| {
        let (x, end) = (share(from, whole) * WIDTH, share(to, whole) * WIDTH);
        #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
        let height = (events as f64 / most as f64 * 30.0).max(0.7);
        let gap = ((end - x) * 0.12).min(1.5);
        html! {
            rect x=(format_args!("{x:.1}")) y=(format_args!("{:.1}", 30.0 - height))
                width=(format_args!("{:.1}", (end - x - gap).max(0.3))) height=(format_args!("{height:.1}")) {
                title { (clock.minute(from)) ": " (count(events)) }
            }
        }
    };
    html! { @for (span, events) in cells { (bar(*span, *events)) } }
}

/// Events by type and hour (or several hours together), a row of bars a type.
pub(super) fn events(facts: &Facts, span: Span, zone: &Zone, clock: &Clock) -> Markup {
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
    let mut row = |kind: &TypeFacts| {
        let mut cells: Vec<(Span, u64)> = Vec::new();
        for hour in &facts.hours {
            let Some(events) = hour.events.get(&kind.event_type) else { continue };
            let bucket = buckets.of(hour.start.into());
            match cells.last_mut() {
                Some((last, sum)) if *last == bucket => *sum += events,
                _ => cells.push((bucket, *events)),
            }
        }
        let most = cells.iter().map(|cell| cell.1).max().unwrap_or(1).max(1);
        html! {
            div.bar {
                div.what { b { (breakable(&kind.event_type)) } span { (count(kind.events)) } small { "most " (count(most)) } }
                svg viewBox="0 0 1000 30" preserveAspectRatio="none" role="img"
                    aria-label={ (kind.event_type) " by " (name) } { (bars(&cells, most, whole, clock)) }
            }
        }
    };
    html! {
        p.hint { "A bar is one " (name) "; each type has its own scale, up to the most in one " (name) "." }
        div.bars {
            @for kind in facts.types.iter().filter(|kind| kind.events > 0) { (row(kind)) }
            (axis(whole, clock))
        }
    }
}
