//! A byte stream towards a client or an upstream, with or without TLS.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// A connected socket. The TLS variants are boxed: their state is ten times that of a TCP socket
/// and would be paid by every plain session.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Bare TCP.
    Plain(TcpStream),
    /// TLS towards a client.
    TlsServer(Box<server::TlsStream<TcpStream>>),
    /// TLS towards an upstream.
    TlsClient(Box<client::TlsStream<TcpStream>>),
}

impl Socket {
    /// The address of this machine that the other side reached; IPv4 also where it came mapped.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::TlsServer(stream) => stream.get_ref().0,
            Self::TlsClient(stream) => stream.get_ref().0,
        };
        stream.local_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// The certificate that a client showed, and that was verified.
    pub(crate) fn client_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::TlsServer(stream) => stream.get_ref().1.peer_certificates()?.first().map(|der| &**der),
            Self::Plain(_) | Self::TlsClient(_) => None,
        }
    }

    /// Whether written bytes may stay in the socket's own buffer until it is flushed.
    pub(crate) const fn needs_flush(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::TlsServer(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::TlsClient(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::TlsServer(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            Self::TlsClient(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::TlsServer(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::TlsClient(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::TlsServer(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::TlsClient(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
