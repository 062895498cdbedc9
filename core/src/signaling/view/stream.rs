//! Views of the messages about streams (protocol S2.3, S2.4).

use std::borrow::Cow;

use super::{Field, key, views};
use crate::signaling::value::elements;

/// The statuses after which the SDK deletes a stream (protocol S3.3).
const STREAM_IS_OVER: [&str; 3] = ["FAILED", "STOPPED", "UNPUBLISHED"];

views! {
    /// A message of which only the stream matters here.
    AboutStream;
    /// `publishStream`, `playStream`, `unPublishStream`, `stopStream`: what the client wants. The SDP
    /// holds credentials.
    StreamRequest;
    /// `sendStreamEvent` or `notifyStreamEvent`.
    StreamEvent;
    /// `notifyStreamStatusEvent`: the server's word on a stream.
    StreamStatus;
    /// `availableStream` as the server answers it.
    AvailableAnswer;
    /// `webRTCMetricsDescriptionUpdate`.
    MetricsUpdate;
}

impl<'a> AboutStream<'a> {
    /// The stream's id.
    #[must_use]
    pub fn media_session_id(self) -> Option<Field<'a>> {
        self.0.place(key::MEDIA_SESSION_ID)
    }
}

impl<'a> StreamRequest<'a> {
    /// The stream's id, made by the client.
    #[must_use]
    pub fn media_session_id(self) -> Option<Field<'a>> {
        self.0.place(key::MEDIA_SESSION_ID)
    }

    /// The stream's name, or a URL to play. It may be a number.
    #[must_use]
    pub fn name(self) -> Option<Cow<'a, str>> {
        self.0.place(key::NAME)?.id()
    }

    /// `WebRTC`, `MSE`, `WSPlayer`, `Flash`.
    #[must_use]
    pub fn media_provider(self) -> Option<Cow<'a, str>> {
        self.0.string("mediaProvider")
    }

    /// Whether it does something outside of the server that would be done twice: it records, or is pushed on.
    #[must_use]
    pub fn has_effects(self) -> bool {
        let records =
            self.0.place("record").is_some_and(|record| record.span().of(record.message()) == b"true");
        records || self.0.string("rtmpUrl").is_some_and(|url| !url.is_empty())
    }

    /// The offer.
    #[must_use]
    pub fn sdp(self) -> Option<Field<'a>> {
        self.0.place("sdp")
    }
}

impl<'a> StreamEvent<'a> {
    /// The stream's id.
    #[must_use]
    pub fn media_session_id(self) -> Option<Field<'a>> {
        self.0.place(key::MEDIA_SESSION_ID)
    }

    /// `audioMuted`, `snapshotCompleted`, …
    #[must_use]
    pub fn kind(self) -> Option<Cow<'a, str>> {
        self.0.string("type")
    }
}

impl<'a> StreamStatus<'a> {
    /// The stream's id.
    #[must_use]
    pub fn media_session_id(self) -> Option<Field<'a>> {
        self.0.place(key::MEDIA_SESSION_ID)
    }

    /// A word of S5.2.
    #[must_use]
    pub fn status(self) -> Option<Cow<'a, str>> {
        self.0.string(key::STATUS)
    }

    /// Whether this status ends a stream for good.
    #[must_use]
    pub fn is_over(status: &str) -> bool {
        STREAM_IS_OVER.contains(&status)
    }

    /// Whether nothing comes of the stream although it goes on.
    #[must_use]
    pub fn is_paused(status: &str) -> bool {
        status == "PAUSED"
    }

    /// A text of S5.3.
    #[must_use]
    pub fn info(self) -> Option<Cow<'a, str>> {
        self.0.string(key::INFO)
    }
}

impl<'a> AvailableAnswer<'a> {
    /// The stream's id.
    #[must_use]
    pub fn id(self) -> Option<Field<'a>> {
        self.0.place(key::ID)
    }
}

impl<'a> MetricsUpdate<'a> {
    /// The streams it names; none if it concerns all.
    pub fn ids(self) -> impl Iterator<Item = Field<'a>> {
        let text = self.text();
        let ids = self.0.field("ids").into_iter().flat_map(move |ids| elements(text, ids));
        ids.map(move |span| Field { text, span })
    }
}
