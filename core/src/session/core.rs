//! The session itself: its state, the way of an input to the part that handles it, and its timers.

use std::sync::Arc;

use crate::{media::Fact, settings::SessionSettings};

use super::{
    Close, DialError, Identity, Input, Mail, NodeId, Output, SessionId, StreamKey, Timestamp,
    attempts::Attempts,
    calls::Calls,
    context::Context,
    directory::Directory,
    held_back::{HeldBack, HeldEvent, Subject},
    ids::NumericIds,
    kept::Kept,
    left_behind::{LeftBehind, Retired},
    link::Link,
    moves::TIME_IS_OVER,
    moving::{Moving, Order},
    outbox::Outbox,
    packed::Packed,
    random::Random,
    requests::Requests,
    restart::Restart,
    rooms::Rooms,
    state::{Client, Upstream},
    streams::{Streams, ends_a_move},
    timers::{Timer, Timers},
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
    pub(super) random: Random,
    /// The time of the input being handled.
    pub(super) now: Timestamp,
    pub(super) link: Link,
    pub(super) client: Client,
    pub(super) upstream: Upstream,
    pub(super) attempts: Attempts,
    /// `sessionDebug` start, while it is on.
    pub(super) debug: bool,
    pub(super) streams: Streams,
    pub(super) rooms: Rooms,
    pub(super) calls: Calls,
    pub(super) requests: Requests,
    pub(super) held_back: HeldBack,
    pub(super) left_behind: LeftBehind,
    pub(super) retired: Retired,
    pub(super) restart: Restart,
    /// The move to another node, while it is at one.
    pub(super) moving: Moving,
    /// What it keeps, in bytes.
    pub(super) kept: Kept,
    /// What is due when, as of the last input.
    pub(super) timers: Timers,
    pub(super) out: Outbox,
}

/// The parts of a session, and what they are lent.
pub(super) struct Lent<'a> {
    pub(super) streams: &'a mut Streams,
    pub(super) rooms: &'a mut Rooms,
    pub(super) calls: &'a mut Calls,
    pub(super) ctx: Context<'a>,
}

impl Lent<'_> {
    /// The epoch lived on: what was held back is the server's word after all.
    fn release_held_back(&mut self) {
        let Self { streams, rooms, calls, ctx } = self;
        while let Some(HeldEvent { subject, message, .. }) = ctx.held_back.take_due(ctx.now) {
            match subject {
                Subject::Stream(id) => streams.release(ctx, &id, message.into_vec()),
                Subject::Call(id) => calls.release(ctx, &id, message.into_vec()),
                Subject::Room(_) => rooms.release(ctx, &message, &|name| streams.plays(name)),
            }
        }
    }
}

impl Session {
    /// A session whose client has just connected and whose upstream connection of epoch 0
    /// stands. `seed` feeds the jitter of its backoff and its fresh ids.
    #[must_use]
    pub fn new(id: SessionId, settings: Arc<SessionSettings>, seed: u64, now: Timestamp) -> Self {
        let mut session = Self {
            id,
            settings,
            random: Random::new(seed),
            now,
            link: Link::First,
            client: Client::new(now),
            upstream: Upstream::first(now),
            attempts: Attempts::default(),
            debug: false,
            streams: Streams::default(),
            rooms: Rooms::default(),
            calls: Calls::default(),
            requests: Requests::default(),
            held_back: HeldBack::default(),
            left_behind: LeftBehind::default(),
            retired: Retired::default(),
            restart: Restart::default(),
            moving: Moving::default(),
            kept: Kept::default(),
            timers: Timers::default(),
            out: Outbox::default(),
        };
        session.set_timers();
        session
    }

    /// States that there are media workers, which will take [`Output::Media`].
    #[must_use]
    pub const fn with_media(mut self) -> Self {
        self.streams.anchor();
        self
    }

    /// States who the client seems to be by its handshake; its `connection` completes that.
    #[must_use]
    pub const fn with_identity(mut self, handshake: Identity) -> Self {
        self.client.handshake = handshake;
        self
    }

