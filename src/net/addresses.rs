//! What one client address may take: sessions, connections that are no session yet, handshakes and
//! first messages per second. IPv6 addresses count by their /64: that is what one customer has.
//!
//! What is counted lives as long as what it counts. The rates are leaky buckets (GCRA) with one number
//! per address; their number is bounded by eviction of those that have least to be remembered for.
//! (`governor` keeps its states in a map that only grows, and its store could not be replaced without
//! a second hash table in the build.) Nothing here is logged or answered.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    address::{Counted, Counts, network},
    config::{HttpSettings, LimitSettings},
};

/// So many seconds' worth of a rate may come at once.
const BURST_SECONDS: u64 = 10;

/// What an address has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TooMany {
    Sessions,
    Connections,
    Handshakes,
    FirstMessages,
    /// Requests that are no handshake, at the same time.
    Requests,
    /// The same, per second.
    RequestRate,
}

/// All addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    sessions: Counts,
    sessions_max: AtomicUsize,
    connections: Counts,
    connections_max: AtomicUsize,
    handshakes: ArcSwapOption<Rate>,
    first_messages: ArcSwapOption<Rate>,
    requests: ArcSwapOption<Rate>,
    /// Of all of them together.
    all: ArcSwapOption<Rate>,
}

/// Most connections of an address that are no session yet.
fn connections_max(limits: &LimitSettings, of_all: usize) -> usize {
    let of_all = of_all.max(1);
    match limits.address_unauthenticated_max {
        0 => of_all,
        max => max.min(of_all),
    }
}

impl Addresses {
    /// The limits of these settings. No address may have more connections that are no session than
    /// `connections_max`, whatever they say.
    pub(crate) fn new(limits: &LimitSettings, http: &HttpSettings, connections_max: usize) -> Self {
        let addresses = Self {
            sessions: Counts::default(),
            sessions_max: AtomicUsize::default(),
            connections: Counts::default(),
            connections_max: AtomicUsize::default(),
            handshakes: ArcSwapOption::empty(),
            first_messages: ArcSwapOption::empty(),
            requests: ArcSwapOption::empty(),
            all: ArcSwapOption::empty(),
        };
        addresses.change(None, (limits, http), connections_max);
        addresses
    }

    /// Goes by other limits from now on. Whoever is there stays, and what a rate remembers is forgotten only where
    /// the rate is another.
    pub(crate) fn change(
        &self,
        before: Option<(&LimitSettings, &HttpSettings)>,
        (limits, http): (&LimitSettings, &HttpSettings),
        connections_max: usize,
    ) {
        self.sessions_max.store(limits.address_sessions_max, Ordering::Relaxed);
        self.connections_max.store(self::connections_max(limits, connections_max), Ordering::Relaxed);
        let rates = |(limits, http): (&LimitSettings, &HttpSettings)| {
            let max = limits.addresses_max;
            [
                (limits.address_handshakes_per_second, max),
                (limits.address_first_messages_per_second, max),
                (http.address_requests_per_second, max),
                (limits.handshakes_per_second, 1),
            ]
        };
        let before = before.map(rates);
        let kept = [&self.handshakes, &self.first_messages, &self.requests, &self.all];
        for (nth, (kept, rate)) in kept.into_iter().zip(rates((limits, http))).enumerate() {
            if before.and_then(|before| before.get(nth).copied()) != Some(rate) {
                kept.store(Rate::new(rate.0, rate.1).map(Arc::new));
            }
        }
    }

    /// One more session of this address, until the result is dropped.
    pub(crate) fn session(&self, ip: IpAddr) -> Result<Counted, TooMany> {
        self.sessions.take(ip, self.sessions_max.load(Ordering::Relaxed)).ok_or(TooMany::Sessions)
    }

    /// One more connection that is no session yet.
    pub(crate) fn connection(&self, ip: IpAddr) -> Result<Counted, TooMany> {
        self.connections.take(ip, self.connections_max.load(Ordering::Relaxed)).ok_or(TooMany::Connections)
    }

