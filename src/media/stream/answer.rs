//! From the upstream's answer to a leg. What the client is answered of it is in `client`.

use std::net::IpAddr;

use rand::RngExt as _;
use str0m::media::Mid;

use crate::{
    media::{
        Fact, Kind,
        routes::{NoSocketLeft, UpstreamRoute},
        sdp::{
            self, Codec, Description, Extension, Media, Setup, Taken, answer_bundled, answered_codecs,
            pair_up,
        },
        transport::{MediaSpec, Transport, TransportSpec},
    },
    session::Epoch,
};

use super::{
    Asker, Context, Side, Stream,
    candidates::{Candidates, candidates},
    error::{AnswerError, Declined},
    leg::{Offered, Reaching, UpstreamLeg},
    legs::Upstream,
    link::Link,
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

impl Stream {
    /// Takes the upstream's answer to the offer of this epoch.
    pub(crate) fn upstream_answer(&mut self, epoch: Epoch, answer: String, ctx: &mut Context<'_>) {
        if !matches!(&self.legs.upstream, Upstream::Offered(offered) if offered.epoch == epoch) {
            return;
        }
        let Upstream::Offered(offered) = std::mem::take(&mut self.legs.upstream) else { return };
        self.generation += 1;
        let generation = self.generation;
        let mut reaching = Reaching { offered: *offered, generation, answer, links: Vec::new() };
        match self.reach(&mut reaching, ctx) {
            Ok(()) => {
                self.legs.upstream = Upstream::Reaching(Box::new(reaching));
                self.reached(Ok(()), ctx);
            }
            Err(error) => self.comes_to_nothing(reaching, &error, ctx),
        }
    }

    /// Finds the ways to the upstream by its answer.
    fn reach(&self, reaching: &mut Reaching, ctx: &mut Context<'_>) -> Result<(), AnswerError> {
        let Reaching { offered, generation, answer, links } = reaching;
        let answer = sdp::parse(answer)?;
        let accepted = self.accepted(offered, &answer)?;
        self.keeps_all(&accepted)?;
        let (groups, _) = self.upstream_groups(&answer, &accepted);
        for (number, group) in groups.iter().enumerate() {
            let first = group.first().copied().unwrap_or_default();
            let section = offered.sections.get(first).and_then(Option::as_ref);
            let remote = accepted.get(first).and_then(Option::as_ref).map(|a| a.media);
            let (section, remote) = section.zip(remote).ok_or(AnswerError::NoSection)?;
            let route = UpstreamRoute { stream: self.key, generation: *generation, transport: number };
            links.push(Link::new(route, &section.credentials.ufrag, ctx));
            if let Some(link) = links.last_mut() {
                find_ways(link, route, remote, ctx)?;
            }
        }
        Ok(())
    }

    /// There is news of the ways to an upstream that has answered: makes the leg once the system has
    /// said of each socket and connection whether there is one.
    pub(super) fn reached(&mut self, outcome: Result<(), NoSocketLeft>, ctx: &mut Context<'_>) {
        let Upstream::Reaching(reaching) = &self.legs.upstream else { return };
        if outcome.is_ok() && reaching.links.iter().any(|link| link.is_opening(ctx)) {
            return;
        }
        let Upstream::Reaching(reaching) = std::mem::take(&mut self.legs.upstream) else { return };
        let mut reaching = *reaching;
        let made = outcome.map_err(AnswerError::from).and_then(|()| self.take_answer(&mut reaching, ctx));
        match made {
            Ok(leg) => {
                self.legs.upstream = Upstream::Live(Box::new(leg));
                self.drive_all(ctx);
            }
            Err(error) => self.comes_to_nothing(reaching, &error, ctx),
        }
    }

    fn comes_to_nothing(&mut self, reaching: Reaching, error: &AnswerError, ctx: &mut Context<'_>) {
        let (epoch, reason) = (reaching.offered.epoch, error.to_string());
        reaching.release(ctx);
        self.reporter.say(if error.is_for_want_of_sockets() {
            Fact::OutOfSockets { epoch, reason }
        } else {
            Fact::UpstreamFailed { epoch, reason }
        });
    }

    fn take_answer(
        &mut self,
        reaching: &mut Reaching,
        ctx: &mut Context<'_>,
    ) -> Result<UpstreamLeg, AnswerError> {
        for link in &reaching.links {
            leads_anywhere(link)?;
        }
        let Reaching { offered, generation, answer, links } = reaching;
        let answer = sdp::parse(answer)?;
        let accepted = self.accepted(offered, &answer)?;
        // An answer that is of no use is no reason to answer the client: it may get this one.
        let mut leg = self.make_upstream_leg((offered, *generation), &answer, &accepted, links, ctx)?;
        if self.legs.client.is_none() {
            self.make_client_leg(&accepted, ctx)?;
        }
        leg.links = std::mem::take(links);
        for (index, path) in self.paths.iter_mut().enumerate() {
            let Some(path) = path else { continue };
            path.attached(self.kind, ctx.random.random(), ctx.now);
            let taken =
                accepted.get(index).and_then(Option::as_ref).map(|a| a.taken.as_slice()).unwrap_or_default();
            path.allowed = allowed(self.kind, path.media, taken, &path.formats);
            path.renumbered = renumbered(self.kind, taken);
        }
        self.stats.attached += 1;
        Ok(leg)
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
    ) -> Result<Vec<Option<Accepted<'a>>>, AnswerError> {
        let mut declined: Option<Declined> = None;
        let mut accepted = Vec::with_capacity(offered.sections.len());
        let places = pair_up(&self.client_offer, answer);
        for (index, (section, place)) in offered.sections.iter().zip(places).enumerate() {
            let Some(section) = section else {
                accepted.push(None);
                continue;
            };
            let found = place.and_then(|place| Some((place, answer.media.get(place)?)));
            let (place, media) = found.ok_or(AnswerError::LacksSection)?;
            let taken = answered_codecs(&section.codecs, media);
            if let Some(reason) = self.declines(media, &taken) {
                tracing::info!(stream = %self.key, section = index, %reason, "a section is not taken");
                declined.get_or_insert(reason);
                accepted.push(None);
                continue;
            }
            if media.credentials.is_none() {
                return Err(AnswerError::NoCredentials);
            }
            if media.fingerprints.is_empty() {
                return Err(AnswerError::NoFingerprint);
            }
            accepted.push(Some(Accepted { on_wire: on_wire(self.kind, &taken), taken, media, place }));
        }
        match declined {
            Some(reason) if accepted.iter().all(Option::is_none) => Err(reason.into()),
            _ => Ok(accepted),
        }
    }

    /// Why a section is not taken.
    fn declines(&self, answer: &Media, taken: &[Taken]) -> Option<Declined> {
        let flows = match self.kind {
            Kind::Publish => answer.direction.receives(),
            Kind::Play => answer.direction.sends(),
        };
        let reasons = [
            (answer.port == 0, Declined::Rejected),
            (!flows, Declined::OtherWay),
            (taken.is_empty(), Declined::NoCodec),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// No section is rejected that the upstream before took, and that the publisher fills; and none that
    /// the upstream that is left sends to the player. A stream without it would be half restored.
    fn keeps_all(&self, accepted: &[Option<Accepted<'_>>]) -> Result<(), AnswerError> {
        let filled = |path: &Option<Path>| path.as_ref().is_some_and(|path| path.ever_flowed);
        let loses = self.paths.iter().zip(accepted).any(|(path, taken)| filled(path) && taken.is_none());
        match self.kind {
            Kind::Publish if loses => Err(AnswerError::LosesMedia),
            Kind::Play if loses && self.legs.leg(Side::Left).is_some() => Err(AnswerError::LacksMedia),
            _ => Ok(()),
        }
    }

    /// The sections that the upstream takes, by transport, and whether it bundles them.
    fn upstream_groups(
        &self,
        answer: &Description,
        accepted: &[Option<Accepted<'_>>],
    ) -> (Vec<Vec<usize>>, bool) {
        let places: Vec<usize> = accepted.iter().flatten().map(|a| a.place).collect();
        let bundle = self.plan.bundle && answer_bundled(answer, &places);
        (groups(&taken(accepted), bundle), bundle)
    }

    /// Without its links: they stay with the caller until nothing can fail any more.
    fn make_upstream_leg(
        &self,
        (offered, generation): (&Offered, u32),
        answer: &Description,
        accepted: &[Option<Accepted<'_>>],
        links: &mut [Link],
        ctx: &mut Context<'_>,
    ) -> Result<UpstreamLeg, AnswerError> {
        let (groups, bundle) = self.upstream_groups(answer, accepted);
        let mut transports = Transports::new(groups.len(), self.client_offer.media.len());
        for (group, link) in groups.iter().zip(links) {
            let transport = self.make_upstream_transport(offered, group, bundle, accepted, link, ctx)?;
            transports.add(transport, group);
        }
        Ok(UpstreamLeg {
            epoch: offered.epoch,
            generation,
            transports,
            links: Vec::new(),
            created: ctx.now,
            connected_at: None,
            ended_at: None,
            said_life_at: None,
            said_complete: false,
            said_silent: false,
            said_codec: false,
            said_goes: None,
        })
    }

    fn make_upstream_transport(
        &self,
        offered: &Offered,
        group: &[usize],
        bundle: bool,
        accepted: &[Option<Accepted<'_>>],
        link: &mut Link,
        ctx: &mut Context<'_>,
    ) -> Result<Transport, AnswerError> {
        let first = group.first().copied().unwrap_or_default();
        let section = offered.sections.get(first).and_then(Option::as_ref).ok_or(AnswerError::NoSection)?;
        let remote = accepted.get(first).and_then(Option::as_ref).ok_or(AnswerError::NoSection)?.media;
        let credentials = remote.credentials.as_ref().ok_or(AnswerError::NoCredentials)?;
        let ways = link.take_ways();
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
            local: ways.local,
            local_tcp: None,
            dialed: ways.dialed,
            local_credentials: &section.credentials,
            remote_credentials: credentials,
            remote_fingerprints: &remote.fingerprints,
            // No role in an answer means active, as browsers read it.
            dtls_active: matches!(remote.setup, Some(Setup::Passive | Setup::ActPass)),
            remote_candidates: ways.candidates,
            media: media.collect(),
            rtx_packets: rtx_packets(ctx.settings),
            stats_interval: Some(ctx.settings.stats_interval).filter(|i| !i.is_zero()),
            limits: peer_limits(ctx.settings),
        };
        Ok(Transport::new(&spec, ctx.engines, ctx.now)?)
    }

    /// A name among the upstream's candidates was looked up.
    pub(crate) fn name_known(&mut self, asker: &Asker, addresses: &[IpAddr], ctx: &mut Context<'_>) {
        let Asker { route, named } = asker;
        let Some(link) = self.link(*route) else { return };
        link.lookups = link.lookups.saturating_sub(1);
        let outcome = link.add(named.at(addresses), ctx);
        self.way_changed(*route, outcome, ctx);
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

/// Gives a link the ways to the upstream of a section, and has names looked up for more.
fn find_ways(
    link: &mut Link,
    route: UpstreamRoute,
    remote: &Media,
    ctx: &mut Context<'_>,
) -> Result<(), NoSocketLeft> {
    let Candidates { usable: mut known, named } = candidates(remote);
    for named in named {
        if let Some(addresses) = ctx.names.known(&named.name, ctx.now) {
            known.extend(named.at(addresses));
        } else {
            let name = named.name.clone();
            let asked = ctx.names.ask(&name, Asker { route, named }, ctx.outputs);
            link.lookups += usize::from(asked);
        }
    }
    link.add(known, ctx)
}

/// May a transport be made that has this link?
fn leads_anywhere(link: &Link) -> Result<(), AnswerError> {
    if !link.is_dead() {
        return Ok(());
    }
    Err(match link.candidates {
        _ if link.starved => AnswerError::NoConnection,
        0 => AnswerError::NoCandidate,
        _ => AnswerError::NoWay,
    })
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
