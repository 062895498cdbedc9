//! A port before a server that expects the PROXY protocol, as HAProxy's `accept-proxy` does: it takes the header of
//! each connection, keeps what it said, and passes the rest on.

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use ppp::{v1, v2};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::ports::free_port;

/// A client, and the address that it reached.
pub type Ends = (SocketAddr, SocketAddr);

/// What a connection began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// It is this client's.
    Of(Ends),
    /// It is the proxy's own (LOCAL, UNKNOWN).
    Own,
    /// There is none; the first bytes. It was ended.
    Missing(Vec<u8>),
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Dial {
    pub header: Header,
    /// The request behind it.
    pub request: String,
}

impl Dial {
    pub fn is_probe(&self) -> bool {
        self.request.contains("User-Agent: holdfast-probe\r\n")
    }
}

/// The port.
pub struct Gate {
    pub address: SocketAddr,
    dials: Arc<Mutex<Vec<Dial>>>,
}

impl Gate {
    pub async fn before(server: SocketAddr) -> Self {
        let address = free_port();
        let listener = TcpListener::bind(address).await.unwrap();
        let dials: Arc<Mutex<Vec<Dial>>> = Arc::default();
        let seen = Arc::clone(&dials);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                // However it ends, both sides see it.
                tokio::spawn(async move { pass(BufReader::new(stream), server, &seen).await });
            }
        });
        Self { address, dials }
    }

    /// All until now, in the order of their requests.
    pub fn dials(&self) -> Vec<Dial> {
        self.dials.lock().clone()
    }

    /// How many were made for this client.
    pub fn of(&self, client: SocketAddr) -> usize {
        let is_of = |dial: &&Dial| matches!(dial.header, Header::Of((named, _)) if named == client);
        self.dials.lock().iter().filter(is_of).count()
    }

    /// How many were the proxy's own.
    pub fn own(&self) -> usize {
        self.dials.lock().iter().filter(|dial| dial.header == Header::Own).count()
    }
}

async fn pass(
    mut client: BufReader<TcpStream>,
    server: SocketAddr,
    seen: &Mutex<Vec<Dial>>,
) -> io::Result<()> {
    let header = header(&mut client).await?;
    if matches!(header, Header::Missing(_)) {
        seen.lock().push(Dial { header, request: String::new() });
        return Ok(());
    }
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && client.read_line(&mut request).await? > 0 {}
    seen.lock().push(Dial { header, request: request.clone() });
    let mut server = TcpStream::connect(server).await?;
    server.write_all(request.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The header, and not a byte behind it.
async fn header(stream: &mut BufReader<TcpStream>) -> io::Result<Header> {
    let mut bytes = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == v2::PROTOCOL_PREFIX {
        bytes.resize(16, 0);
        stream.read_exact(&mut bytes[12..]).await?;
        let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        bytes.resize(16 + rest, 0);
        stream.read_exact(&mut bytes[16..]).await?;
        let header = v2::Header::try_from(&bytes[..]).unwrap();
        return Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(told)) => Header::Of((
                (told.source_address, told.source_port).into(),
                (told.destination_address, told.destination_port).into(),
            )),
            (v2::Command::Local, v2::Addresses::Unspecified) => Header::Own,
            other => panic!("nothing that loopback says: {other:?}"),
        });
    }
    if !bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Ok(Header::Missing(bytes));
    }
    stream.read_until(b'\n', &mut bytes).await?;
    Ok(match v1::Header::try_from(&bytes[..]).unwrap().addresses {
        v1::Addresses::Tcp4(told) => Header::Of((
            (told.source_address, told.source_port).into(),
            (told.destination_address, told.destination_port).into(),
        )),
        v1::Addresses::Unknown => Header::Own,
        other @ v1::Addresses::Tcp6(_) => panic!("nothing that loopback says: {other:?}"),
    })
}
