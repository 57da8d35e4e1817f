//! A connection's bytes: who does not read its answers is given up, and the last answer is received before the connection ends.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Most bytes that are read and thrown away at the end.
const DRAIN_MAX: usize = 16 * 1024 * 1024;

/// A socket with patience that ends.
pub(super) struct Line {
    stream: TcpStream,
    write_time: Duration,
    linger_time: Duration,
    /// Everything that came is answered.
    is_settled: Arc<AtomicBool>,
    /// Runs while a write waits for its reader.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Runs once everything is said.
    lingers: Option<Pin<Box<Sleep>>>,
    drained: usize,
}

impl fmt::Debug for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Line {
    /// Waits so long for a reader to take the next bytes, and at the end for a peer that may still be sending to have heard what
    /// was said: unless it `is_settled`, which it no longer is when something comes.
    pub(super) fn new(stream: TcpStream, write_time: Duration, linger_time: Duration, is_settled: Arc<AtomicBool>) -> Self {
        Self { stream, write_time, linger_time, is_settled, stuck: None, lingers: None, drained: 0 }
    }

    fn patiently<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let write_time = self.write_time;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(write_time)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what still comes, until the peer has closed its side. A socket that is closed with bytes unread takes the answer
    /// away from whoever is still sending.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 8 * 1024];
        loop {
            let mut waste = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() && self.drained < DRAIN_MAX => self.drained += waste.filled().len(),
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.is_settled.store(false, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patiently(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.patiently(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if self.is_settled.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.lingers = Some(Box::pin(sleep(self.linger_time)));
        }
        let is_over = self.lingers.as_mut().is_none_or(|lingers| lingers.as_mut().poll(context).is_ready());
        if is_over || self.drain(context).is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
