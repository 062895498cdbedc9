//! What the core says the client's socket is: the driver only carries it out.

use std::sync::Arc;

use crate::{
    net::{admission, media_socket},
    session::{Close, Mode, Timestamp},
    wire::read::{Batch, Message},
};

use super::{Driver, events::EndCause};

/// How often `idle_before_first_message` may begin anew because of signs of life: whoever sends nothing but
/// these is no client.
const PATIENCES_BEFORE_FIRST_MESSAGE_MAX: u32 = 10;

impl Driver {
    /// Whether frames are copied without asking the core.
    pub(super) fn is_passed_through(&self) -> bool {
        self.mode == Some(Mode::PassedThrough)
    }

    /// The core has said what the socket is, by the message that is being handled. False: this session is
    /// over, and what else was ordered for the message is void.
    pub(super) fn enter(&mut self, mode: Mode, batch: &Batch<'_>, message: &Message, now: Timestamp) -> bool {
        if self.mode.is_none() && !self.is_allowed(now) {
            return false;
        }
        match mode {
            Mode::Session => self.mode = Some(mode),
            Mode::PassedThrough => self.pass_through(now),
            Mode::MediaSocket => self.become_media_socket(batch.payload(message), batch.rest()),
        }
        mode != Mode::MediaSocket
    }

    /// From now on frames are copied.
    pub(super) fn pass_through(&mut self, now: Timestamp) {
        self.mode = Some(Mode::PassedThrough);
        self.passed_something(now);
    }

    /// A sign of life came and not yet the first message: it gets its time again.
    pub(super) fn wait_for_first_message(&mut self, now: Timestamp) {
        let patience = self.shared.settings.load().listen.idle_before_first_message;
        let latest = self.began + patience * PATIENCES_BEFORE_FIRST_MESSAGE_MAX;
        self.heard_by = self.heard_by.map(|_| (now + patience).min(latest));
    }

    /// The first message has come. False: it is one too many of its address, and the client is sent away.
    fn is_allowed(&mut self, now: Timestamp) -> bool {
        self.heard_by = None;
        let newcomer = self.newcomer.as_ref();
        if newcomer.is_none_or(|newcomer| admission::allows_first_message(&self.shared, newcomer)) {
            return true;
        }
        self.reject_client(1013, now);
        if let Some(upstream) = self.upstream.take() {
            // The core may be done with it already.
            self.part(upstream, Close::Code(1001), ());
        }
        false
    }

    /// `rest` is what was read behind the message.
    fn become_media_socket(&mut self, message: &[u8], rest: &[u8]) {
        let (Some(mut client), Some(place)) = (self.client.take(), self.place.take()) else { return };
        client.unread(rest);
        self.end_cause = EndCause::MediaSocket;
        let start = media_socket::Start {
            client,
            upstream: self.upstream.take(),
            node: self.registered.mailbox.node(),
            request: Arc::clone(&self.request),
            id: self.id(),
            place,
            newcomer: self.newcomer.take(),
        };
        media_socket::spawn(&self.shared, start, message);
    }
}
