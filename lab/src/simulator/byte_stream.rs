//! The byte stream under a simulated connection, which can go silent, end or be reset while the
//! code above it knows nothing of it. It never looks at the bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

/// How a connection is to end at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// TCP FIN without a close frame.
    #[default]
    Fin,
    /// TCP RST.
    #[serde(alias = "rst")]
    Reset,
    /// Bytes that no WebSocket client accepts, then FIN.
    ReservedBits,
    /// A text frame that is not UTF-8, then FIN.
    BadUtf8,
}

/// The handle by which faults reach one connection.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    hole: AtomicBool,
    frozen: Arc<AtomicBool>,
    wakers: Mutex<(Option<Waker>, Option<Waker>)>,
    cut: Mutex<Option<Cut>>,
    changed: Notify,
}

impl Breaker {
    pub(super) fn new(frozen: Arc<AtomicBool>, hole: bool) -> Arc<Self> {
        Arc::new(Self { hole: AtomicBool::new(hole), frozen, ..Self::default() })
    }

    /// Nothing passes in either direction from now on, or again everything.
    pub(super) fn set_hole(&self, hole: bool) {
        self.hole.store(hole, Ordering::SeqCst);
        if !hole {
            self.wake();
        }
    }

    pub(super) fn is_hole(&self) -> bool {
        self.hole.load(Ordering::SeqCst)
    }

    /// Orders the end of the connection. The first order wins.
    pub(super) fn cut(&self, cut: Cut) {
        self.cut.lock().get_or_insert(cut);
        self.changed.notify_waiters();
    }

    /// Resolves when the end was ordered.
    pub(super) async fn ordered(&self) -> Cut {
        loop {
            let changed = self.changed.notified();
            if let Some(cut) = *self.cut.lock() {
                return cut;
            }
            changed.await;
        }
    }

    /// Resolves when bytes can pass.
    pub(super) async fn healed(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// Lets everything that waits look again.
    pub(super) fn wake(&self) {
        let (read, write) = std::mem::take(&mut *self.wakers.lock());
        for waker in [read, write].into_iter().flatten() {
            waker.wake();
        }
        self.changed.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.is_hole() || self.frozen.load(Ordering::SeqCst)
    }

    fn closed_for_read(&self, context: &Context<'_>) -> bool {
        if !self.is_closed() {
            return false;
        }
        self.wakers.lock().0 = Some(context.waker().clone());
        // Healed between the question and the registration: nobody would wake us.
        self.is_closed()
    }

    fn closed_for_write(&self, context: &Context<'_>) -> bool {
        if !self.is_closed() {
            return false;
        }
        self.wakers.lock().1 = Some(context.waker().clone());
        self.is_closed()
    }
}

/// A TCP stream that obeys its [`Breaker`].
#[derive(Debug)]
pub(super) struct BreakableTcp {
    tcp: TcpStream,
    breaker: Arc<Breaker>,
}

impl BreakableTcp {
    pub(super) const fn new(tcp: TcpStream, breaker: Arc<Breaker>) -> Self {
        Self { tcp, breaker }
    }

    /// Ends the stream as ordered. `Reset` needs the caller to drop it afterwards.
    fn prepare(&self, cut: Cut) {
        let socket = socket2::SockRef::from(&self.tcp);
        let result = match cut {
            Cut::Reset => socket.set_linger(Some(std::time::Duration::ZERO)),
            Cut::Fin | Cut::ReservedBits | Cut::BadUtf8 => socket.shutdown(std::net::Shutdown::Write),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the simulated cut came after the end of the connection");
        }
    }
}

impl AsyncRead for BreakableTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.breaker.closed_for_read(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for BreakableTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.breaker.closed_for_write(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.breaker.closed_for_write(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.breaker.closed_for_write(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// A client's byte stream, with or without TLS.
#[derive(Debug)]
pub(super) enum ByteStream {
    /// `ws://`
    Plain(BreakableTcp),
    /// `wss://`
    Tls(Box<TlsStream<BreakableTcp>>),
}

impl ByteStream {
    /// Ends the stream as ordered and drops it. After a FIN the peer gets a while to close, so that
    /// bytes still on their way do not turn it into a reset.
    pub(super) async fn end(mut self, cut: Cut) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let garbage: &[u8] = match cut {
            Cut::ReservedBits => &[0xf1, 0x00],
            Cut::BadUtf8 => &[0x81, 0x02, 0xc3, 0x28],
            Cut::Fin | Cut::Reset => &[],
        };
        if !garbage.is_empty() && (self.write_all(garbage).await.is_err() || self.flush().await.is_err()) {
            return;
        }
        self.tcp().prepare(cut);
        if cut != Cut::Reset {
            let mut sink = [0_u8; 1024];
            let drained = async { while matches!(self.read(&mut sink).await, Ok(count) if count > 0) {} };
            if tokio::time::timeout(DRAIN_TIME_MAX, drained).await.is_err() {
                tracing::debug!("the client did not close after the simulated FIN");
            }
        }
    }

    fn tcp(&self) -> &BreakableTcp {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// How long a half-closed stream waits for the client's own end.
const DRAIN_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

impl AsyncRead for ByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(context),
        }
    }
}
