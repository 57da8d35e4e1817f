//! The page's addresses: who may ask, what is answered, within which bounds.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, mpsc};

use crate::base::time::{self, Micros, SECOND};
use crate::metrics::CONTENT_TYPE as METRICS;
use crate::metrics::files::{Beside, metrics_text};
use crate::model::layout::Layout;
use crate::output::export::{Dialect, Format};
use crate::query::look::Looker;
use crate::query::tables::Topic;
use crate::serve::{Answer, COME_AGAIN, ServeError, Service, Visit, empty, text, whole};

use super::address::Asked;
use super::board::Board;
use super::draw::{DrawError, Drawing, Made};
use super::head::State;
use super::live::{View, Views, tell};
use super::login::{Door, Verdict};
use super::model::{Device, Sort, Trouble, Wish};
use super::page;
use super::range::Range;

/// Streams at once: so many people look on.
pub const STREAMS: usize = 32;
/// Charts and files that are made at once, and how long somebody waits for one.
const DRAWN: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);
/// What was seen longer ago is not of now.
const STALE: Micros = 30 * SECOND;
/// Widths of a chart, and of one where nobody says.
const WIDTHS: std::ops::RangeInclusive<u32> = 300..=2000;
const WIDTH: u32 = 1140;
/// Bytes of a file that are sent together.
const PIECE: usize = 64 * 1024;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// A chart has its size as a style of its own.
const POLICY_OF_CHARTS: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const ICON: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"#2a8a6a\"/></svg>";

/// The page.
#[derive(Debug)]
pub struct Site {
    board: Arc<Board>,
    layout: Layout,
    door: Option<Door>,
    views: Arc<Views>,
    drawn: Arc<Semaphore>,
    /// Knows the day files that were looked at for metrics.
    looker: Arc<Mutex<Looker>>,
}

impl Site {
    /// Of a recording; with a `door`, only for those who know its token.
    pub fn new(board: Arc<Board>, layout: Layout, door: Option<Door>) -> Self {
        let looker = Arc::new(Mutex::new(Looker::new(&layout)));
        Self { board, layout, door, views: Arc::default(), drawn: Arc::new(Semaphore::new(DRAWN)), looker }
    }

    async fn page(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        let path = request.uri().path().to_owned();
        if request.method() == Method::POST && path == "/login" {
            return self.log_in(request, visit).await;
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return with(text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD alone\n"), ALLOW, "GET, HEAD");
        }
        let asked = Asked::read(request.uri().query().unwrap_or_default());
        match path.as_str() {
            "/healthz" => return text(StatusCode::OK, "alive\n"),
            "/readyz" => return self.ready(),
            "/style.css" => return lasting("text/css; charset=utf-8", page::STYLE),
            "/live.js" => return lasting("text/javascript; charset=utf-8", page::SCRIPT),
            "/icon.svg" => return lasting("image/svg+xml", ICON),
            _ => {}
        }
        if let Some(refused) = self.refuses(&request, visit) {
            return refused;
        }
        visit.was_worth_it();
        match path.as_str() {
            "/" => whole(StatusCode::OK, HTML, self.board.with(|look| page::home(look, &wish(&asked)))),
            _ => self.more(&path, &asked, request.headers(), visit).await.unwrap_or_else(Refusal::answer),
        }
    }

    async fn more(&self, path: &str, asked: &Asked, headers: &HeaderMap, visit: &Visit) -> Result<Answer, Refusal> {
        match path {
            "/live" => self.live(asked, visit),
            "/metrics" => self.metrics().await,
            "/device" => self.device(asked),
            "/numbers" => self.numbers(asked).await,
            "/chart.svg" => self.svg(asked, headers).await,
            "/chart.png" => self.png(asked).await,
            "/data.csv" => self.file(asked, Format::Csv, headers, visit).await,
            #[cfg(feature = "workbooks")]
            "/data.xlsx" => self.file(asked, Format::Xlsx, headers, visit).await,
            _ => Err(Refusal(StatusCode::NOT_FOUND, "there is no such page".into())),
        }
    }

    /// Who has not said the token is asked for it.
    fn refuses(&self, request: &Request<Incoming>, visit: &Visit) -> Option<Answer> {
        let door = self.door.as_ref()?;
        match door.lets_in(request.headers(), time::instant()) {
            Verdict::Right => {
                visit.is_known();
                None
            }
            Verdict::Wrong => {
                let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let is_page = ["/", "/device", "/numbers"].contains(&request.uri().path());
                let body = page::login(false, if is_page { back } else { "/" });
                Some(with(whole(StatusCode::UNAUTHORIZED, HTML, body), hyper::header::WWW_AUTHENTICATE, "Bearer"))
            }
            Verdict::TooMany => Some(too_many(visit)),
        }
    }

    async fn log_in(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        let body = match visit.body(request.into_body()).await {
            Ok(body) => body,
            Err(why) => return empty(why.status()),
        };
        let said = Asked::read(&String::from_utf8_lossy(&body));
        // Only a page of this one, and no address of another host: `//host` is one.
        let back = Some(said.get("back")).filter(|back| back.starts_with('/') && !back[1..].starts_with(['/', '\\']));
        let back = back.filter(|back| HeaderValue::from_str(back).is_ok()).unwrap_or("/");
        let mut answer = with(empty(StatusCode::SEE_OTHER), LOCATION, back);
        let Some(door) = &self.door else { return answer };
        match door.try_token(said.get("token"), time::instant()) {
            Verdict::Right => {
                visit.is_known();
                if let Some(cookie) = door.cookie().and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
                    answer.headers_mut().insert(SET_COOKIE, cookie);
                }
                answer
            }
            Verdict::Wrong => {
                visit.refused("somebody said a wrong token", "");
                whole(StatusCode::UNAUTHORIZED, HTML, page::login(true, back))
            }
            Verdict::TooMany => too_many(visit),
        }
    }

