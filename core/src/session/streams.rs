//! Publishes and plays as the client asks for them, and what they owe when an upstream dies.

use std::{borrow::Cow, sync::Arc};

use crate::{
    registry::EndOfName,
    signaling::{Peek, sdp, synthetic, synthetic::StreamStatus},
};

use super::{
    Event, Mail, Outcome, Output, Timestamp,
    core::{Session, after},
    kept::Full,
    ledger::{Kind, Pending, Stream, StreamState, Transport},
    packed::Packed,
    request::{offer_in, request_with},
    state::Subject,
};

/// What a stream is told when its upstream died with it (protocol S5.3).
const INFO_LOST: &str = "Stopped by session disconnect";
/// What a request is told that waited in vain (protocol S4.2).
pub(super) const INFO_NOT_READY: &str = "Session not ready";

/// What a stream takes without its texts.
const STREAM_BYTES: usize = size_of::<Stream>();

impl Session {
    pub(super) fn stream_request(&mut self, peek: &Peek<'_>, kind: Kind) {
        let Some(id) = self.client_id(peek, "mediaSessionId") else { return self.forward_or_drop() };
        if self.ledger.by_client_id(&id).is_some() {
            // A second request under one id is an error of the client: the server says so.
            return self.forward_or_drop();
        }
        let name = peek.id("name").unwrap_or_default();
        let published = kind.is_publish();
        let up = self.is_up();
        if !self.is_short(&id) {
            // Nobody could tell its end: it is between the client and the server.
            self.not_kept(Full::Id);
            if up {
                self.outputs.push(Output::ForwardToUpstream);
            } else {
                self.say_to_client(stream_failed(&id, "", published, INFO_NOT_READY));
            }
            return;
        }
        let is_kept = self.may_keep_request(peek, &id, &name);
        let name = if self.is_short(&name) { name } else { Cow::Borrowed("") };
        let stream_bytes = STREAM_BYTES.saturating_add(id.len()).saturating_add(name.len());
        if !self.has_room_for_stream(stream_bytes, peek.text().len()) || (!up && !is_kept) {
            self.say_to_client(stream_failed(&id, &name, published, INFO_NOT_READY));
            return;
        }
        let has_offer = is_kept && peek.has_string("sdp");
        let transport = self.transport_for(peek.string("mediaProvider").as_deref(), has_offer);
        self.ledger.streams.push(Stream {
            client_id: id.as_ref().into(),
            name: name.as_ref().into(),
            transport,
            request: is_kept.then(|| Packed::plain(peek.text())),
            state: if up { StreamState::Requested } else { StreamState::Held },
            ..Stream::new(kind, self.now)
        });
        self.keep(self.ledger.streams.last().map_or(0, Stream::bytes));
        drop(self.take_lever());
        if up {
            self.first_request(self.ledger.streams.len().saturating_sub(1));
        } else if kind.is_publish() && self.registry.names().get(&name).holder.is_none() {
            self.registry.names().hold(&name, self.id, true, self.now);
        }
    }

