//! Whoever answers in the cloud's place, or breaks into its answers: credentials go nowhere else, nothing is read without
//! bound, and nobody is waited for without end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::fake::{EMPTY, Fake, answer};
use crate::support::{Place, Running, overnight, touch, until, write};

const EMAIL: &str = "demo@demo.serviceaccount.d21s.com";
const TOKEN: &str = r#"{"access_token":"a-token","expires_in":3600}"#;
/// The head of an endless answer.
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

#[test]
fn no_redirect_takes_a_request_or_its_credentials_to_another_host_or_port() {
    std::thread::scope(|scope| {
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
            for what in ["devices:stream", "oauth2/token", "/devices?", "/events?"] {
                scope.spawn(move || redirected(status, what));
            }
        }
    });
}

fn redirected(status: &str, what: &'static str) {
    let thief = Fake::saying(answer("200 OK", "", TOKEN));
    // The same machine by another name, at another port.
    let to = format!("Location: http://localhost:{}/stolen\r\n", thief.address.port());
    let moved = answer(status, &to, "");
    let cloud = Fake::start(move |request, stream| {
        let line = request.lines().next().unwrap_or_default();
        let devices = r#"{"devices":[{"name":"projects/p/devices/d","type":"touch"}],"nextPageToken":""}"#;
        let reply = match line {
            line if line.contains(what) => moved.clone(),
            line if line.contains("oauth2/token") => answer("200 OK", "", TOKEN),
            line if line.contains("/devices?") => answer("200 OK", "", devices),
            _ => answer("200 OK", "", EMPTY),
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::with_quick_history();
    if matches!(what, "devices:stream" | "oauth2/token") {
        let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
        assert!(ran.code == 1 && ran.stderr.contains(&status[..3]), "{what}, {status}: {ran:?}");
    } else {
        let running = Running::start(backfill(&place, &cloud).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL));
        // It asks again; whoever follows has followed by then.
        until("it asks again", || cloud.asked(what) > 1);
        drop(running);
    }
    assert_eq!(thief.heard(), [""; 0], "{what}, {status}");
}

fn backfill(place: &Place, cloud: &Fake) -> Command {
    let mut command = overnight();
    command.args(["backfill", "--project", "p", "--since", "1h", "--api-url", &cloud.url(), "--dir"]).arg(place.dir());
    command
}

#[test]
fn requests_hold_credentials_in_their_header_alone_and_ask_for_nothing_compressed() {
    let event = touch("a", 1, 1);
    let cloud = Fake::start(move |request, stream| {
        let reply = if request.contains("oauth2/token") {
            answer("200 OK", "", TOKEN)
        } else {
            // A lie: not compressed at all, and read as it is.
            answer("200 OK", "Content-Encoding: gzip\r\n", &format!("{{\"result\":{{\"event\":{event}}}}}\n"))
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::new();
    let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.events().len(), 1);
    let heard = cloud.heard();
    assert_eq!(heard.len(), 2);
    for request in heard {
        let lower = request.to_ascii_lowercase();
        assert!(!lower.contains("accept-encoding"), "{request}");
        let line = request.lines().next().unwrap();
        assert!(!line.contains("a-token") && !line.contains("assertion") && !line.contains("demo-"), "{line}");
    }
}

/// Sends bytes without end; gives how many were taken before the other side had enough.
fn endless(stream: &mut TcpStream) -> u64 {
    let piece = vec![b'['; 64 * 1024];
    let mut sent = 0;
    while stream.write_all(&piece).is_ok() {
        sent += piece.len() as u64;
    }
    sent
}

#[test]
fn an_answer_without_end_is_read_up_to_its_cap() {
    const MIB: u64 = 1024 * 1024;
    // What sockets hold comes on top of the caps: 256 KiB of what is small, 64 MiB of a page.
    for (what, status, most) in [("oauth2/token", 200, 16 * MIB), ("devices:stream", 403, 16 * MIB), ("/devices?", 200, 80 * MIB)]
    {
        let sent = Arc::new(AtomicU64::new(0));
        let most_sent = Arc::clone(&sent);
        let cloud = Fake::start(move |request, stream| {
            if request.lines().next().unwrap_or_default().contains(what) {
                drop(stream.write_all(STREAM.replace("200", &status.to_string()).as_bytes()));
                most_sent.fetch_max(endless(stream), Ordering::Relaxed);
            } else {
                drop(stream.write_all(answer("200 OK", "", TOKEN).as_bytes()));
            }
        });
        let place = Place::with_quick_history();
        if what == "/devices?" {
            let running = Running::start(backfill(&place, &cloud).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL));
            until("it has enough and asks again", || cloud.asked(what) > 1);
            drop(running);
        } else {
            let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
            assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
            assert!(ran.stderr.len() < 4096, "{what}: {}", ran.stderr);
        }
        until("the server has noticed", || sent.load(Ordering::Relaxed) > 0);
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < most, "{what}: {sent} bytes were taken");
    }
}

#[test]
fn a_line_without_end_is_a_fault_and_takes_no_memory() {
    let (first, last) = (touch("first", 1, 1), touch("last", 1, 2));
    let cloud = Fake::start(move |_, stream| {
        let wrapped = |event: &str| format!("{{\"result\":{{\"event\":{event}}}}}\n");
        drop(stream.write_all((STREAM.to_owned() + &wrapped(&first)).as_bytes()));
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..300 {
            drop(stream.write_all(&piece));
        }
        drop(stream.write_all(("\n".to_owned() + &wrapped(&last)).as_bytes()));
        // Open until the other side goes.
        drop(stream.read(&mut [0]));
    });
    let place = Place::new();
    let running = Running::start(&mut cloud.recorder(&place));
    until("what follows the line is kept", || place.so_far("events") == 2);
    #[cfg(target_os = "linux")]
    {
        let about = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
        let peak = about.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 128 * 1024, "{peak} KiB");
    }
    drop(running);
    assert_eq!(place.status()["faults"], 1);
}

/// Sends a byte now and then, for as long as anybody takes it, but not for ever: the test is to fail then, and not to hang.
fn drip(stream: &mut TcpStream, byte: u8) {
    let mut drops = 0..500;
    while drops.next().is_some() && stream.write_all(&[byte]).is_ok() {
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_stream_of_a_byte_now_and_then_is_no_sign_of_life() {
    for byte in [b'x', b'\n'] {
        let cloud = Fake::start(move |_, stream| {
            drop(stream.write_all(STREAM.as_bytes()));
            drip(stream, byte);
        });
        let place = Place::new();
        let ran = Running::start(cloud.recorder(&place).args(["--ping-interval", "1s"])).wait();
        assert!(ran.code == 1 && ran.stderr.contains("no ping came in time"), "{ran:?}");
    }
}

#[test]
fn an_answer_of_a_byte_now_and_then_is_given_up() {
    let cloud = Fake::start(|_, stream| {
        drop(stream.write_all(STREAM.as_bytes()));
        drip(stream, b' ');
    });
    let place = Place::new();
    let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
    assert!(ran.code == 1 && ran.stderr.contains("stalls"), "{ran:?}");
}

/// A server with a certificate of its own making, for a name; gives its address and what was sent to it in the clear.
fn with_certificate(place: &Place, name: &str) -> Fake {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    write(&place.path("cert.pem"), made.cert.pem());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    Fake::raw(move |stream, heard| {
        let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = rustls::Stream::new(&mut session, stream);
        let mut bytes = [0; 4096];
        let read = tls.read(&mut bytes).unwrap_or_default();
        heard.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
        drop(tls.write_all(answer("401 Unauthorized", "", "{}").as_bytes()));
    })
}

#[test]
fn a_certificate_that_nobody_vouches_for_or_of_another_name_gets_no_request() {
    for (name, vouched_for, speaks) in [("127.0.0.1", false, false), ("example.org", true, false), ("127.0.0.1", true, true)] {
        let place = Place::new();
        let server = with_certificate(&place, name);
        let mut command = overnight();
        command.args(["record", "--project", "p", "--max-retries", "0", "--no-backfill", "--api-url"]);
        command.arg(format!("https://{}", server.address)).arg("--dir").arg(place.dir()).env_remove("SSL_CERT_DIR");
        if vouched_for {
            command.env("SSL_CERT_FILE", place.path("cert.pem"));
        }
        let ran = Running::start(&mut command).wait();
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let heard = server.heard();
        assert!(!heard.is_empty(), "nobody came");
        assert_eq!(
            heard.iter().any(|heard| heard.contains("authorization: Basic")),
            speaks,
            "{name}, {vouched_for}: {}",
            ran.stderr
        );
        assert_eq!(ran.stderr.contains("certificate"), !speaks, "{}", ran.stderr);
    }
}
