//! One session between its stream and the writer: bytes come in, orders for the writer go out. No I/O; both clocks are handed in.

use std::sync::Arc;
use std::time::Duration;

use crate::base::error::plain;
use crate::base::time::{self, Micros, Moment};
use crate::cloud::client;
use crate::model::decode::{Collector, Found};
use crate::model::event::{CloudError, Source};
use crate::model::framing::Frames;
use crate::model::schema::Registry;
use crate::model::settings::Mask;
use crate::store::buffer::{Change, Run};
use crate::store::meter::Meter;
use crate::store::writer::{Claim, Command};

use super::machine::{End, Input, NOTE_ALONE, NOTE_WITH, describe};
use super::pulse::Pulse;

/// A session that runs.
#[derive(Debug)]
pub(crate) struct Session {
    pulse: Pulse,
    collector: Collector,
    frames: Frames,
    mask: Mask,
    meter: Arc<Meter>,
    /// A batch goes to the buffer when its events have waited so long.
    keep_every: Micros,
    flushed: Micros,
    /// Something came that is a sign of life, since the clocks were looked at.
    spoke: bool,
    /// A batch could not be built: whatever comes now, nothing more is claimed.
    lost: bool,
}

impl Session {
    /// A session that has opened, whose events may wait `keep_every` for a commit. What its server says is masked, and cut into
    /// frames.
    pub(crate) fn new(
        run: Arc<Run>,
        number: u64,
        (ping, keep_every): (Duration, Duration),
        (frames, mask): (Frames, Mask),
        (registry, meter): (Arc<Registry>, Arc<Meter>),
        now: Moment,
    ) -> Self {
        Self {
            pulse: Pulse::new(run, number, ping, now),
            collector: Collector::new(registry, Source::Stream),
            frames,
            mask,
            meter,
            keep_every: time::micros(keep_every),
            flushed: now.steady,
            spoke: false,
            lost: false,
        }
    }

    /// Takes some bytes of what came at once.
    ///
    /// # Errors
    /// When the cloud ends the stream with an error, or what came cannot be kept.
    pub(crate) fn take(&mut self, bytes: &[u8], now: Moment, orders: &mut Vec<Command>) -> Result<(), End> {
        let (mut error, Self { frames, collector, mask, meter, spoke, .. }) = (None, &mut *self);
        frames.feed(bytes, &mut |frame| {
            *spoke = true;
            match collector.add(&frame, now.wall) {
                Found::Event | Found::Fault => {}
                Found::Ping => Meter::add(&meter.pings, 1),
                Found::Error(said) => error = Some(client::said(&said, mask)),
            }
        });
        match error {
            Some(error) => Err(ended_by(error)),
            None if self.collector.is_full() => self.flush(now, orders),
            None => Ok(()),
        }
    }

    /// All is taken of what came at once; gives its first sign of life, which stands in the ledger by then.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) fn taken(&mut self, now: Moment, orders: &mut Vec<Command>) -> Result<Option<Moment>, End> {
        if !self.pulse.came(std::mem::take(&mut self.spoke), now)? {
            return Ok(None);
        }
        self.flush(now, orders)?;
        Ok(self.pulse.last_sign())
    }

    /// Nothing came: all that the cloud sent is taken.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) fn quiet(&mut self, now: Moment) -> Result<(), End> {
        self.pulse.quiet(now)
    }

    /// Whether what comes now may be old: it has stood still a while ago, and has not caught up.
    pub(crate) fn is_behind(&self, now: Moment) -> bool {
        self.pulse.is_behind(now)
    }

    /// Now and then: hands over what has waited long enough, and notices silence.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) fn look(&mut self, now: Moment, orders: &mut Vec<Command>) -> Result<(), End> {
        if now.steady - self.flushed >= self.keep_every {
            self.flush(now, orders)?;
        }
        self.pulse.silent(now)
    }

    /// The server has closed: a line without an end is one all the same.
    pub(crate) fn finish(&mut self, now: Moment) {
        let Self { frames, collector, .. } = self;
        frames.finish(&mut |frame| drop(collector.add(&frame, now.wall)));
    }

    /// It is over: hands over what is left, with its last sign of life.
    pub(crate) fn end(mut self, mut end: End, now: Moment, orders: &mut Vec<Command>) -> Input {
        if let Err(lost) = self.flush(now, orders) {
            end = lost;
        }
        if let End::Lost(why) = &end {
            self.meter.note(now.wall, why.clone());
        }
        let heard = self.pulse.last(describe(&end));
        orders.extend(heard.clone().map(|heard| Command::Note(Change::Heard(heard))));
        Input::Ended {
            session: self.pulse.session(),
            end,
            lived: self.pulse.lived(now),
            heard: heard.zip(self.pulse.last_sign()),
        }
    }

    /// Hands over what was collected, with the sign of life up to which that is all.
    fn flush(&mut self, now: Moment, orders: &mut Vec<Command>) -> Result<(), End> {
        self.flushed = now.steady;
        if self.lost {
            return Err(End::Lost("a batch could not be built and is lost".to_owned()));
        }
        if self.collector.is_empty() {
            self.pulse.handed_over();
            orders.extend(self.pulse.due(NOTE_ALONE, now).map(|heard| Command::Note(Change::Heard(heard))));
            return Ok(());
        }
        let last = self.collector.last_time();
        let batch = self.collector.take_masked(&self.mask).map_err(|error| {
            self.lost = true;
            End::Lost(format!("a batch could not be built and is lost: {}", plain(&error)))
        })?;
        self.meter.update(|parts| {
            parts.last_event = last.or(parts.last_event);
            parts.count(&batch);
        });
        self.meter.pressure.meet(&batch);
        self.pulse.handed_over();
        orders.push(Command::Keep(batch, Claim::Session(self.pulse.run_number(), self.pulse.due(NOTE_WITH, now))));
        Ok(())
    }
}

/// How the cloud ends a stream.
fn ended_by(error: CloudError) -> End {
    match error.code {
        1 | 4 | 408 | 504 => End::Over(format!("the session's time is up: {error}")),
        _ => End::Error(error),
    }
}
