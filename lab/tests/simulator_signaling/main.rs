//! The signaling of the simulated server, behaviour by behaviour (protocol S12).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod calls;
mod client;
mod control;
mod faults;
mod handshakes;
mod health;
mod media_sockets;
mod real_media;
mod rooms;
mod sessions;
mod streams;
mod tls;
mod violations;

use holdfast_lab::simulator::{Simulator, SimulatorSettings};
use serde_json::Value;

/// A simulator on a free port with these changes to its defaults.
async fn simulator(changes: Value) -> Simulator {
    let settings = SimulatorSettings::default().with(&changes).unwrap();
    Simulator::start(settings).await.unwrap()
}

/// Fails when a client did something wrong.
fn assert_no_violation(simulator: &Simulator) {
    let violations = simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
}
