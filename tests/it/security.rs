//! What somebody on the same machine, in the same network or on the other end may not get, or do. Where each threat has its
//! test:
//!
//! | threat | tests |
//! |---|---|
//! | a redirect takes credentials along | `hostile::no_redirect_takes_a_request_or_its_credentials_to_another_host_or_port` |
//! | secrets in addresses, messages, files | `nothing_that_the_program_wrote_holds_a_secret`, `hostile::requests_hold_credentials_in_their_header_alone_and_ask_for_nothing_compressed`, `settings::a_secret_never_prints` |
//! | compressed bombs | `hostile::requests_hold_…_and_ask_for_nothing_compressed`; a compressed push is 415: `pushes::a_push_that_the_cloud_did_not_sign_is_refused_and_nothing_of_it_is_kept` |
//! | endless answers, endless lines | `hostile::an_answer_without_end_is_read_up_to_its_cap`, `hostile::a_line_without_end_is_a_fault_and_takes_no_memory` |
//! | slow answers, slow senders | `hostile::a_stream_of_a_byte_now_and_then_is_no_sign_of_life`, `hostile::an_answer_of_a_byte_now_and_then_is_given_up`, `pushes::slow_senders_are_cut_and_idle_ones_make_room`, `pushes::whoever_reads_no_answers_is_given_up` |
//! | pages of the web that push here, or lead their name here | `pushes::no_page_that_somebody_looks_at_pushes_where_everybody_is_trusted`, `pushes::a_simulator_answers_to_no_name_of_the_web`, `serving::who_calls_a_server_by_another_name_learns_nothing` |
//! | a recording that somebody else made: what its buffer runs | `a_buffer_with_anything_in_it_that_this_program_does_not_make_is_refused_and_left_as_it_is`, `rot::blocks_of_older_programs_have_no_checksum_and_bring_nothing_down_whatever_is_in_them` |
//! | a recording that somebody else made: where credentials go | `credentials_go_where_settings_say_only_if_nobody_else_can_write_them` |
//! | secrets that anybody would guess | `pushes::a_file_of_the_secret_takes_the_place_of_the_environments_and_no_secret_is_one_that_anybody_would_guess` |
//! | content that the database refuses | `pushes::labels_that_are_no_flat_map_of_texts_are_refused_and_end_nothing`, `pushes::a_push_that_the_buffer_refuses_takes_no_other_along` |
//! | strangers in every place | `pushes::strangers_however_many_keep_no_honest_sender_out`, `serve::places` |
//! | odd JSON: deep, huge, NaN, surrogates, NUL | `fuzz::a_line_is_an_event_that_comes_back_or_a_fault_with_its_bytes`, `bad_input::unknown_types_fields_and_forms_come_back_as_they_were` |
//! | names without end | `a_million_types_and_devices_are_bounded_and_the_rest_is_recorded`, `schema::admit` |
//! | a server that is not the cloud | `hostile::a_certificate_that_nobody_vouches_for_or_of_another_name_gets_no_request` |
//! | forged, changed, old pushes | `pushes::a_push_that_the_cloud_did_not_sign_…`, `fuzz::a_push_is_believed_only_when_its_bytes_are_signed` |
//! | formulas in CSV | `export::dialect::formulas_are_told_from_numbers`, `exports::csv_for_a_country_has_its_separators_and_plain_local_times` |
//! | names that are paths | `bad_input::an_event_type_is_never_a_path`, `fuzz::an_event_type_is_never_a_path_nor_anothers_folder`, `a_recording_is_never_written_through_a_link` |
//! | escapes for the terminal | `nothing_that_a_terminal_obeys_and_nothing_that_turns_text_reaches_it_from_others`, `export::terminal`, with a terminal in `tests/python/exports.py` |
//! | other users of the machine | `only_the_owner_reads_a_recording`, `service::a_group_reads_day_files_where_the_settings_say_so_and_nothing_else`, `a_file_of_secrets_that_everybody_can_read_is_refused` |
//! | what a hole in this program would reach | `service::no_unit_reaches_more_than_it_needs` |
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fake::{EMPTY, Fake, answer};
use crate::support::{Cloud, Place, Ran, Running, overnight, touch, until, write};

const SECRET: &str = "hunter2-of-the-account";
const TOKEN: &str = "token-that-nobody-may-see";
const SINK: &str = "topic-of-a-phone-81c2";
const PUSHES: &str = "hunter2-of-the-pushes";
const EMAIL: &str = "someone@example.org";

