//! What is told of the events of one device in one bucket of the calendar.

use std::str::FromStr;

use crate::base::time::{Micros, SECOND};
use crate::model::schema::Behaviour;

/// What is told of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// The mean of the events' values.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum.
    Sum,
    /// How many there are.
    Count,
    /// The first in time.
    First,
    /// The last in time.
    Last,
    /// What the sum, as one double, does not hold. Nobody asks for it by name: a report adds up devices with it.
    Rest,
}

const ALL: [Aggregate; 7] =
    [Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Sum, Aggregate::Count, Aggregate::First, Aggregate::Last];

impl Aggregate {
    /// Its name in columns and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::Rest => "rest",
        }
    }
}

impl FromStr for Aggregate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ALL.into_iter().find(|aggregate| aggregate.name() == text).ok_or_else(|| {
            let names = ALL.map(Aggregate::name).join(", ");
            format!("{text:?} is none of {names}")
        })
    }
}

/// A figure of a bucket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statistic {
    Of(Aggregate),
    /// By how much a total grew.
    Increase,
    /// Seconds in a state, by its number.
    SecondsIn(usize),
    /// Events that told a state, by its number.
    EventsOf(usize),
    /// Events.
    Events,
}

impl Statistic {
    /// The figures of a value; `states` are those that it takes.
    pub(super) fn of(behaves: Option<Behaviour>, aggregates: &[Aggregate], usual: &[Aggregate], states: usize) -> Vec<Self> {
        let aggregates = if aggregates.is_empty() { usual } else { aggregates };
        match behaves {
            Some(Behaviour::Gauge) => aggregates.iter().copied().map(Self::Of).collect(),
            Some(Behaviour::Counter) => vec![Self::Increase],
            Some(Behaviour::State) => {
                let counts = aggregates.contains(&Aggregate::Count);
                let of = |state| [Some(Self::SecondsIn(state)), counts.then_some(Self::EventsOf(state))];
                (0..states).flat_map(of).flatten().collect()
            }
            None => vec![Self::Events],
        }
    }

    /// What it is called behind the name of its value; `states` are the names of the states.
    pub(super) fn name(&self, states: &[String]) -> String {
        match self {
            Self::Of(aggregate) => aggregate.name().to_owned(),
            Self::Increase => "increase".to_owned(),
            Self::SecondsIn(state) => format!("{}_seconds", states[*state]),
            Self::EventsOf(state) => format!("{}_events", states[*state]),
            Self::Events => "events".to_owned(),
        }
    }

    /// What it says, in a sentence.
    pub(super) fn description(&self, of: &str, states: &[String]) -> String {
        match self {
            Self::Of(aggregate) => format!("{of}: {} of the events in the bucket.", aggregate.name()),
            Self::Increase => format!("{of}: by how much the total grew in the bucket."),
            Self::SecondsIn(state) => format!("{of}: seconds of the bucket in the state {}.", states[*state]),
            Self::EventsOf(state) => format!("{of}: events in the bucket that told the state {}.", states[*state]),
            Self::Events => format!("{of}: events in the bucket."),
        }
    }

    /// Its UCUM unit, where the value has this one.
    pub(super) fn unit<'u>(&self, of: Option<&'u str>) -> Option<&'u str> {
        match self {
            Self::SecondsIn(_) => Some("s"),
            figure if figure.is_count() => Some("1"),
            _ => of,
        }
    }

    /// True where it counts something, so that it is a whole number.
    pub(super) fn is_count(&self) -> bool {
        matches!(self, Self::Of(Aggregate::Count) | Self::EventsOf(_) | Self::Events)
    }

    /// Where it stands in [`Point::cells`], if a bucket without an event may get it from its neighbours.
    pub(super) fn cell(&self) -> Option<usize> {
        match self {
            Self::Of(Aggregate::Mean) => Some(0),
            Self::Of(Aggregate::Min) => Some(1),
            Self::Of(Aggregate::Max) => Some(2),
            Self::Of(Aggregate::First) => Some(3),
            Self::Of(Aggregate::Last) => Some(4),
            _ => None,
        }
    }
}

