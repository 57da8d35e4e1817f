//! The day as a strip: when a project was heard, what is missing. In percents of its width, so that it needs no style of its own.

use maud::{Markup, html};

use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every};
use crate::output::web::words::{Clock, length, share};
use crate::query::coverage::{Gap, GapState, Span, cut};

use super::seconds;
use crate::watch::seen::Coverage;

/// The least width of a gap in percent: the shortest is still seen.
const LEAST: f64 = 0.4;
/// Hours between two times below it.
const HOURS: Micros = 3 * 3600 * SECOND;
/// Most gaps that are listed, the last ones.
const LISTED: usize = 10;

/// How a gap looks, and what it is called.
fn look(gap: &Gap) -> (&'static str, &'static str) {
    match gap.state {
        GapState::Filled => ("filled", "filled from history"),
        GapState::Open | GapState::Filling if gap.lasts => ("open", "lasts"),
        GapState::Open | GapState::Filling => ("open", "not filled yet"),
        GapState::Lost => ("lost", "lost"),
    }
}

/// A project's day.
pub(super) fn strip(day: &Coverage, span: Span, clock: &Clock) -> Markup {
    let part = |class: &str, (from, to): Span, least: f64, title: &str| {
        let (x, end) = (share(from, span) * 100.0, share(to, span) * 100.0);
        let width = (end - x).max(least);
        let x = x.min(100.0 - width);
        html! {
            rect class=(class) x={ (format_args!("{x:.2}")) "%" } width={ (format_args!("{width:.2}")) "%" } height="100%" {
                @if !title.is_empty() { title { (title) } }
            }
        }
    };
    let heard: f64 = day.heard.iter().map(|heard| seconds(*heard)).sum();
    let about = format!("{}: heard for {} of the last 24 hours; {}", day.project, length(heard), said(&day.gaps));
    html! {
        svg.strip width="100%" height="30" role="img" aria-label=(about) {
            rect.nobody width="100%" height="100%" {}
            @for heard in &day.heard { (part("covered", *heard, 0.0, "")) }
            @for gap in &day.gaps {
                @if let Some(within) = cut(gap.span, span) {
                    @let title = format!("{} from {}: {}", length(seconds(gap.span)), clock.second(gap.span.0), look(gap).1);
                    (part(look(gap).0, within, LEAST, &title))
                }
            }
        }
    }
}

/// Times below strips, at round hours; a phone shows every other.
pub(super) fn axis(span: Span, clock: &Clock) -> Markup {
    let mut buckets = Buckets::new(clock.zone(), Every::Part(HOURS));
    let mut ticks = Vec::new();
    let mut at = buckets.of(span.0).1;
    while at < span.1 && ticks.len() < 10 {
        ticks.push(at);
        at = buckets.of(at).1;
    }
    html! {
        svg.axis width="100%" height="16" aria-hidden="true" {
            @for (number, tick) in ticks.iter().enumerate() {
                @let place = share(*tick, span) * 100.0;
                @if (2.0..98.0).contains(&place) {
                    text x={ (format_args!("{place:.2}")) "%" } y="12" text-anchor="middle" class=[(number % 2 > 0).then_some("minor")] {
                        (clock.hour(*tick))
                    }
                }
            }
        }
    }
}

/// `2 gaps, 1 not filled yet`
pub(super) fn said(gaps: &[Gap]) -> String {
    let of = |is: fn(&Gap) -> bool| gaps.iter().filter(|gap| is(gap)).count();
    let (open, lost) = (of(Gap::is_open), of(|gap| gap.state == GapState::Lost));
    let mut said = if gaps.is_empty() { "no gap".to_owned() } else { crate::base::text::counted(gaps.len() as u64, "gap") };
    for (many, what) in [(open, "open"), (lost, "lost")] {
        if many > 0 {
            said = format!("{said}, {many} {what}");
        }
    }
    if !gaps.is_empty() && open + lost == 0 {
        said.push_str(", filled");
    }
    said
}

/// The last gaps of a day, one by one.
pub(super) fn list<'d>(days: impl Iterator<Item = &'d Coverage> + Clone, clock: &Clock) -> Markup {
    let is_one = days.clone().count() == 1;
    let mut all: Vec<(&str, &Gap)> = days.flat_map(|day| day.gaps.iter().map(|gap| (day.project.as_str(), gap))).collect();
    all.sort_by_key(|(_, gap)| gap.span);
    let more = all.len().saturating_sub(LISTED);
    html! {
        @if !all.is_empty() {
            ul.gaps {
                @for (project, gap) in all.iter().rev().take(LISTED) {
                    li {
                        b class={ "state " (look(gap).0) } { (look(gap).1) } " "
                        @if !is_one { (project) ": " }
                        (clock.short(gap.span.0))
                        @if !gap.lasts { " – " (clock.short_behind(gap.span.0, gap.span.1)) }
                        ", " (length(seconds(gap.span))) " "
                        small { (gap.cause) @if let Some(why) = &gap.why { "; " (why) } }
                    }
                }
                @if more > 0 { li { small { "and " (more) " more: " code { "overnight gaps" } } } }
            }
        }
    }
}
