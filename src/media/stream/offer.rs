//! From the client's offer to ours.
use rand::{RngExt as _, rngs::StdRng};

use crate::{
    media::{
        Client, Fact, Kind, MediaSettings, StreamKey, StreamStats,
        certificate::credentials,
        clock::SenderClock,
        sdp::{
            self, Codec, Description, Direction, Extension, OfferMedia, Plan, Sources, UpstreamOffer,
            offered_codecs,
        },
        transport::PeerLimits,
    },
    session::Epoch,
};

use super::{
    Context, Stream,
    error::OfferError,
    leg::{ClientLeg, Offered, OfferedSection},
    legs::{Legs, Upstream},
    path::Path,
    report::Reporter,
};

/// Everything that comes with `MediaCommand::Open`.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) key: StreamKey,
    pub(crate) kind: Kind,
    pub(crate) epoch: Epoch,
    pub(crate) client_offer: String,
    pub(crate) refuse_h264: bool,
    pub(crate) client: Client,
}

impl Stream {
    /// Takes a client's offer and makes the first upstream offer. None: it cannot be anchored,
    /// which was reported.
    pub(crate) fn open(opening: Opening, has_room: bool, ctx: &mut Context<'_>) -> Option<Self> {
        let Opening { key, kind, epoch, client_offer, refuse_h264, client } = opening;
        let Client { local_ip, facts } = client;
        let mut reporter = Reporter::new(key, facts);
        let (description, plan) = match read(&client_offer, kind, has_room) {
            Ok(read) => read,
            Err(error) => {
                reporter.say(Fact::Unanchorable { reason: error.to_string() });
                return None;
            }
        };
        if !plan.left_out.is_empty() {
            let sections = plan.complaints(&description).join(", ");
            tracing::info!(stream = %key, sections, "sections of an offer are not anchored");
        }
        let paths = description
            .media
            .iter()
            .enumerate()
            .map(|(i, m)| {
                let media = m.kind.filter(|_| plan.live.contains(&i))?;
                Some(Path::new(media, ctx.random.random(), ctx.now))
            })
            .collect();
        let mut stream = Self {
            key,
            kind,
            reporter,
            client_offer: description,
            plan,
            local_ip,
            refuse_h264,
            session_id: ctx.random.random::<u64>() >> 2,
            legs: Legs::default(),
            epoch,
            generation: 0,
            paths,
            watchdog: None,
            video_muted: false,
            stats: StreamStats { kind: Some(kind), ..StreamStats::default() },
            stats_before: [0; 4],
            stats_at: ctx.now,
            sender_clock: SenderClock::default(),
            idle_proof: ctx.settings.idle_proof,
            was_quiet: false,
            timers_at: ctx.now,
            closed: false,
        };
        if let Err(error) = stream.offer(epoch, false, ctx) {
            stream.reporter.say(Fact::Unanchorable { reason: error.to_string() });
            return None;
        }
        Some(stream)
    }

    /// Makes a new upstream leg, in place of what there is.
    pub(crate) fn attach(&mut self, epoch: Epoch, narrow: bool, refuse_h264: bool, ctx: &mut Context<'_>) {
        self.detach(ctx);
        self.begin(epoch, narrow, refuse_h264, ctx);
    }

    /// The same beside the leg there is.
    pub(crate) fn attach_beside(
        &mut self,
        epoch: Epoch,
        narrow: bool,
        refuse_h264: bool,
        ctx: &mut Context<'_>,
    ) {
        self.leave(ctx);
        self.begin(epoch, narrow, refuse_h264, ctx);
    }

    fn begin(&mut self, epoch: Epoch, narrow: bool, refuse_h264: bool, ctx: &mut Context<'_>) {
        if self.legs.client.is_none() {
            self.refuse_h264 |= refuse_h264;
        }
        if let Err(error) = self.offer(epoch, narrow, ctx) {
            self.reporter.say(Fact::UpstreamFailed { epoch, reason: error.to_string() });
        }
    }

    fn offer(&mut self, epoch: Epoch, narrow: bool, ctx: &mut Context<'_>) -> Result<(), OfferError> {
        self.epoch = epoch;
        let mut offered = Offered { epoch, sections: Vec::new() };
        let mut sections: Vec<Option<OfferedSection>> = Vec::new();
        for index in 0..self.client_offer.media.len() {
            if !self.is_carried(index) {
                sections.push(None);
                continue;
            }
            let codecs = self.codecs_to_offer(index, narrow);
            if codecs.is_empty() {
                return Err(OfferError::NoCodec);
            }
            let repairable = codecs.iter().any(|c| c.repair.is_some());
            let sources = (self.kind == Kind::Publish).then(|| new_sources(repairable, ctx.random));
            sections.push(Some(OfferedSection { credentials: credentials(ctx.random), codecs, sources }));
        }
        offered.sections = sections;
        let sdp = self.write_offer(&offered, ctx);
        self.legs.upstream = Upstream::Offered(Box::new(offered));
        self.reporter.say(Fact::UpstreamOffer { epoch, sdp });
        Ok(())
    }

