//! The sessions that live now: their number, and how to reach each.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{
    address::Counted,
    ids::NodeId,
    limits::FilesHeld,
    session::{Belongings, Mail, MoveOutcome, SessionId, SessionSnapshot},
    upstream::{Seat, Waits},
};

use super::{census::Counting, ledger::SessionAccount, recordings::Recording, shared::empty};

/// Most notes that wait for one session. It takes them as soon as it is polled, so only one that
/// is stuck gets there; what exceeds it is dropped.
pub(crate) const NOTES_MAX: usize = 1024;

/// Something a session is told from within the process.
#[derive(Debug)]
pub(crate) enum Note {
    /// From another session.
    Mail(Mail),
    /// A node answers that could not be reached.
    NodeUp,
    /// The path where the session was refused is open again.
    PathUp,
    /// The session's node does not answer others.
    NodeDoubtful,
    /// Say what you are.
    Describe(mpsc::Sender<SessionSnapshot>),
    /// Say what you are and what befell you of late.
    Account(mpsc::Sender<SessionAccount>),
    /// Say what you have, and whether you can move.
    Survey(mpsc::Sender<Belongings>),
    /// Go to another node while the old connection stands, if you can unseen.
    Move(MoveOrder),
    /// Those who need the connection that you left have not moved yet.
    Hold,
    /// Those who needed the connection that you left have moved.
    LetGo,
    /// Leave your node now, seen or not.
    ForceMove {
        /// Where to, if it can be reached.
        to: NodeId,
    },
    /// Your node does not pass your media: go to another if that costs you nothing else.
    LeaveForMedia {
        /// Where to, if it can be reached.
        to: NodeId,
    },
    /// Write down from now on what you are told and decide, if this is meant for you.
    Record(Arc<Recording>),
    /// Say what you have.
    Count(Arc<Counting>),
    /// The process ends.
    Shutdown,
}

/// A session is to go to another node.
#[derive(Debug)]
pub(crate) struct MoveOrder {
    /// Where to.
    pub(crate) to: NodeId,
    /// Who hears the outcome, once; it is dropped unsaid by a session that is gone.
    pub(crate) report: mpsc::Sender<MoveReport>,
}

/// What became of a move.
#[derive(Debug)]
pub(crate) struct MoveReport {
    /// Whose.
    pub(crate) session: SessionId,
    /// What.
    pub(crate) outcome: MoveOutcome,
}

#[derive(Debug, Default)]
struct Notes {
    waiting: Vec<Note>,
    waker: Option<Waker>,
}

/// Where a connection of a session goes.
#[derive(Debug)]
pub(crate) struct At {
    /// The node.
    pub(crate) node: NodeId,
    /// Which of its addresses.
    pub(crate) address: Option<SocketAddr>,
    /// The session's place there.
    pub(crate) seat: Option<Seat>,
}

/// How to reach a session. Small: every session has one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    client: IpAddr,
    notes: Mutex<Notes>,
    node: AtomicU32,
    in_outage: AtomicBool,
    /// Of the node's addresses, the one that the session is connected to.
    address: Mutex<Option<SocketAddr>>,
    /// Its place there, until that is lost.
    seat: Mutex<Option<Seat>>,
}

impl Mailbox {
    fn of(client: IpAddr) -> Self {
        Self {
            client,
            notes: Mutex::default(),
            node: AtomicU32::default(),
            in_outage: AtomicBool::default(),
            address: Mutex::default(),
            seat: Mutex::default(),
        }
    }

    /// The address of its client.
    pub(crate) const fn client(&self) -> IpAddr {
        self.client
    }

    /// Leaves a note and wakes the session.
    pub(crate) fn post(&self, note: Note) {
        let waker = {
            let mut notes = self.notes.lock();
            if notes.waiting.len() >= NOTES_MAX {
                tracing::warn!("a session does not take its notes; one was dropped");
                return;
            }
            notes.waiting.push(note);
            notes.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all notes; if there are none, `waker` is woken by the next.
    pub(crate) fn take(&self, waker: &Waker) -> Vec<Note> {
        let mut notes = self.notes.lock();
        if notes.waiting.is_empty() && !notes.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            notes.waker = Some(waker.clone());
        }
        std::mem::take(&mut notes.waiting)
    }

    /// The node the session is connected to.
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.node.load(Ordering::Relaxed))
    }

    /// Whether the session is without its upstream.
    pub(crate) fn is_in_outage(&self) -> bool {
        self.in_outage.load(Ordering::Relaxed)
    }

    /// States whether it is.
    pub(crate) fn set_in_outage(&self, in_outage: bool) {
        self.in_outage.store(in_outage, Ordering::Relaxed);
        if in_outage {
            // Its node has one session less, wherever it goes.
            self.seat.lock().take();
        }
    }

    /// The address of that node it is connected to.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock()
    }

    /// States the node and the address the session is connected to; `seat` is its place there.
    pub(crate) fn set_place(&self, node: NodeId, address: SocketAddr, seat: Option<Seat>) {
        self.node.store(node.0, Ordering::Relaxed);
        *self.address.lock() = Some(address);
        *self.seat.lock() = seat;
    }

    /// As [`Mailbox::set_place`], for a session that has two: where it was connected before.
    pub(crate) fn swap_place(&self, at: At) -> At {
        let node = self.node.swap(at.node.0, Ordering::Relaxed);
        let address = std::mem::replace(&mut *self.address.lock(), at.address);
        let seat = std::mem::replace(&mut *self.seat.lock(), at.seat);
        At { node: NodeId(node), address, seat }
    }
}

impl Waits for Mailbox {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn node_up(&self) {
        self.post(Note::NodeUp);
    }

    fn path_up(&self) {
        self.post(Note::PathUp);
    }
}

