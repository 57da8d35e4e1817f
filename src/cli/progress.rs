//! Progress: bars for work with an end, live lines for a recorder. On a terminal only; elsewhere plain lines.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::base::text::{self, printable};
use crate::base::time::{self, Micros};
use crate::store::meter::Meter;

use super::clock::Clock;
use super::messages::{self, Level};
use super::{screen, show};

/// How often live lines are drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Columns below which live lines have no names.
const NARROW: usize = 60;
/// How often a recorder speaks where there is no terminal.
const SPEAK_EVERY: Duration = Duration::from_mins(1);

/// A bar over bytes or events; drawn on a terminal only.
pub(super) fn bar(length: Option<u64>, of_bytes: bool) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::no_length(),
    };
    if !messages::is_for_people() {
        return hidden();
    }
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    let template = match (length.is_some(), of_bytes) {
        (true, true) => "{spinner} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        (true, false) => "{spinner} {wide_bar} {human_pos}/{human_len} events  {rate}  {eta} left",
        (false, true) => "{spinner} {bytes}  {bytes_per_sec}",
        (false, false) => "{spinner} {human_pos} events  {rate}",
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        write!(out, "{}/s", text::count(state.per_sec() as u64)).unwrap_or_default();
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    // It moves from the beginning, also while nothing is counted yet.
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// A bar that nobody sees: where rows go to the same terminal.
pub(super) fn hidden() -> ProgressBar {
    ProgressBar::hidden()
}

/// Shows a running recorder until it is dropped.
pub(super) struct Live {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Begins to show what the meter says, with times of a clock.
    pub(super) fn start(meter: Arc<Meter>, clock: Clock) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let run = move || {
            if messages::is_watched() { lines(&meter, &clock, &stopping) } else { log(&meter, &clock, &stopping) }
        };
        // Without the thread the recorder still records, only in silence.
        let thread = std::thread::Builder::new().name("show".to_owned()).spawn(run).ok();
        Self { stop, thread }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

fn lines(meter: &Meter, clock: &Clock, stop: &AtomicBool) {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    let style = ProgressStyle::with_template("{msg}").ok();
    let names = ["connection", "events", "by type", "buffer", "last event"];
    let bars: Vec<ProgressBar> = names
        .iter()
        .map(|_| {
            let bar = all.add(ProgressBar::new_spinner());
            if let Some(style) = &style {
                bar.set_style(style.clone());
            }
            bar
        })
        .collect();
    let begun = time::instant();
    let mut rate = Rate::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(DRAW_EVERY);
        for (at, note) in meter.take_notes() {
            drop(all.println(text::clean(&format!("{}  {note}", clock.second(at)))));
        }
        let values = values(meter, &|at| clock.second(at), begun.elapsed(), &mut rate);
        for ((bar, name), value) in bars.iter().zip(names).zip(values) {
            let width = console::Term::stderr().size_checked().map_or(screen::USUAL, |(_, width)| width.into());
            // In a narrow one only the last line needs its name to be understood.
            let line = match (width < NARROW, name) {
                (false, _) => format!("{name:<12}{value}"),
                (true, "last event") => format!("{name} {value}"),
                (true, _) => value,
            };
            bar.set_message(screen::cut(&text::clean(&line), width));
        }
    }
    all.clear().unwrap_or_default();
    for (at, note) in meter.take_notes() {
        messages::tell_at(at, &format!("{}  ", clock.second(at)), Level::Note, note);
    }
}

fn log(meter: &Meter, clock: &Clock, stop: &AtomicBool) {
    let begun = time::instant();
    let mut spoke = begun;
    let mut rate = Rate::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        for (at, note) in meter.take_notes() {
            messages::tell_at(at, &format!("{}  ", clock.stamp(at)), Level::Note, note);
        }
        if spoke.elapsed() >= SPEAK_EVERY {
            spoke = time::instant();
            let [connection, events, _, buffer, last] = values(meter, &|at| clock.named(at), begun.elapsed(), &mut rate);
            let (now, line) = (time::now(), format!("{connection}; {events}; {buffer}; last event {last}"));
            messages::tell_at(now, &format!("{}  ", clock.stamp(now)), Level::Info, line);
        }
        if stopping {
            return;
        }
        std::thread::park_timeout(DRAW_EVERY);
    }
}

