//! What the session core and the media workers say to each other.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::session::Epoch;

/// Names an anchored stream for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

/// Which way the media of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From the client to the upstream.
    Publish,
    /// From the upstream to the client.
    Play,
}

/// A fact and the stream it is about.
#[derive(Debug)]
pub struct MediaFact {
    /// The stream.
    pub stream: StreamKey,
    /// What happened.
    pub fact: Fact,
}

/// Where the facts of a stream go. When the receiver is dropped the stream is closed, so that a
/// session that ends without `Close` leaks nothing. A full channel delays facts, it loses none.
pub type FactSender = tokio::sync::mpsc::Sender<MediaFact>;

/// What the session core wants of a stream. Orders for a stream that is unknown (closed, or
/// never opened) are ignored.
#[derive(Debug)]
pub enum Order {
    /// A client wants to publish or play: take its offer and make an upstream leg for `epoch`.
    /// Answered by [`Fact::UpstreamOffer`], or by [`Fact::Unanchorable`], which ends the stream.
    Open {
        /// From `MediaHandle::new_stream`.
        stream: StreamKey,
        /// Which way the media goes.
        kind: Kind,
        /// The upstream connection that will get the offer.
        epoch: Epoch,
        /// The `sdp` of the client's `publishStream` or `playStream`.
        client_offer: String,
        /// The address the client's TCP connection arrived at: the candidate to give to it,
        /// unless addresses to advertise are configured.
        local_ip: IpAddr,
        /// Answer this client without H264 (it failed with it before, or the upstream refused).
        refuse_h264: bool,
        /// Where to report.
        facts: FactSender,
    },
    /// Make a new upstream leg: a new epoch, or another try in the same one. The old one, if
    /// any, is dropped. Answered by [`Fact::UpstreamOffer`].
    Attach {
        /// The stream.
        stream: StreamKey,
        /// The upstream connection that will get the offer.
        epoch: Epoch,
        /// Offer only the payload types that are being sent (publish). Right for restores and
        /// codec changes; without effect before the first packet and on plays.
        narrow: bool,
        /// Leave H264 out of the offer and of the client's answer, if that was not given yet.
        refuse_h264: bool,
    },
    /// The `sdp` of the upstream's `setRemoteSDP` for the offer of this epoch. The first one
    /// is answered by [`Fact::ClientAnswer`]. Ignored if another epoch was attached since, or
    /// if this offer has its answer already.
    UpstreamAnswer {
        /// The stream.
        stream: StreamKey,
        /// The epoch of the offer it answers.
        epoch: Epoch,
        /// The answer.
        sdp: String,
    },
    /// The upstream is lost: drop its leg, keep the client's.
    Detach {
        /// The stream.
        stream: StreamKey,
    },
    /// The client (un)muted: the watchdog does not expect muted video.
    Muted {
        /// The stream.
        stream: StreamKey,
        /// Video is muted.
        video: bool,
    },
    /// Give the client leg new ICE credentials, to be sent to the client by `setRemoteSDP`.
    /// Answered by [`Fact::NewClientCredentials`]; also after [`Fact::ClientSilent`] only.
    Revive {
        /// The stream.
        stream: StreamKey,
    },
    /// The stream is over. No facts follow.
    Close {
        /// The stream.
        stream: StreamKey,
    },
    /// Fails on purpose, to prove that nothing else fails with it. Nothing but tests gives it.
    #[doc(hidden)]
    Break {
        /// The stream.
        stream: StreamKey,
        /// What fails.
        fault: Fault,
    },
}

impl Order {
    /// The stream it is for.
    pub(super) const fn stream(&self) -> StreamKey {
        match self {
            Self::Open { stream, .. }
            | Self::Attach { stream, .. }
            | Self::UpstreamAnswer { stream, .. }
            | Self::Detach { stream }
            | Self::Muted { stream, .. }
            | Self::Revive { stream }
            | Self::Close { stream }
            | Self::Break { stream, .. } => *stream,
        }
    }
}

/// What [`Order::Break`] has fail.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A step of the stream panics.
    Step,
    /// Its worker does.
    Worker,
}

