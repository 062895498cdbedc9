//! The PROXY protocol: what a balancer says of a connection before its first byte, in version 1 or 2.
//!
//! Reads the header and not a byte behind it: what follows is TLS or a request. Whom to believe is decided by
//! whoever calls; nothing here is logged.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Longest header of version 1, by its specification.
const V1_BYTES_MAX: usize = 107;
/// Longest part of a header of version 2 behind its first 16 bytes. Addresses take 216 at most; the rest is for
/// extensions, of which certificates' names are the longest.
const V2_BYTES_MAX: usize = 4_096;
/// The shortest header of all is that of version 1 for a connection that is not told: 15 bytes.
const FIRST_BYTES: usize = 12;
/// The fixed part of version 2.
const V2_FIXED_BYTES: usize = 16;
/// The extension that tells of TLS, and the bit in it that the client used it.
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// What a balancer says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The client, and the address that it reached; `None` for a connection of the balancer's own, such as
    /// that of a check.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    /// The client spoke TLS with the balancer.
    pub(super) is_tls: bool,
}

/// Why there is no usable header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The connection failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something else came.
    #[error("no PROXY header: {0}; HAProxy sends one with send-proxy-v2 (listen.proxy_protocol)")]
    Bad(String),
}

/// Reads the header that a connection begins with.
///
/// # Errors
/// It begins with something else, or the connection ends. What was read of it is gone.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Told, HeaderError> {
    let mut first = [0; FIRST_BYTES];
    stream.read_exact(&mut first).await?;
    if first == v2::PROTOCOL_PREFIX {
        return read_v2(stream, &first).await;
    }
    if first.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return read_v1(stream, &first).await;
    }
    Err(HeaderError::Bad("it begins with something else".to_owned()))
}

async fn read_v1(stream: &mut TcpStream, first: &[u8]) -> Result<Told, HeaderError> {
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        let room = V1_BYTES_MAX - line.len();
        if room == 0 {
            return Err(HeaderError::Bad(format!("its line does not end within {V1_BYTES_MAX} bytes")));
        }
        // Looked at first: what is behind the line is not to be taken.
        let mut seen = [0; V1_BYTES_MAX];
        let seen_bytes = stream.peek(seen.get_mut(..room).unwrap_or_default()).await?;
        let ahead = seen.get(..seen_bytes).unwrap_or_default();
        let take = ahead.iter().position(|byte| *byte == b'\n').map_or(seen_bytes, |at| at + 1);
        let before = line.len();
        line.resize(before + take.max(1), 0);
        stream.read_exact(line.get_mut(before..).unwrap_or_default()).await?;
    }
    let header = v1::Header::try_from(&line[..]).map_err(bad)?;
    let addresses = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(told) => Some(of_ipv4(told)),
        v1::Addresses::Tcp6(told) => Some(of_ipv6(told)),
    };
    Ok(Told { addresses, is_tls: false })
}

async fn read_v2(stream: &mut TcpStream, first: &[u8; FIRST_BYTES]) -> Result<Told, HeaderError> {
    let mut rest = [0; V2_FIXED_BYTES - FIRST_BYTES];
    stream.read_exact(&mut rest).await?;
    let [_, _, high, low] = rest;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err(HeaderError::Bad(format!("{length} bytes of it are more than {V2_BYTES_MAX}")));
    }
    let mut bytes = Vec::with_capacity(V2_FIXED_BYTES + length);
    bytes.extend_from_slice(first);
    bytes.extend_from_slice(&rest);
    bytes.resize(V2_FIXED_BYTES + length, 0);
    stream.read_exact(bytes.get_mut(V2_FIXED_BYTES..).unwrap_or_default()).await?;
    let header = v2::Header::try_from(&bytes[..]).map_err(bad)?;
    let addresses = match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(told)) => Some(of_ipv4(told)),
        (v2::Command::Proxy, v2::Addresses::IPv6(told)) => Some(of_ipv6(told)),
    };
    let mut extensions = header.tlvs().map_while(Result::ok);
    let is_tls = extensions.any(|extension| {
        extension.kind == TLV_SSL && extension.value.first().is_some_and(|bits| bits & CLIENT_SSL != 0)
    });
    Ok(Told { addresses, is_tls })
}

