//! Tables: what people analyse. Events as they are, one row a sample, a reading, the latest of each device, one row a bucket of the
//! calendar, or one column a device.
//!
//! A table reads through [`crate::query::reader`], in time order and constant memory, and hands on record batches of one schema
//! with units in its metadata. What they are written as is another matter (`export`).
//!
//! **The rules.** One answer to each question, whatever stands beside what is asked for:
//!
//! * Ranges are half-open. A row belongs to a range by its own time; a sample by the sample's.
//! * Events of one time are in the order of their ids. *Last* and [`Shape::Latest`] take the last of that order;
//!   [`Shape::Wide`], a row a time, the last that has a value.
//! * The *grid* of [`Ask::every`] goes from the bucket of the start that was asked for, else of the first event, to that of the
//!   last instant before the end that was asked for, else of the last event, or of what is known or filled behind it. A wide table
//!   has a row for each of its buckets; a long one where there is something to tell of a device.
//! * *Fills* look at one device and value alone. `previous` carries on what stood in the last bucket with an event, for the limit
//!   at most; `linear` fills holes that are no longer than the limit. Both look beyond the range as far as the limit reaches, and
//!   neither goes through a gap that was not filled. Counts and sums are not filled.
//! * A *total* grows by what it rises above all that was counted before. A fall to less than half is a new beginning, at nothing;
//!   a smaller one is a reading that came late or again, and adds nothing. What was counted before the range counts there.
//! * A *mean* is the sum by the count, rounded to three decimals more than its values have; so is what lies on a line between two.
//!   Sums carry along what is rounded off. What no double can hold is null, and said.
//! * A *quantity* is more than an event type: `temperature` means every measure of this name and unit, of whatever type. Where a
//!   device has several values of one name, they are told apart by their types: `temperature.temperature`, `humidity.temperature`.

mod aggregate;
mod calendar;
mod columns;
mod events;
mod fill;
mod gaps;
mod known;
mod latest;
mod loaded;
mod long;
mod lookback;
mod merged;
mod opened;
mod pivot;
mod readings;
mod samples;
mod series;
mod topics;
mod unrecorded;
mod value_spec;
mod values;
mod wide;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;

use crate::base::error::plain;
use crate::base::time::Micros;
use crate::base::zone::{Every, Zone};
use crate::model::schema::Schema;
use crate::query::reader::{ReadError, Reader, Selection, TypePlan};
use crate::store::devices::Directory;

pub use aggregate::Aggregate;
#[cfg(feature = "reports")]
pub(crate) use aggregate::Sum;
pub use fill::Fill;
pub use gaps::{Gaps, gaps};
pub use known::{JOIN_TOLERANCE, StateValidity, Whose, holds_until, known};
pub use lookback::{Before, Last, has_states, lookback, plans};
pub use topics::{Topic, devices_of, told, topics, words};
pub use unrecorded::{Unrecorded, unrecorded};
pub use values::{Value, figure, main_value, named, values};

/// Why there is no such table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Arrow refuses.
    #[error("cannot put the table together: {}", plain(.0))]
    Arrow(#[from] ArrowError),
    /// What was asked for cannot be had.
    #[error("{0}")]
    Ask(String),
    /// No event of the selection has such a value.
    #[error("{0}")]
    NoValue(String),
}

type Result<T> = std::result::Result<T, TableError>;

