//! Signals: how a person, a service manager or a terminal that closes asks this process to stop.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;

use tokio::runtime;

use crate::store::writer::Phase;

/// What a shell shows for a process that was interrupted.
pub(super) const INTERRUPTED: i32 = 130;

/// Calls `stop` when asked to stop, on a thread of its own, so that it is heard whatever the others are busy with; asked once
/// more, the process leaves at once. With `hangs_up`, a terminal that closes is heard as well. Returns when signals are heard: one
/// that nobody hears yet ends a process without a word.
pub(super) fn on_stop(hangs_up: bool, stop: impl FnOnce(Phase) + Send + 'static) -> io::Result<()> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::Builder::new().name("signal".to_owned()).spawn(move || {
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
        let phase = runtime.block_on(async {
            let mut asked = pin!(stopped(hangs_up));
            // The first look at it begins to listen.
            let is_asked = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
            ready.send(()).unwrap_or_default();
            match is_asked {
                Poll::Ready(phase) => phase,
                Poll::Pending => asked.await,
            }
        });
        stop(phase);
        // A terminal that closes may say so more than once.
        runtime.block_on(stopped(false));
        std::process::exit(INTERRUPTED);
    })?;
    // Should the thread have died, it drops its end.
    is_ready.recv().unwrap_or_default();
    Ok(())
}

/// Until asked to stop; says how.
#[cfg(unix)]
pub(super) async fn stopped(hangs_up: bool) -> Phase {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn comes(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    let mut terminate = signal(SignalKind::terminate()).ok();
    // Under nohup it stays unheard, as was asked for.
    let mut hangup = if hangs_up && !is_hangup_ignored() { signal(SignalKind::hangup()).ok() } else { None };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Phase::Asked,
        () = comes(&mut terminate) => Phase::Asked,
        () = comes(&mut hangup) => Phase::HungUp,
    }
}

/// Until asked to stop; says how.
#[cfg(not(unix))]
pub(super) async fn stopped(_: bool) -> Phase {
    drop(tokio::signal::ctrl_c().await);
    Phase::Asked
}

/// Whether who started this process wants it to outlive its terminal, as nohup does. Where the system does not tell, it does not.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is the first of them.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
