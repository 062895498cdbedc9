//! From the upstream's answer to a leg. What the client is answered of it is in `client`.

use std::net::IpAddr;

use str0m::media::Mid;

use crate::{
    media::{
        Fact, Kind,
        routes::UpstreamRoute,
        sdp::{
            self, Codec, Description, Extension, Media, Setup, Taken, answer_bundled, answered_codecs,
            pair_up,
        },
        transport::{MediaSpec, Transport, TransportSpec},
    },
    session::Epoch,
};

use super::{
    Asker, Context, Side, Stream, Upstream,
    candidates::{Candidates, Named, candidates},
    leg::{Offered, UpstreamLeg},
    link::{Link, Ways},
    offer::{peer_limits, rtx_packets},
    path::{Format, Path},
    transports::Transports,
};

/// What the upstream made of a section.
pub(super) struct Accepted<'a> {
    pub(super) taken: Vec<Taken>,
    /// The codecs under the numbers that packets bear between us and the upstream.
    on_wire: Vec<Codec>,
    pub(super) media: &'a Media,
    /// Its place in the answer.
    place: usize,
}

/// Why an answer came to no leg.
#[derive(Debug)]
enum NoLeg {
    /// It is of no use to us, but perhaps to the client.
    Unusable(String),
    /// It is of use, and we have no socket left.
    NoSocket(String),
}

impl From<String> for NoLeg {
    fn from(reason: String) -> Self {
        Self::Unusable(reason)
    }
}

impl From<&str> for NoLeg {
    fn from(reason: &str) -> Self {
        Self::Unusable(reason.to_owned())
    }
}

impl Stream {
    /// Takes the upstream's answer to the offer of this epoch.
    pub(crate) fn upstream_answer(&mut self, epoch: Epoch, text: &str, ctx: &mut Context<'_>) {
        if !matches!(&self.upstream, Upstream::Offered(offered) if offered.epoch == epoch) {
            return;
        }
        let Upstream::Offered(offered) = std::mem::replace(&mut self.upstream, Upstream::Absent) else {
            return;
        };
        match self.take_answer(*offered, text, ctx) {
            Ok(()) => {}
            Err(NoLeg::Unusable(reason)) => self.reporter.say(Fact::UpstreamFailed { epoch, reason }),
            Err(NoLeg::NoSocket(reason)) => self.reporter.say(Fact::OutOfSockets { epoch, reason }),
        }
    }

    fn take_answer(&mut self, offered: Offered, text: &str, ctx: &mut Context<'_>) -> Result<(), NoLeg> {
        let answer = sdp::parse(text).map_err(str::to_owned)?;
        let accepted = self.accepted(&offered, &answer)?;
        if self.loses_what_it_sends(&accepted) {
            return Err("the upstream does not take all that the client sends".into());
        }
        // An answer that is of no use is no reason to answer the client: it may get this one.
        let leg = self.make_upstream_leg(&offered, &answer, &accepted, ctx)?;
        if self.client.is_none()
            && let Err(reason) = self.make_client_leg(&accepted, ctx)
        {
            leg.release(ctx);
            return Err(reason.into());
        }
        for (index, path) in self.paths.iter_mut().enumerate() {
            let Some(path) = path else { continue };
            path.attached(self.kind, ctx.now);
            let taken =
                accepted.get(index).and_then(Option::as_ref).map(|a| a.taken.as_slice()).unwrap_or_default();
            path.allowed = allowed(self.kind, path.media, taken, &path.formats);
            path.renumbered = renumbered(self.kind, taken);
        }
        self.stats.attached += 1;
        self.upstream = Upstream::Live(Box::new(leg));
        self.drive_all(ctx);
        Ok(())
    }

