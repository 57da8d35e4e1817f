//! Colours that people tell apart, with any kind of eyes: those of Okabe and Ito, without the yellow that white swallows.

use std::sync::Arc;

use super::{Chart, Data};

/// A colour, as `0xRRGGBB`.
pub(super) type Colour = u32;

/// Text.
pub(super) const INK: Colour = 0x22_2B_33;
/// Text that explains.
pub(super) const GREY: Colour = 0x5C_66_70;
/// Lines of a grid.
pub(super) const GRID: Colour = 0xE3_E6_E9;
/// Axes, and lines among many.
pub(super) const AXIS: Colour = 0x8A_93_9B;
/// Times without a recording.
pub(super) const GAP: Colour = 0xF1_E0_C2;
/// What stands on them, and their edge.
pub(super) const GAP_INK: Colour = 0x7A_5C_2A;

const LINES: [Colour; 8] = [0x00_72_B2, 0xD5_5E_00, 0x00_9E_73, 0xB0_4A_8C, 0x22_2B_33, 0x8A_5A_2B, 0x3A_A0_DC, 0xD9_8E_00];
const STATES: [Colour; 5] = [0x00_72_B2, 0x00_9E_73, 0xE6_9F_00, 0xCC_79_A7, 0x56_B4_E9];
/// States in which nothing is going on, and those that somebody has to see: no two of one chart look the same.
const QUIET: [Colour; 4] = [0xC9_D6_E2, 0xD8_D0_C0, 0xC6_DC_CC, 0xDC_D0_DE];
const ALARMS: [Colour; 3] = [0xC0_30_3A, 0x8E_1F_5B, 0x7A_2E_12];

/// The colour of a line by its number, and its dashes: the second half of the colours has some.
pub(super) fn line(number: usize) -> (Colour, &'static [f64]) {
    const DASHES: [&[f64]; 3] = [&[], &[7.0, 3.0], &[2.0, 2.5]];
    (LINES[number % LINES.len()], DASHES[(number * 2 / LINES.len()).min(2)])
}

/// True for a colour that dark letters stand on.
pub(super) fn is_pale(colour: Colour) -> bool {
    let [_, red, green, blue] = colour.to_be_bytes().map(u32::from);
    red * 2 + green * 5 + blue > 8 * 100
}

/// What a state means to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// Somebody has to see it: a device that is offline, water where none should be.
    Alarm,
    /// Something is going on: a door is open, a desk in use.
    Busy,
    /// Nothing is going on.
    Quiet,
}

/// What a state of an event type means: by its name, and by the event type where one name means several things.
pub fn meaning(event_type: &str, state: &str) -> Meaning {
    const ALARMS: [&str; 7] = ["OFFLINE", "INVALID", "ERROR", "FAULT", "FAILED", "ALARM", "LEAK"];
    let has = |word: &&str| state.split('_').any(|part| part == *word);
    let is_quiet = state.starts_with("NO_")
        || state.starts_with("NOT_")
        || ["CLOSED", "SDS", "ETHERNET", "ONLINE", "OK", "OFF"].contains(&state)
        || (event_type == "probeWireStatus" && state.ends_with("_WIRE"));
    if is_quiet {
        Meaning::Quiet
    } else if ALARMS.iter().any(has) || (event_type == "waterPresent" && state == "PRESENT") {
        Meaning::Alarm
    } else {
        Meaning::Busy
    }
}

/// A state and how it is shown.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) name: Arc<str>,
    pub(super) colour: Colour,
    pub(super) meaning: Meaning,
}

/// All states of a chart, in the order of their names. A state looks the same in every chart of its type: what the name says
/// decides, not what happened that night.
pub(super) fn states(chart: &Chart) -> Vec<State> {
    let mut names: Vec<&Arc<str>> = Vec::new();
    for line in &chart.lines {
        if let Data::States(spans) = &line.data {
            for span in spans {
                if let Err(at) = names.binary_search(&&span.state) {
                    names.insert(at, &span.state);
                }
            }
        }
    }
    let mut used = [0; 3];
    let all = names.into_iter().map(|name| {
        let meaning = meaning(&chart.title, name);
        let colours: &[Colour] = match meaning {
            Meaning::Alarm => &ALARMS,
            Meaning::Busy => &STATES,
            Meaning::Quiet => &QUIET,
        };
        let used = &mut used[meaning as usize];
        let colour = colours[*used % colours.len()];
        *used += 1;
        State { name: Arc::clone(name), colour, meaning }
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_colour_of_what_it_means() {
        for (event_type, state, wanted) in [
            ("connectionStatus", "OFFLINE", Meaning::Alarm),
            ("connectionStatus", "SDS", Meaning::Quiet),
            ("waterPresent", "PRESENT", Meaning::Alarm),
            ("waterPresent", "NOT_PRESENT", Meaning::Quiet),
            ("objectPresent", "PRESENT", Meaning::Busy),
            ("deskOccupancy", "OCCUPIED", Meaning::Busy),
            ("contact", "OPEN", Meaning::Busy),
            ("probeWireStatus", "INVALID_WIRE_CONFIGURATION", Meaning::Alarm),
            ("probeWireStatus", "FOUR_WIRE", Meaning::Quiet),
        ] {
            assert_eq!(meaning(event_type, state), wanted, "{event_type} {state}");
        }
    }
}
