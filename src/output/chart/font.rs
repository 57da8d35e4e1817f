//! The font that PNG is written in, and by which all texts are measured. It comes with the program, since slim machines have
//! none. A browser may choose a narrower one for SVG; few are wider.

use std::collections::HashSet;
use std::sync::LazyLock;

use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::outline::{DrawSettings, OutlineGlyphCollection, OutlinePen};
use skrifa::{FontRef, GlyphId, MetadataProvider};

use crate::base::text::printable;

use super::{Chart, colour};

/// What is read of the font, in units of which [`Face::em`] are its size.
pub(super) struct Face {
    characters: Charmap<'static>,
    widths: GlyphMetrics<'static>,
    outlines: OutlineGlyphCollection<'static>,
    /// Units that are as much as the size of a text.
    pub(super) em: f64,
}

static FACE: LazyLock<Option<Face>> = LazyLock::new(|| {
    let font = FontRef::new(dejavu::sans::regular()).ok()?;
    let metrics = font.metrics(Size::unscaled(), LocationRef::default());
    Some(Face {
        characters: font.charmap(),
        widths: font.glyph_metrics(Size::unscaled(), LocationRef::default()),
        outlines: font.outline_glyphs(),
        em: f64::from(metrics.units_per_em),
    })
});

/// The font; none when it does not read, which a test excludes.
pub(super) fn face() -> Option<&'static Face> {
    FACE.as_ref()
}

impl Face {
    fn has(&self, c: char) -> bool {
        self.characters.map(c).is_some()
    }

    /// The glyph of a character, and how far the next one stands behind it, in pixels.
    pub(super) fn glyph(&self, c: char, size: f64) -> (GlyphId, f64) {
        let glyph = self.characters.map(c);
        let advance = glyph.and_then(|glyph| self.widths.advance_width(glyph)).map(f64::from);
        // What the font lacks, such as Chinese, is a square.
        (glyph.unwrap_or_default(), advance.unwrap_or(self.em) * size / self.em)
    }

    /// Draws the outline of a glyph; one that has none, such as a space, or that does not read, is not there.
    pub(super) fn draw(&self, glyph: GlyphId, pen: &mut impl OutlinePen) {
        if let Some(outline) = self.outlines.get(glyph) {
            drop(outline.draw(DrawSettings::unhinted(Size::unscaled(), LocationRef::default()), pen));
        }
    }
}

/// How wide a text is, in pixels.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let Some(face) = face() else { return 0.0 };
    text.chars().map(|c| face.glyph(c, size).1).sum()
}

/// More are read by nobody.
const LETTERS: usize = 200;

/// [`printable`], and cut to a width in pixels.
pub(super) fn fit(text: &str, size: f64, most: f64) -> String {
    let clean = printable(text, LETTERS);
    if width(&clean, size) <= most {
        return clean;
    }
    let (mut out, mut used) = (String::new(), width("…", size));
    for c in clean.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > most {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out + "…"
}

/// Texts of charts of which the font lacks a letter, each once.
pub fn lacking(charts: &[&Chart]) -> Vec<String> {
    let Some(face) = face() else { return Vec::new() };
    let lacks = |text: &str| printable(text, LETTERS).chars().any(|c| !face.has(c));
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
            assert!(face.has(c), "{c}");
        }
        assert!(width("mm", 10.0) > width("ii", 10.0));
    }
}
