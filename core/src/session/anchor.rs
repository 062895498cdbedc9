//! Anchored streams: the client's WebRTC transport ends at our media workers, and each epoch gets
//! an upstream transport of its own (docs/rules.md, facts of the anchor). The workers move packets and report; what
//! that means for a stream is decided here.

use crate::{
    media::{Fact, Kind as MediaKind, StreamStats},
    settings::RestoreMode,
    signaling::{Peek, sdp, synthetic},
};

use super::{
    Event, MediaCommand, Output,
    client_leg::INFO_CLIENT_GONE,
    core::Session,
    info::RetryClass,
    kept::Full,
    ledger::{MediaKey, StreamState, Transport},
    packed::Packed,
    request::{offer_in, request_with},
    streams::INFO_NOT_READY,
};

impl Session {
    /// How a new WebRTC stream of this client travels.
    pub(super) fn transport_for(&mut self, provider: Option<&str>, has_offer: bool) -> Transport {
        match provider {
            Some("MSE" | "WSPlayer") => Transport::Socket,
            Some("WebRTC") | None
                if self.anchors
                    && has_offer
                    && matches!(self.client.mode, RestoreMode::Auto | RestoreMode::Anchor) =>
            {
                self.next_media_key = self.next_media_key.wrapping_add(1);
                Transport::Anchored(MediaKey(self.next_media_key))
            }
            _ => Transport::Direct,
        }
    }

