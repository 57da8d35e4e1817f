//! What bad input must never do, a function a target: it takes any bytes and fails loudly when the rule above it is broken.
//!
//! Shared by `tests/it/fuzz.rs`, which runs them for seconds in every test run, and by the package beside this file, which
//! runs them for as long as one likes: `tests/fuzz/nightly 10`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use overnight::base::time::{self, Day, SECOND, rfc3339};
use overnight::cloud::push::{About, SignatureError, Verifier};
use overnight::model::decode::{Collector, Found};
use overnight::model::event::{LABELS_MAX, Partition, Source};
use overnight::model::framing::{Frame, Frames};
use overnight::model::layout::Layout;
use overnight::model::schema::{Rebuild, Registry};
use overnight::model::settings::{self, Credentials, Secret};
use overnight::recorder::{Input, NoEvents};
use overnight::store::archive::DayFile;
use sha2::Sha256;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("json_lines", json_lines),
    ("server_sent_events", server_sent_events),
    ("event", event),
    ("input", input),
    ("schema_file", schema_file),
    ("push", push),
    ("signature", signature),
    ("day_file", day_file),
    ("settings", settings_and_times),
    ("names", names),
];

/// JSON lines are what splitting at line ends gives, however the bytes come in pieces, and nothing grows without bound.
pub fn json_lines(data: &[u8]) {
    let Some((cuts, most, bytes)) = stream(data) else { return };
    let mut expected = Vec::new();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last line end is not yet a line.
    lines.pop();
    for line in lines {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if line.len() > most {
            expected.push(Seen::TooLong(line[..most].to_owned(), line.len() as u64));
        } else if !line.trim_ascii().is_empty() {
            expected.push(Seen::Line(line.strip_suffix(b"\r").unwrap_or(line).to_owned()));
        }
    }
    same_on_every_split(|| Frames::lines().up_to(most), most, bytes, cuts, &expected);
}

/// Server-Sent Events are what the standard says, however the bytes come in pieces, and nothing grows without bound.
pub fn server_sent_events(data: &[u8]) {
    let Some((cuts, most, bytes)) = stream(data) else { return };
    // A CR at the very end may be half of a CRLF: either way one line end.
    let text = bytes;
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\r' | b'\n' => {
                at += usize::from(text[at] == b'\r' && text.get(at + 1) == Some(&b'\n'));
                lines.push(Vec::new());
            }
            byte => lines.last_mut().unwrap().push(byte),
        }
        at += 1;
    }
    lines.pop();
    let (mut expected, mut parts) = (Vec::new(), Vec::new());
    for line in &lines {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if line.is_empty() {
            let data = parts.join(&b'\n');
            parts.clear();
            if data.len() > most {
                expected.push(Seen::TooLong(data[..most].to_owned(), data.len() as u64));
            } else if !data.trim_ascii().is_empty() {
                expected.push(Seen::Line(data));
            }
        } else if line == b"data" {
            parts.push(Vec::new());
        } else if let Some(value) = line.strip_prefix(b"data:") {
            parts.push(value.strip_prefix(b" ").unwrap_or(value).to_owned());
        }
    }
    same_on_every_split(|| Frames::events().up_to(most), most, bytes, cuts, &expected);
}

