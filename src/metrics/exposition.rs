//! The text that Prometheus reads: format 0.0.4, which every version of it and everything that speaks of it knows.

use std::fmt::{Display, Write};

use crate::base::time::{Micros, SECOND};
use crate::store::meter::Counted;

/// The header Content-Type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What all names begin with.
const PREFIX: &str = "overnight_";

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text that grows by families of numbers.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The numbers of one name.
#[derive(Debug)]
pub struct Family<'t> {
    text: &'t mut String,
    name: String,
}

impl Exposition {
    /// Begins the numbers of a name, with one sentence on what they are.
    pub fn family(&mut self, kind: Kind, name: &str, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(kind, name, help)
    }

    /// One number without labels.
    pub fn one(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.family(kind, name, help).add(&[], value);
    }

    /// A histogram of times, in seconds.
    pub fn histogram(&mut self, name: &str, help: &str, counted: &Counted) {
        let Family { text, name } = self.begin("histogram", name, help);
        let mut line = |ending: &str, labels: &[(&str, &str)], value: &dyn Display| sample(text, &name, ending, labels, value);
        for (bound, count) in &counted.buckets {
            line("_bucket", &[("le", &seconds(*bound).to_string())], count);
        }
        line("_bucket", &[("le", "+Inf")], &counted.count);
        line("_sum", &[], &seconds(Micros::try_from(counted.sum).unwrap_or(Micros::MAX)));
        line("_count", &[], &counted.count);
    }

    /// The text.
    pub fn text(self) -> String {
        self.0
    }

    fn begin(&mut self, kind: &str, name: &str, help: &str) -> Family<'_> {
        let (text, name) = (&mut self.0, format!("{PREFIX}{name}"));
        put(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text, name }
    }
}

impl Family<'_> {
    /// Adds a number with its labels, whose values may hold anything.
    pub fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        sample(self.text, &self.name, "", labels, &value);
    }
}

fn sample(text: &mut String, name: &str, ending: &str, labels: &[(&str, &str)], value: &dyn Display) {
    put(text, format_args!("{name}{ending}"));
    for (at, (label, of)) in labels.iter().enumerate() {
        put(text, format_args!("{}{label}=\"", if at == 0 { '{' } else { ',' }));
        for letter in of.chars() {
            match letter {
                '\\' | '"' => text.extend(['\\', letter]),
                '\n' => text.push_str("\\n"),
                _ => text.push(letter),
            }
        }
        text.push('"');
    }
    put(text, format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A text in memory takes everything.
    text.write_fmt(what).unwrap_or_default();
}

/// A time in seconds, as Prometheus has all times.
#[expect(clippy::cast_precision_loss, reason = "microseconds of this century need 51 bits")]
pub(super) fn seconds(time: Micros) -> f64 {
    time as f64 / SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::meter::Histogram;

    #[test]
    fn the_text_has_the_form_that_prometheus_reads_whatever_others_call_their_things() {
        let mut out = Exposition::default();
        let mut family = out.family(Kind::Counter, "events_kept_total", "Events.");
        family.add(&[("type", "a\"b\\c\nd é"), ("source", "push")], 7);
        out.one(Kind::Gauge, "last_seconds", "When.", seconds(1_764_227_182_500_001));
        let histogram = Histogram::default();
        histogram.add([1500, 100_000_000_000]);
        out.histogram("commit_duration_seconds", "How long.", &histogram.read());
        let text = out.text();
        let begins = "# HELP overnight_events_kept_total Events.\n# TYPE overnight_events_kept_total counter\n\
            overnight_events_kept_total{type=\"a\\\"b\\\\c\\nd é\",source=\"push\"} 7\n\
            # HELP overnight_last_seconds When.\n# TYPE overnight_last_seconds gauge\novernight_last_seconds 1764227182.500001\n\
            # HELP overnight_commit_duration_seconds How long.\n# TYPE overnight_commit_duration_seconds histogram\n\
            overnight_commit_duration_seconds_bucket{le=\"0.001\"} 0\novernight_commit_duration_seconds_bucket{le=\"0.0025\"} 1\n";
        assert!(text.starts_with(begins), "{text}");
        let ends = "{le=\"86400\"} 1\novernight_commit_duration_seconds_bucket{le=\"+Inf\"} 2\n\
            overnight_commit_duration_seconds_sum 100000.0015\novernight_commit_duration_seconds_count 2\n";
        assert!(text.ends_with(ends), "{text}");
    }
}
