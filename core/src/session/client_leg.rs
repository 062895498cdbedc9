//! The media path between an anchored stream's client and us: until it stands the client is not told
//! that its stream runs, and when it is gone for good the client is told that.

use std::time::Duration;

use crate::signaling::{Peek, Span, synthetic, synthetic::StreamStatus};

use super::{
    Event, MediaCommand, Output, StreamKey,
    core::Session,
    leg::ClientLeg,
    stream::{Standing, Stream, StreamId},
    verdict::client_words,
};

/// What a client is told whose media path is gone for good.
pub(super) const INFO_CLIENT_GONE: &str = "Failed by ICE keep alive";
/// What a client is told whose media path never stood.
const INFO_NEVER_CONNECTED: &str = "Failed by ICE timeout";
/// How long a client that closed its media may take to say that it stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// A longer running word is told in words of our own.
const RUNNING_WORD_BYTES_MAX: usize = 4 * 1024;

impl Session {
    /// The server says that a stream runs: the client hears it when its own media path stands.
    pub(super) fn tell_running(&mut self, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        if !stream.is_running() && stream.leg().is_some_and(|leg| !leg.has_connected()) {
            let mut words = client_words(stream, peek, id_span);
            if words.len() > RUNNING_WORD_BYTES_MAX {
                // The word counts, not what else the server says with it.
                words = running_word(stream);
            }
            let bytes = words.len();
            if let Some(leg) = stream.leg_mut() {
                leg.withhold(words.into_boxed_slice());
            }
            return self.keep(bytes);
        }
        stream.told_running();
        self.forward_as(stream_id, peek, id_span);
    }

    /// Keeps a word of the server in order behind the running word that is withheld.
    pub(super) fn withhold(&mut self, stream_id: StreamId, message: &[u8]) {
        let leg = self.ledger.streams.get(stream_id).and_then(Stream::leg);
        if !leg.is_some_and(ClientLeg::withholds_more) {
            return;
        }
        if let Some(message) = self.kept_for_stream(stream_id, message)
            && let Some(leg) = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut)
        {
            leg.withhold_behind(message);
        }
    }

    /// ICE and DTLS with the client stand: it hears what was withheld.
    pub(super) fn client_leg_connected(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        let withheld = stream.client_connected();
        for words in withheld {
            self.say_to_client(words.into_vec());
        }
    }

    /// Nothing comes from the client's media path. New transport addresses revive it, but Firefox
    /// would not take them.
    pub(super) fn client_leg_silent(&mut self, stream_id: StreamId, key: StreamKey, silence: Duration) {
        let leg = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut);
        if leg.is_some_and(|leg| leg.falls_silent(self.now, silence)) {
            self.outputs.push(Output::Media(MediaCommand::Revive { key }));
        }
    }

    pub(super) fn client_leg_revived(&mut self, stream_id: StreamId, silence: Duration) {
        if let Some(leg) = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut) {
            leg.is_heard();
        }
        let event = Event::ClientLegRevived { name: self.name_of(stream_id), silence };
        self.event(event);
    }

    /// The client is heard: media of it that was silent for longer than its browser bears, and that
    /// cannot be revived, is gone.
    pub(super) fn judge_silent_legs(&mut self) {
        let (now, patience) = (self.now, self.settings.restore.firefox_ice_patience);
        while let Some(stream_id) = self.ledger.streams.find(|stream| {
            let silent_since = stream.leg().and_then(ClientLeg::silent_since);
            silent_since.is_some_and(|since| now.since(since) >= patience) && !stream.is(Standing::Stopping)
        }) {
            self.kept.touch();
            self.anchored_stream_is_over(
                stream_id,
                INFO_CLIENT_GONE,
                "its browser cannot be given new addresses",
            );
        }
    }

    /// The SDK's stop closes the media together with sending the request, and UDP may overtake
    /// TCP: the client's word is waited for a moment.
    pub(super) fn client_media_closed(&mut self, stream_id: StreamId) {
        let until = self.now + STOP_GRACE;
        let stream = self.ledger.streams.get_mut(stream_id).filter(|stream| !stream.is(Standing::Stopping));
        if let Some(leg) = stream.and_then(Stream::leg_mut) {
            leg.closes(until);
        }
    }

    pub(super) fn client_media_is_gone(&mut self, stream_id: StreamId) {
        let leg = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut);
        let stood = leg.is_some_and(ClientLeg::is_gone);
        let info = if stood { INFO_CLIENT_GONE } else { INFO_NEVER_CONNECTED };
        self.anchored_stream_is_over(stream_id, info, "the client's media ended");
    }

    pub(super) fn anchored_stream_is_over(&mut self, stream_id: StreamId, info: &'static str, reason: &str) {
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        if stream.is(Standing::Stopping) {
            return;
        }
        stream.refused_with(super::streams::failed(stream, info).into_boxed_slice());
        let upstream_has_it = stream.is_upstream();
        let event = Event::MediaLost { name: stream.name().to_owned(), reason: reason.to_owned() };
        self.event(event);
        if upstream_has_it && self.is_up() {
            self.stop_upstream(stream_id);
        }
        self.report(stream_id);
    }
}

/// PUBLISHING or PLAYING for this stream, under the client's id.
fn running_word(stream: &Stream) -> Vec<u8> {
    synthetic::stream_status(&StreamStatus {
        media_session_id: stream.client_id(),
        name: stream.name(),
        published: stream.kind().is_publish(),
        status: stream.kind().running(),
        info: None,
    })
}
