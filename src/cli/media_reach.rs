//! Whether clients elsewhere can reach anchored media: a word of warning where probably not.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::config::{Config, MediaMode};

/// Somewhere else: an address that is for documentation only (RFC 5737). Nothing is sent to it.
const ELSEWHERE: &str = "192.0.2.1:9";

/// What an operator should hear who did not say which addresses clients get for their media.
pub(super) fn warning(config: &Config) -> Option<String> {
    let listeners = || config.net.listen.listeners().map(|(address, _)| address);
    let media = &config.media;
    advice(media.mode, &media.advertise, listeners(), primary_address())
        .or_else(|| family(media.mode, media.listen, &media.advertise, listeners()))
}

/// Clients that come by IPv6 are told an IPv6 address: the media port must be there.
fn family(
    mode: MediaMode,
    media: SocketAddr,
    advertise: &[IpAddr],
    mut listeners: impl Iterator<Item = SocketAddr>,
) -> Option<String> {
    let told = if advertise.is_empty() {
        listeners.any(|listener| listener.is_ipv6())
    } else {
        advertise.iter().any(IpAddr::is_ipv6)
    };
    (mode == MediaMode::Anchor && media.is_ipv4() && told).then(|| {
        format!(
            "clients that come by IPv6 are told an IPv6 address for their media, but the media port \
             {media} takes IPv4 alone: give [::]:{} as --media-listen (media.listen), which takes both",
            media.port()
        )
    })
}

fn advice(
    mode: MediaMode,
    advertise: &[IpAddr],
    mut listeners: impl Iterator<Item = SocketAddr>,
    primary: Option<IpAddr>,
) -> Option<String> {
    // Addresses that were given are meant, whatever they are.
    if mode == MediaMode::Direct || !advertise.is_empty() {
        return None;
    }
    let private = listeners.find_map(|listener| {
        let address = if listener.ip().is_unspecified() { primary } else { Some(listener.ip()) };
        address.filter(|address| is_private(*address))
    })?;
    Some(format!(
        "clients are told to send their media to the address they reached the proxy at, and that of this \
         machine is a private one ({private}): clients in other networks cannot use it. Behind NAT give \
         the public one with --media-advertise (media.advertise); if all clients are here, give {private}"
    ))
}

/// The address this machine has towards other networks, if it has any.
fn primary_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(ELSEWHERE).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Private in the sense of RFC 1918 and RFC 4193. Loopback is not: who listens there tries things.
const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn advice_for(mode: MediaMode, advertise: &str, listen: &str, primary: &str) -> Option<String> {
        let advertise: Vec<IpAddr> = advertise.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let listen: SocketAddr = listen.parse().unwrap();
        advice(mode, &advertise, std::iter::once(listen), primary.parse().ok())
    }

    #[test]
    fn media_ports_of_the_wrong_family_are_told() {
        use MediaMode::{Anchor, Direct};
        let family_for = |mode, media: &str, advertise: &[&str], listen: &str| {
            let advertise: Vec<IpAddr> = advertise.iter().map(|ip| ip.parse().unwrap()).collect();
            let listen: SocketAddr = listen.parse().unwrap();
            family(mode, media.parse().unwrap(), &advertise, std::iter::once(listen))
        };
        let v4 = "0.0.0.0:20900";
        assert!(family_for(Anchor, v4, &[], "[::]:8080").unwrap().contains("[::]:20900"));
        assert!(family_for(Anchor, v4, &["2001:db8::1"], "0.0.0.0:8080").is_some());
        assert_eq!(family_for(Anchor, v4, &["203.0.113.5"], "[::]:8080"), None);
        assert_eq!(family_for(Anchor, v4, &[], "0.0.0.0:8080"), None);
        assert_eq!(family_for(Anchor, "[::]:20900", &[], "[::]:8080"), None);
        assert_eq!(family_for(Direct, v4, &[], "[::]:8080"), None);
    }

    #[test]
    fn private_addresses_that_nobody_asked_for_are_told() {
        use MediaMode::{Anchor, Direct};
        let wildcard = "0.0.0.0:8080";
        assert!(advice_for(Anchor, "", wildcard, "10.1.2.3").unwrap().contains("10.1.2.3"));
        assert!(advice_for(Anchor, "", "192.168.1.1:8080", "203.0.113.5").is_some());
        assert!(advice_for(Anchor, "", "[fd00::1]:8080", "203.0.113.5").is_some());
        assert_eq!(advice_for(Anchor, "", wildcard, "203.0.113.5"), None);
        assert_eq!(advice_for(Anchor, "", wildcard, "none at all"), None);
        assert_eq!(advice_for(Anchor, "", "127.0.0.1:8080", "10.1.2.3"), None);
        assert_eq!(advice_for(Anchor, "10.1.2.3", wildcard, "10.1.2.3"), None);
        assert_eq!(advice_for(Direct, "", wildcard, "10.1.2.3"), None);
    }
}
