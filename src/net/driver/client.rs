//! The first message of a client, which says whether it is a session at all.

use crate::{
    net::{admission, media_socket},
    session::Timestamp,
    signaling,
    wire::read::{Batch, Message},
};

use super::{Driver, events::EndCause};

/// How often `idle_before_first_message` may begin anew because of signs of life: whoever sends nothing but
/// these is no client.
const PATIENCES_BEFORE_FIRST_MESSAGE_MAX: u32 = 10;

impl Driver {
    /// Looks at what may be the first message; true if the socket is a session no more.
    pub(super) fn is_first_message(&mut self, batch: &Batch<'_>, message: &Message, now: Timestamp) -> bool {
        let payload = batch.payload(message);
        let peek = (!message.is_binary).then(|| signaling::peek(payload).ok()).flatten();
        match peek.as_ref().map(|peek| &*peek.name) {
            // Signs of life say nothing of who it is: the first message is still to come.
            Some("ping" | "pong") => {
                let patience = self.shared.settings.listen.idle_before_first_message;
                let latest = self.began + patience * PATIENCES_BEFORE_FIRST_MESSAGE_MAX;
                self.heard_by = self.heard_by.map(|_| (now + patience).min(latest));
                false
            }
            name => {
                self.first_message_seen = true;
                self.heard_by = None;
                let newcomer = self.newcomer.as_ref();
                if newcomer.is_some_and(|newcomer| !admission::allows_first_message(&self.shared, newcomer)) {
                    self.reject_client(1013, now);
                    return true;
                }
                name == Some(media_socket::CONNECT) && self.becomes_media_socket(payload, batch.rest())
            }
        }
    }

    /// `rest` is what was read behind the message.
    fn becomes_media_socket(&mut self, message: &[u8], rest: &[u8]) -> bool {
        let (Some(mut client), Some(place)) = (self.client.take(), self.place.take()) else { return false };
        client.unread(rest);
        self.end_cause = EndCause::MediaSocket;
        let start = media_socket::Start {
            client,
            upstream: self.upstream.take(),
            node: self.registered.mailbox.node(),
            request: std::sync::Arc::clone(&self.request),
            id: self.id(),
            place,
            newcomer: self.newcomer.take(),
        };
        media_socket::spawn(&self.shared, start, message);
        true
    }
}
