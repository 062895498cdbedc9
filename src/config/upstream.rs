//! Section `[upstream]`: the nodes behind, and how fast they may be dialled.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    checks::Checks,
    node::{NodeSettings, NodeUrl},
    number::{Between, Ms},
    pin::Pin,
    policy::{HashBy, Policy},
    send_proxy::SendProxy,
};

/// The upstream nodes and the pace of dialling them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// The nodes in short, `URL` or `NAME=URL`; at least one here or in `node`. No default.
    pub url: Vec<NodeUrl>,
    /// The nodes with all that can be said of them; in the order of all they come after those of `url`.
    pub node: Vec<NodeSettings>,
    /// Which of the nodes that are up gets a session. Default `least_sessions`.
    pub policy: Policy,
    /// What the policy `hash` goes by. Default `client_address`.
    pub hash_by: HashBy,
    /// PEM file with the certificates that sign the upstreams' own. `None`: the public roots.
    pub ca: Option<PathBuf>,
    /// The name by which wss nodes are asked for and checked, instead of the host of their URL: for nodes that are
    /// dialled by address. Default none.
    pub server_name: Option<String>,
    /// Public keys of wss nodes that are believed whoever signed their certificates, instead of `ca` and names.
    /// Default none.
    pub pins: Vec<Pin>,
    /// PEM file with the certificate chain that wss nodes are shown if they ask for one. Default none.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// What each connection begins with: nothing, or a header of the PROXY protocol that names its client. Default
    /// `off`.
    pub send_proxy: SendProxy,
    /// Longest time for one dial: name, TCP, TLS and the answer to the handshake. Default 5 s.
    #[serde(rename = "dial_timeout_ms", with = "Ms::<100, 600_000>")]
    pub dial_timeout: Duration,
    /// How long an address of a node's name has to take the connection before the next one is tried
    /// beside it (RFC 8305 section 5). Default 250 ms.
    #[serde(rename = "connect_attempt_delay_ms", with = "Ms::<10, 60_000>")]
    pub connect_attempt_delay: Duration,
    /// How long an address that took the connection has to answer the handshake before the next one
    /// is tried beside it. Default 2 s.
    #[serde(rename = "address_timeout_ms", with = "Ms::<100, 600_000>")]
    pub address_timeout: Duration,
    /// Most addresses of one name that are tried. Default 8.
    #[serde(with = "Between::<1, 64>")]
    pub addresses_max: usize,
    /// How long the addresses of a name are kept; they are asked for again when none answers.
    /// Default 30 s.
    #[serde(rename = "dns_cache_ms", with = "Ms::<0, 86_400_000>")]
    pub dns_cache: Duration,
    /// How long a node has to answer at most before the next one is dialled beside it. Default 2 s.
    #[serde(rename = "next_node_after_ms", with = "Ms::<100, 600_000>")]
    pub next_node_after: Duration,
    /// How long it has at least: where its last dials were answered quickly, three times what they took is
    /// enough. Default 25 ms.
    #[serde(rename = "next_node_after_ms_min", with = "Ms::<1, 600_000>")]
    pub next_node_after_min: Duration,
    /// How nodes are asked how they are that say nothing of it themselves. `None`: by a WebSocket handshake
    /// every 5 s where there are several nodes, and not at all where there is one.
    pub health: Option<Checks>,
    /// Refusals of clients in a row for which a node is put behind the others for a while; so is one that
    /// goes down three times within a minute. Default 5; 0 = never.
    #[serde(with = "Between::<0, 1_000>")]
    pub eject_after: u32,
    /// For how long, the first time; twice as long each further time. Default 10 s.
    #[serde(rename = "eject_ms", with = "Ms::<100, 3_600_000>")]
    pub eject: Duration,
    /// For how long at most. Default 5 min.
    #[serde(rename = "eject_ms_max", with = "Ms::<100, 86_400_000>")]
    pub eject_max: Duration,
    /// Most nodes of a pool that are out for that at once, in percent, rounded down. Default 50.
    #[serde(with = "Between::<0, 100>")]
    pub eject_percent_max: usize,
    /// How long it takes until a node that was down has its full weight again. Default 30 s; zero = none.
    #[serde(rename = "slow_start_ms", with = "Ms::<0, 3_600_000>")]
    pub slow_start: Duration,
    /// So many legs of media that speak against a node at once mean that it passes none. Default 2: a publisher that
    /// sends and one of its players that hears nothing, or two players of different streams.
    #[serde(with = "Between::<1, 1_000>")]
    pub media_silent_legs: usize,
    /// After this time such a node is tried again, up to 16 times as long where that fails. Default 30 s.
    #[serde(rename = "media_retry_ms", with = "Ms::<100, 3_600_000>")]
    pub media_retry: Duration,
    /// While a node is down and somebody waits: time between two probes. It is ten times as long while
    /// nobody waits, and for a node that answers but refused those who wait. Default 100 ms.
    #[serde(rename = "probe_interval_ms", with = "Ms::<50, 60_000>")]
    pub probe_interval: Duration,
    /// Most paths per node that are probed because clients were refused there. Default 8.
    #[serde(with = "Between::<1, 1_000>")]
    pub probe_paths_max: usize,
    /// Most cookies that the upstreams of one session may set, to be sent with its later dials; past it
    /// the oldest are forgotten. Default 16; 0 = none are kept.
    #[serde(with = "Between::<0, 1_000>")]
    pub cookies_max: usize,
    /// Most bytes of them, names and values. Default 8 KiB.
    #[serde(with = "Between::<0, 1_048_576>")]
    pub cookie_bytes_max: usize,
    /// Streams live where their publisher is, rooms where their first participant is: a session that has none
    /// yet goes to the node where the stream runs that it first asks for, or where the room is that it first
    /// joins (R16). False where nodes fetch from each other by themselves, as the edges of a CDN. Default true.
    pub locality: bool,
    /// Dials per second and node that restores may cause, all sessions together, publishers
    /// first. Default 1000; 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub restore_rate: u32,
    /// When many sessions lose a node at once, their first tries are spread over this time.
    /// Default 100 ms; zero = all at once.
    #[serde(rename = "fall_together_spread_ms", with = "Ms::<0, 60_000>")]
    pub fall_together_spread: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            url: Vec::new(),
            node: Vec::new(),
            policy: Policy::default(),
            hash_by: HashBy::default(),
            ca: None,
            server_name: None,
            pins: Vec::new(),
            client_cert: None,
            client_key: None,
            send_proxy: SendProxy::Off,
            dial_timeout: Duration::from_secs(5),
            connect_attempt_delay: Duration::from_millis(250),
            address_timeout: Duration::from_secs(2),
            addresses_max: 8,
            dns_cache: Duration::from_secs(30),
            next_node_after: Duration::from_secs(2),
            next_node_after_min: Duration::from_millis(25),
            health: None,
            eject_after: 5,
            eject: Duration::from_secs(10),
            eject_max: Duration::from_secs(300),
            eject_percent_max: 50,
            slow_start: Duration::from_secs(30),
            media_silent_legs: 2,
            media_retry: Duration::from_secs(30),
            probe_interval: Duration::from_millis(100),
            probe_paths_max: 8,
            cookies_max: 16,
            cookie_bytes_max: 8 * 1024,
            locality: true,
            restore_rate: 1_000,
            fall_together_spread: Duration::from_millis(100),
        }
    }
}
