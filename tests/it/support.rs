//! What the tests share: a simulated cloud on a free port, the real binary, events as JSON values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use overnight::base::time::{Micros, SECOND};
use overnight::model::event::Source;
use overnight::model::layout::Layout;
use overnight::model::settings::Filters;
use overnight::query::coverage::{Gap, Timeline};
use overnight::store::buffer::{Buffer, Change, Fill, Heard, Run, View};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// The real binary, with the simulator's credentials.
pub fn overnight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overnight"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DT_")) {
        command.env_remove(name);
    }
    // What is printed is not to depend on the terminal that the tests run in.
    command.env_remove("COLUMNS").env_remove("LINES");
    command.env("DT_SERVICE_ACCOUNT_KEY_ID", "demo-key").env("DT_SERVICE_ACCOUNT_SECRET", "demo-secret");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The binary that is the cloud: another one, where the one under test is built without the simulator.
fn simulator() -> Command {
    let mut command = overnight();
    if let Ok(other) = std::env::var("OVERNIGHT_SIMULATOR") {
        command = Command::new(other);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    command
}

/// A run of project `p` that wants everything, without an end.
pub fn run_of_p(number: u64, source: Source, begins: Micros, quiet: Micros) -> Arc<Run> {
    let (boot, project, filters, account) = (String::new(), "p".to_owned(), Filters::default(), String::new());
    Arc::new(Run { number, boot, clock: 0, source, project, filters, account, begins, until: None, quiet })
}

/// A directory for one test, and the recording in it.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn dir(&self) -> PathBuf {
        self.path("recording")
    }

    /// A place whose recording expects the simulator's history to be up to date within a second.
    pub fn with_quick_history() -> Self {
        let place = Self::new();
        fs::create_dir(place.dir()).unwrap();
        write(&place.dir().join("overnight.toml"), "index_delay = \"1500ms\"\n");
        place
    }

    /// What the recording says of its time; the exit code says the same.
    pub fn coverage(&self) -> Value {
        let ran = self.run(&["gaps", "--json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no gaps: {}", ran.stderr));
        let missing = report["missing"].as_u64().unwrap() > 0 || report["nobody_records"] != Value::Array(Vec::new());
        assert_eq!(ran.code, if missing { 3 } else { 0 }, "{report}");
        report
    }

    /// The same beside a recorder; null while there is nothing yet.
    pub fn coverage_so_far(&self) -> Value {
        serde_json::from_str(&self.run(&["gaps", "--json"]).stdout).unwrap_or_default()
    }

    /// The gaps of the recording's first project so far.
    pub fn gaps_so_far(&self) -> Vec<Value> {
        self.coverage_so_far()["projects"][0]["gaps"].as_array().cloned().unwrap_or_default()
    }

    /// The gaps of the recording's first project.
    pub fn gaps(&self) -> Vec<Value> {
        self.coverage()["projects"][0]["gaps"].as_array().unwrap().clone()
    }

    /// The gaps of all projects, as the library has them.
    pub fn all_gaps(&self) -> Vec<Gap> {
        let view = View::open(&Layout::new(&self.dir())).unwrap();
        let time = Timeline::read(&view, None, overnight::base::time::now()).unwrap();
        time.projects.into_iter().flat_map(|project| project.gaps).collect()
    }

    /// Writes into the ledger of a recording that nobody writes to: of project `p` a `session` of a stream, of a `receiver`, or a
    /// gap that is `lost`, `filled`, or filled `but for` something.
    pub fn note(&self, what: &str, begins: Micros, ends: Micros) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let (number, project, filters) = (NUMBERS.fetch_add(1, Ordering::Relaxed), "p".to_owned(), Filters::default());
        let session = |source| {
            let run = run_of_p(number, source, begins, 30 * SECOND);
            let ended = Some("a test".to_owned());
            let heard = Heard { run: Arc::clone(&run), session: number, opened_at: begins, spoke_at: ends, ended };
            vec![Change::Begins(Arc::clone(&run)), Change::Heard(heard), Change::Ends(run, ends)]
        };
        let lost = Change::Lost { project: project.clone(), cause: "a test".to_owned(), begins, ends };
        let id = i64::try_from(number).unwrap();
        let pieces = vec![(begins, ends, true)];
        let (asked, filters) = (project.clone(), filters.clone());
        let fill = Fill { id, project: asked, filters, by_hand: false, asked_at: ends, look_back: 0, pieces };
        let changes = match what {
            "session" => session(Source::Stream),
            "receiver" => session(Source::Push),
            "lost" => vec![lost],
            but => {
                let but = Some(but.to_owned()).filter(|but| but != "filled");
                vec![lost, Change::Asks(fill), Change::Filled { fill: id, but }]
            }
        };
        let mut buffer = Buffer::open(&Layout::new(&self.dir()), ends).unwrap();
        for change in changes {
            buffer.apply(&change, ends).unwrap();
        }
    }

    /// Runs a verb on the recording.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = overnight().args(arguments).arg("--dir").arg(self.dir()).output().unwrap();
        Ran::new(&output)
    }

    /// Imports text from standard input.
    pub fn import(&self, text: impl AsRef<[u8]>) -> Ran {
        let mut child = overnight().args(["import", "-", "--dir"]).arg(self.dir()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_ref()).unwrap();
        Ran::new(&child.wait_with_output().unwrap())
    }

    /// The recording's status.
    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "--json"]);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no status: {}", ran.stderr))
    }

    /// A field of the status; null while there is none yet.
    pub fn so_far(&self, field: &str) -> Value {
        let ran = self.run(&["status", "--json"]);
        serde_json::from_str::<Value>(&ran.stdout).map_or(Value::Null, |status| status[field].clone())
    }

    /// Every event of the recording, in the order of the export.
    pub fn events(&self) -> Vec<Value> {
        let ran = self.run(&["export", "--format", "ndjson"]);
        assert!(ran.code == 0 || ran.stderr.contains("warning: ") || ran.stderr.starts_with("no events: "), "{}", ran.stderr);
        lines(&ran.stdout)
    }

    /// Type and id of the events that came by a stream first, and not from the history.
    fn streamed(&self) -> BTreeSet<(String, String)> {
        let csv = self.run(&["export", "--format", "csv"]).stdout;
        let row = |line: &str| {
            // From the end: raw (empty), source, received_at, event_type, event_id.
            let mut fields = line.rsplit(',');
            let (_, source, _, event_type, id) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (source == "stream").then(|| (event_type.to_owned(), id.to_owned()))
        };
        csv.lines().skip(1).filter_map(row).collect()
    }

    /// Holds the recording against what the cloud published: every event as it was sent, none twice, and of those that the
    /// cloud published between the first and the last that came by the stream none missing but those that are let off.
    pub fn holds_everything(&self, cloud: &Cloud, let_off: impl Fn(&Value) -> bool) {
        let (recorded, truth, streamed) = (self.events(), cloud.truth(), self.streamed());
        let (found, all) = (by_key(&recorded), by_key(&truth));
        for (key, event) in &found {
            assert_eq!(Some(event), all.get(key), "{key:?} is not what was sent");
        }
        let first = truth.iter().position(|event| streamed.contains(&key(event))).expect("nothing was recorded");
        let last = truth.iter().rposition(|event| streamed.contains(&key(event))).unwrap();
        let is_missing = |event: &&Value| !found.contains_key(&key(event)) && !let_off(event);
        let missing: Vec<_> = truth[first..=last].iter().filter(is_missing).collect();
        let times = || missing.iter().map(|event| event["timestamp"].as_str().unwrap());
        assert!(
            missing.is_empty(),
            "{} of {} are missing, from {:?} to {:?}, such as {}; {}",
            missing.len(),
            last + 1 - first,
            times().min(),
            times().max(),
            missing[0],
            self.run(&["gaps"]).stdout
        );
    }

    /// A second before the last sign of life of the stream.
    pub fn stopped_at(&self) -> String {
        let at: jiff::Timestamp = self.status()["last_sign_of_life_at"].as_str().unwrap().parse().unwrap();
        (at - jiff::Span::new().seconds(2)).to_string()
    }

    /// Day files, relative to `data/`.
    pub fn day_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let data = self.dir().join("data");
        for folder in fs::read_dir(&data).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                found.push(file.unwrap().path().strip_prefix(&data).unwrap().to_str().unwrap().to_owned());
            }
        }
        found.sort();
        found
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A process that ends with the test.
pub struct Running {
    pub child: Child,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap() }
    }

    /// Sends a signal, as in `-HUP`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits; gives how long it took.
    pub fn terminate(mut self) -> (Ran, Duration) {
        let begun = Instant::now();
        self.signal("-TERM");
        let ran = self.wait();
        (ran, begun.elapsed())
    }

    pub fn wait(&mut self) -> Ran {
        // Read to the ends first: a full pipe would hold the process.
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let out = self.child.stdout.take();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut out) = out {
                out.read_to_string(&mut text).unwrap();
            }
            text
        });
        if let Some(mut err) = self.child.stderr.take() {
            err.read_to_string(&mut stderr).unwrap();
        }
        stdout.push_str(&reader.join().unwrap());
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A simulated cloud, as a process of its own.
pub struct Cloud {
    pub url: String,
    _process: Running,
}

