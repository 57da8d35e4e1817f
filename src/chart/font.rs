//! The font that PNG is written in, and by which all texts are measured. It comes with the program, since slim machines have
//! none. A browser may choose a narrower one for SVG; few are wider.

use std::collections::HashSet;
use std::sync::LazyLock;

use ttf_parser::{Face, GlyphId};

use super::scene::clean;
use super::{Chart, colour};

static FACE: LazyLock<Option<Face<'static>>> = LazyLock::new(|| Face::parse(dejavu::sans::regular(), 0).ok());

/// The font; none when it does not read, which a test excludes.
pub(super) fn face() -> Option<&'static Face<'static>> {
    FACE.as_ref()
}

/// The glyph of a character, and how far the next one stands behind it, in pixels.
pub(super) fn glyph(face: &Face<'_>, c: char, size: f64) -> (GlyphId, f64) {
    let glyph = face.glyph_index(c);
    let advance = glyph.and_then(|glyph| face.glyph_hor_advance(glyph)).map(f64::from);
    let em = f64::from(face.units_per_em());
    // What the font lacks, such as Chinese, is a square.
    (glyph.unwrap_or_default(), advance.unwrap_or(em) * size / em)
}

/// How wide a text is, in pixels.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let Some(face) = face() else { return 0.0 };
    text.chars().map(|c| glyph(face, c, size).1).sum()
}

/// Texts of charts of which the font lacks a letter, each once.
pub fn lacking(charts: &[&Chart]) -> Vec<String> {
    let Some(face) = face() else { return Vec::new() };
    let lacks = |text: &str| clean(text).chars().any(|c| face.glyph_index(c).is_none());
    let states = |chart: &Chart| colour::states(chart).into_iter().map(|state| state.name.to_string());
    let texts = charts.iter().flat_map(|chart| {
        let names = chart.lines.iter().map(|line| line.name.clone());
        [chart.title.clone(), chart.axis.clone()].into_iter().chain(names).chain(states(chart)).collect::<Vec<_>>()
    });
    let mut met = HashSet::new();
    texts.filter(|text| lacks(text) && met.insert(text.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_reads_and_has_what_axes_need() {
        let face = face().unwrap();
        for c in "0123456789−°C%²³µΩæøåÆØÅäöüßéЖλ…".chars() {
            assert!(face.glyph_index(c).is_some(), "{c}");
        }
        assert!(width("mm", 10.0) > width("ii", 10.0));
    }
}
