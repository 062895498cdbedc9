//! Reading session descriptions, as far as the simulator and the synthetic client need it.
//!
//! str0m's own SDP model is one BUNDLE transport with an answer of its own shape; a WCS answers in
//! shapes of its own (protocol S8), so descriptions are handled as text here. This module only
//! reads; it opens nothing and never fails on an unknown line, because unknown lines are normal.

use str0m::config::Fingerprint;
use str0m::format::CodecSpec;
use str0m::format::{Codec, FormatParams, PayloadParams};
use str0m::media::{Frequency, MediaKind};
use str0m::rtp::{Extension, ExtensionMap};

/// The most m-lines read from one description; a browser sends three at most.
const MEDIA_MAX: usize = 16;
/// The most SSRCs kept per m-line.
const SSRCS_MAX: usize = 16;

/// A parsed offer or answer.
#[derive(Debug, Default, Clone)]
pub struct Description {
    /// mids of the first `a=group:BUNDLE` line; empty without one.
    pub bundle: Vec<String>,
    /// Whether `a=ice-lite` stands at session level.
    pub ice_lite: bool,
    /// The m-lines in order.
    pub media: Vec<MediaSection>,
}

/// One m-line with its attributes; transport attributes are inherited from the session level.
#[derive(Debug, Default, Clone)]
pub struct MediaSection {
    /// `audio`, `video` or `application`.
    pub kind: String,
    /// Port; 0 means rejected (or bundled-only).
    pub port: u16,
    /// For example `UDP/TLS/RTP/SAVPF`.
    pub profile: String,
    /// The formats of the m-line, as text.
    pub formats: Vec<String>,
    /// `a=mid`.
    pub mid: Option<String>,
    /// `sendonly`, `recvonly`, `sendrecv` or `inactive`.
    pub direction: String,
    /// ICE user name fragment.
    pub ice_ufrag: Option<String>,
    /// ICE password.
    pub ice_pwd: Option<String>,
    /// Certificate fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// `actpass`, `active` or `passive`.
    pub setup: Option<String>,
    /// Payload types with their attributes, in the order of the m-line.
    pub codecs: Vec<CodecLine>,
    /// `(id, uri)` of each `a=extmap`.
    pub extmaps: Vec<(u8, String)>,
    /// SSRCs in order of appearance.
    pub ssrcs: Vec<u32>,
    /// `(main, repair)` of each `a=ssrc-group:FID`.
    pub repair_ssrcs: Vec<(u32, u32)>,
    /// cname of the first SSRC.
    pub cname: Option<String>,
    /// Candidate lines without the leading `a=`.
    pub candidates: Vec<String>,
}

/// One payload type.
#[derive(Debug, Default, Clone)]
pub struct CodecLine {
    /// Payload type number.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: String,
    /// Clock rate in Hz.
    pub clock_rate_hz: u32,
    /// Channels of an audio codec.
    pub channels: Option<u8>,
    /// The `a=fmtp` parameters.
    pub fmtp: Option<String>,
    /// The `a=rtcp-fb` values.
    pub feedback: Vec<String>,
}

impl Description {
    /// Reads a description. Lines that cannot be understood are skipped.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        let mut session = MediaSection::default();
        for line in text.lines() {
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("m=") {
                if out.media.len() >= MEDIA_MAX {
                    break;
                }
                out.media.push(MediaSection::open(value, &session));
            } else if let Some(value) = line.strip_prefix("a=") {
                match out.media.last_mut() {
                    Some(media) => media.attribute(value),
                    None => out.session_attribute(&mut session, value),
                }
            }
        }
        out
    }

    /// The m-line with this mid.
    pub fn by_mid(&self, mid: &str) -> Option<&MediaSection> {
        self.media.iter().find(|media| media.mid.as_deref() == Some(mid))
    }

    /// The first m-line of a kind.
    pub fn by_kind(&self, kind: &str) -> Option<&MediaSection> {
        self.media.iter().find(|media| media.kind == kind)
    }

    fn session_attribute(&mut self, session: &mut MediaSection, value: &str) {
        if let Some(mids) = value.strip_prefix("group:BUNDLE") {
            if self.bundle.is_empty() {
                self.bundle = mids.split_whitespace().take(MEDIA_MAX).map(str::to_owned).collect();
            }
        } else if value == "ice-lite" {
            self.ice_lite = true;
        } else {
            session.attribute(value);
        }
    }
}

impl MediaSection {
    fn open(value: &str, session: &Self) -> Self {
        let mut words = value.split_whitespace();
        let mut media = Self {
            direction: if session.direction.is_empty() {
                "sendrecv".to_owned()
            } else {
                session.direction.clone()
            },
            ..session.clone()
        };
        media.kind = words.next().unwrap_or_default().to_owned();
        media.port = words.next().and_then(|port| port.split('/').next()?.parse().ok()).unwrap_or(0);
        media.profile = words.next().unwrap_or_default().to_owned();
        media.formats = words.take(64).map(str::to_owned).collect();
        media.codecs = media
            .formats
            .iter()
            .filter_map(|format| format.parse().ok())
            .map(|payload_type| CodecLine { payload_type, ..CodecLine::default() })
            .collect();
        media
    }

