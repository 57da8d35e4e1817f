//! The cloud's event history and device list: requests, pages, and the pace and the room that they are given.
//!
//! A page is read once, and its events are handed on as they stand in it. One that does not fit is asked for again with fewer
//! entries, down to a single one.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::base::time::{self, Micros, rfc3339};
use crate::model::event::DeviceRow;
use crate::model::settings::{Filters, Mask};

use super::client::{Cloud, CloudFailure};

/// Events asked for in one page; the largest page that is known to work.
const PAGE: usize = 1000;
/// Devices asked for in one page.
const DEVICES_PAGE: usize = 100;
/// Devices of one project: more is a list that does not end.
const DEVICES_MAX: usize = 100_000;
/// MiB that all device lists take which are being read.
const DEVICES_MIB: usize = 64;
/// Most MiB of a page: eight times what a full one has as a rule.
const PAGE_MIB: usize = 4;
const PAGE_BYTES: usize = PAGE_MIB * 1024 * 1024;
/// Pages in memory at once, of all that ask one cloud.
const PAGES: usize = 4;
/// Pages in one walk: more is a history that does not end.
const WALK_PAGES: usize = 100_000;
/// Longest page token, in bytes.
const TOKEN_MAX: usize = 4096;
/// Longest id, type or product number of a device, in bytes.
const WORD_MAX: usize = 256;
/// Longest JSON of a device's labels, in bytes.
const LABELS_MAX: usize = 16 * 1024;
/// Requests a second that the cloud allows, and how many at once after a pause (25 in 5 s).
const PACE: (f64, f64) = (5.0, 20.0);

/// A page of the device list.
#[derive(Debug)]
pub struct Devices {
    /// The devices.
    pub devices: Vec<DeviceRow>,
    /// Entries that are no device and are left out, or whose labels are too large and are.
    pub faulty: usize,
    /// The next page; none at the end.
    pub next: Option<Next>,
}

/// A page of a device's history. It holds its part of the budget for as long as it is there, so a walk lets go of one before it
/// asks for the next.
#[derive(Debug)]
pub struct Page {
    /// The list of entries, as JSON; empty when the answer has none.
    list: Bytes,
    /// The next page; none at the end.
    pub next: Option<Next>,
    /// What the server was sent, and may say back in its events.
    pub mask: Mask,
    _room: Option<OwnedSemaphorePermit>,
}

impl Page {
    /// The events' JSON, newest first, each as it stands in the answer.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.list.strip_prefix(b"[").unwrap_or_default();
        std::iter::from_fn(move || {
            // The list was read as a whole already: what is no value is its end.
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            let event = values.next()?.ok()?;
            rest = rest[values.byte_offset()..].trim_ascii_start().strip_prefix(b",").unwrap_or_default();
            Some(event.get())
        })
    }
}

/// How a walk goes on behind a page.
#[derive(Debug)]
pub struct Next {
    token: String,
    size: usize,
}

/// A walk over pages, and where it stands; by default before the first one.
#[derive(Debug, Default)]
pub struct Walk {
    token: Option<String>,
    /// Entries to ask for; none: as many as are known to work.
    size: Option<usize>,
    /// Hashes of the tokens so far.
    seen: HashSet<u64>,
}

impl Walk {
    /// Goes on to the next page.
    ///
    /// # Errors
    /// When the walk was there before, or does not end.
    pub fn follow(&mut self, next: Next) -> Result<(), CloudFailure> {
        if !self.seen.insert(self.seen.hasher().hash_one(&next.token)) {
            return Err(CloudFailure::Unfit("the cloud's pages go in a circle".to_owned()));
        }
        if self.seen.len() >= WALK_PAGES {
            return Err(CloudFailure::Unfit(format!("the cloud gives more than {WALK_PAGES} pages")));
        }
        (self.token, self.size) = (Some(next.token), Some(next.size));
        Ok(())
    }

    /// Whether a failure can mean that the cloud knows the walk's token no longer, so that the walk has to begin anew.
    pub fn has_expired(&self, failure: &CloudFailure) -> bool {
        self.token.is_some() && failure.status() == Some(400)
    }
}

/// Lets requests through at the pace that the cloud allows, and pages into memory as far as there is room. Shared by all that
/// ask one cloud.
#[derive(Debug)]
pub struct Pace {
    state: Mutex<(f64, Instant)>,
    room: Arc<Semaphore>,
    /// Bytes of the device lists that are being read.
    listed: AtomicUsize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { state: Mutex::new((PACE.1, time::instant())), room: Arc::new(Semaphore::new(PAGES)), listed: AtomicUsize::new(0) }
    }
}

