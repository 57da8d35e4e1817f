//! The HTTP shell, for those who answer in streams and by name: who only reads is told for as long as they read, and no longer.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use overnight::serve::{Answer, Limits, Server, Service, Visit, text};

use crate::support::until;

/// Says a word now and then at `/live`, and knows how many still listen.
#[derive(Default)]
struct Ticker {
    listeners: Arc<AtomicUsize>,
}

impl Service for Ticker {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        if request.uri().path() != "/live" {
            return text(StatusCode::OK, "here\n");
        }
        let Some((sender, body)) = visit.stream(1) else { return text(StatusCode::SERVICE_UNAVAILABLE, "too many\n") };
        let listeners = Arc::clone(&self.listeners);
        listeners.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(b"tick\n")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            listeners.fetch_sub(1, Ordering::Relaxed);
        });
        Response::new(body)
    }
}

/// Runs a server in this process for as long as a test takes; gives how long its end took.
fn serve(limits: Limits, test: impl FnOnce(SocketAddr, &AtomicUsize) + Send) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        runtime.block_on(async {
            let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, limits).unwrap();
            let server = server.only_for(&["pi.home".to_owned()]);
            let address = server.url().strip_prefix("http://").unwrap().parse().unwrap();
            let ticker = Arc::new(Ticker::default());
            let (done, asked) = tokio::sync::oneshot::channel();
            let listeners = Arc::clone(&ticker.listeners);
            scope.spawn(move || {
                test(address, &listeners);
                done.send(Instant::now()).unwrap();
            });
            let mut ended = None;
            server.run(ticker, Arc::new(drop::<String>), async { ended = asked.await.ok() }).await;
            ended.unwrap().elapsed()
        })
    })
}

fn get(address: SocketAddr, path: &str, host: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    BufReader::new(stream)
}

fn status(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Reads on until so many words were said.
fn hear(stream: &mut impl BufRead, words: usize) {
    let mut heard = 0;
    while heard < words {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream has ended after {heard} words");
        heard += usize::from(line == "tick\n");
    }
}

fn of_streams() -> Limits {
    Limits { streams: 2, may_half_close: false, ..Limits::default() }
}

#[test]
fn who_calls_a_server_by_another_name_learns_nothing() {
    serve(Limits::default(), |address, _| {
        for host in [address.to_string().as_str(), "localhost:1", "PI.home"] {
            assert_eq!(status(&mut get(address, "/", host)), "200", "{host}");
        }
        for host in ["evil.example", "10.0.0.1", "127.0.0.1.evil.example"] {
            assert_eq!(status(&mut get(address, "/", host)), "421", "{host}");
        }
    });
}

#[test]
fn a_stream_is_told_for_as_long_as_somebody_reads_it_however_old_it_gets() {
    let short = Duration::from_millis(50);
    // A connection that streams nothing is over after half a second.
    let limits = Limits { age: short, header_time: short, body_time: short, answer_time: short, ..of_streams() };
    let limits = Limits { write_time: 2 * short, linger_time: 2 * short, connections: 2, ..limits };
    serve(limits, |address, listeners| {
        let mut stream = get(address, "/live", "localhost");
        assert_eq!(status(&mut stream), "200");
        // However many come meanwhile, nobody takes its place.
        for _ in 0..5 {
            assert_eq!(status(&mut get(address, "/", "localhost")), "200");
            hear(&mut stream, 12);
        }
        assert_eq!(listeners.load(Ordering::Relaxed), 1);
        drop(stream);
        until("it is noticed that nobody reads any more", || listeners.load(Ordering::Relaxed) == 0);
    });
}

#[test]
fn streams_have_a_bound_of_their_own_that_leaves_room_for_others() {
    serve(of_streams(), |address, listeners| {
        let streams = [(); 2].map(|()| get(address, "/live", "localhost"));
        until("both are told", || listeners.load(Ordering::Relaxed) == 2);
        assert_eq!(status(&mut get(address, "/live", "localhost")), "503");
        assert_eq!(status(&mut get(address, "/", "localhost")), "200", "there is room for others");
        drop(streams);
        until("another one is told", || status(&mut get(address, "/live", "localhost")) == "200");
    });
}

#[test]
fn a_server_that_ends_waits_for_no_stream() {
    let held = std::sync::Mutex::new(None);
    let took = serve(Limits { linger_time: Duration::from_millis(100), ..of_streams() }, |address, _| {
        let mut stream = get(address, "/live", "localhost");
        hear(&mut stream, 2);
        *held.lock().unwrap() = Some(stream);
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(held);
}
