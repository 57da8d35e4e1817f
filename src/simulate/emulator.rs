//! The emulator API: devices that live from outside, and events published by clients.

use super::batch::Batch;
use super::call::Call;
use super::device::{Device, Family};
use super::event::{At, Body, Quoted};
use super::query::instant;
use super::refusal::{Refusal, json};
use super::rest::list;
use super::text::Fields;
use axum::body::Bytes;
use axum::response::Response;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Deserialize)]
struct Wanted {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::argument(format!("body: {e}")))
}

/// `POST /emulator/v2/projects/{project}/devices`.
pub(super) async fn create(call: Call, body: Bytes) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    let wanted: Wanted = parse(&body)?;
    let kind = wanted.kind.unwrap_or_default();
    let family = Family::of_name(&kind).ok_or_else(|| Refusal::argument(format!("type: {kind:?} is no device type")))?;
    let mut labels = wanted.labels.unwrap_or_default();
    labels.insert("virtual-sensor".to_owned(), String::new());
    let now = call.cloud.clock.now();
    let mut state = call.cloud.state();
    let id = format!("emu{}", state.world.id(now));
    let device = Device::bare(id, family, labels, true);
    let answer = device.json(&call.cloud.options.project);
    state.world.add(device);
    Ok(json(answer))
}

/// `GET /emulator/v2/projects/{project}/devices`.
pub(super) async fn all(call: Call) -> Result<Response, Refusal> {
    list(&call, |d| d.emulated)
}

/// `GET /emulator/v2/projects/{project}/devices/{device}`.
pub(super) async fn get(call: Call) -> Result<Response, Refusal> {
    let device = emulated(&call, call.device())?;
    let state = call.cloud.state();
    let found = state.world.devices.get(device).ok_or_else(|| Refusal::missing("device"))?;
    Ok(json(found.json(&call.cloud.options.project)))
}

/// `PUT /emulator/v2/projects/{project}/devices/{device}`: the labels are those given, no others.
pub(super) async fn put(call: Call, body: Bytes) -> Result<Response, Refusal> {
    let wanted: Wanted = parse(&body)?;
    let device = emulated(&call, call.device())?;
    let now = call.cloud.clock.now();
    let mut state = call.cloud.state();
    let found = state.world.devices.get(device).ok_or_else(|| Refusal::missing("device"))?;
    if wanted.kind.is_some_and(|kind| kind != found.family.name()) {
        return Err(Refusal::argument("type: a device keeps its type"));
    }
    if let Some(mut labels) = wanted.labels {
        labels.insert("virtual-sensor".to_owned(), String::new());
        let gone: Vec<String> = found.labels.keys().filter(|k| !labels.contains_key(*k)).cloned().collect();
        let mut batch = Batch::default();
        state.world.relabel(device, now, &labels, &gone, &mut batch);
        state.publish(batch);
    }
    let answer = state.world.devices.get(device).map(|d| d.json(&call.cloud.options.project));
    Ok(json(answer.unwrap_or_default()))
}

/// `DELETE /emulator/v2/projects/{project}/devices/{device}`.
pub(super) async fn delete(call: Call) -> Result<Response, Refusal> {
    let device = emulated(&call, call.device())?;
    call.cloud.state().world.delete(device);
    Ok(json("{}".to_owned()))
}

fn emulated(call: &Call, id: &str) -> Result<usize, Refusal> {
    let state = call.cloud.state();
    let found = state.world.find(id).filter(|d| state.world.devices.get(*d).is_some_and(|d| d.emulated));
    found.ok_or_else(|| Refusal::missing("device"))
}

/// `POST /emulator/v2/projects/{project}/devices/{device}:publish`.
pub(super) async fn publish(call: Call, body: Bytes) -> Result<Response, Refusal> {
    let id = call.device().strip_suffix(":publish").ok_or_else(Refusal::method)?;
    let device = emulated(&call, id)?;
    let event: BTreeMap<String, Fields> = parse(&body)?;
    let mut events = event.into_iter();
    let (Some((kind, fields)), None) = (events.next(), events.next()) else {
        return Err(Refusal::argument("body: want one event, keyed by its type"));
    };
    let now = call.cloud.clock.now();
    let mut state = call.cloud.state();
    let family = state.world.devices.get(device).map_or(Family::Unknown, |d| d.family);
    if !family.sends(&kind) {
        return Err(Refusal::argument(format!("a device of type {} cannot send {kind:?}", family.name())));
    }
    let (time, stamp) = stamp(&fields, now)?;
    let inner = compose(&kind, &fields, &stamp)?;
    let mut batch = Batch::default();
    let body = Body::Raw { kind: &kind, inner: &inner };
    state.world.send_stamped(device, (time, &stamp), &body, &mut batch);
    state.publish(batch);
    Ok(json("{}".to_owned()))
}

