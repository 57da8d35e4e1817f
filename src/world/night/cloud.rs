//! The cloud of a night: publishes, lags, forgets nobody, refuses, cuts, stalls. It alone knows what time it is.

use std::collections::BTreeMap;

use crate::base::time::{Micros, SECOND, rfc3339};
use crate::cloud::client::CloudFailure;
use crate::model::event::CloudError;

/// Devices; the history refuses the first, and the list leaves out the last.
pub(super) const DEVICES: usize = 5;
pub(super) const GONE: usize = 0;
pub(super) const STRAY: usize = DEVICES - 1;
/// An event may be in the history so much later than an index delay says.
pub(super) const LAG: Micros = 20 * SECOND;
/// An event may be so old when it comes.
pub(super) const AGE: Micros = 15 * SECOND;
/// Every stream ends after this time.
const LIFE: Micros = 60 * SECOND;

/// Something that was published. Times are the cloud's.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) number: usize,
    pub(super) device: usize,
    /// When it was published.
    pub(super) at: Micros,
    /// When it says that it happened.
    pub(super) time: Micros,
    /// From when on it is in the history.
    pub(super) seen_at: Micros,
}

impl Event {
    pub(super) fn id(&self) -> String {
        format!("e{}", self.number)
    }

    /// For people: times in seconds since the beginning.
    pub(super) fn told(&self) -> String {
        let at = super::seconds;
        let Self { number, device, .. } = self;
        format!(
            "e{number} of d{device}, published at {:.1}, of {:.1}, in the history from {:.1}",
            at(self.at),
            at(self.time),
            at(self.seen_at)
        )
    }

    pub(super) fn json(&self) -> String {
        let (id, device, time) = (self.id(), self.device, rfc3339(self.time));
        format!(
            r#"{{"eventId":"{id}","targetName":"projects/p/devices/d{device}","eventType":"touch","data":{{"touch":{{"updateTime":"{time}"}}}},"timestamp":"{time}"}}"#
        )
    }
}

/// One open stream.
#[derive(Debug)]
struct Pipe {
    bytes: Vec<u8>,
    stalls: bool,
    /// It is over; true where that is the hour's.
    over: Option<bool>,
    pinged: Micros,
    opened: Micros,
}

#[derive(Debug)]
pub(super) struct Cloud {
    rng: fastrand::Rng,
    pub(super) now: Micros,
    pub(super) events: Vec<Event>,
    pipes: BTreeMap<u64, Pipe>,
    opened: u64,
    ping: Micros,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
    refuses: (Option<u16>, Micros),
    closed_until: Micros,
}

impl Cloud {
    pub(super) fn new(rng: fastrand::Rng, now: Micros, ping: Micros) -> Self {
        Self {
            rng,
            now,
            events: Vec::new(),
            pipes: BTreeMap::new(),
            opened: 0,
            ping,
            calm: false,
            refuses: (None, 0),
            closed_until: 0,
        }
    }

