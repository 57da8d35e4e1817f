//! How charts become a picture: each with its heading, axes, gaps and key, above each other, so high that all fit.

use super::colour;
use super::font::{self, fit};
use super::frame::{Frame, PAD, SMALL, shown};
use super::key::Key;
use super::scene::{Anchor, Scene, Shape};
use super::{Chart, numbers, strips, ticks};

const TITLE: f64 = 15.0;
/// Above the drawing: title, and the line below it.
const HEAD: f64 = 50.0;
/// Below the drawing: times, and days below these.
const FOOT: f64 = 36.0;
/// How high a drawing of lines looks best, and the least that can be read.
const LINES: (f64, f64) = (220.0, 80.0);

/// How large a picture is, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

/// A narrower chart cannot be read.
const NARROWEST: u32 = 300;

impl Size {
    /// The size in which charts that stand above each other look best at a width.
    pub fn fitting(charts: &[&Chart], width: u32) -> Self {
        Self::high(charts, width, 1.0)
    }

    /// The smallest size, of a width if that is enough, in which they can be read.
    pub fn smallest(charts: &[&Chart], width: u32) -> Self {
        Self::high(charts, width.max(NARROWEST), 0.0)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "charts are a few thousand pixels high")]
    fn high(charts: &[&Chart], width: u32, stretch: f64) -> Self {
        let heights = charts.iter().map(|chart| Heights::of(chart, f64::from(width)));
        let height: f64 = heights.map(|height| height.around + height.inner(stretch)).sum();
        Self { width, height: height.ceil().max(1.0) as u32 }
    }
}

/// The left margin that charts of a width have in common, so that a time stands in the same place in all of them.
pub(super) fn common_margin(charts: &[&Chart], width: f64, stretch: f64) -> f64 {
    let margins = charts.iter().map(|chart| margin(chart, Heights::of(chart, width).inner(stretch)));
    margins.fold(0.0, f64::max)
}

/// Heights of a chart.
#[derive(Debug, Clone, Copy)]
struct Heights {
    /// What stands above and below its drawing.
    around: f64,
    /// How high the drawing looks best.
    natural: f64,
    /// How high it must be to be read.
    least: f64,
}

impl Heights {
    fn of(chart: &Chart, width: f64) -> Self {
        let (natural, least) = if chart.has_strips() { strips::heights(chart) } else { LINES };
        Self { around: HEAD + FOOT + Key::of(chart).height(width - 2.0 * PAD) + PAD, natural, least }
    }

    /// Of the drawing: 0 is the least, 1 is natural.
    fn inner(&self, stretch: f64) -> f64 {
        self.least + (self.natural - self.least) * stretch
    }
}

/// Room that a chart needs at its left for numbers; names of strips stand above these.
fn margin(chart: &Chart, height: f64) -> f64 {
    if chart.has_strips() { 0.0 } else { numbers::Scale::of(chart, height).margin() }
}

/// Charts above each other. Their drawings take what room is left by what stands around them.
pub(super) fn scene(charts: &[&Chart], width: f64, height: f64) -> Scene {
    let high =
        |stretch| charts.iter().map(|chart| Heights::of(chart, width)).map(|own| own.around + own.inner(stretch)).sum::<f64>();
    let (least, natural) = (high(0.0), high(1.0));
    let stretch = ((height - least) / (natural - least).max(1.0)).max(0.0);
    behind(charts, (width, height), stretch, common_margin(charts, width, stretch))
}

/// The same, stretched so far and behind a given margin.
pub(super) fn behind(charts: &[&Chart], (width, height): (f64, f64), stretch: f64, margin: f64) -> Scene {
    let mut scene = Scene { width, height, shapes: Vec::new() };
    let mut top = 0.0;
    for chart in charts {
        let own = Heights::of(chart, width);
        draw(chart, &mut scene, top, own.inner(stretch), margin);
        top += own.around + own.inner(stretch);
    }
    scene
}

