//! Carrying out what the core orders.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    net::{closing, live::Note},
    session::{Close, Epoch, Event, Input, Mode, NodeId, Output, Priority, Timestamp},
    telemetry::timeline::Timeline,
    upstream::{DialFailure, Dialed},
    wire::{
        side::Side,
        websocket::{Opcode, Role},
    },
};

use super::{Dialing, Driver, events::EndCause};

impl Driver {
    /// Gives the core an input that is no frame, and carries out what it orders.
    pub(super) fn tell(&mut self, input: Input<'_>, now: Timestamp) {
        self.core.handle(input, now);
        let orders = self.core.take_outputs();
        if self.is_passed_through() {
            return;
        }
        for order in orders {
            self.carry_out(order);
        }
    }

    /// Carries out one order; forwarding is not for here.
    pub(super) fn carry_out(&mut self, order: Output) {
        match order {
            Output::ForwardToUpstream | Output::ForwardToClient => {
                tracing::error!(session = %self.id(), "an order to forward without a frame");
            }
            Output::SendToClient(text) => {
                with(&mut self.client, |side| side.queue_message(Opcode::Text, &text))
            }
            Output::SendToUpstream(text) => {
                with(&mut self.upstream, |side| side.queue_message(Opcode::Text, &text));
            }
            Output::PingClient => with(&mut self.client, |side| side.queue_message(Opcode::Ping, &[])),
            Output::PingUpstream => with(&mut self.upstream, |side| side.queue_message(Opcode::Ping, &[])),
            Output::Dial { epoch, priority, toward } => self.dial(epoch, priority, toward),
            Output::DialBeside { epoch, node } => self.dial_beside(epoch, node),
            Output::Lead(epoch) => self.lead(epoch),
            Output::SendLeft(text) => {
                if let Some(left) = &mut self.beside {
                    left.side.queue_message(Opcode::Text, &text);
                }
            }
            Output::UpstreamDoubtful(epoch) => self.look_for_evidence(epoch),
            Output::Moved(outcome) => self.report_move(outcome),
            Output::CloseUpstream(epoch, close) => self.close_upstream(epoch, close),
            Output::CloseClient(close) => self.close_client(close),
            Output::Post(to, mail) => {
                if let Some(mailbox) = self.shared.live.mailbox(to) {
                    mailbox.post(Note::Mail(mail));
                }
            }
            Output::Media(command) => self.command_media(command),
            Output::RouteMediaSockets { token, epoch, upstream_token } => {
                self.shared.media_routes.set(&token, self.id(), epoch, upstream_token);
            }
            Output::ForgetMediaSockets { token } => self.shared.media_routes.remove(&token, self.id()),
            Output::Event(event) => {
                // The server has taken it, or nobody can say whether it has.
                if matches!(event, Event::SessionUp { .. } | Event::PassedThrough { .. }) {
                    self.newcomer = None;
                }
                self.log(&event);
            }
            // The first words of the client waited for an upstream.
            Output::Mode(Mode::PassedThrough) => self.pass_through(self.shared.clock.now()),
            Output::Mode(Mode::Session | Mode::MediaSocket) => {
                tracing::error!(session = %self.id(), "a mode without a message");
            }
        }
    }

    fn dial(&mut self, epoch: Epoch, priority: Priority, toward: Option<NodeId>) {
        self.stop_waiting();
        let (pool, request) = (Arc::clone(&self.shared.pool), Arc::clone(&self.request));
        let toward = toward.filter(|node| pool.is_usable(*node));
        // Where those are whom it belongs to goes before where it was sent: it was sent there to meet them.
        let (sent, from) = (self.preferred.take(), self.registered.mailbox.node());
        let preferred = toward.or(sent);
        let is_sent_away = self.is_sent_away;
        let task = Box::pin(async move {
            if is_sent_away {
                pool.wait_for_others_who_leave(from).await;
            }
            if let Some(node) = preferred
                && let Ok(dialed) = pool.move_to(node, &request).await
            {
                return Ok(dialed);
            }
            pool.redial(&request, priority, from).await
        });
        self.dial = Some(Dialing { epoch, is_beside: false, task });
    }

