//! The cloud's bad habits: refusals, cuts, silence, doubles, disorder, junk, absence. All off unless asked for.

use axum::http::HeaderValue;
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most refusals in a row for one path.
const IN_A_ROW: u32 = 3;

/// Paths whose refusals are counted; more of them come from nobody who means well.
const PATHS: usize = 100_000;

/// What the simulated cloud does wrong. All times are real time; every choice comes from the seed, with generators apart
/// from those of the world: the same events happen with and without habits.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and all combinations make sense")]
pub struct Habits {
    /// A stream opened with an access token ends when the token dies: an error line with code 16, then a clean end.
    pub token_kills_stream: bool,
    /// Every stream is cut about so often (exponentially distributed): half of the cuts are in the middle of a line (of
    /// a chunk, or at its end), half between lines; the connection closes without the end of the body.
    pub cut_every: Option<Duration>,
    /// Every stream goes silent for good about so often (exponentially distributed), the connection open.
    pub stall_every: Option<Duration>,
    /// Share of stream opens and of calls to `/v2` and `/oauth2/token` that are refused with 408, 429 (with and without
    /// `Retry-After`), 500, 502 in HTML or 503; at most three in a row for one path.
    pub refuse: f64,
    /// One in ten stream opens with a good access token is answered 401: no stream opens with that token any more, and
    /// the next open with another one is not answered so. Other calls still take the token.
    pub refuse_auth_once: bool,
    /// Share of streamed and of pushed events that are sent twice, with up to 20 new events between.
    pub doubles: f64,
    /// Half of a stream's events, and of those pushed, are delayed by up to so many places, none of them beyond a second of
    /// silence.
    pub reorder: usize,
    /// How many events out of all are followed by a junk line. In Server-Sent Events, as many are written in unusual
    /// shapes that mean the same.
    pub junk: f64,
    /// Share of readings (temperature, humidity) that a sensor keeps back for some seconds and then sends newest first,
    /// marked as backfilled, with their old time. Not those of emulated devices, nor those of a replay.
    pub late: f64,
    /// What share of events are published with times up to so much earlier, marked as backfilled where they are readings, as
    /// if their sensor had kept them. Simulated time; not those of emulated devices, nor those of a replay.
    pub event_age: Option<(Duration, f64)>,
    /// What share of events the history shows so much later than after the `index_delay`.
    pub history_lag: Option<(Duration, f64)>,
    /// Most streams at a time; further ones are refused with 429 and `Retry-After: 1`.
    pub streams_max: Option<usize>,
    /// Calls to `/v2` other than streams: so many a second, so many at once after a pause; further ones are refused
    /// with 429 and `Retry-After`.
    pub requests_max: Option<(u32, u32)>,
    /// Streams are written in pieces of one to seven bytes.
    pub one_byte: bool,
    /// The history answers 403.
    pub no_history: bool,
    /// Share of events beside which a forged push goes to the receiver: wrongly signed, unsigned, stale or tampered with,
    /// under an event id that is nobody's. The receiver must refuse each.
    pub forge: f64,
    /// From when to when, since the start, the server is away: connections end at once, and new ones as soon as they are
    /// made. Sensors go on, and the history fills.
    pub outages: Vec<(Duration, Duration)>,
    /// When no stream opens; those that are open at the beginning end then, cleanly. Everything else goes on.
    pub refuse_streams: Vec<Spell>,
    /// When there are no access tokens to be had. Those given out stay good.
    pub refuse_token: Vec<Spell>,
    /// The `Retry-After` of every 429 and 503 of `refuse`, `refuse_streams` and `refuse_token`, in place of what they say
    /// by themselves.
    pub retry_after: Option<HeaderValue>,
    /// What a token's answer says as `expires_in`, word for word, however long the token is good.
    pub expires_in: Option<String>,
    /// History requests are taken and never answered.
    pub stall_history: bool,
    /// How many of the first devices have no history: it answers 404.
    pub gone_devices: usize,
    /// How many devices after those have a history that answers 500.
    pub failing_devices: usize,
    /// How many of the last devices the device list leaves out. Not emulated ones, nor those of a replay.
    pub unlisted_devices: usize,
    /// For how long a page token of the history is good; 400 afterwards.
    pub page_tokens_expire: Option<Duration>,
    /// The first page token of the history that is used for a device is answered 400, as if it were too old.
    pub page_tokens_expire_once: bool,
}

