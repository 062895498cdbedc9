//! What the client wants to be true (protocol S4.1): its connection, streams, rooms, calls and the
//! requests it still waits for. Compact: an idle session is mostly its ledger.
//!
//! Holds and finds; decides nothing.

use crate::media::StreamStats;

use super::{Timestamp, ids::NumericIds, packed::Packed};

/// Publish or play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Play,
}

impl Kind {
    /// The status that says the stream runs.
    pub(super) const fn running(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISHING",
            Self::Play => "PLAYING",
        }
    }

    /// The status that answers the client's own stop.
    pub(super) const fn stopped(self) -> &'static str {
        match self {
            Self::Publish => "UNPUBLISHED",
            Self::Play => "STOPPED",
        }
    }

    pub(super) const fn is_publish(self) -> bool {
        matches!(self, Self::Publish)
    }
}

/// How the media of a stream travels, as far as a replay cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// WebRTC between browser and server: an answer can be applied only once (protocol S0).
    Direct,
    /// WebRTC that ends at our media workers, under this key.
    Anchored(MediaKey),
    /// MSE and WSPlayer: through a WebSocket of its own, can be replayed (protocol S2.9).
    Socket,
}

/// Names an anchored stream within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKey(pub u32);

/// Where a stream stands upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// The client's own request went upstream in this epoch and has no final answer yet.
    Requested,
    /// Running upstream and, as far as the client knows, always was.
    Live,
    /// Waits for an upstream to be sent to; nothing of it is upstream.
    Held,
    /// An answered direct stream whose upstream died: owed a FAILED (modes notify, restart).
    Lost,
    /// An answered direct stream on a resumed session: alive if the server says so by then.
    Probation { until: Timestamp },
    /// The media workers are making the offer for this epoch; `replay` if the client is not to
    /// hear of a refusal at once.
    Offering { until: Timestamp, replay: bool },
    /// Replayed in this epoch; proof is due by `until`.
    Replayed { until: Timestamp },
    /// Refused for now; next try at `at`.
    Retry { at: Timestamp },
    /// A play whose publisher is being restored in this process; asked again at `at`.
    AwaitsPublisher { at: Timestamp },
    /// Refused as in use by another live session of ours, which is asked for a sign of life.
    AwaitsProof { until: Timestamp },
    /// The client stopped it and waits for the server's word.
    Stopping,
}

impl StreamState {
    /// Whether the server may know the stream under its current upstream id.
    pub(super) const fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::Requested | Self::Live | Self::Probation { .. } | Self::Replayed { .. } | Self::Stopping
        )
    }

    /// Whether the stream still owes its outage an outcome.
    pub(super) const fn is_unsettled(self) -> bool {
        !matches!(self, Self::Requested | Self::Live | Self::Stopping | Self::Offering { replay: false, .. })
    }

    pub(super) const fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Probation { until }
            | Self::Offering { until, .. }
            | Self::Replayed { until }
            | Self::AwaitsProof { until } => Some(until),
            Self::Retry { at } | Self::AwaitsPublisher { at } => Some(at),
            _ => None,
        }
    }
}