    /// Asks the workers for an upstream offer; the request follows when it is there. False if the
    /// stream is not anchored.
    pub(super) fn ask_for_offer(&mut self, index: usize, replay: bool) -> bool {
        let transport = self.ledger.streams.get(index).map(|stream| stream.transport);
        let Some(Transport::Anchored(key)) = transport else { return false };
        let until = self.now + self.settings.restore.proof_timeout;
        let epoch = self.epoch;
        self.refuse_h264_that_was_in_vain(index);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        stream.state = StreamState::Offering { until, replay };
        let refuse_h264 = stream.without_h264;
        let command = if stream.opened {
            MediaCommand::Attach { key, epoch, narrow: stream.running, refuse_h264 }
        } else {
            stream.opened = true;
            let kind = if stream.kind.is_publish() { MediaKind::Publish } else { MediaKind::Play };
            let request = stream.request.as_ref().map(Packed::unpack).unwrap_or_default();
            let client_offer = offer_in(&request);
            stream.unrevivable = sdp::is_of_firefox(&client_offer);
            MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264 }
        };
        self.outputs.push(Output::Media(command));
        true
    }

    pub(super) fn media_fact(&mut self, key: MediaKey, fact: Fact) {
        let Some(index) = self.by_media_key(key) else { return };
        match fact {
            Fact::UpstreamOffer { epoch, sdp } if epoch == self.epoch => self.offer_made(index, &sdp),
            Fact::ClientAnswer { sdp } => self.client_answer(index, &sdp),
            Fact::Unanchorable { reason } => self.unanchorable(index, reason),
            Fact::Flowing { epoch, complete: true, .. } if epoch == self.epoch => self.flows(index),
            Fact::Flowing { epoch, .. } if epoch == self.epoch => self.shows_life(index),
            Fact::UpstreamFailed { epoch, reason } if epoch == self.epoch => {
                self.upstream_leg_failed(index, &reason);
            }
            Fact::OutOfSockets { epoch, reason } if epoch == self.epoch => {
                self.out_of_sockets(index, &reason);
            }
            Fact::UpstreamSilent { epoch }
                if epoch == self.epoch && self.is_up() && !self.upstream.probed =>
            {
                self.upstream.probed = true;
                self.outputs.push(Output::PingUpstream);
            }
            Fact::ClientConnected => self.client_leg_connected(index),
            Fact::ClientSilent { silence, .. } => self.client_leg_silent(index, key, silence),
            Fact::NewClientCredentials { sdp } => self.say_remote_sdp(index, &sdp, false),
            Fact::ClientRevived { silence } => self.client_leg_revived(index, silence),
            Fact::ClientGone { .. } => self.client_media_closed(index),
            Fact::Broken { reason } => self.anchored_stream_is_over(index, INFO_CLIENT_GONE, &reason),
            Fact::CodecChanged { epoch, codec } if epoch == self.epoch => self.codec_changed(index, codec),
            Fact::NoVideo { never_sent, had_h264 } => self.no_video(index, never_sent, had_h264),
            Fact::VideoBack => self.video_back(index),
            Fact::Stats(numbers) => self.counted(index, numbers),
            _ => {}
        }
    }

    fn by_media_key(&self, key: MediaKey) -> Option<usize> {
        self.ledger.streams.iter().position(|stream| stream.transport == Transport::Anchored(key))
    }

    pub(super) fn name_of(&self, index: usize) -> String {
        self.ledger.streams.get(index).map(|stream| stream.name.to_string()).unwrap_or_default()
    }

    /// The workers' offer goes upstream in the client's request.
    fn offer_made(&mut self, index: usize, sdp: &str) {
        if !self.is_up() {
            return;
        }
        let fresh = self.random.uuid();
        let until = self.now + self.settings.restore.proof_timeout;
        let Some(StreamState::Offering { replay, .. }) = self.ledger.streams.get(index).map(|s| s.state)
        else {
            return;
        };
        // The publisher may have been lost while the offer was made.
        if replay && self.wait_for_publisher(index) {
            return;
        }
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        let request = stream.request.as_ref().map(Packed::unpack).unwrap_or_default();
        if stream.sent {
            stream.upstream_id = Some(fresh);
        }
        stream.sent = true;
        stream.runs_upstream = false;
        stream.left_behind = false;
        stream.alive = false;
        stream.withheld = None;
        stream.state = if replay { StreamState::Replayed { until } } else { StreamState::Requested };
        let message = request_with(&request, stream.upstream_id.as_deref(), Some(sdp));
        self.say_upstream(message);
    }

    fn client_answer(&mut self, index: usize, sdp: &str) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if stream.answered {
            return;
        }
        stream.answered = true;
        // The workers know the client's offer now; a request at rest needs none.
        stream.request = stream
            .request
            .take()
            .map(|request| Packed::new(&request_with(&request.unpack(), None, Some(""))));
        self.say_remote_sdp(index, sdp, true);
    }

    pub(super) fn say_remote_sdp(&mut self, index: usize, sdp: &str, answers_client: bool) {
        if let Some(stream) = self.ledger.streams.get(index) {
            self.say_to_client(synthetic::set_remote_sdp(&stream.client_id, sdp, answers_client));
        }
    }

    /// This stream goes the way of direct media.
    fn unanchorable(&mut self, index: usize, reason: String) {
        let event = Event::Unanchorable { name: self.name_of(index), reason };
        self.event(event);
        let up = self.is_up();
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if stream.answered {
            return self.anchored_stream_is_over(index, INFO_CLIENT_GONE, "not anchored any more");
        }
        stream.transport = Transport::Direct;
        stream.opened = false;
        let StreamState::Offering { replay, .. } = stream.state else { return };
        if !up {
            stream.state = StreamState::Held;
        } else if replay {
            self.replay_stream(index);
        } else {
            stream.state = StreamState::Requested;
            stream.sent = true;
            let request = stream.request.as_ref().map(Packed::unpack).unwrap_or_default();
            self.say_upstream(request);
        }
    }

    /// Packets (a key frame, where there is video) went through the new leg: that is the proof.
    fn flows(&mut self, index: usize) {
        let replayed = self
            .ledger
            .streams
            .get(index)
            .is_some_and(|stream| matches!(stream.state, StreamState::Replayed { .. }) && stream.running);
        if replayed {
            self.restored(index);
        }
    }

    /// Packets come, though not yet what proves the stream: a key frame may be long in coming.
    fn shows_life(&mut self, index: usize) {
        if let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.alive = true;
        }
    }

    /// The time for a proof is over.
    pub(super) fn proof_is_late(&mut self, index: usize) {
        let alive = self.ledger.streams.get(index).is_some_and(|stream| stream.alive && stream.running);
        if alive {
            // To ask again would only make the receiver wait for the next key frame.
            self.restored(index);
        } else {
            self.start_over(index, "no media came through");
        }
    }

    /// Media between us and the upstream came to nothing: ours to mend (rule R9).
    fn upstream_leg_failed(&mut self, index: usize, reason: &str) {
        let Some(stream) = self.ledger.streams.get(index) else { return };
        match stream.state {
            // An answer we cannot use, but the client perhaps can.
            StreamState::Requested if !stream.answered => self.fall_back_to_direct(index, reason),
            StreamState::Requested | StreamState::Live | StreamState::Replayed { .. } => {
                self.start_over(index, reason);
            }
            StreamState::Offering { .. } => self.report(index),
            _ => {}
        }
    }

    /// The workers have no socket left for it: the client hears that it failed. What already ran is
    /// tried again as after any loss.
    fn out_of_sockets(&mut self, index: usize, reason: &str) {
        if self.ledger.streams.get(index).is_some_and(|stream| stream.answered) {
            self.upstream_leg_failed(index, reason);
        } else {
            self.anchored_stream_is_over(index, INFO_NOT_READY, reason);
        }
    }

    /// Takes the stream back from workers and upstream and asks again with the client's own offer.
    fn fall_back_to_direct(&mut self, index: usize, reason: &str) {
        self.stop_upstream(index);
        let event = Event::Unanchorable { name: self.name_of(index), reason: reason.to_owned() };
        self.event(event);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if let Transport::Anchored(key) = stream.transport {
            self.outputs.push(Output::Media(MediaCommand::Close { key }));
        }
        stream.transport = Transport::Direct;
        stream.opened = false;
        // No media path of ours is waited for any more.
        stream.withheld = None;
        self.replay_stream(index);
    }

    /// Takes the stream back from the upstream and tries again, as long as patience lasts.
    pub(super) fn start_over(&mut self, index: usize, reason: &str) {
        self.stop_upstream(index);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if matches!(stream.state, StreamState::Live | StreamState::Requested) {
            stream.since = self.now;
            stream.tries = 0;
            stream.patience = None;
            stream.refusal = None;
        }
        self.hold_name_for_restore(index, true);
        if !self.retry(index, RetryClass::Transient, reason, None) {
            self.report(index);
        }
    }

    /// The workers' numbers of a stream, kept for whoever looks. Each gap that a restore left is
    /// told once.
    fn counted(&mut self, index: usize, numbers: Box<StreamStats>) {
        let name = self.name_of(index);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        let known = stream.numbers.as_ref().map_or(0, |before| before.gaps);
        let new = usize::try_from(numbers.gaps.saturating_sub(known)).unwrap_or(usize::MAX);
        let skip = numbers.gaps_ms.len().saturating_sub(new);
        let gaps: Vec<u64> = numbers.gaps_ms.iter().skip(skip).copied().collect();
        stream.numbers = Some(numbers);
        for gap_ms in gaps {
            self.event(Event::MediaGap { name: name.clone(), gap: std::time::Duration::from_millis(gap_ms) });
        }
    }

    /// The upstream's answer is for our leg, not for the client.
    pub(super) fn upstream_answer(&mut self, key: MediaKey, peek: &Peek<'_>) {
        let Some(sdp) = peek.string_argument(1) else { return };
        if sdp.len() > self.settings.bounds.stream_bytes_max {
            self.not_kept(Full::Entry);
            if let Some(index) = self.by_media_key(key) {
                self.upstream_leg_failed(index, "the answer is too large");
            }
            return;
        }
        let command = MediaCommand::UpstreamAnswer { key, epoch: self.epoch, sdp: sdp.into_owned() };
        self.outputs.push(Output::Media(command));
    }

    /// The upstream is gone: legs towards it end, legs towards the client stay.
    pub(super) fn detach(&mut self, index: usize) {
        if let Some(stream) = self.ledger.streams.get(index)
            && let Transport::Anchored(key) = stream.transport
            && stream.opened
        {
            self.outputs.push(Output::Media(MediaCommand::Detach { key }));
        }
    }

    /// Takes a stream out of the ledger, and its legs down.
    pub(super) fn remove_stream(&mut self, index: usize) -> super::ledger::Stream {
        let mut stream = self.ledger.streams.swap_remove(index);
        self.remember_h264_in_vain(&stream);
        if let Some(numbers) = stream.numbers.take() {
            let (name, restored) = (stream.name.to_string(), stream.restored);
            self.event(Event::MediaSummary { name, restored, numbers });
        }
        if !stream.kind.is_publish() {
            self.registry.names().stop_waiting(&stream.name, self.id);
        }
        if stream.left_behind && self.client.keep_alive && self.outage().is_some() {
            self.ledger.left_behind.note(&stream);
        }
        if let Transport::Anchored(key) = stream.transport
            && stream.opened
        {
            self.outputs.push(Output::Media(MediaCommand::Close { key }));
        }
        stream
    }
}