/// What happened to a stream.
#[derive(Debug)]
pub enum Fact {
    /// The offer to send upstream in place of the client's.
    UpstreamOffer {
        /// The epoch it was asked for.
        epoch: Epoch,
        /// The offer.
        sdp: String,
    },
    /// The answer to give to the client in place of the upstream's; once per stream.
    ClientAnswer {
        /// The answer.
        sdp: String,
    },
    /// This stream cannot be anchored: use direct media. The stream is closed, no facts follow.
    Unanchorable {
        /// For the log; holds no secrets.
        reason: String,
    },
    /// ICE and DTLS with the client stand. Once per stream.
    ClientConnected,
    /// ICE and DTLS with the upstream stand.
    UpstreamConnected {
        /// The epoch of the leg.
        epoch: Epoch,
    },
    /// Media flows through the leg of this epoch. `complete` false is a sign of life: packets came
    /// from the sending side, but not yet all the proof; said with the first of them and about
    /// once per second while more come. `complete` true is the proof, said once per leg.
    Flowing {
        /// The epoch of the leg.
        epoch: Epoch,
        /// A key frame of video passed.
        key_frame: bool,
        /// This is all the proof the stream can give: a key frame for video; a packet where
        /// there is only audio; audio for a while where video gives no key frame; a connected
        /// upstream where the sender (alive) sends nothing at all, or no video because it is muted
        /// or its source pauses.
        complete: bool,
    },
    /// The upstream leg of this epoch came to nothing: no connectivity within the time limit,
    /// a DTLS error, an answer we cannot use, or the peer closed it. The leg is dropped.
    UpstreamFailed {
        /// The epoch of the leg.
        epoch: Epoch,
        /// For the log; holds no secrets.
        reason: String,
    },
    /// There was no socket left for the upstream leg of this epoch. The leg is dropped. Never a
    /// reason for direct media: that would only hide it.
    OutOfSockets {
        /// The epoch of the leg.
        epoch: Epoch,
        /// For the log; holds no secrets.
        reason: String,
    },
    /// Nothing at all has come from the upstream on this leg for `upstream_silence`. Once per
    /// silence; the leg is kept.
    UpstreamSilent {
        /// The epoch of the leg.
        epoch: Epoch,
    },
    /// Nothing at all has come from the client for `client_silence`; repeated after each
    /// further `client_silence` until it is heard again or the tries are over. Answer with
    /// [`Order::Revive`] if the client's socket lives.
    ClientSilent {
        /// How often this was said in this silence, from 1.
        tries: u32,
        /// How long the silence has lasted.
        silence: Duration,
    },
    /// The client leg was silent and is heard again.
    ClientRevived {
        /// How long it was silent.
        silence: Duration,
    },
    /// Send this to the client by `setRemoteSDP`.
    NewClientCredentials {
        /// An offer that the SDK never answers.
        sdp: String,
    },
    /// The client leg ended: it closed its side, or revival ran out of tries.
    ClientGone {
        /// For the log.
        reason: String,
    },
    /// A publisher's browser changed its codec on its own: [`Order::Attach`] with `narrow` in
    /// the current epoch makes the upstream follow. Video is not forwarded until then.
    CodecChanged {
        /// The epoch of the leg that no longer fits.
        epoch: Epoch,
        /// Encoding name now sent, as in the client's offer.
        codec: String,
    },
    /// The watchdog saw no video from a publisher for `bitrate_max_tries` checks although it is
    /// not muted and the client leg lives. Once per silence of the video.
    NoVideo {
        /// It never sent any since the leg stands; false: it did and pauses (no failure unless
        /// the check is strict).
        never_sent: bool,
        /// The client was answered with H264, so an answer without it might help.
        had_h264: bool,
    },
    /// Video is back after [`Fact::NoVideo`].
    VideoBack,
    /// The stream broke by a fault of ours, or its worker did. The stream is closed, no facts
    /// follow.
    Broken {
        /// For the log; holds no secrets.
        reason: String,
    },
    /// Numbers, every `stats_interval`.
    Stats(Box<StreamStats>),
}

/// Numbers of one stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamStats {
    /// Direction; absent only in the default value.
    pub kind: Option<Kind>,
    /// Encoding name of the video last forwarded.
    pub video_codec: Option<String>,
    /// Encoding name of the audio last forwarded.
    pub audio_codec: Option<String>,
    /// The client's side.
    pub client: LegStats,
    /// The upstream's side, summed over all epochs.
    pub upstream: LegStats,
    /// Upstream legs attached so far.
    pub attached: u32,
    /// Key frames forwarded.
    pub key_frames: u64,
    /// Key frame requests sent to the sending side.
    pub key_frame_requests: u64,
    /// Packets not forwarded: before a key frame, without a leg, of a foreign payload type.
    pub dropped: u64,
    /// Those of them that were too long: no payload over 1,700 bytes is forwarded.
    pub oversized: u64,
    /// Gaps that restores left in the forwarded video, or audio where there is no video.
    pub gaps: u64,
    /// Lengths of the gaps that restores left in the forwarded media, in milliseconds, newest
    /// last, at most 16.
    pub gaps_ms: Vec<u64>,
    /// Times the client leg was given new credentials.
    pub revivals: u32,
}

/// Numbers of one leg, counted in RTP packets and their payload bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LegStats {
    /// RTP packets received.
    pub packets_received: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// RTP packets sent (without retransmissions).
    pub packets_sent: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bits per second received over the last interval.
    pub bitrate_received: u64,
    /// Payload bits per second sent over the last interval.
    pub bitrate_sent: u64,
    /// Share of packets lost on the way to us, 0 to 1, if known.
    pub loss_received: Option<f32>,
    /// Share of packets lost on the way to the peer, 0 to 1, as the peer reports.
    pub loss_sent: Option<f32>,
    /// Round trip in milliseconds, if known.
    pub round_trip_ms: Option<f32>,
}

