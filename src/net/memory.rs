//! The memory budget of the process, and what is shed where it runs short, as in Envoy's overload
//! manager: first new sessions are refused, then the sessions with the largest unfinished message
//! are closed. Those that stay are not touched.
//!
//! What is taken is the resident set of the process, looked at every so often, corrected by what
//! sessions have in buffers since: these are counted to the byte, because a flood fills the memory
//! faster than anybody can look. What nobody counts (sessions, TLS, media) the next look finds.
//! Kernel buffers of sockets are in neither; that is what the rest of the machine is left for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::{config::LimitSettings, memory, wire::side::LARGE_BYTES_MIN};

use super::shared::Shared;

/// Time between two looks at the resident set.
const LOOK: Duration = Duration::from_millis(100);
/// The same while memory is short and buffers are a good part of it: very many small ones fill it too.
const MANY_BYTES_MIN: usize = 8 * 1024;
/// Buffers are a good part of the budget from one part in so many.
const MANY_PART: usize = 8;

/// How short memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Enough,
    /// No new sessions.
    Short,
    /// Sessions with large unfinished messages are closed.
    Full,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Short => "short: new sessions are refused",
            Self::Full => "full: sessions with large unfinished messages are closed",
        }
    }
}

/// What a session has to do about memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing.
    Nothing,
    /// End, with close code 1009.
    Close,
}

/// A session with much in its buffers.
#[derive(Debug)]
struct Large {
    bytes: AtomicUsize,
    told_to_close: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Large {
    fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

/// The budget. One for the process; asked by handshakes, told by whoever has buffers.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    short_bytes: usize,
    full_bytes: usize,
    /// In buffers of sessions now.
    buffered: AtomicUsize,
    /// What the process took besides, at the last look.
    rest: AtomicUsize,
    /// The same, as that look alone would have it.
    last_rest: AtomicUsize,
    large: Mutex<Vec<Arc<Large>>>,
    /// Large ones wait, to be woken when memory is not full any more.
    paused: AtomicBool,
    /// The level that the log has heard of.
    logged: AtomicU8,
}

impl Memory {
    /// The budget of the settings, or 75 % of what the system gives.
    pub(crate) fn new(limits: &LimitSettings) -> Arc<Self> {
        let system = || memory::limit_bytes().map(|bytes| bytes / 4 * 3);
        let bytes_max = limits.memory_bytes_max.or_else(system).unwrap_or(u64::MAX);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Arc::new(Self {
            bytes_max,
            short_bytes: percent(bytes_max, limits.memory_short_percent),
            full_bytes: percent(bytes_max, limits.memory_full_percent),
            buffered: AtomicUsize::new(0),
            rest: AtomicUsize::new(memory::resident_bytes().map_or(0, to_usize)),
            last_rest: AtomicUsize::new(0),
            large: Mutex::new(Vec::new()),
            paused: AtomicBool::new(false),
            logged: AtomicU8::new(0),
        })
    }

    /// The budget, in bytes.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// A share of it, for what sessions keep to restore their clients.
    pub(crate) fn bytes_to_keep(&self, share_percent: u8) -> usize {
        percent(self.bytes_max, share_percent)
    }

    /// What is taken of it, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rest.load(Ordering::Relaxed).saturating_add(self.buffered.load(Ordering::Relaxed))
    }

    /// What sessions have in buffers now, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Whether there is too little for new sessions.
    pub(crate) fn is_short(&self) -> bool {
        self.level() >= Level::Short
    }

    /// Whether there is too little for what there is: then nobody reads on in a large message.
    pub(crate) fn is_full(&self) -> bool {
        self.level() == Level::Full
    }

    /// More bytes than this in its buffers and a session may have to close for others.
    fn large_from(&self) -> usize {
        let many = self.buffered_bytes() >= self.bytes_max / MANY_PART && self.is_short();
        if many { MANY_BYTES_MIN } else { LARGE_BYTES_MIN }
    }

    fn level(&self) -> Level {
        match self.bytes() {
            bytes if bytes >= self.full_bytes => Level::Full,
            bytes if bytes >= self.short_bytes => Level::Short,
            _ => Level::Enough,
        }
    }

    fn look(&self, resident_bytes: impl FnOnce() -> Option<usize>) {
        // What comes or goes while we look is rather counted twice than not at all.
        let before = self.buffered_bytes();
        let Some(resident_bytes) = resident_bytes() else { return };
        let buffered = self.buffered_bytes().min(before);
        let rest = resident_bytes.saturating_sub(buffered);
        // A buffer may just be gone and still be counted: less is believed at the second look.
        let last = self.last_rest.swap(rest, Ordering::Relaxed);
        self.rest.store(rest.max(last), Ordering::Relaxed);
        if self.level() == Level::Full {
            self.close_largest();
        } else {
            self.go_on();
        }
        self.log();
    }

