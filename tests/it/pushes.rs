//! The receiver: whoever is not the cloud gets nothing in, and what is answered 200 is kept, come what may.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use overnight::base::time::SECOND;
use overnight::intake::webhook::{Keys, Limits, Receiver};
use overnight::model::event::Source;
use overnight::model::layout::Layout;
use overnight::model::schema::Registry;
use overnight::model::settings::Secret;
use overnight::query::coverage::Timeline;
use overnight::recorder::{self, Recorder, Sources, Timing};
use overnight::store::buffer::{Buffer, Change, Heard, View};
use overnight::store::meter::Meter;
use overnight::store::writer::Phase;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Cloud, Place, Ran, Running, by_key, overnight, run_of_p, touch, until};

const SECRET: &str = "hunter2-signs";
const HOUR: i64 = 3600 * SECOND;

/// A running receiver.
struct Listening {
    running: Running,
    address: SocketAddr,
}

impl Listening {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = overnight();
        command.args(["listen", "--addr", "127.0.0.1:0", "--dir"]).arg(place.dir()).args(arguments);
        Self::run(command.env("DT_SIGNATURE_SECRET", SECRET))
    }

    fn run(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        let mut line = String::new();
        BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("first line {line:?}, then {}", running.wait().stderr)), running }
    }

    fn post(&self, push: &Push) -> Answer {
        Client::new(self.address).post(push).unwrap()
    }

    fn terminate(self) -> Ran {
        self.running.terminate().0
    }
}

/// A push, and how it is signed.
#[derive(Clone)]
struct Push {
    body: Vec<u8>,
    signature: Option<String>,
    more: &'static str,
}

