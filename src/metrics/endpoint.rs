//! The address at which a recorder tells its metrics, apart from the one that strangers push to: `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};

use crate::base::time::{self, Micros, SECOND};
use crate::serve::{Answer, Certificate, Limits, ServeError, Server, Service, Token, Visit, text, whole};
use crate::store::meter::Meter;
use crate::store::writer::WriterHandle;

use super::exposition::CONTENT_TYPE;
use super::recorder;

/// A writer that answers nothing for so long keeps nothing.
const PATIENCE: Micros = 30 * SECOND;
/// Who scrapes once a minute comes by one connection.
const IDLE: Duration = Duration::from_secs(150);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// An address that is taken, and answers once it is run.
#[derive(Debug)]
pub struct Endpoint {
    server: Server,
    token: Option<Token>,
}

impl Endpoint {
    /// Takes an address; must run within an event loop. Who shows the token may read the metrics; without a token, everybody who
    /// calls this machine by its address or `localhost`.
    ///
    /// # Errors
    /// When the address is taken, or the certificate does not read.
    pub fn bind(address: SocketAddr, token: Option<Token>, certificate: Option<Certificate>) -> Result<Self, ServeError> {
        let limits = Limits { connections: 32, connections_of_peer: 16, body: 0, header_time: IDLE, ..Limits::default() };
        let server = Server::bind(address, certificate, limits)?;
        // No page of the web knows a token, whatever it calls this machine.
        let server = if token.is_some() { server } else { server.only_for(&[]) };
        Ok(Self { server, token })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}/metrics", self.server.url())
    }

    /// Answers for as long as it is polled. `state` is a folder on the disk that the recorder writes to.
    pub async fn run(self, writer: WriterHandle, state: PathBuf) {
        let meter = Arc::clone(&writer.meter);
        let told = Arc::clone(&meter);
        let service = Arc::new(Recorder {
            meter,
            state,
            token: self.token,
            begun: time::now(),
            answered: AtomicI64::new(time::moment().steady),
        });
        let asked = Arc::clone(&service);
        tokio::select! {
            () = self.server.run(service, Arc::new(move |text| told.note(time::now(), format!("metrics: {text}"))), std::future::pending()) => {}
            () = asked.ask(writer) => {}
        }
    }
}

/// What answers.
struct Recorder {
    meter: Arc<Meter>,
    state: PathBuf,
    token: Option<Token>,
    begun: Micros,
    /// When thread "keep" answered last, by the steady clock.
    answered: AtomicI64,
}

impl Recorder {
    /// Asks thread "keep" again and again whether it turns.
    async fn ask(&self, writer: WriterHandle) {
        let mut answers = writer.answers();
        drop(writer);
        let mut tick = tokio::time::interval(ASK_EVERY);
        loop {
            tick.tick().await;
            if answers.ask() {
                self.answered.store(time::moment().steady, Ordering::Relaxed);
            }
        }
    }

    /// Why nothing can be kept at the moment.
    fn not_ready(&self) -> Option<&'static str> {
        if self.meter.pressure.full.load(Ordering::Relaxed) {
            Some("the disk is full")
        } else if time::moment().steady - self.answered.load(Ordering::Relaxed) > PATIENCE {
            Some("the writer does not answer")
        } else {
            None
        }
    }
}

impl Service for Recorder {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics, /healthz and /readyz\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.not_ready() {
                None => text(StatusCode::OK, "ready\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" if self.token.as_ref().is_some_and(|token| !token.is_borne_by(&request)) => {
                visit.refused("a look at the metrics was refused: it does not show the token", "");
                let mut answer = text(StatusCode::UNAUTHORIZED, "Authorization: Bearer, with the token of --token-file\n");
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                answer
            }
            "/metrics" => {
                visit.is_known();
                visit.was_worth_it();
                whole(StatusCode::OK, CONTENT_TYPE, recorder::text(&self.meter, self.begun, &self.state))
            }
            _ => text(StatusCode::NOT_FOUND, "GET /metrics, /healthz and /readyz\n"),
        }
    }

    fn reload(&self) -> Result<bool, ServeError> {
        Ok(self.token.as_ref().map(Token::reload).transpose()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_is_not_ready_on_a_full_disk_nor_when_its_writer_stands_still() {
        let now = time::moment().steady;
        let (meter, state, begun) = (Arc::new(Meter::default()), PathBuf::new(), 0);
        let recorder = Recorder { meter, state, token: None, begun, answered: AtomicI64::new(now) };
        assert_eq!(recorder.not_ready(), None);
        recorder.answered.store(now - PATIENCE - SECOND, Ordering::Relaxed);
        assert_eq!(recorder.not_ready(), Some("the writer does not answer"));
        recorder.meter.pressure.full.store(true, Ordering::Relaxed);
        assert_eq!(recorder.not_ready(), Some("the disk is full"));
    }
}