    fn attribute(&mut self, value: &str) {
        let (name, rest) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "mid" => self.mid = Some(rest.trim().to_owned()),
            "ice-ufrag" => self.ice_ufrag = Some(rest.trim().to_owned()),
            "ice-pwd" => self.ice_pwd = Some(rest.trim().to_owned()),
            "fingerprint" => self.fingerprint = rest.trim().parse().ok(),
            "setup" => self.setup = Some(rest.trim().to_owned()),
            "sendonly" | "recvonly" | "sendrecv" | "inactive" => self.direction = name.to_owned(),
            "rtpmap" => self.rtpmap(rest),
            "fmtp" => {
                if let Some((codec, text)) = self.codec_value(rest) {
                    codec.fmtp = Some(text);
                }
            }
            "rtcp-fb" => {
                if let Some((codec, text)) = self.codec_value(rest) {
                    codec.feedback.push(text);
                }
            }
            "extmap" => self.extmap(rest),
            "ssrc" => self.ssrc(rest),
            "ssrc-group" => self.ssrc_group(rest),
            "candidate" if self.candidates.len() < SSRCS_MAX => {
                self.candidates.push(value.to_owned());
            }
            _ => {}
        }
    }

    fn codec_value(&mut self, rest: &str) -> Option<(&mut CodecLine, String)> {
        let (payload_type, text) = rest.split_once(' ')?;
        let payload_type: u8 = payload_type.parse().ok()?;
        let codec = self.codecs.iter_mut().find(|codec| codec.payload_type == payload_type)?;
        (codec.feedback.len() < 16).then(|| (codec, text.trim().to_owned()))
    }

    fn rtpmap(&mut self, rest: &str) {
        let Some((codec, text)) = self.codec_value(rest) else {
            return;
        };
        let mut parts = text.split('/');
        codec.name = parts.next().unwrap_or_default().to_owned();
        codec.clock_rate_hz = parts.next().and_then(|hz| hz.parse().ok()).unwrap_or(0);
        codec.channels = parts.next().and_then(|count| count.parse().ok());
    }

    fn extmap(&mut self, rest: &str) {
        let Some((id, uri)) = rest.split_once(' ') else {
            return;
        };
        let id = id.split('/').next().and_then(|id| id.parse().ok());
        let uri = uri.split_whitespace().next();
        if let (Some(id), Some(uri)) = (id, uri)
            && self.extmaps.len() < 32
        {
            self.extmaps.push((id, uri.to_owned()));
        }
    }

    fn ssrc(&mut self, rest: &str) {
        let (ssrc, attribute) = rest.split_once(' ').unwrap_or((rest, ""));
        let Ok(ssrc) = ssrc.parse::<u32>() else {
            return;
        };
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < SSRCS_MAX {
            self.ssrcs.push(ssrc);
        }
        if let (None, Some(cname)) = (&self.cname, attribute.strip_prefix("cname:")) {
            self.cname = Some(cname.to_owned());
        }
    }

    fn ssrc_group(&mut self, rest: &str) {
        let mut words = rest.split_whitespace();
        if words.next() != Some("FID") {
            return;
        }
        let main = words.next().and_then(|ssrc| ssrc.parse().ok());
        let repair = words.next().and_then(|ssrc| ssrc.parse().ok());
        if let (Some(main), Some(repair)) = (main, repair)
            && self.repair_ssrcs.len() < SSRCS_MAX
        {
            self.repair_ssrcs.push((main, repair));
        }
    }

    /// Whether the m-line carries RTP media at all.
    pub fn media_kind(&self) -> Option<MediaKind> {
        match self.kind.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// The retransmission payload type that repairs `payload_type`, if one is described.
    pub fn repair_of(&self, payload_type: u8) -> Option<u8> {
        let wanted = format!("apt={payload_type}");
        self.codecs
            .iter()
            .find(|codec| {
                codec.name.eq_ignore_ascii_case("rtx")
                    && codec
                        .fmtp
                        .as_deref()
                        .is_some_and(|fmtp| fmtp.split(';').any(|item| item.trim() == wanted))
            })
            .map(|codec| codec.payload_type)
    }

    /// The SSRCs that send media (not retransmissions), each with its repair SSRC.
    pub fn sources(&self) -> Vec<(u32, Option<u32>)> {
        let repairs: Vec<u32> = self.repair_ssrcs.iter().map(|(_, repair)| *repair).collect();
        self.ssrcs
            .iter()
            .filter(|ssrc| !repairs.contains(ssrc))
            .map(|ssrc| {
                let repair = self.repair_ssrcs.iter().find(|(main, _)| main == ssrc);
                (*ssrc, repair.map(|(_, repair)| *repair))
            })
            .collect()
    }

    /// What str0m must know of the payload types in this section, restricted to the codecs that
    /// the simulator carries; retransmission is left out unless `repair` is set.
    pub fn payload_params(&self, repair: bool) -> Vec<PayloadParams> {
        self.codecs
            .iter()
            .filter_map(|line| {
                let codec = line.codec()?;
                let resend = self.repair_of(line.payload_type).filter(|_| repair);
                let spec = CodecSpec {
                    codec,
                    clock_rate: Frequency::new(line.clock_rate_hz)?,
                    channels: line.channels,
                    format: line.fmtp.as_deref().map(FormatParams::parse_line).unwrap_or_default(),
                };
                let mut params = PayloadParams::new(line.payload_type.into(), resend.map(Into::into), spec);
                let has = |name: &str| line.feedback.iter().any(|value| value == name);
                params.set_fb_transport_cc(has("transport-cc"));
                params.set_fb_nack(has("nack"));
                params.set_fb_pli(has("nack pli"));
                params.set_fb_fir(has("ccm fir"));
                params.set_fb_remb(has("goog-remb"));
                Some(params)
            })
            .collect()
    }
}

