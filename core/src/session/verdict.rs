//! What the server's word on a stream means: a first answer, a proof, a refusal to be retried, or
//! an end the client must hear (rules R2, R3, R7, R9).

use crate::{
    registry::EndOfName,
    signaling::{Peek, Span, synthetic},
};

use super::{
    Event, Mail, Outcome, Output,
    core::Session,
    info::{RetryClass, classify, may_be_the_codec},
    ledger::{Kind, Stream, StreamState, Transport},
    packed::Packed,
    request::offers_h264_and_vp8,
    state::{BurstEvent, Subject},
    streams::failed,
    upstream::mapped,
};

/// Statuses after which the SDK deletes a stream (protocol S3.3).
const TERMINAL: &[&str] = &["FAILED", "STOPPED", "UNPUBLISHED"];

/// First wait before an "in use" is tried again; it doubles up to `restore.name_retry_ms`.
const FIRST_NAME_RETRY_MS: u64 = 100;
/// What a publisher is told whose name is taken, where the server's own words were too many to keep.
const INFO_IN_USE: &str = "Stream name is already in use";

impl Session {
    pub(super) fn stream_status(&mut self, peek: &Peek<'_>) {
        let id_span = peek.field("mediaSessionId");
        let id = peek.id("mediaSessionId");
        let status = peek.string("status");
        let Some(index) = id.as_deref().and_then(|id| self.ledger.by_upstream_id(id)) else {
            let over = status.is_some_and(|status| TERMINAL.contains(&&*status));
            if !self.kept_session_speaks(id.as_deref().unwrap_or_default(), over) {
                self.about_stream(peek, id_span);
            }
            return;
        };
        match status.as_deref() {
            Some(status) if TERMINAL.contains(&status) => self.stream_ended(index, peek, id_span),
            Some(status) if self.is_running_word(index, status) => self.stream_runs(index, peek, id_span),
            _ => self.other_status(index, peek, id_span),
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

    fn is_running_word(&self, index: usize, status: &str) -> bool {
        self.ledger.streams.get(index).is_some_and(|stream| stream.kind.running() == status)
    }

    /// Anything that is neither a start nor an end; what a replay repeats is not said again.
    fn other_status(&mut self, index: usize, peek: &Peek<'_>, id_span: Option<Span>) {
        let replayed = self.ledger.streams.get(index).is_some_and(|stream| {
            stream.running
                && matches!(stream.state, StreamState::Replayed { .. } | StreamState::Probation { .. })
        });
        if !replayed {
            self.forward_as(index, peek, id_span);
        }
    }

    fn stream_runs(&mut self, index: usize, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        let was = stream.state;
        let first = !stream.running;
        let repeated = std::mem::replace(&mut stream.runs_upstream, true);
        match was {
            // The proof of media that passes through us is media, not a word (rule R2).
            StreamState::Replayed { .. } if !first && stream.transport != Transport::Direct => return,
            StreamState::Replayed { .. } | StreamState::Probation { .. } => {
                return self.proven_alive(index, peek, first);
            }
            // The word came after the proof: the client has had it long ago.
            StreamState::Live if !first && !repeated => return,
            _ => {}
        }
        stream.request =
            stream.request.take().filter(|_| stream.transport != Transport::Direct).map(Packed::pack);
        let told = self.tell_running(index, peek, id_span);
        if let Some(stream) = self.ledger.streams.get_mut(index)
            && told
            && was == StreamState::Requested
        {
            stream.state = StreamState::Live;
        }
        self.hold_name(index);
    }

    fn proven_alive(&mut self, index: usize, peek: &Peek<'_>, first: bool) {
        if first {
            self.tell_running(index, peek, peek.field("mediaSessionId"));
        }
        self.restored(index);
    }

    /// The stream is alive on the new upstream.
    pub(super) fn restored(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        stream.state = StreamState::Live;
        stream.tries = 0;
        stream.patience = None;
        stream.refusal = None;
        stream.request =
            stream.request.take().filter(|_| stream.transport != Transport::Direct).map(Packed::pack);
        let after = self.now.since(stream.since);
        stream.restored = stream.restored.saturating_add(1);
        stream.last_outage_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let outcome = Event::StreamOutcome {
            name: stream.name.to_string(),
            stream: stream.client_id.to_string(),
            kind: if stream.kind.is_publish() { "publish" } else { "play" },
            outcome: Outcome::Restored,
            after,
        };
        self.event(outcome);
        self.hold_name(index);
        self.repeat_stream_intents(index);
    }

    /// Binary frames flow again on a media socket of this session: its socket streams are proven.
    pub(super) fn media_socket_flows(&mut self) {
        for index in 0..self.ledger.streams.len() {
            let proven = self.ledger.streams.get(index).is_some_and(|stream| {
                stream.transport == Transport::Socket
                    && stream.running
                    && matches!(stream.state, StreamState::Replayed { .. })
            });
            if proven {
                self.restored(index);
            }
        }
    }

    fn stream_ended(&mut self, index: usize, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let message = client_words(stream, peek, id_span);
        let client_id = stream.client_id.clone();
        let info = peek.string("info").unwrap_or_default();
        match stream.state {
            // The client never heard that it runs: a refusal, as of a request.
            StreamState::Live if stream.withheld.is_some() => self.refused(index, &info, message),
            StreamState::Live => {
                if !self.hold_as_burst(Subject::Stream(client_id), &message) {
                    self.live_stream_ended(index, &info, message);
                }
            }
            StreamState::Requested | StreamState::Replayed { .. } => self.refused(index, &info, message),
            StreamState::Probation { .. } => {
                self.forget(index, EndOfName::Lost, Some(Outcome::Reported));
                self.say_to_client(message);
            }
            _ => {
                self.forget(index, EndOfName::Chosen, None);
                self.say_to_client(message);
            }
        }
    }

    /// `fail` with `StreamStatusEvent`: the same as a status event, in other clothes.
    pub(super) fn stream_refused_by_fail(&mut self, peek: &Peek<'_>) {
        let id = peek.id("id");
        let Some(index) = id.as_deref().and_then(|id| self.ledger.by_upstream_id(id)) else {
            return self.about_stream(peek, peek.field("id"));
        };
        self.stream_ended(index, peek, peek.field("id"));
    }

    fn forget(&mut self, index: usize, end: EndOfName, outcome: Option<Outcome>) {
        self.release_name(index, end);
        if self.ledger.streams.get(index).is_some_and(|stream| stream.upstream_id.is_some()) {
            // The client never knew this id: nothing said of it later concerns anybody.
            self.retire(index);
        }
        let stream = self.remove_stream(index);
        if let Some(outcome) = outcome {
            self.outcome(&stream, outcome);
        }
    }

    /// A running stream ended in an epoch that lives.
    fn live_stream_ended(&mut self, index: usize, info: &str, message: Vec<u8>) {
        let class = classify(info);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        stream.since = self.now;
        stream.tries = 0;
        stream.patience = None;
        let replayable = stream.is_replayable();
        if replayable && !self.is_final(index, class) && self.retry(index, class, info, Some(&message)) {
            return;
        }
        self.forget(index, EndOfName::Lost, None);
        self.say_to_client(message);
    }

    /// A request was refused, the client's own or our replay.
    fn refused(&mut self, index: usize, info: &str, message: Vec<u8>) {
        if self.retry_without_h264(index, info) {
            return;
        }
        let class = classify(info);
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let first = stream.state == StreamState::Requested;
        // Its client has an answer already and cannot take another one (protocol S0.2).
        let answerable = stream.is_replayable();
        if answerable && (!first || self.is_excused(index, class)) && !self.is_final(index, class) {
            if class == RetryClass::InUse {
                self.stop_what_a_kept_session_holds(index);
            }
            if class == RetryClass::InUse && self.ask_holder(index, &message) {
                return;
            }
            if self.retry(index, class, info, Some(&message)) {
                return;
            }
        }
        // A stream that ran is told what ended it, not how the retries failed.
        let ended_by =
            self.ledger.streams.get_mut(index).filter(|s| s.running).and_then(|s| s.refusal.take());
        self.forget(index, EndOfName::Lost, (!first).then_some(Outcome::Reported));
        self.say_to_client(ended_by.map_or(message, |words| words.into_vec()));
    }

    /// The session may be the kept one after all, and hold the name itself: its old stream is
    /// stopped, once.
    fn stop_what_a_kept_session_holds(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let (name, kind) = (stream.name.clone(), stream.kind);
        if let Some(id) = self.ledger.left_behind.take(&name, kind) {
            self.say_upstream(synthetic::stop_stream(&id, &name, kind.is_publish(), kind.running()));
            self.ledger.retire(&id);
        }
    }

    /// Whether a client's own first request is retried although the server refused it (rule R9).
    fn is_excused(&self, index: usize, class: RetryClass) -> bool {
        let Some(stream) = self.ledger.streams.get(index) else { return false };
        let known = self.registry.names().get(&stream.name);
        match class {
            RetryClass::NotFound => {
                // Restored here, or lost a moment ago: its page is about to publish again.
                let lost = known.ended.is_some_and(|(end, at)| {
                    end == EndOfName::Lost && self.now < at + self.settings.restore.player_hold
                });
                lost || known.holder.is_some_and(|holder| holder.restoring)
            }
            RetryClass::InUse if stream.patience.is_some() => true,
            RetryClass::InUse => {
                let ghost = known.ended.is_some_and(|(end, at)| {
                    end == EndOfName::Lost && self.now < at + self.settings.restore.name_in_use_max
                });
                ghost || known.holder.is_some_and(|holder| holder.session != self.id)
            }
            _ => false,
        }
    }

    fn is_final(&self, index: usize, class: RetryClass) -> bool {
        let Some(stream) = self.ledger.streams.get(index) else { return true };
        match class {
            // Where we are the server's media peer, broken media is ours to mend.
            RetryClass::ClientMedia => !matches!(stream.transport, Transport::Anchored(_)),
            RetryClass::Permanent | RetryClass::Codec => true,
            RetryClass::PublisherEnded => {
                let chosen = self.registry.names().get(&stream.name).ended;
                stream.kind == Kind::Publish
                    || self.settings.restore.player_hold.is_zero()
                    || chosen.is_some_and(|(end, _)| end == EndOfName::Chosen)
            }
            RetryClass::Transient | RetryClass::InUse | RetryClass::NotFound => false,
        }
    }

    /// Plans another try, if the patience for this kind of refusal is not over.
    pub(super) fn retry(
        &mut self,
        index: usize,
        class: RetryClass,
        info: &str,
        message: Option<&[u8]>,
    ) -> bool {
        let restore = &self.settings.restore;
        let patience = match class {
            RetryClass::InUse => restore.name_in_use_max,
            RetryClass::NotFound | RetryClass::PublisherEnded => restore.player_hold,
            _ => self.settings.hold.time_max,
        };
        let (initial, cap) = match class {
            RetryClass::InUse => (std::time::Duration::from_millis(FIRST_NAME_RETRY_MS), restore.name_retry),
            _ => (restore.backoff_initial, restore.backoff_max),
        };
        let bound = self.patience(patience);
        let words = message.and_then(|message| self.kept_for_stream(index, message));
        let hold_end =
            self.ledger.streams.get(index).map(|stream| stream.since + self.settings.hold.time_max);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        let until = *stream.patience.get_or_insert(bound);
        // A client that waits for its first answer waits no longer than the hold.
        let until = if stream.running { until } else { until.min(hold_end.unwrap_or(until)) };
        if self.now >= until {
            return false;
        }
        // Half of the wait is fixed, so that a retry never follows at once.
        let factor = 2_u32.saturating_pow(u32::from(stream.tries.min(16)));
        let ceiling = initial.saturating_mul(factor).min(cap);
        let half_ms = u64::try_from(ceiling.as_millis() / 2).unwrap_or(u64::MAX);
        let wait = std::time::Duration::from_millis(half_ms + self.random.up_to(half_ms));
        stream.tries = stream.tries.saturating_add(1);
        if !stream.running || stream.refusal.is_none() {
            stream.refusal = words;
        }
        stream.state = StreamState::Retry { at: (self.now + wait).min(until) };
        let event =
            Event::StreamRetry { name: stream.name.to_string(), info: info.to_owned(), tries: stream.tries };
        self.retire(index);
        self.detach(index);
        if class == RetryClass::NotFound {
            self.wait_for_publisher(index);
        }
        self.event(event);
        true
    }

    /// A publish that the server does not take with H264 is offered once without it.
    fn retry_without_h264(&mut self, index: usize, info: &str) -> bool {
        let enabled = self.settings.video.retry_without_h264;
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        if !enabled
            || stream.kind != Kind::Publish
            || stream.answered
            || stream.without_h264
            || stream.transport == Transport::Socket
            || !may_be_the_codec(info)
        {
            return false;
        }
        let request = stream.request.as_ref().map(Packed::unpack).unwrap_or_default();
        if !offers_h264_and_vp8(&request) {
            return false;
        }
        stream.without_h264 = true;
        let event = Event::RetriedWithoutH264 { name: stream.name.to_string() };
        self.retire(index);
        self.event(event);
        self.replay_stream(index);
        true
    }

    /// Another session of ours holds the name: it is asked for a sign of life (rule R7).
    fn ask_holder(&mut self, index: usize, message: &[u8]) -> bool {
        let until = self.patience(self.settings.restore.prove_alive) + std::time::Duration::from_secs(1);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        let holder = self.registry.names().get(&stream.name).holder;
        let Some(holder) = holder.filter(|holder| holder.session != self.id && stream.kind.is_publish())
        else {
            return false;
        };
        stream.state = StreamState::AwaitsProof { until };
        let identity = self.client.identity;
        let mail = Mail::ProveAlive { name: (&*stream.name).into(), asker: self.id, identity };
        let words = self.kept_for_stream(index, message);
        if let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.refusal = words;
        }
        self.outputs.push(Output::Post(holder.session, mail));
        true
    }

    pub(super) fn proven(&mut self, name: &str, alive: bool) {
        while let Some(index) = self.ledger.streams.iter().position(|stream| {
            matches!(stream.state, StreamState::AwaitsProof { .. }) && &*stream.name == name
        }) {
            let Some(stream) = self.ledger.streams.get(index) else { return };
            let message = match &stream.refusal {
                Some(words) => words.to_vec(),
                None => failed(stream, INFO_IN_USE),
            };
            if alive || !self.retry(index, RetryClass::InUse, "the holder was dead", Some(&message)) {
                self.forget(index, EndOfName::Lost, None);
                self.say_to_client(message);
            }
        }
    }

    /// Keeps an end back that the client did not ask for, to see whether its epoch dies with it.
    /// False if holding is switched off.
    pub(super) fn hold_as_burst(&mut self, subject: Subject, message: &[u8]) -> bool {
        if self.settings.restore.burst_hold.is_zero()
            || self.burst.len() >= self.settings.bounds.pending_requests_max
        {
            return false;
        }
        let Some(message) = self.kept_message(0, message) else { return false };
        let until = self.now + self.settings.restore.burst_hold;
        self.burst.push(BurstEvent { subject, until, message });
        true
    }

    pub(super) fn is_held_back(&self, subject: &Subject) -> bool {
        self.burst.iter().any(|event| event.subject == *subject)
    }

    /// There is no room to hold this, too: what is held of the stream keeps its place before it.
    pub(super) fn say_behind_burst(&mut self, subject: Subject, message: Vec<u8>) {
        while let Some(position) = self.burst.iter().position(|event| event.subject == subject) {
            let event = self.burst.remove(position);
            self.release_burst_event(event);
        }
        let Subject::Stream(id) = subject else { return };
        let stream = self.ledger.by_client_id(&id).and_then(|index| self.ledger.streams.get(index));
        if stream.is_none_or(|stream| stream.state.is_upstream()) {
            self.say_to_client(message);
        }
    }

    /// Forgets what is held back for this id; true if there was something.
    pub(super) fn drop_burst(&mut self, subject: &Subject) -> bool {
        let before = self.burst.len();
        self.burst.retain(|event| event.subject != *subject);
        self.burst.len() < before
    }

    /// The epoch lived on: what was held back is the server's word after all.
    pub(super) fn run_burst_timers(&mut self) {
        while let Some(position) = self.burst.iter().position(|event| event.until <= self.now) {
            let event = self.burst.remove(position);
            self.release_burst_event(event);
        }
    }

    fn release_burst_event(&mut self, event: BurstEvent) {
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
        if let Some(index) = self.ledger.by_client_id(id) {
            let live = self.ledger.streams.get(index).is_some_and(|stream| stream.state == StreamState::Live);
            let end = crate::signaling::peek(&message).ok().and_then(|peek| {
                let terminal = peek.string("status").is_some_and(|status| TERMINAL.contains(&&*status));
                terminal.then(|| peek.string("info").unwrap_or_default().into_owned())
            });
            match end {
                Some(info) if live => self.live_stream_ended(index, &info, message),
                _ => self.say_to_client(message),
            }
        }
    }
}

/// The server's message under the client's id.
pub(super) fn client_words(stream: &Stream, peek: &Peek<'_>, id_span: Option<Span>) -> Vec<u8> {
    mapped(stream, peek, id_span).unwrap_or_else(|| peek.text().to_vec())
}
