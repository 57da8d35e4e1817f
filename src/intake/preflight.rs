//! Before a recording begins: whether the cloud takes the credentials and knows the projects, and whether there are devices as they
//! are asked for. A start that cannot be meant ends here, and leaves nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::text::{instead, printable};
use crate::cloud::client::{Accept, Cloud, CloudFailure};
use crate::cloud::history::{self, Pace, Walk};
use crate::intake::stream::IngestError;
use crate::model::event::DeviceRow;
use crate::model::settings::Filters;
use crate::store::devices::Directory;

/// Pages of the device list that are read whole; of longer lists only what is asked for.
const PAGES: usize = 10;
/// For a stream that is only to open.
const PING: Duration = Duration::from_secs(10);

/// Why nothing is to begin.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The cloud refuses every project.
    #[error(transparent)]
    Refused(#[from] IngestError),
    /// Nothing is as it is asked for: what, and what may have been meant.
    #[error("{0}")]
    NoDevice(String),
}

/// What is to be recorded of a project, and who asks for it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The project.
    pub project: String,
    /// Who asks which cloud.
    pub cloud: Arc<Cloud>,
    /// Which of its events; devices by their ids or names.
    pub filters: Filters,
}

/// What the cloud said.
#[derive(Debug, Default)]
pub struct Looked {
    /// What to ask for of each project, devices by their ids.
    pub filters: Vec<Filters>,
    /// Why that was not held against all device lists, if it was not.
    pub unchecked: Option<String>,
}

/// Asks for the devices of all projects, and holds the filters against them. What a cloud that does not answer has may be as asked for.
///
/// # Errors
/// When every project is refused, or a filter lets no device through.
pub async fn look(asked: &[Asked]) -> Result<Looked, Unfit> {
    let pace = Pace::default();
    let (mut devices, mut refused, mut unchecked, mut answered) = (Vec::new(), None, None, false);
    for Asked { project, cloud, filters } in asked {
        match list(cloud, &pace, project, filters).await {
            Ok(listed) => {
                answered = true;
                devices.extend(listed);
            }
            Err(failure) => {
                let error = match of(&failure, project) {
                    // An account may be let to the stream, and not to the list.
                    Some(IngestError::Forbidden { .. } | IngestError::NoProject { .. }) => {
                        let opened = cloud.open(project, filters, Accept::Json, PING).await;
                        opened.err().and_then(|failure| of(&failure, project))
                    }
                    error => error,
                };
                match error {
                    Some(error) => refused = refused.or(Some(error)),
                    None => unchecked = Some(failure.to_string()),
                }
            }
        }
    }
    if let (Some(error), None, false) = (refused, &unchecked, answered) {
        return Err(error.into());
    }
    // A project may be about to get its first devices.
    if unchecked.is_some() || devices.is_empty() {
        return Ok(Looked { filters: asked.iter().map(|asked| asked.filters.clone()).collect(), unchecked });
    }
    // A device may be in one project of several.
    let filters = asked.iter().map(|asked| resolve(asked.filters.clone(), &devices)).collect::<Result<_, _>>();
    Ok(Looked { filters: filters.map_err(Unfit::NoDevice)?, unchecked })
}

/// What a failure means, if it is a refusal that no waiting mends.
fn of(failure: &CloudFailure, project: &str) -> Option<IngestError> {
    IngestError::refused(failure.status(), failure.is_sign_in(), project, &failure.to_string())
}

