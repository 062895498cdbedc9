//! The driver: one task per session that owns its sockets and feeds the session core.
//!
//! It is a hand-written future, because it is what every idle session costs: the two sockets, the
//! core and a timer, and no buffer. It decides nothing about the protocol: what arrives goes to
//! the core, what the core orders is carried out in order. Frames that are only passed on are
//! written from the buffer they were read into, several of them in one write.

mod ends;
mod events;
mod evidence;
mod media;
mod mode;
mod moves;
mod orders;
mod passage;
mod reading;
mod timer;

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::{
    config::LimitSettings,
    registry::Member,
    session::{Close, Epoch, Input, LossCause, Mode, NodeId, SessionSnapshot, Timestamp},
    telemetry::timeline::Timeline,
    upstream::{ClientRequest, DialFailure, Dialed},
    wire::{scratch, side::Side, socket::Socket, websocket::Role},
};

use super::{
    admission::Newcomer,
    closing,
    ledger::SessionAccount,
    live::{MoveReport, Note, Place, Registered},
    memory::{Account, Demand},
    shared::Shared,
};

use events::EndCause;
use reading::From;
use timer::{Timer, life_of};

/// Rounds over both sockets before other tasks get their turn.
const ROUNDS_MAX: usize = 16;

type DialTask = Pin<Box<dyn Future<Output = Result<Dialed, DialFailure>> + Send>>;

/// A dial that is under way.
struct Dialing {
    epoch: Epoch,
    /// It is made beside a connection that goes on.
    is_beside: bool,
    task: DialTask,
}

/// What a session begins with: a client that was answered 101 and its upstream connection.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The client's socket.
    pub(crate) client: Socket,
    /// What was read from it after the request.
    pub(crate) client_leftover: Vec<u8>,
    /// Its address, as far as can be known behind balancers.
    pub(crate) client_ip: IpAddr,
    /// The upstream connection of epoch 0.
    pub(crate) upstream: Dialed,
    /// For the dials to come.
    pub(crate) request: Arc<ClientRequest>,
    /// Its place among the sessions.
    pub(crate) place: Place,
    /// What it has of its client's address until the server has taken it.
    pub(crate) newcomer: Newcomer,
}

/// One session.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Member,
    registered: Registered,
    request: Arc<ClientRequest>,
    client: Option<Side>,
    upstream: Option<Side>,
    epoch: Epoch,
    /// The connection beside it: a new one that is to lead, or the one that is left.
    beside: Option<Box<moves::Beside>>,
    dial: Option<Dialing>,
    /// Whoever waits for the outcome of a move.
    mover: Option<mpsc::Sender<MoveReport>>,
    /// Where the next dial goes first.
    preferred: Option<NodeId>,
    /// Whether its silent upstream is dead is being found out.
    looking: Option<Box<evidence::Looking>>,
    /// Its anchored streams, from the first one on.
    media: Option<Box<media::Media>>,
    timer: Timer,
    /// When to give up waiting for the first message or, in a session that is only passed through,
    /// for any.
    heard_by: Option<Timestamp>,
    /// When it is as old as it may be.
    lives_until: Option<Timestamp>,
    /// What its sockets have in buffers.
    buffers: Account,
    /// What the client's socket is, once the core has said so.
    mode: Option<Mode>,
    /// What held when it began.
    limits: Arc<LimitSettings>,
    /// The close frame that one side just sent, as long as the other may have to hear its reason.
    parting: Option<Box<(u16, Box<str>)>>,
    /// The upstream has just closed with a code that says that it goes away.
    is_sent_away: bool,
    waits_for_node: bool,
    began: Timestamp,
    end_cause: EndCause,
    media_lines: events::MediaLines,
    /// What passed through it, where somebody wants to know.
    passage: Option<Box<passage::Passage>>,
    /// Its outages and moves, from the first one on.
    timeline: Option<Box<Timeline>>,
    place: Option<Place>,
    newcomer: Option<Box<Newcomer>>,
}

impl Driver {
    /// A session; it is registered from now on.
    pub(crate) fn new(shared: &Arc<Shared>, beginning: Beginning) -> Self {
        let Beginning { client, client_leftover, client_ip, upstream, request, place, newcomer } = beginning;
        let now = shared.clock.now();
        let registered = place.register(client_ip);
        registered.mailbox.set_place(upstream.node, upstream.address, upstream.seat);
        shared.counts.sessions_begun.inc();
        let core = shared.new_session(
            registered.id,
            (request.identity(), request.pool()),
            (upstream.node, client_ip),
            now,
        );
        let patience = shared.settings.load().listen.idle_before_first_message;
        let limits = shared.limits.load_full();
        Self {
            core,
            registered,
            request,
            client: Some(Side::new(client, Role::Client, &client_leftover)),
            upstream: Some(Side::new(upstream.socket, Role::Server, &upstream.leftover)),
            epoch: Epoch(0),
            beside: None,
            dial: None,
            mover: None,
            preferred: None,
            looking: None,
            media: None,
            timer: Timer::default(),
            lives_until: life_of(limits.session_life_max).map(|life| now + life),
            heard_by: (!patience.is_zero()).then(|| now + patience),
            buffers: Account::new(Arc::clone(&shared.memory)),
            mode: None,
            limits,
            parting: None,
            is_sent_away: false,
            waits_for_node: false,
            began: now,
            end_cause: EndCause::Closed,
            media_lines: events::media_lines(),
            passage: passage::Passage::wanted(),
            timeline: None,
            place: Some(place),
            newcomer: Some(Box::new(newcomer)),
            shared: Arc::clone(shared),
        }
    }