    /// Time goes by, and things happen.
    pub(super) fn pass(&mut self, by: Micros) {
        self.now += by;
        for _ in 0..self.rng.usize(..4) {
            self.publish();
        }
        if !self.calm {
            self.moods();
        }
        let (now, ping, calm) = (self.now, self.ping, self.calm);
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.over.is_none()) {
            if !pipe.stalls && now - pipe.pinged >= ping {
                pipe.pinged = now;
                pipe.bytes.extend_from_slice(PING);
            }
            if !pipe.stalls && now - pipe.opened > LIFE || calm && pipe.stalls && now - pipe.pinged > 10 * ping {
                pipe.over = Some(true);
            }
        }
    }

    fn publish(&mut self) {
        let (rng, now) = (&mut self.rng, self.now);
        let time = now - if rng.u8(..5) == 0 { rng.i64(0..AGE) } else { 0 };
        let seen_at = now + if rng.u8(..4) == 0 { rng.i64(0..LAG) } else { rng.i64(0..SECOND) };
        let event = Event { number: self.events.len(), device: rng.usize(..DEVICES), at: now, time, seen_at };
        let line = format!("{{\"result\":{{\"event\":{}}}}}\n", event.json());
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.over.is_none() && !pipe.stalls) {
            pipe.bytes.extend_from_slice(line.as_bytes());
        }
        self.events.push(event);
    }

    fn moods(&mut self) {
        let rng = &mut self.rng;
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.over.is_none()) {
            match rng.u8(..100) {
                0 => pipe.over = Some(true),
                1 => {
                    // In the middle of a line, if there is one.
                    pipe.over = Some(false);
                    let keep = rng.usize(..=pipe.bytes.len());
                    pipe.bytes.truncate(keep);
                }
                2 => pipe.stalls = true,
                _ => {}
            }
        }
        match rng.u8(..100) {
            0 | 1 => {
                let status = [400, 401, 403, 404, 429, 500, 503, 0][rng.usize(..8)];
                self.refuses = (Some(status), self.now + rng.i64(SECOND..20 * SECOND));
            }
            2 => self.closed_until = self.now + rng.i64(SECOND..15 * SECOND),
            _ => {}
        }
    }

    /// Somebody wants a stream.
    pub(super) fn open(&mut self) -> Result<u64, CloudFailure> {
        if let (Some(status), until) = self.refuses
            && until > self.now
        {
            return Err(failure("opening the stream", status));
        }
        self.opened += 1;
        let pipe = Pipe { bytes: PING.to_vec(), stalls: false, over: None, pinged: self.now, opened: self.now };
        self.pipes.insert(self.opened, pipe);
        Ok(self.opened)
    }

    /// What lies in the socket, and whether that is its end.
    pub(super) fn read(&mut self, pipe: u64) -> (Vec<u8>, Option<bool>) {
        let Some(pipe) = self.pipes.get_mut(&pipe) else { return (Vec::new(), Some(false)) };
        (std::mem::take(&mut pipe.bytes), pipe.over)
    }

    /// The reader hangs up.
    pub(super) fn close(&mut self, pipe: u64) {
        self.pipes.remove(&pipe);
    }

    /// Everybody is cut off: the recorder is dead.
    pub(super) fn close_all(&mut self) {
        self.pipes.clear();
    }

    /// Devices as it lists them; why not, where it does not.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        if self.closed_until > self.now {
            return Err("HTTP 503".to_owned());
        }
        Ok((0..DEVICES).filter(|device| *device != STRAY).map(|device| format!("d{device}")).collect())
    }

    /// The history of a device in a window of its own time.
    pub(super) fn history(&mut self, device: &str, (begins, ends): (Micros, Micros)) -> Result<Vec<Event>, CloudFailure> {
        if self.closed_until > self.now {
            return Err(failure("reading the history", 503));
        }
        if device == format!("d{GONE}") {
            return Err(failure("reading the history", 404));
        }
        if !self.calm && self.rng.u8(..8) == 0 {
            return Err(failure("reading the history", 500));
        }
        let is_in = |event: &&Event| {
            format!("d{}", event.device) == device && event.seen_at <= self.now && (begins..ends).contains(&event.time)
        };
        Ok(self.events.iter().filter(is_in).cloned().collect())
    }
}

const PING: &[u8] = b"{\"result\":{\"event\":{\"eventId\":\"ping\",\"targetName\":\"projects/p\",\"eventType\":\"ping\",\"data\":null,\"timestamp\":\"2026-01-01T00:00:00.000000Z\"}}}\n";

fn failure(what: &'static str, status: u16) -> CloudFailure {
    if status == 0 {
        return CloudFailure::Network("connection refused".to_owned());
    }
    let error = CloudError { code: i64::from(status), message: "no".to_owned() };
    CloudFailure::Answer { what, status, error, retry_after: None }
}