/// The devices of a project: all of them, of a long list the first ones and those that are asked for.
async fn list(cloud: &Cloud, pace: &Pace, project: &str, filters: &Filters) -> Result<Vec<DeviceRow>, CloudFailure> {
    let asks_for_some = !filters.is_about_all_devices();
    let (all, mut walk, mut devices) = (Filters::default(), Walk::default(), Vec::new());
    for _ in 0..if asks_for_some { PAGES } else { 1 } {
        let page = history::devices(cloud, pace, project, &all, &walk).await?;
        devices.extend(page.devices);
        let Some(next) = page.next else { return Ok(devices) };
        walk.follow(next)?;
    }
    let mut asks = Vec::new();
    if asks_for_some {
        asks.extend(filters.devices.iter().map(|id| Filters { devices: vec![id.clone()], ..Filters::default() }));
        asks.extend(filters.devices.iter().map(|name| Filters { labels: vec![format!("name={name}")], ..Filters::default() }));
        asks.extend(filters.device_types.iter().map(|kind| Filters { device_types: vec![kind.clone()], ..Filters::default() }));
        asks.extend(filters.labels.iter().map(|label| Filters { labels: vec![label.clone()], ..Filters::default() }));
        let number = |number: &String| Filters { product_numbers: vec![number.clone()], ..Filters::default() };
        asks.extend(filters.product_numbers.iter().map(number));
    }
    for ask in asks {
        match history::devices(cloud, pace, project, &ask, &Walk::default()).await {
            Ok(page) => devices.extend(page.devices),
            // A name is no id.
            Err(failure) if failure.status() == Some(400) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(devices)
}

/// Filters with devices by their ids, each held against a list of devices.
///
/// # Errors
/// When one lets no device through: which, and what may have been meant.
pub fn resolve(filters: Filters, devices: &[DeviceRow]) -> Result<Filters, String> {
    let directory = Directory::new(devices);
    let nobody = |is_like: String, word: &str, known: &BTreeSet<&str>| {
        let known: Vec<String> = known.iter().filter(|name| !name.is_empty()).map(|name| printable(name, 100)).collect();
        format!("no device of the project {is_like}; {}", instead(word, &known))
    };
    let mut ids = Vec::new();
    for word in &filters.devices {
        let called = directory
            .iter()
            .filter(|(id, known)| [id, known.name.as_str(), &known.called].contains(&word.as_str()))
            .map(|(id, _)| id.to_owned());
        let before = ids.len();
        ids.extend(called);
        if ids.len() == before {
            let names = directory.iter().map(|(_, known)| known.called.as_str()).collect();
            return Err(nobody(format!("is called {word:?}, by its id or its name"), word, &names));
        }
    }
    for kind in &filters.device_types {
        let kinds: BTreeSet<&str> = directory.iter().map(|(_, known)| known.kind.as_str()).collect();
        if !kinds.contains(kind.as_str()) {
            return Err(nobody(format!("is of type {kind:?}"), kind, &kinds));
        }
    }
    for label in &filters.labels {
        let (key, value) = label.split_once('=').map_or((label.as_str(), None), |(key, value)| (key, Some(value)));
        let values: BTreeSet<&str> = directory.iter().filter_map(|(_, known)| Some(known.labels.get(key)?.as_str())).collect();
        match value {
            _ if values.is_empty() => {
                let keys = directory.iter().flat_map(|(_, known)| known.labels.keys()).map(String::as_str).collect();
                return Err(nobody(format!("has the label {key:?}"), key, &keys));
            }
            Some(value) if !values.contains(value) => return Err(nobody(format!("has the label {label:?}"), value, &values)),
            _ => {}
        }
    }
    for number in &filters.product_numbers {
        let numbers: BTreeSet<&str> = directory.iter().map(|(_, known)| known.product_number.as_str()).collect();
        if !numbers.contains(number.as_str()) {
            return Err(nobody(format!("has the product number {number:?}"), number, &numbers));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Filters { devices: ids, ..filters })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, kind: &str, labels: &str) -> DeviceRow {
        let (project, kind) = ("p".to_owned(), kind.to_owned());
        DeviceRow { project, id: id.to_owned(), kind, product_number: "102058".to_owned(), labels: labels.to_owned() }
    }

    #[test]
    fn what_matches_nothing_is_told_with_what_may_have_been_meant_and_names_become_ids() {
        let devices = [
            device("d1", "temperature", r#"{"name":"Cold room","room":"101"}"#),
            device("d2", "temperature", r#"{"name":"Cold room"}"#),
            device("d3", "co2", "{}"),
        ];
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let by = |words: &[&str]| resolve(Filters { devices: texts(words), ..Filters::default() }, &devices);
        assert_eq!(by(&["Cold room", "d3", "d1"]).map(|filters| filters.devices), Ok(texts(&["d1", "d2", "d3"])));
        assert!(by(&["Cold rom"]).unwrap_err().contains("did you mean \"Cold room\"?"));
        let refused = |filters| resolve(filters, &devices).unwrap_err();
        let kind = Filters { device_types: texts(&["temprature"]), ..Filters::default() };
        assert!(refused(kind).contains("is of type \"temprature\"; did you mean \"temperature\"?"));
        let label = |label: &str| Filters { labels: texts(&[label]), ..Filters::default() };
        assert!(refused(label("rom")).contains("did you mean \"room\"?"));
        assert!(refused(label("room=102")).contains("there is only 101"));
        assert!(resolve(label("room=101"), &devices).is_ok() && resolve(label("room"), &devices).is_ok());
        let number = Filters { product_numbers: texts(&["102059"]), ..Filters::default() };
        assert!(refused(number).contains("did you mean \"102058\"?"));
    }
}
