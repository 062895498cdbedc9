//! Addresses as an operator writes them: where to listen, which upstream to dial, whose
//! forwarding headers to believe. Parsing only; nothing here resolves names or opens sockets.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::Uri;
use ipnet::IpNet;

use super::text::as_text;

/// An address to listen on: `ADDRESS:PORT`, `ws://ADDRESS:PORT` or `wss://ADDRESS:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The local address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What was asked for. `None`: TLS if a certificate is configured, plain otherwise.
    pub tls: Option<bool>,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (Some(false), rest),
            Some(("wss", rest)) => (Some(true), rest),
            Some((scheme, _)) => {
                return Err(format!("unknown scheme `{scheme}`, expected ws or wss"));
            }
            None => (None, text),
        };
        let every = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let address = local_address(rest.trim_end_matches('/'), every).ok_or_else(|| {
            format!(
                "`{text}` is no address to listen on, expected IP:PORT such as 0.0.0.0:8080 or \
                 [::]:8080, :PORT or localhost:PORT, optionally with ws:// or wss:// in front"
            )
        })?;
        Ok(Self { address, tls })
    }
}

/// An address of this machine as people write it: `IP:PORT`, `localhost:PORT`, or `:PORT` for `every`.
pub(super) fn local_address(text: &str, every: IpAddr) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let ip = match host {
        "" => every,
        host if host.eq_ignore_ascii_case("localhost") => IpAddr::from(Ipv4Addr::LOCALHOST),
        _ => return text.parse().ok(),
    };
    // `parse` alone takes a sign as well.
    let port = Some(port).filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// A local address on the command line; `:PORT` is that of loopback.
///
/// # Errors
/// What is expected.
pub fn loopback_address(text: &str) -> Result<SocketAddr, String> {
    let expected = || "expected IP:PORT, localhost:PORT or :PORT".to_owned();
    local_address(text, IpAddr::from(Ipv4Addr::LOCALHOST)).ok_or_else(expected)
}

/// A local address for media; `:PORT` is that of all addresses, IPv6 and IPv4.
///
/// # Errors
/// What is expected.
pub fn media_address(text: &str) -> Result<SocketAddr, String> {
    let expected = || "expected IP:PORT, such as [::]:20900, or :PORT".to_owned();
    local_address(text, IpAddr::from(Ipv6Addr::UNSPECIFIED)).ok_or_else(expected)
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tls {
            Some(true) => write!(f, "wss://{}", self.address),
            Some(false) => write!(f, "ws://{}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// One upstream node: `ws://HOST:PORT` or `wss://HOST:PORT`.
///
/// It has no path: path and query of each client's own request reach the upstream unchanged
/// (protocol S1). It has no credentials either: those of the client are forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    tls: bool,
    host: Box<str>,
    port: u16,
}

impl UpstreamUrl {
    /// Whether to speak TLS (`wss`).
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or IP address, an IPv6 address without brackets: what to resolve, and the name
    /// for SNI.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `HOST:PORT` for the `Host` header, with brackets around an IPv6 address and without the
    /// port if it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == default_port(self.tls) {
            self.bracketed_host()
        } else {
            self.authority_of_port(self.port)
        }
    }

    /// `HOST:PORT` for another port of the same host.
    #[must_use]
    pub fn authority_of_port(&self, port: u16) -> String {
        format!("{}:{port}", self.bracketed_host())
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() }
    }
}

const fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl FromStr for UpstreamUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            // The text is not repeated when it may hold a password.
            format!("not an upstream: {why}; expected ws://HOST:PORT or wss://HOST:PORT")
        };
        let uri: Uri = text.parse().map_err(|_| bad("this is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(other) => return Err(bad(&format!("the scheme `{other}` is not spoken"))),
            None => return Err(bad("the scheme is missing")),
        };
        let authority = uri.authority().ok_or_else(|| bad("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(bad("credentials do not belong here, the client's own are forwarded"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("path and query do not belong here, the client's own are forwarded"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or("") {
            "" => default_port(tls),
            text => match authority.port_u16() {
                Some(0) => return Err(bad("port 0 cannot be dialled")),
                Some(port) => port,
                None => return Err(bad(&format!("`{text}` is no port"))),
            },
        };
        Ok(Self { tls, host: host.into(), port })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// A single IP address or a network in CIDR notation (`10.0.0.0/8`, `fd00::/8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether `address` lies in this range. An IPv4 address that arrives mapped into IPv6 (on a
    /// dual-stack socket) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is no address range, expected an IP address or a network such as \
                 10.0.0.0/8 or fd00::/8"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let network = match prefix {
            Some(prefix) => {
                prefix.parse().ok().and_then(|bits| IpNet::new(address, bits).ok()).ok_or_else(bad)?
            }
            None => address.into(),
        };
        Ok(Self(canonical(network)))
    }
}

