//! Shapes on a plane: all that a picture is made of, before somebody writes it down as SVG or PNG.

use crate::base::text::is_hidden;

use super::colour::Colour;
use super::frame::{Frame, Heights, margin};
use super::{Chart, font};

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
    let margins = charts.iter().map(|chart| margin(chart, width, Heights::of(chart, width).inner(stretch)));
    margins.fold(0.0, f64::max)
}

/// Where a text is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    Box {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        fill: Colour,
    },
    /// Many boxes of one colour, each as x, y, width, height.
    Boxes {
        boxes: Vec<[f64; 4]>,
        fill: Colour,
    },
    /// An open line through points.
    Path {
        points: Vec<(f64, f64)>,
        colour: Colour,
        width: f64,
        dashes: &'static [f64],
    },
    /// A closed form, so far see-through.
    Area {
        points: Vec<(f64, f64)>,
        fill: Colour,
        opacity: f64,
    },
    Dot {
        x: f64,
        y: f64,
        radius: f64,
        fill: Colour,
    },
    /// `y` is the line that letters stand on.
    Text {
        x: f64,
        y: f64,
        size: f64,
        anchor: Anchor,
        is_bold: bool,
        fill: Colour,
        text: String,
    },
}

/// A picture.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

impl Scene {
    /// Charts above each other. Their drawings take what room is left by what stands around them.
    pub(super) fn of(charts: &[&Chart], width: f64, height: f64) -> Self {
        let high = |stretch| {
            charts.iter().map(|chart| Heights::of(chart, width)).map(|own| own.around + own.inner(stretch)).sum::<f64>()
        };
        let (least, natural) = (high(0.0), high(1.0));
        let stretch = ((height - least) / (natural - least).max(1.0)).max(0.0);
        Self::behind(charts, (width, height), stretch, common_margin(charts, width, stretch))
    }

    /// The same, stretched so far and behind a given margin.
    pub(super) fn behind(charts: &[&Chart], (width, height): (f64, f64), stretch: f64, margin: f64) -> Self {
        let mut scene = Self { width, height, shapes: Vec::new() };
        let mut top = 0.0;
        for chart in charts {
            let own = Heights::of(chart, width);
            Frame::draw(chart, &mut scene, top, own.inner(stretch), margin);
            top += own.around + own.inner(stretch);
        }
        scene
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) {
        self.shapes.push(Shape::Path { points: vec![from, to], colour, width, dashes: &[] });
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, fill: Colour, text: impl Into<String>) {
        self.shapes.push(Shape::Text { x, y, size, anchor, is_bold: false, fill, text: text.into() });
    }
}

/// Foreign text fit to be shown: no control characters, none that turn the direction of what follows, not without an end.
pub(super) fn clean(text: &str) -> String {
    text.trim().chars().take(200).map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// [`clean`], and cut to a width in pixels.
pub(super) fn fit(text: &str, size: f64, width: f64) -> String {
    let clean = clean(text);
    if font::width(&clean, size) <= width {
        return clean;
    }
    let (mut out, mut used) = (String::new(), font::width("…", size));
    for c in clean.chars() {
        used += font::width(c.encode_utf8(&mut [0; 4]), size);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out + "…"
}
