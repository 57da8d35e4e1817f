//! What was given from the buffer and may come again: as a double, or in a day file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use arrow::array::RecordBatch;

use crate::base::time::Micros;
use crate::model::event::Partition;
use crate::store::archive::Keys;

use super::received;

/// Most keys that are remembered, in some 20 MB. They go as the buffer is rolled, so a recorder that cannot keep up, or cannot roll,
/// comes to this.
const KEYS_MAX: usize = if cfg!(test) { 2000 } else { 512 * 1024 };

/// Keys of events, by partition.
#[derive(Debug, Default)]
pub(super) struct Given {
    partitions: HashMap<Partition, Of>,
    count: usize,
    /// Keys are told apart by 64 bits, of which nobody outside can know.
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Of {
    /// The seq of its block, and when it was received.
    keys: HashMap<u64, (i64, Micros)>,
    /// What was received up to then, in blocks up to this seq, was given, and is not remembered.
    floor: Option<(Micros, i64)>,
}

impl Given {
    /// Notes the rows of a block; tells of each whether it is new.
    pub(super) fn insert(&mut self, partition: &Partition, seq: i64, rows: &RecordBatch) -> Vec<bool> {
        let Some(keys) = Keys::of(rows) else { return vec![true; rows.num_rows()] };
        let of = self.partitions.entry(partition.clone()).or_default();
        let before = of.keys.len();
        let note = |(at, key): (usize, (Micros, &str))| {
            let mut is_new = false;
            let noted = of.keys.entry(self.hash.hash_one(key)).or_insert_with(|| {
                is_new = true;
                (seq, received(rows, at).unwrap_or_default())
            });
            noted.0 = noted.0.max(seq);
            is_new
        };
        let is_new = keys.iter().enumerate().map(note).collect();
        self.count += of.keys.len() - before;
        while self.count > KEYS_MAX {
            let Some(most) = self.partitions.values_mut().max_by_key(|of| of.keys.len()) else { break };
            self.count -= most.keys.len();
            let (mut received_last, mut seq_last) = most.floor.unwrap_or((Micros::MIN, i64::MIN));
            for (_, (seq, received)) in most.keys.drain() {
                (received_last, seq_last) = (received_last.max(received), seq_last.max(seq));
            }
            most.floor = Some((received_last, seq_last));
        }
        is_new
    }

    /// What was received up to then was given, whether it is remembered or not.
    pub(super) fn floor(&self, partition: &Partition) -> Option<Micros> {
        self.partitions.get(partition)?.floor.map(|(received, _)| received)
    }

    /// A day file holds what came up to this seq, and that is known of it.
    pub(super) fn forget(&mut self, partition: &Partition, upto: i64) {
        let Some(of) = self.partitions.get_mut(partition) else { return };
        let before = of.keys.len();
        of.keys.retain(|_, (seq, _)| *seq > upto);
        of.keys.shrink_to(2 * of.keys.len());
        self.count -= before - of.keys.len();
        of.floor = of.floor.filter(|(_, seq)| *seq > upto);
        if of.keys.is_empty() && of.floor.is_none() {
            self.partitions.remove(partition);
        }
    }
}
