//! What happens to a stream: the only place where its state changes. Each change says what is to be done.

use crate::{
    media::StreamStats,
    session::{
        Epoch, MediaCommand, Timestamp,
        leg::ClientLeg,
        packed::Packed,
        patience::Retries,
        request::{offer_in, request_with},
    },
    signaling::sdp,
};

use super::{End, H264, LeftAs, Loss, Owed, Running, SentAs, Standing, State, Stop, Stream, Transport};

impl Stream {
    /// The client's own request goes upstream as it is.
    pub(in crate::session) fn sent_as_it_is(&mut self) {
        self.sent_as = SentAs::ClientId;
        self.state = State::Requested;
    }

    /// Asks the workers for an upstream offer; `None` if it is not anchored.
    pub(in crate::session) fn ask_for_offer(
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
        leg.is_to_pause(false);
        let key = leg.key();
        if leg.is_opened() {
            let beside = self.left.is_some();
            return Some(MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside });
        }
        let client_offer = offer_in(&request.map(Packed::unpack).unwrap_or_default());
        leg.open(sdp::is_of_firefox(&client_offer));
        Some(MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client: () })
    }

    /// The workers' offer is there: the client's request with it, if it still waits for that.
    pub(in crate::session) fn offer_made(
        &mut self,
        offer: &str,
        fresh: Box<str>,
        until: Timestamp,
    ) -> Option<Vec<u8>> {
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
    pub(in crate::session) fn replayed(&mut self, fresh: Box<str>, until: Timestamp) -> Option<Vec<u8>> {
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
    pub(in crate::session) fn give_up_anchor(&mut self, up: bool) -> Option<bool> {
        self.transport = Transport::Direct;
        let replay = self.offering()?;
        if !up {
            self.state = State::Held { may_be_kept: false };
        }
        Some(replay)
    }

    /// Its upstream is lost. A new epoch is tried with new patience; the tries of the restore bound it.
    pub(in crate::session) fn lost(&mut self, now: Timestamp) -> Loss {
        let may_be_kept = self.may_be_kept() || self.is_upstream();
        if let State::Stopping { owed, .. } = self.state {
            self.state = State::Stopping { owed, may_be_kept };
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
            self.state = State::Held { may_be_kept };
            Loss::Held
        } else {
            self.state = State::Lost { may_be_kept };
            Loss::Lost
        }
    }

    /// Forgets that a kept session may have it, and says whether it may.
    pub(in crate::session) fn take_may_be_kept(&mut self) -> bool {
        match &mut self.state {
            State::Held { may_be_kept }
            | State::Lost { may_be_kept }
            | State::Stopping { may_be_kept, .. } => std::mem::take(may_be_kept),
            _ => false,
        }
    }

    /// A lost stream may be alive on the kept session.
    pub(in crate::session) fn put_on_probation(&mut self, until: Timestamp) {
        if self.is(Standing::Lost) {
            self.state = State::Probation { until };
        }
    }

    /// The server's `setRemoteSDP` of a stream that is not anchored; true if it is for the client.
    pub(in crate::session) fn answer(&mut self) -> bool {
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
    pub(in crate::session) fn answer_from_workers(&mut self) -> bool {
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
    pub(in crate::session) fn runs(&mut self) -> Running {
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
    pub(in crate::session) fn told_running(&mut self) {
        self.running = true;
        if self.is(Standing::Requested) {
            self.state = State::Live { owed: Owed::default() };
        }
    }

    /// ICE and DTLS with the client stand: what it is to hear now, in order.
    pub(in crate::session) fn client_connected(&mut self) -> Vec<Box<[u8]>> {
        let withheld = self.leg_mut().and_then(ClientLeg::connected);
        match self.state {
            State::Requested | State::Live { .. } if withheld.is_some() => self.told_running(),
            // It was the word of an upstream that is gone.
            _ => return Vec::new(),
        }
        withheld.unwrap_or_default()
    }

    /// Packets of its replay come, though not yet what proves it.
    pub(in crate::session) const fn packets_come(&mut self) {
        if let State::Replayed { alive, .. } = &mut self.state {
            *alive = true;
        }
    }

    /// It is alive on the new upstream; how long it was not.
    pub(in crate::session) fn proven(&mut self, now: Timestamp) -> std::time::Duration {
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

    /// It is to be asked for at another node; the one that has it keeps it meanwhile.
    pub(in crate::session) fn sets_out(&mut self) {
        if let State::Live { owed } = self.state {
            self.left = Some(Box::new(LeftAs { sent_as: self.sent_as.clone(), owed, arrived: false }));
        }
    }

    /// It is alive at the other node.
    pub(in crate::session) fn arrives(&mut self) {
        let owed = if let State::Replayed { owed, .. } = self.state { owed } else { Owed::default() };
        self.state = State::Live { owed };
        if let Some(left) = &mut self.left {
            left.arrived = true;
        }
        self.rest();
    }

    /// It stays where it was, as it was.
    pub(in crate::session) fn comes_back(&mut self) {
        if let Some(left) = self.left.take() {
            self.sent_as = left.sent_as;
            self.state = State::Live { owed: left.owed };
            self.retries = Retries::default();
        }
    }

    /// The node that was left has it no more, or is not to have it; under which id it had it there.
    pub(in crate::session) fn take_left(&mut self) -> Option<Box<str>> {
        let left = self.left.take()?;
        Some(if let SentAs::Other(id) = left.sent_as { id } else { self.client_id.clone() })
    }

    /// The node is gone that it was leaving: from now on it is without an upstream until it is proven.
    pub(in crate::session) fn loses_left(&mut self, now: Timestamp) {
        if self.is_moving() {
            self.since = now;
        }
        self.left = None;
    }

    /// A running stream keeps its request for long, or not at all.
    fn rest(&mut self) {
        let request = self.request.take();
        self.request = request.filter(|_| !self.is_direct()).map(Packed::pack);
    }

    /// The client stops it. `over`: the server has said its last word already.
    pub(in crate::session) const fn stop(&mut self, over: bool) -> Stop {
        let owed = match self.state {
            State::Requested => Owed { word: false, answer: false },
            State::Live { owed } | State::Stopping { owed, .. } => owed,
            State::Replayed { .. } | State::Probation { .. } => return Stop::TakeBack,
            _ => return Stop::Answer,
        };
        if over {
            return Stop::Answer;
        }
        self.state = State::Stopping { owed, may_be_kept: false };
        Stop::Forward
    }

    /// The server says that it is over.
    pub(in crate::session) fn ended(&self) -> End {
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
    pub(in crate::session) fn begins_to_wait(&mut self, now: Timestamp) {
        self.since = now;
        self.retries = Retries::default();
    }

    /// The same in an epoch that lives on, if it was the server's: its words before are history.
    pub(in crate::session) fn starts_over(&mut self, now: Timestamp) {
        if matches!(self.state, State::Live { .. } | State::Requested) {
            self.begins_to_wait(now);
            self.refusal = None;
        }
    }

    /// Its browser chose another codec: whether the upstream is to be asked anew.
    pub(in crate::session) fn changes_codec(&mut self, now: Timestamp) -> bool {
        self.has_no_video(false);
        if matches!(self.state, State::Live { .. }) {
            self.since = now;
        }
        matches!(self.state, State::Live { .. } | State::Requested | State::Replayed { .. })
    }

    /// Its patience, to plan the next try with.
    pub(in crate::session) const fn retries_mut(&mut self) -> &mut Retries {
        &mut self.retries
    }

    /// Refused for now. A stream that ran is told what ended it, not how the retries failed.
    pub(in crate::session) fn retries_at(&mut self, at: Timestamp, words: Option<Box<[u8]>>) {
        if !self.running || self.refusal.is_none() {
            self.refusal = words;
        }
        self.state = State::Retry { at };
    }

    /// Waits for its publisher.
    pub(in crate::session) const fn awaits_publisher(&mut self, at: Timestamp) {
        self.state = State::AwaitsPublisher { at };
    }

    /// Waits for a sign of life of whoever holds its name.
    pub(in crate::session) fn awaits_proof(&mut self, until: Timestamp, words: Option<Box<[u8]>>) {
        self.state = State::AwaitsProof { until };
        self.refusal = words;
    }

    /// What ended it, in these words.
    pub(in crate::session) fn refused_with(&mut self, words: Box<[u8]>) {
        self.refusal = Some(words);
    }

    /// What ended it when it ran.
    pub(in crate::session) fn take_end(&mut self) -> Option<Box<[u8]>> {
        if self.running { self.refusal.take() } else { None }
    }

    /// Goes without H264 from now on.
    pub(in crate::session) const fn refuse_h264(&mut self) {
        self.h264 = H264::Refused;
    }

    /// It sends no video, or it does after all and nothing was in vain.
    pub(in crate::session) const fn has_no_video(&mut self, h264_in_vain: bool) {
        self.h264 = match self.h264 {
            H264::Refused => H264::Refused,
            _ if h264_in_vain => H264::InVain,
            _ => H264::Allowed,
        };
    }

    /// The client said this of its microphone or camera.
    pub(in crate::session) fn stream_event(&mut self, event: &str) {
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

    pub(in crate::session) fn set_metrics(&mut self, metrics: Option<Packed>) {
        self.metrics = metrics;
    }

    /// What the workers counted.
    pub(in crate::session) fn count(&mut self, numbers: Box<StreamStats>) {
        self.numbers = Some(numbers);
    }
}