/// Record batches of one schema.
pub trait Table {
    /// Its name: an event type, or what was asked for.
    fn name(&self) -> &str;
    /// Its columns, with `unit` and `description` in their metadata.
    fn schema(&self) -> &SchemaRef;
    /// The schema of the events, where rows are events with all their columns.
    fn events(&self) -> Option<&Arc<Schema>> {
        None
    }
    /// True when the first column is `time` and ascends, so that several tables can be one in time order.
    fn is_in_time_order(&self) -> bool {
        true
    }
    /// Columns that had to leave out what no double can hold, and how often so far.
    fn overflows(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// The next rows, at least one; none at the end.
    ///
    /// # Errors
    /// When the recording does not read.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>>;
}

/// What kind of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Shape {
    /// One row an event (or a device and bucket, with [`Ask::every`]).
    #[default]
    Long,
    /// One row a sample between two heartbeats.
    Samples,
    /// The latest event of each device.
    Latest,
    /// One row a number that was measured or counted: of these values, as `temperature` or `humidity.temperature`; none given: of all.
    Readings(Vec<String>),
    /// One row a time, a column a device: of these values, as `temperature` or `humidity.temperature`.
    Wide(Vec<String>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What kind of rows.
    pub shape: Shape,
    /// Buckets of the calendar, instead of single events.
    pub every: Option<Every>,
    /// What is told of each bucket; none given: what suits the values.
    pub aggregates: Vec<Aggregate>,
    /// What stands in buckets without an event.
    pub fill: Fill,
    /// Holes longer than this stay empty, in microseconds; none given: four buckets.
    pub fill_limit: Option<Micros>,
    /// A column with the name of the device; with [`Shape::Wide`], columns are called so.
    pub names: bool,
    /// Labels that get a column each.
    pub labels: Vec<String>,
    /// Whose calendar.
    pub zone: Zone,
    /// What is known of times without an event: how long the state of a door lasts that has not moved since.
    pub known: StateValidity,
    /// Gaps that were not filled: what stood before is not carried through them.
    pub gaps: Gaps,
}

impl Ask {
    /// Whether events of a type are read at all.
    pub fn reads(&self, schema: &Schema) -> bool {
        let asks = |wanted: &String| {
            wanted.split('.').next() == Some(schema.name.as_str()) || values(schema).iter().any(|value| value.name() == wanted)
        };
        match &self.shape {
            Shape::Readings(wanted) if wanted.is_empty() => values(schema).iter().any(Value::is_number),
            Shape::Wide(wanted) | Shape::Readings(wanted) => wanted.iter().any(asks),
            Shape::Long | Shape::Samples | Shape::Latest => true,
        }
    }
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            shape: Shape::Long,
            every: None,
            aggregates: Vec::new(),
            fill: Fill::None,
            fill_limit: None,
            names: false,
            labels: Vec::new(),
            zone: Zone::utc(),
            known: StateValidity::default(),
            gaps: Gaps::default(),
        }
    }
}

/// The tables of a selection: one an event type, or a single one where several are joined ([`Shape::Wide`]).
///
/// # Errors
/// When what is asked for does not go together, or an event type has no such value.
pub fn tables<'a>(
    reader: &'a Reader,
    plans: &'a [TypePlan],
    selection: &'a Selection,
    directory: &'a Directory,
    ask: &Ask,
) -> Result<Vec<Box<dyn Table + 'a>>> {
    let device_columns = events::DeviceColumns { directory, names: ask.names, labels: ask.labels.clone() };
    let mut all: Vec<Box<dyn Table + 'a>> = Vec::new();
    match (&ask.shape, ask.every) {
        (Shape::Long, None) => {
            for plan in plans {
                all.push(Box::new(events::Events::new(reader, plan, selection, device_columns.clone())));
            }
        }
        (Shape::Latest, None) => {
            for plan in plans {
                all.push(Box::new(latest::Latest::new(reader, plan, selection, &device_columns)));
            }
        }
        (Shape::Samples, None) => {
            for plan in plans {
                match samples::Samples::new(reader, plan, selection, &device_columns)? {
                    Some(table) => all.push(Box::new(table)),
                    None if selection.event_types.is_empty() => {}
                    None => {
                        return Err(TableError::Ask(format!("events of type {} have no samples", plan.schema.name)));
                    }
                }
            }
        }
        (Shape::Readings(wanted), None) => {
            all.push(Box::new(readings::Readings::new(reader, plans, selection, device_columns, wanted)?));
        }
        (Shape::Samples | Shape::Latest | Shape::Readings(_), Some(_)) => {
            return Err(TableError::Ask("--every makes buckets of events; leave out --samples, --latest and --long".to_owned()));
        }
        (Shape::Wide(wanted), None) => all.push(Box::new(wide::Wide::new(reader, plans, selection, directory, wanted, ask)?)),
        (Shape::Wide(wanted), Some(every)) => {
            all.push(Box::new(pivot::Buckets::new(reader, plans, selection, directory, wanted, (every, ask))?));
        }
        (Shape::Long, Some(every)) => {
            let (mut told, mut bare) = (Vec::new(), Vec::new());
            for plan in plans {
                let table = long::Long::new(reader, plan, selection, &device_columns, every, (ask, &values(&plan.schema)))?;
                let tells = !plan.partitions.is_empty() || table.has_devices();
                if tells { &mut told } else { &mut bare }.push(table);
            }
            // Where nothing holds of what was told before, nothing is told of the type at all; but for the columns of one that was
            // asked for, if that is all there is.
            if told.is_empty() {
                told =
                    bare.into_iter().filter(|table| selection.event_types.iter().any(|wanted| wanted == table.name())).collect();
            }
            all.extend(told.into_iter().map(|table| Box::new(table) as Box<dyn Table + 'a>));
        }
    }
    Ok(all)
}

/// A column with its unit and what it means.
fn field(name: &str, kind: arrow::datatypes::DataType, unit: Option<&str>, description: &str) -> Field {
    let mut about = HashMap::from([("description".to_owned(), description.to_owned())]);
    about.extend(unit.map(|unit| ("unit".to_owned(), unit.to_owned())));
    Field::new(name, kind, true).with_metadata(about)
}
