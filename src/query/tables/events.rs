//! Events as they are recorded, and what people know of their devices beside them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef};

use crate::model::schema::Schema;
use crate::query::reader::{Reader, Rows, Selection, TypePlan};
use crate::store::devices::Directory;

use super::{Result, Table, field};

/// What is told of devices beside their ids: columns that stand behind `device_id`.
#[derive(Debug, Clone)]
pub(super) struct DeviceColumns<'a> {
    pub(super) directory: &'a Directory,
    /// A column `device_name`.
    pub(super) names: bool,
    /// A column for each of these labels, called like the label; `label_…` where there is such a column already.
    pub(super) labels: Vec<String>,
}

impl DeviceColumns<'_> {
    /// The columns, beside columns of these names.
    pub(super) fn fields(&self, beside: &[FieldRef]) -> Vec<FieldRef> {
        /// Columns that tables have beside those.
        const TAKEN: [&str; 6] = ["time", "device_id", "device_name", "event_id", "event_type", "event_time"];
        let name = self.names.then(|| {
            field(
                "device_name",
                DataType::Utf8,
                None,
                "What the device is called, and no other one; its id where it has no name.",
            )
        });
        let mut all: Vec<FieldRef> = name.into_iter().map(Arc::new).collect();
        for label in &self.labels {
            let mut name = label.clone();
            while TAKEN.contains(&name.as_str()) || beside.iter().chain(&all).any(|field| *field.name() == name) {
                name.insert_str(0, "label_");
            }
            all.push(Arc::new(field(&name, DataType::Utf8, None, &format!("Label {label} of the device, as it was last."))));
        }
        all
    }

    /// Their values for some devices, each with the project of the row.
    pub(super) fn columns<'d>(&self, devices: &(impl Iterator<Item = Option<(&'d str, &'d str)>> + Clone)) -> Vec<ArrayRef> {
        let text = |value: &dyn Fn((&'d str, &'d str)) -> Option<String>| -> ArrayRef {
            Arc::new(devices.clone().map(|device| device.and_then(value)).collect::<StringArray>())
        };
        let label =
            |(project, device): (&str, &str), label: &String| self.directory.of(project, device)?.labels.get(label).cloned();
        let mut all: Vec<ArrayRef> = Vec::new();
        if self.names {
            all.push(text(&|(project, device)| Some(self.directory.name_in(project, device).to_owned())));
        }
        all.extend(self.labels.iter().map(|wanted| text(&|device| label(device, wanted))));
        all
    }
}

/// Projects and ids of devices; none where a row is about none.
pub(super) fn homes<'d>(
    devices: &'d ArrayRef,
    projects: &'d ArrayRef,
) -> impl Iterator<Item = Option<(&'d str, &'d str)>> + Clone + 'd {
    let (devices, projects) = (devices.as_string::<i32>(), projects.as_string::<i32>());
    devices.iter().zip(projects).map(|(device, project)| Some((project.unwrap_or_default(), device?)))
}

/// One row an event.
pub(super) struct Events<'a> {
    rows: Rows<'a>,
    about: Arc<Schema>,
    schema: SchemaRef,
    device_columns: DeviceColumns<'a>,
    added: usize,
}

impl<'a> Events<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        device_columns: DeviceColumns<'a>,
    ) -> Self {
        Self::of(reader.rows(plan, selection), &plan.schema, device_columns)
    }

    /// Of these rows of a type.
    pub(super) fn of(rows: Rows<'a>, about: &Arc<Schema>, device_columns: DeviceColumns<'a>) -> Self {
        let own = about.described();
        let added = device_columns.fields(own.fields());
        let mut fields: Vec<FieldRef> = own.fields().iter().cloned().collect();
        let count = added.len();
        fields.splice(2..2, added);
        let schema = Arc::new(ArrowSchema::new(fields));
        Self { rows, about: Arc::clone(about), schema, device_columns, added: count }
    }
}

impl Table for Events<'_> {
    fn name(&self) -> &str {
        &self.about.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn events(&self) -> Option<&Arc<Schema>> {
        // With what people know beside it, a row is more than an event.
        (self.added == 0).then_some(&self.about)
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.rows.next_batch()? else { return Ok(None) };
        let mut columns = batch.columns().to_vec();
        if self.added > 0 {
            // time, device_id, project_id
            columns.splice(2..2, self.device_columns.columns(&homes(&batch.columns()[1], &batch.columns()[2])));
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