    /// True if a dial has ended.
    pub(super) fn poll_dial(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(Dialing { epoch, is_beside, task }) = &mut self.dial else { return false };
        let (epoch, is_beside) = (*epoch, *is_beside);
        let Poll::Ready(result) = task.as_mut().poll(cx) else { return false };
        self.dial = None;
        match result {
            Ok(dialed) if is_beside => self.beside_opened(epoch, dialed, now),
            Err(failure) if is_beside => self.tell(Input::DialFailed(epoch, failure.into()), now),
            Ok(dialed) => self.upstream_opened(epoch, dialed, now),
            Err(failure) => self.dial_failed(epoch, failure, now),
        }
        true
    }

    fn upstream_opened(&mut self, epoch: Epoch, dialed: Dialed, now: Timestamp) {
        self.stop_waiting();
        self.registered.mailbox.set_place(dialed.node, dialed.address, dialed.seat);
        let node = dialed.node;
        Timeline::connected(&mut self.timeline, &self.shared.pool.node_name(node), now);
        self.epoch = epoch;
        self.upstream = Some(Side::new(dialed.socket, Role::Server, &dialed.leftover));
        self.tell(Input::UpstreamOpened(epoch, node), now);
    }

    fn dial_failed(&mut self, epoch: Epoch, failure: DialFailure, now: Timestamp) {
        self.waits_for_node = true;
        let (pool, mailbox) = (&self.shared.pool, Arc::clone(&self.registered.mailbox));
        pool.wait_after(&failure, self.id(), mailbox, &self.request);
        self.tell(Input::DialFailed(epoch, failure.into()), now);
    }

    fn close_upstream(&mut self, epoch: Epoch, close: Close) {
        if self.dial.as_ref().is_some_and(|dialing| dialing.epoch == epoch) {
            self.dial = None;
        }
        if let Some(beside) = self.beside.take_if(|beside| beside.epoch == epoch) {
            self.part(beside.side, close, ());
        }
        if self.epoch == epoch
            && let Some(side) = self.upstream.take()
        {
            self.part(side, close, ());
        }
    }

    /// Ends a connection, for the reason that the other side gave if it ends like that; `held` is given back
    /// when it is over.
    pub(super) fn part(&self, mut side: Side, close: Close, held: impl Send + 'static) {
        if let Some((code, reason)) = self.parting.as_deref()
            && close == Close::Code(*code)
        {
            side.queue_close_with(close, reason);
        }
        closing::close_holding(&self.shared, side, close, held);
    }

    /// Ends the client's socket, and with it the session.
    pub(super) fn close_client(&mut self, close: Close) {
        if let Some(side) = self.client.take() {
            if let Some(passage) = &mut self.passage {
                passage.closes(close);
            }
            let newcomer = self.newcomer.take();
            self.part(side, close, newcomer);
        }
    }

    /// The client broke a rule of the socket: it is told so, and the core that it is gone. It is no fault
    /// of the upstream, which hears that its peer goes away.
    pub(super) fn reject_client(&mut self, code: u16, now: Timestamp) {
        self.end_cause = EndCause::Rejected(code);
        self.close_client(Close::Code(code));
        self.tell_client_closed(Some(1001), now);
    }

    /// Memory is full, and this session has most in its buffers.
    pub(super) fn close_for_memory(&mut self, now: Timestamp) {
        tracing::warn!(session = %self.id(), "memory is full; the session with the largest unfinished message is closed");
        self.buffers.give_back();
        self.reject_client(1009, now);
    }

    /// The process ends.
    pub(super) fn shut_down(&mut self, now: Timestamp) {
        self.close_as(EndCause::Shutdown, now);
    }

    /// Both sides are closed: the client's with 1012, after which it may connect anew.
    pub(super) fn close_as(&mut self, cause: EndCause, now: Timestamp) {
        self.end_cause = cause;
        self.tell(Input::Shutdown, now);
        // The core closes both sides; where it has no say, this does.
        self.close_client(Close::Code(1012));
    }
}

fn with(side: &mut Option<Side>, work: impl FnOnce(&mut Side)) {
    if let Some(side) = side {
        work(side);
    }
}
