//! The legs of a stream, by side: the client's, the newest of the upstream, and while a stream moves
//! the one beside which that begins.

use std::time::Instant;

use crate::{
    media::{Kind, transport::Transport},
    session::Epoch,
};

use super::{
    Side,
    beside::Left,
    leg::{ClientLeg, Offered, Reaching, UpstreamLeg},
    link::Link,
    path::Path,
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

/// All legs.
#[derive(Debug, Default)]
pub(super) struct Legs {
    /// None: not answered yet, or gone.
    pub(super) client: Option<ClientLeg>,
    /// The newest.
    pub(super) upstream: Upstream,
    /// The one that is left. None: the stream does not move.
    pub(super) left: Option<Box<Left>>,
}

impl Legs {
    /// The epoch of the newest on the upstream side, if there is anything.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match &self.upstream {
            Upstream::Absent => None,
            Upstream::Offered(offered) => Some(offered.epoch),
            Upstream::Reaching(reaching) => Some(reaching.offered.epoch),
            Upstream::Live(leg) => Some(leg.epoch),
        }
    }

    /// Which of the upstream's legs has this number; None: it is gone.
    pub(super) fn side_of(&self, generation: u32) -> Option<Side> {
        let newest = match &self.upstream {
            Upstream::Absent | Upstream::Offered(_) => None,
            Upstream::Reaching(reaching) => Some(reaching.generation),
            Upstream::Live(leg) => Some(leg.generation),
        };
        if newest == Some(generation) {
            return Some(Side::Upstream);
        }
        self.leg(Side::Left).filter(|leg| leg.generation == generation).map(|_| Side::Left)
    }

    /// The links of one of the upstream's legs, also of one that is in the making.
    pub(super) fn links_mut(&mut self, side: Side) -> Option<&mut Vec<Link>> {
        match (side, &mut self.upstream) {
            (Side::Upstream, Upstream::Reaching(reaching)) => Some(&mut reaching.links),
            (Side::Upstream, Upstream::Live(leg)) => Some(&mut leg.links),
            (Side::Left, _) => Some(&mut self.left.as_mut()?.leg.as_mut()?.links),
            _ => None,
        }
    }

    /// The newest leg of the upstream, if there is one.
    pub(super) fn live(&self) -> Option<&UpstreamLeg> {
        self.leg(Side::Upstream)
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut UpstreamLeg> {
        self.leg_mut(Side::Upstream)
    }

    /// One of the upstream's legs, if there is one.
    pub(super) fn leg(&self, side: Side) -> Option<&UpstreamLeg> {
        match (side, &self.upstream) {
            (Side::Upstream, Upstream::Live(leg)) => Some(leg),
            (Side::Left, _) => self.left.as_ref()?.leg.as_deref(),
            _ => None,
        }
    }

    pub(super) fn leg_mut(&mut self, side: Side) -> Option<&mut UpstreamLeg> {
        match (side, &mut self.upstream) {
            (Side::Upstream, Upstream::Live(leg)) => Some(leg),
            (Side::Left, _) => self.left.as_mut()?.leg.as_deref_mut(),
            _ => None,
        }
    }

    /// The transports of the leg on one side, if there is one.
    pub(super) fn of(&self, side: Side) -> Option<&Transports> {
        match side {
            Side::Client => self.client.as_ref().map(|leg| &leg.transports),
            Side::Upstream | Side::Left => self.leg(side).map(|leg| &leg.transports),
        }
    }

    pub(super) fn of_mut(&mut self, side: Side) -> Option<&mut Transports> {
        match side {
            Side::Client => self.client.as_mut().map(|leg| &mut leg.transports),
            Side::Upstream | Side::Left => self.leg_mut(side).map(|leg| &mut leg.transports),
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

    /// The way of a section through one of the upstream's legs, and what is to send what goes it.
    pub(super) fn way<'a>(
        &'a mut self,
        newest: &'a mut [Option<Path>],
        kind: Kind,
        side: Side,
        section: usize,
    ) -> Option<(&'a mut Path, Option<&'a mut Transport>)> {
        let Self { client, upstream, left } = self;
        let (paths, leg) = match (side, left, upstream) {
            (Side::Left, left, _) => {
                let Left { paths, leg, .. } = &mut **left.as_mut()?;
                (paths.as_mut_slice(), leg.as_mut())
            }
            (_, _, Upstream::Live(leg)) => (newest, Some(leg)),
            _ => (newest, None),
        };
        let target = match kind {
            Kind::Publish => leg.map(|leg| &mut leg.transports),
            Kind::Play => client.as_mut().map(|leg| &mut leg.transports),
        };
        let path = paths.get_mut(section)?.as_mut()?;
        Some((path, target.and_then(|transports| transports.carrying(section))))
    }

    /// ICE and DTLS of the leg on one side stand.
    pub(super) fn stands(&self, side: Side) -> bool {
        match side {
            Side::Client => self.of(side).is_some_and(Transports::connected),
            Side::Upstream | Side::Left => self.leg(side).is_some_and(|leg| leg.connected_at.is_some()),
        }
    }

    /// When the first of all transports wants to be driven.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let legs = Side::ALL.into_iter().filter_map(|side| self.of(side));
        legs.flat_map(|t| &t.all).map(|t| t.deadline).min()
    }
}
