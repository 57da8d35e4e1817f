//! The simulator as its clients see it: over a socket, byte by byte.

use super::{Habits, Options, Report, SimulateError, Spell, serve};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Outcome = Result<Report, SimulateError>;

pub(super) struct Running {
    at: SocketAddr,
    stop: oneshot::Sender<()>,
    pub(super) done: JoinHandle<Outcome>,
}

pub(super) async fn start(options: Options) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(serve(listener, options, async { drop(stopped.await) }));
    Running { at, stop, done }
}

fn fast() -> Options {
    Options { rate: Some(2_000.0), history: Duration::ZERO, index_delay: Duration::ZERO, ..Options::default() }
}

impl Running {
    /// Sends a request with Basic credentials (`demo-key:demo-secret`).
    async fn open(&self, path: &str, accept: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.at).await.expect("a connection");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\
             Authorization: Basic ZGVtby1rZXk6ZGVtby1zZWNyZXQ=\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("a request");
        socket
    }

    /// The whole answer's body, out of its chunks if need be.
    pub(super) async fn get(&self, path: &str) -> String {
        let mut socket = self.open(path, "*/*").await;
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        if head.contains("chunked") { chunks(body).0.concat() } else { body.to_owned() }
    }

    pub(super) async fn end(self) -> Outcome {
        drop(self.stop);
        self.done.await.expect("no panic")
    }
}

/// The chunks of a body, and whether it ended properly.
fn chunks(mut body: &str) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            return (all, true);
        }
        let Some(chunk) = rest.get(..size) else { break };
        all.push(chunk.to_owned());
        body = rest.get(size + 2..).unwrap_or_default();
    }
    (all, false)
}

fn events(ndjson: &str) -> Vec<Value> {
    ndjson.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test]
async fn every_line_is_a_chunk_and_a_session_ends_cleanly() {
    let server = start(Options { session_life: Duration::from_millis(400), ..fast() }).await;
    for (accept, kind) in [("*/*", "application/json"), ("text/event-stream", "text/event-stream")] {
        let mut socket = server.open("/v2/projects/demo/devices:stream?pingInterval=50ms", accept).await;
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("a clean end");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{head}");
        let (chunks, clean) = chunks(body);
        assert!(clean && chunks.len() > 400, "{}", chunks.len());
        for (i, chunk) in chunks.iter().enumerate() {
            let line = match accept {
                "*/*" => chunk.strip_suffix('\n'),
                _ => chunk.strip_prefix("data: ").and_then(|c| c.strip_suffix("\n\n")),
            };
            let line = line.expect("a frame");
            assert!(!line.contains('\n'));
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert!(i > 0 || event["result"]["event"]["eventType"] == "ping", "the first ping comes at once");
        }
    }
    assert!(server.end().await.expect("a report").published > 0);
}

