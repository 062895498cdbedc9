//! What a bad network does to packets: loss, jitter, silence. Tests ask for it; the default does
//! nothing. The random numbers come from a seed, so a run can be repeated.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The most packets held back at once; what comes on top is lost, as in a router.
const DELAYED_MAX: usize = 8192;

/// Impairment of every packet, each way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkConditions {
    /// Packets lost, in percent (0 to 100).
    pub loss_percent: f64,
    /// Each packet is held back by a random time of at most this many milliseconds.
    pub jitter_ms: u64,
    /// Nothing passes in either direction, as behind a cut cable.
    pub silent: bool,
}

impl Default for NetworkConditions {
    fn default() -> Self {
        Self { loss_percent: 0.0, jitter_ms: 0, silent: false }
    }
}

/// Direction of a packet seen from this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) transport: usize,
    pub(crate) direction: Direction,
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a packet.
pub(crate) enum Fate {
    Pass,
    Lost,
    Delayed(Duration),
}

struct Held {
    due: Instant,
    order: u64,
    packet: Packet,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    // Reversed: the heap yields the packet that is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

/// Decides the fate of packets and keeps the delayed ones.
pub(crate) struct Network {
    conditions: NetworkConditions,
    random: SmallRng,
    held: BinaryHeap<Held>,
    order: u64,
}

impl Network {
    pub(crate) fn new(conditions: NetworkConditions, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { conditions, random, held: BinaryHeap::new(), order: 0 }
    }

    pub(crate) fn set(&mut self, conditions: NetworkConditions) {
        self.conditions = conditions;
    }

    pub(crate) fn fate(&mut self) -> Fate {
        let conditions = self.conditions;
        if conditions.silent {
            return Fate::Lost;
        }
        if conditions.loss_percent > 0.0 && self.random.random_range(0.0..100.0) < conditions.loss_percent {
            return Fate::Lost;
        }
        match conditions.jitter_ms {
            0 => Fate::Pass,
            limit => {
                Fate::Delayed(Duration::from_micros(self.random.random_range(0..=limit.saturating_mul(1000))))
            }
        }
    }

    /// Holds a packet back; false when it had to be dropped because too many wait.
    pub(crate) fn hold(&mut self, due: Instant, packet: Packet) -> bool {
        if self.held.len() >= DELAYED_MAX {
            return false;
        }
        self.order += 1;
        self.held.push(Held { due, order: self.order, packet });
        true
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.held.peek().map(|held| held.due)
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Packet> {
        if self.next_due()? > now {
            return None;
        }
        self.held.pop().map(|held| held.packet)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn packet(byte: u8) -> Packet {
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        Packet { transport: 0, direction: Direction::In, peer, bytes: vec![byte] }
    }

    #[test]
    fn loses_about_the_share_asked_for_and_repeats_with_the_seed() {
        let conditions = NetworkConditions { loss_percent: 10.0, ..Default::default() };
        let lost = |seed| {
            let mut network = Network::new(conditions, seed);
            (0..10_000).filter(|_| matches!(network.fate(), Fate::Lost)).count()
        };
        assert!((800..1200).contains(&lost(1)), "{}", lost(1));
        assert_eq!(lost(7), lost(7));
    }

    #[test]
    fn held_packets_come_out_in_time_order() {
        let mut network = Network::new(NetworkConditions::default(), 1);
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        assert!(network.hold(later, packet(2)));
        assert!(network.hold(now, packet(1)));
        assert_eq!(network.take_due(now).unwrap().bytes, [1]);
        assert!(network.take_due(now).is_none());
        assert_eq!(network.take_due(later).unwrap().bytes, [2]);
    }

    #[test]
    fn the_number_of_held_packets_is_bounded() {
        let mut network = Network::new(NetworkConditions::default(), 1);
        let now = Instant::now();
        for _ in 0..DELAYED_MAX {
            assert!(network.hold(now, packet(0)));
        }
        assert!(!network.hold(now, packet(0)));
    }
}
