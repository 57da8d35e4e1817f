//! What is drawn of one device on demand: charts as SVG, PNG and numbers, and all that it told as a file.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use crate::base::disk::{self, DiskError, Temporary};
use crate::base::time::Micros;
use crate::base::zone::Zone;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::output::chart::{Chart, Data, PngError, Size, png, svgs};
use crate::output::export::{Dialect, ExportError, Format, Output, Settings as Export};
use crate::output::plot::{Quantity, Settings, charts};
use crate::output::spreadsheet;
use crate::query::coverage::Span;
use crate::query::reader::{ReadError, Reader, Selection, TypePlan};
use crate::query::tables::{self, Ask, Fill, TableError, Topic, known, unrecorded};
use crate::store::devices::Directory;

/// Most points of a line.
const POINTS: usize = 2500;
/// A PNG has so many times as many pixels, so that it is sharp on paper.
const SHARP: u32 = 2;
const WIDTH: u32 = 1140;

/// Why nothing is drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The recording does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A table cannot be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A picture cannot be made.
    #[error(transparent)]
    Png(#[from] PngError),
    /// A file cannot be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// There is no room for a file on its way.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What to draw of which recording.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// The recording.
    pub layout: Layout,
    /// The schemas that it is read by.
    pub registry: Arc<Registry>,
    /// Whose clock.
    pub zone: Zone,
    /// The device.
    pub device: String,
    /// From when to when.
    pub span: Span,
    /// When it is.
    pub now: Micros,
}

/// A file that was made, gone with its value.
#[derive(Debug)]
pub struct Made {
    /// The file, at its beginning.
    pub file: File,
    _folder: Temporary,
}

impl Drawing {
    fn open(&self) -> Result<(Reader, Directory, Selection), DrawError> {
        let reader = Reader::open(&self.layout, Arc::clone(&self.registry))?.lenient();
        let directory = Directory::new(&reader.devices()?);
        let devices = HashSet::from([self.device.clone()]);
        let selection = Selection { devices, start: Some(self.span.0), end: Some(self.span.1), event_types: Vec::new() };
        Ok((reader, directory, selection))
    }

    /// The charts of a topic, and how many events they are of; none where nothing was told.
    ///
    /// # Errors
    /// When the recording does not read.
    pub fn charts(&self, topic: &Topic, width: u32) -> Result<(Vec<Chart>, u64), DrawError> {
        let (reader, directory, selection) = self.open()?;
        let there = reader.types()?;
        let event_types: Vec<String> =
            topic.values.iter().map(|value| value.event_type.clone()).filter(|name| there.contains(name)).collect();
        if event_types.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let selection = Selection { event_types, ..selection };
        let plans = tables::plans(&reader, &selection, Fill::None)?;
        let of = |value: &tables::Value| Some((plans.iter().find(|plan| plan.schema.name == value.event_type)?, value.clone()));
        let quantity = Quantity { title: topic.title(), sources: topic.values.iter().filter_map(of).collect() };
        let settings = Settings {
            zone: self.zone.clone(),
            points: usize::try_from(width).unwrap_or(POINTS).min(POINTS),
            known: known(&reader, &selection, self.now)?,
            unrecorded: unrecorded(&reader, self.span, self.now)?,
            end: Some(self.span.1),
        };
        let charts = charts(&reader, &[quantity], &selection, &directory, &settings)?;
        let is_counted = charts.iter().flat_map(|chart| &chart.lines).any(|line| matches!(line.data, Data::Moments(_)));
        let events = if is_counted { count(&reader, &plans, &selection)? } else { 0 };
        Ok((charts, events))
    }

    /// A topic as a picture of a width; an empty one where nothing was told.
    ///
    /// # Errors
    /// When the recording does not read.
    pub fn svg(&self, topic: &Topic, width: u32) -> Result<String, DrawError> {
        let charts = self.or_empty(topic, width)?;
        Ok(svgs(&charts.iter().collect::<Vec<_>>(), width).concat())
    }

    /// The same as PNG.
    ///
    /// # Errors
    /// When the recording does not read.
    pub fn png(&self, topic: &Topic) -> Result<Vec<u8>, DrawError> {
        let charts = self.or_empty(topic, WIDTH)?;
        let charts: Vec<&Chart> = charts.iter().collect();
        let Size { width, height } = Size::fitting(&charts, WIDTH);
        Ok(png(&charts, Size { width: width * SHARP, height: height * SHARP }, f64::from(SHARP))?)
    }

    fn or_empty(&self, topic: &Topic, width: u32) -> Result<Vec<Chart>, DrawError> {
        let (mut charts, _) = self.charts(topic, width)?;
        if charts.is_empty() {
            let (title, zone) = (topic.title(), self.zone.clone());
            let (axis, part, lines, gaps) = (String::new(), String::new(), Vec::new(), Vec::new());
            charts.push(Chart { title, axis, part, zone, span: self.span, lines, gaps });
        }
        Ok(charts)
    }

    /// All that the device told, as people have it in a spreadsheet; none where that is nothing.
    ///
    /// # Errors
    /// When the recording does not read, or there is no room for the file.
    pub fn file(&self, format: Format, dialect: Dialect) -> Result<Option<Made>, DrawError> {
        let (reader, directory, selection) = self.open()?;
        let plans = reader.plan(&selection)?;
        let ask = Ask { names: true, zone: self.zone.clone(), ..Ask::default() };
        let folder = Temporary::new()?;
        let path = folder.path().join(format!("device.{}", format.extension()));
        let mut settings = Export::new(format, Output::File(path.clone()));
        settings.zone = self.zone.clone();
        settings.dialect = Dialect { zone: self.zone.clone(), ..dialect };
        let scope =
            spreadsheet::Scope { reader: &reader, directory: &directory, selection: &selection, plans: &plans, ask: &ask };
        let made = spreadsheet::export(&scope, &settings, (self.now, "overnight watch"), |_| {})?;
        if made.files.is_empty() {
            return Ok(None);
        }
        Ok(Some(Made { file: disk::open(&path)?, _folder: folder }))
    }
}

/// Events of a selection.
fn count(reader: &Reader, plans: &[TypePlan], selection: &Selection) -> Result<u64, ReadError> {
    let mut events = 0;
    for plan in plans {
        let mut rows = reader.columns(plan, selection, &[]);
        while let Some(batch) = rows.next_batch()? {
            events += batch.num_rows() as u64;
        }
    }
    Ok(events)
}
