//! How connections end: what the core is told of it, and what the peer is told.

use std::sync::Arc;

use crate::{
    net::closing,
    session::{Close, Epoch, Input, LossCause, Timestamp},
    wire::read::End,
};

use super::{Driver, events::EndCause, reading::From};

/// Codes of a server that does not mean the session but itself.
const GOING_AWAY: u16 = 1001;
const SERVICE_RESTART: u16 = 1012;

impl Driver {
    /// One side ended its connection.
    pub(super) fn ended(&mut self, side: From, end: End, now: Timestamp) {
        match side {
            From::Client => self.client_ended(end, now),
            From::Upstream(epoch) if epoch == self.epoch => self.upstream_ended(end, now),
            From::Upstream(epoch) => self.beside_ended(epoch, end, now),
        }
    }

    /// The connection ended that is beside the one that leads.
    fn beside_ended(&mut self, epoch: Epoch, end: End, now: Timestamp) {
        let Some(beside) = self.beside.take() else { return };
        closing::close(&self.shared, beside.side, end.answer());
        self.tell(Input::UpstreamLost(epoch, end.loss()), now);
    }

    fn client_ended(&mut self, end: End, now: Timestamp) {
        match end {
            End::Closed(code, reason) => {
                self.end_cause = EndCause::Client(code);
                self.close_client(Close::frame(code));
                self.hear_reason(code, reason);
                self.tell_client_closed(code, now);
                self.parting = None;
            }
            End::Broke(error) => {
                tracing::warn!(session = %self.id(), %error, "the client broke the WebSocket protocol");
                self.reject_client(error.close_code(), now);
            }
            End::Dropped | End::Reset => self.client_gone(None, now),
        }
    }

    fn upstream_ended(&mut self, end: End, now: Timestamp) {
        let Some(upstream) = self.upstream.take() else { return };
        closing::close(&self.shared, upstream, end.answer());
        let cause = end.loss();
        self.is_sent_away =
            cause == LossCause::Closed(GOING_AWAY) || cause == LossCause::Closed(SERVICE_RESTART);
        if self.is_sent_away {
            let (shared, node) = (&self.shared, self.registered.mailbox.node());
            if shared.pool.closed_going_away(node, self.id()) {
                shared.movers.follow(shared);
            }
        }
        match end {
            End::Closed(code, reason) => self.hear_reason(code, reason),
            End::Broke(error) => {
                tracing::warn!(session = %self.id(), %error, "the upstream broke the WebSocket protocol");
            }
            End::Dropped | End::Reset => {}
        }
        self.tell_upstream_lost(cause, now);
        if self.client.is_none()
            && let Some(passage) = &mut self.passage
        {
            passage.closed_by_server();
        }
        self.parting = None;
        self.is_sent_away = false;
    }

    /// The client's socket is gone or is to be dropped.
    pub(super) fn client_gone(&mut self, code: Option<u16>, now: Timestamp) {
        if self.client.take().is_some() {
            self.end_cause = EndCause::ClientLost;
            self.tell_client_closed(code, now);
        }
    }

    /// The upstream connection is gone or is to be dropped.
    pub(super) fn upstream_gone(&mut self, cause: LossCause, now: Timestamp) {
        if self.upstream.take().is_some() {
            self.tell_upstream_lost(cause, now);
        }
    }

    /// The client's socket has ended; the upstream is closed at once.
    pub(super) fn tell_client_closed(&mut self, code: Option<u16>, now: Timestamp) {
        let passthrough = self.is_passed_through();
        self.tell(Input::ClientClosed(code), now);
        if passthrough && let Some(upstream) = self.upstream.take() {
            self.part(upstream, Close::frame(code), ());
        }
    }

    fn tell_upstream_lost(&mut self, cause: LossCause, now: Timestamp) {
        if self.is_passed_through() {
            self.close_client(cause.as_close());
            self.core.handle(Input::ClientClosed(None), now);
            return;
        }
        self.tell(Input::UpstreamLost(self.epoch, cause), now);
        if self.dial.is_none() && self.upstream.is_none() && self.client.is_some() {
            // The core waits before its next dial: the last connection did not last.
            self.waits_for_node = true;
            let mailbox = Arc::clone(&self.registered.mailbox);
            self.shared.pool.wait_for_return(self.id(), mailbox, &self.request);
        }
    }

    /// Keeps the reason of a close frame while what it leads to is carried out.
    fn hear_reason(&mut self, code: Option<u16>, reason: Box<str>) {
        self.parting = code.filter(|_| !reason.is_empty()).map(|code| Box::new((code, reason)));
    }
}
