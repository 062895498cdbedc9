//! One publish or play: where it stands, as one private state that only [`changes`] changes. Each
//! change returns what is to be done; the doing, and the policy (which refusals are retried, and how
//! long), is for others. [`super::patience`] has the pace of retries.

mod changes;
mod state;

use crate::{
    media::{Kind, StreamStats},
    settings::SessionSettings,
};

use super::{StreamKey, Timestamp, kept::OWN_ID_BYTES, leg::ClientLeg, packed::Packed, patience::Retries};

pub(super) use state::{End, Loss, Running, Standing, Stop};

use state::{LeftAs, Owed, State};

/// What the numbers of a stream take, with the list of gaps and codec names.
const STATS_BYTES: usize = size_of::<StreamStats>() + 256;

/// Names a stream within its session, also when others come and go; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamId(pub(super) u32);

/// Under which id upstreams know it (rule R7).
#[derive(Clone, Debug, PartialEq, Eq)]
enum SentAs {
    /// None has seen it.
    Nothing,
    /// The client's own.
    ClientId,
    /// One of ours.
    Other(Box<str>),
}

/// How the media of a stream travels, as far as a replay cares.
#[derive(Debug)]
pub(super) enum Transport {
    /// WebRTC between browser and server: an answer can be applied only once (protocol S0).
    Direct,
    /// WebRTC that ends at our media workers.
    Anchored(Box<ClientLeg>),
    /// MSE and WSPlayer: through a WebSocket of its own, can be replayed (protocol S2.9).
    Socket,
}

/// Whether its video may be H264.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H264 {
    Allowed,
    /// It was answered H264, and has sent no video.
    InVain,
    /// It goes without: the server refused it so, or the publish before had it in vain.
    Refused,
}

/// What the client muted last; each is repeated on a new upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mutes {
    pub(super) audio: bool,
    pub(super) video: bool,
}

/// One publish or play.
#[derive(Debug)]
pub(super) struct Stream {
    id: StreamId,
    kind: Kind,
    /// The client's `mediaSessionId`.
    client_id: Box<str>,
    name: Box<str>,
    sent_as: SentAs,
    transport: Transport,
    /// The client's request, while a replay may need it: dropped once a direct stream is answered.
    request: Option<Packed>,
    state: State,
    /// Since when the stream is without upstream, or its request waits: bounds holds and retries.
    since: Timestamp,
    retries: Retries,
    /// The server's own last refusal, to be told when patience ends.
    refusal: Option<Box<[u8]>>,
    /// As the node has it that is left, while that stands beside the one that leads (rule R15).
    left: Option<Box<LeftAs>>,
    /// It records, or is pushed on: twice at once would be seen.
    has_effects: bool,
    /// The client has had its `setRemoteSDP`.
    answered: bool,
    /// The client has had PUBLISHING or PLAYING; a server may say it before its answer.
    running: bool,
    h264: H264,
    /// Since the client first muted or unmuted it.
    mutes: Option<Mutes>,
    /// `webRTCMetricsClientDescription`, to be repeated on a new upstream (protocol S4.1).
    metrics: Option<Packed>,
    /// Outages it was restored from, and how long the last of them was.
    restored: u32,
    last_outage_ms: Option<u64>,
    /// What the media workers last counted.
    numbers: Option<Box<StreamStats>>,
}

impl Stream {
    /// A stream that the client has just asked for: of an upstream if there is one.
    pub(super) fn new(
        (kind, client_id, name, has_effects): (Kind, &str, &str, bool),
        transport: Transport,
        request: Option<Packed>,
        up: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            id: StreamId::default(),
            kind,
            client_id: client_id.into(),
            name: name.into(),
            sent_as: SentAs::Nothing,
            transport,
            request,
            state: if up { State::Requested } else { State::Held { may_be_kept: false } },
            since: now,
            retries: Retries::default(),
            refusal: None,
            left: None,
            has_effects,
            answered: false,
            running: false,
            h264: H264::Allowed,
            mutes: None,
            metrics: None,
            restored: 0,
            last_outage_ms: None,
            numbers: None,
        }
    }

    /// The same under this id.
    pub(super) fn with_id(self, id: StreamId) -> Self {
        Self { id, ..self }
    }
}

