//! The columns of a wide table: a device and a value each, with names that nothing else has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use crate::base::text;
use crate::model::schema::{Schema, time_type};
use crate::query::reader::{Reader, Selection, TypePlan};
use crate::store::devices::Directory;

use super::values::{Value, named};
use super::{Result, TableError, field};

/// Columns at most, as many as a sheet of a spreadsheet has: each has a name, a description and cells of its own in memory.
const COLUMNS: usize = 16_384;

/// Refuses a table that is wider than anything could show; `cells` are its columns beside the time.
pub(super) fn check_width(cells: usize) -> Result<()> {
    let columns = cells + 1;
    if columns <= COLUMNS {
        return Ok(());
    }
    let count = |number: usize| text::count(u64::try_from(number).unwrap_or(u64::MAX));
    Err(TableError::Ask(format!(
        "--wide makes {} columns here, and no spreadsheet has more than {}; choose devices (--device, --label, --device-type), or \
         leave out --wide",
        count(columns),
        count(COLUMNS)
    )))
}

/// The values of a type that were asked for.
pub(super) struct Asked {
    pub(super) plan: TypePlan,
    pub(super) values: Vec<Value>,
    /// By value: the place of what was asked for, which may be several of them.
    wanted: Vec<usize>,
}

/// The values that were asked for, each type once. What a name means is a matter of the whole recording, and not of a range: one
/// that no event of the selection has, but some event type, has no devices.
pub(super) fn asked(reader: &Reader, plans: &[TypePlan], selection: &Selection, wanted: &[String]) -> Result<Vec<Asked>> {
    let is_selected = |name: &str| selection.event_types.is_empty() || selection.event_types.iter().any(|wanted| wanted == name);
    let own: Vec<Arc<Schema>> =
        reader.types()?.iter().filter(|name| is_selected(name)).map(|name| reader.registry().get(name)).collect();
    let own: Vec<&Schema> = own.iter().map(AsRef::as_ref).collect();
    let known: Vec<&Schema> = reader.registry().iter().map(AsRef::as_ref).filter(|schema| is_selected(&schema.name)).collect();
    let mut by_type: Vec<Asked> = Vec::new();
    for (place, wanted) in wanted.iter().enumerate() {
        let found = match named(wanted, &own) {
            Err(TableError::NoValue(why)) => match named(wanted, &known) {
                Err(TableError::NoValue(of_all)) => return Err(TableError::NoValue(if own.is_empty() { of_all } else { why })),
                found => found?.into_iter().take(1).collect(),
            },
            found => found?,
        };
        for value in found {
            if let Some(asked) = by_type.iter_mut().find(|asked| asked.plan.schema.name == value.event_type) {
                if !asked.values.contains(&value) {
                    asked.values.push(value);
                    asked.wanted.push(place);
                }
                continue;
            }
            let plan = plans.iter().find(|plan| plan.schema.name == value.event_type).cloned().unwrap_or_else(|| {
                let schema = reader.registry().get(&value.event_type);
                TypePlan { schema, partitions: Vec::new(), events: 0 }
            });
            by_type.push(Asked { plan, values: vec![value], wanted: vec![place] });
        }
    }
    Ok(by_type)
}

/// A column of a wide table: of which type and value that were asked for, and of which device; all by their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) asked: usize,
    pub(super) value: usize,
    pub(super) device: usize,
}

/// Names of columns: as short as they can be while no two columns share one.
pub(super) struct Names<'a> {
    directory: &'a Directory,
    by_name: bool,
    asked: &'a [Asked],
    /// By what was asked for: the names of its values.
    wanted: BTreeMap<usize, BTreeSet<&'a str>>,
    /// Devices that have several values of one name.
    several: HashSet<(String, &'a str)>,
    taken: HashSet<String>,
    pub(super) fields: Vec<FieldRef>,
}

