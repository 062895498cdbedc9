//! Hands libFuzzer's input to the target of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast::signaling::fuzzing::redactor(data));
