//! The frame of a drawing: where in a picture it stands, and where in it a time stands.

use crate::base::time::{Micros, SECOND};

use super::Chart;

/// The size of letters.
pub(super) const SMALL: f64 = 11.0;
/// Around everything.
pub(super) const PAD: f64 = 14.0;
/// The span that is shown: something, even where all happened at once.
pub(super) fn shown(chart: &Chart) -> (Micros, Micros) {
    const AROUND: Micros = 1800 * SECOND;
    let (from, to) = chart.span;
    if to.saturating_sub(from) >= SECOND { (from, to) } else { (from.saturating_sub(AROUND), from.saturating_add(AROUND)) }
}

/// The drawing's place, and what it shows.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) from: Micros,
    pub(super) length: f64,
}

impl Frame {
    /// Where a time stands.
    #[expect(clippy::cast_precision_loss, reason = "a place to a tenth of a pixel")]
    pub(super) fn x(&self, time: Micros) -> f64 {
        let part = (time.saturating_sub(self.from)) as f64 / self.length;
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }
}
