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
/// Lines that stand behind those that are named.
pub(super) const CROWD: Colour = 0xC3_C8_CD;
/// Times without a recording.
pub(super) const GAP: Colour = 0xF3_E9_DA;
/// What stands on them.
pub(super) const GAP_INK: Colour = 0x8A_6D_3B;
/// A state in which nothing is going on.
pub(super) const QUIET: Colour = 0xC9_D6_E2;

const LINES: [Colour; 6] = [0x00_72_B2, 0xD5_5E_00, 0x00_9E_73, 0xCC_79_A7, 0x56_B4_E9, 0xE6_9F_00];
const STATES: [Colour; 6] = [0xD5_5E_00, 0x00_72_B2, 0x00_9E_73, 0xCC_79_A7, 0xE6_9F_00, 0x56_B4_E9];

/// The colour of a line by its number, and its dashes: with every round of the colours others.
pub(super) fn line(number: usize) -> (Colour, &'static [f64]) {
    const DASHES: [&[f64]; 3] = [&[], &[6.0, 3.0], &[2.0, 2.5]];
    (LINES[number % LINES.len()], DASHES[number / LINES.len() % DASHES.len()])
}

/// A state and how it is shown.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) name: Arc<str>,
    pub(super) colour: Colour,
    /// Nothing is going on in it.
    pub(super) is_quiet: bool,
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
    let is_quiet = |name: &str| name.starts_with("NO_") || name.starts_with("NOT_") || name == "CLOSED" || name == "SDS";
    let mut strong = 0;
    let all = names.into_iter().map(|name| {
        let is_quiet = is_quiet(name);
        let colour = if is_quiet { QUIET } else { STATES[strong % STATES.len()] };
        strong += usize::from(!is_quiet);
        State { name: Arc::clone(name), colour, is_quiet }
    });
    all.collect()
}
