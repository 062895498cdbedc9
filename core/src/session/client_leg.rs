//! The media path between an anchored stream's client and us: until it stands the client is not told
//! that its stream runs, and when it is gone for good the client is told that.

use std::time::Duration;

use crate::signaling::{Peek, Span, synthetic, synthetic::StreamStatus};

use super::{
    Event, MediaCommand, Output,
    core::Session,
    ledger::{MediaKey, Stream, StreamState, Transport},
    verdict::client_words,
};

/// What a client is told whose media path is gone for good.
pub(super) const INFO_CLIENT_GONE: &str = "Failed by ICE keep alive";
/// What a client is told whose media path never stood.
const INFO_NEVER_CONNECTED: &str = "Failed by ICE timeout";
/// How long a client that closed its media may take to say that it stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Most words of the server that wait for the client's media path, the running word with them; further
/// ones, and those that the session may not keep, are dropped.
const WITHHELD_MAX: usize = 16;
/// A longer running word is told in words of our own.
const RUNNING_WORD_BYTES_MAX: usize = 4 * 1024;

impl Session {
    /// The server says that a stream runs: the client hears it when its own media path stands. True
    /// if it hears it now.
    pub(super) fn tell_running(&mut self, index: usize, peek: &Peek<'_>, id_span: Option<Span>) -> bool {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return false };
        let waits = matches!(stream.transport, Transport::Anchored(_)) && !stream.client_connected;
        if waits && !stream.running {
            let mut words = client_words(stream, peek, id_span);
            if words.len() > RUNNING_WORD_BYTES_MAX {
                // The word counts, not what else the server says with it.
                words = running_word(stream);
            }
            let bytes = words.len();
            stream.withheld = Some(vec![words.into_boxed_slice()]);
            self.keep(bytes);
            return false;
        }
        stream.running = true;
        self.forward_as(index, peek, id_span);
        true
    }

    /// Keeps a word of the server in order behind the running word that is withheld.
    pub(super) fn withhold(&mut self, index: usize, message: &[u8]) {
        let withheld = self.ledger.streams.get(index).and_then(|stream| stream.withheld.as_ref());
        if withheld.is_none_or(|withheld| withheld.len() >= WITHHELD_MAX) {
            return;
        }
        if let Some(message) = self.kept_for_stream(index, message)
            && let Some(withheld) = self.ledger.streams.get_mut(index).and_then(|s| s.withheld.as_mut())
        {
            withheld.push(message);
        }
    }

    /// ICE and DTLS with the client stand: it hears what was withheld.
    pub(super) fn client_leg_connected(&mut self, index: usize) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        stream.client_connected = true;
        let Some(withheld) = stream.withheld.take() else { return };
        match stream.state {
            StreamState::Requested => {
                stream.state = StreamState::Live;
                stream.running = true;
            }
            StreamState::Live => stream.running = true,
            // It was the word of an upstream that is gone.
            _ => return,
        }
        for words in withheld {
            self.say_to_client(words.into_vec());
        }
    }

    /// Nothing comes from the client's media path. New transport addresses revive it, but Firefox
    /// would not take them.
    pub(super) fn client_leg_silent(&mut self, index: usize, key: MediaKey, silence: Duration) {
        let Some(stream) = self.ledger.streams.get_mut(index) else { return };
        if !stream.unrevivable {
            self.outputs.push(Output::Media(MediaCommand::Revive { key }));
            return;
        }
        let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        stream.silent_since = Some(super::Timestamp::from_ms(self.now.as_ms().saturating_sub(silence_ms)));
    }

    pub(super) fn client_leg_revived(&mut self, index: usize, silence: Duration) {
        if let Some(stream) = self.ledger.streams.get_mut(index) {
            stream.silent_since = None;
        }
        let event = Event::ClientLegRevived { name: self.name_of(index), silence };
        self.event(event);
    }

    /// The client is heard: media of it that was silent for longer than its browser bears, and that
    /// cannot be revived, is gone.
    pub(super) fn judge_silent_legs(&mut self) {
        let (now, patience) = (self.now, self.settings.restore.firefox_ice_patience);
        while let Some(index) = self.ledger.streams.iter().position(|stream| {
            stream.silent_since.is_some_and(|since| now.since(since) >= patience)
                && stream.state != StreamState::Stopping
        }) {
            self.anchored_stream_is_over(
                index,
                INFO_CLIENT_GONE,
                "its browser cannot be given new addresses",
            );
        }
    }

    /// The SDK's stop closes the media together with sending the request, and UDP may overtake
    /// TCP: the client's word is waited for a moment.
    pub(super) fn client_media_closed(&mut self, index: usize) {
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
        let stood = self.ledger.streams.get(index).is_some_and(|stream| stream.client_connected);
        let info = if stood { INFO_CLIENT_GONE } else { INFO_NEVER_CONNECTED };
        self.anchored_stream_is_over(index, info, "the client's media ended");
    }

    pub(super) fn anchored_stream_is_over(&mut self, index: usize, info: &'static str, reason: &str) {
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
}

/// PUBLISHING or PLAYING for this stream, under the client's id.
fn running_word(stream: &Stream) -> Vec<u8> {
    synthetic::stream_status(&StreamStatus {
        media_session_id: &stream.client_id,
        name: &stream.name,
        published: stream.kind.is_publish(),
        status: stream.kind.running(),
        info: None,
    })
}
