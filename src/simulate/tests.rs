//! The simulator as its clients see it: over a socket, byte by byte.

use super::{Options, Report, SimulateError, serve};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Outcome = Result<Report, SimulateError>;

struct Running {
    at: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Outcome>,
}

async fn start(options: Options) -> Running {
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
    async fn get(&self, path: &str) -> String {
        let mut socket = self.open(path, "*/*").await;
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        if head.contains("chunked") { chunks(body).0.concat() } else { body.to_owned() }
    }

    async fn end(self) -> Outcome {
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
    // Desks are timed to the second: what was published meanwhile may be older than the end.
    let set = |events: Vec<Value>| events.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    let upto = before.into_iter().filter(|e| e["timestamp"].as_str().is_some_and(|t| *t <= *end));
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

fn file(text: &str) -> TempPath {
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
    assert_eq!(server.end().await.expect("a report"), Report { published: 2 });
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
