//! Holdfast: a signaling-aware, reconnecting WebSocket proxy in front of Flashphoner Web Call
//! Server.
//!
//! The library holds everything; `main.rs` only starts the command line. What decides lives in
//! `holdfast-core` and does no IO; what touches sockets lives in `net`.
#![forbid(unsafe_code)]

mod activation;
mod address;
pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
mod file_mark;
mod http;
pub mod limits;
mod local_http;
pub mod media;
pub mod memory;
mod metrics;
mod milliseconds;
pub mod net;
mod service_manager;
pub mod telemetry;
pub mod top;
mod upstream;
pub mod wire;

pub use holdfast_core::{drain, ids, recording, registry, session, signaling};
/// What the commands `simulate`, `load` and `probe` run; nothing of the proxy uses it.
pub use holdfast_lab::{load, probe, simulator};
