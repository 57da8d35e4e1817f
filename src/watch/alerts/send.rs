//! Sends messages: by HTTP, or to a program. An address is a secret: no error names it, and no answer is followed elsewhere.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::runtime::Runtime;

use crate::base::time;
use crate::model::settings::{Form, Ping, Secret, Sink, To};

use super::note::Note;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest that a program may take.
const PROGRAM: Duration = Duration::from_secs(30);

/// Sends what it is given, and tells of each whether it has arrived.
pub trait Deliver {
    /// Sends these, each to its own.
    fn deliver(&mut self, messages: &[(&Sink, &Note)]) -> Vec<Result<(), String>>;

    /// Says that all is well.
    ///
    /// # Errors
    /// When nobody took it.
    fn ping(&mut self, ping: &Ping) -> Result<(), String>;
}

/// The one that sends.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    runtime: Runtime,
}

impl Sender {
    /// Prepares it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> Result<Self, String> {
        // The first one holds; a program that has one already keeps it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().redirect(Policy::none()).connect_timeout(PATIENCE / 2).timeout(PATIENCE);
        let client = client.user_agent(concat!("overnight/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|_| "the system has no certificates that could be trusted".to_owned())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { client, runtime: runtime.map_err(|error| format!("the system refuses a timer: {error}"))? })
    }
}

impl Deliver for Sender {
    fn deliver(&mut self, messages: &[(&Sink, &Note)]) -> Vec<Result<(), String>> {
        let client = &self.client;
        self.runtime.block_on(join_all(messages.iter().map(|(sink, note)| async move {
            match &sink.to {
                To::Url(form, url) => post(client, url, *form, note).await,
                To::Command(command) => {
                    let (command, json) = (command.clone(), note.json());
                    let ran = tokio::task::spawn_blocking(move || run(&command, &json)).await;
                    ran.unwrap_or_else(|_| Err("it could not be started".to_owned()))
                }
            }
        })))
    }

    fn ping(&mut self, ping: &Ping) -> Result<(), String> {
        self.runtime.block_on(async {
            let answer = self.client.get(address(&ping.url)?).send().await.map_err(|error| why(&error))?;
            if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status().as_u16())) }
        })
    }
}

fn address(url: &Secret) -> Result<Url, String> {
    Url::parse(url.reveal()).map_err(|_| "its address is none".to_owned())
}

async fn post(client: &Client, url: &Secret, form: Form, note: &Note) -> Result<(), String> {
    let posted = note.posted(form);
    let mut request = client.post(address(url)?).header(CONTENT_TYPE, posted.media).body(posted.body);
    for (name, value) in posted.headers {
        // Letters beyond ASCII go as they are, which ntfy reads.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            request = request.header(HeaderName::from_static(name), value);
        }
    }
    // What it says beyond that is not read.
    let answer = request.send().await.map_err(|error| why(&error))?;
    let status = answer.status();
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        code @ 300..400 => Err(format!("it answered {code}: it sends elsewhere, where an address must not go; give the new one")),
        code => Err(format!("it answered {code}")),
    }
}

/// Why nothing arrived, without the address.
fn why(error: &reqwest::Error) -> String {
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "cannot connect",
        _ => "the connection broke",
    };
    what.to_owned()
}

/// Runs a program with JSON on its standard input. What the cloud is asked with is none of its business.
fn run(command: &[String], json: &[u8]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Err("there is no command".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DT_")) {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| format!("it could not be started: {}", error.kind()))?;
    let begun = time::instant();
    if let Some(mut input) = child.stdin.take() {
        // Beside the wait: a pipe holds only so much. One that does not read at all may still do its work.
        let json = json.to_vec();
        std::thread::spawn(move || input.write_all(&json).unwrap_or_default());
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(status.code().map_or("it was killed".to_owned(), |code| format!("it ended with {code}")));
            }
            Ok(None) if begun.elapsed() < PROGRAM => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                child.kill().unwrap_or_default();
                drop(child.wait());
                return Err(format!("it took longer than {} s", PROGRAM.as_secs()));
            }
        }
    }
}
