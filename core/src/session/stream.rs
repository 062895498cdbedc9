//! One publish or play: where it stands, as one private state that only the methods here change. Each
//! transition returns what is to be done; the doing, and the policy (which refusals are retried, and how
//! long), is for others. [`super::patience`] has the pace of retries.

use crate::{
    media::{Kind, StreamStats},
    settings::SessionSettings,
    signaling::sdp,
};

use super::{
    Epoch, MediaCommand, StreamKey, Timestamp,
    kept::OWN_ID_BYTES,
    leg::ClientLeg,
    packed::Packed,
    patience::Retries,
    request::{offer_in, request_with},
};

/// What the numbers of a stream take, with the list of gaps and codec names.
const STATS_BYTES: usize = size_of::<StreamStats>() + 256;

/// Names a stream within its session, also when others come and go; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamId(pub(super) u32);

/// Where a stream stands upstream, with what can be known of it only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client's own request went upstream in this epoch and has no final answer yet.
    Requested,
    /// Running upstream and, as far as the client knows, always was.
    Live { owed: Owed },
    /// Waits for an upstream to be sent to; nothing of it is upstream.
    Held { left_behind: bool },
    /// An answered direct stream whose upstream died: owed a FAILED (modes notify, restart).
    Lost { left_behind: bool },
    /// An answered direct stream on a resumed session: alive if the server says so by then.
    Probation { until: Timestamp },
    /// The media workers are making the offer for this epoch; `replay` if the client is not to
    /// hear of a refusal at once.
    Offering { until: Timestamp, replay: bool },
    /// Replayed in this epoch; proof is due by `until`. `alive`: packets came, if not yet the proof.
    Replayed { until: Timestamp, owed: Owed, alive: bool },
    /// Refused for now; next try at `at`.
    Retry { at: Timestamp },
    /// A play whose publisher is being restored in this process; asked again at `at`.
    AwaitsPublisher { at: Timestamp },
    /// Refused as in use by another live session of ours, which is asked for a sign of life.
    AwaitsProof { until: Timestamp },
    /// The client stopped it and waits for the server's word. `left_behind` once its upstream is lost.
    Stopping { owed: Owed, left_behind: bool },
}

/// What the upstream still has to say to our replay and the client has heard long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owed {
    /// PUBLISHING or PLAYING.
    word: bool,
    /// `setRemoteSDP`.
    answer: bool,
}

/// Where a stream stands, for those who only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Requested,
    Live,
    Held,
    Lost,
    Probation,
    Offering,
    Replayed,
    Retry,
    AwaitsPublisher,
    AwaitsProof,
    Stopping,
}

/// Under which id upstreams know it (rule R7).
#[derive(Debug, PartialEq, Eq)]
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

/// What becomes of a stream whose upstream is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its client had stopped it, and is answered now.
    Stopped,
    /// It is replayed on the next upstream.
    Held,
    /// Nothing can replay it.
    Lost,
}

/// What the server's word that a stream runs means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// Nothing to the client: it has heard it, and the proof is to come or has come.
    Known,
    /// The replay is proven by it. The client has not heard that it runs, if `first`.
    Proof { first: bool },
    /// The client is to hear it.
    News,
}

/// What the client's stop asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server answers it.
    Forward,
    /// What we sent is taken back, and the client answered here.
    TakeBack,
    /// The server has nothing of it: the client is answered here.
    Answer,
}

