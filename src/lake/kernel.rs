//! Delta's kernel, the one place that speaks to it. Its version is held in `Cargo.toml`: what it calls internal (a table that has
//! partitions) may change with any of its versions, and then it changes here.
//!
//! A table is a folder of Parquet files and a log beside them, `_delta_log/N.json`: whoever puts the next number where nothing is has
//! committed. The kernel does not rebase: who comes second begins anew from what the first one wrote.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use delta_kernel::KernelError;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::expressions::{ColumnName, Expression, Predicate, Scalar};
use delta_kernel::scan::StatsOptions;
use delta_kernel::schema::{DataType as DeltaType, PrimitiveType, StructField, StructType};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use serde::{Deserialize, Serialize};

use crate::base::disk;
use crate::base::time::{Day, Micros};

use super::place::Place;
use super::{LakeError, Result};

/// Who writes, in the log.
const WRITER: &str = concat!("overnight/", env!("CARGO_PKG_VERSION"));
/// The partition of a row.
pub(super) const DAY: &str = "day";
/// Where the log of a table stands below it.
pub(super) const LOG: &str = "_delta_log/";
/// No commit is longer, in bytes.
const LONGEST_COMMIT: u64 = 64 * 1024 * 1024;
/// After so many commits the log is summed up in a checkpoint, which readers begin from.
const CHECKPOINT_EVERY: u64 = 20;

/// A file of a table that is to be committed, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Its name below the table.
    pub(super) path: String,
    /// The day of its rows.
    pub(super) day: i32,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Number of rows; none where another program left them untold.
    pub(super) rows: Option<u64>,
    /// Time of the first and the last row.
    pub(super) times: Option<(Micros, Micros)>,
    /// When it was written, in milliseconds since 1970.
    pub(super) written: i64,
    /// Another program marked rows of it as gone.
    #[serde(skip)]
    pub(super) has_deletions: bool,
}

/// What a commit did: names of files, as the lake lists them.
#[derive(Debug, Default)]
pub(super) struct Commit {
    /// Files that are in the table from then on.
    pub(super) added: Vec<String>,
    /// Files that are not.
    pub(super) removed: Vec<String>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is in the table, as this version.
    Yes(u64),
    /// Somebody else was first, or nobody knows: look again.
    No,
}

/// A table at one moment.
#[derive(Debug, Clone)]
pub(super) struct Table<'p> {
    place: &'p Place,
    name: String,
    snapshot: SnapshotRef,
}

impl<'p> Table<'p> {
    /// The table of a name as it is now; none where there is none.
    ///
    /// # Errors
    /// When the store does not answer, or the log does not read.
    pub(super) fn open(place: &'p Place, name: &str) -> Result<Option<Self>> {
        if place.folder(name).is_some_and(|folder| !folder.is_dir()) {
            return Ok(None);
        }
        match Snapshot::builder_for(place.url(&format!("{name}/"))?).build(place.engine()) {
            Ok(snapshot) => Ok(Some(Self { place, name: name.to_owned(), snapshot })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(fail(place, "read the table", name)(error)),
        }
    }

    /// The same table as it is now.
    ///
    /// # Errors
    /// As for [`Table::open`].
    pub(super) fn again(&self) -> Result<Self> {
        let snapshot = Snapshot::builder_from(Arc::clone(&self.snapshot)).build(self.place.engine());
        let snapshot = snapshot.map_err(fail(self.place, "read the table", &self.name))?;
        Ok(Self { snapshot, ..self.clone() })
    }

    /// Makes a table with these columns, partitioned by day; where somebody else did it meanwhile, it is that one.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub(super) fn create(place: &'p Place, name: &str, columns: &Schema) -> Result<Self> {
        let fail = || fail(place, "make the table", name);
        if let Some(folder) = place.folder(name) {
            disk::create_dir_anywhere(&folder)?;
        }
        let url = place.url(&format!("{name}/"))?;
        let schema = Arc::new(delta_schema(columns).map_err(fail())?);
        // Retention of transactions stays unset: the mark of exactly once must not be forgotten.
        let properties = [(
            "overnight.writers",
            "recorders of overnight append. Others that put only where nothing is (delta-rs, the kernel's tools) may compact; Spark and Trino only read here",
        )];
        let made = create_table(url, schema, WRITER, false)
            .with_table_properties(properties)
            .with_data_layout(DataLayout::partitioned([DAY]))
            .build(place.engine(), Box::new(FileSystemCommitter::new()))
            .and_then(|transaction| transaction.commit(place.engine()));
        // Whoever was first, it is there; and where the answer was lost it may be.
        match (made, Self::open(place, name)?) {
            (_, Some(table)) => Ok(table),
            (Err(error), None) => Err(fail()(error)),
            (Ok(_), None) => Err(LakeError::Strange { what: format!("{}{name} is made, and is not there", place.shown()) }),
        }
    }

