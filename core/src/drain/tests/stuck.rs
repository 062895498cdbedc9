//! Who cannot follow the rest of its web: it is named, and loses nothing until it is forced.

use super::*;

/// A publisher, its two players, and one who plays with nobody; the named ones never move.
fn family(wish: Wish, stubborn: &[u64]) -> Farm {
    let mut farm = Farm::new(1, wish);
    farm.is_calm = true;
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<Box<str>>>();
    let one = |n: u64, publishes: &[&str], plays: &[&str]| {
        let session = SessionId(n);
        let (publishes, plays, rooms) = (names(publishes), names(plays), Vec::new());
        (session, Belongings { session, node: OLD, publishes, plays, rooms, bound_by: None })
    };
    farm.belongings = BTreeMap::from([
        one(1, &["cam"], &[]),
        one(2, &[], &["cam"]),
        one(3, &[], &["cam"]),
        one(4, &[], &["elsewhere"]),
    ]);
    farm.place = farm.belongings.keys().map(|session| (*session, Where::Old)).collect();
    farm.stubborn = stubborn.iter().map(|n| SessionId(*n)).collect();
    farm
}

#[test]
fn a_player_that_never_moves_is_named_and_keeps_its_publisher() {
    let mut farm = family(wish(1_000), &[3]);
    farm.run(200);
    let progress = farm.plan.progress(farm.now);
    assert_eq!((progress.stage, progress.moved, progress.forced), (Stage::Waiting, 3, 0), "{progress:?}");
    assert_eq!(progress.left.len(), 1, "{progress:?}");
    assert!(progress.left[0].sessions == 1 && !progress.left[0].reason.is_empty(), "{progress:?}");
    assert_eq!(
        (progress.remaining, farm.place[&SessionId(1)]),
        (1, Where::Both),
        "it is held for the player"
    );
    // Tried again, ever more slowly.
    let (before, tried) = (farm.now, progress.failed);
    farm.run(2_000);
    let minutes = farm.now.since(before).as_secs().div_ceil(60);
    let again = u64::try_from(farm.plan.progress(farm.now).failed - tried).unwrap();
    assert!(minutes > 2 && (minutes / 2..=minutes + 1).contains(&again), "{again} in {minutes} min");
    // One who comes meanwhile is not overlooked.
    let newcomer = Belongings { session: SessionId(9), ..farm.belongings[&SessionId(4)].clone() };
    farm.belongings.insert(SessionId(9), newcomer);
    farm.place.insert(SessionId(9), Where::Old);
    farm.run(100);
    assert_ne!(farm.place[&SessionId(9)], Where::Old);
    farm.stubborn.clear();
    farm.run(200);
    let progress = farm.plan.progress(farm.now);
    assert_eq!((progress.stage, progress.moved, progress.forced), (Stage::Done, 5, 0), "{progress:?}");
    assert_eq!(farm.place[&SessionId(1)], Where::New);
}

#[test]
fn who_is_stuck_is_restored_beside_its_publisher_when_the_time_for_that_comes() {
    let force_after = Some(Duration::from_secs(30));
    let mut farm = family(Wish { force_after, ..wish(1_000) }, &[3]);
    farm.run(500);
    let progress = farm.plan.progress(farm.now);
    assert_eq!((progress.stage, progress.moved, progress.forced), (Stage::Done, 3, 1), "{progress:?}");
}

#[test]
fn who_is_stuck_is_given_the_time_that_an_operator_says_later() {
    let mut farm = family(wish(1_000), &[3]);
    farm.run(200);
    assert_eq!(farm.plan.progress(farm.now).forced, 0);
    let (amended, after) = (farm.now, Duration::from_secs(30));
    farm.may_force = Some(amended + after);
    farm.feed(Input::Amended(Wish { force_after: Some(after), ..wish(1_000) }));
    farm.run(500);
    let progress = farm.plan.progress(farm.now);
    assert_eq!((progress.stage, progress.moved, progress.forced), (Stage::Done, 3, 1), "{progress:?}");
}

#[test]
fn who_is_stuck_is_restored_beside_its_publisher_when_the_drain_is_called_off() {
    let mut farm = family(wish(1_000), &[3]);
    farm.run(200);
    farm.may_force = Some(farm.now);
    farm.feed(Input::Cancel);
    farm.run(200);
    let progress = farm.plan.progress(farm.now);
    assert_eq!(
        (progress.stage, progress.forced, progress.remaining),
        (Stage::Cancelled, 1, 0),
        "{progress:?}"
    );
    assert_eq!(farm.place[&SessionId(1)], Where::New);
}

#[test]
fn who_belongs_to_nobody_that_has_moved_stays_and_is_named() {
    // Its web is itself, or its publisher is the one that cannot.
    for (stubborn, moved) in [(4, 3), (1, 1)] {
        let mut farm = family(wish(1_000), &[stubborn]);
        farm.run(300);
        // It may be tried just now.
        while farm.plan.progress(farm.now).stage != Stage::Waiting {
            farm.step();
        }
        let progress = farm.plan.progress(farm.now);
        assert_eq!((progress.moved, progress.forced), (moved, 0), "{progress:?}");
        assert!(progress.failed < 50, "ever more slowly: {progress:?}");
        let left: usize = progress.left.iter().map(|left| left.sessions).sum();
        assert_eq!((left, progress.remaining), (4 - moved, 4 - moved), "{progress:?}");
    }
}
