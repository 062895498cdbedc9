//! What the upstream of the current epoch says (protocol S2.2, S2.4, S2.6): forwarded, unless our
//! own replay caused it.

use crate::signaling::{
    ServerMessage, peek_into,
    view::{Fail, Field, StreamStatus, UserData},
};

use super::{
    Event, Output,
    core::{Lent, Session},
    directory::Directory,
    link::Stage,
    streams::{Order, with_token},
};

impl Session {
    pub(super) fn upstream_text(&mut self, text: &[u8], directory: &mut dyn Directory) {
        let Ok(peek) = peek_into(text, ServerMessage::is_looked_into) else {
            self.out.forward_to_client();
            return;
        };
        self.upstream_says(ServerMessage::of(&peek), directory);
    }

    /// What comes again and again changes nothing that is kept.
    fn upstream_says(&mut self, message: ServerMessage<'_>, directory: &mut dyn Directory) {
        use ServerMessage as Said;
        if let Some(reason) = refusal(&message).filter(|_| self.moving.is_under_way()) {
            // Against a stream at the other node: against the move, and no stream.
            return self.return_from_move(&reason, directory);
        }
        match message {
            Said::Ping => return self.upstream_ping(directory),
            Said::Other => return self.out.forward_to_client(),
            Said::UserData(user_data) => self.user_data(user_data, directory),
            Said::Version if self.client.hears_version(self.upstream.epoch) => self.out.forward_to_client(),
            Said::Version => {}
            Said::Registered => self.registered(directory),
            Said::Fail(fail) => self.fail(fail, directory),
            Said::RemoteSdp(remote) => {
                self.with_streams(directory, |streams, ctx| streams.remote_sdp(ctx, remote));
            }
            Said::StreamStatus(status) | Said::VideoFormat(status) => {
                self.with_streams(directory, |streams, ctx| streams.status(ctx, status));
            }
            Said::StreamEvent(event) => {
                self.with_streams(directory, |streams, ctx| streams.upstream_stream_event(ctx, event));
            }
            Said::VideoRate(rate) => {
                self.with_streams(directory, |streams, ctx| {
                    streams.forward_by_id(ctx, rate.media_session_id(), Order::BehindHeld);
                });
            }
            Said::AudioCodec(codec) => {
                self.with_streams(directory, |streams, ctx| {
                    streams.forward_by_id(ctx, codec.id(), Order::BehindHeld);
                });
            }
            Said::AvailableStream(answer) => {
                self.with_streams(directory, |streams, ctx| streams.available_answer(ctx, answer));
            }
            Said::MetricsUpdate(update) => {
                self.with_streams(directory, |streams, ctx| streams.table.metrics_update(ctx, update));
            }
            Said::DataStatus(status) => {
                let Lent { rooms, mut ctx, .. } = self.lend(directory);
                rooms.data_status(&mut ctx, status);
                self.go_on_when_joined(directory);
            }
            Said::DataEvent(event) => {
                let Lent { streams, rooms, mut ctx, .. } = self.lend(directory);
                rooms.event(&mut ctx, event, false, &|name| streams.plays(name));
            }
            Said::IncomingCall(call) => {
                let Lent { calls, mut ctx, .. } = self.lend(directory);
                calls.incoming_call(&mut ctx, call);
            }
            Said::CallStatus(call) => {
                let Lent { calls, mut ctx, .. } = self.lend(directory);
                calls.call_status(&mut ctx, call);
            }
        }
        self.kept.touch();
    }

    fn user_data(&mut self, user_data: UserData<'_>, directory: &mut dyn Directory) {
        let token = user_data.auth_token().and_then(Field::string);
        let token = token.filter(|token| token.len() <= self.settings.bounds.id_bytes_max);
        let token: Option<Box<str>> = token.as_deref().map(Into::into);
        let same_token = self.upstream.token == token;
        self.upstream.token = token;
        self.upstream.established_at = self.now;
        if self.client.established {
            self.later_user_data(user_data, same_token, directory);
        } else {
            self.first_user_data(user_data, directory);
        }
        self.out.push_some(self.client.route(&self.upstream));
    }

    /// The client's first: it goes through as it is, also when a replay brought it.
    fn first_user_data(&mut self, user_data: UserData<'_>, directory: &mut dyn Directory) {
        self.client.established = true;
        self.client.refused = false;
        let before = std::mem::replace(&mut self.client.token, self.upstream.token.clone());
        if let Some(token) = before.filter(|before| self.client.token.as_ref() != Some(before)) {
            // It connected again: its media sockets come with the new one.
            self.out.push(Output::ForgetMediaSockets { token });
        }
        self.out.forward_to_client();
        let app_key = user_data.app_key().unwrap_or_default().into_owned();
        self.out.event(Event::SessionUp { app_key, mode: self.client.mode.word() });
        if self.link.outage().is_some() {
            self.session_established(directory);
        }
    }

    fn later_user_data(&mut self, user_data: UserData<'_>, same_token: bool, directory: &mut dyn Directory) {
        if matches!(self.link.stage(), Some(Stage::Resuming { .. })) && !same_token {
            // The server may not have known the token at all. A SIP client would then be without
            // its registration for good: it starts over with everything it once sent.
            if self.client.registered {
                return self.resume_came_to_nothing("another session in place of the kept one", directory);
            }
            self.upstream.resumed = false;
            self.upstream.perhaps_resumed = true;
        }
        match self.link.stage() {
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => {
                self.lend(directory).ctx.load_restart(user_data.text());
                self.session_established(directory);
            }
            // Said by the server itself: the client hears it, under the token it knows.
            _ => match with_token(user_data, self.client.token.as_deref()) {
                Some(message) => self.out.say_to_client(message),
                None => self.out.forward_to_client(),
            },
        }
    }

    fn registered(&mut self, directory: &mut dyn Directory) {
        let repeated = std::mem::replace(&mut self.upstream.registered, true);
        let known = std::mem::replace(&mut self.client.registered, true);
        // The first one of a new epoch comes from our replay; later ones are the server's own.
        if !known || repeated || self.upstream.epoch.is_first() {
            self.out.forward_to_client();
        }
        if let Some(Stage::Registering { .. }) = self.link.stage() {
            self.join_rooms(directory);
        }
    }

    fn fail(&mut self, fail: Fail<'_>, directory: &mut dyn Directory) {
        if let Some(id) = fail.stream() {
            return self.with_streams(directory, |streams, ctx| streams.refused_by_fail(ctx, id, fail));
        }
        match self.link.stage() {
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => self.session_refused(fail, directory),
            _ => {
                self.client.refused |= !self.client.established;
                self.out.forward_to_client();
            }
        }
    }
}

/// Why a stream is refused, or over, if the message says so.
fn refusal(message: &ServerMessage<'_>) -> Option<String> {
    let info = match message {
        ServerMessage::StreamStatus(status) => {
            let over = status.status().filter(|word| StreamStatus::is_over(word))?;
            status.info().unwrap_or(over)
        }
        ServerMessage::Fail(fail) => fail.stream().and(Some(fail.info().unwrap_or_default()))?,
        _ => return None,
    };
    Some(info.into_owned())
}
