//! Which lines stand in one chart: few enough that one can tell them apart, of one level, so that none is squeezed flat by
//! another, and those of a room together.

use std::ops::Range;

use crate::base::text::measured;
use crate::output::chart::{Chart, Line};

/// Most lines in a chart: as many as have a colour of their own.
const LINES: usize = 8;
/// Most strips in a chart: each has a row, and a page shows so many at once.
const STRIPS: usize = 24;
/// Lines of which a scale shows less than one part in so many have a chart of their own.
const SQUEEZED: f64 = 4.0;

/// A chart as several, each of at most eight lines or 24 strips; as it is, where nothing would be told better.
pub fn groups(chart: Chart) -> Vec<Chart> {
    let Chart { title, axis, zone, span, lines, gaps, .. } = chart;
    let is_strips = lines.first().is_some_and(|line| line.data.is_strip());
    let unit = axis.split_once(", ").map(|(_, unit)| format!("\u{a0}{unit}")).unwrap_or_default();
    let levels = if is_strips { vec![lines] } else { levels(lines) };
    let has_levels = levels.len() > 1;
    let mut parts: Vec<(String, Vec<Line>)> = Vec::new();
    for level in levels {
        for lines in chunks(level, if is_strips { STRIPS } else { LINES }) {
            let level = || format!("{} to {}{unit}", measured(extent(&lines).0), measured(extent(&lines).1));
            let name = match rooms(&lines) {
                name if is_strips => name,
                name if name.is_empty() => level(),
                name if has_levels => format!("{name}, {}", level()),
                name => name,
            };
            parts.push((name, lines));
        }
    }
    let names: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
    let one = |(number, (name, mut lines)): (usize, (String, Vec<Line>))| {
        let (before, all) = (&names[..number], names.iter().filter(|other| **other == name).count());
        let nth = before.iter().filter(|other| **other == name).count() + 1;
        let part = match (names.len(), all, name.is_empty()) {
            (1, ..) => String::new(),
            (_, 1, false) => name,
            (_, _, true) => format!("{nth} of {all}"),
            (_, _, false) => format!("{name} ({nth} of {all})"),
        };
        lines.sort_by(|a, b| (&a.name, &a.device).cmp(&(&b.name, &b.device)));
        Chart { title: title.clone(), axis: axis.clone(), part, zone: zone.clone(), span, lines, gaps: gaps.clone() }
    };
    parts.into_iter().enumerate().map(one).collect()
}

/// The least and the greatest of some lines.
fn extent(lines: &[Line]) -> (f64, f64) {
    let points = lines.iter().flat_map(|line| line.data.pieces()).flatten();
    let finite = points.flat_map(|point| [point.min, point.value, point.max]).filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| (least.min(value), greatest.max(value)))
}