/// Refusals of one kind from one time since the start to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// The status of the answers.
    pub status: u16,
    /// When it begins.
    pub from: Duration,
    /// When it is over.
    pub to: Duration,
}

impl Habits {
    /// Whether the server is away.
    pub(super) fn away(&self, now: Duration) -> bool {
        self.outages.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// When the server goes away next.
    pub(super) fn leaves(&self, now: Duration) -> Option<Duration> {
        begins(self.outages.iter().copied(), now)
    }

    /// When streams end next because none may be open.
    pub(super) fn shuts(&self, now: Duration) -> Option<Duration> {
        begins(self.refuse_streams.iter().map(|spell| (spell.from, spell.to)), now)
    }
}

/// The beginning of the next span, or of one that lasts.
fn begins(spans: impl Iterator<Item = (Duration, Duration)>, now: Duration) -> Option<Duration> {
    spans.filter(|(from, to)| now < *to && from < to).map(|(from, _)| from).min()
}

/// The status of the refusals that last now.
pub(super) fn lasting(spells: &[Spell], now: Duration) -> Option<u16> {
    spells.iter().find(|spell| (spell.from..spell.to).contains(&now)).map(|spell| spell.status)
}

/// An error that a habit makes up. The body of 502 is HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mishap {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
}

const MISHAPS: [Mishap; 6] = {
    const fn mishap(status: u16) -> Mishap {
        Mishap { status, retry_after: None }
    }
    [mishap(408), Mishap { retry_after: Some(1), ..mishap(429) }, mishap(429), mishap(500), mishap(502), mishap(503)]
};

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Streams asked for, refused ones among them.
    pub(super) opens: u64,
    /// Answers from 400 on, by status.
    pub(super) refusals: BTreeMap<u16, u64>,
    pub(super) cuts: u64,
    pub(super) stalls: u64,
    pub(super) doubles: u64,
    pub(super) junk: u64,
    /// Pages of history asked for, refused ones among them.
    pub(super) histories: u64,
    /// Refused because of `requests_max`.
    pub(super) limited: u64,
    /// Streams now, silent ones among them, and at most.
    pub(super) streams: usize,
    pub(super) most_streams: usize,
}

/// The memory of the habits.
#[derive(Debug)]
pub(super) struct HabitState {
    seed: u64,
    state: Mutex<Mood>,
}

#[derive(Debug)]
pub(super) struct Mood {
    pub(super) counts: Counts,
    rng: Rng,
    /// Refusals in a row by path.
    rows: HashMap<String, u32>,
    /// Calls that may still come, and when that was so; `None` before the first one.
    bucket: Option<(f64, Duration)>,
    /// The last stream was answered 401.
    soured: bool,
    /// Devices for which a page token has expired.
    broken: HashSet<usize>,
    streams: u64,
}

impl HabitState {
    pub(super) fn new(seed: u64) -> Self {
        let seed = seed ^ 0x6261_6468_6162_6974;
        let mood = Mood {
            counts: Counts::default(),
            rng: Rng::with_seed(seed),
            rows: HashMap::new(),
            bucket: None,
            soured: false,
            broken: HashSet::new(),
            streams: 0,
        };
        Self { seed, state: Mutex::new(mood) }
    }

    /// The memory; never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, Mood> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A generator for the next stream: what happens there does not depend on what happens elsewhere.
    pub(super) fn stream(&self) -> Rng {
        let mut state = self.state();
        state.streams += 1;
        Rng::with_seed(Rng::with_seed(self.seed ^ state.streams).u64(..))
    }
}

impl Mood {
    /// Whether a call is to be refused.
    pub(super) fn mishap(&mut self, share: f64, path: &str) -> Option<Mishap> {
        if share <= 0.0 {
            return None;
        }
        let row = self.rows.get(path).copied().unwrap_or(0);
        let refused = self.rng.f64() < share && row < IN_A_ROW && self.rows.len() < PATHS;
        if !refused {
            self.rows.remove(path);
            return None;
        }
        self.rows.insert(path.to_owned(), row + 1);
        self.rng.choice(MISHAPS)
    }

