//! The HTTP server that a route passes requests on to: where it is, how it is checked, and how clients reach this proxy
//! where its answers name it. Dials nobody.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::super::{
    address::UpstreamUrl, number::MaybeBetween, pin::Pin, text::as_text, upstream::UpstreamSettings,
};

/// An HTTP server: `http://HOST:PORT` or `https://HOST:PORT`. It has no path: that of the request is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(UpstreamUrl);

impl HttpUrl {
    /// Whether to speak TLS (`https`).
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.0.is_tls()
    }

    /// Host name or IP address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port()
    }

    /// What stands in `Host` for it.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            |why: &str| format!("not an HTTP server: {why}; expected http://HOST:PORT or https://HOST:PORT");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| expected("the scheme is missing"))?;
        let scheme = match scheme {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(expected("this scheme is not spoken")),
        };
        format!("{scheme}://{rest}").parse().map(Self).map_err(|error: String| {
            let why = error.trim_start_matches("not an upstream: ").split(';').next().unwrap_or_default();
            expected(why.trim_end_matches(", the client's own are forwarded"))
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let host = self.0.authority_of_port(self.port());
        write!(f, "{scheme}://{host}")
    }
}

/// How clients reach this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbPublic {
    /// The host, as it stands in a URL.
    pub server: Option<String>,
    /// The port of `ws`.
    #[serde(with = "MaybeBetween::<1, 65_535>")]
    pub ws: Option<u16>,
    /// The port of `wss`.
    #[serde(with = "MaybeBetween::<1, 65_535>")]
    pub wss: Option<u16>,
}

/// How an https server is checked, and what it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTls {
    /// PEM file with the certificates that sign that of the server. `None`: the public roots.
    pub ca: Option<PathBuf>,
    /// The name by which it is asked for and checked, instead of the host of its URL.
    pub server_name: Option<String>,
    /// Public keys that are believed whoever signed the certificate.
    pub pins: Vec<Pin>,
    /// PEM file with the certificate chain that it is shown if it asks for one.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
}

impl HttpTls {
    /// The same as settings of upstreams, beside the others of these.
    #[must_use]
    pub fn in_settings(&self, upstream: &UpstreamSettings) -> UpstreamSettings {
        UpstreamSettings {
            ca: self.ca.clone(),
            server_name: self.server_name.clone(),
            pins: self.pins.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            ..upstream.clone()
        }
    }
}

as_text!(HttpUrl);
