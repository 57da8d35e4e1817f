//! Arithmetic of half-open spans of time.

use crate::base::time::Micros;

/// A half-open span of time.
pub type Span = (Micros, Micros);

/// Spans that do not meet, ascending, with the same times.
pub fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => out.push(span),
        }
    }
    out
}

/// The part of a span that lies in another.
pub fn cut(span: Span, within: Span) -> Option<Span> {
    let part = (span.0.max(within.0), span.1.min(within.1));
    (part.0 < part.1).then_some(part)
}

/// Those of spans that do not meet, ascending, that reach into a span.
pub(super) fn reaching(spans: &[Span], into: Span) -> &[Span] {
    let from = spans.partition_point(|span| span.1 <= into.0);
    let to = spans.partition_point(|span| span.0 < into.1);
    &spans[from..to.max(from)]
}

/// What lies between spans that do not meet, within a span.
pub fn between(spans: &[Span], within: Span) -> Vec<Span> {
    let mut out = Vec::new();
    let mut from = within.0;
    for (begins, ends) in reaching(spans, within) {
        out.extend(cut((from, *begins), within));
        from = from.max(*ends);
    }
    out.extend(cut((from, within.1), within));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_spans_is_what_none_of_them_holds() {
        let spans = merged(vec![(50, 60), (10, 20), (15, 30)]);
        assert_eq!(spans, [(10, 30), (50, 60)]);
        assert_eq!(between(&spans, (0, 100)), [(0, 10), (30, 50), (60, 100)]);
        assert_eq!(between(&spans, (20, 55)), [(30, 50)]);
        assert_eq!(between(&spans, (12, 28)), []);
        assert_eq!(reaching(&spans, (30, 50)), []);
    }
}
