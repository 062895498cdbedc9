//! What the client says (protocol S2.1, S2.3, S2.5): kept in the ledger where it is an intent,
//! forwarded while the upstream stands, answered or held while it does not.

use crate::signaling::{Edits, Peek, peek, view};

use super::{
    Close, Event, Output, core::Session, ledger::Kind, packed::Packed, requests::Pending, state::Link,
};

impl Session {
    pub(super) fn client_text(&mut self, text: &[u8]) {
        match self.link {
            Link::First => {
                self.kept.touch();
                return self.first_message(text);
            }
            Link::Down(_) if self.client.connection.is_none() => return self.forward_or_hold(text),
            _ => {}
        }
        // A text that is no message is the server's to judge, like any unknown one.
        let Ok(peek) = peek(text) else {
            self.forward_or_hold(text);
            return;
        };
        match &*peek.name {
            "pong" => {}
            "ping" | "pushLogs" | "sendDtmf" | "submitBugReport" => self.forward_or_drop(),
            "webRTCMetricsBatch" => self.forward_for_stream(&peek),
            _ if self.client_asks(&peek) => self.kept.touch(),
            _ => self.forward_or_hold(text),
        }
    }

    /// A message that we act on; false if it is none.
    fn client_asks(&mut self, peek: &Peek<'_>) -> bool {
        match &*peek.name {
            "connection" if peek.argument(0).is_some() => self.connection_again(view::Connection::of(peek)),
            "publishStream" => self.stream_request(peek, Kind::Publish),
            "playStream" => self.stream_request(peek, Kind::Play),
            "unPublishStream" => self.stream_stop(peek, Kind::Publish),
            "stopStream" => self.stream_stop(peek, Kind::Play),
            "availableStream" => self.available(peek),
            "snapshot" => self.snapshot(peek),
            "sendStreamEvent" => self.stream_event(peek),
            "sendData" => self.send_data(peek),
            "call" => self.call(peek),
            "answer" | "hold" | "unhold" | "transfer" => self.call_verb(peek),
            "hangup" => self.hangup(peek),
            "sessionDebug" => self.session_debug(peek),
            "webRTCMetricsClientDescription" => self.metrics_description(peek),
            _ => return false,
        }
        true
    }

    pub(super) fn client_binary(&mut self) {
        match self.link {
            Link::First => self.first_binary(),
            // It speaks something of its own, and the upstream that might know it is gone.
            Link::Down(_) if self.client.connection.is_none() => {
                self.end(Some(Close::Code(1001)), Close::NoCode);
            }
            _ => self.forward_or_drop(),
        }
    }

    /// For what loses nothing when lost: one-shot notes that nobody waits for (protocol S4.2).
    pub(super) fn forward_or_drop(&mut self) {
        if self.is_up() {
            self.outputs.push(Output::ForwardToUpstream);
        }
    }

    /// For what we do not know: it waits for the next upstream, within the bounds of the hold.
    fn forward_or_hold(&mut self, text: &[u8]) {
        if self.is_up() {
            self.outputs.push(Output::ForwardToUpstream);
            return;
        }
        let hold = &self.settings.hold;
        let until = self.now + hold.time_max;
        if let Some(limit) = self.held_back.full(text.len(), hold) {
            self.event(Event::LimitReached { limit });
        } else if let Some(message) = self.kept_message(0, text) {
            self.held_back.hold_message(until, message);
            return;
        }
        if self.client.connection.is_none() && self.held_back.messages() == 0 {
            // Without its first message nobody can say what it wanted to be.
            self.give_up("its first message is too large to wait for an upstream".to_owned());
        }
    }

    pub(super) fn run_held_timers(&mut self) {
        if !self.held_back.expire_messages(self.now) {
            return;
        }
        self.event(Event::LimitReached { limit: "hold.ms_max" });
        if self.client.connection.is_none() {
            // Nobody can say what it wanted to be.
            self.give_up("no upstream for the first message".to_owned());
        }
    }

    /// What the client said before it had an upstream is heard as if said now.
    pub(super) fn hear_first_words(&mut self) {
        for message in self.held_back.take_messages() {
            if self.link == Link::PassedThrough {
                self.say_upstream(message.into_vec());
                continue;
            }
            let before = self.outputs.len();
            self.client_text(&message);
            for output in self.outputs.iter_mut().skip(before) {
                if matches!(output, Output::ForwardToUpstream) {
                    *output = Output::SendToUpstream(message.to_vec());
                }
            }
        }
    }

    pub(super) fn send_held(&mut self) {
        for message in self.held_back.take_messages() {
            self.say_upstream(message.into_vec());
        }
    }

