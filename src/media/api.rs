//! What the media workers are given besides the words of `holdfast_core::media`: settings, and what only
//! drivers of sessions know.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use holdfast_core::media::{Fact, Kind, LegStats, MediaCommand, StreamKey, StreamStats, Tracks};

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

/// What workers have to know of the client of a stream, and only the driver of its session knows.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address the client's TCP connection arrived at: the candidate to give to it, unless
    /// addresses to advertise are configured.
    pub local_ip: IpAddr,
    /// Where to report.
    pub facts: FactSender,
}

/// What waits for a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// A session's wish.
    Command(MediaCommand<Client>),
    /// Fails on purpose.
    Break(StreamKey, Fault),
}

impl Order {
    /// The stream it is for.
    pub(super) const fn key(&self) -> StreamKey {
        match self {
            Self::Command(command) => command.key(),
            Self::Break(key, _) => *key,
        }
    }
}

/// What fails on purpose, to prove that nothing else fails with it. Nothing but tests has it fail.
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
    /// Silence of an upstream leg that is reported: its upstream is asked for a sign of life then, which
    /// costs next to nothing.
    pub upstream_silence: Duration,
    /// A pause of media after which a sender that lives counts as quiet.
    pub media_pause: Duration,
    /// After such a pause of its media an upstream does not send any more, as far as [`Fact::Goes`] knows.
    pub play_pause: Duration,
    /// The same of what goes to an upstream. Shorter: whoever judges an upstream by what its players hear
    /// has to know by then that their publisher pauses.
    pub publish_pause: Duration,
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
