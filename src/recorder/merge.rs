//! Merge: what another recording holds, the way of an import: its events are kept and rolled like any, and doubles dropped. Then its
//! ledger, since a claim waits for its events; and what either recording heard while the other did not fills that gap.
//!
//! Killed at any moment, the same merge again does the rest, and adds nothing twice. The other recording is only read.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::base::disk::{self, DiskError};
use crate::base::time::{self, Day, Micros};
use crate::model::event::{Batch, Partition};
use crate::model::layout::Layout;
use crate::model::schema::{Misgrown, Registry, SCHEMA_MAX, SchemaError};
use crate::model::settings::{File, Filters, SettingsError};
use crate::query::coverage::{GapState, Project, Span, Timeline, between, cut, merged, timeline};
use crate::query::reader::{ReadError, Reader, Selection};
use crate::store::archive::ArchiveError;
use crate::store::buffer::{Buffer, BufferError, Change, Fill, View};
use crate::store::devices;
use crate::store::meter::Meter;
use crate::store::writer::{Claim, Command};

use super::{RecordError, Recorder, Timing};

/// Events kept together, as those of an import are.
const ROWS: usize = 5000;

/// Why two recordings did not become one. What was taken before that stays, and claims nothing.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// This recording does not open, or cannot keep.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The other one does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A ledger does not read, or cannot be written.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The list of devices cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A schema does not read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A schema of the other recording is none that this one's has become, nor the other way round.
    #[error(transparent)]
    Misgrown(#[from] Misgrown),
    /// The settings do not read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What a merge brought.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// Events read.
    pub read: u64,
    /// Day files that were the same, byte for byte, and were not read.
    pub same: u64,
    /// Events that were not here.
    pub new: u64,
    /// Spans of gaps that the other one had heard, of either recording.
    pub filled: u64,
    /// What of the other recording does not read: then its ledger was not taken, which claims all of it.
    pub left_out: Vec<String>,
}

/// Schemas of another recording that this one lacks, or has older ones of, become its own.
///
/// # Errors
/// When one does not read, or does not go together with the one that there is.
pub fn take_schemas(from: &Layout, into: &Layout, registry: &mut Registry) -> Result<(), MergeError> {
    for path in disk::list(&from.schemas())?.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
        let text = disk::read_text(path, SCHEMA_MAX)?;
        let schema = Registry::built_in()?.add(&text, path)?;
        if let Some(known) = registry.find(&schema.name) {
            if known.version >= schema.version {
                known.grows_from(&schema)?;
                continue;
            }
            schema.grows_from(known)?;
        }
        for folder in [into.root().to_owned(), into.state(), into.schemas(), into.staging()] {
            disk::create_own_dir(&folder)?;
        }
        let own = into.schemas().join(into.folder(&schema.name).file_name().unwrap_or_default()).with_added_extension("toml");
        disk::write(&into.staging(), &own, text.as_bytes())?;
        registry.add(&text, path)?;
    }
    Ok(())
}

