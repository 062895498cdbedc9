//! What is said for one stream, in the protocol's words: to the client under its id, to the upstream under
//! the one that it knows. Decides nothing.

use crate::{
    session::{Event, Kind, Outcome, context::Context, request::request_with, stream::Stream},
    signaling::{synthetic, synthetic::StreamStatus, view::Field},
};

use super::passing::mapped;

/// What a stream is told when its upstream died with it (protocol S5.3).
pub(super) const INFO_LOST: &str = "Stopped by session disconnect";
/// What a request is told that waited in vain (protocol S4.2).
pub(super) const INFO_NOT_READY: &str = "Session not ready";

/// FAILED for this stream, under the client's id.
pub(super) fn failed(stream: &Stream, info: &str) -> Vec<u8> {
    status(stream.client_id(), stream.name(), stream.kind(), "FAILED", Some(info))
}

/// FAILED for a request that made no stream.
pub(super) fn not_ready(id: &str, name: &str, kind: Kind) -> Vec<u8> {
    status(id, name, kind, "FAILED", Some(INFO_NOT_READY))
}

/// The answer to the client's own stop.
pub(super) fn stopped(id: &str, name: &str, kind: Kind) -> Vec<u8> {
    status(id, name, kind, kind.stopped(), Some("Stopped by user"))
}

/// PUBLISHING or PLAYING for this stream, under the client's id.
pub(super) fn runs(stream: &Stream) -> Vec<u8> {
    status(stream.client_id(), stream.name(), stream.kind(), stream.kind().running(), None)
}

fn status(id: &str, name: &str, kind: Kind, status: &str, info: Option<&str>) -> Vec<u8> {
    let published = kind.is_publish();
    synthetic::stream_status(&StreamStatus { media_session_id: id, name, published, status, info })
}

/// The server's message under the client's id.
pub(super) fn client_words(stream: &Stream, id: Field<'_>) -> Vec<u8> {
    mapped(stream, id).unwrap_or_else(|| id.message().to_vec())
}

/// The request that takes a stream back from an upstream.
pub(super) fn stop(upstream_id: &str, name: &str, kind: Kind) -> Vec<u8> {
    synthetic::stop_stream(upstream_id, name, kind.is_publish(), kind.running())
}

impl Context<'_> {
    /// Takes back what we sent upstream for a stream, and ignores what is still said of it.
    pub(super) fn stop_upstream(&mut self, stream: &Stream) {
        self.say_upstream(stop(stream.upstream_id(), stream.name(), stream.kind()));
        if self.client.keep_alive {
            // Until the server confirms: the stop may be lost with its epoch.
            self.left_behind.note(stream);
        }
        self.retire(stream);
    }

    /// From now on nothing that is said under its upstream id concerns the client; questions
    /// about it get no other answer.
    pub(super) fn retire(&mut self, stream: &Stream) {
        self.retired.add(stream.upstream_id());
        for question in self.requests.take_questions(stream.client_id()) {
            self.answer_lost(question);
        }
    }

    /// What became of a stream in an outage.
    pub(super) fn outcome(&mut self, stream: &Stream, outcome: Outcome) {
        self.event(Event::StreamOutcome {
            name: stream.name().to_owned(),
            stream: stream.client_id().to_owned(),
            kind: stream.kind().word(),
            outcome,
            after: self.now.since(stream.since()),
        });
    }

    /// Repeats what the client told the dead upstream about a running stream.
    pub(super) fn repeat_intents(&mut self, stream: &Stream) {
        let id = stream.upstream_id();
        // A kept session knows what it last heard: an unmute may have been lost with the connection.
        let mutes = stream.mutes();
        let kept = mutes.is_some() && self.may_be_resumed();
        let mutes = mutes.unwrap_or_default();
        for (muted, on, off) in
            [(mutes.audio, "audioMuted", "audioUnmuted"), (mutes.video, "videoMuted", "videoUnmuted")]
        {
            if muted || kept {
                self.say_upstream(synthetic::send_stream_event(id, if muted { on } else { off }));
            }
        }
        if let Some(metrics) = stream.metrics() {
            self.say_upstream(request_with(&metrics, Some(id), None));
        }
    }

    /// An SDP for this stream's client.
    pub(super) fn say_remote_sdp(&mut self, stream: &Stream, sdp: &str, answers_client: bool) {
        self.say_to_client(synthetic::set_remote_sdp(stream.client_id(), sdp, answers_client));
    }

    /// A message for later, if it may be kept as a part of this stream.
    pub(super) fn kept_for_stream(&mut self, stream: Option<&Stream>, message: &[u8]) -> Option<Box<[u8]>> {
        self.kept_message(stream.map_or(0, Stream::bytes), message)
    }
}
