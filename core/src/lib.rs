//! What Holdfast decides, apart from everything it does: how messages are read and edited
//! ([`signaling`]), what a client's session makes of them ([`session`]), and what the sessions of a
//! process know of each other ([`registry`]), how sessions are taken off a node ([`drain`]), and how what they did is
//! written down and tried again ([`recording`]).
//!
//! Deterministic: no IO, no clock, no randomness but a seed, no threads. Time, bytes and facts come
//! in as values, frames and orders go out as values. `clippy.toml` of this crate bans what would
//! break that, `bans` shows that it bites, and `tests/dependencies.rs` keeps runtimes and sockets out
//! of the dependencies.
#![forbid(unsafe_code)]

#[cfg(test)]
mod bans;
pub mod drain;
pub mod ids;
pub mod media;
pub mod recording;
pub mod registry;
pub mod session;
pub mod settings;
pub mod signaling;
