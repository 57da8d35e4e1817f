//! Pruning by the one who writes: a recorder once a day, or somebody by hand where none is at work.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::text;
use crate::base::time::{self, Micros};
use crate::maintenance::prune::{Plan, PruneError, Pruned, carry_out, plan};
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::store::meter::Meter;
use crate::store::roll::Roller;
use crate::store::writer::{Command, ToWriter, Writer};

use super::{RecordError, open_whole};

/// What a recorder prunes by itself.
#[derive(Debug, Clone)]
pub struct Keep {
    /// How much it keeps.
    pub time: Duration,
    /// Where the rest goes; nowhere, where none is given.
    pub archive: Option<PathBuf>,
}

/// Why nothing was pruned by hand.
#[derive(Debug, thiserror::Error)]
pub enum PruneByHandError {
    /// The recording does not open for writing.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It could not be pruned.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

/// Carries orders out at once.
struct Direct {
    writer: RefCell<Writer>,
    has_failed: Cell<bool>,
}

impl ToWriter for Direct {
    fn send(&self, order: Command) {
        let done = self.writer.borrow_mut().step(&order, time::now());
        self.has_failed.set(self.has_failed.get() || done.is_err());
    }

    fn reach(&self) -> bool {
        !self.has_failed.take()
    }
}

/// Prunes a recording that nobody writes to, by a plan that is made anew once it is open.
///
/// # Errors
/// When it is being written to, or cannot be pruned.
pub fn prune(
    layout: &Layout,
    registry: &Arc<Registry>,
    meter: &Meter,
    keep: Micros,
    archive: Option<&Path>,
    mut progress: impl FnMut(u64),
) -> Result<Pruned, PruneByHandError> {
    let (writer, mut roller) = open_whole(layout, registry, meter, time::now())?;
    let direct = Direct { writer: RefCell::new(writer), has_failed: Cell::new(false) };
    let plan = plan(layout, keep, time::now())?;
    Ok(carry_out(layout, plan, archive, (&direct, &mut roller), &mut progress)?)
}

/// What thread "roll" does once a day.
pub(super) fn daily(layout: &Layout, keep: Option<Keep>, meter: &Arc<Meter>) -> impl FnMut(&mut Roller, &dyn ToWriter) + use<> {
    let (layout, meter) = (layout.clone(), Arc::clone(meter));
    move |roller, writer| {
        let Some(keep) = &keep else { return };
        let found = plan(&layout, time::micros(keep.time), time::now());
        let said = match found
            .and_then(|plan: Plan| carry_out(&layout, plan, keep.archive.as_deref(), (writer, roller), &mut |_| {}))
        {
            Ok(pruned) if pruned.files.is_empty() => None,
            Ok(pruned) => {
                Some(format!("pruned {}, {}", text::counted(pruned.files.len() as u64, "day file"), text::bytes(pruned.bytes)))
            }
            Err(error) => Some(format!("nothing is pruned: {error}")),
        };
        if let Some(said) = said {
            meter.note(time::now(), said);
        }
    }
}
