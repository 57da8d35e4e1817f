//! The key below a chart: which colour is which device or state.

use super::Chart;
use super::colour::{self, Colour};
use super::font::{self, fit};
use super::frame::SMALL;
use super::scene::{Anchor, Scene, Shape};

const ROW: f64 = 18.0;
/// Between a sample and its text, and between a text and the next sample.
const SPACE: (f64, f64) = (6.0, 18.0);
/// The longest text.
const LONGEST: f64 = 300.0;
/// What a hole in a line means.
const BREAKS: &str = "a line breaks: its device said nothing";

#[derive(Debug)]
enum Sample {
    Line(Colour, &'static [f64]),
    Box(Colour),
    Gap,
    Nothing,
}

impl Sample {
    fn width(&self) -> f64 {
        match self {
            Self::Line(..) => 22.0 + SPACE.0,
            Self::Box(_) | Self::Gap => 12.0 + SPACE.0,
            Self::Nothing => 0.0,
        }
    }
}

/// The items of a key.
#[derive(Debug)]
pub(super) struct Key {
    items: Vec<(Sample, String)>,
}

impl Key {
    /// What a chart needs to be understood.
    pub(super) fn of(chart: &Chart) -> Self {
        let mut items = Vec::new();
        if chart.has_strips() {
            items.extend(colour::states(chart).into_iter().map(|state| (Sample::Box(state.colour), state.name.to_string())));
        } else {
            for (number, line) in chart.lines.iter().enumerate() {
                let (ink, dashes) = colour::line(number);
                items.push((Sample::Line(ink, dashes), chart.called(line)));
            }
        }
        for (_, text) in &mut items {
            *text = fit(text, SMALL, LONGEST);
        }
        if !chart.gaps_within().is_empty() {
            items.push((Sample::Gap, "nothing recorded".to_owned()));
        }
        if chart.has_breaks() {
            items.push((Sample::Nothing, BREAKS.to_owned()));
        }
        Self { items }
    }

    /// How high it is at a width.
    pub(super) fn height(&self, width: f64) -> f64 {
        self.places(width).last().map_or(0.0, |(_, y)| y + ROW)
    }

    /// Where each item begins, in rows as long as the width.
    fn places(&self, width: f64) -> Vec<(f64, f64)> {
        let (mut x, mut y) = (0.0, 0.0);
        let place = |(sample, text): &(Sample, String)| {
            let own = sample.width() + font::width(text, SMALL);
            if x > 0.0 && x + own > width {
                (x, y) = (0.0, y + ROW);
            }
            let place = (x, y);
            x += own + SPACE.1;
            place
        };
        self.items.iter().map(place).collect()
    }

    pub(super) fn draw(&self, scene: &mut Scene, (left, top): (f64, f64), width: f64) {
        for ((sample, text), (x, y)) in self.items.iter().zip(self.places(width)) {
            let (x, middle) = (left + x, top + y + ROW / 2.0);
            match sample {
                Sample::Line(ink, dashes) => {
                    let points = vec![(x, middle), (x + sample.width() - SPACE.0, middle)];
                    scene.shapes.push(Shape::Path { points, colour: *ink, width: 2.2, dashes });
                }
                Sample::Box(fill) => {
                    let y = middle - 6.0;
                    scene.shapes.push(Shape::Box { x, y, width: 12.0, height: 12.0, fill: *fill });
                }
                Sample::Gap => scene.gap((x, middle - 6.0), (12.0, 12.0)),
                Sample::Nothing => {}
            }
            scene.text((x + sample.width(), middle + 4.0), SMALL, Anchor::Left, colour::INK, text.as_str());
        }
    }
}
