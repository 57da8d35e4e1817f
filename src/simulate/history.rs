//! The history of one device: pages of events, newest first.
//!
//! `startTime` is inclusive, `endTime` exclusive. All pages of one walk show what was visible when its first page was
//! asked for: events that arrive meanwhile, backfilled ones among them, neither shift the pages nor turn up in them.

use super::call::{Call, Refusal, json};
use super::clock::micros;
use super::ledger::{Place, Window};
use axum::response::Response;
use std::time::Duration;

const DAY: i64 = 86_400_000_000;
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// `GET /v2/projects/{project}/devices/{device}/events`.
pub(super) async fn events(call: Call) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    if call.cloud.options.habits.no_history {
        return Err(Refusal::forbidden());
    }
    let params = &call.params;
    let token = params.one("page_token").map(place).transpose()?;
    let elapsed = micros_only(call.cloud.clock.elapsed());
    let as_of = token.map_or(elapsed, |(as_of, _)| as_of.min(elapsed));
    let now = call.cloud.clock.at(as_of);
    let oldest = now - micros(call.cloud.options.retention);
    let start = params.time("start_time")?.unwrap_or(now - DAY).max(oldest);
    let end = params.time("end_time")?.unwrap_or(now);
    let window = Window {
        start,
        end,
        below: token.map(|(_, place)| place),
        kinds: params.all("event_types").collect(),
        size: params.page_size(DEFAULT_PAGE, MAX_PAGE)?,
        as_of,
    };
    let state = call.cloud.state();
    let device = state.world.find(call.device()).ok_or_else(|| Refusal::missing("device"))?;
    let (events, next) = state.ledger.page(device, &window);
    let mut out = String::from(r#"{"events":["#);
    for (i, event) in events.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        out.push_str(&String::from_utf8_lossy(event.event()));
    }
    let next = next.map_or_else(String::new, |(time, order)| format!("{}.{time}.{order}", as_of.as_micros()));
    out.push_str(r#"],"nextPageToken":""#);
    out.push_str(&next);
    out.push_str("\"}");
    Ok(json(out))
}

/// As a page token has it.
fn micros_only(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Where a walk goes on, and what it shows.
fn place(token: &str) -> Result<(Duration, Place), Refusal> {
    let parse = || {
        let (as_of, place) = token.split_once('.')?;
        let (time, order) = place.split_once('.')?;
        Some((Duration::from_micros(as_of.parse().ok()?), (time.parse().ok()?, order.parse().ok()?)))
    };
    parse().ok_or_else(|| Refusal::argument("page_token: not one of ours"))
}