/// What a bucket with events says of a measure, for those that have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// The bucket.
    pub(super) start: Micros,
    pub(super) end: Micros,
    /// Its first and its last event.
    pub(super) first: Micros,
    pub(super) last: Micros,
    /// See [`Statistic::cell`].
    pub(super) cells: [f64; 5],
    /// What is told of them is rounded so.
    pub(super) decimals: Decimals,
}

/// Powers of ten that doubles hold, and divide by, without an error.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Whole numbers up to here are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Decimals of measured values: what is worked out of them has a few more, and no more than they bear out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Decimals(usize);

impl Decimals {
    /// A mean has so many more than its values.
    const MORE: usize = 3;
    /// Values with more than these are not rounded.
    const MOST: usize = POWERS.len() - 1 - Self::MORE;

    fn take(&mut self, value: f64) {
        let fits = |decimals: &usize| {
            let power = POWERS[*decimals];
            let scaled = value * power;
            scaled.abs() < EXACT && (scaled.round() / power).to_bits() == value.to_bits()
        };
        // Nearly always what the values before had is enough.
        if self.0 <= Self::MOST && !fits(&self.0) {
            self.0 = self.0.max((0..=Self::MOST).find(fits).unwrap_or(Self::MOST + 1));
        }
    }

    /// What is worked out of such values, rounded.
    pub(super) fn round(self, value: f64) -> f64 {
        match POWERS.get(self.0 + Self::MORE) {
            Some(power) if (value * power).abs() < EXACT => (value * power).round() / power,
            _ => value,
        }
    }
}

/// A sum that does not lose small numbers beside large ones: what was rounded off is carried along (Neumaier). Nor does it depend on
/// the order whether a double holds it: where it leaves the doubles on the way, it goes on so much smaller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    so_far: f64,
    rest: f64,
    is_scaled: bool,
}

/// 2^-64: more values than there can be do not leave the doubles.
const SCALE: f64 = 1.0 / 18_446_744_073_709_551_616.0;

impl Sum {
    /// Of a sum and what was rounded off it.
    #[cfg(feature = "reports")]
    pub(crate) fn of(sum: f64, rest: f64) -> Self {
        Self { so_far: sum, rest, is_scaled: false }
    }

    /// Adds another sum.
    #[cfg(any(test, feature = "reports"))]
    pub(crate) fn add_all(&mut self, other: Self) {
        if other.is_scaled && !self.is_scaled {
            self.scale();
        }
        let by = if self.is_scaled && !other.is_scaled { SCALE } else { 1.0 };
        if !self.takes(other.so_far * by) {
            self.scale();
            return self.add_all(other);
        }
        self.rest += other.rest * by;
    }

    fn add(&mut self, value: f64) {
        if !self.takes(if self.is_scaled { value * SCALE } else { value }) {
            self.scale();
            self.takes(value * SCALE);
        }
    }

    /// Adds a value of its scale; false, and nothing added, where no double holds that.
    fn takes(&mut self, value: f64) -> bool {
        let sum = self.so_far + value;
        if sum.is_infinite() && self.so_far.is_finite() && value.is_finite() {
            return false;
        }
        self.rest += if self.so_far.abs() >= value.abs() { (self.so_far - sum) + value } else { (value - sum) + self.so_far };
        self.so_far = sum;
        true
    }

    fn scale(&mut self) {
        (self.so_far, self.rest, self.is_scaled) = (self.so_far * SCALE, self.rest * SCALE, true);
    }

    fn unscaled(self, value: f64) -> f64 {
        if self.is_scaled { value / SCALE } else { value }
    }

    /// What the total, which is one double, does not hold.
    fn lost(self) -> f64 {
        let total = self.so_far + self.rest;
        let lost = if self.so_far.abs() >= self.rest.abs() {
            (self.so_far - total) + self.rest
        } else {
            (self.rest - total) + self.so_far
        };
        self.unscaled(lost)
    }

    /// Infinite where no double can hold it.
    pub(crate) fn total(self) -> f64 {
        let total = if self.so_far.is_finite() { self.unscaled(self.so_far + self.rest) } else { f64::INFINITY };
        if total.is_finite() { total } else { f64::INFINITY }
    }
}

/// A measure within a bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gauge {
    count: u64,
    sum: Sum,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
    since: Micros,
    until: Micros,
    decimals: Decimals,
}

