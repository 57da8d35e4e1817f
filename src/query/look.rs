//! A look: how a recording is at a moment, by what its files say, cheap enough to look every few seconds at the files of years.

use crate::base::disk::Room;
use crate::base::time::Micros;
use crate::model::layout::Layout;
use crate::query::coverage::Timeline;
use crate::query::holdings::{Holdings, LookError};
use crate::store::archive::Footers;
use crate::store::buffer::View;
use crate::store::last_backup::{LastBackup, last_backup};
use crate::store::last_shipment::{Shipping, last_shipment};

/// Who looks, again and again.
#[derive(Debug)]
pub struct Looker {
    layout: Layout,
    footers: Footers,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Look {
    /// When.
    pub at: Micros,
    /// What it holds.
    pub holdings: Holdings,
    /// When it was covered, and what is missing.
    pub timeline: Timeline,
    /// A process holds the writer's lock.
    pub is_recording: bool,
    /// Size of the buffer with its log in bytes.
    pub buffer_bytes: u64,
    /// Room on the disk; none where the system does not tell.
    pub room: Option<Room>,
    /// So little room is left that a recorder keeps nothing and waits.
    pub is_full: bool,
    /// The last backup that was good.
    pub last_backup: Option<LastBackup>,
    /// How far it is shipped to a lake; none where it never was.
    pub shipping: Option<Shipping>,
}

impl Looker {
    /// Looks at a recording, which need not be there yet.
    pub fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone(), footers: Footers::default() }
    }

    /// Looks.
    ///
    /// # Errors
    /// When there is no recording, or it does not read.
    pub fn look(&mut self, now: Micros) -> Result<Look, LookError> {
        let view = View::open(&self.layout)?;
        view.at_one_moment(|| Look::of(&self.layout, &view, &mut self.footers, now))
    }
}

impl Look {
    /// Looks through an open view of the buffer; see [`Holdings::read`].
    pub(super) fn of(layout: &Layout, view: &View, footers: &mut Footers, now: Micros) -> Result<Self, LookError> {
        let holdings = Holdings::read(layout, view, footers)?;
        let is_recording = view.has_writer();
        let size = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
        let room = Room::of(&layout.state());
        Ok(Self {
            at: now,
            holdings,
            timeline: Timeline::read(view, None, now)?,
            is_recording,
            buffer_bytes: size(&layout.buffer()) + size(&layout.state().join("buffer.db-wal")),
            room,
            is_full: waits_for_room(layout, room, is_recording),
            last_backup: last_backup(layout),
            shipping: last_shipment(layout),
        })
    }
}

/// Whether so little room is left that a recorder keeps nothing and waits. One that waits has given its reserve back.
pub fn waits_for_room(layout: &Layout, room: Option<Room>, is_recording: bool) -> bool {
    room.is_some_and(|room| room.is_low(is_recording && !layout.reserve().exists()))
}
