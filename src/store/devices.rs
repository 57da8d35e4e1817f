//! Devices: the list that the cloud gave last, as `devices.parquet` beside the data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::base::disk::{self, Readers};
use crate::model::event::DeviceRow;
use crate::model::layout::Layout;
use crate::store::archive::ArchiveError;
use crate::store::names::unique;

/// Publishes the list: `id`, `type`, `product_number`, `name`, `labels` (JSON), `project_id`, `display_name`, all strings. Several
/// devices may have one `name`; what an export, a chart and a report call a device is its `display_name`. These `readers` may read it.
///
/// # Errors
/// When the disk refuses.
pub fn publish(layout: &Layout, devices: &[DeviceRow], readers: Readers) -> Result<(), ArchiveError> {
    let path = layout.devices();
    let column = |value: &dyn Fn(&DeviceRow) -> Option<String>| -> ArrayRef {
        Arc::new(devices.iter().map(value).collect::<StringArray>())
    };
    let directory = Directory::new(devices);
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", column(&|device| Some(device.id.clone())), false),
        ("type", column(&|device| Some(device.kind.clone())), false),
        ("product_number", column(&|device| Some(device.product_number.clone()).filter(|number| !number.is_empty())), true),
        ("name", column(&name), true),
        ("labels", column(&|device| Some(device.labels.clone())), false),
        ("project_id", column(&|device| Some(device.project.clone())), false),
        ("display_name", column(&|device| Some(directory.name_in(&device.project, &device.id).to_owned())), false),
    ])
    .map_err(ArchiveError::arrow(&path))?;
    let fail = ArchiveError::parquet(&path);
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(&fail)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).map_err(&fail)?;
    writer.write(&rows).map_err(&fail)?;
    let bytes = writer.into_inner().map_err(&fail)?;
    Ok(disk::write_for(readers, &layout.staging(), &path, &bytes)?)
}

/// What people call a device: its label `name`.
fn name(device: &DeviceRow) -> Option<String> {
    labels(device).remove("name")
}

/// The labels of a device.
fn labels(device: &DeviceRow) -> BTreeMap<String, String> {
    serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&device.labels)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, value)| value.as_str().map(|value| (key, value.to_owned())))
        .collect()
}

/// A device as people know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What it is called, and no other device of the recording: its name, with what tells it apart where others have that too;
    /// its id where it has none.
    pub name: String,
    /// What people call it, and maybe others; its id where it has no name.
    pub called: String,
    /// Its type; empty where nobody knows.
    pub kind: String,
    /// Its product number; empty where nobody knows.
    pub product_number: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Devices by their ids, in each project that knows them: one that was moved has two. One that is not known is called by its id.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    by_id: BTreeMap<String, Vec<(String, Known)>>,
}

impl Directory {
    /// Of the devices that a recording knows of.
    pub fn new(devices: &[DeviceRow]) -> Self {
        let labels: Vec<BTreeMap<String, String>> = devices.iter().map(labels).collect();
        let names = unique(&devices.iter().map(|device| device.id.as_str()).zip(&labels).collect::<Vec<_>>());
        let mut by_id: BTreeMap<String, Vec<(String, Known)>> = BTreeMap::new();
        for ((device, labels), name) in devices.iter().zip(labels).zip(names) {
            let called = labels.get("name").unwrap_or(&device.id).clone();
            let known = Known { name, called, kind: device.kind.clone(), product_number: device.product_number.clone(), labels };
            by_id.entry(device.id.clone()).or_default().push((device.project.clone(), known));
        }
        Self { by_id }
    }

    /// A device, of the last of its projects by their names; none that nobody knows of.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.by_id.get(id)?.last().map(|(_, known)| known)
    }

    /// A device as a project knows it, else as another one does.
    pub fn of(&self, project: &str, id: &str) -> Option<&Known> {
        let all = self.by_id.get(id)?;
        all.iter().find(|(of, _)| of == project).or_else(|| all.last()).map(|(_, known)| known)
    }

    /// What a device is called, and no other one.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.get(id).map_or(id, |known| &known.name)
    }

    /// What a device is called in a project, and no other one.
    pub fn name_in<'a>(&'a self, project: &str, id: &'a str) -> &'a str {
        self.of(project, id).map_or(id, |known| &known.name)
    }

    /// All of them, by id and project.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.by_id.iter().flat_map(|(id, all)| all.iter().map(|(_, known)| (id.as_str(), known)))
    }
}
