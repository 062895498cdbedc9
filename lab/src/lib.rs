//! What Holdfast is tried on: a stand-in for Web Call Server with real media and faults on order
//! ([`simulator`]), and clients that are true to the protocol, with and without media ([`load`]). And what is asked
//! of a real server before Holdfast goes in front of it ([`probe`]).
//!
//! All judge Holdfast, so they share no code with it: no framing, no retransmission, no reading of
//! messages or session descriptions. One that both had wrong would not show. This crate therefore depends
//! on no other of the workspace; the binary calls into it for `holdfast simulate`, `load`, `probe` and `demo`.
#![forbid(unsafe_code)]

pub mod load;
mod messages;
pub mod probe;
pub mod simulator;
