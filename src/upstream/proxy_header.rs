//! The PROXY protocol towards servers: what a connection begins with, so that they know whose it is. Writing only.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};

use crate::config::SendProxy;

/// The header for a connection of this client, which reached that address; without one it is a connection of our
/// own, such as a probe.
///
/// # Errors
/// None that is known: the library has it so.
pub(crate) fn header(kind: SendProxy, client: Option<(SocketAddr, SocketAddr)>) -> io::Result<Vec<u8>> {
    let client = client.map(of_one_family);
    match (kind, client) {
        (SendProxy::Off, _) => Ok(Vec::new()),
        (SendProxy::V1, None) => Ok(b"PROXY UNKNOWN\r\n".to_vec()),
        (SendProxy::V1, Some(client)) => Ok(v1::Addresses::from(client).to_string().into_bytes()),
        (SendProxy::V2, None) => v2::Builder::new(v2::Version::Two | v2::Command::Local, UNSPECIFIED).build(),
        (SendProxy::V2, Some(client)) => {
            let proxied = v2::Version::Two | v2::Command::Proxy;
            v2::Builder::with_addresses(proxied, v2::Protocol::Stream, client).build()
        }
    }
}

/// Family and protocol of a connection that is not told of.
const UNSPECIFIED: u8 = 0;

/// A header has one family: with two of them, IPv4 is written as IPv6.
fn of_one_family((client, reached): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, reached) = (canonical(client), canonical(reached));
    if client.is_ipv4() == reached.is_ipv4() {
        return (client, reached);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(client), mapped(reached))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn ends(client: &str, reached: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((client.parse().unwrap(), reached.parse().unwrap()))
    }

    #[test]
    fn each_version_says_whose_a_connection_is() {
        let four = ends("192.0.2.7:12345", "[::ffff:198.51.100.9]:443");
        let six = ends("[2001:db8::7]:1", "[2001:db8::9]:2");
        let mixed = ends("192.0.2.7:0", "[2001:db8::9]:2");
        for (client, line) in [
            (four, "PROXY TCP4 192.0.2.7 198.51.100.9 12345 443\r\n"),
            (six, "PROXY TCP6 2001:db8::7 2001:db8::9 1 2\r\n"),
            (mixed, "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::9 0 2\r\n"),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(String::from_utf8(header(SendProxy::V1, client).unwrap()).unwrap(), line);
            let bytes = header(SendProxy::V2, client).unwrap();
            let read = v2::Header::try_from(&bytes[..]).unwrap();
            let expected = client.map_or(v2::Addresses::Unspecified, |client| of_one_family(client).into());
            assert_eq!(read.addresses, expected, "{line}");
            let command = if client.is_some() { v2::Command::Proxy } else { v2::Command::Local };
            assert_eq!((read.command, bytes.len()), (command, 16 + read.length()));
            assert!(header(SendProxy::Off, client).unwrap().is_empty());
        }
    }
}
