//! Names that stand where a candidate's address should, looked up on threads of their own: a
//! worker never waits for a name server.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, ToSocketAddrs as _},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

/// Most lookups at once per worker, each on its thread. One that hangs costs the others a share of
/// the pace, no more.
const LOOKUPS_MAX: usize = 4;

/// Most that wait for an address per worker.
const WAITING_MAX: usize = 4_096;

/// Most names whose addresses are remembered.
const NAMES_MAX: usize = 256;

/// How long an address is remembered: the system tells no lifetimes.
const FRESH: Duration = Duration::from_secs(10);

/// How long it is remembered that a name has no address.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

/// Most addresses of a name that are used, in the order of the system's preference (RFC 6724).
const ADDRESSES_MAX: usize = 4;

type Lookup = fn(&str) -> Vec<IpAddr>;

/// The lookups of one worker, and who waits for them.
pub(crate) struct Resolver<A> {
    lookup: Lookup,
    /// By name, running or queued.
    waiting: HashMap<Arc<str>, Vec<A>>,
    waiting_count: usize,
    queue: VecDeque<Arc<str>>,
    running: usize,
    known: HashMap<Arc<str>, (Instant, Vec<IpAddr>)>,
    sender: SyncSender<(Arc<str>, Vec<IpAddr>)>,
    answers: Receiver<(Arc<str>, Vec<IpAddr>)>,
}

impl<A> std::fmt::Debug for Resolver<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("running", &self.running).finish_non_exhaustive()
    }
}

impl<A> Default for Resolver<A> {
    fn default() -> Self {
        Self::with(ask_system)
    }
}

impl<A> Resolver<A> {
    fn with(lookup: Lookup) -> Self {
        // Each lookup sends once, and counts as running until that is read: nobody ever waits here.
        let (sender, answers) = sync_channel(LOOKUPS_MAX);
        Self {
            lookup,
            waiting: HashMap::new(),
            waiting_count: 0,
            queue: VecDeque::new(),
            running: 0,
            known: HashMap::new(),
            sender,
            answers,
        }
    }

    /// The addresses of a name that was looked up lately; none if it has none.
    pub(crate) fn known(&self, name: &str, now: Instant) -> Option<&[IpAddr]> {
        let (at, addresses) = self.known.get(name)?;
        is_fresh(*at, addresses, now).then_some(addresses)
    }

    /// Has a name looked up. The answer comes by [`Self::poll`]. False: too many wait.
    pub(crate) fn ask(&mut self, name: &str, asker: A) -> bool {
        if self.waiting_count >= WAITING_MAX {
            return false;
        }
        self.waiting_count += 1;
        if let Some(askers) = self.waiting.get_mut(name) {
            askers.push(asker);
            return true;
        }
        let name: Arc<str> = name.into();
        self.waiting.insert(name.clone(), vec![asker]);
        self.queue.push_back(name);
        self.start();
        true
    }

    /// Who has an answer now, and which. Never waits.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(A, Vec<IpAddr>)> {
        let mut answered = Vec::new();
        while let Ok((name, addresses)) = self.answers.try_recv() {
            self.running = self.running.saturating_sub(1);
            let askers = self.waiting.remove(&name).unwrap_or_default();
            self.waiting_count = self.waiting_count.saturating_sub(askers.len());
            answered.extend(askers.into_iter().map(|asker| (asker, addresses.clone())));
            self.remember(name, addresses, now);
            self.start();
        }
        answered
    }

    fn remember(&mut self, name: Arc<str>, addresses: Vec<IpAddr>, now: Instant) {
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, (at, addresses)| is_fresh(*at, addresses, now));
        }
        if self.known.len() < NAMES_MAX {
            self.known.insert(name, (now, addresses));
        }
    }

    fn start(&mut self) {
        while self.running < LOOKUPS_MAX {
            let Some(name) = self.queue.pop_front() else { return };
            let (lookup, sender, told) = (self.lookup, self.sender.clone(), name.clone());
            self.running += 1;
            let work = move || {
                let mut addresses = lookup(&told);
                addresses.truncate(ADDRESSES_MAX);
                // A worker that has ended waits for nothing.
                let _ = sender.send((told, addresses));
            };
            if std::thread::Builder::new().name("media-names".to_owned()).spawn(work).is_err() {
                let _ = self.sender.send((name, Vec::new()));
            }
        }
    }
}

