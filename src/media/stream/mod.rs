//! One anchored stream: its client leg, its upstream leg of the moment, and what is between.
//!
//! A stream lives on one worker and is only touched by it. It decides nothing about outages; it
//! follows orders and reports.

mod answer;
mod beside;
mod candidates;
mod client;
mod error;
mod feedback;
mod forward;
mod goes;
mod leg;
mod legs;
mod link;
mod offer;
mod path;
mod proof;
mod report;
#[cfg(test)]
#[allow(clippy::expect_used)]
mod testing;
mod timers;
mod transports;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use crate::session::Epoch;

use super::{
    Kind, MediaSettings, StreamKey, StreamStats,
    certificate::Identity,
    clock::SenderClock,
    connections::Connections,
    counters::Tally,
    engine::Engines,
    output::{ConnectionId, NotConnecting, Output, SocketId, WaysOut},
    resolve::Names,
    routes::{ClientRoutes, NoSocketLeft, Origin, UpstreamRoute, UpstreamRoutes},
    sdp::{Description, Plan},
    transport::{Received, TransportError, TransportEvent},
    watchdog::Watchdog,
};
use error::LegEnd;
use leg::UpstreamLeg;
use legs::{Legs, Upstream};
use link::Link;
use path::Path;

pub(crate) use offer::Opening;
pub(crate) use report::Reporter;

/// What a stream needs of its worker: settings, tables, time, and a place to say what is to be done.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a MediaSettings,
    pub(crate) identity: &'a Identity,
    /// What lies under each transport.
    pub(crate) engines: &'a mut dyn Engines,
    /// Our end of the socket that all client legs share; nominal if it is bound to a wildcard.
    pub(crate) client_local: SocketAddr,
    /// Who is connected to the same in TCP, if that is on.
    pub(crate) client_tcp: Option<&'a mut Connections>,
    pub(crate) client_routes: &'a mut ClientRoutes,
    pub(crate) upstream_routes: &'a mut UpstreamRoutes,
    /// Names among candidates of upstreams.
    pub(crate) names: &'a mut Names<Asker>,
    /// Which address of ours leads where.
    pub(crate) ways_out: &'a dyn WaysOut,
    pub(crate) random: &'a mut StdRng,
    pub(crate) tally: &'a mut Tally,
    /// Scratch, empty between calls.
    pub(crate) events: &'a mut Vec<(usize, TransportEvent)>,
    /// What is to be done, in this order.
    pub(crate) outputs: &'a mut Vec<Output>,
    pub(crate) now: Instant,
}

impl Context<'_> {
    /// Our end of the way to an upstream, nominal in that other legs have it too. None: no route.
    fn local_towards(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.ways_out.towards(peer)
    }
}

/// Who waits for the address of a name.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) route: UpstreamRoute,
    named: candidates::Named,
}

/// A side of a stream: whose the leg there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    /// The newest leg of the upstream.
    Upstream,
    /// The one that is left while a stream moves.
    Left,
}

impl Side {
    const ALL: [Self; 3] = [Self::Client, Self::Upstream, Self::Left];

    /// The one that sends the media that goes this way of the upstream's.
    const fn source(self, kind: Kind) -> Self {
        match kind {
            Kind::Publish => Self::Client,
            Kind::Play => self,
        }
    }
}

/// An anchored stream.
#[derive(Debug)]
pub(crate) struct Stream {
    key: StreamKey,
    kind: Kind,
    reporter: Reporter,
    /// As far as it is needed.
    client_offer: Description,
    plan: Plan,
    local_ip: IpAddr,
    refuse_h264: bool,
    /// Numbers the session in `o=` lines.
    session_id: u64,
    legs: Legs,
    /// Of the newest leg, also when it is gone.
    epoch: Epoch,
    /// Numbers the upstream legs.
    generation: u32,
    /// The ways through the newest leg: one per section of the client's offer; None: not live.
    paths: Vec<Option<Path>>,
    watchdog: Option<Watchdog>,
    video_muted: bool,
    stats: StreamStats,
    /// Bytes at the last report: client in, out, upstream in, out.
    stats_before: [u64; 4],
    stats_at: Instant,
    /// The wall clock of whoever sends.
    sender_clock: SenderClock,
    idle_proof: Duration,
    /// No media came from the sender for a while before its upstream leg was lost.
    was_quiet: bool,
    /// When [`Stream::tick`] has something to do for the stream itself.
    timers_at: Instant,
    closed: bool,
}

