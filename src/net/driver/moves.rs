//! Two upstream connections of one session: while it moves to another node, and until the one that is left is
//! let go. Carries out; when which of them leads is the core's to say.

use std::{sync::Arc, task::Context};

use crate::{
    net::live::{At, MoveOrder, MoveReport},
    session::{Epoch, Input, LossCause, MoveOutcome, NodeId, Timestamp},
    upstream::Dialed,
    wire::{side::Side, websocket::Role},
};

use super::{Dialing, Driver};

/// The connection beside the one that leads.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) epoch: Epoch,
    pub(super) side: Side,
    at: At,
    /// It led before. One that has not led yet is not read: what it says waits in its socket.
    has_led: bool,
}

impl Driver {
    /// It leaves its node now, seen or not, for this one if that can be reached.
    pub(super) fn leave_for(&mut self, to: NodeId, now: Timestamp) {
        self.preferred = Some(to);
        self.tell(Input::ForceMove, now);
    }

    /// Somebody wants the session on another node.
    pub(super) fn order_move(&mut self, order: MoveOrder, now: Timestamp) {
        let refused = if self.is_passed_through() {
            Some("passed through")
        } else {
            self.mover.as_ref().map(|_| "moving")
        };
        if let Some(reason) = refused {
            let outcome = MoveOutcome::Refused(reason);
            // Whoever ordered it made room for the answer, or went away.
            let _ = order.report.try_send(MoveReport { session: self.id(), outcome });
            return;
        }
        self.mover = Some(order.report);
        self.tell(Input::Move { to: order.to }, now);
    }

    pub(super) fn report_move(&mut self, outcome: MoveOutcome) {
        if let Some(mover) = self.mover.take() {
            let _ = mover.try_send(MoveReport { session: self.id(), outcome });
        }
    }

    pub(super) fn dial_beside(&mut self, epoch: Epoch, node: NodeId) {
        let (pool, request) = (Arc::clone(&self.shared.pool), Arc::clone(&self.request));
        let task = Box::pin(async move { pool.move_to(node, &request).await });
        self.dial = Some(Dialing { epoch, is_beside: true, task });
    }

    pub(super) fn beside_opened(&mut self, epoch: Epoch, dialed: Dialed, now: Timestamp) {
        let at = At { node: dialed.node, address: Some(dialed.address), seat: dialed.seat };
        let node = at.node;
        let side = Side::new(dialed.socket, Role::Server, &dialed.leftover);
        self.beside = Some(Box::new(Beside { epoch, side, at, has_led: false }));
        self.tell(Input::UpstreamOpened(epoch, node), now);
    }

    /// The connection beside the one that leads takes its place.
    pub(super) fn lead(&mut self, epoch: Epoch) {
        let Some(Beside { side, at, .. }) =
            self.beside.take_if(|beside| beside.epoch == epoch).map(|beside| *beside)
        else {
            tracing::error!(session = %self.id(), "a connection is to lead that is not there");
            return;
        };
        let left_at = self.registered.mailbox.swap_place(at);
        let left_epoch = std::mem::replace(&mut self.epoch, epoch);
        // None: it is lost, and the one before it leads again.
        self.beside = self
            .upstream
            .replace(side)
            .map(|side| Box::new(Beside { epoch: left_epoch, side, at: left_at, has_led: true }));
    }

    /// The connection that led before and is still read.
    pub(super) fn left(&self) -> Option<Epoch> {
        self.beside.as_ref().filter(|beside| beside.has_led).map(|beside| beside.epoch)
    }

    /// Writes what is queued for the node that is left; true if that turned out to be gone.
    pub(super) fn write_left(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(beside) = &mut self.beside else { return false };
        beside.side.send(cx, &[], now);
        let failed = beside.side.write_failed();
        if failed {
            let epoch = beside.epoch;
            self.beside = None;
            self.tell(Input::UpstreamLost(epoch, LossCause::Reset), now);
        }
        failed
    }
}