    fn live(&self, asked: &Asked, visit: &Visit) -> Result<Answer, Refusal> {
        let view = if asked.get("id").is_empty() {
            View::Home(wish(asked))
        } else {
            View::Device(asked.get("project").to_owned(), asked.get("id").to_owned(), self.range(asked)?.into())
        };
        let (sender, body) = visit.stream(2).ok_or_else(Refusal::too_many_look)?;
        tokio::spawn(tell(Arc::clone(&self.board), Arc::clone(&self.views), view, sender));
        let mut answer = Response::new(body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        Ok(with(answer, CACHE_CONTROL, "no-store"))
    }

    /// Whether what is shown is of now.
    fn ready(&self) -> Answer {
        let seen = self.board.seen();
        let why = match seen.head.state {
            State::Waiting | State::Unreadable => Some("there is no recording that reads\n"),
            _ if time::now() - seen.now > STALE => Some("nobody has looked for half a minute\n"),
            _ => None,
        };
        why.map_or_else(|| text(StatusCode::OK, "ready\n"), |why| text(StatusCode::SERVICE_UNAVAILABLE, why))
    }

    /// What Prometheus reads.
    async fn metrics(&self) -> Result<Answer, Refusal> {
        let alerts = self.board.alerts();
        let beside = self.board.with(|look| {
            let silent = |device: &&Device| matches!(look.fleet.trouble(device), Some(Trouble::Silent(_)));
            let (all, silent) = (look.fleet.devices().len(), look.fleet.devices().iter().filter(silent).count());
            Beside {
                devices: vec![("speaking", (all - silent) as u64), ("silent", silent as u64)],
                alerts_firing: alerts.as_ref().map(|alerts| alerts.firing.len() as u64),
                deliveries: alerts.map(|alerts| vec![("ok", alerts.delivered), ("failed", alerts.failed)]).unwrap_or_default(),
            }
        });
        let looker = Arc::clone(&self.looker);
        let text = self.draw(move || {
            let mut looker = looker.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(metrics_text(looker.look(time::now()).ok().as_ref(), &beside))
        });
        Ok(whole(StatusCode::OK, METRICS, text.await?))
    }

    fn range(&self, asked: &Asked) -> Result<Range, Refusal> {
        let range = Range::read(asked, self.board.zone(), self.board.seen().until);
        range.map_err(|wrong| Refusal(StatusCode::BAD_REQUEST, wrong.into()))
    }

    fn device(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let (range, wrong) = match self.range(asked) {
            Ok(range) => (range, None),
            Err(Refusal(_, wrong)) => (self.range(&Asked::default())?, Some(wrong)),
        };
        let page = self.board.with(|look| {
            let device = look.fleet.device(asked.get("project"), asked.get("id"))?;
            Some(page::device(look, device, &range, wrong.as_deref()))
        });
        page.map(|page| whole(StatusCode::OK, HTML, page)).ok_or_else(Refusal::no_device)
    }

    /// What to draw: of which device, which topic if any, in which range, and by what a change of it is known.
    fn drawing(&self, asked: &Asked) -> Result<(Drawing, Option<Topic>, u64), Refusal> {
        let range = self.range(asked)?;
        let found = self.board.with(|look| {
            let device: &Device = look.fleet.device(asked.get("project"), asked.get("id"))?;
            let mut topics = look.fleet.topics().iter();
            let gaps = look.seen.days.iter().map(|day| day.gaps.len() as u64).sum::<u64>();
            let state = u64::from(device.events) << 16 | gaps & 0xffff;
            Some((topics.find(|topic| topic.name == asked.get("topic")).cloned(), state))
        });
        let (topic, state) = found.ok_or_else(Refusal::no_device)?;
        let drawing = Drawing {
            layout: self.layout.clone(),
            registry: self.board.registry(),
            zone: self.board.zone().clone(),
            device: asked.get("id").to_owned(),
            span: range.span,
            now: time::now(),
        };
        Ok((drawing, topic, state))
    }

    fn of_topic(&self, asked: &Asked) -> Result<(Drawing, Topic, u64), Refusal> {
        let (drawing, topic, state) = self.drawing(asked)?;
        let topic = topic.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "nobody tells of that".into()))?;
        Ok((drawing, topic, state))
    }

    /// Makes something on a thread of its own: two at once, and nobody waits for longer than five seconds.
    async fn draw<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, DrawError> + Send + 'static) -> Result<T, Refusal> {
        let made = async {
            let turn = Arc::clone(&self.drawn).acquire_owned().await.ok()?;
            let made = tokio::task::spawn_blocking(move || {
                let made = work();
                // Also of one that nobody waits for any more.
                drop(turn);
                made
            });
            made.await.ok()
        };
        match tokio::time::timeout(PATIENCE, made).await {
            Ok(Some(Ok(made))) => Ok(made),
            Ok(Some(Err(error))) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into())),
            Ok(None) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be drawn".into())),
            Err(_) => {
                let why = "this takes too long here; take a shorter range, or `overnight plot` and `overnight export`";
                Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why.into()))
            }
        }
    }

    async fn svg(&self, asked: &Asked, headers: &HeaderMap) -> Result<Answer, Refusal> {
        let (drawing, topic, state) = self.of_topic(asked)?;
        let width = asked.get("w").parse().unwrap_or(WIDTH).clamp(*WIDTHS.start(), *WIDTHS.end());
        let known = format!("{}-{}-{width}-{state}-{}", drawing.span.0, drawing.span.1, page::version());
        let tag = format!("\"{:08x}\"", crc32fast::hash(known.as_bytes()));
        let answer = if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            whole(StatusCode::OK, "image/svg+xml", self.draw(move || drawing.svg(&topic, width)).await?)
        };
        Ok(with(with(answer, ETAG, &tag), CONTENT_SECURITY_POLICY, POLICY_OF_CHARTS))
    }

    async fn png(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let (drawing, topic, _) = self.of_topic(asked)?;
        let name = format!("{}.png", topic.name);
        Ok(as_file(whole(StatusCode::OK, "image/png", self.draw(move || drawing.png(&topic)).await?), &name))
    }

    async fn numbers(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let (drawing, topic, _) = self.of_topic(asked)?;
        let title = topic.title();
        let (charts, events) = self.draw(move || drawing.charts(&topic, WIDTH)).await?;
        let page = self.board.with(|look| {
            let device = look.fleet.device(asked.get("project"), asked.get("id"))?;
            Some(page::numbers(look, device, &title, &charts, events))
        });
        page.map(|page| whole(StatusCode::OK, HTML, page)).ok_or_else(Refusal::no_device)
    }

    async fn file(&self, asked: &Asked, format: Format, headers: &HeaderMap, visit: &Visit) -> Result<Answer, Refusal> {
        let (drawing, ..) = self.drawing(asked)?;
        let dialect = dialect(headers);
        let made = self.draw(move || drawing.file(format, dialect)).await?;
        let made = made.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "the device told nothing in this time".into()))?;
        let (sender, body) = visit.stream(2).ok_or_else(Refusal::too_many_look)?;
        tokio::task::spawn_blocking(move || send(made, &sender));
        let kind = match format {
            Format::Csv => "text/csv; charset=utf-8",
            _ => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        };
        let mut answer = Response::new(body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Ok(as_file(answer, &format!("device.{}", format.extension())))
    }
}

