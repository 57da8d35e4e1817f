//! Pages: pure functions of what was seen. The macro [`html!`] escapes whatever stands in parentheses, and what is hidden in text of
//! others is taken out of the whole at the end.

mod choose;
mod device;
mod head;
mod rows;
mod spark;
mod strip;

use maud::{Markup, PreEscaped, html};

use crate::base::text::clean;
use crate::base::time::{Micros, SECOND};
use crate::output::web::words::{self, Clock, length};
use crate::query::coverage::Span;
use crate::query::tables::{Topic, Value};

use super::model::{Fleet, Wish};
use super::seen::Seen;

pub use device::{device, live as live_device, numbers};

/// How pages look: what reports look like, and what is their own.
pub const STYLE: &str = concat!(include_str!("../../output/report/style.css"), include_str!("style.css"));
/// What keeps a page as it is now.
pub const SCRIPT: &str = include_str!("live.js");

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What was seen last.
    pub seen: &'a Seen,
    /// The devices.
    pub fleet: &'a Fleet,
    /// Whose clock shows times.
    pub clock: &'a Clock,
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a page are far below 2^53")]
fn seconds((from, to): Span) -> f64 {
    (to - from) as f64 / SECOND as f64
}

/// A length of time that has passed.
fn length_of(micros: Micros) -> String {
    length(seconds((0, micros / SECOND * SECOND)))
}

/// `just now`, `4 min ago`, `2 d ago`: a row need not be sent anew every second.
fn ago(now: Micros, then: Micros) -> String {
    match (now - then) / SECOND {
        ..60 => "just now".to_owned(),
        passed @ 60..3600 => format!("{} min ago", passed / 60),
        passed @ 3600..86_400 => format!("{} h ago", passed / 3600),
        passed => format!("{} d ago", passed / 86_400),
    }
}

/// The unit of a topic, behind a number.
fn unit(topic: &Topic) -> String {
    words::unit(topic.values.first().and_then(Value::unit))
}

/// A page around what stands in it. What is `live` says where changes come from.
fn frame(title: &str, live: Option<&str>, main: &Markup) -> String {
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="same-origin";
                title { (title) }
                link rel="stylesheet" href={ "/style.css?" (version()) };
                link rel="icon" href="/icon.svg";
                @if live.is_some() {
                    script src={ "/live.js?" (version()) } defer {}
                    noscript { meta http-equiv="refresh" content="30"; }
                }
            }
            body data-live=[live] { main { (main) } }
        }
        "\n"
    };
    clean(&page.into_string())
}

/// By what a browser knows that a style or script is another one.
pub fn version() -> String {
    format!("{:08x}", crc32fast::hash(STYLE.as_bytes()) ^ crc32fast::hash(SCRIPT.as_bytes()))
}

/// The first line: what is recorded, whose clock this is; and where it is said that nothing is heard any more.
fn top(look: &Look<'_>, is_home: bool) -> Markup {
    let now = look.seen.now;
    html! {
        div.top {
            h1 { @if is_home { (look.seen.name) } @else { a href="/" { (look.seen.name) } } }
            small { "times: " (look.clock.name((now, now))) }
            p #stale hidden { b role="alert" { "heard nothing" } span {} }
        }
    }
}

/// The page of all devices.
pub fn home(look: &Look<'_>, wish: &Wish) -> String {
    let page = look.fleet.page(wish);
    let main = html! {
        (top(look, true))
        (head::parts(look))
        section aria-label="Devices" {
            (choose::form(look.fleet, wish))
            (choose::pager(&page, wish))
            @if page.devices.is_empty() { p #none { (none(look, wish)) } }
            table.fleet {
                caption { "Devices" }
                thead {
                    tr {
                        th scope="col" { "Device" } th scope="col" { "Value" } th scope="col" { "24 h" }
                        th scope="col" { "Heard" } th.n scope="col" { "Battery" } th.n scope="col" { "Signal" }
                    }
                }
                tbody #rows { @for device in &page.devices { (rows::row(look, device)) } }
            }
        }
        (foot(look))
    };
    frame(&head::title(look), Some(&choose::address_of("/live", wish, wish.page)), &main)
}

fn none(look: &Look<'_>, wish: &Wish) -> &'static str {
    let is_all = wish.search.is_empty() && wish.kind.is_empty() && wish.label.is_empty();
    match (is_all, look.seen.is_loading) {
        (_, true) => "The last 24 hours are being read.",
        (true, false) => "No device is known yet.",
        (false, false) => "No device is like that.",
    }
}

fn foot(look: &Look<'_>) -> Markup {
    html! {
        footer {
            p {
                "overnight " (env!("CARGO_PKG_VERSION")) ", as of " span #now { (look.clock.second(look.seen.now)) }
                @if look.seen.is_loading { ". The last 24 hours are being read." }
            }
            noscript { p { "Without JavaScript this page loads itself anew every 30 seconds." } }
        }
    }
}

/// A part of a page that is replaced by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// The element, or several that belong together, on one line.
    pub html: String,
}

fn part(id: impl Into<String>, html: Markup) -> Part {
    Part { id: id.into(), html: clean(&html.into_string()).replace('\n', " ") }
}

/// What a page of all devices shows now: the parts of its head, then its rows in order.
pub fn live(look: &Look<'_>, wish: &Wish) -> (Vec<Part>, Vec<Part>) {
    let page = look.fleet.page(wish);
    let mut parts = of_head(look);
    parts.push(part("pager", choose::pager(&page, wish)));
    let rows = page.devices.iter().map(|device| part(format!("r{}", device.number), rows::row(look, device)));
    (parts, rows.collect())
}

fn of_head(look: &Look<'_>) -> Vec<Part> {
    let now = html! { span #now { (look.clock.second(look.seen.now)) } };
    // Two elements stand in the first.
    let alerts = part("alerts", head::alerts(look));
    vec![
        part("state", head::state(look)),
        alerts,
        part("facts", head::facts(look)),
        part("day", head::day(look)),
        part("now", now),
    ]
}

/// The page on which somebody says the token.
pub fn login(is_wrong: bool, back: &str) -> String {
    let main = html! {
        h1 { "overnight" }
        form.login method="post" action="/login" {
            @if is_wrong { p.state.bad role="alert" { b { "That is not the token." } } }
            p { label for="token" { "Token" } }
            p { input #token type="password" name="token" autocomplete="current-password" required autofocus; }
            input type="hidden" name="back" value=(back);
            p { button { "Show the page" } }
            p { small { "It stands in the file that " code { "--token-file" } " names. This device stays logged in." } }
        }
    };
    frame("overnight", None, &main)
}

/// A page that says one thing.
pub fn word(title: &str, text: &str) -> String {
    let main = html! { h1 { (title) } p { (text) } p { a href="/" { "All devices" } } };
    frame(title, None, &main)
}
