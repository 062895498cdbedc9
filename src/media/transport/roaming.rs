//! The addresses of a client: which of them passed a check, and which one is sent to.
//!
//! We are ICE-lite, so the client selects; this follows it. `str0m` knows a client under one
//! address only ([`PEER`]): its lists of candidates grow with each address and never shrink.
//!
//! A check proves the password, not the address: whoever saw one can send it again from
//! elsewhere. So an address that is in use is left for another only if the client is heard there
//! with a packet that is authentic and new, or if it is silent.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::media::{bucket::Bucket, routes::Origin};

/// The address under which `str0m` knows any client (RFC 5737, RFC 3849).
const PEER: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// Silence after which an address is not in use any more. Browsers check the one they use every
/// 2.5 to 6 s, and report on media every second.
const QUIET: Duration = Duration::from_secs(8);

/// An address that passed a check.
#[derive(Clone, Copy, Debug)]
struct Address {
    origin: Origin,
    /// The address of ours that was hit.
    local: Option<IpAddr>,
    /// Of the last check or authentic packet.
    heard: Instant,
    /// Of the last check that selects it.
    nominated: Option<Instant>,
    /// Of the last such check or authentic packet.
    used: Instant,
    checks: Bucket,
}

/// All that is kept of the addresses of a client's transport.
#[derive(Debug)]
pub(super) struct Roaming {
    addresses: Vec<Address>,
    addresses_max: usize,
    checks_per_second: u32,
    selected: Option<Origin>,
    /// The selected address is not left because of a check alone.
    holds: bool,
    /// Checks from addresses that passed none so far.
    unknown: Bucket,
}

/// The address to give to `str0m` in place of the client's.
pub(super) const fn peer(local: SocketAddr) -> SocketAddr {
    let [v4, v6] = PEER;
    if local.is_ipv4() { v4 } else { v6 }
}

impl Roaming {
    pub(super) fn new(addresses_max: usize, checks_per_second: u32, now: Instant) -> Self {
        Self {
            addresses: Vec::new(),
            addresses_max: addresses_max.max(2),
            checks_per_second,
            selected: None,
            holds: false,
            unknown: Bucket::new(checks_per_second, now),
        }
    }

    /// May a check from here be looked at? Known addresses have an allowance of their own, so that
    /// no stranger uses up theirs.
    pub(super) fn admits(&mut self, from: Origin, now: Instant) -> bool {
        match self.find(from) {
            Some(address) => address.checks.take(now),
            None => self.unknown.take(now),
        }
    }

    /// The client gets new credentials, because it is silent: its next choice is followed.
    pub(super) const fn let_go(&mut self) {
        self.holds = false;
    }

    /// A check passed; `nominates`: the client selects this address. Returns the one that gives way.
    pub(super) fn passed(
        &mut self,
        from: Origin,
        local: Option<IpAddr>,
        nominates: bool,
        now: Instant,
    ) -> Option<Origin> {
        let is_new = self.find(from).is_none();
        let gone = if is_new { self.make_room() } else { None };
        if is_new {
            let checks = Bucket::new(self.checks_per_second, now);
            self.addresses.push(Address {
                origin: from,
                local,
                heard: now,
                nominated: None,
                used: now,
                checks,
            });
        }
        if let Some(address) = self.find(from) {
            address.local = local;
            address.heard = now;
            if nominates {
                address.nominated = Some(now);
                address.used = now;
            }
        }
        if nominates && !self.in_use(now) {
            self.selected = Some(from);
        }
        gone
    }

    /// An authentic packet came from here.
    pub(super) fn authentic(&mut self, from: Origin, now: Instant) {
        let selected_at = self.selected.and_then(|s| self.find(s)).and_then(|a| a.nominated);
        let Some(address) = self.find(from) else { return };
        address.heard = now;
        address.used = now;
        // Not an older choice: a packet of before may be late.
        if address.nominated > selected_at {
            self.selected = Some(from);
        }
        self.holds = true;
    }

    /// Where to send, and from which address of ours.
    pub(super) fn destination(&self) -> Option<(Origin, Option<IpAddr>)> {
        let selected = self.selected?;
        self.addresses.iter().find(|a| a.origin == selected).map(|a| (a.origin, a.local))
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        self.addresses.iter().map(|a| a.origin)
    }

