//! The history of one device: pages of events, newest first.
//!
//! `startTime` is inclusive, `endTime` exclusive. All pages of one walk show what was visible when its first page was
//! asked for: events that arrive meanwhile, backfilled ones among them, neither shift the pages nor turn up in them.

use super::call::Call;
use super::clock::micros;
use super::ledger::{Place, Window};
use super::refusal::{Refusal, json};
use axum::response::Response;
use std::fmt;
use std::time::Duration;

const DAY: i64 = 86_400_000_000;
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// `GET /v2/projects/{project}/devices/{device}/events`.
pub(super) async fn events(call: Call) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    let habits = &call.cloud.options.habits;
    if habits.stall_history {
        return std::future::pending().await;
    }
    if habits.no_history {
        return Err(Refusal::forbidden());
    }
    let params = &call.params;
    let token = params.one("page_token").map(Token::parse).transpose()?;
    let elapsed = micros_only(call.cloud.clock.elapsed());
    let as_of = token.map_or(elapsed, |token| token.as_of.min(elapsed));
    let now = call.cloud.clock.at(as_of);
    let oldest = now - micros(call.cloud.options.retention);
    let start = params.time("start_time")?.unwrap_or(now - DAY).max(oldest);
    let end = params.time("end_time")?.unwrap_or(now);
    let window = Window {
        start,
        end,
        below: token.map(|token| token.place),
        kinds: params.all("event_types").collect(),
        size: params.page_size(DEFAULT_PAGE, MAX_PAGE)?,
        as_of,
    };
    let state = call.cloud.state();
    let gone = habits.gone_devices;
    let device = state.world.find(call.device()).filter(|n| *n >= gone).ok_or_else(|| Refusal::missing("device"))?;
    if device - gone < habits.failing_devices {
        return Err(Refusal::status(500));
    }
    if token.is_some_and(|token| expires(&call, device, elapsed.saturating_sub(token.given))) {
        return Err(Refusal::argument("page_token: it has expired"));
    }
    let (events, next) = state.ledger.page(device, &window);
    let mut out = String::from(r#"{"events":["#);
    for (i, event) in events.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        out.push_str(&String::from_utf8_lossy(event.event()));
    }
    let next = next.map_or_else(String::new, |place| Token { as_of, given: elapsed, place }.to_string());
    out.push_str(r#"],"nextPageToken":""#);
    out.push_str(&next);
    out.push_str("\"}");
    Ok(json(out))
}

/// Whether a page token so old is refused by habit.
fn expires(call: &Call, device: usize, age: Duration) -> bool {
    let habits = &call.cloud.options.habits;
    habits.page_tokens_expire.is_some_and(|life| age >= life)
        || (habits.page_tokens_expire_once && call.cloud.moods.state().breaks(device))
}

/// As a page token has it.
fn micros_only(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Where a walk goes on, and what it shows. Times are real, since start.
#[derive(Debug, Clone, Copy)]
struct Token {
    as_of: Duration,
    given: Duration,
    place: Place,
}

impl Token {
    fn parse(token: &str) -> Result<Self, Refusal> {
        let parse = || {
            let mut parts = token.splitn(4, '.');
            let mut time = || Some(Duration::from_micros(parts.next()?.parse().ok()?));
            let (as_of, given) = (time()?, time()?);
            Some(Self { as_of, given, place: (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?) })
        };
        parse().ok_or_else(|| Refusal::argument("page_token: not one of ours"))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, order) = self.place;
        write!(f, "{}.{}.{time}.{order}", self.as_of.as_micros(), self.given.as_micros())
    }
}
