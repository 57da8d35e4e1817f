//! Events on their way: many written into one buffer, each framed once for all its readers.

use super::event::{At, Body};
use super::query::instant;
use super::xid::Xid;
use axum::body::Bytes;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// What stands around an event in a Server-Sent Events frame; a JSON line is a slice of the same bytes.
const BEFORE: &str = r#"data: {"result":{"event":"#;
const AFTER: &str = "}}\n\n";
const SSE_FIELD: usize = "data: ".len();

/// The frames of one event, sharing the bytes of its whole batch.
#[derive(Debug, Clone)]
pub(super) struct Frame(Bytes);

impl Frame {
    /// `data: {"result":{"event":…}}` and an empty line.
    pub(super) fn sse(&self) -> Bytes {
        self.0.clone()
    }

    /// `{"result":{"event":…}}` and its line end.
    pub(super) fn line(&self) -> Bytes {
        self.0.slice(SSE_FIELD..self.0.len() - 1)
    }

    /// The Server-Sent Events frame in a harder shape that means the same: more fields, data over several lines.
    pub(super) fn sse_split(&self, number: u32) -> Bytes {
        let event = String::from_utf8_lossy(self.event());
        Bytes::from(match number % 3 {
            0 => format!("id: {number}\nevent: message\ndata: {{\"result\":{{\"event\":\ndata: {event}\ndata: }}}}\n\n"),
            1 => format!(": {number}\ndata:{{\"result\":\ndata:{{\"event\":{event}}}}}\nretry: 1000\n\n"),
            _ => format!("data:{{\ndata\ndata: \"result\":{{\"event\":{event}}}\ndata:}}\n\n"),
        })
    }

    /// The bare event.
    pub(super) fn event(&self) -> &[u8] {
        self.0.get(BEFORE.len()..self.0.len() - AFTER.len()).unwrap_or_default()
    }

    /// The bare event, sharing the bytes.
    pub(super) fn bare(&self) -> Bytes {
        self.0.slice(BEFORE.len()..self.0.len() - AFTER.len())
    }

    /// Part of the batch's bytes that lies inside this frame.
    pub(super) fn part(&self, part: Range<usize>) -> Bytes {
        self.0.slice(part)
    }
}

/// One event of a batch: what the cloud must know without reading the text again.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) time: i64,
    /// Index of the device; `None` for events without one.
    pub(super) device: Option<usize>,
    pub(super) kind: Cow<'static, str>,
    frame: Range<usize>,
    /// The inner object, counted from the frame's start.
    pub(super) inner: Range<usize>,
}

