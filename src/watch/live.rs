//! What changed, to each that looks on: Server-Sent Events, made once a look however many look at the same.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::time::Micros;

use super::board::Board;
use super::model::Wish;
use super::page::{self, Part};
use super::range::Range;

/// What somebody looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum View {
    /// A page of devices.
    Home(Wish),
    /// One device, by its project and id.
    Device(String, String, RangeWord),
}

/// A range as it stands in an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RangeWord(&'static str, (String, String), (Micros, Micros));

impl From<Range> for RangeWord {
    fn from(range: Range) -> Self {
        Self(range.word, range.written, range.span)
    }
}

/// A view as it is now: parts, and rows in order. Each with what tells it from another.
type Shown = (Vec<(Part, u64)>, Vec<(Part, u64)>);

/// Views of the last look, each made once.
#[derive(Debug, Default)]
pub(super) struct Views {
    made: Mutex<(Micros, HashMap<View, Arc<Shown>>)>,
}

impl Views {
    fn show(&self, board: &Board, view: &View) -> Arc<Shown> {
        let now = board.seen().now;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != now {
            *made = (now, HashMap::new());
        }
        if let Some(shown) = made.1.get(view) {
            return Arc::clone(shown);
        }
        let (parts, rows) = board.with(|look| match view {
            View::Home(wish) => page::live(look, wish),
            View::Device(project, id, RangeWord(word, written, span)) => {
                let range = Range { span: *span, word, written: written.clone() };
                let device = look.fleet.device(project, id);
                (device.map(|device| page::live_device(look, device, &range)).unwrap_or_default(), Vec::new())
            }
        });
        let known =
            |parts: Vec<Part>| parts.into_iter().map(|part| (hash(&part), part)).map(|(hash, part)| (part, hash)).collect();
        let shown = Arc::new((known(parts), known(rows)));
        made.1.insert(view.clone(), Arc::clone(&shown));
        shown
    }
}

fn hash(part: &Part) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.html.hash(&mut hasher);
    hasher.finish()
}

/// What one of them has been told.
#[derive(Debug, Default)]
struct Sent {
    parts: HashMap<String, u64>,
    rows: HashMap<String, u64>,
    order: Vec<String>,
}

impl Sent {
    /// What is new to it, as events.
    fn news(&mut self, shown: &Shown) -> String {
        let mut out = String::new();
        let changed = |known: &HashMap<String, u64>, all: &[(Part, u64)]| -> String {
            let is_new = |(part, hash): &&(Part, u64)| known.get(&part.id) != Some(hash);
            all.iter().filter(is_new).map(|(part, _)| part.html.as_str()).collect()
        };
        let mut say = |event: &str, data: &str| {
            if !data.is_empty() {
                // Writing to a string cannot fail.
                write!(out, "event: {event}\ndata: {data}\n\n").unwrap_or_default();
            }
        };
        let (parts, rows) = shown;
        say("part", &changed(&self.parts, parts));
        say("row", &changed(&self.rows, rows));
        let order: Vec<String> = rows.iter().map(|(row, _)| row.id.clone()).collect();
        if order != self.order {
            // A space alone: there is no row any more.
            say("order", &format!("{} ", order.join(" ")));
        }
        let known = |all: &[(Part, u64)]| all.iter().map(|(part, hash)| (part.id.clone(), *hash)).collect();
        (self.parts, self.rows, self.order) = (known(parts), known(rows), order);
        out
    }
}

/// Tells somebody what changes, until that one has gone.
pub(super) async fn tell(board: Arc<Board>, views: Arc<Views>, view: View, to: mpsc::Sender<Bytes>) {
    let mut looks = board.looks();
    let mut sent = Sent::default();
    loop {
        looks.borrow_and_update();
        let news = sent.news(&views.show(&board, &view));
        if to.send(news.into()).await.is_err() {
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            looked = looks.changed() => if looked.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parts: &[(&str, &str)], rows: &[(&str, &str)]) -> Shown {
        let of = |all: &[(&str, &str)]| {
            let part = |(id, html): &(&str, &str)| Part { id: (*id).to_owned(), html: (*html).to_owned() };
            all.iter().map(part).map(|part| (part.clone(), hash(&part))).collect()
        };
        (of(parts), of(rows))
    }

    #[test]
    fn only_what_changed_is_told_and_an_order_only_where_it_is_another() {
        let mut sent = Sent::default();
        let first = shown(&[("state", "A"), ("now", "1")], &[("r1", "x"), ("r2", "y")]);
        assert_eq!(sent.news(&first), "event: part\ndata: A1\n\nevent: row\ndata: xy\n\nevent: order\ndata: r1 r2 \n\n");
        assert_eq!(sent.news(&first), "");
        assert_eq!(
            sent.news(&shown(&[("state", "A"), ("now", "2")], &[("r1", "x"), ("r2", "z")])),
            "event: part\ndata: 2\n\nevent: row\ndata: z\n\n"
        );
        let turned = shown(&[], &[("r2", "z"), ("r3", "w")]);
        assert_eq!(sent.news(&turned), "event: row\ndata: w\n\nevent: order\ndata: r2 r3 \n\n");
        assert_eq!(sent.news(&shown(&[], &[])), "event: order\ndata:  \n\n");
    }
}