/// One publish or play.
#[derive(Debug)]
pub(super) struct Stream {
    /// The client's `mediaSessionId`.
    pub(super) client_id: Box<str>,
    /// The id in use upstream when it is not the client's own (rule R7).
    pub(super) upstream_id: Option<Box<str>>,
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    pub(super) transport: Transport,
    /// The client's request, while a replay may need it: dropped once a direct stream is answered.
    pub(super) request: Option<Packed>,
    pub(super) state: StreamState,
    /// Since when the stream is without upstream, or its request waits: bounds holds and retries.
    pub(super) since: Timestamp,
    /// Retries after refusals, since `since`.
    pub(super) tries: u16,
    /// Until when refusals are retried; set by the first of them.
    pub(super) patience: Option<Timestamp>,
    /// It was sent to some upstream under the client's own id or another: a replay needs a fresh
    /// one (rule R7).
    pub(super) sent: bool,
    /// The media workers know it.
    pub(super) opened: bool,
    /// The upstream said PUBLISHING or PLAYING for the request of this epoch.
    pub(super) runs_upstream: bool,
    /// The upstream of an epoch that is over had it under the present id: whoever resumes that
    /// session finds it there.
    pub(super) left_behind: bool,
    /// The answer to the present replay is not for the client: it has one.
    pub(super) swallow_answer: bool,
    /// The client has had its `setRemoteSDP`.
    pub(super) answered: bool,
    /// The client has had PUBLISHING or PLAYING.
    pub(super) running: bool,
    /// ICE and DTLS between the client and us stood once.
    pub(super) client_connected: bool,
    /// PUBLISHING or PLAYING, and what the server said after it, until they do.
    pub(super) withheld: Option<Vec<Box<[u8]>>>,
    /// Packets of the present replay came, if not yet its proof.
    pub(super) alive: bool,
    /// The client's browser takes no new addresses for its media: it is Firefox.
    pub(super) unrevivable: bool,
    /// Since when nothing comes from such a client's media.
    pub(super) silent_since: Option<Timestamp>,
    /// It was answered H264, and has sent no video.
    pub(super) h264_in_vain: bool,
    pub(super) audio_muted: bool,
    pub(super) video_muted: bool,
    /// The client has muted or unmuted it before.
    pub(super) was_muted: bool,
    /// It goes without H264: the server refused it so, or the publish before had it in vain.
    pub(super) without_h264: bool,
    /// The server's own last refusal, to be told when patience ends.
    pub(super) refusal: Option<Box<[u8]>>,
    /// The client closed its media; unless its stop comes by then, the stream is lost.
    pub(super) media_closed_until: Option<Timestamp>,
    /// `webRTCMetricsClientDescription`, to be repeated on a new upstream (protocol S4.1).
    pub(super) metrics: Option<Packed>,
    /// Outages it was restored from, and how long the last of them was.
    pub(super) restored: u32,
    pub(super) last_outage_ms: Option<u64>,
    /// What the media workers last counted.
    pub(super) numbers: Option<Box<StreamStats>>,
}

impl Stream {
    /// A stream that the client has just asked for, still without what its request says.
    pub(super) fn new(kind: Kind, now: Timestamp) -> Self {
        Self {
            client_id: Box::default(),
            upstream_id: None,
            name: Box::default(),
            kind,
            transport: Transport::Direct,
            request: None,
            state: StreamState::Requested,
            since: now,
            tries: 0,
            patience: None,
            sent: false,
            opened: false,
            runs_upstream: false,
            left_behind: false,
            swallow_answer: false,
            answered: false,
            running: false,
            client_connected: false,
            withheld: None,
            alive: false,
            unrevivable: false,
            silent_since: None,
            h264_in_vain: false,
            audio_muted: false,
            video_muted: false,
            was_muted: false,
            without_h264: false,
            refusal: None,
            media_closed_until: None,
            metrics: None,
            restored: 0,
            last_outage_ms: None,
            numbers: None,
        }
    }

    /// The id under which the upstream knows it.
    pub(super) fn upstream_id(&self) -> &str {
        self.upstream_id.as_deref().unwrap_or(&self.client_id)
    }

    /// Whether the same request may be sent to a new upstream: the client will take the answer,
    /// or needs none.
    pub(super) fn is_replayable(&self) -> bool {
        self.request.is_some() && (!self.answered || self.transport != Transport::Direct)
    }
}

/// One room the client joined or asked to join (protocol S2.7).
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Box<str>,
    /// The client's `sendData` with the join.
    pub(super) join: Packed,
    /// The client's operation that waits for its `DataStatusEvent`.
    pub(super) client_operation: Option<Box<str>>,
    /// When the client asked: an outage holds its operation only so long.
    pub(super) asked_at: Timestamp,
    /// Our operation of a replayed join.
    pub(super) replay_operation: Option<Box<str>>,
    /// Participants as the client knows them.
    pub(super) participants: Vec<Participant>,
    /// What they take, in bytes.
    pub(super) participants_bytes: usize,
    /// After a replayed join the next STATE becomes differences.
    pub(super) awaits_state: bool,
    /// Participants not seen since the replay; they have until then to come back.
    pub(super) missing_until: Option<Timestamp>,
}

/// One other participant of a room.
#[derive(Debug, Default)]
pub(super) struct Participant {
    pub(super) login: Box<str>,
    /// Names of the streams the client knows of this participant.
    pub(super) streams: Vec<Box<str>>,
    /// Not seen since the last replay of the join.
    pub(super) missing: bool,
    /// Streams it had before it came back, and has not published again.
    pub(super) unproven: Vec<Box<str>>,
}

