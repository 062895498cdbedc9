//! The offer a browser would make: BUNDLE, no candidates, the usual payload types and extensions.

use std::fmt::Write as _;

use super::ClientOptions;
use crate::simulator::media::VideoCodec;

/// Header extensions of the audio section, as Chromium numbers them.
const AUDIO_EXTENSIONS: &[(u8, &str)] = &[
    (1, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    (2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    (3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (4, "urn:ietf:params:rtp-hdrext:sdes:mid"),
];
/// Header extensions of the video section; equal names have equal numbers inside a BUNDLE.
const VIDEO_EXTENSIONS: &[(u8, &str)] = &[
    (14, "urn:ietf:params:rtp-hdrext:toffset"),
    (2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    (13, "urn:3gpp:video-orientation"),
    (3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (5, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
    (4, "urn:ietf:params:rtp-hdrext:sdes:mid"),
];
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// SSRCs of one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources {
    pub(super) audio: u32,
    pub(super) video: u32,
    pub(super) video_repair: u32,
}

/// What the offer needs besides the options.
pub(super) struct Parameters<'a> {
    pub(super) options: &'a ClientOptions,
    pub(super) ufrag: &'a str,
    pub(super) pwd: &'a str,
    pub(super) fingerprints: &'a [String],
    pub(super) sources: Sources,
}

pub(super) fn write(parameters: &Parameters<'_>) -> String {
    let options = parameters.options;
    let kinds: Vec<bool> = [(options.audio, true), (!options.video.is_empty(), false)]
        .into_iter()
        .filter_map(|(wanted, audio)| wanted.then_some(audio))
        .collect();
    let mut out = String::from("v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    out.push_str("a=group:BUNDLE");
    for index in 0..kinds.len() {
        let _ = write!(out, " {index}");
    }
    out.push_str("\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n");
    for (index, audio) in kinds.into_iter().enumerate() {
        section(&mut out, parameters, index, audio);
    }
    out
}

fn section(out: &mut String, parameters: &Parameters<'_>, index: usize, audio: bool) {
    let lines =
        if audio { audio_lines() } else { video_lines(&parameters.options.video, parameters.options.repair) };
    let kind = if audio { "audio" } else { "video" };
    let _ = write!(out, "m={kind} 9 UDP/TLS/RTP/SAVPF");
    for line in &lines {
        let _ = write!(out, " {}", line.payload_type);
    }
    let _ = write!(
        out,
        "\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
         a=ice-options:trickle\r\na=setup:actpass\r\na=mid:{index}\r\n",
        parameters.ufrag, parameters.pwd
    );
    for fingerprint in parameters.fingerprints {
        let _ = write!(out, "a=fingerprint:{fingerprint}\r\n");
    }
    for (id, uri) in if audio { AUDIO_EXTENSIONS } else { VIDEO_EXTENSIONS } {
        let _ = write!(out, "a=extmap:{id} {uri}\r\n");
    }
    let direction = if parameters.options.publish { "sendonly" } else { "recvonly" };
    let _ = write!(out, "a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n");
    for line in &lines {
        line.write(out, audio);
    }
    if parameters.options.publish {
        let sources = parameters.sources;
        if audio {
            let _ = write!(out, "a=ssrc:{} cname:synthetic\r\n", sources.audio);
        } else if !parameters.options.repair {
            let _ = write!(out, "a=ssrc:{} cname:synthetic\r\n", sources.video);
        } else {
            let (main, repair) = (sources.video, sources.video_repair);
            let _ = write!(
                out,
                "a=ssrc-group:FID {main} {repair}\r\na=ssrc:{main} cname:synthetic\r\n\
                 a=ssrc:{repair} cname:synthetic\r\n"
            );
        }
    }
}

struct Line {
    payload_type: u8,
    map: &'static str,
    fmtp: Option<String>,
}

impl Line {
    fn write(&self, out: &mut String, audio: bool) {
        let payload_type = self.payload_type;
        let _ = write!(out, "a=rtpmap:{payload_type} {}\r\n", self.map);
        if audio && self.map.starts_with("opus") {
            let _ = write!(out, "a=rtcp-fb:{payload_type} transport-cc\r\n");
        }
        if !audio && !self.map.starts_with("rtx") {
            for feedback in FEEDBACK {
                let _ = write!(out, "a=rtcp-fb:{payload_type} {feedback}\r\n");
            }
        }
        if let Some(fmtp) = &self.fmtp {
            let _ = write!(out, "a=fmtp:{payload_type} {fmtp}\r\n");
        }
    }
}

fn audio_lines() -> Vec<Line> {
    vec![
        Line { payload_type: 111, map: "opus/48000/2", fmtp: Some("minptime=10;useinbandfec=1".to_owned()) },
        Line { payload_type: 63, map: "red/48000/2", fmtp: Some("111/111".to_owned()) },
        Line { payload_type: 0, map: "PCMU/8000", fmtp: None },
        Line { payload_type: 8, map: "PCMA/8000", fmtp: None },
    ]
}

fn video_lines(codecs: &[VideoCodec], with_rtx: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut with_repair = |payload_type: u8, repair: u8, map, fmtp: Option<&str>| {
        lines.push(Line { payload_type, map, fmtp: fmtp.map(str::to_owned) });
        let fmtp = Some(format!("apt={payload_type}"));
        if !with_rtx {
            return;
        }
        lines.push(Line { payload_type: repair, map: "rtx/90000", fmtp });
    };
    for codec in codecs {
        match codec {
            VideoCodec::Vp8 => with_repair(96, 97, "VP8/90000", None),
            VideoCodec::H264 => {
                for (payload_type, repair, mode, profile) in
                    [(103, 104, 1, "42001f"), (107, 108, 0, "42001f"), (109, 114, 1, "42e01f")]
                {
                    let fmtp = format!(
                        "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}"
                    );
                    with_repair(payload_type, repair, "H264/90000", Some(&fmtp));
                }
            }
        }
    }
    lines
}