#[tokio::test]
async fn shutdown_ends_open_and_stuck_streams_at_once() {
    let server = start(Options { rate: Some(20_000.0), ..fast() }).await;
    let _stuck = server.open("/v2/projects/demo/devices:stream", "*/*").await;
    let mut open = server.open("/v2/projects/demo/devices:stream?event_types=none", "*/*").await;
    let _idle = TcpStream::connect(server.at).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ended = tokio::time::timeout(Duration::from_millis(500), server.end()).await;
    ended.expect("at once").expect("a report");
    let mut text = String::new();
    open.read_to_string(&mut text).await.ok();
    assert!(!text.ends_with("0\r\n\r\n"), "a cut is no clean end");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_others_are_not() {
    let server = start(Options { rate: Some(200_000.0), devices: 5, ..fast() }).await;
    let mut stuck = server.open("/v2/projects/demo/devices:stream", "*/*").await;
    let quiet = server.open("/v2/projects/demo/devices:stream?event_types=none", "*/*").await;
    for _ in 0..100 {
        let stats: Value = serde_json::from_str(&server.get("/simulator/stats").await).expect("stats");
        if stats["dropped"] == 1 {
            assert_eq!(stats["streams"], 1);
            drop(quiet);
            let mut got = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(5), stuck.read_to_end(&mut got)).await;
            read.expect("it ends").ok();
            assert!(!got.ends_with(b"0\r\n\r\n"), "a cut is no clean end");
            server.end().await.expect("a report");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!("never cut", "");
}

/// What the history must show.
async fn truth(server: &Running) -> Vec<Value> {
    let mut events = events(&server.get("/simulator/truth").await);
    events.retain(|e| e["eventType"] != "labelsChanged");
    events
}

#[tokio::test]
async fn the_history_shows_the_truth_but_for_changed_labels() {
    let server = start(Options { seed: 9, ..fast() }).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let before = truth(&server).await;
    let end = before.last().expect("an event")["timestamp"].as_str().expect("a time").to_owned();
    let devices: Value = serde_json::from_str(&server.get("/v2/projects/demo/devices").await).expect("devices");
    let (mut shown, mut pages) = (BTreeSet::new(), 0);
    for device in devices["devices"].as_array().expect("a list") {
        let mut token = String::new();
        loop {
            let name = device["name"].as_str().expect("a name");
            let path = format!("/v2/{name}/events?pageSize=20&endTime={end}&page_token={token}");
            let page: Value = serde_json::from_str(&server.get(&path).await).expect("a page");
            let events = page["events"].as_array().expect("a list");
            assert!(events.is_sorted_by_key(|e| std::cmp::Reverse(e["timestamp"].to_string())));
            for event in events {
                assert!(shown.insert(event.to_string()), "twice: {event}");
            }
            pages += 1;
            token = page["nextPageToken"].as_str().expect("always there").to_owned();
            if token.is_empty() {
                break;
            }
        }
    }
    assert!(pages > 40 && shown.len() > 500, "{pages} {}", shown.len());
    // The end itself is outside. Desks are timed to the second: what was published meanwhile may be older than the end.
    let set = |events: Vec<Value>| events.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    let upto = before.into_iter().filter(|e| e["timestamp"].as_str().is_some_and(|t| *t < *end));
    assert!(set(upto.collect()).is_subset(&shown));
    assert!(shown.is_subset(&set(truth(&server).await)));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn the_history_shows_nothing_before_it_is_indexed() {
    let server = start(Options { index_delay: Duration::from_secs(30), devices: 1, ..fast() }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let devices: Value = serde_json::from_str(&server.get("/v2/projects/demo/devices").await).expect("devices");
    let path = format!("/v2/{}/events", devices["devices"][0]["name"].as_str().expect("a name"));
    assert_eq!(server.get(&path).await, r#"{"events":[],"nextPageToken":""}"#);
    assert!(server.end().await.expect("a report").published > 0);
}

pub(super) fn file(text: &str) -> TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file.into_temp_path()
}

#[tokio::test]
async fn a_replay_is_streamed_word_for_word() {
    let odd = r#"{"eventId":7, "eventType":"new","x":1.50,"big":123456789012345678901234567890}"#;
    let known = r#"{"eventId":"a","targetName":"projects/p/devices/d","eventType":"co2","data":{}}"#;
    let path = file(&format!("{odd}\n\n{{\"eventType\":\"ping\"}}\n{{\"result\":{{\"event\":{known}}}}}\r\n"));
    let life = Duration::from_millis(500);
    let server = start(Options { replay: Some(path.to_path_buf()), session_life: life, rate: None, ..fast() }).await;
    let lines = server.get("/v2/projects/demo/devices:stream").await;
    let wrap = |event| format!("{{\"result\":{{\"event\":{event}}}}}\n");
    assert_eq!(lines, [wrap(odd), wrap(known)].concat());
    assert_eq!(server.get("/simulator/truth").await, format!("{odd}\n{known}\n"));
    assert!(server.get("/v2/projects/demo/devices/d").await.contains(r#""type":"co2""#));
    assert_eq!(server.end().await.expect("a report"), Report { published: 2, pushes: None });
}

#[tokio::test]
async fn a_bad_replay_file_is_named_with_its_line() {
    let path = file("{}\n[]\n");
    let server = start(Options { replay: Some(path.to_path_buf()), rate: None, ..fast() }).await;
    let _stream = server.open("/v2/projects/demo/devices:stream", "*/*").await;
    let error = server.done.await.expect("no panic").expect_err("an error").to_string();
    assert!(error.starts_with(&format!("{}:2: ", path.display())), "{error}");
    let gone = path.to_path_buf();
    path.close().expect("removed");
    let gone = start(Options { replay: Some(gone), ..fast() }).await;
    assert!(matches!(gone.done.await.expect("no panic"), Err(SimulateError::Replay { .. })));
}

#[tokio::test]
async fn who_has_no_right_gets_nothing() {
    let server = start(fast()).await;
    let mut socket = TcpStream::connect(server.at).await.expect("a connection");
    let head = "GET /v2/projects/demo/devices?token=wrong HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("a request");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 401 ") && text.contains(r#""code":401"#), "{text}");
    let wrapped = server.get("/v2/projects/nowhere/devices:stream").await;
    assert!(wrapped.starts_with(r#"{"error":{"code":404,"#), "{wrapped}");
    assert!(server.get("/v2/projects/nowhere/devices").await.starts_with(r#"{"error":"project not found","code":404"#));
    server.end().await.expect("a report");
}

const STREAM: &str = "/v2/projects/demo/devices:stream";
const BASIC: &str = "Basic ZGVtby1rZXk6ZGVtby1zZWNyZXQ=";

/// An answer in full.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        line.split_once(": ").map(|(_, value)| value)
    }
}

fn habits(habits: Habits) -> Options {
    Options { habits, ..fast() }
}

/// Bounded waiting for something that must come.
pub(super) async fn soon<F: Future<Output = Option<T>>, T>(mut check: impl FnMut() -> F) -> T {
    for _ in 0..500 {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came")
}

/// All bytes up to the end of the connection, however it ends.
async fn all(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut bytes)).await;
    read.expect("it ends").ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Running {
    async fn send(&self, method: &str, path: &str, authorization: &str, body: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.at).await.expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.ok();
        socket
    }

    /// `None` when the connection ends without an answer.
    async fn ask(&self, method: &str, path: &str, authorization: &str, body: &str) -> Option<Answer> {
        let text = all(self.send(method, path, authorization, body).await).await;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    async fn fetch(&self, path: &str) -> Answer {
        self.ask("GET", path, BASIC, "").await.expect("an answer")
    }

    /// The head of the answer to a stream's opening; the connection is gone afterwards.
    async fn try_stream(&self, authorization: &str) -> u16 {
        self.open_stream(STREAM, authorization).await.0
    }

    async fn open_stream(&self, path: &str, authorization: &str) -> (u16, TcpStream) {
        let mut socket = self.send("GET", path, authorization, "").await;
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.expect("an answer");
        (String::from_utf8_lossy(&head[9..]).parse().expect("a status"), socket)
    }

    /// Asks for an access token.
    async fn grant(&self) -> Answer {
        let now = crate::base::time::now() / crate::base::time::SECOND;
        let claims = format!(
            r#"{{"iat":{now},"exp":{},"aud":"http://x/oauth2/token","iss":"demo@demo.serviceaccount.d21s.com"}}"#,
            now + 60
        );
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"demo-key"}"#), URL_SAFE_NO_PAD.encode(claims));
        let mac = Hmac::<sha2::Sha256>::new_from_slice(b"demo-secret").expect("any key does").chain_update(&text);
        let jwt = format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={jwt}");
        self.ask("POST", "/oauth2/token", "", &form).await.expect("an answer")
    }

    async fn bearer(&self) -> String {
        let answer: Value = serde_json::from_str(&self.grant().await.body).expect("JSON");
        format!("Bearer {}", answer["access_token"].as_str().expect("a token"))
    }

    pub(super) async fn stats(&self) -> Value {
        serde_json::from_str(&self.get("/simulator/stats").await).expect("stats")
    }

    /// Waits until the stats are so.
    pub(super) async fn reaches(&self, key: &str, least: u64) {
        soon(async || self.stats().await[key].as_u64().filter(|n| *n >= least)).await;
    }

    /// The truth as far as history keeps it, by device.
    async fn by_device(&self) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for event in truth(self).await {
            all.entry(event["targetName"].as_str().expect("a target").to_owned()).or_default().push(event);
        }
        all
    }

    async fn page(&self, device: &str, query: &str) -> (Vec<Value>, String) {
        let page: Value = serde_json::from_str(&self.get(&format!("/v2/{device}/events?{query}")).await).expect("a page");
        let next = page["nextPageToken"].as_str().expect("always there").to_owned();
        (page["events"].as_array().expect("a list").clone(), next)
    }
}

/// The events of a stream's body: ids as they came.
fn ids(body: &str) -> Vec<String> {
    let lines = body.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["result"]["event"]["eventId"].as_str().map(str::to_owned)).collect()
}

fn id(event: &Value) -> String {
    event["eventId"].as_str().expect("an id").to_owned()
}

fn time(event: &Value) -> String {
    event["timestamp"].as_str().expect("a time").to_owned()
}

#[tokio::test]
async fn a_stream_ends_with_an_error_line_when_its_token_dies_and_then_the_token_opens_nothing() {
    let (token_life, session_life) = (Duration::from_millis(300), Duration::from_millis(700));
    let kills = Habits { token_kills_stream: true, ..Habits::default() };
    let server = start(Options { session_life, token_life, ..habits(kills) }).await;
    let bearer = server.bearer().await;
    let (by_token, by_secret) = tokio::join!(server.ask("GET", STREAM, &bearer, ""), server.fetch(STREAM));
    let (lines, clean) = chunks(&by_token.expect("an answer").body);
    assert!(clean && lines.len() > 2);
    assert!(lines.iter().rev().skip(1).all(|line| line.starts_with("{\"result\"")));
    assert!(lines.last().is_some_and(|line| line.starts_with(r#"{"error":{"code":16,"#) && line.ends_with('\n')));
    assert!(!by_secret.body.contains("\"error\""));
    assert_eq!(server.try_stream(&bearer).await, 401);
    assert_eq!(server.ask("GET", "/v2/projects/demo/devices", &bearer, "").await.map(|a| a.status), Some(401));
    assert_eq!(server.try_stream(&server.bearer().await).await, 200);
    assert_eq!(server.stats().await["refusals"]["401"], 2);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_cut_is_between_lines_or_in_a_line_or_in_a_chunk_and_never_a_clean_end() {
    let cut_every = Some(Duration::from_millis(10));
    let server = start(habits(Habits { cut_every, ..Habits::default() })).await;
    let (mut between, mut line, mut chunk) = (0, 0, 0);
    for n in 1..=60 {
        let body = server.fetch(&format!("{STREAM}?ping_interval=10ms")).await.body;
        let (whole, clean) = chunks(&body);
        assert!(!clean);
        let bytes: usize = whole.iter().map(|c| format!("{:X}\r\n\r\n", c.len()).len() + c.len()).sum();
        if bytes < body.len() {
            chunk += 1;
        } else if whole.last().is_none_or(|c| c.ends_with('\n')) {
            between += 1;
        } else {
            line += 1;
        }
        assert!(whole.iter().rev().skip(1).all(|c| c.ends_with('\n')));
        assert_eq!(server.stats().await["cuts"], n);
    }
    assert!((15..=45).contains(&between) && line > 4 && chunk > 4, "{between} {line} {chunk}");
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_says_nothing_more() {
    let stall_every = Some(Duration::from_millis(50));
    let server = start(habits(Habits { stall_every, ..Habits::default() })).await;
    let (status, mut socket) = server.open_stream(&format!("{STREAM}?ping_interval=10ms"), BASIC).await;
    assert_eq!(status, 200);
    server.reaches("stalls", 1).await;
    let mut buffer = vec![0; 1 << 20];
    let mut read = async || tokio::time::timeout(Duration::from_millis(200), socket.read(&mut buffer)).await;
    while let Ok(read) = read().await {
        assert!(read.expect("no error") > 0, "the connection ended");
    }
    let stats = server.stats().await;
    assert_eq!((&stats["streams"], &stats["mostStreams"], &stats["dropped"]), (&0.into(), &1.into(), &0.into()));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn refusals_have_every_face_but_never_more_than_three_in_a_row() {
    let server = start(habits(Habits { refuse: 0.6, ..Habits::default() })).await;
    let (mut seen, mut patience) = (BTreeMap::new(), 0);
    for path in ["/v2/projects/demo/devices", "/v2/projects/demo/devices:stream"] {
        let mut row = 0;
        for _ in 0..60 {
            let (status, answer) = if path == STREAM {
                let (status, socket) = server.open_stream(STREAM, BASIC).await;
                (status, if status == 200 { String::new() } else { all(socket).await })
            } else {
                let answer = server.fetch(path).await;
                (answer.status, format!("{}\r\n\r\n{}", answer.head, answer.body))
            };
            row = if status == 200 { 0 } else { row + 1 };
            assert!(row <= 3);
            if status != 200 {
                let body = answer.split_once("\r\n\r\n").expect("a head").1;
                let expected = match status {
                    502 => "<html>",
                    _ if path == STREAM => "{\"error\":{\"code\":",
                    _ => "{\"error\":\"",
                };
                assert!(body.starts_with(expected), "{answer}");
                patience += u32::from(answer.contains("retry-after: 1\r\n"));
                *seen.entry(status.to_string()).or_insert(0_u64) += 1;
            }
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["408", "429", "500", "502", "503"]);
    assert!(patience > 0 && u64::from(patience) < seen["429"]);
    let stats = server.stats().await;
    let counted: BTreeMap<String, u64> = serde_json::from_value(stats["refusals"].clone()).expect("counts");
    assert_eq!((counted, &stats["opens"]), (seen, &60.into()));
    let mut tokens = 0;
    for _ in 0..20 {
        tokens += u32::from(server.grant().await.status == 200);
    }
    assert!((5..20).contains(&tokens));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn one_in_ten_tokens_is_refused_for_streams_and_a_new_one_then_works() {
    let server = start(habits(Habits { refuse_auth_once: true, ..Habits::default() })).await;
    let (mut refused, mut last) = (0, false);
    for _ in 0..100 {
        let bearer = server.bearer().await;
        let status = server.try_stream(&bearer).await;
        if status == 401 {
            assert!(!last, "twice in a row");
            assert_eq!(server.try_stream(&bearer).await, 401);
            let devices = server.ask("GET", "/v2/projects/demo/devices", &bearer, "").await;
            assert_eq!(devices.map(|a| a.status), Some(200));
            refused += 1;
        } else {
            assert_eq!(status, 200);
        }
        last = status == 401;
        assert_eq!(server.try_stream(BASIC).await, 200);
    }
    assert!((3..=20).contains(&refused), "{refused}");
    server.end().await.expect("a report");
}

#[tokio::test]
async fn doubles_disorder_and_junk_lose_nothing_of_a_session() {
    let odd = Habits { doubles: 0.2, reorder: 9, junk: 0.2, ..Habits::default() };
    let server = start(Options { session_life: Duration::from_millis(500), ..habits(odd) }).await;
    let answer = server.fetch(&format!("{STREAM}?ping_interval=50ms")).await;
    let (lines, clean) = chunks(&answer.body);
    assert!(clean);
    let got = ids(&lines.concat());
    let shown: BTreeSet<_> = got.iter().collect();
    assert!(shown.len() < got.len() && lines.len() > got.len());
    let all: Vec<_> = events(&server.get("/simulator/truth").await).iter().map(id).collect();
    let places: Vec<_> = all.iter().enumerate().filter(|(_, id)| shown.contains(id)).map(|(place, _)| place).collect();
    assert!(places.len() > 300 && places.is_sorted());
    assert_eq!(places.last().expect("some") - places.first().expect("some") + 1, places.len(), "no gaps");
    let stats = server.stats().await;
    assert!(stats["doubles"].as_u64() >= Some(50) && stats["junk"].as_u64() >= Some(50), "{stats}");
    server.end().await.expect("a report");
}

#[tokio::test]
async fn events_that_wait_for_later_ones_come_after_a_second_of_silence() {
    let path = file("{\"eventId\":\"a\"}\n{\"eventId\":\"b\"}\n{\"eventId\":\"c\"}\n");
    let odd = Habits { doubles: 1.0, reorder: 1_000, ..Habits::default() };
    let replay = Some(path.to_path_buf());
    let server = start(Options { replay, rate: None, session_life: Duration::from_mins(1), ..habits(odd) }).await;
    let (_, mut socket) = server.open_stream(STREAM, BASIC).await;
    let mut got = String::new();
    let mut buffer = [0; 1_000];
    while got.matches("eventId").count() < 6 {
        let read = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut buffer)).await;
        got += &String::from_utf8_lossy(&buffer[..read.expect("in time").expect("no error")]);
    }
    assert_eq!(server.stats().await["doubles"], 3);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn late_readings_come_newest_first_and_stand_in_history_under_their_own_time() {
    let server = start(Options { rate: Some(500.0), ..habits(Habits { late: 0.5, ..Habits::default() }) }).await;
    server.reaches("late", 100).await;
    let (mut late, mut newer) = (0, 0);
    for (device, published) in server.by_device().await {
        let latest = published.iter().map(time).max().expect("an event");
        let backfilled = |e: &Value| e["data"].as_object().and_then(|d| d.values().next().map(|i| i["isBackfilled"] == true));
        let (shown, _) = server.page(&device, "pageSize=1000").await;
        assert!(shown.iter().map(time).is_sorted_by(|a, b| a >= b));
        let shown: BTreeSet<_> = shown.iter().map(Value::to_string).collect();
        let mut before: Option<&Value> = None;
        for event in &published {
            assert!(shown.contains(&event.to_string()));
            if backfilled(event) != Some(true) {
                before = None;
                continue;
            }
            assert!(matches!(event["eventType"].as_str(), Some("temperature" | "humidity")));
            assert_eq!(event["data"][event["eventType"].as_str().expect("a type")]["updateTime"], event["timestamp"]);
            newer += usize::from(time(event) < latest);
            late += 1;
            // A run may hold two deliveries only if something came between; then `before` is none.
            if let Some(before) = before {
                assert!(time(before) >= time(event), "{before} before {event}");
            }
            before = Some(event);
        }
    }
    assert!(late >= 100 && newer > 50, "{late} {newer}");
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_project_has_so_many_streams_and_a_gone_client_frees_its_place() {
    let server = start(habits(Habits { streams_max: Some(2), ..Habits::default() })).await;
    let (quiet, idle) = (format!("{STREAM}?event_types=none"), format!("{STREAM}?event_types=none&ping_interval=50ms"));
    let (first, second) = (server.open_stream(&quiet, BASIC).await, server.open_stream(&idle, BASIC).await);
    assert_eq!((first.0, second.0), (200, 200));
    let third = server.fetch(STREAM).await;
    assert_eq!((third.status, third.header("retry-after")), (429, Some("1")));
    assert!(third.body.starts_with(r#"{"error":{"code":429,"#));
    drop(first);
    let first = soon(async || Some(server.open_stream(&quiet, BASIC).await).filter(|(status, _)| *status == 200)).await;
    assert_eq!(server.try_stream(BASIC).await, 429);
    drop(second);
    soon(async || Some(server.try_stream(BASIC).await).filter(|status| *status == 200)).await;
    assert_eq!(server.stats().await["mostStreams"], 2);
    drop(first);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_stalled_stream_frees_its_place_when_its_client_goes() {
    let stalls = Habits { streams_max: Some(1), stall_every: Some(Duration::ZERO), ..Habits::default() };
    let server = start(habits(stalls)).await;
    let stalled = server.open_stream(STREAM, BASIC).await;
    server.reaches("stalls", 1).await;
    assert_eq!(server.try_stream(BASIC).await, 429);
    drop(stalled);
    soon(async || Some(server.try_stream(BASIC).await).filter(|status| *status == 200)).await;
    server.end().await.expect("a report");
}

#[tokio::test]
async fn rest_calls_beyond_the_bucket_wait_and_streams_and_tokens_do_not_count() {
    let server = start(habits(Habits { requests_max: Some((1, 3)), ..Habits::default() })).await;
    for _ in 0..5 {
        assert_eq!(server.try_stream(BASIC).await, 200);
        assert_eq!(server.grant().await.status, 200);
    }
    let mut limited = 0;
    for _ in 0..6 {
        let answer = server.fetch("/v2/projects/demo/devices/x/events").await;
        match answer.status {
            429 => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                limited += 1;
            }
            status => assert_eq!(status, 404),
        }
    }
    assert!((1..=3).contains(&limited), "{limited}");
    let stats = server.stats().await;
    assert_eq!((&stats["rateLimited"], &stats["historyRequests"]), (&limited.into(), &6.into()));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn tiny_pieces_make_whole_lines() {
    for (accept, prefix) in [("*/*", ""), ("text/event-stream", "data: ")] {
        let session_life = Duration::from_millis(300);
        let server = start(Options { session_life, rate: Some(200.0), ..habits(Habits { one_byte: true, ..Habits::default() }) });
        let server = server.await;
        let text = all(server.open(&format!("{STREAM}?ping_interval=1s"), accept).await).await;
        let (pieces, clean) = chunks(text.split_once("\r\n\r\n").expect("a head").1);
        assert!(clean && pieces.iter().all(|p| p.len() <= 7) && pieces.len() > 1_000, "{}", pieces.len());
        let text = pieces.concat();
        for line in text.lines().filter(|line| !line.is_empty()) {
            serde_json::from_str::<Value>(line.strip_prefix(prefix).expect("a prefix")).expect("a whole line");
        }
        server.end().await.expect("a report");
    }
}

#[tokio::test]
async fn without_the_right_to_history_it_answers_403() {
    let server = start(habits(Habits { no_history: true, ..Habits::default() })).await;
    let answer = server.fetch("/v2/projects/demo/devices/x/events").await;
    assert!(answer.status == 403 && answer.body.contains(r#""code":403"#), "{}", answer.body);
    assert_eq!(server.fetch("/v2/projects/demo/devices").await.status, 200);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn an_outage_ends_every_connection_and_history_has_what_happened_meanwhile() {
    let outages = vec![(Duration::from_millis(400), Duration::from_millis(900))];
    let server = start(habits(Habits { outages, ..Habits::default() })).await;
    let (answer, silent) = tokio::join!(server.fetch(STREAM), async {
        let mut idle = TcpStream::connect(server.at).await.expect("a connection");
        idle.read_u8().await.is_err()
    });
    assert!(silent);
    let (lines, clean) = chunks(&answer.body);
    assert!(!clean && lines.len() > 100);
    assert!(server.ask("GET", "/simulator/stats", BASIC, "").await.is_none(), "the whole server is away");
    soon(async || server.ask("GET", "/simulator/stats", BASIC, "").await).await;
    let got: BTreeSet<_> = ids(&lines.concat()).into_iter().collect();
    let mut missed = 0;
    for (device, published) in server.by_device().await {
        let (shown, _) = server.page(&device, "pageSize=1000").await;
        let shown: BTreeSet<_> = shown.iter().map(id).collect();
        assert!(published.iter().all(|e| shown.contains(&id(e))));
        missed += published.iter().filter(|e| !got.contains(&id(e))).count();
    }
    assert!(missed > 700, "{missed}");
    assert_eq!(server.stats().await["streams"], 0);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn the_history_includes_its_start_and_not_its_end() {
    let server = start(fast()).await;
    server.reaches("published", 500).await;
    let (device, published) = server.by_device().await.into_iter().max_by_key(|(_, e)| e.len()).expect("a device");
    let at = time(&published[published.len() / 2]);
    let same: BTreeSet<_> = published.iter().filter(|e| time(e) == at).map(id).collect();
    let micros = at.parse::<jiff::Timestamp>().expect("a time").as_microsecond() + 1;
    let after = crate::base::time::rfc3339(micros);
    assert!(server.page(&device, &format!("startTime={at}&endTime={at}")).await.0.is_empty());
    let (shown, _) = server.page(&device, &format!("startTime={at}&endTime={after}")).await;
    assert_eq!(shown.iter().map(id).collect::<BTreeSet<_>>(), same);
    assert!(server.page(&device, &format!("startTime={after}&endTime={at}")).await.0.is_empty());
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_walk_through_history_shows_what_its_first_page_knew_whatever_comes_meanwhile() {
    let server = start(Options { devices: 1, ..habits(Habits { late: 0.5, ..Habits::default() }) }).await;
    server.reaches("late", 50).await;
    let device = server.by_device().await.into_keys().next().expect("a device");
    let before: BTreeSet<_> = truth(&server).await.iter().map(id).collect();
    let (mut walked, mut next) = server.page(&device, "pageSize=50").await;
    let known: BTreeSet<_> = truth(&server).await.iter().map(id).collect();
    let late = server.stats().await["late"].as_u64().expect("a count");
    while !next.is_empty() {
        let (page, after) = server.page(&device, &format!("pageSize=50&pageToken={next}")).await;
        assert!(!page.is_empty());
        walked.extend(page);
        next = after;
        server.reaches("published", 1).await;
    }
    server.reaches("late", late + 1).await;
    assert!(walked.iter().map(time).is_sorted_by(|a, b| a >= b));
    let shown: BTreeSet<_> = walked.iter().map(id).collect();
    assert_eq!(shown.len(), walked.len(), "none twice");
    assert!(before.is_subset(&shown) && shown.is_subset(&known), "{} {} {}", before.len(), shown.len(), known.len());
    server.end().await.expect("a report");
}

fn spell(status: u16, from: u64, to: u64) -> Spell {
    Spell { status, from: Duration::from_millis(from), to: Duration::from_millis(to) }
}

#[tokio::test]
async fn streams_are_refused_for_a_while_and_those_that_are_open_end_cleanly() {
    let refuse_streams = vec![spell(403, 500, 1_500), spell(429, 1_500, 60_000)];
    let retry_after = Some("99999999999".parse().expect("a header"));
    let server = start(habits(Habits { refuse_streams, retry_after, ..Habits::default() })).await;
    let (lines, clean) = chunks(&server.fetch(STREAM).await.body);
    assert!(clean && lines.len() > 100);
    let refused = server.fetch(STREAM).await;
    assert_eq!((refused.status, refused.header("retry-after")), (403, None));
    assert!(refused.body.starts_with(r#"{"error":{"code":403,"message":"Forbidden","#), "{}", refused.body);
    assert_eq!((server.fetch("/v2/projects/demo/devices").await.status, server.grant().await.status), (200, 200));
    let published = server.stats().await["published"].as_u64().expect("a count");
    server.reaches("published", published + 1).await;
    let later = soon(async || Some(server.fetch(STREAM).await).filter(|answer| answer.status == 429)).await;
    assert_eq!(later.header("retry-after"), Some("99999999999"));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn tokens_are_refused_for_a_while_and_those_given_out_stay_good() {
    let retry_after = Some("-5".parse().expect("a header"));
    let server = start(habits(Habits { refuse_token: vec![spell(503, 500, 1_500)], retry_after, ..Habits::default() })).await;
    let bearer = server.bearer().await;
    let refused = soon(async || Some(server.grant().await).filter(|answer| answer.status != 200)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("-5")));
    assert_eq!(server.try_stream(&bearer).await, 200);
    soon(async || Some(server.grant().await).filter(|answer| answer.status == 200)).await;
    server.end().await.expect("a report");
}

#[tokio::test]
async fn the_words_of_patience_are_those_that_were_given() {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let retry_after = Some(date.parse().expect("a header"));
    let server = start(habits(Habits { refuse: 0.9, retry_after, ..Habits::default() })).await;
    let mut patient = 0;
    for _ in 0..60 {
        let answer = server.fetch("/v2/projects/demo/devices").await;
        let asks = matches!(answer.status, 429 | 503);
        assert_eq!(answer.header("retry-after"), asks.then_some(date), "{}", answer.head);
        patient += u32::from(asks);
    }
    assert!(patient > 5);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_token_says_of_its_life_what_it_is_told_to() {
    for words in [r#""3600""#, "3600.5", "1e300", "-1", "null"] {
        let server = start(habits(Habits { expires_in: Some(words.to_owned()), ..Habits::default() })).await;
        let answer = server.grant().await.body;
        assert!(answer.ends_with(&format!(r#""expires_in":{words}}}"#)), "{answer}");
        assert_eq!(server.try_stream(&server.bearer().await).await, 200);
        server.end().await.expect("a report");
    }
}

impl Running {
    /// Names of the listed devices, in their order.
    async fn listed(&self) -> Vec<String> {
        let devices: Value = serde_json::from_str(&self.get("/v2/projects/demo/devices").await).expect("devices");
        let names = devices["devices"].as_array().expect("a list").iter();
        names.map(|device| device["name"].as_str().expect("a name").to_owned()).collect()
    }
}

#[tokio::test]
async fn some_devices_are_gone_for_the_history_others_fail_and_others_are_not_listed() {
    let odd = Habits { gone_devices: 2, failing_devices: 3, unlisted_devices: 4, ..Habits::default() };
    let server = start(Options { devices: 12, ..habits(odd) }).await;
    server.reaches("published", 1_000).await;
    let listed = server.listed().await;
    assert_eq!(listed.len(), 8);
    let mut statuses = Vec::new();
    for device in &listed {
        statuses.push(server.fetch(&format!("/v2/{device}/events")).await.status);
    }
    assert_eq!(statuses, [404, 404, 500, 500, 500, 200, 200, 200]);
    let speaking = server.by_device().await;
    let unlisted: Vec<_> = speaking.keys().filter(|device| !listed.contains(device)).collect();
    assert_eq!(unlisted.len(), 4);
    for device in unlisted {
        assert!(!server.page(device, "").await.0.is_empty());
    }
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_page_token_is_good_only_for_its_time() {
    let page_tokens_expire = Some(Duration::from_secs(1));
    let server = start(Options { devices: 1, ..habits(Habits { page_tokens_expire, ..Habits::default() }) }).await;
    server.reaches("published", 50).await;
    let device = server.listed().await.remove(0);
    let (_, first) = server.page(&device, "pageSize=1").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (_, second) = server.page(&device, &format!("pageSize=1&pageToken={first}")).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let path = |token: &str| format!("/v2/{device}/events?pageSize=1&pageToken={token}");
    assert_eq!(server.fetch(&path(&second)).await.status, 200, "its time begins when it is given");
    let old = server.fetch(&path(&first)).await;
    assert_eq!((old.status, old.body.contains("expired")), (400, true), "{}", old.body);
    server.end().await.expect("a report");
}

#[tokio::test]
async fn the_first_walk_through_each_history_breaks_and_the_next_one_works() {
    let once = Habits { page_tokens_expire_once: true, ..Habits::default() };
    let server = start(Options { devices: 2, ..habits(once) }).await;
    server.reaches("published", 100).await;
    for device in server.listed().await {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let (_, next) = server.page(&device, "pageSize=1").await;
            statuses.push(server.fetch(&format!("/v2/{device}/events?pageSize=1&pageToken={next}")).await.status);
        }
        assert_eq!(statuses, [400, 200, 200]);
    }
    server.end().await.expect("a report");
}

#[tokio::test]
async fn a_stalled_history_never_answers_and_holds_nothing_up() {
    let server = start(habits(Habits { stall_history: true, ..Habits::default() })).await;
    let device = server.listed().await.remove(0);
    let mut stalled = server.send("GET", &format!("/v2/{device}/events"), BASIC, "").await;
    server.reaches("historyRequests", 1).await;
    let answer = tokio::time::timeout(Duration::from_millis(300), stalled.read_u8()).await;
    assert!(answer.is_err(), "{answer:?}");
    let ended = tokio::time::timeout(Duration::from_millis(500), server.end()).await;
    ended.expect("at once").expect("a report");
}

#[tokio::test]
async fn an_event_from_the_past_comes_at_once_and_stands_in_history_under_its_time() {
    let age = Duration::from_hours(2);
    let old = Habits { event_age: Some((age, 0.3)), ..Habits::default() };
    let server = start(Options { session_life: Duration::from_millis(600), seed: 4, ..habits(old) }).await;
    let began = crate::base::time::now();
    let (lines, _) = chunks(&server.fetch(STREAM).await.body);
    let streamed: BTreeSet<_> = ids(&lines.concat()).into_iter().collect();
    let ago = |time: Duration| crate::base::time::rfc3339(began - crate::base::time::micros(time));
    // Desks are timed to the second.
    let slack = Duration::from_secs(2);
    let (first, recent) = (ago(age + slack), ago(slack));
    let (mut all, mut aged, mut aged_streamed) = (0_u64, 0_u64, 0_u64);
    for (device, published) in server.by_device().await {
        let (shown, _) = server.page(&device, "pageSize=1000").await;
        let shown: BTreeSet<_> = shown.iter().map(Value::to_string).collect();
        for event in &published {
            assert!(shown.contains(&event.to_string()), "{event}");
            let inner = &event["data"][event["eventType"].as_str().expect("a type")];
            assert_eq!(inner["updateTime"], event["timestamp"]);
            all += 1;
            if time(event) < recent {
                assert!(time(event) > first, "{event}");
                assert!(inner.get("isBackfilled").is_none_or(|mark| *mark == true), "{event}");
                assert!(inner["samples"].as_array().is_none_or(|samples| samples[0]["sampleTime"] == event["timestamp"]));
                aged += 1;
                aged_streamed += u64::from(streamed.contains(&id(event)));
            }
        }
    }
    assert!(aged * 5 > all && aged * 5 < all * 2 && aged_streamed > 100, "{aged} of {all}, {aged_streamed}");
    assert!(server.stats().await["aged"].as_u64() >= Some(aged));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn history_shows_a_share_of_events_later_and_a_walk_stays_what_it_was() {
    let lag = Habits { history_lag: Some((Duration::from_secs(2), 0.5)), ..Habits::default() };
    let server = start(Options { devices: 1, ..habits(lag) }).await;
    server.reaches("published", 400).await;
    let device = server.listed().await.remove(0);
    let early: BTreeSet<_> = truth(&server).await.iter().map(id).collect();
    let (mut walked, mut next) = server.page(&device, "pageSize=50").await;
    let known: BTreeSet<_> = truth(&server).await.iter().map(id).collect();
    // What was to come later has come when the walk goes on.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    while !next.is_empty() {
        let (page, after) = server.page(&device, &format!("pageSize=50&pageToken={next}")).await;
        walked.extend(page);
        next = after;
    }
    let shown: BTreeSet<_> = walked.iter().map(id).collect();
    assert!(shown.len() == walked.len() && shown.is_subset(&known));
    let missing = early.difference(&shown).count();
    assert!(missing * 4 > early.len() && missing * 4 < early.len() * 3, "{missing} of {}", early.len());
    let mut later = BTreeSet::new();
    let mut token = String::new();
    loop {
        let (page, after) = server.page(&device, &format!("pageSize=1000&pageToken={token}")).await;
        later.extend(page.iter().map(id));
        token = after;
        if token.is_empty() {
            break;
        }
    }
    assert!(early.is_subset(&later));
    server.end().await.expect("a report");
}

#[tokio::test]
async fn the_truth_tells_when_each_event_was_published_whatever_its_own_time() {
    let old = Habits { event_age: Some((Duration::from_hours(1), 1.0)), ..Habits::default() };
    let began = crate::base::time::now();
    let server = start(Options { speed: 60.0, ..habits(old) }).await;
    server.reaches("published", 200).await;
    let timed = events(&server.get("/simulator/truth?published=1").await);
    let ended = crate::base::time::rfc3339(crate::base::time::now());
    let bare = events(&server.get("/simulator/truth").await);
    assert!(timed.len() >= 200 && timed.iter().map(|line| &line["event"]).eq(bare.iter().take(timed.len())));
    let published: Vec<_> = timed.iter().map(|line| line["published"].as_str().expect("a time")).collect();
    assert!(published.is_sorted());
    assert!(*published[0] >= *crate::base::time::rfc3339(began) && *published[published.len() - 1] <= *ended);
    server.end().await.expect("a report");
}