fn sign(header: &str, claims: &str, secret: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn claims(body: &[u8], iat: i64) -> String {
    let sum = base16ct::lower::encode_string(&Sha256::digest(body));
    format!(r#"{{"checksum":"-","checksum_sha256":"{sum}","exp":{},"iat":{iat},"jti":"j"}}"#, iat + 3600)
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

impl Push {
    fn of(event: &str) -> Self {
        Self::of_device(event, r#"{"name":"test"}"#)
    }

    fn of_device(event: &str, labels: &str) -> Self {
        Self::raw(format!(
            r#"{{"event":{event},"labels":{labels},"metadata":{{"deviceId":"d1","projectId":"p","deviceType":"touch","productNumber":"100"}}}}"#
        ))
    }

    fn raw(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = Some(sign(HS256, &claims(&body, now()), SECRET));
        Self { body, signature, more: "" }
    }

    fn signed(self, signature: impl Into<Option<String>>) -> Self {
        Self { signature: signature.into(), ..self }
    }

    fn head(&self) -> String {
        let signature = self.signature.as_ref().map(|token| format!("X-DT-Signature: {token}\r\n")).unwrap_or_default();
        format!("POST /any/path?x=1 HTTP/1.1\r\nHost: x\r\n{signature}{}Content-Length: {}\r\n\r\n", self.more, self.body.len())
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

/// A kept-alive connection.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn post(&mut self, push: &Push) -> std::io::Result<Answer> {
        let mut request = push.head().into_bytes();
        request.extend(&push.body);
        self.send(&request)
    }

    fn send(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        self.stream.get_mut().write_all(request)?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            text += &line.to_lowercase();
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, text: text + &String::from_utf8(body).unwrap() })
    }
}

#[test]
fn of_what_pushes_say_of_a_device_the_latest_by_event_time_stays() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let say = |at: i64, name: &str, project: &str, kind: &str| {
        let time = format!("2026-10-01T00:00:{at:02}.000000Z");
        let event = format!(
            r#"{{"eventId":"n{at}","targetName":"projects/p/devices/d1","eventType":"touch","data":{{"touch":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#
        );
        let body = format!(
            r#"{{"event":{event},"labels":{{"name":"{name}"}},"metadata":{{"deviceId":"d1","projectId":"{project}","deviceType":"{kind}","productNumber":""}}}}"#
        );
        assert_eq!(listening.post(&Push::raw(body)).status, 200);
        let view = View::open(&Layout::new(&place.dir())).unwrap();
        let devices = view.devices().unwrap();
        assert!(devices.len() < 2, "{devices:?}");
        devices.first().map(|device| device.labels.clone()).unwrap_or_default()
    };
    let long = "x".repeat(300);
    // Of another project than the event, or too long: nothing is taken of it.
    assert_eq!(say(1, "Elsewhere", "q", "touch"), "");
    assert_eq!(say(2, "Long", "p", &long), "");
    for (at, name, stays) in [
        (10, "Kitchen", "Kitchen"),
        (20, "Freezer 2", "Freezer 2"),
        (30, "Kitchen", "Kitchen"),
        // Held up, and sent again.
        (25, "Freezer 3", "Kitchen"),
        (20, "Freezer 2", "Kitchen"),
        (30, "Larder", "Larder"),
    ] {
        assert_eq!(say(at, name, "p", "touch"), format!("{{\"name\":\"{stays}\"}}"), "{at} {name}");
    }
    listening.terminate();
}

#[test]
fn a_push_that_the_cloud_did_not_sign_is_refused_and_nothing_of_it_is_kept() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let good = Push::of(&touch("kept", 5, 1));
    assert_eq!(listening.post(&good).status, 200);
    let event = |id: &str| Push::of(&touch(id, 5, 2));
    let token = |push: &Push, header: &str, iat: i64, secret: &str| sign(header, &claims(&push.body, iat), secret);
    let forged = event("forged");
    let tampered = Push {
        body: String::from_utf8(event("tampered").body).unwrap().replace("tampered", "tempered").into(),
        ..event("tampered")
    };
    let stale = event("stale");
    let early = event("early");
    let none = event("none");
    let other = event("other");
    let refused = [
        ("forged", forged.clone().signed(token(&forged, HS256, now(), "guess")), 401),
        ("unsigned", event("unsigned").signed(None), 401),
        ("no token", event("no-token").signed("Bearer x".to_owned()), 401),
        ("stale", stale.clone().signed(token(&stale, HS256, now() - 2 * 3600, SECRET)), 401),
        ("from the future", early.clone().signed(token(&early, HS256, now() + 3600, SECRET)), 401),
        ("tampered", tampered, 401),
        ("alg none", none.clone().signed(token(&none, r#"{"alg":"none"}"#, now(), "")), 401),
        ("alg HS512", other.clone().signed(token(&other, r#"{"alg":"HS512"}"#, now(), SECRET)), 401),
        ("oversized", Push::raw(vec![b' '; 1024 * 1024 + 1]), 413),
        ("compressed", Push { more: "Content-Encoding: gzip\r\n", ..event("gzip") }, 415),
    ];
    for (what, push, status) in refused {
        let answer = listening.post(&push);
        assert_eq!(answer.status, status, "{what}");
        assert!(!answer.text.contains("secret"), "{what} is told too much: {}", answer.text);
    }
    // Without a length, the limit holds as well.
    let endless = Push::raw("");
    let mut client = Client::new(listening.address);
    let head = endless.head().replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut request = head.into_bytes();
    (0..18).for_each(|_| request.extend([b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat()));
    assert_eq!(client.send(&request).unwrap().status, 413);

    let get = Client::new(listening.address).send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(get.status, 405);
    assert!(get.text.contains("allow: post"), "{}", get.text);
    for path in ["healthz", "readyz"] {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(Client::new(listening.address).send(request.as_bytes()).unwrap().status, 200, "{path}");
    }
    let ran = listening.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("another secret") && ran.stderr.contains("not signed"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(SECRET));
    let events = place.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["eventId"], "kept");
    assert_eq!(place.status()["faults"], 0);
    assert!(place.run(&["export"]).stdout.lines().nth(1).unwrap().ends_with(",push,"), "the source is told");
}

/// A receiver in this process, with limits that a test can wait for.
fn with_limits(limits: Limits, test: impl FnOnce(SocketAddr) + Send) {
    let place = Place::new();
    let layout = Layout::new(&place.dir());
    let registry = Arc::new(Registry::built_in().unwrap());
    let recorder = Recorder::open(&layout, registry, Arc::new(Meter::default()), Timing::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        runtime.block_on(async {
            let keys = Keys { secret: Some(Secret::new(SECRET)), ..Keys::default() };
            let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), keys, limits).unwrap();
            let address = receiver.url().strip_prefix("http://").unwrap().parse().unwrap();
            let (done, asked) = tokio::sync::oneshot::channel();
            scope.spawn(move || {
                test(address);
                done.send(Phase::Asked).unwrap();
            });
            let sources = Sources { receiver: Some(receiver), ..Sources::default() };
            recorder::run(&recorder, sources, None, async { asked.await.unwrap_or(Phase::Asked) }).await.unwrap();
        });
    });
    recorder.close().unwrap();
    assert_eq!(place.events().len(), 1, "what was refused is not kept");
}

#[test]
fn slow_senders_are_cut_and_idle_ones_make_room() {
    let limits = Limits {
        header_time: Duration::from_millis(500),
        body_time: Duration::from_millis(500),
        connections: 2,
        ..Limits::default()
    };
    with_limits(limits, |address| {
        let push = Push::of(&touch("slow", 5, 1));
        let mut slow = Client::new(address);
        slow.stream.get_mut().write_all(push.head().as_bytes()).unwrap();
        slow.stream.get_mut().write_all(&push.body[..10]).unwrap();
        assert_eq!(slow.answer().unwrap().status, 408);
        assert!(slow.post(&push).is_err(), "the connection is closed");
        let mut slower = Client::new(address);
        slower.stream.get_mut().write_all(b"POST / HTTP/1.1\r\nHos").unwrap();
        // Cut, with or without a word.
        assert!(slower.answer().map_or(true, |answer| answer.status == 408));

        // Whoever idles makes room for whoever comes.
        let idle: Vec<Client> = (0..5).map(|_| Client::new(address)).collect();
        assert_eq!(Client::new(address).post(&push).unwrap().status, 200);
        for mut client in idle {
            assert!(client.answer().is_err());
        }
    });
}

#[test]
fn strangers_however_many_keep_no_honest_sender_out() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let address = listening.address;
    let push = |number: u32| Push::of(&touch(&format!("honest-{number}"), 5, number));
    let mut honest = Client::new(address);
    assert_eq!(honest.post(&push(0)).unwrap().status, 200);
    let mut strangers = Vec::new();
    for number in 1..=4 {
        // Some idle, some are slow, some read no answer.
        for stranger in 0..100 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            let request = match stranger % 4 {
                0 => Vec::new(),
                1 => b"POST / HTTP/1.1\r\nHo".to_vec(),
                2 => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{".to_vec(),
                _ => b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50),
            };
            // It may have been sent away already.
            stream.write_all(&request).unwrap_or_default();
            strangers.push(stream);
        }
        // On the connection that is known, and on a new one.
        assert_eq!(honest.post(&push(number)).unwrap().status, 200);
        assert_eq!(listening.post(&push(100 + number)).status, 200);
    }
    let ran = listening.terminate();
    assert!(ran.code == 0 && ran.stderr.contains("it idled"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 9);
}

#[test]
fn whoever_reads_no_answers_is_given_up() {
    let limits = Limits { write_time: Duration::from_millis(300), idle_requests: u32::MAX, ..Limits::default() };
    with_limits(limits, |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let requests = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let is_cut = |error: std::io::Error| !matches!(error.kind(), std::io::ErrorKind::WouldBlock);
        until("the connection is cut", || stream.write_all(&requests).is_err_and(is_cut));
        assert_eq!(Client::new(address).post(&Push::of(&touch("honest", 5, 1))).unwrap().status, 200);
    });
}

#[test]
fn a_connection_ends_with_an_answer_when_it_is_old_or_asked_for_much() {
    let push = Push::of(&touch("one", 5, 1));
    let get = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    let forever = Limits::default();
    with_limits(Limits { idle_requests: 3, ..forever.clone() }, |address| {
        let mut client = Client::new(address);
        // What brings something begins the count anew.
        for request in ["get", "get", "push", "get", "get", "get"] {
            let answer = if request == "push" { client.post(&push) } else { client.send(get) }.unwrap();
            assert_eq!(answer.status, 200);
        }
        assert!(client.answer().is_err());
    });
    with_limits(Limits { requests: 2, ..forever.clone() }, |address| {
        let mut client = Client::new(address);
        assert!(!client.post(&push).unwrap().text.contains("connection: close"));
        assert!(client.post(&push).unwrap().text.contains("connection: close"));
        assert!(client.answer().is_err());
    });
    with_limits(Limits { age: Duration::ZERO, ..forever }, |address| {
        let mut client = Client::new(address);
        assert!(client.post(&push).unwrap().text.contains("connection: close"));
        assert!(client.answer().is_err());
    });
}

#[test]
fn a_push_is_answered_though_its_sender_has_closed_its_side() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    for number in 0..10 {
        let push = Push::of(&touch(&format!("half-closed-{number}"), 5, number));
        let mut client = Client::new(listening.address);
        client.stream.get_mut().write_all(&[push.head().as_bytes(), &push.body].concat()).unwrap();
        client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer().unwrap().status, 200);
    }
    assert_eq!(listening.terminate().code, 0);
    assert_eq!(place.events().len(), 10);
}