/// A line is an event, a ping, the cloud's error or a fault with its bytes and its reason; what has id, type and time is an
/// event; and an event comes back as the JSON that it was.
pub fn event(data: &[u8]) {
    if data.trim_ascii().is_empty() {
        return;
    }
    let registry = registry();
    let mut collector = Collector::new(Arc::clone(&registry), Source::Stream);
    let found = collector.add(&Frame::Line(data), 5);
    let batch = collector.take().unwrap();
    // An event may be as deep as JSON may be, without its envelope.
    let parsed = std::str::from_utf8(data).ok().and_then(|text| Json::read_to(text, 130));
    match found {
        Found::Event => {
            assert_eq!((batch.events(), batch.parts.len(), batch.faults.len()), (1, 1, 0));
            let (partition, rows) = &batch.parts[0];
            let event = parsed.as_ref().map(Json::event).expect("an event that is no JSON");
            let mut out = Vec::new();
            Rebuild::new(&registry.get(&partition.event_type), rows).unwrap().write(0, &mut out);
            let back = std::str::from_utf8(&out).unwrap();
            assert_eq!(Json::read(back).as_ref(), Some(event), "came back as {back}");
            assert!(!out.contains(&b'\n') && !out.contains(&b'\r'), "an event stands on one line");
            // And what came back is the same event again.
            assert_eq!(collector.add(&Frame::Line(&out), 5), Found::Event, "{back}");
            assert_eq!(&collector.take().unwrap().parts[0].0, partition);
        }
        Found::Fault => {
            assert_eq!((batch.events(), batch.faults.len()), (0, 1));
            let fault = &batch.faults[0];
            assert_eq!((fault.raw.as_slice(), fault.length), (data, data.len() as u64));
            assert!(!fault.reason.is_empty() && !fault.reason.chars().any(char::is_control), "{:?}", fault.reason);
            let usual = std::str::from_utf8(data).ok().and_then(Json::read);
            let event = usual.as_ref().map(Json::event);
            assert!(!event.is_some_and(Json::is_event), "refused because of {:?}", fault.reason);
        }
        Found::Ping | Found::Error(_) => {
            assert!(batch.is_empty());
            let event = parsed.as_ref().map(Json::event).expect("no JSON");
            assert!(found == Found::Ping || !event.is_event());
        }
    }
}

/// An input is read to its end or to an error in words, or refused by name; behind a whole event it is never refused.
pub fn input(data: &[u8]) {
    match Input::open(data) {
        Ok(mut input) => drop(std::io::copy(&mut input, &mut std::io::sink()).map_err(|error| error.to_string())),
        Err(NoEvents::Other(what)) => assert!(!what.is_empty()),
        Err(NoEvents::Read(error)) => assert!(!error.to_string().is_empty()),
    }
    let behind = [b"{\"eventId\":\"a\"}\n".as_slice(), data].concat();
    let mut whole = Vec::new();
    Input::open(behind.as_slice()).unwrap().read_to_end(&mut whole).unwrap();
    assert_eq!(whole, behind);
}

/// A schema file is refused with a reason that names it, or events can be collected along it and come back.
pub fn schema_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("folder/some.toml");
    let mut registry = (*registry()).clone();
    let schema = match registry.add(text, path) {
        Ok(schema) => schema,
        Err(error) => {
            assert!(error.to_string().contains("folder/some.toml") && !error.what.trim().is_empty(), "{error}");
            return;
        }
    };
    let table: toml::Table = text.parse().unwrap();
    let pointer = |key: &str| table["event"].get(key).and_then(toml::Value::as_str).map(str::trim);
    let mut event = serde_json::json!({});
    let mut put = |pointer: &str, value: serde_json::Value| {
        let keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"));
        let mut place = &mut event;
        for key in keys {
            place = &mut place[key];
        }
        *place = value;
    };
    put("/eventType", schema.name.as_str().into());
    put(pointer("device").unwrap_or("/targetName"), "projects/p/devices/d".into());
    for column in &schema.columns {
        let value = match column.kind.name() {
            "string" => "text".into(),
            "bool" => true.into(),
            "int64" => 7.into(),
            "float64" => 7.5.into(),
            "timestamp" => "2026-10-01T00:00:00.000001Z".into(),
            "json" => serde_json::json!({"a": [1, null]}),
            _ => serde_json::json!([{}, 1, null]),
        };
        put(&column.pointer, value);
    }
    for implied in table["event"].get("implied").and_then(toml::Value::as_array).into_iter().flatten() {
        put(implied.as_str().unwrap(), "2026-10-01T00:00:00.000000Z".into());
    }
    put(pointer("id").unwrap(), "id".into());
    put(pointer("time").unwrap(), "2026-10-01T00:00:00.000000Z".into());
    let text = event.to_string();
    let mut collector = Collector::new(Arc::new(registry), Source::Import);
    let found = collector.add(&Frame::Line(text.as_bytes()), 5);
    if schema.name == "ping" {
        return;
    }
    let batch = collector.take().unwrap();
    assert_eq!(found, Found::Event, "{text} is no event: {:?}", batch.faults);
    let mut out = Vec::new();
    Rebuild::new(&schema, &batch.parts[0].1).unwrap().write(0, &mut out);
    let back = std::str::from_utf8(&out).unwrap();
    assert_eq!(Json::read(back), Json::read(&text), "{text} came back as {back}");
}

