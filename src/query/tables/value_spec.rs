//! What is told of a value: its figures, and its states if it has any.

use super::aggregate::Statistic;
use super::values::Value;

/// A value, its states if it has any, and what is told of it.
#[derive(Debug, Clone)]
pub(super) struct ValueSpec {
    pub(super) value: Value,
    pub(super) states: Vec<String>,
    pub(super) figures: Vec<Statistic>,
}

impl ValueSpec {
    /// True where a bucket without an event may get something of it from others.
    pub(super) fn is_fillable(&self) -> bool {
        self.figures.iter().any(|figure| figure.cell().is_some())
    }
}