// What it is.
impl Stream {
    pub(super) const fn id(&self) -> StreamId {
        self.id
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The id under which the upstream knows it.
    pub(super) fn upstream_id(&self) -> &str {
        self.other_id().unwrap_or(&self.client_id)
    }

    /// That id where it is not the client's own.
    pub(super) fn other_id(&self) -> Option<&str> {
        if let SentAs::Other(id) = &self.sent_as { Some(id) } else { None }
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) const fn is_direct(&self) -> bool {
        matches!(self.transport, Transport::Direct)
    }

    /// The client's leg of an anchored stream.
    pub(super) fn leg(&self) -> Option<&ClientLeg> {
        if let Transport::Anchored(leg) = &self.transport { Some(leg) } else { None }
    }

    pub(super) fn leg_mut(&mut self) -> Option<&mut ClientLeg> {
        if let Transport::Anchored(leg) = &mut self.transport { Some(leg) } else { None }
    }

    /// What the media workers know it by, if they know it.
    pub(super) fn opened_key(&self) -> Option<StreamKey> {
        self.leg().filter(|leg| leg.is_opened()).map(ClientLeg::key)
    }

    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) const fn retries(&self) -> &Retries {
        &self.retries
    }

    pub(super) const fn is_answered(&self) -> bool {
        self.answered
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// The client's request as it was.
    pub(super) fn request(&self) -> Option<Vec<u8>> {
        self.request.as_ref().map(Packed::unpack)
    }

    /// Whether the same request may be sent to a new upstream: the client will take the answer,
    /// or needs none.
    pub(super) const fn is_replayable(&self) -> bool {
        self.request.is_some() && (!self.answered || !self.is_direct())
    }

    pub(super) fn refusal(&self) -> Option<&[u8]> {
        self.refusal.as_deref()
    }

    pub(super) const fn mutes(&self) -> Option<Mutes> {
        self.mutes
    }

    pub(super) fn metrics(&self) -> Option<Vec<u8>> {
        self.metrics.as_ref().map(Packed::unpack)
    }

    /// Outages it was restored from, and how long the last of them was.
    pub(super) const fn outages(&self) -> (u32, Option<u64>) {
        (self.restored, self.last_outage_ms)
    }

    pub(super) fn numbers(&self) -> Option<&StreamStats> {
        self.numbers.as_deref()
    }

    pub(super) const fn goes_without_h264(&self) -> bool {
        matches!(self.h264, H264::Refused)
    }

    pub(super) const fn had_h264_in_vain(&self) -> bool {
        matches!(self.h264, H264::InVain)
    }

    /// Bytes of the client's request, as it is kept.
    pub(super) fn request_bytes(&self) -> Option<usize> {
        self.request.as_ref().map(Packed::len_bytes)
    }

    /// What it takes besides what comes by itself, in bytes.
    fn own_bytes(&self) -> usize {
        size_of::<Self>()
            + self.client_id.len()
            + self.name.len()
            + self.request_bytes().unwrap_or_default()
            + self.refusal.as_ref().map_or(0, |refusal| refusal.len())
            + self.left.as_deref().map_or(0, LeftAs::bytes)
            + self.metrics.as_ref().map_or(0, Packed::len_bytes)
            + self.leg().map_or(0, ClientLeg::bytes)
    }

    /// All that it takes, in bytes: with what comes by itself, an id of ours and the numbers of the workers.
    pub(super) fn bytes(&self) -> usize {
        self.own_bytes() + OWN_ID_BYTES + if self.leg().is_some() { STATS_BYTES } else { 0 }
    }
}

// Where it stands.
impl Stream {
    pub(super) const fn standing(&self) -> Standing {
        match self.state {
            State::Requested => Standing::Requested,
            State::Live { .. } => Standing::Live,
            State::Held { .. } => Standing::Held,
            State::Lost { .. } => Standing::Lost,
            State::Probation { .. } => Standing::Probation,
            State::Offering { .. } => Standing::Offering,
            State::Replayed { .. } => Standing::Replayed,
            State::Retry { .. } => Standing::Retry,
            State::AwaitsPublisher { .. } => Standing::AwaitsPublisher,
            State::AwaitsProof { .. } => Standing::AwaitsProof,
            State::Stopping { .. } => Standing::Stopping,
        }
    }

