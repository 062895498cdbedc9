//! What a session knows of both sides. Holds it; what follows from it is decided by others.

use crate::settings::{CheckBitrate, RestoreMode, RestoreSettings};

use super::{
    Identity, Timestamp,
    alive::{ClientLife, Silence},
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

    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            handshake: Identity::NONE,
            identity: Identity::NONE,
            has_begun: false,
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

/// What is known of the upstream of the current epoch.
#[derive(Debug)]
pub(super) struct Upstream {
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
    /// A resume was refused in this outage: not tried again.
    pub(super) resume_refused: bool,
    /// Failed tries that still count for the backoff.
    pub(super) failures: u32,
    /// Dials since a connection last stayed.
    pub(super) tries: u32,
    /// What ended the present wait early, and when.
    pub(super) news: News,
}

/// What a session made of the news that its wait may be over (rule R6). News is no proof: whoever is
/// told again and again that a node answers, and then fails there, must not dial at the pace of the
/// news.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    /// What failed last was not reaching a node: one answered, in whichever way.
    pub(super) was_answered: bool,
    /// A node was said to be up, and was believed.
    pub(super) node_believed_at: Option<Timestamp>,
    /// A path was said to be open again, and was believed.
    pub(super) path_believed: bool,
}

impl Upstream {
    pub(super) const fn tries_are_used_up(&self, settings: &RestoreSettings) -> bool {
        settings.tries_max > 0 && self.tries >= settings.tries_max
    }

    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            token: None,
            established_at: now,
            silence: Silence::new(now),
            registered: false,
            resumed: false,
            perhaps_resumed: false,
            resume_refused: false,
            failures: 0,
            tries: 0,
            news: News { was_answered: false, node_believed_at: None, path_believed: false },
        }
    }
}
