//! Anchored streams: the client's WebRTC transport ends at our media workers, and each epoch gets
//! an upstream transport of its own (design section 5). The workers move packets and report; what
//! that means for a stream is decided here.

use crate::{
    config::{CheckBitrate, RestoreMode},
    media::{Fact, Kind as MediaKind, StreamStats},
    signaling::{Peek, synthetic},
};

use super::{
    Event, MediaCommand, Output,
    core::Session,
    info::RetryClass,
    kept::Full,
    ledger::{MediaKey, StreamState, Transport},
    packed::Packed,
    request::{offer_in, request_with},
};

/// What a client is told whose media path is gone for good.
const INFO_CLIENT_GONE: &str = "Failed by ICE keep alive";
/// How long a client that closed its media may take to say that it stops.
const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(1);
/// What a publisher is told that never sent video (the vendor's bitrate check).
const INFO_NO_VIDEO: &str = "Failed by RTP activity";

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
        let until = self.now + self.settings.restore.proof_timeout;
        let epoch = self.epoch;
        let refuse_h264 = self.refuse_h264;
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        let Transport::Anchored(key) = stream.transport else { return false };
        stream.state = StreamState::Offering { until, replay };
        let without_h264 = stream.without_h264 || refuse_h264;
        let command = if stream.opened {
            MediaCommand::Attach { key, epoch, narrow: stream.running, refuse_h264: without_h264 }
        } else {
            stream.opened = true;
            let kind = if stream.kind.is_publish() { MediaKind::Publish } else { MediaKind::Play };
            let request = stream.request.as_ref().map(Packed::unpack).unwrap_or_default();
            MediaCommand::Open {
                key,
                kind,
                epoch,
                client_offer: offer_in(&request),
                refuse_h264: without_h264,
            }
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
            Fact::UpstreamFailed { epoch, reason } if epoch == self.epoch => {
                self.upstream_leg_failed(index, &reason);
            }
            Fact::UpstreamSilent { epoch }
                if epoch == self.epoch && self.is_up() && !self.upstream.probed =>
            {
                self.upstream.probed = true;
                self.outputs.push(Output::PingUpstream);
            }
            Fact::ClientSilent { .. } => self.outputs.push(Output::Media(MediaCommand::Revive { key })),
            Fact::NewClientCredentials { sdp } => self.say_remote_sdp(index, &sdp, false),
            Fact::ClientRevived { silence } => {
                let event = Event::ClientLegRevived { name: self.name_of(index), silence };
                self.event(event);
            }
            Fact::ClientGone { .. } => self.client_media_closed(index),
            Fact::Broken { reason } => self.anchored_stream_is_over(index, INFO_CLIENT_GONE, &reason),
            Fact::CodecChanged { epoch, codec } if epoch == self.epoch => self.codec_changed(index, codec),
            Fact::NoVideo { never_sent, had_h264 } => self.no_video(index, never_sent, had_h264),
            Fact::Stats(numbers) => self.counted(index, numbers),
            _ => {}
        }
    }

    fn by_media_key(&self, key: MediaKey) -> Option<usize> {
        self.ledger.streams.iter().position(|stream| stream.transport == Transport::Anchored(key))
    }

    fn name_of(&self, index: usize) -> String {
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

    fn say_remote_sdp(&mut self, index: usize, sdp: &str, answers_client: bool) {
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

    /// The SDK's stop closes the media together with sending the request, and UDP may overtake
    /// TCP: the client's word is waited for a moment.
    fn client_media_closed(&mut self, index: usize) {
        let until = self.now + STOP_GRACE;
        if let Some(stream) = self.ledger.streams.get_mut(index).filter(|s| s.state != StreamState::Stopping)
        {
            stream.media_closed_until = Some(until);
        }
    }

    pub(super) fn client_media_is_gone(&mut self, index: usize) {
        if let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.media_closed_until = None;
        }
        self.anchored_stream_is_over(index, INFO_CLIENT_GONE, "the client's media ended");
    }

    fn anchored_stream_is_over(&mut self, index: usize, info: &'static str, reason: &str) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if stream.state == StreamState::Stopping {
            return;
        }
        stream.refusal = Some(super::streams::failed(stream, info).into_boxed_slice());
        let upstream_has_it = stream.state.is_upstream();
        let event = Event::MediaLost { name: stream.name.to_string(), reason: reason.to_owned() };
        self.event(event);
        if upstream_has_it && self.is_up() {
            self.stop_upstream(index);
        }
        self.report(index);
    }

    /// The browser fell back to another codec by itself: the upstream is asked anew with it.
    fn codec_changed(&mut self, index: usize, codec: String) {
        let event = Event::CodecChanged { name: self.name_of(index), codec };
        self.event(event);
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if !matches!(stream.state, StreamState::Live | StreamState::Requested | StreamState::Replayed { .. })
        {
            return;
        }
        if stream.state == StreamState::Live {
            stream.since = self.now;
        }
        self.stop_upstream(index);
        self.hold_name_for_restore(index, true);
        self.ask_for_offer(index, true);
    }

    /// The vendor's bitrate check, on the server side (design section 4).
    fn no_video(&mut self, index: usize, never_sent: bool, had_h264: bool) {
        let event = Event::NoVideo { name: self.name_of(index), never_sent };
        self.event(event);
        let fails = match self.settings.video.check_bitrate {
            CheckBitrate::Off => false,
            CheckBitrate::On => never_sent,
            CheckBitrate::Strict => true,
        };
        if !fails {
            return;
        }
        self.refuse_h264 |= had_h264 && self.settings.video.retry_without_h264;
        self.anchored_stream_is_over(index, INFO_NO_VIDEO, "the publisher sends no video");
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

    /// A running stream of the client (un)muted its video: the watchdog must know.
    pub(super) fn tell_workers_of_mute(&mut self, index: usize) {
        if let Some(stream) = self.ledger.streams.get(index)
            && let Transport::Anchored(key) = stream.transport
        {
            self.outputs.push(Output::Media(MediaCommand::Muted { key, video: stream.video_muted }));
        }
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
