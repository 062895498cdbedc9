//! The first message of a client: who it is, and whether we act for it at all.

use crate::{
    settings::RestoreMode,
    signaling::{ClientMessage, peek, view},
};

use super::{
    Event, Mode, Output,
    core::Session,
    directory::Directory,
    kept::Full,
    link::{Link, Stage},
    packed::Packed,
};

impl Session {
    /// Looks at what may be the first message, `None` if it is binary. False: the socket is no session, and
    /// the core is done with it.
    pub(super) fn begin(&mut self, text: Option<&[u8]>) -> bool {
        if self.client.has_begun {
            return true;
        }
        let peek = text.and_then(|text| peek(text).ok());
        match peek.as_ref().map(ClientMessage::of) {
            // They say nothing of who it is: the first message is still to come.
            Some(ClientMessage::Ping | ClientMessage::Pong) => return true,
            Some(ClientMessage::ConnectMediaTransport(_)) => {
                self.out.push(Output::Mode(Mode::MediaSocket));
                self.link = Link::Ended;
                return false;
            }
            _ => {}
        }
        self.client.has_begun = true;
        self.out.push(Output::Mode(Mode::Session));
        true
    }

    pub(super) fn first_message(&mut self, text: &[u8], directory: &mut dyn Directory) {
        let Ok(peek) = peek(text) else {
            return self.pass_through("the first message is none of the protocol");
        };
        match ClientMessage::of(&peek) {
            ClientMessage::Connection(connection) if connection.argument().is_some() => {
                self.connection(connection, directory);
            }
            // A sign of life that came early: the session is still to begin.
            ClientMessage::Ping | ClientMessage::Pong => self.out.forward_upstream(),
            _ => self.pass_through("the first message is not `connection`"),
        }
    }

    fn connection(&mut self, connection: view::Connection<'_>, directory: &mut dyn Directory) {
        let mode = self.settings.restore_mode(connection.app_key().as_deref());
        let bytes = connection.text().len();
        let ctx = self.lend(directory).ctx;
        let reason = if connection.is_sfu() {
            Some("an application of the SFU SDK")
        } else if connection.client_version().as_deref().is_some_and(|version| version.starts_with("0.")) {
            Some("a client older than 2.0")
        } else if mode == RestoreMode::Passthrough {
            Some("restore mode `passthrough`")
        } else if !ctx.must_keep(bytes) {
            Some("its `connection` is larger than session.bytes_max")
        } else if !ctx.process_has_room(bytes) {
            Some("all sessions keep as much as limits.kept_memory_percent_max allows")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.pass_through(reason);
            return;
        }
        self.client.takes(connection, mode, &self.settings);
        self.link = Link::Up;
        self.out.forward_upstream();
    }

    /// A client that connects again on the same socket: from now on this is what it is, also for the
    /// next upstream. Its streams stay what they are.
    pub(super) fn connection_again(
        &mut self,
        connection: view::Connection<'_>,
        directory: &mut dyn Directory,
    ) {
        let mode = self.settings.restore_mode(connection.app_key().as_deref());
        let freed = self.client.connection.as_ref().map_or(0, Packed::len_bytes);
        let mut ctx = self.lend(directory).ctx;
        if !ctx.must_keep(connection.text().len().saturating_sub(freed)) {
            ctx.not_kept(Full::Session);
            return ctx.forward_or_drop();
        }
        self.client.takes(connection, mode, &self.settings);
        // It waits for the answer to this one.
        self.client.established = false;
        self.client.refused = false;
        self.client.got_version = false;
        match self.link.stage() {
            // The next upstream is told nothing else.
            Some(Stage::Waiting { .. } | Stage::Dialing) => {}
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => {
                self.abandon_try("the client connects anew", directory);
            }
            Some(Stage::Registering { .. } | Stage::Joining { .. }) | None => {
                self.out.forward_upstream();
            }
        }
    }

    pub(super) fn pass_through(&mut self, reason: &'static str) {
        self.out.event(Event::PassedThrough { reason });
        self.out.forward_upstream();
        self.out.push(Output::Mode(Mode::PassedThrough));
        self.link = Link::PassedThrough;
    }
}
