//! Builds the transports of one publish or play and the text that answers its offer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::{CodecConfig, PayloadParams};
use str0m::media::{MediaKind, Mid};
use str0m::net::TcpType;
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

use super::answer::{AgreedMedia, AnswerText, MediaRefusal, SentSource, TransportText, agree, dtls_active};
use super::certificate::fingerprints;
use super::engine::{Engine, TransportId};
use super::forward::Outgoing;
use super::sdp::{Description, MediaSection, extension_map};
use super::settings::{AnswerOptions, MediaSettings};
use super::transport::{BindingLine, LateBinding, Link};

/// How often str0m reports NACK counts.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How long sent video packets stay available for retransmission.
const RESEND_AGE: Duration = Duration::from_secs(3);

/// What all transports of a process share.
pub(crate) struct Identity {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
}

/// One m-line of an open leg.
pub(crate) struct Line {
    pub(crate) transport: TransportId,
    pub(crate) mid: Mid,
    pub(crate) audio: bool,
    pub(crate) payloads: Vec<PayloadParams>,
    /// Present on a play.
    pub(crate) outgoing: Option<Outgoing>,
    /// The publisher's SSRC once it is seen.
    pub(crate) ssrc: Option<u32>,
    /// RTP timestamp of the last key frame received.
    pub(crate) last_key_timestamp: Option<u32>,
}

/// A publish or play with its open transports.
pub(crate) struct OpenLeg {
    pub(crate) lines: Vec<Line>,
    pub(crate) transports: Vec<TransportId>,
    pub(crate) answer: String,
}

/// One offer and how it is to be answered.
pub(crate) struct Request<'a> {
    pub(crate) id: &'a str,
    pub(crate) offer: &'a str,
    pub(crate) options: &'a AnswerOptions,
    pub(crate) publish: bool,
}

/// Opens the transports for an offer. On an error nothing stays open.
pub(crate) fn open(
    engine: &mut Engine,
    identity: &Identity,
    settings: &MediaSettings,
    random: &mut SmallRng,
    request: &Request<'_>,
) -> Result<OpenLeg, MediaRefusal> {
    let offer = Description::parse(request.offer);
    let agreed = agree(&offer, request.options)?;
    let bundled = request.options.shape.bundled() && offers_bundle(&offer, &agreed);
    let mut builder = Builder {
        engine,
        identity,
        settings,
        random,
        request,
        lines: Vec::new(),
        opened: Vec::new(),
        texts: (0..agreed.len()).map(|_| None).collect(),
        sources: vec![None; agreed.len()],
    };
    let accepted: Vec<(usize, &MediaSection)> = agreed
        .iter()
        .enumerate()
        .filter_map(|(index, media)| Some((index, media.section.as_ref()?)))
        .collect();
    let groups: Vec<&[(usize, &MediaSection)]> =
        if bundled { vec![accepted.as_slice()] } else { accepted.chunks(1).collect() };
    for group in groups {
        if let Err(refusal) = builder.transport(group) {
            for id in std::mem::take(&mut builder.opened) {
                builder.engine.remove(id);
            }
            return Err(refusal);
        }
    }
    let answer = AnswerText {
        media_session_id: request.id,
        offer: &offer,
        agreed: &agreed,
        options: request.options,
        role: settings.dtls_role,
        bundled,
        transports: &builder.texts,
        sources: &builder.sources,
        publish: request.publish,
    }
    .write();
    Ok(OpenLeg { lines: builder.lines, transports: builder.opened, answer })
}

fn offers_bundle(offer: &Description, agreed: &[AgreedMedia]) -> bool {
    agreed.iter().filter_map(|media| media.section.as_ref()).all(|section| {
        section.mid.as_ref().is_some_and(|mid| offer.bundle.iter().any(|bundled| bundled == mid))
    })
}

struct Builder<'a> {
    engine: &'a mut Engine,
    identity: &'a Identity,
    settings: &'a MediaSettings,
    random: &'a mut SmallRng,
    request: &'a Request<'a>,
    lines: Vec<Line>,
    opened: Vec<TransportId>,
    texts: Vec<Option<TransportText>>,
    sources: Vec<Option<SentSource>>,
}

