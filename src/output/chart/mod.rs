//! Charts: what is drawn, as plain data, and its pictures: SVG, PNG, and characters for a terminal.
//!
//! A chart is laid out once, as a handful of shapes; SVG and PNG are two ways to write these down. So a picture
//! looks the same in a report and in a slide.

mod colour;
mod compose;
mod font;
mod frame;
mod key;
mod numbers;
mod png;
mod scene;
mod strips;
mod svg;
mod terminal;
mod ticks;

use std::sync::Arc;

use crate::base::time::Micros;
use crate::base::zone::Zone;

pub use colour::{Meaning, meaning};
pub use compose::Size;
pub use font::lacking;
pub use png::{PngError, png};
pub use svg::{svg, svgs};
pub use terminal::{Screen, terminal};

/// One chart: lines over time, or a strip a device.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What stands above it: an event type.
    pub title: String,
    /// What is measured and in which unit as people write it, such as `temperature, °C`; empty for states.
    pub axis: String,
    /// Which part of all devices it shows, such as a room, or `2 of 5`; empty where it shows all of them.
    pub part: String,
    /// Whose clock the time axis shows.
    pub zone: Zone,
    /// From when to when.
    pub span: (Micros, Micros),
    /// One a device, in the order of the legend. Either all of them measure something, or none does.
    pub lines: Vec<Line>,
    /// Times in which nothing was recorded, ascending.
    pub gaps: Vec<(Micros, Micros)>,
}

/// What one device says.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The device's id; empty for events that are about no device.
    pub device: String,
    /// What people call the device.
    pub name: String,
    /// The room that it is in; empty where nobody said.
    pub room: String,
    /// What it says.
    pub data: Data,
}

/// What a device says over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A measure, in pieces without a hole, each ascending in time.
    Numbers(Vec<Vec<Point>>),
    /// A total that stays until the next one, in the same way.
    Steps(Vec<Vec<Point>>),
    /// The states that it was in, ascending. Where nothing is known there is none.
    States(Vec<Span>),
    /// When something happened, ascending.
    Moments(Vec<Micros>),
}

/// A measure at a time, or the mean of several about a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub time: Micros,
    /// The measure, or the mean.
    pub value: f64,
    /// The least that it stands for.
    pub min: f64,
    /// The greatest that it stands for.
    pub max: f64,
}

/// A time in a state. Where states change faster than a picture can show, several spans of the same time share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// From when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// The state.
    pub state: Arc<str>,
    /// How much of the time it takes, above 0 and up to 1.
    pub part: f64,
}

impl Chart {
    /// True when each device has a strip of its own, instead of a line among others.
    fn has_strips(&self) -> bool {
        self.lines.first().is_some_and(|line| line.data.is_strip())
    }

    /// What stands above it, and what explains that; the unit stands there in any case.
    fn heading(&self) -> (String, &str) {
        let (title, about) =
            if self.axis.starts_with(&self.title) { (&self.axis, "") } else { (&self.title, self.axis.as_str()) };
        (if self.part.is_empty() { title.clone() } else { format!("{title}  ·  {}", self.part) }, about)
    }

    /// What a line is called: with its room, where the lines are of several rooms and its name does not tell.
    pub fn called(&self, line: &Line) -> String {
        let is_told = line.room.is_empty() || line.name.contains(&line.room);
        if is_told || self.lines.iter().all(|other| other.room == line.room) {
            line.name.clone()
        } else {
            format!("{} · {}", line.name, line.room)
        }
    }

    /// True where a line has holes that somebody should explain.
    fn has_breaks(&self) -> bool {
        self.lines.iter().any(|line| line.data.pieces().len() > 1)
    }

    /// The gaps within the span, cut to it.
    fn gaps_within(&self) -> Vec<(Micros, Micros)> {
        let (from, to) = self.span;
        let cut = self.gaps.iter().map(|(begins, ends)| ((*begins).max(from), (*ends).min(to)));
        cut.filter(|(begins, ends)| begins < ends).collect()
    }
}

impl Data {
    /// True for what has a strip of its own, instead of a line among others.
    pub fn is_strip(&self) -> bool {
        matches!(self, Self::States(_) | Self::Moments(_))
    }

    /// The pieces of a line; none for a strip.
    pub fn pieces(&self) -> &[Vec<Point>] {
        match self {
            Self::Numbers(pieces) | Self::Steps(pieces) => pieces,
            Self::States(_) | Self::Moments(_) => &[],
        }
    }
}

/// The least and the greatest that lines show; a little around it where that is one number, something where there is none.
fn extent<'l>(lines: impl Iterator<Item = &'l Line>) -> (f64, f64) {
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    for point in lines.flat_map(|line| line.data.pieces()).flatten() {
        for value in [point.min, point.value, point.max] {
            if value.is_finite() {
                (least, greatest) = (least.min(value), greatest.max(value));
            }
        }
    }
    if least > greatest {
        (0.0, 1.0)
    } else if greatest - least > 1e-9 * greatest.abs().max(least.abs()) {
        (least, greatest)
    } else {
        let around = if least == 0.0 { 1.0 } else { 0.05 * least.abs() };
        (least - around, greatest + around)
    }
}
