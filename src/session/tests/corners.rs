//! What the simulation found: races between the client's word, the server's and a loss.

use super::*;

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
