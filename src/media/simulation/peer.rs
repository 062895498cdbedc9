//! The ends outside of the proxy: a page's and a server's, each with a key of its own.

use std::net::SocketAddr;

use crate::{
    media::{
        Kind, StreamKey,
        output::{ConnectionId, SocketId},
        sdp::Credentials,
    },
    session::SessionId,
};

use super::wire::Rtp;

/// ICE and DTLS of one transport at its far end.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: u64,
    pub(super) theirs: Option<u64>,
    pub(super) ours: Credentials,
    pub(super) proxy: Credentials,
    /// It begins the handshake.
    pub(super) active: bool,
}

/// One source of media.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) video: bool,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) h264: bool,
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    /// The next frame is a key frame.
    pub(super) key_wanted: bool,
}

/// What a packet of a track says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) stream: StreamKey,
    /// Which leg it was sent to: 0 for a page, the number of the server else.
    pub(super) leg: usize,
    pub(super) ssrc: u32,
    pub(super) sequence: u64,
    pub(super) video: bool,
    /// A decoder can start here.
    pub(super) starts: bool,
}

/// Bytes before the number of a content.
const MARK: usize = 2;

impl Track {
    pub(super) fn new(video: bool, ssrc: u32, payload_type: u8, h264: bool, random: u64) -> Self {
        let (sequence, timestamp) = (random % 60_000, (random >> 16) as u32);
        Self { video, ssrc, payload_type, h264, sequence, timestamp, key_wanted: true }
    }

    /// The next packet: that of a sound, or the first or second of a picture.
    pub(super) fn packet(&mut self, second: bool, content: u64, key: u64) -> (Rtp, bool) {
        if !second {
            self.timestamp = self.timestamp.wrapping_add(if self.video { 3_600 } else { 960 });
        }
        let starts = self.video && !second && self.key_wanted;
        let mark = match (self.h264, second, self.key_wanted) {
            _ if !self.video => [0, 0],
            (true, false, true) => [0x65, 0],
            (true, ..) => [0x41, 0],
            // S=1 is the first packet of a frame; P=0 a key frame.
            (false, second, wanted) => [if second { 0 } else { 0x10 }, u8::from(!wanted)],
        };
        if self.video && second {
            self.key_wanted = false;
        }
        self.sequence += 1;
        let payload = [mark.as_slice(), &content.to_be_bytes()].concat();
        let (sequence, timestamp) = (self.sequence, self.timestamp);
        let (payload_type, ssrc) = (self.payload_type, self.ssrc);
        (Rtp { payload_type, marker: second, sequence, timestamp, ssrc, key, payload }, starts)
    }
}

/// The number of the content of a packet.
pub(super) fn content_of(rtp: &Rtp) -> Option<u64> {
    rtp.payload.get(MARK..MARK + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// A page.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) at: SocketAddr,
    /// All addresses it ever had.
    pub(super) had: Vec<SocketAddr>,
    pub(super) peer: Peer,
    /// UDP leads nowhere from where it is.
    pub(super) over_tcp: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) answered: bool,
    /// What it may send as video, by payload type.
    pub(super) video_types: Vec<(u8, bool)>,
    pub(super) tracks: Vec<Track>,
    pub(super) silent_until: u64,
    /// When it last sent anything.
    pub(super) heard: u64,
    /// Since when media for it goes elsewhere.
    pub(super) away_since: Option<u64>,
    pub(super) last_check: u64,
    /// A source of the proxy's that it takes video from.
    pub(super) hears: Option<u32>,
    pub(super) last_video: u64,
}

/// How a server reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Socket(SocketId),
    Connection(ConnectionId),
}

/// One transport of a server, and where it is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) peer: Peer,
    pub(super) at: SocketAddr,
    /// It listens there in UDP.
    pub(super) udp: bool,
    /// The lines of its candidates.
    pub(super) candidates: String,
    /// Where checks came from.
    pub(super) way: Option<Way>,
    /// Addresses, connections and names that may yet lead the proxy here.
    pub(super) ways_left: usize,
    /// Since when there are none.
    pub(super) nowhere_since: Option<u64>,
}

/// A server's side of one epoch.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) line: usize,
    pub(super) stream: StreamKey,
    /// The proxy reported that the leg of this server came to nothing.
    pub(super) told: bool,
    pub(super) transports: Vec<Place>,
    /// By section.
    pub(super) of_section: Vec<usize>,
    pub(super) tracks: Vec<Track>,
    pub(super) silent_until: u64,
    /// It was lost at this time; it sends a while longer, and hears nothing.
    pub(super) lost: Option<u64>,
    /// The proxy has no leg to it any more.
    pub(super) dropped: bool,
    pub(super) hears: Option<u32>,
    pub(super) last_video: u64,
}

impl Server {
    /// Servers are numbered from one: a page's media is of leg 0.
    pub(super) fn nobody() -> Self {
        Self {
            line: usize::MAX,
            stream: StreamKey { session: SessionId(0), number: 0 },
            told: false,
            transports: Vec::new(),
            of_section: Vec::new(),
            tracks: Vec::new(),
            silent_until: u64::MAX,
            lost: Some(0),
            dropped: true,
            hears: None,
            last_video: 0,
        }
    }
}

/// The SDP of an offer of a page.
pub(super) fn offer(kind: Kind, ours: &Credentials, rtx: bool) -> String {
    let direction = if kind == Kind::Publish { "sendonly" } else { "recvonly" };
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\n\
         a=setup:actpass\r\na={direction}\r\na=rtcp-mux\r\n",
        ours.ufrag,
        ours.password,
        ["AB"; 32].join(":")
    );
    let repair = if rtx { "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" } else { "" };
    let types = if rtx { "96 97 98" } else { "96 98" };
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF {types}\r\n{transport}a=mid:1\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n{repair}\
         a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtcp-fb:98 nack\r\na=rtcp-fb:98 nack pli\r\n"
    )
}
