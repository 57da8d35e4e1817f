//! The history of one device: pages of events, newest first.

use super::call::{Call, Refusal, json};
use super::clock::micros;
use super::ledger::{Place, Window};
use axum::response::Response;

const DAY: i64 = 86_400_000_000;
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// `GET /v2/projects/{project}/devices/{device}/events`.
pub(super) async fn events(call: Call) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    let params = &call.params;
    let now = call.cloud.clock.now();
    let oldest = now - micros(call.cloud.options.retention);
    let start = params.time("start_time")?.unwrap_or(now - DAY).max(oldest);
    let end = params.time("end_time")?.unwrap_or(now);
    let window = Window {
        start,
        end,
        below: params.one("page_token").map(place).transpose()?,
        kinds: params.all("event_types").collect(),
        size: params.page_size(DEFAULT_PAGE, MAX_PAGE)?,
        now: call.cloud.clock.elapsed(),
    };
    let state = call.cloud.state();
    let device = state.world.find(call.device()).ok_or_else(|| Refusal::missing("device"))?;
    let (events, next) = state.ledger.page(device, &window);
    let mut out = String::from(r#"{"events":["#);
    for (i, event) in events.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        out.push_str(&String::from_utf8_lossy(event.event()));
    }
    let next = next.map_or_else(String::new, |(time, order)| format!("{time}-{order}"));
    out.push_str(r#"],"nextPageToken":""#);
    out.push_str(&next);
    out.push_str("\"}");
    Ok(json(out))
}

fn place(token: &str) -> Result<Place, Refusal> {
    let parse = || {
        let (time, order) = token.rsplit_once('-')?;
        Some((time.parse().ok()?, order.parse().ok()?))
    };
    parse().ok_or_else(|| Refusal::argument("page_token: not one of ours"))
}
