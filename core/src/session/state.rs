//! What a session knows of both sides. Holds it; what follows from it is decided by others.

use crate::{
    settings::{CheckBitrate, KeepaliveSettings, RestoreMode, SessionSettings},
    signaling::view::Connection,
};

use super::{
    Epoch, Identity, NodeId, Output, Timestamp,
    alive::{ClientLife, Silence},
    link::Link,
    outbox::Outbox,
    packed::Packed,
};

/// What is known of the client.
#[derive(Debug)]
pub(super) struct Client {
    /// Who it seems to be by its handshake alone.
    pub(super) handshake: Identity,
    /// Who it seems to be, its `connection` included (rule R7).
    pub(super) identity: Identity,
    /// It has said what it is.
    pub(super) has_begun: bool,
    /// Of which application it is, as a digest.
    pub(super) application: Identity,
    /// Its `connection`, once sent.
    pub(super) connection: Option<Packed>,
    pub(super) mode: RestoreMode,
    pub(super) keep_alive: bool,
    /// The check of its published video.
    pub(super) check_bitrate: CheckBitrate,
    /// It has had a `getUserData`.
    pub(super) established: bool,
    /// It has had `registered`.
    pub(super) registered: bool,
    pub(super) got_version: bool,
    /// The server refused its `connection`: the server's close is then the answer.
    pub(super) refused: bool,
    /// The token it was given first, and keeps for its media sockets.
    pub(super) token: Option<Box<str>>,
    pub(super) life: ClientLife,
}

impl Client {
    /// Whether answered streams may go on in a session that is resumed.
    pub(super) const fn mode_resumes(&self) -> bool {
        matches!(self.mode, RestoreMode::Auto | RestoreMode::Anchor | RestoreMode::Resume)
    }

    /// It says who it is.
    pub(super) fn takes(
        &mut self,
        connection: Connection<'_>,
        mode: RestoreMode,
        settings: &SessionSettings,
    ) {
        self.keep_alive = connection.keep_alive();
        self.mode = mode;
        self.check_bitrate = settings.check_bitrate(connection.app_key().as_deref());
        self.identity = self.handshake.with_connection(connection);
        self.application = Identity::NONE.and(connection.app_key().unwrap_or_default().as_bytes());
        self.connection = Some(Packed::new(connection.text()));
    }

    /// Media sockets come with its token; this upstream is where they belong.
    pub(super) fn route(&self, upstream: &Upstream) -> Option<Output> {
        let (token, upstream_token) = (self.token.clone()?, upstream.token.as_deref()?);
        let upstream_token = Some(std::sync::Arc::from(upstream_token));
        Some(Output::RouteMediaSockets { token, epoch: upstream.epoch, upstream_token })
    }

    /// A `getVersion` came: whether it is for the client. What a replay repeats is not.
    pub(super) const fn hears_version(&mut self, epoch: Epoch) -> bool {
        !std::mem::replace(&mut self.got_version, true) || epoch.is_first()
    }

    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            handshake: Identity::NONE,
            identity: Identity::NONE,
            has_begun: false,
            application: Identity::NONE,
            connection: None,
            mode: RestoreMode::Auto,
            keep_alive: false,
            check_bitrate: CheckBitrate::On,
            established: false,
            registered: false,
            got_version: false,
            refused: false,
            token: None,
            life: ClientLife::new(now),
        }
    }
}

/// What is known of the upstream connection of one epoch: the slot of that epoch. The one that a session has
/// leads; whatever another epoch says is dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) epoch: Epoch,
    /// Where it goes, or the last one went.
    pub(super) node: NodeId,
    /// The token of its `getUserData`; of the last one during an outage.
    pub(super) token: Option<Box<str>>,
    /// Since when the epoch is established.
    pub(super) established_at: Timestamp,
    pub(super) silence: Silence,
    /// `registered` came in this epoch.
    pub(super) registered: bool,
    /// The epoch is a resumed session (rule R8).
    pub(super) resumed: bool,
    /// It was asked for by token and came under another one: resumed or new, nobody says.
    pub(super) perhaps_resumed: bool,
}

impl Upstream {
    /// When its silence is to be looked at, where it is expected to say something.
    pub(super) fn silence_deadline(&self, link: Link, keepalive: &KeepaliveSettings) -> Option<Timestamp> {
        if link.hears_upstream() { self.silence.deadline(keepalive) } else { None }
    }

    /// Asks for a sign of life, once per silence.
    pub(super) fn ask(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.silence.probe(now) {
            out.push(Output::PingUpstream);
        }
    }

    /// The connection that the client came with.
    pub(super) const fn first(now: Timestamp) -> Self {
        Self::opened((Epoch(0), NodeId(0)), None, now)
    }

    /// A connection that stands, and has said nothing; `token` is that of the one before.
    pub(super) const fn opened(
        (epoch, node): (Epoch, NodeId),
        token: Option<Box<str>>,
        now: Timestamp,
    ) -> Self {
        Self {
            epoch,
            node,
            token,
            established_at: now,
            silence: Silence::new(now),
            registered: false,
            resumed: false,
            perhaps_resumed: false,
        }
    }
}
