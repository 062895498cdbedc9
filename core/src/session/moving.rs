//! A move: the session goes to another node while its old connection still stands (rule R15). Keeps how far
//! the move has come, and what led before, so that it leads again if the move comes to nothing. What is done
//! at each step is for the session; what becomes of streams, for them.

use super::{
    Epoch, Event, MoveOutcome, NodeId, Output, SessionId, Timestamp,
    directory::{Directory, RoomKey},
    left_behind::Retired,
    outbox::Outbox,
    state::Upstream,
};

/// The move of a session, if it is at one. Most sessions never are, and pay a pointer.
#[derive(Debug, Default)]
pub(super) struct Moving {
    current: Option<Box<Move>>,
    /// A room is waited for, to know where it is, at the longest until then.
    awaits: Option<Box<(RoomKey, Timestamp)>>,
    /// The newest epoch that a connection beside another was given: none is given twice.
    newest: Epoch,
    /// The client's words of meanwhile are to be heard when the outcome is known.
    owes_words: bool,
    /// They are heard where the session is, wherever what they ask for may run: there is no way.
    stays: bool,
    /// A node that could not be reached for their sake: it may be gone.
    gone: Option<NodeId>,
    /// How often they have waited by now.
    waits: u8,
}

/// How often a word of the client waits for a move or a room, before it is heard where the session is.
const WAITS_MAX: u8 = 4;

#[derive(Debug)]
struct Move {
    order: Order,
    /// The connection beside the one that led when the move began.
    epoch: Epoch,
    began: Timestamp,
    /// When the present step is over.
    until: Timestamp,
    step: Step,
    /// The node that it goes to could not be reached, or is lost.
    is_gone: bool,
}

#[derive(Debug)]
enum Step {
    /// The new connection is being made; the old one leads.
    Dialing,
    /// The new connection leads, and is to be proven.
    UnderWay(Left),
    /// The move is made. The old connection stands for those who have not moved yet.
    Lingering(Epoch),
}

/// What a move is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) to: NodeId,
    /// Somebody outside waits for the outcome; else it is made for the sake of the client's word.
    pub(super) reports: bool,
}

impl Order {
    /// Tells whoever waits for it.
    pub(super) fn report(self, out: &mut Outbox, outcome: MoveOutcome) {
        if self.reports {
            out.push(Output::Moved(outcome));
        }
    }
}

/// What led before.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) upstream: Upstream,
    pub(super) retired: Retired,
    /// What its server said of streams and of the session since: the client hears it if this leads again.
    pub(super) words: Vec<Box<[u8]>>,
}

impl Left {
    fn bytes(&self) -> usize {
        let token = self.upstream.token.as_ref().map_or(0, |token| token.len());
        let words = self.words.iter().map(|words| size_of_val(words) + words.len());
        self.retired.bytes() + token + words.sum::<usize>()
    }
}

/// A move that ended, in whichever way.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) order: Order,
    /// The connection that was made for it.
    pub(super) epoch: Epoch,
    pub(super) began: Timestamp,
    /// What led before, if something else leads now.
    pub(super) left: Option<Left>,
    /// The node that it went to could not be reached, or was lost.
    pub(super) is_gone: bool,
}

impl Ended {
    /// Tells of it; `from` is where the session was, `now` when it ended.
    pub(super) fn conclude(&self, (from, now): (NodeId, Timestamp), outcome: MoveOutcome, out: &mut Outbox) {
        let (to, took) = (self.order.to, now.since(self.began));
        out.event(Event::Moved { from, to, outcome: outcome.clone(), took });
        self.order.report(out, outcome);
    }
}

// How far it is.
impl Moving {
    /// Whether another move may begin.
    pub(super) const fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    fn step(&self) -> Option<&Step> {
        self.current.as_ref().map(|current| &current.step)
    }

