//! From the model to text: the offer to the upstream and the answer to the client.

use std::{fmt::Write as _, net::SocketAddr};

use super::{Codec, Credentials, Description, Direction, Extension, Media, Setup, Sources};

/// What an offer to the upstream holds beyond the client's own.
#[derive(Debug)]
pub(crate) struct UpstreamOffer<'a> {
    /// The client's offer.
    pub(crate) client: &'a Description,
    /// Numbers the session in `o=`.
    pub(crate) session_id: u64,
    /// Our certificate.
    pub(crate) fingerprint: &'a str,
    /// Identifies us in `a=ssrc … cname`.
    pub(crate) cname: &'a str,
    /// All live sections may share one transport.
    pub(crate) bundle: bool,
    /// One per section of the client's offer; None: offered as unused.
    pub(crate) media: Vec<Option<OfferMedia<'a>>>,
}

/// A live section of an offer.
#[derive(Debug)]
pub(crate) struct OfferMedia<'a> {
    pub(crate) direction: Direction,
    pub(crate) credentials: &'a Credentials,
    pub(crate) codecs: &'a [Codec],
    pub(crate) extensions: &'a [Extension],
    /// What we send.
    pub(crate) sources: Option<Sources>,
}

impl UpstreamOffer<'_> {
    /// The text.
    pub(crate) fn write(&self) -> String {
        let mut text = String::with_capacity(4096);
        let id = self.session_id;
        let _ = write!(text, "v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
        if self.bundle {
            let live = |index: &usize| self.media.get(*index).is_some_and(Option::is_some);
            let media = (0..self.media.len()).filter(live).filter_map(|index| self.client.media.get(index));
            // In their order: the first one we take for the one that speaks for all.
            bundle_line(&mut text, media.filter_map(|m| m.mid.as_ref()));
        }
        if self.client.extmap_allow_mixed {
            text.push_str("a=extmap-allow-mixed\r\n");
        }
        text.push_str("a=msid-semantic: WMS\r\n");
        for (client, offer) in self.client.media.iter().zip(&self.media) {
            match offer {
                Some(offer) => self.section(&mut text, client, offer),
                None => unused(&mut text, client),
            }
        }
        text
    }

    fn section(&self, text: &mut String, client: &Media, offer: &OfferMedia<'_>) {
        media_line(text, client, 9, offer.codecs);
        text.push_str("c=IN IP4 0.0.0.0\r\n");
        for bandwidth in &client.bandwidth {
            let _ = write!(text, "b={bandwidth}\r\n");
        }
        text.push_str("a=rtcp:9 IN IP4 0.0.0.0\r\n");
        let Credentials { ufrag, password } = offer.credentials;
        let _ = write!(text, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=ice-options:trickle\r\n");
        let _ = write!(text, "a=fingerprint:{}\r\na=setup:actpass\r\n", self.fingerprint);
        mid_and_extensions(text, client, offer.extensions);
        let _ = write!(text, "a={}\r\n", offer.direction.as_str());
        if let (true, Some(msid)) = (offer.direction.sends(), &client.msid) {
            let _ = write!(text, "a=msid:{msid}\r\n");
        }
        text.push_str("a=rtcp-mux\r\na=rtcp-rsize\r\n");
        codec_lines(text, offer.codecs);
        if let Some(sources) = offer.sources {
            source_lines(text, sources, self.cname, client.msid.as_deref());
        }
    }
}

/// What an answer to the client holds beyond its own offer.
#[derive(Debug)]
pub(crate) struct ClientAnswer<'a> {
    /// The client's offer.
    pub(crate) client: &'a Description,
    /// Numbers the session in `o=`.
    pub(crate) session_id: u64,
    /// Counts the descriptions sent to this client in `o=`.
    pub(crate) version: u64,
    /// Our certificate.
    pub(crate) fingerprint: &'a str,
    /// Identifies us in `a=ssrc … cname`.
    pub(crate) cname: &'a str,
    /// Where to send; not empty.
    pub(crate) candidates: &'a [SocketAddr],
    /// They hold in TCP as well.
    pub(crate) tcp: bool,
    /// All live sections share one transport.
    pub(crate) bundle: bool,
    /// This is not an answer but an offer with new credentials: `setup:actpass`.
    pub(crate) as_offer: bool,
    /// One per section of the client's offer; None: rejected.
    pub(crate) media: Vec<Option<AnswerMedia<'a>>>,
}

/// A live section of an answer.
#[derive(Debug)]
pub(crate) struct AnswerMedia<'a> {
    pub(crate) direction: Direction,
    pub(crate) credentials: &'a Credentials,
    pub(crate) codecs: &'a [Codec],
    pub(crate) extensions: &'a [Extension],
    /// What we send.
    pub(crate) sources: Option<Sources>,
    /// `b=` lines of the upstream's answer.
    pub(crate) bandwidth: &'a [String],
}

