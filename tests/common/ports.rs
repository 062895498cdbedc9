//! Ports for servers that come and go.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below the range from which the system takes local ports, above the ports that programs have by default.
const FIRST: u16 = 21_000;
const COUNT: u16 = 11_000;

/// A port of loopback where nobody listens. As the system gives it to nobody, it stays free while its server is
/// down, and a dial to it cannot meet itself. It is given out once in a process, and the port above it never, so
/// that tests side by side do not get in each other's way between this look and their server's start.
pub fn free_port() -> SocketAddr {
    static START: OnceLock<u16> = OnceLock::new();
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = *START.get_or_init(|| rand::random_range(0..COUNT / 2));
    for _ in 0..COUNT / 2 {
        let number = (start + GIVEN.fetch_add(1, Ordering::Relaxed)) % (COUNT / 2);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + 2 * number));
        // Not by listening there: a child that is being started holds a copy of every socket for a moment.
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
    panic!("no free port");
}