impl Pace {
    /// Waits for the next request's turn.
    async fn turn(&self) {
        let mut state = self.state.lock().await;
        let now = time::instant();
        let allowance = (state.0 + (now - state.1).as_secs_f64() * PACE.0).min(PACE.1);
        *state = (allowance - 1.0, now);
        if allowance < 1.0 {
            // The lock is held meanwhile: turns come one after the other.
            tokio::time::sleep(Duration::from_secs_f64((1.0 - allowance) / PACE.0)).await;
            *state = (0.0, time::instant());
        }
    }

    /// Waits for room for a page, and for the turn to ask for it. Never none: nobody closes the room.
    async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        self.turn().await;
        room
    }
}

/// A device list as far as it was read, with its part of the room that all of them share until it is dropped.
#[derive(Debug)]
pub struct Listing<'p> {
    pace: &'p Pace,
    bytes: usize,
    /// The devices so far.
    pub devices: Vec<DeviceRow>,
}

impl<'p> Listing<'p> {
    /// Of nothing yet.
    pub fn new(pace: &'p Pace) -> Self {
        Self { pace, bytes: 0, devices: Vec::new() }
    }

    /// Takes the devices of a page.
    ///
    /// # Errors
    /// When these are too many, or all lists that are being read take too much memory.
    pub fn extend(&mut self, devices: Vec<DeviceRow>) -> Result<(), CloudFailure> {
        let texts = |device: &DeviceRow| {
            let DeviceRow { project, id, kind, product_number, labels } = device;
            project.len() + id.len() + kind.len() + product_number.len() + labels.len()
        };
        let bytes: usize = devices.iter().map(|device| size_of::<DeviceRow>() + texts(device)).sum();
        self.bytes += bytes;
        let all = self.pace.listed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.devices.len() + devices.len() > DEVICES_MAX || all > DEVICES_MIB * 1024 * 1024 {
            let text = format!("the cloud lists more than {DEVICES_MAX} devices, or {DEVICES_MIB} MiB of them");
            return Err(CloudFailure::Unfit(text));
        }
        self.devices.extend(devices);
        Ok(())
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.pace.listed.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A page of the devices of a project that the filters let through, when it is its turn.
///
/// # Errors
/// When the network or the cloud refuses; `Unfit` when asking again is in vain.
pub async fn devices(cloud: &Cloud, pace: &Pace, project: &str, filters: &Filters, walk: &Walk) -> Result<Devices, CloudFailure> {
    let mut query = Vec::new();
    query.extend(walk.token.iter().map(|token| ("page_token", token.clone())));
    query.extend(filters.devices.iter().map(|id| ("device_ids", id.clone())));
    query.extend(filters.device_types.iter().map(|kind| ("device_types", kind.clone())));
    query.extend(filters.labels.iter().map(|label| ("label_filters", label.clone())));
    query.extend(filters.product_numbers.iter().map(|number| ("product_numbers", number.clone())));
    let path = ["projects", project, "devices"];
    let ask = Ask { what: "listing the devices", path: &path, size: ("page_size", walk.size, DEVICES_PAGE) };
    let page = ask.page(cloud, pace, query, |answer| answer.devices).await?;
    let (mut devices, mut faulty) = (Vec::new(), 0);
    for entry in page.events() {
        let (device, is_whole) = device(project, entry);
        faulty += usize::from(!is_whole);
        devices.extend(device);
    }
    Ok(Devices { devices, faulty, next: page.next })
}

/// The device of an entry in the list, if it is one, and whether nothing of it was left out.
fn device(project: &str, entry: &str) -> (Option<DeviceRow>, bool) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed<'a> {
        name: String,
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        product_number: String,
        #[serde(borrow)]
        labels: Option<&'a RawValue>,
    }
    let Ok(Listed { name, kind, product_number, labels }) = serde_json::from_str(entry) else { return (None, false) };
    let id = name.rsplit('/').next().unwrap_or_default();
    // Nothing that is a path of its own, or none.
    if matches!(id, "" | "." | "..") || [id, &kind, &product_number].iter().any(|word| word.len() > WORD_MAX) {
        return (None, false);
    }
    let text = labels.map_or("{}", RawValue::get);
    let fits = text.len() <= LABELS_MAX;
    let mut labels: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(if fits { text } else { "{}" }).unwrap_or_default();
    labels.retain(|_, value| value.is_string());
    // As text: as a map, many small ones take fifty times of it.
    let labels = serde_json::to_string(&labels).unwrap_or_default();
    (Some(DeviceRow { project: project.to_owned(), id: id.to_owned(), kind, product_number, labels }), fits)
}

