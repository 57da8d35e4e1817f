//! What is measured of an order that was carried out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::time::{Micros, micros};
use crate::model::event::Batch;
use crate::store::buffer::{Change, Heard};
use crate::store::meter::Meter;

use super::{Claim, Command, Kept};

/// Counts what an order has brought, and how long it took.
pub(super) fn measure(meter: &Meter, order: &Command, kept: Kept, took: Duration, now: Micros) {
    let (batch, heard, is_live): (Option<&Batch>, Option<&Heard>, bool) = match order {
        Command::Keep(batch, Claim::Session(_, heard)) => (Some(batch), heard.as_ref(), true),
        Command::Keep(batch, _) => (Some(batch), None, false),
        Command::Push(push) if push.verdict.is_kept() => (Some(&push.batch), None, true),
        Command::Note(Change::Heard(heard)) => (None, Some(heard), false),
        _ => return,
    };
    if let Some(batch) = batch {
        Meter::add(&meter.kept, kept.events as u64);
        Meter::add(&meter.faults, kept.faults as u64);
        meter.pressure.buffered.fetch_add(i64::try_from(kept.events).unwrap_or(i64::MAX), Ordering::Relaxed);
        meter.commits.add([micros(took)]);
        if kept.events > 0 {
            meter.last_kept.store(now, Ordering::Relaxed);
        }
        for (_, rows) in batch.parts.iter().filter(|_| is_live) {
            let times = rows.column_by_name("time").and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
            let times = times.map_or(&[][..], |times| times.values());
            meter.delays.add(times.iter().map(|time| now.saturating_sub(*time)));
        }
    }
    meter.update(|parts| {
        for (partition, rows) in batch.iter().flat_map(|batch| &batch.parts) {
            parts.committed.add(&partition.event_type, rows.num_rows() as u64);
        }
        if let Some(heard) = heard {
            let sign = parts.signs.entry(heard.run.project.clone()).or_insert(heard.spoke_at);
            *sign = heard.spoke_at.max(*sign);
        }
    });
}
