//! Lines that strangers can cause at will: so many per address (IPv6: per /64) and minute, the rest is
//! counted and goes to debug.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::address::network;

/// Lines of one address, and of all together, in a window.
const LINES_OF_ONE_MAX: u32 = 20;
const LINES_OF_ALL_MAX: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);

static FLOOD: Mutex<Option<Flood>> = Mutex::new(None);

#[derive(Debug)]
struct Flood {
    since: Instant,
    /// Never more entries than [`LINES_OF_ALL_MAX`]: only who is told has one.
    told: HashMap<IpAddr, u32>,
    all: u32,
    untold: u64,
}

/// Whether a line about this address, with its port or without, is told.
pub(super) fn is_told(client: &dyn fmt::Display) -> bool {
    let text = client.to_string();
    let address = text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse());
    // What is no address shares one place.
    let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let (is_told, untold) = {
        let now = Instant::now();
        let mut flood = FLOOD.lock();
        flood.get_or_insert_with(|| Flood::new(now)).count(address, now)
    };
    if untold > 0 {
        tracing::warn!(
            event = "lines_untold",
            lines = untold,
            "more connections were refused in the minute before"
        );
    }
    is_told
}

impl Flood {
    fn new(now: Instant) -> Self {
        Self { since: now, told: HashMap::new(), all: 0, untold: 0 }
    }

    /// Whether to tell, and how many lines of a window that is over were not told.
    fn count(&mut self, address: IpAddr, now: Instant) -> (bool, u64) {
        let mut untold = 0;
        if now.saturating_duration_since(self.since) >= WINDOW {
            untold = std::mem::replace(self, Self::new(now)).untold;
        }
        let has_room = self.all < LINES_OF_ALL_MAX;
        let count = if has_room { Some(self.told.entry(network(address)).or_default()) } else { None };
        match count.filter(|count| **count < LINES_OF_ONE_MAX) {
            Some(count) => {
                *count += 1;
                self.all += 1;
                (true, untold)
            }
            None => {
                self.untold = self.untold.saturating_add(1);
                (false, untold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_and_all_together_are_bounded_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        let one = IpAddr::from([192, 0, 2, 1]);
        assert_eq!((0..1_000).filter(|_| flood.count(one, now).0).count(), 20);
        let all = (0..60_000_u32).filter(|n| flood.count(IpAddr::from(n.to_be_bytes()), now).0).count();
        assert_eq!(all, 580);
        assert!(flood.told.len() <= 600);
        assert_eq!(flood.count(one, now + WINDOW), (true, 980 + 60_000 - 580));
        assert_eq!(flood.count(one, now + WINDOW), (true, 0));
    }

    #[test]
    fn whoever_has_an_ipv6_network_is_one_stranger() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        let host = |n: u32| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)));
        assert_eq!((0..1_000).filter(|n| flood.count(host(*n), now).0).count(), 20);
    }
}
