//! What a service manager hears of a recorder: that the recording is open, that it is alive, in words how it is doing, that it ends.
//!
//! It is fed on the network's thread, and only while thread "keep" turns: whichever of the two stands still is noticed. A cloud that
//! does not answer and a disk that is full are no reason to start anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::base::error::plain;
use crate::base::notify::Manager;
use crate::base::text;
use crate::base::time;
use crate::store::meter::Meter;
use crate::store::writer::Answers;

use super::Recorder;

/// How often the manager is told how it goes, or sooner: four times within the time that it allows.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether there is news, such as a connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A recorder and the service manager that started it, if one did.
#[derive(Debug)]
pub struct Supervised {
    manager: Option<Manager>,
    answers: Answers,
    meter: Arc<Meter>,
}

impl Supervised {
    /// Looks in the environment for who wants to hear of a recorder. One that cannot be reached is noted, and nothing more.
    pub fn new(recorder: &Recorder) -> Self {
        let (meter, answers) = (Arc::clone(&recorder.meter), recorder.writer().answers());
        let manager = Manager::find(|name| std::env::var(name).ok()).unwrap_or_else(|error| {
            meter.note(time::now(), format!("cannot reach the service manager (NOTIFY_SOCKET): {}", plain(&error)));
            None
        });
        Self { manager, answers, meter }
    }

    /// Whether a service manager wants to hear of it. A service that is stopped may be started anew in a moment, with the machine or with
    /// another program: nobody says by that that nothing more is wanted.
    pub fn is_service(&self) -> bool {
        self.manager.is_some()
    }

    /// The recording is open, and its sources are about to be. Whether a cloud answers is not waited for.
    pub fn ready(&mut self) {
        self.tell("READY=1\nSTATUS=the recording is open");
    }

    /// It ends: what came is still to be kept and rolled.
    pub fn stopping(&mut self) {
        self.tell("STOPPING=1\nSTATUS=stopping: keeping and rolling what came");
    }

    /// Tells for ever how it goes.
    pub async fn feed(&mut self) -> Infallible {
        let Some(manager) = &self.manager else { return std::future::pending().await };
        let every = manager.watchdog().map_or(TELL_EVERY, |limit| TELL_EVERY.min(limit / 4));
        let mut ticks = interval(LOOK_EVERY.min(every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = every.as_millis() / ticks.period().as_millis().max(1);
        let (mut said, mut looked) = (String::new(), 0);
        // The first answer is to this.
        self.answers.ask();
        loop {
            ticks.tick().await;
            let how = how(&self.meter);
            let kept = text::counted(Meter::get(&self.meter.kept), "event");
            if looked >= looks {
                looked = 0;
                if self.answers.ask() {
                    self.tell(&format!("WATCHDOG=1\nSTATUS={how}; {kept} kept"));
                } else {
                    self.tell("STATUS=nothing is kept: the disk does not answer");
                }
            } else if how != said {
                self.tell(&format!("STATUS={how}; {kept} kept"));
            }
            said = how;
            looked += 1;
        }
    }

    /// A manager that takes nothing is told nothing more.
    fn tell(&mut self, lines: &str) {
        if let Some(Err(error)) = self.manager.as_ref().map(|manager| manager.tell(lines))
            && !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
        {
            self.meter.note(time::now(), format!("the service manager does not listen: {}", plain(&error)));
            self.manager = None;
        }
    }
}

/// How it is doing, in a few words, which change seldom.
fn how(meter: &Meter) -> String {
    let parts = meter.parts();
    let (all, up) = (parts.connected.len(), parts.connected.values().flatten().count());
    let stream = match (up, all) {
        (_, 0) if parts.listening.is_some() => None,
        (0, _) => Some("not connected, trying".to_owned()),
        (up, all) if up < all => Some(format!("connected to {up} of {all} projects")),
        _ => Some("connected".to_owned()),
    };
    let full = meter.pressure.full.load(Ordering::Relaxed).then(|| "the disk is full, waiting for room".to_owned());
    let listening = parts.listening.map(|url| format!("receiving pushes at {url}"));
    let words: Vec<String> = [full, stream, listening].into_iter().flatten().collect();
    text::one_line(&words.join("; "))
}