#[test]
fn a_refusal_is_received_by_whoever_is_still_sending() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let large = Push::raw(vec![b' '; 6 * 1024 * 1024]);
    let none = large.clone().signed(None);
    for _ in 0..20 {
        // Everything is sent before anything is read.
        assert_eq!(listening.post(&none).status, 401);
        assert_eq!(listening.post(&large).status, 413);
        let no_http = [b"NO HTTP AT ALL\r\n\r\n".as_slice(), &vec![b'x'; 1024 * 1024]].concat();
        assert_eq!(Client::new(listening.address).send(&no_http).unwrap().status, 400);
    }
    assert_eq!(listening.terminate().code, 0);
}

#[test]
fn sighup_ends_no_receiver_whether_it_has_files_to_read_anew_or_not() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    for number in 0..3 {
        listening.running.signal("-HUP");
        assert_eq!(listening.post(&Push::of(&touch(&format!("a{number}"), 5, number))).status, 200);
    }
    let ran = listening.terminate();
    assert!(ran.code == 0 && ran.stderr.contains("nothing to read anew"), "{ran:?}");
    assert_eq!(place.events().len(), 3);
}

#[test]
fn what_is_signed_and_no_event_is_kept_as_a_fault() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    for body in [r#"{"event":{"eventType":"touch"}}"#, "not JSON", "", r#"{"error":{"code":4,"message":"x"}}"#] {
        assert_eq!(listening.post(&Push::raw(body)).status, 200, "{body}");
    }
    assert_eq!(listening.terminate().code, 3);
    assert_eq!(place.status()["faults"], 4);
}

