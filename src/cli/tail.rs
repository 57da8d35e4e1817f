//! `overnight tail`: each event as a line as it is kept, beside a recorder.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};

use crate::base::text::{clean, printable};
use crate::base::time::{self, Micros};
use crate::model::event::Source;
use crate::model::schema::Rebuild;
use crate::output::export::seen;
use crate::query::coverage::Timeline;
use crate::query::follow::{Follow, Fresh, From, Polled};
use crate::query::reader::Reader;
use crate::query::tables::words;
use crate::store::devices::Directory;
use crate::watch::head::{Head, State};

use super::clock::{Clock, Tz};
use super::select::Which;
use super::signal::on_stop;
use super::{Failure, Outcome, Recording};

/// How often to look for what has come. A look where nothing has costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often to look whether anybody records, and what devices are called.
const STATE_EVERY: Duration = Duration::from_secs(5);
/// Columns of a device's name; a longer one moves what stands behind it.
const NAME: usize = 24;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  overnight tail                                            the last ten events, and each one as it is kept
  overnight tail --event-type temperature --label room=101
  overnight tail -n 0 --json | jq -c .data                  for programs: events as they were received
  overnight tail -n 100 --no-follow                         the last hundred, and no more
Ctrl-C ends it. It reads, and writes nothing: start and stop it beside a recorder as you like.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Begin with the last so many events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    lines: u32,
    /// Go on with what comes, until Ctrl-C; that is usual
    #[arg(short, long, overrides_with = "no_follow")]
    follow: bool,
    /// End behind the last ones
    #[arg(long)]
    no_follow: bool,
    /// Events as they were received, one JSON object a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Which events")]
    which: Which,
    #[command(flatten)]
    tz: Tz,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let (layout, registry) = (args.recording.layout(), args.recording.registry()?);
    args.recording.refuse_types(args.which.event_types(), &registry)?;
    let reader = Reader::open(&layout, Arc::clone(&registry))?.lenient();
    let selection = args.which.selection(&reader, &Directory::new(&reader.devices()?), (None, None))?;
    drop(reader);
    let from = From::Last(args.lines.try_into().unwrap_or(usize::MAX));
    let follow = Follow::open(&layout, registry, selection, from, time::now())?;
    let (stop, stopped) = channel();
    // Without the thread, a signal ends this process as it would any other.
    on_stop(false, move |_| stop.send(()).unwrap_or_default()).unwrap_or_default();
    Tail { follow, directory: Directory::default(), clock: args.tz.stdout(), json: args.json, said: None }
        .run(!args.no_follow, &stopped)
}

/// What is followed, and how it is shown.
struct Tail {
    follow: Follow,
    directory: Directory,
    clock: Clock,
    json: bool,
    /// How the recording was when it was last told.
    said: Option<State>,
}

impl Tail {
    fn run(mut self, follows: bool, stopped: &Receiver<()>) -> Result<Outcome, Failure> {
        let (mut looked, mut trouble): (Option<Instant>, Option<String>) = (None, None);
        loop {
            let is_due = looked.is_none_or(|looked| looked.elapsed() >= STATE_EVERY);
            let mut state = Ok(());
            if is_due {
                looked = Some(time::instant());
                state = self.look(follows);
            }
            let polled = match state.and_then(|()| Ok(self.follow.poll()?)) {
                Ok(polled) => {
                    trouble = trouble.filter(|_| !is_due);
                    polled
                }
                // It may pass, as a disk that is away does; it is said once.
                Err(failure) if follows => {
                    let why = failure.message();
                    if trouble.as_ref() != Some(&why) {
                        warn!("{why}");
                    }
                    trouble = Some(why);
                    Polled::default()
                }
                Err(failure) => return Err(failure),
            };
            for what in self.follow.take_trouble() {
                warn!("left out: {what}");
            }
            self.show(&polled.fresh)?;
            if polled.more {
                continue;
            }
            if !follows || stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return Ok(Outcome::Done);
            }
        }
    }

    /// Looks what devices are called, and says where the recording is another than it was.
    fn look(&mut self, tells: bool) -> Result<(), Failure> {
        let Some(view) = self.follow.view() else { return Ok(()) };
        self.directory = Directory::new(&view.devices()?);
        if !tells {
            return Ok(());
        }
        let now = time::now();
        let heads: Vec<Head> = view
            .at_one_moment(|| Timeline::read(view, None, now))?
            .projects
            .iter()
            .map(|project| Head::of(project, false))
            .collect();
        let head = Head::worst(&heads);
        // An import has no sessions: somebody writes all the same.
        let state = if head.state == State::Finished && view.has_writer() { State::Recording } else { head.state };
        if self.said != Some(state) && (self.said.is_some() || state != State::Recording) {
            let since = head.since.map_or_else(String::new, |since| format!(" since {}", self.clock.named(since)));
            let why = head.why.map_or_else(String::new, |why| format!(": {}", printable(&why, 200)));
            let said = match state {
                State::Recording => "recording again".to_owned(),
                _ => format!("{}{since}{why}; what comes is shown, Ctrl-C ends", state.word().to_lowercase()),
            };
            if state >= State::NotConnected { warn!("{said}") } else { tell!("{said}") }
        }
        self.said = Some(state);
        Ok(())
    }

    fn show(&self, fresh: &[Fresh]) -> Result<(), Failure> {
        let mut lines: Vec<(Micros, Vec<u8>)> = Vec::new();
        for Fresh { schema, rows } in fresh {
            // With units.
            let events = seen(&schema.name, &RecordBatch::try_new(schema.described(), rows.columns().to_vec())?);
            if self.json {
                let rebuild = Rebuild::new(schema, rows)?;
                for (row, event) in events.iter().enumerate() {
                    let mut line = Vec::new();
                    rebuild.write(row, &mut line);
                    lines.push((event.time, line));
                }
                continue;
            }
            let sources = rows.column_by_name("source").and_then(|column| column.as_string_opt::<i32>());
            for (row, event) in events.into_iter().enumerate() {
                let is_late = sources.is_some_and(|sources| sources.value(row) == Source::History.name());
                let late = if is_late { "  (from history)" } else { "" };
                let name = printable(self.directory.name(&event.device), 60);
                let (time, of) = (self.clock.second(event.time), printable(&words(&event.of), 60));
                let line = format!("{time}  {name:<NAME$}  {} {}{late}", of, event.values);
                lines.push((event.time, clean(line.trim_end()).into_bytes()));
            }
        }
        // What comes together is in the order of time; commits are in the order of keeping.
        lines.sort_by_key(|(time, _)| *time);
        let mut out = io::stdout().lock();
        let mut write = || -> io::Result<()> {
            let all: Vec<u8> = lines.iter().flat_map(|(_, line)| line.iter().copied().chain([b'\n'])).collect();
            out.write_all(&all)?;
            out.flush()
        };
        match write() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::EndOfOutput),
            written => Ok(written?),
        }
    }
}
