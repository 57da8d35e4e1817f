//! `overnight alerts` as people run it: a recorder that dies is told by another process, once; ways to tell are tried, and addresses are
//! in no word of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::gaps::record;
use crate::support::{Cloud, Place, Running, lines, overnight, until, write};

const HIDDEN: &str = "hidden-topic-7f3a";

/// A server that answers each request alike, and hands on what it was sent.
fn sink(answer: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            loop {
                let read = stream.read(&mut piece).unwrap_or_default();
                request.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&request);
                let length =
                    text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
                let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
                if read == 0 || text.contains("\r\n\r\n") && body >= length.unwrap_or(0_usize) {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).ok();
            send.send(String::from_utf8_lossy(&request).into_owned()).ok();
        }
    });
    (format!("http://{address}/{HIDDEN}"), requests)
}

fn secret(path: &Path, text: &str) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn each_way_is_tried_and_no_word_of_it_holds_an_address() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let (good, requests) = sink("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (moved, _moved) = sink(elsewhere);
    for (name, url) in [("good", good.as_str()), ("moved", &moved), ("gone", &format!("http://127.0.0.1:9/{HIDDEN}"))] {
        secret(&place.dir().join(name), url);
    }
    let notify = |name: &str, file: &str| format!("[[notify]]\nname = \"{name}\"\nform = \"ntfy\"\nurl_file = \"{file}\"\n");
    let program = place.path("said");
    let command = format!("[[notify]]\nname = \"program\"\ncommand = [\"sh\", \"-c\", \"cat > {}\"]\n", program.display());
    write(&place.dir().join("overnight.toml"), format!("{}{command}", notify("phone", "good")));
    let ran = place.run(&["alerts", "test", "--json"]);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    let request = requests.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(request.starts_with(&format!("POST /{HIDDEN} ")) && request.contains("title: overnight"), "{request}");
    let said: Value = serde_json::from_str(&fs::read_to_string(program).unwrap()).unwrap();
    assert_eq!(said["state"], "test");
    let text = format!("{}{}", notify("moved", "moved"), notify("gone", "gone"));
    write(&place.dir().join("overnight.toml"), text);
    let mut all = Vec::new();
    for arguments in [&["alerts", "test"][..], &["alerts", "test", "--json", "-v"], &["settings"], &["alerts", "try"]] {
        let ran = place.run(arguments);
        all.push(format!("{} {}", ran.stdout, ran.stderr));
    }
    let all = all.join("\n");
    assert!(all.contains("it answered 302") && all.contains("cannot connect"), "{all}");
    assert!(!all.contains(HIDDEN), "{all}");
}

#[test]
fn a_recorder_that_is_killed_is_told_once_by_another_process() {
    let cloud = Cloud::start(&["--rate", "50"]);
    let place = Place::new();
    let mut recorder = record(&place, &cloud, &["--keep-every", "100ms"]);
    until("it is connected", || place.so_far("connected") == true);
    let told = place.path("told");
    let text = format!(
        "[[notify]]\nname = \"n\"\ncommand = [\"sh\", \"-c\", \"cat >> {0}; echo >> {0}\"]\n[[alert]]\nname = \"dead\"\nwhen = \"recorder\"\nfor = \"1s\"\n[[alert]]\nname = \"quiet\"\nwhen = \"silent\"\nfor = \"1m\"\n",
        told.display()
    );
    write(&place.dir().join("overnight.toml"), text);
    let watcher = Running::start(overnight().args(["alerts", "run", "--dir"]).arg(place.dir()));
    let state = place.dir().join("state/watch.json");
    until("it watches", || state.exists());
    let second = place.run(&["alerts", "run"]);
    assert!(second.code == 1 && second.stderr.contains("another watcher"), "{}", second.stderr);
    recorder.child.kill().unwrap();
    recorder.wait();
    until("it is told", || told.exists() && fs::read_to_string(&told).unwrap().contains("\"dead\""));
    // Several steps of the watcher: it is not sent again. (That devices are not silent then: `watch::alerts::tests`.)
    std::thread::sleep(Duration::from_secs(8));
    let (ran, _) = watcher.terminate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let notes = lines(&fs::read_to_string(&told).unwrap());
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0]["text"].as_str().unwrap().contains("recorder silent since"), "{notes:?}");
    // What was told is not told again by the next one, and what would have been is what was.
    let stored: Value = serde_json::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(stored["owed"], Value::Array(Vec::new()));
    let ran = place.run(&["alerts", "try", "--since", "1h", "--json"]);
    let would: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((would[0]["alert"].as_str(), would[0]["state"].as_str()), (Some("dead"), Some("firing")), "{would}");
}