#[test]
fn every_acknowledged_push_survives_kill_9_under_load_and_stands_once() {
    let place = Place::new();
    let acknowledged = Mutex::new(BTreeSet::new());
    for round in 0..8 {
        let listening = Listening::start(&place, &["--roll-every", "100ms"]);
        let (address, killed) = (listening.address, AtomicBool::new(false));
        std::thread::scope(|scope| {
            for sender in 0..12 {
                let (acknowledged, killed) = (&acknowledged, &killed);
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    for number in 0.. {
                        let id = format!("r{round}s{sender}n{number}");
                        // Every third is sent twice, and half of the days are long over.
                        for _ in 0..=u32::from(number % 3 == 0) {
                            let push = Push::of(&touch(&id, 4 + number % 4, number));
                            let Ok(answer) = client.post(&push) else {
                                assert!(killed.load(Ordering::SeqCst), "a connection broke before the kill");
                                return;
                            };
                            assert_eq!(answer.status, 200);
                            acknowledged.lock().unwrap().insert(id.clone());
                        }
                    }
                });
            }
            let before = acknowledged.lock().unwrap().len();
            until("enough is acknowledged", || acknowledged.lock().unwrap().len() > before + 150 * (round + 1));
            killed.store(true, Ordering::SeqCst);
            // Dropping it kills it with SIGKILL.
            drop(listening);
        });
    }
    let events = place.events();
    let recorded: BTreeSet<String> = by_key(&events).into_keys().map(|(_, id)| id).collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&recorded).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

#[test]
fn a_stopping_receiver_answers_everybody_and_keeps_what_it_acknowledged() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let address = listening.address;
    let acknowledged = AtomicBool::new(false);
    let kept: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..6)
            .map(|sender| {
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    let mut kept = 0;
                    for number in 0.. {
                        match client.post(&Push::of(&touch(&format!("s{sender}n{number}"), 5, number))) {
                            Ok(Answer { status: 200, .. }) => kept += 1,
                            Ok(answer) => {
                                assert_eq!(answer.status, 503);
                                assert!(answer.text.contains("retry-after"));
                                break;
                            }
                            // A kept-alive connection may be closed between two pushes.
                            Err(_) => break,
                        }
                        acknowledged.store(true, Ordering::SeqCst);
                    }
                    kept
                })
            })
            .collect();
        until("something is acknowledged", || acknowledged.load(Ordering::SeqCst));
        let ran = listening.terminate();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!(place.events().len(), kept);
}

