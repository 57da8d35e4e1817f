//! The Data Connector as its receiver sees it: a small HTTP server that answers well, badly, or not at all.

use super::tests::{file, soon, start};
use super::{Habits, Options, Push, Pushes, Report, SimulateError};
use crate::base::time::{SECOND, instant, now};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sha2::Digest as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempPath;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "a secret of the tests";

/// What a receiver does with a push.
#[derive(Clone, Copy)]
enum Reply {
    Status(u16),
    /// 503, and not again before so many seconds.
    Later(u64),
    /// No answer.
    Hang,
    /// The connection ends without one.
    Cut,
}

/// One push as it came.
#[derive(Clone)]
struct Got {
    at: Instant,
    signature: Option<String>,
    kind: Option<String>,
    body: String,
    /// It was answered with 2xx.
    taken: bool,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn id(&self) -> String {
        self.json()["event"]["eventId"].as_str().expect("an id").to_owned()
    }
}

struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers the n-th push, counted from 0, as the function says.
    async fn start(answer: impl Fn(usize, &Got) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/events?from=cloud", listener.local_addr().expect("an address"));
        let (got, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let receiver = Self { url, got: Arc::clone(&got), connections: Arc::clone(&connections) };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (got, answer) = (Arc::clone(&got), Arc::clone(&answer));
                tokio::spawn(async move { converse(socket, &got, answer.as_ref()).await.ok() });
            }
        });
        receiver
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often which event was taken.
    fn taken(&self) -> BTreeMap<String, usize> {
        let mut taken = BTreeMap::new();
        for got in self.got().iter().filter(|got| got.taken) {
            *taken.entry(got.id()).or_insert(0) += 1;
        }
        taken
    }
}

async fn converse(
    mut socket: TcpStream,
    all: &Mutex<Vec<Got>>,
    answer: &(dyn Fn(usize, &Got) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some((head, body)) = request(&mut bytes) else {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        assert!(head.starts_with("POST /events?from=cloud HTTP/1.1\r\n"), "{head}");
        let (signature, kind) = (header(&head, "x-dt-signature"), header(&head, "content-type"));
        let mut got = Got { at: instant(), signature, kind, body, taken: false };
        let reply = {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = answer(all.len(), &got);
            got.taken = matches!(reply, Reply::Status(200..300));
            all.push(got);
            reply
        };
        let text = match reply {
            Reply::Status(204) => "HTTP/1.1 204 x\r\n\r\n".to_owned(),
            Reply::Status(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok"),
            Reply::Later(seconds) => format!("HTTP/1.1 503 x\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n"),
            Reply::Hang => std::future::pending().await,
            Reply::Cut => return Ok(()),
        };
        socket.write_all(text.as_bytes()).await?;
    }
}

/// Takes the head and the body of a request, if both are there.
fn request(bytes: &mut Vec<u8>) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = header(&head, "content-length").expect("a length").parse().expect("a number");
    let body = bytes.get(end + 4..end + 4 + length)?;
    let body = String::from_utf8(body.to_vec()).expect("text");
    bytes.drain(..end + 4 + length);
    Some((head, body))
}

fn header(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
    line.split_once(": ").map(|(_, value)| value.to_owned())
}

/// Whether a push is what it says, found out as the cloud's documentation tells receivers to.
fn verified(got: &Got) -> bool {
    let check = || {
        let token = got.signature.as_deref()?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let (header, claims) = (part(header)?, part(claims)?);
        let mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).ok()?.chain_update(signed);
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let checksum = base16ct::lower::encode_string(&sha2::Sha256::digest(&got.body));
        let (iat, exp) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
        Some(header["alg"] == "HS256" && claims["checksum_sha256"] == checksum && exp == iat + 3600 && exp > now() / SECOND)
    };
    check() == Some(true)
}

fn push(receiver: &Receiver) -> Push {
    let backoff = Duration::from_millis(5);
    Push { backoff, ..Push::new(&receiver.url, Some(SECRET.to_owned())) }
}

