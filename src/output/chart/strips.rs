//! A strip a device: the states that it was in, or a stroke for each time that something happened.

use std::sync::Arc;

use crate::base::time::Micros;

use super::colour::{self, State};
use super::font::{self, fit};
use super::frame::{Frame, PAD, SMALL};
use super::scene::{Anchor, Scene, Shape};
use super::{Chart, Data, Span};

/// How high a row looks best, and the least that can be read.
const ROW: (f64, f64) = (22.0, 6.0);
/// The least height of a row that has a name, and how many have one in any case.
const NAME: f64 = 11.0;
const NAMED: f64 = 20.0;
/// Room for names, at most this and a part of the picture.
const NAMES: f64 = 220.0;
/// More rows than this are no picture any more.
const MOST: usize = 60;

/// How many of the devices have a row.
pub(super) fn most(chart: &Chart) -> usize {
    chart.lines.len().min(MOST)
}

/// How high it looks best, and the least that can be read.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub(super) fn heights(chart: &Chart) -> (f64, f64) {
    let rows = most(chart).max(1) as f64;
    (rows * ROW.0, (rows * ROW.1).max(rows.min(NAMED) * NAME))
}

/// Room for the names at the left.
pub(super) fn margin(chart: &Chart, width: f64) -> f64 {
    let most = NAMES.min(width * 0.3);
    let widths = chart.lines.iter().take(MOST).map(|line| font::width(&fit(&line.name, SMALL, most), SMALL));
    widths.fold(0.0, f64::max) + 8.0
}

#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub(super) fn draw(chart: &Chart, frame: &Frame, scene: &mut Scene) {
    let states = colour::states(chart);
    let rows = most(chart).max(1);
    let row = (frame.bottom - frame.top) / rows as f64;
    // In a low picture every other name, or less.
    let names_each = (NAME / row).ceil().max(1.0);
    for (number, line) in chart.lines.iter().take(rows).enumerate() {
        let top = frame.top + number as f64 * row;
        let bar = (top + row * 0.14, row * 0.72);
        let middle = top + row / 2.0;
        if (number as f64 / names_each).fract() == 0.0 {
            let text = fit(&line.name, SMALL, frame.left - PAD - 7.9);
            scene.text((frame.left - 8.0, middle + 4.0), SMALL, Anchor::Right, colour::INK, text);
        }
        scene.line((frame.left, middle), (frame.right, middle), colour::GRID, 1.0);
        match &line.data {
            Data::States(spans) => draw_states(spans, &states, frame, bar, scene),
            Data::Moments(moments) => {
                let stroke = |moment: &Micros| [frame.x(*moment) - 0.6, bar.0, 1.2, bar.1];
                scene.shapes.push(Shape::Boxes { boxes: moments.iter().map(stroke).collect(), fill: colour::line(0).0 });
            }
            Data::Numbers(_) | Data::Steps(_) => {}
        }
    }
}

/// Spans side by side; those that share a time stand on each other.
fn draw_states(spans: &[Span], states: &[State], frame: &Frame, (top, height): (f64, f64), scene: &mut Scene) {
    let (mut last, mut used) = (None, 0.0);
    let mut boxes: Vec<Vec<[f64; 4]>> = vec![Vec::new(); states.len()];
    let mut words = Vec::new();
    for span in spans {
        let Some(at) = states.iter().position(|state| state.name == span.state) else { continue };
        let state = &states[at];
        used = if last == Some(span.from) { used } else { 0.0 };
        last = Some(span.from);
        let (x, part) = (frame.x(span.from), span.part.clamp(0.0, 1.0));
        let width = (frame.x(span.to) - x).max(0.8);
        let y = top + height * (1.0 - used - part).max(0.0);
        boxes[at].push([x, y, width, height * part]);
        used += part;
        // What stands in the strip itself needs no colour.
        if part > 0.99 && height >= SMALL && font::width(&state.name, SMALL - 2.0) + 8.0 < width {
            let ink = if state.is_quiet { colour::INK } else { 0xFF_FF_FF };
            words.push((x + 4.0, ink, Arc::clone(&state.name)));
        }
    }
    let boxes = boxes.into_iter().zip(states).filter(|(boxes, _)| !boxes.is_empty());
    scene.shapes.extend(boxes.map(|(boxes, state)| Shape::Boxes { boxes, fill: state.colour }));
    for (x, ink, word) in words {
        scene.text((x, top + height / 2.0 + 3.5), SMALL - 2.0, Anchor::Left, ink, &*word);
    }
}
