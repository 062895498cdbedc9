//! What the upstream of the current epoch says (protocol S2.2, S2.4, S2.6): forwarded, unless our
//! own replay caused it.

use crate::signaling::{Peek, peek};

use super::{
    Event, Output,
    core::{Lent, Session},
    directory::Directory,
    link::Stage,
    streams::with_token,
};

impl Session {
    pub(super) fn upstream_text(&mut self, text: &[u8], directory: &mut dyn Directory) {
        let Ok(peek) = peek(text) else {
            self.out.forward_to_client();
            return;
        };
        match &*peek.name {
            "ping" => self.upstream_ping(directory),
            _ if self.upstream_says(&peek, directory) => self.kept.touch(),
            _ => self.out.forward_to_client(),
        }
    }

    /// A message that we act on; false if it is none.
    fn upstream_says(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) -> bool {
        match &*peek.name {
            "getUserData" => self.user_data(peek, directory),
            "getVersion" => self.version(),
            "registered" => self.registered(directory),
            "fail" => self.fail(peek, directory),
            "DataStatusEvent" => {
                let Lent { rooms, mut ctx, .. } = self.lend(directory);
                rooms.data_status(&mut ctx, peek);
                self.go_on_when_joined(directory);
            }
            _ => return self.upstream_says_of_part(peek, directory),
        }
        true
    }

    /// A message about a stream, a room or a call; false if it is none.
    fn upstream_says_of_part(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) -> bool {
        let Lent { streams, rooms, calls, mut ctx } = self.lend(directory);
        let ctx = &mut ctx;
        match &*peek.name {
            "setRemoteSDP" => streams.remote_sdp(ctx, peek),
            "notifyStreamStatusEvent" | "notifyVideoFormat" => streams.status(ctx, peek),
            "notifyStreamEvent" => streams.upstream_stream_event(ctx, peek),
            "inboundVideoRate" | "outboundVideoRate" => {
                streams.about_stream(ctx, peek, peek.field("mediaSessionId"));
            }
            "availableStream" => streams.available_answer(ctx, peek),
            "notifyAudioCodec" => streams.about_stream(ctx, peek, peek.argument(0)),
            "webRTCMetricsDescriptionUpdate" => streams.table.metrics_update(ctx, peek),
            "OnDataEvent" => rooms.event(ctx, peek, false, &|name| streams.plays(name)),
            "notifyIncomingCall" => calls.incoming_call(ctx, peek),
            "notifyTryingResponse" | "ring" | "talk" | "hold" | "finish" | "busy" | "sessionProgress" => {
                calls.call_status(ctx, peek);
            }
            _ => return false,
        }
        true
    }

    fn user_data(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) {
        let token = peek.string("authToken").filter(|token| token.len() <= self.settings.bounds.id_bytes_max);
        let token: Option<Box<str>> = token.as_deref().map(Into::into);
        let same_token = self.upstream.token == token;
        self.upstream.token = token;
        self.upstream.established_at = self.now;
        if self.client.established {
            self.later_user_data(peek, same_token, directory);
        } else {
            self.first_user_data(peek, directory);
        }
        self.publish_token();
    }

    /// The client's first: it goes through as it is, also when a replay brought it.
    fn first_user_data(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) {
        self.client.established = true;
        self.client.refused = false;
        let before = std::mem::replace(&mut self.client.token, self.upstream.token.clone());
        if let Some(token) = before.filter(|before| self.client.token.as_ref() != Some(before)) {
            // It connected again: its media sockets come with the new one.
            self.out.push(Output::ForgetMediaSockets { token });
        }
        self.out.forward_to_client();
        let app_key = peek.string("appKey").unwrap_or_default().into_owned();
        self.out.event(Event::SessionUp { app_key, mode: self.client.mode.word() });
        if self.link.outage().is_some() {
            self.session_established(directory);
        }
    }

    fn later_user_data(&mut self, peek: &Peek<'_>, same_token: bool, directory: &mut dyn Directory) {
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
                self.lend(directory).ctx.load_restart(peek.text());
                self.session_established(directory);
            }
            // Said by the server itself: the client hears it, under the token it knows.
            _ => match with_token(peek, self.client.token.as_deref()) {
                Some(message) => self.out.say_to_client(message),
                None => self.out.forward_to_client(),
            },
        }
    }

    /// Media sockets come with the client's token; this is where they belong now.
    pub(super) fn publish_token(&mut self) {
        if let (Some(client), Some(upstream)) = (&self.client.token, &self.upstream.token) {
            self.out.push(Output::RouteMediaSockets {
                token: client.clone(),
                epoch: self.upstream.epoch,
                upstream_token: Some(std::sync::Arc::from(&**upstream)),
            });
        }
    }

    fn version(&mut self) {
        if !std::mem::replace(&mut self.client.got_version, true) || self.upstream.epoch.is_first() {
            self.out.forward_to_client();
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

    fn fail(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) {
        let about_stream = peek.string("apiMethod").as_deref() == Some("StreamStatusEvent");
        if about_stream && peek.field("id").is_some() {
            let Lent { streams, mut ctx, .. } = self.lend(directory);
            streams.refused_by_fail(&mut ctx, peek);
            return;
        }
        match self.link.stage() {
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => self.session_refused(peek, directory),
            _ => {
                self.client.refused |= !self.client.established;
                self.out.forward_to_client();
            }
        }
    }
}