    /// The client's own request goes upstream: as it is, or with the workers' offer when that is
    /// made.
    fn first_request(&mut self, index: usize) {
        if self.ask_for_offer(index, false) {
            return;
        }
        if let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.sent = true;
            self.outputs.push(Output::ForwardToUpstream);
        }
    }

    /// Whether a request can be repeated later. One that cannot is passed on, and its stream
    /// reported instead of restored.
    fn may_keep_request(&mut self, peek: &Peek<'_>, id: &str, name: &str) -> bool {
        let request_bytes = peek.text().len();
        let bytes =
            [STREAM_BYTES, id.len(), name.len()].into_iter().fold(request_bytes, usize::saturating_add);
        // Counted with its stream.
        self.keep_if(self.may_keep_named(&[name], request_bytes, bytes), 0)
    }

    fn has_room_for_stream(&mut self, stream_bytes: usize, request_bytes: usize) -> bool {
        let bounds = &self.settings.bounds;
        let hold = &self.settings.hold;
        let held = self.ledger.streams.iter().filter(|stream| stream.state == StreamState::Held);
        let held_bytes: usize = held.clone().filter_map(|s| s.request.as_ref()).map(Packed::len_bytes).sum();
        let limit = if self.ledger.streams.len() >= bounds.streams_max {
            "session.streams_max"
        } else if !self.must_keep(stream_bytes) {
            "session.bytes_max"
        } else if !self.is_up() && held.count() >= hold.count_max {
            "hold.count_max"
        } else if !self.is_up() && held_bytes + request_bytes > hold.bytes_max {
            "hold.bytes_max"
        } else {
            return true;
        };
        self.event(Event::LimitReached { limit });
        false
    }

    /// The client's word wins (rule R4): a stop is forwarded if the upstream has the stream, and
    /// answered here if it has not.
    pub(super) fn stream_stop(&mut self, peek: &Peek<'_>, kind: Kind) {
        let Some(id) = self.client_id(peek, "mediaSessionId") else { return self.forward_or_drop() };
        let Some(index) = self.ledger.by_client_id(&id) else {
            if !self.is_short(&id) {
                return self.forward_or_drop();
            }
            // Its end crossed the stop. The upstream may have known it by another id, or never.
            let name = peek.id("name").unwrap_or_default();
            return self.say_stopped(&id, &name, kind);
        };
        self.release_name(index, EndOfName::Chosen);
        // An end that is held back was the server's last word on it: no answer would come.
        let over = self.drop_burst(&Subject::Stream(id.as_ref().into()));
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        match stream.state {
            StreamState::Requested | StreamState::Live | StreamState::Stopping if !over => {
                stream.state = StreamState::Stopping;
                self.forward_for_stream(peek);
            }
            StreamState::Replayed { .. } | StreamState::Probation { .. } => {
                self.stop_upstream(index);
                self.cancel(index);
            }
            _ => self.cancel(index),
        }
    }

    fn say_stopped(&mut self, id: &str, name: &str, kind: Kind) {
        self.say_to_client(synthetic::stream_status(&StreamStatus {
            media_session_id: id,
            name,
            published: kind.is_publish(),
            status: kind.stopped(),
            info: Some("Stopped by user"),
        }));
    }

    /// Ends a stream that the client stopped while it was not on any upstream.
    pub(super) fn cancel(&mut self, index: usize) {
        let stream = self.remove_stream(index);
        self.say_stopped(&stream.client_id, &stream.name, stream.kind);
        if stream.state != StreamState::Stopping {
            self.outcome(&stream, Outcome::Cancelled);
        }
    }

    /// Takes back what we sent upstream for a stream, and ignores what is still said of it.
    pub(super) fn stop_upstream(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let upstream_id: Box<str> = stream.upstream_id().into();
        let status = stream.kind.running();
        let stop = synthetic::stop_stream(&upstream_id, &stream.name, stream.kind.is_publish(), status);
        self.say_upstream(stop);
        if self.client.keep_alive
            && let Some(stream) = self.ledger.streams.get(index)
        {
            // Until the server confirms: the stop may be lost with its epoch.
            self.ledger.left_behind.note(stream);
        }
        self.retire(index);
    }

    /// From now on nothing that is said under its upstream id concerns the client; questions
    /// about it get no other answer.
    pub(super) fn retire(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let upstream_id: Box<str> = stream.upstream_id().into();
        let client_id = stream.client_id.clone();
        self.ledger.retire(&upstream_id);
        for question in [Pending::Available(client_id.clone()), Pending::Snapshot(client_id)] {
            let is_snapshot = matches!(question, Pending::Snapshot(_));
            let mut asked = 0;
            while self.ledger.settle(&question) {
                asked += 1;
            }
            // One answer settles all questions whether it is available (protocol S2.4).
            let answers = if is_snapshot { asked } else { asked.min(1) };
            for _ in 0..answers {
                self.answer_lost(question.clone());
            }
        }
    }

    /// The epoch resumes a kept session: what the client is done with, or asks for anew, is taken
    /// back from it first.
    pub(super) fn clear_kept_session(&mut self) {
        let left = std::mem::take(&mut self.ledger.left_behind);
        if !self.upstream.resumed {
            let perhaps = self.upstream.perhaps_resumed;
            if perhaps {
                self.ledger.left_behind.streams = left.streams;
            }
            for stream in &mut self.ledger.streams {
                // Stopped when the server proves to have it: it says a word, or its name is in use.
                if std::mem::take(&mut stream.left_behind) && perhaps {
                    self.ledger.left_behind.note(stream);
                }
            }
            return;
        }
        for (id, name, kind) in &left.streams {
            // What is retired was stopped in this epoch already.
            if !self.ledger.is_retired(id) {
                self.say_upstream(synthetic::stop_stream(id, name, kind.is_publish(), kind.running()));
                self.ledger.retire(id);
            }
        }
        self.ledger.left_behind.streams = left.streams;
        for id in left.calls {
            self.say_upstream(synthetic::hang_up(&id));
        }
        self.leave_kept_rooms(left.rooms);
        for index in 0..self.ledger.streams.len() {
            let again = self.ledger.streams.get_mut(index).is_some_and(|stream| {
                std::mem::take(&mut stream.left_behind) && stream.state == StreamState::Held
            });
            if again {
                self.stop_upstream(index);
            }
        }
    }

    /// Tells the client that a stream is over, in the server's own words if it had any.
    pub(super) fn report(&mut self, index: usize) {
        self.give_up_reported_name(index);
        let stream = self.remove_stream(index);
        let message = match &stream.refusal {
            Some(refusal) => refusal.to_vec(),
            None => failed(&stream, if stream.answered { INFO_LOST } else { INFO_NOT_READY }),
        };
        self.say_to_client(message);
        if stream.state == StreamState::Lost {
            self.want_lever();
        }
        self.outcome(&stream, Outcome::Reported);
    }

    /// In mode `restart` the page of a reported publish is about to be started again.
    fn give_up_reported_name(&mut self, index: usize) {
        let lost =
            self.ledger.streams.get(index).filter(|s| s.state == StreamState::Lost && s.kind.is_publish());
        let name = lost.map(|stream| stream.name.clone());
        if name.is_some_and(|name| self.expect_again(&name)) {
            self.hold_name_for_restore(index, true);
        } else {
            self.release_name(index, EndOfName::Lost);
        }
    }

    pub(super) fn outcome(&mut self, stream: &Stream, outcome: Outcome) {
        self.event(Event::StreamOutcome {
            name: stream.name.to_string(),
            stream: stream.client_id.to_string(),
            kind: if stream.kind.is_publish() { "publish" } else { "play" },
            outcome,
            after: self.now.since(stream.since),
        });
    }

    /// Gives up the name of a publish, and tells those who wait for it.
    pub(super) fn release_name(&mut self, index: usize, end: EndOfName) {
        let Some(stream) = self.ledger.streams.get(index).filter(|stream| stream.kind.is_publish()) else {
            return;
        };
        let name: Box<str> = stream.name.clone();
        let held_elsewhere = self
            .ledger
            .streams
            .iter()
            .enumerate()
            .any(|(other, stream)| other != index && stream.kind.is_publish() && stream.name == name);
        if !held_elsewhere {
            self.give_up_name(&name, end);
        }
    }

    pub(super) fn give_up_name(&mut self, name: &str, end: EndOfName) {
        self.registry.names().release(name, self.id, end, self.now);
        self.settle_name(name);
    }

    /// The publish runs: plays that wait for it may go on.
    pub(super) fn hold_name(&mut self, index: usize) {
        if let Some(stream) = self.ledger.streams.get(index).filter(|stream| stream.kind.is_publish()) {
            let name = stream.name.clone();
            self.registry.names().hold(&name, self.id, false, self.now);
            self.settle_name(&name);
        }
    }

    /// The publish does not run, and may again: unless another session has taken its name over.
    pub(super) fn hold_name_for_restore(&self, index: usize, restoring: bool) {
        let Some(stream) = self.ledger.streams.get(index).filter(|stream| stream.kind.is_publish()) else {
            return;
        };
        let holder = self.registry.names().get(&stream.name).holder;
        if holder.is_none_or(|holder| holder.session == self.id) {
            self.registry.names().hold(&stream.name, self.id, restoring, self.now);
        }
    }

    fn settle_name(&mut self, name: &str) {
        let mut shared = None;
        for waiter in self.registry.names().take_waiters(name) {
            if waiter == self.id {
                self.name_settled(name);
            } else {
                let name = shared.get_or_insert_with(|| Arc::from(name));
                self.outputs.push(Output::Post(waiter, Mail::NameSettled(Arc::clone(name))));
            }
        }
    }

    /// What each stream owes when its upstream is lost.
    pub(super) fn streams_lose_upstream(&mut self) {
        self.burst.clear();
        self.ledger.retired.clear();
        let mut index = 0;
        while let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.left_behind |= stream.state.is_upstream();
            if stream.state == StreamState::Stopping {
                self.cancel(index);
                continue;
            }
            if !stream.state.is_unsettled() {
                stream.since = self.now;
                stream.refusal = None;
            }
            // A new epoch is tried with new patience; the tries of the restore bound it.
            stream.tries = 0;
            stream.patience = None;
            stream.withheld = None;
            stream.state = if stream.is_replayable() { StreamState::Held } else { StreamState::Lost };
            let restoring = stream.state == StreamState::Held;
            self.hold_name_for_restore(index, restoring);
            self.detach(index);
            index += 1;
        }
    }

    /// Direct streams whose silence was longer than ICE bears: nobody knows what became of their
    /// media, so the client is told and the upstream is rid of them (rule R12).
    pub(super) fn report_streams_that_outlived_ice(&mut self) {
        while let Some(index) = self.ledger.streams.iter().position(|stream| {
            stream.transport == Transport::Direct && stream.answered && stream.state == StreamState::Live
        }) {
            self.stop_upstream(index);
            self.report(index);
        }
    }

    /// Everything that is owed goes out: no more tries (rule R10).
    pub(super) fn report_everything(&mut self) {
        while !self.ledger.streams.is_empty() {
            self.report(0);
        }
        self.answer_pending();
        self.answer_joins();
        self.finish_calls();
    }

    /// Answers the requests that the upstream took with it. A join is repeated instead.
    pub(super) fn answer_pending(&mut self) {
        for pending in std::mem::take(&mut self.ledger.pending) {
            self.answer_lost(pending);
        }
    }

    /// When something is due for this stream.
    pub(super) fn stream_deadline(&self, stream: &Stream) -> Option<Timestamp> {
        let state = match stream.state {
            StreamState::Lost => Some(stream.since + self.settings.restore.report_after),
            StreamState::Held if stream.running => None,
            StreamState::Held => Some(stream.since + self.settings.hold.time_max),
            state => state.deadline(),
        };
        state.into_iter().chain(stream.media_closed_until).min()
    }

    pub(super) fn run_stream_timers(&mut self) {
        let mut index = 0;
        while let Some(stream) = self.ledger.streams.get(index) {
            let state = stream.state;
            let client_id = stream.client_id.clone();
            if !self.is_due(self.stream_deadline(stream)) {
                index += 1;
                continue;
            }
            self.stream_timer(index, state);
            let same = self.ledger.streams.get(index).is_some_and(|stream| stream.client_id == client_id);
            if same {
                index += 1;
            }
        }
    }

    fn stream_timer(&mut self, index: usize, state: StreamState) {
        let closed = self.ledger.streams.get(index).and_then(|stream| stream.media_closed_until);
        if self.is_due(closed) {
            return self.client_media_is_gone(index);
        }
        match state {
            StreamState::Lost => {
                self.report(index);
                self.arm_lever();
            }
            StreamState::Held => self.report(index),
            StreamState::Replayed { .. } if self.is_anchored(index) => {
                self.proof_is_late(index);
            }
            StreamState::Probation { .. } if self.upstream.perhaps_resumed => self.report(index),
            StreamState::Probation { .. } | StreamState::Replayed { .. } => {
                self.stop_upstream(index);
                self.report(index);
            }
            StreamState::AwaitsProof { .. } | StreamState::Offering { .. } => self.report(index),
            StreamState::Retry { .. } | StreamState::AwaitsPublisher { .. } if self.is_up() => {
                self.replay_stream(index);
            }
            _ => {}
        }
    }

    /// Sends the client's request again, under a fresh id if an upstream has seen it before.
    pub(super) fn replay_stream(&mut self, index: usize) {
        if self.wait_for_publisher(index) || self.ask_for_offer(index, true) {
            return;
        }
        let fresh = self.random.uuid();
        let until = self.now + self.settings.restore.proof_timeout;
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        let Some(request) = stream.request.as_ref().map(Packed::unpack) else {
            return self.report(index);
        };
        if stream.sent {
            stream.upstream_id = Some(fresh);
        }
        stream.sent = true;
        stream.runs_upstream = false;
        stream.left_behind = false;
        stream.swallow_answer = stream.answered;
        stream.state = StreamState::Replayed { until };
        let offer = stream.without_h264.then(|| sdp::strip_codecs(&offer_in(&request), "H264"));
        let message = request_with(&request, stream.upstream_id.as_deref(), offer.as_deref());
        self.say_upstream(message);
    }

    /// A play of a name that this process is restoring waits for it (rule R5).
    pub(super) fn wait_for_publisher(&mut self, index: usize) -> bool {
        let retry = self.settings.restore.name_retry;
        let hold = self.settings.restore.player_hold.max(self.settings.hold.time_max);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        // A play that ran is bounded by the patience with its publisher, who is ours.
        let patient = stream.running || self.now < stream.since + hold;
        if stream.kind.is_publish() || !patient || !self.registry.names().wait(&stream.name, self.id) {
            return false;
        }
        stream.state = StreamState::AwaitsPublisher { at: self.now + retry };
        true
    }

    pub(super) fn name_settled(&mut self, name: &str) {
        if !self.is_up() {
            return;
        }
        while let Some(index) = self.ledger.streams.iter().position(|stream| {
            let waits =
                matches!(stream.state, StreamState::AwaitsPublisher { .. } | StreamState::Retry { .. });
            waits && !stream.kind.is_publish() && &*stream.name == name
        }) {
            self.replay_stream(index);
            let waits = self.ledger.streams.get(index).map(|stream| stream.state);
            if matches!(waits, Some(StreamState::AwaitsPublisher { .. })) {
                break;
            }
        }
    }

    /// Repeats what the client told the dead upstream about a running stream.
    pub(super) fn repeat_stream_intents(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        let id = stream.upstream_id();
        let mut messages = Vec::new();
        // A kept session knows what it last heard: an unmute may have been lost with the connection.
        let kept = stream.was_muted && (self.upstream.resumed || self.upstream.perhaps_resumed);
        for (muted, on, off) in [
            (stream.audio_muted, "audioMuted", "audioUnmuted"),
            (stream.video_muted, "videoMuted", "videoUnmuted"),
        ] {
            if muted || kept {
                messages.push(synthetic::send_stream_event(id, if muted { on } else { off }));
            }
        }
        if let Some(metrics) = &stream.metrics {
            messages.push(request_with(&metrics.unpack(), Some(id), None));
        }
        self.outputs.extend(messages.into_iter().map(Output::SendToUpstream));
    }

    fn is_anchored(&self, index: usize) -> bool {
        self.ledger
            .streams
            .get(index)
            .is_some_and(|stream| matches!(stream.transport, Transport::Anchored(_)))
    }

    /// A moment after which a wait that may be switched off ends.
    pub(super) fn patience(&self, wait: std::time::Duration) -> Timestamp {
        after(self.now, wait).unwrap_or(self.now)
    }
}

/// FAILED for this stream, under the client's id.
pub(super) fn failed(stream: &Stream, info: &str) -> Vec<u8> {
    stream_failed(&stream.client_id, &stream.name, stream.kind.is_publish(), info)
}

fn stream_failed(id: &str, name: &str, published: bool, info: &str) -> Vec<u8> {
    synthetic::stream_status(&StreamStatus {
        media_session_id: id,
        name,
        published,
        status: "FAILED",
        info: Some(info),
    })
}
