//! Publishes and plays as the client asks for them, and what they owe when an upstream dies.

use std::{borrow::Cow, sync::Arc};

use crate::{
    registry::EndOfName,
    signaling::{Peek, synthetic, synthetic::StreamStatus},
};

use super::{
    Event, Mail, Outcome, Output, Timestamp,
    core::Session,
    held_back::Subject,
    kept::Full,
    ledger::Kind,
    leg::ClientLeg,
    packed::Packed,
    request::request_with,
    stream::{Loss, Standing, Stop, Stream, StreamId},
    time::after,
};

/// What a stream is told when its upstream died with it (protocol S5.3).
const INFO_LOST: &str = "Stopped by session disconnect";
/// What a request is told that waited in vain (protocol S4.2).
pub(super) const INFO_NOT_READY: &str = "Session not ready";

/// What a stream takes without its texts.
const STREAM_BYTES: usize = size_of::<Stream>() + size_of::<ClientLeg>();

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
        let request = is_kept.then(|| Packed::plain(peek.text()));
        let stream = Stream::new((kind, &id, &name), transport, request, up, self.now);
        let stream_id = self.ledger.streams.add(stream);
        self.keep(self.ledger.streams.get(stream_id).map_or(0, Stream::bytes));
        drop(self.take_lever());
        if up {
            self.first_request(stream_id);
        } else if kind.is_publish() && self.registry.names().get(&name).holder.is_none() {
            self.registry.names().hold(&name, self.id, true, self.now);
        }
    }

    /// The client's own request goes upstream: as it is, or with the workers' offer when that is
    /// made.
    fn first_request(&mut self, stream_id: StreamId) {
        if self.ask_for_offer(stream_id, false) {
            return;
        }
        if let Some(stream) = self.ledger.streams.get_mut(stream_id) {
            stream.sent_as_it_is();
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
        let held = self.ledger.streams.iter().filter(|stream| stream.is(Standing::Held));
        let held_bytes: usize = held.clone().filter_map(Stream::request_bytes).sum();
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
        let Some(stream_id) = self.ledger.by_client_id(&id) else {
            if !self.is_short(&id) {
                return self.forward_or_drop();
            }
            // Its end crossed the stop. The upstream may have known it by another id, or never.
            let name = peek.id("name").unwrap_or_default();
            return self.say_stopped(&id, &name, kind);
        };
        self.release_name(stream_id, EndOfName::Chosen);
        // An end that is held back was the server's last word on it: no answer would come.
        let over = self.held_back.forget(&Subject::Stream(id.as_ref().into()));
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        match stream.stop(over) {
            Stop::Forward => self.forward_for_stream(peek),
            Stop::TakeBack => {
                self.stop_upstream(stream_id);
                self.cancel(stream_id);
            }
            Stop::Answer => self.cancel(stream_id),
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
    pub(super) fn cancel(&mut self, stream_id: StreamId) {
        let Some(stream) = self.remove_stream(stream_id) else { return };
        self.say_stopped(stream.client_id(), stream.name(), stream.kind());
        if !stream.is(Standing::Stopping) {
            self.outcome(&stream, Outcome::Cancelled);
        }
    }

    /// Takes back what we sent upstream for a stream, and ignores what is still said of it.
    pub(super) fn stop_upstream(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let upstream_id: Box<str> = stream.upstream_id().into();
        let (kind, name) = (stream.kind(), stream.name());
        let stop = synthetic::stop_stream(&upstream_id, name, kind.is_publish(), kind.running());
        self.say_upstream(stop);
        if self.client.keep_alive
            && let Some(stream) = self.ledger.streams.get(stream_id)
        {
            // Until the server confirms: the stop may be lost with its epoch.
            self.ledger.left_behind.note(stream);
        }
        self.retire(stream_id);
    }

    /// From now on nothing that is said under its upstream id concerns the client; questions
    /// about it get no other answer.
    pub(super) fn retire(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let upstream_id: Box<str> = stream.upstream_id().into();
        let client_id: Box<str> = stream.client_id().into();
        self.ledger.retire(&upstream_id);
        for question in self.ledger.requests.take_questions(&client_id) {
            self.answer_lost(question);
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
            for stream in self.ledger.streams.iter_mut() {
                // Stopped when the server proves to have it: it says a word, or its name is in use.
                if stream.take_left_behind() && perhaps {
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
        let again = self.ledger.streams.iter_mut().filter_map(|stream| {
            let left_behind = stream.take_left_behind();
            (left_behind && stream.is(Standing::Held)).then_some(stream.id())
        });
        for stream_id in again.collect::<Vec<_>>() {
            self.stop_upstream(stream_id);
        }
    }

    /// Tells the client that a stream is over, in the server's own words if it had any.
    pub(super) fn report(&mut self, stream_id: StreamId) {
        self.give_up_reported_name(stream_id);
        let Some(stream) = self.remove_stream(stream_id) else { return };
        let message = match stream.refusal() {
            Some(refusal) => refusal.to_vec(),
            None => failed(&stream, if stream.is_answered() { INFO_LOST } else { INFO_NOT_READY }),
        };
        self.say_to_client(message);
        if stream.is(Standing::Lost) {
            self.want_lever();
        }
        self.outcome(&stream, Outcome::Reported);
    }

    /// In mode `restart` the page of a reported publish is about to be started again.
    fn give_up_reported_name(&mut self, stream_id: StreamId) {
        let stream = self.ledger.streams.get(stream_id);
        let lost = stream.filter(|stream| stream.is(Standing::Lost) && stream.kind().is_publish());
        let name = lost.map(|stream| stream.name().to_owned());
        if name.is_some_and(|name| self.expect_again(&name)) {
            self.hold_name_for_restore(stream_id, true);
        } else {
            self.release_name(stream_id, EndOfName::Lost);
        }
    }

    pub(super) fn outcome(&mut self, stream: &Stream, outcome: Outcome) {
        self.event(Event::StreamOutcome {
            name: stream.name().to_owned(),
            stream: stream.client_id().to_owned(),
            kind: if stream.kind().is_publish() { "publish" } else { "play" },
            outcome,
            after: self.now.since(stream.since()),
        });
    }

    /// Gives up the name of a publish, and tells those who wait for it.
    pub(super) fn release_name(&mut self, stream_id: StreamId, end: EndOfName) {
        let Some(name) = self.published_name(stream_id) else { return };
        let held_elsewhere = self
            .ledger
            .streams
            .iter()
            .any(|other| other.id() != stream_id && other.kind().is_publish() && *other.name() == *name);
        if !held_elsewhere {
            self.give_up_name(&name, end);
        }
    }

    fn published_name(&self, stream_id: StreamId) -> Option<Box<str>> {
        let stream = self.ledger.streams.get(stream_id).filter(|stream| stream.kind().is_publish())?;
        Some(stream.name().into())
    }

    pub(super) fn give_up_name(&mut self, name: &str, end: EndOfName) {
        self.registry.names().release(name, self.id, end, self.now);
        self.settle_name(name);
    }

    /// The publish runs: plays that wait for it may go on.
    pub(super) fn hold_name(&mut self, stream_id: StreamId) {
        if let Some(name) = self.published_name(stream_id) {
            self.registry.names().hold(&name, self.id, false, self.now);
            self.settle_name(&name);
        }
    }

    /// The publish does not run, and may again: unless another session has taken its name over.
    pub(super) fn hold_name_for_restore(&self, stream_id: StreamId, restoring: bool) {
        let Some(name) = self.published_name(stream_id) else { return };
        let holder = self.registry.names().get(&name).holder;
        if holder.is_none_or(|holder| holder.session == self.id) {
            self.registry.names().hold(&name, self.id, restoring, self.now);
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
        self.held_back.drop_events();
        self.ledger.retired.clear();
        let mut place = 0;
        while let Some(stream) = self.ledger.streams.at_mut(place) {
            let (stream_id, loss) = (stream.id(), stream.lost(self.now));
            if loss == Loss::Stopped {
                self.cancel(stream_id);
                continue;
            }
            self.hold_name_for_restore(stream_id, loss == Loss::Held);
            self.detach(stream_id);
            place += 1;
        }
    }

    /// Direct streams whose silence was longer than ICE bears: nobody knows what became of their
    /// media, so the client is told and the upstream is rid of them (rule R12).
    pub(super) fn report_streams_that_outlived_ice(&mut self) {
        while let Some(stream_id) = self
            .ledger
            .streams
            .find(|stream| stream.is_direct() && stream.is_answered() && stream.is(Standing::Live))
        {
            self.kept.touch();
            self.stop_upstream(stream_id);
            self.report(stream_id);
        }
    }

    /// Everything that is owed goes out: no more tries (rule R10).
    pub(super) fn report_everything(&mut self) {
        while let Some(stream_id) = self.ledger.streams.at(0).map(Stream::id) {
            self.report(stream_id);
        }
        self.answer_pending();
        self.answer_joins();
        self.finish_calls();
    }

    /// Answers the requests that the upstream took with it. A join is repeated instead.
    pub(super) fn answer_pending(&mut self) {
        for pending in self.ledger.requests.take_all() {
            self.answer_lost(pending);
        }
    }

    pub(super) fn run_stream_timers(&mut self) {
        let mut place = 0;
        while let Some(stream) = self.ledger.streams.at(place) {
            let stream_id = stream.id();
            if self.is_due(stream.deadline(&self.settings)) {
                self.stream_timer(stream_id);
            }
            // Whoever comes to the place of one that ended is looked at, too.
            if self.ledger.streams.at(place).is_some_and(|stream| stream.id() == stream_id) {
                place += 1;
            }
        }
    }

    fn stream_timer(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        if self.is_due(stream.leg().and_then(ClientLeg::gone_at)) {
            return self.client_media_is_gone(stream_id);
        }
        match stream.standing() {
            Standing::Lost => {
                self.report(stream_id);
                self.arm_lever();
            }
            Standing::Held | Standing::AwaitsProof | Standing::Offering => self.report(stream_id),
            Standing::Replayed if stream.leg().is_some() => self.proof_is_late(stream_id),
            Standing::Probation if self.upstream.perhaps_resumed => self.report(stream_id),
            Standing::Probation | Standing::Replayed => {
                self.stop_upstream(stream_id);
                self.report(stream_id);
            }
            Standing::Retry | Standing::AwaitsPublisher if self.is_up() => self.replay_stream(stream_id),
            Standing::Retry
            | Standing::AwaitsPublisher
            | Standing::Requested
            | Standing::Live
            | Standing::Stopping => {}
        }
    }

    /// Sends the client's request again, under a fresh id if an upstream has seen it before.
    pub(super) fn replay_stream(&mut self, stream_id: StreamId) {
        if self.wait_for_publisher(stream_id) || self.ask_for_offer(stream_id, true) {
            return;
        }
        let fresh = self.random.uuid();
        let until = self.now + self.settings.restore.proof_timeout;
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        match stream.replayed(fresh, until) {
            Some(message) => self.say_upstream(message),
            None => self.report(stream_id),
        }
    }

    /// A play of a name that this process is restoring waits for it (rule R5).
    pub(super) fn wait_for_publisher(&mut self, stream_id: StreamId) -> bool {
        let retry = self.settings.restore.name_retry;
        let hold = self.settings.restore.player_hold.max(self.settings.hold.time_max);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return false };
        // A play that ran is bounded by the patience with its publisher, who is ours.
        let patient = stream.is_running() || self.now < stream.since() + hold;
        if stream.kind().is_publish() || !patient || !self.registry.names().wait(stream.name(), self.id) {
            return false;
        }
        stream.awaits_publisher(self.now + retry);
        true
    }

    pub(super) fn name_settled(&mut self, name: &str) {
        if !self.is_up() {
            return;
        }
        while let Some(stream_id) = self.ledger.streams.find(|stream| {
            let waits = matches!(stream.standing(), Standing::AwaitsPublisher | Standing::Retry);
            waits && !stream.kind().is_publish() && stream.name() == name
        }) {
            self.replay_stream(stream_id);
            let stream = self.ledger.streams.get(stream_id);
            if stream.is_some_and(|stream| stream.is(Standing::AwaitsPublisher)) {
                break;
            }
        }
    }

    /// Repeats what the client told the dead upstream about a running stream.
    pub(super) fn repeat_stream_intents(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let id = stream.upstream_id();
        let mut messages = Vec::new();
        // A kept session knows what it last heard: an unmute may have been lost with the connection.
        let mutes = stream.mutes();
        let kept = mutes.is_some() && (self.upstream.resumed || self.upstream.perhaps_resumed);
        let mutes = mutes.unwrap_or_default();
        for (muted, on, off) in
            [(mutes.audio, "audioMuted", "audioUnmuted"), (mutes.video, "videoMuted", "videoUnmuted")]
        {
            if muted || kept {
                messages.push(synthetic::send_stream_event(id, if muted { on } else { off }));
            }
        }
        if let Some(metrics) = stream.metrics() {
            messages.push(request_with(&metrics, Some(id), None));
        }
        self.outputs.extend(messages.into_iter().map(Output::SendToUpstream));
    }

    /// A moment after which a wait that may be switched off ends.
    pub(super) fn patience(&self, wait: std::time::Duration) -> Timestamp {
        after(self.now, wait).unwrap_or(self.now)
    }
}

/// FAILED for this stream, under the client's id.
pub(super) fn failed(stream: &Stream, info: &str) -> Vec<u8> {
    stream_failed(stream.client_id(), stream.name(), stream.kind().is_publish(), info)
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
