//! Several tables of the same columns as one, in the order of time.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use crate::base::time::Micros;

use super::{Result, Table};

/// Rows that are handed on together.
const ROWS: usize = 8 * 1024;

pub(super) struct Merged<'a> {
    name: String,
    schema: SchemaRef,
    heads: Vec<Head<'a>>,
}

/// A table on its way.
struct Head<'a> {
    table: Box<dyn Table + 'a>,
    batch: Option<RecordBatch>,
    row: usize,
}

fn times(batch: &RecordBatch) -> &[Micros] {
    batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
}

impl Head<'_> {
    /// The time of the next row.
    fn next_time(&mut self) -> Result<Option<Micros>> {
        if self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            (self.batch, self.row) = (self.table.next_batch()?, 0);
        }
        Ok(self.batch.as_ref().map(|batch| times(batch)[self.row]))
    }
}

impl<'a> Merged<'a> {
    /// None of no tables.
    pub(super) fn new(name: &str, tables: Vec<Box<dyn Table + 'a>>) -> Option<Self> {
        let schema = Arc::clone(tables.first()?.schema());
        let heads = tables.into_iter().map(|table| Head { table, batch: None, row: 0 }).collect();
        Some(Self { name: name.to_owned(), schema, heads })
    }
}

impl Table for Merged<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn overflows(&self) -> Vec<(String, u64)> {
        self.heads.iter().flat_map(|head| head.table.overflows()).collect()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < ROWS {
            let mut coming: Vec<(Micros, usize)> = Vec::new();
            for (place, head) in self.heads.iter_mut().enumerate() {
                coming.extend(head.next_time()?.map(|time| (time, place)));
            }
            coming.sort_unstable();
            let Some((_, place)) = coming.first().copied() else { break };
            let head = &mut self.heads[place];
            let Some(batch) = &head.batch else { break };
            let own = &times(batch)[head.row..];
            let many = coming.get(1).map_or(own.len(), |next| own.partition_point(|time| (*time, place) < *next));
            pieces.push(batch.slice(head.row, many));
            head.row += many;
            rows += many;
        }
        Ok(if rows == 0 { None } else { Some(concat_batches(&self.schema, &pieces)?) })
    }
}
