//! Deterministic randomness from a seed: jitter and fresh ids.
//!
//! Not for secrets. The seed is an input of the session, so that a simulation replays exactly.

use std::fmt::Write as _;

/// SplitMix64: small state, good enough for jitter and ids.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..=max`.
    pub(super) const fn up_to(&mut self, max: u64) -> u64 {
        if max == u64::MAX { self.next() } else { self.next() % (max + 1) }
    }

    /// A fresh id in the form of a version 4 UUID, as the SDK's own ids look.
    pub(super) fn uuid(&mut self) -> Box<str> {
        let high = (self.next() & !0xF000) | 0x4000;
        let low = (self.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000;
        let mut text = String::with_capacity(36);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF
        );
        text.into_boxed_str()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_uuids_and_differ() {
        let mut random = Random::new(7);
        let (first, second) = (random.uuid(), random.uuid());
        assert_ne!(first, second);
        let parsed = uuid::Uuid::parse_str(&first).unwrap();
        assert_eq!(parsed.get_version_num(), 4);
        assert_eq!(parsed.to_string(), &*first);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut two) = (Random::new(3), Random::new(3));
        assert_eq!((one.next(), one.next()), (two.next(), two.next()));
    }

    #[test]
    fn a_bounded_number_stays_in_its_bound() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.up_to(9) <= 9));
        assert_eq!(random.up_to(0), 0);
    }
}
