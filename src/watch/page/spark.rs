//! A device's day as a small picture: 96 quarters of an hour, as few characters as can be, since a page has fifty.

use std::fmt::Write;

use maud::{Markup, html};

use crate::base::text::measured;
use crate::base::time::Micros;
use crate::model::schema::Behaviour;
use crate::query::tables::{Topic, Value};
use crate::watch::model::{CELLS, Cell, Device, Fleet};

use super::unit;

/// Height of the picture, and of what is drawn in it.
const HEIGHT: f32 = 24.0;
const INNER: f32 = 20.0;

/// The day of a device up to a time; nothing where it tells nothing that has a picture.
pub(super) fn spark(fleet: &Fleet, device: &Device, until: Micros) -> Markup {
    let Some((topic, day)) = device.day().and_then(|(place, day)| Some((fleet.topic(place)?, day))) else { return html! {} };
    let cells: Vec<Option<Cell>> = day.until(until).collect();
    if cells.iter().all(Option::is_none) {
        return html! {};
    }
    let behaves = topic.values.first().and_then(Value::behaves);
    let (class, path, about) = match behaves {
        Some(Behaviour::Gauge | Behaviour::Counter) => ("line", line(&cells), extent(&cells).map(|extent| said(extent, topic))),
        Some(Behaviour::State) => ("bars", states(&cells), None),
        None => ("bars", bars(&cells), None),
    };
    let about = about.unwrap_or_else(|| topic.title());
    html! {
        svg class={ "spark " (class) } viewBox="0 0 96 24" width="96" height="24" role="img" aria-label={ "24 h: " (about) } {
            path d=(path) {}
        }
    }
}

fn said((least, greatest): Cell, topic: &Topic) -> String {
    let unit = unit(topic);
    format!("{} to {}{unit}", measured(f64::from(least)), measured(f64::from(greatest)))
}

fn extent(cells: &[Option<Cell>]) -> Option<Cell> {
    cells.iter().flatten().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Where a value stands, in whole points from above.
#[expect(clippy::cast_possible_truncation, reason = "a place in a picture of 24 points")]
fn height(value: f32, (least, greatest): Cell) -> i32 {
    let range = greatest - least;
    let part = if range > f32::EPSILON * greatest.abs().max(1.0) { (value - least) / range } else { 0.5 };
    (HEIGHT - (HEIGHT - INNER) / 2.0 - part * INNER).round() as i32
}

/// A line through the extremes of each quarter, from the one that is nearer; broken by a quarter of several without an event.
fn line(cells: &[Option<Cell>]) -> String {
    /// So many empty quarters break a line.
    const BREAK: usize = 5;
    let Some(extent) = extent(cells) else { return String::new() };
    let mut path = String::new();
    // Where the pen is.
    let (mut at, mut y): (Option<usize>, i32) = (None, 0);
    for (x, cell) in cells.iter().enumerate() {
        let Some((least, greatest)) = cell else { continue };
        let (low, high) = (height(*least, extent), height(*greatest, extent));
        match at {
            Some(at) if x - at < BREAK => step(&mut path, 'h', i32::try_from(x - at).unwrap_or_default()),
            _ => {
                y = low;
                // Writing to a string cannot fail.
                write!(path, "M{x} {low}").unwrap_or_default();
            }
        }
        let (first, second) = if (y - low).abs() <= (y - high).abs() { (low, high) } else { (high, low) };
        step(&mut path, 'v', first - y);
        step(&mut path, 'v', second - first);
        step(&mut path, 'h', 1);
        (at, y) = (Some(x + 1), second);
    }
    path
}

/// A step of the pen; the same direction as before goes on with it.
fn step(path: &mut String, direction: char, by: i32) {
    if by == 0 {
        return;
    }
    if let Some(place) = path.rfind(|c: char| c.is_ascii_alphabetic()).filter(|_| direction == 'h')
        && path[place..].starts_with('h')
        && let Ok(before) = path[place + 1..].parse::<i32>()
    {
        path.truncate(place);
        write!(path, "h{}", before + by).unwrap_or_default();
        return;
    }
    write!(path, "{direction}{by}").unwrap_or_default();
}

/// A block where something goes on, as long as it does; what somebody has to see is higher.
fn states(cells: &[Option<Cell>]) -> String {
    let mut path = String::new();
    let mut last = 0.0;
    let mut from = (0, 0.0);
    for (x, cell) in cells.iter().copied().chain([Some((0.0, 0.0))]).enumerate() {
        let level = if x == CELLS { -1.0 } else { cell.map_or(last, |cell| cell.1) };
        if (level - from.1).abs() > 0.1 {
            block(&mut path, (from.0, x), from.1 / 2.0);
            from = (x, level);
        }
        // How it was at its highest stands for the quarter; what it was last holds on.
        last = cell.map_or(last, |cell| cell.0);
    }
    path
}

/// A bar for each quarter in which something happened.
fn bars(cells: &[Option<Cell>]) -> String {
    let most = extent(cells).map_or(1.0, |extent| extent.1).max(1.0);
    let mut path = String::new();
    for (x, cell) in cells.iter().enumerate() {
        if let Some((_, many)) = cell {
            block(&mut path, (x, x + 1), (many / most).max(0.15));
        }
    }
    path
}

#[expect(clippy::cast_possible_truncation, reason = "a place in a picture of 24 points")]
fn block(path: &mut String, (from, to): (usize, usize), part: f32) {
    let height = (part * INNER).round() as i32;
    if height > 0 {
        write!(path, "M{from} 22v-{height}h{}v{height}z", to - from).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(of: impl Fn(usize) -> Option<Cell>) -> Vec<Option<Cell>> {
        (0..CELLS).map(of).collect()
    }

    #[test]
    fn a_steady_line_is_short_and_a_silence_breaks_it() {
        assert_eq!(line(&day(|_| Some((20.0, 20.0)))), "M0 12h96");
        let torn = line(&day(|x| (!(40..60).contains(&x)).then_some((20.0, 20.0))));
        assert_eq!(torn, "M0 12h40M60 12h36");
        let swings = line(&day(|x| Some(if x < 48 { (0.0, 1.0) } else { (1.0, 1.0) })));
        assert!(swings.starts_with("M0 22v-20h1v20h1v-20") && swings.ends_with("h48"), "{swings}");
        #[expect(clippy::cast_precision_loss, reason = "a few quarters")]
        let busiest = line(&day(|x| Some((f32::sin(x as f32), f32::sin(x as f32) + 1.0))));
        assert!(busiest.len() < 1200, "{}", busiest.len());
    }

    #[test]
    fn a_door_stays_open_until_it_says_otherwise() {
        let opens = day(|x| match x {
            10 => Some((0.0, 1.0)),
            20 => Some((1.0, 1.0)),
            50 => Some((0.0, 0.0)),
            _ => None,
        });
        assert_eq!(states(&opens), "M10 22v-10h1v10zM20 22v-10h30v10z");
    }

    #[test]
    fn touches_are_bars_by_how_many_they_are() {
        assert_eq!(bars(&day(|x| (x < 2).then_some((0.0, if x == 0 { 4.0 } else { 2.0 })))), "M0 22v-20h1v20zM1 22v-10h1v10z");
    }
}
