//! The inner life of one sensor: what it measures, how often it speaks, when its state changes. Pure and seeded.

use super::device::Family;
use super::event::{SECOND, Sample};
use fastrand::Rng;
use std::f64::consts::TAU;

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Surroundings of a thermometer: mean, daily swing, swing of the heating or cooling, and its period in minutes.
#[derive(Debug, Clone, Copy)]
struct Climate(f64, f64, f64, f64);

const OFFICE: Climate = Climate(21.5, 1.5, 0.1, 20.0);
const FRIDGE: Climate = Climate(4.0, 0.3, 0.8, 25.0);
const FREEZER: Climate = Climate(-19.0, 0.4, 1.5, 35.0);
const BOILER: Climate = Climate(48.0, 6.0, 3.0, 15.0);

/// What a Cloud Connector says about its own line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Ethernet,
    Cellular,
    Offline,
}

/// The state of one sensor.
#[derive(Debug, Clone)]
pub(super) struct SensorState {
    climate: Climate,
    phase: f64,
    wander: f64,
    last: Option<Sample>,
    /// Readings between two heartbeats.
    sampling: usize,
    moisture: f64,
    ppm: f64,
    pascal: f64,
    pub(super) on: bool,
    pub(super) offline: bool,
    pub(super) invalid_wires: bool,
    pub(super) line: Line,
    pub(super) cellular: i32,
    pub(super) mac: String,
    pub(super) ip: String,
    total: u64,
    battery: f64,
}

impl SensorState {
    pub(super) fn new(family: Family, name: &str, rng: &mut Rng) -> Self {
        let climate = match name {
            _ if family == Family::Co2 => OFFICE,
            n if n.starts_with("Freezer") => FREEZER,
            n if n.starts_with("Cold") || n.starts_with("Kühl") => FRIDGE,
            _ if family == Family::Probe => BOILER,
            _ => OFFICE,
        };
        let [a, b, c] = [rng.u8(..), rng.u8(..), rng.u8(2..250)];
        Self {
            climate,
            phase: rng.f64(),
            wander: 0.0,
            last: None,
            sampling: [1, 1, 3, 5, 10].get(rng.usize(0..5)).copied().unwrap_or(1),
            moisture: 30.0 + 25.0 * rng.f64(),
            ppm: 450.0,
            pascal: 98_500.0 + 2_500.0 * rng.f64(),
            on: false,
            offline: false,
            invalid_wires: false,
            line: Line::Ethernet,
            cellular: rng.i32(40..95),
            mac: format!("f0:b5:b7:00:{a:02x}:{b:02x}"),
            ip: format!("10.0.{}.{c}", b % 4),
            total: rng.u64(100..5_000),
            battery: 60.0 + 40.0 * rng.f64(),
        }
    }

    /// The readings of one heartbeat, newest first.
    pub(super) fn measure(&mut self, time: i64, every: i64, rng: &mut Rng) -> Vec<Sample> {
        let Climate(mean, daily, swing, minutes) = self.climate;
        self.wander = self.wander * 0.97 + (rng.f64() - 0.5) * 0.2;
        let day = (TAU * (fraction(time, 24 * HOUR) - 0.375)).sin(); // warmest at three in the afternoon
        let cycle = (TAU * (fraction(time, MINUTE) + minute(time)) / minutes + TAU * self.phase).sin();
        let celsius = round(mean + daily * day + swing * cycle + self.wander, 20.0);
        self.moisture = (self.moisture + (rng.f64() - 0.5) * 0.8 + (42.0 - self.moisture) * 0.002).clamp(5.0, 95.0);
        let now = Sample { time, celsius, humidity: round(self.moisture, 2.0) };

        let n = self.sampling;
        let before = self.last.replace(now).filter(|s| s.time < time && time - s.time <= 2 * every);
        let before = before.unwrap_or(Sample { time: time - every, ..now });
        let mut samples = vec![now];
        for i in 1..n {
            let share = i64::try_from(i).unwrap_or(0) * 1_000 / i64::try_from(n).unwrap_or(1);
            let ago = (time - before.time) * share / 1_000 / 1_000 * 1_000;
            let mix = |a: f64, b: f64| a + (b - a) * to_f64(share) / 1_000.0;
            samples.push(Sample {
                time: time - ago,
                celsius: round(mix(celsius, before.celsius) + (rng.f64() - 0.5) * 0.1, 20.0),
                humidity: round(mix(now.humidity, before.humidity), 2.0),
            });
        }
        samples
    }