/// What the end of a stream in a living epoch is, by where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ran.
    OfLive,
    /// A refusal of a request: the client's own, if `first`.
    Refusal,
    /// The kept session did not keep it.
    OfKept,
    /// The client asked for it.
    Answer,
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
        (kind, client_id, name): (Kind, &str, &str),
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
            state: if up { State::Requested } else { State::Held { left_behind: false } },
            since: now,
            retries: Retries::default(),
            refusal: None,
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

    pub(super) const fn is_socket(&self) -> bool {
        matches!(self.transport, Transport::Socket)
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

    pub(super) const fn restored(&self) -> u32 {
        self.restored
    }

    pub(super) const fn last_outage_ms(&self) -> Option<u64> {
        self.last_outage_ms
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

    /// Whether the stream still owes its outage an outcome.
    pub(super) const fn is_unsettled(&self) -> bool {
        !matches!(
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
    pub(super) const fn is_left_behind(&self) -> bool {
        match self.state {
            State::Held { left_behind }
            | State::Lost { left_behind }
            | State::Stopping { left_behind, .. } => left_behind,
            _ => false,
        }
    }

    /// When something is due for it.
    pub(super) fn deadline(&self, settings: &SessionSettings) -> Option<Timestamp> {
        let state = match self.state {
            State::Lost { .. } => Some(self.since + settings.restore.report_after),
            State::Held { .. } => (!self.running).then(|| self.since + settings.hold.time_max),
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

// What happens to it.
impl Stream {
    /// The client's own request goes upstream as it is.
    pub(super) fn sent_as_it_is(&mut self) {
        self.sent_as = SentAs::ClientId;
        self.state = State::Requested;
    }

    /// Asks the workers for an upstream offer; `None` if it is not anchored.
    pub(super) fn ask_for_offer(
        &mut self,
        epoch: Epoch,
        until: Timestamp,
        replay: bool,
    ) -> Option<MediaCommand> {
        let refuse_h264 = self.goes_without_h264();
        let narrow = self.running;
        let kind = self.kind;
        let request = self.request.as_ref();
        let Transport::Anchored(leg) = &mut self.transport else { return None };
        self.state = State::Offering { until, replay };
        let key = leg.key();
        if leg.is_opened() {
            return Some(MediaCommand::Attach { key, epoch, narrow, refuse_h264 });
        }
        let client_offer = offer_in(&request.map(Packed::unpack).unwrap_or_default());
        leg.open(sdp::is_of_firefox(&client_offer));
        Some(MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client: () })
    }

    /// The workers' offer is there: the client's request with it, if it still waits for that.
    pub(super) fn offer_made(&mut self, offer: &str, fresh: Box<str>, until: Timestamp) -> Option<Vec<u8>> {
        let State::Offering { replay, .. } = self.state else { return None };
        self.next_id(fresh);
        if let Some(leg) = self.leg_mut() {
            leg.forget_withheld();
        }
        let owed = Owed { word: true, answer: false };
        self.state = if replay { State::Replayed { until, owed, alive: false } } else { State::Requested };
        Some(request_with(&self.request().unwrap_or_default(), self.other_id(), Some(offer)))
    }

    /// The client's request is sent again; `None` if it is not kept.
    pub(super) fn replayed(&mut self, fresh: Box<str>, until: Timestamp) -> Option<Vec<u8>> {
        let request = self.request()?;
        self.next_id(fresh);
        let owed = Owed { word: true, answer: self.answered };
        self.state = State::Replayed { until, owed, alive: false };
        let offer = self.goes_without_h264().then(|| sdp::strip_codecs(&offer_in(&request), "H264"));
        Some(request_with(&request, self.other_id(), offer.as_deref()))
    }

    /// An id that no upstream has seen.
    fn next_id(&mut self, fresh: Box<str>) {
        self.sent_as = match self.sent_as {
            SentAs::Nothing => SentAs::ClientId,
            SentAs::ClientId | SentAs::Other(_) => SentAs::Other(fresh),
        };
    }

    /// It goes the way of direct media from now on. `None` if it was not making an offer: then it
    /// waits for nothing of the workers.
    pub(super) fn give_up_anchor(&mut self, up: bool) -> Option<bool> {
        self.transport = Transport::Direct;
        let replay = self.offering()?;
        if !up {
            self.state = State::Held { left_behind: false };
        }
        Some(replay)
    }

    /// Its upstream is lost. A new epoch is tried with new patience; the tries of the restore bound it.
    pub(super) fn lost(&mut self, now: Timestamp) -> Loss {
        let left_behind = self.is_left_behind() || self.is_upstream();
        if let State::Stopping { owed, .. } = self.state {
            self.state = State::Stopping { owed, left_behind };
            return Loss::Stopped;
        }
        if !self.is_unsettled() {
            self.since = now;
            self.refusal = None;
        }
        self.retries = Retries::default();
        if let Some(leg) = self.leg_mut() {
            leg.forget_withheld();
        }
        if self.is_replayable() {
            self.state = State::Held { left_behind };
            Loss::Held
        } else {
            self.state = State::Lost { left_behind };
            Loss::Lost
        }
    }

    /// Forgets that a kept session may have it, and says whether it may.
    pub(super) fn take_left_behind(&mut self) -> bool {
        match &mut self.state {
            State::Held { left_behind }
            | State::Lost { left_behind }
            | State::Stopping { left_behind, .. } => std::mem::take(left_behind),
            _ => false,
        }
    }

    /// A lost stream may be alive on the kept session.
    pub(super) fn put_on_probation(&mut self, until: Timestamp) {
        if self.is(Standing::Lost) {
            self.state = State::Probation { until };
        }
    }

    /// The server's `setRemoteSDP` of a stream that is not anchored; true if it is for the client.
    pub(super) fn answer(&mut self) -> bool {
        let known = self.answered && matches!(self.state, State::Replayed { .. } | State::Probation { .. });
        let owed = match &mut self.state {
            State::Live { owed } | State::Replayed { owed, .. } | State::Stopping { owed, .. } => {
                std::mem::take(&mut owed.answer)
            }
            _ => false,
        };
        // The SDK would take a second answer for an offer and never answer it (protocol S0.2).
        if owed || known {
            return false;
        }
        self.answered = true;
        if self.is_direct() {
            // Nothing can replay it now; a live stream keeps no SDP.
            self.request = None;
        }
        true
    }

    /// The workers' answer is for the client; false if it has one.
    pub(super) fn answer_from_workers(&mut self) -> bool {
        if self.answered {
            return false;
        }
        self.answered = true;
        // The workers know the client's offer now; a request at rest needs none.
        let request = self.request.take();
        self.request = request.map(|request| Packed::new(&request_with(&request.unpack(), None, Some(""))));
        true
    }

    /// The server says that it runs.
    pub(super) fn runs(&mut self) -> Running {
        let first = !self.running;
        let owed = match &mut self.state {
            State::Live { owed } | State::Replayed { owed, .. } => std::mem::take(&mut owed.word),
            _ => false,
        };
        match self.state {
            // The proof of media that passes through us is media, not a word (rule R2).
            State::Replayed { .. } if !first && !self.is_direct() => Running::Known,
            State::Replayed { .. } | State::Probation { .. } => Running::Proof { first },
            // The word came after the proof: the client has had it long ago.
            State::Live { .. } if !first && owed => Running::Known,
            _ => {
                self.rest();
                Running::News
            }
        }
    }

    /// The client hears that it runs; `live` from now on, if it was its own request.
    pub(super) fn told_running(&mut self) {
        self.running = true;
        if self.is(Standing::Requested) {
            self.state = State::Live { owed: Owed::default() };
        }
    }

    /// ICE and DTLS with the client stand: what it is to hear now, in order.
    pub(super) fn client_connected(&mut self) -> Vec<Box<[u8]>> {
        let withheld = self.leg_mut().and_then(ClientLeg::connected);
        match self.state {
            State::Requested | State::Live { .. } if withheld.is_some() => self.told_running(),
            // It was the word of an upstream that is gone.
            _ => return Vec::new(),
        }
        withheld.unwrap_or_default()
    }

    /// Packets of its replay come, though not yet what proves it.
    pub(super) const fn packets_come(&mut self) {
        if let State::Replayed { alive, .. } = &mut self.state {
            *alive = true;
        }
    }

    /// It is alive on the new upstream; how long it was not.
    pub(super) fn proven(&mut self, now: Timestamp) -> std::time::Duration {
        let owed = if let State::Replayed { owed, .. } = self.state { owed } else { Owed::default() };
        self.state = State::Live { owed };
        self.retries = Retries::default();
        self.refusal = None;
        self.rest();
        let after = now.since(self.since);
        self.restored = self.restored.saturating_add(1);
        self.last_outage_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        after
    }

    /// A running stream keeps its request for long, or not at all.
    fn rest(&mut self) {
        let request = self.request.take();
        self.request = request.filter(|_| !self.is_direct()).map(Packed::pack);
    }

    /// The client stops it. `over`: the server has said its last word already.
    pub(super) const fn stop(&mut self, over: bool) -> Stop {
        let owed = match self.state {
            State::Requested => Owed { word: false, answer: false },
            State::Live { owed } | State::Stopping { owed, .. } => owed,
            State::Replayed { .. } | State::Probation { .. } => return Stop::TakeBack,
            _ => return Stop::Answer,
        };
        if over {
            return Stop::Answer;
        }
        self.state = State::Stopping { owed, left_behind: false };
        Stop::Forward
    }

    /// The server says that it is over.
    pub(super) fn ended(&self) -> End {
        match self.state {
            // The client never heard that it runs: a refusal, as of a request.
            State::Live { .. } if self.leg().is_some_and(ClientLeg::withholds) => End::Refusal,
            State::Live { .. } => End::OfLive,
            State::Requested | State::Replayed { .. } => End::Refusal,
            State::Probation { .. } => End::OfKept,
            _ => End::Answer,
        }
    }

    /// From now on it is without its upstream, however long it ran: patience is new.
    pub(super) fn begins_to_wait(&mut self, now: Timestamp) {
        self.since = now;
        self.retries = Retries::default();
    }

    /// The same in an epoch that lives on, if it was the server's: its words before are history.
    pub(super) fn starts_over(&mut self, now: Timestamp) {
        if matches!(self.state, State::Live { .. } | State::Requested) {
            self.begins_to_wait(now);
            self.refusal = None;
        }
    }

    /// Its browser chose another codec: whether the upstream is to be asked anew.
    pub(super) fn changes_codec(&mut self, now: Timestamp) -> bool {
        self.has_video();
        if matches!(self.state, State::Live { .. }) {
            self.since = now;
        }
        matches!(self.state, State::Live { .. } | State::Requested | State::Replayed { .. })
    }

    /// Its patience, to plan the next try with.
    pub(super) const fn retries_mut(&mut self) -> &mut Retries {
        &mut self.retries
    }

    /// Refused for now. A stream that ran is told what ended it, not how the retries failed.
    pub(super) fn retries_at(&mut self, at: Timestamp, words: Option<Box<[u8]>>) {
        if !self.running || self.refusal.is_none() {
            self.refusal = words;
        }
        self.state = State::Retry { at };
    }

    /// Waits for its publisher.
    pub(super) const fn awaits_publisher(&mut self, at: Timestamp) {
        self.state = State::AwaitsPublisher { at };
    }

    /// Waits for a sign of life of whoever holds its name.
    pub(super) fn awaits_proof(&mut self, until: Timestamp, words: Option<Box<[u8]>>) {
        self.state = State::AwaitsProof { until };
        self.refusal = words;
    }

    /// What ended it, in these words.
    pub(super) fn refused_with(&mut self, words: Box<[u8]>) {
        self.refusal = Some(words);
    }

    /// What ended it when it ran.
    pub(super) fn take_end(&mut self) -> Option<Box<[u8]>> {
        if self.running { self.refusal.take() } else { None }
    }

    /// Goes without H264 from now on.
    pub(super) const fn refuse_h264(&mut self) {
        self.h264 = H264::Refused;
    }

    /// It sends no video.
    pub(super) const fn has_no_video(&mut self, h264_in_vain: bool) {
        self.h264 = match self.h264 {
            H264::Refused => H264::Refused,
            _ if h264_in_vain => H264::InVain,
            _ => H264::Allowed,
        };
    }

    /// It sends video.
    pub(super) const fn has_video(&mut self) {
        self.has_no_video(false);
    }

    /// The client said this of its microphone or camera.
    pub(super) fn stream_event(&mut self, event: &str) {
        if !event.ends_with("uted") {
            return;
        }
        let mutes = self.mutes.get_or_insert_default();
        match event {
            "audioMuted" => mutes.audio = true,
            "audioUnmuted" => mutes.audio = false,
            "videoMuted" => mutes.video = true,
            "videoUnmuted" => mutes.video = false,
            _ => {}
        }
    }

    pub(super) fn set_metrics(&mut self, metrics: Option<Packed>) {
        self.metrics = metrics;
    }

    /// What the workers counted.
    pub(super) fn count(&mut self, numbers: Box<StreamStats>) {
        self.numbers = Some(numbers);
    }

    pub(super) const fn take_numbers(&mut self) -> Option<Box<StreamStats>> {
        self.numbers.take()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
