//! What the upstream of the current epoch says (protocol S2.2, S2.4, S2.6): forwarded, unless our
//! own replay caused it.

use crate::signaling::{Edits, Peek, Span, elements, identifier, peek};

use super::{
    Event, Output,
    core::Session,
    held_back::Subject,
    leg::ClientLeg,
    requests::Pending,
    state::Stage,
    stream::{Stream, StreamId},
};

impl Session {
    pub(super) fn upstream_text(&mut self, text: &[u8]) {
        let Ok(peek) = peek(text) else {
            self.outputs.push(Output::ForwardToClient);
            return;
        };
        match &*peek.name {
            "ping" => self.upstream_ping(),
            _ if self.upstream_says(&peek) => self.kept.touch(),
            _ => self.outputs.push(Output::ForwardToClient),
        }
    }

    /// A message that we act on; false if it is none.
    fn upstream_says(&mut self, peek: &Peek<'_>) -> bool {
        match &*peek.name {
            "getUserData" => self.user_data(peek),
            "getVersion" => self.version(),
            "registered" => self.registered(),
            "fail" => self.fail(peek),
            "setRemoteSDP" => self.remote_sdp(peek),
            "notifyStreamStatusEvent" | "notifyVideoFormat" => self.stream_status(peek),
            "notifyStreamEvent" => self.upstream_stream_event(peek),
            "inboundVideoRate" | "outboundVideoRate" => self.about_stream(peek, peek.field("mediaSessionId")),
            "availableStream" => self.available_answer(peek),
            "notifyAudioCodec" => self.about_stream(peek, peek.argument(0)),
            "DataStatusEvent" => self.data_status(peek),
            "OnDataEvent" => self.data_event(peek),
            "notifyIncomingCall" => self.incoming_call(peek),
            "notifyTryingResponse" | "ring" | "talk" | "hold" | "finish" | "busy" | "sessionProgress" => {
                self.call_status(peek);
            }
            "webRTCMetricsDescriptionUpdate" => self.metrics_update(peek),
            _ => return false,
        }
        true
    }

    fn user_data(&mut self, peek: &Peek<'_>) {
        let token = peek.string("authToken").filter(|token| self.is_short(token));
        let token: Option<Box<str>> = token.as_deref().map(Into::into);
        let same_token = self.upstream.token == token;
        self.upstream.token = token;
        self.upstream.established_at = self.now;
        if self.client.established {
            self.later_user_data(peek, same_token);
        } else {
            self.first_user_data(peek);
        }
        self.publish_token();
    }

    /// The client's first: it goes through as it is, also when a replay brought it.
    fn first_user_data(&mut self, peek: &Peek<'_>) {
        self.client.established = true;
        self.client.refused = false;
        let before = std::mem::replace(&mut self.client.token, self.upstream.token.clone());
        if let Some(token) = before.filter(|before| self.client.token.as_ref() != Some(before)) {
            // It connected again: its media sockets come with the new one.
            self.outputs.push(Output::ForgetMediaSockets { token });
        }
        self.outputs.push(Output::ForwardToClient);
        let app_key = peek.string("appKey").unwrap_or_default().into_owned();
        self.event(Event::SessionUp { app_key, mode: self.mode_name() });
        if self.outage().is_some() {
            self.session_established();
        }
    }

    fn later_user_data(&mut self, peek: &Peek<'_>, same_token: bool) {
        if matches!(self.outage().map(|outage| outage.stage), Some(Stage::Resuming { .. })) && !same_token {
            // The server may not have known the token at all. A SIP client would then be without
            // its registration for good: it starts over with everything it once sent.
            if self.client.registered {
                return self.resume_came_to_nothing("another session in place of the kept one");
            }
            self.upstream.resumed = false;
            self.upstream.perhaps_resumed = true;
        }
        match self.outage().map(|outage| outage.stage) {
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => {
                self.load_lever(peek.text());
                self.session_established();
            }
            // Said by the server itself: the client hears it, under the token it knows.
            _ => match with_token(peek, self.client.token.as_deref()) {
                Some(message) => self.say_to_client(message),
                None => self.outputs.push(Output::ForwardToClient),
            },
        }
    }

    /// Media sockets come with the client's token; this is where they belong now.
    pub(super) fn publish_token(&mut self) {
        if let (Some(client), Some(upstream)) = (&self.client.token, &self.upstream.token) {
            self.outputs.push(Output::RouteMediaSockets {
                token: client.clone(),
                epoch: self.epoch,
                upstream_token: Some(std::sync::Arc::from(&**upstream)),
            });
        }
    }

    fn version(&mut self) {
        if !std::mem::replace(&mut self.client.got_version, true) || self.is_first_epoch() {
            self.outputs.push(Output::ForwardToClient);
        }
    }

    fn is_first_epoch(&self) -> bool {
        self.epoch == super::Epoch(0)
    }

    fn registered(&mut self) {
        let repeated = std::mem::replace(&mut self.upstream.registered, true);
        let known = std::mem::replace(&mut self.client.registered, true);
        // The first one of a new epoch comes from our replay; later ones are the server's own.
        if !known || repeated || self.is_first_epoch() {
            self.outputs.push(Output::ForwardToClient);
        }
        if let Some(Stage::Registering { .. }) = self.outage().map(|outage| outage.stage) {
            self.join_rooms();
        }
    }

