//! The leg of the client: made of what the first upstream takes, and told to the client as an answer,
//! later as offers with new credentials.

use std::net::SocketAddr;

use crate::media::{
    Fact, Kind,
    certificate::credentials,
    routes::ClientRoute,
    sdp::{self, AnswerMedia, ClientAnswer, Credentials, Direction, Extension, Setup, client_codecs},
    transport::{MediaSpec, Transport, TransportSpec},
    watchdog::Watchdog,
};

use super::{
    Context, Stream,
    answer::{Accepted, groups, taken},
    error::AnswerError,
    leg::ClientLeg,
    offer::{new_sources, peer_limits, rtx_packets, uses_remb_anywhere},
    path::Format,
    transports::Transports,
};

impl Stream {
    pub(super) fn make_client_leg(
        &mut self,
        accepted: &[Option<Accepted<'_>>],
        ctx: &mut Context<'_>,
    ) -> Result<(), AnswerError> {
        let candidates = self.client_candidates(ctx);
        let (taken, bundle) = (taken(accepted), self.plan.bundle);
        let groups = groups(&taken, bundle);
        let sections = self.client_offer.media.len();
        let mut leg = ClientLeg {
            transports: Transports::new(groups.len(), sections),
            credentials: groups.iter().map(|_| vec![credentials(ctx.random)]).collect(),
            codecs: vec![Vec::new(); sections],
            sources: vec![None; sections],
            bandwidth: vec![Vec::new(); sections],
            candidates,
            tcp: ctx.client_tcp.is_some(),
            bundle,
            created: ctx.now,
            said_connected: false,
            version: 0,
            silent_tries: 0,
            silent_since: ctx.now,
        };
        for index in taken {
            self.answer_section(index, accepted, &mut leg, ctx);
        }
        for group in &groups {
            let transport = self.make_client_transport(group, leg.transports.all.len(), &leg, ctx)?;
            leg.transports.add(transport, group);
        }
        for (transport, given) in leg.credentials.iter().enumerate() {
            self.route(transport, given, ctx);
        }
        let watch = self.kind == Kind::Publish
            && ctx.settings.check_bitrate
            && leg.codecs.iter().flatten().any(|c| c.kind() != sdp::CodecKind::Other);
        if watch {
            let settings = ctx.settings;
            self.watchdog =
                Watchdog::new(settings.bitrate_check_interval, settings.bitrate_max_tries, ctx.now);
            self.mute(self.video_muted, ctx.now);
        }
        let sdp = self.describe(&mut leg, false, ctx);
        self.legs.client = Some(leg);
        self.reporter.say(Fact::ClientAnswer { sdp });
        Ok(())
    }

    /// Where the client's media is to go: what is advertised; else where its signaling arrived, or the one address at
    /// which media is listened for, as nobody would hear it elsewhere.
    fn client_candidates(&self, ctx: &Context<'_>) -> Vec<SocketAddr> {
        let (bound, port) = (ctx.client_local.ip(), ctx.client_local.port());
        let here = [if bound.is_unspecified() { self.local_ip } else { bound }];
        let advertised = &ctx.settings.advertise[..];
        let ips = if advertised.is_empty() { &here[..] } else { advertised };
        ips.iter().map(|ip| SocketAddr::new(ip.to_canonical(), port)).collect()
    }

    fn answer_section(
        &mut self,
        index: usize,
        accepted: &[Option<Accepted<'_>>],
        leg: &mut ClientLeg,
        ctx: &mut Context<'_>,
    ) {
        let Some(client) = self.client_offer.media.get(index) else { return };
        let Some(theirs) = accepted.get(index).and_then(Option::as_ref) else { return };
        let codecs = client_codecs(self.kind, client, &theirs.taken, self.refuse_h264);
        if let Some(path) = self.paths.get_mut(index).and_then(Option::as_mut) {
            path.formats = codecs.iter().map(Format::of).collect();
        }
        if let Some(slot) = leg.sources.get_mut(index).filter(|_| self.kind == Kind::Play) {
            *slot = Some(new_sources(codecs.iter().any(|c| c.repair.is_some()), ctx.random));
        }
        if let Some(slot) = leg.bandwidth.get_mut(index).filter(|_| self.kind == Kind::Publish) {
            slot.clone_from(&theirs.media.bandwidth);
        }
        if let Some(slot) = leg.codecs.get_mut(index) {
            *slot = codecs;
        }
    }

    fn make_client_transport(
        &self,
        group: &[usize],
        number: usize,
        leg: &ClientLeg,
        ctx: &mut Context<'_>,
    ) -> Result<Transport, AnswerError> {
        let tells = self.plan.tagged.or_else(|| group.first().copied());
        let first = tells.and_then(|i| self.client_offer.media.get(i)).ok_or(AnswerError::NoSection)?;
        let local = *leg.candidates.first().ok_or(AnswerError::NoClientAddress)?;
        let extensions: Vec<Vec<Extension>> =
            group.iter().map(|i| self.client_extensions(*i, true)).collect();
        let media = group.iter().zip(&extensions).filter_map(|(index, extensions)| {
            let client = self.client_offer.media.get(*index)?;
            Some(MediaSpec {
                index: *index,
                mid: self.mid_of(*index),
                kind: client.kind?,
                codecs: leg.codecs.get(*index)?,
                extensions,
                send: leg.sources.get(*index).copied().flatten(),
                receive: if self.kind == Kind::Publish { client.sources } else { None },
            })
        });
        let given = leg.credentials.get(number).and_then(|c| c.last()).ok_or(AnswerError::NoSection)?;
        let spec = TransportSpec {
            ice_lite: true,
            local: vec![local],
            local_tcp: leg.tcp.then_some(local),
            dialed: Vec::new(),
            local_credentials: given,
            remote_credentials: first.credentials.as_ref().ok_or(AnswerError::NoClientCredentials)?,
            remote_fingerprints: &first.fingerprints,
            dtls_active: first.setup == Some(Setup::Passive),
            remote_candidates: Vec::new(),
            media: media.collect(),
            rtx_packets: rtx_packets(ctx.settings),
            stats_interval: Some(ctx.settings.stats_interval).filter(|i| !i.is_zero()),
            limits: peer_limits(ctx.settings),
        };
        Ok(Transport::new(&spec, ctx.engines, ctx.now)?)
    }

    /// Extensions of the client leg. `on_wire`: those that packets carry. A player that gets no
    /// transport-wide numbers estimates by itself and tells by REMB, which goes upstream.
    fn client_extensions(&self, index: usize, on_wire: bool) -> Vec<Extension> {
        let Some(client) = self.client_offer.media.get(index) else { return Vec::new() };
        let remb = uses_remb_anywhere(&self.client_offer);
        let skip_cc = on_wire && self.kind == Kind::Play && remb;
        let wanted = |e: &&Extension| !(skip_cc && e.uri == sdp::TRANSPORT_CC);
        client.extensions.iter().filter(wanted).cloned().collect()
    }

    /// Writes what the client is to be told of its leg.
    fn describe(&self, leg: &mut ClientLeg, as_offer: bool, ctx: &Context<'_>) -> String {
        leg.version += 1;
        let direction = match self.kind {
            Kind::Publish => Direction::RecvOnly,
            Kind::Play => Direction::SendOnly,
        };
        let sections = 0..self.client_offer.media.len();
        let extensions: Vec<Vec<Extension>> =
            sections.clone().map(|i| self.client_extensions(i, false)).collect();
        let leg: &ClientLeg = leg;
        let media = sections.map(|index| {
            let extensions = extensions.get(index)?;
            section_answer(leg, index, direction, extensions).or_else(|| self.idle(leg, index, extensions))
        });
        let cname = self.cname();
        ClientAnswer {
            client: &self.client_offer,
            session_id: self.session_id,
            version: leg.version,
            fingerprint: &ctx.identity.fingerprint,
            cname: &cname,
            candidates: &leg.candidates,
            tcp: leg.tcp,
            bundle: leg.bundle,
            as_offer,
            media: media.collect(),
        }
        .write()
    }

    /// The answer to a section that carries nothing and speaks for its BUNDLE all the same.
    fn idle<'a>(
        &'a self,
        leg: &'a ClientLeg,
        index: usize,
        extensions: &'a [Extension],
    ) -> Option<AnswerMedia<'a>> {
        let client = self.client_offer.media.get(index).filter(|_| self.plan.tagged == Some(index))?;
        Some(AnswerMedia {
            direction: Direction::Inactive,
            credentials: leg.credentials.first()?.last()?,
            codecs: &client.codecs,
            extensions,
            sources: None,
            bandwidth: &[],
        })
    }