    /// Whether the new connection leads and is not proven yet.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.step(), Some(Step::UnderWay(_)))
    }

    /// Whether the outcome is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.step(), Some(Step::Dialing | Step::UnderWay(_)))
    }

    /// Whether the client's words wait for the outcome: from the moment that the new connection leads, and in a
    /// move for the sake of such a word from its beginning.
    pub(super) fn holds_client(&self) -> bool {
        let for_a_word = self.current.as_ref().is_some_and(|current| !current.order.reports);
        self.is_under_way() || (for_a_word && self.is_open()) || self.awaits.is_some()
    }

    /// Whether the client's word may have the session go elsewhere.
    pub(super) const fn may_follow(&self) -> bool {
        self.is_idle() && !self.stays && self.waits < WAITS_MAX
    }

    /// Whether this node could not be reached for the sake of a word that is to be heard.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        self.gone == Some(node)
    }

    /// The node that the session goes to cannot be reached, or is lost.
    pub(super) fn node_is_gone(&mut self) {
        if let Some(current) = &mut self.current {
            current.is_gone = true;
        }
    }

    /// A move for the sake of the client's word came to nothing: the words are heard where it is, unless what they
    /// ask for is on its way to another node.
    pub(super) fn stay(&mut self, ended: &Ended) {
        if ended.is_gone && !ended.order.reports {
            self.gone = Some(ended.order.to);
        } else {
            self.stays |= !ended.order.reports;
        }
    }

    /// The client's words wait until it is known where this room is.
    pub(super) fn await_room(&mut self, room: RoomKey, until: Timestamp) {
        self.waits = self.waits.saturating_add(1);
        self.awaits = Some(Box::new((room, until)));
    }

    /// Whether they do.
    pub(super) const fn awaits_room(&self) -> bool {
        self.awaits.is_some()
    }

    /// It is known.
    pub(super) fn room_is_settled(&mut self, room: RoomKey) {
        self.awaits.take_if(|awaited| awaited.0 == room);
    }

    /// It is not waited for any longer: the words are heard where the session is.
    pub(super) fn await_no_room(&mut self, id: SessionId, directory: &mut dyn Directory) {
        if let Some(awaited) = self.awaits.take() {
            self.stays = true;
            directory.stop_awaiting_room(awaited.0, id);
        }
    }

    /// They were, unless they wait again.
    pub(super) fn words_are_heard(&mut self) {
        if !self.holds_client() {
            (self.stays, self.gone, self.waits) = (false, None, 0);
        }
    }

    /// The connection that is being made beside the one that leads.
    pub(super) fn dialing(&self) -> Option<Epoch> {
        let current = self.current.as_ref()?;
        matches!(current.step, Step::Dialing).then_some(current.epoch)
    }

    /// The connection that led before and still stands.
    pub(super) fn left(&self) -> Option<Epoch> {
        match self.step()? {
            Step::Dialing => None,
            Step::UnderWay(left) => Some(left.upstream.epoch),
            Step::Lingering(epoch) => Some(*epoch),
        }
    }

    /// The client said something that waits for the outcome.
    pub(super) const fn owe_words(&mut self) {
        self.owes_words = true;
    }

    /// The outcome is known, and the client's words are to be heard; said once.
    pub(super) fn frees_words(&mut self) -> bool {
        !self.holds_client() && std::mem::take(&mut self.owes_words)
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let of_move = self.current.as_ref().map(|current| current.until);
        of_move.into_iter().chain(self.awaits.as_ref().map(|awaited| awaited.1)).min()
    }

    /// What it keeps, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let of_left = if let Some(Step::UnderWay(left)) = self.step() { left.bytes() } else { 0 };
        of_left
            + self.current.as_deref().map_or(0, size_of_val)
            + self.awaits.as_deref().map_or(0, size_of_val)
    }
}

// What happens to it.
impl Moving {
    /// The epoch of the next connection of a session whose leading one has this.
    pub(super) fn epoch_after(&self, leading: Epoch) -> Epoch {
        Epoch(leading.max(self.newest).0.wrapping_add(1))
    }

    /// A connection is to be made beside the leading one, whose epoch is this; which epoch it has.
    pub(super) fn begin(&mut self, order: Order, leading: Epoch, now: Timestamp, until: Timestamp) -> Epoch {
        let epoch = self.epoch_after(leading);
        self.newest = epoch;
        self.waits = self.waits.saturating_add(u8::from(!order.reports));
        let step = Step::Dialing;
        self.current = Some(Box::new(Move { order, epoch, began: now, until, step, is_gone: false }));
        epoch
    }

    /// The new connection leads from now on, and this did before.
    pub(super) fn sets_out(&mut self, upstream: Upstream, retired: Retired) {
        if let Some(current) = &mut self.current {
            current.step = Step::UnderWay(Left { upstream, retired, words: Vec::new() });
        }
    }

    /// The connection that led before was heard.
    pub(super) fn left_heard(&mut self, now: Timestamp) {
        if let Some(Step::UnderWay(left)) = self.current.as_mut().map(|current| &mut current.step) {
            left.upstream.silence.heard(now);
        }
    }