fn of_ipv4(told: v2::IPv4) -> (SocketAddr, SocketAddr) {
    ((told.source_address, told.source_port).into(), (told.destination_address, told.destination_port).into())
}

fn of_ipv6(told: v2::IPv6) -> (SocketAddr, SocketAddr) {
    ((told.source_address, told.source_port).into(), (told.destination_address, told.destination_port).into())
}

fn bad(why: impl ToString) -> HeaderError {
    HeaderError::Bad(why.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;

    /// What is read of these bytes, which come in such pieces, and what is left behind it.
    async fn read_of(pieces: &[&[u8]]) -> (Result<Told, HeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpSocket::new_v4().unwrap().connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let write = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let (told, ()) = tokio::join!(read(&mut stream), write);
        let mut left = Vec::new();
        if told.is_ok() {
            stream.read_to_end(&mut left).await.unwrap();
        }
        (told, left)
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend_from_slice(&[0x20 | command, family]);
        bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    fn pair(client: &str, reached: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((client.parse().unwrap(), reached.parse().unwrap()))
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 9, 0x30, 0x39, 0x01, 0xbb];

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let four = pair("192.0.2.7:12345", "198.51.100.9:443");
        let mut with_tls = IPV4.to_vec();
        with_tls.extend_from_slice(&[TLV_SSL, 0, 5, CLIENT_SSL, 0, 0, 0, 0]);
        let mut without_tls = IPV4.to_vec();
        without_tls.extend_from_slice(&[0x04, 0, 1, 9, TLV_SSL, 0, 5, 0, 0, 0, 0, 0]);
        let mut six = vec![0; 36];
        (six[15], six[31], six[33], six[35]) = (7, 9, 1, 2);
        for (header, addresses, is_tls) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 443\r\n".to_vec(), four, false),
            (b"PROXY TCP6 ::7 ::9 1 2\r\n".to_vec(), pair("[::7]:1", "[::9]:2"), false),
            (b"PROXY UNKNOWN\r\n".to_vec(), None, false),
            (b"PROXY UNKNOWN whatever it is\r\n".to_vec(), None, false),
            (v2(1, 0x11, &IPV4), four, false),
            (v2(1, 0x11, &with_tls), four, true),
            (v2(1, 0x11, &without_tls), four, false),
            (v2(1, 0x21, &six), pair("[::7]:1", "[::9]:2"), false),
            (v2(0, 0x00, &[]), None, false),
            (v2(0, 0x11, &IPV4), None, false),
            (v2(1, 0x00, &[]), None, false),
            (v2(1, 0x31, &[0; 216]), None, false),
        ] {
            let whole = [&header[..], b"GET / \r\n"].concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            for pieces in [vec![&whole[..]], bytes, whole.chunks(13).collect()] {
                let (told, left) = read_of(&pieces).await;
                assert_eq!(told.unwrap(), Told { addresses, is_tls }, "{header:?}");
                assert_eq!(left, b"GET / \r\n", "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_within_its_bounds() {
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let mut long = v2(1, 0x11, &IPV4);
        long[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        for bytes in [
            &b"GET /some/path HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 99999\r\n",
            b"PROXY \xff\xff\xff\xff\xff\xff\r\n",
            &endless,
            &long,
            &v2(2, 0x11, &IPV4),
            &v2(1, 0x11, &IPV4[..11]),
        ] {
            let (told, _) = read_of(&[bytes]).await;
            assert!(matches!(told, Err(HeaderError::Bad(_))), "{bytes:?}: {told:?}");
        }
        let (told, _) = read_of(&[b"PROXY TC"]).await;
        assert!(matches!(&told, Err(HeaderError::Io(_))), "{told:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let bytes = match kind {
                0 => bytes,
                1 => [&b"PROXY "[..], &bytes].concat(),
                _ => [v2::PROTOCOL_PREFIX, &bytes].concat(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // That it ends is the point.
            let _ = runtime.block_on(read_of(&[&bytes]));
        }
    }
}