impl Builder<'_> {
    /// Opens one transport for the m-lines of `group` (several when bundled).
    fn transport(&mut self, group: &[(usize, &MediaSection)]) -> Result<(), MediaRefusal> {
        let Some((_, first)) = group.first() else {
            return Ok(());
        };
        let failed = |error: &dyn std::fmt::Display| MediaRefusal::Failed(error.to_string());
        let tcp = self.request.options.over_tcp();
        let ip = self.settings.bind_ip;
        let link = if tcp { Link::tcp_passive(ip) } else { Link::udp(ip) };
        let link = link.map_err(|error| failed(&error))?;
        let mut address = link.local_addr().map_err(|error| failed(&error))?;
        address.set_ip(self.settings.candidate_ip());
        let candidate = if tcp {
            Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build()
        } else {
            Candidate::host(address, "udp")
        };
        let candidate = candidate.map_err(|error| failed(&error))?;

        let mut rtc = self.configure(group, first).map_err(|error| failed(&error))?;
        rtc.add_local_candidate(candidate);
        let mut binding = LateBinding::default();
        let mut lines = Vec::new();
        for (index, section) in group {
            lines.push(self.declare(&mut rtc, &mut binding, *index, section));
        }
        let text = |rtc: &mut Rtc| {
            let credentials = rtc.direct_api().local_ice_credentials();
            TransportText {
                address,
                ufrag: credentials.ufrag,
                pwd: credentials.pass,
                fingerprints: fingerprints(&self.identity.certificate, &self.request.options.fingerprints),
            }
        };
        for (index, _) in group {
            if let Some(slot) = self.texts.get_mut(*index) {
                *slot = Some(text(&mut rtc));
            }
        }
        let id = self
            .engine
            .add(rtc, link, address, binding, self.request.options.without_repair)
            .map_err(|error| failed(&error))?;
        self.opened.push(id);
        for mut line in lines {
            line.transport = id;
            if let Some(outgoing) = &mut line.outgoing {
                outgoing.transport = id;
            }
            self.lines.push(line);
        }
        Ok(())
    }

    fn configure(
        &self,
        group: &[(usize, &MediaSection)],
        first: &MediaSection,
    ) -> Result<Rtc, str0m::RtcError> {
        let repair = !self.request.options.without_repair;
        let params = group.iter().flat_map(|(_, section)| section.payload_params(repair)).collect();
        let extensions = group.iter().flat_map(|(_, section)| section.extmaps.iter());
        let shape = self.request.options.shape;
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .set_ice_lite(shape.ice_lite())
            .set_crypto_provider(Arc::clone(&self.identity.provider))
            .set_dtls_cert(self.identity.certificate.clone())
            .set_extension_map(extension_map(extensions))
            .set_stats_interval(Some(STATS_INTERVAL))
            .enable_raw_packets(!repair);
        // Codecs are fixed once the transport is built.
        *config.codec_config() = CodecConfig::new_from_payload_params(params);
        let mut rtc = config.build(Instant::now());
        let mut api = rtc.direct_api();
        api.set_ice_controlling(false);
        api.set_remote_ice_credentials(IceCreds {
            ufrag: first.ice_ufrag.clone().unwrap_or_default(),
            pass: first.ice_pwd.clone().unwrap_or_default(),
        });
        if let Some(fingerprint) = &first.fingerprint {
            api.set_remote_fingerprint(fingerprint.clone());
        }
        api.start_dtls(dtls_active(shape, self.settings.dtls_role))?;
        // Not implied by the codecs' feedback parameters when SDP is handled outside str0m.
        api.enable_twcc_feedback();
        Ok(rtc)
    }

    fn declare(
        &mut self,
        rtc: &mut Rtc,
        binding: &mut LateBinding,
        index: usize,
        section: &MediaSection,
    ) -> Line {
        let audio = section.kind == "audio";
        let mid = match &section.mid {
            Some(mid) => Mid::from(mid.as_str()),
            None => Mid::from(index.to_string().as_str()),
        };
        let payloads = section.payload_params(!self.request.options.without_repair);
        let kind = if audio { MediaKind::Audio } else { MediaKind::Video };
        rtc.direct_api().declare_media(mid, kind);
        let mut line =
            Line { transport: 0, mid, audio, payloads, outgoing: None, ssrc: None, last_key_timestamp: None };
        if self.request.publish {
            self.expect_sources(rtc, binding, section, &mut line);
        } else {
            self.declare_source(rtc, index, &mut line);
        }
        line
    }

    fn expect_sources(
        &self,
        rtc: &mut Rtc,
        binding: &mut LateBinding,
        section: &MediaSection,
        line: &mut Line,
    ) {
        for (ssrc, repair) in section.sources() {
            let repair = repair.filter(|_| !self.request.options.without_repair);
            let mut api = rtc.direct_api();
            api.expect_stream_rx(ssrc.into(), repair.map(Into::into), line.mid, None);
            binding.known.push(ssrc);
            binding.known.extend(repair);
            line.ssrc = line.ssrc.or(Some(ssrc));
        }
        binding.lines.push(BindingLine {
            mid: line.mid,
            main_types: line.payloads.iter().map(|params| *params.pt()).collect(),
            repair_types: line.payloads.iter().filter_map(|p| p.resend()).map(|pt| *pt).collect(),
            main_ssrc: line.ssrc,
        });
    }

    fn declare_source(&mut self, rtc: &mut Rtc, index: usize, line: &mut Line) {
        let ssrc = self.random.random_range(1..u32::MAX - 1);
        let repair =
            (!line.audio && line.payloads.iter().any(|params| params.resend().is_some())).then_some(ssrc + 1);
        let mut api = rtc.direct_api();
        let stream = api.declare_stream_tx(ssrc.into(), repair.map(Into::into), line.mid, None);
        if !line.audio {
            stream.set_rtx_cache(self.settings.resend_packets, RESEND_AGE, None);
        }
        if let Some(slot) = self.sources.get_mut(index) {
            *slot = Some(SentSource { ssrc, repair });
        }
        let randomise = self.settings.randomise.then_some(&mut *self.random);
        let payloads = line.payloads.clone();
        line.outgoing = Some(Outgoing::new(0, (ssrc, repair), payloads, randomise));
    }
}