    fn log(&self) {
        let level = self.level();
        if self.logged.swap(level as u8, Ordering::Relaxed) == level as u8 {
            return;
        }
        let (bytes, bytes_max) = (self.bytes(), self.bytes_max);
        if level == Level::Enough {
            tracing::info!(event = "memory", bytes, bytes_max, "memory is enough again");
        } else {
            tracing::warn!(event = "memory", bytes, bytes_max, "memory is {}", level.word());
        }
    }

    fn go_on(&self) {
        if !self.paused.swap(false, Ordering::AcqRel) {
            return;
        }
        for large in &*self.large.lock() {
            large.wake();
        }
    }

    /// Tells the sessions with most in their buffers to close, until what they leave is enough.
    fn close_largest(&self) {
        let large = self.large.lock();
        let bytes_of = |large: &Arc<Large>| large.bytes.load(Ordering::Relaxed);
        let on_the_way = large.iter().filter(|large| large.told_to_close.load(Ordering::Relaxed));
        let mut bytes = self.bytes().saturating_sub(on_the_way.map(bytes_of).sum());
        while bytes >= self.full_bytes {
            let stays = large.iter().filter(|large| !large.told_to_close.load(Ordering::Relaxed));
            let Some(largest) = stays.max_by_key(|large| bytes_of(large)) else { return };
            largest.told_to_close.store(true, Ordering::Release);
            bytes = bytes.saturating_sub(bytes_of(largest));
            largest.wake();
        }
    }
}

fn percent(bytes: usize, percent: u8) -> usize {
    bytes / 100 * usize::from(percent)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Looks at the resident set until the proxy shuts down.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = shared.stopping.cancelled() => return,
        }
        shared.memory.look(|| memory::resident_bytes().map(to_usize));
    }
}

/// What one session has in its buffers; given back when dropped.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Memory>,
    bytes: usize,
    large: Option<Arc<Large>>,
}