    /// The name of something in it, as seen from the lake.
    pub(super) fn inside(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// The name of one of its files as the lake lists it, where the log writes it as an address; none where it is elsewhere.
    ///
    /// # Errors
    /// When it is no address.
    pub(super) fn listed(&self, path: &str) -> Result<Option<String>> {
        self.place.listed(&self.inside(""), path)
    }

    /// What a version did; none where the log has it no more.
    ///
    /// # Errors
    /// When the store does not answer, or the commit does not read.
    pub(super) fn commit(&self, version: u64) -> Result<Option<Commit>> {
        #[derive(Deserialize)]
        struct Action {
            add: Option<Of>,
            remove: Option<Of>,
        }
        #[derive(Deserialize)]
        struct Of {
            path: String,
        }
        let name = self.inside(&format!("{LOG}{version:020}.json"));
        let Some(found) = self.place.get(&name, LONGEST_COMMIT)? else { return Ok(None) };
        let mut commit = Commit::default();
        for line in found.bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let action: Action = serde_json::from_slice(line)
                .map_err(|_| LakeError::Strange { what: format!("{}{name} does not read", self.place.shown()) })?;
            let name = |of: Option<Of>| of.map(|of| self.listed(&of.path)).transpose().map(Option::flatten);
            commit.added.extend(name(action.add)?);
            commit.removed.extend(name(action.remove)?);
        }
        Ok(Some(commit))
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub(super) fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The number of the last shipment of a recorder that is in it.
    ///
    /// # Errors
    /// When the log does not read.
    pub(super) fn shipped(&self, recorder: &str) -> Result<Option<i64>> {
        let found = self.snapshot.get_app_id_version(recorder, self.place.engine());
        found.map_err(fail(self.place, "read the log of", &self.name))
    }

    /// The files that it consists of: of one day, or all.
    ///
    /// # Errors
    /// When the log does not read.
    pub(super) fn files(&self, day: Option<Day>) -> Result<Vec<Part>> {
        Ok(self.scan(day)?.into_iter().flat_map(|(_, parts)| parts.into_iter().flatten()).collect())
    }

    /// What the log says of files, batch by batch: the kernel's words, and what they say of each row that holds.
    fn scan(&self, day: Option<Day>) -> Result<Vec<(FilteredEngineData, Vec<Option<Part>>)>> {
        let fail = || fail(self.place, "read the log of", &self.name);
        let of_day = |day: Day| {
            let of = Expression::Column(ColumnName::new([DAY]));
            Arc::new(Predicate::eq(of, Expression::Literal(Scalar::Date(day.0))))
        };
        let scan =
            Arc::clone(&self.snapshot).scan_builder().with_predicate(day.map(of_day)).with_stats(StatsOptions::json_only());
        let scan = scan.build().map_err(fail())?;
        let mut all = Vec::new();
        for found in scan.scan_metadata(self.place.engine()).map_err(fail())? {
            let found = found.map_err(fail())?.scan_files;
            let batch = found.data().any_ref().downcast_ref::<ArrowEngineData>().map(|data| data.record_batch().clone());
            let parts = batch.and_then(|batch| parts_of(&batch, found.selection_vector()));
            let parts = parts.ok_or_else(|| LakeError::Strange {
                what: format!("{}{}: its log has other columns than the kernel says", self.place.shown(), self.name),
            })?;
            let wanted = |part: Option<Part>| part.filter(|part| day.is_none_or(|day| part.day == day.0));
            all.push((found, parts.into_iter().map(wanted).collect()));
        }
        Ok(all)
    }

    /// Commits files as the shipment `n` of a recorder, with the columns that the table lacks.
    ///
    /// # Errors
    /// When the store refuses, or a column of this name is of another type there.
    pub(super) fn append(&self, (recorder, n): (&str, i64), parts: &[Part], columns: &Schema) -> Result<Committed> {
        let fail = || fail(self.place, "write the table", &self.name);
        let wanted = delta_schema(columns).map_err(fail())?;
        let mut transaction = Arc::clone(&self.snapshot).update_table(UpdateTableOperation::Write, WRITER, true);
        let missing = missing(&self.snapshot.schema(), &wanted, &[])
            .map_err(|what| LakeError::Columns { table: self.name.clone(), what })?;
        if missing.is_empty() {
            transaction = transaction.with_blind_append();
        }
        for (parent, field) in missing {
            transaction = if parent.is_empty() {
                transaction.add_column(field)
            } else {
                transaction.add_column_at(ColumnName::new(parent), field)
            };
        }
        let built = transaction.build(self.place.engine(), Box::new(FileSystemCommitter::new()));
        let mut transaction = built.map_err(fail())?.with_transaction_id(recorder.to_owned(), n);
        transaction.add_files(Box::new(ArrowEngineData::new(added(parts).map_err(|error| fail()(error.into()))?)));
        self.done(transaction.commit(self.place.engine()))
    }

    /// Commits that files take the place of others, with the same rows but for doubles.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn replace(&self, day: Day, old: &[Part], new: &[Part]) -> Result<Committed> {
        let fail = || fail(self.place, "write the table", &self.name);
        let transaction = Arc::clone(&self.snapshot).update_table(UpdateTableOperation::Optimize, WRITER, false);
        let built = transaction.build(self.place.engine(), Box::new(FileSystemCommitter::new()));
        let mut transaction = built.map_err(fail())?;
        let mut removed = 0;
        for (found, parts) in self.scan(Some(day))? {
            let is_old = |part: &Option<Part>| part.as_ref().is_some_and(|part| old.iter().any(|old| old.path == part.path));
            let chosen: Vec<bool> = parts.iter().map(is_old).collect();
            removed += chosen.iter().filter(|is| **is).count();
            if chosen.contains(&true) {
                let (data, _) = found.into_parts();
                transaction.remove_files(FilteredEngineData::try_new(data, chosen).map_err(fail())?);
            }
        }
        if removed != old.len() {
            // Some of it is gone already.
            return Ok(Committed::No);
        }
        if !new.is_empty() {
            transaction.add_files(Box::new(ArrowEngineData::new(added(new).map_err(|error| fail()(error.into()))?)));
        }
        self.done(transaction.commit(self.place.engine()))
    }

