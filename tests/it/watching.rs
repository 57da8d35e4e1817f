//! The page: what it says of a recording, to whom, and that it goes by what the recorder does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cloud, Place, Ran, Running, overnight, until, write};

/// A page that is being shown.
struct Watching {
    running: Running,
    address: SocketAddr,
}

/// What was answered.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Watching {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = overnight();
        command.args(["watch", "--page", "127.0.0.1:0", "--dir"]).arg(place.dir()).args(arguments);
        Self::run(&mut command)
    }

    fn run(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        let mut line = String::new();
        let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // What else is said there is nobody's loss.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("first line {line:?}, then {}", running.wait().stderr)), running }
    }

    fn ask(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let body = all[end + 4..].to_vec();
        let body = if head.contains("transfer-encoding: chunked") { joined(&body) } else { body };
        Answer { status: head[9..12].parse().unwrap(), head, body }
    }

    fn get(&self, path: &str, more: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}\r\n", self.address))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn page(&self) -> String {
        self.get("/", "").text()
    }

    /// The word at the head of the page.
    fn word(&self) -> String {
        between(&self.page(), "role=\"status\"", "</b>").rsplit('>').next().unwrap().to_owned()
    }

    fn until_it_says(&self, word: &str) {
        until(word, || self.word() == word);
    }

    /// The address of the first device, as `project=…&id=…`.
    fn device(&self) -> String {
        between(&self.page(), "href=\"/device?", "\"").replace("&amp;", "&")
    }

    /// A stream of what changes, behind its header; the status where there is none.
    fn try_live(&self, path: &str) -> Result<BufReader<TcpStream>, String> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "no answer");
            if line.starts_with("HTTP/1.1") && !line.contains(" 200 ") {
                return Err(line);
            }
        }
        Ok(stream)
    }

    fn live(&self, path: &str) -> BufReader<TcpStream> {
        self.try_live(path).unwrap()
    }

    fn terminate(self) -> Ran {
        self.running.terminate().0
    }
}

/// A body that came in chunks.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        all.extend(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
    all
}

fn between(text: &str, before: &str, after: &str) -> String {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split(after).next().unwrap().to_owned()
}

/// Reads a stream until it says something.
fn hears(stream: &mut impl BufRead, what: &str) {
    let begun = Instant::now();
    let mut line = String::new();
    while !line.contains(what) {
        assert!(begun.elapsed() < Duration::from_secs(20), "never heard {what}");
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before {what}");
    }
}