#[test]
fn without_a_secret_nothing_is_received_unless_asked_for_and_a_secret_is_no_open_file() {
    let place = Place::new();
    let ran = place.run(&["listen"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--secret-file") && ran.stderr.contains("--allow-unsigned"), "{}", ran.stderr);
    let secret = place.path("secret");
    crate::support::write(&secret, SECRET);
    open_to(&secret, 0o644);
    let ran = place.run(&["listen", "--addr", "127.0.0.1:0", "--secret-file", secret.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("chmod 600") && !ran.stderr.contains(SECRET), "{}", ran.stderr);
    open_to(&secret, 0o600);
    let mut command = overnight();
    command.args(["listen", "--addr", "127.0.0.1:0", "--secret-file"]).arg(&secret).arg("--dir").arg(place.dir());
    let listening = Listening::run(&mut command);
    assert_eq!(listening.post(&Push::of(&touch("a", 5, 1))).status, 200);
    assert_eq!(listening.terminate().code, 0);

    let mut command = overnight();
    command.args(["listen", "--addr", "127.0.0.1:0", "--allow-unsigned", "--dir"]).arg(place.dir());
    let listening = Listening::run(&mut command);
    let unsigned = |id: &str, more: &'static str| Push { more, ..Push::of(&touch(id, 5, 2)).signed(None) };
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    assert_eq!(listening.post(&unsigned("b", json)).status, 200);
    let ran = listening.terminate();
    assert!(ran.stderr.contains("warning: --allow-unsigned"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 2);
}

#[test]
fn no_page_that_somebody_looks_at_pushes_where_everybody_is_trusted() {
    let place = Place::new();
    let mut command = overnight();
    command.args(["listen", "--addr", "127.0.0.1:0", "--allow-unsigned", "--dir"]).arg(place.dir());
    let listening = Listening::run(&mut command);
    for (more, status) in [
        ("", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/jsonp\r\n", 415),
        ("Content-Type: application/json\r\nOrigin: https://evil.com\r\n", 403),
        ("Content-Type: application/json\r\nOrigin: null\r\n", 403),
        // By a name that leads here, the page is at home.
        ("Content-Type: application/json\r\nOrigin: http://x\r\n", 403),
        ("Content-Type: application/json\r\nOrigin: http://localhost.evil.com\r\n", 403),
    ] {
        let push = Push { more, ..Push::of(&touch("page", 5, 1)).signed(None) };
        assert_eq!(listening.post(&push).status, status, "{more}");
    }
    // What a browser asks before it sends more.
    let asked = b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.com\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    let answer = Client::new(listening.address).send(asked).unwrap();
    assert!(answer.status == 405 && !answer.text.contains("access-control"), "{answer:?}");
    let rebound = b"POST / HTTP/1.1\r\nHost: localhost.evil.com:1\r\nOrigin: http://localhost.evil.com:1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(Client::new(listening.address).send(rebound).unwrap().status, 403);
    assert_eq!(listening.terminate().code, 0);
    assert_eq!(place.events().len(), 0);
}

#[test]
fn a_file_of_the_secret_takes_the_place_of_the_environments_and_no_secret_is_one_that_anybody_would_guess() {
    let place = Place::new();
    let secret = place.path("secret");
    let listen = |of_file: Option<&str>, of_environment: &str| {
        let mut command = overnight();
        command.args(["listen", "--addr", "127.0.0.1:0", "--dir"]).arg(place.dir()).env("DT_SIGNATURE_SECRET", of_environment);
        if let Some(text) = of_file {
            crate::support::write(&secret, text);
            open_to(&secret, 0o600);
            command.arg("--secret-file").arg(&secret);
        }
        command
    };
    // As some editors write it.
    let listening = Listening::run(&mut listen(Some("\u{feff}hunter2-of-the-file\r\n"), SECRET));
    let push = Push::of(&touch("a", 5, 1));
    assert_eq!(listening.post(&push).status, 401, "signed with the environment's");
    let good = sign(HS256, &claims(&push.body, now()), "hunter2-of-the-file");
    assert_eq!(listening.post(&push.signed(good)).status, 200);
    let ran = listening.terminate();
    assert!(ran.code == 0 && ran.stderr.contains("DT_SIGNATURE_SECRET is set as well"), "{ran:?}");

    for guessed in ["x", " ", "\n", "\u{feff}", "xxxxxxxxxxxx", "  x  \n"] {
        for command in [&mut listen(Some(guessed), ""), &mut listen(Some(guessed), SECRET), &mut listen(None, guessed)] {
            let ran = Running::start(command).wait();
            assert!(matches!(ran.code, 1 | 2) && ran.stderr.contains("secret"), "{guessed:?}: {ran:?}");
        }
    }
    assert_eq!(place.events().len(), 1);
}

#[test]
fn a_simulator_answers_to_no_name_of_the_web() {
    let cloud = Cloud::start(&[]);
    let address: SocketAddr = cloud.url.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Client::new(address).send(request.as_bytes()).unwrap().status
    };
    for page in ["/simulator/truth", "/v2/projects", "/nothing"] {
        assert_eq!(ask(page, "evil.com:8800"), 421, "{page}");
        assert_ne!(ask(page, "localhost:8800"), 421, "{page}");
    }
    assert_eq!(ask("http://evil.com/simulator/stats", "localhost"), 421);
}

fn open_to(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn labels_of_pushes_are_added_to_what_is_known_of_a_device() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    for (number, labels) in [r#"{"name":"Fridge","floor":"1"}"#, r#"{"name":"Freezer"}"#, "[]", "null"].iter().enumerate() {
        let push = Push::of_device(&touch(&format!("a{number}"), 5, 1), labels);
        assert_eq!(listening.post(&push).status, 200);
    }
    assert_eq!(listening.terminate().code, 0);
    let view = View::open(&Layout::new(&place.dir())).unwrap();
    let devices = view.devices().unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].project.as_str(), devices[0].id.as_str(), devices[0].kind.as_str()), ("p", "d1", "touch"));
    let labels: Value = serde_json::from_str(&devices[0].labels).unwrap();
    assert_eq!(labels, serde_json::json!({"name": "Freezer", "floor": "1"}));
    assert!(place.dir().join("devices.parquet").is_file());
    let records = view.records(None).unwrap();
    assert_eq!((records.sessions.len(), records.runs.len(), records.runs[0].project.as_str()), (1, 1, "p"));
}

/// Labels nested so deep that SQLite reads them no more.
fn deep_labels() -> String {
    format!(r#"{{"name":"Deep","deep":{}1{}}}"#, r#"{"a":"#.repeat(1500), "}".repeat(1500))
}

#[test]
fn labels_that_are_no_flat_map_of_texts_are_refused_and_end_nothing() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let post = |id: &str, labels: &str| listening.post(&Push::of_device(&touch(id, 5, 1), labels)).status;
    let many: Vec<String> = (0..5_000).map(|n| format!(r#""label-{n}":"x""#)).collect();
    for labels in [
        deep_labels(),
        "[".repeat(1500) + &"]".repeat(1500),
        r#"{"a":{"b":"c"}}"#.to_owned(),
        r#"{"a":["b"]}"#.to_owned(),
        r#""name""#.to_owned(),
        format!(r#"{{"name":"{}"}}"#, "x".repeat(100_000)),
        format!("{{{}}}", many.join(",")),
    ] {
        for _ in 0..2 {
            assert_eq!(post("refused", &labels), 400, "{labels:.80}");
        }
        assert_eq!(post("kept", r#"{"name":"Fridge","n":7,"half":"\ud800"}"#), 200);
    }
    let ran = listening.terminate();
    assert!(ran.code == 0 && ran.stderr.contains("its labels"), "{}", ran.stderr);
    let devices = View::open(&Layout::new(&place.dir())).unwrap().devices().unwrap();
    assert_eq!((devices.len(), devices[0].labels.as_str(), place.events().len()), (1, r#"{"name":"Fridge"}"#, 1));
}

#[test]
fn labels_that_an_earlier_version_took_in_are_mended_when_the_recording_is_opened() {
    let place = Place::new();
    place.import(touch("a", 5, 1));
    let db = rusqlite::Connection::open(Layout::new(&place.dir()).buffer()).unwrap();
    // What it wrote of such a push: the text as it came.
    let sql = "INSERT INTO device (project, id, type, product_number, labels) VALUES ('p', ?, 'touch', '', ?)";
    for (id, labels) in [("d0", deep_labels()), ("d1", "no JSON".to_owned()), ("d2", r#"{ "name": "As it was" }"#.to_owned())] {
        db.execute(sql, [id, &labels]).unwrap();
    }
    drop(db);
    for round in 0..2 {
        let listening = Listening::start(&place, &[]);
        for id in ["d0", "d1", "d2"] {
            let body = format!(
                r#"{{"event":{},"labels":{{"floor":"{round}"}},"metadata":{{"deviceId":"{id}","projectId":"p"}}}}"#,
                touch(&format!("{id}-{round}"), 5, id[1..].parse().unwrap())
            );
            assert_eq!(listening.post(&Push::raw(body)).status, 200, "{id}");
        }
        assert_eq!(listening.terminate().code, 0);
    }
    let devices = View::open(&Layout::new(&place.dir())).unwrap().devices().unwrap();
    let labels: Vec<Value> = devices.iter().map(|device| serde_json::from_str(&device.labels).unwrap()).collect();
    let name = |name: &str| serde_json::json!({"name": name, "floor": "1"});
    assert_eq!(labels, [name("Deep"), serde_json::json!({"floor": "1"}), name("As it was")]);
}

#[test]
fn a_push_that_the_buffer_refuses_takes_no_other_along() {
    let place = Place::new();
    let listening = Listening::start(&place, &[]);
    let post = |device: &str, product: &str| {
        let body = format!(
            r#"{{"event":{},"metadata":{{"deviceId":"{device}","projectId":"p","productNumber":"{product}"}}}}"#,
            touch(&format!("{device}-{product}"), 5, device[1..].parse().unwrap())
        );
        listening.post(&Push::raw(body)).status
    };
    assert_eq!(post("d0", "poison"), 200);
    // Something that only the database knows of, and no check before it.
    let db = rusqlite::Connection::open(Layout::new(&place.dir()).buffer()).unwrap();
    db.execute_batch("CREATE UNIQUE INDEX one ON device (product_number) WHERE product_number = 'poison'").unwrap();
    std::thread::scope(|scope| {
        for sender in 0..8 {
            scope.spawn(move || {
                for number in 0..10 {
                    let is_poison = sender == 0;
                    let product = if is_poison { "poison".to_owned() } else { format!("{sender}-{number}") };
                    let wanted = if is_poison { 400 } else { 200 };
                    assert_eq!(post(if is_poison { "d1" } else { "d2" }, &product), wanted);
                }
            });
        }
    });
    db.execute_batch("DROP INDEX one").unwrap();
    drop(db);
    let ran = listening.terminate();
    assert!(ran.code == 0 && ran.stderr.contains("does not fit the buffer"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 1 + 7 * 10);
}

/// A recorder of its own, which begins and dies.
fn killed_at_once(layout: &Layout, source: Source, begins: i64) {
    let mut buffer = Buffer::open(layout, begins).unwrap();
    buffer.renew_id().unwrap();
    let run = run_of_p(0, source, begins, SECOND);
    let heard = Heard { run: Arc::clone(&run), session: 0, opened_at: begins, spoke_at: begins, ended: None };
    buffer.apply(&Change::Begins(run), begins).unwrap();
    buffer.apply(&Change::Heard(heard), begins).unwrap();
}

/// Spans of the gaps at some time.
fn gaps_at(layout: &Layout, now: i64) -> Vec<(i64, i64)> {
    let time = Timeline::read(&View::open(layout).unwrap(), None, now).unwrap();
    time.projects[0].gaps.iter().map(|gap| gap.span).collect()
}

#[test]
fn a_receiver_that_nobody_starts_again_hides_no_gap_of_the_stream_that_came_after_it() {
    let place = Place::new();
    let layout = Layout::new(&place.dir());
    killed_at_once(&layout, Source::Push, 100 * HOUR);
    killed_at_once(&layout, Source::Stream, 200 * HOUR);
    assert_eq!(gaps_at(&layout, 205 * HOUR), [(100 * HOUR, 200 * HOUR), (200 * HOUR, 205 * HOUR)]);
}

#[test]
fn a_receiver_that_crashed_is_a_gap_only_where_the_cloud_had_to_drop_pushes() {
    let place = Place::new();
    let layout = Layout::new(&place.dir());
    let crash_and_back = |away: i64, from: i64| {
        killed_at_once(&layout, Source::Push, from);
        killed_at_once(&layout, Source::Push, from + away);
        gaps_at(&layout, from + away)
    };
    assert_eq!(crash_and_back(11 * HOUR, 100 * HOUR), []);
    assert_eq!(gaps_at(&layout, 122 * HOUR), [], "nor is it one later, when nobody has seen it alive since");
    // From the crash before, and this one: what is older than twelve hours at the return is gone.
    assert_eq!(crash_and_back(13 * HOUR, 200 * HOUR), [(111 * HOUR, 188 * HOUR), (200 * HOUR, 201 * HOUR)]);
}

#[test]
fn streams_and_pushes_meet_in_one_recording() {
    let place = Place::new();
    let cloud = Cloud::start(&["--rate", "200", "--devices", "5"]);
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--api-url", &cloud.url, "--listen", "127.0.0.1:0", "--no-backfill"]);
    command.arg("--dir").arg(place.dir()).env("DT_SIGNATURE_SECRET", SECRET);
    let listening = Listening::run(&mut command);
    until("the stream has begun", || cloud.truth().len() > 20);
    // The cloud sends the same events both ways.
    let pushed: Vec<Value> = cloud.truth().into_iter().take(20).collect();
    let mut client = Client::new(listening.address);
    for event in &pushed {
        assert_eq!(client.post(&Push::of(&event.to_string())).unwrap().status, 200);
    }
    assert_eq!(client.post(&Push::of(&touch("only-pushed", 5, 1))).unwrap().status, 200);
    let stopped = listening.terminate();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert!(stopped.stderr.contains("21 pushes acknowledged"), "{}", stopped.stderr);
    let events = place.events();
    let found = by_key(&events);
    assert!(pushed.iter().all(|event| found.values().any(|found| *found == event)), "a pushed event is missing");
    assert!(found.contains_key(&("touch".to_owned(), "only-pushed".to_owned())));
}

/// A certificate for 127.0.0.1, written as PEM; gives the certificate.
fn certificate(place: &Place) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    crate::support::write(&place.path("cert.pem"), made.cert.pem());
    crate::support::write(&place.path("key.pem"), made.signing_key.serialize_pem());
    open_to(&place.path("key.pem"), 0o600);
    made.cert.der().to_vec()
}

/// Pushes over TLS to whoever shows this certificate; gives the status.
fn post_tls(address: SocketAddr, certificate: &[u8], push: &Push) -> Result<u16, reqwest::Error> {
    let provider = rustls::crypto::ring::default_provider();
    // Another test may have been first.
    provider.install_default().ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let root = reqwest::Certificate::from_der(certificate)?;
        let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build()?;
        let request = client.post(format!("https://{address}/push")).body(push.body.clone());
        Ok(request.header("x-dt-signature", push.signature.clone().unwrap()).send().await?.status().as_u16())
    })
}

#[test]
fn tls_certificates_are_read_anew_at_sighup_without_a_pause() {
    let place = Place::new();
    let first = certificate(&place);
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    let listening = Listening::start(&place, &["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    let hang_up = || listening.running.signal("-HUP");
    let push = |id: &str| Push::of(&touch(id, 5, 1));
    assert_eq!(post_tls(listening.address, &first, &push("a")).unwrap(), 200);
    let second = certificate(&place);
    assert!(post_tls(listening.address, &second, &push("b")).is_err(), "nobody said that there is a new certificate");
    hang_up();
    until("the new certificate is shown", || post_tls(listening.address, &second, &push("c")).is_ok());
    // A certificate that does not read leaves the old one in place.
    crate::support::write(&cert, "no certificate");
    hang_up();
    assert_eq!(post_tls(listening.address, &second, &push("d")).unwrap(), 200);
    let ran = listening.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("read anew"), "{}", ran.stderr);
    assert_eq!(place.events().len(), 3);
}

#[test]
fn what_the_connector_pushes_stands_once_though_the_receiver_was_killed_and_no_forgery_gets_in() {
    let place = Place::new();
    let secret = place.path("secret");
    crate::support::write(&secret, SECRET);
    open_to(&secret, 0o600);
    let listening = Listening::start(&place, &["--roll-every", "100ms"]);
    let address = listening.address.to_string();
    let arguments = ["--rate", "300", "--doubles", "0.2", "--reorder", "15", "--forge", "0.1", "--push"];
    let url = format!("http://{address}");
    let cloud = Cloud::start(&[&arguments[..], &[&url, "--secret-file", secret.to_str().unwrap()]].concat());
    until("some are published", || cloud.truth().len() > 200);
    drop(listening);
    let mut command = overnight();
    command.args(["listen", "--addr", &address, "--dir"]).arg(place.dir()).env("DT_SIGNATURE_SECRET", SECRET);
    let listening = Listening::run(&mut command);
    let published = cloud.truth();
    until("all that was published before is there", || {
        let events = place.events();
        let found = by_key(&events);
        by_key(&published).keys().all(|key| found.contains_key(key))
    });
    let ran = listening.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (events, truth) = (place.events(), cloud.truth());
    let sent = by_key(&truth);
    for (key, event) in by_key(&events) {
        assert_eq!(Some(&event), sent.get(&key), "{key:?} is not what was sent");
    }
}
