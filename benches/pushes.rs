//! Pushes a second that `overnight listen` acknowledges, each after its commit: `cargo bench --bench pushes -- [FOLDER]`.
//!
//! The receiver is the real program with a recording in FOLDER (default: the system's folder for temporary files), so the
//! disk is that folder's. The sender is this process: it signs ahead, and sends over kept-alive connections, one push at a
//! time on each. At the end every acknowledged push is looked for in the recording, where it must stand once.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails loudly, speaks, and reads the clock"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "not-so-secret";
const LASTS: Duration = Duration::from_secs(8);

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let folder = if folder.is_empty() { tempfile::tempdir().unwrap() } else { tempfile::tempdir_in(folder).unwrap() };
    println!("connections  pushes/s  median ms  p99 ms  receiver CPU us/push  of {} s", LASTS.as_secs());
    for connections in [1, 8, 64, 256] {
        run(&folder.path().join(format!("recording-{connections}")), connections);
    }
}

fn run(dir: &Path, connections: usize) {
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_overnight"))
        .args(["listen", "--addr", "127.0.0.1:0", "--dir"])
        .arg(dir)
        .env("DT_SIGNATURE_SECRET", SECRET)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
    let before = cpu(receiver.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let mut waits: Vec<Duration> = runtime.block_on(async {
        let senders: Vec<_> = (0..connections).map(|number| tokio::spawn(send(address.clone(), number, begun))).collect();
        let mut all = Vec::new();
        for sender in senders {
            all.extend(sender.await.unwrap());
        }
        all
    });
    let lasted = begun.elapsed();
    let used = cpu(receiver.id()).saturating_sub(before);
    Command::new("kill").args(["-TERM", &receiver.id().to_string()]).status().unwrap();
    assert!(receiver.wait().unwrap().success());
    let counted = Command::new(env!("CARGO_BIN_EXE_overnight")).args(["status", "--json", "--dir"]).arg(dir).output().unwrap();
    let status: HashMap<String, serde_json::Value> = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(status["events"].as_u64().unwrap(), waits.len() as u64, "what was acknowledged is not what is kept");
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 100].as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let count = waits.len() as f64;
    println!(
        "{connections:>11}  {:>8.0}  {:>9.2}  {:>6.2}  {:>20.1}",
        count / lasted.as_secs_f64(),
        at(50),
        at(99),
        used.as_secs_f64() * 1e6 / count
    );
}

/// Pushes until the time is up; gives how long each took.
async fn send(address: String, number: usize, begun: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut waits = Vec::new();
    let mut answer = vec![0; 4096];
    while begun.elapsed() < LASTS {
        // Signed in lots, so that signing is a small and even part of the sender's time.
        for request in (0..200).map(|at| request(number, waits.len() + at)).collect::<Vec<_>>() {
            let sent = Instant::now();
            stream.write_all(&request).await.unwrap();
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
            waits.push(sent.elapsed());
            if begun.elapsed() >= LASTS {
                break;
            }
        }
    }
    waits
}

fn request(sender: usize, at: usize) -> Vec<u8> {
    let (types, now) = (["temperature", "humidity", "co2", "touch"], jiff::Timestamp::now());
    let (time, event_type) = (now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"), types[at % types.len()]);
    let data = match event_type {
        "temperature" => format!(
            r#"{{"temperature":{{"value":21.5,"updateTime":"{time}","samples":[{{"value":21.5,"sampleTime":"{time}"}}],"isBackfilled":false}}}}"#
        ),
        "humidity" => format!(r#"{{"humidity":{{"temperature":22.45,"relativeHumidity":17,"updateTime":"{time}"}}}}"#),
        "co2" => format!(r#"{{"co2":{{"ppm":568,"updateTime":"{time}"}}}}"#),
        _ => format!(r#"{{"touch":{{"updateTime":"{time}"}}}}"#),
    };
    let device = format!("device{:04}", (sender * 7 + at) % 500);
    let body = format!(
        r#"{{"event":{{"eventId":"push{sender:04}{at:012}","targetName":"projects/bench/devices/{device}","eventType":"{event_type}","data":{data},"timestamp":"{time}"}},"labels":{{"name":"Sensor {device}"}},"metadata":{{"deviceId":"{device}","projectId":"bench","deviceType":"{event_type}","productNumber":""}}}}"#
    );
    let sum = base16ct::lower::encode_string(&Sha256::digest(&body));
    let iat = now.as_second();
    let claims = format!(r#"{{"checksum":"","checksum_sha256":"{sum}","exp":{},"iat":{iat},"jti":"x"}}"#, iat + 3600);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(claims));
    let tag = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&signed).finalize().into_bytes();
    format!(
        "POST /push HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nx-dt-signature: {signed}.{}\r\ncontent-length: {}\r\n\r\n{body}",
        URL_SAFE_NO_PAD.encode(tag),
        body.len()
    )
    .into_bytes()
}

/// CPU time that a process has used; zero where the system does not tell in this way.
fn cpu(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit(") ").next().unwrap_or_default().split(' ').map(|field| field.parse().unwrap_or_default()).collect();
    // In hundredths of a second, as Linux counts for every architecture that we run on.
    fields.get(11..13).map_or(Duration::ZERO, |used| Duration::from_millis(used.iter().sum::<u64>() * 10))
}
