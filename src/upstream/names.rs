//! The addresses behind a node's name: looked up by the system, kept for a while, and put into the
//! order in which they are tried (RFC 8305 section 4).
//!
//! However many dials want a name, one lookup of it is under way. A lookup that fails or takes long
//! does not take away what was known before. Knows nothing of connections.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::lookup_host,
    sync::Notify,
    time::{Instant, timeout},
};

/// How long a lookup may take while older addresses are known.
const REFRESH_PATIENCE: Duration = Duration::from_millis(500);
/// Least time between two lookups: a name that does not resolve must not keep the resolver busy.
const LOOKUP_PAUSE: Duration = Duration::from_millis(200);

/// Asks for the addresses.
pub(super) type Lookup =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// One name with a port.
pub(super) struct Name {
    lookup: Lookup,
    kept: Duration,
    addresses_max: usize,
    state: Mutex<State>,
    looked: Notify,
}

#[derive(Debug, Default)]
struct State {
    addresses: Arc<[SocketAddr]>,
    error: String,
    /// When the last lookup ended, and when it was to be repeated.
    looked_at: Option<Instant>,
    fresh_until: Option<Instant>,
    looking: bool,
    /// The address that connected last.
    worked: Option<SocketAddr>,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.lock().fmt(f)
    }
}

impl Name {
    /// A name that the system looks up, or an address that needs no lookup.
    pub(super) fn new(host: &str, port: u16, kept: Duration, addresses_max: usize) -> Arc<Self> {
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = SocketAddr::new(address, port);
            return Self::with(Arc::new(move || Box::pin(async move { Ok(vec![address]) })), kept, 1);
        }
        let host: Arc<str> = host.into();
        let lookup: Lookup = Arc::new(move || {
            let host = Arc::clone(&host);
            Box::pin(async move { Ok(lookup_host((&*host, port)).await?.collect()) })
        });
        Self::with(lookup, kept, addresses_max)
    }

    pub(super) fn with(lookup: Lookup, kept: Duration, addresses_max: usize) -> Arc<Self> {
        Arc::new(Self { lookup, kept, addresses_max, state: Mutex::default(), looked: Notify::new() })
    }

    /// Whether what is known of the other is kept as long, and as much of it.
    pub(super) fn is_kept_as(&self, other: &Self) -> bool {
        (self.kept, self.addresses_max) == (other.kept, other.addresses_max)
    }

    /// The addresses in the order in which they are to be tried; never none.
    ///
    /// # Errors
    /// The name has no address, or so the system says.
    pub(super) async fn addresses(self: &Arc<Self>) -> Result<Vec<SocketAddr>, String> {
        let looked = self.looked.notified();
        tokio::pin!(looked);
        looked.as_mut().enable();
        if self.start_lookup() {
            let known = !self.state.lock().addresses.is_empty();
            if known {
                // What is known will do if the resolver takes its time.
                let _ = timeout(REFRESH_PATIENCE, looked).await;
            } else {
                looked.await;
            }
        }
        let state = self.state.lock();
        if state.addresses.is_empty() {
            return Err(state.error.clone());
        }
        let mut addresses = state.addresses.to_vec();
        if let Some(at) = addresses.iter().position(|address| Some(*address) == state.worked) {
            addresses.get_mut(..=at).unwrap_or_default().rotate_right(1);
        }
        Ok(addresses)
    }

    /// The address that a connection was made to: it comes first from now on.
    pub(super) fn worked(&self, address: SocketAddr) {
        self.state.lock().worked = Some(address);
    }

    /// No address answers: the next dial asks again.
    pub(super) fn doubt(&self) {
        let mut state = self.state.lock();
        state.fresh_until = state.looked_at.and_then(|at| at.checked_add(LOOKUP_PAUSE));
        state.worked = None;
    }

    /// True if a lookup is under way.
    fn start_lookup(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        if !state.looking {
            if state.fresh_until.is_some_and(|until| Instant::now() < until) {
                return false;
            }
            state.looking = true;
            let this = Arc::clone(self);
            // In a task of its own: it goes on when the dial that wanted it is given up.
            tokio::spawn(async move {
                let found = (this.lookup)().await;
                this.take(found);
            });
        }
        true
    }

    fn take(&self, found: io::Result<Vec<SocketAddr>>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.looking = false;
        state.looked_at = Some(now);
        let kept = match found {
            Ok(addresses) if !addresses.is_empty() => {
                state.addresses = in_turn(addresses, self.addresses_max).into();
                self.kept
            }
            Ok(_) => {
                state.error = "the name has no address".to_owned();
                LOOKUP_PAUSE
            }
            Err(error) => {
                state.error = error.to_string();
                LOOKUP_PAUSE
            }
        };
        state.fresh_until = now.checked_add(kept.max(LOOKUP_PAUSE));
        drop(state);
        self.looked.notify_waiters();
    }
}

