//! What the server's word on a stream means: a first answer, a proof, a refusal to be retried, or
//! an end the client must hear (rules R2, R3, R7, R9).

use crate::{
    registry::EndOfName,
    signaling::{Peek, Span, synthetic},
};

use super::{
    Event, Mail, Outcome, Output,
    core::Session,
    held_back::{HeldEvent, Subject},
    info::{RetryClass, classify, may_be_the_codec},
    ledger::Kind,
    request::offers_h264_and_vp8,
    stream::{End, Running, Standing, Stream, StreamId},
    streams::failed,
    upstream::mapped,
};

/// Statuses after which the SDK deletes a stream (protocol S3.3).
const TERMINAL: &[&str] = &["FAILED", "STOPPED", "UNPUBLISHED"];

/// What a publisher is told whose name is taken, where the server's own words were too many to keep.
const INFO_IN_USE: &str = "Stream name is already in use";

impl Session {
    pub(super) fn stream_status(&mut self, peek: &Peek<'_>) {
        let id_span = peek.field("mediaSessionId");
        let id = peek.id("mediaSessionId");
        let status = peek.string("status");
        let Some(stream_id) = id.as_deref().and_then(|id| self.ledger.by_upstream_id(id)) else {
            let over = status.is_some_and(|status| TERMINAL.contains(&&*status));
            if !self.kept_session_speaks(id.as_deref().unwrap_or_default(), over) {
                self.about_stream(peek, id_span);
            }
            return;
        };
        match status.as_deref() {
            Some(status) if TERMINAL.contains(&status) => self.stream_ended(stream_id, peek, id_span),
            Some(status) if self.is_running_word(stream_id, status) => {
                self.stream_runs(stream_id, peek, id_span)
            }
            _ => self.other_status(stream_id, peek, id_span),
        }
    }

    /// The server's word on a stream of the session before, which our replay has replaced: it is
    /// the kept session after all, and no concern of the client. False if it is none of these.
    fn kept_session_speaks(&mut self, id: &str, over: bool) -> bool {
        let retired = self.ledger.is_retired(id);
        if retired && !over {
            return false;
        }
        let Some((name, kind)) = self.ledger.left_behind.take_id(id) else { return false };
        if retired {
            // It was stopped, and this is the confirmation.
            return false;
        }
        if !over {
            self.say_upstream(synthetic::stop_stream(id, &name, kind.is_publish(), kind.running()));
        }
        self.ledger.retire(id);
        true
    }

    fn is_running_word(&self, stream_id: StreamId, status: &str) -> bool {
        self.ledger.streams.get(stream_id).is_some_and(|stream| stream.kind().running() == status)
    }

    /// Anything that is neither a start nor an end; what a replay repeats is not said again.
    fn other_status(&mut self, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        if !self.ledger.streams.get(stream_id).is_some_and(Stream::is_repeated) {
            self.forward_as(stream_id, peek, id_span);
        }
    }

    fn stream_runs(&mut self, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        match stream.runs() {
            Running::Known => {}
            Running::Proof { first } => self.proven_alive(stream_id, peek, first),
            Running::News => {
                self.tell_running(stream_id, peek, id_span);
                self.hold_name(stream_id);
            }
        }
    }

    fn proven_alive(&mut self, stream_id: StreamId, peek: &Peek<'_>, first: bool) {
        if first {
            self.tell_running(stream_id, peek, peek.field("mediaSessionId"));
        }
        self.restored(stream_id);
    }

    /// The stream is alive on the new upstream.
    pub(super) fn restored(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        let after = stream.proven(self.now);
        let outcome = Event::StreamOutcome {
            name: stream.name().to_owned(),
            stream: stream.client_id().to_owned(),
            kind: if stream.kind().is_publish() { "publish" } else { "play" },
            outcome: Outcome::Restored,
            after,
        };
        self.event(outcome);
        self.hold_name(stream_id);
        self.repeat_stream_intents(stream_id);
    }

