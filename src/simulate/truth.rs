//! What tests compare with: every event published since start, and counts. Not part of the cloud's API.

use super::cloud::Cloud;
use super::delivery_queue::Pushes;
use super::event::{At, Quoted};
use super::habits::Counts;
use super::late::Late;
use super::query::Params;
use super::refusal::json;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::Arc;

/// Events in one piece of the answer: the state is locked only as long as copying them takes.
const PIECE: usize = 2_000;

/// `GET /simulator/truth`: bare events, one a line, in the order of publishing. With `published=1` each is wrapped as
/// `{"published":…,"event":…}`, with the wall-clock time of publishing.
pub(super) async fn truth(State(cloud): State<Arc<Cloud>>, RawQuery(query): RawQuery) -> Response {
    let timed = Params::parse(query.as_deref().unwrap_or_default()).one("published") == Some("1");
    let (next, end) = {
        let state = cloud.state();
        (state.ledger.forgotten(), state.ledger.published())
    };
    let pieces = futures_util::stream::unfold((cloud, next), move |(cloud, next)| async move {
        let until = end.min(next + PIECE);
        if next >= until {
            return None;
        }
        let mut out = Vec::new();
        for (published, frame) in cloud.state().ledger.truth(next).take(until - next) {
            if timed {
                out.extend_from_slice(format!(r#"{{"published":"{}","event":"#, At(*published)).as_bytes());
            }
            out.extend_from_slice(frame.event());
            out.extend_from_slice(if timed { b"}\n" } else { b"\n" });
        }
        Some((Ok::<_, Infallible>(Bytes::from(out)), (cloud, until)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response()
}

/// `GET /simulator/stats`. `opens` and `historyRequests` count all, `sessions` those streams that opened; `streams` are
/// those that get events, `mostStreams` includes the silent. `pushes` only where there are any.
pub(super) async fn stats(State(cloud): State<Arc<Cloud>>) -> Response {
    let mut state = cloud.state();
    let habits = habits(&cloud.moods.state().counts, &state.late);
    let pushes = cloud.connector.as_ref().map(|connector| pushes(&connector.pushes())).unwrap_or_default();
    let streams = state.subscribers();
    let devices = state.devices().count();
    let kinds: Vec<String> = state.ledger.counts().map(|(kind, n)| format!("{}:{n}", Quoted(kind))).collect();
    json(format!(
        r#"{{"published":{},"forgotten":{},"devices":{devices},"streams":{streams},"sessions":{},"dropped":{},{habits},{pushes}"now":"{}","byType":{{{}}}}}"#,
        state.ledger.published(),
        state.ledger.forgotten(),
        state.sessions,
        state.dropped,
        At(cloud.clock.now()),
        kinds.join(","),
    ))
}

fn pushes(done: &Pushes) -> String {
    format!(
        r#""pushes":{{"pushed":{},"acknowledged":{},"doubles":{},"retried":{},"refused":{},"dropped":{},"unacknowledged":{},"forged":{},"believed":{}}},"#,
        done.pushed,
        done.acknowledged,
        done.doubles,
        done.retried,
        done.refused,
        done.dropped,
        done.unacknowledged,
        done.forged,
        done.believed,
    )
}

fn habits(counts: &Counts, late: &Late) -> String {
    let refusals: Vec<String> = counts.refusals.iter().map(|(status, n)| format!(r#""{status}":{n}"#)).collect();
    format!(
        r#""opens":{},"refusals":{{{}}},"cuts":{},"stalls":{},"doubles":{},"junk":{},"late":{},"aged":{},"historyRequests":{},"rateLimited":{},"mostStreams":{}"#,
        counts.opens,
        refusals.join(","),
        counts.cuts,
        counts.stalls,
        counts.doubles,
        counts.junk,
        late.sent,
        late.aged,
        counts.histories,
        counts.limited,
        counts.most_streams,
    )
}
