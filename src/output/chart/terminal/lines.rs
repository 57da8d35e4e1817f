//! Lines in characters: a single one over the whole screen, several below each other, each in a band with a scale of its own.
//! Dots of braille where there is room for them, else a row of blocks; where there is no Unicode, stars and digits.

use crate::base::text::measured;

use super::super::numbers::padded;
use super::super::{Chart, Data, Line, extent, ticks};
use super::paper::{PALE, Paper, ink_of};
use super::{BREAKS, FOOT, Field, HEAD, Item, Screen, key_height, more};

/// The bits of a braille character, by row and column of its dots.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The longest name beside a row of blocks.
const NAMES: usize = 24;

/// How the lines of a chart share the rows.
struct Plan {
    key: Vec<Item>,
    /// Rows of the drawing.
    rows: usize,
    /// Lines that are shown.
    lines: usize,
    /// Rows of each: one for a row of blocks behind its name, else the name stands above the others.
    each: usize,
}

impl Plan {
    fn of(chart: &Chart, screen: &Screen, paper: &Paper) -> Self {
        let is_alone = chart.lines.len() == 1;
        let mut key: Vec<Item> = Vec::new();
        if let Some(line) = chart.lines.first().filter(|_| is_alone) {
            let sample = if screen.has_unicode { "━━" } else { "*" };
            key.push((sample.to_owned(), Some(ink_of(0)), line.name.clone()));
        }
        key.extend(Field::new(chart, 1, screen, (HEAD, HEAD)).gap_item(chart));
        if chart.has_breaks() {
            key.push((String::new(), PALE, BREAKS.to_owned()));
        }
        let room = |key: &[Item]| screen.height.saturating_sub(HEAD + FOOT + key_height(key, paper, screen.width)).max(4);
        let mut rows = room(&key);
        if chart.lines.len() > rows {
            key.push(more(0));
            rows = room(&key);
        }
        let lines = chart.lines.len().min(rows);
        if let Some(last) = key.last_mut().filter(|_| lines < chart.lines.len()) {
            *last = more(chart.lines.len() - lines);
        }
        let each = match rows / lines.max(1) {
            _ if is_alone => rows,
            ..3 => 1,
            each => each.min(8),
        };
        Self { key, rows: each * lines, lines, each }
    }
}

/// How many columns stand at the left: numbers, or names and ranges.
pub(super) fn margin(chart: &Chart, screen: &Screen, paper: &Paper) -> usize {
    let plan = Plan::of(chart, screen, paper);
    let widest = |labels: Vec<String>| labels.iter().map(|label| paper.columns(label)).max().unwrap_or_default();
    if chart.lines.len() == 1 {
        return widest(scale(chart, plan.rows).into_iter().map(|(_, label)| label).collect());
    }
    let shown = || chart.lines.iter().take(plan.lines);
    if plan.each > 1 {
        return widest(shown().flat_map(|line| <[String; 2]>::from(ends(line))).collect());
    }
    let names = widest(shown().map(|line| paper.fit(&chart.called(line), longest(screen))).collect());
    names + 1 + widest(shown().map(range).collect())
}

fn longest(screen: &Screen) -> usize {
    NAMES.min(screen.width / 3)
}

fn scale(chart: &Chart, rows: usize) -> Vec<(f64, String)> {
    ticks::values(padded(extent(chart.lines.iter())), (rows / 3).max(2))
}

