//! The head of the page: is it recording, what is missing of the last day, how much room is left. Each part has an id and is
//! replaced by itself.

use maud::{Markup, html};

use crate::base::text::{bytes, count, counted};
use crate::base::time::{Micros, SECOND};
use crate::watch::head::{Head, State};

use super::{Look, ago, length_of, strip};

/// Room on the disk for fewer days than these is worth a look.
const FEW_DAYS: u64 = 14;

/// Everything above the devices, part by part.
pub(super) fn parts(look: &Look<'_>) -> Markup {
    html! {
        (state(look))
        (alerts(look))
        (facts(look))
        (day(look))
    }
}

/// The word, and since when.
pub(super) fn state(look: &Look<'_>) -> Markup {
    let head = &look.seen.head;
    html! {
        p #state role="status" class={ "state " (head.state.look()) } data-title=(title(look)) {
            b { (head.state.word()) }
        }
        p #said {
            @if !head.project.is_empty() { b { (head.project) ": " } }
            (said(look, head))
        }
    }
}

/// Most alerts that are named.
const ALERTS: usize = 5;

/// What people are told of: `2 alerts: fridge: Fridge 3, for 12 min`.
pub(super) fn alerts(look: &Look<'_>) -> Markup {
    let (alerts, now) = (&look.seen.alerts, look.seen.now);
    let more = alerts.len().saturating_sub(ALERTS);
    html! {
        div #alerts {
            @if !alerts.is_empty() {
                p { b.alarm { (counted(alerts.len() as u64, "alert")) } }
                ul {
                    @for alert in alerts.iter().take(ALERTS) {
                        li { b { (alert.name) } ": " (alert.of) @if alert.since > 0 { " " small { "for " (length_of(now - alert.since)) } } }
                    }
                    @if more > 0 { li { small { "and " (count(more as u64)) " more" } } }
                }
            }
            @if let Some(trouble) = &look.seen.alerts_trouble { p.note { (trouble) } }
        }
    }
}

/// What a tab is called.
pub(super) fn title(look: &Look<'_>) -> String {
    format!("{} · {}", look.seen.head.state.word(), look.seen.name)
}

/// Since when, and why.
fn said(look: &Look<'_>, head: &Head) -> Markup {
    let passed = |since: Micros| length_of(look.seen.now - since);
    let at = |since: Micros| {
        if look.seen.now - since > 20 * 3600 * SECOND { look.clock.short(since) } else { look.clock.hour(since) }
    };
    html! {
        @match (head.state, head.since) {
            (State::Recording, Some(since)) => { (passed(since)) " without a gap" }
            (State::NotConnected, Some(since)) => { "for " (passed(since)) ": a recorder runs, and hears nothing" }
            (State::NotRecording, Some(since)) => { "since " (at(since)) ", for " (passed(since)) }
            (State::DiskFull, Some(since)) => { "a recorder runs and waits for room; nothing is kept since " (at(since)) }
            (State::Finished, Some(since)) => { "not recording; it ended " (look.clock.full(since)) }
            (State::Waiting, _) => { "this page waits for one, and shows it when it comes" }
            _ => {}
        }
        @if let Some(why) = head.why.as_ref().filter(|_| head.state != State::Finished || head.since.is_none()) {
            " " span.why { (why) }
        }
    }
}

/// Numbers: the last event, what waits, room, faults.
pub(super) fn facts(look: &Look<'_>) -> Markup {
    let seen = look.seen;
    let fact = |big: Markup, what: &str, is_bad: bool| html! { li class=[is_bad.then_some("wrong")] { b { (big) } " " span { (what) } } };
    let days = seen.disk_free.zip(seen.bytes_a_day).map(|(free, a_day)| free / a_day.max(1));
    let trouble = look.fleet.devices().iter().filter(|device| look.fleet.trouble(device).is_some()).count();
    html! {
        ul #facts.tiles {
            @if let Some(last) = seen.last_event {
                @let when = if seen.goes_on() { ago_exactly(seen.now, last) } else { look.clock.short(last) };
                (fact(html! { (when) }, "last event", false))
            }
            @if let Some(rate) = seen.rate.filter(|_| seen.goes_on()) { (fact(html! { (rate_text(rate)) }, "events a second", false)) }
            (fact(html! { (count(look.fleet.devices().len() as u64)) @if look.fleet.is_over() { "+" } }, "devices", false))
            (fact(html! { (count(trouble as u64)) }, if trouble == 1 { "needs somebody" } else { "need somebody" }, trouble > 0))
            @if seen.buffered > 0 { (fact(html! { (count(seen.buffered)) }, "in the buffer", false)) }
            @if let Some(free) = seen.disk_free {
                @let room = days.map_or_else(|| "free on the disk".to_owned(), |days| format!("free, about {}", many_days(days)));
                (fact(html! { (bytes(free)) }, &room, seen.head.state == State::DiskFull || days.is_some_and(|days| days < FEW_DAYS)))
            }
            @if let Some(backup) = seen.last_backup { (fact(html! { (ago(seen.now, backup)) }, "last backup", false)) }
            @if let Some(shipping) = &seen.shipping {
                @let when = shipping.whole.map_or_else(|| "never".to_owned(), |whole| ago(seen.now, whole));
                @let what = if shipping.behind_rows > 0 { format!("whole in the lake, {} rows behind", count(shipping.behind_rows)) } else { "whole in the lake".to_owned() };
                (fact(html! { (when) }, &what, shipping.problem.is_some()))
            }
            (fact(html! { (count(seen.faults)) }, if seen.faults == 1 { "fault in 24 h" } else { "faults in 24 h" }, seen.faults > 0))
        }
    }
}

fn many_days(days: u64) -> String {
    if days > 10_000 { "for years".to_owned() } else { counted(days, "day") }
}

fn rate_text(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// `2 s ago`: whoever looks wants to see it move.
fn ago_exactly(now: Micros, then: Micros) -> String {
    if now - then < 60 * SECOND { format!("{} s ago", ((now - then) / SECOND).max(0)) } else { ago(now, then) }
}

/// The day of each project, and its gaps.
pub(super) fn day(look: &Look<'_>) -> Markup {
    let seen = look.seen;
    let head_of = |project: &str| seen.heads.iter().find(|head| head.project == project);
    html! {
        section #day aria-label="The last 24 hours" {
            @if let Some(note) = &seen.note { p.note { (note) } }
            @for day in &seen.days {
                p.what {
                    b { (day.project) }
                    @if let Some(head) = head_of(&day.project).filter(|_| seen.heads.len() > 1) {
                        " " span class={ "word " (head.state.look()) } { (head.state.word()) }
                    }
                    " " small { "24 h: " (strip::said(&day.gaps)) }
                }
                (strip::strip(day, seen.day(), look.clock))
            }
            @if !seen.days.is_empty() { (strip::axis(seen.day(), look.clock)) }
            (strip::list(seen.days.iter(), look.clock))
        }
    }
}
