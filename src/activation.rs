//! Sockets that whoever started the process has opened for it: systemd's socket activation. Clients wait in them
//! while the process starts, and ports below 1024 take no privilege.
//!
//! Decides which descriptor is for what; nothing here accepts. They belong to the process, hence the one store.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
};

use listenfd::ListenFd;
use parking_lot::Mutex;

use crate::config::{AdminSocket, Config, ListenAddress, ListenSettings};

/// Names of descriptors (`FileDescriptorName=`) that say what they are for. Others, and those without, are told by
/// their address.
const WS: &str = "ws";
const WSS: &str = "wss";
const ADMIN: &str = "admin";

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// What was handed over, each with its name, until no new clients are wanted.
static GIVEN: Mutex<Vec<(String, Socket)>> = Mutex::new(Vec::new());

/// A descriptor that is of no use here.
#[derive(Debug, thiserror::Error)]
#[error(
    "descriptor {number} (`{name}`) that the service manager handed over is no listening socket: {source}"
)]
pub(crate) struct Unusable {
    number: usize,
    name: String,
    source: io::Error,
}

/// Takes what the service manager handed over, if anything. How many there are.
///
/// # Errors
/// One of them is no listening socket.
pub(crate) fn take() -> Result<usize, Unusable> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut given = Vec::new();
    for number in 0..handed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let socket = socket(&mut handed, number).map_err(|source| Unusable {
            number: number + 3,
            name: name.clone(),
            source,
        })?;
        given.push((name, socket));
    }
    let count = given.len();
    GIVEN.lock().extend(given);
    Ok(count)
}

/// Puts what was handed over in place of what the settings say. Sockets for clients replace the addresses of the
/// settings that have their port, and the default one; other addresses are bound as ever. To be done with all
/// settings that are read, so that those of a reload are compared with what is there.
pub(crate) fn adapt(config: &mut Config) {
    for (name, socket) in &*GIVEN.lock() {
        place(config, name, socket);
    }
}

fn socket(handed: &mut ListenFd, number: usize) -> io::Result<Socket> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    match handed.take_tcp_listener(number) {
        Ok(tcp) => {
            let tcp = tcp.ok_or_else(gone)?;
            let address = tcp.local_addr()?;
            tcp.set_nonblocking(true)?;
            Ok(Socket::Tcp(tcp, address))
        }
        Err(_) => {
            let unix = handed.take_unix_listener(number)?.ok_or_else(gone)?;
            let path = unix.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default();
            unix.set_nonblocking(true)?;
            Ok(Socket::Unix(unix, path))
        }
    }
}

/// Writes into the settings what a descriptor is for.
fn place(config: &mut Config, name: &str, socket: &Socket) {
    match socket {
        // There is nothing else that a Unix socket could be for.
        Socket::Unix(_, path) => config.admin.socket = AdminSocket::Path(path.clone()),
        Socket::Tcp(_, address) => {
            let is_admin = config.admin.listen.0.is_some_and(|admin| is_same(admin, *address));
            if name == ADMIN || (is_admin && name != WS && name != WSS) {
                config.admin.listen.0 = Some(*address);
            } else {
                let tls = match name {
                    WS => Some(false),
                    WSS => Some(true),
                    _ => None,
                };
                for_clients(&mut config.net.listen, *address, tls);
            }
        }
    }
}

fn for_clients(listen: &mut ListenSettings, address: SocketAddr, tls: Option<bool>) {
    let known = listen.address.iter_mut().find(|known| is_same(known.address, address));
    if let Some(known) = known {
        known.address = address;
        known.tls = tls.or(known.tls);
        return;
    }
    if listen.address == ListenSettings::default().address {
        listen.address.clear();
    }
    listen.address.push(ListenAddress { address, tls });
}

/// Whether both cannot be bound at once: the same port, of the same address or of all.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let of_all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (of_all || one.ip().to_canonical() == other.ip().to_canonical())
}

/// The listening socket of this address, if it was handed over.
///
/// # Errors
/// There are no file descriptors left.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<Option<TcpListener>> {
    let given = GIVEN.lock();
    let found = given.iter().find_map(|(_, socket)| match socket {
        Socket::Tcp(listener, at) if *at == address => Some(listener),
        _ => None,
    });
    found.map(TcpListener::try_clone).transpose()
}

/// The Unix socket at this path, if it was handed over.
///
/// # Errors
/// There are no file descriptors left.
pub(crate) fn unix(path: &std::path::Path) -> io::Result<Option<UnixListener>> {
    let given = GIVEN.lock();
    let found = given.iter().find_map(|(_, socket)| match socket {
        Socket::Unix(listener, at) if at == path => Some(listener),
        _ => None,
    });
    found.map(UnixListener::try_clone).transpose()
}

/// No new clients are wanted: ports that nobody else holds are free from now on, and clients wait for the next
/// process where the service manager does.
pub(crate) fn let_go() {
    GIVEN.lock().retain(|(_, socket)| matches!(socket, Socket::Unix(..)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What becomes of the addresses of the settings by these descriptors.
    fn adapted(listen: &[&str], given: &[(&str, &str)]) -> (Vec<String>, Option<SocketAddr>) {
        let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
        let upstream = vec!["ws://wcs:8080".parse().unwrap()];
        // Those of wss need a certificate; nobody reads it here.
        let (tls_cert, tls_key) = (Some("cert.pem".into()), Some("key.pem".into()));
        let flags = Overrides { listen, upstream, tls_cert, tls_key, ..Overrides::default() };
        let mut config = Config::load(None, &flags).unwrap();
        for (name, address) in given {
            // The place of a socket is decided by what is known of it alone.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            place(&mut config, name, &Socket::Tcp(listener, at(address)));
        }
        (config.net.listen.address.iter().map(ToString::to_string).collect(), config.admin.listen.0)
    }

    #[test]
    fn descriptors_stand_in_place_of_the_addresses_with_their_port() {
        let (listen, admin) = adapted(&["0.0.0.0:80", "wss://0.0.0.0:443"], &[("", "[::]:443")]);
        assert_eq!(listen, ["0.0.0.0:80", "wss://[::]:443"]);
        assert_eq!(admin, Some(at("127.0.0.1:8089")));
        let (listen, _) = adapted(&[], &[("holdfast.socket", "127.0.0.1:7000")]);
        assert_eq!(listen, ["127.0.0.1:7000"], "nobody asked for the default");
        let (listen, _) = adapted(&["127.0.0.1:1"], &[("ws", "127.0.0.1:2"), ("wss", "127.0.0.1:3")]);
        assert_eq!(listen, ["127.0.0.1:1", "ws://127.0.0.1:2", "wss://127.0.0.1:3"]);
    }

    #[test]
    fn the_admin_port_is_told_by_name_or_address() {
        let (listen, admin) = adapted(&[":1"], &[("admin", "127.0.0.1:99")]);
        assert_eq!((listen.len(), admin), (1, Some(at("127.0.0.1:99"))));
        let (listen, admin) = adapted(&[":1"], &[("unknown", "127.0.0.1:8089")]);
        assert_eq!((listen.len(), admin), (1, Some(at("127.0.0.1:8089"))));
    }
}