/// Which credentials of which transport a check was addressed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckTarget {
    pub(crate) transport: usize,
    pub(crate) credentials: usize,
}

impl Stream {
    /// The stream ended itself, or nobody listens to it any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes a stream that broke apart: its voice, and what is only to be dropped.
    pub(crate) fn dissolve(self) -> (Reporter, impl Sized) {
        let Self { reporter, legs, paths, .. } = self;
        (reporter, (legs, paths))
    }

    /// The upstream is lost: its leg goes, and one that is left; the client's stays.
    pub(crate) fn detach(&mut self, ctx: &mut Context<'_>) {
        self.let_go(ctx);
        self.drop_upstream(ctx);
    }

    fn drop_upstream(&mut self, ctx: &mut Context<'_>) {
        match std::mem::take(&mut self.legs.upstream) {
            Upstream::Absent | Upstream::Offered(_) => {}
            Upstream::Reaching(reaching) => reaching.release(ctx),
            Upstream::Live(leg) => {
                self.was_quiet = self.is_quiet(&leg, ctx.settings.media_pause);
                for path in self.paths.iter_mut().flatten() {
                    path.source_lost(self.kind);
                }
                leg.release(ctx);
            }
        }
    }

    /// Did the upstream live without sending any media, because the sender paused? A leg that was
    /// not proven says nothing: what was true of the one before it still is.
    fn is_quiet(&self, leg: &UpstreamLeg, pause: Duration) -> bool {
        let judged = leg.said_complete || (leg.connected_at.is_some() && self.stats.attached <= 1);
        let Some(heard) = leg.transports.heard().filter(|_| judged) else { return self.was_quiet };
        let last = self.paths.iter().flatten().filter_map(|p| p.last_in).max();
        last.is_none_or(|at| heard.saturating_duration_since(at) > pause)
    }