    /// Takes a call out of the bucket, or says after how many seconds there may be one.
    pub(super) fn admit(&mut self, (rate, burst): (u32, u32), now: Duration) -> Result<(), u64> {
        let (rate, burst) = (f64::from(rate), f64::from(burst.max(1)));
        let (left, then) = self.bucket.unwrap_or((burst, now));
        let left = (left + now.saturating_sub(then).as_secs_f64() * rate).min(burst);
        let admitted = left >= 1.0;
        self.bucket = Some((if admitted { left - 1.0 } else { left }, now));
        if admitted {
            return Ok(());
        }
        self.counts.limited += 1;
        Err(Duration::try_from_secs_f64(((1.0 - left) / rate).ceil()).map_or(3600, |wait| wait.as_secs().clamp(1, 3600)))
    }

    /// Whether a stream with a good access token is to be refused as if the token were bad.
    pub(super) fn sours(&mut self) -> bool {
        self.soured = !self.soured && self.rng.u8(..10) == 0;
        self.soured
    }

    /// Whether a page token for a device is the first one.
    pub(super) fn breaks(&mut self, device: usize) -> bool {
        self.broken.insert(device)
    }

    /// Takes a place for a stream.
    pub(super) fn enter(&mut self, most: Option<usize>) -> bool {
        let counts = &mut self.counts;
        if most.is_some_and(|most| counts.streams >= most) {
            return false;
        }
        counts.streams += 1;
        counts.most_streams = counts.most_streams.max(counts.streams);
        true
    }
}

/// A time until something that happens about `every` so often, at any moment as likely as at any other.
pub(super) fn until(every: Duration, rng: &mut Rng) -> Duration {
    let factor = -(1.0 - rng.f64()).ln();
    every.min(super::clock::FOREVER).mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_three_calls_in_a_row_are_refused_and_each_way_comes() {
        let mut seen = Vec::new();
        let moods = HabitState::new(1);
        let mut row = 0;
        for _ in 0..500 {
            // Other paths between do not help.
            moods.state().mishap(0.9, "/b");
            row = match moods.state().mishap(0.9, "/a") {
                Some(mishap) => {
                    seen.push(mishap);
                    row + 1
                }
                None => 0,
            };
            assert!(row <= 3);
        }
        assert!(MISHAPS.iter().all(|m| seen.contains(m)));
        assert_eq!(moods.state().mishap(0.0, "/a"), None);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let moods = HabitState::new(1);
        let admit = |ms| moods.state().admit((2, 3), Duration::from_millis(ms));
        assert_eq!([admit(0), admit(0), admit(0), admit(0)], [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!([admit(499), admit(501), admit(501)], [Err(1), Ok(()), Err(1)]);
        assert_eq!([admit(60_000), admit(60_000), admit(60_000), admit(60_000)], [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!(moods.state().counts.limited, 4);
        let never = |moods: &HabitState| moods.state().admit((0, 1), Duration::MAX);
        let moods = HabitState::new(1);
        assert_eq!((never(&moods), never(&moods)), (Ok(()), Err(3600)));
    }

    #[test]
    fn the_same_seed_gives_every_stream_the_same_fate() {
        let fates = |seed| {
            let moods = HabitState::new(seed);
            (0..5).map(|_| until(Duration::from_secs(9), &mut moods.stream())).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert!(fates(1) != fates(2) && fates(1)[0] != fates(1)[1]);
    }

    #[test]
    fn an_outage_lasts_from_its_start_to_its_end() {
        let seconds = Duration::from_secs;
        let habits = Habits { outages: vec![(seconds(5), seconds(7)), (seconds(2), seconds(3))], ..Habits::default() };
        let away: Vec<_> = (0..8).filter(|s| habits.away(seconds(*s))).collect();
        assert_eq!(away, [2, 5, 6]);
        let leaves = |s| habits.leaves(seconds(s));
        assert_eq!([leaves(0), leaves(3), leaves(7)], [Some(seconds(2)), Some(seconds(5)), None]);
    }

    #[test]
    fn a_spell_has_its_status_from_its_start_to_its_end() {
        let spell = |status, from, to| Spell { status, from: Duration::from_secs(from), to: Duration::from_secs(to) };
        let habits = Habits { refuse_streams: vec![spell(403, 1, 3), spell(503, 2, 4)], ..Habits::default() };
        let seen: Vec<_> = (0..5).map(|s| lasting(&habits.refuse_streams, Duration::from_secs(s))).collect();
        assert_eq!(seen, [None, Some(403), Some(403), Some(503), None]);
        let shuts: Vec<_> = (0..5).map(|s| habits.shuts(Duration::from_secs(s)).map(|at| at.as_secs())).collect();
        assert_eq!(shuts, [Some(1), Some(1), Some(1), Some(2), None]);
    }
}
