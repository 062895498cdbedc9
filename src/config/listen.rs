//! Section `[listen]`: the side that clients see.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    address::{AddressRange, ListenAddress},
    header::{self, HeaderField},
    number::{Between, Ms},
    origin::OriginPattern,
    tls::{CertificateSettings, ClientAuth, EndedLists, TlsMin, TlsSuite, UnknownNames},
};

/// Where clients connect, and what they may cost before they are sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSettings {
    /// Addresses to listen on, at least one. Default `0.0.0.0:8080`.
    pub address: Vec<ListenAddress>,
    /// Whether several processes may listen on these addresses at once and share new clients (`SO_REUSEPORT`), as an
    /// old and a new one do until the old one has drained itself. Default false.
    pub reuse_port: bool,
    /// PEM file with the certificate chain, leaf first. Needed for wss.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// File with an OCSP answer (DER) about `tls_cert`. Default none.
    pub tls_ocsp: Option<PathBuf>,
    /// Further certificates, chosen by the name that a client asks for. Default none.
    pub certificates: Vec<CertificateSettings>,
    /// What becomes of clients that ask for a name that no certificate has. Default `default`: they get the
    /// first.
    pub tls_unknown_names: UnknownNames,
    /// Lowest version of TLS. Default 1.2.
    pub tls_min: TlsMin,
    /// Cipher suites that are spoken; empty = all there are. Default none.
    pub tls_suites: Vec<TlsSuite>,
    /// How often the files of certificates are looked at. Default 10 s; zero = never.
    #[serde(rename = "tls_watch_ms", with = "Ms::<0, 86_400_000>")]
    pub tls_watch: Duration,
    /// Whether clients show certificates. Default `off`.
    pub client_auth: ClientAuth,
    /// PEM file with the certificates that sign those of clients. Default none.
    pub client_ca: Option<PathBuf>,
    /// PEM file with the lists of those that are revoked. Default none.
    pub client_crl: Option<PathBuf>,
    /// What becomes of clients that show a certificate once a list of `client_crl` has ended. Default `refuse`.
    pub client_crl_ended: EndedLists,
    /// Whether clients get a TLS session ticket, with which they come back by a shorter handshake.
    /// Default true.
    pub tls_tickets: bool,
    /// Longest time from accepting a connection to its complete request, TLS handshake included;
    /// the wait for the upstream's answer does not count. Default 10 s.
    #[serde(rename = "handshake_timeout_ms", with = "Ms::<100, 600_000>")]
    pub handshake_timeout: Duration,
    /// Largest request head (request line and all headers), in bytes. Default 16 KiB.
    #[serde(with = "Between::<1_024, 1_048_576>")]
    pub header_bytes_max: usize,
    /// How long an open socket may stay silent before its first message; signs of life (ping, pong) before it
    /// give it this time again, up to ten times in all. Default 30 s; zero = for ever.
    #[serde(rename = "idle_before_first_message_ms", with = "Ms::<0, 3_600_000>")]
    pub idle_before_first_message: Duration,
    /// How long a client that arrives while no upstream answers waits in its handshake before it
    /// gets 503 (rule R13). Default 15 s; zero = refuse at once.
    #[serde(rename = "connect_hold_ms", with = "Ms::<0, 600_000>")]
    pub connect_hold: Duration,
    /// How many clients may wait like that at the same time; more get 503 at once. They count as
    /// sessions, too. Default 10,000.
    #[serde(with = "Between::<0, 10_000_000>")]
    pub connect_hold_sessions_max: usize,
    /// Peers whose forwarding headers (`X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `Forwarded`,
    /// `client_ip_header`) are believed, and extended or passed; from anybody else these headers are
    /// replaced. Default none.
    pub trusted_proxies: Vec<AddressRange>,
    /// Whether each connection of a trusted proxy begins with a header of the PROXY protocol, version 1 or 2, that
    /// names the client; one without it is refused. Connections of others have none. Default false.
    pub proxy_protocol: bool,
    /// Client addresses that are admitted; empty = all. Default none. Others get 403.
    pub allow: Vec<AddressRange>,
    /// Client addresses that are not admitted, whatever `allow` says. Default none.
    pub deny: Vec<AddressRange>,
    /// Origins of pages that are admitted; empty = all. Default none. Others get 403; clients that send no
    /// `Origin` are no pages, and are admitted.
    pub origins: Vec<OriginPattern>,
    /// The header that tells the upstream the client's address, the vendor's `ws.ip_forward_header`.
    /// Default `X-Client-IP`; empty = none.
    #[serde(with = "header::optional")]
    pub client_ip_header: Option<HeaderField>,
    /// Further headers of a client's request that reach the upstream. Default none.
    pub pass_headers: Vec<HeaderField>,
    /// Headers that tell one client from another besides `Origin` and `User-Agent` (rule R7).
    /// Default none.
    pub identity_headers: Vec<HeaderField>,
}

impl ListenSettings {
    /// Each address to listen on, and whether it speaks TLS.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, bool)> + '_ {
        let certificate = self.has_certificate();
        self.address.iter().map(move |a| (a.address, a.tls.unwrap_or(certificate)))
    }

    /// Whether there is a certificate that clients can be shown.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.tls_cert.is_some() || !self.certificates.is_empty()
    }

    /// All certificates, the one for unknown names first.
    #[must_use]
    pub fn all_certificates(&self) -> Vec<CertificateSettings> {
        let first = self.tls_cert.clone().zip(self.tls_key.clone()).map(|(cert, key)| CertificateSettings {
            cert,
            key,
            ocsp: self.tls_ocsp.clone(),
            names: Vec::new(),
        });
        first.into_iter().chain(self.certificates.iter().cloned()).collect()
    }

    /// Whether clients of this address are admitted.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        let within = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(client));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }

    /// Whether forwarding headers of this peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(peer))
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            address: vec![ListenAddress { address: SocketAddr::from(([0, 0, 0, 0], 8080)), tls: None }],
            reuse_port: false,
            tls_cert: None,
            tls_key: None,
            tls_ocsp: None,
            certificates: Vec::new(),
            tls_unknown_names: UnknownNames::Default,
            tls_min: TlsMin::V12,
            tls_suites: Vec::new(),
            tls_watch: Duration::from_secs(10),
            client_auth: ClientAuth::Off,
            client_ca: None,
            client_crl: None,
            client_crl_ended: EndedLists::Refuse,
            tls_tickets: true,
            handshake_timeout: Duration::from_secs(10),
            header_bytes_max: 16 * 1024,
            idle_before_first_message: Duration::from_secs(30),
            connect_hold: Duration::from_secs(15),
            connect_hold_sessions_max: 10_000,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            allow: Vec::new(),
            deny: Vec::new(),
            origins: Vec::new(),
            client_ip_header: "X-Client-IP".parse().ok(),
            pass_headers: Vec::new(),
            identity_headers: Vec::new(),
        }
    }
}
