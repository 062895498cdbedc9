//! One anchored stream: its client leg, its upstream leg of the moment, and what is between.
//!
//! A stream lives on one worker and is only touched by it. It decides nothing about outages; it
//! follows orders and reports.

mod answer;
mod candidates;
mod client;
mod leg;
mod link;
mod offer;
mod path;
mod relay;
mod report;
mod timers;
mod transports;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::session::Epoch;

use super::{
    Kind, MediaSettings, StreamKey, StreamStats,
    certificate::Identity,
    clock::SenderClock,
    connections::Connections,
    counters::Tally,
    framing::Reading,
    resolve::Resolver,
    routes::{ClientRoutes, Origin, UpstreamRoute, UpstreamRoutes},
    sdp::{Description, Plan},
    socket::{Outbox, Socket},
    transport::{Received, Transport, TransportEvent},
    watchdog::Watchdog,
};
use leg::{ClientLeg, Offered, UpstreamLeg};
use path::Path;
use transports::Transports;

pub(crate) use offer::Opening;
pub(crate) use report::Reporter;

/// What a stream needs of its worker.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a MediaSettings,
    pub(crate) identity: &'a Identity,
    /// Shared by all client legs of the worker.
    pub(crate) client_socket: &'a Socket,
    /// The same in TCP, if that is on.
    pub(crate) client_tcp: Option<&'a mut Connections>,
    pub(crate) client_routes: &'a mut ClientRoutes,
    pub(crate) upstream_routes: &'a mut UpstreamRoutes,
    /// Names among candidates of upstreams.
    pub(crate) names: &'a mut Resolver<Asker>,
    pub(crate) tally: &'a mut Tally,
    /// Scratch, empty between calls.
    pub(crate) events: &'a mut Vec<(usize, TransportEvent)>,
    /// Empty between calls.
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) now: Instant,
}

/// Who waits for the address of a name.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) route: UpstreamRoute,
    named: candidates::Named,
}

/// A side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

/// The upstream side at the moment.
#[derive(Debug)]
enum Upstream {
    /// Lost, or not attached yet.
    Absent,
    /// Offered, not answered.
    Offered(Box<Offered>),
    /// Answered: connecting or connected.
    Live(Box<UpstreamLeg>),
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
    client: Option<ClientLeg>,
    upstream: Upstream,
    /// Numbers the upstream legs.
    generation: u32,
    /// One per section of the client's offer; None: not live.
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
        let Self { reporter, client, upstream, paths, .. } = self;
        (reporter, (client, upstream, paths))
    }

    /// The upstream is lost: its leg goes, the client's stays.
    pub(crate) fn detach(&mut self, ctx: &mut Context<'_>) {
        self.drop_upstream(ctx);
    }

    fn drop_upstream(&mut self, ctx: &mut Context<'_>) {
        match std::mem::replace(&mut self.upstream, Upstream::Absent) {
            Upstream::Absent | Upstream::Offered(_) => {}
            Upstream::Live(leg) => {
                self.was_quiet = self.is_quiet(&leg, ctx.settings.upstream_silence);
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

    /// The stream is over: both legs say goodbye.
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>) {
        self.drop_upstream(ctx);
        if let Some(client) = self.client.take() {
            client.release(self.key, ctx);
        }
        self.closed = true;
    }

    fn epoch(&self) -> Option<Epoch> {
        match &self.upstream {
            Upstream::Absent => None,
            Upstream::Offered(offered) => Some(offered.epoch),
            Upstream::Live(leg) => Some(leg.epoch),
        }
    }

    const fn live_upstream(&mut self) -> Option<&mut UpstreamLeg> {
        match &mut self.upstream {
            Upstream::Live(leg) => Some(leg),
            _ => None,
        }
    }

    /// The transports of the leg on one side, if there is one.
    fn transports(&self, side: Side) -> Option<&Transports> {
        match (side, &self.upstream) {
            (Side::Client, _) => self.client.as_ref().map(|client| &client.transports),
            (Side::Upstream, Upstream::Live(leg)) => Some(&leg.transports),
            (Side::Upstream, _) => None,
        }
    }

    fn transports_mut(&mut self, side: Side) -> Option<&mut Transports> {
        match (side, &mut self.upstream) {
            (Side::Client, _) => self.client.as_mut().map(|client| &mut client.transports),
            (Side::Upstream, Upstream::Live(leg)) => Some(&mut leg.transports),
            (Side::Upstream, _) => None,
        }
    }

    fn transport(&mut self, side: Side, number: usize) -> Option<&mut Transport> {
        self.transports_mut(side)?.all.get_mut(number)
    }

    /// A datagram came in on a client leg, from an address that passed a check.
    pub(crate) fn client_datagram(
        &mut self,
        transport: usize,
        from: Origin,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) {
        let Some(found) = self.transport(Side::Client, transport) else { return };
        let received = found.receive(from, bytes, ctx.now);
        self.received(Side::Client, transport, received, ctx);
    }

    /// What was of no use to anybody is only counted: it costs the others nothing more.
    fn received(
        &mut self,
        side: Side,
        transport: usize,
        received: Result<Received, String>,
        ctx: &mut Context<'_>,
    ) {
        match received {
            Ok(Received::Peer) => {}
            Ok(Received::Stranger) => {
                ctx.tally.datagrams_refused += 1;
                return;
            }
            Err(reason) => ctx.events.push((transport, TransportEvent::Failed(reason))),
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
        let Some(client) = &mut self.client else { return false };
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
        let Upstream::Live(leg) = &mut self.upstream else { return };
        if leg.generation != generation {
            return;
        }
        let Some(found) = leg.transports.all.get_mut(transport) else { return };
        let received = found.receive(from, bytes, ctx.now);
        self.received(Side::Upstream, transport, received, ctx);
    }

    /// A check with our name came in on a shared socket, from an address that is not this leg's. False: it
    /// is not signed with our credentials, or the leg cannot have that address.
    pub(crate) fn upstream_check(
        &mut self,
        route: UpstreamRoute,
        socket: mio::Token,
        source: SocketAddr,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) -> bool {
        let Upstream::Live(leg) = &mut self.upstream else { return false };
        if leg.generation != route.generation {
            return false;
        }
        let link = leg.links.get_mut(route.transport).filter(|link| link.is_on(socket));
        let (Some(transport), Some(link)) = (leg.transports.all.get_mut(route.transport), link) else {
            return false;
        };
        let from = Origin::udp(source);
        if !transport.accepts(from, bytes, ctx.now) || !link.learn(source, ctx.upstream_routes) {
            return false;
        }
        self.upstream_datagram(route, from, bytes, ctx);
        true
    }

    /// A connection to the upstream has something to say. True: there may be more.
    pub(crate) fn read_upstream_connection(
        &mut self,
        route: UpstreamRoute,
        token: mio::Token,
        ctx: &mut Context<'_>,
    ) -> bool {
        let UpstreamRoute { generation, transport, .. } = route;
        let Upstream::Live(leg) = &mut self.upstream else { return false };
        let link = leg.links.get_mut(transport).filter(|_| leg.generation == generation);
        let mut frames = Vec::new();
        let Some(link) = link else { return false };
        let Some((remote, reading)) = link.read(token, &mut frames, ctx.upstream_routes) else {
            return false;
        };
        let dead = link.is_dead();
        for bytes in frames {
            ctx.tally.datagrams_received += 1;
            self.upstream_datagram(route, Origin::tcp(remote), &bytes, ctx);
        }
        if dead && self.live_upstream().is_some_and(|leg| leg.generation == generation) {
            self.connection_ended(ctx);
        }
        reading == Reading::More
    }
}
