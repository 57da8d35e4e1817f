//! Shapes on a plane: all that a picture is made of, before somebody writes it down as SVG or PNG.

use super::colour::{self, Colour};

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
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) {
        self.shapes.push(Shape::Path { points: vec![from, to], colour, width, dashes: &[] });
    }

    /// A time without a recording: shaded, with edges that are seen however narrow it is.
    pub(super) fn gap(&mut self, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.shapes.push(Shape::Box { x, y, width, height, fill: colour::GAP });
        for edge in [x, x + width] {
            self.line((edge, y), (edge, y + height), colour::GAP_INK, 1.0);
        }
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, fill: Colour, text: impl Into<String>) {
        self.shapes.push(Shape::Text { x, y, size, anchor, is_bold: false, fill, text: text.into() });
    }
}