/// The secret that good signatures are made with.
pub const SECRET: &str = "hunter2-signs";
/// When good signatures are good.
pub const NOW: i64 = 1_700_000_000;

/// A push is believed only with a signature of its very bytes; what it says of its device is something that the database
/// takes. The first line is the header, the rest the body.
pub fn push(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let trust = Verifier::Signed(vec![Secret::new("another"), Secret::new(SECRET)]);
    if let Ok(voucher) = trust.verify(Some(header), NOW * SECOND) {
        let header = std::str::from_utf8(header).unwrap().trim();
        assert!(is_signed(header), "{header} is believed");
        if voucher.check(body).is_ok() {
            let claims = URL_SAFE_NO_PAD.decode(header.split('.').nth(1).unwrap()).unwrap();
            let claims = String::from_utf8_lossy(&claims).to_lowercase();
            assert!(claims.contains(&sum(body)), "a body that nobody signed");
        }
    }
    let Some(about) = About::read(body) else { return };
    let Some(device) = about.device() else { return };
    assert!(!device.id.is_empty() && !device.project.is_empty());
    let labels: BTreeMap<String, String> = serde_json::from_str(&device.labels).unwrap();
    assert!(labels.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>() <= LABELS_MAX);
    // As the buffer adds them to what is known.
    thread_local! {
        static DB: rusqlite::Connection = rusqlite::Connection::open_in_memory().unwrap();
    }
    let merged: String = DB.with(|db| {
        let sql = "SELECT json_patch('{\"a\":\"b\"}', ?)";
        db.query_row(sql, [&device.labels], |row| row.get(0)).unwrap_or_else(|error| panic!("{error}: {}", device.labels))
    });
    assert!(merged.starts_with('{'));
}

/// Claims that are signed with the secret are read without a fault of the program, whatever they say.
pub fn signature(data: &[u8]) {
    let trust = Verifier::Signed(vec![Secret::new(SECRET)]);
    let signed = sign(br#"{"alg":"HS256","typ":"JWT"}"#, data);
    match trust.verify(Some(signed.as_bytes()), NOW * SECOND) {
        Ok(voucher) => {
            #[derive(serde::Deserialize)]
            struct Claims {
                checksum_sha256: String,
            }
            let claims: Claims = serde_json::from_slice(data).unwrap();
            let expected = claims.checksum_sha256.eq_ignore_ascii_case(&sum(b"body"));
            assert_eq!(voucher.check(b"body").is_ok(), expected);
        }
        Err(why) => assert!(matches!(why, SignatureError::Malformed | SignatureError::Stale | SignatureError::Early), "{why}"),
    }
    // And as a header, as a whole token, and with one that is good.
    let odd = sign(data, br#"{"checksum_sha256":"","exp":1700000000,"iat":1700000000}"#);
    drop(trust.verify(Some(odd.as_bytes()), NOW * SECOND));
    if let Ok(text) = std::str::from_utf8(data)
        && trust.verify(Some(data), NOW * SECOND).is_ok()
    {
        assert!(is_signed(text.trim()));
    }
    assert!(Verifier::Everybody.verify(Some(data), NOW * SECOND).unwrap().check(data).is_ok());
}

/// Bytes that are taken for a day file are refused with an error that names the file, or read, row by row, to an end.
pub fn day_file(data: &[u8]) {
    let path = scratch("day");
    std::fs::write(&path, data).unwrap();
    let named = |error: &dyn std::fmt::Display| {
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()), "an error that names no file: {text}");
    };
    let file = match DayFile::open(&path) {
        Ok(file) => file.expect("the file is there"),
        Err(error) => return named(&error),
    };
    let schema = registry().get(&file.footer().partition.event_type);
    let groups: Vec<_> = (0..file.groups()).collect();
    let mut budget = 1_000_000;
    for group in &groups {
        file.group_times(*group);
        if let Err(error) = file.keys(*group, |times, _| budget -= times.len().min(budget)) {
            named(&error);
        }
    }
    match file.runs(&groups, &schema) {
        Err(error) => named(&error),
        Ok(runs) => {
            for batch in runs.into_iter().flatten() {
                match batch {
                    // A damaged file may promise more rows than anybody can wait for.
                    Ok(rows) => budget -= rows.num_rows().min(budget),
                    Err(error) => {
                        named(&error);
                        break;
                    }
                }
                if budget == 0 {
                    break;
                }
            }
        }
    }
}