/// A request of the client that waits for an answer, and would wait for ever if its server died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// `sendData` by operation id.
    Data(Box<str>),
    /// `sendData` that leaves a room: operation id and room.
    Leave(Box<str>, Box<str>),
    /// `availableStream` by the client's stream id.
    Available(Box<str>),
    /// `snapshot` by the client's stream id.
    Snapshot(Box<str>),
    /// `hangup` by call id.
    Hangup(Box<str>),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) streams: Vec<Stream>,
    pub(super) rooms: Vec<Room>,
    /// Ids of calls that are not over.
    pub(super) calls: Vec<Box<str>>,
    pub(super) pending: Vec<Pending>,
    /// What a kept session still has although the client is done with it (rule R8).
    pub(super) left_behind: LeftBehind,
    /// Upstream ids we gave up in this epoch: whatever comes for them is dropped.
    pub(super) retired: Vec<Box<str>>,
    /// Ids that the client writes as numbers.
    pub(super) numeric_ids: NumericIds,
    /// `sessionDebug` start, while it is on.
    pub(super) debug: bool,
}

/// What ended for the client while its upstream was out of reach: taken back from the session
/// that is resumed by token, forgotten with any other.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// Streams: upstream id, name, kind.
    pub(super) streams: Vec<(Box<str>, Box<str>, Kind)>,
    /// Ids of calls.
    pub(super) calls: Vec<Box<str>>,
    /// Names of rooms.
    pub(super) rooms: Vec<Box<str>>,
}

impl LeftBehind {
    /// Notes a stream; past the bound the oldest is forgotten.
    pub(super) fn note(&mut self, stream: &Stream) {
        self.streams.push((stream.upstream_id().into(), stream.name.clone(), stream.kind));
        forget_oldest(&mut self.streams, |(id, name, _)| id.len() + name.len());
    }

    /// Takes the upstream id of a stream with this name, to stop it.
    pub(super) fn take(&mut self, name: &str, kind: Kind) -> Option<Box<str>> {
        let found = self.streams.iter().position(|(_, known, its)| **known == *name && *its == kind)?;
        Some(self.streams.remove(found).0)
    }

    /// Takes the name and kind of the stream with this upstream id: it is over, or to be stopped.
    pub(super) fn take_id(&mut self, upstream_id: &str) -> Option<(Box<str>, Kind)> {
        let found = self.streams.iter().position(|(id, ..)| **id == *upstream_id)?;
        let (_, name, kind) = self.streams.remove(found);
        Some((name, kind))
    }
}

/// Retired ids kept per epoch; the oldest goes first.
const RETIRED_MAX: usize = 64;
/// Bytes of them, and of the streams left behind; these come on top of what a session may keep.
pub(super) const RETIRED_BYTES_MAX: usize = 16 * 1024;

fn forget_oldest<T>(entries: &mut Vec<T>, bytes_of: impl Fn(&T) -> usize) {
    while entries.len() > RETIRED_MAX || entries.iter().map(&bytes_of).sum::<usize>() > RETIRED_BYTES_MAX {
        entries.remove(0);
    }
}

impl Ledger {
    pub(super) fn by_client_id(&self, id: &str) -> Option<usize> {
        self.streams.iter().position(|stream| &*stream.client_id == id)
    }

    /// Finds the stream an upstream id belongs to, if the upstream may know it.
    pub(super) fn by_upstream_id(&self, id: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.state.is_upstream() && stream.upstream_id() == id)
    }

    pub(super) fn retire(&mut self, upstream_id: &str) {
        self.retired.push(upstream_id.into());
        forget_oldest(&mut self.retired, |id| id.len());
    }

    pub(super) fn is_retired(&self, upstream_id: &str) -> bool {
        self.retired.iter().any(|id| &**id == upstream_id)
    }

    /// Whether the id belongs to a stream that is not upstream now: what a kept session, or a
    /// refused request, still has to say of it is not for the client.
    pub(super) fn is_away(&self, upstream_id: &str) -> bool {
        self.streams.iter().any(|stream| !stream.state.is_upstream() && stream.upstream_id() == upstream_id)
    }

    /// Takes the first pending request equal to `wanted`.
    pub(super) fn settle(&mut self, wanted: &Pending) -> bool {
        let found = self.pending.iter().position(|pending| pending == wanted);
        if let Some(index) = found {
            self.pending.swap_remove(index);
        }
        found.is_some()
    }

    /// Takes the pending `sendData` of this operation.
    pub(super) fn settle_data(&mut self, operation: &str) {
        self.pending.retain(
            |pending| !matches!(pending, Pending::Data(id) | Pending::Leave(id, _) if **id == *operation),
        );
    }

    pub(super) fn room(&mut self, name: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| &*room.name == name)
    }

    /// Whether any stream publishes: such sessions are restored first (rule R6).
    pub(super) fn publishes(&self) -> bool {
        self.streams.iter().any(|stream| stream.kind.is_publish())
    }
}