/// A network of mapped IPv4 addresses is one of IPv4: none would ever lie in it otherwise.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(MAPPED_BITS)) {
        (address @ IpAddr::V4(_), Some(bits)) if network.addr().is_ipv6() => {
            IpNet::new(address, bits).unwrap_or(network)
        }
        _ => network,
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(ListenAddress, UpstreamUrl, AddressRange);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_keep_what_was_asked() {
        let plain: ListenAddress = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(plain.tls, None);
        assert_eq!(plain.address.port(), 8080);
        let tls: ListenAddress = "wss://[::]:8443".parse().unwrap();
        assert_eq!(tls.tls, Some(true));
        assert!(tls.address.is_ipv6());
        assert_eq!(tls.to_string(), "wss://[::]:8443");
        for (short, long) in [
            (":8080", "0.0.0.0:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("ws://:8080", "0.0.0.0:8080"),
            ("wss://localhost:8443/", "127.0.0.1:8443"),
        ] {
            assert_eq!(short.parse::<ListenAddress>().unwrap().address.to_string(), long, "{short}");
        }
        for bad in [
            "8080",
            ":+8080",
            ":",
            "localhost",
            "localhost:",
            "host:8080",
            "http://0.0.0.0:80",
            "0.0.0.0:99999",
            "",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn upstreams_have_a_scheme_a_host_and_a_port() {
        let plain: UpstreamUrl = "ws://wcs.example:8080".parse().unwrap();
        assert_eq!((plain.is_tls(), plain.host(), plain.port()), (false, "wcs.example", 8080));
        assert_eq!(plain.authority(), "wcs.example:8080");
        let tls: UpstreamUrl = "wss://wcs.example/".parse().unwrap();
        assert_eq!((tls.is_tls(), tls.port()), (true, 443));
        assert_eq!(tls.authority(), "wcs.example");
        let six: UpstreamUrl = "ws://[2001:db8::1]:8080".parse().unwrap();
        assert_eq!(six.host(), "2001:db8::1");
        assert_eq!(six.authority(), "[2001:db8::1]:8080");
        assert_eq!(six.to_string().parse::<UpstreamUrl>().unwrap(), six);
    }

    #[test]
    fn what_is_no_upstream_says_why() {
        for (bad, why) in [
            ("wcs:8080", "scheme"),
            ("http://wcs:8080", "scheme"),
            ("ws://wcs:8080/path", "path"),
            ("ws://wcs:8080?x=1", "path"),
            ("ws://me:secret@wcs:8080", "credentials"),
            ("ws://wcs:0", "port 0"),
            ("ws://wcs:99999", "is no port"),
            ("ws://wcs:", "is no port"),
            ("ws://", "URL"),
            ("", "URL"),
        ] {
            let error = bad.parse::<UpstreamUrl>().expect_err(bad);
            assert!(error.contains("expected ws://HOST:PORT"), "{bad}: {error}");
            assert!(!error.contains("secret"), "{bad}: {error}");
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn ranges_contain_what_they_say() {
        let ten: AddressRange = "10.0.0.0/8".parse().unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        assert!(!ten.contains("fd00::1".parse().unwrap()));
        let one: AddressRange = "127.0.0.1".parse().unwrap();
        assert!(one.contains("127.0.0.1".parse().unwrap()));
        assert!(!one.contains("127.0.0.2".parse().unwrap()));
        let all: AddressRange = "::/0".parse().unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()));
        assert!(!all.contains("192.0.2.1".parse().unwrap()), "of IPv6 alone");
        let with_host: AddressRange = "10.1.2.3/8".parse().unwrap();
        assert!(with_host.contains("10.9.9.9".parse().unwrap()));
        assert_eq!(
            ["10.1.2.3/8", "192.0.2.1", "fd00::/8"]
                .map(|text| text.parse::<AddressRange>().unwrap().to_string()),
            ["10.1.2.3/8", "192.0.2.1/32", "fd00::/8"]
        );
        for (mapped, network) in [("::ffff:192.0.2.7", "192.0.2.7/32"), ("::ffff:10.0.0.0/104", "10.0.0.0/8")]
        {
            assert_eq!(mapped.parse::<AddressRange>().unwrap(), network.parse().unwrap());
        }
        for bad in
            ["10.0.0.0/33", "fd00::/129", "ten", "10.0.0.0/", "10.0.0.0/-1", "", "/8", "10.0.0/8", "a/8/9"]
        {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad} was accepted");
        }
    }
}