    /// How many words of it are kept.
    pub(super) fn words(&self) -> usize {
        if let Some(Step::UnderWay(left)) = self.step() { left.words.len() } else { 0 }
    }

    /// Its server said this.
    pub(super) fn keep_word(&mut self, word: Box<[u8]>) {
        if let Some(Step::UnderWay(left)) = self.current.as_mut().map(|current| &mut current.step) {
            left.words.push(word);
        }
    }

    /// The move is made, or comes to nothing: nothing of it is left.
    pub(super) fn end(&mut self) -> Option<Ended> {
        let Move { order, epoch, began, step, is_gone, .. } = *self.current.take()?;
        let left = if let Step::UnderWay(left) = step { Some(left) } else { None };
        Some(Ended { order, epoch, began, left, is_gone })
    }

    /// The move was made; the connection that led before stands until then.
    pub(super) fn linger(&mut self, ended: &Ended, until: Timestamp) {
        let Some(left) = &ended.left else { return };
        let step = Step::Lingering(left.upstream.epoch);
        let (order, epoch, began) = (ended.order, ended.epoch, ended.began);
        self.current = Some(Box::new(Move { order, epoch, began, until, step, is_gone: false }));
    }

    /// What lingers is to stand until then.
    pub(super) fn hold(&mut self, until: Timestamp) {
        if let Some(current) =
            self.current.as_mut().filter(|current| matches!(current.step, Step::Lingering(_)))
        {
            current.until = current.until.max(until);
        }
    }

    /// The session ends: which connections besides the leading one end with it.
    pub(super) fn end_with_session(&mut self, out: &mut Outbox) -> Option<Epoch> {
        let beside = self.dialing().or_else(|| self.left());
        let is_open = self.is_open();
        if let Some(ended) = self.end().filter(|_| is_open) {
            ended.order.report(out, MoveOutcome::Returned("the session ended".to_owned()));
        }
        beside
    }

    /// The connection that lingers, to be let go.
    pub(super) fn let_go(&mut self) -> Option<Epoch> {
        if !matches!(self.step(), Some(Step::Lingering(_))) {
            return None;
        }
        let epoch = self.left();
        self.current = None;
        epoch
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ORDER: Order = Order { to: NodeId(1), reports: true };

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn no_epoch_is_given_twice() {
        let mut moving = Moving::default();
        assert_eq!(moving.begin(ORDER, Epoch(3), at(0), at(10)), Epoch(4));
        assert!(moving.end().unwrap().left.is_none(), "it never led");
        assert_eq!(moving.epoch_after(Epoch(3)), Epoch(5));
        assert_eq!(moving.epoch_after(Epoch(7)), Epoch(8));
    }

    #[test]
    fn what_led_before_comes_back_with_what_it_said() {
        let mut moving = Moving::default();
        moving.begin(ORDER, Epoch(0), at(0), at(10));
        assert!(moving.is_open() && !moving.holds_client() && moving.left().is_none());
        let before = moving.bytes();
        moving.sets_out(Upstream::first(at(0)), Retired::default());
        moving.keep_word(b"word".as_slice().into());
        assert!(moving.holds_client() && moving.bytes() > before + 4 && moving.words() == 1);
        assert_eq!((moving.left(), moving.dialing()), (Some(Epoch(0)), None));
        let left = moving.end().unwrap().left.unwrap();
        assert_eq!((left.upstream.epoch, left.words), (Epoch(0), vec![b"word".as_slice().into()]));
        assert!(moving.is_idle() && moving.bytes() == 0);
    }

    #[test]
    fn what_lingers_is_let_go_once() {
        let mut moving = Moving::default();
        moving.begin(ORDER, Epoch(0), at(0), at(10));
        moving.sets_out(Upstream::first(at(0)), Retired::default());
        let ended = moving.end().unwrap();
        moving.linger(&ended, at(20));
        assert!(!moving.is_open() && !moving.is_idle());
        assert_eq!((moving.left(), moving.deadline()), (Some(Epoch(0)), Some(at(20))));
        moving.hold(at(30));
        moving.hold(at(25));
        assert_eq!(moving.deadline(), Some(at(30)));
        assert_eq!(moving.let_go(), Some(Epoch(0)));
        assert!(moving.let_go().is_none() && moving.is_idle());
    }
}
