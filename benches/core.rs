//! What the session core costs per message, without sockets: each benchmark is a whole exchange, so
//! that the state is the same before each round.
//! ```sh
//! cargo bench --bench core
//! ```

mod messages;

use std::{sync::Arc, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use holdfast::{
    config::SessionSettings,
    registry::{Member, Registry},
    session::{Epoch, Input, LossCause, Mail, NodeId, Output, Session, SessionId, Timestamp},
};

const ID: &str = "0a0b0c0d-9a1c-11ef-8000-0242ac120002";
const NAME: &str = "camera-1";

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(300)).config_with_args().main();
}

/// An established session; time passes by a millisecond per message.
struct Bed {
    session: Member,
    epoch: Epoch,
    now_ms: u64,
    /// Messages to either side, passed on or made by the core: the proof that the work is done.
    delivered: usize,
    /// Messages of the core's own to the server.
    stated: usize,
}

impl Bed {
    fn established() -> Self {
        let settings = Arc::new(SessionSettings::default());
        let start = Timestamp::from_ms(1_000);
        let session = Session::new(SessionId(1), settings, 1, start);
        let session = Member::new(session, Arc::new(Registry::default()));
        let mut bed = Self { session, epoch: Epoch::default(), now_ms: 1_000, delivered: 0, stated: 0 };
        let [connection, established] = messages::connection("a-token-of-the-server");
        bed.client(&connection);
        bed.server(&established);
        assert_eq!(bed.delivered, 2, "the connection and its answer are passed on");
        bed
    }

    fn publishing(mut self) -> Self {
        self.client(&messages::publish_2_kb(ID, NAME));
        for message in messages::publish_answered(ID, NAME) {
            self.server(&message);
        }
        self
    }

    fn handle(&mut self, input: Input<'_>) {
        self.now_ms += 1;
        self.session.handle(input, Timestamp::from_ms(self.now_ms));
        let outputs = self.session.take_outputs();
        for output in &outputs {
            match output {
                Output::Dial { epoch, .. } => self.epoch = *epoch,
                Output::ForwardToUpstream | Output::ForwardToClient | Output::SendToClient(_) => {
                    self.delivered += 1;
                }
                Output::SendToUpstream(_) => {
                    self.delivered += 1;
                    self.stated += 1;
                }
                _ => {}
            }
        }
        self.session.recycle_outputs(outputs);
    }

    fn client(&mut self, message: &str) {
        self.handle(Input::ClientText(message.as_bytes()));
    }

    fn server(&mut self, message: &str) {
        self.handle(Input::UpstreamText(self.epoch, message.as_bytes()));
    }
}

/// Times an exchange that makes so many messages of as many.
fn exchange(bencher: Bencher<'_, '_>, mut bed: Bed, messages: usize, mut exchange: impl FnMut(&mut Bed)) {
    let before = bed.delivered;
    exchange(&mut bed);
    assert_eq!(bed.delivered - before, messages, "each message is passed on or answered");
    bencher.counter(ItemsCount::new(messages)).bench_local(|| exchange(&mut bed));
}

fn data_and_answer(bencher: Bencher<'_, '_>, bytes: usize) {
    let (message, answer) = (messages::data(bytes), messages::data_accepted());
    exchange(bencher, Bed::established().publishing(), 2, |bed| {
        bed.client(&message);
        bed.server(&answer);
    });
}

/// `sendData` of 200 bytes and its answer.
#[divan::bench]
fn data_200_b(bencher: Bencher<'_, '_>) {
    data_and_answer(bencher, 200);
}

/// `sendData` of 6 KB and its answer.
#[divan::bench]
fn data_6_kb(bencher: Bencher<'_, '_>) {
    data_and_answer(bencher, 6_000);
}

/// A ping of the server and its answer.
#[divan::bench]
fn ping_pong(bencher: Bencher<'_, '_>) {
    let (ping, pong) = (messages::ping(), messages::pong());
    // The core answers the ping itself as well, and takes the client's answer for a sign of life.
    exchange(bencher, Bed::established().publishing(), 2, |bed| {
        bed.server(&ping);
        bed.client(&pong);
    });
}

/// A publish of 2 KB from its request to PUBLISHING, and its end: five messages.
#[divan::bench]
fn publish_cycle_2_kb(bencher: Bencher<'_, '_>) {
    publish_cycle(bencher, &messages::publish_2_kb(ID, NAME));
}

/// The same with a whole offer.
#[divan::bench]
fn publish_cycle_whole_offer(bencher: Bencher<'_, '_>) {
    publish_cycle(bencher, &messages::publish_whole(ID, NAME));
}

fn publish_cycle(bencher: Bencher<'_, '_>, publish: &str) {
    let answered = messages::publish_answered(ID, NAME);
    let [end, ended] = messages::publish_ended(ID, NAME);
    exchange(bencher, Bed::established(), 5, |bed| {
        bed.client(publish);
        for message in &answered {
            bed.server(message);
        }
        bed.client(&end);
        bed.server(&ended);
    });
}

/// A session with one play (MSE) loses its server, gets the next one, and its play is proven again.
#[divan::bench]
fn outage(bencher: Bencher<'_, '_>) {
    let [_, established] = messages::connection("a-token-of-the-next-one");
    let plays = || {
        let mut bed = Bed::established();
        let [play, answer, playing] = messages::play_mse(ID, NAME);
        bed.client(&play);
        bed.server(&answer);
        bed.server(&playing);
        bed
    };
    bencher.with_inputs(plays).bench_local_values(|mut bed| {
        let before = bed.stated;
        bed.handle(Input::UpstreamLost(bed.epoch, LossCause::EndOfFile));
        bed.handle(Input::UpstreamOpened(bed.epoch, NodeId(0)));
        bed.server(&established);
        bed.handle(Input::Mail(Mail::MediaSocketFlows(bed.epoch)));
        assert_eq!(bed.stated, before + 2, "connection and play are stated again");
        bed
    });
}
