//! A strip a device: the states that it was in, or a stroke for each time that something happened.

use std::sync::Arc;

use crate::base::time::Micros;

use super::colour::{self, Meaning, State};
use super::font::{self, fit};
use super::frame::{Frame, SMALL};
use super::scene::{Anchor, Scene, Shape};
use super::{Chart, Data, Span};

/// How high a row looks best, and the least that can be read: a name, and the strip below it.
const ROW: (f64, f64) = (34.0, 18.0);
/// The name's part of it.
const NAME: f64 = 12.0;

/// How high it looks best, and the least that can be read.
#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub(super) fn heights(chart: &Chart) -> (f64, f64) {
    let rows = chart.lines.len().max(1) as f64;
    (rows * ROW.0, rows * ROW.1)
}

#[expect(clippy::cast_precision_loss, reason = "a few rows")]
pub(super) fn draw(chart: &Chart, frame: &Frame, scene: &mut Scene) {
    let states = colour::states(chart);
    let row = (frame.bottom - frame.top) / chart.lines.len().max(1) as f64;
    for (number, line) in chart.lines.iter().enumerate() {
        let top = frame.top + number as f64 * row;
        let bar = (top + NAME + 2.0, (row - NAME - 4.0).max(2.0));
        let middle = bar.0 + bar.1 / 2.0;
        let text = fit(&chart.called(line), SMALL, frame.right - frame.left);
        scene.text((frame.left, top + NAME - 1.0), SMALL, Anchor::Left, colour::INK, text);
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
            let is_dark = state.meaning != Meaning::Quiet && !colour::is_pale(state.colour);
            let ink = if is_dark { 0xFF_FF_FF } else { colour::INK };
            words.push((x + 4.0, ink, Arc::clone(&state.name)));
        }
    }
    let boxes = boxes.into_iter().zip(states).filter(|(boxes, _)| !boxes.is_empty());
    scene.shapes.extend(boxes.map(|(boxes, state)| Shape::Boxes { boxes, fill: state.colour }));
    for (x, ink, word) in words {
        scene.text((x, top + height / 2.0 + 3.5), SMALL - 2.0, Anchor::Left, ink, &*word);
    }
}
