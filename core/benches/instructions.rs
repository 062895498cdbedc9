//! Exchanges with the session core, counted and not timed: `benches/instructions.py` runs this under callgrind
//! with two counts and tells the difference. Says nothing by itself.
//! ```sh
//! python3 benches/instructions.py
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

#[path = "../../benches/messages/mod.rs"]
mod messages;

use std::sync::Arc;

use holdfast_core::{
    registry::{Member, Registry},
    session::{Epoch, Input, Output, Session, SessionId, Timestamp},
    settings::SessionSettings,
};

const ID: &str = "0a0b0c0d-9a1c-11ef-8000-0242ac120002";
const NAME: &str = "camera-1";

/// An established session; time passes by a millisecond per message.
struct Bed {
    session: Member,
    now_ms: u64,
    delivered: usize,
}

impl Bed {
    fn established() -> Self {
        let session =
            Session::new(SessionId(1), Arc::new(SessionSettings::default()), 1, Timestamp::from_ms(1_000));
        let session = Member::new(session, Arc::new(Registry::default()));
        let mut bed = Self { session, now_ms: 1_000, delivered: 0 };
        let [connection, established] = messages::connection("a-token-of-the-server");
        bed.client(&connection);
        bed.server(&established);
        bed
    }

    fn publishing() -> Self {
        let mut bed = Self::established();
        bed.client(&messages::publish_2_kb(ID, NAME));
        for message in messages::publish_answered(ID, NAME) {
            bed.server(&message);
        }
        bed
    }

    fn handle(&mut self, input: Input<'_>) {
        self.now_ms += 1;
        self.session.handle(input, Timestamp::from_ms(self.now_ms));
        let outputs = self.session.take_outputs();
        let delivered = |output: &&Output| {
            matches!(
                output,
                Output::ForwardToUpstream
                    | Output::ForwardToClient
                    | Output::SendToClient(_)
                    | Output::SendToUpstream(_)
            )
        };
        self.delivered += outputs.iter().filter(delivered).count();
        self.session.recycle_outputs(outputs);
    }

    fn client(&mut self, message: &str) {
        self.handle(Input::ClientText(message.as_bytes()));
    }

    fn server(&mut self, message: &str) {
        self.handle(Input::UpstreamText(Epoch(0), message.as_bytes()));
    }
}

/// Runs an exchange so often; how many messages each delivers.
fn run(exchange: &str, count: usize) -> usize {
    let (ping, pong) = (messages::ping(), messages::pong());
    let (data, accepted) = (messages::data(200), messages::data_accepted());
    let publish = messages::publish_2_kb(ID, NAME);
    let answered = messages::publish_answered(ID, NAME);
    let [end, ended] = messages::publish_ended(ID, NAME);
    let mut bed = if exchange == "publish" { Bed::established() } else { Bed::publishing() };
    let before = bed.delivered;
    for _ in 0..count {
        match exchange {
            "ping" => {
                bed.server(&ping);
                bed.client(&pong);
            }
            "forward" => bed.client(r#"{"message":"somethingNew","data":[{"id":"a"}]}"#),
            "data" => {
                bed.client(&data);
                bed.server(&accepted);
            }
            "publish" => {
                bed.client(&publish);
                for message in &answered {
                    bed.server(message);
                }
                bed.client(&end);
                bed.server(&ended);
            }
            other => panic!("no exchange is called {other}"),
        }
    }
    bed.delivered - before
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [exchange, count] = &arguments[..] else { return };
    let count = count.parse().unwrap();
    let delivered = run(exchange, count);
    assert!(delivered >= count, "each exchange delivers something: {delivered} of {count}");
}