/// A page of a device's history, newest first, when it is its turn.
///
/// # Errors
/// When the network or the cloud refuses; `Unfit` when asking again is in vain, since a single event does not fit. See
/// [`Walk::has_expired`] for one that may begin anew.
pub async fn page(
    cloud: &Cloud,
    pace: &Pace,
    project: &str,
    device: &str,
    (begins, ends): (Micros, Micros),
    event_types: &[String],
    walk: &Walk,
) -> Result<Page, CloudFailure> {
    let mut query = vec![("startTime", rfc3339(begins)), ("endTime", rfc3339(ends))];
    query.extend(event_types.iter().map(|name| ("eventTypes", name.clone())));
    query.extend(walk.token.iter().map(|token| ("pageToken", token.clone())));
    let path = ["projects", project, "devices", device, "events"];
    let ask = Ask { what: "reading the history", path: &path, size: ("pageSize", walk.size, PAGE) };
    ask.page(cloud, pace, query, |answer| answer.events).await
}

/// What is said of a page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(borrow)]
    devices: Option<&'a RawValue>,
    next_page_token: Option<String>,
}

/// A request for a page.
struct Ask<'a> {
    what: &'static str,
    path: &'a [&'a str],
    /// What the size is called, where the walk stands with it, and what it is at best.
    size: (&'static str, Option<usize>, usize),
}

