//! Ingest: keeps a stream open and its events flowing into the buffer.
//!
//! [`machine`] decides and knows no I/O: what the end of a session means, when to connect again, when to give up. `session`
//! is one session between its stream and the writer, with its `pulse`: when it was heard, when it is over. [`run`] is the thin
//! async shell around them.

pub mod machine;
pub(crate) mod pulse;
pub(crate) mod session;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::base::time::{self, Micros, Moment, SECOND};
use crate::cloud::client::{CLOCK_OFF, Cloud, CloudFailure, Stream};
use crate::model::framing::Frames;
use crate::store::buffer::{Change, Run};
use crate::store::writer::{Command, Phase, WriterHandle, shutdown_requested};

use machine::{Act, End, Input, Machine, STOPPED};
use session::Session;

pub use machine::{IngestError, Plan};

/// What bytes cost in memory is looked at behind so many of them.
const PIECE: usize = 64 * 1024;
/// How often to look at clocks.
const TICK: Duration = Duration::from_millis(50);
/// While bytes come without a pause, clocks are looked at after so many pieces.
const LOOK_CHUNKS: u32 = 128;
/// Who is asked to leave reads what lies there for at most so long.
const LEAVES_WITHIN: Duration = Duration::from_millis(250);
/// First signs of life that nobody has looked at yet: of a few sessions at once.
const NEWS: usize = 16;

/// A session's first sign of life.
type News = (u64, Moment);
type Opening = Pin<Box<dyn Future<Output = Result<Stream, CloudFailure>> + Send>>;

/// Everything that the acts of a machine are carried out with.
struct Shell {
    plan: Plan,
    cloud: Arc<Cloud>,
    writer: WriterHandle,
    opening: Option<Opening>,
    running: JoinSet<Input>,
    /// Sessions, and where they are told to leave, and why.
    live: HashMap<u64, watch::Sender<Option<&'static str>>>,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    told_clock: bool,
    /// The run of which the ledger knows how far the cloud's clock is from its own.
    told_run: Option<u64>,
    gaps: Arc<Notify>,
}

/// Records one project until told to stop, or until the policy gives up. `gaps` is told whenever a gap has ended.
///
/// # Errors
/// When the stream ended for good and not because it was asked to.
pub async fn run(
    plan: Plan,
    cloud: Arc<Cloud>,
    writer: WriterHandle,
    gaps: Arc<Notify>,
    mut stop: watch::Receiver<Phase>,
) -> Result<(), IngestError> {
    let (mut machine, acts) = Machine::start(plan.clone(), Arc::clone(&writer.numbers), fastrand::Rng::new(), time::moment());
    let (live, running) = (HashMap::new(), JoinSet::new());
    let mut shell = Shell {
        plan,
        cloud,
        writer,
        opening: None,
        running,
        live,
        news: mpsc::channel(NEWS),
        told_clock: false,
        told_run: None,
        gaps,
    };
    let mut finished = shell.carry_out(acts).await;
    let mut stopping = false;
    while finished.is_none() {
        let input = tokio::select! {
            // What a session says last comes before its end.
            biased;
            phase = shutdown_requested(&mut stop), if !stopping => {
                stopping = true;
                Input::Stop(phase)
            }
            Some((session, at)) = shell.news.1.recv() => Input::Spoke { session, at },
            Some(ended) = shell.running.join_next() => shell.ended(ended),
            opened = maybe(shell.opening.as_mut()) => {
                shell.opening = None;
                shell.tell_clock(machine.run()).await;
                match opened {
                    Ok(stream) => shell.start(stream, machine.run()),
                    Err(failure) => Input::NotOpened(failure),
                }
            }
            () = until(machine.wake_at()) => Input::Time,
        };
        let acts = machine.on(input, time::moment());
        finished = shell.carry_out(acts).await;
    }
    finished.unwrap_or(Ok(()))
}

impl Shell {
    /// Carries out what the machine decided; gives how it all ended, once that is so.
    async fn carry_out(&mut self, acts: Vec<Act>) -> Option<Result<(), IngestError>> {
        let mut finished = None;
        for act in acts {
            match act {
                Act::Open { renew } => self.open(renew),
                Act::DoNotOpen => self.opening = None,
                Act::Leave(session, why) => {
                    if let Some(stop) = self.live.get(&session) {
                        stop.send_replace(Some(why));
                    }
                }
                Act::Note(change) => self.writer.send(Command::Note(change)).await,
                Act::Say(text) => self.writer.meter.note(time::now(), text),
                Act::Connected(since) => self.writer.meter.connected(&self.plan.project, since),
                Act::GapEnded => self.gaps.notify_one(),
                Act::Finish(result) => finished = Some(result),
            }
        }
        finished
    }

    fn open(&mut self, renew: bool) {
        let (plan, cloud) = (self.plan.clone(), Arc::clone(&self.cloud));
        self.opening = Some(Box::pin(async move {
            if renew {
                cloud.renew().await;
            }
            cloud.open(&plan.project, &plan.filters, plan.accept, plan.ping).await
        }));
    }

