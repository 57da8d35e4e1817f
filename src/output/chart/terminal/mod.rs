//! A chart in characters: dots of braille for lines, blocks for states, letters where there is neither colour nor Unicode. Each
//! device has rows of its own, so nothing is drawn over anything.

mod lines;
mod paper;
mod rows;

use crate::base::time::Micros;

use super::frame::shown;
use super::{Chart, ticks};

use paper::{Ink, PALE, Paper};

/// What a chart is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: usize,
    /// Lines, the key included.
    pub height: usize,
    /// Whether it knows colours.
    pub has_colour: bool,
    /// Whether it knows more than ASCII.
    pub has_unicode: bool,
}

/// Lines above the drawing, and below it without the key.
const HEAD: usize = 2;
const FOOT: usize = 3;
/// The longest text in a key, and the most lines of one.
const LONGEST: usize = 48;
const KEY: usize = 4;
/// What a hole in a line means.
const BREAKS: &str = "a line breaks: its device said nothing";

/// What tells of devices that found no room.
fn more(devices: usize) -> Item {
    (String::new(), None, format!("and {devices} more: --device, --label or -o FILE.svg"))
}

/// Charts below each other as lines of text, none longer than the screen is wide; a time stands in the same column of all.
pub fn terminal(charts: &[&Chart], screen: &Screen) -> String {
    let screen = Screen { width: screen.width.max(30), height: screen.height.max(10), ..*screen };
    let paper = Paper::new(screen.width, screen.has_unicode, screen.has_colour);
    let margin = |chart: &&Chart| {
        if chart.has_strips() { rows::margin(chart, &screen, &paper) } else { lines::margin(chart, &screen, &paper) }
    };
    let left = charts.iter().map(margin).max().unwrap_or_default() + 2;
    charts.iter().map(|chart| one(chart, &screen, left)).collect::<Vec<_>>().join("\n")
}

/// One chart, whose drawing begins in a column.
fn one(chart: &Chart, screen: &Screen, left: usize) -> String {
    let mut paper = Paper::new(screen.width, screen.has_unicode, screen.has_colour);
    let (title, about) = chart.heading();
    let mut title = if about.is_empty() { title } else { format!("{title}  ·  {about}") };
    let mut span = ticks::words(shown(chart), &chart.zone);
    // In a narrow one the clock stands behind the title.
    if let Some((times, zone)) = span.clone().split_once(", ").filter(|_| paper.columns(&span) > screen.width) {
        title = format!("{title}  ·  {zone}");
        times.clone_into(&mut span);
    }
    paper.write(0, 0, &paper.fit(&title, screen.width), None);
    paper.write(0, 1, &paper.fit(&span, screen.width), PALE);
    if chart.lines.is_empty() {
        paper.write(2, HEAD, "no events", None);
        return paper.text();
    }
    let draw = if chart.has_strips() { rows::draw } else { lines::draw };
    let (key, bottom) = draw(chart, screen, left, &mut paper);
    let field = Field::new(chart, left, screen, (HEAD, bottom));
    field.axis(chart, &mut paper);
    write_key(&key, bottom + FOOT, &mut paper, screen.width);
    paper.text()
}

/// A sample and what it means.
type Item = (String, Ink, String);

/// How many lines a key takes.
fn key_height(key: &[Item], paper: &Paper, width: usize) -> usize {
    place_key(key, paper, width).last().map_or(0, |(_, y)| y + 1).min(KEY)
}

fn place_key(key: &[Item], paper: &Paper, width: usize) -> Vec<(usize, usize)> {
    let (mut x, mut y) = (0, 0);
    let place = |(sample, _, text): &Item| {
        let own = paper.columns(sample) + usize::from(!sample.is_empty()) + paper.columns(&paper.fit(text, LONGEST.min(width)));
        if x > 0 && x + own > width {
            (x, y) = (0, y + 1);
        }
        let place = (x, y);
        x += own + 3;
        place
    };
    key.iter().map(place).collect()
}

fn write_key(key: &[Item], top: usize, paper: &mut Paper, width: usize) {
    for ((sample, ink, text), (x, y)) in key.iter().zip(place_key(key, paper, width)).filter(|(_, (_, y))| *y < KEY) {
        let used = paper.write(x, top + y, sample, *ink);
        paper.write(x + used + usize::from(used > 0), top + y, &paper.fit(text, LONGEST.min(width)), None);
    }
}

/// The drawing's columns and rows, and what time they show.
#[derive(Debug, Clone, Copy)]
struct Field {
    left: usize,
    columns: usize,
    top: usize,
    bottom: usize,
    from: Micros,
    length: Micros,
    has_unicode: bool,
}

impl Field {
    fn new(chart: &Chart, left: usize, screen: &Screen, (top, bottom): (usize, usize)) -> Self {
        let (from, to) = shown(chart);
        let columns = screen.width.saturating_sub(left + 1).max(4);
        Self { left, columns, top, bottom, from, length: to.saturating_sub(from), has_unicode: screen.has_unicode }
    }

    /// Where a time stands, in so many steps from the left to the right.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few columns")]
    fn step(&self, time: Micros, steps: usize) -> usize {
        let part = time.saturating_sub(self.from) as f64 / self.length as f64;
        ((part * steps as f64).max(0.0) as usize).min(steps - 1)
    }

    /// When a column begins.
    fn begins(&self, column: usize) -> Micros {
        let part = i128::from(self.length) * i128::try_from(column).unwrap_or_default();
        let part = part / i128::try_from(self.columns).unwrap_or(1);
        self.from.saturating_add(i64::try_from(part).unwrap_or(Micros::MAX))
    }

    /// Shades the gaps, under what is drawn later.
    fn gaps(&self, chart: &Chart, paper: &mut Paper) {
        let shade = if self.has_unicode { '░' } else { ':' };
        for (begins, ends) in chart.gaps_within() {
            for column in self.step(begins, self.columns)..=self.step(ends - 1, self.columns) {
                (self.top..self.bottom).for_each(|y| paper.put(self.left + column, y, shade, PALE));
            }
        }
    }

    /// What stands for a gap in the key.
    fn gap_item(&self, chart: &Chart) -> Option<Item> {
        let shade = if self.has_unicode { "░" } else { ":" };
        (!chart.gaps_within().is_empty()).then(|| (shade.to_owned(), PALE, "nothing recorded".to_owned()))
    }

    /// The axis of time.
    fn axis(&self, chart: &Chart, paper: &mut Paper) {
        let (corner, dash, mark) = if self.has_unicode { ('└', '─', '┬') } else { ('+', '-', '+') };
        paper.put(self.left - 1, self.bottom, corner, PALE);
        (0..self.columns).for_each(|column| paper.put(self.left + column, self.bottom, dash, PALE));
        let mut free = [0, 0];
        for tick in ticks::times(shown(chart), &chart.zone, self.columns / 9) {
            let x = self.left + self.step(tick.at, self.columns);
            paper.put(x, self.bottom, mark, PALE);
            let labels = [Some(tick.label), tick.below];
            for (number, label) in labels.into_iter().enumerate().filter_map(|(number, label)| Some((number, label?))) {
                let width = paper.columns(&label);
                let begins = x.saturating_sub(width / 2).min((self.left + self.columns + 1).saturating_sub(width));
                if begins >= free[number] {
                    paper.write(begins, self.bottom + 1 + number, &label, if number == 0 { None } else { PALE });
                    free[number] = begins + width + 1;
                }
            }
        }
    }
}