/// Why somebody does not get what was asked for.
#[derive(Debug)]
struct Refusal(StatusCode, Cow<'static, str>);

impl Refusal {
    fn no_device() -> Self {
        Self(StatusCode::NOT_FOUND, "there is no such device in this recording".into())
    }

    fn too_many_look() -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "as many look on already as may".into())
    }

    fn answer(self) -> Answer {
        let title = self.0.canonical_reason().unwrap_or("Sorry");
        let answer = whole(self.0, HTML, page::word(title, &self.1));
        if self.0 == StatusCode::SERVICE_UNAVAILABLE { with(answer, RETRY_AFTER, COME_AGAIN) } else { answer }
    }
}

impl Service for Site {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        let mut answer = self.page(request, visit).await;
        let headers = answer.headers_mut();
        let mut usually = |name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        usually(CONTENT_SECURITY_POLICY, POLICY);
        usually(X_CONTENT_TYPE_OPTIONS, "nosniff");
        usually(REFERRER_POLICY, "same-origin");
        usually(CACHE_CONTROL, "no-cache, private");
        answer
    }

    fn reload(&self) -> Result<bool, ServeError> {
        let Some(door) = &self.door else { return Ok(false) };
        door.reload()?;
        Ok(true)
    }
}

/// What somebody wants to see of all devices.
fn wish(asked: &Asked) -> Wish {
    Wish {
        search: asked.get("q").to_owned(),
        kind: asked.get("type").to_owned(),
        label: asked.get("label").to_owned(),
        sort: Sort::of(asked.get("sort")),
        page: asked.get("page").parse().unwrap_or(1),
    }
}