    /// Does this section carry media? One that the client was told is rejected never will.
    fn is_carried(&self, index: usize) -> bool {
        let answered = |c: &ClientLeg| c.codecs.get(index).is_some_and(|codecs| !codecs.is_empty());
        self.plan.live.contains(&index) && self.legs.client.as_ref().is_none_or(answered)
    }

    fn codecs_to_offer(&self, index: usize, narrow: bool) -> Vec<Codec> {
        let Some(media) = self.client_offer.media.get(index) else { return Vec::new() };
        if self.kind == Kind::Play {
            let Some(client) = &self.legs.client else { return offered_codecs(media, self.refuse_h264, &[]) };
            // A player can never renegotiate: what it was answered is what it can take, and how is
            // in its own words. The answer's are those of a server that is gone (RFC 6184 8.2.2).
            let answered = client.codecs.get(index).into_iter().flatten();
            let own = |pt: u8| media.codecs.iter().find(|c| c.payload_type == pt);
            return answered.filter_map(|codec| own(codec.payload_type)).cloned().collect();
        }
        let path = self.paths.get(index).and_then(Option::as_ref);
        let sent = path.and_then(|p| p.last_type).filter(|_| narrow);
        let mut codecs = offered_codecs(media, self.refuse_h264, sent.as_slice());
        if let (false, Some(client)) = (sent.is_some(), &self.legs.client) {
            // The client sends what it was answered, nothing else.
            let answered = client.codecs.get(index).map(Vec::as_slice).unwrap_or_default();
            codecs.retain(|c| answered.iter().any(|a| a.payload_type == c.payload_type));
        }
        if uses_remb(media) {
            // With transport-cc the estimate would stay with us; as REMB it goes to the client.
            for codec in &mut codecs {
                codec.feedback.retain(|f| f != "transport-cc");
            }
        }
        codecs
    }

    fn write_offer(&self, offered: &Offered, ctx: &Context<'_>) -> String {
        let direction = match self.kind {
            Kind::Publish => Direction::SendOnly,
            Kind::Play => Direction::RecvOnly,
        };
        let extensions: Vec<Vec<Extension>> =
            self.client_offer.media.iter().map(|m| self.extensions_to_offer(m)).collect();
        let media = offered.sections.iter().zip(&extensions).map(|(section, extensions)| {
            section.as_ref().map(|section| OfferMedia {
                direction,
                credentials: &section.credentials,
                codecs: &section.codecs,
                extensions,
                sources: section.sources,
            })
        });
        let cname = self.cname();
        UpstreamOffer {
            client: &self.client_offer,
            session_id: self.session_id,
            fingerprint: &ctx.identity.fingerprint,
            cname: &cname,
            bundle: self.plan.bundle,
            media: media.collect(),
        }
        .write()
    }

    pub(super) fn extensions_to_offer(&self, media: &sdp::Media) -> Vec<Extension> {
        let strip_cc = self.kind == Kind::Publish && uses_remb_anywhere(&self.client_offer);
        let wanted = |e: &&Extension| !(strip_cc && e.uri == sdp::TRANSPORT_CC);
        media.extensions.iter().filter(wanted).cloned().collect()
    }

    pub(super) fn cname(&self) -> String {
        format!("{:016x}", self.session_id)
    }
}

/// Reads a client's offer, and decides what of it is anchored.
fn read(offer: &str, kind: Kind, has_room: bool) -> Result<(Description, Plan), OfferError> {
    if !has_room {
        return Err(OfferError::TooManyStreams);
    }
    let mut description = sdp::parse(offer)?;
    let plan = sdp::plan(&mut description, kind)?;
    Ok((description, plan))
}

fn uses_remb(media: &sdp::Media) -> bool {
    media.codecs.iter().any(|c| c.feedback.iter().any(|f| f == "goog-remb"))
}

pub(super) fn uses_remb_anywhere(description: &sdp::Description) -> bool {
    description.media.iter().any(uses_remb)
}

pub(super) fn new_sources(repairable: bool, random: &mut StdRng) -> Sources {
    // Zero is for probes; two equal ones would be a conflict with ourselves.
    let main = random.random_range(1..u32::MAX);
    let repair = repairable.then(|| main.wrapping_add(random.random_range(1..u32::MAX - 1)).max(1));
    Sources { main, repair }
}

/// What a peer may take per transport.
pub(super) const fn peer_limits(settings: &MediaSettings) -> PeerLimits {
    PeerLimits {
        addresses_max: settings.addresses_per_transport_max,
        checks_per_second: settings.checks_per_second_max,
    }
}

/// Settings that a leg is built with.
pub(super) fn rtx_packets(settings: &MediaSettings) -> usize {
    /// A full packet and what is kept with it.
    const PACKET_BYTES: usize = 1_700;
    (settings.rtx_cache_bytes_max / PACKET_BYTES).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_holds_what_its_bytes_allow_and_never_nothing() {
        let packets =
            |bytes| rtx_packets(&MediaSettings { rtx_cache_bytes_max: bytes, ..Default::default() });
        assert_eq!([packets(0), packets(17_000), packets(200_000)], [1, 10, 117]);
    }
}
