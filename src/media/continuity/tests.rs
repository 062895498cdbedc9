#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CLOCK: u32 = 90_000;

fn numbers(picture_id: u16, tl0: u8) -> Vp8Numbers {
    Vp8Numbers { picture_id: Some(picture_id), picture_id_is_long: true, tl0: Some(tl0) }
}

#[test]
fn first_sequence_stays_below_the_rollover_guess() {
    let mut continuity = Continuity::new(u16::MAX);
    let first = continuity.map(70_000, 5, CLOCK, Instant::now()).unwrap();
    assert!(first.sequence <= u64::from(FIRST_SEQUENCE_MAX));
    assert_eq!(first.timestamp, 5);
}

#[test]
fn a_new_source_follows_directly_and_time_goes_on() {
    let start = Instant::now();
    let mut continuity = Continuity::new(100);
    assert_eq!(continuity.map(9, 1000, CLOCK, start), Some(Numbers { sequence: 100, timestamp: 1000 }));
    continuity.rebase();
    let later = start + Duration::from_secs(2);
    let next = continuity.map(60_000, 4_000_000_000, CLOCK, later).unwrap();
    assert_eq!(next, Numbers { sequence: 101, timestamp: 1000 + 2 * CLOCK });
    // Older than the first packet of this source: there is no room for it.
    assert_eq!(continuity.map(59_999, 3_999_997_000, CLOCK, later), None);
}

#[test]
fn vp8_numbers_go_on_across_sources() {
    let mut continuity = Continuity::new(0);
    assert_eq!(continuity.map_vp8(numbers(0x7ffe, 254)), numbers(0x7ffe, 254));
    continuity.rebase();
    assert_eq!(continuity.map_vp8(numbers(17, 3)), numbers(0x7fff, 255));
    assert_eq!(continuity.map_vp8(numbers(18, 4)), numbers(0, 0));
    // A late packet of the frame before keeps its number.
    assert_eq!(continuity.map_vp8(numbers(17, 3)), numbers(0x7fff, 255));
    assert_eq!(continuity.map_vp8(numbers(19, 4)), numbers(1, 0));
}

/// One source: where its numbers start, and the order its packets arrive in.
#[derive(Clone, Debug)]
struct Epoch {
    first: u64,
    timestamp: u32,
    picture: u16,
    arrivals: Vec<u64>,
    pause_ms: u64,
}

