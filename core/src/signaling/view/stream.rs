//! Views of the stream messages (S2.3, S2.4).

use std::borrow::Cow;

use super::Reader;
use crate::signaling::peek::Peek;
use crate::signaling::scan::Span;
use crate::signaling::value::elements;

/// `publishStream` or `playStream`: what the client wants.
///
/// The SDP it points at holds credentials.
#[derive(Clone, Debug)]
pub struct StreamRequest<'a> {
    /// The stream's id, made by the client.
    pub media_session_id: Option<Cow<'a, str>>,
    /// Where the id stands.
    pub media_session_id_span: Option<Span>,
    /// The stream's name, or a URL to play.
    pub name: Option<Cow<'a, str>>,
    /// True in a publish, false in a play.
    pub published: Option<bool>,
    /// `WebRTC`, `MSE`, `WSPlayer`, `Flash`.
    pub media_provider: Option<Cow<'a, str>>,
    /// Where the offer stands.
    pub sdp: Option<Span>,
    /// The server shall record the stream.
    pub record: Option<bool>,
    /// The stream has video.
    pub has_video: Option<bool>,
    /// The stream has audio.
    pub has_audio: Option<bool>,
    /// `custom.name`: the room this stream belongs to (S2.7).
    pub custom_name: Option<Cow<'a, str>>,
}

impl<'a> StreamRequest<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [id, name, published, provider, sdp, record, video, audio, custom] = message.fields([
            "mediaSessionId",
            "name",
            "published",
            "mediaProvider",
            "sdp",
            "record",
            "hasVideo",
            "hasAudio",
            "custom",
        ]);
        let [custom_name] = reader.fields(custom, ["name"]);
        Self {
            media_session_id: reader.string(id),
            media_session_id_span: id,
            name: reader.string(name),
            published: reader.boolean(published),
            media_provider: reader.string(provider),
            sdp,
            record: reader.boolean(record),
            has_video: reader.boolean(video),
            has_audio: reader.boolean(audio),
            custom_name: reader.string(custom_name),
        }
    }
}

/// Any message that names a stream and says little more: `unPublishStream`, `stopStream`,
/// `availableStream` (request), `snapshot`, the metrics messages, `notifyStreamStatusEvent`,
/// `notifyVideoFormat`, the rate messages.
#[derive(Clone, Debug)]
pub struct StreamMessage<'a> {
    /// The stream's id.
    pub media_session_id: Option<Cow<'a, str>>,
    /// The stream's name.
    pub name: Option<Cow<'a, str>>,
    /// A word of S5.2.
    pub status: Option<Cow<'a, str>>,
    /// A text of S5.3.
    pub info: Option<Cow<'a, str>>,
    /// True for a publish, false for a play.
    pub published: Option<bool>,
}

impl<'a> StreamMessage<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [id, name, status, info, published] =
            message.fields(["mediaSessionId", "name", "status", "info", "published"]);
        Self {
            media_session_id: reader.string(id),
            name: reader.string(name),
            status: reader.string(status),
            info: reader.string(info),
            published: reader.boolean(published),
        }
    }

    /// True if the status ends the stream for good: FAILED, STOPPED, UNPUBLISHED (S3.3).
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.as_deref(), Some("FAILED" | "STOPPED" | "UNPUBLISHED"))
    }
}

/// `setRemoteSDP`, for a stream or a call.
#[derive(Clone, Debug)]
pub struct RemoteSdp<'a> {
    /// A stream's or a call's id.
    pub id: Option<Cow<'a, str>>,
    /// Where the SDP stands.
    pub sdp: Option<Span>,
    /// True if the SDP answers the client's offer; `None` if the third argument is missing.
    pub is_initiator: Option<bool>,
}

impl<'a> RemoteSdp<'a> {
    /// Reads the three arguments.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let mut arguments = message.data.into_iter().flat_map(|data| elements(reader.text, data));
        let id = arguments.next();
        let sdp = arguments.next();
        Self { id: reader.string(id), sdp, is_initiator: reader.boolean(arguments.next()) }
    }
}

/// `availableStream` as the server answers it.
#[derive(Clone, Debug)]
pub struct AvailableAnswer<'a> {
    /// The stream's id.
    pub id: Option<Cow<'a, str>>,
    /// `true` or `false`, as text.
    pub status: Option<Cow<'a, str>>,
    /// Why not.
    pub info: Option<Cow<'a, str>>,
}

impl<'a> AvailableAnswer<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [id, status, info] = message.fields(["id", "status", "info"]);
        Self { id: reader.string(id), status: reader.string(status), info: reader.string(info) }
    }
}

/// `sendStreamEvent` or `notifyStreamEvent`.
#[derive(Clone, Debug)]
pub struct StreamEvent<'a> {
    /// The stream's id.
    pub media_session_id: Option<Cow<'a, str>>,
    /// `audioMuted`, `snapshotCompleted`, …
    pub kind: Option<Cow<'a, str>>,
    /// Where the payload stands.
    pub payload: Option<Span>,
}

impl<'a> StreamEvent<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [id, kind, payload] = message.fields(["mediaSessionId", "type", "payload"]);
        Self { media_session_id: reader.string(id), kind: reader.string(kind), payload }
    }
}

/// `webRTCMetricsDescriptionUpdate`.
#[derive(Clone, Debug)]
pub struct MetricsUpdate<'a> {
    /// The streams it concerns; `None` if it concerns all.
    pub ids: Option<Vec<Cow<'a, str>>>,
    /// `on` or `off`.
    pub collect: Option<Cow<'a, str>>,
}

impl<'a> MetricsUpdate<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [ids, collect] = message.fields(["ids", "collect"]);
        let ids = ids.filter(|list| list.of(reader.text).starts_with(b"["));
        let ids =
            ids.map(|list| elements(reader.text, list).filter_map(|id| reader.string(Some(id))).collect());
        Self { ids, collect: reader.string(collect) }
    }
}