    /// Name of the session.
    pub(crate) const fn id(&self) -> crate::session::SessionId {
        self.registered.id
    }

    fn step(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let now = self.shared.clock.now();
        for _ in 0..ROUNDS_MAX {
            let mut progress = self.take_notes(cx, now);
            progress |= self.poll_dial(cx, now);
            progress |= self.poll_evidence(cx, now);
            progress |= self.poll_media(cx, now);
            progress |= self.read(From::Upstream(self.epoch), cx, scratch, now);
            if let Some(left) = self.left() {
                progress |= self.read(From::Upstream(left), cx, scratch, now);
            }
            progress |= self.read(From::Client, cx, scratch, now);
            // Whoever was not read from because the other side lagged is looked at again.
            let paused = self.is_paused();
            progress |= self.write(cx, now);
            progress |= paused && !self.is_paused();
            if self.client.is_none() {
                self.end();
                return Poll::Ready(());
            }
            match self.state_buffers(cx) {
                Demand::Nothing => {}
                Demand::Close => {
                    self.close_for_memory(now);
                    self.end();
                    return Poll::Ready(());
                }
            }
            if !progress && self.poll_timer(cx, now) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_notes(&mut self, cx: &Context<'_>, now: Timestamp) -> bool {
        let notes = self.registered.mailbox.take(cx.waker());
        let any = !notes.is_empty();
        for note in notes {
            match note {
                Note::Mail(mail) => self.tell(Input::Mail(mail), now),
                Note::NodeUp => {
                    self.waits_for_node = false;
                    self.tell(Input::NodeUp, now);
                }
                Note::PathUp => {
                    self.waits_for_node = false;
                    self.tell(Input::PathUp, now);
                }
                Note::NodeDoubtful => self.tell(Input::NodeDoubtful, now),
                Note::Describe(asker) => {
                    // Who asked made room for every answer, or went away.
                    let _ = asker.try_send(self.core.describe());
                }
                Note::Account(asker) => {
                    let _ = asker.try_send(self.account(now));
                }
                Note::Survey(asker) => {
                    let _ = asker.try_send(self.core.belongings());
                }
                Note::Move(order) => self.order_move(order, now),
                Note::Hold => self.tell(Input::Hold, now),
                Note::LetGo => self.tell(Input::LetGo, now),
                Note::ForceMove { to } => self.leave_for(to, now),
                Note::LeaveForMedia { to } => self.leave_for_media(to, now),
                Note::Record(recording) => {
                    let node = self.registered.mailbox.node();
                    recording.attach_late(&mut self.core, (self.registered.id, node), now);
                }
                Note::Count(counting) => counting.answer(&self.core.tally()),
                Note::Shutdown => self.shut_down(now),
            }
        }
        any
    }

    /// What it is, and what befell it of late.
    fn account(&self, now: Timestamp) -> SessionAccount {
        SessionAccount {
            session: self.core.describe(),
            age: now.since(self.began),
            room_names: SessionSnapshot::room_names(&self.core),
            timeline: Timeline::chapters(self.timeline.as_deref()),
        }
    }

    /// Writes what is queued on both sides; true if one of them turned out to be gone.
    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        if let Some(client) = &mut self.client {
            client.send(cx, &[], now);
            if client.write_failed() {
                self.client_gone(None, now);
                return true;
            }
        }
        if self.write_left(cx, now) {
            return true;
        }
        let Some(upstream) = &mut self.upstream else { return false };
        upstream.send(cx, &[], now);
        let failed = upstream.write_failed();
        if failed {
            self.upstream_gone(LossCause::Reset, now);
        }
        failed
    }

    fn state_buffers(&mut self, cx: &Context<'_>) -> Demand {
        let beside = self.beside.as_ref().map(|beside| &beside.side);
        let sides = [&self.client, &self.upstream].into_iter().flatten().chain(beside);
        let bytes = sides.map(Side::buffered_bytes).sum();
        self.buffers.state(bytes, cx.waker())
    }

    /// The client is gone or told to go: whatever is left of the session ends with it.
    fn end(&mut self) {
        self.dial = None;
        self.core.end_records(self.shared.clock.now());
        if let Some(upstream) = self.upstream.take() {
            closing::close(&self.shared, upstream, Close::NoCode);
        }
        if let Some(beside) = self.beside.take() {
            closing::close(&self.shared, beside.side, Close::NoCode);
        }
        events::ended(self);
    }

    fn stop_waiting(&mut self) {
        if self.waits_for_node {
            self.waits_for_node = false;
            self.shared.pool.stop_waiting(self.id());
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        scratch::with(|scratch| this.step(cx, scratch))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}
