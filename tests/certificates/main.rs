//! What clients of wss are shown and have to show, with `openssl s_client` and rustls as the clients: renewal under
//! sessions, several names, OCSP answers, certificates of clients, versions and suites.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../net_support/mod.rs"]
mod net_support;

mod authority;
mod clients;
mod shown;
mod staples;
mod terms;