/// Asks each of these sessions and collects what they answer within this time, in the order in which they do.
/// Whoever is stuck or has ended is left out.
pub(crate) async fn ask<'a, T>(
    sessions: impl ExactSizeIterator<Item = &'a Arc<Mailbox>>,
    question: impl Fn(mpsc::Sender<T>) -> Note,
    time_max: Duration,
) -> Vec<T> {
    let (answers, mut answered) = mpsc::channel(sessions.len().max(1));
    for mailbox in sessions {
        mailbox.post(question(answers.clone()));
    }
    drop(answers);
    let mut all = Vec::new();
    let collect = async {
        while let Some(answer) = answered.recv().await {
            all.push(answer);
        }
    };
    let _ = timeout(time_max, collect).await;
    all
}

/// All live sessions, and the places still free.
#[derive(Debug)]
pub(crate) struct Live {
    mailboxes: DashMap<SessionId, Arc<Mailbox>>,
    next_id: AtomicU64,
    taken: AtomicUsize,
    places: AtomicUsize,
    /// Whoever has a place.
    occupants: TaskTracker,
}

impl Live {
    /// Room for this many sessions, waiting handshakes included.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            mailboxes: DashMap::new(),
            next_id: AtomicU64::new(1),
            taken: AtomicUsize::new(0),
            places: AtomicUsize::new(places),
            occupants: TaskTracker::new(),
        })
    }

    /// A place for one more session, if there is one.
    pub(crate) fn take_place(self: &Arc<Self>, files: FilesHeld, address: Option<Counted>) -> Option<Place> {
        let more = |taken: usize| (taken < self.places()).then(|| taken.saturating_add(1));
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        let occupant = self.occupants.token();
        Some(Place { live: Arc::clone(self), _files: files, _address: address, _occupant: occupant })
    }

    /// Places taken now: sessions, media sockets and waiting handshakes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether no place is left.
    pub(crate) fn is_full(&self) -> bool {
        self.taken() >= self.places()
    }

    /// Places there are.
    pub(crate) fn places(&self) -> usize {
        self.places.load(Ordering::Acquire)
    }

    /// So many places there are from now on; whoever has one keeps it.
    pub(crate) fn set_places(&self, places: usize) {
        self.places.store(places, Ordering::Release);
    }

    /// How many sessions are on a node, those included that were there when they lost it.
    pub(crate) fn on_node(&self, node: NodeId) -> usize {
        self.mailboxes.iter().filter(|mailbox| mailbox.node() == node).count()
    }

    /// Those that came after this one and fit, in the order of their coming.
    pub(crate) fn after(
        &self,
        after: SessionId,
        fits: impl Fn(&Mailbox) -> bool,
    ) -> Vec<(SessionId, Arc<Mailbox>)> {
        let later = self.mailboxes.iter().filter(|entry| *entry.key() > after && fits(entry.value()));
        let mut all: Vec<_> = later.map(|entry| (*entry.key(), Arc::clone(entry.value()))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// How to reach each of them.
    pub(crate) fn all_on_node(&self, node: NodeId) -> Vec<Arc<Mailbox>> {
        let there = self.mailboxes.iter().filter(|mailbox| mailbox.node() == node);
        there.map(|mailbox| Arc::clone(&mailbox)).collect()
    }

    /// Number of signaling sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.mailboxes.len()
    }

    /// How many of them are in an outage.
    pub(crate) fn outages(&self) -> usize {
        self.mailboxes.iter().filter(|mailbox| mailbox.is_in_outage()).count()
    }

    /// How to reach a session, while it lives.
    pub(crate) fn mailbox(&self, session: SessionId) -> Option<Arc<Mailbox>> {
        self.mailboxes.get(&session).map(|mailbox| Arc::clone(&mailbox))
    }

    /// Tells every session.
    pub(crate) fn post_to_all(&self, note: impl Fn() -> Note) {
        let all: Vec<Arc<Mailbox>> = self.mailboxes.iter().map(|entry| Arc::clone(&entry)).collect();
        for mailbox in all {
            mailbox.post(note());
        }
    }

    /// How to reach at most `max` sessions: those in an outage before the others, the oldest first.
    pub(crate) fn some(&self, max: usize) -> Vec<Arc<Mailbox>> {
        let mut all: Vec<(bool, SessionId, Arc<Mailbox>)> = self
            .mailboxes
            .iter()
            .map(|entry| (!entry.is_in_outage(), *entry.key(), Arc::clone(&entry)))
            .collect();
        if max < all.len() {
            all.select_nth_unstable_by_key(max, |(is_up, id, _)| (*is_up, id.0));
        }
        all.into_iter().take(max).map(|(_, _, mailbox)| mailbox).collect()
    }

    /// Completes when no place is taken.
    pub(crate) async fn empty(&self) {
        empty(&self.occupants).await;
    }
}

/// The place of one session, waiting handshake or media socket; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    live: Arc<Live>,
    _files: FilesHeld,
    /// Among the sessions of its client's address.
    _address: Option<Counted>,
    _occupant: TaskTrackerToken,
}

impl Place {
    /// Enters a session into the list.
    pub(crate) fn register(&self, client: IpAddr) -> Registered {
        let id = SessionId(self.live.next_id.fetch_add(1, Ordering::Relaxed));
        let mailbox = Arc::new(Mailbox::of(client));
        self.live.mailboxes.insert(id, Arc::clone(&mailbox));
        Registered { live: Arc::clone(&self.live), id, mailbox }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A session's entry in the list; gone when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    live: Arc<Live>,
    /// The name of the session.
    pub(crate) id: SessionId,
    /// How it is reached.
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.live.mailboxes.remove(&self.id);
    }
}
