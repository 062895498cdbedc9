//! The two legs of a stream, by side.

use std::time::Instant;

use crate::{media::transport::Transport, session::Epoch};

use super::{
    Side,
    leg::{ClientLeg, Offered, Reaching, UpstreamLeg},
    transports::Transports,
};

/// The upstream side at the moment.
#[derive(Debug, Default)]
pub(super) enum Upstream {
    /// Lost, or not attached yet.
    #[default]
    Absent,
    /// Offered, not answered.
    Offered(Box<Offered>),
    /// Answered: the system has not yet said of each socket that it takes whether there is one.
    Reaching(Box<Reaching>),
    /// Connecting or connected.
    Live(Box<UpstreamLeg>),
}

/// Both legs.
#[derive(Debug, Default)]
pub(super) struct Legs {
    /// None: not answered yet, or gone.
    pub(super) client: Option<ClientLeg>,
    pub(super) upstream: Upstream,
}

impl Legs {
    /// The epoch of the upstream side, if there is anything on it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match &self.upstream {
            Upstream::Absent => None,
            Upstream::Offered(offered) => Some(offered.epoch),
            Upstream::Reaching(reaching) => Some(reaching.offered.epoch),
            Upstream::Live(leg) => Some(leg.epoch),
        }
    }

    /// The upstream leg, if there is one.
    pub(super) fn live(&self) -> Option<&UpstreamLeg> {
        if let Upstream::Live(leg) = &self.upstream { Some(leg) } else { None }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut UpstreamLeg> {
        if let Upstream::Live(leg) = &mut self.upstream { Some(leg) } else { None }
    }

    /// The transports of the leg on one side, if there is one.
    pub(super) fn of(&self, side: Side) -> Option<&Transports> {
        match side {
            Side::Client => self.client.as_ref().map(|leg| &leg.transports),
            Side::Upstream => self.live().map(|leg| &leg.transports),
        }
    }

    pub(super) fn of_mut(&mut self, side: Side) -> Option<&mut Transports> {
        match side {
            Side::Client => self.client.as_mut().map(|leg| &mut leg.transports),
            Side::Upstream => self.live_mut().map(|leg| &mut leg.transports),
        }
    }

    /// A transport of the leg on one side, by its number.
    pub(super) fn transport(&mut self, side: Side, number: usize) -> Option<&mut Transport> {
        self.of_mut(side)?.all.get_mut(number)
    }

    /// The transport of the leg on one side that carries a section.
    pub(super) fn carrying(&mut self, side: Side, section: usize) -> Option<&mut Transport> {
        self.of_mut(side)?.carrying(section)
    }

    /// ICE and DTLS of the leg on one side stand.
    pub(super) fn stands(&self, side: Side) -> bool {
        match side {
            Side::Client => self.of(side).is_some_and(Transports::connected),
            Side::Upstream => self.live().is_some_and(|leg| leg.connected_at.is_some()),
        }
    }

    /// When the first of all transports wants to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let legs = [Side::Client, Side::Upstream].into_iter().filter_map(|side| self.of(side));
        legs.flat_map(|t| &t.all).map(|t| t.deadline).min()
    }
}
