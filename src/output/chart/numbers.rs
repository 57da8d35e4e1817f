//! Lines over time: measures and totals.

use super::colour;
use super::frame::{Frame, SMALL};
use super::scene::{Anchor, Scene, Shape};
use super::{Chart, Data, Point, extent, font, ticks};

/// Ranges of more lines than this would only hide each other.
const RANGES: usize = 4;
/// The axis of values.
#[derive(Debug)]
pub(super) struct Scale {
    least: f64,
    greatest: f64,
    ticks: Vec<(f64, String)>,
}

impl Scale {
    /// Of a drawing so high.
    pub(super) fn of(chart: &Chart, height: f64) -> Self {
        let (least, greatest) = padded(extent(chart.lines.iter()));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few ticks")]
        let most = (height / 42.0).clamp(3.0, 20.0) as usize;
        Self { least, greatest, ticks: ticks::values((least, greatest), most) }
    }

    /// Room for the numbers at the left.
    pub(super) fn margin(&self) -> f64 {
        self.ticks.iter().map(|(_, label)| font::width(label, SMALL)).fold(0.0, f64::max) + 10.0
    }

    fn y(&self, frame: &Frame, value: f64) -> f64 {
        let part = (value - self.least) / (self.greatest - self.least);
        frame.bottom - part * (frame.bottom - frame.top)
    }

    pub(super) fn draw(&self, frame: &Frame, scene: &mut Scene) {
        for (value, label) in &self.ticks {
            let y = self.y(frame, *value);
            scene.line((frame.left, y), (frame.right, y), colour::GRID, 1.0);
            scene.text((frame.left - 6.0, y + 4.0), SMALL, Anchor::Right, colour::INK, label.as_str());
        }
    }
}

/// A little room above and below, but none below nothing.
pub(super) fn padded((least, greatest): (f64, f64)) -> (f64, f64) {
    let around = (greatest - least) * 0.05;
    let below = if least >= 0.0 { (least - around).max(0.0) } else { least - around };
    (below, greatest + around)
}

/// Draws the lines of a chart, the first of the key in front.
pub(super) fn draw(chart: &Chart, frame: &Frame, scale: &Scale, scene: &mut Scene) {
    let lines = || chart.lines.iter().map(|line| &line.data).enumerate();
    if chart.lines.len() <= RANGES {
        for (number, data) in lines() {
            scene.shapes.extend(data.pieces().iter().filter_map(|piece| range(piece, frame, scale, colour::line(number).0)));
        }
    }
    for (number, data) in lines().rev() {
        let (ink, dashes) = colour::line(number);
        scene.shapes.extend(data.pieces().iter().filter_map(|piece| shape(data, piece, frame, scale, (ink, dashes, 1.6))));
    }
}

/// A piece as a line; as a dot where it is a single point.
fn shape(data: &Data, piece: &[Point], frame: &Frame, scale: &Scale, pen: (u32, &'static [f64], f64)) -> Option<Shape> {
    let (colour, dashes, width) = pen;
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(piece.len());
    for point in piece.iter().filter(|point| point.value.is_finite()) {
        let (x, y) = (frame.x(point.time), scale.y(frame, point.value));
        if let (Data::Steps(_), Some((_, before))) = (data, points.last().copied()) {
            points.push((x, before));
        }
        points.push((x, y));
    }
    match points.as_slice() {
        [] => None,
        [(x, y)] => Some(Shape::Dot { x: *x, y: *y, radius: 2.0, fill: colour }),
        _ => Some(Shape::Path { points, colour, width, dashes }),
    }
}

/// From the least to the greatest of what each point stands for; none where each stands for itself.
fn range(piece: &[Point], frame: &Frame, scale: &Scale, fill: u32) -> Option<Shape> {
    let is_whole = |point: &&Point| point.min.is_finite() && point.max.is_finite();
    if piece.len() < 2 || !piece.iter().any(|point| point.max > point.min) {
        return None;
    }
    let upper = piece.iter().filter(is_whole).map(|point| (frame.x(point.time), scale.y(frame, point.max)));
    let lower = piece.iter().rev().filter(is_whole).map(|point| (frame.x(point.time), scale.y(frame, point.min)));
    Some(Shape::Area { points: upper.chain(lower).collect(), fill, opacity: 0.16 })
}