    /// What the answer makes of each section of the offer; None: it declines the section.
    ///
    /// # Errors
    ///
    /// If it declines all of them, or takes one and does not say all that it takes: an answer that
    /// was cut off is none.
    fn accepted<'a>(
        &self,
        offered: &Offered,
        answer: &'a Description,
    ) -> Result<Vec<Option<Accepted<'a>>>, &'static str> {
        let mut declined: Option<&str> = None;
        let mut accepted = Vec::with_capacity(offered.sections.len());
        let places = pair_up(&self.client_offer, answer);
        for (index, (section, place)) in offered.sections.iter().zip(places).enumerate() {
            let Some(section) = section else {
                accepted.push(None);
                continue;
            };
            let found = place.and_then(|place| Some((place, answer.media.get(place)?)));
            let (place, media) = found.ok_or("the answer lacks a section of the offer")?;
            let taken = answered_codecs(&section.codecs, media);
            if let Some(reason) = self.declines(media, &taken) {
                tracing::info!(stream = %self.key, section = index, reason, "a section is not taken");
                declined.get_or_insert(reason);
                accepted.push(None);
                continue;
            }
            if media.credentials.is_none() {
                return Err("the answer has no ICE credentials that can be used");
            }
            if media.fingerprints.is_empty() {
                return Err("the answer has no fingerprint of a hash that we know");
            }
            accepted.push(Some(Accepted { on_wire: on_wire(self.kind, &taken), taken, media, place }));
        }
        match declined {
            Some(reason) if accepted.iter().all(Option::is_none) => Err(reason),
            _ => Ok(accepted),
        }
    }

    /// Why a section is not taken.
    fn declines(&self, answer: &Media, taken: &[Taken]) -> Option<&'static str> {
        let flows = match self.kind {
            Kind::Publish => answer.direction.receives(),
            Kind::Play => answer.direction.sends(),
        };
        let reasons = [
            (answer.port == 0, "the answer rejects it"),
            (!flows, "the answer has it go the other way"),
            (taken.is_empty(), "no common codec"),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// Does this upstream reject a section that the one before took, and that the publisher fills?
    /// A stream without it would be half restored.
    fn loses_what_it_sends(&self, accepted: &[Option<Accepted<'_>>]) -> bool {
        let filled = |path: &Option<Path>| path.as_ref().is_some_and(|path| path.ever_flowed);
        self.kind == Kind::Publish
            && self.paths.iter().zip(accepted).any(|(path, taken)| filled(path) && taken.is_none())
    }

    fn make_upstream_leg(
        &mut self,
        offered: &Offered,
        answer: &Description,
        accepted: &[Option<Accepted<'_>>],
        ctx: &mut Context<'_>,
    ) -> Result<UpstreamLeg, NoLeg> {
        self.generation += 1;
        let places: Vec<usize> = accepted.iter().flatten().map(|a| a.place).collect();
        let bundle = self.plan.bundle && answer_bundled(answer, &places);
        let groups = groups(&taken(accepted), bundle);
        let mut leg = UpstreamLeg {
            epoch: offered.epoch,
            generation: self.generation,
            transports: Transports::new(groups.len(), self.client_offer.media.len()),
            links: Vec::with_capacity(groups.len()),
            created: ctx.now,
            connected_at: None,
            ended_at: None,
            said_life_at: None,
            said_complete: false,
            said_silent: false,
            said_codec: false,
        };
        for group in groups {
            match self.make_upstream_transport(offered, &group, bundle, accepted, &leg, ctx) {
                Ok((transport, link)) => {
                    leg.transports.add(transport, &group);
                    leg.links.push(link);
                }
                Err(reason) => {
                    leg.release(ctx);
                    return Err(reason);
                }
            }
        }
        Ok(leg)
    }

    #[allow(clippy::too_many_arguments)]
    fn make_upstream_transport(
        &self,
        offered: &Offered,
        group: &[usize],
        bundle: bool,
        accepted: &[Option<Accepted<'_>>],
        leg: &UpstreamLeg,
        ctx: &mut Context<'_>,
    ) -> Result<(Transport, Link), NoLeg> {
        let first = group.first().copied().unwrap_or_default();
        let section =
            offered.sections.get(first).and_then(Option::as_ref).ok_or("a section that was not offered")?;
        let remote =
            accepted.get(first).and_then(Option::as_ref).map(|a| a.media).ok_or("a rejected section")?;
        let credentials = remote.credentials.as_ref().ok_or("the answer has no ICE credentials")?;
        let (ways, unknown) = ways_to(remote, ctx)?;
        let extensions: Vec<Vec<Extension>> =
            group.iter().map(|i| self.upstream_extensions(*i, accepted, bundle)).collect();
        let media = group.iter().zip(&extensions).filter_map(|(index, extensions)| {
            let ours = offered.sections.get(*index)?.as_ref()?;
            let theirs = accepted.get(*index)?.as_ref()?;
            Some(MediaSpec {
                index: *index,
                mid: self.mid_of(*index),
                kind: theirs.media.kind?,
                codecs: &theirs.on_wire,
                extensions,
                send: ours.sources,
                receive: if self.kind == Kind::Play { theirs.media.sources } else { None },
            })
        });
        let spec = TransportSpec {
            ice_lite: false,
            local: ways.local.clone(),
            local_tcp: None,
            dialed: ways.dialed(),
            local_credentials: &section.credentials,
            remote_credentials: credentials,
            remote_fingerprints: &remote.fingerprints,
            // No role in an answer means active, as browsers read it.
            dtls_active: matches!(remote.setup, Some(Setup::Passive | Setup::ActPass)),
            remote_candidates: ways.candidates.clone(),
            media: media.collect(),
            rtx_packets: rtx_packets(ctx.settings),
            stats_interval: Some(ctx.settings.stats_interval).filter(|i| !i.is_zero()),
            limits: peer_limits(ctx.settings),
        };
        let transport = Transport::new(&spec, ctx.identity, ctx.now)?;
        let route = UpstreamRoute {
            stream: self.key,
            generation: leg.generation,
            transport: leg.transports.all.len(),
        };
        let output_bytes_max = ctx.settings.tcp_output_bytes_max;
        let mut link = Link::new(route, &section.credentials.ufrag, output_bytes_max, ctx.upstream_routes);
        if let Err(error) = link.add(ways, ctx.upstream_routes) {
            link.release(ctx.upstream_routes);
            return Err(NoLeg::NoSocket(format!("no socket for the upstream: {error}")));
        }
        for named in unknown {
            let name = named.name.clone();
            link.lookups += usize::from(ctx.names.ask(&name, Asker { route, named }));
        }
        Ok((transport, link))
    }

    /// A name among the upstream's candidates was looked up.
    pub(crate) fn name_known(&mut self, asker: &Asker, addresses: &[IpAddr], ctx: &mut Context<'_>) {
        let Asker { route, named } = asker;
        let Some(leg) = self.live_upstream().filter(|leg| leg.generation == route.generation) else { return };
        let link = leg.links.get_mut(route.transport);
        let (Some(transport), Some(link)) = (leg.transports.all.get_mut(route.transport), link) else {
            return;
        };
        link.lookups = link.lookups.saturating_sub(1);
        let ways = Ways::find(named.at(addresses), ctx.upstream_routes);
        let added = transport.add_ways(ways.candidates.clone(), &ways.local, &ways.dialed());
        let added = added.and_then(|()| link.add(ways, ctx.upstream_routes).map_err(|e| e.to_string()));
        if let Err(reason) = added {
            self.on_failed(Side::Upstream, format!("no socket for the upstream: {reason}"), ctx);
        } else if link.is_dead() {
            let reason = "no name among the candidates of the answer leads anywhere".to_owned();
            self.on_failed(Side::Upstream, reason, ctx);
        } else {
            self.drive(Side::Upstream, route.transport, ctx);
        }
    }

    /// The name of a section inside `str0m`: its mid where packets carry that, else one of ours.
    pub(super) fn mid_of(&self, index: usize) -> Mid {
        let mid = self.client_offer.media.get(index).and_then(|m| m.mid.as_deref());
        mid.filter(|_| self.plan.mids).map_or_else(|| Mid::from(index.to_string().as_str()), Mid::from)
    }

    /// Extensions that we offered and the upstream took.
    fn upstream_extensions(
        &self,
        index: usize,
        accepted: &[Option<Accepted<'_>>],
        bundle: bool,
    ) -> Vec<Extension> {
        let Some(client) = self.client_offer.media.get(index) else { return Vec::new() };
        let Some(theirs) = accepted.get(index).and_then(Option::as_ref) else { return Vec::new() };
        let mut extensions = self.extensions_to_offer(client);
        extensions.retain(|e| theirs.media.extensions.contains(e) && (bundle || e.uri != sdp::MID));
        extensions
    }
}

/// The ways to the upstream of a section, and the names that have to be looked up for more.
fn ways_to(remote: &Media, ctx: &Context<'_>) -> Result<(Ways, Vec<Named>), NoLeg> {
    let Candidates { usable: mut known, named } = candidates(remote);
    let mut unknown = Vec::new();
    for named in named {
        match ctx.names.known(&named.name, ctx.now) {
            Some(addresses) => known.extend(named.at(addresses)),
            None => unknown.push(named),
        }
    }
    let none_at_all = known.is_empty();
    let ways = Ways::find(known, ctx.upstream_routes);
    if !ways.candidates.is_empty() || !unknown.is_empty() {
        return Ok((ways, unknown));
    }
    if ways.starved {
        return Err(NoLeg::NoSocket("no descriptor for a connection to the upstream".to_owned()));
    }
    let reason = if none_at_all {
        "the answer has no candidate to send to"
    } else {
        "no UDP candidate of the answer has a route, no TCP candidate can be connected to"
    };
    Err(reason.into())
}

/// The sections that are taken.
pub(super) fn taken(accepted: &[Option<Accepted<'_>>]) -> Vec<usize> {
    accepted.iter().enumerate().filter(|(_, a)| a.is_some()).map(|(index, _)| index).collect()
}

/// These sections by transport.
pub(super) fn groups(sections: &[usize], bundle: bool) -> Vec<Vec<usize>> {
    if bundle { vec![sections.to_vec()] } else { sections.iter().map(|index| vec![*index]).collect() }
}

/// The payload types that may pass to the receiving leg. Of a publisher's video only the
/// upstream's first choice: when the browser changes, the upstream is asked anew.
fn allowed(kind: Kind, media: sdp::MediaType, accepted: &[Taken], formats: &[Format]) -> Vec<u8> {
    let mut types = accepted.iter().map(|t| t.codec.payload_type);
    match (kind, media) {
        (Kind::Publish, sdp::MediaType::Video) => types.next().into_iter().collect(),
        (Kind::Publish, sdp::MediaType::Audio) => types.collect(),
        (Kind::Play, _) if accepted.is_empty() => Vec::new(),
        (Kind::Play, _) => formats.iter().map(|f| f.payload_type).collect(),
    }
}

/// The codecs under the numbers that packets bear between us and the upstream: it receives under
/// those of its answer (RFC 3264 6.1) and sends under those of our offer, except where it sends
/// under its own all the same.
fn on_wire(kind: Kind, taken: &[Taken]) -> Vec<Codec> {
    if kind == Kind::Publish {
        return taken.iter().map(Taken::renumbered).collect();
    }
    let mut codecs: Vec<Codec> = taken.iter().map(|t| t.codec.clone()).collect();
    for mut codec in taken.iter().filter(|t| t.renumbering().is_some()).map(Taken::renumbered) {
        let known = |pt: u8| codecs.iter().any(|c| c.payload_type == pt || c.repair == Some(pt));
        codec.repair = codec.repair.filter(|repair| !known(*repair));
        if !known(codec.payload_type) {
            codecs.push(codec);
        }
    }
    codecs
}

/// Payload types as they come in, and as they go out, where that differs.
fn renumbered(kind: Kind, taken: &[Taken]) -> Vec<(u8, u8)> {
    let ours = |pt: u8| taken.iter().any(|t| t.codec.payload_type == pt || t.codec.repair == Some(pt));
    let pairs = taken.iter().filter_map(Taken::renumbering);
    match kind {
        Kind::Publish => pairs.map(|(theirs, ours)| (ours, theirs)).collect(),
        Kind::Play => pairs.filter(|(theirs, _)| !ours(*theirs)).collect(),
    }
}
