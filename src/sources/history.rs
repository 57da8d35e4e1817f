//! The cloud's event history and device list: requests, pages, and the pace that the cloud allows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::settings::{Filters, Mask};
use crate::time::{self, Micros, rfc3339};

use super::cloud::{Cloud, CloudFailure};

/// Events asked for in one page; the largest page that is known to work.
const PAGE: &str = "1000";
/// Devices asked for in one page.
const DEVICES_PAGE: &str = "100";
/// Requests a second that the cloud allows, and how many at once after a pause (25 in 5 s).
const PACE: (f64, f64) = (5.0, 20.0);

/// A device as the cloud lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its project.
    pub project: String,
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its product number; empty for an emulated one.
    pub product_number: String,
    /// Its labels; `name` is what people call it.
    pub labels: BTreeMap<String, String>,
}

/// A page of a device's history: events as they stand in the answer, and where the next page begins.
#[derive(Debug)]
pub struct Page {
    /// The events' JSON.
    pub events: Vec<String>,
    /// Token of the next page; none at the end.
    pub next: Option<String>,
    /// What the server was sent, and may say back in its events.
    pub mask: Mask,
}

/// Lets requests through at the pace that the cloud allows. Shared by all that ask one cloud.
#[derive(Debug)]
pub struct Pace {
    state: Mutex<(f64, Instant)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { state: Mutex::new((PACE.1, time::instant())) }
    }
}

impl Pace {
    /// Waits for the next request's turn.
    pub async fn turn(&self) {
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
}

/// All devices of a project that the filters let through.
///
/// # Errors
/// When the network or the cloud refuses a page.
pub async fn devices(
    cloud: &Cloud,
    project: &str,
    filters: &Filters,
    page: Option<&str>,
) -> Result<(Vec<Device>, Option<String>), CloudFailure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        #[serde(default)]
        devices: Vec<Listed>,
        #[serde(default)]
        next_page_token: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        name: String,
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        product_number: String,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }
    let mut query = vec![("page_size", DEVICES_PAGE.to_owned())];
    query.extend(page.map(|page| ("page_token", page.to_owned())));
    query.extend(filters.devices.iter().map(|id| ("device_ids", id.clone())));
    query.extend(filters.device_types.iter().map(|kind| ("device_types", kind.clone())));
    query.extend(filters.labels.iter().map(|label| ("label_filters", label.clone())));
    query.extend(filters.product_numbers.iter().map(|number| ("product_numbers", number.clone())));
    let (answer, _): (Answer, _) = cloud.get("listing the devices", &["projects", project, "devices"], &query).await?;
    let devices = answer.devices.into_iter().map(|listed| Device {
        project: project.to_owned(),
        id: listed.name.rsplit('/').next().unwrap_or_default().to_owned(),
        kind: listed.kind,
        product_number: listed.product_number,
        labels: listed.labels,
    });
    Ok((devices.collect(), Some(answer.next_page_token).filter(|token| !token.is_empty())))
}

/// One page of a device's history, newest first.
///
/// # Errors
/// When the network or the cloud refuses.
pub async fn page(
    cloud: &Cloud,
    project: &str,
    device: &str,
    (begins, ends): (Micros, Micros),
    event_types: &[String],
    page: Option<&str>,
) -> Result<Page, CloudFailure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        #[serde(default)]
        events: Vec<Box<RawValue>>,
        #[serde(default)]
        next_page_token: String,
    }
    let mut query = vec![("startTime", rfc3339(begins)), ("endTime", rfc3339(ends)), ("pageSize", PAGE.to_owned())];
    query.extend(event_types.iter().map(|name| ("eventTypes", name.clone())));
    query.extend(page.map(|page| ("pageToken", page.to_owned())));
    let path = ["projects", project, "devices", device, "events"];
    let (answer, mask): (Answer, _) = cloud.get("reading the history", &path, &query).await?;
    Ok(Page {
        events: answer.events.into_iter().map(|event| event.get().to_owned()).collect(),
        next: Some(answer.next_page_token).filter(|token| !token.is_empty()),
        mask,
    })
}
