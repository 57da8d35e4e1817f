//! A recorder as a service: the units, what a service manager hears, and the group that may read.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Cloud, Place, Ran, Running, overnight, touch, until, write};

const UNITS: [&str; 4] = ["record", "watch", "backup", "timer"];

fn unit(arguments: &[&str]) -> String {
    let ran = Ran::new(&overnight().args(["service", "--program", "/usr/bin/overnight"]).args(arguments).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

#[test]
fn the_unit_of_the_page_is_the_one_that_is_printed_and_files_are_what_is_printed() {
    let page = include_str!("../../src/docs/service.md");
    let shown = page.split_once("```ini\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    assert_eq!(shown, unit(&[]), "src/docs/service.md");
    let place = Place::new();
    let folder = place.path("units");
    for user in [&[][..], &["--user"]] {
        unit(&[&["-o", folder.to_str().unwrap()], user].concat());
        let names = ["overnight.service", "overnight-watch.service", "overnight-backup.service", "overnight-backup.timer"];
        for (name, file) in UNITS.iter().zip(names) {
            assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), unit(&[&[*name], user].concat()), "{file}");
        }
    }
}

#[test]
fn a_unit_says_when_it_is_started_anew_and_a_users_asks_for_nothing_that_only_root_can_give() {
    let rules = [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "SuccessExitStatus=3",
        "RestartPreventExitStatus=2",
    ];
    let (system, own) = (unit(&[]), unit(&["--user"]));
    for rule in rules {
        assert!(system.lines().any(|line| line == rule) && own.lines().any(|line| line == rule), "{rule}");
    }
    assert!(system.contains("After=network-online.target time-sync.target") && !system.contains("DynamicUser"));
    for root in
        ["User=", "Protect", "PrivateUsers", "SystemCallFilter", "multi-user.target", "/usr/bin/overnight record --dir %S"]
    {
        assert!(system.contains(root) && !own.contains(root), "{root}");
    }
}

#[test]
fn no_unit_reaches_more_than_it_needs() {
    let place = Place::new();
    for name in &UNITS[..3] {
        let path = place.path(&format!("{name}.service"));
        fs::write(&path, unit(&[name])).unwrap();
        // Tenths of its scale from 0 to 10.
        let looked = Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15"]).arg(&path).output();
        match looked {
            Ok(looked) => {
                let said = String::from_utf8_lossy(&looked.stdout);
                assert!(said.contains("Overall exposure level"), "{said}{}", String::from_utf8_lossy(&looked.stderr));
                assert!(looked.status.success(), "{name}: {said}");
            }
            Err(error) => eprintln!("skipped, since systemd-analyze does not run here: {error}"),
        }
    }
}

/// A service manager's end.
struct Manager {
    socket: UnixDatagram,
    said: Vec<String>,
}

impl Manager {
    fn of(place: &Place, recorder: &mut Command, watchdog: Duration) -> Self {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        recorder.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Self { socket, said: Vec::new() }
    }

    /// Hears what comes within a time; the lines of it.
    fn hear(&mut self, within: Duration) -> Vec<String> {
        let (begun, before) = (Instant::now(), self.said.len());
        let mut bytes = [0; 4096];
        while begun.elapsed() < within {
            if let Ok(length) = self.socket.recv(&mut bytes) {
                self.said.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
            }
        }
        self.said[before..].to_vec()
    }

    fn until(&mut self, line: &str) {
        until(line, || self.hear(Duration::from_millis(50)).iter().any(|said| said.contains(line)));
    }
}

fn record(place: &Place, url: &str) -> Command {
    let mut command = overnight();
    command.args(["record", "--project", "demo", "--keep-every", "100ms", "--api-url", url, "--dir"]).arg(place.dir());
    command
}

#[test]
fn a_service_manager_hears_that_the_recording_is_open_that_it_is_kept_and_that_it_ends() {
    let (cloud, place) = (Cloud::start(&["--rate", "100"]), Place::new());
    let mut command = record(&place, &cloud.url);
    let mut manager = Manager::of(&place, &mut command, Duration::from_millis(800));
    let recorder = Running::start(&mut command);
    manager.until("READY=1");
    assert!(place.dir().join("state/buffer.db").exists());
    manager.until("STATUS=connected; ");
    let fed = |said: &[String]| said.iter().filter(|line| *line == "WATCHDOG=1").count();
    assert!(fed(&manager.hear(Duration::from_secs(1))) >= 3, "{:?}", manager.said);
    // Thread "keep" stands still while somebody else holds the buffer: no word comes that it is alive, though the network is.
    let buffer = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    buffer.busy_timeout(Duration::from_secs(5)).unwrap();
    buffer.execute_batch("BEGIN IMMEDIATE").unwrap();
    manager.until("STATUS=nothing is kept");
    let heard = manager.hear(Duration::from_secs(2));
    assert!(fed(&heard) == 0 && heard.iter().any(|line| line.starts_with("STATUS=")), "{heard:?}");
    buffer.execute_batch("ROLLBACK").unwrap();
    drop(buffer);
    manager.until("WATCHDOG=1");
    manager.until("events kept");
    let (ran, _) = recorder.terminate();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    manager.until("STOPPING=1");
}

#[test]
fn a_cloud_that_is_away_and_a_quiet_one_hold_up_no_start_and_no_watchdog() {
    let place = Place::new();
    // Nobody listens there.
    let mut command = record(&place, "http://127.0.0.1:9");
    let mut manager = Manager::of(&place, &mut command, Duration::from_millis(800));
    let recorder = Running::start(&mut command);
    manager.until("READY=1");
    manager.until("STATUS=not connected, trying");
    let heard = manager.hear(Duration::from_secs(1));
    assert!(heard.iter().filter(|line| *line == "WATCHDOG=1").count() >= 3, "{heard:?}");
    recorder.terminate();
    manager.until("STOPPING=1");
}

#[test]
fn what_a_service_misses_while_it_is_started_anew_is_a_gap_and_filled() {
    let (cloud, place) = (Cloud::start(&["--rate", "100"]), Place::with_quick_history());
    let start = |place: &Place| {
        drop(fs::remove_file(place.path("notify")));
        let mut command = record(place, &cloud.url);
        let mut manager = Manager::of(place, &mut command, Duration::from_mins(1));
        let recorder = Running::start(&mut command);
        manager.until("READY=1");
        recorder
    };
    let has = |events: u64| until("events come", || place.so_far("events").as_u64() > Some(events));
    let recorder = start(&place);
    has(100);
    let (ran, _) = recorder.terminate();
    assert!(ran.code == 3 && ran.stderr.contains("its recording is still wanted"), "{ran:?}");
    assert_ne!(place.coverage()["nobody_records"], serde_json::json!([]));
    let kept = place.status()["events"].as_u64().unwrap();
    let recorder = start(&place);
    has(kept + 100);
    until("it is filled", || {
        place.gaps_so_far().iter().any(|gap| gap["state"].as_str().is_some_and(|state| state.starts_with("filled")))
    });
    recorder.terminate();
    place.holds_everything(&cloud, |event| event["eventType"] == "labelsChanged");
}

#[test]
fn a_service_manager_that_is_gone_is_told_of_and_ends_nothing() {
    let (cloud, place) = (Cloud::start(&["--rate", "100"]), Place::new());
    let mut command = record(&place, &cloud.url);
    command.env("NOTIFY_SOCKET", place.path("nobody")).args(["--for", "1s"]);
    let ran = Running::start(&mut command).wait();
    assert!(ran.code == 0 && ran.stderr.contains("cannot reach the service manager"), "{ran:?}");
}

fn rights(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_group_reads_day_files_where_the_settings_say_so_and_nothing_else() {
    let place = Place::new();
    let file = place.dir().join("overnight.toml");
    let (data, state) = (place.dir().join("data"), place.dir().join("state"));
    let day = |day: u32| data.join(format!("touch/2026-10-{day:02}.parquet"));
    let import = |id: &str, day| assert_eq!(place.import(touch(id, day, 1)).code, 0);
    import("before", 1);
    assert_eq!([rights(&data), rights(&day(1))], [0o700, 0o600]);
    write(&file, "group_read = true\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // What was there, what is new, and what is written anew; whatever the umask.
    let mut command = Command::new("sh");
    let new = place.path("new.ndjson");
    write(&new, [touch("after", 1, 2), touch("new", 2, 1)].join("\n"));
    let line =
        format!("umask 077; exec {} import {} --dir {}", env!("CARGO_BIN_EXE_overnight"), new.display(), place.dir().display());
    let ran = Ran::new(&command.args(["-c", &line]).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for path in [place.dir(), data.clone(), data.join("touch")] {
        assert_eq!(rights(&path), 0o750, "{}", path.display());
    }
    for path in [day(1), day(2), place.dir().join("MANIFEST")] {
        assert_eq!(rights(&path), 0o640, "{}", path.display());
    }
    assert_eq!([rights(&state), rights(&state.join("buffer.db")), rights(&file)], [0o700, 0o600, 0o600]);
    // And out again.
    write(&file, "group_read = false\n");
    import("out", 3);
    assert_eq!([rights(&data), rights(&day(3)), rights(&place.dir().join("MANIFEST"))], [0o700, 0o600, 0o600]);
    // Nobody lets himself in.
    write(&file, "group_read = true\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = place.import(touch("more", 4, 1));
    assert!(ran.code == 1 && ran.stderr.contains("group_read") && ran.stderr.contains("chmod"), "{ran:?}");
    assert_eq!(rights(&data), 0o700);
}

#[test]
fn a_recorder_lets_the_group_read_what_it_rolls_and_the_list_of_devices() {
    let (cloud, place) = (Cloud::start(&["--rate", "100"]), Place::with_quick_history());
    let file = place.dir().join("overnight.toml");
    write(&file, "group_read = true\nindex_delay = \"1500ms\"\n");
    for (path, mode) in [(place.dir(), 0o700), (file, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = record(&place, &cloud.url);
    let recorder = Running::start(command.args(["--roll-every", "300ms"]));
    until("day files and devices are there", || {
        place.dir().join("devices.parquet").exists() && place.dir().join("data").exists() && !place.day_files().is_empty()
    });
    recorder.terminate();
    assert_eq!(rights(&place.dir().join("devices.parquet")), 0o640);
    for path in place.day_files() {
        assert_eq!(rights(&place.dir().join("data").join(&path)), 0o640, "{path}");
    }
}

/// A small disk of its own, for a test of root's.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(place: &Place) -> Option<Self> {
        let path = place.path("disk");
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=700", "none"]).arg(&path).output().ok()?;
        mounted.status.success().then_some(Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_no_reason_to_start_a_service_anew() {
    let (cloud, place) = (Cloud::start(&["--rate", "100"]), Place::new());
    let Some(disk) = Disk::mount(&place) else { return eprintln!("skipped, since nothing can be mounted here") };
    let mut command = overnight();
    command
        .args(["record", "--project", "demo", "--keep-every", "100ms", "--api-url", &cloud.url, "--dir"])
        .arg(disk.0.join("recording"));
    let mut manager = Manager::of(&place, &mut command, Duration::from_millis(800));
    let recorder = Running::start(&mut command);
    manager.until("STATUS=connected; ");
    // All there is, but for the room that the recorder has set aside for itself.
    let room = rustix::fs::statvfs(&disk.0).unwrap();
    let (free, total) = (room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize);
    write(&disk.0.join("others"), vec![0; usize::try_from(free - total / 40).unwrap()]);
    manager.until("STATUS=the disk is full, waiting for room; ");
    let heard = manager.hear(Duration::from_secs(2));
    assert!(heard.iter().filter(|line| *line == "WATCHDOG=1").count() >= 5, "{heard:?}");
    fs::remove_file(disk.0.join("others")).unwrap();
    manager.until("STATUS=connected; ");
    recorder.terminate();
    manager.until("STOPPING=1");
}