/// Draws a chart into a scene, its drawing of a height and behind a margin; charts with the same one share their times.
fn draw(chart: &Chart, scene: &mut Scene, top: f64, height: f64, margin: f64) {
    let (from, to) = shown(chart);
    let key = Key::of(chart);
    let right = (scene.width - PAD).max(PAD + 1.0);
    let inner = top + HEAD;
    #[expect(clippy::cast_precision_loss, reason = "a place to a pixel")]
    let length = (to.saturating_sub(from)) as f64;
    let bottom = inner + height.max(10.0);
    let frame = Frame { left: (PAD + margin).min(right - 1.0), right, top: inner, bottom, from, length };
    heading(&frame, chart, scene, top);
    let scale = numbers::Scale::of(chart, frame.bottom - frame.top);
    gaps(&frame, chart, scene);
    let days = times(&frame, chart, scene);
    if chart.lines.is_empty() {
        let middle = (f64::midpoint(frame.left, frame.right), f64::midpoint(frame.top, frame.bottom));
        scene.text(middle, SMALL + 1.0, Anchor::Middle, colour::GREY, "no events");
    } else if chart.has_strips() {
        strips::draw(chart, &frame, scene);
    } else {
        scale.draw(&frame, scene);
        name_gaps(&frame, chart, scene);
        numbers::draw(chart, &frame, &scale, scene);
    }
    scene.line((frame.left, frame.bottom), (frame.right, frame.bottom), colour::AXIS, 1.0);
    key.draw(scene, (PAD, frame.bottom + days), frame.right - PAD);
}

fn heading(frame: &Frame, chart: &Chart, scene: &mut Scene, top: f64) {
    let width = frame.right - PAD;
    let (title, about) = chart.heading();
    let text = fit(&title, TITLE, width);
    let (x, y) = (PAD, top + PAD + 10.0);
    scene.shapes.push(Shape::Text { x, y, size: TITLE, anchor: Anchor::Left, is_bold: true, fill: colour::INK, text });
    let span = ticks::words(shown(chart), &chart.zone);
    let below = if about.is_empty() { span } else { format!("{about}  ·  {span}") };
    scene.text((x, y + 16.0), SMALL, Anchor::Left, colour::GREY, fit(&below, SMALL, width));
}

/// Times in which nothing was recorded, behind everything.
fn gaps(frame: &Frame, chart: &Chart, scene: &mut Scene) {
    for (begins, ends) in chart.gaps_within() {
        let x = frame.x(begins);
        let width = (frame.x(ends) - x).max(1.5);
        scene.gap((x, frame.top), (width, frame.bottom - frame.top));
    }
}

/// What stands in them, where there is room.
const NOTHING: &str = "nothing recorded";

/// Their name, over the lines of the scale. Between strips there is no room for a word; the key has it.
fn name_gaps(frame: &Frame, chart: &Chart, scene: &mut Scene) {
    for (begins, ends) in chart.gaps_within() {
        let (x, width) = (frame.x(begins), frame.x(ends) - frame.x(begins));
        let own = font::width(NOTHING, SMALL);
        if width > own + 4.0 {
            let middle = x + width / 2.0;
            let (x, y, width, height) = (middle - own / 2.0 - 1.0, frame.top + 1.0, own + 2.0, SMALL + 3.0);
            scene.shapes.push(Shape::Box { x, y, width, height, fill: colour::GAP });
            scene.text((middle, frame.top + SMALL + 1.0), SMALL, Anchor::Middle, colour::GAP_INK, NOTHING);
        }
    }
}

/// The axis of time. Says how much room it took below the drawing.
fn times(frame: &Frame, chart: &Chart, scene: &mut Scene) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few ticks")]
    let most = ((frame.right - frame.left) / 80.0).clamp(2.0, 40.0) as usize;
    let mut written = (f64::MIN, f64::MIN);
    for tick in ticks::times(shown(chart), &chart.zone, most) {
        let x = frame.x(tick.at);
        scene.line((x, frame.top), (x, frame.bottom), colour::GRID, 1.0);
        scene.line((x, frame.bottom), (x, frame.bottom + 4.0), colour::AXIS, 1.0);
        let mut write = |text: &str, y: f64, free_from: &mut f64, fill| {
            let half = font::width(text, SMALL) / 2.0;
            // What would leave the picture is moved in, what would meet its neighbour is left out.
            let x = x.clamp(PAD.min(frame.right) + half, (frame.right + PAD - 2.0 - half).max(PAD + half));
            if x - half >= *free_from {
                scene.text((x, y), SMALL, Anchor::Middle, fill, text);
                *free_from = x + half + 6.0;
            }
        };
        write(&tick.label, frame.bottom + 16.0, &mut written.0, colour::INK);
        if let Some(below) = &tick.below {
            write(below, frame.bottom + 30.0, &mut written.1, colour::GREY);
        }
    }
    FOOT
}
