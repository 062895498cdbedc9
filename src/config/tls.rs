//! What TLS listeners show and demand, as an operator writes it: certificates, versions, suites, client certificates.
//! Reading and comparing only; whoever loads the files is `net::certificates`.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::aws_lc_rs::ALL_CIPHER_SUITES,
    version::{TLS12, TLS13},
};

use super::text::as_text;

/// Longest host name, in bytes.
const NAME_BYTES_MAX: usize = 253;

/// A certificate, its key, and what goes with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// PEM file with the certificate chain, leaf first. No default.
    pub cert: PathBuf,
    /// PEM file with its private key. No default.
    pub key: PathBuf,
    /// File with an OCSP answer (DER) about it, which clients get with it. Default none.
    #[serde(default)]
    pub ocsp: Option<PathBuf>,
    /// Names of the server for which it is shown; empty = those in it. Default none.
    #[serde(default)]
    pub names: Vec<ServerPattern>,
}

/// Names that clients ask for: `host` or, for one label in front, `*.host`; without case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerPattern {
    /// In lower case, without the star.
    host: Box<str>,
    is_below: bool,
}

impl ServerPattern {
    /// The host, in lower case, and whether a label has to stand before it.
    #[must_use]
    pub const fn parts(&self) -> (&str, bool) {
        (&self.host, self.is_below)
    }
}

impl FromStr for ServerPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, is_below) = text.strip_prefix("*.").map_or((text, false), |host| (host, true));
        let fits = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        if is_address || host.len() > NAME_BYTES_MAX || !host.split('.').all(fits) {
            return Err(format!(
                "`{text}` is no name of a server, expected a host such as wcs.example.com or \
                 *.example.com (clients never ask for an IP address by name)"
            ));
        }
        Ok(Self { host: host.to_ascii_lowercase().into(), is_below })
    }
}

impl fmt::Display for ServerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_below { "*." } else { "" }, self.host)
    }
}

/// The lowest version of TLS that is spoken with clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMin {
    /// 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// 1.3 alone.
    #[serde(rename = "1.3")]
    V13,
}

impl TlsMin {
    /// The versions that are spoken.
    #[must_use]
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::V12 => &ALL,
            Self::V13 => &NEWEST,
        }
    }
}

/// Who has to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Nobody is asked for one.
    #[default]
    Off,
    /// Clients are asked; one that is shown has to be right.
    Optional,
    /// Clients without one are refused.
    Required,
}

/// What becomes of clients that show a certificate once a list of revoked ones has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedLists {
    /// They are refused: whether a certificate was revoked since is not known.
    #[default]
    Refuse,
    /// What the list says goes on to count.
    Use,
}

/// What becomes of clients that ask for a server by a name that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownNames {
    /// They get the first certificate.
    #[default]
    Default,
    /// Their handshake is refused.
    Refuse,
}

/// A cipher suite, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TlsSuite(CipherSuite);

impl TlsSuite {
    /// What implements it.
    #[must_use]
    pub fn supported(self) -> Option<SupportedCipherSuite> {
        ALL_CIPHER_SUITES.iter().copied().find(|suite| suite.suite() == self.0)
    }
}

impl FromStr for TlsSuite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_it = |suite: &&SupportedCipherSuite| {
            let name = Self(suite.suite()).to_string();
            // IANA's names of those of TLS 1.3 have no version in them.
            text == name
                || name.strip_prefix("TLS13_").is_some_and(|rest| text.strip_prefix("TLS_") == Some(rest))
        };
        ALL_CIPHER_SUITES.iter().find(is_it).map(|suite| Self(suite.suite())).ok_or_else(|| {
            let names: Vec<_> =
                ALL_CIPHER_SUITES.iter().map(|suite| Self(suite.suite()).to_string()).collect();
            format!("`{text}` is no cipher suite that is spoken here, expected some of {}", names.join(", "))
        })
    }
}

impl fmt::Display for TlsSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().unwrap_or("unknown"))
    }
}

impl fmt::Debug for TlsSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(ServerPattern, TlsSuite);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers_are_hosts_or_a_star_before_one() {
        let one: ServerPattern = "WCS.Example.com.".parse().unwrap();
        assert_eq!((one.parts(), one.to_string().as_str()), (("wcs.example.com", false), "wcs.example.com"));
        let below: ServerPattern = "*.example.com".parse().unwrap();
        assert_eq!((below.parts(), below.to_string().as_str()), (("example.com", true), "*.example.com"));
        for bad in ["", "*", "*.", "a..b", "a.*.b", "*a.b", "a b", "127.0.0.1", "::1", &"a".repeat(64)] {
            assert!(bad.parse::<ServerPattern>().unwrap_err().contains("expected a host"), "{bad}");
        }
    }

    #[test]
    fn suites_go_by_the_names_of_rustls_and_iana() {
        let ours: TlsSuite = "TLS13_AES_128_GCM_SHA256".parse().unwrap();
        assert_eq!("TLS_AES_128_GCM_SHA256".parse::<TlsSuite>().unwrap(), ours);
        assert!(ours.supported().is_some());
        for suite in ALL_CIPHER_SUITES {
            let name = TlsSuite(suite.suite()).to_string();
            assert_eq!(name.parse::<TlsSuite>().unwrap().supported().unwrap().suite(), suite.suite());
        }
        let error = "ECDHE-RSA-RC4-SHA".parse::<TlsSuite>().unwrap_err();
        assert!(error.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{error}");
    }
}