/// The least and the greatest of a line, as written.
fn ends(line: &Line) -> (String, String) {
    let points = || line.data.pieces().iter().flatten();
    let least = points().map(|point| point.min).filter(|value| value.is_finite()).fold(f64::INFINITY, f64::min);
    let greatest = points().map(|point| point.max).filter(|value| value.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    if least > greatest { (String::new(), String::new()) } else { (measured(least), measured(greatest)) }
}

/// `20.1–23.4`, or `−3 to 4`
fn range(line: &Line) -> String {
    let (least, greatest) = ends(line);
    match least.starts_with('−') {
        _ if least == greatest => least,
        true => format!("{least} to {greatest}"),
        false => format!("{least}–{greatest}"),
    }
}

/// Draws the lines of a chart from a column on; gives its key and its bottom line.
pub(super) fn draw(chart: &Chart, screen: &Screen, left: usize, paper: &mut Paper) -> (Vec<Item>, usize) {
    let plan = Plan::of(chart, screen, paper);
    let bottom = HEAD + plan.rows;
    let field = Field::new(chart, left, screen, (HEAD, bottom));
    field.gaps(chart, paper);
    let (edge, mark) = if screen.has_unicode { ('│', '┤') } else { ('|', '+') };
    (HEAD..bottom).for_each(|y| paper.put(left - 1, y, edge, PALE));
    let label = |paper: &mut Paper, y: usize, text: &str| {
        let columns = paper.columns(text);
        paper.write((left - 2).saturating_sub(columns), y, text, None);
    };
    if chart.lines.len() == 1 {
        let (least, greatest) = padded(extent(chart.lines.iter()));
        for (value, text) in scale(chart, plan.rows) {
            let y = HEAD + row(value, (least, greatest), plan.rows);
            label(paper, y, &text);
            paper.put(left - 1, y, mark, PALE);
        }
        canvas(&chart.lines[0], &field, (HEAD, plan.rows), (least, greatest), paper);
        return (plan.key, bottom);
    }
    for (number, line) in chart.lines.iter().take(plan.lines).enumerate() {
        let top = HEAD + number * plan.each;
        if plan.each == 1 {
            let name = paper.fit(&chart.called(line), longest(screen));
            paper.write(0, top, &name, None);
            label(paper, top, &range(line));
            blocks(line, &field, top, paper);
        } else {
            let (least, greatest) = ends(line);
            let name = paper.fit(&chart.called(line), field.columns);
            paper.write(left, top, &name, None);
            label(paper, top + 1, &greatest);
            if least != greatest {
                label(paper, top + plan.each - 1, &least);
            }
            canvas(line, &field, (top + 1, plan.each - 1), extent(std::iter::once(line)), paper);
        }
    }
    (plan.key, bottom)
}

/// The row of a value, counted from the top.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few rows")]
fn row(value: f64, (least, greatest): (f64, f64), rows: usize) -> usize {
    let part = (greatest - value) / (greatest - least);
    ((part * rows as f64).max(0.0) as usize).min(rows - 1)
}

/// A line as a row of blocks: of what falls into a column, what is farthest from the middle.
fn blocks(line: &Line, field: &Field, y: usize, paper: &mut Paper) {
    let (least, greatest) = extent(std::iter::once(line));
    let middle = f64::midpoint(least, greatest);
    let is_stepped = matches!(line.data, Data::Steps(_));
    let mut columns: Vec<Option<f64>> = vec![None; field.columns];
    for piece in line.data.pieces() {
        let mut last: Option<(usize, f64)> = None;
        for point in piece.iter().filter(|point| point.value.is_finite()) {
            let far = [point.min, point.max].into_iter().filter(|value| value.is_finite());
            let value = far.fold(point.value, |a, b| if (b - middle).abs() > (a - middle).abs() { b } else { a });
            let x = field.step(point.time, field.columns);
            let stays = |kept: f64| (kept - middle).abs() > (value - middle).abs();
            if columns[x].is_none_or(|kept| !stays(kept)) {
                columns[x] = Some(value);
            }
            if let Some((from, before)) = last {
                for (column, cell) in columns.iter_mut().enumerate().take(x).skip(from + 1) {
                    #[expect(clippy::cast_precision_loss, reason = "a few columns")]
                    let part = (column - from) as f64 / (x - from) as f64;
                    *cell = Some(if is_stepped { before } else { before + (value - before) * part });
                }
            }
            last = Some((x, value));
        }
    }
    for (x, value) in columns.into_iter().enumerate() {
        let Some(value) = value else { continue };
        let block = if field.has_unicode {
            BLOCKS[7 - row(value, (least, greatest), 8)]
        } else {
            char::from(b'9' - u8::try_from(row(value, (least, greatest), 10)).unwrap_or_default())
        };
        paper.put(field.left + x, y, block, Some(ink_of(0)));
    }
}

/// A line as dots, in some rows from a top on.
fn canvas(line: &Line, field: &Field, (top, rows): (usize, usize), scale: (f64, f64), paper: &mut Paper) {
    let fine = if field.has_unicode { (2, 4) } else { (1, 1) };
    let mut canvas = Canvas { columns: field.columns, fine, cells: vec![0; field.columns * rows] };
    canvas.line(line, field, rows, scale);
    for (at, bits) in canvas.cells.into_iter().enumerate().filter(|(_, bits)| *bits != 0) {
        let dots = char::from_u32(0x2800 + u32::from(bits)).unwrap_or('*');
        let (x, y) = (field.left + at % field.columns, top + at / field.columns);
        paper.put(x, y, if field.has_unicode { dots } else { '*' }, Some(ink_of(0)));
    }
}

/// Dots in characters.
struct Canvas {
    columns: usize,
    /// Dots of a character, across and down.
    fine: (usize, usize),
    cells: Vec<u8>,
}

impl Canvas {
    fn dot(&mut self, x: usize, y: usize) {
        let (column, row) = (x / self.fine.0, y / self.fine.1);
        if let Some(bits) = self.cells.get_mut(row * self.columns + column) {
            *bits |= DOTS[y % self.fine.1][x % self.fine.0];
        }
    }

    fn line(&mut self, line: &Line, field: &Field, rows: usize, scale: (f64, f64)) {
        let (across, down) = (self.columns * self.fine.0, rows * self.fine.1);
        for piece in line.data.pieces() {
            let mut last: Option<(usize, usize)> = None;
            for point in piece.iter().filter(|point| point.value.is_finite()) {
                let at = (field.step(point.time, across), row(point.value, scale, down));
                match (last, &line.data) {
                    (None, _) => self.dot(at.0, at.1),
                    (Some(last), Data::Steps(_)) => {
                        self.stroke(last, (at.0, last.1));
                        self.stroke((at.0, last.1), at);
                    }
                    (Some(last), _) => self.stroke(last, at),
                }
                last = Some(at);
            }
        }
    }

    /// Dots from one to another, the longer way a dot a step.
    fn stroke(&mut self, from: (usize, usize), to: (usize, usize)) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |a: usize, b: usize, step: usize| (a * (steps - step) + b * step + steps / 2) / steps;
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step));
        }
    }
}
