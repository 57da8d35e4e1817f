//! The latest event of each device, by device. Days are read backwards, and no further than there is somebody left to find.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::base::time::Day;
use crate::model::event::Partition;
use crate::model::schema::Schema;
use crate::query::reader::{Backwards, Reader, Selection, TypePlan};

use super::events::{DeviceColumns, Events};
use super::{Result, Table};

/// Rows that may gather before those that were overtaken are dropped.
const GATHER: usize = 16 * 1024;

/// One row a device. Holds a row of each device that it has met.
pub(super) struct Latest<'a> {
    reader: &'a Reader,
    plan: &'a TypePlan,
    selection: &'a Selection,
    device_columns: DeviceColumns<'a>,
    /// Tells what the rows look like.
    events: Events<'a>,
    done: bool,
}

impl<'a> Latest<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        plan: &'a TypePlan,
        selection: &'a Selection,
        device_columns: &DeviceColumns<'a>,
    ) -> Self {
        let events = Events::new(reader, plan, selection, device_columns.clone());
        Self { reader, plan, selection, device_columns: device_columns.clone(), events, done: false }
    }

    /// The last rows of a day, of devices that were not met later.
    fn of_day(&self, partition: Partition, walk: &Backwards<'_>) -> Result<RecordBatch> {
        let plan = TypePlan { schema: Arc::clone(&self.plan.schema), partitions: vec![partition], events: 0 };
        let rows = self.reader.own_rows(plan, self.selection.clone());
        let mut events = Events::of(rows, &self.plan.schema, self.device_columns.clone());
        let schema = self.events.schema();
        let (mut kept, mut rows, mut most) = (Vec::new(), 0, GATHER);
        while let Some(batch) = events.next_batch()? {
            let batch = last_of_each(&[batch], schema)?;
            let is_new: BooleanArray =
                batch.column(1).as_string::<i32>().iter().map(|device| Some(!walk.has_met(device))).collect();
            let batch = filter_record_batch(&batch, &is_new)?;
            rows += batch.num_rows();
            kept.push(batch);
            if rows > most {
                let last = last_of_each(&kept, schema)?;
                rows = last.num_rows();
                most = (2 * rows).max(GATHER);
                kept = vec![last];
            }
        }
        last_of_each(&kept, schema)
    }
}

/// The last row of each device, in the order of the ids; of batches that follow each other in time.
fn last_of_each(batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch> {
    let all = concat_batches(schema, batches)?;
    let devices = all.column(1).as_string::<i32>();
    let mut last: HashMap<Option<&str>, u32> = HashMap::new();
    for (row, number) in (0..devices.len()).zip(0_u32..) {
        last.insert(devices.is_valid(row).then(|| devices.value(row)), number);
    }
    let mut last: Vec<_> = last.into_iter().collect();
    last.sort_unstable();
    let rows: UInt32Array = last.into_iter().map(|(_, row)| row).collect::<Vec<_>>().into();
    Ok(take_record_batch(&all, &rows)?)
}

impl Table for Latest<'_> {
    fn name(&self) -> &str {
        self.events.name()
    }

    fn schema(&self) -> &SchemaRef {
        self.events.schema()
    }

    fn events(&self) -> Option<&Arc<Schema>> {
        self.events.events()
    }

    fn is_in_time_order(&self) -> bool {
        false
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let partitions: HashMap<Day, &Partition> =
            self.plan.partitions.iter().map(|partition| (partition.day, partition)).collect();
        let (first, last) = (self.plan.partitions.first(), self.plan.partitions.last());
        let within = (first.map(|first| first.day), last.map(|last| last.day));
        let mut walk = self.reader.backwards(&self.plan.schema.name, within, &self.selection.devices)?;
        let mut found = Vec::new();
        while let Some(day) = walk.next_day() {
            let Some(partition) = partitions.get(&day) else { continue };
            let last = self.of_day((*partition).clone(), &walk)?;
            last.column(1).as_string::<i32>().iter().for_each(|device| walk.met(device));
            found.push(last);
        }
        let last = last_of_each(&found, self.events.schema())?;
        Ok((last.num_rows() > 0).then_some(last))
    }
}
