//! The frame of a chart: heading, axes, gaps, the key below; and where in it a time stands.

use crate::base::time::{Micros, SECOND};

use super::colour;
use super::key::Key;
use super::scene::{Anchor, Scene, Shape, fit};
use super::{Chart, font, numbers, strips, ticks};

/// Sizes of letters.
pub(super) const SMALL: f64 = 11.0;
const TITLE: f64 = 15.0;
/// Above the drawing: title, and the line below it.
const HEAD: f64 = 50.0;
/// Below the drawing: times, and days below these.
const FOOT: f64 = 36.0;
/// Around everything.
pub(super) const PAD: f64 = 14.0;
/// How high a drawing of lines looks best, and the least that can be read.
const LINES: (f64, f64) = (220.0, 80.0);

/// Heights of a chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heights {
    /// What stands above and below its drawing.
    pub(super) around: f64,
    /// How high the drawing looks best.
    pub(super) natural: f64,
    /// How high it must be to be read.
    pub(super) least: f64,
}

impl Heights {
    pub(super) fn of(chart: &Chart, width: f64) -> Self {
        let (natural, least) = if chart.has_strips() { strips::heights(chart) } else { LINES };
        Self { around: HEAD + FOOT + Key::of(chart).height(width - 2.0 * PAD) + PAD, natural, least }
    }

    /// Of the drawing: 0 is the least, 1 is natural.
    pub(super) fn inner(&self, stretch: f64) -> f64 {
        self.least + (self.natural - self.least) * stretch
    }
}

/// Room that a chart needs at its left for names or numbers.
pub(super) fn margin(chart: &Chart, width: f64, height: f64) -> f64 {
    if chart.has_strips() { strips::margin(chart, width - 2.0 * PAD) } else { numbers::Scale::of(chart, height).margin() }
}

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
    from: Micros,
    length: f64,
}

impl Frame {
    /// Draws a chart into a scene, its drawing of a height and behind a margin; charts with the same one share their times.
    pub(super) fn draw(chart: &Chart, scene: &mut Scene, top: f64, height: f64, margin: f64) {
        let (from, to) = shown(chart);
        let key = Key::of(chart);
        let right = (scene.width - PAD).max(PAD + 1.0);
        let inner = top + HEAD;
        #[expect(clippy::cast_precision_loss, reason = "a place to a pixel")]
        let length = (to.saturating_sub(from)) as f64;
        let bottom = inner + height.max(10.0);
        let frame = Self { left: (PAD + margin).min(right - 1.0), right, top: inner, bottom, from, length };
        frame.heading(chart, scene, top);
        let scale = numbers::Scale::of(chart, frame.bottom - frame.top);
        frame.gaps(chart, scene);
        let days = frame.times(chart, scene);
        if chart.lines.is_empty() {
            let middle = (f64::midpoint(frame.left, frame.right), f64::midpoint(frame.top, frame.bottom));
            scene.text(middle, SMALL + 1.0, Anchor::Middle, colour::GREY, "no events");
        } else if chart.has_strips() {
            strips::draw(chart, &frame, scene);
        } else {
            scale.draw(&frame, scene);
            numbers::draw(chart, &frame, &scale, scene);
        }
        scene.line((frame.left, frame.bottom), (frame.right, frame.bottom), colour::AXIS, 1.0);
        key.draw(scene, (PAD, frame.bottom + days), frame.right - PAD);
    }

    /// Where a time stands.
    #[expect(clippy::cast_precision_loss, reason = "a place to a tenth of a pixel")]
    pub(super) fn x(&self, time: Micros) -> f64 {
        let part = (time.saturating_sub(self.from)) as f64 / self.length;
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn heading(&self, chart: &Chart, scene: &mut Scene, top: f64) {
        let width = self.right - PAD;
        let (title, about) = chart.heading();
        let text = fit(title, TITLE, width);
        let (x, y) = (PAD, top + PAD + 10.0);
        scene.shapes.push(Shape::Text { x, y, size: TITLE, anchor: Anchor::Left, is_bold: true, fill: colour::INK, text });
        let span = ticks::words(shown(chart), &chart.zone);
        let below = if about.is_empty() { span } else { format!("{about}  ·  {span}") };
        scene.text((x, y + 16.0), SMALL, Anchor::Left, colour::GREY, fit(&below, SMALL, width));
    }

    /// Times in which nothing was recorded, behind everything.
    fn gaps(&self, chart: &Chart, scene: &mut Scene) {
        for (begins, ends) in chart.gaps_within() {
            let x = self.x(begins);
            let width = (self.x(ends) - x).max(1.5);
            let height = self.bottom - self.top;
            scene.shapes.push(Shape::Box { x, y: self.top, width, height, fill: colour::GAP });
            // Between strips there is no room for a word; the key has it.
            if !chart.has_strips() && width > font::width("gap", SMALL) + 4.0 {
                scene.text((x + width / 2.0, self.top + SMALL + 1.0), SMALL, Anchor::Middle, colour::GAP_INK, "gap");
            }
        }
    }

    /// The axis of time. Says how much room it took below the drawing.
    fn times(&self, chart: &Chart, scene: &mut Scene) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few ticks")]
        let most = ((self.right - self.left) / 80.0).clamp(2.0, 40.0) as usize;
        let mut written = (f64::MIN, f64::MIN);
        for tick in ticks::times(shown(chart), &chart.zone, most) {
            let x = self.x(tick.at);
            scene.line((x, self.top), (x, self.bottom), colour::GRID, 1.0);
            scene.line((x, self.bottom), (x, self.bottom + 4.0), colour::AXIS, 1.0);
            let mut write = |text: &str, y: f64, free_from: &mut f64, fill| {
                let half = font::width(text, SMALL) / 2.0;
                // What would leave the picture is moved in, what would meet its neighbour is left out.
                let x = x.clamp(PAD.min(self.right) + half, (self.right + PAD - 2.0 - half).max(PAD + half));
                if x - half >= *free_from {
                    scene.text((x, y), SMALL, Anchor::Middle, fill, text);
                    *free_from = x + half + 6.0;
                }
            };
            write(&tick.label, self.bottom + 16.0, &mut written.0, colour::INK);
            if let Some(below) = &tick.below {
                write(below, self.bottom + 30.0, &mut written.1, colour::GREY);
            }
        }
        FOOT
    }
}
