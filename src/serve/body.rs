//! Bodies: what an answer says, at once or piece by piece for hours.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::places::Place;

/// What a service says.
pub type Answer = Response<Body>;

/// What an answer holds.
pub type Body = Either<Full<Bytes>, Streaming>;

/// Pieces as they come, until their sender is dropped; see [`Visit::stream`](super::Visit::stream).
#[derive(Debug)]
pub struct Streaming {
    pieces: mpsc::Receiver<Bytes>,
    place: Arc<Place>,
    _turn: OwnedSemaphorePermit,
}

impl Streaming {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>, place: Arc<Place>, turn: OwnedSemaphorePermit) -> Self {
        place.streams(true);
        Self { pieces, place, _turn: turn }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.place.streams(false);
    }
}

impl hyper::body::Body for Streaming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It has more bytes than it may.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// Its sender went away, or does not know what a body is.
    BreaksOff,
}

impl BodyError {
    /// What to answer: of the first two, what is left of the body is not waited for.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BreaksOff => StatusCode::BAD_REQUEST,
        }
    }
}

/// An answer without a word.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// A line of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", body)
}

/// An answer of a kind (MIME).
pub fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
