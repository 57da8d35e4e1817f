//! What was measured, by device: least, mean and greatest of each type's main value, time in each state, growth of totals. The
//! same tables as an export makes, of a single bucket that holds everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use serde::{Serialize, Serializer};

use crate::base::zone::Every;
use crate::model::schema::{Behaviour, Schema};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::query::tables::{Aggregate, Ask, Sum, TableError, figure, main_value, tables};
use crate::store::devices::Directory;

/// What was measured of one value. Fields are only ever added to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The value: a column of the event type. One text for all devices, of which there may be very many.
    #[serde(serialize_with = "text")]
    pub value: Arc<str>,
    /// Its UCUM unit; none where it has none.
    #[serde(serialize_with = "text_or_null")]
    pub unit: Option<Arc<str>>,
    /// Readings that min, mean and max are of.
    pub readings: u64,
    /// The least.
    pub min: Option<f64>,
    /// The mean of the readings; none where no double holds their sum, or that of one of several devices.
    pub mean: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The last; none for several devices together.
    pub last: Option<f64>,
    /// By how much a total grew.
    pub increase: Option<f64>,
    /// Seconds in each state, as far as it is known.
    pub seconds_in: BTreeMap<String, f64>,
    /// The readings' sum.
    #[serde(skip)]
    sum: Sum,
}

impl Figures {
    /// Adds those of another device.
    pub(super) fn add(&mut self, other: &Self) {
        let both = |a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(of(a, b)),
            (a, b) => a.or(b),
        };
        self.readings += other.readings;
        self.sum.add_all(other.sum);
        self.mean = self.mean_of_sum();
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        self.increase = both(self.increase, other.increase, |a, b| a + b);
        self.last = None;
        for (state, seconds) in &other.seconds_in {
            *self.seconds_in.entry(state.clone()).or_default() += seconds;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
    fn mean_of_sum(&self) -> Option<f64> {
        let total = self.sum.total();
        (self.readings > 0 && total.is_finite()).then(|| total / self.readings as f64)
    }

    /// None of anything yet, of a type's main value.
    pub(super) fn of(schema: &Schema) -> Self {
        let value = main_value(schema);
        Self { value: value.name().into(), unit: value.unit().map(Into::into), ..Self::default() }
    }
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[expect(clippy::ref_option, reason = "serde hands a field on as it is")]
fn text_or_null<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

/// The figures of the main value of a type, by device.
pub(super) fn figures(
    reader: &Reader,
    plan: &TypePlan,
    selection: &Selection,
    directory: &Directory,
    ask: &Ask,
) -> Result<BTreeMap<String, Figures>, TableError> {
    let value = main_value(&plan.schema);
    let (mut found, none) = (BTreeMap::new(), Figures::of(&plan.schema));
    if value.column.is_none() {
        return Ok(found);
    }
    let aggregates = vec![Aggregate::Sum, Aggregate::Rest, Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::Count];
    let aggregates = if value.behaves() == Some(Behaviour::State) { Vec::new() } else { aggregates };
    let ask = Ask { every: Some(Every::Ever), aggregates, ..ask.clone() };
    let plans = std::slice::from_ref(plan);
    for mut table in tables(reader, plans, selection, directory, &ask)? {
        while let Some(batch) = table.next_batch()? {
            let devices = batch.column(1).as_string::<i32>();
            for row in 0..batch.num_rows() {
                let id = if devices.is_valid(row) { devices.value(row) } else { "" };
                let entry: &mut Figures = found.entry(id.to_owned()).or_insert_with(|| none.clone());
                let (mut sum, mut rest) = (None, 0.0);
                for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).filter(|(_, c)| c.is_valid(row)) {
                    let Some(number) = figure(column, row) else { continue };
                    match field.name().strip_prefix(value.name()) {
                        Some("_sum") => sum = Some(number),
                        Some("_rest") => rest = number,
                        _ => set(entry, field.name(), value.name(), value.behaves(), number),
                    }
                }
                // A sum that no double holds has no figure in the table.
                let nothing = if entry.readings > 0 { f64::INFINITY } else { 0.0 };
                entry.sum = Sum::of(sum.unwrap_or(nothing), rest);
                entry.mean = entry.mean_of_sum();
            }
        }
    }
    Ok(found)
}

fn set(figures: &mut Figures, column: &str, value: &str, behaves: Option<Behaviour>, number: f64) {
    let own = column.strip_prefix(value).and_then(|rest| rest.strip_prefix('_'));
    if behaves == Some(Behaviour::State) {
        if let Some(state) = own.unwrap_or(column).strip_suffix("_seconds") {
            *figures.seconds_in.entry(state.to_owned()).or_default() += number;
        }
        return;
    }
    match own {
        Some("min") => figures.min = Some(number),
        Some("max") => figures.max = Some(number),
        Some("last") => figures.last = Some(number),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count is whole and not negative")]
        Some("count") => figures.readings = number as u64,
        Some("increase") => figures.increase = Some(number),
        _ => {}
    }
}
