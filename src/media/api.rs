//! What the session core and the media workers say to each other.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::session::Epoch;

pub use holdfast_core::media::{Fact, Kind, LegStats, StreamStats};

/// Names an anchored stream for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
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
    /// Descriptors of a worker at rest: poll, waker, the port in UDP and TCP, the shared socket and the two
    /// that look for routes.
    const WORKER_DESCRIPTORS: usize = 7;

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