impl Cloud {
    pub fn start(arguments: &[&str]) -> Self {
        // Most tests need no past, and making it up takes time.
        let history: &[&str] = if arguments.contains(&"--history") { &[] } else { &["--history", "0s"] };
        let mut process = Running::start(simulator().args(["simulate", "--addr", "127.0.0.1:0"]).args(history).args(arguments));
        let mut first = String::new();
        BufReader::new(process.child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("first line: {first:?}")).to_owned();
        Self { url, _process: process }
    }

    /// Requests for history so far, refused ones too.
    pub fn history_requests(&self) -> u64 {
        self.stat("historyRequests")
    }

    /// Requests that were too many.
    pub fn rate_limited(&self) -> u64 {
        self.stat("rateLimited")
    }

    /// The highest number of streams at once.
    pub fn most_streams(&self) -> u64 {
        self.stat("mostStreams")
    }

    fn stat(&self, name: &str) -> u64 {
        let stats = get(self.url.strip_prefix("http://").unwrap().parse().unwrap(), "/simulator/stats");
        serde_json::from_str::<Value>(&stats).unwrap()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    /// Every event that the cloud has published, in order.
    pub fn truth(&self) -> Vec<Value> {
        lines(&get(self.url.strip_prefix("http://").unwrap().parse().unwrap(), "/simulator/truth"))
    }
}

/// The body of a plain HTTP answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What tells an event from others: its type and its id.
fn key(event: &Value) -> (String, String) {
    (event["eventType"].as_str().unwrap().to_owned(), event["eventId"].as_str().unwrap().to_owned())
}

/// Events by type and id; fails when one stands twice.
pub fn by_key(events: &[Value]) -> BTreeMap<(String, String), &Value> {
    let mut found = BTreeMap::new();
    for event in events {
        assert!(found.insert(key(event), event).is_none(), "{:?} stands twice", key(event));
    }
    found
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A touch event on a day of October 2026, as the cloud would send it.
pub fn touch(id: &str, day: u32, second: u32) -> String {
    let time = format!("2026-10-{day:02}T{:02}:{:02}:{:02}.000000Z", second / 3600, second / 60 % 60, second % 60);
    format!(
        r#"{{"eventId":"{id}","targetName":"projects/p/devices/d{}","eventType":"touch","data":{{"touch":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#,
        second % 3
    )
}

/// The events that the cloud's maker published, as they stand in its documentation and tests: three share one id.
pub fn published() -> String {
    let types = ["networkStatus", "batteryStatus", "connectionStatus"];
    let data = [
        r#"{"networkStatus":{"signalStrength":45,"rssi":-83,"updateTime":"2019-05-16T08:21:21.076013Z","cloudConnectors":[{"id":"bdkjbo2v0000uk377c4g","signalStrength":45,"rssi":-83}],"transmissionMode":"LOW_POWER_STANDARD_MODE"}}"#,
        r#"{"batteryStatus":{"percentage":100,"updateTime":"2019-05-16T08:21:21.076013Z"}}"#,
        r#"{"connectionStatus":{"connection":"ETHERNET","available":["CELLULAR","ETHERNET"],"updateTime":"2019-05-16T08:21:21.076013Z"}}"#,
    ];
    let lines = types.iter().zip(data).map(|(name, data)| {
        format!(
            r#"{{"eventId":"bjehr0ig1me000dm66s0","targetName":"projects/p/devices/d","eventType":"{name}","data":{data},"timestamp":"2019-05-16T08:21:21.076013Z"}}"#
        ) + "\n"
    });
    lines.collect()
}

/// Writes a file.
pub fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
}
