//! Gaps that were not filled: what lies in them nobody knows, so nothing is carried through.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::time::Micros;
use crate::model::settings::Filters;
use crate::query::coverage::{GapState, Span, Timeline, merged};
use crate::query::reader::{ReadError, Reader};
use crate::store::devices::Directory;

/// Spans of time, and with which filters events of them were wanted.
pub(super) type Wanted = Vec<(Span, Arc<Filters>)>;

/// Gaps that were not filled, by project, with what was wanted of each.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    by_project: Arc<HashMap<String, Wanted>>,
}

/// Whether filters let events of a type and device through, as far as the directory knows the device.
pub(super) fn wants(filters: &Filters, event_type: &str, device: &str, directory: &Directory) -> bool {
    let has = |all: &[String], one: &str| all.is_empty() || all.iter().any(|wanted| wanted == one);
    let known = directory.get(device);
    has(&filters.event_types, event_type)
        && has(&filters.devices, device)
        && known.is_none_or(|known| {
            let label = |wanted: &String| match wanted.split_once('=') {
                Some((key, value)) => known.labels.get(key).is_some_and(|found| found == value),
                None => known.labels.contains_key(wanted),
            };
            has(&filters.device_types, &known.kind)
                && has(&filters.product_numbers, &known.product_number)
                && (filters.labels.is_empty() || filters.labels.iter().any(label))
        })
}

impl Gaps {
    /// True where there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_project.is_empty()
    }

    /// Those in which events of a device may be missing; ascending, apart.
    pub(super) fn of(&self, project: &str, event_type: &str, device: &str, directory: &Directory) -> Arc<[Span]> {
        let gaps = self.by_project.get(project).into_iter().flatten();
        merged(gaps.filter(|(_, filters)| wants(filters, event_type, device, directory)).map(|(span, _)| *span).collect()).into()
    }
}

/// The gaps of a recording as they are now; one that lasts has no end.
///
/// # Errors
/// When the ledger does not read.
pub fn gaps(reader: &Reader, now: Micros) -> Result<Gaps, ReadError> {
    let Some(view) = reader.view() else { return Ok(Gaps::default()) };
    let mut by_project: HashMap<String, Wanted> = HashMap::new();
    for project in Timeline::read(view, None, now)?.projects {
        for gap in project.gaps.into_iter().filter(|gap| gap.state != GapState::Filled) {
            let span = (gap.span.0, if gap.lasts { Micros::MAX } else { gap.span.1 });
            by_project.entry(project.name.clone()).or_default().push((span, gap.filters));
        }
    }
    Ok(Gaps { by_project: Arc::new(by_project) })
}

/// The first of spans that ascend apart, and that reaches beyond a time.
pub(super) fn first_behind(spans: &[Span], time: Micros) -> Option<Span> {
    spans.get(spans.partition_point(|span| span.1 <= time)).copied()
}
