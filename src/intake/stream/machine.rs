//! What the end of a session means, when to connect again, when to rotate, what is said in the ledger. No I/O: inputs and both
//! clocks come in, acts go out, so that tests drive the very thing. One machine, so one file: each input, and what it means in each state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::backoff::Backoff;
use crate::base::disk::fault;
use crate::base::time::{self, Micros, Moment, SECOND, STEP};
use crate::cloud::client::{Accept, CloudFailure};
use crate::model::event::{CloudError, Source};
use crate::model::settings::Filters;
use crate::store::buffer::{Change, Heard, Run};
use crate::store::writer::{Numbers, Phase};

/// A ping may be so late.
pub(crate) const PING_JITTER: Duration = Duration::from_secs(2);
/// A session that lived shorter does not count as a success: a server that accepts and closes must not make a busy loop.
const LIVED: Duration = Duration::from_secs(10);
/// How long a session stays after the next one has spoken. Events come in any order: one that the cloud had before the next
/// session opened may still be on its way to the older one, and to nobody else.
const OVERLAP: Duration = Duration::from_secs(5);
/// A session is replaced so long before its token dies, and is given at least so long to live.
const MARGIN: Duration = Duration::from_mins(1);
const ROTATE_LEAST: Duration = Duration::from_secs(30);
/// A rotation that failed is tried again after this time.
const ROTATE_AGAIN: Duration = Duration::from_mins(1);
/// First and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// A session's sign of life is noted this often in a commit of events, where it costs two pages more.
pub(crate) const NOTE_WITH: Micros = 10 * SECOND;
/// And this often where nothing else is committed: then it costs a commit.
pub(crate) const NOTE_ALONE: Micros = 30 * SECOND;
/// A session that nobody noted for so long, beside a ping, is none: a sign of life that comes alone is written every 30 seconds.
const UNNOTED: Micros = NOTE_ALONE + 15 * SECOND;
/// A session whose ping is overdue by this at the end may have died already.
const OVERDUE: Duration = Duration::from_millis(250);

/// A session with such a ping counts as one that hears for so long after its last sign of life.
pub(crate) fn quiet(ping: Duration) -> Micros {
    time::micros(ping + PING_JITTER) + UNNOTED
}

/// Why a session is asked to leave: the recorder ends, or a younger one has spoken.
pub(crate) const STOPPED: &str = "the recorder stopped";
const RELIEVED: &str = "the next session had taken over";

/// What to record of one project.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// In which format.
    pub accept: Accept,
    /// How often the cloud should ping.
    pub ping: Duration,
    /// Give up after so many failures in a row; 0: stop when the first session ends; none: never.
    pub retries_max: Option<u32>,
    /// How long what comes may wait for a commit, which brings more then; many or large events do not wait.
    pub keep_every: Duration,
    /// The next session opens when one has run so long.
    pub rotate_after: Duration,
    /// How long to record; none: until somebody ends it.
    pub lasts: Option<Duration>,
    /// Who asks, so that the ledger knows it again.
    pub account: String,
    /// The project was heard before by who asks: a refusal is an outage.
    pub was_heard: bool,
}

/// Why a stream ended for good.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The cloud does not know the credentials.
    #[error(
        "the cloud does not accept the credentials ({0}). Check key id, secret and e-mail; Basic auth (no e-mail) has to be enabled on the service account"
    )]
    Credentials(String),
    /// The account may not read the project.
    #[error(
        "no permission to read project {project:?} ({error}). Give the service account a role in the project, Project User at least"
    )]
    Forbidden {
        /// The project.
        project: String,
        /// The cloud's words.
        error: String,
    },
    /// There is no such project.
    #[error(
        "the cloud knows no project {project:?} ({error}). Check --project: it is the id in the Studio's address, not the name"
    )]
    NoProject {
        /// The project.
        project: String,
        /// The cloud's words.
        error: String,
    },
    /// The cloud does not understand the request.
    #[error("the cloud refuses the request ({0}). Check the filters")]
    Request(String),
    /// Too many failures in a row.
    #[error("gave up after {tries} failures in a row; the last: {last}")]
    GaveUp {
        /// How many.
        tries: u32,
        /// The last one.
        last: String,
    },
}