    fn done(&self, result: std::result::Result<CommitResult, KernelError>) -> Result<Committed> {
        match result {
            Ok(CommitResult::Committed(done)) => {
                let version = done.commit_version();
                if version % CHECKPOINT_EVERY == 0 {
                    let snapshot = done.post_commit_snapshot().map(Arc::clone);
                    // A log without one reads as well, only slower: the next one makes up for it.
                    let summed = snapshot.map(|snapshot| snapshot.checkpoint(self.place.engine(), None));
                    drop(summed);
                }
                Ok(Committed::Yes(version))
            }
            Ok(CommitResult::Conflicted(_)) => Ok(Committed::No),
            Ok(CommitResult::Retryable(failed)) => Err(fail(self.place, "write the table", &self.name)(failed.error)),
            Err(error) => Err(fail(self.place, "write the table", &self.name)(error)),
        }
    }

    /// Its columns as arrow has them, without the partition.
    ///
    /// # Errors
    /// When a column has a type that arrow has not.
    pub(super) fn columns(&self) -> Result<Schema> {
        use delta_kernel::engine::arrow_conversion::TryIntoArrow;
        let schema = self.snapshot.schema();
        let all: Schema = schema.as_ref().try_into_arrow().map_err(|error: arrow::error::ArrowError| LakeError::Columns {
            table: self.name.clone(),
            what: error.to_string(),
        })?;
        let of_rows = all.fields().iter().filter(|field| field.name() != DAY).map(Arc::clone);
        Ok(Schema::new(of_rows.collect::<Fields>()))
    }
}