fn is_fresh(at: Instant, addresses: &[IpAddr], now: Instant) -> bool {
    let fresh = if addresses.is_empty() { FRESH_FAILURE } else { FRESH };
    now.saturating_duration_since(at) < fresh
}

fn ask_system(name: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for found in (name, 0).to_socket_addrs().into_iter().flatten() {
        let ip = found.ip().to_canonical();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use super::*;

    fn until_answered<A>(resolver: &mut Resolver<A>, count: usize) -> Vec<(A, Vec<IpAddr>)> {
        let (mut answered, started) = (Vec::new(), Instant::now());
        while answered.len() < count {
            assert!(started.elapsed() < Duration::from_secs(30), "no answer came");
            answered.extend(resolver.poll(Instant::now()));
            std::thread::yield_now();
        }
        answered
    }

    #[test]
    fn a_name_is_looked_up_once_for_all_who_ask_and_remembered_for_a_while() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        let mut resolver = Resolver::with(|_| {
            LOOKUPS.fetch_add(1, Ordering::Relaxed);
            vec![Ipv4Addr::LOCALHOST.into(); ADDRESSES_MAX + 1]
        });
        assert!(resolver.known("a", Instant::now()).is_none());
        assert!((0..3).all(|asker| resolver.ask("a", asker)));
        let answered = until_answered(&mut resolver, 3);
        assert_eq!(answered.iter().map(|(asker, _)| *asker).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(answered.iter().all(|(_, addresses)| addresses.len() == ADDRESSES_MAX));
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
        assert!(resolver.known("a", Instant::now()).is_some());
        assert!(resolver.known("a", Instant::now() + FRESH).is_none());
    }

    #[test]
    fn that_a_name_has_no_address_is_soon_forgotten() {
        let mut resolver = Resolver::with(|_| Vec::new());
        resolver.ask("a", ());
        assert!(until_answered(&mut resolver, 1)[0].1.is_empty());
        assert_eq!(resolver.known("a", Instant::now()), Some(&[][..]));
        assert!(resolver.known("a", Instant::now() + FRESH_FAILURE).is_none());
    }

    #[test]
    fn lookups_that_hang_delay_others_within_bounds() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static HANG: AtomicBool = AtomicBool::new(true);
        let mut resolver = Resolver::with(|name| {
            assert!(RUNNING.fetch_add(1, Ordering::SeqCst) < LOOKUPS_MAX, "as many as allowed");
            while name.starts_with("hangs") && HANG.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            Vec::new()
        });
        for number in 0..LOOKUPS_MAX - 1 {
            resolver.ask(&format!("hangs{number}"), 0);
        }
        for number in 1..=20 {
            resolver.ask(&format!("quick{number}"), number);
        }
        let first: Vec<i32> = until_answered(&mut resolver, 20).into_iter().map(|(asker, _)| asker).collect();
        assert_eq!(first, (1..=20).collect::<Vec<_>>());
        HANG.store(false, Ordering::SeqCst);
        until_answered(&mut resolver, LOOKUPS_MAX - 1);
        assert_eq!((resolver.running, resolver.waiting_count), (0, 0));
    }

    #[test]
    fn who_waits_and_what_is_remembered_is_bounded() {
        let mut resolver = Resolver::with(|_| Vec::new());
        // Nobody polls, so nobody is answered.
        let asked = (0..WAITING_MAX + 10).filter(|n| resolver.ask(&format!("n{}", n % 1000), ())).count();
        assert_eq!(asked, WAITING_MAX);
        until_answered(&mut resolver, WAITING_MAX);
        assert!(resolver.known.len() <= NAMES_MAX);
        assert!(resolver.ask("next", ()));
    }

    #[test]
    fn the_system_is_asked() {
        let mut resolver = Resolver::default();
        resolver.ask("localhost", ());
        let answered = until_answered(&mut resolver, 1);
        assert!(answered[0].1.iter().all(IpAddr::is_loopback) && !answered[0].1.is_empty());
    }
}