    /// Binary frames flow again on a media socket of this session: its socket streams are proven.
    pub(super) fn media_socket_flows(&mut self) {
        let streams = self.ledger.streams.iter();
        let proven = streams.filter(|stream| stream.is_socket() && stream.awaits_media());
        for stream_id in proven.map(Stream::id).collect::<Vec<_>>() {
            self.restored(stream_id);
        }
    }

    fn stream_ended(&mut self, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let message = client_words(stream, peek, id_span);
        let subject = Subject::Stream(stream.client_id().into());
        let info = peek.string("info").unwrap_or_default();
        match stream.ended() {
            End::Refusal => self.refused(stream_id, &info, message),
            End::OfLive => {
                if !self.hold_as_burst(subject, &message) {
                    self.live_stream_ended(stream_id, &info, message);
                }
            }
            End::OfKept => {
                self.forget(stream_id, EndOfName::Lost, Some(Outcome::Reported));
                self.say_to_client(message);
            }
            End::Answer => {
                self.forget(stream_id, EndOfName::Chosen, None);
                self.say_to_client(message);
            }
        }
    }

    /// `fail` with `StreamStatusEvent`: the same as a status event, in other clothes.
    pub(super) fn stream_refused_by_fail(&mut self, peek: &Peek<'_>) {
        let id = peek.id("id");
        let Some(stream_id) = id.as_deref().and_then(|id| self.ledger.by_upstream_id(id)) else {
            return self.about_stream(peek, peek.field("id"));
        };
        self.stream_ended(stream_id, peek, peek.field("id"));
    }

    fn forget(&mut self, stream_id: StreamId, end: EndOfName, outcome: Option<Outcome>) {
        self.release_name(stream_id, end);
        if self.ledger.streams.get(stream_id).is_some_and(|stream| stream.other_id().is_some()) {
            // The client never knew this id: nothing said of it later concerns anybody.
            self.retire(stream_id);
        }
        let stream = self.remove_stream(stream_id);
        if let (Some(stream), Some(outcome)) = (stream, outcome) {
            self.outcome(&stream, outcome);
        }
    }

    /// A running stream ended in an epoch that lives.
    fn live_stream_ended(&mut self, stream_id: StreamId, info: &str, message: Vec<u8>) {
        let class = classify(info);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        stream.begins_to_wait(self.now);
        let replayable = stream.is_replayable();
        if replayable
            && !self.is_final(stream_id, class)
            && self.retry(stream_id, class, info, Some(&message))
        {
            return;
        }
        self.forget(stream_id, EndOfName::Lost, None);
        self.say_to_client(message);
    }

    /// A request was refused, the client's own or our replay.
    fn refused(&mut self, stream_id: StreamId, info: &str, message: Vec<u8>) {
        if self.retry_without_h264(stream_id, info) {
            return;
        }
        let class = classify(info);
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let first = stream.is(Standing::Requested);
        // Its client has an answer already and cannot take another one (protocol S0.2).
        let answerable = stream.is_replayable();
        if answerable && (!first || self.is_excused(stream_id, class)) && !self.is_final(stream_id, class) {
            if class == RetryClass::InUse {
                self.stop_what_a_kept_session_holds(stream_id);
            }
            if class == RetryClass::InUse && self.ask_holder(stream_id, &message) {
                return;
            }
            if self.retry(stream_id, class, info, Some(&message)) {
                return;
            }
        }
        // A stream that ran is told what ended it, not how the retries failed.
        let ended_by = self.ledger.streams.get_mut(stream_id).and_then(Stream::take_end);
        self.forget(stream_id, EndOfName::Lost, (!first).then_some(Outcome::Reported));
        self.say_to_client(ended_by.map_or(message, |words| words.into_vec()));
    }