/// Lines of one level each: a jump between levels parts those that a common scale would squeeze.
fn levels(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let middle = |line: &Line| {
        let (least, greatest) = extent(std::slice::from_ref(line));
        f64::midpoint(least, greatest)
    };
    let mut all: Vec<(f64, Line)> = lines.into_iter().map(|line| (middle(&line), line)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    let (middles, mut lines): (Vec<f64>, Vec<Line>) = all.into_iter().unzip();
    let length = |range: &Range<usize>| {
        let (least, greatest) = extent(&lines[range.clone()]);
        greatest - least
    };
    let mut cuts = Vec::new();
    let mut todo = Vec::from([Range { start: 0, end: lines.len() }]);
    while let Some(range) = todo.pop() {
        let whole = length(&range);
        let jumps: Vec<usize> =
            (range.start + 1..range.end).filter(|at| (middles[*at] - middles[*at - 1]) * SQUEEZED > whole).collect();
        let begins = [range.start].into_iter().chain(jumps.iter().copied());
        let parts: Vec<Range<usize>> = begins.zip(jumps.iter().copied().chain([range.end])).map(|(from, to)| from..to).collect();
        if parts.iter().any(|part| part.len() > 1 && length(part) * SQUEEZED < whole) {
            cuts.extend(jumps);
            todo.extend(parts);
        }
    }
    cuts.sort_unstable();
    let mut levels: Vec<Vec<Line>> = cuts.into_iter().rev().map(|at| lines.split_off(at)).collect();
    levels.push(lines);
    levels.reverse();
    levels
}

/// Lines in charts of at most so many, those of a room together as far as they fit, all of them about equally full. Without rooms
/// they are in the order in which they came: by level, or by name.
fn chunks(mut lines: Vec<Line>, most: usize) -> Vec<Vec<Line>> {
    if lines.len() <= most {
        return vec![lines];
    }
    if lines.iter().all(|line| line.room.is_empty()) {
        return evenly(lines, most);
    }
    lines.sort_by(|a, b| (&a.room, &a.name).cmp(&(&b.room, &b.name)));
    let mut chunks: Vec<Vec<Line>> = Vec::new();
    for room in lines.chunk_by(|a, b| a.room == b.room) {
        match chunks.last_mut() {
            Some(last) if last.len() + room.len() <= most => last.extend_from_slice(room),
            _ => chunks.extend(evenly(room.to_vec(), most)),
        }
    }
    chunks
}

fn evenly(mut lines: Vec<Line>, most: usize) -> Vec<Vec<Line>> {
    let mut chunks = Vec::new();
    while !lines.is_empty() {
        let left = lines.len().div_ceil(most);
        let rest = lines.split_off(lines.len().div_ceil(left));
        chunks.push(lines);
        lines = rest;
    }
    chunks
}

/// The rooms of some lines that are in order; nothing where nobody told one.
fn rooms(lines: &[Line]) -> String {
    let mut rooms: Vec<&str> = lines.iter().map(|line| line.room.as_str()).collect();
    rooms.sort_unstable();
    rooms.dedup();
    let others = if rooms.first() == Some(&"") && rooms.len() > 1 { rooms.remove(0) } else { "-" };
    let named = match rooms.as_slice() {
        [first, .., last] if rooms.len() > 3 => format!("{first} to {last}"),
        few => few.join(", "),
    };
    let named = if named.starts_with(|first: char| first.is_ascii_digit()) { format!("room {named}") } else { named };
    if others.is_empty() { format!("{named} and without a room") } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::zone::Zone;
    use crate::output::chart::{Data, Point};

    fn line(name: &str, room: &str, values: &[f64]) -> Line {
        let point = |(time, value): (i64, &f64)| Point { time, value: *value, min: *value, max: *value };
        let pieces = vec![(0..).zip(values).map(point).collect()];
        Line { device: name.to_owned(), name: name.to_owned(), room: room.to_owned(), data: Data::Numbers(pieces) }
    }

    fn parts(lines: Vec<Line>) -> Vec<(String, usize)> {
        let (title, axis) = ("temperature".to_owned(), "temperature, °C".to_owned());
        let chart = Chart { title, axis, part: String::new(), zone: Zone::utc(), span: (0, 9), lines, gaps: Vec::new() };
        groups(chart).into_iter().map(|chart| (chart.part, chart.lines.len())).collect()
    }

    #[test]
    fn lines_at_twenty_degrees_are_not_squeezed_by_a_freezer_and_a_boiler() {
        let room =
            |number: i32| line(&format!("r{number}"), "", &[20.0 + f64::from(number) / 4.0, 20.5 + f64::from(number) / 4.0]);
        let mut lines: Vec<Line> = (0..5).map(room).collect();
        assert_eq!(parts(lines.clone()), [(String::new(), 5)], "alone they are one chart");
        lines.extend([line("freezer", "", &[-21.0, -18.0]), line("boiler", "", &[61.0, 66.0])]);
        let found = parts(lines);
        let sizes: Vec<usize> = found.iter().map(|(_, lines)| *lines).collect();
        assert_eq!(sizes, [1, 5, 1], "{found:?}");
        assert_eq!(found[1].0, "20 to 21.5\u{a0}°C");
    }

    #[test]
    fn two_lines_of_two_levels_are_told_apart_in_one_chart() {
        assert_eq!(parts(vec![line("a", "", &[4.0, 5.0]), line("b", "", &[20.0, 21.0])]), [(String::new(), 2)]);
    }

    #[test]
    fn no_chart_has_more_than_eight_lines_and_those_of_a_room_stay_together() {
        let of = |room: &'static str, many: i32| {
            (0..many).map(move |at| line(&format!("{room}{at}"), room, &[20.0, 21.0 + f64::from(at)]))
        };
        let found = parts(of("Attic", 3).chain(of("Cellar", 5)).chain(of("Hall", 10)).chain(of("Lab", 2)).collect());
        let wanted = [("Attic, Cellar", 8), ("Hall (1 of 2)", 5), ("Hall, Lab", 7)].map(|(name, lines)| (name.to_owned(), lines));
        assert_eq!(found.iter().map(|part| part.1).collect::<Vec<_>>(), wanted.iter().map(|part| part.1).collect::<Vec<_>>());
        assert_eq!(found.iter().map(|part| part.1).sum::<usize>(), 20, "{found:?}");
        let many = parts((0..41).map(|at| line(&format!("d{at}"), "", &[20.0, 21.0])).collect());
        assert!(many.len() == 6 && many.iter().all(|part| part.1 <= 8), "{many:?}");
    }
}
