//! Connections that can be cut at any moment, even while a write waits for a client that does not read.

use super::clock::Clock;
use super::habits::Habits;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes left to write where there is no limit.
const UNLIMITED: usize = usize::MAX;

/// A switch that ends connections. Clones are the same switch.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    switch: watch::Sender<bool>,
    /// Bytes that may still be written.
    left: Arc<AtomicUsize>,
}

impl Cut {
    pub(super) fn new() -> Self {
        Self { switch: watch::Sender::new(false), left: Arc::new(AtomicUsize::new(UNLIMITED)) }
    }

    /// Cuts, at once and for ever.
    pub(super) fn now(&self) {
        self.switch.send_replace(true);
    }

    /// Cuts as soon as so many more bytes have been written.
    pub(super) fn after(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Resolves when it has been cut.
    pub(super) fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut cut = self.switch.subscribe();
        let keep = self.clone(); // as long as we wait, the sender lives
        async move {
            drop(cut.wait_for(|cut| *cut).await);
            drop(keep);
        }
    }
}

impl Connected<IncomingStream<'_, Gates>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Gates>) -> Self {
        stream.io().cut.clone()
    }
}

/// A listener whose connections end with `closing`, and with every outage.
#[derive(Debug)]
pub(super) struct Gates {
    pub(super) listener: TcpListener,
    pub(super) closing: Cut,
    pub(super) outages: Outages,
}

/// When the server is away.
#[derive(Debug)]
pub(super) struct Outages {
    pub(super) habits: Habits,
    pub(super) clock: Clock,
}

impl Outages {
    /// Resolves when the next one begins.
    fn next(&self) -> impl Future<Output = ()> + Send + 'static {
        let now = self.clock.elapsed();
        let begins = self.habits.leaves(now).map(|at| at.saturating_sub(now));
        async move {
            match begins {
                Some(begins) => tokio::time::sleep(begins).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Listener for Gates {
    type Io = Gate;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Gate, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((io, from)) => {
                    if self.outages.habits.away(self.outages.clock.elapsed()) {
                        continue;
                    }
                    // An event that waits for the next one is late; a socket that refuses this still works.
                    io.set_nodelay(true).ok();
                    return (Gate::new(io, &self.closing, &self.outages), from);
                }
                // Out of descriptors, most likely: they come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection with its switch.
pub(super) struct Gate {
    io: TcpStream,
    cut: Cut,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    shut: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("io", &self.io).finish_non_exhaustive()
    }
}

impl Gate {
    fn new(io: TcpStream, closing: &Cut, outages: &Outages) -> Self {
        let cut = Cut::new();
        let (own, all, outage) = (cut.wait(), closing.wait(), outages.next());
        let until = Box::pin(async move {
            tokio::select! { () = own => {}, () = all => {}, () = outage => {} }
        });
        Self { io, cut, until, shut: false }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.shut = self.shut || self.until.as_mut().poll(cx).is_ready();
        if self.shut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Writes no more than is left to write; when nothing is, the connection ends.
    fn write_limited(&mut self, left: usize, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if left == 0 {
            self.shut = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf.get(..left).unwrap_or(buf)))?;
        self.cut.left.store(left - written, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        match self.cut.left.load(Ordering::Relaxed) {
            UNLIMITED => Pin::new(&mut self.io).poll_write(cx, buf),
            left => self.write_limited(left, cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        match self.cut.left.load(Ordering::Relaxed) {
            UNLIMITED => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
            left => {
                let first = bufs.iter().find(|buf| !buf.is_empty());
                self.write_limited(left, cx, first.map_or(&[], |buf| buf))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
