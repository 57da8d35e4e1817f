//! What a world sends: a few events again and again, of few types and days, some odd, some no events at all.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::time::{Day, Micros, rfc3339};
use crate::model::decode::Collector;
use crate::model::event::{Batch, DeviceRow, Source};
use crate::model::framing::Frame;
use crate::model::schema::Registry;
use crate::model::settings::Filters;
use crate::store::buffer::Run;

use super::model::{Sent, key};

/// The first day of every world.
pub(super) const FIRST: Day = Day(20_000);

const TYPES: [&str; 4] = ["touch", "temperature", "networkStatus", "../of another kind"];

/// Makes batches.
#[derive(Debug)]
pub(super) struct Sender {
    registry: Arc<Registry>,
    types: Vec<&'static str>,
    days: i32,
    /// How many events there are of a type: with few, most are doubles.
    events: u32,
    seed: u64,
}

impl Sender {
    pub(super) fn new(registry: &Arc<Registry>, rng: &mut fastrand::Rng) -> Self {
        let types = (0..rng.usize(1..=2)).map(|_| TYPES[rng.usize(..TYPES.len())]).collect();
        Self { registry: Arc::clone(registry), types, days: rng.i32(1..=2), events: rng.u32(4..60), seed: rng.u64(..) }
    }

    /// A batch as a source would collect it, and what is in it.
    pub(super) fn batch(&self, source: Source, rng: &mut fastrand::Rng) -> (Batch, Sent) {
        let mut collector = Collector::new(Arc::clone(&self.registry), source);
        let mut sent = Sent::default();
        for _ in 0..rng.u32(1..=6) {
            if rng.u8(..20) == 0 {
                collector.add(&Frame::Line(b"{\"eventType\":\"touch\"} and no event"), 1);
                sent.faults += 1;
                continue;
            }
            let event = self.event(self.types[rng.usize(..self.types.len())], rng.u32(..self.events));
            let line = if rng.bool() { event.to_string() } else { json!({"result": {"event": event}}).to_string() };
            collector.add(&Frame::Line(line.as_bytes()), 1);
            sent.events.insert(key(&event), event);
        }
        let mut batch = collector.take().unwrap();
        if source == Source::Push && rng.u8(..8) == 0 {
            batch.devices = devices(rng).into_iter().map(|device| (begin(), device)).collect();
        }
        (batch, sent)
    }

    /// The event of a type with a number: the same one however often it is sent. Some times are shared by several events,
    /// some ids by several types, some even by several times.
    fn event(&self, event_type: &str, number: u32) -> Value {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ u64::from(number));
        let day = Day(FIRST.0 + rng.i32(0..self.days));
        let borrowed = rng.u8(..15) == 0;
        let time = day.start() + rng.i64(0..40) * 60_000_000;
        let (id, time) = if borrowed { (number + 1, time + 1 + i64::from(number)) } else { (number, time) };
        let mut time = rfc3339(time);
        let mut data = match event_type {
            "temperature" => json!({"value": f64::from(rng.i32(-400..400)) / 10.0, "updateTime": time}),
            "networkStatus" => json!({"signalStrength": rng.u32(..100), "rssi": -83, "updateTime": time,
                "cloudConnectors": [{"id": "c1", "signalStrength": 45, "rssi": -83}]}),
            _ => json!({"updateTime": time}),
        };
        match rng.u8(..12) {
            0 => data["unknown"] = json!([1, null]),
            1 => data["updateTime"] = json!("2026-10-01T00:00:00Z"),
            2 => time = time.replace('Z', "001Z"),
            _ => {}
        }
        json!({"eventId": format!("e{id}"), "targetName": format!("projects/p/devices/d{}", rng.u8(..3)), "eventType": event_type,
            "data": {event_type: data}, "timestamp": time})
    }
}

/// What sessions belong to.
pub(super) fn run() -> Arc<Run> {
    Arc::new(Run {
        number: 1,
        boot: String::new(),
        clock: 0,
        source: Source::Stream,
        project: "p".to_owned(),
        filters: Filters::default(),
        account: String::new(),
        begins: begin(),
        until: None,
        quiet: 1,
    })
}

/// A list of devices.
pub(super) fn devices(rng: &mut fastrand::Rng) -> Vec<DeviceRow> {
    let device = |number: u8| DeviceRow {
        project: "p".to_owned(),
        id: format!("d{number}"),
        kind: "touch".to_owned(),
        product_number: String::new(),
        labels: json!({"name": format!("n{}", rng.u8(..3))}).to_string(),
    };
    (0..3).map(device).collect()
}

/// Noon of the first day.
pub(in crate::world) fn begin() -> Micros {
    FIRST.start() + 12 * 3600 * 1_000_000
}
