//! Rows of events on their way into series: which of them say anything, and the devices and states that they tell of.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::base::time::Micros;
use crate::model::schema::Behaviour;
use crate::query::reader::{Reader, Selection, TypePlan};

use super::Result;
use super::value_spec::ValueSpec;
use super::values::Value;

/// Some of many numbers, each once.
pub(super) struct Marked {
    pub(super) all: Vec<usize>,
    pub(super) is_in: Vec<bool>,
}

impl Marked {
    pub(super) fn new(of: usize) -> Self {
        Self { all: Vec::new(), is_in: vec![false; of] }
    }

    pub(super) fn add(&mut self, number: usize) {
        if !std::mem::replace(&mut self.is_in[number], true) {
            self.all.push(number);
        }
    }

    pub(super) fn take(&mut self) -> Vec<usize> {
        self.all.iter().for_each(|number| self.is_in[*number] = false);
        std::mem::take(&mut self.all)
    }
}

pub(super) struct Loaded {
    pub(super) batch: RecordBatch,
    pub(super) columns: Vec<Column>,
    pub(super) projects: Option<StringArray>,
    pub(super) row: usize,
}

pub(super) enum Column {
    Float(Float64Array),
    Int(Int64Array),
    /// With the number of the state of each row.
    State(Vec<Option<usize>>),
    /// An event that only happens.
    Happens,
    None,
}

impl Column {
    /// Whether a row says anything.
    pub(super) fn counts(&self, row: usize) -> bool {
        match self {
            Self::Float(values) => values.is_valid(row),
            Self::Int(values) => values.is_valid(row),
            Self::State(states) => states[row].is_some(),
            Self::Happens => true,
            Self::None => false,
        }
    }
}

impl Loaded {
    /// A batch, by the values that are told of it.
    pub(super) fn new(batch: RecordBatch, told: &[ValueSpec]) -> Self {
        let column = |told: &ValueSpec| {
            if told.value.column.is_none() {
                return Column::Happens;
            }
            let Some(array) = batch.column_by_name(told.value.name()) else { return Column::None };
            match array.data_type() {
                DataType::Float64 => Column::Float(array.as_primitive::<Float64Type>().clone()),
                DataType::Int64 => Column::Int(array.as_primitive::<Int64Type>().clone()),
                DataType::Utf8 => {
                    let number = |state: &str| told.states.iter().position(|known| known == state);
                    Column::State(array.as_string::<i32>().iter().map(|state| state.and_then(number)).collect())
                }
                _ => Column::None,
            }
        };
        let columns = told.iter().map(column).collect();
        let projects = batch.column_by_name("project_id").and_then(|column| column.as_string_opt::<i32>()).cloned();
        Self { batch, columns, projects, row: 0 }
    }

    /// Leaves out rows that say nothing.
    pub(super) fn skip(&mut self) {
        while self.row < self.batch.num_rows() && !self.columns.iter().any(|column| column.counts(self.row)) {
            self.row += 1;
        }
    }

    pub(super) fn time(&self) -> Micros {
        self.batch.column(0).as_primitive::<TimestampMicrosecondType>().value(self.row)
    }
}

/// The text of a row, such as the id of its device; empty where there is none.
pub(super) fn text_or_nothing(texts: &StringArray, row: usize) -> &str {
    if texts.is_valid(row) { texts.value(row) } else { "" }
}

/// Names of the columns of some values.
pub(super) fn columns(values: &[Value]) -> Vec<&str> {
    values.iter().filter_map(|value| value.column.as_ref()).map(|(column, _)| column.name.as_str()).collect()
}

/// The devices of a selection, ascending, and the states that each value takes.
pub(super) fn found(
    reader: &Reader,
    plan: &TypePlan,
    selection: &Selection,
    values: &[Value],
) -> Result<(BTreeSet<String>, Vec<BTreeSet<String>>)> {
    let states: Vec<&Value> = values.iter().filter(|value| value.behaves() == Some(Behaviour::State)).collect();
    let names: Vec<&str> = states.iter().map(|value| value.name()).collect();
    let mut rows = reader.columns(plan, selection, &names).uncounted();
    let (mut devices, mut taken) = (HashSet::new(), vec![HashSet::new(); values.len()]);
    while let Some(batch) = rows.next_batch()? {
        let ids = batch.column(1).as_string::<i32>();
        note((0..ids.len()).map(|row| text_or_nothing(ids, row)), &mut devices);
        for (value, taken) in values.iter().zip(&mut taken) {
            if value.behaves() == Some(Behaviour::State)
                && let Some(column) = batch.column_by_name(value.name()).and_then(|column| column.as_string_opt::<i32>())
            {
                note(column.iter().flatten(), taken);
            }
        }
    }
    Ok((devices.into_iter().collect(), taken.into_iter().map(|states| states.into_iter().collect()).collect()))
}

fn note<'t>(texts: impl Iterator<Item = &'t str>, into: &mut HashSet<String>) {
    for text in texts {
        if !into.contains(text) {
            into.insert(text.to_owned());
        }
    }
}