/// CSV as spreadsheets of the country have it that a browser speaks of; as programs want it, where none is named.
fn dialect(headers: &HeaderMap) -> Dialect {
    let said = headers.get(ACCEPT_LANGUAGE).and_then(|said| said.to_str().ok());
    let first = said.and_then(|said| said.split([',', ';']).next()).map(str::trim);
    first.and_then(|locale| Dialect::for_excel(locale).ok()).unwrap_or_default()
}

/// Sends a file piece by piece, as fast as it is taken.
fn send(mut made: Made, to: &mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = made.file.read(&mut piece) {
        if to.blocking_send(Bytes::copy_from_slice(&piece[..read])).is_err() {
            return;
        }
    }
}

fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Something to be saved under a name. What others call their event types is no name of a file.
fn as_file(answer: Answer, name: &str) -> Answer {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    with(answer, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))
}

/// What stays as it is: its address changes with it.
fn lasting(kind: &'static str, body: &'static str) -> Answer {
    with(whole(StatusCode::OK, kind, body), CACHE_CONTROL, "public, max-age=31536000, immutable")
}

fn too_many(visit: &Visit) -> Answer {
    visit.refused("somebody said too many wrong tokens", "");
    with(text(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; wait a minute\n"), RETRY_AFTER, "60")
}