impl Account {
    /// Of a session with nothing in them.
    pub(crate) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory, bytes: 0, large: None }
    }

    /// Gives back all of it, before it is freed.
    pub(crate) fn give_back(&mut self) {
        self.state(0, Waker::noop());
    }

    /// The budget it belongs to.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// States how many bytes there are now; `waker` is woken if the session has to close for
    /// others. Costs a comparison while nothing changes.
    pub(crate) fn state(&mut self, bytes: usize, waker: &Waker) -> Demand {
        if bytes == self.bytes && self.large.is_none() {
            return Demand::Nothing;
        }
        self.change(bytes, waker)
    }

    fn change(&mut self, bytes: usize, waker: &Waker) -> Demand {
        let grows = bytes > self.bytes;
        if grows {
            self.memory.buffered.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.memory.buffered.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        self.enter_or_leave(waker);
        let full = self.memory.is_full();
        if full && grows {
            self.memory.close_largest();
        }
        let Some(large) = &self.large else {
            if !full {
                self.memory.go_on();
            }
            return Demand::Nothing;
        };
        if large.told_to_close.load(Ordering::Acquire) {
            return Demand::Close;
        }
        if full {
            self.memory.paused.store(true, Ordering::Release);
        }
        Demand::Nothing
    }

    /// Keeps the list of those with much.
    fn enter_or_leave(&mut self, waker: &Waker) {
        if self.bytes <= self.memory.large_from() {
            if let Some(large) = self.large.take() {
                self.memory.large.lock().retain(|other| !Arc::ptr_eq(other, &large));
            }
            return;
        }
        let large = self.large.get_or_insert_with(|| {
            let large = Arc::new(Large {
                bytes: AtomicUsize::new(0),
                told_to_close: AtomicBool::new(false),
                waker: Mutex::new(None),
            });
            self.memory.large.lock().push(Arc::clone(&large));
            large
        });
        large.bytes.store(self.bytes, Ordering::Relaxed);
        let mut known = large.waker.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn look(memory: &Memory, mib: usize) {
        for _ in 0..2 {
            memory.look(|| Some(mib * MIB));
        }
    }

    /// A budget of 100 MiB, of which the process takes 20 without any buffers.
    fn budget() -> Arc<Memory> {
        let memory = Memory::new(&LimitSettings {
            memory_bytes_max: Some(100 * MIB as u64),
            ..LimitSettings::default()
        });
        look(&memory, 20);
        memory
    }

    fn state(account: &mut Account, mib: usize) -> Demand {
        account.state(mib * MIB, Waker::noop())
    }

    #[test]
    fn what_is_buffered_counts_at_once_and_is_given_back() {
        let memory = budget();
        let mut one = Account::new(Arc::clone(&memory));
        let mut two = Account::new(Arc::clone(&memory));
        assert_eq!(state(&mut one, 30), Demand::Nothing);
        assert_eq!(state(&mut two, 10), Demand::Nothing);
        assert_eq!(memory.bytes(), 60 * MIB);
        // A look finds them in the resident set, and counts nothing twice.
        look(&memory, 61);
        assert_eq!(memory.bytes(), 61 * MIB);
        assert_eq!(state(&mut one, 0), Demand::Nothing);
        drop(two);
        assert_eq!(memory.bytes(), 21 * MIB);
        assert!(memory.large.lock().is_empty());
    }

    #[test]
    fn from_85_percent_there_are_no_new_sessions() {
        let memory = budget();
        let mut one = Account::new(Arc::clone(&memory));
        let _ = state(&mut one, 64);
        assert!(!memory.is_short());
        assert_eq!(state(&mut one, 65), Demand::Nothing);
        assert!(memory.is_short());
        let _ = state(&mut one, 0);
        assert!(!memory.is_short());
        look(&memory, 90);
        assert!(memory.is_short(), "whatever takes it");
    }

    #[test]
    fn from_95_percent_the_largest_close_and_the_others_stay() {
        let memory = budget();
        let mut accounts: Vec<_> = (0..3).map(|_| Account::new(Arc::clone(&memory))).collect();
        assert_eq!(state(&mut accounts[0], 30), Demand::Nothing);
        assert_eq!(state(&mut accounts[1], 40), Demand::Nothing);
        assert_eq!(state(&mut accounts[2], 5), Demand::Nothing, "the one that asks is not the largest");
        assert!(memory.is_full());
        assert_eq!(state(&mut accounts[0], 30), Demand::Nothing);
        assert_eq!(state(&mut accounts[1], 40), Demand::Close);
        // Nobody else has to close while that one is on its way.
        assert_eq!(state(&mut accounts[2], 6), Demand::Nothing);
        assert_eq!(state(&mut accounts[0], 30), Demand::Nothing);
        drop(accounts.remove(1));
        assert_eq!(memory.bytes(), 56 * MIB);
        assert!(!memory.paused.load(Ordering::Relaxed), "those that were not read from are again");
        assert_eq!(state(&mut accounts[1], 7), Demand::Nothing);
    }

    #[test]
    fn a_buffer_that_is_gone_and_still_counted_hides_nothing() {
        let memory = budget();
        let mut one = Account::new(Arc::clone(&memory));
        let _ = state(&mut one, 50);
        look(&memory, 70);
        memory.look(|| Some(20 * MIB));
        let _ = state(&mut one, 0);
        assert_eq!(memory.bytes(), 20 * MIB);
        look(&memory, 20);
        assert_eq!(memory.bytes(), 20 * MIB);
    }

    #[test]
    fn a_full_memory_without_large_messages_closes_nobody() {
        let memory = budget();
        let mut one = Account::new(Arc::clone(&memory));
        assert_eq!(one.state(LARGE_BYTES_MIN, Waker::noop()), Demand::Nothing);
        look(&memory, 99);
        assert_eq!(one.state(LARGE_BYTES_MIN, Waker::noop()), Demand::Nothing);
        assert!(memory.large.lock().is_empty());
    }

    #[test]
    fn very_many_small_unfinished_messages_stay_under_it_too() {
        let memory = budget();
        let mut accounts: Vec<_> = (0..2_000).map(|_| Some(Account::new(Arc::clone(&memory)))).collect();
        for kib in (10..=60).step_by(10) {
            for index in 0..accounts.len() {
                if let Some(account) = &mut accounts[index] {
                    let _ = account.state(kib * 1024, Waker::noop());
                }
                if memory.is_full() {
                    let has_to_close = |account: &Account| {
                        account
                            .large
                            .as_ref()
                            .is_some_and(|large| large.told_to_close.load(Ordering::Relaxed))
                    };
                    accounts
                        .iter_mut()
                        .for_each(|account| *account = account.take().filter(|a| !has_to_close(a)));
                }
                assert!(memory.bytes() <= memory.bytes_max());
            }
        }
        let left = accounts.iter().flatten().count();
        assert!((1_000..2_000).contains(&left), "{left} stay");
    }
}