/// Everything below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| if path.is_dir() && !path.is_symlink() { walk(&path) } else { Vec::new() };
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| [vec![path.clone()], inside(path)].concat()).collect()
}

/// A cloud that says back whatever it was sent, in each of its errors; in between it does what it should.
fn echoing() -> Fake {
    Fake::start(|request, stream| {
        let line = request.lines().next().unwrap_or_default();
        let said = json!({"error": format!("you sent {request}"), "code": 500, "help": request}).to_string();
        let reply = match line {
            line if line.contains("oauth2/token") && request.contains("other%40") => answer("500 Oh", "", &said),
            line if line.contains("oauth2/token") => {
                answer("200 OK", "", &json!({"access_token": TOKEN, "expires_in": 3600}).to_string())
            }
            line if line.contains("devices:stream") && line.contains("projects/good") => {
                let body = format!("{{\"result\":{{\"event\":{}}}}}\nno event\n", touch("kept", 1, 1));
                answer("200 OK", "", &body)
            }
            // In the middle of a stream: a line that is no event, and the last word.
            line if line.contains("devices:stream") && line.contains("projects/ends") => {
                let error = json!({"error": {"code": 13, "message": format!("you sent {request}")}});
                let signed = request.lines().find(|line| line.to_lowercase().starts_with("authorization")).unwrap();
                let lines = [touch("ends", 1, 2), format!("no event: {signed}"), error.to_string()];
                let is_sse = request.to_lowercase().contains("text/event-stream");
                let cut = |line: &String| if is_sse { format!("data: {line}\n\n") } else { format!("{line}\n") };
                answer("200 OK", "", &lines.iter().map(cut).collect::<String>())
            }
            // In the middle of a history: what is no event.
            line if line.contains("/devices?") && line.contains("projects/past") => {
                answer("200 OK", "", r#"{"devices":[{"name":"projects/past/devices/d1"}]}"#)
            }
            line if line.contains("/events?") && line.contains("projects/past") => {
                let signed = request.lines().find(|line| line.to_lowercase().starts_with("authorization")).unwrap();
                answer("200 OK", "", &json!({"events": [{"no event": signed}]}).to_string())
            }
            line if line.contains("/devices?") && line.contains("projects/good") => answer("200 OK", "", EMPTY),
            line if line.contains("/devices?") => answer("403 No", "", &said),
            _ => answer("503 Later", "", &said),
        };
        drop(stream.write_all(reply.as_bytes()));
    })
}

#[test]
fn nothing_that_the_program_wrote_holds_a_secret() {
    let (place, cloud) = (Place::with_quick_history(), echoing());
    let mut said = Vec::new();
    let mut run = |arguments: &[&str], email: Option<&str>| {
        let mut command = overnight();
        command.args(arguments).arg("--dir").arg(place.dir()).env("DT_SERVICE_ACCOUNT_SECRET", SECRET);
        command.env("DT_SERVICE_ACCOUNT_KEY_ID", "key").env("DT_SIGNATURE_SECRET", PUSHES).env("RUST_BACKTRACE", "1");
        if let Some(email) = email {
            command.env("DT_SERVICE_ACCOUNT_EMAIL", email);
        }
        let ran = Running::start(command.env("DT_API_URL", cloud.url())).wait();
        said.push((arguments.join(" "), ran));
    };
    for project in ["good", "bad"] {
        for email in [None, Some(EMAIL), Some("other@example.org")] {
            run(&["record", "--project", project, "--max-retries", "0", "--no-backfill"], email);
            if email != Some("other@example.org") {
                run(&["backfill", "--project", project, "--since", "1h"], email);
            }
        }
    }
    for email in [None, Some(EMAIL)] {
        run(&["backfill", "--project", "past", "--since", "1h"], email);
    }
    for accept in ["json", "sse"] {
        for email in [None, Some(EMAIL)] {
            run(&["record", "--project", "ends", "--accept", accept, "--max-retries", "1", "--no-backfill"], email);
        }
    }
    // Credentials that do not read: what is wrong with them is told, and not what they are.
    let file = place.path("credentials.json");
    for text in [format!("{{\"serviceAccount\": \"{SECRET}\"}}"), format!("{{\"serviceAccount\":{{\"secret\":{SECRET}}}}}")] {
        write(&file, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        run(&["record", "--project", "good", "--credentials", file.to_str().unwrap()], None);
    }
    fs::remove_file(&file).unwrap();
    // Where alerts go is a secret, too, and this cloud refuses them.
    let elsewhere = tempfile::tempdir().unwrap();
    let address = elsewhere.path().join("address");
    write(&address, format!("{}/{SINK}", cloud.url()));
    fs::set_permissions(&address, fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!("url_file = {:?}", address.to_str().unwrap());
    let alerts = "[[alert]]\nname = \"disk\"\nwhen = \"disk\"\nvalue = 1e9\nclear = 2e9\n";
    let settings =
        format!("index_delay = \"1500ms\"\n[[notify]]\nname = \"n\"\n{file}\n{alerts}[ping]\n{file}\nevery = \"1s\"\n");
    write(&place.dir().join("overnight.toml"), settings);
    for arguments in [&["alerts", "test"][..], &["alerts", "test", "--json", "-v"], &["alerts", "try"], &["settings"]] {
        run(arguments, None);
    }
    let mut command = overnight();
    let watching = Running::start(command.args(["alerts", "run", "-v", "--dir"]).arg(place.dir()));
    // Changes are gathered for half a minute, and are refused then.
    std::thread::sleep(std::time::Duration::from_secs(34));
    said.push(("alerts run".to_owned(), watching.terminate().0));
    let refused = said.iter().filter(|(what, ran)| what.starts_with("alerts") && ran.stderr.contains("it answered 503"));
    assert!(refused.count() >= 1 && place.dir().join("state/watch.json").exists(), "{said:#?}");
    // The receiver has a word on each push that it refuses.
    let mut command = overnight();
    command.args(["listen", "--addr", "127.0.0.1:0", "--dir"]).arg(place.dir()).env("DT_SIGNATURE_SECRET", PUSHES);
    let mut listening = Running::start(&mut command);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(listening.child.stdout.as_mut().unwrap()), &mut line).unwrap();
    let mut stream = std::net::TcpStream::connect(line.trim().rsplit('/').next().unwrap()).unwrap();
    stream.write_all(format!("POST / HTTP/1.0\r\nX-Dt-Signature: {PUSHES}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes()).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    said.push(("listen".to_owned(), listening.terminate().0));
    for verb in ["status", "gaps", "verify"] {
        said.push((verb.to_owned(), place.run(&[verb])));
        said.push((format!("{verb} --json"), place.run(&[verb, "--json"])));
    }
    for format in ["csv", "ndjson", "parquet"] {
        let to = place.path(&format!("export-{format}/"));
        said.push((format!("export {format}"), place.run(&["export", "--format", format, "-o", &format!("{}/", to.display())])));
    }
    assert_eq!(place.events().len(), 2, "there was something to write");
    let of_streams = said.iter().filter(|(what, _)| what.contains("ends")).all(|(_, ran)| ran.stderr.contains("you sent"));
    assert!(of_streams && place.status()["fault_reasons"].to_string().contains("***"), "{said:#?}");

    let mut secrets =
        vec![SECRET.to_owned(), SINK.to_owned(), TOKEN.to_owned(), PUSHES.to_owned(), STANDARD.encode(format!("key:{SECRET}"))];
    for request in cloud.heard() {
        secrets.extend(request.split_once("assertion=").map(|(_, form)| form.split('&').next().unwrap().to_owned()));
    }
    let (signed, echoed) = (secrets.len() > 5, said.iter().any(|(_, ran)| ran.stderr.contains("***")));
    assert!(signed && echoed, "the cloud echoes what it was sent: {said:#?}");
    for secret in &secrets {
        for (what, Ran { stdout, stderr, .. }) in &said {
            assert!(!stdout.contains(secret) && !stderr.contains(secret), "{secret} in what {what} said: {stdout}{stderr}");
        }
        for path in walk(place.folder.path()).into_iter().filter(|path| path.is_file()) {
            let bytes = fs::read(&path).unwrap();
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{secret} stands in {}", path.display());
        }
    }
}

#[test]
fn only_the_owner_reads_a_recording() {
    let place = Place::new();
    let schemas = place.path("schemas");
    fs::create_dir(&schemas).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/touch.toml"), schemas.join("touch.toml")).unwrap();
    let open = |arguments: &[&str]| {
        // As open as can be.
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_overnight")]).args(arguments).arg("--dir");
        command.arg(place.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("DT_SERVICE_ACCOUNT_KEY_ID", "demo-key").env("DT_SERVICE_ACCOUNT_SECRET", "demo-secret");
        Running::start(&mut command)
    };
    let file = place.path("in.ndjson");
    write(&file, touch("sealed", 1, 1));
    let ran = open(&["import", file.to_str().unwrap(), "--schemas", schemas.to_str().unwrap()]).wait();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // A damaged file is set aside; a recorder that is killed leaves its logs.
    write(&place.dir().join("data/touch/2026-10-05.parquet"), "damaged");
    let cloud = Cloud::start(&["--rate", "200"]);
    let mut recorder = open(&["record", "--project", "demo", "--roll-every", "300ms", "--api-url", &cloud.url]);
    until("events and devices are there", || {
        place.so_far("events").as_u64() > Some(100) && place.dir().join("devices.parquet").exists()
    });
    recorder.child.kill().unwrap();
    recorder.wait();
    let all = walk(&place.dir());
    for name in ["buffer.db", "buffer.db-wal", "lock", "MANIFEST", "devices.parquet", "touch.toml"] {
        assert!(all.iter().any(|path| path.ends_with(name)), "no {name} in {all:?}");
    }
    assert!(all.iter().any(|path| path.to_string_lossy().contains("damaged/")), "{all:?}");
    for path in all.iter().chain([&place.dir()]) {
        // Somebody else wrote it: its rights are not ours to change.
        let mode =
            if path.to_string_lossy().contains("/damaged/") { continue } else { path.metadata().unwrap().permissions().mode() };
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode & 0o777, wanted, "{:o} {}", mode & 0o777, path.display());
    }
    // An older buffer, or one that was copied, is closed to others when it is opened.
    let buffer = place.dir().join("state/buffer.db");
    fs::set_permissions(&buffer, fs::Permissions::from_mode(0o644)).unwrap();
    open(&["roll"]).wait();
    assert_eq!(buffer.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_of_secrets_that_everybody_can_read_is_refused() {
    let cloud = Cloud::start(&[]);
    let place = Place::new();
    let file = place.path("credentials.json");
    write(&file, r#"{"serviceAccount":{"keyId":"demo-key","secret":"demo-secret"}}"#);
    let record = |mode: u32| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        place.run(&[
            "record",
            "--project",
            "demo",
            "--for",
            "1s",
            "--api-url",
            &cloud.url,
            "--credentials",
            file.to_str().unwrap(),
        ])
    };
    for mode in [0o644, 0o604] {
        let ran = record(mode);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("chmod 600") && !ran.stderr.contains("demo-secret"), "{}", ran.stderr);
    }
    // A group of its own is how services share one.
    for mode in [0o640, 0o600, 0o400] {
        assert_eq!(record(mode).code, 0);
    }
}

#[test]
fn a_recording_is_never_written_through_a_link() {
    for name in ["state", "state/staging", "data", "data/touch", "state/lock", "state/buffer.db"] {
        let place = Place::new();
        let (link, outside) = (place.dir().join(name), place.path("outside"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let is_file = name.ends_with("lock") || name.ends_with("db");
        if is_file {
            write(&outside, "");
        } else {
            fs::create_dir(&outside).unwrap();
        }
        symlink(&outside, &link).unwrap();
        let ran = place.import(touch("a", 1, 1));
        assert_eq!(ran.code, 1, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(link.to_str().unwrap()) && ran.stderr.contains("link"), "{name}: {}", ran.stderr);
        let written = if is_file { fs::read(&outside).unwrap().len() } else { walk(&outside).len() };
        assert_eq!(written, 0, "{name}");
    }
    // The recording itself may stand on another disk.
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    symlink(place.path("disk"), place.dir()).unwrap();
    assert_eq!(place.import(touch("a", 1, 1)).code, 0);
}

#[test]
fn nothing_that_a_terminal_obeys_and_nothing_that_turns_text_reaches_it_from_others() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{8}\u{7f}\u{202e}gpj\u{2066}\u{200f}";
    let escaped = json!(evil).to_string();
    let escaped = escaped.trim_matches('"').to_owned();
    let event = touch("a", 1, 1).replace("touch", &format!("{escaped}type")).replace("\"d1\"", &format!("\"{escaped}\""));
    let (cloud_event, cloud_evil) = (event.clone(), evil.to_owned());
    let cloud = Fake::start(move |request, stream| {
        let reply = if request.contains("devices:stream") && request.contains("projects/p/") {
            let error = json!({"error": {"code": 13, "message": cloud_evil}});
            answer("200 OK", "", &format!("{{\"result\":{{\"event\":{cloud_event}}}}}\n{cloud_evil}\n{error}\n"))
        } else {
            answer("503 Oh", "", &json!({"error": cloud_evil}).to_string())
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::new();
    let mut said: Vec<Ran> = Vec::new();
    said.push(Running::start(&mut cloud.recorder(&place)).wait());
    said.push(place.run(&["record", "--project", "q", "--max-retries", "0", "--no-backfill", "--api-url", &cloud.url()]));
    said.push(place.import(format!("{event}\n{evil} is no event\n{{\"eventType\":\"{escaped}\"}}\n")));
    write(&place.dir().join(format!("data/{}.txt", evil.replace('/', ""))), "a stranger");
    for arguments in [
        &["status"][..],
        &["gaps"],
        &["verify"],
        &["roll"],
        &["export", "--event-type", "nothing"],
        &["export", "--device", "nobody"],
        &["status", "--json"],
        &["gaps", "--json"],
        &["verify", "--json"],
        &["report", "--json"],
        &["report", "--tz", "UTC", "-o", "-"],
    ] {
        said.push(place.run(arguments));
    }
    assert!(said.iter().any(|ran| ran.stdout.contains("type")), "the names are shown: {said:#?}");
    for ran in said {
        let all = ran.stdout + &ran.stderr;
        let found = all.chars().find(|c| overnight::base::text::is_hidden(*c) && *c != '\n');
        assert_eq!(found, None, "{all:?}");
    }
}

#[test]
fn a_million_types_and_devices_are_bounded_and_the_rest_is_recorded() {
    let place = Place::new();
    let file = place.path("in.ndjson");
    let mut to = std::io::BufWriter::new(fs::File::create(&file).unwrap());
    let (types, devices) = (20_000, 100_000);
    for number in 0..types {
        writeln!(to, "{}", touch("i", 1, 1).replace("\"touch\"", &format!("\"type{number}\""))).unwrap();
    }
    for number in 0..devices {
        let event = touch(&format!("d{number}"), 1, 1).replace("devices/d1", &format!("devices/device{number}"));
        writeln!(to, "{event}").unwrap();
    }
    drop(to);
    let ran = place.run(&["import", file.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let status = place.status();
    let kept = status["partitions"].as_array().unwrap().len();
    assert_eq!(kept, 1001, "a thousand that no schema knows, and one that the cloud has");
    assert_eq!(status["faults"], types - 1000);
    assert_eq!(status["events"], devices + 1000);
    let reasons: Vec<&Value> = status["fault_reasons"].as_array().unwrap().iter().map(|reason| &reason["reason"]).collect();
    assert!(reasons.len() == 1 && reasons[0].as_str().unwrap().contains("1000 event types"), "{reasons:?}");
}

#[test]
#[cfg_attr(not(feature = "reports"), ignore = "asks for what this build is made without")]
fn a_buffer_with_anything_in_it_that_this_program_does_not_make_is_refused_and_left_as_it_is() {
    let place = Place::new();
    assert_eq!(place.import(touch("a", 1, 1)).code, 0);
    let strangers = [
        "CREATE TRIGGER t AFTER INSERT ON block BEGIN DELETE FROM block; END",
        "CREATE TRIGGER t BEFORE DELETE ON fault BEGIN SELECT RAISE(IGNORE); END",
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n",
        // Instead of a table.
        "ALTER TABLE misfit RENAME TO m; CREATE VIEW misfit AS SELECT * FROM m",
        // Of a module that this SQLite is built without.
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'words', 'words', 0, 'CREATE VIRTUAL TABLE words USING fts5(word)')",
        "CREATE INDEX i ON fault (length(raw))",
        "CREATE TABLE strange (x)",
        "ALTER TABLE fault ADD COLUMN twice INTEGER GENERATED ALWAYS AS (length * 2) VIRTUAL",
        "ALTER TABLE fault ADD COLUMN x TEXT CHECK (length(reason) < 2)",
        "DROP TABLE known_device; CREATE TABLE known_device (project TEXT, id TEXT, CHECK (project = 'x'))",
        "ALTER TABLE block ADD COLUMN y BLOB DEFAULT (x'00')",
    ];
    for stranger in strangers {
        let other = Place::new();
        crate::recovery::copy(&place.dir(), &other.dir());
        let path = other.dir().join("state/buffer.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(stranger).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let page = other.path("page.html");
        let mut said = vec![other.import(touch("b", 1, 2))];
        for arguments in
            [&["status"][..], &["gaps"], &["verify"], &["roll"], &["export"], &["report", "-o", page.to_str().unwrap()]]
        {
            said.push(other.run(arguments));
        }
        for ran in said {
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(ran.code == 1 && all.contains("overnight never makes") && all.contains("buffer.db"), "{stranger}: {ran:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{stranger}: it is left as it is");
        assert!(!other.dir().join("state/damaged").exists(), "{stranger}");
    }
    // What people do to any database is no attack.
    let db = rusqlite::Connection::open(place.dir().join("state/buffer.db")).unwrap();
    db.execute_batch("ANALYZE; VACUUM").unwrap();
    drop(db);
    assert_eq!(place.import(touch("b", 1, 2)).code, 0);
}

/// Gets the recording and its settings.
type Spoil = fn(&Path, &Path);

#[test]
fn credentials_go_where_settings_say_only_if_nobody_else_can_write_them() {
    let refusing = || Fake::start(|_, stream| drop(stream.write_all(answer("403 No", "", "{}").as_bytes())));
    let record = |place: &Place, more: &[&str]| {
        place.run(&[&["record", "--project", "p", "--max-retries", "0", "--no-backfill"], more].concat())
    };
    for key in ["api_url", "token_url"] {
        let cloud = refusing();
        let settings = format!("{key} = \"{}\"\n", cloud.url());
        let strangers: [(&str, Spoil); 5] = [
            ("a file that others can write", |_, file| fs::set_permissions(file, fs::Permissions::from_mode(0o602)).unwrap()),
            ("a file that a group can write", |_, file| fs::set_permissions(file, fs::Permissions::from_mode(0o660)).unwrap()),
            ("a folder that others can write", |dir, _| fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap()),
            ("a link", |dir, file| {
                let elsewhere = dir.parent().unwrap().join("elsewhere.toml");
                fs::rename(file, &elsewhere).unwrap();
                symlink(elsewhere, file).unwrap();
            }),
            // As root alone can make it.
            ("of another user", |dir, file| {
                let is_done = std::os::unix::fs::chown(file, Some(12345), None).is_ok();
                let mode = if is_done { 0o700 } else { 0o777 };
                fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
            }),
        ];
        for (what, make) in strangers {
            let place = Place::new();
            fs::create_dir(place.dir()).unwrap();
            fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
            let file = place.dir().join("overnight.toml");
            write(&file, &settings);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            make(&place.dir(), &file);
            for ran in [record(&place, &[]), place.run(&["backfill", "--project", "p", "--since", "1h"])] {
                let flag = format!("--{}", key.replace('_', "-"));
                // A link is not even opened, whatever flags say.
                let why = if what == "a link" { "it is a link" } else { &flag };
                assert!(ran.code == 1 && ran.stderr.contains(why) && ran.stderr.contains("overnight.toml"), "{what}: {ran:?}");
            }
            assert_eq!(cloud.heard().len(), 0, "{key}, {what}");
            if what == "a link" {
                continue;
            }
            // Whoever says it by hand is asked for no more.
            let other = refusing();
            record(&place, &["--api-url", &other.url(), "--token-url", &other.url()]);
            assert!(cloud.heard().is_empty() && !other.heard().is_empty(), "{key}, {what}");
        }
    }
    // Those of the owner count, and it is told where they lead.
    let (cloud, place) = (refusing(), Place::new());
    fs::create_dir(place.dir()).unwrap();
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = place.dir().join("overnight.toml");
    write(&file, format!("api_url = \"{}\"\n", cloud.url()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = record(&place, &[]);
    let host = cloud.url().strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    assert!(!cloud.heard().is_empty() && ran.stderr.starts_with(&format!("overnight: credentials go to {host}\n")), "{ran:?}");
    // The token endpoint of the credentials comes before that of the settings.
    let (stranger, named) = (refusing(), refusing());
    write(&file, format!("token_url = \"{}\"\n", stranger.url()));
    let credentials = place.path("credentials.json");
    let account = json!({"keyId": "k", "secret": "demo-secret", "email": EMAIL, "tokenEndpoint": named.url()});
    write(&credentials, json!({"serviceAccount": account}).to_string());
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    record(&place, &["--api-url", &cloud.url(), "--credentials", credentials.to_str().unwrap()]);
    assert!(stranger.heard().is_empty() && !named.heard().is_empty());
}

/// A text in the ways in which servers write what they were sent.
fn in_all_writings(text: &str) -> Vec<String> {
    let each = |write: &dyn Fn(u8) -> String| text.bytes().map(write).collect::<String>();
    let unless_plain =
        |byte: u8, escape: String| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { escape };
    vec![
        text.trim_end_matches('=').to_owned(),
        each(&|byte| unless_plain(byte, format!("%{byte:02X}"))),
        each(&|byte| format!("%{byte:02x}")),
        each(&|byte| unless_plain(byte, format!("&#{byte};"))),
        each(&|byte| format!("&#x{byte:x};")),
        each(&|byte| unless_plain(byte, format!("\\u{byte:04x}"))),
        each(&|byte| format!("\\u{byte:04X}")),
    ]
}

#[test]
fn an_echo_of_a_secret_in_any_writing_is_masked_in_errors_and_faults() {
    // Its base64 has padding, a plus and a slash.
    let secret = "h?~>~?unter<2&\"'~~?/>";
    let basic = STANDARD.encode(format!("key:{secret}"));
    assert!(basic.ends_with('=') && basic.contains(['+', '/']), "{basic}");
    let written: Vec<String> = [&basic, secret].into_iter().flat_map(in_all_writings).collect();
    let echoes = written.clone();
    let cloud = Fake::start(move |request, stream| {
        let reply = if request.contains("projects/p/devices:stream") {
            answer("200 OK", "", &echoes.iter().map(|echo| format!("no event: {echo}\n")).collect::<String>())
        } else {
            let said = request.split("projects/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
            answer("403 No", "", &format!("you sent {}", echoes[said.parse::<usize>().unwrap()]))
        };
        drop(stream.write_all(reply.as_bytes()));
    });
    let place = Place::new();
    let mut said = Vec::new();
    let projects: Vec<String> = (0..written.len()).map(|number| number.to_string()).chain(["p".to_owned()]).collect();
    for project in &projects {
        let mut command = overnight();
        command.args(["record", "--project", project, "--max-retries", "0", "--no-backfill", "--api-url", &cloud.url(), "--dir"]);
        command.arg(place.dir()).env("DT_SERVICE_ACCOUNT_KEY_ID", "key").env("DT_SERVICE_ACCOUNT_SECRET", secret);
        let ran = Running::start(&mut command).wait();
        assert!(project == "p" || ran.stderr.contains("***"), "{project}: {}", ran.stderr);
        said.push(ran.stderr);
    }
    said.push(place.run(&["faults", "list", "--json"]).stdout);
    assert!(place.status()["faults"].as_u64().unwrap() >= written.len() as u64, "{said:?}");
    for path in walk(place.folder.path()).into_iter().filter(|path| path.is_file()) {
        said.push(String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    }
    for echo in &written {
        assert_eq!(said.iter().find(|said| said.contains(echo.as_str())), None, "{echo}");
    }
}

#[test]
fn no_help_and_no_error_shows_a_password_of_an_address() {
    let place = Place::new();
    for verb in ["record", "backfill"] {
        for address in
            ["https://someone:hunter2@example.org", "no address://someone:hunter2@example.org", "someone:hunter2@example.org"]
        {
            for arguments in
                [&[verb, "--help"][..], &[verb, "-h"], &[verb, "--project", "p", "--since", "1h"], &[verb, "--project", "p"]]
            {
                if address.starts_with("https")
                    && !arguments.iter().any(|argument| argument.starts_with("-h") || *argument == "--help")
                {
                    continue;
                }
                let mut command = overnight();
                command.args(arguments).env("DT_API_URL", address).env("DT_TOKEN_URL", address).arg("--dir").arg(place.dir());
                let ran = Running::start(&mut command).wait();
                assert!(!format!("{ran:?}").contains("hunter2"), "{arguments:?}: {ran:?}");
            }
        }
    }
}
