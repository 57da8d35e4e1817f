//! Projects and devices: list, look up, change labels.

use super::batch::Batch;
use super::call::Call;
use super::device::Device;
use super::event::Quoted;
use super::filter::Filter;
use super::refusal::{Refusal, json};
use axum::body::Bytes;
use axum::response::Response;
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Default and maximum.
const PAGE: usize = 100;

const ORGANIZATION: &str = "organizations/demo";

/// `GET /v2/projects`.
pub(super) async fn projects(call: Call) -> Response {
    json(format!(r#"{{"projects":[{}],"nextPageToken":""}}"#, describe(&call)))
}

/// `GET /v2/projects/{project}`.
pub(super) async fn project(call: Call) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    Ok(json(describe(&call)))
}

fn describe(call: &Call) -> String {
    let state = call.cloud.state();
    let connectors = state.devices().filter(|(_, d)| d.family.name() == "ccon").count();
    let sensors = state.devices().count() - connectors;
    let project = &call.cloud.options.project;
    format!(
        r#"{{"name":"projects/{project}","displayName":"Simulated project","organization":"{ORGANIZATION}","organizationDisplayName":"Simulated organization","sensorCount":{sensors},"cloudConnectorCount":{connectors},"inventory":false}}"#
    )
}

/// `GET /v2/projects/{project}/devices`.
pub(super) async fn devices(call: Call) -> Result<Response, Refusal> {
    let ours = |key, name: &str| call.params.all(key).count() == 0 || call.params.all(key).any(|v| v == name);
    let project = format!("projects/{}", call.cloud.options.project);
    let visible = !call.wildcard || (ours("organization", ORGANIZATION) && ours("projects", &project));
    list(&call, |d: &Device| visible && !d.deleted)
}

/// One page of the devices that pass.
pub(super) fn list(call: &Call, passes: impl Fn(&Device) -> bool) -> Result<Response, Refusal> {
    let size = call.params.page_size(PAGE, PAGE)?;
    let skip = match call.params.one("page_token") {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| Refusal::argument("page_token: not one of ours"))?,
    };
    let filter = Filter::new(&call.params);
    let query = call.params.one("query").map(str::to_lowercase);
    let found = |d: &Device| query.as_deref().is_none_or(|q| mentions(d, q));
    let state = call.cloud.state();
    let unlisted = state.world.last(call.cloud.options.habits.unlisted_devices);
    let listed = state.devices().filter(|(n, _)| !unlisted.contains(n)).map(|(_, d)| d);
    let mut all: Vec<&Device> = listed.filter(|d| passes(d) && filter.takes(Some(d)) && found(d)).collect();
    if let Some(order) = call.params.one("order_by") {
        sort(&mut all, order)?;
    }
    let more = all.len() > skip.saturating_add(size);
    let project = &call.cloud.options.project;
    let page: Vec<String> = all.into_iter().skip(skip).take(size).map(|d| d.json(project)).collect();
    let next = if more { (skip + size).to_string() } else { String::new() };
    Ok(json(format!(r#"{{"devices":[{}],"nextPageToken":"{next}"}}"#, page.join(","))))
}

fn mentions(device: &Device, query: &str) -> bool {
    device.id.contains(query)
        || device.family.name().to_lowercase().contains(query)
        || device.labels.iter().any(|(k, v)| k.to_lowercase().contains(query) || v.to_lowercase().contains(query))
}

/// What a device is sorted by. Devices without it come last.
#[derive(Debug, PartialEq, PartialOrd)]
enum Key {
    Number(f64),
    Text(String),
    None,
}

fn sort(devices: &mut [&Device], order: &str) -> Result<(), Refusal> {
    let (path, down) = order.strip_prefix('-').map_or((order, false), |path| (path, true));
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    if !matches!(head, "name" | "type" | "productNumber" | "product_number" | "labels" | "reported") {
        return Err(Refusal::argument(format!("order_by: cannot sort by {path:?}")));
    }
    devices.sort_by_cached_key(|d| Sorted(key(d, head, rest), down));
    Ok(())
}

fn key(device: &Device, head: &str, rest: &str) -> Key {
    match head {
        "name" => Key::Text(device.id.clone()),
        "type" => Key::Text(device.family.name().to_owned()),
        "labels" => device.labels.get(rest).map_or(Key::None, |v| Key::Text(v.clone())),
        "reported" => reported(device, rest).unwrap_or(Key::None),
        _ => Key::Text(device.product.to_owned()),
    }
}

fn reported(device: &Device, path: &str) -> Option<Key> {
    let (kind, path) = path.split_once('.')?;
    let inner: serde_json::Value = serde_json::from_slice(device.reported.get(kind)?).ok()?;
    let value = inner.pointer(&format!("/{}", path.replace('.', "/")))?;
    value.as_f64().map(Key::Number).or_else(|| value.as_str().map(|s| Key::Text(s.to_owned())))
}

struct Sorted(Key, bool);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
        let missing = self.0 == Key::None || other.0 == Key::None;
        if self.1 && !missing { order.reverse() } else { order }
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sorted {}

/// `GET /v2/projects/{project}/devices/{device}`, also for project `-`.
pub(super) async fn device(call: Call) -> Result<Response, Refusal> {
    let state = call.cloud.state();
    let found = state.world.find(call.device()).and_then(|d| state.world.devices.get(d));
    let device = found.ok_or_else(|| Refusal::missing("device"))?;
    Ok(json(device.json(&call.cloud.options.project)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default, alias = "add_labels")]
    add_labels: BTreeMap<String, String>,
    #[serde(default, alias = "remove_labels")]
    remove_labels: Vec<String>,
}

/// `POST /v2/projects/{project}/devices:batchUpdate`.
pub(super) async fn batch_update(call: Call, body: Bytes) -> Result<Response, Refusal> {
    let call = call.in_one_project()?;
    let update: Update = serde_json::from_slice(&body).map_err(|e| Refusal::argument(format!("body: {e}")))?;
    let now = call.cloud.clock.now();
    let mut state = call.cloud.state();
    let mut batch = Batch::default();
    let mut errors = Vec::new();
    for name in &update.devices {
        let id = name.rsplit('/').next().unwrap_or_default();
        match state.world.find(id) {
            Some(d) => state.world.relabel(d, now, &update.add_labels, &update.remove_labels, &mut batch),
            None => errors.push(format!(r#"{{"device":{},"code":5,"message":"device not found"}}"#, Quoted(name))),
        }
    }
    state.publish(batch);
    Ok(json(format!(r#"{{"batchErrors":[{}]}}"#, errors.join(","))))
}
