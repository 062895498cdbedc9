//! The media path between an anchored stream's client and us: until it stands the client is not told
//! that its stream runs, and when it is gone for good the client is told that.

use std::time::Duration;

use crate::signaling::{Peek, Span, synthetic, synthetic::StreamStatus};

use super::{
    Event, MediaCommand, Output, Timestamp,
    core::Session,
    ledger::MediaKey,
    stream::{Standing, Stream, StreamId},
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

/// The client's leg of an anchored stream, as far as the core knows of it.
#[derive(Debug)]
pub(super) struct ClientLeg {
    key: MediaKey,
    /// Known once the workers were asked to open it.
    browser: Option<Browser>,
    /// ICE and DTLS stood once.
    connected: bool,
    /// PUBLISHING or PLAYING, and what the server said after it, until they do.
    withheld: Option<Vec<Box<[u8]>>>,
    /// Since when nothing comes from a client that cannot be revived.
    silent_since: Option<Timestamp>,
    /// The client closed its media; unless its stop comes by then, the stream is lost.
    gone_at: Option<Timestamp>,
}

/// Whether the client's media can be given new addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Browser {
    Revivable,
    /// Takes none.
    Firefox,
}

impl ClientLeg {
    pub(super) const fn new(key: MediaKey) -> Self {
        Self { key, browser: None, connected: false, withheld: None, silent_since: None, gone_at: None }
    }

    pub(super) const fn key(&self) -> MediaKey {
        self.key
    }

    /// Whether the media workers know it.
    pub(super) const fn is_opened(&self) -> bool {
        self.browser.is_some()
    }

    /// The workers are asked to open it.
    pub(super) const fn open(&mut self, of_firefox: bool) {
        self.browser = Some(if of_firefox { Browser::Firefox } else { Browser::Revivable });
    }

    /// ICE and DTLS stood once.
    pub(super) const fn has_connected(&self) -> bool {
        self.connected
    }

    /// ICE and DTLS stand: what was withheld, if something was.
    pub(super) const fn connected(&mut self) -> Option<Vec<Box<[u8]>>> {
        self.connected = true;
        self.withheld.take()
    }

    pub(super) const fn withholds(&self) -> bool {
        self.withheld.is_some()
    }

    /// What was withheld was the word of an upstream that is gone.
    pub(super) fn forget_withheld(&mut self) {
        self.withheld = None;
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let words = self.withheld.iter().flatten().map(|words| size_of_val(words) + words.len());
        size_of::<Self>() + words.sum::<usize>()
    }

    /// By when its client has to say that it stopped the stream.
    pub(super) const fn gone_at(&self) -> Option<Timestamp> {
        self.gone_at
    }
}

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
                leg.withheld = Some(vec![words.into_boxed_slice()]);
            }
            return self.keep(bytes);
        }
        stream.told_running();
        self.forward_as(stream_id, peek, id_span);
    }

    /// Keeps a word of the server in order behind the running word that is withheld.
    pub(super) fn withhold(&mut self, stream_id: StreamId, message: &[u8]) {
        let leg = self.ledger.streams.get(stream_id).and_then(Stream::leg);
        let withheld = leg.and_then(|leg| leg.withheld.as_ref());
        if withheld.is_none_or(|withheld| withheld.len() >= WITHHELD_MAX) {
            return;
        }
        if let Some(message) = self.kept_for_stream(stream_id, message)
            && let Some(leg) = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut)
            && let Some(withheld) = &mut leg.withheld
        {
            withheld.push(message);
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
    pub(super) fn client_leg_silent(&mut self, stream_id: StreamId, key: MediaKey, silence: Duration) {
        let leg = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut);
        let Some(leg) = leg else { return };
        if leg.browser != Some(Browser::Firefox) {
            self.outputs.push(Output::Media(MediaCommand::Revive { key }));
            return;
        }
        let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        leg.silent_since = Some(Timestamp::from_ms(self.now.as_ms().saturating_sub(silence_ms)));
    }

    pub(super) fn client_leg_revived(&mut self, stream_id: StreamId, silence: Duration) {
        if let Some(leg) = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut) {
            leg.silent_since = None;
        }
        let event = Event::ClientLegRevived { name: self.name_of(stream_id), silence };
        self.event(event);
    }

    /// The client is heard: media of it that was silent for longer than its browser bears, and that
    /// cannot be revived, is gone.
    pub(super) fn judge_silent_legs(&mut self) {
        let (now, patience) = (self.now, self.settings.restore.firefox_ice_patience);
        while let Some(stream_id) = self.ledger.streams.find(|stream| {
            let silent_since = stream.leg().and_then(|leg| leg.silent_since);
            silent_since.is_some_and(|since| now.since(since) >= patience) && !stream.is(Standing::Stopping)
        }) {
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
            leg.gone_at = Some(until);
        }
    }

    pub(super) fn client_media_is_gone(&mut self, stream_id: StreamId) {
        let leg = self.ledger.streams.get_mut(stream_id).and_then(Stream::leg_mut);
        let stood = leg.is_some_and(|leg| {
            leg.gone_at = None;
            leg.connected
        });
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
