//! What the simulation found: races between the client's word, the server's and a loss.

use super::*;
use crate::config::RestoreMode;

impl Bed {
    fn opened(&mut self) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::UpstreamOpened(epoch));
    }
}

#[test]
fn the_first_words_of_a_client_survive_an_outage_before_them() {
    let mut bed = Bed::new();
    bed.lose();
    bed.client("connection", connection());
    bed.opened();
    assert_eq!(bed.upstream_got("connection").len(), 1);
    bed.server("getUserData", json!({"authToken": "T1", "status": "ESTABLISHED"}));
    assert_eq!(bed.client_got("getUserData").len(), 1);
    bed.client("publishStream", publish("a", "cam"));
    assert_eq!(bed.upstream_got("publishStream").len(), 1);
}

#[test]
fn first_words_that_find_no_upstream_in_time_end_the_session() {
    let mut bed = Bed::new();
    bed.lose();
    bed.client("connection", connection());
    for _ in 0..31 {
        bed.pass(1_000);
        bed.client("pong", Value::Null);
    }
    assert_eq!(bed.client_close, Some(Close::Code(1001)));
}

#[test]
fn a_lever_that_was_not_pulled_waits_for_the_next_epoch() {
    let restart = |settings: &mut SessionSettings| settings.restore.mode = RestoreMode::Restart;
    let mut bed = Bed::with(restart).established().publishing("a", "cam");
    bed.lose();
    bed.reconnect();
    bed.lose();
    bed.pass(5_000);
    let next = bed.session.next_timeout();
    assert!(next.is_some_and(|next| next > bed.now), "{next:?} at {}", bed.now);
    bed.reconnect();
    bed.pass(1_100);
    assert_eq!(bed.client_got("getUserData").len(), 1);
}

#[test]
fn a_session_that_ends_starts_nothing() {
    let mut bed = Bed::new().established();
    bed.client("publishStream", publish("a", "cam"));
    let mut bed = bed.playing_mse("m", "cam");
    bed.lose();
    bed.reconnect();
    assert!(bed.upstream_got("playStream").is_empty(), "it waits for the publisher of its own session");
    bed.feed(Input::ClientClosed(None));
    assert!(bed.upstream_got("playStream").is_empty());
}
