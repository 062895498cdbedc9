//! To which stream a datagram goes, and what becomes of a stream that panics over one: it breaks,
//! and no other does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::media::{
    StreamKey,
    demux::{Datagram, classify},
    guard::{Panicked, caught},
    output::SocketId,
    routes::{ClientRoute, Origin},
    stream::{CheckTarget, Context, Stream},
};

/// The streams of a worker, as something that steps of them can break.
pub(super) struct Streams<'a> {
    pub(super) by_key: &'a mut BTreeMap<StreamKey, Stream>,
    pub(super) broken: &'a mut Vec<(StreamKey, Panicked)>,
}

impl Streams<'_> {
    /// Has a stream do something. None: there is none, or it broke.
    pub(super) fn step<T>(
        &mut self,
        key: StreamKey,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Stream, &mut Context<'_>) -> T,
    ) -> Option<T> {
        step(key, self.by_key.get_mut(&key)?, self.broken, context, act)
    }
}

/// A panic ends the stream and leaves the worker as it was.
pub(super) fn step<T>(
    key: StreamKey,
    stream: &mut Stream,
    broken: &mut Vec<(StreamKey, Panicked)>,
    context: &mut Context<'_>,
    act: impl FnOnce(&mut Stream, &mut Context<'_>) -> T,
) -> Option<T> {
    // What broke is not touched again until it is taken out.
    if broken.iter().any(|(k, _)| *k == key) {
        return None;
    }
    match caught(|| act(stream, context)) {
        Ok(value) => Some(value),
        Err(panicked) => {
            context.events.clear();
            broken.push((key, panicked));
            None
        }
    }
}

/// Hands a datagram to the client leg it belongs to; None: to none.
pub(super) fn client_datagram(
    streams: &mut Streams<'_>,
    source: Origin,
    local: Option<IpAddr>,
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Option<StreamKey> {
    match classify(bytes) {
        Datagram::Unknown => None,
        Datagram::StunRequest { ufrag } => {
            let (ClientRoute { stream, transport }, credentials) = context.client_routes.name(ufrag)?;
            let target = CheckTarget { transport, credentials };
            let check =
                |s: &mut Stream, ctx: &mut Context<'_>| s.client_check(target, source, local, bytes, ctx);
            let accepted = streams.step(stream, context, check)?;
            if let (true, true, Some(connections)) = (accepted, source.tcp, context.client_tcp.as_deref_mut())
            {
                connections.checked(source.address, context.now);
            }
            accepted.then_some(stream)
        }
        // Only from addresses that passed a check.
        Datagram::StunOther | Datagram::Dtls | Datagram::Rtp { .. } | Datagram::Rtcp => {
            let ClientRoute { stream, transport } = context.client_routes.address(source)?;
            streams.step(stream, context, |s, ctx| s.client_datagram(transport, source, bytes, ctx));
            Some(stream)
        }
    }
}

/// Hands a datagram on a shared socket to the upstream leg it belongs to; None: to none. Only a
/// check with valid credentials may come from an address that is not known.
pub(super) fn upstream_datagram(
    streams: &mut Streams<'_>,
    socket: SocketId,
    source: SocketAddr,
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Option<StreamKey> {
    let by_address = context.upstream_routes.peer(socket, source);
    let by_name = match classify(bytes) {
        Datagram::Unknown => return None,
        Datagram::StunRequest { ufrag } => context.upstream_routes.name(ufrag),
        _ => None,
    };
    if let Some(route) = by_name.filter(|route| by_address != Some(*route)) {
        let check =
            |s: &mut Stream, ctx: &mut Context<'_>| s.upstream_check(route, socket, source, bytes, ctx);
        let accepted = streams.step(route.stream, context, check)?;
        return accepted.then_some(route.stream);
    }
    let route = by_address?;
    let from = Origin::udp(source);
    streams.step(route.stream, context, |s, ctx| s.upstream_datagram(route, from, bytes, ctx))?;
    Some(route.stream)
}
