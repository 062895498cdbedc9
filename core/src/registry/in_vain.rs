//! Publishers that were answered H264 and never sent video, remembered for a moment beyond their
//! session.

use dashmap::DashMap;

use crate::session::{Identity, Timestamp};

use super::RegistryLimits;

/// By client and stream name, until when. Bounded by [`RegistryLimits`].
#[derive(Debug, Default)]
pub struct InVain {
    entries: DashMap<Identity, Timestamp>,
    limits: RegistryLimits,
}

impl InVain {
    pub(super) fn new(limits: RegistryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Remembers a publisher until a moment. Past the bound it is not remembered.
    pub fn note(&self, publisher: Identity, until: Timestamp, now: Timestamp) {
        if self.entries.len() >= self.limits.in_vain_max {
            self.entries.retain(|_, until| *until > now);
        }
        if until > now && self.entries.len() < self.limits.in_vain_max {
            self.entries.insert(publisher, until);
        }
    }

    /// Whether this publisher is remembered.
    #[must_use]
    pub fn knows(&self, publisher: Identity, now: Timestamp) -> bool {
        self.entries.remove_if(&publisher, |_, until| *until <= now);
        self.entries.contains_key(&publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_publisher_is_known_for_its_time() {
        let known = InVain::new(RegistryLimits::default());
        let (one, other) = (Identity::default().and(b"1"), Identity::default().and(b"2"));
        assert!(known.entries.is_empty());
        known.note(one, at(100), at(0));
        assert!(known.knows(one, at(99)) && !known.knows(other, at(99)));
        assert!(!known.knows(one, at(100)));
        assert!(known.entries.is_empty(), "forgotten when asked after its time");
    }

    #[test]
    fn the_number_is_bounded_and_what_is_over_makes_room() {
        let known = InVain::new(RegistryLimits { in_vain_max: 2, ..RegistryLimits::default() });
        let ids: Vec<Identity> = (0..4_u8).map(|n| Identity::default().and(&[n])).collect();
        for id in &ids {
            known.note(*id, at(100), at(0));
        }
        assert_eq!(ids.iter().filter(|id| known.knows(**id, at(1))).count(), 2);
        known.note(Identity::default(), at(200), at(100));
        assert!(known.knows(Identity::default(), at(101)));
    }
}
