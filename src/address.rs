//! The addresses of clients as they are counted: how many of something each of them has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// What an address counts by: whoever has an IPv6 address has a /64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// How many of something each address has. Holds no more entries than there are of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Counts,
    network: IpAddr,
}

impl Counts {
    /// None: the address has as many as it may; 0 is no bound.
    pub(crate) fn take(&self, address: IpAddr, max: usize) -> Option<Counted> {
        let network = network(address);
        let mut counts = self.0.lock();
        let count = counts.entry(network).or_default();
        if max > 0 && *count >= max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Counted { counts: self.clone(), network })
    }

    /// How many addresses have any.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.0.lock().len()
    }
}

impl Counted {
    /// What its address counts by.
    pub(crate) const fn network(&self) -> IpAddr {
        self.network
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_in_all_copies_and_ipv6_by_its_network() {
        let counts = Counts::default();
        let at = |ip: &str| ip.parse::<IpAddr>().unwrap();
        let held: Vec<_> =
            (0..3).map(|n| counts.clone().take(at(&format!("2001:db8:1:2::{n}")), 3).unwrap()).collect();
        assert!(counts.take(at("2001:db8:1:2:ffff::1"), 3).is_none(), "the same /64");
        assert!(counts.take(at("2001:db8:1:3::1"), 3).is_some() && counts.take(at("192.0.2.1"), 3).is_some());
        let mapped = counts.take(at("::ffff:192.0.2.1"), 1);
        assert!(counts.take(at("192.0.2.1"), 1).is_none(), "one address, however it is written");
        assert!(counts.take(at("192.0.2.1"), 0).is_some(), "no bound");
        drop((held, mapped));
        assert_eq!(counts.addresses(), 0);
    }
}