fn values(meter: &Meter, shown: &dyn Fn(Micros) -> String, running: Duration, rate: &mut Rate) -> [String; 5] {
    let parts = meter.parts();
    let now = time::now();
    let up: Vec<Micros> = parts.connected.values().filter_map(|since| *since).collect();
    let connection = match (up.iter().min(), parts.connected.len()) {
        (None, 0) => "not yet".to_owned(),
        (None, _) => "none; trying".to_owned(),
        (Some(since), projects) => {
            let of = if projects > 1 { format!("{} of {projects} projects ", up.len()) } else { String::new() };
            format!("{of}connected since {}", shown(*since))
        }
    };
    let connection = match (parts.listening, parts.connected.is_empty()) {
        (None, _) => connection,
        (Some(url), true) => pushes(meter, &url),
        (Some(url), false) => format!("{connection}; {}", pushes(meter, &url)),
    };
    let connection = if meter.pressure.full.load(Ordering::Relaxed) {
        format!("THE DISK IS FULL, waiting for room; {connection}")
    } else {
        connection
    };
    let kept = Meter::get(&meter.kept);
    let faults = Meter::get(&meter.faults);
    let faults = if faults > 0 { format!(", {}", text::counted(faults, "fault")) } else { String::new() };
    let events = format!("{} kept, {:.1}/s, in {}{faults}", text::count(kept), rate.of(kept), elapsed(running));
    let mut types: Vec<_> = parts.by_type.into_iter().collect();
    types.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = types.len().saturating_sub(4);
    let mut by_type: Vec<String> =
        types.iter().take(4).map(|(name, count)| format!("{} {}", printable(name, 40), text::count(*count))).collect();
    if more > 0 {
        by_type.push(format!("{more} more"));
    }
    let rolled = meter.last_roll.load(Ordering::Relaxed);
    let rolled = if rolled == 0 { "not rolled yet".to_owned() } else { format!("rolled {}", show::ago(rolled, now)) };
    let buffered = u64::try_from(meter.pressure.buffered.load(Ordering::Relaxed)).unwrap_or_default();
    let last = parts.last_event.map_or_else(|| "none yet".to_owned(), shown);
    let filling = parts.backfill.map_or_else(String::new, |(done, all)| format!("; filling a gap, {done} of {all} devices"));
    [connection + &filling, events, by_type.join(", "), format!("{} buffered, {rolled}", text::count(buffered)), last]
}

fn pushes(meter: &Meter, url: &str) -> String {
    let refused = Meter::get(&meter.refused);
    let refused = if refused > 0 { format!(", {} refused", text::count(refused)) } else { String::new() };
    format!("listening on {url}, {}{refused}", text::counted(Meter::get(&meter.pushes), "push"))
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Events a second over the last few seconds.
struct Rate {
    marks: std::collections::VecDeque<(std::time::Instant, u64)>,
}

impl Rate {
    fn new() -> Self {
        Self { marks: std::collections::VecDeque::new() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn of(&mut self, count: u64) -> f64 {
        let now = time::instant();
        self.marks.push_back((now, count));
        while self.marks.len() > 2 && self.marks.front().is_some_and(|(at, _)| now - *at > Duration::from_secs(5)) {
            self.marks.pop_front();
        }
        let (first, before) = self.marks.front().copied().unwrap_or((now, count));
        let seconds = (now - first).as_secs_f64();
        if seconds > 0.1 { (count - before) as f64 / seconds } else { 0.0 }
    }
}