impl IngestError {
    /// What a status means by which the cloud refuses whoever asks, or the project; none: something else, as a filter.
    pub fn refused(status: Option<u16>, is_sign_in: bool, project: &str, text: &str) -> Option<Self> {
        let (project, error) = (project.to_owned(), text.to_owned());
        match status {
            Some(400) if is_sign_in => Some(Self::Credentials(error)),
            Some(401) => Some(Self::Credentials(error)),
            Some(403) => Some(Self::Forbidden { project, error }),
            Some(404) => Some(Self::NoProject { project, error }),
            _ => None,
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The server closed, or said that its time was up. Normal work, once an hour.
    Over(String),
    /// No sign of life for too long.
    Silent,
    /// This process did not run, or waited for the disk, for longer than a server waits for a reader: whatever the server
    /// dropped meanwhile is missing, though the connection may still stand.
    StoodStill,
    /// Somebody set this machine's clock, by so much: what was heard and what will be heard are told by different clocks.
    ClockStep(Micros),
    /// What came could not be made into a batch.
    Lost(String),
    /// The connection broke, or the stream could not be opened.
    Failed(CloudFailure),
    /// The cloud ended the stream with an error.
    Error(CloudError),
    /// It was asked to leave, for this reason.
    Left(&'static str),
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A stream has opened, as the session with this number; what it was opened with dies after so long.
    Opened {
        /// Number of the session.
        session: u64,
        /// How long its token lives; none for ever.
        dies: Option<Duration>,
    },
    /// The stream that was to open did not.
    NotOpened(CloudFailure),
    /// A session gave its first sign of life.
    Spoke {
        /// Number of the session.
        session: u64,
        /// When.
        at: Moment,
    },
    /// A session is over, and all that it brought is handed to the writer.
    Ended {
        /// Number of the session.
        session: u64,
        /// How.
        end: End,
        /// How long it lived.
        lived: Duration,
        /// What it noted last, and its last sign of life; none when it was never heard.
        heard: Option<(Heard, Moment)>,
    },
    /// It is time for something; see [`Machine::wake_at`].
    Time,
    /// Time to stop.
    Stop(Phase),
}

/// Something to do.
#[derive(Debug)]
pub enum Act {
    /// Open a stream; with a new token, if so.
    Open {
        /// Sign in anew.
        renew: bool,
    },
    /// No stream is to open any more.
    DoNotOpen,
    /// Ask a session to leave, for this reason.
    Leave(u64, &'static str),
    /// Note this in the ledger.
    Note(Change),
    /// Tell people.
    Say(String),
    /// Since when the project is connected; none while it is not.
    Connected(Option<Micros>),
    /// A gap may have ended: there may be something to fill.
    GapEnded,
    /// All is said.
    Finish(Result<(), IngestError>),
}

/// A session that runs.
#[derive(Debug)]
struct Live {
    session: u64,
    rotate_at: Micros,
    spoke: bool,
    /// When it goes, once a younger one has spoken.
    leaves_at: Option<Micros>,
}

/// Keeps one project covered.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    numbers: Arc<Numbers>,
    rng: fastrand::Rng,
    run: Arc<Run>,
    /// Before the run was to begin, when its clock was looked at last.
    anchor: Moment,
    /// By the steady clock.
    ends_at: Option<Micros>,
    backoff: Backoff,
    /// A new token was tried, and nothing was heard since.
    renewed: bool,
    live: Vec<Live>,
    is_opening: bool,
    retry_at: Option<Micros>,
    /// Last sign of life of any session; before the first one, the start.
    last_sign: Moment,
    covered: bool,
    /// What the session said last that ended last.
    last_heard: Option<Heard>,
    /// Why nothing connects, as it was noted.
    said: Option<String>,
    stopping: Option<Phase>,
}

impl Machine {
    /// A project that is to be recorded from now on, and what is to be done first.
    pub fn start(plan: Plan, numbers: Arc<Numbers>, rng: fastrand::Rng, now: Moment) -> (Self, Vec<Act>) {
        let ends_at = plan.lasts.map(|lasts| now.steady.saturating_add(time::micros(lasts)));
        let run = begin(&plan, &numbers, ends_at, now.wall, now);
        let machine = Self {
            rng,
            anchor: now,
            ends_at,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            renewed: false,
            live: Vec::new(),
            is_opening: true,
            retry_at: None,
            last_sign: now,
            covered: false,
            last_heard: None,
            said: None,
            stopping: None,
            run: Arc::clone(&run),
            numbers,
            plan,
        };
        let acts = vec![Act::Connected(None), Act::Note(Change::Begins(run)), Act::Open { renew: false }];
        (machine, acts)
    }

    /// The run that sessions belong to which open now.
    pub fn run(&self) -> Arc<Run> {
        Arc::clone(&self.run)
    }

    /// When it wants to hear that it is time, by the steady clock.
    pub fn wake_at(&self) -> Option<Micros> {
        let rotation = self.live.first().filter(|live| self.may_rotate(live)).map(|live| live.rotate_at);
        let leaving = self.live.iter().filter_map(|live| live.leaves_at).min();
        [rotation, leaving, self.retry_at].into_iter().flatten().min()
    }

    fn may_rotate(&self, live: &Live) -> bool {
        let alone = !self.is_opening && self.retry_at.is_none() && self.live.len() == 1;
        alone && live.spoke && self.plan.retries_max != Some(0) && self.stopping.is_none()
    }

    /// What follows from something that happened.
    pub fn on(&mut self, input: Input, now: Moment) -> Vec<Act> {
        let mut acts = self.look_at_clock(now);
        match input {
            Input::Opened { session, dies } => self.opened(session, dies, now, &mut acts),
            Input::NotOpened(failure) => {
                self.is_opening = false;
                match self.live.is_empty() {
                    _ if self.stopping.is_some() => {}
                    true => self.failed(&End::Failed(failure), Duration::ZERO, now, &mut acts),
                    false => self.not_rotated(&failure, now, &mut acts),
                }
            }
            Input::Spoke { session, at } => self.spoke(session, at, now, &mut acts),
            Input::Ended { session, end, lived, heard } => {
                if let Some((heard, at)) = heard {
                    if at.steady >= self.last_sign.steady && heard.run == self.run {
                        self.last_sign = at;
                    }
                    self.last_heard = Some(heard);
                    // One that had gone silent before the next one spoke leaves a gap, though none of both noticed.
                    acts.push(Act::GapEnded);
                    if fault::leaves_out("a run outlives its sessions") {
                        acts.push(Act::Note(Change::Ends(self.run(), self.last_sign.wall)));
                    }
                }
                if !self.is_replaced(session) && self.stopping.is_none() {
                    if self.live.is_empty() && !self.is_opening {
                        self.failed(&end, lived, now, &mut acts);
                    } else {
                        // The next session is on its way.
                        self.uncovered(&mut acts);
                    }
                } else if self.live.is_empty() && !matches!(end, End::Left(_)) {
                    self.uncovered(&mut acts);
                }
            }
            Input::Time => self.time(now, &mut acts),
            Input::Stop(phase) => {
                self.stopping = Some(phase);
                acts.push(Act::DoNotOpen);
                self.is_opening = false;
                self.retry_at = None;
                acts.extend(self.live.iter().map(|live| Act::Leave(live.session, STOPPED)));
            }
        }
        if let Some(phase) = self.stopping
            && self.live.is_empty()
            && !acts.iter().any(|act| matches!(act, Act::Finish(_)))
        {
            self.leave(phase, now, &mut acts);
        }
        acts
    }

    /// Somebody set the clock: what is wanted goes on by the new one, from the last sign of life on, whatever that shows.
    fn look_at_clock(&mut self, now: Moment) -> Vec<Act> {
        let step = now.step_since(self.anchor);
        if step.abs() <= STEP || fault::leaves_out("a run goes on by the new clock") {
            return Vec::new();
        }
        self.anchor = now;
        let begins = now.wall - (now.steady - self.last_sign.steady);
        let old = std::mem::replace(&mut self.run, begin(&self.plan, &self.numbers, self.ends_at, begins, now));
        let mut acts = vec![
            Act::Say(format!("{}: {}; sessions begin anew", self.plan.project, stepped(step))),
            Act::Note(Change::Begins(self.run())),
            Act::Note(Change::Ends(old, self.last_sign.wall)),
            Act::Note(Change::Said(self.run(), stepped(step))),
        ];
        self.last_sign.wall = begins;
        // What lives was opened by the old clock, and notices by itself.
        if self.covered {
            self.uncovered(&mut acts);
        }
        acts
    }

    fn opened(&mut self, session: u64, dies: Option<Duration>, now: Moment, acts: &mut Vec<Act>) {
        self.is_opening = false;
        self.anchor = now;
        // The life of a stream may hang on its token's; but a short one must not make it open one session after the other.
        let latest = self.plan.rotate_after;
        let least = ROTATE_LEAST.min(latest);
        let by_token = dies.map_or(latest, |dies| dies.saturating_sub(MARGIN));
        let rotate_at = now.steady.saturating_add(time::micros(by_token.clamp(least, latest)));
        self.live.push(Live { session, rotate_at, spoke: false, leaves_at: None });
        if self.stopping.is_some() {
            acts.push(Act::Leave(session, STOPPED));
        }
    }

    /// A session gave its first sign of life: the project is covered, and older sessions may go, after what is on its way to them
    /// out of order.
    fn spoke(&mut self, session: u64, at: Moment, now: Moment, acts: &mut Vec<Act>) {
        self.renewed = false;
        self.plan.was_heard = true;
        let Some(place) = self.live.iter().position(|live| live.session == session) else { return };
        self.live[place].spoke = true;
        let leaves_at = now.steady + time::micros(OVERLAP.min(self.plan.rotate_after / 2));
        for older in &mut self.live[..place] {
            older.leaves_at.get_or_insert(leaves_at);
        }
        if at.steady > self.last_sign.steady {
            self.last_sign = at;
        }
        if !std::mem::replace(&mut self.covered, true) {
            self.said = None;
            acts.push(Act::Connected(Some(at.wall)));
            acts.push(Act::Say(format!("{}: connected", self.plan.project)));
        }
        acts.push(Act::GapEnded);
    }

    /// A session is over; true when another one had taken its place.
    fn is_replaced(&mut self, session: u64) -> bool {
        self.live.retain(|live| live.session != session);
        // Whoever was about to leave stays when the one that was to take its place is gone.
        if self.live.iter().all(|live| live.leaves_at.is_some())
            && let Some(last) = self.live.last_mut()
        {
            last.leaves_at = None;
        }
        self.live.iter().any(|live| live.spoke)
    }

    fn time(&mut self, now: Moment, acts: &mut Vec<Act>) {
        for live in self.live.iter_mut().filter(|live| live.leaves_at.is_some_and(|at| at <= now.steady)) {
            live.leaves_at = None;
            acts.push(Act::Leave(live.session, RELIEVED));
        }
        if self.retry_at.is_some_and(|at| at <= now.steady) {
            self.retry_at = None;
            self.is_opening = true;
            acts.push(Act::Open { renew: false });
        }
        if self.live.first().is_some_and(|live| self.may_rotate(live) && live.rotate_at <= now.steady) {
            self.is_opening = true;
            // With a new token, since the life of the stream hangs on the token's.
            acts.push(Act::Open { renew: true });
        }
    }

    fn uncovered(&mut self, acts: &mut Vec<Act>) {
        self.covered = false;
        acts.push(Act::Connected(None));
    }

    /// Nothing covers the project: when to try again, or the error that ends it all.
    fn failed(&mut self, end: &End, lived: Duration, now: Moment, acts: &mut Vec<Act>) {
        let text = describe(end);
        let is_asked = self.plan.retries_max == Some(0) && matches!(end, End::Over(_) | End::StoodStill | End::ClockStep(_));
        if is_asked {
            acts.push(Act::Note(Change::Ends(self.run(), self.last_sign.wall)));
            acts.push(Act::Connected(None));
            acts.push(Act::Finish(Ok(())));
            return;
        }
        self.uncovered(acts);
        match self.after(end, lived) {
            Ok((wait, renew)) => {
                self.retry_at = Some(now.steady.saturating_add(time::micros(wait)));
                let when = if wait.is_zero() { "now".to_owned() } else { format!("in {:.1} s", wait.as_secs_f64()) };
                let refused = status(end).is_some_and(|status| (400..500).contains(&status) && status != 408 && status != 429);
                let loud = if refused { "REFUSED, and not recorded until that is mended: " } else { "" };
                acts.push(Act::Say(format!("{}: {loud}{text}; connecting again {when}", self.plan.project)));
                // Of a run that nothing was heard of, the first session may be late: not where one came before it.
                let is_first = self.last_heard.as_ref().is_none_or(|heard| heard.run != self.run);
                self.note_why(&text, is_first || matches!(end, End::Failed(_) | End::Error(_)), acts);
                if renew {
                    acts.push(Act::Open { renew: true });
                    (self.is_opening, self.retry_at) = (true, None);
                }
            }
            Err(error) => {
                if self.plan.was_heard {
                    if fault::leaves_out("a refusal is an outage") {
                        acts.push(Act::Note(Change::Ends(self.run(), now.wall)));
                    }
                    self.note_why(&text, true, acts);
                } else if !matches!(error, IngestError::GaveUp { .. }) {
                    // A typing error is no wish.
                    acts.push(Act::Note(Change::Void(self.run())));
                }
                acts.push(Act::Finish(Err(error)));
            }
        }
    }

    /// Notes why nothing connects: once for each reason, beside what ended the session before.
    fn note_why(&mut self, text: &str, is_told: bool, acts: &mut Vec<Act>) {
        if self.said.as_deref() == Some(text) || !is_told {
            return;
        }
        self.said = Some(text.to_owned());
        match &self.last_heard {
            Some(heard) if heard.run == self.run => {
                let before = heard.ended.as_deref().unwrap_or_default();
                if before != text {
                    let ended = Some(if before.is_empty() { text.to_owned() } else { format!("{before}; then {text}") });
                    acts.push(Act::Note(Change::Heard(Heard { ended, ..heard.clone() })));
                }
            }
            _ => acts.push(Act::Note(Change::Said(self.run(), text.to_owned()))),
        }
    }

    /// After the end of a session that lived so long (zero when it never opened): how long to wait, and whether to sign in anew.
    fn after(&mut self, end: &End, lived: Duration) -> Result<(Duration, bool), IngestError> {
        let status = status(end);
        if status == Some(401) && !self.renewed && !is_sign_in(end) && self.plan.retries_max != Some(0) {
            // The token may have died, or been revoked: once, a new one is worth a try.
            self.renewed = true;
            return Ok((Duration::ZERO, true));
        }
        let text = describe(end);
        // What was heard once is an outage: it is wanted, and may be given again.
        if !self.plan.was_heard || fault::leaves_out("a refusal is an outage") {
            match IngestError::refused(status, is_sign_in(end), &self.plan.project, &text) {
                Some(error) => return Err(error),
                None if status == Some(400) => return Err(IngestError::Request(text)),
                None => {}
            }
        }
        let normal = matches!(end, End::Over(_) | End::StoodStill | End::ClockStep(_));
        let is_long = lived >= LIVED.min(self.plan.rotate_after / 2);
        if is_long {
            self.backoff.reset();
        }
        if normal && (is_long || matches!(end, End::ClockStep(_))) {
            return Ok((Duration::ZERO, false));
        }
        let retry_after = if let End::Failed(failure) = end { failure.retry_after() } else { None };
        if let Some(most) = self.plan.retries_max.filter(|most| self.backoff.failures() >= *most) {
            return Err(IngestError::GaveUp { tries: most + 1, last: text });
        }
        Ok((self.backoff.wait(self.rng.f64(), retry_after), false))
    }

    /// The next session did not open while the one before still runs: a server may allow only one. Nothing is missed yet.
    fn not_rotated(&mut self, failure: &CloudFailure, now: Moment, acts: &mut Vec<Act>) {
        let later = now.steady + time::micros(ROTATE_AGAIN.min(self.plan.rotate_after));
        for live in &mut self.live {
            live.rotate_at = later;
        }
        acts.push(Act::Say(format!("{}: the next session does not open yet: {failure}", self.plan.project)));
    }

    /// All sessions have left. Who was asked to end wants no more; a terminal that was closed, or a service that is
    /// started anew, asked for nothing.
    fn leave(&mut self, phase: Phase, now: Moment, acts: &mut Vec<Act>) {
        // Between two pings nobody can tell; behind them, silence is missing.
        let silent = now.steady - self.last_sign.steady > time::micros(self.plan.ping + OVERDUE);
        let at = if self.covered && !silent { self.last_sign.wall } else { now.wall };
        if phase != Phase::HungUp {
            acts.push(Act::Note(Change::Ends(self.run(), at)));
        }
        acts.push(Act::Connected(None));
        acts.push(Act::Finish(Ok(())));
    }
}

fn begin(plan: &Plan, numbers: &Numbers, ends_at: Option<Micros>, begins: Micros, now: Moment) -> Arc<Run> {
    Arc::new(Run {
        number: numbers.runs.fetch_add(1, Ordering::Relaxed),
        boot: numbers.boot.clone(),
        clock: now.clock(),
        source: Source::Stream,
        project: plan.project.clone(),
        filters: plan.filters.clone(),
        account: plan.account.clone(),
        begins,
        until: ends_at.map(|at| now.wall.saturating_add(at - now.steady)),
        quiet: quiet(plan.ping),
    })
}

/// An end as an HTTP status. Errors inside a stream carry HTTP or gRPC codes.
fn status(end: &End) -> Option<u16> {
    match end {
        End::Failed(failure) => failure.status(),
        End::Error(error) => match error.code {
            16 | 401 => Some(401),
            7 | 403 => Some(403),
            5 | 404 => Some(404),
            3 | 9 | 11 | 400 => Some(400),
            _ => None,
        },
        _ => None,
    }
}

fn is_sign_in(end: &End) -> bool {
    matches!(end, End::Failed(failure) if failure.is_sign_in())
}

/// An end for people.
pub(crate) fn describe(end: &End) -> String {
    match end {
        End::Over(why) | End::Lost(why) => why.clone(),
        End::Silent => "no ping came in time".to_owned(),
        End::StoodStill => "the recorder stood still: it was suspended, or the disk had no room".to_owned(),
        End::ClockStep(step) => stepped(*step),
        End::Failed(failure) => failure.to_string(),
        End::Error(error) => error.to_string(),
        End::Left(why) => (*why).to_owned(),
    }
}

/// A step of the clock for people.
#[expect(clippy::cast_precision_loss, reason = "a tenth of a second is told")]
fn stepped(step: Micros) -> String {
    let way = if step < 0 { "back" } else { "ahead" };
    format!("this machine's clock was set {way} by {:.1} s", step.abs() as f64 / SECOND as f64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run to hang sessions on.
    pub(in super::super) fn run() -> Arc<Run> {
        Machine::start(plan(), Arc::default(), fastrand::Rng::with_seed(1), START).0.run()
    }

    const START: Moment = Moment { wall: 1_000_000 * SECOND, steady: 77 };
    const HOUR: Duration = Duration::from_hours(1);

    fn plan() -> Plan {
        Plan {
            project: "p".to_owned(),
            filters: Filters::default(),
            accept: Accept::Json,
            ping: Duration::from_secs(10),
            retries_max: None,
            keep_every: Duration::from_secs(3),
            rotate_after: Duration::from_mins(55),
            lasts: None,
            account: String::new(),
            was_heard: false,
        }
    }

    fn at(seconds: i64) -> Moment {
        START.later(seconds * SECOND)
    }

    struct Driven {
        machine: Machine,
        now: i64,
        session: u64,
    }

    impl Driven {
        fn new(plan: Plan) -> Self {
            let (machine, acts) = Machine::start(plan, Arc::default(), fastrand::Rng::with_seed(1), START);
            assert!(matches!(acts[..], [Act::Connected(None), Act::Note(Change::Begins(_)), Act::Open { renew: false }]));
            Self { machine, now: 0, session: 0 }
        }

        fn on(&mut self, input: Input) -> Vec<Act> {
            self.machine.on(input, at(self.now))
        }

        fn hear(&mut self) {
            self.session += 1;
            let (session, moment) = (self.session, at(self.now));
            self.on(Input::Opened { session, dies: None });
            self.on(Input::Spoke { session, at: moment });
        }

        /// The session that lives ends, after so long.
        fn ends(&mut self, end: End, lived: Duration) -> Vec<Act> {
            let heard =
                Heard { run: self.machine.run(), session: self.session, opened_at: 0, spoke_at: at(self.now).wall, ended: None };
            let input = Input::Ended { session: self.session, end, lived, heard: Some((heard, at(self.now))) };
            self.on(input)
        }

        fn fails(&mut self, failure: CloudFailure) -> Vec<Act> {
            self.on(Input::NotOpened(failure))
        }

        /// When it tries again, in seconds from now; it is brought there.
        fn tries_again(&mut self) -> i64 {
            let wait = (self.machine.retry_at.expect("it tries again") - at(self.now).steady + SECOND - 1) / SECOND;
            self.now += wait;
            assert!(self.on(Input::Time).iter().any(|act| matches!(act, Act::Open { .. })));
            wait
        }
    }

    fn answer(what: &'static str, status: u16) -> CloudFailure {
        let error = CloudError { code: i64::from(status), message: "no".to_owned() };
        CloudFailure::Answer { what, status, error, retry_after: (status == 429).then(|| Duration::from_secs(7)) }
    }

    fn opening(status: u16) -> CloudFailure {
        answer("opening the stream", status)
    }

    fn error(acts: &[Act]) -> &IngestError {
        acts.iter().find_map(|act| if let Act::Finish(Err(error)) = act { Some(error) } else { None }).expect("an end")
    }

    fn notes(acts: &[Act]) -> Vec<&Change> {
        acts.iter().filter_map(|act| if let Act::Note(change) = act { Some(change) } else { None }).collect()
    }

    #[test]
    fn the_hourly_end_reconnects_at_once_and_a_server_that_closes_at_once_makes_no_busy_loop() {
        let mut it = Driven::new(plan());
        it.hear();
        it.ends(End::Over(String::new()), HOUR);
        assert_eq!(it.tries_again(), 0);
        let mut waits = 0;
        for _ in 0..50 {
            it.hear();
            it.ends(End::Over(String::new()), Duration::ZERO);
            waits += it.tries_again();
        }
        assert!(waits > 300, "{waits}");
    }

    #[test]
    fn failures_back_off_for_ever_and_honour_retry_after() {
        let mut it = Driven::new(plan());
        it.fails(opening(429));
        assert!(it.tries_again() >= 7);
        for _ in 0..1000 {
            it.fails(opening(503));
            assert!(it.tries_again() <= 60);
        }
    }

    #[test]
    fn a_refusal_before_anything_was_heard_is_the_end_and_leaves_no_wish() {
        let ends = |failure| {
            let mut it = Driven::new(plan());
            let acts = it.fails(failure);
            assert!(matches!(notes(&acts)[..], [Change::Void(_)]), "{acts:?}");
            format!("{:?}", error(&acts))
        };
        assert!(ends(opening(404)).starts_with("NoProject"));
        assert!(ends(opening(403)).starts_with("Forbidden"));
        assert!(ends(opening(400)).starts_with("Request"));
        assert!(ends(answer("signing in", 400)).starts_with("Credentials"));
        let mut it = Driven::new(plan());
        assert!(it.fails(opening(401)).iter().any(|act| matches!(act, Act::Open { renew: true })));
        assert!(matches!(error(&it.fails(opening(401))), IngestError::Credentials(_)));
    }

    #[test]
    fn a_refusal_of_what_was_heard_is_an_outage_said_loudly_and_tried_again() {
        for before in [false, true] {
            for status in [400, 401, 403, 404] {
                let mut it = Driven::new(Plan { was_heard: before, ..plan() });
                if !before {
                    it.hear();
                    it.ends(End::Over("over".to_owned()), HOUR);
                    it.tries_again();
                }
                if status == 401 {
                    it.fails(opening(401));
                }
                let acts = it.fails(opening(status));
                assert!(acts.iter().any(|act| matches!(act, Act::Say(text) if text.contains("REFUSED"))), "{acts:?}");
                let cause = notes(&acts).iter().find_map(|change| match change {
                    Change::Heard(heard) => heard.ended.clone(),
                    Change::Said(_, text) => Some(text.clone()),
                    _ => None,
                });
                assert!(status == 401 || cause.is_some_and(|cause| cause.contains(&status.to_string())), "{acts:?}");
                for _ in 0..100 {
                    it.tries_again();
                    it.fails(opening(status));
                }
                it.tries_again();
                it.hear();
                assert!(it.machine.covered);
            }
        }
    }

    #[test]
    fn a_session_that_ends_before_it_was_heard_is_noted_so_that_no_late_one_is_the_beginning() {
        for end in [End::StoodStill, End::Over(String::new()), End::Silent] {
            let mut it = Driven::new(plan());
            it.on(Input::Opened { session: 1, dies: None });
            let acts = it.on(Input::Ended { session: 1, end, lived: Duration::from_secs(10), heard: None });
            assert!(matches!(notes(&acts)[..], [Change::Said(..)]), "{acts:?}");
        }
    }

    #[test]
    fn retries_end_where_they_should_and_giving_up_is_no_wish_to_end() {
        let mut it = Driven::new(Plan { retries_max: Some(0), ..plan() });
        it.hear();
        let acts = it.ends(End::Over(String::new()), HOUR);
        assert!(matches!(notes(&acts)[..], [Change::Ends(..)]), "{acts:?}");
        let mut it = Driven::new(Plan { retries_max: Some(2), ..plan() });
        for _ in 0..2 {
            it.fails(opening(503));
            it.tries_again();
        }
        let acts = it.fails(opening(503));
        assert!(matches!(error(&acts), IngestError::GaveUp { tries: 3, .. }));
        assert!(!notes(&acts).iter().any(|change| matches!(change, Change::Ends(..) | Change::Void(_))), "{acts:?}");
    }

    #[test]
    fn who_was_asked_to_end_ends_at_the_last_sign_of_life_and_a_closed_terminal_ends_nothing() {
        let ended = |phase, covered: bool| {
            let mut it = Driven::new(plan());
            it.hear();
            it.now = 100;
            if !covered {
                it.ends(End::Silent, HOUR);
                it.now = 150;
                let acts = it.on(Input::Stop(phase));
                return notes(&acts).iter().find_map(|change| if let Change::Ends(_, at) = change { Some(*at) } else { None });
            }
            assert!(it.on(Input::Stop(phase)).iter().any(|act| matches!(act, Act::Leave(1, STOPPED))));
            let acts = it.ends(End::Left(STOPPED), HOUR);
            assert!(acts.iter().any(|act| matches!(act, Act::Finish(Ok(())))));
            notes(&acts).iter().find_map(|change| if let Change::Ends(_, at) = change { Some(*at) } else { None })
        };
        assert_eq!(ended(Phase::Asked, true), Some(at(100).wall));
        assert_eq!(ended(Phase::Asked, false), Some(at(150).wall));
        assert_eq!(ended(Phase::HungUp, true), None);
    }

    #[test]
    fn who_is_asked_to_end_when_a_ping_is_overdue_ends_then_and_leaves_a_gap() {
        for (silent, end) in [(10, 90), (11, 100)] {
            let mut it = Driven::new(plan());
            it.hear();
            it.now = 100;
            it.on(Input::Stop(Phase::Asked));
            let spoke = at(100 - silent);
            let heard = Heard { run: it.machine.run(), session: 1, opened_at: 0, spoke_at: spoke.wall, ended: None };
            let ended = Input::Ended { session: 1, end: End::Left(STOPPED), lived: HOUR, heard: Some((heard, spoke)) };
            assert!(notes(&it.on(ended)).contains(&&Change::Ends(it.machine.run(), at(end).wall)));
        }
    }

    #[test]
    fn who_is_asked_to_end_while_it_has_not_caught_up_ends_then_and_leaves_a_gap() {
        let mut it = Driven::new(plan());
        it.hear();
        it.now = 100;
        it.on(Input::Stop(Phase::Asked));
        let heard = Heard { run: it.machine.run(), session: 1, opened_at: 0, spoke_at: at(60).wall, ended: None };
        let ended = Input::Ended { session: 1, end: End::StoodStill, lived: HOUR, heard: Some((heard, at(60))) };
        assert!(notes(&it.on(ended)).contains(&&Change::Ends(it.machine.run(), at(100).wall)));
    }

    #[test]
    fn a_step_of_the_clock_ends_the_run_at_its_last_sign_and_begins_another_there() {
        for step in [-3600, 3600] {
            let mut it = Driven::new(Plan { lasts: Some(HOUR), ..plan() });
            it.hear();
            it.now = 20;
            let old = it.machine.run();
            let stepped = Moment { wall: at(30).wall + step * SECOND, ..at(30) };
            let acts = it.machine.on(Input::Time, stepped);
            let new = it.machine.run();
            assert_eq!(new.begins, at(0).wall + step * SECOND, "the last sign of life by the new clock");
            assert_eq!(new.until, Some(at(3600).wall + step * SECOND));
            assert_eq!(new.clock, old.clock + step * SECOND);
            let changes = notes(&acts);
            assert!(changes.contains(&&Change::Ends(old, at(0).wall)) && changes.contains(&&Change::Begins(new)), "{acts:?}");
            assert!(it.machine.on(Input::Time, stepped).is_empty(), "a step is one");
        }
    }
}