/// Settings and bounds of the media workers.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// UDP address of the client legs. With several workers and a fixed port, worker *n* takes
    /// port + *n*; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Addresses for clients to send to, in this order; empty: the local address of the
    /// client's TCP connection.
    pub advertise: Vec<IpAddr>,
    /// Listen on the same port in TCP as well, for clients whose network lets no UDP pass.
    pub tcp: bool,
    /// Most TCP connections of clients per worker.
    pub tcp_connections_max: usize,
    /// Most bytes that wait on a TCP connection, of a client or to the upstream, whose peer does
    /// not read; datagrams past it are dropped whole, as UDP would drop them.
    pub tcp_output_bytes_max: usize,
    /// How long a TCP connection may take to pass a connectivity check.
    pub tcp_unchecked_max: Duration,
    /// Most bytes read of a TCP connection until it has passed one.
    pub tcp_unchecked_bytes_max: usize,
    /// Most TCP connections that have not, per worker; the oldest gives way to the next.
    pub tcp_unchecked_connections_max: usize,
    /// The same per client address, over all workers; an IPv6 address counts by its /64. 0 = no
    /// bound but that in all.
    pub tcp_unchecked_per_address_max: usize,
    /// Bytes that the kernel may queue on the sockets of clients and of upstream legs, each, which all
    /// streams of a worker share.
    pub socket_buffer_bytes: usize,
    /// Most sockets and connections per worker that upstream legs have beside the one that they
    /// share. A leg that would need one more fails.
    pub upstream_sockets_max: usize,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Most streams at once; past it a stream is unanchorable.
    pub streams_max: usize,
    /// Bytes of sent packets kept per stream for retransmission. The default is almost half a second of
    /// 2.5 Mbit/s.
    pub rtx_cache_bytes_max: usize,
    /// Most payload bits per second accepted per stream in either direction, over one second;
    /// packets past it are dropped. 0 = no limit.
    pub bitrate_max: u64,
    /// Addresses of a peer that are remembered per transport; the least recently heard gives way to
    /// the next, never the one that is sent to.
    pub addresses_per_transport_max: usize,
    /// Connectivity checks that are looked at per transport and second: of each known address, and
    /// of all others together.
    pub checks_per_second_max: u32,
    /// Watch publishers' video (the vendor's "check bitrate").
    pub check_bitrate: bool,
    /// Time of one check of the watchdog.
    pub bitrate_check_interval: Duration,
    /// Checks without video before [`Fact::NoVideo`].
    pub bitrate_max_tries: u32,
    /// Follow a publisher's change of codec (the vendor's "change codec").
    pub change_codec: bool,
    /// Longest time from the upstream's answer to a standing DTLS session.
    pub upstream_connect_max: Duration,
    /// Silence of an upstream leg that is reported.
    pub upstream_silence: Duration,
    /// Silence of a client leg that is reported, and pause between reports.
    pub client_silence: Duration,
    /// Reports of a client's silence before [`Fact::ClientGone`].
    pub client_revive_tries_max: u32,
    /// Longest time from the client's answer to a standing DTLS session with the client.
    pub client_connect_max: Duration,
    /// How long a connected upstream without any media is waited on before the proof counts as
    /// complete without it; twice as long where there is audio and video gives no key frame.
    pub idle_proof: Duration,
    /// Pause between key frame requests while none was seen.
    pub key_frame_retry: Duration,
    /// Pause between [`Fact::Stats`]; zero: none.
    pub stats_interval: Duration,
}

/// Descriptors that the media side takes of the process, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Taken at the start, for good.
    pub fixed: usize,
    /// Most for TCP connections of clients.
    pub clients: usize,
    /// Most for upstream legs that cannot share a socket, and for media in TCP to the upstream. Streams
    /// that share take none.
    pub upstream: usize,
}

impl MediaSettings {
    /// Descriptors of a worker at rest: poll and its two copies, waker, the port in UDP and TCP, the
    /// shared socket and the two that look for routes.
    const WORKER_DESCRIPTORS: usize = 9;

    /// What these settings may take of the process's descriptors. A further one that is missing fails the
    /// stream that needs it.
    #[must_use]
    pub const fn descriptors(&self) -> Descriptors {
        let workers = if self.workers == 0 { 1 } else { self.workers };
        Descriptors {
            fixed: workers * Self::WORKER_DESCRIPTORS,
            clients: if self.tcp { workers * self.tcp_connections_max } else { 0 },
            upstream: workers * self.upstream_sockets_max,
        }
    }
}