    /// Forwards a message that names a stream in its first argument, under the id that the
    /// upstream knows.
    pub(super) fn forward_for_stream(&mut self, peek: &Peek<'_>) {
        if !self.is_up() {
            return;
        }
        let Some(span) = peek.field("mediaSessionId") else {
            self.outputs.push(Output::ForwardToUpstream);
            return;
        };
        let stream = peek.id("mediaSessionId").and_then(|id| self.ledger.by_client_id(&id));
        let stream = stream.and_then(|stream_id| self.ledger.streams.get(stream_id));
        match stream {
            Some(stream) if !stream.is_upstream() => {}
            Some(stream) => match stream.other_id() {
                Some(upstream_id) => {
                    let mut edits = Edits::new();
                    edits.push_string(span, upstream_id);
                    self.outputs.push(Output::SendToUpstream(edits.apply(peek.text())));
                }
                None => self.outputs.push(Output::ForwardToUpstream),
            },
            None => self.outputs.push(Output::ForwardToUpstream),
        }
    }

    /// Notes a request that waits for an answer. Past the bound it is only forwarded.
    pub(super) fn note_pending(&mut self, pending: Pending) {
        if self.ledger.requests.len() >= self.settings.bounds.pending_requests_max {
            self.event(Event::LimitReached { limit: "session.pending_requests_max" });
        } else if self.keep_if(self.may_keep_id(pending.longest()), pending.bytes()) {
            self.ledger.requests.note(pending);
        }
    }

    fn available(&mut self, peek: &Peek<'_>) {
        let Some(id) = self.client_id(peek, "mediaSessionId") else { return self.forward_or_drop() };
        let pending = Pending::Available(id.as_ref().into());
        if self.is_up() {
            self.forward_question(peek, pending);
        } else {
            self.answer_lost(pending);
        }
    }

    fn snapshot(&mut self, peek: &Peek<'_>) {
        let Some(id) = self.client_id(peek, "mediaSessionId") else { return self.forward_or_drop() };
        let pending = Pending::Snapshot(id.as_ref().into());
        if self.is_up() {
            self.forward_question(peek, pending);
        } else {
            self.answer_lost(pending);
        }
    }

    /// A question about a stream: forwarded if the upstream can know the stream, else answered.
    fn forward_question(&mut self, peek: &Peek<'_>, pending: Pending) {
        let before = self.outputs.len();
        self.forward_for_stream(peek);
        if self.outputs.len() > before {
            self.note_pending(pending);
        } else {
            self.answer_lost(pending);
        }
    }

    /// Answers a request whose answer will never come, in the shape the SDK needs to settle it
    /// (protocol S4.2).
    pub(super) fn answer_lost(&mut self, pending: Pending) {
        let answer = pending.lost_answer();
        match pending {
            Pending::Leave(_, room) => self.leave_room_behind(room),
            Pending::Hangup(id) => self.leave_call_behind(id),
            Pending::Data(_) | Pending::Available(_) | Pending::Snapshot(_) => {}
        }
        self.say_to_client(answer);
    }

    fn session_debug(&mut self, peek: &Peek<'_>) {
        self.ledger.debug = peek.string("command").as_deref() == Some("start");
        self.forward_or_drop();
    }

    fn metrics_description(&mut self, peek: &Peek<'_>) {
        let stream_id = peek.id("mediaSessionId").and_then(|id| self.ledger.by_client_id(&id));
        if let Some(stream) = stream_id.and_then(|stream_id| self.ledger.streams.get_mut(stream_id)) {
            stream.set_metrics(None);
            let (rest_bytes, text) = (stream.bytes(), peek.text());
            let fits = self.may_keep(rest_bytes.saturating_add(text.len()), text.len());
            if self.keep_if(fits, text.len())
                && let Some(stream) = stream_id.and_then(|stream_id| self.ledger.streams.get_mut(stream_id))
            {
                stream.set_metrics(Some(Packed::new(text)));
            }
        }
        self.forward_for_stream(peek);
    }

    /// A mute is an intent and is repeated on a new upstream; other stream events are not.
    fn stream_event(&mut self, peek: &Peek<'_>) {
        let stream_id = peek.id("mediaSessionId").and_then(|id| self.ledger.by_client_id(&id));
        if let Some(stream_id) = stream_id
            && let Some(stream) = self.ledger.streams.get_mut(stream_id)
        {
            if let Some(event) = peek.string("type") {
                stream.stream_event(&event);
            }
            self.tell_workers_of_mute(stream_id);
        }
        self.forward_for_stream(peek);
    }
}
