//! Section `[media]`: whether WebRTC media passes through the proxy, and by which door.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::number::{Between, Ms};

/// Who carries the media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MediaMode {
    /// Media flows between client and upstream; only signaling passes through the proxy.
    Direct,
    /// Media ends at the proxy and goes on from there: the picture survives its server.
    #[default]
    Anchor,
}

impl fmt::Display for MediaMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_word(*self, f)
    }
}

/// The media side of the proxy. All but the mode counts only with `anchor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaSettings {
    /// Default `anchor`.
    pub mode: MediaMode,
    /// UDP address of the client legs; worker *n* takes this port + *n*. Default `[::]:20900`
    /// (IPv6 and IPv4, or IPv4 alone on a system without IPv6): none of the ports that WCS uses for
    /// media and SIP (30000 to 33000), and below those that Linux gives out by itself (from 32768).
    pub listen: SocketAddr,
    /// Addresses to give to clients instead of the one their TCP connection arrived at, or of that of `listen` where
    /// it is one. Default none.
    pub advertise: Vec<IpAddr>,
    /// Threads that own sockets and legs; never more than there are cores. Default 2.
    #[serde(with = "Between::<1, 64>")]
    pub workers: usize,
    /// Most streams at once; those past it get direct media. Default 10,000.
    #[serde(with = "Between::<1, 1_000_000>")]
    pub streams_max: usize,
    /// Most payload bits per second of a stream in either direction; packets past it are dropped.
    /// Default 50,000,000; 0 = no limit.
    #[serde(with = "Between::<0, 100_000_000_000>")]
    pub stream_bits_per_second_max: u64,
    /// Bytes of sent packets kept per stream, to be sent again. Default 200,000: almost half a second
    /// of 2.5 Mbit/s.
    #[serde(with = "Between::<2_000, 100_000_000>")]
    pub rtx_cache_bytes_max: usize,
    /// Addresses of a peer that are remembered per transport; the least recently heard gives way to
    /// the next, never the one that is sent to. Default 8.
    #[serde(with = "Between::<2, 1_000>")]
    pub addresses_per_transport_max: usize,
    /// Connectivity checks that are looked at per transport and second: of each known address, and of
    /// all others together. Default 100.
    #[serde(with = "Between::<20, 100_000>")]
    pub checks_per_second_max: u32,
    /// Clients may send their media over TCP too, to the same port numbers. Default true.
    pub tcp: bool,
    /// Most TCP connections of clients per worker. Default 10,000.
    #[serde(with = "Between::<1, 1_000_000>")]
    pub tcp_connections_max: usize,
    /// Most bytes that wait on a TCP connection whose peer does not read; datagrams past it are
    /// dropped, as UDP would drop them. Default 256 KiB.
    #[serde(with = "Between::<4_096, 100_000_000>")]
    pub tcp_output_bytes_max: usize,
    /// How long a TCP connection may take to pass a connectivity check. Default 5 s.
    #[serde(rename = "tcp_unchecked_ms_max", with = "Ms::<100, 60_000>")]
    pub tcp_unchecked_max: Duration,
    /// Most bytes read of a TCP connection until it has passed one. Default 4 KiB.
    #[serde(with = "Between::<256, 65_536>")]
    pub tcp_unchecked_bytes_max: usize,
    /// Most TCP connections that have not passed one yet, per worker; the oldest gives way to the
    /// next. Default 512.
    #[serde(with = "Between::<1, 100_000>")]
    pub tcp_unchecked_connections_max: usize,
    /// The same per client address in all; IPv6 addresses count by their /64. Default 16; 0 = no
    /// bound.
    #[serde(with = "Between::<0, 100_000>")]
    pub tcp_unchecked_per_address_max: usize,
    /// Bytes that the kernel may queue on each of the two UDP sockets of a worker (clients,
    /// servers); the system may grant less (`net.core.rmem_max`). Default 8 MiB.
    #[serde(with = "Between::<65_536, 1_073_741_824>")]
    pub socket_buffer_bytes: usize,
    /// Most sockets and TCP connections per worker towards servers, beside the socket that streams
    /// share; a stream that would need one more fails. Default 10,000.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub upstream_sockets_max: usize,
    /// Longest time from the server's answer to a connection of media with it. Default 6 s.
    #[serde(rename = "upstream_connect_timeout_ms", with = "Ms::<100, 600_000>")]
    pub upstream_connect_timeout: Duration,
    /// Longest time from our answer to a connection of media with the client. Default 15 s.
    #[serde(rename = "client_connect_timeout_ms", with = "Ms::<100, 600_000>")]
    pub client_connect_timeout: Duration,
    /// Silence of a client after which it gets new transport addresses, and the pause between
    /// further ones. Default 5 s.
    #[serde(rename = "client_silence_ms", with = "Ms::<1_000, 600_000>")]
    pub client_silence: Duration,
    /// How often it gets them before its stream is given up. Default 12.
    #[serde(with = "Between::<1, 10_000>")]
    pub client_revive_tries_max: u32,
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self {
            mode: MediaMode::Anchor,
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 20_900)),
            advertise: Vec::new(),
            workers: 2,
            streams_max: 10_000,
            stream_bits_per_second_max: 50_000_000,
            rtx_cache_bytes_max: 200_000,
            addresses_per_transport_max: 8,
            checks_per_second_max: 100,
            tcp: true,
            tcp_connections_max: 10_000,
            tcp_output_bytes_max: 256 * 1024,
            tcp_unchecked_max: Duration::from_secs(5),
            tcp_unchecked_bytes_max: 4_096,
            tcp_unchecked_connections_max: 512,
            tcp_unchecked_per_address_max: 16,
            socket_buffer_bytes: 8 * 1024 * 1024,
            upstream_sockets_max: 10_000,
            upstream_connect_timeout: Duration::from_secs(6),
            client_connect_timeout: Duration::from_secs(15),
            client_silence: Duration::from_secs(5),
            client_revive_tries_max: 12,
        }
    }
}
