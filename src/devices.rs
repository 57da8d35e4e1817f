//! Devices: the list that the cloud gave last, as `devices.parquet` beside the data.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::archive::ArchiveError;
use crate::disk;
use crate::event::DeviceRow;
use crate::layout::Layout;

/// Publishes the list: `id`, `type`, `product_number`, `name`, `labels` (JSON), `project_id`, all strings.
///
/// # Errors
/// When the disk refuses.
pub fn publish(layout: &Layout, devices: &[DeviceRow]) -> Result<(), ArchiveError> {
    let path = layout.devices();
    let column = |value: &dyn Fn(&DeviceRow) -> Option<String>| -> ArrayRef {
        Arc::new(devices.iter().map(value).collect::<StringArray>())
    };
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", column(&|device| Some(device.id.clone())), false),
        ("type", column(&|device| Some(device.kind.clone())), false),
        ("product_number", column(&|device| Some(device.product_number.clone()).filter(|number| !number.is_empty())), true),
        ("name", column(&name), true),
        ("labels", column(&|device| Some(device.labels.clone())), false),
        ("project_id", column(&|device| Some(device.project.clone())), false),
    ])
    .map_err(ArchiveError::arrow(&path))?;
    let fail = ArchiveError::parquet(&path);
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(&fail)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).map_err(&fail)?;
    writer.write(&rows).map_err(&fail)?;
    let bytes = writer.into_inner().map_err(&fail)?;
    Ok(disk::write(&layout.staging(), &path, &bytes)?)
}

/// What people call a device: its label `name`.
fn name(device: &DeviceRow) -> Option<String> {
    let labels: serde_json::Value = serde_json::from_str(&device.labels).ok()?;
    labels.get("name")?.as_str().map(str::to_owned)
}
