//! What it costs to look at a message: the peek that every message passes, and the fields that a
//! publish is read for.
//! ```sh
//! cargo bench --bench signaling
//! ```

mod messages;

use std::time::Duration;

use divan::{Bencher, black_box, counter::BytesCount};
use holdfast::signaling::{ClientMessage, peek};

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(300)).config_with_args().main();
}

/// The peek, and which message of a client it is.
fn peek_at(bencher: Bencher<'_, '_>, message: &str) {
    bencher.counter(BytesCount::of_str(message)).bench(|| {
        peek(black_box(message.as_bytes()))
            .map(|peek| matches!(ClientMessage::of(&peek), ClientMessage::Other))
    });
}

#[divan::bench]
fn peek_ping(bencher: Bencher<'_, '_>) {
    peek_at(bencher, &messages::ping());
}

#[divan::bench]
fn peek_data_200_b(bencher: Bencher<'_, '_>) {
    peek_at(bencher, &messages::data(200));
}

#[divan::bench]
fn peek_data_6_kb(bencher: Bencher<'_, '_>) {
    peek_at(bencher, &messages::data(6_000));
}

#[divan::bench]
fn peek_publish_2_kb(bencher: Bencher<'_, '_>) {
    peek_at(bencher, &messages::publish_2_kb("0a0b0c0d-9a1c-11ef-8000-0242ac120002", "camera-1"));
}

/// The peek, which message it is, and the four fields that the core asks for.
#[divan::bench]
fn read_publish_2_kb(bencher: Bencher<'_, '_>) {
    let message = messages::publish_2_kb("0a0b0c0d-9a1c-11ef-8000-0242ac120002", "camera-1");
    bencher.counter(BytesCount::of_str(&message)).bench(|| {
        let peek = peek(black_box(message.as_bytes())).ok()?;
        let ClientMessage::PublishStream(publish) = ClientMessage::of(&peek) else { return None };
        let offer = publish.sdp()?.string()?.len();
        let id = publish.media_session_id()?.string()?.len();
        Some(id + publish.name()?.len() + publish.media_provider()?.len() + offer)
    });
}
