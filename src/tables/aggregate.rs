//! What is told of the events of one device in one bucket of the calendar.

use std::str::FromStr;

use crate::schema::Behaviour;
use crate::time::{Micros, SECOND};

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
pub(super) enum Figure {
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

impl Figure {
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

    /// True where a bucket without an event may get one from its neighbours.
    pub(super) fn can_be_filled(&self) -> bool {
        matches!(self, Self::Of(of) if !matches!(of, Aggregate::Count | Aggregate::Sum))
    }
}

/// What one device's events say of one value, bucket after bucket.
#[derive(Debug, Clone)]
pub(super) enum Track {
    Gauge { count: u64, sum: f64, min: f64, max: f64, first: f64, last: f64 },
    Counter { total: Option<f64>, grown: Option<f64> },
    State { now: Option<usize>, since: Micros, micros: Vec<Micros>, events: Vec<u64> },
    Events(u64),
}

impl Track {
    pub(super) fn new(behaves: Option<Behaviour>, states: usize) -> Self {
        match behaves {
            Some(Behaviour::Gauge) => {
                Self::Gauge { count: 0, sum: 0.0, min: f64::NAN, max: f64::NAN, first: f64::NAN, last: f64::NAN }
            }
            Some(Behaviour::Counter) => Self::Counter { total: None, grown: None },
            Some(Behaviour::State) => Self::State { now: None, since: 0, micros: vec![0; states], events: vec![0; states] },
            None => Self::Events(0),
        }
    }

    /// A number was measured, or an event happened.
    pub(super) fn number(&mut self, value: f64) {
        match self {
            Self::Gauge { count, sum, min, max, first, last } => {
                if *count == 0 {
                    (*first, *min, *max) = (value, value, value);
                }
                *count += 1;
                *sum += value;
                *min = min.min(value);
                *max = max.max(value);
                *last = value;
            }
            Self::Counter { total, grown } => {
                // A total that fell began again at nothing.
                let by = total.map_or(0.0, |total| if value < total { value } else { value - total });
                *grown = Some(grown.unwrap_or(0.0) + by);
                *total = Some(value);
            }
            Self::State { .. } => {}
            Self::Events(count) => *count += 1,
        }
    }

    /// A state was told at a time; none: from then on nothing is known. What lies behind `known_until` counts for no state.
    pub(super) fn state(&mut self, time: Micros, state: Option<usize>, known_until: Micros) {
        self.spend(time.min(known_until));
        if let Self::State { now, since, events, .. } = self {
            if let Some(state) = state {
                events[state] += 1;
            }
            (*now, *since) = (state, time);
        }
    }

    /// It was in its state until then, unless it was told later.
    fn spend(&mut self, until: Micros) {
        if let Self::State { now: Some(now), since, micros, .. } = self
            && *since < until
        {
            micros[*now] += until - *since;
            *since = until;
        }
    }

    /// The figures of the bucket that ends at `end`, in which nothing is known behind `known_until`; NaN where there is none. Then
    /// the next bucket begins. True when the bucket says anything.
    pub(super) fn close(&mut self, end: Micros, known_until: Micros, figures: &[Figure], out: &mut [f64]) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts of events in a bucket, and its microseconds, are far below 2^53")]
        let number = |count: u64| count as f64;
        self.spend(end.min(known_until));
        match self {
            Self::Gauge { count, sum, min, max, first, last } => {
                let any = *count > 0;
                for (figure, out) in figures.iter().zip(out) {
                    *out = match figure {
                        Figure::Of(Aggregate::Count) => number(*count),
                        _ if !any => f64::NAN,
                        Figure::Of(Aggregate::Mean) => *sum / number(*count),
                        Figure::Of(Aggregate::Min) => *min,
                        Figure::Of(Aggregate::Max) => *max,
                        Figure::Of(Aggregate::Sum) => *sum,
                        Figure::Of(Aggregate::First) => *first,
                        Figure::Of(Aggregate::Last) => *last,
                        _ => f64::NAN,
                    };
                }
                (*count, *sum) = (0, 0.0);
                any
            }
            Self::Counter { grown, .. } => {
                let grown = grown.take();
                out.fill(grown.unwrap_or(f64::NAN));
                grown.is_some()
            }
            Self::State { micros, events, .. } => {
                let any = micros.iter().any(|time| *time > 0) || events.iter().any(|count| *count > 0);
                for (figure, out) in figures.iter().zip(out) {
                    *out = match figure {
                        _ if !any => f64::NAN,
                        Figure::SecondsIn(state) => {
                            #[expect(clippy::cast_precision_loss, reason = "a bucket's microseconds are far below 2^53")]
                            let seconds = micros[*state] as f64 / SECOND as f64;
                            seconds
                        }
                        Figure::EventsOf(state) => number(events[*state]),
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