impl ClientAnswer<'_> {
    /// The text.
    pub(crate) fn write(&self) -> String {
        let mut text = String::with_capacity(4096);
        let address = self.candidates.first().map(|c| connection(*c)).unwrap_or_default();
        let (id, version) = (self.session_id, self.version);
        let _ = write!(
            text,
            "v=0\r\no=Holdfast {id} {version} {address}\r\ns=Holdfast\r\nc={address}\r\nt=0 0\r\n"
        );
        if self.bundle {
            let all = self.client.media.iter().zip(&self.media);
            let rejected =
                |mid: &String| all.clone().any(|(m, a)| m.mid.as_ref() == Some(mid) && a.is_none());
            let known = |mid: &String| self.client.media.iter().any(|m| m.mid.as_ref() == Some(mid));
            let live = self.media.iter().enumerate().filter(|(_, a)| a.is_some()).map(|(index, _)| index);
            // In the order of the offer, where the first one speaks for all.
            let group = self.client.group_of(&live.collect::<Vec<_>>()).into_iter().flatten();
            bundle_line(&mut text, group.filter(|mid| known(mid) && !rejected(mid)));
        }
        text.push_str("a=ice-lite\r\na=msid-semantic: WMS *\r\n");
        for (client, answer) in self.client.media.iter().zip(&self.media) {
            match answer {
                Some(answer) => self.section(&mut text, client, answer),
                None => unused(&mut text, client),
            }
        }
        text
    }

    fn section(&self, text: &mut String, client: &Media, answer: &AnswerMedia<'_>) {
        let port = self.candidates.first().map_or(9, SocketAddr::port);
        media_line(text, client, port, answer.codecs);
        if let Some(first) = self.candidates.first() {
            let _ = write!(text, "c={}\r\n", connection(*first));
        }
        for bandwidth in answer.bandwidth {
            let _ = write!(text, "b={bandwidth}\r\n");
        }
        for (index, candidate) in self.candidates.iter().enumerate() {
            // Type preference of host candidates, then our order, component 1 (RFC 8445 5.1.2.1).
            let priority = (126_u64 << 24) + ((65_535 - index as u64) << 8) + 255;
            let (ip, port) = (candidate.ip(), candidate.port());
            let _ = write!(text, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", index + 1);
        }
        for (index, candidate) in self.candidates.iter().enumerate().filter(|_| self.tcp) {
            // Behind every UDP candidate: a lower type preference, as RFC 6544 4.2 asks for.
            let priority = (90_u64 << 24) + ((65_535 - index as u64) << 8) + 255;
            let (ip, port) = (candidate.ip(), candidate.port());
            let foundation = self.candidates.len() + index + 1;
            let _ = write!(
                text,
                "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive\r\n"
            );
        }
        text.push_str("a=end-of-candidates\r\n");
        let _ = write!(text, "a=rtcp:{port}\r\n");
        let Credentials { ufrag, password } = answer.credentials;
        let setup = match client.setup {
            _ if self.as_offer => "actpass",
            // It waits for us.
            Some(Setup::Passive) => "active",
            _ => "passive",
        };
        let _ = write!(text, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
        let _ = write!(text, "a=fingerprint:{}\r\na=setup:{setup}\r\n", self.fingerprint);
        mid_and_extensions(text, client, answer.extensions);
        let _ = write!(text, "a={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", answer.direction.as_str());
        codec_lines(text, answer.codecs);
        if let Some(sources) = answer.sources {
            source_lines(text, sources, self.cname, None);
        }
    }
}

/// The group of the sections that live. One that is rejected has no place in it (RFC 9143 7.3.3).
fn bundle_line<'a>(text: &mut String, mids: impl Iterator<Item = &'a String>) {
    let mids: Vec<&str> = mids.map(String::as_str).collect();
    if !mids.is_empty() {
        let _ = write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "));
    }
}

fn connection(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {family} {}", address.ip())
}

/// A section that carries nothing.
fn unused(text: &mut String, client: &Media) {
    // A media line needs a format, also where there never was one.
    let formats = if client.formats.is_empty() { "0" } else { &client.formats };
    let _ = write!(text, "m={} 0 {} {formats}\r\nc=IN IP4 0.0.0.0\r\n", client.kind_text, client.protocol);
    if let Some(mid) = &client.mid {
        let _ = write!(text, "a=mid:{mid}\r\n");
    }
    text.push_str("a=inactive\r\n");
}

fn media_line(text: &mut String, client: &Media, port: u16, codecs: &[Codec]) {
    let _ = write!(text, "m={} {port} {}", client.kind_text, client.protocol);
    for codec in codecs {
        let _ = write!(text, " {}", codec.payload_type);
        if let Some(repair) = codec.repair {
            let _ = write!(text, " {repair}");
        }
    }
    text.push_str("\r\n");
}

fn mid_and_extensions(text: &mut String, client: &Media, extensions: &[Extension]) {
    if let Some(mid) = &client.mid {
        let _ = write!(text, "a=mid:{mid}\r\n");
    }
    for Extension { id, uri } in extensions {
        let _ = write!(text, "a=extmap:{id} {uri}\r\n");
    }
}

fn codec_lines(text: &mut String, codecs: &[Codec]) {
    for codec in codecs {
        let (pt, name, clock_rate) = (codec.payload_type, &codec.name, codec.clock_rate);
        let _ = write!(text, "a=rtpmap:{pt} {name}/{clock_rate}");
        if let Some(channels) = codec.channels {
            let _ = write!(text, "/{channels}");
        }
        text.push_str("\r\n");
        for feedback in &codec.feedback {
            let _ = write!(text, "a=rtcp-fb:{pt} {feedback}\r\n");
        }
        if let Some(parameters) = &codec.parameters {
            let _ = write!(text, "a=fmtp:{pt} {parameters}\r\n");
        }
        if let Some(repair) = codec.repair {
            let _ = write!(text, "a=rtpmap:{repair} rtx/{clock_rate}\r\na=fmtp:{repair} apt={pt}\r\n");
        }
    }
}

fn source_lines(text: &mut String, sources: Sources, cname: &str, msid: Option<&str>) {
    let Sources { main, repair } = sources;
    if let Some(repair) = repair {
        let _ = write!(text, "a=ssrc-group:FID {main} {repair}\r\n");
    }
    for ssrc in [Some(main), repair].into_iter().flatten() {
        let _ = write!(text, "a=ssrc:{ssrc} cname:{cname}\r\n");
        if let Some(msid) = msid {
            let _ = write!(text, "a=ssrc:{ssrc} msid:{msid}\r\n");
        }
    }
}
