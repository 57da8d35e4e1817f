//! Metrics: what a recorder tells at an address of its own, and what the files say to whoever looks on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use overnight::base::time;
use overnight::metrics::files::{Beside, metrics_text};
use overnight::model::layout::Layout;
use overnight::query::look::Looker;
use overnight::query::status::status;

use crate::support::{Cloud, Place, Ran, Running, overnight, touch, until, write};

/// A recorder that tells its metrics, and where.
struct Metered {
    running: Running,
    address: String,
}

impl Metered {
    fn record(place: &Place, cloud: &Cloud, arguments: &[&str]) -> Self {
        let mut command = overnight();
        command.args(["record", "--metrics", "127.0.0.1:0", "--keep-every", "100ms", "--no-backfill", "--api-url", &cloud.url]);
        Self::run(command.args(["--project", "demo", "--dir"]).arg(place.dir()).args(arguments))
    }

    fn run(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("metrics at http"));
        let line = line.unwrap_or_else(|| panic!("no address; {}", running.wait().stderr));
        let address = line.trim_start_matches("metrics at http://").strip_suffix("/metrics").unwrap().to_owned();
        Self { running, address }
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = if headers.contains("Host: ") { "" } else { "Host: localhost\r\n" };
        stream.write_all(format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn status(&self, method: &str, path: &str, headers: &str) -> u16 {
        self.ask(method, path, headers).split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn value(&self, series: &str) -> Option<f64> {
        value(&self.ask("GET", "/metrics", ""), series)
    }
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The sum of all series of a name.
fn sum(text: &str, name: &str) -> f64 {
    let of = |line: &str| {
        line.strip_prefix(name).filter(|rest| rest.starts_with('{')).and_then(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
    };
    text.lines().filter_map(of).sum()
}

/// What Prometheus' own tool has to say of a text: nothing. Where it is not installed, it is not asked.
#[expect(clippy::print_stderr, reason = "who reads the output is to know what was not tried")]
fn promtool(text: &str) {
    let mut asked = Command::new("promtool");
    asked.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut asked) = asked.spawn() else {
        return eprintln!("promtool is not asked, since it is not installed (Debian: prometheus)");
    };
    asked.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ran = Ran::new(&asked.wait_with_output().unwrap());
    assert!(ran.code == 0 && ran.stderr.is_empty(), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_recorder_tells_what_it_counts_and_whether_it_can_keep_anything() {
    let (place, cloud) = (Place::new(), Cloud::start(&["--rate", "200", "--devices", "8"]));
    let metered = Metered::record(&place, &cloud, &["--roll-every", "500ms"]);
    until("events are kept and rolled", || {
        let text = metered.ask("GET", "/metrics", "");
        sum(&text, "overnight_events_kept_total") > 100.0 && value(&text, "overnight_events_rolled_total") > Some(0.0)
    });
    until("it is connected", || metered.value("overnight_project_connected{project=\"demo\",source=\"stream\"}") == Some(1.0));
    let sign = "overnight_project_sign_of_life_timestamp_seconds{project=\"demo\"}";
    until("it gave a sign of life", || metered.value(sign).is_some());
    let text = metered.ask("GET", "/metrics", "");
    assert!(text.to_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    let is = |series: &str, want: f64| assert_eq!(value(&text, series), Some(want), "{series}: {text}");
    is("overnight_disk_full", 0.0);
    is("overnight_faults_total", 0.0);
    is("overnight_sessions_opened_total{source=\"stream\"}", 1.0);
    is("overnight_sessions_opened_total{source=\"push\"}", 0.0);
    assert!(value(&text, "overnight_commit_duration_seconds_count") > Some(0.0), "{text}");
    assert!(value(&text, "overnight_event_delay_seconds_count") >= Some(100.0), "{text}");
    assert!(text.contains(concat!("overnight_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
    assert!(!text.contains("devices/") && !text.contains("demo-"), "{text}");

    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!((metered.status("GET", path, ""), metered.status("HEAD", path, "")), (200, 200), "{path}");
    }
    assert_eq!((metered.status("POST", "/metrics", ""), metered.status("GET", "/", "")), (405, 404));
    assert_eq!(metered.status("GET", "/metrics", "Host: evil.example\r\n"), 421);
    assert_eq!(metered.running.terminate().0.code, 0);
    assert!(TcpStream::connect(&metered.address).is_err());
}

#[test]
fn the_address_that_strangers_push_to_tells_no_metrics() {
    let place = Place::new();
    let mut command = overnight();
    command.args(["listen", "--addr", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--allow-unsigned", "--dir"]).arg(place.dir());
    let mut running = Running::start(&mut command);
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next = |before: &str| lines.next().unwrap().strip_prefix(before).unwrap().trim_end_matches("/metrics").to_owned();
    let (pushes, metrics) = (next("listening on http://"), next("metrics at http://"));
    let [pushes, metered] = [pushes, metrics].map(|address| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(pushes.starts_with("HTTP/1.1 405") && !pushes.contains("overnight_"), "{pushes}");
    assert!(
        metered.starts_with("HTTP/1.1 200") && value(&metered, "overnight_pushes_total{code=\"200\"}") == Some(0.0),
        "{metered}"
    );
    assert_eq!(running.terminate().0.code, 0);
}

#[test]
fn beyond_this_machine_only_who_shows_the_token_reads_metrics() {
    use std::os::unix::fs::PermissionsExt;
    let (place, cloud) = (Place::new(), Cloud::start(&["--rate", "50"]));
    let open = Ran::new(
        &overnight()
            .args(["record", "--project", "demo", "--metrics", "0.0.0.0:0", "--api-url", &cloud.url, "--dir"])
            .arg(place.dir())
            .output()
            .unwrap(),
    );
    assert!(open.code == 2 && open.stderr.contains("--token-file") && !place.dir().exists(), "{open:?}");
    let token = place.path("token");
    write(&token, "hunter2-of-the-metrics\n");
    let start = || {
        let mut command = overnight();
        command.args(["record", "--project", "demo", "--metrics", "0.0.0.0:0", "--api-url", &cloud.url, "--dir"]);
        command.arg(place.dir()).arg("--token-file").arg(&token);
        command
    };
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Ran::new(&start().output().unwrap()).stderr.contains("chmod 600"));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let mut metered = Metered::run(&mut start());
    metered.address = metered.address.replace("0.0.0.0", "127.0.0.1");
    let bearer = "Authorization: Bearer hunter2-of-the-metrics\r\n";
    for (headers, want) in [("", 401), ("Authorization: Bearer hunter2\r\n", 401), (bearer, 200)] {
        assert_eq!(metered.status("GET", "/metrics", headers), want, "{headers}");
    }
    // By whatever name it is called: who knows the token is no page of the web.
    assert_eq!(metered.status("GET", "/metrics", &format!("Host: pi.home:9000\r\n{bearer}")), 200);
    assert_eq!(metered.status("GET", "/readyz", ""), 200, "yes or no is no secret");
    write(&token, "hunter3-of-the-metrics");
    metered.running.signal("-HUP");
    let anew = "Authorization: Bearer hunter3-of-the-metrics\r\n";
    until("the token is read anew", || metered.status("GET", "/metrics", anew) == 200);
    assert_eq!(metered.status("GET", "/metrics", bearer), 401);
    let ran = metered.running.terminate().0;
    assert!(ran.stderr.contains("does not show the token") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn the_files_tell_of_a_recorder_that_died() {
    let (place, cloud) = (Place::new(), Cloud::start(&["--rate", "200", "--devices", "8"]));
    let layout = Layout::new(&place.dir());
    let mut looker = Looker::new(&layout);
    let mut text = || metrics_text(looker.look(time::now()).ok().as_ref(), &Beside::default());
    assert_eq!(value(&text(), "overnight_recording"), Some(0.0), "there is nothing yet");
    let metered = Metered::record(&place, &cloud, &[]);
    let connected = "overnight_project_connected{project=\"demo\",source=\"stream\"}";
    until("it records", || {
        let text = text();
        value(&text, connected) == Some(1.0) && value(&text, "overnight_buffered_events") > Some(50.0)
    });
    let alive = text();
    assert_eq!(
        (value(&alive, "overnight_recording"), value(&alive, "overnight_gap_open_seconds")),
        (Some(1.0), Some(0.0)),
        "{alive}"
    );
    let beside = Beside { devices: vec![("speaking", 8), ("silent", 0)], alerts_firing: Some(0), deliveries: vec![("ok", 1)] };
    promtool(&metrics_text(Looker::new(&layout).look(time::now()).ok().as_ref(), &beside));
    promtool(metered.ask("GET", "/metrics", "").split_once("\r\n\r\n").unwrap().1);
    metered.running.signal("-9");
    until("it is dead", || value(&text(), "overnight_recording") == Some(0.0));
    let dead = text();
    assert_eq!(value(&dead, connected), Some(0.0), "{dead}");
    assert!(value(&dead, "overnight_gaps{state=\"open\"}") > Some(0.0), "{dead}");
    assert!(value(&dead, "overnight_project_sign_of_life_timestamp_seconds{project=\"demo\"}") > Some(0.0), "{dead}");
    assert_eq!(place.run(&["end"]).code, 0);
    let ended = text();
    assert!(value(&ended, connected).is_none(), "who was ended is missed by nobody: {ended}");
}

/// Events of a type, one a day.
fn days(kind: &str, days: std::ops::Range<u32>) -> String {
    days.map(|day| touch(&format!("{kind}{day}"), day, 5).replace("touch", kind) + "\n").collect()
}

#[test]
fn who_looks_again_sees_what_who_looks_for_the_first_time_does() {
    let place = Place::new();
    let layout = Layout::new(&place.dir());
    let mut looker = Looker::new(&layout);
    let mut is_same = |what: &str| {
        let (seen, fresh) = (looker.look(time::now()).unwrap(), status(&layout, time::now()).unwrap());
        let holdings = seen.holdings;
        let (sealed, open) = holdings.day_files();
        let (told_sealed, told) = fresh
            .partitions
            .iter()
            .fold((0, 0), |(sealed, all), of| (sealed + u64::from(of.sealed), all + u64::from(of.bytes > 0)));
        assert_eq!(
            (holdings.events(), holdings.bytes(), sealed, sealed + open),
            (fresh.events, fresh.bytes, told_sealed, told),
            "{what}"
        );
        assert_eq!((holdings.buffered(), holdings.unreadable.len()), (fresh.buffered, fresh.unreadable.len()), "{what}");
        (holdings.events(), holdings.unreadable.len())
    };
    assert_eq!(place.import(days("touch", 1..5)).code, 0);
    assert_eq!(is_same("at first"), (4, 0));
    assert_eq!(is_same("again"), (4, 0));
    assert_eq!(place.import(days("touch", 3..9)).code, 0);
    assert_eq!(is_same("old days grow, and there are new ones").1, 0);
    assert_eq!(place.import(days("motion", 1..3)).code, 0);
    let (events, _) = is_same("another type");
    let file = place.dir().join("data/touch/2026-10-04.parquet");
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(is_same("a file is gone").0 < events);
    write(&file, "no Parquet");
    assert_eq!(is_same("a file is damaged").1, 1);
    write(&file, &whole);
    assert_eq!(is_same("it is mended in its place"), (events, 0));
    fs::remove_dir_all(place.dir().join("data/motion")).unwrap();
    assert!(is_same("a type is gone").0 < events);
}

#[test]
fn the_rules_are_those_that_the_page_speaks_of() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let printed = Ran::new(&overnight().arg("rules").output().unwrap());
    assert_eq!(printed.code, 0);
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/overnight.rules.yml")).unwrap();
    assert_eq!(printed.stdout, file);
    let page = include_str!("../../src/docs/watching.md");
    let alerts: Vec<&str> = file.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 5);
    for alert in alerts {
        assert!(page.contains(alert), "the page does not speak of {alert}");
    }
    // What rules and page ask for is told.
    let told = concat!(
        include_str!("../../src/metrics/recorder.rs"),
        include_str!("../../src/metrics/files.rs"),
        include_str!("../../src/metrics/projects.rs"),
        include_str!("../../src/metrics/mod.rs")
    );
    let names = |text: &str| -> Vec<String> {
        let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
        text.split("overnight_").skip(1).map(|rest| rest.chars().take_while(|c| is_of_name(*c)).collect()).collect()
    };
    for name in names(&file).into_iter().chain(names(page)) {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        assert!(told.contains(&format!("\"{name}\"")), "nobody tells overnight_{name}");
    }
}