impl<'a> Names<'a> {
    /// Of these values, each type with its devices, beside a time that is told about.
    pub(super) fn new(
        (directory, by_name): (&'a Directory, bool),
        asked: &'a [Asked],
        devices: &[&[String]],
        about_time: &str,
    ) -> Self {
        let time = Arc::new(field("time", time_type(), None, about_time));
        let taken = HashSet::from(["time".to_owned()]);
        let (mut wanted, mut met, mut several) = (BTreeMap::<_, BTreeSet<_>>::new(), HashSet::new(), HashSet::new());
        for (asked, devices) in asked.iter().zip(devices) {
            for (value, place) in asked.values.iter().zip(&asked.wanted) {
                wanted.entry(*place).or_default().insert(value.name());
                let own = devices.iter().map(|device| (device.clone(), value.name()));
                several.extend(own.filter(|device| !met.insert(device.clone())));
            }
        }
        Self { directory, by_name, asked, wanted, several, taken, fields: vec![time] }
    }

    fn called<'d>(&'d self, device: &'d str) -> &'d str {
        match if self.by_name { self.directory.name(device) } else { device } {
            "" => "no device",
            called => called,
        }
    }

    /// The columns as people look for them: what was asked for first, device by device.
    pub(super) fn in_order(&self, devices: &[&[String]]) -> Vec<Place> {
        let mut all = Vec::new();
        for (asked, devices) in devices.iter().enumerate() {
            for device in 0..devices.len() {
                all.extend((0..self.asked[asked].values.len()).map(|value| Place { asked, value, device }));
            }
        }
        all.sort_by_cached_key(|place| {
            let device = devices[place.asked][place.device].as_str();
            (self.asked[place.asked].wanted[place.value], self.called(device).to_owned(), device.to_owned(), place.asked)
        });
        all
    }

    /// What a value is called behind its device: nothing where it is the only one, its full name where it is not clear.
    fn of_value(&self, value: &Value, device: Option<&str>) -> String {
        let is_shared = self.wanted.values().filter(|names| names.contains(value.name())).count() > 1;
        if is_shared || device.is_some_and(|device| self.several.contains(&(device.to_owned(), value.name()))) {
            value.full()
        } else if self.wanted.len() == 1 {
            String::new()
        } else {
            value.name().to_owned()
        }
    }

    /// Adds a column of a device; `figure` is what it tells of the value, empty where that is clear.
    pub(super) fn add(
        &mut self,
        device: &str,
        value: &Value,
        figure: &str,
        kind: DataType,
        (unit, description): (Option<&str>, &str),
    ) {
        let called = self.called(device);
        let parts = |called: &str| {
            let parts = [called, &self.of_value(value, Some(device)), figure];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let (short, long) = (parts(called), parts(&format!("{called} ({device})")));
        // One that is called "time", or like another one with its value.
        let name = if called == "time" || self.taken.contains(&short) { long } else { short };
        self.push(&name, kind, unit, description, Some(device));
    }

    /// Adds a column for each of what was asked for that no device has.
    pub(super) fn add_missing(
        &mut self,
        devices: &[&[String]],
        kind: impl Fn(&Asked, &Value) -> Result<(DataType, String)>,
    ) -> Result<()> {
        let all = || {
            self.asked.iter().zip(devices).flat_map(|(asked, devices)| asked.wanted.iter().map(move |place| (*place, devices)))
        };
        let there: HashSet<usize> = all().filter(|(_, devices)| !devices.is_empty()).map(|(place, _)| place).collect();
        let mut done = there;
        for asked in self.asked {
            for (value, place) in asked.values.iter().zip(&asked.wanted) {
                if done.insert(*place) {
                    let of_value = self.of_value(value, None);
                    let name = if of_value.is_empty() { value.name().to_owned() } else { of_value };
                    let (kind, description) = kind(asked, value)?;
                    self.push(&name, kind, value.unit(), &description, None);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &str, kind: DataType, unit: Option<&str>, description: &str, device: Option<&str>) {
        // One of these is free: each column takes one.
        let numbered = |number: usize| if number == 1 { name.to_owned() } else { format!("{name} ({number})") };
        let name = (1..=self.taken.len() + 1).map(numbered).find(|name| !self.taken.contains(name)).unwrap_or_default();
        let field: Field = field(&name, kind, unit, description);
        let mut about = field.metadata().clone();
        about.extend(device.map(|device| ("device_id".to_owned(), device.to_owned())));
        self.fields.push(Arc::new(field.with_metadata(about)));
        self.taken.insert(name);
    }
}
