//! Lines in characters: dots of braille where a colour tells them apart, a letter a line where none does.

use super::super::numbers::{named, padded};
use super::super::{Chart, Data, Line, extent, ticks};
use super::paper::{Ink, PALE, Paper, ink_of};
use super::{FOOT, Field, HEAD, Item, Screen, key_height};

/// Up to so many lines a colour each.
const COLOURS: usize = 6;
/// The bits of a braille character, by row and column of its dots.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// How many columns the numbers at the left take.
pub(super) fn margin(chart: &Chart, screen: &Screen, paper: &Paper) -> usize {
    let rows = rows(&key(chart, screen), screen, paper);
    labels(chart, rows).iter().map(|(_, label)| paper.columns(label)).max().unwrap_or_default()
}

fn labels(chart: &Chart, rows: usize) -> Vec<(f64, String)> {
    ticks::values(padded(extent(chart.lines.iter())), (rows / 3).max(2))
}

/// How many rows a key leaves to the drawing.
fn rows(key: &[Item], screen: &Screen, paper: &Paper) -> usize {
    screen.height.saturating_sub(HEAD + FOOT + key_height(key, paper, screen.width)).max(4)
}

/// Whether lines are dots of braille: where a colour tells them apart, or nothing needs to.
fn has_dots(chart: &Chart, screen: &Screen) -> bool {
    screen.has_unicode && (chart.lines.len() == 1 || (screen.has_colour && named(chart).len() <= COLOURS))
}

fn key(chart: &Chart, screen: &Screen) -> Vec<Item> {
    let (named, has_dots) = (named(chart), has_dots(chart, screen));
    let mut key: Vec<Item> = named.iter().enumerate().map(|(number, line)| item(chart, number, *line, has_dots)).collect();
    if chart.lines.len() > named.len() {
        let sample = if has_dots { "━━" } else { "." };
        key.push((sample.to_owned(), PALE, format!("and {} more", chart.lines.len() - named.len())));
    }
    key.extend(Field::new(chart, 1, screen, (HEAD, HEAD)).gap_item(chart));
    key
}

/// Draws the lines of a chart from a column on; gives its key and its bottom line.
pub(super) fn draw(chart: &Chart, screen: &Screen, left: usize, paper: &mut Paper) -> (Vec<Item>, usize) {
    let (key, named, has_dots) = (key(chart, screen), named(chart), has_dots(chart, screen));
    let is_alone = chart.lines.len() == 1;
    let rows = rows(&key, screen, paper);
    let (scale, labels) = (padded(extent(chart.lines.iter())), labels(chart, rows));
    let bottom = HEAD + rows;
    let field = Field::new(chart, left, screen, (HEAD, bottom));
    field.gaps(chart, paper);
    let (edge, mark) = if screen.has_unicode { ('│', '┤') } else { ('|', '+') };
    (HEAD..bottom).for_each(|y| paper.put(left - 1, y, edge, PALE));
    for (value, label) in &labels {
        let y = HEAD + row(*value, scale, rows);
        paper.write(left - 2 - paper.columns(label), y, label, None);
        paper.put(left - 1, y, mark, PALE);
    }
    let mut canvas = Canvas::new(field.columns, rows, if has_dots { (2, 4) } else { (1, 1) });
    let crowd = (0..chart.lines.len()).filter(|line| !named.contains(line)).map(|line| (None, line));
    let all = crowd.chain(named.iter().copied().enumerate().map(|(number, line)| (Some(number), line)));
    for (who, line) in all {
        canvas.line(&chart.lines[line], who, &field, scale);
    }
    canvas.draw(has_dots, is_alone, (left, HEAD), paper);
    (key, bottom)
}

fn item(chart: &Chart, number: usize, of: usize, has_dots: bool) -> Item {
    let sample = if has_dots { "━━".to_owned() } else { letter(Some(number), chart.lines.len() == 1).to_string() };
    (sample, Some(ink_of(number)), chart.lines[of].name.clone())
}

/// The character of a line where dots would not tell it from the others.
fn letter(number: Option<usize>, is_alone: bool) -> char {
    match number {
        None => '.',
        Some(_) if is_alone => '*',
        Some(number) => char::from(b'A' + u8::try_from(number).unwrap_or_default() % 26),
    }
}

/// The row of a value, counted from the top.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few rows")]
fn row(value: f64, (least, greatest): (f64, f64), rows: usize) -> usize {
    let part = (greatest - value) / (greatest - least);
    ((part * rows as f64).max(0.0) as usize).min(rows - 1)
}

/// Dots in characters: which are set, and whose they are.
struct Canvas {
    columns: usize,
    rows: usize,
    /// Dots of a character, across and down.
    fine: (usize, usize),
    cells: Vec<(u8, Vec<Option<usize>>)>,
}

impl Canvas {
    fn new(columns: usize, rows: usize, fine: (usize, usize)) -> Self {
        Self { columns, rows, fine, cells: vec![(0, Vec::new()); columns * rows] }
    }

    fn dot(&mut self, x: usize, y: usize, who: Option<usize>) {
        let (column, row) = (x / self.fine.0, y / self.fine.1);
        let Some((bits, whose)) = self.cells.get_mut(row * self.columns + column) else { return };
        *bits |= DOTS[y % self.fine.1][x % self.fine.0];
        if !whose.contains(&who) {
            whose.push(who);
        }
    }

    fn line(&mut self, line: &Line, who: Option<usize>, field: &Field, scale: (f64, f64)) {
        let (across, down) = (self.columns * self.fine.0, self.rows * self.fine.1);
        for piece in line.data.pieces() {
            let mut last: Option<(usize, usize)> = None;
            for point in piece.iter().filter(|point| point.value.is_finite()) {
                let at = (field.step(point.time, across), row(point.value, scale, down));
                match (last, &line.data) {
                    (None, _) => self.dot(at.0, at.1, who),
                    (Some(last), Data::Steps(_)) => {
                        self.stroke(last, (at.0, last.1), who);
                        self.stroke((at.0, last.1), at, who);
                    }
                    (Some(last), _) => self.stroke(last, at, who),
                }
                last = Some(at);
            }
        }
    }

    /// Dots from one to another, the longer way a dot a step.
    fn stroke(&mut self, from: (usize, usize), to: (usize, usize), who: Option<usize>) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |a: usize, b: usize, step: usize| (a * (steps - step) + b * step + steps / 2) / steps;
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step), who);
        }
    }

    fn draw(&self, has_dots: bool, is_alone: bool, (left, top): (usize, usize), paper: &mut Paper) {
        for (at, (bits, whose)) in self.cells.iter().enumerate().filter(|(_, (_, whose))| !whose.is_empty()) {
            let (x, y) = (at % self.columns, at / self.columns);
            // Of several in one place each is seen in every so many columns; those without a name only where nobody else is.
            let named: Vec<usize> = whose.iter().flatten().copied().collect();
            let who = (!named.is_empty()).then(|| named[x % named.len()]);
            let ink: Ink = who.map(ink_of).or(PALE);
            let dots = char::from_u32(0x2800 + u32::from(*bits)).unwrap_or('*');
            paper.put(left + x, top + y, if has_dots { dots } else { letter(who, is_alone) }, ink);
        }
    }
}