    /// Carbon dioxide in ppm and air pressure in Pa.
    pub(super) fn air(&mut self, time: i64, rng: &mut Rng) -> (u32, u32) {
        let crowd = if working(time) { 550.0 } else { 20.0 };
        self.ppm += (420.0 + crowd * rng.f64() - self.ppm) * 0.12 + (rng.f64() - 0.5) * 8.0;
        self.pascal += (rng.f64() - 0.5) * 12.0 + (99_500.0 - self.pascal) * 0.001;
        (whole(self.ppm), whole(self.pascal))
    }

    /// A lifetime count; it grows by what happened since it was last asked.
    pub(super) fn count(&mut self, time: i64, rng: &mut Rng) -> u64 {
        self.total += rng.u64(0..if working(time) { 9 } else { 2 });
        self.total
    }

    /// The battery in per cent: coarse, and never going up.
    pub(super) fn battery(&mut self) -> u8 {
        self.battery = (self.battery - 0.03).max(1.0);
        u8::try_from(whole(self.battery / 2.0) * 2).unwrap_or(100)
    }
}

/// Time between two heartbeats.
pub(super) fn heartbeat(family: Family) -> i64 {
    match family {
        Family::Temperature | Family::Probe | Family::Humidity | Family::Co2 => 150 * SECOND,
        _ => 300 * SECOND,
    }
}

/// How long the state lasts that a sensor has just taken.
pub(super) fn lasts(family: Family, on: bool, time: i64, rng: &mut Rng) -> i64 {
    let (from, to) = match (family, on, working(time)) {
        (Family::Contact, true, _) => (20, 120),
        (Family::Contact, false, true) => (300, 2_400),
        (Family::Motion, true, _) => (60, 600),
        (Family::Motion, false, true) => (60, 900),
        (Family::Motion, false, false) => (1_800, 10_800),
        (Family::Desk, true, _) => (1_200, 7_200),
        (Family::Desk, false, true) => (600, 5_400),
        (Family::Desk, false, false) => (18_000, 40_000),
        (Family::Proximity, _, true) => (300, 3_600),
        (Family::Touch, _, true) => (600, 3_600),
        (Family::Water, true, _) => (300, 1_800),
        (Family::Water, false, _) => (86_400, 400_000),
        _ => (3_600, 14_400),
    };
    rng.i64(from * SECOND..to * SECOND)
}

fn working(time: i64) -> bool {
    (7..18).contains(&time.div_euclid(HOUR).rem_euclid(24))
}

fn fraction(time: i64, of: i64) -> f64 {
    to_f64(time.rem_euclid(of)) / to_f64(of)
}

fn minute(time: i64) -> f64 {
    to_f64(time.div_euclid(MINUTE).rem_euclid(1_000_000))
}

/// To the nearest 1/`steps`; and never minus zero, which would be written `-0`.
fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps + 0.0
}

#[expect(clippy::cast_precision_loss, reason = "times of a day and small counts are far below 2^53")]
fn to_f64(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates: that is wanted")]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thermometer_drifts_slowly_and_sends_newest_first() {
        let mut rng = Rng::with_seed(3);
        let mut mind = SensorState { sampling: 5, ..SensorState::new(Family::Temperature, "Office", &mut rng) };
        let mut last = mind.measure(0, 150 * SECOND, &mut rng);
        for n in 1..600 {
            let next = mind.measure(n * 150 * SECOND, 150 * SECOND, &mut rng);
            assert_eq!(next.len(), 5);
            assert!(next.is_sorted_by(|a, b| a.time > b.time));
            assert!((next[0].celsius - last[0].celsius).abs() < 1.0);
            assert!((10.0..30.0).contains(&next[0].celsius));
            last = next;
        }
    }

    #[test]
    fn there_is_no_minus_zero() {
        assert_eq!(round(-0.001, 20.0).to_string(), "0");
    }
}
