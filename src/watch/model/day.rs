//! A day of one device: the least and the greatest of each quarter of an hour, in a ring.

use crate::base::time::{Micros, SECOND};

/// Quarters of an hour in a day.
pub const CELLS: usize = 96;
/// Length of one.
const CELL: Micros = 15 * 60 * SECOND;

/// Least and greatest of a quarter of an hour; of levels that last, the last and the greatest.
pub type Cell = (f32, f32);

const EMPTY: Cell = (f32::NAN, f32::NAN);

/// The last 24 hours up to the newest event.
#[derive(Debug, Clone)]
pub struct Day {
    /// The number of the newest quarter of an hour since 1970.
    newest: i64,
    cells: [Cell; CELLS],
}

impl Default for Day {
    fn default() -> Self {
        Self { newest: i64::MIN, cells: [EMPTY; CELLS] }
    }
}

fn place(number: i64) -> usize {
    usize::try_from(number.rem_euclid(96)).unwrap_or_default()
}

impl Day {
    /// The cell of a time; none of one that is a day before the newest.
    fn cell(&mut self, time: Micros) -> Option<&mut Cell> {
        let number = time.div_euclid(CELL);
        if number > self.newest {
            let passed = number.saturating_sub(self.newest).min(96);
            (number - passed + 1..=number).for_each(|passed| self.cells[place(passed)] = EMPTY);
            self.newest = number;
        }
        (number > self.newest.saturating_sub(96)).then(|| &mut self.cells[place(number)])
    }

    /// Notes a value.
    pub fn note(&mut self, time: Micros, value: f32) {
        if let Some(cell) = self.cell(time) {
            // The least of a number and of none is the number.
            *cell = (cell.0.min(value), cell.1.max(value));
        }
    }

    /// Notes a level that lasts until the next one: the last of a quarter stands where the least does.
    pub fn hold(&mut self, time: Micros, level: f32) {
        if let Some(cell) = self.cell(time) {
            *cell = (level, cell.1.max(level));
        }
    }

    /// Counts that something happened.
    pub fn count(&mut self, time: Micros) {
        if let Some(cell) = self.cell(time) {
            *cell = (0.0, cell.1.max(0.0) + 1.0);
        }
    }

    /// The cells of the 24 hours up to a time, the oldest first; none where nothing was told.
    pub fn until(&self, time: Micros) -> impl Iterator<Item = Option<Cell>> + '_ {
        let last = time.div_euclid(CELL);
        (last - 95..=last).map(|number| {
            let is_held = number <= self.newest && number > self.newest.saturating_sub(96);
            Some(self.cells[place(number)]).filter(|cell| is_held && !cell.0.is_nan())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(day: &Day, until: i64) -> Vec<(usize, Cell)> {
        day.until(until * CELL).enumerate().filter_map(|(at, cell)| Some((at, cell?))).collect()
    }

    #[test]
    fn a_day_holds_extremes_and_forgets_what_is_older() {
        let mut day = Day::default();
        for (time, value) in [(100, 20.0), (100, 18.0), (101, 22.0), (99, 7.0)] {
            day.note(time * CELL + 5, value);
        }
        assert_eq!(told(&day, 101), [(93, (7.0, 7.0)), (94, (18.0, 20.0)), (95, (22.0, 22.0))]);
        assert_eq!(told(&day, 110)[2].0, 86, "time goes on without events");
        day.note(4 * CELL, 1.0);
        assert_eq!(told(&day, 101).len(), 3, "a day before the newest is too late");
        day.note(196 * CELL, 9.0);
        assert_eq!(told(&day, 196), [(0, (22.0, 22.0)), (95, (9.0, 9.0))]);
        day.note(10_000 * CELL, 3.0);
        assert_eq!(told(&day, 10_000), [(95, (3.0, 3.0))]);
        assert_eq!(told(&day, 196), []);
    }

    #[test]
    fn what_only_happens_is_counted() {
        let mut day = Day::default();
        (0..3).for_each(|_| day.count(50 * CELL));
        assert_eq!(told(&day, 50), [(95, (0.0, 3.0))]);
    }
}