fn is_missing(error: &KernelError) -> bool {
    match error {
        KernelError::FileNotFound(_) | KernelError::EmptyLog => true,
        KernelError::Backtraced { source, .. } => is_missing(source),
        error => error.to_string().contains("No files in log segment"),
    }
}

fn fail<'p>(place: &'p Place, step: &'static str, name: &'p str) -> impl FnOnce(KernelError) -> LakeError + use<'p> {
    move |error| {
        let what = format!("{}{name}", place.shown());
        match store_error(&error) {
            Some(source) => LakeError::Store {
                step,
                what,
                said: place.masked(&super::place::plain(source)),
                is_refused: super::place::is_refused(source),
            },
            None => LakeError::Kernel { step, what, said: crate::base::text::printable(&place.masked(&error.to_string()), 300) },
        }
    }
}

/// What the object store said, where it was that.
fn store_error(error: &KernelError) -> Option<&object_store::Error> {
    match error {
        KernelError::ObjectStore(source) => Some(source),
        KernelError::Backtraced { source, .. } => store_error(source),
        _ => None,
    }
}

/// The columns of a table: those of its rows, all of which may be null, and the partition.
fn delta_schema(columns: &Schema) -> std::result::Result<StructType, KernelError> {
    let of_rows = columns.fields().iter().map(|field| {
        let field = described(&field.as_ref().clone().with_nullable(true));
        StructField::try_from_arrow(&field).map_err(KernelError::from)
    });
    let day = Ok(StructField::nullable(DAY, DeltaType::Primitive(PrimitiveType::Date)));
    StructType::try_new(of_rows.chain([day]).collect::<std::result::Result<Vec<_>, _>>()?)
}

/// A field with its description where engines look for one, and nothing else beside it.
fn described(field: &Field) -> Field {
    let unit = field.metadata().get("unit").map(|unit| format!(" ({unit})"));
    let text = field.metadata().get("description").map(|text| format!("{text}{}", unit.unwrap_or_default()));
    let comment: HashMap<String, String> = text.map(|text| ("comment".to_owned(), text)).into_iter().collect();
    field.clone().with_metadata(comment)
}

/// Fields that a schema wants and another lacks, each below where it stands; or which one is of another type there.
fn missing(
    there: &StructType,
    wanted: &StructType,
    below: &[String],
) -> std::result::Result<Vec<(Vec<String>, StructField)>, String> {
    let mut all = Vec::new();
    for field in wanted.fields() {
        let name = [below, &[field.name().to_owned()]].concat();
        match there.fields().find(|one| one.name().eq_ignore_ascii_case(field.name())) {
            None => all.push((below.to_vec(), field.clone())),
            Some(one) => match (one.data_type(), field.data_type()) {
                (DeltaType::Array(there), DeltaType::Array(wanted)) => match (there.element_type(), wanted.element_type()) {
                    (DeltaType::Struct(there), DeltaType::Struct(wanted)) => {
                        all.extend(missing(there, wanted, &[&name[..], &["element".to_owned()]].concat())?);
                    }
                    (there, wanted) if there == wanted => {}
                    (there, wanted) => {
                        return Err(format!("{} is a list of {there} in the table, and of {wanted} here", name.join(".")));
                    }
                },
                (there, wanted) if there == wanted => {}
                (there, wanted) => return Err(format!("{} is {there} in the table, and {wanted} here", name.join("."))),
            },
        }
    }
    Ok(all)
}