impl CodecLine {
    /// The codec, if it is one the simulator carries.
    pub fn codec(&self) -> Option<Codec> {
        match self.name.to_ascii_lowercase().as_str() {
            "vp8" => Some(Codec::Vp8),
            "h264" => Some(Codec::H264),
            "opus" => Some(Codec::Opus),
            _ => None,
        }
    }
}

/// The header extensions that the simulator understands and may agree to.
pub fn extension(uri: &str) -> Option<Extension> {
    Some(match uri {
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" => Extension::AbsoluteSendTime,
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level" => Extension::AudioLevel,
        "urn:ietf:params:rtp-hdrext:toffset" => Extension::TransmissionTimeOffset,
        "urn:3gpp:video-orientation" => Extension::VideoOrientation,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => {
            Extension::TransportSequenceNumber
        }
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" => Extension::PlayoutDelay,
        "urn:ietf:params:rtp-hdrext:sdes:mid" => Extension::RtpMid,
        _ => return None,
    })
}

/// Builds the extension map of one transport from the agreed `(id, uri)` pairs.
pub fn extension_map<'a>(pairs: impl Iterator<Item = &'a (u8, String)>) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for (id, uri) in pairs {
        // One-byte header extensions carry ids 1 to 14.
        if let (1..=14, Some(extension)) = (*id, extension(uri)) {
            map.set(*id, extension);
        }
    }
    map
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=fingerprint:sha-256 01:AB\r\na=setup:actpass\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=sendonly\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:7 cname:me\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\n\
        a=fmtp:97 apt=96\r\na=ssrc-group:FID 8 9\r\na=ssrc:8 cname:me\r\na=ssrc:9 cname:me\r\n";

    #[test]
    fn reads_what_a_browser_offers() {
        let offer = Description::parse(OFFER);
        assert_eq!(offer.bundle, ["0", "1"]);
        let audio = offer.by_kind("audio").unwrap();
        assert_eq!(audio.ice_ufrag.as_deref(), Some("abcd"));
        assert_eq!(audio.setup.as_deref(), Some("actpass"), "inherited from the session");
        assert_eq!(audio.fingerprint.as_ref().unwrap().bytes, [1, 0xab]);
        assert_eq!(audio.sources(), [(7, None)]);
        let video = offer.by_mid("1").unwrap();
        assert_eq!(video.repair_of(96), Some(97));
        assert_eq!(video.sources(), [(8, Some(9))]);
        let params = video.payload_params(true);
        assert_eq!(params.len(), 1, "retransmission is not a codec of its own");
        assert_eq!(params[0].resend().map(|pt| *pt), Some(97));
        assert!(params[0].fb_pli() && params[0].fb_transport_cc() && !params[0].fb_nack());
    }

    #[test]
    fn garbage_is_skipped() {
        let text = "m=\r\na=rtpmap:\r\na=fmtp:x y\r\na=extmap:999 u\r\na=ssrc:z\r\na=ssrc-group:FID 1\r\n\
            a=fingerprint:nonsense\r\nm=video x y z\r\na=extmap:0 urn:3gpp:video-orientation\r\n";
        let parsed = Description::parse(text);
        assert_eq!(parsed.media.len(), 2);
        assert!(parsed.media[0].fingerprint.is_none());
        assert_eq!(extension_map(parsed.media[1].extmaps.iter()).iter().count(), 0);
    }

    #[test]
    fn the_number_of_sections_is_bounded() {
        let text = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(100);
        assert_eq!(Description::parse(&text).media.len(), MEDIA_MAX);
    }
}
