//! `devices:stream`: JSON lines or Server-Sent Events, pings, and the end of every session.

use super::batch::{Frame, ping};
use super::call::{Call, Refusal};
use super::cloud::Cloud;
use super::filter::Filter;
use super::net::Cut;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, Sleep};

/// Nobody wants to wait longer; and sums of times stay in range.
const MAX_PING: Duration = Duration::from_hours(24);

struct Session {
    cloud: Arc<Cloud>,
    events: mpsc::Receiver<Frame>,
    sse: bool,
    end: Pin<Box<Sleep>>,
    pings: Option<Interval>,
    /// The first ping comes before everything else.
    greeted: bool,
}

/// `GET /v2/projects/{project}/devices:stream`.
pub(super) async fn open(
    ConnectInfo(cut): ConnectInfo<Cut>,
    call: Result<Call, Refusal>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let call = call.and_then(Call::in_one_project).map_err(Refusal::wrapped)?;
    let every = call.params.duration("ping_interval").map_err(Refusal::wrapped)?;
    let pings = every.map(|every| {
        let every = every.min(MAX_PING);
        let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    });
    let accepted = headers.get_all(header::ACCEPT);
    let sse = accepted.iter().filter_map(|v| v.to_str().ok()).any(|v| v.contains("text/event-stream"));
    let session = Session {
        events: call.cloud.subscribe(Filter::new(&call.params), cut),
        sse,
        end: Box::pin(tokio::time::sleep(call.cloud.options.session_life)),
        greeted: pings.is_none(),
        pings,
        cloud: call.cloud,
    };
    // Old clients compare the whole content type: no charset.
    let kind = if sse { "text/event-stream" } else { "application/json" };
    let body = Body::from_stream(futures_util::stream::unfold(session, Session::next));
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response())
}

impl Session {
    /// One whole frame at a time: each becomes a chunk of its own.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let pinged = async {
            match &mut self.pings {
                Some(pings) => {
                    pings.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        let cloud = &self.cloud;
        let a_ping = || {
            let now = cloud.clock.now();
            let id = cloud.state().world.id(now);
            ping(&id, &cloud.options.project, now)
        };
        let frame = tokio::select! {
            biased;
            () = &mut self.end => return None,
            () = async {}, if !self.greeted => a_ping(),
            () = pinged => a_ping(),
            event = self.events.recv() => event?,
        };
        self.greeted = true;
        let bytes = if self.sse { frame.sse() } else { frame.line() };
        Some((Ok(bytes), self))
    }
}
