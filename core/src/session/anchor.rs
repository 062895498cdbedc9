//! Anchored streams: the client's WebRTC transport ends at our media workers, and each epoch gets
//! an upstream transport of its own (docs/rules.md, facts of the anchor). The workers move packets and report; what
//! that means for a stream is decided here.

use crate::{
    media::{Fact, StreamStats},
    settings::RestoreMode,
    signaling::{Peek, synthetic},
};

use super::{
    Event, MediaCommand, Output, StreamKey,
    client_leg::INFO_CLIENT_GONE,
    core::Session,
    info::RetryClass,
    kept::Full,
    leg::ClientLeg,
    stream::{Standing, Stream, StreamId, Transport},
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
                let key = StreamKey { session: self.id, number: self.next_media_key };
                Transport::Anchored(Box::new(ClientLeg::new(key)))
            }
            _ => Transport::Direct,
        }
    }

    /// Asks the workers for an upstream offer; the request follows when it is there. False if the
    /// stream is not anchored.
    pub(super) fn ask_for_offer(&mut self, stream_id: StreamId, replay: bool) -> bool {
        if self.ledger.streams.get(stream_id).and_then(Stream::leg).is_none() {
            return false;
        }
        let until = self.now + self.settings.restore.proof_timeout;
        let epoch = self.epoch;
        self.refuse_h264_that_was_in_vain(stream_id);
        let stream = self.ledger.streams.get_mut(stream_id);
        let command = stream.and_then(|stream| stream.ask_for_offer(epoch, until, replay));
        self.outputs.extend(command.map(Output::Media));
        true
    }

    pub(super) fn media_fact(&mut self, key: StreamKey, fact: Fact) {
        let Some(stream_id) = self.by_media_key(key) else { return };
        match fact {
            Fact::UpstreamOffer { epoch, sdp } if epoch == self.epoch => self.offer_made(stream_id, &sdp),
            Fact::ClientAnswer { sdp } => self.client_answer(stream_id, &sdp),
            Fact::Unanchorable { reason } => self.unanchorable(stream_id, reason),
            Fact::Flowing { epoch, complete: true, .. } if epoch == self.epoch => self.flows(stream_id),
            Fact::Flowing { epoch, .. } if epoch == self.epoch => self.shows_life(stream_id),
            Fact::UpstreamFailed { epoch, reason } if epoch == self.epoch => {
                self.upstream_leg_failed(stream_id, &reason);
            }
            Fact::OutOfSockets { epoch, reason } if epoch == self.epoch => {
                self.out_of_sockets(stream_id, &reason);
            }
            // One probe for each silence.
            Fact::UpstreamSilent { epoch }
                if epoch == self.epoch && self.is_up() && self.upstream.silence.probe() =>
            {
                self.outputs.push(Output::PingUpstream);
            }
            Fact::ClientConnected => self.client_leg_connected(stream_id),
            Fact::ClientSilent { silence, .. } => self.client_leg_silent(stream_id, key, silence),
            Fact::NewClientCredentials { sdp } => self.say_remote_sdp(stream_id, &sdp, false),
            Fact::ClientRevived { silence } => self.client_leg_revived(stream_id, silence),
            Fact::ClientGone { .. } => self.client_media_closed(stream_id),
            Fact::Broken { reason } => self.anchored_stream_is_over(stream_id, INFO_CLIENT_GONE, &reason),
            Fact::CodecChanged { epoch, codec } if epoch == self.epoch => {
                self.codec_changed(stream_id, codec)
            }
            Fact::NoVideo { never_sent, had_h264 } => self.no_video(stream_id, never_sent, had_h264),
            Fact::VideoBack => self.video_back(stream_id),
            Fact::Stats(numbers) => self.counted(stream_id, numbers),
            _ => {}
        }
    }

    fn by_media_key(&self, key: StreamKey) -> Option<StreamId> {
        self.ledger.streams.find(|stream| stream.leg().is_some_and(|leg| leg.key() == key))
    }

    pub(super) fn name_of(&self, stream_id: StreamId) -> String {
        self.ledger.streams.get(stream_id).map(|stream| stream.name().to_owned()).unwrap_or_default()
    }

    /// The workers' offer goes upstream in the client's request.
    fn offer_made(&mut self, stream_id: StreamId, sdp: &str) {
        if !self.is_up() {
            return;
        }
        let fresh = self.random.uuid();
        let until = self.now + self.settings.restore.proof_timeout;
        let Some(replay) = self.ledger.streams.get(stream_id).and_then(Stream::offering) else { return };
        // The publisher may have been lost while the offer was made.
        if replay && self.wait_for_publisher(stream_id) {
            return;
        }
        let stream = self.ledger.streams.get_mut(stream_id);
        if let Some(message) = stream.and_then(|stream| stream.offer_made(sdp, fresh, until)) {
            self.say_upstream(message);
        }
    }

    fn client_answer(&mut self, stream_id: StreamId, sdp: &str) {
        if self.ledger.streams.get_mut(stream_id).is_some_and(Stream::answer_from_workers) {
            self.say_remote_sdp(stream_id, sdp, true);
        }
    }

    pub(super) fn say_remote_sdp(&mut self, stream_id: StreamId, sdp: &str, answers_client: bool) {
        if let Some(stream) = self.ledger.streams.get(stream_id) {
            self.say_to_client(synthetic::set_remote_sdp(stream.client_id(), sdp, answers_client));
        }
    }

    /// This stream goes the way of direct media.
    fn unanchorable(&mut self, stream_id: StreamId, reason: String) {
        let event = Event::Unanchorable { name: self.name_of(stream_id), reason };
        self.event(event);
        let up = self.is_up();
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        if stream.is_answered() {
            return self.anchored_stream_is_over(stream_id, INFO_CLIENT_GONE, "not anchored any more");
        }
        match stream.give_up_anchor(up) {
            Some(true) if up => self.replay_stream(stream_id),
            Some(false) if up => {
                stream.sent_as_it_is();
                let request = stream.request().unwrap_or_default();
                self.say_upstream(request);
            }
            _ => {}
        }
    }

    /// Packets (a key frame, where there is video) went through the new leg: that is the proof.
    fn flows(&mut self, stream_id: StreamId) {
        if self.ledger.streams.get(stream_id).is_some_and(Stream::awaits_media) {
            self.restored(stream_id);
        }
    }

    /// Packets come, though not yet what proves the stream: a key frame may be long in coming.
    fn shows_life(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.ledger.streams.get_mut(stream_id) {
            stream.packets_come();
        }
    }

    /// The time for a proof is over.
    pub(super) fn proof_is_late(&mut self, stream_id: StreamId) {
        if self.ledger.streams.get(stream_id).is_some_and(Stream::shows_life) {
            // To ask again would only make the receiver wait for the next key frame.
            self.restored(stream_id);
        } else {
            self.start_over(stream_id, "no media came through");
        }
    }

    /// Media between us and the upstream came to nothing: ours to mend (rule R9).
    fn upstream_leg_failed(&mut self, stream_id: StreamId, reason: &str) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        match stream.standing() {
            // An answer we cannot use, but the client perhaps can.
            Standing::Requested if !stream.is_answered() => self.fall_back_to_direct(stream_id, reason),
            Standing::Requested | Standing::Live | Standing::Replayed => self.start_over(stream_id, reason),
            Standing::Offering => self.report(stream_id),
            _ => {}
        }
    }

    /// The workers have no socket left for it: the client hears that it failed. What already ran is
    /// tried again as after any loss.
    fn out_of_sockets(&mut self, stream_id: StreamId, reason: &str) {
        if self.ledger.streams.get(stream_id).is_some_and(Stream::is_answered) {
            self.upstream_leg_failed(stream_id, reason);
        } else {
            self.anchored_stream_is_over(stream_id, INFO_NOT_READY, reason);
        }
    }

    /// Takes the stream back from workers and upstream and asks again with the client's own offer.
    fn fall_back_to_direct(&mut self, stream_id: StreamId, reason: &str) {
        self.stop_upstream(stream_id);
        let event = Event::Unanchorable { name: self.name_of(stream_id), reason: reason.to_owned() };
        self.event(event);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        let key = stream.leg().map(ClientLeg::key);
        self.outputs.extend(key.map(|key| Output::Media(MediaCommand::Close { key })));
        let _ = stream.give_up_anchor(true);
        self.replay_stream(stream_id);
    }

    /// Takes the stream back from the upstream and tries again, as long as patience lasts.
    pub(super) fn start_over(&mut self, stream_id: StreamId, reason: &str) {
        self.stop_upstream(stream_id);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        stream.starts_over(self.now);
        self.hold_name_for_restore(stream_id, true);
        if !self.retry(stream_id, RetryClass::Transient, reason, None) {
            self.report(stream_id);
        }
    }

    /// The workers' numbers of a stream, kept for whoever looks. Each gap that a restore left is
    /// told once.
    fn counted(&mut self, stream_id: StreamId, numbers: Box<StreamStats>) {
        let name = self.name_of(stream_id);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        let known = stream.numbers().map_or(0, |before| before.gaps);
        let new = usize::try_from(numbers.gaps.saturating_sub(known)).unwrap_or(usize::MAX);
        let skip = numbers.gaps_ms.len().saturating_sub(new);
        let gaps: Vec<u64> = numbers.gaps_ms.iter().skip(skip).copied().collect();
        stream.count(numbers);
        for gap_ms in gaps {
            self.event(Event::MediaGap { name: name.clone(), gap: std::time::Duration::from_millis(gap_ms) });
        }
    }

    /// The upstream's answer is for our leg, not for the client.
    pub(super) fn upstream_answer(&mut self, key: StreamKey, peek: &Peek<'_>) {
        let Some(sdp) = peek.string_argument(1) else { return };
        if sdp.len() > self.settings.bounds.stream_bytes_max {
            self.not_kept(Full::Entry);
            if let Some(stream_id) = self.by_media_key(key) {
                self.upstream_leg_failed(stream_id, "the answer is too large");
            }
            return;
        }
        let command = MediaCommand::UpstreamAnswer { key, epoch: self.epoch, sdp: sdp.into_owned() };
        self.outputs.push(Output::Media(command));
    }

    /// The upstream is gone: legs towards it end, legs towards the client stay.
    pub(super) fn detach(&mut self, stream_id: StreamId) {
        if let Some(key) = self.ledger.streams.get(stream_id).and_then(Stream::opened_key) {
            self.outputs.push(Output::Media(MediaCommand::Detach { key }));
        }
    }

    /// Takes a stream out of the ledger, and its legs down.
    pub(super) fn remove_stream(&mut self, stream_id: StreamId) -> Option<Stream> {
        let mut stream = self.ledger.streams.remove(stream_id)?;
        self.remember_h264_in_vain(&stream);
        if let Some(numbers) = stream.take_numbers() {
            let (name, restored) = (stream.name().to_owned(), stream.restored());
            self.event(Event::MediaSummary { name, restored, numbers });
        }
        if !stream.kind().is_publish() {
            self.registry.names().stop_waiting(stream.name(), self.id);
        }
        if stream.is_left_behind() && self.client.keep_alive && self.outage().is_some() {
            self.ledger.left_behind.note(&stream);
        }
        if let Some(key) = stream.opened_key() {
            self.outputs.push(Output::Media(MediaCommand::Close { key }));
        }
        Some(stream)
    }
}
