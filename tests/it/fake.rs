//! A server that is no cloud: it answers as a test says, as badly as it likes, and remembers all that it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Place, overnight};

/// An answer that ends with its connection.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// Ends a list of devices, or of events, that is empty.
pub const EMPTY: &str = r#"{"devices":[],"events":[],"nextPageToken":""}"#;

/// The server; it lives as long as the process of the test.
pub struct Fake {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

/// What was heard, shared by all connections.
#[derive(Clone)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub fn push(&mut self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Fake {
    /// `behave` gets each request, its head and its body as one text, and the connection to answer on.
    pub fn start(behave: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::raw(move |stream, heard| {
            let request = request(stream);
            heard.push(request.clone());
            behave(&request, stream);
        })
    }

    /// `behave` gets each connection, and the list of what was heard.
    pub fn raw(behave: impl Fn(&mut TcpStream, &mut Heard) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (behave, notes) = (Arc::new(behave), Heard(Arc::clone(&heard)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, behave, mut notes) = (stream.unwrap(), Arc::clone(&behave), notes.clone());
                thread::spawn(move || behave(&mut stream, &mut notes));
            }
        });
        Self { address, heard }
    }

    /// Answers every request alike.
    pub fn saying(answer: String) -> Self {
        Self::start(move |_, stream| drop(stream.write_all(answer.as_bytes())))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was sent here so far.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How many requests have asked for a path with this in it.
    pub fn asked(&self, path: &str) -> usize {
        self.heard().iter().filter(|request| request.lines().next().unwrap_or_default().contains(path)).count()
    }

    /// A recorder of this server, which gives up when its first session ends.
    pub fn recorder(&self, place: &Place) -> Command {
        let mut command = overnight();
        command.args(["record", "--project", "p", "--max-retries", "0", "--no-backfill", "--api-url", &self.url()]);
        command.arg("--dir").arg(place.dir());
        command
    }
}

/// A request as it came; what is no request, as far as it came.
fn request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let from = text.len();
        if reader.read_line(&mut text).unwrap_or_default() == 0 {
            return text;
        }
        let line = text[from..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8_lossy(&body)
}
