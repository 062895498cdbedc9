//! The `holdfast` binary: hands over to the command line in the library.
#![forbid(unsafe_code)]

fn main() {}