impl Gauge {
    fn take(&mut self, time: Micros, value: f64) {
        if self.count == 0 {
            *self = Self { min: value, max: value, first: value, since: time, ..Self::default() };
        }
        self.count += 1;
        self.sum.add(value);
        self.decimals.take(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        (self.last, self.until) = (value, time);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of events in a bucket are far below 2^53")]
    fn mean(&self) -> f64 {
        self.sum.total() / self.count as f64
    }
}

/// A total that grows. The mark is what was counted: what rises above it is new; what falls to less than half of it began again
/// at nothing; a smaller fall is a reading that came late or again, and says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter {
    mark: Option<f64>,
    grown: Option<f64>,
    /// What was told at the last time: a tie counts nothing twice, whatever the order.
    told: Vec<f64>,
    at: Micros,
}

impl Counter {
    pub(super) fn take(&mut self, time: Micros, total: f64) {
        if time != self.at {
            self.settle();
            self.at = time;
        }
        self.told.push(total);
    }

    fn settle(&mut self) {
        self.told.sort_by(f64::total_cmp);
        for total in std::mem::take(&mut self.told) {
            let by = match self.mark {
                None => 0.0,
                Some(mark) if total > mark => total - mark,
                Some(mark) if total * 2.0 < mark => total,
                Some(_) => {
                    self.grown = Some(self.grown.unwrap_or(0.0));
                    continue;
                }
            };
            self.mark = Some(total);
            self.grown = Some(self.grown.unwrap_or(0.0) + by);
        }
    }

    /// What was counted so far.
    pub(super) fn mark(mut self) -> Option<f64> {
        self.settle();
        self.mark
    }

    /// The same mark, and nothing grown yet.
    pub(super) fn begin(mark: Option<f64>) -> Self {
        Self { mark, ..Self::default() }
    }
}

/// What one device's events say of one value, bucket after bucket.
#[derive(Debug, Clone)]
pub(super) enum Track {
    Gauge(Gauge),
    Counter(Counter),
    /// A state holds since a time, until the next one; at most until another time.
    State {
        now: Option<usize>,
        since: Micros,
        until: Micros,
        micros: Vec<Micros>,
        events: Vec<u64>,
    },
    Events(u64),
}

impl Track {
    pub(super) fn new(behaves: Option<Behaviour>, states: usize) -> Self {
        match behaves {
            Some(Behaviour::Gauge) => Self::Gauge(Gauge::default()),
            Some(Behaviour::Counter) => Self::Counter(Counter::default()),
            Some(Behaviour::State) => {
                Self::State { now: None, since: 0, until: 0, micros: vec![0; states], events: vec![0; states] }
            }
            None => Self::Events(0),
        }
    }

    /// A number was measured, or an event happened.
    pub(super) fn number(&mut self, time: Micros, value: f64) {
        match self {
            Self::Gauge(gauge) => gauge.take(time, value),
            Self::Counter(counter) => counter.take(time, value),
            Self::State { .. } => {}
            Self::Events(count) => *count += 1,
        }
    }

    /// A state was told at a time; it is known to hold until another one, unless the next one is told before.
    pub(super) fn state(&mut self, time: Micros, state: usize, known_until: Micros) {
        self.spend(time);
        if let Self::State { now, since, until, events, .. } = self {
            events[state] += 1;
            (*now, *since, *until) = (Some(state), time, known_until);
        }
    }

    /// A state that holds already.
    pub(super) fn holds(&mut self, start: Micros, state: Option<usize>, known_until: Micros) {
        if let Self::State { now, since, until, .. } = self {
            (*now, *since, *until) = (state, start, known_until);
        }
    }

    /// Until when something is known without another event; none where nothing is.
    pub(super) fn lasts_until(&self) -> Option<Micros> {
        match self {
            Self::State { now: Some(_), until, .. } => Some(*until),
            _ => None,
        }
    }

    /// It was in its state until then, unless it was told later.
    fn spend(&mut self, time: Micros) {
        if let Self::State { now: Some(now), since, until, micros, .. } = self {
            let time = time.min(*until);
            if *since < time {
                micros[*now] += time - *since;
                *since = time;
            }
        }
    }

    /// What a measure's bucket says to those beside it; none where it has no event.
    pub(super) fn point(&self, (start, end): (Micros, Micros)) -> Option<Point> {
        let Self::Gauge(gauge) = self else { return None };
        let Gauge { count, min, max, first, last, since, until, decimals, .. } = *gauge;
        (count > 0).then(|| Point {
            start,
            end,
            first: since,
            last: until,
            cells: [gauge.mean(), min, max, first, last],
            decimals,
        })
    }