/// Settings, times and credentials are read or refused; what is read can be written and read again, and no secret is quoted.
pub fn settings_and_times(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(duration) = settings::duration(text) {
        assert!(duration <= Duration::from_hours(100 * 366 * 24), "{text} is {duration:?}");
        // Whatever is waited for can be waited for.
        let _later = time::instant() + duration;
        let micros = duration.as_micros();
        let written = format!("{}s{}ms", micros / 1_000_000, f64::from(u32::try_from(micros % 1_000_000).unwrap()) / 1000.0);
        let again = settings::duration(&written).unwrap();
        assert!(again.abs_diff(duration) < Duration::from_micros(2), "{text} is {duration:?}, {written} is {again:?}");
    }
    if let Some(day) = Day::parse(text) {
        assert_eq!(day.to_string(), text);
    }
    if let Some(parsed) = time::parse_rfc3339(data) {
        let written = rfc3339(parsed.time);
        assert_eq!(time::parse_rfc3339(written.as_bytes()).map(|again| again.time), Some(parsed.time));
        assert_eq!(parsed.canonical, written == text);
    }
    drop(toml::from_str::<settings::File>(text));
    let place = scratch("settings");
    std::fs::write(&place, data).unwrap();
    if let Err(error) = Credentials::find(Some(&place), |_| None) {
        let error = error.to_string();
        assert!(error.contains(place.to_str().unwrap()) && !error.contains("hunter2"), "{error}");
    }
    if let Err(error) = settings::File::read(&place) {
        assert!(error.to_string().contains(place.to_str().unwrap()));
    }
}

/// An event type is never a path, and two event types never share a folder, not even where file names have no case. One name
/// a line.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let layout = Layout::new(Path::new("rec"));
    let mut folders: HashSet<String> = HashSet::new();
    let names: HashSet<&str> = text.split('\n').filter(|name| !name.is_empty()).collect();
    let plain: HashSet<String> =
        names.iter().filter(|name| layout.folder(name) == layout.data().join(name)).map(|name| name.to_lowercase()).collect();
    for name in names {
        let folder = layout.folder(name);
        assert_eq!(folder.parent(), Some(layout.data().as_path()));
        let last = folder.file_name().unwrap().to_str().unwrap();
        assert!(last.len() <= 120 && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_%~".contains(&byte)), "{last}");
        assert!(!last.starts_with(['-', '_', '.', '~']), "{last}");
        let is_plain = last == name;
        // Of several spellings that keep their names the registry lets one in.
        let fresh = folders.insert(last.to_lowercase());
        assert!(fresh || is_plain && plain.contains(&last.to_lowercase()), "{name:?} shares {last}");
        let partition = Partition { event_type: name.into(), day: Day(20_000) };
        for path in [layout.day_file(&partition), layout.staged(&partition)] {
            assert!(path.file_name().unwrap().len() < 160 && path.components().all(|part| part.as_os_str() != ".."));
        }
    }
}

/// What a reader of a stream handed on.
#[derive(Debug, PartialEq)]
enum Seen {
    Line(Vec<u8>),
    TooLong(Vec<u8>, u64),
}

/// The first two bytes say where the rest is cut and how long a line may be.
fn stream(data: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (head, bytes) = data.split_first_chunk::<2>()?;
    let most = if head[1] < 128 { usize::from(head[1]) + 1 } else { overnight::model::framing::LINE_MAX };
    Some((u64::from(head[0]), most, bytes))
}

