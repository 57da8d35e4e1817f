//! What the events of a type say that can be drawn or summed up: measures, totals, states, or only that they happened.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::base::text::few;
use crate::model::schema::{Behaviour, Column, Schema};

use super::TableError;

/// A value of an event type.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The event type.
    pub event_type: String,
    /// The column and how it behaves; none where an event only happens, as a touch does.
    pub column: Option<(Column, Behaviour)>,
}

impl Value {
    /// What it is called: its column, else the event type.
    pub fn name(&self) -> &str {
        self.column.as_ref().map_or(&self.event_type, |(column, _)| &column.name)
    }

    /// What it is called where others have the same name: `humidity.temperature`.
    pub(super) fn full(&self) -> String {
        match &self.column {
            Some((column, _)) => format!("{}.{}", self.event_type, column.name),
            None => self.event_type.clone(),
        }
    }

    /// Whether it is a number: a measure or a total.
    pub fn is_number(&self) -> bool {
        matches!(self.behaves(), Some(Behaviour::Gauge | Behaviour::Counter))
    }

    /// Whether another one measures the same: a number of the same name and unit.
    pub fn is_like(&self, other: &Self) -> bool {
        let is_measure = self.behaves() == Some(Behaviour::Gauge) && other.behaves() == Some(Behaviour::Gauge);
        is_measure && self.name() == other.name() && self.unit() == other.unit()
    }

    /// Its UCUM unit.
    pub fn unit(&self) -> Option<&str> {
        self.column.as_ref().and_then(|(column, _)| column.unit.as_deref())
    }

    /// How it behaves; none where an event only happens.
    pub fn behaves(&self) -> Option<Behaviour> {
        self.column.as_ref().map(|(_, behaves)| *behaves)
    }
}

/// All values of an event type, in the order of its columns; only that it happens, where it has none.
pub fn values(schema: &Schema) -> Vec<Value> {
    let of = |column: Option<(Column, Behaviour)>| Value { event_type: schema.name.clone(), column };
    let columns = schema.columns.iter();
    let all: Vec<Value> = columns.filter_map(|column| Some(of(Some((column.clone(), column.behaves?))))).collect();
    if all.is_empty() { vec![of(None)] } else { all }
}

/// The value that an event type is about: the one called like it, or after it (`relative_humidity`), else its first.
pub fn main_value(schema: &Schema) -> Value {
    let all = values(schema);
    let like = |value: &&Value| value.name() == schema.name;
    let after = |value: &&Value| value.name().contains(&schema.name.to_lowercase());
    all.iter().find(like).or_else(|| all.iter().find(after)).unwrap_or(&all[0]).clone()
}

/// A measure or a total in a row of a column; none where the column has no numbers. As doubles, as in every spreadsheet.
pub fn figure(column: &ArrayRef, row: usize) -> Option<f64> {
    match column.data_type() {
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        #[expect(clippy::cast_precision_loss, reason = "what is counted is far below 2^53")]
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row) as f64),
        _ => None,
    }
}

/// The values that somebody wrote as `temperature`: a quantity, and so every measure of this name and unit, of whatever event type;
/// else what an event type is about, or the one column of this name. As `humidity.temperature` it is one column of one type.
///
/// # Errors
/// When no schema has such a value, or several have different ones.
pub fn named(wanted: &str, schemas: &[&Schema]) -> Result<Vec<Value>, TableError> {
    let all = || schemas.iter().flat_map(|schema| values(schema));
    if let Some(schema) = schemas.iter().find(|schema| schema.name == wanted) {
        let main = main_value(schema);
        if main.name() != wanted {
            return Ok(vec![main]);
        }
        let others = all().filter(|value| value.is_like(&main) && value.event_type != main.event_type).collect();
        return Ok([vec![main], others].concat());
    }
    if let Some((event_type, column)) = wanted.split_once('.') {
        let mut found = all().filter(|value| value.event_type == event_type && value.column.is_some() && value.name() == column);
        if let Some(value) = found.next() {
            return Ok(vec![value]);
        }
    }
    let found: Vec<Value> = all().filter(|value| value.column.is_some() && value.name() == wanted).collect();
    match found.as_slice() {
        [first, others @ ..] if others.iter().all(|other| other.is_like(first)) => Ok(found),
        [] => {
            let there = few(&all().map(|value| value.full()).collect::<Vec<_>>());
            let there = if there.is_empty() { "no values at all".to_owned() } else { there };
            Err(TableError::NoValue(format!("the selection has no value {wanted:?}; it has {there}")))
        }
        several => {
            let several = several.iter().map(Value::full).collect::<Vec<_>>().join(" or ");
            Err(TableError::Ask(format!("{wanted:?} may mean {several}; write one of these")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Registry;

    #[test]
    fn the_main_value_is_what_one_expects_of_the_type() {
        let registry = Registry::built_in().unwrap();
        for (event_type, main) in [
            ("temperature", "temperature"),
            ("humidity", "relative_humidity"),
            ("networkStatus", "signal_strength"),
            ("batteryStatus", "percentage"),
            ("contact", "state"),
            ("touch", "touch"),
            ("touchCount", "total"),
            ("nobodyKnowsIt", "nobodyKnowsIt"),
        ] {
            assert_eq!(main_value(&registry.get(event_type)).name(), main, "{event_type}");
        }
    }

    #[test]
    fn a_value_may_be_named_in_full_or_in_short() {
        let registry = Registry::built_in().unwrap();
        let (temperature, humidity) = (registry.get("temperature"), registry.get("humidity"));
        let schemas = [temperature.as_ref(), humidity.as_ref()];
        let types =
            |wanted: &str| -> Vec<String> { named(wanted, &schemas).unwrap().into_iter().map(|value| value.full()).collect() };
        assert_eq!(types("temperature"), ["temperature.temperature", "humidity.temperature"]);
        assert_eq!(types("humidity.temperature"), ["humidity.temperature"]);
        assert_eq!(types("relative_humidity"), ["humidity.relative_humidity"]);
        assert_eq!(types("humidity"), ["humidity.relative_humidity"]);
        assert!(named("co2", &schemas).unwrap_err().to_string().contains("humidity.relative_humidity"));
        // States of one name say something else each.
        let (contact, motion) = (registry.get("contact"), registry.get("motion"));
        let states = named("state", &[contact.as_ref(), motion.as_ref()]).unwrap_err().to_string();
        assert!(states.contains("contact.state or motion.state"), "{states}");
    }
}