    /// The client (un)muted its video.
    pub(crate) fn mute(&mut self, video: bool, now: Instant) {
        self.video_muted = video;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.mute(video, now);
        }
    }

    /// The stream is over: all legs say goodbye.
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>) {
        self.detach(ctx);
        if let Some(client) = self.legs.client.take() {
            client.release(self.key, ctx);
        }
        self.closed = true;
    }

    /// A datagram came in on a client leg, from an address that passed a check.
    pub(crate) fn client_datagram(
        &mut self,
        transport: usize,
        from: Origin,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) {
        let Some(found) = self.legs.transport(Side::Client, transport) else { return };
        let received = found.receive(from, bytes, ctx.now);
        self.received(Side::Client, transport, received, ctx);
    }

    /// What was of no use to anybody is only counted: it costs the others nothing more.
    fn received(
        &mut self,
        side: Side,
        transport: usize,
        received: Result<Received, TransportError>,
        ctx: &mut Context<'_>,
    ) {
        match received {
            Ok(Received::Peer) => {}
            Ok(Received::Stranger) => {
                ctx.tally.datagrams_refused += 1;
                return;
            }
            Err(error) => ctx.events.push((transport, TransportEvent::Failed(error))),
        }
        self.drive(side, transport, ctx);
    }

    /// A connectivity check came in for credentials of ours. False: it is not signed with them, or
    /// one too many.
    pub(crate) fn client_check(
        &mut self,
        target: CheckTarget,
        from: Origin,
        local: Option<IpAddr>,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) -> bool {
        let CheckTarget { transport, credentials } = target;
        let Some(client) = &mut self.legs.client else { return false };
        match client.check(self.key, target, from, local, bytes, ctx) {
            Ok(false) => return false,
            Ok(true) => tracing::trace!(stream = %self.key, transport, credentials, "client checked"),
            Err(reason) => ctx.events.push((transport, TransportEvent::Failed(reason))),
        }
        self.drive(Side::Client, transport, ctx);
        true
    }

    /// A datagram came in on an upstream leg, from an address of its answer or one that passed a
    /// check.
    pub(crate) fn upstream_datagram(
        &mut self,
        route: UpstreamRoute,
        from: Origin,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) {
        let UpstreamRoute { generation, transport, .. } = route;
        let Some(side) = self.legs.side_of(generation) else { return };
        let Some(found) = self.legs.transport(side, transport) else { return };
        let received = found.receive(from, bytes, ctx.now);
        self.received(side, transport, received, ctx);
    }

    /// A check with our name came in on a shared socket, from an address that is not this leg's. False: it
    /// is not signed with our credentials, or the leg cannot have that address.
    pub(crate) fn upstream_check(
        &mut self,
        route: UpstreamRoute,
        socket: SocketId,
        source: SocketAddr,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) -> bool {
        let side = self.legs.side_of(route.generation);
        let Some(leg) = side.and_then(|side| self.legs.leg_mut(side)) else { return false };
        let link = leg.links.get_mut(route.transport).filter(|link| link.is_on(socket));
        let (Some(transport), Some(link)) = (leg.transports.all.get_mut(route.transport), link) else {
            return false;
        };
        let from = Origin::udp(source);
        if !transport.accepts(from, bytes, ctx.now) || !link.learn(source, ctx) {
            return false;
        }
        self.upstream_datagram(route, from, bytes, ctx);
        true
    }

    /// These bytes came on a connection to the upstream.
    pub(crate) fn upstream_bytes(
        &mut self,
        route: UpstreamRoute,
        connection: ConnectionId,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) {
        let read = self.link(route).and_then(|link| link.read(connection, bytes));
        let Some((remote, datagrams)) = read else { return };
        for bytes in datagrams {
            ctx.tally.datagrams_received += 1;
            self.upstream_datagram(route, Origin::tcp(remote), &bytes, ctx);
        }
    }

    /// A connection to the upstream has ended.
    pub(crate) fn upstream_closed(
        &mut self,
        route: UpstreamRoute,
        connection: ConnectionId,
        ctx: &mut Context<'_>,
    ) {
        let Some(link) = self.link(route) else { return };
        link.closed(connection, ctx);
        let is_dead = link.is_dead();
        let Some(side) = self.legs.side_of(route.generation) else { return };
        if self.legs.leg(side).is_none() {
            self.way_changed(route, Ok(()), ctx);
        } else if is_dead {
            self.connection_ended(side, ctx);
        }
    }

    /// The system opened a socket that a link is on, or could not.
    pub(crate) fn socket_opened(
        &mut self,
        route: UpstreamRoute,
        socket: SocketId,
        is_open: bool,
        ctx: &mut Context<'_>,
    ) {
        let Some(link) = self.link(route) else { return };
        let outcome = link.socket_opened(socket, is_open, ctx);
        self.way_changed(route, outcome, ctx);
    }

    /// The system connects to an upstream, from this end of ours; or it cannot.
    pub(crate) fn connecting(
        &mut self,
        route: UpstreamRoute,
        connection: ConnectionId,
        local: Result<SocketAddr, NotConnecting>,
        ctx: &mut Context<'_>,
    ) {
        let Some(link) = self.link(route) else { return };
        link.connecting(connection, local, ctx);
        self.way_changed(route, Ok(()), ctx);
    }

    /// What waits to be written to a connection to the upstream.
    pub(crate) fn unwritten(&mut self, route: UpstreamRoute, connection: ConnectionId) -> &[u8] {
        self.link(route).map(|link| link.unwritten(connection)).unwrap_or_default()
    }

    /// So many bytes of that were written.
    pub(crate) fn wrote(&mut self, route: UpstreamRoute, connection: ConnectionId, count: usize) {
        if let Some(link) = self.link(route) {
            link.wrote(connection, count);
        }
    }

    /// The link of a transport of an upstream leg that is there, or in the making.
    fn link(&mut self, route: UpstreamRoute) -> Option<&mut Link> {
        let side = self.legs.side_of(route.generation)?;
        self.legs.links_mut(side)?.get_mut(route.transport)
    }

    /// There is news of the ways of a link: the leg is made of them, or its transport told.
    fn way_changed(
        &mut self,
        route: UpstreamRoute,
        outcome: Result<(), NoSocketLeft>,
        ctx: &mut Context<'_>,
    ) {
        let Some(side) = self.legs.side_of(route.generation) else { return };
        let Some(leg) = self.legs.leg_mut(side) else { return self.reached(outcome, ctx) };
        let link = leg.links.get_mut(route.transport);
        let (Some(transport), Some(link)) = (leg.transports.all.get_mut(route.transport), link) else {
            return;
        };
        let told = transport.add_ways(link.take_ways());
        let is_dead = link.is_dead();
        if let Err(error) = outcome {
            self.on_failed(side, LegEnd::NoSocket(error), ctx);
        } else if let Err(error) = told {
            self.on_failed(side, LegEnd::Transport(error), ctx);
        } else if is_dead {
            self.on_failed(side, LegEnd::NoName, ctx);
        } else {
            self.drive(side, route.transport, ctx);
        }
    }
}