fn same_on_every_split(frames: impl Fn() -> Frames, most: usize, bytes: &[u8], cuts: u64, expected: &[Seen]) {
    let mut random = fastrand::Rng::with_seed(cuts);
    let read = |pieces: &mut dyn FnMut(&[u8]) -> usize| {
        let (mut frames, mut seen, mut rest) = (frames(), Vec::new(), bytes);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces(rest).clamp(1, rest.len()));
            frames.feed(piece, &mut |frame| {
                seen.push(match frame {
                    Frame::Line(line) => Seen::Line(line.to_owned()),
                    Frame::TooLong(head, length) => Seen::TooLong(head.to_owned(), length),
                });
            });
            assert!(frames.held() <= 2 * most + 16, "{} bytes wait for a line of at most {most}", frames.held());
            rest = after;
        }
        seen
    };
    for (how, seen) in
        [("whole", read(&mut <[u8]>::len)), ("byte by byte", read(&mut |_| 1)), ("in pieces", read(&mut |_| random.usize(1..12)))]
    {
        assert_eq!(seen, expected, "{how}");
    }
}

/// The schemas; new ones now and then, since a recording lets in a thousand types without a schema, and a thousand odd days.
fn registry() -> Arc<Registry> {
    thread_local! {
        static HELD: RefCell<(u32, Option<Arc<Registry>>)> = const { RefCell::new((0, None)) };
    }
    HELD.with_borrow_mut(|(uses, registry)| {
        if uses.is_multiple_of(900) {
            *registry = Some(Arc::new(Registry::built_in().unwrap()));
        }
        *uses += 1;
        registry.clone().unwrap()
    })
}

/// A file that only this thread writes; in memory where there is such a place, since thousands are written.
fn scratch(name: &str) -> PathBuf {
    thread_local! {
        static PLACE: tempfile::TempDir = {
            let memory = Path::new("/dev/shm");
            tempfile::tempdir_in(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }).unwrap()
        };
    }
    PLACE.with(|place| place.path().join(name))
}

/// A token signed with [`SECRET`].
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn is_signed(token: &str) -> bool {
    let Some((signed, tag)) = token.rsplit_once('.') else { return false };
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(signed);
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()) == tag
}

/// SHA-256 in hex.
pub fn sum(bytes: &[u8]) -> String {
    use sha2::Digest;
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// A JSON value that keeps what other readers throw away: digits beyond a double, doubled keys, half surrogate pairs. A
/// reader of its own, so that the product's is not held against itself.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    /// Minus, digits without zeros around them, power of ten of the last digit.
    Number(bool, String, i64),
    Text(Vec<u16>),
    List(Vec<Json>),
    /// Sorted by key, in order where a key stands twice.
    Object(Vec<(Vec<u16>, Json)>),
}

impl Json {
    /// As deep as most readers of JSON go.
    fn read(text: &str) -> Option<Self> {
        Self::read_to(text, 127)
    }

    fn read_to(text: &str, depth: usize) -> Option<Self> {
        let mut bytes = text.as_bytes();
        let value = Self::value(&mut bytes, depth)?;
        space(&mut bytes);
        bytes.is_empty().then_some(value)
    }

    fn value(rest: &mut &[u8], left: usize) -> Option<Self> {
        space(rest);
        let first = *rest.first()?;
        if matches!(first, b'{' | b'[') && left == 0 {
            return None;
        }
        match first {
            b'{' => {
                *rest = &rest[1..];
                let mut members = Vec::new();
                space(rest);
                if rest.first() == Some(&b'}') {
                    *rest = &rest[1..];
                    return Some(Self::Object(members));
                }
                loop {
                    space(rest);
                    let key = string(rest)?;
                    space(rest);
                    *rest = rest.strip_prefix(b":")?;
                    members.push((key, Self::value(rest, left - 1)?));
                    space(rest);
                    let (next, after) = rest.split_first()?;
                    *rest = after;
                    match next {
                        b',' => {}
                        b'}' => break,
                        _ => return None,
                    }
                }
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Some(Self::Object(members))
            }
            b'[' => {
                *rest = &rest[1..];
                let mut list = Vec::new();
                space(rest);
                if rest.first() == Some(&b']') {
                    *rest = &rest[1..];
                    return Some(Self::List(list));
                }
                loop {
                    list.push(Self::value(rest, left - 1)?);
                    space(rest);
                    let (next, after) = rest.split_first()?;
                    *rest = after;
                    match next {
                        b',' => {}
                        b']' => return Some(Self::List(list)),
                        _ => return None,
                    }
                }
            }
            b'"' => string(rest).map(Self::Text),
            b'-' | b'0'..=b'9' => number(rest),
            _ => {
                for (word, value) in [("true", Self::Bool(true)), ("false", Self::Bool(false)), ("null", Self::Null)] {
                    if let Some(after) = rest.strip_prefix(word.as_bytes()) {
                        *rest = after;
                        return Some(value);
                    }
                }
                None
            }
        }
    }

