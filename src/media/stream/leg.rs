//! The two legs as they are held: transports, sockets, credentials.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use str0m::net::{Protocol, Transmit};

use crate::{
    media::{
        StreamKey, Tracks,
        connections::Connections,
        output::{Output, Via},
        routes::{ClientRoute, Origin},
        sdp::{Codec, Credentials, Sources},
        transport::TransportError,
    },
    session::Epoch,
};

use super::{CheckTarget, Context, link::Link, transports::Transports};

/// The side of the client: lives as long as the stream.
#[derive(Debug)]
pub(super) struct ClientLeg {
    pub(super) transports: Transports,
    /// By transport: all credentials given out, newest last. A client that missed the newest
    /// (it was in a frame that a dying network lost) may come back with older ones.
    pub(super) credentials: Vec<Vec<Credentials>>,
    /// By section: what was answered.
    pub(super) codecs: Vec<Vec<Codec>>,
    /// By section: what we send.
    pub(super) sources: Vec<Option<Sources>>,
    pub(super) bandwidth: Vec<Vec<String>>,
    pub(super) candidates: Vec<SocketAddr>,
    /// The candidates hold in TCP as well.
    pub(super) tcp: bool,
    pub(super) bundle: bool,
    pub(super) created: Instant,
    pub(super) said_connected: bool,
    /// Counts the descriptions sent to the client.
    pub(super) version: u64,
    /// Silence was reported this often since the client was last heard.
    pub(super) silent_tries: u32,
    /// From when the silence counts that is reported next.
    pub(super) silent_since: Instant,
}

impl ClientLeg {
    /// The newest credentials of the transport that carries a section.
    pub(super) fn credentials_of(&self, index: usize) -> Option<&Credentials> {
        self.credentials.get(self.transports.number_of(index)?)?.last()
    }

    /// Answers a check and routes its source here. False: it is not signed with our credentials, or
    /// one too many.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    pub(super) fn check(
        &mut self,
        key: StreamKey,
        target: CheckTarget,
        from: Origin,
        local: Option<IpAddr>,
        bytes: &[u8],
        ctx: &mut Context<'_>,
    ) -> Result<bool, TransportError> {
        let route = ClientRoute { stream: key, transport: target.transport };
        let given = self.credentials.get(target.transport).and_then(|all| all.get(target.credentials));
        let transport = self.transports.all.get_mut(target.transport);
        let (Some(transport), Some(given)) = (transport, given) else { return Ok(false) };
        if !ctx.client_routes.is_free(from, route, ctx.now) {
            return Ok(false);
        }
        let crypto = &ctx.identity.provider;
        let Some(checked) = transport.check(given, (from, local), bytes, crypto, ctx.now)? else {
            return Ok(false);
        };
        if let Some(gone) = checked.gone {
            forget_address(gone, route, ctx);
        }
        ctx.client_routes.add_address(from, route, ctx.now);
        let answer = Transmit {
            proto: from.protocol(),
            source: ctx.client_local,
            destination: from.address,
            contents: checked.answer.into(),
        };
        send_to_client(answer, local, ctx);
        Ok(true)
    }

    /// Says goodbye and gives back what it holds.
    pub(super) fn release(mut self, key: StreamKey, ctx: &mut Context<'_>) {
        let mut events = Vec::new();
        for (number, transport) in self.transports.all.iter_mut().enumerate() {
            transport.close();
            let now = ctx.now;
            let mut send = |t: Transmit, local: Option<IpAddr>| send_to_client(t, local, ctx);
            transport.drive(now, &mut send, &mut events, number);
            let route = ClientRoute { stream: key, transport: number };
            for address in transport.addresses().collect::<Vec<_>>() {
                forget_address(address, route, ctx);
            }
        }
        for credentials in self.credentials.iter().flatten() {
            ctx.client_routes.remove_name(&credentials.ufrag);
        }
    }
}

/// An address belongs to a leg no more; a connection from there has no use without it.
fn forget_address(address: Origin, route: ClientRoute, ctx: &mut Context<'_>) {
    if ctx.client_routes.remove_address(address, route)
        && address.tcp
        && let Some(connections) = ctx.client_tcp.as_deref_mut()
    {
        connections.end(address.address, ctx.outputs);
    }
}

/// Sends a datagram of a client leg, from this address of ours.
pub(super) fn send_to_client(transmit: Transmit, local: Option<IpAddr>, ctx: &mut Context<'_>) {
    let Transmit { destination: to, contents, .. } = transmit;
    if transmit.proto == Protocol::Tcp {
        let send = |c: &mut Connections| c.send(to, &contents, ctx.outputs);
        let sent = ctx.client_tcp.as_deref_mut().is_some_and(send);
        ctx.tally.datagrams_sent += u64::from(sent);
    } else {
        ctx.outputs.push(Output::Transmit { via: Via::Clients(local), to, contents });
    }
}

/// An upstream leg whose answer is here, and the system has not yet said of each socket and
/// connection that it takes whether there is one.
#[derive(Debug)]
pub(super) struct Reaching {
    pub(super) offered: Offered,
    /// What the leg is to have.
    pub(super) generation: u32,
    pub(super) answer: String,
    /// By transport.
    pub(super) links: Vec<Link>,
}

impl Reaching {
    /// Gives back what it holds.
    pub(super) fn release(self, ctx: &mut Context<'_>) {
        for link in self.links {
            link.release(ctx);
        }
    }
}

/// An upstream leg that was offered: names, no transport yet. An offer of ours has no candidates, so
/// nothing can come before the answer, and the socket is chosen when it is known who would send.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) epoch: Epoch,
    /// By section.
    pub(super) sections: Vec<Option<OfferedSection>>,
}

/// A section of an offer.
#[derive(Debug)]
pub(super) struct OfferedSection {
    pub(super) credentials: Credentials,
    pub(super) codecs: Vec<Codec>,
    pub(super) sources: Option<Sources>,
}

/// The side of the upstream: one per epoch.
#[derive(Debug)]
pub(super) struct UpstreamLeg {
    pub(super) epoch: Epoch,
    pub(super) generation: u32,
    pub(super) transports: Transports,
    /// By transport.
    pub(super) links: Vec<Link>,
    pub(super) created: Instant,
    pub(super) connected_at: Option<Instant>,
    /// When the last connection of a transport ended that has no other way.
    pub(super) ended_at: Option<Instant>,
    /// When the last sign of life was given.
    pub(super) said_life_at: Option<Instant>,
    pub(super) said_complete: bool,
    pub(super) said_silent: bool,
    pub(super) said_codec: bool,
    /// What was last said to go through it.
    pub(super) said_goes: Option<Tracks>,
}

impl UpstreamLeg {
    /// Says goodbye and gives back what it holds.
    pub(super) fn release(mut self, ctx: &mut Context<'_>) {
        let mut events = Vec::new();
        for (number, transport) in self.transports.all.iter_mut().enumerate() {
            transport.close();
            if let Some(link) = self.links.get_mut(number) {
                let now = ctx.now;
                let mut send = |t: Transmit, _| link.send(t, ctx);
                transport.drive(now, &mut send, &mut events, number);
            }
        }
        for link in self.links {
            link.release(ctx);
        }
    }
}
