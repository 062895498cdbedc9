//! Media sockets (protocol S2.9): the second kind of socket, over which MSE and WSPlayer players
//! receive their stream.
//!
//! A media socket belongs to the node of its session and presents the session's token there, in
//! the upstream's spelling. When that node is lost the client's socket stays open; as soon as the
//! session stands on a new epoch, a new upstream socket takes over between two messages. How the
//! session itself is restored is not decided here.

mod pump;
mod routes;
mod task;
mod timeline;

use std::sync::Arc;

use crate::{
    ids::NodeId,
    session::SessionId,
    signaling::{peek, view::MediaTransport},
    upstream::ClientRequest,
    wire::side::Side,
};

use super::{admission::Newcomer, live::Place, shared::Shared};

use task::MediaSocket;

pub(crate) use routes::MediaRoutes;

/// What a media socket begins with.
pub(super) struct Start {
    /// The client's socket.
    pub(super) client: Side,
    /// The upstream connection that was made before the kind of socket was known.
    pub(super) upstream: Option<Side>,
    /// Its node.
    pub(super) node: NodeId,
    /// For the dials to come.
    pub(super) request: Arc<ClientRequest>,
    /// The name of the socket in the log.
    pub(super) id: SessionId,
    /// Its place: a media socket counts as a session.
    pub(super) place: Place,
    /// What it has of its client's address until its token is known to be good.
    pub(super) newcomer: Option<Box<Newcomer>>,
}

/// Goes on with a socket whose first message said that it is one.
pub(super) fn spawn(shared: &Arc<Shared>, start: Start, message: &[u8]) {
    tokio::spawn(MediaSocket::new(shared, start, message).run());
}

/// The client's token in its first message.
fn token_in(message: &[u8]) -> Option<String> {
    let peek = peek(message).ok()?;
    Some(MediaTransport::of(&peek).auth_token()?.string()?.into_owned())
}

/// The first message with another token, every other byte the same.
fn with_token(message: &[u8], token: &str) -> Vec<u8> {
    let changed =
        peek(message).ok().and_then(|peek| Some(MediaTransport::of(&peek).auth_token()?.replaced(token)));
    changed.unwrap_or_else(|| message.to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_changes() {
        let message = br#"{ "data": [{"x":1, "authToken" : "a\u002fb"} ],"message":"connectMediaTransport"}"#;
        assert_eq!(token_in(message).unwrap(), "a/b");
        let changed = with_token(message, "new \"token\"");
        let wanted =
            br#"{ "data": [{"x":1, "authToken" : "new \"token\""} ],"message":"connectMediaTransport"}"#;
        assert_eq!(String::from_utf8_lossy(&changed), String::from_utf8_lossy(wanted));
        assert_eq!(token_in(br#"{"message":"connectMediaTransport","data":[null]}"#), None);
    }
}
