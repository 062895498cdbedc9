//! Why there is no conversation with a server: the verdicts on what is no WCS.

use std::io;

use http::StatusCode;
use thiserror::Error;

/// Why a dial did not lead to a WebSocket.
#[derive(Debug, Error)]
pub(super) enum DialError {
    /// The URL is none that can be dialled.
    #[error("{0}")]
    Url(String),
    /// The certificates to trust cannot be read.
    #[error("{0}")]
    Certificates(String),
    /// The name has no address.
    #[error("the name is not known: {0}")]
    Name(io::Error),
    /// Nobody listens there.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// TLS did not come to stand.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// It accepts connections and says nothing.
    #[error("it accepts connections and answers no handshake within {0} s")]
    Silent(u64),
    /// It answers something that is no HTTP.
    #[error("it does not speak HTTP: {0}")]
    NoHttp(String),
    /// It is a web server that has no WebSocket there.
    #[error("it answers the handshake with HTTP {0}{hint}", hint = hint(*.0))]
    Status(StatusCode),
    /// It says 101 and does not keep to RFC 6455.
    #[error("it answers the handshake with 101, but {0}")]
    NoWebSocket(&'static str),
    /// The bound of the run.
    #[error("all {0} dials are spent; --dials-max allows more")]
    Spent(u32),
}

/// What to do about a status.
fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 407 => ": it wants credentials, ws://NAME:PASSWORD@HOST",
        403 => ": it does not let us in there; perhaps it wants another path or an --origin that it knows",
        404 => ": there is no WebSocket at this path",
        301 | 302 | 307 | 308 => ": it points elsewhere; give the URL that it means",
        400 | 405 | 426 => ": what listens there is no WebSocket server, or wants ws:// instead of wss://",
        502..=504 => ": a proxy stands there that does not reach its server",
        _ => "",
    }
}

impl DialError {
    /// Whether somebody was reached at all.
    pub(super) const fn reached(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::NoHttp(_) | Self::Status(_) | Self::NoWebSocket(_))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By a close frame of the server, with this code (1005: none).
    Closed(u16),
    /// TCP ended without a close frame.
    Fin,
    /// TCP was reset.
    Reset,
    /// What came breaks RFC 6455.
    Protocol(String),
    /// A message was longer than may be.
    TooLong,
    /// It said more than may be.
    Flood,
    /// It sends back what it is told.
    Echo,
    /// It says what is no signaling.
    NoSignaling(&'static str),
    /// We closed it.
    ByUs,
}

impl End {
    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Closed(1005) => "a close frame without code".to_owned(),
            Self::Closed(code) => format!("a close frame with code {code}"),
            Self::Fin => "the end of its connection, without a close frame".to_owned(),
            Self::Reset => "a reset of its connection".to_owned(),
            Self::Protocol(error) => format!("a breach of the WebSocket protocol ({error})"),
            Self::TooLong => "a message of more than 16 MiB".to_owned(),
            Self::Flood => "more messages than anybody needs".to_owned(),
            Self::Echo => "what it was told: it is an echo server".to_owned(),
            Self::NoSignaling(what) => format!("{what}, which is no signaling of WCS"),
            Self::ByUs => "our close frame".to_owned(),
        }
    }

    /// The word of it in reports.
    pub(super) fn position(&self) -> String {
        match self {
            Self::Closed(code) => format!("close_{code}"),
            Self::Fin => "fin".to_owned(),
            Self::Reset => "reset".to_owned(),
            _ => "protocol".to_owned(),
        }
    }
}
