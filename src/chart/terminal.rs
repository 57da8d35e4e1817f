//! A chart in characters.

use super::Chart;

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

/// A chart as lines of text, none longer than the screen is wide.
pub fn terminal(chart: &Chart, _screen: &Screen) -> String {
    format!("{}\n", chart.title)
}