    /// Has checks for any of these credentials come to a transport.
    fn route(&self, transport: usize, given: &[Credentials], ctx: &mut Context<'_>) {
        let route = ClientRoute { stream: self.key, transport };
        for (number, credentials) in given.iter().enumerate() {
            ctx.client_routes.add_name(credentials.ufrag.clone(), route, number);
        }
    }

    /// Gives the client leg new credentials; its DTLS and SRTP state stays.
    pub(crate) fn revive(&mut self, ctx: &mut Context<'_>) {
        let Some(mut leg) = self.legs.client.take() else { return };
        for (transport, given) in leg.credentials.iter_mut().enumerate() {
            // Older ones stay valid up to this bound, the first to go is the oldest.
            if given.len() > ctx.settings.client_revive_tries_max as usize {
                ctx.client_routes.remove_name(&given.remove(0).ufrag);
            }
            given.push(credentials(ctx.random));
            self.route(transport, given, ctx);
            if let Some(transport) = leg.transports.all.get_mut(transport) {
                transport.let_go();
            }
        }
        self.stats.revivals += 1;
        ctx.tally.revivals += 1;
        let sdp = self.describe(&mut leg, true, ctx);
        self.legs.client = Some(leg);
        self.reporter.say(Fact::NewClientCredentials { sdp });
    }
}

fn section_answer<'a>(
    leg: &'a ClientLeg,
    index: usize,
    direction: Direction,
    extensions: &'a [Extension],
) -> Option<AnswerMedia<'a>> {
    let transport = leg.credentials_of(index)?;
    Some(AnswerMedia {
        direction,
        credentials: transport,
        codecs: leg.codecs.get(index).filter(|c| !c.is_empty())?,
        extensions,
        sources: leg.sources.get(index).copied().flatten(),
        bandwidth: leg.bandwidth.get(index).map(Vec::as_slice).unwrap_or_default(),
    })
}