impl Ask<'_> {
    /// Asks for fewer entries until they fit.
    async fn page(
        &self,
        cloud: &Cloud,
        pace: &Pace,
        mut query: Vec<(&str, String)>,
        list: impl for<'a> Fn(Answer<'a>) -> Option<&'a RawValue>,
    ) -> Result<Page, CloudFailure> {
        let (key, size, best) = self.size;
        let mut size = size.unwrap_or(best);
        loop {
            query.push((key, size.to_string()));
            let room = pace.admit().await;
            let Some((body, mask)) = cloud.get(self.what, self.path, &query, PAGE_BYTES).await? else {
                if size <= 1 {
                    let text = format!("{}: a single entry is larger than {PAGE_MIB} MiB", self.what);
                    return Err(CloudFailure::Unfit(text));
                }
                size /= 2;
                query.pop();
                continue;
            };
            let (list, token) = self.read(&body, &list)?;
            // A giant makes the pages around it small, and not the rest of the walk.
            let size = if body.len() < PAGE_BYTES / 4 { best.min(size * 2) } else { size };
            return Ok(Page { list, next: token.map(|token| Next { token, size }), mask, _room: room });
        }
    }

    /// The list of an answer, and the token of the next page.
    fn read(
        &self,
        body: &Bytes,
        list: impl for<'a> Fn(Answer<'a>) -> Option<&'a RawValue>,
    ) -> Result<(Bytes, Option<String>), CloudFailure> {
        let strange = || CloudFailure::strange(self.what, "the answer is not what was asked for");
        let mut answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| strange())?;
        let token = answer.next_page_token.take().filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| token.len() > TOKEN_MAX) {
            return Err(CloudFailure::Unfit(format!("{}: a page token has more than {TOKEN_MAX} bytes", self.what)));
        }
        match list(answer).map(RawValue::get) {
            None => Ok((Bytes::new(), token)),
            Some(list) if list.starts_with('[') => Ok((body.slice_ref(list.as_bytes()), token)),
            Some(_) => Err(strange()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::CloudError;

    fn read(body: &str) -> Result<(Vec<String>, Option<String>), CloudFailure> {
        let ask = Ask { what: "reading the history", path: &[], size: ("pageSize", None, PAGE) };
        let (list, token) = ask.read(&Bytes::copy_from_slice(body.as_bytes()), |answer| answer.events)?;
        let page = Page { list, next: None, mask: Mask::default(), _room: None };
        Ok((page.events().map(str::to_owned).collect(), token))
    }

    #[test]
    fn events_come_out_of_a_page_as_they_stand_in_it() {
        let cases: [(&str, &[&str]); 10] = [
            ("{}", &[]),
            (r#"{"events":null,"nextPageToken":null}"#, &[]),
            (r#"{"events":[]}"#, &[]),
            (r#"{"events":[ ] ,"devices":[7]}"#, &[]),
            (r#"{"events":[{"a":1.0,"b":"],["}]}"#, &[r#"{"a":1.0,"b":"],["}"#]),
            ("{\"events\":\t[\r\n{ \"a\": 1 } ,\n{\"b\":[]} ]\n}", &["{ \"a\": 1 }", "{\"b\":[]}"]),
            (
                r#"{"x":{"events":[3]},"events":[1 , 2.50,-3e9,"a","",null,true,[[]],{}]}"#,
                &["1", "2.50", "-3e9", r#""a""#, r#""""#, "null", "true", "[[]]", "{}"],
            ),
            (r#"{"events":["a","b" ,"c"]}"#, &[r#""a""#, r#""b""#, r#""c""#]),
            (r#"{"events":["\u00e9é\ud800"]}"#, &[r#""\u00e9é\ud800""#]),
            (r#"{"events":[1e999,123456789012345678901234567890]}"#, &["1e999", "123456789012345678901234567890"]),
        ];
        for (body, events) in cases {
            assert_eq!(read(body).unwrap(), (events.iter().map(ToString::to_string).collect(), None), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(&format!("{{\"events\":[{deep},1]}}")).unwrap().0, [deep, "1".to_owned()]);
        for body in [
            "",
            "[]",
            "<html>",
            r#"{"events":{}}"#,
            r#"{"events":"[1]"}"#,
            r#"{"events":7}"#,
            r#"{"events":[1"#,
            r#"{"events":[1,]}"#,
            r#"{"nextPageToken":7}"#,
        ] {
            assert!(matches!(read(body), Err(CloudFailure::Answer { .. })), "{body}");
        }
    }

    #[test]
    fn a_page_token_has_a_bound() {
        let token = |length: usize| read(&format!("{{\"nextPageToken\":\"{}\"}}", "t".repeat(length)));
        assert_eq!(token(0).unwrap().1, None);
        assert_eq!(token(TOKEN_MAX).unwrap().1.unwrap().len(), TOKEN_MAX);
        assert!(matches!(token(TOKEN_MAX + 1), Err(CloudFailure::Unfit(_))));
    }

    #[test]
    fn a_walk_that_was_somewhere_before_or_goes_on_for_ever_ends() {
        let next = |token: usize| Next { token: token.to_string(), size: 1000 };
        let mut walk = Walk::default();
        for token in 0..10 {
            walk.follow(next(token)).unwrap();
        }
        assert!(walk.follow(next(3)).unwrap_err().to_string().contains("circle"));
        let mut walk = Walk::default();
        let followed = (0..2 * WALK_PAGES).position(|token| walk.follow(next(token)).is_err());
        assert_eq!(followed, Some(WALK_PAGES - 1));
    }

    #[test]
    fn a_token_that_the_cloud_knows_no_longer_is_no_wrong_request() {
        let failure = |status| {
            let error = CloudError { code: 0, message: String::new() };
            CloudFailure::Answer { what: "reading the history", status, error, retry_after: None }
        };
        let mut walk = Walk::default();
        assert!(!walk.has_expired(&failure(400)));
        walk.follow(Next { token: "t".to_owned(), size: 1 }).unwrap();
        assert!(walk.has_expired(&failure(400)) && !walk.has_expired(&failure(404)));
        assert!(!walk.has_expired(&CloudFailure::Network(String::new())));
    }

    #[test]
    fn an_entry_of_the_device_list_is_bounded_and_a_bad_one_is_left_out_alone() {
        let long = "x".repeat(WORD_MAX + 1);
        let bad = [
            "7".to_owned(),
            "{}".to_owned(),
            r#"{"name":7}"#.to_owned(),
            r#"{"name":""}"#.to_owned(),
            r#"{"name":"projects/p/devices/"}"#.to_owned(),
            r#"{"name":"projects/p/devices/.."}"#.to_owned(),
            format!(r#"{{"name":"projects/p/devices/{long}"}}"#),
            format!(r#"{{"name":"d","type":"{long}"}}"#),
            format!(r#"{{"name":"d","productNumber":"{long}"}}"#),
        ];
        for entry in bad {
            assert_eq!(device("p", &entry), (None, false), "{entry}");
        }
        let labels = |labels: &str| {
            let (device, is_whole) = device("p", &format!(r#"{{"name":"projects/q/devices/d","labels":{labels}}}"#));
            let device = device.unwrap();
            assert_eq!((device.project.as_str(), device.id.as_str()), ("p", "d"));
            (device.labels, is_whole)
        };
        assert_eq!(labels("null"), ("{}".to_owned(), true));
        assert_eq!(labels(r#"{"name":"door","n":7,"x":null}"#), (r#"{"name":"door"}"#.to_owned(), true));
        assert_eq!(labels(&format!(r#"{{"a":"{}"}}"#, "x".repeat(LABELS_MAX))), ("{}".to_owned(), false));
    }
}
