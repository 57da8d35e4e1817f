//! `devices:stream`: JSON lines or Server-Sent Events, pings, and the end of every session.

use super::batch::{Frame, ping};
use super::call::Call;
use super::clock::FOREVER;
use super::cloud::Cloud;
use super::filter::Filter;
use super::habits::until;
use super::mangle::{Done, Mangle};
use super::net::Cut;
use super::refusal::Refusal;
use crate::base::time::instant;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use fastrand::Rng;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, sleep};

/// Nobody wants to wait longer; and sums of times stay in range.
const MAX_PING: Duration = Duration::from_hours(24);

/// Events that wait for later ones go out after so long without any.
const PATIENCE: Duration = Duration::from_secs(1);

const EXPIRED: &str = r#"{"error":{"code":16,"message":"the access token has expired","details":[{"help":"https://developer.disruptive-technologies.com/docs/error-codes#16"}]}}"#;

/// A stream's place among those that a project may have. Free again when it is dropped.
struct Place(Arc<Cloud>);

impl Place {
    fn take(cloud: &Arc<Cloud>) -> Option<Self> {
        cloud.moods.state().enter(cloud.options.habits.streams_max).then(|| Self(Arc::clone(cloud)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.moods.state().counts.streams -= 1;
    }
}

/// Something that happens to a stream some time, or never.
struct Sometime(Option<Pin<Box<Sleep>>>);

impl Sometime {
    fn after(time: Option<Duration>) -> Self {
        Self(time.map(|time| Box::pin(sleep(time.min(FOREVER)))))
    }

    /// Resolves once.
    async fn comes(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

/// How far a stream is on its way to a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scissors {
    Away,
    /// The next line is cut in two.
    Open,
    /// As soon as what has been said is sent.
    Closing,
}

struct Session {
    place: Place,
    connection: Cut,
    events: mpsc::Receiver<Frame>,
    mangle: Mangle,
    end: Pin<Box<Sleep>>,
    expiry: Sometime,
    cut: Sometime,
    stall: Sometime,
    /// When events that wait for later ones go out without them.
    patience: Pin<Box<Sleep>>,
    pings: Option<Interval>,
    /// The first ping comes before everything else.
    greeted: bool,
    scissors: Scissors,
    /// What is left of a frame that is sent in pieces.
    rest: Bytes,
    /// What is still to be sent is the last.
    ending: bool,
    rng: Rng,
}

/// `GET /v2/projects/{project}/devices:stream`.
pub(super) async fn open(
    ConnectInfo(connection): ConnectInfo<Cut>,
    call: Result<Call, Refusal>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let call = call.and_then(Call::in_one_project).map_err(Refusal::wrapped)?;
    let every = call.params.duration("ping_interval").map_err(Refusal::wrapped)?;
    let habits = &call.cloud.options.habits;
    if let Some(token) = call.token.as_deref().filter(|_| habits.refuse_auth_once) {
        let auth = call.cloud.auth();
        if auth.soured(token) || call.cloud.moods.state().sours() {
            auth.sour(token);
            return Err(Refusal::unauthorized().wrapped());
        }
    }
    let place = Place::take(&call.cloud).ok_or_else(|| Refusal::limited(1).wrapped())?;
    let pings = every.map(|every| {
        let every = every.min(MAX_PING);
        let mut pings = tokio::time::interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    });
    let accepted = headers.get_all(header::ACCEPT);
    let sse = accepted.iter().filter_map(|v| v.to_str().ok()).any(|v| v.contains("text/event-stream"));
    let expiry = call.token.as_deref().filter(|_| habits.token_kills_stream).and_then(|token| call.cloud.auth().expiry(token));
    let mut rng = call.cloud.moods.stream();
    let now = call.cloud.clock.elapsed();
    let shuts = habits.shuts(now).map_or(FOREVER, |at| at.saturating_sub(now));
    let session = Session {
        place,
        events: call.cloud.subscribe(Filter::new(&call.params), connection.clone()),
        connection,
        mangle: Mangle::new(habits, sse, rng.fork()),
        end: Box::pin(sleep(call.cloud.options.session_life.min(shuts).min(FOREVER))),
        expiry: Sometime::after(expiry.map(|at| at.saturating_duration_since(instant()))),
        cut: Sometime::after(habits.cut_every.map(|every| until(every, &mut rng))),
        stall: Sometime::after(habits.stall_every.map(|every| until(every, &mut rng))),
        patience: Box::pin(sleep(PATIENCE)),
        greeted: pings.is_none(),
        pings,
        scissors: Scissors::Away,
        rest: Bytes::new(),
        ending: false,
        rng,
    };
    // Old clients compare the whole content type: no charset.
    let kind = if sse { "text/event-stream" } else { "application/json" };
    let body = Body::from_stream(futures_util::stream::unfold(session, Session::next));
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response())
}

/// What comes next on a stream.
enum Turn {
    End,
    Expired,
    Cut,
    Stall,
    Ping,
    Impatient,
    Event(Option<Frame>),
}

impl Session {
    fn cloud(&self) -> &Cloud {
        &self.place.0
    }

    /// One whole frame at a time: each becomes a chunk of its own; but for the habits.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            if !self.rest.is_empty() {
                return Some((Ok(self.piece().await), self));
            }
            if self.scissors == Scissors::Closing {
                yield_now().await; // what was said before is sent
                self.connection.now();
                return Some((Err(io::ErrorKind::ConnectionAborted.into()), self));
            }
            if let Some(frame) = self.mangle.next() {
                let tiny = self.cloud().options.habits.one_byte;
                match self.scissors {
                    Scissors::Away if !tiny => return Some((Ok(frame), self)),
                    Scissors::Away => self.rest = frame,
                    Scissors::Open | Scissors::Closing => {
                        let chunk = self.snip(frame, tiny).await;
                        if let Some(chunk) = chunk {
                            return Some((Ok(chunk), self));
                        }
                    }
                }
                continue;
            }
            if self.ending {
                return None;
            }
            match self.turn().await {
                Turn::Event(Some(frame)) => self.event(frame),
                Turn::Event(None) | Turn::End => self.finish(),
                Turn::Expired => {
                    self.finish();
                    self.mangle.write_text(EXPIRED);
                }
                Turn::Cut if self.rng.bool() => self.scissors = Scissors::Open,
                Turn::Cut => self.close(),
                Turn::Stall => {
                    self.cloud().moods.state().counts.stalls += 1;
                    self.events.close(); // what comes now is lost to this stream
                    return std::future::pending().await;
                }
                Turn::Ping => {
                    let cloud = self.cloud();
                    let now = cloud.clock.now();
                    let id = cloud.state().world.id(now);
                    let ping = ping(&id, &cloud.options.project, now);
                    self.mangle.write_plain(&ping);
                    self.greeted = true;
                }
                Turn::Impatient => {
                    self.mangle.flush();
                    self.count();
                }
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let pinged = async {
            match &mut self.pings {
                Some(pings) => {
                    pings.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut self.end => Turn::End,
            () = self.expiry.comes() => Turn::Expired,
            () = self.cut.comes() => Turn::Cut,
            () = self.stall.comes() => Turn::Stall,
            () = async {}, if !self.greeted => Turn::Ping,
            () = pinged => Turn::Ping,
            event = self.events.recv() => Turn::Event(event),
            () = &mut self.patience, if self.mangle.holds() => Turn::Impatient,
        }
    }

    fn event(&mut self, frame: Frame) {
        self.mangle.push(frame);
        if self.mangle.holds() {
            self.patience.as_mut().reset(Instant::now() + PATIENCE);
        }
        self.count();
    }

    /// Nothing comes after what has come.
    fn finish(&mut self) {
        self.mangle.flush();
        self.count();
        self.ending = true;
    }

    fn count(&mut self) {
        let done = self.mangle.done();
        if done != Done::default() {
            let counts = &mut self.cloud().moods.state().counts;
            counts.doubles += done.doubles;
            counts.junk += done.junk;
        }
    }

    fn close(&mut self) {
        self.scissors = Scissors::Closing;
        self.cloud().moods.state().counts.cuts += 1;
    }

    /// The next few bytes of a frame.
    async fn piece(&mut self) -> Bytes {
        if self.cloud().options.habits.one_byte {
            yield_now().await; // those before are sent
            let size = self.rng.usize(1..=7).min(self.rest.len());
            return self.rest.split_to(size);
        }
        std::mem::take(&mut self.rest)
    }

    /// Cuts a frame in two, and sees to it that only the first part is sent: as a chunk, or as a part of one.
    async fn snip(&mut self, mut frame: Bytes, tiny: bool) -> Option<Bytes> {
        self.close();
        let first = self.rng.usize(1..frame.len().saturating_sub(1).max(2));
        if tiny || self.rng.bool() {
            frame.truncate(first);
            self.rest = frame;
            return None;
        }
        yield_now().await; // what was said before is sent
        let head = format!("{:X}\r\n", frame.len()).len();
        self.connection.after(head + first);
        Some(frame)
    }
}