    fn get(&self, key: &str) -> Vec<&Self> {
        let key: Vec<u16> = key.encode_utf16().collect();
        match self {
            Self::Object(members) => members.iter().filter(|member| member.0 == key).map(|member| &member.1).collect(),
            _ => Vec::new(),
        }
    }

    /// The event in a line, as `{"result":{"event":…}}`, `{"event":…}` or bare.
    fn event(&self) -> &Self {
        let object = |key: &str| self.get(key).into_iter().rfind(|value| matches!(value, Self::Object(_)));
        if !self.get("eventId").is_empty() || !self.get("eventType").is_empty() {
            return self;
        }
        object("result").map(Self::event).or_else(|| object("event")).unwrap_or(self)
    }

    /// What has each of id, type and time, once and whole, is an event.
    fn is_event(&self) -> bool {
        let text = |key: &str| match self.get(key).as_slice() {
            [Self::Text(text)] => String::from_utf16(text).ok().filter(|text| !text.is_empty()),
            _ => None,
        };
        let time = text("timestamp").and_then(|text| time::parse_rfc3339(text.as_bytes()));
        text("eventId").is_some() && text("eventType").is_some_and(|name| name.len() < 10_000) && time.is_some()
    }
}

fn space(rest: &mut &[u8]) {
    while let Some((b' ' | b'\t' | b'\n' | b'\r', after)) = rest.split_first() {
        *rest = after;
    }
}

fn number(rest: &mut &[u8]) -> Option<Json> {
    let minus = next_is(rest, b"-");
    let whole = digits(rest);
    if whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let mut fraction = "";
    if next_is(rest, b".") {
        fraction = digits(rest);
        if fraction.is_empty() {
            return None;
        }
    }
    let mut power = 0;
    if next_is(rest, b"eE") {
        let below = rest.first() == Some(&b'-');
        next_is(rest, b"+-");
        let text = digits(rest);
        if text.is_empty() {
            return None;
        }
        // Beyond any number there is; only equality matters.
        power = text.parse::<i64>().unwrap_or(1 << 40).min(1 << 40) * if below { -1 } else { 1 };
    }
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    let zeros = i64::try_from(significant.len() - trimmed.len()).unwrap();
    let power = power + zeros - i64::try_from(fraction.len()).unwrap();
    Some(Json::Number(minus, trimmed.to_owned(), if trimmed.is_empty() { 0 } else { power }))
}

/// True, and past it, when one of these bytes comes next.
fn next_is(rest: &mut &[u8], any: &[u8]) -> bool {
    let hit = rest.first().is_some_and(|byte| any.contains(byte));
    *rest = &rest[usize::from(hit)..];
    hit
}

fn digits<'a>(rest: &mut &'a [u8]) -> &'a str {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (found, after) = rest.split_at(end);
    *rest = after;
    std::str::from_utf8(found).unwrap()
}

fn string(rest: &mut &[u8]) -> Option<Vec<u16>> {
    *rest = rest.strip_prefix(b"\"")?;
    let (mut units, mut plain) = (Vec::new(), Vec::new());
    let flush = |plain: &mut Vec<u8>, units: &mut Vec<u16>| {
        units.extend(std::str::from_utf8(plain).unwrap().encode_utf16());
        plain.clear();
    };
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        match byte {
            b'"' => {
                flush(&mut plain, &mut units);
                return Some(units);
            }
            0..=0x1f => return None,
            b'\\' => {
                flush(&mut plain, &mut units);
                let (escape, after) = rest.split_first()?;
                *rest = after;
                units.push(match escape {
                    b'"' | b'\\' | b'/' => u16::from(*escape),
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => 10,
                    b'r' => 13,
                    b't' => 9,
                    b'u' => {
                        let hex = rest.get(..4).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
                        *rest = &rest[4..];
                        u16::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()
                    }
                    _ => return None,
                });
            }
            byte => plain.push(*byte),
        }
    }
}