    /// One more handshake.
    pub(crate) fn handshake(&self, ip: IpAddr) -> Result<(), TooMany> {
        allow(&self.handshakes, ip).then_some(()).ok_or(TooMany::Handshakes)
    }

    /// One more handshake of anybody.
    pub(crate) fn handshake_of_any(&self) -> bool {
        allow(&self.all, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// One more request that is no handshake.
    pub(crate) fn request(&self, ip: IpAddr) -> Result<(), TooMany> {
        allow(&self.requests, ip).then_some(()).ok_or(TooMany::RequestRate)
    }

    /// One more first message: it makes work for the server behind.
    pub(crate) fn first_message(&self, ip: IpAddr) -> Result<(), TooMany> {
        allow(&self.first_messages, ip).then_some(()).ok_or(TooMany::FirstMessages)
    }
}

fn allow(rate: &ArcSwapOption<Rate>, ip: IpAddr) -> bool {
    rate.load().as_ref().is_none_or(|rate| rate.allow(network(ip)))
}

/// A rate per address.
#[derive(Debug)]
struct Rate {
    /// Nanoseconds that one costs, and how far an address may be ahead of its rate.
    cost: u64,
    ahead_max: u64,
    addresses_max: usize,
    begin: Instant,
    /// By address: when it will have paid for all it had.
    paid_at: Mutex<HashMap<IpAddr, u64>>,
}

impl Rate {
    /// `None` without a limit.
    fn new(per_second: u32, addresses_max: usize) -> Option<Self> {
        const SECOND: u64 = 1_000_000_000;
        let cost = SECOND.checked_div(u64::from(per_second))?;
        Some(Self {
            cost,
            ahead_max: BURST_SECONDS.saturating_mul(SECOND).saturating_sub(cost),
            addresses_max: addresses_max.max(1),
            begin: Instant::now(),
            paid_at: Mutex::default(),
        })
    }

    fn allow(&self, network: IpAddr) -> bool {
        let now = u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut paid_at = self.paid_at.lock();
        let known = paid_at.get(&network).copied();
        let at = known.unwrap_or(now).max(now);
        if at.saturating_sub(now) > self.ahead_max {
            return false;
        }
        if known.is_none() && paid_at.len() >= self.addresses_max {
            make_room(&mut paid_at, now);
        }
        paid_at.insert(network, at.saturating_add(self.cost));
        true
    }
}

/// Forgets whoever has paid, or else the half that owes least.
fn make_room(paid_at: &mut HashMap<IpAddr, u64>, now: u64) {
    let before = paid_at.len();
    paid_at.retain(|_, at| *at > now);
    if paid_at.len() <= before / 2 {
        return;
    }
    let mut debts: Vec<u64> = paid_at.values().copied().collect();
    let middle = debts.len() / 2;
    let (_, median, _) = debts.select_nth_unstable(middle);
    let median = *median;
    paid_at.retain(|_, at| *at > median);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn with(change: impl FnOnce(&mut LimitSettings)) -> Addresses {
        let mut limits = LimitSettings::default();
        change(&mut limits);
        Addresses::new(&limits, &HttpSettings::default(), usize::MAX)
    }

    #[test]
    fn all_together_have_a_rate_as_well() {
        let addresses = with(|limits| limits.handshakes_per_second = 2);
        let taken = (0..100).filter(|_| addresses.handshake_of_any()).count();
        assert_eq!(taken, 20, "ten seconds' worth");
        assert!((0..100).all(|_| with(|_| {}).handshake_of_any()), "no limit");
    }

    #[test]
    fn what_is_counted_is_given_back() {
        let addresses = with(|limits| limits.address_sessions_max = 2);
        let one = addresses.session(ip("192.0.2.1")).unwrap();
        let _two = addresses.session(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(addresses.session(ip("192.0.2.1")).unwrap_err(), TooMany::Sessions);
        let _other = addresses.session(ip("192.0.2.2")).unwrap();
        let _connection = addresses.connection(ip("192.0.2.1")).unwrap();
        drop(one);
        drop(addresses.session(ip("192.0.2.1")).unwrap());
        assert_eq!((addresses.sessions.addresses(), addresses.connections.addresses()), (2, 1));
    }

    #[test]
    fn nothing_is_left_of_an_address_without_connections() {
        let addresses = with(|_| {});
        for index in 0..1_000_u32 {
            drop(addresses.connection(IpAddr::from(index.to_be_bytes())).unwrap());
        }
        assert_eq!(addresses.connections.addresses(), 0);
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        let addresses = with(|limits| limits.address_unauthenticated_max = 1);
        let _one = addresses.connection(ip("2001:db8:1:2::1")).unwrap();
        assert!(addresses.connection(ip("2001:db8:1:2:ffff::9")).is_err());
        assert!(addresses.connection(ip("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn one_address_never_has_all() {
        let addresses = Addresses::new(&LimitSettings::default(), &HttpSettings::default(), 3);
        let held: Vec<_> = (0..3).map(|_| addresses.connection(ip("192.0.2.1")).unwrap()).collect();
        assert!(addresses.connection(ip("192.0.2.1")).is_err());
        assert_eq!(held.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_through_its_burst_and_then_its_pace() {
        let addresses = with(|limits| limits.address_handshakes_per_second = 5);
        let count = |ip: IpAddr| (0..1_000).filter(|_| addresses.handshake(ip).is_ok()).count();
        assert_eq!(count(ip("192.0.2.1")), 50);
        assert_eq!(count(ip("192.0.2.2")), 50, "each address has its own");
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(count(ip("192.0.2.1")), 5);
        }
        assert!(addresses.first_message(ip("192.0.2.1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_states_of_a_rate_are_bounded_and_who_owes_most_stays() {
        let addresses = with(|limits| {
            limits.address_handshakes_per_second = 1;
            limits.addresses_max = 100;
        });
        let greedy = ip("203.0.113.1");
        while addresses.handshake(greedy).is_ok() {}
        for index in 0..10_000_u32 {
            assert!(addresses.handshake(IpAddr::from(index.to_be_bytes())).is_ok());
            assert!(addresses.handshakes.load().as_ref().unwrap().paid_at.lock().len() <= 100);
        }
        assert!(addresses.handshake(greedy).is_err(), "it was not forgotten for the others");
    }

    #[test]
    fn other_limits_let_whoever_is_there_stay_and_a_rate_that_is_the_same_is_remembered() {
        let before = LimitSettings {
            address_sessions_max: 3,
            address_handshakes_per_second: 1,
            ..LimitSettings::default()
        };
        let addresses = Addresses::new(&before, &HttpSettings::default(), usize::MAX);
        let http = HttpSettings::default();
        let mut held: Vec<_> = (0..3).map(|_| addresses.session(ip("192.0.2.1")).unwrap()).collect();
        while addresses.handshake(ip("192.0.2.1")).is_ok() {}
        let fewer = LimitSettings { address_sessions_max: 2, ..before };
        addresses.change(Some((&before, &http)), (&fewer, &http), usize::MAX);
        held.pop();
        assert!(addresses.session(ip("192.0.2.1")).is_err(), "there are as many as there may be");
        assert!(addresses.handshake(ip("192.0.2.1")).is_err(), "it still owes");
        let more = LimitSettings { address_sessions_max: 9, address_handshakes_per_second: 50, ..before };
        addresses.change(Some((&fewer, &http)), (&more, &http), usize::MAX);
        assert!(addresses.session(ip("192.0.2.1")).is_ok() && addresses.handshake(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let addresses = with(|limits| limits.address_handshakes_per_second = 0);
        assert!((0..100_000).all(|_| addresses.handshake(ip("192.0.2.1")).is_ok()));
    }
}