fn habits(habits: Habits) -> Options {
    Options { habits, ..Options::default() }
}

const TIME: &str = "2026-11-23T10:00:00.000000Z";

/// The n-th event of a replay.
fn event(n: usize) -> String {
    let (data, device) = (format!(r#"{{"touch":{{"updateTime":"{TIME}"}}}}"#), n % 3);
    let target = format!("projects/p/devices/d{device}");
    format!(r#"{{"eventId":"{n}","targetName":"{target}","eventType":"touch","data":{data},"timestamp":"{TIME}"}}"#)
}

fn events(count: usize) -> TempPath {
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, "{}", event(n)).expect("written");
    }
    file(&text)
}

fn ids(count: usize) -> BTreeSet<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn once(count: usize) -> BTreeMap<String, usize> {
    ids(count).into_iter().map(|id| (id, 1)).collect()
}

/// Pushes so many events of a replay until each is settled.
async fn replayed(count: usize, push: Push, options: Options) -> Pushes {
    let path = events(count);
    let server = start(Options { replay: Some(path.to_path_buf()), push: Some(push), ..options }).await;
    soon(async || {
        let stats = server.stats().await;
        (stats["published"] == count && stats["pushes"]["unacknowledged"] == 0).then_some(())
    })
    .await;
    let Report { published, pushes } = server.end().await.expect("a report");
    let pushes = pushes.expect("pushes");
    assert_eq!(published, u64::try_from(count).expect("few"));
    assert_eq!(published + pushes.doubles, pushes.acknowledged + pushes.dropped, "{pushes:?}");
    pushes
}

#[tokio::test]
async fn every_event_is_pushed_once_and_signed_over_connections_that_stay() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let pushes = replayed(500, push(&receiver), Options::default()).await;
    assert_eq!(pushes, Pushes { pushed: 500, acknowledged: 500, ..Pushes::default() });
    assert_eq!(receiver.taken(), once(500));
    assert!(receiver.connections.load(Ordering::Relaxed) <= 8);
    for got in receiver.got() {
        assert!(verified(&got) && got.kind.as_deref() == Some("application/json"));
        let id: usize = got.id().parse().expect("a number");
        let (event, device) = (event(id), format!("d{}", id % 3));
        let labels = format!(r#"{{"name":"Replayed {device}"}}"#);
        let metadata = format!(r#"{{"deviceId":"{device}","projectId":"p","deviceType":"unknown","productNumber":""}}"#);
        assert_eq!(got.body, format!(r#"{{"event":{event},"labels":{labels},"metadata":{metadata}}}"#));
        let claims = got.signature.as_deref().and_then(|token| token.split('.').nth(1)).expect("claims");
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
        assert_eq!(["jti", "checksum"].map(|key| claims[key].as_str().map(str::len)), [Some(20), Some(40)]);
    }
}

#[tokio::test]
async fn what_is_pushed_is_the_truth_beside_what_the_device_list_says() {
    let receiver = Receiver::start(|_, _| Reply::Status(204)).await;
    let options = habits(Habits { late: 0.5, ..Habits::default() });
    let options = Options { rate: Some(1_000.0), history: Duration::ZERO, push: Some(push(&receiver)), ..options };
    let server = start(options).await;
    server.reaches("late", 20).await;
    let truth: BTreeSet<String> = server.get("/simulator/truth").await.lines().map(str::to_owned).collect();
    let list: Value = serde_json::from_str(&server.get("/v2/projects/demo/devices").await).expect("devices");
    let pushes = server.end().await.expect("a report").pushes.expect("pushes");
    assert_eq!((pushes.unacknowledged, pushes.dropped), (0, 0), "{pushes:?}");
    let list = list["devices"].as_array().expect("a list");
    let devices: BTreeMap<_, _> = list.iter().map(|device| (device["name"].as_str().expect("a name"), device)).collect();
    let mut pushed = BTreeSet::new();
    for got in receiver.got() {
        assert!(verified(&got));
        let json = got.json();
        let (labels, metadata) = (&json["labels"], &json["metadata"]);
        let target = json["event"]["targetName"].as_str().expect("a target");
        let device = devices[target];
        assert!(["name", "room", "floor"].iter().all(|key| labels[key].is_string() && labels[key] == device["labels"][key]));
        assert_eq!((&metadata["deviceType"], &metadata["productNumber"]), (&device["type"], &device["productNumber"]));
        assert_eq!((&metadata["projectId"], &metadata["deviceId"]), (&"demo".into(), &target.rsplit('/').next().into()));
        let (event, _) = got.body.strip_prefix(r#"{"event":"#).and_then(|b| b.split_once(r#","labels":{"#)).expect("a body");
        pushed.insert(event.to_owned());
    }
    assert!(truth.len() > 100 && truth.is_subset(&pushed), "{} {}", truth.len(), pushed.len());
    assert!(pushed.iter().filter(|event| event.contains(r#""isBackfilled":true"#)).count() >= 20);
}

#[tokio::test]
async fn every_event_arrives_though_the_receiver_refuses_hangs_and_cuts() {
    let receiver = Receiver::start(|n, got| match n % 11 {
        0 => Reply::Status(503),
        3 => Reply::Cut,
        5 if n % 3 == 0 => Reply::Hang,
        7 => Reply::Status(401),
        9 => Reply::Status(302),
        _ if verified(got) => Reply::Status(202),
        _ => Reply::Status(401),
    })
    .await;
    let push = Push { answer: Duration::from_millis(150), ..push(&receiver) };
    let pushes = replayed(400, push, Options::default()).await;
    assert_eq!(receiver.taken().into_keys().collect::<BTreeSet<_>>(), ids(400));
    assert_eq!((pushes.acknowledged, pushes.dropped, pushes.pushed), (400, 0, 400 + pushes.retried));
    assert!(pushes.refused > 100 && pushes.retried > pushes.refused && pushes.failure.is_some(), "{pushes:?}");
}

#[tokio::test]
async fn doubles_and_disorder_come_when_asked_for() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let odd = habits(Habits { doubles: 0.3, reorder: 7, ..Habits::default() });
    let pushes = replayed(600, Push { parallel: 1, ..push(&receiver) }, odd).await;
    let (mut order, mut doubles) = (Vec::new(), 0);
    for got in receiver.got() {
        let id: usize = got.id().parse().expect("a number");
        if order.contains(&id) {
            doubles += 1;
        } else {
            order.push(id);
        }
    }
    assert!(doubles == pushes.doubles && (120..240).contains(&doubles), "{pushes:?}");
    assert!(order.len() == 600 && !order.is_sorted() && order.iter().enumerate().all(|(place, id)| place <= id + 7));
    assert!(order.iter().enumerate().any(|(place, id)| place > id + 3));
}

#[tokio::test]
async fn forged_pushes_of_every_kind_are_refused_by_who_looks() {
    let receiver = Receiver::start(|n, got| match n % 5 {
        0 => Reply::Status(503),
        1 => Reply::Cut,
        _ if verified(got) => Reply::Status(200),
        _ => Reply::Status(401),
    })
    .await;
    let pushes = replayed(300, push(&receiver), habits(Habits { forge: 0.2, ..Habits::default() })).await;
    assert!(pushes.forged > 30 && pushes.believed == 0 && pushes.belief.is_none(), "{pushes:?}");
    assert_eq!(receiver.taken(), once(300));
    let (all, ids) = (receiver.got(), ids(300));
    let forged: Vec<_> = all.iter().filter(|got| !ids.contains(&got.id())).collect();
    let different: BTreeSet<_> = forged.iter().map(|got| got.id()).collect();
    assert_eq!(u64::try_from(different.len()).expect("few"), pushes.forged);
    let headers: BTreeSet<_> = forged.iter().map(|got| got.signature.as_deref().and_then(|s| s.split('.').next())).collect();
    assert_eq!(headers.len(), 4, "no header, HS256, no algorithm, garbage: {headers:?}");
}

#[tokio::test]
async fn a_receiver_that_takes_forged_pushes_is_found_out() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let forging = || habits(Habits { forge: 1.0, ..Habits::default() });
    let pushes = replayed(60, push(&receiver), forging()).await;
    assert_eq!((pushes.acknowledged, pushes.forged, pushes.believed), (60, 60, 60));
    assert!(pushes.belief.is_some());
    // One that trips over them does not refuse them, either.
    let receiver = Receiver::start(|_, got| Reply::Status(if verified(got) { 200 } else { 500 })).await;
    let pushes = replayed(6, push(&receiver), forging()).await;
    assert_eq!((pushes.acknowledged, pushes.forged, pushes.believed), (6, 6, 6));
}

#[tokio::test]
async fn a_receiver_that_wants_to_be_left_alone_is() {
    let receiver = Receiver::start(|n, _| if n == 0 { Reply::Later(1) } else { Reply::Status(200) }).await;
    replayed(1, push(&receiver), Options::default()).await;
    let got = receiver.got();
    assert!(got.len() == 2 && got[1].at - got[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_event_is_given_up_when_it_is_twelve_hours_old_or_one_of_too_many() {
    let receiver = Receiver::start(|_, _| Reply::Status(500)).await;
    let pushes = replayed(20, push(&receiver), Options { speed: 50_000.0, ..Options::default() }).await;
    assert!(pushes.dropped == 20 && pushes.pushed >= 20 && pushes.failure.as_deref() == Some("HTTP 500"), "{pushes:?}");
    let receiver = Receiver::start(|_, _| Reply::Hang).await;
    let push = Push { queue: 10, parallel: 1, grace: Duration::ZERO, ..push(&receiver) };
    let options = Options { rate: Some(1_000.0), history: Duration::ZERO, push: Some(push), ..Options::default() };
    let server = start(options).await;
    server.reaches("published", 100).await;
    let Report { published, pushes } = server.end().await.expect("a report");
    let pushes = pushes.expect("pushes");
    // Ten wait, and one is on its way.
    assert_eq!((pushes.unacknowledged, pushes.dropped), (11, published - 11), "{pushes:?}");
}

#[tokio::test]
async fn at_the_end_the_queue_gets_its_grace_and_no_more() {
    let path = events(8);
    let pushing = |push| start(Options { replay: Some(path.to_path_buf()), push: Some(push), ..Options::default() });
    let receiver = Receiver::start(|n, _| Reply::Status(if n < 8 { 500 } else { 200 })).await;
    // But for the end, the second try would come after a minute.
    let server = pushing(Push { backoff: Duration::from_mins(1), ..push(&receiver) }).await;
    soon(async || (server.stats().await["pushes"]["refused"] == 8).then_some(())).await;
    assert_eq!(server.end().await.expect("a report").pushes.expect("pushes").acknowledged, 8);
    let receiver = Receiver::start(|_, _| Reply::Hang).await;
    let server = pushing(Push { grace: Duration::from_millis(50), ..push(&receiver) }).await;
    soon(async || (receiver.got().len() == 8).then_some(())).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), server.end()).await.expect("soon").expect("a report");
    assert_eq!(ended.pushes.expect("pushes").unacknowledged, 8);
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed_and_nothing_can_be_forged() {
    let receiver = Receiver::start(|_, _| Reply::Status(200)).await;
    let unsigned = || Push { secret: None, ..push(&receiver) };
    replayed(10, unsigned(), Options::default()).await;
    assert!(receiver.got().iter().all(|got| got.signature.is_none()));
    for push in [None, Some(unsigned())] {
        let options = Options { push, ..habits(Habits { forge: 0.1, ..Habits::default() }) };
        assert!(matches!(refused(options).await, SimulateError::Forge));
    }
}

#[tokio::test]
async fn what_is_no_receiver_is_said_at_the_start() {
    for url in ["", "nowhere", "ftp://127.0.0.1/", "http://"] {
        let push = Some(Push::new(url, None));
        assert!(matches!(refused(Options { push, ..Options::default() }).await, SimulateError::PushAddress), "{url}");
    }
    let empty = file("no certificate");
    let push = Some(Push { certificates: Some(empty.to_path_buf()), ..Push::new("https://127.0.0.1", None) });
    assert!(matches!(refused(Options { push, ..Options::default() }).await, SimulateError::Certificates { .. }));
}

async fn refused(options: Options) -> SimulateError {
    start(options).await.done.await.expect("no panic").expect_err("an error")
}

#[tokio::test]
async fn a_receiver_with_its_own_certificate_is_trusted_when_it_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    let certificates = file(CERTIFICATE);
    let push = Push { parallel: 1, ..Push::new(&url, Some(SECRET.to_owned())) };
    let trusting = Push { certificates: Some(certificates.to_path_buf()), ..push.clone() };
    let answers = std::thread::spawn(move || (answer_over_tls(&listener), listener));
    let pushes = replayed(20, trusting, Options::default()).await;
    let (answered, listener) = answers.join().expect("no panic");
    assert_eq!((pushes.acknowledged, pushes.retried, answered), (20, 0, 20));
    let answers = std::thread::spawn(move || answer_over_tls(&listener));
    let path = events(1);
    let push = Push { grace: Duration::ZERO, backoff: Duration::from_mins(1), ..push };
    let server = start(Options { replay: Some(path.to_path_buf()), push: Some(push), ..Options::default() }).await;
    soon(async || answers.is_finished().then_some(())).await;
    let pushes = server.end().await.expect("a report").pushes.expect("pushes");
    assert_eq!((pushes.unacknowledged, answers.join().expect("no panic")), (1, 0));
}

/// Answers every push on one connection with 200; how many there were, once the connection has ended.
fn answer_over_tls(listener: &std::net::TcpListener) -> usize {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair");
    let connection = rustls::ServerConnection::new(Arc::new(config)).expect("a server");
    let mut tls = rustls::StreamOwned::new(connection, listener.accept().expect("a client").0);
    let (mut bytes, mut buffer, mut answered) = (Vec::new(), [0; 4096], 0);
    while let Ok(read @ 1..) = tls.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
        while request(&mut bytes).is_some() {
            answered += 1;
            tls.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n").expect("written");
        }
    }
    answered
}

/// Of a receiver at 127.0.0.1, good until 2120, and of no use anywhere else; its key stands below.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBVjCB/KADAgECAgEBMAoGCCqGSM49BAMCMCIxIDAeBgNVBAMMF292ZXJuaWdo
dCB0ZXN0IHJlY2VpdmVyMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAw
WjAiMSAwHgYDVQQDDBdvdmVybmlnaHQgdGVzdCByZWNlaXZlcjBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABLRkE/cB+KX4Kdy4NlKxWNiAIOAT6qko/ohxIPHokuF5
4VypbOfub2ORpsBN59f+x1AuKQTLbhuOjYVws++Zz2qjITAfMAwGA1UdEwEB/wQC
MAAwDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNJADBGAiEAnOTm3yeUGmTj
/UN7WIBBoaca5VS3Ck1+iPONPkzDtO0CIQCbrXRbWJKFRcameuyIoqt7Z/XLhCOz
Xkns1jPbbxx7UQ==
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGHKToTuJ93QVBJ4L
Jmd+H7HR7v9NREpzPaGcszkwcRShRANCAAS0ZBP3Afil+CncuDZSsVjYgCDgE+qp
KP6IcSDx6JLheeFcqWzn7m9jkabATefX/sdQLikEy24bjo2FcLPvmc9q
-----END PRIVATE KEY-----
";