    /// The figures of the bucket that ends at `end`; NaN where there is none, infinite where a double cannot hold it. Then the
    /// next bucket begins. True when the bucket says anything.
    pub(super) fn close(&mut self, end: Micros, figures: &[Statistic], out: &mut [f64]) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts of events in a bucket, and its microseconds, are far below 2^53")]
        let number = |count: u64| count as f64;
        self.spend(end);
        match self {
            Self::Gauge(gauge) => {
                let any = gauge.count > 0;
                for (figure, out) in figures.iter().zip(out) {
                    *out = match figure {
                        Statistic::Of(Aggregate::Count) => number(gauge.count),
                        _ if !any => f64::NAN,
                        Statistic::Of(Aggregate::Mean) => gauge.decimals.round(gauge.mean()),
                        Statistic::Of(Aggregate::Min) => gauge.min,
                        Statistic::Of(Aggregate::Max) => gauge.max,
                        Statistic::Of(Aggregate::Sum) => gauge.sum.total(),
                        Statistic::Of(Aggregate::Rest) => gauge.sum.lost(),
                        Statistic::Of(Aggregate::First) => gauge.first,
                        Statistic::Of(Aggregate::Last) => gauge.last,
                        _ => f64::NAN,
                    };
                }
                gauge.count = 0;
                any
            }
            Self::Counter(counter) => {
                counter.settle();
                let grown = counter.grown.take();
                out.fill(grown.unwrap_or(f64::NAN));
                grown.is_some()
            }
            Self::State { micros, events, .. } => {
                let any = micros.iter().any(|time| *time > 0) || events.iter().any(|count| *count > 0);
                for (figure, out) in figures.iter().zip(out) {
                    *out = match figure {
                        Statistic::EventsOf(state) => number(events[*state]),
                        _ if !any => f64::NAN,
                        Statistic::SecondsIn(state) => {
                            #[expect(clippy::cast_precision_loss, reason = "a bucket's microseconds are far below 2^53")]
                            let seconds = micros[*state] as f64 / SECOND as f64;
                            seconds
                        }
                        _ => f64::NAN,
                    };
                }
                micros.fill(0);
                events.fill(0);
                any
            }
            Self::Events(count) => {
                let any = *count > 0;
                out.fill(number(*count));
                *count = 0;
                any
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_three_decimals_more_than_its_values() {
        let mean = |values: &[f64]| {
            let mut gauge = Gauge::default();
            for value in values {
                gauge.take(0, *value);
            }
            gauge.decimals.round(gauge.mean()).to_string()
        };
        assert_eq!(mean(&[21.7, 21.8, 21.825]), "21.775");
        assert_eq!(mean(&[21.75, 21.75, 21.8]), "21.76667");
        assert_eq!(mean(&[1.0, 2.0, 2.0]), "1.667");
        assert_eq!(mean(&[-0.1, -0.2, -0.3]), "-0.2");
        assert_eq!(mean(&[1e300, 1e300]), 1e300.to_string());
        assert_eq!(mean(&[std::f64::consts::PI]), std::f64::consts::PI.to_string());
    }

    #[test]
    fn whether_a_double_holds_a_sum_does_not_depend_on_the_order() {
        let sum = |values: &[f64]| {
            let mut sum = Sum::default();
            for value in values {
                sum.add(*value);
            }
            sum
        };
        let check = |values: &[f64], right: f64| {
            let (first, second) = values.split_at(values.len() / 2);
            let mut parts = sum(first);
            parts.add_all(sum(second));
            let found = [sum(values).total(), parts.total()].map(f64::to_bits);
            assert_eq!(found, [right.to_bits(); 2], "{values:?}");
        };
        let big = 1.7e308;
        check(&[big, big, -big, -big, 0.25], 0.25);
        check(&[-big, -big, 40.0, big], -big);
        check(&[big, -big, big, 1.0], big);
        check(&[big, 1.0, big], f64::INFINITY);
        check(&[-big, -big], f64::INFINITY);
        check(&[1e16, 1.0, -1e16], 1.0);
    }
}