    /// States at which node the connection stands that the client came with.
    #[must_use]
    pub const fn with_node(mut self, node: NodeId) -> Self {
        self.upstream.node = node;
        self
    }

    /// Takes an input at the time `now`, which must not run backwards. `directory` is what is known of
    /// other sessions, the same for all of them.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp, directory: &mut dyn Directory) {
        self.now = now;
        if self.link.is_over() {
            return;
        }
        self.dispatch(input, directory);
        self.move_goes_on(directory);
        if self.kept.is_touched() {
            self.set_timers();
        }
        if self.is_due(self.timers.first()) {
            self.run_timers(directory);
            self.move_goes_on(directory);
            self.set_timers();
        }
        if self.kept.is_touched() {
            self.kept.count(self.kept_bytes(), directory);
        }
    }

    fn dispatch(&mut self, input: Input<'_>, directory: &mut dyn Directory) {
        if !is_traffic(&input) {
            self.kept.touch();
        }
        match input {
            Input::ClientText(text) => {
                self.client_heard(directory);
                if self.begin(Some(text)) {
                    self.client_text(text, directory);
                }
            }
            Input::ClientBinary(_) => {
                self.client_heard(directory);
                if self.begin(None) {
                    self.client_binary(directory);
                }
            }
            Input::ClientActivity => self.client_heard(directory),
            // A clean close upstream, whatever became of the client: no ghost may hold its names.
            Input::ClientClosed(code) => self.end(None, Close::frame(code), directory),
            Input::UpstreamOpened(epoch, node) if epoch == self.upstream.epoch => {
                self.upstream_opened(node, directory);
            }
            Input::UpstreamOpened(epoch, node) if self.moving.dialing() == Some(epoch) => {
                self.beside_opened(node);
            }
            Input::DialFailed(epoch, error) if self.moving.dialing() == Some(epoch) => {
                if matches!(error, DialError::Unreachable(_)) {
                    self.moving.node_is_gone();
                }
                self.return_from_move(&format!("the dial failed: {error:?}"), directory);
            }
            Input::DialFailed(epoch, error) if epoch == self.upstream.epoch => {
                self.dial_failed(error, directory)
            }
            Input::UpstreamText(epoch, text) if epoch == self.upstream.epoch => {
                self.upstream_heard(directory);
                self.upstream_text(text, directory);
            }
            Input::UpstreamBinary(epoch, _) if epoch == self.upstream.epoch => {
                self.upstream_heard(directory);
                self.out.forward_to_client();
            }
            Input::UpstreamActivity(epoch) if epoch == self.upstream.epoch => self.upstream_heard(directory),
            Input::UpstreamLost(epoch, cause) if epoch == self.upstream.epoch => {
                self.upstream_lost(cause, directory)
            }
            Input::UpstreamText(epoch, text) if self.moving.left() == Some(epoch) => {
                self.left_says(text, directory);
            }
            Input::UpstreamBinary(epoch, _) if self.moving.left() == Some(epoch) => {
                self.out.forward_to_client();
            }
            Input::UpstreamActivity(epoch) if self.moving.left() == Some(epoch) => {
                self.moving.left_heard(self.now);
            }
            Input::UpstreamLost(epoch, cause) if self.moving.left() == Some(epoch) => {
                self.left_lost(cause, directory);
            }
            Input::Move { to } => self.begin_move(Order { to, reports: true }),
            Input::LetGo => self.let_go(directory),
            Input::Hold => self.moving.hold(self.now + self.settings.restore.move_hold),
            Input::ForceMove => self.force_move(directory),
            Input::NodeUp => {
                self.hear_news(|attempts, settings, now| attempts.believe_node(now, settings), directory);
            }
            Input::PathUp => self.hear_news(|attempts, _, _| attempts.believe_path(), directory),
            Input::Media(key, fact) => self.media_fact(key, fact, directory),
            Input::Mail(mail) => self.mail(mail, directory),
            Input::Shutdown => self.end(Some(Close::Code(1012)), Close::Code(1001), directory),
            Input::NodeDoubtful if self.link.is_up() => self.upstream.ask(self.now, &mut self.out),
            Input::Evidence(epoch, evidence) if epoch == self.upstream.epoch => {
                self.upstream.silence.judge(evidence, &self.settings.keepalive, self.now);
            }
            // Whatever arrives from an older epoch is dropped.
            Input::NodeDoubtful
            | Input::Evidence(..)
            | Input::UpstreamOpened(..)
            | Input::DialFailed(..)
            | Input::UpstreamText(..)
            | Input::UpstreamBinary(..)
            | Input::UpstreamActivity(_)
            | Input::UpstreamLost(..)
            | Input::Timeout => {}
        }
    }

    fn media_fact(&mut self, key: StreamKey, fact: Fact, directory: &mut dyn Directory) {
        match fact {
            Fact::UpstreamSilent { epoch } => {
                // One probe for each silence.
                let is_of_now =
                    epoch == self.upstream.epoch && self.link.is_up() && self.streams.has_leg(key);
                if is_of_now {
                    self.upstream.ask(self.now, &mut self.out);
                }
            }
            mut fact => {
                if let Some(reason) = ends_a_move(&fact).filter(|_| self.moving.is_under_way()) {
                    self.return_from_move(&reason, directory);
                    if let Fact::CodecChanged { epoch, .. } = &mut fact {
                        // It is so wherever the session is.
                        *epoch = self.upstream.epoch;
                    }
                }
                let Lent { streams, mut ctx, .. } = self.lend(directory);
                streams.media_fact(&mut ctx, key, fact);
            }
        }
    }

    /// It is dropped, perhaps before its end: the directory knows nothing of it any more but the names it held.
    pub fn abandon(&mut self, directory: &mut dyn Directory) {
        directory.kept_bytes_changed(self.kept.told_bytes(), 0);
        for room in self.rooms.keys() {
            directory.leave_room(room, self.id);
        }
        self.moving.await_no_room(self.id, directory);
    }

    /// What the last input led to, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.out.take()
    }

    /// Puts a used buffer back, so that the next input needs no new one.
    pub fn recycle_outputs(&mut self, outputs: Vec<Output>) {
        self.out.recycle(outputs);
    }

    /// Whether both sockets are ended or told to end.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.link, Link::Ended)
    }

    /// When to call [`Session::handle`] with [`Input::Timeout`] if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if self.link.is_over() { None } else { self.timers.first() }
    }

    /// Whatever a timer acts on has its time in the table: none runs before it. Traffic that changes nothing
    /// moves what is about being alive, and does so where that is heard.
    fn set_timers(&mut self) {
        let keepalive = &self.settings.keepalive;
        self.timers.set(Timer::Silence, self.upstream.silence_deadline(self.link, keepalive));
        self.timers.set(Timer::Ping, self.ping_deadline());
        self.timers.set(Timer::Patience, self.client.life.patience_deadline(keepalive));
        self.timers.set(Timer::Proof, self.client.life.proof_deadline());
        self.timers.set(Timer::Stage, self.link.deadline());
        self.timers.set(Timer::HeldBack, self.held_back.deadline());
        self.timers.set(Timer::Streams, self.streams.deadline(&self.settings));
        let rooms = self.rooms.deadline(self.link.outage(), self.settings.hold.time_max);
        self.timers.set(Timer::Rooms, rooms);
        self.timers.set(Timer::Restart, self.restart.deadline());
        self.timers.set(Timer::Move, self.moving.deadline());
    }

    fn run_timers(&mut self, directory: &mut dyn Directory) {
        self.kept.touch();
        // Before that of its stage: what comes to nothing leaves nothing to be done for it.
        if self.is_due(self.moving.deadline()) {
            self.moving.node_is_gone();
            self.return_from_move(TIME_IS_OVER, directory);
            self.let_go(directory);
        }
        self.run_stage_timer(directory);
        self.run_silence_timer(directory);
        self.run_client_timers(directory);
        if self.is_ended() {
            return;
        }
        self.lend(directory).release_held_back();
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        streams.run_timers(&mut ctx);
        self.run_room_timers(directory);
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        streams.run_restart_timer(&mut ctx);
        self.run_held_timers(directory);
    }

    fn run_room_timers(&mut self, directory: &mut dyn Directory) {
        while {
            let Lent { rooms, mut ctx, .. } = self.lend(directory);
            rooms.expire_join(&mut ctx)
        } {
            self.go_on_when_joined(directory);
        }
        let Lent { rooms, mut ctx, .. } = self.lend(directory);
        rooms.run_timers(&mut ctx);
    }

    pub(super) fn is_due(&self, deadline: Option<Timestamp>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.now) && !self.is_ended()
    }

    /// The parts, each of which may be changed while the rest is lent to it.
    pub(super) fn lend<'a>(&'a mut self, directory: &'a mut dyn Directory) -> Lent<'a> {
        Lent {
            streams: &mut self.streams,
            rooms: &mut self.rooms,
            calls: &mut self.calls,
            ctx: Context {
                id: self.id,
                now: self.now,
                link: self.link,
                settings: &self.settings,
                client: &self.client,
                upstream: &self.upstream,
                directory,
                random: &mut self.random,
                out: &mut self.out,
                kept: &mut self.kept,
                requests: &mut self.requests,
                held_back: &mut self.held_back,
                left_behind: &mut self.left_behind,
                retired: &mut self.retired,
                restart: &mut self.restart,
            },
        }
    }

    /// For the streams alone.
    pub(super) fn with_streams(
        &mut self,
        directory: &mut dyn Directory,
        act: impl FnOnce(&mut Streams, &mut Context<'_>),
    ) {
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        act(streams, &mut ctx);
    }

    /// Ends both sockets. Names and tokens of the session are given up as lost, not chosen: the
    /// publisher may be back in a moment (rule R9).
    pub(super) fn end(&mut self, client: Option<Close>, upstream: Close, directory: &mut dyn Directory) {
        // First of all: nothing that is released now may start anything.
        self.link = Link::Ended;
        self.kept.touch();
        if let Some(epoch) = self.moving.end_with_session(&mut self.out) {
            self.out.push(Output::CloseUpstream(epoch, upstream));
        }
        if let Some(token) = self.client.token.take() {
            self.out.push(Output::ForgetMediaSockets { token });
        }
        self.moving.await_no_room(self.id, directory);
        let Lent { streams, rooms, mut ctx, .. } = self.lend(directory);
        streams.drop_all(&mut ctx);
        rooms.leave_all(&mut ctx);
        for (name, asker) in self.client.life.take_askers() {
            let mail = Mail::Proven { name: name.into(), alive: false };
            self.out.push(Output::Post(asker, mail));
        }
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        drop(streams.end_restart(&mut ctx));
        self.client.connection = None;
        self.upstream.token = None;
        self.calls = Calls::default();
        (self.requests, self.held_back) = (Requests::default(), HeldBack::default());
        (self.left_behind, self.retired) = (LeftBehind::default(), Retired::default());
        self.out.numeric_ids = NumericIds::default();
        self.out.push(Output::CloseUpstream(self.upstream.epoch, upstream));
        if let Some(close) = client {
            self.out.push(Output::CloseClient(close));
        }
    }

    /// What is kept for this session now, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        let client = &self.client;
        let connection = client.connection.as_ref().map_or(0, Packed::len_bytes);
        // Whoever routes media sockets has them, too.
        let tokens = [&client.token, &self.upstream.token].map(|token| token.as_ref().map_or(0, |t| t.len()));
        let parts = self.streams.bytes() + self.rooms.bytes() + self.calls.bytes();
        let keepers = self.requests.bytes()
            + self.held_back.bytes()
            + self.left_behind.bytes()
            + self.retired.bytes()
            + self.restart.bytes()
            + self.moving.bytes()
            + self.out.numeric_ids.bytes();
        parts + keepers + connection + 2 * tokens.iter().sum::<usize>() + client.life.bytes()
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
