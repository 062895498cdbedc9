//! Whether the ports of a configuration can be had: they are bound for a moment and given back.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, UdpSocket},
};

use tokio::net::TcpSocket;

use crate::{
    config::{Config, MediaMode},
    http,
};

/// A port that cannot be had, or not here.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) text: String,
    /// The proxy would not start.
    pub(super) is_fatal: bool,
}

/// Tries every port. Those that the proxy holds which runs now are no finding, but for addresses that it can only have
/// once that one has ended.
pub(super) fn look_at(config: &Config) -> Vec<Finding> {
    let own = running(config.admin.listen.0);
    let is_own = |address: &SocketAddr| own.iter().any(|held| held == address);
    let mut findings = Vec::new();
    let mut look = |what: &str, address: SocketAddr, tried: io::Result<()>| match tried {
        Err(error) if error.kind() == ErrorKind::AddrInUse && !is_own(&address) => {
            let as_part = own.iter().find(|held| overlap(**held, address));
            findings.push(as_part.map_or_else(|| taken(what, address), |held| restart(what, address, *held)));
        }
        Err(error) if !is_own(&address) => findings.extend(finding(what, address, &error)),
        _ => {}
    };
    let is_shared = config.net.listen.reuse_port;
    for (address, _) in config.net.listen.listeners() {
        let tried = if is_shared { bind_shared(address) } else { TcpListener::bind(address).map(drop) };
        look("listen", address, tried);
    }
    // An answer on the admin port is that of the proxy that runs.
    if let Some(address) = config.admin.listen.0.filter(|_| own.is_empty()) {
        look("admin", address, TcpListener::bind(address).map(drop));
    }
    if config.media.mode == MediaMode::Anchor && own.is_empty() && config.media.listen.port() != 0 {
        for number in 0..media_workers(config) {
            let Some(port) = config.media.listen.port().checked_add(number) else { break };
            let address = SocketAddr::new(config.media.listen.ip(), port);
            look("media (UDP)", address, UdpSocket::bind(address).map(drop));
            if config.media.tcp {
                look("media (TCP)", address, TcpListener::bind(address).map(drop));
            }
        }
    }
    findings
}

/// A port that other processes of this setting may have as well. It is not listened on: clients would be sent here.
fn bind_shared(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseport(true)?;
    socket.bind(address)
}

fn media_workers(config: &Config) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(config.media.workers.min(cores)).unwrap_or(u16::MAX)
}

/// Whether one of both is all addresses of the machine with the port of the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && (one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn taken(what: &str, address: SocketAddr) -> Finding {
    Finding { text: format!("{what}: {address} is taken by another process"), is_fatal: true }
}

/// The proxy that runs has the port at other addresses: a new process has it, a reload has not.
fn restart(what: &str, address: SocketAddr, held: SocketAddr) -> Finding {
    let text = format!(
        "{what}: {address} is free after a restart; a reload cannot have it, because {held} is in use"
    );
    Finding { text, is_fatal: false }
}

fn finding(what: &str, address: SocketAddr, error: &io::Error) -> Option<Finding> {
    let elsewhere = |text: String| Some(Finding { text, is_fatal: false });
    match error.kind() {
        ErrorKind::PermissionDenied => elsewhere(format!(
            "{what}: {address} takes a privilege that this process does not have (CAP_NET_BIND_SERVICE)"
        )),
        ErrorKind::AddrNotAvailable => elsewhere(format!("{what}: {address} is no address of this machine")),
        // Such as a machine without IPv6, which media does without.
        _ => None,
    }
}

/// Where the proxy listens that answers on the admin port, if one does.
fn running(admin: Option<SocketAddr>) -> Vec<SocketAddr> {
    let Some(admin) = admin else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let asked = runtime.block_on(async {
        tokio::time::timeout(super::ADMIN_TIME_MAX, http::get(&admin.to_string(), "/status")).await
    });
    let Ok(Ok(status)) = asked else { return Vec::new() };
    let listening =
        status.get("listening").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    listening.iter().filter_map(|address| address.as_str()?.parse().ok()).collect()
}