    pub(super) fn is(&self, standing: Standing) -> bool {
        self.standing() == standing
    }

    /// Whether the server may know the stream under its current upstream id.
    pub(super) const fn is_upstream(&self) -> bool {
        matches!(
            self.state,
            State::Requested
                | State::Live { .. }
                | State::Probation { .. }
                | State::Replayed { .. }
                | State::Stopping { .. }
        )
    }

    /// Why it cannot move unseen now. What it does outside of the server may be doubled if `effects` may.
    pub(super) fn bound_by(&self, effects: bool) -> Option<&'static str> {
        let leg = match &self.transport {
            Transport::Direct => return Some("direct media"),
            Transport::Socket => return Some("media socket"),
            Transport::Anchored(leg) => leg,
        };
        let at_rest = self.running && matches!(self.state, State::Live { .. }) && leg.is_at_rest();
        match self {
            Self { has_effects: true, .. } if !effects => Some("recording or push"),
            Self { request: None, .. } => Some("a request too large to keep"),
            _ if !at_rest => Some("unsettled stream"),
            _ => None,
        }
    }

    /// Whether it was asked for at another node and is not proven there: the node that is left has it.
    pub(super) fn is_moving(&self) -> bool {
        self.left.as_ref().is_some_and(|left| !left.arrived)
    }

    /// Whether the node that is left has it as well.
    pub(super) const fn is_left(&self) -> bool {
        self.left.is_some()
    }

    /// Whether the stream still owes its outage an outcome.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.is_moving()
            && !matches!(
                self.state,
                State::Requested
                    | State::Live { .. }
                    | State::Stopping { .. }
                    | State::Offering { replay: false, .. }
            )
    }

    /// Whether its replay waits for a proof and the client knows it as running.
    pub(super) const fn awaits_media(&self) -> bool {
        self.running && matches!(self.state, State::Replayed { .. })
    }

    /// Whether the client knows what the server now says again of it.
    pub(super) const fn is_repeated(&self) -> bool {
        self.running && matches!(self.state, State::Replayed { .. } | State::Probation { .. })
    }

    /// Packets of its replay came.
    pub(super) const fn shows_life(&self) -> bool {
        self.running && matches!(self.state, State::Replayed { alive: true, .. })
    }

    /// Of the offer that the workers are making: whether it is for a replay.
    pub(super) const fn offering(&self) -> Option<bool> {
        if let State::Offering { replay, .. } = self.state { Some(replay) } else { None }
    }

    /// The upstream of an epoch that is over had it under the present id: whoever resumes that session
    /// finds it there.
    pub(super) const fn may_be_kept(&self) -> bool {
        match self.state {
            State::Held { may_be_kept }
            | State::Lost { may_be_kept }
            | State::Stopping { may_be_kept, .. } => may_be_kept,
            _ => false,
        }
    }

    /// When something is due for it.
    pub(super) fn deadline(&self, settings: &SessionSettings) -> Option<Timestamp> {
        let state = match self.state {
            State::Lost { .. } => Some(self.since + settings.restore.report_after),
            State::Held { .. } => (!self.running).then(|| self.since + settings.hold.time_max),
            // The move bounds it.
            State::Offering { .. } | State::Replayed { .. } if self.is_moving() => None,
            State::Probation { until }
            | State::Offering { until, .. }
            | State::Replayed { until, .. }
            | State::AwaitsProof { until } => Some(until),
            State::Retry { at } | State::AwaitsPublisher { at } => Some(at),
            State::Requested | State::Live { .. } | State::Stopping { .. } => None,
        };
        state.into_iter().chain(self.leg().and_then(ClientLeg::gone_at)).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