/// A file of a secret.
fn token(place: &Place) -> PathBuf {
    let path = place.path("token");
    write(&path, "open-sesame\n");
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// A recording of a day long ago that nobody goes on with: an import.
fn finished() -> Place {
    let place = Place::new();
    let event = |at: i64| {
        format!(
            "{{\"eventId\":\"e{at}\",\"targetName\":\"projects/p/devices/d\",\"eventType\":\"temperature\",\"data\":{{\"temperature\":{{\
             \"value\":{}.5,\"updateTime\":\"2026-03-01T{:02}:{:02}:00Z\"}}}},\"timestamp\":\"2026-03-01T{:02}:{:02}:00Z\"}}\n",
            20 + at % 3,
            at / 4,
            at % 4 * 15,
            at / 4,
            at % 4 * 15
        )
    };
    let events: String = (0..96).map(event).collect();
    assert_eq!(place.import(events).code, 0);
    place
}

#[test]
fn a_page_waits_for_a_recording_and_goes_by_what_its_recorder_does() {
    let place = Place::new();
    let watching = Watching::start(&place, &["--tz", "Europe/Oslo"]);
    assert_eq!(watching.word(), "NO RECORDING YET");
    let cloud = Cloud::start(&["--rate", "20", "--devices", "5"]);
    let record = || {
        Running::start(
            overnight()
                .args(["record", "--keep-every", "500ms", "--dir"])
                .arg(place.dir())
                .env("DT_API_URL", &cloud.url)
                .env("DT_PROJECT_ID", "demo"),
        )
    };
    let mut recorder = record();
    watching.until_it_says("RECORDING");
    until("devices", || watching.page().contains("/device?project=demo&amp;id="));
    let page = watching.page();
    assert!(page.contains("<svg class=\"strip\"") && page.contains("Europe/Oslo"), "{page}");
    let killed = Instant::now();
    recorder.child.kill().unwrap();
    recorder.child.wait().unwrap();
    watching.until_it_says("NOT RECORDING");
    assert!(killed.elapsed() < Duration::from_secs(35), "{:?}", killed.elapsed());
    assert!(watching.page().contains("the recorder stopped without a word"));
    let recorder = record();
    watching.until_it_says("RECORDING");
    recorder.terminate();
    watching.until_it_says("FINISHED");
    assert!(watching.page().contains("not recording; it ended"));
    assert_eq!(watching.terminate().code, 0);
}

#[test]
fn what_is_kept_comes_to_an_open_page_by_itself_and_no_more_than_thirty_two_look_on() {
    let place = Place::new();
    let cloud = Cloud::start(&["--rate", "20", "--devices", "5"]);
    let _recorder = Running::start(
        overnight().args(["record", "--dir"]).arg(place.dir()).env("DT_API_URL", &cloud.url).env("DT_PROJECT_ID", "demo"),
    );
    let watching = Watching::start(&place, &[]);
    watching.until_it_says("RECORDING");
    let mut stream = watching.live("/live");
    hears(&mut stream, "RECORDING");
    hears(&mut stream, "event: row");
    hears(&mut stream, "<tr id=\"r");
    // A device that says something again.
    hears(&mut stream, "event: row");
    let mut of_device = watching.live(&format!("/live?{}", watching.device()));
    hears(&mut of_device, "/chart.svg?project=demo");
    let others: Vec<_> = (0..30).map(|_| watching.live("/live?q=x")).collect();
    assert!(watching.try_live("/live").unwrap_err().contains(" 503 "));
    assert!(watching.page().contains("RECORDING"), "a page without changes is better than none");
    drop(others);
    until("room", || watching.try_live("/live").is_ok());
}

#[test]
fn a_page_is_for_its_own_host_and_answers_questions_alone() {
    let place = finished();
    let watching = Watching::start(&place, &["--host", "pi.home"]);
    let with_host = |host: &str| watching.ask(&format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    assert_eq!(["evil.example", "127.0.0.1.evil.example"].map(|host| with_host(host).status), [421, 421]);
    assert_eq!(["localhost:1", "pi.home:8802"].map(|host| with_host(host).status), [200, 200]);
    for (method, path) in [("DELETE", "/"), ("PUT", "/"), ("POST", "/"), ("OPTIONS", "/login")] {
        let answer = watching
            .ask(&format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("get, head")), "{method}");
    }
    for path in ["/", "/device?x", "/nothing", "/style.css", "/live.js", "/login"] {
        let answer = watching.get(path, "");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(
            !answer.text().contains(" style=\"") && !answer.text().contains("://"),
            "{path} asks nobody else, and has no style of its own"
        );
    }
    let head = watching.ask("HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(watching.get("/live.js", "").body.len() <= 4096);
}

#[test]
fn beyond_this_machine_a_page_wants_a_token_and_who_knows_it_logs_in_once() {
    let place = finished();
    let refused = place.run(&["watch", "--page", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--token-file"), "{}", refused.stderr);
    let path = token(&place);
    let watching = Watching::start(&place, &["--token-file", path.to_str().unwrap()]);
    for path in ["/", "/live", "/chart.svg?id=d", "/data.csv?id=d", "/device?id=d", "/nothing"] {
        assert_eq!(watching.get(path, "").status, 401, "{path}");
    }
    assert_eq!((watching.get("/healthz", "").status, watching.get("/style.css", "").status), (200, 200));
    assert!(watching.page().contains("action=\"/login\"") && !watching.page().contains("/device"));
    let answer = watching.post("/login", "token=open-sesame&back=%2Fdevice%3Fid%3Dd");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/device?id=d")));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; httponly; samesite=strict") && !cookie.contains("sesame"), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(watching.get("/", &cookie).status, 200);
    assert_eq!(watching.get("/", "authorization: Bearer open-sesame\r\n").status, 200);
    for back in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let answer = watching.post("/login", &format!("token=open-sesame&back={back}"));
        assert_eq!(answer.header("location"), Some("/"), "{back}");
    }
    assert!((0..10).all(|_| watching.post("/login", "token=guess").status == 401));
    assert_eq!(watching.post("/login", "token=open-sesame").status, 429);
    assert_eq!(watching.get("/", &cookie).status, 200, "who is in stays in");
    let said = watching.terminate();
    assert!(
        said.stderr.contains("wrong token") && !said.stderr.contains("sesame") && !said.stderr.contains("guess"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_device_has_charts_numbers_and_files_also_of_a_recording_that_is_over() {
    let place = finished();
    let before = place.day_files();
    let watching = Watching::start(&place, &["--tz", "UTC"]);
    watching.until_it_says("FINISHED");
    until("the device", || watching.page().contains("/device?"));
    let device = watching.device();
    let page = watching.get(&format!("/device?{device}"), "").text();
    assert!(page.contains("22.5\u{a0}°C") || page.contains("20.5\u{a0}°C") || page.contains("21.5\u{a0}°C"), "{page}");
    let chart = between(&page, "<img id=\"c0-wide\" class=\"wide\" src=\"", "\"").replace("&amp;", "&");
    let svg = watching.get(&chart, "");
    assert!(svg.status == 200 && svg.text().contains("<path d=\"M") && svg.text().contains("temperature, °C"), "{}", svg.text());
    let tag = format!("if-none-match: {}\r\n", svg.header("etag").unwrap());
    assert_eq!(watching.get(&chart, &tag).status, 304);
    let topic = format!("{device}&topic=temperature");
    let numbers = watching.get(&format!("/numbers?{topic}"), "").text();
    assert!(numbers.contains("<table class=\"numbers\">") && numbers.contains("greatest"), "{numbers}");
    #[cfg(feature = "workbooks")]
    assert!(watching.get(&format!("/data.xlsx?{device}"), "").body.starts_with(b"PK"));
    assert!(watching.get(&format!("/chart.png?{topic}"), "").body.starts_with(b"\x89PNG"));
    let csv = watching.get(&format!("/data.csv?{device}"), "");
    assert!(csv.text().lines().count() >= 95 && csv.head.contains("attachment"), "{}", csv.text());
    let own = format!("/data.csv?{device}&from=2026-03-01T06:00&to=2026-03-01T07:00");
    assert_eq!(watching.get(&own, "").text().lines().count(), 5, "four quarters and the head");
    let none = format!("/data.csv?{device}&from=2020-03-01T06:00&to=2020-03-01T07:00");
    assert_eq!(watching.get(&none, "").status, 404);
    for wrong in ["&from=yesterday", "&from=2026-03-02T06:00&to=2026-03-01T07:00"] {
        assert_eq!(watching.get(&format!("/chart.svg?{topic}{wrong}"), "").status, 400);
        assert!(watching.get(&format!("/device?{device}{wrong}"), "").text().contains("role=\"alert\""));
    }
    for odd in ["/device?id=%00%ff", "/chart.svg?topic=x&id=d&project=p", "/?page=99999999999999999999&q=%3Cscript%3E"] {
        let answer = watching.get(odd, "");
        assert!(answer.status == 200 || answer.status == 404, "{odd}");
        assert!(!answer.text().contains("<script>"), "{odd}");
    }
    assert_eq!(place.day_files(), before, "it writes nothing");
}

#[test]
fn a_recording_of_a_newer_program_or_none_at_all_is_said_to_be_one_and_the_page_stays() {
    let place = finished();
    let buffer = place.dir().join("state/buffer.db");
    let whole = fs::read(&buffer).unwrap();
    rusqlite::Connection::open(&buffer).unwrap().execute_batch("PRAGMA user_version = 999").unwrap();
    let watching = Watching::start(&place, &[]);
    watching.until_it_says("CANNOT BE READ");
    assert!(watching.page().contains("use a newer overnight"), "{}", watching.page());
    for ending in ["-wal", "-shm"] {
        fs::remove_file(place.dir().join(format!("state/buffer.db{ending}"))).unwrap_or_default();
    }
    fs::write(&buffer, whole).unwrap();
    watching.until_it_says("FINISHED");
}

#[test]
fn who_looks_on_tells_prometheus_what_the_files_say_also_of_a_dead_recorder() {
    let place = Place::new();
    let watching = Watching::start(&place, &[]);
    assert_eq!((watching.get("/readyz", "").status, watching.get("/healthz", "").status), (503, 200));
    assert!(watching.get("/metrics", "").text().contains("overnight_recording 0"));
    let cloud = Cloud::start(&["--rate", "20", "--devices", "5"]);
    let mut command = overnight();
    command.args(["record", "--dir"]).arg(place.dir()).env("DT_API_URL", &cloud.url).env("DT_PROJECT_ID", "demo");
    let mut recorder = Running::start(&mut command);
    let metrics = || watching.get("/metrics", "").text();
    until("metrics", || {
        metrics().contains("overnight_recording 1\n") && metrics().contains("overnight_devices{state=\"speaking\"} 5")
    });
    assert_eq!(watching.get("/readyz", "").status, 200);
    recorder.child.kill().unwrap();
    recorder.child.wait().unwrap();
    let dead = "overnight_project_connected{project=\"demo\",source=\"stream\"} 0";
    until("dead", || metrics().contains(dead) && metrics().contains("overnight_recording 0\n"));
}

#[test]
fn a_page_names_what_people_are_told_of_and_such_devices_come_first() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let settings = "[[notify]]\nname = \"nobody\"\ncommand = [\"true\"]\n\n[[alert]]\nname = \"too hot\"\nwhen = \"above\"\n\
                    type = \"temperature\"\nvalue = -200\nclear = -201\nfor = \"0s\"\n";
    write(&place.dir().join("overnight.toml"), settings);
    let watching = Watching::start(&place, &[]);
    let cloud = Cloud::start(&["--rate", "50", "--devices", "20"]);
    let mut command = overnight();
    command.args(["record", "--dir"]).arg(place.dir()).env("DT_API_URL", &cloud.url).env("DT_PROJECT_ID", "demo");
    let _recorder = Running::start(&mut command);
    until("an alert", || watching.page().contains("! alert too hot"));
    let page = watching.page();
    assert!(between(&page, "<div id=\"alerts\">", "</div>").contains("<b>too hot</b>: "), "{page}");
    hears(&mut watching.live("/live"), "<div id=\"alerts\">");
    assert!(between(&page, "<tbody id=\"rows\">", "</tr>").contains("! alert too hot"), "{page}");
    let metrics = watching.get("/metrics", "").text();
    assert!(metrics.contains("overnight_alerts_firing") && !metrics.contains("overnight_alerts_firing 0\n"), "{metrics}");
}

#[test]
fn a_recorder_brings_its_page_along_and_goes_on_without_it() {
    let place = Place::new();
    let cloud = Cloud::start(&["--rate", "20", "--devices", "5"]);
    let record = |page: &str| {
        let mut command = overnight();
        command
            .args(["record", "--page", page, "--dir"])
            .arg(place.dir())
            .env("DT_API_URL", &cloud.url)
            .env("DT_PROJECT_ID", "demo");
        command
    };
    let refused = Ran::new(&record("0.0.0.0:0").output().unwrap());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let watching = Watching::run(&mut record("127.0.0.1:0"));
    watching.until_it_says("RECORDING");
    let page = watching.address;
    // The page dies, and nothing else does.
    let own = format!("--ppid {}", watching.running.child.id());
    let listed = Command::new("ps").args(own.split(' ')).args(["-o", "pid="]).output().unwrap();
    let pid = String::from_utf8(listed.stdout).unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    until("no page", || TcpStream::connect(page).is_err());
    let kept = || place.so_far("events").as_u64().unwrap_or_default();
    let before = kept();
    until("more events", || kept() > before);
    let ran = watching.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("the page has ended") && ran.stderr.contains("recording goes on"), "{}", ran.stderr);
    // A recorder that is killed takes its page along.
    let mut watching = Watching::run(&mut record("127.0.0.1:0"));
    let page = watching.address;
    watching.running.child.kill().unwrap();
    until("no page", || TcpStream::connect(page).is_err());
}

#[test]
fn a_page_that_was_started_by_another_program_ends_with_it() {
    let place = finished();
    let mut command = overnight();
    command.args(["watch", "--page", "127.0.0.1:0", "--with-stdin", "--dir"]).arg(place.dir()).stdin(Stdio::piped());
    let mut watching = Watching::run(&mut command);
    watching.until_it_says("FINISHED");
    drop(watching.running.child.stdin.take());
    assert_eq!(watching.running.wait().code, 0);
}
