//! A scene as PNG.

use skrifa::outline::OutlinePen;
use tiny_skia::{FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform};

use super::colour::Colour;
use super::compose::{self, Size};
use super::scene::{Anchor, Shape};
use super::{Chart, font};

/// Why there is no PNG.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {width} x {height} pixels: {what}")]
pub struct PngError {
    width: u32,
    height: u32,
    what: String,
}

/// Charts above each other as a PNG file of a size. Letters and lines are so large as if the picture were `size / scale`: 2
/// gives the picture of the same size in SVG at twice its resolution.
///
/// # Errors
/// When the size is none, or does not fit into memory.
pub fn png(charts: &[&Chart], size: Size, scale: f64) -> Result<Vec<u8>, PngError> {
    let fail = |what: &str| PngError { width: size.width, height: size.height, what: what.to_owned() };
    let mut pixels = Pixmap::new(size.width, size.height).ok_or_else(|| fail("no such size"))?;
    pixels.fill(tiny_skia::Color::WHITE);
    let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
    let scene = compose::scene(charts, f64::from(size.width) / scale, f64::from(size.height) / scale);
    let to = Transform::from_scale(short(scale), short(scale));
    for shape in &scene.shapes {
        paint(shape, &mut pixels, to);
    }
    pixels.encode_png().map_err(|error| fail(&error.to_string()))
}

#[expect(clippy::cast_possible_truncation, reason = "pixels need no more digits")]
fn short(length: f64) -> f32 {
    length as f32
}

fn colour(colour: Colour, opacity: f64) -> Paint<'static> {
    let [_, red, green, blue] = colour.to_be_bytes();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    let mut colour = tiny_skia::Color::from_rgba8(red, green, blue, 255);
    colour.set_alpha(short(opacity));
    paint.set_color(colour);
    paint
}

fn path(points: &[(f64, f64)], is_closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        if index == 0 { builder.move_to(short(*x), short(*y)) } else { builder.line_to(short(*x), short(*y)) }
    }
    if is_closed {
        builder.close();
    }
    builder.finish()
}

/// What cannot be drawn, since it has no extent, is not there.
fn paint(shape: &Shape, pixels: &mut Pixmap, to: Transform) {
    match shape {
        Shape::Box { x, y, width, height, fill } => {
            if let Some(rect) = Rect::from_xywh(short(*x), short(*y), short(*width), short(*height)) {
                pixels.fill_rect(rect, &colour(*fill, 1.0), to, None);
            }
        }
        Shape::Boxes { boxes, fill } => {
            for [x, y, width, height] in boxes {
                paint(&Shape::Box { x: *x, y: *y, width: *width, height: *height, fill: *fill }, pixels, to);
            }
        }
        Shape::Path { points, colour: ink, width, dashes } => {
            let dash = StrokeDash::new(dashes.iter().copied().map(short).collect(), 0.0);
            let stroke = Stroke { width: short(*width), line_join: LineJoin::Round, dash, ..Stroke::default() };
            if let Some(path) = path(points, false) {
                pixels.stroke_path(&path, &colour(*ink, 1.0), &stroke, to, None);
            }
        }
        Shape::Area { points, fill, opacity } => {
            if let Some(path) = path(points, true) {
                pixels.fill_path(&path, &colour(*fill, *opacity), FillRule::Winding, to, None);
            }
        }
        Shape::Dot { x, y, radius, fill } => {
            if let Some(circle) = PathBuilder::from_circle(short(*x), short(*y), short(*radius)) {
                pixels.fill_path(&circle, &colour(*fill, 1.0), FillRule::Winding, to, None);
            }
        }
        Shape::Text { x, y, size, anchor, is_bold, fill, text } => {
            let left = match anchor {
                Anchor::Left => *x,
                Anchor::Middle => x - font::width(text, *size) / 2.0,
                Anchor::Right => x - font::width(text, *size),
            };
            if let Some(path) = letters(text, left, *y, *size) {
                let paint = colour(*fill, 1.0);
                pixels.fill_path(&path, &paint, FillRule::Winding, to, None);
                if *is_bold {
                    // The bold face would add as much to the program as the plain one.
                    let stroke = Stroke { width: short(size * 0.035), ..Stroke::default() };
                    pixels.stroke_path(&path, &paint, &stroke, to, None);
                }
            }
        }
    }
}

/// The outlines of a text.
fn letters(text: &str, x: f64, y: f64, size: f64) -> Option<Path> {
    let face = font::face()?;
    let scale = size / face.em;
    let mut outline = Outline { path: PathBuilder::new(), x: short(x), y: short(y), scale: short(scale) };
    for c in text.chars() {
        let (glyph, advance) = face.glyph(c, size);
        face.draw(glyph, &mut outline);
        outline.x += short(advance);
    }
    outline.path.finish()
}

struct Outline {
    path: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Outline {
    /// Fonts count upwards, pictures downwards.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlinePen for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