/// Takes what another recording holds into this one, which nobody writes to. `progress` gets the number of events read so far, of about
/// how many.
///
/// # Errors
/// When one of them does not open or read, or nothing can be kept.
pub fn merge(
    from: &Layout,
    into: &Layout,
    registry: &Arc<Registry>,
    meter: &Arc<Meter>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Merged, MergeError> {
    // What it claims is looked at before its events are read: they are all there, and maybe more.
    let view = View::open(from)?;
    let now = time::now();
    let (foreign, records) = view.at_one_moment(|| Ok::<_, BufferError>((view.ledger(now)?, view.records(None)?)))?;
    // Nobody speaks for what a recorder there has heard and not kept yet.
    let theirs = timeline(&records, None, now);
    let rolled = Meter::get(&meter.rolled);
    let recorder = Recorder::open(into, Arc::clone(registry), Arc::clone(meter), Timing::default())?;
    let mut done = Merged::default();
    let fed = feed(&recorder, from, &view, registry, &mut done, &mut progress);
    recorder.close()?;
    fed?;
    done.new = Meter::get(&meter.rolled) - rolled;
    if !done.left_out.is_empty() {
        return Ok(done);
    }
    let ours = Timeline::read(&View::open(into)?, None, now)?;
    let mut buffer = Buffer::open(into, now)?;
    buffer.take_ledger(&foreign, &view)?;
    done.filled = fill(&mut buffer, into, &[ours, theirs], now)?;
    devices::publish(into, &View::open(into)?.devices()?, File::read(&into.settings())?.readers()?)?;
    Ok(done)
}

/// Hands all events of a recording to the writer of another.
fn feed(
    recorder: &Recorder,
    from: &Layout,
    view: &View,
    registry: &Arc<Registry>,
    done: &mut Merged,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), MergeError> {
    let (writer, all) = (recorder.writer(), Selection::default());
    let reader = Reader::open(from, Arc::clone(registry))?.lenient();
    let (theirs, ours) = (view.sealed()?, View::open(recorder.layout())?.sealed()?);
    let held: Vec<Partition> = view.pending()?.into_iter().map(|pending| pending.partition).collect();
    let is_same = |partition: &Partition| {
        let sum = theirs.get(partition);
        sum.is_some() && sum == ours.get(partition) && !held.contains(partition)
    };
    let mut plans = reader.plan(&all)?;
    let most: u64 = plans.iter().map(|plan| plan.events).sum();
    for plan in &mut plans {
        let before = plan.partitions.len();
        plan.partitions.retain(|partition| !is_same(partition));
        done.same += (before - plan.partitions.len()) as u64;
        let mut rows = reader.rows(plan, &all);
        while let Some(batch) = rows.next_batch()? {
            done.read += batch.num_rows() as u64;
            for from in (0..batch.num_rows()).step_by(ROWS) {
                let Some(batch) = of_one_day(&plan.schema.name, batch.slice(from, ROWS.min(batch.num_rows() - from))) else {
                    continue;
                };
                writer.meter.update(|parts| parts.count(&batch));
                if writer.keep.blocking_send(Command::Keep(batch, Claim::Nothing)).is_err() {
                    // The writer has failed; closing the recorder tells why.
                    return Ok(());
                }
            }
            progress(done.read, most);
        }
    }
    done.left_out = reader.left_out();
    Ok(())
}

/// Rows of one partition as a batch.
fn of_one_day(event_type: &str, rows: RecordBatch) -> Option<Batch> {
    let time = rows.column(0).as_primitive_opt::<TimestampMicrosecondType>()?.values().first().copied()?;
    let partition = Partition { event_type: event_type.into(), day: Day::of(time) };
    Some(Batch { parts: vec![(partition, rows)], ..Batch::default() })
}

/// When somebody listened to a project, or was brought what was asked for, and all of that is there: by what was asked for.
fn covered(project: &Project) -> Vec<(&Filters, Vec<Span>)> {
    let missing = merged(project.gaps.iter().map(|gap| gap.span).collect());
    let mut by_filters: Vec<(&Filters, Vec<Span>)> = Vec::new();
    for (span, filters) in &project.asked {
        match by_filters.iter_mut().find(|(known, _)| *known == &**filters) {
            Some((_, spans)) => spans.push(*span),
            None => by_filters.push((filters, vec![*span])),
        }
    }
    for (_, spans) in &mut by_filters {
        *spans = merged(std::mem::take(spans)).into_iter().flat_map(|span| between(&missing, span)).collect();
    }
    by_filters
}

/// Notes as filled what is missing in both together, but that one of them had by its own account, asking for at least as much.
/// Gives how many spans these are.
fn fill(buffer: &mut Buffer, layout: &Layout, sides: &[Timeline], now: Micros) -> Result<u64, BufferError> {
    let both = Timeline::read(&View::open(layout)?, None, now)?;
    let mut filled = 0;
    for project in &both.projects {
        let has: Vec<_> =
            sides.iter().flat_map(|side| &side.projects).filter(|side| side.name == project.name).flat_map(covered).collect();
        for gap in project.gaps.iter().filter(|gap| gap.state != GapState::Filled) {
            let holding = has.iter().filter(|(filters, _)| filters.hold(&gap.filters)).flat_map(|(_, spans)| spans);
            let pieces = merged(holding.filter_map(|span| cut(*span, gap.span)).collect());
            if pieces.is_empty() {
                continue;
            }
            filled += pieces.len() as u64;
            let id = fastrand::i64(1..i64::MAX);
            let fill = Fill {
                id,
                project: project.name.clone(),
                filters: Filters::clone(&gap.filters),
                by_hand: false,
                asked_at: now,
                look_back: 0,
                pieces: pieces.into_iter().map(|(begins, ends)| (begins, ends, true)).collect(),
            };
            buffer.apply(&Change::Asks(fill), now)?;
            buffer.apply(&Change::Filled { fill: id, but: None }, now)?;
        }
    }
    Ok(filled)
}