/// The families in turn, that of the first address first; in each the order of the system. No address
/// twice.
fn in_turn(addresses: Vec<SocketAddr>, max: usize) -> Vec<SocketAddr> {
    let mut once: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !once.contains(&address) && once.len() < max.saturating_mul(4) {
            once.push(address);
        }
    }
    let first_is_v4 = once.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        once.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            break;
        }
        mixed.extend(one.into_iter().chain(other));
    }
    mixed.truncate(max.max(1));
    mixed
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const KEPT: Duration = Duration::from_secs(30);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A name whose lookups give these answers one after the other, the last of them for ever.
    fn name(answers: Vec<io::Result<Vec<SocketAddr>>>) -> (Arc<Name>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let lookup: Lookup = Arc::new(move || {
            let at = counter.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = match &answers[at] {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            Box::pin(async move {
                tokio::task::yield_now().await;
                answer
            })
        });
        (Name::with(lookup, KEPT, 8), count)
    }

    #[test]
    fn families_take_turns_and_the_number_is_bounded() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.1:1", "127.0.0.2:1"].map(address);
        let wanted = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(in_turn(all.to_vec(), 8), wanted);
        assert_eq!(in_turn(all.to_vec(), 2), wanted[..2]);
        assert_eq!(in_turn(Vec::new(), 2), []);
    }

    #[tokio::test(start_paused = true)]
    async fn one_lookup_serves_everybody_for_a_while() {
        let (name, count) = name(vec![Ok(vec![address("127.0.0.1:1")])]);
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let name = Arc::clone(&name);
                tokio::spawn(async move { name.addresses().await })
            })
            .collect();
        for one in asking {
            assert_eq!(one.await.unwrap().unwrap(), [address("127.0.0.1:1")]);
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        tokio::time::advance(KEPT).await;
        name.addresses().await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_resolves_to_nothing_may_resolve_a_moment_later() {
        let error = Err(io::Error::other("no such name"));
        let (name, count) = name(vec![error, Ok(Vec::new()), Ok(vec![address("127.0.0.1:1")])]);
        assert_eq!(name.addresses().await.unwrap_err(), "no such name");
        assert_eq!(name.addresses().await.unwrap_err(), "no such name");
        assert_eq!(count.load(Ordering::SeqCst), 1, "not asked again at once");
        tokio::time::advance(LOOKUP_PAUSE).await;
        assert_eq!(name.addresses().await.unwrap_err(), "the name has no address");
        tokio::time::advance(LOOKUP_PAUSE).await;
        assert_eq!(name.addresses().await.unwrap(), [address("127.0.0.1:1")]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_stays_when_a_later_lookup_fails() {
        let (name, count) =
            name(vec![Ok(vec![address("127.0.0.1:1")]), Err(io::Error::other("no such name"))]);
        name.addresses().await.unwrap();
        tokio::time::advance(KEPT).await;
        assert_eq!(name.addresses().await.unwrap(), [address("127.0.0.1:1")]);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_that_worked_comes_first_until_it_is_doubted() {
        let three = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"].map(address);
        let (name, count) = name(vec![Ok(three.to_vec())]);
        name.addresses().await.unwrap();
        name.worked(three[2]);
        assert_eq!(name.addresses().await.unwrap(), [three[2], three[0], three[1]]);
        tokio::time::advance(LOOKUP_PAUSE).await;
        name.doubt();
        assert_eq!(name.addresses().await.unwrap(), three);
        assert_eq!(count.load(Ordering::SeqCst), 2, "it was looked up again");
    }
}
