//! Lines over time: measures and totals.

use super::colour;
use super::frame::{Frame, SMALL};
use super::scene::{Anchor, Scene, Shape};
use super::{Chart, Data, Line, Point, extent, font, ticks};

/// Up to so many lines have each a colour and a name.
const NAMED: usize = 12;
/// Of more than these, so many: those that differ most from the rest.
const STRAYING: usize = 6;
/// Ranges of more lines than this would only hide each other.
const RANGES: usize = 4;
/// Points of all the lines without a name together; more make a file large and a picture no better.
const CROWD_POINTS: usize = 20_000;

/// The lines that have a name, by their numbers.
pub(super) fn named(chart: &Chart) -> Vec<usize> {
    if chart.lines.len() <= NAMED {
        return (0..chart.lines.len()).collect();
    }
    let middles: Vec<f64> = chart.lines.iter().map(middle).collect();
    let mut sorted: Vec<f64> = middles.iter().copied().filter(|middle| middle.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let strays = |line: &usize| if middles[*line].is_finite() { (middles[*line] - usual).abs() } else { -1.0 };
    let mut all: Vec<usize> = (0..chart.lines.len()).collect();
    all.sort_by(|a, b| strays(b).total_cmp(&strays(a)).then(a.cmp(b)));
    all.truncate(STRAYING);
    all.sort_unstable();
    all
}

/// The mean of a line's points.
#[expect(clippy::cast_precision_loss, reason = "a few thousand points")]
fn middle(line: &Line) -> f64 {
    let values = line.data.pieces().iter().flatten().map(|point| point.value).filter(|value| value.is_finite());
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / count as f64
}

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

/// Draws the lines of a chart, those without a name behind the others.
pub(super) fn draw(chart: &Chart, frame: &Frame, scale: &Scale, scene: &mut Scene) {
    let named = named(chart);
    let crowd: Vec<&Line> = (0..chart.lines.len()).filter(|line| !named.contains(line)).map(|line| &chart.lines[line]).collect();
    let points: usize = crowd.iter().flat_map(|line| line.data.pieces()).map(Vec::len).sum();
    let each = points.div_ceil(CROWD_POINTS).max(1);
    for line in crowd {
        for piece in line.data.pieces() {
            let thinned: Vec<Point> = piece.iter().step_by(each).copied().collect();
            scene.shapes.extend(shape(&line.data, &thinned, frame, scale, (colour::CROWD, &[], 0.9)));
        }
    }
    if named.len() <= RANGES && named.len() == chart.lines.len() {
        for (number, line) in named.iter().enumerate() {
            let data = &chart.lines[*line].data;
            scene.shapes.extend(data.pieces().iter().filter_map(|piece| range(piece, frame, scale, colour::line(number).0)));
        }
    }
    for (number, line) in named.iter().enumerate().rev() {
        let (ink, dashes) = colour::line(number);
        let data = &chart.lines[*line].data;
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