fn epoch() -> impl Strategy<Value = Epoch> {
    let arrivals = prop::collection::vec(0_u64..400, 1..200);
    (0_u64..200_000, any::<u32>(), 0_u16..0x8000, arrivals, 0_u64..60_000).prop_map(
        |(first, timestamp, picture, arrivals, pause_ms)| Epoch {
            first,
            timestamp,
            picture,
            arrivals,
            pause_ms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any input order, loss, duplicates, wrap-around and any number of epochs.
    #[test]
    fn receivers_see_one_continuous_stream(start in any::<u16>(), epochs in prop::collection::vec(epoch(), 1..12)) {
        let mut continuity = Continuity::new(start);
        let mut now = Instant::now();
        let mut highest: Option<u64> = None;
        let mut newest: Option<u32> = None;
        for epoch in epochs {
            continuity.rebase();
            now += Duration::from_millis(epoch.pause_ms);
            let before = highest;
            let mut given: BTreeMap<u64, Numbers> = BTreeMap::new();
            for (index, arrival) in epoch.arrivals.iter().enumerate() {
                now += Duration::from_millis(10);
                // A frame is three packets of one timestamp.
                let frame = arrival / 3;
                let timestamp = epoch.timestamp.wrapping_add((frame * 3000) as u32);
                let mapped = continuity.map(epoch.first + arrival, timestamp, CLOCK, now);
                let first = epoch.arrivals[0];
                prop_assert_eq!(mapped.is_some(), *arrival >= first, "packets from before the base are refused, others pass");
                let Some(mapped) = mapped else { continue };
                if index == 0 {
                    let expected = before.map_or(u64::from(start & FIRST_SEQUENCE_MAX), |h| h + 1);
                    prop_assert_eq!(mapped.sequence, expected, "no hole and no overlap at the seam");
                    if let Some(newest) = newest {
                        prop_assert!(is_newer(mapped.timestamp, newest), "time goes on at the seam");
                    }
                }
                if let Some(before) = before {
                    prop_assert!(mapped.sequence > before, "never into the numbers of an earlier source");
                }
                // Distances within a source are kept: order, loss and duplicates show as they were.
                if let Some((other, numbers)) = given.iter().next() {
                    prop_assert_eq!(mapped.sequence.wrapping_sub(numbers.sequence), arrival.wrapping_sub(*other));
                    let frames = (arrival / 3).wrapping_sub(other / 3);
                    prop_assert_eq!(mapped.timestamp.wrapping_sub(numbers.timestamp), (frames.wrapping_mul(3000)) as u32);
                }
                let again = given.insert(*arrival, mapped);
                prop_assert!(again.is_none_or(|again| again == mapped));
                highest = highest.max(Some(mapped.sequence));
                if newest.is_none_or(|newest| is_newer(mapped.timestamp, newest)) {
                    newest = Some(mapped.timestamp);
                }
            }
        }
    }

    /// The seam is as long as the time that passed, within what the clock can count.
    #[test]
    fn a_seam_is_as_long_as_the_pause(
        first in any::<u32>(), second in any::<u32>(), pause_us in 0_u64..3_600_000_000, rate in prop::sample::select(vec![8_000_u32, 48_000, 90_000]),
    ) {
        let start = Instant::now();
        let mut continuity = Continuity::new(0);
        let before = continuity.map(7, first, rate, start).unwrap();
        continuity.rebase();
        let after = continuity.map(0, second, rate, start + Duration::from_micros(pause_us)).unwrap();
        let expected = u128::from(pause_us) * u128::from(rate) / 1_000_000;
        prop_assert_eq!(u128::from(after.timestamp.wrapping_sub(before.timestamp)), expected.max(1));
    }

    /// In any order: equal numbers stay equal, distances within a source are kept, and no picture
    /// of a new source takes the number of one of the last source's newest pictures.
    #[test]
    fn vp8_pictures_keep_their_distances_in_any_order(epochs in prop::collection::vec(epoch(), 1..12)) {
        let mut continuity = Continuity::new(0);
        let mut newest: Option<u16> = None;
        for epoch in epochs {
            continuity.rebase();
            let mut given: BTreeMap<u64, Vp8Numbers> = BTreeMap::new();
            for picture in &epoch.arrivals {
                let id = (u64::from(epoch.picture) + picture) as u16 & PICTURE_BITS;
                let mapped = continuity.map_vp8(numbers(id, (u64::from(epoch.picture) + picture) as u8));
                let (mapped_id, tl0) = (mapped.picture_id.unwrap(), mapped.tl0.unwrap());
                if let (true, Some(newest)) = (given.is_empty(), newest) {
                    prop_assert_eq!(mapped_id, (newest + 1) & PICTURE_BITS);
                }
                if let Some((other, known)) = given.iter().next() {
                    let distance = picture.wrapping_sub(*other);
                    prop_assert_eq!(mapped_id.wrapping_sub(known.picture_id.unwrap()) & PICTURE_BITS, distance as u16 & PICTURE_BITS);
                    prop_assert_eq!(tl0.wrapping_sub(known.tl0.unwrap()), distance as u8);
                }
                let again = given.insert(*picture, mapped);
                prop_assert!(again.is_none_or(|again| again == mapped));
                let is_ahead = |n: u16| (mapped_id.wrapping_sub(n) & PICTURE_BITS) <= PICTURE_BITS / 2;
                if newest.is_none_or(is_ahead) {
                    newest = Some(mapped_id);
                }
            }
        }
    }

    /// At a seam the picture number goes on by one, inside a source distances are kept.
    #[test]
    fn vp8_pictures_are_continuous(epochs in prop::collection::vec(epoch(), 1..12)) {
        let mut continuity = Continuity::new(0);
        let mut last: Option<u16> = None;
        for epoch in epochs {
            continuity.rebase();
            let mut pictures = epoch.arrivals.clone();
            pictures.sort_unstable();
            let mut previous: Option<(u64, u16)> = None;
            for picture in pictures {
                let id = (u64::from(epoch.picture) + picture) as u16 & PICTURE_BITS;
                let mapped = continuity.map_vp8(numbers(id, 0)).picture_id.unwrap();
                match previous {
                    None => if let Some(last) = last {
                        prop_assert_eq!(mapped, (last + 1) & PICTURE_BITS);
                    },
                    Some((other, value)) => {
                        prop_assert_eq!(mapped.wrapping_sub(value) & PICTURE_BITS, (picture - other) as u16 & PICTURE_BITS);
                    }
                }
                previous = Some((picture, mapped));
                last = Some(mapped);
            }
        }
    }
}
