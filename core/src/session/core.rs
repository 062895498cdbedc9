//! The session itself: its state, the way of an input to the part that handles it, and its timers.

use std::sync::Arc;

use crate::{registry::Registry, settings::SessionSettings};

use super::{
    Close, Epoch, Event, Identity, Input, LossCause, Output, SessionId, Timestamp,
    held_back::HeldBack,
    kept::Kept,
    ledger::Ledger,
    random::Random,
    state::{Client, Lever, Link, Outage, Stage, Upstream},
    stream::Stream,
};

/// One client session.
///
/// Call [`Session::handle`] with each thing that happens, then carry out
/// [`Session::take_outputs`] in order and ask [`Session::next_timeout`] again. It never panics,
/// whatever either side sends.
#[derive(Debug)]
pub struct Session {
    pub(super) id: SessionId,
    pub(super) settings: Arc<SessionSettings>,
    pub(super) registry: Arc<Registry>,
    pub(super) random: Random,
    /// The time of the input being handled.
    pub(super) now: Timestamp,
    pub(super) epoch: Epoch,
    pub(super) link: Link,
    pub(super) client: Client,
    pub(super) upstream: Upstream,
    pub(super) ledger: Ledger,
    pub(super) held_back: HeldBack,
    pub(super) lever: Option<Box<Lever>>,
    /// New WebRTC streams are anchored: there are media workers.
    pub(super) anchors: bool,
    /// The key of the last anchored stream.
    pub(super) next_media_key: u32,
    /// This client's publishes are answered without H264 from now on: it had it in vain.
    pub(super) refuse_h264: bool,
    /// What it keeps, in bytes.
    pub(super) kept: Kept,
    /// When a timer is due next, as of the last input.
    deadline: Option<Timestamp>,
    pub(super) outputs: Vec<Output>,
}

impl Session {
    /// A session whose client has just connected and whose upstream connection of epoch 0
    /// stands. `seed` feeds the jitter of its backoff and its fresh ids.
    #[must_use]
    pub fn new(
        id: SessionId,
        settings: Arc<SessionSettings>,
        registry: Arc<Registry>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let mut session = Self {
            id,
            settings,
            registry,
            random: Random::new(seed),
            now,
            epoch: Epoch(0),
            link: Link::First,
            client: Client::new(now),
            upstream: Upstream::new(now),
            ledger: Ledger::default(),
            held_back: HeldBack::default(),
            lever: None,
            anchors: false,
            next_media_key: 0,
            refuse_h264: false,
            kept: Kept::default(),
            deadline: None,
            outputs: Vec::new(),
        };
        session.deadline = session.first_deadline();
        session
    }

    /// States that there are media workers, which will take [`Output::Media`].
    #[must_use]
    pub fn with_media(mut self) -> Self {
        self.anchors = true;
        self
    }

    /// States who the client seems to be by its handshake; its `connection` completes that.
    #[must_use]
    pub const fn with_identity(mut self, handshake: Identity) -> Self {
        self.client.handshake = handshake;
        self
    }

    /// Who the client seems to be (rule R7).
    pub(super) const fn identity(&self) -> Identity {
        self.client.identity
    }