    /// Is the selected address one where the client was heard of late?
    fn in_use(&self, now: Instant) -> bool {
        if !self.holds {
            return false;
        }
        let selected = self.addresses.iter().find(|a| Some(a.origin) == self.selected);
        selected.is_some_and(|a| now.saturating_duration_since(a.used) < QUIET)
    }

    /// The least recently heard address gives way, never the selected one.
    fn make_room(&mut self) -> Option<Origin> {
        if self.addresses.len() < self.addresses_max {
            return None;
        }
        let (others, selected) = (self.addresses.iter().enumerate(), self.selected);
        let (oldest, _) = others.filter(|(_, a)| Some(a.origin) != selected).min_by_key(|(_, a)| a.heard)?;
        Some(self.addresses.remove(oldest).origin)
    }

    fn find(&mut self, origin: Origin) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|a| a.origin == origin)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn origin(port: u16) -> Origin {
        Origin::udp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn sent_to(roaming: &Roaming) -> u16 {
        roaming.destination().unwrap().0.address.port()
    }

    #[test]
    fn the_ninth_address_takes_the_place_of_the_least_used_and_never_of_the_selected() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut roaming = Roaming::new(8, 100, start);
        assert_eq!(roaming.passed(origin(1), None, true, start), None);
        roaming.authentic(origin(1), start);
        for port in 2..=8 {
            assert_eq!(roaming.passed(origin(port), None, false, at(u64::from(port))), None);
        }
        roaming.passed(origin(2), None, false, at(20));
        assert_eq!(roaming.passed(origin(9), None, false, at(21)), Some(origin(3)));
        for port in 10..60_000 {
            let gone = roaming.passed(origin(port), None, true, at(22 + u64::from(port) / 20));
            assert_ne!(gone, Some(origin(1)));
            assert!(roaming.addresses.len() == 8 && roaming.origins().any(|o| o == origin(1)));
        }
        assert_eq!(sent_to(&roaming), 1);
    }

    #[test]
    fn a_client_that_moves_is_followed_at_its_first_authentic_packet() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut roaming = Roaming::new(8, 100, start);
        roaming.passed(origin(1), None, true, start);
        roaming.authentic(origin(1), at(10));
        roaming.passed(origin(2), None, true, at(20));
        assert_eq!(sent_to(&roaming), 1, "a check alone may come from anybody who saw it");
        roaming.authentic(origin(2), at(30));
        assert_eq!(sent_to(&roaming), 2);
        roaming.authentic(origin(1), at(31));
        assert_eq!(sent_to(&roaming), 2, "a late packet is no way back");
        roaming.authentic(origin(3), at(32));
        assert_eq!(sent_to(&roaming), 2, "an address without a check is none");
        roaming.passed(origin(4), None, false, at(33));
        roaming.authentic(origin(4), at(34));
        assert_eq!(sent_to(&roaming), 2, "nor one that the client did not select");
    }

    #[test]
    fn a_client_that_fell_silent_is_followed_at_its_first_check() {
        let start = Instant::now();
        let mut roaming = Roaming::new(8, 100, start);
        assert!(roaming.destination().is_none());
        roaming.passed(origin(1), None, false, start);
        assert!(roaming.destination().is_none(), "nothing is selected yet");
        roaming.passed(origin(1), None, true, start);
        roaming.passed(origin(2), None, true, start);
        assert_eq!(sent_to(&roaming), 2, "nothing tells who is who yet");
        roaming.authentic(origin(2), start);
        roaming.passed(origin(3), None, true, start + QUIET / 2);
        assert_eq!(sent_to(&roaming), 2);
        roaming.passed(origin(3), None, true, start + QUIET);
        assert_eq!(sent_to(&roaming), 3);
        roaming.authentic(origin(3), start + QUIET);
        roaming.let_go();
        roaming.passed(origin(4), None, true, start + QUIET);
        assert_eq!(sent_to(&roaming), 4, "it has new credentials");
    }

    #[test]
    fn strangers_do_not_use_up_the_checks_of_known_addresses() {
        let start = Instant::now();
        let mut roaming = Roaming::new(8, 100, start);
        assert!(roaming.admits(origin(1), start));
        roaming.passed(origin(1), None, true, start);
        let admitted = (2..60_000).filter(|port| roaming.admits(origin(*port), start)).count();
        assert_eq!(admitted, 99, "one second's worth, less the first");
        let own = (0..1_000).filter(|_| roaming.admits(origin(1), start)).count();
        assert_eq!(own, 100);
    }
}
