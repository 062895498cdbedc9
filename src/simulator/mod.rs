//! A stand-in for a Web Call Server, for tests, demos and load runs.

pub mod media;