    /// Takes an input at the time `now`, which must not run backwards.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        self.now = now;
        if matches!(self.link, Link::Ended | Link::PassedThrough) {
            return;
        }
        self.dispatch(input);
        self.deadline = self.first_deadline();
        if self.is_due(self.deadline) {
            self.run_timers();
            self.deadline = self.first_deadline();
        }
        self.count_kept();
    }

    fn dispatch(&mut self, input: Input<'_>) {
        if !is_traffic(&input) {
            self.kept.touch();
        }
        match input {
            Input::ClientText(text) => {
                self.client_heard();
                if self.begin(Some(text)) {
                    self.client_text(text);
                }
            }
            Input::ClientBinary(_) => {
                self.client_heard();
                if self.begin(None) {
                    self.client_binary();
                }
            }
            Input::ClientActivity => self.client_heard(),
            Input::ClientClosed(code) => self.client_closed(code),
            Input::UpstreamOpened(epoch) if epoch == self.epoch => self.upstream_opened(),
            Input::DialFailed(epoch, error) if epoch == self.epoch => self.dial_failed(error),
            Input::UpstreamText(epoch, text) if epoch == self.epoch => {
                self.upstream_heard();
                self.upstream_text(text);
            }
            Input::UpstreamBinary(epoch, _) if epoch == self.epoch => {
                self.upstream_heard();
                self.outputs.push(Output::ForwardToClient);
            }
            Input::UpstreamActivity(epoch) if epoch == self.epoch => self.upstream_heard(),
            Input::UpstreamLost(epoch, cause) if epoch == self.epoch => self.upstream_lost(cause),
            Input::NodeUp => self.node_up(),
            Input::PathUp => self.path_up(),
            Input::Media(key, fact) => self.media_fact(key, fact),
            Input::Mail(mail) => self.mail(mail),
            Input::Shutdown => self.shutdown(),
            // Whatever arrives from an older epoch is dropped.
            Input::UpstreamOpened(_)
            | Input::DialFailed(..)
            | Input::UpstreamText(..)
            | Input::UpstreamBinary(..)
            | Input::UpstreamActivity(_)
            | Input::UpstreamLost(..)
            | Input::Timeout => {}
        }
    }

    /// What the last input led to, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Puts a used buffer back, so that the next input needs no new one.
    pub fn recycle_outputs(&mut self, mut outputs: Vec<Output>) {
        outputs.clear();
        if self.outputs.is_empty() {
            self.outputs = outputs;
        }
    }

    /// Whether both sockets are ended or told to end.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.link, Link::Ended)
    }

    /// When to call [`Session::handle`] with [`Input::Timeout`] if nothing happens before.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The earliest of all deadlines. Whatever a timer acts on has its time in here: none runs before it.
    fn first_deadline(&self) -> Option<Timestamp> {
        if matches!(self.link, Link::Ended | Link::PassedThrough) {
            return None;
        }
        let stage = if let Link::Down(outage) = self.link { outage.stage.deadline() } else { None };
        let streams = self.ledger.streams.iter().filter_map(|stream| stream.deadline(&self.settings));
        let rooms = self
            .ledger
            .rooms
            .iter()
            .flat_map(|room| [room.participants.deadline(), self.join_deadline(room)]);
        let rooms = rooms.flatten();
        let lever = self.lever.iter().filter_map(|lever| lever.at);
        let patience = self.patience_deadline();
        let held_back = self.held_back.deadline();
        [
            stage,
            self.silence_deadline(),
            self.ping_deadline(),
            patience,
            self.client.life.proof_deadline(),
            held_back,
        ]
        .into_iter()
        .flatten()
        .chain(streams)
        .chain(rooms)
        .chain(lever)
        .min()
    }

    fn run_timers(&mut self) {
        self.kept.touch();
        self.run_stage_timer();
        self.run_silence_timer();
        self.run_ping_timer();
        self.run_patience_timer();
        self.run_proof_timer();
        self.run_burst_timers();
        self.run_stream_timers();
        self.run_room_timers();
        self.run_lever_timer();
        self.run_held_timers();
    }

    pub(super) fn is_due(&self, deadline: Option<Timestamp>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.now) && !self.is_ended()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    pub(super) fn say_to_client(&mut self, message: Vec<u8>) {
        let message = self.ledger.numeric_ids.restore(message);
        self.outputs.push(Output::SendToClient(message));
    }

    pub(super) fn say_upstream(&mut self, message: Vec<u8>) {
        self.outputs.push(Output::SendToUpstream(message));
    }

    /// Whether the client's words go straight to the upstream.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    pub(super) const fn outage(&self) -> Option<Outage> {
        if let Link::Down(outage) = self.link { Some(outage) } else { None }
    }

    pub(super) const fn set_stage(&mut self, stage: Stage) {
        if let Link::Down(outage) = &mut self.link {
            outage.stage = stage;
        }
    }

    /// Ends both sockets. Names and tokens of the session are given up as lost, not chosen: the
    /// publisher may be back in a moment (rule R9).
    pub(super) fn end(&mut self, client: Option<Close>, upstream: Close) {
        // First of all: nothing that is released now may start anything.
        self.link = Link::Ended;
        self.kept.touch();
        self.release_everything();
        self.outputs.push(Output::CloseUpstream(self.epoch, upstream));
        if let Some(close) = client {
            self.outputs.push(Output::CloseClient(close));
        }
    }

    fn client_closed(&mut self, code: Option<u16>) {
        // A clean close upstream, whatever became of the client: no ghost may hold its names.
        self.end(None, Close::frame(code));
    }

    fn shutdown(&mut self) {
        self.end(Some(Close::Code(1012)), Close::Code(1001));
    }

    /// The client's socket ends as the upstream's did.
    pub(super) fn end_as(&mut self, cause: LossCause) {
        self.end(Some(cause.as_close()), Close::Abort);
    }

    fn release_everything(&mut self) {
        if let Some(token) = self.client.token.take() {
            self.outputs.push(Output::ForgetMediaSockets { token });
        }
        while let Some(stream_id) = self.ledger.streams.at(0).map(Stream::id) {
            self.release_name(stream_id, crate::registry::EndOfName::Lost);
            let _ = self.remove_stream(stream_id);
        }
        for (name, asker) in self.client.life.take_askers() {
            let mail = super::Mail::Proven { name: name.into(), alive: false };
            self.outputs.push(Output::Post(asker, mail));
        }
        self.ledger = Ledger::default();
        self.client.connection = None;
        self.upstream.token = None;
        self.held_back = HeldBack::default();
        drop(self.take_lever());
    }
}

/// Whether it comes again and again and mostly changes nothing. What does change something by it says so.
const fn is_traffic(input: &Input<'_>) -> bool {
    matches!(
        input,
        Input::ClientText(_)
            | Input::ClientActivity
            | Input::UpstreamText(..)
            | Input::UpstreamBinary(..)
            | Input::UpstreamActivity(_)
            | Input::Timeout
    )
}
