//! Whoever answers in the cloud's place, or breaks into its answers: credentials go nowhere else, nothing is read without
//! bound, and nobody is waited for without end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
            answer("200 OK", "Content-Encoding: identity\r\n", &format!("{{\"result\":{{\"event\":{event}}}}}\n"))
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::new();
    let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.events().len(), 1);
    let heard = cloud.heard();
    // A token, the device list before anything is made, the stream.
    assert_eq!(heard.len(), 3);
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
    // What sockets hold comes on top of the caps: 256 KiB of what is small, 4 MiB of a page.
    for (what, status, most) in [("oauth2/token", 200, 16 * MIB), ("devices:stream", 403, 16 * MIB), ("/devices?", 200, 20 * MIB)]
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
    took_less_than(128, &running);
    drop(running);
    assert_eq!(place.status()["faults"], 1);
}

/// A process has had so many MiB of memory at most, where the system tells.
fn took_less_than(most: u64, running: &Running) {
    let Ok(about) = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())) else { return };
    let peak = about.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < most * 1024, "{peak} KiB");
}

/// A list of so many devices.
fn devices(count: usize) -> String {
    let devices: Vec<_> = (0..count).map(|n| format!(r#"{{"name":"projects/p/devices/d{n}","type":"touch"}}"#)).collect();
    answer("200 OK", "", &format!(r#"{{"devices":[{}],"nextPageToken":""}}"#, devices.join(",")))
}

/// The value of a parameter of a request.
fn parameter<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = request.lines().next()?.split(' ').nth(1)?.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A cloud of so many devices, whose history is what `behave` makes of a request.
fn history(count: usize, behave: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Fake {
    let list = devices(count);
    Fake::start(move |request, stream| match request.lines().next().unwrap_or_default() {
        line if line.contains("/devices?") => drop(stream.write_all(list.as_bytes())),
        line if line.contains("/events?") => behave(request, stream),
        _ => drop(stream.write_all(answer("200 OK", "", TOKEN).as_bytes())),
    })
}

/// The page sizes that were asked for.
fn sizes(cloud: &Fake) -> Vec<u32> {
    cloud.heard().iter().filter_map(|request| parameter(request, "pageSize")?.parse().ok()).collect()
}

#[test]
fn four_pages_of_a_history_that_do_not_fit_are_not_held_and_an_event_that_fits_no_page_ends_its_device() {
    const OFFERED: u64 = 64 * 1024 * 1024;
    let (most, looked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (most_sent, go) = (Arc::clone(&most), Arc::clone(&looked));
    let cloud = history(4, move |request, stream| {
        // The last page waits until somebody has looked at how much memory the others took.
        while parameter(request, "pageSize") == Some("1") && !go.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20));
        }
        drop(stream.write_all((STREAM.to_owned() + "{\"events\":[\"").as_bytes()));
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < OFFERED && stream.write_all(&piece).is_ok() {
            sent += piece.len() as u64;
        }
        most_sent.fetch_max(sent, Ordering::Relaxed);
        drop(stream.write_all(b"\"]}"));
    });
    let place = Place::with_quick_history();
    let mut running = Running::start(&mut backfill(&place, &cloud));
    until("all devices are down to single events", || sizes(&cloud).iter().filter(|size| **size == 1).count() == 4);
    took_less_than(96, &running);
    looked.store(true, Ordering::Relaxed);
    let ran = running.wait();
    assert!(ran.code == 0 && ran.stderr.contains("but for 4 devices that the cloud refuses"), "{ran:?}");
    assert!(ran.stderr.contains("a single entry is larger than 4 MiB"), "{ran:?}");
    // The socket holds some more, up to 32 MiB where the kernel thinks that well of the connection.
    let most = most.load(Ordering::Relaxed);
    assert!(most < OFFERED / 4 * 3, "{most} bytes were taken");
    let mut asked = sizes(&cloud);
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [1, 3, 7, 15, 31, 62, 125, 250, 500, 1000]);
    assert_eq!(place.coverage()["projects"][0]["requests"], serde_json::json!([]));
}

#[test]
fn a_history_of_large_events_comes_in_pages_that_fit() {
    const EVENTS: usize = 200;
    let filler = "x".repeat(40 * 1024);
    let cloud = history(1, move |request, stream| {
        let number = |name: &str| parameter(request, name).map(|text| text.parse::<usize>().unwrap());
        let (from, size) = (number("pageToken").unwrap_or(0), number("pageSize").unwrap());
        let to = EVENTS.min(from + size);
        let event = |n| touch(&format!("e{n}"), 1, 3).replacen('{', &format!("{{\"more\":\"{filler}\","), 1);
        let events: Vec<_> = (from..to).map(event).collect();
        let next = if to < EVENTS { to.to_string() } else { String::new() };
        let body = format!("{{\"events\":[{}],\"nextPageToken\":\"{next}\"}}", events.join(" ,\n"));
        drop(stream.write_all(answer("200 OK", "", &body).as_bytes()));
    });
    let place = Place::with_quick_history();
    let ran = Running::start(&mut backfill(&place, &cloud)).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.events().len(), EVENTS);
    // The last one is small, and would be followed by one of 124.
    assert_eq!(sizes(&cloud), [1000, 500, 250, 125, 62, 62, 62, 62]);
}

#[test]
fn pages_that_go_in_a_circle_or_whose_token_has_no_end_are_no_history() {
    let long = "t".repeat(5000);
    for (tokens, asked) in [(["a", "b", "a"], 3), ([&long, "", ""], 1)] {
        let tokens = tokens.map(str::to_owned);
        let count = AtomicU64::new(0);
        let cloud = history(1, move |_, stream| {
            let nth = usize::try_from(count.fetch_add(1, Ordering::Relaxed)).unwrap();
            let body = format!("{{\"events\":[],\"nextPageToken\":\"{}\"}}", tokens[nth % 3]);
            drop(stream.write_all(answer("200 OK", "", &body).as_bytes()));
        });
        let place = Place::with_quick_history();
        let mut running = Running::start(&mut backfill(&place, &cloud));
        if asked == 1 {
            let ran = running.wait();
            assert!(ran.code == 0 && ran.stderr.contains("page token"), "{ran:?}");
        } else {
            // It is tried again, later.
            let said = || place.coverage_so_far()["projects"][0]["requests"][0]["why"].as_str().map(str::to_owned);
            until("it says why", || said().is_some_and(|said| said.contains("circle")));
        }
        assert_eq!(cloud.asked("/events?"), asked);
    }
}

#[test]
fn a_bad_entry_of_the_device_list_is_told_and_the_others_are_asked_for() {
    let labels = "x".repeat(3_000_000);
    let list = format!(
        r#"{{"devices":[{{"name":"projects/p/devices/a"}},7,{{"name":"projects/p/devices/{}"}},{{"name":"projects/p/devices/b","labels":{{"name":"{labels}"}}}}]}}"#,
        "x".repeat(300)
    );
    let cloud = Fake::start(move |request, stream| {
        let is_list = request.lines().next().unwrap_or_default().contains("/devices?");
        drop(stream.write_all(answer("200 OK", "", if is_list { &list } else { EMPTY }).as_bytes()));
    });
    let place = Place::with_quick_history();
    let ran = Running::start(&mut backfill(&place, &cloud)).wait();
    assert!(ran.code == 0 && ran.stderr.contains("3 entries of the device list"), "{ran:?}");
    let devices = cloud
        .heard()
        .iter()
        .filter(|request| request.contains("/devices/a/events?") || request.contains("/devices/b/events?"))
        .count();
    assert_eq!((devices, cloud.asked("/events?")), (2, 2));
}

#[test]
fn no_wish_to_be_left_alone_silences_a_recorder_for_longer_than_a_quarter_of_an_hour() {
    std::thread::scope(|scope| {
        let date = "Date: Mon, 23 Nov 2026 22:24:00 GMT\r\n";
        for (wish, again) in [
            ("99999999999", "in 900.0 s"),
            ("99999999999999999999999999999999", "in 900.0 s"),
            ("Thu, 01 Jan 2099 00:00:00 GMT", "in 900.0 s"),
            // By the clock of whoever says it.
            ("Mon, 23 Nov 2026 22:31:40 GMT", "in 460.0 s"),
            ("-7", "in 0."),
            ("Sat, 01 Jan 2000 00:00:00 GMT", "in 0."),
            ("when it suits you", "in 0."),
        ] {
            scope.spawn(move || {
                let head = format!("{date}Retry-After: {wish}\r\n");
                let cloud = Fake::saying(answer("429 Too Many Requests", &head, "{}"));
                let place = Place::new();
                let mut command = overnight();
                command.args(["record", "--project", "p", "--no-backfill", "--api-url", &cloud.url()]);
                let mut running = Running::start(command.arg("--dir").arg(place.dir()));
                let said = BufReader::new(running.child.stderr.take().unwrap()).lines();
                let line = said.map(Result::unwrap).find(|line| line.contains("connecting again")).unwrap();
                // A wait of almost a second is told as one.
                assert!(line.replace("in 1.0 s", "in 0.9 s").contains(again), "{wish}: {line}");
                let (ran, _) = running.terminate();
                // It has missed something, and says so.
                assert_eq!(ran.code, 3, "{wish}");
            });
        }
    });
}

#[test]
fn whatever_life_a_token_is_said_to_have_it_signs_a_recorder_in() {
    let lives =
        ["3600", "3600.5", "\"3600\"", "null", "0", "-1", "1e-9", "1e300", "1e999", "\"soon\"", "{}", "18446744073709551616"];
    std::thread::scope(|scope| {
        for life in lives.iter().map(|life| format!(",\"expires_in\":{life}")).chain([String::new()]) {
            scope.spawn(move || {
                let cloud = Fake::start(move |request, stream| {
                    let reply = if request.contains("oauth2/token") {
                        answer("200 OK", "", &format!("{{\"access_token\":\"a-token\"{life}}}"))
                    } else {
                        answer("200 OK", "", &format!("{{\"result\":{{\"event\":{}}}}}\n", touch("a", 1, 1)))
                    };
                    drop(stream.write_all(reply.as_bytes()));
                });
                let place = Place::new();
                let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
                assert!(ran.code == 0 && place.events().len() == 1, "{ran:?}");
            });
        }
    });
}

#[test]
fn a_token_that_is_dead_at_once_makes_no_busy_loop_of_sign_ins() {
    let cloud = Fake::start(|request, stream| {
        let reply = match request.lines().next().unwrap_or_default() {
            line if line.contains("/devices?") => devices(10),
            line if line.contains("/events?") => answer("200 OK", "", EMPTY),
            _ => answer("200 OK", "", r#"{"access_token":"a-token","expires_in":0.001}"#),
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::with_quick_history();
    let ran = Running::start(backfill(&place, &cloud).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(cloud.asked("/events?"), 10);
    assert!(cloud.asked("oauth2/token") <= 2, "{:?}", cloud.heard());
}

/// A time from now as an HTTP date.
fn http_date(ahead: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn a_clock_that_is_off_is_told_by_the_first_answer_that_says_so_and_seconds_do_not_count() {
    for (ahead, told) in [(Some(3600), "behind"), (Some(-3600), "ahead of"), (Some(20), ""), (None, "")] {
        let cloud = Fake::start(move |_, stream| {
            let date = ahead.map_or_else(String::new, |ahead| format!("Date: {}\r\n", http_date(ahead)));
            let body = format!("{{\"result\":{{\"event\":{}}}}}\n", touch("a", 1, 1));
            drop(stream.write_all(answer("200 OK", &date, &body).as_bytes()));
        });
        let place = Place::new();
        let ran = Running::start(&mut cloud.recorder(&place)).wait();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let line = ran.stderr.lines().find(|line| line.contains("this machine's clock"));
        assert_eq!(line.is_some(), !told.is_empty(), "{ahead:?}: {}", ran.stderr);
        assert!(line.unwrap_or_default().contains(told), "{ahead:?}: {line:?}");
    }
}

#[test]
fn a_sign_in_that_is_refused_by_another_clock_is_made_once_more_by_that_clock() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let issued = |request: &str| {
        let claims = request.split('.').nth(1).filter(|_| request.contains("assertion="))?.split(['.', '&']).next()?.to_owned();
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        claims["iat"].as_i64()
    };
    let cloud = Fake::start(|_, stream| {
        let date = format!("Date: {}\r\n", http_date(7200));
        drop(stream.write_all(answer("400 Bad Request", &date, r#"{"error":"invalid_grant"}"#).as_bytes()));
    });
    let place = Place::new();
    let ran = Running::start(cloud.recorder(&place).env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL)).wait();
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let bodies: Vec<_> = cloud.heard().iter().map(|request| request.lines().last().unwrap_or_default().to_owned()).collect();
    let times: Vec<i64> = bodies.iter().filter_map(|body| issued(body)).collect();
    assert_eq!(times.len(), 2, "{bodies:?}");
    let between = times[1] - times[0];
    assert!((7195..=7205).contains(&between), "{times:?}");
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

const PORTAL: &str = "<html>\n<head><title>Hotel WiFi</title></head>\n<body>\nPlease log in\n</body>\n</html>\n";

#[test]
fn a_page_in_the_place_of_a_stream_is_named_and_none_of_it_is_kept() {
    let as_what = |line: &str| format!("Content-Type: {line}\r\n");
    let cases = [
        (as_what("text/html"), PORTAL, "the answer is text/html, no stream"),
        (as_what("Text/HTML; charset=utf-8"), PORTAL, "the answer is text/html, no stream"),
        (as_what("application/xhtml+xml"), PORTAL, "the answer is application/xhtml+xml, no stream"),
        (as_what("image/png"), "\u{1}png", "the answer is image/png, no stream"),
        (as_what("application/json"), PORTAL, "the answer is a page, no stream"),
        (String::new(), PORTAL, "the answer is a page, no stream"),
        (as_what("text/plain"), PORTAL, "the answer is a page, no stream"),
    ];
    for (head, body, word) in cases {
        for accept in ["json", "sse"] {
            let cloud = Fake::saying(answer("200 OK", &head, body));
            let place = Place::new();
            let ran = Running::start(cloud.recorder(&place).args(["--accept", accept])).wait();
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            assert!(ran.stderr.contains(word) && ran.stderr.contains("log in"), "{head}: {}", ran.stderr);
            assert_eq!((place.status()["faults"].as_u64(), place.events().len()), (Some(0), 0), "{head}");
        }
    }
}

#[test]
fn a_stream_is_read_as_what_it_says_it_is_and_asked_for_again_when_the_portal_lets_it_through() {
    let line = |id: &str| format!("{{\"result\":{{\"event\":{}}}}}", touch(id, 1, 1));
    for (head, body) in [
        ("Content-Type: application/json; charset=utf-8\r\n", line("a") + "\n"),
        ("Content-Type: application/x-ndjson\r\n", line("a") + "\n"),
        ("Content-Type: application/stream+json\r\n", line("a") + "\n"),
        ("Content-Type: text/plain\r\n", line("a") + "\n"),
        ("Content-Type: application/octet-stream\r\n", line("a") + "\n"),
        ("", line("a") + "\n"),
        ("Content-Type: text/event-stream\r\n", format!("data: {}\n\n", line("a"))),
    ] {
        let (portal, stream) = (answer("200 OK", "Content-Type: text/html\r\n", PORTAL), answer("200 OK", head, &body));
        let asked = AtomicU64::new(0);
        let cloud = Fake::start(move |request, connection| {
            let is_first = request.contains("devices:stream") && asked.fetch_add(1, Ordering::Relaxed) == 0;
            let reply = if is_first { &portal } else { &stream };
            drop(connection.write_all(reply.as_bytes()));
        });
        let place = Place::new();
        let mut command = overnight();
        command.args(["record", "--project", "p", "--max-retries", "1", "--no-backfill", "--api-url", &cloud.url(), "--dir"]);
        let ran = Running::start(command.arg(place.dir())).wait();
        assert!(ran.stderr.contains("no stream"), "{head}: {}", ran.stderr);
        assert_eq!((place.events().len(), place.status()["faults"].as_u64()), (1, Some(0)), "{head}: {}", ran.stderr);
    }
}

#[test]
fn a_page_in_the_place_of_a_token_or_a_list_is_named() {
    for what in ["oauth2/token", "/devices?"] {
        for as_what in ["Content-Type: text/html\r\n", ""] {
            let portal = answer("200 OK", as_what, PORTAL);
            let cloud = Fake::start(move |request, stream| {
                let is_it = request.lines().next().unwrap_or_default().contains(what);
                let reply = if is_it { portal.clone() } else { answer("200 OK", "", TOKEN) };
                drop(stream.write_all(reply.as_bytes()));
            });
            let place = Place::with_quick_history();
            let mut command = if what == "/devices?" { backfill(&place, &cloud) } else { cloud.recorder(&place) };
            let mut running = Running::start(command.env("DT_SERVICE_ACCOUNT_EMAIL", EMAIL));
            let said = if what == "/devices?" {
                until("it asks again", || cloud.asked(what) > 3);
                running.terminate().0.stderr
            } else {
                running.wait().stderr
            };
            assert!(said.contains("no JSON") && said.contains("log in"), "{what}: {said}");
        }
    }
}

#[test]
fn a_compressed_stream_is_refused_with_a_word() {
    for encoding in ["gzip", "br", "gzip, identity"] {
        let cloud = Fake::saying(answer("200 OK", &format!("Content-Encoding: {encoding}\r\n"), "\u{1f}\u{8}"));
        let place = Place::new();
        let ran = Running::start(&mut cloud.recorder(&place)).wait();
        assert!(ran.code == 1 && ran.stderr.contains(&format!("compressed ({encoding})")), "{}", ran.stderr);
        assert_eq!(place.status()["faults"], 0);
    }
}

/// Words of libraries and numbers of the system, which nobody should have to read.
const FOREIGN: [&str; 12] = [
    "error sending",
    "error decoding",
    "chunk size",
    "client error",
    "hyper",
    "os error",
    "Parquet error",
    "Arrow error",
    "Invalid",
    "malformed",
    "rustls",
    "dns error",
];

#[test]
fn what_libraries_say_of_the_network_reaches_people_as_a_sentence_and_whole_behind_v() {
    let bad_chunk = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    let cut = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\"";
    let no_http = "SSH-2.0-OpenSSH_9.9\r\n\r\n";
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let page = Fake::saying(answer("400 Bad Request", "", ""));
    let cases = [
        (Fake::saying(bad_chunk.to_owned()).url(), "what came is damaged, or no HTTP"),
        (Fake::saying(cut.to_owned()).url(), "the connection ended in the middle of an answer"),
        (Fake::saying(no_http.to_owned()).url(), "what came is no HTTP"),
        (format!("http://{closed}"), "nobody answers at this address"),
        (format!("https://{}", page.address), "what came is no TLS"),
        ("http://no-such-host.invalid".to_owned(), "the name of the host is not found"),
    ];
    for (url, sentence) in cases {
        for more in [None, Some("-v")] {
            let place = Place::new();
            let mut command = overnight();
            command.args(["record", "--project", "p", "--max-retries", "0", "--no-backfill", "--api-url", &url, "--dir"]);
            let ran = Running::start(command.arg(place.dir()).args(more)).wait();
            assert!(ran.code == 1 && ran.stderr.contains(sentence), "{url}: {}", ran.stderr);
            let foreign = FOREIGN.iter().find(|word| ran.stderr.contains(**word));
            assert_eq!(foreign.is_some(), more.is_some(), "{url}, {foreign:?}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains('['), more.is_some(), "{}", ran.stderr);
        }
    }
}

#[test]
fn what_libraries_say_of_files_reaches_people_as_a_sentence_and_whole_behind_v() {
    let place = Place::new();
    assert_eq!(place.import(touch("a", 1, 1) + "\n").code, 0);
    let day = place.dir().join("data/touch/2026-10-01.parquet");
    let whole = std::fs::read(&day).unwrap();
    let half = whole.len() / 2;
    let mut middle = whole.clone();
    middle[4..half].fill(0xa5);
    for bytes in [b"short".as_slice(), &whole[..half], &[0; 4096], &middle] {
        write(&day, bytes);
        for verb in [vec!["verify"], vec!["status"], vec!["export", "--format", "ndjson"], vec!["gaps"]] {
            let (plain, full) = (place.run(&verb), place.run(&[verb.as_slice(), &["-v"]].concat()));
            let said = format!("{}{}", plain.stdout, plain.stderr);
            assert_eq!(FOREIGN.iter().find(|word| said.contains(**word)), None, "{verb:?}: {said}");
            assert_eq!(plain.code, full.code);
            if verb == ["verify"] {
                assert!(plain.code != 0 && full.stdout.len() + full.stderr.len() > said.len(), "{said}{full:?}");
            }
        }
    }
    write(&day, &whole);
    let ran = place.run(&["import", place.path("nowhere").to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.ends_with("nowhere: No such file or directory\n"), "{}", ran.stderr);
    // A page of the database.
    let buffer = place.dir().join("state/buffer.db");
    let mut bytes = std::fs::read(&buffer).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..64].fill(0xa5);
    }
    write(&buffer, bytes);
    for verb in ["status", "verify", "gaps", "export"] {
        let ran = place.run(&[verb]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(FOREIGN.iter().find(|word| said.contains(**word)), None, "{verb}: {said}");
    }
}

#[test]
fn a_device_list_without_end_takes_little_memory_and_is_told() {
    // As many small labels as fit: in memory, they can be many times what they are as text.
    let labels: Vec<String> = (0..1700).map(|number| format!("\"{number}\":\"\"")).collect();
    let pages = AtomicU64::new(0);
    let cloud = Fake::start(move |request, stream| {
        let page = pages.fetch_add(1, Ordering::Relaxed);
        let size: u64 = parameter(request, "page_size").unwrap_or("1").parse().unwrap();
        let device = |n: u64| format!(r#"{{"name":"projects/p/devices/d{page}x{n}","labels":{{{}}}}}"#, labels.join(","));
        let devices: Vec<String> = (0..size).map(device).collect();
        let body = format!(r#"{{"devices":[{}],"nextPageToken":"t{page}"}}"#, devices.join(","));
        drop(stream.write_all(answer("200 OK", "", &body).as_bytes()));
    });
    let place = Place::with_quick_history();
    let running = Running::start(&mut backfill(&place, &cloud));
    let said = || place.coverage_so_far()["projects"][0]["requests"][0]["why"].as_str().map(str::to_owned);
    until("it says why", || said().is_some_and(|said| said.contains("64 MiB")));
    took_less_than(192, &running);
}