/// Files as the kernel wants to be told of them.
fn added(parts: &[Part]) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut days = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for part in parts {
        days.keys().append_value(DAY);
        days.values().append_value(Day(part.day).to_string());
        days.append(true)?;
    }
    let long = |value: &dyn Fn(&Part) -> Option<i64>| -> ArrayRef { Arc::new(parts.iter().map(value).collect::<Int64Array>()) };
    let bounds = |of: &dyn Fn((Micros, Micros)) -> Micros| -> ArrayRef {
        let times = parts.iter().map(|part| part.times.map(of)).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        let time = Field::new("time", times.data_type().clone(), true);
        Arc::new(StructArray::from(vec![(Arc::new(time), Arc::new(times) as ArrayRef)]))
    };
    let rows = long(&|part| part.rows.and_then(|rows| i64::try_from(rows).ok()));
    let nulls: ArrayRef = {
        let none: ArrayRef = Arc::new(parts.iter().map(|part| part.times.map(|_| 0)).collect::<Int64Array>());
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("time", DataType::Int64, true)), none)]))
    };
    let stats = [
        ("numRecords", rows),
        ("nullCount", nulls),
        // The log has milliseconds.
        ("minValues", bounds(&|times| times.0.div_euclid(1000) * 1000)),
        ("maxValues", bounds(&|times| -((-times.1).div_euclid(1000) * 1000))),
        ("tightBounds", Arc::new(BooleanArray::from(vec![true; parts.len()])) as ArrayRef),
    ];
    let field = |(name, array): (&str, ArrayRef)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
    let columns: [(&str, ArrayRef); 5] = [
        ("path", Arc::new(parts.iter().map(|part| Some(part.path.as_str())).collect::<StringArray>())),
        ("partitionValues", Arc::new(days.finish())),
        ("size", long(&|part| i64::try_from(part.bytes).ok())),
        ("modificationTime", long(&|part| Some(part.written))),
        ("stats", Arc::new(StructArray::from(stats.map(field).to_vec()))),
    ];
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), *name == "stats")).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
}

/// What the kernel's rows say of files: none for a row that is not selected. None where they are not as the kernel says.
fn parts_of(batch: &RecordBatch, selected: &[bool]) -> Option<Vec<Option<Part>>> {
    /// What the log says of the rows of a file.
    #[derive(Deserialize)]
    struct Stats {
        #[serde(rename = "numRecords")]
        rows: Option<u64>,
    }
    let paths = batch.column_by_name("path")?.as_string_opt::<i32>()?;
    let sizes = batch.column_by_name("size")?.as_primitive_opt::<arrow::datatypes::Int64Type>()?;
    let written = batch.column_by_name("modificationTime")?.as_primitive_opt::<arrow::datatypes::Int64Type>()?;
    let stats = batch.column_by_name("stats")?.as_string_opt::<i32>()?;
    let deletions = batch.column_by_name("deletionVector")?.as_struct_opt()?.column_by_name("storageType")?;
    let constant = batch.column_by_name("fileConstantValues")?.as_struct_opt()?;
    let values = constant.column_by_name("partitionValues")?.as_map_opt()?;
    let row = |row: usize| {
        // A selection that is too short means that the rest is wanted.
        if !selected.get(row).copied().unwrap_or(true) || paths.is_null(row) {
            return Some(None);
        }
        let entry = values.value(row);
        let (keys, days) = (entry.column(0).as_string_opt::<i32>()?, entry.column(1).as_string_opt::<i32>()?);
        let of: HashMap<_, _> = keys.iter().flatten().zip(days.iter()).collect();
        let day = Day::parse((*of.get(DAY)?)?)?;
        let text = stats.is_valid(row).then(|| stats.value(row));
        let told: Option<Stats> = text.and_then(|text| serde_json::from_str(text).ok());
        Some(Some(Part {
            path: paths.value(row).to_owned(),
            day: day.0,
            bytes: u64::try_from(sizes.value(row)).ok()?,
            rows: told.and_then(|told| told.rows),
            times: None,
            written: written.value(row),
            has_deletions: deletions.is_valid(row),
        }))
    };
    (0..batch.num_rows()).map(row).collect()
}
