//! The media anchor: a client's WebRTC transport ends here, and a second transport of ours goes
//! to the upstream and is replaced at each epoch.
//!
//! A few worker threads own all sockets and legs; nothing per packet crosses a thread. The
//! session core steers by [`MediaCommand`] and learns by [`Fact`]. Nothing here decides what a session
//! does about an outage: it relays packets, keeps their numbering continuous and reports.

mod api;
mod authentic;
mod bucket;
mod certificate;
mod clock;
mod configure;
mod connections;
mod continuity;
mod core;
mod counters;
mod demux;
mod descriptor;
mod drops;
mod engine;
mod framing;
pub mod fuzzing;
mod guard;
mod handle;
mod lookups;
mod output;
mod resend;
mod resolve;
mod routes;
mod sdp;
#[cfg(test)]
mod simulation;
mod socket;
mod stream;
mod supervisor;
mod transport;
mod verify;
mod watchdog;
mod worker;

use api::Order;
pub use api::{
    Client, Descriptors, Fact, FactSender, Fault, Kind, LegStats, MediaCommand, MediaFact, MediaSettings,
    StreamKey, StreamStats, Tracks,
};
pub use counters::Tally;
pub use handle::{MediaHandle, MediaHealth, MediaStatus};
