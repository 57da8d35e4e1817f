//! A row of characters a device: how much of each column's time it was in a state, or where something happened.

use std::sync::Arc;

use super::super::colour::{Meaning, State, states};
use super::super::{Chart, Data, Span};
use super::paper::{ALARM, Ink, PALE, Paper, ink_of};
use super::{FOOT, Field, HEAD, Item, Screen, key_height, more};

/// The longest name.
const NAMES: usize = 24;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A state and how it is written.
struct Look {
    name: Arc<str>,
    /// None: as a block, as high as its part of the time.
    letter: Option<char>,
    ink: Ink,
    meaning: Meaning,
}

/// How many columns the names at the left take.
pub(super) fn margin(chart: &Chart, screen: &Screen, paper: &Paper) -> usize {
    let names = chart.lines.iter().take(screen.height);
    names.map(|line| paper.columns(&paper.fit(&chart.called(line), longest(screen)))).max().unwrap_or_default()
}

fn longest(screen: &Screen) -> usize {
    NAMES.min(screen.width / 3)
}

/// Draws the rows of a chart from a column on; gives its key and its bottom line.
pub(super) fn draw(chart: &Chart, screen: &Screen, left: usize, paper: &mut Paper) -> (Vec<Item>, usize) {
    let looks = looks(states(chart), screen);
    let full = |look: &Look| look.letter.unwrap_or('█').to_string();
    let mut key: Vec<Item> = looks.iter().map(|look| (full(look), look.ink, look.name.to_string())).collect();
    key.extend(Field::new(chart, 1, screen, (HEAD, HEAD)).gap_item(chart));
    let room = |key: &[Item]| screen.height.saturating_sub(HEAD + FOOT + key_height(key, paper, screen.width)).max(2);
    let mut rows = chart.lines.len();
    if rows > room(&key) {
        key.push(more(rows));
        rows = room(&key);
        if let Some(last) = key.last_mut() {
            *last = more(chart.lines.len() - rows);
        }
    }
    let bottom = HEAD + rows;
    let field = Field::new(chart, left, screen, (HEAD, bottom));
    field.gaps(chart, paper);
    for (row, line) in chart.lines.iter().take(rows).enumerate() {
        let (y, name) = (HEAD + row, paper.fit(&chart.called(line), longest(screen)));
        paper.write(left - 2 - paper.columns(&name), y, &name, None);
        paper.put(left - 1, y, if screen.has_unicode { '│' } else { '|' }, PALE);
        match &line.data {
            Data::States(spans) => draw_states(spans, &looks, &field, y, paper),
            Data::Moments(moments) => {
                let stroke = if screen.has_unicode { '╿' } else { '|' };
                for moment in moments {
                    paper.put(left + field.step(*moment, field.columns), y, stroke, Some(ink_of(0)));
                }
            }
            Data::Numbers(_) | Data::Steps(_) => {}
        }
    }
    (key, bottom)
}

fn looks(states: Vec<State>, screen: &Screen) -> Vec<Look> {
    let busy = states.iter().filter(|state| state.meaning != Meaning::Quiet).count();
    let has_letters = !screen.has_unicode || (busy > 1 && !screen.has_colour);
    let (mut number, mut taken) = (0, Vec::new());
    let mut quiets = if screen.has_unicode { "─┄╌═" } else { "-=~_" }.chars().cycle();
    let mut look = |state: State| {
        let quiet = if state.meaning == Meaning::Quiet { quiets.next().unwrap_or('-') } else { '-' };
        let letter = match (state.meaning == Meaning::Quiet, has_letters, busy) {
            (true, ..) => Some(quiet),
            (_, false, _) => None,
            (_, true, 1) => Some('#'),
            (_, true, _) => {
                let own = state.name.chars().filter(char::is_ascii_alphanumeric).chain('1'..='9');
                own.map(|c| c.to_ascii_uppercase()).find(|c| !taken.contains(c)).or(Some('#'))
            }
        };
        taken.extend(letter);
        let ink = match state.meaning {
            Meaning::Alarm => ALARM,
            Meaning::Busy => Some(ink_of(number)),
            Meaning::Quiet => PALE,
        };
        number += usize::from(state.meaning == Meaning::Busy);
        Look { name: state.name, letter, ink, meaning: state.meaning }
    };
    states.into_iter().map(&mut look).collect()
}

/// An alarm stands in a column, however short it was; else what is going on; where nothing is, that.
fn draw_states(spans: &[Span], looks: &[Look], field: &Field, y: usize, paper: &mut Paper) {
    let mut first = 0;
    for column in 0..field.columns {
        let (begins, ends) = (field.begins(column), field.begins(column + 1));
        while spans.get(first).is_some_and(|span| span.to <= begins) {
            first += 1;
        }
        let mut parts = vec![0.0; looks.len()];
        for span in spans[first..].iter().take_while(|span| span.from < ends) {
            let Some(look) = looks.iter().position(|look| look.name == span.state) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a part of a column")]
            let part = (span.to.min(ends) - span.from.max(begins)).max(0) as f64 / (ends - begins).max(1) as f64;
            parts[look] += part * span.part;
        }
        let shown = looks.iter().zip(&parts).filter(|(_, part)| **part > 0.0);
        let shown = shown.max_by(|a, b| b.0.meaning.cmp(&a.0.meaning).then(a.1.total_cmp(b.1)));
        let Some((look, part)) = shown else { continue };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one of eight")]
        let block = BLOCKS[((part * 8.0).ceil() as usize).clamp(1, 8) - 1];
        paper.put(field.left + column, y, look.letter.unwrap_or(block), look.ink);
    }
}
