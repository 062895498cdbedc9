//! Why a run cannot be made, and how single clients come to an end.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use http::{StatusCode, Uri};
use thiserror::Error;
use tokio_tungstenite::tungstenite;

use super::{
    settings::{
        MEDIA_KBPS_MAX, MEDIA_SESSIONS_MAX, MEDIA_THREADS_MAX, MESSAGE_BYTES_MAX, OUTAGES_MAX, RAMP_MAX,
        RATE_MAX, SESSIONS_MAX,
    },
    tls::TlsError,
    webrtc_client::ClientError,
};
use crate::simulator::{ControlError, ControlPort};

/// How the connection of one client failed or ended. Its text is the kind under which it is counted, so it
/// says nothing that differs from client to client.
#[derive(Debug, Error)]
pub(super) enum ClientEnd {
    /// No TCP connection.
    #[error("connect: {}", .0.kind())]
    Connect(#[source] io::Error),
    /// No TLS on it.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The handshake was answered, but not with 101.
    #[error("handshake refused: {0}")]
    Refused(StatusCode),
    /// The handshake went wrong.
    #[error("handshake: {0}")]
    Handshake(#[source] tungstenite::Error),
    /// All of that took longer than it may.
    #[error("not established in time")]
    TooSlow,
    /// The socket closed before the session was there.
    #[error("closed before getUserData")]
    ClosedEarly,
    /// The server answered `connection` with `fail`.
    #[error("refused by `fail`")]
    Fail,
    /// The socket broke.
    #[error("{0}")]
    Socket(#[from] tungstenite::Error),
    /// The socket ended without a close frame.
    #[error("the socket ended")]
    Ended,
    /// The server closed the socket with this code.
    #[error("closed with code {0}")]
    Closed(u16),
    /// The server said what is no message.
    #[error("not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
    /// There is no media for its stream.
    #[error("media: {0}")]
    Media(#[from] ClientError),
}

/// Why there is no run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The URL is none that can be loaded.
    #[error("{url}: {why}")]
    Url {
        /// As it was given.
        url: Uri,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name in the URL cannot be looked up.
    #[error("{0}")]
    Resolve(#[source] io::Error),
    /// The file of certificates to trust cannot be used.
    #[error("{}: {source}", path.display())]
    Certificates {
        /// Where it is; empty for the public roots.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody listens there.
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// There are no means for real media.
    #[error("no real media: {0}")]
    Media(#[source] io::Error),
    /// The server behind what is loaded cannot be controlled.
    #[error("the upstream cannot be controlled: {0}")]
    Upstream(#[from] UpstreamError),
}

/// Why there is no [`Caller`](super::Caller).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallerError {
    /// The server cannot be used.
    #[error(transparent)]
    Target(#[from] LoadError),
    /// Its connection failed.
    #[error("{0}")]
    Client(String),
}

impl From<ClientEnd> for CallerError {
    fn from(end: ClientEnd) -> Self {
        Self::Client(end.to_string())
    }
}

impl LoadError {
    pub(super) fn certificates(path: Option<PathBuf>, error: TlsError) -> Self {
        Self::Certificates { path: path.unwrap_or_default(), source: error.into() }
    }
}

/// Why the server behind what is loaded cannot be killed or started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Where it is to listen, somebody else does.
    #[error("somebody listens at {0} already")]
    AddressInUse(String),
    /// The address of the control port is none.
    #[error("expected http://IP:PORT instead of {0}")]
    NotAControlPort(Uri),
    /// The simulated server did not do what it was told.
    #[error("the control port {port}: {source}")]
    Control {
        /// Who was told.
        port: ControlPort,
        /// Why it did not.
        source: ControlError,
    },
    /// The command cannot be run, or what it started cannot be killed.
    #[error("the command: {0}")]
    Command(#[from] io::Error),
    /// It ended before it listened.
    #[error("the command ended at its start: {0}")]
    EndedAtStart(ExitStatus),
    /// It ended although nobody killed it.
    #[error("the command ended by itself: {0}")]
    Ended(ExitStatus),
    /// It does not listen in time.
    #[error("nobody listens at {listens} after {waited:?}")]
    DoesNotListen {
        /// Where it should.
        listens: String,
        /// How long it had.
        waited: Duration,
    },
}

/// Why settings make no run. The texts are those of the command line.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the texts say it")]
pub enum SettingsError {
    #[error("--message-bytes may be at most {MESSAGE_BYTES_MAX}")]
    LongMessages,
    #[error("--sessions, --ramp and --in-flight must be at least 1")]
    Nothing,
    #[error("--media real needs a scenario with streams: publish, publish-play or storm")]
    MediaWithoutStreams,
    #[error("--players is for the scenarios publish-play and storm")]
    PlayersWithoutUse,
    #[error("publish-play needs --players of at least 1; `publish` has none")]
    NoPlayers,
    #[error("--sessions must be more than --players: one publisher and its players")]
    FewSessions,
    #[error("--media-threads must be 1 to {MEDIA_THREADS_MAX}, --video-kbps at least 1")]
    MediaMeans,
    #[error("--upstream-command and --upstream-control are for the scenario storm")]
    UpstreamWithoutStorm,
    #[error("--kills must be 1 to {OUTAGES_MAX}")]
    Kills,
    #[error("more than {SESSIONS_MAX} sessions {MELTS}")]
    ManySessions,
    #[error("more than {RATE_MAX} messages per second {MELTS}")]
    ManyMessages,
    #[error("more than {RAMP_MAX} new sessions per second {MELTS}")]
    SteepRamp,
    #[error("more than {MEDIA_SESSIONS_MAX} sessions with real media {MELTS}")]
    ManyMediaSessions,
    #[error("{kbps} kbit/s of video (more than {MEDIA_KBPS_MAX}) {MELTS}")]
    MuchVideo { kbps: u64 },
}

/// Why there are bounds.
const MELTS: &str = "can bring a server down; add --no-limit if that is what you want";
