//! The pace of a session's dials, and its patience with a silent client.

use std::time::Duration;

use super::*;

impl Bed {
    fn dial_fails_by(&mut self, error: DialError) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::DialFailed(epoch, error));
    }

    /// A session whose first dial of an outage is under way.
    fn dialling() -> Self {
        let mut bed = Self::new().established();
        bed.lose();
        assert_eq!(bed.dials.len(), 1);
        bed
    }

    /// The time until the next dial.
    fn wait_for_dial(&mut self) -> u64 {
        let (before, start) = (self.dials.len(), self.now.as_ms());
        while self.dials.len() == before && self.client_close.is_none() {
            self.pass(1);
            assert!(self.now.as_ms() < start + 600_000, "no dial");
            if self.now.as_ms().is_multiple_of(1_000) {
                self.client("pong", Value::Null);
            }
        }
        self.now.as_ms() - start
    }
}

#[test]
fn a_node_that_answers_ends_the_wait_of_those_who_could_not_reach_it() {
    let mut bed = Bed::dialling();
    bed.dial_fails();
    bed.feed(Input::NodeUp);
    assert_eq!(bed.dials.len(), 2);
}

#[test]
fn a_refused_dial_waits_for_its_backoff_whatever_probes_say() {
    for error in [
        DialError::Refused(502),
        DialError::Refused(404),
        DialError::BadHandshake("no upgrade".to_owned()),
        DialError::Local("too many open files".to_owned()),
    ] {
        let mut bed = Bed::dialling();
        bed.dial_fails_by(error.clone());
        for _ in 0..100 {
            bed.feed(Input::NodeUp);
        }
        assert_eq!(bed.dials.len(), 1, "{error:?}");
        bed.wait_for_dial();
        assert_eq!(bed.dials.len(), 2);
    }
}

#[test]
fn a_refused_path_that_opens_again_ends_the_wait_once() {
    let mut bed = Bed::dialling();
    bed.dial_fails_by(DialError::Refused(502));
    bed.feed(Input::PathUp);
    assert_eq!(bed.dials.len(), 2);
    bed.dial_fails_by(DialError::Refused(502));
    bed.feed(Input::PathUp);
    assert_eq!(bed.dials.len(), 2, "it was believed once");
}

#[test]
fn news_that_comes_to_nothing_is_not_followed_at_its_own_pace() {
    let mut bed = Bed::dialling();
    let (mut dials, start) = (0, bed.now.as_ms());
    while bed.now.as_ms() < start + 30_000 {
        if bed.dials.len() > dials {
            dials = bed.dials.len();
            bed.dial_fails();
        }
        bed.pass(100);
        bed.feed(Input::NodeUp);
        bed.client("pong", Value::Null);
    }
    // One per longest backoff by the news, as many by the backoff itself, and the first few.
    assert!((10..=50).contains(&dials), "{dials} dials in 30 s");
}

#[test]
fn a_server_that_says_when_to_come_again_is_obeyed_within_a_bound() {
    for (told_s, least_ms, most_ms) in [(2, 2_000, 2_550), (3_600, 30_000, 30_550)] {
        let mut bed = Bed::dialling();
        bed.dial_fails_by(DialError::Busy(503, Duration::from_secs(told_s)));
        bed.feed(Input::NodeUp);
        bed.feed(Input::PathUp);
        let waited = bed.wait_for_dial();
        assert!((least_ms..=most_ms).contains(&waited), "{waited} ms");
    }
}

#[test]
fn a_server_that_closes_after_the_session_stands_uses_up_the_tries() {
    let mut bed = Bed::with(|settings| settings.restore.tries_max = 5).established();
    for _ in 0..5 {
        let before = bed.dials.len();
        bed.lose();
        if bed.dials.len() == before {
            bed.wait_for_dial();
        }
        bed.reconnect();
    }
    bed.lose();
    assert_eq!(bed.dials.len(), 5);
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
    assert!(bed.events.iter().any(|event| matches!(event, Event::GaveUp { tries: 5, .. })));
}

#[test]
fn a_flapping_server_is_not_dialled_ten_times_a_second() {
    let mut bed = Bed::with(|settings| settings.restore.tries_max = 0).established();
    let (start, mut dials) = (bed.now.as_ms(), 0);
    bed.lose();
    while bed.now.as_ms() < start + 30_000 {
        if bed.dials.len() > dials {
            dials = bed.dials.len();
            bed.reconnect();
            bed.lose();
        } else {
            bed.pass(10);
            bed.client("pong", Value::Null);
        }
    }
    assert!((10..40).contains(&dials), "{dials} dials in 30 s");
}

#[test]
fn a_connection_that_lasted_is_a_success() {
    let mut bed = Bed::with(|settings| settings.restore.tries_max = 3).established();
    for _ in 0..10 {
        bed.lose();
        assert_eq!(bed.client_close, None);
        bed.reconnect();
        bed.pass_in_health(11_000);
    }
    assert_eq!(bed.dials.len(), 10, "each was made at once");
}

#[test]
fn a_silent_client_has_its_time_however_often_the_server_pings() {
    for every_ms in [100, 500, 5_000, 60_000] {
        let mut bed = Bed::new().established();
        let start = bed.now.as_ms();
        while bed.client_close.is_none() {
            bed.server("ping", Value::Null);
            for _ in 0..every_ms / 100 {
                bed.pass(100);
                bed.feed(Input::UpstreamActivity(Epoch(0)));
            }
            assert!(bed.now.as_ms() < start + 200_000, "it is never ended");
        }
        let at = bed.events.iter().any(|event| matches!(event, Event::ClientDead { .. }));
        assert!(at);
        let lived = bed.now.as_ms() - start;
        let most = 56_100.max(if every_ms > 50_000 { 60_000 } else { 0 });
        assert!((50_000..=most).contains(&lived), "{lived} ms, pinged every {every_ms} ms");
    }
}

#[test]
fn a_process_that_slept_does_not_blame_its_clients() {
    let mut bed = Bed::new().established();
    bed.server("ping", Value::Null);
    bed.client("pong", Value::Null);
    bed.now = Timestamp::from_ms(bed.now.as_ms() + 600_000);
    bed.server("ping", Value::Null);
    assert_eq!(bed.client_close, None);
    bed.client("pong", Value::Null);
    bed.pass(1_000);
    assert_eq!(bed.client_close, None);
}