/// The time of an event: as its publisher said, or now.
fn stamp(fields: &Fields, now: i64) -> Result<(i64, String), Refusal> {
    let Some(text) = fields.get("updateTime") else { return Ok((now, At(now).to_string())) };
    let text = text.trim_matches('"');
    let time = instant(text).ok_or_else(|| Refusal::argument("updateTime: no RFC 3339 time"))?;
    Ok((time, text.to_owned()))
}

/// The keys of an event type, in the order of the cloud.
fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "touch" => &["updateTime"],
        "temperature" => &["value", "updateTime", "samples", "isBackfilled"],
        "humidity" => &["temperature", "relativeHumidity", "samples", "updateTime", "isBackfilled"],
        "objectPresentCount" | "touchCount" => &["total", "updateTime"],
        "networkStatus" => &["signalStrength", "rssi", "updateTime", "cloudConnectors", "transmissionMode"],
        "batteryStatus" => &["percentage", "updateTime"],
        "connectionStatus" => &["connection", "available", "updateTime"],
        "ethernetStatus" => &["macAddress", "ipAddress", "errors", "updateTime"],
        "cellularStatus" => &["signalStrength", "errors", "updateTime"],
        "co2" => &["ppm", "updateTime"],
        "pressure" => &["pascal", "updateTime"],
        "deskOccupancy" => &["state", "updateTime", "remarks"],
        _ => &["state", "updateTime"],
    }
}

/// What the cloud adds where the publisher left it out; clients depend on it.
fn fallback(kind: &str, key: &str, fields: &Fields, stamp: &str) -> Option<String> {
    let text = match (kind, key) {
        (_, "updateTime") => format!("\"{stamp}\""),
        (_, "isBackfilled") => "false".to_owned(),
        ("temperature", "samples") => {
            format!(r#"[{{"value":{},"sampleTime":"{stamp}"}}]"#, fields.get("value")?)
        }
        ("humidity", "samples") => {
            let (c, h) = (fields.get("temperature")?, fields.get("relativeHumidity")?);
            format!(r#"[{{"temperature":{c},"relativeHumidity":{h},"sampleTime":"{stamp}"}}]"#)
        }
        ("networkStatus", "signalStrength") => "99".to_owned(),
        ("networkStatus", "rssi") => "0".to_owned(),
        ("networkStatus", "cloudConnectors") => {
            let (s, r) = (fields.get("signalStrength").unwrap_or("99"), fields.get("rssi").unwrap_or("0"));
            format!(r#"[{{"id":"emulated-ccon","signalStrength":{s},"rssi":{r}}}]"#)
        }
        ("networkStatus", "transmissionMode") => r#""LOW_POWER_STANDARD_MODE""#.to_owned(),
        (_, "available" | "errors" | "remarks") => "[]".to_owned(),
        (_, "macAddress" | "ipAddress") => "\"\"".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// The inner object: known keys in their order, then the unknown ones as they came.
fn compose(kind: &str, fields: &Fields, stamp: &str) -> Result<String, Refusal> {
    let keys = keys(kind);
    let mut out = String::new();
    let mut add = |key: &str, value: &str| {
        let comma = if out.is_empty() { '{' } else { ',' };
        write!(out, "{comma}{}:{value}", Quoted(key)).ok();
    };
    for key in keys {
        let given = fields.get(key).map(str::to_owned).or_else(|| fallback(kind, key, fields, stamp));
        let value = given.ok_or_else(|| Refusal::argument(format!("{kind}: {key} is missing")))?;
        add(key, &value);
    }
    // The cloud's own client spells this one wrong, and without the fields that it wants back.
    let unknown = fields.0.iter().filter(|(k, _)| !keys.contains(&k.as_str()) && k != "cloud_connectors");
    for (key, value) in unknown {
        add(key, value);
    }
    out.push('}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(kind: &str, json: &str) -> Result<String, Refusal> {
        compose(kind, &serde_json::from_str(json).expect("an object"), "T")
    }

    #[test]
    fn what_the_publisher_leaves_out_is_added_and_what_is_unknown_stays() {
        let full =
            r#"{"value":21.50,"updateTime":"T","samples":[{"value":21.50,"sampleTime":"T"}],"isBackfilled":false,"new":[1]}"#;
        assert_eq!(composed("temperature", r#"{"new": [ 1 ], "value": 21.50}"#).ok().as_deref(), Some(full));
        assert_eq!(composed("touch", "{}").ok().as_deref(), Some(r#"{"updateTime":"T"}"#));
        assert!(composed("co2", "{}").is_err());
        assert!(composed("humidity", r#"{"temperature":1}"#).is_err());
    }
}
