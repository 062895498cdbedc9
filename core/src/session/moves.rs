//! A session moves to another node: it makes before it breaks (rule R15). The new connection is made while
//! all goes on, then it leads and is proven as after an outage; until then the old one is untouched and leads
//! again whatever goes wrong. The client hears nothing of either, and what it says meanwhile waits for the
//! outcome.

use std::time::Duration;

use crate::signaling::{ClientMessage, ServerMessage, peek_into, synthetic};

use super::{
    Close, Event, LossCause, MoveOutcome, NodeId, Output,
    core::{Lent, Session},
    directory::{Directory, RoomPlace},
    link::{Link, Outage, Stage},
    moving::Order,
    packed::Packed,
    rooms::Rooms,
    state::Upstream,
    streams::Streams,
};

/// Why a move comes to nothing whose time is over.
pub(super) const TIME_IS_OVER: &str = "restore.move_timeout_ms is over";

impl Session {
    /// Why it cannot move unseen now.
    pub(super) fn bound_by(&self) -> Option<&'static str> {
        let client = &self.client;
        // What waits for a move binds nothing.
        let words = if self.moving.holds_client() { 0 } else { self.held_back.messages() };
        let waiting = self.requests.len() + self.held_back.events() + words;
        match self.link {
            Link::Up if client.connection.is_none() || !client.established => Some("not established"),
            Link::Up if client.keep_alive => Some("keepAlive"),
            // Two registrations of one login at a SIP server undo each other.
            Link::Up if client.registered => Some("registration"),
            Link::Up if self.rooms.len() > 0 => Some("room"),
            Link::Up if self.calls.len() > 0 => Some("call"),
            Link::Up if waiting > 0 => Some("request"),
            Link::Up if self.moving.awaits_room() => Some("request"),
            Link::Up if self.restart.deadline().is_some() => Some("restart"),
            Link::Up => self.streams.table.bound_by(&self.settings),
            Link::First => Some("not established"),
            Link::Down(_) => Some("outage"),
            Link::PassedThrough | Link::Ended => Some("passed through"),
        }
    }

    /// It is to go to another node, if it can unseen.
    pub(super) fn begin_move(&mut self, order: Order) {
        let reason = if !self.moving.is_idle() {
            Some("moving")
        } else if self.upstream.node == order.to {
            Some(MoveOutcome::THERE_ALREADY)
        } else {
            self.bound_by()
        };
        if let Some(reason) = reason {
            return order.report(&mut self.out, MoveOutcome::Refused(reason));
        }
        let until = self.now + self.settings.restore.move_timeout;
        let epoch = self.moving.begin(order, self.upstream.epoch, self.now, until);
        self.out.push(Output::DialBeside { epoch, node: order.to });
    }

    /// A session without streams goes to the node where the stream runs that its client asks for, or where the
    /// room is that it joins (rule R16): then this message waits for the outcome. Where all who are in the room have
    /// lost their node, it waits for the first of them to be back. False: it goes to the server that the session
    /// has.
    pub(super) fn follows(
        &mut self,
        message: ClientMessage<'_>,
        text: &[u8],
        directory: &mut dyn Directory,
    ) -> bool {
        let may = self.settings.locality && self.moving.may_follow() && self.streams.table.len() == 0;
        if !may || self.bound_by().is_some() {
            return false;
        }
        let mut ctx = self.lend(directory).ctx;
        let id = ctx.id;
        let elsewhere = match message {
            ClientMessage::PublishStream(request) | ClientMessage::PlayStream(request) => {
                ctx.runs_elsewhere(&request.name().unwrap_or_default()).map(|holder| holder.node)
            }
            ClientMessage::SendData(data) => match Rooms::place_to_join(&mut ctx, data) {
                None | Some((_, RoomPlace::Here)) => None,
                // Those who are there are about to lose it as well.
                Some((key, RoomPlace::Elsewhere(node))) if self.moving.is_gone(node) => {
                    if !directory.await_room(key, id) {
                        return false;
                    }
                    self.moving.await_room(key, self.now + self.settings.restore.move_timeout);
                    return self.waits_for_move(text, directory);
                }
                Some((_, RoomPlace::Elsewhere(node))) => Some(node),
                Some((key, RoomPlace::Returning)) => {
                    self.moving.await_room(key, self.now + self.settings.hold.time_max);
                    return self.waits_for_move(text, directory);
                }
            },
            _ => None,
        };
        let Some(to) = elsewhere.filter(|node| !self.moving.is_gone(*node)) else { return false };
        self.begin_move(Order { to, reports: false });
        self.waits_for_move(text, directory)
    }

    /// The connection beside the leading one stands: from now on it leads, unless something binds the
    /// session by now.
    pub(super) fn beside_opened(&mut self, node: NodeId) {
        let bound = self.bound_by();
        let connection = self.client.connection.as_ref().map(Packed::unpack);
        let (None, Some(connection)) = (bound, connection) else {
            if let Some(ended) = self.moving.end() {
                self.out.push(Output::CloseUpstream(ended.epoch, Close::NoCode));
                self.moving.stay(&ended);
                ended.order.report(&mut self.out, MoveOutcome::Refused(bound.unwrap_or("not established")));
            }
            return;
        };
        let (Some(epoch), Some(until)) = (self.moving.dialing(), self.moving.deadline()) else { return };
        let before = std::mem::replace(&mut self.upstream, Upstream::opened((epoch, node), None, self.now));
        self.moving.sets_out(before, std::mem::take(&mut self.retired));
        self.link = Link::Down(Outage { since: self.now, stage: Stage::Connecting { until } });
        self.out.push(Output::Lead(epoch));
        self.out.say_upstream(connection);
    }

    /// What follows from an input for a move whose outcome was open: when all is proven it is made, and when
    /// the outcome is known the client's words are heard.
    pub(super) fn move_goes_on(&mut self, directory: &mut dyn Directory) {
        if self.moving.is_under_way() && self.link.is_up() && self.streams.table.have_arrived() {
            self.move_is_made(directory);
        }
        if self.moving.frees_words() {
            self.hear_first_words(directory);
            self.moving.words_are_heard();
        }
        if self.streams.reunion.take_stray() {
            // Rooms lead before streams do; the rest would be seen.
            let client = &self.client;
            let is_bound =
                self.rooms.len() > 0 || self.calls.len() > 0 || client.keep_alive || client.registered;
            let may_go = self.link.is_up() && self.moving.is_idle() && !is_bound;
            if may_go && self.streams.table.may_all_go() && self.streams.reunion.may_follow(self.now) {
                self.force_move(directory);
            }
        }
    }

    fn move_is_made(&mut self, directory: &mut dyn Directory) {
        let Some(ended) = self.moving.end() else { return };
        let Some(left) = &ended.left else { return };
        ended.conclude((left.upstream.node, self.now), MoveOutcome::Done, &mut self.out);
        self.moving.linger(&ended, self.now + self.settings.restore.move_hold);
        if !self.streams.table.are_needed_there() || self.settings.restore.move_hold.is_zero() {
            self.let_go(directory);
        }
    }

    /// The connection that led before the move is let go, as a client lets go that leaves.
    pub(super) fn let_go(&mut self, directory: &mut dyn Directory) {
        if let Some(epoch) = self.moving.let_go() {
            self.kept.touch();
            self.with_streams(directory, |streams, ctx| streams.table.let_go(ctx));
            self.out.push(Output::CloseUpstream(epoch, Close::NoCode));
        }
    }

    /// A move whose outcome is open comes to nothing: what led before leads again, as if nothing had been. Nor is it
    /// waited any longer to know where a room is.
    pub(super) fn return_from_move(&mut self, reason: &str, directory: &mut dyn Directory) {
        self.moving.await_no_room(self.id, directory);
        if !self.moving.is_open() {
            return;
        }
        let Some(mut ended) = self.moving.end() else { return };
        self.kept.touch();
        let mut words = Vec::new();
        if let Some(left) = ended.left.take() {
            self.held_back.drop_events();
            (self.upstream, self.retired, words) = (left.upstream, left.retired, left.words);
            self.link = Link::Up;
            self.out.push(Output::Lead(self.upstream.epoch));
            self.out.push_some(self.client.route(&self.upstream));
            self.with_streams(directory, Streams::come_back);
            let Lent { calls, mut ctx, .. } = self.lend(directory);
            calls.finish(&mut ctx);
        }
        self.moving.stay(&ended);
        self.out.push(Output::CloseUpstream(ended.epoch, Close::NoCode));
        let outcome = MoveOutcome::Returned(reason.to_owned());
        ended.conclude((self.upstream.node, self.now), outcome, &mut self.out);
        // What its server said meanwhile is heard as if said now.
        for word in words {
            if self.link.is_over() {
                return;
            }
            let before = self.out.len();
            self.upstream_text(&word, directory);
            self.out.forward_to_client_since(before, &word);
        }
    }

    /// What the server of the connection says that led before. Its pings are answered; what it says of
    /// streams or of the session waits for the outcome, and concerns nobody once the move is made; the rest
    /// is for the client in any case.
    pub(super) fn left_says(&mut self, text: &[u8], directory: &mut dyn Directory) {
        self.moving.left_heard(self.now);
        let Ok(peek) = peek_into(text, ServerMessage::is_looked_into) else {
            return self.out.forward_to_client();
        };
        match ServerMessage::of(&peek) {
            ServerMessage::Ping => return self.out.push(Output::SendLeft(synthetic::pong())),
            ServerMessage::Other | ServerMessage::DataEvent(_) | ServerMessage::DataStatus(_) => {
                return self.out.forward_to_client();
            }
            _ if !self.moving.is_under_way() => return,
            // It can be taken on this connection alone.
            ServerMessage::IncomingCall(_) => {}
            _ if self.moving.words() < self.settings.bounds.pending_requests_max => {
                if let Some(word) = self.lend(directory).ctx.kept_message(0, text) {
                    return self.moving.keep_word(word);
                }
            }
            _ => {}
        }
        self.return_from_move("the node that is left has too much to say", directory);
        self.upstream_text(text, directory);
    }

    /// The connection that led before is gone. What is not proven yet is an ordinary way back from now on.
    pub(super) fn left_lost(&mut self, cause: LossCause, directory: &mut dyn Directory) {
        self.kept.touch();
        let Some(ended) = self.moving.end() else { return };
        let Some(left) = &ended.left else {
            // The move was made.
            return self.with_streams(directory, |streams, ctx| streams.table.let_go(ctx));
        };
        let outcome = MoveOutcome::Returned(format!("the connection that was left ended: {cause:?}"));
        ended.conclude((left.upstream.node, self.now), outcome, &mut self.out);
        let stayed = self.now.since(left.upstream.established_at) >= self.settings.restore.stable_after;
        self.attempts.lost(stayed);
        self.attempts.dial();
        self.out.event(Event::UpstreamLost { cause, streams: self.streams.table.len() });
        if self.link.is_up() {
            let (outage, tries) = (Duration::ZERO, self.attempts.tries);
            self.out.event(Event::SessionRestored { outage, tries });
            return self.with_streams(directory, |streams, ctx| streams.table.lose_left(ctx));
        }
        let until = self.now + self.settings.restore.answer_timeout;
        self.link = Link::Down(Outage { since: self.now, stage: Stage::Connecting { until } });
        self.lend(directory).lose_upstream();
    }

    /// What the client says while a move is under way waits for its outcome, within the bounds of what is
    /// held in an outage; past them the move is given up. False: it does not wait.
    pub(super) fn waits_for_move(&mut self, text: &[u8], directory: &mut dyn Directory) -> bool {
        if !self.moving.holds_client() {
            return false;
        }
        let fits = self.held_back.full(text.len(), &self.settings.hold).is_none();
        let message = if fits { self.lend(directory).ctx.kept_message(0, text) } else { None };
        let Some(message) = message else {
            self.return_from_move("the client has too much to say", directory);
            self.move_goes_on(directory);
            return false;
        };
        let until = self.moving.deadline().unwrap_or(self.now) + self.settings.hold.time_max;
        self.held_back.hold_message(until, message);
        self.moving.owe_words();
        true
    }

    /// It has to leave its node, seen or not: an outage is begun on purpose.
    pub(super) fn force_move(&mut self, directory: &mut dyn Directory) {
        if !matches!(self.link, Link::Up | Link::First) && !self.moving.is_under_way() {
            return;
        }
        self.return_from_move("it has to leave at once", directory);
        self.let_go(directory);
        self.out.push(Output::CloseUpstream(self.upstream.epoch, Close::NoCode));
        self.upstream_lost(LossCause::Left, directory);
    }
}