    /// The session may be the kept one after all, and hold the name itself: its old stream is
    /// stopped, once.
    fn stop_what_a_kept_session_holds(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let (name, kind) = (stream.name().to_owned(), stream.kind());
        if let Some(id) = self.ledger.left_behind.take(&name, kind) {
            self.say_upstream(synthetic::stop_stream(&id, &name, kind.is_publish(), kind.running()));
            self.ledger.retire(&id);
        }
    }

    /// Whether a client's own first request is retried although the server refused it (rule R9).
    fn is_excused(&self, stream_id: StreamId, class: RetryClass) -> bool {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return false };
        let known = self.registry.names().get(stream.name());
        match class {
            RetryClass::NotFound => {
                // Restored here, or lost a moment ago: its page is about to publish again.
                let lost = known.ended.is_some_and(|(end, at)| {
                    end == EndOfName::Lost && self.now < at + self.settings.restore.player_hold
                });
                lost || known.holder.is_some_and(|holder| holder.restoring)
            }
            RetryClass::InUse if stream.retries().have_begun() => true,
            RetryClass::InUse => {
                let ghost = known.ended.is_some_and(|(end, at)| {
                    end == EndOfName::Lost && self.now < at + self.settings.restore.name_in_use_max
                });
                ghost || known.holder.is_some_and(|holder| holder.session != self.id)
            }
            _ => false,
        }
    }

    fn is_final(&self, stream_id: StreamId, class: RetryClass) -> bool {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return true };
        match class {
            // Where we are the server's media peer, broken media is ours to mend.
            RetryClass::ClientMedia => stream.leg().is_none(),
            RetryClass::Permanent | RetryClass::Codec => true,
            RetryClass::PublisherEnded => {
                let chosen = self.registry.names().get(stream.name()).ended;
                stream.kind() == Kind::Publish
                    || self.settings.restore.player_hold.is_zero()
                    || chosen.is_some_and(|(end, _)| end == EndOfName::Chosen)
            }
            RetryClass::Transient | RetryClass::InUse | RetryClass::NotFound => false,
        }
    }

    /// Plans another try, if the patience for this kind of refusal is not over.
    pub(super) fn retry(
        &mut self,
        stream_id: StreamId,
        class: RetryClass,
        info: &str,
        message: Option<&[u8]>,
    ) -> bool {
        let words = message.and_then(|message| self.kept_for_stream(stream_id, message));
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return false };
        // A client that waits for its first answer waits no longer than the hold.
        let bound = (!stream.is_running()).then(|| stream.since() + self.settings.hold.time_max);
        let next = stream.retries_mut().next(class, &self.settings, self.now, bound, &mut self.random);
        let Some(at) = next else { return false };
        stream.retries_at(at, words);
        let (name, tries) = (stream.name().to_owned(), stream.retries().tries());
        let event = Event::StreamRetry { name, info: info.to_owned(), tries };
        self.retire(stream_id);
        self.detach(stream_id);
        if class == RetryClass::NotFound {
            self.wait_for_publisher(stream_id);
        }
        self.event(event);
        true
    }

    /// A publish that the server does not take with H264 is offered once without it.
    fn retry_without_h264(&mut self, stream_id: StreamId, info: &str) -> bool {
        let enabled = self.settings.video.retry_without_h264;
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return false };
        if !enabled
            || stream.kind() != Kind::Publish
            || stream.is_answered()
            || stream.goes_without_h264()
            || stream.is_socket()
            || !may_be_the_codec(info)
        {
            return false;
        }
        if !offers_h264_and_vp8(&stream.request().unwrap_or_default()) {
            return false;
        }
        stream.refuse_h264();
        let event = Event::RetriedWithoutH264 { name: stream.name().to_owned() };
        self.retire(stream_id);
        self.event(event);
        self.replay_stream(stream_id);
        true
    }

    /// Another session of ours holds the name: it is asked for a sign of life (rule R7).
    fn ask_holder(&mut self, stream_id: StreamId, message: &[u8]) -> bool {
        let until = self.patience(self.settings.restore.prove_alive) + std::time::Duration::from_secs(1);
        let Some(stream) = self.ledger.streams.get(stream_id) else { return false };
        let holder = self.registry.names().get(stream.name()).holder;
        let Some(holder) = holder.filter(|holder| holder.session != self.id && stream.kind().is_publish())
        else {
            return false;
        };
        let identity = self.client.identity;
        let mail = Mail::ProveAlive { name: stream.name().into(), asker: self.id, identity };
        let words = self.kept_for_stream(stream_id, message);
        if let Some(stream) = self.ledger.streams.get_mut(stream_id) {
            stream.awaits_proof(until, words);
        }
        self.outputs.push(Output::Post(holder.session, mail));
        true
    }

    pub(super) fn proven(&mut self, name: &str, alive: bool) {
        while let Some(stream_id) =
            self.ledger.streams.find(|stream| stream.is(Standing::AwaitsProof) && stream.name() == name)
        {
            let Some(stream) = self.ledger.streams.get(stream_id) else { return };
            let message = match stream.refusal() {
                Some(words) => words.to_vec(),
                None => failed(stream, INFO_IN_USE),
            };
            if alive || !self.retry(stream_id, RetryClass::InUse, "the holder was dead", Some(&message)) {
                self.forget(stream_id, EndOfName::Lost, None);
                self.say_to_client(message);
            }
        }
    }

    /// Keeps an end back that the client did not ask for, to see whether its epoch dies with it.
    /// False if holding is switched off.
    pub(super) fn hold_as_burst(&mut self, subject: Subject, message: &[u8]) -> bool {
        if self.settings.restore.burst_hold.is_zero()
            || self.held_back.events() >= self.settings.bounds.pending_requests_max
        {
            return false;
        }
        let Some(message) = self.kept_message(0, message) else { return false };
        let until = self.now + self.settings.restore.burst_hold;
        self.held_back.hold(subject, until, message);
        true
    }

    /// There is no room to hold this, too: what is held of the stream keeps its place before it.
    pub(super) fn say_behind_burst(&mut self, subject: Subject, message: Vec<u8>) {
        while let Some(event) = self.held_back.take(&subject) {
            self.release_held_event(event);
        }
        let Subject::Stream(id) = subject else { return };
        let stream = self.ledger.by_client_id(&id).and_then(|stream_id| self.ledger.streams.get(stream_id));
        if stream.is_none_or(Stream::is_upstream) {
            self.say_to_client(message);
        }
    }

    /// The epoch lived on: what was held back is the server's word after all.
    pub(super) fn run_burst_timers(&mut self) {
        while let Some(event) = self.held_back.take_due(self.now) {
            self.release_held_event(event);
        }
    }

    fn release_held_event(&mut self, event: HeldEvent) {
        let message = event.message.into_vec();
        match event.subject {
            Subject::Stream(id) => self.release_stream_event(&id, message),
            Subject::Call(id) => self.release_call_end(&id, message),
            Subject::Room(_) => {
                if let Ok(peek) = crate::signaling::peek(&message) {
                    self.room_event(&peek, true);
                }
            }
        }
    }

    fn release_stream_event(&mut self, id: &str, message: Vec<u8>) {
        if let Some(stream_id) = self.ledger.by_client_id(id) {
            let live = self.ledger.streams.get(stream_id).is_some_and(|stream| stream.is(Standing::Live));
            let end = crate::signaling::peek(&message).ok().and_then(|peek| {
                let terminal = peek.string("status").is_some_and(|status| TERMINAL.contains(&&*status));
                terminal.then(|| peek.string("info").unwrap_or_default().into_owned())
            });
            match end {
                Some(info) if live => self.live_stream_ended(stream_id, &info, message),
                _ => self.say_to_client(message),
            }
        }
    }
}

/// The server's message under the client's id.
pub(super) fn client_words(stream: &Stream, peek: &Peek<'_>, id_span: Option<Span>) -> Vec<u8> {
    mapped(stream, peek, id_span).unwrap_or_else(|| peek.text().to_vec())
}