    /// Notes how far the cloud's clock is from ours, and says once that ours is off.
    async fn tell_clock(&mut self, run: Arc<Run>) {
        let Some(ahead) = self.cloud.clock_ahead() else { return };
        if self.told_run.replace(run.number) != Some(run.number) {
            self.writer.send(Command::Note(Change::CloudAhead(run, ahead.saturating_mul(SECOND)))).await;
        }
        let ahead = Some(ahead).filter(|ahead| ahead.abs() > CLOCK_OFF);
        if let Some(ahead) = ahead.filter(|_| !std::mem::replace(&mut self.told_clock, true)) {
            let (seconds, which) = (ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
            let text =
                format!("this machine's clock is {seconds} s {which} the cloud's; set it: `received_at` and gaps go by it");
            self.writer.meter.note(time::now(), text);
        }
    }

    fn start(&mut self, mut stream: Stream, run: Arc<Run>) -> Input {
        let number = self.writer.meter.sessions.fetch_add(1, Ordering::Relaxed);
        let (stop, stopped) = watch::channel(None);
        let dies = stream.dies.map(|dies| dies.saturating_duration_since(time::instant()));
        self.live.insert(number, stop);
        let said = (std::mem::replace(&mut stream.frames, Frames::lines()), std::mem::take(&mut stream.mask));
        let (writer, news) = (self.writer.clone(), self.news.0.clone());
        let known = (Arc::clone(&writer.registry), Arc::clone(&writer.meter));
        let session = Session::new(run, number, (self.plan.ping, self.plan.keep_every), said, known, time::moment());
        self.running.spawn(run_session(session, number, stream, writer, news, stopped));
        Input::Opened { session: number, dies }
    }

    fn ended(&mut self, ended: Result<Input, tokio::task::JoinError>) -> Input {
        let ended = ended.unwrap_or_else(|error| {
            // One that died of a fault of the program ended without a word: it is the one that nobody hears any more.
            let session = self.live.iter().find(|(_, stop)| stop.is_closed()).map_or(u64::MAX, |(session, _)| *session);
            Input::Ended { session, end: End::Lost(error.to_string()), lived: Duration::ZERO, heard: None }
        });
        if let Input::Ended { session, .. } = &ended {
            self.live.remove(session);
        }
        ended
    }
}

/// Resolves when there is something to wait for and it is there.
async fn maybe<T>(future: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Until a time of the steady clock.
async fn until(at: Option<Micros>) {
    match at {
        Some(at) => tokio::time::sleep(time::duration(at - time::moment().steady)).await,
        None => std::future::pending().await,
    }
}

/// One session, from its opening to its end. What it brought has been handed to the writer when this returns.
async fn run_session(
    mut session: Session,
    number: u64,
    mut stream: Stream,
    writer: WriterHandle,
    news: mpsc::Sender<News>,
    stop: watch::Receiver<Option<&'static str>>,
) -> Input {
    let mut orders = Vec::new();
    let end = listen(&mut session, number, &mut stream, &writer, &news, &stop, &mut orders).await;
    let ended = session.end(end, time::moment(), &mut orders);
    writer.send_all(&mut orders).await;
    ended
}

/// Reads a stream until it ends.
async fn listen(
    session: &mut Session,
    number: u64,
    stream: &mut Stream,
    writer: &WriterHandle,
    news: &mpsc::Sender<News>,
    stop: &watch::Receiver<Option<&'static str>>,
    orders: &mut Vec<Command>,
) -> End {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut chunks, mut looks, mut leaves_at) = (0_u32, false, None);
    loop {
        // The stream first: while it has bytes, nothing else is polled, only looked at now and then.
        tokio::select! {
            biased;
            bytes = stream.next() => {
                let bytes = match bytes {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => {
                        session.finish(time::moment());
                        return End::Over("the cloud ended the session".to_owned());
                    }
                    Err(failure) => return End::Failed(failure),
                };
                let now = time::moment();
                for piece in bytes.chunks(PIECE) {
                    if let Err(end) = session.take(piece, now, orders) {
                        return end;
                    }
                    writer.send_all(orders).await;
                }
                match session.taken(now, orders) {
                    // Its sign of life goes first: whoever hears of it finds it in the ledger.
                    Ok(Some(at)) => {
                        writer.send_all(orders).await;
                        if news.send((number, at)).await.is_err() {
                            return End::Left(STOPPED);
                        }
                    }
                    Ok(None) => {}
                    Err(end) => return end,
                }
                chunks = chunks.wrapping_add(1);
                if !chunks.is_multiple_of(LOOK_CHUNKS) {
                    continue;
                }
            }
            // The task that reads the socket holds what it has read until it has a turn, so only what is still silent behind one
            // was read empty.
            () = tokio::task::yield_now(), if looks => {
                looks = false;
                let now = time::moment();
                if let Err(end) = session.quiet(now) {
                    return end;
                }
                if let (Some(_), Some(why)) = (leaves_at, *stop.borrow()) {
                    // What may still be on its way is missing.
                    return if session.is_behind(now) { End::StoodStill } else { End::Left(why) };
                }
            }
            _ = tick.tick(), if !looks => looks = true,
        }
        let now = time::instant();
        if stop.borrow().is_some() {
            looks = true;
            if now > *leaves_at.get_or_insert(now + LEAVES_WITHIN) {
                return End::StoodStill;
            }
        }
        if let Err(end) = session.look(time::moment(), orders) {
            return end;
        }
        writer.send_all(orders).await;
    }
}
