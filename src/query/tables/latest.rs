//! The latest event of each device, by device.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::model::schema::Schema;

use super::events::Events;
use super::{Result, Table};

/// Rows that may gather before those that were overtaken are dropped.
const GATHER: usize = 16 * 1024;

/// One row a device. Holds a row of each device that it has met.
pub(super) struct Latest<'a> {
    events: Events<'a>,
    done: bool,
}

impl<'a> Latest<'a> {
    pub(super) fn new(events: Events<'a>) -> Self {
        Self { events, done: false }
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
        let schema = Arc::clone(self.events.schema());
        let (mut kept, mut rows, mut most) = (Vec::new(), 0, GATHER);
        while let Some(batch) = self.events.next_batch()? {
            let batch = last_of_each(&[batch], &schema)?;
            rows += batch.num_rows();
            kept.push(batch);
            if rows > most {
                let last = last_of_each(&kept, &schema)?;
                rows = last.num_rows();
                most = (2 * rows).max(GATHER);
                kept = vec![last];
            }
        }
        let last = last_of_each(&kept, &schema)?;
        Ok((last.num_rows() > 0).then_some(last))
    }
}
