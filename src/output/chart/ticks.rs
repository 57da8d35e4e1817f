//! Ticks: round values, and round times of a clock on the wall, whatever that clock does at night.

use crate::base::time::{Micros, SECOND};
use crate::base::zone::{Buckets, Every, Zone, write_offset};

const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// Steps between times, each with the way its ticks are written and what stands below where that changes.
const STEPS: [(Every, &str, &str); 27] = [
    (Every::Part(SECOND), "%H:%M:%S", "%-d %b"),
    (Every::Part(2 * SECOND), "%H:%M:%S", "%-d %b"),
    (Every::Part(5 * SECOND), "%H:%M:%S", "%-d %b"),
    (Every::Part(10 * SECOND), "%H:%M:%S", "%-d %b"),
    (Every::Part(30 * SECOND), "%H:%M:%S", "%-d %b"),
    (Every::Part(MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(2 * MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(5 * MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(10 * MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(15 * MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(30 * MINUTE), "%H:%M", "%-d %b"),
    (Every::Part(HOUR), "%H:%M", "%-d %b"),
    (Every::Part(2 * HOUR), "%H:%M", "%-d %b"),
    (Every::Part(3 * HOUR), "%H:%M", "%-d %b"),
    (Every::Part(6 * HOUR), "%H:%M", "%-d %b"),
    (Every::Part(12 * HOUR), "%H:%M", "%-d %b"),
    (Every::Days(1), "%-d %b", "%Y"),
    (Every::Days(2), "%-d %b", "%Y"),
    (Every::Weeks(1), "%-d %b", "%Y"),
    (Every::Weeks(2), "%-d %b", "%Y"),
    (Every::Months(1), "%b", "%Y"),
    (Every::Months(3), "%b", "%Y"),
    (Every::Months(6), "%b", "%Y"),
    (Every::Months(12), "%Y", ""),
    (Every::Months(60), "%Y", ""),
    (Every::Months(240), "%Y", ""),
    (Every::Months(1200), "%Y", ""),
];

/// A time on the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeTick {
    pub(super) at: Micros,
    pub(super) label: String,
    /// The day or the year, where it is another one than at the tick before.
    pub(super) below: Option<String>,
}

/// Round times of a span, at most about so many.
pub(super) fn times((from, to): (Micros, Micros), zone: &Zone, most: usize) -> Vec<TimeTick> {
    let length = to.saturating_sub(from);
    let fits = |every: Every| length / every.about() < i64::try_from(most.max(1)).unwrap_or(1);
    let (every, label, below) = STEPS.into_iter().find(|(every, ..)| fits(*every)).unwrap_or(STEPS[STEPS.len() - 1]);
    let mut buckets = Buckets::new(zone.clone(), every);
    let (start, next) = buckets.of(from);
    let (mut at, mut all) = (if start == from { from } else { next }, Vec::<TimeTick>::new());
    let mut last = String::new();
    while at <= to && all.len() < 400 {
        let below = text(at, zone, below);
        all.push(TimeTick { at, label: text(at, zone, label), below: (below != last).then(|| below.clone()) });
        last = below;
        let (_, next) = buckets.of(at);
        if next <= at {
            break;
        }
        at = next;
    }
    all
}

fn text(time: Micros, zone: &Zone, how: &str) -> String {
    zone.format(time, how)
}

/// A span in words, and whose clock it is: `23 Nov 2026 18:00 to 24 Nov 2026 06:00, Europe/Oslo (UTC+01:00)`.
pub(super) fn words((from, to): (Micros, Micros), zone: &Zone) -> String {
    let (day, clock) = ("%-d %b %Y", if to.saturating_sub(from) < 10 * MINUTE { "%H:%M:%S" } else { "%H:%M" });
    let (first, last) = (text(from, zone, day), text(to, zone, day));
    let again = if first == last { String::new() } else { format!("{last} ") };
    let offset = |time: Micros| {
        let mut out = b"UTC".to_vec();
        write_offset(zone.clone().offset(time), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    let (before, after) = (offset(from), offset(to));
    let clocks = match zone.name() {
        "UTC" => "UTC".to_owned(),
        name if before == after => format!("{name} ({before})"),
        name => format!("{name} ({before}, later {after})"),
    };
    format!("{first} {} to {again}{}, {clocks}", text(from, zone, clock), text(to, zone, clock))
}

/// Round values within an extent, at most about so many, and how they are written.
pub(super) fn values((least, greatest): (f64, f64), most: usize) -> Vec<(f64, String)> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of ticks")]
    let rough = (greatest - least) / most.max(2) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough * 0.999).unwrap_or(rough);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to 0 to 9 before")]
    let decimals = (-step.log10() + 1e-9).ceil().clamp(0.0, 9.0) as usize;
    let first = (least / step).ceil();
    let ticks =
        (0..100_i32).map(|number| (first + f64::from(number)) * step).take_while(|value| *value <= greatest + step * 1e-6);
    ticks.map(|value| (value, number(value, step, decimals))).collect()
}

fn number(value: f64, step: f64, decimals: usize) -> String {
    // What rounding leaves of nothing is nothing.
    let value = if value.abs() < step / 2.0 { 0.0 } else { value };
    let text = if value.abs() >= 1e9 || step < 1e-9 { format!("{value:e}") } else { format!("{value:.decimals$}") };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn labels(zone: &str, from: &str, to: &str, most: usize) -> Vec<String> {
        times((at(from), at(to)), &Zone::named(zone).unwrap(), most).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn times_are_round_on_the_wall_through_a_change_of_clocks() {
        let autumn = labels("Europe/Oslo", "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z", 12);
        assert_eq!(autumn, ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00", "05:00", "06:00"]);
        let spring = labels("Europe/Oslo", "2026-03-28T23:00:00Z", "2026-03-29T10:00:00Z", 5);
        assert_eq!(spring, ["00:00", "03:00", "06:00", "09:00", "12:00"]);
        let days = labels("Europe/Oslo", "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", 6);
        assert_eq!(days, ["24 Oct", "25 Oct", "26 Oct", "27 Oct"]);
    }

    #[test]
    fn the_day_stands_below_where_it_changes() {
        let ticks = times((at("2026-11-23T18:00:00Z"), at("2026-11-24T06:00:00Z")), &Zone::utc(), 8);
        let below: Vec<_> = ticks.iter().filter_map(|tick| tick.below.clone()).collect();
        assert_eq!(below, ["23 Nov", "24 Nov"]);
    }

    #[test]
    fn every_span_has_ticks_and_none_has_too_many() {
        for seconds in [1, 7, 59, 3_600, 86_400, 3_000_000, 40_000_000, 4_000_000_000] {
            for most in [1, 4, 9, 20] {
                let count = times((SECOND / 2, (SECOND / 2).saturating_add(seconds * SECOND)), &Zone::utc(), most).len();
                assert!(count <= most + 2, "{count} ticks in {seconds} s, {most} wanted");
            }
        }
        times((Micros::MIN, Micros::MAX), &Zone::utc(), 10);
    }

    #[test]
    fn values_are_round_and_written_with_the_digits_that_tell_them_apart() {
        let labels = |extent, most| values(extent, most).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels((20.93, 23.2), 5), ["21.0", "21.5", "22.0", "22.5", "23.0"]);
        assert_eq!(labels((-1.0, 1.0), 4), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels((400.0, 1900.0), 4), ["500", "1000", "1500"]);
        assert_eq!(labels((101_320.0, 101_330.0), 3), ["101320", "101325", "101330"]);
        assert_eq!(labels((0.0, 0.0), 4), [""; 0]);
        assert_eq!(labels((f64::NAN, 1.0), 4), [""; 0]);
    }

    #[test]
    fn a_span_in_words_says_whose_clock_it_is_and_that_it_changed() {
        let oslo = Zone::named("Europe/Oslo").unwrap();
        let night = (at("2026-10-24T18:00:00Z"), at("2026-10-25T06:00:00Z"));
        assert_eq!(words(night, &oslo), "24 Oct 2026 20:00 to 25 Oct 2026 07:00, Europe/Oslo (UTC+02:00, later UTC+01:00)");
        assert_eq!(
            words((at("2026-11-23T18:00:00Z"), at("2026-11-23T19:30:00Z")), &Zone::utc()),
            "23 Nov 2026 18:00 to 19:30, UTC"
        );
    }
}
