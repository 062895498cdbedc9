//! The first message of a client: who it is, and whether we act for it at all.

use crate::{
    config::RestoreMode,
    signaling::{Peek, PeekError, peek, view},
};

use super::{Close, Event, Output, core::Session, packed::Packed, state::Link};

/// Close code for data of a kind we cannot take (RFC 6455 section 7.4.1).
const CLOSE_UNSUPPORTED: u16 = 1003;
/// Close code for a message that breaks our rules (RFC 6455 section 7.4.1).
const CLOSE_POLICY: u16 = 1008;

impl Session {
    pub(super) fn first_message(&mut self, text: &[u8]) {
        match peek(text) {
            Ok(peek) if peek.name == "connection" && peek.argument(0).is_some() => self.connection(&peek),
            Ok(_) => self.pass_through("the first message is not `connection`"),
            Err(error) => self.bad_first_message(error),
        }
    }

    pub(super) fn first_binary(&mut self) {
        self.event(Event::BadFirstMessage { reason: "a binary frame".to_owned() });
        self.end(Some(Close::Code(CLOSE_UNSUPPORTED)), Close::NoCode);
    }

    fn bad_first_message(&mut self, error: PeekError) {
        self.event(Event::BadFirstMessage { reason: error.to_string() });
        self.end(Some(Close::Code(CLOSE_POLICY)), Close::NoCode);
    }

    fn connection(&mut self, peek: &Peek<'_>) {
        let connection = view::Connection::read(peek);
        let mode = self.settings.restore_mode(connection.app_key.as_deref());
        let bytes = peek.text().len();
        let reason = if connection.is_sfu() {
            Some("an application of the SFU SDK")
        } else if connection.client_version.as_deref().is_some_and(|version| version.starts_with("0.")) {
            Some("a client older than 2.0")
        } else if mode == RestoreMode::Passthrough {
            Some("restore mode `passthrough`")
        } else if !self.must_keep(bytes) {
            Some("its `connection` is larger than session.bytes_max")
        } else if !self.process_has_room(bytes) {
            Some("all sessions keep as much as limits.kept_memory_percent_max allows")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.pass_through(reason);
            return;
        }
        self.client.keep_alive = connection.keep_alive == Some(true);
        self.client.mode = mode;
        self.client.identity = self.client.handshake.with_connection(peek);
        self.client.connection = Some(Packed::new(peek.text()));
        self.link = Link::Up;
        self.outputs.push(Output::ForwardToUpstream);
    }

    fn pass_through(&mut self, reason: &'static str) {
        self.event(Event::PassedThrough { reason });
        self.outputs.push(Output::ForwardToUpstream);
        self.outputs.push(Output::Passthrough);
        self.link = Link::PassedThrough;
    }
}