    fn fail(&mut self, peek: &Peek<'_>) {
        let about_stream = peek.string("apiMethod").as_deref() == Some("StreamStatusEvent");
        if about_stream && peek.field("id").is_some() {
            self.stream_refused_by_fail(peek);
            return;
        }
        match self.outage().map(|outage| outage.stage) {
            Some(Stage::Resuming { .. } | Stage::Connecting { .. }) => self.session_refused(peek),
            _ => {
                self.client.refused |= !self.client.established;
                self.outputs.push(Output::ForwardToClient);
            }
        }
    }

    fn remote_sdp(&mut self, peek: &Peek<'_>) {
        let id = peek.id_argument(0);
        let Some(stream_id) = id.as_deref().and_then(|id| self.ledger.by_upstream_id(id)) else {
            return self.about_stream(peek, peek.argument(0));
        };
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        if let Some(key) = stream.leg().map(ClientLeg::key) {
            return self.upstream_answer(key, peek);
        }
        if stream.answer() {
            self.forward_as(stream_id, peek, peek.argument(0));
        }
    }

    /// Forwards a message about a stream, with the id the client knows; drops what concerns a
    /// request we took back.
    pub(super) fn about_stream(&mut self, peek: &Peek<'_>, id_span: Option<Span>) {
        let id = id_span.and_then(|span| identifier(peek.text(), span));
        let Some(id) = id else {
            self.outputs.push(Output::ForwardToClient);
            return;
        };
        match self.ledger.by_upstream_id(&id) {
            Some(stream_id) => self.forward_as(stream_id, peek, id_span),
            None if self.ledger.is_retired(&id) || self.ledger.is_away(&id) => {}
            None => self.outputs.push(Output::ForwardToClient),
        }
    }

    /// Forwards a message about a stream we know, in order behind what is held back for it.
    pub(super) fn forward_as(&mut self, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let message = mapped(stream, peek, id_span);
        if self.held_back.holds_of_stream(stream.client_id()) && !is_answer(peek) {
            let subject = Subject::Stream(stream.client_id().into());
            let message = message.unwrap_or_else(|| peek.text().to_vec());
            if !self.hold_as_burst(subject.clone(), &message) {
                self.say_behind_burst(subject, message);
            }
            return;
        }
        if stream.leg().is_some_and(ClientLeg::withholds) && !is_answer(peek) {
            self.withhold(stream_id, message.as_deref().unwrap_or_else(|| peek.text()));
            return;
        }
        match message {
            Some(message) => self.say_to_client(message),
            None => self.outputs.push(Output::ForwardToClient),
        }
    }

    fn upstream_stream_event(&mut self, peek: &Peek<'_>) {
        let id_span = peek.field("mediaSessionId");
        let kind = peek.string("type");
        if let (Some("snapshotCompleted" | "snapshotFailed"), Some(id)) =
            (kind.as_deref(), peek.id("mediaSessionId"))
        {
            let client_id = self.client_id_of(&id);
            let _ = self.ledger.requests.settle(&Pending::Snapshot(client_id));
        }
        self.about_stream(peek, id_span);
    }

    fn available_answer(&mut self, peek: &Peek<'_>) {
        if let Some(id) = peek.id("id") {
            let wanted = Pending::Available(self.client_id_of(&id));
            // One answer settles all questions of that stream (protocol S2.4).
            while self.ledger.requests.settle(&wanted) {}
        }
        self.about_stream(peek, peek.field("id"));
    }

    fn client_id_of(&self, upstream_id: &str) -> Box<str> {
        let stream =
            self.ledger.by_upstream_id(upstream_id).and_then(|stream_id| self.ledger.streams.get(stream_id));
        stream.map_or_else(|| upstream_id.into(), |stream| stream.client_id().into())
    }

    fn metrics_update(&mut self, peek: &Peek<'_>) {
        let mut edits = Edits::new();
        let ids = peek.field("ids");
        for span in ids.into_iter().flat_map(|ids| elements(peek.text(), ids)) {
            let stream = identifier(peek.text(), span).and_then(|id| self.ledger.by_upstream_id(&id));
            if let Some(stream) = stream.and_then(|stream_id| self.ledger.streams.get(stream_id)) {
                edits.push_string(span, stream.client_id());
            }
        }
        if edits.is_empty() {
            self.outputs.push(Output::ForwardToClient);
        } else {
            self.say_to_client(edits.apply(peek.text()));
        }
    }
}

/// Whether it settles a question: that is not an event of the stream, and must not share its end.
fn is_answer(peek: &Peek<'_>) -> bool {
    match &*peek.name {
        "availableStream" => true,
        "notifyStreamEvent" => peek.string("type").is_some_and(|kind| kind.starts_with("snapshot")),
        _ => false,
    }
}

/// The server's message under the client's id; `None` if it needs no change.
pub(super) fn mapped(stream: &Stream, peek: &Peek<'_>, id_span: Option<Span>) -> Option<Vec<u8>> {
    stream.other_id()?;
    let mut edits = Edits::new();
    edits.push_string(id_span?, stream.client_id());
    Some(edits.apply(peek.text()))
}

/// A `getUserData` with the token the client knows; `None` if it needs no change.
pub(super) fn with_token(peek: &Peek<'_>, token: Option<&str>) -> Option<Vec<u8>> {
    let mut edits = Edits::new();
    edits.push_string(peek.field("authToken")?, token?);
    Some(edits.apply(peek.text()))
}
