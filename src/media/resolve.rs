//! Names that stand where a candidate's address should: who waits for which, what is remembered
//! and how many are looked up at once. Looks up nothing itself (that is `lookups`).

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::output::Output;

/// Most lookups at once per worker. One that hangs costs the others a share of the pace, no more.
pub(crate) const LOOKUPS_MAX: usize = 4;

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

/// The names that one worker has looked up, and who waits for them.
#[derive(Debug)]
pub(crate) struct Names<A> {
    /// By name, running or queued.
    waiting: HashMap<Arc<str>, Vec<A>>,
    waiting_count: usize,
    queue: VecDeque<Arc<str>>,
    running: usize,
    known: HashMap<Arc<str>, (Instant, Vec<IpAddr>)>,
}

impl<A> Default for Names<A> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            waiting_count: 0,
            queue: VecDeque::new(),
            running: 0,
            known: HashMap::new(),
        }
    }
}

impl<A> Names<A> {
    /// The addresses of a name that was looked up lately; none if it has none.
    pub(crate) fn known(&self, name: &str, now: Instant) -> Option<&[IpAddr]> {
        let (at, addresses) = self.known.get(name)?;
        is_fresh(*at, addresses, now).then_some(addresses)
    }

    /// Has a name looked up. The answer comes by [`Self::looked_up`]. False: too many wait.
    pub(crate) fn ask(&mut self, name: &str, asker: A, outputs: &mut Vec<Output>) -> bool {
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
        self.start(outputs);
        true
    }

    /// A lookup has ended: who waited for it, and for which addresses.
    pub(crate) fn looked_up(
        &mut self,
        name: Arc<str>,
        mut addresses: Vec<IpAddr>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> (Vec<A>, Vec<IpAddr>) {
        addresses.truncate(ADDRESSES_MAX);
        self.running = self.running.saturating_sub(1);
        let askers = self.waiting.remove(&name).unwrap_or_default();
        self.waiting_count = self.waiting_count.saturating_sub(askers.len());
        self.remember(name, addresses.clone(), now);
        self.start(outputs);
        (askers, addresses)
    }

    fn remember(&mut self, name: Arc<str>, addresses: Vec<IpAddr>, now: Instant) {
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, (at, addresses)| is_fresh(*at, addresses, now));
        }
        if self.known.len() < NAMES_MAX {
            self.known.insert(name, (now, addresses));
        }
    }

    fn start(&mut self, outputs: &mut Vec<Output>) {
        while self.running < LOOKUPS_MAX {
            let Some(name) = self.queue.pop_front() else { return };
            self.running += 1;
            outputs.push(Output::LookUp(name));
        }
    }
}

fn is_fresh(at: Instant, addresses: &[IpAddr], now: Instant) -> bool {
    let fresh = if addresses.is_empty() { FRESH_FAILURE } else { FRESH };
    now.saturating_duration_since(at) < fresh
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn started(outputs: &mut Vec<Output>) -> Vec<Arc<str>> {
        let name = |o| if let Output::LookUp(name) = o { Some(name) } else { None };
        std::mem::take(outputs).into_iter().filter_map(name).collect()
    }

    #[test]
    fn a_name_is_looked_up_once_for_all_who_ask_and_remembered_for_a_while() {
        let (mut names, mut outputs, now) = (Names::default(), Vec::new(), Instant::now());
        assert!(names.known("a", now).is_none());
        assert!((0..3).all(|asker| names.ask("a", asker, &mut outputs)));
        assert_eq!(started(&mut outputs), ["a".into()]);
        let found = vec![Ipv4Addr::LOCALHOST.into(); ADDRESSES_MAX + 1];
        let (askers, addresses) = names.looked_up("a".into(), found, now, &mut outputs);
        assert_eq!((askers, addresses.len()), (vec![0, 1, 2], ADDRESSES_MAX));
        assert!(names.known("a", now).is_some() && names.known("a", now + FRESH).is_none());
    }

    #[test]
    fn that_a_name_has_no_address_is_soon_forgotten() {
        let (mut names, mut outputs, now) = (Names::default(), Vec::new(), Instant::now());
        names.ask("a", (), &mut outputs);
        assert!(names.looked_up("a".into(), Vec::new(), now, &mut outputs).1.is_empty());
        assert_eq!(names.known("a", now), Some(&[][..]));
        assert!(names.known("a", now + FRESH_FAILURE).is_none());
    }

    #[test]
    fn lookups_that_hang_delay_others_within_bounds() {
        let (mut names, mut outputs, now) = (Names::default(), Vec::new(), Instant::now());
        for number in 0..LOOKUPS_MAX - 1 {
            names.ask(&format!("hangs{number}"), 0, &mut outputs);
        }
        for number in 1..=20 {
            names.ask(&format!("quick{number}"), number, &mut outputs);
        }
        let mut answered = Vec::new();
        let (mut running, mut hang) = (0, Vec::new());
        loop {
            let new = started(&mut outputs);
            running += new.len();
            assert!(running <= LOOKUPS_MAX, "as many as allowed");
            let (slow, quick): (Vec<_>, Vec<_>) = new.into_iter().partition(|n| n.starts_with("hangs"));
            hang.extend(slow);
            if quick.is_empty() {
                break;
            }
            for name in quick {
                running -= 1;
                answered.extend(names.looked_up(name, Vec::new(), now, &mut outputs).0);
            }
        }
        assert_eq!(answered, (1..=20).collect::<Vec<_>>());
        for name in hang {
            names.looked_up(name, Vec::new(), now, &mut outputs);
        }
        assert_eq!((names.running, names.waiting_count), (0, 0));
    }

    #[test]
    fn who_waits_and_what_is_remembered_is_bounded() {
        let (mut names, mut outputs, now) = (Names::default(), Vec::new(), Instant::now());
        let ask = |names: &mut Names<()>, n: usize, outputs: &mut Vec<Output>| {
            names.ask(&format!("n{}", n % 1000), (), outputs)
        };
        let asked = (0..WAITING_MAX + 10).filter(|n| ask(&mut names, *n, &mut outputs)).count();
        assert_eq!(asked, WAITING_MAX);
        while !outputs.is_empty() {
            for name in started(&mut outputs) {
                names.looked_up(name, Vec::new(), now, &mut outputs);
            }
        }
        assert!(names.known.len() <= NAMES_MAX && names.waiting_count == 0);
        assert!(names.ask("next", (), &mut outputs));
    }
}
