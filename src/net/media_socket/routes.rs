//! Client tokens and the upstream tokens behind them (protocol S2.9, S7).
//!
//! A client keeps the token of its first `getUserData` for the life of its socket; each new
//! epoch brings another one upstream. Media sockets come with the client's token. Sessions say
//! where it belongs, media sockets look it up; hands out clones, never guards.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::session::{Epoch, SessionId};

/// Where the media socket of a client token belongs.
#[derive(Clone, Debug)]
pub(crate) struct MediaRoute {
    /// The session the token belongs to.
    pub(crate) session: SessionId,
    /// The epoch of that session in which `upstream_token` is valid.
    pub(crate) epoch: Epoch,
    /// The token to present upstream; `None` while the session is in an outage.
    pub(crate) upstream_token: Option<Arc<str>>,
    /// Notified (all waiters) whenever this route changes or ends.
    pub(crate) changed: Arc<Notify>,
}

/// The map from client token to [`MediaRoute`]. One entry per session with a token.
#[derive(Debug, Default)]
pub(crate) struct MediaRoutes {
    routes: DashMap<Box<str>, MediaRoute>,
}

impl MediaRoutes {
    /// States that in `epoch` the client's token is `upstream_token` upstream (`None`: outage).
    pub(crate) fn set(
        &self,
        client_token: &str,
        session: SessionId,
        epoch: Epoch,
        upstream_token: Option<Arc<str>>,
    ) {
        let changed = if let Some(mut route) = self.routes.get_mut(client_token) {
            route.session = session;
            route.epoch = epoch;
            route.upstream_token = upstream_token;
            Arc::clone(&route.changed)
        } else {
            let changed = Arc::new(Notify::new());
            let route = MediaRoute { session, epoch, upstream_token, changed: Arc::clone(&changed) };
            self.routes.insert(client_token.into(), route);
            changed
        };
        changed.notify_waiters();
    }

    /// Forgets the token if it still belongs to `session`; waiters are notified.
    pub(crate) fn remove(&self, client_token: &str, session: SessionId) {
        let removed = self.routes.remove_if(client_token, |_, route| route.session == session);
        if let Some((_, route)) = removed {
            route.changed.notify_waiters();
        }
    }

    /// The route of a client token, if any session has it.
    pub(crate) fn get(&self, client_token: &str) -> Option<MediaRoute> {
        self.routes.get(client_token).map(|route| route.clone())
    }
}