/// Events written one after the other into one buffer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    items: Vec<Item>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Writes one event. `target` is the whole `targetName`.
    pub(super) fn push(&mut self, id: &Xid, target: &Target<'_>, device: usize, time: i64, body: &Body<'_>) {
        self.push_stamped(id, target, device, (time, &At(time).to_string()), body);
    }

    /// The same for a time whose text must stay as it was given.
    pub(super) fn push_stamped(
        &mut self,
        id: &Xid,
        target: &Target<'_>,
        device: usize,
        (time, stamp): (i64, &str),
        body: &Body<'_>,
    ) {
        let start = self.text.len();
        let kind = body.kind();
        match self.write(start, id, target, stamp, &kind, body) {
            Ok((frame, inner)) => self.items.push(Item { time, device: Some(device), kind, frame, inner }),
            Err(fmt::Error) => self.text.truncate(start), // cannot happen: a String takes everything
        }
    }

    fn write(
        &mut self,
        start: usize,
        id: &Xid,
        target: &Target<'_>,
        stamp: &str,
        kind: &str,
        body: &Body<'_>,
    ) -> Result<(Range<usize>, Range<usize>), fmt::Error> {
        let out = &mut self.text;
        let Target(project, device) = target;
        write!(out, r#"{BEFORE}{{"eventId":"{id}","targetName":"projects/{project}/devices/{device}","eventType":"#)?;
        let keyed = !matches!(body, Body::LabelsChanged { .. });
        write!(out, r#""{kind}","data":"#)?;
        if keyed {
            write!(out, r#"{{"{kind}":"#)?;
        }
        let inner = out.len() - start;
        body.write(out, stamp)?;
        let inner = inner..out.len() - start;
        write!(out, r#"{},"timestamp":"{stamp}"}}{AFTER}"#, if keyed { "}" } else { "" })?;
        Ok((start..out.len(), inner))
    }

    /// Takes over an event that is text already (a replay).
    pub(super) fn push_text(&mut self, event: &str, time: i64, device: Option<usize>, kind: &str) {
        let start = self.text.len();
        for part in [BEFORE, event, AFTER] {
            self.text.push_str(part);
        }
        let frame = start..self.text.len();
        self.items.push(Item { time, device, kind: Cow::Owned(kind.to_owned()), frame, inner: 0..0 });
    }

    /// Freezes the buffer and hands out its events.
    pub(super) fn finish(self) -> impl Iterator<Item = (Item, Frame)> {
        let text = Bytes::from(self.text);
        self.items.into_iter().map(move |item| {
            let frame = Frame(text.slice(item.frame.clone()));
            (item, frame)
        })
    }
}

/// An event as a sensor sends it that had kept it: a reading is marked as backfilled, every time is so much earlier, and
/// nothing else changes.
pub(super) fn backfilled(item: &Item, frame: &Frame, by: i64) -> (Item, Frame) {
    let event = String::from_utf8_lossy(frame.event());
    let event = earlier(&event, by);
    let (fresh, kept) = (r#""isBackfilled":false"#, r#""isBackfilled":true"#);
    let (text, shorter) = match event.rsplit_once(fresh) {
        Some((before, after)) => (format!("{BEFORE}{before}{kept}{after}{AFTER}"), fresh.len() - kept.len()),
        None => (format!("{BEFORE}{event}{AFTER}"), 0),
    };
    let inner = item.inner.start..item.inner.end - shorter;
    let item = Item { time: item.time - by, frame: 0..text.len(), inner, ..item.clone() };
    (item, Frame(Bytes::from(text)))
}

/// The text with each time so much earlier. Times that are not written as we write them are somebody's labels.
fn earlier(event: &str, by: i64) -> Cow<'_, str> {
    if by == 0 {
        return Cow::Borrowed(event);
    }
    let parts = event.split('"').map(|part| match instant(part).filter(|time| At(*time).to_string() == part) {
        Some(time) => Cow::Owned(At(time.saturating_sub(by)).to_string()),
        None => Cow::Borrowed(part),
    });
    Cow::Owned(parts.collect::<Vec<_>>().join("\""))
}

/// Project and device of a `targetName`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a>(pub(super) &'a str, pub(super) &'a str);

/// A ping, in both formats at once.
pub(super) fn ping(id: &Xid, project: &str, time: i64) -> Frame {
    let at = At(time);
    Frame(Bytes::from(format!(
        r#"{BEFORE}{{"eventId":"{id}","targetName":"projects/{project}","eventType":"ping","data":null,"timestamp":"{at}"}}{AFTER}"#
    )))
}

#[cfg(test)]
mod tests {
    use super::super::event::Sample;
    use super::super::xid::Xids;
    use super::*;

    #[test]
    fn an_event_is_framed_and_whole_numbers_have_no_decimals() {
        let mut batch = Batch::default();
        let sample = Sample { time: 0, celsius: 27.0, humidity: 0.0 };
        let id = Xids::new(1, 1).next(0);
        batch.push(&id, &Target("p", "d"), 0, 0, &Body::Temperature(&[sample]));
        let (_, frame) = batch.finish().next().expect("one event");
        let event = String::from_utf8_lossy(frame.event()).into_owned();
        assert!(event.contains(r#""value":27,"updateTime":"1970-01-01T00:00:00.000000Z""#), "{event}");
        assert_eq!(frame.line(), format!("{{\"result\":{{\"event\":{event}}}}}\n").as_bytes());
    }

    #[test]
    fn what_a_sensor_kept_differs_in_its_times_and_its_mark() {
        let mut batch = Batch::default();
        let sample = |time| Sample { time, celsius: 20.5, humidity: 0.0 };
        let (id, target) = (Xids::new(1, 1).next(0), Target("p", "d"));
        let (at, before) = (90_000_000, 60_000_000);
        batch.push(&id, &target, 0, at, &Body::Temperature(&[sample(at), sample(before)]));
        batch.push(&id, &target, 0, at, &Body::Co2(700));
        let events: Vec<_> = batch.finish().collect();
        let text = |frame: &Frame| String::from_utf8_lossy(frame.event()).into_owned();
        for (item, frame) in &events {
            let (kept, changed) = backfilled(item, frame, 60_000_000);
            let expected = text(frame).replace("00:01:00", "00:00:00").replace("00:01:30", "00:00:30");
            assert_eq!(text(&changed), expected.replace(":false", ":true"));
            assert_eq!(kept.time, 30_000_000);
            let inner = changed.part(kept.inner.clone());
            assert!(inner.starts_with(b"{") && changed.part(kept.inner.end..changed.sse().len()).starts_with(b"},\"timestamp\""));
        }
    }
}
