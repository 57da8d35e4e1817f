//! Signals: how a person or a service manager asks this process to stop.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;

use tokio::runtime;

/// What a shell shows for a process that was interrupted.
pub(super) const INTERRUPTED: i32 = 130;

/// Calls `stop` when asked to stop, on a thread of its own, so that it is heard whatever the others are busy with; asked once
/// more, the process leaves at once. Returns when signals are heard: one that nobody hears yet ends a process without a word.
pub(super) fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::Builder::new().name("signal".to_owned()).spawn(move || {
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let mut asked = pin!(stopped());
            // The first look at it begins to listen.
            let is_asked = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
            ready.send(()).unwrap_or_default();
            if !is_asked {
                asked.await;
            }
        });
        stop();
        runtime.block_on(stopped());
        std::process::exit(INTERRUPTED);
    })?;
    // Should the thread have died, it drops its end.
    is_ready.recv().unwrap_or_default();
    Ok(())
}

/// Until asked to stop.
#[cfg(unix)]
pub(super) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(terminate) => drop(terminate.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Until asked to stop.
#[cfg(not(unix))]
pub(super) async fn stopped() {
    drop(tokio::signal::ctrl_c().await);
}
