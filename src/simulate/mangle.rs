//! What one stream does to its events: sends some twice, others late, and junk between them.

use super::batch::Frame;
use super::disorder::Disorder;
use super::habits::Habits;
use axum::body::Bytes;
use fastrand::Rng;
use std::collections::VecDeque;

/// What was done, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Done {
    pub(super) doubles: u64,
    pub(super) junk: u64,
}

/// The events of one stream on their way out.
#[derive(Debug)]
pub(super) struct Mangle {
    disorder: Disorder<Frame>,
    junk: f64,
    sse: bool,
    rng: Rng,
    ready: VecDeque<Bytes>,
    done: Done,
}

impl Mangle {
    pub(super) fn new(habits: &Habits, sse: bool, mut rng: Rng) -> Self {
        let disorder = Disorder::new(habits, rng.fork());
        Self { disorder, junk: habits.junk, sse, rng, ready: VecDeque::new(), done: Done::default() }
    }

    /// Takes an event; it comes out when its turn is.
    pub(super) fn push(&mut self, frame: Frame) {
        self.disorder.push(frame);
        self.write_ready();
    }

    fn write_ready(&mut self) {
        while let Some((frame, again)) = self.disorder.next() {
            self.done.doubles += u64::from(again);
            self.write(&frame);
        }
    }

    /// Whether events wait for later ones.
    pub(super) fn holds(&self) -> bool {
        self.disorder.holds()
    }

    /// No later ones come: all go out.
    pub(super) fn flush(&mut self) {
        self.disorder.flush();
        self.write_ready();
    }

    /// Anything that is not one of the events.
    pub(super) fn write_plain(&mut self, frame: &Frame) {
        self.ready.push_back(if self.sse { frame.sse() } else { frame.line() });
    }

    /// Text as the content of a line.
    pub(super) fn write_text(&mut self, text: &str) {
        let text = if self.sse { format!("data: {text}\n\n") } else { format!("{text}\n") };
        self.ready.push_back(Bytes::from(text));
    }

    /// The next bytes to send: a whole frame.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// What was done since the last time.
    pub(super) fn done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    fn write(&mut self, frame: &Frame) {
        if self.junk <= 0.0 {
            return self.write_plain(frame);
        }
        if self.sse && self.rng.f64() < self.junk {
            let number = self.rng.u32(..);
            self.ready.push_back(frame.sse_split(number));
        } else {
            self.write_plain(frame);
        }
        if self.rng.f64() < self.junk {
            self.done.junk += 1;
            self.rubbish(frame);
        }
    }

    /// Junk, half of the event before it among it.
    fn rubbish(&mut self, frame: &Frame) {
        let number = self.rng.u16(..);
        let ways = if self.sse { 13 } else { 9 };
        let raw = match self.rng.u8(..ways) {
            0 => return self.write_text("upstream connect error or disconnect/reset before headers"),
            1 => return self.write_text("<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
            2 => {
                let line = frame.line();
                let half = line.get(..line.len() / 2).unwrap_or_default();
                return self.write_text(&String::from_utf8_lossy(half));
            }
            3 => return self.write_text("{}"),
            4 => return self.write_text("[]"),
            5 => return self.write_text(r#"[{"result":{"event":{}}}]"#),
            6 => return self.write_text("null"),
            7 => return self.write_text(r#"{"result":{}}"#),
            8 => "\n".to_owned(),
            9 => format!(": comment {number}\n\n"),
            10 => format!("id: {number}\n\n"),
            11 => "event: keep-alive\n\n".to_owned(),
            _ => format!("retry: {}\n\n", 1_000 + number % 3_000),
        };
        self.ready.push_back(Bytes::from(raw));
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::*;
    use serde_json::Value;

    fn frames(count: usize) -> Vec<Frame> {
        let mut batch = Batch::default();
        for n in 0..count {
            batch.push_text(&format!(r#"{{"eventId":"{n}","labels":"a, {{}} b"}}"#), 0, None, "x");
        }
        batch.finish().map(|(_, frame)| frame).collect()
    }

    fn through(habits: &Habits, sse: bool, count: usize) -> (Vec<String>, Done) {
        let mut mangle = Mangle::new(habits, sse, Rng::with_seed(5));
        let mut out = Vec::new();
        for frame in frames(count) {
            mangle.push(frame);
            out.extend(std::iter::from_fn(|| mangle.next()));
        }
        mangle.flush();
        out.extend(std::iter::from_fn(|| mangle.next()));
        (out.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect(), mangle.done())
    }

    fn number(json: &str) -> Option<usize> {
        let line: Value = serde_json::from_str(json).ok()?;
        line["result"]["event"]["eventId"].as_str()?.parse().ok()
    }

    /// Reads as the standard for Server-Sent Events wants it.
    fn messages(text: &str) -> Vec<String> {
        let (mut all, mut data) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            match field {
                "data" => data.push(value.strip_prefix(' ').unwrap_or(value).to_owned()),
                "" if line.is_empty() && !data.is_empty() => all.push(std::mem::take(&mut data).join("\n")),
                _ => {}
            }
        }
        all
    }

    #[test]
    fn without_habits_every_event_passes_at_once() {
        let (out, done) = through(&Habits::default(), false, 50);
        assert_eq!(out.iter().filter_map(|l| number(l)).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert_eq!((out.len(), done), (50, Done::default()));
    }

    #[test]
    fn an_event_is_delayed_by_no_more_places_than_told_and_never_lost() {
        let (out, _) = through(&Habits { reorder: 7, ..Habits::default() }, false, 1_000);
        let order: Vec<usize> = out.iter().filter_map(|l| number(l)).collect();
        assert!(order.iter().enumerate().all(|(place, n)| place <= n + 7));
        assert!(order.iter().enumerate().any(|(place, n)| place > n + 3) && !order.is_sorted());
        let mut all = order;
        all.sort_unstable();
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_double_comes_after_the_event_with_at_most_twenty_new_ones_between() {
        let (out, done) = through(&Habits { doubles: 0.5, ..Habits::default() }, false, 1_000);
        let order: Vec<usize> = out.iter().filter_map(|l| number(l)).collect();
        let (mut seen, mut doubles) = (0, 0);
        for n in order {
            if n == seen {
                seen += 1;
            } else {
                doubles += 1;
                assert!(n < seen && seen - n <= 21, "{n} after {seen}");
            }
        }
        assert!(seen == 1_000 && done.doubles == doubles && (400..600).contains(&doubles), "{doubles}");
    }

    #[test]
    fn junk_hides_no_event() {
        for sse in [false, true] {
            let (out, done) = through(&Habits { junk: 0.5, reorder: 3, ..Habits::default() }, sse, 1_000);
            let text = out.concat();
            let lines = if sse { messages(&text) } else { text.lines().map(str::to_owned).collect() };
            let mut order: Vec<usize> = lines.iter().filter_map(|l| number(l)).collect();
            order.sort_unstable();
            assert_eq!(order, (0..1_000).collect::<Vec<_>>());
            let broken = lines.iter().filter(|l| !l.is_empty() && serde_json::from_str::<Value>(l).is_err()).count();
            assert!(broken > 50 && (400..600).contains(&done.junk), "{broken} {done:?}");
            let has = |what: &str| text.contains(what);
            assert_eq!(has("\nretry: ") && has("\n: ") && has("\nid: ") && has("\nevent: ") && has("\ndata\n"), sse);
        }
    }
}
